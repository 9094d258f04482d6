"""LEAF-style: ambiguous pseudo-labels, also for unlabeled faces."""
