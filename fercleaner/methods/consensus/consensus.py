"""`consensus`: all witnesses together, each heard as far as it explains the labels of the set at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...core.arrays import Bools, Doubles, Floats
from ...core.evidence import Evidence
from ...core.groups import fold_numbers
from ...core.numeric import normalized, softmax
from ...core.types import Posteriors, Refinement, Samples
from ...noise.class_priors import WILD, base_rates, pooled, rates_beside
from ...noise.label_model import LatentModel, distribution, fit_latent, frequencies
from ...noise.sites import sites_of
from ..base import keep_given, own_share, require
from ..hypergraph.hypergraph import SHARPER, HypergraphPropagation, judged
from .experts import Round, Witness
from .external import Voice, voice
from .noise_models import Labels, Noise, fit_weights, random, systematic

#: Power of the frequencies in the systematic reading: in the first round, in the second where no random noise is
#: seen, and there where it is plain. Noise makes labels more even than the true classes are: without base rates to
#: say so, frequencies weigh more.
POWERS, LONE_POWERS = (1.5, 1.0, 1.0), (2.0, 1.5, 1.0)
#: Sharpness of the second round, where no random noise is seen, and where it is plain.
SECOND_SHARPER = (0.8, 1.0)


@dataclass(frozen=True)
class Consensus:
    """Weigh all evidence by what it explains of this set's labels, twice, under two readings of the noise.

    Each inside witness k gives a lift l^k_ic = log(q^k_ic / m^k_c), what it says of face i beyond what it says of
    faces in general, zero where it does not know the face: look-alikes (the scores of `hypergraph`), a linear
    probe on the views, one on Gaussian-kernel features of them (`kernel.kernel_features`), and action units
    (`au-prior`). They are joined as

        L_ic = sum_k w_k l^k_ic,    w the likeliest for softmax(log pi + L) to give the labels, 0 <= w_k <= 4

    so that a witness that knows nothing about this set gets no say (`readings.fit_weights`). Labels are left out a
    fold at a time, in both rounds: no label takes part in what judges it. (Weights, frequencies, temperature and
    transition matrix are few numbers for the whole set, fitted to all of its labels; see `sites.SiteMatrices` for
    those of a site.)

    Two readings of the labels are averaged (`readings`). The random one fits bias, sharpness and transition
    matrix together (`label_model.fit_latent`): it is right where noise hits the faces of a class alike, common or
    rare, and sees none where look-alikes share their mistakes. The systematic one believes the witnesses where they
    contradict a label. With h in [0, 1] how plainly random noise is seen (`label_model.noise_seen`) and t how far the
    witnesses are relied on, by how much of the labels they explain beyond chance, the systematic reading weighs
    a = t (1 - h / 2), the random one (1 - a) h, and the labels as they are keep the rest (`readings.Noise`): on views
    that say nothing of the classes, labels stay.

    1. L as above. The systematic reading is of v ~ pi*^1.5 exp(1.5 L). The result, for each fold's run, are refined
       labels R that know nothing of that fold.
    2. Look-alikes and probes learn anew from R^2 brought to sum 1: what little of a face goes to each other class is
       mostly doubt, which would drown a rare class. The systematic reading is of v ~ pi*_R exp((.8 + .2 h) L_R), w such
       that R is likeliest; in the random one w are such that the given labels are. Without views there is no second
       round: the first one's result stands.

    How frequent the true classes are cannot be told from labels and views where look-alikes share their mistakes.
    What is known of pictures from the wild stands in (`base_rates`): pi* ~ pi^e beta^(1 - e), with pi the frequencies
    of the labels, beta the base rates and e the share of the labels' entropy that the witnesses explain beyond
    chance, so that labels which witnesses confirm set the frequencies themselves. pi*_R is the same of R's
    frequencies. A class that no label names stays out, and "wild" raises no rare one (`rates_beside`). Without base
    rates, v are of pi^2 and of pi_R^(1.5 - h / 2).

    A witness trained elsewhere (a model in the box, say) is not asked to repeat this set's mistakes: what it explains
    is measured through a transition matrix, relative to what L explains, and how far it is heard follows
    (`outside.voice`). Where it is heard by u in [0, 1], log v is (1 - u) times the above plus u (log p_i + .1 L_i),
    and the systematic reading weighs (1 - u) times the above plus u, a label in it to the power 1 - u / 2; so one that
    fits the set leads, and one that is wrong, shuffled, or has its classes in another order leaves the answer as it
    was. So does one that knows too few labeled faces to prove anything. Posteriors that learned from the labels at hand
    (`Posteriors.learned`) are no outside witnesses; they are asked only where there are no views to train heads on.

    Several sites (`Samples.site`) have transition matrices of their own, as in `hypergraph`. Quality, weight and flags
    as there, too; a face that no inside witness knows, and no outside one is heard about, keeps its given label.
    Evidence: how much of each witness's pi_c exp(l^k_ic) of the first round, brought to sum 1, lies on the given
    label; of an outside witness, how much of its posterior does.

    Parameters
    ----------
    k, alpha, rounds, folds
        Of the hypergraph; the probes have the same folds.
    base_rates : str
        "wild": frequencies of expressions in RAF-DB, AffectNet and ExpW (`base_rates.COUNTS`). "none" for a set whose
        classes have other names (found out by itself), "even" for one balanced by hand or posed in a laboratory; or a
        set's name, or rates of one's own, as `base_rates.base_rates` reads them.

    Source
    ------
    fercleaner's own; see the methods it draws on for theirs.
    """

    name: ClassVar[str] = "consensus"
    paper: ClassVar[str] = "fercleaner, after all of the above"
    needs: ClassVar[frozenset[str]] = frozenset({"neighbors"})
    optional: ClassVar[frozenset[str]] = frozenset({"joint", "features", "outside", "action_units"})

    k: int = 15
    alpha: float = 0.8
    rounds: int = 2
    folds: int = 5
    base_rates: str = WILD

    def __post_init__(self) -> None:
        self._graph()
        base_rates((), self.base_rates)

    def _graph(self) -> HypergraphPropagation:
        return HypergraphPropagation(k=self.k, alpha=self.alpha, rounds=self.rounds, folds=self.folds)

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the refined labels; `rng` seeds only how faces are dealt into folds."""
        require(evidence, self)
        samples = evidence.samples
        fold = fold_numbers(samples.ids, samples.group, self.folds, int(rng.integers(2**31)))
        inside = Round(evidence, self._graph(), fold)
        witnesses = inside.first()
        outside = {name: table for name, table in evidence.outside.items() if table.found.any()}
        known = {name: witness.known for name, witness in witnesses.items()}
        spoken = np.logical_or.reduce([np.zeros(len(samples), dtype=np.bool_), *known.values()])
        known |= {name: np.asarray(table.found) for name, table in outside.items()}
        given = samples.given.astype(np.float64)
        prior = frequencies(given)
        joined = total(witnesses, given, prior, spoken & samples.labeled)
        said = voice(outside, known, samples.labeled, given, joined[0], prior)
        spoken |= said.heard > 0  # a witness that is not heard does not speak about a face
        rates = rates_beside(prior, samples.classes, self.base_rates)
        labels = Labels(given, spoken & samples.labeled, prior, fold, sites_of(samples))
        refined = keep_given(samples)
        if labels.rows.any():
            result = refined_labels(inside, witnesses, joined, labels, said, rates)
            refined = np.where(spoken[:, None], result, refined)
        quality, weight = judged(samples, refined, spoken)
        return Refinement(
            ids=samples.ids,
            classes=samples.classes,
            distribution=refined.astype(np.float32),
            weight=weight.astype(np.float32),
            quality=quality.astype(np.float32),
            flagged=labels.rows & (quality < 0.5),
            method=self.name,
            evidence=shares_of_witnesses(samples, witnesses, outside, known, prior),
            posteriors=inside.posteriors,
        )


def refined_labels(
    inside: Round,
    witnesses: Mapping[str, Witness],
    joined: tuple[Doubles, Doubles],
    labels: Labels,
    said: Voice,
    rates: Doubles | None,
) -> Doubles:
    """Return the refined distributions (N, C) of both rounds.

    Parameters
    ----------
    inside, witnesses
        What asks the witnesses, and what they said the first time.
    joined : (N, C) and (N, F, C) float64
        Their joined lifts, a face's own and those of each fold's run (`total`).
    labels, said
        The given labels, and what outside witnesses say.
    rates : (C,) float64, optional
        Base rates.
    """
    own, runs = joined
    noise = Noise.of(own, labels)
    powers = LONE_POWERS if rates is None else POWERS
    shared, hit, left = ((1 - said.heard) * share for share in noise.shares)
    shared = shared + said.heard

    def read(logits: tuple[Doubles, Doubles], random_logits: tuple[Doubles, Doubles], model: LatentModel) -> Doubles:
        """Return the readings of the labels together; each pair is of own logits (N, C) and those to read."""
        shape = (len(left), *([1] * (logits[1].ndim - 1)))
        kept = labels.given.reshape(*shape[:-1], -1)
        stays = np.where(kept.sum(-1, keepdims=True) > 0, kept, softmax(logits[1]))
        both: Doubles = shared.reshape(shape) * systematic(*logits, labels, said)
        both += hit.reshape(shape) * random(*random_logits, labels, said, model)
        return both + left.reshape(shape) * stays

    def first(lifts: Doubles) -> Doubles:
        """Return the labels as the first round refines them, from lifts (N, ..., C)."""
        frequent = powers[0] * np.log(pooled(labels.prior, rates, noise.explained))
        return read(
            (said.over(frequent + SHARPER * own, own), said.over(frequent + SHARPER * lifts, lifts)),
            (said.over(noise.model.logits(own), own), said.over(noise.model.logits(lifts), lifts)),
            noise.model,
        )

    refined = first(own)
    if not inside.repeats:
        return refined
    again = inside.again(first(runs), witnesses)
    prior = frequencies(refined[labels.rows])
    learned, _ = total(again, refined, prior, labels.rows)
    power, sharper = (start + noise.random * (end - start) for start, end in (powers[1:], SECOND_SHARPER))
    frequent = power * np.log(pooled(prior, rates, noise.explained))
    logits = said.over(frequent + sharper * learned, learned)
    explained, _ = total(again, labels.given, labels.prior, labels.rows)
    model = fit_latent(explained[labels.rows], labels.given[labels.rows], labels.prior)
    random_logits = said.over(model.logits(explained), explained)
    return read((logits, logits), (random_logits, random_logits), model)


def total(witnesses: Mapping[str, Witness], target: Doubles, prior: Doubles, rows: Bools) -> tuple[Doubles, Doubles]:
    """Return the joined lifts, (N, C), and those of each fold's run, (N, F, C), weighed to explain `target`.

    Runs are those of the witnesses that are told fold by fold.
    """
    weights = fit_weights({name: witness.own[rows] for name, witness in witnesses.items()}, target[rows], prior)
    own, runs = np.zeros_like(target), np.zeros((len(target), 1, target.shape[1]))
    for name, witness in witnesses.items():
        own = own + weights[name] * witness.own
        if witness.runs is not None:
            runs = runs + weights[name] * witness.runs
    return own, runs


def shares_of_witnesses(
    samples: Samples,
    witnesses: Mapping[str, Witness],
    outside: Mapping[str, Posteriors],
    known: Mapping[str, Bools],
    prior: Doubles,
) -> dict[str, Floats]:
    """Return how much of what each witness says lies on the given label, (N,); NaN where it does not know."""
    given = samples.given.astype(np.float64)
    says = {name: distribution(witness.own, prior, 1.0) for name, witness in witnesses.items()}
    says |= {name: normalized(table.values.astype(np.float64)) for name, table in outside.items()}
    return {
        name: np.where(known[name] & samples.labeled, own_share(given, rows), np.nan).astype(np.float32)
        for name, rows in says.items()
    }
