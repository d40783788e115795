"""Where a dump or an indexer will be: whether it can, told before the work begins.

check_place(Path("dump"), goes_on=False)
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from planish.methods.lookahead.data import DUMP
from planish.methods.lookahead.dumping.folder import DOCUMENTS, read_documents
from planish.records import BadInput

__all__ = ["check_parent", "check_place"]

_LOCK = ".lock"  # as `runs.folder` names it
_ANOTHER = "name a new folder"


def check_place(folder: Path, *, goes_on: bool) -> None:
    """Refuses a folder that a new dump may not take, before there is anything to be written.

    Args:
        goes_on: documents that are there are welcome.

    Raises:
        BadInput: it holds a dump, or anything else that no dump has left behind.
    """
    check_parent(folder)
    if not folder.exists():
        return
    if not folder.is_dir() or not ((folder / DUMP).exists() or _only_begun(folder)):
        raise BadInput("is there already, and is no dump", where=str(folder), fix=_ANOTHER)
    documents, _ = read_documents(folder)
    if documents and not goes_on:
        raise BadInput("holds a dump", where=str(folder), fix=f"add --resume, or {_ANOTHER}")


def check_parent(folder: Path) -> None:
    """Refuses a new folder that could not be made when the work is done.

    Raises:
        BadInput: what is there of its path is no folder, or nothing can be written into it.
    """
    nearest = next(path for path in folder.absolute().parents if os.path.lexists(path))
    why = "" if nearest.is_dir() else "is no folder"
    try:  # permissions are not all that can forbid it
        if not why:
            tempfile.TemporaryFile(dir=nearest).close()
    except OSError:
        why = "cannot be written"
    if why:
        raise BadInput(f"{nearest} {why}", where=f"--out {folder}", fix=_ANOTHER)


def _only_begun(folder: Path) -> bool:
    """Whether it holds no more than what a dump makes before its header."""
    return all(path.name in (DOCUMENTS, _LOCK) for path in folder.iterdir()) and not any(
        (folder / DOCUMENTS).glob("*")
    )
