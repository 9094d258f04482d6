"""Judge bodies on the source that they did not train on, and choose there what is else chosen at home.

    python benchmarks/builtin_left_out.py --targets TARGETS --work WORK --judge-by REFINED \
        --body both=fercleaner/weights/builtin.safetensors --body crops=W/body.safetensors \
        --body photographs=C/body.safetensors

`train_builtin.py --without wild` (or `--without crops --start ""`) makes bodies that know one source alone. Of each
body named, on FER2013's crops and on photographs (REFINED: all of them with cleaned labels, which judge only): which
share of `photographs` and which temperature of the votes are best on the groups for choosing, and the figures on those
for testing with each source's choice and with both read-outs counting alike. Best is, on crops, the largest accuracy +
half the recall of votes - divergence; on photographs the smallest log loss against cleaned labels, every label weighing
the same. Writes results/builtin_left_out.json; bodies of other names that it holds already are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import builtin_photographs as photos
import numpy as np
import torch
from builtin_batches import photograph_targets
from builtin_data import read_faces, split_groups
from builtin_figures import expression_figures, run_network
from builtin_finish import SHARES, TEMPERATURES, BothReadouts, label_figures, photograph_logs, pooled
from stamp import stamp
from torch import Tensor
from train_builtin import options

from fercleaner.encoders.builtin import weights_folder
from fercleaner.encoders.facenet import EXPRESSIONS, load_facenet
from fercleaner.similarity.neighbors.scan import multiplies_bfloat16

SOURCES = ("crops", "photographs")
#: Share of `photographs` at which both read-outs count alike.
ALIKE = 0.5
#: Faces of a network's first guess below which it is not averaged over.
FEWEST = 5
Choice = tuple[float, float]


class Judges:
    """Both sources' held-back faces."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.splits = split_groups(read_faces(args.data).groups, args.groups, args.seed)
        self.faces = read_faces(args.data, self.splits["train"], args.targets / "ferplus_mesh.npz")
        self.teachers = photos.crop_teachers(args.data, args.models, args.targets)
        self.some = photos.read_photographs(args.wild, args.targets)
        self.parts = photos.split_photographs(self.some.groups, args.groups, args.seed)
        self.wild = photograph_targets(self.some, self.some.expression, np.arange(len(self.some.labels)))
        self.cleaned = np.array(EXPRESSIONS)[photos.cleaned_labels(args.judge_by, self.some.names)[0].argmax(1).numpy()]

    def logs(self, weights: Path, part: str) -> dict[str, Tensor]:
        """Return both read-outs (N, 16) of the part's faces of each source."""
        network = load_facenet(str(weights))
        crops = self.faces.pictures[np.flatnonzero(self.splits[part])]
        return {
            "crops": run_network(BothReadouts(network), crops, mirror=True).logits,
            "photographs": photograph_logs(network, self.wild, np.flatnonzero(self.parts[part])),
        }

    def figures(self, logits: Tensor, source: str, part: str) -> dict[str, Any]:
        """Return the figures of logits (N, 8)."""
        if source == "crops":
            rows = np.flatnonzero(self.splits[part])
            done = expression_figures(logits, self.faces, rows, 1.0)
            known = {"seven": self.teachers[0][rows], "five": self.teachers[1][rows]}
        else:
            rows = np.flatnonzero(self.parts[part])
            done = {
                f"{name}, labels as they came": v for name, v in label_figures(logits, self.some.labels[rows]).items()
            }
            done |= label_figures(logits, self.cleaned[rows])
            known = {"seven": self.some.expression[rows], "five": self.some.emotion[rows]}
        for name, teacher in known.items():
            done |= {f"{key}, {name}-expression network": v for key, v in fidelity(logits, teacher[:, :7]).items()}
        return done

    def best(self, both: Tensor, source: str) -> Choice:
        """Return the share and the temperature that are best on the source's faces for choosing."""

        def score(choice: Choice) -> float:
            found = self.figures(pooled(both, *choice), source, "choose")
            if source == "photographs":
                return -float(found["balanced_loss"])
            return float(found["accuracy"] + 0.5 * found["vote_recall"] - found["js"])

        share = max(SHARES, key=lambda share: score((share, temperature_of_votes())))
        return share, max(TEMPERATURES, key=lambda temperature: score((share, temperature)))


def fidelity(logits: Tensor, teacher: Tensor) -> dict[str, float]:
    """Return how logits (N, 8) follow a network's posteriors (N, 7): agreement of first guesses, divergence in nats.

    "balanced": the mean over the network's first guesses, each weighing the same (those of at least `FEWEST` faces).
    """
    logs = logits[:, :7].log_softmax(1)
    top = teacher.argmax(1)
    same = (logs.argmax(1) == top).float()
    away = (teacher * ((teacher + 1e-6).log() - logs)).sum(1)
    often = [c for c in range(7) if int((top == c).sum()) >= FEWEST]
    return {
        "agreement": float(same.mean()),
        "agreement balanced": float(np.mean([float(same[top == c].mean()) for c in often])),
        "divergence": float(away.mean()),
        "divergence balanced": float(np.mean([float(away[top == c].mean()) for c in often])),
    }


def temperature_of_votes() -> float:
    """Return the package's temperature of the votes."""
    about = json.loads((weights_folder() / "builtin.json").read_text())
    return float(about["temperature of votes"])


def judged(judges: Judges, weights: Path) -> dict[str, Any]:
    """Return the choices and the figures of one body."""
    choose, test = judges.logs(weights, "choose"), judges.logs(weights, "test")
    temperature = temperature_of_votes()
    choices: dict[str, Choice] = {"both alike": (ALIKE, temperature), "votes alone": (0.0, temperature)}
    choices["photographs alone"] = (1.0, temperature)
    choices |= {f"chosen on {source}": judges.best(choose[source], source) for source in SOURCES}
    result: dict[str, Any] = {}
    for name, choice in choices.items():
        result[name] = {"share": choice[0], "temperature": round(choice[1], 4)}
        for source in SOURCES:
            result[name][source] = judges.figures(pooled(test[source], *choice), source, "test")
            result[name][f"{source}, for choosing"] = judges.figures(pooled(choose[source], *choice), source, "choose")
    return result


def main() -> None:
    """Judge, print and write."""
    parser = options()
    parser.add_argument("--judge-by", type=Path, required=True, help="all photographs with cleaned labels")
    parser.add_argument("--body", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "builtin_left_out.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    judges = Judges(args)
    result = json.loads(args.out.read_text())["results"] if args.out.exists() else {}
    for name, file in (body.split("=", 1) for body in args.body):
        result[name] = judged(judges, Path(file))
        for choice, found in result[name].items():
            kept = {s: {k: round(v, 3) for k, v in found[s].items() if isinstance(v, float)} for s in SOURCES}
            print(name, "|", choice, found["share"], found["temperature"], json.dumps(kept), flush=True)
        args.out.write_text(
            json.dumps({**stamp(), "bfloat16": multiplies_bfloat16(), "results": result}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
