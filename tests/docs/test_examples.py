"""The examples of the manual run and hold what they promise."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fercleaner.review.log import read_log

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def test_from_a_folder_of_pictures_to_a_better_classifier(tmp_path):
    """Drawn faces with 30 % wrong labels: trained on the export, a classifier is better on new, clean faces."""
    spec = importlib.util.spec_from_file_location("audit_to_training", EXAMPLES / "audit_to_training.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    found = example.main(tmp_path, faces=400)
    assert len(read_log(tmp_path / "me.jsonl").entries) == found["decided"] == example.LOOKS
    assert found["changed"] > 50
    assert "What else is wrong with the set" in (tmp_path / "audit" / "index.html").read_text()
    assert found["cleaned"] > found["given"] + 0.02
