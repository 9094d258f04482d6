"""The Typer app, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from . import (
    audit,
    cache,
    coordinate,
    demo,
    doctor,
    evaluate,
    export,
    extract,
    federate,
    inspect,
    listing,
    project,
    read,
    refine,
    review,
    site,
    train,
    trial,
)

#: Exit codes beside 0 (done) and 2 (usage, Typer's own).
FAILED, INTERRUPTED = 1, 130
#: Commands that compute vectors and keep them in the cache as they go.
EXTRACTING = ("refine", "audit", "trial", "project", "federate", "site", "extract")
#: What a user wants, and the commands that do it; `--help` shows both in this order.
WANTS: dict[str, tuple[Callable[..., None], ...]] = {
    "Clean": (refine.refine, read.read, trial.trial, listing.methods, demo.demo),
    "Look and decide": (audit.audit, review.review, inspect.show, evaluate.evaluate),
    "Hand over": (export.export, project.project, train.train),
    "Beyond one machine": (extract.extract, federate.federate, coordinate.coordinate, site.site),
    "About this machine": (doctor.doctor, cache.cache),
}
#: Options that went elsewhere: (command, or "" for any; option) -> what to write now.
MOVED = {
    ("evaluate", "--inject"): "it belongs to another command: fercleaner trial SET --inject KIND:RATE.",
    ("evaluate", "--methods"): "it belongs to another command: fercleaner trial SET --methods A,B.",
    ("evaluate", "--seeds"): "it belongs to another command: fercleaner trial SET --seeds N.",
    ("trial", "--truth"): "it belongs to another command: fercleaner evaluate FILE --truth FILE.",
    ("", "--landmark-weights"): "it is now --weights DETECTOR=FILE, such as --weights mediapipe=FILE.",
    ("", "--detector-weights"): "it is now --weights yunet=FILE.",
}


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """Return the parameters with nothing shown beside flags, which take no value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class Command(TyperCommand):
    """A command: options that went elsewhere say where, and flags show no value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words of the command line; a usage error names what an option of `MOVED` is now."""
        for word in args[: args.index("--")] if "--" in args else args:
            option = word.partition("=")[0]
            now = MOVED.get((self.name or "", option)) or MOVED.get(("", option))
            if now is not None:
                raise typer.BadParameter(now, ctx=ctx, param_hint=f"'{option}'")
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` among them."""
        return _without_types_of_flags(super().get_params(ctx))


class Commands(TyperGroup):
    """The commands: an error of ours ends in one message and exit code 1, Ctrl-C in one line and 130."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, `--help` among them."""
        return _without_types_of_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; `--debug` lets every error through with its traceback."""
        from .console import note, warnings_to

        try:
            with warnings_to(note):
                result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that has gone is noticed here, not while Python shuts down
        except KeyboardInterrupt:
            resumes = " Run the same command again: vectors that are in the cache are not computed twice."
            _show_error(f"Stopped.{resumes if ctx.invoked_subcommand in EXTRACTING else ''}")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            message = None if ctx.params.get("debug") else _message(error)
            if message is None:
                raise
            _show_error(message)
            raise typer.Exit(FAILED) from error
        return result


app = typer.Typer(
    name="fercleaner",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find wrong and ambiguous labels in facial-expression data; write label distributions and sample weights.",
    epilog="Try it: fercleaner demo drawn; it prints the commands to run next.",
)


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


for _want, _commands in WANTS.items():
    for _command in _commands:
        app.command(name=_command.__name__, cls=Command, rich_help_panel=_want)(_command)


def main() -> None:
    """Run the command line."""
    _open_streams()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # its notes on how it runs a network would stand in ours
    app(prog_name="fercleaner")


def _open_streams() -> None:
    """Give the process a stdout and a stderr where it was started without: a result's file would get their number."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            descriptor = os.open(os.devnull, os.O_RDWR)
            if descriptor != number:
                os.dup2(descriptor, number)
                os.close(descriptor)
            mode = "r" if number == 0 else "w"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until the end


def _message(error: Exception) -> str | None:
    """Return what to tell the user, or None for an error that is a bug or Typer's own."""
    from fercleaner.core.errors import FercleanerError

    if isinstance(error, FercleanerError):
        return f"{type(error).__name__}: {error}"
    if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
        where = f"{error.filename}: " if error.filename else ""
        return f"Error: {where}{error.strerror or error}."
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return "Error: the system starts no more threads. Close other programs, or raise the limit (ulimit -u)."
    no_room = isinstance(error, ImportError) and "failed to map segment" in str(error)  # a library finds no memory
    if no_room or isinstance(error, MemoryError):
        return "Error: out of memory. Close other programs, or refine the splits one by one: --split NAME."
    return None


def _show_error(text: str) -> None:
    """Show a message on stderr: in a box on a terminal, as a plain line elsewhere."""
    from fercleaner.core.text import plain

    from .console import err

    console, text = err(), plain(text)
    with suppress(OSError):  # stderr takes no more; the exit code still says it
        if console.is_terminal:
            from rich.panel import Panel
            from rich.text import Text

            console.print(Panel(Text(text), border_style="red"))
        else:
            console.print(text, markup=False)
