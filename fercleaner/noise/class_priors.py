"""How frequent expressions are in pictures from the wild: what is known of a set's classes before a label is read.

Wild sets agree on what is rare (fear: 1.2, 2.2 and 2.3 %), less on the rest. What comes of it on 8,000 of FER2013's
faces with their own labels, as average precision of `consensus`: .851 without base rates, .874 with RAF-DB's, .903 with
AffectNet's, .904 with ExpW's, .898 with the mean of the three; .806 with equal ones, which are wrong there
(`benchmarks/quality.py --limit 8000 --methods consensus,base_rates=rafdb ...`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from ..core.arrays import Doubles, Floats
from ..core.errors import InputError, did_you_mean
from ..core.expressions import canonical
from ..core.numeric import normalized

#: Faces of each expression among those that the annotators of a set labeled.
COUNTS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        # Li, Deng and Du, RAF-DB (CVPR 2017): 12,271 training faces, some 40 annotators each.
        "rafdb": {
            "surprise": 1290,
            "fear": 281,
            "disgust": 717,
            "happiness": 4772,
            "sadness": 1982,
            "anger": 705,
            "neutral": 2524,
        },
        # Mollahosseini, Hasani and Mahoor, AffectNet (2017): 287,651 training faces, 12 trained annotators.
        "affectnet": {
            "neutral": 74874,
            "happiness": 134415,
            "sadness": 25459,
            "surprise": 14090,
            "fear": 6378,
            "disgust": 3803,
            "anger": 24882,
            "contempt": 3750,
        },
        # Zhang, Luo, Loy and Tang, ExpW (IJCV 2018): 91,793 faces.
        "expw": {
            "anger": 3671,
            "disgust": 3995,
            "fear": 1088,
            "happiness": 30537,
            "sadness": 10559,
            "surprise": 7060,
            "neutral": 34883,
        },
    }
)
#: Names for base rates beside those of sets: the mean of the sets, all classes alike, nothing known.
WILD, EVEN, NONE = "wild", "even", "none"
#: Labels of which no class has more than this many times as many as another look balanced by hand.
BALANCED = 1.5
#: A class of no larger share has no labels (`label_model.class_frequencies` gives each one a billionth).
UNSEEN = 1e-8
#: A class with less than this share of an even one is rare.
RARE = 0.5
#: Rates of one's own are held above this share of the largest, so that none forbids a class.
LEAST_STATED = 1e-9


def base_rates(classes: Sequence[str], name: str) -> Doubles | None:
    """Return how frequent each of `classes` is known to be, (C,) of sum 1; None where nothing is known.

    Parameters
    ----------
    classes : sequence of str
        Canonical names.
    name : str
        "wild", the geometric mean of `COUNTS` over the sets that know a class (their sums brought to 1); "rafdb",
        "affectnet" or "expw" alone; "even"; "none"; or rates of one's own as "happiness:0.4,neutral:0.3,...",
        brought to sum 1, none less than a billionth of the largest. Of a named set or their mean nothing is known,
        None, when it lacks one of the classes.

    Raises
    ------
    InputError
        For another name, and for rates of one's own that are no numbers above 0, name a class twice, or do not cover
        the classes.
    """
    if name == NONE:
        return None
    if name == EVEN:
        return np.full(len(classes), 1 / max(len(classes), 1))
    if ":" in name:
        rates = _stated(name)
        missing = [label for label in classes if canonical(label) not in rates]
        if missing:
            raise InputError(
                f"base_rates gives no rate for {', '.join(missing)}; name every class: {', '.join(classes)}."
            )
    elif name == WILD:
        rates = _mean()
    elif name in COUNTS:
        rates = {label: float(count) for label, count in COUNTS[name].items()}
    else:
        known = (WILD, *COUNTS, EVEN, NONE)
        raise InputError(
            f"base_rates is '{name}', which is not known.{did_you_mean(name, known)} Choose one of "
            f"{', '.join(known)}, or state rates: happiness:0.4,neutral:0.3,..."
        )
    if any(canonical(label) not in rates for label in classes):
        return None
    return normalized(np.array([rates[canonical(label)] for label in classes]))


def pooled_priors(own: Doubles, known: Doubles | None, trust: float) -> Doubles:
    """Return own^trust known^(1 - trust), (C,) of sum 1: frequencies of labels, trusted so far, and base rates.

    `own` where nothing is known.
    """
    if known is None:
        return own
    return normalized(np.exp(trust * np.log(own) + (1 - trust) * np.log(known)))


def rates_beside(own: Doubles, classes: Sequence[str], name: str) -> Doubles | None:
    """Return the base rates (C,) of `name` as labels of frequencies `own` (C,) leave them; None where nothing is known.

    A class that no label names is as rare as in `own`. "wild" raises no class whose labels are fewer than half of an
    even share: wrong labels make frequencies more even, so that of a rare class there are at most as many faces as
    labels. (Of disgust the sets hold between 1.3 and 5.8 %; one that has few labels of it has few faces.)
    """
    known = base_rates(classes, name)
    if known is None:
        return None
    seen = own > UNSEEN
    rates = np.where(seen, known, own)
    if name == WILD:
        rates = np.where(own < RARE / max(int(seen.sum()), 1), np.minimum(rates, own), rates)
    return normalized(rates)


def balanced_by_hand(given: Floats) -> bool:
    """Return whether given labels (N, C) lie so evenly on three classes or more that someone saw to it.

    Base rates of the wild take what is rare there for rarer than it is in such a set.
    """
    counts = given.sum(0)
    counts = counts[counts > 0]
    return len(counts) >= 3 and bool(counts.max() <= BALANCED * counts.min())


def _mean() -> dict[str, float]:
    """Return the geometric mean of the sets' shares, over the sets that know a class."""
    shares: dict[str, list[float]] = {}
    for counts in COUNTS.values():
        total = sum(counts.values())
        for label, count in counts.items():
            shares.setdefault(label, []).append(np.log(count / total))
    return {label: float(np.exp(np.mean(logs))) for label, logs in shares.items()}


def _stated(text: str) -> dict[str, float]:
    """Return the rates of "happiness:0.4,neutral:0.3,...", by canonical name."""
    rates: dict[str, float] = {}
    for part in text.split(","):
        label, _, number = part.partition(":")
        try:
            rate = float(number)
        except ValueError:
            rate = np.nan
        if not (label.strip() and np.isfinite(rate) and rate > 0):
            raise InputError(f"base_rates has '{part.strip()}'; expected a class and a number above 0: happiness:0.4.")
        if canonical(label) in rates:
            raise InputError(f"base_rates gives two rates for {canonical(label)}. Give one: '{text}'.")
        rates[canonical(label)] = rate
    largest = max(rates.values())
    return {label: max(rate / largest, LEAST_STATED) for label, rate in rates.items()}
