"""Episodes: the job decides everything, failures have no score, and the runtime asks no model."""

import gc
import os
import pickle
import random
import subprocess
import sys

import pytest

from planish.errors import BadInput
from planish.methods.cowork.acting import episodes as module
from planish.methods.cowork.acting.episodes import Job, episode_id, play, play_all, play_many
from planish.methods.cowork.acting.partners import PARTNERS, partner
from planish.methods.cowork.data import Cell
from planish.methods.cowork.kitchen.layouts import load_layout
from planish.methods.cowork.kitchen.simulator import STAY, Kitchen
from planish.methods.cowork.skills import load_library

FULL, IMPAIRED = load_library("full"), load_library("impaired")


def cell(layout="cramped_room", partner="self", seat=0):
    return Cell(layout=layout, partner=partner, seat=seat)


def behaviour(played):
    """All but how long it took."""
    traces = [each.model_copy(update={"plan_ns": 0}) for each in played.traces]
    episode = played.episode.model_copy(update={"latency_ns": (0, 0, 0, 0)})
    return episode, traces, played.frames, played.actions, played.methods


def test_a_traced_episode_can_be_played_again_from_its_actions():
    played = play(Job(cell(partner="random", seat=1), FULL, 3), trace=True)
    assert len(played.actions) == 400
    assert len(played.frames) == 401
    layout = load_layout("cramped_room")
    kitchen = Kitchen(layout, starts=played.frames[0].cells)
    score, soups = 0.0, 0
    for frame, joint in zip(played.frames, played.actions, strict=False):
        assert kitchen.state() == frame
        rewards = kitchen.step(*joint)
        score += sum(rewards)
        soups += sum(reward > 0 for reward in rewards)
    assert kitchen.state() == played.frames[-1]
    assert (score, soups) == (played.episode.score, played.episode.soups)
    assert score > 0


def test_what_an_episode_tells_of_its_agents():
    played = play(Job(cell(partner="greedy", seat=1), FULL, 0), trace=True)
    episode = played.episode
    assert episode.library_hash == FULL.digest
    assert episode.id == episode_id(cell(partner="greedy", seat=1), 0)
    assert episode.decisions == len(played.latencies_ns) == len(played.traces) == 400
    assert {each.seat for each in played.traces} == {1}
    p50, p95, p99, largest = episode.latency_ns
    assert 0 < p50 <= p95 <= p99 <= largest == max(played.latencies_ns)
    assert episode.tokens == 0
    assert episode.deadline_misses == 0
    assert played.methods
    assert all(ended <= tried for tried, ended in played.methods.values())
    both = play(Job(cell(), FULL, 0), trace=True)
    assert [(each.t, each.seat) for each in both.traces] == [
        (t, seat) for t in range(400) for seat in (0, 1)
    ]


def test_an_untraced_episode_is_the_same_and_keeps_only_the_times():
    job = Job(cell("coordination_ring", "switcher"), FULL, 5)
    bare, traced = play(job), play(job, trace=True)
    assert (bare.traces, bare.frames, bare.actions) == ((), (), ())
    assert behaviour(bare)[0] == behaviour(traced)[0]
    assert len(bare.latencies_ns) == 400


def test_the_seed_draws_the_starts_and_the_layout_has_its_own():
    layout = load_layout("cramped_room")
    starts = {
        play(Job(cell(), FULL, seed, horizon=1), trace=True).frames[0].cells for seed in range(12)
    }
    assert len(starts) > 4
    assert all(first != second for first, second in starts)
    fixed = play(Job(cell(), FULL, 7, horizon=1, start="layout"), trace=True)
    assert fixed.frames[0].cells == layout.starts


def test_two_libraries_meet_the_same_start_and_the_same_luck_of_the_partner():
    for seat in (0, 1):
        jobs = [Job(cell(partner="random", seat=seat), lib, 4) for lib in (FULL, IMPAIRED)]
        first, second = (play(job, trace=True) for job in jobs)
        assert first.frames[0] == second.frames[0]
        assert [a[1 - seat] for a in first.actions] == [a[1 - seat] for a in second.actions]
        assert [a[seat] for a in first.actions] != [a[seat] for a in second.actions]


def test_a_partners_name_plays_in_the_librarys_place():
    played = play(Job(cell("asymmetric_advantages"), "greedy", 2), trace=True)
    layout = load_layout("asymmetric_advantages")
    kitchen = Kitchen(layout, starts=played.frames[0].cells)
    cooks = [partner("greedy", layout, seat, 2) for seat in (0, 1)]
    score = 0.0
    for _ in range(400):
        score += sum(kitchen.step(cooks[0].act(kitchen), cooks[1].act(kitchen)))
    assert played.episode.score == score > 0
    assert played.episode.library_hash == "scripted:greedy"
    assert played.episode.decisions == 0
    assert played.episode.latency_ns == (0, 0, 0, 0)


def test_old_dynamics_start_full_pots_by_themselves():
    for old_dynamics in (False, True):
        job = Job(cell(partner="idle", seat=1), "greedy", 0, old_dynamics=old_dynamics)
        played = play(job, trace=True)
        assert played.episode.old_dynamics is old_dynamics
        # With three onions in it, a pot waits for a cook in one of the two.
        waits = [pot[1:] == (3, -1) for frame in played.frames for pot in frame.pots]
        assert any(waits) is not old_dynamics


def test_the_same_jobs_are_the_same_episodes_in_any_process():
    names = ("cramped_room", "coordination_ring")
    jobs = [
        Job(cell(layout, name, 1), FULL, seed, horizon=120)
        for layout in names
        for name in ("sticky_greedy", "switcher", "random")
        for seed in range(3)
    ]
    here = play_many(jobs, trace=True, workers=1)
    there = play_many(jobs, trace=True, workers=2)
    assert [behaviour(each) for each in here] == [behaviour(each) for each in there]
    assert [each.cell for each in play_all(jobs, workers=2)] == [job.cell for job in jobs]
    threads = play_all(jobs, workers=2, backend="threading")
    assert [each.score for each in threads] == [each.episode.score for each in here]


def test_a_layout_file_is_read_here_and_travels_to_the_workers(tmp_path):
    path = tmp_path / "mine.layout"
    path.write_text("XXPXX\nO1 2O\nX   X\nXDXSX\n")
    jobs = [Job(cell(str(path)), "greedy", seed) for seed in range(4)]
    assert all(each.score > 0 for each in play_all(jobs, workers=2))


def test_what_was_measured_of_a_layout_does_not_travel(monkeypatch):
    layout = load_layout("counter_circuit_o_1order")
    play(Job(cell(layout.name), FULL, 0, horizon=50))
    sent = []

    def caught(function, chunks, **options):
        sent.extend(len(pickle.dumps(chunk)) for chunk in chunks)
        return [function(chunk) for chunk in chunks]

    monkeypatch.setattr(module, "fan_out", caught)
    play_all([Job(cell(layout.name), FULL, seed, horizon=2) for seed in range(40)], workers=2)
    assert len(sent) == 8
    # The library goes once a chunk; the tables of the layout would be more than all the rest.
    assert max(sent) < len(pickle.dumps(FULL)) + 4000
    assert len(pickle.dumps(layout)) > 5000


def test_no_more_workers_are_started_than_there_is_work_for(monkeypatch):
    asked = []

    def caught(function, chunks, *, workers, **options):
        asked.append((len(chunks), workers))
        return [function(chunk) for chunk in chunks]

    monkeypatch.setattr(module, "fan_out", caught)
    for workers in (1000, 2, None):
        play_all([Job(cell(), FULL, seed, horizon=2) for seed in range(3)], workers=workers)
    assert asked == [(3, 3), (3, 2), (3, None)]


def test_progress_counts_episodes_up_to_all_of_them():
    told = []
    jobs = [Job(cell(), "greedy", seed, horizon=5) for seed in range(37)]
    play_all(jobs, workers=2, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (37, 37)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert play_all([], workers=2) == []


def test_an_episode_that_raises_has_no_score_and_says_why(monkeypatch):
    agent = module.Agent

    class Falls(agent):
        def act(self, kitchen):
            if kitchen.tick == 30 and kitchen.layout.name == "coordination_ring":
                raise RuntimeError("the\nfloor is wet")
            return super().act(kitchen)

    monkeypatch.setattr(module, "Agent", Falls)
    jobs = [Job(cell(layout), FULL, 1) for layout in ("coordination_ring", "cramped_room")]
    fallen, played = play_all(jobs, workers=1)
    assert fallen.score is None
    assert fallen.error == "RuntimeError: the floor is wet"
    assert (fallen.cell, fallen.seed) == (jobs[0].cell, 1)
    assert played.score is not None
    assert played.error == ""
    with pytest.raises(RuntimeError, match="wet"):
        play(jobs[0])
    assert gc.isenabled()


def test_bad_input_is_told_before_anything_is_played():
    with pytest.raises(BadInput, match="no layout"):
        play_all([Job(cell("nowhere"), FULL, 0)])
    with pytest.raises(BadInput, match="no partner"):
        play_all([Job(cell(partner="nobody"), FULL, 0)])
    with pytest.raises(BadInput, match="backend"):
        play_all([Job(cell(), FULL, 0)], backend="pigeons")
    with pytest.raises(ValueError, match="seat 2"):
        play(Job(cell(partner="greedy", seat=2), FULL, 0))


def test_latency_delays_every_decision_and_the_agent_stays_meanwhile():
    fast = play(Job(cell(partner="idle"), FULL, 0, start="layout"), trace=True)
    slow = play(Job(cell(partner="idle"), FULL, 0, start="layout", latency_ticks=4), trace=True)
    acts = [(t, first) for t, (first, _) in enumerate(slow.actions) if first != STAY]
    assert acts
    # What is decided on tick 0 is done on tick 4, then it looks again on tick 5.
    assert all(t % 5 == 4 for t, _ in acts)
    assert slow.actions[4][0] == fast.actions[0][0]
    assert [each.t for each in slow.traces] == list(range(0, 400, 5))
    assert slow.episode.decisions == 80


def test_slow_decisions_cost_score():
    scores = [
        sum(
            play(Job(cell(), FULL, seed, latency_ticks=ticks)).episode.score or 0
            for seed in range(2)
        )
        for ticks in (0, 1, 4, 20)
    ]
    assert scores[0] > scores[1] > scores[2] >= scores[3]
    assert scores[3] == 0


def test_no_collection_of_garbage_falls_into_an_episode():
    collected = []
    gc.callbacks.append(lambda phase, info: collected.append(phase))
    try:
        before = len(collected)
        play(Job(cell(), FULL, 0), trace=True)
        inside = len(collected) - before
    finally:
        gc.callbacks.pop()
    assert inside <= 2  # what was put off may come right after it
    assert gc.isenabled()


@pytest.mark.parametrize("name", ["self", *PARTNERS])
def test_the_library_plays_with_every_partner_in_both_seats(name):
    random.seed(1)
    state = random.getstate()
    for seat in (0, 1):
        episode = play(Job(cell("forced_coordination", name, seat), FULL, 1)).episode
        assert episode.score is not None
        assert episode.decisions == (800 if name == "self" else 400)
    assert random.getstate() == state  # the global generator is left alone


def test_the_runtime_imports_no_client_of_a_model():
    forbidden = ("openai", "torch", "transformers", "httpx", "planish.models")
    code = (
        "import sys\n"
        "import planish.methods.cowork.htn, planish.methods.cowork.acting.episodes as e\n"
        "from planish.methods.cowork.data import Cell\n"
        "from planish.methods.cowork.skills import load_library\n"
        "job = e.Job(Cell(layout='cramped_room'), load_library('full'), 0)\n"
        "assert e.play(job).episode.score > 0\n"
        f"found = [name for name in {forbidden!r} if name in sys.modules]\n"
        "assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_ray_plays_the_same_episodes():
    """In a process of its own: Ray leaves threads, files and warnings behind."""
    pytest.importorskip("ray")
    code = (
        "import ray\n"
        "from planish.methods.cowork.acting.episodes import Job, play_all\n"
        "from planish.methods.cowork.data import Cell\n"
        "from planish.methods.cowork.skills import load_library\n"
        "ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)\n"
        "cell = Cell(layout='cramped_room', partner='switcher', seat=1)\n"
        "jobs = [Job(cell, load_library('full'), seed, horizon=120) for seed in range(6)]\n"
        "print([each.score for each in play_all(jobs, workers=2, backend='ray')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},  # else it leaves a file at home
    )
    assert done.returncode == 0, done.stderr
    jobs = [Job(cell(partner="switcher", seat=1), FULL, seed, horizon=120) for seed in range(6)]
    here = [each.score for each in play_all(jobs, workers=1)]
    assert done.stdout.strip().splitlines()[-1] == str(here)


def test_pots_that_start_by_themselves_are_filled_even_where_one_onion_would_pay_more(tmp_path):
    plan = "\n".join(load_layout("cramped_room").rows())
    orders = [{"ingredients": ["onion"] * count} for count in (1, 3)]
    place = tmp_path / "cheap.layout"
    place.write_text(
        repr({"grid": plan, "start_all_orders": orders, "recipe_values": [19, 20],
              "recipe_times": [20, 20]})
    )  # fmt: skip
    assert load_layout(str(place)).best_count == 1
    for old_dynamics in (False, True):
        played = play(Job(cell(str(place)), FULL, 0, old_dynamics=old_dynamics))
        assert played.episode.soups > 5
