"""The two servers of a worker, and the processes of theirs that serve more than one job.

    pair = Pair("bwrap")
    child = pair.candidate(job, message, tame=False)

A process is only shared by programs, or by tests, that leave nothing behind in it (`tame.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from planish.tasks.sandbox.child import Child, Gone, Late, SandboxError, Used
from planish.tasks.sandbox.command import Role
from planish.tasks.sandbox.contract import Job, Level
from planish.tasks.sandbox.imports import modules_for
from planish.tasks.sandbox.process import Branch, Server

__all__ = ["MAX_ROUNDS", "SWEEP_SECONDS", "Pair"]

MAX_ROUNDS = 100
"""So many jobs at most share a process."""

SWEEP_SECONDS = 1.0
"""For what a program does when its values are let go of, before the next one begins."""

_MOST_BRANCHES = 2
"""So many sets of modules are kept imported for a role: those of the last programs."""

_LONG = 86_400  # seconds of processor time: how long one job takes is watched by the host
_LARGE = 0.25  # of the memory that is allowed: a process that took so much is not used again


@dataclass
class _Shared:
    """A process that has served one job and may serve another."""

    child: Child
    what: tuple[Any, ...]
    rounds: int = 1


class Pair:
    """A server for candidates and one for testers, started when they are needed.

    Args:
        level: of both.
    """

    def __init__(self, level: Level) -> None:
        self.level: Level = level
        self.stopped = False
        self.early = False
        """Whether the last candidate's process had modules that its program had not imported."""
        self._servers: dict[Role, Server] = {}
        self._branches: dict[tuple[Role, tuple[str, ...]], Server | Branch] = {}
        self._shared: dict[Role, _Shared] = {}
        self._alone: Child | None = None

    @property
    def python(self) -> str:
        """Version that runs programs; "" before one has run."""
        return next((one.python for one in self._servers.values()), "")

    def candidate(
        self,
        job: Job,
        message: dict[str, Any],
        tame: bool,
        rounds: int = 1,
        bare: bool = False,
    ) -> tuple[Child, bool]:
        """A process that is about to load the code of a job, and whether it has served others.

        Args:
            job: or the first of several.
            message: what the process is told.
            tame: it may have served other programs.
            rounds: programs that it is given.
            bare: nothing is imported for it beforehand.

        Raises:
            SandboxError: none can be started.
        """
        limits = job.limits
        self.early = False
        if not tame:
            self.let_go("candidate")
            modules = () if bare else modules_for(job, job.code)
            self.early = bool(modules) and self.level != "fork"
            child = self._server("candidate", modules).spawn(limits.output_bytes)
            self._alone = child
            _start(child, message)
            return child, False
        what = (limits.memory_mb, limits.processes)
        long = {**message, "limits": {**dict(limits), "seconds": _LONG}}

        def again(child: Child) -> None:
            child.send({"next": message}, time.monotonic() + SWEEP_SECONDS)

        return self._one("candidate", what, long, again, rounds)

    def tester(self, job: Job, candidate: Child, seconds: float, plain: bool) -> tuple[Child, bool]:
        """A process that runs the tests of a job, and asks the candidate itself; and whether it has
        served others.

        Args:
            job: whose tests are run.
            candidate: a process that has loaded its code.
            seconds: that all answers may take together.
            plain: the tests are tame: their process may have served other jobs.

        Raises:
            Gone: it has ended; SandboxError: none can be started.
        """
        if not plain:
            self.let_go("tester")
        order = {
            "tests": job.tests,
            "support": job.support,
            "seed": job.seed,
            "seconds": seconds,
            "call_seconds": job.limits.call_seconds,
        }
        return self._tester(job, plain, lambda one: one.lend(candidate, order))

    def judge(self, job: Job, order: dict[str, Any]) -> Child:
        """A process that runs tests on answers that are there already; the tests are tame.

        Args:
            job: the first of those whose tests are run.
            order: what the process is told.

        Raises:
            Gone, Late: it has ended; SandboxError: none can be started.
        """

        def begin(child: Child) -> None:
            child.send(order, time.monotonic() + SWEEP_SECONDS)

        return self._tester(job, True, begin)[0]

    def large(self, job: Job, megabytes: float) -> bool:
        """Whether a process has grown too large to be shared."""
        return megabytes > job.limits.memory_mb * _LARGE

    def let_go(self, role: Role) -> Used | None:
        """Ends the process of a role that is shared, if there is one, and tells how it ended.

        Raises:
            SandboxError: its server is gone.
        """
        shared = self._shared.pop(role, None)
        return None if shared is None else shared.child.end()

    def forget(self, child: Child) -> None:
        """Takes note that a process has ended."""
        self._shared = {role: one for role, one in self._shared.items() if one.child is not child}

    def shares(self, child: Child) -> bool:
        """Whether a process is kept for the next job."""
        return any(one.child is child for one in self._shared.values())

    def stop(self) -> None:
        """From another thread: ends both at once, and whatever runs on them."""
        self.stopped = True
        for server in list(self._servers.values()):
            server.stop()

    def close(self) -> None:
        """Ends both."""
        for shared in self._shared.values():
            shared.child.drop()
        if self._alone is not None:
            self._alone.drop()
        for server in (*self._branches.values(), *self._servers.values()):
            server.close()
        self._shared, self._servers, self._branches = {}, {}, {}

    def _tester(self, job: Job, plain: bool, begin: Callable[[Child], None]) -> tuple[Child, bool]:
        what = (plain, job.limits.memory_mb, job.limits.processes)
        message = {
            "files": [{"path": one.path, "text": one.text} for one in job.files],
            "limits": {**dict(job.limits), "seconds": _LONG},
        }
        modules = () if plain else modules_for(job, f"{job.support}\n{job.tests}")
        child, used = self._one("tester", what, message, begin, modules=modules)
        if not used:
            begin(child)
        return child, used

    def _one(
        self,
        role: Role,
        what: tuple[Any, ...],
        message: dict[str, Any],
        again: Callable[[Child], None],
        rounds: int = 1,
        modules: tuple[str, ...] = (),
    ) -> tuple[Child, bool]:
        shared = self._shared.get(role)
        if shared is not None and shared.what == what and shared.rounds < MAX_ROUNDS:
            shared.rounds += rounds
            with suppress(Late, Gone):
                again(shared.child)
                return shared.child, True
        self.let_go(role)
        child = self._server(role, modules).spawn(0, bell=role == "candidate")
        _start(child, message)
        self._shared[role] = _Shared(child, what, rounds)
        return child, False

    def _server(self, role: Role, modules: tuple[str, ...] = ()) -> Server | Branch:
        """Of a role, with these modules where it can have them."""
        if role not in self._servers and not self.stopped:
            self._servers[role] = Server(self.level, role)
        if self.stopped:
            raise SandboxError("the sandbox is closed")
        server = self._servers[role]
        if not modules or self.level == "fork":  # there, a server ends whatever it finds below it
            return server
        if (role, modules) not in self._branches:
            self._bound(role)
            self._branches[role, modules] = server  # unless it comes to one of its own
            with suppress(SandboxError):
                self._branches[role, modules] = server.branch(modules)
        return self._branches[role, modules]

    def _bound(self, role: Role) -> None:
        """Makes room for one more branch of a role, of which no process lives now."""
        kept = [key for key in self._branches if key[0] == role]
        for key in kept[: len(kept) + 1 - _MOST_BRANCHES]:
            branch = self._branches.pop(key)
            if isinstance(branch, Branch):
                branch.close()


def _start(child: Child, message: dict[str, Any]) -> None:
    try:
        child.start(message)
    except BaseException:
        child.drop()
        raise
