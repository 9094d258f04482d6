"""Which folders a training writes into: never over other files or what it reads, whatever `overwrite` says."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_cases import SMALL, drawn, drawn_faces, trained

from fercleaner.core.errors import FercleanerError, StoreError
from fercleaner.extraction.images import FileImages
from fercleaner.training import Run, Soft, TrainingSet, fit_sites, of_each_site

ONE = Soft(epochs=1, batch=16)


def by_sites(out: Path, names: tuple[str, ...] = ("a", "b"), **run: Any) -> dict[str, Any]:
    faces = drawn_faces()
    site = np.array([names[k % len(names)] for k in range(len(faces.samples))])
    faces = replace(faces, samples=faces.samples.replacing(site=site))
    sites = {name: (part, part) for name, part in of_each_site(faces).items()}
    return fit_sites(ONE, SMALL, sites, out, Run(device="cpu", **run))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("train", [lambda out, **run: trained(ONE, out, **run), by_sites], ids=["one", "sites"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_other_files_is_never_written_into(train: Any, overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("image,label\n")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log.csv").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"holds other files \(a, \.\.\.\)"):
        train(tmp_path, overwrite=overwrite)
    (tmp_path / "checkpoint.safetensors").write_bytes(b"of another program")
    with pytest.raises(StoreError, match="holds other files"):
        train(tmp_path, overwrite=overwrite)
    (tmp_path / "checkpoint.safetensors").unlink()
    assert contents(tmp_path) == before


def test_a_site_never_takes_a_folder_of_other_files(tmp_path: Path) -> None:
    """The folder holds a training, and one in it, of a site's name, is the user's."""
    by_sites(tmp_path / "out", ("b", "c"))
    (tmp_path / "out" / "a").mkdir()
    (tmp_path / "out" / "a" / "log.csv").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"a holds other files \(log\.csv"):
        by_sites(tmp_path / "out", ("a", "b", "c"), overwrite=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_weights_that_a_training_starts_from_are_kept(overwrite: bool, tmp_path: Path) -> None:
    trained(ONE, tmp_path / "w")
    by_sites(tmp_path / "s")
    before = contents(tmp_path)
    from fercleaner.training import Backbone, fit

    faces, run = drawn_faces(), Run(device="cpu", overwrite=overwrite)
    for folder, file in (("w", "w/best.safetensors"), ("s/a", "s/a/model.safetensors")):
        start = Backbone("small", 32, str(tmp_path / file))
        with pytest.raises(StoreError, match=r"(own input is never overwritten|holds other files)"):
            fit(ONE, start, faces, faces, tmp_path / folder, run)
    start = Backbone("small", 32, str(tmp_path / "s/a/best.safetensors"))
    parts = of_each_site(replace(faces, samples=faces.samples.replacing(site=np.array(["a", "b"] * 32))))
    with pytest.raises(StoreError, match="own input is never overwritten"):
        fit_sites(ONE, start, {name: (part, part) for name, part in parts.items()}, tmp_path / "s", run)
    assert contents(tmp_path) == before


def test_what_a_run_reads_is_kept(tmp_path: Path) -> None:
    trained(ONE, tmp_path / "out")
    (tmp_path / "set.csv").write_text("image,label\n")
    (tmp_path / "out" / "log.csv").unlink()
    os.link(tmp_path / "set.csv", tmp_path / "out" / "log.csv")
    before = contents(tmp_path)
    with pytest.raises(StoreError, match=r"log\.csv is .*set\.csv, which this command reads"):
        trained(ONE, tmp_path / "out", overwrite=True, reads=(str(tmp_path / "set.csv"),))
    with pytest.raises(StoreError, match=r"out is a folder that this command reads\. Choose another folder"):
        trained(ONE, tmp_path / "out", overwrite=True, reads=(str(tmp_path / "out"),))
    assert contents(tmp_path) == before
    trained(ONE, tmp_path / "out", overwrite=True, reads=("none", str(tmp_path / "gone.csv")))


def test_a_training_of_several_sites_is_said_to_be_one(tmp_path: Path) -> None:
    by_sites(tmp_path / "out")
    before = contents(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(StoreError, match=r"out holds a training of several sites \(a, b\)\. Name another folder"):
            trained(ONE, tmp_path / "out", overwrite=overwrite)
        with pytest.raises(StoreError, match=r"out holds a training of other sites \(b\)\. Name another folder"):
            by_sites(tmp_path / "out", ("a", "c"), overwrite=overwrite)
    assert contents(tmp_path) == before
    trained(ONE, tmp_path / "one")
    for overwrite in (False, True):
        with pytest.raises(StoreError, match=r"one holds a training without sites\. Name another folder"):
            by_sites(tmp_path / "one", overwrite=overwrite)
    by_sites(tmp_path / "out", overwrite=True)


def test_the_folder_of_one_site_is_no_training_to_go_on_from(tmp_path: Path) -> None:
    by_sites(tmp_path / "out")
    before = contents(tmp_path)
    for overwrite in (False, True):
        with pytest.raises(StoreError, match="holds other files"):
            trained(ONE, tmp_path / "out" / "a", overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("letter", ["x", "ж"])
def test_long_names_of_sites_are_seen_before_anything_is_written(letter: str, tmp_path: Path) -> None:
    long = letter * 300
    with pytest.raises(FercleanerError, match=r"Site 'a?[xж]{30}\.\.\.' has a name too long for a file \(\d+ bytes"):
        by_sites(tmp_path / "out", ("a", long))
    assert not (tmp_path / "out").exists()


def unreadable(tmp_path: Path) -> TrainingSet:
    """Return the drawn faces, the first two of which have no picture that can be read."""
    paths = drawn().paths.tolist()
    (tmp_path / "empty.png").write_bytes(b"")
    paths[:2] = [str(tmp_path / "empty.png")] * 2
    return replace(drawn_faces(), samples=drawn().replacing(images=FileImages(paths)))


def test_a_finished_training_run_again_has_the_same_counts(tmp_path: Path) -> None:
    """Pictures that cannot be read are counted neither the first time nor the second."""
    faces = unreadable(tmp_path)
    found = trained(ONE, tmp_path / "out", faces=faces)
    assert (found["faces"], found["tested"]) == (62, 62)
    before = contents(tmp_path / "out")
    again = trained(ONE, tmp_path / "out", faces=faces)
    assert again == found
    assert contents(tmp_path / "out") == before
    assert json.loads(before["figures.json"])["faces"] == 62
    assert b"on 62 faces, tested on 62" in before["MODEL_CARD.md"]


def test_a_sites_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    found = by_sites(tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "b")
    assert by_sites(tmp_path / "out") == found
    assert (tmp_path / "out/b/figures.json").read_bytes() == before["b/figures.json"]
