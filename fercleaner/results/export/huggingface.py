"""A Hugging Face dataset, saved with `save_to_disk`: pictures inside, labels with their names, soft labels.

Needs the package datasets (extra "huggingface").
"""

from __future__ import annotations

import io
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import InputError, MissingDependency, StoreError
from ...core.files import TEMPORARY
from ...extraction.images import FileImages, UnreadableImage, known_box, open_face, read_bytes
from .job import Job, check_pictures

#: Columns that every row has.
COLUMNS = ("id", "image", "label", "given_label", "distribution", "weight", "quality", "flagged")
#: Split of faces that have none, beside others that have one; with "_" behind it where a split is called so.
REST = "all"


def write(job: Job, folder: Path) -> None:
    """Write a dataset, or a dict of them by split where the set has splits.

    Columns: id; image (the picture's own bytes; the face alone, as PNG, where the set has boxes); label and given_label
    (ClassLabel, null for none); distribution (C float32); weight, quality; flagged. With --label distribution also a
    float column a class, which `fercleaner.read` takes as given distributions.

    Raises
    ------
    MissingDependency
        The package datasets is not installed.
    StoreError
        A picture cannot be read. With pictures "none" the column image is left out.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingDependency("datasets", "A Hugging Face dataset", extra="huggingface") from error
    soft = job.labels.which == "distribution"
    for name in job.refined.classes if soft else ():
        if name in COLUMNS:
            raise InputError(f"Class '{name}' has the name of a column. Choose --label refined, flagged or given.")
    if job.pictures != "none":
        check_pictures(job, " Pictures can be left out with --pictures none.")
    features = _features(datasets, job, soft)
    splits = job.refined.split[job.rows]
    quiet = datasets.utils.logging
    shown = quiet.is_progress_bar_enabled() if hasattr(quiet, "is_progress_bar_enabled") else True
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory(TEMPORARY[1], TEMPORARY[0], folder.parent) as scratch:
            parts = {
                name: datasets.Dataset.from_generator(
                    _rows, features=features, cache_dir=scratch, gen_kwargs={"work": _Work(job, name, soft)}
                )
                for name in dict.fromkeys(splits.tolist())
            }
            rest = REST
            while rest in parts:
                rest += "_"
            whole = parts[""] if list(parts) == [""] else datasets.DatasetDict({n or rest: p for n, p in parts.items()})
            whole.save_to_disk(str(folder))
    except UnreadableImage as error:
        raise StoreError(str(error)) from error
    except datasets.exceptions.DatasetGenerationError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from error
        raise StoreError(str(error.__cause__ or error)) from error
    finally:
        if shown:
            datasets.enable_progress_bars()


def _features(datasets: Any, job: Job, soft: bool) -> Any:
    names = list(job.refined.classes)
    columns: dict[str, Any] = {"id": datasets.Value("string")}
    if job.pictures != "none":
        columns["image"] = datasets.Image()
    columns |= {
        "label": datasets.ClassLabel(names=names),
        "given_label": datasets.ClassLabel(names=names),
        "distribution": datasets.Sequence(datasets.Value("float32"), length=len(names)),
        "weight": datasets.Value("float32"),
        "quality": datasets.Value("float32"),
        "flagged": datasets.Value("bool"),
    }
    if soft:
        columns |= {name: datasets.Value("float32") for name in names}
    return datasets.Features(columns)


class _Work:
    """What the rows of one split are made from; its fingerprint is its own, so that nothing old is reused."""

    def __init__(self, job: Job, split: str, soft: bool) -> None:
        self.job, self.split, self.soft = job, split, soft
        self._name = secrets.token_hex(16)

    def __reduce__(self) -> Any:
        return (str, (self._name,))

    def rows(self) -> Iterator[dict[str, Any]]:
        job = self.job
        for m, row in enumerate(job.rows.tolist()):
            if str(job.refined.split[row]) != self.split:
                continue
            name, given = str(job.refined.ids[row]), int(job.refined.given_label[row])
            index = int(job.labels.index[m])
            cells: dict[str, Any] = {
                "id": name,
                "label": index if index >= 0 else None,
                "given_label": given if given >= 0 else None,
                "distribution": job.refined.distribution[row],
                "weight": float(job.labels.weight[m]),
                "quality": float(job.labels.quality[m]),
                "flagged": bool(job.refined.flagged[row]),
            }
            if job.pictures != "none":
                cells["image"] = _picture(job, row)
            if self.soft:
                shares = job.labels.distribution[m].tolist() if index >= 0 else [None] * len(job.refined.classes)
                cells |= dict(zip(job.refined.classes, shares, strict=True))
            yield cells


def _rows(work: _Work) -> Iterator[dict[str, Any]]:
    yield from work.rows()


def _picture(job: Job, row: int) -> dict[str, Any]:
    """Return a picture's bytes and name, for a column of type Image."""
    name, path = str(job.refined.ids[row]), str(job.refined.paths[row])
    try:
        if job.samples is not None and job.own is not None and job.samples.images is not None:
            own = int(job.own[row])
            if known_box(job.samples, own) is not None:
                held = io.BytesIO()
                open_face(job.samples, own).save(held, "PNG")
                return {"bytes": held.getvalue(), "path": None}
            return {"bytes": read_bytes(job.samples.images, own), "path": Path(path).name or None}
        if not path:
            raise UnreadableImage("no picture file; name the set that holds it with --dataset SET, or --pictures none")
        return {"bytes": read_bytes(FileImages([path]), 0), "path": Path(path).name}
    except UnreadableImage as error:
        way = "" if job.samples is not None or not path else "Name the set where it lies now: --dataset SET. "
        raise UnreadableImage(f"'{name}': {error}. {way}Pictures can be left out with --pictures none.") from error
