"""From the votes of nearest neighbors to calibrated distributions, and how given labels arise from true ones.

A vote q_ic, averaged over a graph, is drawn towards the mean vote m_c of all faces. What a face's surroundings
say beyond that is its log-likelihood ratio, l_ic = log(q_ic / m_c); a distribution is read off it as

    p_ic ~ pi_c^gamma exp(s l_ic)

with pi the frequencies of the given labels: a face about which nothing is known gets (a power of) the
frequencies, never a power of an average. s is fitted to the set at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.arrays import Bools, Doubles
from ..core.numeric import bounded_minimum, class_sums, normalized, softmax

#: Sharpness values tried, evenly spaced in the logarithm.
SHARPNESS = np.exp(np.linspace(np.log(0.2), np.log(16.0), 19))
#: Least and greatest sharpness.
SHARPNESS_LIMITS = (0.2, 16.0)
#: Votes and means are held above this, so that a class nobody voted for has a finite log-likelihood ratio.
LEAST_VOTE = 1e-7
#: Steps of the EM algorithm while a sharpness is tried, and for the one chosen.
TRIAL_STEPS, FINAL_STEPS = 15, 60
#: Belief that labels are right, in faces: this share of each class, and half a face beside.
RIGHT_SHARE, RIGHT_FACES = 0.01, 0.5
#: Faces added to each row of a transition matrix, spread over the classes.
SPREAD_FACES = 0.5
#: Shares of the labels' entropy that votes must explain to be relied on not at all, and fully.
RELIANCE = (0.1, 0.3)
#: Right share that the EM algorithm starts from.
START_RIGHT = 0.8


def mean_vote(scores: Doubles, rows: Bools) -> Doubles:
    """Return m_c, the mean score of the chosen faces (N, C) brought to sum 1, (C,)."""
    mean: Doubles = normalized(scores[rows].mean(0)) if rows.any() else np.full(scores.shape[1], 1 / scores.shape[1])
    return mean


def log_ratio(scores: Doubles, mean: Doubles) -> Doubles:
    """Return log(q_ic / m_c) of scores (..., C), q their rows brought to sum 1."""
    result: Doubles = np.log(np.maximum(normalized(scores), LEAST_VOTE)) - np.log(np.maximum(mean, LEAST_VOTE))
    return result


def class_frequencies(given: Doubles) -> Doubles:
    """Return the share of each class among the given labels (N, C), every class a little above zero, (C,)."""
    return normalized(given.sum(0) + 1e-9 * max(len(given), 1))


def distribution(log_ratios: Doubles, prior: Doubles, sharpness: float, gamma: float = 1.0) -> Doubles:
    """Return p ~ prior^gamma exp(sharpness log_ratio), rows (..., C) that sum to 1."""
    return softmax(gamma * np.log(prior) + sharpness * log_ratios)


def explained(rows: Doubles, given: Doubles, prior: Doubles) -> float:
    """Return the share of the given labels' entropy that distributions (N, C) explain, in [0, 1].

    (log-likelihood of the labels under `rows` - under `prior`) / entropy of `prior`: 0 for rows that know no more
    than the frequencies, 1 for rows that know every label. Wrong labels cannot be explained, so noise lowers it.
    0 without rows.
    """
    if len(rows) == 0:
        return 0.0
    gain = (given * (np.log(np.maximum(rows, 1e-12)) - np.log(prior))).sum(1).mean()
    entropy = -float((prior * np.log(prior)).sum())
    return float(np.clip(gain / entropy, 0.0, 1.0)) if entropy > 0 else 0.0


def reliance(share: float) -> float:
    """Return how far votes that explain `share` of the labels' entropy may overrule labels, in [0, 1].

    0 up to a tenth, 1 from three tenths on: votes that explain little cannot tell a wrong label from a face
    that they do not understand.
    """
    low, high = RELIANCE
    return float(np.clip((share - low) / (high - low), 0.0, 1.0))


def fit_sharpness(log_ratios: Doubles, given: Doubles, prior: Doubles) -> float:
    """Return the s in `SHARPNESS_LIMITS` under which the given labels (N, C) are likeliest, unknown to the ratios.

    The log-likelihood of softmax(log prior + s log_ratio) is concave in s, so that one search along log s finds it.
    """
    if len(log_ratios) == 0:
        return SHARPNESS_LIMITS[0]

    def loss(log_s: float) -> float:
        share = (distribution(log_ratios, prior, float(np.exp(log_s))) * given).sum(1)
        return -float(np.log(np.maximum(share, 1e-12)).sum())

    low, high = np.log(SHARPNESS_LIMITS)
    return float(np.exp(bounded_minimum(loss, float(low), float(high), 1e-6)))


@dataclass(frozen=True, eq=False)
class LabelModel:
    """How given labels arise.

    Parameters
    ----------
    transition : (C, C) float64
        T[c, d] = P(given = d | true = c), rows sum to 1.
    sharpness : float
    """

    transition: Doubles
    sharpness: float

    def posterior(self, prior_rows: Doubles, given: Doubles) -> Doubles:
        """Return sum_d y_d P(true | face, label d), with P(true = c | face, d) ~ p_c T[c, d], rows (N, ..., C).

        A given distribution is taken as so many annotators, each label read by itself (Jeffrey's rule), so
        that what they disagree about stays open. Labels that have no probability under p and T are left out,
        the others brought to sum 1.

        Parameters
        ----------
        prior_rows : (N, ..., C) float64
            p, what is known of each face without its label.
        given : (N, C) float64
            Zero rows (no label) return `prior_rows`, as do rows of which every label is left out.
        """
        predicted = prior_rows @ self.transition
        labels = given.reshape(len(given), *([1] * (prior_rows.ndim - 2)), given.shape[1])
        ratio = np.where(predicted > 0, labels / np.where(predicted > 0, predicted, 1.0), 0.0)
        product = prior_rows * (ratio @ self.transition.T)
        total = class_sums(product)
        result: Doubles = np.where(total > 0, product / np.where(total > 0, total, 1.0), prior_rows)
        return result


def expected_transition(rows: Doubles, given: Doubles, prior: Doubles) -> Doubles:
    """Return T[c, d] ~ sum_i p_ic y_id + `SPREAD_FACES` prior_d, (C, C): the labels found where class c is voted."""
    return normalized(rows.T @ given + SPREAD_FACES * prior)


def right_most_often(transition: Doubles, given: Doubles) -> Doubles:
    """Return the transition matrix (C, C) nearest to one, T, in which no wrong label is likelier than the right one.

    Where a class has T[c, d] > T[c, c], the largest of them and T[c, c] become their mean, as many as it takes: the
    likeliest rows for the same counts (isotonic regression of a tree order). Without this classes can change places: to
    call every A a B and every B an A explains the labels of few faces as well as to leave them.

    Parameters
    ----------
    transition : (C, C) float64
    given : (N, C) float64
        Labels; rows of classes that none of them names stay as they are.
    """
    result = transition.copy()
    for c in np.flatnonzero(given.sum(0)):
        row, pooled = result[c], [c]
        for d in np.argsort(-row, kind="stable"):
            if row[d] <= row[pooled].mean():
                break
            pooled.append(d)
        row[pooled] = row[pooled].mean()
    return result


def fit_noise(log_ratios: Doubles, given: Doubles, prior: Doubles) -> LabelModel:
    """Fit sharpness and transition matrix together, by maximum likelihood of the given labels.

    The model: face i is of class c with p_ic (`distribution`), and a face of class c is labeled d with T[c, d].
    Random noise shows as a ceiling that agreement with the vote does not pass however sharp the vote, which T
    explains and sharpness cannot. The EM algorithm starts where `START_RIGHT` of the labels are right and a
    weak Dirichlet prior draws T towards the identity: where votes are vague, or where noise is so systematic
    that the votes share it, most labels count as right.

    Parameters
    ----------
    log_ratios : (N, C) float64
        Of votes in which the face's own label took no part.
    given : (N, C) float64
        Distributions, no zero rows.
    prior : (C,) float64

    Cost: O(19 x 15 x N C^2).
    """
    pseudo = _pseudo_faces(given)
    best = (-np.inf, float(SHARPNESS[0]))
    for sharpness in SHARPNESS:
        rows = distribution(log_ratios, prior, float(sharpness))
        transition, likelihood = _em(rows, given, pseudo, TRIAL_STEPS)
        objective = likelihood + float((pseudo * np.log(np.maximum(transition, 1e-30))).sum())
        best = max(best, (objective, float(sharpness)))
    transition, _ = _em(distribution(log_ratios, prior, best[1]), given, pseudo, FINAL_STEPS)
    return LabelModel(transition, best[1])


def chance(given: Doubles, prior: Doubles) -> float:
    """Return the share of the labels' entropy that a transition matrix explains by chance.

    Half a nat for each of its K (K - 1) free numbers, K classes that occur.
    """
    used = int((given > 0).any(0).sum())
    entropy = -float((prior * np.log(prior)).sum()) * len(given)
    return used * (used - 1) / 2 / entropy if entropy > 0 else 0.0


def _pseudo_faces(given: Doubles) -> Doubles:
    """Return the pseudo-counts (C, C) that hold a fitted transition matrix towards the identity."""
    pseudo: Doubles = np.diag(RIGHT_SHARE * given.sum(0) + RIGHT_FACES) + SPREAD_FACES / given.shape[1]
    return pseudo


def _em(rows: Doubles, given: Doubles, pseudo: Doubles, steps: int) -> tuple[Doubles, float]:
    """Return the transition matrix after `steps` of EM, and the log-likelihood of the given labels under it."""
    c = rows.shape[1]
    transition = np.full((c, c), (1 - START_RIGHT) / max(c - 1, 1))
    np.fill_diagonal(transition, START_RIGHT)
    for _ in range(steps):
        joint = normalized(rows * (given @ transition.T))
        transition = normalized(joint.T @ given + pseudo)
    likelihood = (rows * (given @ transition.T)).sum(1)
    return transition, float(np.log(np.maximum(likelihood, 1e-30)).sum())
