"""Every reader, 200 inputs made up and damaged at random: what it raises is an error of ours, short and soon."""

from __future__ import annotations

import logging
import random
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import fuzz_readers
import reader_cases

OPTIONAL = {"huggingface": "datasets", "checkpoint": "torch"}


@pytest.mark.parametrize("reader", list(reader_cases.READERS))
def test_only_errors_of_ours(reader: str, caplog: pytest.LogCaptureFixture) -> None:
    if reader in OPTIONAL:
        pytest.importorskip(OPTIONAL[reader])
    caplog.set_level(logging.CRITICAL, logger="fercleaner")
    tally = fuzz_readers.Tally()

    @settings(max_examples=200, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=True))
    def cases(pick: random.Random) -> None:
        with tempfile.TemporaryDirectory() as folder:
            tally.run(reader, Path(folder), pick, 0)

    cases()
    assert tally.foreign == {}
    assert tally.longest < fuzz_readers.LONGEST_MESSAGE
    assert tally.growth < fuzz_readers.MOST_MIB
    assert tally.read > 0, "no input was ever right: this tests nothing"


def test_the_fuzzer_sees_a_foreign_exception(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, pick: random.Random) -> None:
        raise KeyError("lost")

    monkeypatch.setitem(reader_cases.READERS, "broken", broken)
    tally = fuzz_readers.Tally()
    tally.run("broken", tmp_path, random.Random(0), 7)
    assert [seeds for place, seeds in tally.foreign.items() if place.startswith("KeyError at")] == [[7]]
    found = tally.to_dict()
    assert (found["cases"], fuzz_readers.within(found)) == (1, False)
