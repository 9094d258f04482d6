"""Small number helpers: softmax and rows that sum to 1."""

from __future__ import annotations

import numpy as np

from .arrays import Doubles


def normalized(values: Doubles) -> Doubles:
    """Return `values` (..., C) divided by their sums; rows of no mass stay zero."""
    total = values.sum(-1, keepdims=True)
    result: Doubles = np.where(total > 0, values / np.where(total > 0, total, 1.0), 0.0)
    return result


def softmax(logits: Doubles) -> Doubles:
    """Return exp(logits) (..., C) divided by their sums, without overflow."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    result: Doubles = weights / weights.sum(-1, keepdims=True)
    return result
