"""Data types, evidence, class sets and number helpers that every other folder uses."""
