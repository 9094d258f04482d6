"""Run cleanlab on posteriors and vectors: python cleanlab_run.py CASE.npz ANSWER.npz. Needs cleanlab[datalab]."""

import time

import numpy as np
from cleanlab import Datalab
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from protocol import run
from scores import seen_classes

RULES = {
    "cleanlab self-confidence": ("self_confidence", "prune_by_noise_rate"),
    "cleanlab normalized margin": ("normalized_margin", "confident_learning"),
}


def main(case, say):
    # cleanlab asks that every class be given at least once
    seen, given, posterior = seen_classes(case["given"], case["posterior"])
    for name, (score, rule) in RULES.items():
        start = time.perf_counter()
        quality = get_label_quality_scores(given, posterior, method=score)
        flagged = find_label_issues(given, posterior, filter_by=rule, n_jobs=1)
        say(name, start, 1.0 - quality, flagged, seen[np.where(flagged, posterior.argmax(1), given)])
    ask_datalab(seen, given, case["vectors"], say)


def ask_datalab(seen, given, vectors, say):
    """Ask Datalab with the vectors alone: a nearest-neighbor vote."""
    start = time.perf_counter()
    lab = Datalab({"label": given.tolist()}, label_name="label", task="classification", verbosity=0)
    lab.find_issues(features=vectors, issue_types={"label": {}})
    issues = lab.get_issues("label")
    flagged = issues["is_label_issue"].to_numpy()
    label = np.where(flagged, issues["predicted_label"].to_numpy().astype(np.int64), given)
    say("cleanlab Datalab (features only)", start, 1.0 - issues["label_score"].to_numpy(), flagged, seen[label])


if __name__ == "__main__":
    run(main)
