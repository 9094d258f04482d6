"""An image encoder that is a torch network: framing in the workers, the rest in batches on one device."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bytes, Floats
from ..core.devices import torch_device
from ..core.errors import FeatureError
from ..extraction.extractor import Computed, Prepare
from ..extraction.images import UnreadableImage

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

log = logging.getLogger(__name__)

#: On the CPU every batch has this many rows, the last one filled up with zeros: matrix products choose their
#: order of summation by shape, so one shape keeps a face's bits the same whatever stands beside it.
CPU_BATCH = 16
#: On a GPU the first try; halved whenever memory runs out.
GPU_BATCH = 256
#: A picture this much longer than wide would blow up when its short side is enlarged.
MAX_ASPECT = 20.0


@dataclass(frozen=True)
class ResizedCrop:
    """Resize and center-crop a picture as torchvision does, with Pillow alone: (H, W, 3) uint8.

    Parameters
    ----------
    resize : int, (height, width) or None
        An int is the length of the shorter side.
    crop : (height, width)
    resample : int
        Pillow's filter.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int]
    resample: int

    def __call__(self, image: Image) -> Bytes:
        check_aspect(image)
        width, height = image.size
        if isinstance(self.resize, int):
            long = int(self.resize * max(width, height) / min(width, height))
            width, height = (self.resize, long) if width <= height else (long, self.resize)
        elif self.resize is not None:
            height, width = self.resize
        if (width, height) != image.size:
            from PIL.Image import Resampling

            image = image.resize((width, height), Resampling(self.resample))
        tall, wide = self.crop
        top, left = round((height - tall) / 2.0), round((width - wide) / 2.0)
        return np.asarray(image.crop((left, top, left + wide, top + tall)))


@dataclass(frozen=True)
class Whole:
    """A package's transform that is not taken apart: (3, H, W) float32."""

    transform: Callable[[Any], Any]

    def __call__(self, image: Image) -> Floats:
        check_aspect(image)
        return np.asarray(self.transform(image), dtype=np.float32)


def check_aspect(image: Image) -> None:
    """Raise UnreadableImage for a picture that is far from square."""
    width, height = image.size
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UnreadableImage("picture is too elongated")


@dataclass(frozen=True)
class Preprocessing:
    """What a picture goes through: `prepare` in a worker, then, for uint8, x / 255, minus mean, by std."""

    prepare: Prepare
    mean: tuple[float, ...]
    std: tuple[float, ...]
    spec: Mapping[str, Any]


def take_apart(transform: Any) -> Preprocessing:
    """Split an evaluation transform of torchvision, timm or open_clip into framing and normalization.

    Resize, CenterCrop, (to RGB), ToTensor, Normalize, in that order, is taken apart: workers then need no
    torch and hand on bytes. Anything else is kept whole. Either way the network sees the package's numbers.
    """
    from torchvision.transforms import CenterCrop, Normalize, Resize, ToTensor
    from torchvision.transforms._presets import ImageClassification

    if isinstance(transform, ImageClassification):
        return _framed(
            list(transform.resize_size),
            list(transform.crop_size),
            transform.interpolation,
            transform.mean,
            transform.std,
        ) or _whole(transform)
    steps = list(getattr(transform, "transforms", []))
    steps = [s for s in steps if type(s).__name__ not in ("MaybeConvertMode", "_convert_to_rgb")]
    kinds = (Resize, CenterCrop, ToTensor, Normalize)
    names = (("Resize",), ("CenterCrop",), ("ToTensor", "MaybeToTensor"), ("Normalize",))
    known = len(steps) == len(kinds) and all(
        isinstance(step, kind) and type(step).__name__ in name
        for step, kind, name in zip(steps, kinds, names, strict=True)
    )
    if not known or steps[0].max_size is not None:
        return _whole(transform)
    framed = _framed(steps[0].size, steps[1].size, steps[0].interpolation, steps[3].mean, steps[3].std)
    return framed or _whole(transform)


def _framed(resize: Any, crop: Any, interpolation: Any, mean: Any, std: Any) -> Preprocessing | None:
    from torchvision.transforms.functional import pil_modes_mapping

    sides = [int(resize)] if isinstance(resize, int) else [int(side) for side in resize]
    edges = [int(crop)] if isinstance(crop, int) else [int(edge) for edge in crop]
    edges = edges * 2 if len(edges) == 1 else edges
    if min(sides) < max(edges) and sides != edges:
        return None  # the crop would need a border
    resample = int(pil_modes_mapping[interpolation])
    framing = ResizedCrop(sides[0] if len(sides) == 1 else (sides[0], sides[1]), (edges[0], edges[1]), resample)
    means, stds = tuple(float(m) for m in mean), tuple(float(s) for s in std)
    spec = {
        "resize": sides,
        "crop": edges,
        "interpolation": str(getattr(interpolation, "value", interpolation)),
        "mean": [round(m, 7) for m in means],
        "std": [round(s, 7) for s in stds],
    }
    return Preprocessing(framing, means, stds, spec)


def _whole(transform: Any) -> Preprocessing:
    return Preprocessing(Whole(transform), (), (), {"transform": " ".join(repr(transform).split())})


class Network:
    """An `Extractor` around a torch module that maps (B, 3, H, W) to (B, width).

    On a GPU the network runs in float16 where that is safe (autocast), and the last bits can vary with the
    batch; on the CPU it runs in float32 and a face's vector does not depend on its batch.

    Parameters
    ----------
    name : str
    spec : mapping
        Kind, model, weights; preprocessing and precision are added.
    module : torch.nn.Module
    preprocessing : Preprocessing
    device : str
        "auto", "cpu", "cuda" or "cuda:NUMBER".
    batch_size : int, optional
    """

    def __init__(
        self,
        name: str,
        spec: Mapping[str, Any],
        module: torch.nn.Module,
        preprocessing: Preprocessing,
        *,
        device: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        import torch
        from PIL import Image

        self.name = name
        self._device = pick_device(device)
        self._half = self._device.type == "cuda"
        self.prepare: Prepare = preprocessing.prepare
        self._mean = torch.tensor(preprocessing.mean, device=self._device).view(1, -1, 1, 1)
        self._std = torch.tensor(preprocessing.std, device=self._device).view(1, -1, 1, 1)
        self._module = module.eval().to(self._device)
        on_cpu = self._device.type == "cpu"
        self.batch_size = CPU_BATCH if on_cpu else (batch_size or GPU_BATCH)
        self._limit = self.batch_size
        self._filled_to = CPU_BATCH if on_cpu else 1
        precision = "float16" if self._half else "float32"
        self.spec: dict[str, Any] = {**spec, "preprocessing": preprocessing.spec, "precision": precision}
        self.width = int(self._forward([self.prepare(Image.new("RGB", (64, 64)))], rows=1).shape[1])

    def compute(self, batch: Sequence[NDArray[Any]], /) -> Computed:
        """Return the network's output for prepared pictures; every one is found."""
        parts, start = [], 0
        while start < len(batch):
            try:
                parts.append(self._forward(batch[start : start + self._limit], self._filled_to))
            except _out_of_memory() as error:
                if self._limit == 1:
                    raise FeatureError(
                        f"'{self.name}' does not fit into the memory of {self._device}, even with one "
                        "picture at a time. Use --device cpu, or a smaller encoder."
                    ) from error
                self._limit = max(1, self._limit // 2)
                log.info("'%s' ran out of memory on %s; %d pictures at once", self.name, self._device, self._limit)
                self._release()
                continue
            start += len(parts[-1])
        values = np.concatenate(parts)
        return values, np.ones(len(values), dtype=bool), [""] * len(values)

    def _forward(self, batch: Sequence[NDArray[Any]], rows: int) -> Floats:
        """Return the outputs for `batch`, filled up with zeros to `rows` while it runs."""
        import torch

        stacked = np.stack(list(batch))
        if len(stacked) < rows:
            filler = np.zeros((rows - len(stacked), *stacked.shape[1:]), dtype=stacked.dtype)
            stacked = np.concatenate([stacked, filler])
        with torch.inference_mode(), torch.autocast(self._device.type, torch.float16, enabled=self._half):
            x = torch.from_numpy(stacked).to(self._device)
            if x.dtype == torch.uint8:
                x = (x.permute(0, 3, 1, 2).contiguous().float() / 255).sub_(self._mean).div_(self._std)
            out = self._module(x)
            if isinstance(out, (tuple, list)):
                out = out[0]
            values: Floats = out.flatten(1).float().cpu().numpy()[: len(batch)]
        return values

    def _release(self) -> None:
        import torch

        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _out_of_memory() -> type[Exception]:
    import torch

    return torch.OutOfMemoryError


def pick_device(device: str) -> torch.device:
    """Return the torch device, as `devices.torch_device` names it."""
    import torch

    return torch.device(torch_device(device))
