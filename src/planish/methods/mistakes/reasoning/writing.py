"""Edits that a model writes, at temperature 0: to put a specification clearly takes one.

    editor = ModelEditor(load("openai:MODEL@URL"), RuleEditor())
    editor.edit(task, "MCQS", failures)

The model sees the prompt, and for other reasons what the reason is; it never sees the reference,
the tests, or an expected result. What it writes is checked for leaks like any other edit.
"""

from __future__ import annotations

import re

from planish.methods.mistakes.data import CodeTask, Reason
from planish.methods.mistakes.reasoning.edits import CLEAN, Editor, NoEdit, PromptEdit
from planish.methods.mistakes.reasoning.failures import Failures
from planish.models.base import LanguageModel
from planish.records import Chat, Message, Sampling

__all__ = ["ModelEditor", "editing_chat"]

MAX_TOKENS = 2048

_ASKED: dict[Reason, str] = {
    "MCQS": "Reword it so that nobody can misread it: say plainly what is meant wherever a word or "
    "a sentence can be understood in more than one way.",
    "IOD": "Leave the words as they are and add one more example of a call with its result.",
    "EC": "Add one sentence that asks for all edge cases that such a function can meet.",
    "PS": "Keep every sentence, but put the one that is most easily missed first.",
    "ITK": "Add one sentence on how the library calls that such a function needs really behave.",
}
_SYSTEM = (
    "You edit the descriptions of programming tasks. Keep the meaning, the signature and the "
    "format. Do not solve the task and do not add code. Answer with the whole edited description "
    "between <prompt> and </prompt>."
)
_REPLY = re.compile(r"<prompt>\n?(.*?)</prompt>", re.DOTALL)


def editing_chat(task: CodeTask, reason: Reason) -> Chat:
    """What the editing model is asked."""
    words = f"{_ASKED[reason]}\n\n<prompt>\n{task.prompt.rstrip()}\n</prompt>\n"
    return (Message(role="system", content=_SYSTEM), Message(role="user", content=words))


class ModelEditor:
    """A model edits for some reasons, rules for the rest.

    Args:
        model: that edits, not necessarily the one that failed.
        rules: for the other reasons, and for a task whose clean prompt is known.
        reasons: that the model edits for; renaming needs no model and is never among them.
    """

    def __init__(
        self, model: LanguageModel, rules: Editor, reasons: frozenset[Reason] = frozenset({"MCQS"})
    ) -> None:
        self.model, self.rules, self.reasons = model, rules, reasons & _ASKED.keys()

    def edit(
        self, task: CodeTask, reason: Reason, failures: Failures
    ) -> PromptEdit | NoEdit | None:
        """See `Editor`; it says why where the model's reply holds no other prompt."""
        if reason not in self.reasons or (reason == "MCQS" and task.meta.get(CLEAN)):
            return self.rules.edit(task, reason, failures)
        sampling = Sampling(temperature=0.0, max_tokens=MAX_TOKENS, seed=0)
        reply = self.model.generate([editing_chat(task, reason)], sampling)[0][0]
        if reply.finish == "error":
            return NoEdit(f"no edit: the editor {self.model.name} gave no reply", lost=True)
        found = _REPLY.search(reply.text)
        prompt = "" if found is None else found[1].rstrip() + "\n"
        if why := _unusable(prompt, reply.finish, task, failures.name):
            return NoEdit(f"no edit: the reply of the editor {self.model.name} is of no use: {why}")
        old = set(task.prompt.split("\n"))
        added = "\n".join(line for line in prompt.split("\n") if line not in old)
        why = f"{self.model.name} has edited the prompt"
        return PromptEdit(reason, prompt, why, "rewrite", added=added)


def _unusable(prompt: str, finish: str, task: CodeTask, name: str) -> str:
    """Why what a model wrote is no edit; "" where it is one."""
    if finish != "stop":
        return f"it was cut off ({finish})"
    if not prompt.strip():
        return "it holds no <prompt>"
    # A prompt that no longer names the function asks for another task.
    if name not in prompt:
        return f"it no longer names {name}"
    return "it leaves the prompt as it is" if prompt.split() == task.prompt.split() else ""
