"""What a user may say about how a dataset is to be read, in one object that every layout gets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.checks import kind_of
from ..core.errors import InputError, did_you_mean
from ..core.expressions import CLASS_SETS, ClassSet, spelling_key
from .votes import VoteRules

#: What a column of a manifest or a Hugging Face dataset can be, and the names under which it is found.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "image": (
        "image",
        "path",
        "file",
        "filename",
        "file name",
        "filepath",
        "file path",
        "image path",
        "image name",
        "image file",
        "img",
        "img path",
        "img name",
        "image id",
        "images",
        "pth",
        "imagepath",
        "imagename",
        "picture",
        "photo",
    ),
    "label": ("label", "expression", "emotion", "class", "target"),
    "id": ("id",),
    "split": ("split", "usage"),
    "group": ("group",),
    "site": ("site",),
    "box": ("box", "bbox"),
}

#: Columns that may say who or what is shown, and so which faces are no evidence for each other.
GROUP_LIKE = tuple(
    f"{word}{end}"
    for word in ("subject", "person", "identity", "actor", "participant", "patient", "video", "clip", "sequence")
    for end in ("", "s", " id", "id", " name", " no", " number")
)

#: Columns that may say who gave a label, in tables of a row a face and person.
PEOPLE = (
    *("annotator", "worker", "rater", "coder", "who", "user", "annotator id", "worker id", "rater id", "user id"),
    *("workerid", "annotatorid", "raterid", "userid", "labeler", "labeler id", "judge", "completed by", "annotated by"),
)

#: Columns that may name the face in a file beside the set, the first present being taken; py-feat writes "input", and
#: pandas the index of a frame.
FACE_COLUMNS = ("id", *COLUMN_NAMES["image"], "name", "input", "unnamed: 0", "index level 0")

#: Columns that are called the truth, and nothing else.
CLEAN_COLUMNS = ("clean label", "clean", "truth", "true label")
#: Columns that may hold the clean label in a file of truth.
TRUTH_COLUMNS = (*CLEAN_COLUMNS, *COLUMN_NAMES["label"])

#: Columns that are no measurement of a face, whatever numbers they hold.
NO_FEATURES = (
    *COLUMN_NAMES["label"],
    *COLUMN_NAMES["split"],
    *COLUMN_NAMES["group"],
    *COLUMN_NAMES["site"],
    "given label",
    "clean label",
)

#: Columns that only count rows: pandas' index, written unasked.
INDEX_COLUMNS = ("unnamed: 0", "unnamed: 0.1", "index", "index level 0", "level 0")


def spelled(column: str) -> str:
    """Return a column's name as it is looked up: case, blanks, hyphens and underscores aside."""
    return spelling_key(column)


@dataclass(frozen=True)
class ReadOptions:
    """How to read a dataset.

    Parameters
    ----------
    classes : sequence of str, optional
        The class set in the order wanted, by any spelling; or one name of `expressions.CLASS_SETS`, such as
        "rafdb". Both also say what integer labels mean, classes named where it is clear from which number they count.
    alias : mapping of spelling -> name
        Further spellings of labels; a target of "" leaves such rows unlabeled.
    images : path, optional
        Folder where the relative paths of a list start, instead of the layout's own place.
    split : str or sequence of str, optional
        Keep only these splits; "val" also finds "validation", "val_set" and "PublicTest".
    columns : mapping of role -> column name
        Names of a manifest's columns by role (`COLUMN_NAMES`); "" says that there is none.
    votes : VoteRules
    """

    classes: Sequence[str] | None = None
    alias: Mapping[str, str] = field(default_factory=dict)
    images: Path | None = None
    split: str | Sequence[str] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    votes: VoteRules = field(default_factory=VoteRules)

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            object.__setattr__(self, "classes", tuple(name.strip() for name in self.classes.split(",")))
        for name, words in (("classes", self.classes), ("split", self.split)):
            if words is not None and (isinstance(words, Mapping) or not isinstance(words, Iterable)):
                raise InputError(f"{name} is {kind_of(words)}; expected text, or a list of texts.")
        if self.images is not None:
            object.__setattr__(self, "images", Path(self.images))
            if not Path(self.images).is_dir():
                raise InputError(f"{self.images}: no such folder. --images names the folder where paths start.")
        object.__setattr__(self, "alias", {_plain(key): target for key, target in self.alias.items()})
        texts = {
            "classes": () if self.classes is None else tuple(self.classes),
            "alias": (*self.alias, *self.alias.values()),
        }
        texts["split"] = self.splits or ()
        texts["columns"] = tuple(name for name in self.columns.values() if name is not None)
        for name, values in texts.items():
            odd = [value for value in values if not isinstance(value, str)]
            if odd:
                raise InputError(f"{name} holds {odd[0]!r}, expected text ('{odd[0]}', or '' for none).")
        for role in self.columns:
            if role not in COLUMN_NAMES:
                raise InputError(
                    f"'{role}' is not what a column can be ({', '.join(COLUMN_NAMES)})."
                    f"{did_you_mean(role, COLUMN_NAMES)}"
                )

    @property
    def class_set(self) -> ClassSet | None:
        """The published class set that `classes` names, or None."""
        if self.classes is not None and len(self.classes) == 1:
            return CLASS_SETS.get(self.classes[0].strip().lower())
        return None

    @property
    def splits(self) -> tuple[str, ...] | None:
        """The splits to keep, or None for all."""
        if self.split is None:
            return None
        return (self.split,) if isinstance(self.split, str) else tuple(self.split)

    def to_dict(self) -> dict[str, Any]:
        """Return what was said, but for `images`, as JSON types; empty where nothing was."""
        said = {
            "classes": None if self.classes is None else list(self.classes),
            "alias": dict(self.alias),
            "split": None if self.splits is None else list(self.splits),
            "columns": dict(self.columns),
            "votes": {} if self.votes == VoteRules() else asdict(self.votes),
        }
        return {name: value for name, value in said.items() if value}


def _plain(key: object) -> object:
    """Return a whole number as text, so that {0: "anger"} says what the label 0 means."""
    return str(key) if isinstance(key, int | np.integer) and not isinstance(key, bool) else key


_SPLITS = {
    "train": ("train", "training", "train set", "training set", "fer2013train"),
    "val": (
        "val",
        "valid",
        "validation",
        "val set",
        "valid set",
        "validation set",
        "dev",
        "publictest",
        "fer2013valid",
    ),
    "test": ("test", "testing", "test set", "eval", "privatetest", "fer2013test"),
}
_SPLIT_OF = {spelling: name for name, spellings in _SPLITS.items() for spelling in spellings}


def split_name(text: str) -> str | None:
    """Return "train", "val" or "test" for any common spelling of a split, or None."""
    return _SPLIT_OF.get(text.strip().lower().replace("_", " ").replace("-", " "))
