"""Shards of a set: the same vectors as in one go, each part marked, and parts of something else refused by name."""

from __future__ import annotations

import errno
import json
import shlex

import numpy as np
import pytest
from cli_runs import fails, run

from fercleaner.core.errors import FeatureError, InputError, StoreError
from fercleaner.datasets import read
from fercleaner.datasets.assemble import select
from fercleaner.demo import draw_dataset
from fercleaner.encoders.hog import Hog
from fercleaner.extraction import shards as module
from fercleaner.extraction.images import FileImages
from fercleaner.extraction.run import extract
from fercleaner.extraction.shards import FinishedImages, Shard, WholeSet, cache_of, extracted, write_shard
from fercleaner.results import parquet


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder / "set", faces=60, noise_rate=0.1, seed=0)
    return folder / "set"


def done(samples, shard, folder):
    start, end = shard.rows(len(samples))
    return write_shard(shard, select(samples, np.arange(start, end)), WholeSet.of(samples), [Hog()], folder)


def test_shards_share_out_every_row_once():
    for faces, count in ((60, 7), (5, 5), (3, 8), (1, 1)):
        rows = [row for number in range(count) for row in range(*Shard(number + 1, count).rows(faces))]
        assert rows == list(range(faces))
        sizes = [np.diff(Shard(number + 1, count).rows(faces))[0] for number in range(count)]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("text", ["0/4", "5/4", "3", "a/b", "-1/2", "1/0"])
def test_no_shard(text):
    with pytest.raises(InputError, match="expected NUMBER/COUNT"):
        Shard.parse(text)


def test_shards_in_any_order_hold_the_vectors_of_one_run(drawn, tmp_path):
    samples = read(drawn)
    whole = extract(samples, Hog(), cache=None, workers=0)
    for number in (3, 1, 2):
        assert [log.computed for log in done(samples, Shard(number, 3), tmp_path)] == [20]
    assert done(samples, Shard(2, 3), tmp_path) == []
    held = extracted(tmp_path, samples, [Hog()])
    assert held.missing == ()
    again = extract(samples, Hog(), cache=cache_of(tmp_path), workers=0)
    assert again.computed == 0
    assert np.array_equal(again.values, whole.values)


def test_what_is_missing_is_said_and_left_out(drawn, tmp_path):
    samples = read(drawn)
    done(samples, Shard(1, 3), tmp_path)
    done(samples, Shard(3, 3), tmp_path)
    held = extracted(tmp_path, samples, [Hog()])
    assert [str(shard) for shard in held.missing] == ["2/3"]
    assert "2 of 3 shards are done, 40 of 60 faces. Missing: 2/3." in held.sentence("set", tmp_path)
    partly = samples.replacing(images=FinishedImages(samples.images, held))
    found = extract(partly, Hog(), cache=cache_of(tmp_path), workers=0)
    assert np.flatnonzero(~found.found).tolist() == list(range(20, 40))
    assert set(found.notes[20:40]) == {"shard 2/3 is not extracted"}
    assert found.computed == 0


def test_a_killed_shard_keeps_what_it_had_and_a_full_disk_says_which(drawn, tmp_path, monkeypatch):
    samples = read(drawn)
    plain = module.write_whole

    def full(path, parts):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "write_whole", full)
    with pytest.raises(StoreError, match=r"shard 2/3 cannot be marked as done \(No space left.* vectors are kept"):
        done(samples, Shard(2, 3), tmp_path)
    monkeypatch.setattr(module, "write_whole", plain)
    assert [(log.computed, log.reused) for log in done(samples, Shard(2, 3), tmp_path)] == [(0, 20)]


def test_shards_of_something_else_are_refused_by_name(drawn, tmp_path):
    samples = read(drawn)
    done(samples, Shard(1, 3), tmp_path)
    fewer = select(samples, np.arange(50))
    with pytest.raises(StoreError, match=r"shard 1/3 is of another set \(60 faces, .* this one has 50"):
        done(fewer, Shard(2, 3), tmp_path)
    with pytest.raises(StoreError, match="shard 1/3 stands beside shards of 4"):
        done(samples, Shard(2, 4), tmp_path)
    mark = tmp_path / "marks" / Shard(1, 3).file
    held = json.loads(mark.read_text())
    mark.write_text(json.dumps({**held, "encoders": {"hog": "0" * 16}}))
    with pytest.raises(
        StoreError, match=r"shard 1/3 was made by hog \(0{16}\); this run's encoders are hog \(\w{16}\)\."
    ):
        done(samples, Shard(2, 3), tmp_path)
    mark.write_text(json.dumps({**held, "encoders": {"builtin": "0" * 16}}))
    with pytest.raises(
        StoreError, match=r"made by builtin; this run's encoders are hog\. .* remove this file and run it"
    ):
        done(samples, Shard(2, 3), tmp_path)
    mark.write_text(json.dumps({**held, "format": 99}))
    with pytest.raises(StoreError, match="another version of fercleaner"):
        extracted(tmp_path, samples, [Hog()])
    mark.write_text("{")
    with pytest.raises(StoreError, match="no mark of a shard, or is damaged"):
        extracted(tmp_path, samples, [Hog()])


def test_a_set_of_the_same_names_and_other_pictures_is_refused_by_name(drawn, tmp_path):
    """Another crop of a set, or another set whose names are numbers, too."""

    def held(samples):
        return extracted(tmp_path / "vectors", samples, [Hog()])

    draw_dataset(tmp_path / "other", faces=60, noise_rate=0.1, seed=1)
    samples, other = read(drawn), read(tmp_path / "other")
    assert samples.ids.tolist() == other.ids.tolist()
    done(samples, Shard(1, 3), tmp_path / "vectors")
    for use in (lambda: done(other, Shard(2, 3), tmp_path / "vectors"), lambda: held(other)):
        with pytest.raises(StoreError, match="shard 1/3 is of another set: its faces have the same names and"):
            use()

    paths = [samples.images.name(row) for row in range(60)]
    mended = [other.images.name(0), *paths[1:30], str(tmp_path / "none.jpg"), *paths[31:]]
    assert len(held(samples.replacing(images=FileImages(mended))).missing) == 2  # one other picture, one not there
    mark = next((tmp_path / "vectors" / "marks").iterdir())
    mark.write_text(json.dumps({**json.loads(mark.read_text()), "pictures": []}))  # of before they were kept
    assert len(held(other).missing) == 2


def test_the_commands_extract_in_parts_and_refine_what_is_there(drawn, tmp_path):
    common = [drawn, "--encoder", "hog", "--landmarks", "none", "--workers", "0"]
    nothing = fails("refine", *common, "--features", tmp_path / "to", "--out", tmp_path / "a.parquet")
    assert "holds no finished shard" in nothing
    said = run("extract", *common, "--shard", "1/2", "--to", tmp_path / "to").stderr
    assert "1 of 2 shards are done, 30 of 60 faces. Missing: 2/2." in said
    partly = run("refine", *common, "--features", tmp_path / "to", "--out", tmp_path / "a.parquet").stderr
    assert "Missing: 2/2" in partly
    reasons = parquet.load(tmp_path / "a.parquet").reason
    assert "no view of this face (shard 2/2 is not extracted)" in reasons[45]
    assert "not extracted" not in " ".join(reasons[:30])
    for told in (said, partly):  # what makes the missing part, by the same options
        again = shlex.split(told.partition("Faces of these have no vectors; ")[2].partition(" makes them")[0])
        assert again[1:] == [str(word) for word in ("extract", *common, "--shard", "2/2", "--to", tmp_path / "to")]
    run(*again[1:])
    run("refine", *common, "--features", tmp_path / "to", "--out", tmp_path / "b.parquet")
    run("refine", *common, "--no-cache", "--out", tmp_path / "c.parquet")
    b, c = (parquet.load(tmp_path / f"{name}.parquet") for name in "bc")
    assert np.array_equal(b.distribution, c.distribution)
    assert "name an --encoder" in fails("extract", drawn, "--encoder", "none", "--landmarks", "none", "--to", tmp_path)


def test_a_shard_with_a_picture_that_could_not_be_read_is_gone_through_again(drawn, tmp_path, monkeypatch):
    """A disk that fails for a moment costs a vector only until the shard is run again."""
    samples = read(drawn)
    real = FileImages.read

    def failing(self, row):
        if row == 1:
            raise OSError(errno.EIO, "Input/output error")
        return real(self, row)

    monkeypatch.setattr(FileImages, "read", failing)
    assert done(samples, Shard(1, 1), tmp_path)[0].unreadable
    monkeypatch.setattr(FileImages, "read", real)
    again = done(samples, Shard(1, 1), tmp_path)
    assert (again[0].computed, again[0].reused) == (1, 59)
    assert done(samples, Shard(1, 1), tmp_path) == []


def test_too_many_open_files_are_not_the_pictures_fault(drawn, tmp_path, monkeypatch):
    samples = read(drawn)

    def refused(self, row):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(FileImages, "read", refused)
    with pytest.raises(FeatureError, match=r"too many open files\. No picture is left out for that; raise the limit"):
        done(samples, Shard(1, 1), tmp_path)


def test_a_full_disk_names_the_shard_and_the_way_out(drawn, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fercleaner.extraction.cache.write_whole", full)
    asked = ("extract", drawn, "--encoder", "hog", "--landmarks", "none", "--workers", "0", "--to", tmp_path / "to")
    said = fails(*asked, "--shard", "2/3")
    assert said.startswith("StoreError: Shard 2/3: the feature cache ")
    assert said.endswith("Make room there and run that shard again: what is done is not computed again.")
