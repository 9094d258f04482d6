"""`fercleaner audit`: one page about a set that opens from disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checks import BUILTIN, YUNET, check_unused, encoder_tags, pairs, vote_rules, weights_of
from .evaluate import MIN_VOTES
from .options import METHOD, SetOptions, with_set_options
from .refine import said, set_name
from .search import SearchOptions

if TYPE_CHECKING:
    from fercleaner.core.refined import RefinedSet
    from fercleaner.core.types import Samples
    from fercleaner.pipeline.inputs import Callbacks
    from fercleaner.report import Material

PAGE = "Page"
#: As in the library, so that `--help` need not import it.
SHOWN = 600
FILES = ("index.html", "audit.json", "checks.parquet")
#: Options on the search of neighbors and groups, which a refined file has behind it.
SEARCH = ("--index", "--identity", "--no-find-groups")
#: Options that say how a command runs and not what it looks at.
RUNS = ("--device", "--cache", "--no-cache", "--workers", "--seed")
#: What a set is refined to, beside the page.
REFINED = "refined.parquet"


@with_set_options
def audit(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DATASET", help="A refined Parquet file, or a set to refine first.", show_default=False
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write the page into.", show_default=False)],
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="SET",
            help="The set that the refined file was made from: pictures inside a csv or a Hugging Face dataset, boxes, "
            "groups, sites, columns, and vectors for the map.",
            rich_help_panel=PAGE,
            show_default=False,
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Flagged and changed rates by this column of the set (age, sex, source, annotator); repeatable.",
            rich_help_panel=PAGE,
        ),
    ] = None,
    columns: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A table with the columns of --by, a row a face (image or id): for sets that have none themselves.",
            rich_help_panel=PAGE,
            show_default=False,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Votes or clean labels, to show how far quality can be believed.",
                     rich_help_panel=PAGE, show_default=False),
    ] = None,
    min_votes: Annotated[
        float, typer.Option(help="Judge faces whose top vote has at least this many.", rich_help_panel=PAGE)
    ] = MIN_VOTES,
    faces: Annotated[int, typer.Option(min=1, help="Faces shown with pictures.", rich_help_panel=PAGE)] = SHOWN,
    layout_of_map: Annotated[
        str, typer.Option("--map", help="pca, or tsne (extra: map).", rich_help_panel=PAGE)
    ] = "pca",
    checks: Annotated[
        bool,
        typer.Option(help="Open every picture to look for duplicates and for bad pictures.", rich_help_panel=PAGE),
    ] = True,
    find_faces: Annotated[
        bool,
        typer.Option("--find-faces", help="Count the faces in each picture with YuNet (--weights yunet=FILE).",
                     rich_help_panel=PAGE),
    ] = False,
    method: Annotated[
        str | None,
        typer.Option(help="Rule to refine a set by; consensus by default.", rich_help_panel=METHOD, show_default=False),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the method.", rich_help_panel=METHOD),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the files.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
    set_options: SetOptions,
    search_options: SearchOptions,
) -> None:  # fmt: skip
    """Show a set and its labels as one page: what is wrong, what is ambiguous, why, and what else to mend.

    The page opens from disk, loads nothing and sends nothing. It holds thumbnails of the set's pictures.

    Examples: fercleaner audit rafdb.refined.parquet --out audit; fercleaner audit faces/ --out audit --by age
    """
    from fercleaner.core.files import check_folder_apart, check_writable
    from fercleaner.core.text import shown
    from fercleaner.report import Options, check_folder
    from fercleaner.report import audit as make
    from fercleaner.results import parquet

    from .console import note, print_json, progress_callbacks, size

    detector, set_options = _detector(set_options) if find_faces else ("", set_options)
    is_file = file.is_file() and parquet.is_refined(file)
    title = str(parquet.header(file).get("made_from", "")).rstrip("/") if is_file else set_name(file)
    options = Options(
        title or set_name(file), faces, checks, detector=detector, layout=layout_of_map, seed=set_options.seed
    )
    others = [title, set_options.images, set_options.features, set_options.cache]
    check_folder_apart(out, [file, dataset], others)
    for name in FILES if is_file else (*FILES, REFINED):
        set_options.check_apart(out / name, file, dataset, columns, truth)
    check_folder(out, force)
    if not is_file and out.is_dir():
        check_writable(out / REFINED, force)
    search_options.check(file, set_options)
    if is_file:
        again = "the file was refined before. Leave it out, or name a set to refine."
        check_unused({"--method": method, "--set": settings}, again)
        used = [*(["--weights"] if find_faces else []), *(["--classes", "--alias"] if truth else [])]
        _check_of_file(dataset, used, set_options, search_options)
    else:
        check_unused({"--dataset": dataset}, f"it goes with a refined file, and {file} is none. Leave it out.")
    if truth is None:
        check_unused({"--min-votes": None if min_votes == MIN_VOTES else min_votes}, "votes are of --truth FILE.")
    if not by:
        check_unused({"--columns": columns}, "name the columns to count by: --by COLUMN.")
    asked = By(tuple(by or ()), columns)
    with progress_callbacks() as callbacks:
        if is_file:
            refined, material = _of_file(file, dataset, asked, set_options, callbacks)
        else:
            rule = (method or "consensus", settings)
            refined, material = _of_set(file, asked, rule, set_options, search_options, callbacks)
        material = replace(material, truth=_truth(truth, refined, set_options, min_votes), min_votes=min_votes)
        made = make(refined, material, options, callbacks)
    page = made.write(out, overwrite=force)
    if not is_file:
        parquet.write(refined, out / REFINED, overwrite=force)
    if json_:
        print_json({"page": str(page), **made.summary()})
    beside = ", ".join(path.name for path in sorted(out.iterdir()) if path.name in (*FILES, REFINED) and path != page)
    if not made.pictures and material.samples is None and refined.paths.astype(bool).any():
        first = next(filter(None, refined.paths.tolist()))
        note(
            f"No picture could be read, so the page has none (first: {shown(first)}). Run the command where these "
            "paths start, or name the set: --dataset SET."
        )
    share = " It holds pictures of the set: share it as you would share these." if made.pictures else ""
    note(f"Wrote {page} ({size(page.stat().st_size)}), and beside it {beside}.\nNext: open {page} in a browser.{share}")


@dataclass(frozen=True)
class By:
    """Columns to count by, and the table that holds them; the set's own where None."""

    names: tuple[str, ...]
    file: Path | None

    def of(self, faces: RefinedSet | Samples, dataset: Path | None, set_options: SetOptions) -> dict[str, Any]:
        """Return the columns, each (N,) str, in the order of these faces."""
        from fercleaner.core.errors import InputError
        from fercleaner.datasets.columns import read_face_columns

        if self.file is not None:
            return dict(read_face_columns(self.file, faces.ids, faces.paths, self.names))
        if dataset is not None:
            return {name: _column(dataset, name, set_options) for name in self.names}
        if self.names:
            raise InputError(
                f"--by {self.names[0]}: a refined file keeps no such column. Name its set: --dataset SET, or a table: "
                "--columns FILE."
            )
        return {}


def _check_of_file(
    dataset: Path | None, used: list[str], set_options: SetOptions, search_options: SearchOptions
) -> None:
    """Raise InputError for options that the page of a refined file does not look at; `used` are some that it does."""
    searched = [name for name in set_options.named if name in SEARCH]
    check_unused(
        dict.fromkeys([*searched, *search_options.words], True),
        "the page of a refined file needs no neighbors that are not in it. Leave that out.",
    )
    if dataset is None:
        check_unused(
            dict.fromkeys((name for name in set_options.named if name not in (*RUNS, *used)), True),
            "the file is looked at without its set. Name it: --dataset SET; or leave that out.",
        )


def _of_file(
    file: Path, dataset: Path | None, by: By, set_options: SetOptions, callbacks: Callbacks
) -> tuple[RefinedSet, Material]:
    """Return a refined file, and what there is beside it: the set it was made from, where that is named."""
    from fercleaner.report import Material, gather_for_audit
    from fercleaner.results import parquet

    from .console import note
    from .export import WHOLE, pictures_of

    refined = parquet.load(file)
    if dataset is None:
        columns = by.of(refined, None, set_options)
        inside = pictures_of(refined)
        if inside is None and refined.metadata.get("boxed"):
            note(WHOLE)
        if inside is None and not refined.paths.astype(bool).any():
            note("The refined file names no pictures: the page has none. Name its set: --dataset SET.")
        return refined, Material(samples=inside, root=file.parent, columns=columns)
    samples, sources, resources = set_options.open(dataset)
    columns = by.of(samples, dataset, set_options)
    return refined, gather_for_audit(refined, samples, sources, resources, callbacks, columns)


def _of_set(
    dataset: Path,
    by: By,
    rule: tuple[str, list[str] | None],
    set_options: SetOptions,
    search_options: SearchOptions,
    callbacks: Callbacks,
) -> tuple[RefinedSet, Material]:
    """Refine a set, and return beside the result all that it was refined by."""
    from fercleaner import methods
    from fercleaner.report import refine_and_gather

    method = methods.build(rule[0], pairs(rule[1], "--set"))
    samples, sources, resources = set_options.open(dataset)
    columns = by.of(samples, dataset, set_options)
    with search_options.searching(resources) as resources:
        refined, material = refine_and_gather(samples, method, sources, resources, callbacks)
    refined = replace(refined, metadata={**refined.metadata, "made_from": said(dataset)})
    return refined, replace(material, columns=columns)


def _column(dataset: Path, name: str, set_options: SetOptions) -> Any:
    """Return a column of the set's table, (N,) str, in the order that the set is read in."""
    from fercleaner import datasets
    from fercleaner.core.errors import InputError

    layout = datasets.recognize(dataset).layout if set_options.layout == "auto" else set_options.layout
    if not datasets.LAYOUTS[layout].takes_columns:
        raise InputError(
            f"--by {name}: the layout {layout} has no further columns. Name a table that has: --columns FILE, with "
            f"the columns image and {name}."
        )
    read = datasets.read(
        dataset,
        layout=layout,
        classes=set_options.class_names(),
        alias=pairs(set_options.alias, "--alias"),
        images=set_options.images,
        split=set_options.split,
        columns={**pairs(set_options.column, "--column"), "site": name},
        votes=vote_rules(set_options.votes),
    )
    return read.site


def _detector(set_options: SetOptions) -> tuple[str, SetOptions]:
    """Return YuNet's file, and the options without its weights where the pictures' crop does not need them."""
    from fercleaner.core.errors import FeatureError
    from fercleaner.extraction.detection import choose_framing

    tags = encoder_tags(set_options.encoder, bool(set_options.view))
    yunet = weights_of(set_options.weights, tags, set_options.landmarks).get(YUNET)
    framing, why = choose_framing("auto", None if yunet is None else str(yunet))
    if not framing.detector:
        raise FeatureError(f"--find-faces: {why.replace('pictures are taken whole: ', '')}.")
    if set_options.crop != "auto" or BUILTIN not in (*tags, set_options.landmarks):
        other = [text for text in set_options.weights or [] if not text.startswith(f"{YUNET}=")]
        return framing.detector, replace(set_options, weights=other or None)
    return framing.detector, set_options


def _truth(truth: Path | None, refined: RefinedSet, set_options: SetOptions, min_votes: float) -> Any:
    from fercleaner.datasets.truth import read_truth

    from .console import note

    if truth is None:
        return None
    labels = set_options.of_labels() if {"--classes", "--alias"} & set(set_options.named) else None
    answer = read_truth(truth, refined.classes, options=labels)
    if answer.votes is None and min_votes != MIN_VOTES:  # the set may have been refined by now: no error
        note(f"--min-votes {min_votes:g} changes nothing: {truth} holds clean labels and no votes.")
    return answer
