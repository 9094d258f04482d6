"""Masks that cancel: their sum is the mean of plain steps, one message is noise, what cannot be hidden is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'fercleaner[federated]')")


from fercleaner.federation import rounds
from fercleaner.federation.rounds import Update
from fercleaner.federation.secure import Keys, Member, Roster, check_roster, covered, uncovered
from fercleaner.federation.terms import SiteError, Terms

TERMS = Terms(("a", "b", "c"), (("v", 4, "vectors"),), 8, 0, 1.0, "", 0.1, parts=3, least_faces=1)
NAMES = ("one", "two", "three", "four", "five")


def members(keys, faces=(100, 40, 60, 80, 90)):
    return {n: Member(keys[n].public, i % 3, f) for i, (n, f) in enumerate(zip(sorted(NAMES), faces, strict=True))}


def drawn(seed=0, length=0.3):
    rng = np.random.default_rng(seed)
    shape = (TERMS.parts - 1, *TERMS.shape[1:])
    return {name: (length * rng.normal(size=shape)).astype(np.float32) for name in NAMES}


@pytest.fixture
def round_one():
    keys = {name: Keys() for name in NAMES}
    roster = Roster(1, "first", members(keys))
    steps = drawn()
    sent = {name: covered(steps[name], name, keys[name], roster, TERMS) for name in NAMES}
    return keys, roster, steps, sent


def test_the_sum_is_that_of_plain_steps(round_one):
    _, roster, steps, sent = round_one
    start = rounds.start(TERMS) + np.float32(0.5)
    heads = uncovered(start, sent, roster, TERMS)
    for part in range(TERMS.parts):
        names = roster.sharing(part)
        weight = rounds.bounded(np.array([roster.members[n].faces for n in names], dtype=float))
        wanted = 0.5 + sum(
            w * steps[n][part - (part > roster.members[n].part)].astype(float)
            for w, n in zip(weight, names, strict=True)
        )
        assert np.allclose(heads[part], wanted, atol=len(names) * 2.0**-20)


def test_equal_steps_give_the_heads_of_robust_rounds():
    """Steps of one length are not shortened, so that both ways of joining them must agree."""
    keys = {name: Keys() for name in NAMES}
    steps = drawn(seed=1)
    for step in steps.values():
        step /= np.sqrt((step**2).sum((1, 2), keepdims=True))
    roster = Roster(1, "x", members(keys))
    sent = {name: covered(steps[name], name, keys[name], roster, TERMS) for name in NAMES}
    updates = [Update(n, roster.members[n].part, roster.members[n].faces, steps[n]) for n in NAMES]
    start = rounds.start(TERMS)
    assert np.allclose(uncovered(start, sent, roster, TERMS), rounds.averaged(start, updates, TERMS), atol=1e-5)


def test_one_message_says_nothing_of_its_step(round_one):
    """Uniform whatever the step: the share of set bits is one half, and zero steps look the same."""
    keys, roster, _, sent = round_one
    zeros = {name: np.zeros_like(step) for name, step in drawn().items()}
    for values in (sent["two"], covered(zeros["two"], "two", keys["two"], roster, TERMS)):
        bits = np.unpackbits(values.view(np.uint8)).mean()
        assert abs(bits - 0.5) < 5 * 0.5 / np.sqrt(values.size * 32)
    plain = np.round(drawn()["two"].astype(float) * 2.0**20).astype(np.int64).astype(np.uint32)
    assert (sent["two"] != plain).mean() > 0.99


def test_masks_are_of_one_attempt_and_one_round(round_one):
    keys, roster, steps, sent = round_one
    for other in (Roster(1, "second", roster.members), Roster(2, "first", roster.members)):
        again = covered(steps["one"], "one", keys["one"], other, TERMS)
        assert (again != sent["one"]).mean() > 0.99


def test_a_site_that_drops_out_spoils_the_attempt_and_not_the_next(round_one):
    keys, roster, steps, sent = round_one
    left = {name: value for name, value in sent.items() if name != "two"}
    with pytest.raises(SiteError, match="Round 1: site 'two' is missing, so the masks do not cancel"):
        uncovered(rounds.start(TERMS), left, roster, TERMS)
    without = Roster(1, "first", {n: m for n, m in roster.members.items() if n != "two"})
    with pytest.raises(SiteError, match="longer than honest steps can make it"):
        uncovered(rounds.start(TERMS), left, without, TERMS)  # the masks shared with 'two' are still in it
    again = Roster(1, "second", without.members)
    sent = {name: covered(steps[name], name, keys[name], again, TERMS) for name in again.members}
    assert np.abs(uncovered(rounds.start(TERMS), sent, again, TERMS)).max() < 2


def test_steps_that_are_too_long_are_seen_in_the_sum(round_one):
    keys, roster, steps, sent = round_one
    liar = replace(TERMS, most_norm=1e6)
    sent["four"] = covered(np.float32(1e3) * steps["four"], "four", keys["four"], roster, liar)
    with pytest.raises(SiteError, match="nobody can say which; --aggregate robust can"):
        uncovered(rounds.start(TERMS), sent, roster, TERMS)


def test_a_site_refuses_to_be_alone_in_a_sum():
    keys = {name: Keys() for name in NAMES}
    pair = {"one": Member(keys["one"].public, 0, 50), "two": Member(keys["two"].public, 1, 50)}
    with pytest.raises(SiteError, match=r"would learn from this one alone\. Nothing was sent"):
        covered(drawn()["one"], "one", keys["one"], Roster(1, "x", pair), TERMS)
    with pytest.raises(SiteError, match="holds another key"):
        check_roster(Roster(1, "x", pair), "one", keys["three"].public, TERMS)
