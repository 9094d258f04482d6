"""The commands that write, each as small as it can be run, and the states that they are run on."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from robustness_faults import ELSEWHERE

#: Where a run that failed may leave what is no loss: vectors that need not be computed again.
CACHE = "cache"
FACES = 28
SITES = ("site-1", "site-2")

PICTURES = ("--encoder", "hog", "--landmarks", "points:set/landmarks.npz", "--workers", "0", "--device", "cpu")
#: Most commands go by vectors that are there, since only what they write is asked about.
VECTORS = ("--view", "v=v.npy", "--landmarks", "points:set/landmarks.npz", "--device", "cpu")
SMALL = ("--method", "hypergraph", "--set", "k=5")
REFINE = ("refine", "set", *VECTORS, *SMALL, "--no-cache")
FEDERATE = ("federate", "sites.csv", "--site-by", "site", *VECTORS, *SMALL, "--no-cache",
            "--rounds", "2", "--columns", "8", "--least-faces", "1")  # fmt: skip
TRAIN = (
    "train",
    "set",
    "--recipe",
    "soft",
    "--backbone",
    "small",
    "--weights",
    "none",
    "--epochs",
    "2",
    "--device",
    "cpu",
)


@dataclass(frozen=True)
class Scenario:
    """A command: its words, the paths it writes, and whether what stands there before is to be replaced."""

    words: tuple[str, ...]
    writes: tuple[str, ...]
    replaces: bool = False
    #: Said when it is run again over what a fault left behind; "" where the very same words do.
    force: str = "--force"
    #: Said in its place where the fault's run ended, without a picture that could not be read, and is kept so.
    anew: str = ""
    #: Whether the last step of a place fails too, or the first alone, where a run takes long.
    ends: bool = True


SCENARIOS: dict[str, Scenario] = {
    "refine": Scenario(
        ("refine", "set", *PICTURES, *SMALL, "--cache", CACHE, "--out", "new.parquet"), ("new.parquet",)),
    "refine --force": Scenario((*REFINE, "--out", "old.parquet", "--force"), ("old.parquet",), True),
    "refine --decisions": Scenario((*REFINE, "--decisions", "old.jsonl", "--out", "new.parquet"), ("new.parquet",)),
    "project": Scenario(
        ("project", "set", *VECTORS, "--no-cache", "--refined", "set.parquet", "--out", "new.npz"), ("new.npz",)),
    "export csv": Scenario(("export", "set.parquet", "new.csv"), ("new.csv",)),
    "export npz": Scenario(("export", "set.parquet", "new.npz"), ("new.npz",)),
    "export --force": Scenario(("export", "set.parquet", "old.csv", "--force"), ("old.csv",), True),
    "export folder": Scenario(("export", "set.parquet", "new", "--to", "folders", "--pictures", "copy"), ("new",)),
    "export own": Scenario(("export", "set.parquet", "new", "--to", "own", "--dataset", "set"), ("new",)),
    "export folder --force": Scenario(
        ("export", "set.parquet", "oldfolder", "--to", "cleanlab", "--force"), ("oldfolder",), True),
    "audit": Scenario(("audit", "set.parquet", "--out", "page"), ("page",)),
    "audit --force": Scenario(("audit", "set.parquet", "--out", "oldpage", "--force"), ("oldpage",), True),
    "audit of a set": Scenario(("audit", "set", *VECTORS, *SMALL, "--no-cache", "--out", "page"), ("page",)),
    "review list": Scenario(("review", "set.parquet", "--top", "9", "--out", "list.csv"), ("list.csv",)),
    "review log": Scenario(("log",), ("log.jsonl",), force=""),
    "review log, more": Scenario(("more",), ("old.jsonl",), force=""),
    "extract": Scenario(("extract", "set", *PICTURES, "--shard", "2/2", "--to", "shards"), ("shards",), force=""),
    "extract, workers": Scenario(("workers",), ("byworkers",), force="", ends=False),
    "cache --prune": Scenario(("cache", "--cache", "kept", "--prune", "1K"), ("kept",), force=""),
    "cache --clear": Scenario(("cache", "--cache", "kept", "--clear"), ("kept",), force=""),
    "demo": Scenario(("demo", "drawn", "--faces", "14"), ("drawn",)),
    "demo --force": Scenario(("demo", "olddemo", "--faces", "15", "--seed", "1", "--force"), ("olddemo",), True),
    "federate": Scenario((*FEDERATE, "--out", "sites"), ("sites",)),
    "site": Scenario(("site",), ("site.parquet", "site.parquet.messages"), force=""),
    "coordinate --keys-only": Scenario(
        ("coordinate", "--sites", "2", "--state", "keys", "--keys-only"), ("keys",), force=""),
    "coordinate": Scenario(("coordinator",), ("state",), force=""),
    "train": Scenario((*TRAIN, "--out", "trained"), ("trained",), force="", anew="--force"),
}  # fmt: skip

#: Run once, in this order, before any fault.
SETUP: tuple[tuple[str, ...], ...] = (
    ("demo", "set", "--faces", str(FACES)),
    ("prepare",),
    ("demo", "olddemo", "--faces", "14"),
    (*REFINE, "--out", "set.parquet"),
    (*REFINE, "--set", "alpha=0.5", "--out", "old.parquet"),
    ("export", "old.parquet", "old.csv"),
    ("export", "old.parquet", "oldfolder", "--to", "cleanlab"),
    ("audit", "old.parquet", "--out", "oldpage"),
    ("old",),
    ("refine", "set", *PICTURES, *SMALL, "--cache", "kept", "--out", "kept.parquet"),
    ("extract", "set", *PICTURES, "--shard", "1/2", "--to", "shards"),
)


def prepare() -> None:
    """Write the vectors and the list of sites that the commands read, beside the drawn set."""
    labels = Path("set/EmoLabel/list_patition_label.txt").read_text().split()
    number = np.array(labels[1::2], dtype=np.int64)
    vectors = 2 * np.eye(8)[number] + np.random.default_rng(0).normal(size=(len(number), 8))
    np.save("v.npy", vectors.astype(np.float32))
    rows = [f"{image},set/Image/aligned/{image.replace('.jpg', '_aligned.jpg')},{label},{SITES[k % 2]}"
            for k, (image, label) in enumerate(zip(labels[::2], labels[1::2], strict=True))]  # fmt: skip
    Path("sites.csv").write_text("\n".join(["id,image,label,site", *rows]) + "\n")


def run_words(words: Sequence[str]) -> int:
    """Run a command line in this process, as its own process would, and return its exit status."""
    from fercleaner.cli.app import app

    if len(words) == 1:
        return ended(OWN[words[0]])
    try:
        app(list(words), prog_name="fercleaner")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else 1
    return 0


def ended(work: Callable[[], None]) -> int:
    """Run what has no command line of its own, or one that needs a network, and end as the command line would."""
    from fercleaner.core.errors import FercleanerError

    try:
        work()
    except (FercleanerError, MemoryError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


def decide(file: str, first: int) -> None:
    """Append five decisions to a log, those that stand in it left out; say "kept ID" once it is on disk."""
    from fercleaner.review.log import Decision, DecisionLog, Entry

    names = (Path("set") / "EmoLabel" / "list_patition_label.txt").read_text().split()[::2]
    log = DecisionLog(file)
    done = {entry.id for entry in log.read().entries}
    for number, name in enumerate(names[first : first + 5]):
        if name not in done:
            log.append([Entry(name, "ann", "label", Decision("label", ("fear",)), at=f"2026-01-0{number + 1}")])
        print(f"kept {name}", flush=True)


def extract_by_workers() -> None:
    """Extract a shard with two worker processes, which start at the first picture rather than the 65th."""
    from fercleaner import datasets, encoders
    from fercleaner.datasets.assemble import select
    from fercleaner.extraction import run, workers
    from fercleaner.extraction.shards import Shard, WholeSet, extractors_of, write_shard

    workers.INLINE_PICTURES, run.CHUNK_ROWS = 0, 4
    samples = datasets.read("set")
    extractors = extractors_of([encoders.build("hog")], None)
    shard = Shard(1, 1)
    part, whole = select(samples, np.arange(len(samples))), WholeSet.of(samples)
    write_shard(shard, part, whole, extractors, Path("byworkers"), workers=2)


def _participants() -> list[Any]:
    """Return the two sites of `sites.csv`."""
    from fercleaner import datasets, landmarks, methods
    from fercleaner.encoders.vectors import read_view
    from fercleaner.federation import simulate
    from fercleaner.federation.terms import Conditions
    from fercleaner.pipeline.inputs import Callbacks, Resources, Sources

    samples = datasets.read("sites.csv", columns={"site": "site"})
    points = landmarks.build("points:set/landmarks.npz")
    sources = Sources(views=(read_view("v", Path("v.npy"), samples),), landmarks=points)
    rule = methods.build("hypergraph", {"k": "5"})
    conditions = Conditions(least_faces=1)
    return simulate.participants(samples, rule, sources, Resources(device="cpu"), Callbacks(), conditions)


def _plan() -> Any:
    from fercleaner.federation.coordinator import Plan
    from fercleaner.federation.terms import Settings

    return Plan(2, Settings(rounds=2, columns=8, least_faces=1))


class Near:
    """A coordinator in this process, asked as over the network (`federation.client.Link`)."""

    def __init__(self, coordinator: Any, site: str) -> None:
        self._coordinator, self._site = coordinator, site

    def get(self, path: str) -> Any:
        """Return what is asked for."""
        ask = {"/status": "status", "/terms": "terms_for", "/heads": "current"}[path]
        return getattr(self._coordinator, ask)(self._site)

    def post(self, path: str, body: bytes) -> Any:
        """Hand a message over."""
        from fercleaner.federation import messages

        return getattr(self._coordinator, path[1:])(self._site, messages.decode(body, self._site))


def coordinate() -> None:
    """Hold a federation of two sites; a coordinator that finds a state goes on with it."""
    from fercleaner.federation.coordinator import Coordinator
    from fercleaner.federation.messages import of_hello, of_update
    from fercleaner.federation.terms import PROTOCOL, Terms

    sites = _participants()
    coordinator = Coordinator(Path("state"), _plan(), lambda _: None)
    for site in sites:
        coordinator.hello(site.name, of_hello(site.hello(), PROTOCOL))
    for site in sites:
        told = coordinator.terms_for(site.name)
        site.begin(Terms.from_dict(told.fields["terms"]), told.fields["part"])
    while not coordinator.done:
        for site in sites:
            if not coordinator.done and not coordinator.status(site.name)["have"]:
                at = coordinator.current(site.name)
                coordinator.update(site.name, of_update(site.update(at.arrays["heads"]), at.fields["round"] + 1))


def take_part() -> None:
    """Take part in a federation whose coordinator and other site are elsewhere, and write what `site` writes."""
    import threading

    from fercleaner.federation import client
    from fercleaner.federation.coordinator import Coordinator
    from fercleaner.federation.messages import MessageLog
    from fercleaner.results import parquet

    here, other = _participants()
    elsewhere = Path("..") / ELSEWHERE
    shutil.rmtree(elsewhere, ignore_errors=True)
    coordinator = Coordinator(elsewhere / "state", _plan(), lambda _: None)
    partner = threading.Thread(
        target=client.take_part, args=(other, Near(coordinator, other.name), MessageLog(elsewhere / "other")),
        kwargs={"poll": 0.01}, name=ELSEWHERE, daemon=True)  # fmt: skip
    partner.start()
    target = Path("site.parquet")
    log = MessageLog(Path("site.parquet.messages"))
    link: Any = Near(coordinator, here.name)
    head, rounds = client.take_part(here, link, log, poll=0.01)
    parquet.write(here.finish(head, rounds), target, overwrite=True)


OWN: dict[str, Callable[[], None]] = {
    "prepare": prepare,
    "old": lambda: decide("old.jsonl", 0),
    "log": lambda: decide("log.jsonl", 0),
    "more": lambda: decide("old.jsonl", 5),
    "workers": extract_by_workers,
    "coordinator": coordinate,
    "site": take_part,
}
