"""What a network is trained on: faces with a label distribution, a given label and a weight each."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..core.arrays import Bools, Bytes, Floats, Ints, Progress, Strings, freeze
from ..core.errors import InputError, did_you_mean
from ..core.groups import dealt_share
from ..core.refined import RefinedSet, rows_of
from ..core.types import Samples
from ..datasets.paths import placed_again
from ..extraction.images import FileImages, UnreadableImage, open_face

#: What of a refined set is trained on; see `from_refined`.
WHICH = ("refined", "given", "weight", "drop", "relabel")

#: Decoded pictures are kept in memory up to this many bytes.
HELD_BYTES = 2**30


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Faces to train on or to test on.

    Parameters
    ----------
    samples : Samples
        Where the pictures are.
    rows : (M,) int64
        Its faces that are meant, in their order.
    distribution : (M, C) float32
        What is trained on; for a test, the label that is held to be right.
    given : (M,) int64
        Given label, -1 where there is none.
    weight : (M,) float32 >= 0
        Sample weight.
    points : (M, 68, 2) float32, optional
        Landmarks in widths and heights of the face's crop: (0, 0) is its upper left corner, (1, 1) its lower right; NaN
        where there are none.
    units : (M, U) float32 in [0, 1], optional
        Probability that each action unit is active; NaN where it is not known.
    unit_names : tuple of U str
        Such as "AU12".
    """

    samples: Samples
    rows: Ints
    distribution: Floats
    given: Ints
    weight: Floats
    points: Floats | None = None
    units: Floats | None = None
    unit_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        m = len(self.rows)
        freeze(self, "rows", np.int64, (m,))
        freeze(self, "distribution", np.float32, (m, len(self.samples.classes)))
        freeze(self, "given", np.int64, (m,))
        freeze(self, "weight", np.float32, (m,))
        freeze(self, "points", np.float32, (m, 68, 2))
        freeze(self, "units", np.float32, (m, len(self.unit_names)))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, the columns of `distribution`."""
        return self.samples.classes

    @property
    def ids(self) -> Strings:
        """Ids of the faces, (M,)."""
        chosen: Strings = self.samples.ids[self.rows]
        return chosen

    @property
    def label(self) -> Ints:
        """Class that is trained on (first of equals), (M,) int64."""
        return np.asarray(self.distribution.argmax(1), dtype=np.int64)

    @property
    def sampled(self) -> Ints:
        """Class that a sampler counts a face to, (M,) int64; -1 where the weight is 0."""
        return np.where(self.weight > 0, self.label, -1).astype(np.int64)

    def taking(self, keep: Bools | Ints) -> TrainingSet:
        """Return some of the faces: (M,) bool, or places (K,) int64."""
        return replace(
            self,
            rows=self.rows[keep],
            distribution=self.distribution[keep],
            given=self.given[keep],
            weight=self.weight[keep],
            points=None if self.points is None else self.points[keep],
            units=None if self.units is None else self.units[keep],
        )


def from_samples(samples: Samples) -> TrainingSet:
    """Return all faces of a set on their given labels, every labeled one with weight 1, every other with 0."""
    n = len(samples)
    flat = np.full((n, len(samples.classes)), 1 / len(samples.classes), dtype=np.float32)
    return TrainingSet(
        samples,
        np.arange(n),
        np.where(samples.labeled[:, None], samples.given, flat),
        samples.label,
        samples.labeled.astype(np.float32),
    )


def from_refined(
    refined: RefinedSet,
    samples: Samples | None = None,
    which: str = "refined",
    roots: Sequence[str | os.PathLike[str]] = (),
) -> TrainingSet:
    """Return the faces of a refined set.

    Parameters
    ----------
    refined : RefinedSet
    samples : Samples, optional
        The set that was refined, for its pictures; without it they are read from `refined.paths`.
    roots : sequence of path
        Folders in which pictures are looked for where none of `refined.paths` is there (`datasets.paths.placed`).
    which : str
        "refined": the refined distribution times the sample weight; "given": the given labels; "weight": the given
        labels times the sample weight; "drop": the given labels, flagged faces at weight 0; "relabel": the likeliest
        refined class. Where given labels are asked for, a face without one has weight 0.

    Raises
    ------
    InputError
        Faces without a picture, faces or classes that the set lacks, or another word for `which`.
    """
    if which not in WHICH:
        raise InputError(f"labels '{which}' are not known; choose {', '.join(WHICH)}.{did_you_mean(which, WHICH)}")
    rows = np.arange(len(refined))
    if samples is None:
        samples = _pictured(refined, roots)
    else:
        rows = rows_of(refined, samples.ids)
        if set(samples.classes) != set(refined.classes):
            raise InputError(
                f"The set has the classes {', '.join(samples.classes)}, the refined file {', '.join(refined.classes)}. "
                "Name the set that was refined, and read it with the same --classes and --alias."
            )
        # the columns of the refined file are the order of everything that follows
        order = [samples.classes.index(name) for name in refined.classes]
        samples = samples.replacing(classes=refined.classes, given=samples.given[:, order], votes=None)
    c = len(refined.classes)
    known = refined.labeled.astype(np.float32)
    given = np.where(refined.labeled[:, None], refined.given, np.float32(1 / c))
    targets: dict[str, tuple[Any, Any]] = {
        "refined": (refined.distribution, refined.weight),
        "given": (given, known),
        "weight": (given, refined.weight * known),
        "drop": (given, known * ~refined.flagged),
        "relabel": (np.eye(c, dtype=np.float32)[refined.label], np.ones(len(refined), dtype=np.float32)),
    }
    distribution, weight = targets[which]
    return TrainingSet(samples, rows, distribution, refined.given_label, weight)


def _pictured(refined: RefinedSet, roots: Sequence[str | os.PathLike[str]]) -> Samples:
    """Return the refined faces as samples whose pictures are those of the file's paths."""
    if refined.metadata.get("boxed"):
        raise InputError(
            "The set says by boxes where the faces are, and a refined file holds no boxes: whole pictures would be "
            "trained on. Name the set that was refined with --dataset SET."
        )
    without = refined.paths == ""
    if without.any():
        raise InputError(
            f"{int(without.sum()):,} of {len(refined):,} faces of the refined file have no picture as a file (first: "
            f"{refined.ids[without][0]}). Name the set that was refined with --dataset SET."
        )
    paths = placed_again(refined.paths.tolist(), roots, "the refined file")
    return Samples(
        ids=refined.ids,
        classes=refined.classes,
        given=refined.given,
        labeled=refined.labeled,
        paths=np.array(paths, dtype=np.str_),
        split=refined.split,
        images=FileImages(paths),
    )


def split_of(whole: TrainingSet, names: tuple[str, ...]) -> TrainingSet:
    """Return the faces of some splits.

    Raises
    ------
    InputError
        The set has no such split.
    """
    split = whole.samples.split
    there = [] if split is None else sorted(set(split[whole.rows].tolist()) - {""})
    for name in names:
        if name not in there:
            raise InputError(
                f"No face is in split '{name}'.{did_you_mean(name, there)} The set has: "
                f"{', '.join(there) or 'no splits'}."
            )
    assert split is not None  # a name was found in it
    return whole.taking(np.isin(split[whole.rows], names))


def held_back(whole: TrainingSet, share: float, seed: int) -> tuple[TrainingSet, TrainingSet]:
    """Deal the faces into those to train on and a share to test on; groups stay together, classes are spread evenly.

    Raises
    ------
    InputError
        The share is not above 0 and below 1, or one side would be empty.
    """
    if not 0 < share < 1:
        raise InputError(f"The share held back is {share:g}; expected a number above 0 and below 1.")
    group = whole.samples.group
    mine = None if group is None else group[whole.rows]
    tested = dealt_share(whole.ids, mine, share, seed, whole.given)
    if tested.all():
        raise InputError(
            f"{len(whole):,} faces of one group cannot be dealt into two sides. Name a test split instead."
        )
    return whole.taking(~tested), whole.taking(tested)


def decoded(
    faces: TrainingSet, size: int, progress: Progress | None = None, note: Callable[[str], None] = lambda text: None
) -> tuple[TrainingSet, Bytes | None]:
    """Return the faces whose pictures can be read, and the pictures (M, size, size, 3) uint8, or None if too many.

    Every picture is opened once, so that a missing one shows before hours of work, not within them.

    Raises
    ------
    InputError
        No picture can be read.
    """
    m = len(faces)
    fits = m * size * size * 3 <= HELD_BYTES
    held: Bytes | None = np.empty((m, size, size, 3), dtype=np.uint8) if fits else None
    readable = np.ones(m, dtype=np.bool_)
    reasons: dict[str, str] = {}
    for place, row in enumerate(faces.rows.tolist()):
        try:
            picture = face_of(faces.samples, row, size)
            if held is not None:
                held[place] = picture
        except UnreadableImage as error:
            readable[place] = False
            reasons.setdefault(str(error), str(faces.samples.ids[row]))
        if progress is not None and (place % 256 == 255 or place + 1 == m):
            progress(place + 1, m)
    if not readable.any():
        why = next(iter(reasons.items()), ("no face", "none"))
        raise InputError(
            f"None of the {m:,} pictures can be read ({why[0]}; first: {why[1]}). Name the set that was refined with "
            "--dataset SET, or where its pictures are with --images DIR."
        )
    if not readable.all():
        said = "; ".join(f"{reason} (first: {name})" for reason, name in reasons.items())
        note(f"{int((~readable).sum()):,} of {m:,} pictures cannot be read and are left out: {said}.")
        return faces.taking(readable), None if held is None else held[readable]
    return faces, held


def face_of(samples: Samples, row: int, size: int) -> Bytes:
    """Return the face of `row` as (size, size, 3) uint8; raise UnreadableImage with the reason."""
    from PIL.Image import Resampling

    image = open_face(samples, row)
    if image.size != (size, size):
        image = image.resize((size, size), Resampling.BILINEAR, reducing_gap=3.0)
    return np.asarray(image, dtype=np.uint8)
