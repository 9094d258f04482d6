"""Array types of this package, and the checks that its data types share."""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .conversion import converted
from .errors import InputError

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Strings: TypeAlias = NDArray[np.str_]
Bytes: TypeAlias = NDArray[np.uint8]

#: Called with (done, total) as long work goes on.
Progress: TypeAlias = Callable[[int, int], None]

#: Rows of a distribution may miss 1 by this much (float32 sums of up to a few hundred classes).
SIMPLEX_TOLERANCE = 1e-4
#: Rows that are checked at once.
CHECKED = 16_384


def _sealed(values: NDArray[Any]) -> bool:
    """Return whether nobody here can write to `values`, nor to an array or a mapped file that it is a view of."""
    array: Any = values
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None or (isinstance(array, mmap.mmap) and memoryview(array).readonly)


def check_mapped(values: NDArray[Any], what: str) -> None:
    """Raise InputError where the file that `values` are mapped from is shorter than when it was mapped.

    To read what is gone would end the process (SIGBUS). One question to the system; a file that is cut while it is read
    is not noticed in time, nor are other values of the same number.
    """
    array: Any = values
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, mmap.mmap) and array.size() < len(array):
        raise InputError(
            f"{what}: its file has {array.size():,} bytes of the {len(array):,} that it had when it was opened. "
            "Something else writes to it: wait until that has finished, then run again."
        )


def frozen_array(values: ArrayLike, dtype: Any, what: str = "The array") -> NDArray[Any]:
    """Return `values` as a contiguous read-only array of `dtype` that shares no memory with a writable one.

    `converted` says what can be read as numbers, as truth values and as text; `what` begins its errors.
    A file mapped for reading (``numpy.load(FILE, mmap_mode="r")``) stays mapped.
    """
    if isinstance(values, np.ndarray) and _sealed(values) and values.flags.c_contiguous:
        wanted = np.dtype(dtype)
        if values.dtype == wanted or (wanted.kind == "U" and values.dtype.kind == "U"):
            return np.asarray(values)
    array = converted(values, dtype, what)
    array.flags.writeable = False
    return array


def freeze(target: object, name: str, dtype: Any, shape: tuple[int | None, ...]) -> None:
    """Replace attribute `name` of a frozen dataclass by a read-only array; raise InputError on another shape."""
    value = getattr(target, name)
    if value is None:
        return
    array = frozen_array(value, dtype, f"{type(target).__name__}.{name}")
    fits = array.ndim == len(shape) and all(
        want is None or have == want for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if s is None else str(s) for s in shape)
        raise InputError(f"{type(target).__name__}.{name} has shape {array.shape}, expected ({wanted}).")
    object.__setattr__(target, name, array)


def row_not_finite(values: Floats) -> int | None:
    """Return the first row of `values` (N, D) that holds NaN or infinity; None where all are finite.

    Cost: one pass; memory for `CHECKED` rows alone.
    """
    for start in range(0, len(values), CHECKED):
        bad = ~np.isfinite(values[start : start + CHECKED]).all(1)
        if bad.any():
            return start + int(np.flatnonzero(bad)[0])
    return None


def check_distributions(values: Floats, rows: Bools, what: str) -> None:
    """Raise InputError unless every chosen row of `values` (N, C) is finite, non-negative and sums to 1."""
    chosen = values[rows]
    bad = ~np.isfinite(chosen).all(1) | (chosen < 0).any(1) | (np.abs(chosen.sum(1) - 1) > SIMPLEX_TOLERANCE)
    if bad.any():
        row = int(np.flatnonzero(rows)[np.flatnonzero(bad)[0]])
        total = float(values[row].sum(dtype=np.float64))
        way = " Divide each row by its sum." if total > 0 and (values[row] >= 0).all() else ""
        raise InputError(f"{what}: row {row} is not a distribution: {values[row].tolist()} (sum {total:.6g}).{way}")


def check_range(owner: str, highest: float | None = 1, /, **columns: Floats | None) -> None:
    """Raise InputError unless every column lies in [0, `highest`]; no bound above where that is None."""
    for name, values in columns.items():
        if values is None:
            continue
        bad = ~(values >= 0) | ((values > highest) if highest is not None else np.isinf(values))
        if bad.any():
            wanted = f"must lie in [0, {highest:g}]" if highest is not None else "must be finite and not below 0"
            raise InputError(f"{owner}: {name} {wanted}; row {int(np.argwhere(bad)[0][0])} holds {values[bad][0]:g}.")


def spec_digest(spec: Mapping[str, Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of `spec` as canonical JSON."""
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


#: Rows hashed at once.
HASHED = 2**16


def rows_digest(*arrays: NDArray[Any]) -> str:
    """Return the first 16 hex digits of the SHA-256 of arrays: their shapes, types and values."""
    seal = hashlib.sha256()
    for array in arrays:
        seal.update(f"{array.shape} {array.dtype.str} ".encode())
        for start in range(0, len(array), HASHED):
            seal.update(array[start : start + HASHED].tobytes())
    return seal.hexdigest()[:16]
