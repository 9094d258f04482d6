"""Labels as people write them: each case reads as it was meant, or asks; none becomes another class in silence."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fercleaner.core.errors import InputError
from fercleaner.datasets import VoteRules, read, recognize
from fercleaner.datasets.describe import sentences

NAMES = ("anger", "fear", "happiness", "neutral")
#: Marks for a missing label.
MISSING = ["nan", "NaN", "NA", "N/A", "None", "none", "null", "NULL", "<NA>", "nil", "#N/A", "-", "--", "?", "NaT"]


def table(tmp_path: Path, text: str, name: str = "s.csv", encoding: str = "utf-8") -> Path:
    (tmp_path / name).write_text(text, encoding=encoding)
    return tmp_path / name


def column(tmp_path: Path, labels: list[str], header: str = "image,label") -> Path:
    return table(tmp_path, header + "\n" + "".join(f'{i}.jpg,"{label}"\n' for i, label in enumerate(labels)))


def given(path: Path, **options: object) -> list[str]:
    samples = read(path, **options)  # type: ignore[arg-type]
    return [samples.classes[c] if c >= 0 else "" for c in samples.label]


def detected(tmp_path: Path, n: int = 40, **columns: object) -> Path:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1] * 4, n)
    frame = {"image": [f"{i}.jpg" for i in range(n)], "label": [NAMES[i % 4] for i in range(n)]}
    pd.DataFrame({**frame, **{name: p[:, k] for k, name in enumerate(NAMES)}, **columns}).to_csv(
        tmp_path / "s.csv", index=False
    )
    return tmp_path / "s.csv"


def test_a_label_beside_a_detectors_emotions_is_asked_about(tmp_path: Path) -> None:
    file = detected(tmp_path)
    with pytest.raises(InputError, match=r"s.csv row \d+: the label is '\w+', but the columns anger, fear, .* say"):
        read(file)
    assert given(file, votes=VoteRules(given_from="label")) == [NAMES[i % 4] for i in range(40)]
    assert given(file, columns={"label": "label"}) == [NAMES[i % 4] for i in range(40)]
    assert read(file, votes=VoteRules(given_from="votes")).votes is not None


@pytest.mark.parametrize("extra", ["joy,anger,age", "sa,di,x", "Happy,mad,score"])
def test_a_label_beside_ratings_that_miss_its_classes_stays_the_label(tmp_path: Path, extra: str, caplog) -> None:
    rows = "".join(f"{i}.jpg,{NAMES[i % 4]},{i % 5 + 1},{i % 3 + 1},30\n" for i in range(20))
    file = table(tmp_path, f"image,label,{extra}\n{rows}")
    assert given(file) == [NAMES[i % 4] for i in range(20)]
    assert "the labels are those of 'label'. The columns" in caplog.text
    assert read(file).provenance["columns_left_out"] == extra.split(",")


def test_columns_that_agree_with_the_label_give_distributions(tmp_path: Path) -> None:
    file = table(tmp_path, "image,label,happy,sad\na,sad,.1,.9\nb,happy,.5,.5\nc,happy,.8,.2\n")
    samples = read(file)
    assert samples.given.tolist() == pytest.approx(np.array([[0.1, 0.9], [0.5, 0.5], [0.8, 0.2]]))
    assert samples.provenance["columns"]["classes"] == ["happy", "sad"]


def test_ratings_without_a_label_are_asked_about_but_votes_and_shares_are_not(tmp_path: Path) -> None:
    rated = "".join(f"{i},{i % 5 + 1},{i % 4 + 1},{i % 3 + 1}\n" for i in range(12))
    file = table(tmp_path, "image,happy,sad,angry\n" + rated)
    with pytest.raises(InputError, match=r"hold 1 to 5, never 0, .* ratings on a scale, or votes\?"):
        read(file)
    assert read(file, votes=VoteRules(given_from="votes")).labeled.all()
    shares = "".join(f"{i},0.{i % 5 + 1},0.{9 - i % 5 - 1},0.1\n" for i in range(12))
    assert read(table(tmp_path, "image,happy,sad,angry\n" + shares)).labeled.all()
    counts = "".join(f"{i},{i % 5},{i % 4 + 1},{i % 3}\n" for i in range(12))
    assert read(table(tmp_path, "image,happy,sad,angry\n" + counts)).labeled.all()
    hot = "".join(f"{i},{int(i % 3 == 0)},{int(i % 3 == 1)},{int(i % 3 == 2)}\n" for i in range(12))
    assert given(table(tmp_path, "image,happy,sad,angry\n" + hot))[:3] == ["happiness", "sadness", "anger"]


def test_two_label_columns_that_disagree_are_asked_about(tmp_path: Path) -> None:
    file = table(tmp_path, "image,label,emotion\na,happy,sad\nb,sad,sad\nc,angry,angry\n")
    with pytest.raises(InputError, match=r"row 2: the columns 'label' \('happy'\) and 'emotion' \('sad'\) can both"):
        read(file)
    assert given(file, columns={"label": "emotion"}) == ["sadness", "sadness", "anger"]
    same = table(tmp_path, "image,label,emotion\na,0,sad\nb,1,happy\nc,0,sad\n")
    assert read(same).classes == ("0", "1")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["3", "3.0", "03", "1", "+1", "1."], ("1", "3")),
        (["3e0", "3", "1", "1.000"], ("1", "3")),
        (["\uff13", "3", "1"], ("1", "3")),
        (["caf\u00e9", "cafe\u0301", "CAF\u00c9 ", "x"], ("caf\u00e9", "x")),
        (["Smirk", "smirk", " smirk", "wink"], ("smirk", "wink")),
        (["big  smile ", "big smile", "big_smile", "wink"], ("big smile", "wink")),
        (["smi\u200brk", "smirk", "\ufeffwink"], ("smirk", "wink")),
        (["'happy'", "\u201csad\u201d", "happy", "sad"], ("happiness", "sadness")),
    ],
)
def test_one_class_in_several_spellings_is_one(tmp_path: Path, labels: list[str], classes: tuple[str, ...]) -> None:
    assert read(column(tmp_path, labels)).classes == classes


def test_spellings_that_were_merged_are_told(tmp_path: Path, caplog) -> None:
    read(column(tmp_path, ["Smirk", "smirk", "smirk", "3"]))
    assert caplog.messages == ["Labels written in several ways are one: 'smirk' as 'Smirk', 'smirk'."]


@pytest.mark.parametrize(
    "mark", ["nan", "NaN", "NA", "N/A", "None", "none", "null", "NULL", "<NA>", "nil", "#N/A", "-", "--", "?", "NaT"]
)
@pytest.mark.parametrize("others", [("0", "1", "2"), ("cat", "dog"), ("happy", "sad", "fear")])
def test_marks_for_missing_are_no_class(tmp_path: Path, mark: str, others: tuple[str, ...], caplog) -> None:
    samples = read(column(tmp_path, [*others, mark, mark, *others]))
    assert len(samples.classes) == len(others)
    assert int((~samples.labeled).sum()) == 2
    assert f"Labels read as missing: '{mark}' 2." in caplog.text
    kept = read(column(tmp_path, [*others, mark]), alias={mark: "blank"}, classes=[*others, "blank"])
    assert kept.labeled.all()


def test_a_class_set_that_names_a_mark_makes_it_a_class(tmp_path: Path) -> None:
    assert given(column(tmp_path, ["happy", "none"]), classes=["happy", "none"]) == ["happiness", "none"]


def test_minus_one_beside_codes_is_missing_or_asked_about(tmp_path: Path) -> None:
    samples = read(column(tmp_path, ["0", "1", "2", "-1", "-1.0"]))
    assert (samples.classes, int(samples.labeled.sum())) == (("0", "1", "2"), 3)
    valence = column(tmp_path, ["-1", "0", "1"])
    with pytest.raises(InputError, match=r"row 2: label '-1' can be a class like the others, or 'missing'\. Say which"):
        read(valence)
    assert read(valence, alias={"-1": "-1"}).classes == ("-1", "0", "1")
    assert read(valence, alias={"-1": ""}).classes == ("0", "1")
    assert read(column(tmp_path, ["-2", "-1", "0", "1", "2"])).classes == ("-2", "-1", "0", "1", "2")
    for odd in ("99", "255", "-9", "999"):
        with pytest.raises(InputError, match=f"row 5: label '{odd}' can be a class like the others, or 'missing'"):
            read(column(tmp_path, ["0", "1", "2", odd]))
    with pytest.raises(InputError, match=r"label -1 is not a code of FER2013, .* --alias -1="):
        read(column(tmp_path, ["0", "1", "2", "-1"]), classes=["fer2013"])


def test_a_code_apart_from_the_others_is_told(tmp_path: Path, caplog) -> None:
    few = [str(1 + i % 4) for i in range(40)]
    assert read(column(tmp_path, [*few, "9"])).classes == ("1", "2", "3", "4", "9")
    assert caplog.messages == [
        "s.csv row 42: label 9 (1 face) stands apart from the other codes, 1 to 4, and is taken for a class. If it "
        "means 'missing' or is a slip, --alias 9= leaves such rows unlabeled; --alias 9=9 says that it is a class."
    ]
    seven = [str(1 + i % 7) for i in range(70)]
    told = {
        (*seven, "9"): "row 72: label 9 (1 face) stands apart from the other codes, 1 to 7",
        (*few, "8", "9", "9"): "row 42: one of the labels 8, 9 (3 faces) stands apart from the other codes, 1 to 4",
        (*seven, "8"): "row 72: label 8 (1 face) stands alone at the end of the codes, 1 to 7",
        ("0", *seven): "row 2: label 0 (1 face) stands alone at the end of the codes, 1 to 7",
    }
    for labels, said in told.items():
        caplog.clear()
        read(column(tmp_path, list(labels)))
        assert said in caplog.text
    caplog.clear()
    for labels in ([*seven, "8", "8"], ["0", "1", "3", "9"], ["2", "3", "5", "7"], ["0", "1", "2", "3"]):
        read(column(tmp_path, labels))
    read(column(tmp_path, [*few, "9"]), alias={"9": "9"})
    read(column(tmp_path, [*few, "9"]), alias={"9": ""})
    read(column(tmp_path, [*few, "9"]), classes=["1", "2", "3", "4", "9"])
    assert "stands" not in caplog.text
    with pytest.raises(InputError, match=r"row 42: label 9 is not a code of RAF-DB"):
        read(column(tmp_path, [*few, "9"]), classes=["rafdb"])


@pytest.mark.parametrize("mark", ["unknown", "undefined", "Uncertain", "not sure", "n.d."])
def test_marks_that_can_be_a_class_are_asked_about(tmp_path: Path, mark: str) -> None:
    file = column(tmp_path, ["0", "1", mark])
    with pytest.raises(InputError, match=r"can be a class of its own, or say that the face has no label\. Say which"):
        read(file)
    assert read(file, alias={mark: ""}).classes == ("0", "1")
    assert read(file, alias={mark: mark}).classes == ("0", "1", mark)


@pytest.mark.parametrize(
    "cell", ["happy;sad", "happy|sad", "happy/sad", "happy, sad", "happy and sad", "happy sad", "['happy', 'sad']"]
)
def test_several_labels_in_a_cell_are_refused(tmp_path: Path, cell: str) -> None:
    for others in (["happy", "sad", "angry"], ["cat", "dog", "cow", "pig"]):
        with pytest.raises(InputError, match=r"row \d: label .* holds 2 labels .* A cell holds one"):
            read(column(tmp_path, [*others, cell]))


def test_several_codes_in_a_cell_are_refused(tmp_path: Path) -> None:
    for cell in ("1 3", "1;3", "[1, 3]", "0 1 0 0", "1,0"):
        with pytest.raises(InputError, match="A cell holds one"):
            read(column(tmp_path, ["0", "1", cell]))
    pd.DataFrame({"image": ["a", "b"], "label": [[0, 1], [1, 0]]}).to_parquet(tmp_path / "hot.parquet")
    with pytest.raises(InputError, match="holds 2 labels"):
        read(tmp_path / "hot.parquet")
    assert read(column(tmp_path, ["cat;x", "dog"])).classes == ("cat;x", "dog")  # no label is called x


def test_numbers_that_are_no_classes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"label '2.5' is a number, but no whole one, and so no class"):
        read(column(tmp_path, ["1", "2", "2.5"]))
    with pytest.raises(InputError, match=r"row 3: label '1' is a number, but 'happy' in s.csv row 2 is a name"):
        read(column(tmp_path, ["happy", "1", "2", "3"]))
    with pytest.raises(InputError, match=r"60 different labels on 60 faces .* are no classes"):
        read(column(tmp_path, [f"person {i}" for i in range(60)]))


def test_quotes_behind_blanks_and_quotes_left_open(tmp_path: Path) -> None:
    file = table(tmp_path, 'image, label\na.jpg, "happy"\nb.jpg,  "sad" \n"c, d.jpg", fear\n')
    assert given(file) == ["happiness", "sadness", "fear"]
    assert read(file).ids.tolist() == ["a.jpg", "b.jpg", "c, d.jpg"]
    assert given(table(tmp_path, "'image','label'\n'a','happy'\n'b','sad'\n")) == ["happiness", "sadness"]
    with pytest.raises(InputError, match=r"s.csv row 3: a quote is opened and never closed"):
        read(table(tmp_path, 'image,label\na.jpg,happy\nb.jpg,"sad\nc.jpg,fear\n'))
    with pytest.raises(InputError, match=r"s.csv row 3: a cell that begins .* the 2 lines below, such as 'c,x'"):
        read(table(tmp_path, 'image,label\na,x\nb,"y\nc,x\nd,"y\n'))
    with pytest.raises(InputError, match=r"holds a line break. Is a quote opened and not closed"):
        read(table(tmp_path, 'image,label\na,x\nb,"y\nz\n"\nd,y\n'))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encodings_and_delimiters(tmp_path: Path, encoding: str, delimiter: str) -> None:
    text = "image,label,note\nä.jpg,happy,x\nb.jpg,sad,\n".replace(",", delimiter)
    samples = read(table(tmp_path, text, encoding=encoding))
    assert samples.ids.tolist() == ["ä.jpg", "b.jpg"]
    hinted = read(table(tmp_path, f"sep={delimiter}\n{text}"))
    assert hinted.ids.tolist() == ["ä.jpg", "b.jpg"]


def test_ids_stay_text(tmp_path: Path) -> None:
    ids = ["00012", "1.10", "1e5", "NA", "null", "nan", "None", "-1", "0x1F", "True"]
    rows = "".join(f"{name},{NAMES[i % 4]}\n" for i, name in enumerate(ids))
    assert read(table(tmp_path, f"id,label\n{rows}")).ids.tolist() == ids


def test_missing_groups_are_no_group_and_groups_have_one_spelling(tmp_path: Path) -> None:
    rows = "a,happy,S1\nb,sad,s1 \nc,sad,nan\nd,happy,NA\ne,sad,2.0\nf,happy,2\n"
    samples = read(table(tmp_path, f"image,label,group\n{rows}"))
    assert samples.group is not None
    assert samples.group.tolist()[2:4] == ["alone: c", "alone: d"]
    assert len(set(samples.group.tolist())) == 4


def test_what_was_read_is_in_provenance(tmp_path: Path) -> None:
    samples = read(table(tmp_path, "image,label,age,Unnamed: 0\na,happy,3,0\nb,sad,4,1\n"))
    assert samples.provenance == {
        "columns": {"image": "image", "label": "label"},
        "columns_left_out": ["age", "Unnamed: 0"],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,angry,happy\na,50%,50%\nb,100%,0%\n", r"row 2: column 'angry' holds '50%', expected a number .*0.5"),
        ("image;angry;happy\na;0,5;0,5\nb;1;0\n", r"column 'angry' holds '0,5'.* Write a decimal point"),
        ("a0.jpg 3\na1.jpg 2\n", "its first row is 'a0.jpg 3'. Blanks do not separate columns"),
        ("image label\na0.jpg 3\n", "Blanks do not separate columns"),
        (
            "image,worker,label\nb,1,happy\na,1,happy\na,2,sad\n",
            "row 4: picture 'a' stands in .* row 3, too; 1 row repeats .* one row a face is needed. Where each row is",
        ),
    ],
)
def test_messages_point_the_right_way(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(table(tmp_path, text))


def test_long_cells(tmp_path: Path) -> None:
    file = table(tmp_path, 'image,label,emb\na,happy,"' + "1 " * 100_000 + '"\nb,sad,x\n')
    assert len(read(file)) == 2


def test_parquet_with_further_columns_and_a_named_index(tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": ["a", "b"], "label": ["happy", "sad"]})
    frame.assign(meta=[{"age": 3}] * 2, thumb=[b"x"] * 2).to_parquet(tmp_path / "a.parquet")
    assert sorted(read(tmp_path / "a.parquet").provenance["columns_left_out"]) == ["meta", "thumb"]
    frame.set_index("image").to_parquet(tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet").ids.tolist() == ["a", "b"]
    frame.assign(label=[3.0, None]).to_parquet(tmp_path / "c.parquet")
    assert read(tmp_path / "c.parquet", classes=["3", "4"]).label.tolist() == [0, -1]
    frame.assign(label=frame.label.astype("category")).to_parquet(tmp_path / "d.parquet")
    assert given(tmp_path / "d.parquet") == ["happiness", "sadness"]


def test_lists_put_together_with_their_headers(tmp_path: Path, caplog) -> None:
    samples = read(table(tmp_path, "image,label\na,happy\nimage,label\nb,sad\n"))
    assert samples.ids.tolist() == ["a", "b"]
    assert caplog.messages == ["s.csv: 1 row repeats the header and is left out."]


def test_label_columns_that_differ_in_case_alone_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the columns 'Label' \('happy'\) and 'label' \('sad'\) can both"):
        read(table(tmp_path, "image,Label,label\na,happy,sad\nb,sad,sad\nc,happy,happy\n"))


def test_a_second_manifest_in_a_folder_is_told(tmp_path: Path) -> None:
    table(tmp_path, "image,label\na,happy\nb,sad\n", "labels.csv")
    table(tmp_path, "image,age\na,30\nb,40\n", "metadata.csv")
    assert recognize(tmp_path).why == "found labels.csv; not read: metadata.csv"


def test_nothing_is_said_where_all_is_plain(tmp_path: Path, caplog) -> None:
    caplog.set_level(logging.WARNING)
    read(column(tmp_path, ["happy", "sad", "", "Sad"]))
    assert caplog.messages == []


def shares(folder: Path, change: dict[int, list[str]]) -> Path:
    rows = [["0.5", "0.3", "0.2"], ["0.1", "0.8", "0.1"], ["0.25", "0.05", "0.7"]] * 5
    for row, cells in change.items():
        rows[row] = cells
    text = "".join(f"{i}.jpg,{','.join(cells)}\n" for i, cells in enumerate(rows))
    (folder / "s.csv").write_text(f"image,anger,fear,happiness\n{text}", encoding="utf-8")
    return folder / "s.csv"


def test_a_share_that_is_missing_is_not_0(tmp_path: Path) -> None:
    """pandas writes NaN as an empty cell; the rest of the row must not become the whole."""
    message = r"s.csv row 6: column 'fear' is empty, and the others add up to 0\.95, where rows .* add up to 1\. Write"
    with pytest.raises(InputError, match=message):
        read(shares(tmp_path, {4: ["0.25", "", "0.7"]}))
    found = read(shares(tmp_path, {4: ["", "", ""], 5: ["0.6", "", "0.4"]}))
    assert found.labeled.tolist() == [i != 4 for i in range(15)]
    with pytest.raises(
        InputError, match=r"holds 'nan', .* Leave the row's cells of all classes empty where the face has"
    ):
        read(shares(tmp_path, {4: ["nan", "nan", "nan"]}))


def test_votes_for_no_class_are_named_among_the_columns(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("image,anger,fear,unknown,NF\na,3,1,1,0\nb,1,4,0,0\nc,0,1,0,5\n", encoding="utf-8")
    said = " ".join(sentences(read(tmp_path / "s.csv")))
    assert "classes from 'anger', 'fear'; votes for no class from 'unknown', 'NF'." in said


def test_an_alias_whose_target_is_no_class_says_which_side_to_mend(tmp_path: Path) -> None:
    file = column(tmp_path, ["anger", "happy", "sad", "fear"])
    match = (
        r"label 'anger' is to be 'fury', as --alias says, which is not in the class set .* Write a class of it behind"
    )
    with pytest.raises(InputError, match=match) as said:
        read(file, alias={"anger": "fury"})
    assert "--alias anger=" not in str(said.value)
    assert read(file, alias={"anger": "fury"}, classes=["fury", "happy", "sad", "fear"]).classes[0] == "fury"


def test_numbers_of_other_signs_are_two_labels(tmp_path: Path) -> None:
    file = column(tmp_path, ["-0.5", "0.5", "0.50", "-.5"])
    assert given(file, alias={"-0.5": "sadness", "0.5": "happiness"}) == [
        "sadness",
        "happiness",
        "happiness",
        "sadness",
    ]


def test_rows_of_several_classes_among_rows_of_one_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [",".join(str(int(k == i % 4)) for k in range(4)) for i in range(20)]
    head = "image,anger,fear,happiness,neutral\n"
    file = table(tmp_path, head + "".join(f"{i}.jpg,{row}\n" for i, row in enumerate(rows)))
    read(file)
    assert not caplog.messages
    rows[5] = "1,1,0,0"
    file = table(tmp_path, head + "".join(f"{i}.jpg,{row}\n" for i, row in enumerate(rows)))
    assert read(file).given[5].tolist() == [0.5, 0.5, 0, 0]
    assert "1 row has a 1 in several classes" in caplog.text
    assert "(first: s.csv row 7)" in caplog.text
    assert not read(file, votes={"ties": "unlabeled"}).labeled[5]


def test_classes_that_are_nearly_expressions_are_asked_about(tmp_path: Path) -> None:
    """More than half known, and it is an error; fewer, and each name would be a class of its own in silence."""
    said = sentences(read(column(tmp_path, ["angry", "disguist", "hapy", "neutral", "surprize"] * 3)))
    assert any("disguist (disgust?), hapy (happiness?), surprize (surprise?)" in line for line in said)
    assert any("--alias disguist=disgust" in line for line in said)
    for labels in (["angry", "happy", "bored", "excited"], ["joy", "calm", "tired", "pain"]):
        assert not any("nearly spelled" in line for line in sentences(read(column(tmp_path, labels * 3))))
