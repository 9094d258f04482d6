"""The feature cache: what goes in comes out, damage is found out, and a refused write loses nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import time
from pathlib import Path

import numpy as np
import pytest

from fercleaner.core.arrays import spec_digest
from fercleaner.core.errors import StoreError
from fercleaner.core.files import STALE_SECONDS
from fercleaner.extraction import cache as cache_module
from fercleaner.extraction.cache import FeatureCache, default_folder

SPEC = {"kind": "test", "name": "Gesicht — 顔", "size": 3}


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def vector(number: int, width: int = 4) -> np.ndarray:
    return np.random.default_rng(number).standard_normal(width).astype(np.float32)


def note(number: int) -> str:
    return "kein Gesicht ☹" if number % 3 == 0 else ""


def fill(cache: FeatureCache, numbers: range, spec: dict = SPEC) -> None:
    with cache.open(spec, 4) as cached:
        for number in numbers:
            cached.put(digest(number), vector(number), number % 3 != 0, "kein Gesicht ☹" if number % 3 == 0 else "")


def check(cache: FeatureCache, numbers: range, spec: dict = SPEC) -> None:
    with cache.open(spec, 4) as cached:
        for number in numbers:
            entry = cached.get(digest(number))
            assert entry is not None, number
            assert entry.values.tobytes() == vector(number).tobytes()
            assert entry.found == (number % 3 != 0)
            assert entry.note == note(number)


def shards(folder: Path, spec: dict = SPEC) -> list[Path]:
    return sorted((folder / spec_digest(spec)).glob("*.shard"))


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "größe 顔")
    fill(cache, range(50))
    check(cache, range(50))
    with cache.open(SPEC, 4) as cached:
        assert len(cached) == 50
        assert cached.get(digest(99)) is None
    spec_file = tmp_path / "größe 顔" / spec_digest(SPEC) / "spec.json"
    assert json.loads(spec_file.read_text(encoding="utf-8")) == SPEC
    assert cache.specs() == {spec_digest(SPEC): SPEC}


def test_another_spec_shares_nothing(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, range(5))
    with cache.open({**SPEC, "size": 4}, 4) as cached:
        assert cached.get(digest(1)) is None
    assert len(cache.specs()) == 2


def test_written_every_so_many_rows_and_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "FLUSH_ROWS", 10)
    cached = FeatureCache(tmp_path).open(SPEC, 4)
    for number in range(25):
        cached.put(digest(number), vector(number), True, "")
    assert len(shards(tmp_path)) == 2  # a kill now loses 5
    monkeypatch.setattr(cache_module, "FLUSH_SECONDS", 0.0)
    cached.put(digest(25), vector(25), True, "")
    assert len(shards(tmp_path)) == 3
    with FeatureCache(tmp_path).open(SPEC, 4) as other:
        assert len(other) == 26


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "short"])
def test_a_damaged_shard_is_removed_with_a_warning(tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, range(10))
    fill(cache, range(10, 20))
    first = shards(tmp_path)[0]
    raw = bytearray(first.read_bytes())
    if harm == "flip":
        raw[len(raw) // 2] ^= 1
    else:
        raw = raw[: {"cut": len(raw) // 2, "empty": 0, "short": 20}[harm]]
    first.write_bytes(raw)
    with caplog.at_level(logging.WARNING), cache.open(SPEC, 4) as cached:
        assert len(cached) == 10
    assert f"{first} is damaged; it was removed and its vectors are made again" in caplog.text
    assert not first.exists()
    fill(cache, range(20))
    check(cache, range(20))


def test_a_shard_of_another_encoder_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, other = FeatureCache(tmp_path), {**SPEC, "size": 9}
    fill(cache, range(5))
    fill(cache, range(5, 10), other)
    moved = shards(tmp_path, other)[0]
    moved.rename(tmp_path / spec_digest(SPEC) / moved.name)
    with cache.open(SPEC, 4) as cached:
        assert len(cached) == 5
        assert cached.get(digest(7)) is None
    assert "is damaged" in caplog.text


def test_spec_file_that_disagrees_with_its_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, range(5))
    spec_file = tmp_path / spec_digest(SPEC) / "spec.json"
    spec_file.write_text('{"kind": "other"}')
    with pytest.raises(StoreError, match=r"spec\.json describes another encoder .*another --cache"):
        cache.open(SPEC, 4)
    spec_file.write_text('{"kind"')
    check(cache, range(5))
    assert "was written again" in caplog.text
    assert json.loads(spec_file.read_text(encoding="utf-8")) == SPEC


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "no space left on the disk"), (errno.EACCES, "denied")])
def test_a_refused_write_names_folder_and_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, range(10))

    def refuse(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    cached = cache.open(SPEC, 4)
    cached.put(digest(10), vector(10), True, "")
    monkeypatch.setattr(cache_module.os, "fsync", refuse)
    with pytest.raises(StoreError) as caught:
        cached.flush()
    message = str(caught.value)
    assert str(tmp_path) in message
    assert words in message
    assert "--cache" in message
    assert "--no-cache" in message
    monkeypatch.undo()
    assert not list(tmp_path.rglob("*.tmp"))
    check(cache, range(10))


def test_a_folder_that_cannot_be_made_is_told_of_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot be written to: .*--no-cache"):
        FeatureCache(tmp_path / "file" / "cache").open(SPEC, 4)


def test_many_small_shards_are_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MERGE_ABOVE", 5)
    cache = FeatureCache(tmp_path)
    for start in range(0, 50, 10):
        fill(cache, range(start, start + 10))
    reader = cache.open(SPEC, 4)
    assert len(shards(tmp_path)) == 5
    fill(cache, range(50, 60))
    assert len(shards(tmp_path)) == 1
    check(cache, range(60))
    kept = reader.get(digest(3))  # from a file that is gone by now
    assert kept is not None
    assert kept.values.tobytes() == vector(3).tobytes()


def test_merged_shards_stay_below_their_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MERGE_ABOVE", 3)
    monkeypatch.setattr(cache_module, "MERGED_BYTES", 2 * 10 * 4 * 4 + 100)  # two shards' values, not three
    cache = FeatureCache(tmp_path)
    for start in range(0, 50, 10):
        fill(cache, range(start, start + 10))
    assert len(shards(tmp_path)) == 3
    check(cache, range(50))


def test_old_temporary_files_go_and_fresh_ones_stay(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, range(3))
    folder = tmp_path / spec_digest(SPEC)
    old, fresh = folder / ".fercleaner-1.tmp", folder / ".fercleaner-2.tmp"
    for path in (old, fresh):
        path.write_bytes(b"half")
    long_ago = time.time() - 2 * STALE_SECONDS
    os.utime(old, (long_ago, long_ago))
    check(cache, range(3))
    assert not old.exists()
    assert fresh.exists()


def test_a_cache_cleared_beside_a_run_is_made_again_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = FeatureCache(tmp_path)
    fill(cache, range(3))
    with cache.open(SPEC, 4) as cached:
        cached.put(digest(5), vector(5), True, "")
        FeatureCache(tmp_path).clear()
        assert cached.get(digest(1)) is not None  # a run keeps what it has open
    assert "was removed during this run; it is made again" in caplog.text
    with cache.open(SPEC, 4) as cached:
        assert cached.get(digest(5)) is not None
        assert cached.get(digest(1)) is None


def test_prune_keeps_the_newest(tmp_path: Path) -> None:
    cache, other = FeatureCache(tmp_path), {**SPEC, "size": 9}
    fill(cache, range(4))
    fill(cache, range(10, 14), other)
    for age, spec in ((200, other), (100, SPEC)):
        for path in shards(tmp_path, spec):
            os.utime(path, (time.time() - age, time.time() - age))
    newer, older = (shards(tmp_path, spec)[0].stat().st_size for spec in (SPEC, other))
    assert cache.prune(newer + older) == 0
    assert cache.prune(newer) == older
    assert not shards(tmp_path, other)
    check(cache, range(4))
    assert cache.prune(0) == newer
    assert cache.size().shards == 0


def test_size_and_clear_touch_only_what_is_ours(tmp_path: Path) -> None:
    cache, other = FeatureCache(tmp_path), {**SPEC, "size": 9}
    assert FeatureCache(tmp_path / "none").size() == (0, 0, 0)
    fill(cache, range(10))
    fill(cache, range(10), other)
    (tmp_path / "keep.txt").write_text("mine")
    (tmp_path / "0123456789abcdef").mkdir()
    total = cache.size()
    assert total.specs == 2
    assert total.shards == 2
    assert total.bytes == cache.size(SPEC).bytes + cache.size(other).bytes > 2 * 10 * (32 + 16)
    assert cache.clear(SPEC) == total.bytes - cache.size(other).bytes
    check(cache, range(10), other)
    assert cache.clear() > 0
    assert cache.size() == (0, 0, 0)
    assert (tmp_path / "keep.txt").read_text() == "mine"
    assert (tmp_path / "0123456789abcdef").is_dir()


def test_default_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache_module.sys, "platform", "linux")
    monkeypatch.delenv("FERCLEANER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "fercleaner"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_folder() == Path.home() / ".cache" / "fercleaner"
    monkeypatch.setenv("FERCLEANER_CACHE", str(tmp_path / "named"))
    assert FeatureCache().folder == tmp_path / "named"
