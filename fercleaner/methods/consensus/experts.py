"""The inside witnesses of `consensus`: look-alikes, probes and action units, taught by labels, then refined ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ...classifiers.linear import KERNEL_RIDGE, RIDGE, fit_linear
from ...classifiers.nystroem import kernel_features
from ...classifiers.probe import PROBE, calibrate, side_by_side
from ...core.arrays import Bools, Doubles, Floats, Ints
from ...core.devices import torch_device
from ...core.errors import InputError
from ...core.evidence import Evidence
from ...core.numeric import normalized, softmax
from ...core.types import Posteriors
from ...noise.label_model import lift, mean_vote
from ...similarity.distinct import distinct_features
from ...similarity.hypergraph import Hypergraph, propagate
from ..au_prior.au_prior import AuInference, AuPrior
from ..hypergraph.hypergraph import HypergraphPropagation

#: Names of the inside witnesses, beside `PROBE`.
LOOK_ALIKES, KERNEL_PROBE, ACTION_UNITS = "look_alikes", "kernel_probe", "action_units"
#: Strength of the ridge of each head.
RIDGES = {PROBE: RIDGE, KERNEL_PROBE: KERNEL_RIDGE}
#: Refined labels teach to this power, brought to sum 1: what little of a face goes to each other class is mostly
#: doubt, and of a rare class all such doubts together weigh more than its own faces (as sharpening in MixMatch,
#: Berthelot et al., NeurIPS 2019, T = 1/2).
SHARPENED = 2.0


@dataclass(frozen=True, eq=False)
class Witness:
    """What one witness says beyond what it says of faces in general.

    Parameters
    ----------
    own : (N, C) float64
        Lifts in which no label of the face's fold took part; zero where it does not know the face.
    runs : (N, F, C) float64, optional
        Lifts in the run of each fold, none of whose labels took part in it. None where a witness is not told
        fold by fold: it takes no part in labels that others learn from.
    known : (N,) bool
    """

    own: Doubles
    runs: Doubles | None
    known: Bools

    @classmethod
    def of_scores(cls, scores: Doubles, fold: Ints, known: Bools) -> Witness:
        """Build a witness from scores >= 0 of each fold's run, (N, F, C); rows of no mass say nothing."""
        own = scores[np.arange(len(fold)), fold]
        speaks = known & (own.sum(1) > 0)
        says = speaks[:, None] & (scores.sum(2) > 0)
        runs = np.where(says[:, :, None], lift(scores, mean_vote(own, speaks)), 0.0)
        return cls(runs[np.arange(len(fold)), fold], runs, speaks)

    @classmethod
    def of_table(cls, table: Doubles, known: Bools, *, learned: bool) -> Witness:
        """Build a witness from one distribution a face, (N, C), `learned` from labels of other folds or not."""
        speaks = known & (table.sum(1) > 0)
        own = np.where(speaks[:, None], lift(table, mean_vote(table, speaks)), 0.0)
        return cls(own, None if learned else own[:, None, :], speaks)


class Round:
    """The witnesses that learn from labels, fold by fold: first from the given labels, again from refined ones.

    Heads are trained here on the views: linear ones on the views side by side (`PROBE`) and on Gaussian-kernel features
    of them (`KERNEL_PROBE`, see `kernel.kernel_features`). Posteriors that learned from the given labels elsewhere
    (`Posteriors.learned`) are asked only where there are no views: they say nothing of each fold's run.

    Parameters
    ----------
    evidence : Evidence
        `device` is where heads are trained.
    graph : HypergraphPropagation
        How look-alikes are told.
    fold : (N,) int64

    Raises
    ------
    InputError
        Posteriors that go by the name of a witness made here.
    """

    def __init__(self, evidence: Evidence, graph: HypergraphPropagation, fold: Ints) -> None:
        self._evidence, self._settings, self._fold = evidence, graph, fold
        samples = evidence.samples
        for name, table in evidence.posteriors.items():
            if name in (LOOK_ALIKES, KERNEL_PROBE, ACTION_UNITS) or (name == PROBE and not table.learned):
                raise InputError(
                    f"consensus: posteriors are called '{name}', which is a witness of its own"
                    + (f", but did not learn from the given labels ({name}.learned)." if name == PROBE else ".")
                    + " Give them another name."
                )
        self._kept = samples.labeled[:, None] & (fold[:, None] != np.arange(int(fold.max()) + 1))
        self._graph: Hypergraph | None = None
        self._designs: dict[str, Floats] = {}
        self._posteriors: dict[str, Posteriors] = {}
        self._order = np.argsort(samples.ids, kind="stable")
        if any(view.found.any() for view in evidence.features.values()):
            self._device = torch_device(evidence.device)
            self._designs[PROBE], found = side_by_side(samples, evidence.features, self._order)
            self._designs[KERNEL_PROBE], _ = kernel_features(distinct_features(evidence), self._order, self._device)
            self._found = np.zeros_like(found)
            self._found[self._order] = found

    @property
    def repeats(self) -> bool:
        """Whether there are views that a second round can learn from."""
        return bool(self._designs)

    @property
    def posteriors(self) -> dict[str, Posteriors]:
        """What the linear heads of the first round say of each face, none of which saw a label of its fold; by name."""
        return dict(self._posteriors)

    def first(self) -> dict[str, Witness]:
        """Return what the given labels teach."""
        evidence = self._evidence
        runs, self._graph = self._settings.runs(evidence, self._fold)
        everyone = np.ones(len(self._fold), dtype=np.bool_)
        witnesses = {LOOK_ALIKES: Witness.of_scores(runs.astype(np.float64), self._fold, everyone)}
        for name in self._designs:
            scores = self._scores(name, evidence.samples.given)
            witnesses[name] = Witness.of_scores(scores, self._fold, self._found)
            if name == PROBE:
                self._posteriors = {PROBE: self._posterior(scores, witnesses[name].known)}
        if not self._designs:
            for name, table in evidence.posteriors.items():
                if table.learned:
                    values = table.values.astype(np.float64)
                    witnesses[name] = Witness.of_table(values, np.asarray(table.found), learned=True)
        units = inferred_from_units(evidence)
        if units is not None and units.classes.all():
            witnesses[ACTION_UNITS] = Witness.of_table(units.distribution, units.judged, learned=False)
        return {name: witness for name, witness in witnesses.items() if witness.known.any()}

    def again(self, refined: Doubles, before: Mapping[str, Witness]) -> dict[str, Witness]:
        """Return what labels refined in each fold's run, (N, F, C), teach, sharpened; other witnesses as `before`."""
        assert self._graph is not None  # first() was called
        target = (normalized(refined**SHARPENED) * self._kept[:, :, None]).astype(np.float32)
        n = len(self._fold)
        runs = propagate(self._graph, target.reshape(n, -1), self._settings.alpha).reshape(target.shape)
        own = (1 - self._settings.alpha) * target
        everyone = np.ones(n, dtype=np.bool_)
        witnesses = dict(before)
        scores = np.clip(runs - own, 0, None).astype(np.float64)
        witnesses[LOOK_ALIKES] = Witness.of_scores(scores, self._fold, everyone)
        for name in self._designs:
            witnesses[name] = Witness.of_scores(self._scores(name, target), self._fold, self._found)
        return {name: witness for name, witness in witnesses.items() if witness.known.any()}

    def _scores(self, name: str, target: Floats) -> Doubles:
        """Return what heads say that were trained on `target`, (N, C) or (N, F, C), fold by fold.

        Distributions, (N, F, C); zero in a run without faces to learn from. Those of given labels, (N, C), are
        calibrated.
        """
        order = self._order
        trains = self._kept & self._found[:, None]
        logits = np.zeros((*trains.shape, target.shape[-1]), dtype=np.float32)
        told, _ = fit_linear(self._designs[name], target[order], trains[order], self._device, None, RIDGES[name])
        logits[order] = told
        if target.ndim == 2:
            own, labels = logits[np.arange(len(self._fold)), self._fold][:, None], self._evidence.samples
            logits = logits / calibrate(own, labels.given, (self._found & labels.labeled)[:, None])
        scores: Doubles = softmax(logits.astype(np.float64)) * trains.any(0)[:, None]
        return scores

    def _posterior(self, scores: Doubles, known: Bools) -> Posteriors:
        """Return what heads say of each face in the run of its own fold."""
        own = np.where(known[:, None], scores[np.arange(len(self._fold)), self._fold], 0.0).astype(np.float32)
        samples = self._evidence.samples
        return Posteriors(PROBE, samples.ids, samples.classes, own, known, learned=True)


def inferred_from_units(evidence: Evidence) -> AuInference | None:
    """Return what action units say; None without them, or where their table knows too few classes or units."""
    if evidence.action_units is None:
        return None
    try:
        return AuPrior().infer(evidence)
    except InputError:  # an optional witness that cannot judge this class set has no say
        return None
