"""Run SelfClean's search for label errors on vectors: python selfclean_run.py CASE.npz ANSWER.npz. Needs selfclean."""

import tempfile
import time

import numpy as np
from protocol import run
from selfclean.cleaner import selfclean_cleaner
from selfclean.cleaner.issue_manager import IssueTypes


def no_pairs(*_arguments, **_named):
    """Stand in for the list of all pairs, which only the searches for duplicates and outliers read."""
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)


def main(case, say):
    given = case["given"]
    selfclean_cleaner.triu_indices_memmap = no_pairs
    with tempfile.TemporaryDirectory() as place:
        start = time.perf_counter()
        cleaner = selfclean_cleaner.SelfCleanCleaner(
            memmap=True, memmap_path=place, auto_cleaning=True, log_level="ERROR"
        )
        cleaner.fit(case["vectors"], labels=given)
        found = cleaner.predict([IssueTypes.LABEL_ERRORS])["label_errors"]
        suspicion, flagged = np.full(len(given), 0.5), np.zeros(len(given), dtype=bool)
        # a score of 0 / 0, between duplicates of both kinds, is no number and says nothing
        suspicion[found["indices"]] = np.nan_to_num(1.0 - found["scores"], nan=0.5)
        flagged[found["indices"][np.asarray(found["auto_issues"], dtype=np.int64)]] = True
        say("SelfClean", start, suspicion, flagged)


if __name__ == "__main__":
    run(main)
