"""Shards as Ray tasks: the same parts as `fercleaner extract --shard`, on every machine of a Ray cluster.

A task that is lost with its worker or its machine is started again by Ray, elsewhere; a part whose mark is set is not
computed again. What runs at a machine is the fercleaner that is installed there. Ray reports its use to its makers
unless that is turned off: importing this module turns it off for this process (`OFF`).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.arrays import Progress
from ..core.errors import FercleanerError, MissingDependency, StoreError
from ..core.types import Samples
from ..datasets.assemble import select
from ..extraction.extractor import Extractor
from ..extraction.images import resting
from ..extraction.shards import Shard, WholeSet
from .places import ShardPlace

#: Set before Ray is imported.
OFF = {"RAY_USAGE_STATS_ENABLED": "0"}
os.environ.update(OFF)
#: How often a part is started again after its worker was lost.
AGAIN = 3
#: Seconds in which a cluster must take a connection.
REACHED_IN = 5.0
#: Pictures' sources, extractors and place of a run, by the id of the job; one a worker process, so that a model is
#: loaded once and not for each shard.
_jobs: dict[str, Any] = {}


@dataclass(frozen=True, eq=False)
class RayJob:
    """What every task of a run needs.

    Parameters
    ----------
    whole : WholeSet
    extractors : sequence of Extractor
        Not used before they are sent: a model is loaded where it is needed.
    place : ShardPlace
    workers : int
        Processes of each task that decode pictures.
    version : str
        Of fercleaner; other machines must have the same.
    """

    whole: WholeSet
    extractors: Sequence[Extractor]
    place: ShardPlace
    workers: int
    version: str


@dataclass(frozen=True)
class Outcome:
    """What became of a shard: vectors computed (0 where it was done before), on which machine, or why not."""

    shard: str
    computed: int = 0
    machine: str = ""
    error: str = ""


@contextmanager
def cluster(address: str | None) -> Iterator[Any]:
    """Yield Ray, joined to the cluster at `address`, or to one started on this machine where that is None.

    Raises
    ------
    MissingDependency
        Ray is not installed.
    StoreError
        No cluster answers there, or none can be started here.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingDependency("ray", "--engine ray", extra="ray") from error
    if ray.is_initialized():
        yield ray
        return
    try:
        _check_reachable(address)
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            configure_logging=False,
        )
    except (OSError, RuntimeError, ValueError) as error:
        if address is None:
            raise StoreError(
                f"--engine ray: Ray cannot be started on this machine ({error}). Free memory and disk here, or name a "
                "cluster that runs: --address HOST:PORT."
            ) from error
        raise StoreError(
            f"--address {address}: no Ray cluster answers there ({error}). Start one: ray start --head; or leave "
            "--address out."
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class Asked:
    """What a run asks of Ray.

    Parameters
    ----------
    address : str, optional
        Of a cluster; None starts Ray on this machine.
    workers : int
        Processes of a task that decode pictures; a task takes one core more.
    device : str
        Unless "cpu", a task takes a GPU where the cluster has any.
    """

    address: str | None = None
    workers: int = 0
    device: str = "cpu"

    def gpus(self, ray: Any) -> int:
        """Return how many GPUs a task takes on the cluster that is joined: 0 or 1."""
        return int(self.device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0)


def extract_shards(
    samples: Samples,
    extractors: Sequence[Extractor],
    place: ShardPlace,
    count: int,
    asked: Asked,
    *,
    progress: Progress | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> list[Outcome]:
    """Compute all shards of a set that are not done, each a Ray task, and return what became of each.

    Parameters
    ----------
    count : int
        Shards.
    asked : Asked
    tell : callable
        Gets a sentence for each shard that failed.

    Raises
    ------
    StoreError
        Some shards failed: which, where and why; the others are done.
    """
    from .. import __version__

    job = RayJob(WholeSet.of(samples), tuple(extractors), place, asked.workers, __version__)
    with cluster(asked.address) as ray:
        ticket = ray.put(job)
        task = ray.remote(_task).options(num_cpus=1 + asked.workers, num_gpus=asked.gpus(ray), max_retries=AGAIN)
        waiting = {}
        for number in range(1, count + 1):
            shard = Shard(number, count)
            part = resting(select(samples, np.arange(*shard.rows(len(samples)))))
            waiting[task.remote([ticket], shard, part)] = shard
        found: list[Outcome] = []
        while waiting:
            (ready, *_), _ = ray.wait(list(waiting), num_returns=1)
            found.append(_outcome(ray, ready, waiting.pop(ready)))
            if found[-1].error:
                tell(_failed(found[-1]))
            if progress is not None:
                progress(len(found), count)
    bad = sorted((one for one in found if one.error), key=lambda one: int(one.shard.split("/")[0]))
    if bad:
        raise StoreError(
            f"{len(bad)} of {count} shards failed; the others are done and kept. First: {_failed(bad[0])} Run the same "
            "command again: it computes what is missing."
        )
    return found


def _check_reachable(address: str | None) -> None:
    """Raise OSError where nobody listens at HOST:PORT: Ray itself tries for minutes."""
    host, colon, port = (address or "").rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), REACHED_IN).close()


def _outcome(ray: Any, ready: Any, shard: Shard) -> Outcome:
    try:
        outcome: Outcome = ray.get(ready)
    except ray.exceptions.RayTaskError as error:
        return Outcome(str(shard), error=f"it stopped with {type(error.cause).__name__}: {error.cause}.")
    except ray.exceptions.RayError as error:
        return Outcome(str(shard), error=f"its worker was lost {AGAIN + 1} times ({type(error).__name__}).")
    return outcome


def _failed(outcome: Outcome) -> str:
    where = f" on {outcome.machine}" if outcome.machine else ""
    return f"Shard {outcome.shard}{where}: {outcome.error}"


def _task(ticket: list[Any], shard: Shard, part: Samples) -> Outcome:
    """Compute a shard in a Ray worker; an error of ours is an answer, so that Ray does not try it again."""
    import ray

    from .. import __version__

    machine, key = socket.gethostname(), ticket[0].hex()
    if key not in _jobs:
        _jobs.clear()
        _jobs[key] = ray.get(ticket[0])
    job = _jobs[key]
    if job.version != __version__:
        said = f"fercleaner {__version__} is installed there, and {job.version} here. Install the same."
        return Outcome(str(shard), machine=machine, error=said)
    try:
        logs = job.place.write(shard, part, job.whole, job.extractors, workers=job.workers)
    except FercleanerError as error:
        return Outcome(str(shard), machine=machine, error=str(error))
    return Outcome(str(shard), sum(log.computed for log in logs), machine)
