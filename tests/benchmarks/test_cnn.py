"""The CNN of the benchmarks: pictures, changes, training; the results file of downstream.py goes on; the plots."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import beds
import cnn
import downstream
import plot
import targets

from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples


def archive(folder: Path, pictures: np.ndarray[Any, Any], names: list[str]) -> None:
    """Write images.tar with a PNG for each name."""
    with tarfile.open(folder / "images.tar", "w") as tar:
        for name, pixels in zip(names, pictures, strict=True):
            held = io.BytesIO()
            Image.fromarray(pixels).save(held, "PNG")
            member = tarfile.TarInfo(name)
            member.size = held.tell()
            held.seek(0)
            tar.addfile(member, held)


def test_pictures_come_from_the_archive_by_id_or_from_paths(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 48, 48), dtype=np.uint8)
    archive(tmp_path, pictures, ["images/b.png", "./images/a.png", "images/c.png"])
    ids = np.array(["images/a.png", "images/b.png"])
    read = cnn.read_pictures(tmp_path, ids, np.array(["", ""]))
    np.testing.assert_array_equal(read, pictures[[1, 0]])
    with pytest.raises(InputError, match=r"1 of 2 faces have no picture \(first: images/z.png\).*--classifier head"):
        cnn.read_pictures(tmp_path, np.array(["images/a.png", "images/z.png"]), np.array(["", ""]))

    loose = tmp_path / "loose"
    loose.mkdir()
    Image.fromarray(pictures[0]).save(loose / "x.png")
    Image.fromarray(np.full((96, 80, 3), 7, np.uint8)).save(loose / "y.png")
    read = cnn.read_pictures(loose, np.array(["x", "y"]), np.array([str(loose / "x.png"), str(loose / "y.png")]))
    np.testing.assert_array_equal(read[0], pictures[0])
    assert (read[1] == 7).all()
    with pytest.raises(InputError, match=r"no images\.tar there"):
        cnn.read_pictures(loose, np.array(["x"]), np.array([""]))


def test_moved_pictures_are_mirrored_and_shifted_within_bounds() -> None:
    rng = np.random.default_rng(1)
    pictures = torch.from_numpy(rng.integers(0, 256, (40, 1, 16, 16)).astype(np.float32))
    moved = cnn.moved(pictures, torch.Generator().manual_seed(0)).numpy()
    reach = range(2 * cnn.SHIFT + 1)
    seen = set()
    for before, after in zip(pictures.numpy(), moved, strict=True):
        ways = [
            (mirrored, down, right)
            for mirrored in (False, True)
            for down in reach
            for right in reach
            if np.array_equal(
                np.pad(before[0, :, ::-1] if mirrored else before[0], cnn.SHIFT, mode="reflect")[
                    down : down + 16, right : right + 16
                ],
                after[0],
            )
        ]
        assert len(ways) == 1
        seen.add(ways[0])
    assert {mirrored for mirrored, _, _ in seen} == {False, True}
    assert {down for _, down, _ in seen} == set(reach)


def test_standardized_pictures_have_mean_0_and_deviation_1() -> None:
    pictures = torch.stack((torch.arange(256).reshape(1, 16, 16), torch.full((1, 16, 16), 9)))
    ready = cnn.standardized(pictures)
    assert ready[0].mean().item() == pytest.approx(0, abs=1e-5)
    assert ready[0].std(unbiased=False).item() == pytest.approx(1, abs=1e-5)
    assert (ready[1] == 0).all()


def test_the_network_is_small_and_keeps_to_its_shapes() -> None:
    network = cnn.network(7)
    assert 100_000 < sum(p.numel() for p in network.parameters()) < 200_000
    assert network(torch.zeros(2, 1, 48, 48)).shape == (2, 7)
    assert cnn.network(3, channels=3)(torch.zeros(2, 3, 48, 48)).shape == (2, 3)


@pytest.fixture
def bars() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """120 pictures of bars that lie (0) or stand (1), under noise."""
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 120)
    wave = 60 * np.sign(np.sin(np.arange(48) / 2.5))
    pictures = np.stack([np.tile(wave, (48, 1)) if y else np.tile(wave[:, None], (1, 48)) for y in label])
    return np.clip(128 + pictures + 40 * rng.normal(size=pictures.shape), 0, 255).astype(np.uint8), label


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few steps on small networks."""
    monkeypatch.setattr(cnn, "LEAST_STEPS", 4)
    monkeypatch.setattr(cnn, "WIDTHS", (8, 8, 8, 8, 8))
    monkeypatch.setattr(cnn, "BATCH", 32)


@pytest.mark.usefixtures("short")
def test_the_cnn_learns_leaves_out_weight_0_and_repeats_itself(bars: Any) -> None:
    pictures, label = bars
    wrong = np.arange(120) < 70
    given = np.eye(2)[np.where(wrong, 1 - label, label)]
    weight = 5.0 * ~wrong
    said = cnn.train(pictures, given, weight, pictures, 0, device="cpu", epochs=6)
    np.testing.assert_allclose(said.sum(1), 1)
    assert (said.argmax(1) == label).mean() > 0.95
    short, again, other = (
        cnn.train(pictures, given, weight / scale, pictures, seed, device="cpu", epochs=1)
        for scale, seed in ((1, 0), (5, 0), (1, 1))
    )
    np.testing.assert_array_equal(short, again)  # the scale of the weights does not count
    assert not np.array_equal(short, other)


@pytest.mark.usefixtures("short")
def test_a_stopped_downstream_run_goes_on(
    bars: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, label = bars
    names = [f"images/{row}.png" for row in range(120)]
    archive(tmp_path, pictures, names)
    ids = np.array(names)
    samples = Samples(ids, ("lies", "stands"), np.eye(2)[label], np.ones(120, bool), np.full(120, ""))
    view = beds.Features("pixels", ids, pictures[:, ::6, ::6].reshape(120, -1), np.ones(120, bool))
    bed = beds.Bed("bars", samples, (view,), label, np.full(120, np.inf, np.float32))
    monkeypatch.setattr(downstream, "open_bed", lambda text: bed)
    trainings: list[int] = []
    fit = cnn.train

    def counted(*args: Any, **options: Any) -> Any:
        trainings.append(args[4])
        return fit(*args, **options)

    monkeypatch.setattr(cnn, "train", counted)
    results = tmp_path / "results"
    common = ["--data", str(tmp_path), "--noise", "symmetric:0.2", "--classifier", "cnn", "--epochs", "1"]
    common += ["--device", "cpu", "--results", str(results), "--ways", "soft", "relabel", "--methods"]
    assert downstream.main([*common, "--peers", "SimiFeat", "--seeds", "0"]) == 0
    assert trainings == [0] * 4  # given, truth, SimiFeat relabel and soft
    file = results / "downstream-bars-symmetric-0.2-cnn.json"
    first = json.loads(file.read_text())
    assert downstream.main([*common, "--peers", "class prior", "--seeds", "0", "1"]) == 0
    assert trainings == [0] * 4 + [1, 1]  # the class prior offers no way; SimiFeat's training stands
    content = json.loads(file.read_text())
    assert content["figures"]["given"]["seeds"] == [0, 1]
    assert content["figures"]["SimiFeat, soft"]["seeds"] == [0]
    row = content["figures"]["SimiFeat, soft"]["accuracy"]
    assert row["runs"] == first["figures"]["SimiFeat, soft"]["accuracy"]["runs"]
    assert row["gap_closed"] == first["figures"]["SimiFeat, soft"]["accuracy"]["gap_closed"]  # over its own seeds
    assert "small CNN from pixels" in (results / "downstream.md").read_text()
    assert "SimiFeat, soft (1 of 2 seeds)" in (results / "downstream.md").read_text()

    stale = [run | {"labels": "other"} if run["tool"] == "SimiFeat" else run for run in content["runs"]]
    file.write_text(json.dumps(content | {"runs": stale}))
    assert downstream.main([*common, "--peers", "SimiFeat", "--seeds", "0"]) == 0
    assert trainings[6:] == [0, 0]  # what was trained on other labels is trained again
    assert downstream.main([*common, "--peers", "SimiFeat", "--seeds", "0", "--min-votes", "7", "--float32"]) == 1
    assert "other settings of the classifier. Replace it with --fresh" in capsys.readouterr().err
    file.write_text(json.dumps(content | {"runs": []}))
    assert downstream.main([*common, "--peers", "class prior", "--seeds", "0", "--float32"]) == 0
    assert len(trainings) == 10


def test_gaps_are_closed_over_the_seeds_of_the_tool() -> None:
    def row(seeds: list[int], runs: list[float]) -> dict[str, Any]:
        cell = {"mean": float(np.mean(runs)), "runs": runs}
        return {"seeds": seeds, "accuracy": dict(cell), "mean_recall": dict(cell)}

    figures = {
        "given": row([0, 1], [0.5, 0.7]),
        "truth": row([0, 1], [0.9, 0.7]),
        "tool": row([0], [0.6]),
        "both": row([0, 1], [0.6, 0.8]),
        "other": row([2], [0.6]),
    }
    downstream.set_gaps(figures)
    gaps = {name: cell["accuracy"]["gap_closed"] for name, cell in figures.items()}
    assert gaps["tool"] == pytest.approx((0.6 - 0.5) / (0.9 - 0.5))
    assert gaps["both"] == pytest.approx((0.7 - 0.6) / (0.8 - 0.6))
    assert gaps["other"] is None


def test_fingerprints_tell_labels_apart() -> None:
    soft = np.array([[0.25, 0.75]])
    assert targets.fingerprint(soft) == targets.fingerprint(soft + 1e-9)
    assert targets.fingerprint(soft) != targets.fingerprint(soft[:, ::-1])
    assert targets.fingerprint(soft) != targets.fingerprint(soft.T)
    assert targets.fingerprint(np.array(["a", "b"])) != targets.fingerprint(np.array(["ab"]))


def quality(bed: str, noise: str, figures: dict[str, tuple[bool, float | None]]) -> dict[str, Any]:
    """Return what the plots read of a results file of quality.py."""
    summary = {
        name: {"ours": ours, "6": {"average_precision": {"mean": mean, "spread": 0.01}}}
        for name, (ours, mean) in figures.items()
    }
    return {"bed": bed, "noise": noise, "judged": {"6": 10}, "seeds": [0, 1], "summary": summary}


def test_the_figure_of_speed_is_of_the_results(tmp_path: Path) -> None:
    """Drawn from the results as they are; `python benchmarks/plot.py` draws it again."""
    content = json.loads((Path(plot.__file__).parent / "results" / plot.SPEED_RESULTS).read_text(encoding="utf-8"))
    assert plot.speed_digest(content) in plot.SPEED.read_text(encoding="utf-8")
    lines = plot.speed_lines(content["runs"], 2)
    runs = [run for run in content["runs"] if run["tool"] == "hypergraph" and run["views"] == 2]
    assert dict(lines["hypergraph"]) == {run["faces"]: run["cpu_s"] for run in runs if run["code"] == "this"}
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    plot.draw_speed(content, tmp_path / "speed.svg")
    drawn = (tmp_path / "speed.svg").read_text(encoding="utf-8")
    assert all(name in drawn for name in (*lines, "2 views of 512 columns", plot.speed_digest(content)))


def test_plots_show_every_tool_of_a_set_and_repeat_their_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [
        quality("faces", "symmetric:0.2", {"ours": (True, 0.9), "theirs": (False, 0.8), "given label": (False, 0.1)}),
        quality("faces", "human", {"ours": (True, 0.5), "theirs": (False, None), "third": (False, 0.95)}),
        quality("digits", "symmetric:0.2", {"ours": (True, 0.9)}),
    ]
    rows = plot.points(contents[:2])
    assert [(name, ours) for name, ours, _ in rows] == [("ours", True), ("theirs", False), ("third", False)]
    assert rows[0][2] == [(0.9, 0.01), (0.5, 0.01)]
    assert rows[1][2] == [(0.8, 0.01), None]
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    files = plot.write_plots(contents, tmp_path)
    assert [file.name for file in files] == ["quality-faces.svg", "quality-digits.svg"]
    drawn = files[0].read_bytes()
    assert all(word in drawn.decode() for word in ("third", "labels as they came (2 seeds)", "fercleaner"))
    assert b"<dc:date>" not in drawn
    assert plot.write_plots(contents, tmp_path) == files
    assert files[0].read_bytes() == drawn

    told: list[str] = []
    monkeypatch.setattr(plot.importlib.util, "find_spec", lambda name: None)
    assert plot.write_plots(contents, tmp_path, told.append) == []
    assert told == [plot.WITHOUT]
