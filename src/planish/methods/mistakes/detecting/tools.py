"""What an agent may do: run code, look at differences, try a change, have it written anew.

    tools = Tools(case, limits)
    step = tools.start(Action("run_code", {"arguments": "([1, 2],)"}))
    if isinstance(step, Running):
        text = step.read(box.run(step.jobs))

A tool answers with a text; with jobs for the sandbox and what reads their results, so that the jobs
of many programs go there together; or with `Refused`, one line about what cannot be done. Code of
an agent runs in the sandbox only, and nothing is raised.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planish.methods.mistakes.data import Seen
from planish.methods.mistakes.detecting.base import Failed
from planish.methods.mistakes.detecting.prompts import block, came, clean, shown, value
from planish.methods.mistakes.detecting.reading import Action
from planish.methods.mistakes.jobs import agree, call_job, test_job
from planish.methods.mistakes.loading import chat_of, code_of
from planish.methods.mistakes.observing.differences import first_difference, relation
from planish.methods.mistakes.observing.structure import ast_diff
from planish.methods.mistakes.repairing.agreeing import Measure
from planish.records import Chat, Message
from planish.tasks.sandbox.contract import CallResult, ExecResult, Job, Limits
from planish.tasks.sandbox.values import UnknownType, dumps, loads

__all__ = ["DESCRIPTIONS", "FIELDS", "Refused", "Running", "Tools", "misfit"]

FIELDS: dict[str, frozenset[str]] = {
    "run_code": frozenset({"arguments", "code"}),
    "diff_trace": frozenset({"number"}),
    "inspect_spec": frozenset(),
    "propose_edit": frozenset({"before", "after", "line"}),
    "regenerate": frozenset({"note"}),
    "finish": frozenset(),  # a verdict, which `reading.py` reads
}
"""Tool -> the fields it takes."""

DESCRIPTIONS = """\
- run_code: calls the code, and a solution that is right, with "arguments", the text of a Python
  tuple of literals. "code" runs another version of the function in its place.
- diff_trace: what was expected and what came on the failing input "number" (from 1), where they
  part, and which lines ran. Without a number: all failing inputs.
- inspect_spec: what was asked, and the tests.
- propose_edit: puts "after" in the place of "before", which must stand once in the code, or once in
  line "line"; runs the tests and the known inputs.
- regenerate: has you write the function anew from what was asked, with a "note" if you like, and
  runs that. It costs one call.
- finish: your verdict, or {"action": "finish", "abstain": true, "why": "..."}."""

MOST_INPUTS = 40
"""Known inputs on which a proposed change is run, half of them failing at most."""

_LONGEST_CODE, _LONGEST_ARGUMENTS, _LONGEST_NOTE = 20_000, 4_000, 300
_TESTS = 1_500


@dataclass(frozen=True)
class Running:
    """Jobs that have to be run, and what makes a text of their results."""

    jobs: tuple[Job, ...]
    read: Callable[[Sequence[ExecResult]], str]


@dataclass(frozen=True)
class Refused:
    """Nothing was done, and why."""

    why: str


class Tools:
    """The tools for one program.

    Args:
        case: the program.
        limits: of one run.
    """

    def __init__(self, case: Failed, limits: Limits) -> None:
        self.case, self.limits = case, limits
        self.measure = Measure.of(case.observation, case.task.tolerance)

    def start(self, action: Action) -> str | Running | Refused:
        """Does what is asked; `regenerate` and `finish` are the agent's own."""
        if why := misfit(action):
            return Refused(why)
        match action.tool:
            case "run_code":
                return self._run_code(action.arguments)
            case "diff_trace":
                return self._diff_trace(action.arguments)
            case "inspect_spec":
                return self._inspect_spec()
            case "propose_edit":
                return self._propose_edit(action.arguments)
        return Refused(f"{action.tool} is not done here")

    def anew(self, action: Action) -> Chat | Refused:
        """The chat in which the function is asked for anew."""
        note = action.arguments.get("note", "")
        if why := misfit(action):
            return Refused(why)
        if not isinstance(note, str) or len(note) > _LONGEST_NOTE:
            return Refused(f"note has to be a text of at most {_LONGEST_NOTE} characters")
        system, asked = chat_of(self.case.task)
        text = shown(asked.content, _LONGEST_CODE) + (f"\nMind: {clean(note, 300)}" if note else "")
        return system, Message(role="user", content=text)

    def tried(self, code: str, head: str) -> Running:
        """Runs a version of the code under the tests and on known inputs."""
        seen = self.case.observation
        failing = seen.failing[: MOST_INPUTS // 2]
        known = (*failing, *seen.passing[: MOST_INPUTS - len(failing)])
        task, key = self.case.task, self.case.run.key
        jobs = []
        if task.tests:
            jobs.append(test_job(task, code, f"{key}|tests", self.limits))
        if known:
            inputs = [each.arguments for each in known]
            jobs.append(call_job(task, code, f"{key}|inputs", inputs, self.limits))

        def read(results: Sequence[ExecResult]) -> str:
            told = [head] if head else []
            if task.tests:
                told.append(_tested(results[0]))
            if known:
                told.append(self._on(known, len(failing), results[-1]))
            return " ".join(told)

        return Running(tuple(jobs), read)

    def written(self, reply: str) -> Running:
        """Runs what the model wrote anew."""
        code = code_of(reply, self.case.task)
        share = ast_diff(self.case.run.code, code).share
        head = (
            f"You wrote:\n{block(code, 'python', 2_000)}\nIt shares {100 * share:.0f} % of its "
            "structure with the code in question."
        )
        return self.tried(code, head)

    # ---- the tools ---------------------------------------------------------------------------

    def _run_code(self, fields: Mapping[str, Any]) -> Running | Refused:
        code = fields.get("code", self.case.run.code)
        if not isinstance(code, str) or len(code) > _LONGEST_CODE:
            return Refused(f"code has to be a text of at most {_LONGEST_CODE} characters")
        arguments = _arguments(fields.get("arguments"))
        if arguments is None:
            return Refused(
                "arguments has to be the text of a Python tuple of literals, such as "
                f'"([1, 2], 3)" or "(4,)", of at most {_LONGEST_ARGUMENTS} characters'
            )
        task, key = self.case.task, self.case.run.key
        jobs = (
            call_job(task, code, f"{key}|call", [arguments], self.limits),
            call_job(task, task.reference, f"{key}|reference", [arguments], self.limits),
        )
        return Running(jobs, self._compared)

    def _compared(self, results: Sequence[ExecResult]) -> str:
        mine, right = results
        if right.status != "pass":
            return (
                f"The code: {_outcome(mine)}. The solution that is right gives no value there "
                f"({right.status}): nobody may ask that."
            )
        wanted = right.per_input[0].value or ""
        call = mine.per_input[0] if mine.per_input else None
        same = call is not None and self.measure.right(Seen(expected=wanted, call=call), call)
        verdict = "they agree" if same else "they differ"
        return f"The code: {_outcome(mine)}. Right is {value(wanted)}: {verdict}."

    def _diff_trace(self, fields: Mapping[str, Any]) -> str | Refused:
        failing = self.case.observation.failing
        if not failing:
            return f"There is no failing input: {clean(self.case.observation.why, 200)}"
        number = fields.get("number")
        if number is None:
            return "\n".join(f"{at}. {came(each)}" for at, each in enumerate(failing, 1))
        if type(number) is not int or not 1 <= number <= len(failing):
            return Refused(f"number has to be a whole number from 1 to {len(failing)}")
        seen = failing[number - 1]
        told = [came(seen)]
        if seen.call.status == "value" and seen.call.value is not None:
            told += _parting(seen.expected, seen.call.value)
        if seen.call.lines:
            told.append(f"lines that ran: {_spans(seen.call.lines)}")
        odd = sorted(self.case.observation.suspicion.items(), key=lambda pair: (-pair[1], pair[0]))
        if odd:
            lines = ", ".join(f"{line} ({share:.2f})" for line, share in odd[:5])
            told.append(f"lines that failing inputs run and others do not, from 0 to 1: {lines}")
        return "\n".join(told)

    def _inspect_spec(self) -> str:
        task = self.case.task
        parts = [f"What was asked:\n{block(task.prompt)}"]
        if task.tests:
            parts.append(f"The tests:\n{block(task.tests, 'python', _TESTS)}")
        if task.precondition:
            parts.append(f"What may be asked:\n{block(task.precondition, 'python', _TESTS)}")
        return "\n\n".join(parts)

    def _propose_edit(self, fields: Mapping[str, Any]) -> Running | Refused:
        before, after, line = fields.get("before"), fields.get("after"), fields.get("line")
        if not isinstance(before, str) or not isinstance(after, str) or not before:
            return Refused("before and after have to be texts, and before not an empty one")
        if len(after) > _LONGEST_CODE:
            return Refused(f"after has to be of at most {_LONGEST_CODE} characters")
        code = self.case.run.code
        lines = code.split("\n")
        if line is None:
            place, rest = code, ""
            head = ""
        elif type(line) is int and 1 <= line <= len(lines):
            head = "\n".join([*lines[: line - 1], ""])
            place, rest = lines[line - 1], "\n".join(["", *lines[line:]])
        else:
            return Refused(f"line has to be a whole number from 1 to {len(lines)}")
        count = place.count(before)
        if count != 1:
            return Refused(f"before stands {count} times there, where once is asked")
        return self.tried(head + place.replace(before, after) + rest, "")

    def _on(self, known: Sequence[Seen], failing: int, result: ExecResult) -> str:
        if result.status in ("sandbox_error", "harness"):
            return f"On known inputs it could not be run ({result.status})."
        if len(result.per_input) != len(known):
            return f"On known inputs: {_outcome(result)}."
        right = [
            self.measure.right(seen, call)
            for seen, call in zip(known, result.per_input, strict=True)
        ]
        mended, kept = sum(right[:failing]), sum(right[failing:])
        return (
            f"It is right on {mended} of {failing} failing inputs, and on {kept} of "
            f"{len(known) - failing} others."
        )


# ---- texts -----------------------------------------------------------------------------------


def misfit(action: Action) -> str:
    """What is wrong with the name of a tool, or with the names of its fields; or ""."""
    known = FIELDS.get(action.tool)
    if known is None:
        return f"there is no tool {clean(action.tool, 40)!r}; there are {', '.join(FIELDS)}"
    extra = sorted(set(action.arguments) - known)
    if extra:
        takes = ", ".join(sorted(known)) or "nothing"
        return f"{action.tool} does not take {clean(extra[0], 40)!r}; it takes {takes}"
    return ""


def _arguments(told: object) -> str | None:
    """The canonical text of a tuple of literals; None where it is none."""
    if isinstance(told, list):
        read: object = tuple(told)
    elif isinstance(told, str) and len(told) <= _LONGEST_ARGUMENTS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                read = ast.literal_eval(told.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            return None
    else:
        return None
    if not isinstance(read, tuple):
        return None
    try:
        text = dumps(read)
        loads(text)
    except (UnknownType, ValueError, RecursionError):
        return None
    return text if len(text) <= 4 * _LONGEST_ARGUMENTS else None


def _tested(result: ExecResult) -> str:
    if result.status == "pass":
        return "It passes the tests."
    said = f", {clean(result.exception, 60)}" if result.exception else ""
    return f"Its tests end with {result.status}{said}."


def _outcome(result: ExecResult) -> str:
    call: CallResult | None = result.per_input[0] if result.per_input else None
    if call is not None and call.status == "value":
        return f"it returns {value(call.value or '')}"
    told = call if call is not None and call.exception else result
    if told.exception:
        said = f", which says {clean(told.message, 120)!r}" if told.message else ""
        return f"it raises {clean(told.exception, 60)}{said}"
    return f"it ends with {call.status if call is not None else result.status}"


def _parting(expected: str, got: str) -> list[str]:
    """Where two values part, and how they are related."""
    try:
        wanted, gotten = loads(expected), loads(got)
        parted, related = first_difference(wanted, gotten), relation(wanted, gotten)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return []
    told = []
    if parted is not None and parted.path:
        place = clean("".join(f"[{each!r}]" for each in parted.path), 80)
        told.append(f"they part first at {place}")
    elif parted is None and agree(expected, got):
        told.append("they differ in type only")
    if related is not None and related.kind != "equal":
        inside = ", inside" if related.inside else ""
        told.append(f"how they are related: {related.kind} {clean(related.name, 40)}{inside}")
    return told


def _spans(lines: Sequence[int]) -> str:
    """1, 2, 3, 7 as "1-3, 7"."""
    spans: list[list[int]] = []
    for line in sorted(set(lines)):
        if spans and spans[-1][-1] == line - 1:
            spans[-1][1:] = [line]
        else:
            spans.append([line])
    return ", ".join("-".join(map(str, span)) for span in spans)
