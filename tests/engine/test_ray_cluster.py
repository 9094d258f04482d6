"""Joining and starting Ray, with a stand-in for Ray: what is said where it fails, and what a task takes."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from fercleaner.core.errors import StoreError
from fercleaner.engine.on_ray import Asked, cluster


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "--engine ray: Ray cannot be started on this machine (no room in /dev/shm). Free memory and disk here"),
        ("auto", "--address auto: no Ray cluster answers there (no room in /dev/shm). Start one: ray start --head"),
    ],
)
def test_a_cluster_that_cannot_be_had_is_named(address: str | None, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def init(address: str, **more: Any) -> None:
        asked.append(address)
        raise RuntimeError("no room in /dev/shm")

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(StoreError) as caught, cluster(address):
        pass
    assert str(caught.value).startswith(said)
    assert asked == [address or "local"]


def test_a_task_takes_a_gpu_where_there_is_one_and_it_is_wanted() -> None:
    with_gpu, without = (SimpleNamespace(cluster_resources=lambda held=held: held) for held in ({"GPU": 2.0}, {}))
    assert [Asked(device=device).gpus(with_gpu) for device in ("auto", "cuda", "cpu")] == [1, 1, 0]
    assert Asked(device="auto").gpus(without) == 0
