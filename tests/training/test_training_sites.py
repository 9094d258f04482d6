"""Federated training: what is shared, what stays, and that a broken run goes on to the same weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fercleaner.cli.app import app
from training_cases import SMALL, drawn_faces, tensors
from typer.testing import CliRunner

from fercleaner.core.errors import FercleanerError, InputError
from fercleaner.training import RECIPES, Run, TrainingSet, build, fit_sites, of_each_site
from fercleaner.training.sites import mean_body

BODY = "body."


def sited(names: list[str]) -> TrainingSet:
    faces = drawn_faces()
    site = np.array([names[k % len(names)] for k in range(len(faces.samples))])
    return TrainingSet(**{**vars(faces), "samples": faces.samples.replacing(site=site)})


def fitted(recipe: Any, out: Path, names: tuple[str, ...] = ("a", "b"), **run: Any) -> dict[str, Any]:
    torch.set_num_threads(1)
    sites = {name: (part, part) for name, part in of_each_site(sited(list(names))).items()}
    return fit_sites(recipe, SMALL, sites, out, Run(device="cpu", **run))


def test_mean_body_is_the_weighted_mean_of_bodies_alone() -> None:
    states = [
        {
            "network.body.w": torch.tensor([1.0, 2.0]),
            "network.body.n": torch.tensor(3),
            "network.classifier.w": torch.ones(1),
        },
        {
            "network.body.w": torch.tensor([3.0, 6.0]),
            "network.body.n": torch.tensor(9),
            "network.classifier.w": torch.zeros(1),
        },
    ]
    mean = mean_body(states, [100, 100])
    assert list(mean) == ["network.body.w"]
    torch.testing.assert_close(mean["network.body.w"], torch.tensor([2.0, 4.0]))
    ten = [{"network.body.w": torch.tensor([float(k)])} for k in range(10)]
    oracle = sum(w * k for k, w in enumerate([0.8 / 9] * 9 + [0.2]))  # the last has nearly all faces: at most a fifth
    torch.testing.assert_close(mean_body(ten, [10] * 9 + [10**6])["network.body.w"], torch.tensor([oracle]))


@pytest.mark.parametrize("name", list(RECIPES))
def test_bodies_are_one_and_the_rest_is_each_sites_own(name: str, tmp_path: Path) -> None:
    found = fitted(build(name, {"batch": 8, "epochs": 2}), tmp_path / "out")
    a, b = (tensors(tmp_path / "out" / site) for site in "ab")
    shared = [key for key in a if key.startswith(BODY) and a[key].is_floating_point()]
    assert shared
    assert all(torch.equal(a[key], b[key]) for key in shared)
    assert not torch.equal(a["classifier.weight"], b["classifier.weight"])
    assert set(found["sites"]) == {"a", "b"}
    assert found["accuracy"] == pytest.approx(np.mean([one["last"]["accuracy"] for one in found["sites"].values()]))
    figures = json.loads((tmp_path / "out/a/figures.json").read_text())
    assert figures["last"]["epoch"] == 2


def test_a_broken_federated_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = build("amy", {"batch": 8, "epochs": 3, "relabel_from": 0.3, "lead": -0.5})
    fitted(recipe, tmp_path / "whole")
    from fercleaner.training import sites

    one_epoch, calls = sites.one_epoch, []

    def broken(*given: Any) -> Any:
        calls.append(given[4])
        if len(calls) == 4:  # the second site's second epoch
            raise KeyboardInterrupt
        return one_epoch(*given)

    monkeypatch.setattr(sites, "one_epoch", broken)
    with pytest.raises(KeyboardInterrupt):
        fitted(recipe, tmp_path / "broken")
    monkeypatch.setattr(sites, "one_epoch", one_epoch)
    fitted(recipe, tmp_path / "broken")
    left, right = (tensors(tmp_path / folder, "checkpoint.safetensors") for folder in ("whole", "broken"))
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_what_is_wrong_names_the_site(tmp_path: Path) -> None:
    with pytest.raises(FercleanerError, match=r"1 site \(a\); at least 2"):
        of_each_site(sited(["a"]))
    parts = of_each_site(sited(["a", "b"]))
    few = {"a": (parts["a"], parts["a"]), "b": (parts["b"].taking(np.arange(3)), parts["b"])}
    with pytest.raises(InputError, match=r"Site 'b': 3 of 3 faces have a label"):
        fit_sites(build("soft", {"epochs": 1}), SMALL, few, tmp_path / "out", Run(device="cpu"))


def test_faces_without_a_site_are_counted() -> None:
    said: list[str] = []
    parts = of_each_site(sited(["a", "b", "", "b"]), said.append)
    assert {name: len(part) for name, part in parts.items()} == {"a": 16, "b": 32}
    assert said == ["16 of 64 faces name no site and are left out."]
    of_each_site(sited(["a", "b"]), said.append)
    assert len(said) == 1


def test_train_by_sites_from_the_command_line(tmp_path: Path) -> None:
    samples = drawn_faces().samples
    rows = [
        f"{samples.paths[k]},{samples.classes[samples.label[k]]},{'east' if k % 2 else 'west'}"
        for k in range(len(samples))
    ]
    (tmp_path / "set.csv").write_text("image,label,clinic\n" + "\n".join(rows) + "\n")
    words = [
        "train",
        str(tmp_path / "set.csv"),
        "--site-by",
        "clinic",
        "--recipe",
        "amy",
        "--backbone",
        "small",
        "--size",
    ]
    words += ["32", "--weights", "none", "--epochs", "1", "--set", "batch=8", "--out", str(tmp_path / "out"), "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0
    assert set(json.loads(done.stdout)["sites"]) == {"east", "west"}
    assert (tmp_path / "out/east/model.safetensors").is_file()
    missing = CliRunner().invoke(app, [*words[:3], "hospital", *words[4:]])
    assert missing.exit_code != 0
    assert "hospital" in missing.output
