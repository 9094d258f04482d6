"""Refined sets as Parquet: assembling, reasons, summary, export; duplicates and what else is wrong with a set."""
