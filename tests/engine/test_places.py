"""Shards on an object store: the vectors of a local run, marks last, and one clear error for what is wrong there."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from cli_runs import fails, run

from fercleaner.core.errors import InputError, StoreError
from fercleaner.datasets import read
from fercleaner.datasets.assemble import select
from fercleaner.demo import draw_dataset
from fercleaner.encoders.hog import Hog
from fercleaner.engine.places import ShardPlace
from fercleaner.extraction import stores
from fercleaner.extraction.run import extract
from fercleaner.extraction.shards import Shard, WholeSet, cache_of, extracted, write_shard
from fercleaner.extraction.stores import AddressedImages, Store
from fercleaner.results import parquet

FACES = 40


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    draw_dataset(folder / "set", faces=FACES, noise_rate=0.1, seed=0)
    return folder / "set"


def written(place, samples, shard):
    part = select(samples, np.arange(*shard.rows(len(samples))))
    return place.write(shard, part, WholeSet.of(samples), [Hog()])


def test_a_store_holds_the_vectors_of_one_run(drawn, tmp_path, address):
    samples = read(drawn)
    whole = extract(samples, Hog(), cache=None, workers=0)
    for number in (2, 1, 3):  # three machines, each with a disk of its own
        place = ShardPlace(address, tmp_path / f"disk {number}")
        assert sum(log.computed for log in written(place, samples, Shard(number, 3))) in (13, 14)
        assert written(place, samples, Shard(number, 3)) == []
        assert not list((place.folder / "work").iterdir())
    reader = ShardPlace(address, tmp_path / "reader")
    folder = reader.fetch()
    assert extracted(folder, samples, [Hog()]).missing == ()
    again = extract(samples, Hog(), cache=cache_of(folder), workers=0)
    assert again.computed == 0
    assert np.array_equal(again.values, whole.values)


def test_a_shard_with_unreadable_pictures_is_gone_through_again(drawn, tmp_path):
    """A disk may have failed: what could not be read then can be read now, on the store as in a folder."""
    folder = tmp_path / "set"
    shutil.copytree(drawn, folder)
    picture = sorted(folder.rglob("*.jpg"))[3]
    kept = picture.read_bytes()
    picture.write_bytes(b"no picture")
    writer, reader = (ShardPlace((tmp_path / "store").as_uri(), tmp_path / name) for name in ("writer", "reader"))
    assert len(written(writer, read(folder), Shard(1, 1))) == 1
    reader.fetch()
    picture.write_bytes(kept)
    samples = read(folder)
    assert len(written(writer, samples, Shard(1, 1))) == 1
    assert written(writer, samples, Shard(1, 1)) == []
    again = extract(samples, Hog(), cache=cache_of(reader.fetch()), workers=0)
    assert again.found.all()
    assert again.computed == 0


def test_what_was_fetched_is_not_fetched_again(drawn, tmp_path, monkeypatch):
    samples, place = read(drawn), ShardPlace((tmp_path / "store").as_uri(), tmp_path / "disk")
    written(place, samples, Shard(1, 2))
    folder = place.fetch()
    next(folder.rglob("*.shard")).unlink()  # merged into another
    written(place, samples, Shard(2, 2))
    names = []
    plain = Store.fetch
    monkeypatch.setattr(Store, "fetch", lambda self, name, path: (names.append(name), plain(self, name, path)))
    place.fetch()
    assert [name.rpartition("/")[2] for name in names] == ["0002-of-0002.json", "0002-of-0002-00.shard"]


def test_a_shard_killed_before_its_mark_is_sent_again(drawn, tmp_path, address, monkeypatch):
    samples, place = read(drawn), ShardPlace(address, tmp_path / "disk")
    plain = Store.write

    def killed(self, name, content):
        if name.startswith("marks/"):
            raise KeyboardInterrupt
        plain(self, name, content)

    monkeypatch.setattr(Store, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        written(place, samples, Shard(1, 2))
    monkeypatch.setattr(Store, "write", plain)
    with pytest.raises(StoreError, match="holds no finished shard"):
        extracted(place.fetch(), samples, [Hog()], address)
    assert written(place, samples, Shard(1, 2)) == []  # nothing is computed again
    assert [str(one) for one in extracted(place.fetch(), samples, [Hog()]).missing] == ["2/2"]


def test_a_file_that_is_missing_or_cut_off_names_its_shard(drawn, tmp_path):
    samples, place = read(drawn), ShardPlace((tmp_path / "store").as_uri(), tmp_path / "disk")
    written(place, samples, Shard(2, 2))
    vectors = next((tmp_path / "store").rglob("*.shard"))
    vectors.write_bytes(vectors.read_bytes()[:-1])
    with pytest.raises(StoreError, match=r"0002-of-0002-00.shard of shard 2/2 is [\d,]+ bytes long, not [\d,]+ bytes"):
        place.fetch()
    vectors.unlink()
    with pytest.raises(StoreError, match=r"of shard 2/2 is missing.*Remove the mark marks/0002-of-0002.json"):
        place.fetch()


def test_shards_of_another_set_are_refused_by_name(drawn, tmp_path, address):
    samples, place = read(drawn), ShardPlace(address, tmp_path / "disk")
    written(place, samples, Shard(1, 2))
    fewer = select(samples, np.arange(30))
    with pytest.raises(StoreError, match="shard 1/2 is of another set"):
        written(ShardPlace(address, tmp_path / "other disk"), fewer, Shard(2, 2))


def test_stores_that_are_none_or_not_there(tmp_path, drawn):
    with pytest.raises(InputError, match="gopher://x/y: no such store can be opened"):
        Store("gopher://x/y")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"file:.*cannot be (listed|written)"):
        written(ShardPlace((tmp_path / "file" / "in a file").as_uri(), tmp_path / "disk"), read(drawn), Shard(1, 1))


def test_a_bucket_that_is_not_there_is_named(bucket, tmp_path, drawn):
    address = f"s3://no-such-bucket/x?{bucket[1]}"
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x.*cannot be written \(.*Is it there"):
        written(ShardPlace(address, tmp_path / "disk"), read(drawn), Shard(1, 1))


def test_a_google_bucket_that_is_not_there_or_cannot_be_reached_is_named(google_bucket, tmp_path, drawn):
    address = f"gs://anonymous@no-such-bucket/x?{google_bucket[1]}"
    with pytest.raises(StoreError, match=r"gs://anonymous@no-such-bucket/x.*cannot be written \(.*Is it there"):
        written(ShardPlace(address, tmp_path / "disk"), read(drawn), Shard(1, 1))
    with pytest.raises(StoreError, match="cannot be listed") as caught:
        Store("gs://anonymous@faces/x?endpoint_override=127.0.0.1:9&scheme=http&retry_limit_seconds=1").names("marks")
    assert "\n" not in str(caught.value)
    assert "error_info" not in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "opened"),
    [
        ("gs://faces/x", "gs://faces/x?retry_limit_seconds=60"),
        ("gs://faces/x?scheme=http", "gs://faces/x?scheme=http&retry_limit_seconds=60"),
        ("gs://faces/x?retry_limit_seconds=5", "gs://faces/x?retry_limit_seconds=5"),
        ("s3://faces/x", "s3://faces/x"),
    ],
)
def test_googles_store_is_not_asked_again_for_a_quarter_of_an_hour(asked, opened, monkeypatch):
    """pyarrow would, without a word, where the store cannot be reached."""
    from pyarrow import fs

    seen = []
    monkeypatch.setattr(fs, "FileSystem", type("Seen", (), {"from_uri": lambda uri: (seen.append(uri), "faces/x")}))
    monkeypatch.setattr(stores, "_opened", {})
    Store(asked)
    assert seen == [opened]


@pytest.mark.parametrize("missing", ["libjvm", "libhdfs"])
def test_hdfs_without_java_or_hadoop_says_what_is_missing(missing, monkeypatch):
    from pyarrow import fs

    def refused(uri):
        raise OSError(f"Unable to load {missing}: /usr/lib/{missing}.so: cannot open shared object file\nanother place")

    monkeypatch.setattr(fs, "FileSystem", type("Refused", (), {"from_uri": refused}))
    with pytest.raises(InputError) as caught:
        Store("hdfs://host:9000/faces")
    assert str(caught.value).startswith("hdfs://host:9000/faces: hdfs:// needs Java and Hadoop's libhdfs on this mach")
    assert f"Unable to load {missing}" in str(caught.value)
    assert "JAVA_HOME" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_full_store_is_named_and_the_vectors_are_kept(drawn, tmp_path, monkeypatch):
    samples, place = read(drawn), ShardPlace((tmp_path / "store").as_uri(), tmp_path / "disk")
    store = Store(place.name)

    class Full:
        type_name = "local"

        def create_dir(self, path, recursive):
            pass

        def open_output_stream(self, path):
            half.append(path)
            raise OSError(28, "No space left on device")

        def delete_file(self, path):
            half.remove(path)

    half = []
    monkeypatch.setattr(stores, "_opened", {place.name: (Full(), store._root)})
    with pytest.raises(StoreError, match=r"spec.json cannot be written: no space left there\. What was written"):
        place._send(Shard(1, 1), prepared(samples, tmp_path))
    assert not half  # what was written of it takes no room
    monkeypatch.undo()
    place._send(Shard(1, 1), tmp_path / "work")
    assert extracted(place.fetch(), samples, [Hog()]).missing == ()


def prepared(samples, tmp_path):
    """Return a folder with a finished shard that was not sent."""
    write_shard(Shard(1, 1), samples, WholeSet.of(samples), [Hog()], tmp_path / "work")
    return tmp_path / "work"


def test_pictures_are_read_from_where_a_list_says(drawn, tmp_path, address):
    samples, store = read(drawn), Store(address)
    lines = ["image,label\n"]
    for row in range(FACES):
        name = f"{row}.png"
        store.write(name, samples.images.read(row))
        base, _, options = address.partition("?")
        where = f"{base}/{name}" + (f"?{options}" if options else "")
        lines.append(f"{where},{samples.classes[int(samples.given[row].argmax())]}\n")
    (tmp_path / "faces.csv").write_text("".join(lines))
    away = read(tmp_path / "faces.csv")
    assert isinstance(away.images, AddressedImages)
    one, other = (extract(s, Hog(), cache=None, workers=0) for s in (samples, away))
    assert np.array_equal(one.values, other.values)
    gone = AddressedImages([address.partition("?")[0] + "/none.png" + ("?" + options if options else "")])
    with pytest.raises(OSError):
        gone.read(0)


def test_the_commands_take_an_address(drawn, tmp_path, monkeypatch):
    monkeypatch.setenv("FERCLEANER_CACHE", str(tmp_path / "cache"))
    common = [drawn, "--encoder", "hog", "--landmarks", "none", "--workers", "0"]
    to = (tmp_path / "store").as_uri()
    refine = ["refine", *common, "--method", "hypergraph"]
    assert f"{to} holds no finished shard" in fails(*refine, "--features", to, "--out", tmp_path / "a.parquet")
    said = json.loads(run("extract", *common, "--shards", "3", "--to", to, "--json").stdout)
    assert said == {"faces": FACES, "shards": 3, "computed": {"1/3": 13, "2/3": 13, "3/3": 14}, "missing": []}
    run(*refine, "--features", to, "--out", tmp_path / "a.parquet")
    run(*refine, "--no-cache", "--out", tmp_path / "b.parquet")
    one, other = (parquet.load(tmp_path / f"{name}.parquet") for name in "ab")
    assert np.array_equal(one.distribution, other.distribution)
    assert "--shard is one part" in fails("extract", *common, "--shard", "1/3", "--shards", "3", "--to", to)
    assert "--address is of a Ray cluster" in fails("extract", *common, "--address", "auto", "--to", to)
    assert "fewer than 41 shards" in fails("extract", *common, "--shards", "41", "--to", to)
