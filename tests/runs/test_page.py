"""Pages that stand alone: what is given is escaped, and only their own script may run."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from planish.runs.page import render

PAGE = """<meta content="script-src '{{ script_hash }}'"><style>{{ css | safe }}</style>
<p>{{ told }}</p><script>{{ script | safe }}</script>"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package of this test's own, with a template, a style and two scripts."""
    name = f"pages_of_{tmp_path.name}"
    home = tmp_path / name
    home.mkdir()
    files = {
        "__init__.py": "",
        "page.html.jinja": PAGE,
        "own.css": "p { color: red }",
        "a.js": "one();",
        "b.js": "two();",
    }
    for file, text in files.items():
        (home / file).write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_values_are_escaped_and_only_the_own_script_has_the_hash(package: str) -> None:
    page = render(
        package,
        "page.html.jinja",
        styles=("own.css",),
        scripts=("a.js", "b.js"),
        told="<script>evil()</script>",
    )
    assert "<script>evil" not in page
    assert "&lt;script&gt;evil()" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page)
    assert script == "one();two();"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    style = page[page.index("<style>") : page.index("</style>")]
    assert style.endswith("p { color: red }")  # after that of the reports
    assert len(style) > 1000


def test_what_is_no_html_is_replaced(package: str) -> None:
    page = render(package, "page.html.jinja", told="a\ud800b\x00c\x1bd\te")
    assert "<p>a\ufffdb\ufffdc\ufffdd\te</p>" in page
    page.encode("utf-8")


def test_a_value_that_is_missing_is_an_error(package: str) -> None:
    with pytest.raises(UndefinedError, match="told"):
        render(package, "page.html.jinja")
