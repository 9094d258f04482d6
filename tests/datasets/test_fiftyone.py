"""FiftyOne's predictions as posteriors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_runs import manifest

from fercleaner import read
from fercleaner.core.errors import InputError
from fercleaner.datasets.posteriors import read_posteriors


def write(folder, predictions, classes=None):
    samples = [{"filepath": f"data/{i}.png", "ground_truth": {"label": "fear"}} for i in range(len(predictions))]
    for sample, said in zip(samples, predictions, strict=True):
        sample["predictions"] = said
    (folder / "samples.json").write_text(json.dumps({"samples": samples}))
    (folder / "metadata.json").write_text(json.dumps({"default_classes": classes or []}))
    return folder / "samples.json"


@pytest.fixture
def samples(tmp_path):
    return read(manifest(tmp_path / "f.csv", ["fear", "anger", "fear"], [f"data/{i}.png" for i in range(3)]))


def test_logits_are_taken_through_a_softmax_in_the_order_of_the_metadata(tmp_path, samples):
    said = [{"label": "fear", "confidence": 0.9, "logits": [2.0, 0.0]}, None, {"label": "anger", "logits": [0.0, 1.0]}]
    table, notes = read_posteriors("mine", write(tmp_path, said, ["fear", "angry"]), samples)
    e = np.exp(2.0)
    assert table.values[0].tolist() == pytest.approx([1 / (1 + e), e / (1 + e)])  # anger, fear
    assert table.found.tolist() == [True, False, True]
    assert any("1 of 3 faces have none" in note for note in notes)


def test_a_confidence_alone_leaves_the_rest_to_the_other_classes(tmp_path, samples):
    said = [{"label": "fear", "confidence": 0.8}, {"label": "anger", "confidence": 0.6}, None]
    table, _ = read_posteriors("mine", write(tmp_path, said), samples)
    assert np.allclose(table.values[:2], [[0.2, 0.8], [0.6, 0.4]])


def test_what_is_no_export_is_refused(tmp_path, samples):
    bad = tmp_path / "bad.json"
    bad.write_text("[]")
    with pytest.raises(InputError, match=r"is not the samples.json of a FiftyOne dataset"):
        read_posteriors("mine", bad, samples)
    said = [{"label": "fear", "logits": [1.0, 2.0, 3.0]}] * 3
    with pytest.raises(InputError, match="has 3 logits a face"):
        read_posteriors("mine", write(tmp_path, said, ["fear", "anger"]), samples)
