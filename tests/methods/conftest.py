"""Fixtures that the tests of several rooms use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def every_demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `planish demo` says of every room, once for all tests and processes that look at it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return _demo(tmp_path_factory.mktemp("demo"))
    shared = tmp_path_factory.getbasetemp().parent
    told = shared / "demo.json"
    with FileLock(shared / "demo.lock"):
        if not told.exists():
            told.write_text(json.dumps(_demo(shared / "demo")))
    found: dict[str, Any] = json.loads(told.read_text())
    return found


def _demo(runs: Path) -> dict[str, Any]:
    result = subprocess.run(
        [sys.executable, "-m", "planish.cli", "demo", "--runs", runs, "--json"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found
