"""Generated code from a file, one piece a line.

    {"task_id": "a", "model": "m", "run": 0, "code": "def f(x): ...", "recorded_pass": true}
    {"task_id": "HumanEval/0", "completion": "    return 1\\n"}
    {"task_id": "HumanEval/0", "solution": "def f(x): ..."}

The second and third are samples as HumanEval and EvalPlus write them: a completion goes after the
prompt (on a line of its own where that was stripped), and a solution stands alone. EvalPlus'
results of them are read as well (`..._eval_results.json`), and what CoderEval takes: {"_id": ...,
"generate_results": [...]}. A line without "run" gets its place among those of its task and model.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from planish.errors import BadInput
from planish.methods.mistakes.data import CodeTask, RunRecord
from planish.methods.mistakes.loading.fields import Line
from planish.methods.mistakes.loading.joining import completed
from planish.methods.mistakes.loading.replies import code_of
from planish.methods.mistakes.loading.rows import rows
from planish.records import explain

__all__ = ["load_runs"]

_SAMPLES = ("completion", "solution")
_STATUSES = ("base_status", "plus_status")


def load_runs(path: str | os.PathLike[str], tasks: Iterable[CodeTask]) -> tuple[RunRecord, ...]:
    """The runs of a file, .jsonl, .jsonl.gz or .json, in its order.

    Code may hold anything that JSON can, NUL and half a surrogate pair included.

    Args:
        tasks: those that the runs may be of.

    Raises:
        BadInput: broken JSON, a field that is missing or of the wrong type, a task that is not
            there, two runs of one task, model and number, or no run at all.
    """
    known = {task.task_id: task for task in tasks}
    counted: Counter[tuple[str, str]] = Counter()
    seen: dict[str, str] = {}
    runs = []
    for line in _lines(path):
        task = known.get(line.name("task_id"))
        if task is None:
            raise line.bad(
                f"no task is called {line.value['task_id']!r}", fix="give the file of its tasks"
            )
        run = _run(line, task, counted)
        if run.key in seen:
            raise line.bad(
                f"task {run.task_id!r}, model {run.model!r}, run {run.run} is there twice "
                f"(first in {seen[run.key]})"
            )
        seen[run.key] = line.where
        runs.append(run)
    if not runs:
        raise BadInput("holds no run", where=str(path), fix="write one {...} per line")
    return tuple(runs)


def _lines(path: str | os.PathLike[str]) -> Iterator[Line]:
    """One for each program: CoderEval gives several of a task on one line."""
    for value, where in rows(path):
        line = Line(value, where)
        if not line.has("generate_results"):
            yield line
            continue
        for code in line.rows("generate_results"):
            task = line.name("_id", "task_id")
            yield Line({"task_id": task, "model": value.get("model"), "solution": code}, where)


def _run(line: Line, task: CodeTask, counted: Counter[tuple[str, str]]) -> RunRecord:
    model = line.text("model", default="")
    name = line.first("code", *_SAMPLES)
    text = line.text(name)
    place = counted[task.task_id, model]
    counted[task.task_id, model] += 1
    if name == "code":
        fields = {each: line.value[each] for each in RunRecord.model_fields if line.has(each)}
        fields.setdefault("run", place)
        try:
            return RunRecord.model_validate(fields, strict=True)
        except ValidationError as error:
            raise line.bad(f"not a run: {explain(error)}") from None
    if name == "solution":
        code = text
    elif "```" in text or "~~~" in text:
        code = code_of(text, task)
    else:
        code = completed(task.prompt, text)
    run = line.whole("run", default=place)
    recorded = _recorded(line, task)
    return RunRecord(task_id=task.task_id, model=model, run=run, code=code, recorded_pass=recorded)


def _recorded(line: Line, task: CodeTask) -> bool | None:
    """Whether it passed before; None where that is not told, or not of which tests."""
    if line.has("base_status"):
        both = [line.text(each) == "pass" for each in _STATUSES if line.has(each)]
        # A task of EvalPlus is all its inputs; tests may be those of HumanEval or of HumanEval+.
        return all(both) if task.inputs or len(set(both)) == 1 else None
    recorded = line.value.get("recorded_pass", line.value.get("passed"))
    if not isinstance(recorded, bool | None):
        raise line.wrong("recorded_pass", "true, false or null", recorded)
    return recorded
