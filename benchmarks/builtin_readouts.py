"""Fit read-outs of the builtin network on a body that stays as it is: a cheap way to teach it something more.

    python benchmarks/builtin_readouts.py --targets TARGETS --work WORK [--start WEIGHTS] [--body]

The features of changed faces are computed once, 1,024 a file (WORK/features_*.npz; the same command goes on after a
stop), rare expressions drawn more often. On these alone

- `photographs` learns what the seven-expression teacher says of crops and photographs (cross-entropy, every expression
  weighing the same), if it is one layer; `builtin_distill.py` fits one of two;
- without `--body`, the points of the jaw learn their places anew (mean absolute error in eye distances): weights made
  before had py-feat's jaw, in which the chin is point 10;
- with `--votes` the votes' layer goes on too, on crops (cRT: Kang et al., ICLR 2020, with weights for sampling).

`--body` starts from WORK/body.safetensors, which `train_builtin.py` writes. The result replaces it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from builtin_batches import Batch, Targets, crops_batch, photographs_batch
from builtin_data import JAW
from builtin_start import mixed_precision, start_network
from builtin_state import stored
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fercleaner.encoders.facenet import FaceNet, FaceNetConfig, load_facenet, mirror_names
from fercleaner.landmarks.action_units import BLENDSHAPES

#: Faces a file, and of how many of a set's files the features of the points are kept.
FACES, POINT_FILES = 1024, 2
#: Passes over all features, faces a step, learning rate (falls to 0).
PASSES, BATCH, RATE = 12, 256, 1e-3
#: The same for the jaw.
JAW_PASSES, JAW_BATCH, JAW_RATE = 6, 64, 2e-3

Maker = Callable[[Targets, Tensor, list[int], torch.Generator], Batch]
Arrays = dict[str, NDArray[np.generic]]


def file_features(
    network: FaceNet, some: Targets, make: Maker, number: int, points: bool, faces: int = FACES
) -> Arrays:
    """Return the features of changed faces, the file's `number` being the seed.

    embedding (M, 256), votes and photographs (M, 8), weight (M,); with `points` also mix (M, 96, 12, 12) and shape
    (M, 256), what the head of the points sees, places (M, 68, 2), and there (M,), whether they are known.
    """
    mirror = mirror_names(BLENDSHAPES)
    rows = some.drawn(faces, np.random.default_rng((7, number)))
    rng = torch.Generator().manual_seed(1000 + number)
    seen: dict[str, Tensor] = {}
    hooks = [
        network.points.votes.register_forward_pre_hook(lambda _, given: seen.update(mix=given[0])),
        network.points.correction.register_forward_pre_hook(lambda _, given: seen.update(shape=given[0])),
    ]
    parts: dict[str, list[Tensor]] = {}
    try:
        for start in range(0, faces, 128):
            batch = make(some, rows[start : start + 128], mirror, rng)
            with torch.inference_mode(), mixed_precision():
                out, _ = network.looks(batch.pictures.contiguous(memory_format=torch.channels_last))
            kept = {"embedding": out.embedding.half(), "votes": batch.votes, "photographs": batch.photographs}
            kept["weight"] = batch.weight
            if points:
                kept |= {"mix": seen["mix"].half(), "shape": seen["shape"].half()}
                kept |= {"places": batch.points, "there": batch.found}
            for name, value in kept.items():
                parts.setdefault(name, []).append(value)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: torch.cat(values).numpy() for name, values in parts.items()}


def write_features(network: FaceNet, some: Targets, make: Maker, files: list[Path], faces: int = FACES) -> None:
    """Write the features of changed faces to those of the files that are not there yet."""
    for number, file in enumerate(files):
        if not file.exists():
            arrays = file_features(network, some, make, number, number < POINT_FILES, faces)
            np.savez(file.with_suffix(".new.npz"), **arrays)
            file.with_suffix(".new.npz").replace(file)
            print(file.name, flush=True)


def read_features(work: Path, names: tuple[str, ...], which: str = "*") -> list[Tensor]:
    """Return these arrays of all files that have them, one after the other."""
    parts: dict[str, list[Tensor]] = {name: [] for name in names}
    for file in sorted(work.glob(f"features_{which}.npz")):
        with np.load(file) as stored_file:
            if set(names) <= set(stored_file.files):
                for name in names:
                    parts[name].append(torch.from_numpy(stored_file[name]))
    return [torch.cat(values) for values in parts.values()]


def descend(
    layers: nn.Module, loss: Callable[[Tensor], Tensor], count: int, steps: tuple[int, int, float], seed: int
) -> None:
    """Minimize `loss(rows)` over the weights of `layers`; `steps` is passes, rows a step, rate, which falls to 0."""
    passes, size, rate = steps
    optimizer = torch.optim.AdamW(layers.parameters(), lr=rate, weight_decay=0.0)
    rng = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    per_pass = max(count // size, 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(1 - step / (passes * per_pass), 0.01))
    for _ in range(passes):
        order = torch.randperm(count, generator=rng)
        for k in range(per_pass):
            optimizer.zero_grad()
            loss(order[k * size : (k + 1) * size]).backward()
            optimizer.step()
            schedule.step()


def balanced(target: Tensor) -> Tensor:
    """Return weights (M,) with which every expression weighs the same in `target`, mean 1."""
    total = target.sum(0)
    weight = target @ (1 / total.clamp_min(1e-3 * float(total.sum())))
    return weight / weight.mean()


def fit_expressions(layer: nn.Linear, embedding: Tensor, target: Tensor, seed: int, passes: int = PASSES) -> None:
    """Fit the layer to targets (M, C), C its first outputs, by balanced cross-entropy; it goes on from its weights."""
    weight, width = balanced(target), target.shape[1]

    def loss(rows: Tensor) -> Tensor:
        logits = layer(F.dropout(embedding[rows].float(), 0.2))[:, :width]
        mean: Tensor = (-(target[rows] * logits.log_softmax(1)).sum(1) * weight[rows]).mean()
        return mean

    layer.requires_grad_(True)
    descend(layer, loss, len(embedding), (passes, BATCH, RATE), seed)
    layer.requires_grad_(False)


def fit_jaw(network: FaceNet, features: list[Tensor], seed: int, passes: int = JAW_PASSES) -> None:
    """Fit the rows of the jaw in the head of the points, on (mix, shape, places, there)."""
    mix, shape, places, there = features
    known = there.nonzero()[:, 0]
    head = network.points
    jaw = range(68)[JAW]
    votes = nn.Conv2d(head.votes.in_channels, 3 * len(jaw), 1)
    correction = nn.Linear(head.correction.in_features, 2 * len(jaw))
    pairs = ((votes, head.votes), (correction, head.correction))
    with torch.no_grad():
        for some, whole in pairs:
            some.weight.copy_(whole.weight[: len(some.weight)])
            some.bias.copy_(whole.bias[: len(some.bias)])

    def loss(rows: Tensor) -> Tensor:
        some = known[rows]
        found = head.place(votes(mix[some].float()), correction(shape[some].float()))
        eyes = (places[some, 36:42].mean(1) - places[some, 42:48].mean(1)).norm(dim=1).clamp_min(0.12)
        off: Tensor = ((found - places[some][:, JAW]).abs().mean((1, 2)) / eyes).mean()
        return off

    descend(nn.ModuleList([votes, correction]), loss, len(known), (passes, JAW_BATCH, JAW_RATE), seed)
    with torch.no_grad():
        for some, whole in pairs:
            whole.weight[: len(some.weight)] = some.weight
            whole.bias[: len(some.bias)] = some.bias


def without_finer_stem(network: FaceNet) -> FaceNet:
    """Return the network as it is but for its finer stem."""
    state = {k: v for k, v in network.state_dict().items() if not k.startswith("detail.")}
    plain = FaceNet(FaceNetConfig(detail=False))
    plain.load_state_dict(state)
    return plain.eval().requires_grad_(False)


def metadata_of(file: Path) -> dict[str, str]:
    """Return what a safetensors file says about itself."""
    with safe_open(file, "pt") as opened:
        return dict(opened.metadata() or {})


def main() -> None:
    """Compute the features, fit, and write WORK/body.safetensors."""
    from train_builtin import options, prepare_start, read_all, read_crops

    parser = options()
    parser.add_argument("--body", action="store_true", help="start from WORK/body.safetensors")
    parser.add_argument("--votes", action="store_true", help="fit the votes' layer too")
    parser.add_argument("--files", type=int, nargs=2, default=(4, 0), help="of features: of crops, of photographs")
    parser.add_argument("--faces", type=int, default=FACES, help="faces a file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    body = args.work / "body.safetensors"
    network = load_facenet(str(body)) if args.body else without_finer_stem(start_network(args.start))
    for name, make, count in zip(("crops", "wild"), (crops_batch, photographs_batch), args.files, strict=True):
        files = [args.work / f"features_{name}_{number}.npz" for number in range(count)]
        if all(file.exists() for file in files):
            continue
        if name == "wild":
            prepare_start(args)
        some = read_all(args)[1][1] if name == "wild" else read_crops(args)[1]
        write_features(network, some, make, files, args.faces)
    if isinstance(network.photographs, nn.Linear):
        embedding, photographs = read_features(args.work, ("embedding", "photographs"))
        fit_expressions(network.photographs, embedding, photographs[:, :7], args.seed)
    if args.votes:
        embedding, votes = read_features(args.work, ("embedding", "votes"), "crops_*")
        fit_expressions(network.classify, embedding, votes, args.seed)
    if not args.body:
        fit_jaw(network, read_features(args.work, ("mix", "shape", "places", "there")), args.seed)
    save_file(stored(network), body, metadata_of(body) if args.body else {"round": "0"})


if __name__ == "__main__":
    main()
