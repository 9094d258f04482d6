"""What a training writes into its folder: networks, log, figures, model card, and the checkpoint it goes on from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from ..core.errors import StoreError
from ..core.files import check_folder_apart, write_whole
from .card import card
from .checkpoint import Loaded, read_tensors, write_checkpoint, write_network
from .recipe import System

CHECKPOINT, LAST, BEST, LOG, FIGURES, CARD = (
    *("checkpoint.safetensors", "model.safetensors", "best.safetensors"),
    *("log.csv", "figures.json", "MODEL_CARD.md"),
)
#: Says that what lies beside it is a training, from before its first checkpoint on, and names its sites.
MARK = ".fercleaner-training"
#: What a network's training writes.
WRITTEN = (LAST, BEST, LOG, FIGURES, CARD)


class State:
    """What a training has written into its folder.

    Parameters
    ----------
    out : Path
    settings : dict
        What the weights depend on.
    sites : mapping of site -> folder, optional
        Of a training of several sites, each site's folder in `out`.
    """

    def __init__(self, out: Path, settings: dict[str, Any], sites: Mapping[str, str] | None = None) -> None:
        self.out, self.settings, self.sites = out, settings, sites or {}

    def open(self, overwrite: bool, inputs: Iterable[str]) -> list[dict[str, Any]]:
        """Make the folder and return the epochs done.

        Raises
        ------
        StoreError
            The folder holds other files, or something of `inputs`, or a training of other sites, whatever `overwrite`
            says; or one with other settings.
        """
        of_sites = (f"{folder}/{name}" for folder in self.sites.values() for name in WRITTEN)
        check_folder_apart(self.out, (), inputs, names=[MARK, CHECKPOINT, *WRITTEN, *of_sites])
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self._check_ours()
            if overwrite:
                (self.out / CHECKPOINT).unlink(missing_ok=True)
            history = self._done()
            if not history:
                write_whole(self.out / MARK, [json.dumps({"sites": list(self.sites)}).encode()])
            for folder in self.sites.values():
                (self.out / folder).mkdir(exist_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error
        return history

    def _done(self) -> list[dict[str, Any]]:
        """Return the epochs of the checkpoint, none without one; StoreError where its settings are others."""
        if not (self.out / CHECKPOINT).is_file():
            return []
        about = self.read().about
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

    def _check_ours(self) -> None:
        """Raise StoreError where the folder, or that of a site, holds anything but a training of these sites."""
        before = self._begun()
        if before is None:
            self._check_empty(self.out)
        elif self.sites and not before:
            raise StoreError(f"{self.out} holds a training without sites. Name another folder with --out.")
        elif not self.sites and before:
            raise StoreError(
                f"{self.out} holds a training of several sites ({', '.join(before)}). Name another folder with --out."
            )
        elif gone := [name for name in before if name not in self.sites]:
            raise StoreError(
                f"{self.out} holds a training of other sites ({', '.join(gone)}). Name another folder with --out."
            )
        for name, folder in self.sites.items():
            if name not in (before or ()) and (self.out / folder).exists():
                self._check_empty(self.out / folder)

    def _begun(self) -> list[str] | None:
        """Return the sites of the training that the folder holds (none, where it has no sites); None without one."""
        try:
            text = (self.out / MARK).read_text(encoding="utf-8")
            return [str(name) for name in json.loads(text)["sites"]]
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.out / MARK} is damaged. Name another folder with --out.") from error

    def _check_empty(self, folder: Path) -> None:
        other = sorted(p.name for p in folder.iterdir() if not p.name.startswith(".fercleaner-"))
        if other:
            raise StoreError(f"{folder} holds other files ({other[0]}, ...). Name a new folder with --out.")

    def read(self) -> Loaded:
        """Return the checkpoint."""
        return read_tensors(self.out / CHECKPOINT)

    def write(self, system: System, optimizer: torch.optim.Optimizer, history: list[dict[str, Any]], seen: str) -> None:
        """Write networks, log and, last of all, the checkpoint, so that a run killed in between repeats the epoch.

        `seen` is the digest of the faces whose pictures could be read.
        """
        self.write_networks(system, history)
        about = {"settings": self.settings, "epochs": history, "seen": seen}
        write_checkpoint(self.out / CHECKPOINT, system, optimizer, about)

    def write_networks(self, system: System, history: list[dict[str, Any]]) -> None:
        """Write the network of the last epoch, that of the best where it is the last one, and log.csv."""
        network, about = system.kept(), {**self.settings, **history[-1]}
        write_network(self.out / LAST, network, about)
        if history[-1] is best_of(history):
            write_network(self.out / BEST, network, about)
        self._keep(LOG, as_csv(history).encode())

    def figures(self, history: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the figures of a training and write them, and the model card."""
        found = {
            "last": history[-1],
            "best": best_of(history),
            "epochs": history,
            "faces": history[-1]["faces"],
            "tested": history[-1]["tested"],
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
