"""How well labels are judged: our methods and their peers on the same views, folds and rows, against a truth.

    python benchmarks/quality.py --data ../shared/ferplus --noise human --seeds 0
    python benchmarks/quality.py --data ../shared/ferplus --noise symmetric:0.2 sparse:0.4 --limit 6000 --seeds 0 1
    python benchmarks/quality.py --data digits --noise symmetric:0.2 --methods hypergraph --peers SimiFeat
    python benchmarks/quality.py --data ../shared/ferplus --seeds 0 --methods consensus consensus,base_rates=none --keep

"human" takes the labels that the set came with, all faces, and judges those with a clear truth; any other noise is put
on the true labels of judged faces alone. Writes results/quality-SET-NOISE.json, then results/quality.md (and a plot a
set, where matplotlib is installed) from all such files. Peers outside this environment: see peers/outside.py.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from beds import Bed, open_bed
from case import Question, Shared, evidence_for, question, relabeled, view_summary
from peers import PEERS, PeerUnavailable, Verdict
from peers.base import K
from scoring import figures, over_seeds
from stamp import Cost, command, measured, stamp, tell, write_json
from table import write_tables

from fercleaner.core.errors import InputError
from fercleaner.methods import available, build, parameters
from fercleaner.methods.base import Method
from fercleaner.noise.injection import NoiseSpec, parse
from fercleaner.pipeline.refine import DEFAULT_K

RESULTS = Path(__file__).parent / "results"


def run_method(method: Method, asked: Question, seed: int) -> Verdict:
    """Return what a method of ours says."""
    evidence = evidence_for(method, asked.evidence, DEFAULT_K)
    answer = method.refine(evidence, np.random.default_rng(seed))
    return Verdict(
        suspicion=1.0 - answer.quality.astype(np.float64),
        flagged=answer.flagged,
        label=answer.label,
        distribution=answer.distribution.astype(np.float64),
        weight=answer.weight.astype(np.float64),
    )


def built(name: str) -> Method:
    """Return the method that "NAME" or "NAME,PARAMETER=VALUE,..." names."""
    plain, *settings = name.split(",")
    return build(plain, dict(setting.partition("=")[::2] for setting in settings))


def wanted(name: str) -> frozenset[str]:
    """Return the evidence that a method looks at."""
    method = built(name)
    return method.needs | method.optional


def judge(name: str, work: Callable[[], Verdict | dict[str, Verdict]]) -> tuple[dict[str, tuple[Verdict, Cost]], str]:
    """Run one tool; return its verdicts with their cost, and the reason where it cannot run."""
    try:
        with measured() as cost:
            said = work()
    except (PeerUnavailable, InputError) as reason:
        return {}, str(reason)
    verdicts = said if isinstance(said, dict) else {name: said}
    elsewhere = [v for v in verdicts.values() if v.seconds is not None]
    return {
        key: (v, cost if not elsewhere else Cost(v.seconds or 0.0, float("nan"), float("nan")))
        for key, v in verdicts.items()
    }, ""


def one_noise(
    shared: Shared, spec: NoiseSpec, args: argparse.Namespace, tell: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the figures of every seed and tool under one noise, and why tools were skipped."""
    bed = shared.bed
    runs: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    origin = {key: value for key, value in stamp().items() if key in {"commit", "date"}}
    for seed in args.seeds:
        samples = relabeled(bed, spec, seed, shared.vectors)
        if args.peers or any("posteriors" in wanted(name) for name in args.methods):
            asked = question(shared, samples, seed, args.device)
        else:  # nobody asks the probe
            asked = Question(replace(shared.evidence, samples=samples), None, 0.0)
        tools: list[tuple[str, bool, Callable[[], Any]]] = []
        for name in args.methods:
            tools.append((name, True, partial(run_method, built(name), asked, seed)))
        tools += [(name, False, partial(PEERS[name], asked.case)) for name in args.peers]
        given = over_votes(bed, samples.label, args)
        runs.append({"tool": "given label", "ours": False, "seed": seed, "seconds": 0.0, **given})
        tell(f"  posteriors, seed {seed}: {asked.probe_seconds:.1f} s")
        for name, own, work in tools:
            verdicts, reason = judge(name, work)
            if reason:
                skipped[name] = reason
                tell(f"  {name}: skipped, {reason}")
            for key, (verdict, cost) in verdicts.items():
                found = {
                    f"{votes:g}": figures(
                        verdict, samples.label, bed.label, bed.votes, bed.judged(votes), samples.classes
                    )
                    for votes in args.min_votes
                }
                runs.append({"tool": key, "ours": own, "seed": seed, **asdict(cost), "figures": found} | origin)
                first = found[f"{args.min_votes[0]:g}"]
                tell(
                    f"  {key}, seed {seed}: AP {first['average_precision']:.3f}, AUROC {first['auroc']:.3f}, "
                    f"{cost.seconds:.1f} s"
                )
    return runs, skipped


def earlier_runs(file: Path, bed: Bed, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the runs of an earlier results file, measured on the same faces; none where there is no file.

    Raises
    ------
    InputError
        The file was measured on others.
    """
    if not file.is_file():
        return []
    old = json.loads(file.read_text(encoding="utf-8"))
    votes = {f"{v:g}": int(bed.judged(v).sum()) for v in args.min_votes}
    if old["faces"] != len(bed.samples) or old["judged"] != votes:
        raise InputError(
            f"{file} holds {old['faces']:,} faces and judged faces {old['judged']}; this run has "
            f"{len(bed.samples):,} and {votes}. Run it again as a whole, without --keep."
        )
    runs: list[dict[str, Any]] = old["runs"]
    return runs


def together(earlier: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return both runs; of a tool and seed that ran twice, the later figures. By seed, tools as they came."""
    runs = {(run["tool"], run["seed"]): run for run in [*earlier, *now]}
    return sorted(runs.values(), key=lambda run: int(run["seed"]))


def over_votes(bed: Bed, given: Any, args: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of the given labels left as they are."""
    one_hot = np.eye(len(bed.samples.classes))[given]
    verdict = Verdict(np.zeros(len(given)), None, given, one_hot)
    return {
        "figures": {
            f"{votes:g}": figures(verdict, given, bed.label, bed.votes, bed.judged(votes), bed.samples.classes)
            for votes in args.min_votes
        }
    }


def summarized(
    bed: Bed, spec: NoiseSpec, runs: list[dict[str, Any]], skipped: dict[str, str], args: argparse.Namespace
) -> dict[str, Any]:
    """Return the content of the results file."""
    tools: dict[str, dict[str, Any]] = {}
    for run in runs:
        tools.setdefault(run["tool"], {"ours": run["ours"], "runs": []})["runs"].append(run)
    votes = [f"{v:g}" for v in args.min_votes]
    seeds = sorted({run["seed"] for run in runs})
    for name, tool in tools.items():
        ran = sorted(run["seed"] for run in tool["runs"])
        if ran != seeds:
            skipped = skipped | {name: f"for seeds other than {', '.join(map(str, ran))}"}
    return {
        "bed": bed.name,
        "noise": str(spec),
        "faces": len(bed.samples),
        "judged": {v: int(bed.judged(float(v)).sum()) for v in votes},
        "classes": list(bed.samples.classes),
        "seeds": seeds,
        "methods": {name: parameters(built(name)) for name, tool in tools.items() if tool["ours"]},
        "skipped": skipped,
        "summary": {
            name: {
                "ours": tool["ours"],
                "seconds": float(np.mean([run["seconds"] for run in tool["runs"]])),
                "peak_mib": _peak(tool["runs"]),
                **{v: over_seeds([run["figures"][v] for run in tool["runs"]]) for v in votes},
            }
            for name, tool in tools.items()
        },
        "runs": runs,
    }


def _peak(runs: list[dict[str, Any]]) -> float | None:
    known = [run["peak_mib"] for run in runs if run.get("peak_mib") is not None]
    return max(known, default=None)


def shared_evidence(
    cache: dict[bool, Shared], bed: Bed, spec: NoiseSpec, args: argparse.Namespace, tell: Callable[[str], None]
) -> Shared:
    """Return the evidence of the faces that a noise is tried on: all for labels as they came, else judged ones."""
    as_given = spec.kind == "human" and spec.rate is None
    if as_given not in cache:
        part = bed.sample(args.limit, None if as_given else args.min_votes[0])
        k = max([K, DEFAULT_K, *(int(getattr(built(name), "k", 0)) for name in args.methods)])
        tell(f"{part.name}: {len(part.samples):,} faces, views and neighbors")
        cache[as_given] = Shared.of(part, min(k, len(part.samples) - 1), args.device)
    return cache[as_given]


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments, checked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a FERPlus folder, digits, demo, or FILE.py:FUNCTION")
    parser.add_argument("--noise", nargs="+", default=["human"], help="human, or KIND:RATE; several in one run")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", default=list(available()), metavar="NAME[,PARAMETER=VALUE...]")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), metavar="NAME")
    parser.add_argument("--limit", type=int, help="faces at most, always the same ones")
    parser.add_argument("--per-class", type=int, help="judged faces of each true class at most: a balanced set")
    parser.add_argument("--min-votes", nargs="+", type=float, default=[6.0, 8.0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", action="store_true", help="keep earlier figures of tools and seeds not run now")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    args.noise = [parse(text) for text in args.noise]
    for name in args.methods:
        built(name)
    return args


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the benchmark."""
    args = parsed(arguments)
    bed = open_bed(args.data)
    bed = bed if args.per_class is None else bed.even(args.per_class, args.min_votes[0])
    if not np.isfinite(bed.top).any() and bed.votes is None:
        args.min_votes = args.min_votes[:1]
    cache: dict[bool, Shared] = {}
    for spec in args.noise:
        with measured() as cost:
            shared = shared_evidence(cache, bed, spec, args, tell)
            tell(f"{bed.name}, {spec}:")
            file = args.results / f"quality-{bed.name}-{str(spec).replace(':', '-')}.json"
            earlier = earlier_runs(file, shared.bed, args) if args.keep else []
            runs, skipped = one_noise(shared, spec, args, tell)
        if earlier:
            runs = together(earlier, runs)
            skipped = {name: why for name, why in skipped.items() if name not in {run["tool"] for run in runs}}
        content = summarized(shared.bed, spec, runs, skipped, args) | {
            "views": view_summary(dict(shared.evidence.features)),
            "shared_seconds": shared.seconds,
            "total": asdict(cost),
            **stamp(),
        }
        write_json(file, content)
        tell(f"Wrote {file}.")
    for file in write_tables(args.results, tell):
        tell(f"Wrote {file}.")


if __name__ == "__main__":
    sys.exit(main())
