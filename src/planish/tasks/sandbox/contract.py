"""What goes into the sandbox and what comes out of it: plain records.

    Job(key="1", code="def double(x):\\n    return 2 * x\\n", entry_point="double",
        tests="def check(candidate):\\n    assert candidate(2) == 4\\n")

A job has either `tests`, which run in a process of their own that calls the candidate's by way of
this one, or `inputs`, on which the candidate is merely called. Values travel as canonical text
(`values.dumps`), so that no object of the candidate's ever decides its own verdict.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field, model_validator

from planish.records import Record

__all__ = [
    "LEVELS",
    "MAX_MEMORY_MB",
    "MAX_OUTPUT",
    "MAX_SECONDS",
    "STATUSES",
    "CallResult",
    "CallStatus",
    "ExecResult",
    "Job",
    "Level",
    "Limits",
    "SourceFile",
    "Status",
]

Level = Literal["bwrap", "unshare", "fork"]

LEVELS: tuple[Level, ...] = get_args(Level)
"""Strongest first. `fork` limits resources but isolates nothing, and is taken only when allowed."""

Status = Literal[
    "pass",
    "wrong_value",
    "exception",
    "timeout",
    "oom",
    "no_entry",
    "syntax",
    "sandbox_error",
    "harness",
]

STATUSES: tuple[Status, ...] = get_args(Status)
"""`sandbox_error`: the sandbox failed; `harness`: the tests or what they stand on failed. Both say
nothing about the candidate."""

CallStatus = Literal["value", "exception", "timeout", "oom", "unknown_type", "not_run"]


MAX_SECONDS = 86_400
MAX_MEMORY_MB = 1 << 30
MAX_OUTPUT = 65_536


class Limits(Record):
    """What one job may use.

    Args:
        seconds: of wall clock and of processor time, for the whole job; a day at most.
        call_seconds: for one call; None: whatever is left of `seconds`.
        memory_mb: address space of the candidate's process, MiB.
        output_bytes: printed text that is kept, 65,536 at most; the rest is thrown away as it
            comes.
        processes: that may live at once, threads counted. At the level `fork`, nothing counts
            those of an ordinary user.
    """

    seconds: float = Field(4.0, gt=0, le=MAX_SECONDS, allow_inf_nan=False)
    call_seconds: float | None = Field(None, gt=0, le=MAX_SECONDS, allow_inf_nan=False)
    memory_mb: int = Field(1024, ge=64, le=MAX_MEMORY_MB)
    output_bytes: int = Field(MAX_OUTPUT, ge=0, le=MAX_OUTPUT)
    processes: int = Field(32, ge=1, le=1 << 20)


class SourceFile(Record):
    """One file of a project, with its path relative to the project's root."""

    path: str
    text: str


class Job(Record):
    """One program to run.

    Args:
        key: names the job in its result.
        code: the whole module that holds what is to be tried.
        entry_point: a name in that module, or "package.module:name" of the project.
        tests: source that defines `check(candidate)`.
        support: source that is run before the tests, for names that they take from the reference.
        inputs: arguments of each call, as `values.dumps((first, second))`.
        files: the rest of the project; the candidate cannot change them.
        module: path of `code` in the project.
        trace: tell which lines of `code` each call ran.
        seed: of `random`, for the candidate and for the tests.
    """

    key: str
    code: str
    entry_point: str
    tests: str = ""
    support: str = ""
    inputs: tuple[str, ...] = ()
    files: tuple[SourceFile, ...] = ()
    module: str = "candidate.py"
    trace: bool = False
    seed: int = 0
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _one_of_both(self) -> Job:
        if bool(self.tests) == bool(self.inputs):
            raise ValueError("a job has either tests or inputs")
        return self


class CallResult(Record):
    """One call of the candidate.

    Args:
        arguments: canonical text, as they were before the call.
        status: what came of it; `unknown_type`: it returned what is not plain data.
        value: canonical text of what it returned.
        exception: name of its type; message: its text, shortened.
        line: of the candidate's module where it was raised.
        lines: of the candidate's module that ran, sorted; empty unless traced.
    """

    arguments: str
    status: CallStatus
    value: str | None = None
    exception: str | None = None
    message: str = ""
    line: int | None = None
    lines: tuple[int, ...] = ()


class ExecResult(Record):
    """What came of one job.

    Args:
        status: of the whole job. Without tests: `pass` where every call returned plain data, else
            that of the first that did not (`wrong_value` for an unknown type).
        per_input: every call, in order; with tests, the calls that they made.
        exception: of the candidate, or of the tests; message, line: as in `CallResult`.
        why: what the tests found, or what the sandbox or the harness suffered.
        stdout_tail: the last of what the candidate printed.
        wall_s, cpu_s: seconds.
        max_rss_mb: MiB, of the candidate's process; where it has served other programs before,
            the most that any of them took.
        sandbox_level: how well it was locked up.
        python: version that ran it.
        retried: at first it timed out or was killed, and it was run again alone.
    """

    key: str
    status: Status
    per_input: tuple[CallResult, ...] = ()
    exception: str | None = None
    message: str = ""
    line: int | None = None
    why: str = ""
    stdout_tail: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    max_rss_mb: float = 0.0
    sandbox_level: Level
    python: str
    seed: int = 0
    retried: bool = False

    @property
    def score(self) -> float | None:
        """1.0 passed, 0.0 failed, None where nothing can be said about the candidate."""
        if self.status in ("sandbox_error", "harness"):
            return None
        return float(self.status == "pass")
