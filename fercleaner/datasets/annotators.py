"""A table of annotators, a row a face and person: image, annotator, label."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.types import Samples
from ..noise.annotators import Annotations, DawidSkene, dawid_skene, from_table
from .labels import resolve
from .options import ReadOptions
from .table import read_table, readable

#: Names of the columns, first found first taken; case does not matter.
FACES = ("id", "image", "path", "file", "filename", "task")
PEOPLE = ("annotator", "worker", "rater", "coder", "who", "user")
LABELS = ("label", "expression", "emotion", "class")


def read_annotations(file: str | os.PathLike[str], samples: Samples, options: ReadOptions | None = None) -> Annotations:
    """Read who says what of the faces of a set.

    Faces are named as the set names its ids. Labels are spelled as in a manifest; the class set is that of `samples`.
    Rows with an empty label, and faces outside the set, are left out.

    Raises
    ------
    InputError
        A column is missing, a label is outside the class set, no face is in the set, or somebody labels a face twice.
    """
    path = Path(file)
    with readable(path):
        table = read_table(path)
    lower = {name.lower(): name for name in reversed(list(table.columns))}

    def column(role: str, names: tuple[str, ...]) -> list[str]:
        name = next((lower[name] for name in names if name in lower), None)
        if name is None:
            raise InputError(
                f"{table.name} has no column for the {role} ({', '.join(names)}); its columns are "
                f"{', '.join(table.columns)}."
            )
        return table.columns[name]

    names, people = column("face", FACES), column("annotator", PEOPLE)
    wanted = replace(options or ReadOptions(), classes=samples.classes)
    labels = resolve(column("label", LABELS), table.where, wanted)
    if labels.classes != samples.classes:
        raise InputError(f"{table.name}: its labels give the classes {', '.join(labels.classes)}.")
    rows = {name: row for row, name in enumerate(samples.ids.tolist())}
    if not any(name in rows for name in names):
        raise InputError(
            f"{table.name}: none of its faces is in the set. It writes '{names[0]}', the set '{samples.ids[0]}'."
        )
    return from_table(names, people, labels.index, samples.classes, rows, len(samples))


def annotated(samples: Samples, annotations: Annotations) -> tuple[Samples, DawidSkene]:
    """Return the samples with the Dawid-Skene posterior as given distributions, and what Dawid-Skene found.

    Faces that nobody labeled have no label. The method of a run then sees these distributions as given labels, with the
    views beside them.
    """
    found = dawid_skene(annotations)
    labeled = annotations.labeled
    notes = np.where(labeled, "", "no annotator labeled it")
    given = np.asarray(found.distribution, dtype=np.float32)
    return samples.replacing(given=given, labeled=labeled, votes=None, notes=notes.astype(np.str_)), found
