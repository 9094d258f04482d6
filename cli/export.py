"""`fercleaner export`: a refined file as a set, a table or arrays, for a trainer, another tool or a reviewer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checks import apart, check_unused

if TYPE_CHECKING:
    from fercleaner.core.refined import RefinedSet
    from fercleaner.core.types import Samples

#: What is said where a set has boxes and a file has not.
BOXED = " The set says by boxes where its faces are; this has no boxes, and its pictures are whole."
WHOLE = "The set says by boxes where its faces are, and whole pictures are shown. For the faces: --dataset SET."
WHICH, FOLDER = "Which faces", "A folder in another format"


def export(
    file: Annotated[Path, typer.Argument(help="A refined Parquet file.", show_default=False)],
    out: Annotated[
        Path,
        typer.Argument(help="A .csv or .npz to write; with --to, the folder.", metavar="OUT", show_default=False),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="own (the set's), folders, manifest, rafdb, affectnet, affectnet-npy, fer2013, expw, huggingface, "
            "label-studio or cleanlab.",
            rich_help_panel=FOLDER,
            show_default=False,
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(
            metavar="WHICH",
            help="Label to write: flagged (default; refined only where flagged), refined, given, or distribution "
            "(soft).",
            rich_help_panel=FOLDER,
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        Path | None,
        typer.Option(
            "--dataset",
            metavar="SET",
            help="The set that was refined, by default the one the file says: for its own format, and pictures inside.",
            rich_help_panel=FOLDER,
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder that the set's picture names start from, as given to refine.",
            rich_help_panel=FOLDER,
            show_default=False,
        ),
    ] = None,
    pictures: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="link (default), copy or none.", rich_help_panel=FOLDER, show_default=False),
    ] = None,
    fill: Annotated[
        bool,
        typer.Option("--label-unlabeled", help="Faces without a label get the refined one.", rich_help_panel=FOLDER),
    ] = False,
    split: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="This split only; repeat for more.", rich_help_panel=WHICH),
    ] = None,
    drop_flagged: Annotated[
        bool, typer.Option("--drop-flagged", help="Leave out labels held to be wrong.", rich_help_panel=WHICH)
    ] = False,
    only_flagged: Annotated[
        bool,
        typer.Option(
            "--only-flagged",
            help="A list to review: labels held to be wrong, lowest quality first.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    drop_unseen: Annotated[
        bool,
        typer.Option(
            "--drop-unseen",
            help="Leave out faces that nothing is known of, such as unreadable pictures.",
            rich_help_panel=WHICH,
        ),
    ] = False,
    drop_unlabeled: Annotated[
        bool, typer.Option("--drop-unlabeled", help="Leave out faces without a given label.", rich_help_panel=WHICH)
    ] = False,
    min_weight: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave out faces of less weight.", rich_help_panel=WHICH)
    ] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
) -> None:
    """Write labels, weights and distributions for a trainer; in a .csv, reasons and neighbors too; or a cleaned set.

    Examples: fercleaner export rafdb.refined.parquet rafdb.csv --split train --drop-flagged --drop-unseen;
    fercleaner export rafdb.refined.parquet clean --to own --dataset rafdb
    """
    from fercleaner.core.files import check_folder_apart
    from fercleaner.results import parquet
    from fercleaner.results.export import Selection
    from fercleaner.results.export import export as write

    from .console import note, share

    apart(out, file, set_)
    refined = parquet.load(file)
    selection = Selection(
        splits=tuple(split or ()),
        drop_flagged=drop_flagged,
        drop_unlabeled=drop_unlabeled,
        min_weight=min_weight,
        only_flagged=only_flagged,
        drop_unseen=drop_unseen,
    )
    if to is not None:
        check_folder_apart(out, [set_], [file, images], replaced=True)
        asked = {"label": label or "flagged", "pictures": pictures or "link", "fill": fill}
        asked |= {"selection": selection, "overwrite": force}
        _to_folder(refined, to, out, _set_of(refined, set_, images), asked)
        return
    check_unused(
        {"--label": label, "--dataset": set_, "--images": images, "--pictures": pictures, "--label-unlabeled": fill},
        "that is for a folder in another format (--to FORMAT). A .csv or .npz holds given and refined labels and "
        "distributions side by side, and no pictures. Leave it out, or add --to.",
    )
    check_not_the_set(refined, out)
    kept = write(refined, out, selection=selection, overwrite=force, escaped=_say_escaped)
    note(f"Wrote {out}: {share(kept, len(refined))} faces.{BOXED if refined.metadata.get('boxed') else ''}")


def check_not_the_set(refined: RefinedSet, out: Path) -> None:
    """Raise StoreError where OUT is there and is called as the set that the file was made from: not even --force."""
    from fercleaner.core.errors import StoreError

    if out.is_file() and refined.metadata.get("made_from") in (out.name, out.resolve().name):
        raise StoreError(
            f"{out} is called as the set that the refined file was made from, which is never overwritten. Choose "
            f"another name, such as {out.with_name(f'{out.stem}.clean{out.suffix}')}."
        )


def _say_escaped(rows: int) -> None:
    from fercleaner.core.text import counted

    from .console import note

    if rows:
        note(
            f"{counted(rows, 'row holds', 'rows hold')} text that a spreadsheet would run or a reader would change; it "
            "is written as JSON strings, and fercleaner reads it back as it was."
        )


def _set_of(refined: RefinedSet, named: Path | None, images: Path | None) -> tuple[Path | None, Samples | None]:
    """Return the set that was refined: the one named, else the one that the file was made from, if it is that still."""
    from fercleaner import datasets
    from fercleaner.core.errors import InputError

    from .console import note

    read_as = refined.metadata.get("read_as", {})
    if named is not None:
        return named, datasets.read_again(named, read_as, images=images)
    said = Path(str(refined.metadata.get("made_from", "")))
    if not said.name or not said.exists():
        return None, None
    try:
        samples = datasets.read_again(said, read_as, images=images)
    except InputError:  # read with options that are not at hand
        return None, None
    if not set(refined.ids.tolist()) <= set(samples.ids.tolist()):
        return None, None
    note(f"The set: {said}, which the refined file was made from.")
    return said, samples


def pictures_of(refined: RefinedSet) -> Samples | None:
    """Return the set that the file was made from where its pictures lie inside (csv, Hugging Face) and it is at hand.

    None where the file names pictures, or the set has none inside, or is another by now.
    """
    if refined.paths.astype(bool).any():
        return None
    samples = _set_of(refined, None, None)[1]
    inside = samples is not None and samples.images is not None and not samples.paths.astype(bool).any()
    return samples if inside and samples is not None and samples.classes == refined.classes else None


def _to_folder(
    refined: RefinedSet, to: str, out: Path, made_from: tuple[Path | None, Samples | None], asked: dict[str, Any]
) -> None:
    from fercleaner.results.export import export_to

    from .console import note, share, words

    dataset, samples = made_from
    kept = export_to(refined, to, out, source=dataset, samples=samples, **asked)
    boxed = refined.metadata.get("boxed") and to == "label-studio"
    note(f"Wrote {out}: {share(kept, len(refined))} faces, label: {asked['label']}.{BOXED if boxed else ''}")
    if readable := _readable(out):
        note(f"Next: train on it, or look at it: {words('fercleaner', 'read', readable)}")


def _readable(out: Path) -> Path | None:
    """Return what of an export is read as a set: the folder, or its one table (beside which pictures may lie)."""
    from fercleaner import datasets
    from fercleaner.core.errors import FercleanerError

    from .console import warnings_to

    tables = sorted(out.glob("*.csv"))
    for one in (out, *tables[: 1 if len(tables) == 1 else 0]):
        try:
            with warnings_to(lambda text: None):  # about the set that was exported, which was read with options
                datasets.read(one)
        except FercleanerError:
            continue
        return one
    return None
