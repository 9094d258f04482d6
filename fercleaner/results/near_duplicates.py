"""Duplicates: one picture under several ids, as it is, mirrored or cropped otherwise; unlike labels among them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..core.arrays import Ints, Progress
from ..core.groups import first_connected
from ..core.refined import RefinedSet
from ..core.types import Samples
from .alike import alike, thumbnails
from .pixels import SIDE as SIDE
from .pixels import Pixels, look
from .recrops import detail, recropped

#: Cosine of two thumbnails from which two pictures count as one, and the lower one that does so together with their
#: agreement in fine detail. On the half of FER2013's training faces that these were not chosen on, at least 98 % of the
#: pairs found so are right (they are known near-duplicates; others need not be wrong) and 95 % of the known pairs are
#: found; of 1,200 drawn faces, no two of which are one, no pair is (benchmarks/audit_page.py).
LIKENESS, LESS_ALIKE, DETAIL = 0.99, 0.985, 0.8
#: Agreement in fine detail from which a picture and a crop of another count as one: crops of drawn faces in dark frames
#: reach .894 by chance, 95 % of re-cropped copies at least .917.
CROP_DETAIL = 0.9
#: Larger sets are not searched for crops, unless asked to.
MOST_FOR_CROPS = 60_000
#: How two pictures can be one, closest first.
EXACT, NEAR, MIRRORED, RECROPPED = KINDS = ("exact", "near", "mirrored", "recropped")


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures that are near-duplicates of one another, in the order of the set.

    Parameters
    ----------
    ids, paths, given, refined, splits : tuple of M str
        `given` is "" where a face has no label, `splits` where the set has none.
    kind : {"exact", "near", "mirrored", "recropped"}
        The least close of the links that hold it together.
    keep : str
        Id of the face to keep where one is enough: the largest picture, of these the best supported label, then the
        first.
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    given: tuple[str, ...]
    refined: tuple[str, ...]
    splits: tuple[str, ...]
    kind: str
    keep: str

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
    number : (N,) int64
        Of the group that each face is in, -1 for a face without a duplicate.
    crops_sought : bool
        Whether copies that were cropped otherwise were sought.
    """

    groups: tuple[DuplicateGroup, ...]
    faces: int
    compared: int
    unread: dict[str, int]
    number: Ints
    crops_sought: bool

    def to_dict(self) -> dict[str, Any]:
        """Return all groups as JSON types."""
        return {
            "faces": self.faces,
            "compared": self.compared,
            "unread": self.unread,
            "crops_sought": self.crops_sought,
            "groups": [
                {
                    **{
                        name: list(value) if isinstance(value, tuple) else value
                        for name, value in asdict(group).items()
                    },
                    "conflicting": group.conflicting,
                    "leaking": group.leaking,
                }
                for group in self.groups
            ],
        }


def find_duplicates(
    refined: RefinedSet,
    faces: Samples | None = None,
    pixels: Pixels | None = None,
    *,
    crops: bool | None = None,
    progress: Progress | None = None,
) -> Duplicates:
    """Compare the pictures of a refined set and return those that are one picture.

    - exact: the same pixels, however encoded.
    - near: recompressed, resized, a little brighter: gray thumbnails (16 x 16, mean off) of a cosine of at least
      `LIKENESS`, or of `LESS_ALIKE` where fine detail agrees by `DETAIL` as well.
    - mirrored: likewise, one of them mirrored left to right.
    - recropped: one is like a crop of the other by `LIKENESS` and `CROP_DETAIL`, once side and place of the crop
      are fitted (`recrops.recropped`).

    Groups are what such pairs connect. Turned pictures are not found. Faces that share one picture file (several boxes
    in a photograph) are left out unless `faces` says where each one is.

    Parameters
    ----------
    refined : RefinedSet
        Its `paths` are opened where `faces` is not given.
    faces : Samples, optional
        The faces in the same order, with pictures inside a csv or a Hugging Face dataset, and boxes.
    pixels : Pixels, optional
        What was seen of them already.
    crops : bool, optional
        Whether to look for crops; by default in sets of up to `MOST_FOR_CROPS` faces.
    progress : callable (done, total), optional
        Called as pictures are read.

    Cost: every picture is decoded once (0.5 ms each at 48 x 48), then comparisons of all pairs; 28,709 pictures on one
    core: 3 s, and with crops about 20 s more.
    """
    if faces is None:
        from ..extraction.images import FileImages

        paths = refined.paths.tolist()
        faces = _bare(refined, FileImages(paths) if any(paths) else None)
    seen = look(faces, progress=progress) if pixels is None else pixels
    why = seen.why.copy()
    if faces.boxes is None:
        shared = Counter(path for path in faces.paths.tolist() if path)
        for row, path in enumerate(faces.paths.tolist()):
            if shared[path] > 1:
                why[row] = "shares its picture with other faces"
    thumbs, telling = thumbnails(seen.gray)
    why[(why == "") & ~telling] = "of one even color"
    rows = np.flatnonzero(why == "")
    sought = len(rows) <= MOST_FOR_CROPS if crops is None else crops
    first, second, kind = links(seen, rows, thumbs, sought)
    members = _connected(len(refined), first, second)
    number = np.full(len(refined), -1, dtype=np.int64)
    for group in members:
        number[group] = group[0]
    worst = np.zeros(len(refined), dtype=np.int64)
    np.maximum.at(worst, number[first], kind)
    groups = [(group, _group(refined, seen, group, KINDS[worst[group[0]]])) for group in members]
    groups.sort(key=lambda pair: (not pair[1].conflicting, -len(pair[1].ids)))
    for place, (group, _) in enumerate(groups):
        number[group] = place
    unread = Counter(why[why != ""].tolist())
    listed = tuple(group for _, group in groups)
    return Duplicates(listed, len(refined), len(rows), dict(unread.most_common()), number, sought)


def links(seen: Pixels, rows: Ints, thumbs: Any, crops: bool) -> tuple[Ints, Ints, Ints]:
    """Return pairs of pictures that are one, as rows (P,), (P,), and the number (P,) of their kind in `KINDS`."""
    pairs = alike(thumbs[rows], LESS_ALIKE)
    gray = seen.gray[rows]
    turned = np.where(pairs.mirrored[:, None, None], gray[pairs.second][:, :, ::-1], gray[pairs.second])
    fine = np.einsum("md,md->m", detail(gray[pairs.first]), detail(turned))
    same = (pairs.cosine >= LIKENESS) | (fine >= DETAIL)
    first, second = pairs.first[same], pairs.second[same]
    kind = np.where(pairs.mirrored[same], KINDS.index(MIRRORED), KINDS.index(NEAR))
    content = seen.content[rows]
    kind = np.where((content[first] == content[second]) & (kind == KINDS.index(NEAR)), KINDS.index(EXACT), kind)
    order = np.lexsort((kind, second, first))
    first, second, kind = first[order], second[order], kind[order]
    if crops and len(rows) > 1:
        n = len(rows)
        known = np.concatenate([first * n + second, second * n + first])
        cut = recropped(gray, known)
        found = (cut.cosine >= LIKENESS) & (cut.detail >= CROP_DETAIL)
        first = np.concatenate([first, np.minimum(cut.whole, cut.part)[found]])
        second = np.concatenate([second, np.maximum(cut.whole, cut.part)[found]])
        kind = np.concatenate([kind, np.full(int(found.sum()), KINDS.index(RECROPPED))])
    _, once = np.unique(first * max(len(rows), 1) + second, return_index=True)
    return rows[first[once]], rows[second[once]], kind[once]


def _bare(refined: RefinedSet, images: Any) -> Samples:
    """Return the faces of a refined set as they are opened by path."""
    classes = refined.classes if len(refined.classes) > 1 else (*refined.classes, "another")
    none = np.zeros((len(refined), len(classes)), dtype=np.float32)
    unlabeled = np.zeros(len(refined), dtype=np.bool_)
    return Samples(refined.ids, classes, none, unlabeled, refined.paths, images=images)


def _connected(n: int, rows: Ints, columns: Ints) -> list[Ints]:
    """Return the groups of two or more that the pairs connect, each ascending, by their first row."""
    number = first_connected(np.stack([rows, columns], axis=1), n)
    order = np.argsort(number, kind="stable")
    ends = np.flatnonzero(np.diff(number[order])) + 1
    groups = [group for group in np.split(order, ends) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def _group(refined: RefinedSet, seen: Pixels, rows: Ints, kind: str) -> DuplicateGroup:
    largest = np.lexsort((rows, -refined.quality[rows], -(seen.width * seen.height)[rows]))[0]
    names = np.array([*refined.classes, ""], dtype=np.str_)  # index -1, no label, gives ""
    columns: Sequence[Any] = (
        refined.ids[rows],
        refined.paths[rows],
        names[refined.given_label[rows]],
        names[refined.label[rows]],
        refined.split[rows],
    )
    ids, paths, given, label, splits = (tuple(column.tolist()) for column in columns)
    return DuplicateGroup(ids, paths, given, label, splits, kind, str(refined.ids[rows[largest]]))
