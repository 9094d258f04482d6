"""Peers that run in an environment of their own: the way there and back, what is said where they cannot run."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import oracles_peers as oracle
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import beds  # noqa: E402
import case as questions  # noqa: E402
from peers import PEERS, Case, PeerUnavailable, environments, outside  # noqa: E402

from fercleaner.core.types import Posteriors, Samples  # noqa: E402
from fercleaner.noise.injection import parse  # noqa: E402

EXTERNAL = BENCHMARKS / "peers" / "external"
OUTSIDE = ["cleanlab", "CROWDLAB", "doubtlab", "fastdup", "pyDVL", "SelfClean", "docta"]


def loaded(file: Path) -> ModuleType:
    """A script as a module, without a place on the module path."""
    spec = importlib.util.spec_from_file_location(f"script_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


scores = loaded(EXTERNAL / "scores.py")


@pytest.fixture
def case() -> Case:
    """12 faces of three classes, the last without a face; four annotators, who skip some faces."""
    rng = np.random.default_rng(0)
    n, c = 12, 3
    given = rng.integers(0, c - 1, n)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    posterior = rng.dirichlet(np.ones(c), n)
    annotators = rng.integers(-1, c - 1, (n, 4))
    table = np.zeros((n, 2), dtype=np.int64)
    return Case(
        given, c, vectors, np.arange(n) // 2, table, table.astype(np.float32), posterior, np.zeros(n), annotators
    )


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Make an environment "toy" whose script is the text given; return the name."""
    if sys.platform == "win32":
        pytest.skip("the stand-in for an interpreter is a shell script")

    def make(text: str) -> str:
        scripts, python = tmp_path / "external", tmp_path / "environments" / "toy" / "bin" / "python"
        scripts.mkdir()
        (scripts / "toy_run.py").write_text(text)
        (scripts / "protocol.py").write_text((EXTERNAL / "protocol.py").read_text())
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.chmod(0o755)
        monkeypatch.setattr(outside, "EXTERNAL", scripts)
        monkeypatch.setenv(environments.VARIABLE, str(tmp_path / "environments"))
        return "toy"

    return make


ECHO = """
import time
import numpy as np
from protocol import run

def main(case, say):
    print("tools talk")
    start = time.perf_counter()
    rows = np.arange(len(case["given"]))
    n = len(rows)
    assert set(case) == {"given", "vectors", "posterior", "group", "annotators"}, sorted(case)
    own = case["posterior"][rows, case["given"]]
    say("toy a", start, 1 - own, own < 0.3, case["posterior"].argmax(1), case["posterior"])
    say("toy b", start, case["vectors"][:, 0] + case["group"] + case["annotators"].sum(1))

run(main)
"""


def test_a_tool_sees_the_case_and_its_answer_comes_back(tool: Callable[[str], str], case: Case) -> None:
    said = outside.ask(tool(ECHO), case)
    assert sorted(said) == ["toy a", "toy b"]
    own = case.posterior[np.arange(12), case.given]
    full, bare = said["toy a"], said["toy b"]
    assert (full.suspicion == 1 - own).all()
    assert (full.flagged == (own < 0.3)).all()
    assert (full.label == case.posterior.argmax(1)).all()
    assert (full.distribution == case.posterior).all()
    expected = case.vectors[:, 0].astype(np.float64) + case.group + case.annotators.sum(1)
    np.testing.assert_allclose(bare.suspicion, expected, atol=1e-6)
    assert (bare.flagged, bare.label, bare.distribution, bare.weight) == (None, None, None, None)
    assert full.seconds is not None
    assert 0 <= full.seconds < 60


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import sys; print('noise', file=sys.stderr); raise ValueError('too few faces')", "ValueError: too few faces"),
        ("import no_such_tool", "No module named 'no_such_tool'"),
        ("raise SystemExit(3)", "toy failed: no message"),
        ("pass", "toy ended without an answer that can be read"),
        ("import sys; open(sys.argv[2], 'w').write('words')", "toy ended without an answer that can be read"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL on 12 faces, as when memory"),
        ("from protocol import run; run(lambda case, say: None)", "toy answered nothing"),
    ],
)
def test_a_tool_that_fails_is_unavailable_with_its_reason(
    tool: Callable[[str], str], case: Case, text: str, reason: str
) -> None:
    with pytest.raises(PeerUnavailable, match=re.escape(reason)):
        outside.ask(tool(text), case)


def test_a_tool_that_takes_too_long_is_stopped_with_what_it_started(
    tool: Callable[[str], str], case: Case, tmp_path: Path
) -> None:
    mark = tmp_path / "alive"
    child = f"import time; time.sleep(1.5); open({str(mark)!r}, 'w')"
    text = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    with pytest.raises(PeerUnavailable, match=r"toy took longer than 1 s on 12 faces"):
        outside.ask(tool(text), case, timeout=1)
    time.sleep(1.5)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({}, "without suspicion and seconds for 'x'"),
        ({"suspicion": np.zeros(11)}, r"suspicion that is not finite numbers of \(12,\)"),
        ({"suspicion": np.full(12, np.nan)}, "suspicion that is not finite"),
        ({"suspicion": np.zeros(12), "flagged": np.zeros(3, dtype=bool)}, "flagged that is not finite"),
        ({"suspicion": np.zeros(12), "distribution": np.zeros((12, 2))}, r"distribution .* of \(12, 3\)"),
        ({"suspicion": np.zeros(12), "label": np.full(12, 3)}, "labels that are not classes 0 to 2"),
    ],
)
def test_an_answer_that_does_not_fit_is_no_verdict(case: Case, parts: dict[str, Any], reason: str) -> None:
    table = {f"x/{name}": values for name, values in parts.items()} | {"x/seconds": np.array(1.0)}
    with pytest.raises(PeerUnavailable, match=reason):
        outside.verdicts("toy", table, case)


@pytest.mark.parametrize("name", OUTSIDE)
def test_an_absent_environment_says_how_to_get_it(
    name: str, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    with pytest.raises(
        PeerUnavailable, match=r"python benchmarks/peers/install\.py \w+, or name another folder"
    ) as told:
        PEERS[name](case)
    wanted = re.search(r"install\.py (\w+),", str(told.value))
    assert wanted is not None
    assert wanted[1] in environments.known()
    assert str(tmp_path) in str(told.value)
    assert environments.VARIABLE in str(told.value)


def test_crowdlab_needs_several_annotators(case: Case) -> None:
    alone = replace(case, annotators=None)
    with pytest.raises(PeerUnavailable, match=r"labels of several annotators.*votes that are the truth stay hidden"):
        PEERS["CROWDLAB"](alone)


def test_annotators_go_to_peers_only_with_the_labels_that_they_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    def probe(samples: Samples, features: object, seed: int, device: str) -> Posteriors:
        n = len(samples)
        values = np.full((n, 10), 0.1, dtype=np.float32)
        return Posteriors("probe", samples.ids, samples.classes, values, np.ones(n, bool), np.zeros(n, np.float32))

    monkeypatch.setattr(questions, "cross_fit", probe)
    bed = beds.open_bed("digits").sample(80)
    assert bed.annotators is None
    annotators = np.stack([bed.samples.label, np.roll(bed.samples.label, 1)], axis=1)
    bed = replace(bed, annotators=annotators).subset(np.arange(0, 80, 2))
    assert (bed.annotators == annotators[::2]).all()
    shared = questions.Shared.of(bed, 5, "cpu")
    as_given = questions.question(shared, bed.samples, 0, "cpu").case
    assert as_given.annotators is bed.annotators
    noisy = questions.relabeled(bed, parse("symmetric:0.2"), 0, shared.vectors)
    assert questions.question(shared, noisy, 0, "cpu").case.annotators is None


def test_every_environment_is_pinned_and_has_its_script() -> None:
    assert set(environments.known()) == {"cleanlab", "docta", "doubtlab", "fastdup", "pydvl", "selfclean"}
    assert set(environments.known()) >= environments.BORROWING
    for name in environments.known():
        lines = environments.requirements(name).read_text().split()
        assert all("==" in line for line in lines), name
        assert (EXTERNAL / f"{name}_run.py").is_file()
    for script in EXTERNAL.glob("*_run.py"):
        text = script.read_text()
        assert "run(main)" in text
        assert not re.search(r"^\s*(import|from) (fercleaner|pickle)", text, re.M), script.name


def test_environments_lie_where_the_variable_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    assert environments.folder() == tmp_path
    monkeypatch.delenv(environments.VARIABLE)
    assert environments.folder() == Path.home() / ".cache" / "fercleaner" / "peers"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The installer, which finds `environments` beside itself when it runs as a script."""
    monkeypatch.setitem(sys.modules, "environments", environments)
    return loaded(BENCHMARKS / "peers" / "install.py")


def test_the_installer_names_the_reason_and_keeps_what_was_there(
    install: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "fastdup" / "mark"
    there.parent.mkdir()
    there.touch()
    said = "WARNING: old pip\nERROR: No matching distribution found for fastdup==2.54\nERROR: see above"

    def build(name: str, place: Path, timeout: float) -> None:
        place.mkdir()
        if name == "fastdup":
            code = f"import sys; sys.stderr.write({said!r}); sys.exit(1)"
            install._run([sys.executable, "-c", code], timeout, "pip could not install it")

    monkeypatch.setattr(install, "_build", build)
    monkeypatch.setattr(install, "python_in", lambda place: Path(sys.executable))
    monkeypatch.setenv(environments.VARIABLE, str(tmp_path))
    (tmp_path / "external").mkdir()
    monkeypatch.setattr(install, "EXTERNAL", tmp_path / "external")
    (tmp_path / "external" / "doubtlab_run.py").touch()
    (tmp_path / "external" / "pydvl_run.py").write_text("import no_such_tool")
    assert install.main(["fastdup", "pydvl", "doubtlab"]) == 1
    told = capsys.readouterr()
    reason = "fastdup: not made, pip could not install it: No matching distribution found for fastdup==2.54\n"
    assert reason in told.err
    assert "pydvl: not made, pydvl was installed and cannot be imported: ModuleNotFoundError" in told.err
    assert told.out.startswith("doubtlab: ")
    assert there.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["doubtlab", "external", "fastdup"]


def test_the_installer_knows_its_names_and_its_time(install: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        install.main(["fastdub"])
    assert "no requirements for fastdub; known are cleanlab, docta" in capsys.readouterr().err
    with pytest.raises(install.InstallError, match=r"too slow: it took longer than 0\.3 s"):
        install._run([sys.executable, "-c", "import time; time.sleep(30)"], 0.3, "too slow")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mistakenness_follows_its_formula(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c = 30, 4
    posterior = rng.dirichlet(np.full(c, 0.5), n)
    posterior[0] = [1, 0, 0, 0]
    given = rng.integers(0, c, n)
    table = np.zeros((n, 1), dtype=np.int64)
    faces = np.zeros((n, 2), dtype=np.float32)
    said = PEERS["FiftyOne mistakenness"](
        Case(given, c, faces, np.arange(n), table, table.astype(np.float32), posterior, np.zeros(n))
    )
    confidence, entropy = oracle.mistakenness(given, posterior)
    np.testing.assert_allclose(said["FiftyOne mistakenness"].suspicion, confidence, atol=1e-12)
    np.testing.assert_allclose(said["FiftyOne mistakenness (entropy)"].suspicion, entropy, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_arithmetic_beside_the_tools_follows_its_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, a = 25, 3, 4
    given = rng.integers(0, c, n)
    one, other = rng.integers(0, n - 2, 90), rng.integers(0, n, 90)
    expected = oracle.label_score(list(zip(one, other, strict=True)), given.tolist())
    suspicion, flagged, label = scores.label_score(one, other, given)
    np.testing.assert_allclose(suspicion, expected[0], atol=1e-12)
    assert (flagged.tolist(), label.tolist()) == expected[1:]

    annotators = rng.integers(-1, c, (n, a))
    consensus, quality, detail = rng.integers(0, c, n), rng.random(n), rng.random((n, a))
    detail[annotators < 0] = np.nan
    doubt = scores.doubt(given, consensus, quality, annotators, detail)
    np.testing.assert_allclose(doubt, oracle.crowd_doubt(given, consensus, quality, annotators, detail), atol=1e-12)

    rounds = [(rng.choice(n, 4, replace=False), rng.choice(n, 15, replace=False)) for _ in range(6)]
    share = scores.share_suspected(rounds, n)
    for i in range(n):
        assert share[i] == (1 + sum(i in some for some, _ in rounds)) / (2 + sum(i in of for _, of in rounds))


def test_classes_that_were_never_given_are_left_out() -> None:
    posterior = np.array([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
    seen, given, part = scores.seen_classes(np.array([0, 2]), posterior)
    assert (seen.tolist(), given.tolist()) == ([0, 2], [0, 1])
    np.testing.assert_allclose(part, [[2 / 7, 5 / 7], [0.5, 0.5]])
