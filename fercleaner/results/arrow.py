"""Arrow's arrays from numpy's and back, by the memory that both lay out alike.

`pyarrow.array` and `to_numpy` load pandas where it is installed, which takes longer than writing 10,000 faces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints

#: Bytes of text, or numbers in lists, that a column holds at most: it counts them in 32 bits.
MOST = 2**31 - 1


def number_column(values: NDArray[Any], present: Bools | None = None) -> Any:
    """Return float32, int32 or truth values (N,) as a column; null where not `present`."""
    import pyarrow as pa

    kinds = {"f": (pa.float32(), np.float32), "i": (pa.int32(), np.int32)}
    if values.dtype == np.bool_:
        kind, data = pa.bool_(), _bits(values)
    else:
        kind, dtype = kinds[values.dtype.kind]
        data = pa.py_buffer(np.ascontiguousarray(values, dtype=dtype))
    return pa.Array.from_buffers(kind, len(values), [_nulls(present), data])


def text_column(values: Sequence[str], present: Bools | None = None) -> Any:
    """Return texts as a column of strings; null where not `present`, whose text must be "".

    Raises
    ------
    UnicodeEncodeError
        Where one is not valid Unicode.
    """
    import pyarrow as pa

    whole = "".join(values)
    sizes = map(len, values) if whole.isascii() else (len(text.encode()) for text in values)
    ends = _ends(np.fromiter(sizes, dtype=np.int64, count=len(values)))
    return pa.Array.from_buffers(pa.string(), len(values), [_nulls(present), ends, pa.py_buffer(whole.encode())])


def name_column(codes: Ints, every: Sequence[str], present: Bools | None = None) -> Any:
    """Return every[codes] as a column of strings; null where not `present`."""
    shown = codes if present is None else np.where(present, codes, len(every))
    return text_column([(*every, "")[code] for code in shown.tolist()], present)


def list_column(lengths: Ints, values: Any, present: Bools | None = None) -> Any:
    """Return a column of lists, the next `lengths` (N,) of the column `values` each; null where not `present`."""
    import pyarrow as pa

    return pa.Array.from_buffers(
        pa.list_(values.type), len(lengths), [_nulls(present), _ends(lengths)], children=[values]
    )


def rows_of_floats(values: Floats, present: Bools | None = None) -> Any:
    """Return rows (N, C) as a column of lists; null where not `present`."""
    n, c = values.shape
    if present is None:
        return list_column(np.full(n, c), number_column(values.ravel()))
    return list_column(np.where(present, c, 0), number_column(values[present].ravel()), present)


def rows_of_texts(rows: Sequence[Sequence[str]]) -> Any:
    """Return rows of texts as a column of lists."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    return list_column(lengths, text_column(list(chain.from_iterable(rows))))


def values_of(array: Any, absent: float = 0) -> NDArray[Any]:
    """Return a column of float32, int32 or truth values, in one piece, as (N,); `absent` where it is null."""
    import pyarrow as pa

    n, memory = len(array), array.buffers()[1]
    if pa.types.is_boolean(array.type):
        values = _unpacked(memory, array.offset, n)
    else:
        dtype = np.dtype("<f4") if pa.types.is_float32(array.type) else np.dtype("<i4")
        values = np.frombuffer(memory, dtype, n, dtype.itemsize * array.offset) if n else np.zeros(0, dtype)
    return np.where(valid(array), values, values.dtype.type(absent)) if array.null_count else values


def valid(array: Any) -> Bools:
    """Return which cells of a column are not null, (N,)."""
    if not array.null_count:
        return np.ones(len(array), dtype=np.bool_)
    return _unpacked(array.buffers()[0], array.offset, len(array))


def lengths_of(array: Any) -> Ints:
    """Return how long the texts (in bytes) or lists of a column are, (N,) int32; 0 where null."""
    return np.where(valid(array), np.diff(_ends_in(array)), np.int32(0))


def hashed_parts(array: Any) -> Iterator[bytes | memoryview]:
    """Yield what a digest of a column goes over: which cells are null, lengths, and values; not how they are stored."""
    import pyarrow as pa

    yield np.packbits(valid(array)).tobytes()
    if pa.types.is_list(array.type):
        yield lengths_of(array).astype("<i4").tobytes()
        yield from hashed_parts(array.flatten())
    elif pa.types.is_string(array.type):
        if len(array):
            lengths = lengths_of(array)
            yield lengths.astype("<i4").tobytes()
            ends = _ends_in(array)
            if ends[-1] - ends[0] > lengths.sum(dtype=np.int64):  # something lies where cells are null
                array = array.drop_null()
                ends = _ends_in(array)
            yield memoryview(array.buffers()[2] or b"")[ends[0] : ends[-1]]
    elif pa.types.is_boolean(array.type):
        yield np.packbits(values_of(array)).tobytes()
    else:
        yield values_of(array).astype("<f4").tobytes()


def _ends_in(array: Any) -> Ints:
    """Return where in its values each text or list of a column begins, and where the last ends, (N + 1,) int32."""
    n = len(array)
    return np.frombuffer(array.buffers()[1], "<i4", n + 1, 4 * array.offset) if n else np.zeros(1, dtype=np.int32)


def _bits(flags: Bools) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _unpacked(memory: Any, start: int, n: int) -> Bools:
    if not n:
        return np.zeros(0, dtype=np.bool_)
    bits = np.unpackbits(np.frombuffer(memory, np.uint8), count=start + n, bitorder="little")
    return bits[start:].astype(np.bool_)


def _nulls(present: Bools | None) -> Any:
    return None if present is None or present.all() else _bits(present)


def _ends(lengths: Ints) -> Any:
    import pyarrow as pa

    ends = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    if ends[-1] > MOST:
        raise OverflowError("A column of more than 2 GiB of text or 2 billion numbers.")
    return pa.py_buffer(ends.astype(np.int32))
