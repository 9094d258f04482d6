"""Checkpoints and trained networks as safetensors files that appear whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..core.errors import StoreError
from ..core.files import write_whole
from .backbones import NONE, Backbone, Classifier

SYSTEM, OPTIMIZER = "system.", "optimizer."
#: Key of the JSON text in a file's header.
ABOUT = "fercleaner"


class Loaded(NamedTuple):
    """Tensors of a file by name, and what its header says about them."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and a JSON object; an older file stays until the new one is there.

    Raises
    ------
    StoreError
        The file cannot be written.
    """
    from safetensors.torch import save

    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    try:
        write_whole(path, [save(plain, {ABOUT: json.dumps(about)})])
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}. Choose another --out.") from error


def read_tensors(path: Path) -> Loaded:
    """Read a file of `write_tensors`.

    Raises
    ------
    StoreError
        It is damaged, or another program's.
    """
    from safetensors import safe_open

    try:
        with safe_open(str(path), "pt", device="cpu") as file:
            about = json.loads(file.metadata()[ABOUT])
            return Loaded({name: file.get_tensor(name) for name in file.keys()}, about)  # noqa: SIM118 - no mapping
    except Exception as error:  # safetensors raises whatever damaged bytes lead it to
        raise StoreError(
            f"{path} is not a file that fercleaner train wrote, or it is damaged ({type(error).__name__}). Train again "
            "with --force, or name another folder with --out."
        ) from error


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the moments of Adam by "NUMBER.NAME", the number that of the parameter in its groups' order."""
    state = optimizer.state_dict()["state"]
    return {f"{k}.{name}": value for k, held in state.items() for name, value in held.items() if torch.is_tensor(value)}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, what = name.partition(".")
        state.setdefault(int(number), {})[what] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def write_checkpoint(
    path: Path, system: torch.nn.Module, optimizer: torch.optim.Optimizer, about: Mapping[str, Any]
) -> None:
    """Write all that a training needs to go on."""
    write_tensors(path, checkpoint_tensors(system, optimizer), about)


def checkpoint_tensors(system: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return what a checkpoint holds, by name."""
    tensors = {SYSTEM + name: t for name, t in system.state_dict().items()}
    return tensors | {OPTIMIZER + name: t for name, t in optimizer_tensors(optimizer).items()}


def restore_checkpoint(loaded: Loaded, system: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put system and optimizer back to where a checkpoint was written."""

    def under(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): t for name, t in loaded.tensors.items() if name.startswith(prefix)}

    system.load_state_dict(under(SYSTEM))
    restore_optimizer(optimizer, under(OPTIMIZER))


def write_network(path: Path, network: Classifier, about: Mapping[str, Any]) -> None:
    """Write a trained network; `load_network` reads it, and `--weights` takes its body."""
    write_tensors(path, network.state_dict(), about)


def load_network(path: str | Path) -> tuple[Classifier, dict[str, Any]]:
    """Return the network that `fercleaner train` wrote, for inference, and what is said of it.

    "classes" names its columns, "size" the edge of its pictures, "statistics" the mean and deviation that they are
    standardized by (`views.Plain`).

    Raises
    ------
    StoreError
        The file is damaged or another program's.
    """
    path = Path(path)
    if not path.is_file():
        raise StoreError(f"{path}: there is no such file. Name the model.safetensors of a training.")
    loaded = read_tensors(path)
    about = loaded.about
    # random weights of the same sizes, which are then all replaced
    backbone = Backbone(about["backbone"], about["size"], NONE if about["backbone"] != "builtin" else str(path))
    from . import RECIPES, build

    # numbers alone shape a network; a text may name a file that is not here (poi's table)
    names = [f.name for f in fields(RECIPES[about["recipe"]]) if not isinstance(f.default, str)]
    network = build(about["recipe"], {name: about[name] for name in names}).network(backbone, len(about["classes"]))
    network.load_state_dict(loaded.tensors)
    return network.eval(), about
