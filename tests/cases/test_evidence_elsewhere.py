"""Evidence as other tools write it: nothing that is none passes for evidence, and what is read is told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import run
from drawn_landmarks import drawn_points

from fercleaner.core.errors import InputError
from fercleaner.core.types import ActionUnits, Samples
from fercleaner.datasets import read
from fercleaner.datasets.posteriors import read_posteriors
from fercleaner.encoders.vectors import read_view
from fercleaner.landmarks import PointsFile
from fercleaner.landmarks.au_columns import from_columns
from fercleaner.landmarks.points import SHARED_POINTS

CLASSES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
N = 70
IDS = [f"{i:05d}.jpg" for i in range(N)]
LABEL = np.arange(N) % 7
RANDOM = np.random.default_rng(0)
VECTORS = (RANDOM.normal(size=(7, 16))[LABEL] + RANDOM.normal(size=(N, 16))).astype("f4")
UNITS = pd.DataFrame({f"AU{k:02d}": RANDOM.random(N).round(3) for k in (1, 2, 4, 6, 12)}).assign(image=IDS)


def faces() -> Samples:
    return Samples(np.array(IDS), CLASSES, np.eye(7, dtype="f4")[LABEL], np.ones(N, bool), np.full(N, ""))


def test_columns_beside_a_numbered_vector_are_no_part_of_it(tmp_path: Path, caplog) -> None:
    frame = pd.DataFrame(VECTORS, columns=[f"feat_{k}" for k in range(16)])
    beside = {"x": 3.0, "y": 4.0, "w": 50, "confidence": 0.9, "age": RANDOM.random(N), "gt": (LABEL + (LABEL > 5)) % 7}
    frame.assign(id=IDS, **beside).to_parquet(tmp_path / "v.parquet")
    assert np.array_equal(read_view("v", tmp_path / "v.parquet", faces()).values, VECTORS)
    assert "left out: the columns x, y, w, confidence, age, gt." in caplog.text
    frame.set_index(pd.Index(IDS)).to_parquet(tmp_path / "v.parquet")
    assert read_view("v", tmp_path / "v.parquet", faces()).found.all()


def test_labels_of_somebody_else_are_left_out_of_vectors(tmp_path: Path, caplog) -> None:
    other = np.where(np.arange(N) % 9 == 0, (LABEL + 1) % 7, LABEL)
    np.save(tmp_path / "v.npy", np.column_stack([VECTORS, other]))
    view = read_view("v", tmp_path / "v.npy", faces())
    assert np.array_equal(view.values, VECTORS)
    assert "column 16 (a few numbers that nearly repeat the given labels)" in caplog.text
    np.save(tmp_path / "v.npy", np.column_stack([VECTORS, RANDOM.integers(0, 3, N)]))
    assert read_view("v", tmp_path / "v.npy", faces()).values.shape == (N, 17)
    np.save(tmp_path / "v.npy", np.column_stack([VECTORS, other == 3]))  # an action unit that goes with one class
    assert read_view("v", tmp_path / "v.npy", faces()).values.shape == (N, 17)
    np.save(tmp_path / "v.npy", np.eye(7)[other])  # whole numbers are all that there is
    assert read_view("v", tmp_path / "v.npy", faces()).values.shape == (N, 7)


def test_row_numbers_and_labels_on_another_scale_are_left_out(tmp_path: Path, caplog) -> None:
    other = np.where(np.arange(N) % 9 == 0, (LABEL + 1) % 7, LABEL)
    for column, why in (
        (np.arange(N) / (N - 1), "it counts the rows"),
        (1.6e9 + 3600.0 * np.arange(N), "it counts the rows"),
        (-np.arange(N) * 2.0, "it counts the rows"),
        ((other - 3) / 2.1, "a few numbers that nearly repeat the given labels"),
    ):
        np.save(tmp_path / "v.npy", np.column_stack([VECTORS, column]))
        assert np.array_equal(read_view("v", tmp_path / "v.npy", faces()).values, VECTORS)
        assert f"column 16 ({why})" in caplog.text
        caplog.clear()
    ordered = VECTORS[np.argsort(VECTORS[:, 0])]
    np.save(tmp_path / "v.npy", ordered)  # rises, but not with the row number
    assert read_view("v", tmp_path / "v.npy", faces()).values.shape == (N, 16)


def points(tmp_path: Path, values: np.ndarray) -> PointsFile:
    np.save(tmp_path / "p.npy", values)
    return PointsFile(str(tmp_path / "p.npy"))


def test_points_of_a_mean_face_or_of_one_place_are_none(tmp_path: Path) -> None:
    drawn = drawn_points(N)
    mean = drawn.copy()
    mean[:20] = drawn.mean(0)
    read = points(tmp_path, mean).read(faces())
    assert read.found.tolist() == [False] * 20 + [True] * (N - 20)
    assert read.notes is not None
    assert read.notes[0] == SHARED_POINTS
    failed = drawn.copy()
    failed[::3] = -1
    assert int(points(tmp_path, failed).read(faces()).found.sum()) == N - len(drawn[::3])
    for nothing in (np.repeat(drawn[:1], N, axis=0), np.full_like(drawn, -1)):
        with pytest.raises(InputError, match="no face of the set has landmarks"):
            points(tmp_path, nothing).read(faces())


def test_points_counted_from_1(tmp_path: Path) -> None:
    drawn = drawn_points(N)
    columns = {f"{axis}{k + 1}": drawn[:, k, a] for k in range(68) for a, axis in enumerate("xy")}
    pd.DataFrame({"image": IDS, **columns}).to_csv(tmp_path / "p.csv", index=False)
    assert np.allclose(PointsFile(str(tmp_path / "p.csv")).read(faces()).points, drawn, atol=1e-3)


def units(tmp_path: Path, frame: pd.DataFrame) -> ActionUnits:
    frame.to_csv(tmp_path / "au.csv", index=False)
    return from_columns(str(tmp_path / "au.csv"), faces())


def test_presences_do_not_push_intensities_aside(tmp_path: Path) -> None:
    intense = {f"au_{k}_intensity": RANDOM.random(N) * 5 for k in (1, 4, 12)}
    shown = {f"au_{k}": RANDOM.integers(0, 2, N) for k in (1, 4, 12)}
    read = units(tmp_path, pd.DataFrame({"image": IDS, **shown, **intense}))
    assert read.spec["columns"]["AU12"] == "au_12_intensity: intensity"


def test_sides_of_a_face_are_no_intensities(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": IDS, "AU01_L": RANDOM.random(N), "AU01_R": RANDOM.random(N)})
    with pytest.raises(InputError, match="'AU01_L' looks like the left side of an action unit"):
        units(tmp_path, frame)


def test_action_units_that_say_nothing_are_told(tmp_path: Path, caplog) -> None:
    names = [name for name in UNITS if name != "image"]
    zero = UNITS.copy()
    zero.loc[::5, names] = 0
    assert int(units(tmp_path, zero).found.sum()) == N - len(IDS[::5])
    assert units(tmp_path, zero.assign(success=1)).found.all()  # a detector says that these are faces
    assert (units(tmp_path, UNITS.assign(confidence=np.nan)).quality == 1).all()
    assert "the column 'confidence' is empty and left out" in caplog.text
    units(tmp_path, UNITS.rename(columns={name: f"{name}_r" for name in names}))
    assert "call the columns so: AU01_p" in caplog.text
    with pytest.raises(InputError, match="`success` is 0 in all 70 rows"):
        units(tmp_path, UNITS.assign(success=0))
    holes = UNITS.copy()
    for row in range(N):
        holes.loc[row, names[row % len(names)]] = np.nan
    with pytest.raises(InputError, match="no face of the set has all its action units"):
        units(tmp_path, holes)
    with pytest.raises(InputError, match=r"AU01 is 999.* leave the cell empty where"):
        units(tmp_path, UNITS.assign(AU01=np.where(LABEL == 1, 999, 1)))


def test_posteriors_that_are_none(tmp_path: Path) -> None:
    def posteriors(values: np.ndarray) -> tuple[str, ...]:
        pd.DataFrame(values, columns=CLASSES).assign(image=IDS).to_csv(tmp_path / "p.csv", index=False)
        return read_posteriors("m", tmp_path / "p.csv", faces())[1]

    shares = RANDOM.dirichlet([0.5] * 7, N) * 0.5 + np.eye(7)[LABEL] * 0.5
    assert posteriors(shares) == ()
    assert posteriors(shares * 100) == ("Posteriors 'm': 70 of 70 rows brought to sum 1 (they added up to 100).",)
    for values, said in (
        (np.maximum(RANDOM.normal(size=(N, 7)) * 4, 0), "are no probabilities. Give those behind the softmax"),
        (np.full((N, 7), 1 / 7), "says the same of every face"),
        (np.eye(7)[LABEL], "holds the given labels themselves"),
    ):
        with pytest.raises(InputError, match=said):
            posteriors(values)


def test_a_dry_run_tells_who_has_no_evidence_and_reads_posteriors(tmp_path: Path) -> None:
    rows = "".join(f"{name},{CLASSES[label]}\n" for name, label in zip(IDS, LABEL, strict=True))
    (tmp_path / "s.csv").write_text("image,label\n" + rows)
    np.save(tmp_path / "v.npy", np.where(np.arange(N)[:, None] % 7 == 0, np.nan, VECTORS))
    frame = pd.DataFrame(RANDOM.dirichlet([1] * 7, N), columns=CLASSES).assign(image=IDS)
    frame.iloc[:50].to_csv(tmp_path / "p.csv", index=False)
    beside = ["--view", f"v={tmp_path}/v.npy", "--posteriors", f"m={tmp_path}/p.csv"]
    said = run("read", tmp_path / "s.csv", *beside).stderr
    assert "v: 10 of 70 faces have none (10 the view's row is NaN throughout)" in said
    assert "Posteriors 'm': 20 of 70 faces have none." in said
    as_json = json.loads(run("read", tmp_path / "s.csv", *beside, "--json").stdout)
    assert as_json["posteriors"] == {"m": {"faces": 50, "of": 70}}


def test_a_third_number_of_points_is_told(tmp_path: Path, caplog) -> None:
    drawn = drawn_points(N)
    nothing = points(tmp_path, np.concatenate([drawn, np.zeros((N, 68, 1))], axis=2)).read(faces())
    assert (nothing.confidence == 1).all()
    points(tmp_path, np.concatenate([drawn, np.full((N, 68, 1), 0.5)], axis=2)).read(faces())
    assert "is taken as its confidence (mean 0.50)" in caplog.text
    points(tmp_path, np.concatenate([drawn, np.full((N, 68, 1), 98)], axis=2)).read(faces())
    assert "is no confidence (0 to 1) and left out" in caplog.text


def test_faces_named_in_the_index_of_a_frame(tmp_path: Path) -> None:
    UNITS.set_index("image").rename_axis(None).to_csv(tmp_path / "au.csv")
    assert from_columns(str(tmp_path / "au.csv"), faces()).found.all()
    UNITS.set_index("image").rename_axis(None).to_parquet(tmp_path / "au.parquet")
    assert from_columns(str(tmp_path / "au.parquet"), faces()).found.all()
    frame = pd.DataFrame(np.eye(7)[LABEL] * 0.5 + 0.5 * RANDOM.dirichlet([1] * 7, N), columns=CLASSES, index=IDS)
    frame.to_csv(tmp_path / "p.csv")
    assert read_posteriors("m", tmp_path / "p.csv", faces())[0].found.all()


@pytest.mark.parametrize("name", ["image", None])
def test_a_cleaned_set_keeps_the_index_that_names_its_pictures(tmp_path: Path, name: str | None) -> None:
    frame = pd.DataFrame({"label": [CLASSES[c] for c in LABEL]}, index=pd.Index(IDS, name=name))
    frame.to_parquet(tmp_path / "s.parquet")
    np.save(tmp_path / "v.npy", VECTORS)
    out = tmp_path / "o.parquet"
    run("refine", tmp_path / "s.parquet", "--view", f"v={tmp_path}/v.npy", "--no-cache", "--out", out)
    options = ["--to", "own", "--dataset", tmp_path / "s.parquet", "--pictures", "none"]
    run("export", out, tmp_path / "clean", *options)
    assert read(tmp_path / "clean" / "s.parquet").ids.tolist() == IDS
