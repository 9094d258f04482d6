"""`fercleaner trial` and `refine --precision` as a user types them; and options that went to another command."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from cli_runs import NAMES, fails, labeled_vectors, manifest, run
from fercleaner.cli import evaluate as judging
from fercleaner.cli.options import SetOptions

import fercleaner
from fercleaner.evaluation import against_truth
from fercleaner.pipeline import trial_figures

VIEW = ("--view", "v=v.npy", "--device", "cpu")
TRIAL = ("trial", "faces.csv", *VIEW, "--methods", "hypergraph,threshold", "--seeds", "2")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder with faces.csv (160 faces, no pictures), v.npy and clean.csv."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FERCLEANER_CACHE", str(tmp_path / "cache"))
    return labeled_vectors(tmp_path, n=160, wrong=16)


# Trials


def test_a_trial_as_a_table_and_as_json(here):
    result = run(*TRIAL, "--inject", "symmetric:0.2", "--inject", "asymmetric:0.1")
    lines = result.stdout.splitlines()
    first = r"faces\.csv: finding flips of 1\d\d of 160 labels, those most methods believe; 2 seeds$"
    assert re.match(first, lines[0])
    assert re.match(r"noise +method +AP +AUROC +R-precision +accuracy +flag precision +flag recall$", lines[1])
    assert sum(line.startswith("symmetric:0.2 ") for line in lines) == 2
    assert sum(line.startswith("asymmetric:0.1 ") for line in lines) == 2
    assert max(map(len, lines)) <= 110
    said = r"(Recommended|No recommendation): (hypergraph|threshold)(, best| has the highest score,) in \d+ % of 200"
    assert re.search(said, result.stderr)
    assert "labels that most methods believe" in result.stderr
    # The next command reads the set with the same options.
    again = r"Next: fercleaner refine faces\.csv --view v=v\.npy --device cpu --method (hypergraph|threshold)"
    assert re.search(again, result.stderr)
    printed = json.loads(run(*TRIAL, "--inject", "symmetric:0.2", "--json").stdout)
    assert set(printed) == {
        "faces",
        "labeled",
        "believed",
        "noises",
        "seeds",
        "noise_rate",
        "methods",
        "leading",
        "recommended",
        "indistinct",
        "draws",
        "skipped",
        "assumed",
    }
    assert (printed["faces"], printed["labeled"], printed["seeds"]) == (160, 160, 2)
    assert set(printed["methods"]) == {"hypergraph", "threshold"}
    best = printed["methods"][printed["leading"]]
    assert best["average_precision"] > 0.6
    assert set(best["by_noise"]["symmetric:0.2"]) == set(trial_figures.MEASURES)


def test_all_methods_leave_out_those_that_cannot_judge(here, monkeypatch):
    from fercleaner import methods

    kept = {name: methods.METHODS[name] for name in ("hypergraph", "au-prior")}
    monkeypatch.setattr(methods, "available", lambda: kept)
    result = run("trial", "faces.csv", *VIEW, "--inject", "symmetric:0.2", "--seeds", "1")
    assert "au-prior was left out: Method 'au-prior' needs action units" in result.stderr
    assert "Recommended: hypergraph, best in 100 % of 200" in result.stderr
    message = fails("trial", "faces.csv", *VIEW, "--inject", "symmetric:0.2", "--methods", "au-prior")
    assert "needs action units" in message


def test_reading_options_reach_the_trial(here):
    images = [f"{i}.png" for i in range(40)]
    lines = [f"{image},{NAMES[i % 4]},g{i // 2}" for i, image in enumerate(images)]
    (here / "grouped.csv").write_text("image,label,group\n" + "\n".join(lines) + "\n")
    np.save(here / "w.npy", np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32))
    arguments = ("trial", "grouped.csv", "--view", "w=w.npy", "--device", "cpu", "--inject", "symmetric:0.2")
    more = ("--methods", "hypergraph", "--seeds", "1")
    assert "20 groups" in run(*arguments, *more).stderr
    assert "groups" not in run(*arguments, *more, "--group-by", "none").stderr


def test_methods_named_one_by_one_are_all_tried(here):
    more = ("--inject", "symmetric:0.2", "--methods", "hypergraph", "--methods", "threshold", "--seeds", "1", "--json")
    assert set(json.loads(run("trial", "faces.csv", *VIEW, *more).stdout)["methods"]) == {"hypergraph", "threshold"}


def test_where_the_default_is_level_with_another_that_is_said(here):
    """Two copies of one noise, two methods that find all flips of parted clusters."""
    more = (
        "--inject",
        "symmetric:0.1",
        "--inject",
        "symmetric:0.2",
        "--methods",
        "consensus,hypergraph",
        "--seeds",
        "1",
    )
    said = run("trial", "faces.csv", *VIEW, *more).stderr
    printed = json.loads(run("trial", "faces.csv", *VIEW, *more, "--json").stdout)
    assert (printed["recommended"], printed["indistinct"]) == ("consensus", ["hypergraph"])
    level = "hypergraph cannot be told from it on this set." in said
    assert level or "hypergraph has a higher score here, but cannot be told from it." in said
    assert "It is the default; " in said


# Two commands


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "faces.csv"], "Missing option '--truth'"),
        (["evaluate", "faces.csv", "--inject", "symmetric:0.2"], "fercleaner trial SET --inject KIND:RATE"),
        (["evaluate", "faces.csv", "--inject=symmetric:0.2", "--truth", "clean.csv"], "fercleaner trial SET"),
        (["evaluate", "a.parquet", "--truth", "clean.csv", "--seeds", "2"], "fercleaner trial SET --seeds N"),
        (["evaluate", "a.parquet", "--truth", "clean.csv", "--methods", "x"], "fercleaner trial SET --methods A,B"),
        (["evaluate", "a.parquet", "--truth", "clean.csv", "--view", "v=v.npy"], "No such option"),
        (["trial", "faces.csv", "--truth", "clean.csv"], "fercleaner evaluate FILE --truth FILE"),
        (["trial", "faces.csv", "--inject", "symmetric:0.2", "--seeds", "0"], "'--seeds'"),
        (["refine", "faces.csv", "--landmark-weights", "x"], "it is now --weights DETECTOR=FILE"),
        (["trial", "faces.csv", "--detector-weights=x"], "it is now --weights yunet=FILE"),
    ],
)
def test_options_of_another_command_are_a_usage_error(here, arguments, message):
    result = run(*arguments, exit_code=2)
    text = re.sub(r"[│╭╮╰╯─\s]+", " ", result.stderr)
    assert "Usage" in text
    assert message in text


def test_a_truth_of_numbers_says_what_they_mean(here):
    """The same figures as by names."""
    run("refine", "faces.csv", *VIEW, "--method", "hypergraph", "--out", "a.parquet")
    header, *rows = (here / "clean.csv").read_text().splitlines()
    number = {name: str(place) for place, name in enumerate(NAMES)}
    coded = [",".join(number.get(cell, cell) for cell in row.split(",")) for row in rows]
    (here / "codes.csv").write_text("\n".join([header, *coded]) + "\n")
    named = run("evaluate", "a.parquet", "--truth", "clean.csv", "--json").stdout
    asked = ("evaluate", "a.parquet", "--truth", "codes.csv", "--json")
    assert "--classes rafdb" in fails(*asked)
    result = run(*asked, "--classes", ",".join(NAMES))
    assert json.loads(result.stdout) == json.loads(named)
    assert "count the classes named from 0" in result.stderr


def test_a_refined_file_is_no_set_and_a_set_no_refined_file(here):
    run("refine", "faces.csv", *VIEW, "--method", "hypergraph")
    message = fails("trial", "faces.refined.parquet", "--inject", "symmetric:0.2")
    assert "faces.refined.parquet is a refined file; a trial takes a set" in message
    assert "fercleaner evaluate faces.refined.parquet --truth FILE" in message
    (here / "folder").mkdir()
    message = fails("evaluate", "folder", "--truth", "clean.csv")
    assert "folder is a folder; --truth judges a refined file" in message
    assert "fercleaner trial folder --inject symmetric:0.2" in message
    assert "is not a Parquet file" in fails("evaluate", "faces.csv", "--truth", "clean.csv")


def test_a_parquet_manifest_is_a_set(here):
    pandas = pytest.importorskip("pandas")
    pandas.read_csv("faces.csv").to_parquet("faces.parquet")
    more = (*VIEW, "--inject", "symmetric:0.2", "--methods", "hypergraph", "--seeds", "1")
    assert "Recommended: hypergraph" in run("trial", "faces.parquet", *more).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--inject", "symetric:0.2"], "Did you mean 'symmetric'"),
        (["--inject", "symmetric"], "needs a rate"),
        (["--inject", "symmetric:2"], "outside [0, 1]"),
        (["--inject", "symmetric:0"], "flips none of the 160 labels"),
        (["--inject", "human:0.2", "--inject", "human:0.2"], "Noise 'human:0.2' is there twice"),
        (["--inject", "symmetric:0.2", "--methods", "hypergrap"], "Did you mean 'hypergraph'"),
        (["--inject", "symmetric:0.2", "--methods", "hypergraph,hypergraph"], "is there twice"),
        (["--inject", "symmetric:0.2", "--methods", ","], "name at least one, or all"),
        (["--inject", "symmetric:0.2", "--index", "exakt"], "Did you mean 'exact'"),
        (["--inject", "symmetric:0.2", "--view", "w=w.npy"], "--view w=w.npy: no such file"),
    ],
)
def test_trials_that_cannot_be_run(here, options, message):
    assert message in fails("trial", "faces.csv", *VIEW, *options)


def test_the_command_knows_the_librarys_defaults():
    assert judging.MIN_VOTES == against_truth.MIN_VOTES
    assert SetOptions().named == []
    assert SetOptions(encoder=["hog"], group_by="none", no_cache=True, workers=0).named == [
        "--encoder",
        "--group-by",
        "--no-cache",
        "--workers",
    ]


# Flags at a precision


def test_precision_replaces_the_flags_and_is_kept_in_the_file(here):
    arguments = ("refine", "faces.csv", *VIEW, "--method", "hypergraph", "--force", "--json")
    plain = json.loads(run(*arguments).stdout)
    assert "precision" not in plain
    result = run(*arguments, "--precision", "0.8")
    assert "Precision: flagged labels of quality" in result.stderr
    held = fercleaner.load("faces.refined.parquet")
    about = held.metadata["precision"]
    assert json.loads(result.stdout)["precision"] == about
    assert set(about) == {"wanted", "estimated", "recall", "threshold", "highest", "noise_rate", "flips", "runs"}
    assert about["wanted"] == 0.8 <= about["estimated"]
    assert np.array_equal(held.flagged, held.quality <= np.float32(about["threshold"]))
    assert held.flagged[:16].mean() > 0.8  # the wrong labels of this set


@pytest.mark.parametrize("value", ["0", "1", "-0.5", "2", "nan", "high"])
def test_precisions_that_mean_nothing_are_a_usage_error(here, value):
    result = run("refine", "faces.csv", *VIEW, f"--precision={value}", exit_code=2)
    assert "Usage" in result.stderr
    assert "--precision" in result.stderr
    assert not (here / "faces.refined.parquet").exists()


def test_a_precision_out_of_reach_flags_nothing_and_says_so(here):
    manifest(here / "noise.csv", [NAMES[i] for i in np.random.default_rng(0).integers(4, size=160)])
    result = run("refine", "noise.csv", *VIEW, "--method", "hypergraph", "--precision", "0.999")
    held = fercleaner.load("noise.refined.parquet")
    about = held.metadata["precision"]
    if about["estimated"] is None:
        assert not held.flagged.any()
        assert "Precision: nothing is flagged" in result.stderr
    else:
        assert about["estimated"] >= 0.999
