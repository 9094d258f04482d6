"""Where the environments of tools that run elsewhere lie: a folder with one virtual environment a tool.

FERCLEANER_PEERS names the folder; without it, it is ~/.cache/fercleaner/peers. `install.py` fills it and
uses this module as a script would, so the standard library is all that may be imported here.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

VARIABLE = "FERCLEANER_PEERS"
EXTERNAL = Path(__file__).parent / "external"

#: Environments whose tools need torch and torchvision: they see the packages of the environment that made them after
#: their own, so that those gigabytes are not installed twice; what a tool pins otherwise is installed on top.
BORROWING = frozenset({"docta", "selfclean"})


def folder() -> Path:
    """Return the folder of all environments."""
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else Path.home() / ".cache" / "fercleaner" / "peers"


def known() -> tuple[str, ...]:
    """Return the names of the environments that can be made: those with a requirements file."""
    return tuple(sorted(file.stem.removeprefix("requirements-") for file in EXTERNAL.glob("requirements-*.txt")))


def requirements(name: str) -> Path:
    """Return the requirements file of an environment."""
    return EXTERNAL / f"requirements-{name}.txt"


def python_in(environment: Path) -> Path:
    """Return the interpreter of the virtual environment in a folder, which need not exist."""
    if sys.platform == "win32":
        return environment / "Scripts" / "python.exe"
    return environment / "bin" / "python"
