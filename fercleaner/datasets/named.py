"""Layout "named": pictures whose file names say who is shown and the expression, in any folders.

    KA.AN1.39.tiff                                       JAFFE: subject, expression, number
    AF01ANFL.JPG, AF01/AF01ANFL.JPG                      KDEF: session, subject, expression, angle
    Rafd090_01_Caucasian_female_angry_frontal.jpg        RaFD: angle, subject, ..., expression, gaze

Source: the naming schemes that come with the data. Lyons, Akamatsu, Kamachi, Gyoba, FG 1998 (JAFFE); Lundqvist, Flykt,
Oehman, Karolinska Institutet 1998 (KDEF); Langner et al., Cognition and Emotion 2010 (RaFD).
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.errors import InputError
from ..core.text import shown
from ..core.types import Samples
from ..extraction.images import FileImages
from .assemble import assemble, one_hot
from .folders import Pictures, check_file_names
from .labels import resolve
from .options import ReadOptions

#: Naming schemes. KDEF's first letter is the session: both show the same subjects.
SCHEMES = {
    "JAFFE": re.compile(r"(?P<subject>[A-Z]{2})\.(?P<label>AN|DI|FE|HA|NE|SA|SU)\d\.\d+(\.\w+)+", re.IGNORECASE),
    "KDEF": re.compile(r"[AB](?P<subject>[FM]\d\d)(?P<label>AF|AN|DI|HA|NE|SA|SU)(FL|FR|HL|HR|S)\.\w+", re.IGNORECASE),
    "RaFD": re.compile(
        r"Rafd\d+_(?P<subject>\d+)_[A-Za-z]+_(fe)?male_(?P<label>[a-z]+)_(frontal|left|right)\.\w+", re.IGNORECASE
    ),
}
#: Pictures from which on names tell a scheme, and the part of them that must follow it.
FEWEST, MOSTLY = 8, 0.9
UNNAMED = "its name says no expression"


def scheme_of(files: list[str]) -> str | None:
    """Return the scheme that the names of nearly all pictures follow, or None."""
    for name, scheme in SCHEMES.items():
        fitting = sum(scheme.fullmatch(os.path.basename(file)) is not None for file in files)
        if len(files) >= FEWEST and fitting >= MOSTLY * len(files):
            return name
    return None


def read(path: Path, options: ReadOptions) -> Samples:
    """Read labels and subjects (as groups) from file names; ids are paths from `path` with "/".

    A picture whose name follows no scheme is unlabeled, and alone in its group.
    """
    find = Pictures(path)
    files = find.under(path)
    check_file_names(path, files)
    scheme = scheme_of(files)
    if scheme is None:
        raise InputError(
            f"{path}: its {len(files):,} pictures{f' (first: {shown(files[0])})' if files else ''} are not called as "
            f"those of {', '.join(SCHEMES)} are."
        )
    found = [SCHEMES[scheme].fullmatch(os.path.basename(file)) for file in files]
    paths = [os.path.join(path, file) for file in files]

    def where(i: int) -> str:
        return f"{path}: {shown(files[i])}"

    labels = resolve([match["label"] if match else "" for match in found], where, options)
    labels = replace(labels, notes=np.where([match is None for match in found], UNNAMED, labels.notes))
    return assemble(
        layout="named",
        source=str(path),
        where=where,
        ids=files,
        labels=one_hot(labels),
        options=options,
        paths=paths,
        images=FileImages(paths),
        group=[
            match["subject"].upper() if match else f"alone: {file}" for match, file in zip(found, files, strict=True)
        ],
        provenance=find.left_out.to_dict(),
    )
