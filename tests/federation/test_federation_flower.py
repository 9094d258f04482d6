"""The same federation carried by Flower, its grid made of a loop in this process."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from federation_cases import SMALL, site

pytest.importorskip("flwr")

from fercleaner.federation import flower
from fercleaner.federation.coordinator import Coordinator, Plan
from fercleaner.federation.simulate import federate
from fercleaner.federation.terms import Conditions, SiteError
from fercleaner.results import parquet

NAMES = ("one", "two", "three")


def sites():
    return {number + 1: site(name, 60 + 20 * number, seed=number)[0] for number, name in enumerate(NAMES)}


class Loop:
    """As much of Flower's grid as the server app uses; `silent` nodes do not answer from some message on."""

    def __init__(self, client, nodes, silent=()):
        from flwr.app import Context, RecordDict

        self.client, self.silent, self.count = client, dict(silent), dict.fromkeys(nodes, 0)
        self.contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in nodes}

    def get_node_ids(self):
        return list(self.contexts)

    def send_and_receive(self, messages, *, timeout=None):
        for message in messages:
            node = message.metadata.dst_node_id
            self.count[node] += 1
            if self.count[node] < self.silent.get(node, 1000):
                answer = self.client(message, self.contexts[node])
                answer.metadata._src_node_id = node  # a super node stamps this on
                yield answer


@pytest.fixture(autouse=True)
def identity(monkeypatch):
    """Flower says in each process which task it is; this process is none."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("_task_id", "_run_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)


def played(folder, silent=(), here=None):
    here = here or sites()
    client = flower.client_app(lambda at: here[at.node_id], lambda at: folder / f"{at.node_id}.parquet")
    coordinator = Coordinator(folder / "state", Plan(3, SMALL), lambda sentence: None)
    grid = Loop(client, list(here), silent)
    flower.server_app(coordinator)(grid, grid.contexts[1])
    return coordinator, here


def test_over_flower_as_on_one_machine(tmp_path):
    coordinator, here = played(tmp_path)
    assert np.array_equal(coordinator.heads, federate(sites().values(), SMALL).heads)
    for node, one in here.items():
        refined = parquet.load(tmp_path / f"{node}.parquet")
        assert len(refined) == len(one.samples)
        assert refined.metadata["federation"]["rounds"] == SMALL.rounds
        assert (tmp_path / f"{node}.parquet.messages" / "messages.log").exists()


def test_a_node_that_falls_silent_does_not_stop_the_others(tmp_path):
    coordinator, _ = played(tmp_path, silent={3: 4})
    assert coordinator.done
    assert not (tmp_path / "3.parquet").exists()
    assert parquet.load(tmp_path / "1.parquet").metadata["federation"]["share"] > 0.5


def test_too_few_nodes_are_an_error(tmp_path):
    with pytest.raises(SiteError, match="2 nodes have joined; 3 sites are waited for"):
        played(tmp_path, silent={3: 1})


def test_two_nodes_of_one_name_are_refused(tmp_path):
    here = sites()
    here[2] = site("one", 80, seed=1)[0]
    with pytest.raises(SiteError, match=r"Two nodes are called 'one'\. Give one of them another name"):
        played(tmp_path, here=here)
    assert not list(tmp_path.glob("*.parquet"))


def test_secure_aggregation_is_refused_before_a_node_is_asked(tmp_path):
    asked = Coordinator(tmp_path / "state", Plan(3, replace(SMALL, aggregate="secure")), lambda sentence: None)
    said = r"The coordinator asks for secure aggregation, which Flower does not carry here\. Run fercleaner coordinate"
    with pytest.raises(SiteError, match=said):
        flower.server_app(asked)
    client = flower.client_app(sites().get, lambda at: tmp_path / "out.parquet")
    grid = Loop(client, (1, 2, 3))
    with pytest.raises(SiteError, match=said):
        flower.server_app(lambda context: asked)(grid, grid.contexts[1])
    assert set(grid.count.values()) == {0}


def test_a_site_under_secure_aggregation_says_no_hello(tmp_path):
    here = sites()
    here[2].conditions = Conditions(aggregate="secure")
    with pytest.raises(SiteError, match="Site 'two' asks for secure aggregation, which Flower does not carry here"):
        played(tmp_path, here=here)
    assert not (tmp_path / "2.parquet.messages").exists()


def test_a_round_that_nobody_answers_ends_with_a_message(tmp_path):
    with pytest.raises(SiteError, match="Round 3: fewer than two sites answered"):
        played(tmp_path, silent={2: 4, 3: 4})


def test_flower_tells_its_makers_nothing():
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"
