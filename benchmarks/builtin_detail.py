"""What the share of `photographs` costs and gives on photographs held back, by how it rises with a picture's detail.

    python benchmarks/builtin_detail.py --targets TARGETS --judge-by REFINED --photographs UNPACKED

Through the package's own path (float32, YuNet's frames), for each of `ENDS` (where detail counts as full,
`facenet.DETAIL`) and `TOPS` (the share there): against labels as they came and cleaned (REFINED: all photographs after
`fercleaner refine`), and agreement with both teachers. All settings are computed in one run: logits of a face are means
over its looks, of each setting by itself.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import builtin_photographs as photos
import numpy as np
import torch
from builtin_finish import SHAPES, label_figures
from builtin_left_out import fidelity
from builtin_pictures import judging
from numpy.typing import NDArray
from PIL import Image
from stamp import stamp
from torch import Tensor, nn
from train_builtin import options

from fercleaner.encoders.alignment import average_with_aligned
from fercleaner.encoders.builtin import CPU_BATCH, FINE_SIZE, INPUT_SIZE, PrepareFace, weights_folder
from fercleaner.encoders.facenet import DETAIL, EXPRESSIONS, FaceNet, FaceOutput, detail_of, load_facenet, pooled_logits
from fercleaner.extraction.detection import choose_framing

#: Where detail counts as full, and shares of `photographs` there.
ENDS, TOPS = (0.055, 0.08, 0.09, 0.1, 0.11), (0.5, 0.7, 0.8, 0.9, 1.0)
SETTINGS = tuple(itertools.product(ENDS, TOPS))
SEVEN = list(EXPRESSIONS[:7])


class EverySetting(nn.Module):
    """The network with the logits of all settings side by side, (B, 8 S)."""

    def __init__(self, network: FaceNet, temperature: float) -> None:
        super().__init__()
        self.network, self.temperature = network, temperature

    def forward(self, pictures: Tensor) -> FaceOutput:
        """Return the outputs, logits (B, 8 S)."""
        out, photographs = self.network.looks(pictures)
        logits = []
        for end, top in SETTINGS:
            pool = torch.stack((self.network.pool[0], torch.tensor([(1 - top) / self.temperature, top])))
            logits.append(pooled_logits(out.logits, photographs, detail_of(pictures, (DETAIL[0], end)), pool))
        return out._replace(logits=torch.cat(logits, 1))


def photograph_logits(network: nn.Module, pictures: list[Path], models: Path) -> tuple[Tensor, NDArray[np.bool_]]:
    """Return the logits (N, 8 S) of photographs larger than 48 pixels, and which of them have one face."""
    prepare, size = PrepareFace(choose_framing("auto", str(models))[0]), INPUT_SIZE**2
    faces = []
    for path in pictures:
        with Image.open(path) as image:
            faces.append(prepare(image.convert("RGB")))
    found = np.array([len(face) > 1 for face in faces])
    seen = torch.from_numpy(np.stack([face for face in faces if len(face) > 1])).float() / 255
    parts = []
    with torch.inference_mode():
        for some in seen.split(CPU_BATCH):
            small = some[:, :size].reshape(-1, 1, INPUT_SIZE, INPUT_SIZE)
            fine = some[:, size + 24 :].reshape(-1, 1, FINE_SIZE, FINE_SIZE)
            parts.append(average_with_aligned(network, small, SHAPES, fine).logits)
    return torch.cat(parts), found


def figures(logits: Tensor, labels: dict[str, NDArray[np.str_]], teachers: dict[str, Tensor]) -> dict[str, Any]:
    """Return the figures of logits (N, 8): against each of the labels, and agreement with each teacher."""
    done: dict[str, Any] = {}
    for name, truth in labels.items():
        known = np.isin(truth, SEVEN)
        posterior = logits[torch.from_numpy(known)][:, :7].double().softmax(1).numpy()
        done[name] = label_figures(logits, truth)
        done[name]["average_precision"] = judging(posterior, truth[known], None, SEVEN)["average_precision"]
    guess = logits[:, :7].argmax(1)
    for name, teacher in teachers.items():
        top = teacher[:, :7].argmax(1)
        recalls = {c: round(float((guess == k)[top == k].float().mean()), 4) for k, c in enumerate(SEVEN)}
        done[f"{name}-expression network"] = {**fidelity(logits, teacher[:, :7]), "recalls": recalls}
    return done


def main() -> None:
    """Judge every setting, print and write."""
    parser = options()
    parser.add_argument("--judge-by", type=Path, required=True, help="all photographs with cleaned labels")
    parser.add_argument("--photographs", type=Path, required=True, help="what ../shared/wild/images.tar unpacks to")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "builtin_detail.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    about = json.loads((weights_folder() / "builtin.json").read_text())
    network = EverySetting(load_facenet(str(weights_folder() / "builtin.safetensors")), about["temperature of votes"])
    some = photos.read_photographs(args.wild, args.targets)
    parts = photos.split_photographs(some.groups, args.groups, args.seed)
    cleaned = np.array(EXPRESSIONS)[photos.cleaned_labels(args.judge_by, some.names)[0].argmax(1).numpy()]
    result: dict[str, Any] = {}
    for part in ("choose", "test"):
        rows = np.flatnonzero(parts[part])
        folder = args.photographs / "images"
        logits, found = photograph_logits(network, [folder / some.names[k] for k in rows.tolist()], args.models)
        rows = rows[found]
        labels = {"cleaned labels": cleaned[rows], "labels as they came": some.labels[rows]}
        teachers = {"seven": some.expression[rows], "five": some.emotion[rows]}
        result[part] = [
            {"full detail": end, "share": top, **figures(one, labels, teachers)}
            for (end, top), one in zip(SETTINGS, logits.split(len(EXPRESSIONS), 1), strict=True)
        ]
        for row in result[part]:
            clean, seven = row["cleaned labels"], row["seven-expression network"]
            kept = {key: round(clean[key], 3) for key in ("accuracy", "average_precision", "calibration_error")}
            print(part, row["full detail"], row["share"], kept, round(seven["agreement balanced"], 3), flush=True)
    args.out.write_text(json.dumps({**stamp(), "results": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
