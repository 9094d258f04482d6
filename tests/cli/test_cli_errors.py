"""Bad input through the real command: one clear message and an exit code, or a counted reason; never a traceback."""

from __future__ import annotations

import errno
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from cli_runs import COMMAND, NAMES, environment, fails, labeled_vectors, manifest, process, run
from fercleaner.cli.options import SetOptions
from PIL import Image

import fercleaner
from fercleaner import datasets
from fercleaner.core import files
from fercleaner.core.errors import InputError, StoreError
from fercleaner.extraction import run as extraction
from fercleaner.results import parquet

SMALL = ("--set", "k=5", "--device", "cpu")
VIEW = ("--view", "v=v.npy", *SMALL)
HOG = ("--encoder", "hog", "--workers", "0", *SMALL)
LABELS = [NAMES[i % 4] for i in range(48)]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder with faces.csv (no pictures), v.npy and clean.csv; a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERCLEANER_CACHE", str(tmp_path / "cache"))
    return labeled_vectors(tmp_path)


@pytest.fixture
def untouched(monkeypatch):
    """Fails the test where a picture is read."""

    def read(*args, **kwargs):
        pytest.fail("a picture was read before what is cheap to check was checked")

    monkeypatch.setattr(extraction, "extract", read)


def texture(seed, size=(48, 48), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size).convert(mode)


@pytest.fixture
def pictures(here):
    """Ten usable pictures p0.png ... and set.csv that lists them."""
    for i in range(10):
        texture(i).save(here / f"p{i}.png")
    return here


def listed(folder, more, name="set.csv"):
    images = [f"p{i}.png" for i in range(10)] + list(more)
    return manifest(folder / name, [NAMES[i % 4] for i in range(len(images))], images).name


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoder", "hogg"], "--encoder hogg: choose one of .*Did you mean 'hog'"),
        (["--method", "hypergrap"], "Method 'hypergrap' is not known. Did you mean 'hypergraph'"),
        (["--landmarks", "mediapip"], "Did you mean 'mediapipe'"),
        (["--landmarks", "points:"], "names no file"),
        (["--landmarks", "points:none.npz"], "Landmark file none.npz: no such file"),
        (["--weights", "mediapipe=x"], "name the detector, too: --landmarks mediapipe"),
        (["--layout", "rafd"], "Did you mean 'rafdb'"),
        (["--index", "exakt"], "--index exakt.*Did you mean 'exact'"),
        (["--device", "gpu"], "device 'gpu' is not known"),
        (["--set", "k"], "--set k: expected NAME=VALUE"),
        (["--set", "kk=3"], "has no parameter 'kk'.*Did you mean 'k'"),
        (["--set", "k=many"], "--set k=many: .* takes k as a"),
        (["--set", "k=0"], "k = 0"),
        (["--view", "v.npy"], "'v.npy' is not NAME=FILE"),
        (["--view", "w=w.npy"], "--view w=w.npy: no such file"),
        (["--view", "hog=v.npy", "--encoder", "hog"], "Two views are called 'hog'"),
        (["--view", "joint=v.npy"], "A view cannot be called 'joint'"),
        (["--weights", "v.npy", "--encoder", "hog"], r"none of the encoders and detectors \(hog\) take weights"),
        (["--weights", "nowhere.pt", "--encoder", "clip"], "--weights nowhere.pt does not exist"),
        (["--action-units", "aus.csv"], "--action-units aus.csv: no such file"),
        (["--column", "labels=label"], "Did you mean 'label'"),
        (["--column", "label=emo"], "no column 'emo'"),
        (["--votes", "tie=share"], "Did you mean 'ties'"),
        (["--votes", "ties=x"], "Vote rule ties is 'x'"),
        (["--alias", "joy"], "--alias joy: expected NAME=VALUE"),
        (["--classes", "anger,fear"], "label 'happiness' is not in the class set"),
        (["--images", "nowhere"], "nowhere: no such folder"),
        (["--split", "train"], "has no splits"),
        (["--group-by", "subject"], "no column 'subject'"),
        (["--crop", "box"], "--crop box: faces.csv says of no face where it is. Add a column box"),
    ],
)
def test_options_that_cannot_be_used(here, untouched, options, message):
    base = [] if "--encoder" in options else ["--view", "v=v.npy"]
    assert re.search(message, fails("refine", "faces.csv", *base, *options))
    assert not (here / "faces.refined.parquet").exists()


@pytest.mark.parametrize(("crop", "boxed"), [("auto", True), ("box", True), ("none", False)])
def test_boxes_of_the_set_are_said_to_be_used_where_they_are(here, capsys, monkeypatch, crop, boxed):
    monkeypatch.delenv("FERCLEANER_MODELS", raising=False)
    (here / "boxed.csv").write_text("image,label,box\na.png,joy,1 1 9 9\nb.png,sad,2 2 9 9\n")
    opened = SetOptions(encoder=["builtin"], crop=crop, device="cpu").open(here / "boxed.csv")
    assert (opened.samples.boxes is not None) == boxed
    said = capsys.readouterr().err
    first = {"auto": "the set says where the faces are; after that, pictures are taken whole: no face detector here"}
    assert first.get(crop, "pictures are") in said
    assert ("the set says" in said) == (crop == "auto")


def test_options_are_written_as_they_were_typed(here):
    options = SetOptions(view=["v=v 1.npy", "w=w.npy"], no_cache=True, seed=3, split=["train"], images=here)
    written = options.again(here / "my faces.csv")
    assert shlex.split(written)[1:] == [
        *("--view", "v=v 1.npy", "--view", "w=w.npy", "--images", str(here), "--split", "train"),
        *("--no-cache", "--seed", "3"),
    ]
    assert shlex.split(written)[0] == str(here / "my faces.csv")
    assert SetOptions().again(here / "a") == str(here / "a")


def test_cuda_without_a_gpu(here, untouched, monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    message = fails("refine", "faces.csv", "--encoder", "hog", "--device", "cuda")
    assert message == "InputError: --device cuda: FAISS sees no GPU here. Use --device auto or cpu."


@pytest.mark.parametrize(
    "arguments",
    [["refine"], ["refine", "x", "--nosuch"], ["refine", "x", "--workers", "-1"], ["evaluate", "x"], ["refyne"]],
)
def test_usage_is_exit_code_2(arguments):
    assert "Usage" in run(*arguments, exit_code=2).stderr


def test_debug_shows_the_traceback(here):
    done = process("--debug", "show", "nothing.parquet", cwd=here)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "StoreError: nothing.parquet: no such file" in done.stderr
    plain = process("show", "nothing.parquet", cwd=here)
    assert plain.stderr == "StoreError: nothing.parquet: no such file. Write one with fercleaner refine.\n"
    assert plain.returncode == 1


# Sets and labels


def test_sets_that_are_not_there(here):
    assert fails("refine", "nowhere") == "InputError: nowhere: no such file or folder."
    for command in (
        "read",
        "refine",
        "audit --out page",
        "show",
        "project",
        "train --out model",
        "extract --to vectors",
    ):
        said = fails(*command.split(), "https://x.org/faces.zip")
        assert "https://x.org/faces.zip is an address" in said
        assert said.endswith("Download it first, unpack it where it is an archive, and name the folder or file.")
    for scheme in ("s3", "gs", "hdfs"):
        said = fails("read", f"{scheme}://bucket/faces.csv")
        assert said.endswith(f"The pictures of a list may stay: its image column takes {scheme}:// addresses.")
    with pytest.raises(
        InputError, match=r"^https://x\.org/set is an address, and sets, lists and refined files are read"
    ):
        fercleaner.read("https://x.org/set")
    assert fails("read", "file:///faces/a.csv").endswith("write the path alone, without file://: /faces/a.csv")
    (here / "empty").mkdir()
    assert "The folder is empty" in fails("refine", "empty")
    (here / "notes.txt").write_text("hello")
    assert "notes.txt" in fails("refine", "notes.txt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("image,label\n", "has a header but no rows"),
        ("image\na.png\nb.png\n", "neither a label column"),
        ("label\njoy\nfear\n", "image"),
        ("image,label\na.png,joy\nb.png,sad,extra\n", "row 3: 3 cells, the header has 2"),
        ("image,label\na.png,joy\nb.png\n", "row 3: 1 cells, the header has 2"),
        ("image,label\na.png,joy\na.png,sad\n", "row 3: id 'a.png' stands already in"),
        ("image,label\na.png,joy\nb.png,joy\n", "every label is 'happiness'; at least 2 classes"),
        ("image,label\na.png,\nb.png,\n", "neither this row nor any other has a label"),
    ],
)
def test_tables_that_cannot_be_read(here, untouched, content, message):
    (here / "bad.csv").write_text(content)
    assert message in fails("refine", "bad.csv", "--encoder", "hog")


def test_an_unknown_label_of_a_known_class_set(here):
    manifest(here / "bad.csv", ["joy", "fearfull"] * 24)
    message = fails("refine", "bad.csv", "--classes", "rafdb", *VIEW)
    assert "bad.csv row 3: label 'fearfull' is not in the class set" in message
    assert "Did you mean 'fear'" in message
    assert "--alias fearfull=fear" in message
    run("refine", "bad.csv", "--classes", "rafdb", "--alias", "fearfull=fear", *VIEW)
    assert fercleaner.load("bad.refined.parquet").labeled.all()


def test_no_labeled_row_although_the_classes_are_named(here):
    manifest(here / "bad.csv", [""] * 48)
    assert "carries a label" in fails("refine", "bad.csv", "--classes", "rafdb", *VIEW)


def test_a_class_with_one_face_and_one_with_none(here):
    manifest(here / "rare.csv", ["disgust", *LABELS[1:]])
    run("refine", "rare.csv", "--classes", "anger,disgust,fear,happiness,neutral,contempt", *VIEW)
    held = fercleaner.load("rare.refined.parquet")
    assert len(held.classes) == 6
    assert np.isfinite(held.distribution).all()


def test_k_beyond_the_set_is_a_note(here):
    result = run("refine", "faces.csv", "--view", "v=v.npy", "--set", "k=48", "--device", "cpu")
    assert "k = 48, but a face has only 47 others; all of them are its neighbors." in result.stderr


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_folder_that_may_not_be_read(here):
    (here / "closed").mkdir(mode=0)
    assert "closed" in fails("refine", "closed")


# Views


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v: v[:7], "has 7 rows, the set has 48 faces"),
        (lambda v: _with(v, (3, 2), np.nan), "row 3, column 2 is nan"),
        (lambda v: _with(v, (5, 0), np.inf), "row 5, column 0 is inf"),
        (lambda v: v[:, 0], "expected a vector a face"),
        (lambda v: v.astype("U8"), "expected numbers"),
    ],
)
def test_views_that_do_not_fit(here, change, message):
    np.save("w.npy", change(np.load("v.npy")))
    assert message in fails("refine", "faces.csv", "--view", "w=w.npy")


def _with(values, where, value):
    values[where] = value
    return values


def test_a_face_without_a_vector_is_data(here):
    vectors = np.load("v.npy")
    vectors[7] = np.nan
    np.save("w.npy", vectors)
    result = run("refine", "faces.csv", "--view", "w=w.npy", *SMALL)
    assert "w: 1 of 48 faces have none (1 the view's row is NaN throughout)" in result.stderr
    held = fercleaner.load("faces.refined.parquet")
    assert not held.changed[7]


# Pictures


def test_pictures_that_cannot_be_read_are_counted_with_their_reason(pictures):
    whole = (pictures / "p0.png").read_bytes()
    (pictures / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "empty.png").write_bytes(b"")
    (pictures / "text.png").write_text("not a picture")
    (pictures / "folder.png").mkdir()
    bad = ["cut.png", "empty.png", "text.png", "missing.png", "folder.png"]
    result = run("refine", listed(pictures, bad), *HOG)
    assert "hog: 10 of 15 faces computed, 0 from the cache" in result.stderr
    assert "hog: 5 pictures give no vector (" in result.stderr
    assert "1 file not found" in result.stderr
    assert "first: ./cut.png" in result.stderr
    held = fercleaner.load("set.refined.parquet")
    assert not held.changed[10:].any()
    assert all(held.reason[10:])


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "I;16", "1", "F"])
def test_pictures_of_every_kind_are_read(pictures, mode):
    name = f"odd.{'tif' if mode in ('CMYK', 'F') else 'png'}"
    if mode == "I;16":
        Image.fromarray(np.linspace(0, 65535, 48 * 48).reshape(48, 48).astype(np.uint16)).save(name)
    else:
        texture(99, mode="RGBA" if mode == "LA" else ("L" if mode == "F" else mode)).convert(mode).save(name)
    assert Image.open(name).mode == mode
    result = run("refine", listed(pictures, [name]), *HOG)
    assert "11 of 11 faces computed" in result.stderr
    assert "cannot be read" not in result.stderr


def test_no_picture_at_all(here):
    message = fails("refine", "faces.csv", *HOG)
    assert "None of the 48 pictures can be read (first: ./nowhere/0.png: file not found)" in message
    assert "--images DIR" in message


def test_a_cache_of_another_encoder_is_not_used(pictures, monkeypatch):
    from fercleaner.encoders import hog

    listed(pictures, [])
    run("refine", "set.csv", *HOG, "--out", "a.parquet")
    real = hog.build

    def other(*args, **kwargs):
        built = real(*args, **kwargs)
        monkeypatch.setattr(type(built), "spec", {**built.spec, "version": "another"})
        return built

    monkeypatch.setattr(hog, "build", other)
    result = run("refine", "set.csv", *HOG, "--out", "b.parquet")
    assert "10 of 10 faces computed, 0 from the cache" in result.stderr


def test_a_cache_that_lies_about_its_encoder_is_refused(pictures):
    listed(pictures, [])
    run("refine", "set.csv", *HOG, "--out", "a.parquet")
    [spec] = (pictures / "cache").glob("*/spec.json")
    spec.write_text(spec.read_text().replace('"hog"', '"dog"'))
    message = fails("refine", "set.csv", *HOG, "--out", "b.parquet")
    assert "describes another encoder" in message
    assert "--cache" in message


def test_a_damaged_shard_is_found_out_and_made_again(pictures):
    listed(pictures, [])
    run("refine", "set.csv", *HOG, "--out", "a.parquet")
    [shard] = (pictures / "cache").glob("*/*.shard")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    result = run("refine", "set.csv", *HOG, "--out", "b.parquet")
    assert "is damaged; it was removed and its vectors are made again" in result.stderr
    assert "10 of 10 faces computed" in result.stderr
    assert (pictures / "a.parquet").read_bytes() == (pictures / "b.parquet").read_bytes()


def test_a_cache_that_cannot_be_made(pictures):
    (pictures / "file").write_text("")
    message = fails("refine", listed(pictures, []), *HOG, "--cache", "file")
    assert message.startswith("StoreError: the feature cache file cannot be written to")
    assert "--no-cache" in message


# Weights


def test_clip_without_weights_says_what_where_and_the_ways_out(pictures):
    listed(pictures, [])
    done = process("refine", "set.csv", "--encoder", "clip", cwd=pictures, HF_HUB_CACHE=str(pictures / "hub"))
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message.startswith("FeatureError: the weights of clip:ViT-B-32/laion2b_s34b_b79k are not here. Wanted: ")
    assert "open_clip_model.safetensors" in message
    assert str(pictures / "hub") in message
    assert "--weights FILE" in message
    assert "--encoder hog" in message
    assert "Traceback" not in done.stderr


def test_weights_that_are_no_checkpoint(pictures):
    message = fails("refine", listed(pictures, []), "--encoder", "torchvision:resnet18", "--weights", "set.csv")
    assert "set.csv is not a weights file that can be read safely" in message
    assert "weights_only" not in message


def test_no_landmarks_found_is_data_with_a_count(pictures):
    listed(pictures, [])
    points = np.random.default_rng(0).uniform(0, 48, (10, 68, 2))
    points[4:6] = np.nan
    np.save("points.npy", points)
    result = run("refine", "set.csv", *HOG, "--landmarks", "points:points.npy")
    assert "landmarks: 2 of 10 faces have none (2 no landmarks in the file); first: p4.png" in result.stderr


def test_a_detector_without_weights(pictures, monkeypatch):
    pytest.importorskip("mediapipe")
    monkeypatch.delenv("FERCLEANER_MODELS", raising=False)
    message = fails("refine", listed(pictures, []), "--encoder", "hog", "--landmarks", "mediapipe")
    assert "face_landmarker.task, which is in none of" in message
    assert "--weights mediapipe=FILE" in message


# Output


def test_outputs_that_cannot_be_written(here, untouched):
    assert "the folder" in fails("refine", "faces.csv", *VIEW, "--out", "no/such/file.parquet")
    (here / "folder").mkdir()
    assert "folder is a folder" in fails("refine", "faces.csv", *VIEW, "--out", "folder")
    if os.geteuid() != 0:
        (here / "closed").mkdir(mode=0o500)
        assert "cannot be written" in fails("refine", "faces.csv", *VIEW, "--out", "closed/x.parquet")


def test_a_disk_that_is_full_leaves_the_older_file(here, monkeypatch):
    run("refine", "faces.csv", *VIEW)
    before = (here / "faces.refined.parquet").read_bytes()

    monkeypatch.setattr(files, "_create_beside", _full_after_the_check(files._create_beside))
    message = fails("refine", "faces.csv", *VIEW, "--force")
    assert "the disk is full" in message
    assert "The older file is unchanged." in message
    assert (here / "faces.refined.parquet").read_bytes() == before
    assert not list(here.glob(".fercleaner-*"))


def _full_after_the_check(create):
    """The first file (of the check) can be made, later ones cannot."""
    made = []

    def later(target):
        if made:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        made.append(target)
        return create(target)

    return later


@pytest.mark.skipif(sys.platform == "win32", reason="no limit on the size of files there")
def test_a_file_that_may_not_grow(here):
    code = (
        "import resource, signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "from fercleaner.cli import main\n"
        "sys.argv = 'fercleaner refine faces.csv --view v=v.npy --set k=5 --device cpu'.split()\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=here, env=environment())
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("StoreError: ")
    assert "cannot be written" in last
    assert "Traceback" not in done.stderr
    assert sorted(p.name for p in here.iterdir()) == ["clean.csv", "faces.csv", "v.npy"]


def test_stdout_on_a_full_disk(here):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    run("refine", "faces.csv", *VIEW)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "show", "faces.refined.parquet", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


# Refined files and truths


@pytest.mark.parametrize("command", [["show"], ["evaluate", "--truth", "clean.csv"], ["export", "out.csv"]])
def test_files_that_are_not_ours(here, command):
    name, *rest = command
    assert "no such file" in fails(name, "none.parquet", *rest)
    assert "is not a Parquet file" in fails(name, "faces.csv", *rest)
    pandas = pytest.importorskip("pandas")
    pandas.DataFrame({"a": [1]}).to_parquet("other.parquet")
    assert "not written by fercleaner" in fails(name, "other.parquet", *rest)


def test_a_refined_file_cut_short(here):
    run("refine", "faces.csv", *VIEW)
    content = (here / "faces.refined.parquet").read_bytes()
    (here / "cut.parquet").write_bytes(content[: len(content) // 2])
    assert "cut.parquet is damaged" in fails("show", "cut.parquet")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image,label\nelsewhere.png,joy\n", "none of its 1 names belongs to a face of the set"),
        ("image,label\nnowhere/0.png,joyless\n", "joyless"),
        ("image,label\n", "has a header but no rows"),
        (
            "portrait,label\nnowhere/0.png,joy\n",
            "or name it: --image-column NAME",
        ),
        ("image,other\nnowhere/0.png,joy\n", "has no label column"),
        ("image,anger,fear\nnowhere/0.png,1,2\n", "no votes column for class 'happiness'"),
        ("image,anger,fear,happiness,neutral\nnowhere/0.png,1,2,x,0\n", "x"),
    ],
)
def test_truths_that_cannot_be_used(here, content, message):
    run("refine", "faces.csv", *VIEW)
    (here / "truth.csv").write_text(content)
    assert message in fails("evaluate", "faces.refined.parquet", "--truth", "truth.csv")
    assert "no such file" in fails("evaluate", "faces.refined.parquet", "--truth", "none.csv")


def test_an_error_of_the_system_is_one_line(here, monkeypatch):
    def load(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(parquet, "load", load)
    assert run("show", "x.parquet", exit_code=1).stderr == "Error: x.parquet: Permission denied.\n"


@pytest.mark.parametrize(
    ("arguments", "resumes"),
    [(["project", "faces.csv"], True), (["trial", "x", "--inject", "symmetric:0.2"], True), (["show", "x"], False)],
)
def test_a_stopped_run_says_whether_it_goes_on(here, monkeypatch, arguments, resumes):
    def stop(path):
        raise KeyboardInterrupt

    (here / "faces.refined.parquet").touch()
    monkeypatch.setattr(parquet, "load", stop)
    monkeypatch.setattr(datasets, "recognize", stop)
    said = run(*arguments, exit_code=130).stderr
    assert said.startswith("Stopped.")
    assert ("are not computed twice" in said) == resumes


def test_a_bug_is_not_dressed_up(here, monkeypatch):
    def load(path):
        raise RuntimeError("a bug")

    monkeypatch.setattr(parquet, "load", load)
    with pytest.raises(RuntimeError, match="a bug"):
        run("show", "x.parquet")


def test_errors_are_boxed_on_a_terminal_only(here, monkeypatch):
    monkeypatch.setattr(parquet, "load", lambda path: (_ for _ in ()).throw(StoreError("no [bold]markup[/bold]")))
    monkeypatch.setenv("FORCE_COLOR", "1")
    boxed = run("show", "x", exit_code=1).stderr
    assert "╭" in boxed
    assert "[bold]markup[/bold]" in boxed
    monkeypatch.delenv("FORCE_COLOR")
    assert run("show", "x", exit_code=1).stderr == "StoreError: no [bold]markup[/bold]\n"
