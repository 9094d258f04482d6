"""The k nearest faces of every face by cosine similarity, exact or approximate; a file a backend."""

from .backend import EXACT_UP_TO, INDEXES, RECALL, Index, use_gpu
from .search import TELLING, Searcher, Searches, nearest, searcher

__all__ = [
    "EXACT_UP_TO",
    "INDEXES",
    "RECALL",
    "TELLING",
    "Index",
    "Searcher",
    "Searches",
    "nearest",
    "searcher",
    "use_gpu",
]
