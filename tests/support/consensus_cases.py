"""Generated sets for the tests of `consensus`, and its rule in loops on what the library's witnesses say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles_consensus as oracle

from fercleaner.classifiers.linear import fit_linear
from fercleaner.classifiers.nystroem import kernel_features
from fercleaner.classifiers.probe import calibrate, side_by_side
from fercleaner.core.evidence import Evidence
from fercleaner.core.groups import fold_numbers
from fercleaner.core.numeric import softmax
from fercleaner.core.types import Features, Posteriors, Samples
from fercleaner.methods.consensus.consensus import Consensus
from fercleaner.methods.consensus.experts import RIDGES, inferred_from_units
from fercleaner.methods.hypergraph.hypergraph import HypergraphPropagation
from fercleaner.noise.class_priors import base_rates
from fercleaner.similarity.distinct import distinct_features
from fercleaner.similarity.hypergraph import propagate
from fercleaner.similarity.neighbors import nearest

#: Sources with heads on the views.
HEADS = ("probe", "kernel_probe")
#: Sources of these names learned from the given labels.
LEARNED = ("probe", "mirror")
NAMES = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


def run(evidence, seed=0, **settings):
    return Consensus(**settings).refine(evidence, np.random.default_rng(seed))


def fold_of(samples, folds=5, seed=0):
    """The folds that `run` deals."""
    return fold_numbers(samples.ids, samples.group, folds, int(np.random.default_rng(seed).integers(2**31)))


def make_samples(given, labeled=None, classes=None, **more):
    given = np.asarray(given, dtype=np.float32)
    n, c = given.shape
    labeled = np.ones(n, dtype=bool) if labeled is None else np.asarray(labeled)
    ids = np.array([f"face-{i:04d}" for i in range(n)])
    given = np.where(labeled[:, None], given, 0)
    return Samples(ids, classes or NAMES[:c], given, labeled, np.full(n, ""), **more)


def witness(samples, values, name="elsewhere", found=None):
    found = np.ones(len(samples), dtype=bool) if found is None else found
    values = np.where(found[:, None], values, 0).astype(np.float32)
    return Posteriors(name, samples.ids, samples.classes, values, found, learned=name in LEARNED)


def hearing_too(evidence, values, name="elsewhere", found=None):
    """Evidence with one more posterior."""
    more = {**evidence.posteriors, name: witness(evidence.samples, values, name, found)}
    return replace(evidence, posteriors=more)


def seen_as(samples, values, *, k=15, found=None):
    """Evidence of one view: neighbors and vectors."""
    found = np.ones(len(samples), dtype=bool) if found is None else found
    values = np.where(found[:, None], values, 0).astype(np.float32)
    view = Features("a", samples.ids, values, found)
    return Evidence(samples, {"a": view}, {"a": nearest(view, k, device="cpu")})


def about_right(truth, c, rng):
    """Posteriors that put the true class first for about nine faces in ten."""
    right = np.exp(3 * np.eye(c)[truth] + rng.normal(size=(len(truth), c)))
    return right / right.sum(1, keepdims=True)


def crowd(seed, *, n=240, c=4, flips=0.25, cyclic=False, spread=2.2, unlabeled=0.0, dim=8):
    """Overlapping clusters with flipped labels: evidence of one view, true classes, posteriors that are about right."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % c
    to = (truth + 1) % c if cyclic else (truth + rng.integers(1, c, n)) % c
    named = np.where(rng.random(n) < flips, to, truth)
    samples = make_samples(np.eye(c)[named], rng.random(n) >= unlabeled)
    values = 1.5 * rng.normal(size=(c, dim))[truth] + spread * rng.normal(size=(n, dim))
    return seen_as(samples, values), truth, about_right(truth, c, rng)


def heads_alone(evidence, fold, target, name="probe"):
    """What heads say that were trained on `target`, (N, C) or (N, F, C), one after another; scores (N, F, C)."""
    samples = evidence.samples
    order = np.argsort(samples.ids)
    design, found = side_by_side(samples, evidence.features, order)
    if name == "kernel_probe":
        design, _ = kernel_features(distinct_features(evidence), order)
    folds, back = int(fold.max()) + 1, np.argsort(order)
    logits = []
    for b in range(folds):
        learns = (samples.labeled & (fold != b))[order] & found
        here = (target if target.ndim == 2 else target[:, b])[order].astype(np.float32)
        logits.append(fit_linear(design, here, learns[:, None], "cpu", None, RIDGES[name])[0][back, 0])
    logits, found = np.stack(logits, axis=1), found[back]
    if target.ndim == 2:
        own = logits[np.arange(len(fold)), fold][:, None]
        logits = logits / calibrate(own, samples.given, (found & samples.labeled)[:, None])
    return softmax(logits.astype(np.float64)), found


def sharpened(refined):
    """Each distribution squared, brought to sum 1."""
    return refined**2 / (refined**2).sum(-1, keepdims=True)


def look_alikes_again(graph, evidence, fold, refined, alpha):
    """What refined labels (N, F, C) say through the graph, run by run, without a face's own."""
    scores = []
    for b in range(int(fold.max()) + 1):
        told = refined[:, b] * (evidence.samples.labeled & (fold != b))[:, None]
        scores.append(np.clip(propagate(graph, told.astype(np.float32), alpha) - (1 - alpha) * told, 0, None))
    return np.stack(scores, axis=1).astype(np.float64)


def by_loops(evidence, **settings):
    """The answer of the loops: a dict of distribution, quality, weight, flagged, and the first round's leftovers."""
    method, samples = Consensus(**settings), evidence.samples
    given, labeled = samples.given.astype(np.float64), samples.labeled
    fold, everyone = fold_of(samples, method.folds), np.ones(len(samples), dtype=bool)
    graph = HypergraphPropagation(k=method.k, alpha=method.alpha, rounds=method.rounds, folds=method.folds)
    runs, operator = graph.runs(evidence, fold)
    scored, told = {"look_alikes": (runs.astype(np.float64), everyone)}, {}
    views = any(view.found.any() for view in evidence.features.values())
    if views:
        scored |= {name: heads_alone(evidence, fold, samples.given, name) for name in HEADS}
    else:
        for name, table in evidence.posteriors.items():
            if table.learned:
                told[name] = (table.values.astype(np.float64), table.found, False)
    units = inferred_from_units(evidence)
    if units is not None:
        told["action_units"] = (units.distribution, units.judged, True)
    outside = {n: (p.values.astype(np.float64), p.found) for n, p in evidence.posteriors.items() if not p.learned}
    rates = base_rates(samples.classes, method.base_rates)
    rates = None if rates is None else rates.tolist()
    first = oracle.first_round(scored, told, outside, given, labeled, fold, samples.site, rates)
    refined = first.refined
    if views:
        sharp = sharpened(first.runs)
        again = {"look_alikes": (look_alikes_again(operator, evidence, fold, sharp, method.alpha), everyone)}
        again |= {name: heads_alone(evidence, fold, sharp, name) for name in HEADS}
        refined = oracle.second_round(first, again, told)
    distribution, quality, weight, flagged = oracle.answer(first, refined, labeled)
    return {
        "distribution": distribution,
        "quality": quality,
        "weight": weight,
        "flagged": flagged,
        "evidence": first.evidence,
        "heard": np.array(first.said.heard),
        "noise": first.noise,
        "share": np.array(first.share),
    }
