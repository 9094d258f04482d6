"""From a method's answer to the refined set that is written: names, reasons, and what made it."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ..core.arrays import Bools, Floats
from ..core.evidence import Evidence
from ..core.refined import RefinedSet
from ..core.types import Refinement, Samples
from ..noise.estimate import held_wrong
from .named_neighbors import named_neighbors, nearest_overall
from .reasons import reasons

#: Packages whose versions can change the numbers, written into the file where installed.
PACKAGES = ("fercleaner", "numpy", "scipy", "faiss-gpu", "faiss-cpu", "torch", "pillow")


def assembled(
    samples: Samples,
    evidence: Evidence,
    refinement: Refinement,
    index: str,
    seed: int,
    about: Mapping[str, Any] | None = None,
) -> RefinedSet:
    """Return the refinement with names, reasons and everything that a file needs to explain itself.

    `about` goes into the metadata beside what always stands there.
    """
    n = len(samples)
    if evidence.neighbors:
        table = nearest_overall(evidence.neighbors)
        spoke_for, spoke_against = named_neighbors(samples, refinement, table)
    else:
        table = None
        spoke_for = spoke_against = ((),) * n
    reason = np.array(reasons(evidence, refinement, table, unknown_to_views(evidence)), dtype=np.str_)
    reason.flags.writeable = False  # so that the set takes it as it is: a fixed width for all is much
    split = samples.split if samples.split is not None else np.full(n, "")
    return RefinedSet(
        ids=samples.ids,
        paths=samples.paths,
        split=split,
        classes=samples.classes,
        labeled=samples.labeled,
        given=samples.given,
        distribution=refinement.distribution,
        weight=refinement.weight,
        quality=refinement.quality,
        flagged=refinement.flagged,
        changed=samples.labeled & held_wrong(samples.given, refinement.distribution),
        reason=reason,
        neighbors_for=spoke_for,
        neighbors_against=spoke_against,
        evidence=refinement.evidence,
        metadata={
            "method": refinement.method,
            "params": dict(refinement.params),
            "layout": samples.layout,
            "views": [
                {"name": name, "faces": int(view.found.sum()), "spec": dict(view.spec)}
                for name, view in evidence.features.items()
            ],
            "index": index,
            "neighbors": {name: dict(table.search) for name, table in evidence.neighbors.items()},
            "seed": seed,
            "grouped": samples.group is not None,
            **({"boxed": True} if _are_parts(samples.boxes) else {}),
            **({"read_as": samples.provenance["read_as"]} if "read_as" in samples.provenance else {}),
            "sites": 0 if samples.site is None else len(set(samples.site.tolist()) - {""}),
            "input_digest": input_digest(samples),
            "versions": versions(),
            **(about or {}),
        },
    )


def unknown_to_views(evidence: Evidence) -> Bools:
    """Return which faces no view has a vector of, (N,)."""
    seen = [np.zeros(len(evidence.samples), dtype=np.bool_), *(view.found for view in evidence.features.values())]
    unknown: Bools = ~np.logical_or.reduce(seen)
    return unknown


def _are_parts(boxes: Floats | None) -> bool:
    """Whether boxes (N, 4) cut faces out of pictures: not where all of them are one, from the corner, as FERPlus's."""
    if boxes is None or not np.isfinite(boxes).any():
        return False
    known = boxes[np.isfinite(boxes).all(1)]
    return bool(known[:, :2].any() or (known != known[:1]).any())


def input_digest(samples: Samples) -> str:
    """Return the SHA-256 of ids, classes, given labels, groups and sites, as hex."""
    seal = hashlib.sha256()
    parts = ["\x00".join(samples.ids.tolist()), "\x00".join(samples.classes)]
    parts += ["\x00".join(names.tolist()) for names in (samples.group, samples.site) if names is not None]
    for part in parts:
        seal.update(part.encode("utf-8", "surrogateescape"))
        seal.update(b"\x01")
    seal.update(np.ascontiguousarray(samples.given).tobytes())
    return seal.hexdigest()


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of Python and of those of `packages` that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
