"""Files that a command was asked to write beside its run.

write_asked("--out", Path("results.jsonl"), rows)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from planish.records import BadInput, Record, write_jsonl
from planish.runs.lines import DiskFull, telling_full

__all__ = ["write_asked"]


def write_asked(option: str, path: Path, rows: Iterable[Record | Mapping[str, Any]]) -> None:
    """Writes rows to a file that an option names, all or nothing; the run itself is kept.

    Raises:
        DiskFull: no room; BadInput: the file cannot be written.
    """
    try:
        with telling_full(path):
            write_jsonl(path, rows)
    except DiskFull:
        raise
    except OSError as error:
        raise BadInput(
            error.strerror or str(error),
            where=f"{option} {path}",
            fix="name a file that can be written, and --resume: nothing is run again",
        ) from None
