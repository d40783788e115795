"""`planish rise train --scalar` and `judge --model scalar:` through the real command line."""

import json
import random

import pytest
import torch
from safetensors.torch import load_file

from planish.cli import main
from planish.judges import Judgment
from planish.judges.pairs import task_cases
from planish.judges.scalar import ScalarJudge
from planish.methods.rise.learning.config import TrainConfig
from planish.records import write_jsonl
from planish.runs.info import read_info
from planish.runs.rows import read_rows
from planish.tasks.chain import ChainTask
from planish.training.callbacks import Recorder
from support.training import save_qwen2

WORDS = ("fox", "dog", "moon", "two", "four", "user")
QUICK = ("--scalar-steps", 6, "--scalar-batch-size", 8, "--save-every", 2)
LEARN = ("--scalar-steps", 40, "--scalar-batch-size", 16, "--scalar-learning-rate", 3e-3)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_qwen2(tmp_path_factory.mktemp("base") / "base", initializer_range=0.1)


def pair_rows(number, seed=0):
    """The reply that names the owl is the better one, in either slot."""
    draw = random.Random(seed)
    rows = []
    for index in range(number):
        words = [draw.choice(WORDS) for _ in range(draw.randrange(2, 6))]
        right = list(words)
        right[draw.randrange(len(words))] = "owl"
        gold = draw.choice("AB")
        replies = [" ".join(right), " ".join(words)][:: 1 if gold == "A" else -1]
        rows.append(
            {
                "id": f"{seed}-{index}",
                "question": f"who is it? {seed} {index}",
                "reply_a": replies[0],
                "reply_b": replies[1],
                "gold": gold,
            }
        )
    return rows


def write(path, rows):
    write_jsonl(path, rows)
    return path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["rise", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return stop.value.code, captured.out, captured.err


def train(capsys, base, pairs, folder, *arguments):
    return call(
        capsys,
        *("train", "--model", f"hf:{base}", "--scalar", pairs, "--out", folder / "head"),
        *("--runs", folder / "runs", "--json", *(arguments or QUICK)),
    )


def judge(capsys, folder, pairs, *arguments):
    return call(
        capsys,
        *("judge", "--model", f"scalar:{folder / 'head'}", "--pairs", pairs, "--json"),
        *("--runs", folder / "judged", *arguments),
    )


def only_run(folder):
    (run,) = (folder / "rise").iterdir()
    return run


def test_a_head_learns_from_pairs_and_judges_others(capsys, tmp_path, base):
    pairs = write(tmp_path / "pairs.jsonl", pair_rows(160))
    code, out, err = train(capsys, base, pairs, tmp_path, *LEARN)
    assert code == 0, err
    summary = json.loads(out)
    assert (summary["scalar_rows"], summary["scalar_steps"]) == (160, 40)
    assert summary["scalar_pair_accuracy"] > 0.9
    assert summary["scalar_loss"] < summary["scalar_first_loss"]
    run = only_run(tmp_path / "runs")
    assert read_info(run).config["stages"] == ["scalar"]
    page = (run / "report.html").read_text()
    assert "a scalar Bradley-Terry head on pairs of replies" in page
    assert page.count('aria-label="') >= 3
    card = (tmp_path / "head" / "README.md").read_text()
    for text in (
        "pipeline_tag: text-classification",
        "- reward-model",
        "A scalar reward model",
        "planish rise judge --model scalar:./head --pairs",
        "| scalar | `pairs.jsonl` |",
        "| scalar_learning_rate | 0.003 |",
    ):
        assert text in card
    for text in ("beta", "sft_", "dpo_"):
        assert f"| {text}" not in card

    held_out = write(tmp_path / "report.jsonl", pair_rows(60, seed=1))
    code, out, err = judge(capsys, tmp_path, held_out)
    assert code == 0, err
    result = json.loads(out)
    assert result["accuracy"] > 0.95
    assert result["consistency"] == result["coverage"] == 1.0
    assert result["first_slot_rate"] == 0.5
    assert result["statuses"] == {"ok": 120}
    judged = only_run(tmp_path / "judged")
    info = read_info(judged)
    assert info.config["revision"] == ScalarJudge(str(tmp_path / "head")).revision
    judgments = [row.read(Judgment) for row in read_rows(judged, "judgment")]
    assert len(judgments) == 60
    assert "one reward per reply" in (judged / "report.html").read_text()
    assert not (judged / "artifacts" / "replies.jsonl").exists()


def test_judging_goes_on_where_it_was_interrupted(capsys, tmp_path, base, monkeypatch):
    pairs = write(tmp_path / "pairs.jsonl", pair_rows(20))
    assert train(capsys, base, pairs, tmp_path)[0] == 0
    score, batches = ScalarJudge._score, []

    def interrupt(self, batch):
        batches.append(len(batch))
        if len(batches) == 4:
            raise KeyboardInterrupt
        return score(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ScalarJudge, "_score", interrupt)
        code, _, err = judge(capsys, tmp_path, pairs)
    assert code == 130
    assert "go on with" in err
    run = only_run(tmp_path / "judged")
    kept = len(list(read_rows(run, "judgment")))
    assert 0 < kept < 20
    code, out, err = call(capsys, "judge", "--resume", run, "--json")
    assert code == 0, err
    assert f"{kept} of 20 cases were judged before" in err
    (tmp_path / "judged").rename(tmp_path / "before")
    code, whole, _ = judge(capsys, tmp_path, pairs)
    assert code == 0
    one, other = json.loads(out), json.loads(whole)
    for name in ("accuracy", "brier", "length_slope", "counts"):
        assert one[name] == other[name]


def test_training_goes_on_to_the_same_numbers(capsys, tmp_path, base, monkeypatch):
    pairs = write(tmp_path / "pairs.jsonl", pair_rows(21))
    assert train(capsys, base, pairs, tmp_path / "whole")[0] == 0
    ended = Recorder.on_step_end

    def interrupt(self, args, state, control, **more):
        ended(self, args, state, control, **more)
        if state.global_step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", interrupt)
        assert train(capsys, base, pairs, tmp_path / "cut")[0] == 130
    run = only_run(tmp_path / "cut" / "runs")
    assert not (tmp_path / "cut" / "head").exists()
    code, _, err = call(capsys, "train", "--resume", run, "--json")
    assert code == 0, err
    one, other = (
        load_file(tmp_path / name / "head" / "model.safetensors") for name in ("whole", "cut")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    whole = only_run(tmp_path / "whole" / "runs")
    assert read_info(run).summary == read_info(whole).summary
    write(pairs, pair_rows(22))
    code, _, err = call(capsys, "train", "--resume", run)
    assert code == 2
    assert "data_sha256.scalar" in err


def test_ties_teach_nothing_and_are_told(capsys, tmp_path, base):
    rows = pair_rows(20)
    rows[3]["gold"] = rows[8]["gold"] = "tie"
    code, out, err = train(capsys, base, write(tmp_path / "pairs.jsonl", rows), tmp_path)
    assert code == 0, err
    assert "2 pairs are ties and teach scalar nothing: left out" in " ".join(err.split())
    assert json.loads(out)["scalar_rows"] == 18


@pytest.mark.slow
def test_the_model_in_the_package_and_every_preset(capsys, tmp_path):
    cases = task_cases(ChainTask(), split="train", limit=20)
    pairs = write(tmp_path / "pairs.jsonl", cases)
    for preset in ("tiny", "laptop", "paper"):
        code, _, err = call(
            capsys,
            *("train", "--model", "embedded:reasoner", "--scalar", pairs, "--preset", preset),
            *("--scalar-steps", 2, "--out", tmp_path / preset / "head"),
            *("--runs", tmp_path / preset / "runs"),
        )
        assert code == 0, err
        assert judge(capsys, tmp_path / preset, pairs)[0] == 0


def changed(**changes):
    return [row | changes for row in pair_rows(20)]


@pytest.mark.parametrize(
    ("rows", "more", "complaint"),
    [
        (changed(gold="A"), (), "the gold label is A in all of 20 decided pairs, the first is 0-0"),
        (changed(gold="tie"), (), "the gold label is a tie in all or none of 0 decided pairs"),
        (changed(gold=None), (), "20 of 20 pairs have no gold label, the first is 0-0"),
        (changed(reply_a="owl", reply_b="owl "), (), "20 of 20 pairs hold twice the same reply"),
        (changed(reply_a=" "), (), "20 of 20 pairs have an empty reply, the first is 0-0"),
        (changed(reply_a="owl", reply_b="owl"), (), "pairs.jsonl:1: the two replies are identical"),
        (pair_rows(20), ("--sft", "{pairs}"), "--scalar: makes another kind of judge"),
        (pair_rows(20), ("--stage", "both"), "--scalar: makes another kind of judge"),
        (pair_rows(20), ("--max-length", "9"), "nothing is cut; use --max-length"),
        (pair_rows(20), ("--report-pairs", "{pairs}"), "20 of 20 rows are also in the report"),
        (pair_rows(20), ("--micro-batch-size", "7"), "--micro-batch-size"),
        ([{"prompt": "?", "completion": "A"}], (), "no known format of pairs"),
    ],
)
def test_bad_pairs_are_one_line_and_leave_nothing(capsys, tmp_path, base, rows, more, complaint):
    pairs = write(tmp_path / "pairs.jsonl", rows)
    more = [part.format(pairs=pairs) for part in more]
    code, out, err = train(capsys, base, pairs, tmp_path, *QUICK, *more)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.jsonl"]


@pytest.mark.parametrize(
    ("model", "more", "complaint"),
    [
        ("scalar:{base}", (), "is a language model without a scalar head; train one"),
        ("scalar:./nowhere", (), "no such folder"),
        ("scalar:{base}", ("--template", "plain"), "--template: means nothing to a reward head"),
        ("scalar:{base}", ("--samples", "4"), "--samples: means nothing to a reward head"),
        ("scalar:{base}", ("--cache", "c.jsonl"), "--cache: means nothing to a reward head"),
        ("hf:{head}", (), "lm_head.weight"),
    ],
)
def test_what_cannot_judge_is_told(capsys, tmp_path, base, head, model, more, complaint):
    pairs = write(tmp_path / "pairs.jsonl", pair_rows(4))
    code, out, err = call(
        capsys,
        *("judge", "--model", model.format(base=base, head=head), "--pairs", pairs, *more),
        *("--runs", tmp_path / "runs", "--json"),
    )
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    from support.training import save_scalar

    return save_scalar(tmp_path_factory.mktemp("head") / "head")


def test_the_paper_preset_marks_the_head_as_ours():
    paper = TrainConfig.paper()
    assert (paper.scalar_epochs, paper.scalar_learning_rate) == (1, 2e-6)
    assert TrainConfig(scalar_batch_size=8, scalar_epochs=2).num_steps("scalar", 20) == 6
