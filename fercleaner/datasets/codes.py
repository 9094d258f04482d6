"""Codes of published class sets: what they mean, and what a code that a set does not have can mean."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping

from ..core.expressions import CLASS_SETS, ClassSet, whole_number
from .table import number

_LOG = logging.getLogger(__name__)

#: Other meanings of codes that come under a layout, by the class set of the layout: who writes them so, and the classes
#: from code 0 (or from 1, where the first is "").
ELSEWHERE: dict[str, dict[str, tuple[str, ...]]] = {
    "fer2013": {
        "the pixel csv of CK+": (*CLASS_SETS["fer2013"].classes, "contempt"),
        "FERPlus": CLASS_SETS["ferplus"].classes,
        "CK+ itself": ("", "anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"),
    }
}


def tell_absent(codes: ClassSet, first: Mapping[str, int]) -> None:
    """Say where the first code alone never occurs, or the last: labels may have been counted from another start."""
    used = {int(value) for value in map(number, first) if value.is_integer()}
    order = sorted(codes.codes)
    for absent, rest, start in ((order[0], order[1:], order[1]), (order[-1], order[:-1], order[0] - 1)):
        if set(rest) <= used and absent not in used:
            _LOG.warning(
                "No label is %d (%s), and every other code of %s occurs. %s",
                absent,
                codes.codes[absent],
                codes.title,
                f"Were they counted from {start}?" if start >= 0 else "Is it missing, or are these other codes?",
            )


def beyond(code: float, codes: ClassSet, used: Collection[str]) -> str:
    """Return what a code outside a class set can mean, as questions with the options that say so; "" where unknown.

    `used` are all labels. Leaving rows of such a code unlabeled could give every other face a wrong label.
    """
    return _shifted(code, codes, used) + _elsewhere(codes, used)


def _shifted(code: float, codes: ClassSet, used: Collection[str]) -> str:
    """Return the question whether labels were counted from another start, where the code lies right beside the others.

    Leaving such rows unlabeled would then give every other face a wrong label.
    """
    order = sorted(codes.codes)
    step = 1 if code < order[0] else -1
    other_end = order[-1] if step == 1 else order[0]
    if code not in (order[0] - 1, order[-1] + 1) or order[0] - step not in (0, 1) or str(other_end) in used:
        return ""
    meant = " ".join(f"--alias {key - step}={codes.codes[key]}" for key in order)
    return f" Were the labels counted from {order[0] - step}? Then say so: {meant}"


def _elsewhere(codes: ClassSet, used: Collection[str]) -> str:
    """Return who else writes all these codes under the same layout, and the aliases that say so."""
    there = {value for value in map(whole_number, used) if value is not None and value not in codes.junk}
    said = ""
    for who, classes in ELSEWHERE.get(codes.name, {}).items():
        names = dict(enumerate(classes))
        if all(names.get(value) for value in there) and min(k for k in names if names[k]) in there:
            differ = [f"--alias {k}={name}" for k, name in names.items() if name and codes.codes.get(k) != name]
            said += f" If they are the codes of {who}, say so: {' '.join(differ)}"
    return said


def code_range(codes: ClassSet) -> str:
    """Return "0 anger, 1 disgust, ...", what is no expression at the end."""
    return ", ".join(f"{code} {name}" for code, name in (codes.codes | dict(codes.junk)).items())
