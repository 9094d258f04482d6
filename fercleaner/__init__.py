"""fercleaner: find wrong and ambiguous labels in facial-expression data; write distributions and weights.

    import fercleaner
    samples = fercleaner.read("rafdb/")
    refined = fercleaner.load("rafdb.refined.parquet")

Names are imported when first used, so that `import fercleaner` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .datasets import read
    from .errors import FercleanerError
    from .evaluation import evaluate
    from .pipeline import Resources, Watch, Witnesses, refine
    from .refined import RefinedSet
    from .store import load, write
    from .truth import read_truth
    from .types import (
        ActionUnits,
        Features,
        Landmarks,
        Neighbors,
        Posteriors,
        Refinement,
        Samples,
    )

_HOME = {
    "read": "datasets",
    "FercleanerError": "errors",
    "evaluate": "evaluation",
    "Resources": "pipeline",
    "Watch": "pipeline",
    "Witnesses": "pipeline",
    "refine": "pipeline",
    "RefinedSet": "refined",
    "load": "store",
    "write": "store",
    "read_truth": "truth",
    "ActionUnits": "types",
    "Features": "types",
    "Landmarks": "types",
    "Neighbors": "types",
    "Posteriors": "types",
    "Refinement": "types",
    "Samples": "types",
}

__all__ = [
    "ActionUnits",
    "Features",
    "FercleanerError",
    "Landmarks",
    "Neighbors",
    "Posteriors",
    "RefinedSet",
    "Refinement",
    "Resources",
    "Samples",
    "Watch",
    "Witnesses",
    "__version__",
    "evaluate",
    "load",
    "read",
    "read_truth",
    "refine",
    "write",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'fercleaner' has no attribute '{name}'")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
