"""The house as it is meant to stand: imports point one way, heavy packages stay in their rooms, files stay short."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: Folders, lowest row first; code imports from its own row and from rows above it in this list.
ROWS = (
    ("core",),
    ("extraction", "similarity", "noise", "demo"),
    ("datasets", "encoders", "classifiers"),
    ("landmarks", "evaluation"),
    ("methods",),
    ("results",),
    ("report", "pipeline", "review"),
    ("federation", "training", "engine"),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(ROWS) for name in names}
#: More folders of code than this ask for a look at the plan (`cli` counts as one, folders of a method as none).
MOST_FOLDERS = 19

#: Where a heavy or optional package may be imported at all: a folder, or one file of it.
HOMES = {
    "torch": {
        "core/devices.py",
        "similarity/products.py",
        "similarity/neighbors/on_torch.py",
        "similarity/neighbors/pairs.py",
        "similarity/neighbors/scan.py",
        "encoders",
        "landmarks",
        "classifiers",
        "methods",
        "pipeline/doctor.py",
        "training",
    },
    "torchvision": {"encoders", "training"},
    "timm": {"encoders"},
    "open_clip": {"encoders"},
    "safetensors": {"encoders", "training"},
    "faiss": {"similarity/neighbors/backend.py", "pipeline/doctor.py"},
    "pyarrow": {
        "results/arrow.py",
        "results/parquet.py",
        "results/checks.py",
        "results/export/manifest.py",
        "datasets",
        "encoders/vectors.py",
        "extraction/stores.py",
    },
    "pandas": {"datasets", "encoders", "landmarks", "noise/annotators.py"},
    "skimage": {"encoders"},
    "cv2": {"landmarks", "extraction/detection.py"},
    "mediapipe": {"landmarks"},
    "face_alignment": {"landmarks"},
    "datasets": {"datasets", "results/export/huggingface.py"},
    "crowdkit": {"noise/annotators.py"},
    "starlette": {"review"},
    "uvicorn": {"review"},
    "flwr": {"federation/flower.py"},
    "ray": {"engine"},
    "cryptography": {"federation/keys.py", "federation/secure.py"},
    "typer": {"cli"},
    "rich": {"cli"},
    "jinja2": {"report"},
    "openTSNE": {"report"},
    "sklearn": set(),
    "networkx": set(),
    "matplotlib": set(),
    "pickle": set(),
    "joblib": set(),
    "dill": set(),
}
#: Imported as their module is imported; every other heavy import waits inside a function.
AT_ONCE = {("encoders/facenet.py", "torch"), ("training", "torch"), ("cli", "typer")}
LONGEST = 400
LONGEST_FUNCTION, MOST_PARAMETERS = 60, 7
#: Longer functions, and why they are not cut.
LONG_FUNCTIONS = {
    "fercleaner/demo/skin.py:shading": "one shadow after another, in the order they are painted",
}
#: Functions with more parameters, and why.
MANY_PARAMETERS = {
    "fercleaner/datasets/__init__.py:read": "public: one keyword for each option of `fercleaner read`",
    "fercleaner/results/export/__init__.py:export_to": "public: one keyword for each option of `fercleaner export`",
    "fercleaner/pipeline/refine.py:refine": "public: one keyword for each option of `fercleaner refine`",
    "fercleaner/pipeline/trial.py:run_trial": "public: one keyword for each option of `fercleaner trial`",
    "fercleaner/pipeline/trial.py:runs_of": "the steps of `run_trial`, which has these",
    "fercleaner/evaluation/bootstrap.py:compare_methods": "five arrays of one trial, and how they are drawn again",
    "fercleaner/datasets/assemble.py:assemble": "the parts of a set as a reader has them, by keyword",
    "fercleaner/datasets/truth.py:_counted": "what the reader of a truth has found out before",
    "fercleaner/landmarks/action_units.py:_assemble": "the parts of a table of action units",
    "fercleaner/methods/generated.py:make_evidence": "the sizes of made evidence, by keyword, for tests of a method",
    "fercleaner/methods/ambiguous/experts.py:__init__": "LEAF's settings, by the paper's names",
    "fercleaner/methods/ambiguous/experts.py:expert_posteriors": "LEAF's settings, by the paper's names",
    "fercleaner/methods/landmark/contrast.py:fit_projection": "LA-Net's settings, by the paper's names",
    "fercleaner/methods/landmark/pair_scores.py:fit_pair_scores": "LA-Net's settings, by the paper's names",
    "fercleaner/similarity/neighbors/search.py:nearest": "one keyword for each choice of a search",
}


class Import(NamedTuple):
    """One import statement: file, line, absolute dotted target, and whether it waits for a call or for mypy."""

    file: Path
    line: int
    target: str
    waits: bool
    typing_only: bool

    @property
    def places(self) -> set[str]:
        """The folder that the file belongs to, and the file in it: {"encoders", "encoders/hog.py"}."""
        parts = self.file.relative_to(ROOT).parts
        folder = parts[0] if parts[0] == "cli" else parts[1]
        return {folder, "/".join(parts[1:])}

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line} imports {self.target}"


def sources() -> list[Path]:
    return sorted([*(ROOT / "fercleaner").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])


def module_of(file: Path) -> list[str]:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    parts = ["fercleaner", *parts] if parts[0] == "cli" else parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imports_of(file: Path, text: str | None = None) -> Iterator[Import]:
    """Yield the imports of a file; `from .. import a, b` counts as one of each name."""
    package = module_of(file) if file.name == "__init__.py" else module_of(file)[:-1]

    def walk(node: ast.AST, waits: bool, typing_only: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(file, child.lineno, alias.name, waits, typing_only)
            elif isinstance(child, ast.ImportFrom):
                base = package[: len(package) - child.level + 1] if child.level else []
                base = base + (child.module.split(".") if child.module else [])
                inside = base[:1] == ["fercleaner"]
                for alias in child.names:
                    target = [*base, alias.name] if inside and (len(base) == 1 or child.module is None) else base
                    yield Import(file, child.lineno, ".".join(target), waits, typing_only)
            later = waits or isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from walk(child, later, typing_only or guarded)

    tree = ast.parse(text if text is not None else file.read_text(encoding="utf-8"))
    return walk(tree, False, False)


@cache
def all_imports() -> list[Import]:
    return [found for file in sources() for found in imports_of(file)]


def against_the_stream(found: Import) -> bool:
    """Whether an import points from a lower layer to a higher one."""
    source = module_of(found.file)
    if len(source) == 1:
        return False  # fercleaner/__init__.py shows the whole house, for type checkers only
    target = found.target.split(".")
    return target[0] == "fercleaner" and len(target) > 1 and RANK[target[1]] > RANK[source[1]]


def test_every_folder_has_its_place():
    folders = {module_of(file)[1] for file in sources() if len(module_of(file)) > 1}
    assert folders == set(RANK), f"ROWS and the folders differ in {sorted(folders ^ set(RANK))}"
    assert len(folders - {"__main__"}) <= MOST_FOLDERS


def test_every_folder_says_in_one_line_what_it_is_for():
    silent = []
    for file in sources():
        if file.name == "__init__.py":
            said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            if len(said.splitlines()[0] if said else "") < 20:
                silent.append(str(file.relative_to(ROOT)))
    assert not silent


def test_every_folder_is_installed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    folders = {".".join(module_of(file)) for file in sources() if file.name == "__init__.py"}
    assert sorted(listed) == sorted(folders)


def test_imports_point_one_way():
    inside = [found for found in all_imports() if found.target.startswith("fercleaner")]
    assert len(inside) > 100
    unknown = [
        str(found) for found in inside if found.target.split(".")[1:2] and found.target.split(".")[1] not in RANK
    ]
    assert not [text for text in unknown if "__version__" not in text]
    assert not [str(found) for found in inside if "__version__" not in found.target and against_the_stream(found)]


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("fercleaner/evaluation/metrics.py", "from ..pipeline.refine import refine", True),
        ("fercleaner/evaluation/metrics.py", "def f():\n    from ..methods.base import Method", True),
        ("fercleaner/similarity/whitening.py", "from ..classifiers.probe import cross_fit", True),
        ("fercleaner/similarity/whitening.py", "from .. import classifiers", True),
        ("fercleaner/pipeline/refine.py", "import fercleaner.cli.app", True),
        ("cli/app.py", "from ..pipeline.refine import refine", False),
        ("fercleaner/methods/hypergraph/hypergraph.py", "from ...similarity.hypergraph import build", False),
        ("fercleaner/encoders/__init__.py", "from .clip import Clip", False),
    ],
)
def test_this_test_sees_imports_against_the_stream(file, text, wrong):
    assert any(against_the_stream(found) for found in imports_of(ROOT / file, text)) is wrong


def test_no_import_cycles_between_modules():
    """Imports that wait inside functions or for type checkers do not count."""
    modules = {".".join(module_of(file)) for file in sources()}
    graph: dict[str, set[str]] = {name: set() for name in modules}
    for found in all_imports():
        target = found.target if found.target in modules else found.target.rpartition(".")[0]
        source = ".".join(module_of(found.file))
        if target in modules and target != source and not found.waits and not found.typing_only:
            graph[source].add(target)
    settled: set[str] = set()
    while True:
        free = {name for name, targets in graph.items() if name not in settled and targets <= settled}
        if not free:
            break
        settled |= free
    assert not modules - settled, f"a cycle among {sorted(modules - settled)} or what they import"


def test_heavy_packages_stay_in_their_rooms():
    astray = []
    for found in all_imports():
        package = found.target.split(".")[0]
        if package in HOMES and not found.places & HOMES[package] and not found.typing_only:
            astray.append(str(found))
    assert not astray


def test_heavy_packages_are_imported_when_called_for():
    early = [
        str(found)
        for found in all_imports()
        if found.target.split(".")[0] in HOMES
        and not found.waits
        and not found.typing_only
        and not {(place, found.target.split(".")[0]) for place in found.places} & AT_ONCE
    ]
    assert not early
    facenet = [
        str(found)
        for found in all_imports()
        if found.target.startswith("fercleaner.encoders.facenet") and not found.waits and not found.typing_only
    ]
    assert not facenet, "facenet imports torch at once: import it inside a function"


@pytest.mark.parametrize(
    "statement",
    [
        "import fercleaner",
        "from fercleaner import Samples, Refinement, RefinedSet, refine, evaluate, read",
        "import fercleaner.methods.hypergraph.hypergraph, fercleaner.methods.contract, fercleaner.pipeline.refine",
        "import fercleaner.encoders, fercleaner.landmarks, fercleaner.datasets, fercleaner.results.parquet",
        "import fercleaner.results.named_neighbors, fercleaner.classifiers.probe",
    ],
)
def test_importing_the_library_imports_nothing_heavy(statement):
    heavy = sorted(HOMES.keys() - {"pickle"})  # numpy itself imports pickle
    code = f"{statement}\nimport sys\nprint(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_the_bare_import_does_not_even_import_numpy():
    code = "import fercleaner, sys; print('numpy' in sys.modules, fercleaner.__version__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split()[0] == "False"


def test_every_public_name_can_be_had():
    import fercleaner

    for name in fercleaner.__all__:
        assert getattr(fercleaner, name) is not None
    with pytest.raises(AttributeError, match="module 'fercleaner' has no attribute 'clean'"):
        fercleaner.clean  # noqa: B018


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield node


def test_no_file_format_that_can_run_code():
    for file in sources():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg in {"allow_pickle", "weights_only"}:
                safe = node.arg == "weights_only"
                assert ast.unparse(node.value) == str(safe), f"{file}:{node.value.lineno}"
        for call in calls(tree, "torch.load"):
            assert any(word.arg == "weights_only" for word in call.keywords), f"{file}:{call.lineno}"
        for call in calls(tree, "np.load"):
            assert any(word.arg == "allow_pickle" for word in call.keywords), f"{file}:{call.lineno}"


def test_files_stay_short():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in sources()}
    assert not {name: length for name, length in lengths.items() if length > LONGEST}


def functions() -> Iterator[tuple[str, int, int]]:
    """Yield each function's name, the lines of its body without the docstring, and its parameters without self."""
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                parameters = sum(arg.arg not in ("self", "cls") for arg in every)
                yield f"{file.relative_to(ROOT).as_posix()}:{node.name}", lines, parameters


def test_functions_stay_short_but_for_those_listed():
    found = {name: lines for name, lines, _ in functions() if lines > LONGEST_FUNCTION}
    assert set(found) == set(LONG_FUNCTIONS), found


def test_functions_take_few_parameters_but_for_those_listed():
    """A command's parameters are its options, so those of cli/ are not counted."""
    found = {name: n for name, _, n in functions() if n > MOST_PARAMETERS and not name.startswith("cli/")}
    assert set(found) == set(MANY_PARAMETERS), found


def test_no_two_public_types_share_a_name():
    homes: dict[str, list[str]] = {}
    for file in sources():
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert not {name: files for name, files in homes.items() if len(files) > 1}


#: Names that many modules share, each being one of a kind: what makes an encoder, reads a layout, writes a format; and
#: the papers' formulas, for NumPy in `methods` and for torch in `training`.
SHARED_NAMES = {
    *(
        "build",
        "read",
        "write",
        "decode",
        "class_margins",
        "fuzzy_positives",
        "pseudo_labels",
        "rank_loss",
        "top_gates",
    ),
}


def test_no_two_functions_share_a_name_but_for_those_listed():
    homes: dict[str, list[str]] = {}
    for file in sources():
        if (ROOT / "cli") not in file.parents and file.name != "__main__.py":  # a command is named as what it runs
            for node in ast.parse(file.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(str(file.relative_to(ROOT)))
    assert {name for name, files in homes.items() if len(files) > 1} == SHARED_NAMES


def test_runs_of_the_pipeline_take_the_same_keywords():
    from fercleaner.pipeline.embedding import project_set
    from fercleaner.pipeline.refine import refine
    from fercleaner.pipeline.trial import run_trial

    for run in (refine, run_trial, project_set):
        names = list(inspect.signature(run).parameters)
        assert names[0] == "samples"
        assert [name for name in names if name in ("sources", "resources", "callbacks")] == [
            "sources",
            "resources",
            "callbacks",
        ]


def test_words_are_american():
    """Docstrings are what `fercleaner methods NAME` shows."""
    known = {"fercleaner/datasets/labels.py": '_EMPTY = ("", "unlabeled", "unlabelled")'}
    british = []
    for file in sources():
        name = file.relative_to(ROOT).as_posix()
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"labell|ormalis|avour|eighbour|olour|\bgrey|travell", line) and line != known.get(name):
                british.append(f"{name}:{number} {line.strip()}")
    assert not british
