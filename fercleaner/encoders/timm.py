"""`timm:NAME`: any image model of timm, as its pooled features before the classifier."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from ..core.errors import FeatureError, InputError, MissingDependency
from . import checkpoints
from .network import Network, take_apart


def build(name: str, *, weights: Path | None, device: str, batch_size: int | None) -> Network:
    """Return the timm model NAME, such as "resnet18.a1_in1k", with its own preprocessing.

    `weights` may have a classifier of any size, or none. Every other tensor must fit.

    Raises
    ------
    InputError
        timm has no such model.
    FeatureError
        The weights are not here, or do not cover the model.
    """
    try:
        with checkpoints.quiet():
            timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise MissingDependency("timm", f"encoder 'timm:{name}'") from error

    if not name or not timm.is_model(name):
        models = timm.list_models()
        raise InputError(
            f"timm has no model '{name}'.{checkpoints.suggestion(name, models)} "
            "Its names: python -c 'import timm; print(timm.list_models())'"
        )
    try:
        config = timm.get_pretrained_cfg(name).to_dict()
    except (RuntimeError, AttributeError) as error:
        raise InputError(f"timm has no weights by the name '{name}': {error}.") from error
    path = checkpoints.given_file(weights) if weights else _find(config, name)
    model = _filled(timm, name, config, path)
    data = timm.data.resolve_model_data_config(model)
    transform = timm.data.create_transform(**data, is_training=False)
    tag = str(config.get("tag") or "")
    spec = {"kind": "timm", "model": name, "pretrained": tag, "weights": checkpoints.sha256(path)}
    return Network("timm", spec, model, take_apart(transform), device=device, batch_size=batch_size)


def _find(config: dict[str, Any], name: str) -> Path:
    wanted_by = f"timm:{name}"
    if config.get("hf_hub_id"):
        named = config.get("hf_hub_filename")
        names = [named] if named else ["model.safetensors", "pytorch_model.bin"]
        return checkpoints.from_hub(config["hf_hub_id"], names, wanted_by)
    if config.get("url"):
        return checkpoints.from_url(config["url"], checkpoints.torch_folder(), wanted_by)
    raise FeatureError(f"timm offers no weights for {name}. {checkpoints.WAYS_OUT}")


def _filled(timm: Any, name: str, config: dict[str, Any], path: Path) -> Any:
    """Return the model without its classifier, every tensor taken from `path`.

    timm converts the file's names itself. It checks that all is covered only when the classifier's size is
    that of the file, so the model is first built with that size, and the classifier is taken off afterwards.
    """
    state = checkpoints.read_state(path)
    heads = config.get("classifier") or ()
    head = heads if isinstance(heads, str) else next(iter(heads), "")
    held = state.get(f"{head}.weight")
    sizes = [int(held.shape[0])] if held is not None else [int(config.get("num_classes") or 0), 0]
    trouble: Exception | None = None
    for size in dict.fromkeys(sizes):
        overlay = {"state_dict": dict(state), "num_classes": size, "label_offset": 0, "custom_load": False}
        try:
            with checkpoints.quiet():
                model = timm.create_model(name, pretrained=True, num_classes=size, pretrained_cfg_overlay=overlay)
        except (RuntimeError, KeyError) as error:
            trouble = trouble or error
            continue
        model.reset_classifier(0)
        return model
    detail = " ".join(str(trouble).split())
    raise FeatureError(
        f"{path} does not fit timm:{name}: {detail[:400]}. "
        "Name the model that the file was saved from, or give another file with --weights."
    ) from trouble
