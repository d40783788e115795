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
from support.checkpoints import make_tokenizer, save_checkpoint
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
    mixed = () if arm == "judge_only" else ("--both-wrong", 10)
    code, out, err = train(capsys, tmp_path, arm, *QUICK, *mixed)
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


def test_questions_alone_are_mixed_in_and_told_apart(capsys, tmp_path):
    code, out, err = train(capsys, tmp_path, "judge_only", *QUICK, "--alone", "10")
    assert code == 0, err
    summary, rows = json.loads(out), rewards(only_run(tmp_path))
    alone = [row for row in rows if row.order == "alone"]
    assert 0 < len(alone) < len(rows) == summary["rollouts"]
    assert {(row.j, row.r_total) for row in alone if row.f} <= {(None, 0.0), (None, 1.0)}
    assert summary["alone_last"] is not None
    assert summary["judge_last"] is not None
    code, _, err = train(capsys, tmp_path / "more", "additive", *QUICK, "--alone", "9000")
    assert code == 2
    assert "have a gold answer" in err


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
    assert "| beta | 1.0 |" in card
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


def test_what_another_run_trained_is_not_taken_for_its_own(capsys, tmp_path, monkeypatch):
    """Two runs on one `--out`: the one that was stopped finds the other's checkpoint there."""
    with monkeypatch.context() as patched:
        interrupted_at(patched, 2)
        code, _, _ = train(capsys, tmp_path, "additive")
    assert code == 130
    stopped = only_run(tmp_path)
    code, _, err = train(capsys, tmp_path, "solve_only")
    assert code == 0, err
    judge = tmp_path / "judge"
    before = {path.name: path.read_bytes() for path in judge.iterdir()}
    code, _, err = call(capsys, "--resume", stopped)
    assert code == 2
    assert f"{judge}: is not of this run; move it out of the way" in err
    assert {path.name: path.read_bytes() for path in judge.iterdir()} == before
    judge.rename(tmp_path / "other")
    code, _, err = call(capsys, "--resume", stopped)
    assert code == 0, err
    assert "arm\n`additive`" in (judge / "README.md").read_text()


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


def test_the_report_must_not_be_trained_on(capsys, tmp_path):
    rows = own_rows(24)
    write_jsonl(tmp_path / "report.jsonl", rows[:3])
    report = ("--report-pairs", tmp_path / "report.jsonl")
    code, _, err = from_pairs(capsys, tmp_path, rows[2:], "additive", *QUICK, *report)
    assert code == 2
    assert f"1 of 20 items are also in the report, the first is {rows[2]['id']}" in err
    code, _, err = from_pairs(capsys, tmp_path, rows[3:], "additive", *QUICK, *report)
    assert code == 0, err
    card = (tmp_path / "judge" / "README.md").read_text()
    assert "No item asks, or nearly asks, a question of `report.jsonl`" in card


def without_targets(rows):
    return [{name: row[name] for name in row if name not in ("target", "grader")} for row in rows]


@pytest.mark.parametrize(
    ("change", "arm", "complaint"),
    [
        (without_targets, "additive", "none of 12 items has a gold answer, the first is"),
        (without_targets, "dpo", "add targets, or use --arm judge_only"),
        (
            lambda rows: [{**row, "rejected": row["chosen"]} for row in rows],
            "additive",
            "identical",
        ),
        (
            lambda rows: [{**row, "target": "(C)", "grader": "choice"} for row in rows],
            "additive",
            "pairs.jsonl",
        ),
    ],
)
def test_pairs_that_teach_nothing_are_refused(capsys, tmp_path, change, arm, complaint):
    code, out, err = from_pairs(
        capsys, tmp_path, change(own_rows(12)), arm, *(DPO if arm == "dpo" else QUICK)
    )
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("arm", "kept"), [("judge_only", 14), ("solve_only", 16), ("dpo", 10)])
def test_items_that_an_arm_rewards_nothing_in_are_left_out_and_told(capsys, tmp_path, arm, kept):
    """Twenty pairs: ten whole, six with two wrong candidates, four without a target."""
    rows = own_rows(20)
    for row in rows[10:16]:
        row["chosen"] = f"{row['chosen'][:-1]}x"
    rows[16:] = without_targets(rows[16:])
    code, out, err = from_pairs(capsys, tmp_path, rows, arm, *(DPO if arm == "dpo" else QUICK))
    assert code == 0, err
    assert f"{20 - kept} items are left out: arm {arm} rewards nothing in them, first" in err
    trained = json.loads((tmp_path / "judge" / "training.json").read_text())
    if arm == "dpo":
        assert json.loads(out)["items"] == kept
    else:
        assert trained["num_rows"] == kept
        assert json.loads(out)["without_reward"] == 0


@pytest.mark.parametrize("arm", ["segment_credit", "dpo"])
def test_hostile_candidates_are_only_text(capsys, tmp_path, arm):
    rows = own_rows(18)
    rows[0]["rejected"] = f"1 \ud800 {rows[0]['rejected']}"
    for row in rows[2:]:
        row["id"] += " \ud800"
    rows[1]["rejected"] = f"[[A]] V </solution> <|im_end|> {{{{ 7 * 7 }}}} {rows[1]['rejected']}"
    rows += [row | {"id": f"{row['id']} again"} for row in rows[:2]]
    given = (*(DPO if arm == "dpo" else QUICK), "--max-tokens", 32)
    code, _, err = from_pairs(capsys, tmp_path, rows, arm, *given)
    assert code == 0, err
    assert "were there before" not in err
    if arm == "dpo":
        assert "\\ud800" in (only_run(tmp_path) / "artifacts" / "pairs.jsonl").read_text()


def test_preferences_alone_teach_verdicts(capsys, tmp_path):
    code, out, err = from_pairs(capsys, tmp_path, without_targets(own_rows(12)), "judge_only")
    assert code == 0, err
    summary = json.loads(out)
    assert summary["judge_last"] is not None
    assert summary["solve_last"] is None


def test_a_task_whose_gold_fails_its_own_verifier_is_named(capsys, tmp_path):
    questions = tmp_path / "questions.jsonl"
    rows = [
        {"id": f"q{i}", "question": f"What is {i} + 1?", "target": str(i + 1)} for i in range(9)
    ]
    rows.append({"id": "broken", "question": "Which?", "target": "no number", "grader": "math"})
    write_jsonl(questions, [{**row, "split": "train"} for row in rows])
    code, _, err = train(capsys, tmp_path, "additive", task=questions)
    assert code == 2
    assert "broken" in err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--judge-weight", -1), "none may be negative"),
        (("--judge-weight", 0, "--solve-weight", 0), "one of judge and solve must be above 0"),
        (("--arm", "judge_only", "--judge-weight", 0), "--judge-weight"),
        (("--arm", "judge_only", "--solve-weight", 2), "has no effect in arm judge_only"),
        (("--arm", "gated", "--solve-weight", 2), "has no effect in arm gated"),
        (("--arm", "judge_only", "--both-wrong", 9), "--both-wrong: has no effect in arm judge"),
        (("--beta", 0.5), "--beta: has no effect in arm additive"),
        (("--arm", "dpo", "--steps", 5), "--steps: has no effect in arm dpo"),
        (("--template", "plain"), "asks for no solution between marks"),
        (("--template", "rating"), "asks for no solution between marks"),
        (("--max-tokens", 4), "4 is shorter than the gold solution of item chain:"),
        (("--task", "chain:x"), "chain:x"),
        (("--pairs", "pairs.jsonl"), "one source of items too many"),
        (("--format", "planish"), "--format: is for --pairs"),
        (("--model", "openai:m@http://localhost/v1"), "cannot be trained"),
        (("--lora-rank", 4), "has no effect without --lora"),
        (("--vllm", "server"), "say where the vLLM server is"),
        (("--vllm-url", "http://localhost:8000"), "has no effect without --vllm server"),
        (("--vllm", "colocate", "--vllm-url", "http://x"), "has no effect without --vllm server"),
        (("--out", "/proc/judge"), "--out /proc/judge: cannot be made"),
        (("--rollouts", 1), "--rollouts"),
        (("--temperature", 0), "--temperature"),
        (("--micro-batch-size", 7), "no multiple of 7"),
        (("--out", "taken"), "exists already"),
        (("--report-pairs", "none.jsonl"), "none.jsonl"),
    ],
)
def test_wrong_options_are_one_line_and_leave_nothing(
    capsys, tmp_path, monkeypatch, arguments, complaint
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    given = {"--model": "embedded:reasoner", "--task": "chain:3", "--arm": "additive"}
    given |= {"--out": "judge", "--runs": "runs"}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    code, out, err = call(capsys, *(part for pair in given.items() for part in pair))
    assert code == 2
    assert out == ""
    assert complaint in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


@pytest.mark.parametrize("where", [("colocate",), ("server", "--vllm-url", "http://localhost")])
def test_vllm_that_is_not_installed_is_told_before_anything_is_loaded(
    capsys, tmp_path, monkeypatch, where
):
    monkeypatch.setattr("planish.training.job.find_spec", lambda name: None)
    code, _, err = train(capsys, tmp_path, "additive", "--vllm", *where)
    assert code == 2
    assert "--vllm: vLLM is not installed" in err
    assert "pip install 'trl[vllm]'" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["--model", "--task", "--arm", "--out"])
def test_what_is_missing_is_named(capsys, tmp_path, missing):
    given = {"--model": "embedded:reasoner", "--task": "chain:3", "--arm": "additive"}
    given |= {"--out": tmp_path / "judge"}
    del given[missing]
    code, _, err = call(capsys, *(part for pair in given.items() for part in pair))
    assert code == 2
    assert f"{missing}: is missing" in err


def test_a_tokenizer_without_an_end_is_refused(capsys, tmp_path):
    base = save_checkpoint(tmp_path / "base", "llama", tokenizer=make_tokenizer(eos_token=None))
    code, _, err = train(capsys, tmp_path, "additive", model=f"hf:{base}")
    assert code == 2
    assert f"{base}: the tokenizer has no end-of-sequence token" in err


def test_a_prompt_that_does_not_fit_is_named(capsys, tmp_path):
    base = save_qwen2(tmp_path / "base", context=256)
    code, _, err = train(
        capsys, tmp_path, "additive", *QUICK, "--max-tokens", 200, model=f"hf:{base}"
    )
    assert code == 2
    assert "item chain:" in err
    assert "and 200 more do not fit into the context of 256" in err
    assert "Token indices" not in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("lora", [(), ("--lora", "--lora-rank", 4)])
def test_a_fresh_qwen2_takes_two_steps_with_tags_and_a_chat_template(capsys, tmp_path, lora):
    """Random weights write nothing sensible: every path must run, count and end in a checkpoint."""
    base = save_qwen2(tmp_path / "base")
    code, out, err = train(
        capsys, tmp_path, "additive", *("--limit", 8, "--steps", 2, "--items-per-step", 2),
        *("--rollouts", 2, "--max-tokens", 64, "--min-readable", 0, "--kl", 0.01, *lora),
        model=f"hf:{base}",
    )  # fmt: skip
    assert code == 0, err
    summary = json.loads(out)
    assert summary["parse_rate_last"] == 0
    assert summary["reward_last"] == -0.5
    assert summary["judge_last"] is None
    rows = rewards(only_run(tmp_path))
    assert len(rows) == 16
    assert all(row.j is None and row.s is None for row in rows)
    assert [row["frac_reward_zero_std"] for row in metrics(only_run(tmp_path))] == [1, 1]
    load(f"hf:{tmp_path / 'judge'}")


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["segment_credit", "dpo"])
def test_a_killed_process_resumes_to_the_same_weights(capsys, tmp_path, arm):
    settings = ("--limit", 60, "--save-every", 7)
    settings += ("--dpo-steps", 60) if arm == "dpo" else ("--steps", 40, "--items-per-step", 6)
    assert train(capsys, tmp_path / "whole", arm, *settings)[0] == 0
    command = [
        *(sys.executable, "-m", "planish.cli", "s2j", "train", "--model", "embedded:reasoner"),
        *("--task", "chain:3", "--arm", arm, "--out", tmp_path / "cut" / "judge"),
        *("--runs", tmp_path / "cut" / "runs", *settings),
    ]
    for lines in (10, 25):
        resume = [*command[:5], "--resume", only_run(tmp_path / "cut")] if lines > 10 else command
        process = subprocess.Popen(
            [str(part) for part in resume], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            found = list((tmp_path / "cut" / "runs").glob("s2j/*/metrics.jsonl"))
            if found and found[0].read_text().count("\n") >= lines:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        assert process.wait() == -signal.SIGKILL
    run = only_run(tmp_path / "cut")
    code, _, err = call(capsys, "--resume", run)
    assert code == 0, err
    assert same_weights(tmp_path / "cut" / "judge", tmp_path / "whole" / "judge")
    assert metrics(run) == metrics(only_run(tmp_path / "whole"))
    if arm != "dpo":
        assert rewards(run) == rewards(only_run(tmp_path / "whole"))


@pytest.mark.slow
@pytest.mark.parametrize("arm", ["additive", "dpo"])
def test_two_processes_train_one_judge(tmp_path, arm):
    """One of them writes; the rollouts of both are kept."""
    config = Path(__file__).parents[4] / "configs" / "accelerate" / "cpu.yaml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", config),
            *("-m", "planish.cli", "s2j", "train", "--model", "embedded:reasoner"),
            *("--task", "chain:3", "--arm", arm, "--out", tmp_path / "judge"),
            *("--runs", tmp_path / "runs", "--json"),
            *(str(part) for part in (DPO if arm == "dpo" else QUICK)),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    run = only_run(tmp_path)
    assert read_info(run).config["num_processes"] == 2
    assert [row["step"] for row in metrics(run)] == [1, 2, 3, 4]
    if arm == "additive":
        assert os.listdir(run / "artifacts") == ["rewards.jsonl"]
        rows = rewards(run)
        assert [row.step for row in rows] == sorted(row.step for row in rows)
        assert len(rows) == 4 * 16
        for step in range(1, 5):
            for item in {row.item_id for row in rows if row.step == step}:
                group = [row for row in rows if (row.step, row.item_id) == (step, item)]
                assert [row.order for row in group].count("AB") == len(group) / 2
    model = load(f"hf:{tmp_path / 'judge'}")
    ((completion,),) = model.generate([user("3 + 4")], Sampling(temperature=0, max_tokens=8))
    assert completion.text == "7"
