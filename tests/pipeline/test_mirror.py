"""Mirrored pictures as a second view: DNFER's consistency from the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fercleaner.cli import trial
from fercleaner.cli.app import app
from fercleaner.cli.options import SetOptions
from training_cases import drawn, drawn_folder
from typer.testing import CliRunner

from fercleaner import encoders, methods
from fercleaner.core.errors import InputError
from fercleaner.core.types import Features, Posteriors
from fercleaner.extraction.images import mirrored, open_face
from fercleaner.pipeline.inputs import Resources, Sources
from fercleaner.pipeline.refine import gather, refine, relabeled
from fercleaner.results.parquet import load

CPU = Resources(device="cpu")
COLUMN = "view_divergence_bits"


def test_faces_are_mirrored_within_their_boxes() -> None:
    samples = drawn().replacing(boxes=np.tile(np.float32([10, 20, 60, 90]), (64, 1)))
    turned = mirrored(samples)
    assert turned.boxes is None
    for row in (0, 9):
        wanted = np.asarray(open_face(samples, row))[:, ::-1]
        np.testing.assert_array_equal(np.asarray(open_face(turned, row)), wanted)


def test_threshold_gets_two_views_where_it_is_asked_for() -> None:
    threshold = methods.build("threshold")
    sources = Sources(encoders=[encoders.build("hog")], mirrored=True)
    evidence = gather(drawn(), threshold, sources, CPU, _quiet())
    assert set(evidence.posteriors) == {"probe", "mirror"}
    refined = refine(drawn(), threshold, sources, CPU)
    found = refined.evidence[COLUMN]
    assert np.isfinite(found).all()
    assert found.max() > 0
    p, q = (evidence.posteriors[name].values.astype(float) for name in ("probe", "mirror"))
    by_hand = ((p - q) * (np.log2(p) - np.log2(q))).sum(1)
    np.testing.assert_allclose(found, by_hand, rtol=1e-3, atol=1e-5)
    alone = refine(drawn(), threshold, Sources(encoders=[encoders.build("hog")]), CPU)
    assert COLUMN not in alone.evidence


def test_under_other_labels_both_views_are_fitted_again() -> None:
    sources = Sources(encoders=[encoders.build("hog")], mirrored=True)
    evidence = gather(drawn(), methods.build("threshold"), sources, CPU, _quiet())
    other = drawn().replacing(given=np.roll(drawn().given, 1, axis=0))
    again = relabeled(evidence, other, CPU, _quiet())
    fresh = gather(other, methods.build("threshold"), sources, CPU, _quiet())
    for name in ("probe", "mirror"):
        np.testing.assert_array_equal(again.posteriors[name].values, fresh.posteriors[name].values)
    assert not np.array_equal(again.posteriors["mirror"].values, evidence.posteriors["mirror"].values)


def test_posteriors_of_that_name_beside_it_are_refused() -> None:
    flat = np.full((64, len(drawn().classes)), 1 / len(drawn().classes), dtype=np.float32)
    mine = Posteriors("mirror", drawn().ids, drawn().classes, flat, np.ones(64, dtype=bool))
    sources = Sources(encoders=[encoders.build("hog")], posteriors=[mine], mirrored=True)
    with pytest.raises(InputError, match="Two posteriors are called 'mirror'"):
        refine(drawn(), methods.build("threshold"), sources, CPU)


def test_vectors_alone_cannot_be_mirrored() -> None:
    view = Features("mine", drawn().ids, np.random.default_rng(0).normal(size=(64, 4)), np.ones(64, dtype=bool))
    with pytest.raises(InputError, match="mirrored pictures need an encoder that sees pictures: add --encoder"):
        refine(drawn(), methods.build("threshold"), Sources(views=[view], mirrored=True), CPU)


@pytest.mark.parametrize("name", ["consensus", "hypergraph"])
def test_a_method_without_posteriors_refuses_it(name: str) -> None:
    sources = Sources(encoders=[encoders.build("hog")], mirrored=True)
    with pytest.raises(InputError, match=r"such as threshold, and none here does\. Choose another method, or leave"):
        refine(drawn(), methods.build(name), sources, CPU)


@pytest.mark.parametrize(("name", "kept"), [("threshold", ["mirror", "a=a.csv"]), ("consensus", ["a=a.csv"])])
def test_a_trial_s_next_command_names_it_where_the_method_takes_it(name: str, kept: list[str]) -> None:
    assert trial._taken(name, SetOptions(posteriors=["mirror", "a=a.csv"])).posteriors == kept


def test_the_command_line_reaches_it(tmp_path: Path) -> None:
    out = tmp_path / "a.parquet"
    words = ["refine", str(drawn_folder()), "--method", "threshold", "--encoder", "hog", "--posteriors", "mirror"]
    done = CliRunner().invoke(app, [*words, "--device", "cpu", "--no-cache", "--workers", "0", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert COLUMN in load(out).evidence


def _quiet() -> object:
    from fercleaner.pipeline.inputs import Callbacks

    return Callbacks()
