"""Gain and harm of `consensus` set by set: right labels, the set's own noise, and noise put in; the worst set first.

    python benchmarks/by_set.py --ferplus FERPLUS --images FOLDER --posed POSED --wild WILD --teachers TEACHERS

FERPLUS is as in `beds.ferplus`, FOLDER where the paths of its labels.csv start; POSED holds labels.csv, truth.csv,
ratings.csv, view_builtin_256.npy, landmarks_68.npy and posteriors_builtin.csv. FER2013 is cut in two by groups:
constants were chosen on --half choose, results/by_set.json holds "report" (of the held-back groups: "test"). "people"
draws wrong labels from each face's own votes or ratings, weighed by how far these disagree. Beside `consensus`, with
and without external posteriors, stand our other methods, the linear area under the margin, and out-of-fold probes told
the base rates. --without PART drops a part of `consensus` (then it alone is asked); `set_tools.PARTS` names them.

WILD holds labels.csv and the unpacked images/ of photographs, TEACHERS is what `builtin_targets.py teachers` wrote of
them. Of these, groups held back from the builtin model are judged, by what two networks say where they agree. The model
learned from these networks, which flatters its gains. Without --wild the photographs are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from beds import Bed, demo, digits, ferplus
from builtin_photographs import EMOTION_COLUMNS, EXPRESSION_COLUMNS, split_photographs
from case import Shared
from peers.base import K, Verdict
from set_tools import PARTS, by_consensus, intervals, rivals, verdict
from stamp import stamp, write_json

from fercleaner import datasets
from fercleaner.core.arrays import Ints
from fercleaner.core.numeric import normalized
from fercleaner.core.types import Posteriors, Samples
from fercleaner.datasets.posteriors import read_posteriors
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders import builtin
from fercleaner.encoders.builtin_views import split
from fercleaner.encoders.facenet import EXPRESSIONS
from fercleaner.encoders.vectors import read_view
from fercleaner.evaluation.distributions import distribution_measures
from fercleaner.evaluation.metrics import (
    accuracy,
    average_precision,
    calibration_error,
    flag_scores,
    mean_recall,
)
from fercleaner.extraction.run import extract, usable_cores
from fercleaner.landmarks import detect
from fercleaner.landmarks.points import PointsFile
from fercleaner.noise.injection import NoiseSpec, parse

#: Faces of FER2013 with outside views, votes that make a truth, and the share of labels that are made wrong.
FACES, VOTES, RATE = 6000, 6, 0.2
SEED = 0


def main() -> None:
    """Run all and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ferplus", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--posed", type=Path, required=True)
    parser.add_argument("--wild", type=Path, help="photographs of the wild; left out without it")
    parser.add_argument("--teachers", type=Path, help="what two networks say of the photographs")
    parser.add_argument("--without", choices=sorted(PARTS), help="a part of consensus to leave out")
    parser.add_argument("--half", choices=("choose", "report"), default="report")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "by_set.json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for bed, posteriors in opened(options):
        shared: dict[int, Shared] = {}
        for kind in kinds(bed):
            part = bed if kind == "own" and bed.noisy else bed.sample(None, VOTES)
            if len(part.samples) not in shared:
                shared[len(part.samples)] = Shared.of(part, min(K, len(part.samples) - 1), "cpu")
            given = labels(part, kind)
            chosen = np.isin(bed.samples.ids, part.samples.ids)
            outside = None if posteriors is None else taken(posteriors, chosen)
            for tool, said in verdicts(part, given, shared[len(part.samples)], outside, options.without):
                rows.append({"set": bed.name, "labels": kind, "tool": tool, **figures(said, part, given)})
                line = (f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in rows[-1].items())
                print(" ".join(line), flush=True)
    worst = {
        row["set"]: min(r["gain"] for r in rows if r["set"] == row["set"] and r["gain"] is not None) for row in rows
    }
    rows.sort(key=lambda row: (worst[row["set"]], row["set"], row["labels"]))
    what = {"half": options.half, "without": options.without, "seed": SEED, "rate": RATE, "rows": rows}
    write_json(options.out, {**stamp(), **what})


def verdicts(
    part: Bed, given: Ints, shared: Shared, outside: Posteriors | None, dropped: str | None
) -> Iterator[tuple[str, Verdict]]:
    """Yield what each tool says of given labels."""
    samples = part.samples.replacing(given=np.eye(len(part.samples.classes), dtype=np.float32)[given])
    answer = by_consensus(samples, shared, None, dropped, SEED)
    yield "consensus", verdict(answer)
    if outside is not None:
        yield "consensus, builtin posteriors", verdict(by_consensus(samples, shared, outside, dropped, SEED))
    if dropped is None:
        yield from rivals(samples, shared, answer, SEED)


def opened(options: argparse.Namespace) -> Iterator[tuple[Bed, Posteriors | None]]:
    """Yield the beds, each with the builtin model's posteriors where it has a view of the model's embedding."""
    fer = ferplus(options.ferplus)
    yield outside_views(fer, options.half), None
    yield heldback(fer, options)
    yield posed(options.posed)
    if getattr(options, "wild", None):  # small_sets.py asks for none
        yield photographs(options)
    yield replace(demo(), name="drawn faces, HOG"), None
    yield digits(), None


def outside_views(fer: Bed, half: str) -> Bed:
    """Return `FACES` faces of a half of FER2013 with outside views, whole groups."""
    assert fer.samples.group is not None
    side = np.array([_number(f"half:{name}") % 2 for name in fer.samples.group.tolist()])
    here = np.flatnonzero(side == (half == "report"))
    order = np.argsort([_number(name) for name in fer.samples.group[here].tolist()], kind="stable")
    return replace(fer.subset(np.sort(here[order[:FACES]])), name="FER2013, outside views")


def heldback(fer: Bed, options: argparse.Namespace) -> tuple[Bed, Posteriors | None]:
    """Return the faces that the builtin model was not trained on, seen by it alone."""
    frozen = json.loads((builtin.weights_folder() / "heldback_groups.json").read_text())
    groups = set(frozen["choose" if options.half == "choose" else "test"])
    assert fer.samples.group is not None
    rows = np.flatnonzero([name in groups for name in fer.samples.group.tolist()])
    samples = datasets.select(datasets.read(options.ferplus / "labels.csv", images=options.images), rows)
    parts = by_builtin(samples)
    bed = replace(fer.subset(rows), name="FER2013 held back, builtin", landmarks=parts.landmarks)
    return replace(bed, views=(parts.features,)), parts.posteriors


def photographs(options: argparse.Namespace) -> tuple[Bed, Posteriors | None]:
    """Return photographs that the builtin model was not trained on; true where two networks agree."""
    everyone = datasets.read(options.wild / "labels.csv", images=options.wild / "images")
    assert everyone.group is not None
    held = split_photographs(everyone.group, builtin.weights_folder() / "heldback_groups.json", SEED)
    samples = datasets.select(everyone, np.flatnonzero(held["choose" if options.half == "choose" else "test"]))
    with np.load(options.teachers) as file:
        place = {name: k for k, name in enumerate(file["ids"].tolist())}
        at = [place[Path(name).name] for name in samples.ids]
        seven = file["expression"][at][:, EXPRESSION_COLUMNS].argmax(1)
        five = file["emotion"][at][:, EMOTION_COLUMNS].argmax(1)
    label = np.array([samples.classes.index(EXPRESSIONS[k]) for k in seven])
    parts, top = by_builtin(samples), np.where(seven == five, np.inf, 0).astype(np.float32)
    name = "photographs, builtin"
    return Bed(name, samples, (parts.features,), label, top, parts.landmarks, noisy=True), parts.posteriors


def by_builtin(samples: Samples) -> Any:
    """Return what the builtin model says of samples: features, landmarks, posteriors."""
    model = builtin.build(parts=builtin.PARTS)
    done = extract(samples, model, cache=None, workers=usable_cores())
    return split(samples, done.values, done.found, done.notes, model.spec)


def posed(folder: Path) -> tuple[Bed, Posteriors | None]:
    """Return the posed set P under the labels that it came with; truth and ratings of its raters."""
    everyone = datasets.read(folder / "labels.csv")
    truth = read_truth(folder / "truth.csv", everyone.classes)
    at = truth.rows_of(everyone.ids, everyone.paths)
    rows = np.flatnonzero(at >= 0)
    ratings = pd.read_csv(folder / "ratings.csv", index_col="image").loc[everyone.ids, list(everyone.classes)]
    points = detect(everyone, PointsFile(str(folder / "landmarks_68.npy")))
    view = read_view("builtin", folder / "view_builtin_256.npy", everyone)
    told, _ = read_posteriors("builtin", folder / "posteriors_builtin.csv", everyone)
    bed = Bed(
        "P, builtin",
        everyone,
        (view,),
        np.where(at >= 0, truth.label[at], -1),
        np.where(at >= 0, np.inf, 0).astype(np.float32),
        points,
        votes=normalized(ratings.to_numpy(np.float64)),
        noisy=True,
    ).subset(rows)
    return bed, taken(told, np.isin(np.arange(len(everyone)), rows))


def kinds(bed: Bed) -> list[str]:
    """Return the labels to try: right ones, the set's own, and three kinds of wrong ones."""
    own, people = (["own"] if bed.noisy else []), (["people"] if bed.votes is not None else [])
    return [*own, "right", *people, f"symmetric:{RATE}", f"asymmetric:{RATE}"]


def labels(bed: Bed, kind: str) -> Ints:
    """Return given classes (N,) of a kind; all but "own" are made of the true ones."""
    rng = np.random.default_rng([SEED, 7])
    if kind == "own":
        return bed.samples.label
    if kind == "right":
        return bed.label
    if kind != "people":
        spec: NoiseSpec = parse(kind)
        return spec.apply(bed.label, bed.samples.classes, rng).labels
    assert bed.votes is not None
    n, answer = len(bed.label), bed.label.copy()
    others = bed.votes.copy()
    others[np.arange(n), bed.label] = 0
    keys = np.log(others.sum(1) + 1e-4) + rng.gumbel(size=n)
    chosen = np.argsort(-keys)[: round(RATE * n)]
    chances = others[chosen] + 1e-4
    chances[np.arange(len(chosen)), bed.label[chosen]] = 0
    edges = chances.cumsum(1)
    answer[chosen] = (edges <= rng.random((len(chosen), 1)) * edges[:, -1:]).sum(1)
    return answer


def taken(table: Posteriors, chosen: np.ndarray) -> Posteriors:
    """Return the posteriors of some faces."""
    return Posteriors(table.name, table.ids[chosen], table.classes, table.values[chosen], table.found[chosen])


def figures(said: Verdict, bed: Bed, given: Ints) -> dict[str, Any]:
    """Return the figures over the faces with a clear truth; None where a tool has no say."""
    judged = bed.judged(VOTES)
    label, was = bed.label[judged], given[judged]
    wrong, suspicion = was != label, said.suspicion[judged]
    share = accuracy(was, label)
    answer: dict[str, Any] = {
        "faces": int(judged.sum()),
        "given": share,
        "average_precision": average_precision(suspicion, wrong) if wrong.any() else None,
        **dict.fromkeys(("flag_f1", "calibration_error", "accuracy", "gain", "right_changed", "mean_recall")),
    }
    if said.flagged is not None:
        answer["flag_f1"] = flag_scores(said.flagged[judged], wrong).f1 if wrong.any() else None
        answer["calibration_error"] = calibration_error(np.clip(suspicion, 0, 1), wrong)
    right = None
    if said.label is not None:
        now = said.label[judged]
        right = now == label
        answer |= {"accuracy": accuracy(now, label), "right_changed": float((now != was)[~wrong].mean())}
        answer |= {"gain": answer["accuracy"] - share, "mean_recall": mean_recall(now, label, len(bed.samples.classes))}
    if said.distribution is not None and bed.votes is not None:
        truth = normalized(bed.votes[judged])
        answer |= distribution_measures(normalized(said.distribution[judged]), truth)
    group = bed.samples.ids if bed.samples.group is None else bed.samples.group
    part = Verdict(suspicion)
    return answer | intervals(part, wrong, right, group[judged], SEED)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(str(name).encode(), digest_size=8).digest(), "big")


if __name__ == "__main__":
    main()
