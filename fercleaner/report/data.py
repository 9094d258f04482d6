"""A refined set as the data of its page: plain JSON types, described by `schema.json`."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..core.arrays import Ints, Strings
from ..core.numeric import row_stochastic
from ..core.refined import RefinedSet
from ..core.types import Samples
from ..datasets.truth import Truth
from ..evaluation.against_truth import evaluate
from ..noise.estimate import decided_joint
from ..results.summary import summarize, unseen
from .material import Material, ambiguous
from .rates import by_column, noise_range, rate
from .spread import Spread

#: Number of the layout of the data; `schema.json` describes it.
SCHEMA = 2
#: Pairs of given and refined class listed.
PAIRS = 20
#: Bins of the calibration.
BINS = 10
#: Fewest labeled faces of a group that is judged by itself.
LEAST_GROUP = 10
#: Bits of `points.state`.
FLAGGED, CHANGED, AMBIGUOUS, LABELED, UNSEEN, PLACED = 1, 2, 4, 8, 16, 32
#: Index that stands for "none", and values of a column that a page filters by.
NONE, MOST_FILTERS = 65_535, 400


def overview(refined: RefinedSet) -> dict[str, Any]:
    """Return what was done, counts, expected noise, classes, transitions, and pairs."""
    labeled = int(refined.labeled.sum())
    unsure, n = ambiguous(refined), len(refined)
    about = refined.metadata
    return {
        "made": {
            "method": str(about.get("method", "")),
            "params": {str(k): str(v) for k, v in dict(about.get("params", {})).items()},
            "layout": str(about.get("layout", "")),
            "views": [
                {"name": str(view.get("name", "")), "faces": int(view.get("faces", 0))}
                for view in about.get("views", [])
            ],
            "versions": {str(k): str(v) for k, v in dict(about.get("versions", {})).items()},
            "seed": str(about.get("seed", "")),
            "digest": str(about.get("input_digest", "")),
        },
        "counts": {
            "faces": n,
            "labeled": rate(labeled, n),
            "flagged": rate(int(refined.flagged.sum()), labeled),
            "changed": rate(int(refined.changed.sum()), labeled),
            "ambiguous": rate(int(unsure.sum()), n),
            "ambiguous_flagged": int((unsure & refined.flagged).sum()),
            "unseen": rate(int(unseen(refined).sum()), n),
        },
        "noise": noise_range(refined, np.ones(n, dtype=np.bool_)),
        "classes": _classes(refined),
        "transition": _transition(refined),
        "pairs": _pairs(refined),
    }


def _classes(refined: RefinedSet) -> list[dict[str, Any]]:
    given, label = refined.given_label, refined.label
    rows = []
    for i, counted in enumerate(summarize(refined, top=0).classes):
        here = refined.labeled & (given == i)
        rows.append(
            {
                "name": counted.name,
                "given": counted.given,
                "refined": int((refined.labeled & (label == i)).sum()),
                "won": int((refined.changed & (label == i)).sum()),
                "lost": counted.changed,
                "flagged": rate(counted.flagged, counted.given),
                "changed": rate(counted.changed, counted.given),
                "quality": counted.mean_quality,
                "noise": noise_range(refined, here),
            }
        )
    return rows


def _transition(refined: RefinedSet) -> dict[str, Any]:
    rows = refined.labeled
    joint = decided_joint(refined.given[rows], refined.distribution[rows])
    return {"counts": joint.astype(int).tolist(), "shares": np.round(row_stochastic(joint), 4).tolist()}


def _pairs(refined: RefinedSet) -> list[dict[str, Any]]:
    found = summarize(refined, top=PAIRS)
    totals = {counted.name: counted.given for counted in found.classes}
    return [
        {"given": pair.given, "refined": pair.refined, "of_given": rate(pair.count, totals[pair.given])}
        for pair in found.confused
    ]


def counted_columns(faces: Samples, refined: RefinedSet, further: Mapping[str, Strings]) -> dict[str, Strings]:
    """Return the columns to count by: split, site, and those that the user asked for."""
    found: dict[str, Strings] = {}
    if refined.split.any():
        found["split"] = refined.split
    elif faces.split is not None and faces.split.any():
        found["split"] = faces.split
    if faces.site is not None and faces.site.any():
        found["site"] = faces.site
    return {**found, **{name: np.asarray(values, dtype=np.str_) for name, values in further.items()}}


def groups(refined: RefinedSet, faces: Samples) -> dict[str, Any] | None:
    """Return the noise of large groups, and how often one group has unlike labels; None for a set without groups."""
    if faces.group is None:
        return None
    names, number = np.unique(faces.group, return_inverse=True)
    labeled = np.bincount(number[refined.labeled], minlength=len(names))
    several = np.flatnonzero(labeled >= 2)
    table = np.zeros((len(names), len(refined.classes)), dtype=np.int64)
    np.add.at(table, (number[refined.labeled], refined.given_label[refined.labeled]), 1)
    unlike = (table > 0).sum(1) > 1
    flagged = np.bincount(number[refined.flagged], minlength=len(names))
    large = np.flatnonzero(labeled >= LEAST_GROUP)
    rates = sorted(
        ((rate(int(flagged[i]), int(labeled[i])), str(names[i]), i) for i in large.tolist()),
        key=lambda row: (-row[0]["low"], row[1]),
    )
    rows = [
        {
            "value": name,
            "flagged": flags,
            "noise": noise_range(refined, number == i),
            "labels": _label_counts(refined, table[i]),
        }
        for flags, name, i in rates[:PAIRS]
    ]
    return {
        "groups": len(names),
        "large": len(large),
        "least": LEAST_GROUP,
        "unlike": rate(int(unlike[several].sum()), len(several)),
        "rows": rows,
    }


def _label_counts(refined: RefinedSet, counts: Ints) -> str:
    order = np.argsort(-counts, kind="stable")
    return ", ".join(f"{counts[i]} {refined.classes[i]}" for i in order.tolist() if counts[i])


def annotators(refined: RefinedSet) -> dict[str, Any] | None:
    """Return what the refined file says of the people who labeled the faces (`noise.annotators.report`), or None."""
    about = refined.metadata.get("annotators")
    if not about:
        return None
    people = [{"with_views": None, **person} for person in about["people"]]
    return {"people": people, "pairs": list(about["pairs"]), "ask": list(about["ask"])}


def column_tables(refined: RefinedSet, columns: Mapping[str, Strings]) -> list[dict[str, Any]]:
    """Return flagged and changed rates by each column."""
    return [by_column(refined, name, values) for name, values in columns.items()]


def calibration(refined: RefinedSet, truth: Truth | None, min_votes: float) -> dict[str, Any] | None:
    """Return how often given labels of each quality are right by a truth: bins of equal width, with intervals."""
    if truth is None:
        return None
    figures = evaluate(refined, truth, min_votes=min_votes)
    rows = truth.rows_of(refined.ids, refined.paths)
    judged = (rows >= 0) & truth.judged(min_votes)[rows] & refined.labeled
    right = refined.given_label[judged] == truth.label[rows[judged]]
    quality = refined.quality[judged].astype(np.float64)
    place = np.minimum((quality * BINS).astype(int), BINS - 1)
    bins = []
    for i in range(BINS):
        here = place == i
        bins.append(
            {
                "from": i / BINS,
                "to": (i + 1) / BINS,
                "quality": float(quality[here].mean()) if here.any() else None,
                "right": rate(int(right[here].sum()), int(here.sum())),
            }
        )
    plain = figures.to_dict()
    names = ("noise_rate", "auroc", "average_precision", "given_accuracy", "refined_accuracy")
    return {
        "judged": int(judged.sum()),
        "error": figures.quality_calibration if np.isfinite(figures.quality_calibration) else None,
        "figures": {name: plain[name] for name in names},
        "flags": plain["flags"],
        "bins": bins,
    }


def points(refined: RefinedSet, spread: Spread, columns: Mapping[str, Strings], shown: Ints) -> dict[str, Any]:
    """Return every face as a few packed numbers: what the map draws and the filters count.

    Arrays are base64 of little-endian integers. `x`, `y` (u16) span the map; `given`, `refined` (u16) are class
    numbers, 65535 where there is none; `quality` (u8) is 255 times the quality; `state` (u8) holds the bits of
    `FLAGGED`, ... Each column is (u16) the number of its value in `values`; of columns with more than `MOST_FILTERS`
    values, only those of shown faces are listed and the rest is 65535.
    """
    state = FLAGGED * refined.flagged + CHANGED * refined.changed + AMBIGUOUS * ambiguous(refined)
    state = state + LABELED * refined.labeled + UNSEEN * unseen(refined) + PLACED * spread.found
    grid = np.round(spread.points.astype(np.float64) * 65_534)
    return {
        "count": len(refined),
        "source": spread.source,
        "layout": spread.layout,
        "explained": list(spread.explained),
        "placed": int(spread.found.sum()),
        "x": packed(grid[:, 0], "<u2"),
        "y": packed(grid[:, 1], "<u2"),
        "given": packed(np.where(refined.given_label >= 0, refined.given_label, NONE), "<u2"),
        "refined": packed(refined.label, "<u2"),
        "quality": packed(np.round(refined.quality.astype(np.float64) * 255), "<u1"),
        "state": packed(state, "<u1"),
        "columns": [_indexed(name, values, shown) for name, values in columns.items()],
    }


def _indexed(name: str, values: Strings, shown: Ints) -> dict[str, Any]:
    kinds, number = np.unique(values, return_inverse=True)
    whole = len(kinds) <= MOST_FILTERS
    listed = kinds if whole else np.unique(values[shown])[:MOST_FILTERS]
    if not whole:
        place = np.full(len(kinds), NONE)
        place[np.searchsorted(kinds, listed)] = np.arange(len(listed))
        number = place[number]
    return {"name": name, "values": listed.tolist(), "whole": whole, "index": packed(number, "<u2")}


def packed(values: Any, kind: str) -> str:
    """Return integers as base64 of their bytes."""
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode()


def filter_columns(refined: RefinedSet, faces: Samples, material: Material) -> dict[str, Strings]:
    """Return the columns that the page filters by: those it counts by, and groups."""
    found = counted_columns(faces, refined, material.columns)
    if faces.group is not None:
        found["group"] = faces.group
    return found
