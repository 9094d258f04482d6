"""The training loop: epochs, checkpoints that a killed run goes on from, figures of the last and of the best epoch."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from ..core.arrays import Bytes, Doubles
from ..core.devices import torch_device
from ..core.errors import InputError, StoreError
from ..core.files import write_whole
from ..evaluation.metrics import accuracy, calibration_error, mean_recall
from ..pipeline.inputs import Callbacks
from .backbones import NONE, Backbone
from .card import card
from .checkpoint import read_tensors, restore_checkpoint, write_checkpoint, write_network
from .faces import Faces, collate, stream
from .heatmaps import Heatmaps
from .labels import TrainingSet, decoded
from .recipe import Clock, Recipe, System
from .samplers import EpochSampler

CHECKPOINT, LAST, BEST, LOG, FIGURES, CARD = (
    *("checkpoint.safetensors", "model.safetensors", "best.safetensors"),
    *("log.csv", "figures.json", "MODEL_CARD.md"),
)
#: Says that what lies beside it is a training, from before its first checkpoint on.
MARK = ".fercleaner-training"


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
    """

    device: str = "auto"
    half: bool = False
    workers: int = 0
    seed: int = 0
    overwrite: bool = False


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
        The folder cannot be written, or holds a training with other settings.
    FeatureError
        The weights that the backbone starts from are not here.
    """
    callbacks = callbacks or Callbacks()
    train, test = checked(recipe, train, test)
    settings = described(recipe, backbone, train, test, run)
    state = State(out, settings)
    history = state.open(run.overwrite)
    if len(history) >= recipe.epochs:
        return state.figures(history, train, test)
    train, held = decoded(train, backbone.edge, callbacks.stage("reading pictures"), callbacks.note)
    test, held_test = decoded(test, backbone.edge, callbacks.stage("reading test pictures"), callbacks.note)
    where = torch.device(torch_device(run.device))
    torch.manual_seed(stream("weights", run.seed))
    system = recipe.system(backbone, train).to(where)
    optimizer = recipe.optimizer(system)
    if history:
        restore_checkpoint(state.read(), system, optimizer)
        callbacks.note(f"Going on after epoch {len(history)} of {recipe.epochs}: {out / CHECKPOINT}.")
    maps = Heatmaps(int(system.edge)) if recipe.needs_landmarks else None
    faces = Faces(train, backbone.edge, recipe.views(), held=held, heatmaps=maps, seed=run.seed)
    tester = Tester(recipe, backbone.edge, where, run)
    for epoch in range(len(history), recipe.epochs):
        started, before = time.monotonic(), time.process_time()
        clock, losses = one_epoch(recipe, system, optimizer, faces, epoch, run, callbacks)
        system.ended(clock, lambda: tester.probabilities(system, train, held))
        row: dict[str, Any] = {"epoch": epoch + 1, **losses, **tester.figures(system, test, held_test)}
        row |= {"seconds": time.monotonic() - started, "cpu_seconds": time.process_time() - before}
        history = [*history, row]
        state.write(system, optimizer, history)
        callbacks.note(
            f"Epoch {epoch + 1} of {recipe.epochs}: loss {losses['loss']:.4f}, test accuracy {row['accuracy']:.4f}, "
            f"mean recall {row['mean_recall']:.4f}."
        )
    return state.figures(history, train, test)


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


def _digest(path: Path) -> str:
    from ..encoders.checkpoints import given_file, sha256

    return sha256(given_file(path))


class State:
    """What a training has written into its folder."""

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.out, self.settings = out, settings

    def open(self, overwrite: bool) -> list[dict[str, Any]]:
        """Make the folder and return the epochs done; raise StoreError where it holds another training."""
        file = self.out / CHECKPOINT
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            begun = file.is_file() or (self.out / MARK).is_file()
            other = sorted(p.name for p in self.out.iterdir() if not p.name.startswith(".fercleaner-"))
            if other and not begun and not overwrite:
                raise StoreError(f"{self.out} holds other files ({other[0]}, ...). Name a new folder with --out.")
            if overwrite:
                file.unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        if not file.is_file():
            self._keep(MARK, b"This folder holds a training that has begun.\n")
            return []
        about = read_tensors(file).about
        differs = sorted(
            k for k in self.settings.keys() | about["settings"] if self.settings.get(k) != about["settings"].get(k)
        )
        if differs:
            raise StoreError(
                f"{self.out} holds a training with another {', '.join(differs)}. Start again with --force, or name "
                "another folder with --out."
            )
        history: list[dict[str, Any]] = about["epochs"]
        return history

    def read(self) -> Any:
        """Return the checkpoint."""
        return read_tensors(self.out / CHECKPOINT)

    def write(self, system: System, optimizer: torch.optim.Optimizer, history: list[dict[str, Any]]) -> None:
        """Write networks, log and, last of all, the checkpoint, so that a run killed in between repeats the epoch."""
        network, about = system.kept(), {**self.settings, **history[-1]}
        write_network(self.out / LAST, network, about)
        if history[-1] is best_of(history):
            write_network(self.out / BEST, network, about)
        self.write_log(history)
        write_checkpoint(self.out / CHECKPOINT, system, optimizer, {"settings": self.settings, "epochs": history})

    def write_log(self, history: list[dict[str, Any]]) -> None:
        """Write log.csv."""
        self._keep(LOG, as_csv(history).encode())

    def figures(self, history: list[dict[str, Any]], train: TrainingSet, test: TrainingSet) -> dict[str, Any]:
        """Return the figures of a training and write them, and the model card."""
        found = {
            "last": history[-1],
            "best": best_of(history),
            "epochs": history,
            "faces": len(train),
            "tested": len(test),
            "settings": self.settings,
        }
        self._keep(FIGURES, (json.dumps(found, indent=2) + "\n").encode())
        self._keep(CARD, card(found).encode())
        return found

    def _keep(self, name: str, data: bytes) -> None:
        try:
            write_whole(self.out / name, [data])
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"{self.out} cannot be written: {error.strerror or error}. Make room and run the same command again, or "
            "choose another --out."
        )


def best_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the epoch of best test accuracy, the first of equals."""
    return max(history, key=lambda row: row["accuracy"])


def as_csv(history: list[dict[str, Any]]) -> str:
    """Return the epochs as CSV, a column a figure."""
    names = list(dict.fromkeys(name for row in history for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return out.getvalue()


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
    """Asks a system about faces as they are."""

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
        return {
            "accuracy": accuracy(guess, label),
            "mean_recall": mean_recall(guess, label, p.shape[1]),
            "calibration_error": calibration_error(np.minimum(p.max(1), 1.0), guess == label),
            "tested": len(faces),
        }
