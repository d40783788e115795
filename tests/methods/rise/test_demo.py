"""The demonstration: offline, the same numbers every time, every planted fault found."""

import json
from pathlib import Path

import pytest

from planish.cli import main
from planish.judges.pairs import task_cases
from planish.records import write_jsonl
from planish.tasks.chain import ChainTask


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_demo_of_the_room_rise(capsys, tmp_path, every_demo):
    rise = every_demo["rise"]
    assert rise["planted_found"] == rise["planted_numbers"] == 19
    assert rise["solve_rate"] >= 0.97
    assert 0.58 <= rise["call_accuracy"] <= 0.70
    assert 0.3 <= rise["consistency"] <= 0.6
    # Two stages teach the apprentice, and SFT on as many rows does not teach it more.
    assert rise["judge_gain_ci"][0] > 0.05
    assert rise["judge_minus_sft_equal_rows_ci"][1] > 0
    assert rise["judge_supported_minus_sft_equal_rows_ci"][0] > 0
    assert rise["judge_coverage_after"] > 0.95
    assert rise["judge_solve_after"] >= rise["judge_solve_before_ci"][0]
    assert rise["judge_rows"]["sft"] + rise["judge_rows"]["dpo"] == rise["judge_rows"]["alone"]
    page = Path(every_demo["report"]).read_text()
    assert "<script src" not in page
    assert "Four planted faults" in page
    assert "A judge is taught" in page

    code, out, _ = call(capsys, "demo", "rise", "--runs", tmp_path, "--json")
    again = json.loads(out)
    places = ("run", "report", "cost")  # its seconds are those of the clock
    assert {name: again[name] for name in again if name not in places} == {
        name: rise[name] for name in rise if name not in places
    }

    # The pairs that the demo leaves behind give the numbers that it showed.
    artifacts = Path(again["run"]) / "artifacts"
    code, out, err = call(
        capsys,
        *("rise", "judge", "--model", "embedded:reasoner", "--preset", "tiny"),
        *("--pairs", artifacts / "pairs.jsonl", "--runs", tmp_path, "--json"),
    )
    assert code == 0, err
    judged = json.loads(out)
    assert judged["both_right"] == rise["both_right"]
    assert judged["consistency"] == rise["consistency"]

    # So does the command that it proposes run on the judge that it made.
    code, out, err = call(
        capsys,
        *("rise", "evaluate", "--model", f"hf:{artifacts / 'lesson' / 'judge'}"),
        *("--before", "embedded:apprentice", "--preset", "tiny", "--limit", 40, "--no-ability"),
        *("--pairs", artifacts / "pairs.jsonl", "--runs", tmp_path, "--json"),
    )
    assert code == 0, err


def test_the_reasoner_reads_better_calibrated_than_it_votes(capsys, tmp_path):
    """Verdicts from the distribution run on the embedded model, after its own reasoning."""
    pairs = tmp_path / "pairs.jsonl"
    write_jsonl(pairs, task_cases(ChainTask(num_operands=3), split="report", limit=60, seed=1))
    results = {}
    for reading in ("text", "reasoned", "direct"):
        code, out, err = call(
            capsys,
            *("rise", "judge", "--model", "embedded:reasoner", "--preset", "tiny"),
            *("--pairs", pairs, "--reading", reading, "--aggregate", "mean"),
            *("--runs", tmp_path, "--json"),
        )
        assert code == 0, err
        results[reading] = json.loads(out)
    assert results["direct"]["coverage"] == 1
    assert results["reasoned"]["coverage"] >= results["text"]["coverage"]
    assert results["reasoned"]["brier"] < results["text"]["brier"]
