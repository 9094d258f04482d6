"""Votes to given distributions: the rules against plain loops, FERPlus in both of its layouts."""

from __future__ import annotations

from pathlib import Path

import dataset_builders as build
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fercleaner.core.errors import InputError
from fercleaner.datasets import VoteRules, read, recognize
from fercleaner.datasets.votes import given_from_votes

#            neu hap sur sad ang dis fea con unk NF
MIXED = [
    [4, 0, 0, 1, 3, 2, 0, 0, 0, 0],
    [0, 5, 5, 0, 0, 0, 0, 0, 0, 0],
    [1, 0, 0, 0, 0, 0, 0, 0, 2, 7],
    [1, 2, 0, 0, 0, 0, 0, 0, 7, 0],
    [0, 0, 0, 0, 0, 0, 0, 9, 1, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 5, 5],
]
USAGE = ["Training", "Training", "Training", "PublicTest", "PrivateTest", "Training"]


def oracle(votes: list[list[float]], unknown: list[float], nf: list[float], rules: VoteRules) -> list[object]:
    """The rules read aloud: None for an unlabeled row, else its distribution."""
    answer: list[object] = []
    for row, u, f in zip(votes, unknown, nf, strict=True):
        row = [v if v > rules.outliers else 0 for v in row]
        u, f = (v if v > rules.outliers else 0 for v in (u, f))
        top = max(row)
        tops = [c for c, v in enumerate(row) if v == top]
        if (
            top == 0
            or (rules.not_a_face == "unlabeled" and f > top and (f > u or rules.unknown == "drop"))
            or (rules.unknown == "unlabeled" and u > top)
            or (rules.ties == "unlabeled" and len(tops) > 1)
        ):
            answer.append(None)
        elif rules.ties == "first" and len(tops) > 1:
            answer.append([float(c == tops[0]) for c in range(len(row))])
        elif rules.given_from == "majority":
            answer.append([1 / len(tops) if c in tops else 0.0 for c in range(len(row))])
        else:
            answer.append([v / sum(row) for v in row])
    return answer


RULES = st.builds(
    VoteRules,
    given_from=st.sampled_from(["votes", "majority"]),
    ties=st.sampled_from(["share", "unlabeled", "first"]),
    unknown=st.sampled_from(["drop", "unlabeled"]),
    not_a_face=st.sampled_from(["drop", "unlabeled"]),
    outliers=st.integers(0, 2),
)
ROWS = st.lists(st.lists(st.integers(0, 5), min_size=5, max_size=5), min_size=1, max_size=8)


@settings(max_examples=150, deadline=None)
@given(ROWS, RULES)
def test_rules_equal_the_loops(rows: list[list[int]], rules: VoteRules) -> None:
    counts = np.array(rows, dtype=np.float64)
    votes, unknown, nf = counts[:, :3].astype(np.float32), counts[:, 3], counts[:, 4]
    got, labeled, notes = given_from_votes(votes, unknown, nf, rules)
    wanted = oracle(votes.tolist(), unknown.tolist(), nf.tolist(), rules)
    assert labeled.tolist() == [w is not None for w in wanted]
    assert (notes == "").tolist() == labeled.tolist()
    for row, want in zip(got, wanted, strict=True):
        assert row.tolist() == pytest.approx(want if want is not None else [0.0] * 3)


def test_probabilities_are_normalized() -> None:
    got, labeled, _ = given_from_votes(np.float32([[0.2, 0.2]]), np.zeros(1), np.zeros(1), VoteRules())
    assert got.tolist() == [[0.5, 0.5]]
    assert labeled.all()


def test_rules_are_checked() -> None:
    with pytest.raises(InputError, match="Vote rule ties is 'half', expected one of: share, unlabeled, first"):
        VoteRules(ties="half")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="outliers is -1"):
        VoteRules(outliers=-1)


def ferplus(root: Path) -> Path:
    build.fer2013(root / "fer2013.csv", [0, 3, 6, 4, 2, 1], USAGE)
    build.ferplus(root / "fer2013new.csv", MIXED, USAGE)
    return root


def test_ferplus_votes_belong_to_the_same_row(tmp_path: Path) -> None:
    ferplus(tmp_path)
    assert recognize(tmp_path) == ("ferplus", "found fer2013.csv and the votes of fer2013new.csv")
    samples = read(tmp_path)
    assert samples.classes == tuple(build.FERPLUS_HEADER[2:10])
    assert samples.votes is not None
    assert samples.votes.tolist() == [row[:8] for row in MIXED]
    assert samples.given[0].tolist() == pytest.approx([0.4, 0, 0, 0.1, 0.3, 0.2, 0, 0])
    assert samples.given[1, 1:3].tolist() == [0.5, 0.5]
    assert samples.given[3, :2].tolist() == pytest.approx([1 / 3, 2 / 3])
    assert samples.labeled.tolist() == [True, True, False, True, True, False]
    assert samples.notes is not None
    assert samples.notes.tolist() == ["", "", "top vote: not a face", "", "", "top vote: not a face"]
    assert samples.split is not None
    assert samples.split.tolist() == ["train"] * 3 + ["val", "test", "train"]


def test_ferplus_rules_and_labels(tmp_path: Path) -> None:
    ferplus(tmp_path)
    strict = read(tmp_path, votes=VoteRules(ties="unlabeled", unknown="unlabeled", given_from="majority"))
    assert strict.notes is not None
    assert strict.notes.tolist() == [
        "",
        "top votes tie",
        "top vote: not a face",
        "top vote: unknown",
        "",
        "top vote: unknown",
    ]
    assert strict.given[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    labels = read(tmp_path, votes=VoteRules(given_from="label"))
    assert (labels.layout, labels.votes) == ("fer2013", None)
    assert labels.label.tolist() == [0, 3, 6, 4, 2, 1]
    assert read(tmp_path, layout="fer2013").label.tolist() == [0, 3, 6, 4, 2, 1]


def test_ferplus_without_contempt_counts_it_as_unknown(tmp_path: Path) -> None:
    ferplus(tmp_path)
    samples = read(tmp_path, classes=["fer2013"], votes=VoteRules(unknown="unlabeled"))
    assert samples.notes is not None
    assert (len(samples.classes), samples.notes[4]) == (7, "top vote: unknown")
    assert samples.given[0].tolist() == pytest.approx([0.3, 0.2, 0, 0, 0.1, 0, 0.4])


def test_ferplus_row_mismatch_is_an_error(tmp_path: Path) -> None:
    ferplus(tmp_path)
    build.ferplus(tmp_path / "fer2013new.csv", MIXED[:-1], USAGE[:-1])
    with pytest.raises(InputError, match=r"fer2013new.csv has 5 rows and fer2013.csv 6; row k of one belongs"):
        read(tmp_path)
    build.ferplus(tmp_path / "fer2013new.csv", MIXED, [*USAGE[:3], "Training", *USAGE[4:]])
    with pytest.raises(InputError, match=r"new.csv row 5: Usage is 'Training', but 'PublicTest' in fer2013.csv row 5"):
        read(tmp_path)
    (tmp_path / "fer2013new.csv").write_text("Usage,Image name,neutral\n" + "Training,x,1\n" * 6)
    with pytest.raises(InputError, match=r"fer2013new.csv has no column 'happiness'; its columns are Usage"):
        read(tmp_path)


def test_ferplus_votes_alone_need_the_pixels(tmp_path: Path) -> None:
    build.ferplus(tmp_path / "fer2013new.csv", MIXED, USAGE)
    with pytest.raises(InputError, match=r"votes without pictures. Put it beside fer2013.csv"):
        read(tmp_path / "fer2013new.csv")


def test_ferplus_folders(tmp_path: Path) -> None:
    for folder, row in (("FER2013Train", MIXED[0]), ("FER2013Test", MIXED[4])):
        build.picture(tmp_path / folder / "fer1.png", size=(48, 48))
        counts = ",".join(map(str, row))
        build.text(tmp_path / folder / "label.csv", f'fer1.png,"(0, 0, 48, 48)",{counts}\n')
    samples = read(tmp_path)
    assert samples.layout == "ferplus-folders"
    assert samples.ids.tolist() == ["FER2013Train/fer1.png", "FER2013Test/fer1.png"]
    assert samples.split is not None
    assert samples.split.tolist() == ["train", "test"]
    assert samples.boxes is not None
    assert samples.boxes[0].tolist() == [0, 0, 48, 48]
    assert samples.given[1, 7] == 1
    assert len(read(tmp_path / "FER2013Test")) == 1
    build.text(tmp_path / "FER2013Test" / "label.csv", "fer1.png,1,2\n")
    with pytest.raises(InputError, match=r"FER2013Test/label.csv row 1: 3 cells, expected 12"):
        read(tmp_path)
    build.text(tmp_path / "FER2013Test" / "label.csv", 'fer1.png,"(0, 0, 48, 48)",' + ",".join("abcdefghij") + "\n")
    with pytest.raises(InputError, match=r"FER2013Test/label.csv row 1: column 'neutral' holds 'a'"):
        read(tmp_path)
