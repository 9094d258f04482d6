"""The head that the probe puts on frozen views: logistic regression, all folds at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..core.arrays import Bools, Floats, Ints, Progress

#: Ridge on the linear head's weights, times 1 / sqrt(n) for n training faces, beside the mean cross-entropy of rows
#: of length 1 a view. Measured on FER2013's labels against votes, 300 to 28,709 faces: this is stronger than what
#: fits held-out given labels best (those are wrong too), and weaker than where rare classes are lost.
RIDGE = 0.1
#: Full-batch steps of the linear head at most; the held-out loss is flat from there on.
LINEAR_STEPS = 50
#: A head is done when its gradient is this part of the first one: after 30 to 40 steps on FER2013's faces.
CONVERGED = 0.005
#: Rows at once: they stay near the processor between the two products of a step.
BLOCK = 1024
#: Steps towards the largest eigenvalue.
POWER_STEPS = 12


def fit_linear(
    design: Floats,
    given: Floats,
    trains: Bools,
    device: str,
    progress: Progress | None,
    strength: float = RIDGE,
    also: Floats | None = None,
) -> tuple[Floats, Floats]:
    """Train all folds' linear heads at once; return their scores (N, F, C) and mean margins (N, F).

    With `also`, (M, D), scores are (N + M, F, C): those of these rows, which train nothing, stand behind.

    Targets are distributions (N, C). Margins are those of the likeliest class, 0 where a row does not train a head.
    `strength` / sqrt(n) is the ridge. Each head stops by itself, so that no label of its own fold has a say in when.

    Rows of one fold side by side cost least: a block of rows is multiplied only with the heads that it trains.
    """
    work = _Work.of(design, given, trains, device)
    xp, size = work.xp, np.maximum(trains.sum(0), 1)
    ridge = work.place((strength / np.sqrt(size)).astype(np.float32))
    # the cross-entropy's curvature is at most half the largest eigenvalue of sum_i share_i x_i x_i'
    step = 1.0 / (0.55 * work.largest_eigenvalues() + 2.0 * ridge)
    weight = work.place(np.zeros((trains.shape[1], given.shape[1], design.shape[1]), dtype=np.float32))
    bias = work.place(_log_prior(given, trains))
    before, bias_before = weight, bias
    margin = work.place(np.zeros(trains.T.shape, dtype=np.float32))
    pace = work.place(np.ones(trains.shape[1], dtype=np.float32))
    steps, least, goes_on = np.zeros(len(size)), np.zeros(len(size)), np.ones(len(size), dtype=np.bool_)
    for done in range(LINEAR_STEPS):
        faster = (1.0 + xp.sqrt(1.0 + 4.0 * pace**2)) / 2.0
        ahead = ((pace - 1.0) / faster)[:, None]
        at, bias_at = weight + ahead[:, :, None] * (weight - before), bias + ahead * (bias - bias_before)
        slope, bias_slope = work.slopes(at, bias_at, goes_on, margin)
        gradient = slope + 2.0 * ridge[:, None, None] * at
        steps += goes_on
        length = work.host(xp.sqrt((gradient**2).sum((1, 2))))
        least = CONVERGED * length if done == 0 else least
        goes_on = goes_on & (length > least)
        going = work.place(goes_on)
        before, bias_before = weight, bias
        weight = xp.where(going[:, None, None], at - step[:, None, None] * gradient, weight)
        bias = xp.where(going[:, None], bias_at - bias_slope, bias)
        # O'Donoghue and Candes: a fold whose momentum points uphill starts its momentum anew
        uphill = (gradient * (weight - before)).sum((1, 2)) > 0
        pace = xp.where(uphill, xp.ones_like(pace), faster)
        if progress is not None:
            progress(done + 1 if goes_on.any() else LINEAR_STEPS, LINEAR_STEPS)
        if not goes_on.any():
            break
    logits = np.empty((len(design) + (0 if also is None else len(also)), *bias.shape), dtype=np.float32)
    work.score(weight, bias, work.x, logits[: len(design)])
    if also is not None:
        work.score(weight, bias, work.place(also), logits[len(design) :])
    return logits, np.where(trains, (work.host(margin) / steps[:, None]).T, 0.0).astype(np.float32)


def own_margin(xp: Any, scores: Any, own: Any) -> Any:
    """Return the score of the own class less the best other score, (F, N), of (F, C, N) and (C, N) bool."""
    return xp.where(own, scores, 0.0).sum(1) - xp.amax(xp.where(own, -np.inf, scores), 1)


def _log_prior(given: Floats, trains: Bools) -> Floats:
    """Return the log frequencies of the classes among each fold's training faces, (F, C)."""
    n, c = given.shape
    mean = (trains / np.maximum(trains.sum(0), 1)).astype(np.float32).T @ given
    prior: Floats = np.log((mean + 1.0 / n) / (1.0 + c / n)).astype(np.float32)
    return prior


class _Work(NamedTuple):
    """The rows where they are computed with: arrays of numpy on the CPU, tensors of torch on a GPU.

    So no run loads torch for heads alone, which takes longer than those of 10,000 faces. Faces are last: a row a fold
    and class makes long, contiguous products of few columns.

    Parameters
    ----------
    xp : module
        numpy or torch; what is called here has one name in both.
    device : str
    x : (N, D)
    y : (C, N)
    own : (C, N) bool
        The likeliest class of each row.
    share : (F, N)
        Weight of each row in each fold's mean; 0 where it does not train.
    blocks : list of (slice, (H,) int64)
        Rows, and the folds whose heads some of them train.
    """

    xp: Any
    device: str
    x: Any
    y: Any
    own: Any
    share: Any
    blocks: list[tuple[slice, Ints]]

    @classmethod
    def of(cls, design: Floats, given: Floats, trains: Bools, device: str) -> _Work:
        """Return the work of these rows on a device."""
        xp: Any = np
        if device != "cpu":
            import torch

            xp = torch
        share = (trains / np.maximum(trains.sum(0), 1)).astype(np.float32)
        own = given.argmax(1) == np.arange(given.shape[1])[:, None]
        slices = [slice(start, min(start + BLOCK, len(design))) for start in range(0, len(design), BLOCK)]
        blocks = [(rows, np.flatnonzero(trains[rows].any(0))) for rows in slices]
        bare = cls(xp, device, None, None, None, None, blocks)
        placed = {"x": design, "y": given.T, "own": own, "share": share.T}
        return bare._replace(**{name: bare.place(array) for name, array in placed.items()})

    def place(self, array: NDArray[Any]) -> Any:
        """Return a contiguous array where it is computed with."""
        array = np.ascontiguousarray(array)
        return array if self.xp is np else self.xp.from_numpy(array).to(self.device)

    def host(self, array: Any) -> NDArray[Any]:
        """Return what was computed as an array of numpy."""
        return np.asarray(array if self.xp is np else array.cpu())

    def largest_eigenvalues(self) -> Any:
        """Return the largest eigenvalue of sum_i share_i x_i x_i' of each fold, (F,), by the power method."""
        probe = self.place(np.ones((len(self.share), self.x.shape[1]), dtype=np.float32))
        length = self.xp.sqrt((probe**2).sum(1))
        for _ in range(POWER_STEPS):
            turned, unit = self.xp.zeros_like(probe), probe / self.xp.clip(length, 1e-30, None)[:, None]
            for rows, heads in self.blocks:
                turned[heads] += ((unit[heads] @ self.x[rows].T) * self.share[heads, rows]) @ self.x[rows]
            probe, length = turned, self.xp.sqrt((turned**2).sum(1))
        return length

    def slopes(self, weight: Any, bias: Any, goes_on: Bools, margin: Any) -> tuple[Any, Any]:
        """Return the slopes of the mean cross-entropy of the heads that go on; add to `margin` (F, N) their margins."""
        xp, slope, bias_slope = self.xp, self.xp.zeros_like(weight), self.xp.zeros_like(bias)
        for rows, trained in self.blocks:
            heads = trained[goes_on[trained]]
            if not len(heads):
                continue
            x, own = self.x[rows], self.own[:, rows]
            z = self._scored(weight[heads], bias[heads], x)
            margin[heads, rows] += own_margin(xp, z, own)
            z = xp.exp(z - xp.amax(z, 1)[:, None])
            error = (z / z.sum(1)[:, None] - self.y[:, rows]) * self.share[heads, rows][:, None]
            slope[heads] += (error.reshape(-1, error.shape[2]) @ x).reshape(*error.shape[:2], -1)
            bias_slope[heads] += error.sum(2)
        return slope, bias_slope

    def score(self, weight: Any, bias: Any, x: Any, out: Floats) -> None:
        """Write the scores of all heads, (M, F, C)."""
        for start in range(0, len(x), BLOCK):
            scores = self.host(self._scored(weight, bias, x[start : start + BLOCK]))
            out[start : start + BLOCK] = scores.transpose(2, 0, 1)

    @staticmethod
    def _scored(weight: Any, bias: Any, x: Any) -> Any:
        """Return scores of rows (B, D), (H, C, B)."""
        return (weight.reshape(-1, x.shape[1]) @ x.T).reshape(*bias.shape, -1) + bias[:, :, None]
