"""What a GPU does: every test that needs one, then `speed.py --device cuda`; one JSON. `make gpu` runs it.

    python benchmarks/gpu.py --data ../shared/ferplus --out benchmarks/results/gpu.json

Without a GPU nothing is measured: the JSON then says why, and goes to build/gpu.json, so that measured figures stay.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stamp import command, stamp, tell, write_json

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "gpu.json"
UNMEASURED = ROOT / "build" / "gpu.json"
#: Test files that hold tests for a GPU, skipped without one.
TESTS = ("tests/similarity/test_neighbors_gpu.py", "tests/test_gpu.py")
#: Seconds that the tests and the timings may take, each; together under ten minutes.
LIMIT = 290


def devices() -> dict[str, Any]:
    """Return what torch and FAISS see, and why something is skipped."""
    import torch

    seen: dict[str, Any] = {"torch": torch.__version__, "gpus": [], "skipped": []}
    if torch.cuda.is_available():
        seen["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    else:
        seen["skipped"].append("torch sees no GPU here: no test and no timing was run")
    try:
        import faiss

        count = int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0
        seen["faiss_gpus"] = count
        if count == 0 and seen["gpus"]:
            seen["skipped"].append("FAISS sees no GPU here: torch searches neighbors")
    except ImportError:
        seen["skipped"].append("faiss is not installed: neighbors cannot be searched")
    return seen


def tests() -> dict[str, Any]:
    """Run the tests for a GPU; return the exit status and pytest's last lines."""
    words = [sys.executable, "-m", "pytest", "-q", "-rs", *TESTS]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)
    return {"status": done.returncode, "said": done.stdout.strip().splitlines()[-5:]}


def timings(data: str, faces: Sequence[int]) -> Any:
    """Return what speed.py measures on the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "speed.json"
        words = [sys.executable, str(ROOT / "benchmarks" / "speed.py"), "--data", data, "--device", "cuda"]
        words += ["--tools", "hypergraph", "threshold", "--faces", *map(str, faces), "--out", str(out)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT, check=False)
        if done.returncode:
            return {"skipped": (done.stderr.strip().splitlines() or ["no reason given"])[-1]}
        return json.loads(out.read_text(encoding="utf-8"))["runs"]


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, or say why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", default="../shared/ferplus")
    parser.add_argument("--faces", type=int, nargs="+", default=[40_000, 300_000])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args(arguments)
    seen = devices()
    found: dict[str, Any] = {**stamp(), "devices": seen}
    if seen["gpus"]:
        found |= {"tests": tests(), "runs": timings(args.data, args.faces)}
    out = args.out or (RESULTS if seen["gpus"] else UNMEASURED)
    write_json(out, found)
    for reason in seen["skipped"]:
        tell(reason)
    tell(f"{out} is written.")


if __name__ == "__main__":
    sys.exit(main())
