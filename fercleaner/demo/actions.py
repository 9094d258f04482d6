"""Which action units a face of each expression shows, and what a face that shows them may be taken for."""

from __future__ import annotations

from typing import Final

import numpy as np

from ..core.arrays import Bools, Doubles, Ints
from ..core.expressions import CLASS_SETS
from ..core.numeric import softmax

#: RAF-DB's seven basic expressions in the order of its codes 1 to 7.
CLASSES: Final = CLASS_SETS["rafdb"].classes

#: The action units that the drawing knows, in the column order of every (N, A) array here.
ACTION_UNITS: Final = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 24, 25, 26)

# A unit that most faces of an expression show, one that few show, and any unit on a neutral face.
_PROTOTYPE, _UNLISTED, _NEUTRAL = 0.85, 0.10, 0.05

# Share of 230 subjects who used a unit when they posed an expression; 0.85 stands for "more than 70 %".
_SHARES: Final[dict[str, dict[int, float]]] = {
    "surprise": {1: _PROTOTYPE, 2: _PROTOTYPE, 25: _PROTOTYPE, 26: _PROTOTYPE, 5: 0.66},
    "fear": {1: _PROTOTYPE, 4: _PROTOTYPE, 20: _PROTOTYPE, 25: _PROTOTYPE, 2: 0.57, 5: 0.63, 26: 0.33},
    "disgust": {9: _PROTOTYPE, 10: _PROTOTYPE, 17: _PROTOTYPE, 4: 0.31, 24: 0.26},
    "happiness": {12: _PROTOTYPE, 25: _PROTOTYPE, 6: 0.51},
    "sadness": {4: _PROTOTYPE, 15: _PROTOTYPE, 1: 0.60, 6: 0.50, 17: 0.67, 26: 0.26},
    "anger": {4: _PROTOTYPE, 7: _PROTOTYPE, 24: _PROTOTYPE, 10: 0.26, 17: 0.52, 23: 0.29},
    "neutral": {},
}

#: Of the mislabeled faces of a class, the share given to each other class. The pairs are those that people
#: are known to confuse; the numbers are ours, not measured.
CONFUSIONS: Final[dict[str, dict[str, float]]] = {
    "surprise": {"fear": 0.6, "happiness": 0.2, "neutral": 0.2},
    "fear": {"surprise": 0.6, "sadness": 0.25, "anger": 0.15},
    "disgust": {"anger": 0.6, "sadness": 0.25, "neutral": 0.15},
    "happiness": {"neutral": 0.7, "surprise": 0.3},
    "sadness": {"neutral": 0.6, "fear": 0.2, "disgust": 0.2},
    "anger": {"disgust": 0.55, "sadness": 0.25, "neutral": 0.2},
    "neutral": {"sadness": 0.5, "happiness": 0.3, "anger": 0.2},
}

# Units that one mouth cannot show at once; the weaker one is dropped.
_ANTAGONISTS: Final = ((12, 15), (23, 25), (24, 25))

# One face in seven is a blend of two expressions, the second with a share between these two bounds.
_BLEND_RATE, _BLEND_LEAST, _BLEND_MOST = 0.14, 0.25, 0.45

# A unit that is active is drawn with at least this intensity.
_LEAST_INTENSITY = 0.12


def activation_table() -> Doubles:
    """Return P(action unit active | expression), (7, A): rows as `CLASSES`, columns `ACTION_UNITS`.

    Source
    ------
    S. Du, Y. Tao, A. M. Martinez, Compound facial expressions of emotion, PNAS 111(15), 2014: units shown by
    "more than 70 %" of the subjects are set to 0.85, listed ones to their percentage, others to 0.10. Differs
    from it in: AU11 is not drawn; the neutral row (0.05 everywhere) is ours.
    """
    table = np.full((len(CLASSES), len(ACTION_UNITS)), _UNLISTED)
    table[CLASSES.index("neutral")] = _NEUTRAL
    for name, shares in _SHARES.items():
        for unit, share in shares.items():
            table[CLASSES.index(name), ACTION_UNITS.index(unit)] = share
    return table


def confusion_table() -> Doubles:
    """Return P(given label | true label, mislabeled), (7, 7): `CONFUSIONS`, diagonal zero."""
    table = np.zeros((len(CLASSES), len(CLASSES)))
    for true, others in CONFUSIONS.items():
        for given, share in others.items():
            table[CLASSES.index(true), CLASSES.index(given)] = share
    return table


def sample_action_units(label: int, rng: np.random.Generator) -> Doubles:
    """Draw the intensities of the action units of one face of class `label`.

    Each unit is active with its probability given the expression; its intensity is the face's expressiveness
    times the unit's own strength. One face in seven blends in a second expression that people take the first
    for. A dropped jaw parts the lips, and of two units that exclude each other the stronger stays.

    Returns
    -------
    (A,) float64 in [0, 1]
        0 where the unit is inactive.
    """
    table = activation_table()
    chance = table[label]
    if rng.random() < _BLEND_RATE:
        other = int(rng.choice(len(CLASSES), p=confusion_table()[label]))
        share = rng.uniform(_BLEND_LEAST, _BLEND_MOST)
        chance = (1 - share) * chance + share * table[other]
    active = rng.random(len(ACTION_UNITS)) < chance
    expressiveness = rng.uniform(0.6, 1.0)
    strength = rng.uniform(0.6, 1.0, len(ACTION_UNITS)) * np.where(chance > 2 * _UNLISTED, 1.0, 0.6)
    intensity = np.where(active, np.maximum(expressiveness * strength, _LEAST_INTENSITY), 0.0)
    at = ACTION_UNITS.index
    if intensity[at(26)] > 0:
        intensity[at(25)] = max(intensity[at(25)], 0.5 * intensity[at(26)])
    for first, second in _ANTAGONISTS:
        if intensity[at(first)] > 0 and intensity[at(second)] > 0:
            weaker = first if intensity[at(first)] < intensity[at(second)] else second
            intensity[at(weaker)] = 0.0
            if weaker == 25:
                intensity[at(26)] = 0.0
    return np.asarray(np.round(intensity, 3), dtype=np.float64)


def expression_posterior(intensity: Doubles) -> Doubles:
    """Return P(expression | which units are active) for equal priors, (N, 7), from intensities (N, A).

    The units count as independent given the expression, which is how `sample_action_units` draws them but for
    blends and exclusions.
    """
    active: Bools = np.asarray(intensity) > 0
    table = activation_table()
    log_likelihood = active.astype(np.float64) @ np.log(table).T + (~active).astype(np.float64) @ np.log1p(-table).T
    return softmax(log_likelihood)


def corrupt_labels(labels: Ints, intensity: Doubles, *, rate: float, kind: str, rng: np.random.Generator) -> Ints:
    """Return a copy of `labels` (N,) of which exactly round(rate N) differ, shared out by class size.

    Parameters
    ----------
    labels : (N,) int64
        True classes, indices into `CLASSES`.
    intensity : (N, A) float64
        Action units drawn; looked at by kind "instance" alone.
    rate : float in [0, 1)
    kind : {"pairs", "symmetric", "instance"}
        "symmetric": faces by chance, any other class. "pairs": faces by chance, the other class by
        `CONFUSIONS`. "instance": faces and classes by what the drawn action units look like.
    """
    given = labels.copy()
    posterior = expression_posterior(intensity)
    confusions = confusion_table()
    sizes = np.bincount(labels, minlength=len(CLASSES))
    for label, count in enumerate(share_out(round(rate * len(labels)), sizes)):
        if count == 0:
            continue
        members = np.flatnonzero(labels == label)
        others = posterior[members].copy()
        others[:, label] = 0.0
        doubt = others.sum(1) + 1e-3 if kind == "instance" else np.ones(len(members))
        for row in rng.choice(len(members), size=count, replace=False, p=doubt / doubt.sum()):
            if kind == "pairs":
                chance = confusions[label]
            elif kind == "symmetric":
                chance = np.where(np.arange(len(CLASSES)) == label, 0.0, 1.0)
            else:
                chance = others[row]
            given[members[row]] = rng.choice(len(CLASSES), p=chance / chance.sum())
    return given


def share_out(total: int, shares: Ints | Doubles) -> Ints:
    """Split `total` into whole numbers proportional to `shares`, by largest remainder (ties to the first)."""
    exact = total * np.asarray(shares, dtype=np.float64) / np.sum(shares)
    whole = np.floor(exact).astype(np.int64)
    order = np.argsort(whole - exact, kind="stable")
    whole[order[: total - int(whole.sum())]] += 1
    return np.asarray(whole, dtype=np.int64)
