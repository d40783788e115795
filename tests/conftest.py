"""Fixtures that every test may use; helpers live in `tests/support` (`import support.server`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

from support.server import ChatServer

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile("planish", deadline=None)
settings.load_profile("planish")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the demonstrations have more time: the first one waits for all rooms."""
    for item in items:
        if "every_demo" in getattr(item, "fixturenames", ()):  # under a minute a room on two cores
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture
def chat_server() -> Iterator[Callable[..., ChatServer]]:
    """`chat_server(delay=0.1, faults={"429": 0.1})` starts one; all end with the test."""
    servers: list[ChatServer] = []

    def start(**options: Any) -> ChatServer:
        servers.append(ChatServer(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def judgebench_files() -> tuple[Path, Path]:
    """The published pairs and one judge's outputs; no part of the package, so tests may skip."""
    root = Path(__file__).parents[1]
    for base in (root, root.parent):
        folder = base / "shared" / "data" / "judging"
        pairs = folder / "judgebench_claude_pairs.jsonl.gz"
        outputs = sorted(folder.glob("judgebench_outputs_*haiku*.jsonl.gz"))
        if pairs.is_file() and outputs:
            return pairs, outputs[0]
    pytest.skip("the published JudgeBench files are not in shared/, here or beside the checkout")
