"""Which faces an epoch shows, and in which order: as they are, every class alike, or from the one to the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch.utils.data import Sampler

from ..core.arrays import Ints
from ..core.errors import InputError
from .faces import stream

Balance: TypeAlias = Literal["none", "classes", "progressive"]


def progressive_counts(sizes: Sequence[int], epoch: int, epochs: int) -> list[int]:
    """Return how often each class is drawn in an epoch.

    With n_c faces of class c of N in all, e of E epochs done and C classes that have faces,

        n_c(e) = ceil( N [ (1 - e / E) n_c / N + (e / E) / C ] )

    so that the first epoch has every face once and the last is (E - 1) / E balanced. A class without faces is drawn 0
    times.

    Source
    ------
    LA-Net's sampler (hw-tony/LA-Net at 74bb121).

    Examples
    --------
    >>> progressive_counts([8, 2], 0, 4), progressive_counts([8, 2], 2, 4)
    ([8, 2], [7, 4])
    """
    total, present = sum(sizes), sum(n > 0 for n in sizes)
    # in whole numbers: ceil of floats would be off by one where the sum is whole
    return [-(-((epochs - epoch) * n * present + epoch * total) // (epochs * present)) if n else 0 for n in sizes]


def balanced_counts(sizes: Sequence[int]) -> list[int]:
    """Return ceil(N / C) for every class that has faces: each class as often as the others."""
    return progressive_counts(sizes, 1, 1)


class EpochSampler(Sampler[tuple[int, int]]):
    """Yields the (place, copy) of every draw of an epoch, shuffled; of a face drawn again, the copy counts on from 0.

    A class is drawn without replacement while it has enough faces: whole copies of it, and a remainder.

    Parameters
    ----------
    label : (M,) int64
        Class of each face; -1 for none (these are drawn once each, whatever the balance).
    epochs : int
        E of `progressive_counts`.
    balance : {"none", "classes", "progressive"}
        Every face once; every class alike; from the one to the other as epochs go by.
    seed : int
        The order depends on it and on the epoch alone.
    paired : bool
        Where there are faces of class -1: faces with and without a class by turns, the fewer of them again and again,
        so that a batch holds as many of both.
    """

    def __init__(
        self, label: Ints, epochs: int, balance: Balance = "none", seed: int = 0, *, paired: bool = False
    ) -> None:
        if balance not in get_args(Balance):
            raise InputError(f"balance is '{balance}'; choose {', '.join(get_args(Balance))}.")
        self.label, self.epochs, self.balance, self.seed = np.asarray(label), epochs, balance, seed
        self.paired = paired and bool((self.label < 0).any()) and bool((self.label >= 0).any())
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Yield the draws of another epoch from now on."""
        self.epoch = epoch

    def counts(self) -> list[int]:
        """Return how often each class is drawn in this epoch."""
        sizes = np.bincount(self.label[self.label >= 0]).tolist()
        if self.balance == "classes":
            return balanced_counts(sizes)
        return progressive_counts(sizes, self.epoch if self.balance == "progressive" else 0, max(1, self.epochs))

    def __len__(self) -> int:
        known, other = sum(self.counts()), int((self.label < 0).sum())
        return 2 * max(known, other) if self.paired else known + other

    def __iter__(self) -> Iterator[tuple[int, int]]:
        generator = torch.Generator().manual_seed(stream("order", self.seed, self.epoch))
        known: list[tuple[int, int]] = []
        for c, count in enumerate(self.counts()):
            places = np.flatnonzero(self.label == c).tolist()
            copies, rest = divmod(count, len(places)) if places else (0, 0)
            known += [(place, copy) for copy in range(copies) for place in places]
            chosen = torch.randperm(len(places), generator=generator)[:rest].tolist()
            known += [(places[i], copies) for i in chosen]
        other = [(int(place), 0) for place in np.flatnonzero(self.label < 0)]
        if not self.paired:
            yield from _shuffled(known + other, len(known) + len(other), generator)
            return
        half = max(len(known), len(other))
        for pair in zip(_shuffled(known, half, generator), _shuffled(other, half, generator), strict=True):
            yield from pair


def _shuffled(draws: list[tuple[int, int]], count: int, generator: torch.Generator) -> Iterator[tuple[int, int]]:
    """Yield `count` draws in random order; once through all of them, again in another, with further copies."""
    copies = 1 + max((copy for _, copy in draws), default=0)
    for done in range(0, count, max(1, len(draws))):
        order = torch.randperm(len(draws), generator=generator).tolist()
        for i in order[: count - done]:
            place, copy = draws[i]
            yield place, copy + copies * (done // len(draws))
