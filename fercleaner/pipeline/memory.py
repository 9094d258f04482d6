"""How much memory a run needs: estimated before the work starts, and read off at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..core.errors import InputError
from ..core.types import Features, Samples
from ..methods.base import Method
from ..similarity.whitening import COMPONENTS

#: Bytes of a gibibyte.
GIB = 1 << 30
#: Of each component, where faces are in another order than their ids.
A_COPY = 4


class Held(NamedTuple):
    """Bytes that a method holds in one part of its work, by what they grow with.

    Parameters
    ----------
    base : int
        Python with numpy, torch and FAISS loaded and a block at work, whatever the set.
    face : int
        A face: ids, labels and the refined file.
    column : int
        A face and column of the vectors, beside these.
    component : int
        A face and component by which faces are compared: float32, and bfloat16 in an index.
    table : int
        A face and view: neighbors, and its part of the hypergraph.
    joint : int
        A face, where there are several views: neighbors by all side by side.
    score : int
        A face and class: what heads say, in the runs of all folds.
    """

    base: int
    face: int = 500
    column: int = 0
    component: int = 6
    table: int = 0
    joint: int = 0
    score: int = 0


#: While neighbors are searched.
SEARCH = Held(int(1.15 * GIB), table=1050, joint=1000)
#: The methods of which it was measured, with their own parameters (docs/speed.md); of several parts the largest counts.
MEASURED = {
    "consensus": (SEARCH, Held(int(1.15 * GIB), score=220)),
    "hypergraph": (SEARCH,),
    "threshold": (Held(int(0.85 * GIB), column=4, component=10, score=140),),
}


def needed(method: str, samples: Samples, views: Mapping[str, Features]) -> int:
    """Return about how many bytes a method of `MEASURED` needs at most, with these views.

    Vectors mapped from files count: their pages are held while memory is not short. Measured on 10,000 to a million
    faces (docs/speed.md); what an encoder takes to compute vectors is left out.
    """
    return max(part.base + len(samples) * a_face(part, samples, views) for part in MEASURED[method])


def a_face(part: Held, samples: Samples, views: Mapping[str, Features]) -> int:
    """Return the bytes of each face, beside the base, in a part of the work."""
    in_order = bool((samples.ids[1:] > samples.ids[:-1]).all())
    each = part.face + (part.joint if len(views) > 1 else 0) + part.score * len(samples.classes)
    for view in views.values():
        width = view.values.shape[1]
        each += width * (view.values.itemsize + part.column) + part.component * min(width, COMPONENTS) + part.table
        each += 0 if in_order else A_COPY * min(width, COMPONENTS)
    return each


def check_promise(
    memory: int | None, method: Method, *, precision: bool = False, mirrored: bool = False, trial: bool = False
) -> None:
    """Raise InputError where memory is limited and it is not known how much a method needs.

    Known is that of `MEASURED` with their own parameters, without `precision`, `mirrored` pictures and a `trial`.
    """
    known = method.name in MEASURED
    if memory is None or (known and method == type(method)() and not (precision or mirrored or trial)):
        return
    what = method.name
    if trial:
        what += " in a trial"
    elif precision:
        what += " with --precision"
    elif mirrored:
        what += " with mirrored pictures"
    elif known:
        what += " with other parameters"
    raise InputError(
        f"--memory: how much memory {what} needs was not measured, so nothing can be promised. Leave --memory out, or "
        f"use --method {' or '.join(MEASURED)} as it is."
    )


def check_memory(
    memory: int | None, methods: Sequence[Method], samples: Samples, views: Mapping[str, Features]
) -> None:
    """Raise InputError where one of some methods of `MEASURED` needs more than `memory` bytes, if that is limited."""
    if memory is None:
        return
    for name in [method.name for method in methods if method.name in MEASURED]:
        wanted = needed(name, samples, views)
        if wanted <= memory:
            continue
        parts = [(part.base, a_face(part, samples, views)) for part in MEASURED[name]]
        fits = int(min(max(0, memory - base) / each for base, each in parts))
        each = max(each for _, each in parts)
        raise InputError(
            f"--memory {gib(memory)}: {name} needs about {gib(wanted)} for {len(samples):,} faces in {len(views)} "
            f"view{'' if len(views) == 1 else 's'} ({each / 1024:.1f} KiB a face); about {fits:,} fit. Give it more, "
            "fewer views, or vectors as float16 in .npy files."
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
