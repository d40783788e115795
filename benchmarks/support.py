"""What benchmarks share: commands as a user types them, and dated results with the versions."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("planish", "numpy", "pydantic", "torch", "transformers", "openai")


def machine() -> str:
    """Cores, Python and library versions; no host name."""
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        + ", ".join(found)
    )


def write_result(name: str, title: str, body: str) -> Path:
    """Writes `results/<date>-<name>.md` and prints it."""
    today = datetime.now(UTC).date().isoformat()
    text = f"# {title}\n\n{today}. {machine()}.\n\n{body.strip()}\n"
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{today}-{name}.md"
    path.write_text(text, "utf-8")
    print(text)
    return path


def tell(name: str, title: str, body: str, *, write: bool) -> None:
    """Prints a page, into `results/` too if asked for."""
    if write:
        write_result(name, title, body)
    else:
        print(body)


def ratios(first: Sequence[float], second: Sequence[float]) -> str:
    """Median and range of the first over the second, round by round."""
    each = [one / other for one, other in zip(first, second, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})"


def planish(*words: object) -> dict[str, Any]:
    """One command on one core, as a user would type it."""
    result = subprocess.run(
        [sys.executable, "-m", "planish.cli", *map(str, words), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}\n{result.stderr}")
    found: dict[str, Any] = json.loads(result.stdout)
    return found
