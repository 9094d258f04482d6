"""What the builtin network learns of photographs, and how it is judged on folders of them."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fercleaner.core.refined import RefinedSet
from fercleaner.results.parquet import write

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if not (BENCHMARKS / "train_builtin.py").is_file():
    pytest.skip("the benchmarks are not here", allow_module_level=True)
sys.path.insert(0, str(BENCHMARKS))
import builtin_batches as batches  # noqa: E402
import builtin_mix as mixing  # noqa: E402
import builtin_photographs as photographs  # noqa: E402
import builtin_pictures as pictures  # noqa: E402
import train_builtin  # noqa: E402

from fercleaner.encoders.facenet import FaceNet  # noqa: E402


def refined_set(names: list[str], distribution: np.ndarray, weight: list[float]) -> RefinedSet:
    n = len(names)
    given = np.eye(distribution.shape[1], dtype=np.float32)[distribution.argmax(1)]
    return RefinedSet(
        ids=np.array(names),
        paths=np.array(names),
        split=np.full(n, ""),
        classes=("anger", "happiness", "neutral"),
        labeled=np.ones(n, bool),
        given=given,
        distribution=distribution.astype(np.float32),
        weight=np.array(weight, np.float32),
        quality=np.ones(n, np.float32),
        flagged=np.zeros(n, bool),
        changed=np.zeros(n, bool),
        reason=np.full(n, ""),
        neighbors_for=((),) * n,
        neighbors_against=((),) * n,
    )


def test_cleaned_labels_come_in_the_networks_order_and_are_missing_where_held_back(tmp_path: Path) -> None:
    rows = np.array([[0.7, 0.1, 0.2], [0.0, 1.0, 0.0]])
    write(refined_set(["images/b.jpg", "images/a.jpg"], rows, [0.5, 0.9]), tmp_path / "wild.refined.parquet")
    cleaned, weight = photographs.cleaned_labels(tmp_path / "wild.refined.parquet", ["a.jpg", "b.jpg", "held.jpg"])
    neutral, happiness, anger = (photographs.EXPRESSIONS.index(n) for n in ("neutral", "happiness", "anger"))
    assert cleaned[1, [anger, happiness, neutral]].tolist() == pytest.approx([0.7, 0.1, 0.2])
    assert cleaned[0, happiness] == 1
    assert cleaned.sum(1).tolist() == pytest.approx([1, 1, 0])
    assert weight[:, 0].tolist() == pytest.approx([0.9, 0.5, 0.0])


def test_cleaned_labels_move_the_votes_as_far_as_they_are_sure() -> None:
    torch.manual_seed(0)
    ours, seven, five = (torch.rand(3, 8).softmax(1) for _ in range(3))
    some = photographs.Photographs(
        names=["a", "b", "c"],
        pictures=torch.zeros(3, 128, 128, dtype=torch.uint8),
        frames=torch.zeros(3, 2, 3),
        expression=seven,
        emotion=five,
        points=torch.zeros(3, 68, 2),
        blendshapes=torch.zeros(3, 52),
        found=torch.ones(3, dtype=torch.bool),
        labels=np.array(["anger"] * 3),
        groups=np.array(["g"] * 3),
        color=np.zeros(3, bool),
    )
    rows = np.arange(3)
    plain = batches.photograph_targets(some, ours, rows)
    cleaned = torch.eye(8)[[4, 4, 4]]
    moved = batches.photograph_targets(some, ours, rows, (cleaned, torch.tensor([[1.0], [0.5], [0.0]])))
    gain = (moved.votes - plain.votes)[:, 4]
    assert gain[0] > gain[1] > 0.05
    assert torch.allclose(moved.votes[2], plain.votes[2], atol=1e-3)
    assert torch.equal(moved.photographs, plain.photographs)
    expected = (seven[0] + 1e-4).log() / 2 + (five[0] + 1e-4).log() / 2
    assert torch.allclose(plain.photographs[0], expected.softmax(0), atol=1e-6)


def test_a_parts_table_holds_its_groups_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = json.loads((BENCHMARKS.parent / "fercleaner" / "weights" / "heldback_groups.json").read_text())["wild"]
    groups = [held["choose"][0], held["test"][0], "of nobody", held["test"][1]]
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "group", "annotator"])
        writer.writerows([f"w{k}.jpg", "anger", group, "a0"] for k, group in enumerate(groups))
    found = {}
    for part in ("train", "choose", "test"):
        out = tmp_path / f"{part}.csv"
        monkeypatch.setattr(sys, "argv", ["builtin_photographs.py", str(tmp_path), part, str(out)])
        photographs.main()
        with out.open(newline="") as file:
            found[part] = [row["image"] for row in csv.DictReader(file)]
    assert found == {
        "train": ["images/w2.jpg"],
        "choose": ["images/w0.jpg"],
        "test": ["images/w1.jpg", "images/w3.jpg"],
    }


def test_conditions_are_told_in_quarters_and_in_the_hardest_tenth() -> None:
    classes = ["neutral", "happiness"]
    truth = np.array(["neutral"] * 40)
    posterior = np.tile([[0.9, 0.1]], (40, 1))
    posterior[:4] = [0.2, 0.8]
    seen = {name: np.arange(40.0) for name in pictures.CONDITIONS}
    found = pictures.slices(posterior, truth, seen, classes)
    dark, turn = found["brightness"], found["turn"]
    assert [row["faces"] for row in dark] == [10, 10, 10, 10, 4]
    assert [row["accuracy"] for row in dark] == pytest.approx([0.6, 1, 1, 1, 0])
    assert (dark[-1]["from"], dark[-1]["to"], dark[-1]["calibration_error"]) == (0, 3, pytest.approx(0.8))
    assert (turn[-1]["from"], turn[-1]["to"], turn[-1]["accuracy"]) == (36, 39, 1)


def made_targets(count: int) -> batches.Targets:
    half = torch.full((count, 8), 1 / 8)
    return batches.Targets(
        pictures=torch.randint(0, 255, (count, 48, 48), dtype=torch.uint8),
        frames=torch.eye(3)[:2].repeat(count, 1, 1),
        votes=half,
        photographs=half,
        weight=torch.ones(count),
        points=torch.rand(count, 68, 2),
        blendshapes=torch.rand(count, 52),
        found=torch.ones(count, dtype=torch.bool),
        rows=np.arange(count),
    )


def test_a_mixed_network_lies_between_both_and_takes_its_statistics_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    one, other = FaceNet(), FaceNet()
    network = mixing.mixed(one, other, 0.25)
    weight = 0.75 * one.classify.weight + 0.25 * other.classify.weight
    assert torch.allclose(network.classify.weight, weight)
    monkeypatch.setattr(mixing, "BATCHES", 2)
    count, args = 16, argparse.Namespace(without="", seed=0, batch=8)
    targets = made_targets(count)
    before = network.norm.running_mean.clone()
    mixing.take_statistics(network, (targets, targets), args)
    assert not network.training
    assert not torch.equal(network.norm.running_mean, before)
    assert int(network.norm.num_batches_tracked) == 2
    assert torch.allclose(network.classify.weight, weight)


def test_a_training_that_was_stopped_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    sizes = {"steps": 2, "batch": 8, "processes": 1, "rounds": 3, "decay-rounds": 1}
    folders = ("--targets", str(tmp_path), "--work", str(tmp_path))
    args = train_builtin.options().parse_args([*folders, *(f"--{name}={size}" for name, size in sizes.items())])
    torch.manual_seed(0)
    sets = (made_targets(12), made_targets(12))
    mirror, scale = list(range(52)), torch.full((52,), 1 / 52)

    def started() -> train_builtin.State:
        torch.manual_seed(1)
        model = FaceNet()
        return train_builtin.State(model, train_builtin.optimizer_of(model, args))

    whole, part, again = started(), started(), started()
    train_builtin.one_round(part, sets, scale, mirror, 0, args)
    part.save(tmp_path / "state.safetensors")
    for _ in range(2):
        train_builtin.one_round(whole, sets, scale, mirror, 0, args)
    again.load(tmp_path / "state.safetensors")
    assert (again.round, again.step) == (1, 2)
    train_builtin.one_round(again, sets, scale, mirror, 0, args)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
        assert torch.equal(whole.average[name], again.average[name]), name
