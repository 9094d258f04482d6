"""A review in progress: order, windows, undo, what is left; and the queue's values by hand."""

from __future__ import annotations

import numpy as np
import pytest
from review_cases import CLASSES, refined_set

from fercleaner.core.errors import InputError, StoreError
from fercleaner.review.log import Decision, DecisionLog, Entry
from fercleaner.review.queue import NoiseLeft, expected_gain, lead, order
from fercleaner.review.session import KEYS, Item, Session, items_from

FEAR = Decision("label", ("fear",))


@pytest.fixture
def log(tmp_path):
    return DecisionLog(tmp_path / "a.jsonl")


def test_the_most_valuable_look_comes_first():
    refined = refined_set()
    assert np.allclose(expected_gain(refined), 1 - refined.distribution.max(1))
    rows = order(refined)
    assert sorted(rows.tolist()) == list(range(len(refined)))
    two = np.sort(refined.distribution, axis=1)
    assert np.allclose(lead(refined), two[:, -1] - two[:, -2])
    assert (np.diff(lead(refined)[rows]) >= 0).all()
    by_quality = order(refined, "quality")
    labeled = refined.labeled[by_quality]
    assert labeled[: labeled.sum()].all()
    assert (np.diff(refined.quality[by_quality][: labeled.sum()]) >= 0).all()
    at_random = order(refined, "random")
    assert sorted(at_random.tolist()) == list(range(len(refined)))
    assert at_random.tolist() == order(refined, "random").tolist() != sorted(at_random.tolist())
    turned = refined_set(ids=refined.ids[::-1])  # the order goes by name, not by row
    assert turned.ids[order(turned, "random")].tolist() == refined.ids[at_random].tolist()
    with pytest.raises(InputError, match="'best' is not an order"):
        order(refined, "best")


def test_noise_left_is_what_a_sum_over_open_faces_gives():
    refined = refined_set()
    decided = np.zeros(len(refined), dtype=bool)
    left = NoiseLeft(refined, decided)
    rng = np.random.default_rng(0)
    for _ in range(100):
        row, now = int(rng.integers(len(refined))), bool(rng.integers(2))
        left.set_decided(row, now)
        decided[row] = now
    fresh = NoiseLeft(refined, decided).to_dict()
    assert left.to_dict() == pytest.approx(fresh)
    given = (refined.given * refined.distribution).sum(1)
    high = (1 - given)[refined.labeled & ~decided].sum()
    low = (refined.changed & ~decided).sum()
    assert fresh["wrong_given_low"] == pytest.approx(min(low, high))
    assert fresh["wrong_given_high"] == pytest.approx(max(low, high))
    assert fresh["open"] == (~decided).sum()


def test_faces_come_in_order_once_each_until_all_are_done(log):
    refined = refined_set()
    session = Session(refined, log, "ann")
    seen = []
    while "face" in (shown := session.next("w")):
        row = shown["face"]["row"]
        assert shown["ahead"] == [r for r in order(refined).tolist() if r not in seen and r != row][:4]
        seen.append(row)
        session.decide([Item(row, Decision("skip") if len(seen) % 3 else FEAR)], "label")
    assert seen == order(refined).tolist()
    assert shown["done"]
    again = Session(refined, log, "ann")
    assert again.next("w")["done"]
    assert again.progress() == session.progress()


def test_two_windows_are_not_shown_the_same_face(log):
    session = Session(refined_set(), log, "ann")
    rows = order(session.refined).tolist()
    assert session.next("one")["face"]["row"] == rows[0]
    assert session.next("two")["face"]["row"] == rows[1]
    assert session.next("one")["face"]["row"] == rows[0]  # a window that asks again gets its own
    session.decide([Item(rows[0], FEAR)], "label")
    assert session.next("one")["face"]["row"] == rows[2]
    grid = session.grid("three")["faces"]
    assert not {face["row"] for face in grid} & {rows[0], rows[1], rows[2]}


def test_undo_puts_back_what_stood_before_also_after_a_restart(log):
    refined = refined_set()
    session = Session(refined, log, "ann")
    fresh = session.progress()
    row = session.next("w")["face"]["row"]
    session.decide([Item(row, FEAR)], "label")
    session.decide([Item(row, Decision("not a face"))], "not a face")
    assert session.face(row)["decision"]["kind"] == "not a face"
    session.undo([row])
    assert session.face(row)["decision"] == FEAR.to_dict()
    session.undo([row])
    assert session.face(row)["decision"] is None
    now = session.progress()
    assert {name for name in fresh if now[name] != fresh[name]} <= {
        "wrong_given_low",
        "wrong_given_high",
        "wrong_refined",
        "wrong_refined_low",
        "wrong_refined_high",
    }
    gain = 1 - refined.distribution.max(1)
    half = 1.96 * np.sqrt((gain * (1 - gain)).sum())
    ends = [fresh["wrong_refined_low"], fresh["wrong_refined_high"]]
    assert ends == pytest.approx([gain.sum() - half, gain.sum() + half], rel=1e-3)
    assert now["wrong_refined"] == pytest.approx(fresh["wrong_refined"])
    assert session.next("w")["face"]["row"] == row
    session.decide([Item(row, FEAR)], "label")
    again = Session(refined, log, "ann")
    again.undo([row])
    assert again.face(row)["decision"] is None
    assert [entry.action for entry in log.read().entries] == ["label", "not a face", "undo", "undo", "label", "undo"]
    assert log.read().entries[2].before == Decision("not a face")


def test_a_clock_that_is_set_back_loses_no_decision(log, monkeypatch):
    clock = iter(["2026-03-01T10:00:02.000Z", "2026-03-01T10:00:01.000Z", "2026-03-01T09:00:00.000Z"])
    monkeypatch.setattr("fercleaner.review.session.now", lambda: next(clock))
    session = Session(refined_set(), log, "ann")
    row = session.next("w")["face"]["row"]
    session.decide([Item(row, FEAR)], "label")
    session.undo([row])
    again = Session(refined_set(), log, "ann")
    assert again.face(row)["decision"] is None
    again.decide([Item(row, Decision("not a face"))], "not a face")
    assert Session(refined_set(), log, "ann").face(row)["decision"]["kind"] == "not a face"


def test_a_grid_is_of_one_kind_and_decided_at_once(log):
    session = Session(refined_set(400), log, "ann")
    answer = session.grid("w")
    faces = answer["faces"]
    assert 1 < len(faces) <= 24
    assert {(face["given"], face["refined"]) for face in faces} == {(answer["given"], answer["refined"])}
    session.decide([Item(face["row"], FEAR) for face in faces], "label")
    assert session.progress()["decided"] == len(faces)
    assert len(log.read().entries) == len(faces)


def test_every_line_says_what_was_shown(log):
    refined = refined_set()
    session = Session(refined, log, " ann ", digest="12ab")
    row = session.next("w")["face"]["row"]
    session.decide([Item(row, FEAR)], "label")
    entry = log.read().entries[0]
    assert entry.who == "ann"
    assert entry.shown["refined"] == CLASSES[refined.label[row]]
    assert entry.shown["quality"] == pytest.approx(refined.quality[row], abs=1e-5)
    assert (entry.shown["rank"], entry.shown["file"]) == (1, "12ab")


def test_progress_counts_which_side_was_right_with_an_interval(log):
    refined = refined_set()
    session = Session(refined, log, "ann")
    for row in range(9):
        label = refined.label[row] if row < 6 else refined.given_label[row]
        session.decide([Item(row, Decision("label", (CLASSES[label],)))], "label")
    done = session.progress()
    right = sum(row < 6 or refined.label[row] == refined.given_label[row] for row in range(9))
    assert (done["refined_right"]["count"], done["refined_right"]["total"]) == (right, 9)
    assert 0 <= done["refined_right"]["low"] < right / 9 <= done["refined_right"]["high"] <= 1
    given = sum(row >= 6 or refined.label[row] == refined.given_label[row] for row in range(9))
    assert done["given_right"]["count"] == given


def test_decisions_of_others_in_one_log_are_not_asked_again(log):
    refined = refined_set()
    rows = order(refined).tolist()
    log.append([Entry(str(refined.ids[rows[0]]), "ben", "label", FEAR)])
    session = Session(refined, log, "ann")
    assert session.next("w")["face"]["row"] == rows[1]
    assert session.progress()["decided"] == 0
    assert session.progress()["open"] == len(refined) - 1


def test_a_log_of_another_set_is_refused(log):
    log.append([Entry("nobody.png", "ann", "label", FEAR)])
    with pytest.raises(InputError, match="holds decisions of another set"):
        Session(refined_set(), log, "ann")


def test_requests_that_are_no_decisions_are_refused_and_write_nothing(log):
    session = Session(refined_set(), log, "ann")
    for items in ([], [Item(0, FEAR), Item(0, FEAR)], [Item(-1, FEAR)], [Item(40, FEAR)]):
        with pytest.raises(InputError):
            session.decide(items, "label")
    with pytest.raises(InputError, match="'joy' is not a class"):
        session.decide([Item(0, Decision("label", ("joy",)))], "label")
    for payload in ({}, {"items": [{"row": "0", "decision": None}]}, {"items": [{"row": True, "decision": None}]}):
        with pytest.raises(InputError, match="not a list of rows"):
            items_from(payload)
    assert not log.path.exists()


def test_what_is_not_on_disk_is_not_counted(log, monkeypatch):
    session = Session(refined_set(), log, "ann")

    def broken(entries):
        raise StoreError("the disk is full")

    monkeypatch.setattr(log, "append", broken)
    row = session.next("w")["face"]["row"]
    with pytest.raises(StoreError):
        session.decide([Item(row, FEAR)], "label")
    assert session.progress()["decided"] == 0
    assert session.next("w")["face"]["row"] == row


def test_keys_are_unique_and_leave_the_commands_alone():
    commands = set("kmxsbungh") | {"t"}
    assert len(set(KEYS)) == len(KEYS)
    assert not commands & set(KEYS)
