"""A truth, or decisions, of another set whose faces have the same ids: told, as labels alone can show it."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from cli_runs import process

from fercleaner import Features, Samples, Sources, evaluate, load, methods, read_truth, refine, write

IDS = [f"{row}.png" for row in range(80)]
CLASSES = ("anger", "fear", "sadness")
LABEL = np.arange(80) % 3


def written(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    samples = Samples(IDS, CLASSES, np.eye(3)[LABEL], np.ones(80, bool), [""] * 80)
    view = Features("v", IDS, rng.normal(size=(80, 4)) + 3 * np.eye(3, 4)[LABEL], np.ones(80, bool))
    np.save(folder / "v.npy", view.values)
    pd.DataFrame({"image": IDS, "label": [CLASSES[c] for c in LABEL]}).to_csv(folder / "set.csv", index=False)
    write(refine(samples, methods.build("threshold", {}), Sources(views=[view])), folder / "set.parquet")
    return folder


def test_a_truth_that_agrees_as_chance_does_is_told(tmp_path, caplog):
    folder = written(tmp_path)
    refined = load(folder / "set.parquet")
    truth = pd.read_csv(folder / "set.csv")
    truth.to_csv(folder / "truth.csv", index=False)
    other = truth.assign(label=truth["label"].to_numpy()[::-1])
    other.to_csv(folder / "other.csv", index=False)
    with caplog.at_level(logging.WARNING):
        evaluate(refined, read_truth(folder / "truth.csv", refined.classes))
        assert "chance" not in caplog.text
        evaluate(refined, read_truth(folder / "other.csv", refined.classes))
    assert "chance alone gives 33 %. Is it of this set, row by row, and of these classes?" in caplog.text


def test_decisions_about_faces_that_had_other_labels_are_told(tmp_path):
    folder = written(tmp_path)
    log = pd.DataFrame({"id": IDS[:9], "given_label": [CLASSES[c] for c in LABEL[:9]], "decision": "keep"})
    log.to_csv(folder / "decisions.csv", index=False)
    turned = pd.DataFrame({"image": IDS, "label": [CLASSES[(c + 1) % 3] for c in LABEL]})
    turned.to_csv(folder / "turned.csv", index=False)
    options = ("--view", "v=v.npy", "--method", "threshold", "--decisions", "decisions.csv", "--force")
    own = process("refine", "set.csv", *options, cwd=folder)
    assert own.returncode == 0
    assert "than the reviewer was shown" not in own.stderr
    other = process("refine", "turned.csv", *options, cwd=folder)
    assert "Decisions: of 9 faces, 9 have another given label here than the reviewer was shown." in other.stderr
