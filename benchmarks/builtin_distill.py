"""Fit the read-out of photographs on a finished body to what two networks say of each changed copy of a face.

    python benchmarks/builtin_distill.py --targets TARGETS --work WORK

`photographs` becomes two layers (`HIDDEN` units) on the embedding and on all that the body found in a picture; the body
and all other read-outs stay as they are. It learns the geometric mean of both networks (`builtin_targets.py`) on crops,
smoothly enlarged, and on photographs. The seven-expression network is asked about every changed copy, so that what it
does is learned and not its opinion on some pictures alone; what both say of the pictures as they are counts as much.
What the first calls rarely is drawn more often, and weighs more.

Features are computed once, `FACES` a file (WORK/distilled_*.npz; the same command goes on after a stop, `--minutes`
ends after the file in which they have passed). WORK/body.safetensors is replaced.

Source
------
Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR 2022 (the teacher sees the very
copy that the student sees). Differs from it in: the body is not trained.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path

import builtin_photographs as photos
import numpy as np
import torch
from builtin_augment import affine, degraded, uniform, warp
from builtin_batches import BOTH
from builtin_data import read_faces, split_groups
from builtin_readouts import metadata_of
from builtin_start import mixed_precision
from builtin_state import stored
from builtin_targets import teachers_of
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from train_builtin import options

from fercleaner.encoders.facenet import FaceNet, FaceNetConfig, load_facenet

#: Changed copies a file, and copies at once.
FACES, AT_ONCE = 4096, 128
#: Copies are drawn by the rarity of the seven-expression network's first guess to this power (a guess counts as
#: `FEWEST` at least), and weigh by the rarity of what they teach to another.
DRAWN, FEWEST, RARITY = 0.7, 40, 0.5
#: Units of the layer between, passes, copies a step, learning rate (falls to 0), weight decay.
HIDDEN, PASSES, BATCH, RATE, DECAY = 256, 6, 256, 1e-3, 0.02
#: Share of the features, and of the units between, that a step does not see.
DROPOUT = 0.2
#: Side of the network's input, and of the seven-expression network's.
SIDE, ASKED = 96, 112

Ask = Callable[[Tensor], Tensor]
Seen = Callable[[Tensor], tuple[Tensor, Tensor]]


def copies_of(pictures: Tensor, frames: Tensor, rng: torch.Generator) -> Tensor:
    """Return mildly changed copies (B, 1, 96, 96) of the `frames` (B, 2, 3) of pictures (B, 1, S, S) in [0, 1].

    Four in five are moved (a crop 15 % tighter to 20 % looser, up to 10 degrees of roll, 8 % of shift), half mirrored,
    three in five seen under other light, softer, coarser, compressed, noisy or partly covered.
    """
    k = len(pictures)
    move = (torch.rand(k, generator=rng) < 0.8).float()
    scale = (move * uniform(k, -0.15, 0.2, rng)).exp()
    roll = move * uniform(k, -10, 10, rng)
    matrix = affine(scale, roll * (math.pi / 180), move * uniform(k, -0.04, 0.04, rng))
    shift = move[:, None] * (torch.rand(k, 2, generator=rng) * 2 - 1) * 0.08
    flip = torch.rand(k, generator=rng) < 0.5
    matrix = matrix * torch.where(flip, -1.0, 1.0)[:, None, None] ** torch.tensor([1.0, 0.0])
    center = frames[:, :, 2] + frames[:, :, :2].sum(2) / 2
    shift = 2 * center - 1 + (frames[:, :, :2] @ shift[:, :, None])[:, :, 0]
    copies, _ = warp(pictures, torch.zeros(k, 1, 2), frames[:, :, :2] @ matrix, shift, "border", SIDE)
    worse = torch.rand(k, generator=rng) < 0.6
    copies[worse] = degraded(copies[worse], rng)
    return copies.clamp(0, 1)


def seven_expressions(models: Path) -> Ask:
    """Return the seven-expression network: pictures (B, 1, 96, 96) -> posteriors (B, 7), as `facenet.EXPRESSIONS`."""
    teacher = teachers_of(("expression",), models)["expression"]

    def ask(pictures: Tensor) -> Tensor:
        large = F.interpolate(pictures, (ASKED, ASKED), mode="bicubic").clamp(0, 1)
        rgb = (large * 255).round().to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
        columns = list(photos.EXPRESSION_COLUMNS)
        return torch.from_numpy(teacher(np.ascontiguousarray(rgb.numpy())))[:, columns]

    return ask


def write_copies(
    network: FaceNet, seen: Seen, chance: NDArray[np.float64], ask: Ask, file: Path, faces: int = FACES
) -> None:
    """Write what the body finds in changed copies, and what the network asked says: one file, its number the seed.

    `seen` returns pictures and frames of rows, `chance` (N,) is that of each to be drawn. features (M, 1040) float16,
    seven (M, 7), rows (M,).
    """
    number = int(file.stem.rsplit("_", 1)[1])
    rng, draw = torch.Generator().manual_seed(9000 + number), np.random.default_rng((11, number))
    candidates = np.flatnonzero(chance)
    pooled: list[Tensor] = []
    hook = network.embed.register_forward_pre_hook(lambda _, given: pooled.append(given[0]))
    parts: dict[str, list[Tensor]] = {"features": [], "seven": [], "rows": []}
    for _ in range(faces // AT_ONCE):
        rows = torch.from_numpy(draw.choice(candidates, AT_ONCE, p=chance[candidates]))
        pictures = copies_of(*seen(rows), rng)
        with torch.inference_mode(), mixed_precision():
            out, _ = network.looks(pictures.contiguous(memory_format=torch.channels_last))
        parts["features"].append(torch.cat((out.embedding, pooled.pop().float()), 1).half())
        parts["seven"].append(ask(pictures))
        parts["rows"].append(rows)
    hook.remove()
    scratch = file.with_suffix(".new.npz")
    np.savez(scratch, **{name: torch.cat(some).numpy() for name, some in parts.items()})
    scratch.replace(file)


def chances(seven: Tensor, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return how often each face (N,) is drawn: 0 but for `rows`, and more often what is rarely the first guess."""
    top = seven.argmax(1).numpy()
    count = np.bincount(top[rows], minlength=seven.shape[1])
    chance = np.zeros(len(seven))
    chance[rows] = (1 / np.maximum(count, FEWEST) ** DRAWN)[top[rows]]
    return chance / chance.sum()


def both_networks(copy: Tensor, seven: Tensor, five: Tensor) -> Tensor:
    """Return the geometric mean (M, 8) of both networks' posteriors of a changed copy and of the picture.

    `copy` (M, 7) is the seven-expression network's of the copy, `seven` and `five` (M, 8) both's of the picture. The
    five-expression one was not asked about the copy: it divides there as in the picture what the other leaves to its
    five.
    """
    share = five[:, :5] / five[:, :5].sum(1, keepdim=True).clamp_min(1e-6)
    other = torch.cat((share * copy[:, :5].sum(1, keepdim=True), copy[:, 5:]), 1)
    four = (copy, other, seven[:, :7], five[:, :7])
    return photos.geometric_mean(*((weight / 2, said) for weight, said in zip((*BOTH, *BOTH), four, strict=True)))


def fit(features: Tensor, target: Tensor, seed: int) -> nn.Sequential:
    """Return the two layers, fitted to targets (M, 7) by cross-entropy; the output for contempt stays at 0."""
    torch.manual_seed(seed)
    last = nn.Linear(HIDDEN, target.shape[1])
    first = nn.Linear(features.shape[1], HIDDEN)
    student = nn.Sequential(nn.Dropout(DROPOUT), first, nn.SiLU(), nn.Dropout(DROPOUT), last)
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=DECAY)
    weight = target @ (1 / target.mean(0).clamp_min(1e-3)) ** RARITY
    weight = weight / weight.mean()
    steps = len(features) // BATCH
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1 - step / (PASSES * steps), 0.01))
    for _ in range(PASSES):
        order = torch.randperm(len(features))
        for k in range(steps):
            rows = order[k * BATCH : (k + 1) * BATCH]
            logs = student(features[rows].float()).log_softmax(1)
            optimizer.zero_grad()
            (-(target[rows] * logs).sum(1) * weight[rows]).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    whole = nn.Linear(HIDDEN, target.shape[1] + 1)
    with torch.no_grad():
        whole.weight.copy_(F.pad(last.weight, (0, 0, 0, 1)))
        whole.bias.copy_(F.pad(last.bias, (0, 1)))
    return nn.Sequential(first, nn.SiLU(), whole)


def with_readout(network: FaceNet, readout: nn.Sequential) -> FaceNet:
    """Return the network with this read-out of photographs in place of its own."""
    done = FaceNet(FaceNetConfig(detail=network.detail is not None, hidden=len(readout[0].weight)))
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("photographs.")}
    done.load_state_dict(state | {f"photographs.{k}": v for k, v in readout.state_dict().items()})
    return done.eval().requires_grad_(False)


def read_sets(args: argparse.Namespace) -> dict[str, tuple[Seen, NDArray[np.float64], tuple[Tensor, Tensor]]]:
    """Return, of crops and of photographs, what gives pictures and frames, chances, and what both networks said."""
    splits = split_groups(read_faces(args.data).groups, args.groups, args.seed)
    faces = read_faces(args.data)
    seven, five = photos.crop_teachers(args.data, args.models, args.targets)
    some = photos.read_photographs(args.wild, args.targets)
    parts = photos.split_photographs(some.groups, args.groups, args.seed)

    def crops(rows: Tensor) -> tuple[Tensor, Tensor]:
        small = faces.pictures[rows, None].float() / 255
        large = F.interpolate(small, scale_factor=2.0, mode="bicubic").clamp(0, 1)
        return large, torch.eye(3)[:2].expand(len(rows), 2, 3)

    def wild(rows: Tensor) -> tuple[Tensor, Tensor]:
        return some.pictures[rows, None].float() / 255, some.frames[rows]

    teachers = (some.expression, some.emotion)
    return {
        "crops": (crops, chances(seven[:, :7], np.flatnonzero(splits["train"])), (seven, five)),
        "wild": (wild, chances(some.expression[:, :7], np.flatnonzero(parts["train"])), teachers),
    }


def main() -> None:
    """Compute the features, fit, and write WORK/body.safetensors."""
    parser = options()
    parser.add_argument("--files", type=int, nargs=2, default=(4, 6), help="of copies: of crops, of photographs")
    parser.add_argument("--faces", type=int, default=FACES, help="copies a file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    body, end = args.work / "body.safetensors", time.monotonic() + 60 * args.minutes
    network, sets, ask = load_facenet(str(body)), read_sets(args), seven_expressions(args.models)
    features, targets = [], []
    for (name, (seen, chance, teachers)), count in zip(sets.items(), args.files, strict=True):
        for number in range(count):
            file = args.work / f"distilled_{name}_{number}.npz"
            if not file.exists():
                if time.monotonic() > end:
                    return
                write_copies(network, seen, chance, ask, file, args.faces)
                print(file.name, flush=True)
            with np.load(file) as copies:
                features.append(torch.from_numpy(copies["features"]))
                said = [teacher[torch.from_numpy(copies["rows"])] for teacher in teachers]
                targets.append(both_networks(torch.from_numpy(copies["seven"]), *said))
    network = with_readout(network, fit(torch.cat(features), torch.cat(targets), args.seed))
    save_file(stored(network), body, {**metadata_of(body), "copies": str(sum(map(len, features)))})


if __name__ == "__main__":
    main()
