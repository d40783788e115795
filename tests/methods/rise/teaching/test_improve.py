"""`planish rise improve` through the real command line: better, or refused, killed and resumed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from planish.cli import main
from planish.embedded import path as embedded
from planish.methods.rise.teaching import improve as stage
from planish.methods.rise.teaching.comparison import Side, compare, duels_of, lost
from planish.methods.rise.teaching.config import ImproveConfig
from planish.models import load
from planish.models.scripted import ScriptedModel, find_replies, verdict
from planish.records import Completion, Failure, Sampling, read_jsonl, user, write_jsonl
from planish.runs.info import read_info
from planish.runs.presets import resolve
from planish.tasks.chain import ChainTask
from planish.training.callbacks import Recorder
from planish.training.rewards import round_robin
from support.training import save_qwen2, turn

TASK = ChainTask()
QUICK = ("--preset", "tiny", "--dpo-steps", 6, "--save-every", 2, "--limit", 40)
HOT = ("--temperature", 2)
OTHER = ("--judge", "scripted:other", "--template", "plain")
LABELS = {"by": "judge", "judge": "scripted:labels", "judge_revision": "labels-1"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return stop.value.code, captured.out, captured.err


def labelled(path, count=96, *, split="train", **changes):
    """Rows as `planish rise label` writes them: the gold against one slip."""
    rows = [
        {
            "prompt": turn(example.prompt[0].content),
            "chosen": turn(TASK.gold(example), "assistant"),
            "rejected": turn(TASK.wrong(example), "assistant"),
            "item_id": example.id,
            "question": example.prompt[0].content,
            **LABELS,
            **changes,
        }
        for example in TASK.examples(split, count)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)
    return path


@pytest.fixture
def pairs(tmp_path):
    return labelled(tmp_path / "labels" / "dpo.jsonl").parent


def improve(capsys, pairs, folder, *more, policy="embedded:reasoner", task="chain"):
    code, printed, err = call(
        capsys,
        *("rise", "improve", "--policy", policy, "--pairs", pairs, "--task", task),
        *("--out", folder / "better", "--runs", folder / "runs"),
        *(more or QUICK),
        "--json",
    )
    return code, json.loads(printed) if printed else None, err


def only_run(folder):
    (run,) = (folder / "runs" / "rise").iterdir()
    return run


def records(run, kind):
    rows = [row for _, row in read_jsonl(run / "records.jsonl")]
    return {row["id"]: row["data"] for row in rows if row["kind"] == kind}


def same_weights(one, other):
    one, other = (load_file(folder / "model.safetensors") for folder in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def by_length(chat, seed, sample):
    """Another judge: the shorter reply."""
    first, second = (len(reply) for reply in find_replies(chat))
    return verdict(chat, "A" if first < second else "B" if second < first else "tie")


class Counting:
    """A script that counts what it is asked, stops at some call, or loses calls."""

    def __init__(self, script, stop_at=None, lost=lambda asked: False):
        self.script, self.stop_at, self.lost, self.asked = script, stop_at, lost, 0

    def __call__(self, chat, seed, sample):
        if self.asked == self.stop_at:
            raise KeyboardInterrupt
        self.asked += 1
        if self.lost(self.asked):
            failure = Failure(attempt=1, kind="timeout")
            return Completion(text="", finish="error", failures=(failure,))
        return self.script(chat, seed, sample)


def use_judge(monkeypatch, script=by_length, revision="other-1"):
    real = stage.load
    monkeypatch.setattr(
        stage,
        "load",
        lambda spec: (
            ScriptedModel(spec, script, revision=revision)
            if spec == "scripted:other"
            else real(spec)
        ),
    )


# ---- what it is for ------------------------------------------------------------------------------


def test_pairs_of_right_and_wrong_make_a_policy_better(capsys, monkeypatch, tmp_path):
    """At a temperature at which the reasoner slips in a quarter of its replies."""
    judge = Counting(by_length)
    use_judge(monkeypatch, judge)
    pairs = labelled(tmp_path / "labels" / "dpo.jsonl", 400).parent
    code, result, err = improve(
        *(capsys, pairs, tmp_path, "--preset", "tiny", "--dpo-steps", 60, *HOT),
        *("--limit", 300, *OTHER),
    )
    assert code == 0, err
    assert 0.6 < result["solve_before"] < 0.85
    assert result["solve_after"] - result["solve_before"] == pytest.approx(
        result["solve_difference"]
    )
    assert result["solve_difference_ci"][0] > 0
    assert result["solve_p_value"] < 0.01
    assert result["only_after_solves"] > 2 * result["only_before_solves"]
    assert result["dpo_pair_accuracy"] > 0.9
    assert result["num_duels"] + result["num_identical"] == 300
    assert judge.asked == result["judge_calls"] == 2 * result["num_duels"]
    assert result["chars_difference"] == pytest.approx(
        result["chars_after"] - result["chars_before"]
    )

    run = only_run(tmp_path)
    info = read_info(run)
    assert (info.status, info.stage) == ("done", "improve")
    assert info.summary["solve_difference"] == result["solve_difference"]
    scores, replies = records(run, "score"), records(run, "replies")
    examples = list(TASK.examples("report", 300))
    assert list(scores) == list(replies) == [example.id for example in examples]
    for when in ("before", "after"):
        rights = [TASK.verify(e, replies[e.id][when][0]).score == 1 for e in examples]
        assert sum(rights) / 300 == pytest.approx(result[f"solve_{when}"])
        assert [scores[e.id][f"solved_{when}"] for e in examples] == rights
    wins = [score["win"] for score in scores.values()]
    assert result["win_rate"] == pytest.approx(sum(wins) / 300)

    card = (tmp_path / "better" / "README.md").read_text()
    for text in (
        "A policy, made from `embedded:reasoner` by DPO",
        f"| solve_before | {result['solve_before']:.3f} [",
        "| dpo_steps | 60 |",
        "report split of `chain`",
        "- policy",
        run.name,
    ):
        assert text in card
    assert "llm-as-a-judge" not in card
    page = (run / "report.html").read_text()
    for text in ("solved before", "DPO with NLL on pairs of replies", "McNemar", examples[0].id):
        assert text.replace("+", "&#43;") in page or text in page
    model = load(f"hf:{tmp_path / 'better'}")
    ((completion,),) = model.generate([user("3 + 4 - 5")], Sampling(temperature=0, max_tokens=8))
    assert completion.text == "7 2"


def test_a_policy_that_did_not_change_ties_with_itself(capsys, monkeypatch, tmp_path, pairs):
    """Identical replies are ties that no judge is asked about."""

    def never(chat, seed, sample):
        raise AssertionError("asked")

    use_judge(monkeypatch, never)
    code, result, err = improve(
        *(capsys, pairs, tmp_path, *QUICK, "--dpo-learning-rate", "1e-12"),
        *(*OTHER, "--samples", 2),
    )
    assert code == 0, err
    assert result["solve_difference"] == result["chars_difference"] == 0
    assert (result["win_rate"], result["num_identical"], result["num_duels"]) == (0.5, 80, 0)
    assert "solve_p_value" not in result  # two replies a prompt: no test of right or wrong


def test_text_output_tells_before_and_after_and_what_comes_next(capsys, tmp_path, pairs):
    code, out, _ = call(
        capsys,
        *("rise", "improve", "--policy", "embedded:reasoner", "--pairs", pairs),
        *("--task", "chain", "--out", tmp_path / "better", "--runs", tmp_path / "runs", *QUICK),
    )
    assert code == 0
    for text in ("solved before", "solved, after − before", "exact McNemar", "rise label --policy"):
        assert text in out
    assert "the other judge" not in out


# ---- the rewarding judge, and report items -------------------------------------------------------


@pytest.mark.parametrize("known", ["name", "revision"])
def test_the_judge_that_made_the_labels_is_refused(capsys, monkeypatch, tmp_path, known):
    use_judge(monkeypatch, revision="r-2")
    change = {"judge": "scripted:other"} if known == "name" else {"judge_revision": "r-2"}
    first = labelled(tmp_path / "labels" / "a.jsonl", 5).read_text()
    second = labelled(tmp_path / "labels" / "b.jsonl", 9, **change).read_text().splitlines()[5:]
    pairs = tmp_path / "labels" / "dpo.jsonl"
    pairs.write_text(first + "\n".join(second) + "\n")
    code, _, err = improve(capsys, pairs, tmp_path, *QUICK, *OTHER)
    assert code == 2
    assert f"--judge: scripted:other made the labels ({pairs}:6)" in err
    assert "name another judge" in err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "better").exists()


def test_a_copy_of_the_rewarding_judge_is_refused(capsys, tmp_path):
    revision = load("embedded:reasoner").revision
    change = {"judge": "embedded:reasoner", "judge_revision": revision}
    pairs = labelled(tmp_path / "dpo.jsonl", 20, **change)
    shutil.copytree(embedded("reasoner"), tmp_path / "copy")
    code, _, err = improve(capsys, pairs, tmp_path, *QUICK, "--judge", f"hf:{tmp_path / 'copy'}")
    assert code == 2
    assert "made the labels" in err


def test_report_items_among_the_labels_are_refused(capsys, tmp_path):
    pairs = labelled(tmp_path / "dpo.jsonl", 40, split="report")
    code, _, err = improve(capsys, pairs, tmp_path)
    assert code == 2
    first = next(TASK.examples("report", 1)).id
    assert f"40 of 40 rows are also in the report, the first is {first}" in err
    assert "same id" in err
    # The same questions under other names, by their prompts alone.
    pairs = labelled(tmp_path / "dpo.jsonl", 40, split="report", item_id="row", question=None)
    code, _, err = improve(capsys, pairs, tmp_path)
    assert code == 2
    assert "same question" in err
    assert not (tmp_path / "runs").exists()


def test_nearly_a_report_question_is_refused(capsys, tmp_path):
    question = (
        "A farmer has twelve brown hens and four white ducks, and every bird lays one egg each "
        "morning; how many eggs are in the basket at noon?"
    )
    task = tmp_path / "questions.jsonl"
    write_jsonl(task, [{"id": "hens", "question": question, "target": "16", "split": "report"}])
    pairs = tmp_path / "dpo.jsonl"
    row = {"chosen": turn("16", "assistant"), "rejected": turn("12", "assistant")}
    write_jsonl(pairs, [{"prompt": turn(question.replace("brown", "red")), **row, **LABELS}])
    model = save_qwen2(tmp_path / "model")
    arguments = (capsys, pairs, tmp_path, "--dpo-steps", 1, "--max-tokens", 4)
    code, _, err = improve(*arguments, policy=f"hf:{model}", task=task)
    assert code == 2
    assert "nearly the same question" in err
    code, _, err = improve(*arguments, "--near-duplicate", "0.99", policy=f"hf:{model}", task=task)
    assert code == 0, err


# ---- real checkpoints ----------------------------------------------------------------------------


@pytest.mark.parametrize("lora", [(), ("--lora", "--lora-rank", 4)])
def test_a_fresh_qwen2_and_a_file_of_questions(capsys, monkeypatch, tmp_path, lora):
    """Random weights solve nothing; every path must run and count honestly."""
    use_judge(monkeypatch)
    task = tmp_path / "questions.jsonl"
    write_jsonl(
        task, [{"question": f"What is {n} plus {n}?", "target": str(2 * n)} for n in range(60)]
    )
    model = save_qwen2(tmp_path / "model")
    pairs = tmp_path / "dpo.parquet"
    rows = [
        {
            "prompt": turn(f"What is {n} minus {n}?"),
            "chosen": turn("the quick brown fox", "assistant"),
            "rejected": turn("the lazy dog over there", "assistant"),
            **LABELS,
        }
        for n in range(8)
    ]
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(rows), pairs)
    code, result, err = improve(
        *(capsys, pairs, tmp_path, "--dpo-steps", 2, "--dpo-batch-size", 4, *lora),
        *("--dpo-learning-rate", "1e-2", "--max-tokens", 6, *OTHER),
        policy=f"hf:{model}",
        task=task,
    )
    assert code == 0, err
    num_report = result["num_prompts"]
    assert 3 < num_report < 30
    assert result["policy_calls"] == 2 * num_report
    assert result["num_duels"] + result["num_identical"] == num_report
    assert result["num_duels"] > 0  # such a learning rate changes what it says
    assert result["dpo_steps"] == 2
    assert (tmp_path / "better" / "adapter").exists() == bool(lora)
    assert not same_weights(tmp_path / "better", model)
    assert load(f"hf:{tmp_path / 'better'}").generate([user("a")], Sampling(max_tokens=3))


# ---- going on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["training", "comparison"])
def test_an_interrupted_run_resumes_to_the_same_numbers(
    capsys, monkeypatch, tmp_path, pairs, where
):
    options = (*QUICK, *HOT, *OTHER, "--dpo-learning-rate", "3e-3")
    whole_judge = Counting(by_length)
    use_judge(monkeypatch, whole_judge)
    code, whole, err = improve(capsys, pairs, tmp_path / "whole", *options)
    assert code == 0, err
    assert whole_judge.asked > 6
    ended = Recorder.on_step_end
    stops = Counting(by_length, stop_at=5 if where == "comparison" else None)

    def interrupt(self, args, state, control, **more):
        ended(self, args, state, control, **more)
        if state.global_step == 5 and where == "training":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", interrupt)
        use_judge(patch, stops)
        code, _, err = improve(capsys, pairs, tmp_path / "cut", *options)
    assert code == 130
    assert "go on with: planish rise improve --resume" in err
    run = only_run(tmp_path / "cut")
    assert read_info(run).status == "interrupted"
    assert (tmp_path / "cut" / "better").exists() == (where == "comparison")
    goes_on = Counting(by_length)
    use_judge(monkeypatch, goes_on)
    code, out, err = call(capsys, "rise", "improve", "--resume", run, "--json")
    assert code == 0, err
    assert stops.asked + goes_on.asked == whole_judge.asked
    places = {"run": 0, "report": 0, "out": 0}
    assert {**json.loads(out), **places} == {**whole, **places}
    assert same_weights(tmp_path / "cut" / "better", tmp_path / "whole" / "better")
    # Once more: nothing is trained, asked or recorded again.
    idle = Counting(by_length)
    use_judge(monkeypatch, idle)
    code, _, err = call(capsys, "rise", "improve", "--resume", run, "--json")
    assert (code, idle.asked) == (0, 0), err
    assert len(records(run, "score")) == 40
    assert len((run / "records.jsonl").read_text().splitlines()) == 81


@pytest.mark.slow
def test_a_killed_process_resumes_to_the_same_weights(capsys, tmp_path, pairs):
    options = ("--preset", "tiny", "--dpo-steps", 60, "--save-every", 7, "--limit", 40, *HOT)
    code, whole, err = improve(capsys, pairs, tmp_path / "whole", *options)
    assert code == 0, err
    cut = tmp_path / "cut"
    command = [
        *(sys.executable, "-m", "planish.cli", "rise", "improve", "--policy", "embedded:reasoner"),
        *("--pairs", pairs, "--task", "chain", "--out", cut / "better", "--runs", cut / "runs"),
        *options,
    ]
    process = subprocess.Popen(
        [str(part) for part in command], env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        found = list(cut.glob("runs/rise/*/metrics.jsonl"))
        if found and found[0].read_text().count("\n") >= 20:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert process.wait() == -signal.SIGKILL
    code, out, err = call(capsys, "rise", "improve", "--resume", only_run(cut), "--json")
    assert code == 0, err
    assert same_weights(cut / "better", tmp_path / "whole" / "better")
    places = {"run": 0, "report": 0, "out": 0}
    assert {**json.loads(out), **places} == {**whole, **places}


def test_resume_with_other_settings_is_refused(capsys, monkeypatch, tmp_path, pairs):
    use_judge(monkeypatch)
    _, whole, _ = improve(capsys, pairs, tmp_path, *QUICK, *OTHER)
    for options, field in [
        (["--beta", "0.7"], "beta"),
        (["--limit", "7"], "evaluation.limit"),
        (["--task", "chain:4"], "task"),
        (["--judge", "scripted:tie"], "judge"),
        (["--out", tmp_path / "elsewhere"], "out"),
    ]:
        code, _, err = call(capsys, "rise", "improve", "--resume", whole["run"], *options)
        assert code == 2
        assert f"started with {field} = " in err
    labelled(pairs / "dpo.jsonl", 95)
    code, _, err = call(capsys, "rise", "improve", "--resume", whole["run"])
    assert code == 2
    assert "data_sha256.dpo" in err


def test_lost_judgments_fail_the_run_and_keep_the_checkpoint(capsys, monkeypatch, tmp_path, pairs):
    use_judge(monkeypatch, Counting(by_length, lost=lambda asked: True))
    options = (*QUICK, *HOT, *OTHER, "--dpo-learning-rate", "3e-3")
    code, result, err = improve(capsys, pairs, tmp_path, *options)
    assert code == 1
    lost = r"\d+ of \d+ calls brought no reply \(timeout \d+\); the checkpoint is whole"
    assert re.search(lost, err)
    assert (tmp_path / "better" / "model.safetensors").exists()
    assert read_info(only_run(tmp_path)).status == "failed"
    use_judge(monkeypatch)
    code, out, err = call(capsys, "rise", "improve", "--resume", result["run"], "--json")
    assert code == 0, err
    assert json.loads(out)["num_unscored"] == 0


def test_a_judge_that_cannot_be_read_has_no_win_rate(capsys, monkeypatch, tmp_path, pairs):
    use_judge(monkeypatch, lambda chat, seed, sample: "hm")
    options = (*QUICK, *HOT, *OTHER, "--dpo-learning-rate", "3e-3")
    code, result, err = improve(capsys, pairs, tmp_path, *options)
    assert code == 0, err
    assert result["win_rate"] is None
    assert result["num_unscored"] == result["num_duels"] > 0
    assert "could decide 0.000 of the duels, below 0.9: no win rate" in err


# ---- bad input -----------------------------------------------------------------------------------

GIVEN = {
    "--policy": "embedded:reasoner",
    "--pairs": "{tmp}/labels",
    "--task": "chain",
    "--out": "{tmp}/better",
}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"--policy": None}, "--policy: is missing"),
        ({"--pairs": None}, "--pairs: is missing"),
        ({"--task": None}, "--task: is missing"),
        ({"--out": None}, "--out: is missing"),
        ({"--policy": "openai:gpt-5"}, "--policy: 'openai:gpt-5' cannot be trained"),
        ({"--policy": "hf:{tmp}"}, "config.json"),
        ({"--pairs": "{tmp}/nowhere"}, "no such file or folder"),
        ({"--pairs": "{tmp}/same.jsonl"}, "chosen and rejected are the same in 1 of 1 rows"),
        ({"--task": "chess"}, "no task is called 'chess'"),
        ({"--out": "{tmp}/labels"}, "exists already"),
        ({"--max-length": "9"}, "nothing is cut; use --max-length"),
        ({"--sft-steps": "5"}, "Unknown option: --sft-steps"),
        ({"--scalar-epochs": "2"}, "Unknown option: --scalar-epochs"),
        ({"--max-tokens": "9999"}, "--max-tokens: 9999 leaves no room for a prompt in the context"),
        ({"--beta": "inf"}, "--beta: Input should be a finite number"),
        ({"--seed": "4294967296"}, "--seed: Input should be less than 4294967296"),
        ({"--lora-rank": "4"}, "--lora-rank: has no effect without --lora"),
        ({"--template": "plain"}, "--template: has no effect without --judge"),
        ({"--judge-max-tokens": "9"}, "--judge-max-tokens: has no effect without --judge"),
        ({"--samples": "2", "--temperature": "0"}, "temperature 0 are all the same"),
        ({"--alpha": "0", "--preference-weight": "0"}, "nothing to learn"),
        ({"--judge": "scripted:nobody"}, "nobody"),
        ({"--judge": "scripted:tie", "--template": "rating"}, "is for a score"),
        ({"--limit": "0"}, "--limit"),
        ({"--resume": "{tmp}"}, "no run"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    capsys, monkeypatch, tmp_path, pairs, changes, complaint
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    row = json.loads((pairs / "dpo.jsonl").read_text().splitlines()[0])
    write_jsonl(tmp_path / "same.jsonl", [row | {"rejected": row["chosen"]}])
    given = [
        part.format(tmp=tmp_path)
        for option, value in (GIVEN | changes).items()
        if value is not None
        for part in (option, value)
    ]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call(capsys, "rise", "improve", *given, "--runs", tmp_path / "runs")
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert sorted(tmp_path.rglob("*")) == before


def test_presets_are_a_start_that_flags_override():
    assert resolve("tiny", ImproveConfig(max_tokens=7)).template == "chain"
    assert ImproveConfig().sampling.temperature == 0
    assert ImproveConfig(samples=4).sampling.temperature == 1


# ---- the comparison itself -----------------------------------------------------------------------


def drawn(*texts):
    lost = Completion(text="", finish="error")
    return [[lost if text is None else Completion(text=text) for text in row] for row in texts]


def test_lost_and_unreadable_replies_are_counted_and_never_wins():
    examples = list(TASK.examples("report", 4))
    gold = [TASK.gold(example) for example in examples]
    before = Side.of(TASK, examples, drawn(["none"], [gold[1]], [None], [TASK.wrong(examples[3])]))
    after = Side.of(TASK, examples, drawn([gold[0]], [gold[1]], [gold[2]], ["no number"]))
    assert before.read(0) == before.read(2) == [None]
    model = _judge_of(lambda chat: "A" if "none" in find_replies(chat)[1] else "B")
    asked = duels_of(examples, before, after)
    assert [len(replies) for _, replies in asked] == [2, 1, 1, 2]
    compared = compare(examples, before, after, round_robin(model, asked))
    numbers = compared.numbers()
    # Unreadable replies solve nothing; the lost one is nobody's.
    assert (numbers["solve_before"].value, numbers["solve_before"].n) == (1 / 3, 3)
    assert numbers["solve_after"].value == 3 / 4
    assert numbers["verified_before"].value == 2 / 3
    assert numbers["solve_difference"].value == pytest.approx(1 / 3)
    assert (numbers["only_after_solves"], numbers["only_before_solves"]) == (1, 0)
    assert compared.shares == [[1.0], [0.5], [None], [0.5]]
    assert (numbers["num_duels"], numbers["num_identical"]) == (2, 1)
    assert numbers["win_rate"].value == pytest.approx(2 / 3)
    assert sum(map(lost, compared.calls)) == 1


def _judge_of(label):
    from planish.judges import PairwiseJudge

    script = lambda chat, seed, sample: verdict(chat, label(chat))  # noqa: E731
    return PairwiseJudge(ScriptedModel("scripted:test", script), aggregate="mean")
