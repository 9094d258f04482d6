"""The commands as a user types them: what they write, where, and what goes to stdout and stderr."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cli_runs
import numpy as np
import pytest
from cli_runs import COMMAND, environment, fails, labeled_vectors, manifest, process, run
from dataset_builders import affectnet_npy
from fercleaner.cli import main
from fercleaner.cli.app import WANTS

import fercleaner
from fercleaner.core.expressions import CLASS_SETS

HEAVY = ("torch", "pandas", "pyarrow", "faiss", "scipy", "numpy", "skimage")
EVALUATE_KEYS = {
    "faces",
    "judged",
    "noise_rate",
    "auroc",
    "auroc_per_class",
    "average_precision",
    "r_precision",
    "given_accuracy",
    "refined_accuracy",
    "js_given",
    "js_refined",
    "flags",
}
SMALL = ("--set", "k=5", "--device", "cpu")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """A demo of 42 faces."""
    folder = tmp_path_factory.mktemp("cli") / "drawn"
    result = run("demo", folder, "--faces", "42", "--seed", "3")
    assert "Wrote 42 faces" in result.stderr
    assert "wrong labels: 8 of 42" in result.stderr
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, empty, with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERCLEANER_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def vectors(here):
    return labeled_vectors(here)


@pytest.fixture
def refined(vectors):
    run("refine", "faces.csv", "--view", "v=v.npy", *SMALL)
    return vectors / "faces.refined.parquet"


@pytest.mark.parametrize("arguments", [["--help"], ["refine", "--help"], ["--version"], ["doctor", "--help"]])
def test_help_imports_nothing_heavy(arguments):
    code = (
        "import sys\nfrom fercleaner.cli import main\n"
        f"sys.argv = ['fercleaner', *{arguments}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"print('imported:', [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert done.stderr.strip() == "imported: []"
    assert done.stdout


def test_python_dash_m_is_the_command():
    done = process("--version")
    assert (done.returncode, done.stdout) == (0, f"fercleaner {fercleaner.__version__}\n")
    done = subprocess.run(
        [sys.executable, "-c", "import fercleaner.__main__, sys; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "False\n"


@pytest.mark.parametrize("with_packages", [True, False])
def test_a_clone_that_is_not_installed_runs_or_says_what_to_do(tmp_path, with_packages):
    root = Path(fercleaner.__file__).resolve().parents[1]
    for folder in ("fercleaner", "cli"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.pyc", "weights"))
    packages = [path for path in sys.path if path.endswith("site-packages")] if with_packages else []
    code = (
        f"import runpy, sys\nsys.path[:0] = {[str(tmp_path), *packages]}\nsys.argv = ['fercleaner', '--version']\n"
        "runpy.run_module('fercleaner', run_name='__main__', alter_sys=True)"
    )
    # -S: nothing that is installed is known, the editable fercleaner of this environment neither
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env=environment())
    if with_packages:
        assert (done.returncode, done.stdout) == (0, f"fercleaner {fercleaner.__version__}\n"), done.stderr
    else:
        assert done.returncode == 1
        assert done.stderr.startswith("fercleaner is not installed; faiss, numpy, PIL")
        assert f"pip install -c constraints.txt . (in {tmp_path})" in done.stderr


def test_help_names_every_command_and_example():
    text = run("--help").stdout
    places = [text.index(f"─ {want} ─") for want in WANTS]
    assert places == sorted(places)
    for command in (command.__name__ for commands in WANTS.values() for command in commands):
        assert f" {command} " in text
        helped = run(command, "-h").stdout
        assert "<bool>" not in text + helped
    assert "fercleaner refine rafdb/" in run("refine", "-h").stdout


def test_the_file_lands_in_the_current_folder_under_the_sets_name(vectors):
    result = run("refine", "faces.csv", "--view", "v=v.npy", *SMALL)
    assert result.stdout == ""
    assert "Layout: manifest" in result.stderr
    assert "Wrote faces.refined.parquet: 48 faces" in result.stderr
    assert "Next: fercleaner show faces.refined.parquet" in result.stderr
    assert len(fercleaner.load("faces.refined.parquet")) == 48
    assert sorted(p.name for p in vectors.iterdir()) == ["clean.csv", "faces.csv", "faces.refined.parquet", "v.npy"]


def test_vectors_alone_open_no_picture_and_find_the_wrong_labels(refined):
    held = fercleaner.load(refined)
    assert held.changed[:4].all()
    assert held.quality[:4].max() < held.quality[4:].min()


def test_out_and_force(vectors):
    arguments = ("refine", "faces.csv", "--view", "v=v.npy", *SMALL, "--out", "sub.parquet")
    run(*arguments)
    before = (vectors / "sub.parquet").read_bytes()
    message = fails(*arguments)
    assert message == ("StoreError: sub.parquet exists already. Overwrite it with --force, or choose another name.")
    assert (vectors / "sub.parquet").read_bytes() == before
    run(*arguments, "--force", "--seed", "0")
    assert (vectors / "sub.parquet").read_bytes() == before


def test_a_folder_and_a_table_of_one_name_do_not_take_one_file(drawn, vectors):
    os.symlink(drawn, vectors / "faces")
    folder = ("refine", "faces", "--encoder", "hog", "--workers", "0", "--method", "hypergraph", *SMALL)
    table = ("refine", "faces.csv", "--view", "v=v.npy", *SMALL)
    run(*folder)
    before = (vectors / "faces.refined.parquet").read_bytes()
    message = fails(*table, "--force")
    assert "faces.refined.parquet was made from faces/, not from faces.csv." in message
    assert (vectors / "faces.refined.parquet").read_bytes() == before
    run(*folder, "--force")
    run(*table, "--out", "faces.refined.parquet", "--force")
    assert fercleaner.load("faces.refined.parquet").metadata["made_from"] == "faces.csv"


def test_a_link_to_a_set_is_called_by_its_own_name(vectors):
    os.symlink(vectors / "faces.csv", vectors / "mine.csv")
    run("refine", "mine.csv", "--view", "v=v.npy", *SMALL)
    assert (vectors / "mine.refined.parquet").is_file()


def test_opencv_is_told_to_keep_its_warnings_to_itself(monkeypatch):
    monkeypatch.delenv("OPENCV_LOG_LEVEL", raising=False)
    monkeypatch.setattr(sys, "argv", ["fercleaner", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["OPENCV_LOG_LEVEL"] == "ERROR"


def test_no_flag_at_all_is_no_promise(vectors):
    np.save("noise.npy", np.random.default_rng(1).normal(size=(48, 6)))
    said = run("refine", "faces.csv", "--view", "v=noise.npy", "--method", "hypergraph", *SMALL).stderr
    assert "flagged 0 of 48" in said
    again = "fercleaner trial faces.csv --view v=noise.npy --device cpu"
    assert "No label is flagged: they are right, or this evidence does not tell the classes apart" in said
    assert f"Which of the two: {again}\n" in said
    assert "No label is flagged" not in run("refine", "faces.csv", "--view", "v=v.npy", *SMALL, "--force").stderr


def test_flags_on_half_of_a_set_are_in_doubt(vectors):
    rng = np.random.default_rng(1)
    np.save("noise.npy", rng.normal(size=(600, 6)))
    rows = "".join(f"f{i}.png,{label}\n" for i, label in enumerate(rng.choice(["anger", "fear", "neutral"], 600)))
    Path("noise.csv").write_text(f"image,label\n{rows}")
    how = ("--method", "threshold", "--device", "cpu")
    said = run("refine", "noise.csv", "--view", "v=noise.npy", *how).stderr
    assert "labels are flagged: as many are wrong, or this evidence does not tell the classes apart" in said
    plain = run("refine", "faces.csv", "--view", "v=v.npy", *how, "--force").stderr
    assert "labels are flagged: as many" not in plain


def test_numbers_of_annotators_mean_what_classes_says(vectors):
    samples = fercleaner.read("faces.csv")
    codes = [CLASS_SETS["fer2013"].classes.index(samples.classes[k]) for k in samples.label]
    rows = "".join(f"{i},p{k},{code}\n" for i, code in zip(samples.ids, codes, strict=True) for k in range(2))
    Path("people.csv").write_text(f"image,annotator,label\n{rows}")
    how = ("refine", "faces.csv", "--view", "v=v.npy", "--annotators", "people.csv", "--out", "p.parquet", *SMALL)
    assert "Say what these mean: --classes" in fails(*how)
    run(*how, "--classes", "fer2013")
    refined = fercleaner.load("p.parquet")
    assert [refined.classes[k] for k in refined.given_label] == [samples.classes[k] for k in samples.label]


def test_refined_files_are_named_as_parquet(vectors):
    arguments = ("refine", "faces.csv", "--view", "v=v.npy", *SMALL)
    message = fails(*arguments, "--out", "refined.csv")
    assert "--out refined.csv: refined files are Parquet; give the file the ending .parquet." in message
    assert not (vectors / "refined.csv").exists()
    assert "is a folder" in fails(*arguments, "--out", vectors)


def test_a_promise_of_memory_is_checked_before_the_set_is_read_and_told_of_at_the_end(vectors):
    arguments = ("refine", "faces.csv", "--view", "v=v.npy", "--method", "hypergraph", "--device", "cpu")
    assert "--memory lots: expected a size such as" in fails(*arguments, "--memory", "lots")
    refused = fails("refine", "nowhere.csv", "--method", "landmark", "--memory", "8GiB")
    assert "how much memory landmark needs was not measured" in refused
    assert "hypergraph needs about 1.2 GiB for 48 faces in 1 view" in fails(*arguments, "--memory", "1GiB")
    assert not (vectors / "faces.refined.parquet").exists()
    told = run(*arguments, "--memory", "64GiB").stderr
    assert "of 64.0 GiB were held, mapped files included." in told


def test_the_next_command_can_be_pasted(vectors):
    arguments = ("refine", "faces.csv", "--view", "v=v.npy", *SMALL)
    assert "Next: fercleaner show 'my faces.parquet'\n" in run(*arguments, "--out", "my faces.parquet").stderr
    shown = run("show", "my faces.parquet").stderr
    assert "Next: fercleaner export 'my faces.parquet' 'my faces.flagged.csv' --only-flagged\n" in shown
    assert "fercleaner evaluate 'my faces.parquet' --truth FILE" in shown
    drawn = run("demo", "a demo", "--faces", "14").stderr
    assert "Next: fercleaner refine 'a demo' --encoder hog --landmarks 'points:a demo/landmarks.npz'" in drawn
    assert "Then: fercleaner evaluate 'a demo.refined.parquet' --truth 'a demo/clean_labels.csv'" in drawn


def test_rows_without_a_label_are_told_with_why(vectors):
    lines = (vectors / "faces.csv").read_text().splitlines()
    lines[1], lines[2] = "nowhere/0.png,", "nowhere/1.png,hmm"
    (vectors / "some.csv").write_text("\n".join(lines) + "\n")
    arguments = ("refine", "some.csv", "--view", "v=v.npy", *SMALL, "--alias", "hmm=")
    assert "labeled 46 of 48 (95.8 %); unlabeled: 1 no label, 1 left out by alias." in run(*arguments).stderr


def test_classes_that_are_numbers_are_told(vectors):
    text = (vectors / "faces.csv").read_text()
    for code, name in enumerate(cli_runs.NAMES):
        text = text.replace(f",{name}\n", f",{code}\n")
    (vectors / "codes.csv").write_text(text)
    arguments = ("refine", "codes.csv", "--view", "v=v.npy", *SMALL)
    assert "The classes are the numbers 0, 1, 2, 3. Say what they mean" in run(*arguments).stderr
    named = run(*arguments, "--classes", "fer2013", "--force").stderr
    assert "numbers" not in named


def test_json_of_refine_is_all_of_stdout(vectors):
    result = run("refine", "faces.csv", "--view", "v=v.npy", *SMALL, "--json")
    printed = json.loads(result.stdout)
    assert set(printed) == {"file", "method", "faces", "labeled", "flagged", "changed"}
    assert (printed["file"], printed["faces"], printed["labeled"]) == ("faces.refined.parquet", 48, 48)


def test_labels_balanced_by_hand_are_noticed_where_base_rates_are_of_the_wild(vectors):
    same = ["refine", "faces.csv", "--view", "v=v.npy", "--force"]
    assert "--set base_rates=even" in run(*same).stderr
    assert "base_rates" not in run(*same, "--set", "base_rates=even").stderr
    assert "base_rates" not in run(*same, "--method", "hypergraph").stderr
    manifest("numbers.csv", [str(i % 3) for i in range(48)])
    assert "base_rates" not in run("refine", "numbers.csv", "--view", "v=v.npy").stderr  # nothing is known of these


def test_set_reaches_the_method_and_the_file(vectors):
    run("refine", "faces.csv", "--view", "v=v.npy", "--set", "k=7", "--set", "base_rates=even")
    params = fercleaner.load("faces.refined.parquet").metadata["params"]
    assert (params["k"], params["base_rates"]) == (7, "even")


def test_pictures_by_hog_and_points_of_a_drawn_set(drawn, here):
    result = run(
        *("refine", drawn, "--encoder", "hog", "--landmarks", f"points:{drawn / 'landmarks.npz'}"),
        *("--out", "a.parquet", "--workers", "0", *SMALL),
    )
    assert "hog: 42 of 42 faces computed, 0 from the cache" in result.stderr
    held = fercleaner.load("a.parquet")
    assert [view["name"] for view in held.metadata["views"]] == ["hog", "landmarks"]
    assert held.metadata["layout"] == "rafdb"
    again = run("refine", drawn, "--encoder", "hog", "--out", "b.parquet", "--workers", "0", *SMALL)
    assert "hog: 0 of 42 faces computed, 42 from the cache" in again.stderr
    without = run("refine", drawn, "--encoder", "hog", "--out", "c.parquet", "--workers", "0", "--no-cache", *SMALL)
    assert "42 of 42 faces computed" in without.stderr
    assert (here / "b.parquet").read_bytes() == (here / "c.parquet").read_bytes()


def test_images_says_where_a_manifests_paths_start(drawn, here):
    pictures = sorted((drawn / "Image" / "aligned").iterdir())[:20]
    labels = [cli_runs.NAMES[i % 4] for i in range(20)]
    cli_runs.manifest(here / "list.csv", labels, [p.name for p in pictures])
    arguments = ("refine", "list.csv", "--encoder", "hog", "--workers", "0", *SMALL)
    assert "--images DIR" in fails(*arguments)
    result = run(*arguments, "--images", drawn / "Image" / "aligned")
    assert "20 of 20 faces computed" in result.stderr


def test_two_encoders_of_a_kind_are_two_views(vectors):
    result = fails("refine", "faces.csv", "--encoder", "hog", "--encoder", "hog")
    assert "--encoder hog is there twice" in result


def test_show_as_a_table_and_as_json(refined):
    result = run("show", refined.name, "--top", "3")
    assert result.stdout.startswith("faces.refined.parquet: 48 faces, method consensus\nclass ")
    sentences = [line for line in result.stdout.splitlines() if "labeled " in line]
    assert sentences  # as long as there is evidence to name; a terminal wraps them
    assert max(len(line) for line in result.stdout.splitlines() if line not in sentences) <= 120
    assert "Look at these first" in result.stdout
    assert "\x1b" not in result.stdout
    assert "of 48 (" in result.stderr
    printed = json.loads(run("show", refined.name, "--json", "--top", "2").stdout)
    assert printed["faces"] == 48
    assert len(printed["suspects"]) == 2
    assert printed["suspects"][0]["id"] in {f"nowhere/{i}.png" for i in range(4)}


def test_show_leaves_out_empty_lists_and_names_faces_without_evidence(vectors):
    held = np.load("v.npy")
    held[[5, 9]] = np.nan
    np.save("w.npy", held)
    quiet = ("--method", "hypergraph", *SMALL)
    run("refine", "clean.csv", "--view", "w=w.npy", *quiet)
    shown = run("show", "clean.refined.parquet", "--top", "3").stdout
    assert "Most often changed" not in shown
    assert "not flagged" in shown
    lines = shown.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Without evidence, "))
    assert [line.split()[0] for line in lines[start + 2 : start + 4]] == ["nowhere/5.png", "nowhere/9.png"]
    assert "no view of this face" in lines[start + 2]


def test_what_is_known_of_no_face_is_no_number(vectors):
    run("refine", "faces.csv", "--view", "v=v.npy", *SMALL, "--classes", f"{','.join(cli_runs.NAMES)},contempt")
    lines = run("show", "faces.refined.parquet").stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("Expected noise"))
    rows = {line.split()[0]: line.split()[1:] for line in lines[start + 2 : start + 7]}
    assert rows["contempt"] == ["-"] * 5
    assert "-" not in rows["anger"]


def on_a_terminal(*arguments):
    """Run a command with an 80-column terminal as stdout; return the lines, without colors."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=follower,
        stderr=subprocess.PIPE,
        env=environment(COLUMNS="80", TERM="xterm"),
    )
    os.close(follower)
    text = b""
    while True:
        try:
            part = os.read(leader, 65536)
        except OSError:
            break
        if not part:
            break
        text += part
    os.close(leader)
    child.communicate(timeout=60)
    assert child.returncode == 0
    return re.sub(r"\x1b\[[0-9;]*m|\r", "", text.decode()).splitlines()


def test_show_and_evaluate_fit_a_terminal_of_80_columns(refined):
    lines = on_a_terminal("evaluate", refined.name, "--truth", "clean.csv")
    assert max(map(len, lines)) <= 80
    assert any(line.split()[:1] == ["happiness"] for line in lines)  # no name is broken over two lines
    lines = on_a_terminal("show", refined, "--top", "2")
    assert any("Look at these first" in line for line in lines)
    assert max(map(len, lines[1:])) <= 80


def test_evaluate_has_exactly_the_promised_keys(refined):
    printed = json.loads(run("evaluate", refined.name, "--truth", "clean.csv", "--json").stdout)
    assert set(printed) == EVALUATE_KEYS
    assert set(printed["flags"]) == {"precision", "recall", "f1"}
    assert printed["faces"] == printed["judged"] == 48
    assert printed["noise_rate"] == pytest.approx(4 / 48)
    assert printed["auroc"] == 1.0
    table = run("evaluate", refined.name, "--truth", "clean.csv")
    assert "Judged 48 of 48 (100.0 %) faces." in table.stderr
    assert "AUROC of finding them  " in table.stdout
    assert "flags: f1" in table.stdout
    assert "contradicts no given label" not in table.stderr


def test_evaluate_says_what_became_of_each_class(refined):
    lines = run("evaluate", refined.name, "--truth", "clean.csv").stdout.splitlines()
    start = lines.index("By class: given labels and how many are wrong; true faces, and their recall")
    assert lines[start + 1].split("  ")[0] == "class"
    rows = [line.split() for line in lines[start + 2 : start + 6]]
    given, clean = (
        np.array([line.split(",")[1] for line in (refined.parent / name).read_text().split()[1:]])
        for name in ("faces.csv", "clean.csv")
    )
    label = np.array(fercleaner.load(refined).classes)[fercleaner.load(refined).label]
    for row in rows:
        mine, true = given == row[0], clean == row[0]
        counts = [mine.sum(), (mine & ~true).sum(), true.sum()]
        assert [int(row[1]), int(row[2]), int(row[5])] == counts
        assert float(row[6]) == pytest.approx((mine & true).sum() / true.sum(), abs=6e-4)
        assert float(row[7]) == pytest.approx(((label == row[0]) & true).sum() / true.sum(), abs=6e-4)
    assert max(map(len, lines)) <= 80
    assert "mean recall per class of refined labels" in "\n".join(lines)


def test_a_truth_that_is_the_set_itself_is_noticed(refined):
    assert "The truth contradicts no given label" in run("evaluate", refined.name, "--truth", "faces.csv").stderr


def test_what_is_not_a_number_is_null_in_json(refined):
    printed = json.loads(run("evaluate", refined.name, "--truth", "faces.csv", "--json").stdout)
    assert printed["noise_rate"] == 0
    assert printed["auroc"] is None


def test_nan_and_infinity_become_null(capsys):
    from fercleaner.cli.console import print_json

    print_json({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": (-float("inf"), None, "é")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": [None, None, "é"]}}


def test_a_reader_that_goes_away_is_no_error(refined):
    line = f"{sys.executable} -m fercleaner show {refined} --json --top 48 | head -c 10"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=environment())
    assert done.stdout == '{\n  "faces'[:10]
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_methods_lists_and_explains():
    listed = json.loads(run("methods", "--json").stdout)
    assert {"k", "alpha"} <= set(listed["hypergraph"]["parameters"])
    assert listed["hypergraph"]["needs"] == ["neighbors"]
    table = run("methods").stdout
    assert all(f"\n{name} " in table for name in listed)
    one = run("methods", "hypergraph")
    assert re.search(r"^parameter +default +meaning\nk +15 +Neighbors a hyperedge\n", one.stdout, re.MULTILINE)
    assert "Source" not in one.stdout
    assert "fercleaner methods hypergraph --formulas" in one.stderr
    whole = run("methods", "hypergraph", "--formulas").stdout
    assert whole.startswith(one.stdout)
    assert "Source" in whole
    assert "name the method" in fails("methods", "--formulas")
    for name, entry in listed.items():  # every parameter is explained in its method's docstring
        rows = run("methods", name).stdout.split("meaning\n")[1].splitlines()[: len(entry["parameters"])]
        assert all(len(row.split(maxsplit=2)) == 3 for row in rows), name
    assert "Did you mean 'hypergraph'?" in fails("methods", "hypergrahp")


def test_demo_refuses_what_is_not_its_own(drawn, here):
    (here / "mine").mkdir()
    (here / "mine" / "thesis.txt").write_text("do not touch")
    assert "mine" in fails("demo", "mine", "--faces", "14")
    assert (here / "mine" / "thesis.txt").read_text() == "do not touch"
    assert run("demo", "mine2", "--faces", "3", exit_code=2).stdout == ""


def test_export_to_csv_reads_back_as_a_set(refined):
    result = run("export", refined.name, "all.csv")
    assert "Wrote all.csv: 48 of 48 (100.0 %) faces." in result.stderr
    held = fercleaner.load(refined)
    with open("all.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == held.ids.tolist()
    written = np.array([[row[name] for name in held.classes] for row in rows]).astype(np.float32)
    np.testing.assert_array_equal(written, held.distribution)
    assert [row["given_label"] for row in rows] == [held.classes[i] for i in held.given_label]
    assert [row["reason"] for row in rows] == held.reason.tolist()
    assert any(held.reason)
    assert [row["neighbors_for"] for row in rows] == ["; ".join(ids) for ids in held.neighbors_for]
    assert [row["neighbors_against"] for row in rows] == ["; ".join(ids) for ids in held.neighbors_against]
    samples = fercleaner.read("all.csv")
    assert samples.classes == held.classes
    np.testing.assert_allclose(samples.given, held.distribution, atol=1e-6)


def test_an_exported_csv_finds_its_pictures_from_another_folder(drawn, here):
    os.symlink(drawn, here / "drawn")
    run("refine", "drawn", "--encoder", "hog", "--out", "a.parquet", "--workers", "0", *SMALL)
    (here / "for trainer").mkdir()
    for out in ("here.csv", "for trainer/there.csv"):
        run("export", "a.parquet", out)
        samples = fercleaner.read(out)
        assert all(Path(path).is_file() for path in samples.paths)
        with open(out, newline="") as stream:
            images = [row["image"] for row in csv.DictReader(stream)]
        assert not any(Path(image).is_absolute() for image in images)
        assert all("drawn/Image" in image for image in images)  # a link on the way stays as it is
    table = fercleaner.load("a.parquet")
    assert Path(samples.paths[0]).samefile(table.paths[0])


def test_export_of_pictures_that_are_elsewhere_leaves_paths_alone(refined):
    Path("sub").mkdir()
    run("export", refined.name, "sub/all.csv")
    with open("sub/all.csv", newline="") as stream:
        assert next(csv.DictReader(stream))["image"] == fercleaner.load(refined).paths[0]


def test_export_to_npz_leaves_out_what_it_is_told_to(refined):
    held = fercleaner.load(refined)
    run("export", refined.name, "kept.npz", "--drop-flagged", "--min-weight", "0.1", "--drop-unlabeled")
    kept = ~held.flagged & (held.weight >= 0.1)
    assert 0 < kept.sum() < 48
    with np.load("kept.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == held.ids[kept].tolist()
        np.testing.assert_array_equal(arrays["distribution"], held.distribution[kept])
        assert arrays["classes"].tolist() == list(held.classes)
    assert "must end in .csv or .npz" in fails("export", refined.name, "kept.txt")
    assert "has no split 'train'" in fails("export", refined.name, "x.csv", "--split", "train")
    assert "exists already" in fails("export", refined.name, "kept.npz")


def test_export_takes_splits(drawn, here):
    run("refine", drawn, "--encoder", "hog", "--out", "a.parquet", "--workers", "0", *SMALL)
    run("export", "a.parquet", "test.csv", "--split", "test")
    with open("test.csv", newline="") as stream:
        assert {row["split"] for row in csv.DictReader(stream)} == {"test"}
    assert "Did you mean 'test'?" in fails("export", "a.parquet", "b.csv", "--split", "tets")


def test_cache_is_measured_and_cleared(drawn, here):
    assert "holds 0 bytes from 0 encoders" in run("cache").stderr
    run("refine", drawn, "--encoder", "hog", "--out", "a.parquet", "--workers", "0", *SMALL)
    held = json.loads(run("cache", "--json").stdout)
    assert held["folder"] == str(here / "cache")
    assert held["bytes"] == sum(p.stat().st_size for p in (here / "cache").rglob("*") if p.is_file())
    [entry] = held["encoders"]
    assert entry["spec"]["kind"] == "hog"
    assert entry["key"] in run("cache").stdout
    assert "holds no such encoder" in fails("cache", "--of", "nosuchkey", "--clear")
    assert "Removed" in run("cache", "--clear", "--of", entry["key"]).stderr
    assert "0 bytes from 0 encoders" in run("cache").stderr
    assert "Removed 0 bytes" in run("cache", "--prune", "1.5 GiB").stderr
    assert "expected a size such as 500MiB" in fails("cache", "--prune", "lots")
    assert "without --clear" in fails("cache", "--prune", "0", "--clear")


def test_doctor_says_what_is_here(here):
    done = process("doctor", "--json", cwd=here)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["packages"]["numpy"] == np.__version__
    assert found["cache_folder"] == str(here / "cache")
    assert found["cache_size"] == {"specs": 0, "shards": 0, "bytes": 0}
    tools = {tool["tag"]: tool for tool in found["encoders"]}
    assert tools["hog"]["ready"] is True
    assert {"builtin", "face-alignment", "mediapipe"} == {tool["tag"] for tool in found["detectors"]}
    assert not (here / "cache").exists()


def test_doctor_as_a_table(here, monkeypatch):
    from fercleaner.pipeline import doctor

    models = here / "models"
    models.mkdir()
    (models / "face_landmarker.task").write_bytes(b"")
    monkeypatch.setenv("FERCLEANER_MODELS", str(models))
    monkeypatch.setattr(doctor, "_gpus", lambda: ("A card",))
    monkeypatch.setattr(doctor, "ENCODERS", {"hog": doctor._hog})
    result = run("doctor")
    assert "A card" in result.stdout
    assert "--encoder hog" in result.stdout
    if doctor._package("mediapipe", "mediapipe") == "":
        assert str(models / "face_landmarker.task") in result.stdout
    assert "Cache: " in result.stderr


def test_the_landmarks_that_affectnet_ships_are_a_view(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    codes = [0, 1] * 12
    root = affectnet_npy(tmp_path / "affectnet", codes)
    rng = np.random.default_rng(0)
    shape = rng.uniform(20, 200, (68, 2))
    for i, code in enumerate(codes):
        points = shape + rng.normal(0, 1, (68, 2))
        points[48:, 1] += 15 * code
        np.save(root / "train_set" / "annotations" / f"{i}_lnd.npy", points.ravel())
    done = run("refine", root, "--encoder", "none", "--method", "hypergraph")
    assert "the set's own 68 points" in done.stderr
    refined = fercleaner.load(tmp_path / "affectnet.refined.parquet")
    assert [view["name"] for view in refined.metadata["views"]] == ["landmarks"]
    assert not refined.flagged.any()


def test_a_view_cannot_take_the_name_of_the_boxs_landmarks(drawn, here):
    np.save(here / "v.npy", np.random.default_rng(0).normal(size=(42, 4)))
    message = fails("refine", drawn, "--encoder", "builtin", "--view", "landmarks=v.npy")
    assert "Two views are called 'landmarks'" in message


def test_export_never_overwrites_the_set_itself(vectors):
    run("refine", "faces.csv", "--view", "v=v.npy", *SMALL)
    before = Path("faces.csv").read_bytes()
    for force in ((), ("--force",)):
        said = fails("export", "faces.refined.parquet", "faces.csv", *force)
        assert "never overwritten. Choose another name, such as faces.clean.csv" in said
    assert Path("faces.csv").read_bytes() == before


def test_export_of_flagged_faces_alone_is_a_list_to_review(refined):
    held = fercleaner.load(refined)
    result = run("export", refined.name, "review.csv", "--only-flagged")
    assert 1 < held.flagged.sum() < 48
    assert f"Wrote review.csv: {held.flagged.sum()} of 48" in result.stderr
    with open("review.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["id"] for row in rows} == set(held.ids[held.flagged].tolist())
    quality = [float(row["quality"]) for row in rows]
    assert quality == sorted(quality)
    assert all(row["reason"] and row["image"] for row in rows)
    run("export", refined.name, "review.npz", "--only-flagged")
    with np.load("review.npz", allow_pickle=False) as arrays:
        assert arrays["ids"].tolist() == [row["id"] for row in rows]
    both = fails("export", refined.name, "no.csv", "--only-flagged", "--drop-flagged")
    assert "--drop-flagged and --only-flagged together leave no face. Give one of them." in both
    run("refine", "clean.csv", "--view", "v=v.npy", "--method", "hypergraph", "--set", "alpha=0", *SMALL)
    none = fails("export", "clean.refined.parquet", "no.csv", "--only-flagged")
    assert "None of the 48 faces is flagged: there is nothing to review." in none
    assert not Path("no.csv").exists()


def test_faces_with_unreadable_pictures_are_told_of_and_left_out(drawn, here):
    shutil.copytree(drawn, "faces")
    samples = fercleaner.read("faces")
    cut, gone, text = (Path(samples.paths[row]) for row in (2, 5, 11))
    cut.write_bytes(cut.read_bytes()[:200])
    gone.unlink()
    text.write_bytes(b"no picture")
    told = run("refine", "faces", "--encoder", "hog", "--landmarks", "none", "--workers", "0", *SMALL).stderr
    assert "No evidence about 3 of 42 (7.1 %) faces: their given labels stay, " in told
    assert "fercleaner export faces.refined.parquet FILE.csv --drop-unseen leaves them out." in told
    held = fercleaner.load("faces.refined.parquet")
    for row, why in ((2, "truncated image"), (5, "file not found"), (11, "not an image")):
        assert held.reason[row].endswith(f"; no view of this face ({why}): the label is kept")
    assert "--drop-unseen leaves these out" in run("show", "faces.refined.parquet").stdout
    run("export", "faces.refined.parquet", "seen.csv", "--drop-unseen")
    with open("seen.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == [name for row, name in enumerate(held.ids.tolist()) if row not in (2, 5, 11)]


def test_integer_labels_count_the_classes_named(vectors):
    text = Path("faces.csv").read_text()
    for number, name in enumerate(cli_runs.NAMES, 1):
        text = text.replace(f",{name}", f",{number}")
    Path("numbers.csv").write_text(text)
    told = run("refine", "numbers.csv", "--view", "v=v.npy", *SMALL, "--classes", ",".join(cli_runs.NAMES)).stderr
    assert "The labels count the classes named from 1: 1 anger, 2 fear, 3 happiness, 4 neutral." in told
    run("refine", "faces.csv", "--view", "v=v.npy", *SMALL, "--classes", ",".join(cli_runs.NAMES))
    by_number, by_name = (fercleaner.load(f"{name}.refined.parquet") for name in ("numbers", "faces"))
    assert by_number.classes == by_name.classes
    np.testing.assert_array_equal(by_number.given, by_name.given)
