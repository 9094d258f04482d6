"""Two ways to read labels beside what witnesses say: as hit by random noise, or by noise that the faces share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ...core.arrays import Bools, Doubles, Ints
from ...core.numeric import normalized, softmax
from ...noise.label_model import (
    LabelModel,
    LatentModel,
    chance,
    expected_transition,
    explained,
    fit_latent,
    fit_transition,
    noise_seen,
)
from ...noise.sites import Sites
from .external import Voice

#: Gives the transition matrix (C, C) of the faces that it is told.
Matrix: TypeAlias = Callable[[Bools], Doubles]

#: A witness can be sharpened up to this factor.
MOST_WEIGHT = 4.0
#: Belief that a witness weighs START_WEIGHT, in faces: holds the weights of small sets.
START_WEIGHT, WEIGHT_FACES = 0.5, 5.0
#: What the random reading weighs where random noise is plain.
RANDOM_SHARE = 0.5
#: Shares of the labels' entropy that witnesses must explain to be relied on not at all, and fully. Less than for
#: votes alone (`label_model.RELIANCE`): noise keeps labels from being explained, and half of it may be random.
RELIED = (0.1, 0.25)
#: Power of a label where an outside witness is fully heard.
HEARD_LABEL = 0.5
#: The systematic reading weighs this at least, too little to change a label: faces are ranked by it even so.
LEAST_SHARED = 0.02


@dataclass(frozen=True, eq=False)
class Labels:
    """Given labels and who they belong to, as the readings see them.

    Parameters
    ----------
    given : (N, C) float64
        Zero rows without a label.
    rows : (N,) bool
        Labeled faces that a witness speaks about: models are fitted to these.
    prior : (C,) float64
        Frequencies of the labels.
    fold : (N,) int64
    sites : Sites, optional
    """

    given: Doubles
    rows: Bools
    prior: Doubles
    fold: Ints
    sites: Sites | None


@dataclass(frozen=True, eq=False)
class Noise:
    """What the labels' noise looks like.

    Parameters
    ----------
    random : float in [0, 1]
        How surely random noise is told from faces that are hard to read (`label_model.noise_seen`), by witnesses that
        explain something: 0 up to half of the first number of `RELIED`, unharmed from that number on.
    relied : float in [0, 1]
        How far the witnesses may overrule labels: their share of the labels' entropy explained, less
        K (K - 1) / 2 nats as in `label_model.noise_seen`, is 0 up to `RELIED` and 1 from its second number on.
    explained : float in [0, 1]
        That share itself.
    model : LatentModel
        Of random noise, by the lifts that the noise was measured with.
    """

    random: float
    relied: float
    explained: float
    model: LatentModel

    @classmethod
    def of(cls, joined: Doubles, labels: Labels) -> Noise:
        """Measure the noise by joined lifts (N, C)."""
        lifts, given = joined[labels.rows], labels.given[labels.rows]
        noisy = fit_latent(lifts, given, labels.prior)
        clean = fit_latent(lifts, given, labels.prior, noisy=False)
        low, high = RELIED
        share = explained(softmax(np.log(labels.prior) + lifts), given, labels.prior) - chance(given, labels.prior)
        relied = float(np.clip((share - low) / (high - low), 0.0, 1.0))
        something = float(np.clip(2 * share / low - 1, 0.0, 1.0))
        seen = something * noise_seen(noisy, clean, given, labels.prior)
        return cls(seen, relied, max(share, 0.0), noisy)

    @property
    def shares(self) -> tuple[float, float, float]:
        """What the systematic reading, the random one and the given labels weigh; sum 1.

        The random reading gets up to `RANDOM_SHARE` of what the systematic one would, and of the rest as much as
        random noise is seen: where nothing is known, labels stay (but for `LEAST_SHARED`).
        """
        shared = max(LEAST_SHARED, self.relied * (1 - RANDOM_SHARE * self.random))
        hit = (1 - shared) * self.random
        return shared, hit, 1 - shared - hit


def fit_weights(lifts: Mapping[str, Doubles], target: Doubles, prior: Doubles) -> dict[str, float]:
    """Return the weight of each witness under which the target labels (N, C) are likeliest.

    The likelihood is that of softmax(log prior + sum_k w_k l^k), 0 <= w <= `MOST_WEIGHT`, held towards
    `START_WEIGHT` by a belief of `WEIGHT_FACES` faces.
    """
    from scipy.optimize import minimize

    if not lifts:
        return {}
    names = sorted(lifts)
    table = np.stack([lifts[name] for name in names])

    def loss(weights: Doubles) -> tuple[float, Doubles]:
        rows = softmax(np.log(prior) + np.tensordot(weights, table, 1))
        held = weights - START_WEIGHT
        likelihood = float((target * np.log(np.maximum(rows, 1e-12))).sum())
        slope: Doubles = ((rows - target)[None] * table).sum((1, 2)) + 2 * WEIGHT_FACES * held
        return -likelihood + WEIGHT_FACES * float(held @ held), slope

    start = np.full(len(names), START_WEIGHT)
    best = minimize(loss, start, jac=True, bounds=[(0.0, MOST_WEIGHT)] * len(names), method="L-BFGS-B")
    return dict(zip(names, best.x.tolist(), strict=True))


def systematic(own: Doubles, logits: Doubles, labels: Labels, voice: Voice) -> Doubles:
    """Return P(true | face, label) under noise that annotators share and follows the face, shape of `logits`.

    Where witnesses contradict a label, they are believed: the transition matrix is what labels are found where a
    class is voted (`label_model.expected_transition`). Beside an outside witness that is heard by u, a label counts
    to the power 1 - u / 2: the annotators of this set and those whom the witness learned from go wrong about the
    same faces, so that the two do not confirm each other as independent ones would.

    Parameters
    ----------
    own : (N, C) float64
        Logits in which no label of the face's fold took part; the matrix is counted on these.
    logits : (N, ..., C) float64
        What to read beside the labels.
    """
    votes, read = softmax(own), softmax(logits)

    def counted(learn: Bools) -> Doubles:
        return expected_transition(votes[learn], labels.given[learn], labels.prior)

    told = _by_kind(votes, read, labels, voice, counted, fitted=False)
    less = (1 - HEARD_LABEL) * voice.heard.reshape(len(read), *([1] * (read.ndim - 1)))
    both: Doubles = told ** (1 - less) * read**less
    return np.where(less > 0, normalized(both), told)


def random(own: Doubles, logits: Doubles, labels: Labels, voice: Voice, model: LatentModel) -> Doubles:
    """Return P(true | face, label) under noise that hits faces of a class alike, shape of `logits`.

    As in `systematic`; the matrix is that of `model`, or the likeliest one for faces that an outside witness judges.
    """
    votes = softmax(own)

    def likeliest(learn: Bools) -> Doubles:
        if not (voice.heard[learn] > 0).any():
            return model.transition
        return fit_transition(votes[learn], labels.given[learn])

    return _by_kind(votes, softmax(logits), labels, voice, likeliest, fitted=True)


def _by_kind(votes: Doubles, read: Doubles, labels: Labels, voice: Voice, matrix: Matrix, *, fitted: bool) -> Doubles:
    """Return posteriors with a transition matrix for each kind of face, and each site where there are several.

    Faces that an outside witness judges have other votes than the rest, hence a matrix of their own.
    """
    result = read.copy()
    for kind in (voice.heard > 0, voice.heard == 0):
        learn = labels.rows & kind
        if not learn.any():
            continue
        pooled = matrix(learn)
        if labels.sites is None:
            result[kind] = LabelModel(pooled, 1.0).posterior(read[kind], labels.given[kind])
        else:
            of_sites = labels.sites.fitted if fitted else labels.sites.counted
            matrices = of_sites(votes, labels.given, learn, labels.fold, pooled)
            result[kind] = matrices.posterior(read, labels.given, kind)
    return result
