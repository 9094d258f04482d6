"""`fercleaner evaluate`: a refined file against a truth, or methods against noise injected into a set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import SetOptions, with_set_options

if TYPE_CHECKING:
    from fercleaner.pipeline.trial import Figure, Trial

TRUTH, TRIAL = "A refined file against a truth", "Methods against injected noise"

#: Defaults of options that belong to one use alone: an option with another value was named.
MIN_VOTES, ALL, SEEDS = 6.0, "all", 3
#: Options of a set that also say what the labels of a truth mean.
OF_LABELS = ("--classes", "--alias")


@with_set_options
def evaluate(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|DATASET",
            help="A refined Parquet file (with --truth), or a set to try methods on (with --inject).",
            show_default=False,
        ),
    ],
    *,
    truth: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV with votes a class, or with a clean label column.", rich_help_panel=TRUTH
        ),
    ] = None,
    min_votes: Annotated[
        float, typer.Option(help="Judge rows whose top vote has at least this many.", rich_help_panel=TRUTH)
    ] = MIN_VOTES,
    image_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column of the image in the truth file.", rich_help_panel=TRUTH),
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Column of clean labels in the truth file.", rich_help_panel=TRUTH),
    ] = None,
    inject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:RATE",
            help="Noise to put on the given labels: symmetric, asymmetric, sparse, instance, human; repeatable.",
            rich_help_panel=TRIAL,
        ),
    ] = None,
    tried: Annotated[
        str,
        typer.Option("--methods", metavar="A,B,...", help="Methods to try, or all.", rich_help_panel=TRIAL),
    ] = ALL,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each noise.", rich_help_panel=TRIAL)] = SEEDS,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    set_options: SetOptions,
) -> None:
    """Measure a refined file against votes or clean labels; or, without a truth, methods against injected noise.

    Where clean labels are numbers, --classes says of what: rafdb, say, or A,B,... in order; or --alias NUMBER=NAME.

    Examples: fercleaner evaluate set.refined.parquet --truth votes.csv --min-votes 6;
    fercleaner evaluate faces/ --inject symmetric:0.2 --inject asymmetric:0.2
    """
    if (truth is None) == (not inject):
        either = "Name one of --truth FILE (for a refined file) and --inject KIND:RATE (for a set)"
        raise typer.BadParameter(
            f"{either}, not both." if inject else f"{either}.", param_hint="'--truth' / '--inject'"
        )
    of_truth = {
        "--min-votes": min_votes != MIN_VOTES,
        "--image-column": image_column is not None,
        "--label-column": label_column is not None,
    }
    of_set = [name for name in set_options.named if name not in OF_LABELS]
    of_trial = {"--methods": tried != ALL, "--seeds": seeds != SEEDS, **dict.fromkeys(of_set, True)}
    strangers = [name for name, named in (of_truth if inject else of_trial).items() if named]
    if strangers:
        uses = ("--truth", "--inject") if inject else ("--inject", "--truth")
        raise typer.BadParameter(f"goes with {uses[0]}, not with {uses[1]}.", param_hint=f"'{strangers[0]}'")
    if truth is not None:
        _against_truth(file, truth, min_votes, image_column, label_column, set_options, json_)
    else:
        _against_noise(file, inject or [], tried, seeds, set_options, json_)


def _against_truth(
    file: Path,
    truth: Path,
    min_votes: float,
    image_column: str | None,
    label_column: str | None,
    set_options: SetOptions,
    json_: bool,
) -> None:
    from fercleaner.core.errors import StoreError
    from fercleaner.datasets.truth import read_truth
    from fercleaner.evaluation.against_truth import evaluate as measure
    from fercleaner.results import parquet

    from .console import note, print_json, print_table, share, warnings_to, words

    if file.is_dir():
        raise StoreError(
            f"{file} is a folder; --truth judges a refined file. Write one with "
            f"{words('fercleaner', 'refine', file)}, or try methods on the set itself with --inject symmetric:0.2."
        )
    refined = parquet.load(file)
    options = set_options.of_labels() if set(OF_LABELS) & set(set_options.named) else None
    with warnings_to(note):
        answer = read_truth(
            truth, refined.classes, image_column=image_column, label_column=label_column, options=options
        )
    measured = measure(refined, answer, min_votes=min_votes)
    figures, details = measured.to_dict(), measured.details()
    if json_:
        print_json(figures)
        return
    titles = {
        "noise_rate": "given labels that the truth contradicts",
        "auroc": "AUROC of finding them",
        "auroc_per_class": "AUROC, mean over given classes",
        "average_precision": "average precision",
        "r_precision": "R-precision",
        "given_accuracy": "accuracy of given labels",
        "refined_accuracy": "accuracy of refined labels",
        "js_given": "Jensen-Shannon divergence of given from the truth (bits)",
        "js_refined": "Jensen-Shannon divergence of refined from the truth (bits)",
    }
    rows = [[title, _figure(figures[key])] for key, title in titles.items()]
    rows += [
        ["mean recall per class of given labels", _figure(details["given_mean_recall"])],
        ["mean recall per class of refined labels", _figure(details["refined_mean_recall"])],
    ]
    rows += [[f"flags: {key}", _figure(value)] for key, value in figures["flags"].items()]
    print_table(f"{file} against {truth}", ["measure", "value"], rows)
    _print_classes(details["classes"])
    note(f"Judged {share(figures['judged'], figures['faces'])} faces.")
    if figures["noise_rate"] == 0:
        note(
            "The truth contradicts no given label, so nothing can be said about finding wrong ones. Is it another file?"
        )


def _print_classes(classes: list[dict[str, Any]]) -> None:
    """Write each class's given labels and how well wrong ones are found; its true faces and who calls them that."""
    from .console import print_table

    print_table(
        "By class: given labels and how many are wrong; true faces, and their recall",
        ["class", "given", "wrong", "AP", "AUROC", "true", "by given", "by refined"],
        [
            [
                row["name"],
                f"{row['given']:,}",
                f"{row['wrong']:,}",
                *(_figure(row[key], 3) for key in ("average_precision", "auroc")),
                f"{row['true']:,}",
                *(_figure(row[key], 3) for key in ("given_recall", "refined_recall")),
            ]
            for row in classes
        ],
    )


def _against_noise(
    dataset: Path, inject: list[str], tried: str, seeds: int, set_options: SetOptions, json_: bool
) -> None:
    from fercleaner import methods
    from fercleaner.core.errors import InputError
    from fercleaner.noise import injection
    from fercleaner.pipeline.trial import run_trial
    from fercleaner.results import parquet

    from .console import print_json, progress_callbacks

    noises = [injection.parse(text) for text in inject]
    everyone = tried.strip() == ALL
    names = list(methods.available()) if everyone else [name.strip() for name in tried.split(",") if name.strip()]
    if not names:
        raise InputError(f"--methods {tried}: name at least one, or all.")
    rules = [methods.build(name) for name in names]
    if dataset.is_file() and parquet.is_refined(dataset):
        raise InputError(
            f"{dataset} is a refined file; --inject tries methods on a set. Name the set that it was made from, or "
            "judge the file with --truth FILE."
        )
    samples, sources, resources = set_options.open(dataset)
    with progress_callbacks() as callbacks:
        trial = run_trial(samples, rules, noises, sources, resources, callbacks, seeds=seeds, skip_unfit=everyone)
    if json_:
        print_json(trial.to_dict())
    else:
        _print_trial(dataset, trial)
    _tell(set_options.again(dataset), trial)


def _print_trial(dataset: Path, trial: Trial) -> None:
    """Write a row for each noise and method, then a row for each method."""
    from .console import print_table

    others = ["auroc", "auroc_corrected", "r_precision", "flag_precision", "flag_recall"]
    runs = f"{trial.seeds} seed{'s' if trial.seeds > 1 else ''}"
    print_table(
        f"{dataset}: finding the flips among {trial.labeled:,} labels, {runs}; precision and recall are of flags",
        ["noise", "method", "AP", "AUROC", "corrected", "R-precision", "precision", "recall"],
        [
            [noise, name, _spread(row["average_precision"]), *(_figure(row[key].mean, 3) for key in others)]
            for noise in trial.noises
            for name, row in ((name, figures.by_noise[noise]) for name, figures in trial.methods.items())
        ],
        left=2,
    )
    print_table(
        "Over all noises, and what to expect of its flags on the labels as they are",
        ["method", "AP", "best in draws", "flags", "expected precision", "expected recall"],
        [
            [
                name,
                f"{figures.average_precision:.3f}",
                f"{100 * figures.share_best:.0f} %",
                f"{100 * figures.flagged:.1f} %",
                _figure(figures.expected_precision, 3),
                f"{figures.expected_recall:.3f}",
            ]
            for name, figures in trial.methods.items()
        ],
    )


def _tell(set_again: str, trial: Trial) -> None:
    """Say which method to take and how sure that is, what was left out, and what is assumed."""
    from fercleaner.pipeline.trial import ASSUMED

    from .console import note

    for name, why in trial.skipped.items():
        note(f"{name} was left out: {why}")
    best = trial.methods[trial.recommended]
    alike = f"; not distinguishable from it: {', '.join(trial.indistinct)}" if trial.indistinct else ""
    note(
        f"Recommended: {trial.recommended}, best in {100 * best.share_best:.0f} % of {trial.draws} bootstrap draws"
        f"{alike}.\n"
        f"Expected of its flags: precision {_figure(best.expected_precision, 2)}, recall {best.expected_recall:.2f}; "
        f"share of wrong labels in the set that this goes by: {100 * trial.noise_rate:.0f} %.\n"
        f"{' '.join(ASSUMED)}\n"
        f"Next: fercleaner refine {set_again} --method {trial.recommended}"
    )


def _figure(value: float | None, digits: int = 4) -> str:
    return "-" if value is None or value != value else f"{value:.{digits}f}"


def _spread(figure: Figure) -> str:
    return "-" if figure.mean != figure.mean else f"{figure.mean:.3f} ± {figure.spread:.3f}"
