"""What the pipeline says of its evidence: what an extraction did, how many faces a view misses, what is not used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..classifiers.probe import MIRROR
from ..core.arrays import Bools
from ..core.text import counted
from ..core.types import Features, Posteriors, Samples
from ..encoders.columns import explained_by_labels
from ..extraction.run import RunLog
from ..methods.base import Method, parameters
from .inputs import Callbacks

#: Part of how a view's vectors differ from which on they are said to follow the given labels. Of well parted clusters
#: with one wrong label in a hundred it is .974 at most; of FER2013's views under .3.
FOLLOWS = 0.99


def note_run(done: RunLog, callbacks: Callbacks) -> None:
    """Say what an extraction did."""
    repeated = f", {done.repeated:,} with the picture of another row" if done.repeated else ""
    callbacks.note(
        f"{done.view}: {done.computed:,} of {done.faces:,} faces computed, {done.reused:,} from the cache{repeated}, "
        f"in {done.seconds:.1f} s."
    )
    if done.unreadable:
        why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(done.unreadable.items()))
        count = counted(sum(done.unreadable.values()), "picture gives", "pictures give")
        callbacks.note(f"{done.view}: {count} no vector ({why}); first: {done.first_unreadable}")


def note_view(view: Features, samples: Samples, callbacks: Callbacks) -> None:
    """Say how many faces a view misses, what it noted of others, and where it seems to be made of the given labels."""
    note_missing(view.view, view.found, view.notes, samples, callbacks)
    if view.notes is not None:
        for remark in dict.fromkeys(view.notes[view.found & (view.notes != "")].tolist()):
            ids = samples.ids[view.found & (view.notes == remark)]
            callbacks.note(f"{view.view}: {len(ids):,} of {len(samples):,} faces are {remark}; first: {ids[0]}.")
    share = explained_by_labels(view.values, view.found, samples)
    if share >= FOLLOWS:
        callbacks.note(
            f"View '{view.view}': the given labels explain {100 * share:.3g} % of how its vectors differ. Vectors made "
            "of these labels, or by a model trained on them, find no label wrong; give others, or leave it out."
        )


def note_missing(view: str, found: Bools, notes: Any, samples: Samples, callbacks: Callbacks) -> None:
    """Say how many faces a view misses, why, and what becomes of them."""
    said = missing_sentence(view, found, notes, samples)
    if said:
        callbacks.note(said)


def missing_sentence(view: str, found: Bools, notes: Any, samples: Samples) -> str:
    """Return how many faces a view misses, why, and what becomes of them; "" where it misses none."""
    missing = int((~found).sum())
    if not missing:
        return ""
    why = Counter(notes[~found].tolist()).most_common(3) if notes is not None else []
    reason = "; ".join(f"{count:,} {text or 'without a reason'}" for text, count in why)
    reason = f" ({reason})" if reason else ""
    return (
        f"{view}: {missing:,} of {len(samples):,} faces have none{reason}; first: "
        f"{samples.ids[~found][0]}. They are judged by the other views, or keep their label."
    )


def note_unused(tables: Sequence[Posteriors], methods: Sequence[Method], callbacks: Callbacks) -> None:
    """Say which posteriors weigh nothing in the answer of any of `methods`; reasons name them even so.

    A method looks at posteriors that did not learn from the labels where it declares "outside", and at those that one
    of its parameters names.
    """
    outside = any("outside" in method.needs | method.optional for method in methods)
    named = {value for method in methods for value in parameters(method).values() if isinstance(value, str)}
    for table in tables:
        if table.name in named or (outside and not table.learned and table.name != MIRROR):
            continue
        why = "consensus does, and threshold, ambiguous, landmark and au-prior where a parameter names them"
        if outside:
            why = "none that learned from these labels count" if table.learned else f"'{MIRROR}' is for threshold"
        callbacks.note(f"Posteriors '{table.name}' weigh nothing: no method here looks at them ({why}).")
