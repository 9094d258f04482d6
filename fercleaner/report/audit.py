"""audit(): one page about a refined set that opens from disk, and its data."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from ..core.checks import expect_kind
from ..core.errors import InputError, StoreError
from ..core.files import check_writable, replacing
from ..core.refined import RefinedSet
from ..pipeline.inputs import Callbacks
from ..results.checks import write_table
from ..similarity.whitening import joined
from .checked import check_set, checks_data
from .data import (
    SCHEMA,
    annotators,
    calibration,
    column_tables,
    counted_columns,
    filter_columns,
    groups,
    overview,
    points,
)
from .material import SHOWN, Material, choose
from .page import html_of
from .pictures import faces_of
from .shown import pictures, shown_faces
from .spread import laid_out

#: Files of an audit in its folder.
PAGE, DATA, TABLE = "index.html", "audit.json", "checks.parquet"
#: Most faces that a page shows with pictures.
MOST_SHOWN = 5000


@dataclass(frozen=True)
class Options:
    """How an audit is made.

    Parameters
    ----------
    title : str
        What the set is called.
    shown : int
        Faces shown with pictures.
    checks : bool
        Whether every picture is opened to look for duplicates, and for blurred, dark and tiny ones.
    detector : str
        YuNet's weights, to count the faces in each picture; "" counts none.
    layout : {"pca", "tsne"}
        Of the map.
    seed : int
    """

    title: str = "refined set"
    shown: int = SHOWN
    checks: bool = True
    detector: str = ""
    layout: str = "pca"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Audit:
    """What `audit` found: plain data, the page, and tables a row a face.

    Parameters
    ----------
    data : mapping
        JSON types; `schema.json` beside this module describes them.
    table : mapping of name -> (N,) array
        What the checks say of each face: id, a column a check, and what they went by.
    """

    data: Mapping[str, Any]
    table: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the data without the pictures."""
        return {name: value for name, value in self.data.items() if name != "sprites"}

    @property
    def pictures(self) -> int:
        """How many thumbnails the page holds."""
        return sum(int(sheet["tiles"]) for sheet in self.data["sprites"].values())

    def html(self) -> str:
        """Return the page: one text that asks nothing of any server."""
        return html_of(self.data)

    def write(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write `PAGE`, `DATA` and `TABLE` into a folder, made where absent, and return the page's path.

        Older ones stay until all three are written; then they are replaced one right after the other, the page last.

        Raises
        ------
        StoreError
            A file is there and `overwrite` is False, or the folder cannot be written.
        """
        folder = Path(folder)
        check_folder(folder, overwrite)
        _make(folder)
        with replacing(folder / PAGE, overwrite) as page, replacing(folder / DATA, overwrite) as data:
            for stream, text in ((page, self.html()), (data, json.dumps(self.to_dict(), ensure_ascii=True))):
                stream.write(text.encode("utf-8", "backslashreplace"))
                stream.flush()
            write_table(self.table, folder / TABLE, overwrite=overwrite)
        return folder / PAGE

    def summary(self) -> dict[str, Any]:
        """Return the counts, the expected noise, and what each check found."""
        found = {check["name"]: check["found"]["count"] for check in self.data["checks"] if check["found"]}
        return {"counts": self.data["counts"], "noise": self.data["noise"], "checks": found}

    def _repr_html_(self) -> str:
        from .notebook import framed

        return framed(self.html())


def audit(
    refined: RefinedSet,
    material: Material | None = None,
    options: Options | None = None,
    callbacks: Callbacks | None = None,
) -> Audit:
    """Look at a refined set from all sides, and show it as a page.

    Parameters
    ----------
    refined : RefinedSet
    material : Material, optional
        The set, vectors, landmarks, experts, a truth: what is there is shown, what is not is said to be missing.
    options : Options, optional
    callbacks : Callbacks, optional

    Raises
    ------
    InputError
        The refined set is empty, or the material lacks some of its faces.
    """
    material, options, callbacks = material or Material(), options or Options(), callbacks or Callbacks()
    _check(refined, material, options)
    faces = faces_of(refined, material.samples, material.root)
    joint = joined(material.features) if material.features else None
    rows = choose(refined, options.shown)
    checked = check_set(refined, faces, joint, material, callbacks, options.checks, options.detector)
    sprites = pictures(refined, faces, rows, checked.examples, callbacks.stage("pictures of shown faces"))
    laid = laid_out(refined, joint, options.layout, options.seed)
    data = {
        "schema": SCHEMA,
        "title": options.title,
        "written": date.today().isoformat(),
        "classes_in_order": list(refined.classes),
        **overview(refined),
        "tables": column_tables(refined, counted_columns(faces, refined, material.columns)),
        "groups": groups(refined, faces),
        "annotators": annotators(refined),
        "calibration": calibration(refined, material.truth, material.min_votes),
        "checks": checks_data(checked, refined, sprites["small"]),
        "balance": checked.classes,
        "points": points(refined, laid, filter_columns(refined, faces, material), rows),
        "shown": shown_faces(refined, faces, rows, sprites, material),
        "sprites": {name: made.to_dict() for name, made in sprites.items()},
    }
    return Audit(data, checked.table)


def check_folder(folder: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Raise the StoreError that writing an audit there would raise; call it before long work. Leaves nothing behind."""
    folder = Path(folder)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    _make(folder)
    try:
        for name in (PAGE, DATA, TABLE):
            check_writable(folder / name, overwrite)
    finally:
        for place in made:
            place.rmdir()


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made a folder: {error.strerror}. Choose another --out.") from error


def _check(refined: RefinedSet, material: Material, options: Options) -> None:
    expect_kind(refined, RefinedSet, "refined", "fercleaner.load(FILE) reads one")
    expect_kind(material, Material, "material", "such as fercleaner.report.Material(samples=...)")
    if not len(refined):
        raise InputError("The refined set holds no faces.")
    if not 1 <= options.shown <= MOST_SHOWN:
        raise InputError(f"{options.shown} faces to show: name 1 to {MOST_SHOWN:,}.")
    samples = material.samples
    if samples is not None and samples.classes != refined.classes:
        raise InputError(
            f"The set has the classes {', '.join(samples.classes)}, the refined file {', '.join(refined.classes)}. "
            "Read it with the --classes and --alias that it was refined with."
        )
