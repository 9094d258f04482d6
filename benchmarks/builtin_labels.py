"""What photographs' labels are worth to the votes' read-out: left out, as they came, cleaned by `fercleaner refine`.

    python benchmarks/builtin_labels.py --targets TARGETS --work WORK --cleaned REFINED --judge-by ALL

The read-out is fitted three times, from the same weights and on the same features of the body that WORK holds, which
stays as it is: of crops (their votes) and of photographs (teachers' posteriors, and the labels beside them). Judged are
photographs of the groups held back, in their canonical frames. REFINED holds the cleaned labels of the photographs to
train on, ALL those of all photographs, which judge.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import builtin_photographs as photos
import builtin_readouts as readouts
import numpy as np
import torch
from builtin_batches import crops_batch, photograph_targets, photographs_batch
from builtin_finish import label_figures, photograph_logs, pooled
from stamp import stamp
from torch import Tensor
from train_builtin import options, read_crops

from fercleaner.encoders.facenet import EXPRESSIONS, FaceNet, load_facenet
from fercleaner.similarity.neighbors.scan import multiplies_bfloat16

#: Files of 1,024 changed crops, and of as many photographs, that the read-out is fitted on.
FILES = 5


def features(network: FaceNet, some: Any, make: Any) -> list[Tensor]:
    """Return embedding (M, 256) and both targets (M, 8), votes and photographs, of changed faces."""
    parts = [readouts.file_features(network, some, make, number, False) for number in range(FILES)]
    return [
        torch.cat([torch.from_numpy(part[name]) for part in parts]) for name in ("embedding", "votes", "photographs")
    ]


def as_given(labels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return labels as `photos.cleaned_labels` gives cleaned ones, all of them sure."""
    column = torch.tensor([EXPRESSIONS.index(name) for name in labels])
    return torch.nn.functional.one_hot(column, len(EXPRESSIONS)).float(), torch.ones(len(labels), 1)


def main() -> None:
    """Fit, judge, print and write."""
    parser = options()
    parser.add_argument("--judge-by", type=Path, required=True, help="all photographs with cleaned labels")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "builtin_labels.json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    some = photos.read_photographs(args.wild, args.targets)
    parts = photos.split_photographs(some.groups, args.groups, args.seed)
    ours, rows = torch.from_numpy(np.load(args.work / "wild_start.npy")), np.flatnonzero(parts["train"])
    cleaned = photos.cleaned_labels(args.cleaned, some.names)
    versions = {"left out": None, "as they came": as_given(some.labels), "cleaned": cleaned}
    targets = {name: photograph_targets(some, ours, rows, labels) for name, labels in versions.items()}
    judges = np.array(EXPRESSIONS)[photos.cleaned_labels(args.judge_by, some.names)[0].argmax(1).numpy()]
    network = load_facenet(str(args.work / "body.safetensors"))
    crops, votes, _ = features(network, read_crops(args)[1], crops_batch)
    result: dict[str, Any] = {}
    for name, target in targets.items():
        # Draws are those of the targets without labels, so that all three see the same changed faces.
        drawn = dataclasses.replace(targets["left out"], photographs=target.votes)
        faces, _, said = features(network, drawn, photographs_batch)
        fitted = copy.deepcopy(network)
        readouts.fit_expressions(fitted.classify, torch.cat((crops, faces)), torch.cat((votes, said)), args.seed)
        result[name] = {}
        for part in ("choose", "test"):
            kept = np.flatnonzero(parts[part])
            logits = pooled(photograph_logs(fitted, target, kept), 0.0, 1.0)
            result[name][part] = {
                "labels as they came": label_figures(logits, some.labels[kept]),
                "cleaned labels": label_figures(logits, judges[kept]),
            }
        print(name, json.dumps(result[name]), flush=True)
    args.out.write_text(json.dumps({**stamp(), "bfloat16": multiplies_bfloat16(), "results": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
