"""`consensus`: an expert that learned from the labels, out of fold, and models trained elsewhere, weighed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ...classifiers.probe import PROBE
from ...core.arrays import Bools, Doubles, Floats
from ...core.errors import InputError
from ...core.evidence import Evidence
from ...core.groups import fold_numbers, group_numbers
from ...core.numeric import softmax
from ...core.text import counted
from ...core.types import Posteriors, Refinement, Samples
from ...noise.class_priors import WILD, base_rates, pooled_priors, rates_beside
from ...noise.label_model import class_frequencies, explained
from ...noise.sites import sites_of
from ..base import keep_given, leading, leading_share, own_share, require
from ..hypergraph.hypergraph import quality_and_weight
from .experts import HEAD, KernelHead, Stack, fit_stack
from .external import as_expert, distance_from_home, external_sources, nearness
from .noise_models import ONE_RATE, Labels, measured_noise, ramp
from .reader import Reader

#: Times that faces are dealt into folds, and faces in all deals together: small sets are dealt four times, those of
#: more than half as many once. Four deals raise AP by .011 at 300 faces, .006 at 600, .007 at 1,000 and .002 at 2,000
#: and 4,000, and what another seed moves falls by half; two give half of that.
DEALS, DEALT = 4, 32768

#: Limits of `verified`, as shares of the labels' entropy: what is learned from refined labels predicts labels left out
#: so much better (below 0: worse) than what is learned from the labels as they came. Where labels are right and heads
#: weak (100 to 400 faces), -.02 to -.12; where refined labels are far better, -.016 to .02 (6,000 faces of FER2013).
VERIFIED = (-0.03, -0.015)
#: `Noise.beyond` from which on what is learned may prove itself through the models of random noise, and up to which it
#: may not: with few faces their transition matrices explain what heads mistake. Right labels of 200 faces reach 4.8,
#: a fifth flipped to one other class 4 to 7, of 900 faces 16.
SEEN = (3.0, 6.0)
#: Groups of faces (subjects) up to which refined labels are not believed: a head that saw a few subjects cannot judge
#: the next, nor prove that it can. On P nothing is gained up to 5, and much under noise from 6 on.
FEW_GROUPS = 5
#: Refined labels are believed this far at least, too little to change a label: faces are ranked by them even so.
LEAST_VERIFIED = 0.02
#: Shares of classes are level that differ by less: the order of rows moves them by 2e-6.
LEVEL = 1e-5


@dataclass(frozen=True, eq=False)
class Answer:
    """What one deal says.

    Parameters
    ----------
    refined : (N, C) float64
        Refined distributions.
    unverified : (N, C) float64
        The same where nothing but sources near their home may overrule a label.
    gained : float
        By how much what was learned from refined labels predicts labels left out better, as a share of their entropy.
    first : (N, C) float64
        What the head alone says.
    notes : tuple of str
    """

    refined: Doubles
    unverified: Doubles
    gained: float
    first: Doubles
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Consensus:
    """Weigh what the faces' likeness to others and models trained elsewhere say of each label, twice.

    One expert is a ridge head on Gaussian-kernel features of all views, trained on the given labels of other folds
    (`experts.KernelHead`); its scores and their logarithms are two terms l^k. The others are external posteriors p,
    read through a transition matrix counted on other folds, l^k = log(p T / pi) (`external.as_expert`). Joined they are

        L_i = sum_k w_k l^k_i + b - log pi,    w >= 0 and b the likeliest for softmax(log pi + L) to give the labels

    pi the labels' frequencies. With pi* the frequencies of the true classes (below), v_i = softmax(log pi* + L_i) is
    what is known of a face without its label, and the label y is read beside it by two models of noise:

        systematic   r ~ v T[:, y],                  T the labels found where a class is voted
        at random    r ~ softmax(b' + s L) T'[:, y], b', s, T' the likeliest for the labels together

    The first believes experts where they contradict a label, right where annotators share their mistakes; the second is
    right where noise hits the faces of a class alike. T' has a row for each class, or one rate for all: the answers of
    both are mixed by how much of what the first explains the second does, too. Systematic, random and labels as they
    are weigh by how much of the labels the experts explain and by whether random noise is seen (`noise_models.Noise`).

    1. L as above. The answer in the run of each fold, R, knows no label of that fold, nor was any face of it judged by
       a head that learned from the face's own label (`ridge.FoldRidge.runs`).
    2. The head learns again from R and is joined anew; the answer by the new L is the result. Of a class that it would
       leave without a face, labels are judged by the first: what is learned twice from few faces swallows them.

    Small sets are dealt into folds several times, and the answers averaged (`deals`).

    Refined labels must prove themselves (`verified`): a head that learned from them is asked for labels that it has
    not seen. Where it predicts these worse than one that learned from the labels as they came, by `VERIFIED` of
    their entropy, systematic and random models weigh less, labels as they are more: few faces let heads go wrong
    about right labels, and nothing else tells this from noise. Both heads are asked directly, and through the
    models of random noise where these explain more than by chance (`SEEN`, `ONE_RATE`); the better gain counts.
    Faces of few groups (subjects) prove nothing (`FEW_GROUPS`).

    True frequencies cannot be told from labels and views where experts share the labels' mistakes: what is known of
    pictures from the wild stands in, pi* ~ pi^t beta^(1 - t), with beta the base rates, t = e^3 and e the share of the
    labels' entropy explained (`class_priors`). In the second round pi are the frequencies of the refined labels. Beta
    fades into pi as a set lies farther from such pictures, where the builtin model's embedding tells
    (`external.distance_from_home`).

    A source near its home, by h in [0, 1] (`external.Source.near`), says more: log v becomes (1 - h)(log pi* + L) +
    h (log p + L / 10), the systematic model counts by (1 - h) of its share plus h min(1, 4 (1 - e)), and a label in it
    to the power 1 - h a / 2, a that share. The builtin model's distance is measured, beta becomes the frequencies that
    its posteriors give this set (`external.shifted`); of other sources the user says it (`Posteriors.near`).
    Posteriors that learned from the labels at hand (`Posteriors.learned`) are not used.

    Quality is the refined chance of the given label (over its largest share, where labels are distributions); labels
    of less than .5 are flagged. Of a class that would be left without a face, the surest labels stay, flagged as they
    are (`surest_stay`). A face that no expert knows keeps its label.

    Parameters
    ----------
    k : int
        Neighbors a face that reasons name; the answer does not depend on them.
    folds : int
        Labels are left out a fold at a time.
    rounds : int
        2, or 1 for the first alone.
    base_rates : str
        As `class_priors.base_rates` reads it: "wild", "none", "even", a set's name, or rates of one's own.

    Source
    ------
    fercleaner's own. Out-of-fold judges: Northcutt, Jiang, Chuang, JAIR 2021. Stacking: Breiman, Machine Learning 1996.
    Repeated deals: Chernozhukov et al., Double/debiased machine learning, Econometrics Journal 2018.
    """

    name: ClassVar[str] = "consensus"
    paper: ClassVar[str] = "fercleaner"
    needs: ClassVar[frozenset[str]] = frozenset({"features"})
    optional: ClassVar[frozenset[str]] = frozenset({"neighbors", "outside"})

    k: int = 15
    folds: int = 5
    rounds: int = 2
    base_rates: str = WILD

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"consensus: k = {self.k}; at least one neighbor is needed.")
        if self.folds < 2:
            raise InputError(f"consensus: folds = {self.folds}; at least 2 are needed.")
        if self.rounds not in (1, 2):
            raise InputError(f"consensus: rounds = {self.rounds}; expected 1 or 2.")
        base_rates((), self.base_rates)

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Return the refined labels; `rng` seeds only how faces are dealt into folds."""
        require(evidence, self)
        samples = evidence.samples
        external = {name: table for name, table in sorted(evidence.outside.items()) if table.found.any()}
        if taken := sorted(external.keys() & set(HEAD)):
            raise InputError(f"consensus: posteriors cannot be called '{taken[0]}', its own expert. Rename them.")
        head = KernelHead(evidence)
        known = {PROBE: head.known} | {name: np.asarray(table.found) for name, table in external.items()}
        spoken = np.logical_or.reduce(list(known.values()))
        rows, given = spoken & samples.labeled, samples.given.astype(np.float64)
        refined = keep_given(samples)
        notes: tuple[str, ...] = ()
        first = np.broadcast_to(class_frequencies(given), given.shape)
        if rows.any():
            answers = [self._answer(evidence, external, head, rows, rng) for _ in range(deals(rows))]
            groups = len(np.unique(group_numbers(samples.ids, samples.group)[rows]))
            sure = verified(float(np.mean([answer.gained for answer in answers]))) if groups > FEW_GROUPS else 0.0
            read = [sure * answer.refined + (1 - sure) * answer.unverified for answer in answers]
            refined = np.where(spoken[:, None], np.mean(read, axis=0), refined)
            first = np.mean([answer.first for answer in answers], axis=0)
            notes = answers[0].notes + belief_note(sure, groups)
        quality, weight = quality_and_weight(samples, refined, spoken)
        refined, kept = surest_stay(refined, given, rows)
        notes += kept_notes(samples, kept > 0)
        shares = shares_on_label(samples, known, first, external)
        return Refinement(
            ids=samples.ids,
            classes=samples.classes,
            distribution=refined.astype(np.float32),
            weight=weight.astype(np.float32),
            quality=quality.astype(np.float32),
            flagged=rows & (quality < 0.5),
            method=self.name,
            evidence=shares,
            posteriors={PROBE: _posterior(samples, first, head.known)},
            notes=notes,
            kept=kept.astype(np.float32),
        )

    def _answer(
        self,
        evidence: Evidence,
        external: Mapping[str, Posteriors],
        head: KernelHead,
        rows: Bools,
        rng: np.random.Generator,
    ) -> Answer:
        """Return the answer of one deal into folds; `rows` (N,) are the labeled faces that an expert knows."""
        samples, given = evidence.samples, evidence.samples.given.astype(np.float64)
        prior = class_frequencies(given)
        fold = fold_numbers(samples.ids, samples.group, self.folds, int(rng.integers(2**31)))
        head.deal(fold)
        experts = head.learn(given)
        experts |= {name: as_expert(t, given, samples.labeled, fold, prior) for name, t in external.items()}
        own = {name: expert.own for name, expert in experts.items()}
        stack = fit_stack({name: terms[rows] for name, terms in own.items()}, given[rows], prior)
        joined = stack.joined(own)
        rates = rates_beside(prior, samples.classes, self.base_rates)
        wild = 1.0
        if self.base_rates == WILD and (distance := distance_from_home(evidence)) is not None:
            wild = nearness(distance)
        known = None if rates is None else pooled_priors(rates, prior, wild)
        labels = Labels(given, rows, prior, fold, sites_of(samples), known)
        others = {name: expert for name, expert in experts.items() if name not in HEAD}
        found = external_sources(evidence, others, joined, prior, prior if known is None else known)
        noise, inside = measured_noise(joined, labels), joined
        if others:  # a source's transition matrix takes up noise of the labels: what it looks like, the head says
            inside = _by_head(own, labels)
            noise = replace(noise, random=measured_noise(inside, labels).random)
        reader = Reader(labels, noise, found, rates, wild)
        refined = reader.read(joined, joined, reader.noise)
        unverified, gained = refined, 0.0
        if self.rounds == 2:
            runs = np.empty((len(given), int(fold.max()) + 1, given.shape[1]), dtype=np.float32)
            for f in range(runs.shape[1]):
                said = stack.joined({name: expert.run(f) for name, expert in experts.items()})
                runs[:, f] = reader.in_run(f).read(joined, said, reader.noise)
            refined, unverified, gained = self._again(reader, head, own, stack, (inside, refined, runs))
        notes = tuple(note for source in found.values() for note in source.notes)
        alone = Stack({name: stack.weights[name] for name in HEAD}, stack.shift).joined(own)
        return Answer(refined, unverified, gained, softmax(np.log(prior) + alone), notes)

    @staticmethod
    def _again(
        reader: Reader,
        head: KernelHead,
        own: Mapping[str, Doubles],
        stack: Stack,
        before: tuple[Doubles, Doubles, Floats],
    ) -> tuple[Doubles, Doubles, float]:
        """Return the answers and the gain of the second round.

        `before` are the first's joined ratios of the head alone, its answer, and that in each fold's run.
        """
        inside, refined, runs = before
        labels = reader.labels
        rows = labels.rows
        terms = dict(own) | head.learn_again(runs)
        fixed = {name: weight for name, weight in stack.weights.items() if name not in HEAD}
        learned = class_frequencies(refined[rows])
        again = fit_stack({name: values[rows] for name, values in terms.items()}, refined[rows], learned, fixed)
        ratios = again.joined(terms)
        noise, second = reader.noise.refitted(ratios, labels), replace(reader, prior=learned)
        answer = second.read(ratios, ratios, noise)
        clear = clearly(labels.given)
        for c in emptied(answer, labels.given, rows):
            faces = rows & clear[:, c]
            answer[faces] = refined[faces]
        gained = reader.noise.gained(noise, labels)
        seen = max(ramp(noise.beyond, SEEN), ramp(noise.one_rate, ONE_RATE))
        if seen < 1 or verified(gained) < 1:
            direct = _explained(_by_head(terms, labels), labels) - _explained(inside, labels)
            gained = max(direct, seen * gained + (1 - seen) * direct)
        return answer, second.read(ratios, ratios, noise, LEAST_VERIFIED), gained


def _by_head(terms: Mapping[str, Doubles], labels: Labels) -> Doubles:
    """Return ratios (N, C) joined of the head's terms alone, weighed as the given labels are likeliest."""
    rows, of_head = labels.rows, {name: terms[name] for name in HEAD}
    chosen = {name: values[rows] for name, values in of_head.items()}
    return fit_stack(chosen, labels.given[rows], labels.prior).joined(of_head)


def _explained(joined: Doubles, labels: Labels) -> float:
    """Return the share of the labels' entropy that joined ratios (N, C) explain."""
    rows = labels.rows
    return explained(softmax(np.log(labels.prior) + joined[rows]), labels.given[rows], labels.prior)


def verified(gained: float) -> float:
    """Return how far refined labels are believed, in [0, 1], by what they gain in predicting labels left out."""
    return ramp(gained, VERIFIED)


def belief_note(sure: float, groups: int) -> tuple[str, ...]:
    """Return what to say of experts that are not wholly believed; labeled faces are of so many groups."""
    if sure >= 1:
        return ()
    if groups <= FEW_GROUPS:
        return (
            f"Refined labels are not believed: labeled faces are of {counted(groups, 'group', 'groups')} (subjects), "
            f"and what is learned from {FEW_GROUPS} or fewer cannot judge the next.",
        )
    return (
        f"Refined labels are believed by {100 * sure:.0f} %: what is learned from them predicts labels left out worse "
        "than what is learned from the labels as they came (few faces, or views that tell little).",
    )


def deals(rows: Bools) -> int:
    """Return how many times faces are dealt into folds where these, (N,), are judged."""
    return max(1, min(DEALS, DEALT // max(int(rows.sum()), 1)))


def clearly(given: Doubles) -> Bools:
    """Return which class each label names, (N, C); none where annotators tie: the order of classes says nothing."""
    first = given == given.max(1, keepdims=True)
    named: Bools = first & (first.sum(1, keepdims=True) == 1)
    return named


def emptied(refined: Doubles, given: Doubles, rows: Bools) -> list[int]:
    """Return the classes that labels (N, C) of the chosen faces name and no refined distribution leads with."""
    led = refined[rows] >= refined[rows].max(1, keepdims=True) - LEVEL
    gone: list[int] = np.flatnonzero(clearly(given[rows]).any(0) & ~led.any(0)).tolist()
    return gone


def surest_stay(refined: Doubles, given: Doubles, rows: Bools) -> tuple[Doubles, Doubles]:
    """Return refined distributions (N, C) in which no given class is left without a face, and `Refinement.kept`, (N,).

    Of a class that no refined label is left of, as many labels stay as are expected to be right (the sum of r over
    them, at least one): those of greatest r, r mixed with y until the label leads.
    """
    clear, answer, kept = clearly(given), refined.copy(), np.zeros(len(refined))
    for c in emptied(refined, given, rows):
        faces = np.flatnonzero(rows & clear[:, c])
        count = max(1, int(refined[faces, c].sum()))
        surest = faces[np.argsort(-refined[faces, c], kind="stable")[:count]]
        answer[surest] = leading(refined[surest], given[surest])
        kept[surest] = leading_share(refined[surest], given[surest])
    return answer, kept


def kept_notes(samples: Samples, stays: Bools) -> tuple[str, ...]:
    """Return what to say of the labels that `surest_stay` kept, `Refinement.stays` (N,): a sentence a class."""
    labels = samples.label[stays]
    return tuple(
        f"All {samples.classes[c]} labels would have changed; the surest keep theirs, and their reasons say so: "
        f"{int((labels == c).sum()):,}."
        for c in np.unique(labels)
    )


def shares_on_label(
    samples: Samples, known: Mapping[str, Bools], first: Doubles, external: Mapping[str, Posteriors]
) -> dict[str, Floats]:
    """Return how much of what each expert says lies on the given label, (N,); NaN where it does not know the face."""
    given = samples.given.astype(np.float64)
    says = {PROBE: first} | {name: table.values.astype(np.float64) for name, table in external.items()}
    return {
        name: np.where(known[name] & samples.labeled, own_share(given, rows), np.nan).astype(np.float32)
        for name, rows in says.items()
    }


def _posterior(samples: Samples, first: Doubles, known: Bools) -> Posteriors:
    """Return the joined experts of the first round as posteriors, to give reasons by."""
    rows = np.where(known[:, None], first, 0.0).astype(np.float32)
    return Posteriors(PROBE, samples.ids, samples.classes, rows, known, learned=True)
