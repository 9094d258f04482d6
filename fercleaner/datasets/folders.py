"""Layout "folders": a folder per class, with or without folders per split above.

    SET/happy/a.jpg            SET/train/happy/a.jpg

Source: the convention of torchvision's ImageFolder and of most redistributed FER sets.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..core.errors import InputError
from ..core.types import Samples
from ..extraction.images import FileImages
from .assemble import assemble, one_hot
from .labels import resolve
from .options import ReadOptions, split_name
from .table import unreadable

#: Suffixes of files that count as pictures.
PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".tga")


def read(path: Path, options: ReadOptions) -> Samples:
    """Read a folder per class; pictures in deeper folders belong to the class above them.

    A folder named "unlabeled" and pictures in no class folder at all are unlabeled. Ids are paths from
    `path`, with "/". Hidden files and folders, files that are no pictures and empty folders are left out.
    """
    rows: list[tuple[str, str, str]] = []  # path from the root, class folder, split
    folders, loose = scan(path)
    splits = [name for name in folders if split_name(name) is not None and _has_classes(path / name)]
    if splits:
        other = next((f for f in folders if f not in splits and pictures_under(path / f)), None)
        if other is not None:
            raise InputError(
                f"{path} holds folders of splits ({', '.join(splits)}) beside '{other}'. Move '{other}' "
                "away, or name one split's folder as the dataset."
            )
        for name in splits:
            split = split_name(name) or name
            classes, stray = scan(path / name)
            rows += [(f"{name}/{file}", "", split) for file in stray]
            for label in classes:
                rows += [(f"{name}/{label}/{file}", label, split) for file in pictures_under(path / name / label)]
    else:
        rows += [(file, "", "") for file in loose]
        for label in folders:
            rows += [(f"{label}/{file}", label, "") for file in pictures_under(path / label)]
    if not rows:
        raise InputError(f"{path} holds no pictures ({', '.join(PICTURES)}) in folders named after classes.")
    ids = [row[0] for row in rows]
    check_names(path, ids)
    paths = [os.path.join(path, name) for name in ids]

    def where(i: int) -> str:
        return f"{path}: {ids[i]}"

    return assemble(
        layout="folders",
        source=str(path),
        where=where,
        ids=ids,
        labels=one_hot(resolve([row[1] for row in rows], where, options)),
        options=options,
        paths=paths,
        images=FileImages(paths),
        split=[row[2] for row in rows] if splits else None,
    )


def scan(folder: Path) -> tuple[list[str], list[str]]:
    """Return the names of a folder's folders and of its pictures, each sorted; hidden ones left out."""
    folders, pictures = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")):
                    continue
                if entry.name.lower().endswith(PICTURES):
                    pictures.append(entry.name)
                elif entry.is_dir():
                    folders.append(entry.name)
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted(folders), sorted(pictures)


def pictures_under(folder: Path) -> list[str]:
    """Return the pictures in a folder and the folders below it, as paths from it with "/", sorted."""
    folders, pictures = scan(folder)
    for name in folders:
        if not os.path.islink(folder / name):
            pictures += [f"{name}/{file}" for file in pictures_under(folder / name)]
    return sorted(pictures)


def check_names(root: Path, names: list[str]) -> None:
    """Raise InputError if a file name is not UTF-8: it could not be written to any of our files."""
    for name in names:
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                shown = name.encode(errors="backslashreplace").decode()
                raise InputError(f"{root}: the file name '{shown}' is not UTF-8; rename the file.") from None


def _has_classes(folder: Path) -> bool:
    return any(pictures_under(folder / name) for name in scan(folder)[0])
