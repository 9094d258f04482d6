"""Extraction: the same bits whatever the workers, the batches and the interruptions; troubles are data."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fercleaner.core.arrays import spec_digest
from fercleaner.core.errors import FeatureError, StoreError
from fercleaner.core.types import Samples
from fercleaner.encoders.hog import Hog
from fercleaner.extraction import cache as cache_module
from fercleaner.extraction import images as images_module
from fercleaner.extraction.cache import FeatureCache
from fercleaner.extraction.images import ArrayImages, FileImages
from fercleaner.extraction.run import NOT_FINITE, extract, vectors_of

WIDTH = 5


@dataclass
class Moments:
    """Mean, spread and corner pixels; counts what it is given. Dark pictures "have no face"."""

    batch_size: int = 7
    name: str = "moments"
    width: int = WIDTH
    spec: dict[str, Any] = field(default_factory=lambda: {"kind": "moments"})
    seen: int = 0
    explode: bool = False

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image)

    def compute(self, batch: Sequence[np.ndarray], /) -> tuple[np.ndarray, np.ndarray, list[str]]:
        assert 1 <= len(batch) <= self.batch_size
        self.seen += len(batch)
        values = np.array([describe(a) for a in batch], dtype=np.float32)
        found = np.array([a.max() > 9 for a in batch])
        if self.explode:
            values[0, 0] = np.inf
        return values, found, ["" if f else "no face found" for f in found]


def describe(a: np.ndarray) -> list[float]:
    return [float(a.mean()), float(a.std()), float(a[0, 0, 0]), float(a[-1, -1, 0]), float(a.shape[1])]


def samples(source: Any, boxes: np.ndarray | None = None) -> Samples:
    n = len(source)
    given = np.zeros((n, 2), dtype=np.float32)
    given[:, 0] = 1
    return Samples(
        ids=np.array([f"face {row}" for row in range(n)]),
        classes=("a", "b"),
        given=given,
        labeled=np.ones(n, dtype=bool),
        paths=np.full(n, ""),
        boxes=boxes,
        images=source,
    )


def pixels(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 12, 12), dtype=np.uint8)


def test_values_are_those_of_each_picture(tmp_path: Path) -> None:
    source = pixels(40)
    done = extract(samples(ArrayImages(source)), Moments(), cache=FeatureCache(tmp_path), workers=0)
    for row in range(40):
        rgb = np.repeat(source[row][:, :, None], 3, axis=2)
        assert done.values[row].tolist() == pytest.approx(describe(rgb), rel=1e-6)
    assert done.found.all()
    assert (done.computed, done.reused) == (40, 0)
    again = extract(samples(ArrayImages(source)), Moments(), cache=FeatureCache(tmp_path), workers=0)
    assert (again.computed, again.reused) == (0, 40)
    assert again.values.tobytes() == done.values.tobytes()


def test_workers_and_batches_change_no_bit() -> None:
    data = samples(ArrayImages(np.random.default_rng(1).integers(0, 256, (150, 30, 40, 3), dtype=np.uint8)))
    alone = extract(data, Hog(), cache=None, workers=0)
    assert alone.found.all()
    assert np.ptp(alone.values, axis=0).max() > 0.1
    shared = extract(data, Hog(batch_size=13), cache=None, workers=2)
    assert shared.values.tobytes() == alone.values.tobytes()


def test_equal_pictures_are_computed_once_and_boxes_tell_them_apart() -> None:
    source = pixels(6)
    source[3] = source[1]
    source[5] = source[1]
    boxes = np.full((6, 4), np.nan, dtype=np.float32)
    boxes[5] = (2, 2, 8, 9)
    extractor = Moments()
    done = extract(samples(ArrayImages(source), boxes), extractor, cache=None, workers=0)
    assert extractor.seen == 5
    assert (done.log.computed, done.log.repeated) == (5, 1)
    assert (done.values[3] == done.values[1]).all()
    assert done.values[5, 4] == 6
    assert done.values[1, 4] == 12


def test_what_cannot_be_read_is_noted_and_not_cached(tmp_path: Path) -> None:
    names = ["good.png", "gone.png", "empty.png", "cut.png", "text.png", "good2.png", "cut2.png", "dark.png"]
    paths = [str(tmp_path / name) for name in names]
    for name, picture in zip(("good.png", "good2.png"), pixels(2), strict=True):
        Image.fromarray(picture).save(tmp_path / name)
    Image.fromarray(np.zeros((12, 12), dtype=np.uint8)).save(tmp_path / "dark.png")
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)).save(whole, "PNG")
    for name in ("cut.png", "cut2.png"):
        (tmp_path / name).write_bytes(whole.getvalue()[:600])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    data, cache = samples(FileImages(paths)), FeatureCache(tmp_path / "cache")
    done = extract(data, Moments(), cache=cache, workers=0)
    assert done.found.tolist() == [True, False, False, False, False, True, False, False]
    assert done.notes.tolist() == [
        "",
        "file not found",
        "empty file",
        "truncated image",
        "not an image",
        "",
        "truncated image",
        "no face found",
    ]
    assert not done.values[~done.found].any()
    log = done.log
    assert log.unreadable == {"file not found": 1, "empty file": 1, "truncated image": 2, "not an image": 1}
    assert log.not_found == {"no face found": 1}
    assert log.first_unreadable == f"{paths[1]}: file not found"
    assert log.computed + log.reused + log.repeated + sum(log.unreadable.values()) == log.faces == 8

    Image.fromarray(pixels(1, seed=9)[0]).save(paths[1])
    again = extract(data, Moments(), cache=cache, workers=0)
    assert again.found[1]
    assert (again.computed, again.reused) == (1, 3)  # "no face found" is an answer, and was kept
    assert again.notes[7] == "no face found"


def test_nothing_readable_is_an_error() -> None:
    data = samples(FileImages(["/nowhere/a.png", "/nowhere/b.png"]))
    with pytest.raises(
        FeatureError, match=r"None of the 2 pictures .*first: /nowhere/a\.png: file not found.*--images"
    ):
        extract(data, Moments(), cache=None, workers=0)


def test_no_pictures_at_all_is_an_error() -> None:
    data = samples(ArrayImages(pixels(2))).replacing(images=None)
    with pytest.raises(FeatureError, match=r"View 'moments' needs pictures.*--view NAME=FILE"):
        extract(data, Moments(), cache=None, workers=0)


def test_infinity_is_not_found_and_not_cached(tmp_path: Path) -> None:
    data = samples(ArrayImages(pixels(7)))
    done = extract(data, Moments(explode=True), cache=FeatureCache(tmp_path), workers=0)
    assert done.found.tolist() == [False] + [True] * 6
    assert done.notes[0] == NOT_FINITE
    assert np.isfinite(done.values).all()
    assert extract(data, Moments(), cache=FeatureCache(tmp_path), workers=0).computed == 1


def test_features_tell_what_was_done() -> None:
    logs: list[Any] = []
    calls: list[tuple[int, int]] = []
    view = vectors_of(
        samples(ArrayImages(pixels(20))),
        Moments(),
        cache=None,
        workers=0,
        progress=lambda done, total: calls.append((done, total)),
        on_log=logs.append,
    )
    assert view.view == "moments"
    assert view.spec == {"kind": "moments"}
    assert view.values.shape == (20, WIDTH)
    assert logs[0].computed == 20
    assert calls[-1] == (20, 20)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


def test_a_full_disk_stops_the_run_with_what_was_written_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, cache = samples(ArrayImages(pixels(60))), FeatureCache(tmp_path)
    monkeypatch.setattr(cache_module, "FLUSH_ROWS", 10)
    written, real = [], cache_module.write_whole

    def until_full(path: Path, parts: list[bytes]) -> None:
        if path.suffix == ".shard" and len(written) == 3:
            raise OSError(28, "No space left on device")
        real(path, parts)
        written.append(path)

    monkeypatch.setattr(cache_module, "write_whole", until_full)
    with pytest.raises(StoreError, match=r"no space left on the disk.*--no-cache"):
        extract(data, Moments(), cache=cache, workers=0)
    monkeypatch.undo()
    done = extract(data, Moments(), cache=cache, workers=0)
    assert (done.computed, done.reused) == (40, 20)  # two shards beside spec.json


@dataclass
class Slow(Moments):
    """Moments that take their time and print who works beside them."""

    pause: float = 0.0

    def compute(self, batch: Sequence[np.ndarray], /) -> tuple[np.ndarray, np.ndarray, list[str]]:
        time.sleep(self.pause)
        sys.stdout.write(json.dumps([p.pid for p in multiprocessing.active_children()]) + "\n")
        sys.stdout.flush()
        return super().compute(batch)


SCRIPT = """
import json, signal, sys
import numpy as np
sys.path.insert(0, {tests!r})
from fercleaner.extraction import cache as cache_module
from fercleaner.extraction.cache import FeatureCache
from fercleaner.extraction.images import ArrayImages
from fercleaner.extraction.run import extract
from test_extraction import Slow, pixels, samples

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started deaf to it
cache_module.FLUSH_ROWS = 10
data, cache = samples(ArrayImages(pixels(200))), FeatureCache(sys.argv[1])
try:
    done = extract(data, Slow(pause={pause}), cache=cache, workers={workers})
    np.save(sys.argv[2], done.values)
    print(json.dumps([done.computed, done.reused]))
except KeyboardInterrupt:
    print("stopped")
"""


def start(tmp_path: Path, out: str, pause: float, workers: int = 1) -> subprocess.Popen[str]:
    here = Path(__file__).parent
    code = textwrap.dedent(SCRIPT).format(tests=str(here), pause=pause, workers=workers)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "cache"), str(tmp_path / out)],
        cwd=here.parents[1],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_batches(process: subprocess.Popen[str], wanted: int) -> list[int]:
    """Return the worker's process id once so many of the 29 batches are done."""
    assert process.stdout is not None
    for number, line in enumerate(process.stdout, start=1):
        children: list[int] = json.loads(line)
        if number == wanted:
            assert len(children) == 1
            return children
    raise AssertionError(process.communicate()[1])


def gone(pid: int, seconds: float = 10.0) -> bool:
    for _ in range(int(seconds / 0.05)):
        status = Path(f"/proc/{pid}/status")
        try:
            if "State:\tZ" in status.read_text():
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")


@needs_proc
@pytest.mark.parametrize(("how", "batches"), [("kill", 10), ("interrupt", 10), ("interrupt", 1)])
def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path, how: str, batches: int) -> None:
    process = start(tmp_path, "first.npy", pause=0.03)
    children = wait_for_batches(process, batches)
    if how == "kill":
        process.kill()
        process.wait(timeout=30)
    else:
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: workers get it too
        out, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert out.endswith("stopped\n")
        assert errors == ""
    left = [child for child in children if not gone(child)]
    for child in left:
        os.kill(child, signal.SIGKILL)
    assert left == []
    if how == "kill":
        process.communicate(timeout=30)

    data = samples(ArrayImages(pixels(200)))
    resumed = Moments()
    done = extract(data, resumed, cache=FeatureCache(tmp_path / "cache"), workers=0)
    assert done.reused >= 7 * (batches - 3)
    assert done.computed == resumed.seen == 200 - done.reused > 0
    assert done.values.tobytes() == extract(data, Moments(), cache=None, workers=0).values.tobytes()


def test_two_runs_at_once_share_a_cache(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    runs = [start(tmp_path, f"{number}.npy", pause=0.0, workers=0) for number in range(2)]
    for run in runs:
        out, errors = run.communicate(timeout=60)
        assert run.returncode == 0, errors
        assert sum(json.loads(out.splitlines()[-1])) == 200
    assert (tmp_path / "0.npy").read_bytes() == (tmp_path / "1.npy").read_bytes()
    data = samples(ArrayImages(pixels(200)))
    done = extract(data, Moments(), cache=FeatureCache(tmp_path / "cache"), workers=0)
    assert (done.computed, done.reused) == (0, 200)
    assert done.values.tobytes() == np.load(tmp_path / "0.npy").tobytes()
    assert caplog.text == ""


def test_a_damaged_shard_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "FLUSH_ROWS", 10)
    data, cache = samples(ArrayImages(pixels(40))), FeatureCache(tmp_path)
    first = extract(data, Moments(), cache=cache, workers=0)
    shard = next((tmp_path / spec_digest({"kind": "moments"})).glob("*.shard"))
    raw = bytearray(shard.read_bytes())
    raw[-40] ^= 255
    shard.write_bytes(raw)
    again = extract(data, Moments(), cache=cache, workers=0)
    assert (again.computed, again.reused) == (10, 30)
    assert again.values.tobytes() == first.values.tobytes()


class Deadly(Moments):
    def prepare(self, image: Image.Image) -> np.ndarray:
        if multiprocessing.parent_process() is not None:
            os._exit(3)
        return np.asarray(image)


def test_a_worker_that_dies_is_told_of() -> None:
    with pytest.raises(FeatureError, match=r"worker process .* died.*__main__.*--workers 1"):
        extract(samples(ArrayImages(pixels(120))), Deadly(), cache=None, workers=1)


def test_a_bug_in_an_extractor_is_not_hidden() -> None:
    class Wrong(Moments):
        def compute(self, batch: Sequence[np.ndarray], /) -> Any:
            return (
                np.zeros((len(batch), 2), dtype=np.float32),
                np.ones(len(batch), dtype=bool),
                [""] * len(batch),
            )

    with pytest.raises(ValueError, match=r"'moments' computed shape \(3, 2\), expected \(3, 5\)"):
        extract(samples(ArrayImages(pixels(3))), Wrong(), cache=None, workers=0)


def test_a_picture_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    real = images_module.read_bytes

    def counted(source: Any, row: int) -> bytes:
        rows.append(row)
        return real(source, row)

    monkeypatch.setattr(images_module, "read_bytes", counted)
    extract(samples(ArrayImages(pixels(133))), Moments(), cache=None, workers=0)
    assert sorted(rows) == list(range(133))
