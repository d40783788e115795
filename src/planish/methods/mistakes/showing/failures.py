"""A page for each failure: the spec, the code, where it fails, what mends it, what speaks for what.

    pages = write_pages(run, cases, tasks, reasons)
    pages[case.run.key]   # artifacts/failures/0001.html

Each page stands alone: no scripts, nothing to fetch. Code, prompts and values are of others, and
reach the page as text only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.data import (
    CATEGORY_NAMES,
    REASON_NAMES,
    CodeTask,
    Diagnosed,
    ReasonReport,
    Repair,
    Seen,
)
from planish.methods.mistakes.jobs import entry_of
from planish.methods.mistakes.showing.diagnosed import mended_by, sure
from planish.methods.mistakes.showing.verified import MEANINGS
from planish.methods.mistakes.showing.visible import arguments_of, lines_of, value_of, visible
from planish.records import write_text
from planish.runs.page import render

if TYPE_CHECKING:
    from planish.runs import Run

__all__ = ["failure_page", "faulty_line", "write_pages"]

_LINES = 1500  # of code that a page shows
_LINE = 1000  # characters of a line
_TEXT = 20_000  # characters of a prompt
_REPAIRS = 12  # beside the best one


def write_pages(
    run: Run,
    cases: Sequence[Diagnosed],
    tasks: Mapping[str, CodeTask],
    reasons: Mapping[str, Sequence[ReasonReport]],
) -> dict[str, Path]:
    """Writes a page for each failure.

    Args:
        tasks: by id; reasons: effects by task, where there are any.

    Returns:
        Key of the run -> its page.
    """
    pages = {
        case.run.key: run.artifact(f"failures/{number:04}.html")
        for number, case in enumerate(cases, 1)
    }
    places = [pages[case.run.key].name for case in cases]
    for at, case in enumerate(cases):
        task = tasks[case.run.task_id]
        text = failure_page(
            case,
            task,
            reasons.get(task.task_id, ()),
            before=places[at - 1] if at else "",
            after=places[at + 1] if at + 1 < len(places) else "",
            place=f"{at + 1} of {len(cases)}",
        )
        write_text(pages[case.run.key], text)
    return pages


def faulty_line(case: Diagnosed) -> tuple[int | None, str]:
    """The line where the mistake most likely is, and what says so.

    The best repair, else the evidence that the diagnosis rests on, else where an exception was
    raised, else the line that failing inputs run most exclusively.
    """
    repair = mended_by(case.search) or next(iter(case.search.repairs), None)
    if repair is not None:
        return repair.line, "a change of it mends the program"
    used = case.diagnosis.evidence if case.diagnosis else ()
    for number in used:
        if number < len(case.evidence) and (line := case.evidence[number].line):
            return line, "the evidence points there"
    if case.observation.line:
        return case.observation.line, "the exception was raised there"
    suspicion = case.observation.suspicion
    if suspicion and min(suspicion.values()) < max(suspicion.values()):
        return max(suspicion, key=lambda line: (suspicion[line], -line)), "failing inputs run it"
    return None, ""


def failure_page(
    case: Diagnosed,
    task: CodeTask,
    reasons: Sequence[ReasonReport] = (),
    *,
    before: str = "",
    after: str = "",
    place: str = "",
) -> str:
    """The page.

    Args:
        reasons: effects of the task's interventions.
        before, after: names of the pages beside it; place: "3 of 148".
    """
    line, why = faulty_line(case)
    best = mended_by(case.search) or next(iter(case.search.repairs), None)
    shown = [case.run.task_id, f"run {case.run.run}"]
    others = [repair for repair in case.search.repairs if repair is not best]
    return render(
        "planish.methods.mistakes.showing",
        "failures.html.jinja",
        styles=("failures.css",),
        title=visible(", ".join(shown), 200),
        verdict=_verdict(case),
        place=place,
        before=before,
        after=after,
        facts=_facts(case),
        prompt=visible(task.prompt, _TEXT),
        code=_code(case, line),
        faulty="" if line is None else f"line {line}: {why}",
        failing=[_seen(seen, task) for seen in case.observation.failing],
        num_passing=len(case.observation.passing),
        no_failing=visible(case.observation.why, 500),
        repair=None if best is None else _repair(best),
        others=[_repair(repair) for repair in others[:_REPAIRS]],
        num_others=len(others),
        searched=_searched(case),
        evidence=_evidence(case),
        ranked=[
            {
                "category": name,
                "name": CATEGORY_NAMES[name],
                "share": round(confidence, 3),
                "shown": sure(confidence),
            }
            for name, confidence in (case.diagnosis.ranked if case.diagnosis else ())
        ],
        detector=visible(case.diagnosis.detector) if case.diagnosis else "",
        why=visible(case.diagnosis.why, 2000) if case.diagnosis else "",
        reasons=[_reason(report) for report in reasons],
    )


def _verdict(case: Diagnosed) -> str:
    if case.category is None or case.diagnosis is None:
        return "Abstained" if case.could_run else "Could not be run"
    confidence = sure(case.diagnosis.ranked[0][1])
    return f"{case.category}, {CATEGORY_NAMES[case.category]}: confidence {confidence}"


def _facts(case: Diagnosed) -> list[tuple[str, str]]:
    seen = case.observation
    raised = ": ".join(part for part in (seen.exception or "", seen.message) if part)
    status = f"{seen.status}: {MEANINGS.get(seen.status, '')}"
    facts = [
        ("came to", status),
        ("raised", visible(raised, 300)),
        ("model", visible(case.run.model, 100)),
        ("runs with this code", str(len(case.copies))),
        ("sandbox", case.sandbox_level),
    ]
    return [(name, value) for name, value in facts if value]


def _code(case: Diagnosed, faulty: int | None) -> list[dict[str, Any]]:
    lines = lines_of(case.run.code.rstrip("\r\n"))
    rows = [
        {
            "number": number,
            "text": visible(text, _LINE),
            "faulty": number == faulty,
            # How dark the line is; a number of ours, never text of the candidate.
            "shade": round(min(1.0, max(0.0, case.observation.suspicion.get(number, 0.0))), 2),
        }
        for number, text in enumerate(lines[:_LINES], 1)
    ]
    if len(lines) > _LINES:
        text = f"… {len(lines) - _LINES} more lines"
        rows.append({"number": "", "text": text, "faulty": False, "shade": 0.0})
    return rows


def _seen(seen: Seen, task: CodeTask) -> dict[str, str]:
    call = seen.call
    if call.status == "value" and call.value is not None:
        got = value_of(call.value)
    elif call.status == "exception":
        where = f", line {call.line}" if call.line else ""
        said = ": ".join(part for part in (call.exception or "", call.message) if part)
        got = f"raised {visible(said, 300)}{where}"
    else:
        got = _NO_VALUE.get(call.status, call.status)
    return {
        "call": f"{visible(entry_of(task), 80)}({arguments_of(seen.arguments)})",
        "expected": value_of(seen.expected),
        "got": got,
    }


_NO_VALUE = {
    "timeout": "took too long",
    "oom": "took too much memory",
    "unknown_type": "returned what is not plain data",
    "not_run": "was not reached",
}


def _repair(repair: Repair) -> dict[str, Any]:
    tests = "passes the tests" if repair.passes_tests else "does not pass the tests"
    names = ", ".join(repair.categories) or "no category"
    return {
        "summary": visible(
            f"line {repair.line}, {repair.operator} ({repair.role}): {tests}, agrees on "
            f"{repair.agreement} of {repair.inputs} inputs; speaks for {names}",
            300,
        ),
        "diff": [
            {"kind": _KINDS.get(text[:1], ""), "text": visible(text, _LINE)}
            for text in repair.diff.split("\n")[2:]
        ],
    }


_KINDS = {"+": "new", "-": "old", "@": "hunk"}


def _searched(case: Diagnosed) -> str:
    search = case.search
    if not search.tried:
        return "No change was tried."
    cut = "" if search.complete else f" The search was cut short {search.cut}".rstrip() + "."
    if search.repairs:
        return f"{search.tried} changes were tried; {len(search.repairs)} mend it.{cut}"
    return f"None of {search.tried} changes of one place mends it.{cut}"


def _evidence(case: Diagnosed) -> list[dict[str, Any]]:
    used = set(case.diagnosis.evidence) if case.diagnosis else set()
    rows = [
        {
            "category": each.category,
            "rule": visible(each.rule, 60),
            "strength": round(each.strength, 2),
            "note": visible(each.note, 1000),
            "line": each.line,
            "used": number in used,
        }
        for number, each in enumerate(case.evidence)
    ]
    return sorted(rows, key=lambda row: (not row["used"], -row["strength"]))


def _reason(report: ReasonReport) -> dict[str, Any]:
    return {
        "reason": report.reason,
        "name": REASON_NAMES[report.reason],
        "effect": _number(report.effect),
        "interval": ""
        if report.low is None or report.high is None
        else f"{report.low:.2f} to {report.high:.2f}",
        "p": _number(report.p_holm, 3),
        "holds": report.holds,
        "why": visible(report.why, 300),
    }


def _number(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"
