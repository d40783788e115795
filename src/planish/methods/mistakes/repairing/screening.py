"""Many programs tried on one input each in one process: fast, and good enough to drop most of them.

    calls = screened(task, "f", codes, arguments, box, limits)

The programs of a pack share a process, so that what one of them leaves behind may reach the next:
nothing is a repair before it has been run alone. Programs with a project around them, and those
whose entry is elsewhere, are not packed.
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.jobs import Box, call_job
from planish.tasks.sandbox import Sandbox
from planish.tasks.sandbox.contract import CallResult, ExecResult, Job, Limits
from planish.tasks.sandbox.values import dumps, loads

__all__ = ["once", "screened"]

PACK = 24
"""Programs that share a process."""

_ROUNDS = 40

_PACKED = """\
_SOURCES = {sources!r}


def _planish_try(number, *arguments):
    space = {{"__name__": __name__, "__builtins__": __builtins__}}
    exec(compile(_SOURCES[number], "candidate.py", "exec"), space)
    return space[{entry!r}](*arguments)
"""


def screened(
    task: CodeTask,
    codes: Sequence[str],
    arguments: str,
    box: Box,
    limits: Limits,
) -> list[CallResult]:
    """What each program does with one input, in order; `not_run` where it could not be tried.

    Args:
        arguments: canonical text.
        limits: of one program.
    """
    if task.files or ":" in task.entry_point or "." in task.entry_point:
        return _alone(task, codes, arguments, box, limits)
    nothing = CallResult(arguments=arguments, status="not_run")
    done = [nothing] * len(codes)
    left = list(range(len(codes)))
    for _ in range(_ROUNDS):
        packs = [left[at : at + PACK] for at in range(0, len(left), PACK)]
        jobs = [
            _pack(task, [codes[number] for number in pack], arguments, limits) for pack in packs
        ]
        for pack, result in zip(packs, once(box, jobs), strict=True):
            for number, call in zip(pack, result.per_input, strict=False):
                done[number] = call
        # a program that hangs or dies takes its process with it: the others go on in a new one
        still = [number for number in left if done[number].status == "not_run"]
        if not still or len(still) == len(left):
            break
        left = still
    return done


def once(box: Box, jobs: list[Job]) -> list[ExecResult]:
    """Runs jobs, and none a second time: a change that never ends is no accident of a machine."""
    if isinstance(box, Sandbox):
        return box.run(jobs, retry=False)
    return box.run(jobs)


def _pack(task: CodeTask, codes: Sequence[str], arguments: str, limits: Limits) -> Job:
    given = loads(arguments)
    sources = [task.program(code) for code in codes]
    return Job(
        key=f"{task.task_id}#pack",
        code=_PACKED.format(sources=sources, entry=task.entry_point),
        entry_point="_planish_try",
        inputs=tuple(dumps((number, *given)) for number in range(len(codes))),
        limits=limits.model_copy(
            update={"seconds": limits.seconds * 10, "call_seconds": limits.seconds}
        ),
    )


def _alone(
    task: CodeTask, codes: Sequence[str], arguments: str, box: Box, limits: Limits
) -> list[CallResult]:
    jobs = [
        call_job(task, code, f"{task.task_id}#{at}", [arguments], limits)
        for at, code in enumerate(codes)
    ]
    return [_only(result, arguments) for result in once(box, jobs)]


def _only(result: ExecResult, arguments: str) -> CallResult:
    if result.per_input:
        return result.per_input[0]
    said_nothing = result.status in ("sandbox_error", "harness")
    return CallResult(arguments=arguments, status="not_run" if said_nothing else "exception")
