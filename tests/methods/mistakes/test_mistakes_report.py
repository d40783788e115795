"""The pages of a diagnosis: hostile text stays text, the faulty line is marked, failures linked."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.mistakes.data import (
    CodeTask,
    Diagnosed,
    Diagnosis,
    Evidence,
    Observation,
    ReasonReport,
    Repair,
    RunRecord,
    Search,
    Seen,
)
from planish.methods.mistakes.showing.diagnosed import Findings, write_report
from planish.methods.mistakes.showing.failures import failure_page, faulty_line
from planish.methods.mistakes.showing.visible import arguments_of, lines_of, value_of, visible
from planish.runs import Run
from planish.tasks.sandbox.contract import CallResult
from planish.tasks.sandbox.values import dumps

HOSTILE = "<script>alert('x')</script>\x1b[31m\0\u202eabc\u2066\ud800\u200b\r\"'&<b onclick=y>"
CODE = "def f(x):\n    y = x\n    return y - 1\n"
TASK = CodeTask(task_id="t/1", entry_point="f", prompt="Add one.", reference="f = abs")


def seen(arguments, expected, got):
    return Seen(
        expected=dumps(expected),
        call=CallResult(arguments=dumps(arguments), status="value", value=dumps(got)),
    )


def case(
    task="t/1", number=0, category="MFLE", *, code=CODE, repairs=(), evidence=(), copies=1, **more
):
    run = RunRecord(task_id=task, model="m", run=number, code=code)
    ranked = () if category is None else ((category, 0.8), ("GC", 0.2))
    observation = more.pop("observation", None) or Observation(
        key=run.key,
        status=more.pop("status", "wrong_value"),
        failing=(seen((1,), 2, 0),),
        passing=(seen((5,), 6, 6),),
        **more,
    )
    return Diagnosed(
        run=run,
        copies=tuple(f"{run.key}+{at}" for at in range(copies)),
        observation=observation,
        search=Search(repairs=tuple(repairs), tried=9),
        evidence=tuple(evidence),
        diagnosis=Diagnosis(
            key=run.key,
            detector="rules",
            ranked=ranked,
            evidence=tuple(range(len(evidence))),
            abstained=category is None,
            why="because: 0.31",
        ),
        sandbox_level="bwrap",
    )


def repair_of(line, *, passes=True, agreement=2):
    return Repair(
        operator="operator",
        categories=("MFLE",),
        role="arithmetic",
        line=line,
        before="-",
        after="+",
        diff="--- before\n+++ after\n@@ -3,1 +3,1 @@\n-    return y - 1\n+    return y + 1",
        passes_tests=passes,
        agreement=agreement,
        inputs=2,
    )


# ---- one failure -----------------------------------------------------------------------------


def test_everything_about_a_failure_is_on_its_page():
    told = case(
        repairs=[repair_of(3)],
        evidence=[Evidence(rule="r", category="MFLE", strength=0.7, line=3, note="Off by two.")],
        suspicion={2: 0.5, 3: 0.71},
    )
    report = ReasonReport(
        task_id="t/1", reason="EC", effect=0.4, low=0.2, high=0.6, p_holm=0.01, holds=True
    )
    page = failure_page(told, TASK, [report], before="0001.html", after="0003.html")
    for part in (
        "Add one.",
        "f(1)",
        "MFLE, Math Formula and Logic Error: confidence 0.80",
        "Off by two.",
        "0.20 to 0.60",
        'href="0001.html"',
        'href="0003.html"',
        "../../report.html",
        "because: 0.31",
    ):
        assert part in page
    (faulty,) = re.findall(r'class="row faulty".*?</div>', page)
    assert "return y - 1" in faulty
    assert "--shade: 0.71" in faulty
    assert 'class="row old"><span class="text">-    return y - 1' in page
    assert 'class="row new"><span class="text">+    return y + 1' in page


def test_without_reasons_there_is_no_such_section():
    assert "by intervention" not in failure_page(case(), TASK)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (case(repairs=[repair_of(2, agreement=1), repair_of(3)], line=1), 3),
        (case(repairs=[repair_of(2, agreement=1)], line=1), 2),
        (case(evidence=[Evidence(rule="r", category="MFLE", strength=1, line=2)], line=1), 2),
        (case(line=1, suspicion={2: 1.0, 3: 0.1}), 1),
        (case(suspicion={1: 0.1, 3: 0.9, 2: 0.9}), 2),
        (case(suspicion={1: 0.5, 2: 0.5}), None),
        (case(), None),
    ],
)
def test_the_faulty_line_is_told_by_the_best_witness(told, line):
    assert faulty_line(told)[0] == line


def test_hostile_text_stays_text_wherever_it_stands():
    run = RunRecord(task_id="t/1", model=HOSTILE, run=0, code=f"# {HOSTILE}\n{'z' * 50_000}\n")
    diff = f"-\n+\n@@ @@\n-{HOSTILE}\n+{HOSTILE}"
    call = CallResult(
        arguments=dumps((HOSTILE, {"k": [HOSTILE]})),
        status="exception",
        exception=HOSTILE,
        message=HOSTILE,
    )
    told = Diagnosed(
        run=run,
        copies=(run.key,),
        observation=Observation(
            key=run.key,
            status="exception",
            exception=HOSTILE,
            message=HOSTILE,
            failing=(
                Seen(expected=dumps(HOSTILE), call=call),
                Seen(expected="{no json", call=call),
            ),
        ),
        search=Search(
            repairs=tuple(
                repair_of(1).model_copy(update={"diff": diff, "operator": HOSTILE})
                for _ in range(31)
            ),
            tried=1,
        ),
        evidence=(Evidence(rule=HOSTILE, category="CE", strength=1, note=HOSTILE),),
        diagnosis=Diagnosis(
            key=run.key, detector=HOSTILE, ranked=(("CE", 0.9),), why=HOSTILE, evidence=(0, 7)
        ),
        sandbox_level="fork",
    )
    task = TASK.model_copy(update={"prompt": HOSTILE * 2000, "entry_point": HOSTILE})
    page = failure_page(
        told, task, [ReasonReport(task_id="t/1", reason="EC", why=HOSTILE)], place="1 of 1"
    )
    page.encode()
    assert "<script" not in page
    assert "<b onclick" not in page
    assert not re.search("[\0\x1b\u202e\u2066\u200b\ud800]", page)
    assert "⟨U+202E⟩" in page
    assert "18 more are in records.jsonl" in page
    assert max(map(len, page.splitlines())) < 60_000
    assert len(page) < 300_000


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=80))
def test_what_is_shown_can_be_seen(text):
    shown = visible(text)
    assert not re.search("[\x00-\x08\x1b\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    shown.encode()
    if text.isascii() and text.isprintable():
        assert shown == text


def test_long_text_loses_its_middle_and_says_so():
    assert visible("a" * 60 + "b" * 40, 30) == "a" * 20 + " … 70 characters … " + "b" * 10


def test_values_are_read_as_python():
    assert value_of(dumps((1, {2}, "a"))) == "(1, {2}, 'a')"
    assert value_of("{broken") == "{broken"
    assert value_of(dumps(float("nan"))) == "nan"
    assert arguments_of(dumps((1, "b"))) == "1, 'b'"
    assert arguments_of(dumps([(1,), {"key": None}])) == "1, key=None"
    assert arguments_of(dumps(3)) == "3"


def test_a_form_feed_ends_no_line_of_code():
    assert lines_of("a\x0cb\r\nc\rd\ne") == ["a\x0cb", "c", "d", "e"]


# ---- all failures ----------------------------------------------------------------------------


def test_shares_are_of_what_could_be_run_with_intervals_over_tasks():
    cases = [case(f"t{at % 4}", at, "CE" if at < 6 else None, copies=3) for at in range(8)]
    cases.append(case("t9", 9, None, status="sandbox_error"))
    findings = Findings(cases, total=27)
    numbers = findings.numbers()
    assert (numbers["num_failures"], numbers["unique"], numbers["not_run"]) == (27, 9, 1)
    assert (numbers["diagnosed"], numbers["abstained"]) == (6, 2)
    assert numbers["coverage"].value == 0.75
    assert numbers["coverage"].n == 4  # tasks
    assert numbers["by_category"]["CE"] == 6
    assert findings.abstentions == [("because", 2)]
    # failures of one task move together: twice the same tasks prove no more than once
    once = Findings([case(f"t{at}", 0, "CE" if at % 2 else None) for at in range(12)], 12)
    twice = Findings(
        [case(f"t{at}", run, "CE" if at % 2 else None) for at in range(12) for run in range(2)], 24
    )
    assert once.shares["CE"].low == pytest.approx(twice.shares["CE"].low)


def test_why_nothing_was_said_is_a_whole_clause_without_the_numbers_of_a_case():
    whys = (
        "3 turns in a row held nothing that could be done; the last: no action was found",
        "3 turns in a row held nothing that could be done; the last: 2 actions were found",
        "no category is likely enough: CE 0.31",
        "it was cut off",
    )
    cases = [case(f"t{at}", at, None) for at in range(len(whys))]
    told = [
        each.model_copy(update={"diagnosis": each.diagnosis.model_copy(update={"why": why})})
        for each, why in zip(cases, whys, strict=True)
    ]
    assert Findings(told, 4).abstentions == [
        ("3 turns in a row held nothing that could be done", 2),
        ("no category is likely enough", 1),
        ("it was cut off", 1),
    ]


def test_the_overview_links_every_failure(tmp_path):
    names = [f"t/{number}{'<script>' if number == 3 else ''}" for number in range(40)]
    categories = ["CE", "IOM", None, "GC"]
    cases = [case(name, 0, categories[at % 4]) for at, name in enumerate(names)]
    cases.append(case("t/0", 1, None, status="harness"))
    tasks = {name: TASK.model_copy(update={"task_id": name}) for name in names}
    with Run.create("mistakes", "x", {}, root=tmp_path) as run:
        write_report(run, Findings(cases, 80), tasks, "rules", ["One <b>note</b>."])
    page = run.report_path.read_text()
    links = re.findall(r'href="(artifacts/failures/\d+\.html)"', page)
    assert len(set(links)) == len(links) == 41
    assert all((run.path / link).is_file() for link in links)
    assert "<script" not in page
    assert "Could not be run (1)" in page
    assert "IOM: Index Off Mistake (10)" in page
    assert "One &lt;b&gt;note" in page


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("n > 9", "n  >=\n 9", "mended in line 2: n &gt; 9 → n &gt;= 9"),
        ("n > 9", "n" * 61, "mended in line 2 (guard added)"),
        ("print(n)", "", "mended in line 2 (guard added)"),
    ],
)
def test_the_overview_tells_what_mends_a_program(tmp_path, before, after, told):
    repair = Repair(
        operator="guard_added",
        categories=("CE",),
        role="condition",
        line=2,
        before=before,
        after=after,
        diff="",
        passes_tests=True,
        agreement=1,
        inputs=1,
    )
    mended = case("t/0", 0, "CE").model_copy(update={"search": Search(repairs=(repair,), tried=1)})
    tasks = {"t/0": TASK.model_copy(update={"task_id": "t/0"})}
    with Run.create("mistakes", "x", {}, root=tmp_path) as run:
        write_report(run, Findings([mended], 1), tasks, "rules", [])
    assert told in run.report_path.read_text()


def test_the_same_findings_give_the_same_page():
    told = case(repairs=[repair_of(3)])
    assert failure_page(told, TASK) == failure_page(told, TASK)
