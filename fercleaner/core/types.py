"""The data that flows through fercleaner: frozen, checked when built, arrays read-only.

Rows are aligned by id. `N` counts faces, `C` classes, `D` dimensions, `k` neighbors, `E` hyperedges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from .arrays import Bools, Floats, Ints, Strings, check_distributions, check_range, freeze, frozen_array, row_not_finite
from .checks import check_samples, names_in_order
from .errors import InputError


class ImageSource(Protocol):
    """Where the encoded pictures of a dataset come from; small and picklable, so that workers can hold it."""

    def __len__(self) -> int: ...

    def read(self, row: int) -> bytes:
        """Return the encoded picture (PNG, JPEG, ...) of `row`, from any thread; OSError when it cannot be read."""
        ...

    def name(self, row: int) -> str:
        """Return what to call the picture in a message, such as its path."""
        ...


@dataclass(frozen=True, eq=False)
class Samples:
    """The faces of a dataset and what is given about them.

    Parameters
    ----------
    ids : (N,) str
        Unique name of each face; for files, the path as the dataset writes it.
    classes : tuple of C str
        Class names; the column order of every (N, C) array beside it.
    given : (N, C) float32
        Given label as a distribution (one-hot for a single label); all zero where not labeled.
    labeled : (N,) bool
    paths : (N,) str
        Picture of each face as a path, or "" where there is none.
    votes : (N, C) float32, optional
        Annotators' counts behind `given`.
    split, group, site : (N,) str, optional
        Split name; what must stay together and not vote for itself (subject, video, near-duplicates);
        client or annotator pool that may have its own noise.
    boxes : (N, 4) float32, optional
        Face box in pixels: left, top, right, bottom; NaN where none is known.
    points : (N, 68, 2) float32, optional
        Landmarks shipped with the dataset, pixels, x right, y down; NaN where none.
    notes : (N,) str, optional
        Why a row is unlabeled or has no picture; "" where all is well.
    images : ImageSource, optional
        Opens pictures; None when the dataset is vectors alone.
    layout : str
        The dataset layout that was read.
    provenance : mapping
        What was read and what was left out (columns, files), JSON types; `datasets.describe` puts it into words.
    """

    ids: Strings
    classes: tuple[str, ...]
    given: Floats
    labeled: Bools
    paths: Strings
    votes: Floats | None = None
    split: Strings | None = None
    group: Strings | None = None
    site: Strings | None = None
    boxes: Floats | None = None
    points: Floats | None = None
    notes: Strings | None = None
    images: ImageSource | None = None
    layout: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n, c = len(self.ids), len(self.classes)
        object.__setattr__(self, "classes", names_in_order(self.classes))
        for name in ("ids", "paths", "split", "group", "site", "notes"):
            freeze(self, name, np.str_, (n,))
        for name in ("given", "votes"):
            freeze(self, name, np.float32, (n, c))
        freeze(self, "labeled", np.bool_, (n,))
        freeze(self, "boxes", np.float32, (n, 4))
        freeze(self, "points", np.float32, (n, 68, 2))
        check_samples(self)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def label(self) -> Ints:
        """Index of the given label (first of equals), (N,) int64; -1 where unlabeled."""
        return np.where(self.labeled, self.given.argmax(1), -1).astype(np.int64)

    @cached_property
    def by_id(self) -> Ints:
        """Rows in the order of their ids, (N,) int64: what goes by it does not hang on the order of the set."""
        return np.argsort(self.ids, kind="stable").astype(np.int64)

    def replacing(self, **changes: Any) -> Samples:
        """Return a copy with some fields replaced, checked again."""
        return replace(self, **changes)


@dataclass(frozen=True, eq=False)
class Features:
    """One view of the faces: a vector each.

    Parameters
    ----------
    view : str
        Name of the view, such as "clip" or "landmarks".
    ids : (N,) str
    values : (N, D) float32, or float16 where given so
        Finite; rows where `found` is False are zero.
    found : (N,) bool
        Whether this face has a vector in this view.
    spec : mapping
        What made the values (encoder, weights digest, preprocessing); JSON types only.
    notes : (N,) str, optional
        Why a face has none; where found, what is unusual about its frame, or "".
    """

    view: str
    ids: Strings
    values: Floats
    found: Bools
    spec: Mapping[str, Any] = field(default_factory=dict)
    notes: Strings | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        freeze(self, "ids", np.str_, (n,))
        freeze(
            self, "values", np.float16 if getattr(self.values, "dtype", None) == np.float16 else np.float32, (n, None)
        )
        freeze(self, "found", np.bool_, (n,))
        freeze(self, "notes", np.str_, (n,))
        bad = row_not_finite(self.values)
        if bad is not None:
            raise InputError(f"View '{self.view}': row {bad} holds NaN or infinity. For no vector: 0, found False.")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Landmarks:
    """68 facial points a face, in the iBUG order.

    Parameters
    ----------
    ids : (N,) str
    points : (N, 68, 2) float32
        x right, y down, in pixels or in any one unit a face; zero where not found.
    found : (N,) bool
    confidence : (N,) float32 in [0, 1]
        The detector's own confidence; 1 where it gives none, 0 where not found.
    blendshapes : (N, 52) float32 in [0, 1], optional
        MediaPipe's blendshapes in `landmarks.action_units.BLENDSHAPES` order; zero where not found.
    spec, notes
        As in `Features`.
    """

    ids: Strings
    points: Floats
    found: Bools
    confidence: Floats
    blendshapes: Floats | None = None
    spec: Mapping[str, Any] = field(default_factory=dict)
    notes: Strings | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        freeze(self, "ids", np.str_, (n,))
        freeze(self, "points", np.float32, (n, 68, 2))
        freeze(self, "found", np.bool_, (n,))
        freeze(self, "confidence", np.float32, (n,))
        freeze(self, "blendshapes", np.float32, (n, 52))
        freeze(self, "notes", np.str_, (n,))
        check_range("Landmarks", confidence=self.confidence, blendshapes=self.blendshapes)
        if not np.isfinite(self.points).all():
            raise InputError("Landmarks hold NaN or infinity; mark such faces as not found instead.")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class ActionUnits:
    """Evidence of facial action units.

    Parameters
    ----------
    ids : (N,) str
    names : tuple of A str
        Such as "AU12"; columns of `probability`.
    probability : (N, A) float32 in [0, 1]
        Probability that the unit is active; zero where not found.
    found : (N,) bool
    quality : (N,) float32 in [0, 1]
        How far the measurement can be trusted (pose, size, detector confidence).
    spec : mapping
    """

    ids: Strings
    names: tuple[str, ...]
    probability: Floats
    found: Bools
    quality: Floats
    spec: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.ids)
        object.__setattr__(self, "names", names_in_order(self.names, "Names of action units"))
        freeze(self, "ids", np.str_, (n,))
        freeze(self, "probability", np.float32, (n, len(self.names)))
        freeze(self, "found", np.bool_, (n,))
        freeze(self, "quality", np.float32, (n,))
        check_range("ActionUnits", probability=self.probability, quality=self.quality)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k most similar other faces of each face, in one view.

    Parameters
    ----------
    view : str
    ids : (N,) str
    indices : (N, k) int64
        Row numbers, most similar first, never the face itself; -1 is padding and comes last.
    similarity : (N, k) float32 in [-1, 1]
        Cosine, non-increasing; 0 at padding.
    search : mapping
        How they were searched: index, and of an approximate one its depth and measured recall.
    """

    view: str
    ids: Strings
    indices: Ints
    similarity: Floats
    search: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.ids)
        freeze(self, "ids", np.str_, (n,))
        freeze(self, "indices", np.int64, (n, None))
        freeze(self, "similarity", np.float32, self.indices.shape)
        valid = self.indices >= 0
        if (self.indices >= n).any() or (self.indices < -1).any():
            raise InputError(f"Neighbors of view '{self.view}' point outside the {n} faces.")
        if (self.indices == np.arange(n)[:, None]).any():
            raise InputError(f"Neighbors of view '{self.view}': a face is its own neighbor.")
        if (valid[:, 1:] & ~valid[:, :-1]).any() or self.similarity[~valid].any():
            raise InputError(f"Neighbors of view '{self.view}': padding must come last, with similarity 0.")
        falls = self.similarity[:, 1:] > self.similarity[:, :-1]
        if (falls & valid[:, 1:]).any():
            raise InputError(f"Neighbors of view '{self.view}': similarity must not increase along a row.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def k(self) -> int:
        """Columns of `indices`."""
        return int(self.indices.shape[1])


@dataclass(frozen=True, eq=False)
class Posteriors:
    """Class probabilities of each face from a model that did not train on that face's label.

    Parameters
    ----------
    name : str
        Which source: "probe", "builtin", ...
    ids : (N,) str
    classes : tuple of C str
    values : (N, C) float32
        Distributions where found; zero elsewhere.
    found : (N,) bool
    margin : (N,) float32, optional
        Area under the margin of the given label over training; NaN-free, 0 where unknown.
    learned : bool
        Whether the model learned from the given labels of these samples (those of other faces); False for one
        that was trained elsewhere.
    near : float in [0, 1], optional
        How near these faces are to those that the model was validated on: 1 says that its posteriors may overrule
        labels, 0 that they are one expert among others. None: not known (0), or, of the builtin model, to be measured.
    """

    name: str
    ids: Strings
    classes: tuple[str, ...]
    values: Floats
    found: Bools
    margin: Floats | None = None
    learned: bool = False
    near: float | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        object.__setattr__(self, "classes", names_in_order(self.classes))
        freeze(self, "ids", np.str_, (n,))
        freeze(self, "values", np.float32, (n, len(self.classes)))
        freeze(self, "found", np.bool_, (n,))
        freeze(self, "margin", np.float32, (n,))
        check_distributions(self.values, self.found, f"posteriors '{self.name}'")
        if self.margin is not None and not np.isfinite(self.margin).all():
            raise InputError(f"Posteriors '{self.name}': margin holds NaN or infinity; 0 says that it is not known.")
        if self.near is not None and (isinstance(self.near, str) or not 0 <= self.near <= 1):
            raise InputError(f"Posteriors '{self.name}': near is {self.near!r}; expected a number from 0 to 1.")


@dataclass(frozen=True, eq=False)
class Refinement:
    """What a method says of every face.

    Parameters
    ----------
    ids : (N,) str
    classes : tuple of C str
    distribution : (N, C) float32
        Refined label distribution; rows sum to 1.
    weight : (N,) float32 in [0, 1]
        Sample weight for a trainer.
    quality : (N,) float32 in [0, 1]
        How far the given label is supported; low = suspicious. For an unlabeled face, how sure the
        distribution is.
    flagged : (N,) bool
        Whether the given label is held to be wrong; never True for an unlabeled face.
    method : str
    params : mapping
        The method's hyper-parameters; JSON types.
    evidence : mapping of name -> (N,) float32
        What the method went by, a number a face; NaN where it had none.
    posteriors : mapping of name -> Posteriors
        What sources of the method's own say, to give reasons by.
    notes : tuple of str
        Sentences that the user should read.
    kept : (N,) float32 in [0, 1], optional
        Share of the given label mixed into `distribution` so that its class is not left without a face; 0 elsewhere.
    """

    ids: Strings
    classes: tuple[str, ...]
    distribution: Floats
    weight: Floats
    quality: Floats
    flagged: Bools
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Floats] = field(default_factory=dict)
    posteriors: Mapping[str, Posteriors] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    kept: Floats | None = None

    def __post_init__(self) -> None:
        n, c = len(self.ids), len(self.classes)
        freeze(self, "ids", np.str_, (n,))
        freeze(self, "distribution", np.float32, (n, c))
        freeze(self, "weight", np.float32, (n,))
        freeze(self, "quality", np.float32, (n,))
        freeze(self, "flagged", np.bool_, (n,))
        freeze(self, "kept", np.float32, (n,))
        check_distributions(self.distribution, np.ones(n, dtype=bool), f"method '{self.method}'")
        check_range(f"Method '{self.method}'", weight=self.weight, quality=self.quality)
        object.__setattr__(
            self, "evidence", {key: frozen_array(values, np.float32) for key, values in self.evidence.items()}
        )
        for name, table in self.posteriors.items():
            if not np.array_equal(table.ids, self.ids) or table.classes != self.classes:
                raise InputError(f"Method '{self.method}': posteriors '{name}' are of other faces or classes.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def label(self) -> Ints:
        """Index of the refined label (first of equals), (N,) int64."""
        return np.asarray(self.distribution.argmax(1), dtype=np.int64)

    @property
    def stays(self) -> Bools:
        """Which labels stay against the evidence, (N,): their class would be without a face (`kept`)."""
        return np.zeros(len(self), dtype=np.bool_) if self.kept is None else np.asarray(self.kept > 0)
