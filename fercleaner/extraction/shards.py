"""Shards of a set: parts whose vectors are computed anywhere, in any order, each with a mark that says it is done.

    FOLDER/vectors/                   a feature cache (`cache`): checksummed files, each written whole
    FOLDER/marks/0003-of-0064.json    this part is done: of which set, by which encoders, rows from and to

A shard is a range of rows. It may be computed by any program that can run a command (a Slurm array, an indexed job,
GNU parallel); killed, it is started again and computes what is missing; run twice, it finds its mark. Vectors are kept
by the content of their picture, so a mark says only which rows were gone through.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import Bools, Progress, spec_digest
from ..core.errors import InputError, StoreError
from ..core.files import write_whole
from ..core.text import read_json
from ..core.types import ImageSource, Samples
from .cache import FeatureCache
from .extractor import Extractor
from .images import UnreadableImage
from .run import RunLog, extract

#: Version of the marks.
FORMAT = 1
VECTORS, MARKS = "vectors", "marks"
#: What to do with a mark that is of something else, and with a full disk.
OTHER = "If that shard is here by mistake, remove this file and run it again; else use another folder."
MAKE_ROOM = "Make room there and run that shard again: what is done is not computed again."


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, from 1; rows are shared out as evenly as can be, in order."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "3/64"."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"--shard {text}: expected NUMBER/COUNT, such as 3/64; numbers start at 1.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def rows(self, faces: int) -> tuple[int, int]:
        """Return the first row and the row after the last, of a set of so many faces."""
        return faces * (self.number - 1) // self.count, faces * self.number // self.count

    @property
    def file(self) -> str:
        """Name of its mark."""
        return f"{self.number:04d}-of-{self.count:04d}.json"


@dataclass(frozen=True)
class Mark:
    """What says that a shard is done.

    Parameters
    ----------
    shard : str
    set : str
        `WholeSet.digest`.
    faces : int
        Of the whole set.
    encoders : mapping of name -> str
        Digest of each encoder's spec.
    unreadable : int
        Pictures of the shard that could not be read.
    format : int
    files : mapping of name -> bytes
        Its files of vectors, where they lie on an object store.
    pictures : sequence of str
        `WholeSet.pictures`; none in marks of before they were kept.
    """

    shard: str
    set: str
    faces: int
    encoders: Mapping[str, str]
    unreadable: int
    format: int = FORMAT
    files: Mapping[str, int] = field(default_factory=dict)
    pictures: Sequence[str] = ()

    def to_bytes(self) -> bytes:
        """Return the mark as JSON."""
        return json.dumps(asdict(self), indent=1).encode()


@dataclass(frozen=True)
class WholeSet:
    """The set that shards are parts of.

    Parameters
    ----------
    digest : str
        The first 16 hex digits of the SHA-256 of the ids in order: which set, and which rows are which faces.
    faces : int
    pictures : tuple of str
        Likewise of the first, the middle and the last picture, as sets of other pictures can have the same ids; empty
        where one cannot be read.
    """

    digest: str
    faces: int
    pictures: tuple[str, ...] = ()

    @classmethod
    def of(cls, samples: Samples) -> WholeSet:
        """Return what tells a set from others; three pictures are read."""
        text = "\n".join(json.dumps(name) for name in samples.ids.tolist())
        rows = (0, len(samples) // 2, len(samples) - 1)
        return cls(_sha(text.encode()), len(samples), tuple(_of_picture(samples, row) for row in rows))

    def shows_others(self, pictures: Sequence[str]) -> bool:
        """Return whether all pictures that can be compared are others; one may have been mended since."""
        both = [(one, other) for one, other in zip(self.pictures, pictures, strict=False) if one and other]
        return bool(both) and all(one != other for one, other in both)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _of_picture(samples: Samples, row: int) -> str:
    """Return the digest of a picture's bytes, empty where it cannot be read."""
    if samples.images is None:
        return ""
    try:
        return _sha(samples.images.read(row))
    except (OSError, UnreadableImage):
        return ""


def cache_of(folder: Path) -> FeatureCache:
    """Return the cache in which a folder's shards keep their vectors."""
    return FeatureCache(folder / VECTORS, way_out=MAKE_ROOM)


def write_shard(
    shard: Shard,
    part: Samples,
    whole: WholeSet,
    extractors: Sequence[Extractor],
    folder: Path,
    *,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[RunLog]:
    """Compute the vectors of a shard and set its mark; return what each encoder's run did, none if it was done before.

    A shard that is done but for pictures that could not be read is gone through again: a disk may have failed then.

    Parameters
    ----------
    part : Samples
        The rows `shard.rows` of the set.
    whole : WholeSet
    folder : path
        Shared by all shards.

    Raises
    ------
    StoreError
        The folder holds shards of another set, count, encoder or version (`check_marks`), or cannot be written.
    FeatureError
        None of the shard's pictures can be read.
    """
    if is_done(shard, folder, whole, extractors):
        return []
    cache = cache_of(folder)
    logs = [extract(part, one, cache=cache, workers=workers, progress=progress).log for one in extractors]
    unreadable = max((sum(log.unreadable.values()) for log in logs), default=0)
    mark = Mark(str(shard), whole.digest, whole.faces, _digests(extractors), unreadable, pictures=whole.pictures)
    try:
        (folder / MARKS).mkdir(parents=True, exist_ok=True)
        write_whole(folder / MARKS / shard.file, [mark.to_bytes()])
    except OSError as error:
        raise StoreError(
            f"{folder}: shard {shard} cannot be marked as done ({error.strerror or error}). Its vectors are kept: make "
            "room and run it again."
        ) from error
    return logs


def is_done(shard: Shard, folder: Path, whole: WholeSet, extractors: Sequence[Extractor]) -> bool:
    """Return whether a folder has a shard whole: marked (`check_marks`), and every picture of it could be read."""
    mark = check_marks(folder, whole, extractors, shard.count).get(str(shard))
    return mark is not None and not mark.unreadable


def check_marks(
    folder: Path, whole: WholeSet, extractors: Sequence[Extractor], count: int | None = None
) -> dict[str, Mark]:
    """Return the marks of a folder by shard; StoreError, which names the shard, where one is of something else."""
    encoders, marks = _digests(extractors), dict[str, Mark]()
    for path in sorted((folder / MARKS).glob("*.json")):
        mark = read_mark(path)
        if mark.format != FORMAT:
            raise StoreError(f"{path}: shard {mark.shard} was written by another version of fercleaner. {OTHER}")
        if (mark.set, mark.faces) != (whole.digest, whole.faces):
            raise StoreError(
                f"{path}: shard {mark.shard} is of another set ({mark.faces:,} faces, digest {mark.set}; this one has "
                f"{whole.faces:,}, {whole.digest}). Name the set that was extracted, read with the same options. "
                f"{OTHER}"
            )
        if whole.shows_others(mark.pictures):
            raise StoreError(
                f"{path}: shard {mark.shard} is of another set: its faces have the same names and other pictures (the "
                f"first, the middle and the last differ). Name the set that was extracted. {OTHER}"
            )
        if mark.encoders != encoders:
            both = [name for name in encoders if mark.encoders.get(name, encoders[name]) != encoders[name]]
            have, want = (_named(held, both) for held in (mark.encoders, encoders))
            raise StoreError(
                f"{path}: shard {mark.shard} was made by {have}; this run's encoders are {want}. Use the same "
                f"--encoder, --weights, --crop, --landmarks and version. {OTHER}"
            )
        other = Shard.parse(mark.shard).count
        count = other if count is None else count
        if other != count:
            raise StoreError(f"{path}: shard {mark.shard} stands beside shards of {count}. {OTHER}")
        marks[mark.shard] = mark
    return marks


@dataclass(frozen=True)
class Extracted:
    """What a folder of shards holds for a set.

    Parameters
    ----------
    count : int
        Shards that the set was cut into; 0 where none is done.
    missing : tuple of Shard
        Those without a mark.
    rows : (N,) bool
        Faces whose shard is done.
    """

    count: int
    missing: tuple[Shard, ...]
    rows: Bools

    def sentence(self, read: str, folder: str | Path) -> str:
        """Return what is there and what is missing, for people; `read` is the set with the options it is read by."""
        done, n = self.count - len(self.missing), len(self.rows)
        text = f"Vectors: {done} of {self.count} shards are done, {int(self.rows.sum()):,} of {n:,} faces."
        if not self.missing:
            return text
        first = ", ".join(str(shard) for shard in self.missing[:5]) + (", ..." if len(self.missing) > 5 else "")
        return (
            f"{text} Missing: {first}. Faces of these have no vectors; fercleaner extract {read} --shard "
            f"{self.missing[0]} --to {folder} makes them."
        )


def extracted(folder: Path, samples: Samples, extractors: Sequence[Extractor], name: str = "") -> Extracted:
    """Return which shards of a set are done in a folder, which is a copy of what is called `name`, if that is given.

    StoreError where none is, or one is of another set, encoder or version.
    """
    name = name or str(folder)
    marks = check_marks(folder, WholeSet.of(samples), extractors)
    if not marks:
        raise StoreError(f"{name} holds no finished shard. Make one: fercleaner extract SET --shard 1/1 --to {name}")
    count = Shard.parse(next(iter(marks))).count
    missing = tuple(s for s in (Shard(number + 1, count) for number in range(count)) if str(s) not in marks)
    rows = np.ones(len(samples), dtype=np.bool_)
    for shard in missing:
        start, end = shard.rows(len(samples))
        rows[start:end] = False
    return Extracted(count, missing, rows)


class FinishedImages:
    """Pictures of a set of which only those in finished shards are read; others say which shard is missing."""

    def __init__(self, source: ImageSource, held: Extracted) -> None:
        self._source, self._held = source, held

    def __len__(self) -> int:
        return len(self._source)

    def read(self, row: int) -> bytes:
        """Return the encoded picture of `row`; UnreadableImage where its shard is not done."""
        if not self._held.rows[row]:
            n = len(self._held.rows)
            shard = next(s for s in self._held.missing if s.rows(n)[0] <= row < s.rows(n)[1])
            raise UnreadableImage(f"shard {shard} is not extracted")
        return self._source.read(row)

    def name(self, row: int) -> str:
        """Return the picture's name."""
        return self._source.name(row)


def extractors_of(encoders: Sequence[Extractor], landmarks: object) -> list[Extractor]:
    """Return all that runs over pictures: the encoders and, where it is one that computes, the landmark detector."""
    detector: Any = landmarks
    return [*encoders, *([detector] if callable(getattr(detector, "compute", None)) else [])]


def _digests(extractors: Sequence[Extractor]) -> dict[str, str]:
    """Return the digest of each extractor's spec by its name, numbered where two of one kind run."""
    digests: dict[str, str] = {}
    for one in extractors:
        again = sum(name.split("#")[0] == one.name for name in digests)
        digests[f"{one.name}#{again + 1}" if again else one.name] = spec_digest(one.spec)
    return digests


def _named(encoders: Mapping[str, str], differing: Sequence[str]) -> str:
    """Return the names of encoders, with the digest where it alone tells them from another run's."""
    names = [f"{name} ({digest})" if name in differing else name for name, digest in sorted(encoders.items())]
    return ", ".join(names) or "none"


def read_mark(path: Path) -> Mark:
    """Return the mark in a file; StoreError where it is none."""
    try:
        held: dict[str, Any] = read_json(path.read_text(encoding="utf-8"))
        mark = Mark(**held)
        Shard.parse(mark.shard)
        return mark
    except (OSError, ValueError, TypeError, InputError) as error:
        raise StoreError(f"{path} is no mark of a shard, or is damaged. Remove it and run that shard again.") from error
