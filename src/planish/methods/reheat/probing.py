"""The probe: the exact entropy of a policy on fixed prompts, the same draws every time.

    probe = Probe(sets.probe, max_tokens=64, seed=0)
    probe.freeze(policy)                    # once, before the first step
    probe.look(policy)["on_policy"].mean

What the policy draws afresh is what counts; replies that were drawn once and stay the same tell of
the same policy with less noise, and of a policy that has run away from them they tell too little.

Frozen replies are kept as token ids, so that a run that goes on looks at the same ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from planish.methods.reheat.data import PromptSet
from planish.methods.reheat.method import TokenEntropy
from planish.methods.reheat.policy import Policy, Text, entropy_of
from planish.models.base import Watcher
from planish.records import BadInput, write_text

__all__ = ["Kind", "Probe"]

Kind = Literal["on_policy", "frozen"]


class Probe:
    """Fixed prompts, and what a policy says to them.

    Args:
        prompts: what is asked.
        max_tokens: budget of a reply.
        seed: of the draws.
    """

    def __init__(self, prompts: PromptSet, *, max_tokens: int, seed: int) -> None:
        self.prompts, self.max_tokens, self.seed = prompts, max_tokens, seed
        self.frozen: Sequence[Text] = ()

    def draw(self, policy: Policy) -> list[Text]:
        """One fresh reply to every prompt, at temperature 1.

        Raises:
            BadInput: nothing comes.
        """
        return list(self.replies(policy).values())

    def replies(self, policy: Policy, watcher: Watcher | None = None) -> dict[str, Text]:
        """The same by the prompt's id; a prompt without a reply is left out.

        Raises:
            BadInput: nothing comes.
        """
        chats = self.prompts.chats
        drawn = policy.draw(chats, max_tokens=self.max_tokens, seed=self.seed, watcher=watcher)
        texts = {
            example.id: text
            for example, row in zip(self.prompts.examples, drawn, strict=True)
            for text in policy.texts([example.prompt], [row])
        }
        if not any(text.reply_ids for text in texts.values()):
            raise BadInput(
                "it says nothing to any of the probe's prompts",
                where=policy.name,
                fix="check the prompts, or change --max-tokens",
            )
        return texts

    def freeze(self, policy: Policy, keep: Path | None = None) -> None:
        """Takes the replies of now as the frozen ones; those in `keep`, if they are there.

        Raises:
            BadInput: `keep` holds something else.
        """
        if keep is not None and keep.exists():
            self.frozen = _read(keep)
            return
        self.frozen = self.draw(policy)
        if keep is not None:
            rows = [[text.prompt_ids, text.reply_ids] for text in self.frozen]
            write_text(keep, json.dumps(rows) + "\n")

    def recall(self, keep: Path) -> None:
        """Takes the frozen replies that `freeze` kept.

        Raises:
            BadInput: `keep` holds something else.
        """
        self.frozen = _read(keep)

    def look(self, policy: Policy) -> dict[Kind, TokenEntropy]:
        """The entropy of fresh replies, and of the frozen ones where there are any."""
        found: dict[Kind, TokenEntropy] = {"on_policy": entropy_of(policy, self.draw(policy))}
        if self.frozen:
            found["frozen"] = entropy_of(policy, self.frozen)
        return found


def _read(path: Path) -> list[Text]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [Text(tuple(map(int, prompt)), tuple(map(int, reply))) for prompt, reply in rows]
    except (ValueError, TypeError):
        raise BadInput("is not a probe's frozen replies", where=str(path)) from None
