"""Codes of published class sets: what they mean, and what a code that a set does not have can mean."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ..core.arrays import Ints
from ..core.expressions import CLASS_SETS, ClassSet, whole_number
from ..core.text import counted
from .table import Where, listed, number

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
#: Codes that follow each other, from which on a number beyond a gap is said to lie apart: of two all gaps are alike.
_LEAST_RUN = 3
#: Faces that every other code has where a first or last code that one face alone has is said to be odd.
_MANY = 10


def tell_apart(classes: Sequence[str], index: Ints, where: Where, sure: Collection[str]) -> None:
    """Say which numbers, as classes that nobody named, may be no classes: 9 beside 1 to 4, or an 8 of one face alone.

    Parameters
    ----------
    classes : sequence of C str
        Nothing is said unless all are whole numbers, in rising order.
    index : (N,) int64
        Class of each row, -1 where it has none.
    where : callable
        Says where row i stands.
    sure : collection of str
        Classes that the user vouches for.
    """
    codes = [value for value in map(whole_number, classes) if value is not None]
    if len(codes) < max(len(classes), _LEAST_RUN):
        return
    faces = np.bincount(index[index >= 0], minlength=len(codes))
    run = next((k for k in range(1, len(codes)) if codes[k] != codes[k - 1] + 1), len(codes))
    odd, how = list(range(run, len(codes))), "apart from the other codes"
    if run < _LEAST_RUN or 2 * len(odd) > run:
        return
    if not odd:
        odd = [k for k in (0, len(codes) - 1) if faces[k] == 1 and (np.delete(faces, k) >= _MANY).all()]
        how = "alone at the end of the codes"
    odd = [k for k in odd if classes[k] not in sure]
    if odd:
        rest = [code for k, code in enumerate(codes) if k not in odd]
        _LOG.warning(
            "%s: %s %s (%s) stands %s, %d to %d, and is taken for a class. If it means 'missing' or is a slip, %s "
            "leaves such rows unlabeled; %s says that it is a class.",
            where(int(np.flatnonzero(index == odd[0])[0])),
            "label" if len(odd) == 1 else "one of the labels",
            listed([classes[k] for k in odd], 6),
            counted(int(faces[odd].sum()), "face", "faces"),
            how, min(rest), max(rest),
            " ".join(f"--alias {classes[k]}=" for k in odd),
            " ".join(f"--alias {classes[k]}={classes[k]}" for k in odd),
        )  # fmt: skip


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
