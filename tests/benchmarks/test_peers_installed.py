"""Outside peers themselves, where their environments are installed (see benchmarks/peers/install.py)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from peers import PEERS, Case, Verdict, environments  # noqa: E402

from fercleaner.evaluation.metrics import auroc  # noqa: E402


def installed(name: str) -> None:
    """Skip the test where an environment is not installed."""
    if not environments.python_in(environments.folder() / name).exists():
        pytest.skip(f"{name} is not installed: run python benchmarks/peers/install.py {name}")


@pytest.fixture(scope="module")
def flipped() -> tuple[Case, np.ndarray]:
    """300 faces of four classes, a fifth mislabeled, one without a vector; five annotators; and what is mislabeled."""
    rng = np.random.default_rng(0)
    n, c = 300, 4
    true = rng.integers(0, c, n)
    wrong = rng.random(n) < 0.2
    given = np.where(wrong, (true + rng.integers(1, c, n)) % c, true)
    vectors = np.eye(c)[true] @ rng.normal(size=(c, 16)) + 0.35 * rng.normal(size=(n, 16))
    vectors[7] = 0
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = (vectors / np.where(length > 0, length, 1)).astype(np.float32)
    cosine = vectors @ vectors.T
    np.fill_diagonal(cosine, -np.inf)
    indices = np.argsort(-cosine, axis=1, kind="stable")[:, :10]
    logits = 3 * np.eye(c)[true] + rng.gumbel(size=(n, c))
    posterior = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    annotators = np.where(rng.random((n, 5)) < 0.7, true[:, None], rng.integers(0, c, (n, 5)))
    annotators[rng.random((n, 5)) < 0.3] = -1
    similarity = np.take_along_axis(cosine, indices, 1)
    case = Case(given, c, vectors, np.arange(n), indices, similarity, posterior, np.zeros(n), annotators)
    return case, wrong


def said(name: str, case: Case) -> dict[str, Verdict]:
    answer = PEERS[name](case)
    assert isinstance(answer, dict)
    return answer


def test_cleanlab_and_crowdlab(flipped: tuple[Case, np.ndarray]) -> None:
    installed("cleanlab")
    case, wrong = flipped
    for name, least in (("cleanlab", 0.85), ("CROWDLAB", 0.9)):
        for score, verdict in said(name, case).items():
            assert auroc(verdict.suspicion, wrong) > least, score
            assert (verdict.label[~verdict.flagged] == case.given[~verdict.flagged]).all()
            assert auroc(verdict.flagged.astype(float), wrong) > 0.75, score


def test_crowdlab_keeps_labels_that_nobody_annotated(flipped: tuple[Case, np.ndarray]) -> None:
    installed("cleanlab")
    case, _ = flipped
    annotators = case.annotators.copy()
    annotators[:4] = -1
    verdict = said("CROWDLAB", replace(case, annotators=annotators))["CROWDLAB"]
    assert verdict.suspicion[:4].tolist() == [0] * 4
    assert not verdict.flagged[:4].any()


def test_doubtlab_counts_reasons(flipped: tuple[Case, np.ndarray]) -> None:
    installed("doubtlab")
    case, _ = flipped
    p = case.posterior
    own = p[np.arange(len(p)), case.given]
    other = np.where(np.eye(case.n_classes)[case.given] > 0, 0.0, p).max(1)
    reasons = np.stack([p.max(1) <= 0.55, p.argmax(1) != case.given, own < 0.2, other > 0.2], axis=1)
    verdict = said("doubtlab", case)["doubtlab"]
    np.testing.assert_allclose(verdict.suspicion, reasons.mean(1))
    assert (verdict.flagged == reasons.any(1)).all()


def test_fastdup_finds_mislabeled_faces(flipped: tuple[Case, np.ndarray]) -> None:
    installed("fastdup")
    case, wrong = flipped
    answer = said("fastdup", case)
    assert set(answer) == {"fastdup label score", "fastdup outlier"}
    verdict = answer["fastdup label score"]
    assert auroc(verdict.suspicion, wrong) > 0.95
    changed = verdict.label != case.given
    assert (changed == verdict.flagged).all()
    assert changed[wrong].mean() > 0.9
    assert changed[~wrong].mean() < 0.1


def test_selfclean_agrees_with_its_restatement(flipped: tuple[Case, np.ndarray]) -> None:
    installed("selfclean")
    case, _ = flipped
    ours, theirs = PEERS["SelfClean ratio"](case), said("SelfClean", case)["SelfClean"]
    has = case.vectors.any(1)
    np.testing.assert_allclose(theirs.suspicion[has], ours.suspicion[has], atol=1e-4)


def test_pydvl_agrees_with_the_restatement(flipped: tuple[Case, np.ndarray]) -> None:
    installed("pydvl")
    case, wrong = flipped
    vectors = case.vectors.copy()
    vectors[7] = vectors[8] * 0.6 + vectors[9] * 0.8  # pyDVL hears faces without a vector too
    vectors[7] /= np.linalg.norm(vectors[7])
    # ten groups are the ten parts that pyDVL gets, so both let the same faces value the same ones
    case = replace(case, vectors=vectors, group=np.arange(len(vectors)) % 10)
    ours, theirs = PEERS["KNN-Shapley"](case), said("pyDVL", case)["pyDVL KNN-Shapley"]
    np.testing.assert_allclose(theirs.suspicion, ours.suspicion, atol=1e-9)
    assert (theirs.flagged == ours.flagged).all()
    assert auroc(theirs.suspicion, wrong) > 0.95


def test_docta_finds_mislabeled_faces(flipped: tuple[Case, np.ndarray]) -> None:
    installed("docta")
    case, wrong = flipped
    verdict = said("docta", case)["docta SimiFeat"]
    assert auroc(verdict.suspicion, wrong) > 0.9
    assert (verdict.label[~verdict.flagged] == case.given[~verdict.flagged]).all()
    assert (verdict.suspicion[verdict.flagged] >= 0.5).all()
