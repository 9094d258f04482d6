"""Reading the truth, matching faces, and the figures of `evaluate` against scikit-learn and loops."""

from __future__ import annotations

import csv
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics as oracle

from fercleaner.core.errors import InputError
from fercleaner.core.refined import RefinedSet
from fercleaner.datasets.options import ReadOptions
from fercleaner.datasets.truth import read_truth
from fercleaner.evaluation.against_truth import evaluate

KEYS = ["faces", "judged", "noise_rate", "auroc", "auroc_per_class", "average_precision", "r_precision"]
KEYS += ["given_accuracy", "refined_accuracy", "js_given", "js_refined", "flags"]
CLASSES = ("anger", "fear", "happiness")
FER = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")
FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).resolve().parents[3] / "shared" / "ferplus"))


def make(
    ids: list[str],
    given: np.ndarray,
    distribution: np.ndarray,
    quality: np.ndarray,
    flagged: np.ndarray | None = None,
    classes: tuple[str, ...] = CLASSES,
    paths: list[str] | None = None,
) -> RefinedSet:
    n = len(ids)
    labeled = given >= 0
    one_hot = np.zeros((n, len(classes)), np.float32)
    one_hot[np.flatnonzero(labeled), given[labeled]] = 1
    return RefinedSet(
        ids=ids,
        paths=paths or [""] * n,
        split=[""] * n,
        classes=classes,
        labeled=labeled,
        given=one_hot,
        distribution=distribution,
        weight=np.ones(n, np.float32),
        quality=quality,
        flagged=np.zeros(n, bool) if flagged is None else flagged & labeled,
        changed=np.zeros(n, bool),
        reason=[""] * n,
        neighbors_for=((),) * n,
        neighbors_against=((),) * n,
    )


def plain(ids: list[str], paths: list[str] | None = None) -> RefinedSet:
    n = len(ids)
    uniform = np.full((n, 3), 1 / 3, np.float32)
    return make(ids, np.zeros(n, np.int64), uniform, np.ones(n, np.float32), paths=paths)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


VOTES = """image,Happy,angry,scared,contempt,unknown,NF,comment
a.png,7,2,1,0,0,0,clear
b.png,1,4,4,0,1,0,tie
c.png,2,1,0,7,0,0,contempt on top
d.png,0,6,1,0,3,0,clear
e.png,3,0,0,0,3,,tie with unknown
f.png,0,0,5,1,2,2,five only
g.png,0,0,0,0,0,10,no face
"""


def test_votes_by_hand(tmp_path):
    truth = read_truth(write(tmp_path / "votes.csv", VOTES), CLASSES)
    assert truth.ids.tolist() == [f"{name}.png" for name in "abcdefg"]
    assert truth.label.tolist() == [2, -1, -1, 0, -1, 1, -1]
    assert truth.votes is not None
    assert truth.votes[0].tolist() == [2, 1, 7]
    assert truth.top.tolist() == [7, 4, 2, 6, 3, 5, 0]
    assert truth.total.tolist() == [10] * 4 + [6, 10, 10]
    assert truth.judged(6).tolist() == [True, False, False, True, False, False, False]
    assert truth.judged(5).tolist() == [True, False, False, True, False, True, False]
    assert truth.distribution[0] == pytest.approx([0.2, 0.1, 0.7])
    assert truth.distribution[3] == pytest.approx([6 / 7, 1 / 7, 0])
    assert truth.distribution[6].tolist() == [0, 0, 0]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_clean_labels_take_aliases_and_leave_unknown_rows(tmp_path, delimiter, caplog):
    text = "path,label\na,Happy\nb,ANGER\nc,\nd,contempt\ne,fear\n".replace(",", delimiter)
    truth = read_truth(write(tmp_path / "clean.csv", "\ufeff" + text), CLASSES)
    said = "1 faces are not judged, since no class of the refined file is called as their clean label: contempt 1"
    assert said in caplog.text
    assert truth.votes is None
    assert truth.label.tolist() == [2, 0, -1, -1, 1]
    assert truth.judged(6).tolist() == [True, True, False, False, True]
    assert truth.distribution[:3].tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 0]]


def test_classes_that_are_no_expressions_are_taken_by_name(tmp_path):
    truth = read_truth(write(tmp_path / "t.csv", "id,label\n1,cat\n2,Dog\n"), ("cat", "dog"))
    assert truth.label.tolist() == [0, 1]
    votes = read_truth(write(tmp_path / "v.csv", "id,cat,dog\n1,3,0\n2,0.5,2\n"), ("dog", "cat"))
    assert votes.label.tolist() == [1, 0]


def test_columns_can_be_named(tmp_path):
    file = write(tmp_path / "t.csv", VOTES.replace("image", "portrait").replace("comment", "majority"))
    with pytest.raises(
        InputError, match=r"no column names the face; its columns are portrait, Happy.*--image-column NAME"
    ):
        read_truth(file, CLASSES)
    assert read_truth(file, CLASSES, image_column="portrait").votes is not None
    text = write(tmp_path / "u.csv", "image,anger,fear,happiness,checked\na,1,2,3,anger\n")
    assert read_truth(text, CLASSES).label.tolist() == [2]
    assert read_truth(text, CLASSES, label_column="checked").label.tolist() == [0]
    with pytest.raises(InputError, match="no column 'absent'"):
        read_truth(text, CLASSES, label_column="absent")


def test_clean_labels_that_are_numbers(tmp_path):
    """RAF-DB counts surprise 1, fear 2, disgust 3, happiness 4, sadness 5, anger 6, neutral 7; disgust is no class."""
    file = write(tmp_path / "n.csv", "image,label\na,2\nb,4\nc,6\nd,3\ne,\n")
    with pytest.raises(InputError, match=r"row 2: label '2' is not in the class set .*--classes rafdb"):
        read_truth(file, CLASSES)
    by_set = read_truth(file, CLASSES, options=ReadOptions(classes="rafdb"))
    assert by_set.label.tolist() == [1, 2, 0, -1, -1]
    with pytest.raises(InputError, match="row 2: label '2' is not in the class set"):
        read_truth(file, CLASSES, options=ReadOptions(alias={"4": "joy"}))
    file = write(tmp_path / "m.csv", "image,label\na,1\nb,2\nc,3\n")
    in_order = read_truth(file, CLASSES, options=ReadOptions(classes=["happy", "anger", "fear"]))
    assert in_order.label.tolist() == [2, 0, 1]
    with pytest.raises(InputError, match="row 4: label 3 is the number of none of the 2 classes named"):
        read_truth(file, CLASSES, options=ReadOptions(classes=["happy", "anger"]))
    votes = write(tmp_path / "v.csv", "image,anger,fear,happiness\na,1,2,0\n")
    with pytest.raises(InputError, match="holds votes"):
        read_truth(votes, CLASSES, options=ReadOptions(classes="rafdb"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first row must name the columns"),
        ("image,label\n", "has a header but no rows"),
        (
            "image,label\na,fearfull\n",
            r"row 2: label 'fearfull' is not in the class set .* Did you mean 'fear'\?",
        ),
        ("image,label\na,fear,\n", "row 2: 3 cells, the header has 2"),
        ("image,score\na,1\n", r"no label column \(such as 'clean_label'\) and no votes column a class"),
        ("image,anger,fear\na,1,2\n", "no votes column for class 'happiness'"),
        (
            "image,anger,fear,happiness\na,1,2,x\n",
            "row 2: column 'happiness' holds 'x', expected a number of at least 0",
        ),
        ("image,anger,fear,happiness\na,1,2,-1\n", "holds '-1', expected a number of at least 0"),
        ("image,anger,fear,happiness\na,1,2,nan\n", "holds 'nan', expected a number"),
        ("image,anger,angry,fear,happiness\na,1,2,1,1\n", "columns 'anger' and 'angry' are the same class"),
        ("image,label\na,fear\nb,fear\na,anger\n", "'a' stands in t.csv row 2 and t.csv row 4"),
        ("image,label,label\na,fear,fear\n", "two columns named 'label'"),
    ],
)
def test_a_truth_that_cannot_be_read_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read_truth(write(tmp_path / "t.csv", text), CLASSES)


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(InputError, match=r"no such file\. Name a CSV"):
        read_truth(tmp_path / "absent.csv", CLASSES)
    with pytest.raises(InputError, match=r"this is a folder\. Name a CSV"):
        read_truth(tmp_path, CLASSES)
    (tmp_path / "t.csv").write_bytes(b"PAR1\xff\xfe\x00")
    with pytest.raises(InputError, match=r"is a Parquet file\. Give it that ending"):
        read_truth(tmp_path / "t.csv", CLASSES)
    (tmp_path / "t.csv").write_bytes(b"image,label\na\xff\x9f,fear\n")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read_truth(tmp_path / "t.csv", CLASSES)


@pytest.mark.parametrize(
    ("ids", "paths", "truth", "rows"),
    [
        (["a/1.png", "a/2.png"], None, ["a/2.png", "a/1.png", "b/9.png"], [1, 0]),
        (["1", "2"], ["/d/a/1.png", "/d/a/2.png"], ["/d/a/2.png"], [-1, 0]),
        (["1.png", "2.png"], None, ["/data/x/2.png", "/data/x/1.png"], [1, 0]),
        (["/old/a/1.png", "/old/b/1.png"], None, ["new/b/1.png", "new/a/1.png"], [1, 0]),
        (["a\\1.png", "b\\1.png"], None, ["set/b/1.png", "set/a/1.png"], [1, 0]),
        (["x/a/1.png", "x/b/1.png", "x/c/1.png"], None, ["y/b/1.png", "y/a/1.png"], [1, 0, -1]),
        (["0", "1"], ["/d/a/1.png", "/d/a/2.png"], ["a/2.png", "a/1.png"], [1, 0]),
        (["x/a/1.png", "x/b/2.png", "x/c/2.png"], None, ["y/a/1.png", "y/d/2.png"], [0, -1, -1]),
    ],
)
def test_faces_are_matched_by_id_then_path_then_tail(tmp_path, ids, paths, truth, rows):
    text = "image,label\n" + "".join(f"{name},fear\n" for name in truth)
    read = read_truth(write(tmp_path / "t.csv", text), CLASSES)
    refined = plain(ids, paths)
    assert read.rows_of(refined.ids, refined.paths).tolist() == rows


def test_names_that_fit_nothing_or_several(tmp_path):
    truth = read_truth(write(tmp_path / "t.csv", "image,label\n1.png,fear\n"), CLASSES)
    with pytest.raises(InputError, match=r"none of its 1 names .*it has '1\.png', the set has 'a/2\.png'"):
        evaluate(plain(["a/2.png"]), truth)
    with pytest.raises(InputError, match=r"'1\.png' fits both 'a/1\.png' and 'b/1\.png'"):
        evaluate(plain(["a/1.png", "b/1.png"]), truth)


def noisy_set(n: int = 400, seed: int = 0) -> tuple[RefinedSet, np.ndarray, np.ndarray]:
    """A refined set with unlabelled rows and ties in quality, and votes for all but the last ten faces."""
    rng = np.random.default_rng(seed)
    true = rng.integers(0, 3, n)
    given = np.where(rng.random(n) < 0.3, rng.integers(0, 3, n), true)
    given[rng.random(n) < 0.1] = -1
    votes = rng.multinomial(4, [1 / 3] * 3, n)
    votes[np.arange(n), true] += 6
    votes[: n // 10] = [3, 3, 4]
    distribution = rng.dirichlet(np.ones(3), n)
    distribution[np.arange(n), true] += 0.8
    distribution = (distribution / distribution.sum(1, keepdims=True)).astype(np.float32)
    quality = np.round(np.clip((given == true) * 0.4 + rng.random(n) * 0.6, 0, 1), 1).astype(np.float32)
    refined = make([f"{i}.png" for i in range(n)], given, distribution, quality, rng.random(n) < 0.4)
    return refined, true, votes


def write_votes(path: Path, votes: np.ndarray, rows: int) -> Path:
    with open(path, "w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(["image", *CLASSES])
        out.writerows([f"{i}.png", *votes[i].tolist()] for i in range(rows))
    return path


def test_evaluate_equals_scikit_learn_and_loops(tmp_path):
    refined, true, votes = noisy_set()
    truth = read_truth(write_votes(tmp_path / "v.csv", votes, 390), CLASSES)
    got = evaluate(refined, truth, min_votes=6).to_dict()

    judged = [i for i in range(390) if votes[i].max() >= 6]
    both = [i for i in judged if refined.labeled[i]]
    given = refined.given_label
    wrong = np.array([given[i] != true[i] for i in both])
    score = 1 - refined.quality[both].astype(np.float64)
    by_class = [oracle.roc_auc_score(wrong[given[both] == c], score[given[both] == c]) for c in range(3)]
    precision, recall, f1, _ = oracle.precision_recall_fscore_support(wrong, refined.flagged[both], average="binary")

    def divergence(p: np.ndarray, q: np.ndarray) -> float:
        m = (p + q) / 2
        return sum(0.5 * x[i] * math.log2(x[i] / m[i]) for x in (p, q) for i in range(3) if x[i] > 0)

    share = {i: votes[i] / votes[i].sum() for i in judged}
    assert len(both) < len(judged) < 390
    assert list(got) == KEYS
    assert got["faces"] == 400
    assert got["judged"] == len(judged)
    assert got["noise_rate"] == pytest.approx(wrong.mean())
    assert got["auroc"] == pytest.approx(oracle.roc_auc_score(wrong, score))
    assert got["auroc_per_class"] == pytest.approx(np.mean(by_class))
    assert got["average_precision"] == pytest.approx(oracle.average_precision_score(wrong, score))
    assert got["given_accuracy"] == pytest.approx(1 - wrong.mean())
    refined_right = [refined.label[i] == true[i] for i in judged]
    assert got["refined_accuracy"] == pytest.approx(np.mean(refined_right))
    js_given = [divergence(np.eye(3)[given[i]], share[i]) for i in both]
    assert got["js_given"] == pytest.approx(np.mean(js_given))
    js_refined = [divergence(refined.distribution[i].astype(float), share[i]) for i in judged]
    assert got["js_refined"] == pytest.approx(np.mean(js_refined))
    assert got["flags"] == pytest.approx({"precision": precision, "recall": recall, "f1": f1})
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert all(type(got[key]) is (int if key in ("faces", "judged") else float) for key in KEYS[:-1])


def test_details_by_class(tmp_path):
    refined, true, votes = noisy_set()
    result = evaluate(refined, read_truth(write_votes(tmp_path / "v.csv", votes, 390), CLASSES))
    details = result.details()
    assert json.loads(json.dumps(details, allow_nan=False)) == details
    judged = np.flatnonzero((votes.max(1) >= 6) & (np.arange(400) < 390))
    both = judged[refined.labeled[judged]]
    given = refined.given_label
    for c, row in enumerate(details["classes"]):
        mine = both[given[both] == c]
        assert (row["name"], row["given"]) == (CLASSES[c], len(mine))
        assert row["wrong"] == (true[mine] != c).sum()
        assert row["true"] == (true[judged] == c).sum()
        assert row["given_recall"] == pytest.approx((given[both[true[both] == c]] == c).mean())
        assert row["refined_recall"] == pytest.approx((refined.label[judged[true[judged] == c]] == c).mean())
    assert details["refined_mean_recall"] == pytest.approx(
        oracle.balanced_accuracy_score(true[judged], refined.label[judged])
    )
    assert details["labeled"] == len(both)
    assert details["min_votes"] == 6


def test_a_clean_set_has_null_where_nothing_is_defined(tmp_path):
    eye = np.eye(3, dtype=np.float32)
    refined = make(["0.png", "1.png", "2.png"], np.arange(3), eye, np.ones(3, np.float32))
    truth = read_truth(write(tmp_path / "t.csv", "image,label\n0.png,anger\n1.png,fear\n2.png,happiness\n"), CLASSES)
    got = evaluate(refined, truth).to_dict()
    nulls = [key for key, value in got.items() if value is None]
    assert nulls == ["auroc", "auroc_per_class", "average_precision", "r_precision"]
    assert got["flags"] == {"precision": None, "recall": None, "f1": None}
    assert (got["noise_rate"], got["given_accuracy"], got["js_given"], got["js_refined"]) == (0, 1, 0, 0)


def test_unlabelled_faces_count_for_the_refined_figures_alone(tmp_path):
    eye = np.eye(3, dtype=np.float32)[[0, 1]]
    truth = read_truth(write(tmp_path / "t.csv", "image,label\na,anger\nb,happiness\n"), CLASSES)
    got = evaluate(make(["a", "b"], np.array([-1, -1]), eye, np.ones(2, np.float32)), truth).to_dict()
    assert got["judged"] == 2
    assert got["refined_accuracy"] == 0.5
    assert (got["noise_rate"], got["given_accuracy"], got["js_given"]) == (None, None, None)


def test_too_high_a_bar_and_other_classes_are_named(tmp_path):
    truth = read_truth(write(tmp_path / "t.csv", "image,anger,fear,happiness\na,4,1,0\n"), CLASSES)
    message = r"none of the 1 matched faces has a class with at least 6 votes \(the highest count is 4\)\. Lower"
    with pytest.raises(InputError, match=message):
        evaluate(plain(["a"]), truth)
    with pytest.raises(InputError, match=r"The truth is over the classes .* Read it with read_truth"):
        evaluate(plain(["a"]), read_truth(tmp_path / "t.csv", CLASSES[::-1]))
    clean = read_truth(write(tmp_path / "c.csv", "image,label\na,\n"), CLASSES)
    with pytest.raises(InputError, match="none of the 1 matched faces has a clean label"):
        evaluate(plain(["a"]), clean)


@pytest.mark.skipif(not (FERPLUS / "votes.csv").is_file(), reason="FERCLEANER_FERPLUS has no votes.csv")
def test_ferplus_yardsticks():
    """21,733 of 28,709 faces have a top vote of 6; FER2013 is right in .720, 0.272 bits from the votes."""
    with open(FERPLUS / "labels.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    names = {"angry": 0, "disgust": 1, "fear": 2, "happy": 3, "sad": 4, "surprise": 5, "neutral": 6}
    given = np.array([names[row["label"]] for row in rows])
    one_hot = np.eye(7, dtype=np.float32)[given]
    truth = read_truth(FERPLUS / "votes.csv", FER)
    prior = (np.bincount(given) / len(given))[given]
    refined = make([row["image"] for row in rows], given, one_hot, prior.astype(np.float32), classes=FER)
    got = evaluate(refined, truth, min_votes=6).to_dict()
    assert (got["faces"], got["judged"]) == (28_709, 21_733)
    assert got["given_accuracy"] == pytest.approx(0.720, abs=5e-4)
    assert got["refined_accuracy"] == got["given_accuracy"]
    assert got["js_given"] == got["js_refined"] == pytest.approx(0.272, abs=5e-4)
    # The class prior alone, as measured elsewhere: pooled .718 / .418, within classes .5.
    assert got["auroc"] == pytest.approx(0.718, abs=5e-4)
    assert got["average_precision"] == pytest.approx(0.418, abs=5e-4)
    # Seven distinct scores: cut inside a tie by row order it comes to .392 to .396, over all orders to .394.
    assert got["r_precision"] == pytest.approx(0.394, abs=5e-4)
    assert got["auroc_per_class"] == 0.5
