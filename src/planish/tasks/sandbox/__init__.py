"""Generated code, run where it can do no harm and cannot grade itself.

    with Sandbox() as box:
        (result,) = box.run([Job(key="1", code=code, entry_point="double", tests=tests)])
    result.status, result.sandbox_level       # ("pass", "bwrap")

contract.py   what goes in and comes out
values.py     plain values as text, and typed comparison; quick.py, the small ones
levels.py     how well programs can be locked up here
host.py       Sandbox: workers, batches, retries
work.py       one job: brings tests and candidate together, and judges how they ended; answers.py
              reads what they said
together.py   several jobs at once, where nothing can be lost by it: tame.py, which programs may
              share a process; ahead.py, which tests make calls that are known beforehand
pair.py       the two servers of a worker
process.py    one server from outside, child.py, a process of it; command.py, how it is started
launch.py, server.py, room.py, kernel.py, speech.py, tidy.py                      run inside
trying.py, candidate.py       inside, the candidate's process
judging.py, tester.py         inside, that of the tests
"""

from planish.tasks.sandbox.contract import (
    LEVELS,
    STATUSES,
    CallResult,
    ExecResult,
    Job,
    Level,
    Limits,
    SourceFile,
    Status,
)
from planish.tasks.sandbox.host import Sandbox
from planish.tasks.sandbox.levels import available
from planish.tasks.sandbox.values import UnknownType, dumps, loads, same
from planish.tasks.sandbox.work import limits_for

__all__ = [
    "LEVELS",
    "STATUSES",
    "CallResult",
    "ExecResult",
    "Job",
    "Level",
    "Limits",
    "Sandbox",
    "SourceFile",
    "Status",
    "UnknownType",
    "available",
    "dumps",
    "limits_for",
    "loads",
    "same",
]
