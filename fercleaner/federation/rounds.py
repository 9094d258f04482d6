"""The coordinator's side of a round: the steps of many sites become one, and no site alone decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.arrays import Doubles, Floats
from .terms import SiteError, Terms

#: No site has more than this share of the weight of a head, or an even share where there are fewer sites. Where the
#: largest of ten drawn sites sends its steps turned round and boasts of 10 million faces, heads keep an accuracy of .90
#: to .93 (of .97 to .99; .74 to .85 at a share of .3), and honest sites lose nothing by it. Trimmed means and the
#: geometric median did worse: sites of unlike classes look like liars to them.
MOST_WEIGHT = 0.2


@dataclass(frozen=True, eq=False)
class Update:
    """What one site sent in a round.

    Parameters
    ----------
    site : str
    part : int
    faces : int
        Labeled faces it learned from, as it says.
    steps : (P - 1, D + 2, C) float32
        On the heads of all parts but its own, in order.
    """

    site: str
    part: int
    faces: int
    steps: Floats


def start(terms: Terms) -> Floats:
    """Return the heads before the first round, zeros (P, D + 2, C)."""
    return np.zeros(terms.shape, dtype=np.float32)


def others(heads: Floats, part: int) -> Floats:
    """Return the heads that a site of a part is sent in a round, (P - 1, D + 2, C): all but the one that judges it."""
    return np.delete(heads, part, axis=0)


def dealt(sites: Sequence[str], parts: int) -> dict[str, int]:
    """Return the part of each site: in alphabetical order, one after the other."""
    return {name: number % parts for number, name in enumerate(sorted(sites))}


def next_part(parts: Mapping[str, int], count: int) -> int:
    """Return the part of a site that joins later: the one with fewest sites, the first of equals."""
    held = [list(parts.values()).count(part) for part in range(count)]
    return int(np.argmin(held))


def check_update(update: Update, terms: Terms) -> None:
    """Raise SiteError, which names the site, unless what it sent has the shape and the numbers that it must have."""
    parts, *head = terms.shape
    if update.steps.shape != (parts - 1, *head):
        raise SiteError(f"Site '{update.site}' sent shape {update.steps.shape}; expected {(parts - 1, *head)}.")
    if not np.isfinite(update.steps).all():
        count = int((~np.isfinite(update.steps)).sum())
        raise SiteError(f"Site '{update.site}' sent NaN or infinity ({count:,} numbers); its step does not count.")
    if not 0 <= update.part < parts:
        raise SiteError(f"Site '{update.site}' says that it is of part {update.part}; parts are 0 to {parts - 1}.")
    if update.faces < terms.least_faces:
        raise SiteError(
            f"Site '{update.site}' sent what {update.faces} faces say; at least {terms.least_faces} are needed."
        )


def averaged(heads: Floats, updates: Sequence[Update], terms: Terms) -> Floats:
    """Return the heads after a round, (P, D + 2, C) float32.

    To each head the mean step of the sites of other parts is added, a site weighed by its faces up to `MOST_WEIGHT`.
    Steps longer than the median step of their head are shortened to it before, and to the terms' `most_norm` in any
    case. A head that no site sent a step for stays as it is.

    Raises
    ------
    SiteError
        An update that `check_update` refuses; leave it out before.

    Source
    ------
    FedAvg: McMahan, Moore, Ramage, Hampson and Aguera y Arcas, AISTATS 2017. Differs from it in: bounded weights and
    lengths.
    """
    for update in updates:
        check_update(update, terms)
    result = heads.astype(np.float64)
    for part in range(terms.parts):
        sent = [update for update in sorted(updates, key=lambda u: u.site) if update.part != part]
        if not sent:
            continue
        steps = np.stack([u.steps[part - (part > u.part)] for u in sent]).astype(np.float64)
        weight = bounded(np.array([u.faces for u in sent], dtype=np.float64))
        norm = np.sqrt((steps**2).sum((1, 2)))
        longest = min(float(np.median(norm)), terms.most_norm)
        steps *= np.minimum(1.0, longest / np.maximum(norm, 1e-30))[:, None, None]
        result[part] += np.tensordot(weight, steps, 1)
    return result.astype(np.float32)


def bounded(faces: Doubles) -> Doubles:
    """Return weights (S,) that sum to 1, in proportion to faces, none above `MOST_WEIGHT`, or 1 / S if that is more."""
    most = max(MOST_WEIGHT, 1 / len(faces))
    weight: Doubles = faces / faces.sum()
    held = np.zeros(len(faces), dtype=np.bool_)
    for _ in faces:
        held |= weight >= most
        if held.all():
            return np.full(len(faces), 1 / len(faces))
        rest = weight[~held].sum()
        weight = np.where(held, most, weight * (1 - most * held.sum()) / rest)
    return weight
