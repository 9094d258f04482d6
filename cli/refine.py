"""`fercleaner refine`: a dataset in, refined labels as Parquet out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .checks import pairs, words_of
from .extract import Engine
from .options import METHOD, RUN, SetOptions, with_set_options
from .search import SearchOptions

if TYPE_CHECKING:
    from fercleaner.core.refined import RefinedSet
    from fercleaner.core.types import Samples
    from fercleaner.datasets.options import ReadOptions
    from fercleaner.methods.base import Method
    from fercleaner.review.decisions import Decisions

#: Part of the labels flagged beyond which the flags themselves are in doubt: the noisiest real set has .28.
FLAGGED_MOST = 0.4
#: Endings of a refined file.
ENDINGS = (".parquet", ".pq")


@with_set_options
def refine(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    method: Annotated[
        str, typer.Option(help="Rule to refine by; `fercleaner methods` lists them.", rich_help_panel=METHOD)
    ] = "consensus",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Set a parameter of the method.", rich_help_panel=METHOD),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Flag as many labels as keep this estimated share of the flags right, such as 0.8; the method is run "
            "again on labels flipped on purpose.",
            rich_help_panel=METHOD,
            show_default=False,
        ),
    ] = None,
    learn_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPLIT",
            help="Learn from the labels of this split alone, such as train; others are judged, but neither vote nor "
            "fit; repeatable.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    decisions: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="LOG",
            help="What people decided: certain of these faces, and learned from for the others. A log of fercleaner "
            "review, a filled-in .csv or a Label Studio .json; repeat for more.",
            show_default=False,
        ),
    ] = None,
    annotators: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels of several people, a row a face and person (image, annotator, label), in place of the set's.",
            show_default=False,
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBER/COUNT",
            help="Search one part of the neighbors, such as 3/64, into --neighbors, and write no refined file.",
            rich_help_panel=RUN,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write; SET.refined.parquet here by default.", show_default=False),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Refuse at once what needs more memory, such as 8GiB, and say at the end how much was held; of "
            "consensus, hypergraph and threshold that is known.",
            rich_help_panel=RUN,
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print what was done as JSON.")] = False,
    set_options: SetOptions,
    search_options: SearchOptions,
) -> None:
    """Refine a set's labels: distributions, weights, suspicious faces, as one Parquet file.

    Example: fercleaner refine rafdb/ --method hypergraph
    """
    from fercleaner import methods
    from fercleaner.core.files import check_writable
    from fercleaner.pipeline import refine as pipeline
    from fercleaner.pipeline.memory import held
    from fercleaner.results import parquet

    from .console import note, progress_callbacks

    if precision is not None and not 0 < precision < 1:
        raise typer.BadParameter(f"{precision:g} is not above 0 and below 1.", param_hint="'--precision'")
    # What costs nothing to check comes first: the output and the method; then all that the set needs.
    target = _target(out, dataset)
    set_options.check_apart(target, dataset, decisions, annotators)
    search_options.check(dataset, set_options)
    rule = methods.build(method, pairs(settings, "--set"))
    if shard is not None:
        last: dict[str, Any] = {"--precision": precision, "--learn-from": learn_from, "--decisions": decisions}
        last |= {"--annotators": annotators, "--out": out, "--force": force}
        if memory is not None:
            raise typer.BadParameter("what a part needs was not measured. Leave it out.", param_hint="'--memory'")
        done = _search_shard(shard, dataset, rule, set_options, search_options)
        chosen = words_of({"--method": method, "--set": settings}) + search_options.words
        return _tell_shard(done, last, set_options.again(dataset, *chosen, *words_of(last)), json_)
    check_writable(target, force)
    allowed = _allowed(memory, rule, precision)
    samples, sources, resources = set_options.open(dataset)
    people = None
    if annotators is not None:
        said_of_labels = set_options.of_labels() if {"--classes", "--alias"} & set(set_options.named) else None
        samples, people = _annotated(samples, annotators, said_of_labels)
    _note_on_balance(rule, samples)
    decided = _read_decisions(decisions, samples)
    with progress_callbacks() as callbacks, search_options.searching(resources) as resources:
        refined = pipeline.refine(
            samples,
            rule,
            sources,
            replace(resources, memory=allowed),
            callbacks,
            precision=precision,
            learn_from=learn_from or None,
            decisions=decided,
        )
    if decided is not None:
        _say_what_changed(refined, target)
    refined = replace(refined, metadata={**refined.metadata, "made_from": said(dataset)})
    if people is not None:
        refined = replace(refined, metadata={**refined.metadata, "annotators": people(refined.distribution)})
    parquet.write(refined, target, overwrite=force)
    if allowed is not None:
        note(held(allowed))
    if json_:
        _print_counts(refined, target, method)
    _tell(refined, target, f"fercleaner trial {set_options.again(dataset, *search_options.words)}")


def _note_on_balance(rule: Method, samples: Samples) -> None:
    """Say where a method that takes the frequencies of the wild is given labels that lie evenly."""
    from fercleaner.noise.class_priors import WILD, balanced_by_hand, base_rates

    from .console import note

    wild = getattr(rule, "base_rates", "") == WILD and base_rates(samples.classes, WILD) is not None
    if wild and balanced_by_hand(samples.given):
        note(
            "The labels lie evenly on the classes, as in sets balanced by hand; in the wild they do not. If this "
            "set is one of those, add --set base_rates=even."
        )


def _target(out: Path | None, dataset: Path) -> Path:
    """Return the file to write; InputError where it is no Parquet, StoreError where another set's stands there."""
    from fercleaner.core.errors import InputError

    target = out or Path(f"{set_name(dataset)}.refined.parquet")
    if target.suffix.lower() not in ENDINGS and not target.is_dir():
        raise InputError(
            f"--out {target}: refined files are Parquet; give the file the ending .parquet. fercleaner export makes "
            "a .csv or an .npz of it."
        )
    if out is None:
        _check_made_from(target, dataset)
    return target


def _search_shard(
    text: str, dataset: Path, method: Method, set_options: SetOptions, search_options: SearchOptions
) -> dict[str, Any]:
    """Search one part of a set's neighbors; return which, and how many faces it has searched and others have yet to."""
    from fercleaner.core.errors import InputError, StoreError
    from fercleaner.extraction.shards import Shard
    from fercleaner.pipeline.refine import search_neighbors

    from .console import progress_callbacks

    if search_options.neighbors is None:
        raise InputError("--shard searches one part of the neighbors. Name where parts are kept: --neighbors DIR.")
    if search_options.engine is Engine.ray:
        raise InputError("--shard is one part, and --engine ray does all of them. Leave one out.")
    shard = Shard.parse(text)
    samples, sources, resources = set_options.open(dataset)
    try:
        with progress_callbacks() as callbacks, search_options.searching(resources, shard) as resources:
            search_neighbors(samples, method, sources, resources, callbacks)
    except StoreError as error:
        raise StoreError(f"Part {shard}: {error}") from error
    done: Any = resources.searcher
    return {"shard": str(shard), "neighbors": search_options.neighbors, "searched": done.found, "missing": done.missing}


def _tell_shard(done: dict[str, Any], last: dict[str, Any], again: str, as_json: bool) -> None:
    """Say what is done and what others have still to do, which options count in the last run alone, and that run."""
    from .console import note, print_json

    if unused := [name for name, value in last.items() if words_of({name: value})]:
        note(f"A part holds neighbors alone: {', '.join(unused)} change nothing here, and count in the last run.")
    left = (
        f"{done['missing']:,} are missing yet: other parts. Faces in groups that are found then are searched once "
        "more: run all parts again for that, or leave it to the last run."
    )
    note(
        f"Part {done['shard']}: neighbors of {done['searched']:,} faces searched, over all views. "
        f"{left if done['missing'] else 'All are there.'}\nNext: fercleaner refine {again}"
    )
    if as_json:
        print_json(done)


def _allowed(memory: str | None, method: Method, precision: float | None) -> int | None:
    """Return the bytes of --memory; InputError where it is no size, or nothing can be promised of the method."""
    from fercleaner.pipeline.memory import check_promise

    from .cache import bytes_in

    allowed = None if memory is None else bytes_in(memory, "--memory")
    check_promise(allowed, method, precision=precision is not None)
    return allowed


def _print_counts(refined: RefinedSet, target: Path, method: str) -> None:
    from .console import print_json

    counts = {name: int(getattr(refined, name).sum()) for name in ("labeled", "flagged", "changed")}
    kept = {
        name: refined.metadata[name] for name in ("precision", "decisions", "annotators") if name in refined.metadata
    }
    print_json({"file": str(target), "method": method, "faces": len(refined), **counts, **kept})


def _tell(refined: RefinedSet, target: Path, trial: str) -> None:
    """Say what became of the set, what to mind, and what can be done next."""
    from fercleaner.results.summary import nearly_lost, unseen

    from .console import note, share, words

    labeled, flagged, changed = (int(rows.sum()) for rows in (refined.labeled, refined.flagged, refined.changed))
    if no_evidence := int(unseen(refined).sum()):
        left_out = f"{words('fercleaner', 'export', target)} FILE.csv --drop-unseen"
        note(
            f"No evidence about {share(no_evidence, len(refined))} faces: their given labels stay, at the weight of "
            f"one that nothing contradicts, and `reason` says why. {left_out} leaves them out."
        )
    for sentence in nearly_lost(refined):
        note(sentence)
    if labeled and not flagged:
        note(
            "No label is flagged: they are right, or this evidence does not tell the classes apart on a set of this "
            f"size. Which of the two: {trial}"
        )
    if flagged > FLAGGED_MOST * labeled:
        said = "as many are wrong, or this evidence does not tell the classes apart, and the flags mean nothing"
        which = f"Which of the two: {trial}"
        if "decisions" in refined.metadata:
            said += ", or decisions contradict what it is sure of"
            which = "Which of these: the same command without --decisions, beside the note on what they changed"
        note(f"{share(flagged, labeled)} labels are flagged: {said}. {which}")
    note(
        f"Wrote {target}: {len(refined):,} faces; flagged {share(flagged, labeled)}, "
        f"changed {share(changed, labeled)}.\nNext: {words('fercleaner', 'show', target)}"
    )


def _annotated(
    samples: Samples, file: Path, options: ReadOptions | None
) -> tuple[Samples, Callable[[Any], dict[str, Any]]]:
    """Return the samples with what several people say as given labels, and what reports on them by a run's answer."""
    from fercleaner.datasets.annotators import annotated, read_annotations
    from fercleaner.noise.annotators import report

    from .console import note, share

    annotations = read_annotations(file, samples, options)
    started, found = annotated(samples, annotations)
    note(
        f"Annotators: {len(annotations.face):,} labels by {len(annotations.people):,} people; "
        f"{share(int(annotations.labeled.sum()), len(samples))} faces have one. Dawid-Skene's distributions are the "
        "given labels; `fercleaner show` says how good each person is."
    )
    return started, lambda distribution: report(annotations, found, samples.ids, distribution)


def _read_decisions(files: list[Path] | None, samples: Samples) -> Decisions | None:
    """Return what people decided about the faces of a set, with a note on what does not count; None without files."""
    if not files:
        return None
    from fercleaner.review.exchange import read_decisions

    from .console import note

    decided = read_decisions(files, samples.classes, samples)
    if decided.unreadable:
        note(f"Decisions: {decided.unreadable} lines cannot be read and do not count (a crash may have torn one).")
    if decided.conflicts:
        left = sum(conflict.settled_as is None for conflict in decided.conflicts)
        logs = " ".join(f"--conflicts {file}" for file in files)
        note(
            f"Decisions: people disagree on {len(decided.conflicts):,} faces; {left:,} without a majority stay "
            f"undecided. fercleaner review FILE {logs} lists them."
        )
    other, compared = decided.made_of_others(samples)
    if other:
        note(
            f"Decisions: of {compared:,} faces, {other:,} have another given label here than the reviewer was shown. "
            "Are the decisions of another set whose faces have the same ids?"
        )
    return decided


def _say_what_changed(refined: RefinedSet, before: Path) -> None:
    """Say what was decided and, where an older file stands at the target, what that changed."""
    from fercleaner.core.errors import FercleanerError
    from fercleaner.core.text import counted
    from fercleaner.results import parquet
    from fercleaner.results.difference import compare

    from .console import note, share

    done = refined.metadata["decisions"]
    note(
        f"Decisions: {counted(done['faces'], 'face is', 'faces are')} certain ({done['against_given']:,} against "
        f"their given label, {done['two_classes']:,} ambiguous, {done['not_a_face']:,} not a face), "
        f"by {', '.join(done['by']) or 'nobody'}."
    )
    if done["not_in_set"]:
        note(f"Decisions: {counted(done['not_in_set'], 'decided face is', 'decided faces are')} not in this set.")
    if before.is_file():
        try:
            older = compare(parquet.load(before), refined)
        except FercleanerError:
            return
        note(
            f"Against {before} as it was: {share(older.labels, older.common)} refined labels differ, "
            f"{share(older.flags, older.common)} flags."
        )


def said(dataset: Path) -> str:
    """Return a set's own name with its ending, or "/" after a folder's: "faces.csv", "faces/"."""
    whole = Path(os.path.abspath(dataset))
    return whole.name if whole.is_file() else f"{whole.name}/"


def _check_made_from(target: Path, dataset: Path) -> None:
    """Raise StoreError where the file that a set goes to by default was made from another set (faces/, faces.csv)."""
    from fercleaner.core.errors import StoreError
    from fercleaner.results import parquet

    before = parquet.header(target).get("made_from", "") if target.is_file() else ""
    if before not in ("", said(dataset)):
        raise StoreError(
            f"{target} was made from {before}, not from {said(dataset)}. Name another file: --out FILE; or this one, "
            f"to replace it: --out {target} --force."
        )


def set_name(dataset: Path) -> str:
    """Return what a set is called in file names: its folder's name, or its file's without the ending."""
    whole = Path(os.path.abspath(dataset))
    return (whole.stem if whole.is_file() else whole.name) or "dataset"
