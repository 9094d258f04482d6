"""The Typer app, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from . import demo, inspect, listing, refine

app = typer.Typer(
    name="fercleaner",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Find wrong and ambiguous labels in facial-expression data; write label distributions and sample weights.",
)

#: Exit codes beside 0 (done) and 2 (usage, click's own).
FAILED, INTERRUPTED = 1, 130


def _version(wanted: bool) -> None:
    if wanted:
        from fercleaner import __version__

        typer.echo(f"fercleaner {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options that stand before the command."""


app.command(name="refine")(refine.refine)
app.command(name="show")(inspect.show)
app.command(name="evaluate")(inspect.evaluate)
app.command(name="methods")(listing.methods)
app.command(name="demo")(demo.demo)


def main() -> None:
    """Run the command line; errors of ours are one box without a traceback, exit code 1."""
    debug = "--debug" in sys.argv[1:]
    try:
        app()
    except KeyboardInterrupt:
        _box("Stopped. What was extracted so far is kept in the cache; the same command goes on from there.")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(FAILED)
    except Exception as error:
        from fercleaner.errors import FercleanerError

        if debug or not isinstance(error, (FercleanerError, OSError, MemoryError)):
            raise
        name = type(error).__name__ if isinstance(error, FercleanerError) else "SystemError"
        _box(f"{name}: {error or 'out of memory'}")
        sys.exit(FAILED)


def _box(text: str) -> None:
    """Show a message on stderr: in a box on a terminal, as a plain line elsewhere."""
    from .console import err

    console = err()
    if console.is_terminal:
        from rich.panel import Panel
        from rich.text import Text

        console.print(Panel(Text(text), border_style="red"))
    else:
        console.print(text, markup=False)
