"""A refined set for a trainer, another tool or a reviewer: one file a target.

`export` writes one file, a .csv or an .npz; `export_to` a folder in one of `FORMATS`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import InputError, StoreError, did_you_mean
from ...core.files import check_folder_apart, replacing, sweep, temporary_name, write_error
from ...core.refined import RefinedSet, rows_of
from ...core.types import Samples
from . import affectnet, cleanlab, expw, fer2013, folders, huggingface, label_studio, manifest, rafdb
from .csv_file import csv_content
from .job import PICTURES, Job
from .npz import npz_content
from .selection import LABELS, Selection, labels_to_write

__all__ = ["ENDINGS", "FORMATS", "LABELS", "PICTURES", "Format", "Selection", "export", "export_to"]

#: Endings of single files.
ENDINGS = (".csv", ".npz")
#: Says that a folder is an export of ours, which --force may replace, and what is in it.
MARK = ".fercleaner-export.json"


@dataclass(frozen=True)
class Format:
    """A target of `export_to`: what it is, what writes it, and whose own format it is."""

    title: str
    write: Callable[[Job, Path], None]
    layouts: tuple[str, ...] = ()


FORMATS: dict[str, Format] = {
    "folders": Format("a folder per class of links or copies", folders.write),
    "manifest": Format("the set's table with all its columns", manifest.write, manifest.LAYOUTS),
    "rafdb": Format("RAF-DB's list_patition_label.txt", rafdb.write, rafdb.LAYOUTS),
    "affectnet": Format("AffectNet's csv lists", affectnet.write_csv, affectnet.CSV_LAYOUTS),
    "affectnet-npy": Format("AffectNet's *_exp.npy files", affectnet.write_npy, affectnet.NPY_LAYOUTS),
    "fer2013": Format("FER2013's csv", fer2013.write, fer2013.LAYOUTS),
    "expw": Format("ExpW's label.lst", expw.write, expw.LAYOUTS),
    "huggingface": Format("a Hugging Face dataset, pictures inside", huggingface.write),
    "label-studio": Format("tasks.json and config.xml for Label Studio", label_studio.write),
    "cleanlab": Format("labels.npy and pred_probs.npy", cleanlab.write),
}
#: The format of the set that was refined.
OWN = "own"


def export(
    refined: RefinedSet,
    path: str | os.PathLike[str],
    *,
    selection: Selection | None = None,
    overwrite: bool = False,
    escaped: Callable[[int], None] = lambda rows: None,
) -> int:
    """Write the faces selected to `path`, a .csv or an .npz, and return how many they are.

    - ``.csv``: `csv_file.COLUMNS`, then one column a class with the refined distribution. `image` is the picture's
      path, or the id where it has none; relative paths that lead to pictures from the current folder are written as
      they lead there from the CSV's. Ids of neighbors stand in one cell, "; " between them. Text that a spreadsheet
      would run or change is written as a JSON string (`core.cells`). ``fercleaner.read(FILE)`` reads it back with the
      refined distributions as given.
    - ``.npz``: ids, paths, split (M,) str; classes (C,) str; label, given_label (M,) int64 (-1 where not labeled);
      distribution (M, C), weight, quality (M,) float32; flagged (M,) bool. ``np.load(FILE)`` needs no pickle.

    `escaped` is called with the number of rows of a CSV that hold JSON strings.

    Raises
    ------
    InputError
        Another ending, a class named as a column, or nothing left to write.
    StoreError
        The file exists and `overwrite` is False, or cannot be written.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise InputError(f"{path}: the name must end in {' or '.join(ENDINGS)}, which says the format.")
    rows = (selection or Selection()).rows(refined)
    if ending == ".csv":
        content, count = csv_content(refined, rows, Path(path))
        escaped(count)
    else:
        content = npz_content(refined, rows)
    with replacing(path, overwrite) as stream:
        stream.write(content)
    return len(rows)


def export_to(
    refined: RefinedSet,
    target: str,
    folder: str | os.PathLike[str],
    *,
    selection: Selection | None = None,
    label: str = "flagged",
    fill: bool = False,
    source: str | os.PathLike[str] | None = None,
    samples: Samples | None = None,
    pictures: str = "link",
    overwrite: bool = False,
) -> int:
    """Write the faces selected into a folder in one of `FORMATS`, and return how many they are.

    The folder appears whole or not at all.

    Parameters
    ----------
    refined : RefinedSet
    target : str
        A name of `FORMATS`, or "own": the format of `samples`.
    folder : path
    selection : Selection, optional
    label : str
        One of `LABELS`: "flagged" replaces the labels that are held to be wrong, "refined" all, "given" none;
        "distribution" writes soft labels, where the format holds them.
    fill : bool
        Whether faces without a given label get the refined one.
    source, samples : path and Samples, optional
        The set that was refined: needed to write it in its own format, and for pictures inside a table.
    pictures : {"link", "copy", "none"}
    overwrite : bool
        Replace an earlier export in that folder; a folder of anything else is never replaced.

    Raises
    ------
    InputError
        An unknown format or choice, or one that does not hold what was asked for; faces missing in `samples`.
    StoreError
        The folder is there already, or cannot be written.
    """
    if target == OWN and samples is None:
        raise InputError("--to own: name the set that was refined, --dataset SET.")
    if target == OWN and samples is not None:
        own = [name for name, known in FORMATS.items() if samples.layout in known.layouts or name == samples.layout]
        if not own:
            raise InputError(
                f"--to own: sets of the layout {samples.layout} are only read. Write folders, huggingface, cleanlab or "
                "label-studio; or a table: a name that ends in .csv, without --to."
            )
        target = own[0]
    if target not in FORMATS:
        raise InputError(f"--to {target}: choose one of {', '.join(FORMATS)}.{did_you_mean(target, FORMATS)}")
    if pictures not in PICTURES:
        raise InputError(f"--pictures {pictures}: choose one of {', '.join(PICTURES)}.")
    if refined.metadata.get("boxed") and samples is None and target in ("folders", "huggingface"):
        raise InputError(
            f"--to {target}: the set says by boxes where the faces are, and a refined file holds no boxes: whole "
            "pictures would be written. Name the set that was refined with --dataset SET."
        )
    rows = (selection or Selection()).rows(refined, label)
    in_set = None if samples is None else rows_of(refined, samples.ids)
    labels = labels_to_write(refined, rows, label, fill)
    job = Job(refined, rows, labels, None if source is None else Path(source), samples, in_set, pictures)
    place = Path(folder)
    check_folder_apart(place, [source], replaced=True)
    _restore(place)
    _check_folder(place, overwrite)
    sweep(place.absolute().parent)
    partial = place.absolute().parent / temporary_name()
    try:
        partial.mkdir()
        FORMATS[target].write(job, partial)
        about = {"format": target, "label": label, "faces": len(rows), "replaced": int(labels.replaced.sum())}
        (partial / MARK).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        _move(partial, place)
    except OSError as error:
        raise write_error(place, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(rows)


def _check_folder(place: Path, overwrite: bool) -> None:
    if not place.absolute().parent.is_dir():
        raise StoreError(
            f"{place}: the folder {place.absolute().parent} does not exist. Make it, or choose another name."
        )
    if place.is_symlink() or place.is_file():
        raise StoreError(f"{place} is there already and no folder. Choose another name.")
    if place.is_dir() and any(place.iterdir()):
        if not (place / MARK).is_file():
            raise StoreError(f"{place} holds files that no export wrote. Choose another name, or empty it.")
        if not overwrite:
            raise StoreError(f"{place} exists already. Overwrite it with --force, or choose another name.")


def _move(partial: Path, place: Path) -> None:
    old = _aside(place)
    if place.exists():
        place.rename(old)
    try:
        partial.rename(place)
    except OSError:
        _restore(place)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _restore(place: Path) -> None:
    """Put an earlier export back that a killed run has moved aside, or remove it where the new one is in its place."""
    old = _aside(place)
    with contextlib.suppress(OSError):
        if old.is_dir() and not place.exists():
            old.rename(place)
        elif old.is_dir() and (place / MARK).is_file():
            shutil.rmtree(old)


def _aside(place: Path) -> Path:
    return place.absolute().with_name(f".fercleaner-{place.absolute().name}.old")
