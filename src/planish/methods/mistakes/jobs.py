"""Tasks as jobs of the sandbox, and what the jobs' results say about the code.

    references = check_references(tasks, box, limits)
    job = test_job(task, code, "a|m|0", references.limits(task))
    result = references.settle(task, box.run([job])[0])

A task either has tests, which the sandbox runs itself, or inputs: then the candidate is called on
them, and its values are compared here with those of the reference, as text that was read back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from planish.errors import BadInput
from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.loading.sources import defined, free_names, without
from planish.methods.mistakes.loading.tasks import place_of
from planish.tasks.sandbox.contract import CallResult, ExecResult, Job, Limits
from planish.tasks.sandbox.values import loads, same

__all__ = [
    "Box",
    "LimitsOf",
    "References",
    "agree",
    "blind_graders",
    "call_job",
    "check_references",
    "entry_of",
    "for_each",
    "support_of",
    "test_job",
]

PATIENCE = 15
"""So many times the limit may a reference take before anybody calls it too slow."""

SLACK = 4.0
"""A candidate may take so many times what its reference takes (ours)."""


class Box(Protocol):
    """A sandbox that is open."""

    def run(
        self, jobs: Sequence[Job], *, progress: Callable[[int, int], None] | None = None
    ) -> list[ExecResult]:
        """The results, in the order of the jobs."""
        ...


def test_job(
    task: CodeTask,
    code: str,
    key: str,
    limits: Limits,
    trace: bool = False,  # noqa: PT028 - no test, in spite of its name
) -> Job:
    """The code under the task's own tests, or called on its inputs where those are the tests."""
    if not task.tests:
        return call_job(task, code, key, task.inputs, limits, trace)
    return Job(
        key=key,
        code=task.program(code),
        entry_point=task.entry_point,
        tests=_tests_of(task),
        support=support_of(task),
        files=task.files,
        module=task.module,
        trace=trace,
        limits=limits,
    )


test_job.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest curious


def call_job(
    task: CodeTask,
    code: str,
    key: str,
    inputs: Sequence[str],
    limits: Limits,
    trace: bool = False,
) -> Job:
    """The code called on these inputs (canonical texts of argument tuples); nothing is decided."""
    return Job(
        key=key,
        code=task.program(code),
        entry_point=task.entry_point,
        inputs=tuple(inputs),
        files=task.files,
        module=task.module,
        trace=trace,
        limits=limits,
    )


def entry_of(task: CodeTask) -> str:
    """Name of the function, without the module or the class that it is in."""
    return task.entry_point.rpartition(":")[2].rpartition(".")[2]


def support_of(task: CodeTask) -> str:
    """What the tests take from the reference: its helpers, never the function itself."""
    if task.template or not free_names(task.tests) & defined(task.reference) - {task.entry_point}:
        return ""
    return without(task.reference, task.entry_point)


def _tests_of(task: CodeTask) -> str:
    """The tests; where they call the function by its name, that is the candidate as well.

    So it is where tests and code are one module, as in the benchmarks' own harnesses.
    """
    name = task.entry_point.rpartition(":")[2]
    if name not in free_names(task.tests):
        return task.tests
    return (
        f"{task.tests.rstrip()}\n\n\n_check = check\n\n\ndef check(candidate):\n"
        f"    global {name}\n    {name} = candidate\n    _check(candidate)\n"
    )


def agree(left: str, right: str, tolerance: float = 0.0) -> bool:
    """Whether two canonical texts stand for equal values, as `==` says: 1 equals 1.0.

    Floats may differ by `tolerance`, relative and absolute. Both are plain data, so that nothing of
    a candidate's is asked.
    """
    if left == right:
        return True
    one, other = loads(left), loads(right)
    return same(one, other, tolerance=tolerance) or bool(one == other)


# ---- references ------------------------------------------------------------------------------

LimitsOf = Callable[[CodeTask], Limits]
"""What one run of a task's may use, such as `References.limits`."""


def for_each(limits: Limits | LimitsOf) -> LimitsOf:
    """The limits of each task, where one may be given for all."""
    return limits if callable(limits) else lambda task: limits


@dataclass(frozen=True)
class References:
    """References that passed.

    Args:
        base: what any program may use.
        results: task -> what came of its reference.
    """

    base: Limits
    results: dict[str, ExecResult] = field(default_factory=dict)

    def limits(self, task: CodeTask) -> Limits:
        """What a candidate may use: the base, or four times what its reference took."""
        known = self.results.get(task.task_id)
        slow = SLACK * known.wall_s if known else 0.0
        if slow <= self.base.seconds:
            return self.base
        return self.base.model_copy(update={"seconds": slow})

    def settle(self, task: CodeTask, result: ExecResult) -> ExecResult:
        """The result of a `test_job`, decided where the sandbox only called the candidate."""
        if task.tests or result.status in ("sandbox_error", "harness", "syntax", "no_entry"):
            return result
        return _compared(result, self.results[task.task_id].per_input, task.tolerance)


def _compared(result: ExecResult, expected: Sequence[CallResult], tolerance: float) -> ExecResult:
    """The first call that differs from the reference's decides."""
    for number, (call, wanted) in enumerate(zip(result.per_input, expected, strict=False), 1):
        if call.status == "value":
            value, right = call.value or "", wanted.value or ""
            if agree(value, right, tolerance):
                continue
            why = f"input {number}: expected {right[:200]}, got {value[:200]}"
            return result.model_copy(update={"status": "wrong_value", "why": why})
        if call.status in ("exception", "timeout", "oom"):
            return result.model_copy(
                update={
                    "status": call.status,
                    "exception": call.exception,
                    "message": call.message,
                    "line": call.line,
                    "why": f"input {number}",
                }
            )
        if call.status == "unknown_type":
            why = f"input {number}: returned what is not plain data"
            return result.model_copy(update={"status": "wrong_value", "why": why})
        break  # not run: whatever stopped the job stands in its status
    if len(result.per_input) < len(expected) and result.status == "pass":
        why = f"{len(result.per_input)} of {len(expected)} calls were made"
        return result.model_copy(update={"status": "harness", "why": why})
    return result


def check_references(
    tasks: Iterable[CodeTask],
    box: Box,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    *,
    known: Mapping[str, ExecResult] | None = None,
    source: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> References:
    """Runs every reference under its own tests.

    Args:
        box: an open sandbox.
        known: references that have passed before, by task; they are not run again.
        source: where the tasks were read, for the line of one that is bad.
        limits: of a candidate; the reference gets more, since it sets the limit for others.

    Returns:
        How long each took, which decides how long a candidate may take.

    Raises:
        BadInput: a reference that fails its own tests, or that cannot be run; it names the task,
            and file and line where those are known.
    """
    found = References(limits, dict(known or {}))
    chosen = [task for task in tasks if task.task_id not in found.results]
    patient = limits.model_copy(update={"seconds": limits.seconds * PATIENCE})
    jobs = [test_job(task, task.reference, task.task_id, patient) for task in chosen]
    for task, result in zip(chosen, box.run(jobs, progress=progress), strict=True):
        if result.status != "pass":
            raise _refused(task, result, place_of(task.task_id, source))
        found.results[task.task_id] = result
    return found


def blind_graders(tasks: Iterable[CodeTask], box: Box, references: References) -> list[str]:
    """Tasks whose tests let a function through that does nothing: they tell nothing from nothing.

    A function inside a template is not tried, for what stands around it may be what is tested.
    """
    tried = [task for task in tasks if not task.template and task.entry_point.isidentifier()]
    jobs = [
        test_job(
            task,
            f"def {task.entry_point}(*arguments, **named):\n    pass\n",
            f"{task.task_id}|nothing",
            references.limits(task),
        )
        for task in tried
    ]
    return [
        task.task_id
        for task, result in zip(tried, box.run(jobs), strict=True)
        if references.settle(task, result).status == "pass"
    ]


def _refused(task: CodeTask, result: ExecResult, where: str) -> BadInput:
    details = [result.exception or "", result.message, result.why]
    why = ", ".join([result.status, *(each for each in details if each)])
    known = where != f"task {task.task_id}"
    its = f"the reference of task {task.task_id!r}" if known else "its reference"
    if result.status == "sandbox_error":
        return BadInput(f"{its} could not be run ({why})", where=where, fix="try again")
    return BadInput(
        f"{its} fails its own tests ({why})",
        where=where,
        fix="mend the reference or the tests, or remove the task",
    )
