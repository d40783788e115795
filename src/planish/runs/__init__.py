"""Run folders, finding and comparing them, and the report.

    >>> from planish.runs import Run
    >>> with Run.create("rise", "demo", {"limit": 10}, seed=1) as run:  # doctest: +SKIP
    ...     run.record("judgment", judgment, id=judgment.case_id)
    ...     run.finish(accuracy=0.7)

`planish.runs.report` and `planish.runs.plots` are imported by name, where a page is made. The
names below are imported when they are used, so that `planish --help` does not wait for pydantic.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from planish.runs.info import RunInfo
    from planish.runs.lines import DiskFull, LineFile, mend
    from planish.runs.rows import Row, read_rows
    from planish.runs.run import Run
    from planish.runs.store import Comparison, StoredRun, compare, find, list_runs

__all__ = [
    "Comparison",
    "DiskFull",
    "LineFile",
    "Row",
    "Run",
    "RunInfo",
    "StoredRun",
    "compare",
    "find",
    "list_runs",
    "mend",
    "read_rows",
]

_HOMES = {
    "info": ("RunInfo",),
    "lines": ("DiskFull", "LineFile", "mend"),
    "rows": ("Row", "read_rows"),
    "run": ("Run",),
    "store": ("Comparison", "StoredRun", "compare", "find", "list_runs"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
