"""Diagnosis: faults that are planted are found, where and when they are, and nothing else is."""

from __future__ import annotations

import random

import pytest

from planish.methods.cowork.acting.episodes import Job, Played, episode_id, play
from planish.methods.cowork.data import Cell, Episode, TickTrace
from planish.methods.cowork.improving.diagnosis import SIGNALS, STAGNANT, diagnose
from planish.methods.cowork.improving.guards import guards, information_gain, restored
from planish.methods.cowork.kitchen.layouts import load_layout
from planish.methods.cowork.kitchen.simulator import (
    ACTIONS,
    DISH,
    EAST,
    INTERACT,
    NOTHING,
    ONION,
    SOUP,
    STAY,
    WEST,
    Kitchen,
)
from planish.methods.cowork.skills import load_library

FULL, IMPAIRED = load_library("full"), load_library("impaired")
ROOM, TWO_ROOMS, RING = "cramped_room", "forced_coordination", "coordination_ring"


def scripted(layout, *joints, seats=(0, 1), starts=None, old=False, operators=("", ""),
             methods=None, seed=0, **at_first):  # fmt: skip
    """An episode in which both cooks do as they are told; `at_first`: held, pots."""
    plan = load_layout(layout)
    kitchen = Kitchen(plan, starts=starts, old_dynamics=old)
    kitchen.held[:] = at_first.get("held", (NOTHING, NOTHING))
    for pot, (onions, cooked) in at_first.get("pots", {}).items():
        kitchen.onions[pot], kitchen.cooked[pot] = onions, cooked
    frames, traces, score = [kitchen.state()], [], 0.0
    for t, joint in enumerate(joints):
        traces += [
            TickTrace(t=t, seat=seat, action=ACTIONS[joint[seat]], operator=operators[seat])
            for seat in seats
        ]
        score += sum(kitchen.step(*joint))
        frames.append(kitchen.state())
    cell = Cell(layout=layout, partner="self" if len(seats) == 2 else "idle", seat=seats[0])
    episode = Episode(
        id=episode_id(cell, seed), library_hash=FULL.digest, cell=cell, seed=seed, score=score,
        old_dynamics=old, horizon=len(joints),
    )  # fmt: skip
    return Played(episode, tuple(traces), tuple(frames), joints, methods=methods or {})


def found(*played):
    """kind -> (count, lost ticks, subject, ticks of the evidence)"""
    diagnosis = diagnose(FULL, played)
    assert len({each.kind for each in diagnosis.signals}) == len(diagnosis.signals)
    return {
        each.kind: (
            each.count,
            each.lost_ticks,
            each.subject,
            [int(where.rpartition("@")[2]) for where in each.evidence_ids],
        )
        for each in diagnosis.signals
    }


# ---- one planted fault each; (2, 0) is the cramped room's pot ---------------------------------

POT = 2


@pytest.mark.parametrize(
    ("kind", "expected", "script"),
    [
        ("blocked", (2, 3, "", [1, 4]),
         ([(INTERACT, INTERACT), (EAST, INTERACT), (EAST, INTERACT), (INTERACT, INTERACT),
           (EAST, INTERACT)], {"starts": (7, 8), "pots": {POT: (3, 0)}})),
        ("mutual_block", (2, 6, "", [0]),
         ([(EAST, WEST)] * 3, {"starts": (7, 8), "pots": {POT: (3, 0)}})),
        ("useless_hold", (1, 4, "onion", [1]),
         ([(WEST, INTERACT)] + [(STAY, INTERACT)] * 4,
          {"held": (ONION, NOTHING), "pots": {POT: (3, 0)}})),
        ("useless_hold", (1, 2, "dish", [0]),
         ([(STAY, INTERACT)] * 2, {"held": (DISH, NOTHING), "pots": {POT: (1, -1)}})),
        ("ready_without_dish", (1, 3, "", [0]),
         ([(INTERACT, INTERACT)] * 3, {"pots": {POT: (3, 20)}})),
        ("not_started", (1, 5, "", [0]),
         ([(INTERACT, INTERACT)] * 5, {"pots": {POT: (3, -1)}, "starts": (11, 13)})),
        ("idle", (1, 3, "", [0]), ([(STAY, INTERACT)] * 3, {"starts": (11, 13)})),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found_where_it_is(kind, expected, script):
    joints, options = script
    signals = found(scripted(ROOM, *joints, **options))
    assert signals[kind] == expected
    assert set(signals) <= {kind, "ready_without_dish", "same_target"}
    assert kind in SIGNALS


def test_a_cook_that_can_never_use_what_it_holds_is_out_of_reach():
    joints = [(INTERACT, INTERACT)] * 6
    signals = found(scripted(TWO_ROOMS, *joints, held=(NOTHING, ONION)))
    assert signals == {"out_of_reach": (1, 6, "onion", [0])}
    held = found(scripted(TWO_ROOMS, *joints, held=(ONION, NOTHING)))
    assert "out_of_reach" not in held
    walled = diagnose(FULL, [scripted(TWO_ROOMS, *[(STAY, INTERACT)] * 5)])
    assert [(each.kind, each.subject, each.lost_ticks) for each in walled.signals] == [
        ("idle", "", 5), ("out_of_reach", "nothing", 5),
    ]  # fmt: skip


def test_two_who_fetch_what_is_wanted_once_have_one_target():
    joints = [(INTERACT, INTERACT)] * 4
    both = ("take_onion", "take_onion")
    one_lacks = scripted(ROOM, *joints, operators=both, pots={POT: (2, -1)})
    assert found(one_lacks) == {"same_target": (1, 2, "onion", [0])}
    assert not found(scripted(ROOM, *joints, operators=both, pots={POT: (1, -1)}))
    assert not found(
        scripted(ROOM, *joints, operators=("take_onion", "take_dish"), pots={POT: (2, -1)})
    )
    assert not found(scripted(ROOM, *joints, operators=("put", "put"), pots={POT: (2, -1)}))


def test_the_old_dynamics_start_pots_themselves():
    joints = [(INTERACT, INTERACT)] * 3
    assert not found(scripted(ROOM, *joints, pots={POT: (3, 0)}, old=True))


def test_only_the_librarys_own_seat_is_blamed():
    joints = [(STAY, STAY)] * 5
    for seat in (0, 1):
        signals = found(scripted(ROOM, *joints, seats=(seat,), starts=(11, 13)))
        assert signals == {"idle": (1, 5, "", [0])}
    both = found(scripted(ROOM, *joints, starts=(11, 13)))
    assert both["idle"][:2] == (2, 10)
    done = scripted(ROOM, *joints, seats=(0,), pots={POT: (3, 20)})
    assert found(done)["ready_without_dish"][1] == 2.5  # half of the team's ticks are its own


def test_work_that_goes_well_says_nothing():
    joints = [(WEST, INTERACT), (INTERACT, INTERACT)]
    diagnosis = diagnose(FULL, [scripted(ROOM, *joints)])
    assert diagnosis.signals == ()
    assert diagnosis.stagnation == ()


def test_what_is_dearest_comes_first():
    joints = [(EAST, WEST)] * 6 + [(INTERACT, INTERACT)] * 2
    diagnosis = diagnose(FULL, [scripted(RING, *joints, starts=(6, 7), pots={3: (3, -1)})])
    assert [each.kind for each in diagnosis.signals] == ["mutual_block", "not_started"]
    assert diagnosis.signals[0].lost_ticks == 12


# ---- stagnation, histogram, methods -----------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "quiet", "onset"),
    [(7, STAGNANT, 7), (0, STAGNANT + 30, 0), (7, STAGNANT - 1, None), (1, STAGNANT, 1)],
)
def test_stagnation_begins_with_the_first_tick_of_the_quiet(before, quiet, onset):
    work = [(INTERACT, STAY), (STAY, INTERACT)]
    joints = [work[t % 2] for t in range(before)] + [(EAST, STAY)] * quiet + [work[0]]
    played = scripted(ROOM, *joints)
    diagnosis = diagnose(FULL, [played])
    assert diagnosis.stagnation == (() if onset is None else ((played.episode.id, onset),))


def test_what_a_diagnosis_counts_and_shows():
    joints = [(EAST, WEST)] * 3 + [(INTERACT, STAY)]
    played = scripted(
        ROOM, *joints, starts=(7, 8), methods={"a": (30, 0), "b": (30, 1), "c": (9, 0)}
    )
    diagnosis = diagnose(FULL, [played, played])
    assert diagnosis.library_hash == FULL.digest
    assert diagnosis.histogram == {
        "north": 0, "south": 0, "east": 3 / 8, "west": 3 / 8, "stay": 1 / 8, "interact": 1 / 8,
    }  # fmt: skip
    assert diagnosis.methods == {"a": (60, 0), "b": (60, 2), "c": (18, 0)}
    assert diagnosis.scores == {str(played.episode.cell): 0.0}
    never = {each.subject: each.lost_ticks for each in diagnosis.signals if not each.cell}
    assert never == {"a": 60, "c": 18}
    window = diagnosis.windows[f"{played.episode.id}@0"]
    assert [(each.t, each.seat) for each in window] == [(t, s) for t in range(3) for s in (0, 1)]


def test_failed_episodes_say_nothing():
    good = scripted(ROOM, *[(STAY, STAY)] * 5)
    bad = Played(good.episode.model_copy(update={"score": None, "error": "it broke"}),
                 good.traces, good.frames, good.actions, methods={"a": (50, 0)})  # fmt: skip
    assert diagnose(FULL, [bad]) == diagnose(FULL, [])
    assert diagnose(FULL, [bad, good]) == diagnose(FULL, [good])
    empty = diagnose(FULL, [])
    assert (empty.signals, empty.scores, empty.windows) == ((), {}, {})


# ---- guards -----------------------------------------------------------------------------------


def taken(outcomes, seed=0):
    """An episode in which a method is taken every other tick: (what it held then, it went well)."""
    kitchen = Kitchen(load_layout(ROOM))
    frames, traces = [], []
    rng = random.Random(seed)
    for number, (held, _) in enumerate(outcomes):
        kitchen.cells[:] = rng.sample(kitchen.layout.floor, 2)
        kitchen.held[0] = held
        path, before = ("work:chore", "go:step"), outcomes[number - 1][1]
        ended = "" if not number else "done" if before else "failed"
        for event in (ended, ""):
            traces.append(
                TickTrace(t=kitchen.tick, seat=0, action="stay", task_path=path, event=event)
            )
            frames.append(kitchen.state())
            kitchen.tick += 1
    frames.append(kitchen.state())
    cell = Cell(layout=ROOM, partner="idle")
    episode = Episode(id=f"{seed}", library_hash="h", cell=cell, seed=seed, score=0.0)
    joints = tuple((STAY, STAY) for _ in traces)
    return Played(episode, tuple(traces), tuple(frames), joints)


def test_the_guard_that_a_method_lacks_is_found():
    rng = random.Random(2)
    outcomes = [(held, held == ONION) for held in rng.choices((ONION, DISH, NOTHING, SOUP), k=61)]
    (signal,) = guards([taken(outcomes)], {})
    assert signal.subject == "go if holding(onion)"
    assert signal.count == sum(not good for _, good in outcomes[:-1])
    turned = [(held, held != DISH) for held, _ in outcomes]
    (signal,) = guards([taken(turned)], {})
    assert signal.subject == "go if !holding(dish)"
    assert signal.lost_ticks > 5


def test_a_guard_is_found_though_it_errs_now_and_then():
    rng = random.Random(1)
    held = rng.choices((ONION, DISH), k=71)
    outcomes = [(thing, (thing == ONION) == (rng.random() < 0.92)) for thing in held]
    (signal,) = guards([taken(outcomes)], {})
    assert signal.subject in ("go if holding(onion)", "go if !holding(dish)")


@pytest.mark.parametrize("length", [13, 20, 35, 60, 81])
def test_no_guard_is_found_in_noise(length):
    wrong = 0
    for seed in range(40):
        rng = random.Random(seed)
        outcomes = [
            (rng.choice((NOTHING, ONION, DISH, SOUP)), rng.random() < 0.5) for _ in range(length)
        ]
        wrong += bool(guards([taken(outcomes, seed)], {}))
    assert wrong <= 4  # at most one in twenty is to be expected


def test_too_few_failures_or_successes_are_no_ground_for_a_guard():
    for good in (True, False):
        outcomes = [(ONION if n % 12 else DISH, bool(n % 12) == good) for n in range(40)]
        assert guards([taken(outcomes)], {}) == []


@pytest.mark.parametrize(
    ("rows", "bits"),
    [
        ([(True, True), (False, False)], 1.0),
        ([(True, False), (False, True)], 1.0),
        ([(True, True), (True, False)], 0.0),
        ([(True, True), (False, True)], 0.0),
        ([(True, True), (True, False), (False, True), (False, False)], 0.0),
        ([(True, True)] * 3 + [(False, False)], 0.811278),
        ([(True, True), (True, True), (True, False), (False, False)], 0.311278),
    ],
)
def test_information_gain(rows, bits):
    assert information_gain(rows) == pytest.approx(bits, abs=1e-6)


def test_a_kitchen_is_restored_from_its_state():
    played = play(Job(Cell(layout=RING), FULL, 1, horizon=120), trace=True)
    layout = load_layout(RING)
    for frame in played.frames:
        assert restored(layout, frame).state() == frame


# ---- episodes that were really played ---------------------------------------------------------


@pytest.fixture(scope="module")
def impaired():
    return {
        layout: [play(Job(Cell(layout=layout), IMPAIRED, seed), trace=True) for seed in range(2)]
        for layout in (RING, TWO_ROOMS)
    }


def test_the_impaired_library_blocks_itself_in_the_ring(impaired):
    diagnosis = diagnose(IMPAIRED, impaired[RING])
    assert diagnosis.signals[0].kind == "mutual_block"
    assert diagnosis.signals[0].lost_ticks > 400
    assert len(diagnosis.stagnation) == 2


def test_the_impaired_library_cannot_reach_across_the_wall(impaired):
    diagnosis = diagnose(IMPAIRED, impaired[TWO_ROOMS])
    kinds = [each.kind for each in diagnosis.signals]
    assert "out_of_reach" in kinds[:2]
    assert "mutual_block" not in kinds


@pytest.mark.parametrize("layout", [RING, TWO_ROOMS])
def test_evidence_lies_in_the_episodes_and_a_diagnosis_is_always_the_same(layout, impaired):
    played = impaired[layout]
    diagnosis = diagnose(IMPAIRED, played)
    assert diagnosis == diagnose(IMPAIRED, played)
    lengths = {each.episode.id: len(each.actions) for each in played}
    for signal in diagnosis.signals:
        assert signal.kind in SIGNALS
        assert signal.lost_ticks > 0
        assert signal.count > 0
        for where in signal.evidence_ids:
            episode, _, tick = where.rpartition("@")
            assert 0 <= int(tick) < lengths[episode]
    lost = [each.lost_ticks for each in diagnosis.signals]
    assert lost == sorted(lost, reverse=True)
    for where, window in diagnosis.windows.items():
        tick = int(where.rpartition("@")[2])
        assert {each.t for each in window} <= set(range(tick - 2, tick + 3))
    assert sum(diagnosis.histogram.values()) == pytest.approx(1)
