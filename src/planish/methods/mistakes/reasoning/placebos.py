"""For each edit as much change of the same kind that tells nothing about the task.

    placebo = placebo_of(task, edit, failures)

| the edit | its placebo |
|---|---|
| a sentence, or a rewriting | sentences about the house style, as long |
| a demonstration | one that the prompt shows already, once more; without any, a sentence |
| another name | a new name which says what the old one said |
| a sentence moved to the front and flagged | another sentence, moved and flagged |
| facts about what is called | facts about what nobody calls, as long |

The kind of a change and its size are the same in both arms, so that the difference is what the
edit says (ours).
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

__all__ = ["NEUTRAL", "neutral_text", "placebo_of"]

NEUTRAL = (
    "The function belongs to a module that several people read.",
    "The module is kept in a repository with a short history.",
    "It is formatted with the usual tools before it is merged.",
    "The names in the module follow the usual conventions.",
    "Its documentation is written in plain English.",
    "The project has been maintained for some years.",
    "Changes to the module are reviewed in the usual way.",
    "The module is imported by a handful of others.",
)
"""Sentences that hold for any function and say nothing about what it does."""

SUFFIX = "_v2"


def placebo_of(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit:
    """The placebo of an edit; it always changes the prompt."""
    makers: dict[str, Callable[[], PromptEdit | None]] = {
        "rename": lambda: _other_name(task, edit, failures),
        "demonstration": lambda: _shown_again(task, edit, failures),
        "move": lambda: _other_sentence(task, edit, failures),
        "fact": lambda: _other_facts(task, edit, failures),
    }
    made = makers[edit.kind]() if edit.kind in makers else None
    return made or _sentences(task, edit)


def neutral_text(length: int) -> str:
    """Neutral sentences, as many as come closest to this length."""
    return _closest(cycle(NEUTRAL), length)


def _closest(sentences: Iterator[str], length: int) -> str:
    told = next(sentences)
    for sentence in sentences:
        longer = f"{told} {sentence}"
        if abs(len(longer) - length) >= abs(len(told) - length):
            return told
        told = longer
    return told


def _sentences(task: CodeTask, edit: PromptEdit) -> PromptEdit:
    told = neutral_text(max(len(edit.added), abs(len(edit.prompt) - len(task.prompt))))
    return PromptEdit(
        edit.reason,
        add_sentence(task.prompt, told),
        "neutral sentences, as long",
        "sentence",
        added=told,
    )


def _other_name(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit | None:
    name = failures.name + SUFFIX
    if re.search(rf"\b{re.escape(name)}\b", task.prompt + task.reference + task.template):
        return None
    prompt = rename_words(task.prompt, failures.name, name)
    why = f"the function is called {name}, which says the same"
    return PromptEdit(edit.reason, prompt, why, "rename", name=name, added=name)


def _shown_again(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit | None:
    wrong = {demo.start for demo, _ in contradicted(task.prompt, failures)}
    right = [
        demo
        for demo in demonstrations(task.prompt, failures.name)
        if demo.start not in wrong and demo.text.lstrip().startswith(">>>")
    ]
    if not right:
        return None
    chosen = min(right, key=lambda demo: abs(len(demo.text) - len(edit.added)))
    prompt = task.prompt[: chosen.end] + chosen.text.rstrip("\n") + "\n" + task.prompt[chosen.end :]
    why = "a demonstration that the prompt shows, once more"
    return PromptEdit(edit.reason, prompt, why, "demonstration", added=chosen.text)


def _other_sentence(task: CodeTask, edit: PromptEdit, failures: Failures) -> PromptEdit | None:
    places, texts = sentences(task.prompt), sentences_of(task.prompt)
    others = [number for number, text in enumerate(texts) if text != edit.added]
    if not others:
        return None
    moved = [number for number in others if number] or others
    chosen = min(moved, key=lambda number: (relevance(texts[number], failures), -number))
    prompt = to_front(task.prompt, places[chosen], FLAG)
    why = f"moved to the front: {texts[chosen]}"
    return PromptEdit(edit.reason, prompt, why, "move", added=texts[chosen])


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
