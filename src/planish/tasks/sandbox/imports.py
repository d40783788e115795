"""Modules that take long to import, and whether code asks for them.

    >>> slow_imports("import os\\nfrom numpy import roots\\n")
    ('numpy',)

To import numpy takes ten times as long as all else that a small program does. Programs and tests
that ask for it are forked from a server that has imported it already.
"""

from __future__ import annotations

import re

from planish.tasks.sandbox.contract import Job

__all__ = ["modules_for", "slow_imports"]

_SLOW = re.compile(r"^[ \t]*(?:import|from)[ \t]+(numpy|pandas|scipy|sympy)\b", re.MULTILINE)

_WATCHING = re.compile(
    r"\.\s*modules\b|\bfrom[ \t]+sys\b"
    r"|\b(?:importlib|__import__|meta_path|path_hooks|settrace|setprofile|tracemalloc|warnings)\b"
)
"""In programs that may see what is imported when, or change what comes of it."""

_AMPLE = 512
"""MiB, beside which the address space of these modules is small: with less, a program is to fail by
its own import or not, as it would in a process that begins with nothing."""


def slow_imports(code: str) -> tuple[str, ...]:
    """Names of slow modules that code seems to import; that it does not is no harm."""
    return tuple(sorted(set(_SLOW.findall(code))))


def modules_for(job: Job, code: str) -> tuple[str, ...]:
    """What may be imported for a job beforehand, unseen by it.

    Args:
        job: a project may have modules of these names itself, and gets none.
        code: that is to be run.
    """
    usual = job.module == Job.model_fields["module"].default and not job.files
    found = slow_imports(code) if usual and job.limits.memory_mb >= _AMPLE else ()
    return () if found and _WATCHING.search(code) else found
