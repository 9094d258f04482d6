"""The one command that trains the builtin model: order, skipping, slices, steps that are killed or fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import builtin_all
from builtin_all import UNFINISHED, Step, run, steps


def python(name: str, text: str, work: Path, leaves: tuple[str, ...] = (), body: bool = False) -> Step:
    """A step that notes its start in WORK/log and runs `text` in WORK."""
    head = f"import os, time, pathlib as p; os.chdir({str(work)!r}); open('log', 'a').write('{name} ')\n"
    return Step(name, "a test", (sys.executable, "-c", head + text), leaves, body)


def log(work: Path) -> list[str]:
    return (work / "log").read_text().split()


def test_steps_run_in_order_and_once(tmp_path: Path) -> None:
    todo = [python(name, f"p.Path('{name}.out').touch()", tmp_path, (f"{name}.out",)) for name in "abc"]
    assert run(todo, tmp_path, None) == 0
    assert run(todo, tmp_path, None) == 0
    assert log(tmp_path) == ["a", "b", "c"]
    (tmp_path / "b.out").unlink()
    assert run(todo, tmp_path, None) == 0
    assert log(tmp_path) == ["a", "b", "c", "b"]


def test_a_step_that_fails_or_leaves_nothing_is_not_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [python("a", "raise SystemExit(7)", tmp_path), python("b", "", tmp_path)]
    assert run(bad, tmp_path, None) == 1
    assert "Step a failed (exit status 7)" in capsys.readouterr().err
    assert run([python("a", "", tmp_path, ("a.out",))], tmp_path, None) == 1
    assert "Step a has ended without a.out" in capsys.readouterr().err
    assert run([python("a", "", tmp_path), bad[1]], tmp_path, None) == 0
    assert log(tmp_path) == ["a", "a", "a", "b"]


def test_the_slice_ends_a_step_that_goes_on_from_what_it_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = "for k in range(3):\n f = p.Path(f'{k}.part')\n if not f.exists(): time.sleep(30 * (k == 1)); f.touch()\n"
    todo = [python("a", "", tmp_path), python("b", slow, tmp_path), python("c", "", tmp_path)]
    assert run(todo, tmp_path, 4 / 60) == UNFINISHED
    said = capsys.readouterr().out
    assert "1 of 3 steps are done. The same command goes on with b.\n" in said
    assert (tmp_path / "0.part").exists()
    assert not (tmp_path / "1.part").exists()
    (tmp_path / "1.part").touch()
    assert run(todo, tmp_path, 1) == 0
    assert log(tmp_path) == ["a", "b", "b", "c"]
    again = [python("d", "time.sleep(30)", tmp_path)]
    assert run(again, tmp_path, 0.5 / 60) == UNFINISHED
    assert "goes on with d. If it gets no further, give it more --minutes." in capsys.readouterr().out


def test_a_body_changed_in_place_starts_from_the_step_before_however_often(tmp_path: Path) -> None:
    """The second step is killed by SIGKILL after it has changed the body; what it left is not built upon."""
    change = "b = p.Path('body.safetensors'); b.write_text((b.read_text() if b.exists() else '') + '{}')\n"
    kill = "if not p.Path('once').exists(): p.Path('once').touch(); os.kill(os.getpid(), 9)\n"
    todo = [
        python("one", change.format(1), tmp_path, body=True),
        python("between", "", tmp_path),
        python("two", change.format(2) + kill, tmp_path, body=True),
        python("three", change.format(3), tmp_path, body=True),
    ]
    assert run(todo, tmp_path, None) == 1
    assert (tmp_path / "body.safetensors").read_text() == "12"
    assert run(todo, tmp_path, None) == 0
    assert log(tmp_path) == ["one", "between", "two", "two", "three"]
    assert (tmp_path / "body_two.safetensors").read_text() == "12"
    assert (tmp_path / "body_three.safetensors").read_text() == "123"


def test_a_step_that_outlives_its_command_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command is killed by SIGKILL; its step lives on, and a second command starts nothing beside it."""
    text = (
        f"import sys; sys.path.insert(0, {str(Path(builtin_all.__file__).parent)!r})\n"
        "from pathlib import Path; from builtin_all import Step, run\n"
        f"work = Path({str(tmp_path)!r})\n"
        "slow = 'import time; from pathlib import Path; Path(%r).touch(); time.sleep(60)' % str(work / 'began')\n"
        "run([Step('slow', 'a test', (sys.executable, '-c', slow), ())], work, None)\n"
    )
    command = subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not (tmp_path / "began").exists() and time.monotonic() < end:
        time.sleep(0.05)
    command.kill()
    command.wait()
    assert run([python("a", "", tmp_path)], tmp_path, None) == 1
    said = capsys.readouterr().err
    assert "is at work (step slow, process " in said
    os.killpg(int(said.split("process ")[1].split(")")[0]), signal.SIGKILL)
    while run([python("a", "", tmp_path)], tmp_path, None) and time.monotonic() < end:
        time.sleep(0.05)
    assert log(tmp_path) == ["a"]


def test_the_plan_names_what_is_there(tmp_path: Path) -> None:
    """Every script exists, each name once, every file that a step takes from WORK is left by one before it."""
    for quick in (False, True):
        plan = steps(tmp_path / "shared", tmp_path / "work", quick)
        assert len({step.name for step in plan}) == len(plan)
        left = {"wild_train.parquet", "cache", "", "small"}
        for step in plan:
            assert all(Path(word).is_file() for word in step.argv if word.endswith(".py"))
            made = {*step.leaves, *step.outputs}
            for word in step.argv:
                path = Path(word)
                if path.is_relative_to(tmp_path / "work") and path != tmp_path / "work":
                    assert path.relative_to(tmp_path / "work").parts[0] in left | {Path(m).parts[0] for m in made}
            left |= {Path(name).parts[0] for name in made}


def test_what_is_not_installed_is_named_with_its_step(monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtin_all.importlib.util.find_spec
    monkeypatch.setattr(builtin_all.importlib.util, "find_spec", lambda n: None if n == "openvino" else known(n))
    todo = [Step("a", "", (), (), needs=("json",)), Step("b", "", (), (), needs=("openvino",))]
    assert builtin_all.missing_packages(todo) == (
        "Not installed: openvino (step b). pip install openvino, and run this again."
    )
    assert builtin_all.missing_packages(todo[:1]) == ""


def test_other_settings_are_refused(tmp_path: Path) -> None:
    todo = steps(tmp_path, tmp_path / "work", quick=False)
    assert not builtin_all.other_settings(tmp_path / "work", todo)
    assert not builtin_all.other_settings(tmp_path / "work", todo)
    assert builtin_all.other_settings(tmp_path / "work", steps(tmp_path, tmp_path / "work", quick=True))


def test_a_checkout_at_another_place_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    todo = steps(tmp_path, tmp_path / "work", quick=False)
    assert not builtin_all.other_settings(tmp_path / "work", todo)
    monkeypatch.setattr(builtin_all, "ROOT", Path("/elsewhere"))
    monkeypatch.setattr(sys, "executable", "/elsewhere/python")
    assert not builtin_all.other_settings(tmp_path / "work", steps(tmp_path, tmp_path / "work", quick=False))
