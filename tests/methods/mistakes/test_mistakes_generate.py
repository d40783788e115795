"""`planish mistakes generate` as it is typed, with recorded replies and an endpoint."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.cli import main
from planish.methods.mistakes.config import Config, Generating, Sandboxing
from planish.methods.mistakes.data import RunRecord
from planish.methods.mistakes.loading import chat_of
from planish.methods.mistakes.running import generate as stage
from planish.methods.mistakes.running.reading import read_failures
from planish.methods.mistakes.showing.generated import Rates, pass_at
from planish.methods.mistakes.showing.verified import Verified
from planish.models.base import Watcher
from planish.models.replay import ReplayModel
from planish.records import Completion, Failure, read_jsonl, write_jsonl
from planish.runs import read_rows
from planish.tasks.sandbox import ExecResult
from support import programs
from support.typed import Typed

STAGE = Typed("mistakes", "generate")
call, told, refused = STAGE.call, STAGE.told, STAGE.refused

NAMES = ("doubled", "middle", "tally")


def replies(name):
    """Two for each task: right, in a fence with words around it; and wrong, cut at its end."""
    right, wrong = programs.CODES[name][:2]
    return [f"Here:\n```python\n{right[1]}```\nDone.", f"```python\n{wrong[1]}"]


@pytest.fixture
def recorded(tmp_path):
    """A model that repeats what was recorded, and its tasks."""
    programs.write(tmp_path, *NAMES)
    rows = [
        {
            "messages": [turn.model_dump() for turn in chat_of(programs.task(name))],
            "replies": [
                {"text": replies(name)[0]},
                {"text": replies(name)[1], "finish": "length"},
            ],
        }
        for name in NAMES
    ]
    write_jsonl(tmp_path / "replies.jsonl", rows)
    model = f"replay:{tmp_path / 'replies.jsonl'}"
    return "--model", model, "--tasks", tmp_path / "tasks.jsonl", "--samples", 2


def test_code_is_written_run_and_kept(capsys, tmp_path, recorded, one_box):
    found = told(capsys, tmp_path, *recorded)
    assert found["pass_at_1"] == 0.5
    assert found["pass_at_2"] == 1
    assert len(found["pass_at_1_ci"]) == 2
    assert (found["num_runs"], found["num_passed"], found["tasks"]) == (6, 3, 3)
    assert (found["coverage"], found["errors"], found["cut"]) == (1, 0, 3)
    assert found["by_status"] == {"pass": 3, "wrong_value": 3}
    model = recorded[1]
    raw = {row.id: row.read(stage.Reply) for row in read_rows(found["run"], "reply")}
    code = {row.id: row.read(RunRecord) for row in read_rows(found["run"], "run")}
    for name in NAMES:
        for number, reply in enumerate(replies(name)):
            key = f"{name}|{model}|{number}"
            assert raw[key].text == reply
            assert code[key].code == programs.CODES[name][number][1]
    failures = read_failures("last", root=tmp_path / "made")
    assert [run.run for run in failures.runs] == [1, 1, 1]
    assert set(failures.results) == {f"{name}|{model}|1" for name in NAMES}
    page = (tmp_path / found["report"]).read_text()
    assert "pass@1" in page
    assert "cut at" in page


def test_people_are_told_the_rate_and_what_to_do_next(capsys, tmp_path, recorded, one_box):
    code, out, err = call(capsys, tmp_path, *recorded)
    assert code == 0
    assert "pass@1" in out
    assert "planish mistakes diagnose " in out
    assert "3 of 6 replies were cut at 1024 tokens" in err


class Faulty:
    """The recorded model, with something that happens on the way; it counts what it is asked."""

    in_flight = 1

    def __init__(self, path, happens):
        self.inner, self.happens = ReplayModel(path, name="faulty"), happens
        self.name, self.revision, self.asked = "faulty", "1", []

    def generate(self, chats, sampling, *, watcher=None):
        drawn = []
        for index, chat in enumerate(chats):
            row = self.inner.generate([chat], sampling)[0]
            drawn.append([])
            for sample, reply in enumerate(row):
                self.asked.append((chat[-1].content[:30], sampling.seed + sample))
                drawn[-1].append(self.happens(len(self.asked)) or reply)
                (watcher or Watcher()).completed(index, sample, drawn[-1][-1])
        return drawn


def faulty(monkeypatch, tmp_path, happens):
    model = Faulty(tmp_path / "replies.jsonl", happens)
    monkeypatch.setattr(stage, "load_coder", lambda *_: model)
    return model


def test_a_stopped_run_goes_on_and_asks_nothing_twice(
    capsys, tmp_path, recorded, one_box, monkeypatch
):
    def stops(number):
        if number == 4:
            raise KeyboardInterrupt

    faulty(monkeypatch, tmp_path, stops)
    monkeypatch.setattr(stage, "ROUNDS", 2)  # two calls at once, then their code is run
    code, _, err = call(capsys, tmp_path, *recorded)
    assert code == 130
    assert "planish mistakes generate --resume" in err
    before = {job.key for job in one_box}
    assert len(before) == 3 + 2 + 2  # references, functions that do nothing, programs
    one_box.clear()
    model = faulty(monkeypatch, tmp_path, lambda _: None)
    found = told(capsys, tmp_path, "--resume", "last")
    assert len(model.asked) == 3
    assert len(one_box) == 4
    assert not {job.key for job in one_box} & before
    assert (found["num_runs"], found["num_passed"], found["cut"]) == (6, 3, 3)
    for kind in ("reply", "run", "result"):
        assert len([row.id for row in read_rows(found["run"], kind)]) == 6
    kept = [row for _, row in read_jsonl(f"{found['run']}/artifacts/replies.jsonl")]
    assert sum(row["kind"] == "reply" for row in kept) == 6


def test_calls_that_bring_no_reply_are_counted_and_asked_again(
    capsys, tmp_path, recorded, one_box, monkeypatch
):
    lost = Completion(text="", finish="error", failures=(Failure(attempt=1, kind="http 500"),))
    faulty(monkeypatch, tmp_path, lambda number: lost if number < 3 else None)
    found = told(capsys, tmp_path, *recorded)
    assert (found["errors"], found["num_runs"], found["tasks"]) == (2, 4, 2)
    assert found["coverage"] == pytest.approx(4 / 6)
    model = faulty(monkeypatch, tmp_path, lambda _: None)
    found = told(capsys, tmp_path, "--resume", "last")
    assert len(model.asked) == 2
    assert (found["errors"], found["coverage"]) == (0, 1)


def test_a_model_that_never_replies_is_a_failed_run(
    capsys, tmp_path, recorded, one_box, monkeypatch
):
    lost = Completion(text="", finish="error", failures=(Failure(attempt=1, kind="timeout"),))
    faulty(monkeypatch, tmp_path, lambda _: lost)
    found = told(capsys, tmp_path, *recorded, code=1)
    assert (found["pass_at_1"], found["coverage"]) == (None, 0)


def test_a_prompt_that_does_not_fit_is_not_asked_again(
    capsys, tmp_path, recorded, one_box, monkeypatch
):
    lost = Completion(text="", finish="error", failures=(Failure(attempt=1, kind="context"),))
    faulty(monkeypatch, tmp_path, lambda number: lost if number < 3 else None)
    code, _, err = call(capsys, tmp_path, *recorded)
    assert code == 0
    assert "asking again cannot help" in err
    assert "lower --max-tokens" in err
    assert "--resume" not in err


def test_an_endpoint_is_asked(capsys, tmp_path, one_box, chat_server):
    programs.write(tmp_path, "doubled")
    server = chat_server()
    found = told(
        capsys,
        tmp_path,
        *("--model", f"openai:m@{server.url}", "--tasks", tmp_path / "tasks.jsonl", "--samples", 1),
    )
    assert found["num_runs"] == 1
    assert found["num_passed"] == 0


def test_the_scripted_coder_writes_for_the_packages_own_tasks(capsys, tmp_path, one_box):
    words = ("--model", "planted:defects", "--tasks", "own:plain", "--limit", 6, "--samples", 4)
    code, out, _ = call(capsys, tmp_path, *words, "--json")
    assert code == 0
    told = json.loads(out)
    assert 0 < told["pass_at_1"] < 1
    assert len(one_box) > 6


def test_bad_input_is_one_line(capsys, tmp_path, recorded, one_box):
    tasks = ("--tasks", tmp_path / "tasks.jsonl")
    assert "--model: is missing" in refused(capsys, tmp_path, *tasks)
    assert "--tasks: is missing" in refused(capsys, tmp_path, "--model", "replay:x")
    assert "does not name a model" in refused(capsys, tmp_path, "--model", "odd", *tasks)
    assert "samples" in refused(capsys, tmp_path, *recorded[:4], "--samples", 0)
    missing = refused(capsys, tmp_path, *recorded[:2], "--tasks", tmp_path / "none.jsonl")
    assert "No such file" in missing
    assert not (tmp_path / "made").exists()
    told(capsys, tmp_path, *recorded)
    assert "temperature" in refused(capsys, tmp_path, "--resume", "last", "--temperature", "0")
    assert "is a run of mistakes generate" in _of_verify(capsys, tmp_path)


def _of_verify(capsys, tmp_path):
    with pytest.raises(SystemExit) as stop:
        main(["mistakes", "verify", "--resume", "last", "--runs-dir", str(tmp_path / "made")])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_presets_set_what_is_not_given():
    told = {"model": "embedded:reasoner", "tasks": "own"}
    plan = stage.make_plan(told, None, Generating(temperature=0.5), Sandboxing(seconds=9))
    assert (plan.samples, plan.temperature) == (Config.tiny().generating.samples, 0.5)
    assert plan.seconds == 9
    paper = stage.make_plan({**told, "model": "hf:x"}, "paper", Generating(), Sandboxing())
    assert (paper.samples, paper.temperature) == (1, 0)


# ---- pass@k ----------------------------------------------------------------------------------


@given(st.integers(1, 30), st.data())
def test_pass_at_k_is_the_share_of_draws_that_hold_a_pass(samples, data):
    passed = data.draw(st.integers(0, samples))
    k = data.draw(st.integers(1, samples))
    rate = pass_at(samples, passed, k)
    assert 0 <= rate <= 1
    assert pass_at(samples, passed, 1) == pytest.approx(passed / samples)
    assert pass_at(samples, passed, samples) == float(passed > 0)
    if k < samples:
        assert pass_at(samples, passed, k + 1) >= rate
    if passed < samples:
        assert pass_at(samples, passed + 1, k) >= rate


def test_pass_at_k_by_counting():
    assert pass_at(4, 2, 2) == pytest.approx(5 / 6)  # of six pairs one holds no pass


@pytest.mark.parametrize("counts", [(3, 4, 1), (3, -1, 1), (3, 1, 4), (3, 1, 0)])
def test_counts_that_cannot_be_are_refused(counts):
    with pytest.raises(ValueError, match="k = "):
        pass_at(*counts)


def test_names_of_tasks_act_nowhere():
    run = RunRecord(task_id="t\x1b]0;own\x07", code="")
    result = ExecResult(key=run.key, status="pass", sandbox_level="fork", python="3")
    ((name, *_),) = Rates.of(Verified([run], {run.key: result}), (1,)).rows()
    assert name == "t⟨U+001B⟩]0;own⟨U+0007⟩"
