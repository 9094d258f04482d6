"""Where rich lives: data to stdout, progress, notes and errors to stderr, plain text when piped."""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fercleaner.core.text import plain

if TYPE_CHECKING:
    from rich.console import Console

    from fercleaner.pipeline.inputs import Callbacks

#: Seconds between progress lines where stderr is not a terminal.
PLAIN_EVERY = 10.0


def err() -> Console:
    """Return the console for progress, notes and errors (stderr)."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
    console.on_broken_pipe = _gone  # type: ignore[method-assign]
    return console


def _gone() -> None:
    """Say that nobody reads stderr any more; rich's own answer ends the process, and the work with it."""
    raise BrokenPipeError


def note(text: str) -> None:
    """Write a note to stderr, without markup and with control characters written as their codes.

    Where stderr is closed or full, the note is lost and the run goes on: its result is worth more.
    """
    with suppress(OSError):
        err().print(plain(text), markup=False)


def one_line(text: str) -> str:
    """Return text for a cell of a table: no control character, no line break."""
    return plain(text).replace("\n", "\\n")


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout; what is not a number becomes null."""
    text = json.dumps(_finite(value), indent=2, ensure_ascii=False)
    sys.stdout.write("".join(map(_in_json, text)) + "\n" if not text.isascii() else text + "\n")


def _in_json(character: str) -> str:
    """Return a character of a JSON text, one that a terminal would obey as its escape."""
    if character.isprintable() or character == "\n":
        return character
    return json.dumps(character)[1:-1]


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Write a table to stdout: the first `left` columns left-aligned, the rest right-aligned.

    On a terminal it is drawn by rich; piped, it is plain columns that other programs can read. Control characters in
    cells and headings are written as their codes.
    """
    rows = [[one_line(cell) for cell in row] for row in rows]
    columns = [one_line(name) for name in columns]
    title = plain(title)
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        console = Console(markup=False, highlight=False)
        if title:
            console.print(title, style="bold", soft_wrap=True)
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for i, name in enumerate(columns):
            # Numbers are never broken over two lines; words are.
            table.add_column(name, justify="left" if i < left else "right", overflow="fold", no_wrap=i >= left)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(len(row[i]) for row in [columns, *rows]) for i in range(len(columns))]
    lines = [title] if title else []
    for row in [columns, *rows]:
        cells = (
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(cells).rstrip())
    sys.stdout.write("\n".join(lines) + "\n\n")


def share(count: int, total: int) -> str:
    """Return "412 of 28,709 (1.4 %)"."""
    return f"{count:,} of {total:,} ({100 * count / total:.1f} %)" if total else f"{count:,} of 0"


def words(*parts: object) -> str:
    """Return words of a command line as a shell reads them: "fercleaner show 'my faces.parquet'".

    A path that begins with a dash is no option: "./-a.parquet".
    """
    return shlex.join(f"./{part}" if isinstance(part, Path) and str(part)[:1] == "-" else str(part) for part in parts)


def size(count: int) -> str:
    """Return a number of bytes with a unit that fits, such as "12.3 MiB"."""
    value, unit = float(count), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"


@contextmanager
def progress_callbacks() -> Iterator[Callbacks]:
    """Give a Callbacks that shows a bar with rate and time left a stage, or a line every few seconds when piped.

    Warnings of the library go the same way as notes meanwhile.
    """
    with _progress() as callbacks, warnings_to(callbacks.note):
        yield callbacks


@contextmanager
def warnings_to(tell: Callable[[str], None]) -> Iterator[None]:
    """Hand warnings of the library to `tell` meanwhile."""
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: tell(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("fercleaner")
    before, logger.propagate = logger.propagate, False
    handlers, logger.handlers = logger.handlers, [handler]
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, before


@contextmanager
def _progress() -> Iterator[Callbacks]:
    from fercleaner.pipeline.inputs import Callbacks

    if not sys.stderr.isatty():
        lines = PlainProgress()
        yield Callbacks(progress=lines.progress, note=note)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = err()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    tasks: dict[str, Any] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=total, rate="")
        task = bar.tasks[bar.task_ids.index(tasks[stage])]
        rate = f"{task.speed:,.0f}/s" if task.speed else ""
        bar.update(tasks[stage], completed=done, total=total, rate=rate)
        if done >= total:
            bar.remove_task(tasks.pop(stage))

    with bar:
        yield Callbacks(progress=progress, note=lambda text: bar.console.print(plain(text), markup=False))


class PlainProgress:
    """Progress as lines: at most one every `PLAIN_EVERY` seconds a stage, with rate and time left."""

    def __init__(self) -> None:
        self.started: dict[str, float] = {}
        self.reported: dict[str, float] = {}

    def progress(self, stage: str, done: int, total: int) -> None:
        """Write a line when one is due."""
        now = time.monotonic()
        start = self.started.setdefault(stage, now)
        if now - self.reported.setdefault(stage, now) < PLAIN_EVERY or done >= total:
            return
        self.reported[stage] = now
        rate = done / (now - start) if now > start else 0.0
        left = f", {(total - done) / rate:,.0f} s left" if rate else ""
        note(f"{stage}: {done:,} of {total:,} ({100 * done / max(total, 1):.0f} %), {rate:,.0f}/s{left}")
