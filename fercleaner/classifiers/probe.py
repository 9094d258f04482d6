"""Class posteriors of frozen views, cross-fitted: no face is judged by a head that saw its given label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Bools, Doubles, Floats, Ints, Progress, check_mapped
from ..core.devices import torch_device
from ..core.errors import InputError
from ..core.groups import fold_numbers
from ..core.numeric import fit_temperature, softmax
from ..core.types import Features, Posteriors, Samples
from ..similarity.distinct import repeated
from ..similarity.whitening import row_blocks
from .linear import fit_linear

#: Name of the posteriors that are fitted to the given labels, out of fold.
PROBE = "probe"

#: Name of what the same heads say of the mirrored faces.
MIRROR = "mirror"

#: Strength, in faces, of the belief that the temperature is 1.
TEMPERATURE_PRIOR = 5.0


def cross_fit(
    samples: Samples,
    features: Mapping[str, Features],
    *,
    folds: int = 5,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
) -> Posteriors:
    """Return the out-of-fold class posteriors of every face, and how its given label fared in training.

    A head, a multinomial logistic regression with ridge, is trained on the given labels of all folds but one and
    asked about the faces of that one; an unlabeled face gets the mean of all heads. With z the scores (logits) of
    the head that did not see the face,

        p_i = softmax(z_i / T),

    T > 0 chosen so that the given labels are likeliest out of fold (weakly held to 1). Folds keep every
    `Samples.group` together, spread the classes evenly, and depend on ids and `seed` alone, so renumbering the
    faces renumbers the answer.

    Parameters
    ----------
    samples : Samples
        Given labels may be distributions (soft targets).
    features : mapping of view -> Features
        Set side by side by `side_by_side`; rows in the order of `samples`.
    folds : int >= 2
        Fewer are used where there are fewer labeled groups.
    seed : int
        Deals the groups to folds.
    device : str
        "auto" (the GPU where torch sees one), "cpu", "cuda", "cuda:1", ...
    progress : callable (done, total), optional

    Returns
    -------
    Posteriors
        `name` "probe", `learned`; `found` is False where a face has no vector in any view, or where no head could be
        trained without it. `margin` is the area under the margin: the score of the given label (the likeliest,
        of a distribution) less the best other score, averaged over the training steps and over the folds that
        trained on the face; low = the label was never learned from the others; 0 where not trained on.

    Raises
    ------
    InputError
        No view, a view in another order, or one whose file has become shorter, no labeled face with a vector, an
        unknown device.

    Cost
    ----
    2 x steps x N x D x C x folds multiply-adds; 100,000 faces x 512, 8 classes: below a minute on two cores.

    Source
    ------
    Area under the margin: Pleiss, Zhang, Elenberg and Weinberger, Identifying Mislabeled Data using the Area
    Under the Margin Ranking, NeurIPS 2020, eq. 1-2. Differs from it in: the head alone is trained, several
    folds are averaged, and no threshold samples are used. Steps: Nesterov with the restart of O'Donoghue and
    Candes, Foundations of Computational Mathematics 2015.
    """
    heads = _heads(samples, features, None, folds, seed, device, progress)
    return _posteriors(samples, heads.order, *_mean(heads.probability, heads.judges), heads.margin)


def mirror_fit(
    samples: Samples,
    features: Mapping[str, Features],
    mirrored: Mapping[str, Features],
    *,
    folds: int = 5,
    seed: int = 0,
    device: str = "auto",
) -> Posteriors:
    """Return what the heads of `cross_fit` say of the mirrored faces, out of fold too.

    The heads are fitted to the faces as they are, on the same folds, with the same temperature; the mirrored vectors
    are standardized by those of the faces as they are.

    Parameters
    ----------
    samples, features, folds, seed, device
        As in `cross_fit`.
    mirrored : mapping of view -> Features
        Views of the mirrored pictures, by name; a view that is not there is taken as it is.

    Returns
    -------
    Posteriors
        `name` "mirror", `learned`.
    """
    heads = _heads(samples, features, mirrored, folds, seed, device, None)
    values, found = _mean(heads.mirrored, heads.judges & heads.seen[:, None])
    answer = _posteriors(samples, heads.order, values, found, np.zeros(len(found)))
    return replace(answer, name=MIRROR, margin=None)


class _Heads(NamedTuple):
    """What the heads of all folds say, rows by fold and id: of the faces and of the mirrored ones, (N, F, C)."""

    order: Ints
    judges: Bools
    probability: Doubles
    mirrored: Doubles
    seen: Bools
    margin: Doubles


def _heads(
    samples: Samples,
    features: Mapping[str, Features],
    mirrored: Mapping[str, Features] | None,
    folds: int,
    seed: int,
    device: str,
    progress: Progress | None,
) -> _Heads:
    """Train the heads on the faces as they are and ask them about these and, where there are any, mirrored ones."""
    if folds < 2:
        raise InputError(f"folds is {folds}; cross-fitting needs at least 2.")
    if not features:
        raise InputError("The probe needs features: add --encoder or --view NAME=FILE.")
    _check_order(samples, features)
    usable = np.logical_or.reduce([view.found for view in features.values()])
    dealt = assign_folds(samples, folds, seed, usable=usable)
    order = samples.by_id[np.argsort(dealt[samples.by_id], kind="stable")]  # rows of one fold side by side, by id
    fold = dealt[order]
    design, found = side_by_side(samples, features, order)
    other, seen = side_by_side(samples, features, order, instead=mirrored) if mirrored else (None, found)
    given = np.asarray(samples.given, dtype=np.float32)[order]
    used = found & samples.labeled[order]
    if not used.any():
        raise InputError("No labeled face has a vector in any view; the probe has nothing to learn from.")
    trains, judges = roles(fold, used, found)
    n = len(order)
    if not judges.any():
        nothing = np.zeros((n, judges.shape[1], given.shape[1]))
        return _Heads(order, judges, nothing, nothing, seen, np.zeros(n))
    logits, margin = fit_linear(design, given, trains, torch_device(device), progress, also=other)
    temperature = calibrate(logits[:n], given, judges & used[:, None])
    probability = softmax((logits / temperature).astype(np.float64))
    area = np.where(trains, margin, 0.0).sum(1) / np.maximum(trains.sum(1), 1)
    return _Heads(order, judges, probability[:n], probability[n:], seen, area)


def _mean(probability: Doubles, judges: Bools) -> tuple[Doubles, Bools]:
    """Return the mean over the heads that may judge each face, and which faces one may."""
    share = judges / np.maximum(judges.sum(1, keepdims=True), 1)
    return np.einsum("nf,nfc->nc", share, probability), np.asarray(judges.any(1))


def side_by_side(
    samples: Samples,
    features: Mapping[str, Features],
    order: Ints | None = None,
    *,
    instead: Mapping[str, Features] | None = None,
) -> tuple[Floats, Bools]:
    """Return the views set side by side as (N, D) float32, and which faces have a vector in any view.

    Within a view every column is brought to mean 0 and deviation 1 over the faces that have a vector, then every
    row to length 1. A face without one gets zeros and 1 in a column that says so. A view given twice under two
    names counts once.

    Parameters
    ----------
    order : (N,) int64, optional
        Row numbers: the order of the answer's rows; that of `samples` by default.
    instead : mapping of view -> Features, optional
        Other vectors of the same encoders to set side by side: everything but the vectors is that of `features`.
    """
    _check_order(samples, features)
    rows = np.arange(len(samples)) if order is None else order
    again = repeated({name: (view.values, view.found) for name, view in features.items()})
    views = {name: features[name] for name in sorted(features) if name not in again and features[name].found.any()}
    any_found = np.zeros(len(rows), dtype=np.bool_)
    width = sum(view.values.shape[1] + (not view.found.all()) for view in views.values())
    design: Floats = np.zeros((len(rows), max(1, width)), dtype=np.float32)
    column = 0
    for name, view in views.items():
        shown = (instead or {}).get(name, view)
        check_mapped(shown.values, f"View '{name}'")
        found = shown.found[rows]
        end = column + view.values.shape[1]
        _standardize(shown.values, rows, found, view, design[:, column:end])
        if not view.found.all():
            design[:, end] = ~found
            end += 1
        column = end
        any_found |= found
    return design, any_found


def _check_order(samples: Samples, features: Mapping[str, Features]) -> None:
    for name, view in features.items():
        if not np.array_equal(view.ids, samples.ids):
            raise InputError(f"View '{name}' is not in the order of the samples; align it by id first.")


def _standardize(values: Floats, rows: Ints, found: Bools, have: Features, out: Floats) -> None:
    """Write some rows by mean and deviation of what `have` has, each of length 1; zeros where not `found` (N,)."""
    mean, deviation = _moments(have)
    # a column that hardly moves beside the others is rounding, and is not blown up
    floor = 1e-3 * float(np.sqrt(np.mean(deviation**2)))
    scale = np.where(deviation > floor, 1.0 / np.where(deviation > floor, deviation, 1.0), 0.0)
    for part in row_blocks(len(rows)):
        block = (values[rows[part]] - mean.astype(np.float32)) * scale.astype(np.float32)
        block[~found[part]] = 0.0
        length = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
        np.divide(block, np.where(length > 0, length, 1.0).astype(np.float32)[:, None], out=out[part])


def _moments(have: Features) -> tuple[Doubles, Doubles]:
    """Return mean and deviation of each column over the faces that have a vector, (D,) each, in one pass."""
    near = have.values[np.flatnonzero(have.found)[0]].astype(np.float64)
    total, squares = np.zeros_like(near), np.zeros_like(near)
    for part in row_blocks(len(have)):
        off = have.values[part][have.found[part]] - near
        total += off.sum(0)
        squares += np.einsum("nd,nd->d", off, off)
    total /= have.found.sum()
    return near + total, np.sqrt(np.maximum(squares / have.found.sum() - total**2, 0.0))


def assign_folds(samples: Samples, folds: int, seed: int, *, usable: Bools | None = None) -> Ints:
    """Return the fold of every face, (N,) int64 in 0 .. F-1 with F at most `folds`, classes spread evenly.

    As `groups.fold_numbers` over the given labels of `usable` faces, so that no fold is without one. Faces on which
    annotators tie between the same classes are dealt as a class of their own: the order of classes says nothing.
    """
    counts = samples.labeled if usable is None else samples.labeled & usable
    label = np.where(counts, samples.label, -1)
    first = samples.given >= samples.given.max(1, keepdims=True)
    tied = counts & (first.sum(1) > 1)
    label[tied] = first.shape[1] + np.unique(first[tied], axis=0, return_inverse=True)[1].reshape(-1)
    return fold_numbers(samples.ids, samples.group, folds, seed, label=label)


def roles(fold: Ints, used: Bools, found: Bools) -> tuple[Bools, Bools]:
    """Return which faces train each fold's head and which it may judge, both (N, F)."""
    own = fold[:, None] == np.arange(int(fold.max()) + 1)
    trains = used[:, None] & ~own
    judges = np.where(used[:, None], own, True) & found[:, None] & trains.any(0)
    return trains, judges


def _posteriors(samples: Samples, order: Ints, values: Any, found: Bools, margin: Any) -> Posteriors:
    probability = np.zeros(values.shape)
    rows = np.zeros(len(order), dtype=np.bool_)
    area = np.zeros(len(order))
    probability[order], rows[order], area[order] = values, found, margin
    probability[~rows] = 0.0
    return Posteriors(
        name=PROBE,
        ids=samples.ids,
        classes=samples.classes,
        values=probability.astype(np.float32),
        found=rows,
        margin=area.astype(np.float32),
        learned=True,
    )


def calibrate(logits: Floats, given: Floats, judged: Bools) -> float:
    """Return the temperature at which the given labels are likeliest under softmax(logits / T).

    Parameters
    ----------
    logits : (N, F, C) float32
    given : (N, C) float32
    judged : (N, F) bool
        Which scores count. The answer lies in [0.1, 10] and is held to 1 as if by TEMPERATURE_PRIOR faces.
    """
    z = logits[judged].astype(np.float64)
    y = np.broadcast_to(given[:, None, :], logits.shape)[judged]
    return fit_temperature(z, y.astype(np.float64), belief=TEMPERATURE_PRIOR, tolerance=1e-4)
