"""README.md and the manual are true: tables, commands and Python blocks agree with the code and benchmarks/results."""

from __future__ import annotations

import re
import shlex
import sys
import types
from pathlib import Path

import pytest
import readme_blocks as blocks
import typer
from cli_runs import run
from fercleaner.cli.app import app
from fercleaner.cli.refine import pairs
from proof_blocks import Aim
from typer.main import get_command

import fercleaner
from fercleaner import datasets, encoders, landmarks, methods
from fercleaner.results.parquet import SCHEMA_TABLE

#: Click's, whether Typer brings its own Click or not.
UsageError = typer.BadParameter.__mro__[1]

PAGES = {path.name: path.read_text(encoding="utf-8") for path in (blocks.README, *sorted(blocks.DOCS.glob("*.md")))}
TEXT = "\n\n".join(PAGES.values())
#: Pages whose Python blocks run in order, in one namespace, in the folder that `make demo` would leave.
RUNNABLE = {"README.md": 1, "how-to-train.md": 3, "methods.md": 1}
GROUP = get_command(app)
MOST_LINES = 200


def fences(language: str, text: str = TEXT) -> list[str]:
    """Return the content of the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def content(name: str) -> str:
    """Return what stands in a part, in the file that it belongs to."""
    return blocks.part(blocks.PLACES[name].read_text(encoding="utf-8"), name)


def commands() -> list[str]:
    """Return every command line of ours: in sh blocks, after "$ " in console blocks, and between backquotes."""
    found = [line for block in fences("sh") for line in block.replace("\\\n", " ").splitlines()]
    found += [line.removeprefix("$ ") for block in fences("console") for line in block.splitlines() if line[:2] == "$ "]
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    found += [" ".join(text.split()) for text in re.findall(r"`(fercleaner [^`]*)`", prose)]
    return list(dict.fromkeys(line for line in found if re.match(r"fercleaner (?![A-Z])", line)))


def parsed(line: str) -> typer.Context | None:
    """Return the context of a command line's command; UsageError for what cannot be parsed.

    None for options of the whole program, and where arguments are missing: prose names commands without them.
    """
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
    while words and words[0] in ("--debug", "--help", "--version"):
        words.pop(0)
    if not words:
        return None
    command = GROUP
    while hasattr(command, "commands"):
        name = words.pop(0) if words else ""
        if name not in command.commands:
            raise UsageError(f"no command '{name}'")
        command = command.commands[name]
    try:
        return command.make_context(name, words)
    except UsageError as error:
        if type(error).__name__ == "MissingParameter" or "requires an argument" in str(error):
            return None
        raise


def rows_of(name: str) -> list[list[str]]:
    """Return the cells of the table in a part, without head and rule."""
    lines = [line for line in content(name).splitlines() if line.startswith("|")]
    return [[cell.strip(" `*") for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("name", blocks.PARTS)
def test_parts_made_from_code_and_results_are_up_to_date(name):
    assert content(name) == blocks.PARTS[name](), (
        f"The part '{name}' of {blocks.PLACES[name].name} is out of date: python tests/support/readme_blocks.py"
    )


@pytest.mark.parametrize("name", ["demo", "evidence"])
def test_the_demo_was_run(name):
    assert len(content(name).splitlines()) > 5, "python tests/support/readme_blocks.py --demo"


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
        assert file[2] == f"../{file[1]}"
        assert f'name: ClassVar[str] = "{name}"' in (blocks.ROOT / file[1]).read_text(encoding="utf-8")


def test_quality_figures_are_the_rounded_means_of_the_results():
    measured = blocks.results(blocks.HUMAN)
    stamp = content("quality").splitlines()[0]
    assert f"{measured['judged']['6']:,} of {measured['faces']:,} judged" in stamp
    assert measured["date"][:10] in stamp
    rows = {row[0]: row[1:] for row in rows_of("quality")}
    assert len(rows) == len(rows_of("quality"))
    assert set(rows) <= set(measured["summary"])
    assert set(methods.METHODS) <= set(rows)
    for tool, cells in rows.items():
        figures = measured["summary"][tool]["6"]
        for (key, _, _), cell in zip(blocks.COLUMNS, cells, strict=True):
            if cell:
                assert float(cell) == pytest.approx(figures[key]["mean"], abs=0.00051), (tool, key)


def test_every_aim_that_was_missed_is_named_before_the_table():
    rows = rows_of("aims")
    missed = [f"{row[1]} ({row[0]})".replace("`", "") for row in rows if row[3].endswith("missed")]
    first = content("aims").splitlines()[0].replace("`", "")
    assert first == f"{len(rows) - len(missed)} of {len(rows)} are met. Missed: {'; '.join(missed)}."
    for row in rows:
        sign, aim, reached = *row[2].split(), row[3].split()[0].rstrip(",")
        apart = float(reached) - float(aim)
        assert row[3].endswith("missed") == ((apart if sign == "<=" else -apart) > 0), row


def test_aims_are_judged_both_ways():
    verdict = blocks._verdict
    assert verdict(0.9, 0.8, True) == verdict(0.8, 0.8, True) == verdict(0.1, 0.2, False) == "met"
    assert verdict(0.79, 0.8, True) == verdict(0.21, 0.2, False) == "**missed**"
    aims = [Aim("", "", aim, reached, most) for aim, reached, most in ((0.8, 0.8, False), (0.2, 0.2, True))]
    assert all(aim.met for aim in aims)
    assert not Aim("", "", 0.8, 0.79).met
    assert not Aim("", "", 0.2, 0.21, most=True).met


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


def commands_of(group, before: str = "") -> dict[str, typer.Context]:
    """Return the commands of a group by their words, those of groups in it as well."""
    found = {}
    for name, command in group.commands.items():
        words = f"{before} {name}".strip()
        found |= commands_of(command, words) if hasattr(command, "commands") else {words: command}
    return found


def test_options_named_in_the_text_exist():
    known = {"--version", "--debug", "--help"}
    for command in commands_of(GROUP).values():
        known |= {name for parameter in command.params for name in parameter.opts}
    for script in (blocks.ROOT / "benchmarks").rglob("*.py"):
        known |= set(re.findall(r'"(--[a-z][a-z-]*)"', script.read_text(encoding="utf-8")))
    ours = re.sub(
        r"`[^`\n]*(?:python|\.py|make|pip|sphinx|pytest|flower-superlink)\b[^`\n]*`"
        r"|^[^\n]*(?:python|pip|ray|flwr|sbatch|flower-supernode|flower-superlink|moto_server) [^\n]*$",
        "",
        TEXT.replace("\\\n", " "),
        flags=re.M,
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", ours))
    assert named - {"--demo"} - known == set()
    assert len(commands()) > 12


def test_commands_layouts_encoders_and_detectors_are_all_named():
    for name in datasets.LAYOUTS:
        assert f"`{name}`" in TEXT
    for kind in encoders.KINDS:
        assert re.search(rf"[` ]{kind}[:`]", TEXT), kind
    for kind in landmarks.KINDS:
        assert f"--landmarks {kind}" in TEXT, kind


def test_readme_stays_short():
    assert len(PAGES["README.md"].splitlines()) <= MOST_LINES


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


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    folder = blocks.ROOT if name == "README.md" else blocks.DOCS
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", PAGES[name]):
        if "://" in target or target.startswith("auto_examples/"):
            continue
        assert (folder / target).exists(), target
        if anchor:
            text = (folder / target).read_text(encoding="utf-8") if target else PAGES[name]
            headings = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).strip().replace(" ", "-")
                        for line in text.splitlines() if line.startswith("#")}  # fmt: skip
            assert anchor in headings or f"({anchor})=" in text, anchor


def test_makefile_runs_the_demo_shown():
    recipe = (blocks.ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    recipe = recipe.replace("$(BIN)/", "").replace("$(DEMO)", "demo")
    made = [" ".join(line.split()) for line in recipe.splitlines() if line.startswith("\tfercleaner ")]
    shown = [line.removeprefix("$ ") for line in content("demo").splitlines() if line.startswith("$ ")]
    assert made == shown


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder that `make demo` would leave, of fewer faces."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("demo", "demo", "--faces", 42)
        points = "points:demo/landmarks.npz"
        run("refine", "demo", "--method", "hypergraph", "--encoder", "hog", "--landmarks", points, "--out",
            "demo/demo.refined.parquet", "--cache", folder / "cache", "--workers", 0)  # fmt: skip
    return folder


@pytest.mark.parametrize("name", RUNNABLE)
def test_python_blocks_run_on_a_small_demo(name, demo, monkeypatch):
    monkeypatch.chdir(demo)
    found = fences("python", PAGES[name])
    assert len(found) == RUNNABLE[name]
    space: dict[str, object] = {"__name__": "page"}
    monkeypatch.setitem(sys.modules, "page", types.ModuleType("page"))
    for number, block in enumerate(found, 1):
        exec(compile(block, f"{name}, Python block {number}", "exec"), space)
    assert ("again.refined.parquet" in PAGES[name]) == Path("again.refined.parquet").is_file() or name == "methods.md"


def test_metadata_keys_are_those_listed(demo):
    listed = {row[0] for row in rows_of_table(PAGES["file-format.md"], "entry")}
    written = fercleaner.load(demo / "demo" / "demo.refined.parquet").metadata
    assert set(written) <= listed
    of_the_file = {"schema", "classes", "digest"}
    assert listed - set(written) == {
        *(*of_the_file, "precision", "learn_from", "decisions", "annotators", "boxed", "read_as"),
    }


def rows_of_table(text: str, head: str) -> list[list[str]]:
    """Return the cells of the table whose first heading is this."""
    lines = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_nothing_of_this_machine_stands_in_the_texts():
    names = ("CHANGELOG.md", "CITATION.cff", "Makefile")
    for name, text in {**PAGES, **{name: (blocks.ROOT / name).read_text(encoding="utf-8") for name in names}}.items():
        assert not re.search(r"/(?:home|root|work|tmp|Users)/", text), name
