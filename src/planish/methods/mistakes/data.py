"""The room's records: tasks, runs, what running showed, repairs, diagnoses, interventions.

A task's program is its `template` with the generated code put in place of the marker; for a plain
task the code is the whole module.

    >>> task = CodeTask(task_id="t", entry_point="f", prompt="", reference="f = abs")
    >>> task.program("def f(x):\\n    return x\\n")
    'def f(x):\\n    return x\\n'
"""

from __future__ import annotations

import hashlib
import textwrap
from typing import Literal, get_args

from pydantic import Field, JsonValue

from planish.records import Record
from planish.tasks.sandbox.contract import CallResult, Level, SourceFile

__all__ = [
    "CATEGORIES",
    "CATEGORY_NAMES",
    "MARKER",
    "NOT_RUN",
    "REASONS",
    "REASON_NAMES",
    "Arm",
    "Category",
    "CodeTask",
    "Diagnosed",
    "Diagnosis",
    "Evidence",
    "Intervention",
    "Labelled",
    "Observation",
    "Reason",
    "ReasonReport",
    "Repair",
    "RunRecord",
    "Search",
    "Seen",
]

Category = Literal["CE", "GC", "MFLE", "MOFE", "MOOV", "MLA", "IOM"]

CATEGORIES: tuple[Category, ...] = get_args(Category)

CATEGORY_NAMES: dict[Category, str] = {
    "CE": "Conditional Error",
    "GC": "Garbage Code",
    "MFLE": "Math Formula and Logic Error",
    "MOFE": "Minor Output Formatting Error",
    "MOOV": "Misorder of Operations on Objects/Variables",
    "MLA": "Misuse of Library API",
    "IOM": "Index Off Mistake",
}
"""arXiv 2411.01414, its seven non-syntactic mistakes."""

Reason = Literal["MCQS", "IOD", "EC", "MFS", "PS", "ITK"]

REASONS: tuple[Reason, ...] = get_args(Reason)

REASON_NAMES: dict[Reason, str] = {
    "MCQS": "Misleading Coding Question Specification",
    "IOD": "Input-Output Demonstration",
    "EC": "Edge Case",
    "MFS": "Misleading Function Signature",
    "PS": "Positional Sensitivity",
    "ITK": "Incorrect Trained Knowledge",
}
"""arXiv 2411.01414, its six reasons."""

MARKER = "# planish: generated code goes here"

Arm = Literal["original", "placebo", "edit"]


class CodeTask(Record):
    """A function to write.

    Args:
        task_id: names it.
        entry_point: name of the function in the module, or "package.module:name" of a function of
            the project that calls it with plain data.
        prompt: what a model is given.
        reference: code that is right; put into `template` it is a module that passes.
        tests: source that defines `check(candidate)`; empty where `inputs` are the tests.
        inputs: canonical texts of argument tuples, on which a candidate must return what the
            reference returns.
        tolerance: by which numbers may differ then, relative and absolute.
        strategy: one description for each argument, from which inputs are drawn (`drawing.py`).
        precondition: source that defines `precondition(*arguments)`; True where a caller may ask.
        files: the project around the function, without the module itself.
        module: path of the module in the project.
        template: the module, with `MARKER` on a line where the code goes; empty: the code alone.
        split: "train" to fit on, "report" to measure on; None: a task of a user.
        meta: anything else; nothing is decided by it.
    """

    task_id: str = Field(min_length=1)
    entry_point: str = Field(min_length=1)
    prompt: str
    reference: str
    tests: str = ""
    inputs: tuple[str, ...] = ()
    tolerance: float = Field(0.0, ge=0, allow_inf_nan=False)
    strategy: tuple[dict[str, JsonValue], ...] | None = None
    precondition: str = ""
    files: tuple[SourceFile, ...] = ()
    module: str = "candidate.py"
    template: str = ""
    split: Literal["train", "report"] | None = None
    meta: dict[str, JsonValue] = Field(default_factory=dict)

    def program(self, code: str) -> str:
        """The whole module with this code in it, as deep as the marker is."""
        if not self.template:
            return code
        before, after = self._around()
        indent = len(before) - len(before.rstrip(" "))
        return before.rstrip(" ") + textwrap.indent(code.strip("\n"), " " * indent) + after

    def offset(self, line: int) -> int:
        """The line of the code that is this line of the program, both counted from 1."""
        return line - (self._around()[0].count("\n") if self.template else 0)

    def _around(self) -> tuple[str, str]:
        before, marker, after = self.template.partition(MARKER)
        if not marker:
            raise ValueError(f"task {self.task_id}: no line of the template is {MARKER!r}")
        return before, after


class RunRecord(Record):
    """One piece of generated code.

    Args:
        run: its number among those of the model for the task.
        recorded_pass: what whoever ran it first has found; None where nobody has.
    """

    task_id: str
    model: str = ""
    run: int = 0
    code: str
    recorded_pass: bool | None = None

    @property
    def key(self) -> str:
        """Names the run; two with the same are a mistake of the file."""
        return f"{self.task_id}|{self.model}|{self.run}"

    @property
    def digest(self) -> str:
        """SHA-256 of task and code."""
        # Code may hold halves of characters, and other halves make other code.
        held = f"{self.task_id}\0{self.code}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(held).hexdigest()


class Labelled(Record):
    """Code with a mistake that is known.

    Args:
        category: of the mistake; by: who made it, "hand" or the name of an injector.
        line: of the code where it is; note: what it gets wrong, in one sentence.
    """

    task_id: str
    category: Category
    code: str
    by: str = "hand"
    line: int | None = None
    note: str = ""


class Seen(Record):
    """One input: what the reference returns there, and what came of calling the candidate."""

    expected: str
    call: CallResult

    @property
    def arguments(self) -> str:
        """Canonical text of the arguments."""
        return self.call.arguments


class Observation(Record):
    """What running a candidate beside the reference showed.

    Args:
        key: of the run.
        status: of the tests.
        failing: inputs on which it differs from the reference, the shrunk ones first.
        passing: inputs on which it does not.
        suspicion: line of the code -> how much more often failing inputs run it (Ochiai, 0 to 1).
        why: what stood in the way, where there are no failing inputs.
    """

    key: str
    status: str
    exception: str | None = None
    message: str = ""
    line: int | None = None
    failing: tuple[Seen, ...] = ()
    passing: tuple[Seen, ...] = ()
    suspicion: dict[int, float] = Field(default_factory=dict)
    why: str = ""


class Repair(Record):
    """A change of one place after which the code passes.

    Args:
        operator: what changed it; categories: that such a change speaks for, given its role.
        role: what the place is for: "index", "condition", "arithmetic", "call", "order", "format",
            "literal", or "statement".
        line: of the code; before, after: source of the place.
        diff: unified.
        passes_tests: the task's own tests.
        agreement: on so many of `inputs` it returns what the reference returns.
        edits: how many places were changed.
    """

    operator: str
    categories: tuple[Category, ...]
    role: str
    line: int
    before: str
    after: str
    diff: str
    passes_tests: bool
    agreement: int
    inputs: int
    edits: int = 1


class Search(Record):
    """Every repair that was found, best first.

    Args:
        tried: how many changes were run; complete: whether none was left out.
        cut: where or by what the search was cut short, in words; "" where it was not.
    """

    repairs: tuple[Repair, ...] = ()
    tried: int = 0
    complete: bool = True
    cut: str = ""


class Evidence(Record):
    """One thing that speaks for a category.

    Args:
        rule: names what noticed it; strength: 0 to 1.
        line: of the code; note: one sentence for whoever reads the report.
        inputs, expected, got: canonical texts where it was seen.
    """

    rule: str
    category: Category
    strength: float = Field(ge=0, le=1)
    line: int | None = None
    note: str = ""
    inputs: str | None = None
    expected: str | None = None
    got: str | None = None


class Diagnosis(Record):
    """What a detector says of one failed run.

    Args:
        detector: its name.
        ranked: categories with confidence, most likely first; empty where it abstained.
        evidence: numbers of those in the run's list of evidence that it rests on.
        abstained: it says nothing; why: the reason for that, or for what it says.
        lost: the model brought no reply, so that nobody knows what it would say.
        calls, tokens: of a model.
    """

    key: str
    detector: str
    ranked: tuple[tuple[Category, float], ...] = ()
    evidence: tuple[int, ...] = ()
    abstained: bool = False
    why: str = ""
    lost: bool = False
    taxonomy: Literal["v1"] = "v1"
    calls: int = 0
    tokens: int = 0

    @property
    def category(self) -> Category | None:
        """The most likely one."""
        return self.ranked[0][0] if self.ranked else None


NOT_RUN = ("sandbox_error", "harness")
"""Statuses that say nothing about the code."""


class Diagnosed(Record):
    """A failure with everything that was found out about it.

    Args:
        copies: keys of all runs with this code, its own among them.
        diagnosis: None while the detector has not been asked.
        sandbox_level: in which it was run.
        seconds: that running, mending and ruling took.
    """

    run: RunRecord
    copies: tuple[str, ...]
    observation: Observation
    search: Search = Search()
    evidence: tuple[Evidence, ...] = ()
    diagnosis: Diagnosis | None = None
    sandbox_level: Level
    seconds: float = Field(default=0.0, ge=0)

    @property
    def could_run(self) -> bool:
        """Whether anything can be said about the code."""
        return self.observation.status not in NOT_RUN

    @property
    def category(self) -> Category | None:
        """What was said; None where the detector abstained."""
        return None if self.diagnosis is None else self.diagnosis.category


class Intervention(Record):
    """One arm: so many samples of one prompt.

    Args:
        edit_diff: of the prompt, unified; edit_hash: SHA-256 of the edited prompt.
        n, passes: samples, and those that passed; unscored: those that could not be run.
        leak_check: "" where the edit is clean, else what it gives away or breaks.
    """

    task_id: str
    reason: Reason | None
    arm: Arm
    edit_diff: str = ""
    edit_hash: str = ""
    n: int
    passes: int
    unscored: int = 0
    leak_check: str = ""
    seed: int = 0


class ReasonReport(Record):
    """Whether one edit of the prompt made the model pass more often than its placebo.

    Args:
        effect: pass rate after the edit less that after the placebo; low, high: its 95 % interval.
        p: Fisher's exact test, one-sided; p_holm: Holm's over the reasons that were tried.
        holds: p_holm below 0.05 and the interval above 0.
        why: reason for no effect, such as an edit that leaks or could not be made.
    """

    task_id: str
    reason: Reason
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_holm: float | None = None
    base_rate: float | None = None
    placebo_rate: float | None = None
    holds: bool = False
    why: str = ""
