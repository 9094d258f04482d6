"""What a site makes of the shared head: its labels read beside what others learned, and how much that counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.arrays import Bools, Doubles, Ints
from ..core.numeric import normalized
from ..noise.label_model import LabelModel, class_frequencies, explained

#: Power of a head's posteriors: ridge scores are unsure where they are right. On FER2013 dealt to ten sites 2 gives .01
#: to .02 more accuracy than 1.5; 2.5 costs where sites have unlike classes.
SHARPENED = 2.0
#: Faces added to each row of the site's transition matrix, and the share of them whose label is right.
NOISE_FACES, RIGHT = 30.0, 0.8
#: Faces of the given labels' class frequencies that are added to those read. 100 to 500 serve alike:
#: fewer is worse where sites are alike, more costs accuracy where noise changes the frequencies.
SHARE_FACES = 200.0
#: Faces of the class frequencies that a head learned from that are added to the given labels: a class without a label
#: may be there.
FEW_FACES = 3.0
#: A site of so many labeled faces goes by itself and by the others in equal parts. 450 to 600 serve alike: fewer gives
#: small sites less, more takes from large ones.
OWN_FACES = 600.0
#: Share of the labels' entropy that a shared head must explain to count in full. On FER2013 dealt to ten sites by alpha
#: .1 to 10 it explains .06 to .77, least with 30 % wrong labels; with its answers shuffled, 0.
BORNE_OUT = 0.05
#: Shares of the shared head beside the site's own that are tried, from all to nothing.
HEAD_SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
#: Standard errors by which labels must be likelier with less of the shared head before less of it is taken. 1 costs
#: where sites are alike; from 2.5 on sites lose that have much of a class that is rare elsewhere.
ERRORS = 1.5
#: Steps of the EM algorithm.
STEPS = 15
#: Shares are held above this before they are multiplied, and chances before their logarithm is taken.
LEAST, LEAST_LIKELY = 1e-3, 1e-12


class Read(NamedTuple):
    """What is read of a site's labels beside a head.

    Parameters
    ----------
    distribution : (N, C) float64
        P(true | face, label); zero rows where the head knows nothing.
    expected : (N, C) float64
        P(label | face), by a transition matrix and frequencies of other folds; zero rows likewise.
    borne_out : float in [0, 1]
        Share of the labels' entropy that `expected` explains, over `BORNE_OUT`: 0 for a head that says nothing about
        this site, whoever broke it.
    """

    distribution: Doubles
    expected: Doubles
    borne_out: float


def read_beside_both(
    shared: Doubles, own: Doubles, learned: Doubles, given: Doubles, known: Bools, fold: Ints
) -> tuple[Read, float]:
    """Return what is read of a site's labels beside the shared head and the site's own, and the shared one's share a.

    What is read beside is a shared + (1 - a) own, which learned from a learned + (1 - a) the site's own class
    frequencies. a is the largest of `HEAD_SHARES` under which the site's labels, each by noise and frequencies learned
    from other folds, are as likely as under the best of them, to `ERRORS` standard errors of the mean difference of
    their logarithms. Where a site has much of a class that is rare elsewhere, its own head says more of its faces.

    Parameters
    ----------
    shared, own : (N, C) float64
        Posteriors, the own ones out of fold (`heads.own_posteriors`); zero rows where nothing is known.
    learned : (C,) float64
        Class frequencies of the faces that the shared head learned from (`heads.learned_mix`).
    given, known, fold
        As of `read_labels`.

    Source
    ------
    Stacking: Wolpert, Neural Networks 5, 1992. The rule of standard errors: Breiman, Friedman, Olshen and Stone,
    Classification and Regression Trees, 1984.
    """
    labeled = known & (given.sum(1) > 0)
    at_home = frequencies(given[labeled], learned)
    found = {
        a: read_labels(a * shared + (1 - a) * own, a * learned + (1 - a) * at_home, given, known, fold)
        for a in HEAD_SHARES
    }
    if not labeled.any():
        return found[1.0], 1.0
    logs = {a: np.log(np.maximum((one.expected * given)[labeled].sum(1), LEAST_LIKELY)) for a, one in found.items()}
    best = max(HEAD_SHARES, key=lambda a: float(logs[a].mean()))

    def as_likely(a: float) -> bool:
        less = logs[best] - logs[a]
        return bool(less.mean() <= ERRORS * less.std() / np.sqrt(len(less)))

    chosen = next(filter(as_likely, HEAD_SHARES))
    return found[chosen], chosen


def read_labels(said: Doubles, learned: Doubles, given: Doubles, known: Bools, fold: Ints) -> Read:
    """Return what is read of a site's labels beside a head, by the site's own noise and class frequencies.

    With q the class frequencies that the head learned from, s its posteriors, and p ~ s^2 / q (`SHARPENED`), which
    tells classes apart whatever their frequencies, the site's transition matrix T and class frequencies pi are the
    likeliest for its own labels, by EM from belief in the labels (`RIGHT`) and in their frequencies g:

        r_ic ~ p_ic pi_c sum_d y_id T[c, d]
        T[c, d] ~ sum_j r_jc y_jd + `NOISE_FACES` (`RIGHT` [c = d] + (1 - `RIGHT`) / C)
        pi_c ~ sum_j r_jc + `SHARE_FACES` g_c,    g ~ sum_j y_j + `FEW_FACES` q

    j over the labeled faces of other folds, so that no label judges itself. Without a label r_i ~ p_i pi.

    Parameters
    ----------
    said : (N, C) float64
        The head's posteriors, zero rows where it knows nothing.
    learned : (C,) float64
        q, above 0.
    given : (N, C) float64
        Zero rows without a label.
    known : (N,) bool
    fold : (N,) int64

    Source
    ------
    Dawid and Skene, Applied Statistics 28, 1979, with one annotator; Saerens, Latinne and Decaestecker, Neural
    Computation 14, 2002. Differs from them in: sharpened posteriors of the head stand in for features, and both priors.
    """
    p = normalized(said**SHARPENED / learned)
    c = p.shape[1]
    belief = NOISE_FACES * (RIGHT * np.eye(c) + (1 - RIGHT) / c)
    labeled = known & (given.sum(1) > 0)
    result, expected = np.zeros_like(p), np.zeros_like(p)
    for b in range(int(fold.max()) + 1):
        others = labeled & (fold != b)
        transition = normalized(belief)
        before = frequency = frequencies(given[others], learned)
        for _ in range(STEPS):
            read = LabelModel(transition, 1.0).posterior(normalized(p[others] * frequency), given[others])
            transition = normalized(read.T @ given[others] + belief)
            frequency = normalized(read.sum(0) + SHARE_FACES * before)
        rows = known & (fold == b)
        here = normalized(p[rows] * frequency)
        result[rows] = LabelModel(transition, 1.0).posterior(here, given[rows])
        expected[rows] = here @ transition
    share = explained(expected[labeled], given[labeled], class_frequencies(given[labeled])) if labeled.any() else 0.0
    return Read(result, expected, min(share / BORNE_OUT, 1.0))


def frequencies(given: Doubles, learned: Doubles) -> Doubles:
    """Return the class frequencies of labels (n, C), `FEW_FACES` of those that a head learned from among them."""
    return normalized(given.sum(0) + FEW_FACES * learned)


def share_of_others(faces: int) -> float:
    """Return how much the others count at a site of so many labeled faces, in (0, 1]: `OWN_FACES` / (faces + it)."""
    return OWN_FACES / (OWN_FACES + faces)


def together(alone: Doubles, others: Doubles, known: Bools, share: float) -> Doubles:
    """Return r ~ alone^(1 - h) others^h, (N, C), h the `share`; `alone` where the shared head knows nothing."""
    logs = (1 - share) * np.log(np.maximum(alone, 0) + LEAST) + share * np.log(np.maximum(others, 0) + LEAST)
    joined = normalized(np.exp(logs))
    result: Doubles = np.where(known[:, None], joined, alone)
    return result
