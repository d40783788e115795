"""Watched cells: what loses there is refused, and nothing else depends on them."""

from __future__ import annotations

import random
from typing import Any

import pytest

from planish.methods.cowork.acting.partners import PARTNERS
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell, GateResult
from planish.methods.cowork.improving.evolving import Evolution, Tools
from planish.methods.cowork.improving.gate import Gate, Judged
from planish.methods.cowork.improving.losing import sorted_out
from planish.methods.cowork.improving.patches import apply
from planish.methods.cowork.improving.rounds import Journal
from planish.methods.cowork.improving.settings import LOOKS, cells_of, watched_of
from planish.methods.cowork.improving.snapshots import Shelf
from planish.methods.cowork.skills import Library
from planish.runs import Run
from support.cowork import Drawn, Effect, Walker, diagnosed, peak, raised, watched
from support.skills import small

BASE = small()
RING = cells_of(["coordination_ring"], ["self"])
WATCHED = watched_of(RING)
STRANGER = Cell(layout="coordination_ring", partner="dish_specialist", seat=0)
LADDER = 60 + 2 * 24 * 400


def made(priority: float) -> Library:
    """The library that `raised` makes."""
    return apply(raised(BASE, priority), BASE, anchor=BASE)


def with_stranger(points: float, *, elsewhere: float = 40.0) -> Effect:
    return lambda cell, seed: points if cell == STRANGER else elsewhere


def judged(play: Drawn, *, original: Library | None = None, **options: Any) -> Judged:
    steps_left = options.pop("steps_left", None)
    gate = Gate(Config(**options), RING, watched=WATCHED, play=play)
    return gate.judge(raised(BASE, 61), BASE, original=original, steps_left=steps_left)


# ---- which cells


def test_every_scripted_partner_is_watched_unless_it_is_judged_with() -> None:
    cells = cells_of(["coordination_ring", "cramped_room"], ["self", "greedy"])
    found = watched_of(cells)
    assert len(found) == 2 * 2 * (len(PARTNERS) - 1)
    assert not set(found) & set(cells)
    assert STRANGER in found
    assert "self" not in {cell.partner for cell in found}


def test_in_a_drawn_kitchen_nobody_is_watched() -> None:
    cells = cells_of(["coordination_ring", "generated:open:12"], ["self"])
    assert watched_of(cells) == WATCHED


# ---- what is refused


@pytest.mark.parametrize("loss", [2.0, 15.0])
def test_what_gains_and_loses_with_a_stranger_is_refused_by_the_name_of_the_cell(
    loss: float,
) -> None:
    verdict = judged(Drawn({made(61).digest: with_stranger(-loss)}))
    result = verdict.result
    assert (result.accepted, result.reason) == (False, "cell_regressed")
    assert verdict.library is None
    assert result.is_refusal
    assert result.detail.startswith(f"{STRANGER} (watched) loses {loss} beside the first library")
    assert result.watched[str(STRANGER)] == -loss
    assert str(STRANGER) not in result.stages[-1].deltas
    assert result.stages[-1].mean == 40.0


def test_without_watching_it_would_have_been_accepted() -> None:
    play = Drawn({made(61).digest: with_stranger(-15.0)})
    assert Gate(Config(), RING, play=play).judge(raised(BASE, 61), BASE).result.accepted


def test_what_a_stranger_gains_counts_for_nothing() -> None:
    play = Drawn({made(61).digest: lambda cell, seed: 0.0 if cell in RING else 90.0})
    verdict = judged(play)
    assert verdict.result.reason == "noisy_tie"
    assert verdict.result.watched == {}


def test_half_of_what_was_won_over_the_first_library_may_not_be_given_back() -> None:
    first = made(30)
    given = {first.digest: with_stranger(-100.0), made(61).digest: with_stranger(-15.0)}
    refused = judged(Drawn(given), original=first).result
    assert refused.reason == "cell_regressed"
    assert refused.detail.startswith(f"{STRANGER} (watched) loses 15.0;")
    assert refused.watched[str(STRANGER)] == 85.0
    assert judged(Drawn(given), original=first, regression_budget=20.0).result.accepted


def test_what_the_library_in_use_had_lost_is_not_held_against_a_patch() -> None:
    first = made(30)
    lost = {first.digest: with_stranger(30.0, elsewhere=0.0)}
    assert judged(
        Drawn({**lost, made(61).digest: with_stranger(0.0)}), original=first
    ).result.accepted
    worse = judged(Drawn({**lost, made(61).digest: with_stranger(-3.0)}), original=first).result
    assert worse.reason == "cell_regressed"
    assert "loses 33.0 beside the first library" in worse.detail


def test_an_episode_that_fails_with_a_stranger_blocks_acceptance() -> None:
    effect = lambda cell, seed: None if cell == STRANGER else 40.0  # noqa: E731
    result = judged(Drawn({made(61).digest: effect})).result
    assert result.reason == "uncovered_cell"
    assert result.detail.startswith(f"{STRANGER}: seed")


# ---- what it costs


def test_where_nothing_is_lost_few_seeds_are_played_and_every_tick_is_counted() -> None:
    play = Drawn({made(61).digest: 40.0})
    result = judged(play).result
    assert result.accepted
    assert result.sim_steps == play.steps == LADDER + 2 * LOOKS[0] * len(WATCHED) * 400
    assert set(result.watched) == {str(cell) for cell in WATCHED}


def test_only_a_cell_in_doubt_is_played_on_and_doubt_alone_is_no_refusal() -> None:
    def effect(cell: Cell, seed: int) -> float:
        return (-62.0 if seed % 2 else 60.0) if cell == STRANGER else 40.0

    play = Drawn({made(61).digest: effect})
    result = judged(play).result
    assert result.accepted
    assert result.watched[str(STRANGER)] == -1.0
    seeds = LOOKS[0] * (len(WATCHED) - 1) + LOOKS[-1]
    assert result.sim_steps == play.steps == LADDER + 2 * seeds * 400


def test_the_ladder_and_the_watch_play_other_seeds_and_the_first_library_plays_once() -> None:
    play = Drawn({made(61).digest: 40.0, made(62).digest: 50.0})
    gate = Gate(Config(), RING, watched=WATCHED, play=play)
    gate.judge(raised(BASE, 61), BASE)
    strange = {job.seed for job in play.jobs if job.cell in WATCHED}
    own = {job.seed for job in play.jobs if job.cell in RING and job.horizon == 400}
    assert len(strange) == LOOKS[0]
    assert not strange & own
    play.jobs.clear()
    gate.epoch += 1
    gate.judge(raised(BASE, 62), BASE)
    again = [job for job in play.jobs if job.cell in WATCHED]
    assert {job.seed for job in again} == strange
    assert {job.library.digest for job in again} == {made(62).digest}  # type: ignore[union-attr]


def test_a_patch_that_is_refused_on_the_ladder_is_not_watched() -> None:
    play = Drawn({made(61).digest: -20.0})
    judged(play)
    assert not [job for job in play.jobs if job.cell in WATCHED]


def test_ticks_that_do_not_pay_for_watching_leave_the_patch_unaccepted() -> None:
    play = Drawn({made(61).digest: 40.0})
    result = judged(play, steps_left=LADDER + 1000).result
    assert (result.accepted, result.reason, result.is_refusal) == (False, "budget_spent", False)
    assert play.steps == result.sim_steps == LADDER
    assert "watching takes" in result.detail


# ---- luck


def delta(trial: int, mean: float, count: int) -> list[float]:
    luck = random.Random(f"{trial}/{mean}")
    return [luck.gauss(mean, 15) for _ in range(LOOKS[-1])][:count]


def refused(mean: float, trials: int = 400) -> float:
    """The share of trials in which a cell with this mean loss is found to be lost."""
    count = 0
    for trial in range(trials):
        for seeds in LOOKS:
            deltas = {"cell": delta(trial, mean, seeds)}
            doubtful, lost = sorted_out(deltas, deltas, ["cell"], budget=10.0)
            if lost:
                count += 1
            if lost or not doubtful:
                break
    return count / trials


def test_a_third_of_a_soup_is_mostly_found_and_no_loss_is_seldom_seen() -> None:
    assert refused(-7.0) > 0.75
    assert refused(-15.0) > 0.95
    assert refused(0.0) < 0.06
    assert refused(5.0) < 0.02


# ---- an evolution


QUICK: dict[str, Any] = {"rungs": (2, 6), "monitor_episodes": 8, "report_episodes": 5, "gamma": 0.0}


def climbing(library: Library) -> float:
    return peak()(library)


class Reserved(Drawn):
    """The stranger scores the less the better the others do, above a height of its own."""

    def _episode(self, job: Any) -> Any:
        episode = super()._episode(job)
        if job.cell != STRANGER:
            return episode
        points = 100.0 - max(0.0, 20 + climbing(job.library))
        return episode.model_copy(update={"score": points})


def evolution(play: Drawn, run: Run | None = None, shelf: Shelf | None = None) -> Evolution:
    return Evolution(
        BASE,
        RING,
        Config(**QUICK),
        Tools(diagnosed, play=play, watch=watched(play)),
        proposers=[Walker()],
        watched=WATCHED,
        shelf=shelf,
        journal=Journal(run),
    )


def test_an_evolution_stops_where_a_stranger_would_lose_and_counts_every_tick() -> None:
    play = Reserved(peak(), spread=2)
    found = evolution(play)
    found.run(10)
    assert -31 < climbing(found.active) <= -20
    lost = [each for each in found.results if each.reason == "cell_regressed"]
    assert lost
    assert all(str(STRANGER) in each.detail for each in lost)
    assert found.standing.sim_steps + found.standing.report_steps == play.steps
    assert not [job for job in play.jobs if job.cell in WATCHED and job.seed < 2_000_000]


@pytest.mark.parametrize("at", [650, 1000])
def test_a_watched_evolution_goes_on_where_it_was_cut_off(tmp_path: Any, at: int) -> None:
    class Stopped(Exception):
        pass

    class Breaking(Reserved):
        def _episode(self, job: Any) -> Any:
            if len(self.jobs) == at:
                raise Stopped
            return super()._episode(job)

    whole = evolution(Reserved(peak(), spread=2))
    whole.run(5)
    run = Run.create("cowork", "t", {}, root=tmp_path)
    with run, Shelf(run.artifact("shelf")) as shelf, pytest.raises(Stopped):
        evolution(Breaking(peak(), spread=2), run, shelf).run(5)
    run = Run.open(run.path)
    again = Reserved(peak(), spread=2)
    with run, Shelf(run.artifact("shelf")) as shelf:
        found = evolution(again, run, shelf)
        found.run(5)
        assert found.results == whole.results
        assert found.standing == whole.standing
        assert list(run.records("gate", GateResult)) == whole.results
    assert again.steps < whole.standing.sim_steps + whole.standing.report_steps
