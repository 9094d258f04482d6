"""Every recipe overfits 64 drawn faces, goes on where it was killed, and says what is wrong."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_cases import SMALL, drawn, drawn_faces, tensors, trained

from fercleaner.core.errors import FeatureError, InputError, StoreError
from fercleaner.extraction.images import UnreadableImage
from fercleaner.pipeline.inputs import Callbacks
from fercleaner.training import RECIPES, Backbone, Plain, Soft, Weak, build, fit, labels, load_network
from fercleaner.training.labels import face_of

READ = labels.face_of
#: Settings under which a recipe learns 64 faces by heart in a few seconds.
BY_HEART: dict[str, dict[str, Any]] = {
    "soft": {},
    "dnfer": {"warm_up": 20, "alpha": 0.1},
    "la-net": {"queue": 64, "momentum": 0.9, "balance": "none"},
    "leaf": {"momentum": 0.5, "dropout": 0.0, "weight_decay": 0.0, "label_weight": 1.0, "experts": 1},
    "poi": {},
    "amy": {"relabel_from": 1.0},
}
#: Settings under which three epochs show all that a recipe does.
FEW: dict[str, dict[str, Any]] = {
    "soft": {"mixing": 0.5},
    "dnfer": {"warm_up": 1},
    "la-net": {"queue": 64},
    "leaf": {"momentum": 0.9},
    "poi": {},
    "amy": {"relabel_from": 0.3, "lead": -0.5},
}


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_learns_64_faces_by_heart(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weak views are the faces as they are: what is tested is that the loss leads to the labels."""
    monkeypatch.setattr(RECIPES[name], "weak", lambda recipe: Weak(recipe.statistics, pad=0, flip=0.0))
    steps = {"epochs": 24, "batch": 8, "rate": 5e-3, "head_rate": 5e-3, "schedule": "cosine"}
    figures = trained(build(name, steps | BY_HEART[name]), tmp_path / "out")
    assert figures["last"]["accuracy"] >= 0.75
    assert figures["best"]["accuracy"] >= figures["last"]["accuracy"]
    assert np.isfinite([row["loss"] for row in figures["epochs"]]).all()


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_goes_on_to_the_same_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training of three epochs equals one that is broken off in its last."""
    recipe = build(name, {"batch": 16, "epochs": 3, "dropout": 0.2} | FEW[name])
    whole = trained(recipe, tmp_path / "whole")
    broken_off(recipe, tmp_path / "broken", 2, monkeypatch)
    torch.manual_seed(99)
    rest = trained(recipe, tmp_path / "broken")
    assert [row["loss"] for row in rest["epochs"]] == [row["loss"] for row in whole["epochs"]]
    a, b = (tensors(tmp_path / folder, "checkpoint.safetensors") for folder in ("whole", "broken"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("name", ["soft", "amy"])
def test_pictures_lost_between_two_runs_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe may hold something of each face, which would be another face's; it was torch's error of shapes."""
    recipe = build(name, {"batch": 16, "epochs": 2} | FEW[name])
    broken_off(recipe, tmp_path / "out", 1, monkeypatch)
    lose(monkeypatch, {0, 1, 2})
    said = r"training on 64 faces, tested on 64; of the same faces 61 and 61 have pictures .* start again with --force"
    with pytest.raises(StoreError, match=said):
        trained(recipe, tmp_path / "out")
    assert trained(recipe, tmp_path / "out", overwrite=True)["faces"] == 61
    shutil.rmtree(tmp_path / "out")
    broken_off(recipe, tmp_path / "out", 1, monkeypatch)
    lose(monkeypatch, {0, 1, 3})
    said = r"training on 61 faces, tested on 61; of the same faces as many, but others, have pictures .* with --force"
    with pytest.raises(StoreError, match=said):
        trained(recipe, tmp_path / "out")


def broken_off(recipe: Any, folder: Path, epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train until an epoch (from 0) begins, as a user who presses Ctrl-C does."""
    from fercleaner.training import loop

    one_epoch = loop.one_epoch

    def broken(*given: Any) -> Any:
        if given[4] == epoch:
            raise KeyboardInterrupt
        return one_epoch(*given)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "one_epoch", broken)
        with pytest.raises(KeyboardInterrupt):
            trained(recipe, folder)


def lose(monkeypatch: pytest.MonkeyPatch, rows: set[int]) -> None:
    """Make the pictures of some rows unreadable, and no others."""

    def lost(samples: Any, row: int, size: int) -> Any:
        if row in rows:
            raise UnreadableImage("no such file")
        return READ(samples, row, size)

    monkeypatch.setattr(labels, "face_of", lost)


def test_a_killed_process_goes_on(tmp_path: Path) -> None:
    """SIGKILL between epochs and in the middle of one; the weights are those of a run that was let be."""
    code = (
        "import sys; from pathlib import Path; from training_cases import trained, drawn_faces; "
        "from fercleaner.training import Soft; "
        "trained(Soft(epochs=4, batch=16), Path(sys.argv[1]))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", code, str(tmp_path / "killed")]
    process = subprocess.Popen(arguments, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "killed" / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(arguments, env=environment, check=True)
    trained(Soft(epochs=4, batch=16), tmp_path / "whole")
    a, b = tensors(tmp_path / "killed"), tensors(tmp_path / "whole")
    assert all(torch.equal(a[key], b[key]) for key in b)


def test_a_folder_holds_log_figures_card_and_networks(tmp_path: Path) -> None:
    figures = trained(Soft(epochs=3, batch=16), tmp_path / "out")
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        ".fercleaner-training",
        "MODEL_CARD.md",
        "best.safetensors",
        "checkpoint.safetensors",
        "figures.json",
        "log.csv",
        "model.safetensors",
    ]
    rows = list(csv.DictReader((out / "log.csv").open()))
    assert [float(row["accuracy"]) for row in rows] == [row["accuracy"] for row in figures["epochs"]]
    assert json.loads((out / "figures.json").read_text())["last"] == figures["last"]
    text = (out / "MODEL_CARD.md").read_text()
    assert f"| last: 3 | {figures['last']['accuracy']:.4f} |" in text
    assert "Start: random weights" in text
    network, about = load_network(out / "model.safetensors")
    assert about["classes"] == list(drawn().classes)
    view = Plain(tuple(map(tuple, about["statistics"])))
    x = torch.stack([view(face_of(drawn(), row, about["size"])).picture for row in range(64)])
    with torch.inference_mode():
        guess = network(x).argmax(1).numpy()
    assert float((guess == drawn().label).mean()) == pytest.approx(figures["last"]["accuracy"])
    again = trained(Soft(epochs=3, batch=16), out)
    assert again["last"] == figures["last"], "a training that is done is not run again"


def test_best_is_the_best_epoch(tmp_path: Path) -> None:
    figures = trained(Soft(epochs=6, batch=16, rate=0.01), tmp_path / "out")
    accuracies = [row["accuracy"] for row in figures["epochs"]]
    assert figures["best"]["epoch"] == int(np.argmax(accuracies)) + 1
    _, about = load_network(tmp_path / "out" / "best.safetensors")
    assert about["epoch"] == figures["best"]["epoch"]


def test_a_training_goes_on_only_with_its_own_settings(tmp_path: Path) -> None:
    trained(Soft(epochs=1, batch=16), tmp_path / "out")
    with pytest.raises(StoreError, match=r"holds a training with another rate, seed\. Start again with --force"):
        trained(Soft(epochs=1, batch=16, rate=1e-2), tmp_path / "out", seed=1)
    with pytest.raises(StoreError, match="another labels"):
        trained(Soft(epochs=1, batch=16), tmp_path / "out", faces=drawn_faces().taking(np.arange(60)))
    trained(Soft(epochs=1, batch=16, rate=1e-2), tmp_path / "out", overwrite=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(StoreError, match=r"holds other files \(mine.txt"):
        trained(Soft(epochs=1), tmp_path / "full")
    (tmp_path / "out" / "checkpoint.safetensors").write_bytes(b"damaged")
    with pytest.raises(StoreError, match=r"checkpoint.safetensors is not a file that fercleaner train wrote"):
        trained(Soft(epochs=1, batch=16, rate=1e-2), tmp_path / "out")


def test_weights_of_zero_are_left_out_and_too_few_faces_are_refused(tmp_path: Path) -> None:
    faces = drawn_faces()
    keep = np.arange(64) % 2 == 0
    silent = replace(faces, weight=faces.weight * keep)
    assert trained(Soft(epochs=1, batch=16), tmp_path / "out", faces=silent)["faces"] == 32
    with pytest.raises(InputError, match=r"10 of 10 faces have a label and a weight above 0; at least 14 are needed"):
        fit(Soft(epochs=1), SMALL, faces.taking(np.arange(10)), faces, tmp_path / "few")
    with pytest.raises(InputError, match=r"None of 64 test faces has a label"):
        fit(Soft(epochs=1), SMALL, faces, replace(faces, weight=0 * faces.weight), tmp_path / "untested")
    other = replace(faces, samples=drawn().replacing(classes=("x", *drawn().classes[1:])))
    with pytest.raises(InputError, match="Classes differ: "):
        fit(Soft(epochs=1), SMALL, faces, other, tmp_path / "other")


def test_half_precision_learns_too(tmp_path: Path) -> None:
    figures = trained(Soft(epochs=8, batch=16, rate=4e-3, schedule="cosine"), tmp_path / "out", half=True)
    losses = [row["loss"] for row in figures["epochs"]]
    assert losses[-1] < 0.95 * losses[0]
    assert {t.dtype for t in tensors(tmp_path / "out").values()} <= {torch.float32, torch.int64}


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_runs_in_half_precision(name: str, tmp_path: Path) -> None:
    figures = trained(build(name, {"batch": 32, "epochs": 1} | FEW[name]), tmp_path / "out", half=True)
    assert np.isfinite(figures["last"]["loss"])


@pytest.mark.parametrize(
    ("tag", "size", "shapes"),
    [
        ("small", 48, [24, 12, 6, 3]),
        ("builtin", 48, [24, 12, 6]),
        ("torchvision:resnet18", 64, [32, 16, 8, 4, 2]),
        ("torchvision:mobilenet_v3_small", 64, [32, 16, 8, 4, 2]),
    ],
)
def test_backbones_have_stages_that_halve(tag: str, size: int, shapes: list[int]) -> None:
    network = Backbone(tag, size, "none").build(5)
    edges = [edge for _, edge in network.body.shapes]
    assert list(dict.fromkeys(edges)) == shapes
    network.eval()
    x = torch.rand(2, 3, size, size)
    assert network(x).shape == (2, 5)
    assert network.body(x).shape == (2, network.body.width)


def test_the_builtin_body_is_the_builtin_models() -> None:
    from fercleaner.encoders.builtin import weights_folder
    from fercleaner.encoders.facenet import load_facenet

    gray = torch.rand(3, 1, 48, 48)
    wanted = load_facenet(str(weights_folder() / "builtin.safetensors"))(gray).embedding
    body = Backbone("builtin").build(7).eval().body
    with torch.inference_mode():
        found = body(((gray - 0.45) / 0.225).expand(-1, 3, -1, -1))
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_weights_must_be_there_and_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fercleaner.encoders import checkpoints

    monkeypatch.setattr(checkpoints, "torch_folder", lambda: tmp_path / "none")
    monkeypatch.setattr(checkpoints, "reach", lambda url: "the host cannot be reached: no route")
    with pytest.raises(FeatureError, match=r"weights of torchvision:resnet18.* are not here.*or train from random"):
        Backbone("torchvision:resnet18").build(7)
    with pytest.raises(FeatureError, match=r"small has no weights of its own.*--weights none"):
        Backbone("small").build(7)
    with pytest.raises(FeatureError, match=r"gone.pth does not exist"):
        Backbone("torchvision:resnet18", 64, str(tmp_path / "gone.pth")).build(7)
    with pytest.raises(InputError, match=r"torchvision has no classifier 'resnet19'.*Did you mean 'resnet18'"):
        Backbone("torchvision:resnet19").build(7)
    with pytest.raises(InputError, match="vit_b_16 has no feature maps"):
        Backbone("torchvision:vit_b_16", 224, "none").build(7)
    with pytest.raises(InputError, match="--backbone resnet18 is not known; choose torchvision:NAME"):
        Backbone("resnet18")
    trained(Soft(epochs=1, batch=16), tmp_path / "out")
    file = str(tmp_path / "out" / "model.safetensors")
    body = Backbone("small", 32, file).build(3).body.state_dict()
    assert all(torch.equal(t, tensors(tmp_path / "out")[f"body.{name}"]) for name, t in body.items())
    with pytest.raises(FeatureError, match="does not fit --backbone torchvision:resnet18"):
        Backbone("torchvision:resnet18", 64, file).build(3)
    from torchvision.models import resnet18

    model = resnet18(weights=None)
    torch.save(model.state_dict(), tmp_path / "resnet.pth")
    network = Backbone("torchvision:resnet18", 64, str(tmp_path / "resnet.pth")).build(3)
    assert torch.equal(network.body.state_dict()["stages.0.0.weight"], model.conv1.weight)


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"loss of epoch \d is not a number. Take smaller steps: --set rate="):
        trained(Soft(epochs=2, batch=16, rate=1e30, head_rate=1e30), tmp_path / "out")


def test_a_network_that_calls_every_face_the_same_is_said_so(tmp_path: Path) -> None:
    """One step leaves random weights as they are: the answer is one class, which no test face may have."""
    said: list[str] = []
    faces, still = drawn_faces(), Soft(epochs=1, batch=32, rate=1e-9, head_rate=1e-9)
    fit(still, SMALL, faces, faces, tmp_path / "a", callbacks=Callbacks(note=said.append))
    assert "The network calls every test face" in said[-1]
    assert "2 steps of 32 faces were not enough" in said[-1]
