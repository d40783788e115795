"""One change of the prompt for each reason: if it helps, the reason is likely.

    edit = RuleEditor().edit(task, "EC", failures)
    edit.prompt, edit.why

| reason | edit |
|---|---|
| MCQS | the prompt's known clean version, or a model's rewriting |
| IOD | a demonstration that the reference contradicts is mended or dropped; else one is added |
| EC | what is special about failing inputs is stated, with no value and no result |
| MFS | the function gets a neutral name |
| PS | the sentence that speaks of what fails is moved to the front, and flagged |
| ITK | what the called built-ins and library functions really do is stated |

Where a project calls the function, its caller's arguments are not the function's: then there is
neither a demonstration nor a boundary. The reasons are arXiv 2411.01414's; the edits for ITK and
all rules are ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from planish.methods.mistakes.data import CodeTask, Reason
from planish.methods.mistakes.loading.replies import code_of
from planish.methods.mistakes.own.elements import CLEAN, rename, rename_words
from planish.methods.mistakes.reasoning.boundaries import boundaries, special
from planish.methods.mistakes.reasoning.facts import ApiFact, facts_about
from planish.methods.mistakes.reasoning.failures import Call, Failures, canonical, unpacked
from planish.methods.mistakes.reasoning.prompts import (
    Demonstration,
    add_demonstration,
    add_sentence,
    demonstrations,
    sentences,
    to_front,
)
from planish.tasks.sandbox.values import loads, same

__all__ = [
    "CLEAN",
    "NEUTRAL_NAMES",
    "Editor",
    "NoEdit",
    "PromptEdit",
    "RuleEditor",
    "asked_task",
    "code_in",
]

NEUTRAL_NAMES = ("solution", "task_function", "target_function", "function_to_write")

FLAG = "Important: "
MOST_FACTS = 3


@dataclass(frozen=True)
class PromptEdit:
    """An edited prompt.

    Args:
        why: what was done, in one sentence.
        kind: "sentence", "demonstration", "rename", "move", "fact" or "rewrite": what a placebo
            has to do as well.
        name: the function's new name; "" where it keeps its own.
        shown: canonical texts of arguments that the edit shows.
        added: text that was put in, or moved; its length is the placebo's.
    """

    reason: Reason
    prompt: str
    why: str
    kind: str
    name: str = ""
    shown: tuple[str, ...] = ()
    added: str = ""


@dataclass(frozen=True)
class NoEdit:
    """Why an edit that should be there is not.

    Args:
        why: in one line; lost: no reply came, so that another try may bring one.
    """

    why: str
    lost: bool = False


class Editor(Protocol):
    """Makes edits."""

    def edit(
        self, task: CodeTask, reason: Reason, failures: Failures
    ) -> PromptEdit | NoEdit | None:
        """The edit that tests this reason; None where there is nothing to edit, or why not."""
        ...


def asked_task(task: CodeTask, prompt: str, name: str = "") -> CodeTask:
    """The task as a model is asked it, under another name where an edit has renamed it."""
    old = Failures(task).name
    if not name or name == old:
        return task.model_copy(update={"prompt": prompt})
    entry = task.entry_point
    head, colon, last = entry.rpartition(":")
    return task.model_copy(
        update={
            "prompt": prompt,
            "entry_point": f"{head}{colon}{name}" if last == old else entry,
            "reference": rename(task.reference, old, name),
        }
    )


def code_in(reply: str, task: CodeTask, prompt: str, name: str = "") -> str:
    """The code of a reply, with the function's own name put back for the tests."""
    code = code_of(reply, asked_task(task, prompt, name))
    old = Failures(task).name
    return rename(code, name, old) if name and name != old else code


class RuleEditor:
    """Deterministic edits, without a model."""

    def edit(self, task: CodeTask, reason: Reason, failures: Failures) -> PromptEdit | None:
        """See `Editor`."""
        made = {
            "MCQS": _clean,
            "IOD": _demonstration,
            "EC": _boundary,
            "MFS": _neutral_name,
            "PS": _position,
            "ITK": _facts,
        }[reason](task, failures)
        return made if made is not None and made.prompt != task.prompt else None


def _clean(task: CodeTask, failures: Failures) -> PromptEdit | None:
    clean = task.meta.get(CLEAN)
    if not isinstance(clean, str) or not clean.strip():
        return None
    old, new = set(sentences_of(task.prompt)), sentences_of(clean)
    added = " ".join(sentence for sentence in new if sentence not in old)
    return PromptEdit("MCQS", clean, "the specification is put clearly", "rewrite", added=added)


def sentences_of(prompt: str) -> list[str]:
    """The description's sentences, on one line each."""
    return [" ".join(prompt[start:end].split()) for start, end in sentences(prompt)]


# ---- demonstrations --------------------------------------------------------------------------


def _demonstration(task: CodeTask, failures: Failures) -> PromptEdit | None:
    if not failures.own_calls:
        return None
    return mend_demonstration(task, failures) or _new_demonstration(task, failures)


def _new_demonstration(task: CodeTask, failures: Failures) -> PromptEdit | None:
    call = telling_call(failures)
    if call is None:
        return None
    arguments = ", ".join(map(repr, unpacked(call.arguments)))
    result = repr(loads(call.value))
    return PromptEdit(
        "IOD",
        add_demonstration(task.prompt, failures.name, arguments, result),
        "a demonstration is added, of an input that no test uses",
        "demonstration",
        shown=(call.arguments,),
        added=f">>> {failures.name}({arguments})\n{result}",
    )


def telling_call(failures: Failures) -> Call | None:
    """An input to demonstrate that no test uses and no demonstration shows: one that has failed,
    if there is one, and the shortest of them whose result no failing test expects."""
    shown = {call.arguments for call in failures.shown}
    failing = {call.arguments for call in failures.failing}
    tested = {call.arguments for call in failures.calls}
    expected = {call.value for call in failures.failing if call.arguments in tested}
    fresh = [call for call in failures.drawn if call.arguments not in shown]
    if not fresh:
        return None

    def order(call: Call) -> tuple[bool, bool, int, str]:
        size = len(call.arguments) + len(call.value)
        return (
            call.value in expected,
            call.arguments not in failing,
            size,
            call.arguments,
        )

    return min(fresh, key=order)


def contradicted(prompt: str, failures: Failures) -> list[tuple[Demonstration, Call]]:
    """Demonstrations of the prompt whose result is not the reference's."""
    known = {call.arguments: call for call in (*failures.calls, *failures.drawn, *failures.shown)}
    found = []
    for demo in demonstrations(prompt, failures.name):
        call = known.get(canonical(demo.arguments))
        if call is not None and not same(demo.result, loads(call.value), tolerance=1e-9):
            found.append((demo, call))
    return found


def mend_demonstration(task: CodeTask, failures: Failures) -> PromptEdit | None:
    """Puts the reference's results where the prompt shows other ones.

    Where the tests ask the very input, the right result would give it away: it is dropped.
    """
    wrong = contradicted(task.prompt, failures)
    tested = {call.arguments for call in failures.calls}
    prompt, shown, done = task.prompt, [], set()
    for demo, call in reversed(wrong):
        if call.arguments in tested:
            prompt = _without(prompt, demo)
            done.add("dropped")
        else:
            start, end = demo.said
            prompt = f"{prompt[:start]}{loads(call.value)!r}{prompt[end:]}"
            shown.append(call.arguments)
            done.add("mended")
    if not wrong:
        return None
    return PromptEdit(
        "IOD",
        prompt,
        f"a demonstration that the reference contradicts is {' or '.join(sorted(done))}",
        "demonstration",
        shown=tuple(shown),
        added=wrong[0][0].text,
    )


def _without(prompt: str, demo: Demonstration) -> str:
    before, after = prompt[: demo.start], prompt[demo.end :]
    if demo.text.lstrip().startswith(">>>"):
        return before + after
    return before.rstrip(" ") + after.removeprefix(".").lstrip(" ")


# ---- the other rules -------------------------------------------------------------------------


def _boundary(task: CodeTask, failures: Failures) -> PromptEdit | None:
    # The parameters of a project's caller are not in the prompt, and mean nothing there.
    if not failures.own_calls:
        return None
    found = boundaries(
        [unpacked(call.arguments) for call in failures.failing],
        [unpacked(call.arguments) for call in failures.passing],
        failures.names,
    )
    if not found:
        return None
    told = " ".join([*found, "Handle all such cases, too."])
    prompt = add_sentence(task.prompt, told)
    return PromptEdit(
        "EC", prompt, f"a boundary is stated: {' '.join(found)}", "sentence", added=told
    )


def _neutral_name(task: CodeTask, failures: Failures) -> PromptEdit | None:
    old = failures.name
    taken = "\n".join([task.prompt, task.reference, task.tests, task.template])
    taken += "\n".join(file.text for file in task.files)
    free = [name for name in NEUTRAL_NAMES if not re.search(rf"\b{name}\b", taken)]
    if not free or not re.search(rf"(?<!\w){re.escape(old)}(?!\w)", task.prompt):
        return None
    prompt = rename_words(task.prompt, old, free[0])
    why = f"the function is called {free[0]} in place of {old}"
    return PromptEdit("MFS", prompt, why, "rename", name=free[0], added=free[0])


_WORD = re.compile(r"[a-z]{3,}")
_USUAL = frozenset(
    {"the", "and", "for", "that", "with", "this", "from", "given", "return", "returns", "should"}
    | {"function", "must", "which", "have", "has", "may", "are", "not", "all", "any", "its", "into"}
    | {"element", "elements", "list", "lists", "string", "value", "values", "number", "numbers"}
)


def relevance(sentence: str, failures: Failures) -> float:
    """How much a sentence speaks of what is special about the failing inputs.

    0 where those are inputs of a project's caller, of which the prompt does not speak.
    """
    if not failures.own_calls:
        return 0.0
    marks = boundaries(
        [unpacked(call.arguments) for call in failures.failing],
        [unpacked(call.arguments) for call in failures.passing],
        failures.names,
        most=4,
    ) or [
        mark
        for call in failures.failing[:1]
        for mark in special(unpacked(call.arguments), failures.names)[:4]
    ]
    words = _stems(sentence)
    wanted = {stem for mark in marks for stem in _stems(mark)}
    return len(words & wanted) / len(words) if words else 0.0


def _stems(text: str) -> frozenset[str]:
    found = _WORD.findall(text.lower())
    return frozenset(word[:5] for word in found if word not in _USUAL)


def missed_sentence(prompt: str, failures: Failures) -> int | None:
    """Number of the sentence that is most likely missed: the most relevant one behind the first,
    else the one in the middle of the rest, which readers and models pass over most easily."""
    texts = sentences_of(prompt)
    if len(texts) < 2:
        return None
    scores = [relevance(text, failures) for text in texts]
    best = max(range(1, len(texts)), key=lambda number: (scores[number], number))
    if scores[best] > 0:
        return best
    return len(texts) // 2 if len(texts) > 2 else 1


def _position(task: CodeTask, failures: Failures) -> PromptEdit | None:
    number = missed_sentence(task.prompt, failures)
    if number is None:
        return None
    place = sentences(task.prompt)[number]
    moved = " ".join(task.prompt[place[0] : place[1]].split())
    prompt = to_front(task.prompt, place, FLAG)
    return PromptEdit("PS", prompt, f"moved to the front: {moved}", "move", added=moved)


def _facts(task: CodeTask, failures: Failures) -> PromptEdit | None:
    facts = chosen_facts(task, failures)
    if not facts:
        return None
    told = " ".join(f"Note: {fact.text}" for fact in facts)
    names = ", ".join(fact.name for fact in facts)
    prompt = add_sentence(task.prompt, told)
    return PromptEdit("ITK", prompt, f"what {names} really does is stated", "fact", added=told)


def chosen_facts(task: CodeTask, failures: Failures) -> Sequence[ApiFact]:
    """Facts about what failed code calls, and the reference calls otherwise, most used first."""
    found = facts_about(*failures.codes, prompt=task.prompt)
    right = {fact.name for fact in facts_about(task.reference)}
    # A call that the reference makes as well is less likely the one that is misused.
    return sorted(found, key=lambda fact: fact.name in right)[:MOST_FACTS]
