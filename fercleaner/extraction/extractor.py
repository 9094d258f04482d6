"""What image encoders and landmark detectors share: a picture in, a vector out.

`fercleaner.extraction.run.extract` drives an extractor over a whole dataset: it reads and caches, prepares
pictures in worker processes, and hands batches to `compute` in the calling process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from numpy.typing import NDArray

from ..core.arrays import Bools, Floats

if TYPE_CHECKING:
    from PIL.Image import Image

#: Turns a decoded, cropped RGB picture into what `Extractor.compute` takes a list of.
Prepare: TypeAlias = "Callable[[Image], NDArray[Any]]"

#: Values (B, width) float32, found (B,) bool, and a note each ("" where found as usual).
Computed: TypeAlias = tuple[Floats, Bools, list[str]]


class Extractor(Protocol):
    """Something that turns each picture into one vector of fixed length.

    Attributes
    ----------
    name : str
        Name of the view, such as "clip" or "landmarks".
    spec : mapping
        Everything that determines the values: kind, model, SHA-256 of the weights, preprocessing,
        versions where they matter. JSON types only; `types.spec_digest` of it keys the cache, so two
        extractors that can give different values must differ here.
    width : int
        Length of a vector.
    batch_size : int
        How many prepared pictures `compute` likes at once; it is never given more.
    """

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> Mapping[str, Any]: ...

    @property
    def width(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def prepare(self) -> Prepare:
        """Turn one decoded RGB picture into an array; called in worker processes.

        A plain method will do where the extractor is small, since what it is bound to is pickled once
        for each worker. An extractor that holds a model gives out a small picklable callable instead: a
        module-level function or an instance of a frozen dataclass with `__call__`. The result must depend
        on nothing but the picture, and small arrays (uint8) travel faster. May raise
        `images.UnreadableImage`.
        """
        ...

    def compute(self, batch: Sequence[NDArray[Any]], /) -> Computed:
        """Turn 1 to `batch_size` prepared pictures into vectors; called in the calling process.

        Returns values (B, width) float32 (zero where not found), found (B,) bool, and B notes saying why
        a picture has none (where found: how its frame is out of the ordinary, or ""). A row must not depend
        on which others stand in its batch, beyond the last bits on a GPU. The first call may load a model,
        so that a run served by the cache loads none.
        """
        ...
