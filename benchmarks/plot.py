"""Average precision of every tool as dots, a figure a set, from results/quality-*.json, and what runs cost as lines.

    python benchmarks/plot.py --results benchmarks/results

Writes quality-SET.svg beside the results: a panel a noise, a row a tool (best mean on top), ours filled, others hollow;
the bar is ± the standard deviation over seeds. From results/speed_float32.json it draws ../docs/images/speed.svg: CPU
seconds over faces, a panel a number of views; it holds rows of one processor alone. The same results give the same
bytes under one version of matplotlib.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MEASURE, LABEL = "average_precision", "average precision"
#: Tools that judge nothing.
LEFT_OUT = ("given label",)
SPEED = Path(__file__).parents[1] / "docs" / "images" / "speed.svg"
#: Results that it is drawn from: those of one processor of which there are most tools at most sizes.
SPEED_RESULTS = "speed_float32.json"
#: Panels side by side; inches of a panel and of a row of it.
PANELS, WIDTH, ROW = 5, 2.3, 0.2
OURS, PEERS = "#1b5e9e", "#7a7a7a"
#: Panels of the figure of speed, and marks there, of our methods and of peers.
VIEWS = (1, 2)
OWN = {"consensus": "s", "hypergraph": "^", "threshold": "D"}
MARKS = {"Datalab": "o", "SimiFeat": "v", "linear AUM": "P", "cleanlab": "X", "fastdup": "*"}
WITHOUT = "No plot: matplotlib is not installed (pip install matplotlib)."


def write_plots(
    contents: Sequence[dict[str, Any]], results: Path, tell: Callable[[str], None] = lambda sentence: None
) -> list[Path]:
    """Write a figure for every set and return the files; without matplotlib tell so and return none.

    Parameters
    ----------
    contents : sequence of dict
        Results of quality.py, one a set and noise.
    results : Path
        Folder to write to.
    """
    if importlib.util.find_spec("matplotlib") is None:
        tell(WITHOUT)
        return []
    written = []
    for bed in dict.fromkeys(content["bed"] for content in contents):
        written.append(results / f"quality-{bed}.svg")
        mine = [content for content in contents if content["bed"] == bed]
        draw(sorted(mine, key=lambda content: content["noise"] != "human"), written[-1])
    return written


def points(contents: Sequence[dict[str, Any]]) -> list[tuple[str, bool, list[tuple[float, float] | None]]]:
    """Return (tool, whether ours, (mean, spread) in each of `contents` or None), best mean over all last.

    Tools that did not run everywhere stand by the mean of where they did.
    """
    names = dict.fromkeys(name for content in contents for name in content["summary"] if name not in LEFT_OUT)
    rows = []
    for name in names:
        cells: list[tuple[float, float] | None] = []
        ours = False
        for content in contents:
            tool = content["summary"].get(name)
            cell = None if tool is None else tool[next(iter(content["judged"]))][MEASURE]
            ours = ours or bool(tool and tool["ours"])
            cells.append(None if cell is None or cell["mean"] is None else (cell["mean"], cell["spread"]))
        if any(cell is not None for cell in cells):
            rows.append((name, ours, cells))
    return sorted(rows, key=lambda row: (np.mean([cell[0] for cell in row[2] if cell is not None]), row[0]))


def draw(contents: Sequence[dict[str, Any]], file: Path) -> None:
    """Draw the results of one set into an SVG file."""
    import matplotlib as mpl

    settings: Any = {"svg.hashsalt": "fercleaner", "svg.fonttype": "none", "font.size": 8, "axes.titlesize": 8}
    with mpl.rc_context(settings):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        rows = points(contents)
        across = min(PANELS, len(contents))
        down = -(-len(contents) // across)
        figure = Figure(figsize=(WIDTH * across + 1.8, (ROW * len(rows) + 0.9) * down + 0.5), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots(down, across, squeeze=False, sharey=True)
        for axis in axes.flat[len(contents) :]:
            axis.set_visible(False)
        for k, (axis, content) in enumerate(zip(axes.flat, contents, strict=False)):
            for own, color, face in ((False, PEERS, "white"), (True, OURS, OURS)):
                found = [
                    (*cell, place)
                    for place, (_, ours, cells) in enumerate(rows)
                    if ours == own and (cell := cells[k]) is not None
                ]
                if found:
                    mean, spread, place = np.array(found).T
                    axis.errorbar(
                        mean,
                        place,
                        xerr=spread if spread.any() else None,
                        fmt="o",
                        markersize=4.5,
                        color=color,
                        markerfacecolor=face,
                        capsize=2,
                        linewidth=1,
                    )
            noise = "labels as they came" if content["noise"] == "human" else content["noise"]
            seeds = len(content["seeds"])
            axis.set_title(f"{noise} ({seeds} seed{'' if seeds == 1 else 's'})")
            axis.set_ylim(-0.6, len(rows) - 0.4)
            axis.grid(color="#e4e4e4", linewidth=0.6)
            axis.set_axisbelow(True)
            axis.spines[["top", "right", "left"]].set_visible(False)
            axis.tick_params(axis="y", length=0)
        axes[0, 0].set_yticks(range(len(rows)), [name for name, _, _ in rows])
        for line in axes:
            for text, (_, ours, _) in zip(line[0].get_yticklabels(), rows, strict=True):
                text.set_color(OURS if ours else "black")
        figure.supxlabel(f"{LABEL} of finding wrong labels", fontsize=8)
        figure.suptitle(contents[0]["bed"], fontsize=10)
        handles = [
            Line2D([], [], marker="o", linestyle="", markersize=4.5, color=OURS, label="fercleaner"),
            Line2D(
                [], [], marker="o", linestyle="", markersize=4.5, color=PEERS, markerfacecolor="white", label="peer"
            ),
        ]
        figure.legend(handles=handles, loc="outside lower left", ncols=2, frameon=False)
        partial = file.with_name(file.name + ".partial")
        figure.savefig(partial, format="svg", metadata={"Date": None, "Creator": None})
    partial.replace(file)


def speed_lines(runs: Sequence[dict[str, Any]], views: int) -> dict[str, list[tuple[int, float]]]:
    """Return (faces, CPU seconds) by tool, of this code on the CPU with indexes chosen by size; slowest tool first."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for run in sorted(runs, key=lambda run: run["faces"]):
        about = (run["views"], run["code"], run["index"], run["device"])
        if about == (views, "this", "auto", "cpu") and "cpu_s" in run:
            lines.setdefault(run["tool"], []).append((run["faces"], run["cpu_s"]))
    return dict(sorted(lines.items(), key=lambda line: -line[1][-1][1] / line[1][-1][0]))


def speed_digest(content: dict[str, Any]) -> str:
    """Return what the figure of speed carries, to tell of which results it is."""
    lines = [speed_lines(content["runs"], views) for views in VIEWS]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()


def draw_speed(content: dict[str, Any], file: Path) -> None:
    """Draw results of speed.py into an SVG file: CPU seconds over faces, in logarithms, beside a line of exponent 1."""
    import matplotlib as mpl

    settings: Any = {"svg.hashsalt": "fercleaner", "svg.fonttype": "none", "font.size": 9, "axes.titlesize": 9}
    with mpl.rc_context(settings):
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8.5, 4), layout="constrained")
        FigureCanvasSVG(figure)
        for axis, views in zip(figure.subplots(1, len(VIEWS), sharex=True, sharey=True), VIEWS, strict=True):
            lines = speed_lines(content["runs"], views)
            for tool, measured in lines.items():
                faces, seconds = np.array(measured).T
                mark, color, face = (OWN[tool], OURS, OURS) if tool in OWN else (MARKS[tool], PEERS, "white")
                axis.loglog(faces, seconds, marker=mark, color=color, markerfacecolor=face, markersize=5, label=tool)
            sizes = np.array([1e4, 1e6])
            axis.loglog(sizes, sizes * 1e-4, color="#c8c8c8", linewidth=1, linestyle=":", label="exponent 1")
            axis.set_title("one view of 512 columns" if views == 1 else f"{views} views of 512 columns")
            axis.set_xlabel("faces")
            axis.grid(color="#e4e4e4", linewidth=0.6)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False, fontsize=8)
        figure.axes[0].set_ylabel("CPU seconds of one thread")
        partial = file.with_name(file.name + ".partial")
        about = {"Date": None, "Creator": None, "Description": speed_digest(content)}
        figure.savefig(partial, format="svg", metadata=about)
    partial.replace(file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the plots of a folder of results; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args(arguments)
    files = sorted(args.results.glob("quality-*.json"))
    if not files:
        print(f"{args.results} holds no quality-*.json. Run benchmarks/quality.py first.", file=sys.stderr)
        return 1
    contents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for file in write_plots(contents, args.results, lambda sentence: print(sentence, file=sys.stderr)):
        print(f"Wrote {file}.", file=sys.stderr)
    speed = args.results / SPEED_RESULTS
    if speed.is_file() and importlib.util.find_spec("matplotlib") is not None:
        draw_speed(json.loads(speed.read_text(encoding="utf-8")), SPEED)
        print(f"Wrote {SPEED}.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
