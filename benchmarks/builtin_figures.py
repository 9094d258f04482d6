"""Figures of the builtin network's outputs on FER2013's faces: expressions, judging labels, points, blendshapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from builtin_data import Faces
from builtin_start import mixed_precision
from numpy.typing import NDArray
from torch import Tensor

from fercleaner.encoders.alignment import average_with_aligned
from fercleaner.encoders.facenet import FaceNet, FaceOutput, average_with_mirror, mirror_names
from fercleaner.landmarks.action_units import BLENDSHAPES

#: A face is judged when this many annotators agree on one of the seven basic expressions.
CLEAR = 6
#: The expressions of FER2013: all but contempt.
SEVEN = 7
SHAPES = mirror_names(BLENDSHAPES)


def run_network(
    network: FaceNet, pictures: Tensor, mirror: bool = False, half: bool | None = None, align: bool = True
) -> FaceOutput:
    """Return the outputs for pictures (N, 48, 48) uint8.

    `mirror` averages with their mirror images, `align` puts these into the canonical frame: both as the package
    does. `half` runs in bfloat16, which the package does not; by default where the processor multiplies it.
    """
    average = average_with_aligned if align else average_with_mirror
    parts, batch = [], 64
    with torch.inference_mode(), mixed_precision(half):
        for start in range(0, len(pictures), batch):
            x = (pictures[start : start + batch, None].float() / 255).contiguous(memory_format=torch.channels_last)
            out = average(network, x, SHAPES) if mirror else network(x)
            parts.append(out)
    return FaceOutput(*(torch.cat(column) for column in zip(*parts, strict=True)))


def js_divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence of rows in units of log 2, within [0, 1]."""
    m = (p + q) / 2

    def kl(a: Tensor) -> Tensor:
        return (a * ((a + 1e-12).log() - (m + 1e-12).log())).sum(1)

    return (kl(p) + kl(q)) / (2 * math.log(2))


def clear_rows(counts: Tensor) -> Tensor:
    """Return (N,) bool: at least `CLEAR` annotators chose the same of the seven expressions."""
    top = counts[:, :SEVEN].max(1).values
    return (top >= CLEAR) & (top >= counts.max(1).values)


def expression_figures(logits: Tensor, faces: Faces, rows: NDArray[np.intp], temperature: float) -> dict[str, Any]:
    """Accuracy, recalls, divergence from the votes and calibration of logits (n, 8) for `rows`.

    All are of clear faces but "vote_recall": the share of the votes for an expression that fall on faces for which it
    is the first guess, over all of `rows`, as the mean of the seven. Rare expressions get many more votes than clear
    faces, so that it hangs on a handful of faces far less than the mean recall does.
    """
    keep = clear_rows(faces.counts[rows])
    counts = faces.counts[rows][keep]
    posterior = (logits[keep] / temperature).softmax(1)
    seven = posterior[:, :SEVEN] / posterior[:, :SEVEN].sum(1, keepdim=True)
    votes = counts[:, :SEVEN] / counts[:, :SEVEN].sum(1, keepdim=True)
    truth, guess = votes.argmax(1), seven.argmax(1)
    right = (truth == guess).float()
    recalls = [float(right[truth == c].mean()) if (truth == c).any() else float("nan") for c in range(SEVEN)]
    ballots = faces.counts[rows][:, :SEVEN]
    winners = torch.nn.functional.one_hot(logits[:, :SEVEN].argmax(1), SEVEN)
    sure = seven.max(1).values
    bins = (sure * 10).long().clamp_max(9)
    gaps = [
        float((bins == k).float().mean() * (right[bins == k].mean() - sure[bins == k].mean()).abs())
        for k in range(10)
        if (bins == k).any()
    ]
    return {
        "faces": int(keep.sum()),
        "accuracy": float(right.mean()),
        "mean_recall": float(np.nanmean(recalls)),
        "recalls": [round(r, 4) for r in recalls],
        "vote_recall": float(((ballots * winners).sum(0) / ballots.sum(0).clamp_min(1)).mean()),
        "js": float(js_divergence(seven, votes).mean()),
        "calibration_error": sum(gaps),
    }


def area_under_roc(score: Tensor, positive: Tensor) -> float:
    """Return the area under the ROC curve of scores (n,), larger for positives; ties fall as they come."""
    ranks = torch.empty(len(score), dtype=torch.float64)
    ranks[score.argsort()] = torch.arange(1.0, len(score) + 1, dtype=torch.float64)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    return (float(ranks[positive].sum()) - n1 * (n1 + 1) / 2) / max(n1 * n0, 1)


def judging_figures(logits: Tensor, faces: Faces, rows: NDArray[np.intp], temperature: float) -> dict[str, Any]:
    """How well 1 - posterior of FER2013's label finds the labels that the votes call wrong."""
    keep = clear_rows(faces.counts[rows])
    posterior = (logits[keep] / temperature).softmax(1)[:, :SEVEN]
    given = faces.given[rows][keep]
    wrong = given != faces.counts[rows][keep][:, :SEVEN].argmax(1)
    score = 1 - posterior.gather(1, given[:, None])[:, 0] / posterior.sum(1)
    hits = wrong[score.argsort(descending=True)].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    classes = [c for c in range(SEVEN) if 0 < int(wrong[given == c].sum()) < int((given == c).sum())]
    return {
        "noise_rate": float(wrong.double().mean()),
        "auroc": area_under_roc(score, wrong),
        "average_precision": float((precision * hits).sum() / hits.sum()),
        "auroc_per_class": float(np.mean([area_under_roc(score[given == c], wrong[given == c]) for c in classes])),
    }


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Return the correlation of each column of a (N, M) with that of b, (M,); 0 for a constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    together: Tensor = (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-9)
    return together


def shape_figures(out: FaceOutput, faces: Faces, rows: NDArray[np.intp], logits: bool = True) -> dict[str, Any]:
    """Landmark error in eye distances, correlation of the blendshapes, and AUROC of `found`.

    `logits` off: the blendshapes are standardized values, as they are while the body learns.
    """
    found = faces.found[rows]
    truth, guess = faces.points[rows][found], out.points[found]
    eyes = (truth[:, 36:42].mean(1) - truth[:, 42:48].mean(1)).norm(dim=1)
    error = (truth - guess).norm(dim=2).mean(1) / eyes
    inner = (truth - guess)[:, 17:].norm(dim=2).mean(1) / eyes
    shapes = out.blendshapes[found]
    correlation = correlations(faces.blendshapes[rows][found], shapes.sigmoid() if logits else shapes)
    return {
        "landmark_error_median": float(error.median()),
        "landmark_error_mean": float(error.mean()),
        "landmark_error_p90": float(error.quantile(0.9)),
        "landmark_error_no_jaw_median": float(inner.median()),
        "blendshape_correlation": float(correlation[faces.varying].mean()),
        "blendshape_correlation_std_over_0.1": float(correlation[faces.blend_std > 0.1].mean()),
        "blendshape_correlations": [round(float(c), 3) for c in correlation],
        "blendshapes_varying": int(faces.varying.sum()),
        "blendshapes_std_over_0.1": int((faces.blend_std > 0.1).sum()),
        "found_auroc": area_under_roc(out.found, found),
    }
