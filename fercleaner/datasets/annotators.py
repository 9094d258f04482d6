"""A table of annotators, a row a face and person: image, annotator, label."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.arrays import Ints
from ..core.errors import InputError
from ..core.expressions import whole_number
from ..core.text import shown
from ..core.types import Samples
from ..noise.annotators import Annotations, DawidSkene, dawid_skene, from_table
from .faces import match
from .label_column import called_alike, check_names
from .labels import resolve
from .marks import contradictions, is_missing
from .options import FACE_COLUMNS, PEOPLE, ReadOptions, spelled
from .table import Table, listed, read_table, readable

_LOG = logging.getLogger(__name__)

#: Names of the columns, first found first taken; case, blanks, hyphens and underscores do not matter.
FACES = (*FACE_COLUMNS, "task")
LABELS = ("label", "expression", "emotion", "class")


def read_annotations(file: str | os.PathLike[str], samples: Samples, options: ReadOptions | None = None) -> Annotations:
    """Read who says what of the faces of a set.

    Faces are matched as everywhere (`faces.match`). Labels are spelled as in a manifest; the class set is that of
    `samples`, and numbers mean its classes only where the user names these. Rows with an empty label are left out,
    as are those of faces outside the set, which is noted.

    Raises
    ------
    InputError
        A column is missing, a label is outside the class set, a row names no person, no face is in the set, or somebody
        labels a face twice.
    """
    path = Path(file)
    with readable(path):
        table = read_table(path)
    lower = {spelled(name): name for name in reversed(list(table.columns))}

    def column(role: str, names: tuple[str, ...]) -> str:
        name = next((lower[name] for name in names if name in lower), None)
        if name is None:
            raise InputError(
                f"{table.name} has no column for the {role} ({', '.join(names)}); its columns are "
                f"{', '.join(table.columns)}. A row holds one label of one person; a column a person becomes such "
                "rows by pandas' melt('image', var_name='annotator', value_name='label')."
            )
        return name

    face = column("face", FACES)
    names, people = table.columns[face], table.columns[column("annotator", PEOPLE)]
    nobody = next((i for i, name in enumerate(people) if is_missing(name)), None)
    if nobody is not None:
        raise InputError(f"{table.where(nobody)}: nobody is named as the annotator. Name one, or remove the row.")
    _note_spellings(table.name, people)
    wanted = replace(options or ReadOptions(), classes=samples.classes)
    named = options is not None and options.classes is not None
    label = column("label", LABELS)
    said = table.columns[label]
    for other in (lower[name] for name in LABELS if name in lower and lower[name] != label):
        if contradictions(said, table.columns[other]):
            raise InputError(
                f"{table.name}: the columns '{shown(label)}' and '{shown(other)}' can both be the label, and they "
                "disagree. Remove or rename one."
            )
    codes = [text for text in said if not is_missing(text)]
    if not named and set(codes).isdisjoint(samples.classes) and codes and None not in map(whole_number, codes):
        raise InputError(
            f"{table.where(said.index(codes[0]))}: label '{shown(codes[0])}' is not in the class set "
            f"({listed(samples.classes, 40)}), nor is any other: all are numbers. Say what these mean: --classes "
            "rafdb (or another set with codes), or --classes A,B,... in order."
        )
    numbers = bool(codes) and None not in map(whole_number, codes)
    own = options.class_set if options is not None and numbers else None  # a published set has codes of its own
    labels = resolve(said, table.where, wanted, own, numbered=named)
    for other in called_alike([name for name in table.columns if name != label]):
        check_names(other, table.columns[other], said, labels, table.where, wanted)
    if labels.classes != samples.classes:
        raise InputError(f"{table.name}: its labels give the classes {', '.join(labels.classes)}.")
    written = list(dict.fromkeys(name for name in names if name))
    matched = match(samples.ids, samples.paths, written, table.name, numeric=face in table.numeric)
    rows = {written[place]: row for row, place in enumerate(matched.tolist()) if place >= 0}
    outside = sum(name not in rows for name in names)
    if outside:
        _LOG.warning("%s: %d of %d rows are of faces outside the set.", table.name, outside, len(names))
    _check_once([rows.get(name, -1) for name in names], people, labels.index, table)
    return from_table(names, people, labels.index, samples.classes, rows, len(samples))


def _note_spellings(name: str, people: Sequence[str]) -> None:
    """Say which names of people differ by case or blanks alone: they count as several people."""
    spellings: dict[str, list[str]] = {}
    for person in dict.fromkeys(people):
        spellings.setdefault("".join(person.casefold().split()), []).append(person)
    alike = [names for names in spellings.values() if len(names) > 1]
    if alike:
        _LOG.warning(
            "%s: '%s' are %d people, as they are written (%d such). Write one name where they are one person.",
            name,
            "' and '".join(map(shown, alike[0])),
            len(alike[0]),
            len(alike),
        )


def _check_once(faces: Sequence[int], people: Sequence[str], labels: Ints, table: Table) -> None:
    """Raise InputError with both rows where somebody labels a face twice."""
    first: dict[tuple[int, str], int] = {}
    for i, (face, person, label) in enumerate(zip(faces, people, labels.tolist(), strict=True)):
        if face >= 0 and label >= 0 and first.setdefault((face, person), i) != i:
            raise InputError(
                f"{table.where(i)}: '{shown(person)}' labels the face a second time "
                f"({table.where(first[face, person])} is the first). Keep one of them."
            )


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
