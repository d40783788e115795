"""The loop: what it promotes, what it takes back, what it costs, and how it goes on."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Diagnosis, GateResult, Patch, Promotion
from planish.methods.cowork.improving import snapshots
from planish.methods.cowork.improving.evolving import Evolution, Tools
from planish.methods.cowork.improving.patches import apply
from planish.methods.cowork.improving.proposing import Budget, History
from planish.methods.cowork.improving.rounds import OVERALL, Journal, Look, Round
from planish.methods.cowork.improving.settings import Switches, cells_of
from planish.methods.cowork.improving.snapshots import Shelf
from planish.methods.cowork.skills import Library
from planish.runs import Run
from support.cowork import Drawn, Walker, diagnosed, peak, raised, watched
from support.skills import small

START = small()
CELLS = cells_of(["coordination_ring"], ["self", "greedy"])
QUICK: dict[str, Any] = {"rungs": (2, 6), "monitor_episodes": 8, "report_episodes": 5, "gamma": 0.0}


def evolution(
    play: Drawn,
    *,
    proposers: Any = None,
    switches: Switches | None = None,
    dials: dict[str, Any] | None = None,
    **options: Any,
) -> Evolution:
    return Evolution(
        START,
        CELLS,
        Config(**{**QUICK, **(dials or {})}),
        Tools(diagnosed, play=play, watch=watched(play)),
        proposers=[Walker()] if proposers is None else proposers,
        switches=switches or Switches(),
        **options,
    )


class Scripted:
    """Proposes one given library a round."""

    name = "scripted"

    def __init__(self, *priorities: float | None) -> None:
        self._left = list(priorities)
        self.learned: list[tuple[str, str]] = []

    def propose(self, diagnosis: Diagnosis, library: Library, budget: Budget) -> list[Patch]:
        priority = self._left.pop(0) if self._left else None
        return [] if priority is None else [raised(library, priority)]

    def learn(self, result: GateResult) -> None:
        self.learned.append((result.reason, result.detail))


# ---- getting better


def test_what_comes_of_it_tells_how_its_methods_fared_while_it_was_in_use() -> None:
    play = Drawn(peak(), spread=10)
    found = evolution(play, proposers=[Scripted(90, None, None)])
    assert found.offspring.methods == START.methods
    counts = {"cook": (5, 4)}

    def counted(library: Library, played: Any) -> Diagnosis:
        return diagnosed(library, played).model_copy(update={"methods": counts})

    found.tools = Tools(counted, play=play, watch=watched(play))
    found.run(3)
    assert len(found.promotions) == 1
    made = found.offspring
    assert made.digest == found.active.digest
    cook = made.method("cook")
    assert cook is not None
    # Two rounds of it; the first was that of the library before.
    assert (cook.stats.tried, cook.stats.succeeded) == (10, 8)
    assert sum(method.stats.tried for method in made.methods) == 10


def test_a_library_gets_better_and_the_curve_shows_the_one_in_use() -> None:
    play = Drawn(peak(), spread=5)
    found = evolution(play)
    found.run(12)
    first, last = found.points[0], found.points[-1]
    assert last.scores[OVERALL][0] > first.scores[OVERALL][0] + 15
    assert [point.round for point in found.points] == list(range(13))
    assert {promotion.kind for promotion in found.promotions} >= {"promoted"}
    for before, after in zip(found.points, found.points[1:], strict=False):
        if before.library == after.library:
            assert before.scores == after.scores
    assert len(found.rounds) == 12
    assert all(result.round == row.round for row in found.rounds for result in row.results)


def test_every_tick_is_counted_and_the_report_is_counted_apart() -> None:
    play = Drawn(peak(), spread=5)
    found = evolution(play)
    found.run(6)
    assert found.standing.sim_steps + found.standing.report_steps == play.steps
    used = {point.library for point in found.points}
    assert found.standing.report_steps == len(used) * 5 * len(CELLS) * 400
    trained = 6 * len(CELLS) * 400
    gate = sum(result.sim_steps for result in found.results)
    looks = sum(look.sim_steps for row in found.rounds for look in row.looks)
    assert looks > 0
    assert found.standing.sim_steps == trained + gate + looks
    assert found.standing.episodes == 6 * len(CELLS)


def test_the_purposes_play_seeds_of_their_own() -> None:
    play = Drawn(peak(), spread=5)
    found = evolution(play)
    found.run(5)
    spans = {"report": (0, 1), "train": (1, 2), "gate": (2, 3), "monitor": (3, 4)}
    seen = dict.fromkeys(spans, 0)
    for job in play.jobs:
        if job.horizon < 400:
            continue  # a smoke episode
        million = job.seed // 1_000_000
        seen[next(name for name, (begin, _) in spans.items() if begin == million)] += 1
        if million == 0:
            assert job.seed in found.report_seeds
    assert all(seen.values())
    trained = [job.seed for job in play.jobs if job.seed // 1_000_000 == 1]
    assert len(set(trained)) == 5, "every round has fresh training seeds"


def test_the_same_seed_decides_the_same_and_another_meets_other_episodes() -> None:
    def ran(**dials: Any) -> tuple[list[str], list[int]]:
        play = Drawn(peak(), spread=20)
        found = evolution(play, dials=dials)
        found.run(5)
        seeds = [job.seed for job in play.jobs if job.seed >= 1_000_000]
        return [result.reason for result in found.results], seeds

    assert ran() == ran()
    assert not set(ran()[1]) & set(ran(seed=1)[1])


def test_scores_that_are_all_the_same_have_an_interval_without_width() -> None:
    found = evolution(Drawn(lambda library: -100.0), proposers=[Scripted()])
    found.run(1)
    assert set(found.points[0].scores.values()) == {(0.0, 0.0, 0.0)}


# ---- what must not stay


def flattered(digest: str) -> Drawn:
    """One library is 40 points better on the seeds of the gate, and 40 worse on all others."""
    return Drawn({digest: lambda cell, seed: 40.0 if seed // 1_000_000 == 2 else -40.0})


def made(priority: float) -> str:
    return apply(raised(START, priority), START, anchor=START).digest


def test_a_promotion_that_was_luck_is_taken_back_and_remembered() -> None:
    proposer = Scripted(61.0, 61.0)
    found = evolution(flattered(made(61)), proposers=[proposer])
    found.run(2)
    assert [each.kind for each in found.promotions] == ["promoted", "reverted"]
    assert found.active == START
    look = found.rounds[0].looks[0]
    assert look.is_worse
    assert (look.mean, look.library, look.against) == (-40.0, made(61), START.digest)
    reasons = [reason for reason, _ in proposer.learned]
    assert reasons == ["accepted", "reverted", "seen_before"]


def test_a_harmful_patch_that_was_forced_in_is_taken_back() -> None:
    play = Drawn({made(61): -30.0})
    found = evolution(play, proposers=[Scripted(61.0)], switches=Switches(gated=False))
    found.run(1)
    assert found.results[0].reason == "ungated"
    assert [each.kind for each in found.promotions] == ["promoted", "reverted"]
    assert found.active == START
    kept = evolution(
        play, proposers=[Scripted(61.0)], switches=Switches(gated=False, rollback="none")
    )
    kept.run(1)
    assert kept.active.digest == made(61), "without gate and monitoring it stays"


def test_one_bad_round_rolls_back_where_that_is_the_rule() -> None:
    play = Drawn({made(61): -30.0})
    rule = Switches(gated=False, rollback="one_episode")
    found = evolution(play, proposers=[Scripted(61.0, 62.0)], switches=rule)
    found.run(1)
    assert found.active.digest == made(61)
    found.run(2)
    assert [each.kind for each in found.promotions] == ["promoted", "reverted"]
    assert found.active == START
    assert found.rounds[1].asked == ()
    assert len(found.results) == 1


def test_the_anchor_moves_to_what_held_when_it_was_looked_at() -> None:
    play = Drawn({made(61): 30.0})
    found = evolution(play, proposers=[Scripted(61.0)], dials={"monitor_every": 3})
    found.run(2)
    assert found.standing.active == made(61)
    assert found.standing.anchor == START.digest
    found.run(3)
    assert found.standing.anchor == made(61)
    assert [look.against for row in found.rounds for look in row.looks] == [START.digest] * 2


def test_drift_from_the_anchor_is_bounded() -> None:
    dials = {"delta_total": 0.4, "monitor_every": 100}
    found = evolution(Drawn(peak()), proposers=[Scripted(61.0)], dials=dials)
    found.run(1)
    assert found.results[0].reason == "drift_total"
    free = evolution(
        Drawn(peak()), proposers=[Scripted(61.0)], dials=dials, switches=Switches(drift=False)
    )
    free.run(1)
    assert free.results[0].accepted


def test_failed_training_episodes_are_counted_and_are_no_zeros() -> None:
    play = Drawn({START.digest: lambda cell, seed: None if cell.seat == 1 else 20.0})
    found = evolution(play, proposers=[Scripted()])
    found.run(1)
    row = found.rounds[0]
    assert (row.train_score, row.unscored) == (120.0, 1)
    assert "1 training episodes failed: it broke" in row.notes
    assert found.points[0].unscored == 5


# ---- proposers and budgets


def test_where_one_proposer_has_no_idea_the_next_is_asked() -> None:
    class Silent(Scripted):
        name = "model"
        reason = "no reply"

    found = evolution(Drawn(peak()), proposers=[Silent(), Scripted(70.0)])
    found.run(1)
    assert found.results[0].accepted
    assert "model: no reply" in found.rounds[0].notes


def test_tokens_are_counted_and_their_end_is_told() -> None:
    class Priced(Scripted):
        reason = ""

        def propose(self, diagnosis: Diagnosis, library: Library, budget: Budget) -> list[Patch]:
            if not budget.reserve(40):
                self.reason = "budget: the call may cost 40 tokens"
                return []
            budget.settle(40, 35)
            return super().propose(diagnosis, library, budget)

    told: list[str] = []
    found = evolution(
        Drawn(peak()),
        proposers=[Priced(61.0, 62.0, 63.0)],
        dials={"tokens": 80, "tokens_per_round": 50},
        tell=told.append,
    )
    found.run(9)
    assert found.standing.tokens == found.points[-1].tokens == 70
    assert len(found.rounds) == 3
    assert "the token budget is spent: the library in use stays" in told


@pytest.mark.parametrize("limit", [700, 10_000, 25_000, 60_000])
def test_the_ticks_never_run_over_their_budget(limit: int) -> None:
    play = Drawn(peak(), spread=5)
    told: list[str] = []
    found = evolution(play, dials={"max_steps": limit}, tell=told.append)
    found.run(50)
    assert found.standing.sim_steps <= limit
    assert play.steps == found.standing.sim_steps + found.standing.report_steps
    assert found.standing.stopped.endswith("the library in use stays")
    assert told[-1] == found.standing.stopped
    for row in found.rounds:
        promoted = [each for each in row.promotions if each.kind == "promoted"]
        assert len(row.looks) >= len(promoted), "nothing is promoted that cannot be looked at"


def test_history_is_kept_for_a_proposer_that_reads_it() -> None:
    history = History()
    found = evolution(Drawn(peak()), proposers=[Scripted(70.0)], history=history)
    found.run(2)
    assert history.original == START
    assert history.best is not None
    assert history.best.digest == found.active.digest
    assert [row["accepted"] for row in history.metrics] == [1.0, 0.0]


# ---- the disk


def test_a_promotion_that_cannot_be_kept_is_refused_and_the_loop_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str, **_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Shelf(tmp_path) as shelf:
        found = evolution(Drawn(peak()), proposers=[Scripted(61.0, 62.0)], shelf=shelf)
        with monkeypatch.context() as patched:
            patched.setattr(snapshots, "write_whole", full)
            found.run(1)
        assert found.results[0].accepted
        assert found.active == shelf.active == START
        assert "not promoted, the library in use stays: the snapshot" in found.rounds[0].notes[0]
        found.run(2)
        assert found.active == shelf.active != START


def seen(found: Evolution) -> tuple[Any, ...]:
    """All that was decided, without the time of day."""
    rounds = [
        row.model_copy(
            update={
                "promotions": tuple(each.model_copy(update={"time": ""}) for each in row.promotions)
            }
        )
        for row in found.rounds
    ]
    return (*rounds, found.standing, found.points)


class Stopped(Exception):
    """What stands for Ctrl-C here."""


@pytest.mark.parametrize("at", [3, 60, 150, 200, 260])
@pytest.mark.parametrize("rollback", ["monitor", "one_episode"])
def test_a_run_that_was_cut_off_goes_on_as_if_it_had_not_been(
    tmp_path: Path, at: int, rollback: Any
) -> None:
    switches = Switches(gated=rollback == "monitor", rollback=rollback)

    def begun(folder: Path | None, play: Drawn) -> tuple[Evolution, Run | None, Shelf | None]:
        run = shelf = None
        if folder is not None:
            runs = list(folder.glob("cowork/*"))
            run = Run.open(runs[0]) if runs else Run.create("cowork", "t", {}, root=folder)
            shelf = Shelf(run.artifact("shelf"))
        found = evolution(
            play, switches=switches, shelf=shelf, journal=Journal(run), dials={"monitor_every": 2}
        )
        return found, run, shelf

    whole, _, _ = begun(None, Drawn(peak(), spread=15))
    whole.run(7)

    class Breaking(Drawn):
        def _episode(self, job: Any) -> Any:
            if len(self.jobs) == at:
                raise Stopped
            return super()._episode(job)

    found, run, shelf = begun(tmp_path, Breaking(peak(), spread=15))
    assert run is not None
    assert shelf is not None
    with shelf, run:
        try:
            found.run(7)
        except Stopped:
            pass
        else:
            assert rollback == "one_episode"
    again = Drawn(peak(), spread=15)
    found, run, shelf = begun(tmp_path, again)
    assert run is not None
    assert shelf is not None
    with shelf, run:
        found.run(7)
        assert seen(found) == seen(whole)
        assert again.steps <= whole.standing.sim_steps + whole.standing.report_steps
        results = list(run.records("gate", GateResult))
        assert results == found.results, "every verdict is on disk, once"
        assert len(list(run.records("promotion", Promotion))) == len(found.promotions)
        assert len(list(run.records("look", Look))) == sum(len(r.looks) for r in found.rounds)
        assert [row["step"] for row in run.metrics()] == list(range(1, 8))
        assert shelf.active == found.active
        kinds = [(each.kind, each.to_hash) for each in shelf.promotions]
        assert kinds == [(each.kind, each.to_hash) for each in found.promotions]
        assert [row.round for row in run.records("round", Round)] == list(range(1, 8))
