"""What the papers published (published.json), and its table next to the trainings of papers.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PUBLISHED = Path(__file__).parent / "published.json"
#: Labels that no method made.
UNREFINED = ("given", "truth")


@dataclass(frozen=True)
class Protocol:
    """A set as the papers use it.

    Parameters
    ----------
    title : str
    layouts : tuple of str
        Layouts of `fercleaner.datasets` that it comes in.
    classes : str
        Its class set.
    test : str
        Split that is tested on.
    faces : (int, int), optional
        Training and test faces of the published set; None where we do not know them.
    """

    title: str
    layouts: tuple[str, ...]
    classes: str
    test: str = "test"
    faces: tuple[int, int] | None = None


PROTOCOLS = {
    "rafdb": Protocol("RAF-DB", ("rafdb",), "rafdb", faces=(12271, 3068)),
    "ferplus": Protocol("FERPlus", ("ferplus", "ferplus-folders"), "ferplus"),
    "affectnet7": Protocol("AffectNet, 7 classes", ("affectnet", "affectnet-npy"), "affectnet7", "val"),
    "affectnet8": Protocol("AffectNet, 8 classes", ("affectnet", "affectnet-npy"), "affectnet8", "val"),
}


def page(results: Path) -> str:
    """Return the tables as Markdown: our trainings of a folder, next to what was published."""
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(results.glob("*.json"))]
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    parts = [
        "# The papers' protocol with refined labels\n",
        "Written by `benchmarks/papers.py`. Test accuracy in percent by the rate of symmetric noise on the training "
        "labels. Ours: the last epoch ± the standard deviation over seeds, in parentheses the best epoch by test "
        "accuracy (the choice of LA-Net's and DNFER's code). Published figures (in italics) come from "
        "`published.json`, were not run by us, and rest on other draws of the noise.\n",
    ]
    for name in dict.fromkeys(run["settings"]["set"] for run in runs):
        parts.append(one_set(name, [run for run in runs if run["settings"]["set"] == name], published))
    parts.append("## Sources\n")
    parts += [
        f"- {t['key']}: {t['source']}. Read from: {t['read_from']}. Noise: {t['noise']}. Backbone: {t['backbone']}. "
        f"Epoch: {t['selection']}. {t['notes']}".rstrip()
        for t in published["tables"]
    ]
    return "\n".join([*parts, "\nNot known to us:\n", *(f"- {text}" for text in published["unknown"])]) + "\n"


def one_set(name: str, runs: list[dict[str, Any]], published: dict[str, Any]) -> str:
    """Return the table of one set."""
    protocol = PROTOCOLS[name]
    rates = sorted({run["settings"]["rate"] for run in runs})
    faces = runs[0]["settings"]["faces"]
    lines = [f"## {protocol.title}\n", f"{faces[0]:,} training and {faces[1]:,} test faces."]
    comparable = protocol.faces is None or protocol.faces == tuple(faces)
    if not comparable:
        lines[-1] += (
            f" **Not the published set**, which has {protocol.faces[0]:,} and {protocol.faces[1]:,}: a stand-in, whose "
            "figures say nothing about the published ones."
            if protocol.faces
            else ""
        )
    head = ["trained on", "backbone", "recipe", "labels right", *(f"{100 * rate:g} %" for rate in rates), "source"]
    lines += ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in runs:
        s = run["settings"]
        labels = (
            s["labels"] if s["labels"] in UNREFINED else f"`{s['method']}`, {s['labels']} ({'+'.join(s['encoder'])})"
        )
        start = "random" if s["weights"] is None else f"weights {s['weights'][:8]}"
        key = (str(labels), f"{s['backbone']}, {start}", f"{s['recipe']}, {s['training']['epochs']} epochs")
        groups.setdefault(key, []).append(run)
    for first, mine in groups.items():
        right = np.mean([run["label_accuracy"] for run in mine])
        cells = [_cell([run for run in mine if run["settings"]["rate"] == rate]) for rate in rates]
        lines.append(f"| {' | '.join([*first, f'{100 * right:.1f} %', *cells, 'ours'])} |")
    if comparable:
        lines += published_rows(name, rates, published)
    return "\n".join(lines) + "\n"


def published_rows(name: str, rates: Sequence[float], published: dict[str, Any]) -> list[str]:
    """Return the published figures of a set as rows of the table; methods with none at these rates are left out."""
    lines = []
    for table in published["tables"]:
        figures = [f for f in table["figures"] if f["set"] == name]
        for method in dict.fromkeys(f["method"] for f in figures):
            known = {f["rate"]: f for f in figures if f["method"] == method}
            cells = []
            for rate in rates:
                f = known.get(rate)
                spread = "" if f is None or f["spread"] is None else f" ± {f['spread']:.2f}"
                cells.append("" if f is None else f"{f['accuracy']:.2f}{spread}")
            if any(cells):
                lines.append(f"| *{method}* | | | | {' | '.join(cells)} | {table['key']} |")
    return lines


def _cell(runs: list[dict[str, Any]]) -> str:
    if not runs:
        return ""
    last, best = (100 * np.array([run[key]["accuracy"] for run in runs]) for key in ("last", "best"))
    spread = f" ± {last.std(ddof=1):.2f}" if len(last) > 1 else ""
    return f"{last.mean():.2f}{spread} ({best.mean():.2f})"
