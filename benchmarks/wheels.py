"""Build wheel and sdist, install each in clean environments and run the main job; resolve the pins of all extras.

    python benchmarks/wheels.py --python python3.11 python3.12 python3.13      needs the package index
    python benchmarks/wheels.py --whole                                        with all dependencies (several GB each)
    python benchmarks/wheels.py --pins                                         resolve the pins alone

By default the dependencies are `LIGHT`: what drawn faces, the `hog` encoder and given landmarks need. torch and what
stands on it are left out. The JSON says for each interpreter and file what was installed, and what each command did.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stamp import command, stamp, tell, write_json

ROOT = Path(__file__).resolve().parents[1]
OUT = Path(__file__).with_name("results") / "wheels.json"
#: What the main job needs where nothing is a network.
LIGHT = (
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "safetensors",
    "scikit-image",
    "jinja2",
    "typer",
    "rich",
    "faiss-cpu",
)
EXTRAS = "dev,docs,mediapipe,huggingface,review,annotators,map"
#: Commands run in a folder with a blank and an emoji in its name, and their last word checked to be there.
JOBS = (
    ("--version",),
    ("demo", "drawn faces", "--faces", "28"),
    ("read", "drawn faces"),
    ("refine", "drawn faces", "--encoder", "hog", "--landmarks", "points:drawn faces/landmarks.npz",
     "--posteriors", "none", "--method", "hypergraph", "--device", "cpu", "--workers", "0", "--out", "out 😀.parquet"),
    ("show", "out 😀.parquet"),
    ("export", "out 😀.parquet", "out.csv"),
)  # fmt: skip


def build(scratch: Path) -> list[Path]:
    """Return the wheel and the sdist, made from a copy of the files that git tracks."""
    source, made = scratch / "source", scratch / "dist"
    source.mkdir()
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    python = environment(scratch / "builder", sys.executable)
    _pip(python, "build")
    subprocess.run([python, "-m", "build", "--outdir", made, source], check=True, stdout=subprocess.DEVNULL)
    return sorted(made.iterdir())


def environment(folder: Path, interpreter: str) -> Path:
    """Return the interpreter of a new virtual environment."""
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def tried(interpreter: str, file: Path, scratch: Path, whole: bool) -> dict[str, Any]:
    """Install a wheel or sdist in a clean environment and run `JOBS` there."""
    python = environment(scratch / f"{Path(interpreter).name}-{file.suffix[1:]}", interpreter)
    if whole:
        _pip(python, "--constraint", str(ROOT / "constraints.txt"), str(file))
    else:
        _pip(python, *LIGHT)
        _pip(python, "--no-deps", str(file))
    place = scratch / f"a folder 😀 {python.parent.parent.name}"
    place.mkdir()
    asked = "import platform; print(platform.python_version())"
    version = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout.strip()
    done = {}
    plain = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    for words in JOBS:
        result = subprocess.run(
            [python.with_name("fercleaner"), *words], cwd=place, capture_output=True, text=True, env=plain
        )
        done[words[0]] = "worked" if result.returncode == 0 else result.stderr.strip()[-400:]
    return {"python": version, "file": file.name, "dependencies": "all" if whole else "light", "commands": done}


def pins() -> dict[str, Any]:
    """Resolve the pins of all extras together, installing nothing."""
    line = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--constraint"]
    done = subprocess.run([*line, "constraints.txt", f".[{EXTRAS}]"], cwd=ROOT, capture_output=True, text=True)
    return {
        "extras": EXTRAS,
        "resolved": done.returncode == 0,
        "said": done.stderr.strip()[-400:] if done.returncode else "",
    }


def _pip(python: Path, *words: str) -> None:
    line = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *words]
    subprocess.run(line, check=True)


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Build, install and try; write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--python", nargs="+", default=["python3"], help="interpreters to install under")
    parser.add_argument("--whole", action="store_true", help="install every dependency, as pinned")
    parser.add_argument("--pins", action="store_true", help="resolve the pins alone")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON to write")
    args = parser.parse_args(arguments)
    result: dict[str, Any] = {**stamp(), "pins": pins() if args.pins else None, "installed": []}
    with tempfile.TemporaryDirectory() as folder:
        files = [] if args.pins else build(Path(folder))
        for interpreter in args.python:
            for file in files:
                result["installed"].append(tried(interpreter, file, Path(folder), args.whole))
                tell(str(result["installed"][-1]))
    write_json(args.out, result)
    worked = all(done == "worked" for entry in result["installed"] for done in entry["commands"].values())
    if not worked or (args.pins and not result["pins"]["resolved"]):
        raise SystemExit(1)


if __name__ == "__main__":
    sys.exit(main())
