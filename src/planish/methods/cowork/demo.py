"""The offline demonstration: two cooks that get stuck, and a library that learns not to.

The impaired library scores nothing in two kitchens: in the ring both cooks stand in each other's
way, and in the other neither reaches all it needs. One library is evolved on both at once, three
times with other seeds, behind the gate; what came of it is measured beside the impaired one, moving
parameters alone at as many ticks, a library written by hand and two greedy cooks. Then a patch that
harms is handed to the gate, and past it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from planish.methods import Shown
from planish.methods.cowork.acting.episodes import Job, play, play_all
from planish.methods.cowork.claims import SITUATIONS, Drill, Found, Pace, Player, claims
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell, Diagnosis, Episode, GateResult, Patch
from planish.methods.cowork.demo_pages import report, round_in_words, show, summary
from planish.methods.cowork.improving.diagnosis import diagnose
from planish.methods.cowork.improving.evolving import Evolution, Tools
from planish.methods.cowork.improving.proposing import Budget
from planish.methods.cowork.improving.rounds import Round
from planish.methods.cowork.improving.settings import ALL_ON, Switches, cells_of
from planish.methods.cowork.improving.snapshots import Shelf
from planish.methods.cowork.improving.templates import EmbeddedProposer
from planish.methods.cowork.kitchen.layouts import load_layout
from planish.methods.cowork.library import LEFT_BY_RUN
from planish.methods.cowork.showing.replay import write_replay
from planish.methods.cowork.skills import Library, load_library, save_library
from planish.runs import Run
from planish.runs.console import Screen, command

__all__ = ["demo"]

_LAYOUTS = ("coordination_ring", "forced_coordination")
_ROUNDS, _RUNS, _REPORT = 5, 3, 10
_MOST_ROUNDS = 40  # of the search over parameters; its ticks end before
_MOST_SEEDS = 1 << 31
_DIALS: dict[str, Any] = {
    "partners": ("self",),
    "rungs": (2, 8),
    "monitor_episodes": 4,
    "report_episodes": _REPORT,
}
_DELAYS = (0, 1, 4)
"""Ticks that a decision takes where it is simulated that a model is asked: at once, 0.25 s, 1 s."""

_DEADLINE_MS = 5.0
_TIMED = 10  # episodes with the clock running


def demo(*, screen: Screen, seed: int = 0, root: Path = Path("runs")) -> Shown:
    """Evolves the impaired library, and shows what it was good for and what the gate keeps out."""
    config = Config(**_DIALS, seed=seed)
    settings = config.model_dump() | {"layouts": _LAYOUTS, "rounds": _ROUNDS, "runs": _RUNS}
    with Run.create("cowork", "demo", settings, seed=seed, root=root, stage="demo") as run:
        screen.note(f"run {run.path}")
        found = _found(config, run, screen)
        told = claims(found)
        numbers = summary(found, told)
        replays = _replays(found, run)
        page = report(run, found, told, replays)
        run.finish(**numbers)
        page.save(run.report_path)
    show(screen, found, told)
    screen.say(f"Episodes to look at, linked from the report: {'; '.join(replays)}.")
    then = (
        command("planish", "cowork", "diff", "impaired", run.path),
        command("planish", "cowork", "play", "--library", run.path, "--layout", _LAYOUTS[0]),
        command("planish", "cowork", "evolve", "--layouts", *_LAYOUTS, "--episodes", 20),
    )
    return Shown(report=page, summary=numbers, folder=run.path, then=then)


def _found(config: Config, run: Run, screen: Screen) -> Found:
    """All that is measured, in the order in which it is shown."""
    evolutions = []
    with screen.progress("evolving", _RUNS * _ROUNDS + 1) as advance:
        for number in range(_RUNS):
            dials = config.model_copy(update={"seed": (config.seed + number) % _MOST_SEEDS})
            tell = _teller(screen) if number == 0 else _silent
            evolutions.append(_evolved(dials, number, run, tell, advance))
        parameters = _parameters_alone(evolutions[0], run)
        advance()
    save_library(evolutions[0].offspring, run.path / LEFT_BY_RUN)
    players: dict[str, Sequence[Player]] = {
        "impaired": [load_library("impaired")],
        "evolved": [each.active for each in evolutions],
        "parameters": [parameters.active],
        "by hand": [load_library("full")],
        "greedy": ["greedy"],
    }
    seeds = evolutions[0].report_seeds
    return Found(
        evolutions=evolutions,
        parameters=parameters,
        players=players,
        episodes=_episodes(players, seeds, run),
        delayed=_delayed(evolutions[0].active, seeds),
        drill=_drill(evolutions[0], run),
        pace=_pace(evolutions[0].active, seeds[:_TIMED]),
        seeds=seeds,
    )


# ---- evolutions


def _evolved(
    config: Config,
    number: int,
    run: Run,
    tell: Callable[[Round], None],
    advance: Callable[[], None],
) -> Evolution:
    """One library evolved on both layouts from the impaired one; every round is kept."""
    proposer = EmbeddedProposer(seed=config.seed, candidates=config.candidates)
    with Shelf(run.artifact(f"shelf-{number}")) as shelf:
        evolution = Evolution(
            load_library("impaired"),
            cells_of(_LAYOUTS, config.partners),
            config,
            Tools(diagnose),
            proposers=[proposer],
            shelf=shelf,
        )

        def step() -> None:
            tell(evolution.rounds[-1])
            advance()

        evolution.run(_ROUNDS, step=step)
    _keep(run, f"evolved {number}", evolution)
    return evolution


def _parameters_alone(beside: Evolution, run: Run) -> Evolution:
    """The same with a proposer that adds nothing, until as many ticks are played."""
    config = beside.config.model_copy(
        update={"max_steps": beside.standing.sim_steps, "report_episodes": 2}
    )
    proposer = EmbeddedProposer(
        seed=config.seed, candidates=config.candidates, only_parameters=True
    )
    evolution = Evolution(
        load_library("impaired"), beside.cells, config, Tools(diagnose), proposers=[proposer]
    )
    evolution.run(_MOST_ROUNDS)
    _keep(run, "parameters 0", evolution)
    return evolution


def _keep(run: Run, name: str, evolution: Evolution) -> None:
    for row in evolution.rounds:
        run.record("round", row, id=f"{name}/{row.round}")
    save_library(evolution.offspring, run.artifact(f"{name.replace(' ', '-')}.json"))


def _teller(screen: Screen) -> Callable[[Round], None]:
    def tell(row: Round) -> None:
        for line in round_in_words(row):
            screen.say(line)

    return tell


def _silent(row: Round) -> None:
    """The first run is told; the others are in the records."""


# ---- the patch that harms


class _Given:
    """A proposer that has one idea."""

    name = "given"

    def __init__(self, patch: Patch) -> None:
        self._patch = patch

    def propose(self, diagnosis: Diagnosis, library: Library, budget: Budget) -> list[Patch]:
        return [self._patch]

    def learn(self, result: GateResult) -> None:
        """It has no other."""


def _harmful(library: Library) -> list[Patch]:
    """One that sounds sensible and harms; then code in a text, and an edit of another library."""
    dish = "/methods/fetch_dish"
    keen = (
        {"op": "replace", "path": f"{dish}/when", "value": ["holding(nothing)", "can_get(dish)"]},
        {"op": "replace", "path": f"{dish}/priority", "value": 72},
    )
    code = "__import__('os').system('true')"
    hostile = ({"op": "add", "path": f"{dish}/when/-", "value": code},)
    given: dict[str, Any] = {"base_hash": library.digest, "proposer": "given"}
    why = "no soup may wait for a dish, so whoever has free hands takes one first"
    return [
        Patch(rationale=why, ops=keen, **given),
        Patch(rationale="a condition that runs code", ops=hostile, **given),
        Patch(rationale="written for another library", ops=keen, **given | {"base_hash": "0" * 16}),
    ]


def _drill(evolution: Evolution, run: Run) -> Drill:
    """Hands the patches to the gate of an evolved library, and the first one past it."""
    library, config = evolution.active, evolution.config
    patches = _harmful(library)
    refused = [evolution.gate.judge(patch, library).result for patch in patches]
    for number, result in enumerate(refused):
        run.record("gate", result, id=f"drill/{number}")
    forced = Evolution(
        library,
        evolution.cells,
        config.model_copy(update={"report_episodes": 2}),
        Tools(diagnose),
        proposers=[_Given(patches[0])],
        switches=Switches(gated=False, rollback=ALL_ON.rollback),
    )
    forced.run(1)
    _keep(run, "forced 0", forced)
    return Drill(refused=refused, forced=forced, before=library.digest)


# ---- what the report plays


def _episodes(
    players: Mapping[str, Sequence[Player]], seeds: Sequence[int], run: Run
) -> dict[tuple[str, Cell, int], Episode]:
    """Everybody in every situation, each library once, however many runs ended with it."""
    who = {
        each if isinstance(each, str) else each.digest: each
        for each in chain.from_iterable(players.values())
    }
    keys = [
        (name, cell, seed)
        for name in who
        for situation in SITUATIONS.values()
        for cell in situation.cells
        for seed in seeds
    ]
    episodes = play_all([Job(cell, who[name], seed) for name, cell, seed in keys])
    for (name, _, _), episode in zip(keys, episodes, strict=True):
        run.record("episode", episode, id=f"{name}/{episode.id}")
    return dict(zip(keys, episodes, strict=True))


def _delayed(library: Library, seeds: Sequence[int]) -> dict[int, list[float | None]]:
    """Self-play in the ring where every decision takes a while; ticks -> scores."""
    cell = Cell(layout=_LAYOUTS[0])
    jobs = [Job(cell, library, seed, latency_ticks=ticks) for ticks in _DELAYS for seed in seeds]
    scores = iter([episode.score for episode in play_all(jobs)])
    return {ticks: [next(scores) for _ in seeds] for ticks in _DELAYS}


def _pace(library: Library, seeds: Sequence[int]) -> Pace:
    """How long decisions take, in this process and with the deadline on."""
    jobs = [
        Job(Cell(layout=layout), library, seed, deadline_ns=int(_DEADLINE_MS * 1e6))
        for layout in _LAYOUTS
        for seed in seeds
    ]
    played = [play(job) for job in jobs]
    took = np.concatenate([each.latencies_ns for each in played]) / 1e6
    p50, p99, longest = np.percentile(took, (50, 99, 100))
    return Pace(
        decisions=len(took),
        quantiles_ms=(float(p50), float(p99), float(longest)),
        deadline_ms=_DEADLINE_MS,
        misses=sum(each.episode.deadline_misses for each in played),
    )


def _replays(found: Found, run: Run) -> dict[str, Path]:
    """Title -> page, of an episode before and of one after on each layout."""
    pages: dict[str, Path] = {}
    for name in ("impaired", "evolved"):
        library = found.players[name][0]
        assert isinstance(library, Library)
        for layout in _LAYOUTS if name == "evolved" else _LAYOUTS[:1]:
            played = play(Job(Cell(layout=layout), library, 0, start="layout"), trace=True)
            title = f"{layout}, {name}, scores {played.episode.score:.0f}"
            path = run.artifact(f"replay-{name}-{layout}.html")
            # An evolved library bears the name of the one that it came from.
            named = library.model_copy(update={"name": name})
            pages[title] = write_replay(path, played, load_layout(layout), named, title=title)
    return pages
