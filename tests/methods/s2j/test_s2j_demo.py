"""The demonstration: the gap closes as claimed, and what does not come true is told."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from planish.cli import main
from planish.methods.s2j import demo as room
from planish.methods.s2j.config import Config
from planish.methods.s2j.data import task_items
from planish.methods.s2j.learning.rewarding import read_rewards
from planish.methods.s2j.measuring.probe import CELLS, RATES, claims, num_calls, probe
from planish.methods.s2j.measuring.records import GapReport, GapRow
from planish.parallel import one_thread
from planish.runs import Run
from planish.runs.console import Screen
from planish.stats import Estimate
from planish.tasks.chain import ChainTask


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_demo_of_the_room_s2j(capsys, tmp_path, every_demo):
    s2j = every_demo["s2j"]
    # The reasoner solves what it misjudges, and knows the answer where it does.
    assert 0.3 <= s2j["gap_before"] <= 0.45
    assert s2j["solve_rate_before"] >= 0.97
    assert s2j["inner_gap_before"] >= 0.25
    # Rewarding both closes the gap; rewarding the solution alone does not.
    assert s2j["gap_additive"] <= s2j["gap_before"] / 2
    assert s2j["gap_change_ci"][1] < 0
    assert s2j["gap_change_solve_only_ci"][1] > 0
    assert s2j["gap_minus_solve_only_ci"][1] < 0
    assert s2j["follow_rate_additive"] > s2j["follow_rate_before"] > s2j["follow_rate_solve_only"]
    assert all(s2j["claims"].values())
    assert s2j["claims_held"] == s2j["num_claims"] == 7
    for name in ("before", "additive", "solve_only"):
        assert s2j[f"coverage_{name}"] > 0.95
        assert all(s2j[f"{rate}_{name}_ci"] is not None for rate in RATES)
    # The change is that of the two numbers beside it: paired, over the same questions.
    assert s2j["gap_change"] == pytest.approx(s2j["gap_additive"] - s2j["gap_before"], abs=0.01)

    page = Path(every_demo["report"]).read_text()
    for title in ("The gap, before and after", "What was learned, step by step", "7 of 7 claims"):
        assert title in page

    # The command that it proposes runs on the judge that it made.
    run = _folder(every_demo)
    judge = run / "artifacts" / "additive" / "judge"
    code, out, err = call(
        capsys,
        *("s2j", "gap", "--model", f"hf:{judge}", "--task", "chain:3", "--preset", "tiny"),
        *("--limit", 60, "--both-wrong", 10, "--interventions", 10, "--solves", 2),
        *("--runs", tmp_path, "--json"),
    )
    assert code == 0, err
    assert json.loads(out)["gap"] < s2j["gap_before"]


def _folder(every_demo):
    """The room's run: a whole one, beside the page of all rooms."""
    (folder,) = (Path(every_demo["report"]).parent / "s2j").iterdir()
    return folder


def test_a_run_keeps_every_draw_rollout_and_number(every_demo):
    folder, steps = _folder(every_demo), every_demo["s2j"]["steps"]
    with Run.open(folder) as run:
        rows, metrics = list(run.records("row", GapRow)), list(run.metrics())
        reports = list(run.records("report", GapReport))
    assert len(rows) == 3 * (200 + 100)
    assert [report.base_model for report in reports] == ["embedded:reasoner?batch_size=256"] * 3
    assert len(metrics) == 2 * steps
    assert {row["arm"] for row in metrics} == {"additive", "solve_only"}
    rollouts = {
        arm: list(read_rewards(folder / "artifacts" / arm / "rewards.jsonl"))
        for arm in ("additive", "solve_only")
    }
    first = {arm: [row for row in rows if row.step == 1] for arm, rows in rollouts.items()}
    # Both arms begin alike: with the same weights, questions and draws.
    assert [row.text for row in first["additive"]] == [row.text for row in first["solve_only"]]
    assert first["additive"] != first["solve_only"]
    asked = {row.item_id.partition("#")[0] for row in rows}
    assert not asked & {row.item_id for row in rollouts["additive"]}
    for arm, found in rollouts.items():
        assert len(found) == steps * 24 * 2 * 4, arm


@pytest.mark.slow
def test_the_same_seed_gives_the_same_numbers(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(room, "_STEPS", 3)
    monkeypatch.setattr(room, "_QUESTIONS", 60)
    shown = [
        room.demo(screen=Screen(), seed=seed, root=tmp_path / name)
        for seed, name in ((1, "first"), (1, "second"), (2, "third"))
    ]
    weights = [
        (each.folder / "artifacts/additive/judge/model.safetensors").read_bytes() for each in shown
    ]
    assert shown[0].summary == shown[1].summary
    assert shown[0].summary["gap_before"] != shown[2].summary["gap_before"]
    assert weights[0] == weights[1] != weights[2]
    # Three steps teach nothing, and then nobody may read that they did.
    out = capsys.readouterr().out
    assert shown[0].summary["claims"]["gap_minus_half"] is False
    assert "NO" in out
    assert "It did NOT hold that" in out
    assert "It did NOT hold that" in (shown[0].folder / "report.html").read_text()
    # Sentences fold as wide as a pipe is taken to be; tables must not need to.
    assert max(len(line.rstrip()) for line in out.splitlines() if line.startswith("  ")) <= 100


@pytest.fixture(scope="module")
def items():
    return task_items(ChainTask(3), split="report", limit=60, both_wrong=20, seed=0)


@pytest.fixture(scope="module")
def config():
    dials = {"solves": 2, "judgments": 2, "interventions": 20, "both_wrong": 20}
    return Config.tiny().model_copy(update=dials)


@pytest.fixture(scope="module")
def before(items, config):
    return probe("embedded:reasoner", items, config)


def test_a_rate_by_item_is_the_rate_of_the_report(before):
    rates = before.report.sampled
    for rate in ("gap", "follow_rate", "copy_rate"):  # as many draws of every item
        known = [share for share in before.by_item(rate).values() if share is not None]
        assert sum(known) / len(known) == pytest.approx(before.rates[rate].value, abs=0.02), rate
    assert set(before.by_item("gap")) == before.questions.ids
    assert len(before.by_item("solve_rate")) == 60
    assert len(before.by_item("copy_rate")) == 20
    assert before.rates["gap"] == rates.gap_frozen
    assert sum(before.cells[name].value for name in CELLS) == pytest.approx(1)


def test_a_bar_is_full_when_all_was_drawn(items, config):
    steps = []
    probe("embedded:reasoner", items, config, step=lambda: steps.append(1))
    assert len(steps) == num_calls(items, config)


def test_a_model_that_did_not_change_bears_out_no_change(before):
    told = {claim.key: claim for claim in claims(before, before, before)}
    assert {key for key, claim in told.items() if claim.held} == {
        "gap_change_solve_only",
        "copy_change",
        "solve_change",
    }
    assert told["gap_change"].difference.value == 0
    assert told["gap_change"].shown == "+0.000"
    assert told["gap_minus_half"].shown.startswith("+0.")


def test_what_cannot_be_told_is_not_held(before):
    blind = replace(before, made=())
    told = {claim.key: claim for claim in claims(before, blind, before)}
    assert told["follow_change"].difference == Estimate(value=None)
    assert told["follow_change"].shown == "n/a"
    assert not told["follow_change"].held


def test_threads_are_given_back():
    threads = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == threads
