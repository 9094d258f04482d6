"""Classifiers fitted on views: linear heads, Nystroem features, out-of-fold probes."""
