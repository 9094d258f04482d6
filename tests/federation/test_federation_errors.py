"""What goes wrong beyond one machine: one clear error that names the site, and nothing already done is lost."""

from __future__ import annotations

import errno
import socket
from dataclasses import replace

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors
from federation_cases import SMALL, site

pytest.importorskip("cryptography", reason="cryptography is not installed (pip install 'fercleaner[federated]')")

from fercleaner.core.errors import StoreError
from fercleaner.federation import coordinator as module
from fercleaner.federation import messages
from fercleaner.federation.coordinator import Coordinator, Plan
from fercleaner.federation.keys import KeyRing, SiteKey
from fercleaner.federation.messages import MessageLog, of_hello, of_update
from fercleaner.federation.simulate import federate
from fercleaner.federation.terms import PROTOCOL, SiteError

NAMES = ("one", "two", "three")


def full(path, parts):
    raise OSError(errno.ENOSPC, "No space left on device")


def begun(folder):
    here = {name: site(name, 60 + 20 * number, seed=number)[0] for number, name in enumerate(NAMES)}
    run = Coordinator(folder, Plan(3, SMALL), lambda sentence: None)
    for one in here.values():
        run.hello(one.name, of_hello(one.hello(), PROTOCOL))
    for one in here.values():
        one.begin(run.terms, run.parts[one.name])
    return run, here


def test_a_full_disk_at_the_coordinator_loses_no_answer(tmp_path, monkeypatch):
    run, here = begun(tmp_path / "state")
    answers = {name: of_update(one.update(run.current(name).arrays["heads"]), 1) for name, one in here.items()}
    run.update("one", answers["one"])
    monkeypatch.setattr(module, "write_whole", full)
    with pytest.raises(StoreError, match=r"state cannot be written \(No space left.* make room and start"):
        run.update("two", answers["two"])
    monkeypatch.undo()
    again = Coordinator(tmp_path / "state", Plan(3, SMALL), lambda sentence: None)
    assert again.status("one")["have"]
    assert not again.status("two")["have"]
    for name in ("two", "three"):
        again.update(name, answers[name])
    sites = [site(name, 60 + 20 * number, seed=number)[0] for number, name in enumerate(NAMES)]
    assert np.array_equal(again.heads, federate(sites, replace(SMALL, rounds=1)).heads)


def test_a_full_disk_at_a_site_sends_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(messages, "write_whole", full)
    hello = of_hello(site("one", 60)[0].hello(), PROTOCOL)
    with pytest.raises(
        StoreError, match=r"cannot be written \(No space left on device\), and what is not written is not sent"
    ):
        MessageLog(tmp_path / "log").keep(hello, "hello.msg")


def test_a_site_of_another_class_set_or_encoder_is_refused_and_the_others_go_on(tmp_path):
    run, here = begun(tmp_path / "state")
    for odd, message in (
        ({"classes": ("anger", "fear", "happiness", "neutral", "disgust")}, "Site 'late' has another class set"),
        ({"encoder": "other"}, "Site 'late': view 'v' comes from another encoder"),
    ):
        with pytest.raises(SiteError, match=message):
            run.hello("late", of_hello(site("late", 60, **odd)[0].hello(), PROTOCOL))
    assert "late" not in run.hellos
    for name, one in here.items():
        run.update(name, of_update(one.update(run.current(name).arrays["heads"]), 1))
    assert run.round == 1


def test_the_site_command_names_itself_and_its_coordinator(tmp_path):
    ring = KeyRing(tmp_path / "keys")
    (key,) = ring.invite(["ward"])
    vectors = labeled_vectors(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    common = ["site", vectors / "faces.csv", "--view", f"v={vectors / 'v.npy'}", "--coordinator", where, "--wait", "0"]
    out = tmp_path / "out.parquet"
    said = fails(*common, "--key", key, "--out", out)
    assert f"Site 'ward': the coordinator {where} cannot be reached" in said
    assert not out.exists()
    assert "no such file. The coordinator makes one for each site" in fails(*common, "--key", tmp_path / "none.key")
    (tmp_path / "bad.key").write_text("{}")
    assert "bad.key is no key file of a coordinator" in fails(*common, "--key", tmp_path / "bad.key")


def test_a_name_with_a_path_in_it_stays_in_the_folder_of_keys(tmp_path):
    ring = KeyRing(tmp_path / "st" / "keys")
    made = ring.invite(["../../x", "ward 3/4"])
    assert [path.relative_to(ring.folder).as_posix() for path in made] == ["_.._x.key", "ward_3_4.key"]
    assert SiteKey.read(made[1]).site == "ward 3/4"
    with pytest.raises(SiteError, match="Sites 'ward 3/4' and 'Ward_3_4' would write the same file"):
        ring.invite(["new", "Ward_3_4"])
    assert ring.sites == ["../../x", "ward 3/4"]
    with pytest.raises(SiteError, match=r"has a name too long for a file \(300 bytes of 239\)"):
        ring.invite(["x" * 300])
