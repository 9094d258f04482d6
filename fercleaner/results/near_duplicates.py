"""Near-duplicates: the same picture under several ids, and where it was given different labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.arrays import Floats, Ints, Progress
from ..core.refined import RefinedSet
from ..core.types import Features
from ..extraction import images
from ..similarity.neighbors import nearest

#: Side of the gray thumbnail that stands for a picture (pixels).
SIDE = 16
#: Cosine of two thumbnails, their means taken off, from which two pictures count as one. On FER2013's training
#: faces, whose near-duplicates are known, all pairs this alike are near-duplicates, and 82 % of these are found; at
#: 0.98 it is 88 and 89 %.
LIKENESS = 0.99
#: Neighbors looked at a picture.
K = 10
#: Thumbnails of less contrast (root mean square, gray levels of 255) are left out: an even gray is like nothing.
LEAST_CONTRAST = 1.0


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures that are near-duplicates of one another, in the order of the set.

    Parameters
    ----------
    ids, paths, given, refined, splits : tuple of M str
        `given` is "" where a face has no label, `splits` where the set has none.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    given: tuple[str, ...]
    refined: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def conflicting(self) -> bool:
        """Whether its faces were given different labels: at most one of them is right."""
        return len(set(self.given) - {""}) > 1

    @property
    def leaking(self) -> bool:
        """Whether it lies in several splits: a model is tested on what it was trained on."""
        return len(set(self.splits) - {""}) > 1


@dataclass(frozen=True)
class Duplicates:
    """The near-duplicates of a set.

    Parameters
    ----------
    groups : tuple of DuplicateGroup
        Those that conflict first, then the larger ones, then in the order of the set.
    faces, compared : int
        Faces of the set, and those whose picture was compared.
    unread : mapping of reason -> faces
        Why the others were not: "file not found", "no picture", "shares its picture with other faces", ...
    """

    groups: tuple[DuplicateGroup, ...]
    faces: int
    compared: int
    unread: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return all groups as JSON types."""
        return {
            "faces": self.faces,
            "compared": self.compared,
            "unread": self.unread,
            "groups": [
                {
                    **{name: list(texts) for name, texts in asdict(group).items()},
                    "conflicting": group.conflicting,
                    "leaking": group.leaking,
                }
                for group in self.groups
            ],
        }


def find_duplicates(refined: RefinedSet, *, progress: Progress | None = None) -> Duplicates:
    """Compare the pictures of a refined set and return those that are near-duplicates.

    Two pictures are near-duplicates where their gray thumbnails (`SIDE` x `SIDE`, mean taken off) have a cosine of
    at least `LIKENESS`: copies that were recompressed, resized, or made a little brighter. Groups are what such
    pairs connect. Mirrored, turned and otherwise cropped copies are not found. Faces that share one picture file
    (several boxes in a photograph) are left out: a refined file keeps no boxes.

    Parameters
    ----------
    refined : RefinedSet
        Its `paths` are opened.
    progress : callable (done, total), optional
        Called as pictures are read.

    Cost: every picture is read and decoded once (0.4 ms each at 48 x 48), then O(N^2) comparisons of 256 numbers
    (28,709 pictures: 20 s on two cores).
    """
    thumbnails, why = _thumbnails(refined, progress)
    found = why == ""
    alike = nearest(Features("thumbnails", refined.ids, thumbnails, found), K, center=False)
    rows, columns = np.nonzero((alike.similarity >= LIKENESS) & (alike.indices >= 0))
    members = _connected(len(refined), rows, alike.indices[rows, columns])
    groups = [_group(refined, rows) for rows in members]
    groups.sort(key=lambda group: (not group.conflicting, -len(group.ids)))
    unread = Counter(why[~found].tolist())
    return Duplicates(tuple(groups), len(refined), int(found.sum()), dict(unread.most_common()))


def _thumbnails(refined: RefinedSet, progress: Progress | None) -> tuple[Floats, Any]:
    """Return thumbnails (N, SIDE^2), zero where there is none, and why that is, (N,) object; "" where there is one."""
    n = len(refined)
    values = np.zeros((n, SIDE * SIDE), dtype=np.float32)
    why = np.full(n, "", dtype=object)
    source = images.FileImages(refined.paths.tolist())
    shared = Counter(refined.paths.tolist())
    for row, path in enumerate(refined.paths.tolist()):
        if not path:
            why[row] = "no picture"
        elif shared[path] > 1:
            why[row] = "shares its picture with other faces"
        else:
            why[row] = _draw(source, row, values[row])
        if progress is not None:
            progress(row + 1, n)
    return values, why


def _draw(source: images.FileImages, row: int, into: Floats) -> str:
    """Write the thumbnail of a picture, or return why there is none."""
    from PIL import Image

    try:
        picture = images.decode(images.read_bytes(source, row))
    except images.UnreadableImage as error:
        return str(error)
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    gray = np.asarray(small, dtype=np.float64).ravel()
    gray -= gray.mean()
    if np.sqrt(np.mean(gray**2)) < LEAST_CONTRAST:
        return "of one even color"
    into[:] = gray
    return ""


def _connected(n: int, rows: Ints, columns: Ints) -> list[Ints]:
    """Return the groups of two or more that the pairs connect, each ascending, by their first row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = coo_array((np.ones(len(rows), dtype=np.bool_), (rows, columns)), shape=(n, n))
    _, number = connected_components(pairs, directed=False)
    order = np.argsort(number, kind="stable")
    ends = np.flatnonzero(np.diff(number[order])) + 1
    groups = [group for group in np.split(order, ends) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def _group(refined: RefinedSet, rows: Ints) -> DuplicateGroup:
    names = np.array([*refined.classes, ""], dtype=np.str_)  # index -1, no label, gives ""
    columns: Sequence[Any] = (
        refined.ids[rows],
        refined.paths[rows],
        names[refined.given_label[rows]],
        names[refined.label[rows]],
        refined.split[rows],
    )
    return DuplicateGroup(*(tuple(column.tolist()) for column in columns))
