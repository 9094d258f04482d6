"""How long an audit takes, how large its page is, how fast it opens, and which copies of pictures it finds.

    python benchmarks/audit_page.py --pictures FOLDER [--ferplus ../shared/ferplus] [--rows 300000]

FOLDER holds ferplus's images.tar unpacked (images/00000.png, ...). Parts:

- page: the 28,709 faces with pictures, two outside views and landmarks, refined by `hypergraph`, checks included.
- large, large-vectors: synthetic rows without pictures, groups of 100; without vectors, and with 64 columns.
- copies: of random faces of one half of the set (the thresholds were chosen on the other), copies that were mirrored,
  recompressed, or cropped at random to a given side: how many are found again, and how many other pairs.

The page is opened in headless Chromium where there is one, from disk.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from stamp import command, measured, stamp, tell, write_json

from fercleaner import Features, RefinedSet, Resources, Samples, Sources, load, read, refine
from fercleaner.core.arrays import Ints
from fercleaner.encoders.vectors import read_view
from fercleaner.extraction.images import open_face
from fercleaner.landmarks import PointsFile
from fercleaner.methods import build
from fercleaner.pipeline.inputs import Callbacks
from fercleaner.report import Material, audit, gather_for_audit
from fercleaner.results.alike import thumbnails
from fercleaner.results.near_duplicates import KINDS, links
from fercleaner.results.pixels import Pixels, look, measure

HERE = Path(__file__).resolve().parent
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
#: Faces of which a copy of each kind is made, and sides of the crops.
COPIES, SIDES = 400, (0.95, 0.9, 0.85, 0.8)


def page(pictures: Path, ferplus: Path, file: Path | None) -> dict[str, Any]:
    """Refine the set from outside views, or take a file refined before, then time an audit with all checks."""
    samples = read(ferplus / "labels.csv", images=pictures)
    views = [
        read_view(name, ferplus / file, samples)
        for name, file in (("emotion", "view_emotion_1024.npy"), ("expression", "view_expression_256.npy"))
    ]
    sources = Sources(views=views, landmarks=PointsFile(str(ferplus / "landmarks_68.npy")))
    refined = refine(samples, build("hypergraph"), sources, Resources(device="cpu")) if file is None else load(file)
    with measured() as gathering:
        material = gather_for_audit(refined, samples, sources, Resources(device="cpu"), Callbacks(), {})
    return {"gathering": vars(gathering), **written(refined, material)}


def large(rows: int, vectors: bool) -> dict[str, Any]:
    """Time an audit of synthetic rows without pictures; with `vectors`, outliers and a map of 64 columns as well."""
    rng = np.random.default_rng(0)
    c = 7
    given, true = rng.integers(0, c, rows), rng.integers(0, c, rows)
    true = np.where(rng.random(rows) < 0.8, given, true)
    distribution = rng.dirichlet(np.full(c, 0.3), rows) * 0.3
    distribution[np.arange(rows), true] += 0.7
    quality = distribution[np.arange(rows), given]
    values = rng.normal(size=(rows, 64)).astype(np.float32)
    values[np.arange(rows), true] += 3
    ids = np.array([f"{i:06d}.png" for i in range(rows)])
    near = [(ids[i - 1], ids[i - 2]) for i in range(rows)]
    classes = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
    one_hot = np.eye(c, dtype=np.float32)[given]
    everyone = np.ones(rows, dtype=bool)
    refined = RefinedSet(
        ids, np.full(rows, ""), np.full(rows, "train"), classes, everyone, one_hot, distribution, quality, quality,
        quality < 0.5, distribution.argmax(1) != given, np.full(rows, ""), near, near,
    )  # fmt: skip
    group = np.array([f"subject {i // 100}" for i in range(rows)])
    samples = Samples(ids, classes, one_hot, everyone, np.full(rows, ""), group=group)
    view = Features("synthetic", ids, values, everyone)
    return written(refined, Material(samples=samples, features={"synthetic": view} if vectors else {}))


def written(refined: RefinedSet, material: Material) -> dict[str, Any]:
    """Audit, write, and open the page; return seconds, sizes, and how long until it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        with measured() as cost:
            path = audit(refined, material).write(folder)
        sizes = {file.name: file.stat().st_size / 1e6 for file in Path(folder).iterdir()}
        return {"faces": len(refined), "audit": vars(cost), "megabytes": sizes, "opens": opened(path)}


def opened(path: Path) -> dict[str, Any] | None:
    """Return seconds until the page is ready, and until a filter has been followed; None without a browser."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return None
    if not Path(CHROMIUM).exists():
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS, timeout=120_000)
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(path.as_uri())
        tab.wait_for_selector("html[data-ready=yes]", timeout=120_000)
        ready = time.perf_counter() - start
        start = time.perf_counter()
        tab.get_by_label("given label", exact=True).select_option("1")
        tab.evaluate("document.getElementById('status').textContent")
        filtered = time.perf_counter() - start
        browser.close()
    return {"ready_seconds": ready, "filter_seconds": filtered}


def copies(pictures: Path, ferplus: Path, seed: int = 1) -> dict[str, Any]:
    """Return how many copies of each kind are found among the held-out half of the set, and pairs of other faces.

    Halves are of groups, by their number: even ones are those that thresholds were chosen on.
    """
    samples = read(ferplus / "labels.csv", images=pictures)
    assert samples.group is not None
    _, number = np.unique(samples.group, return_inverse=True)
    held = np.flatnonzero(number % 2 == 1)
    seen = look(samples)
    rng = np.random.default_rng(seed)
    chosen = rng.choice(held, COPIES, replace=False)
    kinds: dict[str, list[Any]] = {"recompressed": [], "mirrored": [], **{f"crop {side}": [] for side in SIDES}}
    for row in chosen.tolist():
        face = open_face(samples, row)
        kinds["recompressed"].append(measure(_saved(face, 60))[0])
        kinds["mirrored"].append(measure(_saved(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 85))[0])
        for side in SIDES:
            width = face.width * side
            left, top = rng.uniform(0, face.width - width, 2)
            cut = face.resize(face.size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + width))
            kinds[f"crop {side}"].append(measure(_saved(cut, 85))[0])
    first, second, which = _links(np.concatenate([seen.gray[held], *(np.array(made) for made in kinds.values())]))
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    place = {int(row): at for at, row in enumerate(held.tolist())}
    found: dict[str, Any] = {}
    for at, kind in enumerate(kinds):
        start = len(held) + at * COPIES
        hits = sum((place[int(row)], start + k) in pairs for k, row in enumerate(chosen.tolist()))
        found[kind] = {"made": COPIES, "found": hits}
    own = second < len(held)
    same = number[held][first[own]] == number[held][second[own]]
    found["own pairs"] = {
        name: {"pairs": int((which[own] == i).sum()), "in one known group": int((same & (which[own] == i)).sum())}
        for i, name in enumerate(KINDS)
    }
    return found


def _saved(face: Image.Image, quality: int) -> Image.Image:
    held = io.BytesIO()
    face.save(held, "JPEG", quality=quality)
    return Image.open(held)


def _links(gray: Any) -> tuple[Ints, Ints, Ints]:
    """Return the pairs that `near_duplicates.links` finds among gray copies; content is taken to differ."""
    n = len(gray)
    zero = np.zeros(n, dtype=np.float32)
    size = np.ones(n, dtype=np.int64)
    seen = Pixels(gray, np.arange(n), size, size, zero, zero, zero, zero, np.full(n, "", dtype=object))
    thumbs, telling = thumbnails(gray)
    return links(seen, np.flatnonzero(telling), thumbs, True)


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the parts that are asked for; results/audit_page.json keeps the others."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=Path, required=True, help="folder that holds images/")
    parser.add_argument("--ferplus", type=Path, default=HERE.parents[1] / "shared/ferplus")
    parser.add_argument("--refined", type=Path, help="the set, refined before, in place of refining it")
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--parts", default="page,large,large-vectors,copies")
    parser.add_argument("--out", type=Path, default=HERE / "results/audit_page.json")
    asked = parser.parse_args(arguments)
    done: dict[str, Any] = json.loads(asked.out.read_text(encoding="utf-8")) if asked.out.is_file() else {}
    parts = {
        "page": lambda: page(asked.pictures, asked.ferplus, asked.refined),
        "large": lambda: large(asked.rows, False),
        "large-vectors": lambda: large(asked.rows, True),
        "copies": lambda: copies(asked.pictures, asked.ferplus),
    }
    for name in asked.parts.split(","):
        done[name] = {"stamp": stamp(), **parts[name]()}
        tell(f"{name}: {done[name]}")
        write_json(asked.out, done)


if __name__ == "__main__":
    raise SystemExit(main())
