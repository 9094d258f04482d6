"""What callers hand over as arrays: read as it is meant, or an InputError that names the field; never misread."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fercleaner.core.conversion import converted
from fercleaner.core.errors import InputError
from fercleaner.core.types import ActionUnits, Features, Landmarks, Posteriors, Samples

IDS = ("a", "b", "c")
ALL = np.ones(3, dtype=bool)
ROWS = np.eye(3, 2, dtype=np.float32)


def samples(**changes):
    fields = {"ids": IDS, "classes": ("x", "y"), "given": ROWS, "labeled": [True, True, False], "paths": [""] * 3}
    return Samples(**{**fields, **changes})


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, 2, 3], ["1", "2", "3"]),
        ([1.0, 2.5, np.nan], ["1", "2.5", ""]),
        (pd.Series([1, None, 3]), ["1", "", "3"]),
        (pd.Series([1, None, 3], dtype="Int64", index=[7, 8, 9]), ["1", "", "3"]),
        (pd.Series(["x", pd.NA, "z"], dtype="string"), ["x", "", "z"]),
        (pd.Series(["x", None, "x"], dtype="category"), ["x", "", "x"]),
        (["x", None, np.float32("nan")], ["x", "", ""]),
        (np.array([b"x", "é".encode(), b"z"], dtype=object), ["x", "é", "z"]),
        ([Path("p/x"), "y", np.str_("z")], ["p/x", "y", "z"]),
        (np.array(["x", "y", "z"], dtype=np.dtypes.StringDType()), ["x", "y", "z"]),
        (torch.arange(3), ["0", "1", "2"]),
    ],
)
def test_what_is_missing_is_empty_and_whole_numbers_have_no_point(values, texts):
    assert samples(group=values).group.tolist() == texts


@pytest.mark.parametrize(
    "values",
    [
        torch.eye(3, 2, requires_grad=True),
        torch.eye(3, 2).bfloat16(),
        np.eye(3, 2)[::-1][::-1],
        np.asfortranarray(np.eye(3, 2, dtype=np.float16)),
        np.eye(3, 2, dtype=bool),
        np.eye(3, 2).astype(object),
        pd.DataFrame(np.eye(3, 2), index=[5, 6, 7]),
    ],
)
def test_numbers_of_any_kind_are_these_numbers(values):
    assert samples(given=values).given.tolist() == ROWS.tolist()
    assert Features("v", IDS, values, ALL).values.tolist() == ROWS.tolist()


@pytest.mark.parametrize(
    ("field", "values", "message"),
    [
        ("labeled", ["True", "False", "no"], r"Samples\.labeled holds text .* expected True and False"),
        ("labeled", [1.0, np.nan, 0.0], r"Samples\.labeled holds nan; expected True and False"),
        ("labeled", [0, 1, 2], r"Samples\.labeled holds 2; expected True and False"),
        ("labeled", [True, None, False], r"Samples\.labeled holds nan; expected True and False"),
        ("given", ["x", "y", "x"], r"Samples\.given holds text"),
        ("given", ROWS.astype(str), r"Samples\.given holds text \(such as 1\.0\); expected numbers"),
        ("given", ROWS.astype(str).astype(object), r"Samples\.given holds text"),
        ("given", ROWS.astype(complex), r"Samples\.given holds complex numbers"),
        ("given", np.ma.masked_equal(ROWS, 1), r"Samples\.given holds masked values"),
        ("given", [[1, 0], [1], [0, 0]], r"Samples\.given is no array"),
        ("given", ROWS + ROWS[::-1], r"row 2 is not labeled, but holds \[1\.0, 0\.0\]|not a distribution"),
        ("given", [[1, 0], [0, 1], [0, 1]], r"row 2 is not labeled, but holds \[0\.0, 1\.0\]"),
        ("ids", ["a", None, "c"], r"Row 2 has no id"),
        ("votes", -ROWS, r"votes must be finite and not below 0; row 0 holds -1"),
        ("votes", ROWS * np.nan, r"votes must be finite and not below 0; row 0 holds nan"),
        ("classes", "xy", r"Class names are a str; expected a tuple"),
        ("images", "pictures", r"8 pictures for 3 faces|Samples\.images is a str"),
        ("images", IDS, r"Samples\.images is a tuple"),
    ],
)
def test_what_would_be_misread_is_refused(field, values, message):
    with pytest.raises(InputError, match=message):
        samples(**{field: values})


def test_shares_that_are_none_are_refused_with_their_row():
    half = [[0.25, 0.75], [0.3333, 0.666], [0.5, 0.5]]
    with pytest.raises(InputError, match=r"row 1 is not a distribution.*\(sum 0\.9993\)\. Divide each row by its sum"):
        Posteriors("p", IDS, ("x", "y"), half, ALL)
    with pytest.raises(InputError, match="Class names are not unique: x, x"):
        Posteriors("p", IDS, ("x", "x"), np.full((3, 2), 0.5), ALL)
    with pytest.raises(InputError, match="margin holds NaN"):
        Posteriors("p", IDS, ("x", "y"), np.full((3, 2), 0.5), ALL, margin=[0, np.nan, 0])
    with pytest.raises(InputError, match=r"Landmarks: confidence must lie in \[0, 1\]; row 2 holds 97"):
        Landmarks(IDS, np.ones((3, 68, 2)), ALL, [0.5, 1, 97])
    with pytest.raises(InputError, match=r"ActionUnits: quality must lie in \[0, 1\]; row 0 holds nan"):
        ActionUnits(IDS, ("AU01",), np.ones((3, 1)), ALL, [np.nan, 1, 1])
    with pytest.raises(InputError, match="Names of action units are not unique: AU01, AU01"):
        ActionUnits(IDS, ("AU01", "AU01"), np.ones((3, 2)), ALL, np.ones(3))


def test_numbers_with_a_fraction_are_no_row_numbers():
    assert converted([1.0, 2.0], np.int64, "rows").tolist() == [1, 2]
    with pytest.raises(InputError, match=r"rows holds 1\.5; expected whole numbers"):
        converted([1.0, 1.5], np.int64, "rows")
