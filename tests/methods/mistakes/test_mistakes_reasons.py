"""`planish mistakes reasons` as it is typed, with a coder whose weakness is known."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from planish.cli import main
from planish.methods.mistakes.config import Intervening
from planish.methods.mistakes.data import (
    CodeTask,
    Intervention,
    ReasonReport,
    RunRecord,
)
from planish.methods.mistakes.jobs import References, check_references
from planish.methods.mistakes.own.defects import defects
from planish.methods.mistakes.reasoning.arms import Outcome, Sample, intervene
from planish.methods.mistakes.reasoning.edits import PromptEdit, RuleEditor
from planish.methods.mistakes.reasoning.failures import Failures, look
from planish.methods.mistakes.reasoning.planning import make_plans
from planish.methods.mistakes.reasoning.prompts import add_sentence
from planish.methods.mistakes.reasoning.writing import ModelEditor
from planish.methods.mistakes.running import reasons as stage
from planish.methods.mistakes.running.diagnose import EFFECTS
from planish.methods.mistakes.running.failing import pinned
from planish.methods.mistakes.showing.reasons import Findings, show
from planish.models.scripted import ScriptedModel
from planish.records import Completion, Failure, read_records, write_jsonl
from planish.runs import read_rows
from planish.runs.console import Screen
from planish.tasks.sandbox import Sandbox
from planish.tasks.sandbox.contract import ExecResult, Job, Limits

N = 24

PROMPT = '''def spread(numbers: list[int]) -> int:
    """Return the largest number less the smallest one.

    The list comes from a sensor. Signs are kept.

    >>> spread([3, 47])
    44
    """
'''
RIGHT = "def spread(numbers):\n    return max(numbers) - min(numbers) if numbers else 0\n"
WRONG = "def spread(numbers):\n    return max(numbers) - min(numbers)\n"
TASK = CodeTask(
    task_id="spread",
    entry_point="spread",
    prompt=PROMPT,
    reference=RIGHT,
    tests="def check(candidate):\n    assert candidate([3, 47]) == 44\n"
    "    assert candidate([]) == 0\n    assert candidate([-5, 912]) == 917\n",
    strategy=(
        {
            "kind": "list",
            "of": {"kind": "integer", "min": -99, "max": 99},
            "min_size": 0,
            "max_size": 4,
        },
    ),
)


def chance(*parts: object) -> float:
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def coder(
    helped: Callable[[str], bool] = lambda words: "may be empty" in words,
    *,
    rates: tuple[float, float] = (0.15, 0.95),
    lost: Callable[[int], bool] = lambda seed: False,
    why: str = "timeout",
) -> ScriptedModel:
    """Right at the second rate where the prompt helps, else at the first."""
    asked: list[int] = []

    def script(chat: Any, seed: int | None, sample: int) -> str | Completion:
        words = chat[-1].content
        asked.append(seed or 0)
        if lost(seed or 0):
            failures = (Failure(attempt=1, kind=why),)
            return Completion(text="", finish="error", failures=failures)
        name = re.search(r"def (\w+)", words)[1]  # type: ignore[index]
        right = chance(words, seed) < rates[helped(words)]
        code = (RIGHT if right else WRONG).replace("spread", name)
        return f"Here it is:\n```python\n{code}```\n"

    made = ScriptedModel("planted", script)
    made.asked = asked  # type: ignore[attr-defined]
    return made


class Memory:
    """A sandbox that runs the same job once: the tests' programs are few."""

    def __init__(self, box: Sandbox) -> None:
        self.box, self.level = box, box.level
        self.known: dict[Job, ExecResult] = {}

    def run(self, jobs: Sequence[Job], *, progress: Any = None) -> list[ExecResult]:
        bare = [job.model_copy(update={"key": ""}) for job in jobs]
        new = [job for job in dict.fromkeys(bare) if job not in self.known]
        self.known |= dict(zip(new, self.box.run(new), strict=True))
        return [
            self.known[one].model_copy(update={"key": job.key})
            for one, job in zip(bare, jobs, strict=True)
        ]


@pytest.fixture(scope="module")
def box() -> Iterator[Memory]:
    with Sandbox(workers=1) as made:
        yield Memory(made)


@pytest.fixture(scope="module")
def references(box: Memory) -> References:
    return check_references([TASK], box, Limits())


@pytest.fixture(scope="module")
def failures(box: Memory, references: References) -> Failures:
    return look([(TASK, [WRONG])], box, references)[0]


def tried(
    model: Any, failures: Failures, box: Any, references: References, editor: Any = None, n: int = N
) -> Outcome:
    plans = make_plans([failures], editor or RuleEditor(), box, references)
    return intervene(plans, model, box, references, Intervening(samples=n))[0]


def report(outcome: Outcome, reason: str) -> ReasonReport:
    return next(each for each in outcome.reports if each.reason == reason)


# ---- interventions


def test_what_fails_is_seen_on_the_tests_and_on_drawn_inputs(failures: Failures) -> None:
    assert len(failures.calls) == 3
    assert [call.value for call in failures.failing] == ["0"]
    assert failures.drawn
    assert failures.names == ("numbers",)


def test_the_planted_reason_holds_and_no_other(
    failures: Failures, box: Memory, references: References
) -> None:
    outcome = tried(coder(), failures, box, references)
    assert [each.reason for each in outcome.reports if each.holds] == ["EC"]
    found = report(outcome, "EC")
    assert found.effect is not None
    assert found.effect > 0.5
    assert found.base_rate is not None
    assert found.base_rate < 0.5
    seeds = {arm.arm: set() for arm in outcome.samples}  # type: dict[str, set[int]]
    for sample in outcome.samples:
        seeds[sample.arm].add(sample.seed)
    assert seeds["original"] == seeds["placebo"] == seeds["edit"] == set(range(N))


def test_a_coder_that_any_change_helps_has_no_reason(
    failures: Failures, box: Memory, references: References
) -> None:
    changed = lambda words: PROMPT.strip() not in words  # noqa: E731
    outcome = tried(coder(changed), failures, box, references)
    assert not any(each.holds for each in outcome.reports)
    # Against the unchanged prompt every one of them would have held.
    found = report(outcome, "EC")
    assert found.placebo_rate is not None
    assert found.base_rate is not None
    assert found.placebo_rate - found.base_rate > 0.5


def test_a_renamed_function_is_judged_under_its_own_name(
    failures: Failures, box: Memory, references: References
) -> None:
    outcome = tried(coder(lambda words: "spread" not in words), failures, box, references)
    assert [each.reason for each in outcome.reports if each.holds] == ["MFS"]


def test_a_model_that_passes_already_has_nothing_to_mend(
    failures: Failures, box: Memory, references: References
) -> None:
    model = coder(rates=(0.97, 0.97))
    outcome = tried(model, failures, box, references)
    assert "nothing to mend" in report(outcome, "EC").why
    assert not any(each.holds for each in outcome.reports)
    # The unchanged prompt comes first, and nothing else was asked.
    assert model.asked == list(range(N))  # type: ignore[attr-defined]
    assert {each.arm for each in outcome.interventions if each.n} == {"original"}
    assert any(each.edit_diff for each in outcome.interventions if not each.n)


def test_lost_samples_are_counted_and_are_no_failures(
    failures: Failures, box: Memory, references: References
) -> None:
    few = tried(coder(lost=lambda seed: seed == 3), failures, box, references)
    assert [each.reason for each in few.reports if each.holds] == ["EC"]
    assert all(each.unscored == 1 for each in few.interventions)
    assert few.lost == len(few.interventions)
    assert {sample.score for sample in few.samples if sample.seed == 3} == {None}
    many = tried(coder(lost=lambda seed: seed % 3 == 0), failures, box, references)
    assert "could not be scored" in report(many, "EC").why
    assert not any(each.holds for each in many.reports)


class Broken:
    """A sandbox that fails on what the coder writes."""

    def __init__(self, box: Memory) -> None:
        self.box, self.broken = box, False

    def run(self, jobs: Sequence[Job], *, progress: Any = None) -> list[ExecResult]:
        results = self.box.run(jobs)
        if not self.broken:
            return results
        return [result.model_copy(update={"status": "sandbox_error"}) for result in results]


def test_what_the_sandbox_cannot_run_is_no_failure(
    failures: Failures, box: Memory, references: References
) -> None:
    broken = Broken(box)
    plans = make_plans([failures], RuleEditor(), broken, references)
    broken.broken = True
    outcome = intervene(plans, coder(), broken, references, Intervening(samples=N))[0]
    assert all(each.unscored == each.n for each in outcome.interventions)
    assert outcome.lost == 0
    assert not any(each.p for each in outcome.reports)


# ---- edits that may not be scored


class Says:
    """An editor with one edit."""

    def __init__(self, told: str = "", *, name: str = "", shown: tuple[str, ...] = ()) -> None:
        self.told, self.name, self.shown = told, name, shown

    def edit(self, task: CodeTask, reason: str, failures: Failures) -> PromptEdit | None:
        if reason != "EC":
            return None
        prompt = add_sentence(task.prompt, self.told)
        return PromptEdit("EC", prompt, "", "sentence", name=self.name, added=self.told)


@pytest.mark.parametrize(
    ("editor", "why"),
    [
        (Says("spread([]) gives 0."), "expected output of a failing test"),
        (Says("Write `return max(numbers) - min(numbers) if numbers else 0`."), "line of the ref"),
        (Says("spread([1, 5]) gives 7."), "contradicts what it demonstrates"),
        (Says("Call it so.", name="max"), "does not pass the tests"),
    ],
)
def test_an_edit_that_leaks_or_breaks_the_reference_is_told_and_not_drawn(
    editor: Says, why: str, failures: Failures, box: Memory, references: References
) -> None:
    model = coder(lambda words: True)
    outcome = tried(model, failures, box, references, editor)
    assert why in report(outcome, "EC").why
    assert not report(outcome, "EC").holds
    (told,) = outcome.interventions
    assert why in told.leak_check
    assert told.n == 0
    assert told.edit_diff
    assert model.asked == []  # type: ignore[attr-defined]


def test_demonstrations_are_scored_on_what_was_not_shown(
    failures: Failures, box: Memory, references: References
) -> None:
    """A coder that learns the demonstration by heart gains nothing."""

    def script(chat: Any, seed: int | None, sample: int) -> str:
        shown = re.findall(r">>> (spread\(.*\))\n\s+(.+)", chat[-1].content)
        lines = [f"    if numbers == {call[7:-1]}: return {value}" for call, value in shown]
        return "\n".join(["```python", "def spread(numbers):", *lines, "    return 1", "```"])

    outcome = tried(ScriptedModel("parrot", script), failures, box, references)
    edit = [each for each in outcome.samples if (each.reason, each.arm) == ("IOD", "edit")]
    assert {each.held_out for each in edit} == {0.0}
    assert not report(outcome, "IOD").holds


def test_code_that_passes_the_tests_and_fails_on_what_is_held_out_has_not_passed(
    failures: Failures, box: Memory, references: References
) -> None:
    """The tests ask three inputs; learning them by heart is no repair."""
    lines = ["    known = {(3, 47): 44, (): 0, (-5, 912): 917}", "    return known[tuple(numbers)]"]
    code = "\n".join(["```python", "def spread(numbers):", *lines, "```"])
    outcome = tried(ScriptedModel("parrot", lambda *_: code), failures, box, references)
    base = [each for each in outcome.samples if each.arm == "original"]
    assert {each.score for each in base} == {1.0}
    assert report(outcome, "EC").base_rate == 0.0
    assert report(outcome, "PS").base_rate == 1.0
    edit = [each for each in outcome.samples if (each.reason, each.arm) == ("EC", "edit")]
    assert {each.held_out for each in edit} == {0.0}


def test_where_tests_take_several_answers_they_decide(box: Memory) -> None:
    task = TASK.model_copy(
        update={
            "task_id": "order",
            "tests": "def check(candidate):\n    assert abs(candidate([3, 47])) == 44\n"
            "    assert candidate([]) == 0\n    assert abs(candidate([-5, 912])) == 917\n",
        }
    )
    references = check_references([task], box, Limits())
    seen = look([(task, [WRONG])], box, references)[0]
    code = RIGHT.replace("max(numbers) - min(numbers)", "min(numbers) - max(numbers)")
    outcome = tried(ScriptedModel("m", lambda *_: f"```python\n{code}```"), seen, box, references)
    assert report(outcome, "EC").base_rate == 1.0


def test_an_edit_that_no_reply_came_for_says_so_and_is_asked_for_again(
    failures: Failures, box: Memory, references: References
) -> None:
    silent = ScriptedModel("silent", lambda *_: Completion(text="", finish="error"))
    outcome = tried(coder(), failures, box, references, ModelEditor(silent, RuleEditor()))
    assert "silent gave no reply" in report(outcome, "MCQS").why
    assert (outcome.unedited, outcome.lost) == (1, 0)


# ---- the stage


@pytest.fixture
def one_box(monkeypatch: pytest.MonkeyPatch, box: Memory) -> list[str]:
    """Keys of all jobs, as they come."""
    keys: list[str] = []

    class Kept:
        level = box.level

        def run(self, jobs: Sequence[Job], *, progress: Any = None) -> list[ExecResult]:
            keys.extend(job.key for job in jobs)
            return box.run(jobs, progress=progress)

        def stream(self, jobs: Sequence[Job]) -> Iterator[ExecResult]:
            keys.extend(job.key for job in jobs)
            return iter(box.run(list(jobs)))

        def __enter__(self) -> Kept:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr("planish.tasks.sandbox.Sandbox", lambda **_: Kept())
    return keys


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    tasks, runs = tmp_path / "tasks.jsonl", tmp_path / "runs.jsonl"
    write_jsonl(tasks, [TASK])
    codes = [WRONG, WRONG, RIGHT]
    write_jsonl(
        runs, [RunRecord(task_id="spread", model="m", run=i, code=c) for i, c in enumerate(codes)]
    )
    return tasks, runs


def call(tmp_path: Path, capsys: Any, *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main(["mistakes", "reasons", *map(str, words), "--runs-dir", str(tmp_path / "made")])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


def test_the_stage_finds_the_reason_and_a_resume_asks_nothing(
    one_box: None,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = coder()
    monkeypatch.setattr(stage, "load_coder", lambda spec: model)
    words = (files[1], "--tasks", files[0], "--model", "openai:planted", "--samples", N, "--json")
    code, out, err = call(tmp_path, capsys, *words)
    assert code == 0, err
    summary = json.loads(out)
    assert summary["by_reason"]["EC"] == 1
    assert (summary["tasks"], summary["explained"], summary["none"]) == (1, 1, 0)
    assert summary["coverage"] == 1.0
    assert summary["sandbox_level"] in ("bwrap", "unshare")
    folder = Path(summary["run"])
    asked = len(model.asked)  # type: ignore[attr-defined]
    page = (folder / "report.html").read_text()
    assert "may be empty" in page
    assert "Edge Case" in page
    assert "tried on none" in page
    assert "takes a model (--editor)" in page
    assert summary["explained_share_ci"][0] == pytest.approx(0.025)  # one task proves little
    kept = (folder / "artifacts" / "replies.jsonl").read_text().splitlines()
    assert len(kept) - 1 == asked
    arms = [row.read(Intervention) for row in read_rows(folder, "intervention")]
    samples = [row.read(Sample) for row in read_rows(folder, "sample")]
    assert len(samples) == len(arms) * N == asked
    assert {each.sandbox_level for each in samples} == {summary["sandbox_level"]}
    assert f">{summary['sandbox_level']}<" in page
    for arm in arms:
        own = [each for each in samples if (each.reason, each.arm) == (arm.reason, arm.arm)]
        scores = [each.score if each.held_out is None else each.held_out for each in own]
        assert arm.passes == sum(score == 1.0 for score in scores)
    again = call(tmp_path, capsys, "--resume", folder, "--json")
    assert again[0] == 0
    assert json.loads(again[1])["by_reason"] == summary["by_reason"]
    assert len(model.asked) == asked  # type: ignore[attr-defined]
    other = call(tmp_path, capsys, "--resume", folder, "--samples", 40)
    assert other[0] == 2
    assert "samples" in other[2]


def test_counts_have_intervals_and_a_reason_that_was_not_tried_says_why(capsys: Any) -> None:
    def told(task: int, reason: Any, holds: bool | None, why: str = "") -> ReasonReport:
        p = None if holds is None else 0.5
        known: dict[str, Any] = {"p": p, "p_holm": p, "holds": bool(holds), "why": why}
        return ReasonReport(task_id=f"t{task}", reason=reason, **known)

    tasks = tuple(f"t{task}" for task in range(5))  # the last one could not be measured
    reports = [told(task, "EC", task == 0) for task in range(4)]
    reports += [told(task, "MCQS", None, "no edit: --editor") for task in range(5)]
    reports += [told(4, "EC", None, "nothing to mend")]
    reports += [told(task, "IOD", None, "leaks" if task else "no\x1b edit") for task in range(3)]
    findings = Findings(tasks, tuple(reports), ())
    numbers = findings.numbers()
    assert (numbers["measured"], numbers["explained"], numbers["none"]) == (4, 1, 3)
    # Clopper and Pearson of 1 of 4, by tables
    low, high = numbers["explained_share"].low, numbers["explained_share"].high
    assert (round(low, 4), round(high, 4)) == (0.0063, 0.8059)
    assert numbers["none_share"].value == 0.75
    assert numbers["share_by_reason"]["EC"] == [0.25, low, high]
    assert numbers["share_by_reason"]["PS"] == [None, None, None]
    assert numbers["untried"] == {
        "MCQS": "no edit: --editor",
        "IOD": "leaks (2 tasks; 1 otherwise)",
    }
    show(Screen(), findings)
    out = " ".join(capsys.readouterr().out.split())
    assert "MCQS was tried on none: no edit: --editor" in out
    assert "of 4 tasks 1 have a reason, 0.250 [0.006, 0.806], and 3 none, 0.750" in out
    assert Findings((), (), ()).numbers()["explained_share"].value is None


def test_effects_come_onto_the_pages_of_the_failures_and_stay(
    one_box: list[str],
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def typed(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(["mistakes", *map(str, words), "--runs-dir", str(tmp_path / "made")])
        captured = capsys.readouterr()
        return int(stop.value.code or 0), captured.out, captured.err

    def shown() -> str:
        (page,) = (diagnosis / "artifacts" / "failures").iterdir()
        return page.read_text()

    monkeypatch.setattr(stage, "load_coder", lambda spec: coder())
    given = (files[1], "--tasks", files[0])
    quick = ("--inputs", 8, "--mutants", 5)
    words = (*given, "--model", "openai:planted", "--samples", N, "--only", "EC")
    code, out, err = call(tmp_path, capsys, *words)
    assert code == 0, err
    assert f"mistakes diagnose {files[1]} --tasks {files[0]} --reasons " in out
    code, out, err = typed("diagnose", *given, *quick, "--json")
    assert code == 0, err
    diagnosis = Path(json.loads(out)["run"])
    assert "Edge Case" not in shown()
    code, out, err = call(tmp_path, capsys, *words)
    assert code == 0, err
    (told,) = re.findall(r"planish mistakes (diagnose --resume .* --reasons .*)", out)
    assert told.split()[2] == str(diagnosis)
    code, out, err = typed("diagnose", "--resume", "last")
    assert code == 2
    assert "--resume last: is a run of mistakes reasons" in err
    assert f"the newest is {diagnosis}" in err
    code, out, err = typed(*told.split())
    assert code == 0, err
    with_effects = shown()
    assert (diagnosis / "artifacts" / EFFECTS).is_file()
    assert "Edge Case" in with_effects
    code, out, err = typed("diagnose", "--resume", diagnosis)
    assert code == 0, err
    assert shown() == with_effects
    folder = Path(told.split()[-1])
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text.replace('"done"', '"interrupted"'))
    code, out, err = typed(*told.split())
    assert code == 0
    assert "the run of reasons is interrupted: 1 tasks have effects so far" in err
    # the newest run is a diagnosis or not: last stands for one of reasons
    assert typed("diagnose", "--resume", diagnosis, "--reasons", "last")[0] == 0
    assert shown() == with_effects


def test_a_resume_runs_nothing_and_needs_no_source(
    one_box: list[str],
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "load_coder", lambda spec: coder())
    monkeypatch.chdir(tmp_path)  # named from here, and found from elsewhere
    words = ("runs.jsonl", "--tasks", "tasks.jsonl", "--model", "openai:planted", "--samples", N)
    code, out, err = call(tmp_path, capsys, *words, "--only", "EC", "--json")
    assert code == 0, err
    folder = Path(json.loads(out)["run"]).resolve()
    failed = list(read_records(folder / "artifacts" / "failed.jsonl", RunRecord))
    assert [each.run for each in failed] == [0, 1]
    files[0].unlink()
    files[1].unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    one_box.clear()
    code, out, err = call(tmp_path, capsys, "--resume", folder, "--json")
    assert code == 0, err
    assert json.loads(out)["by_reason"]["EC"] == 1
    assert one_box == []


def test_a_resume_goes_on_with_what_last_was(
    one_box: list[str],
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "load_coder", lambda spec: coder(lost=lambda seed: seed == 5))

    def verified(task: CodeTask) -> None:
        write_jsonl(files[0], [task])
        write_jsonl(files[1], [RunRecord(task_id=task.task_id, model="m", code=WRONG)])
        words = ["verify", "--tasks", files[0], "--runs", files[1], "--runs-dir", tmp_path / "made"]
        with pytest.raises(SystemExit) as stop:
            main(["mistakes", *map(str, words)])
        assert not stop.value.code
        capsys.readouterr()

    verified(TASK)
    words = ("last", "--model", "openai:planted", "--samples", N, "--only", "EC", "--json")
    code, out, err = call(tmp_path, capsys, *words)
    assert code == 0, err
    folder = json.loads(out)["run"]
    verified(TASK.model_copy(update={"task_id": "other"}))
    monkeypatch.setattr(stage, "load_coder", lambda spec: coder())
    code, out, err = call(tmp_path, capsys, "--resume", folder, "--json")
    assert code == 0, err
    assert {row.read(ReasonReport).task_id for row in read_rows(folder, "reason")} == {"spread"}
    assert json.loads(out)["coverage"] == 1.0
    code, _, err = call(tmp_path, capsys, "last", "--resume", folder)
    assert code == 2
    assert "source" in err


def test_the_digest_tells_tasks_and_failed_code(files: tuple[Path, Path], tmp_path: Path) -> None:
    found = [pinned(str(files[1]), str(files[0]), tmp_path)]
    write_jsonl(files[1], [RunRecord(task_id="spread", model="m", code=WRONG)])
    found.append(pinned(str(files[1]), str(files[0]), tmp_path))
    write_jsonl(files[0], [TASK.model_copy(update={"prompt": f"{PROMPT}\n"})])
    found.append(pinned(str(files[1]), str(files[0]), tmp_path))
    assert len({held for _, held in found}) == 3
    assert {name for name, _ in found} == {str(files[1].resolve())}


def test_an_editors_lost_reply_is_told_and_a_resume_asks_again(
    one_box: list[str],
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "load_coder", lambda spec: coder())
    replies: list[str | Completion] = [Completion(text="", finish="error")]
    editor = ScriptedModel("editor", lambda *_: replies[-1])
    monkeypatch.setattr(stage, "load", lambda spec: editor)
    words = (files[1], "--tasks", files[0], "--model", "openai:planted", "--samples", N)
    code, out, err = call(
        tmp_path, capsys, *words, "--only", "MCQS", "EC", "--editor", "openai:editor", "--json"
    )
    assert code == 0, err
    assert "1 edits brought no reply" in err
    folder = json.loads(out)["run"]
    told = {row.id: row.read(ReasonReport) for row in read_rows(folder, "reason")}
    assert "editor gave no reply" in told["spread|MCQS"].why
    replies.append(f"<prompt>\n{PROMPT.replace('less', 'minus')}</prompt>")
    code, out, err = call(tmp_path, capsys, "--resume", folder, "--json")
    assert code == 0, err
    assert json.loads(out)["tried"]["MCQS"] == 1
    assert "brought no reply" not in err


def test_planted_defects_are_found_by_the_command(
    one_box: None, tmp_path: Path, capsys: Any
) -> None:
    chosen = [each for each in defects() if each.reason in ("EC", "MFS", "PS")][:4]
    tasks, runs = tmp_path / "tasks.jsonl", tmp_path / "runs.jsonl"
    write_jsonl(tasks, [each.task for each in chosen])
    write_jsonl(runs, [RunRecord(task_id=each.task_id, code=each.wrong) for each in chosen])
    words = (runs, "--tasks", tasks, "--model", "planted:defects", "--samples", 32, "--json")
    code, out, err = call(tmp_path, capsys, *words)
    assert code == 0, err
    folder = json.loads(out)["run"]
    reports = [row.read(ReasonReport) for row in read_rows(folder, "reason")]
    held = {(each.task_id, each.reason) for each in reports if each.holds}
    planted = {(each.task_id, each.reason) for each in chosen}
    assert held <= planted  # the same numbers every time: draws go by the seed
    assert len(held) >= 3


def test_lost_replies_are_asked_for_again_and_only_they(
    one_box: None,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken, whole = coder(lost=lambda seed: seed == 5), coder()
    monkeypatch.setattr(stage, "load_coder", lambda spec: broken)
    words = (files[1], "--tasks", files[0], "--model", "openai:planted", "--samples", N)
    code, out, err = call(tmp_path, capsys, *words, "--only", "EC", "PS", "--json")
    assert code == 0, err
    assert "5 samples brought no reply" in err
    assert "--resume" in err
    monkeypatch.setattr(stage, "load_coder", lambda spec: whole)
    code, out, err = call(tmp_path, capsys, "--resume", json.loads(out)["run"], "--json")
    assert code == 0, err
    assert json.loads(out)["coverage"] == 1.0
    assert json.loads(out)["by_reason"]["EC"] == 1
    # A script's draws go by their number, so the cache asks from the first one on.
    assert set(whole.asked) <= set(range(6))  # type: ignore[attr-defined]


def test_a_prompt_that_does_not_fit_is_not_asked_again(
    one_box: None,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = coder(lost=lambda seed: seed == 5, why="context")
    monkeypatch.setattr(stage, "load_coder", lambda spec: model)
    words = (files[1], "--tasks", files[0], "--model", "openai:planted", "--samples", N)
    code, _, err = call(tmp_path, capsys, *words, "--only", "EC")
    assert code == 0, err
    assert "samples brought no reply; asking again cannot help" in err
    assert "--resume" not in err


def test_a_model_that_never_answers_fails_the_run(
    one_box: None,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "load_coder", lambda spec: coder(lost=lambda seed: True))
    words = (files[1], "--tasks", files[0], "--model", "openai:planted", "--samples", N)
    code, _, err = call(tmp_path, capsys, *words, "--only", "EC")
    assert code == 1
    assert "brought no reply" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "scripted:always-a"], "RUN"),
        (["{runs}", "--tasks", "{tasks}"], "--model"),
        (["{runs}", "--tasks", "{tasks}", "--model", "openai:m", "--samples", "8"], "at least"),
        (["{runs}", "--tasks", "{tasks}", "--model", "nonsense"], "does not name a model"),
        (["{runs}", "--model", "scripted:always-a"], "--tasks"),
        (
            ["{runs}", "--tasks", "{tasks}", "--model", "openai:m", "--edits-by-model", "EC"],
            "give --editor",
        ),
        (["nowhere", "--model", "scripted:always-a"], "nowhere"),
    ],
)
def test_bad_input_is_refused_in_one_line(
    words: list[str],
    told: str,
    one_box: None,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
) -> None:
    given = [word.format(tasks=files[0], runs=files[1]) for word in words]
    code, _, err = call(tmp_path, capsys, *given)
    assert code == 2
    assert told in err
    assert "Traceback" not in err


def test_no_failed_run_is_no_error(
    one_box: None,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stage, "load_coder", lambda spec: coder())
    write_jsonl(files[1], [RunRecord(task_id="spread", model="m", code=RIGHT)])
    code, out, err = call(
        tmp_path, capsys, files[1], "--tasks", files[0], "--model", "openai:planted", "--json"
    )
    assert code == 0
    assert json.loads(out)["tasks"] == 0
    assert "no run has failed" in err
