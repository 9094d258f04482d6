"""One site: its faces, its labels, its method; what it says to the others and what it makes of what they learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..core.arrays import Doubles, Floats
from ..core.groups import fold_numbers
from ..core.refined import RefinedSet
from ..core.types import Posteriors, Refinement, Samples
from ..methods.base import Method, parameters, require_labels
from ..methods.hypergraph.hypergraph import quality_and_weight
from ..pipeline.changes import emptied_classes
from ..pipeline.inputs import Callbacks, Resources, Sources
from ..pipeline.refine import gather, run
from ..results.assemble import assembled
from .features import design, median_distance, shared_views, unit_views
from .heads import Step, check_heads, class_columns, learned_mix, own_posteriors, posteriors
from .messages import Message, check_leaving, encode, of_hello, of_masked, of_update, text_of
from .reading import read_beside_both, share_of_others, together
from .rounds import Update, others, start
from .secure import Keys, Member, Roster, covered
from .terms import PARTS, PROTOCOL, SECURE, Conditions, Hello, SiteError, Terms, agree, check_site, hello_of

#: Name of the posteriors of the head that other sites' faces trained.
SHARED = "sites"
#: Conditions of a site that says nothing else.
USUAL = Conditions()
#: Folds in which a site counts its own noise.
FOLDS = 5
#: What a rehearsal cannot know.
MADE_UP = "other terms of the coordinator, or fewer sites than five, change rounds and shapes, and no kind of message."


class Participant:
    """A site of a federation; nothing but `hello` and `update` leaves it.

    The site refines its labels alone, by any method. What it holds its faces to be then (r) trains the shared heads,
    round after round (`heads.Step`). In the end the head of its part, which never learned from it, says what its faces
    show; the site takes the others' class frequencies out of that and reads its labels beside it, through a transition
    matrix and class frequencies of its own, and beside a head of its own where its labels are likelier so
    (`reading.read_beside_both`). It joins the answer with its own, the more the fewer faces it has and as far as its
    labels bear the heads out (`reading.together`).

    Parameters
    ----------
    name : str
    samples : Samples
        The site's faces alone.
    method : Method
    sources, resources, callbacks
        As of `pipeline.refine`.
    conditions : Conditions
        Terms that do not meet them are refused.

    Source
    ------
    AMY-style: AMY (TCSVT 2024) refines labels at each site by its own hypergraph and estimate of uncertainty, trains on
    them, and averages what is shared; its equations were not available.
    """

    def __init__(
        self,
        name: str,
        samples: Samples,
        method: Method,
        sources: Sources,
        resources: Resources,
        callbacks: Callbacks,
        conditions: Conditions = USUAL,
    ) -> None:
        if any(table.name == SHARED for table in sources.posteriors):
            raise SiteError(f"Posteriors cannot be called '{SHARED}' at a site: those of other sites are. Rename them.")
        require_labels(samples, method.name)
        self.name, self.method, self.resources, self.callbacks = name, method, resources, callbacks
        self.conditions = conditions
        self._evidence = gather(samples, method, sources, resources, callbacks)
        self.samples = self._evidence.samples
        self.views = shared_views(self._evidence.features)
        self._rows, self.found = unit_views(self.views)
        self._alone: Refinement | None = None
        self.terms: Terms | None = None
        self._part = 0
        self._step: Step | None = None

    @property
    def faces(self) -> int:
        """Labeled faces with a vector."""
        return int((self.found & self.samples.labeled).sum())

    def hello(self) -> Hello:
        """Return what the site says of itself."""
        return hello_of(self.name, self.samples, self.views, median_distance(self._rows, self.found), self.faces)

    def alone(self) -> Refinement:
        """Return what the site's method says of its labels by itself."""
        if self._alone is None:
            self._alone = run(self.method, self._evidence, self.resources.seed)
        return self._alone

    def begin(self, terms: Terms, part: int) -> None:
        """Take the terms and the part that the coordinator gave; refine alone, if the site has faces enough to give.

        SiteError where the terms do not meet the site's conditions, or are of other classes or views.
        """
        self.conditions.check(self.name, terms)
        check_site(self.hello(), terms)
        self.terms, self._part = terms, part
        self._design = design(self._rows, self.found, terms)
        if self.faces >= terms.least_faces:
            targets = self.alone().distribution.astype(np.float64)[:, class_columns(self.samples.classes, terms)]
            weight = (self.found & self.samples.labeled).astype(np.float64)
            self._step = Step(self._design, targets, weight, terms)

    @property
    def gives(self) -> bool:
        """Whether the site has faces enough to send anything."""
        return self._step is not None

    def update(self, heads: Floats, noise: float = 0.0) -> Update:
        """Return the site's steps on the heads of other parts (P - 1, D + 2, C), in order.

        SiteError before `begin`, with too few faces, or for heads that are not finite or of another shape.
        """
        if self._step is None:
            raise SiteError(f"Site '{self.name}' has too few labeled faces to send anything ({self.faces}).")
        return Update(self.name, self._part, self.faces, self._step.send(heads, noise))

    def shared(self, head: Floats) -> Posteriors:
        """Return what the head (D + 2, C) that never learned from this site says of its faces."""
        if self.terms is None:
            raise SiteError(f"Site '{self.name}' has not begun.")
        said = posteriors(self._design, self.found, head)
        values = np.zeros_like(said)
        values[:, class_columns(self.samples.classes, self.terms)] = said
        return Posteriors(SHARED, self.samples.ids, self.samples.classes, values, self.found)

    def learned(self, head: Floats) -> Doubles:
        """Return the class frequencies of the faces that that head learned from, (C,) in the order of `shared`."""
        if self.terms is None:
            raise SiteError(f"Site '{self.name}' has not begun.")
        mix = learned_mix(head)
        values = np.zeros_like(mix)
        values[class_columns(self.samples.classes, self.terms)] = mix
        return values

    def finish(self, head: Floats, rounds: int) -> RefinedSet:
        """Return the site's refined labels, with what the others learned: the head (D + 2, C) of its part.

        A head of zeros says nothing. SiteError before `begin`, and for a head that is not finite or of another shape
        than the terms'.
        """
        if self.terms is None:
            raise SiteError(f"Site '{self.name}' has not begun.")
        check_heads(head[None], 1, self.terms)
        refinement, evidence = self.alone(), self._evidence
        used, shares = bool(head.any()), {"share": 0.0, "share_of_head": 0.0}
        if used:
            said = self.shared(head)
            refinement, shares = self._joined(refinement, said, self.learned(head))
            evidence = replace(evidence, posteriors={**evidence.posteriors, SHARED: said})
        for sentence in refinement.notes:
            self.callbacks.note(sentence)
        for name in emptied_classes(self.samples, refinement):
            self.callbacks.note(f"No face is refined to {name}: all labels of that class are held to be wrong.")
        about = {"site": self.name, "part": self._part, "rounds": rounds, "gave": self.gives, **shares}
        return assembled(
            self.samples,
            evidence,
            replace(refinement, params=parameters(self.method)),
            index=self.resources.index,
            seed=self.resources.seed,
            about={"notes": list(refinement.notes), "federation": about},
        )

    def _joined(self, alone: Refinement, said: Posteriors, learned: Doubles) -> tuple[Refinement, dict[str, float]]:
        """Return the site's answer with the others', labels of less than .5 flagged, and how much the others count.

        That is the share of what is read beside the heads, and the shared head's share among these.
        """
        samples = self.samples
        fold = fold_numbers(samples.ids, samples.group, FOLDS, self.resources.seed)
        given = samples.given.astype(np.float64)
        own = own_posteriors(self._design, given, self.found, fold)
        read, of_head = read_beside_both(said.values.astype(np.float64), own, learned, given, self.found, fold)
        share = share_of_others(self.faces) * read.borne_out
        refined = together(alone.distribution.astype(np.float64), read.distribution, self.found, share)
        quality, weight = quality_and_weight(samples, refined, self.found)
        joined = replace(
            alone,
            distribution=refined.astype(np.float32),
            quality=np.where(self.found, quality, alone.quality).astype(np.float32),
            weight=np.where(self.found, weight, alone.weight).astype(np.float32),
            flagged=np.where(self.found, samples.labeled & (quality < 0.5), alone.flagged),
        )
        return joined, {"share": share, "share_of_head": of_head}


def rehearsed(site: Participant, noise: float = 0.0) -> list[str]:
    """Return as text what a site would send: its hello and, if it gives, what it sends in the first round.

    The terms are made up: those that just meet the site's conditions, with as many sites as there are parts.
    """
    least, hello = site.conditions.least_faces, site.hello()
    said = of_hello(hello, PROTOCOL)
    texts = [text_of(said, len(encode(said)))]
    if site.faces < least:
        return [*texts, f"Nothing else: {site.faces} labeled faces with a vector are fewer than {least}."]
    more = [replace(hello, site=f"another site {number}") for number in range(1, PARTS)]
    terms = agree([hello, *more], site.conditions.settings())
    site.begin(terms, 0)
    update = site.update(others(start(terms), 0), noise)
    if terms.aggregate == SECURE:
        leaving = _covered(update, [other.site for other in more], terms)
    else:
        leaving = [of_update(update, 1)]
    for message in leaving:
        check_leaving(message, terms)
        texts.append(text_of(message, len(encode(message))))
    return [*texts, f"The last again in each of {terms.rounds} rounds; {MADE_UP}"]


def _covered(update: Update, others: list[str], terms: Terms) -> list[Message]:
    """Return the key and the masked steps that a site sends among these others."""
    keys = {name: Keys() for name in (update.site, *others)}
    members = {name: Member(own.public, part, update.faces) for part, (name, own) in enumerate(keys.items())}
    roster = Roster(1, "rehearsed", members)
    masked = covered(update.steps, update.site, keys[update.site], roster, terms)
    key = Message("key", {"site": update.site, "public": keys[update.site].public.hex()})
    return [key, of_masked(masked, update.site, roster)]
