"""Which figure moves when a named number of a method is changed: each at half and at twice its value.

    python benchmarks/sensitivity.py --data ../shared/ferplus [--images FOLDER]

Numbers are those of the manual's table of constants (docs/pages.py) on the path of `consensus` and `hypergraph`; a
tuple's entries are changed one at a time, a whole number stays one, a share moves half way to 1, not twice. Beds:
2,000 faces of one half of FER2013's groups under their own labels, and 2,000 of the judged ones with 20 % of the true
labels flipped at random; outside views. With --images, where the paths of labels.csv start, numbers of `consensus` are
also changed on faces held back from the builtin model, seen by it and with its posteriors, under their own labels.
Written for each number: the largest change of average precision and of refined accuracy over methods and beds, and what
it was changed to. A run takes some thirty minutes of one core; it goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from by_set import heldback
from case import relabeled
from stamp import as_written, command, stamp, tell, write_json

from fercleaner import methods
from fercleaner.core.errors import FercleanerError
from fercleaner.core.groups import group_numbers
from fercleaner.core.types import Posteriors, Samples
from fercleaner.evaluation.metrics import average_precision
from fercleaner.noise.injection import parse
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import refine

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results" / "sensitivity.json"
METHODS = ("consensus", "hypergraph")
#: The bed with posteriors, on which numbers of `consensus` alone are changed.
HELD = "held back, builtin posteriors"
FACES, VOTES = 2000, 6
#: Folders whose numbers are on the path, and those of them that only cut work into blocks or bound a search.
FOLDERS = ("similarity", "classifiers", "noise", "methods/consensus", "methods/hypergraph")
ELSEWHERE = (
    *("similarity/distinct.py", "similarity/groups.py", "similarity/neighbors/", "similarity/products.py"),
    *("noise/annotators.py", "noise/injection.py", "noise/precision.py", "noise/sites.py", "noise/flip_curve.py"),
)


@dataclass(frozen=True)
class Asked:
    """A method, and what it is asked: faces under some labels, and posteriors beside their views."""

    bed: Bed
    samples: Samples
    method: str
    posteriors: tuple[Posteriors, ...] = ()


def asked_of(options: argparse.Namespace) -> dict[str, Asked]:
    """Return what each method is asked, by its name and that of the bed."""
    whole = open_bed(str(options.data))
    group = group_numbers(whole.samples.ids, whole.samples.group)
    half = whole.subset(np.flatnonzero(np.random.default_rng(0).integers(0, 2, int(group.max()) + 1)[group] == 0))
    own, judged = half.sample(FACES), half.sample(FACES, VOTES)
    vectors = np.concatenate([view.values for view in judged.views], axis=1)
    beds = {
        "own labels": (own, own.samples),
        "a fifth at random": (judged, relabeled(judged, parse("symmetric:0.2"), 0, vectors)),
    }
    asked = {f"{method}, {name}": Asked(*bed, method) for name, bed in beds.items() for method in METHODS}
    if options.images is not None:
        held, posteriors = heldback(
            whole, argparse.Namespace(half="choose", ferplus=options.data, images=options.images)
        )
        assert posteriors is not None
        asked[f"consensus, {HELD}"] = Asked(held, held.samples, "consensus", (posteriors,))
    return asked


def figures(asked: Asked) -> dict[str, float]:
    """Return average precision of 1 - quality, and refined accuracy, on judged faces."""
    bed, samples = asked.bed, asked.samples
    sources = Sources(views=list(bed.views), landmarks=bed.landmarks, posteriors=list(asked.posteriors))
    answer = refine(samples, methods.build(asked.method), sources, Resources(), Callbacks())
    rows = np.flatnonzero(bed.judged(VOTES))
    wrong = samples.label[rows] != bed.label[rows]
    return {
        "AP": float(average_precision(1 - answer.quality[rows], wrong)),
        "accuracy": float(np.mean(answer.label[rows] == bed.label[rows])),
    }


def wanted(file: str, asked: dict[str, Asked]) -> dict[str, Asked]:
    """Return those that a number of this file may move."""
    folder = file.split("/")
    return {
        key: one
        for key, one in asked.items()
        if (one.method in folder or folder[0] != "methods") and (not one.posteriors or "consensus" in folder)
    }


@contextmanager
def changed(name: str, old: Any, new: Any) -> Iterator[int]:
    """Let every module of fercleaner that knows `old` by this name know `new` meanwhile; give how many did."""
    known = [
        module
        for key, module in list(sys.modules.items())
        if key.startswith("fercleaner") and getattr(module, name, None) is old
    ]
    bound = [place for module in known for place in defaults_of(module, name)]
    before = [(function, function.__defaults__, function.__kwdefaults__) for function, _, _ in bound]
    for module in known:
        setattr(module, name, new)
    for function, place, key in bound:
        if key is None:
            values = list(function.__defaults__)
            values[place] = new
            function.__defaults__ = tuple(values)
        else:
            function.__kwdefaults__ = {**function.__kwdefaults__, key: new}
    try:
        yield len(known)
    finally:
        for module in known:
            setattr(module, name, old)
        for function, values, named in reversed(before):
            function.__defaults__, function.__kwdefaults__ = values, named


def defaults_of(module: Any, name: str) -> Iterator[tuple[Any, int, str | None]]:
    """Yield functions of a module that take the number as a default: function, place from the end, or keyword."""
    for node in ast.parse(Path(module.__file__).read_text(encoding="utf-8")).body:
        function = getattr(module, getattr(node, "name", ""), None)
        if not isinstance(node, ast.FunctionDef) or not hasattr(function, "__defaults__"):
            continue
        for place, default in enumerate(reversed(node.args.defaults), 1):
            if isinstance(default, ast.Name) and default.id == name:
                yield function, -place, None
        for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if isinstance(default, ast.Name) and default.id == name:
                yield function, 0, argument.arg


def variants(value: Any) -> list[tuple[str, Any]]:
    """Return what a number, or each entry of a tuple of numbers, is changed to, with a word for it.

    Limits that rise from one to the next still do.
    """
    if isinstance(value, tuple):
        plain = [] if len(value) > 4 or any(isinstance(one, tuple) for one in value) else list(value)
        changes = [
            (f"entry {k + 1}: {word}", (*value[:k], new, *value[k + 1 :]))
            for k, one in enumerate(plain)
            for word, new in variants(one)
        ]
        return [(word, new) for word, new in changes if plain != sorted(plain) or list(new) == sorted(new)]
    if isinstance(value, bool) or not isinstance(value, int | float) or value == 0:
        return []
    if isinstance(value, int):
        return [(f"{new}", new) for new in (max(1, value // 2), value * 2) if new != value]
    return [(f"{new:g}", new) for new in (value / 2, (1 + value) / 2 if 0.25 < value < 1 else value * 2)]


def numbers() -> Iterator[tuple[str, str, Any]]:
    """Yield file, name and value of each named number on the path."""
    sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests")]
    for constant in importlib.import_module("pages").constants():
        if not constant.file.startswith(FOLDERS) or constant.file.startswith(ELSEWHERE):
            continue
        module = importlib.import_module("fercleaner." + constant.file.removesuffix(".py").replace("/", "."))
        for name in constant.name.split(", "):
            if not name.startswith(("BLOCK", "COLUMNS")):
                yield constant.file, name, getattr(module, name)


def measured(name: str, old: Any, asked: dict[str, Asked], base: dict[str, dict[str, float]]) -> list[dict[str, Any]]:
    """Return, for each thing that a number is changed to, the largest changes of the figures, or why it was refused."""
    found = []
    for word, new in variants(old):
        row: dict[str, Any] = {"to": word, "AP": 0.0, "accuracy": 0.0}
        with changed(name, old, new):
            for key, one in asked.items():
                try:
                    now = figures(one)
                except (FercleanerError, ValueError, ArithmeticError, IndexError) as error:
                    row["refused"] = str(error).partition("\n")[0][:100]
                    break
                for what in ("AP", "accuracy"):
                    change = now[what] - base[key][what]
                    if abs(change) > abs(row[what]):
                        row[what], row[f"{what} of"] = change, key
        found.append(row)
    return found


@command
def main(arguments: Sequence[str] | None) -> None:
    """Change every number in turn and keep what moved."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    asked = asked_of(args)
    done = json.loads(args.results.read_text(encoding="utf-8")) if args.results.is_file() else {}
    base = {key: figures(one) for key, one in asked.items()}
    if done.get("base") != as_written(base):
        done = {"base": base, "numbers": []}
    there = {(one["file"], one["name"], one["value"]) for one in done["numbers"]}
    for file, name, value in numbers():
        if (file, name, repr(value)) in there:
            continue
        rows = measured(name, value, wanted(file, asked), base)
        tell(f"{file} {name}: " + "; ".join(f"{r['to']} AP {r['AP']:+.4f} accuracy {r['accuracy']:+.4f}" for r in rows))
        done["numbers"].append({"file": file, "name": name, "value": repr(value), "changes": rows})
        write_json(args.results, {**done, **stamp()})


if __name__ == "__main__":
    sys.exit(main())
