"""What an audit may look at beside a refined set, and which faces its page shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.arrays import Bools, Floats, Ints, Strings
from ..core.refined import RefinedSet
from ..core.types import ActionUnits, Features, Landmarks, Posteriors, Samples
from ..datasets.truth import Truth

#: A face whose two likeliest refined classes lie closer than this is called ambiguous.
MARGIN = 0.2
#: Faces shown with pictures, by default, and the share of them that is ambiguous.
SHOWN, AMBIGUOUS_SHARE = 600, 0.25
#: Share of the shown that is chosen by low quality over the whole set; the rest goes to classes and pairs in turn.
OVERALL_SHARE = 0.5
#: Suspicious faces that are shown at least, flagged or not.
LEAST_SHOWN = 48
#: Neighbors shown for, and against, a label.
NEIGHBORS = 4


@dataclass(frozen=True, eq=False)
class Material:
    """What an audit may look at beside the refined file; all of it is optional.

    Parameters
    ----------
    samples : Samples
        The set: pictures, boxes, groups, sites, landmarks. Holds every face of the refined set.
    features : mapping of view -> Features
        For the map and for outliers.
    landmarks : Landmarks
        Drawn on the faces; faces without are counted.
    posteriors : mapping of name -> Posteriors
        What each expert says of the faces shown.
    action_units : ActionUnits
    columns : mapping of name -> (N,) str
        Further columns of the set to count by, in the order of `samples`.
    truth : Truth
        For the calibration of quality.
    min_votes : float
        Votes that the top class of a face must have for it to be judged.
    root : Path
        Where relative paths of the refined file may start; its own folder.
    """

    samples: Samples | None = None
    features: Mapping[str, Features] = field(default_factory=dict)
    landmarks: Landmarks | None = None
    posteriors: Mapping[str, Posteriors] = field(default_factory=dict)
    action_units: ActionUnits | None = None
    columns: Mapping[str, Strings] = field(default_factory=dict)
    truth: Truth | None = None
    min_votes: float = 6.0
    root: Path | None = None


def margin(refined: RefinedSet) -> Floats:
    """Return by how much the likeliest refined class leads the next, (N,) float32 in [0, 1]."""
    if len(refined.classes) < 2:
        return np.ones(len(refined), dtype=np.float32)
    top = np.partition(refined.distribution, len(refined.classes) - 2, axis=1)[:, -2:]
    return np.asarray(top[:, 1] - top[:, 0], dtype=np.float32)


def ambiguous(refined: RefinedSet) -> Bools:
    """Return which faces lie between two classes: the two likeliest refined ones are within `MARGIN`, (N,)."""
    return np.asarray(margin(refined) < MARGIN)


def choose(refined: RefinedSet, most: int = SHOWN) -> Ints:
    """Return the rows of the faces to show, suspicious ones by rising quality, then ambiguous ones by rising margin.

    Suspicious are flagged and changed faces that are not ambiguous, and where these are fewer than `LEAST_SHOWN`,
    those of lowest quality up to that many. Half of `most` are the faces of lowest quality of the whole set; a quarter
    goes in turn to the given classes and to the pairs of given and refined class, so that a filter on a rare one finds
    faces; a quarter are ambiguous.
    Faces without a label are shown where they are ambiguous only.
    """
    unsure = ambiguous(refined)
    order = np.argsort(refined.quality, kind="stable")
    suspects = order[(refined.labeled & ~unsure)[order]]
    doubted = suspects[(refined.flagged | refined.changed)[suspects]]
    suspects = doubted if len(doubted) >= LEAST_SHOWN else suspects[:LEAST_SHOWN]
    doubtful = np.flatnonzero(unsure)
    doubtful = doubtful[np.argsort(margin(refined)[doubtful], kind="stable")]
    between = min(len(doubtful), max(round(most * AMBIGUOUS_SHARE), most - len(suspects)))
    wrong = min(len(suspects), most - between)
    overall = suspects[: round(wrong * OVERALL_SHARE / (1 - AMBIGUOUS_SHARE))]
    chosen = dict.fromkeys(overall.tolist())
    given, label, c = refined.given_label, refined.label, len(refined.classes)
    pair = given * c + label
    keys = [np.where(refined.changed, pair, -1), given]
    queues = [suspects[key[suspects] == value] for key in keys for value in np.unique(key[suspects]) if value >= 0]
    for turn in range(max((len(queue) for queue in queues), default=0)):
        for queue in queues:
            if turn < len(queue) and len(chosen) < wrong:
                chosen.setdefault(int(queue[turn]))
        if len(chosen) >= wrong:
            break
    picked = np.array(sorted(chosen, key=lambda row: (float(refined.quality[row]), row)), dtype=np.int64)
    return np.concatenate([picked, doubtful[:between]])
