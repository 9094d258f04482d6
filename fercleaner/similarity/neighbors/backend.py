"""What every neighbor index offers, and which one a set of some size gets."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ...core.arrays import Floats, Ints
from ...core.devices import choose_device, has_gpu_driver, torch_gpus
from ...core.errors import FeatureError, MissingDependency
from ...core.text import shown
from .scoring import EDGE

Index = Literal["auto", "exact", "hnsw", "ivf"]
INDEXES: tuple[Index, ...] = ("auto", "exact", "hnsw", "ivf")

#: Faces up to which all pairs are compared where the user names no index. Lists at `RECALL` take less time from about
#: 30,000 half-whitened views of real faces on where products of bfloat16 are fast, from fewer than 20,000 on where they
#: are not; one limit, so that a set gets one answer on all processors (docs/speed.md).
EXACT_UP_TO = 30_000
#: Share of the true nearest neighbors that an approximate index must find, by default.
RECALL = 0.99


class Apart(NamedTuple):
    """Groups whose members are no candidates of one another: those of the queries (q,), and of all vectors (N,)."""

    asked: Ints
    held: Ints


@dataclass
class Backend:
    """An index over unit vectors.

    Parameters
    ----------
    name : str
    find : callable
        (queries (q, D), want, depth, apart) -> candidate rows (q, m) int64, -1 where there are no more. Members of a
        query's own group, itself included, may be among them where the index cannot leave them out.
    depths : sequence of int
        How far a search may look, rising; empty where it looks at everything.
    depth : int
        In use; set by `tuning.tune`.
    about : dict
        What the metadata say of it.
    order : (N,) int64, optional
        In which order rows are best asked about.
    edge : float
        How much more similar than the last candidate of a full row a face may be that is not among them.
    scan : Scan, optional
        Lists in which all faces can be searched at once (`mutual`).
    check : callable, optional
        (faces, tables of all of them) -> which share of some faces' true neighbors is in them, None where `tuning.tune`
        had other groups in mind.
    """

    name: str
    find: Callable[[Floats, int, int, Apart | None], Ints]
    depths: Sequence[int] = ()
    depth: int = 0
    about: dict[str, Any] = field(default_factory=dict)
    order: Ints | None = None
    edge: float = EDGE
    scan: Any = None
    check: Callable[[Any, Ints, Floats], float | None] | None = None

    def candidates(self, queries: Floats, want: int, apart: Apart | None = None) -> Ints:
        """Return the rows of some `want` candidates of each query, (q, m)."""
        return self.find(queries, want, self.depth, apart)


def index_for(index: Index, faces: int, device: str = "cpu") -> Index:
    """Return the index that "auto" stands for: exact up to `EXACT_UP_TO` faces and on a GPU, lists elsewhere."""
    if index != "auto":
        return index
    return "exact" if faces <= EXACT_UP_TO or use_gpu(device) else "ivf"


def import_faiss() -> Any:
    """Return FAISS; raise `MissingDependency` where it is not installed, FeatureError where it cannot be loaded."""
    try:
        import faiss
    except ModuleNotFoundError as error:
        raise MissingDependency("faiss-cpu", "Finding neighbors") from error
    except (ImportError, OSError, RuntimeError, MemoryError) as error:
        raise FeatureError(
            f"FAISS, which finds neighbors, cannot be loaded ({shown(error, 300)}). Give the process more memory "
            "(ulimit -v), or install it again: pip install --force-reinstall faiss-cpu"
        ) from error
    return faiss


def use_gpu(device: str) -> bool:
    """Return whether neighbors are searched on a GPU, as in `choose_device`.

    Where FAISS sees none (faiss-cpu) and a GPU is asked for by name, it is torch that searches (`on_torch`).
    """

    def count() -> int:
        return faiss_gpus() or (torch_gpus() if device.startswith("cuda") else 0)

    return choose_device(device, count, "FAISS") != "cpu"


def faiss_gpus() -> int:
    """Return how many GPUs FAISS sees; FAISS is not loaded for it where there is no driver."""
    if "faiss" not in sys.modules and not has_gpu_driver():
        return 0
    faiss = import_faiss()
    return int(faiss.get_num_gpus()) if hasattr(faiss, "get_num_gpus") else 0
