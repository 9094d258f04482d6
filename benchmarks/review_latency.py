"""How long a key takes in `fercleaner review` at 300,000 faces, and whether decisions survive kill -9.

    python benchmarks/review_latency.py
    python benchmarks/review_latency.py --faces 20000 --keys 50 --kills 2 --out /tmp/latency.json

Times from the decision being sent until the next face and its picture are there: over HTTP, and, where Playwright and
Chromium are, in the page itself from the key to the next picture shown. Every decision is flushed to disk meanwhile
(fsync). Then, `--kills` times: 100 decisions, kill -9, and the log is read. Writes results/review-latency.json.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from stamp import command, stamp, tell, write_json

from fercleaner.core.refined import RefinedSet
from fercleaner.results.parquet import write
from fercleaner.review.log import read_log

RESULTS = Path(__file__).parent / "results"
CLASSES = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
#: Different pictures; faces share them in turn.
PICTURES = 2000
#: Decisions before each kill.
DECISIONS = 100
IN_PAGE = """async (key) => {
  const before = document.body.dataset.shown;
  const start = performance.now();
  document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
  while (document.body.dataset.shown === before) await new Promise((done) => setTimeout(done, 1));
  return performance.now() - start;
}"""


def made(folder: Path, faces: int) -> Path:
    """Write a refined set of made-up faces with 100 x 100 JPEGs; return its file."""
    rng = np.random.default_rng(0)
    (folder / "pictures").mkdir()
    for i in range(min(PICTURES, faces)):
        noise = rng.integers(0, 256, (13, 13, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((100, 100)).save(folder / "pictures" / f"{i}.jpg", quality=88)
    names = [f"train/face_{i:06d}.jpg" for i in range(faces)]
    distribution = rng.dirichlet(np.full(len(CLASSES), 0.3), faces).astype(np.float32)
    distribution /= distribution.sum(1, keepdims=True)
    given = rng.integers(0, len(CLASSES), faces)
    quality = distribution[np.arange(faces), given].clip(0, 1)
    near = rng.integers(0, faces, (faces, 10))
    refined = RefinedSet(
        ids=np.array(names),
        paths=np.array([str(folder / "pictures" / f"{i % PICTURES}.jpg") for i in range(faces)]),
        split=np.full(faces, "train"),
        classes=CLASSES,
        labeled=np.ones(faces, dtype=np.bool_),
        given=np.eye(len(CLASSES), dtype=np.float32)[given],
        distribution=distribution,
        weight=quality,
        quality=quality,
        flagged=quality < 0.2,
        changed=distribution.argmax(1) != given,
        reason=np.full(faces, "labeled fear; refined to surprise (0.64); 7 of 10 nearest are surprise; AU26 high"),
        neighbors_for=tuple(tuple(names[j] for j in row[:5]) for row in near.tolist()),
        neighbors_against=tuple(tuple(names[j] for j in row[5:]) for row in near.tolist()),
        metadata={"method": "made up"},
    )
    write(refined, folder / "made.refined.parquet")
    return folder / "made.refined.parquet"


class Review:
    """`fercleaner review` as a process of its own, and a client of it."""

    def __init__(self, file: Path) -> None:
        start = time.perf_counter()
        words = [sys.executable, "-m", "fercleaner", "review", str(file), "--no-browser", "--who", "bench"]
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = None
        while found is None:
            line = self.process.stderr.readline()
            if not line and self.process.poll() is not None:
                raise SystemExit("fercleaner review ended")
            found = re.search(r"http://(127\.0\.0\.1:(\d+))(/[\w-]+/)", line)
        self.address, self.base = found.group(0), found.group(3)
        self.client = http.client.HTTPConnection("127.0.0.1", int(found.group(2)), timeout=60)
        self.face = self.get("api/next?window=bench")["face"]
        self.seconds_to_start = time.perf_counter() - start

    def get(self, path: str) -> Any:
        """Return the JSON at `path`."""
        self.client.request("GET", self.base + path)
        return json.loads(self.client.getresponse().read())

    def decide(self, picture: bool) -> float:
        """Decide about the face at hand; return the milliseconds until the next one (and its picture) is there."""
        said = {"kind": "label", "classes": [CLASSES[1]]}
        body = {"items": [{"row": self.face["row"], "decision": said}], "action": "label", "window": "bench"}
        start = time.perf_counter()
        self.client.request("POST", self.base + "api/decide", json.dumps(body), {"content-type": "application/json"})
        self.face = json.loads(self.client.getresponse().read())["face"]
        if picture:
            self.client.request("GET", f"{self.base}picture/{self.face['row']}")
            self.client.getresponse().read()
        return 1000 * (time.perf_counter() - start)

    def resident_mib(self) -> float | None:
        """Return the memory of the process, where the system says."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.is_file():
            return None
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def kill(self) -> None:
        """End the process at once."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()


def spread(milliseconds: list[float]) -> dict[str, Any]:
    """Return median, 95th percentile and maximum with their count."""
    values = np.array(milliseconds)
    return {
        "keys": len(values),
        "median_ms": float(np.median(values)),
        "p95_ms": float(np.quantile(values, 0.95)),
        "max_ms": float(values.max()),
    }


def in_page(review: Review, keys: int) -> dict[str, Any] | None:
    """Return the times in Chromium from a key to the next picture, or None without Playwright or Chromium."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if program is None:
        return None
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        page = browser.new_page()
        page.goto(review.address)
        page.wait_for_selector("body[data-shown]")
        times = []
        for number in range(keys + 5):
            took = page.evaluate(IN_PAGE, str(1 + number % len(CLASSES)))
            page.wait_for_timeout(30)  # a person does not press at once again; pictures ahead are fetched
            times.append(float(took))
        browser.close()
    return spread(times[5:])


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", type=int, default=300_000)
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--out", type=Path, default=RESULTS / "review-latency.json")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        file = made(Path(place), options.faces)
        log = Path(place) / "made.decisions.jsonl"
        load = os.getloadavg()[0]
        review = Review(file)
        for _ in range(5):
            review.decide(picture=True)
        over_http = spread([review.decide(picture=True) for _ in range(options.keys)])
        page = in_page(review, options.keys)
        found: dict[str, Any] = {
            "faces": options.faces,
            "load_before": load,
            "seconds_to_start": review.seconds_to_start,
            "resident_mib": review.resident_mib(),
            "over_http": over_http,
            "in_chromium": page,
        }
        review.kill()
        tell(f"over HTTP {over_http}, in Chromium {page}")
        survived = []
        for _ in range(options.kills):
            before = len(read_log(log).entries)
            review = Review(file)
            for _ in range(DECISIONS):
                review.decide(picture=False)
            review.kill()
            survived.append(len(read_log(log).entries) - before)
        found["after_kill_9"] = {"decisions": DECISIONS, "found": survived}
        tell(f"after kill -9: {survived} of {DECISIONS}")
    write_json(options.out, {**stamp(), **found})
    tell(f"Wrote {options.out}")


if __name__ == "__main__":
    raise SystemExit(main())
