"""`planish reheat run`, through its real command: warm, refused, runaway, killed, bad input."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from planish.cli import main
from planish.methods.reheat.config import ReheatConfig
from planish.methods.reheat.data import prompt_sets
from planish.methods.reheat.thawing.reheating import thaw
from planish.methods.reheat.thawing.watching import Watching
from planish.models import load
from planish.records import Sampling, user
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.info import read_info
from planish.tasks.base import split_of
from planish.tasks.load import load_task
from planish.training import distill
from planish.training.checkpoint import trained
from planish.training.job import Job
from support.checkpoints import save_checkpoint
from support.typed import next_commands

TASK = "routes:16:3:4"
QUICK = (
    *("--max-tokens", 6, "--batch-size", 64, "--probe-prompts", 12, "--report-prompts", 5),
    *("--prompts", 40, "--reheat-prompts", 6, "--reheat-rollouts", 2, "--max-steps", 12),
    *("--reheat-temperature", 2, "--reheat-learning-rate", 0.01, "--save-every", 2),
)
LAX = ("--max-kl", 9, "--min-top10", 0, "--min-agreement", 0)
KEYS = (
    *("entropy_before", "entropy_after", "entropy_reference", "steps", "greedy_agreement"),
    *("token_kl", "top10_overlap", "gate", "checkpoint", "retained_mass", "cka_min"),
    *("accuracy_before", "accuracy_after", "ended", "num_rollouts", "seconds"),
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """A Qwen3 of random weights with a chat template, saved and loaded."""
    return save_checkpoint(tmp_path_factory.mktemp("reheat-run") / "healthy")


@pytest.fixture(scope="module")
def collapsed(healthy):
    """The same with its logits tripled: what it says greedily is the same, and little else."""
    folder = healthy.with_name("collapsed")
    save_checkpoint(folder)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] *= 3
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["reheat", "run", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def quick(*arguments):
    """Settings for tests, without those that are among the arguments."""
    pairs = zip(QUICK[::2], QUICK[1::2], strict=True)
    kept = [part for pair in pairs if pair[0] not in arguments for part in pair]
    return [*kept, *arguments]


def heat(capsys, folder, model, *arguments):
    return call(
        capsys,
        *("--model", f"hf:{model}", "--task", TASK, "--out", folder / "warm"),
        *("--runs", folder / "runs", "--json", *quick(*arguments)),
    )


def only_run(folder):
    (run,) = (folder / "runs" / "reheat").iterdir()
    return run


def records(run, kind):
    rows = [json.loads(line) for line in (run / "records.jsonl").read_text().splitlines()]
    return [row["data"] for row in rows if row["kind"] == kind]


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def digest(folder):
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


def same_weights(one, other):
    left, right = (load_file(folder / "model.safetensors") for folder in (one, other))
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


# -- warm -------------------------------------------------------------------------------------


def test_a_collapsed_policy_gets_warm_and_becomes_a_checkpoint(
    capsys, tmp_path, healthy, collapsed
):
    before = digest(collapsed)
    code, out, err = heat(
        capsys, tmp_path, collapsed, "--reference", f"hf:{healthy}", "--stop-ratio", 0.42, *LAX
    )
    assert code == 0, err
    told = json.loads(out)
    assert set(KEYS) <= told.keys()
    assert told["ended"] == "target"
    assert told["gate"] == "passed"
    assert told["entropy_after"] >= 0.42 * told["entropy_reference"] > told["entropy_before"]
    low, high = told["entropy_before_ci"]
    assert low < told["entropy_before"] < high
    for name in ("token_kl", "greedy_agreement", "top10_overlap", "retained_mass"):
        low, high = told[f"{name}_ci"]
        assert low < told[name] < high
    assert told["num_rollouts"] == 12 * told["steps"]
    assert told["checkpoint"] == str(tmp_path / "warm")
    assert digest(collapsed) == before

    warm = tmp_path / "warm"
    assert trained(warm).kind == "reheat"
    assert trained(warm).steps == told["steps"]
    assert "logit_scale" not in json.loads((warm / "config.json").read_text())
    card = (warm / "README.md").read_text()
    assert card.startswith("---\nlibrary_name")
    assert str(tmp_path) not in card
    [[reply]] = load(f"hf:{warm}").generate([user("two")], Sampling(max_tokens=3))
    assert reply.finish in ("stop", "length")

    run = only_run(tmp_path)
    info = read_info(run)
    assert (info.status, info.stage) == ("done", "run")
    assert info.summary["entropy_after"] == told["entropy_after"]
    probes = records(run, "probe")
    assert [row["step"] for row in probes if row["kind"] == "on_policy"] == list(
        range(told["steps"] + 1)
    )
    assert probes[-2]["entropy"]["mean"] == pytest.approx(told["entropy_after"], abs=1e-5)
    actions = [row["action"] for row in records(run, "decision")]
    assert actions == ["stop", "gate_pass"]
    rows = metrics(run)
    assert [row["step"] for row in rows] == list(range(1, told["steps"] + 1))
    for row in rows:
        assert 0 < row["cosine_to_entropy_ascent"] < 1
        assert row["loss"] > 0
        assert row["wall_s"] > 0
        assert (row["mode"], row["direction"]) == ("frozen", "fkl")
    assert sorted(path.name for path in (run / "artifacts").iterdir()) == ["reheat-frozen.json"]
    page = (run / "report.html").read_text()
    assert "ceiling" in page
    assert "linear CKA" in page


@pytest.mark.parametrize("teacher", ["live", "refresh:2"])
@pytest.mark.parametrize("direction", ["fkl", "rkl"])
def test_every_teacher_warms(capsys, tmp_path, collapsed, teacher, direction):
    code, out, err = heat(
        capsys, tmp_path, collapsed, "--target-entropy", 2.6, "--ceiling-ratio", 3, *LAX,
        *("--teacher", teacher, "--direction", direction),
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert told["entropy_after"] >= 2.6 > told["entropy_before"]
    assert told["entropy_reference"] is None
    cosines = [row["cosine_to_entropy_ascent"] for row in metrics(only_run(tmp_path))]
    assert all(0.5 < cosine < 1 for cosine in cosines)


def test_an_adapter_warms_and_is_merged(capsys, tmp_path, collapsed):
    code, out, err = heat(
        capsys, tmp_path, collapsed, "--target-entropy", 1.7, *LAX, "--lora", "--lora-rank", 4,
        *("--reheat-learning-rate", 0.02),
    )  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["entropy_after"] >= 1.7
    assert (tmp_path / "warm" / "adapter").is_dir()


def test_the_way_back_cools(capsys, tmp_path, healthy):
    code, out, err = heat(
        capsys, tmp_path, healthy, "--target-entropy", 4.1, "--inverse", *LAX,
        *("--reheat-temperature", 0.7, "--direction", "rkl"),
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert told["entropy_after"] <= 4.1 < told["entropy_before"]


def test_people_read_the_numbers_and_what_comes_next(capsys, tmp_path, collapsed):
    code, out, err = call(
        capsys, "--model", f"hf:{collapsed}", "--task", TASK, "--out", tmp_path / "warm",
        *("--runs", tmp_path / "runs", "--reference-entropy", 1.8, *quick(*LAX)),
    )  # fmt: skip
    assert code == 0, err
    assert "passed" in out
    look, train = next_commands(out)
    assert (look[2], train[2]) == ("diagnose", "loop")
    for words in (look, train):
        assert words[words.index("--max-tokens") + 1] == "6"
    assert look[look.index("--reference-entropy") + 1] == "1.8"
    assert train[train.index("--reheat-prompts") + 1] == "6"


# -- not warm ---------------------------------------------------------------------------------


def test_what_the_gate_refuses_is_tried_once_more_at_half_the_rate(capsys, tmp_path, collapsed):
    before = digest(collapsed)
    code, out, err = heat(capsys, tmp_path, collapsed, "--reference-entropy", 1.8)
    assert code == 1
    told = json.loads(out)
    assert told["attempts"] == 2
    assert any("token KL" in words for words in told["gate"])
    kept = Path(told["checkpoint"])
    run = only_run(tmp_path)
    assert kept == run / "artifacts" / "reheat-2"
    assert f"kept as hf:{kept}" in err
    assert "the gate refused it" in err
    assert "Traceback" not in err
    assert trained(kept).kind == "reheat"
    assert not (tmp_path / "warm").exists()
    assert digest(collapsed) == before
    rates = {row["stage"]: row["learning_rate"] for row in metrics(run)}
    assert rates == {"reheat-1": 0.01, "reheat-2": 0.005}
    assert [row["action"] for row in records(run, "decision")] == ["stop", "gate_fail"] * 2
    assert read_info(run).status == "failed"
    assert read_info(run).summary["token_kl"] == told["token_kl"]
    assert told["num_rollouts"] == 12 * len(metrics(run))


def test_steps_that_run_out_are_told(capsys, tmp_path, collapsed):
    code, out, err = heat(
        capsys, tmp_path, collapsed, "--target-entropy", 5, *LAX, "--max-steps", 2
    )
    assert code == 1
    told = json.loads(out)
    assert (told["ended"], told["steps"], told["attempts"]) == ("exhausted", 2, 1)
    assert "the steps ran out" in err
    assert not (tmp_path / "warm").exists()
    code, out, _ = call(
        capsys, "--model", f"hf:{collapsed}", "--task", TASK, "--out", tmp_path / "warm",
        *("--runs", tmp_path / "runs", "--target-entropy", 5),
        *quick(*LAX, "--max-steps", 2),
    )  # fmt: skip
    (again,) = next_commands(out)
    assert again[again.index("--max-steps") + 1] == "4"
    assert again.count("--max-steps") == 1
    assert again[again.index("--max-tokens") + 1] == "6"
    assert again[again.index("--reheat-learning-rate") + 1] == "0.01"


def test_a_healthy_policy_is_refused_before_anything_is_trained(capsys, tmp_path, healthy):
    code, out, err = heat(capsys, tmp_path, healthy, "--reference", f"hf:{healthy}")
    assert code == 2
    assert out == ""
    assert "it is not collapsed" in err
    assert "--force" in err
    run = only_run(tmp_path)
    assert not (run / "metrics.jsonl").exists() or not metrics(run)
    assert [path.name for path in (run / "artifacts").iterdir()] == ["reheat-frozen.json"]
    assert not (tmp_path / "warm").exists()


def test_a_runaway_is_stopped_by_the_ceiling_and_taken_back_bit_for_bit(capsys, tmp_path, healthy):
    """The paper's live teacher at a high rate on a policy that needs no heat."""
    arguments = (
        *("--reference", f"hf:{healthy}", "--teacher", "live", "--reheat-learning-rate", 0.3),
        *("--ceiling-ratio", 1.1, "--stop-ratio", 1.09),
    )
    code, out, err = heat(capsys, tmp_path, healthy, *arguments, "--force")
    assert code == 1, err
    told = json.loads(out)
    assert (told["ended"], told["steps"]) == ("ceiling", 0)
    assert "above its ceiling" in err
    assert same_weights(Path(told["checkpoint"]), healthy)
    assert told["token_kl"] == 0
    assert told["greedy_agreement"] == told["top10_overlap"] == 1
    assert told["entropy_after"] == told["entropy_before"]
    assert [row["action"] for row in records(only_run(tmp_path), "decision")] == [
        "rollback",
        "gate_pass",
    ]
    assert not (tmp_path / "warm").exists()


# -- killed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "teacher"),
    [
        pytest.param((1, 0), "frozen", marks=pytest.mark.slow),
        ((1, 3), "frozen"),
        ((2, 1), "refresh:2"),
    ],
)
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    capsys, tmp_path, monkeypatch, collapsed, place, teacher
):
    arguments = ("--reference-entropy", 1.8, "--teacher", teacher)
    assert heat(capsys, tmp_path / "whole", collapsed, *arguments)[0] == 1
    original = Watching.__call__

    def killed(self, step, checkpoint):
        answer = original(self, step, checkpoint)
        if (self._attempt, step) == place:
            raise KeyboardInterrupt
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(Watching, "__call__", killed)
        code, _, err = heat(capsys, tmp_path / "cut", collapsed, *arguments)
        assert code != 0
        assert "go on with: planish reheat run --resume" in err
    run, whole = only_run(tmp_path / "cut"), only_run(tmp_path / "whole")
    code, out, _ = call(capsys, "--resume", run, "--json")
    assert code == 1
    assert json.loads(out)["steps"] == read_info(whole).summary["steps"]
    assert records(run, "probe") == records(whole, "probe")
    assert records(run, "decision") == [
        {**row, "checkpoint": row["checkpoint"].replace(str(whole), str(run))}
        for row in records(whole, "decision")
    ]
    for attempt in ("reheat-1", "reheat-2"):
        assert same_weights(run / "artifacts" / attempt, whole / "artifacts" / attempt)
    timeless = [
        [
            {k: v for k, v in row.items() if k not in ("wall_s", "step_time")}
            for row in metrics(folder)
        ]
        for folder in (run, whole)
    ]
    assert timeless[0] == timeless[1]


def test_what_is_done_is_not_done_again(capsys, tmp_path, monkeypatch, collapsed):
    """Neither a reheating that was judged, nor one that was only trained."""
    arguments = ("--reference-entropy", 1.8, *LAX)
    with monkeypatch.context() as patch:
        patch.setattr("planish.methods.reheat.thawing.reheating.judge", _killed)
        assert heat(capsys, tmp_path, collapsed, *arguments)[0] != 0
    run = only_run(tmp_path)
    assert (run / "artifacts" / "reheat-1").is_dir()
    assert not (tmp_path / "warm").exists()
    with monkeypatch.context() as patch:
        patch.setattr("planish.methods.reheat.thawing.reheating.train_distill", _killed)
        patch.setattr("planish.methods.reheat.thawing.reheating.measure", _killed)
        code, out, err = call(capsys, "--resume", run, "--json")
        assert code == 0, err
        patch.setattr("planish.methods.reheat.thawing.reheating.judge", _killed)
        assert call(capsys, "--resume", run, "--json")[1] == out
    assert trained(tmp_path / "warm").run == run.name


def _killed(*_, **__):
    raise KeyboardInterrupt


def test_a_resume_with_other_settings_is_refused(capsys, tmp_path, collapsed):
    assert heat(capsys, tmp_path, collapsed, "--reference-entropy", 1.8)[0] == 1
    run = only_run(tmp_path)
    code, _, err = call(capsys, "--resume", run, "--max-steps", 99)
    assert code == 2
    assert "max_steps = 12, this is 99" in err


# -- bad input --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--reheat-temperature", 1), "must be above 1, not 1"),
        (("--reheat-temperature", 0.8), "add --inverse to cool"),
        (("--inverse",), "must be below 1 to cool, not 2"),
        (("--ceiling-ratio", 0.5), "must be above --stop-ratio 1, not 0.5"),
        (("--teacher", "refresh:0"), "refresh:K with K steps"),
        (("--teacher", "refresh:2", "--lora"), "needs whole weights"),
        (("--lora", "--lora-dropout", 0.1), "without dropout"),
        (("--lora-rank", 4), "has no effect without --lora"),
        (("--micro-batch-size", 5), "no multiple of 5"),
        (("--target-entropy", 1), "give one of them"),
        (("--reference-entropy", 0), "must be above 0 nats"),
        (("--max-tokens", 500), "the model's context of 256"),
        (("--vllm", "server"), "--vllm-url: is missing"),
        (("--lora", "--trains", "final_norm"), "leave one of --lora and --trains out"),
        (("--anchor", "scripted:judge"), "cannot be trained"),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, collapsed, change, words):
    base = ("--reference-entropy", 1.8) if "--reference-entropy" not in change else ()
    code, out, err = heat(capsys, tmp_path, collapsed, *base, *change)
    assert code == 2, err
    assert out == ""
    assert words in err
    assert "Traceback" not in err
    assert not (tmp_path / "warm").exists()


def test_without_a_goal_it_does_not_start(capsys, tmp_path, collapsed):
    code, _, err = heat(capsys, tmp_path, collapsed)
    assert code == 2
    assert "--reference: is missing" in err
    code, _, err = call(capsys, "--model", f"hf:{collapsed}", "--task", TASK)
    assert code == 2
    assert "--out: is missing" in err


def test_a_live_teacher_wants_the_trl_that_was_checked(capsys, tmp_path, monkeypatch, collapsed):
    monkeypatch.setattr(distill, "LIVE_TRL", "9.9.")
    code, _, err = heat(
        capsys, tmp_path, collapsed, "--reference-entropy", 1.8, "--teacher", "live"
    )
    assert code == 2
    assert "checked in 9.9.x" in err
    assert not (tmp_path / "runs").exists()


def test_a_task_without_a_prompt_to_probe_on_is_refused(capsys, tmp_path, collapsed):
    questions = tmp_path / "questions.jsonl"
    questions.write_text(
        "".join(
            json.dumps({"question": f"{one} + 1?", "target": str(one + 1)}) + "\n"
            for one in range(100)
            if split_of(f"{one} + 1?") != "gate"
        )
    )
    code, _, err = call(
        capsys, "--model", f"hf:{collapsed}", "--task", questions, "--out", tmp_path / "warm",
        *("--runs", tmp_path / "runs", "--reference-entropy", 1.8, *quick()),
    )  # fmt: skip
    assert code == 2
    assert "no question in 'gate'" in err
    assert "--probe-prompts" in err


def test_another_vocabulary_is_refused(capsys, tmp_path, collapsed):
    other = save_checkpoint(tmp_path / "other", vocabulary=310)
    code, _, err = heat(capsys, tmp_path, collapsed, "--reference", f"hf:{other}")
    assert code == 2
    assert "another vocabulary" in err


def test_an_anchor_of_another_vocabulary_is_refused(capsys, tmp_path, collapsed):
    other = save_checkpoint(tmp_path / "other", vocabulary=310)
    code, _, err = heat(
        capsys, tmp_path, collapsed, "--reference-entropy", 1.8, "--anchor", f"hf:{other}"
    )
    assert code == 2
    assert "--anchor" in err
    assert "another vocabulary" in err


def test_towards_an_anchor_nothing_is_compared_with_an_entropy_bonus(
    capsys, tmp_path, healthy, collapsed
):
    code, out, err = heat(
        capsys, tmp_path, collapsed, "--reference-entropy", 1.8, "--anchor", f"hf:{healthy}", *LAX
    )
    assert code == 0, err
    assert json.loads(out)["entropy_after"] >= 1.8
    rows = metrics(only_run(tmp_path))
    assert rows
    assert "cosine_to_entropy_ascent" not in rows[0]


def test_a_left_over_temperature_is_refused(capsys, tmp_path):
    model = save_checkpoint(tmp_path / "tempered")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "logit_scale": 0.5}))
    code, _, err = heat(capsys, tmp_path, model, "--reference-entropy", 1.8)
    assert code == 2
    assert "logit_scale is 0.5" in err


def test_an_out_that_is_there_is_refused(capsys, tmp_path, collapsed):
    (tmp_path / "warm").mkdir()
    code, _, err = heat(capsys, tmp_path, collapsed, "--reference-entropy", 1.8)
    assert code == 2
    assert "exists already" in err


def test_a_loss_that_is_not_finite_names_step_and_items(capsys, tmp_path, monkeypatch, collapsed):
    class Broken(distill._Trainer):
        def _compute_loss(self, *arguments):
            loss, entropy, count = super()._compute_loss(*arguments)
            return loss * (float("nan") if self.state.global_step == 2 else 1), entropy, count

    monkeypatch.setattr(distill, "_Trainer", Broken)
    code, out, err = heat(capsys, tmp_path, collapsed, "--target-entropy", 5)
    assert code == 1
    assert out == ""
    assert "the loss is not finite on items routes:16:3:4:" in err
    assert "at step 3" in err
    assert "the last good checkpoint is that of step 2" in err
    assert "Traceback" not in err


# -- in-process -------------------------------------------------------------------------------


def thawed(folder, model, **options):
    """What `thaw` brings inside a run that somebody else keeps, such as that of a loop."""
    task = load_task(TASK)
    sets = prompt_sets(task, train=40, probe=12, report=5, seed=0)
    config = ReheatConfig(
        max_tokens=6,
        batch_size=64,
        reheat_prompts=6,
        reheat_learning_rate=0.01,
        reheat_temperature=2,
        max_steps=12,
        max_kl=9,
        min_top10=0,
        min_agreement=0,
    )
    with Run.create("reheat", "loop", config, root=folder / "runs") as run:
        job = Job(run.path, run, Screen(json=True))
        found = [
            thaw(
                str(model),
                task,
                sets,
                config,
                job=job,
                name=name,
                out=run.artifact(name),
                examples=sets.train.examples[:7],
                **options,
            )
            for name in ("reheat-1", "reheat-2", "reheat-1")
        ]
    assert found[2] == found[0]  # read back
    return found[0], found[1], run


def test_two_reheatings_share_a_run(tmp_path, collapsed):
    one, two, run = thawed(tmp_path, collapsed, reference=1.8)
    assert one.is_warm
    assert one.checkpoint == run.path / "artifacts" / "reheat-1"
    assert trained(one.checkpoint).num_rows == 7
    assert same_weights(one.checkpoint, two.checkpoint)
    assert one.preservation == two.preservation
    assert {row["stage"] for row in metrics(run.path)} == {"reheat-1-1", "reheat-2-1"}


def test_a_policy_that_is_warm_is_left_as_it_is(tmp_path, healthy):
    one, _, run = thawed(tmp_path, healthy, reference=2.0)
    assert (one.ended, one.steps, one.num_rollouts) == ("target", 0, 0)
    assert one.is_warm
    assert one.before == one.after
    assert same_weights(one.checkpoint, healthy)
    assert not (run.path / "metrics.jsonl").exists()


# -- many processes ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("teacher", ["frozen", "live", "refresh:2"])
def test_two_processes_have_the_loss_of_one(tmp_path, collapsed, teacher):
    """With one token a reply the loss hangs on the prompts alone, not on who drew what."""
    config = Path(__file__).parents[3] / "configs" / "accelerate" / "cpu.yaml"
    rows = {}
    for name, launcher in (
        ("two", ("-m", "accelerate.commands.launch", "--config_file", config, "-m")),
        ("one", ("-m",)),
    ):
        done = subprocess.run(
            [
                str(part)
                for part in (
                    *(sys.executable, *launcher, "planish.cli", "reheat", "run"),
                    *("--model", f"hf:{collapsed}", "--task", TASK, "--out", tmp_path / name),
                    *("--runs", tmp_path / f"runs-{name}" / "runs", "--json"),
                    *quick("--max-tokens", 1, "--teacher", teacher, *LAX),
                    *("--target-entropy", 2.0, "--ceiling-ratio", 3),
                )
            ],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        run = only_run(tmp_path / f"runs-{name}")
        rows[name] = metrics(run)
        rows[f"{name}-probes"] = records(run, "probe")
    assert len(rows["one"]) == len(rows["two"]) > 1
    for one, two in zip(rows["one"], rows["two"], strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-4)
        assert one["probe_entropy"] == pytest.approx(two["probe_entropy"], abs=1e-4)
    left, right = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    for key in left:
        assert torch.allclose(left[key], right[key], atol=1e-3)
