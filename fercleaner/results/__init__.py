"""Refined sets as Parquet: assembling, reasons, summary, near-duplicates, export."""
