"""What this machine can do: versions, GPUs, which encoders and detectors have their weights here, the cache."""

from __future__ import annotations

import importlib.util
import os
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..core.errors import FercleanerError
from ..encoders import KINDS
from ..extraction.cache import CacheSize, FeatureCache
from ..extraction.run import usable_cores

#: Packages that fercleaner stands on or can use; of the two FAISS builds one is enough.
PACKAGES = (
    "fercleaner",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "scikit-image",
    "torch",
    "torchvision",
    "open-clip-torch",
    "timm",
    "faiss-gpu",
    "faiss-cpu",
    "face-alignment",
    "mediapipe",
    "datasets",
)


@dataclass(frozen=True)
class Tool:
    """An encoder or a landmark detector.

    Parameters
    ----------
    tag : str
        As after ``--encoder`` or ``--landmarks``.
    ready : bool
        Whether it runs here without a download.
    detail : str
        Where its weights are, or what is missing and how to get it.
    """

    tag: str
    ready: bool
    detail: str


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Parameters
    ----------
    python, system : str
    cores : int
        That this process may use.
    packages : mapping of name -> version, None where not installed
    gpus : tuple of str
        Names of the GPUs that torch sees.
    faiss_gpus : int
        GPUs that FAISS sees; 0 where its build or the machine has none.
    encoders, detectors, finders : tuple of Tool
        Encoders, landmark detectors, and what finds faces in larger pictures.
    cache_folder : str
    cache_writable : bool
    cache_size : CacheSize
    """

    python: str
    system: str
    cores: int
    packages: dict[str, str | None]
    gpus: tuple[str, ...]
    faiss_gpus: int
    encoders: tuple[Tool, ...]
    detectors: tuple[Tool, ...]
    finders: tuple[Tool, ...]
    cache_folder: str
    cache_writable: bool
    cache_size: CacheSize

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as JSON types."""
        return {**asdict(self), "cache_size": self.cache_size._asdict()}


def diagnose(cache: FeatureCache | None = None) -> Diagnosis:
    """Look at this machine; fetches nothing and loads no model. Takes the seconds that importing torch takes."""
    cache = cache or FeatureCache()
    return Diagnosis(
        python=platform.python_version(),
        system=platform.platform(),
        cores=usable_cores(),
        packages={name: _version(name) for name in PACKAGES},
        gpus=_gpus(),
        faiss_gpus=_faiss_gpus(),
        encoders=tuple(_tool(tag, look) for tag, look in ENCODERS.items() if tag.partition(":")[0] in KINDS),
        detectors=tuple(_tool(tag, look) for tag, look in DETECTORS.items()),
        finders=(_tool("yunet", _yunet),),
        cache_folder=str(cache.folder),
        cache_writable=_writable(cache.folder),
        cache_size=cache.size(),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _gpus() -> tuple[str, ...]:
    if importlib.util.find_spec("torch") is None:
        return ()
    import torch

    return tuple(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _faiss_gpus() -> int:
    if importlib.util.find_spec("faiss") is None:
        return 0
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0


def _writable(folder: Path) -> bool:
    """Return whether files can be made in `folder`, or the folder itself can."""
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _tool(tag: str, look: Callable[[], tuple[bool, str]]) -> Tool:
    try:
        ready, detail = look()
    except (FercleanerError, ImportError) as error:
        ready, detail = False, str(error)
    return Tool(tag, ready, detail)


def _package(name: str, module: str) -> str:
    """Return "" where `module` is installed, else what to do."""
    return "" if importlib.util.find_spec(module) else f"not installed: pip install {name}"


def _builtin() -> tuple[bool, str]:
    from ..encoders.builtin import read_description, weights_folder

    path = weights_folder() / "builtin.safetensors"
    read_description(path)
    return True, str(path)


def _hog() -> tuple[bool, str]:
    missing = _package("scikit-image", "skimage")
    return not missing, missing or "needs no weights"


def _clip() -> tuple[bool, str]:
    from ..encoders.clip import local_weights

    path, source = local_weights()
    return path is not None, str(path) if path else f"weights not here; the first run fetches them: {source}"


def _timm() -> tuple[bool, str]:
    from huggingface_hub import constants

    return _checkpoints("timm", "timm", Path(constants.HF_HUB_CACHE), "models--timm--*")


def _torchvision() -> tuple[bool, str]:
    from ..encoders.checkpoints import torch_folder

    return _checkpoints("torchvision", "torchvision", torch_folder(), "*.pth")


def _checkpoints(package: str, module: str, folder: Path, pattern: str) -> tuple[bool, str]:
    """Say how many models whose files look like `pattern` lie in `folder`: these kinds have hundreds."""
    missing = _package(package, module)
    if missing:
        return False, missing
    count = len(list(folder.glob(pattern))) if folder.is_dir() else 0
    return count > 0, f"{count} models in {folder}"


def _face_alignment() -> tuple[bool, str]:
    from ..encoders.checkpoints import torch_folder
    from ..landmarks.face_alignment import FAN_FILE
    from ..landmarks.weights import locate

    missing = _package("face-alignment", "face_alignment")
    if missing:
        return False, missing
    path, looked = locate((FAN_FILE,), None, (torch_folder(),))
    return path is not None, str(path or f"{FAN_FILE} is in none of: {', '.join(looked)}; the first run fetches it")


def _mediapipe() -> tuple[bool, str]:
    from ..landmarks.mediapipe import MODEL_FILE
    from ..landmarks.weights import locate

    missing = _package("'fercleaner[mediapipe]'", "mediapipe")
    if missing:
        return False, missing
    path, looked = locate((MODEL_FILE,), None)
    return path is not None, str(
        path or f"{MODEL_FILE} is in none of: {', '.join(looked)}; name it with --weights mediapipe=FILE"
    )


def _yunet() -> tuple[bool, str]:
    from ..extraction.detection import choose_framing

    framing, why = choose_framing()
    return bool(framing.detector), framing.detector or f"{why}; it is models/face_detection_yunet of OpenCV's model zoo"


#: Tag -> what says whether it can run here.
ENCODERS: dict[str, Callable[[], tuple[bool, str]]] = {
    "builtin": _builtin,
    "hog": _hog,
    "clip": _clip,
    "timm:NAME": _timm,
    "torchvision:NAME": _torchvision,
}
DETECTORS: dict[str, Callable[[], tuple[bool, str]]] = {
    "builtin": _builtin,
    "face-alignment": _face_alignment,
    "mediapipe": _mediapipe,
}
