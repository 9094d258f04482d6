"""Secure aggregation between coordinator and sites: the heads of plain sums, sites that drop out, what is refused."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'fercleaner[federated]')")

from cli_runs import labeled_vectors, run
from federation_cases import SMALL, Direct, site

from fercleaner.federation.client import Cover, Link, take_part
from fercleaner.federation.coordinator import Coordinator, Plan
from fercleaner.federation.keys import KeyRing, SiteKey
from fercleaner.federation.messages import (
    Message,
    MessageLog,
    check_leaving,
    decode,
    of_heads,
    of_hello,
    of_update,
)
from fercleaner.federation.server import Server
from fercleaner.federation.simulate import federate
from fercleaner.federation.terms import PROTOCOL, Settings, SiteError

NAMES = ("four", "one", "three", "two")
SECRET = replace(SMALL, aggregate="secure")


def sites(names=NAMES, aggregate="secure"):
    return [site(name, 60 + 20 * number, seed=number, aggregate=aggregate)[0] for number, name in enumerate(names)]


def test_the_heads_are_those_of_plain_weighted_sums():
    """As long as no step is shortened to the median, both ways of joining agree to what rounding takes."""
    plain, masked = federate(sites(aggregate="robust"), SMALL), federate(sites(), SECRET)
    assert np.abs(masked.heads).max() > 0.1
    first = [federate(sites(aggregate=one.aggregate), replace(one, rounds=1)).heads for one in (SMALL, SECRET)]
    ratio = np.linalg.norm(first[1], axis=(1, 2)) / np.linalg.norm(first[0], axis=(1, 2))
    assert (ratio > 0.99).all()  # the median alone makes steps shorter
    assert (ratio < 1.5).all()
    assert plain.heads.shape == masked.heads.shape
    assert max(masked.sent.values()) < 1.1 * max(plain.sent.values())


def test_over_the_network_as_on_one_machine(tmp_path):
    ring = KeyRing(tmp_path / "keys")
    ring.invite(NAMES)
    server = Server(("127.0.0.1", 0), Coordinator(tmp_path / "state", Plan(4, SECRET), print), ring)
    thread = threading.Thread(target=server.run, kwargs={"stay": False}, daemon=True)
    thread.start()
    heads = {}

    def part(here):
        link = Link(server.server_address, SiteKey.read(ring.folder / f"{here.name}.key"), 5, print)
        heads[here.name] = take_part(here, link, MessageLog(tmp_path / here.name), poll=0.02)[0]

    threads = [threading.Thread(target=part, args=(here,)) for here in sites()]
    for one in threads:
        one.start()
    for one in (*threads, thread):
        one.join(timeout=60)
    assert not thread.is_alive()
    wanted = federate(sites(), SECRET)
    assert all(np.array_equal(heads[name], wanted.head_of(name)) for name in NAMES)
    kinds = {decode(path.read_bytes(), "x").kind for path in tmp_path.glob("*/*.msg") if path.parent.name in NAMES}
    assert kinds == {"hello", "key", "masked"}


@pytest.fixture
def begun(tmp_path):
    """A coordinator of four sites that have joined, a clock, and each site's cover."""
    clock, said = [0.0], []
    coordinator = Coordinator(tmp_path / "state", Plan(4, SECRET, 10.0), said.append, lambda: clock[0])
    here = sites()
    for one in here:
        coordinator.hello(one.name, of_hello(one.hello(), PROTOCOL))
    covers = {}
    for one in here:
        one.begin(coordinator.terms, coordinator.parts[one.name])
        covers[one.name] = Cover(
            one, Direct(coordinator, one.name), MessageLog(tmp_path / one.name), 0.0, coordinator.terms
        )
    return coordinator, clock, said, covers


def do(coordinator, covers, *names):
    return [covers[name].step(coordinator.status(name)) for name in names]


def test_a_site_that_drops_out_costs_an_attempt_and_not_the_round(begun):
    coordinator, clock, said, covers = begun
    do(coordinator, covers, *NAMES)  # keys
    first = coordinator.status("one")["asked"]
    assert do(coordinator, covers, "one", "two", "three") == [True] * 3
    assert coordinator.round == 0
    assert do(coordinator, covers, "one") == [False]  # it has answered
    clock[0] = 11.0
    coordinator.tick()
    assert said[-1] == "Round 1: site 'four' did not answer; the round goes on without it."
    assert coordinator.status("one")["asked"] not in ("", first)
    assert do(coordinator, covers, "one", "two", "three") == [True] * 3
    assert coordinator.round == 1
    wanted = federate(
        sites(), replace(SECRET, rounds=1), tamper=lambda update, _: None if update.site == "four" else update
    )
    assert np.array_equal(coordinator.heads, wanted.heads)
    do(coordinator, covers, "four")  # it is back with its key, and in the next attempt that begins
    assert "four" in coordinator._attempts.keys


def test_a_coordinator_that_was_killed_asks_for_keys_again(begun, tmp_path):
    coordinator, clock, _, covers = begun
    do(coordinator, covers, *NAMES)
    do(coordinator, covers, *NAMES)
    assert coordinator.round == 1
    do(coordinator, covers, "one", "two")
    again = Coordinator(tmp_path / "state", Plan(4, SECRET, 10.0), print, lambda: clock[0])
    assert again.round == 1
    assert np.array_equal(again.heads, coordinator.heads)
    for cover in covers.values():
        cover._link._coordinator = again
    for _ in range(2):
        do(again, covers, *NAMES)
    assert again.round == 2


@pytest.mark.parametrize("answered", [(), ("one", "two"), ("one", "three", "two")])
def test_a_site_that_was_killed_gives_its_new_key_and_ends_the_attempt_that_had_the_old_one(begun, tmp_path, answered):
    coordinator, _, _, covers = begun
    do(coordinator, covers, *NAMES)
    do(coordinator, covers, *answered)
    first = coordinator._attempts.roster.attempt
    old = covers["three"]
    covers["three"] = Cover(old._site, old._link, MessageLog(tmp_path / "again"), 0.0, coordinator.terms)
    assert do(coordinator, covers, "three") == [True]
    assert coordinator.status("three")["asked"] not in ("", first)
    do(coordinator, covers, *NAMES)
    assert coordinator.round == 1


def test_a_site_sends_nothing_where_the_round_went_on_without_it(begun):
    coordinator, _, _, covers = begun
    do(coordinator, covers, *NAMES)
    link, late = covers["one"]._link, coordinator.current("one").arrays["heads"]
    link.get = lambda path: Direct.get(link, path) if path != "/heads" else of_heads(late, 1)
    assert do(coordinator, covers, "one") == [False]
    assert not coordinator._attempts.came


def test_one_attempt_is_answered_once(begun):
    coordinator, _, _, covers = begun
    do(coordinator, covers, *NAMES)
    do(coordinator, covers, "one")
    coordinator._attempts.came.clear()  # a coordinator that wants the same steps under the same masks again
    with pytest.raises(SiteError, match="asks for one attempt twice, which would uncover"):
        do(coordinator, covers, "one")


def test_steps_in_the_open_and_masks_in_robust_rounds_are_refused(begun, tmp_path):
    coordinator, _, _, covers = begun
    one = covers["one"]._site
    update = of_update(one.update(coordinator.current("one").arrays["heads"]), 1)
    with pytest.raises(SiteError, match="Site 'one' sent its steps uncovered, and secure aggregation was agreed on"):
        coordinator.update("one", update)
    with pytest.raises(SiteError, match="'update' does not leave a site under --aggregate secure"):
        check_leaving(update, coordinator.terms)
    with pytest.raises(SiteError, match="'key' does not leave a site under --aggregate robust"):
        check_leaving(Message("key", {"site": "one", "public": ""}), replace(coordinator.terms, aggregate="robust"))
    with pytest.raises(SiteError, match="sent a key of 1 bytes; expected 32"):
        coordinator.key("one", Message("key", {"site": "one", "public": "00"}))
    with pytest.raises(SiteError, match="was used by one that calls itself 'two'"):
        coordinator.key("one", Message("key", {"site": "two", "public": "00" * 32}))


def test_robust_and_secure_exclude_each_other_and_two_sites_are_too_few(tmp_path):
    with pytest.raises(SiteError, match="Both at once cannot be: medians of single steps need what secure"):
        Settings(aggregate="robust,secure")
    with pytest.raises(SiteError, match="at least 3 are needed"):
        federate(sites(("one", "two")), SECRET)


def test_a_liar_stops_the_federation_and_nobody_is_named(begun):
    coordinator, _, _, covers = begun
    do(coordinator, covers, *NAMES)
    liar = covers["two"]
    liar._terms = replace(liar._terms, most_norm=1e6)
    plain = liar._site.update
    liar._site.update = lambda heads, noise: replace(found := plain(heads, noise), steps=found.steps * np.float32(1e3))
    do(coordinator, covers, "one", "three", "four")
    with pytest.raises(SiteError, match=r"the sum of what .* sent has length .* nobody can say which"):
        do(coordinator, covers, "two")
    with pytest.raises(SiteError, match="nobody can say which"):
        coordinator.tick()  # the coordinator stops with it


def test_the_command_adds_steps_under_masks(tmp_path):
    labeled_vectors(tmp_path, n=240, wrong=30)
    rows = (tmp_path / "faces.csv").read_text().splitlines()
    where = ["ward", *("ABC"[row % 3] for row in range(240))]
    (tmp_path / "faces.csv").write_text("\n".join(f"{row},{place}" for row, place in zip(rows, where, strict=True)))
    common = ["--site-by", "ward", "--view", f"v={tmp_path}/v.npy", "--rounds", "2", "--columns", "32"]
    more = ["--method", "hypergraph", "--aggregate", "secure", "--json"]
    said = json.loads(run("federate", tmp_path / "faces.csv", "--out", tmp_path / "sites", *common, *more).stdout)
    assert said["terms"]["aggregate"] == "secure"
    log = (tmp_path / "sites" / "messages" / "A" / "messages.log").read_text()
    assert "masked: 2 x 34 x 4 uint32" in log
    assert "update, " not in log
