"""A reward head beside judges with words: `evaluate` and `label` through the real command line."""

import json
import math
from pathlib import Path

import pytest
import torch

from planish.cli import main
from planish.judges import Case
from planish.judges.formats.rewardbench_scores import TiesRow, ties_score
from planish.judges.planted import planted_cases
from planish.judges.scalar import ScalarJudge
from planish.models.local_loading import open_checkpoint
from planish.records import read_jsonl, user, write_jsonl
from planish.runs.info import read_info
from support.training import save_qwen2, save_scalar

QUESTIONS = ["who is it?", "which one?", "what now?", "where to?"]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    return save_scalar(tmp_path_factory.mktemp("head") / "head")


@pytest.fixture
def pairs(tmp_path):
    rows = [
        {
            "id": case.id,
            "question": case.example.prompt[0].content,
            "reply_a": case.replies[0],
            "reply_b": case.replies[1],
            "gold": case.gold,
        }
        for case in planted_cases(30, 1)
    ]
    write_jsonl(tmp_path / "own.jsonl", rows)
    return tmp_path / "own.jsonl"


@pytest.fixture
def rise(capsys, tmp_path):
    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["rise", *map(str, arguments), "--runs", str(tmp_path / "runs"), "--json"])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return (
            stop.value.code,
            json.loads(captured.out) if captured.out else None,
            captured.err,
        )

    return run


# ---- evaluate ------------------------------------------------------------------------------------


def test_it_is_evaluated_with_the_numbers_of_judge(rise, head, pairs):
    code, judged, err = rise("judge", "--model", f"scalar:{head}", "--pairs", pairs)
    assert code == 0, err
    code, result, err = rise("evaluate", "--model", f"scalar:{head}", "--pairs", pairs)
    assert code == 0, err
    bench = result["benches"]["own"]
    for name in ("accuracy", "both_right", "consistency", "first_slot_rate", "brier", "statuses"):
        assert bench[name] == judged[name], name
    assert 0 < bench["accuracy"] < 1
    assert (bench["coverage"], result["ability"], result["lm_eval"]) == (1.0, {}, {})
    code, again, err = rise("evaluate", "--resume", result["run"])
    assert code == 0, err
    assert "30 of 30 cases were judged before" in err
    assert again["benches"] == result["benches"]
    code, _, err = rise("evaluate", "--resume", result["run"], "--samples", 2)
    assert code == 2
    assert "--samples: means nothing to a reward head" in err


@pytest.mark.parametrize("first", ["model", "before"])
def test_it_stands_beside_a_judge_with_words_on_either_side(rise, head, pairs, first):
    second = "before" if first == "model" else "model"
    code, result, err = rise(
        *("evaluate", f"--{first}", f"scalar:{head}", f"--{second}", "scripted:longest"),
        *("--pairs", pairs, "--template", "plain"),
    )
    assert code == 0, err
    bench = result["benches"]["own"]
    sides = {"model": bench, "before": bench["before"]}
    assert sides[first]["first_slot_rate"] == 0.5
    assert sides[first]["statuses"] == {"ok": 60}
    assert sides[second]["accuracy"] != sides[first]["accuracy"]
    assert read_info(Path(result["run"])).config["template_hash"].startswith("plain ")
    assert bench["difference"]["right"]["n"] == 30
    difference = bench["accuracy"] - bench["before"]["accuracy"]
    assert bench["difference"]["right"]["value"] == pytest.approx(difference)


def test_lists_and_ties_are_its_rewards(rise, head, tmp_path):
    replies = ["the owl", "a dog", "two foxes", "moon moon", "four of them"]

    def listed(item, subset, right):
        return {
            "id": item,
            "prompt": f"which one? {item}",
            "chosen": replies[:right],
            "rejected": replies[right : right + 3],
            "num_correct": right,
            "num_incorrect": 3,
            "total_completions": right + 3,
            "subset": subset,
        }

    rows = [listed(str(n), "Math", 1) for n in range(6)]
    rows += [listed(f"{kind}:{n}", "Ties", right) for n in (1, 2) for kind, right in
             (("ref", 1), ("tied", 2))]  # fmt: skip
    write_jsonl(tmp_path / "v2.jsonl", rows)
    code, result, err = rise(
        *("evaluate", "--model", f"scalar:{head}", "--pairs", tmp_path / "v2.jsonl")
    )
    assert code == 0, err
    bench = result["benches"]["v2"]
    assert bench["coverage"] == 1.0
    assert bench["lists"]["first_slot_rate"] is None  # it sees no slots
    assert bench["lists"]["fair_first_slot"] is None
    told = ScalarJudge(str(head))
    cases = {}
    for _, row in read_jsonl(tmp_path / "v2.jsonl"):
        example = planted_cases(1, 0)[0].example.model_copy(
            update={"id": row["id"], "prompt": user(row["prompt"]), "meta": {}}
        )
        cases[row["id"]] = Case(example=example, replies=(*row["chosen"], *row["rejected"]))
    rewards = dict(zip(cases, told.rewards(list(cases.values())), strict=True))
    right = 0
    for _, row in read_jsonl(tmp_path / "v2.jsonl"):
        found = rewards[row["id"]]
        right += min(found[: row["num_correct"]]) > max(found[row["num_correct"] :])
    assert bench["accuracy"] == pytest.approx(right / len(rows))
    # The Ties of RewardBench compare margins: of the rewards, not of ratings squashed into [0, 1].
    matched = [
        TiesRow(id=id, scores=found, num_correct=1 + id.startswith("tied"))
        for id, found in rewards.items()
        if ":" in id
    ]
    board = bench["rewardbench"]["honest"]
    assert board["subsets"]["Ties"] == pytest.approx(ties_score(matched).overall, rel=1e-4)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (("--ability", "chain:2"), "--ability: asks for texts, and the reward head of --model"),
        (("--lm-eval", "gsm8k"), "--lm-eval: asks for texts, and the reward head of --model"),
        (("--samples", 4), "--samples: means nothing to a reward head"),
        (("--cache", "c.jsonl"), "--cache: means nothing to a reward head"),
        (("--before", "scalar:./nowhere"), "no such folder"),
    ],
)
def test_what_it_cannot_do_is_one_line(rise, head, pairs, tmp_path, more, complaint):
    code, result, err = rise("evaluate", "--model", f"scalar:{head}", "--pairs", pairs, *more)
    assert (code, result) == (2, None)
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert not (tmp_path / "runs").exists()


def test_ability_is_refused_for_the_model_before_too_and_no_default_brings_it(rise, head, pairs):
    given = ("evaluate", "--model", "embedded:reasoner", "--before", f"scalar:{head}")
    code, _, err = rise(*given, "--pairs", pairs, "--ability", "chain:2")
    assert code == 2
    assert "the reward head of --before does not generate any" in err
    code, _, err = rise(*given)
    assert code == 2
    assert "no bench to evaluate on" in err


# ---- label ---------------------------------------------------------------------------------------


@pytest.fixture
def policy(tmp_path):
    """Five recorded replies to each question, two of them the same."""
    write_jsonl(tmp_path / "prompts.jsonl", [{"id": q, "question": q} for q in QUESTIONS])
    texts = ["the owl", "a dog", "the owl", "two foxes", "moon moon"]
    write_jsonl(
        tmp_path / "replies.jsonl",
        [
            {"prompt": question, "replies": [f"{text} {question}" for text in texts]}
            for question in QUESTIONS
        ],
    )
    return f"replay:{tmp_path / 'replies.jsonl'}"


def label(rise, policy, tmp_path, judge, *more, out="out"):
    return rise(
        *("label", "--policy", policy, "--judge", judge, "--prompts", tmp_path / "prompts.jsonl"),
        *("--samples", 5, "--out", tmp_path / out, *more),
    )


def test_its_labels_are_best_against_worst_reward(rise, head, policy, tmp_path):
    code, result, err = label(rise, policy, tmp_path, f"scalar:{head}", "--margin", 1e-4)
    assert code == 0, err
    assert result["num_rows"] == len(QUESTIONS)
    assert result["judge_calls"] == 4 * len(QUESTIONS)  # each different reply is read once
    assert result["coverage"] == 1.0
    told = ScalarJudge(str(head))
    for _, row in read_jsonl(tmp_path / "out" / "dpo.jsonl"):
        question = row["question"]
        replies = [f"{text} {question}" for text in ("the owl", "a dog", "two foxes", "moon moon")]
        example = planted_cases(1, 0)[0].example.model_copy(update={"prompt": user(question)})
        (rewards,) = told.rewards([Case(example=example, replies=tuple(replies))])
        best, worst = max(rewards), min(rewards)
        assert row["chosen"][0]["content"] == replies[rewards.index(best)]
        assert row["rejected"][0]["content"] == replies[rewards.index(worst)]
        shares = [
            sum(1 / (1 + math.exp(other - one)) for other in rewards if other != one) / 3
            for one in (best, worst)
        ]
        assert row["chosen_score"] == pytest.approx(shares[0], abs=1e-5)
        assert row["margin"] == pytest.approx(shares[0] - shares[1], abs=1e-5)
        assert (row["judge"], row["judge_revision"]) == (told.name, told.revision)
        assert row["template_hash"] is None


def test_labelling_goes_on_where_it_was_interrupted(rise, head, policy, tmp_path, monkeypatch):
    whole = label(rise, policy, tmp_path, f"scalar:{head}", "--margin", 1e-4, out="whole")
    assert whole[0] == 0, whole[2]
    score, batches = ScalarJudge._score, []

    def interrupt(self, batch):
        batches.append(batch)
        if len(batches) == 2:
            raise KeyboardInterrupt
        return score(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(ScalarJudge, "_score", interrupt)
        code, _, err = label(rise, policy, tmp_path, f"scalar:{head}", "--margin", 1e-4)
    assert code == 130
    assert "go on with" in err
    assert not list((tmp_path / "out").iterdir())
    code, _, err = rise("label", "--resume", "last")
    assert code == 0, err
    names = [tmp_path / out / "dpo.jsonl" for out in ("whole", "out")]
    assert names[0].read_text() == names[1].read_text()


@pytest.mark.parametrize(
    ("judge", "more", "complaint"),
    [
        ("scalar:{head}", ("--template", "plain"), "--template: means nothing to a reward head"),
        ("scalar:{head}", ("--mode", "pointwise"), "--mode: means nothing to a reward head"),
        ("scalar:{head}", ("--judge-samples", 2), "--judge-samples: means nothing to a reward"),
        ("scalar:{base}", (), "is a language model without a scalar head"),
    ],
)
def test_what_cannot_label_is_one_line(rise, head, policy, tmp_path, judge, more, complaint):
    base = save_qwen2(tmp_path / "base") if "{base}" in judge else ""
    spec = judge.format(head=head, base=base)
    code, result, err = label(rise, policy, tmp_path, spec, *more)
    assert (code, result) == (2, None)
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "out").exists()


def test_replies_that_do_not_fit_are_unrated_and_stop_it_with_a_reason(rise, policy, tmp_path):
    short = save_scalar(tmp_path / "short", context=8)
    code, _, err = label(rise, policy, tmp_path, f"scalar:{short}")
    assert code == 1
    assert "16 of 16 calls of the judge brought no reply" in err
    assert "use a model with a longer context or leave such items out" in err


def test_rewards_that_are_no_numbers_stop_it_too(rise, policy, tmp_path):
    broken = save_scalar(tmp_path / "broken")
    checkpoint = open_checkpoint(str(broken), device="cpu", scalar=True)
    checkpoint.model.score.weight.data.fill_(float("nan"))
    checkpoint.model.save_pretrained(broken)
    code, _, err = label(rise, policy, tmp_path, f"scalar:{broken}")
    assert code == 2
    assert "16 of 16 are unrated (coverage 0.000, floor 0.9), the first is of prompt" in err
    assert "no_verdict; use another head, or lower --min-coverage" in err
