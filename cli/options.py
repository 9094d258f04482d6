"""What `refine` and `evaluate --inject` share: the options on a set and its evidence, and what opens both."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

if TYPE_CHECKING:
    from fercleaner.encoders.base import Extractor
    from fercleaner.pipeline import Resources, Witnesses
    from fercleaner.types import Samples

DATA, EVIDENCE, METHOD, RUN = "Reading the set", "Evidence", "Method", "Running"

#: The network in the box: one pass serves encoder, landmarks and posteriors.
BOX, AUTO = "builtin", "auto"

#: Encoders that take no `--weights`.
WITHOUT_WEIGHTS = ("hog", "builtin")


class Opened(NamedTuple):
    """A set that was read, where its evidence comes from, and what the run may use."""

    samples: Samples
    witnesses: Witnesses
    resources: Resources


@dataclass(frozen=True)
class SetOptions:
    """How to read a set and where its evidence comes from, as the user said it; a field is an option.

    `with_set_options` gives a command these options; `open` does what they ask for.
    """

    encoder: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TAG",
            help="builtin (default), clip[:MODEL/PRETRAINED], timm:NAME, torchvision:NAME, hog, none; repeatable.",
            rich_help_panel=EVIDENCE,
        ),
    ] = None
    weights: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TAG=]FILE", help="Local checkpoint of the encoder (TAG says of which).", rich_help_panel=EVIDENCE
        ),
    ] = None
    view: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE",
            help="Vectors you have: .npy in the set's order, .npz or Parquet with ids.",
            rich_help_panel=EVIDENCE,
        ),
    ] = None
    landmarks: Annotated[
        str,
        typer.Option(
            metavar="TAG",
            help="builtin, face-alignment, mediapipe, points:FILE or none; auto: builtin where that encoder runs.",
            rich_help_panel=EVIDENCE,
        ),
    ] = AUTO
    landmark_weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Weights of the detector.", rich_help_panel=EVIDENCE)
    ] = None
    crop: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="For builtin: find the face in larger pictures (auto), pictures whole (none), or the set's boxes.",
            rich_help_panel=EVIDENCE,
        ),
    ] = "auto"
    detector_weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="YuNet's ONNX file, for --crop auto.", rich_help_panel=EVIDENCE),
    ] = None
    action_units: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Action units from your own detector (OpenFace, py-feat).", rich_help_panel=EVIDENCE
        ),
    ] = None
    layout: Annotated[str, typer.Option(help="Overrule the layout found.", rich_help_panel=DATA)] = "auto"
    classes: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Class names in order, or a class set (rafdb).", rich_help_panel=DATA),
    ] = None
    alias: Annotated[
        list[str] | None,
        typer.Option(metavar="X=Y", help="Read label X as Y; an empty Y unlabels.", rich_help_panel=DATA),
    ] = None
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where a manifest's relative paths start.", rich_help_panel=DATA),
    ] = None
    split: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Keep this split only.", rich_help_panel=DATA)
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=NAME",
            help="A manifest's column for image, label, id, split, group, site or box.",
            rich_help_panel=DATA,
        ),
    ] = None
    votes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE=VALUE",
            help="How votes become labels: given_from, ties, unknown, not_a_face.",
            rich_help_panel=DATA,
        ),
    ] = None
    group_by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Faces of one group never vote for each other: auto (the set's groups), none, or a column.",
            rich_help_panel=DATA,
        ),
    ] = "auto"
    site_by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Sites (clients, annotator pools) have noise of their own: auto (the set's), none, or a column.",
            rich_help_panel=DATA,
        ),
    ] = "auto"
    index: Annotated[str, typer.Option(help="Neighbor search: exact, ivf or hnsw.", rich_help_panel=RUN)] = "exact"
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.", rich_help_panel=RUN)] = "auto"
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="Where vectors are kept.", rich_help_panel=RUN)] = (
        None
    )
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Keep no vectors.", rich_help_panel=RUN)] = False
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode pictures; all cores by default.", rich_help_panel=RUN),
    ] = None
    seed: Annotated[int, typer.Option(help="Of every random choice.", rich_help_panel=RUN)] = 0

    @property
    def named(self) -> list[str]:
        """The options that were given another value than their default, as the user writes them."""
        return [option_name(f.name) for f in fields(self) if getattr(self, f.name) not in (f.default, [])]

    def open(self, dataset: Path) -> Opened:
        """Read the set and make ready what its evidence comes from.

        What costs nothing to check comes first: names and files; then the set; then weights.
        """
        from fercleaner.cache import FeatureCache
        from fercleaner.detection import choose_framing
        from fercleaner.encoders.vectors import read_view
        from fercleaner.extraction import usable_cores
        from fercleaner.landmarks.au_columns import from_columns
        from fercleaner.neighbors import use_gpu
        from fercleaner.pipeline import Resources, Witnesses

        from .console import note

        searched = _index(self.index)
        view_files = _view_files(self.view)
        tags = _encoder_tags(self.encoder, bool(view_files))
        weights_of = _weights(self.weights, tags)
        _check_files(self.action_units, self.landmarks, self.landmark_weights)
        use_gpu(self.device)
        framing, framed = choose_framing(self.crop, str(self.detector_weights) if self.detector_weights else None)
        samples = self._read(dataset)
        views = [read_view(name, file, samples) for name, file in view_files]
        units = from_columns(str(self.action_units), samples) if self.action_units else None
        if self.crop == "none":
            samples = samples.replacing(boxes=None)
        if BOX in tags:
            note(f"builtin: {framed}.")
        detector = self._detector(samples, tags)
        encoders = [self._encoder(tag, weights_of.get(tag), framing) for tag in tags]
        return Opened(
            samples,
            Witnesses(encoders=encoders, views=views, landmarks=detector, action_units=units),
            Resources(
                cache=None if self.no_cache else FeatureCache(self.cache),
                workers=usable_cores() if self.workers is None else self.workers,
                device=self.device,
                index=searched,
                seed=self.seed,
            ),
        )

    def _detector(self, samples: Samples, tags: list[str]) -> Any:
        """Return where landmarks come from: the set, the detector named, or None (none, or the network in the box)."""
        from fercleaner import landmarks as detectors

        from .console import note

        if self.landmarks == AUTO and samples.points is not None:
            note("Landmarks: the set's own 68 points.")
            return detectors.from_samples(samples)
        boxed = BOX in tags and self.landmarks in (AUTO, BOX) and self.landmark_weights is None
        if boxed or self.landmarks == AUTO:
            return None
        weights = str(self.landmark_weights) if self.landmark_weights else None
        return detectors.build(self.landmarks, weights=weights, device=self.device)

    def _encoder(self, tag: str, weights: Path | None, framing: Any) -> Extractor:
        from fercleaner.encoders import build, builtin

        if tag != BOX:
            return build(tag, weights=weights, device=self.device)
        parts = ("embedding",) if self.landmarks == "none" else builtin.PARTS
        return builtin.build(device=self.device, parts=parts, framing=framing)

    def _read(self, dataset: Path) -> Samples:
        """Read the set and say which layout was taken and why."""
        from fercleaner import datasets

        from .console import note, share

        columns = pairs(self.column, "--column")
        if self.group_by not in ("auto", "none"):
            columns["group"] = self.group_by
        if self.site_by not in ("auto", "none"):
            columns["site"] = self.site_by
        layout = self.layout
        if layout == "auto":
            found = datasets.recognize(dataset)
            layout = found.layout
            note(f"Layout: {layout} ({found.why})")
        samples = datasets.read(
            dataset,
            layout=layout,
            classes=[name.strip() for name in self.classes.split(",")] if self.classes else None,
            alias=pairs(self.alias, "--alias"),
            images=self.images,
            split=self.split,
            columns=columns,
            votes=_vote_rules(self.votes),
        )
        if self.group_by == "none":
            samples = samples.replacing(group=None)
        if self.site_by == "none":
            samples = samples.replacing(site=None)
        labeled = int(samples.labeled.sum())
        grouped = "" if samples.group is None else f", {len(set(samples.group.tolist())):,} groups"
        note(
            f"Read {len(samples):,} faces, {len(samples.classes)} classes{grouped}; "
            f"labeled {share(labeled, len(samples))}."
        )
        return samples


def with_set_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` for Typer, its last parameter `set_options` replaced by the options of `SetOptions`."""
    names = [field.name for field in fields(SetOptions)]
    own, shared = inspect.signature(command), inspect.signature(SetOptions)
    kept = [parameter for name, parameter in own.parameters.items() if name != "set_options"]
    hints = get_type_hints(command, include_extras=True) | get_type_hints(SetOptions, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for parameter in (*kept, *shared.parameters.values())
    ]

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        chosen = {name: values.pop(name) for name in names}
        command(**values, set_options=SetOptions(**chosen))

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def option_name(field: str) -> str:
    """Return "--group-by" for "group_by"."""
    return "--" + field.replace("_", "-")


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Return ["a=b", ...] as a mapping; InputError names the option where "=" is missing."""
    from fercleaner.errors import InputError

    found: dict[str, str] = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(f"{option} {text}: expected NAME=VALUE, such as {option} name=value.")
        found[key.strip()] = value.strip()
    return found


def _vote_rules(votes: list[str] | None) -> Any:
    """Return the VoteRules that --votes RULE=VALUE ask for."""
    from dataclasses import fields

    from fercleaner.datasets import VoteRules
    from fercleaner.errors import InputError, did_you_mean

    chosen: dict[str, Any] = dict(pairs(votes, "--votes"))
    known = [field.name for field in fields(VoteRules)]
    for key in chosen:
        if key not in known:
            raise InputError(f"--votes {key}: not a rule ({', '.join(known)}).{did_you_mean(key, known)}")
    if "outliers" in chosen:
        try:
            chosen["outliers"] = float(chosen["outliers"])
        except ValueError as error:
            raise InputError(f"--votes outliers={chosen['outliers']}: expected a number.") from error
    return VoteRules(**chosen)


def _view_files(texts: list[str] | None) -> list[tuple[str, Path]]:
    """Return (name, file) of each --view; InputError where a file is not there."""
    from fercleaner.encoders.vectors import parse_view
    from fercleaner.errors import InputError

    files = [parse_view(text) for text in texts or []]
    for name, file in files:
        if not file.is_file():
            raise InputError(f"--view {name}={file}: no such file.")
    return files


def _encoder_tags(tags: list[str] | None, has_views: bool) -> list[str]:
    """Return the encoders asked for; with neither encoder nor view, the default one."""
    from fercleaner import encoders
    from fercleaner.errors import InputError, did_you_mean

    if not tags:
        return [] if has_views else [encoders.DEFAULT]
    wanted = [tag.strip() for tag in tags if tag.strip() != "none"]
    for tag in wanted:
        kind = tag.partition(":")[0]
        known = [*encoders.KINDS, "none"]
        if kind not in known:
            raise InputError(f"--encoder {tag}: choose one of {', '.join(known)}.{did_you_mean(kind, known)}")
        if wanted.count(tag) > 1:
            raise InputError(f"--encoder {tag} is there twice. Name it once.")
    return wanted


def _weights(texts: list[str] | None, tags: list[str]) -> dict[str, Path]:
    """Return the weights file of each encoder that --weights names one for."""
    from fercleaner.encoders.checkpoints import given_file
    from fercleaner.errors import InputError

    files: dict[str, Path] = {}
    takers = [tag for tag in tags if tag not in WITHOUT_WEIGHTS]
    for text in texts or []:
        tag, sign, file = text.partition("=")
        if not (sign and tag in takers):
            if len(takers) != 1:
                way_out = f"Say which: --weights TAG={text}." if takers else "Leave it out, or name an --encoder."
                count = f"{len(takers)} of the encoders" if takers else "none of the encoders"
                raise InputError(f"--weights {text}: {count} ({', '.join(tags) or 'none'}) take weights. {way_out}")
            tag, file = takers[0], text
        if tag in files:
            raise InputError(f"--weights names two files for {tag}: {files[tag]} and {file}. Name one.")
        files[tag] = given_file(Path(file).expanduser())
    return files


def _check_files(action_units: Path | None, landmarks: str, landmark_weights: Path | None) -> None:
    """Raise InputError for an unknown detector, or a file that is not there."""
    from fercleaner import landmarks as detectors
    from fercleaner.errors import InputError

    if action_units is not None and not action_units.is_file():
        raise InputError(f"--action-units {action_units}: no such file.")
    kind = landmarks.strip().partition(":")[0]
    if kind == AUTO:
        if landmark_weights is not None:
            raise InputError(f"--landmark-weights {landmark_weights}: name the detector with --landmarks.")
        return
    if kind not in detectors.KINDS or kind in ("points", "none"):
        detectors.build(landmarks)
    if landmark_weights is not None and kind in ("points", "none"):
        raise InputError(
            f"--landmark-weights {landmark_weights}: --landmarks {kind} takes no weights. Name a detector."
        )


def _index(name: str) -> Any:
    from fercleaner.errors import InputError, did_you_mean
    from fercleaner.neighbors import INDEXES

    if name not in INDEXES:
        raise InputError(f"--index {name}: choose one of {', '.join(INDEXES)}.{did_you_mean(name, INDEXES)}")
    return name
