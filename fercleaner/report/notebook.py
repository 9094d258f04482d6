"""Refined sets and audits as a notebook shows them."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

from ..core.refined import RefinedSet
from ..extraction.images import UnreadableImage
from ..results.summary import summarize
from .data import overview
from .material import choose
from .page import visible
from .pictures import faces_of, thumbnail

#: Height of a page in a notebook, and side of the ten faces (pixels).
HEIGHT, SIDE = 800, 72
FACES = 10


def framed(page: str) -> str:
    """Return a page inside a frame that may run its own script and nothing else."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="fercleaner audit" '
        f'style="width:100%;height:{HEIGHT}px;border:1px solid #8888"></iframe>'
    )


def as_html(refined: RefinedSet) -> str:
    """Return a refined set as HTML without a script: its counts, its classes, and the ten faces to look at first."""
    if not len(refined):
        return "<p>A refined set without faces.</p>"
    data = overview(refined)
    head = ("class", "given", "refined", "flagged", "expected noise")
    rows = [
        (row["name"], f"{row['given']:,}", f"{row['refined']:,}", _share(row["flagged"]), _range(row["noise"]))
        for row in data["classes"]
    ]
    counts = data["counts"]
    sentence = (
        f"{counts['faces']:,} faces, method {data['made']['method'] or 'unknown'}; "
        f"flagged {_share(counts['flagged'])}, changed {_share(counts['changed'])}, "
        f"ambiguous {_share(counts['ambiguous'])}; "
        f"expected noise {_range(data['noise'])} of {data['noise']['of']:,} labels."
    )
    first = [face.id for face in summarize(refined, top=FACES).suspects]
    return (
        f"<div><p>{_text(sentence)}</p>{_table(head, rows)}<p>Lowest quality of all, of {counts['faces']:,}:</p>"
        f"{_faces(refined, first)}</div>"
    )


def _faces(refined: RefinedSet, first: list[str]) -> str:
    faces, names = faces_of(refined), [*refined.classes, "no label"]
    given, refined_to = refined.given_label, refined.label
    at = {name: row for row, name in enumerate(refined.ids.tolist())}
    rows = [at[name] for name in first] or choose(refined, FACES).tolist()
    lines = []
    for row in rows:
        try:
            url = f"data:image/webp;base64,{base64.b64encode(thumbnail(faces, row, SIDE)).decode()}"
            picture = f'<img src="{url}" width="{SIDE}" height="{SIDE}" alt="face {_text(refined.ids[row])}">'
        except UnreadableImage as error:
            picture = _text(error)
        label = f"{names[given[row]]} → {refined.classes[refined_to[row]]}"
        cells = (label, f"{refined.quality[row]:.4f}", refined.reason[row], refined.ids[row])
        lines.append(f"<tr><td>{picture}</td>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("", "given → refined", "quality", "why", "id"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _table(head: Any, rows: Any) -> str:
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: object) -> str:
    return escape(visible(value))


def _share(rate: Any) -> str:
    share = "" if rate["share"] is None else f" ({100 * rate['share']:.1f} %)"
    return f"{rate['count']:,} of {rate['of']:,}{share}"


def _range(noise: Any) -> str:
    return "–" if noise["low"] is None else f"{100 * noise['low']:.1f} to {100 * noise['high']:.1f} %"
