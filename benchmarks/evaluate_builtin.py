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
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_changes import CHANGES, change_figures, changed, share_aligned
from builtin_data import VARYING, Faces, read_faces, split_groups
from builtin_figures import (
    SHAPES,
    clear_rows,
    correlations,
    expression_figures,
    judging_figures,
    run_network,
    shape_figures,
)
from builtin_pictures import judge_folder
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fercleaner.core.errors import FercleanerError
from fercleaner.encoders.builtin import BuiltinExtractor, read_description
from fercleaner.encoders.facenet import FaceNet, count_parameters, load_facenet


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


def core_seconds(network: FaceNet, pictures: Tensor, align: bool, some: int = 256) -> float:
    """Return the processor time that the network takes for all of `pictures`, from `some` of them."""
    start = time.process_time()
    run_network(network, pictures[:some], mirror=True, half=False, align=align)
    return round((time.process_time() - start) * len(pictures) / some, 1)


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
    parser.add_argument(
        "--classes", type=lambda text: text.split(","), help="what numbers in --truth mean: fer2013, ..."
    )
    parser.add_argument(
        "--alias", action="append", default=[], help="SPELLING=NAME of a label in --truth; SPELLING= leaves it out"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.pictures:
        if not args.truth:
            parser.error("--pictures needs --truth CSV.")
        alias = dict(text.partition("=")[::2] for text in args.alias)
        try:
            result = judge_folder(
                args.pictures, args.truth, args.weights, args.detector_weights, args.crop, args.classes, alias
            )
        except FercleanerError as error:
            raise SystemExit(str(error)) from error
        write(result, args)
    else:
        write(judge_heldback(args), args)


def judge_heldback(args: argparse.Namespace) -> dict[str, Any]:
    """Return every figure on the groups held back."""
    network = load_facenet(str(args.weights))
    temperature = float(read_description(args.weights)["temperature"])
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
