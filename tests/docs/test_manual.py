"""The manual builds without a warning, offline, and holds a page for everything that it is made from."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

import fercleaner
from fercleaner.methods import METHODS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
sys.path.append(str(DOCS))

import docstrings  # noqa: E402
import pages  # noqa: E402

#: Fails on any attempt to reach another machine while the manual is built.
NO_NETWORK = """
import runpy, socket, sys
def refuse(*args, **kwargs): raise OSError("the manual must build offline")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = ["sphinx", *sys.argv[1:]]
runpy.run_module("sphinx", run_name="__main__")
"""


@pytest.fixture(scope="module")
def manual(tmp_path_factory):
    """Build the manual, examples included, as `make docs` does; return the folder."""
    pytest.importorskip("sphinx_gallery", reason="the extra docs is not installed")
    pytest.importorskip("myst_parser", reason="the extra docs is not installed")
    out = tmp_path_factory.mktemp("manual")
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK, "-b", "html", "-W", "--keep-going", "-q", str(DOCS), str(out)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return out


def text_of(page: Path) -> str:
    """Return the text of an HTML page."""
    return unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")))


def test_the_manual_builds_without_a_warning(manual):
    built = {page.stem for page in manual.glob("*.html")}
    assert {page.stem for page in DOCS.glob("*.md")} <= built


def test_every_public_name_method_and_command_has_its_place(manual):
    from fercleaner.cli.app import app
    from typer.main import get_command

    interface = (manual / "api.html").read_text(encoding="utf-8")
    for name in fercleaner.__all__:
        assert name.startswith("_") or f'id="fercleaner.{name}"' in interface, name
    private = set(re.findall(r'id="fercleaner\.(\w+)"', interface)) - set(fercleaner.__all__)
    assert not private
    commands = text_of(manual / "command-line.html")
    for name in get_command(app).commands:
        assert f"fercleaner {name}" in commands
    for name in METHODS:
        assert "Defaults" in text_of(manual / "made" / f"method-{name}.html")


def test_examples_run_and_show_pictures(manual):
    sources = [file for file in sorted((DOCS / "examples").glob("*.py")) if "plt." in file.read_text("utf-8")]
    assert len(sources) >= 6
    for source in sources:
        page = (manual / "auto_examples" / f"{source.stem}.html").read_text(encoding="utf-8")
        assert f"sphx_glr_{source.stem}_001" in page, f"{source.name} shows no picture"


def test_nothing_on_a_page_is_loaded_from_elsewhere(manual):
    for page in manual.rglob("*.html"):
        outside = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text("utf-8"))
        assert not outside, page


def test_formulas_are_kept_and_prose_is_escaped():
    text = """Say *r_i*.

    With `p_j` a vote,

        r_i = a * b

        s = 1

    Notes
    -----
    x < y

    Parameters
    ----------
    k : int
        Number.
    """
    assert docstrings.markdown(text) == (
        "Say \\*r\\_i\\*.\n\nWith `p_j` a vote,\n\n```text\nr_i = a * b\n\ns = 1\n```\n\n### Notes\n\nx \\< y\n\n"
        "### Parameters\n\n- `k` (int): Number."
    )


def test_doctests_become_code():
    assert docstrings.prose([">>> 1 + 1", "2", "", "So."]) == "```pycon\n>>> 1 + 1\n2\n```\n\nSo."


def test_constants_are_read_with_the_comment_above_them(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    file = tmp_path / "fercleaner" / "noise" / "a.py"
    file.parent.mkdir(parents=True)
    file.write_text("#: Two lines\n#: of why.\nA, B = 1.5, (2, 3)\nC = 4\n\nD = 5\n#: No number.\nE = ('x',)\n_F = 6\n")
    assert list(pages._constants_of(file)) == [
        ("noise/a.py", "A, B", "(1.5, (2, 3))", "Two lines of why."),
        ("noise/a.py", "C", "4", "Two lines of why."),
        ("noise/a.py", "D", "5", ""),
    ]


def test_every_statistical_number_says_what_it_is():
    silent = [f"{constant.file} {constant.name}" for constant in pages.constants() if not constant.meaning]
    assert len(pages.constants()) > 100
    assert not silent, "write a `#:` comment above: unit, reason or source, and what changes with it"
