"""Train the builtin model: votes, landmarks and blendshapes of FER2013's training faces.

    python benchmarks/train_builtin.py --data ../shared/ferplus --work builtin-work

Seeded. On a CPU two processes of one thread each share every batch: as fast as two threads on an idle
machine, much faster on a busy one. The learning rate is constant but for its first epoch and its last
`--decay-epochs`, so that a run can be stopped and continued (`--resume`, with another `--epochs`) as if it had
been planned so. After each epoch the averaged weights are judged on the groups held back for choosing; the
best are kept (WORK/body.safetensors). Last, its read-outs of expressions and blendshapes are fitted again
(`builtin_readouts`), and what is to be copied to fercleaner/weights once final goes to WORK: builtin.safetensors,
builtin.json, trained_on.npy. With `--resume` after the last epoch only this last step is done.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import builtin_readouts
import numpy as np
import torch
import torch.distributed as dist
from builtin_augment import augment
from builtin_data import Faces, read_faces, split_groups
from evaluate_builtin import figures, fit_temperature
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from fercleaner.encoders.builtin import picture_digests
from fercleaner.encoders.facenet import (
    EMBEDDING_WIDTH,
    EXPRESSIONS,
    FaceNet,
    FaceOutput,
    count_parameters,
    load_facenet,
    mirror_names,
)

#: Weights of the parts of the loss. While the body learns, the blendshape head gives standardized values.
PARTS = {"votes": 1.0, "points": 5.0, "blendshapes": 2.5, "found": 0.1, "views": 0.5}
#: Rare expressions are drawn heavier by (share in the votes) to minus this power.
RARITY = 0.5


class Trainee(nn.Module):
    """The network, and a layer that maps its embedding to the outside views (dropped after training)."""

    def __init__(self, views: int) -> None:
        super().__init__()
        self.net = FaceNet()
        self.teach = nn.Linear(EMBEDDING_WIDTH, views)

    def forward(self, x: Tensor) -> tuple[FaceOutput, Tensor]:
        """Return the outputs and the guessed views."""
        out = self.net(x)
        return out, self.teach(out.embedding.to(self.teach.weight.dtype)).float()


def row_weights(faces: Faces, rows: np.ndarray[Any, Any]) -> Tensor:
    """Return (N,) weights of the votes: share of valid votes, times how rare the voted expressions are."""
    share = (faces.votes[rows] * faces.weight[rows, None]).sum(0)
    rare = (share / share.sum()).clamp_min(1e-3) ** -RARITY
    weight = (faces.votes @ rare) * faces.weight
    return weight / weight[rows].mean()


def losses(
    out: FaceOutput,
    guess: Tensor,
    faces: Faces,
    rows: Tensor,
    weight: Tensor,
    shape: tuple[Tensor, Tensor, Tensor],
) -> dict[str, Tensor]:
    """Return the parts of the loss for one batch; `shape` is points, blendshapes, which points are known."""
    points, blend, known = shape
    found = faces.found[rows].float()
    some = found.sum().clamp_min(1)
    votes = -(faces.votes[rows] * out.logits.log_softmax(1)).sum(1)
    eyes = (points[:, 36:42].mean(1) - points[:, 42:48].mean(1)).norm(dim=1).clamp_min(0.2)
    off = ((out.points - points).abs().mean(2) * known).sum(1) / known.sum(1) / eyes
    columns = faces.varying
    shapes = F.smooth_l1_loss(out.blendshapes[:, columns], blend[:, columns], beta=2.0, reduction="none").mean(1)
    parts = {
        "votes": (votes * weight[rows]).mean(),
        "points": (off * found).sum() / some,
        "blendshapes": (shapes * found).sum() / some,
        "found": F.binary_cross_entropy_with_logits(out.found, found),
    }
    width = guess.shape[1] // 2
    if width:
        target = faces.views[rows]
        pairs = ((guess[:, :width], target[:, :width]), (guess[:, width:], target[:, width:]))
        parts["views"] = torch.stack([1 - F.cosine_similarity(a, b, dim=1).mean() for a, b in pairs]).mean()
    return parts


def learning_rate(step: int, per_epoch: int, args: argparse.Namespace) -> float:
    """Return the learning rate: linear rise in the first epoch, constant, linear fall to a hundredth."""
    rise = min(1.0, (step + 1) / per_epoch)
    left = (args.epochs * per_epoch - step) / (args.decay_epochs * per_epoch)
    return float(args.lr * rise * max(min(1.0, left), 0.01))


class State:
    """Weights, averaged weights and the optimizer's moments, as one safetensors file."""

    def __init__(self, model: Trainee, optimizer: torch.optim.AdamW) -> None:
        self.model, self.optimizer = model, optimizer
        self.average = {k: v.clone() for k, v in model.state_dict().items()}
        self.step, self.epoch = 0, 0

    def update_average(self, decay: float) -> None:
        """Move the average towards the weights; early steps move it further."""
        rate = 1 - min(decay, (1 + self.step) / (10 + self.step))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, rate)
            else:
                self.average[name].copy_(value)

    def save(self, path: Path) -> None:
        """Write everything that continuing needs."""
        tensors = {f"model.{k}": v.contiguous() for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v.contiguous() for k, v in self.average.items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"adam.{key}.{name}"] = torch.as_tensor(value).contiguous().clone()
        save_file(tensors, path.with_suffix(".new"), {"step": str(self.step), "epoch": str(self.epoch)})
        path.with_suffix(".new").replace(path)

    def load(self, path: Path) -> None:
        """Read what `save` wrote."""
        tensors = load_file(path)
        self.model.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")})
        self.average = {k[8:]: v for k, v in tensors.items() if k.startswith("average.")}
        for name, parameter in self.model.named_parameters():
            self.optimizer.state[parameter] = {
                key: tensors[f"adam.{key}.{name}"] for key in ("step", "exp_avg", "exp_avg_sq")
            }
        with safe_open(path, "pt") as file:
            meta = file.metadata()
        self.step, self.epoch = int(meta["step"]), int(meta["epoch"])

    def averaged_network(self) -> FaceNet:
        """Return the network with the averaged weights, as it will be stored (float16), for inference."""
        network = FaceNet()
        state = {k[4:]: v for k, v in self.average.items() if k.startswith("net.")}
        network.load_state_dict({k: v.half().float() if v.is_floating_point() else v for k, v in state.items()})
        return network.eval().to(memory_format=torch.channels_last)


def share_gradients(model: Trainee) -> None:
    """Average the gradients over the processes, in one exchange."""
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for grad in grads:
        grad.copy_(flat[start : start + grad.numel()].view_as(grad))
        start += grad.numel()


def share_buffers(model: Trainee) -> None:
    """Average the batch-norm statistics over the processes."""
    for buffer in model.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= dist.get_world_size()


def stored(network: FaceNet) -> dict[str, Tensor]:
    """Return the tensors of the network as they are stored, in float16."""
    kept = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    return {k: v.half().contiguous() for k, v in kept.items()}


def best_so_far(work: Path) -> tuple[float, int]:
    """Return score and epoch of the body in WORK; minus infinity and 0 where there is none yet."""
    if not (work / "body.safetensors").exists():
        return -math.inf, 0
    with safe_open(work / "body.safetensors", "pt") as file:
        meta = file.metadata()
    return float(meta["score"]), int(meta["epoch"])


def read_split(args: argparse.Namespace, views: bool) -> tuple[Faces, dict[str, NDArray[np.bool_]]]:
    """Return the faces, scaled by the training rows alone, and the rows of each part."""
    splits = split_groups(read_faces(args.data, views=False).groups, args.groups, args.seed)
    return read_faces(args.data, splits["train"], views=views), splits


def finish(args: argparse.Namespace) -> None:
    """Fit the read-outs of the best body again and write weights (float16 safetensors) and their description."""
    torch.set_num_threads(args.threads)
    faces, splits = read_split(args, views=False)
    rows, choose = np.flatnonzero(splits["train"]), np.flatnonzero(splits["choose"])
    names = (args.data / "blendshape_names.txt").read_text().split()
    network = load_facenet(str(args.work / "body.safetensors"))
    builtin_readouts.refit(network, faces, rows, mirror_names(names), args.seed, half=not args.float32)
    tensors = stored(network)
    network.load_state_dict(tensors, strict=False)
    save_file(tensors, args.work / "builtin.safetensors")
    np.save(args.work / "trained_on.npy", np.unique(picture_digests(faces.pictures[rows].numpy())))
    temperature = fit_temperature(network, faces, choose)
    result = figures(network, faces, choose, temperature, mirror=True)
    spec = {
        "network": "FaceNet",
        "parameters": count_parameters(network),
        "input": [48, 48],
        "classes": list(EXPRESSIONS),
        "temperature": round(temperature, 4),
        "blendshapes": names,
        "blendshape_mean": [round(float(v), 6) for v in faces.blend_mean],
        "blendshape_varies": [bool(v) for v in faces.varying],
        "training": {
            "seed": args.seed,
            "epochs": args.epochs,
            "decay_epochs": args.decay_epochs,
            "best_epoch": best_so_far(args.work)[1],
            "batch": args.batch,
            "learning_rate": args.lr,
            "weight_decay": args.weight_decay,
            "average_decay": args.average_decay,
            "loss_weights": PARTS,
            "readouts": builtin_readouts.SETTINGS,
        },
        "choose": {k: round(v, 4) for k, v in result.items() if isinstance(v, float)},
    }
    (args.work / "builtin.json").write_text(json.dumps(spec, indent=1) + "\n")
    print(json.dumps(spec["choose"]), flush=True)


def score(result: dict[str, Any]) -> float:
    """Return what the choice of the epoch maximizes.

    "vote_recall" takes the place of the mean recall over clear faces: five clear faces of disgust among those for
    choosing would move the latter by .03 each, more than ten epochs do.
    """
    return float(
        result["accuracy"]
        + 0.5 * result["vote_recall"]
        - result["js"]
        - result["landmark_error_median"]
        + 0.2 * result["blendshape_correlation"]
    )


def train(rank: int, world: int, args: argparse.Namespace) -> None:
    """Run one of the processes that share the training."""
    torch.set_num_threads(args.threads)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ["MASTER_PORT"] = str(args.port)
    dist.init_process_group("gloo", rank=rank, world_size=world)
    faces, splits = read_split(args, views=not args.no_views)
    rows = np.flatnonzero(splits["train"])
    choose = np.flatnonzero(splits["choose"])
    mirror = mirror_names((args.data / "blendshape_names.txt").read_text().split())
    weight = row_weights(faces, rows)
    torch.manual_seed(args.seed)
    model = Trainee(faces.views.shape[1]).to(memory_format=torch.channels_last)
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": args.weight_decay}, {"params": plain, "weight_decay": 0.0}],
        lr=args.lr,
        betas=(0.9, 0.99),
        foreach=True,
    )
    state = State(model, optimizer)
    best = -math.inf
    if args.resume:
        state.load(args.work / "state.safetensors")
        best = best_so_far(args.work)[0]
    share = args.batch // world
    per_epoch = len(rows) // args.batch
    while state.epoch < args.epochs:
        start = time.perf_counter()
        order = np.random.default_rng((args.seed, state.epoch)).permutation(rows)
        rng = torch.Generator().manual_seed(args.seed * 1_000_003 + state.epoch * 101 + rank)
        torch.manual_seed(args.seed * 999_983 + state.epoch * 97 + rank)
        model.train()
        totals: dict[str, float] = {}
        for k in range(per_epoch):
            chosen = torch.from_numpy(order[k * args.batch :][rank * share : (rank + 1) * share])
            x, *shape = augment(
                faces.pictures[chosen, None].float() / 255,
                faces.points[chosen],
                faces.blendshapes[chosen],
                mirror,
                rng,
            )
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(state.step, per_epoch, args)
            with torch.autocast("cpu", torch.bfloat16, enabled=not args.float32):
                out, guess = model(x.contiguous(memory_format=torch.channels_last))
            parts = losses(out, guess, faces, chosen, weight, (shape[0], shape[1], shape[2]))
            torch.stack([PARTS[name] * value for name, value in parts.items()]).sum().backward()
            if world > 1:
                share_gradients(model)
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            optimizer.zero_grad()
            state.step += 1
            if rank == 0:
                state.update_average(args.average_decay)
            for name, value in parts.items():
                totals[name] = totals.get(name, 0.0) + float(value.detach())
        state.epoch += 1
        if world > 1:
            share_buffers(model)
        if rank == 0:
            state.save(args.work / "state.safetensors")
            network = state.averaged_network()
            result = figures(network, faces, choose, mirror=True, logits=False)
            line = {"epoch": state.epoch, "seconds": round(time.perf_counter() - start, 1)}
            line |= {name: round(value / per_epoch, 4) for name, value in totals.items()}
            line |= {name: round(value, 4) for name, value in result.items() if isinstance(value, float)}
            print(json.dumps(line), flush=True)
            with (args.work / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            if score(result) > best:
                best = score(result)
                about = {"score": str(best), "epoch": str(state.epoch)}
                save_file(stored(network), args.work / "body.safetensors", about)
        if world > 1:
            dist.barrier()
    dist.destroy_process_group()


def main() -> None:
    """Read the options and start the processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "ferplus")
    parser.add_argument("--groups", type=Path, default=root / "fercleaner" / "weights" / "heldback_groups.json")
    parser.add_argument("--work", type=Path, required=True, help="where state, log and results go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=32)
    parser.add_argument("--decay-epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--average-decay", type=float, default=0.998)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument("--port", type=int, default=29517)
    parser.add_argument("--no-views", action="store_true", help="without the outside views as teachers")
    parser.add_argument("--float32", action="store_true", help="without bfloat16")
    parser.add_argument("--resume", action="store_true", help="continue from WORK/state.safetensors")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.multiprocessing.spawn(train, (args.processes, args), nprocs=args.processes)
    finish(args)


if __name__ == "__main__":
    main()
