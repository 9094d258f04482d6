"""What a method is: a frozen dataclass of hyper-parameters with one `refine` call that sees all it may look at."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ..core.arrays import Doubles, Ints
from ..core.errors import InputError
from ..core.evidence import Evidence
from ..core.numeric import normalized
from ..core.types import Refinement, Samples
from ..similarity.whitening import JOINT

#: What a method can declare in `needs` and `optional`; the pipeline computes these and no more. "joint" is a
#: table of `neighbors` over all views side by side; "outside" are those of the `posteriors` that did not learn from
#: the given labels, so that no probe is fitted for it.
NEEDS = frozenset({"features", "neighbors", "joint", "posteriors", "outside", "landmarks", "action_units"})


@runtime_checkable
class Method(Protocol):
    """A rule that turns given labels and evidence into a Refinement.

    Implementations are frozen dataclasses; every field is a hyper-parameter with a default, checked in
    `__post_init__`. `name`, `paper`, `needs` and `optional` are class variables.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    needs: ClassVar[frozenset[str]]
    optional: ClassVar[frozenset[str]]

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the refined labels of all N faces, in the order of `evidence.samples`."""
        ...


def parameters(method: Method) -> dict[str, Any]:
    """Return the hyper-parameters of `method` by name."""
    if not is_dataclass(method):
        raise InputError(f"Method '{method.name}' is not a dataclass; its parameters cannot be listed.")
    return {f.name: getattr(method, f.name) for f in fields(method)}


def require_labels(samples: Samples, method: str) -> None:
    """Raise InputError when there is nothing to learn from: no labeled face."""
    if not samples.labeled.any():
        raise InputError(
            f"No face carries a label; method '{method}' needs some labeled faces. Name the column that holds labels "
            "with --column label=NAME, or sort the pictures of some faces into a folder per class."
        )


def require(evidence: Evidence, method: Method) -> None:
    """Raise InputError naming what `method` needs and does not have."""
    require_labels(evidence.samples, method.name)
    ways_out = {
        "features": "add --encoder or --view NAME=FILE",
        "joint": "add two or more of --encoder, --view NAME=FILE and --landmarks",
        "neighbors": "add --encoder or --view NAME=FILE",
        "posteriors": "add --encoder or --view NAME=FILE",
        "outside": "add --encoder builtin",
        "landmarks": "add --landmarks face-alignment, mediapipe or points:FILE",
        "action_units": "add --landmarks or --action-units FILE",
    }
    for need in sorted(method.needs):
        there = JOINT in evidence.neighbors if need == "joint" else getattr(evidence, need)
        if not there:
            raise InputError(f"Method '{method.name}' needs {need.replace('_', ' ')}: {ways_out[need]}.")


def own_share(given: Doubles, distribution: Doubles) -> Doubles:
    """Return <y_i, q_i>: how much of each row of `distribution` (N, C) lies on the given label, (N,)."""
    share: Doubles = np.einsum("nc,nc->n", given, distribution)
    return share


def own_class(given: Doubles, beside: Doubles) -> Ints:
    """Return the likeliest class of each given distribution (N, C); of several, the one of greatest `beside`, (N,).

    So a tie of annotators' votes does not hang on the order of the classes.
    """
    first = given >= given.max(1, keepdims=True)
    return np.asarray(np.where(first, beside, -np.inf).argmax(1), dtype=np.int64)


def keep_given(samples: Samples) -> Doubles:
    """Return the given distributions, uniform over the classes where a face has no label, (N, C) float64."""
    given = samples.given.astype(np.float64)
    mass = given.sum(1, keepdims=True)
    rows: Doubles = np.where(
        samples.labeled[:, None], given / np.where(mass > 0, mass, 1.0), 1.0 / len(samples.classes)
    )
    return rows


def leading(refined: Doubles, given: Doubles) -> Doubles:
    """Return (1 - a) r + a y with the least a (`leading_share`) under which y's class leads every row."""
    share = leading_share(refined, given)[:, None]
    return normalized((1 - share) * refined + share * given)


def leading_share(refined: Doubles, given: Doubles) -> Doubles:
    """Return the least a in [0, 1], (N,), to a thousandth, under which y's class leads each row of (1 - a) r + a y."""
    m, label = np.arange(len(refined)), given.argmax(1)
    lead = refined - refined[m, label][:, None]
    gap = given[m, label][:, None] - given
    lead[m, label] = 0.0
    share: Doubles = np.where(lead > 0, lead / np.maximum(lead + gap, 1e-12), 0.0).max(1)
    return np.minimum(share + 1e-3, 1.0)
