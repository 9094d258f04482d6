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
    from .core.errors import FercleanerError
    from .core.refined import RefinedSet
    from .core.types import ActionUnits, Features, Landmarks, Neighbors, Posteriors, Refinement, Samples
    from .datasets import read
    from .datasets.truth import read_truth
    from .evaluation.against_truth import evaluate
    from .pipeline.inputs import Callbacks, Resources, Sources
    from .pipeline.refine import refine
    from .report import Audit, audit
    from .results.parquet import load, write

_HOME = {
    "Audit": "report",
    "audit": "report",
    "read": "datasets",
    "FercleanerError": "core.errors",
    "evaluate": "evaluation.against_truth",
    "Resources": "pipeline.inputs",
    "Callbacks": "pipeline.inputs",
    "Sources": "pipeline.inputs",
    "refine": "pipeline.refine",
    "RefinedSet": "core.refined",
    "load": "results.parquet",
    "write": "results.parquet",
    "read_truth": "datasets.truth",
    "ActionUnits": "core.types",
    "Features": "core.types",
    "Landmarks": "core.types",
    "Neighbors": "core.types",
    "Posteriors": "core.types",
    "Refinement": "core.types",
    "Samples": "core.types",
}

__all__ = [
    "ActionUnits",
    "Audit",
    "Callbacks",
    "Features",
    "FercleanerError",
    "Landmarks",
    "Neighbors",
    "Posteriors",
    "RefinedSet",
    "Refinement",
    "Resources",
    "Samples",
    "Sources",
    "__version__",
    "audit",
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
