"""The page: data and template in, one HTML text out that loads nothing and sends nothing."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

#: What may run and load: this page's one script and one style by their digests, and pictures inside the page.
POLICY = (
    "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)
#: Characters that could end a script element, or a line of one, as JSON escapes them.
ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def html_of(data: Mapping[str, Any]) -> str:
    """Return the page of `data`, which `schema.json` describes."""
    script, style = asset("page.js"), asset("page.css")
    policy = POLICY.format(script=_digest(script), style=_digest(style))
    text: str = _template().render(
        data=data, script=script, style=style, policy=policy, embedded=embedded(data), bars=bars
    )
    return text


def embedded(value: Any) -> str:
    """Return JSON that can stand inside a script element: nothing in it ends the element, whatever a name holds."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.translate(ESCAPES)


def bars(share: float | None) -> int:
    """Return a share as a whole number of percent for the classes `w0` to `w100` of the style."""
    return 0 if share is None else max(0, min(100, round(100 * share)))


@cache
def asset(name: str) -> str:
    """Return a file that lies beside this module."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=_percent, whole=_whole, visible=visible)
    return environment.get_template("page.html.jinja")


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def _whole(count: float) -> str:
    return f"{count:,.0f}"


def visible(text: object) -> str:
    """Return a name with control characters and signs that turn the direction of text written out as escapes.

    Examples
    --------
    >>> visible("a\\x1b[31m\\u202eb")
    'a\\\\x1b[31m\\\\u202eb'
    """
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in str(text))
