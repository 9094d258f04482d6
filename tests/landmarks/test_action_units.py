"""Action units from points, blendshapes and the user's own columns."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from fercleaner.core.errors import InputError
from fercleaner.core.types import ActionUnits, Features, Landmarks, Samples
from fercleaner.landmarks import action_units as au
from fercleaner.landmarks import au_probabilities
from fercleaner.landmarks.au_columns import from_columns

FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[3] / "shared" / "ferplus"))


def resting_face() -> np.ndarray:
    """A drawn face, 60 px between the eyes, mouth shut, corners level with the upper inner lip; (68, 2)."""
    face = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    face[0:17] = np.c_[75 * np.cos(angle), 10 + 90 * np.sin(angle)]
    face[17:22] = [(-50, -22), (-42, -27), (-33, -28), (-24, -27), (-15, -24)]
    face[22:27] = face[17:22][::-1] * [-1, 1]
    face[27:31] = [(0, 0), (0, 10), (0, 20), (0, 30)]
    face[31:36] = [(-12, 36), (-6, 38), (0, 40), (6, 38), (12, 36)]
    face[36:42] = [(-42, 0), (-35, -4), (-25, -4), (-18, 0), (-25, 4), (-35, 4)]
    face[42:48] = [(18, 0), (25, -4), (35, -4), (42, 0), (35, 4), (25, 4)]
    face[48:60] = [
        *((-24, 60), (-16, 56), (-7, 54), (0, 55), (7, 54), (16, 56)),
        *((24, 60), (16, 67), (7, 70), (0, 71), (-7, 70), (-16, 67)),
    ]
    face[60:68] = [(-20, 60), (-7, 60), (0, 60), (7, 60), (20, 60), (7, 61), (0, 61), (-7, 61)]
    return face


LOWER_LIP = [55, 56, 57, 58, 59, 65, 66, 67]

#: AU -> points and how many pixels (right, down) they move, and the features' change that goes with it.
DEFORMATIONS: dict[str, tuple[list[tuple[list[int], tuple[float, float]]], dict[str, float]]] = {
    "AU1": ([([20, 21, 22, 23], (0, -6))], {"AU1": 0.1}),
    "AU2": ([([17, 18, 25, 26], (0, -6))], {"AU2": 0.1, "AU1": 0.0}),
    "AU4": ([(list(range(17, 27)), (0, 4.8)), ([21], (3, 0)), ([22], (-3, 0))], {"AU4": 0.14, "AU1": -0.08}),
    "AU5": ([([37, 38, 43, 44], (0, -3))], {"AU5": 0.05}),
    "AU7": ([([40, 41, 46, 47], (0, -3))], {"AU7": 0.05}),
    "AU9": ([([31, 32, 33, 34, 35], (0, -4))], {"AU9": 4 / 60, "AU26": 4 / 60}),
    "AU10": ([([50, 51, 52], (0, -3))], {"AU10": 0.05}),
    "AU12": ([([48], (-5, -6)), ([54], (5, -6))], {"AU12": 0.1417, "AU15": -0.1, "AU20": -0.0333, "U": 0.0}),
    "AU15": ([([48, 54], (0, 6))], {"AU15": 0.1, "AU12": -0.1}),
    "AU17": ([([8], (0, -3)), ([57], (0, 0))], {"AU17": 0.05}),
    "AU20": ([([48], (-6, 0)), ([54], (6, 0))], {"AU20": 0.2, "AU12": 0.05, "AU15": 0.0}),
    "AU23": ([([51], (0, 2)), ([57], (0, -2))], {"AU23": 4 / 60, "AU24": 4 / 60}),
    "AU24": ([([51], (0, 2)), ([57], (0, -2))], {"AU24": 4 / 60}),
    "AU25": ([(LOWER_LIP, (0, 6))], {"AU25": 0.1, "AU17": 0.1, "AU12": 0.0, "AU15": 0.0}),
    "AU26": (
        [([7, 8, 9], (0, 15)), (LOWER_LIP, (0, 14))],
        {"AU26": 0.25, "AU25": 14 / 60, "AU12": 0.0, "AU15": 0.0, "AU20": 0.0},
    ),
    "U": ([([54], (0, -6))], {"U": 0.1}),
}


def deformed(name: str) -> np.ndarray:
    face = resting_face()
    for points, by in DEFORMATIONS[name][0]:
        face[points] += by
    # Eye centers must not move with the lids, or the unit itself would change.
    return face


def change(name: str) -> dict[str, float]:
    before, after = au.raw_features(np.stack([resting_face(), deformed(name)]))
    return dict(zip(au.GEOMETRIC, after - before, strict=True))


@pytest.mark.parametrize("name", DEFORMATIONS)
def test_each_deformation_raises_its_own_feature(name: str) -> None:
    by = change(name)
    assert by[name] > 0.04
    for other, expected in DEFORMATIONS[name][1].items():
        if name in ("AU5", "AU7"):  # the lids carry the eye center along, which is the origin alone
            assert by[other] == pytest.approx(expected, abs=1e-9)
        else:
            assert by[other] == pytest.approx(expected, abs=6e-5), other


def test_every_feature_has_a_deformation() -> None:
    assert set(DEFORMATIONS) == set(au.GEOMETRIC)


def test_features_are_free_of_position_size_and_roll() -> None:
    face, angle = deformed("AU12"), 0.7
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    other = face @ (turn * 3.1) + [400, -80]
    a, b = au.raw_features(np.stack([face, other]))
    assert np.abs(a - b).max() < 1e-9


def test_squashing_by_hand() -> None:
    np.testing.assert_allclose(
        au_probabilities.sigmoid(1.5 * (np.array([0, 1.5, 3]) - 1.5)), [0.0953, 0.5, 0.9047], atol=5e-5
    )
    p, shift = au_probabilities.matched(1.5 * np.arange(4.0), 0.4)
    assert shift / 1.5 == pytest.approx(1.9411, abs=5e-5)
    np.testing.assert_allclose(p, [0.0516, 0.1960, 0.5221, 0.8304], atol=5e-5)
    assert p.mean() == pytest.approx(0.4, abs=1e-9)
    assert np.isfinite(au_probabilities.sigmoid([-1e6, 1e6])).all()


@settings(max_examples=50, deadline=None)
@given(rate=st.floats(0.02, 0.9), seed=st.integers(0, 10**6), spread=st.floats(0.01, 30))
def test_base_rates_are_met_and_order_is_kept(rate: float, seed: int, spread: float) -> None:
    slope = np.random.default_rng(seed).standard_t(2, 50) * spread
    p, _ = au_probabilities.matched(slope, rate)
    assert p.mean() == pytest.approx(rate, abs=1e-6)
    assert (np.diff(p[np.argsort(slope)]) >= 0).all()


def test_a_gate_that_forbids_the_rate_is_approached_not_broken() -> None:
    p, _ = au_probabilities.matched(np.array([0.0, 1.0]), 0.9, np.array([0.2, 0.4]))
    np.testing.assert_allclose(p, [0.2, 0.4], atol=1e-6)


def test_standardizing_by_hand() -> None:
    values = np.array([[0.0, 5], [1, 5], [2, 5], [3, 5], [100, 5]])
    z = au_probabilities.robust_scores(values)
    np.testing.assert_allclose(z[:, 0], (values[:, 0] - 2) / 1.4826)
    assert not z[:, 1].any()
    rare = np.zeros((10, 1))
    rare[0] = 1  # MAD 0: the root mean square about the median stands in
    np.testing.assert_allclose(au_probabilities.robust_scores(rare)[0, 0], 1 / np.sqrt(0.1))
    some = np.arange(100.0)[:, None]
    low = np.arange(100) < 25
    np.testing.assert_allclose(au_probabilities.robust_scores(some, low)[12, 0], 0)
    np.testing.assert_allclose(
        au_probabilities.robust_scores(some, np.arange(100) < 5), au_probabilities.robust_scores(some)
    )


def population(n: int = 120, seed: int = 0) -> Landmarks:
    """Faces at rest with jitter; the last 20 smile, the first is not found, the second has no scale."""
    rng = np.random.default_rng(seed)
    points = np.repeat(resting_face()[None], n, axis=0) + rng.normal(0, 0.4, (n, 68, 2))
    points[-20:] += deformed("AU12") - resting_face()
    found = np.ones(n, bool)
    found[0] = False
    points[1, 36:48] = 7
    ids = np.array([f"f{i}" for i in range(n)])
    return Landmarks(ids, points.astype(np.float32), found, found.astype(np.float32))


RATES = {
    "AU1": 0.3,
    "AU6": 0.2,
    "AU9": 0.19,
    "AU11": 0.11,
    "AU12": 0.24,
    "AU14": 0.19,
    "AU25": 0.3,
    "U": 0.15,
}


def test_from_landmarks() -> None:
    units = au.from_landmarks(population(), base_rate=RATES)
    assert units.names == ("AU1", "AU6", "AU9", "AU11", "AU12", "AU14", "AU25", "U")
    assert not units.found[:2].any()
    assert units.found[2:].all()
    assert not units.probability[:2].any()
    assert not units.quality[:2].any()
    p = dict(zip(units.names, units.probability[units.found].T, strict=True))
    for name, rate in RATES.items():
        assert p[name].mean() == pytest.approx(rate, abs=1e-5), name
    for name in ("AU6", "AU9", "AU11", "AU14"):
        assert np.ptp(p[name]) == 0
    assert p["AU12"][-20:].min() > max(0.8, p["AU12"][:-20].max())
    assert np.median(p["AU12"][:-20]) < 0.1
    assert units.spec["assumed"] == ["AU6", "AU9", "AU11", "AU14"]


def test_from_landmarks_measures_weak_units_on_request() -> None:
    units = au.from_landmarks(population(), base_rate=RATES, weak="measured")
    six = units.probability[units.found][:, units.names.index("AU6")]
    assert six.mean() == pytest.approx(0.2, abs=1e-5)
    assert six[-20:].mean() > 2 * six[:-20].mean()


def test_from_landmarks_without_rates_uses_the_fixed_threshold() -> None:
    marks = population()
    units = au.from_landmarks(marks)
    assert set(units.names) == {*au.GEOMETRIC, "AU6"}
    kept = marks.points[units.found].astype(np.float64)
    g = au.raw_features(kept)
    twelve, twenty_five = (au.GEOMETRIC.index(name) for name in ("AU12", "AU25"))

    def plain(column: int) -> np.ndarray:
        middle = np.median(g[:, column])
        z = (g[:, column] - middle) / (1.4826 * np.median(np.abs(g[:, column] - middle)))
        return 1 / (1 + np.exp(-1.5 * (z - 1.5)))

    p = dict(zip(units.names, units.probability[units.found].T, strict=True))
    np.testing.assert_allclose(p["AU12"], plain(twelve), atol=1e-6)
    np.testing.assert_allclose(p["AU10"], plain(au.GEOMETRIC.index("AU10")) * (1 - plain(twelve)), atol=1e-6)
    np.testing.assert_allclose(p["AU17"], plain(au.GEOMETRIC.index("AU17")) * (1 - plain(twenty_five)), atol=1e-6)
    np.testing.assert_allclose(p["AU6"], np.sqrt(plain(au.GEOMETRIC.index("AU7")) * plain(twelve)), atol=1e-4)


def test_neutral_faces_set_the_zero() -> None:
    marks = population()
    neutral = np.arange(len(marks)) < 100
    units = au.from_landmarks(marks, neutral=neutral)
    assert units.spec["neutral"] == 98
    p = units.probability[2:100, units.names.index("AU12")]
    assert np.median(p) == pytest.approx(0.0953, abs=1e-3)
    with pytest.raises(InputError, match="neutral has shape"):
        au.from_landmarks(marks, neutral=neutral[:3])


def test_wrong_rates_and_options_are_refused() -> None:
    with pytest.raises(InputError, match="Base rate of AU1 is 1, expected a number between 0 and 1"):
        au.from_landmarks(population(), base_rate={"AU1": 1.0})
    with pytest.raises(InputError, match="expected 'base-rate' or 'measured'"):
        au.from_landmarks(population(), weak="no")  # type: ignore[arg-type]


def test_nobody_found_is_data() -> None:
    ids = np.array(["a", "b"])
    none = Landmarks(ids, np.zeros((2, 68, 2)), np.zeros(2, bool), np.zeros(2))  # type: ignore[arg-type]
    for units in (au.from_landmarks(none), au.from_landmarks(none, base_rate=RATES)):
        assert not units.found.any()
        assert not units.probability.any()


def test_blendshape_names() -> None:
    assert len(au.BLENDSHAPES) == 52 == len(set(au.BLENDSHAPES))
    assert {shape for shapes in au.BLENDSHAPES_OF.values() for shape in shapes} <= set(au.BLENDSHAPES)
    if (FERPLUS / "blendshape_names.txt").exists():
        assert (FERPLUS / "blendshape_names.txt").read_text().split() == list(au.BLENDSHAPES)


def blendshape_view(n: int = 60) -> Features:
    values = np.random.default_rng(0).uniform(0, 0.2, (n, 52)).astype(np.float32)
    smile = [au.BLENDSHAPES.index(name) for name in ("mouthSmileLeft", "mouthSmileRight")]
    values[40:50, smile] = 0.9
    values[50:, smile[0]] = 0.9  # one side alone
    found = np.ones(n, bool)
    found[0] = False
    values[0] = 0
    return Features("blendshapes", np.array([str(i) for i in range(n)]), values, found)


def test_from_blendshapes() -> None:
    view = blendshape_view()
    units = au.from_view(view, base_rate={"AU11": 0.11, "AU12": 0.3, "U": 0.2})
    assert units.names == ("AU11", "AU12", "U")
    assert units.spec["assumed"] == ["AU11"]
    assert not units.found[0]
    assert units.quality.tolist() == view.found.astype(float).tolist()
    p = units.probability[1:]
    np.testing.assert_allclose(p.mean(0), [0.11, 0.3, 0.2], atol=1e-5)
    assert p[39:49, 1].min() > p[:39, 1].max()
    assert p[49:, 2].min() > p[:49, 2].max()
    ids = view.ids
    marks = Landmarks(
        ids,
        np.repeat(resting_face()[None], 60, axis=0),
        view.found,
        view.found.astype(np.float32),
        view.values,  # type: ignore[arg-type]
    )
    same = au.from_blendshapes(marks, base_rate={"AU11": 0.11, "AU12": 0.3, "U": 0.2})
    np.testing.assert_array_equal(same.probability, units.probability)


def test_blendshapes_that_are_none_are_refused() -> None:
    view = blendshape_view()
    with pytest.raises(InputError, match="has 51 columns; MediaPipe's blendshapes are 52"):
        au.from_view(Features("v", view.ids, view.values[:, :51], view.found))
    with pytest.raises(InputError, match=r"Blendshapes lie in \[0, 1\]"):
        au.from_view(Features("v", view.ids, view.values * 9, view.found))
    with pytest.raises(InputError, match="carry no blendshapes"):
        au.from_blendshapes(population())


@pytest.mark.skipif(not (FERPLUS / "landmarks_68.npy").exists(), reason="ferplus is not here (FERCLEANER_FERPLUS)")
def test_geometry_agrees_with_blendshapes_on_real_faces() -> None:
    points = np.load(FERPLUS / "landmarks_68.npy", allow_pickle=False)[:6000].astype(np.float32)
    shapes = np.load(FERPLUS / "view_blendshapes_52.npy", allow_pickle=False)[:6000].astype(np.float32)
    found = np.isfinite(points).all((1, 2)) & np.isfinite(shapes).all(1)
    ids = np.array([str(i) for i in range(len(points))])
    marks = Landmarks(
        ids,
        np.where(found[:, None, None], points, 0),
        found,
        found.astype(np.float32),
        np.where(found[:, None], shapes, 0),
    )
    a, b = au.from_landmarks(marks), au.from_blendshapes(marks)
    for name, least in {
        "AU1": 0.7,
        "AU2": 0.6,
        "AU4": 0.6,
        "AU5": 0.7,
        "AU12": 0.4,
        "AU20": 0.6,
        "AU25": 0.5,
    }.items():
        pair = (u.probability[found, u.names.index(name)] for u in (a, b))
        assert spearmanr(*pair)[0] > least, name


def samples(*ids: str) -> Samples:
    n = len(ids)
    given_ = np.tile([1.0, 0.0], (n, 1))
    return Samples(np.array(ids), ("happy", "sad"), given_, np.ones(n, bool), np.array([f"img/{i}" for i in ids]))  # type: ignore[arg-type]


def columns(tmp_path: Path, text: str, **more: object) -> ActionUnits:
    file = tmp_path / "aus.csv"
    file.write_text(text)
    return from_columns(str(file), samples("a.png", "b.png", "c.png"), **more)  # type: ignore[arg-type]


def test_openface_columns(tmp_path: Path) -> None:
    units = columns(
        tmp_path,
        "filename, confidence, success, AU01_r, AU12_r, AU12_c, AU28_c\n"
        "b.png, 0.5, 1, 1.5, 3, 0, 1\na.png, 0.98, 1, 0, 0, 1, 0\nother.png, 1, 1, 0, 0, 0, 0\n"
        "c.png, 0, 0, 0, 0, 0, 0\n",
    )
    assert units.names == ("AU1", "AU12", "AU28")
    assert units.found.tolist() == [True, True, False]
    np.testing.assert_allclose(units.probability[1], [0.5, 1 / (1 + np.exp(-3)), 1], atol=1e-6)
    np.testing.assert_allclose(units.probability[0], [1 / (1 + np.exp(3))] * 2 + [0], atol=1e-6)
    np.testing.assert_allclose(units.quality, [0.98, 0.5, 0], atol=1e-6)
    assert units.spec["columns"] == {
        "AU1": "AU01_r: intensity",
        "AU12": "AU12_r: intensity",
        "AU28": "AU28_c: presence",
    }


def test_pyfeat_and_libreface_columns(tmp_path: Path) -> None:
    feat = columns(tmp_path, "input,FaceScore,AU01,AU12\nimg/a.png,0.9,0.2,0.7\nimg/b.png,0.8,1.0,\n")
    np.testing.assert_allclose(feat.probability[0], [0.2, 0.7], atol=1e-6)
    assert feat.found.tolist() == [True, False, False]  # b has an empty cell, c no row
    assert feat.spec["columns"]["AU12"] == "AU12: probability"
    libre = columns(tmp_path, "image,au_1_intensity,au_12\na.png,1.5,2.5\nb.png,0,0\n")
    assert libre.spec["columns"] == {"AU1": "au_1_intensity: intensity", "AU12": "au_12: intensity"}
    np.testing.assert_allclose(libre.probability[0], [0.5, 1 / (1 + np.exp(-2))], atol=1e-6)
    told = columns(tmp_path, "image,AU12\na.png,1.0\n", kinds={"AU12": "intensity"})
    assert told.probability[0, 0] == pytest.approx(1 / (1 + np.e))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,x\na.png,1\n", "has no action-unit column"),
        ("AU12\n1\n", "no column names the face"),
        ("image,AU12_c\na.png,2\n", r"aus.csv row 2: AU12_c is 2, expected a presence between 0 and 1"),
        ("image,AU12\na.png,0\nb.png,7\n", r"row 3: AU12 is 7, expected an intensity between 0 and 5"),
        ("image,AU12\na.png,high\n", "row 2: column 'AU12' holds 'high', expected a number"),
        ("image,AU12\nz.png,1\n", "none of its 1 names belongs to a face of the set"),
        ("image,AU12\na.png,1\na.png,0\n", "'a.png' stands in aus.csv row 2 and aus.csv row 3"),
        ("image,AU12,success\n", "has a header but no rows"),
    ],
)
def test_columns_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        columns(tmp_path, text)
    with pytest.raises(InputError, match="no such file"):
        from_columns(str(tmp_path / "none.csv"), samples("a", "b"))
