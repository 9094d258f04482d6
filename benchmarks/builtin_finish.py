"""Weigh the builtin network's two read-outs of expressions, and write what is to be copied to fercleaner/weights.

    python benchmarks/builtin_finish.py --targets TARGETS --work WORK [--judge-by REFINED]

From WORK/body.safetensors it makes WORK/builtin.safetensors, builtin.json and trained_on.npy, and sources.json: figures
of every weighing on the crops and photographs held back, with REFINED (all photographs after `fercleaner refine`)
also against cleaned labels. (`builtin_home.py` makes home.npz, last.) What is chosen (`FaceNet.pool`), on those for
choosing:

- the temperature of the votes' read-out: the smallest divergence from FER2013's votes. `photographs` has none;
- its share without detail: the smallest whose accuracy + half the recall of votes - divergence on FER2013's crops is
  within `ALIKE` of the best;
- its share with detail is `WITH_DETAIL`. No photographs at hand can choose it, since their labels have one habit; what
  each share costs against them stands in sources.json, and by where detail counts as full in builtin_detail.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import builtin_photographs as photos
import numpy as np
import torch
from builtin_batches import canonical, photograph_targets
from builtin_data import Faces, read_faces, split_groups
from builtin_figures import expression_figures, js_divergence, run_network, shape_figures
from builtin_readouts import BATCH, FACES, PASSES, RATE, metadata_of
from builtin_start import mixed_precision
from builtin_state import stored
from builtin_targets import pictures
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from train_builtin import PARTS, options

from fercleaner.encoders.alignment import average_with_aligned
from fercleaner.encoders.builtin import INPUT_SIZE, PrepareFace, picture_digests
from fercleaner.encoders.facenet import (
    EXPRESSIONS,
    FaceNet,
    FaceOutput,
    both_logs,
    count_parameters,
    load_facenet,
    mirror_names,
)
from fercleaner.extraction.detection import choose_framing
from fercleaner.landmarks.action_units import BLENDSHAPES

#: Shares of `photographs` and temperatures that are tried.
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
TEMPERATURES = tuple(0.5 * 1.04**k for k in range(32))
#: What scores on crops differ by at random: about one standard error.
ALIKE = 0.005
#: Share of `photographs` with full detail. On three posed sets the seven-expression network was right about .895, .675
#: and .681 of the faces, its geometric mean with weights that knew crops alone about .881, .677 and .610 (these weights
#: .715, .569, .394); `photographs` is less sure than that network, so that it counts for less at the same share.
WITH_DETAIL = 0.8
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
    """Return the logits (N, 8) of both read-outs (N, 16), the votes' with this temperature."""
    return (1 - share) / temperature * both[:, :8] + share * both[:, 8:]


def photograph_logs(network: FaceNet, wild: Any, rows: NDArray[np.intp]) -> Tensor:
    """Return both read-outs (N, 16) of photographs in their canonical frames, as the package looks at them."""
    parts = []
    with torch.inference_mode(), mixed_precision():
        for start in range(0, len(rows), 64):
            fine = canonical(wild, torch.from_numpy(rows[start : start + 64]))
            small = torch.nn.functional.avg_pool2d(fine, 2)
            parts.append(average_with_aligned(BothReadouts(network), small, SHAPES, fine).logits)
    return torch.cat(parts)


def votes_temperature(both: Tensor, faces: Faces, rows: NDArray[np.intp]) -> float:
    """Return the temperature with which the votes' read-out is nearest to the votes, clear faces or not."""
    votes, weight = faces.votes[rows], faces.weight[rows]

    def divergence(temperature: float) -> float:
        return float((js_divergence(pooled(both, 0.0, temperature).softmax(1), votes) * weight).mean())

    return min(TEMPERATURES, key=divergence)


def small_figures(both: Tensor, faces: Faces, rows: NDArray[np.intp], temperature: float) -> list[dict[str, Any]]:
    """Return the figures of every share on crops."""
    return [
        {"share": share, **expression_figures(pooled(both, share, temperature), faces, rows, 1.0)} for share in SHARES
    ]


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


def detailed_figures(
    both: Tensor, some: photos.Photographs, rows: NDArray[np.intp], temperature: float, cleaned: NDArray[np.str_] | None
) -> list[dict[str, Any]]:
    """Return the figures of every share on photographs: against their labels, and agreement with each teacher.

    `cleaned` are the labels of all photographs as they were cleaned.
    """
    done = []
    for share in SHARES:
        logits = pooled(both, share, temperature)
        row: dict[str, Any] = {"share": share, **label_figures(logits, some.labels[rows])}
        if cleaned is not None:
            row["cleaned labels"] = label_figures(logits, cleaned[rows])
        for name, teacher in (("seven", some.expression[rows]), ("five", some.emotion[rows])):
            row[f"agrees with the {name}-expression teacher"] = float(
                (logits[:, :7].argmax(1) == teacher[:, :7].argmax(1)).float().mean()
            )
        done.append(row)
    return done


def share_without_detail(small: list[dict[str, Any]]) -> float:
    """Return the share of `photographs` on pictures without detail, by the rule above."""

    def score(row: dict[str, Any]) -> float:
        return float(row["accuracy"] + 0.5 * row["vote_recall"] - row["js"])

    return float(min(row["share"] for row in small if score(row) >= max(map(score, small)) - ALIKE))


def main() -> None:
    """Choose the exponents and write the files."""
    parser = options()
    parser.add_argument("--judge-by", type=Path, help="all photographs with cleaned labels, which judge only")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    splits = split_groups(read_faces(args.data).groups, args.groups, args.seed)
    faces = read_faces(args.data, splits["train"], args.targets / "ferplus_mesh.npz")
    some = photos.read_photographs(args.wild, args.targets)
    parts = photos.split_photographs(some.groups, args.groups, args.seed)
    network = load_facenet(str(args.work / "body.safetensors"))
    wild = photograph_targets(some, some.expression, np.arange(len(some.labels)))
    cleaned = None
    if args.judge_by:
        cleaned = np.array(EXPRESSIONS)[photos.cleaned_labels(args.judge_by, some.names)[0].argmax(1).numpy()]
    temperature, sources, outs = 1.0, {}, {}
    for name in ("choose", "test"):
        rows, kept = np.flatnonzero(splits[name]), np.flatnonzero(parts[name])
        outs[name] = run_network(BothReadouts(network), faces.pictures[rows], mirror=True)
        if name == "choose":
            temperature = votes_temperature(outs[name].logits, faces, rows)
        sources[name] = {
            "crops": small_figures(outs[name].logits, faces, rows, temperature),
            "photographs": detailed_figures(photograph_logs(network, wild, kept), some, kept, temperature, cleaned),
        }
        (args.work / "sources.json").write_text(json.dumps(sources, indent=1) + "\n")
    shares = (share_without_detail(sources["choose"]["crops"]), WITH_DETAIL)
    network.pool.copy_(torch.tensor([[(1 - share) / temperature, share] for share in shares]))
    save_file(stored(network), args.work / "builtin.safetensors")
    if not (args.work / "trained_on.npy").exists():
        write_trained_on(args, faces.pictures[splits["train"]], set(np.array(some.names)[parts["train"]].tolist()))
    outs = {name: out._replace(logits=pooled(out.logits, shares[0], temperature)) for name, out in outs.items()}
    spec = describe(network, faces, args) | {
        "shares": {"without detail": shares[0], "with detail": shares[1]},
        "temperature of votes": round(temperature, 4),
    }
    for name, out in outs.items():
        rows = np.flatnonzero(splits[name])
        result = expression_figures(out.logits, faces, rows, 1.0) | shape_figures(out, faces, rows)
        spec[name] = {k: round(v, 4) for k, v in result.items() if isinstance(v, float)}
    (args.work / "builtin.json").write_text(json.dumps(spec, indent=1) + "\n")
    print(json.dumps(spec["shares"]), json.dumps(spec["choose"]), json.dumps(spec["test"]), flush=True)


def write_trained_on(args: Any, crops: Tensor, photographs: set[str]) -> None:
    """Write the digests of the pictures trained on, as the package prepares them: whole, and framed by YuNet.

    Photographs (their names) are among them where WORK holds what the starting network said of them, without which none
    is learned.
    """
    digests = [picture_digests(crops.numpy())]
    if (args.work / "wild_start.npy").exists() and args.without != "wild":
        looks = [PrepareFace(), PrepareFace(choose_framing("auto", str(args.models))[0])]
        for name, image in pictures(args.wild / "images.tar"):
            if name in photographs:
                seen = [look(image)[: INPUT_SIZE**2] for look in looks]
                digests += [picture_digests(face[None]) for face in seen if len(face) == INPUT_SIZE**2]
    scratch = args.work / "trained_on.new.npy"
    np.save(scratch, np.unique(np.concatenate(digests)))
    scratch.replace(args.work / "trained_on.npy")


def describe(network: FaceNet, faces: Faces, args: Any) -> dict[str, Any]:
    """Return the description that stands beside the weights."""
    known = metadata_of(args.work / "body.safetensors")
    rounds = int(known.get("round", 0))
    body = {"rounds": rounds, "steps": args.steps, "batch": args.batch, "loss_weights": PARTS}
    body |= {"cleaned labels": args.cleaned is not None, "share in the mix": float(known.get("share", 1))}
    return {
        "network": "FaceNet",
        "parameters": count_parameters(network),
        "input": [96, 96] if network.detail is not None else [48, 48],
        "classes": list(EXPRESSIONS),
        "temperature": 1.0,
        "blendshapes": list(BLENDSHAPES),
        "blendshape_mean": [round(float(v), 6) for v in faces.blend_mean],
        "blendshape_varies": [bool(v) for v in faces.varying],
        "training": {
            "started from": earlier_training(Path(args.start)),
            "seed": args.seed,
            "body": body if rounds else None,
            "read-outs": {"faces a file": FACES, "passes": PASSES, "batch": BATCH, "learning_rate": RATE},
            "photographs": {"hidden": network.config.hidden, "changed copies": int(known.get("copies", 0))},
        },
    }


def earlier_training(weights: Path) -> Any:
    """Return how the weights that the training started from were trained, by the description beside them."""
    about = weights.with_suffix(".json")
    return json.loads(about.read_text()).get("training") if about.is_file() else None


if __name__ == "__main__":
    main()
