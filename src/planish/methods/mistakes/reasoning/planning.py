"""Which arms are drawn for a task: the unchanged prompt, and an edit with its placebo a reason.

    plans = make_plans(failures, editor, box, references)
    [arm.key for arm in plans[0].arms]        ["original", "placebo/EC", "edit/EC", ...]

A reason without an edit, or with one that leaks, keeps its reason for that and is not drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from planish.methods.mistakes.data import REASONS, Arm, CodeTask, Reason
from planish.methods.mistakes.jobs import Box, References
from planish.methods.mistakes.loading.replies import chat_of
from planish.methods.mistakes.reasoning.edits import Editor, NoEdit, PromptEdit, asked_task
from planish.methods.mistakes.reasoning.failures import Call, Failures
from planish.methods.mistakes.reasoning.leaks import breaks, gives_away, held_out
from planish.methods.mistakes.reasoning.placebos import placebo_of
from planish.methods.mistakes.reasoning.prompts import diff
from planish.records import Chat

__all__ = ["HELD_OUT", "ArmPlan", "TaskPlan", "make_plans"]

HELD_OUT: frozenset[Reason] = frozenset({"EC", "IOD"})
"""Reasons whose edit may show inputs: scored on those that nobody was shown."""


@dataclass(frozen=True)
class ArmPlan:
    """One prompt to draw from.

    Args:
        edit: None for the unchanged prompt.
        leak: why it is not drawn; "" where it is.
    """

    task: CodeTask
    arm: Arm
    reason: Reason | None = None
    edit: PromptEdit | None = None
    leak: str = ""

    @property
    def key(self) -> str:
        """Names the arm among those of its task."""
        return self.arm if self.reason is None else f"{self.arm}/{self.reason}"

    @property
    def prompt(self) -> str:
        """The prompt that is asked."""
        return self.task.prompt if self.edit is None else self.edit.prompt

    @property
    def name(self) -> str:
        """The function's name in it, if it is another one."""
        return "" if self.edit is None else self.edit.name

    @property
    def chat(self) -> Chat:
        """What the model is asked."""
        return chat_of(asked_task(self.task, self.prompt, self.name))

    @property
    def diff(self) -> str:
        """What was changed, unified."""
        return diff(self.task.prompt, self.prompt)

    @property
    def digest(self) -> str:
        """SHA-256 of the prompt."""
        return hashlib.sha256(self.prompt.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class TaskPlan:
    """All that is drawn for a task.

    Args:
        arms: those to draw, the unchanged prompt first; refused: edits that leak or break.
        why: reason -> why it is not tried; calls: reason -> inputs that it is scored on.
        lost: edits for which no reply of the editor came.
    """

    failures: Failures
    arms: tuple[ArmPlan, ...]
    refused: tuple[ArmPlan, ...] = ()
    why: dict[Reason, str] = field(default_factory=dict)
    calls: dict[Reason, tuple[Call, ...]] = field(default_factory=dict)
    lost: int = 0

    @property
    def task(self) -> CodeTask:
        """Whose prompt is changed."""
        return self.failures.task

    @property
    def tried(self) -> tuple[Reason, ...]:
        """The reasons that are drawn, in the usual order."""
        return tuple(reason for reason in REASONS if reason not in self.why)


def make_plans(
    failures: Sequence[Failures],
    editor: Editor,
    box: Box,
    references: References,
    reasons: Sequence[Reason] = REASONS,
) -> list[TaskPlan]:
    """Edits and placebos of these tasks, checked; the sandbox checks all at once."""
    edits: list[dict[Reason, PromptEdit]] = []
    none: list[dict[Reason, NoEdit]] = []
    for each in failures:
        made = {reason: editor.edit(each.task, reason, each) for reason in reasons}
        edits.append({name: edit for name, edit in made.items() if isinstance(edit, PromptEdit)})
        none.append({name: edit for name, edit in made.items() if isinstance(edit, NoEdit)})
    asked = [
        (each.task, edit)
        for each, edited in zip(failures, edits, strict=True)
        for edit in edited.values()
    ]
    broken = iter(breaks(asked, box, references))
    return [
        _plan(each, edited, {reason: next(broken) for reason in edited}, without, reasons)
        for each, edited, without in zip(failures, edits, none, strict=True)
    ]


def _plan(
    failures: Failures,
    edits: dict[Reason, PromptEdit],
    broken: dict[Reason, str],
    none: dict[Reason, NoEdit],
    reasons: Sequence[Reason],
) -> TaskPlan:
    task = failures.task
    why: dict[Reason, str] = {}
    calls: dict[Reason, tuple[Call, ...]] = {}
    arms, refused = [ArmPlan(task, "original")], []
    for reason in REASONS:
        edit = edits.get(reason)
        if edit is None:
            told = none[reason].why if reason in none else _nothing(reason)
            why[reason] = told if reason in reasons else "not asked for"
            continue
        leak = gives_away(task, edit, failures) or broken[reason]
        if leak:
            why[reason] = leak
            refused.append(ArmPlan(task, "edit", reason, edit, leak))
            continue
        if reason in HELD_OUT:
            calls[reason] = held_out(task, edit, failures)
            if not _decisive(calls[reason], failures):
                why[reason] = (
                    "no failing input is held out: every one is shown by the prompt or the edit"
                )
                continue
        placebo = placebo_of(task, edit, failures)
        arms += [ArmPlan(task, "placebo", reason, placebo), ArmPlan(task, "edit", reason, edit)]
    lost = sum(each.lost for each in none.values())
    return TaskPlan(failures, tuple(arms), tuple(refused), why, calls, lost)


def _nothing(reason: Reason) -> str:
    if reason == "MCQS":
        return (
            "no edit: to put a specification clearly takes a model (--editor) that edits for MCQS"
        )
    return "no edit: there is nothing in the prompt or the failures to make one of"


def _decisive(calls: Sequence[Call], failures: Failures) -> bool:
    """Whether held-out inputs can tell failed code from right code."""
    failing = {call.arguments for call in failures.failing}
    return bool(calls) and (not failing or any(call.arguments in failing for call in calls))
