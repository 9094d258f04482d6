"""Weights have the digests that are listed, and every page and file that a release names is there."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "fercleaner" / "weights"


def test_weights_are_those_listed():
    listed = dict(reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines())
    held = {path.name for path in WEIGHTS.iterdir()} - {"SHA256SUMS", "MODEL_CARD.md"}
    assert set(listed) == held
    for name, digest in listed.items():
        assert hashlib.sha256((WEIGHTS / name).read_bytes()).hexdigest() == digest, name


def test_the_release_checklist_names_what_is_there():
    said = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", said):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    for script in re.findall(r"python (benchmarks/\w+\.py)", said + makefile):
        assert (ROOT / script).is_file(), script
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert version is not None
    assert f"version: {version[1]}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
