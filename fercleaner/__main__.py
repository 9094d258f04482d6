"""`python -m fercleaner`: the command line, of an installed fercleaner or of a clone that is not installed."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

#: Modules that a clone needs to run at all; installing brings them.
NEEDED = ("faiss", "numpy", "PIL", "pyarrow", "rich", "scipy", "typer")


def main() -> None:
    """Run the command line; in a clone that lacks a package, say what to do."""
    if find_spec("fercleaner.cli") is None:
        missing = [name for name in NEEDED if find_spec(name) is None]
        clone = Path(__file__).resolve().parents[1]
        if missing or not (clone / "cli" / "__init__.py").is_file():
            why = f"; {', '.join(missing)} not found" if missing else ""
            sys.exit(f"fercleaner is not installed{why}. Install it: pip install -c constraints.txt . (in {clone})")
        _take_cli_from(clone / "cli")
    from fercleaner.cli import main as run  # type: ignore[import-not-found]  # mypy sees the folder as `cli`

    run()


def _take_cli_from(folder: Path) -> None:
    """Make the folder `cli` of a clone importable as `fercleaner.cli`, as which it is installed."""
    spec = spec_from_file_location("fercleaner.cli", folder / "__init__.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["fercleaner.cli"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
