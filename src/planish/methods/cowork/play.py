"""Stage `play`: how well a library plays, and how fast it decides.

planish cowork play --layout coordination_ring
planish cowork play --layout cramped_room my_kitchen.layout --library last --partner greedy --seat both
planish cowork play --resume runs/cowork/20250102-030405-play-full

The run folder keeps every episode (`records.jsonl`), the time of every decision
(`artifacts/latencies.jsonl`), the traces of the first seed and replays of it, and the library that
was played. Decisions are timed in this process alone, with warm caches.
"""  # noqa: E501 - one line to type

from __future__ import annotations

import gc
import json as json_lines
import re
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import BaseModel, ConfigDict

from planish.methods.cowork.acting.episodes import Job, Played, episode_id, play_many
from planish.methods.cowork.acting.partners import check_partner
from planish.methods.cowork.config import MOST_WORKERS
from planish.methods.cowork.data import Cell, Episode
from planish.methods.cowork.kitchen.asked import asked, unchanged
from planish.methods.cowork.kitchen.layouts import load_layout
from planish.methods.cowork.library import LEFT_BY_RUN, check_named_again, find_library
from planish.methods.cowork.showing.played import Results, Times, write_report
from planish.methods.cowork.skills import SHIPPED, Library, save_library
from planish.records import BadInput, read_jsonl, write_text
from planish.runs import LineFile, Run, mend
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.options import RUNS, Count, Json, RunsDir, Seed, Whole
from planish.runs.store import find

__all__ = ["Plan", "play"]

AGAIN = "planish cowork play --resume"

REPLAYS = 4
"""Cells whose first episode is left as a page."""

WARM_TICKS = 60
"""Ticks played before anything is timed."""

_NAME_LENGTH = 40  # of a kitchen in the name of a file, which may have 255 bytes in all

LATENCIES = "latencies.jsonl"
Seat = Literal["0", "1", "both"]
Start = Literal["drawn", "layout"]

_FREE = frozenset({"workers"})  # changes no score
_Several = Parameter(consume_multiple=True, negative="")
_Milliseconds = Annotated[float, Parameter(validator=Number(gt=0, lte=60_000))]
_Horizon = Annotated[Whole, Parameter(validator=Number(gte=20, lte=2000))]
_Workers = Annotated[Whole, Parameter(validator=Number(gte=1, lte=MOST_WORKERS))]


class Plan(BaseModel):
    """What decides the scores of a run; a resume must match it.

    Args:
        layouts: names or files; layout_hashes: of those that are files.
        library: as it was named; library_hash: what it was.
        seat: of the library, where a scripted partner has the other.
        seeds, seed: how many, from which one on.
        start: where the cooks begin, as in `Job`.
        deadline_ms: that a decision may take.
        workers: processes; those beyond the first seed of each cell are timed with one only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layouts: tuple[str, ...]
    layout_hashes: dict[str, str]
    library: str
    library_hash: str
    partner: str = "self"
    seat: Seat = "0"
    seeds: int = 10
    seed: int = 0
    old_dynamics: bool = False
    horizon: int = 400
    start: Start = "drawn"
    deadline_ms: float = 5.0
    workers: int = 1

    @property
    def called(self) -> str:
        """The library in short; "last" alone would soon be another one."""
        name = Path(self.library).name
        return f"library {self.library_hash[:8]}" if name == "last" else name

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Where and with whom it plays; self-play takes both seats at once."""
        both = (0, 1) if self.seat == "both" else (int(self.seat),)
        seats = (0,) if self.partner == "self" else both
        return tuple(
            Cell(layout=layout, partner=self.partner, seat=seat)
            for layout in self.layouts
            for seat in seats
        )

    def jobs(self, library: Library) -> list[Job]:
        """Every episode, the first seed of each cell first."""
        return [
            Job(
                cell,
                library,
                seed,
                old_dynamics=self.old_dynamics,
                horizon=self.horizon,
                start=self.start,
                deadline_ns=round(self.deadline_ms * 1e6),
            )
            for seed in range(self.seed, self.seed + self.seeds)
            for cell in self.cells
        ]


def play(
    *,
    layout: Annotated[tuple[str, ...], _Several] = (),
    library: str | None = None,
    partner: str | None = None,
    seat: Seat | None = None,
    seeds: Count | None = None,
    seed: Seed | None = None,
    old_dynamics: Annotated[bool | None, Parameter(negative="")] = None,
    horizon: _Horizon | None = None,
    start: Start | None = None,
    deadline_ms: _Milliseconds | None = None,
    workers: _Workers | None = None,
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Play a skill library: scores, times of decisions, a replay; no model is called.

    Args:
        layout: Kitchens to play in: names that ship in the package, .layout files, or
            generated:KIND:SEED, which is drawn (open, divided, passage, round).
        library: full (the default), impaired, a JSON file, or a run of evolve (a path, or last).
        partner: Who plays beside it: self (the default), random, idle, greedy, sticky_greedy,
            onion_specialist, dish_specialist, serving_specialist, or switcher.
        seat: The library's seat beside a scripted partner; by default 0.
        seeds: Episodes for each layout and seat; by default 10.
        seed: The first seed; evolve uses those below 1000 for its report only.
        old_dynamics: A full pot cooks by itself, as in older tables.
        horizon: Ticks of an episode; by default 400.
        start: Where the cooks begin: drawn by the seed (the default), or as the layout has them.
        deadline_ms: Milliseconds that a decision may take; by default 5.
        workers: Processes; by default 1. With more, only the first seed is timed, before the rest.
        resume: Go on with this run (a path, a name, or last); what was played is not played again.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    given = {
        "layouts": layout or None,
        "library": library,
        "partner": partner,
        "seat": seat,
        "seeds": seeds,
        "seed": seed,
        "old_dynamics": old_dynamics,
        "horizon": horizon,
        "start": start,
        "deadline_ms": deadline_ms,
        "workers": workers,
    }
    told = {name: value for name, value in given.items() if value is not None}
    if resume is None:
        plan, acting = make_plan(told, runs)
        slug = f"play-{plan.called.removesuffix('.json')}"[:40]
        run = Run.create("cowork", slug, plan, seed=plan.seed, root=runs, stage="play", again=AGAIN)
    else:
        folder = find(runs, resume).path
        plan, acting = resumed_plan(folder, told, runs)
        run = Run.resume(folder, plan, ignore=_FREE)
    if plan.partner == "self" and seat is not None:
        screen.note("self-play takes both seats: --seat changes nothing")
    return _carry_out(run, plan, acting, screen)


# ---- the plan


def make_plan(told: Mapping[str, Any], runs: Path = RUNS) -> tuple[Plan, Library]:
    """The plan that the options make, and the library to play.

    Raises:
        BadInput: an option is missing, or names what is not there.
    """
    hashes = asked(told.get("layouts"), "--layout", old_dynamics=told.get("old_dynamics", False))
    check_partner(told.get("partner", "self"))
    source = told.get("library", "full")
    library = find_library(source, runs)
    found = {
        "library": source,
        "library_hash": library.digest,
        "layout_hashes": hashes,
    }
    return Plan.model_validate({**told, **found}), library


def resumed_plan(folder: Path, told: Mapping[str, Any], runs: Path = RUNS) -> tuple[Plan, Library]:
    """The plan of a run that goes on, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or a layout or library that has changed since.
    """
    before = config_of(read_info(folder), "cowork", "play", Plan)
    unchanged(before.layout_hashes)
    check_named_again(told.get("library"), before.library, before.library_hash, runs)
    own = folder / LEFT_BY_RUN
    library = find_library(str(own) if own.exists() else before.library, runs)
    if library.digest != before.library_hash:
        raise BadInput("its library has changed since", where=str(folder), fix="start a new run")
    return before.model_copy(update=told), library


# ---- the run


@dataclass(frozen=True)
class _Stage:
    """A run under way."""

    run: Run
    plan: Plan
    library: Library
    latencies: LineFile

    def keep(self, played: Played, interrupted: int = 0) -> None:
        """Keeps an episode; the times first, so that no episode is without its own."""
        episode = played.episode
        if played.latencies_ns:
            line = {"id": episode.id, "interrupted": interrupted, "ns": played.latencies_ns}
            self.latencies.append(json_lines.dumps(line, separators=(",", ":")))
        self.run.record("episode", episode, id=episode.id)
        self.run.record("score", {"score": episode.score}, id=episode.id)


def _carry_out(run: Run, plan: Plan, library: Library, screen: Screen) -> int:
    from planish.judges.resumable import resumable

    with run, resumable(run, screen):
        save_library(library, run.path / LEFT_BY_RUN)
        path = run.artifact(LATENCIES)
        if repaired := mend(path) if path.exists() else "":
            screen.warn(repaired)
        stage = _Stage(run, plan, library, LineFile(path))
        try:
            _play(stage, screen)
        finally:
            stage.latencies.close()
        episodes = {each.id: each for each in run.records("episode", Episode)}
        wanted = [episode_id(job.cell, job.seed) for job in plan.jobs(library)]
        results = Results(
            plan.cells, [episodes[name] for name in wanted], _timed(path, frozenset(wanted))
        )
        return _close(stage, results, screen)


def _play(stage: _Stage, screen: Screen) -> None:
    """Plays what is not yet played: what is timed here and alone, the rest over the workers."""
    plan, run = stage.plan, stage.run
    every = plan.jobs(stage.library)
    jobs = [job for job in every if not run.done(episode_id(job.cell, job.seed), "episode")]
    if len(jobs) < len(every):
        screen.note(f"{len(every) - len(jobs)} of {len(every)} episodes were played before")
    here = [job for job in jobs if plan.workers == 1 or job.seed == plan.seed]
    rest = [job for job in jobs if plan.workers > 1 and job.seed != plan.seed]
    with screen.progress("playing", len(jobs)) as step:
        if here:
            with _warm(here):
                for job in here:
                    before = _interruptions()
                    played = play_many([job], workers=1)[0]
                    stage.keep(played, _interruptions() - before)
                    step()
        batch = 16 * plan.workers  # an interruption costs no more than these
        for begin in range(0, len(rest), batch):
            part = rest[begin : begin + batch]
            for played in play_many(part, workers=plan.workers):
                # Workers share the cores: how long they took to decide says nothing.
                stage.keep(replace(played, latencies_ns=()))
                step()


@contextmanager
def _warm(jobs: Sequence[Job]) -> Iterator[None]:
    """Caches are filled, and what is there already is kept out of garbage collections."""
    first = {job.cell: replace(job, horizon=min(WARM_TICKS, job.horizon)) for job in jobs}
    play_many(list(first.values()), workers=1)
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _interruptions() -> int:
    """How often the machine has taken the core from this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _timed(path: Path, wanted: frozenset[str]) -> Times:
    """What was timed of those episodes; one that was kept twice counts once."""
    found: dict[str, dict[str, Any]] = {}
    if path.exists():
        found = {value["id"]: value for _, value in read_jsonl(path) if value["id"] in wanted}
    return Times(
        tuple(took for each in found.values() for took in each["ns"]),
        sum(each["interrupted"] for each in found.values()),
    )


def _close(stage: _Stage, results: Results, screen: Screen) -> int:
    run, plan = stage.run, stage.plan
    summary = results.numbers() | {
        "library": plan.library,
        "library_hash": plan.library_hash,
        "partner": plan.partner,
        "start": plan.start,
        "horizon": plan.horizon,
        "old_dynamics": plan.old_dynamics,
        "deadline_ms": plan.deadline_ms,
    }
    for reason, count in results.errors().items():
        screen.warn(f"{count} of {len(results.episodes)} episodes failed: {reason}")
    if results.score.value is None:
        run.close("failed", "no episode could be scored")
        screen.close({"score_mean": None, **summary}, run=run.path)
        return 1
    replays = _leave_to_see(stage)
    run.finish(**summary)
    write_report(run, results, plan, replays)
    results.show(screen, plan)
    if replays:
        screen.say(f"episodes to look at, linked from the report: {len(replays)}")
    pages = [str(path) for path in replays.values()]
    screen.close(
        {"score_mean": results.score.value, **summary, "replays": pages},
        run=run.path,
        report=run.report_path,
        then=_then(plan, run.path),
    )
    return 0


def _leave_to_see(stage: _Stage) -> dict[str, Path]:
    """Traces of the first seed of every cell, and pages of the first few; title -> page."""
    from planish.methods.cowork.showing.replay import write_replay

    replays: dict[str, Path] = {}
    plan = stage.plan
    for index, job in enumerate(plan.jobs(stage.library)[: len(plan.cells)]):
        played = play_many([job], trace=True, workers=1)[0]
        if not played.frames:
            continue
        layout = load_layout(job.cell.layout)
        kitchen = re.sub(r"[^\w.-]+", "_", layout.name)[:_NAME_LENGTH]
        name = f"{index}-{kitchen}-{plan.partner}-seat{job.cell.seat}-seed{job.seed}"
        lines = "".join(f"{each.model_dump_json()}\n" for each in played.traces)
        write_text(stage.run.artifact(f"traces/{name}.jsonl"), lines)
        if index < REPLAYS:
            title = f"{job.cell}, seed {job.seed}"
            path = stage.run.artifact(f"replays/{name}.html")
            deadline = job.deadline_ns
            write_replay(path, played, layout, stage.library, title=title, deadline_ns=deadline)
            replays[title] = path
    return replays


def _then(plan: Plan, folder: Path) -> list[str]:
    """With a stranger, if that was not asked yet; and what could make it better."""
    library = plan.library if plan.library in SHIPPED else folder
    rules = ("--old-dynamics",) if plan.old_dynamics else ()
    lines = []
    if plan.partner == "self":
        words = ("--library", library, "--layout", *plan.layouts, "--partner", "greedy")
        lines.append(command("planish", "cowork", "play", *words, "--seat", "both", *rules))
    evolve = ("evolve", "--library", library, "--layouts", *plan.layouts)
    return [*lines, command("planish", "cowork", *evolve, *rules)]
