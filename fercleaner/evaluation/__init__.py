"""Metrics, bootstrap comparison, and refined sets against a truth."""
