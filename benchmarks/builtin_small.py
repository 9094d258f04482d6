"""Write a few rows of the shared data in its own form, so that `builtin_all.py --quick` can try all steps.

python benchmarks/builtin_small.py ../shared OUT
"""

from __future__ import annotations

import csv
import sys
import tarfile
from pathlib import Path

import numpy as np

#: One row in so many is taken, of each set: some 700.
EVERY = {"ferplus": 40, "wild": 20}


def write_some(folder: Path, out: Path, every: int) -> None:
    """Write every so-manieth row of a set's tables and arrays, and the pictures of these rows; labels.csv last."""
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.txt"):
        (out / file.name).write_text(file.read_text())
    for file in folder.glob("*.npy"):
        np.save(out / file.name, np.load(file, mmap_mode="r")[::every])
    for file in sorted(folder.glob("*.csv"), reverse=True):
        with file.open(newline="") as lines:
            head, *rows = csv.reader(lines)
        if file.name == "labels.csv":
            names = {Path(row[head.index("image")]).name for row in rows[::every]}
            with tarfile.open(folder / "images.tar") as tar, tarfile.open(out / "images.tar", "w") as some:
                for member in tar:
                    if Path(member.name).name in names:
                        some.addfile(member, tar.extractfile(member))
        with (out / file.name).open("w", newline="") as lines:
            csv.writer(lines).writerows([head, *rows[::every]])


def main() -> None:
    """Write both sets."""
    for name, every in EVERY.items():
        write_some(Path(sys.argv[1]) / name, Path(sys.argv[2]) / name, every)


if __name__ == "__main__":
    main()
