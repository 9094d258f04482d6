"""Tasks for Label Studio, with what is known of each face and the label as a prediction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...core.arrays import Ints
from ...core.errors import InputError
from ...core.refined import RefinedSet
from ...core.text import shown
from .job import Job, write_text

#: Name of the choice in a Label Studio project; the choice that says that a picture shows no face.
CHOICE, NOT_A_FACE = "expression", "not a face"


def write(job: Job, folder: Path) -> None:
    """Write tasks.json and config.xml, the labeling configuration."""
    job.hard("label-studio")
    names = [job.name(m) for m in range(len(job.rows))]
    write_text(folder / "tasks.json", tasks(job.refined, job.rows, names))
    write_text(folder / "config.xml", config(job.refined.classes))


def tasks(refined: RefinedSet, rows: Ints, predicted: Sequence[str] | None = None) -> str:
    """Return tasks as JSON: the picture, what is known, and a label as a prediction, the refined one by default.

    Pictures are named for Label Studio's local file storage (/data/local-files/?d=PATH, from its document root).
    """
    given, label = refined.given_label, refined.label
    found = []
    for m, row in enumerate(rows.tolist()):
        path = str(refined.paths[row])
        name = refined.classes[label[row]] if predicted is None else predicted[m]
        share = float(refined.distribution[row, refined.classes.index(name)]) if name else 0.0
        task: dict[str, Any] = {
            "data": {
                "id": str(refined.ids[row]),
                "image": f"/data/local-files/?d={quote(path.lstrip('/'), safe='/')}" if path else "",
                "given": refined.classes[given[row]] if given[row] >= 0 else "",
                "refined": refined.classes[label[row]],
                "quality": round(float(refined.quality[row]), 6),
                "reason": str(refined.reason[row]),
            },
            "predictions": [],
        }
        if name:
            made = f"fercleaner {refined.metadata.get('method', '')}".strip()
            choice = {"from_name": CHOICE, "to_name": "image", "type": "choices", "value": {"choices": [name]}}
            task["predictions"] = [{"model_version": made, "score": round(share, 6), "result": [choice]}]
        found.append(task)
    return json.dumps(found, ensure_ascii=False, indent=1) + "\n"


def config(classes: Sequence[str]) -> str:
    """Return the labeling configuration of a Label Studio project for these classes: one choice, or two.

    Raises
    ------
    InputError
        A class holds a character that XML cannot hold.
    """
    for name in classes:
        if any((ord(sign) < 32 and sign not in "\t\n\r") or sign in "\ufffe\uffff" for sign in name):
            raise InputError(
                f"Class '{shown(name)}' holds a control character, which Label Studio's configuration (XML) cannot "
                "hold. Rename it when the set is refined: --alias OLD=NEW."
            )
    choices = "\n".join(
        f'    <Choice value="{escape(name, quote=True)}"/>' for name in dict.fromkeys((*classes, NOT_A_FACE))
    )
    return (
        "<View>\n"
        '  <Image name="image" value="$image"/>\n'
        '  <Text name="known" value="given: $given, refined: $refined"/>\n'
        f'  <Choices name="{CHOICE}" toName="image" choice="multiple" required="true">\n{choices}\n  </Choices>\n'
        "</View>\n"
    )
