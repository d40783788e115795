"""The objects of a file: a line each, or all in one document of JSON.

    for value, where in rows("samples_eval_results.json"):
        where       # "samples_eval_results.json, HumanEval/0, sample 1"

Documents are what EvalPlus writes as results ({"eval": {task: [sample, ...]}}), what CoderEval
publishes ({"RECORDS": [record, ...]}), and plain lists of objects. Whatever else ends in .json is
read line by line as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from planish.errors import BadInput
from planish.records import read_jsonl

__all__ = ["rows"]

Row = tuple[Mapping[str, Any], str]


def rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """Each object, and where it stands.

    Raises:
        BadInput: the file cannot be read, or holds something else.
    """
    whole = _document(Path(path))
    if isinstance(whole, dict) and isinstance(whole.get("eval"), dict):
        yield from _results(whole["eval"], path)
    elif isinstance(whole, dict) and isinstance(whole.get("RECORDS"), list):
        yield from _listed(whole["RECORDS"], path, "record")
    elif isinstance(whole, list):
        yield from _listed(whole, path, "item")
    elif isinstance(whole, dict):
        yield whole, str(path)
    else:
        yield from ((value, f"{path}:{number}") for number, value in read_jsonl(path))


def _document(path: Path) -> Any:
    """What a file holds as a whole; None of lines, and where the reader of lines knows better."""
    if path.suffix != ".json":
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _results(samples: Mapping[str, Any], path: str | os.PathLike[str]) -> Iterator[Row]:
    for task, listed in samples.items():
        where = f"{path}, {task}"
        if not isinstance(listed, list):
            raise BadInput(
                "results without the code that was run",
                where=where,
                fix="give the samples themselves, or results of EvalPlus 0.2 or later",
            )
        for value, place in _listed(listed, where, "sample"):
            yield {"task_id": task, **value}, place


def _listed(values: list[Any], where: str | os.PathLike[str], kind: str) -> Iterator[Row]:
    for number, value in enumerate(values, 1):
        place = f"{where}, {kind} {number}"
        if not isinstance(value, dict):
            raise BadInput(
                f"expected a JSON object, found {type(value).__name__}",
                where=place,
                fix="mend or remove it",
            )
        yield value, place
