"""refine() end to end on vectors: which views count, what is noted, what the file says, what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

from fercleaner import methods
from fercleaner.classifiers import probe
from fercleaner.core.errors import InputError
from fercleaner.core.evidence import Evidence
from fercleaner.core.types import ActionUnits, Features, Landmarks, Posteriors, Refinement, Samples
from fercleaner.datasets import select
from fercleaner.extraction.images import FileImages
from fercleaner.landmarks.action_units import BLENDSHAPES
from fercleaner.methods import contract
from fercleaner.methods.ambiguous import experts
from fercleaner.methods.base import keep_given, parameters, require
from fercleaner.methods.hypergraph.hypergraph import HypergraphPropagation
from fercleaner.pipeline import neighborhoods
from fercleaner.pipeline import refine as pipeline
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import gather, refine
from fercleaner.results.assemble import input_digest
from fercleaner.results.parquet import load, write
from fercleaner.similarity import whitening
from fercleaner.similarity.whitening import JOINT

NAMES = ("anger", "fear", "happiness", "neutral")
N = 160
CPU = Resources(device="cpu")


def make_samples(seed=0, n=N, flips=0.2, **changes):
    """Faces in four classes with a fifth of the labels moved; samples and true classes."""
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 4
    named = np.where(rng.random(n) < flips, (truth + rng.integers(1, 4, n)) % 4, truth)
    ids = np.array([f"train/face {i:03d}.png" for i in range(n)])
    fields = {"paths": ids, "split": np.full(n, "train"), "layout": "manifest"}
    samples = Samples(ids, NAMES, np.eye(4)[named], np.ones(n, dtype=bool), **{**fields, **changes})
    return samples, truth


def make_view(name, samples, truth, seed=1, found=None, notes=None, spread=0.5):
    rng = np.random.default_rng(seed)
    values = 1.5 * rng.normal(size=(4, 10))[truth] + spread * rng.normal(size=(len(truth), 10))
    found = np.ones(len(truth), dtype=bool) if found is None else found
    values = np.where(found[:, None], values, 0).astype(np.float32)
    return Features(name, samples.ids, values, found, {"kind": "vectors", "file": name}, notes)


def make_landmarks(samples, found=None, blendshapes=None):
    rng = np.random.default_rng(5)
    angle = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    points = 50 + 20 * np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1 + np.arange(68) % 3)[:, None] / 3
    points = points + rng.normal(size=(len(samples), 68, 2))
    found = np.ones(len(samples), dtype=bool) if found is None else found
    notes = np.where(found, "", "no face found")
    return Landmarks(
        samples.ids,
        np.where(found[:, None, None], points, 0),
        found,
        found.astype(float),
        blendshapes,
        {"kind": "x"},
        notes,
    )


class Notebook:
    """A Callbacks that keeps what it is told."""

    def __init__(self):
        self.notes, self.stages = [], []
        self.callbacks = Callbacks(
            lambda stage, done, total: self.stages.append((stage, done, total)), self.notes.append
        )


def run(samples, *views, method=None, callbacks=None, resources=CPU, **sources):
    return refine(samples, method or HypergraphPropagation(k=8), Sources(views=views, **sources), resources, callbacks)


@dataclass(frozen=True)
class Looking:
    """A method that keeps every label and remembers what it was shown."""

    needs: ClassVar[frozenset[str]] = frozenset()
    optional: ClassVar[frozenset[str]] = frozenset()
    name: ClassVar[str] = "looking"
    paper: ClassVar[str] = "none"
    seen: ClassVar[list[Evidence]] = []

    def refine(self, evidence, rng):
        require(evidence, self)
        self.seen.append(evidence)
        samples, n = evidence.samples, len(evidence.samples)
        none = np.zeros(n, dtype=bool)
        return Refinement(samples.ids, samples.classes, keep_given(samples), np.ones(n), np.ones(n), none, self.name)


def looking(*needs, optional=()):
    return type("Looking", (Looking,), {"needs": frozenset(needs), "optional": frozenset(optional), "seen": []})()


def test_flipped_labels_are_found_from_vectors_to_the_file(tmp_path):
    samples, truth = make_samples()
    book = Notebook()
    views = make_view("emotion", samples, truth, 1), make_view("identity", samples, truth, 2)
    refined = run(samples, *views, callbacks=book.callbacks)
    wrong = samples.label != truth
    assert refined.flagged[wrong].mean() > 0.9
    assert refined.flagged[~wrong].mean() < 0.05
    assert (refined.label == truth).mean() > 0.95
    assert np.array_equal(refined.changed, refined.label != samples.label)
    assert np.array_equal(refined.ids, samples.ids)
    assert np.array_equal(refined.paths, samples.paths)
    assert set(refined.split.tolist()) == {"train"}
    assert book.notes == []
    write(refined, tmp_path / "a.parquet")
    back = load(tmp_path / "a.parquet")
    assert np.array_equal(back.distribution, refined.distribution)
    assert back.metadata == refined.metadata


def test_the_reason_and_the_sourcesagree_with_the_flag():
    samples, truth = make_samples()
    refined = run(samples, make_view("emotion", samples, truth, 1), make_view("identity", samples, truth, 2))
    row = int(np.flatnonzero(refined.changed)[0])
    given, now = NAMES[samples.label[row]], NAMES[refined.label[row]]
    assert refined.reason[row].startswith(f"labeled {given}; refined to {now} (")
    assert f"nearest are {now}" in refined.reason[row]
    label = dict(zip(samples.ids.tolist(), samples.label.tolist(), strict=True))
    assert refined.neighbors_against[row]
    for names, same in ((refined.neighbors_for, True), (refined.neighbors_against, False)):
        for i, row_names in enumerate(names):
            assert len(row_names) <= 5
            assert all((label[name] == int(samples.label[i])) is same for name in row_names)
            assert samples.ids[i] not in row_names
    quiet = ~(refined.flagged | refined.changed)
    assert not any(refined.reason[quiet])


def test_a_method_gets_what_it_declares_and_no_more():
    samples, truth = make_samples()
    views = make_view("a", samples, truth, 1), make_view("b", samples, truth, 2)
    cases = {
        ("neighbors",): {"a", "b"},
        ("neighbors", "joint"): {"a", "b", JOINT},
        ("features",): set(),
    }
    for needs, tables in cases.items():
        method = looking(*needs)
        run(samples, *views, method=method)
        (evidence,) = method.seen
        assert set(evidence.neighbors) == tables
        assert evidence.posteriors == {}
        assert evidence.action_units is None
        assert set(evidence.features) == {"a", "b"}


def test_one_view_alone_needs_no_joint_view():
    samples, truth = make_samples()
    evidence = gather(
        samples, HypergraphPropagation(), Sources(views=[make_view("a", samples, truth)]), CPU, Callbacks()
    )
    assert set(evidence.neighbors) == {"a"}


def test_a_view_given_twice_is_counted_once_and_noted():
    samples, truth = make_samples()
    a, b = make_view("a", samples, truth, 1), make_view("b", samples, truth, 2)
    again = Features("again", samples.ids, a.values, a.found)
    book = Notebook()
    twice = run(samples, a, b, again, callbacks=book.callbacks)
    once = run(samples, a, b)
    assert book.notes == ["View 'again' repeats another view and is counted once."]
    assert np.array_equal(twice.distribution, once.distribution)
    assert [view["name"] for view in twice.metadata["views"]] == ["a", "b"]


def test_missing_faces_are_noted_and_judged_by_what_is_left():
    samples, truth = make_samples()
    found = np.ones(N, dtype=bool)
    found[[3, 7, 20]] = False
    notes = np.full(N, "", dtype="U20")
    notes[[3, 20]] = "no face found"
    notes[[40, 41]] = "found upside down"
    a, b = make_view("a", samples, truth, 1, found, notes), make_view("b", samples, truth, 2, np.arange(N) != 7)
    book = Notebook()
    refined = run(samples, a, b, callbacks=book.callbacks)
    assert book.notes == [
        "a: 3 of 160 faces have none (2 no face found; 1 without a reason); first: train/face 003.png. "
        "They are judged by the other views, or keep their label.",
        "a: 2 of 160 faces are found upside down; first: train/face 040.png.",
        "b: 1 of 160 faces have none; first: train/face 007.png. "
        "They are judged by the other views, or keep their label.",
    ]
    np.testing.assert_allclose(refined.distribution[7], samples.given[7])
    assert refined.reason[7] == f"labeled {NAMES[samples.label[7]]}; no view of this face: the label is kept"
    assert not refined.flagged[7]
    assert refined.neighbors_for[7] == refined.neighbors_against[7] == ()
    assert refined.neighbors_for[3] + refined.neighbors_against[3]
    counts = {view["name"]: view["faces"] for view in refined.metadata["views"]}
    assert counts == {"a": 157, "b": 159}


def test_members_of_a_group_do_not_vote_for_one_another():
    samples, truth = make_samples()
    group = np.array([f"video {i // 8}" for i in range(N)])
    views = make_view("a", samples, truth, 1), make_view("b", samples, truth, 2)
    refined = run(samples.replacing(group=group), *views)
    of = dict(zip(samples.ids.tolist(), group.tolist(), strict=True))
    for i in range(N):
        assert all(of[name] != group[i] for name in refined.neighbors_for[i] + refined.neighbors_against[i])
    alone = run(samples, *views)
    assert any(of[name] == group[i] for i in range(N) for name in alone.neighbors_for[i])
    assert refined.metadata["grouped"] is True
    assert alone.metadata["grouped"] is False
    assert not np.array_equal(refined.distribution, alone.distribution)


def test_the_metadata_says_how_the_file_came_to_be():
    samples, truth = make_samples()
    book = Notebook()
    resources = Resources(device="cpu", seed=7, index="hnsw")
    method = HypergraphPropagation(k=8, alpha=0.7)
    metadata = run(
        samples, make_view("a", samples, truth), method=method, resources=resources, callbacks=book.callbacks
    ).metadata
    assert json.loads(json.dumps(metadata)) == metadata
    assert metadata["method"] == "hypergraph"
    assert metadata["params"] == parameters(method)
    assert metadata["seed"] == 7
    assert metadata["index"] == "hnsw"
    assert metadata["layout"] == "manifest"
    assert metadata["views"] == [{"name": "a", "faces": N, "spec": {"kind": "vectors", "file": "a"}}]
    assert metadata["input_digest"] == input_digest(samples)
    assert {"python", "numpy", "scipy"} <= set(metadata["versions"])


def test_the_input_digest_changes_with_everything_that_is_given():
    samples, _ = make_samples(n=12)
    digest = input_digest(samples)
    assert len(digest) == 64
    assert input_digest(make_samples(n=12)[0]) == digest
    others = [
        samples.replacing(ids=samples.ids[::-1]),
        samples.replacing(classes=("anger", "fear", "happiness", "sadness")),
        samples.replacing(given=samples.given[::-1]),
        samples.replacing(group=np.full(12, "")),
        samples.replacing(group=samples.ids),
    ]
    assert len({digest, *map(input_digest, others)}) == 6


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    samples, truth = make_samples()
    views = make_view("a", samples, truth, 1), make_view("b", samples, truth, 2)
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        write(run(samples, *views, resources=Resources(device="cpu", seed=seed)), tmp_path / name)
    one, two, three = ((tmp_path / name).read_bytes() for name in ("one", "two", "three"))
    assert one == two != three


def test_renumbered_faces_get_the_same_answer_by_id():
    samples, truth = make_samples()
    order = np.random.default_rng(0).permutation(N)
    a, b = make_view("a", samples, truth, 1), make_view("b", samples, truth, 2)
    moved = samples.replacing(
        **{name: getattr(samples, name)[order] for name in ("ids", "given", "labeled", "paths", "split")}
    )
    here = run(samples, a, b)
    there = run(moved, *(Features(v.view, moved.ids, v.values[order], v.found[order]) for v in (a, b)))
    np.testing.assert_allclose(there.distribution, here.distribution[order], atol=1e-3)
    assert (there.flagged == here.flagged[order]).mean() > 0.99


def test_k_of_n_or_more_is_cut_and_noted():
    samples, truth = make_samples(n=10)
    book = Notebook()
    refined = run(samples, make_view("a", samples, truth), method=HypergraphPropagation(k=10), callbacks=book.callbacks)
    assert book.notes == ["k = 10, but a face has only 9 others; all of them are its neighbors."]
    assert refined.metadata["params"]["k"] == 10
    book = Notebook()
    run(samples, make_view("a", samples, truth), method=HypergraphPropagation(k=9), callbacks=book.callbacks)
    assert book.notes == []


def test_the_search_gets_what_the_run_was_given(monkeypatch):
    samples, truth = make_samples()
    asked = []
    searcher = neighborhoods.searcher
    monkeypatch.setattr(neighborhoods, "searcher", lambda view, **more: asked.append(more) or searcher(view, **more))
    run(samples, make_view("a", samples, truth), resources=Resources(device="cpu", index="ivf"))
    assert asked == [{"index": "ivf", "device": "cpu", "center": False}]


def test_changed_means_another_class_and_not_flagged():
    samples, truth = make_samples()
    refined = run(samples, make_view("a", samples, truth, spread=1.5))
    assert np.array_equal(refined.changed, refined.label != samples.label)
    assert (refined.changed != refined.flagged).any()


def test_two_faces_are_enough():
    samples, truth = make_samples(n=2, flips=0)
    refined = run(samples, make_view("a", samples, truth))
    np.testing.assert_allclose(refined.distribution.sum(1), 1, atol=1e-6)


def test_unlabeled_faces_get_a_distribution_and_are_never_flagged():
    samples, truth = make_samples()
    labeled = np.arange(N) % 3 > 0
    given = np.where(labeled[:, None], samples.given, 0)
    samples = samples.replacing(given=given, labeled=labeled)
    refined = run(samples, make_view("a", samples, truth, 1), make_view("b", samples, truth, 2))
    assert (refined.label == truth)[~labeled].mean() > 0.95
    assert not (refined.flagged | refined.changed)[~labeled].any()
    assert all(text.startswith("no label; refined to ") for text in refined.reason[~labeled])


def test_progress_names_its_stages():
    samples, truth = make_samples()
    book = Notebook()
    run(samples, make_view("a", samples, truth, 1), make_view("b", samples, truth, 2), callbacks=book.callbacks)
    assert [stage for stage, done, total in book.stages if done == total] == [
        "neighbors: a",
        "neighbors: b",
        "neighbors: joint",
        "hypergraph",
    ]


def test_landmarks_become_a_view_that_is_not_whitened_again(monkeypatch):
    samples, truth = make_samples()
    whitened = []
    whiten = whitening.whiten
    monkeypatch.setattr(whitening, "whiten", lambda view: whitened.append(view.view) or whiten(view))
    method, book = looking("neighbors", "landmarks", optional=("joint",)), Notebook()
    landmarks = make_landmarks(samples, np.arange(N) != 4)
    refined = run(samples, make_view("a", samples, truth), method=method, landmarks=landmarks, callbacks=book.callbacks)
    (evidence,) = method.seen
    assert set(evidence.neighbors) == {"a", "landmarks", JOINT}
    assert evidence.landmarks is landmarks
    assert whitened == ["a"]
    assert book.notes == [
        "landmarks: 1 of 160 faces have none (1 no face found); first: train/face 004.png. "
        "They are judged by the other views, or keep their label."
    ]
    assert [view["name"] for view in refined.metadata["views"]] == ["a", "landmarks"]


def test_action_units_come_from_the_best_source_at_hand():
    samples, _ = make_samples()
    blendshapes = np.random.default_rng(0).random((N, len(BLENDSHAPES))).astype(np.float32)
    own = ActionUnits(samples.ids, ("AU12",), np.full((N, 1), 0.5), np.ones(N, dtype=bool), np.ones(N))
    view = Features("blendshapes", samples.ids, blendshapes, np.ones(N, dtype=bool))
    bare, rich = make_landmarks(samples), make_landmarks(samples, blendshapes=blendshapes)

    def units(**sources):
        method = looking("action_units")
        refine(samples, method, Sources(**sources), CPU)
        return method.seen[0].action_units

    assert units(action_units=own, landmarks=rich, views=[view]) is own
    from_landmarks = units(landmarks=rich)
    np.testing.assert_array_equal(from_landmarks.probability, units(landmarks=bare, views=[view]).probability)
    assert not np.array_equal(from_landmarks.probability, units(landmarks=bare).probability)


def test_methods_are_told_on_what_device_to_train():
    samples, truth = make_samples()
    method = looking("features")
    run(samples, make_view("a", samples, truth), method=method, resources=Resources(device="cpu"))
    assert method.seen[0].device == "cpu"


def test_heads_of_methods_are_trained_where_the_user_says(monkeypatch):
    """The probe's and the experts' of `ambiguous`; `consensus` needs no torch."""
    samples, truth = make_samples(n=60)
    asked = []
    for module in (probe, experts):
        monkeypatch.setattr(module, "torch_device", lambda device: asked.append(device) or "cpu")
    run(samples, make_view("a", samples, truth), method=methods.build("ambiguous"))
    assert asked == ["cpu", "cpu"]


def test_the_probe_is_fitted_for_methods_that_ask_for_it(monkeypatch):
    """`consensus` trains heads of its own, and reasons go by these."""
    samples, truth = make_samples()
    view = make_view("a", samples, truth)
    for needs, there in ((["posteriors"], {"probe"}), (["features"], set())):
        method = looking(*needs)
        run(samples, view, method=method)
        assert method.seen[0].posteriors.keys() == there
    monkeypatch.setattr(pipeline, "_probe", lambda *a: pytest.fail("nobody asked for the probe"))
    refined = run(samples, view, method=methods.build("consensus"))
    assert any("probe says" in text or "probe gives" in text for text in refined.reason)
    assert refined.evidence.keys() == {"probe"}


def test_outside_posteriors_are_those_that_did_not_learn_from_the_labels():
    samples, truth = make_samples()
    values = np.full((N, 4), 0.25, dtype=np.float32)
    panel = Posteriors("panel", samples.ids, NAMES, values, np.ones(N, dtype=bool))
    mirror = Posteriors("mirror", samples.ids, NAMES, values, np.ones(N, dtype=bool), learned=True)
    method = looking("outside")
    view = make_view("a", samples, truth)
    run(samples, view, method=method, posteriors=[panel, mirror])
    assert method.seen[0].outside == {"panel": panel}
    shown = contract.declared(replace(method.seen[0], device="cpu"), method)
    assert shown.posteriors == {"panel": panel}
    assert shown.device == "cpu"
    with pytest.raises(InputError, match=r"Method 'looking' needs outside: add --encoder builtin"):
        run(samples, view, method=method, posteriors=[mirror])


def test_what_learned_from_the_labels_is_not_handed_on_under_other_labels():
    """The probe is fitted anew; a table that the user brought cannot be."""
    samples, truth = make_samples()
    values = np.full((N, 4), 0.25, dtype=np.float32)
    panel = Posteriors("panel", samples.ids, NAMES, values, np.ones(N, dtype=bool))
    mirror = Posteriors("mirror", samples.ids, NAMES, values, np.ones(N, dtype=bool), learned=True)
    seen = Sources(views=[make_view("a", samples, truth)], posteriors=[panel, mirror])
    first = gather(samples, looking("posteriors"), seen, CPU, Callbacks())
    assert first.posteriors.keys() == {"panel", "mirror", "probe"}
    again = pipeline.relabeled(first, samples, CPU, Callbacks())
    assert again.posteriors.keys() == {"panel", "probe"}
    assert again.posteriors["panel"] is panel


def test_posteriors_have_names_of_their_own():
    samples, truth = make_samples()
    values = np.full((N, 4), 0.25, dtype=np.float32)

    def tried(*names):
        tables = [Posteriors(name, samples.ids, NAMES, values, np.ones(N, dtype=bool)) for name in names]
        run(samples, make_view("a", samples, truth), posteriors=tables)

    with pytest.raises(InputError, match=r"Two posteriors are called 'panel'\. Give one of them another name"):
        tried("panel", "panel")
    with pytest.raises(InputError, match=r"Posteriors cannot be called 'probe': it is fitted here"):
        tried("probe")


def test_outside_posteriors_are_handed_on():
    samples, truth = make_samples()
    values = np.full((N, 4), 0.25, dtype=np.float32)
    panel = Posteriors("panel", samples.ids, NAMES, values, np.ones(N, dtype=bool))
    method = looking("features")
    run(samples, make_view("a", samples, truth), method=method, posteriors=[panel])
    assert method.seen[0].posteriors == {"panel": panel}


@pytest.mark.parametrize(
    ("need", "message"),
    [
        ("neighbors", r"Method 'looking' needs neighbors: add --encoder or --view NAME=FILE"),
        ("features", r"Method 'looking' needs features: add --encoder or --view NAME=FILE"),
        ("posteriors", r"Method 'looking' needs posteriors: add --encoder or --view NAME=FILE"),
        ("joint", r"Method 'looking' needs joint: add two or more of --encoder, --view NAME=FILE and --landmarks"),
        ("landmarks", r"Method 'looking' needs landmarks: add --landmarks face-alignment, mediapipe or points:FILE"),
        ("action_units", r"Method 'looking' needs action units: add --landmarks or --action-units FILE"),
    ],
)
def test_what_is_needed_and_missing_is_named(need, message):
    with pytest.raises(InputError, match=message):
        refine(make_samples()[0], looking(need), Sources(), CPU)


def test_no_view_at_all_is_an_error():
    with pytest.raises(InputError, match=r"Method 'hypergraph' needs neighbors: add --encoder or --view NAME=FILE"):
        run(make_samples()[0])


def test_no_labeled_row_is_an_error_before_any_work():
    samples, truth = make_samples()
    bare = samples.replacing(given=np.zeros((N, 4)), labeled=np.zeros(N, dtype=bool))
    book = Notebook()
    with pytest.raises(InputError, match=r"needs some labeled faces. Name the column .* with --column label=NAME"):
        run(bare, make_view("a", samples, truth), callbacks=book.callbacks)
    assert book.stages == []


@pytest.mark.parametrize("name", ["consensus", "hypergraph"])
def test_a_class_without_a_base_rate_is_told_of_before_anything_is_computed(name):
    samples, truth = make_samples()
    book = Notebook()
    method = methods.build(name, {"base_rates": "anger:1,fear:1,happy:2"})
    with pytest.raises(InputError, match="base_rates gives no rate for neutral; name every class: anger, fear"):
        refine(samples, method, Sources(views=[make_view("a", samples, truth)]), CPU, book.callbacks)
    assert book.stages == []


def test_views_of_one_name_or_of_another_order_are_errors():
    samples, truth = make_samples()
    a = make_view("a", samples, truth)
    with pytest.raises(InputError, match=r"Two views are called 'a'\. Give one of them another name: --view NAME=FILE"):
        run(samples, a, make_view("a", samples, truth, 2))
    with pytest.raises(InputError, match=r"View .a.: row 0 is .* Rows must be in the order of the set"):
        run(samples, Features("a", samples.ids[::-1], a.values, a.found))


def test_the_names_of_the_librarys_own_views_are_taken():
    samples, truth = make_samples()
    with pytest.raises(InputError, match=r"A view cannot be called 'joint': that is all views side by side"):
        run(samples, make_view(JOINT, samples, truth))
    with pytest.raises(InputError, match=r"Two views are called 'landmarks'\. Give one of them another name"):
        run(samples, make_view("landmarks", samples, truth), landmarks=make_landmarks(samples))


def test_cuda_without_a_gpu_is_an_error(monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    samples, truth = make_samples()
    with pytest.raises(InputError, match="--device cuda: FAISS sees no GPU here"):
        run(samples, make_view("a", samples, truth), resources=Resources(device="cuda"))


def test_nothing_given_is_written_to():
    samples, truth = make_samples()
    view = make_view("a", samples, truth)
    before = samples.given.copy(), view.values.copy()
    refined = run(samples, view)
    assert np.array_equal(samples.given, before[0])
    assert np.array_equal(view.values, before[1])
    assert isinstance(refined.metadata, Mapping)


def test_pictures_that_are_there_twice_are_noted_unless_a_group_holds_them():
    samples, truth = make_samples()
    one, two = (make_view(name, samples, truth, seed) for seed, name in enumerate("ab"))
    values = [np.pad(view.values, ((0, 0), (0, 16))) for view in (one, two)]
    for rows in values:
        rows[:, -16:] = np.random.default_rng(3).normal(size=(N, 16))
        rows[[5, 40]] = rows[[90, 41]]
    values[1][5] *= -1  # alike in one view alone
    a, b = (Features(view.view, samples.ids, rows, view.found) for view, rows in zip((one, two), values, strict=True))
    book = Notebook()
    run(samples, a, callbacks=book.callbacks)
    assert len(book.notes) == 1
    assert book.notes[0].startswith("4 of 160 faces, in 2 groups, pass for pictures of one subject in one moment")
    for method in (None, looking("neighbors")):  # whether or not the method asks for a table of both views
        book = Notebook()
        run(samples, a, b, method=method, callbacks=book.callbacks)
        assert book.notes[0].startswith("2 of 160 faces, in 1 group, pass for pictures")
    together = np.array([f"alone {i}" for i in range(N)])
    together[[5, 40]] = together[[90, 41]]
    book = Notebook()
    run(samples.replacing(group=together), a, b, callbacks=book.callbacks)
    assert book.notes == []
    pictures = samples.replacing(images=FileImages(samples.paths.tolist()))
    book = Notebook()
    run(pictures, a, callbacks=book.callbacks)
    assert "`fercleaner show FILE --duplicates` lists near-identical pictures" in book.notes[0]


def test_two_faces_have_one_neighbor_each():
    samples, truth = make_samples()
    few = select(samples, np.flatnonzero(truth < 2)[:2])
    view = Features("a", few.ids, np.eye(2, dtype=np.float32), np.ones(2, dtype=bool))
    book = Notebook()
    gather(few, HypergraphPropagation(k=10), Sources(views=[view]), CPU, book.callbacks)
    assert book.notes == ["k = 10, but a face has only 1 other, which is its neighbor."]


def test_no_label_is_changed_that_is_not_flagged_at_a_precision():
    samples, truth = make_samples(n=200)
    label = np.where(np.arange(200) % 5 == 0, (truth + 1) % 4, truth)
    noisy = samples.replacing(given=np.eye(4, dtype=np.float32)[label])
    sources = Sources(views=[make_view("a", samples, truth)])
    refined = refine(noisy, methods.build("consensus"), sources, CPU, precision=0.9)
    assert refined.flagged.any()
    assert not (refined.changed & ~refined.flagged).any()
