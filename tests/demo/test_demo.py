"""The drawn dataset: the same bytes for a seed, noise of the stated rate and kind, measurable geometry."""

from __future__ import annotations

import csv
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fercleaner import datasets
from fercleaner.core.errors import InputError, StoreError
from fercleaner.demo import DemoSummary, draw_dataset
from fercleaner.demo import dataset as dataset_module
from fercleaner.demo.actions import (
    ACTION_UNITS,
    CLASSES,
    activation_table,
    confusion_table,
    corrupt_labels,
    expression_posterior,
    sample_action_units,
    share_out,
)
from fercleaner.demo.drawing import draw_face
from fercleaner.demo.faces import Pose, Shape, face_points, sample_pose, sample_shape
from fercleaner.demo.looks import sample_camera, sample_looks
from fercleaner.demo.replacing import MARK
from fercleaner.landmarks.action_units import GEOMETRIC, raw_features
from fercleaner.landmarks.points import PointsFile

FACES = 70


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoSummary:
    return draw_dataset(tmp_path_factory.mktemp("demo") / "faces", faces=FACES, seed=3)


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def given_codes(summary: DemoSummary) -> dict[str, int]:
    lines = summary.labels.read_text(encoding="utf-8").splitlines()
    return {name: int(code) for name, code in (line.split(" ") for line in lines)}


def clean_names(summary: DemoSummary) -> dict[str, str]:
    with summary.clean_labels.open(encoding="utf-8", newline="") as file:
        return {row["image"]: row["label"] for row in csv.DictReader(file)}


def active(*units: int) -> np.ndarray:
    return np.array([0.9 if unit in units else 0.0 for unit in ACTION_UNITS])


def test_the_folder_is_laid_out_as_raf_db(demo: DemoSummary) -> None:
    lines = demo.labels.read_text(encoding="utf-8").splitlines()
    assert len(lines) == FACES
    assert all(re.fullmatch(r"(train_\d{5}|test_\d{4})\.jpg [1-7]", line) for line in lines)
    assert lines[0].startswith("train_00001.jpg ")
    assert lines[demo.train].startswith("test_0001.jpg ")
    assert (demo.train, demo.test) == (56, 14)
    for line in lines:
        with Image.open(demo.images / line.split()[0].replace(".jpg", "_aligned.jpg")) as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (100, 100))
    assert len(list(demo.images.iterdir())) == FACES
    assert sorted(p.name for p in demo.folder.iterdir()) == sorted([*dataset_module._ENTRIES, MARK])


def test_the_reader_of_raf_db_takes_it_and_the_truth_aligns_by_id(demo: DemoSummary) -> None:
    samples = datasets.read(demo.folder)
    assert samples.layout == "rafdb"
    assert samples.classes == CLASSES
    assert samples.ids.tolist() == list(clean_names(demo))
    assert samples.labeled.all()
    assert all(Path(path).is_file() for path in samples.paths)
    truth = np.array([CLASSES.index(clean_names(demo)[name]) for name in samples.ids.tolist()])
    assert int((samples.label != truth).sum()) == demo.noisy
    landmarks = PointsFile(str(demo.landmarks)).read(samples)
    assert landmarks.found.all()


def test_every_class_is_in_the_set_at_the_stated_size(demo: DemoSummary) -> None:
    names = list(clean_names(demo).values())
    assert demo.sizes == {name: names.count(name) for name in CLASSES}
    assert min(demo.sizes.values()) >= 2
    assert max(demo.sizes, key=lambda name: demo.sizes[name]) == "happiness"
    assert min(demo.sizes, key=lambda name: demo.sizes[name]) == "fear"
    assert set(names[: demo.train]) == set(CLASSES)


def test_action_units_and_landmarks_cover_every_face(demo: DemoSummary) -> None:
    with demo.action_units.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["image", *(f"AU{unit}" for unit in ACTION_UNITS)]
    assert [row["image"] for row in rows] == list(given_codes(demo))
    intensity = np.array([[float(row[f"AU{unit}"]) for unit in ACTION_UNITS] for row in rows])
    assert ((intensity == 0) | ((intensity >= 0.1) & (intensity <= 1))).all()
    with np.load(demo.landmarks, allow_pickle=False) as stored:
        assert stored["ids"].tolist() == list(given_codes(demo))
        assert stored["points"].shape == (FACES, 68, 2)
        assert stored["points"].dtype == np.float32
        assert (stored["points"] > -8).all()
        assert (stored["points"] < 108).all()


def test_a_seed_gives_the_same_bytes(demo: DemoSummary, tmp_path: Path) -> None:
    again = draw_dataset(tmp_path / "again", faces=FACES, seed=3)
    assert digests(again.folder) == digests(demo.folder)
    assert (again.noisy, again.sizes) == (demo.noisy, demo.sizes)


def test_another_seed_gives_other_faces_and_other_noise_the_same_faces(tmp_path: Path) -> None:
    first = draw_dataset(tmp_path / "a", faces=14, seed=0, noise_rate=0.5)
    noise = draw_dataset(tmp_path / "b", faces=14, seed=0, noise_rate=0.5, noise="symmetric")
    other = draw_dataset(tmp_path / "c", faces=14, seed=1, noise_rate=0.5)
    changed = {name for name, digest in digests(first.folder).items() if digests(noise.folder)[name] != digest}
    assert changed == {"EmoLabel/list_patition_label.txt", "README.txt", MARK}
    same = set(digests(first.folder).values()) & set(digests(other.folder).values())
    assert not same


def test_the_stated_number_of_labels_is_wrong(demo: DemoSummary) -> None:
    given, clean = given_codes(demo), clean_names(demo)
    wrong = [name for name in given if CLASSES[given[name] - 1] != clean[name]]
    assert len(wrong) == demo.noisy == round(0.2 * FACES)
    assert demo.noise_rate == pytest.approx(demo.noisy / FACES)
    readme = demo.readme.read_text(encoding="utf-8")
    train = sum(name.startswith("train") for name in wrong)
    assert f"{demo.noisy} of {FACES} given labels are wrong" in readme
    assert f"({train} of 56 train, {demo.noisy - train} of 14 test)" in readme
    assert "Seed         3" in readme
    assert "Noise kind   pairs" in readme


@pytest.mark.parametrize("kind", ["pairs", "symmetric", "instance"])
@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4])
def test_noise_has_exactly_its_rate_in_all_and_nearly_in_every_class(kind: str, rate: float) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), [160, 76, 120, 305, 197, 119, 223])
    intensity = np.array([sample_action_units(int(label), rng) for label in labels])
    given = corrupt_labels(labels, intensity, rate=rate, kind=kind, rng=rng)
    assert (given != labels).sum() == round(rate * len(labels))
    for label in range(7):
        members = labels == label
        assert abs((given[members] != label).sum() - rate * members.sum()) < 1


def test_pairs_follow_the_confusions_and_symmetric_noise_is_even() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(7), 4000)
    nothing = np.zeros((len(labels), len(ACTION_UNITS)))
    for kind, expected in (("pairs", confusion_table()), ("symmetric", (1 - np.eye(7)) / 6)):
        given = corrupt_labels(labels, nothing, rate=0.5, kind=kind, rng=rng)
        for label in range(7):
            wrong = given[(labels == label) & (given != labels)]
            shares = np.bincount(wrong, minlength=7) / len(wrong)
            # 2,000 draws: a share of 0.5 has a standard error of 0.011, so 0.05 is four and a half of them.
            np.testing.assert_allclose(shares, expected[label], atol=0.05)
            assert (shares[expected[label] == 0] == 0).all()


def test_instance_noise_hits_faces_that_look_like_another_class() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(7), 300)
    intensity = np.array([sample_action_units(int(label), rng) for label in labels])
    given = corrupt_labels(labels, intensity, rate=0.15, kind="instance", rng=rng)
    own = expression_posterior(intensity)[np.arange(len(labels)), labels]
    wrong = given != labels
    assert own[wrong].mean() < own[~wrong].mean() - 0.3


def test_posterior_equals_bayes_by_loops() -> None:
    table = activation_table()
    intensity = np.stack([active(12, 25, 6), active(), active(1, 2, 25, 26)])
    posterior = expression_posterior(intensity)
    for row, units in enumerate(intensity):
        scores = []
        for label in range(7):
            score = 1.0
            for unit in range(len(ACTION_UNITS)):
                score *= table[label, unit] if units[unit] > 0 else 1 - table[label, unit]
            scores.append(score)
        np.testing.assert_allclose(posterior[row], np.array(scores) / sum(scores))
    assert [CLASSES[i] for i in posterior.argmax(1)] == ["happiness", "neutral", "surprise"]


def test_sharing_out_is_exact_and_proportional() -> None:
    assert share_out(10, np.array([1, 1, 1])).tolist() == [4, 3, 3]
    assert share_out(0, np.array([2, 5])).tolist() == [0, 0]
    assert share_out(7, np.array([0.0, 1.0])).tolist() == [0, 7]


def test_confusions_are_distributions_without_a_diagonal() -> None:
    table = confusion_table()
    np.testing.assert_allclose(table.sum(1), 1)
    assert (np.diag(table) == 0).all()


def test_sampled_units_follow_the_table() -> None:
    rng = np.random.default_rng(4)
    at = ACTION_UNITS.index
    drawn = {
        name: np.mean([sample_action_units(CLASSES.index(name), rng) > 0 for _ in range(600)], axis=0)
        for name in CLASSES
    }
    assert drawn["happiness"][at(12)] > 0.7
    assert drawn["surprise"][at(2)] > 0.7
    assert drawn["anger"][at(24)] > 0.6
    assert drawn["disgust"][at(9)] > 0.7
    assert drawn["neutral"].max() < 0.2
    assert drawn["happiness"][at(15)] < 0.2


def test_units_that_exclude_each_other_never_meet() -> None:
    rng = np.random.default_rng(5)
    at = ACTION_UNITS.index
    for draw in range(700):
        units = sample_action_units(draw % 7, rng)
        assert not (units[at(12)] and units[at(15)])
        assert not (units[at(24)] and units[at(25)])
        assert not units[at(26)] or units[at(25)]


def people() -> list[tuple[Shape, Pose]]:
    rng = np.random.default_rng(6)
    return [(Shape(), Pose()), *((sample_shape(rng), sample_pose(rng)) for _ in range(15))]


@pytest.mark.parametrize("unit", [u for u in ACTION_UNITS if f"AU{u}" in GEOMETRIC])
def test_a_drawn_unit_raises_its_own_measurement(unit: int) -> None:
    column = GEOMETRIC.index(f"AU{unit}")
    for shape, pose in people():
        levels = [raw_features(face_points(shape, x * active(unit), pose)[None, :68])[0, column] for x in (0, 0.5, 1)]
        assert levels[0] < levels[1] < levels[2], (unit, levels)


def test_a_raised_cheek_narrows_the_eye() -> None:
    for shape, pose in people():
        rest, moved = (face_points(shape, units, pose) for units in (active(), active(6)))
        assert (moved[[40, 41, 46, 47], 1] < rest[[40, 41, 46, 47], 1]).all()


def test_landmarks_stand_in_the_order_of_ibug() -> None:
    for shape, pose in people():
        x, y = face_points(shape, active(), pose)[:68].T
        assert (np.diff(x[2:15]) > 0).all()
        assert (np.diff(y[:8]) > 0).all()
        assert (np.diff(y[9:17]) < 0).all()
        assert (np.diff(x[17:27]) > 0).all()
        assert (np.diff(y[27:31]) > 0).all()
        assert (np.diff(x[31:36]) > 0).all()
        for eye in (36, 42):
            assert x[eye] < x[eye + 1] < x[eye + 2] < x[eye + 3]
            assert y[eye + 1 : eye + 3].max() < y[eye + 4 : eye + 6].min()
        assert (np.diff(x[48:55]) > 0).all()
        assert (np.diff(x[55:60]) < 0).all()
        assert (np.diff(x[60:65]) > 0).all()
        assert y[[19, 24]].max() < y[36:48].mean() < y[33] < y[51] < y[62] < y[66] < y[57] < y[8]


def test_lids_and_lips_never_cross_whatever_the_units() -> None:
    rng = np.random.default_rng(8)
    for _ in range(200):
        y = face_points(sample_shape(rng), rng.integers(0, 2, len(ACTION_UNITS)) * 1.0, Pose())[:, 1]
        assert (y[[37, 38, 43, 44]] < y[[41, 40, 47, 46]]).all()
        assert y[51] < y[62] < y[66] < y[57]


def test_a_turned_head_moves_the_nose_the_way_it_turns() -> None:
    def nose(pose: Pose) -> np.ndarray:
        points = face_points(Shape(), active(), pose)
        return points[30] - points[36:48].mean(0)

    assert nose(Pose(yaw=10))[0] > nose(Pose())[0] + 1
    assert nose(Pose(pitch=8))[1] < nose(Pose())[1] - 1
    rolled = face_points(Shape(), active(), Pose(roll=5))
    assert rolled[45, 1] > rolled[36, 1]


def test_the_picture_shows_what_the_landmarks_say() -> None:
    """The iris is darker than the white beside it and than the skin below, where the landmarks put them."""
    rng = np.random.default_rng(9)
    checked = 0
    for _ in range(30):
        shape, pose, looks, camera = (
            sample_shape(rng),
            sample_pose(rng),
            sample_looks(rng),
            sample_camera(rng),
        )
        points = face_points(shape, active(5), pose)
        gray = np.asarray(draw_face(points, active(5), looks, camera, rng).convert("L"), dtype=float)
        if looks.glasses or camera.small or camera.blur or sum(looks.skin) < 420:
            continue
        checked += 1
        for eye in (slice(36, 42), slice(42, 48)):
            x, y = points[eye].mean(0)
            iris = gray[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].min()
            cheek = gray[int(y) + 12 : int(y) + 15, int(x) - 1 : int(x) + 2].mean()
            assert iris < cheek - 25
    assert checked >= 5


def test_the_smallest_set_works(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    summary = draw_dataset(tmp_path / "new" / "faces", faces=14, progress=lambda *at: seen.append(at))
    assert summary.sizes == dict.fromkeys(CLASSES, 2)
    assert (summary.train, summary.test, summary.noisy) == (11, 3, 3)
    assert seen == [(i, 14) for i in range(1, 15)]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match=r"is not empty: it holds mine\.txt\. .*--force"):
        draw_dataset(tmp_path, faces=14)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_force_replaces_an_earlier_demo_and_nothing_else(tmp_path: Path) -> None:
    draw_dataset(tmp_path, faces=21, seed=1)
    (tmp_path / "refined.parquet").write_text("keep")
    (tmp_path / "Image" / "aligned" / "holiday.jpg").write_bytes(b"a real face")
    (tmp_path / "EmoLabel" / "notes.txt").write_text("keep")
    with pytest.raises(InputError, match=r"is not empty: it holds EmoLabel and 6 more"):
        draw_dataset(tmp_path, faces=14)
    draw_dataset(tmp_path, faces=14, seed=2, overwrite=True)
    assert (tmp_path / "refined.parquet").read_text() == "keep"
    assert (tmp_path / "EmoLabel" / "notes.txt").read_text() == "keep"
    assert (tmp_path / "Image" / "aligned" / "holiday.jpg").read_bytes() == b"a real face"
    assert len(list((tmp_path / "Image" / "aligned").iterdir())) == 14 + 1


def test_force_keeps_what_was_changed_or_put_in_place_of_a_drawn_file(tmp_path: Path) -> None:
    labels = Path("EmoLabel") / "list_patition_label.txt"
    drawn = Path("Image") / "aligned" / "train_00003_aligned.jpg"
    for name, said in ((labels, "is not as the demo wrote it"), (drawn, "is not as the demo wrote it")):
        folder = tmp_path / name.stem
        draw_dataset(folder, faces=14, seed=1)
        (folder / name).write_bytes(b"mine")
        with pytest.raises(InputError, match=rf"{name.name} {said}"):
            draw_dataset(folder, faces=14, seed=2, overwrite=True)
        assert (folder / name).read_bytes() == b"mine"
    new = tmp_path / "new"
    draw_dataset(new, faces=14, seed=1)
    (new / "Image" / "aligned" / "train_00012_aligned.jpg").write_bytes(b"mine")
    before = digests(new)
    with pytest.raises(InputError, match=r"train_00012_aligned.jpg is there, which no earlier demo wrote"):
        draw_dataset(new, faces=16, seed=2, overwrite=True)
    assert digests(new) == before
    outside = tmp_path / "outside"
    (tmp_path / "linked").mkdir()
    draw_dataset(outside, faces=14)
    kept = digests(outside)
    for name in ("README.txt", ".fercleaner-demo.json"):
        (tmp_path / "linked" / name).write_bytes((outside / name).read_bytes())
    (tmp_path / "linked" / "Image").symlink_to(outside / "Image")
    with pytest.raises(InputError, match="is not as the demo wrote it"):
        draw_dataset(tmp_path / "linked", faces=14, overwrite=True)
    assert digests(outside) == kept


def test_a_run_killed_while_it_replaced_a_demo_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_dataset(tmp_path, faces=21, seed=1)
    real, moved = Path.replace, []

    def killed(self: Path, target: Path) -> Path:
        moved.append(self)
        if len(moved) == 6:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path, faces=14, seed=2, overwrite=True)
    monkeypatch.undo()
    draw_dataset(tmp_path, faces=14, seed=2, overwrite=True)
    draw_dataset(tmp_path / "fresh", faces=14, seed=2)
    fresh = digests(tmp_path / "fresh")
    assert {name: value for name, value in digests(tmp_path).items() if not name.startswith("fresh")} == fresh


def test_force_never_replaces_a_dataset_that_no_demo_wrote(tmp_path: Path) -> None:
    (tmp_path / "Image" / "aligned").mkdir(parents=True)
    (tmp_path / "Image" / "aligned" / "train_00001_aligned.jpg").write_bytes(b"a real face")
    (tmp_path / "README.txt").write_text("RAF-DB\n")
    with pytest.raises(InputError, match=r"holds Image, which no earlier demo wrote"):
        draw_dataset(tmp_path, faces=14, overwrite=True)
    assert (tmp_path / "Image" / "aligned" / "train_00001_aligned.jpg").read_bytes() == b"a real face"


def test_a_stopped_run_leaves_the_earlier_demo_whole(tmp_path: Path) -> None:
    draw_dataset(tmp_path, faces=14, seed=1)
    before = digests(tmp_path)

    def stop(done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path, faces=14, seed=2, overwrite=True, progress=stop)
    assert digests(tmp_path) == before


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces").write_text("")
    with pytest.raises(InputError, match="is a file, expected a folder"):
        draw_dataset(tmp_path / "faces", faces=14)


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(dataset_module.np, "savez", full)
    with pytest.raises(StoreError, match=r"No space left on device.*Free some space"):
        draw_dataset(tmp_path / "faces", faces=14)
    assert list((tmp_path / "faces").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"faces": 13}, "faces is 13, expected at least 14"),
        ({"noise_rate": 1.0}, "noise_rate is 1.0, expected a share"),
        ({"noise_rate": -0.1}, "noise_rate is -0.1"),
        ({"noise": "pair"}, "expected one of pairs, symmetric, instance. Did you mean 'pairs'?"),
        ({"seed": -1}, "seed is -1, expected 0 or more"),
    ],
)
def test_arguments_out_of_range_are_refused(tmp_path: Path, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        draw_dataset(tmp_path / "faces", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "faces").exists()
