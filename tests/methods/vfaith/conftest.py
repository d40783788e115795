"""What all tests of the room share."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def _no_collecting(monkeypatch: pytest.MonkeyPatch) -> None:
    """statsmodels collects garbage after every Holm correction; beside a loaded torch that takes
    longer than all else that a score does.
    """
    monkeypatch.setattr(gc, "collect", lambda generation=2: 0)
