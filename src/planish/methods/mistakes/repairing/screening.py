"""Many programs tried on one input each in one process: fast, and good enough to drop most of them.

    calls = screened(task, codes, arguments, box, limits)

The programs of a pack share a process, so that what one of them leaves behind may reach the next:
nothing is a repair before it has been run alone. Each is loaded as the task's module is, with the
modules of the project around it loaded anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.jobs import Box
from planish.tasks.sandbox import Sandbox
from planish.tasks.sandbox.contract import CallResult, ExecResult, Job, Limits
from planish.tasks.sandbox.values import dumps, loads

__all__ = ["is_pack", "once", "screened"]

PACK = 24
"""Programs that share a process."""

_ROUNDS = 40

_MODULE = "_planish_pack.py"

_PACKED = """\
import importlib, importlib.abc, importlib.machinery, importlib.util, os, sys

_SOURCES = {sources!r}
_OWN = {own!r}
_ROOT = os.path.dirname(os.path.abspath(__file__))
_PATH = os.path.join(_ROOT, {path!r})


class _One(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    source = ""

    def __init__(self):
        self.known = {{}}

    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] not in _OWN:
            return None
        base = os.path.join(_ROOT, *name.split("."))
        for file in (os.path.join(base, "__init__.py"), base + ".py"):
            if file == _PATH or file in self.known or os.path.exists(file):
                package = file.endswith("__init__.py")
                spec = importlib.util.spec_from_loader(name, self, origin=file, is_package=package)
                spec.has_location = True
                if package:
                    spec.submodule_search_locations = [base]
                return spec
        if os.path.isdir(base) or {module!r}.startswith(name + "."):
            spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
            spec.submodule_search_locations = [base]
            return spec
        return None

    def exec_module(self, module):
        exec(self.compiled(module.__file__), module.__dict__)

    def compiled(self, file):
        if file == _PATH:
            return compile(self.source, file, "exec", dont_inherit=True)
        if file not in self.known:
            with open(file, encoding="utf-8") as text:
                self.known[file] = compile(text.read(), file, "exec", dont_inherit=True)
        return self.known[file]


_one = _One()
sys.meta_path.insert(0, _one)


def _planish_try(number, *arguments, **named):
    for name in list(sys.modules):
        if name.partition(".")[0] in _OWN:
            del sys.modules[name]
    _one.source = _SOURCES[number]
    importlib.import_module({module!r})
    found = importlib.import_module({holder!r})
    for part in {entry!r}.split("."):
        found = getattr(found, part)
    return found(*arguments, **named)
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


def is_pack(job: Job) -> bool:
    """Whether each of its calls is of another program."""
    return job.module == _MODULE


def _pack(task: CodeTask, codes: Sequence[str], arguments: str, limits: Limits) -> Job:
    module = task.module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    holder, _, entry = task.entry_point.rpartition(":")
    paths = [task.module, *(each.path for each in task.files)]
    code = _PACKED.format(
        sources=[task.program(code) for code in codes],
        module=module,
        path=task.module,
        own=tuple(sorted({each.removesuffix(".py").split("/")[0] for each in paths})),
        holder=holder or module,
        entry=entry,
    )
    return Job(
        key=f"{task.task_id}#pack",
        code=code,
        entry_point="_planish_try",
        inputs=tuple(_numbered(number, arguments) for number in range(len(codes))),
        files=task.files,
        module=_MODULE,
        limits=limits.model_copy(
            update={"seconds": limits.seconds * 10, "call_seconds": limits.seconds}
        ),
    )


def _numbered(number: int, arguments: str) -> str:
    """The arguments after the number of a program; a list holds a tuple and those by name."""
    given = loads(arguments)
    if isinstance(given, list):
        return dumps([(number, *given[0]), given[1]])
    return dumps((number, *given))
