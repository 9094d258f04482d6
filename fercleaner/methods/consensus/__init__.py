"""fercleaner's own: all evidence, each expert weighed by the labels' likelihood."""
