"""What people decided about some faces, taken to a method's answer about the others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.arrays import Doubles, Ints
from ..core.text import counted
from ..core.types import Refinement, Samples
from ..methods.base import keep_given
from ..methods.consensus.consensus import kept_notes, surest_stay
from ..methods.hypergraph.hypergraph import quality_and_weight
from ..noise.known_labels import corrected, keeps


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

    def applied(self, samples: Samples, answer: Refinement) -> Refinement:
        """Return the answer of a method corrected by the known labels (`known_labels.corrected`).

        Distributions of faces that the method knows something of are corrected. With r' such a distribution and y the
        given label, quality becomes <y, r'> / max y, the weight <y, r'> / max r', and a label of a quality below one
        half is flagged, whatever the method's own rules for these are. Of a class that would be left without a face
        the surest labels stay, and `notes` say so. The answer stays as it is where nothing is known, or no label was
        kept (`none_kept`).
        """
        given, refined = samples.given.astype(np.float64), answer.distribution.astype(np.float64)
        spoken = (answer.distribution != keep_given(samples).astype(np.float32)).any(1)
        useful = spoken[self.rows]
        rows, labels = self.rows[useful], self.labels[useful]
        if not len(rows) or self.none_kept(samples):
            return answer
        refined[spoken] = corrected(given, refined, rows, labels)[spoken]
        quality, weight = quality_and_weight(samples, refined, spoken)
        refined, kept = surest_stay(refined, given, spoken & samples.labeled)
        return replace(
            answer,
            distribution=refined.astype(np.float32),
            quality=quality.astype(np.float32),
            weight=weight.astype(np.float32),
            flagged=spoken & samples.labeled & (quality < 0.5),
            notes=tuple(dict.fromkeys(answer.notes + kept_notes(samples.classes, kept))),
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
