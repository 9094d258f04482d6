"""What else is wrong with a set: each fault that is put into drawn pictures is found, and nothing is in clean ones."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter
from report_cases import picture, refined_set

from fercleaner.core.types import Features, Landmarks, Samples
from fercleaner.extraction.images import ArrayImages
from fercleaner.report import Material, Options, audit
from fercleaner.results.alike import alike, halves, thumbnails
from fercleaner.results.checks import duplicate_checks, face_checks, group_check, outlier_check, picture_checks
from fercleaner.results.near_duplicates import find_duplicates
from fercleaner.results.pixels import look, measure
from fercleaner.results.recrops import cut, detail, recropped


def inside(refined, pictures, **more) -> Samples:
    """Faces whose pictures are in memory, as those of FER2013's csv."""
    size = pictures[0].size
    pixels = np.stack([np.asarray(one.resize(size)) for one in pictures])
    return Samples(
        refined.ids, refined.classes, refined.given, refined.labeled, np.full(len(refined), ""),
        images=ArrayImages(pixels), **more,
    )  # fmt: skip


def make(n, **changes):
    return refined_set(None, n, **changes)


def test_copies_of_every_kind_are_found_in_pictures_that_are_no_files() -> None:
    originals = [picture(seed) for seed in range(20)]
    copies = {
        20: (0, "exact", originals[0]),
        21: (1, "near", originals[1].point(lambda level: level * 0.8 + 20)),
        22: (2, "mirrored", originals[2].transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
        23: (3, "recropped", originals[3].resize((64, 64), Image.Resampling.BICUBIC, box=(4, 2, 58, 56))),
        24: (4, "recropped", originals[4].resize((64, 64), Image.Resampling.BICUBIC, box=(6, 6, 60, 60))),
    }
    refined = make(25)
    found = find_duplicates(refined, inside(refined, originals + [made for _, _, made in copies.values()]))
    assert (found.faces, found.compared, found.crops_sought) == (25, 25, True)
    told = {group.ids: group.kind for group in found.groups}
    assert told == {(f"face {a:03d}", f"face {b:03d}"): kind for b, (a, kind, _) in copies.items()}
    assert (found.number >= 0).sum() == 10
    without = find_duplicates(
        refined, inside(refined, originals + [made for _, _, made in copies.values()]), crops=False
    )
    assert {group.kind for group in without.groups} == {"exact", "near", "mirrored"}
    assert not without.crops_sought


def test_a_small_copy_is_the_mirror_of_its_mirror_whatever_the_size() -> None:
    for size in (48, 50, 100, 37):
        face = picture(1, size)
        there = measure(face)[0].astype(float)
        back = measure(face.transpose(Image.Transpose.FLIP_LEFT_RIGHT))[0][:, ::-1].astype(float)
        assert np.corrcoef(there.ravel(), back.ravel())[0, 1] > 0.9995, size


def test_the_larger_picture_is_kept_then_the_better_label(tmp_path) -> None:
    for i, side in enumerate((32, 64, 64)):
        picture(5).resize((side, side)).save(tmp_path / f"{i}.png")
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    found = find_duplicates(make(3, paths=paths, quality=[0.9, 0.2, 0.7]))
    assert [group.keep for group in found.groups] == ["face 002"]


def test_pairs_against_all_products() -> None:
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 256, (40, 32, 32)).astype(np.uint8)
    gray[30:35] = gray[:5, :, ::-1]
    gray[35:] = gray[5:10] // 2 + 20
    thumbs, telling = thumbnails(gray)
    assert telling.all()
    even, odd = halves(thumbs)
    mirrored = thumbs.reshape(-1, 16, 16)[:, :, ::-1].reshape(-1, 256)
    assert np.allclose(even @ even.T + odd @ odd.T, thumbs @ thumbs.T, atol=1e-5)
    assert np.allclose(even @ even.T - odd @ odd.T, thumbs @ mirrored.T, atol=1e-5)
    for threshold in (0.99, 0.1):
        found = alike(thumbs, threshold)
        wanted = {
            (i, j, turned)
            for turned, table in ((False, thumbs @ thumbs.T), (True, thumbs @ mirrored.T))
            for i in range(40)
            for j in range(i + 1, 40)
            if table[i, j] >= threshold
        }
        assert len(wanted) >= 10
        assert set(zip(found.first.tolist(), found.second.tolist(), found.mirrored.tolist(), strict=True)) == wanted


def test_a_crop_is_what_interpolation_by_hand_gives() -> None:
    gray = np.arange(32 * 32, dtype=np.float32).reshape(1, 32, 32)
    same = cut(gray, np.ones(1), np.zeros(1), np.zeros(1), 32)
    assert np.allclose(same, gray)
    half = cut(gray, np.array([0.5]), np.array([0.25]), np.array([0.25]), 32)
    # Pixel k of the crop lies at (k + .5) / 2 + 8 - .5 of the source; the ramp is linear.
    at = (np.arange(32) + 0.5) / 2 + 7.5
    assert np.allclose(half[0], 32 * at[:, None] + at[None], atol=1e-3)
    flat = detail(np.full((1, 32, 32), 7, np.uint8))
    assert not flat.any()


def test_most_crops_at_any_place_are_found() -> None:
    rng, originals = np.random.default_rng(0), [picture(seed) for seed in range(60)]
    for side, least in ((0.95, 55), (0.9, 50), (0.85, 45), (0.8, 25)):
        width, copies = 64 * side, []
        for original in originals:
            left, top = rng.uniform(0, 64 - width, 2)
            box = (left, top, left + width, top + width)
            copies.append(original.resize((64, 64), Image.Resampling.BICUBIC, box=box))
        found = recropped(
            np.stack([np.asarray(one.resize((32, 32), Image.Resampling.HAMMING)) for one in originals + copies]),
            np.zeros(0, dtype=np.int64),
        )
        sure = (found.cosine >= 0.99) & (found.detail >= 0.8)
        pairs = set(zip(found.whole[sure].tolist(), found.part[sure].tolist(), strict=True))
        assert sum((i, 60 + i) in pairs for i in range(60)) >= least, side
        assert all(part == whole + 60 for whole, part in pairs)


def test_no_crop_is_found_among_unlike_pictures() -> None:
    seen = np.stack([np.asarray(picture(seed, 32)) for seed in range(80)])
    found = recropped(seen, np.zeros(0, dtype=np.int64))
    assert not ((found.cosine >= 0.99) & (found.detail >= 0.8)).any()


def test_bad_pictures_are_found_in_their_set_and_a_dark_set_is_no_fault() -> None:
    good = [picture(seed) for seed in range(40)]
    bad = {
        40: ("dark", good[0].point(lambda level: level * 0.1)),
        41: ("bright", good[1].point(lambda level: 225 + level * 0.1)),
        42: ("flat", Image.new("L", (64, 64), 120)),
        43: ("blurred", good[2].filter(ImageFilter.GaussianBlur(6))),
    }
    refined = make(44)
    found = {c.name: c for c in picture_checks(look(inside(refined, good + [made for _, made in bad.values()])))}
    for row, (name, _) in bad.items():
        assert row in found[name].rows, name
        assert found[name].judged == 44
        assert set(found[name].rows.tolist()) <= set(bad)
    assert "set's median is 64" in found["tiny"].note
    dim = make(40)
    dark_set = picture_checks(look(inside(dim, [one.point(lambda level: level * 0.12 + 5) for one in good])))
    assert not [check.rows.tolist() for check in dark_set if check.name == "dark" and len(check.rows)]


def test_tiny_and_unreadable_pictures(tmp_path) -> None:
    refined = refined_set(tmp_path, 20)
    picture(3, 20).save(tmp_path / "3.png")
    (tmp_path / "4.png").write_bytes(b"\x89PNG\r\n\x1a\nxx")
    (tmp_path / "5.png").unlink()
    made = audit(refined)
    checks = {check["name"]: check for check in made.data["checks"]}
    assert checks["tiny"]["found"]["count"] == 1
    assert checks["unreadable"]["found"]["count"] == 2
    assert "file not found" in checks["unreadable"]["note"]
    assert made.table["tiny"].tolist() == [i == 3 for i in range(20)]
    missing = {face["id"]: face["missing"] for face in made.data["shown"]}
    assert missing["face 005"] == "file not found"
    made.write(tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "checks.parquet")
    assert table["id"].to_pylist() == refined.ids.tolist()
    assert table["unreadable"].to_pylist() == [i in (4, 5) for i in range(20)]
    quiet = audit(refined, options=Options(checks=False))
    assert "tiny" not in {check["name"] for check in quiet.data["checks"]}


def test_leaks_conflicts_and_groups_with_unlike_labels() -> None:
    pictures = [picture(seed) for seed in range(11)] + [picture(4)]
    refined = make(12)  # face 4 is test and fear, face 11 train and happiness
    faces = inside(refined, pictures, group=np.array([f"g{i // 4}" for i in range(12)]))
    checks = {check.name: check for check in duplicate_checks(refined, find_duplicates(refined, faces))}
    assert checks["leak"].rows.tolist() == [4, 11]
    assert checks["leak"].sets[0][0] == "exact, in test, train; keep face 004"
    assert checks["conflict"].sets[0][0].startswith("exact: fear, happiness")
    assert checks["duplicate"].judged == 12
    unlike = group_check(refined, faces)
    assert unlike is not None
    assert (len(unlike.sets), unlike.judged) == (3, 12)
    assert unlike.sets[0][0] == "g0: 2 anger, 1 fear, 1 happiness"
    assert group_check(refined, inside(refined, pictures)) is None


def test_outliers_and_faces_that_no_detector_found() -> None:
    refined = make(60)
    rng = np.random.default_rng(1)
    values = np.abs(rng.normal(size=(60, 8))).astype(np.float32) + 4
    values[17] = -values[17]
    view = Features("v", refined.ids, values, np.ones(60, bool))
    outliers, nearness = outlier_check(refined, view)
    assert outliers.rows[0] == 17
    assert nearness[17] == np.nanmin(nearness)
    nothing, _ = outlier_check(refined, None)
    assert nothing.judged == 0
    assert "no vectors" in nothing.note
    found = np.arange(60) != 9
    marks = Landmarks(refined.ids, np.zeros((60, 68, 2)), found, found.astype(np.float32))
    none, several = face_checks(refined, {"v": view}, marks, None)
    assert none.rows.tolist() == [9]
    assert several.judged == 0
    counted = np.ones(60, dtype=np.int64)
    counted[[3, 5]] = 0, 2
    none, several = face_checks(refined, {}, None, counted)
    assert (none.rows.tolist(), several.rows.tolist(), several.judged) == ([3], [5], 60)
    counted[9], shut = -1, np.arange(60) == 3
    for none, several in (
        face_checks(refined, {}, marks, counted, shut),  # pictures that cannot be read show neither
        face_checks(refined, {}, marks, np.where(shut, -1, counted)),
    ):
        assert (none.rows.tolist(), none.judged) == ([], 58)
        assert (several.rows.tolist(), several.judged) == ([5], 58)
    whole = Features("b", refined.ids, values, np.ones(60, bool), {"framing": {"crop": "whole"}})
    assert face_checks(refined, {"b": whole}, None, None)[0].judged == 0


@pytest.mark.parametrize("kind", ["file", "memory"])
def test_a_sprite_holds_each_picture_at_its_place(tmp_path, kind) -> None:
    import base64
    import io

    refined = refined_set(tmp_path, 30)
    material = Material()
    if kind == "memory":
        material = Material(samples=inside(refined, [picture(seed) for seed in range(30)], split=refined.split))
    data = audit(refined, material).data
    sheet = data["sprites"]["faces"]
    image = Image.open(io.BytesIO(base64.b64decode(sheet["url"].partition(",")[2]))).convert("L")
    assert sheet["side"] == 64
    for face in data["shown"]:
        left, top = (face["tile"] % sheet["columns"]) * 64, (face["tile"] // sheet["columns"]) * 64
        tile = np.asarray(image.crop((left, top, left + 64, top + 64)), dtype=float).ravel()
        own = np.asarray(picture(face["row"]), dtype=float).ravel()
        assert np.corrcoef(tile, own)[0, 1] > 0.97


def test_a_dim_picture_with_its_own_contrast_is_not_flat() -> None:
    refined = make(20)
    pictures = [picture(seed) for seed in range(18)]
    pictures += [pictures[0].point(lambda level: 20 + level // 5), Image.new("L", (64, 64), 30)]
    checks = {check.name: check for check in picture_checks(look(inside(refined, pictures)))}
    assert checks["flat"].rows.tolist() == [19]


def test_leaks_are_not_counted_in_a_set_of_one_split() -> None:
    pictures = [picture(seed) for seed in range(6)]
    alone = make(6, split=np.full(6, "train"))
    checks = {check.name: check for check in duplicate_checks(alone, find_duplicates(alone, inside(alone, pictures)))}
    assert (checks["leak"].judged, checks["conflict"].judged) == (0, 6)
    assert checks["leak"].note == "Not checked: the set does not name several splits."
