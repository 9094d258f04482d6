"""The papers' headline protocol with our refined labels: noisy training split, official test split.

    python benchmarks/papers.py --data RAF-DB --set rafdb --weights resnet18_msceleb.pth --recipe dnfer
    python benchmarks/papers.py --data RAF-DB --set rafdb --weights resnet18_msceleb.pth --system la-net --labels given
    python benchmarks/papers.py --data AffectNet --set affectnet7 --weights none --rates 0.3 --labels given soft

For every rate and seed: each training label is replaced with that chance by one of the other classes (as in the code of
LA-Net, EAC and SCN); the method refines the noisy training split; a network is trained by a paper's recipe on

    given     the noisy labels
    soft      the refined distribution, times the sample weight
    drop      the noisy labels, flagged faces left out
    weight    the noisy labels, times the sample weight
    relabel   the refined label
    truth     the labels before the noise

and tested on the official test split (AffectNet's validation split) after every epoch. The last epoch counts; the best
one stands beside it, since the code of LA-Net and DNFER chooses it by the test split. Each training is a JSON file in
results/papers; one that is there is not run again. papers.md there puts them next to published.json.

Wanted: the sets from their owners, and for the papers' accuracies a ResNet-18 of MS-Celeb-1M or ImageNet as a file.
A training of RAF-DB's 12,271 faces for 40 epochs is about 3e15 multiply-adds with ResNet-18: work for a GPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers.base import Verdict
from published import PROTOCOLS, UNREFINED, page
from recipes import RECIPES, Backbone, checked_weights, described, train
from stamp import as_written, command, measured, stamp, tell, write_json, write_text
from systems import system_of, train_system
from targets import WAYS, Targets, ways

from fercleaner import encoders, landmarks
from fercleaner.core.arrays import Ints
from fercleaner.core.errors import InputError
from fercleaner.core.types import Samples
from fercleaner.datasets import VoteRules, read, select
from fercleaner.encoders.builtin import PARTS
from fercleaner.encoders.builtin import build as build_builtin
from fercleaner.encoders.checkpoints import sha256
from fercleaner.extraction.cache import FeatureCache
from fercleaner.landmarks.points import own_points
from fercleaner.methods import available, build, parameters
from fercleaner.noise.injection import symmetric
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources
from fercleaner.pipeline.refine import refine
from fercleaner.training import RECIPES as SYSTEMS

RESULTS = Path(__file__).parent / "results" / "papers"
#: Stream of the noise's random numbers.
NOISE_STREAM = 7


@dataclass(frozen=True, eq=False)
class Splits:
    """The training split and the test split of a set, labeled faces alone."""

    train: Samples
    test: Samples

    @property
    def faces(self) -> tuple[int, int]:
        """Training and test faces."""
        return len(self.train), len(self.test)


def read_splits(args: argparse.Namespace) -> Splits:
    """Read a set's training and test split; FERPlus's votes become their majority and are then out of sight.

    Raises
    ------
    InputError
        The set is another, or lacks a split.
    """
    protocol = PROTOCOLS[args.set]
    samples = read(
        args.data,
        classes=[protocol.classes],
        images=args.images,
        votes=VoteRules(given_from="majority", ties="unlabeled"),
    )
    if samples.layout not in protocol.layouts:
        raise InputError(
            f"{args.data} has layout '{samples.layout}'; {protocol.title} comes as {' or '.join(protocol.layouts)}. "
            "Name the set that it is with --set."
        )
    names = np.full(len(samples), "") if samples.split is None else samples.split
    parts = []
    for split in ("train", protocol.test):
        rows = np.flatnonzero((names == split) & samples.labeled)
        if not len(rows):
            there = ", ".join(sorted({str(name) or "none" for name in names}))
            raise InputError(f"{args.data} has no labeled face in split '{split}' (splits: {there}); both are needed.")
        parts.append(select(samples, rows).replacing(votes=None))
    return Splits(*parts)


def noisy(samples: Samples, rate: float, seed: int) -> Samples:
    """Return `samples` with each label replaced with chance `rate` by one of the other classes."""
    rng = np.random.default_rng([seed, NOISE_STREAM])
    labels = symmetric(samples.label, len(samples.classes), rate, rng, exact=False).labels
    return samples.replacing(given=np.eye(len(samples.classes), dtype=np.float32)[labels])


def refined(samples: Samples, seed: int, args: argparse.Namespace, tell: Callable[[str], None]) -> dict[str, Targets]:
    """Return what the method makes of noisy training labels, in every way it can be trained on."""
    points: Any = None
    if args.landmarks:
        points = landmarks.build(args.landmarks, device=args.device)
    elif samples.points is not None:
        points = own_points(samples)
    found = [
        build_builtin(device=args.device, parts=PARTS)
        if tag == "builtin"
        else encoders.build(tag, weights=args.encoder_weights, device=args.device)
        for tag in args.encoder
    ]
    answer = refine(
        samples,
        build(args.method),
        Sources(encoders=found, landmarks=points),
        Resources(
            cache=FeatureCache(args.cache) if args.cache else None,
            workers=args.workers,
            device=args.device,
            seed=seed,
        ),
        Callbacks(note=lambda sentence: tell(f"    {sentence}")),
    )
    verdict = Verdict(
        suspicion=1.0 - answer.quality.astype(np.float64),
        flagged=answer.flagged,
        label=answer.distribution.argmax(1),
        distribution=answer.distribution.astype(np.float64),
        weight=answer.weight.astype(np.float64),
    )
    return ways(verdict, samples.label, len(samples.classes))


def one_hot(label: Ints, n_classes: int) -> Targets:
    """Return labels as they are, every face with weight 1."""
    return Targets(np.eye(n_classes)[label], np.ones(len(label)))


@dataclass(frozen=True)
class Job:
    """One training: its file, and the settings that the file must hold for it to stand."""

    file: Path
    rate: float
    seed: int
    labels: str
    settings: dict[str, Any]

    def done(self, force: bool) -> bool:
        """Whether the training was run before.

        Raises
        ------
        InputError
            It was, with other settings.
        """
        if force or not self.file.is_file():
            return False
        old = json.loads(self.file.read_text(encoding="utf-8"))["settings"]
        differs = [key for key, value in self.settings.items() if old.get(key) != value]
        if differs:
            raise InputError(
                f"{self.file} was run with another {', '.join(differs)}. Replace it with --force, or write elsewhere "
                "with --results FOLDER."
            )
        return True


def jobs(splits: Splits, weights: Path | None, args: argparse.Namespace) -> Iterator[Job]:
    """Yield every training that is asked for, by rate, seed and labels."""
    recipe = RECIPES[args.recipe]
    name = args.recipe if args.system is None else f"{args.system} whole"
    shared = {
        "set": args.set,
        "faces": list(splits.faces),
        "classes": list(splits.train.classes),
        "backbone": args.backbone,
        "weights": None if weights is None else sha256(weights),
        "recipe": name,
        "training": described(recipe, args.epochs or recipe.epochs)
        if args.system is None
        else system_of(args).settings(),
    }
    tool = {
        "method": args.method,
        "params": parameters(build(args.method)),
        "encoder": list(args.encoder),
        "encoder_weights": None if args.encoder_weights is None else sha256(args.encoder_weights),
        "landmarks": args.landmarks,
    }
    for rate in args.rates:
        for seed in args.seeds:
            for labels in args.labels:
                own = {"rate": rate, "seed": seed, "labels": labels} | ({} if labels in UNREFINED else tool)
                version = labels if labels in UNREFINED else f"{args.method}-{labels}"
                training = name.replace(" ", "-")
                file = args.results / f"{args.set}-{args.backbone}-{training}-{rate:g}-{seed}-{version}.json"
                yield Job(file, rate, seed, labels, as_written(shared | own))


def run(splits: Splits, args: argparse.Namespace, tell: Callable[[str], None]) -> None:
    """Train on every version of the labels that is not there yet, and write a file for each."""
    weights = checked_weights(args.weights, args.backbone)
    backbone = Backbone(args.backbone, weights)
    backbone.build(len(splits.train.classes))  # a wrong checkpoint shows before any work
    versions: dict[str, Targets] = {}
    at: tuple[float, int] | None = None
    samples, judged = splits.train, False
    for job in jobs(splits, weights, args):
        if job.done(args.force):
            tell(f"  {job.file.name}: there already")
            continue
        if at != (job.rate, job.seed):
            at, judged = (job.rate, job.seed), False
            samples = noisy(splits.train, job.rate, job.seed)
            c = len(samples.classes)
            versions = {"given": one_hot(samples.label, c), "truth": one_hot(splits.train.label, c)}
        if job.labels not in versions and not judged:
            tell(f"  {args.method} on {len(samples):,} faces, noise {job.rate:g}, seed {job.seed}")
            versions |= refined(samples, job.seed, args, tell)
            judged = True
        if job.labels not in versions:
            tell(f"  {job.file.name}: left out, {args.method} leaves no face to train on")
            continue
        tell(f"  {job.file.name}")
        targets = versions[job.labels]
        with measured() as cost:
            found = trained(splits, targets, backbone, job, args, tell)
        guess = targets.distribution.argmax(1)
        content = {
            "settings": job.settings,
            "noise_rate": float((samples.label != splits.train.label).mean()),
            "label_accuracy": float((guess == splits.train.label)[targets.weight > 0].mean()),
            "faces_used": int((targets.weight > 0).sum()),
            **found,
            "total": asdict(cost),
            **stamp(),
        }
        write_json(job.file, content)


def trained(
    splits: Splits,
    targets: Targets,
    backbone: Backbone,
    job: Job,
    args: argparse.Namespace,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Train by a recipe under our loss, or by a whole system."""
    if args.system is not None:
        return train_system((splits.train, splits.test), targets, backbone, job.seed, args, tell)
    return train(
        RECIPES[args.recipe],
        backbone,
        (splits.train, np.arange(len(splits.train)), targets),
        (splits.test, np.arange(len(splits.test))),
        job.seed,
        epochs=job.settings["training"]["epochs"],
        device=args.device,
        workers=args.workers,
        tell=tell,
    )


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="the set's folder or list")
    parser.add_argument("--set", required=True, choices=list(PROTOCOLS))
    parser.add_argument("--images", type=Path, help="where the pictures are, if not beside the list")
    parser.add_argument(
        "--rates", nargs="+", type=float, default=[0.1, 0.2, 0.3], help="0 leaves the labels as they are"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--labels", nargs="+", default=["given", "soft", "drop", "weight"], choices=[*UNREFINED, *WAYS])
    parser.add_argument("--method", default="consensus", choices=list(available()), metavar="NAME")
    parser.add_argument("--encoder", nargs="+", default=["builtin"], metavar="TAG", help="of the views for the method")
    parser.add_argument("--encoder-weights", type=Path, help="of the encoder, where it is not builtin")
    parser.add_argument(
        "--landmarks", metavar="TAG", help="as in `fercleaner refine`; the set's own where it ships them"
    )
    parser.add_argument("--backbone", default="resnet18", choices=["resnet18", "small"])
    parser.add_argument("--weights", metavar="FILE|none", help="checkpoint that the backbone starts from")
    parser.add_argument("--recipe", default="dnfer", choices=list(RECIPES))
    parser.add_argument(
        "--system",
        choices=list(SYSTEMS),
        help="train by all that a paper adds to the loss (fercleaner.training), in place of --recipe",
    )
    parser.add_argument("--epochs", type=int, help="if not the recipe's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode pictures")
    parser.add_argument("--cache", type=Path, help="folder to keep the encoder's vectors in")
    parser.add_argument("--force", action="store_true", help="run again what is there")
    parser.add_argument("--results", type=Path, default=RESULTS)
    return parser.parse_args(arguments)


@command
def main(arguments: Sequence[str] | None) -> None:
    """Run the protocol."""
    args = parsed(arguments)
    if args.set == "ferplus" and "builtin" in args.encoder and set(args.labels) - set(UNREFINED):
        raise InputError(
            "The builtin model was trained on the votes of FERPlus's training faces, so that refining them "
            "with it would be no test. Name another encoder, such as --encoder clip."
        )
    if args.encoder_weights is not None and not args.encoder_weights.is_file():
        raise InputError(f"--encoder-weights {args.encoder_weights}: there is no such file. Leave it out, or name one.")
    run(read_splits(args), args, tell)
    write_text(args.results / "papers.md", page(args.results))
    tell(f"Wrote {args.results / 'papers.md'}.")


if __name__ == "__main__":
    sys.exit(main())
