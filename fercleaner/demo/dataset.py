"""Draw a dataset in RAF-DB's layout, with label noise of a known rate and kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from ..core.arrays import Doubles, Floats, Ints, Progress, Strings
from ..core.errors import InputError, StoreError, did_you_mean
from .actions import ACTION_UNITS, CLASSES, corrupt_labels, sample_action_units, share_out
from .drawing import as_jpeg, draw_face
from .faces import face_points, sample_pose, sample_shape
from .looks import sample_camera, sample_looks
from .replacing import BOTH, MARK, Written, install, written_before

NoiseKind: TypeAlias = Literal["pairs", "symmetric", "instance"]

#: Faces of each class in RAF-DB's basic training set, in the order of `CLASSES`; the demo's classes follow
#: their square roots, so that the rarest is rare but not lost.
RAF_DB_SIZES: Final = (1290, 281, 717, 4772, 1982, 705, 2524)

#: Two faces a class: one to be noisy, one to differ from it.
LEAST_FACES: Final = 2 * len(CLASSES)

_TEST_SHARE: Final = 0.2
_TITLE: Final = "Drawn faces by fercleaner demo"
_PARTIAL: Final = ".fercleaner-demo.partial"
_ENTRIES: Final = ("EmoLabel", "Image", "clean_labels.csv", "landmarks.npz", "action_units.csv", "README.txt")

# Labels, noise and faces draw random numbers from streams of their own: another noise leaves the faces be.
_LABEL_STREAM, _NOISE_STREAM, _FACE_STREAM = 0, 1, 2

_KINDS: Final[dict[str, str]] = {
    "pairs": "faces by chance; the wrong class from a table of likely confusions (fear with surprise, ...)",
    "symmetric": "faces by chance; any wrong class equally",
    "instance": "faces and wrong classes by what the drawn action units look like",
}


@dataclass(frozen=True)
class DemoSummary:
    """What `draw_dataset` wrote.

    `noisy` of `faces` given labels differ from the label that the face was drawn for; `noise_rate` is
    noisy / faces. `sizes` counts the faces of each class before noise.
    """

    folder: Path
    faces: int
    train: int
    test: int
    sizes: dict[str, int]
    noisy: int
    noise_rate: float
    noise: NoiseKind
    seed: int
    labels: Path
    images: Path
    clean_labels: Path
    landmarks: Path
    action_units: Path
    readme: Path


def draw_dataset(
    folder: Path,
    *,
    faces: int = 1200,
    noise_rate: float = 0.2,
    noise: NoiseKind = "pairs",
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DemoSummary:
    """Draw faces in color as a RAF-DB folder and corrupt a known share of their labels.

    Writes `EmoLabel/list_patition_label.txt` (RAF-DB's spelling; codes 1 to 7), `Image/aligned/*_aligned.jpg`
    (100 x 100), and beside them the truth: `clean_labels.csv` (image, label before noise), `landmarks.npz`
    (ids; points (N, 68, 2) float32, pixels), `action_units.csv` (image; intensity 0 to 1 of each unit drawn)
    and `README.txt`. Train and test (one face in five) both carry noise.

    Parameters
    ----------
    folder : Path
        Created where absent.
    faces : int
        At least 14. About 12 ms a face on one core.
    noise_rate : float in [0, 1)
        round(noise_rate * faces) labels are wrong, shared out over the classes by their size.
    noise : {"pairs", "symmetric", "instance"}
        "pairs": faces by chance, wrong classes by our table `actions.CONFUSIONS`; "symmetric":
        any wrong class; "instance": by what the action units look like, so that ambiguous faces go first.
    seed : int
        Not negative. The same seed and versions of NumPy and Pillow give the same bytes; the noise does not
        change the faces.
    overwrite : bool
        Replace what an earlier demo wrote into `folder`; every other file there stays.
    progress : callable, optional
        Called with (faces drawn, faces).

    Raises
    ------
    InputError
        For arguments out of range; for a folder that holds anything (unless `overwrite`), another dataset, or a demo
        whose files were changed since.
    StoreError
        When the files cannot be written.
    """
    _check(faces, noise_rate, noise, seed)
    folder = Path(folder)
    before = _check_folder(folder, overwrite)
    rng = np.random.default_rng([seed, _LABEL_STREAM])
    sizes = 2 + share_out(faces - LEAST_FACES, np.sqrt(RAF_DB_SIZES))
    clean, ids, train = _deal(sizes, rng)
    partial = folder / _PARTIAL
    try:
        (partial / "Image" / "aligned").mkdir(parents=True)
        intensity, points = _draw_all(partial / "Image" / "aligned", ids, clean, seed, progress)
        given = corrupt_labels(
            clean, intensity, rate=noise_rate, kind=noise, rng=np.random.default_rng([seed, _NOISE_STREAM])
        )
        summary = DemoSummary(
            folder=folder,
            faces=faces,
            train=train,
            test=faces - train,
            sizes=dict(zip(CLASSES, sizes.tolist(), strict=True)),
            noisy=int((given != clean).sum()),
            noise_rate=float((given != clean).mean()),
            noise=noise,
            seed=seed,
            labels=folder / "EmoLabel" / "list_patition_label.txt",
            images=folder / "Image" / "aligned",
            clean_labels=folder / "clean_labels.csv",
            landmarks=folder / "landmarks.npz",
            action_units=folder / "action_units.csv",
            readme=folder / "README.txt",
        )
        _write_labels(partial, ids, clean, given, intensity, points)
        wrong_train = int((given != clean)[:train].sum())
        (partial / "README.txt").write_text(_readme(summary, wrong_train), encoding="utf-8", newline="\n")
        install(partial, folder, before)
    except OSError as error:
        raise StoreError(
            f"{folder}: the drawn faces cannot be written ({error.strerror or error}). "
            "Free some space there (about 5 KB a face), or name another folder."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return summary


def _check(faces: int, noise_rate: float, noise: str, seed: int) -> None:
    if faces < LEAST_FACES:
        raise InputError(f"faces is {faces}, expected at least {LEAST_FACES}: two of each of the 7 expressions.")
    if not 0 <= noise_rate < 1:
        raise InputError(f"noise_rate is {noise_rate}, expected a share of the labels from 0 up to but not 1.")
    if noise not in get_args(NoiseKind):
        raise InputError(
            f"noise is '{noise}', expected one of {', '.join(get_args(NoiseKind))}."
            + did_you_mean(noise, get_args(NoiseKind))
        )
    if seed < 0:
        raise InputError(f"seed is {seed}, expected 0 or more.")


def _check_folder(folder: Path, overwrite: bool) -> Written:
    """Refuse a folder that holds something but an earlier demo, whose files are returned; clear what was left half."""
    try:
        held = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
        held = [name for name in held if name not in (MARK, BOTH, _PARTIAL)]
        before = written_before(folder) if overwrite else {}
    except NotADirectoryError as error:
        raise InputError(f"{folder} is a file, expected a folder to draw into. Name another one.") from error
    except OSError as error:
        raise InputError(f"{folder} cannot be looked into ({error.strerror}). Name another folder.") from error
    if held and not overwrite:
        more = f" and {len(held) - 1:,} more" if len(held) > 1 else ""
        raise InputError(
            f"{folder} is not empty: it holds {held[0]}{more}. Name another folder, or replace an earlier "
            "demo there with --force."
        )
    clash = [name for name in held if name in _ENTRIES]
    if clash and not before:
        raise InputError(
            f"{folder} holds {clash[0]}, which no earlier demo wrote, and --force replaces nothing but a "
            "demo. Name another folder."
        )
    shutil.rmtree(folder / _PARTIAL, ignore_errors=True)
    return before


def _deal(sizes: Ints, rng: np.random.Generator) -> tuple[Ints, Strings, int]:
    """Return the classes of all faces, training faces first, their ids, and how many are for training."""
    test_sizes = share_out(round(_TEST_SHARE * int(sizes.sum())), sizes)
    classes = np.arange(len(sizes))
    train = rng.permutation(np.repeat(classes, sizes - test_sizes))
    test = rng.permutation(np.repeat(classes, test_sizes))
    names = [f"train_{i:05d}.jpg" for i in range(1, len(train) + 1)]
    names += [f"test_{i:04d}.jpg" for i in range(1, len(test) + 1)]
    return np.concatenate([train, test]).astype(np.int64), np.array(names), len(train)


def _draw_all(folder: Path, ids: Strings, labels: Ints, seed: int, progress: Progress | None) -> tuple[Doubles, Floats]:
    """Draw every face into `folder`; return the action units (N, A) and the landmarks (N, 68, 2)."""
    intensity = np.zeros((len(ids), len(ACTION_UNITS)))
    points = np.zeros((len(ids), 68, 2), dtype=np.float32)
    for row, (name, label) in enumerate(zip(ids.tolist(), labels.tolist(), strict=True)):
        rng = np.random.default_rng([seed, _FACE_STREAM, row])
        intensity[row] = sample_action_units(label, rng)
        control = face_points(sample_shape(rng), intensity[row], sample_pose(rng))
        looks, camera = sample_looks(rng), sample_camera(rng)
        points[row] = control[:68]
        picture = draw_face(control, intensity[row], looks, camera, rng)
        (folder / name.replace(".jpg", "_aligned.jpg")).write_bytes(as_jpeg(picture, camera))
        if progress is not None:
            progress(row + 1, len(ids))
    return intensity, points


def _write_labels(folder: Path, ids: Strings, clean: Ints, given: Ints, intensity: Doubles, points: Floats) -> None:
    names = ids.tolist()

    def write(path: Path, lines: Iterable[str]) -> None:
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")

    (folder / "EmoLabel").mkdir()
    write(
        folder / "EmoLabel" / "list_patition_label.txt",
        (f"{name} {code + 1}" for name, code in zip(names, given.tolist(), strict=True)),
    )
    rows = [f"{name},{CLASSES[label]}" for name, label in zip(names, clean.tolist(), strict=True)]
    write(folder / "clean_labels.csv", ["image,label", *rows])
    header = ",".join(["image", *(f"AU{unit}" for unit in ACTION_UNITS)])
    rows = [
        ",".join([name, *(f"{value:g}" for value in values)])
        for name, values in zip(names, intensity.tolist(), strict=True)
    ]
    write(folder / "action_units.csv", [header, *rows])
    np.savez(folder / "landmarks.npz", ids=ids, points=points)


def _readme(summary: DemoSummary, wrong_train: int) -> str:
    wrong_test = summary.noisy - wrong_train
    sizes = ", ".join(f"{name} {size:,}" for name, size in summary.sizes.items())
    return f"""{_TITLE}

{summary.faces:,} cartoon faces, drawn by code; no photograph of anybody. The folder is laid out as RAF-DB.

Faces        {summary.train:,} train, {summary.test:,} test
Classes      {sizes} (before noise)
Seed         {summary.seed}
Noise kind   {summary.noise}: {_KINDS[summary.noise]}
Noise rate   {summary.noise_rate:.4f}: {summary.noisy:,} of {summary.faces:,} given labels are wrong,
             at the same rate in every class; both splits carry noise
             ({wrong_train:,} of {summary.train:,} train, {wrong_test:,} of {summary.test:,} test)

EmoLabel/list_patition_label.txt   given labels, noise included; codes 1 surprise, 2 fear, 3 disgust,
                                   4 happiness, 5 sadness, 6 anger, 7 neutral
Image/aligned/                     the pictures, 100 x 100 pixels
clean_labels.csv                   the class each face was drawn for
landmarks.npz                      ids; points (N, 68, 2): exact landmarks in pixels, iBUG order
action_units.csv                   intensity, 0 to 1, of each action unit drawn; 0 = inactive

Each face's action units are drawn from P(unit | expression) (Du, Tao and Martinez, PNAS 2014), and the
drawing sees the units alone: some faces look like another class than theirs, as in life.
"""
