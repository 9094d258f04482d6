"""Refined sets with pictures for the tests of the report, and the browser that opens pages."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fercleaner.core.refined import RefinedSet

CHROMIUM = os.environ.get("FERCLEANER_CHROMIUM", "/usr/bin/chromium")
ARGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CLASSES = ("anger", "fear", "happiness")

#: Names that are markup, script, paths, terminal codes, or turn the direction of text.
HOSTILE = (
    "<img src=x onerror=window.hit=1>",
    "</script><script>window.hit=1</script>",
    "{{ 7*7 }}{% raw %}",
    "../../../etc/passwd",
    "\x1b[31mred\x1b[0m",
    "\u202egnp.exe",
    "nul\x00byte",
    "a\u2028b\u2029c",
    "' onfocus='window.hit=1' x='",
    '" autofocus onfocus="window.hit=1',
    "<!--",
    "=1+1",
)


def picture(seed: int, size: int = 64) -> Image.Image:
    """A gray picture with coarse and fine detail, unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5), dtype=np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    fine = Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    return Image.blend(coarse, fine, 0.4)


def refined_set(folder: Path | None, n: int = 60, names: list[str] | None = None, **changes) -> RefinedSet:
    """A refined set of n faces in three classes, a fifth of them flagged, pictures in `folder` where it is given."""
    rng = np.random.default_rng(7)
    ids = [f"face {i:03d}" for i in range(n)] if names is None else names
    given = np.arange(n) % 3
    distribution = np.eye(3)[given] * 0.8 + 0.2 / 3
    changed = np.arange(n) % 5 == 0
    distribution[changed] = np.roll(distribution[changed], 1, axis=1)
    unsure = np.arange(n) % 10 == 1
    distribution[unsure] = np.roll(np.array([[0.5, 0.42, 0.08]]), 1, axis=1)
    changed = distribution.argmax(1) != given
    quality = distribution[np.arange(n), given]
    paths = [""] * n
    if folder is not None:
        for i in range(n):
            paths[i] = str(folder / f"{i}.png")
            picture(i).save(paths[i])
    near = [tuple(ids[(i + s) % n] for s in (3, 6)) for i in range(n)]
    far = [tuple(ids[(i + s) % n] for s in (1, 2, 4)) for i in range(n)]
    about = {"method": "consensus", "params": {"k": 15}, "views": [{"name": "v", "faces": n}], "layout": "manifest"}
    fields = {
        "ids": ids,
        "paths": paths,
        "split": np.where(np.arange(n) % 4 == 0, "test", "train"),
        "classes": CLASSES,
        "labeled": np.ones(n, dtype=bool),
        "given": np.eye(3)[given],
        "distribution": distribution / distribution.sum(1, keepdims=True),
        "weight": quality,
        "quality": quality,
        "flagged": changed,
        "changed": changed,
        "reason": np.where(changed, "labeled x; refined to y (0.87); 9 of 10 nearest are y; AU12 high, no AU1", ""),
        "neighbors_for": near,
        "neighbors_against": far,
        "evidence": {"probe": rng.random(n).astype(np.float32)},
        "metadata": about,
    }
    return RefinedSet(**{**fields, **changes})


@contextmanager
def chromium() -> Iterator:
    """Run headless Chromium, or skip the test with the reason."""
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM} (apt-get install chromium, or FERCLEANER_CHROMIUM)")
    with sync.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGS), timeout=120_000)
        yield browser
        browser.close()


@contextmanager
def opened(browser, page: Path, **options) -> Iterator:
    """Open a page from disk; what it tried to load, and its errors, are in `.asked` and `.errors` of the tab."""
    context = browser.new_context(**options)
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    tab.asked, tab.errors = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("pageerror", lambda error: tab.errors.append(str(error)))
    tab.on("console", lambda said: tab.errors.append(said.text) if said.type == "error" else None)
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-ready=yes]")
    try:
        yield tab
    finally:
        context.close()
