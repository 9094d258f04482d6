"""One set of given labels made ready for every method and peer: evidence gathered once and shared."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from beds import Bed
from peers.base import Case, K

from fercleaner.classifiers.probe import cross_fit
from fercleaner.core.arrays import Floats
from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.groups import group_numbers
from fercleaner.core.types import Features, Neighbors, Refinement, Samples
from fercleaner.methods.base import Method
from fercleaner.noise.injection import NoiseSpec, transition_matrix
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import LANDMARKS, gather
from fercleaner.similarity.whitening import JOINT, join, whiten


@dataclass(frozen=True)
class Everything:
    """Stands for a method in `gather`: asks for all evidence that does not hang on the labels."""

    name: ClassVar[str] = "everything"
    paper: ClassVar[str] = ""
    needs: ClassVar[frozenset[str]] = frozenset({"features", "neighbors", "joint", "landmarks", "action_units"})
    optional: ClassVar[frozenset[str]] = frozenset()

    k: int = K

    def refine(self, evidence: Evidence, rng: np.random.Generator) -> Refinement:
        """Never called."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Shared:
    """What methods and peers share on the faces of a bed, whatever their labels.

    Parameters
    ----------
    bed : Bed
    evidence : Evidence
        Views, neighbor tables of `K` or more, landmarks and action units; no posteriors.
    vectors : (N, D) float32
        All views side by side, each prepared as for the neighbor tables.
    seconds : float
        Wall time of views and neighbors.
    """

    bed: Bed
    evidence: Evidence
    vectors: Floats
    seconds: float

    @classmethod
    def of(cls, bed: Bed, k: int, device: str) -> Shared:
        """Gather the evidence of `bed` with `k` neighbors a face."""
        start = time.perf_counter()
        seen = Sources(views=bed.views, landmarks=bed.landmarks)
        evidence = gather(bed.samples, Everything(k), seen, Resources(device=device), Callbacks())
        ready = {name: view if name == LANDMARKS else whiten(view) for name, view in evidence.features.items()}
        vectors = join(ready).values if len(ready) > 1 else next(iter(ready.values())).values
        return cls(bed, evidence, vectors, time.perf_counter() - start)

    @property
    def joint(self) -> Neighbors:
        """Neighbors by all views side by side."""
        tables = self.evidence.neighbors
        return tables[JOINT] if JOINT in tables else next(iter(tables.values()))


@dataclass(frozen=True, eq=False)
class Question:
    """Given labels with their evidence: `evidence` for our methods, `case` for peers, `probe_seconds` of the probe.

    No case where no probe was trained.
    """

    evidence: Evidence
    case: Case | None
    probe_seconds: float


def question(shared: Shared, samples: Samples, seed: int, device: str) -> Question:
    """Return what is asked about `samples`, the faces of `shared` under labels of their own."""
    start = time.perf_counter()
    probe = cross_fit(samples, shared.evidence.features, seed=seed, device=device)
    seconds = time.perf_counter() - start
    evidence = replace(shared.evidence, samples=samples, posteriors={"probe": probe})
    given = samples.label
    prior = np.bincount(given, minlength=len(samples.classes)) / len(given)
    table = shared.joint
    assert probe.margin is not None  # cross_fit measures it always
    case = Case(
        given=given,
        n_classes=len(samples.classes),
        vectors=shared.vectors,
        group=group_numbers(samples.ids, samples.group),
        indices=table.indices[:, :K],
        similarity=table.similarity[:, :K],
        posterior=np.where(probe.found[:, None], probe.values.astype(np.float64), prior),
        margin=probe.margin.astype(np.float64),
        # annotators chose among the labels that the set came with, not among those put on it since
        annotators=shared.bed.annotators if samples is shared.bed.samples else None,
    )
    return Question(evidence, case, seconds)


def evidence_for(method: Method, evidence: Evidence, default_k: int) -> Evidence:
    """Return the part of `evidence` that `method` declares, as the pipeline would gather it."""
    wanted = method.needs | method.optional
    k = int(getattr(method, "k", default_k))
    tables = {
        name: Neighbors(name, table.ids, table.indices[:, :k], table.similarity[:, :k])
        for name, table in evidence.neighbors.items()
        if "neighbors" in wanted and (name != JOINT or "joint" in wanted)
    }
    return replace(
        evidence,
        neighbors=tables,
        posteriors=evidence.posteriors if "posteriors" in wanted else {},
        action_units=evidence.action_units if "action_units" in wanted else None,
    )


def relabeled(bed: Bed, spec: NoiseSpec, seed: int, vectors: Floats) -> Samples:
    """Return the samples of `bed` under a noise put on their true labels; "human" without a rate is the given labels.

    "human" with a rate puts on the transition matrix from truth to given label measured on `bed`.
    """
    matrix = None
    if spec.kind == "human":
        if not bed.noisy:
            raise InputError(f"'{bed.name}' came with clean labels, no human noise. Name another, as in symmetric:0.2.")
        if spec.rate is None:
            return bed.samples
        matrix = transition_matrix(bed.samples.label, bed.label, len(bed.samples.classes))
    rng = np.random.default_rng([seed, 7])
    noisy = spec.apply(bed.label, bed.samples.classes, rng, features=vectors, matrix=matrix)
    given = np.eye(len(bed.samples.classes), dtype=np.float32)[noisy.labels]
    return bed.samples.replacing(given=given)


def view_summary(features: dict[str, Features]) -> list[dict[str, object]]:
    """Return name, width and count of each view."""
    return [{"name": n, "width": int(v.values.shape[1]), "found": int(v.found.sum())} for n, v in features.items()]
