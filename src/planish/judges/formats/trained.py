"""What something was trained on: training rows, or the pairs behind them.

    check_untrained(cases, read_trained("data"), source="report.jsonl")

`data` is what `planish rise synthesize --out data` wrote, or a file of rows or pairs.
"""

from __future__ import annotations

from pathlib import Path

from planish.judges.base import Case
from planish.judges.formats import read_pairs
from planish.judges.formats.rows import Row, read_rows
from planish.judges.overlap import Asked
from planish.judges.templates import question_text
from planish.records import BadInput

__all__ = ["read_trained"]

_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet")


def read_trained(path: Path) -> list[Case | Asked]:
    """The items of rows or pairs, for `overlaps`.

    Args:
        path: rows for a trainer, which tell their question or hold it in their prompt; pairs of
            any format; or a folder of such files.

    Raises:
        BadInput: nothing there, or neither rows nor pairs.
    """
    files = _files(path) if path.is_dir() else [path]
    return [item for file in files for item in _read(file)]


def _files(folder: Path) -> list[Path]:
    """The files of rows; one written twice, as parquet too, is read once."""
    found: dict[str, Path] = {}
    for suffix in _SUFFIXES:
        for path in sorted(folder.glob(f"*{suffix}")):
            name = path.name.removesuffix(suffix)
            if not name.endswith(".dropped"):
                found.setdefault(name, path)
    if not found:
        raise BadInput("the folder holds no rows", where=str(folder), fix="check the path")
    return list(found.values())


def _read(path: Path) -> list[Case | Asked]:
    rows = read_rows(path)
    if {"item_id", "completion"} & set(rows[0].values):
        return [_asked(row) for row in rows]
    return list(read_pairs(path))


def _asked(row: Row) -> Asked:
    id = row.identifier("item_id") if "item_id" in row else f"line {row.line}"
    question = row.values.get("question")
    if isinstance(question, str) and question.strip():
        return Asked(id, question)
    return Asked(id, None, question_text(row.chat("prompt")))
