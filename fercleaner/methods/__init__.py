"""The methods by name: one file a paper's rule. Third parties add theirs under the entry point fercleaner.methods."""

from __future__ import annotations

from typing import Any

from ..core.errors import InputError, did_you_mean
from ..core.evidence import Evidence
from .ambiguous.ambiguous import Ambiguous
from .au_prior.au_prior import AuPrior
from .base import Method, parameters
from .consensus.consensus import Consensus
from .hypergraph.hypergraph import HypergraphPropagation
from .landmark.landmark import Landmark
from .presets import PRESETS
from .threshold import Threshold

#: Built-in methods by the name that the command line uses.
METHODS: dict[str, type] = {
    "hypergraph": HypergraphPropagation,
    "landmark": Landmark,
    "au-prior": AuPrior,
    "threshold": Threshold,
    "ambiguous": Ambiguous,
    "consensus": Consensus,
}

#: The method that is taken where none is named.
DEFAULT = "consensus"

ENTRY_POINTS = "fercleaner.methods"

__all__ = ["DEFAULT", "METHODS", "Evidence", "Method", "available", "build", "parameters"]


def available() -> dict[str, type]:
    """Return all methods by name: the built-in ones, then those of installed plug-ins (which cannot replace them)."""
    from importlib.metadata import entry_points

    found = dict(METHODS)
    for point in entry_points(group=ENTRY_POINTS):
        if point.name not in found:
            found[point.name] = point.load()
    return found


def build(name: str, settings: dict[str, str] | None = None) -> Method:
    """Return the method `name` with `settings` ("k": "30") read as the types of its parameters.

    The setting "preset" stands for several (`presets.PRESETS`); others named beside it go first.
    """
    from dataclasses import fields

    methods = available()
    if name not in methods:
        raise InputError(
            f"Method '{name}' is not known.{did_you_mean(name, methods)} Choose one of: {', '.join(methods)}."
        )
    kind = methods[name]
    defaults = {f.name: f.default for f in fields(kind)}
    named = dict(settings or {})
    values: dict[str, Any] = _preset(name, named.pop("preset", ""))
    for key, text in named.items():
        if key not in defaults:
            raise InputError(
                f"Method '{name}' has no parameter '{key}'.{did_you_mean(key, defaults)} It has: {', '.join(defaults)}."
            )
        values[key] = _parsed(name, key, text, defaults[key])
    method: Method = kind(**values)
    return method


def _preset(method: str, preset: str) -> dict[str, Any]:
    """Return the settings that `preset` stands for; none where it is ""."""
    if not preset:
        return {}
    known = PRESETS.get(preset, {})
    if method not in known:
        has = [name for name, table in PRESETS.items() if method in table]
        raise InputError(
            f"--set preset={preset}: method '{method}' has no such preset; it has {', '.join(has) or 'none'}. "
            "Leave it out for the defaults."
        )
    return dict(known[method])


#: What a parameter takes, in words.
_KINDS = {bool: "true or false", int: "a whole number", float: "a number"}


def _parsed(method: str, key: str, text: str, default: Any) -> Any:
    """Return `text` as the type of `default`."""
    try:
        if isinstance(default, bool):
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.lower()]
        if isinstance(default, int):
            return int(text)
        if isinstance(default, float):
            return float(text)
    except (KeyError, ValueError) as error:
        raise InputError(
            f"--set {key}={text}: method '{method}' takes {key} as {_KINDS[type(default)]} (default {default})."
        ) from error
    return text
