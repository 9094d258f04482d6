"""The page as text: its policy fits its script and style, names are only text, nothing outside is named."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from report_cases import HOSTILE, refined_set

from fercleaner.core.errors import StoreError
from fercleaner.report import audit
from fercleaner.report.page import embedded, visible


def test_the_policy_names_the_digests_of_the_only_script_and_style(tmp_path) -> None:
    html = audit(refined_set(tmp_path)).html()
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    styles = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    assert (len(scripts), len(styles)) == (1, 1)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1].replace("&#39;", "'")
    for kind, text in (("script", scripts[0]), ("style", styles[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert not re.findall(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", html)
    assert "style=" not in html.partition("<body>")[2].partition("<script")[0]


@pytest.mark.parametrize("name", HOSTILE)
def test_embedded_json_cannot_end_its_element(name) -> None:
    text = embedded({"id": name})
    assert not set(text) & set("<>&\u2028\u2029\x00\x1b")
    assert json.loads(text) == {"id": name}
    assert not set(visible(name)) & {"\x00", "\x1b", "\u202e", "\u2028"}


def test_files_appear_whole_and_are_not_overwritten_unasked(tmp_path) -> None:
    made = audit(refined_set(None))
    page = made.write(tmp_path / "a" / "b")
    assert sorted(os.listdir(page.parent)) == ["audit.json", "checks.parquet", "index.html"]
    with pytest.raises(StoreError, match=r"index\.html exists already"):
        made.write(page.parent)
    made.write(page.parent, overwrite=True)
    assert json.loads((page.parent / "audit.json").read_text()) == json.loads(json.dumps(made.to_dict()))
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be made a folder"):
        made.write(tmp_path / "file")


@pytest.mark.parametrize("part", ["html", "to_dict"])
def test_a_run_that_ends_while_it_writes_leaves_the_older_files(part: str, tmp_path, monkeypatch) -> None:
    page = audit(refined_set(None)).write(tmp_path / "out")
    before = {file.name: file.read_bytes() for file in page.parent.iterdir()}
    other = audit(refined_set(None, 12))

    def killed(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(other), part, killed)
    with pytest.raises(KeyboardInterrupt):
        other.write(page.parent, overwrite=True)
    assert {file.name: file.read_bytes() for file in page.parent.iterdir()} == before


def test_a_notebook_shows_sets_and_audits(tmp_path) -> None:
    refined = refined_set(tmp_path)
    html = refined._repr_html_()
    assert html.count("<img ") == 10
    assert "60 faces, method consensus" in html
    assert "<script" not in html
    hostile = refined_set(None, len(HOSTILE), list(HOSTILE), reason=list(HOSTILE))._repr_html_()
    assert "<img" not in hostile
    assert "<script" not in hostile
    assert "no picture" in hostile
    assert "&lt;img src=x onerror" in hostile
    frame = audit(refined)._repr_html_()
    assert frame.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts"' in frame
    assert "<" not in frame[len("<iframe ") : frame.index("></iframe>")]


def test_a_refined_set_imports_the_report_only_when_it_is_shown() -> None:
    code = "import fercleaner.core.refined, sys; print('fercleaner.report' in sys.modules, 'jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
