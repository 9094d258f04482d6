"""Weigh the builtin network's two read-outs of expressions, and write what is to be copied to fercleaner/weights.

    python benchmarks/builtin_finish.py --targets TARGETS --work WORK

From WORK/body.safetensors it makes WORK/builtin.safetensors, builtin.json, trained_on.npy and home.npz. The exponents
of the read-outs (`FaceNet.pool`) are chosen on faces held back for choosing: without detail on FER2013's, against the
votes; with detail on photographs, against their labels as they came, every expression weighing the same.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builtin_photographs as photos
import numpy as np
import torch
from builtin_batches import RARITY, TEACHERS, canonical, photograph_targets
from builtin_data import Faces, read_faces, split_groups
from builtin_state import stored
from evaluate_builtin import clear_rows, expression_figures, figures, js_divergence, run_network
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from train_builtin import PARTS, options

from fercleaner.encoders.alignment import average_with_aligned
from fercleaner.encoders.builtin import picture_digests
from fercleaner.encoders.builtin_home import measure
from fercleaner.encoders.facenet import (
    EXPRESSIONS,
    FaceNet,
    FaceOutput,
    both_logs,
    count_parameters,
    load_facenet,
    mirror_names,
)
from fercleaner.landmarks.action_units import BLENDSHAPES

#: Shares of `photographs` and temperatures that are tried.
SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
TEMPERATURES = tuple(0.5 * 1.08**k for k in range(24))
SHAPES = mirror_names(BLENDSHAPES)


class BothReadouts(nn.Module):
    """The network with the log posteriors of both read-outs side by side as logits, (B, 16)."""

    def __init__(self, network: FaceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> FaceOutput:
        """Return the outputs, logits (B, 16)."""
        out, photographs = self.network.looks(pictures)
        return out._replace(logits=torch.cat(both_logs(out.logits, photographs), 1))


def pooled(both: Tensor, share: float, temperature: float) -> Tensor:
    """Return the logits (N, 8) of both read-outs (N, 16) with these exponents."""
    return ((1 - share) * both[:, :8] + share * both[:, 8:]) / temperature


def photograph_logs(network: FaceNet, wild: Any, rows: NDArray[np.intp]) -> Tensor:
    """Return both read-outs (N, 16) of photographs in their canonical frames, as the package looks at them."""
    parts = []
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        for start in range(0, len(rows), 64):
            fine = canonical(wild, torch.from_numpy(rows[start : start + 64]))
            small = torch.nn.functional.avg_pool2d(fine, 2)
            parts.append(average_with_aligned(BothReadouts(network), small, SHAPES, fine).logits)
    return torch.cat(parts)


def best_temperature(loss: Any) -> float:
    """Return the temperature of `TEMPERATURES` with the smallest `loss(temperature)`."""
    return min(TEMPERATURES, key=loss)


def choose_small(both: Tensor, faces: Faces, rows: NDArray[np.intp]) -> tuple[float, float, list[dict[str, Any]]]:
    """Return share and temperature for faces without detail, and the figures of every share.

    The share with the largest accuracy + half the recall of votes - divergence; the temperature with the smallest
    divergence from the votes over all faces.
    """
    votes, weight = faces.votes[rows], faces.weight[rows]
    tried = []
    for share in SHARES:
        t = best_temperature(
            lambda t, share=share: float((js_divergence(pooled(both, share, t).softmax(1), votes) * weight).mean())
        )
        row = expression_figures(pooled(both, share, t), faces, rows, 1.0)
        tried.append({"share": share, "temperature": round(t, 4)} | row)
    best = max(tried, key=lambda row: row["accuracy"] + 0.5 * row["vote_recall"] - row["js"])
    return best["share"], best["temperature"], tried


def label_figures(logits: Tensor, labels: NDArray[np.str_]) -> dict[str, float]:
    """Return how logits (N, 8) agree with labels: accuracy, mean recall, balanced log loss, calibration error."""
    posterior = logits[:, :7].softmax(1)
    known = np.isin(labels, EXPRESSIONS[:7])
    truth = torch.tensor([EXPRESSIONS.index(label) for label in labels[known]])
    p = posterior[torch.from_numpy(known)]
    right = (p.argmax(1) == truth).float()
    present = truth.unique().tolist()
    loss = -p.gather(1, truth[:, None])[:, 0].clamp_min(1e-6).log()
    sure = p.max(1).values
    bins = (sure * 10).long().clamp_max(9)
    gaps = [(right[bins == k].sum() - sure[bins == k].sum()).abs() for k in bins.unique().tolist()]
    return {
        "faces": len(truth),
        "accuracy": float(right.mean()),
        "mean_recall": float(np.mean([float(right[truth == c].mean()) for c in present])),
        "balanced_loss": float(np.mean([float(loss[truth == c].mean()) for c in present])),
        "calibration_error": float(sum(gaps)) / len(truth),
        "confidence": float(sure.mean()),
    }


def choose_detailed(both: Tensor, labels: NDArray[np.str_]) -> tuple[float, float, list[dict[str, Any]]]:
    """Return share and temperature for faces with detail: the smallest balanced log loss of labels as they came."""
    tried = []
    for share in SHARES:
        t = best_temperature(lambda t, share=share: label_figures(pooled(both, share, t), labels)["balanced_loss"])
        tried.append({"share": share, "temperature": round(t, 4)} | label_figures(pooled(both, share, t), labels))
    best = min(tried, key=lambda row: row["balanced_loss"])
    return best["share"], best["temperature"], tried


def main() -> None:
    """Choose the exponents and write the files."""
    args = options().parse_args()
    torch.set_num_threads(args.threads)
    splits = split_groups(read_faces(args.data).groups, args.groups, args.seed)
    faces = read_faces(args.data, splits["train"], args.targets / "ferplus_mesh.npz")
    some = photos.read_photographs(args.wild, args.targets)
    parts = photos.split_photographs(some.groups, args.groups, args.seed)
    rows, kept = np.flatnonzero(splits["choose"]), np.flatnonzero(parts["choose"])
    network = load_facenet(str(args.work / "body.safetensors"))
    crops = run_network(BothReadouts(network), faces.pictures[rows], mirror=True).logits
    wild = photograph_targets(some, some.expression, kept)
    share, temperature, small = choose_small(crops, faces, rows)
    photographs = photograph_logs(network, wild, kept)
    share_detailed, temperature_detailed, large = choose_detailed(photographs, some.labels[kept])
    network.pool.copy_(
        torch.tensor([[1 - share, share], [1 - share_detailed, share_detailed]])
        / torch.tensor([[temperature], [temperature_detailed]])
    )
    tensors = stored(network)
    network.load_state_dict(tensors, strict=False)
    save_file(tensors, args.work / "builtin.safetensors")
    write_trained_on(args.work / "trained_on.npy", faces, splits["train"], wild, parts["train"])
    held = np.flatnonzero(~splits["train"])
    held = held[clear_rows(faces.counts[held]).numpy()]
    out = run_network(network, faces.pictures[held], mirror=True, half=False)
    guess = np.array(EXPRESSIONS)[faces.counts[held][:, :7].argmax(1).numpy()]
    np.savez(args.work / "home.npz", **measure(out.embedding.numpy(), guess))
    result = figures(network, faces, rows, 1.0, mirror=True)
    spec = describe(network, faces, args) | {
        "chosen": {"without detail": small, "with detail": large},
        "choose": {k: round(v, 4) for k, v in result.items() if isinstance(v, float)},
    }
    (args.work / "builtin.json").write_text(json.dumps(spec, indent=1) + "\n")
    print(json.dumps(spec["chosen"], indent=1), json.dumps(spec["choose"]), flush=True)


def write_trained_on(
    file: Path, faces: Faces, crops: NDArray[np.bool_], wild: Any, photographs: NDArray[np.bool_]
) -> None:
    """Write the digests of the pictures that were trained on, as the package prepares them."""
    from PIL import Image

    from fercleaner.encoders.builtin import prepare_face

    seen = [prepare_face(picture) for picture in wild.pictures[torch.from_numpy(photographs)].numpy()]
    del Image
    digests = np.concatenate([picture_digests(faces.pictures[crops].numpy()), picture_digests(np.stack(seen))])
    np.save(file, np.unique(digests))


def describe(network: FaceNet, faces: Faces, args: Any) -> dict[str, Any]:
    """Return the description that stands beside the weights."""
    with safe_open(args.work / "body.safetensors", "pt") as file:
        rounds = int(file.metadata()["round"])
    return {
        "network": "FaceNet",
        "parameters": count_parameters(network),
        "input": [96, 96],
        "classes": list(EXPRESSIONS),
        "temperature": 1.0,
        "blendshapes": list(BLENDSHAPES),
        "blendshape_mean": [round(float(v), 6) for v in faces.blend_mean],
        "blendshape_varies": [bool(v) for v in faces.varying],
        "training": {
            "seed": args.seed,
            "rounds": rounds,
            "decay_rounds": args.decay_rounds,
            "steps": args.steps,
            "batch": args.batch,
            "learning_rate": args.lr,
            "weight_decay": args.weight_decay,
            "average_decay": args.average_decay,
            "loss_weights": PARTS,
            "rarity": RARITY,
            "teachers_of_photographs": TEACHERS,
        },
    }


if __name__ == "__main__":
    main()
