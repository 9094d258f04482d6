"""Which faces are exported, and which label each of them gets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...core.arrays import Bools, Floats, Ints
from ...core.errors import InputError, did_you_mean
from ...core.refined import RefinedSet
from ..summary import unseen

#: Ways to choose the label that is written.
LABELS = ("flagged", "refined", "distribution", "given")


@dataclass(frozen=True)
class Selection:
    """Which faces to export.

    Parameters
    ----------
    splits : tuple of str
        These splits only; all where empty.
    drop_flagged : bool
        Leave out faces whose given label is held to be wrong; faces of which people decided what they show stay, unless
        given labels are written.
    only_flagged : bool
        Keep flagged faces alone that nobody decided about, the lowest quality first: a list to review.
    drop_unseen : bool
        Leave out faces of which nothing is known (`summary.unseen`): pictures that cannot be read, no vector.
    drop_unlabeled : bool
        Leave out faces that the dataset gives no label.
    min_weight : float in [0, 1]
        Leave out faces of less weight.

    Raises
    ------
    InputError
        Flagged faces are to be left out and to be kept alone.
    """

    splits: tuple[str, ...] = ()
    drop_flagged: bool = False
    drop_unlabeled: bool = False
    min_weight: float = 0.0
    only_flagged: bool = False
    drop_unseen: bool = False

    def __post_init__(self) -> None:
        if self.drop_flagged and self.only_flagged:
            raise InputError("--drop-flagged and --only-flagged together leave no face. Give one of them.")

    def rows(self, refined: RefinedSet, label: str = "refined") -> Ints:
        """Return the rows to write, in their order, (M,); raise InputError for an unknown split or where none stays.

        `label` is one of `LABELS`: what is written of them.
        """
        kept: Bools = refined.weight >= self.min_weight
        if self.splits:
            known = sorted(set(refined.split.tolist()) - {""})
            for name in self.splits:
                if name not in known:
                    raise InputError(
                        f"The set has no split '{name}' ({', '.join(known) or 'it has none at all'})."
                        f"{did_you_mean(name, known)}"
                    )
            kept = kept & np.isin(refined.split, self.splits)
        if self.drop_flagged:
            kept = kept & (~refined.flagged | (refined.certain & (label != "given")))
        if self.only_flagged:
            kept = kept & refined.flagged & ~refined.decided
        if self.drop_unseen:
            kept = kept & ~unseen(refined)
        if self.drop_unlabeled:
            kept = kept & refined.labeled
        if not kept.any():
            if self.only_flagged and not (refined.flagged & ~refined.decided).any():
                open_ = " that nobody decided about" if refined.flagged.any() else ""
                raise InputError(f"None of the {len(refined):,} faces{open_} is flagged: there is nothing to review.")
            raise InputError(f"None of the {len(refined):,} faces is left to export. Ask for less to be dropped.")
        rows: Ints = np.flatnonzero(kept)
        return rows[np.argsort(refined.quality[rows], kind="stable")] if self.only_flagged else rows


@dataclass(frozen=True, eq=False)
class ExportedLabels:
    """The labels to write of M faces.

    Parameters
    ----------
    which : str
        One of `LABELS`: the refined class where flagged and the given one elsewhere; the refined class; the refined
        distribution; the given label. Faces without a given label get none, unless `fill` asked for it.
    index : (M,) int64
        Class, -1 for none. For "distribution" the refined class.
    distribution : (M, C) float32
        One-hot but for "distribution"; the given distribution where a given label is written. Zero where index is -1.
    replaced : (M,) bool
        Whether the class is another than the given one, or was not given at all.
    weight, quality : (M,) float32
    """

    which: str
    index: Ints
    distribution: Floats
    replaced: Bools
    weight: Floats
    quality: Floats


def labels_to_write(refined: RefinedSet, rows: Ints, which: str, fill: bool = False) -> ExportedLabels:
    """Return the labels to write.

    Parameters
    ----------
    refined : RefinedSet
    rows : (M,) int64
    which : str
        One of `LABELS`.
    fill : bool
        Whether faces without a given label get the refined one.

    Raises
    ------
    InputError
        `which` is unknown.
    """
    if which not in LABELS:
        raise InputError(f"--label {which}: choose one of {', '.join(LABELS)}.{did_you_mean(which, LABELS)}")
    given, label, labeled = refined.given_label[rows], refined.label[rows], refined.labeled[rows]
    take = {
        "flagged": refined.flagged[rows],
        "refined": np.ones(len(rows), dtype=np.bool_),
        "distribution": np.ones(len(rows), dtype=np.bool_),
        "given": np.zeros(len(rows), dtype=np.bool_),
    }[which]
    take = np.where(labeled, take, fill)
    index = np.where(take, label, given)
    hot = np.eye(len(refined.classes), dtype=np.float32)[index] * (index >= 0)[:, None]
    soft = refined.distribution[rows] if which == "distribution" else hot
    distribution = np.where(take[:, None], soft, refined.given[rows]).astype(np.float32)
    return ExportedLabels(which, index, distribution, index != given, refined.weight[rows], refined.quality[rows])
