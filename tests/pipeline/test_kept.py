"""What a method makes of vectors alone is made once where it runs on several labels of the same faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from consensus_cases import crowd, run

from fercleaner.methods import build
from fercleaner.methods.consensus import experts
from fercleaner.noise.injection import parse
from fercleaner.pipeline.inputs import Resources, Sources
from fercleaner.pipeline.refine import refine
from fercleaner.pipeline.trial import run_trial


def counted(monkeypatch, name):
    made, calls = getattr(experts, name), []

    def make(*args):
        calls.append(name)
        return made(*args)

    monkeypatch.setattr(experts, name, make)
    return calls


def test_kernel_rows_and_heads_without_folds_are_made_once_for_all_labels(monkeypatch):
    rows, heads = counted(monkeypatch, "KernelRows"), counted(monkeypatch, "FoldRidge")
    evidence, _, _ = crowd(1, n=120)
    views, resources = Sources(views=list(evidence.features.values())), Resources(device="cpu", find_groups=False)
    refine(evidence.samples, build("consensus", {}), views, resources, precision=0.8)
    assert (len(rows), len(heads)) == (1, 4)  # five checks and the first run, each of four deals
    run_trial(evidence.samples, [build("consensus", {})], [parse("symmetric:0.2")], views, resources, seeds=2)
    assert (len(rows), len(heads)) == (2, 8)
    refine(evidence.samples, build("consensus", {}), views, resources)
    assert (len(rows), len(heads)) == (3, 12)


def test_answers_are_those_of_a_run_that_keeps_nothing():
    """To the bit, on other labels, other labeled faces and another deal too."""
    evidence, _, _ = crowd(2, n=120, flips=0.2)
    keeping, samples = replace(evidence, kept={}), evidence.samples
    turned = samples.replacing(given=np.roll(samples.given, 1, axis=1))
    fewer = np.arange(120) % 7 > 0
    fewer = samples.replacing(given=np.where(fewer[:, None], samples.given, 0), labeled=samples.labeled & fewer)
    for changed, seed in ((samples, 0), (turned, 0), (turned, 1), (fewer, 0), (samples, 0)):
        alone, kept = (run(replace(one, samples=changed), seed=seed) for one in (evidence, keeping))
        assert np.array_equal(alone.distribution, kept.distribution)
        assert np.array_equal(alone.quality, kept.quality)
    assert len(keeping.kept) == 1 + 4 * 3
