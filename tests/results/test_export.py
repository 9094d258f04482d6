"""Exports: every target read back, labels chosen as asked, nothing else changed."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import replace

import dataset_builders as build
import numpy as np
import pytest
from PIL import Image
from review_cases import CLASSES, HOSTILE, refined_set, with_pictures

from fercleaner import read
from fercleaner.core.errors import InputError, StoreError
from fercleaner.core.files import TEMPORARY
from fercleaner.datasets.folders import PICTURES
from fercleaner.datasets.lines import split_line
from fercleaner.extraction.images import open_face
from fercleaner.results.assemble import _are_parts
from fercleaner.results.export import FORMATS, MARK, Selection, export, export_to
from fercleaner.results.export.folders import NAMES as NAMES_FILE
from fercleaner.results.export.folders import UNLABELED
from fercleaner.results.export.selection import labels_to_write


def original_ids(folder):
    """Id as `fercleaner.read` gives it -> id of the face before the export."""
    with open(folder / NAMES_FILE, encoding="utf-8", newline="") as stream:
        return {file: name for file, name, *_ in list(csv.reader(stream))[1:]}


def refined_of(samples, change=(), flagged=None):
    """Return a refined set of samples whose rows in `change` are refined to the next class, flagged unless said."""
    n, c = len(samples), len(samples.classes)
    change = list(change)
    label = np.where(samples.label >= 0, samples.label, 0)
    label[change] = (label[change] + 1) % c
    marked = np.zeros(n, dtype=bool)
    marked[change if flagged is None else list(flagged)] = True
    distribution = np.full((n, c), 0.1 / (c - 1), dtype=np.float32)
    distribution[np.arange(n), label] = 0.9
    return refined_set(
        ids=samples.ids.tolist(),
        classes=samples.classes,
        paths=samples.paths,
        split=samples.split if samples.split is not None else np.full(n, ""),
        labeled=samples.labeled,
        given=samples.given,
        distribution=distribution,
        flagged=marked & samples.labeled,
        changed=samples.labeled & (label != samples.label),
        quality=np.linspace(0, 1, n),
        weight=np.linspace(1, 0, n),
        metadata={"method": "test", "layout": samples.layout},
    )


def back(refined, target, folder, source, label="flagged", **more):
    """Export in the set's own format and read it again."""
    export_to(refined, target, folder, source=source, samples=read(source), label=label, **more)
    return read(folder)


def check_same(before, after, changed=()):
    """Assert that two sets are equal but for the labels of `changed`, which are of the next class."""
    assert after.ids.tolist() == before.ids.tolist()
    assert after.classes == before.classes
    assert after.layout == before.layout
    expected = before.label.copy()
    for row in changed:
        expected[row] = (max(expected[row], 0) + 1) % len(before.classes)
    assert after.label.tolist() == expected.tolist()
    for name in ("split", "boxes", "points", "group", "site"):
        old, new = getattr(before, name), getattr(after, name)
        assert (old is None) == (new is None), name
        if old is not None:
            assert np.array_equal(old, new, equal_nan=old.dtype.kind == "f"), name
    if before.images is not None:
        for row in range(len(before)):
            assert after.images.read(row) == before.images.read(row)


# Sets in their own format


def manifest_set(root):
    names = [f"p {i}.png" for i in range(6)]
    for i, name in enumerate(names):
        build.picture(root / "faces" / name, value=i)
    labels = ["happy", "sad", "", "fear", "happy", "happy"]
    rows = enumerate(zip(names, labels, strict=True))
    lines = [f"faces/{name};{label};s{i};{i * 0.5}\n" for i, (name, label) in rows]
    build.text(root / "labels.csv", "image;label;group;note, of mine\n" + "".join(lines))
    return root


def affectnet_set(root):
    root.mkdir()
    return build.affectnet_csv(root, [0, 1, 10, 3, 6], [2, 7])


FER2013 = ([0, 3, 6, 2, 1], ["Training", "Training", "PublicTest", "PrivateTest", "Training"])
EXPW = ["a b.jpg 0 1 2 9 9 0.5 3", "a b.jpg 1 0 10 10 20 0.5 0", "c.jpg 0 1 2 9 9 61.12 6"]
#: A small set of every layout that is written in its own format: folder -> path.
SETS = {
    "rafdb": lambda root: build.rafdb(root, [1, 5, 7, 3, 2]),
    "rafdb with boxes": lambda root: build.rafdb(root, [1, 5, 7, 3, 2], folder="original", boxes=True),
    "affectnet": affectnet_set,
    "affectnet-npy": lambda root: build.affectnet_npy(root, [0, 1, 10, 3, 6]),
    "fer2013": lambda root: build.fer2013(root / "fer2013.csv", *FER2013).parent,
    "expw": lambda root: build.expw(root, EXPW, ["a b.jpg", "c.jpg"]),
    "manifest": manifest_set,
}
NAMES = tuple(SETS)


@pytest.mark.parametrize("pictures", ["link", "copy"])
@pytest.mark.parametrize("name", NAMES)
def test_a_set_comes_back_as_it_was_with_the_labels_that_were_flagged(tmp_path, name, pictures):
    source = SETS[name](tmp_path / "in")
    before = read(source)
    target = name.split()[0]
    same = back(refined_of(before), target, tmp_path / "same", source, pictures=pictures)
    check_same(before, same)
    changed = [int(np.flatnonzero(before.labeled)[0]), int(np.flatnonzero(before.labeled)[-1])]
    after = back(refined_of(before, changed), "own", tmp_path / "new", source, pictures=pictures)
    check_same(before, after, changed)
    given = back(refined_of(before, changed), target, tmp_path / "given", source, label="given", pictures=pictures)
    check_same(before, given)
    # changed but not flagged: "flagged" leaves them, "refined" takes them
    unflagged = refined_of(before, changed, flagged=())
    check_same(before, back(unflagged, target, tmp_path / "u", source, pictures=pictures))
    check_same(before, back(unflagged, target, tmp_path / "v", source, label="refined", pictures=pictures), changed)
    if pictures == "copy":
        files = [path for path in (tmp_path / "new").rglob("*") if path.is_symlink()]
        assert not files


@pytest.mark.parametrize("name", [name for name in NAMES if name != "fer2013"])
def test_faces_left_out_are_left_out(tmp_path, name):
    source = SETS[name](tmp_path / "in")
    before = read(source)
    refined = refined_of(before, [0])
    kept = Selection(drop_flagged=True)
    after = back(refined, name.split()[0], tmp_path / "out", source, selection=kept)
    assert after.ids.tolist() == before.ids.tolist()[1:]
    assert after.label.tolist() == before.label.tolist()[1:]


@pytest.mark.parametrize(
    ("boxes", "parts"),
    [
        (None, False),
        ([[np.nan] * 4] * 2, False),
        ([[0, 0, 48, 48], [0, 0, 48, 48], [np.nan] * 4], False),
        ([[5, 5, 40, 40], [5, 5, 40, 40]], True),
        ([[0, 0, 48, 48], [0, 0, 40, 48]], True),
    ],
)
def test_boxes_cut_faces_out_unless_all_are_one_from_the_corner(boxes, parts):
    assert _are_parts(None if boxes is None else np.array(boxes, dtype=np.float32)) == parts


def test_unlabeled_faces_stay_so_unless_asked(tmp_path):
    source = SETS["affectnet-npy"](tmp_path / "in")
    before = read(source)
    assert not before.labeled[2]
    refined = refined_of(before)
    assert not back(refined, "own", tmp_path / "a", source, label="refined").labeled[2]
    filled = back(refined, "own", tmp_path / "b", source, label="refined", fill=True)
    assert filled.label[2] == refined.label[2]


def test_what_did_not_change_is_the_same_byte_for_byte(tmp_path):
    source = SETS["manifest"](tmp_path / "in")
    back(refined_of(read(source)), "manifest", tmp_path / "same", source)
    assert (tmp_path / "same" / "labels.csv").read_text() == (source / "labels.csv").read_text()
    before = (source / "labels.csv").read_text().splitlines()
    back(refined_of(read(source), [0]), "manifest", tmp_path / "new", source)
    after = (tmp_path / "new" / "labels.csv").read_text().splitlines()
    assert [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b] == [1]
    assert after[1] == before[1].replace("happy", "sad")  # the table's own spelling


def written_otherwise(path, how):
    """Write a table of text as another program would."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, delimiter=";" if path.name == "labels.csv" else ","))
    mark = {"bars": "|", "named": ";"}.get(how, ",")
    text = io.StringIO()
    csv.writer(text, delimiter=mark, lineterminator="\n").writerows(rows)
    head = f"sep={mark}\n" if how == "named" else ""
    path.write_bytes((head + text.getvalue()).encode("utf-16" if how == "utf-16" else "utf-8"))


@pytest.mark.parametrize("how", ["bars", "named", "utf-16"])
@pytest.mark.parametrize("name", ["manifest", "affectnet", "fer2013"])
def test_a_table_of_any_program_comes_back(tmp_path, name, how):
    """Bars between columns, Excel's line that names the separator, UTF-16."""
    source = SETS[name](tmp_path / "in")
    for file in source.rglob("*.csv"):
        written_otherwise(file, how)
    before = read(source)
    check_same(before, back(refined_of(before), "own", tmp_path / "same", source))
    changed = [0, len(before) - 1]
    check_same(before, back(refined_of(before, changed), "own", tmp_path / "new", source), changed)


@pytest.mark.parametrize("how", ["tabs", "commas", "blanks and commas", "quoted", "further fields"])
@pytest.mark.parametrize("name", ["rafdb", "expw"])
def test_a_list_of_any_writing_comes_back(tmp_path, name, how):
    """Whatever stands between name and fields, as far as it is read."""
    source = SETS[name](tmp_path / "in")
    file = next(path for path in source.rglob("l*.*") if path.suffix in (".txt", ".lst"))
    written = []
    for line in file.read_text().splitlines():
        face, fields = split_line(line, PICTURES)
        between = {"tabs": "\t", "commas": ", ", "blanks and commas": " , "}.get(how, " ")
        last = ["7"] if how == "further fields" else []
        written.append(between.join([f'"{face}"' if how == "quoted" else face, *fields, *last]))
    file.write_text("\n".join(written) + "\n")
    before = read(source)
    check_same(before, back(refined_of(before), "own", tmp_path / "same", source))
    changed = [0, len(before) - 1]
    check_same(before, back(refined_of(before, changed), "own", tmp_path / "new", source), changed)
    after = next((tmp_path / "new").rglob(file.name)).read_text().splitlines()
    assert after[1:-1] == written[1:-1]


@pytest.mark.parametrize("quotes", ['="{}"', "'{}'"])
def test_a_list_of_affectnet_whose_names_are_quoted_comes_back(tmp_path, quotes):
    source = SETS["affectnet"](tmp_path / "in")
    for file in source.rglob("*.csv"):
        header, *rows = file.read_text().splitlines()
        cells = [row.partition(",") for row in rows]
        quoted = [f"{quotes.format(name)},{rest}" for name, _, rest in cells]
        file.write_text("\n".join([header, *quoted]) + "\n")
    before = read(source)
    assert "'" not in before.ids[0]
    check_same(before, back(refined_of(before, [0]), "own", tmp_path / "new", source), [0])


@pytest.mark.parametrize("name", ["Emotion", "label"])
def test_fer2013_with_another_name_of_its_labels_comes_back(tmp_path, name):
    source = SETS["fer2013"](tmp_path / "in")
    file = source / "fer2013.csv"
    file.write_text(file.read_text().replace("emotion", name, 1))
    before = read(source)
    check_same(before, back(refined_of(before, [0, 4]), "own", tmp_path / "new", source), [0, 4])


def test_a_header_in_the_middle_of_a_manifest_is_left_out(tmp_path):
    source = SETS["manifest"](tmp_path / "in")
    lines = (source / "labels.csv").read_text().splitlines()
    (source / "labels.csv").write_text("\n".join([*lines[:3], lines[0], "", *lines[3:]]) + "\n")
    before = read(source)
    check_same(before, back(refined_of(before, [0, 5]), "manifest", tmp_path / "new", source), [0, 5])
    assert len((tmp_path / "new/labels.csv").read_text().splitlines()) == len(lines)


def test_a_manifest_holds_weights_and_distributions(tmp_path):
    source = SETS["manifest"](tmp_path / "in")
    samples = read(source)
    refined = refined_of(samples, [0])
    soft = back(refined, "manifest", tmp_path / "soft", source, label="distribution")
    labeled = samples.labeled
    assert np.allclose(soft.given[labeled], refined.distribution[labeled], atol=1e-6)
    assert not soft.labeled[~labeled].any()
    given = back(refined, "manifest", tmp_path / "given", source, label="given")
    assert given.label.tolist() == samples.label.tolist()
    with open(tmp_path / "given" / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert [float(row["weight"]) for row in rows] == pytest.approx(refined.weight.tolist())
    assert [row["note, of mine"] for row in rows] == ["0.0", "0.5", "1.0", "1.5", "2.0", "2.5"]


def test_a_manifest_of_votes_and_one_of_numbers(tmp_path):
    build.text(tmp_path / "v" / "labels.csv", "image,anger,fear\na.png,3,1\nb.png,0,4\n")
    samples = read(tmp_path / "v")
    after = back(refined_of(samples, [0]), "manifest", tmp_path / "new", tmp_path / "v")
    assert after.given.tolist() == [[0, 1], [0, 1]]
    build.text(tmp_path / "n" / "labels.csv", "image,label\na.png,1\nb.png,2\nc.png,2\nd.png,1\n")
    numbers = read(tmp_path / "n")
    after = back(refined_of(numbers, [0]), "manifest", tmp_path / "newer", tmp_path / "n")
    assert after.label.tolist() == [1, 1, 1, 0]


def test_a_parquet_manifest(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"image": ["a.png", "b.png", "c.png"], "label": ["fear", "anger", "fear"], "age": [3, 4, 5]})
    frame.to_parquet(tmp_path / "faces.parquet")
    samples = read(tmp_path / "faces.parquet")
    refined = refined_of(samples, [1])
    export_to(refined, "own", tmp_path / "out", source=tmp_path / "faces.parquet", samples=samples)
    after = pd.read_parquet(tmp_path / "out" / "faces.parquet")
    assert after["label"].tolist() == ["fear", "fear", "fear"]
    assert after["age"].tolist() == [3, 4, 5]
    assert after["age"].dtype == frame["age"].dtype


@pytest.mark.parametrize("label", ["flagged", "given", "distribution"])
def test_a_parquet_manifest_keeps_types_and_cells(tmp_path, label):
    """Codes stay whole numbers, large numbers beside a gap stay whole, columns that are not read stay at all."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table(
        {
            "image": ["a.png", "b.png", "c.png", "d.png"],
            "label": pa.array([0, 1, 0, 1], pa.int32()),
            "label_name": pa.array(["fear", "anger", "fear", "anger"]).dictionary_encode(),
            "frame": pa.array([2**60 + 1, None, 3, 4], pa.int64()),
            "vector": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float16(), 2)),
            "about": [{"by": "x", "at": 1}] * 4,
            "thumb": [b"\xff\x00"] * 4,
            "price": pa.array([1, 2, 3, 4], pa.decimal128(10, 2)),
            "note": [None, "", "nan", "x"],
        }
    ).replace_schema_metadata({b"mine": b"kept"})
    file = tmp_path / "faces.parquet"
    pq.write_table(table, file)
    samples = read(file)
    export_to(refined_of(samples, [1]), "own", tmp_path / "out", source=file, samples=samples, label=label)
    after = pq.read_table(tmp_path / "out" / file.name)
    assert after.schema.metadata[b"mine"] == b"kept"
    changed = label != "given"
    for field in table.schema:
        assert after.schema.field(field.name).type == field.type, field.name
        if not (changed and field.name in ("label", "label_name")):
            assert after.column(field.name).equals(table.column(field.name)), field.name
    assert after.column("label").to_pylist() == [0, 0 if changed else 1, 0, 1]
    assert after.column("label_name").to_pylist() == ["fear", "fear" if changed else "anger", "fear", "anger"]
    again = read(tmp_path / "out" / file.name)
    assert again.ids.tolist() == samples.ids.tolist()
    if changed:
        assert again.label.tolist() == [0, 0, 0, 1]


def test_a_parquet_manifest_whose_schema_names_its_labels(tmp_path):
    """Codes with names in the schema, as Hugging Face writes them, are exported as codes with these names."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = {"_type": "ClassLabel", "names": ["surprise", "fear", "angry"]}
    about = {b"huggingface": json.dumps({"info": {"features": {"label": kind}}}).encode()}
    table = pa.table({"image": ["a.png", "b.png", "c.png"], "label": [2, 1, -1]}).replace_schema_metadata(about)
    pq.write_table(table, tmp_path / "faces.parquet")
    for classes, code in ((("fear", "anger"), 2), (("fear", "surprise", "anger"), 0)):
        out, samples = tmp_path / str(code), read(tmp_path / "faces.parquet", classes=classes)
        export_to(refined_of(samples, [1]), "own", out, source=tmp_path / "faces.parquet", samples=samples)
        assert pq.read_table(out / "faces.parquet").column("label").to_pylist() == [2, code, -1]
        assert read(out / "faces.parquet", classes=classes).label[1] == 1
    samples = read(tmp_path / "faces.parquet", classes=["fear", "contempt", "anger"])
    with pytest.raises(InputError, match=r"'label' holds no text, and has no code for a label: .*contempt"):
        export_to(refined_of(samples, [1]), "own", tmp_path / "no", source=tmp_path / "faces.parquet", samples=samples)


def test_pictures_outside_a_manifests_folder_are_refused(tmp_path):
    build.text(tmp_path / "m" / "labels.csv", "image,label\n../x.png,fear\ny.png,anger\n")
    samples = read(tmp_path / "m")
    with pytest.raises(InputError, match=r"'../x.png' lies outside the manifest's folder"):
        export_to(refined_of(samples), "own", tmp_path / "out", source=tmp_path / "m", samples=samples)


# Folders


def test_folders_come_back_and_moved_faces_move(tmp_path):
    files = ["train/fear/a.png", "train/anger/deep/b.png", "test/fear/c.png", "test/anger/a.png"]
    source = build.class_folders(tmp_path / "in", files)
    before = read(source)
    export_to(refined_of(before), "folders", tmp_path / "same")
    same = read(tmp_path / "same")
    check_same(before, same)
    row = before.ids.tolist().index("train/fear/a.png")
    export_to(refined_of(before, [row]), "folders", tmp_path / "new", pictures="copy")
    moved = read(tmp_path / "new")
    assert sorted(moved.ids) == sorted(files)  # an id is a face's, wherever its label puts the file
    place = moved.ids.tolist().index("train/fear/a.png")
    assert moved.paths[place] == str(tmp_path / "new/train/anger/a.png")
    assert moved.classes[moved.label[place]] == "anger"
    assert original_ids(tmp_path / "new")["train/anger/a.png"] == "train/fear/a.png"
    export_to(refined_of(moved), "folders", tmp_path / "twice")
    twice = read(tmp_path / "twice")
    assert dict(zip(twice.ids.tolist(), twice.label.tolist(), strict=True)) == dict(
        zip(moved.ids.tolist(), moved.label.tolist(), strict=True)
    )
    (tmp_path / "new" / ".fercleaner-names.csv").unlink()
    assert sorted(read(tmp_path / "new").ids) == sorted(["train/anger/a.png", *files[1:]])


def test_folders_of_any_ids(tmp_path):
    names = [name for name in HOSTILE if "\0" not in name] + ["nul\0inside", ".hidden", "%2F", "CON"]
    refined = with_pictures(tmp_path / "set", n=len(names))
    refined = replace(
        refined, ids=np.array(names), neighbors_for=((),) * len(names), neighbors_against=((),) * len(names)
    )
    export_to(refined, "folders", tmp_path / "out", label="given")
    after = read(tmp_path / "out")
    ids = original_ids(tmp_path / "out")
    assert sorted(ids.values()) == sorted(names)
    label = {name: after.classes[k] if k >= 0 else "" for name, k in zip(after.ids.tolist(), after.label, strict=True)}
    expected = refined.given_label
    assert label == {name: CLASSES[k] if k >= 0 else "" for name, k in zip(names, expected, strict=True)}
    assert (tmp_path / "out" / "train" / UNLABELED).is_dir()


def test_folders_of_pictures_inside_a_csv(tmp_path):
    source = build.fer2013(tmp_path / "fer2013.csv", [0, 1, 2], ["Training"] * 3)
    samples = read(source)
    export_to(refined_of(samples), "folders", tmp_path / "out", source=source, samples=samples)
    assert len(read(tmp_path / "out")) == 3
    with pytest.raises(StoreError, match=r"has no picture file. Name the set that holds it, --dataset SET"):
        export_to(refined_of(samples), "folders", tmp_path / "again")


def test_folders_hold_faces_cut_out_without_loss(tmp_path):
    source = SETS["rafdb with boxes"](tmp_path / "in")
    samples = read(source)
    for seed, path in enumerate(samples.paths):
        pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, "JPEG")
    export_to(refined_of(samples), "folders", tmp_path / "out", source=source, samples=samples)
    after = read(tmp_path / "out")
    assert sorted(after.ids) == sorted(samples.ids)
    for row, name in enumerate(after.ids.tolist()):
        own = samples.ids.tolist().index(name)
        assert np.array_equal(open_face(after, row), open_face(samples, own))


def test_folders_that_cannot_be_are_refused_and_nothing_is_left(tmp_path):
    refined = refined_set(4, paths=[tmp_path / "nowhere.png"] * 4)
    with pytest.raises(StoreError, match=r"^4 of 4 pictures are not where they should be; first: .*nowhere.png. Run"):
        export_to(refined, "folders", tmp_path / "out")
    with pytest.raises(InputError, match=r"'a/b' cannot be the name of a folder"):
        export_to(refined_set(4, classes=("a/b", "c", "d", "e")), "folders", tmp_path / "out")
    with pytest.raises(InputError, match="folders are nothing but pictures"):
        export_to(refined, "folders", tmp_path / "out", pictures="none")
    assert os.listdir(tmp_path) == []


# Tables and arrays


def test_a_csv_of_any_ids_comes_back(tmp_path):
    refined = refined_set(ids=HOSTILE)
    counted = []
    assert export(refined, tmp_path / "a.csv", escaped=counted.append) == len(HOSTILE)
    assert counted[0] > 0
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    text = [cell for row in rows[1:] for cell in (*row[:5], *row[8:11])]
    assert not [cell for cell in text if cell[:1] in tuple("=+-@\t\r")]
    after = read(tmp_path / "a.csv")
    assert after.ids.tolist() == list(HOSTILE)
    assert np.array_equal(after.given, refined.distribution)


def test_cleanlab_arrays(tmp_path):
    refined = refined_set(ids=HOSTILE)
    export_to(refined, "cleanlab", tmp_path / "out", label="given")
    load = lambda name: np.load(tmp_path / "out" / f"{name}.npy", allow_pickle=False)  # noqa: E731
    rows = np.flatnonzero(refined.labeled)
    assert load("ids").tolist() == refined.ids[rows].tolist()
    assert load("labels").tolist() == refined.given_label[rows].tolist()
    assert np.allclose(load("pred_probs"), refined.distribution[rows], atol=1e-6)
    assert np.allclose(load("pred_probs").sum(1), 1)
    assert load("classes").tolist() == list(CLASSES)
    assert load("weights").tolist() == refined.weight[rows].tolist()


def test_label_studio(tmp_path):
    refined = refined_set(ids=HOSTILE)
    export_to(refined, "label-studio", tmp_path / "out", label="given")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert [task["data"]["id"] for task in tasks] == list(HOSTILE)
    for task, given in zip(tasks, refined.given_label, strict=True):
        said = [part["value"]["choices"] for made in task["predictions"] for part in made["result"]]
        assert said == ([[CLASSES[given]]] if given >= 0 else [])


@pytest.mark.parametrize("label", ["refined", "given", "distribution"])
def test_huggingface(tmp_path, label):
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    n = len(HOSTILE)
    refined = with_pictures(tmp_path / "set", n=n, split=np.array(["train", "test"] * (n // 2)))
    refined = replace(refined, ids=np.array(HOSTILE), neighbors_for=((),) * n, neighbors_against=((),) * n)
    export_to(refined, "huggingface", tmp_path / "out", label=label)
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert set(loaded) == {"train", "test"}
    features = loaded["train"].features
    assert isinstance(features["image"], datasets.Image)
    assert features["label"].names == list(CLASSES)
    assert loaded["train"][0]["image"].size == (24, 24)
    assert np.allclose(loaded["train"][0]["distribution"], refined.distribution[0])
    for path in (tmp_path / "set").iterdir():
        path.unlink()  # the pictures are inside
    after = read(tmp_path / "out")
    place = {name: row for row, name in enumerate(after.ids.tolist())}
    assert set(place) == set(HOSTILE)
    for row, name in enumerate(HOSTILE):
        own = place[name]
        assert after.split[own] == refined.split[row]
        assert bool(after.labeled[own]) == bool(refined.labeled[row])
        if label == "distribution" and refined.labeled[row]:
            assert np.allclose(after.given[own], refined.distribution[row], atol=1e-6)
        elif refined.labeled[row]:
            assert after.label[own] == (refined.label if label == "refined" else refined.given_label)[row]
        assert after.images.read(own)


def test_huggingface_keeps_faces_without_a_split_beside_a_split_called_all(tmp_path):
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    refined = with_pictures(tmp_path / "set", n=6, split=np.array(["all", "", "train"] * 2))
    assert export_to(refined, "huggingface", tmp_path / "out") == 6
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert {name: part["id"] for name, part in loaded.items()} == {
        name: refined.ids[k::3].tolist() for k, name in enumerate(("all", "all_", "train"))
    }


def test_what_a_killed_huggingface_export_leaves_is_swept(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the extra huggingface is not installed")
    made = []
    monkeypatch.setattr(
        datasets.Dataset, "from_generator", lambda *_, cache_dir, **more: made.append(cache_dir) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        export_to(with_pictures(tmp_path / "set", n=6), "huggingface", tmp_path / "out")
    name = os.path.basename(made[0])
    assert name.startswith(TEMPORARY[0])
    assert name.endswith(TEMPORARY[1])


# What is asked for


def test_labels_chosen_by_hand():
    refined = refined_set(20)
    rows = np.arange(20)
    flagged = labels_to_write(refined, rows, "flagged")
    assert flagged.index.tolist() == np.where(refined.flagged, refined.label, refined.given_label).tolist()
    given = labels_to_write(refined, rows, "given")
    assert np.array_equal(given.distribution, refined.given)
    assert not given.replaced.any()
    soft = labels_to_write(refined, rows, "distribution")
    assert np.array_equal(soft.distribution[refined.labeled], refined.distribution[refined.labeled])
    assert not soft.distribution[~refined.labeled].any()
    assert labels_to_write(refined, rows, "refined", fill=True).index.tolist() == refined.label.tolist()
    with pytest.raises(InputError, match=r"--label refind: choose one of .* Did you mean 'refined'\?"):
        labels_to_write(refined, rows, "refind")


def test_formats_say_what_they_cannot_do(tmp_path):
    refined = refined_set()
    for target in ("folders", "label-studio"):
        with pytest.raises(InputError, match="holds one label a face and no distributions"):
            export_to(refined, target, tmp_path / "out", label="distribution")
    for target, known in FORMATS.items():
        if known.layouts:
            with pytest.raises(InputError, match="name the refined set, --dataset SET"):
                export_to(refined, target, tmp_path / "out")
    with pytest.raises(InputError, match=r"choose one of .* Did you mean 'folders'\?"):
        export_to(refined, "folder", tmp_path / "out")
    with pytest.raises(InputError, match="--pictures move: choose one of"):
        export_to(refined, "folders", tmp_path / "out", pictures="move")
    source = SETS["rafdb"](tmp_path / "in")
    with pytest.raises(InputError, match=r"40 of 40 faces .* not in the set \(first: 'face 000.png'\)"):
        export_to(refined, "rafdb", tmp_path / "out", source=source, samples=read(source))
    samples = read(source)
    with pytest.raises(
        InputError,
        match=r"has the layout rafdb.*as folders, huggingface, .* a name that ends in .csv, without --to",
    ):
        export_to(refined_of(samples), "expw", tmp_path / "out", source=source, samples=samples)
    assert not (tmp_path / "out").exists()


def test_folders_of_others_are_never_replaced(tmp_path):
    refined = refined_set()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for force in (False, True):
        with pytest.raises(StoreError, match="holds files that no export wrote"):
            export_to(refined, "cleanlab", tmp_path / "mine", overwrite=force)
    assert (tmp_path / "mine" / "thesis.txt").exists()
    export_to(refined, "cleanlab", tmp_path / "out")
    with pytest.raises(StoreError, match=r"exists already. Overwrite it with --force"):
        export_to(refined, "cleanlab", tmp_path / "out")
    export_to(refined, "label-studio", tmp_path / "out", overwrite=True)
    assert sorted(os.listdir(tmp_path / "out")) == [MARK, "config.xml", "tasks.json"]
    with pytest.raises(StoreError, match=r"does not exist. Make it"):
        export_to(refined, "cleanlab", tmp_path / "no" / "out")


def test_a_failure_leaves_an_older_export_as_it_was(tmp_path, monkeypatch):
    refined = refined_set()
    export_to(refined, "cleanlab", tmp_path / "out")
    before = sorted(os.listdir(tmp_path / "out"))

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(StoreError, match=r"out: the disk is full\. .* The older folder is unchanged\."):
        export_to(refined, "cleanlab", tmp_path / "out", overwrite=True)
    assert sorted(os.listdir(tmp_path / "out")) == before
    assert os.listdir(tmp_path) == ["out"]


def test_a_backslash_in_a_file_name_comes_back_from_a_csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    build.class_folders(tmp_path / "faces", ["happy/a\\0.png", "happy/b.png", "sad/c\\d\\1.png", "sad/e.png"])
    samples = read("faces")
    export(refined_of(samples), tmp_path / "faces.csv")
    again = read("faces.csv")
    assert again.ids.tolist() == samples.ids.tolist()
    assert all(os.path.isfile(path) for path in again.paths)


def test_decided_faces_are_kept_and_not_listed_for_review():
    """Faces 0 to 4 are flagged: 0 and 1 were mended by people, 2 is no face, 3 and 4 are open."""
    ids = [f"f{i}" for i in range(8)]
    flagged = np.arange(8) < 5
    refined = refined_set(
        ids=ids,
        labeled=np.ones(8, dtype=bool),
        given=np.tile(np.float32([1, 0, 0, 0]), (8, 1)),
        weight=np.where(np.arange(8) == 2, 0, 1),
        quality=np.where(flagged, 0.1, 0.9),
        flagged=flagged,
        changed=flagged,
        evidence={},
        neighbors_for=[()] * 8,
        neighbors_against=[()] * 8,
        metadata={"method": "m", "decisions": {"ids": ["f0", "f1", "f2", "f6"]}},
    )
    assert refined.certain.nonzero()[0].tolist() == [0, 1, 6]
    assert Selection(drop_flagged=True).rows(refined).tolist() == [0, 1, 5, 6, 7]
    assert Selection(drop_flagged=True).rows(refined, "given").tolist() == [5, 6, 7]
    assert Selection(only_flagged=True).rows(refined).tolist() == [3, 4]
    assert Selection(drop_unseen=True).rows(refined).tolist() == [0, 1, 6]
    done = replace(refined, metadata={"method": "m", "decisions": {"ids": ids[:5]}})
    with pytest.raises(InputError, match="None of the 8 faces that nobody decided about is flagged"):
        Selection(only_flagged=True).rows(done)


def test_sets_of_a_layout_that_is_only_read_are_written_otherwise(tmp_path):
    (tmp_path / "set" / "train").mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("L", (8, 8), 90).save(tmp_path / "set" / "train" / f"{name}.png")
    (tmp_path / "set" / "train" / "metadata.csv").write_text("file_name,label\na.png,happy\nb.png,sad\n")
    samples = read(tmp_path / "set")
    with pytest.raises(InputError, match=r"sets of the layout imagefolder are only read. Write folders"):
        export_to(refined_of(samples), "own", tmp_path / "own", source=tmp_path / "set", samples=samples)
    export_to(refined_of(samples), "folders", tmp_path / "new", source=tmp_path / "set", samples=samples)
    assert read(tmp_path / "new").label.tolist() == samples.label.tolist()
