"""Pictures a second through the builtin model: the whole way, beside the bare network on decoded pictures.

    python benchmarks/speed_pictures.py --data ../shared/ferplus --pictures 2000
    python benchmarks/speed_pictures.py --data ../shared/ferplus --device cuda

The whole way reads, decodes, computes and keeps nothing; both run in this process in turn, `--rounds` times. CPU
seconds count worker processes too. Writes results/speed_pictures.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speed_run import cpu_seconds
from stamp import command, stamp, tell, write_json

from fercleaner.core.errors import InputError
from fercleaner.datasets import read
from fercleaner.encoders.builtin import PARTS, BuiltinExtractor
from fercleaner.extraction import images
from fercleaner.extraction.run import extract, usable_cores

RESULTS = Path(__file__).parent / "results" / "speed_pictures.json"


def taken(work: Callable[[], Any]) -> dict[str, float]:
    """Return wall and CPU seconds of `work`."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return {"wall_s": round(time.perf_counter() - wall, 3), "cpu_s": round(cpu_seconds() - cpu, 3)}


def unpack(data: Path, folder: Path, count: int) -> None:
    """Unpack the first `count` pictures of images.tar into folders of one class each, as a set with two classes."""
    tar = data / "images.tar"
    if not tar.is_file():
        raise InputError(f"{tar} is not here. Name a folder with images.tar: --data FOLDER.")
    with tarfile.open(tar) as archive:
        members = [m for m in archive if m.isfile()][:count]
        for number, member in enumerate(members):
            place = folder / ("happy", "sad")[number % 2]
            place.mkdir(exist_ok=True)
            content = archive.extractfile(member)
            assert content is not None  # a file
            (place / Path(member.name).name).write_bytes(content.read())


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write results/speed_pictures.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=Path("../shared/ferplus"))
    parser.add_argument("--pictures", type=int, default=28_709)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        unpack(args.data, Path(temporary), args.pictures)
        samples = read(Path(temporary))
        assert samples.images is not None  # a folder of pictures
        extractor = BuiltinExtractor(PARTS, device=args.device)
        ready = [extractor.prepare(images.decode(samples.images.read(row))) for row in range(len(samples))]
        batches = [ready[i : i + extractor.batch_size] for i in range(0, len(ready), extractor.batch_size)]
        extractor.compute(batches[0])  # loads the network
        runs = []
        for _ in range(args.rounds):
            bare = taken(lambda: [extractor.compute(batch) for batch in batches])
            whole = taken(lambda: extract(samples, extractor, cache=None, workers=usable_cores()))
            runs.append({"bare": bare, "whole": whole})
            tell(f"bare {bare}, whole {whole}")
    ratio = {
        key: round(float(np.median([r["whole"][key] / r["bare"][key] for r in runs])), 3) for key in ("wall_s", "cpu_s")
    }
    tell(f"{len(ready):,} pictures: the whole way takes {ratio['cpu_s']} x the CPU seconds of the bare network")
    found = {"pictures": len(ready), "device": args.device, "load": round(os.getloadavg()[0], 1), "ratio": ratio}
    write_json(args.out, {**stamp(), **found, "runs": runs})


if __name__ == "__main__":
    sys.exit(main())
