"""`fercleaner trial`: methods on a set with injected noise, to see which finds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .checks import MIRROR
from .evaluate import figure
from .options import SetOptions, with_set_options
from .search import SearchOptions

if TYPE_CHECKING:
    from fercleaner.pipeline.trial_figures import Figure, Trial

TRIAL = "Trial"

#: What `--methods` takes for every method.
ALL = "all"


@with_set_options
def trial(
    dataset: Annotated[Path, typer.Argument(help="Folder, list or table of the set.", show_default=False)],
    *,
    inject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KIND:RATE",
            help="Noise to put on the given labels: symmetric, asymmetric, sparse, instance, human; "
            "repeatable; by default four kinds, 5 % each.",
            rich_help_panel=TRIAL,
            show_default=False,
        ),
    ] = None,
    tried: Annotated[
        list[str] | None,
        typer.Option(
            "--methods", metavar="A,B,...", help="Methods to try; all by default; repeatable.", rich_help_panel=TRIAL
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Runs of each noise; by default 3 of each that is named.",
            rich_help_panel=TRIAL,
            show_default=False,
        ),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    set_options: SetOptions,
    search_options: SearchOptions,
) -> None:
    """Find out which method suits a set: flip labels on purpose and see which method finds the flips.

    Example: fercleaner trial faces/ --methods hypergraph,consensus
    """
    from fercleaner import methods
    from fercleaner.core.errors import InputError
    from fercleaner.noise import injection
    from fercleaner.pipeline.trial import NOISES, SEEDS, run_trial
    from fercleaner.results import parquet

    from .console import print_json, progress_callbacks, words

    noises = [injection.parse(text) for text in inject or []] or list(NOISES)
    seeds = seeds or (SEEDS if inject else None)
    named = [name.strip() for text in tried or [ALL] for name in text.split(",") if name.strip()]
    everyone = named == [ALL]
    names = list(methods.available()) if everyone else named
    if not names:
        raise InputError(f"--methods {' '.join(tried or [])}: name at least one, or all.")
    rules = [methods.build(name) for name in names]
    if dataset.is_file() and parquet.is_refined(dataset):
        raise InputError(
            f"{dataset} is a refined file; a trial takes a set. Name the set that it was made from, or judge the file: "
            f"{words('fercleaner', 'evaluate', dataset)} --truth FILE."
        )
    search_options.check(dataset, set_options)
    samples, sources, resources = set_options.open(dataset)
    with progress_callbacks() as callbacks, search_options.searching(resources) as resources:
        done = run_trial(samples, rules, noises, sources, resources, callbacks, seeds=seeds, skip_unfit=everyone)
    if json_:
        print_json(done.to_dict())
    else:
        _print(dataset, done)
    _tell(_taken(done.leading, set_options).again(dataset, *search_options.words), done)


def _taken(name: str, set_options: SetOptions) -> SetOptions:
    """Return the options without --posteriors mirror where that method uses no posteriors and would refuse it."""
    from fercleaner import methods

    method = methods.build(name)
    if "posteriors" in method.needs | method.optional:
        return set_options
    return replace(set_options, posteriors=[text for text in set_options.posteriors or [] if text.strip() != MIRROR])


def _print(dataset: Path, trial: Trial) -> None:
    """Write a row for each noise and method, then a row for each method."""
    from .console import print_table

    others = ["auroc", "r_precision", "accuracy", "flag_precision", "flag_recall"]
    counts = f"{trial.believed:,} of {trial.labeled:,}"
    runs = f"{trial.seeds} seed{'s' if trial.seeds > 1 else ''}"
    print_table(
        f"{dataset}: finding flips of {counts} labels, those most methods believe; {runs}",
        ["noise", "method", "AP", "AUROC", "R-precision", "accuracy", "flag precision", "flag recall"],
        [
            [noise, name, _spread(row["average_precision"]), *(figure(row[key].mean, 3) for key in others)]
            for noise in trial.noises
            for name, row in ((name, figures.by_noise[noise]) for name, figures in trial.methods.items())
        ],
        left=2,
    )
    print_table(
        "Over all noises, and what to expect of its flags on the labels as they are",
        ["method", "score", "95 %", "AP", "accuracy", "flags", "expected precision", "expected recall"],
        [
            [
                name,
                f"{figures.score:.3f}",
                f"{figures.interval[0]:.3f} to {figures.interval[1]:.3f}",
                f"{figures.average_precision:.3f}",
                f"{figures.accuracy:.3f}",
                f"{100 * figures.flagged:.1f} %",
                figure(figures.expected_precision, 3),
                f"{figures.expected_recall:.3f}",
            ]
            for name, figures in trial.methods.items()
        ],
    )


def _tell(set_again: str, trial: Trial) -> None:
    """Say which method to take and how sure that is, what was left out, and what is assumed."""
    from fercleaner.pipeline.trial_figures import ASSUMED

    from .console import note

    for name, why in trial.skipped.items():
        note(f"{name} was left out: {why}")
    best = trial.methods[trial.leading]
    sure = f"{100 * best.share_best:.0f} % of {trial.draws} bootstrap draws"
    if trial.recommended is None:
        first = (
            f"No recommendation: {trial.leading} has the highest score, in {sure}, but cannot be told from "
            f"{', '.join(trial.indistinct)} on this set."
        )
    else:
        first = f"Recommended: {trial.recommended}, best in {sure}."
        best_score = next(iter(trial.methods))
        if best_score != trial.recommended:
            why = "cannot be told from it" if len(trial.noises) > 1 else "one kind of noise does not decide"
            first += f" It is the default; {best_score} has a higher score here, but {why}."
        elif trial.indistinct:
            first += f" It is the default; {', '.join(trial.indistinct)} cannot be told from it on this set."
    span = best.precision_range
    between = "" if span is None else f" ({span[0]:.2f} to {span[1]:.2f})"
    note(
        f"{first}\n"
        f"Expected of the flags of {trial.leading}: precision {figure(best.expected_precision, 2)}{between}, recall "
        f"{best.expected_recall:.2f}; share of wrong labels in the set, by all methods: "
        f"{100 * trial.noise_rate:.0f} %.\n"
        f"{' '.join(ASSUMED)}\n"
        f"Next: fercleaner refine {set_again} --method {trial.leading}"
    )


def _spread(measured: Figure) -> str:
    return "-" if measured.mean != measured.mean else f"{measured.mean:.3f} ± {measured.spread:.3f}"
