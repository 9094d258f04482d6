"""Copies of a picture that were cropped otherwise: crops of every picture against all pictures, then fitted."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..core.arrays import Bools, Bytes, Floats, Ints, Progress
from .alike import BLOCK, SIDE, thumbnails, unit

#: Crops of a picture (side, left, top; shares of its side) that are compared with all whole pictures.
CROPS = tuple(
    (side, left * (1 - side) / 2, top * (1 - side) / 2)
    for side, places in (
        (0.95, ((1, 1),)),
        (0.90, ((1, 1), (0, 0), (0, 2), (2, 0), (2, 2))),
        (0.82, ((1, 1), (0, 0), (0, 2), (2, 0), (2, 2), (1, 0), (0, 1), (2, 1), (1, 2))),
    )
    for left, top in places
)
#: Principal components of the thumbnails in which candidates are sought; the cosine that is supposed of the rests
#: outside them (near that of copies; other faces have about 0); the supposed and the true cosine that make a candidate.
COMPONENTS, REST, LEAST_SUPPOSED, LEAST_COSINE = 32, 0.85, 0.86, 0.86
#: Steps of the fit, of the side and of the place, as shares; the cosine under which a pair is dropped after each.
STEPS, HOPELESS = ((0.05, 0.04), (0.025, 0.02), (0.0125, 0.01)), (0.90, 0.96, 0.0)
#: Least side of a crop.
SMALLEST = 0.6
#: Pairs fitted at once.
FITTED = 2048


class Crops(NamedTuple):
    """A crop of picture `whole` (P,) is picture `part` (P,); cosine and agreement of fine detail after the fit."""

    whole: Ints
    part: Ints
    cosine: Floats
    detail: Floats


def recropped(gray: Bytes, known: Ints, progress: Progress | None = None) -> Crops:
    """Return pairs of pictures of which one is like a crop of the other, with how alike they are.

    Each of `CROPS` of each picture is compared with all whole pictures; where the cosine of the thumbnails reaches
    `LEAST_COSINE`, side and place of the crop are fitted by steps that raise it.

    Parameters
    ----------
    gray : (N, S, S) uint8
        As in `pixels.Pixels`.
    known : (K,) int64
        Pairs that need no look, as first * N + second.

    Cost: O(len(CROPS) N^2 COMPONENTS): 28,709 pictures in about half a minute on one core, and 0.3 ms a candidate.
    """
    whole, _ = thumbnails(gray)
    first, second, places = _candidates(gray, whole, progress)
    settled = np.isin(first * len(gray) + second, known)
    first, second, places = first[~settled], second[~settled], places[~settled]
    fits = [
        _fitted(gray, whole, first[at : at + FITTED], second[at : at + FITTED], places[at : at + FITTED])
        for at in range(0, len(first), FITTED)
    ]
    if not fits:
        none = np.zeros(0, dtype=np.float32)
        return Crops(first, second, none, none)
    kept, cosine, fine = (np.concatenate(parts) for parts in zip(*fits, strict=True))
    return Crops(first[kept], second[kept], cosine.astype(np.float32), fine.astype(np.float32))


def _candidates(gray: Bytes, whole: Floats, progress: Progress | None) -> tuple[Ints, Ints, Floats]:
    """Return pairs (P,), (P,) of which a crop (P, 3) of the first is like the second, each pair at its best crop."""
    n, s, _ = gray.shape
    variance, directions = np.linalg.eigh((whole.T @ whole).astype(np.float64))
    basis = directions[:, np.argsort(-variance)[:COMPONENTS]].astype(np.float32)
    short = np.ascontiguousarray(_short(whole, basis).T)
    flat = gray.reshape(n, s * s)
    product = np.empty((BLOCK, n), dtype=np.float32)
    found: list[tuple[Ints, Ints, Floats, Ints]] = []
    for number, (side, left, top) in enumerate(CROPS):
        rows, columns = (_weights(np.array([side]), np.array([at]), s, SIDE)[0] for at in (top, left))
        taken = np.einsum("ai,bj->ijab", rows, columns).reshape(s * s, SIDE * SIDE)
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            thumbs, _ = unit(flat[start:stop].astype(np.float32) @ taken, 1.0)
            table = np.matmul(_short(thumbs, basis), short, out=product[: stop - start])
            i, j = np.divmod(np.flatnonzero(table.ravel() >= LEAST_SUPPOSED), n)
            cosine = np.einsum("md,md->m", thumbs[i], whole[j])
            near = (cosine >= LEAST_COSINE) & (start + i != j)
            found.append((start + i[near], j[near], cosine[near], np.full(int(near.sum()), number)))
        if progress is not None:
            progress(number + 1, len(CROPS))
    first, second, cosine, crop = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((-cosine, second, first))
    first, second, crop = first[order], second[order], crop[order]
    best = np.ones(len(first), dtype=np.bool_)
    best[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[best], second[best], np.array(CROPS, dtype=np.float32)[crop[best]]


def _short(thumbs: Floats, basis: Floats) -> Floats:
    """Return thumbnails in few columns whose products are the cosines if the rests outside `basis` agree by `REST`."""
    inside = thumbs @ basis
    rest = np.sqrt(REST * np.maximum(0, 1 - np.sum(inside**2, axis=1, keepdims=True)))
    return np.concatenate([inside, rest], axis=1)


def _fitted(gray: Bytes, thumbs: Floats, first: Ints, second: Ints, places: Floats) -> tuple[Bools, Floats, Floats]:
    """Return which pairs are worth a word, (P,) bool, and the cosine and detail of these after the fit."""
    pictures, target = gray[first].astype(np.float32), thumbs[second]
    side, left, top = places.T.copy()
    alive = np.arange(len(first))
    best = _cosine(pictures, target, side, left, top)
    for number, (scale, shift) in enumerate(STEPS):
        moves = [(0.0, shift, 0.0), (0.0, -shift, 0.0), (0.0, 0.0, shift), (0.0, 0.0, -shift)]
        moves += [(scale, 0.0, 0.0), (-scale, 0.0, 0.0)]
        for wider, right, down in moves * (1 if number == 0 else 2):
            new_side = np.clip(side[alive] + wider, SMALLEST, 1.0)
            grown = (side[alive] - new_side) / 2  # the middle of the crop stays
            new_left = np.clip(left[alive] + right + grown, 0, 1 - new_side)
            new_top = np.clip(top[alive] + down + grown, 0, 1 - new_side)
            value = _cosine(pictures[alive], target[alive], new_side, new_left, new_top)
            better = value > best[alive]
            rows = alive[better]
            best[rows], side[rows] = value[better], new_side[better]
            left[rows], top[rows] = new_left[better], new_top[better]
        alive = alive[best[alive] >= HOPELESS[number]]
    crops = cut(pictures[alive], side[alive], left[alive], top[alive], gray.shape[1])
    fine = np.einsum("md,md->m", detail(crops), detail(gray[second[alive]]))
    kept = np.zeros(len(first), dtype=np.bool_)
    kept[alive] = True
    return kept, best[alive], np.asarray(fine)


def _cosine(pictures: Floats, target: Floats, side: Floats, left: Floats, top: Floats) -> Floats:
    crops = cut(pictures, side, left, top, SIDE).reshape(len(pictures), SIDE * SIDE)
    return np.asarray(np.einsum("md,md->m", unit(crops, 1.0)[0], target))


def cut(pictures: Bytes | Floats, side: Floats, left: Floats, top: Floats, size: int) -> Floats:
    """Return crops of (M, S, S) pictures, stretched to (M, size, size) float32: linear interpolation, then averages.

    `side`, `left` and `top` (M,) are shares of the picture's side; S is a multiple of `size`.
    """
    s = pictures.shape[1]
    columns, rows = _weights(side, left, s, size), _weights(side, top, s, size)
    crops: Floats = rows @ pictures.astype(np.float32) @ columns.transpose(0, 2, 1)
    return crops


def _weights(side: Floats, start: Floats, s: int, size: int) -> Floats:
    """Return (M, size, s) weights of the source pixels (last axis) for each pixel of a crop."""
    pixels = np.arange(s, dtype=np.float32)
    at = np.clip((pixels + 0.5) * side[:, None] + start[:, None] * s - 0.5, 0, s - 1)
    weights = np.maximum(0, 1 - np.abs(at[:, :, None] - pixels)).astype(np.float32)
    return np.asarray(weights.reshape(len(at), size, s // size, s).mean(2))


def detail(gray: Bytes | Floats) -> Floats:
    """Return pictures (M, S, S) less their mean over 5 x 5 pixels, (M, S^2), mean off and length 1.

    Two pictures of one scene agree in it; two of like faces in like light do not.
    """
    values = gray.astype(np.float32)
    m, s, _ = values.shape
    wide = np.pad(values, ((0, 0), (2, 2), (2, 2)), mode="edge")
    summed = np.pad(wide.cumsum(1).cumsum(2), ((0, 0), (1, 0), (1, 0)))
    mean = (summed[:, 5:, 5:] - summed[:, :-5, 5:] - summed[:, 5:, :-5] + summed[:, :-5, :-5]) / 25
    return unit((values - mean).reshape(m, s * s), 0.5)[0]
