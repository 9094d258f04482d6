"""How far a face's surroundings can be relied on: a small head a site on hypergraph-smoothed class scores."""

from __future__ import annotations

import numpy as np

from ...core.arrays import Bools, Doubles, Ints
from ...core.numeric import normalized, sigmoid
from ...noise.label_model import distribution, fit_noise
from ...noise.sites import Sites

#: Share of the faces that form the certain group, and how far its mean must lie above that of the others: the
#: constants of SCN's rank regularization.
CERTAIN_SHARE, RANK_MARGIN = 0.7, 0.15
#: The vote that is relied on or not is sharper than the calibrated one by this factor: it is to say one class and
#: leave the doubt to the head.
DECIDED = 4.0
#: Ridge on the shared head, and on each site's departure from it: a site of so many faces goes its own way.
RIDGE, SITE_RIDGE = 1.0, 30.0
#: Steps of L-BFGS at most; it converges in fewer.
STEPS = 100


def estimate(
    log_ratios: Doubles, given: Doubles, prior: Doubles, rows: Bools, fold: Ints, degree: Doubles, sites: Sites | None
) -> Doubles:
    """Return how uncertain each face's surroundings leave its class, (N,) in [0, 1]; NaN where none could be fitted.

    1 - u_i, with u_i of `fit_heads` the chance that the class voted for is right and not drawn at random. A head is
    fitted to the labels of all folds but one and applied to that one; what it sees are scores in which no label
    of the face's fold took part.

    Parameters
    ----------
    log_ratios : (N, C) float64
        Of propagated class scores without the labels of each face's fold.
    given : (N, C) float64
    prior : (C,) float64
        Frequencies of the given labels.
    rows : (N,) bool
        Labeled faces that have scores; heads are fitted to these.
    fold : (N,) int64
    degree : (N,) float64
        Vertex degrees.
    sites : Sites, optional
        One head a site, each held to a shared one.

    Cost: one fit of C + 4 numbers (and as many a site) for each fold; 2 s for 28,709 faces on one core.
    """
    n = len(log_ratios)
    result = np.full(n, np.nan)
    if not rows.any():
        return result
    model = fit_noise(log_ratios[rows], given[rows], prior)
    vote = distribution(log_ratios, prior, model.sharpness)
    decided = distribution(log_ratios, prior, DECIDED * model.sharpness)
    if sites is None:
        site, count = np.zeros(n, dtype=np.int64), 0
        expected = np.einsum("nd,nd->n", decided @ model.transition, given)
    else:
        site, count = sites.number, sites.count
        own = normalized(vote * sites.shares(vote, rows))
        matrices = sites.fitted(own, given, rows, fold, model.transition).of_faces()
        expected = np.einsum("nc,ncd,nd->n", decided, matrices, given)
    seen = head_inputs(vote, degree)
    for number in np.unique(fold):
        learn, judge = rows & (fold != number), fold == number
        if learn.any():
            mean, spread = seen[learn].mean(0), seen[learn].std(0)
            z = (seen - mean) / np.where(spread > 1e-6, spread, 1.0)
            z = np.concatenate([z, np.ones((n, 1))], axis=1)
            heads = fit_heads(z[learn], expected[learn], given[learn] @ prior, site[learn], count)
            result[judge] = 1 - relied_on(heads, z[judge], site[judge])
    return result


def head_inputs(vote: Doubles, degree: Doubles) -> Doubles:
    """Return what a head sees of each face, (N, C + 3): class scores smoothed over the hypergraph, and their shape.

    The votes (N, C) themselves, their certainty 1 - H / log C, the lead of the first class over the second, and the
    log of the vertex degree.
    """
    c = vote.shape[1]
    entropy = -(vote * np.log(np.where(vote > 0, vote, 1.0))).sum(1)
    best = np.partition(vote, c - 2, axis=1)
    return np.column_stack([vote, 1 - entropy / np.log(c), best[:, -1] - best[:, -2], np.log(degree + 1e-6)])


def relied_on(heads: Doubles, z: Doubles, site: Ints) -> Doubles:
    """Return u = sigmoid((w + v_s) . z), (N,), of `heads` (sites + 1, D): departures v_s, and w in the last row."""
    departures = np.concatenate([heads[:-1], np.zeros((1, heads.shape[1]))])
    return sigmoid(np.einsum("nd,nd->n", z, heads[-1] + departures[site]))


def rank_loss(u: Doubles) -> tuple[float, Doubles]:
    """Return SCN's rank regularization of weights u (N,), the hinge squared, and its slope (N,).

    N max(0, 0.15 - (mean of the greatest 70 % of u - mean of the others))^2; 0 where one group is empty.
    """
    n = len(u)
    certain = max(1, round(CERTAIN_SHARE * n))
    slope = np.zeros(n)
    if certain >= n:
        return 0.0, slope
    order = np.argsort(-u, kind="stable")
    high, low = order[:certain], order[certain:]
    short = max(0.0, RANK_MARGIN - float(u[high].mean() - u[low].mean()))
    slope[high] = -2 * n * short / len(high)
    slope[low] = 2 * n * short / len(low)
    return n * short**2, slope


def fit_heads(z: Doubles, expected: Doubles, chance: Doubles, site: Ints, sites: int) -> Doubles:
    """Fit one head a site; return (sites + 1, D): each site's departure v_s, and the shared head w last.

    With u_i = sigmoid((w + v_s) . z_i), s the site of face i, the heads minimize

        - sum_i log(u_i e_i + (1 - u_i) c_i) + `rank_loss`(u) + |w|^2 / 2 + 30 / 2 sum_s |v_s|^2

    where e_i is the chance of the given label if the class voted for is right and c_i if nothing is known.

    Parameters
    ----------
    z : (N, D) float64
        Standardized features and a column of ones.
    expected, chance : (N,) float64 > 0
        e and c.
    site : (N,) int64
        In [0, `sites`]; `sites` for faces of no named site, which follow w alone.

    Source
    ------
    AMY (arXiv 2501.01816) has a personalized uncertainty estimator on features of a hypergraph convolution; its
    equations were not available. Rank regularization: Wang et al., Suppressing Uncertainties for Large-Scale Facial
    Expression Recognition (SCN), CVPR 2020. SCN multiplies learned logits by u. Here logits are given and their
    size already says how sure they are, so that a factor would only mend that size; u mixes instead.
    """
    from scipy.optimize import minimize

    d = z.shape[1]

    def loss(flat: Doubles) -> tuple[float, Doubles]:
        heads = flat.reshape(sites + 1, d)
        u = relied_on(heads, z, site)
        mixed = np.maximum(u * expected + (1 - u) * chance, 1e-12)
        value, slope = rank_loss(u)
        pull = z * ((slope - (expected - chance) / mixed) * u * (1 - u))[:, None]
        ridge = np.full((sites + 1, 1), SITE_RIDGE)
        ridge[-1] = RIDGE
        gradient = ridge * heads
        for column in range(d):
            gradient[:-1, column] += np.bincount(site, weights=pull[:, column], minlength=sites + 1)[:-1]
        gradient[-1] += pull.sum(0)
        value += float((ridge * heads**2).sum()) / 2 - float(np.log(mixed).sum())
        return value, gradient.ravel()

    best = minimize(loss, np.zeros((sites + 1) * d), jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    heads: Doubles = best.x.reshape(sites + 1, d)
    return heads
