"""Small refined sets for the tests of reviews and exports, with names that try to break things."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from fercleaner.core.refined import RefinedSet

CLASSES = ("anger", "fear", "happiness", "neutral")
#: Ids that a page, a terminal, a spreadsheet or a path could take for something else.
HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>document.title='owned'</script>",
    "../../etc/passwd",
    "\x1b[31mred",
    "\u202egnp.exe",
    "nul\0inside",
    '=HYPERLINK("http://x.invalid",1)',
    "+1+1",
    "-2",
    "@SUM(A1)",
    "\tleading tab",
    " spaces around ",
    "new\nline",
    'quote " and, comma; semicolon',
    "'apostrophe",
    '"json"',
    "日本語 😀",
    "back\\slash",
)


def refined_set(n=40, *, ids=None, paths=None, seed=0, classes=CLASSES, split=None, **changes):
    """Return a refined set of random distributions, every tenth face unlabeled."""
    rng = np.random.default_rng(seed)
    n = len(ids) if ids is not None else n
    ids = np.array([f"face {i:03d}.png" for i in range(n)] if ids is None else list(ids), dtype=np.str_)
    distribution = rng.dirichlet(np.full(len(classes), 0.5), n).astype(np.float32)
    distribution /= distribution.sum(1, keepdims=True)
    labeled = np.arange(n) % 10 != 9
    given = np.eye(len(classes), dtype=np.float32)[rng.integers(0, len(classes), n)] * labeled[:, None]
    quality = np.where(labeled, (given * distribution).sum(1), distribution.max(1)).clip(0, 1)
    names = ids.tolist()
    fields = {
        "ids": ids,
        "paths": np.full(n, "") if paths is None else np.array([str(path) for path in paths], dtype=np.str_),
        "split": np.full(n, "train") if split is None else split,
        "classes": classes,
        "labeled": labeled,
        "given": given,
        "distribution": distribution,
        "weight": quality,
        "quality": quality,
        "flagged": labeled & (quality < 0.3),
        "changed": labeled & (distribution.argmax(1) != given.argmax(1)),
        "reason": np.array([f"because of {name}" for name in names]),
        "neighbors_for": tuple((names[(i + 1) % n],) for i in range(n)),
        "neighbors_against": tuple((names[(i + 2) % n], names[(i + 3) % n]) for i in range(n)),
        "metadata": {"method": "test", "layout": "manifest"},
    }
    return RefinedSet(**{**fields, **changes})


def with_pictures(folder: Path, n=40, **changes):
    """Return a refined set whose pictures exist: flat gray squares."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:03d}.png" for i in range(n)]
    for i, path in enumerate(paths):
        Image.new("L", (24, 24), 5 * i % 256).save(path)
    return refined_set(n, paths=paths, **changes)
