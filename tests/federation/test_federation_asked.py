"""What is said before a federation begins or while it waits: what is missing, in the way, left out or gone."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from cli_runs import fails, labeled_vectors, run
from federation_cases import NAMES, QUIET, SMALL, Driven, faces, sites

from fercleaner.core.errors import InputError
from fercleaner.datasets import read
from fercleaner.demo import draw_dataset
from fercleaner.federation.client import take_part
from fercleaner.federation.coordinator import Plan
from fercleaner.federation.messages import MessageLog, decode
from fercleaner.federation.simulate import participants
from fercleaner.federation.terms import SiteError
from fercleaner.methods import build
from fercleaner.pipeline.inputs import Callbacks, Sources


@pytest.fixture
def three(tmp_path):
    """Sites one, two and three of a coordinator that waits 10 seconds; `clock[0]` is the time."""
    clock = [0.0]
    run = Driven(tmp_path, Plan(3, SMALL, patience=10.0), lambda: clock[0])
    run.join(*NAMES)
    run.begin(*NAMES)
    return run, clock


def test_a_round_that_lacks_answers_says_whom_it_waits_for(three):
    run, clock = three
    run.send("one")
    assert run.coordinator.status("one")["waits"] == ""
    clock[0] = 11.0
    run.coordinator.tick()
    said = (
        "Round 1: 1 of 3 sites have answered, and at least 2 are needed. It waits for 'three', 'two': run the same "
        "command there again."
    )
    assert run.told[-1] == run.coordinator.status("one")["waits"] == said
    assert run.told.count(said) == 1
    run.send("two")
    assert run.coordinator.round == 1
    assert run.coordinator.status("one")["waits"] == ""


def test_a_secure_round_that_lacks_keys_says_whom_it_waits_for(tmp_path):
    clock = [0.0]
    run = Driven(tmp_path, Plan(3, replace(SMALL, aggregate="secure"), patience=10.0), lambda: clock[0])
    run.join(*NAMES)
    clock[0] = 11.0
    assert run.coordinator.status("one")["waits"].startswith(
        "Round 1: 0 of 3 sites have answered, and at least 3 are needed. It waits for 'one', 'three', 'two':"
    )


class Link:
    """A link without a network to a coordinator that `after` a number of questions is done."""

    def __init__(self, run, name, after):
        self._run, self._name, self._left = run, name, after

    def get(self, path):
        one = self._run.coordinator
        self._left -= path == "/status"
        if self._left == 0:
            self._run.join("two", "three")
            one.round = one.terms.rounds
        return {"/status": one.status, "/heads": one.current, "/terms": one.terms_for}[path](self._name)

    def post(self, path, body):
        self._run.coordinator.hello(self._name, decode(body, self._name))


def test_a_site_says_once_what_it_waits_for(tmp_path):
    run, said = Driven(tmp_path / "state", Plan(3, SMALL)), []
    here = sites()[0]
    here.callbacks = Callbacks(note=said.append)
    take_part(here, Link(run, "one", 5), MessageLog(tmp_path / "log"), poll=0.0)
    assert said == ["1 of 3 sites have joined ('one'); the others are waited for."]


def test_a_site_that_never_fetches_the_last_heads_does_not_hold_the_coordinator(three):
    run, clock = three
    for _ in range(SMALL.rounds):
        for name in NAMES:
            run.send(name)
    run.coordinator.current("one")
    run.coordinator.current("two")
    assert not run.coordinator.all_served
    assert run.coordinator.unserved == ["three"]
    clock[0] = 11.0
    assert run.coordinator.all_served
    run.coordinator.current("three")
    assert run.coordinator.unserved == []


def test_faces_of_no_site_are_counted_and_said():
    samples, view, _ = faces("all", 150)
    where, said = np.array(["north", "south", ""])[np.arange(150) % 3], []
    rule, sources = build("consensus", {}), Sources(views=(view,))
    participants(samples.replacing(site=where), rule, sources, QUIET, Callbacks(note=said.append))
    assert "50 of 150 faces name no site: no site has them, and they are left out." in said
    said.clear()
    all_named = samples.replacing(site=np.where(where == "", "east", where))
    participants(all_named, rule, sources, QUIET, Callbacks(note=said.append))
    assert not any("no site" in sentence for sentence in said)


def test_a_site_without_labels_is_named():
    samples, view, _ = faces("all", 150)
    where = np.array(["north", "south", "east"])[np.arange(150) % 3]
    given = np.where((where == "south")[:, None], np.float32(0), samples.given)
    bare = samples.replacing(site=where, given=given, labeled=where != "south")
    with pytest.raises(SiteError, match=r"Site 'south' \(50 faces\): No face carries a label"):
        participants(bare, build("consensus", {}), Sources(views=(view,)), QUIET, Callbacks())


@pytest.mark.parametrize("inside", [".", "sites", "sites/deep"])
def test_federate_writes_nothing_into_the_set(tmp_path, inside):
    draw_dataset(tmp_path / "set", faces=14, noise_rate=0.1, seed=0)
    before = sorted(tmp_path.rglob("*"))
    said = fails("federate", tmp_path / "set", "--site-by", "ward", "--out", tmp_path / "set" / inside)
    assert f"lies in the set ({tmp_path / 'set'}), which is read and never written to. Choose another folder" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_neither_command_writes_over_the_set(tmp_path):
    pd = pytest.importorskip("pandas")
    labeled_vectors(tmp_path)
    table = pd.read_csv(tmp_path / "faces.csv").assign(ward=["A", "B"] * 24)
    own = tmp_path / "A.refined.parquet"
    table.to_parquet(own)
    before = own.read_bytes()
    common = [own, "--view", f"v={tmp_path}/v.npy", "--force", "--out"]
    assert "own input is never overwritten" in fails("federate", *common, tmp_path, "--site-by", "ward")
    pytest.importorskip("cryptography")
    from fercleaner.federation.keys import KeyRing

    (key,) = KeyRing(tmp_path / "keys").invite(["one"])
    assert "own input is never overwritten" in fails("site", *common, own, "--coordinator", "localhost:1", "--key", key)
    assert own.read_bytes() == before


def test_a_missing_package_is_said_before_the_set_is_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for command in (("federate", "--out", tmp_path / "out"), ("site", "--dry-run")):
        said = run(command[0], tmp_path / "none.csv", *command[1:], "--aggregate", "secure", exit_code=1).stderr
        assert "Secure aggregation needs the package cryptography, which is not installed." in said
        assert said.endswith("Install it: pip install 'fercleaner[federated]'\n")
    said = run("coordinate", "--sites", "2", "--state", tmp_path / "state", exit_code=1).stderr
    assert "certificate needs the package cryptography" in said
    assert not (tmp_path / "out").exists()


def test_a_set_of_folders_has_no_column_of_sites(tmp_path):
    draw_dataset(tmp_path / "set", faces=14, noise_rate=0.1, seed=0)
    way_out = r"has columns of its own, or none; leave {} out, or write a list of its pictures that has the column"
    for columns, option in (
        ({"site": "ward"}, "--site-by"),
        ({"group": "who"}, "--group-by"),
        ({"site": "ward", "image": "file"}, "--column, --site-by"),
    ):
        with pytest.raises(InputError, match=way_out.format(option)):
            read(tmp_path / "set", columns=columns)
    out = ("--out", tmp_path / "out")
    assert "leave --site-by out" in fails("federate", tmp_path / "set", "--site-by", "ward", *out)
    said = fails("federate", tmp_path / "set", *out)
    assert "A set of folders has none: write a list of its pictures with a column of sites" in said


def test_faces_of_no_site_are_said_by_the_command(tmp_path):
    labeled_vectors(tmp_path, n=240, wrong=30)
    rows = (tmp_path / "faces.csv").read_text().splitlines()
    where = ["ward", *("AB"[row % 2] if row % 8 else "" for row in range(240))]
    (tmp_path / "faces.csv").write_text("\n".join(f"{row},{place}" for row, place in zip(rows, where, strict=True)))
    common = ["--view", f"v={tmp_path}/v.npy", "--rounds", "1", "--columns", "8", "--method", "hypergraph"]
    done = run("federate", tmp_path / "faces.csv", "--site-by", "ward", "--out", tmp_path / "sites", *common)
    assert "30 of 240 faces name no site: no site has them, and they are left out." in done.stderr
