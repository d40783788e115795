"""`planish s2j train` through its command line: every arm, killed and resumed, wrong input."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from planish.cli import main
from planish.judges.pairs import task_cases
from planish.methods.s2j.learning.config import TrainConfig
from planish.methods.s2j.learning.rewarding import read_rewards
from planish.models import load
from planish.records import Sampling, user, write_jsonl
from planish.runs.info import read_info
from planish.tasks.chain import ChainTask
from planish.training.callbacks import Recorder
from support.checkpoints import make_tokenizer
from support.training import save_qwen2

QUICK = ("--limit", 20, "--steps", 4, "--items-per-step", 4, "--rollouts", 2, "--save-every", 2)
DPO = ("--limit", 20, "--samples", 4, "--dpo-steps", 4, "--dpo-batch-size", 8, "--save-every", 2)
CLOCK = ("step_time",)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["s2j", "train", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def train(capsys, folder, arm, *arguments, model="embedded:reasoner", task="chain:3"):
    return call(
        capsys,
        *("--model", model, "--task", task, "--arm", arm, "--out", folder / "judge"),
        *("--runs", folder / "runs", "--json"),
        *(arguments or (DPO if arm == "dpo" else QUICK)),
    )


def only_run(folder):
    (run,) = (folder / "runs" / "s2j").iterdir()
    return run


def metrics(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name not in CLOCK} for row in rows]


def rewards(run):
    return list(read_rewards(run / "artifacts" / "rewards.jsonl"))


def same_weights(one, other):
    one, other = (load_file(folder / "model.safetensors") for folder in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def interrupted_at(monkeypatch, step):
    """Ctrl-C at the end of a step."""
    ended = Recorder.on_step_end

    def interrupt(self, args, state, control, **more):
        ended(self, args, state, control, **more)
        if state.global_step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "on_step_end", interrupt)


@pytest.mark.parametrize("arm", ["judge_only", "solve_only", "additive", "gated", "segment_credit"])
def test_every_arm_ends_in_a_checkpoint_with_card_report_and_all_rewards(capsys, tmp_path, arm):
    code, out, err = train(capsys, tmp_path, arm, *QUICK, "--both-wrong", 10)
    assert code == 0, err
    summary, run, judge = json.loads(out), only_run(tmp_path), tmp_path / "judge"
    assert len(out.splitlines()) == 1
    assert (summary["run"], summary["out"]) == (str(run), str(judge))
    assert (summary["steps"], summary["rollouts"]) == (4, 4 * 4 * 2 * 2)
    for name in ("reward", "judge", "solve", "parse_rate"):
        for when in ("first", "last"):
            low, high = summary[f"{name}_{when}_ci"]
            assert low <= summary[f"{name}_{when}"] <= high

    rows = rewards(run)
    assert [row.step for row in rows] == sorted(row.step for row in rows)
    assert len(rows) == summary["rollouts"]
    weight = TrainConfig.tiny().reward_weights
    for row in rows:
        assert row.arm == arm
        if not row.f:
            assert (row.j, row.s, row.r_total) == (None, None, -weight.penalty)
            continue
        assert row.s is not None
        assert (row.j is None) == row.item_id.endswith("#both-wrong")
        wanted = {
            "judge_only": row.j,
            "solve_only": row.s,
            "gated": (row.j or 0) * row.s + 0.2 * row.s,
        }
        assert row.r_total == pytest.approx(wanted.get(arm, (row.j or 0) + row.s))
    # Both orders of an item share one baseline: its advantages add up to nothing.
    for step in range(1, 5):
        for item in {row.item_id for row in rows if row.step == step}:
            group = [row for row in rows if (row.step, row.item_id) == (step, item)]
            assert {row.order for row in group} == {"AB", "BA"}
            if arm != "segment_credit" and all(row.r_total is not None for row in group):
                assert sum(row.advantage for row in group) == pytest.approx(0, abs=1e-4)

    logged = metrics(run)
    assert [row["step"] for row in logged] == [1, 2, 3, 4]
    names = {"loss", "reward", "reward_std", "frac_reward_zero_std", "readable", "entropy"}
    names |= {"part/form", "part/judge", "part/solve", "completions/mean_length"}
    assert names <= set(logged[-1])
    assert read_info(run).status == "done"
    assert sorted(os.listdir(run / "artifacts")) == ["rewards.jsonl"]  # optimizer states are gone

    card = (judge / "README.md").read_text()
    assert f"arm\n`{arm}`" in card
    assert "| steps | 4 |" in card
    assert str(tmp_path) not in card
    [use] = [line.strip() for line in card.splitlines() if line.startswith("    planish")]
    assert shlex.split(use)[:5] == ["planish", "rise", "judge", "--model", "hf:./judge"]
    page = (run / "report.html").read_text()
    assert page.count("<figure") >= 5
    model = load(f"hf:{judge}")
    ((completion,),) = model.generate([user("3 + 4")], Sampling(temperature=0, max_tokens=8))
    assert completion.text == "7"


def test_the_additive_reward_mends_the_verdict(capsys, tmp_path):
    """Few steps, and no more is claimed than a direction."""
    settings = ("--limit", 400, "--steps", 40, "--items-per-step", 16)
    code, out, err = train(capsys, tmp_path, "additive", *settings)
    assert code == 0, err
    summary = json.loads(out)
    assert summary["judge_last"] > summary["judge_first_ci"][1]
    assert summary["solve_last"] > summary["solve_first"]


def test_pairs_of_its_own_judgments_teach_offline(capsys, tmp_path):
    code, out, err = train(capsys, tmp_path, "dpo")
    assert code == 0, err
    summary, run = json.loads(out), only_run(tmp_path)
    lines = (run / "artifacts" / "pairs.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert len(rows) == summary["pairs"] > 0
    assert [row["gold"] for row in rows].count("A") == len(rows) / 2
    faults = {name: summary.get(f"rejected_for_{name}", 0) for name in ("verdict", "solution")}
    assert faults["verdict"] > 0
    for row in rows:
        question = row["question"]
        answer = ChainTask().example(question).target
        right = {
            side: (row[side][0]["content"].split(" V ")[0][-1:] == answer)
            for side in ("chosen", "rejected")
        }
        names_gold = {
            side: row[side][0]["content"].endswith(f"[[{row['gold']}]]")
            for side in ("chosen", "rejected")
        }
        assert right["chosen"]
        assert names_gold["chosen"]
        fault = {(True, False): "verdict", (False, True): "solution", (False, False): "both"}
        assert row["rejected_fault"] == fault[right["rejected"], names_gold["rejected"]]
    assert summary["parse_rate"] > 0.9
    assert 0 < summary["right_before"] < 1
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 4]
    card = (tmp_path / "judge" / "README.md").read_text()
    assert "| beta | 0.1 |" in card
    assert "items_per_step" not in card


@pytest.mark.parametrize("arm", ["additive", "dpo"])
def test_interrupted_training_resumes_to_the_same_numbers(capsys, tmp_path, monkeypatch, arm):
    assert train(capsys, tmp_path / "whole", arm)[0] == 0
    with monkeypatch.context() as patch:
        interrupted_at(patch, 3)
        code, _, err = train(capsys, tmp_path / "cut", arm)
    run = only_run(tmp_path / "cut")
    assert code == 130
    assert f"go on with: planish s2j train --resume {run}" in err
    assert not (tmp_path / "cut" / "judge").exists()
    if arm == "additive":  # a torn line of a kill goes with the rows of its step
        assert rewards(run)[-1].step == 3
        with (run / "artifacts" / "rewards.jsonl").open("a") as torn:
            torn.write('{"step": 4, "item_')
    code, _, err = call(capsys, "--resume", run, "--json")
    assert code == 0, err
    whole = only_run(tmp_path / "whole")
    assert same_weights(tmp_path / "cut" / "judge", tmp_path / "whole" / "judge")
    assert metrics(run) == metrics(whole)
    assert read_info(run).summary == read_info(whole).summary
    if arm == "additive":
        assert rewards(run) == rewards(whole)
    else:
        assert "judgments were there before" not in err  # the pairs were, and nothing was drawn
    # A run that is done is shown again, and nothing is trained.
    assert call(capsys, "--resume", run)[0] == 0
    assert read_info(run).summary == read_info(whole).summary


def test_a_drawing_that_was_interrupted_draws_nothing_again(capsys, tmp_path, monkeypatch):
    from planish.methods.s2j.learning import offline

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(offline, "solved_pairs", stop)
        assert train(capsys, tmp_path, "dpo")[0] == 130
    code, _, err = call(capsys, "--resume", only_run(tmp_path))
    assert code == 0, err
    assert "160 of 160 judgments were there before" in err


def test_a_resume_must_match(capsys, tmp_path):
    assert train(capsys, tmp_path, "additive")[0] == 0
    run = only_run(tmp_path)
    code, _, err = call(capsys, "--resume", run, "--penalty", 0.25)
    assert code == 2
    assert "started with penalty = 0.5, this is 0.25" in err
    code, _, err = call(capsys, "--resume", run, "--arm", "gated")
    assert code == 2
    assert 'started with arm = "additive"' in err


def test_rollouts_without_the_form_stop_it_at_once_and_by_name(capsys, tmp_path):
    """The reasoner never saw these tags; the first item is named before hours are spent."""
    code, out, err = train(
        capsys, tmp_path, "additive", *QUICK, "--template", "solve_first", "--max-tokens", 60,
        model=f"hf:{save_qwen2(tmp_path / 'fresh')}",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert "item chain:" in err
    assert "only 0 of 16 rollouts have the form" in err
    assert read_info(only_run(tmp_path)).status == "failed"


def test_a_falling_parse_rate_ends_it_and_names_the_last_good_checkpoint(
    capsys, tmp_path, monkeypatch
):
    from planish.methods.s2j.learning import rewarding

    scored = rewarding.ItemRewarder.__call__
    calls = []

    def forgets(self, rollouts):
        calls.append(len(rollouts))
        scores = scored(self, rollouts)
        if len(calls) < 4:
            return scores
        return [type(score)(total=-0.5, readable=False, parts=score.parts) for score in scores]

    with monkeypatch.context() as patch:
        patch.setattr(rewarding.ItemRewarder, "__call__", forgets)
        code, out, err = train(capsys, tmp_path, "additive")
    run = only_run(tmp_path)
    kept = run / "artifacts" / "grpo-checkpoints" / "checkpoint-2"
    assert (code, out) == (1, "")
    assert "only 0 of 16 rollouts have the form that was asked for at step 4" in err
    assert f"the last good checkpoint is that of step 2, kept as hf:{kept}" in err
    assert "Traceback" not in err
    assert read_info(run).status == "failed"
    model = load(f"hf:{kept}")
    ((completion,),) = model.generate([user("3 + 4")], Sampling(temperature=0, max_tokens=8))
    assert completion.text == "7"
    # It can go on from there: the model was not to blame.
    code, _, err = call(capsys, "--resume", run)
    assert code == 0, err
    assert [row.step for row in rewards(run)][-1] == 4


def test_numbers_that_are_none_end_with_the_step(capsys, tmp_path):
    code, _, err = train(capsys, tmp_path, "additive", *QUICK, "--learning-rate", 1e30)
    assert code == 1
    assert "at step" in err
    assert "the last good checkpoint is" in err
    assert "Traceback" not in err


def test_a_verifier_that_breaks_down_is_counted_and_is_no_zero(capsys, tmp_path, monkeypatch):
    verify = ChainTask.verify

    def breaks(self, example, reply):
        if reply.endswith("7"):
            raise RuntimeError("no more")
        return verify(self, example, reply)

    real = train  # the items are made with the verifier whole
    from planish.methods.s2j import data

    prepared = data.task_items

    def then_breaks(*arguments, **options):
        items = prepared(*arguments, **options)
        monkeypatch.setattr(ChainTask, "verify", breaks)
        return items

    monkeypatch.setattr("planish.methods.s2j.learning.lesson.task_items", then_breaks)
    code, out, err = real(capsys, tmp_path, "solve_only")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["unverified"] == summary["without_reward"] > 0
    assert "solutions could not be verified: the verifier failed (RuntimeError: no more)" in err
    unknown = [row for row in rewards(only_run(tmp_path)) if row.f and row.s is None]
    assert len(unknown) == summary["unverified"]
    assert all(row.r_total is None and row.advantage == 0 for row in unknown)


def test_pairs_of_a_file_with_answers_of_two_kinds(capsys, tmp_path):
    """Rows without a target bring their verdict only."""
    rows = own_rows(24)
    for row in rows[12:]:
        del row["target"], row["grader"]
    code, out, err = from_pairs(capsys, tmp_path, rows, "additive")
    assert code == 0, err
    known = {row["id"]: "target" in row for row in rows}
    for row in rewards(only_run(tmp_path)):
        if row.f:
            assert (row.s is not None) == known[row.item_id]
            assert row.j is not None
            assert row.r_total == row.j + (row.s or 0)
    assert json.loads(out)["unverified"] > 0


@pytest.mark.parametrize("fewest", [2, 3])
def test_a_solution_shorter_than_asked_has_not_the_form(capsys, tmp_path, fewest):
    """Two partial results are two tokens: at two everything is as it was, at three nothing is."""
    code, out, err = train(capsys, tmp_path, "judge_only", *QUICK, "--min-solution-tokens", fewest)
    assert code == 0, err  # still readable: training goes on, and punishes
    rate = json.loads(out)["parse_rate_first"]
    assert rate > 0.8 if fewest == 2 else rate < 0.2


def own_rows(number):
    rows = []
    for case in task_cases(ChainTask(), split="train", limit=number, seed=1):
        right = case.replies["AB".index(case.gold)]
        wrong = case.replies["BA".index(case.gold)]
        rows.append(
            {
                "id": case.id,
                "prompt": case.example.prompt[-1].content,
                "chosen": right,
                "rejected": wrong,
                "target": right,
                "grader": "exact",
            }
        )
    return rows


def from_pairs(capsys, folder, rows, arm, *arguments):
    write_jsonl(folder / "pairs.jsonl", rows)
    return call(
        capsys,
        *("--model", "embedded:reasoner", "--pairs", folder / "pairs.jsonl", "--arm", arm),
        *("--out", folder / "judge", "--runs", folder / "runs", "--json"),
        *(arguments or QUICK),
    )
