"""Manifests: columns, labels, votes, boxes, formats; and the real FERPlus folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import dataset_builders as build
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fercleaner.core.errors import InputError
from fercleaner.datasets import VoteRules, read, recognize
from fercleaner.extraction.images import UnreadableImage, open_face

FERPLUS = Path(os.environ.get("FERCLEANER_FERPLUS", Path(__file__).parents[2] / ".." / "shared" / "ferplus"))
needs_ferplus = pytest.mark.skipif(
    not (FERPLUS / "labels.csv").is_file(), reason="FERCLEANER_FERPLUS names no folder with labels.csv"
)


def manifest(root: Path, content: str, name: str = "faces.csv") -> Path:
    return build.text(root / name, content)


def test_all_columns(tmp_path: Path) -> None:
    build.picture(tmp_path / "a.png", value=7, size=(20, 10))
    file = manifest(
        tmp_path,
        "image,label,id,split,group,site,box,comment\n"
        "a.png,happy,f1,train,s1,lab,2 1 10 6,nice\n"
        'sub/b.png,Angry,f2,test,s1,web,"1,2,3,4",\n'
        "sub/c.png,,f3,train,s2,web,,\n",
    )
    samples = read(file)
    assert samples.layout == "manifest"
    assert samples.classes == ("anger", "happiness")
    assert samples.ids.tolist() == ["f1", "f2", "f3"]
    assert samples.label.tolist() == [1, 0, -1]
    for name, want in (
        ("notes", ["", "", "no label"]),
        ("split", ["train", "test", "train"]),
        ("group", ["s1", "s1", "s2"]),
        ("site", ["lab", "web", "web"]),
    ):
        assert getattr(samples, name).tolist() == want
    assert samples.boxes is not None
    assert samples.boxes[:2].tolist() == [[2, 1, 10, 6], [1, 2, 3, 4]]
    assert np.isnan(samples.boxes[2]).all()
    assert open_face(samples, 0).size == (8, 5)
    with pytest.raises(UnreadableImage, match="file not found"):
        open_face(samples, 1)
    assert read(file, split="test").ids.tolist() == ["f2"]
    assert recognize(file).why == "faces.csv is a table with the columns image, label, id, split, ..."


def test_minimal_manifest_has_no_optional_fields(tmp_path: Path) -> None:
    samples = read(manifest(tmp_path, "image,label\na.png,happy\nb.png,sad\n"))
    assert samples.ids.tolist() == ["a.png", "b.png"]
    for name in ("split", "group", "site", "boxes", "points", "votes"):
        assert getattr(samples, name) is None
    with pytest.raises(InputError, match="has no splits, so --split train cannot be taken"):
        read(tmp_path / "faces.csv", split="train")


@pytest.mark.parametrize("name", ["labels.csv", "manifest.tsv", "labels.parquet"])
def test_formats_in_a_folder(tmp_path: Path, name: str) -> None:
    rows = {
        "image": ["ä/顔 1.png", "b.png"],
        "label": ["happy", None],
        "group": [3, 4],
        "right": [5.0, np.nan],
    }
    frame = pd.DataFrame({**rows, "left": [1.0, np.nan], "top": [2.0, np.nan], "bottom": [9.5, np.nan]})
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    else:
        frame.to_csv(tmp_path / name, index=False, sep="\t" if name.endswith("tsv") else ",")
    build.text(tmp_path / "votes.csv", "image,happy\nx,1\n")
    samples = read(tmp_path, classes=["sad", "happy"])
    assert samples.ids.tolist() == ["ä/顔 1.png", "b.png"]
    assert samples.classes == ("sadness", "happiness")
    assert samples.label.tolist() == [1, -1]
    assert samples.group is not None
    assert samples.group.tolist() == ["3", "4"]
    assert samples.boxes is not None
    assert samples.boxes[0].tolist() == [1, 2, 5, 9.5]
    assert np.isnan(samples.boxes[1]).all()
    assert samples.paths[0] == os.path.join(tmp_path, "ä", "顔 1.png")


def test_bom_semicolons_spaces_and_blank_rows(tmp_path: Path) -> None:
    file = build.text(tmp_path / "x.csv", " Image ; Label \r\na.png ; happy\r\n\r\nb.png;sad\r\n;;\r\n", "utf-8-sig")
    file.write_bytes(file.read_bytes().replace(b";;\r\n", b""))
    samples = read(file)
    assert (samples.ids.tolist(), samples.label.tolist()) == (["a.png", "b.png"], [0, 1])
    manifest(tmp_path, "image,label\na.png,happy\n\n\nb.png,hapyy\nc.png,sad\nd.png,fear\n")
    with pytest.raises(InputError, match=r"faces.csv row 5: label 'hapyy'"):
        read(tmp_path / "faces.csv")


def test_column_names_by_habit_and_by_option(tmp_path: Path) -> None:
    file = manifest(tmp_path, "file_name,emotion,true\na.png,happy,sad\nb.png,sad,happy\n")
    assert read(file).label.tolist() == [0, 1]
    assert read(file, columns={"label": "true"}).label.tolist() == [1, 0]
    with pytest.raises(InputError, match=r"has no column 'truth'; its columns are .* Did you mean 'true'\?"):
        read(file, columns={"label": "truth"})
    with pytest.raises(InputError, match=r"'lable' is not what a column can be .*Did you mean 'label'\?"):
        read(file, columns={"lable": "true"})
    bare = read(file, columns={"label": ""}, classes=["happy", "sad"])
    assert not bare.labeled.any()


def test_a_row_without_a_group_is_alone(tmp_path: Path) -> None:
    samples = read(manifest(tmp_path, "image,label,group\na,happy,1\nb,sad,\nc,sad,\nd,sad,1\n"))
    assert samples.group is not None
    assert samples.group.tolist() == ["1", "alone: b", "alone: c", "1"]


def test_images_says_where_paths_start(tmp_path: Path) -> None:
    build.picture(tmp_path / "pictures" / "a.png", value=4)
    file = manifest(tmp_path / "lists", "image,label\na.png,happy\nsub\\b.png,sad\n/abs/c.png,sad\n")
    samples = read(file, images=tmp_path / "pictures")
    assert int(np.asarray(open_face(samples, 0)).max()) == 4
    assert samples.ids[1] == "sub\\b.png"
    assert samples.paths[1] == os.path.join(tmp_path, "pictures", "sub", "b.png")
    assert samples.paths[2] == "/abs/c.png"
    with pytest.raises(InputError, match=r"no such folder. --images names"):
        read(file, images=tmp_path / "nowhere")


def test_ids_without_pictures(tmp_path: Path) -> None:
    samples = read(manifest(tmp_path, "id,label\n1,happy\n2,sad\n"))
    assert samples.images is None
    assert samples.paths.tolist() == ["", ""]


def test_own_classes_are_taken_as_written(tmp_path: Path) -> None:
    digits = "".join(f"{d}.png,{d}\n" for d in (10, 9, 0, 1))
    assert read(manifest(tmp_path, "image,label\n" + digits)).classes == ("0", "1", "9", "10")
    own = "image,label\na,Cat\nb,dog\nc,neutral\nd,Cat\n"
    assert read(manifest(tmp_path, own)).classes == ("Cat", "dog", "neutral")
    samples = read(tmp_path / "faces.csv", classes=["dog", "neutral", "Cat", "cow"])
    assert samples.label.tolist() == [2, 0, 1, 2]
    assert read(tmp_path / "faces.csv", classes=["dog", "cat", "neutral"]).label.tolist() == [1, 0, 2, 1]


def test_mostly_expressions_make_an_unknown_name_an_error(tmp_path: Path) -> None:
    file = manifest(tmp_path, "image,label\na,angry\nb,fearful\nc,fearfull\nd,smirk\n" + "e,joy\nf,sad\n")
    with pytest.raises(InputError) as caught:
        read(file)
    assert str(caught.value) == (
        "faces.csv row 4: label 'fearfull' is not in the class set (anger, fear, happiness, sadness). "
        "Did you mean 'fear'? Map it with --alias fearfull=fear, or leave such rows unlabeled with "
        "--alias fearfull="
    )
    with pytest.raises(InputError, match=r"row 5: label 'smirk' .* Map it with --alias smirk=NAME, or"):
        read(file, alias={"Fearfull": "fear"})
    samples = read(file, alias={"fearfull": "fear", "smirk": ""})
    assert samples.label.tolist() == [0, 1, 1, -1, 2, 3]
    assert samples.notes is not None
    assert samples.notes[3] == "left out by alias"


@pytest.mark.parametrize(
    ("written", "alias", "message"),
    [
        ("02_sad", {}, r"label '02_sad' is not .* Did you mean 'sadness'\? Map it with --alias 02_sad=sadness"),
        ("4 - Happy!", {}, r"Map it with --alias '4 - Happy!=happiness', or .* --alias '4 - Happy!='$"),
        ("4 smirk", {}, r"Map it with --alias '4 smirk=NAME'"),
        ("sadnes", {}, r"Did you mean 'sadness'\?"),
        ("sad", {"sad": "saddness"}, r"label 'sad' \(saddness\) .* Map it with --alias sad=sadness"),
        ("7", {}, r"Map it with --alias 7=NAME"),
    ],
)
def test_a_name_near_an_expression_that_is_not_in_the_set_yet(
    tmp_path: Path, written: str, alias: dict[str, str], message: str
) -> None:
    file = manifest(tmp_path, f"image,label\na,angry\nb,joy\nc,{written}\nd,fear\n")
    with pytest.raises(InputError, match=message):
        read(file, alias=alias)
    closed = manifest(tmp_path, "image,label\na,angry\nb,02_sad\n")
    with pytest.raises(InputError, match=r"--alias 02_sad=NAME"):
        read(closed, classes=["angry", "happy"])


def test_classes_restrict_and_order(tmp_path: Path) -> None:
    file = manifest(tmp_path, "image,label\na,happy\nb,sad\nc,surprised\n")
    assert read(file, classes=["surprise", "sad", "joy"]).label.tolist() == [2, 1, 0]
    with pytest.raises(InputError, match=r"row 4: label 'surprised' is not in the class set \(sadness, happiness\)"):
        read(file, classes=["sad", "happy"])
    with pytest.raises(InputError, match="--classes names 'happiness' twice"):
        read(file, classes=["happy", "joy"])
    with pytest.raises(InputError, match=r"names 1 class \(rafdbb\).*fer2013, ferplus.* Did you mean 'rafdb'"):
        read(file, classes=["rafdbb"])
    with pytest.raises(InputError, match="--classes names 1 class"):
        read(file, classes=["happy"])


def test_integer_labels_with_a_published_class_set(tmp_path: Path) -> None:
    file = manifest(tmp_path, "image,label\na,1\nb,7\nc,sad\n")
    samples = read(file, classes=["rafdb"])
    assert [samples.classes[i] for i in samples.label] == ["surprise", "neutral", "sadness"]
    with pytest.raises(InputError, match=r"row 3: label 7 is not a code of FER2013, which uses 0 anger, 1 disgust"):
        read(file, classes="fer2013")


def test_vote_columns_become_given(tmp_path: Path) -> None:
    file = manifest(
        tmp_path,
        "image,Happy,sad,anger,unknown,NF,valence,neutral\n"
        "a,6,2,0,2,0,.1,calm\nb,0,0,1,0,9,.2,calm\nc,,,,,,.3,\nd,0,0,0,4,0,.3,\n",
    )
    samples = read(file)
    assert samples.classes == ("anger", "happiness", "sadness")
    assert samples.given.tolist() == [[0, 0.75, 0.25], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert samples.notes is not None
    assert samples.notes.tolist() == ["", "top vote: not a face", "no votes", "no votes"]
    assert samples.votes is not None
    assert samples.votes[0].tolist() == [0, 6, 2]
    two = read(file, classes=["happy", "sad", "fear"])
    assert two.given[0].tolist() == [0.75, 0.25, 0]
    strict = read(file, classes=["fear", "sad"], votes=VoteRules(unknown="unlabeled"))
    assert strict.notes is not None
    assert strict.notes[0] == "top vote: unknown"  # 6 for happy and 2 unknown against 2 for sad


def test_votes_beside_a_label(tmp_path: Path) -> None:
    file = manifest(tmp_path, "image,label,happy,sad\na,sad,.9,.1\nb,sad,,\nc,,,\n")
    with pytest.raises(InputError, match=r"faces.csv row 2: the label is 'sad', but the columns happy, sad say other"):
        read(file)
    samples = read(file, votes=VoteRules(given_from="votes"))
    assert samples.given[:2].tolist() == [pytest.approx([0.9, 0.1]), [0, 1]]
    assert samples.notes is not None
    assert samples.notes.tolist() == ["", "", "no votes"]
    labels = read(file, votes=VoteRules(given_from="label"), classes=["happy", "sad"])
    assert labels.label.tolist() == [1, 1, -1]
    assert labels.votes is None


def test_columns_of_no_class_do_not_become_classes(tmp_path: Path) -> None:
    samples = read(manifest(tmp_path, "image,label,age,score,smile\na,happy,3,.5,1\nb,sad,4,.2,0\n"))
    assert samples.votes is None
    assert samples.classes == ("happiness", "sadness")
    own = manifest(tmp_path, "image,cat,dog,age\na,1,3,50\nb,2,0,60\n")
    assert read(own, classes=["cat", "dog"]).given[0].tolist() == [0.25, 0.75]
    with pytest.raises(InputError, match=r"neither a label column .* its columns are image, cat, dog, age"):
        read(own)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,happy,sad\na,1,2\nb,x,2\n", r"faces.csv row 3: column 'happy' holds 'x', expected a number"),
        ("image,happy,sad\na,1,-2\n", r"faces.csv row 2: column 'sad' holds '-2'"),
        ("image,happy,sad\nb,1,1\na,1,nan\n", r"faces.csv row 3: column 'sad' holds 'nan'"),
        ("image,happy,joy,sad\na,1,2,3\n", r"the columns 'happy' and 'joy' both mean 'happiness'"),
        ("image,label,box\na,happy,1 2 3\n", r"row 2: box '1 2 3' is not 'left top right bottom' in pixels"),
        ("image,label,box\na,happy,5 5 5 9\n", r"row 2: box '5 5 5 9'"),
        ("image,label,left,top,right,bottom\na,happy,1,,3,4\n", r"row 2: box '1  3 4'"),
        ("image,label\na,happy\nb,sad,x\n", r"faces.csv row 3: 3 cells, the header has 2 \(image, label\)"),
        ("image,label\na\n", r"faces.csv row 2: 1 cells"),
        (
            "image,label\na,happy\nb,sad\na,sad\n",
            r"faces.csv row 4: id 'a' stands already in faces.csv row 2",
        ),
        ("image,label\na,happy\n,sad\n", r"faces.csv row 3: the cell of 'image' is empty"),
        ("image,label,id\na,happy,1\nb,sad,\n", r"faces.csv row 3: the cell of 'id' is empty"),
        (
            "portrait,label\na,happy\n",
            r"neither an image column \(image, .*nor an id column; its columns are portrait, label\. .*image=NAME",
        ),
        ("a.PNG,happy\nb.png,sad\n", r"its first row \(a.PNG, happy\) is that of a face.* image,label above it"),
        ("neutral,happy\n1,3\n", r"nor an id column; its columns are neutral, happy"),
        ("image,label,label\na,happy,sad\n", r"faces.csv has two columns named 'label'"),
        (
            "image\na\nb\n",
            r"faces.csv has neither a label column \(label, expression, .* --column label=NAME",
        ),
        (
            "image,label\na,happy\nb,joy\n",
            r"every label is 'happiness'; at least 2 classes .* with --classes",
        ),
        (
            "image,label\na,\nb,\n",
            r"faces.csv row 2: neither this row nor any other has a label.*with --classes",
        ),
        ("image,label\n", r"faces.csv has a header but no rows"),
        ("", r"faces.csv is empty; its first row must name the columns"),
        ('image,label\na,"hap\0py"\n', r"faces.csv row 2 holds a NUL byte"),
    ],
)
def test_bad_manifests(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(manifest(tmp_path, content))


def test_no_labeled_row_is_allowed_with_classes(tmp_path: Path) -> None:
    for content in ("image,label\na,\nb,\n", "image\na\nb\n"):
        samples = read(manifest(tmp_path, content), classes=["happy", "sad"])
        assert not samples.labeled.any()
        assert samples.notes is not None
        assert samples.notes.tolist() == ["no label"] * 2


def test_other_encodings_and_damaged_parquet(tmp_path: Path) -> None:
    content = "image,label\nbücher.png,happy\nb.png,sad\n"
    with pytest.raises(InputError, match=r"x.csv is not UTF-8 text \(byte 0xfc .*Save it as UTF-8"):
        read(build.text(tmp_path / "x.csv", content, "latin-1"))
    for encoding in ("utf-16", "utf-8-sig", "utf-32"):
        assert read(build.text(tmp_path / "x.csv", content, encoding)).ids.tolist() == ["bücher.png", "b.png"]
    with pytest.raises(InputError, match="is not a Parquet file that can be read"):
        read(build.text(tmp_path / "x.parquet", "no"))
    pd.DataFrame({"image": ["a", "b", "c"], "label": ["happy", "sad", "hapy"]}).to_parquet(tmp_path / "z.parquet")
    with pytest.raises(InputError, match=r"z.parquet row 2: label 'hapy'"):
        read(tmp_path / "z.parquet")
    pd.DataFrame({"image": [b"\x89PNG"], "label": ["happy"]}).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(InputError, match="column 'image' holds pictures, not text"):
        read(tmp_path / "y.parquet")


def test_paths_that_hold_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for layout in ("auto", "folders", "manifest", "rafdb"):
        with pytest.raises(InputError, match="none: no such file or folder"):
            read(tmp_path / "none", layout=layout)
    with pytest.raises(InputError, match=r"holds no layout that is known. The folder is empty"):
        read(tmp_path)
    build.text(tmp_path / "x.pdf", "no")
    with pytest.raises(InputError, match=r"empty.csv is empty; its first row must name the columns"):
        recognize(build.text(tmp_path / "empty.csv", ""))
    (tmp_path / "empty.csv").unlink()
    with pytest.raises(InputError, match=r"A list must end in one of .csv"):
        read(tmp_path / "x.pdf")
    with pytest.raises(InputError, match=r"It holds x.pdf"):
        read(tmp_path)
    manifest(tmp_path, "image,label\na,happy\n")
    with pytest.raises(InputError, match=r"If faces.csv is its list, name that file: .*faces.csv"):
        read(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="cannot be read: permission denied"):
        read(tmp_path, layout="folders")


def test_thirty_thousand_rows_are_read(tmp_path: Path) -> None:
    names = ["angry", "happy", "sad"]
    rows = "".join(f"images/{i:05d}.png,{names[i % 3]},{i}\n" for i in range(28_709))
    file = manifest(tmp_path, "image,label,group\n" + rows)
    samples = read(file)
    assert len(samples) == 28_709
    assert samples.label[:4].tolist() == [0, 1, 2, 0]


@needs_ferplus
def test_real_ferplus_folder_takes_labels_and_not_votes() -> None:
    assert recognize(FERPLUS) == ("manifest", "found labels.csv")
    samples = read(FERPLUS)
    assert len(samples) == 28_709
    assert samples.labeled.all()
    assert samples.classes == ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    assert samples.votes is None
    assert samples.ids[0] == "images/00000.png"
    counts = np.bincount(samples.label, minlength=7)
    assert counts.tolist() == [3995, 436, 4097, 7215, 4965, 4830, 3171]


@needs_ferplus
def test_real_ferplus_votes_agree_with_labels_as_its_readme_says() -> None:
    labels = read(FERPLUS / "labels.csv")
    votes = read(FERPLUS / "votes.csv")
    assert votes.ids.tolist() == labels.ids.tolist()
    assert votes.votes is not None
    counts = votes.votes[:, [votes.classes.index(name) for name in labels.classes]]
    contempt = votes.votes[:, votes.classes.index("contempt")]
    clear = (counts.max(1) >= 6) & (contempt < 6)
    assert clear.sum() == 21_733
    assert (counts.argmax(1) == labels.label)[clear].mean() == pytest.approx(0.720, abs=0.0005)


@pytest.mark.parametrize(
    ("codes", "found"),
    [
        ("0 1 2 2", [0, 1, 2, 2]),
        ("1 2 3 3", [0, 1, 2, 2]),
        ("0 1 1 0", [0, 1, 1, 0]),
        ("3 2 2 3", [2, 1, 1, 2]),  # 3 can only be the third class
        ("2.0 0  2.0", [2, 0, -1, 2]),
    ],
)
def test_integer_labels_count_the_classes_that_the_user_names(tmp_path, caplog, codes, found):
    rows = "".join(f"{i}.png,{code}\n" for i, code in enumerate(codes.split(" ")))
    samples = read(manifest(tmp_path, "image,label\n" + rows), classes=["Sad", "dog", "happy"])
    assert samples.classes == ("sadness", "dog", "happiness")
    assert samples.label.tolist() == found
    base = int("3" in codes)
    assert caplog.messages == [
        f"The labels count the classes named from {base}: {base} sadness, {base + 1} dog, {base + 2} happiness."
    ]


def test_integer_labels_that_may_count_otherwise_are_refused(tmp_path):
    file = manifest(tmp_path, "image,label\na,2\nb,1\nc,2\n")
    with pytest.raises(InputError) as refused:
        read(file, classes=["sad", "dog", "my cat"])
    assert str(refused.value) == (
        "faces.csv row 3: the labels are integers from 1 to 2, which can count the 3 classes named from 0 as well as "
        "from 1. Say what each means, from 0: --alias 1=dog --alias '2=my cat', or from 1: --alias 1=sadness "
        "--alias 2=dog"
    )
    told = read(file, classes=["sad", "dog", "my cat"], alias={"1": "dog", "2": "my cat"})
    assert told.label.tolist() == [2, 1, 2]
    for odd in ("3", "-1"):
        file = manifest(tmp_path, f"image,label\na,0\nb,{odd}\nc,1\n")
        with pytest.raises(InputError, match=f"faces.csv row 3: label {odd} is the number of none of the 3 classes"):
            read(file, classes=["sad", "dog", "cat"])
        assert read(file, classes=["sad", "dog", "cat"], alias={odd: ""}).label.tolist() == [0, -1, 1]


def test_labels_that_are_not_all_integers_count_nothing(tmp_path):
    mixed = manifest(tmp_path, "image,label\na,0\nb,happy\n")
    with pytest.raises(InputError, match="row 2: label '0' is not in the class set"):
        read(mixed, classes=["sad", "happy"])
    digits = manifest(tmp_path, "image,label\na,0\nb,1\nc,1\n")
    assert read(digits, classes=["1", "0"]).label.tolist() == [1, 0, 0]
    assert read(digits).classes == ("0", "1")
    votes = manifest(tmp_path, "image,label,sad,happy\na,0,1,0\nb,1,,\n")
    with pytest.raises(InputError, match="row 3: label '1' is not in the class set"):
        read(votes, classes=["sad", "happy"])


@pytest.mark.parametrize("listed", [False, True])
def test_names_in_the_schema_of_a_hub_parquet_file(tmp_path: Path, listed: bool) -> None:
    """Hugging Face's ClassLabel: names by code, which are no positions of the class set here; -1 and null are none."""
    codes: list[int | None] = [2, 0, 3, -1, None]
    kind: dict[str, object] = {"_type": "ClassLabel", "names": ["surprise", "fear", "happy", "sad"]}
    values = [[] if code is None or code < 0 else [code] for code in codes] if listed else codes
    about = {"info": {"features": {"label": {"_type": "List", "feature": kind} if listed else kind}}}

    def write(name: str, labels: object) -> Path:
        table = pa.table({"image": [f"{i}.png" for i in range(5)], "label": labels})
        pq.write_table(table.replace_schema_metadata({b"huggingface": json.dumps(about).encode()}), tmp_path / name)
        return tmp_path / name

    samples = read(write("a.parquet", values))
    assert samples.classes == ("happiness", "sadness", "surprise")
    assert samples.label.tolist() == [0, 2, 1, -1, -1]
    assert read(tmp_path / "a.parquet", classes=["fer2013"]).label.tolist() == [3, 5, 4, -1, -1]
    with pytest.raises(InputError, match=r"b.parquet row 1: label 4 is beyond the 4 names of 'label'"):
        read(write("b.parquet", [[1], [4], [2], [1], [0]] if listed else [1, 4, 2, 1, 0]))
    words = write("c.parquet", ["fear", "sad", "fear", "sad", "joy"])  # renamed since: the schema's entry is an old one
    assert read(words).classes == ("fear", "happiness", "sadness")
