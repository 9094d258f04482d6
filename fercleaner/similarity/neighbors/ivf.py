"""Lists of faces around centers of k-means, of which the nearest few are searched: inverted files.

Queries that look into one list are multiplied with it together (`scan`), which takes a tenth of the time of going
through the lists of one query after another.

Source: Jégou, Douze, Schmid, Product quantization for nearest neighbor search, TPAMI 2011 (the coarse part).
"""

from __future__ import annotations

from ...core.arrays import Floats
from .backend import Backend
from .scan import Scan


def ivf(vectors: Floats) -> Backend:
    """Return a backend that searches the lists nearest to each query; `places` says how many lists there are.

    The greatest depth is all lists: all but exact, since candidates are kept by a quarter of the scan's bound.

    Cost: a share depth / lists of exact search, which takes N D / 256 operations a query at least.
    """
    scan = Scan(vectors, sure=False)
    about = {"lists": scan.lists, "quantizer": "k-means"}
    return Backend("ivf", scan.find, range(1, scan.lists + 1), about=about, order=scan.order, scan=scan)
