"""`planish rise evaluate` through the real command line: benches, abilities, faults, resume."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from planish.cli import main
from planish.judges.planted import planted_cases
from planish.models import scripted
from planish.models.scripted import NoisyOptions
from planish.records import write_jsonl
from planish.tasks.chain import ChainTask, candidates
from support.checkpoints import make_tokenizer
from support.training import reasoner_rows, save_qwen2, write_rows


def call(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def pairs_file(path: Path, count: int = 60, seed: int = 1) -> Path:
    rows = [
        {
            "id": case.id,
            "question": case.example.prompt[0].content,
            "reply_a": case.replies[0],
            "reply_b": case.replies[1],
            "gold": case.gold,
        }
        for case in planted_cases(count, seed)
    ]
    write_jsonl(path, rows)
    return path


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return pairs_file(tmp_path / "own.jsonl")


@pytest.fixture
def evaluate(capsys: Any, tmp_path: Path) -> Any:
    """Runs the stage with --json; returns exit code, the object, and standard error."""

    def run(*arguments: object, model: str = "scripted:longest") -> tuple[int, Any, str]:
        command = ("rise", "evaluate", *(("--model", model) if model else ()), *arguments)
        code, out, err = call(capsys, *command, "--runs", tmp_path / "runs", "--json")
        return code, json.loads(out) if out else None, err

    return run


def noisy(pairs: Path, p: float, **more: object) -> str:
    options = "".join(f"&{name}={value}" for name, value in more.items())
    return f"scripted:noisy?p={p}&pairs={pairs}{options}"


def records(run: str, kind: str) -> list[dict[str, Any]]:
    lines = (Path(run) / "records.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


# --- pairs ---------------------------------------------------------------------------------


def test_planted_judges_are_recovered_with_their_difference(evaluate: Any, tmp_path: Path) -> None:
    """Votes of a judge right with p in each order are right with p²: .81 against .36."""
    pairs = pairs_file(tmp_path / "own.jsonl", 400)
    code, result, err = evaluate(
        "--pairs", pairs, "--before", noisy(pairs, 0.6), model=noisy(pairs, 0.9)
    )
    assert code == 0, err
    bench = result["benches"]["own"]
    for numbers, planted in ((bench, 0.81), (bench["before"], 0.36)):
        for name in ("accuracy", "vote_accuracy", "both_right"):
            low, high = numbers[f"{name}_ci"]
            assert low <= planted <= high, name
    low, high = result["own_difference_ci"]
    assert low <= 0.45 <= high
    assert low > 0
    # Paired by case, exactly: each number follows from the records.
    scores = [row["data"] for row in records(result["run"], "score")]
    assert len(scores) == 400
    only = [
        sum(row["right"] > row["right_before"] for row in scores),
        sum(row["right"] < row["right_before"] for row in scores),
    ]
    found = bench["difference"]["right"]
    assert (found["mcnemar"]["only_b"], found["mcnemar"]["only_a"]) == tuple(only)
    assert found["value"] == pytest.approx((only[0] - only[1]) / 400)
    assert found["mcnemar"]["p_value"] < 1e-6
    assert bench["difference"]["both_right"]["n"] == 400
    assert result["own_accuracy"] == bench["accuracy"]


def test_two_equal_judges_differ_by_chance_only(evaluate: Any, pairs: Path) -> None:
    code, result, _ = evaluate(
        "--pairs", pairs, "--before", noisy(pairs, 0.8, seed=1), model=noisy(pairs, 0.8, seed=2)
    )
    assert code == 0
    found = result["benches"]["own"]["difference"]["right"]
    assert found["mcnemar"]["p_value"] > 0.05
    assert found["value_ci"][0] < 0 < found["value_ci"][1]


def test_one_bench_has_the_numbers_of_judge(evaluate: Any, capsys: Any, pairs: Path) -> None:
    code, result, _ = evaluate("--pairs", pairs, model=noisy(pairs, 0.7, null=0.05))
    assert code == 0
    assert result["before"] is None
    arguments = ("--model", noisy(pairs, 0.7, null=0.05), "--pairs", pairs, "--json")
    code, out, _ = call(capsys, "rise", "judge", *arguments, "--runs", pairs.parent / "runs")
    judged = json.loads(out)
    bench = result["benches"]["own"]
    for name in set(judged) - {"run", "report"}:
        assert bench[name] == judged[name], name
    for name in ("length_slope", "calibration_error", "brier", "first_parse_rate", "cost"):
        assert name in bench
    # One run against the other, case by case.
    _, out, _ = call(capsys, "runs", "compare", judged["run"], result["run"], "--json")
    (right, both) = json.loads(out)["paired"]
    assert (right["name"], both["name"]) == ("right", "both_right")
    assert right["n"] == 60 - bench["unscored_cases"]
    assert right["difference"]["value"] == 0


def test_text_names_everything_and_the_suggested_command_runs(capsys: Any, pairs: Path) -> None:
    other = pairs_file(pairs.parent / "other.jsonl", 30, seed=5)
    code, out, _ = call(
        capsys,
        *("rise", "evaluate", "--model", "scripted:always-a", "--before", "scripted:tie"),
        *("--pairs", pairs, other, "--ability", "chain:3", "--ability-limit", 10),
        *("--runs", pairs.parent / "runs"),
    )
    assert code == 0
    words = (
        "own: 60 cases", "other: 30 cases", "both orders right", "first-slot", "length slope",
        "calibration error", "Brier", "unscored 0 of 60 cases", "general ability", "statuses",
    )  # fmt: skip
    for word in words:
        assert word in out, word
    following = next(line for line in out.splitlines() if line.startswith("next"))
    code, out, err = call(capsys, *shlex.split(following.removeprefix("next"))[1:])
    assert code == 0, err
    assert "own_accuracy" in out
    (run,) = (pairs.parent / "runs" / "rise").iterdir()
    page = (run / "report.html").read_text()
    for word in ("own, model", "own, before", "Cost", "General ability", "no number in the reply"):
        assert word in page, word


def test_a_judge_below_the_floor_gets_no_headline(evaluate: Any, capsys: Any, pairs: Path) -> None:
    model = noisy(pairs, 1, null=0.5)
    arguments = ("--pairs", pairs, "--before", "scripted:longest")
    code, result, _ = evaluate(*arguments, model=model)
    assert code == 0
    assert "own_accuracy" not in result
    assert "own_difference" not in result
    bench = result["benches"]["own"]
    assert bench["coverage"] < 0.9
    assert bench["statuses"]["no_verdict"] == bench["counts"]["unscored"] > 0
    code, out, _ = call(
        capsys, "rise", "evaluate", "--model", model, *arguments, "--runs", pairs.parent
    )
    assert "no headline" in out
    assert "below the floor" in out
    page = Path(result["report"]).read_text()
    assert "without a headline" in page


def test_official_counting_makes_what_was_not_read_wrong(evaluate: Any, pairs: Path) -> None:
    model = noisy(pairs, 1, null=0.3)
    found = {}
    for mode in ("official", "honest"):
        _, found[mode], _ = evaluate(
            "--pairs", pairs, "--mode", mode, "--before", "scripted:longest", model=model
        )
    honest, official = (found[mode]["benches"]["own"] for mode in ("honest", "official"))
    assert honest["accuracy"] == 1
    assert official["accuracy"] == 1 - official["unscored_cases"] / 60 < 1
    assert official["difference"]["right"]["n"] == 60
    assert honest["difference"]["right"]["left_out"] == honest["unscored_cases"]


# --- RewardBench ---------------------------------------------------------------------------


def preference(number: int, subset: str) -> dict[str, Any]:
    return {
        "id": number,
        "prompt": f"question {number}",
        "chosen": f"good {number}",
        "rejected": f"bad {number}",
        "subset": subset,
    }


def listed(name: str, subset: str, right: int = 1, wrong: int = 3) -> dict[str, Any]:
    return {
        "id": name,
        "prompt": f"question {name}",
        "chosen": [f"good {name} {n}" for n in range(right)],
        "rejected": [f"bad {name} {n}" for n in range(wrong)],
        "num_correct": right,
        "num_incorrect": wrong,
        "total_completions": right + wrong,
        "subset": subset,
    }


V1 = [
    preference(1, "alpacaeval-easy"),
    preference(2, "mt-bench-med"),
    preference(3, "llmbar-natural"),
    preference(4, "donotanswer"),
    preference(5, "math-prm"),
    preference(6, "hep-go"),
]
SUBSETS = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
V2 = [
    *(listed(f"{subset}-{n}", subset) for subset in SUBSETS for n in (1, 2)),
    *(listed(f"ref:{n}", "Ties") for n in (1, 2)),
    *(listed(f"tied:{n}", "Ties", right=2) for n in (1, 2)),
]


@pytest.fixture
def rater(monkeypatch: pytest.MonkeyPatch) -> None:
    """`scripted:rater`: names a good reply, and rates good ones 9, bad ones 3, one not at all."""

    def script(chat: Any, seed: int | None, sample: int) -> str:
        text = chat[-1].content
        if "Rate one reply" in text:
            return "Hm." if "bad tied:2 0" in text else f"[[{9 if 'good ' in text else 3}]]"
        good = [reply.startswith("good ") for reply in scripted.find_replies(chat)]
        return scripted.verdict(chat, "ABCD"[good.index(True) if any(good) else 0])

    monkeypatch.setitem(scripted.SCRIPTS, "rater", (NoisyOptions, lambda options: script))


def test_rewardbench_in_both_modes_with_sections_and_headline(
    evaluate: Any, tmp_path: Path
) -> None:
    path = tmp_path / "rb1.jsonl"
    write_jsonl(path, V1)
    code, result, err = evaluate("--pairs", path, model=noisy(path, 1))
    assert code == 0, err
    board = result["benches"]["rb1"]["rewardbench"]
    for mode in ("official", "honest"):
        assert board[mode]["rewardbench"] == 1
        assert board[mode]["sections"]["Reasoning"] == 1
    # Nothing can be read: half a point a pair in the public harness, no score in honest mode.
    code, result, _ = evaluate("--pairs", path, model=noisy(path, 1, null=1))
    assert code == 0
    board = result["benches"]["rb1"]["rewardbench"]
    assert (board["official"]["rewardbench"], board["honest"]["rewardbench"]) == (0.5, None)
    assert "rb1_accuracy" not in result


def test_rewardbench_2_with_lists_and_ties(
    evaluate: Any, capsys: Any, tmp_path: Path, rater: None
) -> None:
    path = tmp_path / "rb2.jsonl"
    write_jsonl(path, V2)
    model = "scripted:rater"
    for lists, calls in (("pick", 10), ("cyclic", 40), ("copeland", 120)):
        code, result, err = evaluate("--pairs", path, "--lists", lists, model=model)
        assert code == 0, err
        bench = result["benches"]["rb2"]
        # 4 + 4 replies of the two "ref" prompts, 5 + 5 of the tied ones: rated one by one.
        assert sum(bench["statuses"].values()) == calls + 18
        assert bench["statuses"]["no_verdict"] == 1
        board = bench["rewardbench"]["honest"]
        assert [board["subsets"][name] for name in ("Factuality", "Focus", "Math")] == [1, 1, 1]
        assert board["ties"]["unscored"] == 1
        assert board["ties"]["tied_accuracy"] == board["ties"]["ref_accuracy"] == 1
        assert bench["unscored_cases"] == 1
        assert bench["accuracy"] == 1
        assert bench["lists"]["accuracy"] == 1
    assert bench["lists"]["fair_first_slot"] == 0.5
    assert len(records(result["run"], "judgment")) == 10
    assert len(records(result["run"], "rating")) == 18
    # The lists' records are read back by `score`, the ratings are passed over.
    plain = tmp_path / "plain.jsonl"
    write_jsonl(plain, V2[:10])
    arguments = ("--pairs", plain, "--runs", tmp_path / "runs", "--json")
    code, out, err = call(
        capsys, "rise", "score", Path(result["run"]) / "records.jsonl", *arguments
    )
    assert code == 0, err
    assert json.loads(out)["vote_accuracy"] == 1
    code, result, err = evaluate("--pairs", path, "--reading", "direct", model="embedded:reasoner")
    assert code == 2
    assert "from the text only" in err


# --- abilities -----------------------------------------------------------------------------


def test_a_model_that_lost_an_ability_is_told_in_one_sentence(
    evaluate: Any, capsys: Any, tmp_path: Path
) -> None:
    """A judge that only says labels any more, after a model that solves chains."""
    arguments = ("--before", "embedded:reasoner", "--preset", "tiny", "--ability-limit", 40)
    code, result, err = evaluate("--ability", "chain:3", *arguments, model="scripted:always-a")
    assert code == 0, err
    task = result["ability"]["chain:3"]
    assert (task["rate"], task["counts"]["unreadable"], task["coverage"]) == (0, 40, 0)
    assert task["before"]["rate"] > 0.9
    assert task["difference"]["value"] == -task["before"]["rate"]
    assert task["difference"]["mcnemar"]["only_a"] == task["before"]["counts"]["solved"]
    assert "lies below the interval before" in task["sentence"]
    assert task["sentence"].endswith("it fell.")
    code, out, _ = call(
        capsys,
        *("rise", "evaluate", "--model", "scripted:always-a", "--ability", "chain:3", *arguments),
        *("--runs", tmp_path / "runs"),
    )
    assert "lies below the interval before" in " ".join(out.split())


def test_the_embedded_reasoner_as_it_ships(evaluate: Any, capsys: Any, tmp_path: Path) -> None:
    """Its own preset and tasks; a copy of it solves exactly as it does."""
    from planish.embedded import path as embedded

    rows = []
    for index, example in enumerate(ChainTask(3).examples("report", 20)):
        right, wrong = candidates(example, seed=0)
        rows.append(
            {
                "id": f"i{index}",
                "prompt": example.prompt[-1].content,
                "chosen": right,
                "rejected": wrong,
            }
        )
    path = tmp_path / "chains.jsonl"
    write_jsonl(path, rows)
    code, result, err = evaluate(
        *("--pairs", path, "--before", f"hf:{embedded('reasoner')}", "--ability-limit", 30),
        model="embedded:reasoner",
    )
    assert code == 0, err
    assert set(result["ability"]) == {"chain:2", "chain:3", "chain:4"}
    for task in result["ability"].values():
        assert task["difference"]["value"] == 0
        assert "lies inside the interval before" in task["sentence"]
        assert task["sentence"].endswith("no change is shown.")
    assert result["benches"]["chains"]["coverage"] > 0.9
    code, result, _ = evaluate("--pairs", path, "--no-ability", model="embedded:reasoner")
    assert code == 0
    assert result["ability"] == {}


def test_questions_of_a_file_are_solved(evaluate: Any, tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    rows = [
        {
            "id": i,
            "question": f"{i} + 1?",
            "target": "[[A]]" if i % 2 else "no",
            "grader": "exact",
            "split": "report",
        }
        for i in range(6)
    ]
    write_jsonl(path, rows)
    code, result, err = evaluate("--ability", path, "chain:2", model="scripted:always-a")
    assert code == 0, err
    assert result["ability"]["questions.jsonl"]["rate"] == 0.5
    assert "chain:2" in result["ability"]


def test_files_of_one_name_are_tasks_of_their_own(evaluate: Any, tmp_path: Path) -> None:
    paths = []
    for folder, target in (("easy", "[[A]]"), ("hard", "no")):
        (tmp_path / folder).mkdir()
        paths.append(tmp_path / folder / "questions.jsonl")
        row = {"question": "What now?", "target": target, "grader": "exact", "split": "report"}
        write_jsonl(paths[-1], [row])
    code, result, err = evaluate("--ability", *paths, model="scripted:always-a")
    assert code == 0, err
    rates = {name: task["rate"] for name, task in result["ability"].items()}
    assert rates == {"questions.jsonl": 1.0, "questions.jsonl-2": 0.0}


def test_a_numbered_bench_takes_no_other_files_name(evaluate: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    names = ("own.jsonl", "other/own.jsonl", "own-2.jsonl")
    paths = [pairs_file(tmp_path / name, count=count + 4) for count, name in enumerate(names)]
    code, result, err = evaluate("--pairs", *paths)
    assert code == 0, err
    counts = {name: bench["num_cases"] for name, bench in result["benches"].items()}
    assert counts == {"own": 4, "own-2": 5, "own-2-2": 6}


# --- going on ------------------------------------------------------------------------------


def test_resume_repeats_no_call_and_gives_the_same_numbers(
    evaluate: Any, capsys: Any, pairs: Path
) -> None:
    _, whole, _ = evaluate("--pairs", pairs, "--before", noisy(pairs, 0.6), model=noisy(pairs, 0.9))
    run = Path(whole["run"])
    replies = [run / "artifacts" / name for name in ("replies.jsonl", "replies_before.jsonl")]
    kept = [path.read_text() for path in replies]
    lines = (run / "records.jsonl").read_text().splitlines(keepends=True)
    (run / "records.jsonl").write_text("".join(lines[:25]) + lines[25][:30])
    code, out, err = call(capsys, "rise", "evaluate", "--resume", run, "--json")
    assert code == 0, err
    assert "records.jsonl" in err
    again = json.loads(out)
    assert again["benches"] == whole["benches"]
    assert [path.read_text() for path in replies] == kept
    assert len(records(str(run), "judgment")) == len(records(str(run), "judgment_before")) == 60


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--before", "scripted:tie"), "before"),
        (("--limit", "3"), "limit"),
        (("--ability", "chain:4"), "ability"),
        (("--mode", "official"), "mode"),
    ],
)
def test_a_resume_with_other_settings_is_refused(
    evaluate: Any, capsys: Any, pairs: Path, options: tuple[str, ...], named: str
) -> None:
    arguments = ("--pairs", pairs, "--ability", "chain:3", "--ability-limit", 5)
    _, whole, _ = evaluate(*arguments, model="scripted:always-a")
    code, _, err = call(capsys, "rise", "evaluate", "--resume", whole["run"], *options)
    assert code == 2
    assert named in err


def test_a_faulty_server_loses_nothing_and_a_dead_one_can_be_resumed(
    evaluate: Any, capsys: Any, chat_server: Any, pairs: Path
) -> None:
    server = chat_server(faults={"429": 0.1, "500": 0.05, "drop": 0.05, "latin": 0.05})
    arguments = ("--pairs", pairs, "--limit", 20, "--ability", "chain:3", "--ability-limit", 20)
    code, whole, err = evaluate(*arguments, model=f"openai:m@{server.url}")
    assert code == 0, err
    assert server.count("ok") == 40 + 20
    bench, task = whole["benches"]["own"], whole["ability"]["chain:3"]
    assert (bench["coverage"], task["lost"]) == (1, 0)
    failed = bench["cost"]["failed_attempts"] + task["cost"]["failed_attempts"]
    assert failed == server.count() - 60 > 0
    server.close()
    # The same port, and every call fails: the run says so, and how to go on.
    dead = chat_server(faults={"500": 1.0}, port=server.port)
    code, result, err = evaluate(*arguments, model=f"openai:m@{server.url}?retries=0")
    assert code == 1
    assert "40 of 40 calls" in err
    assert "--resume" in err
    assert "own_accuracy" not in result
    assert result["ability"]["chain:3"]["rate"] is None
    assert result["ability"]["chain:3"]["lost"] == 20
    dead.close()
    again = chat_server(port=server.port)
    code, out, err = call(capsys, "rise", "evaluate", "--resume", result["run"], "--json")
    assert code == 0, err
    resumed = json.loads(out)
    assert again.count("ok") == 60
    for name in ("accuracy", "both_right", "coverage"):
        assert resumed["benches"]["own"][name] == bench[name]
    assert resumed["ability"]["chain:3"]["rate"] == task["rate"]


def test_two_processes_do_not_share_a_run_and_a_killed_one_goes_on(
    chat_server: Any, capsys: Any, pairs: Path
) -> None:
    server = chat_server(delay=0.1)
    runs = pairs.parent / "runs"
    command = [sys.executable, "-m", "planish.cli", "rise", "evaluate"]
    first = subprocess.Popen(
        [
            *command,
            *("--model", f"openai:m@{server.url}?in_flight=4", "--pairs", pairs, "--runs", runs),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        deadline = time.monotonic() + 60
        while server.count("ok") < 20 and time.monotonic() < deadline:
            time.sleep(0.02)
        run = next((runs / "rise").iterdir())
        code, _, err = call(capsys, "rise", "evaluate", "--resume", run)
        assert code == 2
        assert str(first.pid) in err
    finally:
        first.kill()
        first.wait()
    code, out, err = call(capsys, "rise", "evaluate", "--resume", run, "--json")
    assert code == 0, err
    assert json.loads(out)["benches"]["own"]["coverage"] == 1
    assert server.count() <= 120 + 4  # what was in flight at the kill


# --- checkpoints ---------------------------------------------------------------------------


def test_a_checkpoint_from_disk_reads_3000_tokens_or_says_that_it_cannot(
    evaluate: Any, capsys: Any, tmp_path: Path
) -> None:
    words = "the quick brown fox jumps over the lazy dog " * 220
    tokens = len(make_tokenizer()(words)["input_ids"])
    assert tokens > 3000
    path = tmp_path / "long.jsonl"
    pair = {"reply_a": "the moon", "reply_b": "the owl", "gold": "A"}
    write_jsonl(
        path,
        [{"id": "short", "question": "?", **pair}, {"id": "long", "question": words, **pair}],
    )
    arguments = ("--pairs", path, "--max-tokens", 4, "--min-coverage", 0)
    whole = save_qwen2(tmp_path / "whole", context=8192)
    code, result, err = evaluate(
        *arguments, "--before", f"hf:{whole}?dtype=bfloat16", "--ability", "chain:2",
        model=f"hf:{whole}",
    )  # fmt: skip
    assert code == 0, err
    calls = {
        row["data"]["case_id"]: row["data"]["calls"] for row in records(result["run"], "judgment")
    }
    assert all(call["usage"]["prompt_tokens"] > tokens for call in calls["long"])
    assert all(call["finish"] != "error" for case in calls.values() for call in case)
    assert result["benches"]["long"]["before"]["num_cases"] == 2
    small = save_qwen2(tmp_path / "small", context=2048)
    questions = tmp_path / "questions.jsonl"
    write_jsonl(
        questions,
        [{"id": str(n), "question": f"{n} {words}", "target": "7"} for n in range(8)],
    )
    code, result, err = evaluate(*arguments, "--ability", questions, model=f"hf:{small}")
    assert result["benches"]["long"]["statuses"]["transport"] == 2
    assert "2 of 4 calls" in err
    assert "exceed the model's context of 2048" in err
    helps = "use a model with a longer context, leave such items out, or lower --max-tokens"
    assert err.count(f"asking again cannot help: {helps}") == 2  # the bench and the questions
    assert "--resume" not in err
    code, _, err = call(
        capsys,
        *("rise", "judge", "--model", f"hf:{small}", "--pairs", path, "--max-tokens", 4),
        *("--runs", tmp_path / "judged", "--json"),
    )
    assert code == 1
    assert "2 of 4 calls brought no reply (context 2; the prompt's " in err
    assert "longer context, leave such items out, or lower --max-tokens" in err
    assert "--resume" not in err


# --- bad input -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((), "no bench"),
        (("--pairs", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--pairs", "own.jsonl", "own.jsonl"), "given twice"),
        (("--ability", "chain:99"), "operands"),
        (("--ability", "sums"), "no task is called 'sums'"),
        (("--ability", "questions.jsonl"), "questions.jsonl"),
        (("--pairs", "own.jsonl", "--before", "scripted:longest"), "same as --model"),
        (("--pairs", "own.jsonl", "--before", "scripted:nobody"), "scripted:nobody"),
        (("--pairs", "own.jsonl", "--before", "hf:./nowhere"), "nowhere"),
        (("--pairs", "own.jsonl", "--template", "rating"), "template rating"),
        (("--pairs", "rb2.jsonl", "--list-template", "plain"), "template plain"),
        (("--pairs", "own.jsonl", "--orders", "fixed", "--limit", "0"), "--limit"),
        (("--pairs", "rb1.jsonl", "--orders", "fixed"), "slot A"),
        (("--pairs", "own.jsonl", "--trained-on", "nowhere"), "nowhere"),
        (("--pairs", "own.jsonl", "--trained-on", "empty"), "holds no rows"),
        (("--pairs", "own.jsonl", "--mode", "kind"), "--mode"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    capsys: Any,
    pairs: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.chdir(pairs.parent)
    write_jsonl(pairs.parent / "rb1.jsonl", V1)
    write_jsonl(pairs.parent / "rb2.jsonl", V2)
    (pairs.parent / "empty").mkdir()
    code, out, err = call(
        capsys, "rise", "evaluate", "--model", "scripted:longest", *arguments, "--runs", "runs"
    )
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert out == ""
    assert not (pairs.parent / "runs").exists()


def test_items_that_were_trained_on_are_refused(evaluate: Any, tmp_path: Path) -> None:
    long = (
        "Tell me in your own words why the moon shows us the same side all of the time, and "
        "whether that was so when it was young, please."
    )
    pair = {"reply_a": "yes", "reply_b": "no", "gold": "A"}
    report = tmp_path / "report.jsonl"
    write_jsonl(
        report,
        [
            {"id": "1", "question": "What is 2 + 2?", **pair},
            {"id": "2", "question": long, **pair},
            {"id": "3", "question": "What is 3 + 3?", **pair, "gold": "B"},
        ],
    )
    data = tmp_path / "data"
    turn = [{"role": "user", "content": "Which is better? <question>What is 9 + 9?</question>"}]
    row = {"prompt": turn, "completion": turn, "gold": "A"}
    # The same id is no evidence: files number their items alike.
    write_rows(data / "sft.jsonl", [{**row, "item_id": "1", "question": "What is 9 + 9?"}])
    (data / "sft.dropped.jsonl").write_text("not even JSON")
    code, _, err = evaluate("--pairs", report, "--trained-on", data)
    assert code == 0, err
    write_rows(
        data / "dpo.jsonl",
        [
            {**row, "item_id": "x7", "question": long.replace("please", "would you")},
            {**row, "item_id": "x8", "question": "what is  2+2"},
        ],
    )
    code, _, err = evaluate("--pairs", report, "--trained-on", data)
    assert code == 2
    assert "2 of 3 items were trained on" in err
    assert "training item x7: nearly the same question" in err
    assert "report.jsonl" in err
    # Rows of another maker hold their question inside the prompt; pairs will do as well.
    inside = [{"role": "user", "content": f"Judge.\n<question>\n{long}\n</question>\n[[A]]"}]
    rows = write_rows(tmp_path / "rows.jsonl", [{"prompt": inside, "completion": turn}])
    code, _, err = evaluate("--pairs", report, "--trained-on", rows)
    assert code == 2
    assert "1 of 3 items" in err
    code, _, err = evaluate("--pairs", report, "--trained-on", report)
    assert code == 2
    assert "3 of 3 items" in err


def test_questions_of_an_ability_that_were_trained_on_are_refused(
    evaluate: Any, tmp_path: Path
) -> None:
    """The rows of the toy world: its train split stays out of reports, a report chain does not."""
    rows = reasoner_rows("sft", 20)
    data = write_rows(tmp_path / "data" / "sft.jsonl", rows).parent
    arguments = ("--ability", "chain:3", "--ability-limit", 5, "--trained-on", data)
    code, _, err = evaluate(*arguments, model="scripted:always-a")
    assert code == 0, err
    (example,) = ChainTask(3).examples("report", 1)
    question = example.prompt[-1].content
    write_rows(data / "sft.jsonl", [*rows, {**rows[0], "item_id": "y", "question": question}])
    code, _, err = evaluate(*arguments, model="scripted:always-a")
    assert code == 2
    assert "task chain:3" in err
    assert "training item y" in err
