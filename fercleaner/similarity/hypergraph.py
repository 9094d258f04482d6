"""Hypergraphs over faces: one hyperedge a face and view, their operators, and label propagation on them.

Symbols: incidence H (N, E), hyperedge weights w (E,), vertex degrees D_i = sum_e w_e H_ie, edge degrees
d_e = sum_i H_ie. The symmetric operator of Zhou, Huang and Schoelkopf (NIPS 2006), used by HGNN (Feng et al.,
AAAI 2019), is Theta = D^-1/2 H W d^-1 H^T D^-1/2; the random walk D^-1 H W d^-1 H^T has the same eigenvalues
and keeps rows that sum to 1 summing to 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints
from ..core.errors import InputError
from ..core.types import Neighbors
from .products import Product, gram_product
from .whitening import row_blocks

if TYPE_CHECKING:
    from scipy import sparse

Form = Literal["random-walk", "symmetric"]

#: Gaussian hyperedge weights never fall below this: a far outlier keeps a (tiny) hyperedge of its own.
WEIGHT_FLOOR = 1e-6
#: Columns propagated at once; bounds memory at a few N x COLUMNS float32 arrays a thread.
COLUMNS = 40


@dataclass(frozen=True, eq=False)
class Hypergraph:
    """Faces as vertices, one hyperedge a face (its center) and view.

    Parameters
    ----------
    incidence : (N, E) CSR float32
        H; column v * N + i is the hyperedge of face i in view v. Empty where face i has no vector there.
    edge_weight : (E,) float64
        w, 0 for empty hyperedges.
    views : tuple of str
    """

    incidence: sparse.csr_matrix
    edge_weight: Doubles
    views: tuple[str, ...]

    @cached_property
    def edge_degree(self) -> Doubles:
        """d_e = sum_i H_ie, (E,)."""
        return np.asarray(self.incidence.sum(0), dtype=np.float64).ravel()

    @cached_property
    def vertex_degree(self) -> Doubles:
        """D_i = sum_e w_e H_ie, (N,)."""
        return np.asarray(self.incidence.astype(np.float64) @ self.edge_weight, dtype=np.float64).ravel()

    @cached_property
    def _scaled(self) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """A = D^-1/2 H (w / d)^1/2 and its transpose, so that Theta = A A^T."""
        from scipy.sparse import csr_matrix

        h = self.incidence
        root = np.sqrt(_inverse(self.vertex_degree))
        edge = np.sqrt(self.edge_weight * _inverse(self.edge_degree))
        data = np.empty(h.nnz, dtype=np.float32)
        for rows in row_blocks(h.shape[0]):
            of = slice(h.indptr[rows.start], h.indptr[rows.stop])
            data[of] = np.repeat(root[rows], np.diff(h.indptr[rows.start : rows.stop + 1])) * edge[h.indices[of]]
            data[of] *= h.data[of]
        a = csr_matrix((data, h.indices, h.indptr), shape=h.shape)
        return a, a.T.tocsr()

    @cached_property
    def theta(self) -> Product:
        """The symmetric operator, x (N, M) float32 -> Theta x."""
        return gram_product(*self._scaled)

    def smooth(self, values: Floats, form: Form = "random-walk") -> Floats:
        """Apply the operator once to `values` (N, M): hypergraph convolution without its learned matrix.

        Rows of faces without any hyperedge become zero.
        """
        root = np.sqrt(self.vertex_degree).astype(np.float32)[:, None]
        if form == "symmetric":
            return self.theta(values.astype(np.float32))
        inner = self.theta((root * values).astype(np.float32))
        return inner * np.sqrt(_inverse(self.vertex_degree)).astype(np.float32)[:, None]


def _inverse(values: Doubles) -> Doubles:
    return np.where(values > 0, 1.0 / np.where(values > 0, values, 1.0), 0.0)


def edge_weights(distance: Doubles, valid: Bools, sigma: float | None = None) -> Doubles:
    """Return Gaussian hyperedge weights w_e = exp(-mean_i d(i, e)^2 / sigma^2), (N,).

    Parameters
    ----------
    distance : (N, k) float64
        From each center to its members other than itself.
    valid : (N, k) bool
        False at padding.
    sigma : float, optional
        Bandwidth; by default the mean center-member distance of all hyperedges (0 gives weights of 1).

    Source: "AMY-style"; that AMY uses a Gaussian kernel is known, where it puts it is not.
    """
    count = valid.sum(1)
    if sigma is None:
        sigma = float(distance[valid].mean()) if valid.any() else 0.0
    squared = np.where(valid, distance, 0.0) ** 2
    mean = squared.sum(1) / np.maximum(count, 1)
    weight = np.exp(-mean / sigma**2) if sigma > 0 else np.ones(len(distance))
    return np.where(count > 0, np.maximum(weight, WEIGHT_FLOOR), 0.0)


def build(
    neighbors: Mapping[str, Neighbors],
    *,
    k: int | None = None,
    view_weight: Mapping[str, float] | None = None,
    gaussian: bool = True,
) -> Hypergraph:
    """Build the hypergraph of one or more views: hyperedge = center and its k nearest, none merged.

    Parameters
    ----------
    neighbors : mapping of view -> Neighbors
        All over the same N faces.
    k : int, optional
        Neighbors used a face; by default all that the tables hold.
    view_weight : mapping of view -> float, optional
        Factor on the hyperedge weights of a view; 1 by default.
    gaussian : bool
        Weigh each hyperedge by how tight it is (`edge_weights` on d^2 = 2 - 2 cosine); else by 1.

    Returns
    -------
    Hypergraph with E = N x views hyperedges and at most E (k + 1) incidences.
    """
    from scipy.sparse import csc_matrix

    if not neighbors:
        raise InputError("A hypergraph needs neighbors in at least one view.")
    tables = list(neighbors.values())
    n = len(tables[0])
    members, sizes, weights = [], [], []
    for view, table in neighbors.items():
        if not np.array_equal(table.ids, tables[0].ids):
            raise InputError(f"Neighbors of view '{view}' are over other faces than those of '{tables[0].view}'.")
        index, similarity = table.indices[:, :k], table.similarity[:, :k]
        valid = index >= 0
        has = valid.any(1)
        inside = np.column_stack([valid, has])
        members.append(np.column_stack([index, np.arange(n)]).astype(np.int32)[inside])
        sizes.append(inside.sum(1))
        distance = np.sqrt(np.clip(2.0 - 2.0 * similarity.astype(np.float64), 0.0, None))
        weight = edge_weights(distance, valid) if gaussian else has.astype(np.float64)
        weights.append(weight * (view_weight or {}).get(view, 1.0))
    start = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    member = np.concatenate(members)
    del members
    ones = np.ones(len(member), dtype=np.float32)
    incidence = csc_matrix((ones, member, start), shape=(n, n * len(tables))).tocsr()
    return Hypergraph(incidence, np.concatenate(weights), tuple(neighbors))


def propagate(
    graph: Hypergraph, labels: Floats, alpha: float, *, form: Form = "random-walk", tolerance: float = 1e-5
) -> Floats:
    """Return F = (1 - alpha) (I - alpha P)^-1 Y by Chebyshev steps, (N, M) float32.

    Parameters
    ----------
    labels : (N, M) float
        Y; zero rows for faces without a label.
    alpha : float in [0, 1)
        How far labels travel; 0 returns Y.
    form : {"random-walk", "symmetric"}
        P. The symmetric operator does not keep rows on the simplex; the random walk does.
    tolerance : float
        Bound on the error relative to the size of F; sets the number of steps.

    Cost: O(steps (k + 1) N views M), about 15 steps at alpha .8 and 22 at .9 (plain iteration needs 52 and 110).

    Source: Zhou, Huang, Schoelkopf, Learning with Hypergraphs, NIPS 2006; Chebyshev semi-iteration on the
    spectrum [1 - alpha, 1] of I - alpha P (Golub and Van Loan, Matrix Computations, 11.2.8).
    """
    if not 0 <= alpha < 1:
        raise InputError(f"alpha = {alpha}: expected 0 <= alpha < 1.")
    start = np.ascontiguousarray(labels, dtype=np.float32)
    if alpha == 0 or start.shape[1] == 0:
        return start.copy()
    root = np.sqrt(graph.vertex_degree).astype(np.float32)[:, None]
    isolated = root[:, 0] == 0
    scaled = start if form == "symmetric" else start * root
    chunks = np.array_split(np.arange(start.shape[1]), max(1, math.ceil(start.shape[1] / COLUMNS)))
    graph.theta  # noqa: B018 - made once, before the threads ask for it
    with ThreadPoolExecutor(max_workers=min(len(chunks), 4)) as pool:
        parts = list(pool.map(lambda c: _chebyshev(graph, scaled[:, c], alpha, tolerance), chunks))
    solved: Floats = np.concatenate(parts, axis=1)
    if form == "random-walk":
        solved *= np.sqrt(_inverse(graph.vertex_degree)).astype(np.float32)[:, None]
    solved[isolated] = (1 - alpha) * start[isolated]
    return solved


def _chebyshev(graph: Hypergraph, right: Floats, alpha: float, tolerance: float) -> Floats:
    """Solve (I - alpha Theta) X = (1 - alpha) `right` with Theta symmetric, spectrum in [0, 1]."""
    theta = graph.theta
    center, half = 1 - alpha / 2, alpha / 2
    sigma = center / half
    decay = 1 / (sigma + math.sqrt(sigma**2 - 1))
    steps = max(1, math.ceil(math.log(tolerance / 2) / math.log(decay)))
    rho = 1 / sigma
    residual = ((1 - alpha) * right).astype(np.float32)
    step = residual / np.float32(center)
    solution = np.zeros_like(residual)
    for _ in range(steps):
        solution += step
        residual -= step - np.float32(alpha) * theta(step)
        following = 1 / (2 * sigma - rho)
        step = np.float32(following * rho) * step + np.float32(2 * following / half) * residual
        rho = following
    return solution


def estimated_influence(graph: Hypergraph, alpha: float, signs: Floats) -> Doubles:
    """Estimate the diagonal of M = (1 - alpha) (I - alpha P)^-1, (N,): each label's share in its own score.

    Walks of no step and of one are exact; those that return after two or more, R_ii, differ little between faces and
    are given their mean, which random signs z estimate (Hutchinson's estimator of the trace):

        M_ii = (1 - alpha) (1 + alpha Theta_ii) + mean of z_j (R z)_j over j and z,   R = alpha^2 Theta M Theta

    Theta and P have the same diagonal, as they are similar by D^1/2. On 2,000 faces of FER2013 (alpha .8, 4 views) M_ii
    has a mean of .2125, .0025 of it R_ii; the estimate is off by .0012 (root mean square), that of each R_ii by its own
    signs by .0024 at 64 signs.

    Parameters
    ----------
    alpha : float in [0, 1)
    signs : (N, K) float32
        Independent, -1 or 1 with equal chance.

    Cost: that of propagating K columns.

    Source: Hutchinson, Communications in Statistics 18, 1989; Bekas, Kokiopoulou, Saad, An estimator for the diagonal
    of a matrix, Applied Numerical Mathematics 57, 2007.
    """
    a, _ = graph._scaled
    step = np.asarray(a.multiply(a).sum(1), dtype=np.float64).ravel()
    walked = propagate(graph, graph.smooth(signs, "symmetric"), alpha, form="symmetric")
    returned = alpha**2 * (signs * graph.smooth(walked, "symmetric")).mean(1, dtype=np.float64)
    joined = graph.vertex_degree > 0
    mean = max(float(returned[joined].mean()), 0.0) if joined.any() else 0.0
    diagonal: Doubles = (1 - alpha) * (1 + alpha * step) + np.where(joined, mean, 0.0)
    return diagonal


def left_out_scores(graph: Hypergraph, labels: Floats, fold: Ints, alpha: float, **options: Any) -> Floats:
    """Return entry [i, fold[i]] of `leave_out_propagate`, (N, C) float32, without keeping the others in memory.

    Cost: that of `leave_out_propagate`; memory of `COLUMNS` columns a few times.
    """
    n, c = labels.shape
    folds = int(fold.max()) + 1
    scores = np.empty((n, c), dtype=np.float32)
    at_once = max(1, COLUMNS // max(1, c))
    for first in range(0, folds, at_once):
        several = np.arange(first, min(first + at_once, folds))
        kept = fold[:, None] != several
        stacked = (kept[:, :, None] * labels[:, None, :]).reshape(n, -1)
        solved = propagate(graph, stacked, alpha, **options).reshape(n, len(several), c)
        own = np.flatnonzero((fold >= first) & (fold <= several[-1]))
        scores[own] = solved[own, fold[own] - first]
    return scores


def leave_out_propagate(graph: Hypergraph, labels: Floats, fold: Ints, alpha: float, **options: Any) -> Floats:
    """Propagate once a fold with that fold's labels taken away, (N, folds, C) float32.

    Entry [:, b] is the propagation of all labels but those of fold b; the score of face i to judge its own
    label by is entry [i, fold[i]], in which no label of its fold, its own included, took part.
    """
    n, c = labels.shape
    folds = int(fold.max()) + 1
    kept = fold[:, None] != np.arange(folds)
    stacked = (kept[:, :, None] * labels[:, None, :]).reshape(n, folds * c)
    return propagate(graph, stacked, alpha, **options).reshape(n, folds, c)
