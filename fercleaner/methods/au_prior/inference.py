"""From action-unit probabilities to a distribution over expressions: rule V, regions, adaptation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...core.arrays import Doubles, Ints
from ...core.numeric import softmax
from ...landmarks.au_probabilities import probabilities

#: Probabilities and rates are kept this far from 0 and 1: no detector and no table is certain.
P_RANGE = (0.01, 0.99)
RATE_RANGE = (0.02, 0.98)
#: Temperatures among which the fit chooses; above 1 because action units go together.
TEMPERATURES = (0.5, 10.0)
#: Smallest relative entropy of a region, so that a certain region does not silence the others.
ENTROPY_FLOOR = 0.05
#: Fewest measured faces on which the mean of a unit is matched to its rate.
MIN_FACES = 50

REGIONS: tuple[str, ...] = ("brow", "eye", "nose", "mouth")
_REGION_OF = {
    **dict.fromkeys(("AU1", "AU2", "AU4"), 0),
    **dict.fromkeys(("AU5", "AU6", "AU7", "AU43", "AU45"), 1),
    **dict.fromkeys(("AU9", "AU10", "AU11"), 2),
}


class RegionInference(NamedTuple):
    """What the regions of a face say together.

    `distribution` (N, C); `weight` (N, R) of each region with units, `parts` (N, R, C) what each says; and
    `disagreement` (N,) in [0, 1], their Jensen-Shannon divergence over log C.
    """

    distribution: Doubles
    weight: Doubles
    parts: Doubles
    disagreement: Doubles


def entropy(rows: Doubles) -> Doubles:
    """Return the entropy of each distribution in nats; the last axis holds the classes."""
    result: Doubles = -(rows * np.log(np.where(rows > 0, rows, 1.0))).sum(-1)
    return result


def unit_evidence(p: ArrayLike, rates: ArrayLike, base: ArrayLike | None = None) -> Doubles:
    """Return log ell (N, A, C): what each unit of each face adds to the log score of each class.

        ell_a(c) = PI[c, a] p_a / b_a + (1 - PI[c, a]) (1 - p_a) / (1 - b_a)

    A detector that reports p under the base rate b carries likelihoods in proportion to p / b and
    (1 - p) / (1 - b); p_a = b_a says nothing.

    Parameters
    ----------
    p : (N, A)
        Probability that each unit is active; clipped to [.01, .99].
    rates : (C, A)
        PI, clipped to [.02, .98].
    base : (A,), optional
        b; the mean of PI over the classes by default.
    """
    active = np.clip(np.asarray(p, dtype=np.float64), *P_RANGE)
    table = np.clip(np.asarray(rates, dtype=np.float64), *RATE_RANGE)
    b = table.mean(0) if base is None else np.clip(np.asarray(base, dtype=np.float64), *RATE_RANGE)
    on, off = active / b, (1.0 - active) / (1.0 - b)
    result: Doubles = np.log(table.T * on[..., None] + (1.0 - table.T) * off[..., None])
    return result


def region_numbers(units: Sequence[str]) -> Ints:
    """Return the region (index into `REGIONS`) of each unit; what is not brow, eye or nose is the mouth's."""
    return np.array([_REGION_OF.get(unit, 3) for unit in units], dtype=np.int64)


def regions(ell: Doubles, units: Sequence[str]) -> RegionInference:
    """Let each region infer by itself, and mix what they say by how sure they are.

        o^r = softmax(sum_{a in r} log ell_a)
        w_r ~ 1 / max(H(o^r) / log C, .05),   o = sum_r w_r o^r
        disagreement = (H(o) - sum_r w_r H(o^r)) / log C

    P(c) is uniform. A mixture is never certain unless the regions agree, which a product would be.

    Parameters
    ----------
    ell : (N, A, C)
        Of `unit_evidence`.
    units : A names
    """
    number = region_numbers(units)
    present = np.unique(number)
    parts = np.stack([softmax(ell[:, number == r].sum(1)) for r in present], axis=1)
    return mixed(parts)


def mixed(parts: Doubles) -> RegionInference:
    """Mix the distributions `parts` (N, R, C) by inverse relative entropy."""
    log_c = np.log(parts.shape[2])
    uncertainty = entropy(parts)
    weight = 1.0 / np.maximum(uncertainty / log_c, ENTROPY_FLOOR)
    weight = weight / weight.sum(1, keepdims=True)
    together = np.einsum("nr,nrc->nc", weight, parts)
    gap = (entropy(together) - (weight * uncertainty).sum(1)) / log_c
    return RegionInference(together, weight, parts, np.clip(gap, 0.0, 1.0))


def matched_to(p: Doubles, base: Doubles) -> Doubles:
    """Shift each column of `p` (N, A) in log odds so that its mean is `base` (A,).

    A column that is the same for every face becomes its rate, which says nothing. With fewer than 50 faces,
    whose mean says more about them than about the detector, `p` is returned as it is.
    """
    if len(p) < MIN_FACES:
        return p
    inside = np.clip(p, *P_RANGE)
    odds = np.log(inside / (1.0 - inside))
    return np.stack([probabilities(odds[:, a], float(base[a])) for a in range(p.shape[1])], axis=1)


def adapted_rates(rates: Doubles, soft: Doubles, p: Doubles, *, kappa: float, reach: float = 0.25) -> Doubles:
    """Return the table after one MAP step towards the set, (C, A).

        PI'[c, a] = (kappa PI[c, a] + sum_i soft_i[c] p_ia) / (kappa + sum_i soft_i[c])

    held within `reach` of PI, so that it stays a prior.

    Parameters
    ----------
    rates : (C, A)
        The table it starts from.
    soft : (N, C)
        How far each face counts for each class.
    p : (N, A)
    kappa : float > 0
        Strength of the table in faces.

    Examples
    --------
    >>> table, soft, p = np.array([[0.85]]), np.ones((100, 1)), np.full((100, 1), 0.6)
    >>> adapted_rates(table, soft, p, kappa=50).round(4).tolist()
    [[0.6833]]
    """
    moved = (kappa * rates + soft.T @ p) / (kappa + soft.sum(0)[:, None])
    held: Doubles = np.clip(np.clip(moved, rates - reach, rates + reach), *RATE_RANGE)
    return held


def transfer_share(
    inferred: Doubles, given: Doubles, *, limit: float, measured: ArrayLike = 1.0
) -> tuple[Doubles, Doubles, Doubles]:
    """Return lambda, eta, rho (N,): how far to follow the inference, how decided it is, how it takes y.

        eta = 1 - H(o) / log C,   rho = <y, o> / max_c o_c,   lambda = limit q eta (1 - rho)

    Parameters
    ----------
    inferred, given : (N, C)
        o and y.
    limit : float in [0, 1]
        Largest share; up to .5 the given label always stays the largest class.
    measured : (N,) in [0, 1]
        q, the quality of the measurement.
    """
    decided = np.clip(1.0 - entropy(inferred) / np.log(inferred.shape[1]), 0.0, 1.0)
    plausible = np.clip((given * inferred).sum(1) / inferred.max(1), 0.0, 1.0)
    share = limit * np.asarray(measured, dtype=np.float64) * decided * (1.0 - plausible)
    return share, decided, plausible
