"""What a training writes into its folder: networks, log, figures, model card, and the checkpoint it goes on from."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import torch

from ..core.errors import StoreError
from ..core.files import write_whole
from .card import card
from .checkpoint import Loaded, read_tensors, write_checkpoint, write_network
from .labels import TrainingSet
from .recipe import System

CHECKPOINT, LAST, BEST, LOG, FIGURES, CARD = (
    *("checkpoint.safetensors", "model.safetensors", "best.safetensors"),
    *("log.csv", "figures.json", "MODEL_CARD.md"),
)
#: Says that what lies beside it is a training, from before its first checkpoint on.
MARK = ".fercleaner-training"


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

    def read(self) -> Loaded:
        """Return the checkpoint."""
        return read_tensors(self.out / CHECKPOINT)

    def write(self, system: System, optimizer: torch.optim.Optimizer, history: list[dict[str, Any]]) -> None:
        """Write networks, log and, last of all, the checkpoint, so that a run killed in between repeats the epoch."""
        self.write_networks(system, history)
        write_checkpoint(self.out / CHECKPOINT, system, optimizer, {"settings": self.settings, "epochs": history})

    def write_networks(self, system: System, history: list[dict[str, Any]]) -> None:
        """Write the network of the last epoch, that of the best where it is the last one, and log.csv."""
        network, about = system.kept(), {**self.settings, **history[-1]}
        write_network(self.out / LAST, network, about)
        if history[-1] is best_of(history):
            write_network(self.out / BEST, network, about)
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
