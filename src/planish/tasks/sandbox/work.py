"""Runs one job on a pair of servers, one for candidates and one for testers.

    result = run_job(Pair("unshare"), job)

The tester's process asks the candidate's over a socket that it is lent, counts the time that the
answers take, and gives the verdict; nothing else says "pass". How each of them ended is seen here.
"""

from __future__ import annotations

import time
from pathlib import PurePosixPath
from typing import Any, cast

from planish.tasks.sandbox.answers import call_result, clean, last, verdict_of
from planish.tasks.sandbox.child import Child, Gone, Late, SandboxError, Used
from planish.tasks.sandbox.contract import (
    MAX_SECONDS,
    CallResult,
    ExecResult,
    Job,
    Limits,
    Status,
)
from planish.tasks.sandbox.pair import SWEEP_SECONDS, Pair
from planish.tasks.sandbox.speech import used

__all__ = ["KILLED", "MAX_FRESH", "MAX_KEPT", "limits_for", "run_job"]

MAX_FRESH = 3
"""So many times the inputs go on in a new process after one that did not live."""

MAX_KEPT = 16_000_000
"""Characters of all answers of one job that are kept."""

KILLED = "the process was killed"
"""Message of a call that may only have been in the way of another process of the machine."""

_ENDLESS = "the tests did not end"


def limits_for(reference_seconds: float, limits: Limits) -> Limits:
    """Limits under which a program may take four times as long as the reference does."""
    seconds = min(max(limits.seconds, 4 * reference_seconds), MAX_SECONDS)
    return limits.model_copy(update={"seconds": seconds})


def run_job(
    pair: Pair,
    job: Job,
    *,
    shared: bool = False,
    plain_tests: bool = False,
    tried_again: bool = False,
) -> ExecResult:
    """Runs a job on a pair of servers; whatever happens comes back as a result.

    Args:
        shared: its process may have served other jobs, and may serve more: `tame` says so.
        plain_tests: the process of its tests may serve other jobs with the same tests.
        tried_again: it will be, if it is late and nothing shows that it was not kept waiting.
    """
    wrong = _bad_path(job)
    if wrong is not None:
        return _result(pair, job, "harness", why=f"{wrong!r} is no path in a project")
    started = time.monotonic()
    told: dict[str, Any] = {}
    bare = False
    for attempt in range(3):
        try:
            trial = _Trial(pair, job, shared, plain_tests, tried_again, bare)
            told = trial.test() if job.tests else trial.try_inputs()
            if not (pair.early and _is_short(told)):
                break
            bare = True  # what it may never import may have left it too little
        except _Again:
            shared = False
        except Exception as error:  # whatever breaks here says nothing about the candidate
            pair.close()
            told = {"status": "sandbox_error", "why": f"{type(error).__name__}: {error}"}
            if not isinstance(error, SandboxError) or attempt or pair.stopped:
                break
    return _result(pair, job, **told, wall_s=time.monotonic() - started)


def _result(pair: Pair, job: Job, status: str, **told: Any) -> ExecResult:
    return ExecResult(
        key=job.key,
        status=cast(Status, status),
        sandbox_level=pair.level,
        python=pair.python,
        seed=job.seed,
        **told,
    )


def _is_short(told: dict[str, Any]) -> bool:
    """Whether memory was short."""
    calls = told.get("per_input", ())
    return told["status"] == "oom" or any(
        one.status == "oom" or one.exception == "MemoryError" for one in calls
    )


class _Again(Exception):
    """A process that has served other jobs did not live through this one: it gets one of its own,
    since what has grown in that process may be at fault.
    """


class _Trial:
    """One job while it runs."""

    def __init__(
        self,
        pair: Pair,
        job: Job,
        shared: bool,
        plain_tests: bool,
        tried_again: bool,
        bare: bool = False,
    ) -> None:
        self.pair = pair
        self.job = job
        self.shared = shared
        self.plain_tests = plain_tests
        self.tried_again = tried_again
        self.bare = bare
        self.reused = False
        self.before = 0.0
        self.kept = 0
        self.left = job.limits.seconds
        self.used: list[Used] = []
        self.calls: list[CallResult] = []

    def test(self) -> dict[str, Any]:
        """With tests: they ask the candidate, and their process tells the verdict."""
        candidate, trouble = self._load(())
        if candidate is None:
            return trouble
        patience = max(10.0, 2 * self.job.limits.seconds)
        message, why, reused = {"fate": "timeout"}, "", False
        try:
            tester, reused = self.pair.tester(
                self.job, candidate, max(self.left, 0.001), self.plain_tests
            )
            message = tester.receive(time.monotonic() + patience + max(self.left, 0.0))
        except Late:
            why = _ENDLESS
        except Gone:
            why = "the process of the tests ended"
        told = verdict_of(message, why)
        grown = used(message.get("own")) or (0.0, 0.0)
        broken = bool(why) or told["status"] == "harness"
        if broken or not self.plain_tests or self.pair.large(self.job, grown[1]):
            end = self.pair.let_go("tester")
            if why == _ENDLESS and end is not None and end.asked:
                told["status"] = "timeout"  # what the candidate returned keeps them from ending
        if broken and reused and why != _ENDLESS:
            self._end(candidate)
            raise _Again
        self._note(candidate, message)
        if message.get("fate") == "ended":
            told.update(_fate(self._died(candidate, Gone("it sent what is no message"))))
        elif message.get("fate") == "timeout" or told["status"] == "oom":
            if told["status"] == "timeout" and not why:
                self._outlast(candidate)
            self._end(candidate)
            if told["status"] == "oom" and self.reused:
                raise _Again
        else:
            self._leave(candidate)
        return {**told, **self._bill()}

    def try_inputs(self) -> dict[str, Any]:
        """Without tests: calls the candidate on every input."""
        inputs, fresh = self.job.inputs, 0
        while len(self.calls) < len(inputs) and fresh <= MAX_FRESH and self.left > 0:
            candidate, trouble = self._load(inputs[len(self.calls) :])
            if candidate is None:
                if not fresh:
                    return trouble
                break
            while candidate is not None and len(self.calls) < len(inputs):
                arguments = inputs[len(self.calls)]
                candidate, answer = self._answer(candidate)
                started = time.monotonic()
                self.calls.append(self._kept(call_result(arguments, answer)))
                # to read what a candidate sends may take long, and it must not take for ever
                self.left -= time.monotonic() - started
            if candidate is not None:
                self._leave(candidate)
            fresh += 1
        for arguments in inputs[len(self.calls) :]:
            self.calls.append(CallResult(arguments=arguments, status="not_run"))
        bad = next((one for one in self.calls if one.status != "value"), None)
        told: dict[str, Any] = {"status": "pass"}
        if bad is not None:
            status = "wrong_value" if bad.status == "unknown_type" else bad.status
            told = {
                "status": status,
                "exception": bad.exception,
                "message": bad.message,
                "line": bad.line,
            }
        return {**told, "per_input": tuple(self.calls), **self._bill()}

    def _load(self, inputs: tuple[str, ...]) -> tuple[Child | None, dict[str, Any]]:
        """A child that has loaded the code; or None and what the job comes to without."""
        job = self.job
        child, self.reused = self.pair.candidate(
            job, self._code(inputs), self.shared, bare=self.bare
        )
        try:
            started = time.monotonic()
            sweep = SWEEP_SECONDS if self.reused else 0.0
            answer = self._hear(child, started + self.left + sweep)
            took = time.monotonic() - started
            if self.reused:
                swept, cpu = used(answer.get("swept")) or (0.0, child.sofar[0])
                took -= min(swept, took)
                self.before += cpu
            self.left -= took
            if self.left <= 0:
                raise Late
        except Late:
            if self.reused:
                self._end(child)
                raise _Again from None
            self._outlast(child)
            self._end(child)
            why = "while the code was loaded"
            return None, {"status": "timeout", "why": why, **self._bill()}
        except Gone as gone:
            answer = self._died(child, gone)
        else:
            if answer.get("prepared") is True:
                return child, {}
            self._leave(child)
        said = call_result("", answer)
        status = answer.get("status")
        return None, {
            "status": status
            if status in ("syntax", "no_entry", "exception", "oom", "timeout")
            else "exception",
            "exception": said.exception,
            "message": said.message,
            "line": said.line,
            **self._bill(),
        }

    def _answer(self, child: Child) -> tuple[Child | None, dict[str, Any]]:
        """The answer to one call, and the child if it lives on."""
        started = time.monotonic()
        allowed = self.left
        if self.job.limits.call_seconds is not None:
            allowed = min(allowed, self.job.limits.call_seconds)
        try:
            if allowed <= 0:  # an answer that is there already comes too late
                raise Late
            answer = self._hear(child, started + allowed)
        except Late:
            self._outlast(child)
            self._end(child)
            return None, {"status": "timeout"}
        except Gone as gone:
            return None, self._died(child, gone)
        finally:
            self.left -= time.monotonic() - started
        if answer.get("status") != "oom":
            return child, answer
        self._end(child)
        if self.reused:
            raise _Again
        return None, answer

    def _kept(self, call: CallResult) -> CallResult:
        """The call, or what can be told of it once a candidate has filled enough memory here."""
        size = len(call.value or "") + 8 * len(call.lines) + len(call.message)
        if self.kept + size <= MAX_KEPT:
            self.kept += size
            return call
        if call.status != "value":
            return call.model_copy(update={"lines": ()})
        return CallResult(
            arguments=call.arguments,
            status="unknown_type",
            message=f"more than {MAX_KEPT:,} characters in all answers",
        )

    def _hear(self, child: Child, deadline: float) -> dict[str, Any]:
        answer = child.receive(deadline)
        self._note(child, answer)
        return answer

    def _note(self, child: Child, answer: dict[str, Any]) -> None:
        told = used(answer.get("used"))
        if self.shared and told is not None:
            child.sofar = told

    def _leave(self, child: Child) -> None:
        """Ends a process, or leaves it to the next job."""
        if self.pair.shares(child) and not self.pair.large(self.job, child.sofar[1]):
            self.used.append(Used(0, False, child.sofar[0], child.sofar[1], ""))
        else:
            self._end(child)

    def _end(self, child: Child) -> None:
        self.pair.forget(child)
        self.used.append(child.end())

    def _outlast(self, child: Child) -> None:
        """Lets one that came too late compute on until its own processor time has reached the
        limit as well: then no other process of the machine was why, and `host.Sandbox` need not
        try it again. It is too late all the same, and one that was kept waiting for long, or that
        waits itself, is not waited for; nor is one that will not be tried again in any case.
        """
        limit = self.job.limits.seconds
        if not self.tried_again or self.job.limits.call_seconds is not None:
            return
        before = sum(one.cpu_s for one in self.used) - self.before
        spent = before + child.spent()
        while limit / 2 <= spent < limit:
            missing, last = limit - spent, spent
            if child.ends_within(missing + 0.001):
                return
            spent = before + child.spent()
            if spent - last < missing / 4:
                return

    def _died(self, child: Child, gone: Gone) -> dict[str, Any]:
        self.pair.forget(child)
        end = child.fate()
        self.used.append(end)
        if self.reused:
            raise _Again
        limits = self.job.limits
        if not end.by_itself:
            how = f"the process closed its connection, or {gone}"
        elif end.status == -9:
            # of its own it cannot be killed so: time or memory of the machine ran out
            over = end.cpu_s >= limits.seconds
            return {"status": "timeout" if over else "oom", "message": KILLED}
        elif end.status != 0 and end.max_rss_mb > limits.memory_mb / 2:
            return {"status": "oom", "message": f"the process ended with {end.status}"}
        else:
            how = f"the process ended with status {end.status}"
        return {"status": "exception", "exception": "ProcessEnded", "message": how, "kinds": None}

    def _bill(self) -> dict[str, Any]:
        return {
            "stdout_tail": last(
                clean("".join(one.tail for one in self.used)), self.job.limits.output_bytes
            ),
            "cpu_s": max(sum(one.cpu_s for one in self.used) - self.before, 0.0),
            "max_rss_mb": max((one.max_rss_mb for one in self.used), default=0.0),
        }

    def _code(self, inputs: tuple[str, ...]) -> dict[str, Any]:
        job = self.job
        files = [{"path": one.path, "text": one.text} for one in job.files]
        if files:
            files.append({"path": job.module, "text": job.code})
        return {
            "code": job.code,
            "entry_point": job.entry_point,
            "module": job.module,
            "files": files,
            "trace": job.trace,
            "seed": job.seed,
            "inputs": inputs,
            "limits": dict(job.limits),
        }


def _bad_path(job: Job) -> str | None:
    for path in (job.module, *(one.path for one in job.files)):
        pure = PurePosixPath(path)
        if not pure.parts or pure.is_absolute() or ".." in pure.parts or "\0" in path:
            return path
    return None


def _fate(answer: dict[str, Any]) -> dict[str, Any]:
    return {"exception": None, **{k: v for k, v in answer.items() if k != "kinds"}}
