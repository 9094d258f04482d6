"""benchmarks/base_rates.py: F1 of drawn groups and of the best threshold, counted by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import base_rates
from beds import digits
from peers import PeerUnavailable, Verdict

from fercleaner.evaluation.metrics import flag_scores


def test_f1_of_draws_is_that_of_faces_repeated_as_often_as_drawn():
    rng = np.random.default_rng(0)
    flagged, wrong = rng.random(30) < 0.4, rng.random(30) < 0.3
    weights = rng.integers(0, 4, size=(5, 30)).astype(np.float64)
    expected = [flag_scores(flagged.repeat(row.astype(int)), wrong.repeat(row.astype(int))).f1 for row in weights]
    assert base_rates.weighted_f1(flagged, wrong, weights) == pytest.approx(expected)


def test_the_best_f1_is_that_of_the_best_number_of_flags():
    rng = np.random.default_rng(1)
    suspicion, wrong = rng.random(40), rng.random(40) < 0.3
    order = np.argsort(-suspicion)
    tried = [flag_scores(np.isin(np.arange(40), order[: n + 1]), wrong).f1 for n in range(40)]
    assert base_rates.best_f1(suspicion, wrong) == pytest.approx(max(tried))


def test_leads_are_those_over_the_same_draws():
    bed, rng = digits(), np.random.default_rng(2)
    given = np.where(rng.random(len(bed.label)) < 0.2, (bed.label + 1) % 10, bed.label)
    sure = (given != bed.label).astype(np.float64)
    found = {
        "consensus": Verdict(sure, sure > 0),
        "alike": Verdict(sure, sure > 0),
        "blind": Verdict(rng.random(len(sure))),
    }
    leads = base_rates.leads(found, bed, given)
    assert leads["alike"] == {"best_f1": 1.0, "lead_ap_95": [0.0, 0.0], "lead_f1_95": [0.0, 0.0]}
    low, high = leads["blind"]["lead_ap_95"]
    assert 0.7 < low < high < 0.9
    assert leads["blind"]["lead_f1_95"] is None


def test_peers_that_cannot_run_are_named_and_datalab_is_none_of_them(monkeypatch):
    def absent(case):
        raise PeerUnavailable("not installed")

    several = {"cleanlab normalized margin": "m", "cleanlab Datalab (features only)": "d"}
    peers = dict.fromkeys(base_rates.TAKERS, absent) | {"cleanlab": lambda case: several, "doubtlab": lambda case: "x"}
    monkeypatch.setattr(base_rates, "PEERS", peers)
    skipped: dict[str, str] = {}
    assert dict(base_rates.informed_peers(None, skipped)) == {"cleanlab normalized margin": "m", "doubtlab": "x"}
    assert set(skipped) == {"prediction differs", "Neural Relation Graph", "FiftyOne mistakenness"}
