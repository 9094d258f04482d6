"""Names of sites as names of files: no path in them, and never one file for two sites."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.text import shown
from .terms import SiteError

#: Bytes of a site's name that leave room for an ending where a file's name takes 255.
LONGEST = 255 - len(".refined.parquet")


def folder_name(site: str) -> str:
    """Return the name of a site as a name of files: letters, digits, "-", "_" and "."; others as "_"."""
    text = "".join(c if c.isalnum() or c in "-_." else "_" for c in site)
    return text.lstrip(".") or "_"


def distinct_files(sites: Iterable[str]) -> dict[str, str]:
    """Return `folder_name` of each site.

    Raises
    ------
    SiteError
        Two would be the same, large and small letters alike, or one is too long.
    """
    names = {name: folder_name(name) for name in sites}
    first: dict[str, str] = {}
    for name, file in names.items():
        if (size := len(file.encode())) > LONGEST:
            raise SiteError(
                f"Site '{shown(name, 33)}' has a name too long for a file ({size} bytes of {LONGEST}). Shorten it."
            )
        other = first.setdefault(file.lower(), name)
        if other != name:
            raise SiteError(f"Sites '{other}' and '{name}' would write the same file '{file}'. Rename one of them.")
    return names
