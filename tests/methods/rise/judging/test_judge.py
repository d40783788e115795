"""`planish rise judge` through the real command line: numbers, resume, floors, faults."""

import json
import shlex
from pathlib import Path

import pytest

from planish.cli import main
from planish.judges.planted import planted_cases
from planish.methods.rise.config import Config
from planish.records import write_jsonl
from planish.runs.presets import resolve

BASIC = ("num_cases", "coverage", "vote_accuracy", "both_right", "consistency", "first_slot_rate")


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "id": case.id,
            "question": case.example.prompt[0].content,
            "reply_a": case.replies[0],
            "reply_b": case.replies[1],
            "gold": case.gold,
        }
        for case in planted_cases(40, 1)
    ]
    write_jsonl(path, rows)
    return path


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def judge(capsys, pairs, *more, model="scripted:longest"):
    code, out, err = call(
        capsys,
        *("rise", "judge", "--model", model, "--pairs", pairs),
        *("--runs", pairs.parent / "runs", "--json", *more),
    )
    return code, json.loads(out) if out else None, err


def test_json_holds_every_number_and_its_interval(capsys, pairs):
    code, result, _ = judge(capsys, pairs)
    assert code == 0
    assert result["num_cases"] == 40
    for name in BASIC:
        assert name in result
        if name != "num_cases":
            low, high = result[f"{name}_ci"]
            assert 0 <= low <= result[name] <= high <= 1
    assert result["consistency"] == 1
    assert result["first_slot_rate"] == 0.5
    run = Path(result["run"])
    assert (run / "report.html").stat().st_size > 1000
    lines = (run / "records.jsonl").read_text().splitlines()
    assert sum(json.loads(line)["kind"] == "judgment" for line in lines) == 40
    info = json.loads((run / "run.json").read_text())
    assert info["status"] == "done"
    assert info["summary"]["vote_accuracy"] == result["vote_accuracy"]


def test_text_output_ends_with_run_and_next_command(capsys, pairs):
    code, out, err = call(
        capsys,
        *("rise", "judge", "--model", "scripted:longest", "--pairs", pairs),
        *("--runs", pairs.parent / "runs"),
    )
    assert code == 0
    assert "vote accuracy" in out
    assert "report  " in out
    following = next(line for line in out.splitlines() if line.startswith("next"))
    words = shlex.split(following.removeprefix("next"))
    assert words[0] == "planish"
    code, out, err = call(capsys, *words[1:])
    assert code == 0, err
    assert "vote_accuracy" in out


@pytest.mark.parametrize(
    "options",
    [
        ["--orders", "random"],
        ["--orders", "fixed", "--aggregate", "mean"],
        ["--samples", "3", "--aggregate", "strict"],
        ["--samples", "5", "--stop-early"],
        ["--template", "rise"],
        ["--preset", "laptop", "--limit", "5"],
    ],
)
def test_every_dial_runs(capsys, pairs, options):
    model = f"scripted:noisy?p=0.9&pairs={pairs}"
    code, result, err = judge(capsys, pairs, *options, model=model)
    assert code == 0, err
    assert result["coverage"] == 1


def test_a_judge_below_the_floor_gets_no_headline(capsys, pairs):
    model = f"scripted:noisy?p=1&null=0.5&pairs={pairs}"
    arguments = ("rise", "judge", "--model", model, "--pairs", pairs, "--runs", pairs.parent)
    code, out, _ = call(capsys, *arguments)
    assert code == 0
    assert "no headline" in out
    assert "vote accuracy" not in out
    code, out, _ = call(capsys, *arguments, "--min-coverage", "0.1")
    assert "vote accuracy" in out


def test_resume_repeats_no_call_and_gives_the_same_numbers(capsys, pairs):
    _, whole, _ = judge(capsys, pairs)
    run = Path(whole["run"])
    records, replies = run / "records.jsonl", run / "artifacts" / "replies.jsonl"
    # As a kill would leave it: half of the judgments, and a torn line.
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[:15]) + lines[15][:20])
    before = replies.read_text()
    code, out, err = call(capsys, "rise", "judge", "--resume", run, "--json")
    again = json.loads(out)
    assert code == 0
    assert replies.read_text() == before
    assert "records.jsonl" in err
    for name in BASIC:
        assert again[name] == whole[name]


def test_resume_with_other_settings_is_refused(capsys, pairs, tmp_path):
    _, whole, _ = judge(capsys, pairs)
    for options, named in [
        (["--orders", "fixed"], "orders"),
        (["--model", "scripted:tie"], "model"),
        (["--limit", "3"], "limit"),
    ]:
        code, _, err = call(capsys, "rise", "judge", "--resume", whole["run"], *options)
        assert code == 2
        assert named in err
    pairs.write_text(pairs.read_text().replace("plus", "and"))
    code, _, err = call(capsys, "rise", "judge", "--resume", whole["run"])
    assert code == 2
    assert "pairs_sha256" in err


def test_a_run_goes_on_from_anywhere_with_its_own_cache(capsys, pairs, tmp_path, monkeypatch):
    shared = tmp_path / "shared.jsonl"
    code, whole, _ = judge(capsys, pairs, "--cache", shared)
    assert code == 0
    run = Path(whole["run"])
    (run / "records.jsonl").unlink()
    before = shared.read_text()
    monkeypatch.chdir("/")
    for name in (run, run.name, "last"):
        code, out, err = call(
            capsys, "rise", "judge", "--resume", name, "--runs", pairs.parent / "runs", "--json"
        )
        assert code == 0, err
        assert json.loads(out)["vote_accuracy"] == whole["vote_accuracy"]
    assert shared.read_text() == before
    assert not (run / "artifacts").exists()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--seed", "-1"], "--seed"),
        (["--temperature", "inf"], "--temperature"),
        (["--stop-early"], "one sample"),
        (["--limit", "0"], "--limit"),
        (["--cache", "."], "directory"),
    ],
)
def test_bad_dials_are_told_before_a_run_is_made(capsys, pairs, options, complaint):
    code, _, err = judge(capsys, pairs, *options)
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err
    assert not (pairs.parent / "runs").exists()


@pytest.mark.parametrize("text", ['{{ "x" * 1 / 0 }}', '{% include "/etc/passwd" %}'])
def test_a_template_that_breaks_while_rendering_is_one_line(capsys, pairs, tmp_path, text):
    path = tmp_path / "mine.jinja"
    path.write_text("{{ question }}{{ reply_a }}{{ reply_b }}[[A]][[B]]" + text)
    code, _, err = judge(capsys, pairs, "--template", path)
    assert code == 2
    assert err.count("\n") == 1
    assert not (pairs.parent / "runs").exists()


def test_half_a_run_is_scored_with_a_limit(capsys, pairs):
    _, judged, _ = judge(capsys, pairs, "--limit", 10)
    records = Path(judged["run"]) / "records.jsonl"
    arguments = ("rise", "score", records, "--pairs", pairs, "--runs", pairs.parent, "--json")
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert "--limit" in err
    code, out, err = call(capsys, *arguments, "--limit", 10)
    assert code == 0, err
    assert json.loads(out)["vote_accuracy"] == judged["vote_accuracy"]


def test_one_order_claims_nothing_about_orders(capsys, pairs):
    code, out, _ = call(
        capsys,
        *("rise", "judge", "--model", "scripted:longest", "--pairs", pairs),
        *("--orders", "fixed", "--runs", pairs.parent / "runs"),
    )
    assert code == 0
    assert "same decision" not in out


def test_a_resumed_run_stays_one_judge(capsys, pairs, tmp_path, monkeypatch):
    """Editing the template between two visits would mix two judges in one result."""
    own = tmp_path / "own.jinja"
    text = (
        "{{ question }}\n<reply_a>\n{{ reply_a }}\n</reply_a>\n<reply_b>\n{{ reply_b }}\n"
        "</reply_b>\n[[A]] or [[B]]"
    )
    own.write_text(text)
    monkeypatch.chdir(tmp_path)
    _, whole, _ = judge(capsys, pairs, "--template", "own.jinja")
    monkeypatch.chdir("/")
    code, _, err = call(capsys, "rise", "judge", "--resume", whole["run"], "--json")
    assert code == 0, err
    own.write_text(text + " please")
    code, _, err = call(capsys, "rise", "judge", "--resume", whole["run"])
    assert code == 2
    assert "template_hash" in err


def test_a_fixed_order_with_every_gold_in_one_slot_is_refused(capsys, pairs):
    rows = [json.loads(line) for line in pairs.read_text().splitlines()]
    write_jsonl(pairs, [row for row in rows if row["gold"] == "A"])
    code, _, err = judge(capsys, pairs, "--orders", "fixed")
    assert code == 2
    assert "slot A" in err


def test_dials_change_what_they_say(capsys, pairs):
    model = f"scripted:noisy?p=0.7&pairs={pairs}"
    calls = {}
    for name, options in {
        "both": [],
        "random": ["--orders", "random"],
        "three": ["--samples", "3"],
        "early": ["--samples", "7", "--stop-early"],
        "few": ["--limit", "5"],
    }.items():
        _, result, _ = judge(capsys, pairs, *options, model=model)
        calls[name] = result["cost"]["calls"]
    assert (calls["both"], calls["random"], calls["three"], calls["few"]) == (80, 40, 240, 10)
    assert 240 < calls["early"] < 560
    _, strict, _ = judge(capsys, pairs, "--aggregate", "strict", model=model)
    assert strict["accuracy"] == strict["both_right"]


def test_runs_are_compared_case_by_case(capsys, pairs):
    _, one, _ = judge(capsys, pairs)
    _, two, _ = judge(capsys, pairs, model="scripted:shortest")
    code, out, _ = call(
        capsys, "runs", "compare", one["run"], two["run"], "--runs", pairs.parent, "--json"
    )
    paired = json.loads(out)["paired"]
    assert code == 0
    assert paired[0]["name"] == "right"
    assert paired[0]["n"] == 40
    difference = two["accuracy"] - one["accuracy"]
    assert paired[0]["difference"]["value"] == pytest.approx(difference)
    assert paired[0]["mcnemar"]["p_value"] <= 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "pairs.jsonl"),
        ('{"id": "a", "question": "?", "reply_a": "x", "reply_b": "y", "gold": "C"}', ":1"),
        ('{"id": "a", "question": "?", "reply_a": "x", "reply_b": "x", "gold": "A"}', "identical"),
        ('{"id": "a", "question": "?", "reply_a": "x", "reply_b": "y"}', "gold"),
        ('{"id": "a"', ":1"),
        ("[1, 2]", ":1"),
    ],
)
def test_bad_pairs_are_named_and_nothing_is_written(capsys, tmp_path, text, complaint):
    path = tmp_path / "pairs.jsonl"
    path.write_text(text)
    code, _, err = call(
        capsys,
        *("rise", "judge", "--model", "scripted:tie", "--pairs", path),
        *("--runs", tmp_path / "runs"),
    )
    assert code == 2
    assert complaint in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_bad_model_or_template_leaves_no_run(capsys, pairs):
    for options in (["--model", "scripted:nobody"], ["--model", "hf:./nowhere"]):
        code, _, err = call(
            capsys, "rise", "judge", *options, "--pairs", pairs, "--runs", pairs.parent / "runs"
        )
        assert code == 2, err
    code, _, err = judge(capsys, pairs, "--template", "rating")
    assert code == 2
    code, _, err = judge(capsys, pairs, "--reading", "direct")
    assert code == 2
    assert "probability" in err
    assert not (pairs.parent / "runs").exists()


def test_presets_are_a_start_that_flags_override():
    assert resolve("paper", Config(max_tokens=7)).max_tokens == 7
    assert resolve("paper", Config(max_tokens=7)).template == "rise"
    assert resolve(None, Config()).template == "plain"


def test_lists_are_refused_with_the_stage_that_judges_them(capsys, tmp_path):
    path = tmp_path / "rb2.jsonl"
    row = {"id": "a", "prompt": "?", "chosen": ["x"], "rejected": ["y", "z", "w"]}
    counts = {"num_correct": 1, "num_incorrect": 3, "total_completions": 4, "subset": "Math"}
    write_jsonl(path, [row | counts])
    code, _, err = judge(capsys, path)
    assert code == 2
    assert "planish rise evaluate" in err
    assert not (tmp_path / "runs").exists()
