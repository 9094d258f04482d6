"""`clip:MODEL/PRETRAINED`: the image tower of a CLIP model, through open_clip.

The vector is the tower's output in the space shared with text, before normalization.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.errors import FeatureError, InputError, MissingDependency
from . import checkpoints
from .network import Network, take_apart

#: The model and weights that plain "clip" means.
DEFAULT = "ViT-B-32/laion2b_s34b_b79k"
#: Where OpenAI's own files are kept, as its package keeps them.
_URL_FOLDER = Path("~/.cache/clip")


def build(name: str, *, weights: Path | None, device: str, batch_size: int | None) -> Network:
    """Return the image tower of MODEL/PRETRAINED.

    MODEL alone will do together with `weights`, a file of all of the model's or of its `visual.` tensors; the
    preprocessing is then the model's own, otherwise that of PRETRAINED.

    Raises
    ------
    InputError
        MODEL or PRETRAINED is unknown.
    FeatureError
        The weights are not here, or do not cover the image tower.
    """
    try:
        with checkpoints.quiet():
            import open_clip
    except ImportError as error:
        raise MissingDependency("open-clip-torch", f"encoder 'clip:{name}'") from error

    model_name, _, tag = (name or DEFAULT).partition("/")
    config = _tag_config(open_clip, model_name, tag, weights)
    tag_name = f"clip:{model_name}/{tag}" if tag else f"clip:{model_name}"
    path = checkpoints.given_file(weights) if weights else _find(config, tag_name)
    try:
        with checkpoints.quiet():
            model, _, transform = open_clip.create_model_and_transforms(
                model_name,
                pretrained=None,
                pretrained_image=False,
                pretrained_text=False,
                force_quick_gelu=bool(config.get("quick_gelu", False)),
                image_mean=config.get("mean"),
                image_std=config.get("std"),
                image_interpolation=config.get("interpolation"),
                image_resize_mode=config.get("resize_mode"),
            )
    except (OSError, RuntimeError, ImportError) as error:
        raise FeatureError(f"open_clip cannot build {model_name}: {error}. {checkpoints.WAYS_OUT}") from error
    _load(model, path, tag_name)
    spec = {"kind": "clip", "model": model_name, "pretrained": tag, "weights": checkpoints.sha256(path)}
    return Network("clip", spec, model.visual, take_apart(transform), device=device, batch_size=batch_size)


def _tag_config(open_clip: Any, model_name: str, tag: str, weights: Path | None) -> dict[str, Any]:
    """Return open_clip's entry for the weights named; raise InputError for a name it does not know."""
    models = open_clip.list_models()
    if model_name not in models:
        raise InputError(
            f"open_clip has no model '{model_name}'.{checkpoints.suggestion(model_name, models)} "
            f"It has {len(models)}, such as {DEFAULT.split('/')[0]} and ViT-L-14."
        )
    tags = open_clip.list_pretrained_tags_by_model(model_name)
    if tag in tags:
        return dict(open_clip.get_pretrained_cfg(model_name, tag))
    if tag:
        raise InputError(
            f"open_clip has no weights '{tag}' for {model_name} ({', '.join(tags) or 'none at all'})."
            + checkpoints.suggestion(tag, tags)
        )
    if weights is None:
        choices = ", ".join(f"clip:{model_name}/{known}" for known in tags)
        raise InputError(f"'clip:{model_name}' does not say which weights. Use {choices or '--weights FILE'}.")
    return {}


def local_weights(name: str = DEFAULT) -> tuple[Path | None, str]:
    """Return the weights file of MODEL/PRETRAINED if it is on this machine, and where it would come from."""
    with checkpoints.quiet():
        import open_clip

    model_name, _, tag = name.partition("/")
    config = _tag_config(open_clip, model_name, tag, None)
    if config.get("hf_hub"):
        repo, names = _hub_files(config["hf_hub"])
        return checkpoints.in_hub_cache(repo, names), f"Hugging Face repository {repo}"
    path = _URL_FOLDER.expanduser() / config["url"].rsplit("/", 1)[-1]
    return (path if path.is_file() else None), config["url"]


def _find(config: dict[str, Any], wanted_by: str) -> Path:
    if config.get("hf_hub"):
        return checkpoints.from_hub(*_hub_files(config["hf_hub"]), wanted_by)
    return checkpoints.from_url(config["url"], _URL_FOLDER.expanduser(), wanted_by)


def _hub_files(hub: str) -> tuple[str, list[str]]:
    """Return the repository in open_clip's "owner/name/" or "owner/name/file", and the files to look for in it."""
    repo, _, filename = hub.rpartition("/")
    if filename:
        stem = filename.rsplit(".", 1)[0]
        return repo, list(dict.fromkeys([f"{stem}.safetensors", filename]))
    return repo, [
        "open_clip_model.safetensors",
        "open_clip_pytorch_model.safetensors",
        "open_clip_pytorch_model.bin",
    ]


def _load(model: Any, path: Path, what: str) -> None:
    """Fill the image tower from `path`; the text tower is not used and may be missing."""
    from open_clip.convert import convert_state_dict

    state = convert_state_dict(model, checkpoints.read_state(path))
    tower = {n.removeprefix("visual."): t for n, t in state.items() if n.startswith("visual.")}
    checkpoints.load_all(model.visual, tower, path, f"the image tower of {what}")
