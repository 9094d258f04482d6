"""What people decided about some faces, taken to a method's answer about the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.arrays import Doubles, Ints
from ..core.evidence import Evidence
from ..core.numeric import normalized
from ..core.text import counted
from ..core.types import Refinement, Samples
from ..methods.base import Method, keep_given
from ..methods.consensus.consensus import kept_notes, surest_stay
from ..methods.hypergraph.hypergraph import HypergraphPropagation, labels_kept, quality_and_weight
from ..noise.known_labels import corrected, keeps

#: Part of a mixed distribution that is not the label, at least: float32 holds no more of it.
LEAST_REST = 1e-3


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """Faces of which people said what they show.

    Parameters
    ----------
    rows : (M,) int64
    labels : (M, C) float64
        One-hot, or one half for each of two classes.
    """

    rows: Ints
    labels: Doubles

    def only_labeled(self, samples: Samples, hidden: Samples) -> KnownLabels:
        """Return the faces whose label was not hidden: those that `hidden` has, or that `samples` has not either."""
        stays = (hidden.labeled | ~samples.labeled)[self.rows]
        return KnownLabels(self.rows[stays], self.labels[stays])

    def none_kept(self, samples: Samples) -> bool:
        """Whether labels were decided about and not one of them is kept, as in a list of corrections alone."""
        labeled = samples.labeled[self.rows]
        kept = keeps(self.labels, samples.given[self.rows])
        return bool(labeled.any() and not kept[labeled].any())

    def applied(self, samples: Samples, answer: Refinement, margin: float = 0.0) -> Refinement:
        """Return the answer of a method corrected by the known labels (`known_labels.corrected`).

        Distributions of faces that the method knows something of are corrected. With r' such a distribution and y the
        given label, quality becomes <y, r'> / max y, the weight <y, r'> / max r', and a label of a quality below one
        half is flagged, whatever the method's own rules for these are; a label gives way to a class that leads it by
        `margin` or more (`hypergraph.labels_kept`, which the answer must not have been through). Of a class that would
        be left without a face the surest labels stay, and `notes` say so; those that the method kept so are what they
        were before (`Refinement.kept`), and its notes on them go. The answer stays as it is where nothing is known, or
        no label was kept (`none_kept`).
        """
        given, refined = samples.given.astype(np.float64), _without_kept(samples, answer)
        spoken = (answer.distribution != keep_given(samples).astype(np.float32)).any(1)
        useful = spoken[self.rows]
        rows, labels = self.rows[useful], self.labels[useful]
        if not len(rows) or self.none_kept(samples):
            return with_margin(samples, answer, margin)
        refined[spoken] = corrected(given, refined, rows, labels)[spoken]
        quality, weight = quality_and_weight(samples, refined, spoken)
        refined = labels_kept(refined, given, margin)
        refined, kept = surest_stay(refined, given, spoken & samples.labeled)
        before = kept_notes(samples, answer.stays)
        return replace(
            answer,
            distribution=refined.astype(np.float32),
            quality=quality.astype(np.float32),
            weight=weight.astype(np.float32),
            flagged=spoken & samples.labeled & (quality < 0.5),
            notes=(*(note for note in answer.notes if note not in before), *kept_notes(samples, kept > 0)),
            kept=kept.astype(np.float32),
        )

    def sentence(self, samples: Samples, before: Refinement, after: Refinement, *, precision: bool = False) -> str:
        """Return what was learned, for people; a `precision` that is asked for changes labels and flags afterwards."""
        if self.none_kept(samples):
            return (
                f"Decisions: none of {len(self.rows):,} keeps the given label, as in a list of corrections alone. The "
                "other faces learn nothing from them: decide about faces whose label is right, too (keep)."
            )
        others = np.ones(len(samples), dtype=np.bool_)
        others[self.rows] = False
        moved = int((before.label != after.label)[others].sum())
        flags = [int((one.flagged & others).sum()) for one in (before, after)]
        return (
            f"Decisions: what {counted(len(self.rows), 'of them says', 'of them say')} of given and refined labels was "
            f"taken to the other faces: {counted(moved, 'refined label differs', 'refined labels differ')}, "
            f"{flags[1]:,} are flagged in place of {flags[0]:,}{', all before --precision' if precision else ''}."
        )


def answers(method: Method, evidence: Evidence, seed: int, known: KnownLabels | None) -> tuple[Refinement, Refinement]:
    """Return the answer of a method, and the same corrected by the `known` labels; one twice where there are none.

    What is corrected is r as the method knows it, before the `margin` that `hypergraph` may ask of a class.
    """
    margin = method.margin if isinstance(method, HypergraphPropagation) and known is not None else 0.0
    bare = replace(method, margin=0.0) if isinstance(method, HypergraphPropagation) and margin else method
    said = bare.refine(evidence, np.random.default_rng(seed))
    before = with_margin(evidence.samples, said, margin)
    return before, before if known is None else known.applied(evidence.samples, said, margin)


def with_margin(samples: Samples, answer: Refinement, margin: float) -> Refinement:
    """Return an answer in which a label gives way only to a class that leads it by `margin`."""
    if margin == 0:
        return answer
    kept = labels_kept(answer.distribution.astype(np.float64), samples.given.astype(np.float64), margin)
    return replace(answer, distribution=kept.astype(np.float32))


def _without_kept(samples: Samples, answer: Refinement) -> Doubles:
    """Return the distributions (N, C) of an answer as they were before labels were kept for their class."""
    mixed = answer.distribution.astype(np.float64)
    if answer.kept is None:
        return mixed
    share, given = answer.kept.astype(np.float64)[:, None], keep_given(samples)
    bare = normalized(np.clip(mixed - share * given, 0, None) / np.maximum(1 - share, LEAST_REST))
    return np.where(answer.stays[:, None], bare, mixed)
