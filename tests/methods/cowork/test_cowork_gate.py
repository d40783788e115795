"""The gate: what it lets through, what it does not, and what it pays for."""

from __future__ import annotations

from typing import Any

import pytest

from planish.errors import BadInput
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell
from planish.methods.cowork.improving.gate import Gate, Judged
from planish.methods.cowork.improving.patches import apply
from planish.methods.cowork.improving.reasons import REASONS
from planish.methods.cowork.improving.settings import Seeds, Switches, cells_of
from support.cowork import Drawn, raised
from support.skills import patch, replace, small

BASE = small()
RING = cells_of(["coordination_ring"], ["self"])
FIVE = cells_of(["coordination_ring"], ["self", "greedy", "random"])
SMOKE = 60


def made(priority: float) -> Any:
    """The library that `raised` makes."""
    return apply(raised(BASE, priority), BASE, anchor=BASE)


def gate(play: Drawn, cells: tuple[Cell, ...] = RING, **dials: Any) -> Gate:
    return Gate(Config(**dials), cells, play=play)


def judged(play: Drawn, cells: tuple[Cell, ...] = RING, **dials: Any) -> Judged:
    return gate(play, cells, **dials).judge(raised(BASE, 61), BASE, round=3)


# ---- one patch


def test_a_clear_gain_is_accepted_with_everything_that_was_seen_of_it() -> None:
    play = Drawn({made(61).digest: 40.0}, spread=10)
    verdict = judged(play)
    result = verdict.result
    assert (result.accepted, result.reason, result.round) == (True, "accepted", 3)
    assert verdict.library == made(61)
    assert [stage.seeds for stage in result.stages] == [2, 8, 24]
    assert result.drift == 0.5
    assert 30 < result.stages[-1].lower < result.stages[-1].mean < 50
    assert result.sim_steps == play.steps == SMOKE + 2 * 24 * 400


def test_the_lower_bound_pays_for_drift() -> None:
    play = Drawn({made(61).digest: 4.0})
    assert judged(play, gamma=7.0).result.accepted  # 4 - 7 * 0.5
    refused = judged(play, gamma=9.0)
    assert refused.result.reason == "noisy_tie"
    assert refused.library is None
    free = Gate(Config(gamma=9.0), RING, switches=Switches(drift=False), play=play)
    assert free.judge(raised(BASE, 61), BASE).result.accepted


def test_the_lower_bound_pays_for_size_where_it_has_a_price() -> None:
    edit = patch(
        BASE,
        {"op": "add", "path": "/methods/-",
         "value": {"id": "again", "task": "work", "subtasks": ["wait"], "priority": 1}},
    )  # fmt: skip
    bigger = apply(edit, BASE, anchor=BASE)
    grown = bigger.tokens - BASE.tokens
    assert grown > 10
    play = Drawn({bigger.digest: 20.0})
    assert gate(play, gamma=0, beta=19 / grown).judge(edit, BASE).result.accepted
    assert not gate(play, gamma=0, beta=21 / grown).judge(edit, BASE).result.accepted


def test_no_change_at_all_is_a_tie_and_costs_little() -> None:
    play = Drawn({})
    verdict = judged(play, FIVE)
    assert verdict.result.reason == "noisy_tie"
    assert len(verdict.result.stages) == 1
    assert play.steps == SMOKE + 2 * 2 * 5 * 400


def test_two_lost_episodes_are_the_end_of_a_patch() -> None:
    play = Drawn({made(61).digest: -20.0})
    verdict = judged(play)
    assert verdict.result.reason == "no_gain"
    assert play.steps == SMOKE + 2 * 2 * 400


def test_two_unlucky_episodes_are_not_the_end_of_a_good_patch() -> None:
    begin = Seeds(Config()).take("gate", 0, 2)
    unlucky = {begin[0]: -40.0, begin[1]: 20.0}
    play = Drawn({made(61).digest: lambda cell, seed: unlucky.get(seed, 40.0)})
    assert judged(play).result.accepted


def test_a_patch_that_breaks_one_cell_is_rejected_however_much_it_wins_elsewhere() -> None:
    lost = Cell(layout="coordination_ring", partner="random", seat=1)
    play = Drawn({made(61).digest: lambda cell, seed: -15.0 if cell == lost else 80.0})
    verdict = judged(play, FIVE)
    assert verdict.result.reason == "cell_regressed"
    assert "with random, seat 1 loses 15.0" in verdict.result.detail
    assert [stage.seeds for stage in verdict.result.stages] == [2, 8], "sure before the last rung"
    assert judged(play, FIVE, regression_budget=20.0).result.accepted


def test_a_drawn_kitchen_counts_by_its_gain_and_refuses_nothing_by_itself() -> None:
    named = cells_of(["coordination_ring", "cramped_room"], ["self"])
    drawn = cells_of(["coordination_ring", "generated:open:12"], ["self"])

    def losing(cells: tuple[Cell, ...], loss: float) -> Drawn:
        return Drawn({made(61).digest: lambda cell, seed: loss if cell == cells[1] else 80.0})

    assert judged(losing(named, -15.0), named).result.reason == "cell_regressed"
    accepted = judged(losing(drawn, -15.0), drawn).result
    assert accepted.accepted
    assert accepted.stages[-1].mean == pytest.approx(32.5)
    assert judged(losing(drawn, -95.0), drawn).result.reason == "no_gain"


@pytest.mark.parametrize("share", [1, 5])
def test_a_failed_episode_blocks_acceptance(share: int) -> None:
    failing = Cell(layout="coordination_ring", partner="greedy", seat=0)
    play = Drawn(
        {made(61).digest: lambda cell, seed: None if cell == failing and seed % share == 0 else 90}
    )
    verdict = judged(play, FIVE)
    assert verdict.result.reason == "uncovered_cell"
    assert "it broke" in verdict.result.detail


def test_episodes_that_fail_with_the_old_library_alone_do_not_keep_it_in_place() -> None:
    play = Drawn(
        {BASE.digest: lambda cell, seed: None if seed % 7 == 0 else 0.0, made(61).digest: 40.0}
    )
    assert judged(play).result.accepted
    none = Drawn({BASE.digest: lambda cell, seed: None, made(61).digest: 40.0})
    assert judged(none).result.reason == "uncovered_cell"


# ---- the entrance


def test_a_refused_patch_costs_nothing_and_says_why() -> None:
    play = Drawn({})
    stale = raised(BASE, 61).model_copy(update={"base_hash": "0" * 16})
    locked = patch(BASE, replace("/methods/rest/priority", 5))
    unknown = patch(BASE, replace("/methods/cook/subtasks", ["nothing"]))
    verdicts = gate(play).judge_all([stale, locked, unknown], BASE)
    reasons = [verdict.result.reason for verdict in verdicts]
    assert reasons[:2] == ["stale_base", "locked"]
    assert reasons[2].startswith("unknown")
    assert len({verdict.result.fingerprint for verdict in verdicts}) == 3
    assert play.steps == 0


def test_a_library_that_breaks_in_its_smoke_episode_is_not_played_further() -> None:
    play = Drawn({made(61).digest: lambda cell, seed: None})
    verdict = judged(play)
    assert verdict.result.reason == "smoke_failed"
    assert "it broke" in verdict.result.detail
    assert play.steps == verdict.result.sim_steps == SMOKE


def test_a_library_that_is_always_late_is_not_played_further() -> None:
    def late(jobs: Any, **_: Any) -> Any:
        return [episode.model_copy(update={"deadline_misses": 40}) for episode in Drawn({})(jobs)]

    assert Gate(Config(), RING, play=late).judge(raised(BASE, 61), BASE).result.reason == (
        "smoke_failed"
    )


def test_a_rejected_edit_is_known_again_and_a_lucky_one_gets_another_chance() -> None:
    play = Drawn({made(61).digest: -20.0, made(62).digest: 20.0, made(63).digest: 30.0})
    known = gate(play)
    known.judge(raised(BASE, 61), BASE)
    steps = play.steps
    again = known.judge(raised(BASE, 61), BASE).result
    assert (again.reason, again.sim_steps) == ("seen_before", 0)
    assert play.steps == steps
    first, second = known.judge_all([raised(BASE, 62), raised(BASE, 63)], BASE)
    assert (first.result.reason, second.result.reason) == ("outrun", "accepted")
    assert known.judge(raised(BASE, 62), BASE).result.accepted
    fresh = gate(play)
    fresh.remember(again.model_copy(update={"reason": "no_gain"}))
    assert fresh.judge(raised(BASE, 61), BASE).result.reason == "seen_before"


def unlucky(gain: float, loss: float = -20.0) -> Drawn:
    """One cell of five loses on the first two seeds, and it is good on all others."""
    begin = Seeds(Config()).take("gate", 0, 2)
    losing = FIVE[-1]

    def score(cell: Cell, seed: int) -> float:
        if seed in begin:
            return loss if cell == losing else 0.0
        return gain

    return Drawn({made(61).digest: score})


def test_what_gains_nothing_on_two_seeds_and_loses_little_may_come_once_more() -> None:
    play = unlucky(40.0)
    judge = gate(play, FIVE)
    first = judge.judge(raised(BASE, 61), BASE, round=1).result
    assert (first.reason, first.is_refusal) == ("doubted", False)
    assert [stage.seeds for stage in first.stages] == [2]
    second = judge.judge(raised(BASE, 61), BASE, round=2).result
    assert second.accepted
    assert [stage.seeds for stage in second.stages] == [8, 24], "its first rung is behind it"


def test_whoever_was_doubted_is_judged_for_good_the_second_time() -> None:
    judge = gate(unlucky(-1.0), FIVE)
    reasons = [judge.judge(raised(BASE, 61), BASE).result.reason for _ in range(3)]
    assert reasons == ["doubted", "no_gain", "seen_before"]


def test_who_loses_much_on_two_seeds_is_not_doubted_but_refused() -> None:
    assert gate(unlucky(40.0, -60.0), FIVE).judge(raised(BASE, 61), BASE).result.reason == "no_gain"
    last = gate(unlucky(40.0), FIVE, rungs=(2,)).judge(raised(BASE, 61), BASE)
    assert last.result.reason == "no_gain", "the only rung is the last, and says what it says"


def test_a_longer_first_rung_says_enough_to_refuse() -> None:
    begin = Seeds(Config()).take("gate", 0, 8)
    scores = {made(61).digest: lambda cell, seed: -1.0 if seed in begin else 40.0}
    assert (
        gate(Drawn(scores), FIVE, rungs=(8, 24)).judge(raised(BASE, 61), BASE).result.reason
        == "no_gain"
    )


def test_doubt_is_about_one_library_and_the_one_it_was_compared_with() -> None:
    play = unlucky(40.0)
    judge = gate(play, FIVE)
    judge.judge(raised(BASE, 61), BASE)
    other = made(62)
    stages = judge.judge(raised(other, 61), other).result.stages
    assert stages[0].seeds == 2, "beside another library it begins on the first rung"


def test_a_budget_that_ends_on_the_first_rung_leaves_one_of_the_second_open_too() -> None:
    play = unlucky(40.0)
    judge = gate(play, FIVE)
    judge.judge(raised(BASE, 61), BASE)
    patches = [raised(BASE, priority) for priority in (61, 62, 63)]
    verdicts = judge.judge_all(patches, BASE, steps_left=3 * SMOKE + 100)
    assert [each.result.reason for each in verdicts] == ["budget_spent"] * 3
    assert judge.judge(raised(BASE, 61), BASE).result.accepted


def test_doubt_outlives_an_interruption() -> None:
    play = unlucky(40.0)
    first = gate(play, FIVE).judge(raised(BASE, 61), BASE).result
    later = gate(play, FIVE)
    later.remember(first)
    later.remember(first)
    assert later.judge(raised(BASE, 61), BASE).result.accepted


def test_one_that_comes_again_joins_the_others_on_the_second_rung() -> None:
    play = unlucky(40.0)
    play.effects = {**play.effects, made(62).digest: 20.0}
    judge = gate(play, FIVE)
    judge.judge(raised(BASE, 61), BASE)
    old, new = (each.result for each in judge.judge_all([raised(BASE, 61), raised(BASE, 62)], BASE))
    assert next(stage.seeds for stage in old.stages) == 8
    assert [stage.seeds for stage in new.stages][:2] == [2, 8]
    assert {old.reason, new.reason} == {"accepted", "outrun"}


def test_the_same_edit_twice_in_a_round_is_played_once() -> None:
    play = Drawn({made(61).digest: 40.0})
    first, second = gate(play).judge_all([raised(BASE, 61), raised(BASE, 61)], BASE)
    assert (first.result.reason, second.result.reason) == ("accepted", "seen_before")
    assert play.steps == SMOKE + 2 * 24 * 400


# ---- several patches


def test_the_worse_half_leaves_each_rung_and_the_steps_add_up() -> None:
    play = Drawn({made(61).digest: 20.0, made(62).digest: 60.0, made(63).digest: 40.0}, spread=1)
    patches = [raised(BASE, priority) for priority in (61, 62, 63)]
    verdicts = [each.result for each in gate(play).judge_all(patches, BASE)]
    assert [each.reason for each in verdicts] == ["outrun", "accepted", "outrun"]
    assert [len(each.stages) for each in verdicts] == [1, 3, 2]
    assert sum(each.sim_steps for each in verdicts) == play.steps
    assert play.steps == 3 * SMOKE + (24 + 2 + 24 + 8) * 400, "the base library is played once"


def test_who_was_outrun_by_one_that_is_refused_in_the_end_goes_on() -> None:
    lost = FIVE[-1]
    play = Drawn({
        made(61).digest: lambda cell, seed: -15.0 if cell == lost else 80.0,
        made(62).digest: 20.0,
        made(63).digest: 30.0,
    })  # fmt: skip
    patches = [raised(BASE, priority) for priority in (61, 62, 63)]
    verdicts = [each.result for each in gate(play, FIVE).judge_all(patches, BASE)]
    assert [each.reason for each in verdicts] == ["cell_regressed", "outrun", "accepted"]
    assert [[stage.seeds for stage in each.stages] for each in verdicts] == [
        [2, 8], [2], [2, 8, 24]
    ]  # fmt: skip
    assert sum(each.sim_steps for each in verdicts) == play.steps


@pytest.mark.parametrize(("gain", "reason"), [(0.05, "outrun"), (-1.0, "doubted")])
def test_nobody_goes_on_whose_gain_does_not_pay_for_its_drift(gain: float, reason: str) -> None:
    lost = FIVE[-1]
    play = Drawn({
        made(61).digest: lambda cell, seed: -15.0 if cell == lost else 80.0,
        made(62).digest: gain,
    })  # fmt: skip
    patches = [raised(BASE, priority) for priority in (61, 62)]
    verdicts = [each.result.reason for each in gate(play, FIVE).judge_all(patches, BASE)]
    assert verdicts == ["cell_regressed", reason]


def test_nobody_goes_on_where_the_ticks_are_spent() -> None:
    play = Drawn({made(61).digest: 80.0, made(62).digest: 30.0})
    patches = [raised(BASE, priority) for priority in (61, 62)]
    left = 2 * SMOKE + 3 * 2 * 5 * 400 + 100
    verdicts = gate(play, FIVE).judge_all(patches, BASE, steps_left=left)
    assert [each.result.reason for each in verdicts] == ["budget_spent", "outrun"]
    assert sum(each.result.sim_steps for each in verdicts) == play.steps <= left


def test_a_budget_that_ends_on_the_way_leaves_every_patch_unaccepted() -> None:
    play = Drawn({made(61).digest: 60.0})
    verdict = gate(play).judge(raised(BASE, 61), BASE, steps_left=SMOKE + 2 * 8 * 400 + 100)
    assert verdict.result.reason == "budget_spent"
    assert [stage.seeds for stage in verdict.result.stages] == [2, 8]
    assert play.steps <= SMOKE + 2 * 8 * 400 + 100
    assert gate(play).judge(raised(BASE, 61), BASE, steps_left=10).result.sim_steps == 0


def test_seeds_are_fresh_after_a_promotion() -> None:
    play = Drawn({made(61).digest: 60.0})
    judge = gate(play)
    judge.judge(raised(BASE, 61), BASE)
    before = {job.seed for job in play.jobs if job.horizon == 400}
    judge.epoch += 1
    play.jobs.clear()
    judge.judge(raised(BASE, 61), BASE)
    after = {job.seed for job in play.jobs if job.horizon == 400}
    assert len(before) == len(after) == 24
    assert not before & after


def test_without_a_gate_the_first_sound_patch_goes_through() -> None:
    play = Drawn({made(62).digest: -90.0})
    stale = raised(BASE, 61).model_copy(update={"base_hash": "0" * 16})
    verdicts = gate(play).admit([stale, raised(BASE, 62), raised(BASE, 63)], BASE)
    assert [each.result.reason for each in verdicts] == ["stale_base", "ungated"]
    assert verdicts[-1].library == made(62)
    assert play.steps == SMOKE


# ---- luck


def accepted(effect: float, cells: tuple[Cell, ...], trials: int, spread: float = 15) -> float:
    """The share of trials in which a patch with this mean effect is accepted."""
    dials = Config(gamma=0.0)
    count = 0
    for trial in range(trials):
        play = Drawn({made(61).digest: effect}, spread, trial)
        count += Gate(dials, cells, play=play).judge(raised(BASE, 61), BASE).result.accepted
    return count / trials


@pytest.mark.parametrize("cells", [RING, FIVE])
def test_a_harmful_patch_rarely_and_a_null_patch_seldom_gets_through(
    cells: tuple[Cell, ...],
) -> None:
    trials = 200 if cells is RING else 80
    assert accepted(-5.0, cells, trials) < 0.05
    assert accepted(0.0, cells, trials) <= 0.12


@pytest.mark.parametrize("cells", [RING, FIVE])
def test_a_gain_of_ten_points_is_found(cells: tuple[Cell, ...]) -> None:
    assert accepted(10.0, cells, 200 if cells is RING else 60) > 0.9


# ---- real episodes


@pytest.mark.parametrize("backend", ["loky", "threading", "ray"])
def test_wherever_a_round_is_played_it_is_decided_in_the_same_way(backend: Any) -> None:
    if backend == "ray":
        pytest.importorskip("ray")
    patches = [
        patch(BASE, replace("/methods/give_way/priority", 20)),
        patch(BASE, {"op": "remove", "path": "/methods/cook"}),
    ]
    cells = cells_of(["cramped_room", "coordination_ring"], ["self", "greedy"])
    dials = {"rungs": (2, 4), "horizon": 80}

    def results(**spread: Any) -> Any:
        judge = Gate(Config(**dials, **spread), cells)
        return [each.result for each in judge.judge_all(patches, BASE)]

    assert results(backend=backend, workers=2) == results(workers=1)


# ---- settings


def test_seeds_of_two_purposes_never_meet() -> None:
    seeds = Seeds(Config(seed=5))
    taken = {
        purpose: set(seeds.take(purpose, 0, 1000))
        for purpose in ("train", "gate", "monitor", "report")
    }
    assert all(len(found) == 1000 for found in taken.values())
    assert len(set.union(*taken.values())) == 4000
    other = Seeds(Config(seed=6))
    assert other.take("report", 0, 20) == seeds.take("report", 0, 20)
    assert other.take("gate", 0, 20) != seeds.take("gate", 0, 20)


def test_overlapping_seeds_are_refused_even_where_a_preset_hides_them() -> None:
    with pytest.raises(ValueError, match="train seeds and gate seeds overlap: seed 1500000"):
        Config(gate_seeds=(1_500_000, 1_600_000))
    hidden = Config().model_copy(update={"gate_seeds": (0, 10)})
    with pytest.raises(BadInput, match="gate seeds and report seeds overlap: seed 0"):
        Seeds(hidden)
    with pytest.raises(ValueError, match="5 report seeds are fewer than 20"):
        Config(report_seeds=(0, 5))
    with pytest.raises(BadInput, match="--gate-seeds: 10 seeds are fewer than the 24"):
        Seeds(Config(gate_seeds=(5000, 5010))).take("gate", 0, 24)


def test_every_reason_is_explained() -> None:
    assert all(REASONS.values())
    assert set(REASONS) >= {"accepted", "no_gain", "noisy_tie", "cell_regressed", "seen_before"}
