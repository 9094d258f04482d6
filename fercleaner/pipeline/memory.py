"""How much memory a run needs: estimated before the work starts, and read off at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ..core.arrays import Strings
from ..core.errors import InputError
from ..core.types import Features
from ..methods.base import Method
from ..similarity.whitening import COMPONENTS

#: Bytes of a gibibyte.
GIB = 1 << 30
#: Python with numpy, torch and FAISS loaded and a block at work, whatever the set.
BASE = int(1.15 * GIB)
#: Bytes a face: ids, labels and the refined file; of each view, components by which faces are compared (float32, and
#: bfloat16 in the index), tables of neighbors, and its part of the hypergraph; of all views side by side, if any.
A_FACE, A_COMPONENT, A_TABLE, A_JOINT = 500, 6, 1050, 1000
#: Of each component, where faces are in another order than their ids.
A_COPY = 4
#: The method of which that is known.
MEASURED = "hypergraph"


def needed(ids: Strings, views: Mapping[str, Features]) -> int:
    """Return about how many bytes `MEASURED` needs at most, with these views.

    Vectors mapped from files count: their pages are held while memory is not short. Measured on 10,000 to a million
    faces (docs/speed.md); what an encoder takes to compute vectors is left out.
    """
    in_order = bool((ids[1:] > ids[:-1]).all())
    a_face = A_FACE + (A_JOINT if len(views) > 1 else 0)
    for view in views.values():
        width = view.values.shape[1]
        a_face += width * view.values.itemsize + A_COMPONENT * min(width, COMPONENTS) + A_TABLE
        a_face += 0 if in_order else A_COPY * min(width, COMPONENTS)
    return BASE + len(ids) * a_face


def check_promise(memory: int | None, method: Method, *, precision: bool = False) -> None:
    """Raise InputError where memory is limited and it is not known how much a method needs.

    Known is that of `MEASURED` with its own parameters, without `precision`.
    """
    if memory is None or (method.name == MEASURED and method == type(method)() and not precision):
        return
    what = method.name
    if precision:
        what += " with --precision"
    elif what == MEASURED:
        what += " with other parameters"
    raise InputError(
        f"--memory: how much memory {what} needs was not measured, so nothing can be promised. Leave --memory out, or "
        f"use --method {MEASURED} as it is."
    )


def check_memory(memory: int | None, ids: Strings, views: Mapping[str, Features]) -> None:
    """Raise InputError where `MEASURED` needs more than `memory` bytes, if that is limited."""
    wanted = needed(ids, views)
    if memory is None or wanted <= memory:
        return
    each = (wanted - BASE) / len(ids)
    fits = int(max(0, memory - BASE) / each)
    raise InputError(
        f"--memory {gib(memory)}: {MEASURED} needs about {gib(wanted)} for {len(ids):,} faces in {len(views)} "
        f"view{'s' if len(views) > 1 else ''} ({each / 1024:.1f} KiB a face); about {fits:,} fit. Give it more, fewer "
        "views, or vectors as float16 in .npy files."
    )


def peak() -> int | None:
    """Return the most memory that this process held so far, in bytes, mapped files included; None where unknown."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)


def held(memory: int) -> str:
    """Return what to tell of a run that was promised to hold at most `memory` bytes."""
    most = peak()
    if most is None:
        return "memory: this system does not say how much was held."
    kept = "" if most <= memory else ": more than promised. Please report the number of faces, views and columns"
    return f"memory: at most {gib(most)} of {gib(memory)} were held, mapped files included{kept}."


def gib(count: int) -> str:
    """Return bytes as a user reads them: "7.4 GiB"."""
    return f"{count / GIB:.1f} GiB"
