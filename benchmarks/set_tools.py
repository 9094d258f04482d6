"""Who is asked about a set in by_set.py: our methods, parts of `consensus` left out, and the simplest rivals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
from case import Question, Shared, evidence_for, question
from peers.bars import linear_aum
from peers.base import K, Verdict

from fercleaner.classifiers.probe import PROBE
from fercleaner.core.arrays import Doubles, Ints
from fercleaner.core.evidence import Evidence
from fercleaner.core.numeric import normalized
from fercleaner.core.types import Posteriors, Refinement, Samples
from fercleaner.evaluation.bootstrap import weighted_average_precision
from fercleaner.methods import build
from fercleaner.methods.consensus import consensus
from fercleaner.noise.class_priors import UNSEEN, WILD, base_rates

#: Our methods beside `consensus`; `ambiguous` takes several times as long as all others together.
METHODS = ("hypergraph", "landmark", "threshold", "au-prior")
#: Draws of groups behind an interval.
DRAWS = 200


def no_random(noise: Any) -> Any:
    """Return the noise as if all of it were shared by annotators."""
    return replace(noise, random=0.0)


def no_even(noise: Any) -> Any:
    """Return the noise with a transition matrix as the only model of random noise."""
    (_, full), (_, even) = noise.models
    return replace(noise, models=((1.0, full), (0.0, even)))


#: Parts of `consensus` that --without drops: settings, what becomes of the noise that it measures, or other functions.
PARTS: Mapping[str, Any] = {
    "proof": ("verified", lambda gained: 1.0),
    "second-round": {"rounds": "1"},
    "base-rates": {"base_rates": "none"},
    "random-noise": no_random,
    "one-rate": no_even,
}


@contextmanager
def without(part: str | None) -> Iterator[dict[str, str]]:
    """Give the settings of `consensus` without a part, and drop the part meanwhile."""
    how = PARTS.get(part or "", {})
    if isinstance(how, dict):
        yield how
        return
    if isinstance(how, tuple):
        with patch.object(consensus, *how):
            yield {}
        return
    measure = consensus.measured_noise
    with patch.object(consensus, "measured_noise", lambda joined, labels: how(measure(joined, labels))):
        yield {}


def verdict(answer: Refinement) -> Verdict:
    """Return what a method of ours says, as peers say it."""
    return Verdict(
        1.0 - answer.quality.astype(np.float64), answer.flagged, answer.label, answer.distribution.astype(np.float64)
    )


def by_consensus(samples: Samples, shared: Shared, outside: Posteriors | None, part: str | None, seed: int) -> Any:
    """Return what `consensus` answers, beside external posteriors where there are any."""
    told = {} if outside is None else {outside.name: outside}
    evidence = Evidence(samples, dict(shared.evidence.features), posteriors=told)
    with without(part) as settings:
        return build("consensus", settings).refine(evidence, np.random.default_rng(seed))


def rivals(samples: Samples, shared: Shared, answer: Refinement, seed: int) -> Iterator[tuple[str, Verdict]]:
    """Yield what our other methods and the simplest peers say; `answer` is that of `consensus` without posteriors."""
    asked: Question = question(shared, samples, seed, "cpu")
    for name in METHODS:
        method = build(name)
        evidence = evidence_for(method, asked.evidence, K)
        if (name == "landmark" and evidence.landmarks is None) or (name == "au-prior" and not evidence.action_units):
            continue
        yield name, verdict(method.refine(evidence, np.random.default_rng(seed)))
    yield "linear AUM", linear_aum(asked.case)
    rates = base_rates(samples.classes, WILD)
    if rates is not None:
        for name, posterior in (("linear", asked.case.posterior), ("kernel", answer.posteriors[PROBE].values)):
            yield f"{name} probe x base rates", told_rates(posterior, asked.case.prior, rates, asked.case.given)


def told_rates(posterior: Any, prior: Doubles, rates: Doubles, given: Ints) -> Verdict:
    """Return out-of-fold posteriors times base rates over the labels' frequencies, as a verdict."""
    ratio = np.where(prior > UNSEEN, rates / np.maximum(prior, UNSEEN), 0.0)
    rows = normalized(np.asarray(posterior, dtype=np.float64) * ratio)
    suspicion = 1.0 - rows[np.arange(len(given)), given]
    return Verdict(suspicion, suspicion > 0.5, rows.argmax(1), rows)


def group_draws(number: Ints, seed: int) -> Doubles:
    """Return how often each face counts where groups are drawn with replacement, (`DRAWS`, N); `number` (N,) from 0."""
    rng, count = np.random.default_rng([seed, 3]), int(number.max()) + 1
    drawn = [np.bincount(rng.integers(count, size=count), minlength=count)[number] for _ in range(DRAWS)]
    return np.stack(drawn).astype(np.float64)


def intervals(said: Verdict, wrong: Any, right: Any, group: Ints, seed: int) -> dict[str, list[float] | None]:
    """Return 95 % of the bootstrap's draws of average precision and accuracy; groups are drawn, faces stay together."""
    weights = group_draws(np.unique(group, return_inverse=True)[1], seed)
    area = weighted_average_precision(said.suspicion, wrong, weights) if wrong.any() else None
    share = None if right is None else (weights * right).sum(1) / weights.sum(1)
    return {
        name: None if draws is None else [round(float(x), 4) for x in np.quantile(draws, [0.025, 0.975])]
        for name, draws in (("average_precision_95", area), ("accuracy_95", share))
    }
