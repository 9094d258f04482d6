"""The nearest vectors of many queries by matrix products in low precision: who may be among them, and no one else.

Products of bfloat16, where the processor has them, take a fifth of the time of float32. What they round away is
bounded, so that a scan of all vectors names every true neighbor and a few more, which are then scored exactly. Few of
the products are looked at: a first bound on each query's want-th similarity comes from the places around it, and what
is below it is passed over.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.arrays import Bools, Floats, Ints
from .backend import Apart
from .places import places

#: Queries at once; their number must fit 16 bits.
QUERIES = 16_384
#: Sides of products are filled up to multiples of these: each new shape costs as much as some products.
ROWS, COLUMNS = 256, 64
#: Queries that share first bounds, and vectors around them that give these.
TOGETHER, FIRST = 256, 4096
#: Products held at once: 8 MiB of bfloat16.
HELD = 1 << 22
#: Queries and vectors beside each other that are multiplied at once in a scan of everything.
TILE, PIECE = 1024, 4096
#: Bounds are made anew when so many times the wanted candidates have come, on average.
ROOM = 3
#: Most candidates a query, as a multiple of those wanted.
MOST = 4
#: The smallest key of bfloat16 bits read as int16: all pass it.
LOWEST = np.iinfo(np.int16).min

#: Where Linux says what a processor can do, and the words for instructions that torch multiplies bfloat16 by.
PROCESSOR, BFLOAT16 = Path("/proc/cpuinfo"), ("avx512_bf16", "amx_tile")

Packed = NDArray[np.uint64]


class Scan:
    """Unit vectors by place, in the precision in which this processor multiplies fastest.

    Parameters
    ----------
    sure : bool
        Whether `slack` bounds by how much the difference of two products can differ from that of the true ones; else
        it is a quarter of that, which rounding hardly ever comes near.
    half : bool, optional
        Whether to multiply bfloat16; by default where the processor does.

    Cost: memory of 2 N D bytes (bfloat16) or 4 N D.
    """

    def __init__(self, vectors: Floats, *, sure: bool = True, half: bool | None = None) -> None:
        own, centers = places(vectors)
        self.order = np.argsort(own, kind="stable")
        self.starts = np.searchsorted(own[self.order], np.arange(len(centers) + 1))
        self.half = multiplies_bfloat16() if half is None else half
        self.stored: Any
        self.stored, lost = _in_bfloat16(vectors, self.order) if self.half else (vectors[self.order], 0.0)
        self.centers = self.ready(centers)
        self.lists = len(centers)
        # <x, y> - <x', y'> = <x - x', y> + <x', y - y'>; then the product is rounded to 8 bits, or cut to them
        rounded = 2.0**-9 if self.half else 2.0**-8
        self.slack = 2 * (2 * lost * (1 + lost) + rounded + 2e-6) * (1 if sure else 0.25)

    def find(self, queries: Floats, want: int, depth: int, apart: Apart | None = None) -> Ints:
        """Return the rows of candidates, (q, m) int64, falling by their product, -1 where a query has fewer than m.

        Of all vectors, or those in the `depth` places nearest to a query, they are all that can be among the `want`
        nearest; where these are more than `MOST` times `want`, the largest products (then no -1 stands in the row).
        Members of a query's group (`apart`) are passed over.
        """
        held = None if apart is None else apart.held[self.order]
        found = []
        for start in range(0, len(queries), QUERIES):
            part = slice(start, start + QUERIES)
            groups = None if apart is None or held is None else Apart(apart.asked[part], held)
            found.append(self._find(queries[part], want, depth, groups))
        width = max((rows.shape[1] for rows in found), default=1)
        whole = np.full((len(queries), width), -1, dtype=np.int64)
        for number, rows in enumerate(found):
            whole[number * QUERIES : number * QUERIES + len(rows), : rows.shape[1]] = rows
        return whole

    def _find(self, queries: Floats, want: int, depth: int, apart: Apart | None) -> Ints:
        n = len(queries)
        room = more = ROOM * want * n
        asked = self.ready(queries)
        least = self.first_bounds(asked, want, apart)
        bound = keys_of(least, self.half)
        held: list[Packed] = []
        count = 0
        for rows, columns in self._pieces(asked, depth):
            keys = self.products(asked if rows is None else asked[rows], self.stored, columns)
            hits = np.flatnonzero(keys >= (bound if rows is None else bound[rows])[:, None])
            own, other = np.divmod(hits, keys.shape[1])
            asker = own if rows is None else rows[own]
            if apart is not None:
                strangers = np.flatnonzero(apart.asked[asker] != apart.held[other + columns.start])
                own, other, asker = own[strangers], other[strangers], asker[strangers]
            held.append(packed_hits(asker, bits_of(keys[own, other]), other + columns.start))
            count += len(own)
            if count > room:
                kept, fresh = self.best(np.concatenate(held), n, want)
                held, count, room = [kept], len(kept), len(kept) + more
                least = np.maximum(least, fresh)
                bound = keys_of(least, self.half)
        return self.table(self.best(np.concatenate(held), n, want)[0], n, MOST * want)

    def _pieces(self, asked: Any, depth: int) -> Iterator[tuple[Ints | None, slice]]:
        """Yield which queries (all, or row numbers) to compare with which stored vectors."""
        n = len(self.order)
        if depth >= self.lists:
            for start in range(0, n, PIECE):
                for row in range(0, len(asked), TILE):
                    rows = None if len(asked) <= TILE else np.arange(row, min(row + TILE, len(asked)))
                    yield rows, slice(start, min(start + PIECE, n))
            return
        probed = self.probed(asked, depth)
        for place in range(self.lists):
            columns = slice(int(self.starts[place]), int(self.starts[place + 1]))
            rows = np.flatnonzero(probed[place])
            at_once = max(1, HELD // max(1, columns.stop - columns.start))
            for start in range(0, len(rows) if columns.stop > columns.start else 0, at_once):
                yield rows[start : start + at_once], columns

    def probed(self, asked: Any, depth: int) -> Bools:
        """Return which places each query looks into, (C, q)."""
        probed = np.empty((self.lists, len(asked)), dtype=np.bool_)
        for start in range(0, len(asked), TILE):
            near = self.center_keys(asked[start : start + TILE])
            least = np.partition(near, self.lists - depth, axis=1)[:, self.lists - depth]
            probed[:, start : start + TILE] = np.ascontiguousarray((near >= least[:, None]).T)
        return probed

    def ready(self, vectors: Floats) -> Any:
        """Return vectors as they are multiplied: an array of float32, or a tensor of bfloat16."""
        if not self.half:
            return vectors
        import torch

        return torch.from_numpy(np.ascontiguousarray(vectors)).to(torch.bfloat16)

    def center_keys(self, asked: Any) -> NDArray[Any]:
        """Return products of queries and centers as keys that rise with them, (q, C)."""
        return rising(self.products(asked, self.centers, slice(0, self.lists)))

    def products(self, asked: Any, stored: Any, columns: slice | Ints) -> NDArray[Any]:
        """Return products of queries and stored vectors as keys: float32, or bfloat16 bits read as int16.

        Of int16, positive products are in order and above all others (`rising` brings the others in order).
        """
        if not self.half:
            keys: NDArray[Any] = asked @ stored[columns].T
            return keys
        import torch

        n = len(asked)
        if isinstance(columns, np.ndarray):
            others, m = stored[torch.from_numpy(columns)], len(columns)
        else:
            m = columns.stop - columns.start
            others = stored[columns.start : columns.start + -(-m // COLUMNS) * COLUMNS]
        if n % ROWS:
            asked = torch.cat([asked, asked.new_zeros((-n % ROWS, asked.shape[1]))])
        keys = (asked @ others.T).view(torch.int16).numpy()
        return keys[:n, :m]

    def first_bounds(self, asked: Any, want: int, apart: Apart | None, cuts: Sequence[int] = ()) -> Floats:
        """Return what a candidate's product must reach at least, (q,): the want-th of the places around, less slack.

        Queries between two `cuts` look at the same places: those around their mean.
        """
        sizes = np.diff(self.starts)
        least = np.full(len(asked), -np.inf, dtype=np.float32)
        for start, end in pairwise(cuts or [*range(0, len(asked), TOGETHER), len(asked)]):
            part = slice(start, end)
            middle = self.ready(np.asarray(asked[part].float() if self.half else asked[part]).mean(0, keepdims=True))
            near = np.argsort(-self.center_keys(middle)[0], kind="stable")
            near = near[: int(np.searchsorted(np.cumsum(sizes[near]), FIRST)) + 1]
            columns = np.concatenate([np.arange(self.starts[p], self.starts[p + 1]) for p in near.tolist()])[:FIRST]
            if len(columns) < want:
                continue
            keys = self.products(asked[part], self.stored, columns)
            if apart is not None:
                mates = apart.asked[part][:, None] == apart.held[columns]
                keys = np.where(mates, keys.dtype.type(LOWEST if self.half else -np.inf), keys)
            least[part] = _values(bits_of(np.partition(keys, len(columns) - want, axis=1)[:, len(columns) - want]))
        return np.where(least > 0, least - np.float32(self.slack), -np.inf).astype(np.float32)

    def best(self, packed: Packed, n: int, want: int) -> tuple[Packed, Floats]:
        """Return the candidates that can be among the `want` nearest of n queries, sorted, and each query's bound."""
        packed = np.sort(packed)
        own = (packed >> np.uint64(48)).astype(np.int64)
        value = _values((np.uint64(0xFFFF) - ((packed >> np.uint64(32)) & np.uint64(0xFFFF))).astype(np.uint16), True)
        starts = np.searchsorted(own, np.arange(n + 1))
        count = np.diff(starts)
        least = np.full(n, -np.inf, dtype=np.float32)
        enough = count >= want
        least[enough] = value[starts[:-1][enough] + want - 1] - np.float32(self.slack)
        rank = np.arange(len(packed)) - np.repeat(starts[:-1], count)
        return packed[(value >= least[own]) & (rank < MOST * want)], least

    def table(self, packed: Packed, n: int, most: int = 0) -> Ints:
        """Return sorted candidates of n queries as a table of rows, (n, m).

        -1 stands behind the last one of each row, except where the longest row has `most`.
        """
        own = (packed >> np.uint64(48)).astype(np.int64)
        starts = np.searchsorted(own, np.arange(n + 1))
        count = np.diff(starts)
        longest = int(count.max(initial=0))
        table = np.full((n, longest if longest == most else longest + 1), -1, dtype=np.int64)
        column = np.arange(len(packed)) - np.repeat(starts[:-1], count)
        table[own, column] = self.order[(packed & np.uint64(0xFFFFFFFF)).astype(np.int64)]
        return table


def multiplies_bfloat16() -> bool:
    """Return whether this processor multiplies bfloat16 itself, as far as torch knows.

    Torch, whose loading takes longer than many a search, is asked only where the system does not deny it.
    """
    with contextlib.suppress(OSError):  # only Linux lists what a processor can do
        if not any(word in PROCESSOR.read_text(encoding="utf-8", errors="replace") for word in BFLOAT16):
            return False
    import torch

    known = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(bool(ask()) for ask in known if ask is not None)


def _in_bfloat16(vectors: Floats, order: Ints) -> tuple[Any, float]:
    """Return vectors in an order, rounded to bfloat16, and the length of the longest difference to what they were."""
    import torch

    stored, lost = torch.empty(vectors.shape, dtype=torch.bfloat16), 0.0
    for start in range(0, len(vectors), QUERIES):
        part = slice(start, start + QUERIES)
        exact = torch.from_numpy(vectors[order[part]])
        stored[part] = exact
        lost = max(lost, float((exact - stored[part].float()).norm(dim=1).max()))
    return stored, lost


def rising(keys: NDArray[Any]) -> NDArray[Any]:
    """Return keys that rise with the products, negative ones too."""
    return keys ^ ((keys >> 15) & np.int16(0x7FFF)) if keys.dtype == np.int16 else keys


def keys_of(least: Floats, half: bool) -> NDArray[Any]:
    """Return bounds on products as what products are compared as, rounded down: 16-bit numbers, or float32."""
    if not half:
        return least
    return np.where(least > 0, bits_of(least).view(np.int16), np.int16(LOWEST))


def bits_of(values: NDArray[Any]) -> NDArray[np.uint16]:
    """Return bfloat16 bits of keys: int16 as they are, float32 cut to 16 bits."""
    if values.dtype == np.int16:
        return values.view(np.uint16)
    return (np.ascontiguousarray(values).view(np.uint32) >> np.uint32(16)).astype(np.uint16)


def packed_hits(own: Ints, bits: NDArray[np.uint16], other: Ints) -> Packed:
    """Return candidates as numbers that sort by query, then from the largest product down, then by stored vector."""
    ranked = np.where(bits >> 15, ~bits, bits | np.uint16(0x8000))
    packed: Packed = own.astype(np.uint64) << np.uint64(48)
    packed |= (np.uint64(0xFFFF) - ranked.astype(np.uint64)) << np.uint64(32)
    packed |= other.astype(np.uint64)
    return packed


def _values(bits: NDArray[np.uint16], ranked: bool = False) -> Floats:
    """Return the numbers that bfloat16 bits stand for, or their ranks as in `packed_hits`."""
    if ranked:
        bits = np.where(bits >> 15, bits & np.uint16(0x7FFF), ~bits)
    values: Floats = (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values
