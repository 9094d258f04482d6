"""The errors a user can meet; every message names what, where, what was expected and the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: A longer text is no misspelled name, and comparing it would take long.
LONGEST_WORD = 100


class FercleanerError(Exception):
    """Base of all errors raised on purpose; the command line shows them without a traceback."""


class InputError(FercleanerError):
    """A dataset, label, view or option that cannot be used as given."""


class FeatureError(FercleanerError):
    """Embeddings or landmarks that cannot be had: weights missing, no image readable."""


class StoreError(FercleanerError):
    """A file of ours that cannot be read or written."""


class MissingDependency(FercleanerError):  # noqa: N818 - reads as what it is in a message
    """An optional package that the chosen encoder, detector or layout needs."""

    def __init__(self, package: str, needed_for: str, extra: str | None = None) -> None:
        way_out = f"pip install 'fercleaner[{extra}]'" if extra else f"pip install {package}"
        super().__init__(f"{needed_for} needs the package {package}, which is not installed. Install it: {way_out}")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known word, or an empty string."""
    if len(word) > LONGEST_WORD:
        return ""
    close = difflib.get_close_matches(word.lower(), [k.lower() for k in known], n=1)
    return f" Did you mean '{close[0]}'?" if close else ""
