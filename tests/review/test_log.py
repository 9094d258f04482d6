"""The log of decisions: appended, flushed, torn, damaged, written by two at once, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from review_cases import HOSTILE

from fercleaner.core.errors import InputError, StoreError
from fercleaner.review.log import Decision, DecisionLog, Entry, read_log, standing

FEAR = Decision("label", ("fear",))


def test_what_is_appended_is_read_back_in_order(tmp_path):
    log = DecisionLog(tmp_path / "a.jsonl")
    assert log.read().entries == ()
    both, at = Decision("ambiguous", ("fear", "anger")), "2026-01-01T00:00:00.000Z"
    entries = [Entry(name, "ann", "ambiguous", both, FEAR, at, {"q": 1}) for name in HOSTILE]
    log.append(entries[:5])
    log.append(entries[5:])
    assert read_log(log.path).entries == tuple(entries)
    assert len(log.path.read_bytes().splitlines()) == len(HOSTILE)  # no id breaks a line
    assert all(line.isascii() for line in log.path.read_text().splitlines())


def test_every_append_is_flushed_before_it_returns(tmp_path, monkeypatch):
    flushed = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda d: (flushed.append(os.fstat(d).st_size), real(d))[1])
    log = DecisionLog(tmp_path / "a.jsonl")
    log.append([Entry("a", "ann", "label", FEAR)])
    assert log.path.stat().st_size in flushed
    log.append([Entry("b", "ann", "label", FEAR)])
    assert log.path.stat().st_size == flushed[-1]


@pytest.mark.parametrize("cut", [1, 2, 10, 60])
def test_a_torn_last_line_is_left_out_and_does_not_swallow_the_next(tmp_path, cut):
    log = DecisionLog(tmp_path / "a.jsonl")
    log.append([Entry("a", "ann", "label", FEAR), Entry("b", "ann", "label", FEAR)])
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-cut])
    left = 2 if cut == 1 else 1  # without its line end alone the line is whole
    assert [entry.id for entry in log.read().entries] == ["a", "b"][:left]
    DecisionLog(log.path).append([Entry("c", "ann", "label", FEAR)])
    contents = log.read()
    assert [entry.id for entry in contents.entries] == [*["a", "b"][:left], "c"]
    assert contents.unreadable == (() if cut == 1 else (2,))


def test_a_log_that_cannot_be_written_is_said_before_anybody_decides(tmp_path, monkeypatch):
    log = DecisionLog(tmp_path / "a.jsonl")
    log.check()
    assert not log.path.exists()
    monkeypatch.setattr(os, "access", lambda place, mode: not (place == tmp_path and mode == os.W_OK))
    with pytest.raises(StoreError, match=r"cannot be written: no permission\. Choose another --log"):
        log.check()


def test_damaged_lines_are_counted_and_a_file_of_nothing_else_is_refused(tmp_path):
    log = DecisionLog(tmp_path / "a.jsonl")
    log.append([Entry("a", "ann", "label", FEAR)])
    good = log.path.read_text()
    bad = ['{"id": 3}', "[]", "\u0000\u0000", good.strip().replace('"label", "classes"', '"guess", "classes"')]
    log.path.write_text(good + "\n".join(bad) + "\n" + good)
    contents = log.read()
    assert len(contents.entries) == 2
    assert contents.unreadable == (2, 3, 4, 5)
    (tmp_path / "b.jsonl").write_text("hello\n")
    with pytest.raises(InputError, match=r"b.jsonl holds no decision that can be read"):
        read_log(tmp_path / "b.jsonl")
    with pytest.raises(InputError, match=r"nowhere.jsonl: no such file"):
        read_log(tmp_path / "nowhere.jsonl")


def test_two_writers_and_many_threads_do_not_mix_lines(tmp_path):
    logs = [DecisionLog(tmp_path / "a.jsonl") for _ in range(2)]
    long = "x" * 5000

    def write(log, name):
        for i in range(20):
            log.append([Entry(f"{name} {i}", "ann", "label", FEAR, shown={"long": long})])

    threads = [threading.Thread(target=write, args=(logs[t % 2], t)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contents = logs[0].read()
    assert len(contents.entries) == 80
    assert not contents.unreadable
    assert len({entry.id for entry in contents.entries}) == 80


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path):
    """The writer prints a number after each append; killed in the middle, every number printed is in the log."""
    code = (
        "import sys\n"
        "from fercleaner.review.log import Decision, DecisionLog, Entry\n"
        "log = DecisionLog(sys.argv[1])\n"
        "for i in range(10**6):\n"
        "    log.append([Entry(str(i), 'ann', 'label', Decision('label', ('fear',)))])\n"
        "    print(i, flush=True)\n"
    )
    path = tmp_path / "a.jsonl"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        seen = [int(writer.stdout.readline()) for _ in range(25)]
        writer.send_signal(signal.SIGKILL)
        seen += [int(line) for line in writer.stdout.read().splitlines() if line]
        writer.wait()
        found = {int(entry.id) for entry in read_log(path).entries}
        assert set(seen) <= found


def test_the_last_entry_of_a_face_and_person_stands():
    entries = [
        Entry("a", "ann", "label", FEAR, at="2026-01-02"),
        Entry("a", "ann", "undo", None, FEAR, at="2026-01-03"),
        Entry("a", "ben", "skip", Decision("skip"), at="2026-01-01"),
        Entry("b", "ann", "label", FEAR, at="2026-01-05"),
        Entry("b", "ann", "label", Decision("not a face"), at="2026-01-04"),  # an older log read later
    ]
    found = standing(entries)
    assert found["a", "ann"].after is None
    assert found["a", "ben"].after == Decision("skip")
    assert found["b", "ann"].after == FEAR


def test_what_is_no_decision_is_refused(tmp_path):
    with pytest.raises(InputError, match="'guess' is not a decision"):
        Decision("guess")
    with pytest.raises(InputError, match="names 2 classes, not 1"):
        Decision("ambiguous", ("fear",))
    with pytest.raises(InputError, match="names 2 classes"):
        Decision("ambiguous", ("fear", "fear"))
    with pytest.raises(StoreError, match="name a file in a folder that exists"):
        DecisionLog(tmp_path / "no" / "a.jsonl")
    with pytest.raises(StoreError, match="name a file"):
        DecisionLog(tmp_path)


def test_a_log_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    log = DecisionLog(tmp_path / "a.jsonl")
    log.append([Entry("a", "ann", "label", FEAR)])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"a.jsonl cannot be written: No space left on device"):
        log.append([Entry("b", "ann", "label", FEAR)])


def test_a_line_is_plain_json(tmp_path):
    log = DecisionLog(tmp_path / "a.jsonl")
    log.append([Entry("a", "ann", "accept", FEAR, shown={"given": "anger"})])
    record = json.loads(log.path.read_text())
    assert record["after"] == {"kind": "label", "classes": ["fear"]}
    assert record["before"] is None
    assert record["shown"] == {"given": "anger"}
    assert record["at"].endswith("Z")


def test_a_log_that_is_removed_during_a_session_is_written_again(tmp_path, caplog):
    DecisionLog(tmp_path / "a.jsonl").append([Entry("a", "ann", "label", FEAR, at="2026-01-01T00:00:00.000Z")])
    log = DecisionLog(tmp_path / "a.jsonl")
    log.read()
    log.append([Entry("b", "ann", "label", FEAR, at="2026-01-01T00:00:01.000Z")])
    before = log.path.read_bytes()
    log.path.unlink()
    log.append([Entry("c", "ann", "label", FEAR)])
    assert [entry.id for entry in log.read().entries] == ["a", "b", "c"]
    assert log.path.read_bytes().startswith(before)
    assert "a.jsonl was removed; 2 lines are written again." in caplog.text
