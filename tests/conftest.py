"""Searches by Hypothesis: the same examples in every run, or new ones with `--hypothesis-profile=random`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None)
settings.register_profile("random", print_blob=True)
settings.load_profile("repeatable")
