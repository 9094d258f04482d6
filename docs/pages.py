"""Pages of the manual that are made from the code: methods, command line, API, constants, folders.

They are written to docs/made/, which is not kept, each time the manual is built.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

from docstrings import escaped, markdown, summary, table
from measured import cluster, federation

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
MADE = DOCS / "made"
sys.path.insert(0, str(ROOT / "tests"))

#: Pages that index.md names itself, by pattern; every other page is listed under "More".
PLACED = (
    "index.md", "start-here.md", "concepts.md", "how-to-*.md", "methods.md", "consensus.md", "hypergraph-notes.md",
    "audit.md", "review.md", "export.md", "annotators.md", "federation.md", "reading.md", "command-line.md", "api.md",
    "file-format.md", "constants.md", "glossary.md", "benchmarks.md", "model-card.md", "ethics.md",
    "design-notes.md", "architecture.md", "more.md",
)  # fmt: skip
#: Folders whose numbers a result hangs on; those of the others hold sizes of buffers, names of files and the like.
STATISTICAL = (
    "similarity",
    "classifiers",
    "noise",
    "methods",
    "evaluation",
    "results",
    "pipeline",
    "landmarks",
    "federation",
)


def write_all() -> None:
    """Write every page that is made from the code, where its text is not that already."""
    MADE.mkdir(exist_ok=True)
    made = {
        "commands.md": commands(),
        "api.md": api(),
        "constants.md": constants_page(),
        "folders.md": folders(),
        "federation.md": federation(),
        "cluster.md": cluster(),
        "more.md": more(),
        **{f"method-{name}.md": page for name, page in method_pages().items()},
    }
    for old in MADE.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        path = MADE / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def code(text: object) -> str:
    """Return text as a code span that may stand in a table."""
    return f"`{text}`".replace("|", "\\|")


def method_pages() -> dict[str, str]:
    """Return a page for each method: paper, needs, what its docstring says, defaults."""
    from fercleaner.methods import METHODS

    def words(names: frozenset[str]) -> str:
        return ", ".join(sorted(names)).replace("_", " ") or "nothing else"

    pages = {}
    for name, kind in METHODS.items():
        file = Path(inspect.getfile(kind)).resolve().relative_to(ROOT).as_posix()
        defaults = [[code(field.name), code(field.default)] for field in fields(kind)]
        pages[name] = "\n\n".join(
            [
                f"# {name}",
                f"Paper: {escaped(kind.paper)}. Needs {words(kind.needs)}; uses {words(kind.optional)} where there. "
                f"Code: [{file}](../../{file}).",
                markdown(kind.__doc__, 2),
                "## Defaults",
                f'Set one with `--set NAME=VALUE`, or `methods.build("{name}", {{"NAME": "VALUE"}})`.',
                table(["parameter", "default"], defaults),
                "",
            ]
        )
    return pages


def commands() -> str:
    """Return what every command takes and does, from the commands themselves."""
    from fercleaner.cli.app import app
    from typer.main import get_command

    group: Any = get_command(app)
    return "\n\n".join([*_commands_of(group, "fercleaner"), ""])


def _commands_of(group: Any, before: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands_of(command, f"{before} {name}")
        elif not command.hidden:
            yield from _command(command, f"{before} {name}")


def _command(command: Any, words: str) -> Iterator[str]:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    called = [p.metavar or (p.name or "").upper() for p in arguments]
    usage = " ".join([words, *(m if p.required else f"[{m}]" for p, m in zip(arguments, called, strict=True))])
    yield from (f"## {words}", f"```console\n$ {usage} [OPTIONS]\n```", markdown(command.help, 0))
    if arguments:
        rows = [[code(m), escaped(p.help or "")] for p, m in zip(arguments, called, strict=True)]
        yield table(["argument", "meaning"], rows)
    panels: dict[str, list[Any]] = {}
    for option in command.params:
        if option.param_type_name == "option" and not getattr(option, "hidden", False):
            panels.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(option)
    for panel, members in panels.items():
        yield f"**{panel}**"
        yield table(["option", "default", "meaning"], [_option(option) for option in members])


def _option(option: Any) -> list[str]:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else " " + code(option.metavar or option.name.upper())
    default = option.default
    plain = isinstance(default, (str, int, float, Path)) and not isinstance(default, bool)
    return [names + value, code(default) if plain else "", escaped(option.help or "")]


def api() -> str:
    """Return the public names, `fercleaner.__all__`, with signatures and docstrings."""
    import fercleaner

    names = [name for name in fercleaner.__all__ if not name.startswith("_")]
    objects = {name: getattr(fercleaner, name) for name in names}
    functions = [name for name in names if not inspect.isclass(objects[name])]
    parts = [table(["name", "what"], [[f"[`{n}`](#fercleaner.{n})", summary(objects[n].__doc__)] for n in names])]
    for title, members in (("Functions", functions), ("Types", [n for n in names if n not in functions])):
        parts.append(f"## {title}")
        parts += [_described(name, objects[name]) for name in members]
    return "\n\n".join([*parts, ""])


def _described(name: str, thing: Any) -> str:
    kind = "function"
    if inspect.isclass(thing):
        kind = "exception" if issubclass(thing, BaseException) else "class"
    body = [markdown(thing.__doc__, 0)]
    if kind == "exception":
        rows = [[code(sub.__name__), summary(sub.__doc__)] for sub in _below(thing)]
        body.append(table(["kind", "what"], rows))
    elif kind == "class":
        own = {field.name for field in fields(thing)} if is_dataclass(thing) else set()
        body += [_member(key, value) for key, value in vars(thing).items() if key not in own and _shown(key, value)]
    text = "\n\n".join(body)
    return f"### {name}\n\n`````{{py:{kind}}} fercleaner.{name}{_signature(thing, kind)}\n\n{text}\n`````"


def _below(kind: type) -> Iterator[type]:
    for sub in kind.__subclasses__():
        if sub.__module__.startswith("fercleaner."):
            yield sub
            yield from _below(sub)


def _shown(key: str, value: Any) -> bool:
    thing = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    return not key.startswith("_") and inspect.isfunction(thing) and bool(thing.__doc__)


def _member(key: str, value: Any) -> str:
    thing = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
    kind = "property" if isinstance(value, property) else "method"
    signature = "" if kind == "property" else _signature(thing, kind)
    return f"````{{py:{kind}}} {key}{signature}\n\n{markdown(thing.__doc__, 0)}\n````"


def _signature(thing: Any, kind: str) -> str:
    """Return "(a, b=1, c=...)": names and plain defaults; the types stand under Parameters."""
    if kind == "exception" or (kind == "class" and not is_dataclass(thing)):
        return ""
    words, starred = [], False
    for parameter in inspect.signature(thing).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            words, starred = [*words, "*"], True
        default = parameter.default
        plain = default is None or isinstance(default, (bool, int, float, str)) or default == ()
        text = "" if default is parameter.empty else f"={default!r}" if plain else "=..."
        words.append(parameter.name + text)
    return f"({', '.join(words)})"


class Constant(NamedTuple):
    """A named number: folder and file, name, value as written, what the comment above says ("" without one)."""

    file: str
    name: str
    value: str
    meaning: str


def constants() -> list[Constant]:
    """Return the named numbers of the statistical folders, with the comment that stands above each."""
    found = []
    for folder in STATISTICAL:
        for path in sorted((ROOT / "fercleaner" / folder).rglob("*.py")):
            found += list(_constants_of(path))
    return found


def _constants_of(path: Path) -> Iterator[Constant]:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    meaning, last = "", -1
    for node in ast.parse(text).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        known = [name.id for name in names if isinstance(name, ast.Name)]
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or value is None or not known:
            continue
        above = _comment(lines, node.lineno - 2)
        if above or node.lineno != last + 1:
            meaning = above
        last = node.end_lineno or node.lineno
        if all(name.upper() == name and not name.startswith("_") for name in known) and _numeric(value):
            file = path.relative_to(ROOT / "fercleaner").as_posix()
            yield Constant(file, ", ".join(known), " ".join(ast.unparse(value).split()), meaning)


def _comment(lines: Sequence[str], row: int) -> str:
    """Return the `#:` comment that ends in this row (from 0)."""
    said: list[str] = []
    while row >= 0 and lines[row].startswith("#:"):
        said.insert(0, lines[row].removeprefix("#:").strip())
        row -= 1
    return " ".join(said)


def _numeric(value: ast.expr) -> bool:
    """Whether an expression is made of numbers alone (and functions of them)."""
    leaves = [node for node in ast.walk(value) if isinstance(node, ast.Constant)]
    shapes = (ast.Dict, ast.JoinedStr, ast.Subscript, ast.Lambda)
    return (
        bool(leaves)
        and all(isinstance(leaf.value, (int, float)) and not isinstance(leaf.value, bool) for leaf in leaves)
        and not any(isinstance(node, shapes) for node in ast.walk(value))
    )


def constants_page() -> str:
    """Return the table of constants, a section a folder."""
    parts, moved = [], moves()
    for folder in STATISTICAL:
        rows = [c for c in constants() if c.file.split("/")[0] == folder]
        if rows:
            parts += [
                f"## {folder}",
                table(["name", "value", "meaning, unit, reason", "what moves", "file"], [_row(c, moved) for c in rows]),
            ]
    return "\n\n".join([*parts, ""])


def moves() -> dict[tuple[str, str], str]:
    """Return, by file and name, the largest changes that benchmarks/sensitivity.py saw."""
    held = json.loads((ROOT / "benchmarks/results/sensitivity.json").read_text(encoding="utf-8"))
    found = {}
    for number in held["numbers"]:
        changes = [row for row in number["changes"] if "refused" not in row]
        largest = {what: max((row[what] for row in changes), key=abs, default=0.0) for what in ("AP", "accuracy")}
        said = [f"{what} {value:+.3f}" for what, value in largest.items() if abs(value) >= 0.0005]
        found[number["file"], number["name"]] = ", ".join(said) or ("below .0005" if changes else "refused")
    return found


def _row(constant: Constant, moved: Mapping[tuple[str, str], str]) -> list[str]:
    meaning = escaped(constant.meaning) or "(no comment)"
    names = constant.name.split(", ")
    said = [(name, moved[constant.file, name]) for name in names if (constant.file, name) in moved]
    text = said[0][1] if len(names) == 1 and said else "; ".join(f"{name}: {what}" for name, what in said)
    return [code(constant.name), code(constant.value), meaning, text, code(constant.file.partition("/")[2])]


def folders() -> str:
    """Return the rows of folders, lowest first, with what each is for."""
    from test_architecture import ROWS

    rows = []
    for number, names in enumerate(ROWS, 1):
        for name in names:
            start = ROOT / ("cli" if name == "cli" else f"fercleaner/{name}") / "__init__.py"
            if start.exists():
                rows.append([str(number), code(name), summary(ast.get_docstring(ast.parse(start.read_text("utf-8"))))])
    return table(["row", "folder", "what it is for"], rows) + "\n"


def more() -> str:
    """Return a list of the pages that index.md does not place itself."""
    others = [p.stem for p in sorted(DOCS.glob("*.md")) if not any(p.match(pattern) for pattern in PLACED)]
    if not others:
        return "# More\n\nNothing else yet.\n"
    return "\n".join(["# More", "", "```{toctree}", ":maxdepth: 1", "", *(f"/{name}" for name in others), "```", ""])
