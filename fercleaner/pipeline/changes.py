"""Which refined labels overrule given ones: none that is not flagged, and which classes lose all of theirs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.types import Refinement, Samples
from ..methods.base import leading
from ..noise.estimate import held_wrong


def kept_unflagged(samples: Samples, refinement: Refinement) -> Refinement:
    """Return the refinement in which the label of no unflagged face is changed: the label leads there."""
    given = samples.given.astype(np.float64)
    rows = samples.labeled & ~refinement.flagged & held_wrong(samples.given, refinement.distribution)
    distribution = refinement.distribution.astype(np.float64)
    distribution[rows] = leading(distribution[rows], given[rows])
    return replace(refinement, distribution=distribution.astype(np.float32))


def emptied_classes(samples: Samples, refinement: Refinement) -> list[str]:
    """Return the classes that labels name and no refined label does."""
    c = len(samples.classes)
    before, after = (np.bincount(rows, minlength=c) for rows in (samples.label[samples.labeled], refinement.label))
    return [samples.classes[i] for i in np.flatnonzero((before > 0) & (after == 0))]
