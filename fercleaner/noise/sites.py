"""Sites of a set (clients, annotator pools): each with noise and class frequencies of its own, held to the whole's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.arrays import Bools, Doubles, Ints
from ..core.numeric import normalized
from ..core.types import Samples

#: Faces of the whole set that are added to each row of a site's transition matrix. A site that has labeled
#: this many faces of a class is half itself there. On ferplus with injected noise 5 to 40 serve alike; more of
#: them gives away what differs, fewer costs sets whose sites do not differ at all.
SITE_FACES = 30.0
#: Faces with the class frequencies of the whole set that are added to each site.
SHARE_FACES = 100.0
#: Steps of the EM algorithms for class frequencies and transition matrices.
SHARE_STEPS, TRANSITION_STEPS = 10, 15
#: A face's odds for a class change at most by this factor for the site that it comes from.
MOST_SHARE = 100.0


@dataclass(frozen=True, eq=False)
class Sites:
    """Which site each face comes from.

    Parameters
    ----------
    number : (N,) int64
        Sites in alphabetical order, from 0; `count` for faces of which no site is named: they follow the whole set.
    count : int
        Named sites.
    run : int, optional
        The fold in whose run labels are read: matrices know none of its labels.
    """

    number: Ints
    count: int
    run: int | None = None

    def shares(self, votes: Doubles, rows: Bools) -> Doubles:
        """Return how much more frequent each class is at a face's site than in the whole set, (N, C) > 0.

        With m the mean of distributions p over all faces of `rows`, the frequencies pi_s of site s solve

            pi_sc ~ sum_(i in s) (p_ic pi_sc / m_c) / sum_b (p_ib pi_sb / m_b) + `SHARE_FACES` m_c

        and the answer is pi_sc / m_c, held within a factor of `MOST_SHARE`: the EM algorithm for frequencies that
        differ from those of the training set (Saerens, Latinne, Decaestecker, Neural Computation 14, 2002) with a
        Dirichlet prior. Given labels of the site take no part but through the votes.

        Parameters
        ----------
        votes : (N, C) float64
            p, distributions in which a face's own label took no part.
        rows : (N,) bool
            Faces whose votes count.
        """
        c = votes.shape[1]
        mean = votes[rows].mean(0) if rows.any() else np.full(c, 1 / c)
        ratio = np.ones((self.count + 1, c))
        counted = rows & (self.number < self.count)
        site, voted = self.number[counted], votes[counted]
        for _ in range(SHARE_STEPS if len(site) else 0):
            belonging = normalized(voted * ratio[site])
            total = _sums(site, belonging, self.count) + SHARE_FACES * mean
            ratio[:-1] = np.where(mean > 0, normalized(total) / np.where(mean > 0, mean, 1.0), 1.0)
            ratio = np.clip(ratio, 1 / MOST_SHARE, MOST_SHARE)
        result: Doubles = ratio[self.number]
        return result

    def counted(self, votes: Doubles, given: Doubles, rows: Bools, fold: Ints, pooled: Doubles) -> SiteMatrices:
        """Return the transition matrices read off the votes at each site.

            T_i[c, d] ~ sum_j p_jc y_jd + `SITE_FACES` T[c, d]        over j of i's site, not of i's fold

        with T the `pooled` matrix, which stands alone where the site has no other faces. In the run of a fold j is
        not of that fold either.
        """
        return self._by_fold(votes, given, rows, fold, pooled)

    def fitted(self, votes: Doubles, given: Doubles, rows: Bools, fold: Ints, pooled: Doubles) -> SiteMatrices:
        """Return the transition matrices under which each site's labels are likeliest.

        As `counted`, with p_j replaced by P(true | p_j, y_j, T of the site): the EM algorithm from T = `pooled`.
        """
        matrices = np.broadcast_to(pooled, (self.count + 1, *pooled.shape))
        belonging = votes
        for _ in range(TRANSITION_STEPS):
            likelihood = np.einsum("nd,ncd->nc", given, matrices[self.number])
            belonging = normalized(votes * likelihood)
            matrices = _held(self._counts(belonging, given, rows, self.number, self.count), pooled)
        return self._by_fold(belonging, given, rows, fold, pooled)

    def _by_fold(self, votes: Doubles, given: Doubles, rows: Bools, fold: Ints, pooled: Doubles) -> SiteMatrices:
        """Count votes and labels of each site and fold."""
        folds = int(fold.max()) + 1
        counts = self._counts(votes, given, rows, self.number * folds + fold, self.count * folds)[:-1]
        nowhere = np.zeros((1, folds, *pooled.shape))
        return SiteMatrices(
            np.concatenate([counts.reshape(self.count, folds, *pooled.shape), nowhere]),
            pooled,
            self.number,
            fold,
            self.run,
        )

    def _counts(self, votes: Doubles, given: Doubles, rows: Bools, cell: Ints, cells: int) -> Doubles:
        """Return sum_j p_jc y_jd over the faces of each cell, (cells + 1, C, C); the last is zero."""
        counted = rows & (self.number < self.count)
        where, p, y = cell[counted], votes[counted], given[counted]
        c = votes.shape[1]
        counts = np.zeros((cells + 1, c, c))
        for d in range(c):
            counts[:-1, :, d] = _sums(where, p * y[:, d, None], cells)
        return counts


@dataclass(frozen=True, eq=False)
class SiteMatrices:
    """Transition matrices of sites, each face's without the labels of its fold.

    In the run of a fold, that fold's labels are left out, too: what a run refines does not know them by the matrix of
    a small site. `pooled` holds them, as all numbers for the whole set do, and votes j learned from them. That is
    harmless: of 3,000 faces of FER2013 at 40 sites, a third of the labels turned as each site does, counting the
    fold's labels too changed 3 refined labels, and average precision by .0001.

    Parameters
    ----------
    counts : (S + 1, F, C, C) float64
        sum_j p_jc y_jd over the faces of each site and fold; the last row, for faces of no site, is zero.
    pooled : (C, C) float64
        Matrix of the whole set, `SITE_FACES` of which are added to each row.
    number, fold : (N,) int64
    run : int, optional
        The fold in whose run votes (N, C) are read.
    """

    counts: Doubles
    pooled: Doubles
    number: Ints
    fold: Ints
    run: int | None = None

    def of_faces(self, run: int | None = None) -> Doubles:
        """Return the matrix of each face, (N, C, C), in the run of a fold or as its own label is judged."""
        others = self.counts.sum(1, keepdims=True) - self.counts
        if run is not None:
            apart = np.arange(self.counts.shape[1]) != run
            others = others - apart[:, None, None] * self.counts[:, run : run + 1]
        result: Doubles = _held(np.clip(others, 0, None), self.pooled)[self.number, self.fold]
        return result

    def posterior(self, votes: Doubles, given: Doubles, faces: Bools | None = None) -> Doubles:
        """Return P(true | face, label) of votes (N, C) or of those of each fold's run (N, F, C), as `site_posterior`.

        Votes that are the same in all runs, (N, 1, C), are read as (N, C).

        Parameters
        ----------
        faces : (N,) bool, optional
            The answer is of these alone.
        """
        chosen = slice(None) if faces is None else faces
        if votes.ndim == 2 or votes.shape[1] != self.counts.shape[1]:
            return site_posterior(votes[chosen], given[chosen], self.of_faces(self.run)[chosen])
        runs = [
            site_posterior(votes[chosen, b], given[chosen], self.of_faces(b)[chosen]) for b in range(votes.shape[1])
        ]
        return np.stack(runs, axis=1)


def sites_of(samples: Samples) -> Sites | None:
    """Return the sites of a set, or None where its labeled faces are all of one site, or of none.

    A face whose site is "" belongs to none.
    """
    if samples.site is None or len(np.unique(samples.site[samples.labeled])) < 2:
        return None
    names = np.unique(samples.site)
    names = names[names != ""]
    number = np.searchsorted(names, samples.site).astype(np.int64)
    return Sites(np.where(samples.site == "", len(names), number), len(names))


def site_posterior(votes: Doubles, given: Doubles, transition: Doubles) -> Doubles:
    """Return sum_d y_d P(true | face, label d) as `LabelModel.posterior`, each face by a matrix of its own.

    Parameters
    ----------
    votes : (N, ..., C) float64
    given : (N, C) float64
    transition : (N, C, C) float64
    """
    n, c = given.shape
    rows = votes.reshape(n, -1, c)
    predicted = rows @ transition
    ratio = np.where(predicted > 0, given[:, None] / np.where(predicted > 0, predicted, 1.0), 0.0)
    product = rows * (ratio @ transition.transpose(0, 2, 1))
    result = np.where(product.sum(-1, keepdims=True) > 0, normalized(product), rows)
    return result.reshape(votes.shape)


def _sums(cell: Ints, values: Doubles, cells: int) -> Doubles:
    """Return the sum of `values` (M, C) over the rows of each cell, (cells, C)."""
    columns = [np.bincount(cell, weights=column, minlength=cells) for column in values.T]
    return np.stack(columns, axis=1)


def _held(counts: Doubles, pooled: Doubles) -> Doubles:
    """Return transition matrices (..., C, C) of counts with `SITE_FACES` of `pooled` added to each row."""
    return normalized(counts + SITE_FACES * pooled)
