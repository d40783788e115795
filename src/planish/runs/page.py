"""Pages that stand alone: one file, nothing to fetch, no script but the one that comes with them.

    render("planish.methods.cowork.showing", "replay.html.jinja",
           styles=("replay.css",), scripts=("replay.js",), title="Ring, episode 3")

A template gets the style of the reports and its own as `css`, its scripts in one as `script`, and
the hash of that as `script_hash`, for the page's Content-Security-Policy. Every other value is
escaped.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["render"]

# Half a surrogate pair cannot be written as UTF-8, and control characters are no HTML.
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def render(
    package: str,
    template: str,
    *,
    styles: Sequence[str] = (),
    scripts: Sequence[str] = (),
    **values: Any,
) -> str:
    """The page, without characters that are no HTML.

    Args:
        package: that has the files.
        template: for jinja2; a value that it needs and that is not given is an error.
        styles, scripts: files beside it, in order; styles follow that of the reports.
    """
    css = _file("planish.runs", "report.css") + "".join(_file(package, each) for each in styles)
    script = "".join(_file(package, each) for each in scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page: str = _template(package, template).render(
        css=css, script=script, script_hash=f"sha256-{digest}", **values
    )
    return _UNPRINTABLE.sub("\ufffd", page)


@cache
def _file(package: str, name: str) -> str:
    return (files(package) / name).read_text("utf-8")


@cache
def _template(package: str, name: str) -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(_file(package, name))
