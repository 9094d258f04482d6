"""A coordinator that is started again, sites that cannot begin, and what it refuses to read."""

from __future__ import annotations

import http.client
import json
import time
from dataclasses import replace

import numpy as np
import pytest
from federation_cases import NAMES, SMALL, Driven, site

from fercleaner.core.errors import StoreError
from fercleaner.federation import server as module
from fercleaner.federation.coordinator import Coordinator, Plan
from fercleaner.federation.keys import KeyRing, SiteKey
from fercleaner.federation.messages import Message, encode, of_hello
from fercleaner.federation.server import Server
from fercleaner.federation.terms import PROTOCOL, SiteError


def test_a_site_that_joins_in_a_round_takes_no_answer_of_another(tmp_path):
    run = Driven(tmp_path, Plan(2, SMALL, patience=10.0))
    run.join("two", "three")
    run.begin("two", "three")
    run.send("three")
    run.join("one")  # of the three, in alphabetical order, the first
    run.begin("one")
    run.send("one")
    run.start()
    assert [name for name in NAMES if run.coordinator.status(name)["have"]] == ["one", "three"]


def test_sites_with_too_few_faces_are_an_error_for_all_who_ask(tmp_path):
    run = Driven(tmp_path, Plan(2, SMALL))
    run.sites["two"] = site("two", 12)[0]
    run.join("one")
    with pytest.raises(SiteError, match=r"cannot begin: 1 of 2 sites .* at least 2 are needed\. Start the coordinator"):
        run.join("two")
    assert "The federation cannot begin: 1 of 2 sites" in run.told[-1]
    with pytest.raises(SiteError, match="cannot begin"):
        run.coordinator.status("one")
    with pytest.raises(SiteError, match="cannot begin"):
        run.start()
    run.plan = Plan(3, SMALL)
    run.start()
    assert run.told[-1] == "Goes on; of 3 sites these have joined: 'one', 'two'."
    run.join("three")
    assert run.coordinator.terms.parts == 2


def test_a_coordinator_killed_before_it_began_begins_when_it_is_back(tmp_path, monkeypatch):
    run = Driven(tmp_path, Plan(2, SMALL))
    run.join("one")

    def killed(self, *more):
        raise KeyboardInterrupt

    monkeypatch.setattr(Coordinator, "_begin", killed)
    with pytest.raises(KeyboardInterrupt):
        run.join("two")
    monkeypatch.undo()
    run.start()
    assert run.coordinator.status("one")["began"]
    assert run.told[-1] == f"All 2 sites have joined; {SMALL.rounds} rounds begin."


def test_secure_with_fewer_sites_than_it_needs_is_refused_before_any_joins():
    with pytest.raises(SiteError, match="Secure aggregation needs at least 3 sites, and 2 are waited for"):
        Plan(2, replace(SMALL, aggregate="secure"))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"rounds": 9}, r"began with rounds 6 \(this run: 9\)\. Use the options it began with, or another --state"),
        ({"columns": 32, "least_faces": 30}, r"columns 64 \(this run: 32\), least_faces 20 \(this run: 30\)"),
        ({"seed": 1, "most_norm": 3.0}, r"most_norm 20\.0 \(this run: 3\.0\), seed 0 \(this run: 1\)"),
        ({"aggregate": "secure"}, r"aggregate robust \(this run: secure\)"),
        ({"parts": 2}, r"parts 3 \(this run: 2\)"),
    ],
)
def test_a_federation_does_not_go_on_under_other_settings(tmp_path, other, message):
    run = Driven(tmp_path, Plan(3, SMALL))
    run.join(*NAMES)
    run.plan = Plan(3, replace(SMALL, **other))
    with pytest.raises(StoreError, match=message):
        run.start()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), r"heads\.msg cannot be read \(No such file .*\)\. Use another --state, or put it"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-9]),
            r"heads\.msg is damaged .* Use another --state, or put",
        ),
        (
            lambda path: path.write_bytes(encode(Message("heads", {"round": 0}, {"heads": np.zeros((1, 2, 3))}))),
            r"heads\.msg is damaged \(The heads have shape \(1, 2, 3\); .* Use another --state",
        ),
    ],
)
def test_heads_that_are_missing_or_damaged_say_what_to_do(tmp_path, damage, message):
    run = Driven(tmp_path, Plan(3, SMALL))
    run.join(*NAMES)
    damage(tmp_path / "heads.msg")
    with pytest.raises(StoreError, match=message):
        run.start()


@pytest.fixture
def asked(tmp_path):
    """A running server of two sites and what asks it as site one: (kind of request, path, headers, body) -> answer."""
    pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'fercleaner[federated]')")
    ring = KeyRing(tmp_path / "keys")
    ring.invite(["one", "two"])
    server = Server(("127.0.0.1", 0), Coordinator(tmp_path / "state", Plan(2, SMALL), print), ring)
    key = SiteKey.read(tmp_path / "keys" / "one.key")

    def ask(method, path, headers, body=b""):
        link = http.client.HTTPSConnection(*server.server_address[:2], timeout=10, context=key.context())
        link.putrequest(method, path)
        for name, value in {"Authorization": f"Bearer {key.secret}", **headers}.items():
            link.putheader(name, value)
        link.endheaders(body)
        answer = link.getresponse()
        try:
            return answer.status, json.loads(answer.read())
        finally:
            link.close()

    yield server, ask
    server.server_close()


def running(server):
    import threading

    ended = []

    def run():
        try:
            server.run(stay=False)
        except SiteError as error:
            ended.append(str(error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, ended


def test_a_message_without_a_length_is_refused_unread(asked):
    server, ask = asked
    running(server)
    for headers in ({"Content-Length": "-1"}, {"Content-Length": "many"}, {"Content-Length": "9" * 5000}, {}):
        started = time.monotonic()
        status, said = ask("POST", "/hello", headers)
        assert (status, said["error"]) == (411, "Site 'one' did not say how long its message is.")
        assert time.monotonic() - started < 5
    assert ask("GET", "/status", {"Transfer-Encoding": "chunked"})[0] == 411
    assert ask("GET", "/status", {})[1]["joined"] is False
    server.shutdown()


def test_a_message_of_another_kind_is_refused_by_name(asked):
    server, ask = asked
    running(server)
    odd = encode(Message("key", {"site": "one", "public": ""}))
    for path, kind in (("/hello", "hello"), ("/update", "update")):
        status, said = ask("POST", path, {"Content-Length": str(len(odd))}, odd)
        assert (status, said["error"]) == (400, f"Site 'one' sent a message 'key' where '{kind}' was expected.")
    server.shutdown()


def test_messages_of_another_kind_are_refused_without_a_network_too(tmp_path):
    run = Driven(tmp_path, Plan(2, SMALL))
    hello = of_hello(run.sites["one"].hello(), PROTOCOL)
    with pytest.raises(SiteError, match="sent a message 'key' where 'hello' was expected"):
        run.coordinator.hello("one", Message("key", {"site": "one", "public": ""}))
    run.join("one", "two")
    with pytest.raises(SiteError, match="sent a message 'hello' where 'update' was expected"):
        run.coordinator.update("one", hello)


def test_a_server_whose_sites_cannot_begin_says_so_to_those_that_wait_and_ends(asked, monkeypatch):
    server, ask = asked
    monkeypatch.setattr(module, "LAST_ANSWERS", 2.0, raising=False)
    thread, ended = running(server)
    server.coordinator.hello("one", of_hello(site("one", 60)[0].hello(), PROTOCOL))
    with pytest.raises(SiteError, match="cannot begin"):
        server.coordinator.hello("two", of_hello(site("two", 12)[0].hello(), PROTOCOL))
    status, said = ask("GET", "/status", {})
    assert status == 400
    assert said["error"].startswith("The federation cannot begin: 1 of 2 sites")
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert ended == [said["error"]]
