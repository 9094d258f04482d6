"""Arrays, series, tensors and lists of a caller -> arrays of numbers, of truth values or of text, or an InputError."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

#: Kinds of NumPy arrays that are not numbers, in words.
NO_NUMBERS = {"U": "text", "S": "text", "T": "text", "c": "complex numbers", "M": "dates", "m": "spans of time"}

#: What is expected, by the kind of the wanted array.
EXPECTED = {"b": "True and False", "i": "whole numbers"}


def converted(values: Any, dtype: Any, what: str) -> NDArray[Any]:
    """Return `values` as a new array of `dtype` (floats, integers, bool or str), in C order.

    Tensors are detached; masked values, numbers that are text, ragged rows, and truth values or whole numbers that are
    none are an InputError that begins with `what`. Of text, what is missing (None, NaN, pandas' NA) becomes "", and
    whole floats are written as integers, since a column of integers with a gap is one of floats.
    """
    wanted = np.dtype(dtype)
    array = _array(values, wanted.kind == "U", what)
    if wanted.kind == "U":
        return _text(array)
    if array.dtype.kind == "O":
        array = _of_objects(array, what)
    expected = EXPECTED.get(wanted.kind, "numbers")
    if array.dtype.kind not in "biuf":
        held = NO_NUMBERS.get(array.dtype.kind, str(array.dtype))
        raise InputError(f"{what} holds {held} (such as {array.flat[0]!s}); expected {expected}.")
    bad = np.zeros((), dtype=bool)
    if wanted.kind == "b" and array.dtype.kind != "b":
        bad = (array != 0) & (array != 1)
    elif wanted.kind == "i" and array.dtype.kind == "f":
        bad = array != np.trunc(array)
    if bad.any():
        raise InputError(f"{what} holds {array[bad].flat[0]}; expected {expected}.")
    with np.errstate(over="ignore"):
        return np.array(array, dtype=wanted, order="C")


def _array(values: Any, objects: bool, what: str) -> NDArray[Any]:
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = (values.float() if str(values.dtype) == "torch.bfloat16" else values).numpy()
    if np.ma.is_masked(values):
        raise InputError(f"{what} holds masked values; say what stands in their place: .filled(...).")
    try:
        array = np.asarray(values)
        if objects and array.dtype.kind == "U" and not isinstance(values, np.ndarray):
            array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise InputError(f"{what} is no array: {error}.") from error
    if array.ndim == 0 and array.dtype.kind == "O":
        raise InputError(f"{what} is a {type(values).__name__}; expected an array.")
    return array


def _of_objects(array: NDArray[Any], what: str) -> NDArray[Any]:
    for value in array.flat:
        if isinstance(value, str | bytes):
            raise InputError(f"{what} holds text (such as {value!r}); expected numbers.")
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} holds something that is no number: {error}.") from error


def _text(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "U":
        return np.array(array, order="C")
    if array.dtype.kind != "O":
        array = array.astype(object)
    if any(type(value) is not str for value in array.flat):
        array = np.array([_cell(value) for value in array.flat], dtype=object).reshape(array.shape)
    return np.array(array, dtype=np.str_, order="C")


def _cell(value: Any) -> str:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float | np.floating):
        number = float(value)
        return "" if number != number else str(int(number)) if number.is_integer() else str(number)
    return str(value)
