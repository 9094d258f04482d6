"""Two models of label noise: one that annotators share and that follows the face, one that hits a class at random."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...core.arrays import Bools, Doubles, Ints
from ...core.numeric import class_sums, normalized, softmax
from ...noise.label_model import LabelModel, chance, expected_transition, explained, right_most_often
from ...noise.sites import Sites

#: Shapes of a transition matrix: one row for each class, one rate for all, labels as good as right.
BY_CLASS, EVEN, RIGHT = "by class", "even", "right"
#: Rates of flips to all other classes alike up to which noise is not random, and from which on it surely is. Own labels
#: of FER2013 and of P have .006 to .012; 20 % symmetric noise gives .18 to .21.
EVEN_FLIPS = (0.02, 0.1)
#: Shares of what experts leave unexplained of the labels that a transition matrix must explain beyond chance, for noise
#: to hit classes alike not at all, and for certain. FER2013's own labels reach .017 to .019 (2,000 to 14,000 faces) and
#: .025 seen by the builtin model; flips of two classes to one other .028 to .043, of all .04 to .23, by annotators'
#: matrix .05.
SEEN_BY_CLASS = (0.025, 0.03)
#: Shares of a class that a transition matrix gives one other class up to which noise is not seen to hit classes, and
#: from which on it surely is: noise of one or two classes explains little of all labels. Own labels of FER2013 have
#: .11, of P .07, right ones at most .08; four of ten flipped to one other class .27 to .33 (.18 of a class of 150).
TO_ONE = (0.15, 0.25)
#: Faces beside those of a class in that share: by chance, matrices of 600 faces give .2 of a class.
FEW_FACES = 100.0
#: Share of the labels' entropy that one rate for all is held to explain at least.
LEAST_SEEN = 1e-4
#: Shares of the labels' entropy that experts must explain to be relied on not at all, and fully; some three times what
#: views without a bearing on the classes reach.
RELIED = (0.1, 0.25)
#: The same for random noise to be believed: it lowers what can be explained, to .15 where four of ten labels are drawn.
SOMETHING = (0.05, 0.1)
#: Standard deviations of chance by which one rate for all explains labels better than none, for random noise to be
#: believed however little experts explain: where half of the labels are drawn that is .02 to .09 of the entropy.
ONE_RATE = (2.0, 4.0)
#: Experts weigh this at least, too little to change a label: faces are ranked by them even so.
LEAST_RELIED = 0.02
#: Noise that annotators share is at most this many times what experts leave unexplained of the labels: it cannot be
#: large where labels are learned almost wholly. P as it came has accuracy .892, .895, .901 by 2, 2.5, 3; right labels
#: are kept in .990, .974, .962.
UNEXPLAINED = 3.0
#: Belief that labels are right, in faces: this share of each class, and half a face beside; half a face a row of T
#: spread over the classes (as `label_model.fit_noise`). By the same share of all faces frequencies are those known.
RIGHT_SHARE, RIGHT_FACES, SPREAD_FACES = 0.01, 0.5, 0.5
#: Share of labels taken as random where T is not fitted, so that none is impossible.
LEAST_RANDOM = 1e-3
#: Right share that T starts from, steps of the EM algorithm, how far each goes, and limits of the sharpness.
START_RIGHT, STEPS, PACE, SHARPNESS = 0.8, 40, 0.7, (0.2, 16.0)
#: Least curvature that Newton's rule divides by: ratios that are zero but for rounding (1e-10) leave the sharpness as
#: it is. Ratios that say something have more.
LEAST_CURVE = 1e-6
#: Steps with one rate for all: in 40 it gets half way where four of ten labels are drawn. 200 are no longer steady: in
#: sets of 60 faces the order of classes moves answers by 1e-4.
EVEN_STEPS = 120


@dataclass(frozen=True, eq=False)
class Labels:
    """Given labels and who they belong to.

    Parameters
    ----------
    given : (N, C) float64
        Zero rows without a label.
    rows : (N,) bool
        Labeled faces that an expert knows: models are fitted to these.
    prior : (C,) float64
        Frequencies of the labels.
    fold : (N,) int64
    sites : Sites, optional
    start : (C,) float64, optional
        Frequencies of the true classes that fits of random noise start from; `prior` where nothing is known.
    """

    given: Doubles
    rows: Bools
    prior: Doubles
    fold: Ints
    sites: Sites | None
    start: Doubles | None = None


@dataclass(frozen=True, eq=False)
class RandomNoise:
    """Noise that hits the faces of a class alike: P(true = c | face) = softmax(b + s L), P(given = d | c) = T[c, d].

    `likelihood` is that of the labels, in nats; `to_one` the greatest share of a class given one other (`TO_ONE`).
    """

    bias: Doubles
    sharpness: float
    transition: Doubles
    likelihood: float
    to_one: float

    def logits(self, joined: Doubles) -> Doubles:
        """Return b + s L, (..., C)."""
        return self.bias + self.sharpness * joined


@dataclass(frozen=True, eq=False)
class Noise:
    """What the noise of a set looks like; see `measured_noise`.

    Parameters
    ----------
    explained : float in [0, 1]
        Share of the labels' entropy that the experts explain beyond chance.
    random : float in [0, 1]
        How surely noise hits classes at random.
    models : tuple of (float, RandomNoise)
        Models of random noise and what each weighs, sum 1: one T for each class, and one rate for all.
    beyond : float
        Standard deviations of chance by which T explains more of the labels than chance would.
    one_rate : float
        The same for one rate of flips, against labels that are right.
    """

    explained: float
    random: float
    models: tuple[tuple[float, RandomNoise], ...]
    beyond: float = 0.0
    one_rate: float = 0.0

    @property
    def shares(self) -> tuple[float, float, float]:
        """What the systematic model, the random ones and the labels as they are weigh; sum 1."""
        relied = max(LEAST_RELIED, ramp(self.explained, RELIED))
        hit = self.random * max(ramp(self.explained, SOMETHING), ramp(self.one_rate, ONE_RATE))
        shared = relied * (1 - hit) * min(1.0, UNEXPLAINED * (1 - self.explained))
        return shared, hit, 1 - shared - hit

    def refitted(self, joined: Doubles, labels: Labels) -> Noise:
        """Return the same noise, its models fitted to other joined ratios (N, C)."""
        shapes = zip(self.models, (BY_CLASS, EVEN), strict=True)
        return replace(self, models=tuple((w, fit_random(joined, labels, s)) for (w, _), s in shapes))

    def gained(self, after: Noise, labels: Labels) -> float:
        """Return by how much likelier labels are under the models of `after`, as a share of their entropy."""
        entropy = -float((labels.prior * np.log(labels.prior)).sum()) * int(labels.rows.sum())
        pairs = zip(self.models, after.models, strict=True)
        more = sum(weight * (new.likelihood - old.likelihood) for (weight, old), (_, new) in pairs)
        return more / max(entropy, 1e-12)


def measured_noise(joined: Doubles, labels: Labels) -> Noise:
    """Return what the noise looks like, from joined log-likelihood ratios (N, C).

    Random noise shows as labels that the experts hold to be next to impossible. It is random for certain where labels
    are flipped to all other classes alike at a rate of `EVEN_FLIPS`, where faces of a class are given one other at a
    rate of `TO_ONE`, or where a transition matrix explains `SEEN_BY_CLASS` of what experts leave unexplained of the
    labels, beyond the chance of its K (K - 1) numbers (`label_model.chance`). A full matrix finds patterns in even
    noise that are only faces hard to tell apart: the model of one rate for all weighs as much as it explains, as a
    share of what the full matrix does.
    """
    ratios, given, prior = joined[labels.rows], labels.given[labels.rows], labels.prior
    by_chance = chance(given, prior)
    share = max(explained(softmax(np.log(prior) + ratios), given, prior) - by_chance, 0.0)
    full, even, right = (fit_random(joined, labels, shape) for shape in (BY_CLASS, EVEN, RIGHT))
    entropy = -float((prior * np.log(prior)).sum()) * len(given)
    beyond = (full.likelihood - right.likelihood) / max(entropy, 1e-12) - by_chance
    gain = max(even.likelihood - right.likelihood, 0.0)  # in nats: half the square of a normal deviate by chance
    at_one_rate = gain / max(entropy, 1e-12) + LEAST_SEEN
    alike = at_one_rate / max(beyond, at_one_rate)
    flipped = float((1 - np.diag(even.transition)).max()) if share > 0 else 0.0
    seen = ramp(beyond / max(1 - share, 1e-12), SEEN_BY_CLASS)
    random = max(seen, ramp(flipped, EVEN_FLIPS), ramp(full.to_one, TO_ONE))
    by_luck = max(by_chance * entropy, 1e-12)  # in nats; twice that many are the degrees of freedom
    models = ((1 - alike, full), (alike, even))
    return Noise(share, random, models, (beyond * entropy) / by_luck**0.5, (2 * gain) ** 0.5)


def ramp(value: float, limits: tuple[float, float]) -> float:
    """Return 0 up to the first limit, 1 from the second on."""
    low, high = limits
    return float(np.clip((value - low) / (high - low), 0.0, 1.0))


def fit_random(joined: Doubles, labels: Labels, shape: str) -> RandomNoise:
    """Fit b, s and T together by maximum likelihood of the given labels, from joined log-likelihood ratios (N, C).

    Generalized EM: with r the posteriors of the true classes, T becomes what r and labels count, with a weak
    Dirichlet prior towards the identity and no wrong label likelier than the right one
    (`label_model.right_most_often`); b moves until softmax(b + s L) has the frequencies of r, s by Newton's rule.
    With `shape` `EVEN` there is one rate for all, T[c, d] = e / (K - 1) for d another of the K classes that occur,
    e the share of labels counted off the diagonal, (K - 1) / K at most; with `RIGHT` e is `LEAST_RANDOM` and not
    fitted. b starts from what is known of the true frequencies (`Labels.start`) and is held to it by `RIGHT_SHARE` of
    the faces: where flips made a rare class frequent, labels leave open which of two classes it is, and EM stays near
    its start.

    With a matrix EM stops after `STEPS`, early: its many numbers follow chance where it goes on.

    Cost: O(M C^2) a step.
    """
    given = labels.given[labels.rows]
    c = given.shape[1]
    pseudo = np.diag(RIGHT_SHARE * given.sum(0) + RIGHT_FACES) + SPREAD_FACES / c
    known = labels.prior if labels.start is None else labels.start
    em = _Em(joined[labels.rows], given, pseudo, known)
    others = given.any(0) * (1 - np.eye(c))
    others = normalized(np.where(others.sum(1, keepdims=True) > 0, others, 1 - np.eye(c)))
    most = 1 - 1 / max(int(given.any(0).sum()), 2)

    def one_rate(rate: float) -> Doubles:
        return (1 - rate) * np.eye(c) + rate * others

    transition, bias, sharpness = one_rate(LEAST_RANDOM if shape == RIGHT else 1 - START_RIGHT), np.log(known), 1.0
    for _ in range(EVEN_STEPS if shape == EVEN else STEPS):
        counts, bias, sharpness = em.step(transition, bias, sharpness)
        if shape == BY_CLASS:
            transition = right_most_often(normalized(counts), given)
        elif shape == EVEN:
            transition = one_rate(min(1 - float(np.trace(counts) / counts.sum()), most))
    to_one = float((counts * (1 - np.eye(c)) / (counts.sum(1, keepdims=True) + FEW_FACES)).max())
    return RandomNoise(bias, sharpness, transition, em.likelihood(transition, bias, sharpness), to_one)


@dataclass(frozen=True, eq=False)
class _Em:
    """Steps of `fit_random`: ratios and labels (M, C), faces added to counts (C, C), known frequencies (C,)."""

    ratios: Doubles
    given: Doubles
    pseudo: Doubles
    known: Doubles

    def step(self, transition: Doubles, bias: Doubles, sharpness: float) -> tuple[Doubles, Doubles, float]:
        """Return what r and labels count, (C, C), and b and s moved on."""
        rows = softmax(bias + sharpness * self.ratios)
        true = LabelModel(transition, sharpness).posterior(rows, self.given)
        wanted = (true.mean(0) + RIGHT_SHARE * self.known) / (1 + RIGHT_SHARE)
        bias = bias + PACE * np.log(np.maximum(wanted, 1e-9) / np.maximum(rows.mean(0), 1e-9))
        counts = true.T @ self.given + self.pseudo
        # about the mean of each face: differences of large sums lose what is left of nearly certain rows
        apart = self.ratios - class_sums(rows * self.ratios)
        true -= rows
        slope = float(np.vdot(true, apart))
        apart *= apart
        curve = float(np.vdot(rows, apart))
        sharpness = float(np.clip(sharpness + PACE * slope / max(curve, LEAST_CURVE), *SHARPNESS))
        return counts, bias, sharpness

    def likelihood(self, transition: Doubles, bias: Doubles, sharpness: float) -> float:
        """Return the log-likelihood of the labels, in nats."""
        predicted = softmax(bias + sharpness * self.ratios) @ transition
        return float((self.given * np.log(np.maximum(predicted, 1e-12))).sum())


def systematic(own: Doubles, logits: Doubles, labels: Labels, power: Doubles) -> Doubles:
    """Return P(true | face, label) under noise that annotators share and that follows the face, shape of `logits`.

    With v = softmax(logits): r ~ v T[:, label], T the labels found where a class is voted, none of them more often than
    the class itself (`label_model.expected_transition`, `right_most_often`): where experts contradict a label, they are
    believed.

    Parameters
    ----------
    own : (N, C) float64
        Logits in which no label of the face's fold took part: T is counted on these.
    logits : (N, ..., C) float64
    labels : Labels
    power : (N,) float64
        Of each label; below 1 where a source is believed whose own annotators go wrong about the same faces.
    """
    votes, rows = softmax(own), softmax(logits)
    given = labels.given[labels.rows]
    found = right_most_often(expected_transition(votes[labels.rows], given, labels.prior), given)
    read = _read(votes, rows, labels, found, fitted=False)
    if (power == 1).all():
        return read
    shape = power.reshape(len(rows), *([1] * (logits.ndim - 1)))
    return normalized(read**shape * rows ** (1 - shape))


def at_random(own: Doubles, logits: Doubles, labels: Labels, transition: Doubles) -> Doubles:
    """Return P(true | face, label) under noise that hits the faces of a class alike; as `systematic`, T given."""
    return _read(softmax(own), softmax(logits), labels, transition, fitted=True)


def _read(votes: Doubles, rows: Doubles, labels: Labels, pooled: Doubles, *, fitted: bool) -> Doubles:
    """Return the posteriors by one transition matrix, or by one for each site where there are several."""
    if labels.sites is None:
        return LabelModel(pooled, 1.0).posterior(rows, labels.given)
    by_site = labels.sites.fitted if fitted else labels.sites.counted
    return by_site(votes, labels.given, labels.rows, labels.fold, pooled).posterior(rows, labels.given)
