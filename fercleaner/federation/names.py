"""Names of sites as names of files: no path in them, and never one file for two sites."""

from __future__ import annotations

from collections.abc import Iterable

from .terms import SiteError


def folder_name(site: str) -> str:
    """Return the name of a site as a name of files: letters, digits, "-", "_" and "."; others as "_"."""
    text = "".join(c if c.isalnum() or c in "-_." else "_" for c in site)
    return text.lstrip(".") or "_"


def distinct_files(sites: Iterable[str]) -> dict[str, str]:
    """Return `folder_name` of each site; SiteError where two would be the same, large and small letters alike."""
    names = {name: folder_name(name) for name in sites}
    first: dict[str, str] = {}
    for name, file in names.items():
        other = first.setdefault(file.lower(), name)
        if other != name:
            raise SiteError(f"Sites '{other}' and '{name}' would write the same file '{file}'. Rename one of them.")
    return names
