"""The same command on real backends: checkpoints from disk and a misbehaving server."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from planish.cli import main
from planish.judges.planted import planted_cases
from planish.judges.templates import named
from planish.records import write_jsonl
from support.checkpoints import save_checkpoint
from support.server import reply_to
from support.training import reasoner_rows, save_qwen2, turn, write_rows

NUMBERS = ("vote_accuracy", "both_right", "consistency", "first_slot_rate", "coverage")


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    write_jsonl(path, planted_cases(60, 3))
    return path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


@pytest.mark.parametrize("kind", ["qwen3", "llama", "gemma3"])
def test_checkpoints_judge_by_text_and_by_distribution(capsys, tmp_path, pairs, kind):
    """Random weights say nothing sensible; every path must run and count honestly."""
    folder = save_checkpoint(tmp_path / kind, kind, max_positions=2048)
    arguments = ("--pairs", pairs, "--limit", 6, "--max-tokens", 8, "--runs", tmp_path / "runs")
    results = {}
    for reading, batch in (("text", 8), ("text", 1), ("direct", 8), ("direct", 1), ("reasoned", 8)):
        code, out, err = call(
            capsys,
            *("rise", "judge", "--model", f"hf:{folder}?batch_size={batch}", *arguments),
            *("--reading", reading, "--aggregate", "mean", "--json"),
        )
        assert code == 0, err
        results[reading, batch] = json.loads(out)
    assert results["text", 8]["statuses"] == results["text", 1]["statuses"]
    direct = results["direct", 8]
    assert direct["coverage"] == 1
    # Cut after eight tokens: a verdict is not forced on what was cut.
    assert results["reasoned", 8]["statuses"].get("truncated") == results["text", 8][
        "statuses"
    ].get("truncated")
    assert direct["brier"] == pytest.approx(results["direct", 1]["brier"], abs=1e-4)
    texts = [
        [call["text"] for call in judgment["calls"]]
        for batch in (8, 1)
        for judgment in judgments(results["text", batch]["run"])
    ]
    assert texts[:6] == texts[6:]


@pytest.mark.parametrize("lora", [(), ("--lora", "--lora-rank", 4)])
def test_a_fresh_qwen2_is_trained_in_two_stages_and_evaluated(capsys, tmp_path, pairs, lora):
    """From disk to disk with a chat template; a row of 3,000 tokens is trained on whole."""
    base, judge = save_qwen2(tmp_path / "base"), tmp_path / "judge"
    for kind in ("sft", "dpo"):
        rows = reasoner_rows(kind, 8)
        rows[0]["prompt"] = turn("the quick brown fox jumps over the lazy dog " * 140)
        write_rows(tmp_path / "data" / f"{kind}.jsonl", rows)
    data, runs = tmp_path / "data", ("--runs", tmp_path / "runs", "--json")
    code, out, err = call(
        capsys,
        *("rise", "train", "--model", f"hf:{base}", "--sft", data, "--dpo", data, "--out", judge),
        *("--sft-steps", 2, "--sft-batch-size", 8, "--dpo-steps", 2, "--dpo-batch-size", 8),
        *("--micro-batch-size", 1, *runs, *lora),
    )
    assert code == 0, err
    run = Path(json.loads(out)["run"])
    rows = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    stages = {row["id"]: row["data"] for row in rows if row["kind"] == "stage"}
    logged = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in ("sft", "dpo"):
        assert 3000 < stages[name]["longest"] < 4096
        (last,) = [row for row in logged if (row["stage"], row["step"]) == (name, 2)]
        assert last["num_tokens"] == 2 * stages[name]["num_tokens"]  # nothing was cut
    assert (judge / "adapter").exists() == bool(lora)
    code, out, err = call(
        capsys,
        *("rise", "evaluate", "--model", f"hf:{judge}", "--before", f"hf:{base}", "--pairs", pairs),
        *("--limit", 4, "--max-tokens", 4, "--min-coverage", 0, "--ability", "chain:2", *runs),
    )
    assert code == 0, err
    bench = json.loads(out)["benches"]["pairs"]
    assert sum(bench["statuses"].values()) == sum(bench["before"]["statuses"].values()) == 8
    assert "transport" not in bench["statuses"]


def judgments(run):
    lines = (Path(run) / "records.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return [row["data"] for row in rows if row["kind"] == "judgment"]


def expected_votes(cases):
    """What the server's reply to every prompt of ours says, in the case frame."""
    votes = {}
    for case in cases:
        for perm in ((0, 1), (1, 0)):
            chat = named("plain").render(case, perm)
            messages = [{"role": m.role, "content": m.content} for m in chat]
            label = reply_to(messages, 0)[-3]
            votes[case.id, perm] = "AB"[perm["AB".index(label)]]
    return votes


def test_an_endpoint_that_fails_at_times_loses_and_doubles_nothing(
    capsys, chat_server, tmp_path, pairs
):
    server = chat_server(
        faults={"429": 0.1, "500": 0.05, "drop": 0.05, "empty": 0.05, "latin": 0.05}
    )
    code, out, err = call(
        capsys,
        *("rise", "judge", "--model", f"openai:m@{server.url}", "--pairs", pairs),
        *("--runs", tmp_path / "runs", "--json"),
    )
    assert code == 0, err
    result = json.loads(out)
    assert result["num_cases"] == 60
    assert result["coverage"] == 1
    assert server.count("ok") == 120
    assert result["cost"]["failed_attempts"] == server.count() - 120 > 0
    wanted = expected_votes(planted_cases(60, 3))
    for judgment in judgments(result["run"]):
        for made, vote in zip(judgment["calls"], judgment["votes"], strict=True):
            assert vote == wanted[judgment["case_id"], tuple(made["perm"])]


def test_a_server_that_dies_leaves_a_run_that_goes_on(capsys, chat_server, tmp_path, pairs):
    server = chat_server(faults={"500": 1.0})
    code, out, err = call(
        capsys,
        *("rise", "judge", "--model", f"openai:m@{server.url}?retries=1", "--pairs", pairs),
        *("--limit", 4, "--runs", tmp_path / "runs"),
    )
    assert code == 1
    assert "--resume" in err
    assert "no headline" in out
    run = next((tmp_path / "runs" / "rise").iterdir())
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    server.close()
    again = chat_server(port=server.port)
    code, out, err = call(capsys, "rise", "judge", "--resume", run, "--json")
    assert code == 0, err
    assert json.loads(out)["coverage"] == 1
    assert again.count("ok") == 8


def test_a_wrong_address_is_one_line(capsys, tmp_path, pairs):
    code, _, err = call(
        capsys,
        *("rise", "judge", "--model", "openai:m@http://127.0.0.1:9/v1?retries=0"),
        *("--pairs", pairs, "--runs", tmp_path / "runs"),
    )
    assert code == 2
    assert "127.0.0.1:9" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGKILL,
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_killed_at_a_random_moment_and_resumed(chat_server, tmp_path, pairs, how):
    """No finished call is paid twice, nothing is lost, and the numbers are those of one go."""
    server = chat_server(delay=0.05)
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "planish.cli", "rise", "judge", "--json"]
    first = subprocess.Popen(
        [
            *command,
            "--model",
            f"openai:m@{server.url}?in_flight=4",
            "--pairs",
            pairs,
            "--runs",
            runs,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    deadline = time.monotonic() + 60
    enough = random.Random(how).randrange(15, 90)
    while server.count("ok") < enough and time.monotonic() < deadline:
        time.sleep(0.01)
    first.send_signal(how)
    _, err = first.communicate(timeout=60)
    assert first.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[how]
    if how != signal.SIGKILL:
        assert "--resume" in err
        assert "Traceback" not in err
    run = next((runs / "rise").iterdir())
    with (run / "records.jsonl").open("a") as torn:
        torn.write('{"kind": "judgm')
    with (run / "artifacts" / "replies.jsonl").open("a") as torn:
        torn.write('{"key": "12')
    second = subprocess.run(
        [*command, "--resume", run], capture_output=True, text=True, timeout=120
    )
    assert second.returncode == 0, second.stderr
    assert "records.jsonl" in second.stderr
    assert "replies.jsonl" in second.stderr
    resumed = json.loads(second.stdout)
    # Only what was in flight at the kill may have been asked twice: at most one a connection.
    assert server.count() <= 120 + 4
    whole = subprocess.run(
        [*command, "--model", f"openai:m@{server.url}", "--pairs", pairs, "--runs", tmp_path / "w"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    for name in NUMBERS:
        assert resumed[name] == json.loads(whole.stdout)[name]
    assert {j["case_id"] for j in judgments(run)} == {c.id for c in planted_cases(60, 3)}


def test_two_processes_do_not_share_a_run(chat_server, tmp_path, pairs):
    server = chat_server(delay=0.3)
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "planish.cli", "rise", "judge"]
    first = subprocess.Popen(
        [
            *command,
            "--model",
            f"openai:m@{server.url}?in_flight=2",
            "--pairs",
            pairs,
            "--runs",
            runs,
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not server.count("ok") and time.monotonic() < deadline:
            time.sleep(0.02)
        run = next((runs / "rise").iterdir())
        second = subprocess.run(
            [*command, "--resume", run], capture_output=True, text=True, timeout=60
        )
        assert second.returncode == 2
        assert str(first.pid) in second.stderr
    finally:
        first.kill()
        first.wait()
