"""
From a folder of pictures to a better classifier
================================================

Refine, audit, look at 20 faces, refine again, export, train. Run it with
``python docs/examples/audit_to_training.py FOLDER``.

The faces are drawn, so that their true labels are known: 30 % of the labels given are wrong. The person who looks at 20
faces is played by the truth; with your own faces that is ``fercleaner review``. Prints the accuracy of two classifiers
on new faces with correct labels: one trained on the labels given, one trained on the labels exported.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import torch

import fercleaner
from fercleaner.demo import draw_dataset
from fercleaner.encoders import build as encoder
from fercleaner.encoders.hog import Hog
from fercleaner.extraction.run import vectors_of
from fercleaner.methods import build as method
from fercleaner.report import Material, Options
from fercleaner.results.export import export_to
from fercleaner.review.decisions import Decisions
from fercleaner.review.exchange import read_decisions
from fercleaner.review.log import Decision, DecisionLog
from fercleaner.review.session import Item, Session

LOOKS = 20


def folder_of_pictures(work: Path, faces: int) -> tuple[Path, dict[str, str]]:
    """Draw faces and sort them into a folder per class by their noisy labels; return it and the truth by file name."""
    drawn = draw_dataset(work / "drawn", faces=faces, noise_rate=0.3, seed=1)
    noisy = fercleaner.read(drawn.folder)
    for path, label in zip(noisy.paths.tolist(), noisy.label.tolist(), strict=True):
        target = work / "pictures" / noisy.classes[label] / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    with open(drawn.clean_labels, newline="") as file:
        truth = {row["image"]: row["label"] for row in csv.DictReader(file)}
    by_file = {
        Path(path).name: truth[name] for path, name in zip(noisy.paths.tolist(), noisy.ids.tolist(), strict=True)
    }
    return work / "pictures", by_file


def refine(samples: fercleaner.Samples, decisions: Decisions | None = None) -> fercleaner.RefinedSet:
    """Refine a set, as `fercleaner refine` does by default."""
    sources = fercleaner.Sources(encoders=[encoder("builtin")])
    return fercleaner.refine(samples, method("consensus"), sources, decisions=decisions)


def look(refined: fercleaner.RefinedSet, log: Path, truth: dict[str, str]) -> None:
    """Decide about the most valuable faces; with your own faces: `fercleaner review pictures.refined.parquet`."""
    session = Session(refined, DecisionLog(log), "me")
    for _ in range(LOOKS):
        face = session.next("a window")["face"]
        answer = Decision("label", (truth[Path(face["id"]).name],))
        session.decide([Item(face["row"], answer)], "label")


def trained(folder: Path, new: fercleaner.Samples) -> float:
    """Return the accuracy on new faces of a linear classifier trained on a folder of pictures."""
    samples = fercleaner.read(folder, classes=new.classes)
    x, test = (torch.from_numpy(np.array(vectors_of(s, Hog(), cache=None, workers=0).values)) for s in (samples, new))
    y = torch.from_numpy(samples.label)
    torch.manual_seed(0)
    network = torch.nn.Linear(x.shape[1], len(new.classes))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return float((network(test).argmax(1).numpy() == new.label).mean())


def main(work: Path, faces: int = 700) -> dict[str, float]:
    """Go the whole way in the folder `work`; return both accuracies and how many labels the export replaced."""
    pictures, truth = folder_of_pictures(work, faces)
    samples = fercleaner.read(pictures)
    first = refine(samples)
    fercleaner.write(first, work / "first.refined.parquet")
    fercleaner.audit(first, Material(samples=samples), Options(title="pictures", shown=100)).write(work / "audit")

    look(first, work / "me.jsonl", truth)
    decisions = read_decisions([work / "me.jsonl"], samples.classes)
    refined = refine(samples, decisions)
    fercleaner.write(refined, work / "refined.parquet")
    export_to(refined, "folders", work / "clean", label="refined")

    test = draw_dataset(work / "new", faces=faces // 2, noise_rate=0.0, seed=2)
    new = fercleaner.read(test.folder, classes=samples.classes)
    return {
        "given": trained(pictures, new),
        "cleaned": trained(work / "clean", new),
        "decided": refined.metadata["decisions"]["faces"],
        "changed": int(refined.changed.sum()),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1])), indent=1) + "\n")
