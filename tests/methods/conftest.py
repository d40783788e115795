"""Fixtures that the tests of several rooms use."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


@pytest.fixture(scope="session")
def every_demo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `planish demo` says of every room, once for all tests that look at it."""
    runs = tmp_path_factory.mktemp("demo")
    result = subprocess.run(
        [sys.executable, "-m", "planish.cli", "demo", "--runs", runs, "--json"],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found
