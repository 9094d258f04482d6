"""Review of a refined set by people: which faces first, a local page, its log, and what the decisions change."""
