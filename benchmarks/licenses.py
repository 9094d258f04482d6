"""The license that each dependency of fercleaner states about itself, from the metadata of what is installed.

    python benchmarks/licenses.py                  writes results/licenses.json

Dependencies are followed from fercleaner's own, extras included, as far as they are installed here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from stamp import command, tell, write_json

OUT = Path(__file__).with_name("results") / "licenses.json"
#: Longest text that is a license's name and not the license itself.
NAME = 80


def license_of(found: Distribution) -> str:
    """Return what a distribution says: its SPDX expression, else its classifiers, else its license field."""
    about = found.metadata
    if about.get("License-Expression"):
        return str(about["License-Expression"])
    named = [line.split(" :: ")[-1] for line in about.get_all("Classifier") or [] if line.startswith("License ::")]
    if named:
        return ", ".join(sorted(set(named)))
    text = (about.get("License") or "").strip().splitlines()
    return text[0][:NAME] if text else "not stated"


def dependencies(root: str) -> dict[str, dict[str, str]]:
    """Return version and license of all that `root` needs, its extras included, where it is installed."""
    held: dict[str, dict[str, str]] = {}
    waiting, extras = [root], {root}
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name in held:
            continue
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        held[name] = {"version": found.version, "license": license_of(found)}
        for line in found.requires or []:
            need = Requirement(line)
            if need.marker is None or need.marker.evaluate({"extra": ""}) or name in extras:
                waiting.append(need.name)
    return dict(sorted((name, entry) for name, entry in held.items() if name != root))


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """Write the list."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, default=OUT, help="JSON to write")
    args = parser.parse_args(arguments)
    held = dependencies("fercleaner")
    unstated = sorted(name for name, entry in held.items() if entry["license"] == "not stated")
    write_json(args.out, {"packages": held, "not_stated": unstated})
    tell(f"{len(held)} packages; no license stated by {', '.join(unstated) or 'none'}")


if __name__ == "__main__":
    sys.exit(main())
