"""Draws inputs that a caller may ask: the precondition holds, and the reference returns a value.

    draw(task, 60, seed=0, box=box, limits=limits)  # canonical texts of argument tuples
    draw_many(tasks, 60, seed=0, box=box, limits=limits)  # with what the references return

The inputs of the tests come first, then what the strategy gives, every second one of it varied so
that arguments speak of each other. Precondition and reference run in the sandbox, those of all
tasks at once.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.inferring import holding, infer
from planish.methods.mistakes.jobs import Box, LimitsOf, call_job, for_each, test_job
from planish.methods.mistakes.kinds import Strategy, kinds_of
from planish.methods.mistakes.varying import vary
from planish.tasks.sandbox.contract import CallResult, ExecResult, Job, Limits
from planish.tasks.sandbox.values import UnknownType, dumps, loads

__all__ = ["Drawn", "allowed", "call_all", "draw", "draw_many", "reference_job"]

ROUNDS = 3
"""So often more inputs are drawn for tasks whose inputs were ruled out."""

_TURNS = 4  # so often the strategy is drawn from anew before a task counts as dry
_AGAIN = 3  # so often a job goes on after calls that ended it


@dataclass(frozen=True)
class Drawn:
    """Inputs of a task.

    Args:
        calls: of the reference, each with a value.
        asked: how many of them are the tests' own; they come first.
        fits: whether arguments are of the kinds that were described, or seen in the tests.
    """

    calls: tuple[CallResult, ...] = ()
    asked: int = 0
    fits: Callable[[tuple[Any, ...]], bool] = field(default=bool, compare=False)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Canonical texts of the arguments."""
        return tuple(call.arguments for call in self.calls)


def draw(task: CodeTask, number: int, seed: int, box: Box, limits: Limits) -> tuple[str, ...]:
    """At most so many inputs of one task, as canonical texts that differ; see `draw_many`."""
    return draw_many([task], number, seed, box, limits)[0].inputs


def draw_many(
    tasks: Sequence[CodeTask], number: int, seed: int, box: Box, limits: Limits | LimitsOf
) -> list[Drawn]:
    """At most so many inputs of each task; the same for the same task, number and seed.

    Args:
        number: of inputs; the tests' own take at most half of them where more can be drawn.
        seed: of what is drawn.
        box: an open sandbox.
        limits: of the whole of a task's calls at once, for all tasks or for each.

    Returns:
        One for each task. Fewer inputs, or none, where the task has no more that meet its
        precondition and that its reference answers.

    Raises:
        BadInput: a task's strategy cannot be read.
    """
    pools = [_Pool(task, number, seed) for task in tasks]
    _asked(pools, box, limits)
    for _ in range(ROUNDS):
        short = [pool for pool in pools if len(pool.kept) < number and not pool.dry]
        if not short:
            break
        offers = [pool.more() for pool in short]
        pairs = [(pool.task, offer) for pool, offer in zip(short, offers, strict=True)]
        for pool, calls in zip(short, allowed(pairs, box, limits), strict=True):
            pool.kept += calls
    return [Drawn(tuple(pool.kept[:number]), pool.asked, pool.fits) for pool in pools]


def allowed(
    pairs: Sequence[tuple[CodeTask, Sequence[str]]], box: Box, limits: Limits | LimitsOf
) -> list[list[CallResult]]:
    """The reference's calls on those inputs that a caller may ask, each with a value."""
    of = for_each(limits)
    checks = [
        Job(
            key=f"precondition of {task.task_id}",
            code=task.precondition,
            entry_point="precondition",
            inputs=tuple(inputs),
            files=task.files,
            module="precondition_of_the_task.py",
            limits=of(task),
        )
        if task.precondition and inputs
        else None
        for task, inputs in pairs
    ]
    answers = iter(call_all(box, [check for check in checks if check is not None]))
    jobs: list[Job | None] = []
    for (task, inputs), check in zip(pairs, checks, strict=True):
        if check is not None:
            inputs = [call.arguments for call in next(answers) if _yes(call)]
        jobs.append(reference_job(task, inputs, of(task)) if inputs else None)
    values = iter(call_all(box, [job for job in jobs if job is not None]))
    return [
        [] if job is None else [call for call in next(values) if call.status == "value"]
        for job in jobs
    ]


def reference_job(task: CodeTask, inputs: Sequence[str], limits: Limits) -> Job:
    """Calls the reference on these inputs; one of them may take half of the time at most."""
    some = limits.model_copy(update={"call_seconds": limits.call_seconds or limits.seconds / 2})
    return call_job(task, task.reference, f"reference of {task.task_id}", inputs, some)


def call_all(box: Box, jobs: Sequence[Job], again: int = _AGAIN) -> list[list[CallResult]]:
    """Every call of every job.

    Args:
        again: so many times at most a job is begun; it is begun anew after calls that ended it.

    Returns:
        For each job its calls in order; those that could not be made are `not_run`.
    """
    done: list[list[CallResult]] = [[] for _ in jobs]
    waiting = list(range(len(jobs)))
    for _ in range(again):
        left = [
            jobs[number].model_copy(update={"inputs": jobs[number].inputs[len(done[number]) :]})
            for number in waiting
        ]
        if not left:
            break
        for number, result in zip(waiting, box.run(left), strict=True):
            done[number] += _made(result)
        waiting = [
            number
            for number, job in zip(waiting, left, strict=True)
            if len(job.inputs) > len(jobs[number].inputs) - len(done[number]) > 0
        ]
    for job, calls in zip(jobs, done, strict=True):
        calls += [CallResult(arguments=each, status="not_run") for each in job.inputs[len(calls) :]]
    return done


def _made(result: ExecResult) -> Iterator[CallResult]:
    if result.status in ("sandbox_error", "harness", "syntax", "no_entry"):
        return
    for call in result.per_input:
        if call.status == "not_run":
            return
        yield call


def _yes(call: CallResult) -> bool:
    return call.status == "value" and call.value is not None and bool(loads(call.value))


# ---- one task --------------------------------------------------------------------------------


@dataclass
class _Pool:
    """Where the inputs of one task come from.

    Args:
        kept: calls of the reference on inputs that will do.
        offered: every input that was ever tried.
        asked: how many of the kept ones are the tests' own.
        dry: nothing more can be drawn.
    """

    task: CodeTask
    number: int
    seed: int
    kept: list[CallResult] = field(default_factory=list)
    seen: list[tuple[Any, ...]] = field(default_factory=list)
    offered: set[str] = field(default_factory=set)
    asked: int = 0
    dry: bool = False
    source: Iterator[tuple[Any, ...]] | None = None

    def take(self, inputs: Iterable[str]) -> list[str]:
        """Those that were not offered before."""
        fresh = [each for each in dict.fromkeys(inputs) if each not in self.offered]
        self.offered.update(fresh)
        return fresh

    def more(self) -> list[str]:
        """So many new inputs that about as many as are missing will do."""
        if self.source is None:
            self.source = self._generate()
        wanted = self.number - len(self.kept)
        fresh: list[str] = []
        for arguments in islice(self.source, 3 * wanted + 20):
            try:
                fresh += self.take([dumps(arguments)])
            except UnknownType:
                continue
            if len(fresh) >= wanted + wanted // 4:
                return fresh
        self.dry = True
        return fresh

    def _generate(self) -> Iterator[tuple[Any, ...]]:
        """Drawn and varied ones in turn; seen ones varied too where nobody described them."""
        strategy = self.strategy
        # The name of a task decides its own draws, whatever other tasks there are.
        seed = self.seed ^ zlib.crc32(self.task.task_id.encode("utf-8", "replace"))
        source = random.Random(seed)
        described = self.task.strategy is not None
        fits = self.fits
        for turn in range(_TURNS):
            for base in self._bases(strategy, seed + turn):
                if fits(base):
                    yield base
                start = base if described or source.random() < 0.3 else source.choice(self.seen)
                for _ in range(4):
                    varied = vary(start, source)
                    if fits(varied):
                        yield varied
                        break

    def _bases(self, strategy: Strategy | None, seed: int) -> list[tuple[Any, ...]]:
        if strategy is None:
            return list(self.seen)
        # Only here, since hypothesis takes its time to be imported.
        from planish.methods.mistakes.seeded import drawn_by

        return drawn_by(kinds_of(strategy), self.number // 2 + 4, seed)

    @cached_property
    def strategy(self) -> Strategy | None:
        """As described, or as read off the inputs that were seen."""
        return self.task.strategy or infer(self.seen)

    @cached_property
    def fits(self) -> Callable[[tuple[Any, ...]], bool]:
        """Whether arguments are of the kinds of the strategy, and of what was seen to hold."""
        kinds = None if self.strategy is None else kinds_of(self.strategy)
        laws = () if self.task.strategy is not None else holding(self.seen)

        def fits(arguments: tuple[Any, ...]) -> bool:
            if kinds is not None and not (
                len(kinds) == len(arguments)
                and all(kind.admits(each) for kind, each in zip(kinds, arguments, strict=True))
            ):
                return False
            return all(law(arguments) for law in laws)

        return fits


def _asked(pools: Sequence[_Pool], box: Box, limits: Limits | LimitsOf) -> None:
    """Starts every pool with the inputs that the task's tests use."""
    testing = [pool for pool in pools if pool.task.tests]
    of = for_each(limits)
    jobs = [
        test_job(pool.task, pool.task.reference, pool.task.task_id, of(pool.task))
        for pool in testing
    ]
    used = {
        id(pool): [call.arguments for call in result.per_input]
        for pool, result in zip(testing, box.run(jobs), strict=True)
    }
    offers = [pool.take(used.get(id(pool), pool.task.inputs)) for pool in pools]
    for pool, offer in zip(pools, offers, strict=True):
        # Arguments that were passed by name are a list: they are asked again, but not varied.
        read = [loads(each) for each in offer]
        pool.seen = [each for each in read if type(each) is tuple]
    offers = [offer[: max(1, pool.number // 2)] for pool, offer in zip(pools, offers, strict=True)]
    pairs = [(pool.task, offer) for pool, offer in zip(pools, offers, strict=True)]
    for pool, calls in zip(pools, allowed(pairs, box, limits), strict=True):
        pool.kept += calls
        pool.asked = len(calls)
