"""Coordinator and sites on loopback: keys, wrong ones, sites that vanish, and both sides killed in the middle."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
from cli_runs import COMMAND, environment, fails, labeled_vectors
from federation_cases import NAMES, SMALL, Driven, site, sites

from fercleaner.core.errors import StoreError
from fercleaner.federation.client import Link, take_part
from fercleaner.federation.coordinator import Coordinator, Plan
from fercleaner.federation.keys import KeyRing, SiteKey
from fercleaner.federation.messages import Message, MessageLog, encode, of_hello, of_update
from fercleaner.federation.server import Server
from fercleaner.federation.simulate import federate
from fercleaner.federation.terms import PROTOCOL, SiteError
from fercleaner.results import parquet

pytest.importorskip("cryptography")


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    keys = KeyRing(tmp_path_factory.mktemp("keys"))
    keys.invite(NAMES)
    return keys


def key_of(keys, name):
    return SiteKey.read(keys.folder / f"{name}.key")


def serving(folder, ring, plan):
    told = []
    server = Server(("127.0.0.1", 0), Coordinator(folder, plan, told.append), ring)
    thread = threading.Thread(target=server.run, kwargs={"stay": False}, daemon=True)
    thread.start()
    return server, thread, told


class Noted(Link):
    """A link that keeps the messages that come to a site."""

    def __init__(self, *given):
        super().__init__(*given)
        self.came = []

    def _once(self, *asked):
        answer = super()._once(*asked)
        self.came += [answer] * isinstance(answer, Message)
        return answer


def test_over_the_network_as_on_one_machine(tmp_path, ring):
    server, thread, told = serving(tmp_path / "state", ring, Plan(3, SMALL))
    heads, links = {}, {}

    def part(here):
        links[here.name] = link = Noted(server.server_address, key_of(ring, here.name), 5, print)
        log = MessageLog(tmp_path / here.name)
        heads[here.name], _ = take_part(here, link, log, poll=0.02)
        link.sent = log.bytes

    threads = [threading.Thread(target=part, args=(here,)) for here in sites()]
    for one in threads:
        one.start()
    for one in (*threads, thread):
        one.join(timeout=60)
    assert not thread.is_alive()
    wanted = federate(sites(), SMALL)
    assert all(np.array_equal(heads[name], wanted.head_of(name)) for name in NAMES)
    assert told[-1] == f"Round {SMALL.rounds} of {SMALL.rounds}: 3 sites."
    for name, link in links.items():  # what was counted on one machine, and no head that the site does not need
        assert link.sent == wanted.sent[name]
        assert sum(len(encode(message)) for message in link.came) == wanted.received[name]
        shapes = [message.arrays["heads"].shape for message in link.came if message.kind == "heads"]
        assert shapes == [(2, SMALL.columns + 2, 4)] * SMALL.rounds + [(1, SMALL.columns + 2, 4)]


def test_a_stranger_learns_nothing_and_neither_side_talks_to_it(tmp_path, ring):
    server, _, _ = serving(tmp_path / "state", ring, Plan(3, SMALL))
    mine = key_of(ring, "one")
    wrong = SiteKey("one", "0" * 64, mine.certificate)
    with pytest.raises(SiteError, match=r"Site 'one': 127\.0\.0\.1:\d+ does not know this key"):
        Link(server.server_address, wrong, 0, print).get("/status")
    other = KeyRing(tmp_path / "other")
    other.invite(["one"])
    with pytest.raises(SiteError, match=r"is not the coordinator that this key is for .* Nothing was sent"):
        Link(server.server_address, key_of(other, "one"), 0, print).get("/status")
    with socket.create_connection(server.server_address[:2], timeout=5) as plain:
        plain.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        with suppress(ConnectionResetError):
            assert b"began" not in plain.recv(4096)
    assert Link(server.server_address, mine, 0, print).get("/status")["joined"] is False
    server.shutdown()


def test_a_site_can_only_speak_for_itself(tmp_path, ring):
    server, _, _ = serving(tmp_path / "state", ring, Plan(3, SMALL))
    log = MessageLog(tmp_path / "log")
    link = Link(server.server_address, key_of(ring, "two"), 0, print)
    hello = of_hello(sites()[0].hello(), PROTOCOL)
    with pytest.raises(SiteError, match="The key of site 'two' was used by one that calls itself 'one'"):
        link.post("/hello", log.keep(hello, "hello.msg"))
    server.shutdown()


def test_an_unreachable_coordinator_is_named(ring):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = []
    with pytest.raises(
        SiteError, match=f"Site 'one': the coordinator 127.0.0.1:{port} cannot be reached .* nothing is lost"
    ):
        Link(("127.0.0.1", port), key_of(ring, "one"), 0.2, told.append).get("/status")
    assert len(told) == 1


def test_key_files_are_for_their_owner_alone(ring):
    assert all((ring.folder / f"{name}.key").stat().st_mode & 0o077 == 0 for name in NAMES)
    assert (ring.folder / "private.pem").stat().st_mode & 0o077 == 0
    assert key_of(ring, "one").secret not in (ring.folder / "keys.json").read_text()
    assert KeyRing(ring.folder).owner(key_of(ring, "two").secret) == "two"
    with pytest.raises(SiteError, match="no such file"):
        SiteKey.read(ring.folder / "nobody.key")


def test_a_coordinator_that_is_killed_after_every_step_ends_where_it_would_have(tmp_path):
    run = Driven(tmp_path, Plan(3, SMALL))
    for name in NAMES:
        run.join(name)
        run.start()
    run.begin(*NAMES)
    for _ in range(SMALL.rounds):
        for name in NAMES:
            assert not run.coordinator.status(name)["have"]
            assert run.send(name)
            run.start()
    assert run.coordinator.done
    assert np.array_equal(run.coordinator.heads, federate(sites(), SMALL).heads)
    assert not list((tmp_path / "updates").iterdir())


def test_a_site_that_does_not_answer_is_waited_for_once_and_may_come_back(tmp_path):
    clock = [0.0]
    run = Driven(tmp_path, Plan(3, SMALL, patience=10.0), lambda: clock[0])
    run.join(*NAMES)
    run.begin(*NAMES)
    run.send("one")
    run.send("two")
    assert run.coordinator.round == 0
    clock[0] = 11.0
    run.coordinator.tick()
    assert run.coordinator.round == 1
    assert "Round 1: site 'three' did not answer; the round goes on without it." in run.told
    run.send("one")
    run.send("two")
    assert run.coordinator.round == 2
    late = of_update(run.sites["three"].update(run.coordinator.current("three").arrays["heads"]), 1)
    assert run.coordinator.update("three", late) is False
    run.send("three")
    run.send("one")
    run.send("two")
    assert run.told[-1] == f"Round 3 of {SMALL.rounds}: 3 sites."


def test_a_new_site_joins_from_the_shared_state(tmp_path):
    run = Driven(tmp_path, Plan(2, SMALL))
    run.join("one", "two")
    run.begin("one", "two")
    with pytest.raises(SiteError, match="Site 'three': the federation has not begun"):
        run.coordinator.terms_for("three")
    for _ in range(SMALL.rounds):
        run.send("one")
        run.send("two")
    assert run.coordinator.done
    run.join("three")
    run.begin("three")
    heads = run.coordinator.current("three")
    assert heads.fields["round"] == SMALL.rounds
    refined = run.sites["three"].finish(heads.arrays["heads"][0], SMALL.rounds)
    assert refined.metadata["federation"]["share"] > 0.5


def test_what_does_not_fit_is_refused_by_name_and_told(tmp_path):
    run = Driven(tmp_path, Plan(2, SMALL))
    run.join("one")
    odd, _ = site("two", 60, width=7)
    with pytest.raises(SiteError, match="Site 'two': view 'v' has 7 columns"):
        run.coordinator.hello("two", of_hello(odd.hello(), PROTOCOL))
    run.join("two")
    run.begin("one", "two")
    update = of_update(run.sites["one"].update(run.coordinator.current("one").arrays["heads"]), 1)
    broken = {"steps": update.arrays["steps"] * np.float32(np.nan)}
    with pytest.raises(SiteError, match="Site 'one' sent NaN"):
        run.coordinator.update("one", Message("update", update.fields, broken))
    for faces in (59, 61):
        with pytest.raises(SiteError, match=f"joined with 60 labeled faces, and now speaks for {faces}"):
            run.coordinator.update("one", Message("update", {**update.fields, "faces": faces}, update.arrays))
    with pytest.raises(SiteError, match="Site 'two' sent steps as site 'one', part 0"):
        run.coordinator.update("two", update)
    assert sum("Round 1: Site" in sentence for sentence in run.told) == 4


def test_a_damaged_state_says_so(tmp_path):
    (tmp_path / "federation.json").write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        Coordinator(tmp_path, Plan(2, SMALL), print)


def started(*args, cwd):
    return subprocess.Popen(
        [*COMMAND, *map(str, args)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stderr.close()


def test_both_sides_are_killed_and_go_on(tmp_path):
    """Two sites and a coordinator as processes; one site and the coordinator are killed and started again."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        labeled_vectors(tmp_path / name, n=120, wrong=20, seed=ord(name))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    coordinate = ("coordinate", "--sites", 2, "--state", "st", "--listen", where, "--rounds", 4, "--columns", 32)
    first = started(*coordinate, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "st/keys/keys.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    def at(name, number):
        common = ("--view", "v=v.npy", "--coordinator", where, "--key", f"../st/keys/site-{number}.key")
        return started("site", "faces.csv", *common, "--out", "out.parquet", cwd=tmp_path / name)

    one = at("a", 1)
    while "site-1" not in _text(tmp_path / "st/federation.json") and time.monotonic() < deadline:
        time.sleep(0.05)
    kill(one)
    kill(first)
    again, one, two = started(*coordinate, cwd=tmp_path), at("a", 1), at("b", 2)
    for process in (one, two, again):
        _, said = process.communicate(timeout=90)
        assert process.returncode == 0, said
    assert parquet.load(tmp_path / "a/out.parquet").metadata["federation"]["rounds"] == 4
    assert (tmp_path / "b/out.parquet.messages/round-004.msg").exists()


def _text(path):
    return path.read_text() if path.exists() else ""


def test_what_the_commands_need_is_said_before_anything_is_read(tmp_path):
    labeled_vectors(tmp_path)
    faces, view = tmp_path / "faces.csv", f"v={tmp_path}/v.npy"
    assert "needs --coordinator HOST:PORT and --key FILE" in fails("site", faces, "--view", view)
    wrong = fails("site", faces, "--view", view, "--coordinator", "x:1", "--key", tmp_path / "k")
    assert "no such file" in wrong
    assert "expected HOST:PORT" in fails("coordinate", "--sites", 2, "--state", tmp_path / "s", "--listen", "x")


def test_a_key_or_terms_that_do_not_fit_are_told_before_the_set_is_read(tmp_path, ring):
    labeled_vectors(tmp_path)
    other = KeyRing(tmp_path / "other")
    (stranger,) = other.invite(["one"])
    server, _, _ = serving(tmp_path / "state", ring, Plan(3, SMALL))
    where = f"127.0.0.1:{server.server_address[1]}"
    asked = ("site", tmp_path / "no such set.csv", "--coordinator", where, "--wait", 0, "--out", tmp_path / "o.parquet")
    said = fails(*asked, "--key", stranger)
    assert f"Site 'one': {where} is not the coordinator that this key is for" in said
    said = fails(*asked, "--key", ring.folder / "one.key", "--least-faces", 10**6)
    assert "under the coordinator's terms" in said
    assert "No step was sent" in said
    server.shutdown()


def test_whom_it_refuses_the_coordinator_tells_too(tmp_path, ring):
    server, _, told = serving(tmp_path / "state", ring, Plan(3, SMALL))
    for name, more in (("one", {}), ("two", {"encoder": "other"})):
        link = Link(server.server_address, key_of(ring, name), 5, print)
        hello = MessageLog(tmp_path / name).keep(of_hello(site(name, 60, **more)[0].hello(), PROTOCOL), "hello.msg")
        with suppress(SiteError):
            link.post("/hello", hello)
    assert told[0] == "Site 'one' joined, 1 of 3: 60 labeled faces."
    assert told[1].startswith("Refused: Site 'two': view 'v' comes from another encoder")
    assert len(told) == 2
    server.shutdown()
