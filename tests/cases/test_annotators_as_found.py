"""Tables of annotators as people have them: faces found as everywhere, nobody's rows and guessed codes refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets.annotators import read_annotations
from fercleaner.datasets.options import ReadOptions
from fercleaner.noise.annotators import Annotations

CLASSES = ("anger", "fear", "happiness")
N = 12


def read(folder: Path, row: str, head: str = "id,annotator,label", **options: object) -> Annotations:
    label = np.arange(N) % 3
    ids = np.array([f"{i:05d}" for i in range(N)])
    faces = Samples(ids, CLASSES, np.eye(3, dtype="f4")[label], np.ones(N, bool), np.full(N, ""))
    cells = [row.format(i=i, p=p, label=CLASSES[label[i]], code=label[i]) for i in range(N) for p in "ab"]
    (folder / "a.csv").write_text("\n".join([head, *cells]) + "\n")
    return read_annotations(folder / "a.csv", faces, ReadOptions(**options) if options else None)  # type: ignore[arg-type]


def test_faces_are_found_as_everywhere(tmp_path: Path, caplog) -> None:
    assert read(tmp_path, "{i},{p},{label}").labeled.all()  # 12 for 00012
    assert read(tmp_path, "{i:05d}.png,{p},{label}", "Image Name,Worker ID,Emotion").labeled.all()
    assert read(tmp_path, "{i:06d}0,{p},{label}").labeled.sum() == 2  # 00000 and 00010
    assert "20 of 24 rows are of faces outside the set" in caplog.text


def test_a_row_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.csv row 2: nobody is named as the annotator"):
        read(tmp_path, "{i:05d},NA,{label}")


def test_numbers_are_classes_only_where_these_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a.csv row 2: label '0' is not in the class set"):
        read(tmp_path, "{i:05d},{p},{code}")
    assert read(tmp_path, "{i:05d},{p},{code}", classes=CLASSES).labeled.all()


def test_numbers_throughout_are_asked_about_and_a_column_a_person_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"all are numbers\. Say what these mean: --classes rafdb"):
        read(tmp_path, "{i:05d},{p},{code}")
    with pytest.raises(InputError, match=r"no column for the annotator .* becomes such rows by pandas' melt"):
        read(tmp_path, "{i:05d},{label},{label}", "id,ann,ben")


def test_names_of_people_that_differ_by_case_alone_are_told(tmp_path: Path, caplog) -> None:
    assert read(tmp_path, "{i:05d},{p},{label}").people == ("a", "b")
    assert "people, as they are written" not in caplog.text
    rows = "{i:05d},{p},{label}\n{i:05d},A,{label}"
    with pytest.raises(InputError, match=r"a.csv row 5: 'A' labels the face a second time \(a.csv row 3 is the first"):
        read(tmp_path, rows)
    assert "a.csv: 'a' and 'A' are 2 people, as they are written (1 such)." in caplog.text
