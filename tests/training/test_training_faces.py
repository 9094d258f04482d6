"""Faces, views, landmarks and heat maps as a training sees them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from training_cases import drawn, drawn_faces, drawn_folder

from fercleaner import datasets
from fercleaner.core.errors import InputError
from fercleaner.core.groups import fold_numbers
from fercleaner.core.refined import RefinedSet
from fercleaner.core.types import Samples
from fercleaner.extraction.images import ArrayImages
from fercleaner.training import (
    EpochSampler,
    Faces,
    Plain,
    Strong,
    Weak,
    collate,
    decoded,
    from_refined,
    from_samples,
    held_back,
    progressive_counts,
    split_of,
)
from fercleaner.training.heatmaps import AFLW_19, Heatmaps

RAW = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def refined_set(classes: tuple[str, ...] | None = None) -> RefinedSet:
    """Return the drawn faces as if refined: row i's likeliest class is the one after the given one."""
    samples = drawn()
    n, c = samples.given.shape
    label = (samples.label + 1) % c
    weight = np.linspace(0.1, 1, n, dtype=np.float32)
    return RefinedSet(
        ids=samples.ids,
        paths=samples.paths,
        split=samples.split,
        classes=classes or samples.classes,
        labeled=samples.labeled,
        given=samples.given,
        distribution=0.8 * np.eye(c, dtype=np.float32)[label] + np.float32(0.2 / c),
        weight=weight,
        quality=weight,
        flagged=weight < 0.3,
        changed=np.ones(n, dtype=bool),
        reason=np.full(n, ""),
        neighbors_for=((),) * n,
        neighbors_against=((),) * n,
    )


def test_boxes_that_a_refined_file_does_not_hold_are_asked_for():
    boxed = replace(refined_set(), metadata={"boxed": True})
    with pytest.raises(InputError, match=r"whole pictures would be trained on. Name the set .* --dataset SET"):
        from_refined(boxed)
    assert len(from_refined(boxed, drawn())) == 64


def test_what_of_a_refined_set_is_trained_on():
    refined = refined_set()
    given = np.eye(7)[drawn().label]
    for which, distribution, weight in (
        ("refined", refined.distribution, refined.weight),
        ("given", given, np.ones(64)),
        ("weight", given, refined.weight),
        ("drop", given, ~refined.flagged),
        ("relabel", np.eye(7)[refined.label], np.ones(64)),
    ):
        faces = from_refined(refined, which=which)
        np.testing.assert_array_equal(faces.distribution, distribution.astype(np.float32), which)
        np.testing.assert_array_equal(faces.weight, weight.astype(np.float32), which)
    with pytest.raises(InputError, match=r"labels 'refine' are not known; choose refined, .* Did you mean 'refined'"):
        from_refined(refined, which="refine")


def test_the_set_gives_pictures_and_the_file_gives_the_order_of_classes():
    refined = refined_set()
    order = [3, 0, 1, 2, 4, 6, 5]
    other = drawn().replacing(
        classes=tuple(drawn().classes[k] for k in order), given=drawn().given[:, order], votes=None
    )
    faces = from_refined(refined, other, "given")
    assert faces.classes == refined.classes
    np.testing.assert_array_equal(faces.label, drawn().label)
    np.testing.assert_array_equal(faces.samples.label[faces.rows], drawn().label)
    renamed = refined_set(classes=("a", *drawn().classes[1:]))
    with pytest.raises(InputError, match=r"The set has the classes .*, the refined file a, "):
        from_refined(renamed, drawn())
    with pytest.raises(InputError, match=r"63 of 64 faces of the refined file are not in the set"):
        from_refined(refined, datasets.select(drawn(), np.array([5])))


def test_pictures_come_by_path_from_memory_and_not_at_all():
    refined = refined_set()
    _, held = decoded(from_refined(refined), 32)
    assert held is not None
    assert held.shape == (64, 32, 32, 3)
    pixels = np.repeat(np.arange(64, dtype=np.uint8)[:, None, None], 48, 1).repeat(48, 2)
    in_memory = drawn().replacing(images=ArrayImages(pixels))
    _, gray = decoded(from_refined(refined, in_memory), 48)
    assert gray is not None
    assert (gray[:, 0, 0, 0] == np.arange(64)).all()
    nowhere = replace(refined, paths=np.where(np.arange(64) == 3, "", refined.paths))
    with pytest.raises(InputError, match=r"1 of 64 faces .* have no picture as a file \(first: .*--dataset SET"):
        from_refined(nowhere)
    gone = replace(refined, paths=np.where(np.arange(64) == 3, "gone.png", refined.paths))
    told: list[str] = []
    kept, held = decoded(from_refined(gone), 32, note=told.append)
    assert len(kept) == 63
    assert held is not None
    assert len(held) == 63
    assert told == [f"1 of 64 pictures cannot be read and are left out: file not found (first: {refined.ids[3]})."]
    with pytest.raises(InputError, match=r"None of the 64 pictures can be read \(file not found; first: "):
        decoded(from_refined(replace(refined, paths=np.full(64, "gone.png"))), 32)


def test_a_batch_holds_views_labels_and_landmarks():
    faces = Faces(
        drawn_faces(),
        32,
        {"weak": Weak(), "strong": Strong(), "mirror": Plain(mirrored=True), "plain": Plain()},
        heatmaps=Heatmaps(8),
    )
    batch = next(iter(DataLoader(faces, 8, collate_fn=collate)))
    assert {name: tuple(batch[name].shape) for name in batch} == {
        **dict.fromkeys(("weak", "strong", "mirror", "plain"), (8, 3, 32, 32)),
        "distribution": (8, 7),
        "units": (8, len(drawn_faces().unit_names)),
        **dict.fromkeys(("given", "weight", "row", "place", "has_points"), (8,)),
        "points": (8, 19, 2),
        "heatmaps": (8, 19, 8, 8),
    }
    assert torch.equal(batch["mirror"], batch["plain"].flip(3))
    assert batch["given"].tolist() == drawn().label[:8].tolist()


def test_views_depend_on_seed_epoch_face_and_copy_alone():
    faces = Faces(drawn_faces(), 32, {"weak": Weak(), "strong": Strong()})
    first = faces[5]
    state = torch.random.get_rng_state()
    assert torch.equal(faces[5]["strong"], first["strong"])
    assert torch.equal(torch.random.get_rng_state(), state), "drawing a view moved the loop's own random numbers"
    assert not torch.equal(faces[5, 1]["weak"], first["weak"])
    faces.set_epoch(1)
    assert not torch.equal(faces[5]["strong"], first["strong"])
    again = next(iter(DataLoader(faces, 64, collate_fn=collate, num_workers=1)))
    assert torch.equal(again["strong"][5], faces[5]["strong"])
    shuffled = Faces(drawn_faces().taking(np.arange(64)[::-1].copy()), 32, faces.views)
    shuffled.set_epoch(1)
    assert torch.equal(shuffled[58]["strong"], faces[5]["strong"])


@pytest.mark.parametrize("view", [Plain(RAW), Plain(RAW, mirrored=True), Weak(RAW), Weak(RAW, area=(0.75, 1.0))])
def test_landmarks_move_with_the_picture(view):
    """A white dot is drawn at each of three points; it is where the view says that the point is."""
    size, missed = 64, 0
    for trial in range(12):
        torch.manual_seed(trial)
        points = np.full((68, 2), np.nan, np.float32)
        for k, (x, y) in {30: (31, 33), 36: (20, 24), 45: (44, 22)}.items():
            points[k] = (x + 0.5) / size, (y + 0.5) / size
        for k in (30, 36, 45):
            face = np.zeros((size, size, 3), np.uint8)
            x, y = (points[k] * size).astype(int)
            face[y - 1 : y + 2, x - 1 : x + 2] = 255
            torch.manual_seed(trial)
            seen = view(face, points)
            assert seen.points is not None
            gray = seen.picture.mean(0)
            rows, columns = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
            found = np.array([float((gray * c).sum() / gray.sum()) for c in (columns, rows)]) / size
            there = seen.points[{36: 45, 45: 36}.get(k, k)] if _mirrored(seen.points) else seen.points[k]
            missed += np.abs(found - there).max() > 0.012
    assert missed == 0


def _mirrored(points: np.ndarray) -> bool:
    return bool(points[36, 1] < points[45, 1])  # left and right are swapped: 36 lies lower than 45 in the face


def test_erasing_and_jitter_change_pictures_and_cutout_is_as_large_as_it_says():
    face = np.full((224, 224, 3), 60, np.uint8)
    torch.manual_seed(0)
    erased = Weak(RAW, pad=0, flip=0.0, erase=1.0)(face).picture
    share = float((erased == 0).float().mean())
    assert 0.015 < share < 0.21
    strong = Strong(Weak(RAW, pad=0, flip=0.0), changes=0)(face).picture * 255
    gray = (strong.round() == 128).all(0)
    assert 0 < int(gray.sum()) <= 16 * 16
    jittered = Weak(RAW, pad=0, flip=0.0, jitter=0.4)(face).picture
    assert not torch.equal(jittered, Plain(RAW)(face).picture)


def test_heat_maps_peak_at_their_points():
    points = np.full((68, 2), 0.5, np.float32)
    points[8], points[30] = (0.4375, 0.8125), (1.2, 0.5)
    made = Heatmaps(8, sigma=1.0)(points)
    chin, nose = made["heatmaps"][18], made["heatmaps"][13]
    assert made["points"].shape == (len(AFLW_19), 2)
    assert divmod(int(chin.argmax()), 8) == (6, 3)
    assert float(chin.max()) == pytest.approx(1.0)
    assert float(chin[6, 4]) == pytest.approx(np.exp(-0.5), rel=1e-5)
    assert not nose.any(), "a point outside the picture has no map"
    none = Heatmaps(8)(None)
    assert float(none["has_points"]) == 0
    assert not none["heatmaps"].any()


def test_progressive_counts_follow_la_nets_formula():
    sizes, n = [100, 50, 0, 10], 160
    for e in range(5):
        by_hand = [int(np.ceil(n * ((1 - e / 5) * k / n + e / 5 / 3) - 1e-9)) if k else 0 for k in sizes]
        assert progressive_counts(sizes, e, 5) == by_hand
    assert progressive_counts(sizes, 0, 5) == sizes


def test_samplers_draw_each_class_as_often_as_they_say_and_copies_apart():
    label = np.array([0] * 10 + [1] * 3 + [-1] * 2)
    plain = list(EpochSampler(label, 4, "none"))
    assert sorted(plain) == [(k, 0) for k in range(15)]
    even = list(EpochSampler(label, 4, "classes", seed=1))
    assert len(even) == len(set(even)) == 7 + 7 + 2
    drawn_of = [place for place, _ in even if label[place] == 1]
    assert sorted(drawn_of.count(k) for k in (10, 11, 12)) == [2, 2, 3], "whole copies and a remainder"
    rising = EpochSampler(label, 4, "progressive")
    rising.set_epoch(2)
    assert rising.counts() == [9, 5]  # ceil(13 (.5 x 10/13 + .5 / 2)), ceil(13 (.5 x 3/13 + .25))
    assert len(list(rising)) == len(rising) == 16
    first = list(rising)
    rising.set_epoch(3)
    assert list(rising) != first
    with pytest.raises(InputError, match="balance is 'even'; choose none, classes, progressive"):
        EpochSampler(label, 4, "even")  # type: ignore[arg-type]


def test_groups_stay_on_one_side_and_splits_must_be_there():
    samples = drawn().replacing(group=np.repeat(np.arange(32), 2).astype(str))
    faces = replace(drawn_faces(), samples=samples)
    learned, tested = held_back(faces, 0.25, seed=0)
    assert len(learned) + len(tested) == 64
    assert 10 <= len(tested) <= 22
    assert not set(samples.group[learned.rows]) & set(samples.group[tested.rows])
    assert set(split_of(faces, ("test",)).ids.tolist()) == set(samples.ids[samples.split == "test"].tolist())
    with pytest.raises(
        InputError, match=r"No face is in split 'tests'. Did you mean 'test'\? The set has: test, train"
    ):
        split_of(faces, ("tests",))
    with pytest.raises(InputError, match=r"share held back is 1\.5"):
        held_back(faces, 1.5, 0)
    assert drawn_folder().is_dir()


@pytest.mark.parametrize("share", [0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
def test_the_share_that_is_asked_for_is_held_back(share: float) -> None:
    """Of many groups in unequal classes, over all and in every class, whatever the order of the faces."""
    samples, n = drawn(), 1400
    group = np.char.add("g", (np.arange(n) // 2).astype(str))
    label = np.repeat(np.arange(7), [600, 300, 200, 100, 100, 60, 40])
    many = Samples(
        ids=np.char.add("i", np.arange(n).astype(str)),
        classes=samples.classes,
        given=np.eye(7, dtype=np.float32)[label],
        labeled=np.ones(n, dtype=bool),
        paths=np.full(n, ""),
        group=group,
    )
    faces = from_samples(many)
    learned, tested = held_back(faces, share, seed=3)
    assert len(learned) + len(tested) == n
    assert abs(len(tested) - share * n) <= 2
    assert not set(group[learned.rows]) & set(group[tested.rows])
    for c, count in enumerate(np.bincount(label)):
        assert abs(int((tested.given == c).sum()) - share * count) <= 4  # two groups
    turned = faces.taking(np.random.default_rng(0).permutation(n))
    assert set(held_back(turned, share, seed=3)[1].ids.tolist()) == set(tested.ids.tolist())


@pytest.mark.parametrize("folds", [2, 3, 5, 10])
def test_a_share_of_one_fold_is_the_first_fold(folds: int) -> None:
    faces = drawn_faces()
    fold = fold_numbers(faces.ids, None, folds, 1, label=faces.given)
    assert set(held_back(faces, 1 / folds, 1)[1].ids.tolist()) == set(faces.ids[fold == 0].tolist())


@pytest.mark.parametrize(
    ("groups", "share", "tested"), [(2, 0.1, 1), (2, 0.9, 1), (3, 0.7, 2), (4, 0.4, 2), (7, 0.9, 6)]
)
def test_few_groups_are_dealt_as_near_to_the_share_as_can_be(groups: int, share: float, tested: int) -> None:
    group = (np.arange(64) % groups).astype(str)
    faces = replace(drawn_faces(), samples=drawn().replacing(group=group))
    assert len(set(group[held_back(faces, share, 0)[1].rows])) == tested


def test_extreme_shares_leave_faces_on_both_sides() -> None:
    for share in (1e-300, 1e-9, 0.001, 0.999, 1 - 1e-12):
        learned, tested = held_back(drawn_faces(), share, 0)
        assert min(len(learned), len(tested)) == 1
    one = replace(drawn_faces(), samples=drawn().replacing(group=np.full(64, "g")))
    with pytest.raises(InputError, match="64 faces of one group cannot be dealt"):
        held_back(one, 0.7, 0)
