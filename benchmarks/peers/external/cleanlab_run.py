"""Run cleanlab on posteriors and write what it says: python cleanlab_run.py CASE.npz ANSWER.npz.

Needs cleanlab alone (requirements-cleanlab.txt); knows nothing of fercleaner. Datalab needs cleanlab[datalab].
"""

import sys
import time

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores


def main(case_file, answer_file):
    case = np.load(case_file, allow_pickle=False)
    given, posterior = case["given"], case["posterior"].astype(np.float64)
    # cleanlab asks that every class be given at least once
    seen, given = np.unique(given, return_inverse=True)
    posterior = posterior[:, seen]
    posterior /= posterior.sum(1, keepdims=True)
    answer = {}

    def say(name, start, suspicion, flagged, label):
        answer[f"{name}/seconds"] = time.perf_counter() - start
        answer[f"{name}/suspicion"] = suspicion
        answer[f"{name}/flagged"] = flagged
        answer[f"{name}/label"] = seen[np.where(flagged, label, given)]

    rules = {
        "cleanlab self-confidence": ("self_confidence", "prune_by_noise_rate"),
        "cleanlab normalized margin": ("normalized_margin", "confident_learning"),
    }
    for name, (score, rule) in rules.items():
        start = time.perf_counter()
        quality = get_label_quality_scores(given, posterior, method=score)
        flagged = find_label_issues(given, posterior, filter_by=rule, n_jobs=1)
        say(name, start, 1.0 - quality, flagged, posterior.argmax(1))
    ask_datalab(given, case["vectors"], say)
    np.savez(answer_file, **answer)


def ask_datalab(given, vectors, say):
    """Ask Datalab with the vectors alone, where its own requirements are installed: a nearest-neighbor vote."""
    try:
        from cleanlab import Datalab
    except ImportError:
        return
    start = time.perf_counter()
    lab = Datalab({"label": given.tolist()}, label_name="label", task="classification", verbosity=0)
    lab.find_issues(features=vectors, issue_types={"label": {}})
    issues = lab.get_issues("label")
    label = issues["predicted_label"].to_numpy().astype(np.int64)
    suspicion = 1.0 - issues["label_score"].to_numpy()
    say("cleanlab Datalab (features only)", start, suspicion, issues["is_label_issue"].to_numpy(), label)


if __name__ == "__main__":
    main(*sys.argv[1:])
