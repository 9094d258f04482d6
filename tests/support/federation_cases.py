"""Made-up sites for the tests of federations: four classes, one view, noise of each site's own."""

from __future__ import annotations

import numpy as np

from fercleaner.core.types import Features, Samples
from fercleaner.federation.coordinator import Coordinator
from fercleaner.federation.messages import decode, of_hello, of_update
from fercleaner.federation.participant import Participant
from fercleaner.federation.terms import PROTOCOL, Conditions, Settings, Terms
from fercleaner.methods.consensus.consensus import Consensus
from fercleaner.pipeline.inputs import Callbacks, Resources, Sources

CLASSES = ("anger", "fear", "happiness", "neutral")
CENTERS = 1.5 * np.random.default_rng(99).normal(size=(len(CLASSES), 10))
NAMES = ("one", "two", "three")
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


def site(name, n, *, aggregate="robust", **more):
    """Return a participant and the true labels of its faces."""
    samples, view, truth = faces(name, n, **more)
    conditions = Conditions(SMALL.least_faces, aggregate)
    return Participant(name, samples, Consensus(k=5), Sources(views=(view,)), QUIET, Callbacks(), conditions), truth


def sites(names=NAMES):
    return [site(name, 60 + 20 * number, seed=number)[0] for number, name in enumerate(names)]


class Direct:
    """A link without a network: what a site asks, answered by the coordinator at once."""

    def __init__(self, coordinator, name):
        self._coordinator, self._name = coordinator, name

    def get(self, path):
        one = self._coordinator
        answer = {"/status": one.status, "/heads": one.current, "/roster": one.roster, "/terms": one.terms_for}[path]
        return answer(self._name)

    def post(self, path, body):
        return getattr(self._coordinator, path[1:])(self._name, decode(body, self._name))


class Driven:
    """Sites that a test drives by hand through a coordinator without a network."""

    def __init__(self, folder, plan, now=lambda: 0.0):
        self.folder, self.plan, self.now, self.told = folder, plan, now, []
        self.sites = {here.name: here for here in sites()}
        self.start()

    def start(self):
        """As after a SIGKILL: a new coordinator that has the folder alone."""
        self.coordinator = Coordinator(self.folder, self.plan, self.told.append, self.now)

    def join(self, *names):
        for name in names:
            self.coordinator.hello(name, of_hello(self.sites[name].hello(), PROTOCOL))

    def begin(self, *names):
        for name in names:
            terms = self.coordinator.terms_for(name)
            self.sites[name].begin(Terms.from_dict(terms.fields["terms"]), terms.fields["part"])

    def send(self, name):
        heads = self.coordinator.current(name)
        update = self.sites[name].update(heads.arrays["heads"])
        return self.coordinator.update(name, of_update(update, heads.fields["round"] + 1))
