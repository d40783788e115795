"""Plays episodes: one, or many over the cores of this machine.

    job = Job(Cell(layout="cramped_room", partner="greedy", seat=1), load_library("full"), seed=3)
    played = play(job, trace=True)
    episodes = play_all(jobs, workers=2)

The seed draws the starts and the partner's luck from streams of their own, so two libraries on one
seed meet the same start and the same partner. The same job is the same episode in any process.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np

from planish.methods.cowork.acting.partners import Partner, check_partner, partner
from planish.methods.cowork.data import Cell, Episode, TickTrace
from planish.methods.cowork.htn import Agent
from planish.methods.cowork.kitchen.layouts import Layout, load_layout
from planish.methods.cowork.kitchen.simulator import STAY, Kitchen, State
from planish.methods.cowork.skills import Library
from planish.parallel import fan_out

__all__ = ["TICK_SECONDS", "Job", "Played", "episode_id", "play", "play_all", "play_many"]

T = TypeVar("T")

TICK_SECONDS = 0.25
"""A tick of the kitchen in real time: it is played at 4 Hz."""

MOST_IN_CHUNK = 16
"""Episodes that travel to a worker together; a call to one costs as much as a few ticks."""


@dataclass(frozen=True)
class Job:
    """One episode to play.

    Args:
        library: what the agent acts from; the name of a scripted partner puts that cook in the
            library's place, as a baseline.
        start: "drawn": the seed draws both start cells from those that each cook can walk to;
            "layout": the layout's own.
        deadline_ns: nanoseconds a decision may take; None: no clock is read, and the episode
            depends on nothing but the job.
        latency_ticks: how long a decision takes, in ticks of `TICK_SECONDS`: what is decided on the
            state of tick t is done in tick t + latency_ticks. Until then the agent stays where it
            is, and only afterwards it looks again. 0.25 s are 1 tick, 1 s are 4, 5 s are 20.
    """

    cell: Cell
    library: Library | str
    seed: int
    old_dynamics: bool = False
    horizon: int = 400
    start: Literal["drawn", "layout"] = "drawn"
    deadline_ns: int | None = None
    latency_ticks: int = 0


@dataclass(frozen=True)
class Played:
    """An episode and, where it was traced, all that can be seen in it.

    Args:
        traces: of every decision of the library, by tick and seat.
        frames: the state before each tick, and the last one.
        actions: what both seats did in each tick.
        latencies_ns: of every decision of the library, traced or not.
        methods: method -> (times taken, times it ran to its end).
    """

    episode: Episode
    traces: tuple[TickTrace, ...] = ()
    frames: tuple[State, ...] = ()
    actions: tuple[tuple[int, int], ...] = ()
    latencies_ns: tuple[int, ...] = ()
    methods: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class _Slow:
    """An agent whose every decision takes a while, as if it asked a model."""

    def __init__(self, agent: Partner, ticks: int) -> None:
        self._agent, self._ticks = agent, ticks
        self._left = 0
        self._decided = STAY

    def act(self, kitchen: Kitchen) -> int:
        if self._left == 0:
            self._decided = self._agent.act(kitchen)
            self._left = self._ticks + 1
        self._left -= 1
        return STAY if self._left else self._decided


def play(job: Job, trace: bool = False) -> Played:
    """Plays one episode.

    Raises:
        BadInput: unknown layout or partner.
        Exception: whatever an agent or the kitchen raised.
    """
    return _play(job, load_layout(job.cell.layout), trace)


def play_all(
    jobs: Sequence[Job],
    *,
    workers: int | None = None,
    backend: str = "loky",
    progress: Callable[[int, int], None] | None = None,
) -> list[Episode]:
    """The episodes of all jobs, in their order; as `play_many`, without what was to be seen."""
    found = _spread(_episodes, jobs, workers, backend, progress)
    return [episode for chunk in found for episode in chunk]


def play_many(
    jobs: Sequence[Job],
    *,
    trace: bool = False,
    workers: int | None = None,
    backend: str = "loky",
    progress: Callable[[int, int], None] | None = None,
) -> list[Played]:
    """Plays all jobs and returns what came of them, in their order.

    An episode that raises has no score and says why; it is never a zero.

    Args:
        workers: how many at once; None: one a core, 1: here and now.
        backend: as `fan_out` takes it.
        progress: called with (episodes done, all), whenever some are.

    Raises:
        BadInput: unknown layout, partner or backend.
    """
    found = _spread(_traced if trace else _untraced, jobs, workers, backend, progress)
    return [played for chunk in found for played in chunk]


@dataclass(frozen=True)
class _Chunk:
    """Jobs that travel together; the layouts by name, so that no worker looks for a file."""

    jobs: tuple[Job, ...]
    layouts: Mapping[str, Layout]


def _spread(
    function: Callable[[_Chunk], list[T]],
    jobs: Sequence[Job],
    workers: int | None,
    backend: str,
    progress: Callable[[int, int], None] | None,
) -> list[list[T]]:
    if not jobs:
        return []
    for name in dict.fromkeys(job.cell.partner for job in jobs):
        check_partner(name)
    # What was measured of a layout stays behind: a worker measures it faster than it is sent.
    layouts = {
        name: dataclasses.replace(load_layout(name))
        for name in dict.fromkeys(job.cell.layout for job in jobs)
    }
    size = min(MOST_IN_CHUNK, max(1, len(jobs) // (4 * (workers or os.cpu_count() or 1))))
    if workers == 1:
        size = 1  # nothing travels, so nothing is waited for
    chunks = []
    for begin in range(0, len(jobs), size):
        part = tuple(jobs[begin : begin + size])
        chunks.append(_Chunk(part, {job.cell.layout: layouts[job.cell.layout] for job in part}))
    if workers is not None:
        workers = min(workers, len(chunks))  # one without work is started all the same

    def told(finished: int, total: int) -> None:
        if progress is not None:
            progress(len(jobs) if finished == total else finished * size, len(jobs))

    return fan_out(function, chunks, workers=workers, backend=backend, progress=told)


def _episodes(chunk: _Chunk) -> list[Episode]:
    return [played.episode for played in _untraced(chunk)]


def _untraced(chunk: _Chunk) -> list[Played]:
    return [_attempt(job, chunk.layouts[job.cell.layout], trace=False) for job in chunk.jobs]


def _traced(chunk: _Chunk) -> list[Played]:
    return [_attempt(job, chunk.layouts[job.cell.layout], trace=True) for job in chunk.jobs]


def _attempt(job: Job, layout: Layout, *, trace: bool) -> Played:
    """Plays it; whatever is raised becomes an episode without a score."""
    try:
        return _play(job, _measured(layout), trace)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return Played(_episode(job, error=reason[:500]))


@lru_cache(maxsize=64)
def _measured(layout: Layout) -> Layout:
    """The layout that came first among its equals, with all that has been measured of it."""
    return layout


def _play(job: Job, layout: Layout, trace: bool) -> Played:
    starts = layout.starts
    if job.start == "drawn":
        starts = layout.drawn_starts(random.Random(f"start:{job.seed}"))
    kitchen = Kitchen(layout, old_dynamics=job.old_dynamics, starts=starts)
    cooks, agents = _seated(job, layout, trace)
    first, second = cooks
    score, soups = 0.0, 0
    frames: list[State] = []
    actions: list[tuple[int, int]] = []
    with _uncollected():
        for _ in range(job.horizon):
            joint = first.act(kitchen), second.act(kitchen)
            if trace:
                frames.append(kitchen.state())
                actions.append(joint)
            for reward in kitchen.step(*joint):
                score += reward
                soups += reward > 0
    if trace:
        frames.append(kitchen.state())
    latencies = tuple(took for agent in agents for took in agent.latencies_ns)
    traces = [each for agent in agents for each in agent.traces]
    traces.sort(key=lambda each: (each.t, each.seat))
    tried, succeeded = Counter[str](), Counter[str]()
    for agent in agents:
        tried += agent.tried
        succeeded += agent.succeeded
    episode = _episode(
        job,
        score=score,
        soups=soups,
        decisions=len(latencies),
        latency_ns=_quantiles(latencies),
        deadline_misses=sum(agent.deadline_misses for agent in agents),
        fallbacks=sum(agent.fallbacks for agent in agents),
    )
    methods = {name: (count, succeeded[name]) for name, count in sorted(tried.items())}
    return Played(episode, tuple(traces), tuple(frames), tuple(actions), latencies, methods)


def _seated(job: Job, layout: Layout, trace: bool) -> tuple[tuple[Partner, Partner], list[Agent]]:
    """Who sits in seats 0 and 1, and which of them act from the library."""
    cell = job.cell
    if cell.seat not in (0, 1):
        raise ValueError(f"seat {cell.seat}: there are 0 and 1")
    cooks: list[Partner] = []
    agents: list[Agent] = []
    for seat in (0, 1):
        if cell.partner != "self" and seat != cell.seat:
            cooks.append(partner(cell.partner, layout, seat, job.seed))
        elif isinstance(job.library, str):
            cooks.append(partner(job.library, layout, seat, job.seed))
        else:
            agent = Agent(job.library, layout, seat, deadline_ns=job.deadline_ns, trace=trace)
            agents.append(agent)
            cooks.append(_Slow(agent, job.latency_ticks) if job.latency_ticks else agent)
    return (cooks[0], cooks[1]), agents


def _episode(job: Job, **found: Any) -> Episode:
    cell, library = job.cell, job.library
    return Episode(
        id=episode_id(cell, job.seed),
        library_hash=f"scripted:{library}" if isinstance(library, str) else library.digest,
        cell=cell,
        seed=job.seed,
        old_dynamics=job.old_dynamics,
        horizon=job.horizon,
        **found,
    )


def episode_id(cell: Cell, seed: int) -> str:
    """What tells the episodes of one library apart; the same for any two libraries."""
    return f"{cell.layout}/{cell.partner}/{cell.seat}/{seed}"


def _quantiles(latencies: Sequence[int]) -> tuple[int, int, int, int]:
    """p50, p95, p99 and the largest; zeros where nobody decided."""
    if not latencies:
        return 0, 0, 0, 0
    p50, p95, p99, largest = np.percentile(latencies, (50, 95, 99, 100))
    return int(p50), int(p95), int(p99), int(largest)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keeps the garbage collector from pausing a decision; an episode leaves little behind."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
