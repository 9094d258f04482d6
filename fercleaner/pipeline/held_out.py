"""Splits that are judged but not learned from: their labels are hidden from the method and put back afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Doubles, Floats, Strings
from ..core.errors import InputError, did_you_mean
from ..core.evidence import Evidence
from ..core.numeric import row_stochastic
from ..core.refined import RefinedSet
from ..core.types import Refinement, Samples
from ..methods.base import leading
from ..noise.estimate import decided_joint, held_wrong
from ..results.assemble import unknown_to_views
from ..results.named_neighbors import named_neighbors, nearest_overall
from ..results.reasons import reasons

_T = TypeVar("_T", bound=np.generic)
Names = tuple[tuple[str, ...], ...]

#: Faces added to each row of the transition matrix, spread as the learned labels are.
SPREAD_FACES = 0.5
#: A distribution whose shares differ by no more says nothing of a face.
LEVEL = 1e-6


def hide(samples: Samples, learn_from: Sequence[str]) -> Samples:
    """Return `samples` without the labels of faces that are in none of the splits `learn_from`.

    Such a face is unlabeled to everything that follows; its note says so. Faces of no split ("") are among them
    unless "" is named.

    Raises
    ------
    InputError
        The set has no splits, or a named split has no labeled face.
    """
    if samples.split is None:
        raise InputError(
            "learn_from: the set has no splits. Name the column that holds them with --column split=NAME, or leave "
            "--learn-from out."
        )
    known = sorted(set(samples.split[samples.labeled].tolist()))
    for name in learn_from:
        if name not in known:
            raise InputError(
                f"learn_from: no labeled face is in split '{name}'.{did_you_mean(name, known)} The set has: "
                f"{', '.join(known) or 'none'}."
            )
    hidden = samples.labeled & ~np.isin(samples.split, list(learn_from))
    notes = np.full(len(samples), "") if samples.notes is None else samples.notes
    said = [
        f"labeled {samples.classes[label]}, not learned from (split {split or 'unnamed'})"
        for label, split in zip(samples.label[hidden].tolist(), samples.split[hidden].tolist(), strict=True)
    ]
    noted = notes.astype(object)
    noted[hidden] = said
    return samples.replacing(
        given=np.where(hidden[:, None], np.float32(0), samples.given),
        labeled=samples.labeled & ~hidden,
        notes=noted.astype(np.str_),
    )


def judge_hidden(refined: RefinedSet, samples: Samples, evidence: Evidence, answer: Refinement) -> RefinedSet:
    """Return `refined`, made of `evidence` with labels hidden, with these labels put back and judged.

    With p_i what the method says of a face whose label it does not know, and T the transition matrix that its
    refined labels of the learned faces let expect (`noise_estimate.decided_joint`, half a face added to a row),

        r_ic = sum_d y_id p_ic T[c, d] / sum_b p_ib T[b, d]

    is the distribution; y stays where p_i is even (nothing is known of the face) or where no learned face is labeled
    as y is (nothing is known of its class). Quality is <y_i, r_i> / max_c y_ic, the weight <y_i, r_i> / max_c r_ic, and
    a label is flagged when its quality is below one half. Where a precision was asked for, labels up to the threshold
    of the learned faces are flagged, and one that is not leads its distribution; T and quality are those without a
    precision. Rows of learned faces stay as they are, bit by bit.

    Parameters
    ----------
    refined : RefinedSet
    samples : Samples
        With all labels.
    evidence : Evidence
    answer : Refinement
        Of the method, before a precision was asked for.
    """
    rows = samples.labeled & ~refined.labeled
    given = samples.given[rows].astype(np.float64)
    given /= given.sum(1, keepdims=True)
    said = refined.distribution[rows].astype(np.float64)
    read = label_posterior(said, given, transition(evidence.samples, answer.distribution))
    named = evidence.samples.given.any(0)
    silent = (np.ptp(said, axis=1) < LEVEL) | ~given[:, named].any(1)
    read[silent] = given[silent]
    own = (given * read).sum(1)
    quality = np.clip(own / given.max(1), 0, 1).astype(np.float32)
    weight = np.clip(own / read.max(1), 0, 1).astype(np.float32)
    precision = refined.metadata.get("precision")
    if precision is None:
        flagged = quality < 0.5
    else:
        flagged = quality <= (-1.0 if precision["threshold"] is None else precision["threshold"])
        stays = ~flagged & held_wrong(given, read)
        read[stays] = leading(read[stays], given[stays])
    changed = held_wrong(given, read)
    neighbors = _named(refined, samples, evidence, rows)
    judged = replace(
        refined,
        labeled=samples.labeled,
        given=_put(refined.given, rows, samples.given[rows]),
        distribution=_put(refined.distribution, rows, read.astype(np.float32)),
        weight=_put(refined.weight, rows, weight),
        quality=_put(refined.quality, rows, quality),
        flagged=_put(refined.flagged, rows, flagged),
        changed=_put(refined.changed, rows, changed),
        neighbors_for=neighbors[0],
        neighbors_against=neighbors[1],
    )
    return replace(judged, reason=_reasons(judged, evidence, answer, rows))


def transition(samples: Samples, distribution: Floats) -> Doubles:
    """Return T (C, C): how the labels of the learned faces arise, by their refined `distribution` (N, C)."""
    rows = samples.labeled
    given = samples.given[rows].astype(np.float64)
    shares = (given / given.sum(1, keepdims=True)).mean(0)
    return row_stochastic(decided_joint(given, distribution[rows]) + SPREAD_FACES * shares)


def label_posterior(said: Doubles, given: Doubles, matrix: Doubles) -> Doubles:
    """Return sum_d y_d P(true | face, label d) of distributions `said` (M, C) and labels (M, C), rows of sum 1.

    Labels of no probability are left out; a row of which every label is left out stays as `said` has it.
    """
    predicted = said @ matrix
    ratio = np.where(predicted > 0, given / np.where(predicted > 0, predicted, 1.0), 0.0)
    product = said * (ratio @ matrix.T)
    mass = product.sum(1, keepdims=True)
    rows: Doubles = np.where(mass > 0, product / np.where(mass > 0, mass, 1.0), said)
    return rows


def _named(
    refined: RefinedSet, samples: Samples, evidence: Evidence, rows: Bools
) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Return the learned neighbors that speak for and against each face's label, hidden labels included."""
    if not evidence.neighbors:
        return refined.neighbors_for, refined.neighbors_against
    shown = Refinement(
        refined.ids,
        refined.classes,
        np.where(rows[:, None], samples.given, refined.distribution),
        refined.weight,
        refined.quality,
        refined.flagged,
        str(refined.metadata["method"]),
    )
    found = named_neighbors(evidence.samples, shown, nearest_overall(evidence.neighbors))
    hidden = rows.tolist()

    def merged(before: Names, after: Names) -> Names:
        return tuple(new if it else old for old, new, it in zip(before, after, hidden, strict=True))

    return merged(refined.neighbors_for, found[0]), merged(refined.neighbors_against, found[1])


def _reasons(judged: RefinedSet, evidence: Evidence, answer: Refinement, rows: Bools) -> Strings:
    """Return the reasons, (N,), those of hidden labels anew: they are judged by now, and still no neighbor's vote."""
    known, table = evidence.samples, None
    if evidence.neighbors:
        table = nearest_overall(evidence.neighbors)
        table = np.where((table >= 0) & ~rows[table], table, -1)
    seen = replace(evidence, samples=known.replacing(given=judged.given, labeled=judged.labeled))
    final = replace(
        answer,
        distribution=judged.distribution,
        weight=judged.weight,
        quality=judged.quality,
        flagged=judged.flagged,
        params=judged.metadata["params"],
    )
    found, texts = reasons(seen, final, table, unknown_to_views(evidence)), judged.reason.astype(object)
    for row in np.flatnonzero(rows).tolist():
        first = f"labeled {judged.classes[judged.given_label[row]]}"
        note = "" if known.notes is None or not found[row] else str(known.notes[row])
        texts[row] = note + found[row].removeprefix(first)
    return texts.astype(np.str_)


def _put(values: NDArray[_T], rows: Bools, new: NDArray[_T]) -> NDArray[_T]:
    """Return a copy of `values` with `new` in the chosen rows."""
    copy = np.array(values)
    copy[rows] = new
    return copy
