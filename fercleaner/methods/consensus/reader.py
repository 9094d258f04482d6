"""How `consensus` reads labels beside what its experts say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...core.arrays import Doubles
from ...core.numeric import softmax
from ...noise.class_priors import pooled_priors
from .external import INSIDE, LABEL_POWER, OVERRULES, Source
from .noise_models import Labels, Noise, at_random, systematic

#: Frequencies of the labels are trusted by this power of the share of their entropy that experts explain, base rates by
#: the rest. On half of FER2013 AP and accuracy are .893 and .860 at 1, .903 and .863 at 2, .905 and .866 at 3, .906 and
#: .868 at 5 and beyond, where the base rates decide alone.
TRUST = 3


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads labels beside joined log-likelihood ratios.

    Parameters
    ----------
    labels : Labels
    noise : Noise
    sources : mapping of name -> Source
    rates : (C,) float64, optional
        What is known of the frequencies of true classes.
    wild : float in [0, 1]
        How far `rates` count beside `prior`.
    prior : (C,) float64, optional
        Frequencies to begin with; those of the labels by default.
    """

    labels: Labels
    noise: Noise
    sources: Mapping[str, Source]
    rates: Doubles | None
    wild: float
    prior: Doubles | None = None

    @property
    def near(self) -> Doubles:
        """How far sources may overrule each label, (N,) in [0, 1]."""
        none = np.zeros(len(self.labels.given))
        return np.minimum(sum((source.near for source in self.sources.values()), none), 1.0)

    def log_frequencies(self) -> Doubles:
        """Return log pi*, (C,)."""
        prior = self.labels.prior if self.prior is None else self.prior
        rates = None if self.rates is None else pooled_priors(self.rates, prior, self.wild)
        for source in self.sources.values():
            if source.frequencies is not None:
                near = float(source.near.max(initial=0.0))
                rates = pooled_priors(source.frequencies, prior if rates is None else rates, near)
        return np.log(pooled_priors(prior, rates, self.noise.explained**TRUST))

    def in_run(self, fold: int) -> Reader:
        """Return the reader of what refines labels in the run of a fold: no site's matrix knows labels of that fold."""
        sites = self.labels.sites
        return self if sites is None else replace(self, labels=replace(self.labels, sites=replace(sites, run=fold)))

    def read(self, own: Doubles, joined: Doubles, noise: Noise, sure: float = 1.0) -> Doubles:
        """Return the refined distributions, (N, C).

        Of joined ratios (N, C) `own` are those in which no label of the face's fold took part, `joined` those to read;
        by `sure` in [0, 1] experts far from their home may overrule labels.
        """
        labels, near = self.labels, self.near
        shared, hit, left = noise.shares
        power = 1 - LABEL_POWER * near * shared
        start = self.log_frequencies()
        logits = self._beside(start + joined, joined)
        read = systematic(self._beside(start + own, own), logits, labels, power)
        reach = near * min(1.0, OVERRULES * (1 - noise.explained))
        read = (reach + (1 - near) * sure * shared)[:, None] * read
        for share, model in noise.models if hit > 0 else ():
            votes = self._beside(model.logits(own), own)
            other = self._beside(model.logits(joined), joined)
            read += ((1 - near) * sure * hit * share)[:, None] * at_random(votes, other, labels, model.transition)
        stays = np.where(labels.given.sum(1, keepdims=True) > 0, labels.given, softmax(logits))
        result: Doubles = read + (near - reach + (1 - near) * (1 - sure * (1 - left)))[:, None] * stays
        return result

    def _beside(self, logits: Doubles, joined: Doubles) -> Doubles:
        """Return (1 - h) logits + h (log p + L / 10), the mean over sources weighed by h."""
        if not self.sources:
            return logits
        nearness = sum((s.near for s in self.sources.values()), np.zeros(len(joined)))
        truth = sum((s.near[:, None] * s.truth for s in self.sources.values()), np.zeros(joined.shape))
        truth /= np.maximum(nearness, 1.0)[:, None]
        near = self.near[:, None]
        mixed: Doubles = (1 - near) * logits + truth + near * INSIDE * joined
        return mixed
