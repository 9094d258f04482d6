"""Keys as a federation lives: later sites, a key that was lost, one key at two sites, addresses, other classes."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run
from federation_cases import NAMES, SMALL, Driven, site

from fercleaner.core.errors import StoreError
from fercleaner.federation.client import Link
from fercleaner.federation.coordinator import Coordinator, Plan
from fercleaner.federation.keys import KeyRing, SiteKey
from fercleaner.federation.messages import of_hello
from fercleaner.federation.server import Server
from fercleaner.federation.terms import PROTOCOL, SiteError, agree

pytest.importorskip("cryptography")


def test_a_coordinator_that_runs_knows_keys_made_since_and_no_old_one(tmp_path):
    ring = KeyRing(tmp_path)
    (first,) = ring.invite(["one"])
    lost = SiteKey.read(first)
    beside = KeyRing(tmp_path)
    (later,) = beside.invite(["two"])
    assert ring.owner(SiteKey.read(later).secret) == "two"
    assert beside.invite(["one"], anew=["one"]) == [first]
    assert ring.owner(SiteKey.read(first).secret) == "one"
    assert ring.owner(lost.secret) is None
    with pytest.raises(SiteError, match=r"--new-key four: no site of that name has a key \(one, two\)"):
        ring.invite([], anew=["four"])
    (tmp_path / "keys.json").write_text("{")
    assert ring.owner(SiteKey.read(first).secret) == "one"
    for damage in ("{", "[]", '{"one": 3}'):
        (tmp_path / "keys.json").write_text(damage)
        with pytest.raises(StoreError, match=r"keys\.json is damaged"):
            KeyRing(tmp_path)


def test_coordinate_makes_a_key_anew(tmp_path):
    state = ("coordinate", "--sites", "2", "--state", tmp_path / "st", "--keys-only")
    run(*state)
    key = tmp_path / "st" / "keys" / "site-2.key"
    before = key.read_text()
    said = run(*state, "--new-key", "site-2", "--name", "ward 5").stderr
    assert f"Key for its site: {key}" in said
    assert "3 sites have keys. A coordinator that runs there knows them at once." in said
    assert key.read_text() != before
    assert "no site of that name has a key" in fails(*state, "--new-key", "site-9")


def test_a_key_used_at_two_sites_is_told_on_both_sides(tmp_path):
    run = Driven(tmp_path, Plan(3, SMALL))
    run.join("one", "two")
    run.join("one")  # killed and started again: nothing to tell
    assert len(run.told) == 2
    other, _ = site("one", 35, seed=8)
    run.coordinator.hello("one", of_hello(other.hello(), PROTOCOL))
    assert run.told[-1] == (
        "Site 'one' joined again with another set: 35 labeled faces, 60 before. Was its set changed, or is its key "
        "used at two sites? Give each site a key of its own."
    )
    assert run.coordinator.status("one")["waits"] == (
        "2 of 3 sites have joined ('one', 'two'); the others are waited for."
    )
    run.join("three")
    run.begin("one")
    with pytest.raises(SiteError, match="'one' joined with 35 labeled faces, and now speaks for 60"):
        run.send("one")


def test_later_sites_are_counted_among_all(tmp_path):
    run = Driven(tmp_path, Plan(2, SMALL))
    run.join(*NAMES)
    assert run.told[-1] == "Site 'three' joined, 3 sites in all: 100 labeled faces."


def test_other_classes_are_refused_before_vectors_are_computed(tmp_path, monkeypatch):
    ring = KeyRing(tmp_path / "keys")
    _, key = ring.invite(["one", "ward"])
    coordinator = Coordinator(tmp_path / "state", Plan(2, SMALL), print)
    coordinator.hello("one", of_hello(site("one", 60)[0].hello(), PROTOCOL))
    server = Server(("127.0.0.1", 0), coordinator, ring)
    threading.Thread(target=server.run, kwargs={"stay": False}, daemon=True).start()
    labeled_vectors(tmp_path)
    table = (tmp_path / "faces.csv").read_text().replace(",fear", ",joy")
    (tmp_path / "joy.csv").write_text(table)
    monkeypatch.setattr("fercleaner.federation.participant.gather", None)
    where = f"127.0.0.1:{server.server_address[1]}"
    asked = ("site", tmp_path / "joy.csv", "--view", f"v={tmp_path / 'v.npy'}", "--coordinator", where, "--key", key)
    said = fails(*asked, "--out", tmp_path / "o.parquet", "--least-faces", "20", "--alias", "joy=disgust")
    assert "Site 'ward' has another class set than the federation: it has disgust besides, and it lacks fear." in said
    assert "--classes anger,fear,happiness,neutral, and map names with --alias X=Y (disgust= leaves such faces" in said
    server.shutdown()


def test_an_address_is_no_url_and_another_coordinator_says_what_to_check(tmp_path):
    (key,) = KeyRing(tmp_path / "keys").invite(["ward"])
    labeled_vectors(tmp_path)
    asked = ("site", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--key", key, "--coordinator")
    assert "expected HOST:PORT" in fails(*asked, "https://127.0.0.1:8443")
    ring = KeyRing(tmp_path / "others")
    ring.invite(["ward"])
    server = Server(("127.0.0.1", 0), Coordinator(tmp_path / "state", Plan(2, SMALL), print), ring)
    threading.Thread(target=server.run, kwargs={"stay": False}, daemon=True).start()
    with pytest.raises(SiteError, match=r"Nothing was sent\. Check --coordinator and --key"):
        Link(server.server_address, SiteKey.read(key), 0, print).get("/status")
    server.shutdown()


def test_a_view_of_a_file_is_called_so(tmp_path):
    run = Driven(tmp_path, Plan(2, SMALL))
    odd, _ = site("two", 60, encoder="net")
    run.join("one")
    with pytest.raises(SiteError, match=r"another encoder \(\w+\) than the federation's \(none: a file of --view\)"):
        run.coordinator.hello("two", of_hello(odd.hello(), PROTOCOL))
    assert np.array_equal(run.coordinator.hellos["one"].classes, odd.hello().classes)


def test_a_full_disk_in_the_end_says_where_the_heads_still_are(tmp_path, monkeypatch):
    (key,) = KeyRing(tmp_path / "keys").invite(["ward"])
    labeled_vectors(tmp_path, n=60)

    def done(here, link, log, *, noise):
        terms = agree([here.hello(), replace(here.hello(), site="other")], SMALL)
        here.begin(terms, 0)
        return np.zeros(terms.shape[1:], dtype=np.float32), terms.rounds

    def full(refined, target, *, overwrite):
        raise StoreError(f"{target}: the disk is full. Free some space.")

    monkeypatch.setattr("fercleaner.federation.client.knock", lambda *_: ())
    monkeypatch.setattr("fercleaner.federation.client.take_part", done)
    monkeypatch.setattr("fercleaner.results.parquet.write", full)
    asked = ("site", tmp_path / "faces.csv", "--view", f"v={tmp_path / 'v.npy'}", "--key", key, "--least-faces", "20")
    said = fails(*asked, "--coordinator", "localhost:1", "--out", tmp_path / "o.parquet")
    assert "o.parquet: the disk is full. Free some space. Then run the same command again." in said
    assert "The heads are still the coordinator's: where it has ended, it is started again with --stay." in said
