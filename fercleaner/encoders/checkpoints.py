"""Weights files: find or fetch them, read them without running anything, fill a model wholly."""

from __future__ import annotations

import difflib
import functools
import hashlib
import logging
import re
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import FeatureError
from ..core.files import pointed

if TYPE_CHECKING:
    import torch

#: Seconds to wait for a host before its weights are held to be out of reach; hub clients retry much longer.
REACH_SECONDS = 5.0

WAYS_OUT = "Give a file you have with --weights FILE, or use an encoder that needs no weights: --encoder hog."

#: Keys under which training scripts keep the model's own weights.
_WRAPPERS = ("state_dict", "model_state_dict", "model")


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, read in pieces, as 64 hex digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def given_file(path: Path) -> Path:
    """Return `path` if it is a file; raise FeatureError otherwise."""
    if not path.is_file():
        what = "is a folder, not a weights file" if path.is_dir() else "does not exist"
        raise FeatureError(f"--weights {path} {what}. Give a .safetensors or PyTorch state-dict file.")
    return path


def from_hub(repo: str, names: Sequence[str], wanted_by: str) -> Path:
    """Return the first of the files `names` of a Hugging Face repository that is here or can be fetched.

    Raises
    ------
    FeatureError
        Within seconds when the hub cannot be reached.
    """
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    here = in_hub_cache(repo, names)
    if here is not None:
        return here
    place = f"Hugging Face repository {repo} ({' or '.join(names)})"
    folder = Path(constants.HF_HUB_CACHE)
    if constants.HF_HUB_OFFLINE:
        raise _missing(wanted_by, place, folder, "HF_HUB_OFFLINE is set")
    trouble = reach(constants.ENDPOINT)
    if trouble:
        raise _missing(wanted_by, place, folder, trouble)
    for name in names:
        try:
            return Path(hf_hub_download(repo, name))
        except LocalEntryNotFoundError as error:
            raise _missing(wanted_by, place, folder, str(error).splitlines()[0]) from error
        except EntryNotFoundError:
            continue
        except Exception as error:  # the hub's client raises its own, its transport's and the system's errors
            raise _missing(wanted_by, place, folder, str(error).splitlines()[0]) from error
    raise _missing(wanted_by, place, folder, "the repository holds no such file")


def in_hub_cache(repo: str, names: Sequence[str]) -> Path | None:
    """Return the first of the files `names` of a Hugging Face repository that is on this machine, or None."""
    from huggingface_hub import try_to_load_from_cache

    # hf_hub_download asks a server even with local_files_only, about the program that calls it.
    found = (try_to_load_from_cache(repo, name) for name in names)
    return next((Path(path) for path in found if isinstance(path, str)), None)


def from_url(url: str, folder: Path, wanted_by: str) -> Path:
    """Return the file of `url` in `folder`, fetched if need be; the digits of its name check its SHA-256."""
    import torch

    path = folder / url.rsplit("/", 1)[-1]
    if path.is_file():
        return path
    trouble = reach(url)
    if trouble:
        raise _missing(wanted_by, url, folder, trouble)
    prefix = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), prefix[1] if prefix else None, progress=False)
    except Exception as error:  # transport, disk or hash: whatever it is, the weights are not here
        raise _missing(wanted_by, url, folder, str(error)) from error
    return path


@functools.lru_cache(maxsize=16)
def reach(url: str) -> str:
    """Return "" when the host of `url` answers within `REACH_SECONDS`, else in a few words why not."""
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "fercleaner"})
        with urllib.request.urlopen(request, timeout=REACH_SECONDS):
            return ""
    except urllib.error.HTTPError:
        return ""  # it refused this request, but it is there
    except (OSError, ValueError) as error:
        return f"the host cannot be reached: {getattr(error, 'reason', error)}"


def _missing(wanted_by: str, place: str, folder: Path, why: str) -> FeatureError:
    return FeatureError(
        f"the weights of {wanted_by} are not here. Wanted: {place}; looked in {folder}; {why.rstrip('.')}. {WAYS_OUT}"
    )


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a weights file by name: safetensors, or a PyTorch file holding tensors alone.

    A wrapper such as {"state_dict": ...} is opened and "module." in front of every name is dropped. Nothing
    in the file is run: PyTorch files are read with ``weights_only=True``.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            held: Any = load_file(str(path), device="cpu")
        else:
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the readers raise whatever damaged bytes lead them to
        if pointer := pointed(path):
            raise FeatureError(f"{path} {pointer}") from error
        why = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        if type(error).__name__ == "UnpicklingError":  # torch advises to load it anyway, which can run its code
            why = "it holds more than tensors, or is no PyTorch file"
        raise FeatureError(
            f"{path} is not a weights file that can be read safely ({why}). "
            "Expected .safetensors, or a state dict saved with torch.save(model.state_dict(), FILE)."
        ) from error
    for wrapper in _WRAPPERS:
        if isinstance(held, Mapping) and isinstance(held.get(wrapper), Mapping):
            held = held[wrapper]
            break
    if not isinstance(held, Mapping) or not held or not all(torch.is_tensor(v) for v in held.values()):
        raise FeatureError(
            f"{path} holds no state dict. Expected names mapped to tensors, as from "
            "torch.save(model.state_dict(), FILE)."
        )
    state = {str(name): tensor for name, tensor in held.items()}
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return state


def load_all(module: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path, what: str) -> None:
    """Load `state` into `module`; every parameter must be covered, and names it does not know are refused.

    Raises
    ------
    FeatureError
        Naming what is missing, left over or of another shape: a model with weights left at random would give
        vectors that look right and mean nothing.
    """
    own = module.state_dict()
    # BatchNorm's step counter plays no part in evaluation and is absent from older files.
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in own]
    shapes = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(own[name].shape)}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names):,} {kind} (first: {names[0]})"
        for kind, names in (("missing", missing), ("unknown", extra), ("of another shape", shapes))
        if names
    ]
    if problems:
        raise FeatureError(
            f"{path} does not fit {what}: of its tensors {', '.join(problems)}. "
            "Name the model that the file was saved from, or give another file with --weights."
        )
    filled = OrderedDict(state)
    filled._metadata = getattr(own, "_metadata", {})  # type: ignore[attr-defined]
    module.load_state_dict(filled, strict=False)


def torch_folder() -> Path:
    """Return the folder where torch keeps fetched checkpoints."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a package's warnings to itself while it builds a model that we are about to fill.

    `logging.warning` installs a handler on a bare root logger for good; the one held here stops that.
    """
    root, silent = logging.getLogger(), logging.NullHandler()
    before = logging.root.manager.disable
    root.addHandler(silent)
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(silent)


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" as `did_you_mean`, in the spelling of `known`."""
    spelled = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), spelled, n=1)
    return f" Did you mean '{spelled[close[0]]}'?" if close else ""
