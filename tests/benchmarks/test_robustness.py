"""The faults that `benchmarks/robustness.py` plays, on the one helper that writes every file of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import fuzz_readers  # noqa: E402
import robustness  # noqa: E402
from robustness_commands import SCENARIOS  # noqa: E402
from robustness_faults import TORN, Injector, faults_of, in_child  # noqa: E402
from robustness_state import contents, fingerprint  # noqa: E402

from fercleaner.core.files import write_whole  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="faults are played in forks, as on Linux")


def attempt(target: Path) -> int:
    try:
        write_whole(target, [b"new " * 1000, b"end"])
    except (OSError, MemoryError):
        return 1
    return 0


def test_a_file_is_the_old_or_the_new_one_whatever_step_fails(tmp_path: Path) -> None:
    work, target = tmp_path / "work", tmp_path / "work" / "file"
    work.mkdir()
    counted = in_child(Injector(work), lambda: attempt(target), tmp_path)
    kinds = [kind for kind, _ in counted.steps]
    assert (counted.status, kinds) == (0, ["list", "open", "write", "write", "fsync", "rename", "open", "fsync"])
    whole, tried = target.read_bytes(), []
    for number, what, fault in faults_of(counted.steps, ends=True):
        for left in work.iterdir():
            left.unlink()
        target.write_bytes(b"old")
        done = in_child(Injector(work, number, fault), lambda: attempt(target), tmp_path)
        assert done.status in (0, 1, -9, -15, TORN), (what, fault, done)
        assert target.read_bytes() in (b"old", whole), (what, fault)
        if done.status == 1:
            assert not list(work.glob(".fercleaner-*")), (what, fault)
        tried.append((what.split()[0], fault, done.status))
    assert ("write", "torn", TORN) in tried
    assert ("fsync", "SIGKILL", -9) in tried
    assert ("write", "MemoryError", 1) in tried


def test_a_writer_without_a_temporary_name_is_caught(tmp_path: Path) -> None:
    """The oracle sees what it is there for: a file written in place is lost by a torn write."""
    target = tmp_path / "file"
    target.write_bytes(b"old")

    def careless() -> int:
        with open(target, "wb") as stream:
            stream.write(b"new " * 1000)
        return 0

    counted = in_child(Injector(tmp_path), careless, tmp_path)
    write = next(number for number, (kind, _) in enumerate(counted.steps) if kind == "write")
    assert in_child(Injector(tmp_path, write, "torn"), careless, tmp_path).status == TORN
    assert len(target.read_bytes()) == 2000


def test_two_states_are_equal_though_names_are_drawn(tmp_path: Path) -> None:
    for number, name in enumerate(("0a", "ff")):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f".fercleaner-{name}.tmp").write_bytes(b"half")
        (folder / "figures.json").write_text(json.dumps({"seconds": number, "accuracy": 0.5}))
    assert fingerprint(tmp_path / "0") == fingerprint(tmp_path / "1")
    assert contents(tmp_path / "0")["figures.json"] == b'{"accuracy": 0.5}'
    (tmp_path / "1" / "more").write_bytes(b"")
    assert fingerprint(tmp_path / "0") != fingerprint(tmp_path / "1")


def test_the_file_of_figures_says_whether_it_is_complete(tmp_path: Path) -> None:
    out, entry = (
        tmp_path / "r.json",
        dict.fromkeys(("points", "places", "points_tried", "faults", "lost", "cpu_seconds"), 1),
    )
    for name in SCENARIOS:
        robustness.keep(out, {"commit": "abc"}, "faults", {name: entry})
        assert not robustness.begun(out)["complete"]
    robustness.keep(out, {"commit": "abc"}, "soak", {"runs": {}, "processes": {}})
    held = robustness.begun(out)
    assert held["complete"]
    assert held["total"]["points"] == len(SCENARIOS)


def test_pieces_of_a_readers_cases_are_joined() -> None:
    largest = {"largest_growth_mib": 1.0, "peak_mib": 9.0, "longest_message": 5}
    counts = {"cases": 2, "read": 1, "refused": 0, "foreign": {"x": {"cases": 1, "first_seeds": [4]}}}
    one = {**counts, "slowest_seconds": 0.1, "slowest_seed": 4, **largest}
    two = one | {"slowest_seconds": 0.2, "slowest_seed": 7, "foreign": {"x": {"cases": 1, "first_seeds": [7]}}}
    both = fuzz_readers.joined(fuzz_readers.joined({}, one), two)
    assert (both["cases"], both["slowest_seed"], both["peak_mib"]) == (4, 7, 9.0)
    assert both["foreign"] == {"x": {"cases": 2, "first_seeds": [4, 7]}}
    assert "died" in fuzz_readers.joined(one, {"died": "seeds 3 to 4"})
