"""Shares with their counts and Wilson intervals: of every class, split, site, group, or any other column."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.arrays import Bools, Strings
from ..core.refined import RefinedSet
from ..noise.estimate import expected_joint, held_wrong

#: Standard normal quantile of a 95 % interval.
Z = 1.959964
#: Values of one column listed; those of fewer faces are added up as `OTHERS`.
MOST_VALUES = 40
OTHERS = "(all others)"
NO_VALUE = "(none)"


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return the Wilson 95 % interval of a share: it stays in [0, 1] and is honest for small totals.

        (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n),    p = count / n

    (0, 1) where the total is 0.

    Examples
    --------
    >>> [round(end, 3) for end in wilson(0, 10)]
    [0.0, 0.278]
    """
    if total == 0:
        return 0.0, 1.0
    p, z2 = count / total, Z * Z / total
    middle, half = p + z2 / 2, math.sqrt(p * (1 - p) * z2 + z2 * z2 / 4)
    return max(0.0, (middle - half) / (1 + z2)), min(1.0, (middle + half) / (1 + z2))


def rate(count: int, total: int) -> dict[str, Any]:
    """Return a share as the page's data holds it: count, total, share (None of 0) and its interval."""
    low, high = wilson(count, total)
    return {"count": count, "of": total, "share": count / total if total else None, "low": low, "high": high}


def noise_range(refined: RefinedSet, rows: Bools) -> dict[str, Any]:
    """Return the expected noise of the labels of some faces: {"of", "low", "high"}, shares, None without labels.

    The ends are those of `noise_estimate.estimate_noise`: labels that the refined distributions overrule, and the mean
    share that these leave to other classes.
    """
    rows = rows & refined.labeled
    total = int(rows.sum())
    if not total:
        return {"of": 0, "low": None, "high": None}
    y, r = refined.given[rows], refined.distribution[rows]
    decided = float(held_wrong(y, r).mean())
    doubt = max(0.0, 1.0 - float(np.trace(expected_joint(y, r))) / total)
    return {"of": total, "low": min(decided, doubt), "high": max(decided, doubt)}


def by_column(refined: RefinedSet, name: str, values: Strings) -> dict[str, Any]:
    """Return flagged and changed rates, and expected noise, of each value of a column.

    Values go by their labeled faces, most first; from the `MOST_VALUES`-th on they are added up. Numbers of more
    than 12 kinds are cut at their quintiles.

    Parameters
    ----------
    refined : RefinedSet
    name : str
    values : (N,) str
        In the order of the refined set; "" where a face has none.
    """
    values, cut = _binned(values)
    kinds, number = np.unique(values, return_inverse=True)
    labeled = np.bincount(number[refined.labeled], minlength=len(kinds))
    order = np.arange(len(kinds)) if cut else np.argsort(-labeled, kind="stable")
    if len(kinds) > MOST_VALUES:
        kept = order[: MOST_VALUES - 1]
        place = np.full(len(kinds), len(kept))
        place[kept] = np.arange(len(kept))
        number, names = place[number], [*(str(kinds[i]) for i in kept), OTHERS]
    else:
        place = np.empty(len(kinds), dtype=np.int64)
        place[order] = np.arange(len(kinds))
        number, names = place[number], [str(kinds[i]) for i in order]
    rows = []
    for i, value in enumerate(names):
        here = number == i
        total = int((here & refined.labeled).sum())
        rows.append(
            {
                "value": value or NO_VALUE,
                "faces": int(here.sum()),
                "flagged": rate(int((here & refined.flagged).sum()), total),
                "changed": rate(int((here & refined.changed).sum()), total),
                "noise": noise_range(refined, here),
            }
        )
    return {"name": name, "values": len(kinds), "cut": cut, "rows": rows}


def _binned(values: Strings) -> tuple[Strings, bool]:
    """Return numbers of many kinds as names of their quintiles, in ascending order, and whether that was done."""
    filled = values[values != ""]
    if len(set(filled.tolist())) <= 12:
        return values, False
    try:
        numbers = np.array([float(text) for text in filled.tolist()])
    except ValueError:
        return values, False
    if not np.isfinite(numbers).all():
        return values, False
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, 6), method="inverted_cdf"))
    if len(edges) < 3:
        return values, False
    place = np.clip(np.searchsorted(edges, numbers, side="left"), 1, len(edges) - 1)
    names = [f"{'over ' if i > 1 else ''}{edges[i - 1]:g} to {edges[i]:g}" for i in range(1, len(edges))]
    binned = np.full(len(values), "", dtype=f"<U{max(map(len, names)) + 4}")
    binned[values != ""] = [f"{i}. {names[i - 1]}" for i in place.tolist()]
    return binned, True
