"""Other tools and papers' rules, one file each; all see the same `Case`."""

from __future__ import annotations

from collections.abc import Callable

from . import (
    bars,
    class_distance,
    cleanlab,
    crowdlab,
    deep_knn,
    docta,
    doubtlab,
    fastdup,
    knn_shapley,
    mistakenness,
    pydvl,
    relation_graph,
    selfclean,
    simifeat,
)
from .base import Case, PeerUnavailable, Verdict

__all__ = ["PEERS", "Case", "PeerUnavailable", "Verdict"]

#: Peers by name. One that gives several scores returns them by name.
PEERS: dict[str, Callable[[Case], Verdict | dict[str, Verdict]]] = {
    **bars.PEERS,
    **deep_knn.PEERS,
    **simifeat.PEERS,
    **relation_graph.PEERS,
    **class_distance.PEERS,
    **knn_shapley.PEERS,
    **mistakenness.PEERS,
    **cleanlab.PEERS,
    **crowdlab.PEERS,
    **doubtlab.PEERS,
    **fastdup.PEERS,
    **pydvl.PEERS,
    **selfclean.PEERS,
    **docta.PEERS,
}
