"""What a second machine costs and brings: shards and exact neighbors on two Ray nodes against one process.

    python benchmarks/cluster.py --faces 2000 --encoder builtin --shards 8

Two nodes of one core each run on this machine. Drawn faces are extracted in one process and as Ray tasks, once whole
and once with a node killed after the first parts; vectors must be equal, and what was computed twice is counted. The
same for exact neighbors in parts, by themselves and inside `refine`, whose answer must be that of one process; and
what `refine` still holds in memory a face. On one machine two nodes share its cores, so that seconds say what Ray adds,
not what it saves. From the constants measured, and those of a GPU where `--gpu-faces` gives them, the last table is
arithmetic: bytes and seconds of each stage for 10 million faces on 16 GPUs. Writes results/cluster.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from stamp import command, stamp, tell, write_json

from fercleaner.core.arrays import Progress
from fercleaner.core.refined import RefinedSet
from fercleaner.core.types import Features, Neighbors, Samples
from fercleaner.datasets import read
from fercleaner.datasets.assemble import select
from fercleaner.demo import draw_dataset
from fercleaner.encoders import build
from fercleaner.engine.neighbors import part_search
from fercleaner.engine.on_ray import Asked, extract_shards
from fercleaner.engine.places import ShardPlace
from fercleaner.extraction.run import extract
from fercleaner.extraction.shards import Shard, WholeSet, cache_of
from fercleaner.methods import build as build_method
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import refine
from fercleaner.similarity.neighbors import nearest

#: The set and the machines of the calculation on paper.
FACES, GPUS, WIDTH, K = 10_000_000, 16, 512, 30
#: Bytes of an encoded picture, of a face's vector and its key in the cache, and of a neighbor.
PICTURE_BYTES, NEIGHBOR_BYTES = 20_000, 8 + 4
#: Faces of a part where memory is measured: the search itself then takes the same for any set.
SMALL_PARTS = 10_000
#: Faces of a part where memory is measured: the search itself then takes the same for any set.


@contextmanager
def two_nodes() -> Iterator[Any]:
    """Yield a cluster of two Ray nodes on this machine and join it; the second may be killed."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")  # a busy machine takes long
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    cluster.second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def seconds_of(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return wall seconds and the result."""
    since = time.perf_counter()
    result = work()
    return time.perf_counter() - since, result


def shards(samples: Any, encoder: Any, count: int, folder: Path) -> dict[str, Any]:
    """Return what shards take in one process and on two nodes, and what a killed node costs."""
    whole = WholeSet.of(samples)

    def here() -> None:
        place = ShardPlace(str(folder / "here"), folder)
        for number in range(count):
            shard = Shard(number + 1, count)
            place.write(shard, select(samples, np.arange(*shard.rows(len(samples)))), whole, [encoder])

    def on_ray(name: str, progress: Any = None) -> list[Any]:
        return extract_shards(
            samples, [encoder], ShardPlace(str(folder / name), folder), count, Asked(), progress=progress
        )

    extract(select(samples, np.arange(12)), encoder, cache=None, workers=0)  # what is loaded once is not timed
    one, _ = seconds_of(here)
    with two_nodes() as cluster:
        first, _ = seconds_of(lambda: on_ray("warm up"))
        plain, done = seconds_of(lambda: on_ray("plain"))
        marks, before = folder / "killed" / "marks", dict[Path, int]()

        def kill(finished: int, of: int) -> None:
            if finished >= max(1, of // 4) and not before:
                cluster.remove_node(cluster.second, allow_graceful=False)
                before.update({path: path.stat().st_mtime_ns for path in marks.glob("*.json")})

        lost, again = seconds_of(lambda: on_ray("killed", kill))
    vectors = [
        extract(samples, encoder, cache=cache_of(folder / name), workers=0) for name in ("here", "plain", "killed")
    ]
    return {
        "faces": len(samples),
        "shards": count,
        "seconds_one_process": one,
        "seconds_two_nodes_first": first,
        "seconds_two_nodes": plain,
        "seconds_node_killed": lost,
        "equal": all(np.array_equal(vectors[0].values, other.values) for other in vectors[1:]),
        "computed_by_readers": sum(one.computed for one in vectors),
        "computed_two_nodes": sum(one.computed for one in done),
        "computed_node_killed": sum(one.computed for one in again),
        "shards_done_before_the_kill": len(before),
        "of_these_written_again": sum(path.stat().st_mtime_ns != when for path, when in before.items()),
    }


def neighbors(faces: int, width: int, count: int, folder: Path) -> dict[str, Any]:
    """Return what exact neighbors take in one go, by parts, and on two nodes, and whether they are the same."""
    features = made(faces, width)
    whole, one = seconds_of(lambda: nearest(features, K, index="exact", center=False))

    def search(name: str, asked: Asked | None, progress: Progress | None = None) -> Neighbors:
        with part_search(folder / name, asked, "cpu", tell, faces=-(-faces // count)) as searcher:
            return searcher(features).nearest(K, progress=progress)

    cut, by_parts = seconds_of(lambda: search("parts", None))
    with two_nodes() as cluster:
        first, early = seconds_of(lambda: search("first", Asked()))
        plain, on_ray = seconds_of(lambda: search("plain", Asked()))
        lost, after = seconds_of(lambda: search("killed", Asked(), killing(cluster)))
    tables = (by_parts, early, on_ray, after)
    return {
        "faces": faces,
        "width": width,
        "parts": count,
        "seconds_one_go": whole,
        "seconds_by_parts": cut,
        "seconds_two_nodes_first": first,
        "seconds_two_nodes": plain,
        "seconds_node_killed": lost,
        "equal": [
            np.array_equal(table.indices, one.indices) and np.array_equal(table.similarity, one.similarity)
            for table in tables
        ],
        "operations_a_second": 2.0 * faces * faces * width / whole,
    }


def refined(faces: int, count: int, folder: Path) -> dict[str, Any]:
    """Return what `consensus` takes with the exact index, with neighbors in parts, and on two nodes; and if they agree.

    Two views; a tenth of the faces are near-duplicates, which are found and searched again.
    """
    samples, views = made_set(faces)

    def work(searcher: Any = None) -> RefinedSet:
        resources = Resources(index="exact", device="cpu", searcher=searcher)
        return refine(samples, build_method("consensus", {}), Sources(views=views), resources, Callbacks(note=len))

    def parted(name: str, asked: Asked | None) -> RefinedSet:
        with part_search(folder / name, asked, "cpu", tell, faces=-(-faces // count)) as searcher:
            return work(searcher)

    def killed(cluster: Any) -> RefinedSet:
        progress = killing(cluster)
        with part_search(folder / "refined killed", Asked(), "cpu", tell, faces=-(-faces // count)) as searcher:
            return work(KillingSearch(searcher, progress))

    whole, one = seconds_of(work)
    cut, by_parts = seconds_of(lambda: parted("refined parts", None))
    again, kept = seconds_of(lambda: parted("refined parts", None))
    with two_nodes() as cluster:
        first, early = seconds_of(lambda: parted("refined first", Asked()))
        plain, on_ray = seconds_of(lambda: parted("refined plain", Asked()))
        lost, after = seconds_of(lambda: killed(cluster))
    return {
        "faces": faces,
        "parts": count,
        "seconds_one_process": whole,
        "seconds_by_parts": cut,
        "seconds_parts_were_there": again,
        "seconds_two_nodes_first": first,
        "seconds_two_nodes": plain,
        "seconds_node_killed": lost,
        "equal": [same_set(one, other) for other in (by_parts, kept, early, on_ray, after)],
    }


@dataclass(frozen=True)
class KillingSearch:
    """What makes searchers whose progress kills a node; as `fercleaner.engine.neighbors.PartSearch`."""

    searching: Any
    progress: Progress
    missing: int = 0

    def __call__(self, view: Features, made_of: str = "") -> Killing:
        """Return the searcher of a view."""
        return Killing(self.searching(view, made_of), self.progress)


@dataclass(frozen=True)
class Killing:
    """A searcher whose progress kills a node."""

    searcher: Any
    progress: Progress

    def nearest(self, k: int, *, progress: Progress | None = None, **more: Any) -> Neighbors:
        """Search, and kill the node when the first part is done."""
        table: Neighbors = self.searcher.nearest(k, progress=self.progress, **more)
        return table

    def __getattr__(self, name: str) -> Any:
        """Return all else as the searcher has it."""
        return getattr(self.searcher, name)


def killing(cluster: Any) -> Progress:
    """Return a progress callback that kills the cluster's second node once, when the first part is done."""

    def kill(done: int, total: int) -> None:
        if cluster.second is not None:
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = None

    return kill


def made(faces: int, width: int, view: str = "view", seed: int = 0) -> Features:
    """Return a made-up view."""
    values = np.random.default_rng(seed).normal(size=(faces, width)).astype(np.float32)
    return Features(view, np.arange(faces).astype(str), values, np.ones(faces, dtype=np.bool_), {})


def made_set(faces: int) -> tuple[Samples, list[Features]]:
    """Return a made-up set of seven classes, a fifth of the labels wrong, and its two views."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 7, faces)
    given = np.where(rng.random(faces) < 0.2, rng.integers(0, 7, faces), truth)
    views = []
    for number, width in enumerate((WIDTH, WIDTH // 2)):
        view = made(faces, width, f"view {number}", number)
        values = view.values + 0.5 * rng.normal(size=(7, width)).astype(np.float32)[truth]
        tenth = faces // 10
        values[-tenth:] = values[:tenth] + 0.05 * rng.normal(size=(tenth, width)).astype(np.float32)
        views.append(Features(view.view, view.ids, values, view.found, {"kind": "vectors"}))
    names, labels = tuple(f"class {number}" for number in range(7)), np.eye(7, dtype=np.float32)[given]
    ids, labeled = views[0].ids, np.ones(faces, dtype=np.bool_)
    return Samples(ids=ids, paths=np.full(faces, ""), classes=names, given=labels, labeled=labeled), views


def same_set(one: RefinedSet, other: RefinedSet) -> bool:
    """Return whether two refined sets hold the same values."""
    fields = ("distribution", "weight", "quality", "flagged", "changed", "reason")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields) and (
        one.neighbors_for == other.neighbors_for and one.neighbors_against == other.neighbors_against
    )


def memory(sizes: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Return bytes a face that `refine` holds at its peak by method, neighbors in parts: the slope between two sizes.

    Two views of 512 and 256 columns, mapped from files; each run is a process of its own.
    """
    found = []
    for method in ("hypergraph", "consensus"):
        peaks = [json.loads(_peak_of(method, faces, folder)) for faces in sizes]
        (small, large), (low, high) = sizes, [peak["bytes"] for peak in peaks]
        found.append({"method": method, "faces": list(sizes), "peak_bytes": [low, high]})
        found[-1]["bytes_a_face"] = (high - low) / (large - small)
    return found


def _peak_of(method: str, faces: int, folder: Path) -> str:
    line = [sys.executable, __file__, "--peak-of", method, "--vectors", str(faces), "--out", str(folder / "parts")]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def peak(method: str, faces: int, folder: Path) -> int:
    """Refine a made-up set with mapped vectors, neighbors in parts, and return the most memory of its own held.

    Pages of mapped files are not counted: the system takes them back where memory is short.
    """
    samples, views = made_set(faces)
    mapped = []
    for view in views:
        np.save(folder.with_name(f"{view.view}.npy"), view.values)
        values = np.load(folder.with_name(f"{view.view}.npy"), mmap_mode="r")
        mapped.append(Features(view.view, view.ids, values, view.found, view.spec))
    del views, view
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.02):
            most = max(most, own_bytes())

    watching = threading.Thread(target=watch)
    watching.start()
    with part_search(folder, None, "cpu", len, faces=SMALL_PARTS) as searcher:
        resources = Resources(index="exact", device="cpu", searcher=searcher)
        refine(samples, build_method(method, {}), Sources(views=mapped), resources, Callbacks(note=len))
    done.set()
    watching.join()
    return most


def own_bytes() -> int:
    """Return the memory of this process that no file stands behind (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    raise OSError("This system does not say how much memory a process holds of its own.")


def on_paper(measured: dict[str, Any], gpu: dict[str, float]) -> list[dict[str, Any]]:
    """Return bytes and seconds of each stage for `FACES` faces on `GPUS` GPUs, by arithmetic from constants."""
    found = measured["shards"]
    core = found["seconds_one_process"] / found["faces"]
    pairs, graph = 2.0 * FACES * FACES * WIDTH, FACES * K * NEIGHBOR_BYTES
    rows = [
        ("read pictures", FACES * PICTURE_BYTES, FACES * PICTURE_BYTES / gpu["read_bytes"]),
        ("decode and encode, one core a GPU", FACES * WIDTH * 4, FACES * core / GPUS),
        ("encode on GPUs", FACES * WIDTH * 4, FACES / gpu["faces"] / GPUS),
        ("write vectors", FACES * (WIDTH * 4 + 33), FACES * (WIDTH * 4 + 33) / gpu["read_bytes"]),
        ("exact neighbors, one core a GPU", graph, pairs / measured["neighbors"]["operations_a_second"] / GPUS),
        ("exact neighbors on GPUs", graph, pairs / gpu["operations"] / GPUS),
        *(
            (f"`{one['method']}` in one machine's memory", FACES * one["bytes_a_face"], 0.0)
            for one in measured["memory"]
        ),
    ]
    return [{"stage": stage, "bytes": size, "seconds": seconds} for stage, size, seconds in rows]


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--encoder", default="builtin")
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--vectors", type=int, default=20_000, help="made-up vectors whose neighbors are searched")
    parser.add_argument("--refined", type=int, default=20_000, help="made-up faces that are refined")
    parser.add_argument("--memory", type=int, nargs=2, default=[30_000, 60_000], help="made-up faces of two sets")
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)
    parser.add_argument("--gpu-faces", type=float, default=2000.0, help="faces a second that a GPU encodes; assumed")
    parser.add_argument("--gpu-operations", type=float, default=2e13, help="of a GPU a second, float32; assumed")
    parser.add_argument("--read-bytes", type=float, default=1e9, help="a second from the store, all nodes; assumed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cluster.json")
    args = parser.parse_args(arguments)
    if args.peak_of:
        sys.stdout.write(json.dumps({"bytes": peak(args.peak_of, args.vectors, args.out)}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_dataset(folder / "set", faces=args.faces, noise_rate=0.1, seed=0)
        measured = {"shards": shards(read(folder / "set"), build(args.encoder), args.shards, folder)}
        tell(f"Shards: {measured['shards']}")
        measured["neighbors"] = neighbors(args.vectors, WIDTH, args.shards, folder)
        tell(f"Neighbors: {measured['neighbors']}")
        measured["refined"] = refined(args.refined, args.shards, folder)
        tell(f"Refined: {measured['refined']}")
        measured["memory"] = memory(args.memory, folder)
        tell(f"Memory: {measured['memory']}")
    assumed = {"faces": args.gpu_faces, "operations": args.gpu_operations, "read_bytes": args.read_bytes}
    paper = {"faces": FACES, "gpus": GPUS, "assumed": assumed, "stages": on_paper(measured, assumed)}
    write_json(args.out, {"encoder": args.encoder, **measured, "on_paper": paper, **stamp()})


if __name__ == "__main__":
    sys.exit(main())
