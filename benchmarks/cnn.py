"""A small CNN trained from pixels: what labels are worth where no network was trained before.

Five 3 x 3 convolutions on gray faces of 48 x 48, about 0.16 million weights. Faces are mirrored by chance and shifted
by up to `SHIFT` pixels; AdamW under a one-cycle schedule. An epoch of 20,000 faces takes about ten seconds on one core
that has bfloat16 instructions; a GPU is used where there is one.
"""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fercleaner.core.arrays import Bytes, Doubles, Strings
from fercleaner.core.devices import torch_device
from fercleaner.core.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: Edge of a picture in pixels.
SIZE = 48
#: Channels of the five convolutions: at 24 x 24 pixels twice, then at 12, 6 and 3.
WIDTHS = (16, 32, 64, 96, 96)
#: Dropout before the last layer, largest shift in pixels, AdamW's highest step and decay, faces a batch, epochs.
DROPOUT, SHIFT, RATE, DECAY, BATCH, EPOCHS = 0.2, 4, 1e-2, 0.05, 128, 8
#: Steps at least, on small sets.
LEAST_STEPS = 300
#: Share of the steps in which the step size rises.
WARM_UP = 0.25
#: Faces asked at once.
ASKED_AT_ONCE = 1024


def settings(bfloat16: bool, epochs: int = EPOCHS) -> dict[str, Any]:
    """Return what a training hangs on, JSON types."""
    return {
        "widths": list(WIDTHS),
        "dropout": DROPOUT,
        "shift": SHIFT,
        "rate": RATE,
        "decay": DECAY,
        "batch": BATCH,
        "epochs": epochs,
        "bfloat16": bfloat16,
    }


def read_pictures(folder: Path, ids: Strings, paths: Strings) -> Bytes:
    """Return the faces as gray pictures, (N, 48, 48) uint8.

    They are read from `folder`/images.tar under their ids where there is one (in memory, nothing is unpacked), else
    from their `paths`; other sizes are resampled.

    Raises
    ------
    InputError
        Faces without a picture, with the number and the first of them.
    """
    pictures = np.zeros((len(ids), SIZE, SIZE), dtype=np.uint8)
    found = np.zeros(len(ids), dtype=np.bool_)
    archive = folder / "images.tar"
    if archive.is_file():
        row_of = {str(name): row for row, name in enumerate(ids)}
        with tarfile.open(archive) as tar:
            for member in tar:
                row = row_of.get(member.name.removeprefix("./"))
                held = tar.extractfile(member) if row is not None else None
                if row is not None and held is not None:
                    pictures[row], found[row] = _gray(held.read()), True
    else:
        for row, path in enumerate(paths):
            if path and Path(str(path)).is_file():
                pictures[row], found[row] = _gray(Path(str(path)).read_bytes()), True
    if not found.all():
        place = f"{archive}" if archive.is_file() else f"{folder} (no images.tar there) and the paths of the set"
        raise InputError(
            f"{int((~found).sum()):,} of {len(ids):,} faces have no picture (first: {ids[np.flatnonzero(~found)[0]]}); "
            f"looked in {place}. A CNN needs pictures: put them there, or take --classifier head."
        )
    return pictures


def _gray(data: bytes) -> Bytes:
    from PIL import Image

    from fercleaner.extraction.images import decode

    image = decode(data).convert("L")
    if image.size != (SIZE, SIZE):
        image = image.resize((SIZE, SIZE), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image, dtype=np.uint8)


def network(n_classes: int, channels: int = 1) -> nn.Module:
    """Return the CNN for faces (B, channels, S, S), S a multiple of 16, with class scores (B, n_classes)."""
    from torch import nn

    layers: list[nn.Module] = []
    before = channels
    for k, width in enumerate(WIDTHS):
        layers += [
            nn.Conv2d(before, width, 3, stride=2 if k == 0 else 1, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        if 0 < k < len(WIDTHS) - 1:
            layers.append(nn.MaxPool2d(2))
        before = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(DROPOUT), nn.Linear(before, n_classes)
    )


def device_of(name: str) -> torch.device:
    """Return the device that "auto", "cpu", "cuda", ... names; "auto" is the GPU where there is one."""
    import torch

    return torch.device(torch_device(name))


def standardized(pictures: Tensor) -> Tensor:
    """Return pictures (B, 1, S, S) of 0 to 255 as float32 of mean 0 and deviation 1 each; a constant one is all 0."""
    x = pictures.float()
    x = x - x.mean((1, 2, 3), keepdim=True)
    return x / x.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1.0)


def moved(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures (B, 1, S, S), each mirrored by chance and shifted by up to `SHIFT` pixels, edges reflected."""
    import torch

    count, _, size, _ = pictures.shape
    flip = torch.rand(count, generator=generator) < 0.5
    offset = torch.randint(0, 2 * SHIFT + 1, (2, count), generator=generator)
    flip, offset = flip.to(pictures.device), offset.to(pictures.device)
    pictures = torch.where(flip[:, None, None, None], pictures.flip(3), pictures)
    padded = torch.nn.functional.pad(pictures, (SHIFT,) * 4, mode="reflect")[:, 0]
    place = torch.arange(size, device=pictures.device)
    down, right = offset[0, :, None] + place, offset[1, :, None] + place
    rows = torch.arange(count, device=pictures.device)[:, None, None]
    return padded[rows, down[:, :, None], right[:, None, :]][:, None]


def train(
    pictures: Bytes,
    distribution: Doubles,
    weight: Doubles,
    asked: Bytes,
    seed: int,
    *,
    device: str = "auto",
    bfloat16: bool = True,
    epochs: int = EPOCHS,
) -> Doubles:
    """Train the CNN and return its class probabilities for `asked` (M, 48, 48) uint8, (M, C) float64.

    Parameters
    ----------
    pictures : (N, 48, 48) uint8
    distribution : (N, C)
        Label distributions to train on.
    weight : (N,)
        Sample weights, of any scale; faces of weight 0 are left out.
    seed : int
        Of the first weights, dropout, the order of faces and their changes.
    device : str
        As in `device_of`.
    bfloat16 : bool
        Whether convolutions run in bfloat16; turn it off on a processor that has no instructions for it.
    epochs : int
        Passes over all faces: where faces are left out, the others are seen more often, so that dropping faces is not
        also training less.
    """
    import torch

    where = device_of(device)
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    kept = np.flatnonzero(weight > 0)
    scale = torch.from_numpy((weight[kept] / weight[kept].mean()).astype(np.float32)).to(where)
    x = torch.from_numpy(pictures[kept])[:, None].to(where)
    y = torch.from_numpy(distribution[kept].astype(np.float32)).to(where)
    model = network(y.shape[1]).to(where).to(memory_format=torch.channels_last)
    steps = max(LEAST_STEPS, epochs * -(-len(pictures) // BATCH))
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": DECAY},
            {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
        ]
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps + 1, pct_start=WARM_UP)
    done = 0
    while done < steps:
        order = torch.randperm(len(kept), generator=generator)
        # a short last batch would upset the batch statistics
        batches = torch.split(order, BATCH)[: max(1, len(kept) // BATCH)]
        for rows in batches[: steps - done]:
            rows = rows.to(where)
            batch = standardized(moved(x[rows].float(), generator)).contiguous(memory_format=torch.channels_last)
            with torch.autocast(where.type, torch.bfloat16, enabled=bfloat16):
                scores = model(batch)
            losses = torch.nn.functional.cross_entropy(scores.float(), y[rows], reduction="none")
            optimizer.zero_grad()
            (losses * scale[rows]).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            done += 1
    return _answers(model, torch.from_numpy(asked)[:, None], where, bfloat16)


def _answers(model: nn.Module, asked: Tensor, where: torch.device, bfloat16: bool) -> Doubles:
    import torch

    model.eval()
    parts = []
    with torch.inference_mode(), torch.autocast(where.type, torch.bfloat16, enabled=bfloat16):
        for block in torch.split(asked, ASKED_AT_ONCE):
            batch = standardized(block.to(where)).contiguous(memory_format=torch.channels_last)
            parts.append(torch.softmax(model(batch).double(), 1).cpu())
    probability: Doubles = torch.cat(parts).numpy()
    return probability
