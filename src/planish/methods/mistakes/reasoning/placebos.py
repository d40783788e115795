"""For each edit as much change of the same kind that tells nothing about the task.

    placebo = placebo_of(task, edit, failures)

| the edit | its placebo |
|---|---|
| a sentence, or a rewriting | sentences about the house style, as long as what it adds or takes |
| a demonstration added | one that the prompt shows already, once more |
| a wrong demonstration mended | a right one, spaced otherwise where it stands |
| a wrong demonstration dropped | a right one dropped |
| another name | a new name which says what the old one said |
| a sentence moved to the front and flagged | another one; without any, a neutral one put there |
| facts about what is called | facts about what nobody calls, as long |

The kind of a change and its size are the same in both arms, so that the difference is what the
edit says (ours). The size is by how much the prompt grows or shrinks; over the package's own
defects it differs by at most `BOUND` letters. Where a prompt shows no right demonstration, or other
facts are not left, sentences take their place, and `why` says so. No rule can put a text into other
words: the placebo of a rewriting adds where the edit replaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import cycle

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.own.elements import rename_words
from planish.methods.mistakes.reasoning.edits import (
    FLAG,
    PromptEdit,
    contradicted,
    relevance,
    sentences_of,
)
from planish.methods.mistakes.reasoning.facts import ApiFact, api_facts, facts_about
from planish.methods.mistakes.reasoning.failures import Failures
from planish.methods.mistakes.reasoning.prompts import (
    add_sentence,
    demonstrations,
    sentences,
    to_front,
)

__all__ = ["BOUND", "NEUTRAL", "neutral_text", "placebo_of", "size"]

BOUND = 40
"""Letters by which the sizes of an edit and of its placebo differ at most, where a prompt has
demonstrations and sentences of about one length, as the package's own have."""

NEUTRAL = (
    "The function belongs to a module that several people read.",
    "The module is kept in a repository with a short history.",
    "It is formatted with the usual tools before it is merged.",
    "The names in the module follow the usual conventions.",
    "Its documentation is written in plain English.",
    "The project has been maintained for some years.",
    "Changes to the module are reviewed in the usual way.",
    "The module is imported by a handful of others.",
    "It is in use.",
    "It has been reviewed.",
    "Its license is the usual one.",
)
"""Sentences that hold for any function and say nothing about what it does."""

SUFFIX = "_v2"


def placebo_of(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit:
    """The placebo of an edit; it always changes the prompt."""
    makers: dict[str, Callable[[], PromptEdit | None]] = {
        "rename": lambda: _other_name(task, edit, failures),
        "demonstration": lambda: _other_demonstration(task, edit, failures),
        "move": lambda: _other_sentence(task, edit, failures),
        "fact": lambda: _other_facts(task, edit, failures),
    }
    made = makers[edit.kind]() if edit.kind in makers else None
    return made or _sentences(task, edit)


def neutral_text(length: int) -> str:
    """Neutral sentences that come closest to this length, in their order from some first one."""
    starts = range(len(NEUTRAL))
    told = [_closest(cycle(NEUTRAL[first:] + NEUTRAL[:first]), length) for first in starts]
    return min(told, key=lambda text: abs(len(text) - length))


def size(task: CodeTask, edit: PromptEdit) -> int:
    """How much an edit adds to the prompt, or takes from it."""
    return abs(len(edit.prompt) - len(task.prompt))


def _closest(sentences: Iterator[str], length: int) -> str:
    told = next(sentences)
    for sentence in sentences:
        longer = f"{told} {sentence}"
        if abs(len(longer) - length) >= abs(len(told) - length):
            return told
        told = longer
    return told


def _sentences(task: CodeTask, edit: PromptEdit) -> PromptEdit:
    between = len(add_sentence(task.prompt, "x")) - len(task.prompt) - 1
    told = neutral_text(max(1, size(task, edit) - between))
    why = "neutral sentences, as long"
    if edit.kind not in ("sentence", "rewrite"):
        why = f"no other {edit.kind} is there to change: {why}"
    return PromptEdit(edit.reason, add_sentence(task.prompt, told), why, "sentence", added=told)


def _other_name(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit | None:
    name = failures.name + SUFFIX
    if re.search(rf"\b{re.escape(name)}\b", task.prompt + task.reference + task.template):
        return None
    prompt = rename_words(task.prompt, failures.name, name)
    why = f"the function is called {name}, which says the same"
    return PromptEdit(edit.reason, prompt, why, "rename", name=name, added=name)


def _other_demonstration(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit | None:
    """Does to right demonstrations what the edit does: adds one, or rewrites or drops them."""
    wrong = {demo.start for demo, _ in contradicted(task.prompt, failures)}
    before = demonstrations(task.prompt, failures.name)
    right = [
        demo for demo in before if demo.start not in wrong and demo.text.lstrip().startswith(">>>")
    ]
    more = len(demonstrations(edit.prompt, failures.name)) - len(before)
    right.sort(key=lambda demo: abs(len(demo.text) - size(task, edit) // max(1, abs(more))))
    if not right:
        return None
    chosen = right[: max(1, -more)]
    prompt = task.prompt
    for demo in sorted(chosen, key=lambda demo: demo.start, reverse=True):
        told = demo.text
        if more > 0:
            told = told.rstrip("\n") + "\n" + demo.text
        elif more < 0:
            told = ""
        else:
            told = re.sub(r"(>>> \w+\()(.+)(\)\s*\n)", r"\1 \2 \3", told, count=1)
        prompt = prompt[: demo.start] + told + prompt[demo.end :]
    if prompt == task.prompt:
        return None
    done = "once more" if more > 0 else "dropped" if more < 0 else "spaced otherwise"
    why = f"a right demonstration that the prompt shows, {done}"
    return PromptEdit(edit.reason, prompt, why, "demonstration", added=chosen[0].text)


def _other_sentence(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit | None:
    places, texts = sentences(task.prompt), sentences_of(task.prompt)
    others = [number for number, text in enumerate(texts) if number and text != edit.added]
    if not others:  # to flag the first one would move nothing
        return _neutral_first(task, edit)
    chosen = min(others, key=lambda number: (relevance(texts[number], failures), -number))
    prompt = to_front(task.prompt, places[chosen], FLAG)
    why = f"moved to the front: {texts[chosen]}"
    return PromptEdit(edit.reason, prompt, why, "move", added=texts[chosen])


def _neutral_first(task: CodeTask, edit: PromptEdit) -> PromptEdit:
    told = neutral_text(1)
    longer = add_sentence(task.prompt, told)
    place = sentences(longer)[-1]
    prompt = to_front(longer, place, FLAG)
    return PromptEdit(edit.reason, prompt, f"put to the front: {told}", "move", added=told)


def _other_facts(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit | None:
    called = {
        fact.name for fact in facts_about(*failures.codes, task.reference, prompt=task.prompt)
    }
    families = {name.rpartition(".")[0] for name in called if "." in name}
    free = [
        fact
        for fact in api_facts()
        if fact.name not in called and fact.name.rpartition(".")[0] not in families
    ]
    told: list[str] = []
    number = edit.added.count("Note: ") or 1
    for index in range(number):
        left = len(edit.added) - sum(len(each) + 1 for each in told)
        wanted = left / (number - index)
        best: ApiFact | None = min(
            (fact for fact in free if f"Note: {fact.text}" not in told),
            key=lambda fact: abs(len(fact.text) + 6 - wanted),
            default=None,
        )
        if best is None:
            return None
        told.append(f"Note: {best.text}")
    text = " ".join(told)
    prompt = add_sentence(task.prompt, text)
    return PromptEdit(edit.reason, prompt, "facts about what nobody calls", "fact", added=text)
