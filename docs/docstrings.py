"""Docstrings as Markdown: prose, formulas (indented lines), sections, parameters, examples."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence

#: Sections whose entries are a name, perhaps a type, and an indented text.
FIELDS = ("Parameters", "Attributes", "Returns", "Yields", "Raises")


def markdown(text: str | None, level: int = 3) -> str:
    """Return a docstring as Markdown, its sections under bold titles, or headings of this level where it is above 0."""
    parts = []
    for title, lines in _sections(inspect.cleandoc(text or "").splitlines()):
        if title:
            parts.append(f"{'#' * level} {title}" if level else f"**{title}**")
        parts.append(_fields(lines) if title in FIELDS else prose(lines))
    return "\n\n".join(part for part in parts if part)


def summary(text: str | None) -> str:
    """Return the first sentence of a docstring as Markdown."""
    return escaped(inspect.cleandoc(text or "").split("\n\n")[0].replace("\n", " "))


def escaped(text: str) -> str:
    """Return text in which nothing but what stands between backquotes means anything to Markdown."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return re.sub(r"([\\`*_<>\[\]{}$|~])", r"\\\1", text)
    parts[::2] = [re.sub(r"([\\*_<>\[\]{}$|~])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts)


def prose(lines: Sequence[str]) -> str:
    """Return paragraphs and lists as they are, indented blocks and doctests as code."""
    blocks: list[str] = []
    for block in _blocks(lines):
        if block[0].startswith(">>>"):
            blocks.append(_fenced("pycon", block))
        elif block[0].startswith("    "):
            blocks.append(_fenced("text", inspect.cleandoc("\n".join(block)).splitlines()))
        else:
            blocks.append(escaped("\n".join(block)))
    return "\n\n".join(blocks)


def _fenced(language: str, lines: Sequence[str]) -> str:
    return "\n".join([f"```{language}", *lines, "```"])


def _sections(lines: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (title, lines); the title is "" before the first one."""
    title, kept = "", []
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line and not line.startswith(" ") and re.fullmatch(r"-{3,}", below):
            yield title, kept
            title, kept = line, []
        elif not (re.fullmatch(r"-{3,}", line) and title and not kept):
            kept.append(line)
    yield title, kept


def _blocks(lines: Sequence[str]) -> list[list[str]]:
    """Return the runs of lines between blank ones; indented runs in a row are one."""
    runs: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            runs[-1].append(line)
        elif runs[-1]:
            runs.append([])
    blocks: list[list[str]] = []
    for run in filter(None, runs):
        if blocks and run[0].startswith("    ") and blocks[-1][0].startswith("    "):
            blocks[-1] += ["", *run]
        else:
            blocks.append(run)
    return blocks


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _fields(lines: Sequence[str]) -> str:
    """Return the entries of a section as a list."""
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        if line and not line.startswith(" "):
            entries.append((line, []))
        elif entries:
            entries[-1][1].append(line)
    items = []
    for head, text in entries:
        name, _, kind = head.partition(" : ")
        said = prose(inspect.cleandoc("\n".join(text)).splitlines())
        item = f"- `{name}`" + (f" ({escaped(kind)})" if kind else "") + (f": {said}" if said else "")
        items.append(item.replace("\n", "\n  "))
    return "\n".join(items)
