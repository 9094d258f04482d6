"""Command lines that are said to come next."""

from __future__ import annotations

import importlib
from pathlib import Path

from fercleaner.core.files import named_alike

console = importlib.import_module("fercleaner.cli.console")


def test_a_file_that_begins_with_a_dash_is_no_option():
    assert console.words("fercleaner", "show", Path("-a.parquet")) == "fercleaner show ./-a.parquet"
    assert console.words("--out", Path("my faces.parquet")) == "--out 'my faces.parquet'"


def test_a_link_that_leads_nowhere_is_told_from_a_file_called_otherwise(tmp_path):
    (tmp_path / "a.jpg").symlink_to("gone/a.jpg")
    (tmp_path / "b.JPG").touch()
    assert named_alike(str(tmp_path / "a.jpg")) == " (it is a link to gone/a.jpg, which is not there)"
    assert "its folder has b.JPG" in named_alike(str(tmp_path / "b.jpg"))
