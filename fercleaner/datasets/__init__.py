"""Published dataset layouts -> `Samples`: one file a layout, recognized by themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from ..core.checks import kind_of
from ..core.errors import InputError, did_you_mean
from ..core.text import shown
from ..core.types import Samples
from . import affectnet, expw, fer2013, ferplus, folders, huggingface, imagefolder, manifest, named, rafdb
from .assemble import select
from .options import COLUMN_NAMES, ReadOptions
from .recognize import Recognized, recognize
from .table import readable
from .votes import VoteRules, rules_of

__all__ = [
    "COLUMN_NAMES",
    "LAYOUTS",
    "Layout",
    "ReadOptions",
    "Recognized",
    "VoteRules",
    "read",
    "read_again",
    "recognize",
    "select",
]


@dataclass(frozen=True)
class Layout:
    """A dataset layout that can be read.

    Parameters
    ----------
    title : str
        What it is, in a line.
    read : callable
        (path, options) -> `Samples`.
    takes_images : bool
        Whether `images` (where paths start) means something.
    takes_columns : bool
        Whether `columns` does.
    """

    title: str
    read: Callable[[Path, ReadOptions], Samples]
    takes_images: bool = False
    takes_columns: bool = False


#: Every layout by its name.
LAYOUTS: Mapping[str, Layout] = {
    "folders": Layout("a folder per class, with or without folders per split", folders.read),
    "manifest": Layout("a CSV, TSV or Parquet table with a row a face", manifest.read, True, True),
    "rafdb": Layout("RAF-DB, 7 basic expressions", rafdb.read, True),
    "rafdb-compound": Layout("RAF-DB, 11 compound expressions", partial(rafdb.read, layout="rafdb-compound"), True),
    "affectnet": Layout("AffectNet, training.csv and validation.csv", affectnet.read, True),
    "affectnet-npy": Layout("AffectNet, images/ and annotations/*.npy", affectnet.read_npy, True),
    "fer2013": Layout("FER2013's csv with pixels, its own labels", fer2013.read),
    "ferplus": Layout("FER2013's csv with FERPlus's votes beside it", fer2013.read_with_votes),
    "ferplus-folders": Layout("FERPlus's folders, each with a label.csv", ferplus.read, True),
    "expw": Layout("ExpW, label.lst with face boxes", expw.read, True),
    "named": Layout("JAFFE, KDEF or RaFD, subject and expression in the names of files", named.read),
    "imagefolder": Layout("pictures beside Hugging Face's metadata.csv or .jsonl", imagefolder.read, True, True),
    "huggingface": Layout("a Hugging Face dataset saved with save_to_disk", huggingface.read, True, True),
}
#: Options that name the column of a role; `--column ROLE=NAME` names any.
OPTIONS = {"site": "--site-by", "group": "--group-by"}


def read(
    path: str | Path,
    *,
    layout: str = "auto",
    classes: Sequence[str] | None = None,
    alias: Mapping[str, str] | None = None,
    images: str | Path | None = None,
    split: str | Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    votes: VoteRules | Mapping[str, object] | None = None,
) -> Samples:
    """Read a dataset; no picture is opened.

    Parameters
    ----------
    path : path
        The dataset's folder, or its list or table.
    layout : str
        A name of `LAYOUTS`, or "auto": recognize it (`recognize` says why).
    classes : sequence of str, optional
        The class set in the order wanted, by any spelling; or the name of a published one, such as "rafdb". Both also
        say what integer labels mean.
    alias : mapping of spelling -> name, optional
        Further spellings of labels, such as {"grin": "happiness"}; a target of "" leaves such rows unlabeled.
    images : path, optional
        Folder where the relative paths of a list start.
    split : str or sequence of str, optional
        Keep only these splits.
    columns : mapping of role -> column name, optional
        Which column of a table is the image, label, id, split, group, site or box; "" says that there is none.
    votes : mapping of rule -> value, optional
        How annotators' votes become labels, as `--votes` says it, such as {"ties": "unlabeled"}.

    Returns
    -------
    Samples
        Its `layout` is the layout read. Rows without a label stay, with the reason in `notes`.

    Raises
    ------
    InputError
        With what is wrong, where it stands and the way out.
    MissingDependency
        For a Hugging Face dataset without the package datasets.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(
            f"read takes the name of a folder or file; it was given {kind_of(path)}. Write a table to a file first "
            "(DataFrame.to_csv or to_parquet), or make fercleaner.Samples of arrays."
        )
    if not isinstance(layout, str):
        raise InputError(f"layout is {kind_of(layout)}; expected one of {', '.join(LAYOUTS)}, or 'auto'.")
    if images is not None and not isinstance(images, str | os.PathLike):
        raise InputError(f"images is {kind_of(images)}; expected the name of a folder.")
    path = Path(path)
    options = ReadOptions(
        classes=classes,
        alias=_mapping(alias, "alias", '{"grin": "happiness"}'),
        images=None if images is None else Path(images),
        split=split,
        columns=_mapping(columns, "columns", '{"label": "emotion"}'),
        votes=votes if isinstance(votes, VoteRules) else rules_of(_mapping(votes, "votes", '{"ties": "unlabeled"}')),
    )
    if layout != "auto" and layout not in LAYOUTS:
        raise InputError(f"'{layout}' is not a layout ({', '.join(LAYOUTS)}).{did_you_mean(layout, LAYOUTS)}")
    reader = LAYOUTS[recognize(path).layout if layout == "auto" else layout]
    if options.images is not None and not reader.takes_images:
        raise InputError(f"This layout ({reader.title}) says itself where its pictures are; leave --images out.")
    if options.columns and not reader.takes_columns:
        said = ", ".join(sorted({OPTIONS.get(role, "--column") for role in options.columns}))
        raise InputError(
            f"This layout ({reader.title}) has columns of its own, or none; leave {said} out, or write a list of its "
            "pictures that has the column, and read that."
        )
    with readable(path):
        samples = reader.read(path, options)
    if chosen := options.to_dict():
        known = next(name for name, one in LAYOUTS.items() if one is reader)
        samples = samples.replacing(provenance={**samples.provenance, "read_as": {"layout": known, **chosen}})
    return samples


def _mapping(said: Mapping[str, Any] | None, name: str, example: str) -> dict[str, Any]:
    """Return what was said as a dict, empty for None; InputError where it is no mapping."""
    if said is not None and not isinstance(said, Mapping):
        raise InputError(f"{name} is {kind_of(said)}; expected a dict, such as {example}.")
    return dict(said or {})


def read_again(
    path: str | Path,
    read_as: Mapping[str, Any],
    *,
    images: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
) -> Samples:
    """Read a set as it was read before.

    Parameters
    ----------
    path : path
    read_as : mapping
        `Samples.provenance` ["read_as"] of then, or the entry `read_as` of a refined file; empty for a plain `read`.
    images, columns
        As in `read`; `columns` are added to those of then.

    Raises
    ------
    InputError
        As `read`; or where a later version said what this one does not know.
    """
    said, rules = dict(read_as), dict(read_as.get("votes", {}))
    known = {"layout", *(field.name for field in fields(ReadOptions))}
    if later := sorted(said.keys() - known) + sorted(rules.keys() - {field.name for field in fields(VoteRules)}):
        raise InputError(
            f"{path}: the refined file says that the set was read with {', '.join(map(shown, later))}, which this "
            "version of fercleaner does not know. Use the version that wrote it, or refine the set again."
        )
    votes = VoteRules(**rules) if said.pop("votes", None) else None
    named = {**said.pop("columns", {}), **(columns or {})}
    return read(path, images=images, votes=votes, columns=named, **said)
