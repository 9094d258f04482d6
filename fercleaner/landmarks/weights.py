"""Find the weight files that landmark detectors need: named, in FERCLEANER_MODELS, or a package's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import FeatureError

#: Environment variable naming a folder of weight files.
MODELS_VARIABLE = "FERCLEANER_MODELS"


def locate(
    names: Sequence[str], weights: str | None, folders: Sequence[Path] = (), *, strict: bool = True
) -> tuple[Path | None, list[str]]:
    """Return the first file called one of `names`, or None, and the places that were looked at.

    Places, in order: `weights` (the file itself, or a folder), the folder in FERCLEANER_MODELS, `folders`.

    Raises
    ------
    FeatureError
        If `weights` is given and is neither a file nor a folder that holds one of `names`; without
        `strict` the other places are looked at instead.
    """
    if weights:
        path = Path(weights).expanduser()
        if path.is_file():
            return path, [str(path)]
        inside = [path / name for name in names if (path / name).is_file()]
        if inside:
            return inside[0], [str(path)]
        if not strict:
            return locate(names, None, folders)
        reason = f"holds no {' or '.join(names)}" if path.is_dir() else "does not exist"
        raise FeatureError(f"--weights {weights} {reason}. Name the file {names[0]} or the folder it is in.")
    places = list(folders)
    from_environment = os.environ.get(MODELS_VARIABLE)
    if from_environment:
        places.insert(0, Path(from_environment).expanduser())
    for folder in places:
        for name in names:
            if (folder / name).is_file():
                return folder / name, [str(folder)]
    looked = [str(folder) for folder in places]
    if not from_environment:
        looked.insert(0, f"{MODELS_VARIABLE} (not set)")
    return None, looked
