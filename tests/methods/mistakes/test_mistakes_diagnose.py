"""`planish mistakes diagnose` as it is typed: diagnoses, resumes, pairs, and what it refuses."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.cli import main
from planish.methods.mistakes.data import Diagnosed, RunRecord
from planish.methods.mistakes.jobs import test_job as job_of
from planish.methods.mistakes.repairing.diffs import unified
from planish.methods.mistakes.running import diagnose as stage
from planish.methods.mistakes.running import diagnosing
from planish.methods.mistakes.running.diagnosing import FAILURE, unique
from planish.methods.mistakes.showing.pairs import applied
from planish.models.scripted import ScriptedModel
from planish.records import Completion, Pair, read_records, write_jsonl
from planish.runs import Run, read_rows
from planish.runs.info import read_info
from planish.tasks.sandbox import Limits
from support import programs
from support.typed import Typed

QUICK = ("--inputs", "12", "--mutants", "60")
STAGE = Typed("mistakes", "diagnose")
call, told, refused = STAGE.call, STAGE.told, STAGE.refused


@pytest.fixture(autouse=True)
def jobs(one_box):
    return one_box


def cases_of(folder):
    return {row.id: row.read(Diagnosed) for row in read_rows(folder, FAILURE)}


def test_every_failure_is_diagnosed_or_abstained_on(capsys, tmp_path, box):
    tasks, runs = programs.write(tmp_path)
    out = tmp_path / "pairs.jsonl"
    found = told(capsys, tmp_path, runs, "--tasks", tasks, "--export", out, *QUICK)
    assert (found["num_failures"], found["unique"], found["tasks"]) == (9, 8, 4)
    assert found["by_status"] == {"wrong_value": 4, "exception": 2, "no_entry": 1, "syntax": 1}
    assert found["diagnosed"] + found["abstained"] == 8
    assert sum(found["by_category"].values()) == found["diagnosed"] >= 4
    assert found["coverage"] == found["diagnosed"] / 8
    low, high = found["coverage_ci"]
    assert low < found["coverage"] < high
    assert found["sandbox_level"] in ("bwrap", "unshare")
    assert (found["calls"], found["tokens"], found["not_run"]) == (0, 0, 0)
    cases = cases_of(found["run"])
    assert cases["doubled|by-hand|1"].copies == ("doubled|by-hand|1", "doubled|by-hand|5")
    assert cases["doubled|by-hand|1"].category == "IOM"
    for key in ("doubled|by-hand|3", "doubled|by-hand|4"):
        assert cases[key].diagnosis.abstained
        assert "categories are of code that runs" in cases[key].diagnosis.why
    pairs = {pair.meta["run"]: pair for pair in read_records(out, Pair)}
    assert len(pairs) == found["num_pairs"] > 0
    assert set(pairs) <= {key for key, case in cases.items() if case.search.repairs}
    pair = pairs["doubled|by-hand|1"]
    assert pair.rejected == programs.CODES["doubled"][1][1]
    assert "numbers[1:]" not in pair.chosen
    (result,) = box.run([job_of(programs.task("doubled"), pair.chosen, "chosen", Limits())])
    assert result.status == "pass"
    assert pair.meta["category"] == "IOM"
    assert "twice as large" in pair.prompt[-1].content
    pages = sorted((tmp_path / "made").glob("*/*/artifacts/failures/*.html"))
    assert len(pages) == 8
    overview = (tmp_path / found["report"]).read_text()
    assert all(f"artifacts/failures/{page.name}" in overview for page in pages)


def test_a_run_of_verify_is_taken_and_the_next_command_named(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "middle")
    words = ("--tasks", tasks, "--runs", runs, "--runs-dir", tmp_path / "made")
    with pytest.raises(SystemExit):
        main(["mistakes", "verify", *map(str, words)])
    capsys.readouterr()
    code, out, err = call(capsys, tmp_path, "last", *QUICK)
    assert code == 0, err
    assert "1 failed runs are 1 programs of 1 tasks" in out
    assert "planish mistakes reasons " in out
    assert "--export pairs.jsonl" in out


def test_what_is_stopped_goes_on_and_repeats_nothing(capsys, tmp_path, jobs, monkeypatch):
    tasks, runs = programs.write(tmp_path, "middle", "share")
    seen, whole = [], diagnosing.repair

    def stopping(task, code, observation, *rest, **options):
        seen.append(observation.key)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return whole(task, code, observation, *rest, **options)

    monkeypatch.setattr(diagnosing, "repair", stopping)
    code, _, err = call(capsys, tmp_path, runs, "--tasks", tasks, *QUICK)
    assert code == 130
    assert "planish mistakes diagnose --resume" in err
    (folder,) = (tmp_path / "made" / "mistakes").iterdir()
    assert list(cases_of(folder)) == seen[:1]
    runs.unlink()
    tasks.unlink()
    jobs.clear()
    found = told(capsys, tmp_path, "--resume", folder)
    assert found["unique"] == 3
    assert len(seen) == 4  # the second one twice
    assert seen.count(seen[0]) == 1
    assert not any(job.key.startswith(seen[0]) for job in jobs)
    jobs.clear()
    again = told(capsys, tmp_path, "--resume", folder, "--export", tmp_path / "p.jsonl")
    assert jobs == []
    assert again["by_category"] == found["by_category"]
    assert len(list(read_records(tmp_path / "p.jsonl", Pair))) == again["num_pairs"]


def test_a_model_that_does_not_answer_is_asked_again(capsys, tmp_path, monkeypatch):
    tasks, runs = programs.write(tmp_path, "middle", "share")
    asked, silent = [], {1, 2, 3, 5}
    verdict = Completion(text='{"category": "CE", "confidence": 0.9}')

    def answer(chat, seed, sample):
        asked.append(chat)
        return Completion(text="", finish="error") if len(asked) in silent else verdict

    monkeypatch.setattr(stage, "_model", lambda _: ScriptedModel("says", answer))
    words = (runs, "--tasks", tasks, "--detector", "direct", "--model", "openai:m", *QUICK)
    code, out, err = call(capsys, tmp_path, *words, "--json")
    assert code == 1, err
    found = json.loads(out)
    assert (found["lost"], found["unique"], len(asked)) == (3, 3, 3)
    assert "for 3 of 3 programs" in err
    assert "planish mistakes diagnose --resume" in err
    assert read_info(found["run"]).status == "failed"
    # two of them answer now, the third at the third visit
    again = told(capsys, tmp_path, "--resume", found["run"])
    assert (again["lost"], again["by_category"]["CE"], len(asked)) == (1, 2, 6)
    last = told(capsys, tmp_path, "--resume", found["run"])
    assert (last["lost"], last["by_category"]["CE"], len(asked)) == (0, 3, 7)
    assert read_info(found["run"]).status == "done"


def test_two_processes_do_not_share_a_folder(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "middle")
    folder = told(capsys, tmp_path, runs, "--tasks", tasks, *QUICK)["run"]
    with Run.open(folder):
        assert "process" in refused(capsys, tmp_path, "--resume", folder)
    assert "inputs = 12" in refused(capsys, tmp_path, "--resume", folder, "--inputs", "30")


def test_a_preset_given_again_is_no_silent_wish(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "middle")
    folder = told(capsys, tmp_path, runs, "--tasks", tasks, *QUICK)["run"]
    assert "inputs = 12" in refused(capsys, tmp_path, "--resume", folder, "--preset", "paper")


def test_a_run_brings_its_own_tasks(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "middle")
    said = refused(capsys, tmp_path, "last", "--tasks", tasks)
    assert "a run brings its own tasks" in said
    assert "--tasks" in said
    folder = told(capsys, tmp_path, runs, "--tasks", tasks, *QUICK)["run"]
    for words in ((folder,), (str(folder).rpartition("/")[2],)):
        assert "brings its own tasks" in refused(capsys, tmp_path, *words, "--tasks", "own")
    # a diagnosis is no run to diagnose, though it is the last one
    said = refused(capsys, tmp_path, "last")
    assert "no run of planish mistakes verify or generate is there" in said


def test_a_precondition_that_allows_nothing_is_told(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "middle")
    never = "def precondition(words):\n    return len(words) > 99\n"
    write_jsonl(tasks, [programs.task("middle").model_copy(update={"precondition": never})])
    code, out, err = call(capsys, tmp_path, runs, "--tasks", tasks, *QUICK)
    assert code == 0
    assert "could be tried (middle)" in (out + err).replace("\n", " ")
    (page,) = (tmp_path / "made").glob("*/*/report.html")
    assert "no input of 1 of 1 tasks could be tried" in page.read_text()


def test_nothing_failed(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "middle")
    write_jsonl(runs, [programs.runs("middle")[0]])
    found = told(capsys, tmp_path, runs, "--tasks", tasks)
    assert (found["num_failures"], found["unique"], found["coverage"]) == (0, 0, None)


def test_hostile_programs_stop_nothing(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "doubled")
    head = "def doubled(numbers):\n"
    codes = [
        "a\0b",
        "x = '\ud800'\n",
        "import os\nos._exit(0)\n",
        "",
        head + "    return " + "-" * 3000 + "1\n",
        head + "    return '<script>alert(1)</script>\x1b[31m'\n",
        head + "    return " + " + ".join(["1"] * 3000) + "\n",
        head + "    return 10 ** 5000\n",
    ]
    write_jsonl(
        runs, [RunRecord(task_id="doubled", run=at, code=code) for at, code in enumerate(codes)]
    )
    found = told(capsys, tmp_path, runs, "--tasks", tasks, "--inputs", "6", "--mutants", "20")
    assert found["unique"] == len(codes)
    assert found["diagnosed"] + found["abstained"] == len(codes)
    pages = list((tmp_path / "made").glob("*/*/artifacts/failures/*.html"))
    assert len(pages) == len(codes)
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\0" not in text


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        ((), "RUN"),
        (("runs.jsonl",), "--tasks"),
        (("nowhere", "--tasks", "own"), "nowhere"),
        (("runs.jsonl", "--tasks", "tasks.jsonl", "--detector", "react"), "--"),
        (("runs.jsonl", "--tasks", "tasks.jsonl", "--model", "replay:x"), "rules asks no model"),
        (("runs.jsonl", "--tasks", "tasks.jsonl", "--export", "."), "is a folder"),
        (("runs.jsonl", "--tasks", "tasks.jsonl", "--reasons", "none"), "none"),
    ],
)
def test_bad_input_is_one_line(capsys, tmp_path, monkeypatch, words, needle):
    programs.write(tmp_path, "middle")
    monkeypatch.chdir(tmp_path)
    assert needle in refused(capsys, tmp_path, *words)


def test_a_run_of_another_stage_brings_no_reasons(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "middle")
    folder = told(capsys, tmp_path, runs, "--tasks", tasks, *QUICK)["run"]
    given_words = (runs, "--tasks", tasks, "--reasons", folder)
    assert "mistakes reasons" in refused(capsys, tmp_path, *given_words)


# ---- pure parts ------------------------------------------------------------------------------


def test_layout_and_comments_make_no_other_program():
    codes = [
        "def f(x):\n    return x\n",
        "def f( x ):  # same\n\n    return (x)\n",
        "f = (",
        "f = ( ",
    ]
    found = unique(RunRecord(task_id="t", run=at, code=code) for at, code in enumerate(codes))
    assert [each.copies for each in found] == [("t||0", "t||1"), ("t||2",), ("t||3",)]
    other = unique([RunRecord(task_id=name, code=codes[0]) for name in ("t", "u")])
    assert len(other) == 2


_TEXTS = st.lists(st.sampled_from(["a", "b", "", "-c", "+d", "@@ -1 +1 @@", "-- x", " e"])).map(
    lambda lines: "".join(f"{line}\n" for line in lines)
)


@settings(max_examples=150, deadline=None)
@given(_TEXTS, _TEXTS)
def test_a_diff_is_applied_as_it_was_made(before, after):
    diff = unified(before, after)
    assert applied(before, diff) == (after if diff else before)


@settings(max_examples=100, deadline=None)
@given(_TEXTS, _TEXTS, st.text("ab\n", min_size=1))
def test_a_diff_of_another_text_is_never_half_applied(before, after, more):
    diff = unified("z\n" + before, "y\n" + after)
    assert applied(more, diff) is None
