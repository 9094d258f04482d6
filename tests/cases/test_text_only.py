"""Text from outside is only text: nothing in a name or a label reaches a terminal raw or breaks a file of ours."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_runs import fails, run

from fercleaner.core.refined import RefinedSet
from fercleaner.core.text import plain, shown
from fercleaner.datasets import read
from fercleaner.results.export import export

#: Escape sequences, control characters of both sets, direction marks, separators of lines, a lone CR.
EVIL = [
    *("a\x1b[31mred", "b\x9b2J", "c\u202etxt.exe", "d\re", "f\ng", "h\x07", "i\u2028j", "k\u200bl"),
    *('m"n,o;p', "=1+1", "\u2066q"),
]
HARMFUL = [chr(c) for c in (*range(9), 11, 12, 13, *range(14, 32), *range(127, 160), 0x2028, 0x202E, 0x2066, 0x200B)]


def test_plain_and_shown() -> None:
    assert plain("a\x1b[0mb\u202ec\rd\te\nf") == "a\\x1b[0mb\\u202ec\\x0dd e\nf"
    assert plain("größe 顔 🙂") == "größe 顔 🙂"
    assert shown("x\ny" + "z" * 200) == "x\\ny" + "z" * 74 + "..."
    for character in HARMFUL:
        assert character not in plain(f"a{character}b")


def table(tmp_path: Path) -> Path:
    rows = "".join('"' + name.replace('"', '""') + f'",{("happy", "sad")[k % 2]}\n' for k, name in enumerate(EVIL))
    (tmp_path / "s.csv").write_text("id,label\n" + rows, encoding="utf-8", newline="")
    return tmp_path / "s.csv"


def assert_harmless(text: str) -> None:
    assert [c for c in HARMFUL if c in text] == []


def test_terminal_output(tmp_path: Path) -> None:
    file = table(tmp_path)
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(len(EVIL), 4)))
    out = tmp_path / "o.parquet"
    done = run("refine", file, "--view", f"v={tmp_path}/v.npy", "--no-cache", "--out", out, "--set", "k=3")
    assert_harmless(done.stderr)
    shown_ = run("show", out)
    assert_harmless(shown_.stdout + shown_.stderr)
    as_json = run("show", out, "--json").stdout
    assert_harmless(as_json)
    assert json.loads(as_json)["faces"] == len(EVIL)


@pytest.mark.parametrize("label", ["\x1b]0;title\x07", "a\u202eb", "c\x9bd"])
def test_messages(tmp_path: Path, label: str) -> None:
    (tmp_path / "s.csv").write_text(f"image,label\na,happy\nb,sad\nc,{label}\n", encoding="utf-8")
    assert_harmless(fails("read", tmp_path / "s.csv"))
    (tmp_path / "t.csv").write_text(f"image,label\na,x\nb,y\nc,{label}\n", encoding="utf-8")
    done = run("read", tmp_path / "t.csv")
    assert_harmless(done.stdout + done.stderr)
    assert_harmless(run("read", tmp_path / "t.csv", "--json").stdout)


def test_headings(tmp_path: Path) -> None:
    """Classes stand in the headings of a table, too."""
    labels = ["\x1b[2J", "\x1b]0;title\x07", "b"] * 6
    (tmp_path / "s.csv").write_text(
        "id,label\n" + "".join(f"f{i},{x}\n" for i, x in enumerate(labels)), encoding="utf-8"
    )
    np.save(tmp_path / "v.npy", np.eye(3)[np.arange(18) % 3] + 0.1 * np.random.default_rng(0).normal(size=(18, 3)))
    out = tmp_path / "o.parquet"
    run("refine", tmp_path / "s.csv", "--view", f"v={tmp_path}/v.npy", "--no-cache", "--out", out, "--set", "k=3")
    shown_ = run("show", out).stdout
    assert "Expected noise" in shown_
    assert_harmless(shown_)


def refined() -> RefinedSet:
    n = len(EVIL)
    given = np.eye(2, dtype="f4")[np.arange(n) % 2]
    ids = np.array(EVIL)
    ones, text = np.ones(n, bool), np.full(n, "why; so, 'that'")
    return RefinedSet(
        ids=ids,
        paths=ids,
        split=np.full(n, ""),
        classes=("happiness", "sadness"),
        labeled=ones,
        given=given,
        distribution=given,
        weight=np.ones(n, "f4"),
        quality=np.ones(n, "f4"),
        flagged=~ones,
        changed=~ones,
        reason=text,
        neighbors_for=tuple((name,) for name in EVIL),
        neighbors_against=((),) * n,
        evidence={},
        metadata={},
    )


def test_exported_csv_comes_back(tmp_path: Path) -> None:
    export(refined(), tmp_path / "e.csv")
    assert read(tmp_path / "e.csv").ids.tolist() == EVIL
    with (tmp_path / "e.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(EVIL) == len(pd.read_csv(tmp_path / "e.csv"))
