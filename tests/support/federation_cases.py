"""Made-up sites for the tests of federations: four classes, one view, noise of each site's own."""

from __future__ import annotations

import numpy as np

from fercleaner.core.types import Features, Samples
from fercleaner.federation.participant import Participant
from fercleaner.federation.terms import Settings
from fercleaner.methods.consensus.consensus import Consensus
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources

CLASSES = ("anger", "fear", "happiness", "neutral")
CENTERS = 1.5 * np.random.default_rng(99).normal(size=(len(CLASSES), 10))
SMALL = Settings(rounds=6, columns=64, parts=3, least_faces=20)
QUIET = Resources(find_groups=False)


def faces(site, n, *, wrong=0.2, seed=0, classes=CLASSES, width=10, encoder=None):
    """Return samples, a view and the true labels of one site; `wrong` of the labels are the next class."""
    rng = np.random.default_rng([seed, n])
    truth = rng.integers(len(CLASSES), size=n)
    vectors = (CENTERS[truth] + rng.normal(size=(n, CENTERS.shape[1])))[:, :width]
    given = np.where(rng.random(n) < wrong, (truth + 1) % len(CLASSES), truth)
    ids = np.array([f"{site}/{number:05d}.png" for number in range(n)])
    columns = np.array([classes.index(name) for name in CLASSES])
    samples = Samples(
        ids, classes, np.eye(len(classes), dtype=np.float32)[columns[given]], np.ones(n, dtype=bool), np.full(n, "")
    )
    spec = {"kind": "vectors"} if encoder is None else {"kind": "network", "model": encoder}
    view = Features("v", ids, vectors.astype(np.float32), np.ones(n, dtype=bool), spec)
    return samples, view, columns[truth]


def site(name, n, **more):
    """Return a participant and the true labels of its faces."""
    samples, view, truth = faces(name, n, **more)
    return Participant(name, samples, Consensus(k=5), Sources(views=(view,)), QUIET, Callbacks()), truth
