"""What the builtin network's read-outs say of the posed photographs that are given as vectors alone (../shared/posed).

    python benchmarks/builtin_posed.py --weights BEFORE --out benchmarks/results/builtin_posed.json

Their embedding is that of the first version's body, so that BEFORE has to be weights with that body (those of the
commit that the results name, and all before them), and their framing was another (portraits whole). The weights now in
the package have another body: nothing here tells how they do. Chosen on nothing of these.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from builtin_pictures import posterior_figures
from stamp import stamp

from fercleaner.core.expressions import canonical
from fercleaner.encoders.builtin import EXPRESSIONS
from fercleaner.encoders.facenet import both_logs, load_facenet, pooled_logits

#: Shares of `photographs` beside those that the weights come with.
SHARES = (0.3, 0.5, 0.8, 0.9)


def main() -> None:
    """Print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--posed", type=Path, default=root.parent / "shared" / "posed")
    parser.add_argument("--weights", type=Path, required=True, help="of the body that the vectors came from")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    truth = {row["image"]: canonical(row["label"]) for row in read(args.posed / "truth.csv")}
    ids = [row["image"] for row in read(args.posed / "labels.csv")]
    rows = [k for k, name in enumerate(ids) if name in truth]
    wanted = np.array([truth[ids[k]] for k in rows])
    embedding = torch.from_numpy(np.load(args.posed / "view_builtin_256.npy")[rows].astype(np.float32))
    network = load_facenet(str(args.weights))
    votes, photographs = network.classify(embedding), network.photographs(embedding)
    first, second = both_logs(votes, photographs)
    logits = {
        "votes": network.pool[0, 0] * first,
        "photographs": second,
        "as shipped, without detail": pooled_logits(votes, photographs, torch.zeros(len(rows)), network.pool),
        "as shipped, with detail": pooled_logits(votes, photographs, torch.ones(len(rows)), network.pool),
    }
    for share in SHARES:
        logits[f"share {share} of photographs"] = (1 - share) * network.pool[0, 0] * first + share * second
    seven = list(EXPRESSIONS[:7])
    result: dict[str, Any] = {
        name: posterior_figures(value[:, :7].softmax(1).numpy(), wanted, seven) for name, value in logits.items()
    }
    for name, row in result.items():
        print(
            f"{name:28s} accuracy {row['accuracy']:.3f} calibration error {row['calibration_error']:.3f}",
            row["recalls"],
        )
    if args.out:
        args.out.write_text(json.dumps({**stamp(), "results": result}, indent=1) + "\n")


def read(file: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


if __name__ == "__main__":
    main()
