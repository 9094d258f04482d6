"""Judge the builtin network on faces held back from its training.

    python benchmarks/evaluate_builtin.py --data ../shared/ferplus --mesh TARGETS/ferplus_mesh.npz \
        --out benchmarks/results/builtin.json
    python benchmarks/evaluate_builtin.py --pictures FOLDER --truth CSV      (`builtin_pictures`)

`--mesh` is what `builtin_targets.py mesh` wrote; without it points are judged by `../shared/ferplus`'s, whose jaw is
uneven. Prints one JSON object: figures on the groups kept for choosing and on those kept for testing; under changes
of the picture that users' faces come with, through the package's own path, with its mirrored second look aligned
(`fercleaner.encoders.alignment`) and not; and the speed of this machine.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_augment import affine, blur, warp
from builtin_data import VARYING, Faces, read_faces, split_groups
from builtin_pictures import judge_folder
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fercleaner.encoders.alignment import average_with_aligned, canonical_frames
from fercleaner.encoders.builtin import BuiltinExtractor, describe, prepare_face
from fercleaner.encoders.facenet import (
    FaceNet,
    FaceOutput,
    average_with_mirror,
    count_parameters,
    load_facenet,
    mirror_names,
)
from fercleaner.landmarks.action_units import BLENDSHAPES

#: A face is judged when this many annotators agree on one of the seven basic expressions.
CLEAR = 6
#: The expressions of FER2013: all but contempt.
SEVEN = 7
SHAPES = mirror_names(BLENDSHAPES)


def run_network(
    network: FaceNet, pictures: Tensor, mirror: bool = False, half: bool = True, align: bool = True
) -> FaceOutput:
    """Return the outputs for pictures (N, 48, 48) uint8.

    `mirror` averages with their mirror images, `align` puts these into the canonical frame: both as the package
    does. `half` runs in bfloat16, which the package does not, and which is faster where the processor has it.
    """
    average = average_with_aligned if align else average_with_mirror
    parts, batch = [], 64
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=half):
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


def teacher_figures(model: Path, faces: Faces, rows: NDArray[np.intp]) -> dict[str, Any]:
    """How well the teacher of the blendshapes agrees with itself: what it says of the mirror images of `rows`.

    "mirrored" is the correlation of that with what it said of the pictures; "mean of both" that of the mean of the two,
    which no network that treats mirror images alike can be expected to pass.
    """
    from fercleaner.landmarks.mediapipe import FindFace

    find = FindFace(str(model))
    rows = rows[faces.found[rows].numpy()]
    seen = [find(Image.fromarray(faces.pictures[row].numpy()[:, ::-1].copy())) for row in rows]
    kept = [k for k, values in enumerate(seen) if values.size]
    other = torch.from_numpy(np.stack([seen[k][-len(SHAPES) :] for k in kept]))[:, SHAPES]
    stored = faces.blendshapes[rows[kept]] * faces.blend_std.clamp_min(VARYING) + faces.blend_mean
    result: dict[str, Any] = {"faces": len(kept)}
    for name, values in (("mirrored", other), ("mean of both", (stored + other) / 2)):
        row = correlations(stored, values)
        result[name] = float(row[faces.varying].mean())
        result[f"{name}, each"] = [round(float(c), 3) for c in row]
    return result


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


def figures(
    network: FaceNet,
    faces: Faces,
    rows: NDArray[np.intp],
    temperature: float = 1.0,
    mirror: bool = False,
    half: bool = True,
    align: bool = True,
    logits: bool = True,
) -> dict[str, Any]:
    """All figures of the network on `rows`; `logits` as in `shape_figures`."""
    out = run_network(network, faces.pictures[rows], mirror, half, align)
    result = expression_figures(out.logits, faces, rows, temperature) | shape_figures(out, faces, rows, logits)
    return result | {"as a judge of the given labels": judging_figures(out.logits, faces, rows, temperature)}


def fit_temperature(network: FaceNet, faces: Faces, rows: NDArray[np.intp]) -> float:
    """Return the temperature in [0.3, 3] that brings the posteriors of `rows` nearest to the votes.

    Nearest in the mean Jensen-Shannon divergence over all faces with valid votes, clear or not. (The cross-entropy
    asks for flatter posteriors: ten votes are more concentrated than the distribution they are drawn from.)
    """
    logits = run_network(network, faces.pictures[rows], mirror=True).logits
    votes, weight = faces.votes[rows], faces.weight[rows]

    def loss(log_t: float) -> float:
        return float((js_divergence((logits / math.exp(log_t)).softmax(1), votes) * weight).mean())

    low, high, ratio = math.log(0.3), math.log(3), (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return math.exp((low + high) / 2)


def changed(pictures: Tensor, points: Tensor, name: str) -> tuple[list[Image.Image], Tensor]:
    """Return pictures (N, 48, 48) uint8 as a user might have them, and where their points (N, 68, 2) lie then."""
    n = len(pictures)
    x = pictures[:, None].float() / 255
    if "224" in name:
        large = [Image.fromarray(row).resize((224, 224), Image.Resampling.BICUBIC) for row in pictures.numpy()]
        x = torch.from_numpy(np.stack([np.asarray(image) for image in large]))[:, None].float() / 255
    still, zero = torch.ones(n), torch.zeros(n)
    rng = torch.Generator().manual_seed(0)
    sign = (torch.rand(n, generator=rng) < 0.5).float() * 2 - 1
    for change, (scale, roll) in {
        "looser 20 %": (still * 1.2, zero),
        "tighter 20 %": (still * 0.8, zero),
        "roll 15 degrees": (still, sign * math.radians(15)),
        "roll 30 degrees": (still, sign * math.radians(30)),
    }.items():
        if change in name:
            x, points = warp(x, points, affine(scale, roll, zero), torch.zeros(n, 2), "reflection")
    if "blur" in name:
        x = blur(x, still)
    levels = (x[:, 0] * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    return [_seen_by_camera(Image.fromarray(row), name) for row in levels], points


def _seen_by_camera(image: Image.Image, name: str) -> Image.Image:
    if "tint" in name:
        gains = (1.0, 0.8, 0.6)
        image = Image.merge("RGB", [image.point([int(v * g) for v in range(256)]) for g in gains])
    if "JPEG" in name:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=30)
        image = Image.open(buffer)
    return image.convert("RGB")


def through_package(extractor: BuiltinExtractor, images: list[Image.Image]) -> Tensor:
    """Return the "posterior" and "landmarks" columns (N, 197) of pictures, as the package gives them."""
    prepared = [extractor.prepare(image) for image in images]
    starts = range(0, len(prepared), extractor.batch_size)
    return torch.from_numpy(
        np.concatenate([extractor.compute(prepared[k : k + extractor.batch_size])[0] for k in starts])
    )


def change_figures(
    extractor: BuiltinExtractor, images: list[Image.Image], points: Tensor, faces: Faces, rows: NDArray[np.intp]
) -> dict[str, Any]:
    """Accuracy, recall, divergence and landmark error on changed pictures of `rows`; points in their widths."""
    values = through_package(extractor, images)
    row = expression_figures(values[:, :8].clamp_min(1e-12).log(), faces, rows, 1.0)
    found = faces.found[rows]
    truth, guess = points[found], values[found, 8:144].reshape(-1, 68, 2) / images[0].width
    eyes = (truth[:, 36:42].mean(1) - truth[:, 42:48].mean(1)).norm(dim=1)
    error = (truth - guess).norm(dim=2).mean(1) / eyes
    return {k: row[k] for k in ("faces", "accuracy", "mean_recall", "js")} | {
        "landmark_error_median": float(error.median()),
        "landmark_error_p90": float(error.quantile(0.9)),
    }


def share_aligned(network: FaceNet, images: list[Image.Image]) -> float:
    """Return the share of pictures whose second look is turned, moved or scaled."""
    pictures = torch.from_numpy(np.stack([prepare_face(np.asarray(image)) for image in images]))
    out = run_network(network, pictures)
    return float((canonical_frames(out.points, out.found) != torch.eye(3)[:2]).any((1, 2)).float().mean())


def core_seconds(network: FaceNet, pictures: Tensor, align: bool, some: int = 256) -> float:
    """Return the processor time that the network takes for all of `pictures`, from `some` of them."""
    start = time.process_time()
    run_network(network, pictures[:some], mirror=True, half=False, align=align)
    return round((time.process_time() - start) * len(pictures) / some, 1)


CHANGES = (
    "none",
    "tint",
    "enlarged to 224",
    "looser 20 %",
    "tighter 20 %",
    "roll 15 degrees",
    "roll 30 degrees",
    "enlarged to 224, looser 20 %",
    "blur, sigma 1",
    "JPEG 30",
    "enlarged to 224, tint, JPEG 30",
)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    root = Path(__file__).resolve().parent.parent
    weights = root / "fercleaner" / "weights"
    parser.add_argument("--data", type=Path, default=root.parent / "shared" / "ferplus")
    parser.add_argument(
        "--weights", type=Path, default=weights / "builtin.safetensors", help="its description (.json) stands beside it"
    )
    parser.add_argument("--groups", type=Path, default=weights / "heldback_groups.json")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--changed", type=int, help="how many test faces are changed in every way; default all")
    parser.add_argument(
        "--teacher", type=Path, help="face_landmarker.task: how far MediaPipe's blendshapes agree with themselves"
    )
    parser.add_argument("--half", action="store_true", help="bfloat16 throughout, not float32 as in the package")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--mesh", type=Path, help="what builtin_targets.py wrote of the pictures in --data")
    parser.add_argument("--pictures", type=Path, help="judge this folder of pictures instead")
    parser.add_argument("--truth", type=Path, help="table of the folder: image, label and perhaps given")
    parser.add_argument("--crop", default="auto", choices=("auto", "none"), help="framing of --pictures")
    parser.add_argument("--detector-weights", help="YuNet's file, for --pictures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.pictures:
        if not args.truth:
            parser.error("--pictures needs --truth CSV.")
        write(judge_folder(args.pictures, args.truth, args.weights, args.detector_weights, args.crop), args)
    else:
        write(judge_heldback(args), args)


def judge_heldback(args: argparse.Namespace) -> dict[str, Any]:
    """Return every figure on the groups held back."""
    network = load_facenet(str(args.weights))
    temperature = float(describe(args.weights)["temperature"])
    faces = read_faces(args.data, mesh=args.mesh)
    splits = split_groups(faces.groups, args.groups, 0)
    result: dict[str, Any] = {"temperature": temperature, "parameters": count_parameters(network)}
    for name in ("choose", "test"):
        rows = np.flatnonzero(splits[name])
        result[name] = figures(network, faces, rows, temperature, mirror=True, half=args.half)
        result[f"{name}, mirrored without aligning"] = figures(
            network, faces, rows, temperature, mirror=True, half=args.half, align=False
        )
        result[f"{name}, without the mirror image"] = figures(network, faces, rows, temperature)
    rows = np.flatnonzero(splits["test"])
    if args.teacher:
        result["the teacher on mirrored test faces"] = teacher_figures(args.teacher, faces, rows)
    rows = rows[clear_rows(faces.counts[rows]).numpy()][: args.changed]
    result["changes"] = {}
    parts = ("posterior", "landmarks")
    aligned, plain = (
        BuiltinExtractor(parts, weights=args.weights, device="cpu", align=align) for align in (True, False)
    )
    for name in CHANGES:
        images, points = changed(faces.pictures[rows], faces.points[rows], name)
        result["changes"][name] = change_figures(aligned, images, points, faces, rows) | {
            "aligned": share_aligned(network, images),
            "without aligning": change_figures(plain, images, points, faces, rows),
        }
    result["core_seconds_all_faces"] = core_seconds(network, faces.pictures, align=True)
    result["core_seconds_all_faces, mirrored without aligning"] = core_seconds(network, faces.pictures, align=False)
    result["bfloat16"] = args.half
    result["faces"] = len(faces.pictures)
    return result


def write(result: dict[str, Any], args: argparse.Namespace) -> None:
    """Print the figures and write them to --out, with what they were made on."""
    result["threads"] = args.threads
    result["made"] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
