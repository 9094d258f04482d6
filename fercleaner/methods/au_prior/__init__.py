"""POI-style: soft labels from action units."""
