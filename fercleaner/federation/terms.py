"""What sites and coordinator agree on before the first round, and who does not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..core.arrays import spec_digest
from ..core.errors import FercleanerError
from ..core.types import Features, Samples

#: Version of messages and of the arithmetic behind them: sites of another one are refused.
PROTOCOL = 4
#: Columns of the random features. A head's accuracy is that of 2,048 at 512 (.811, .807), what sites gain is not: at
#: 1,024 the mean average precision of 24 deals is .002 above that at 512 (docs/federation.md). More columns take more
#: bytes, and say more of the faces behind a step.
COLUMNS = 1024
#: Rounds of averaging: 20 bring less than .0005 more.
ROUNDS = 14
#: Parts that sites are dealt to: the head that judges a part learned from all others.
PARTS = 5
#: A site with fewer labeled faces sends nothing and is sent the heads all the same.
LEAST_FACES = 50
#: Ridge of the shared head, over the root of the number of faces. .1, as that of `classifiers.ridge`, serves as well.
RIDGE = 0.05
#: Largest norm of what a site adds to a head in a round.
MOST_NORM = 20.0
#: How steps are joined: weighed and shortened one by one, or added under masks, so that none is seen by itself.
ROBUST, SECURE = AGGREGATES = "robust", "secure"
#: Fewer sites cannot hide a step in a sum.
LEAST_SECURE = 3
#: Vectors of the user's own have no encoder to compare: views of this kind go by name and width.
OWN_VECTORS = "vectors"

#: Name, width and encoder of each view.
Views = tuple[tuple[str, int, str], ...]


class SiteError(FercleanerError):
    """A site, a coordinator or a message that does not fit; the message names the site."""


@dataclass(frozen=True)
class Hello:
    """What a site says of itself before it takes part: no array.

    Parameters
    ----------
    site : str
    classes : tuple of C str
        In alphabetical order, whatever the site's own.
    views : tuple of (name, width, encoder)
        In alphabetical order; `encoder` is the digest of the encoder's spec, or `OWN_VECTORS`.
    faces : int
        Labeled faces with a vector.
    spread : float
        Median squared distance of two faces, rounded to a power of two.
    """

    site: str
    classes: tuple[str, ...]
    views: Views
    faces: int
    spread: float


@dataclass(frozen=True)
class Terms:
    """What all sites of a federation share, fixed when it starts.

    Parameters
    ----------
    classes, views
        As in `Hello`.
    columns, seed, spread
        Of the random features (`features.design`); `columns` is even.
    check : str
        Digest of the frequencies drawn: they depend on the version of numpy.
    ridge : float
    rounds, parts, least_faces : int
    most_norm : float
    aggregate : {"robust", "secure"}
        Robust joining looks at single steps, which secure aggregation hides: one excludes the other.
    """

    classes: tuple[str, ...]
    views: Views
    columns: int
    seed: int
    spread: float
    check: str
    ridge: float
    rounds: int = ROUNDS
    parts: int = PARTS
    least_faces: int = LEAST_FACES
    most_norm: float = MOST_NORM
    aggregate: str = ROBUST

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of all heads: parts; columns, a constant and class frequencies (`heads`); classes."""
        return self.parts, self.columns + 2, len(self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON types."""
        return asdict(self) | {"classes": list(self.classes), "views": [list(view) for view in self.views]}

    @classmethod
    def from_dict(cls, held: Mapping[str, Any]) -> Terms:
        """Return the terms that `to_dict` wrote."""
        return cls(**{**held, "classes": tuple(held["classes"]), "views": read_views(held["views"])})


@dataclass(frozen=True)
class Settings:
    """What whoever runs a federation decides; the rest of `Terms` follows from the sites."""

    rounds: int = ROUNDS
    columns: int = COLUMNS
    parts: int = PARTS
    least_faces: int = LEAST_FACES
    most_norm: float = MOST_NORM
    seed: int = 0
    aggregate: str = ROBUST

    def __post_init__(self) -> None:
        for name, least in (("rounds", 1), ("columns", 2), ("parts", 2), ("least_faces", 1)):
            if getattr(self, name) < least:
                raise SiteError(f"{name} is {getattr(self, name)}; expected at least {least}.")
        if self.columns % 2:
            raise SiteError(f"columns is {self.columns}; expected an even number.")
        if not self.most_norm > 0:
            raise SiteError(f"most_norm is {self.most_norm:g}; expected a number above 0.")
        if self.aggregate not in AGGREGATES:
            raise SiteError(
                f"aggregate is '{self.aggregate}'; expected robust or secure. Both at once cannot be: medians of "
                "single steps need what secure aggregation hides."
            )


@dataclass(frozen=True)
class Conditions:
    """What a site asks of the terms, whatever its coordinator wants: under others it sends no step.

    Parameters
    ----------
    least_faces : int
        Its steps are sums over at least so many labeled faces.
    aggregate : {"robust", "secure"}
        How its steps are joined.
    """

    least_faces: int = LEAST_FACES
    aggregate: str = ROBUST

    def __post_init__(self) -> None:
        self.settings()

    def settings(self) -> Settings:
        """Return settings that meet them, the rest as usual; SiteError where there are none."""
        return Settings(least_faces=self.least_faces, aggregate=self.aggregate)

    def check(self, site: str, terms: Terms | Settings) -> None:
        """Raise SiteError, which names the site, where terms, or settings that make them, do not meet them."""
        if terms.least_faces < self.least_faces:
            raise SiteError(
                f"Site '{site}' sends sums over at least {self.least_faces} faces; under the coordinator's terms "
                f"{terms.least_faces} are enough. No step was sent. Ask for --least-faces {self.least_faces} there, or "
                f"allow {terms.least_faces} here."
            )
        if terms.aggregate != self.aggregate:
            raise SiteError(
                f"Site '{site}' takes part under --aggregate {self.aggregate}; the coordinator joins steps by "
                f"{terms.aggregate}. No step was sent. Use the same --aggregate at all sites and the coordinator."
            )


def read_views(held: Iterable[Iterable[Any]]) -> Views:
    """Return (name, width, encoder) of each view as JSON holds them; TypeError or ValueError where it is none."""
    return tuple((str(name), int(width), str(encoder)) for name, width, encoder in held)


def hello_of(site: str, samples: Samples, features: Mapping[str, Features], spread: float, faces: int) -> Hello:
    """Return what a site says of itself."""
    views = []
    for name in sorted(features):
        spec = features[name].spec
        encoder = OWN_VECTORS if spec.get("kind") == OWN_VECTORS or not spec else spec_digest(spec)
        views.append((name, int(features[name].values.shape[1]), encoder))
    return Hello(site, tuple(sorted(samples.classes)), tuple(views), faces, spread)


def agree(hellos: Sequence[Hello], settings: Settings) -> Terms:
    """Return the terms of sites that want to begin together; the first one's classes and views are everybody's.

    Raises
    ------
    SiteError
        No site, two of one name, too few faces to begin with, or a site that does not fit (`check`).
    """
    from .features import frequencies_digest

    if not hellos:
        raise SiteError("No site has joined.")
    names = [hello.site for hello in hellos]
    for name in names:
        if names.count(name) > 1:
            raise SiteError(f"Two sites are called '{name}'. Give one of them another name.")
    first = hellos[0]
    giving = [hello for hello in hellos if hello.faces >= settings.least_faces]
    least = LEAST_SECURE if settings.aggregate == SECURE else 2
    if len(giving) < least:
        raise SiteError(
            f"{len(giving)} of {len(hellos)} sites have the {settings.least_faces} labeled faces that a site needs to "
            f"send anything; at least {least} are needed."
        )
    spread = float(2.0 ** np.median(np.log2([hello.spread for hello in giving])))
    width = sum(width for _, width, _ in first.views)
    terms = Terms(
        classes=first.classes,
        views=first.views,
        columns=settings.columns,
        seed=settings.seed,
        spread=spread,
        check=frequencies_digest(width, settings.columns, settings.seed, spread),
        ridge=RIDGE / float(np.sqrt(sum(hello.faces for hello in giving))),
        rounds=settings.rounds,
        parts=min(settings.parts, len(giving)),
        least_faces=settings.least_faces,
        most_norm=settings.most_norm,
        aggregate=settings.aggregate,
    )
    for hello in hellos:
        check_site(hello, terms)
    return terms


def check_together(first: Hello, other: Hello, settings: Settings) -> None:
    """Raise SiteError where two sites cannot be in one federation, however few faces they have."""
    agree([first, other], replace(settings, least_faces=1, aggregate=ROBUST))


def check_same_classes(site: str, classes: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise SiteError, which names the site, where it has other classes than the federation."""
    more, less = sorted(set(classes) - set(wanted)), sorted(set(wanted) - set(classes))
    if more or less:
        differs = [f"it has {', '.join(more)} besides"] * bool(more) + [f"it lacks {', '.join(less)}"] * bool(less)
        unlabeled = f" ({more[0]}= leaves such faces without a label)" if more else ""
        raise SiteError(
            f"Site '{site}' has another class set than the federation: {', and '.join(differs)}. Read its set with "
            f"--classes {','.join(wanted)}, and map names with --alias X=Y{unlabeled}."
        )


def check_site(hello: Hello, terms: Terms) -> None:
    """Raise SiteError where a site has other classes or views than the federation."""
    check_same_classes(hello.site, hello.classes, terms.classes)
    have = {name: (width, encoder) for name, width, encoder in hello.views}
    want = {name: (width, encoder) for name, width, encoder in terms.views}
    if set(have) != set(want):
        raise SiteError(
            f"Site '{hello.site}' has the views {', '.join(sorted(have)) or 'none'}; the federation has "
            f"{', '.join(sorted(want))}. Use the same --encoder and --view."
        )
    for name, (width, encoder) in sorted(have.items()):
        if width != want[name][0]:
            raise SiteError(
                f"Site '{hello.site}': view '{name}' has {width} columns; the federation's has {want[name][0]}."
            )
        if encoder != want[name][1]:
            raise SiteError(
                f"Site '{hello.site}': view '{name}' comes from another encoder ({_source(encoder)}) than the "
                f"federation's ({_source(want[name][1])}). Use the same encoder, weights and version of fercleaner."
            )


def _source(encoder: str) -> str:
    return "none: a file of --view" if encoder == OWN_VECTORS else encoder
