"""Train the builtin network: votes, points and blendshapes of FER2013's faces, other networks' answers on photographs.

    python benchmarks/builtin_targets.py ...          (once, see there)
    python benchmarks/train_builtin.py --work builtin-work [--start WEIGHTS]

Seeded. It goes on from the weights in `--start` (those in the package by default; `--start ""` from nothing), and can
be stopped and continued: `--minutes 10` ends after the round in which ten minutes have passed, `--resume` goes on. The
learning rate is constant but for its first round and its last `--decay-rounds`, so that a run can be continued with
another `--rounds` as if it had been planned so. On a CPU two processes of one thread each share every batch.

What it writes: WORK/state.safetensors (to continue), WORK/log.jsonl, and after each round WORK/body.safetensors, the
averaged weights in float16. `builtin_finish.py` weighs the two read-outs of expressions and writes what is to be copied
to fercleaner/weights.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import builtin_photographs as photos
import numpy as np
import torch
import torch.distributed as dist
from builtin_batches import (
    SHARE_PHOTOGRAPHS,
    Batch,
    Targets,
    canonical,
    crop_targets,
    crops_batch,
    joined,
    photograph_targets,
    photographs_batch,
)
from builtin_data import Faces, read_faces, split_groups, teacher_values
from builtin_figures import expression_figures, shape_figures
from builtin_start import mixed_precision, start_network
from builtin_state import State, share_buffers, share_gradients
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fercleaner.encoders.facenet import FaceNet, FaceOutput, mirror_names

#: Weights of the parts of the loss.
PARTS = {"votes": 1.0, "photographs": 0.7, "points": 5.0, "blendshapes": 3.0, "found": 0.1}
#: Blendshapes that vary less count as constant in the loss.
RAREST = 1e-4


def losses(out: FaceOutput, photographs: Tensor, batch: Batch, scale: Tensor) -> dict[str, Tensor]:
    """Return the parts of the loss for one batch; `scale` (52,) weighs the blendshapes."""
    found = batch.found.float()
    some = found.sum().clamp_min(1)
    votes = -(batch.votes * out.logits.log_softmax(1)).sum(1)
    teacher = -(batch.photographs[:, :7] * photographs[:, :7].log_softmax(1)).sum(1)
    points = batch.points
    eyes = (points[:, 36:42].mean(1) - points[:, 42:48].mean(1)).norm(dim=1).clamp_min(0.12)
    off = (out.points - points).abs().mean((1, 2)) * 2 / eyes
    shapes = F.binary_cross_entropy_with_logits(out.blendshapes, batch.blendshapes, reduction="none")
    return {
        "votes": (votes * batch.weight).mean(),
        "photographs": (teacher * batch.weight).mean(),
        "points": (off * found).sum() / some,
        "blendshapes": ((shapes * scale).sum(1) * found).sum() / some,
        "found": F.binary_cross_entropy_with_logits(out.found, found),
    }


def blendshape_scale(faces: Faces, rows: NDArray[np.intp]) -> Tensor:
    """Return (52,) weights, 1 / (m (1 - m)) of each that varies with mean m, so that rarely raised ones count."""
    known = rows[faces.found[rows].numpy()]
    usual = teacher_values(faces.blendshapes[known], faces).mean(0).clamp(RAREST, 1 - RAREST)
    scale = faces.varying / (usual * (1 - usual))
    return scale / scale.sum()


def learning_rate(step: int, per_round: int, args: argparse.Namespace) -> float:
    """Return the learning rate: linear rise in the first round, constant, linear fall to a hundredth."""
    rise = min(1.0, (step + 1) / per_round)
    left = (args.rounds * per_round - step) / (args.decay_rounds * per_round)
    return float(args.lr * rise * max(min(1.0, left), 0.01))


def photographs_among(faces: int, without: str) -> int:
    """Return how many of a batch's faces are photographs; `without` is the source left out, "" for none."""
    return {"crops": faces, "wild": 0}.get(without, round(faces * SHARE_PHOTOGRAPHS))


def quick_figures(
    network: FaceNet, faces: Faces, sets: tuple[Targets, Targets], choose: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> dict[str, float]:
    """Figures of one look at 800 crops and 600 photographs held back for choosing, for the log."""
    (crops, wild), rows, some = sets, choose[0][:800], torch.from_numpy(choose[1][:600])
    with torch.inference_mode(), mixed_precision():
        out, guess = network.looks(crops.pictures[rows, None].float() / 255)
        seen, other = network.looks(canonical(wild, some))
    result = expression_figures(out.logits, faces, rows, 1.0) | shape_figures(out, faces, rows)
    right = (guess[:, :7].argmax(1) == crops.photographs[rows].argmax(1)).float()
    return {key: value for key, value in result.items() if isinstance(value, float)} | {
        "crops_teacher": float(right.mean()),
        "wild_votes": float((seen.logits.argmax(1) == wild.votes[some].argmax(1)).float().mean()),
        "wild_teacher": float((other[:, :7].argmax(1) == wild.photographs[some].argmax(1)).float().mean()),
        "wild_teacher_loss": float(-(wild.photographs[some, :7] * other[:, :7].log_softmax(1)).sum(1).mean()),
    }


def starting_posteriors(network: FaceNet, wild: Targets, temperature: float) -> Tensor:
    """Return what the starting network says of the photographs' canonical frames and their mirror images, (N, 8)."""
    parts = []
    with torch.inference_mode(), mixed_precision():
        for start in range(0, len(wild.pictures), 128):
            x = canonical(wild, torch.arange(start, min(start + 128, len(wild.pictures))))
            both = network.looks(x)[0].logits + network.looks(x.flip(3))[0].logits
            parts.append((both / 2 / temperature).softmax(1))
    return torch.cat(parts)


def read_crops(args: argparse.Namespace) -> tuple[Faces, Targets, NDArray[np.intp]]:
    """Return FER2013's faces, their targets, and the rows kept for choosing."""
    splits = split_groups(read_faces(args.data).groups, args.groups, args.seed)
    faces = read_faces(args.data, splits["train"], args.targets / "ferplus_mesh.npz")
    crops = crop_targets(
        faces, photos.crop_teachers(args.data, args.models, args.targets), np.flatnonzero(splits["train"])
    )
    return faces, crops, np.flatnonzero(splits["choose"])


def read_all(args: argparse.Namespace) -> tuple[Faces, tuple[Targets, Targets], tuple[NDArray[np.intp], ...]]:
    """Return FER2013's faces, both sets' targets, and the rows of each kept for choosing."""
    faces, crops, choose = read_crops(args)
    some = photos.read_photographs(args.wild, args.targets)
    parts = photos.split_photographs(some.groups, args.groups, args.seed)
    ours = torch.from_numpy(np.load(args.work / "wild_start.npy"))
    cleaned = photos.cleaned_labels(args.cleaned, some.names) if args.cleaned else None
    wild = photograph_targets(some, ours, np.flatnonzero(parts["train"]), cleaned)
    return faces, (crops, wild), (choose, np.flatnonzero(parts["choose"]))


def optimizer_of(model: nn.Module, args: argparse.Namespace) -> torch.optim.AdamW:
    """Return AdamW; vectors (norms, biases) do not decay."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": args.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.99), foreach=True)


def one_round(
    state: State, sets: tuple[Targets, Targets], scale: Tensor, mirror: list[int], rank: int, args: argparse.Namespace
) -> dict[str, float]:
    """Take `args.steps` steps; return the mean parts of the loss."""
    model, share = state.model, args.batch // args.processes
    some = photographs_among(share, args.without)
    seed = (args.seed, state.round, rank)
    draw = np.random.default_rng(seed)
    rng = torch.Generator().manual_seed(int(draw.integers(2**62)))
    torch.manual_seed(int(draw.integers(2**62)))
    model.train()
    totals: dict[str, float] = {}
    for _ in range(args.steps):
        parts = zip((crops_batch, photographs_batch), sets, (share - some, some), strict=True)
        batch = joined(*(make(of, of.drawn(count, draw), mirror, rng) for make, of, count in parts if count))
        for group in state.optimizer.param_groups:
            group["lr"] = learning_rate(state.step, args.steps, args)
        with mixed_precision():
            out, guess = model.looks(batch.pictures.contiguous(memory_format=torch.channels_last))
        costs = losses(out, guess, batch, scale)
        torch.stack([PARTS[name] * value for name, value in costs.items()]).sum().backward()
        if args.processes > 1:
            share_gradients(model)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
        if rank == 0:
            state.update_average(args.average_decay)
        for name, value in costs.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) / args.steps
    state.round += 1
    return totals


def train(rank: int, args: argparse.Namespace) -> None:
    """Run one of the processes that share the training."""
    torch.set_num_threads(args.threads)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ["MASTER_PORT"] = str(args.port)
    dist.init_process_group("gloo", rank=rank, world_size=args.processes)
    faces, sets, choose = read_all(args)
    mirror = mirror_names((args.data / "blendshape_names.txt").read_text().split())
    scale = blendshape_scale(faces, sets[0].rows)
    torch.manual_seed(args.seed)
    model = start_network(args.start).to(memory_format=torch.channels_last)
    model.requires_grad_(True)
    state = State(model, optimizer_of(model, args))
    if args.resume and (args.work / "state.safetensors").exists():
        state.load(args.work / "state.safetensors")
    end = time.monotonic() + 60 * args.minutes
    going = torch.ones(1)
    while state.round < args.rounds and going.item() > 0:
        start = time.monotonic()
        totals = one_round(state, sets, scale, mirror, rank, args)
        share_buffers(model)
        if rank == 0:
            state.save(args.work / "state.safetensors")
            line: dict[str, Any] = {"round": state.round, "seconds": round(time.monotonic() - start, 1)} | totals
            network = state.averaged_network()
            state.save_average(args.work / "body.safetensors")
            if state.round % args.judge == 0 or state.round == args.rounds:
                line |= quick_figures(network, faces, sets, (choose[0], choose[1]))
            text = json.dumps({k: round(v, 4) for k, v in line.items()})
            print(text, flush=True)
            with (args.work / "log.jsonl").open("a") as file:
                file.write(text + "\n")
            going.fill_(float(time.monotonic() < end))
        dist.broadcast(going, 0)
    dist.destroy_process_group()


def prepare_start(args: argparse.Namespace) -> None:
    """Write what the starting network says of the photographs, once (WORK/wild_start.npy).

    Without a starting network the two networks' geometric mean stands in its place.
    """
    file = args.work / "wild_start.npy"
    if file.exists():
        return
    some = photos.read_photographs(args.wild, args.targets)
    everything = photograph_targets(some, some.expression, np.arange(len(some.labels)))
    if args.start:
        network = start_network(args.start)
        said = starting_posteriors(network.eval(), everything, args.start_temperature)
    else:
        said = photos.geometric_mean((0.5, some.expression), (0.5, some.emotion))
    scratch = file.with_suffix(".new.npy")
    np.save(scratch, said.numpy())
    scratch.replace(file)


def options() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    shared, weights = root.parent / "shared", root / "fercleaner" / "weights"
    parser.add_argument("--data", type=Path, default=shared / "ferplus")
    parser.add_argument("--wild", type=Path, default=shared / "wild")
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--targets", type=Path, required=True, help="folder of what builtin_targets.py wrote")
    parser.add_argument("--cleaned", type=Path, help="labels of photographs, cleaned (see builtin_photographs.py)")
    parser.add_argument("--without", default="", choices=("crops", "wild"), help="leave one source out")
    parser.add_argument("--groups", type=Path, default=weights / "heldback_groups.json")
    parser.add_argument("--work", type=Path, required=True, help="where state, log and results go")
    parser.add_argument("--start", default=str(weights / "builtin.safetensors"), help="weights to go on from")
    parser.add_argument("--start-temperature", type=float, default=0.6802, help="temperature of its posteriors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--decay-rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=100, help="steps of a round")
    parser.add_argument("--minutes", type=float, default=1e6, help="stop after the round in which they have passed")
    parser.add_argument("--judge", type=int, default=4, help="rounds between figures in the log")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--average-decay", type=float, default=0.995)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument("--port", type=int, default=29517)
    parser.add_argument("--resume", action="store_true", help="continue from WORK/state.safetensors, if it is there")
    return parser


def main() -> None:
    """Read the options and start the processes."""
    args = options().parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    prepare_start(args)
    torch.multiprocessing.spawn(train, (args,), nprocs=args.processes)


if __name__ == "__main__":
    main()
