"""The model card of a trained network."""

from __future__ import annotations

from typing import Any


def card(figures: dict[str, Any]) -> str:
    """Return a model card in Markdown, made of what `loop.fit` returns."""
    settings, last, best = figures["settings"], figures["last"], figures["best"]
    plain = {"backbone", "size", "weights", "seed", "half", "classes", "statistics", "labels", "recipe"}
    lines = [
        f"# {settings['backbone']}, trained by `{settings['recipe']}`",
        "",
        f"A classifier of facial expressions: {', '.join(settings['classes'])}. Trained with `fercleaner train` on "
        f"{figures['faces']:,} faces, tested on {figures['tested']:,}.",
        "",
        "| epoch | test accuracy | mean recall | calibration error |",
        "|---|---|---|---|",
        *(
            f"| {what}: {row['epoch']} | {row['accuracy']:.4f} | {row['mean_recall']:.4f} | "
            f"{row['calibration_error']:.4f} |"
            for what, row in (("last", last), ("best", best))
        ),
        "",
        "The last epoch counts (`model.safetensors`). The best one (`best.safetensors`) was chosen by the test faces, "
        "so its figures flatter. The test labels are the set's own, with whatever noise they have.",
        "",
        "## Training",
        "",
        f"- Start: {_start(settings)}. Seed {settings['seed']}"
        + ("; mixed precision (bfloat16)." if settings["half"] else "."),
        "- " + "; ".join(f"{name} {value}" for name, value in settings.items() if name not in plain) + ".",
        "",
        "## Use",
        "",
        "```python",
        "from fercleaner.training import load_network",
        "",
        'network, about = load_network("model.safetensors")',
        "```",
        "",
        f"It takes faces of {settings['size']} x {settings['size']} pixels, RGB, standardized by "
        f'`about["statistics"]`, and gives scores in the order of `about["classes"]`.',
        "",
        "## Limits",
        "",
        "An expression is not an emotion. The network repeats what its labels' annotators and its pictures' selection "
        "have in common; its errors differ by age, skin and pose in ways that were not measured here. Do not use it to "
        "judge people.",
    ]
    return "\n".join(lines) + "\n"


def _start(settings: dict[str, Any]) -> str:
    if settings["weights"] == "none":
        return "random weights"
    if settings["weights"] == "own":
        own = (
            " (it learned from FERPlus's votes on FER2013's training faces)"
            if settings["backbone"] == "builtin"
            else ""
        )
        return f"the network's own published weights{own}"
    return f"a file of SHA-256 {settings['weights']}"
