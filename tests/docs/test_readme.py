"""README.md is true: its tables, commands and Python blocks agree with the code and with benchmarks/results."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import readme_blocks as blocks
import typer
from cli_runs import run
from fercleaner.cli.app import app
from fercleaner.cli.refine import pairs
from typer.main import get_command

from fercleaner import datasets, encoders, landmarks, methods
from fercleaner.results.parquet import SCHEMA_TABLE

#: Click's, whether Typer brings its own Click or not.
UsageError = typer.BadParameter.__mro__[1]

TEXT = blocks.README.read_text(encoding="utf-8")
GROUP = get_command(app)


def fences(language: str) -> list[str]:
    """Return the content of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Return every command line of ours: in sh blocks, after "$ " in console blocks, and between backquotes."""
    found = [line for block in fences("sh") for line in block.replace("\\\n", " ").splitlines()]
    found += [line.removeprefix("$ ") for block in fences("console") for line in block.splitlines() if line[:2] == "$ "]
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    found += [" ".join(text.split()) for text in re.findall(r"`(fercleaner [^`]*)`", prose)]
    return list(dict.fromkeys(line for line in found if line.startswith("fercleaner ")))


def parsed(line: str) -> typer.Context | None:
    """Return the context of a command line's command; UsageError for what cannot be parsed.

    None for options of the whole program, and where arguments are missing: prose names commands without them.
    """
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
    while words and words[0] in ("--debug", "--help", "--version"):
        words.pop(0)
    if not words:
        return None
    if words[0] not in GROUP.commands:
        raise UsageError(f"no command '{words[0]}'")
    try:
        return GROUP.commands[words[0]].make_context(words[0], words[1:])
    except UsageError as error:
        if type(error).__name__ == "MissingParameter":
            return None
        raise


def rows_of(name: str) -> list[list[str]]:
    """Return the cells of the table in a part, without head and rule."""
    lines = [line for line in blocks.part(TEXT, name).splitlines() if line.startswith("|")]
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("name", blocks.PARTS)
def test_parts_made_from_code_and_results_are_up_to_date(name):
    assert blocks.part(TEXT, name) == blocks.PARTS[name](), (
        f"README's part '{name}' is out of date: python tests/readme_blocks.py"
    )


@pytest.mark.parametrize("name", ["demo", "evidence"])
def test_the_demo_was_run(name):
    assert len(blocks.part(TEXT, name).splitlines()) > 5, "python tests/readme_blocks.py --demo"


def test_schema_is_that_of_the_store():
    assert [tuple(row) for row in rows_of("schema")] == [
        (name, kind, text.strip("`")) for name, kind, text in SCHEMA_TABLE
    ]


def test_every_method_stands_with_a_file_that_is_there():
    rows = {row[0]: row for row in rows_of("methods")}
    assert list(rows) == list(methods.METHODS)
    for name, row in rows.items():
        file = re.fullmatch(r"\[(.+)\]\((.+)\)", row[2])
        assert file is not None
        assert file[1] == file[2]
        assert f'name: ClassVar[str] = "{name}"' in (blocks.ROOT / file[1]).read_text(encoding="utf-8")


def test_quality_figures_are_the_rounded_means_of_the_results():
    content = blocks.results(blocks.HUMAN)
    stamp = blocks.part(TEXT, "quality").splitlines()[0]
    assert f"{content['judged']['6']:,} of {content['faces']:,} judged" in stamp
    assert content["date"][:10] in stamp
    rows = {row[0]: row[1:] for row in rows_of("quality")}
    assert len(rows) == len(rows_of("quality"))
    assert set(rows) <= set(content["summary"])
    assert set(methods.METHODS) <= set(rows)
    for tool, cells in rows.items():
        figures = content["summary"][tool]["6"]
        for (key, _, _), cell in zip(blocks.COLUMNS, cells, strict=True):
            if cell:
                assert float(cell) == pytest.approx(figures[key]["mean"], abs=0.00051), (tool, key)


def test_aims_are_judged_both_ways():
    verdict = blocks._verdict
    assert verdict(0.9, 0.8, True) == verdict(0.8, 0.8, True) == verdict(0.1, 0.2, False) == "met"
    assert verdict(0.79, 0.8, True) == verdict(0.21, 0.2, False) == "**missed**"


@pytest.mark.parametrize("line", commands())
def test_every_command_line_can_be_parsed(line):
    context = parsed(line)
    if context is None or context.info_name != "refine":
        return
    chosen = context.params
    if "NAME" not in line:
        methods.build(chosen["method"], pairs(chosen["settings"], "--set"))
    assert chosen["layout"] == "auto" or chosen["layout"] in datasets.LAYOUTS
    for tag in chosen["encoder"] or []:
        assert tag.partition(":")[0] in (*encoders.KINDS, "none")
    assert chosen["landmarks"].partition(":")[0] in (*landmarks.KINDS, "auto")


@pytest.mark.parametrize("line", ["fercleaner refine a --enc hog", "fercleaner clean a", "fercleaner show a --top few"])
def test_a_command_line_that_is_wrong_is_seen(line):
    with pytest.raises(UsageError):
        parsed(line)


def test_options_named_in_the_text_exist():
    known = {"--version", "--debug", "--help"}
    for command in GROUP.commands.values():
        known |= {name for parameter in command.params for name in parameter.opts}
    outside = {"--data", "--noise", "--seeds", "--demo", "--classifier"}  # of the scripts
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", TEXT))
    assert named - outside - known == set()
    assert len(commands()) > 12


def test_commands_layouts_encoders_and_detectors_are_all_named():
    for command in GROUP.commands:
        assert re.search(rf"fercleaner {command}\b", TEXT), command
    for name in datasets.LAYOUTS:
        assert f"`{name}`" in TEXT
    for kind in encoders.KINDS:
        assert re.search(rf"[` ]{kind}[:`]", TEXT), kind
    for kind in landmarks.KINDS:
        assert f"--landmarks {kind}" in TEXT, kind


def test_keys_of_evaluate_are_those_listed():
    from fercleaner.core.refined import RefinedSet
    from fercleaner.datasets.truth import Truth
    from fercleaner.evaluation.against_truth import evaluate

    eye = [[1.0, 0.0], [0.0, 1.0]]
    refined = RefinedSet(
        ids=["a", "b"], paths=["", ""], split=["", ""], classes=("fear", "anger"), labeled=[True, True], given=eye,
        distribution=eye, weight=[1, 1], quality=[1, 0], flagged=[False, False], changed=[False, False],
        reason=["", ""], neighbors_for=((), ()), neighbors_against=((), ()),
    )  # fmt: skip
    truth = Truth(refined.ids, refined.classes, None, [0, 0], [1, 1], [1, 1], "here")
    figures = evaluate(refined, truth).to_dict()
    said = TEXT[TEXT.index("`--json` prints one object") :].split("\n\n")[0]
    listed = re.findall(r"`([a-z_0-9]+)`", said)
    assert listed == [*figures, *figures["flags"]]


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (blocks.ROOT / target).exists(), target
    headings = {line.lstrip("# ").lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith("#")}
    for anchor in re.findall(r"\]\(#([^)]+)\)", TEXT):
        assert anchor in headings


def test_makefile_runs_the_demo_shown():
    recipe = (blocks.ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    recipe = recipe.replace("$(BIN)/", "").replace("$(DEMO)", "demo")
    made = [" ".join(line.split()) for line in recipe.splitlines() if line.startswith("\tfercleaner ")]
    shown = [line.removeprefix("$ ") for line in blocks.part(TEXT, "demo").splitlines() if line.startswith("$ ")]
    assert made == shown


def test_python_blocks_run_on_a_small_demo(tmp_path, monkeypatch, capsys):
    """The blocks run in order, in one namespace, in the folder that `make demo` would leave."""
    monkeypatch.chdir(tmp_path)
    run("demo", "demo", "--faces", 42)
    written = "demo/demo.refined.parquet"
    points = "points:demo/landmarks.npz"
    run("refine", "demo", "--method", "hypergraph", "--encoder", "hog", "--landmarks", points, "--out", written,
        "--cache", tmp_path / "cache", "--workers", 0)  # fmt: skip
    found = fences("python")
    assert len(found) == 4
    space: dict[str, object] = {"__name__": "readme"}
    monkeypatch.setitem(__import__("sys").modules, "readme", type(pytest)("readme"))
    for number, block in enumerate(found, 1):
        exec(compile(block, f"README.md, Python block {number}", "exec"), space)
    assert "given_label" in capsys.readouterr().out
    assert Path("again.refined.parquet").is_file()


def test_nothing_of_this_machine_stands_in_the_texts():
    names = ("README.md", "CHANGELOG.md", "CITATION.cff", "Makefile")
    for name in names:
        text = (blocks.ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"/(?:home|root|work|tmp|Users)/", text), name
