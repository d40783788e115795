"""`planish reheat loop` through its command line: turns, refusals, kill and resume, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from planish.cli import main
from planish.methods.reheat.looping import turns
from planish.methods.reheat.looping.plan import Plan
from planish.methods.reheat.method import Decision, EntropyProbe, Trigger
from planish.models import load
from planish.records import Sampling, user
from planish.runs.info import read_info
from planish.runs.rows import read_rows
from planish.training.callbacks import Recorder
from planish.training.checkpoint import trained
from planish.training.groups import Score
from support.typed import next_commands

ROOT = Path(__file__).parents[3]
COMMON = ("--prompts", 24, "--probe-prompts", 8, "--report-prompts", 8, "--samples", 4)
COMMON += ("--steps", 12, "--prompts-per-step", 4, "--rollouts", 4, "--probe-every", 1)
COMMON += ("--save-every", 2, "--batch-size", 64, "--max-tokens", 6, "--learning-rate", 1e-3)
OPEN_GATE = ("--max-kl", 99, "--min-top10", 0, "--min-agreement", 0, "--ceiling-ratio", 99)
WARMING = ("--reheat-temperature", 2, "--reheat-learning-rate", 3e-3, "--max-steps", 20)
WARMING += ("--reheat-prompts", 8, "--reheat-rollouts", 2, "--trains", "all")
HELD = ("--hold-delta", 0.01, "--hold-down", 0.5)
CLOCK = ("step_time", "wall_s")


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["reheat", "loop", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def typed(folder, *arguments, model="embedded:reasoner", task="chain:3"):
    """The words of a command; what is given stands in place of what is common."""
    given = ("--model", model, "--task", task, "--out", folder / "out", "--runs", folder / "runs")
    given += ("--preset", "tiny", *COMMON, *OPEN_GATE, *WARMING, "--stop-ratio", 1, *arguments)
    pairs = dict(zip(given[::2], given[1::2], strict=True))
    return [str(word) for pair in pairs.items() for word in pair]


def loop(capsys, folder, *arguments, **options):
    return call(capsys, *typed(folder, *arguments, **options), "--json")


def done(capsys, folder, *arguments, **options):
    code, out, err = loop(capsys, folder, *arguments, **options)
    assert code == 0, err
    assert len(out.splitlines()) == 1
    return json.loads(out), only_run(folder), err


def only_run(folder):
    (run,) = (folder / "runs" / "reheat").iterdir()
    return run


def metrics(run):
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: row[name] for name in row if name not in CLOCK} for row in rows]


def decisions(run):
    return [(row.id, row.read(Decision)) for row in read_rows(run, "decision")]


def probes(run):
    return {row.id: row.read(EntropyProbe) for row in read_rows(run, "probe")}


def same_weights(one, other):
    one, other = (load_file(folder / "model.safetensors") for folder in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def forced(monkeypatch):
    """The trigger fires as soon as it may."""
    monkeypatch.setattr(Plan, "trigger", property(lambda plan: Trigger(absolute=99, patience=2)))


@pytest.fixture
def by_letters(monkeypatch):
    """A reward that every text has: random weights earn none of a task's."""

    class Letters:
        def __init__(self, task, examples):
            pass

        def __call__(self, rollouts):
            return [Score(float(sum(map(ord, r.completion.text)) % 3)) for r in rollouts]

    monkeypatch.setattr("planish.methods.reheat.looping.rl.TaskRewarder", Letters)


def test_two_rounds_on_a_fresh_qwen3_with_a_chat_template(
    capsys, tmp_path, checkpoint, forced, by_letters
):
    base = checkpoint("qwen3")
    summary, run, err = done(
        *(capsys, tmp_path, "--rounds", 2, "--reference-entropy", 4.9, *HELD), model=f"hf:{base}"
    )
    assert (summary["steps"], summary["reheats"], summary["reheats_refused"]) == (12, 2, 0)
    assert summary["sentence"] == "12 steps of RL in 3 phases, reheated 2 times"
    artifacts = run / "artifacts"
    phases = ["rl-1", "reheat-1", "rl-2", "reheat-2", "rl-3"]
    assert [name for name in phases if (artifacts / name / "model.safetensors").exists()] == phases
    assert not list(artifacts.glob("*-checkpoints"))
    steps = {name: trained(artifacts / name).steps for name in phases}
    assert steps["rl-1"] + steps["rl-2"] + steps["rl-3"] == 12
    assert summary["reheat_steps"] == steps["reheat-1"] + steps["reheat-2"] > 0
    assert [trained(artifacts / name).kind for name in phases] == ["grpo", "reheat"] * 2 + ["grpo"]

    rates = {row["phase"]: row["learning_rate"] for row in metrics(run) if "phase" in row}
    assert rates == {"rl-1": 1e-3, "rl-2": 5e-4, "rl-3": 5e-4}
    held = {row["phase"] for row in metrics(run) if "entropy_coef" in row}
    assert held == {"rl-2", "rl-3"}  # the bonus that holds the warmth follows a reheating

    told = decisions(run)
    assert [id.partition("/")[0] for id, each in told if each.action == "fire"] == [
        "rl-1", "rl-2", "rl-3"
    ]  # fmt: skip
    assert [id for id, each in told if each.action == "resume"] == ["rl-2/resume", "rl-3/resume"]
    assert [each.checkpoint for _, each in told if each.action == "resume"] == [
        str(artifacts / "reheat-1"), str(artifacts / "reheat-2")
    ]  # fmt: skip
    assert all(each.entropy_ref == 4.9 for each in probes(run).values())
    # What a phase ends with the next one begins with, told by the same draws.
    ends = {
        name: max(
            (int(id.split("/")[-2]), probe.entropy.mean)
            for id, probe in probes(run).items()
            if id.startswith(f"{name}/") and probe.kind == "on_policy"
        )[1]
        for name in phases[:-1]
    }
    firsts = {name: probes(run)[f"{name}/0/on_policy"].entropy.mean for name in ("rl-2", "rl-3")}
    assert firsts["rl-2"] == pytest.approx(ends["reheat-1"], abs=1e-5)
    assert firsts["rl-3"] == pytest.approx(ends["reheat-2"], abs=1e-5)
    assert ends["reheat-1"] >= 4.9

    out = tmp_path / "out"
    assert same_weights(out, artifacts / "rl-3")
    assert not same_weights(out, artifacts / "reheat-2")
    ((reply,),) = load(f"hf:{out}").generate([user("3 + 4")], Sampling(max_tokens=4))
    assert reply.finish != "error"
    card = (out / "README.md").read_text()
    assert str(tmp_path) not in card
    assert "reheated 2 times" in card
    page = (run / "report.html").read_text()
    assert "collapsed since step" in page
    assert page.count("over the steps of all phases") == 3
    assert summary["report"] == str(run / "report.html")
    assert "rl-1: collapsed since step 0" in err
    assert {row["phase"] for row in metrics(run) if "phase" in row} == {"rl-1", "rl-2", "rl-3"}


def test_numbers_before_and_after_are_paired_by_prompt(capsys, tmp_path):
    summary, run, _ = done(capsys, tmp_path, "--rounds", 0)
    assert summary["sentence"] == "12 steps of RL in 1 phase, without reheating"
    rows = {row.id: row.data for row in read_rows(run, "row")}
    after = [row for id, row in rows.items() if not id.startswith("before/")]
    before = [rows[f"before/{row['item_id']}"] for row in after]
    assert len(after) == 8
    for name, side in (("before", before), ("after", after)):
        right = sum(row["c"] / row["n"] for row in side) / 8
        assert summary[f"pass_at_1_{name}"] == pytest.approx(right)
        low, high = summary[f"pass_at_1_{name}_ci"]
        assert low <= right <= high
    gain = summary["pass_at_1_after"] - summary["pass_at_1_before"]
    assert summary["pass_at_1_gain"] == pytest.approx(gain)
    assert {"pass_at_2_gain", "greedy_gain", "coverage_after"} <= summary.keys()
    scores = [row.data for row in read_rows(run, "score")]
    assert len(scores) == 8
    assert {"pass_at_1", "pass_at_2", "greedy"} == scores[0].keys()
    assert [row["step"] for row in metrics(run)] == list(range(1, 13))
    assert {"reward", "entropy", "frac_reward_zero_std"} <= metrics(run)[0].keys()


def test_people_are_told_how_to_look_at_what_came_out(capsys, tmp_path):
    code, out, err = call(capsys, *typed(tmp_path, "--rounds", 0))
    assert code == 0, err
    ((_, _, stage, *words),) = next_commands(out)
    told = dict(zip(words[::2], words[1::2], strict=True))
    assert (stage, told["--model"]) == ("diagnose", f"hf:{tmp_path / 'out'}")
    assert (told["--preset"], told["--max-tokens"], told["--samples"]) == ("tiny", "6", "4")


def test_a_policy_that_never_collapses_is_never_reheated(capsys, tmp_path):
    summary, run, _ = done(capsys, tmp_path, "--collapse-ratio", 0.01, "--stop-ratio", 0.02)
    assert summary["sentence"] == "12 steps of RL in 1 phase; the policy never collapsed"
    assert summary["reheats"] == 0
    assert summary["entropy_reference"] is not None
    assert decisions(run) == []
    window = [probes(run)[f"rl-1/{step}/on_policy"].entropy.mean for step in (2, 3)]
    assert summary["entropy_reference"] == pytest.approx(sum(window) / 2)


def test_what_the_gate_refuses_is_left_and_rl_goes_on_from_before(capsys, tmp_path, forced):
    summary, run, err = done(
        *(capsys, tmp_path, "--rounds", 1, "--reference-entropy", 0.05, "--max-kl", 1e-9),
        *("--learning-rate", 1e-4, "--reheat-learning-rate", 1e-3),
    )
    assert (summary["reheats"], summary["reheats_refused"]) == (0, 1)
    assert "reheated 0 times and 1 time in vain" in summary["sentence"]
    (resumed,) = [each for _, each in decisions(run) if each.action == "resume"]
    assert resumed.checkpoint == str(run / "artifacts" / "rl-1")
    assert "refused: token KL" in resumed.reason
    assert f"reheat-1: {resumed.reason}" in err
    assert not (run / "artifacts" / "reheat-1").exists()
    assert summary["steps"] == 12


SETTINGS = ("--rounds", 1, "--reference-entropy", 0.1, "--learning-rate", 1e-4)
SETTINGS += ("--reheat-learning-rate", 3e-4)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a loop that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plan, "trigger", property(lambda plan: Trigger(absolute=99, patience=2)))
        with pytest.raises(SystemExit) as stop:
            main(["reheat", "loop", *typed(folder, *SETTINGS)])
    assert stop.value.code == 0
    return folder


def test_interrupted_anywhere_it_goes_on_to_the_same_weights(
    capsys, tmp_path, monkeypatch, forced, whole
):
    there = only_run(whole)
    before = read_info(there).summary
    assert before["reheats"] == 1
    ended, left = Recorder.on_step_end, [0]

    def interrupt(self, args, state, control, **more):
        ended(self, args, state, control, **more)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    handed, fallen = turns._hand_over, []

    def fall(*arguments):
        if not fallen:
            fallen.append(arguments)
            raise KeyboardInterrupt
        handed(*arguments)

    monkeypatch.setattr(Recorder, "on_step_end", interrupt)
    monkeypatch.setattr(turns, "_hand_over", fall)
    stopped, again = 0, False
    for steps in (1, 2, 1, 5, 99):
        left[0] = steps
        arguments = (
            ("--resume", only_run(tmp_path / "cut"))
            if again
            else typed(tmp_path / "cut", *SETTINGS)
        )
        with pytest.raises((KeyboardInterrupt, SystemExit)) as stop:
            main(["reheat", "loop", *map(str, arguments)])
        again = True
        stopped += stop.type is KeyboardInterrupt or stop.value.code == 130
    capsys.readouterr()
    left[0] = 999
    code, out, err = call(capsys, "--resume", only_run(tmp_path / "cut"), "--json")
    assert code == 0, err
    here = only_run(tmp_path / "cut")
    assert stopped >= 4
    assert fallen
    assert same_weights(tmp_path / "cut" / "out", whole / "out")
    assert metrics(here) == metrics(there)
    assert probes(here) == probes(there)
    reasons = [[each.reason for _, each in decisions(run)] for run in (here, there)]
    assert reasons[0] == reasons[1]
    summary = json.loads(out)
    for name in ("entropy_reference", "entropy_after", "pass_at_1_after", "greedy_gain", "fired"):
        assert summary[name] == before[name]


def test_a_kill_between_the_trigger_and_the_phases_end_trains_no_further(
    capsys, tmp_path, monkeypatch, forced, whole
):
    there = only_run(whole)

    def killed(self, *_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_train_end", killed, raising=False)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            main(["reheat", "loop", *typed(tmp_path / "cut", *SETTINGS)])
    run = only_run(tmp_path / "cut")
    assert [each.action for _, each in decisions(run)] == ["fire"]
    assert not (run / "artifacts" / "rl-1").exists()
    capsys.readouterr()
    code, _, err = call(capsys, "--resume", run, "--json")
    assert code == 0, err
    assert metrics(run) == metrics(there)
    assert same_weights(tmp_path / "cut" / "out", whole / "out")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "openai:m@http://localhost/v1"), "cannot be trained"),
        (("--task", "chain:x"), "chain:x"),
        (("--stop-ratio", 0.1), "--stop-ratio: 0.1 is below --collapse-ratio 0.4"),
        (("--ceiling-ratio", 0.5), "--ceiling-ratio: must be above --stop-ratio 0.8, not 0.5"),
        (("--reheat-temperature", 1), "--reheat-temperature: must be above 1, not 1"),
        (("--anchor", "embedded:walker"), "--anchor: the norm before the head alone cannot"),
        (
            ("--anchor", "embedded:walker", "--trains", "all"),
            "--anchor: embedded:walker has another vocabulary",
        ),
        (("--max-tokens", 999), "more than the model's context of 128"),
        (("--inverse", None), "--inverse: cools, and a loop warms"),
        (("--probe-every", 100), "no probe falls between the steps 30 and 75 of 300"),
        (
            ("--probe-every", 100, "--rounds", 0),
            "no probe falls between the steps 30 and 75 of 300",
        ),
        (("--reference-entropy", 0), "must be above 0 nats, not 0"),
        (("--reference-entropy", "nan"), "must be above 0 nats, not nan"),
        (("--lora-rank", 4), "has no effect without --lora"),
        (("--vllm", "server"), "say where the vLLM server is"),
        (("--micro-batch-size", 7), "no multiple of 7"),
        (("--rounds", -1), "--rounds"),
        (("--teacher", "warm"), "use frozen, live, or refresh:K"),
        (("--out", "taken"), "exists already"),
        (("--out", "/proc/policy"), "--out /proc/policy: cannot be made"),
    ],
)
def test_wrong_options_are_one_line_and_leave_nothing(
    capsys, tmp_path, monkeypatch, arguments, complaint
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    given = {"--model": "embedded:reasoner", "--task": "chain:3", "--out": "policy"}
    given |= {"--runs": "runs"} | dict(zip(arguments[::2], arguments[1::2], strict=True))
    words = [word for pair in given.items() for word in pair if word is not None]
    code, out, err = call(capsys, *words)
    assert code == 2
    assert out == ""
    assert complaint in err
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken"]


@pytest.mark.parametrize("missing", ["--model", "--task", "--out"])
def test_what_is_missing_is_named(capsys, tmp_path, missing):
    given = {"--model": "embedded:reasoner", "--task": "chain:3", "--out": tmp_path / "policy"}
    del given[missing]
    code, _, err = call(capsys, *(part for pair in given.items() for part in pair))
    assert code == 2
    assert f"{missing}: is missing" in err


def test_a_temperature_that_was_left_in_a_config_is_refused(capsys, tmp_path, checkpoint):
    base = tmp_path / "base"
    base.mkdir()
    for file in checkpoint("qwen3").iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"logit_scale": 0.8}))
    code, _, err = loop(capsys, tmp_path, model=f"hf:{base}")
    assert code == 2
    assert "logit_scale is 0.8 in its config" in err
    assert not (tmp_path / "runs").exists()


def test_other_settings_do_not_go_on_with_a_run(capsys, tmp_path):
    _, run, _ = done(capsys, tmp_path, "--rounds", 0)
    code, _, err = call(capsys, "--resume", run, "--steps", 99)
    assert code == 2
    assert "steps = 12, this is 99" in err
    code, out, _ = call(capsys, "--resume", run, "--json")
    assert code == 0
    assert json.loads(out)["steps"] == 12
    assert len(metrics(run)) == 12


@pytest.mark.slow
def test_a_killed_process_goes_on_to_the_same_weights(tmp_path):
    more = ("--steps", 60, "--patience", 4, "--collapse-ratio", 1)
    stage = [sys.executable, "-m", "planish.cli", "reheat", "loop"]

    def start(command):
        return subprocess.Popen(
            [str(part) for part in command], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )

    assert start([*stage, *typed(tmp_path / "whole", *SETTINGS, *more)]).wait(250) == 0
    there = only_run(tmp_path / "whole")
    total = len(metrics(there))
    for number, share in enumerate((0.1, 0.4, 0.8)):
        given = typed(tmp_path / "cut", *SETTINGS, *more)
        if number:
            given = ["--resume", only_run(tmp_path / "cut")]
        process = start([*stage, *given])
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            found = list((tmp_path / "cut" / "runs").glob("reheat/*/metrics.jsonl"))
            if found and found[0].read_text().count("\n") >= share * total:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        assert process.wait() == -signal.SIGKILL
    here = only_run(tmp_path / "cut")
    assert start([*stage, "--resume", here]).wait(250) == 0
    assert same_weights(tmp_path / "cut" / "out", tmp_path / "whole" / "out")
    assert metrics(here) == metrics(there)
    assert probes(here) == probes(there)


@pytest.mark.slow
def test_two_processes_take_turns_together(tmp_path):
    config = ROOT / "configs" / "accelerate" / "cpu.yaml"
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", config),
        *("-m", "planish.cli", "reheat", "loop", "--json"),
        *typed(tmp_path, *SETTINGS, "--collapse-ratio", 1),
    ]
    ended = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=280,
    )
    assert ended.returncode == 0, ended.stderr
    assert len(ended.stdout.splitlines()) == 1
    run = only_run(tmp_path)
    assert read_info(run).config["num_processes"] == 2
    actions = [each.action for _, each in decisions(run)]
    assert actions[0] == "fire"
    assert "resume" in actions
    assert json.loads(ended.stdout)["steps"] == 12
    load(f"hf:{tmp_path / 'out'}")
