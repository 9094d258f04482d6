"""What a second machine costs and brings: shards and exact neighbors on two Ray nodes against one process.

    python benchmarks/cluster.py --faces 2000 --encoder builtin --shards 8

Two nodes of one core each run on this machine. Drawn faces are extracted in one process and as Ray tasks, once whole
and once with a node killed after the first parts; vectors must be equal, and what was computed twice is counted. The
same for exact neighbors by parts. On one machine two nodes share its cores, so that seconds say what Ray adds, not what
it saves. From the constants measured, and those of a GPU where `--gpu-faces` gives them, the last table is arithmetic:
bytes and seconds of each stage for 10 million faces on 16 GPUs. Writes results/cluster.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from stamp import command, stamp, tell, write_json

from fercleaner.core.types import Features
from fercleaner.datasets import read
from fercleaner.datasets.assemble import select
from fercleaner.demo import draw_dataset
from fercleaner.encoders import build
from fercleaner.engine.neighbors import nearest_on_ray, write_part
from fercleaner.engine.on_ray import Asked, extract_shards
from fercleaner.engine.places import ShardPlace
from fercleaner.extraction.run import extract
from fercleaner.extraction.shards import Shard, WholeSet, cache_of
from fercleaner.similarity.neighbors import nearest
from fercleaner.similarity.neighbors.sharded import Part, nearest_by_parts

#: The set and the machines of the calculation on paper.
FACES, GPUS, WIDTH, K = 10_000_000, 16, 512, 30
#: Bytes of an encoded picture, of a face's vector and its key in the cache, and of a neighbor.
PICTURE_BYTES, NEIGHBOR_BYTES = 20_000, 8 + 4


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
    values = np.random.default_rng(0).normal(size=(faces, width)).astype(np.float32)
    found, group = np.ones(faces, dtype=np.bool_), np.arange(faces)
    features = Features("view", group.astype(str), values, found, {})
    files = write_part(folder / "parts", values, found, group, count)
    parts: list[Part] = [one.open() for one in files]
    whole, one = seconds_of(lambda: nearest(features, K, index="exact", center=False))
    cut, by_parts = seconds_of(lambda: list(nearest_by_parts(parts.__getitem__, count, K, center=False)))
    with two_nodes() as cluster:
        plain, on_ray = seconds_of(lambda: list(nearest_on_ray(files, K, Asked(), center=False)))

        def kill(finished: int, of: int) -> None:
            if finished == 1:
                cluster.remove_node(cluster.second, allow_graceful=False)

        lost, after = seconds_of(lambda: list(nearest_on_ray(files, K, Asked(), center=False, progress=kill)))
    answers = [np.concatenate([best.indices for _, best in found]) for found in (by_parts, on_ray, after)]
    return {
        "faces": faces,
        "width": width,
        "parts": count,
        "seconds_one_go": whole,
        "seconds_by_parts": cut,
        "seconds_two_nodes": plain,
        "seconds_node_killed": lost,
        "equal": [bool(np.array_equal(answer, one.indices)) for answer in answers],
        "operations_a_second": 2.0 * faces * faces * width / whole,
    }


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
        ("vectors in one machine's memory", FACES * WIDTH * 4, 0.0),
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
    parser.add_argument("--gpu-faces", type=float, default=2000.0, help="faces a second that a GPU encodes; assumed")
    parser.add_argument("--gpu-operations", type=float, default=2e13, help="of a GPU a second, float32; assumed")
    parser.add_argument("--read-bytes", type=float, default=1e9, help="a second from the store, all nodes; assumed")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cluster.json")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_dataset(folder / "set", faces=args.faces, noise_rate=0.1, seed=0)
        measured = {"shards": shards(read(folder / "set"), build(args.encoder), args.shards, folder)}
        tell(f"Shards: {measured['shards']}")
        measured["neighbors"] = neighbors(args.vectors, WIDTH, args.shards, folder)
        tell(f"Neighbors: {measured['neighbors']}")
    assumed = {"faces": args.gpu_faces, "operations": args.gpu_operations, "read_bytes": args.read_bytes}
    paper = {"faces": FACES, "gpus": GPUS, "assumed": assumed, "stages": on_paper(measured, assumed)}
    write_json(args.out, {"encoder": args.encoder, **measured, "on_paper": paper, **stamp()})


if __name__ == "__main__":
    sys.exit(main())
