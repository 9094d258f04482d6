"""Checks of what the user wrote, before anything costs time: names, files, NAME=VALUE pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from fercleaner.core.types import Posteriors, Samples

#: Let fercleaner choose.
AUTO = "auto"

#: The builtin model: one pass serves encoder, landmarks and posteriors.
BUILTIN = "builtin"
#: The probe on mirrored pictures, as posteriors.
MIRROR = "mirror"
#: What finds faces in larger pictures.
YUNET = "yunet"
#: Landmark detectors that take weights of their own.
DETECTORS = ("face-alignment", "mediapipe")
#: Encoders and detectors that take no `--weights`.
WITHOUT_WEIGHTS = ("hog", "points", "none", AUTO)


def apart(out: Path, *given: Any) -> None:
    """Raise StoreError where the file to write is one that an option or argument names, whatever --force says.

    `given` holds values of options: None, a path, or texts such as FILE, NAME=FILE and NAME=FILE,learned; or lists.
    """
    from fercleaner.core.files import check_apart

    for value in given:
        for item in value if isinstance(value, list | tuple) else [value]:
            if isinstance(item, str | Path):
                text = str(item)
                after = [text.split(sign, 1)[-1] for sign in "=:"]
                check_apart(out, dict.fromkeys([text, *after, *(part.split(",")[0] for part in after)]))


def words_of(options: Mapping[str, Any]) -> list[str]:
    """Return options by name as words of a command line: lists repeated, True bare, None, False and [] left out."""
    words = list[str]()
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is not None and item is not False:
                words += [name] if item is True else [name, str(item)]
    return words


def check_unused(options: Mapping[str, Any], why: str) -> None:
    """Raise InputError where one of these options was given, which would change nothing; `why`, and the way out."""
    from fercleaner.core.errors import InputError

    if words := words_of(options):
        raise InputError(f"{' '.join(words)}: {why}")


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """Return ["a=b", ...] as a mapping; InputError names the option where "=" is missing."""
    from fercleaner.core.errors import InputError

    found: dict[str, str] = {}
    for text in texts or []:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise InputError(f"{option} {text}: expected NAME=VALUE, such as {option} name=value.")
        found[key.strip()] = value.strip()
    return found


def vote_rules(votes: list[str] | None) -> Any:
    """Return the VoteRules that --votes RULE=VALUE ask for."""
    from fercleaner.datasets.votes import rules_of

    return rules_of(pairs(votes, "--votes"))


def view_files(texts: list[str] | None) -> list[tuple[str, Path]]:
    """Return (name, file) of each --view; InputError where a file is not there."""
    from fercleaner.core.errors import InputError
    from fercleaner.encoders.vectors import parse_view

    files = [parse_view(text) for text in texts or []]
    for name, file in files:
        if not file.is_file():
            raise InputError(f"--view {name}={file}: no such file.")
    return files


class PosteriorOption(NamedTuple):
    """One NAME=FILE of --posteriors, and what the user says of it."""

    name: str
    file: Path
    learned: bool
    near: float | None


def posterior_files(texts: list[str] | None, tags: list[str]) -> tuple[list[PosteriorOption], bool]:
    """Return the files of --posteriors and whether the builtin model gives its own; by default it does.

    `tags` are the encoders that run.
    """
    from fercleaner.core.errors import InputError

    files: list[PosteriorOption] = []
    plain = [text.strip() for text in texts or [] if "=" not in text]
    for text in plain:
        if text not in ("builtin", "none"):
            raise InputError(
                f"--posteriors '{text}' is not builtin, none, mirror or NAME=FILE, such as mine=posteriors.csv"
            )
    if "none" in plain and len(texts or []) > 1:
        raise InputError("--posteriors none leaves all out. Drop it, or the other --posteriors.")
    for text in (text for text in texts or [] if "=" in text):
        name, _, rest = text.partition("=")
        file, *words = rest.split(",") if not Path(rest).is_file() else [rest]
        unknown = [word for word in words if word not in ("learned", "validated")]
        if unknown or not name.strip() or not file:
            raise InputError(
                f"--posteriors '{text}': expected NAME=FILE, then ,learned for a model trained on these labels or "
                ",validated for one that was validated on such faces."
            )
        if not Path(file).is_file():
            raise InputError(f"--posteriors {name}={file}: no such file.")
        if "validated" in words and ("learned" in words or name.strip() == "builtin"):
            why = (
                "posteriors that learned from these labels overrule none"
                if "learned" in words
                else "how near this set is to the builtin model's home is measured, on a view named builtin"
            )
            raise InputError(f"--posteriors '{text}': {why}. Leave ,validated out.")
        near = 1.0 if "validated" in words else None
        files.append(PosteriorOption(name.strip(), Path(file), "learned" in words, near))
    if "builtin" in plain and "builtin" not in tags:
        raise InputError(
            "--posteriors builtin: the builtin model does not run. Add --encoder builtin, or name a file that holds "
            "its posteriors: --posteriors builtin=FILE."
        )
    return files, not texts or "builtin" in plain


def posteriors_option(option: PosteriorOption, samples: Samples, tell: Callable[[str], None]) -> Posteriors:
    """Read a file of --posteriors and say what was changed in it."""
    from fercleaner.datasets.posteriors import read_posteriors

    table, said = read_posteriors(option.name, option.file, samples, learned=option.learned, near=option.near)
    for sentence in said:
        tell(sentence)
    return table


def encoder_tags(tags: list[str] | None, has_views: bool) -> list[str]:
    """Return the encoders asked for; with neither encoder nor view, the default one."""
    from fercleaner import encoders
    from fercleaner.core.errors import InputError, did_you_mean

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


def classes_option(text: str | None) -> list[str] | None:
    """Return the names of "A,B,...", or of one class set; None where nothing was said."""
    return [name.strip() for name in text.split(",")] if text else None


def detector_kind(tag: str) -> str:
    """Return "face-alignment" of "face-alignment:sfd"."""
    return tag.strip().partition(":")[0]


def weights_of(texts: list[str] | None, tags: list[str], landmarks: str, crop: str | None = None) -> dict[str, Path]:
    """Return the weights file of each encoder, detector or `YUNET` that --weights names one for.

    FILE alone is for the one encoder or detector that takes weights; the builtin model, which has its own, and YuNet
    are named. YuNet's are refused where nothing looks for faces by `crop`; None where something does at any rate.
    """
    from fercleaner.core.errors import InputError
    from fercleaner.encoders.checkpoints import given_file

    files: dict[str, Path] = {}
    named = [tag for tag in [*tags, detector_kind(landmarks)] if tag not in WITHOUT_WEIGHTS]
    takers = [tag for tag in named if tag != BUILTIN]
    for text in texts or []:
        tag, sign, file = text.partition("=")
        if sign and tag in DETECTORS and tag not in named:
            raise InputError(f"--weights {text}: name the detector, too: --landmarks {tag}.")
        if not (sign and tag in (*named, YUNET)):
            if len(takers) != 1:
                way_out = f"Say which: --weights TAG={text}." if takers else "Leave it out, or name an --encoder."
                count = f"{len(takers)}" if takers else "none"
                asked = ", ".join([*tags, *(tag for tag in named if tag not in tags)]) or "none"
                raise InputError(
                    f"--weights {text}: {count} of the encoders and detectors ({asked}) take weights. {way_out}"
                )
            tag, file = takers[0], text
        if tag in files:
            raise InputError(f"--weights names two files for {tag}: {files[tag]} and {file}. Name one.")
        path = Path(file).expanduser()
        files[tag] = given_file(path) if tag in tags else path
    if crop is not None and YUNET in files:
        given = {"--weights": f"{YUNET}={files[YUNET]}"}
        if BUILTIN not in (*tags, landmarks):
            check_unused(
                given, "faces are looked for by builtin, which does not run. Add --encoder builtin, or leave it out."
            )
        if crop in ("none", "box"):
            check_unused(given, f"with --crop {crop} no face is looked for. Leave one of the two out.")
    return files


def check_files(action_units: Path | None, landmarks: str) -> None:
    """Raise InputError for an unknown detector, or a file that is not there."""
    from fercleaner import landmarks as detectors
    from fercleaner.core.errors import InputError

    if action_units is not None and not action_units.is_file():
        raise InputError(f"--action-units {action_units}: no such file.")
    kind = detector_kind(landmarks)
    if kind != AUTO and (kind not in detectors.KINDS or kind in ("points", "none")):
        detectors.build(landmarks)


def known_index(name: str) -> Any:
    """Return the kind of neighbor search; InputError for an unknown one."""
    from fercleaner.core.errors import InputError, did_you_mean
    from fercleaner.similarity.neighbors import INDEXES

    if name not in INDEXES:
        raise InputError(f"--index {name}: choose one of {', '.join(INDEXES)}.{did_you_mean(name, INDEXES)}")
    return name


def host_and_port(text: str, option: str) -> tuple[str, int]:
    """Return host and port of HOST:PORT, such as 127.0.0.1:8443 or [::1]:8443; port 0 takes a free one."""
    from fercleaner.core.errors import InputError

    host, _, port = text.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or int(port) > 65535:
        raise InputError(f"{option} {text}: expected HOST:PORT, such as 127.0.0.1:8443.")
    return host.strip("[]"), int(port)
