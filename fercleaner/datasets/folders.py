"""Layout "folders": a folder per class, with or without folders per split above.

    SET/happy/a.jpg            SET/train/happy/a.jpg

Source: the convention of torchvision's ImageFolder and of most redistributed FER sets.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.expressions import is_expression
from ..core.text import counted, shown
from ..core.types import Samples
from ..extraction.images import FileImages
from .assemble import assemble, one_hot
from .labels import MOST_CLASSES, resolve
from .options import ReadOptions, split_name
from .table import TABLE_SUFFIXES, listed, unreadable

_LOG = logging.getLogger(__name__)

#: Suffixes of files that count as pictures; each is opened by Pillow.
PICTURES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga"),
)
#: Folders that operating systems, servers and tools make for themselves; compared in lower case.
SYSTEM_FOLDERS = frozenset(
    """@eadir/@recycle/@recently-snapshot/@tmp/#recycle/#snapshot/$recycle.bin/recycler/system volume information
    /lost+found/__macosx/__pycache__/found.000/network trash folder/temporary items/~snapshot/node_modules/thumbs
    /thumbnails/thumbnail/thumb/_thumbs/@__thumb/recycled/_vti_cnf/_vti_pvt/thevolumesettingsfolder/dfsrprivate/cvs
    /ipynb_checkpoints""".replace("\n    ", "").split("/")
)
#: Files of the same kind: nobody misses them, so nothing is said of them.
SYSTEM_FILES = frozenset(("thumbs.db", "desktop.ini", "ehthumbs.db", "icon\r"))
#: Which file is which face, in folders that fercleaner export wrote: file, id. Hidden, so that nobody takes it for a
#: manifest.
NAMES = ".fercleaner-names.csv"
#: What people call folders of one subject or sequence: S005, AF01, sub-12, person_3.
_SUBJECT = re.compile(
    r"(?![ckly]\d)[a-z]{1,2}[-_ ]?\d{1,4}"
    r"|(sub|subj|subject|person|actor|participant|user|id|seq|sequence|video|clip)[-_ ]?\d+",
    re.IGNORECASE,
)
#: Endings of lists that are no tables, such as those of COCO and of Hugging Face's image folders.
OTHER_LISTS = (".json", ".jsonl", ".xml", ".lst", ".mat")
#: Of more files than this none is the list: a file a picture, say.
FEW_LISTS = 4
#: Folders in folders beyond this are no dataset.
DEEPEST = 60


@dataclass
class LeftOut:
    """What a reader of folders passed by, by reason.

    Parameters
    ----------
    files : counter of reason -> number
        ".heic", "no ending", "hidden", "no regular file".
    folders : list of str
        System folders, and links that lead back into the set, as paths with "/".
    empty : list of str
        Class folders in which no picture was found.
    """

    files: Counter[str] = field(default_factory=Counter)
    folders: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return this as JSON types."""
        return {
            "files_left_out": dict(sorted(self.files.items(), key=lambda item: (-item[1], item[0]))),
            "folders_left_out": self.folders,
            "empty_classes": self.empty,
        }


class Pictures:
    """Finds the pictures in a folder and below, each folder once, and counts what it passes by.

    A link to a folder is followed where it leads out of `root` to a folder that was not read yet; where it leads back
    into the set its pictures are read there already, and it is left out.

    Parameters
    ----------
    root : path
        The dataset's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.left_out = LeftOut()
        self._seen: set[str] = set()

    def under(self, folder: Path, name: str = "", depth: int = 0) -> list[str]:
        """Return the pictures in a folder and the folders below it, as paths from it with "/", sorted."""
        real = os.path.realpath(folder)
        if real in self._seen or depth > DEEPEST:
            self.left_out.folders.append(name or folder.name)
            return []
        self._seen.add(real)
        folders, pictures = scan(folder, self.left_out)
        for inner in folders:
            below = folder / inner
            if os.path.islink(below) and self._inside(below):
                self.left_out.folders.append(f"{name or folder.name}/{inner} (a link)")
                continue
            pictures += [f"{inner}/{file}" for file in self.under(below, f"{name or folder.name}/{inner}", depth + 1)]
        return sorted(pictures)

    def _inside(self, link: Path) -> bool:
        real = Path(os.path.realpath(link))
        return real == self.root or self.root in real.parents or real in self.root.parents


def read(path: Path, options: ReadOptions) -> Samples:
    """Read a folder per class; pictures in deeper folders belong to the class above them.

    A folder named "unlabeled" and pictures in no class folder at all are unlabeled. Ids are paths from `path`, with
    "/"; in folders that `fercleaner export` wrote, those of the set that it was made from (`NAMES`). What is left out
    (hidden and system files, files that are no pictures, empty folders) is counted in `Samples.provenance`.
    """
    rows: list[tuple[str, str, str]] = []  # path from the root, class folder, split
    find = Pictures(path)
    folders, loose = scan(path, find.left_out)
    splits = [name for name in folders if split_name(name) is not None and _has_classes(path / name)]
    if splits:
        # a split without class folders, such as the pictures of a contest's test set, is unlabeled
        splits += [name for name in folders if name not in splits and split_name(name) and scan(path / name)[1]]
        other = next((f for f in folders if f not in splits and pictures_under(path / f)), None)
        if other is not None:
            raise InputError(
                f"{path} holds folders of splits ({', '.join(splits)}) beside '{other}'. Move '{other}' "
                "away, or name one split's folder as the dataset."
            )
        for name in _one_below(path, splits):
            split = split_name(name.split("/")[0]) or name
            classes, loose = scan(path / name, find.left_out)
            _check_classes(path / name, classes, options)
            rows += [(f"{name}/{file}", "", split) for file in loose]
            rows += [(f"{name}/{file}", label, split) for file, label in _of_classes(find, path / name, classes)]
    else:
        _check_classes(path, folders, options)
        rows += [(file, "", "") for file in loose]
        rows += _with_splits([(file, label, "") for file, label in _of_classes(find, path, folders)])
    if not rows:
        left = sum(find.left_out.files.values())
        passed = f" It passed by {counted(left, 'file', 'files')} ({_reasons(find.left_out.files)})." if left else ""
        raise InputError(f"{path} holds no pictures ({', '.join(PICTURES)}) in folders named after classes.{passed}")
    if options.classes is None and not any(row[1] for row in rows):
        raise InputError(
            f"{path}: its {len(rows):,} pictures (first: {shown(rows[0][0])}) lie in no folder named after a class, so "
            "that none has a label. Put them into such folders, or write a manifest (image,label). To label faces that "
            f"have none, name the class set: --classes anger,disgust,...{_lists_beside(path)}"
        )
    files = [row[0] for row in rows]
    check_file_names(path, files)
    paths = [os.path.join(path, name) for name in files]
    ids = _original(path, files)

    def where(i: int) -> str:
        return f"{path}: {shown(ids[i])}"

    return assemble(
        layout="folders",
        source=str(path),
        where=where,
        ids=ids,
        labels=one_hot(resolve([row[1] for row in rows], where, options)),
        options=options,
        paths=paths,
        images=FileImages(paths),
        split=[row[2] for row in rows] if any(row[2] for row in rows) else None,
        provenance=find.left_out.to_dict(),
    )


def _one_below(path: Path, splits: list[str]) -> list[str]:
    """Return the splits' folders or, where classes lie in the one folder of each, called alike, as in SFEW, these."""
    below = {}
    for split in splits:
        folders, pictures = scan(path / split)
        if len(folders) == 1 and not pictures and folders[0].lower().startswith(split.lower()):
            below[split] = f"{split}/{folders[0]}"
    inner = {split: scan(path / one)[0] for split, one in below.items()}
    if (
        len(below) < len(splits)
        or not any(inner.values())
        or not all(is_class(name) for names in inner.values() for name in names)
    ):
        return splits
    _LOG.warning("%s: the classes are the folders in %s.", path, listed(list(below.values())))
    return list(below.values())


def _with_splits(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Return rows with the splits that lie inside the class folders, happy/train/a.jpg, where all do; else as is."""
    inside = [split_name(file.split("/")[1]) if file.count("/") > 1 else None for file, _, _ in rows]
    if len(set(inside)) < 2 or None in inside:
        return rows
    return [(file, label, name or "") for (file, label, _), name in zip(rows, inside, strict=True)]


def _lists_beside(path: Path) -> str:
    """Return a sentence on tables in a folder, or in a folder of it, that may be its list of labels."""
    files = sorted(
        f for f in (*path.glob("*"), *path.glob("*/*")) if f.suffix.lower() in (*TABLE_SUFFIXES, *OTHER_LISTS)
    )
    if not files or len(files) > FEW_LISTS:
        return ""
    if files[0].suffix.lower() in OTHER_LISTS:
        return f" {files[0].name} beside them is no table that is read: write its entries as a CSV (image,label)."
    return f" If {files[0].relative_to(path)} is their list, name that file: {files[0]}"


def _original(path: Path, files: list[str]) -> list[str]:
    """Return the id of each file: the one that `NAMES` gives it, else its own path."""
    if not (path / NAMES).is_file():
        return files
    try:
        with open(path / NAMES, encoding="utf-8", newline="") as stream:
            named = dict(row for row in csv.reader(stream) if len(row) == 2)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{path / NAMES} cannot be read ({error}). Remove it: ids are the files' names then."
        ) from error
    return [named.get(file) or file for file in files]


def _of_classes(find: Pictures, folder: Path, classes: list[str]) -> list[tuple[str, str]]:
    """Return (path from `folder`, class) of the pictures in each class folder, noting classes without any."""
    files: dict[str, list[str]] = {}
    for label in sorted(classes, key=lambda name: os.path.islink(folder / name)):  # a folder before links to it
        files[label] = find.under(folder / label)
    find.left_out.empty += [label for label in classes if not files[label]]
    return [(f"{label}/{file}", label) for label in classes for file in files[label]]


def _check_classes(path: Path, folders: list[str], options: ReadOptions) -> None:
    """Raise InputError where the classes are a level below: set/images/happy, set/aligned/happy beside set/original."""
    held = {name: scan(path / name) for name in folders}
    named = [name for name in folders if held[name][0] or held[name][1]]
    if len(named) > 1 and all(map(split_name, named)) and options.classes is None:
        raise InputError(
            f"{path}: its folders ({listed(named, 4)}) are splits, and their pictures lie in no folder named after a "
            f"class. Put them into such folders, or write a manifest (image,label,split).{_lists_beside(path)}"
        )
    inner = {name: [f for f in there if pictures_under(path / name / f)] for name, (there, _) in held.items()}
    filled = [name for name in folders if held[name][1] or inner[name]]
    deep = [name for name in filled if not held[name][1]]
    if len(filled) == 1 and not deep and options.classes is None and (beside := _lists_beside(path)):
        raise InputError(f"{path}: every label would be '{shown(filled[0])}', the only folder of pictures.{beside}")
    if len(filled) == 1 == len(deep):
        place, below = _first_with_several(path / filled[0])
        if below:
            raise InputError(
                f"{path}: every label would be '{shown(filled[0])}'. {place} holds several folders "
                f"({listed(below, 4)}); if these are the classes (or the splits), name it: {place}"
            )
    if not deep or any(map(is_class, filled)):
        _check_no_subjects(path, filled, options)
        return
    below_of = {name: {f for f in inner[name] if is_class(f)} for name in deep}
    holds = max(deep, key=lambda name: len(below_of[name]))  # others beside it may hold pictures that are no faces
    classes = below_of[holds]
    if len(classes) > 1 and options.classes is None:
        raise InputError(
            f"{path}: the classes can be its folders ({listed(filled, 4)}) or those a level below "
            f"({listed(sorted(classes), 4)})"
            f", which are named after expressions. Name one folder of those as the dataset ({path / holds}), or "
            f"write a "
            "manifest: image,label,group"
        )
    _check_no_subjects(path, filled, options)


def _first_with_several(folder: Path) -> tuple[Path, list[str]]:
    """Return the first folder, this one or one below, that holds several with pictures, and these; none without."""
    for _ in range(DEEPEST):
        below = [name for name in scan(folder)[0] if pictures_under(folder / name)]
        if len(below) != 1:
            return folder, below
        folder = folder / below[0]
    return folder, []


def _check_no_subjects(path: Path, names: list[str], options: ReadOptions) -> None:
    """Raise InputError where folders are called by a letter or two, or a word for people, and a number: S005, AF01.

    So are more than `MOST_CLASSES` folders of which none is named after an expression.
    """
    many = len(names) > MOST_CLASSES and not options.alias and not any(map(is_class, names))
    if options.classes is None and (many or (len(names) > 1 and all(map(_SUBJECT.fullmatch, names)))):
        raise InputError(
            f"{path}: its folders ({listed(names, 4)}) look like subjects or sequences, not classes, and every picture "
            "in them would have that label. Write a manifest (image,label,group), or, where they are the classes, name "
            f"them: --classes {','.join(names[:2])},..."
        )


def is_class(name: str) -> bool:
    """Whether a folder is named after an expression, numbers before it aside."""
    return is_expression(name) or is_expression(re.sub(r"^[\d\W_]+", "", name))


def scan(folder: Path, left_out: LeftOut | None = None) -> tuple[list[str], list[str]]:
    """Return the names of a folder's folders and of its pictures, each sorted; hidden and system ones left out."""
    folders: list[str] = []
    pictures: list[str] = []
    passed = left_out or LeftOut()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name in SYSTEM_FILES or name in (".ds_store", ".directory"):
                    continue
                if _is_folder(entry):
                    hidden = name in SYSTEM_FOLDERS or name.startswith(".")
                    (passed.folders if hidden else folders).append(entry.name)
                elif name.startswith("."):
                    passed.files["hidden"] += 1
                elif not name.endswith(PICTURES):
                    passed.files[_ending(name)] += 1
                elif entry.is_symlink() or entry.is_file():
                    pictures.append(entry.name)
                else:
                    passed.files["no regular file"] += 1
    except OSError as error:
        raise unreadable(folder, error) from error
    return sorted(folders), sorted(pictures)


def _ending(name: str) -> str:
    """Return what to call files of a name's kind: ".heic", "no ending"."""
    ending = os.path.splitext(name)[1]
    if ending != ending.strip():
        return f"{ending.strip()} (with a blank)"
    return ending if 1 < len(ending) < 12 else "no ending"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def pictures_under(folder: Path) -> list[str]:
    """Return the pictures in a folder and the folders below it, as paths from it with "/", sorted."""
    return Pictures(folder).under(folder)


def not_listed(folder: Path, names: Iterable[str], listing: str) -> Counter[str]:
    """Return reason -> number of the pictures in a folder that a list does not name; empty without that folder."""
    if not folder.is_dir():
        return Counter()
    listed_ = set(names)
    left = sum(name not in listed_ for name in scan(folder)[1])
    return Counter({f"pictures not in {listing}": left} if left else {})


def check_file_names(root: Path, names: list[str]) -> None:
    """Raise InputError if a file name is not UTF-8: it could not be written to any of our files."""
    for name in names:
        if not name.isascii():
            try:
                name.encode()
            except UnicodeEncodeError:
                shown_name = name.encode(errors="backslashreplace").decode()
                raise InputError(f"{root}: the file name '{shown_name}' is not UTF-8; rename the file.") from None


def _has_classes(folder: Path) -> bool:
    return any(pictures_under(folder / name) for name in scan(folder)[0])


def _reasons(files: Counter[str]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in files.most_common(8))
