"""`planish mistakes verify` as it is typed: verdicts, agreement, resumes, and what it refuses."""

from pathlib import Path

import pytest

from planish.methods.mistakes import jobs
from planish.methods.mistakes.data import RunRecord
from planish.methods.mistakes.jobs import References, check_references
from planish.methods.mistakes.loading import load_tasks
from planish.methods.mistakes.running import executing
from planish.methods.mistakes.running import verify as stage
from planish.methods.mistakes.running.diagnose import diagnose
from planish.methods.mistakes.running.reading import named, read_failures
from planish.methods.mistakes.running.reasons import reasons
from planish.methods.mistakes.showing.reasons import Findings, show
from planish.methods.mistakes.showing.verified import Verified
from planish.records import BadInput, read_jsonl, write_jsonl
from planish.runs import Run, read_rows
from planish.runs.console import Screen
from planish.runs.presets import digest
from planish.tasks.sandbox import ExecResult, Limits
from planish.tasks.sandbox.contract import CallResult
from support import programs
from support.typed import Typed

STAGE = Typed("mistakes", "verify")
call, told, refused = STAGE.call, STAGE.told, STAGE.refused


@pytest.fixture
def files(tmp_path):
    return programs.write(tmp_path)


def given(files):
    return "--tasks", files[0], "--runs", files[1]


def test_every_run_gets_the_verdict_it_has_to(capsys, tmp_path, files, one_box):
    out = tmp_path / "out.jsonl"
    found = told(capsys, tmp_path, *given(files), "--out", out)
    rows = {f"{each['task_id']}|{each['model']}|{each['run']}": each for _, each in read_jsonl(out)}
    assert {key: row["status"] for key, row in rows.items()} == programs.STATUS
    assert found["num_runs"] == found["num_recorded"] == len(programs.STATUS) == 13
    assert found["num_passed"] == 4
    assert (found["agreement"], found["coverage"], found["disagreements"]) == (1, 1, [])
    assert found["by_status"] == {
        "pass": 4,
        "wrong_value": 5,
        "exception": 2,
        "no_entry": 1,
        "syntax": 1,
    }
    assert found["sandbox_level"] in ("bwrap", "unshare")
    # four references, three functions that do nothing (one has a template), each program once
    assert len(one_box) == 4 + 3 + 12
    assert found["programs"] == 12
    assert found["programs_per_second"] > 0
    assert {row.id: row.read(ExecResult).status for row in read_rows(found["run"], "result")} == (
        programs.STATUS
    )
    page = (tmp_path / found["report"]).read_text()
    assert "Tasks that fail most" in page
    assert "doubled" in page


def test_people_are_told_what_to_do_next(capsys, tmp_path, files, one_box):
    code, out, err = call(capsys, tmp_path, *given(files))
    assert code == 0
    assert "4 of 13 runs pass; 13 of 13 agree" in out
    assert "planish mistakes diagnose " in out
    assert "Traceback" not in err


def test_disagreements_are_named(capsys, tmp_path, one_box):
    files = programs.write(tmp_path, "middle")
    wrong = [run.model_copy(update={"recorded_pass": True}) for run in programs.runs("middle")]
    write_jsonl(files[1], wrong)
    found = told(capsys, tmp_path, *given(files))
    assert found["agreement"] == 0.5
    (said,) = found["disagreements"]
    assert said["key"] == "middle|by-hand|1"
    assert (said["recorded_pass"], said["status"]) == (True, "wrong_value")


def test_without_a_record_there_is_no_agreement(capsys, tmp_path, one_box):
    files = programs.write(tmp_path, "middle")
    write_jsonl(files[1], [{"task_id": "middle", "solution": "def middle(w):\n    return w[0]\n"}])
    found = told(capsys, tmp_path, *given(files))
    assert (found["agreement"], found["num_recorded"], found["num_passed"]) == (None, 0, 0)
    page = (tmp_path / found["report"]).read_text()
    assert "Disagreements" not in page
    assert "How runs failed" in page
    assert "AssertionError" in page


def test_odd_code_stops_nothing(capsys, tmp_path, one_box):
    files = programs.write(tmp_path, "doubled")
    odd = ["a\0b", "x = '\ud800'\n", "import os\nos._exit(0)\n", ""]
    right = programs.task("doubled").reference
    runs = [RunRecord(task_id="doubled", run=place, code=code) for place, code in enumerate(odd)]
    write_jsonl(files[1], [*runs, RunRecord(task_id="doubled", run=9, code=right + "# \ud800\n")])
    found = told(capsys, tmp_path, *given(files))
    assert found["num_runs"] == 5
    assert found["coverage"] == 1
    failures = read_failures(found["run"])
    assert [run.code for run in failures.runs][: len(odd)] == odd


def test_a_stopped_run_goes_on_and_runs_nothing_twice(
    capsys, tmp_path, files, one_box, monkeypatch
):
    keep, kept = stage.Stage._keep, []

    def stopping(self, run, result):
        if len(kept) == 5:
            raise KeyboardInterrupt
        kept.append(run.key)
        keep(self, run, result)

    monkeypatch.setattr(stage.Stage, "_keep", stopping)
    code, _, err = call(capsys, tmp_path, *given(files))
    assert code == 130
    assert "planish mistakes verify --resume" in err
    monkeypatch.setattr(stage.Stage, "_keep", keep)
    one_box.clear()
    found = told(capsys, tmp_path, "--resume", "last", "--seconds", "4")
    ran = {job.key for job in one_box}
    assert not ran & set(kept)
    assert not ran & {task.task_id for task in programs.tasks()}  # nor a reference
    assert found["num_runs"] == 13
    assert found["agreement"] == 1
    rows = [row.id for row in read_rows(found["run"], "result")]
    assert sorted(rows) == sorted(programs.STATUS)
    one_box.clear()
    assert told(capsys, tmp_path, "--resume", "last")["programs"] == 0
    assert one_box == []


def test_a_run_does_not_go_on_with_other_files(capsys, tmp_path, one_box):
    files = programs.write(tmp_path, "middle")
    told(capsys, tmp_path, *given(files))
    write_jsonl(files[1], programs.runs("middle")[:1])
    assert "recorded_digest" in refused(capsys, tmp_path, "--resume", "last")
    assert "seconds" in refused(capsys, tmp_path, "--resume", "last", "--seconds", "9")


@pytest.mark.parametrize(
    ("stage_name", "option", "most"),
    [
        ("verify", "--memory-mb", 1 << 30),
        ("verify", "--workers", 1024),
        ("generate", "--samples", 10_000),
        ("diagnose", "--inputs", 100_000),
        ("diagnose", "--failing", 1000),
        ("diagnose", "--mutants", 10_000_000),
        ("diagnose", "--repair-seconds", 86_400),
        ("reasons", "--samples", 10_000),
    ],
)
def test_what_no_machine_holds_is_refused(capsys, tmp_path, stage_name, option, most):
    line = Typed("mistakes", stage_name).refused(capsys, tmp_path, option, most + 1)
    assert f"{option}: " in line
    assert f"less than or equal to {most}" in line


def test_code_that_was_run_without_walls_is_told_by_every_stage(capsys, tmp_path, monkeypatch):
    files = programs.write(tmp_path, "middle")
    monkeypatch.setattr("planish.tasks.sandbox.host.choose", lambda *_: "fork")
    words = ("--accept-level", "fork")
    code, out, err = call(capsys, tmp_path, *given(files), *words)
    assert (code, "sandbox fork: no walls" in out) == (0, True), err
    quick = ("--inputs", 5, "--mutants", 5)
    code, out, err = Typed("mistakes", "diagnose").call(capsys, tmp_path, "last", *quick, *words)
    assert (code, "sandbox fork: no walls" in out) == (0, True), err
    show(Screen(), Findings((), (), (), level="fork"))
    assert "sandbox fork: no walls" in capsys.readouterr().out
    show(Screen(), Findings((), (), (), level="unshare"))
    assert "sandbox" not in capsys.readouterr().out


def test_bad_input_is_one_line_with_file_and_line(capsys, tmp_path, one_box):
    tasks, runs = programs.write(tmp_path, "middle")
    assert "--tasks: is missing" in refused(capsys, tmp_path, "--runs", runs)
    assert "--runs: is missing" in refused(capsys, tmp_path, "--tasks", tasks)
    assert "is a folder" in refused(capsys, tmp_path, *given((tasks, runs)), "--out", tmp_path)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"task_id": "middle"}\n')
    assert f"{broken}:1: " in refused(capsys, tmp_path, *given((tasks, broken)))
    assert not (tmp_path / "made").exists()


def test_nothing_that_code_or_names_hold_acts_on_a_terminal(capsys, tmp_path, one_box):
    evil = "\x1b]0;own\x07"
    tasks, runs = programs.write(tmp_path, "middle")
    write_jsonl(tasks, [programs.task("middle").model_copy(update={"task_id": f"middle{evil}"})])
    code = f"def middle(words):\n    raise ValueError({evil!r})\n"
    told_so = {"task_id": f"middle{evil}", "code": code, "recorded_pass": True}
    write_jsonl(runs, [RunRecord(**told_so, model=f"m{evil}")])
    code, out, err = call(capsys, tmp_path, *given((tasks, runs)))
    assert code == 0, err
    said = "⟨U+001B⟩]0;own⟨U+0007⟩"
    assert f"was recorded as passes, is exception: ValueError: {said}" in " ".join(out.split())
    (page,) = (tmp_path / "made").glob("*/*/report.html")
    for text in (out, err, page.read_text()):
        assert "\x1b]" not in text
        assert "\x07" not in text


def test_a_reference_that_fails_its_own_tests_is_refused(capsys, tmp_path, one_box):
    tasks, runs = programs.write(tmp_path, "middle")
    wrong = programs.task("middle").model_copy(
        update={"reference": "def half(n):\n    return 0\n\ndef middle(words):\n    return 1\n"}
    )
    write_jsonl(tasks, [wrong])
    line = refused(capsys, tmp_path, *given((tasks, runs)))
    said = f"{tasks}:1: the reference of task 'middle' fails its own tests (wrong_value"
    assert said in line
    share = programs.task("share")
    write_jsonl(
        tasks,
        [share.model_copy(update={"reference": "def share(part, whole):\n    return 1 / 0\n"})],
    )
    write_jsonl(runs, programs.runs("share"))
    assert "ZeroDivisionError" in refused(capsys, tmp_path, *given((tasks, runs)))


def test_where_nothing_can_be_run_the_stage_fails(capsys, tmp_path, files, monkeypatch):
    def fails(jobs, known):
        for job in jobs:
            status = "pass" if job.key in known else "sandbox_error"
            calls = tuple(
                CallResult(arguments=each, status="value", value="1") for each in job.inputs
            )
            yield ExecResult(
                key=job.key, status=status, per_input=calls, sandbox_level="unshare", python="3"
            )

    class Broken:
        def __init__(self, **_):
            self.known = {task.task_id for task in programs.tasks()}

        def run(self, jobs, progress=None):
            return list(self.stream(jobs))

        def stream(self, jobs):
            return fails(jobs, self.known)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("planish.tasks.sandbox.Sandbox", Broken)
    found = told(capsys, tmp_path, *given(files), code=1)
    assert (found["coverage"], found["agreement"]) == (0, None)
    assert found["by_status"] == {"sandbox_error": 13}


def test_a_level_that_is_not_there_is_refused(capsys, tmp_path, files, monkeypatch):
    def unavailable(**_):
        raise BadInput("no sandbox of level bwrap", fix="--accept-level unshare")

    monkeypatch.setattr("planish.tasks.sandbox.Sandbox", unavailable)
    line = refused(capsys, tmp_path, *given(files), "--accept-level", "bwrap")
    assert "--accept-level unshare" in line


# ---- references, inputs as tests -------------------------------------------------------------


def result(status="pass", **fields):
    return ExecResult(key="k", status=status, sandbox_level="unshare", python="3", **fields)


def test_a_slow_reference_gives_its_candidates_more_time():
    task = programs.task("doubled")
    limits = Limits(seconds=4)
    slow = References(limits, {"doubled": result(wall_s=3.0)})
    quick = References(limits, {"doubled": result(wall_s=0.2)})
    assert slow.limits(task).seconds == 12
    assert quick.limits(task) == limits


def call_of(value=None, status="value", **fields):
    return CallResult(arguments='{"tuple":[1]}', status=status, value=value, **fields)


@pytest.mark.parametrize(
    ("calls", "status", "settled"),
    [
        ((call_of("0.25"), call_of("0.0")), "pass", "pass"),
        ((call_of("0.2500000001"), call_of("0")), "pass", "pass"),
        ((call_of("0.25"), call_of("1.0")), "pass", "wrong_value"),
        ((call_of("0.2"), call_of(status="exception", exception="E")), "exception", "wrong_value"),
        ((call_of("0.25"), call_of(status="exception", exception="E")), "exception", "exception"),
        ((call_of("0.25"), call_of(status="unknown_type")), "wrong_value", "wrong_value"),
        ((call_of("0.25"), call_of(status="not_run")), "timeout", "timeout"),
        ((call_of("0.25"),), "pass", "harness"),
        ((), "syntax", "syntax"),
        ((), "sandbox_error", "sandbox_error"),
    ],
)
def test_the_first_call_that_differs_decides(calls, status, settled):
    task = programs.task("share")
    expected = result(per_input=(call_of("0.25"), call_of("0.0")))
    references = References(Limits(), {"share": expected})
    assert references.settle(task, result(status, per_input=calls)).status == settled


def test_tests_that_call_the_function_by_name_mean_the_candidate(box):
    task = programs.task("doubled").model_copy(
        update={"tests": "def check(candidate):\n    assert doubled([1]) == [2]\n"}
    )
    limits = Limits()
    check_references([task], box, limits)
    wrong = jobs.test_job(task, "def doubled(n):\n    return n\n", "w", limits)
    assert box.run([wrong])[0].status == "wrong_value"


# ---- reading ---------------------------------------------------------------------------------


def test_failures_are_read_from_a_folder(capsys, tmp_path, files, one_box):
    found = told(capsys, tmp_path, *given(files))
    failed = [run for run in programs.runs() if not run.recorded_pass]
    for source in ("last", found["run"]):
        failures = read_failures(source, root=tmp_path / "made")
        assert sorted(failures.runs, key=lambda run: run.key) == failed
        assert failures.tasks == {task.task_id: task for task in load_tasks(str(files[0]))}
        assert {key: each.status for key, each in failures.results.items()} == {
            run.key: programs.STATUS[run.key] for run in failed
        }


@pytest.mark.parametrize("after", [diagnose, reasons])
def test_a_run_that_was_stopped_is_finished_first(
    capsys, tmp_path, files, one_box, monkeypatch, after
):
    keep, kept = stage.Stage._keep, []

    def stopping(self, run, result):
        if len(kept) == 5:
            raise KeyboardInterrupt
        kept.append(run.key)
        keep(self, run, result)

    monkeypatch.setattr(stage.Stage, "_keep", stopping)
    assert call(capsys, tmp_path, *given(files))[0] == 130
    monkeypatch.setattr(stage.Stage, "_keep", keep)
    next_one = Typed("mistakes", after.__name__)
    words = ("last", *(("--model", "planted:defects") if after is reasons else ()))
    line = next_one.refused(capsys, tmp_path, *words)
    assert "interrupted: 5 of 13 runs there; finish with `planish mistakes verify --resume " in line
    (folder,) = (tmp_path / "made" / "mistakes").iterdir()  # nothing was begun
    text = files[1].read_text()
    files[1].unlink()
    assert "interrupted: 5 runs there" in next_one.refused(capsys, tmp_path, folder, *words[1:])
    with Run.open(folder):
        assert "5 runs there; wait until it has ended" in next_one.refused(capsys, tmp_path, *words)
    files[1].write_text(text)
    told(capsys, tmp_path, "--resume", folder)
    assert len(read_failures(folder).runs) == 9


def test_where_failures_come_from_is_named_by_what_it_holds(capsys, tmp_path, files, one_box):
    tasks, runs = files
    root = tmp_path / "made"
    assert named(runs, str(tasks), root) == (str(runs), digest(runs))
    with pytest.raises(BadInput, match="a file of runs needs its tasks"):
        named(runs, "", root)
    with pytest.raises(BadInput, match="no run of planish mistakes verify or generate is there"):
        named("last", "", root)
    with pytest.raises(BadInput, match="No such file"):
        named(tmp_path / "none.jsonl", str(tasks), root)
    found = told(capsys, tmp_path, *given(files))
    assert named("last", "", root) == (str(Path(found["run"]).resolve()), "")
    with pytest.raises(BadInput, match="a run brings its own tasks"):
        named(found["run"], str(tasks), root)


def test_equal_code_is_run_once_and_unlike_code_is_not():
    first, again = (RunRecord(task_id="a", run=run, code="x") for run in (0, 1))
    other = RunRecord(task_id="b", run=0, code="x")
    groups = executing.distinct([first, other, again])
    assert list(groups.values()) == [[first, again], [other]]


def test_what_could_not_be_run_is_neither_passed_nor_failed():
    runs = [
        RunRecord(task_id="a", run=place, code="x", recorded_pass=passed)
        for place, passed in enumerate([True, False, True, None])
    ]
    statuses = ["pass", "timeout", "harness", "pass"]
    results = {run.key: result(status) for run, status in zip(runs, statuses, strict=True)}
    verified = Verified(runs, results)
    assert verified.agreement == 1
    numbers = verified.numbers()
    assert (numbers["num_passed"], numbers["num_recorded"]) == (2, 3)
    assert numbers["coverage"] == 0.75
    assert verified.worst() == [("a", 1, 3, "timeout 1")]
    assert Verified([], {}).numbers()["coverage"] is None
