"""results/quality-*.json as one page of Markdown and, where matplotlib is installed, plots."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from plot import write_plots
from stamp import write_text

#: The figure that says how far a tool's own scores promise as many wrong labels as its flags hold.
GAP = "flag_calibration_gap"
#: (key, heading, which figure is best: the "highest", the "lowest", or the one "nearest 0").
COLUMNS = (
    ("average_precision", "AP", "highest"),
    ("auroc", "AUROC", "highest"),
    ("auroc_per_class", "per-class AUROC", "highest"),
    ("r_precision", "R-precision", "highest"),
    ("precision_at_100", "P@100", "highest"),
    ("flag_f1", "F1 of flags", "highest"),
    (GAP, "flag calibration", "nearest 0"),
    ("refined_accuracy", "refined accuracy", "highest"),
    ("js", "JS to votes", "lowest"),
)
#: Figures of a judgment, which labels that nobody judged have none of.
JUDGING = tuple(key for key, _, _ in COLUMNS if key not in ("refined_accuracy", "js"))


def write_tables(results: Path, tell: Callable[[str], None] = lambda sentence: None) -> list[Path]:
    """Write quality.md, and plots where they can be drawn, from the results files of a folder; return the files."""
    files = sorted(results.glob("quality-*.json"))
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    if not contents:
        return []
    write_text(results / "quality.md", page(contents))
    return [results / "quality.md", *write_plots(contents, results, tell)]


def page(contents: list[dict[str, Any]]) -> str:
    """Return the page: a table for labels as they came, one over injected noises, then each noise."""
    came = [c for c in contents if c["noise"] == "human"]
    put = [c for c in contents if c["noise"] != "human"]
    parts = [
        "# How well labels are judged\n",
        "Written by `benchmarks/quality.py` from `quality-*.json` beside it. Every tool sees the same views, folds and "
        "rows. Best of a column in bold; ± is the standard deviation over seeds. Time (processor seconds) and memory "
        "are those of the tool on top of what is shared (views, neighbors, posteriors); memory is that of the whole "
        "process. Tools in an environment of their own give wall time, in parentheses, and no memory. Flag calibration "
        "is the mean suspicion of a tool's flagged labels less the share of them that is wrong: above 0, its scores "
        "promise more than they hold; nearest 0 is best; empty where scores are not within [0, 1]. Means over noises "
        "take its size.\n",
    ]
    parts += [one_table(content, votes) for content in came for votes in content["judged"]]
    parts += [averages(group) for group in _by_bed(put)]
    parts += [one_table(content, next(iter(content["judged"]))) for content in put]
    return "\n".join(parts)


def one_table(content: dict[str, Any], votes: str) -> str:
    """Return the table of one results file at one least number of votes."""
    summary = content["summary"]
    noise = "labels as they came" if content["noise"] == "human" else content["noise"]
    lines = [
        f"## {content['bed']}, {noise}, {content['judged'][votes]:,} of {content['faces']:,} faces judged"
        + (f" (at least {votes} votes)" if content["bed"] == "ferplus" else "")
        + "\n",
        f"Seeds {', '.join(map(str, content['seeds']))}. {content['machine']['processor']}, "
        f"{content['machine']['cores']} cores, threads {content['machine']['threads']}; "
        f"fercleaner {content['versions']['fercleaner']}, commit {content['commit'][:12]}"
        f"{' with changes' if content['uncommitted_changes'] else ''}, {content['date'][:10]}.\n",
        _head("tool", [heading for _, heading, _ in COLUMNS] + ["CPU s", "peak MiB"]),
    ]
    cells = {name: {key: tool[votes][key] for key, _, _ in COLUMNS} for name, tool in summary.items()}
    means = {name: {key: cell["mean"] for key, cell in row.items()} for name, row in cells.items()}
    best = _best(means)
    for name in _order(summary, means):
        tool = summary[name]
        if name == "given label":
            cells[name] |= {key: {"mean": None, "spread": 0.0} for key in JUDGING}
        row = [_cell(cells[name][key], name in best[key]) for key, _, _ in COLUMNS]
        peak = "" if tool["peak_mib"] is None else f"{tool['peak_mib']:,.0f}"
        lines.append(f"| {_name(name, tool['ours'])} | {' | '.join(row)} | {_seconds(content, name)} | {peak} |")
    lines += [f"\n{name} was skipped: {reason}." for name, reason in content["skipped"].items()]
    return "\n".join(lines) + "\n"


def averages(contents: list[dict[str, Any]]) -> str:
    """Return the mean over injected noises of every tool that ran in all of them."""
    names = [name for name in contents[0]["summary"] if all(name in c["summary"] for c in contents)]
    means: dict[str, dict[str, float | None]] = {}
    for name in names:
        rows = [c["summary"][name][next(iter(c["judged"]))] for c in contents]
        means[name] = {}
        for key, _, _ in COLUMNS:
            values = [row[key]["mean"] for row in rows if row[key]["mean"] is not None]
            sizes = np.abs(values) if key == GAP else values
            means[name][key] = float(np.mean(sizes)) if len(values) == len(rows) else None
    best = _best(means)
    lines = [
        f"## {contents[0]['bed']}, mean over {len(contents)} injected noises\n",
        ", ".join(c["noise"] for c in contents) + f"; {contents[0]['faces']:,} faces.\n",
        _head("tool", [heading for _, heading, _ in COLUMNS]),
    ]
    ours = contents[0]["summary"]
    for name in _order(ours, means):
        shown = means[name] if name != "given label" else means[name] | dict.fromkeys(JUDGING)
        row = [_cell({"mean": shown[key], "spread": 0.0}, name in best[key]) for key, _, _ in COLUMNS]
        lines.append(f"| {_name(name, ours[name]['ours'])} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def _by_bed(contents: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    beds = dict.fromkeys(content["bed"] for content in contents)
    groups = [[c for c in contents if c["bed"] == bed] for bed in beds]
    return [group for group in groups if len(group) > 1]


def _best(means: dict[str, dict[str, float | None]]) -> dict[str, set[str]]:
    best: dict[str, set[str]] = {}
    for key, _, which in COLUMNS:
        known = {name: value for name, row in means.items() if (value := row[key]) is not None}
        known.pop("given label", None)
        if which == "nearest 0":
            known = {name: abs(value) for name, value in known.items()}
        top = (max if which == "highest" else min)(known.values(), default=None)
        best[key] = {name for name, value in known.items() if top is not None and round(value - top, 3) == 0}
    return best


def _order(summary: dict[str, Any], means: dict[str, dict[str, float | None]]) -> list[str]:
    """Ours first, then peers, each by falling average precision; the given labels last."""
    return sorted(
        means,
        key=lambda name: (
            name == "given label",
            not summary[name]["ours"],
            -(means[name]["average_precision"] or 0.0),
            name,
        ),
    )


def _seconds(content: dict[str, Any], name: str) -> str:
    """Return mean processor seconds a run; wall seconds in parentheses where the tool ran elsewhere."""
    runs = [run for run in content["runs"] if run["tool"] == name]
    processor = [run["cpu_seconds"] for run in runs if run.get("cpu_seconds") is not None]
    if processor:
        return f"{np.mean(processor):.1f}"
    return "" if name == "given label" else f"({np.mean([run['seconds'] for run in runs]):.1f})"


def _head(first: str, columns: list[str]) -> str:
    return f"| {first} | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}"


def _name(name: str, ours: bool) -> str:
    return f"`{name}`" if ours else name


def _cell(cell: dict[str, Any], best: bool) -> str:
    if cell["mean"] is None:
        return ""
    text = f"{cell['mean']:.3f}"
    text = f"**{text}**" if best else text
    return text + (f" ± {cell['spread']:.3f}" if cell["spread"] else "")
