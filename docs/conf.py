"""How the manual is built: MyST pages, pages made from the code, and a gallery of examples that run.

make docs        build it into docs/_build/html; any warning is an error; nothing is fetched
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
warnings.filterwarnings("ignore", category=DeprecationWarning)

import pages  # noqa: E402

import fercleaner  # noqa: E402

pages.write_all()

project = "fercleaner"
author = "the fercleaner authors"
project_copyright = "the fercleaner authors; Apache-2.0"
version = release = fercleaner.__version__
language = "en"

extensions = ["myst_parser", "sphinx_gallery.gen_gallery"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
#: Made pages that other pages include.
INCLUDED = ("made/commands.md", "made/api.md", "made/constants.md", "made/folders.md", "made/cluster.md")
exclude_patterns = ["_build", "examples", *INCLUDED]
root_doc = "index"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
suppress_warnings = ["config.cache"]

html_theme = "alabaster"
html_title = f"fercleaner {release}"
html_theme_options = {
    "description": "Find wrong and ambiguous labels in facial-expression data",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "sidebar_width": "250px",
    "show_powered_by": False,
}
html_show_sourcelink = False
html_copy_source = False

sphinx_gallery_conf = {
    "examples_dirs": "examples",
    "gallery_dirs": "auto_examples",
    # audit_to_training takes minutes: tests/docs/test_examples.py runs it
    "filename_pattern": r"/(?!audit_to_training)\w+\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "abort_on_example_error": False,
    "only_warn_on_example_error": False,
    "image_scrapers": ("matplotlib",),
    "matplotlib_animations": False,
    "remove_config_comments": True,
    "min_reported_time": 3600,
    "write_computation_times": False,
}


def _only_patterns_that_match(app: Any, name: str, source: list[str]) -> None:
    """Drop the patterns of index.md that match no page: Sphinx warns of them."""
    if name == "index":
        lines = source[0].splitlines()
        source[0] = "\n".join(line for line in lines if not line.endswith("*") or any(DOCS.glob(f"{line}.md")))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _only_patterns_that_match)
