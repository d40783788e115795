"""`planish rise train` through its command line: two stages, killed and resumed, wrong input."""

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
from planish.methods.rise.learning import training_pages
from planish.methods.rise.learning.config import TrainConfig
from planish.models import load
from planish.records import Sampling, user
from planish.runs.info import read_info
from planish.runs.presets import resolve
from planish.training.callbacks import Recorder
from support.training import reasoner_rows, save_qwen2, turn, write_rows

ROWS = 64
QUICK = ("--preset", "tiny", "--sft-steps", 6, "--dpo-steps", 6, "--save-every", 2)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def data(tmp_path):
    for kind in ("sft", "dpo"):
        write_rows(tmp_path / "data" / f"{kind}.jsonl", reasoner_rows(kind, ROWS))
    return tmp_path / "data"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["rise", "train", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def train(capsys, data, folder, *arguments, model="embedded:reasoner"):
    both = ("--sft", data, "--dpo", data) if data else ()
    return call(
        capsys,
        *("--model", model, *both, "--out", folder / "judge", "--runs", folder / "runs"),
        *(arguments or QUICK),
        "--json",
    )


def only_run(folder):
    (run,) = (folder / "runs" / "rise").iterdir()
    return run


def metrics(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def squeezed(text):
    """Without blanks and line ends: a pipe folds long paths."""
    return "".join(str(text).split())


def same_weights(one, other):
    one, other = (load_file(folder / "model.safetensors") for folder in (one, other))
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_two_stages_end_in_a_checkpoint_with_a_card_and_a_report(capsys, tmp_path, data):
    code, out, err = train(capsys, data, tmp_path)
    assert code == 0, err
    summary, run, judge = json.loads(out), only_run(tmp_path), tmp_path / "judge"
    assert summary["run"] == str(run)
    assert (summary["sft_steps"], summary["dpo_steps"]) == (6, 6)
    assert summary["sft_loss"] < summary["sft_first_loss"]

    logged = metrics(run)
    assert [(row["stage"], row["step"]) for row in logged] == [
        (stage, step) for stage in ("sft", "dpo") for step in range(1, 7)
    ]
    assert {"loss", "grad_norm", "learning_rate", "rewards/margins"} <= set(logged[-1])

    info = read_info(run)
    assert (info.status, info.stage, info.seed) == ("done", "train", 0)
    assert info.summary["dpo_pair_accuracy"] == summary["dpo_pair_accuracy"]
    assert info.config["sft_learning_rate"] == TrainConfig.tiny().sft_learning_rate
    assert os.listdir(run / "artifacts") == ["sft"]  # optimizer states are gone

    card = (judge / "README.md").read_text()
    for text in (
        "| sft | `sft.jsonl` |",
        f"| {ROWS // 2} | {ROWS} |",
        f"| dpo_learning_rate | {TrainConfig.tiny().dpo_learning_rate} |",
        f"| beta | {TrainConfig.tiny().beta} |",
        "| seed | 0 |",
        f"| dpo_loss | {summary['dpo_loss']:.4g} |",
        run.name,
        "on the training rows",
    ):
        assert text in card
    page = (run / "report.html").read_text()
    assert page.count('aria-label="') >= 6
    assert "SFT on judgments, then DPO with NLL on pairs of judgments" in page

    for folder in (judge, run / "artifacts" / "sft"):
        model = load(f"hf:{folder}")
        ((completion,),) = model.generate([user("3 + 4")], Sampling(temperature=0, max_tokens=8))
        assert completion.text == "7"
    assert not same_weights(judge, run / "artifacts" / "sft")


def test_the_command_of_a_card_can_be_pasted_where_a_name_has_blanks(capsys, tmp_path, data):
    code, _, err = call(
        capsys,
        *("--model", "embedded:reasoner", "--sft", data, "--out", tmp_path / "two words"),
        *("--preset", "tiny", "--sft-steps", 1, "--runs", tmp_path / "runs"),
    )
    assert code == 0, err
    card = (tmp_path / "two words" / "README.md").read_text()
    [line] = [line for line in card.splitlines() if line.startswith("    planish ")]
    judge = ["planish", "rise", "judge", "--model", "hf:./two words"]
    assert shlex.split(line) == [*judge, "--pairs", "PAIRS.jsonl"]


def test_both_stages_are_what_each_alone_would_do(capsys, tmp_path, data):
    assert train(capsys, data, tmp_path / "both")[0] == 0
    alone = tmp_path / "alone"
    runs = ("--runs", tmp_path / "runs", "--preset", "tiny", "--save-every", 2)
    first = ("--model", "embedded:reasoner", "--sft", data, "--out", alone / "sft")
    second = ("--model", f"hf:{alone / 'sft'}", "--dpo", data / "dpo.jsonl", "--out", alone / "dpo")
    for stage, steps in ((first, "--sft-steps"), (second, "--dpo-steps")):
        code, _, err = call(capsys, *stage, *runs, steps, 6)
        assert code == 0, err
    assert same_weights(tmp_path / "both" / "judge", alone / "dpo")


@pytest.mark.parametrize(
    ("stage", "step"), [pytest.param("sft", 3, marks=pytest.mark.slow), ("dpo", 5)]
)
def test_interrupted_training_resumes_to_the_same_numbers(
    capsys, tmp_path, data, monkeypatch, stage, step
):
    assert train(capsys, data, tmp_path / "whole")[0] == 0
    ended = Recorder.on_step_end
    steps = []

    def interrupt(self, args, state, control, **more):
        ended(self, args, state, control, **more)
        if state.global_step == step and f"{stage}-checkpoints" in args.output_dir:
            steps.append(step)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "on_step_end", interrupt)
        code, _, err = train(capsys, data, tmp_path / "cut")
    run = only_run(tmp_path / "cut")
    assert code == 130
    assert steps == [step]
    assert squeezed(f"go on with: planish rise train --resume {run}") in squeezed(err)
    assert read_info(run).status == "interrupted"
    assert not (tmp_path / "cut" / "judge").exists()

    code, _, err = call(capsys, "--resume", run, "--json")
    assert code == 0, err
    whole = only_run(tmp_path / "whole")
    assert same_weights(tmp_path / "cut" / "judge", tmp_path / "whole" / "judge")
    assert metrics(run) == metrics(whole)
    assert read_info(run).summary == read_info(whole).summary
    assert (tmp_path / "cut" / "judge" / "README.md").exists()


def test_a_crash_after_the_last_step_costs_no_training(capsys, tmp_path, data, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(training_pages, "model_card", full)
        assert train(capsys, data, tmp_path)[0] == 1
    run = only_run(tmp_path)
    before = metrics(run)
    code, _, err = call(capsys, "--resume", run)
    assert code == 0, err
    assert metrics(run) == before
    assert "dpo_loss" in (tmp_path / "judge" / "README.md").read_text()
    # A run that is done is shown again, and nothing is trained.
    assert call(capsys, "--resume", run)[0] == 0
    assert metrics(run) == before


def test_a_run_goes_on_from_another_folder(capsys, tmp_path, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = ("--model", "embedded:reasoner", "--sft", "data", "--out", "judge", "--runs", "runs")
    assert call(capsys, *calls, "--preset", "tiny", "--sft-steps", 2)[0] == 0
    run = only_run(tmp_path)
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(info | {"status": "interrupted"}))
    weights = (tmp_path / "judge" / "model.safetensors").read_bytes()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, _, err = call(capsys, "--resume", run)
    assert code == 0, err
    assert (tmp_path / "judge" / "model.safetensors").read_bytes() == weights
    assert not list((tmp_path / "elsewhere").iterdir())
    card = (tmp_path / "judge" / "README.md").read_text()
    assert "hf:./judge" in card
    assert str(tmp_path) not in card


def test_a_resume_must_match(capsys, tmp_path, data):
    assert train(capsys, data, tmp_path)[0] == 0
    run = only_run(tmp_path)
    code, _, err = call(capsys, "--resume", run, "--beta", 0.5)
    assert code == 2
    assert "started with beta = 1.0, this is 0.5" in err
    write_rows(data / "dpo.jsonl", reasoner_rows("dpo", ROWS + 2))
    code, _, err = call(capsys, "--resume", run)
    assert code == 2
    assert "data_sha256.dpo" in err


def test_numbers_that_are_none_end_with_the_step(capsys, tmp_path, data):
    code, out, err = train(
        capsys, data, tmp_path, *QUICK, "--sft-learning-rate", 1e25, "--schedule", "constant"
    )
    assert code == 1
    assert out == ""
    assert "at step" in err
    assert "last good checkpoint" in err
    assert "Traceback" not in err
    run = only_run(tmp_path)
    assert read_info(run).status == "failed"
    assert "at step" in read_info(run).reason
    assert not (tmp_path / "judge").exists()


@pytest.mark.slow
def test_nothing_but_ours_reaches_the_terminal(tmp_path, data):
    """In a fresh process, where each library says what it says once."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "planish.cli", "rise", "train", "--preset", "tiny"),
            *("--model", "embedded:reasoner", "--sft", data, "--dpo", data, "--lora"),
            *("--sft-steps", "2", "--dpo-steps", "2"),
            *("--out", tmp_path / "judge", "--runs", tmp_path / "runs", "--json"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert squeezed(done.stderr) == squeezed(f"run {only_run(tmp_path)}")


def test_help_is_there_without_torch():
    script = (
        "import sys; import planish.methods.rise.train; "
        "sys.exit(bool({'torch', 'transformers', 'trl', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_presets_and_flags_on_top_of_them():
    paper = resolve("paper", TrainConfig(sft_epochs=3))
    assert (paper.sft_epochs, paper.sft_batch_size) == (3, TrainConfig.paper().sft_batch_size)
    assert (paper.beta, paper.alpha) == (0.1, 1.0)
    assert TrainConfig.laptop().lora
    assert TrainConfig(sft_epochs=1.5, sft_batch_size=10).num_steps("sft", 25) == 5
    assert TrainConfig(dpo_steps=7).num_steps("dpo", 25) == 7


def report_of(path, questions):
    rows = [
        {"id": f"r{n}", "question": question, "reply_a": "1", "reply_b": "2", "gold": "A"}
        for n, question in enumerate(questions)
    ]
    return write_rows(path, rows)


LONG = (
    "A farmer has twelve brown hens and four white ducks, and every bird lays one egg each "
    "morning before the sun is up; how many eggs are in the basket at noon?"
)
FREE = "Which of the seven rivers of this valley carries the most water in a dry summer, and why?"


@pytest.mark.parametrize(
    ("changes", "asked", "why"),
    [
        ({"question": "What is 2 + 2?"}, "what is  2 + 2", "same question"),
        ({"question": LONG}, LONG.replace("brown ", ""), "nearly the same question"),
        ({"prompt": turn(f"Judge.\n\n{LONG}\n\nA: 7 B: 8")}, LONG, "its prompt holds"),
        (
            {"prompt": turn(f"Judge.\n\n{LONG}\n\nA: 7 B: 8")},
            LONG.replace("brown ", ""),
            "its prompt nearly holds",
        ),
        ({"item_id": "r1"}, "What else?", "same id"),
    ],
)
def test_rows_of_the_report_stop_the_command(capsys, tmp_path, data, changes, asked, why):
    rows = reasoner_rows("dpo", ROWS)
    rows[7] |= {"item_id": "offender"} | changes
    rows[9] |= {"item_id": "offender"} | changes
    path = write_rows(data / "dpo.jsonl", rows)
    report = report_of(tmp_path / "report.jsonl", [FREE, asked])
    before = sorted(tmp_path.rglob("*"))
    code, out, err = train(capsys, data, tmp_path, *QUICK, "--report-pairs", report)
    assert code == 2
    assert out == ""
    first = changes.get("item_id", "offender")
    assert f"{report}: 2 of {len(rows)} rows are also in the report, the first is {first} " in err
    assert f"(report item r1: {why}" in err
    assert len(err.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before
    assert path.exists()


def test_a_report_that_is_apart_is_named_in_the_card_and_kept(capsys, tmp_path, data):
    both = [report_of(tmp_path / f"{name}.jsonl", [FREE, FREE + name]) for name in ("one", "two")]
    settings = (*("--preset", "tiny", "--sft-steps", 2, "--dpo-steps", 2), "--report-pairs", *both)
    code, _, err = train(capsys, data, tmp_path, *settings)
    assert code == 0, err
    card = (tmp_path / "judge" / "README.md").read_text()
    assert "No row asks, or nearly asks, a question of `one.jsonl` (sha256 `" in card
    assert "`two.jsonl`" in card
    assert "| near_duplicate | 0.6 |" in card
    run = only_run(tmp_path)
    assert read_info(run).config["report_pairs"] == [str(path) for path in both]
    assert call(capsys, "--resume", run)[0] == 0
    report_of(both[1], [FREE])
    code, _, err = call(capsys, "--resume", run)
    assert code == 2
    assert "report_sha256" in err


GIVEN = {"--model": "embedded:reasoner", "--out": "{tmp}/judge", "--sft": "{data}"}


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"--model": None}, "--model: is missing"),
        ({"--out": None}, "--out: is missing"),
        ({"--sft": None}, "no rows to train on"),
        ({"--stage": "dpo"}, "--dpo: is missing"),
        ({"--stage": "both"}, "--dpo: is missing"),
        ({"--model": "openai:gpt-5"}, "'openai:gpt-5' cannot be trained"),
        ({"--model": "embedded:reasoner?dtype=float16"}, "without options"),
        ({"--model": "embedded:owl"}, "no embedded model is called 'owl'"),
        ({"--model": "hf:{tmp}"}, "config.json"),
        ({"--model": "hf:./nowhere"}, "no such folder"),
        ({"--sft": "{tmp}/nowhere"}, "no such file or folder"),
        ({"--out": "{data}"}, "exists already"),
        ({"--out": "{data}/sft.jsonl/judge"}, "cannot be made"),
        ({"--max-length": "17"}, "nothing is cut; use --max-length 18"),
        ({"--micro-batch-size": "5"}, "--micro-batch-size"),
        ({"--dpo": "{data}", "--alpha": "0", "--preference-weight": "0"}, "nothing to learn"),
        ({"--sft-learning-rate": "-1"}, "--sft-learning-rate"),
        ({"--sft-learning-rate": "inf"}, "--sft-learning-rate: Input should be a finite number"),
        ({"--seed": "4294967296"}, "--seed: Input should be less than 4294967296"),
        ({"--dpo-steps": "4"}, "--dpo-steps: has no effect without stage dpo; train that"),
        ({"--beta": "0.5", "--preset": "tiny"}, "--beta: has no effect without stage dpo"),
        ({"--scalar-epochs": "1"}, "--scalar-epochs: has no effect without stage scalar"),
        (
            {"--sft": None, "--dpo": "{data}", "--sft-steps": "1"},
            "--sft-steps: has no effect without stage sft",
        ),
        (
            {"--dpo": "{data}", "--stage": "sft", "--alpha": "1"},
            "--alpha: has no effect without stage dpo",
        ),
        ({"--lora-rank": "4"}, "--lora-rank: has no effect without --lora"),
        ({"--report-pairs": "{tmp}/nowhere.jsonl"}, "nowhere.jsonl: No such file"),
        ({"--report-pairs": "{data}/sft.jsonl"}, "no known format of pairs"),
        ({"--resume": "{tmp}"}, "no run"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    capsys, tmp_path, data, monkeypatch, changes, complaint
):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    given = [
        part.format(tmp=tmp_path, data=data)
        for option, value in (GIVEN | changes).items()
        if value is not None
        for part in (option, value)
    ]
    before = sorted(tmp_path.rglob("*"))
    code, out, err = call(capsys, *given, "--runs", tmp_path / "runs")
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert complaint in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_gold_label_that_is_no_text_is_named_by_its_line(capsys, tmp_path, data):
    path = data / "sft.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[2]["gold"] = ["A"]
    write_rows(path, rows)
    code, _, err = call(
        capsys,
        *("--model", "embedded:reasoner", "--sft", path, "--out", tmp_path / "judge"),
        *("--runs", tmp_path / "runs"),
    )
    assert code == 2
    assert err.endswith(
        f'{path}:3: gold must be a text, not [\'A\']; write "A" or "B", or leave it out\n'
    )
    assert not (tmp_path / "runs").exists()


def test_a_long_row_is_named_with_what_it_needs(capsys, tmp_path):
    model = save_qwen2(tmp_path / "model", context=2048)
    row = {"prompt": turn("the quick " * 600), "completion": turn("A", "assistant")}
    short = {"prompt": turn("the quick"), "completion": turn("A", "assistant"), "item_id": "short"}
    path = write_rows(tmp_path / "sft.jsonl", [short, row | {"item_id": "long-one"}])
    code, _, err = call(
        capsys, *("--model", f"hf:{model}", "--sft", path, "--out", tmp_path / "judge")
    )
    assert code == 2
    assert f"{path}:2: item long-one has 3" in err
    assert "the model's context of 2048; 1 of 2 rows are too long and nothing is cut" in err


@pytest.mark.slow
@pytest.mark.parametrize("lora", [(), ("--lora", "--lora-dropout", "0.1")])
def test_a_killed_process_resumes_to_the_same_weights(capsys, tmp_path, data, lora):
    settings = ("--preset", "tiny", "--sft-steps", 60, "--dpo-steps", 60, "--save-every", 7, *lora)
    assert train(capsys, data, tmp_path / "whole", *settings)[0] == 0
    command = [
        *(sys.executable, "-m", "planish.cli", "rise", "train", "--model", "embedded:reasoner"),
        *("--sft", data, "--dpo", data, "--out", tmp_path / "cut" / "judge"),
        *("--runs", tmp_path / "cut" / "runs", *settings),
    ]
    for lines in (20, 90):  # once in either stage
        resume = [*command[:5], "--resume", only_run(tmp_path / "cut")] if lines > 20 else command
        process = subprocess.Popen(
            [str(part) for part in resume], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        deadline = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < deadline:
            found = list((tmp_path / "cut" / "runs").glob("rise/*/metrics.jsonl"))
            if found and found[0].read_text().count("\n") >= lines:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        assert process.wait() == -signal.SIGKILL
    run = only_run(tmp_path / "cut")
    code, _, err = call(capsys, "--resume", run)
    assert code == 0, err
    assert same_weights(tmp_path / "cut" / "judge", tmp_path / "whole" / "judge")
    assert metrics(run) == metrics(only_run(tmp_path / "whole"))


@pytest.mark.slow
def test_two_processes_train_one_judge(capsys, tmp_path, data):
    """As one process would, up to how DPO's NLL is averaged; one of them writes."""
    alone, launched = tmp_path / "alone", tmp_path / "launched"
    settings = [str(part) for part in QUICK]
    assert train(capsys, data, alone, *settings)[0] == 0
    config = Path(__file__).parents[3] / "configs" / "accelerate" / "cpu.yaml"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", config),
            *("-m", "planish.cli", "rise", "train", "--model", "embedded:reasoner"),
            *("--sft", data, "--dpo", data, "--out", launched / "judge"),
            *("--runs", launched / "runs", *settings, "--json"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    run = only_run(launched)
    assert read_info(run).status == "done"
    assert read_info(run).config["num_processes"] == 2
    one, two = metrics(only_run(alone)), metrics(run)
    assert [(row["stage"], row["step"]) for row in one] == [
        (row["stage"], row["step"]) for row in two
    ]
    for before, after in zip(one[:6], two[:6], strict=True):
        assert after["loss"] == pytest.approx(before["loss"], abs=1e-4)
    model = load(f"hf:{launched / 'judge'}")
    ((completion,),) = model.generate([user("3 + 4")], Sampling(temperature=0, max_tokens=8))
    assert completion.text == "7"
