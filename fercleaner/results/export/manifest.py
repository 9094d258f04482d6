"""A manifest with all its columns and rows as they are; labels that changed, weights or distributions where asked."""

from __future__ import annotations

import csv
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import InputError
from ...core.expressions import canonical
from ...datasets import manifest
from ...datasets.label_column import called_alike
from ...datasets.marks import contradictions
from ...datasets.parquet import class_labels
from ...datasets.table import Table, number, read_header, read_rows, read_table, separator
from .csv_file import Number
from .job import Job, mirror

LAYOUTS = ("manifest",)
#: Columns added where weights are asked for; an older column of that name is replaced.
WEIGHT, QUALITY = "weight", "quality"


def write(job: Job, folder: Path) -> None:
    """Write the table under its own name, and link or copy the folders that its relative paths begin with.

    - "refined" and "flagged": cells of the label column of faces that changed, spelled as the table spells that class
      elsewhere, and of columns that say the same by another name or code. Where votes in columns were the labels, those
      of changed faces are emptied, so that the label counts.
    - "given": labels as they are, and the columns weight and quality.
    - "distribution": a column a class (there already, or added), weight and quality.

    Raises
    ------
    InputError
        A class has no spelling among numbers, or a picture's path leads out of the manifest's folder.
    """
    source = job.own_source("manifest", LAYOUTS)
    file = manifest.manifest_of(source)
    assert file is not None  # it was read from there
    if file.suffix.lower() in (".parquet", ".pq"):
        _write_parquet(job, file, folder)
    else:
        _write_text(job, file, folder)
    _mirror_pictures(job, file, folder)


def _write_text(job: Job, file: Path, folder: Path) -> None:
    table, held = read_table(file), dict(read_rows(file))
    assert table.rows is not None  # it is a file of text
    rows = [held[number] for number in table.rows]
    columns = {name: [cells[i] for cells in rows] for i, name in enumerate(read_header(file))}
    columns = _changed(job, table, columns)
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / file.name, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter=separator(file), lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_parquet(job: Job, file: Path, folder: Path) -> None:
    """Write the rows kept of a Parquet table; cells that do not change stay as they are, and so do types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = read_table(file)
    with open(file, "rb") as stream:
        held = pq.ParquetFile(stream).read()
    keep = _kept(job, table)
    about, written = dict(held.schema.metadata or {}), held.take(keep)
    names = {name.strip(): name for name in held.column_names}
    for name, cells in _changed(job, table, {name: list(cells) for name, cells in table.columns.items()}).items():
        before = [table.columns[name][row] for row in keep] if name in table.columns else None
        if cells == before:
            continue
        if before is None:
            column = _numbers(cells) if _holds_numbers(job, name) else pa.array(cells, pa.string())
            written = written.append_column(name, column)
            continue
        place = written.schema.get_field_index(names[name])
        old = written.schema.field(place)
        if _holds_numbers(job, name):
            column = _numbers(cells)
        else:
            spelled = {
                canonical(text): code for code, text in enumerate(class_labels(held.schema).get(names[name], ()))
            }
            spelled |= dict(zip(table.columns[name], held.column(place).to_pylist(), strict=True)) | {"": None}
            rows = zip(cells, before, written.column(place).to_pylist(), strict=True)
            values = [value if cell == was else spelled.get(cell, cell) for cell, was, value in rows]
            try:
                column = pa.array(values, old.type)
            except (pa.ArrowException, TypeError) as error:
                raise InputError(
                    f"--to manifest: '{name}' holds no text, and has no code for a label: {error}"
                ) from error
        written = written.set_column(place, old.with_type(column.type).with_nullable(True), column)
        if column.type != old.type:
            about.pop(b"pandas", None)  # what pandas noted of the column's type is no longer so
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / file.name, "wb") as out:
        pq.write_table(written.replace_schema_metadata(about), out)


def _holds_numbers(job: Job, name: str) -> bool:
    """Return whether a column that changed was filled with weights, qualities or shares."""
    share = job.labels.which == "distribution" and canonical(name) in job.refined.classes
    return name in (WEIGHT, QUALITY) or (share and name != _label_of(job))


def _numbers(cells: list[str]) -> Any:
    import pyarrow as pa

    return pa.array([number(cell) if cell else None for cell in cells], pa.float64())


def _changed(job: Job, table: Table, columns: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the columns of the rows kept with what is asked for written into them."""
    keep = _kept(job, table)
    place_of = {name: m for m, name in enumerate(job.ids)}
    faces = [place_of[_ids(job, table)[row]] for row in keep]
    columns = {name: [cells[row] for row in keep] for name, cells in columns.items()}
    roles, label = _read_from(job), _label_of(job)
    votes = [name for name in columns if canonical(name) in job.refined.classes and name != label]
    counted = [name for name in columns if name in roles.get("classes", ())]
    alike = [name for name in called_alike(list(columns)) if name not in (label, *votes) and label in table.columns]
    alike = [name for name in alike if not contradictions(table.columns[label], table.columns[name])]
    if job.labels.which == "distribution":
        for c, name in enumerate(job.refined.classes):
            own = next((column for column in votes if canonical(column) == name), name)
            columns[own] = [str(Number(job.labels.distribution[m, c])) if job.name(m) else "" for m in faces]
    spelled = _spellings(job, table, label) if label in table.columns else {}
    cells = columns.setdefault(label, [""] * len(keep))
    others = {name: _spellings(job, table, name) for name in alike}
    for i, m in enumerate(faces):
        if job.labels.replaced[m]:
            cells[i] = _spelling(job.name(m), spelled)
            for name, spellings in others.items():
                columns[name][i] = spellings.get(job.name(m), "")
            for name in counted if job.labels.which != "distribution" else ():
                columns[name][i] = ""
    if not any(cells):
        del columns[label]
    if job.labels.which in ("given", "distribution"):
        columns[WEIGHT] = [str(Number(job.labels.weight[m])) for m in faces]
        columns[QUALITY] = [str(Number(job.labels.quality[m])) for m in faces]
    return columns


def _read_from(job: Job) -> dict[str, Any]:
    """Return role -> column of the set as it was read."""
    assert job.samples is not None  # own_source says so
    return dict(job.samples.provenance["columns"])


def _label_of(job: Job) -> str:
    """Return the column of labels, as it is or will be."""
    return str(_read_from(job).get("label") or "label")


def _ids(job: Job, table: Table) -> list[str]:
    roles = _read_from(job)
    return table.columns[roles.get("id") or roles["image"]]


def _kept(job: Job, table: Table) -> list[int]:
    wanted = set(job.ids)
    return [row for row, name in enumerate(_ids(job, table)) if name in wanted]


def _spellings(job: Job, table: Table, label: str) -> dict[str, str]:
    """Return class -> how the table spells it most often."""
    given = {str(name): int(c) for name, c in zip(job.refined.ids, job.refined.given_label, strict=True)}
    counts: dict[int, Counter[str]] = {}
    for name, text in zip(_ids(job, table), table.columns[label], strict=True):
        if text and given.get(name, -1) >= 0:
            counts.setdefault(given[name], Counter())[text] += 1
    found = {job.refined.classes[c]: count.most_common(1)[0][0] for c, count in counts.items()}
    if found and all(np.isfinite(number(text)) for text in found.values()):
        missing = [name for name in job.refined.classes if name not in found]
        found.update(dict.fromkeys(missing, ""))
    return found


def _spelling(name: str, spelled: dict[str, str]) -> str:
    text = spelled.get(name, name)
    if not text:
        raise InputError(
            f"--to manifest: labels are numbers, and no face was given '{name}', so its number is unknown."
        )
    return text


def _mirror_pictures(job: Job, file: Path, folder: Path) -> None:
    table = read_table(file)
    image = _read_from(job).get("image")
    if image is None or job.pictures == "none":
        return
    tops = set()
    for name in table.columns[image]:
        path = os.path.normpath(name.replace("\\", "/"))
        if os.path.isabs(path):
            continue
        if path.startswith(".."):
            raise InputError(
                f"--to manifest: the picture '{name}' lies outside the manifest's folder. Use --pictures none, and "
                "read the new manifest with --images."
            )
        tops.add(path.split("/")[0])
    present = {name for name in tops if (file.parent / name).exists()}
    if present:
        mirror(file.parent, folder, [file.name], job.pictures, only=present)
