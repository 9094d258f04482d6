"""The training loop: epochs, checkpoints that a killed run goes on from, figures of the last and of the best epoch."""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from ..core.arrays import Bytes, Doubles
from ..core.devices import torch_device
from ..core.errors import InputError, StoreError
from ..evaluation.metrics import accuracy, calibration_error, mean_recall
from ..pipeline.inputs import Callbacks
from .backbones import NONE, Backbone
from .checkpoint import Loaded, restore_checkpoint
from .faces import Faces, collate, stream
from .heatmaps import Heatmaps
from .labels import TrainingSet, decoded
from .recipe import Clock, Recipe, System
from .samplers import EpochSampler
from .state import CHECKPOINT, State


@dataclass(frozen=True)
class Run:
    """How a training runs; none of it changes what is learned but for `seed` and `half`.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", ...
    half : bool
        Whether convolutions run in bfloat16 (mixed precision); weights stay float32.
    workers : int
        Processes that decode pictures and draw views; 0 does it in this one.
    seed : int
        Of weights, order and views.
    overwrite : bool
        Start again where the folder holds another training.
    reads : tuple of str
        Files and folders that this run reads beside the weights it starts from: they are never written over.
    """

    device: str = "auto"
    half: bool = False
    workers: int = 0
    seed: int = 0
    overwrite: bool = False
    reads: tuple[str, ...] = ()


def fit(
    recipe: Recipe,
    backbone: Backbone,
    train: TrainingSet,
    test: TrainingSet,
    out: Path,
    run: Run = Run(),
    callbacks: Callbacks | None = None,
) -> dict[str, Any]:
    """Train by a recipe, test after every epoch, and write everything into a folder.

    `out` gets checkpoint.safetensors after every epoch (a run that was killed goes on from there, and ends with the
    same weights), model.safetensors (last epoch), best.safetensors (best test accuracy), log.csv, figures.json and
    MODEL_CARD.md.

    Returns
    -------
    dict
        "last" and "best": figures of the last epoch, and of the best, which is chosen by the test faces and flatters;
        "epochs": all; "faces", "tested", "settings".

    Raises
    ------
    InputError
        Too few faces, classes that differ, landmarks missing.
    StoreError
        The folder cannot be written, holds other files or something that is read, or a training with other settings
        or of other faces whose pictures can be read.
    FeatureError
        The weights that the backbone starts from are not here.
    """
    callbacks = callbacks or Callbacks()
    train, test = checked(recipe, train, test)
    settings = described(recipe, backbone, train, test, run)
    state = State(out, settings)
    history = state.open(run.overwrite, inputs(backbone, run))
    if len(history) >= recipe.epochs:
        return state.figures(history)
    one = begin(recipe, backbone, (train, test), state, run, callbacks)
    if history:
        one.go_on(state.read(), history)
        callbacks.note(f"Going on after epoch {len(history)} of {recipe.epochs}: {out / CHECKPOINT}.")
    for epoch in range(len(history), recipe.epochs):
        started, before = time.monotonic(), time.process_time()
        clock, losses = one_epoch(recipe, one.system, one.optimizer, one.faces, epoch, run, callbacks)
        row = {"epoch": epoch + 1, **losses, **one.ended(clock)}
        row |= {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - before}
        one.history = [*one.history, row]
        state.write(one.system, one.optimizer, one.history, one.seen)
        callbacks.note(
            f"Epoch {epoch + 1} of {recipe.epochs}: loss {losses['loss']:.4f}, test accuracy {row['accuracy']:.4f}, "
            f"mean recall {row['mean_recall']:.4f}."
        )
    if len(one.tester.named) == 1 and len(np.unique(one.test.label)) > 1:
        callbacks.note(
            f"The network calls every test face {train.classes[one.tester.named[0]]}: {clock.step:,} steps of "
            f"{recipe.batch} faces were not enough. Give it more --epochs, or --set batch=32."
        )
    return state.figures(one.history)


@dataclass(eq=False)
class Training:
    """A network in training: its faces, its system, its folder, and what it has come to.

    Parameters
    ----------
    train, test : TrainingSet
        Faces whose pictures can be read.
    held_test : (M, S, S, 3) uint8, optional
    faces : Faces
    system : System
    optimizer : Optimizer
    tester : Tester
    state : State
        Writes the folder.
    history : list of dict
        Figures of its epochs.
    """

    train: TrainingSet
    test: TrainingSet
    held_test: Bytes | None
    faces: Faces
    system: System
    optimizer: torch.optim.Optimizer
    tester: Tester
    state: State
    history: list[dict[str, Any]] = field(default_factory=list)

    def go_on(self, loaded: Loaded, history: list[dict[str, Any]]) -> None:
        """Go on from a checkpoint, with the figures of its epochs.

        Raises
        ------
        StoreError
            Pictures of other faces can be read than then: what a recipe holds of each face would be another face's.
        """
        last = history[-1]
        then, now = (last["faces"], last["tested"]), (len(self.train), len(self.test))
        if then != now or loaded.about.get("seen") != self.seen:
            others = f"{now[0]:,} and {now[1]:,}" if then != now else "as many, but others,"
            raise StoreError(
                f"{self.state.out} holds a training on {then[0]:,} faces, tested on {then[1]:,}; of the same faces "
                f"{others} have pictures that can be read now. Put the pictures back as they were (a note says which "
                "cannot be read) and run the same command again, or start again with --force."
            )
        self.history = history
        restore_checkpoint(loaded, self.system, self.optimizer)

    @property
    def seen(self) -> str:
        """A digest of the faces whose pictures can be read, to train on and to test on."""
        digest = hashlib.blake2b(digest_size=12)
        for part in (self.train, self.test):
            digest.update(json.dumps(part.ids.tolist()).encode())
        return digest.hexdigest()

    @property
    def weighed(self) -> int:
        """Faces that count: those with a weight."""
        return int((self.train.weight > 0).sum())

    def ended(self, clock: Clock) -> dict[str, float]:
        """Let the system go on after an epoch; return the figures of its test, and how many faces it learned from."""
        self.system.ended(clock, lambda: self.tester.probabilities(self.system, self.train, self.faces.held))
        return {**self.tester.figures(self.system, self.test, self.held_test), "faces": len(self.train)}


def begin(
    recipe: Recipe,
    backbone: Backbone,
    pair: tuple[TrainingSet, TrainingSet],
    state: State,
    run: Run,
    callbacks: Callbacks,
) -> Training:
    """Return a training before its first epoch: pictures read, weights drawn by the run's seed."""
    (train, held), (test, held_test) = (
        decoded(part, backbone.edge, callbacks.stage(stage), callbacks.note)
        for part, stage in zip(pair, ("reading pictures", "reading test pictures"), strict=True)
    )
    where = torch.device(torch_device(run.device))
    torch.manual_seed(stream("weights", run.seed))
    system = recipe.system(backbone, train).to(where)
    maps = Heatmaps(int(system.edge)) if recipe.needs_landmarks else None
    faces = Faces(train, backbone.edge, recipe.views(), held=held, heatmaps=maps, seed=run.seed)
    tester = Tester(recipe, backbone.edge, where, run)
    return Training(train, test, held_test, faces, system, recipe.optimizer(system), tester, state)


def checked(recipe: Recipe, train: TrainingSet, test: TrainingSet) -> tuple[TrainingSet, TrainingSet]:
    """Return the faces that are trained and tested on: of weight above 0, and labeled."""
    if train.classes != test.classes:
        raise InputError(
            f"Classes differ: {', '.join(train.classes)} to train on, {', '.join(test.classes)} to test on. Read both "
            "with the same --classes."
        )
    used = train if recipe.uses_unlabeled else train.taking(train.weight > 0)
    tested = test.taking(test.weight > 0)
    least = 2 * len(train.classes)
    if int((used.weight > 0).sum()) < least:
        raise InputError(
            f"{int((used.weight > 0).sum())} of {len(train)} faces have a label and a weight above 0; at least {least} "
            f"are needed for {len(train.classes)} classes."
        )
    if not len(tested):
        raise InputError(f"None of {len(test)} test faces has a label: there is nothing to test on.")
    if recipe.needs_landmarks and (used.points is None or not np.isfinite(used.points).all((1, 2)).any()):
        raise InputError(
            f"{recipe.name} learns from landmarks, and no face has any. Name them with --landmarks points:FILE, or "
            "have them found with --landmarks builtin."
        )
    if recipe.needs_units and used.units is None:
        raise InputError(f"{recipe.name} learns from action units, and there are none: name --landmarks.")
    return used, tested


def described(recipe: Recipe, backbone: Backbone, train: TrainingSet, test: TrainingSet, run: Run) -> dict[str, Any]:
    """Return all that the weights depend on, JSON types; a checkpoint of other settings is not gone on from."""
    labels = hashlib.blake2b(digest_size=12)
    for part in (train, test):
        for array in (part.distribution, part.weight, part.given):
            labels.update(np.ascontiguousarray(array).tobytes())
        labels.update("\0".join(part.ids.tolist()).encode())
        if part.points is not None and recipe.needs_landmarks:
            labels.update(part.points.tobytes())
        if part.units is not None and recipe.needs_units:
            labels.update(part.units.tobytes())
            labels.update("\0".join(part.unit_names).encode())
    given = None if backbone.weights in (None, NONE) else _digest(Path(str(backbone.weights)))
    return {
        **recipe.settings(),
        "backbone": backbone.tag,
        "size": backbone.edge,
        "weights": "own" if backbone.weights is None else given or NONE,
        "seed": run.seed,
        "half": run.half,
        "classes": list(train.classes),
        "statistics": [list(values) for values in recipe.statistics],
        "labels": labels.hexdigest(),
    }


def inputs(backbone: Backbone, run: Run) -> tuple[str, ...]:
    """Return all that a run reads."""
    return run.reads if backbone.weights in (None, NONE) else (*run.reads, str(backbone.weights))


def _digest(path: Path) -> str:
    from ..encoders.checkpoints import given_file, sha256

    return sha256(given_file(path))


def one_epoch(
    recipe: Recipe,
    system: System,
    optimizer: torch.optim.Optimizer,
    faces: Faces,
    epoch: int,
    run: Run,
    callbacks: Callbacks,
) -> tuple[Clock, dict[str, float]]:
    """Train for an epoch; return where the training stands then, and the mean of each part of the loss."""
    torch.manual_seed(stream("epoch", run.seed, epoch))
    where = next(system.parameters()).device
    faces.set_epoch(epoch)
    order = EpochSampler(faces.faces.sampled, recipe.epochs, recipe.balance, run.seed, paired=recipe.uses_unlabeled)
    lengths = []
    for e in (*range(recipe.epochs), epoch):  # epochs may differ in length
        order.set_epoch(e)
        lengths.append(max(1, len(order) // recipe.batch))
    before, steps = sum(lengths[:epoch]), sum(lengths[:-1])
    loader = DataLoader(
        faces,
        recipe.batch,
        sampler=order,
        num_workers=run.workers,
        drop_last=len(order) >= recipe.batch,
        collate_fn=collate,
        generator=torch.Generator().manual_seed(stream("workers", run.seed, epoch)),
    )
    sums: dict[str, float] = {}
    system.train()
    clock = Clock(epoch, recipe.epochs, before, steps)
    for done, batch in enumerate(loader, 1):
        batch = {name: values.to(where) for name, values in batch.items()}
        factor = recipe.factor(clock)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        with precision(where, run.half):
            parts = system.losses(batch, clock)
        optimizer.zero_grad()
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        system.stepped(clock)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        clock = Clock(epoch, recipe.epochs, before + done, steps)
        callbacks.progress(f"epoch {epoch + 1}", done, len(loader))
    if not np.isfinite(sums["loss"]):
        raise InputError(
            f"The loss of epoch {epoch + 1} is not a number. Take smaller steps: --set rate={recipe.rate / 10:g}."
        )
    return clock, {name: value / len(loader) for name, value in sums.items()}


def precision(where: torch.device, half: bool) -> Any:
    """Return the context in which networks run."""
    return torch.autocast(where.type, torch.bfloat16) if half else nullcontext()


class Tester:
    """Asks a system about faces as they are; `named` holds the classes that it called any of them when last asked."""

    named: tuple[int, ...] = ()

    def __init__(self, recipe: Recipe, size: int, where: torch.device, run: Run) -> None:
        self.recipe, self.size, self.where, self.run = recipe, size, where, run

    def probabilities(self, system: System, faces: TrainingSet, held: Bytes | None) -> Doubles:
        """Return the class probabilities (M, C) of the network that is kept."""
        data = Faces(faces, self.size, {"plain": self.recipe.plain()}, held=held)
        network: nn.Module = system.kept()
        was = network.training
        network.eval()
        parts = []
        with torch.inference_mode(), precision(self.where, self.run.half):
            for batch in DataLoader(data, 256, num_workers=self.run.workers, collate_fn=collate):
                parts.append(torch.softmax(network(batch["plain"].to(self.where)).double(), 1).cpu())
        network.train(was)
        answer: Doubles = torch.cat(parts).numpy()
        return answer

    def figures(self, system: System, faces: TrainingSet, held: Bytes | None) -> dict[str, float]:
        """Return accuracy, mean recall and calibration error on labeled faces."""
        p, label = self.probabilities(system, faces, held), faces.label
        guess = p.argmax(1)
        self.named = tuple(np.unique(guess).tolist())
        return {
            "accuracy": accuracy(guess, label),
            "mean_recall": mean_recall(guess, label, p.shape[1]),
            "calibration_error": calibration_error(np.minimum(p.max(1), 1.0), guess == label),
            "tested": len(faces),
        }
