"""What `refine`, `trial` and `project` share: the options on a set and its evidence, and what opens both."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

from .checks import (
    AUTO,
    BUILTIN,
    MIRROR,
    YUNET,
    apart,
    check_files,
    check_unused,
    classes_option,
    detector_kind,
    encoder_tags,
    known_index,
    pairs,
    posterior_files,
    posteriors_option,
    view_files,
    vote_rules,
    weights_of,
    words_of,
)
from .evidence import Known, from_shards, read_beside

if TYPE_CHECKING:
    from fercleaner.core.types import Samples
    from fercleaner.datasets.options import ReadOptions
    from fercleaner.extraction.extractor import Extractor
    from fercleaner.pipeline.inputs import Resources, Sources

DATA, EVIDENCE, METHOD, RUN = "Reading the set", "Evidence", "Method", "Running"


class Opened(NamedTuple):
    """A set that was read, where its evidence comes from, and what the run may use."""

    samples: Samples
    sources: Sources
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
            metavar="[TAG=]FILE",
            help="Weights you have: of an encoder, of a landmark detector, or of yunet, which finds faces for --crop "
            "auto; TAG says of which and may be left out where one alone takes some; repeatable.",
            rich_help_panel=EVIDENCE,
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
    crop: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="For builtin: find the face in larger pictures (auto), pictures whole (none), or the set's boxes.",
            rich_help_panel=EVIDENCE,
        ),
    ] = "auto"
    action_units: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Action units from your own detector (OpenFace, py-feat).", rich_help_panel=EVIDENCE
        ),
    ] = None
    posteriors: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="builtin (default where it runs), none, mirror (the probe on mirrored pictures, for threshold), or "
            "NAME=FILE: class probabilities as .csv, .npy, .npz or Parquet. Add ,validated if the model was "
            "validated on such faces, ,learned if it was trained on these labels; repeatable.",
            rich_help_panel=EVIDENCE,
        ),
    ] = None
    layout: Annotated[str, typer.Option(help="Overrule the layout found.", rich_help_panel=DATA)] = "auto"
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Class names in order (integer labels count them), or a class set (rafdb).",
            rich_help_panel=DATA,
        ),
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
            help="How votes become labels: given_from, ties, unknown, not_a_face, outliers.",
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
    no_find_groups: Annotated[
        bool,
        typer.Option(
            "--no-find-groups",
            help="Let faces vote for each other that pass for one subject in one moment (kept apart by default).",
            rich_help_panel=DATA,
        ),
    ] = False
    identity: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Vectors of a face-verification network (as --view): pictures of one person are kept apart.",
            rich_help_panel=DATA,
        ),
    ] = None
    site_by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Sites (clients, annotator pools) have noise of their own: auto (the set's), none, or a column.",
            rich_help_panel=DATA,
        ),
    ] = "auto"
    index: Annotated[str, typer.Option(help="Neighbor search: auto, exact, hnsw or ivf.", rich_help_panel=RUN)] = "auto"
    device: Annotated[str, typer.Option(help="auto, cuda or cpu.", rich_help_panel=RUN)] = "auto"
    cache: Annotated[Path | None, typer.Option(metavar="DIR", help="Where vectors are kept.", rich_help_panel=RUN)] = (
        None
    )
    features: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Vectors of fercleaner extract, a folder or an address (s3://...): takes what is there, says what is "
            "missing, computes none.",
            rich_help_panel=RUN,
        ),
    ] = None
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

    def again(self, dataset: Path, *more: str, but: str = "") -> str:
        """Return the set, these options but one, and more words as a command line, for another command on the set."""
        given = {option_name(field.name): getattr(self, field.name) for field in fields(self)}
        return shlex.join([str(dataset), *words_of({name: given[name] for name in self.named if name != but}), *more])

    def open(self, dataset: Path) -> Opened:
        """Read the set and make ready what its evidence comes from.

        What costs nothing to check comes first: names and files; then the set; then weights.
        """
        from fercleaner.core.errors import InputError
        from fercleaner.extraction.cache import FeatureCache
        from fercleaner.extraction.detection import choose_framing
        from fercleaner.extraction.run import usable_cores
        from fercleaner.pipeline.inputs import Resources, Sources
        from fercleaner.similarity.neighbors import use_gpu

        from .console import note

        searched = known_index(self.index)
        tags = encoder_tags(self.encoder, bool(view_files(self.view)))
        said = [text for text in self.posteriors or [] if text.strip() != MIRROR]
        given, builtin_posteriors = posterior_files(said, tags)
        if given and BUILTIN in tags and not builtin_posteriors:
            note("The builtin model's posteriors are not used beside these; --posteriors builtin adds them.")
        weights = weights_of(self.weights, tags, self.landmarks, self.crop)
        use_gpu(self.device)
        framing, framed = choose_framing(self.crop, _text(weights.get(YUNET)))
        known = self.look(dataset, note)
        samples = known.samples
        posteriors = [posteriors_option(option, samples, note) for option in given]
        if self.crop == "box" and samples.boxes is None:
            raise InputError(
                f"--crop box: {dataset} says of no face where it is. Add a column box, or leave --crop out."
            )
        if self.crop == "none":
            samples = samples.replacing(boxes=None)
        if BUILTIN in (*tags, self.landmarks):
            boxed = samples.boxes is not None and self.crop == "auto"
            note(f"builtin: {'the set says where the faces are; after that, ' if boxed else ''}{framed}.")
        detector = known.landmarks or self._detector(samples, tags, weights, framing)
        encoders = [self._encoder(tag, weights.get(tag), framing) for tag in tags]
        cache = None if self.no_cache else FeatureCache(self.cache)
        if self.features is not None:
            samples, cache = from_shards(
                self.features, self.again(dataset, but="--features"), samples, encoders, detector
            )
        return Opened(
            samples,
            Sources(
                encoders=encoders,
                views=known.views,
                landmarks=detector,
                action_units=known.action_units,
                identity=known.identity,
                posteriors=posteriors,
                builtin_posteriors=builtin_posteriors,
                mirrored=len(said) < len(self.posteriors or []),
            ),
            Resources(
                cache=cache,
                workers=usable_cores() if self.workers is None else self.workers,
                device=self.device,
                index=searched,
                seed=self.seed,
                find_groups=not self.no_find_groups and self.group_by != "none",
            ),
        )

    def check_apart(self, out: Path, *given: Any) -> None:
        """Raise StoreError where `out` is a file that these options, or the values `given`, name as input."""
        apart(out, *given, *(getattr(self, field.name) for field in fields(self)))

    def look(self, dataset: Path, tell: Callable[[str], None]) -> Known:
        """Read the set and the files of evidence beside it, no picture, and tell what was read and left out."""
        if self.no_find_groups or self.group_by == "none":
            why = (
                "persons are groups that are found, and --no-find-groups and --group-by none find none. Leave one out."
            )
            check_unused({"--identity": self.identity}, why)
        files = view_files(self.view)
        check_files(self.action_units, self.landmarks)
        return read_beside(self._read(dataset, tell), files, self.identity, self.action_units, self.landmarks, tell)

    def _detector(self, samples: Samples, tags: list[str], weights: dict[str, Path], framing: Any) -> Any:
        """Return where landmarks come from: the set, the detector named, or None (none, or the builtin model)."""
        from fercleaner.landmarks import build, builtin, own_points

        from .console import note

        if self.landmarks == AUTO and samples.points is not None:
            note("Landmarks: the set's own 68 points.")
            return own_points(samples)
        if self.landmarks == AUTO or (BUILTIN in tags and self.landmarks == BUILTIN):
            return None
        given = weights.get(detector_kind(self.landmarks))
        if self.landmarks == BUILTIN:
            return builtin.build(_text(given), device=self.device, framing=framing)
        return build(self.landmarks, weights=_text(given), device=self.device)

    def _encoder(self, tag: str, weights: Path | None, framing: Any) -> Extractor:
        from fercleaner.encoders import build, builtin

        if tag != BUILTIN:
            return build(tag, weights=weights, device=self.device)
        parts = ("embedding",) if self.landmarks == "none" else builtin.PARTS
        return builtin.build(weights=weights, device=self.device, parts=parts, framing=framing)

    def of_labels(self) -> ReadOptions:
        """Return what the user said labels mean."""
        from fercleaner.datasets.options import ReadOptions

        return ReadOptions(classes=self.class_names(), alias=pairs(self.alias, "--alias"))

    def class_names(self) -> list[str] | None:
        """Return the class names, or the name of a class set, that were given."""
        return classes_option(self.classes)

    def _read(self, dataset: Path, tell: Callable[[str], None]) -> Samples:
        """Read the set; tell which layout was taken and why, and what was read of it."""
        from fercleaner import datasets
        from fercleaner.datasets.describe import sentences
        from fercleaner.datasets.groups import check_groups

        from .console import warnings_to

        columns = pairs(self.column, "--column")
        if self.group_by not in ("auto", "none"):
            columns["group"] = self.group_by
        if self.site_by not in ("auto", "none"):
            columns["site"] = self.site_by
        layout = self.layout
        if layout == "auto":
            found = datasets.recognize(dataset)
            layout = found.layout
            tell(f"Layout: {layout} ({found.why})")
        with warnings_to(tell):
            samples = datasets.read(
                dataset,
                layout=layout,
                classes=self.class_names(),
                alias=pairs(self.alias, "--alias"),
                images=self.images,
                split=self.split,
                columns=columns,
                votes=vote_rules(self.votes),
            )
        if self.group_by == "none":
            samples = samples.replacing(group=None)
        if self.site_by == "none":
            samples = samples.replacing(site=None)
        for sentence in (*sentences(samples), *check_groups(samples)):
            tell(sentence)
        return samples


def with_set_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return `command` for Typer, its parameters of dataclasses such as `SetOptions` replaced by their fields."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    own = inspect.signature(command).parameters
    shared = [one for group in groups.values() for one in inspect.signature(group).parameters.values()]
    for group in groups.values():
        hints |= get_type_hints(group, include_extras=True)
    parameters = [
        parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for parameter in (*(one for name, one in own.items() if name not in groups), *shared)
    ]

    @functools.wraps(command)
    def flat(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def option_name(field: str) -> str:
    """Return "--group-by" for "group_by"."""
    return "--" + field.replace("_", "-")
