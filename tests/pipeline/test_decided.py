"""What people decided about some faces, taken to a method's answer about the others."""

from __future__ import annotations

import numpy as np
import pytest
from test_pipeline import CPU, NAMES, make_samples, make_view

from fercleaner import methods
from fercleaner.core.types import Refinement
from fercleaner.methods.consensus.consensus import kept_notes, surest_stay
from fercleaner.methods.hypergraph.hypergraph import labels_kept
from fercleaner.noise.known_labels import corrected
from fercleaner.pipeline.decided import KnownLabels
from fercleaner.pipeline.inputs import Callbacks, Sources
from fercleaner.pipeline.refine import refine
from fercleaner.review.decisions import Decisions
from fercleaner.review.log import Decision


def decided(samples, truth, rows):
    """Return decisions that say the truth of some faces."""
    return Decisions({str(samples.ids[row]): Decision("label", (NAMES[truth[row]],)) for row in rows})


def faces(seed=0, spread=1.6, **changes):
    samples, truth = make_samples(seed, n=600, **changes)
    return samples, truth, Sources(views=(make_view("v", samples, truth, spread=spread),))


def before_and_after(samples, truth, sources, rows):
    """Return `consensus` without and with decisions about some faces, and the notes of the second run."""
    said: list[str] = []
    method, known = methods.build("consensus"), decided(samples, truth, rows)
    first = refine(samples, method, sources, CPU)
    return first, refine(samples, method, sources, CPU, Callbacks(note=said.append), decisions=known), said


def test_decisions_correct_the_other_faces_and_are_certain():
    samples, truth, sources = faces()
    rows = np.arange(0, 600, 4)
    first, after, said = before_and_after(samples, truth, sources, rows)
    rest = np.setdiff1d(np.arange(600), rows)
    known = corrected(samples.given.astype(float), first.distribution.astype(float), rows, np.eye(4)[truth[rows]])
    assert np.allclose(after.distribution[rest], known[rest], atol=1e-6)
    assert (after.label[rows] == truth[rows]).all()
    assert np.array_equal(after.given, samples.given)
    assert np.array_equal(after.quality[rest] < 0.5, after.flagged[rest])
    assert not (after.changed & ~after.flagged).any()
    assert any(note.startswith("Decisions: what 150 of them say") for note in said)
    assert after.metadata["notes"][-1].startswith("Decisions: what 150")
    assert after.metadata["decisions"]["faces"] == 150


@pytest.mark.parametrize("name", [name for name in methods.available() if name != "au-prior"])
def test_many_true_decisions_do_no_harm_under_any_method(name):
    samples, truth, sources = faces(seed=3)
    method = methods.build(name)
    rows = np.random.default_rng(5).permutation(600)[:200]
    rest = np.setdiff1d(np.arange(600), rows)
    first = refine(samples, method, sources, CPU)
    after = refine(samples, method, sources, CPU, decisions=decided(samples, truth, rows))
    assert (after.label == truth)[rest].mean() >= (first.label == truth)[rest].mean() - 0.01
    assert np.array_equal(after.label != after.given_label, after.changed)
    assert not (after.changed & ~after.flagged)[rest].any()


def test_nothing_is_learned_from_a_list_of_corrections_alone():
    samples, truth, sources = faces()
    rows = np.flatnonzero(samples.label != truth)[:60]
    first, after, said = before_and_after(samples, truth, sources, rows)
    rest = np.setdiff1d(np.arange(600), rows)
    assert np.array_equal(after.distribution[rest], first.distribution[rest])
    assert np.array_equal(after.flagged[rest], first.flagged[rest])
    assert any("none of 60 keeps the given label" in note for note in said)


def test_corrections_of_soft_labels_are_corrections():
    samples, truth, _ = faces()
    soft = samples.replacing(given=(0.8 * samples.given + 0.05).astype(np.float32))
    rows = np.flatnonzero(samples.label != truth)[:60]
    known = KnownLabels(rows, np.eye(4)[truth[rows]])
    assert known.none_kept(samples)
    assert known.none_kept(soft)
    rows[0] = np.flatnonzero(samples.label == truth)[0]
    assert not KnownLabels(rows, np.eye(4)[truth[rows]]).none_kept(soft)


def test_a_face_without_evidence_keeps_its_label():
    samples, truth, _ = faces()
    found = np.arange(600) % 10 != 0
    view = make_view("v", samples, truth, found=found, spread=1.6)
    decisions = decided(samples, truth, np.arange(1, 400))
    after = refine(samples, methods.build("consensus"), Sources(views=(view,)), CPU, decisions=decisions)
    silent = ~found & ~after.decided
    assert np.array_equal(after.distribution[silent], samples.given[silent])
    assert not after.flagged[silent].any()


def test_hidden_splits_are_corrected_and_not_learned_from():
    split = np.where(np.arange(600) % 3 == 0, "test", "train")
    samples, truth, sources = faces(split=split)
    train, test = np.flatnonzero(split == "train")[:100], np.flatnonzero(split == "test")[:60]
    method = methods.build("consensus")
    few = refine(samples, method, sources, CPU, learn_from="train", decisions=decided(samples, truth, train))
    both = refine(samples, method, sources, CPU, learn_from="train", decisions=decided(samples, truth, [*train, *test]))
    others = ~both.decided
    assert np.array_equal(few.distribution[others], both.distribution[others])
    assert (both.label[test] == truth[test]).all()


def test_a_wanted_precision_is_asked_of_corrected_answers():
    samples, truth, sources = faces()
    decisions = decided(samples, truth, np.arange(0, 600, 5))
    after = refine(samples, methods.build("consensus"), sources, CPU, precision=0.8, decisions=decisions)
    assert after.metadata["precision"]["wanted"] == 0.8
    assert any(note.endswith(", all before --precision.") for note in after.metadata["notes"])
    assert not (after.changed & ~after.flagged).any()


@pytest.mark.parametrize("learned", [True, False])
def test_the_margin_of_hypergraph_is_asked_of_corrected_answers(learned):
    """Quality and flags are those of r' without a margin; labels that are led by less stay."""
    samples, truth, sources = faces()
    rows = np.arange(0, 600, 4) if learned else np.flatnonzero(samples.label != truth)[:60]
    known = decided(samples, truth, rows)
    plain, asked = (
        refine(samples, methods.build("hypergraph", {"margin": margin}), sources, CPU, decisions=known)
        for margin in (0.0, 0.6)
    )
    rest = np.setdiff1d(np.arange(600), rows)
    assert np.array_equal(asked.flagged[rest], plain.flagged[rest])
    assert np.array_equal(asked.quality[rest], plain.quality[rest])
    wanted = labels_kept(plain.distribution.astype(float), samples.given.astype(float), 0.6)
    np.testing.assert_allclose(asked.distribution[rest], wanted[rest], atol=1e-6)
    assert 0 < asked.changed[rest].sum() < plain.changed[rest].sum()


def test_ambiguous_and_unlabeled_faces_are_learned_from_too():
    samples = faces()[0]
    labeled = np.arange(600) >= 100
    samples = samples.replacing(labeled=labeled, given=np.where(labeled[:, None], samples.given, np.float32(0)))
    said = np.tile(np.float32([0.4, 0.3, 0.2, 0.1]), (600, 1))
    said[:50] = 0.25  # nothing is known of these
    ones = np.ones(600, dtype=np.float32)
    answer = Refinement(samples.ids, samples.classes, said, ones, ones, np.zeros(600, dtype=bool), "made")
    known = KnownLabels(np.arange(50, 200), np.tile([0.5, 0.5, 0.0, 0.0], (150, 1)))
    after = known.applied(samples, answer)
    assert np.array_equal(after.distribution[:50], said[:50])
    assert np.allclose(after.distribution[50:100, :2], 0.5, atol=0.06)
    assert (after.quality[50:100] < 0.8).all()  # of an unlabeled face, how sure the answer is
    assert not after.flagged[:100].any()
    assert KnownLabels(np.arange(50), np.tile([1.0, 0, 0, 0], (50, 1))).applied(samples, answer) is answer


def test_a_class_is_not_emptied_in_silence():
    samples = faces()[0]
    said = 0.9 * samples.given + np.float32(0.025)
    fear = samples.label == NAMES.index("fear")
    said[fear] = [0.55, 0.35, 0.05, 0.05]
    ones = np.ones(600, dtype=np.float32)
    answer = Refinement(samples.ids, samples.classes, said, ones, ones, np.zeros(600, dtype=bool), "made", notes=("a",))
    rows = np.flatnonzero(~fear)[:100]
    after = KnownLabels(rows, samples.given[rows].astype(float)).applied(samples, answer)
    kept = int((after.label == NAMES.index("fear"))[fear].sum())
    assert 0 < kept < fear.sum()
    said = f"All fear labels would have changed; the surest keep theirs, and their reasons say so: {kept}."
    assert after.notes == ("a", said)
    assert after.stays.sum() == kept
    assert after.flagged[after.stays].all()


def test_labels_that_a_method_kept_for_their_class_are_corrected_as_they_were_and_said_anew():
    """What `consensus` mixed in takes no part, and its sentence on how many stayed is not printed beside the other."""
    samples = faces()[0]
    said = (0.9 * samples.given + np.float32(0.025)).astype(np.float64)
    fear = samples.label == NAMES.index("fear")
    said[fear] = [0.55, 0.35, 0.05, 0.05] + np.linspace(0, 0.1, fear.sum())[:, None] * [1, -1, 0, 0]
    given, ones = samples.given.astype(np.float64), np.ones(600, dtype=np.float32)
    mixed, kept = surest_stay(said, given, np.ones(600, dtype=bool))
    rows = np.flatnonzero(~fear)[:100]

    def corrected_by(distribution, kept, notes):
        values = (ones, np.zeros(600, dtype=bool), "made")
        answer = Refinement(samples.ids, samples.classes, distribution, ones, *values, notes=notes, kept=kept)
        return KnownLabels(rows, given[rows]).applied(samples, answer)

    bare = corrected_by(said, None, ("a",))
    notes = (*kept_notes(samples, kept > 0), "a")
    after = corrected_by(mixed, kept, notes)
    assert 0 < (kept > 0).sum() != after.stays.sum()
    np.testing.assert_allclose(after.distribution, bare.distribution, atol=1e-5)
    assert np.array_equal(after.flagged, bare.flagged)
    assert after.notes == bare.notes
