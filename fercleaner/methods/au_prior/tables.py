"""How often each action unit (AU) is active in each expression: the tables behind `au-prior`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ...core.arrays import Bools, Doubles, frozen_array
from ...core.errors import InputError, did_you_mean
from ...core.expressions import canonical
from ...datasets.table import read_rows

_UNIT = re.compile(r"(?:au)?\s*_?0*(\d+)", re.IGNORECASE)

#: A unit seen in more than 70 % of subjects, given as the middle of .70 to 1.
_DU_PROTOTYPE = 0.85
#: A unit that the paper does not list for a category: the middle of 0 to .20, the lowest share it prints.
_DU_UNLISTED = 0.10
#: Units of a neutral face, and of the one-sided corner on it.
_DU_NEUTRAL = 0.05

#: Table 1 of Du et al.: units of more than 70 % of subjects | units of some, with their percentage.
_DU = {
    "happiness": "12 25 | 6:51",
    "sadness": "4 15 | 1:60 6:50 11:26 17:67",
    "surprise": "1 2 25 26 | 5:66",
    "fear": "1 4 20 25 | 2:57 5:63 26:33",
    "disgust": "9 10 17 | 4:31 24:26",
    "anger": "4 7 24 | 10:26 17:52 23:29",
    "happily surprised": "1 2 12 25 | 5:64 26:67",
    "happily disgusted": "10 12 25 | 4:32 6:61 9:59",
    "sadly fearful": "1 4 20 25 | 2:46 5:24 6:34 15:30",
    "sadly angry": "4 15 | 6:26 7:48 11:20 17:50",
    "sadly surprised": "1 4 25 26 | 2:27 6:31",
    "sadly disgusted": "4 10 | 1:49 6:61 9:20 11:35 15:54 17:47 25:43",
    "fearfully angry": "4 20 25 | 5:40 7:39 10:30 11:33",
    "fearfully surprised": "1 2 5 20 25 | 4:47 10:35 11:22 26:51",
    "fearfully disgusted": "1 4 10 20 25 | 2:64 5:50 6:26 9:28 15:33",
    "angrily surprised": "4 25 26 | 5:35 7:50 10:34",
    "angrily disgusted": "4 10 17 | 7:60 9:57 24:36",
    "disgustedly surprised": "1 2 5 10 | 4:45 9:37 17:66 24:33",
    "appalled": "4 10 | 6:25 9:56 17:67 24:36",
    "hatred": "4 10 | 7:57 9:27 17:63 24:37",
    "awed": "1 2 5 25 | 4:21 20:62 26:56",
}
_DU_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15, 17, 20, 23, 24, 25, 26)

#: Primary | secondary units; every other unit is seldom.
_ZHANG = {
    "surprise": "1 2 5 25 26 | 16",
    "fear": "1 2 4 5 7 20 | 23 25",
    "disgust": "9 10 | 17 25",
    "happiness": "6 12 | 7 25",
    "sadness": "1 7 15 | 4 6 17",
    "anger": "4 5 23 24 | 7 17",
    "neutral": "|",
}
_ZHANG_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 16, 17, 20, 23, 24, 25, 26)
#: Centers of the published ranges (.75, 1], (.50, .75] and [0, .25].
_ZHANG_CENTERS = (0.875, 0.625, 0.125)


@dataclass(frozen=True, eq=False)
class AuTable:
    """Rates of action units by expression.

    Parameters
    ----------
    name : str
        Preset name or file.
    expressions : tuple of E str
        Canonical names of the rows.
    units : tuple of A str
        Such as "AU12"; "U" is a mouth corner raised on one side.
    rates : (E, A) float64 in [0, 1]
        P(unit active | expression).
    source : str
        Where the numbers come from.
    """

    name: str
    expressions: tuple[str, ...]
    units: tuple[str, ...]
    rates: Doubles
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "rates", frozen_array(self.rates, np.float64))
        if self.rates.shape != (len(self.expressions), len(self.units)):
            raise InputError(
                f"AU table '{self.name}' has shape {self.rates.shape}, expected "
                f"({len(self.expressions)}, {len(self.units)}): a row an expression, a column an action unit."
            )
        for what, names in (("expression", self.expressions), ("action unit", self.units)):
            twice = next((name for name in names if list(names).count(name) > 1), None)
            if twice is not None:
                raise InputError(f"AU table '{self.name}' names {what} '{twice}' twice; remove one of them.")
        if not ((self.rates >= 0) & (self.rates <= 1)).all():
            raise InputError(f"AU table '{self.name}' holds rates outside [0, 1].")

    def rows(self, classes: Sequence[str]) -> tuple[Doubles, Bools]:
        """Return the rates (C, A) of `classes` in their order, zero where unknown, and which are known."""
        at = {name: row for row, name in enumerate(self.expressions)}
        found = [at.get(canonical(name)) for name in classes]
        known = np.array([row is not None for row in found], dtype=np.bool_)
        rates = np.zeros((len(found), len(self.units)))
        for c, row in enumerate(found):
            if row is not None:
                rates[c] = self.rates[row]
        return rates, known

    def base_rates(self, classes: Sequence[str], class_prior: ArrayLike | None = None) -> dict[str, float]:
        """Return b_a = sum_c P(c) PI[c, a] of each unit over the known ones of `classes`.

        `class_prior` (C,) is renormalized over the known classes; uniform by default. This is the `base_rate`
        that `landmarks.action_units` matches its probabilities to.
        """
        rates, known = self.rows(classes)
        if not known.any():
            raise InputError(
                f"AU table '{self.name}' knows none of the classes {', '.join(classes)}; it has "
                f"{', '.join(self.expressions)}."
            )
        share = known.astype(np.float64) if class_prior is None else np.where(known, class_prior, 0.0)
        rate = share @ rates / share.sum()
        return {unit: float(value) for unit, value in zip(self.units, rate, strict=True)}


def unit_name(text: str) -> str:
    """Return "AU12" for "12", "au12", "AU 12" or OpenFace's "AU12_r"; other names as they are, stripped.

    >>> unit_name("12"), unit_name("au04"), unit_name(" U ")
    ('AU12', 'AU4', 'U')
    """
    match = _UNIT.fullmatch(text.strip().removesuffix("_r").removesuffix("_c"))
    return f"AU{match.group(1)}" if match else text.strip()


def prior(name: str) -> AuTable:
    """Return the table called `name`: "du2014", "zhang2018", or a CSV file.

    - "du2014" (default): 18 units and "U", 21 categories, neutral and contempt. Units seen in more than 70 %
      of the subjects are given .85, those of some subjects their share, unlisted ones .10; neutral is .05
      throughout. Contempt was not measured: its row (AU14 .85, AU12 .50, U .75) is an assumption.
    - "zhang2018": 17 units, the six basic expressions and neutral; the centers .875, .625, .125 of the ranges
      for primary, secondary and other units.
    - a CSV file: a header `expression,AU1,AU2,...`, then a row an expression with rates in [0, 1].

    Source
    ------
    S. Du, Y. Tao, A. M. Martinez, "Compound facial expressions of emotion", PNAS 111(15), 2014, table 1.
    Y. Zhang, W. Dong, B.-G. Hu, Q. Ji, "Classifier learning with prior probabilities for facial action unit
    recognition", CVPR 2018, as its public re-implementations code it. Ours are the middles and the rows of
    neutral and contempt.
    """
    if name in PRESETS:
        return PRESETS[name]
    path = Path(name)
    if path.suffix or path.exists():
        return read_prior(path)
    raise InputError(
        f"No AU table is called '{name}'; choose {', '.join(PRESETS)}, or a CSV file.{did_you_mean(name, PRESETS)}"
    )


def read_prior(path: str | Path) -> AuTable:
    """Read a table of the user's from CSV; see `prior` for the layout. Errors name file and line."""
    path = Path(path)
    (_, header), *lines = [*read_rows(path)] or [(1, [])]
    if len(lines) < 2 or len(header) < 2:
        raise InputError(f"AU table {path} needs a header 'expression,AU1,AU2,...' and at least two rows of rates.")
    units = tuple(unit_name(cell) for cell in header[1:])
    rates = np.zeros((len(lines), len(units)))
    for k, (number, line) in enumerate(lines):
        if len(line) != len(units) + 1:
            raise InputError(f"AU table {path} row {number}: {len(line)} cells, expected {len(units) + 1}.")
        for column, cell in enumerate(line[1:]):
            try:
                value = float(cell)
            except ValueError:
                value = np.nan
            if not 0.0 <= value <= 1.0:
                where = f"AU table {path} row {number}: {units[column]}"
                raise InputError(f"{where} is '{cell}', expected a rate between 0 and 1.")
            rates[k, column] = value
    names = tuple(canonical(line[0]) for _, line in lines)
    return AuTable(str(path), names, units, rates, f"file {path.name}")


def _listed(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """Parse "1 4 | 6:50 17" into the first units and (unit, percent or -1) of the second."""
    first, second = text.split("|")
    pairs = [cell.partition(":") for cell in second.split()]
    return [int(unit) for unit in first.split()], [(int(unit), int(share or -1)) for unit, _, share in pairs]


def _du2014() -> AuTable:
    column = {unit: index for index, unit in enumerate(_DU_UNITS)}
    rates = np.full((len(_DU) + 2, len(_DU_UNITS) + 1), _DU_UNLISTED)
    for row, text in enumerate(_DU.values()):
        prototype, some = _listed(text)
        rates[row, [column[unit] for unit in prototype]] = _DU_PROTOTYPE
        for unit, percent in some:
            rates[row, column[unit]] = percent / 100
    rates[-2] = _DU_NEUTRAL
    rates[-1, column[14]], rates[-1, column[12]], rates[-1, -1] = _DU_PROTOTYPE, 0.50, 0.75
    units = (*(f"AU{unit}" for unit in _DU_UNITS), "U")
    names = (*_DU, "neutral", "contempt")
    return AuTable("du2014", names, units, rates, "Du, Tao, Martinez, PNAS 111(15), 2014")


def _zhang2018() -> AuTable:
    column = {unit: index for index, unit in enumerate(_ZHANG_UNITS)}
    primary, secondary, other = _ZHANG_CENTERS
    rates = np.full((len(_ZHANG), len(_ZHANG_UNITS)), other)
    for row, text in enumerate(_ZHANG.values()):
        first, second = _listed(text)
        rates[row, [column[unit] for unit in first]] = primary
        rates[row, [column[unit] for unit, _ in second]] = secondary
    units = tuple(f"AU{unit}" for unit in _ZHANG_UNITS)
    return AuTable("zhang2018", tuple(_ZHANG), units, rates, "Zhang, Dong, Hu, Ji, CVPR 2018")


#: Tables by name.
PRESETS: Mapping[str, AuTable] = {table.name: table for table in (_du2014(), _zhang2018())}
