"""Data to try methods on: faces, views, given labels, and what is held to be true of them.

`open_bed` takes a FERPlus folder (labels.csv, votes.csv, view_*.npy, landmarks_68.npy), "digits" (scikit-learn's, a set
with no faces in it), "demo" (drawn faces), or "FILE.py:FUNCTION", a function without arguments that returns a `Bed`.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fercleaner.core.arrays import Bools, Doubles, Floats, Ints, Strings
from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Landmarks, Samples
from fercleaner.datasets import read
from fercleaner.datasets.truth import read_truth
from fercleaner.encoders.hog import Hog
from fercleaner.encoders.vectors import read_view
from fercleaner.extraction.run import vectors_of
from fercleaner.landmarks import detect
from fercleaner.landmarks.points import PointsFile

#: Faces and seed of the drawn bed.
DEMO_FACES = 1200
DEMO_SEED = 0


@dataclass(frozen=True, eq=False)
class Bed:
    """A set with a truth to measure against; arrays in the row order of `samples`.

    Parameters
    ----------
    name : str
    samples : Samples
        As given: with the noise the set came with, if any.
    views : tuple of Features
    landmarks : Landmarks, optional
    label : (N,) int64
        True class, -1 where there is none.
    top : (N,) float32
        Votes for the true class; infinite where the truth is certain.
    votes : (N, C) float64, optional
        Distribution of the annotators' votes.
    noisy : bool
        Whether the given labels hold noise of their own.
    annotators : (N, A) int64, optional
        Label of each annotator, -1 where there is none, of a set that was given with them; no truth of the set.
    """

    name: str
    samples: Samples
    views: tuple[Features, ...]
    label: Ints
    top: Floats
    landmarks: Landmarks | None = None
    votes: Doubles | None = None
    noisy: bool = False
    annotators: Ints | None = None

    def judged(self, min_votes: float) -> Bools:
        """Which faces have a truth with at least `min_votes` votes, (N,) bool."""
        return (self.label >= 0) & (self.top >= min_votes)

    def subset(self, rows: Ints) -> Bed:
        """Return the bed of some faces alone."""
        return replace(
            self,
            samples=_samples(self.samples, rows),
            views=tuple(_features(view, rows) for view in self.views),
            landmarks=None if self.landmarks is None else _points(self.landmarks, rows),
            label=self.label[rows],
            top=self.top[rows],
            votes=None if self.votes is None else self.votes[rows],
            annotators=None if self.annotators is None else self.annotators[rows],
        )

    def sample(self, limit: int | None, min_votes: float | None = None) -> Bed:
        """Return at most `limit` faces, always the same ones; with `min_votes`, judged faces alone."""
        rows = np.arange(len(self.samples)) if min_votes is None else np.flatnonzero(self.judged(min_votes))
        if limit is not None and limit < len(rows):
            rows = np.sort(np.random.default_rng(0).choice(rows, limit, replace=False))
        return self if len(rows) == len(self.samples) else self.subset(rows)

    def even(self, most: int, min_votes: float) -> Bed:
        """Return at most `most` judged faces of each class, always the same ones: classes balanced by hand."""
        rng, rows = np.random.default_rng(0), np.flatnonzero(self.judged(min_votes))
        of_class = [rows[self.label[rows] == c] for c in range(len(self.samples.classes))]
        chosen = [rng.choice(faces, min(most, len(faces)), replace=False) for faces in of_class]
        return replace(self.subset(np.sort(np.concatenate(chosen))), name=f"even-{self.name}")


def open_bed(text: str) -> Bed:
    """Return the bed that `text` names; see the module."""
    if text == "digits":
        return digits()
    if text == "demo":
        return demo()
    file, colon, function = text.rpartition(":")
    if colon and file.endswith(".py"):
        return _from_file(Path(file), function)
    return ferplus(Path(text))


def ferplus(folder: Path) -> Bed:
    """Read FER2013's training faces with FER2013's label as given and FERPlus's votes as truth."""
    for name in ("labels.csv", "votes.csv"):
        if not (folder / name).is_file():
            raise InputError(
                f"{folder} holds no {name}. A bed is a folder with labels.csv, votes.csv and view_*.npy, 'digits', "
                "'demo', or FILE.py:FUNCTION."
            )
    samples = read(folder / "labels.csv")
    truth = read_truth(folder / "votes.csv", samples.classes)
    rows = truth.rows_of(samples.ids, samples.paths)
    found = rows >= 0
    views = sorted(folder.glob("view_*.npy"))
    if not views:
        raise InputError(f"{folder} holds no view_*.npy. Put the vectors of each view there, a row a face.")
    return Bed(
        name="ferplus",
        samples=samples,
        views=tuple(read_view(file.stem.split("_")[1], file, samples) for file in views),
        label=np.where(found, truth.label[rows], -1),
        top=np.where(found, truth.top[rows], 0),
        landmarks=_landmarks(folder / "landmarks_68.npy", samples),
        votes=np.where(found[:, None], truth.distribution[rows], 0.0),
        noisy=True,
    )


def digits() -> Bed:
    """Return scikit-learn's 1,797 handwritten digits, 8 x 8 pixels, clean labels."""
    from sklearn.datasets import load_digits

    table = load_digits()
    ids = np.array([f"digit_{row:04d}" for row in range(len(table.target))])
    label = table.target.astype(np.int64)
    samples = _clean(ids, tuple(f"digit {name}" for name in table.target_names), label)
    view = Features("pixels", ids, table.data.astype(np.float32), np.ones(len(ids), dtype=np.bool_))
    return Bed("digits", samples, (view,), label, np.full(len(ids), np.inf, dtype=np.float32))


def demo() -> Bed:
    """Draw faces with clean labels, and read them as `fercleaner refine` would: HOG, and the points drawn."""
    from fercleaner.demo import draw_dataset

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "demo"
        draw_dataset(folder, faces=DEMO_FACES, noise_rate=0.0, seed=DEMO_SEED)
        samples = read(folder)
        view = vectors_of(samples, Hog(), cache=None, workers=0)
        landmarks = PointsFile(str(folder / "landmarks.npz")).read(samples)
    top = np.full(len(samples), np.inf, dtype=np.float32)
    return Bed("demo", samples.replacing(images=None), (view,), samples.label, top, landmarks)


def _clean(ids: Strings, classes: tuple[str, ...], label: Ints) -> Samples:
    return Samples(
        ids=ids,
        classes=classes,
        given=np.eye(len(classes), dtype=np.float32)[label],
        labeled=np.ones(len(ids), dtype=np.bool_),
        paths=np.full(len(ids), ""),
    )


def _landmarks(file: Path, samples: Samples) -> Landmarks | None:
    return detect(samples, PointsFile(str(file))) if file.is_file() else None


def _from_file(file: Path, function: str) -> Bed:
    if not file.is_file():
        raise InputError(f"{file} does not exist; expected a Python file with a function '{function}'.")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None  # a .py file always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    bed = getattr(module, function)()
    if not isinstance(bed, Bed):
        raise InputError(f"{file}: {function}() returned {type(bed).__name__}, expected a Bed.")
    return bed


def _samples(samples: Samples, rows: Ints) -> Samples:
    def taken(values: Strings | None) -> Strings | None:
        return None if values is None else values[rows]

    return Samples(
        ids=samples.ids[rows],
        classes=samples.classes,
        given=samples.given[rows],
        labeled=samples.labeled[rows],
        paths=samples.paths[rows],
        split=taken(samples.split),
        group=taken(samples.group),
        site=taken(samples.site),
        layout=samples.layout,
    )


def _features(view: Features, rows: Ints) -> Features:
    notes = None if view.notes is None else view.notes[rows]
    return Features(view.view, view.ids[rows], view.values[rows], view.found[rows], view.spec, notes)


def _points(landmarks: Landmarks, rows: Ints) -> Landmarks:
    return Landmarks(
        ids=landmarks.ids[rows],
        points=landmarks.points[rows],
        found=landmarks.found[rows],
        confidence=landmarks.confidence[rows],
        blendshapes=None if landmarks.blendshapes is None else landmarks.blendshapes[rows],
        spec=landmarks.spec,
    )
