"""Federated training of any recipe, in one process: bodies are averaged after every epoch, all else stays apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..core.errors import InputError
from ..federation.names import distinct_files
from ..federation.rounds import bounded
from ..federation.simulate import rows_by_site
from ..pipeline.inputs import Callbacks
from .backbones import Backbone
from .checkpoint import Loaded, checkpoint_tensors, write_tensors
from .labels import TrainingSet
from .loop import Run, Training, begin, checked, described, inputs, one_epoch
from .recipe import Recipe
from .state import CHECKPOINT, State

#: Of a system's state, what sites share: bodies, that of a mean teacher too.
SHARED = ("network.body.", "teacher.body.")


def of_each_site(
    faces: TrainingSet, note: Callable[[str], None] = lambda text: None, what: str = "faces"
) -> dict[str, TrainingSet]:
    """Return the faces of each site of a set, by the site's name, and note how many name none.

    Raises
    ------
    SiteError
        The set names fewer than two sites.
    """
    rows = rows_by_site(faces.samples)
    assert faces.samples.site is not None  # names were found in it
    if without := int((faces.samples.site[faces.rows] == "").sum()):
        note(f"{without:,} of {len(faces):,} {what} name no site and are left out.")
    return {name: faces.taking(np.isin(faces.rows, chosen)) for name, chosen in rows.items()}


def mean_body(states: list[Mapping[str, Tensor]], faces: list[int]) -> dict[str, Tensor]:
    """Return the mean of the bodies (entries under `SHARED`), each site weighed by its faces.

    Weights are those of `federation.rounds.bounded`. The statistics of batch norms are averaged too; counters are not.

    Source
    ------
    FedAvg: McMahan et al., AISTATS 2017. That heads stay: FedRep (Collins et al., ICML 2021).
    """
    weight = bounded(np.array(faces, dtype=np.float64))
    names = [name for name, value in states[0].items() if name.startswith(SHARED) and value.is_floating_point()]
    mean = {}
    for name in names:
        total = sum(share * state[name].double() for share, state in zip(weight.tolist(), states, strict=True))
        assert isinstance(total, Tensor)
        mean[name] = total.to(states[0][name].dtype)
    return mean


def fit_sites(
    recipe: Recipe,
    backbone: Backbone,
    sites: Mapping[str, tuple[TrainingSet, TrainingSet]],
    out: Path,
    run: Run | None = None,
    callbacks: Callbacks | None = None,
) -> dict[str, Any]:
    """Train a network a site, by turns: an epoch at each site, then the mean of their bodies (`mean_body`) for all.

    Classifiers, uncertainty heads, label banks and Adam's moments stay at their sites: each learns its own noise. This
    is a simulation on one machine: nothing is sent, and nothing is claimed of what a body's weights give away.

    Parameters
    ----------
    sites : mapping of site -> (train, test)
        `of_each_site` makes it.
    out : Path
        Gets checkpoint.safetensors after every round, from which a killed run goes on, and a folder a site as `fit`
        writes it.
    others
        As of `fit`.

    Returns
    -------
    dict
        "sites": site -> what `fit` returns; "accuracy" and "mean_recall": the mean over sites, of the last round.

    Raises
    ------
    InputError, StoreError, FeatureError
        As of `fit`, naming the site; SiteError where there are fewer than two.
    """
    run, callbacks = run or Run(), callbacks or Callbacks()
    sites = {name: _checked(name, recipe, *pair) for name, pair in sites.items()}
    folders = distinct_files(sites)
    about = {name: described(recipe, backbone, *pair, run) for name, pair in sites.items()}
    labels = {name: one["labels"] for name, one in about.items()}
    whole = State(out, {**next(iter(about.values())), "labels": labels}, folders)
    done = whole.open(run.overwrite, inputs(backbone, run))
    states = {name: State(out / folders[name], about[name]) for name in sites}
    if len(done) < recipe.epochs:
        members = {
            name: begin(recipe, backbone, pair, states[name], run, _named(name, callbacks))
            for name, pair in sites.items()
        }
        if done:
            _restore(whole.read(), members, done)
            callbacks.note(f"Going on after round {len(done)} of {recipe.epochs}: {out / CHECKPOINT}.")
        for epoch in range(len(done), recipe.epochs):
            row = _round(recipe, members, epoch, run, callbacks)
            done = [*done, row]
            _write(whole, members, done)
            callbacks.note(f"Round {epoch + 1} of {recipe.epochs}: {_said(row)}.")
    found = {name: state.figures([row[name] for row in done]) for name, state in states.items()}
    last = done[-1].values()
    means = {what: float(np.mean([row[what] for row in last])) for what in ("accuracy", "mean_recall")}
    return {"sites": found, **means}


def _checked(name: str, recipe: Recipe, train: TrainingSet, test: TrainingSet) -> tuple[TrainingSet, TrainingSet]:
    try:
        return checked(recipe, train, test)
    except InputError as error:
        raise InputError(f"Site '{name}': {error}") from None


def _named(name: str, callbacks: Callbacks) -> Callbacks:
    """Return callbacks whose notes name the site."""
    return replace(callbacks, note=lambda text: callbacks.note(f"{name}: {text}"))


def _round(
    recipe: Recipe, members: Mapping[str, Training], epoch: int, run: Run, callbacks: Callbacks
) -> dict[str, dict[str, Any]]:
    """Train an epoch at each site, share the bodies, and return each site's figures."""
    clocks, rows = {}, {}
    for name, one in members.items():
        started, before = time.monotonic(), time.process_time()
        clock, losses = one_epoch(recipe, one.system, one.optimizer, one.faces, epoch, run, callbacks)
        clocks[name] = clock
        rows[name] = {"epoch": epoch + 1, **losses, "seconds": time.monotonic() - started}
        rows[name]["cpu_seconds"] = time.process_time() - before
    everyone = list(members.values())
    body = mean_body([one.system.state_dict() for one in everyone], [one.weighed for one in everyone])
    for name, one in members.items():
        one.system.load_state_dict(body, strict=False)
        rows[name] |= one.ended(clocks[name])
        one.history = [*one.history, rows[name]]
    return rows


def _write(whole: State, members: Mapping[str, Training], done: list[dict[str, Any]]) -> None:
    """Write every site's networks and log, and last of all the checkpoint of all."""
    tensors: dict[str, Tensor] = {}
    for number, one in enumerate(members.values()):
        one.state.write_networks(one.system, one.history)
        tensors |= {f"{number}.{key}": value for key, value in checkpoint_tensors(one.system, one.optimizer).items()}
    seen = {name: one.seen for name, one in members.items()}
    write_tensors(whole.out / CHECKPOINT, tensors, {"settings": whole.settings, "epochs": done, "seen": seen})


def _restore(loaded: Loaded, members: Mapping[str, Training], done: list[dict[str, Any]]) -> None:
    for number, (name, one) in enumerate(members.items()):
        start = f"{number}."
        own = {key.removeprefix(start): value for key, value in loaded.tensors.items() if key.startswith(start)}
        one.go_on(Loaded(own, {"seen": loaded.about.get("seen", {}).get(name)}), [row[name] for row in done])


def _said(row: Mapping[str, Mapping[str, Any]]) -> str:
    worst = min(row, key=lambda name: float(row[name]["accuracy"]))
    mean = float(np.mean([one["accuracy"] for one in row.values()]))
    return f"mean test accuracy {mean:.4f} over {len(row)} sites, worst {row[worst]['accuracy']:.4f} ({worst})"
