"""Refined distributions corrected by the true labels of some faces, as people decided them."""

from __future__ import annotations

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints
from ..core.numeric import softmax

#: Standard deviation of the belief that nothing has to be corrected, the same for all terms. Chosen among .3 to 2 on
#: half of FER2013's faces, the posed set, photographs and drawn faces, 20 to 2,000 decisions (docs/design-notes.md,
#: "What is learned from decisions").
BELIEF = 0.5
#: Added to every refined share before its logarithm is taken: how sure a method can be against a class.
FLOOR = 1e-3
#: Steps and slope at which the search for the likeliest correction ends; it is convex, and some 30 steps long.
MOST_STEPS, FLAT = 1000, 1e-6


def keeps(known: Doubles | Floats, given: Doubles | Floats) -> Bools:
    """Return which known labels keep the given one, (M,) bool: a most likely class of y is one that is known.

    Of a distribution y, as of several annotators, the classes that few of them named do not count.

    Parameters
    ----------
    known, given : (M, C)
        True and given distributions; zero rows where there is none, which are not kept.

    Examples
    --------
    >>> keeps(np.eye(3), np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.4, 0.4]])).tolist()
    [True, False, True]
    """
    first = (given > 0) & (given >= given.max(1, initial=0, keepdims=True))
    return np.asarray(((known > 0) & first).any(1))


def corrected(given: Doubles, refined: Doubles, rows: Ints, known: Doubles) -> Doubles:
    """Return refined distributions (N, C) as the known labels of some faces let them be.

    With r the refined distributions and y the given labels,

        r'_ic ~ exp( s log(r_ic + .001) + b_c + a y_ic + sum_d y_id B_dc )

    s, b, a and B the likeliest for the known labels t, sum_i sum_c t_ic log r'_ic, each held to no correction (s = 1,
    the others 0) by a normal belief. Faces may be chosen by what r says of them, such as the least sure first: what is
    fitted are the chances of t given r and y. They may not be chosen by t: a list of nothing but mistakes says that
    all labels are wrong. The known labels must not have taken part in r.

    Parameters
    ----------
    given : (N, C) float64
        Given distributions; zero rows where there is no label.
    refined : (N, C) float64
        Refined distributions.
    rows : (M,) int64
        Faces whose label is known.
    known : (M, C) float64
        Their true distributions.

    Returns
    -------
    (N, C) float64, rows of sum 1; for M = 0, `refined` but for the .001.

    Source
    ------
    fercleaner's own. Vector scaling (Guo et al., On calibration of modern neural networks, ICML 2017) of log
    distributions (Kull et al., Beyond temperature scaling, NeurIPS 2019), with terms for the given label.
    """
    from scipy.optimize import minimize

    c = given.shape[1]
    logs = np.log(refined + FLOOR)

    def scores(terms: Doubles, faces: Ints | slice) -> Doubles:
        sharpness, own, by_class, by_pair = terms[0], terms[1], terms[2 : 2 + c], terms[2 + c :].reshape(c, c)
        rows_of: Doubles = (1 + sharpness) * logs[faces] + by_class + given[faces] @ (by_pair + own * np.eye(c))
        return rows_of

    def loss(terms: Doubles) -> tuple[float, Doubles]:
        chance = softmax(scores(terms, rows))
        amiss = chance - known
        pairs = given[rows].T @ amiss
        slope = np.concatenate([[np.vdot(amiss, logs[rows]), np.trace(pairs)], amiss.sum(0), pairs.ravel()])
        likelihood = float(np.vdot(known, np.log(np.maximum(chance, np.finfo(np.float64).tiny))))
        return 0.5 * float(terms @ terms) / BELIEF**2 - likelihood, slope + terms / BELIEF**2

    start = np.zeros(2 + c + c * c)
    options = {"maxiter": MOST_STEPS, "gtol": FLAT, "ftol": 1e-15}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    return softmax(scores(found.x, slice(None)))
