"""The five arms of the baselines: what each is shown, and what is kept of its replies.

chat_of("own_answer", case, "AB", asking, "42")

A reference stands in the prompt. The toy world's grammar has no place for one: there it is put
where the judge's own solution would stand, and the model goes on with the verdict; "template only"
forces the verdict with nothing before it. `chat_of` holds all of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from planish.judges.base import Case
from planish.judges.pairs import ORDERS, Order
from planish.judges.templates import Template
from planish.models.local_prompts import continued
from planish.records import Chat, Record, Sampling

__all__ = [
    "BASELINES",
    "NAMES",
    "ArmRow",
    "Asking",
    "Baseline",
    "chat_of",
    "has_grammar",
    "template_of",
]

Baseline = Literal["template_only", "solve_first", "own_answer", "gold_answer", "vote"]

BASELINES: tuple[Baseline, ...] = get_args(Baseline)
NAMES: dict[Baseline, str] = {
    "template_only": "template only",
    "solve_first": "solve first",
    "own_answer": "own answer as reference",
    "gold_answer": "gold as reference",
    "vote": "equal-token vote",
}


@dataclass(frozen=True)
class Asking:
    """How every arm is asked.

    Args:
        solving: the template that asks for a solution and a verdict.
        plain: the one that asks for a verdict alone.
        judgments: draws per item and order; the vote has a number of its own.
        sampling: temperature, budget and seed of every call.
        most_votes: at most so many judgments per order in the vote.
    """

    solving: Template
    plain: Template
    judgments: int
    sampling: Sampling
    most_votes: int = 16


class ArmRow(Record):
    """What one arm brought for one item.

    Args:
        item_id: the item's.
        arm: how it was asked.
        reference: the answer that was shown, or put in the solution's place.
        reference_right: whether that is right; None where there is none, or nobody can tell.
        right: for each order whether its verdicts name the gold; None: no verdict. The vote has
            one verdict per order.
        first_slot: verdicts that name what stood first.
        decisive: verdicts that name a slot at all.
        statuses: of the calls.
        completion_tokens: that one judgment in both orders took, the solution asked for before it
            included.
        prompt_tokens: likewise.
        lost: calls that brought no reply.
        coins: orders whose vote was drawn.
        texts: for each order what the model wrote.
    """

    item_id: str
    arm: Baseline
    reference: str | None = None
    reference_right: bool | None = None
    right: dict[Order, tuple[bool | None, ...]]
    first_slot: int = 0
    decisive: int = 0
    statuses: dict[str, int]
    completion_tokens: float
    prompt_tokens: float
    lost: int = 0
    coins: int = 0
    texts: dict[Order, tuple[str, ...]]


def has_grammar(template: Template) -> bool:
    """Whether a template is a grammar of its own, without a place for a reference."""
    return template.solution is not None and not template.solution[0]


def chat_of(
    arm: Baseline, case: Case, order: Order, asking: Asking, reference: str | None = None
) -> Chat:
    """What is asked in an arm; a reference of the case's own is never shown."""
    perm = ORDERS[order]
    if has_grammar(asking.solving):
        chat = asking.solving.render(_beside(case, None), perm)
        if arm == "solve_first":
            return chat
        assert asking.solving.solution is not None
        return continued(chat, f"{reference or ''}{asking.solving.solution[1]}".strip())
    template = asking.solving if arm == "solve_first" else asking.plain
    return template.render(_beside(case, reference), perm)


def _beside(case: Case, reference: str | None) -> Case:
    meta = {**case.example.meta, "reference": reference}
    return case.model_copy(update={"example": case.example.model_copy(update={"meta": meta})})


def template_of(arm: Baseline, asking: Asking) -> Template:
    """What the replies of an arm are read by."""
    solves = arm == "solve_first" or has_grammar(asking.solving)
    return asking.solving if solves else asking.plain
