"""One site: its faces, its labels, its method; what it says to the others and what it makes of what they learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.arrays import Doubles, Floats
from ..core.refined import RefinedSet
from ..core.types import Posteriors, Samples
from ..methods.base import Method, require_labels
from ..pipeline.inputs import Callbacks, Resources, Sources
from ..pipeline.refine import gather, refine, run
from ..similarity.whitening import LANDMARK_VIEW
from .features import design, shared_views, spread, unit_views
from .heads import Step, columns_of, posteriors
from .messages import check_leaving, encode, of_hello, of_update, text_of
from .rounds import Update, start
from .terms import LEAST_FACES, PROTOCOL, Hello, Settings, SiteError, Terms, agree, check, hello_of

#: Name of the posteriors of the head that other sites' faces trained.
SHARED = "sites"


class Participant:
    """A site of a federation; nothing but `hello` and `update` leaves it.

    The site refines its labels alone first. What it holds its faces to be then (r, with weights w) trains the shared
    heads, round after round (`heads.Step`). In the end the head of its part, which never learned from it, gives
    posteriors of its faces, and the site refines its labels again with these as one more source: read through a
    transition matrix of the site's own and weighed by how likely they make the site's own labels (`consensus`). So the
    shared head counts at a site as far as the site's labels bear it out.

    Parameters
    ----------
    name : str
    samples : Samples
        The site's faces alone.
    method : Method
        One that takes posteriors from outside.
    sources, resources, callbacks
        As of `pipeline.refine`.

    Source
    ------
    AMY-style: AMY (TCSVT 2024) refines labels at each site, trains on them and averages what is shared; its equations
    were not available.
    """

    def __init__(
        self, name: str, samples: Samples, method: Method, sources: Sources, resources: Resources, callbacks: Callbacks
    ) -> None:
        if "outside" not in method.needs | method.optional:
            raise SiteError(
                f"Method '{method.name}' takes no posteriors from outside, so other sites cannot help it. Use "
                "consensus."
            )
        if any(table.name == SHARED for table in sources.posteriors):
            raise SiteError(f"Posteriors cannot be called '{SHARED}' at a site: those of other sites are. Rename them.")
        require_labels(samples, method.name)
        self.name, self.method, self.resources, self.callbacks = name, method, resources, callbacks
        self._evidence = gather(samples, method, sources, resources, callbacks)
        self._plain = samples
        self._sources = replace(
            sources,
            encoders=(),
            views=tuple(view for key, view in self._evidence.features.items() if key != LANDMARK_VIEW),
            landmarks=self._evidence.landmarks,
            posteriors=tuple(self._evidence.outside.values()),
        )
        self._views = shared_views(self._evidence.features)
        self._rows, self._found = unit_views(self._views)
        self._terms: Terms | None = None
        self._part = 0
        self._step: Step | None = None

    @property
    def faces(self) -> int:
        """Labeled faces with a vector."""
        return int((self._found & self._plain.labeled).sum())

    def hello(self) -> Hello:
        """Return what the site says of itself."""
        return hello_of(self.name, self._plain, self._views, spread(self._rows, self._found), self.faces)

    def begin(self, terms: Terms, part: int) -> None:
        """Take the terms and the part that the coordinator gave; refine alone, if the site has faces enough to give."""
        check(self.hello(), terms)
        self._terms, self._part = terms, part
        self._design = design(self._rows, self._found, terms)
        if self.faces >= terms.least_faces:
            targets, weight = self._alone()
            self._step = Step(self._design, targets[:, columns_of(self._plain.classes, terms)], weight, terms)

    def _alone(self) -> tuple[Doubles, Doubles]:
        """Return what the site holds its faces to be by itself, (N, C), and which count, (N,)."""
        alone = run(self.method, self._evidence, self.resources.seed)
        return alone.distribution.astype(np.float64), (self._found & self._plain.labeled).astype(np.float64)

    @property
    def gives(self) -> bool:
        """Whether the site has faces enough to send anything."""
        return self._step is not None

    def update(self, heads: Floats, noise: float = 0.0) -> Update:
        """Return the site's steps on the heads (P, D + 1, C); SiteError before `begin` or with too few faces."""
        if self._step is None:
            raise SiteError(f"Site '{self.name}' has too few labeled faces to send anything ({self.faces}).")
        return Update(self.name, self._part, self.faces, self._step.send(heads, self._part, noise))

    def shared(self, heads: Floats) -> Posteriors:
        """Return what the head that never learned from this site says of its faces."""
        assert self._terms is not None  # begin comes first
        said = posteriors(self._design, self._found, heads[self._part])
        values = np.zeros_like(said)
        values[:, columns_of(self._plain.classes, self._terms)] = said
        return Posteriors(SHARED, self._plain.ids, self._plain.classes, values, self._found)

    def finish(self, heads: Floats, rounds: int) -> RefinedSet:
        """Return the site's refined labels, with what the others learned; heads of zeros say nothing."""
        learned = heads[self._part].any()
        sources = self._sources
        if learned:
            sources = replace(sources, posteriors=(*sources.posteriors, self.shared(heads)))
        refined = refine(self._plain, self.method, sources, self.resources, self.callbacks)
        about = {"site": self.name, "part": self._part, "rounds": rounds, "gave": self.gives, "used": bool(learned)}
        return replace(refined, metadata={**refined.metadata, "federation": about})


def rehearsed(site: Participant, noise: float = 0.0) -> list[str]:
    """Return as text what a site would send: its hello and, if it gives, its first step, under terms made up for it."""
    hello = of_hello(site.hello(), PROTOCOL)
    texts = [text_of(hello, len(encode(hello)))]
    if site.faces < LEAST_FACES:
        return [*texts, f"Nothing else: {site.faces} labeled faces with a vector are fewer than {LEAST_FACES}."]
    other = replace(site.hello(), site="another site")
    terms = agree([site.hello(), other], Settings())
    site.begin(terms, 0)
    update = of_update(site.update(start(terms), noise), 1)
    check_leaving(update, terms)
    return [*texts, text_of(update, len(encode(update))), f"The same again in each of {terms.rounds} rounds."]
