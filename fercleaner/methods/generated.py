"""Generated faces for checking methods: clusters with flipped labels, and changes that must not matter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..classifiers.probe import PROBE
from ..core.arrays import Bools, Ints
from ..core.errors import InputError
from ..core.evidence import Evidence
from ..core.expressions import BASIC, COMPOUND
from ..core.numeric import softmax
from ..core.types import ActionUnits, Features, Landmarks, Neighbors, Posteriors, Samples
from ..similarity.whitening import JOINT, join
from .au_prior.tables import prior

#: Posterior of the true class in logits above the others: an accuracy of about .9.
_PROBE_LOGIT = 3.0
#: Spread of a face around its cluster, in a space where clusters lie about sqrt(2 * dimensions) apart.
_SPREAD = 0.7
_DIMENSIONS = 8


class Generated(NamedTuple):
    """Evidence, and the class (N,) that each face was drawn from."""

    evidence: Evidence
    truth: Ints


def make_evidence(
    rng: np.random.Generator,
    n: int = 60,
    classes: int | Sequence[str] = 4,
    *,
    k: int = 6,
    flips: float = 0.2,
    unlabeled: float = 0.15,
    missing: float = 0.1,
    soft: bool = False,
    used: int | None = None,
    views: Sequence[str] = ("emotion", "expression", "landmarks"),
) -> Generated:
    """Draw faces in one cluster a class, with some labels flipped and some evidence missing.

    Parameters
    ----------
    n, classes : int, int or class names
        Faces and classes; a number takes that many names of expressions.
    k : int
        Neighbors a face; padded where fewer faces have the view.
    flips, unlabeled, missing : float in [0, 1]
        Share of labels moved to another class, of faces without label, and of faces that lack a vector in
        a view (each view on its own), landmarks, action units, or posteriors. At least two faces (one if
        there is one class in use) stay labeled.
    soft : bool
        Spread 40 % of each given label over the other classes.
    used : int, optional
        Draw faces from the first `used` classes only; the others have no face.
    views : names
        Of the feature views; each sees the clusters from another random side.
    """
    names = tuple((BASIC + COMPOUND)[:classes]) if isinstance(classes, int) else tuple(classes)
    c = len(names)
    live = c if used is None else used
    if not 1 <= live <= c:
        raise InputError(f"used is {used}; it must lie between 1 and the {c} classes.")
    truth = rng.permutation(np.arange(n) % live).astype(np.int64)
    noisy = np.where(rng.random(n) < flips, (truth + rng.integers(1, max(live, 2), n)) % live, truth)
    given = np.eye(c)[noisy]
    if soft:
        given = 0.6 * given + 0.4 * rng.dirichlet(np.ones(c), n)
    labeled = rng.random(n) >= unlabeled
    labeled[:2] = True
    given = np.where(labeled[:, None], given, 0.0)
    ids = np.array([f"face-{number:04d}" for number in rng.permutation(n)])
    samples = Samples(ids, names, given.astype(np.float32), labeled, np.full(n, ""))
    features = {}
    for view in views:
        found = rng.random(n) >= missing
        center = rng.normal(size=(c, _DIMENSIONS))
        values = center[truth] + _SPREAD * rng.normal(size=(n, _DIMENSIONS))
        features[view] = Features(view, ids, np.where(found[:, None], values, 0).astype(np.float32), found)
    return Generated(
        Evidence(
            samples,
            features,
            {view: _neighbors(table, k) for view, table in {**features, JOINT: join(features)}.items()},
            {PROBE: _posteriors(rng, samples, truth, missing)},
            _landmarks(rng, ids, missing),
            _action_units(rng, samples, truth, missing),
        ),
        truth,
    )


def renumbered(evidence: Evidence, order: Ints) -> Evidence:
    """Return `evidence` with face order[r] in row r; neighbor tables point to the new rows."""
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    neighbors = {}
    for view, table in evidence.neighbors.items():
        moved = np.where(table.indices >= 0, inverse[table.indices], -1)[order]
        neighbors[view] = Neighbors(table.view, table.ids[order], moved, table.similarity[order])
    return Evidence(
        _rows(evidence.samples, order),
        {view: _rows(table, order) for view, table in evidence.features.items()},
        neighbors,
        {name: _rows(table, order) for name, table in evidence.posteriors.items()},
        _rows(evidence.landmarks, order),
        _rows(evidence.action_units, order),
        evidence.device,
    )


def with_class_order(evidence: Evidence, order: Ints, *, rename: bool = False) -> Evidence:
    """Return `evidence` with old class column order[c] in column c.

    The names go along with their columns; with `rename` they stay where they were, so that every class is
    called by another's name.
    """
    old = evidence.samples
    classes = old.classes if rename else tuple(old.classes[c] for c in order)
    votes = None if old.votes is None else old.votes[:, order]
    posteriors = {
        name: replace(table, classes=classes, values=table.values[:, order])
        for name, table in evidence.posteriors.items()
    }
    samples = old.replacing(classes=classes, given=old.given[:, order], votes=votes)
    return replace(evidence, samples=samples, posteriors=posteriors)


def with_view_twice(evidence: Evidence, view: str) -> Evidence:
    """Return `evidence` with the vectors and the neighbors of `view` once more, under another name."""
    copy = f"{view}, again"
    features, neighbors = dict(evidence.features), dict(evidence.neighbors)
    if view in features:
        features[copy] = replace(features[view], view=copy)
    if view in neighbors:
        neighbors[copy] = replace(neighbors[view], view=copy)
    return replace(evidence, features=features, neighbors=neighbors)


def without_evidence(evidence: Evidence, rows: Ints) -> Evidence:
    """Return `evidence` in which nothing is found of `rows` and they are nobody's neighbors."""
    keep = np.ones(len(evidence.samples), dtype=bool)
    keep[rows] = False
    neighbors = {
        view: _linked(table, keep[:, None] & keep[table.indices]) for view, table in evidence.neighbors.items()
    }
    return Evidence(
        evidence.samples,
        {view: _found_only(table, keep) for view, table in evidence.features.items()},
        neighbors,
        {name: _found_only(table, keep) for name, table in evidence.posteriors.items()},
        _found_only(evidence.landmarks, keep),
        _found_only(evidence.action_units, keep),
        evidence.device,
    )


def with_one_label_component(evidence: Evidence, rng: np.random.Generator) -> tuple[Evidence, Ints]:
    """Cut the faces of one given class off and let all evidence agree with it; return also their rows.

    They keep only neighbors of their own label, their posteriors become certain, their action units are
    unknown. Every view has all of them.
    """
    label = evidence.samples.label
    chosen = int(rng.choice(np.unique(label[label >= 0])))
    rows = np.flatnonzero(label == chosen)
    inside = label == chosen
    center = rng.normal(size=_DIMENSIONS) * 8
    features = {}
    for view, table in evidence.features.items():
        near = center[: table.values.shape[1]] + 0.1 * rng.normal(size=table.values.shape)
        features[view] = replace(
            table, values=np.where(inside[:, None], near, table.values), found=table.found | inside
        )
    neighbors = {}
    for view, links in evidence.neighbors.items():
        if view in features or view == JOINT:
            table = features[view] if view in features else join(features)
            neighbors[view] = _neighbors(table, links.k, inside)
        else:
            neighbors[view] = _linked(links, inside[:, None] == inside[links.indices])
    posteriors = {}
    for name, source in evidence.posteriors.items():
        sure = np.eye(len(source.classes))[chosen]
        posteriors[name] = replace(
            source,
            values=np.where(inside[:, None], sure, source.values),
            found=source.found | inside,
            margin=None if source.margin is None else np.where(inside, 1.0, source.margin),
        )
    changed = Evidence(
        evidence.samples,
        features,
        neighbors,
        posteriors,
        evidence.landmarks,
        _found_only(evidence.action_units, ~inside),
        evidence.device,
    )
    return changed, rows


def arrays_of(value: Any, name: str = "evidence") -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield (name, array) of every array inside nested dataclasses and mappings."""
    if isinstance(value, np.ndarray):
        yield name, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from arrays_of(part, f"{name}['{key}']")
    elif is_dataclass(value):
        for field in fields(value):
            yield from arrays_of(getattr(value, field.name), f"{name}.{field.name}")


def _neighbors(features: Features, k: int, inside: Bools | None = None) -> Neighbors:
    """Return the k nearest by cosine over all pairs (small N), none across `inside`."""
    n = len(features)
    length = np.linalg.norm(features.values, axis=1, keepdims=True)
    unit = features.values / np.where(length > 0, length, 1)
    similarity = np.clip(unit @ unit.T, -1.0, 1.0).astype(np.float32)
    allowed = features.found[:, None] & features.found & ~np.eye(n, dtype=bool)
    if inside is not None:
        allowed &= inside[:, None] == inside
    value = np.where(allowed, similarity, -np.inf)
    order = np.argsort(-value, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(value, order, 1)
    indices = np.where(np.isfinite(best), order, -1)
    best = np.where(np.isfinite(best), best, 0)
    if order.shape[1] < k:
        pad = ((0, 0), (0, k - order.shape[1]))
        indices, best = np.pad(indices, pad, constant_values=-1), np.pad(best, pad)
    return Neighbors(features.view, features.ids, indices, best)


def _linked(table: Neighbors, keep: Bools) -> Neighbors:
    """Return `table` with only the links in `keep` (N, k), the holes closed."""
    keep = keep & (table.indices >= 0)
    order = np.argsort(~keep, axis=1, kind="stable")
    kept = np.take_along_axis(keep, order, 1)
    return replace(
        table,
        indices=np.where(kept, np.take_along_axis(table.indices, order, 1), -1),
        similarity=np.where(kept, np.take_along_axis(table.similarity, order, 1), 0),
    )


def _posteriors(rng: np.random.Generator, samples: Samples, truth: Ints, missing: float) -> Posteriors:
    n, c = samples.given.shape
    logits = rng.normal(size=(n, c)) + _PROBE_LOGIT * np.eye(c)[truth]
    values = softmax(logits)
    found = np.asarray(rng.random(n) >= missing)
    own = values[np.arange(n), np.maximum(samples.label, 0)]
    margin = np.where(found & samples.labeled, own - 0.5, 0.0)
    kept = np.where(found[:, None], values, 0.0).astype(np.float32)
    return Posteriors(PROBE, samples.ids, samples.classes, kept, found, margin.astype(np.float32), learned=True)


def _landmarks(rng: np.random.Generator, ids: NDArray[np.str_], missing: float) -> Landmarks:
    found = rng.random(len(ids)) >= missing
    points = rng.uniform(20, 80, size=(68, 2)) + rng.normal(size=(len(ids), 68, 2))
    confidence = np.where(found, rng.uniform(0.5, 1.0, len(ids)), 0.0)
    return Landmarks(ids, np.where(found[:, None, None], points, 0), found, confidence)


def _action_units(rng: np.random.Generator, samples: Samples, truth: Ints, missing: float) -> ActionUnits:
    table = prior("du2014")
    known = [name for name in samples.classes if name in table.expressions]
    rate = {name: table.rates[table.expressions.index(name)] for name in known}
    blank = table.rates.mean(0)
    expected = np.stack([rate.get(samples.classes[c], blank) for c in truth])
    values = np.clip(expected + 0.15 * rng.normal(size=expected.shape), 0.01, 0.99)
    found = rng.random(len(truth)) >= missing
    quality = np.where(found, rng.uniform(0.3, 1.0, len(truth)), 0.0)
    return ActionUnits(samples.ids, table.units, np.where(found[:, None], values, 0), found, quality)


def _found_only(table: Any, keep: Bools) -> Any:
    """Return Features, Posteriors, Landmarks or ActionUnits with only the faces of `keep` found."""
    if table is None:
        return None
    found = table.found & keep
    changes: dict[str, Any] = {"found": found}
    for name in ("values", "probability", "points", "confidence", "quality", "margin", "blendshapes"):
        array = getattr(table, name, None)
        if array is not None:
            changes[name] = np.where(found.reshape((-1,) + (1,) * (array.ndim - 1)), array, 0)
    return replace(table, **changes)


def _rows(table: Any, order: Ints) -> Any:
    """Return a table of (N, ...) arrays with its rows taken in `order`."""
    if table is None:
        return None
    arrays = {field.name: getattr(table, field.name) for field in fields(table)}
    return replace(table, **{name: a[order] for name, a in arrays.items() if isinstance(a, np.ndarray)})
