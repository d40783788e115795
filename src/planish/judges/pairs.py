"""Preference pairs for and from judges: what is judged, and what a judge can be trained on.

cases = task_cases(ChainTask(), split="train", limit=200, seed=0)
drawn = judge_draws(model, [(case, named("chain")) for case in cases], samples=8)
pairs = [pair for draws in drawn if failed_orders(draws) for pair in preference_pairs(draws)]

A judge is asked in both orders, several times each. Two of its judgments make a pair when they
answer the very same prompt and only one of them names the gold reply: both are the model's own
words. Pairs never cross orders, and both orders of an item are used: an item fails where the
judge's lean to a slot is wrong, so pairs of the failed order alone would teach the other lean.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from planish.judges.base import SCORED, Case, ParsedReply, Status
from planish.judges.parse import parse
from planish.judges.templates import Template, question_text
from planish.models.base import LanguageModel, Watcher
from planish.records import BadInput, Chat, Completion, Pair, Record, Sampling
from planish.tasks.base import Task

__all__ = [
    "ORDERS",
    "Contrast",
    "Draw",
    "JudgePair",
    "JudgeRow",
    "Order",
    "contrasts",
    "failed_orders",
    "judge_draws",
    "judge_pair",
    "preference_pairs",
    "task_cases",
]

Order = Literal["AB", "BA"]
Contrast = Literal["any", "supported"]

ORDERS: dict[Order, tuple[int, int]] = {"AB": (0, 1), "BA": (1, 0)}
"""Which of the case's replies stands in each slot: as the case has them, and swapped."""


def task_cases(task: Task, *, split: str, limit: int, seed: int = 0) -> list[Case]:
    """One case per example: its gold reply and a wrong one, the gold slot drawn evenly."""
    draw = random.Random(seed)
    cases = []
    for example in task.examples(split, limit, seed):
        right, wrong = task.gold(example), task.wrong(example)
        gold = draw.choice("AB")
        meta = {**example.meta, "gold": gold}
        cases.append(
            Case(
                example=example.model_copy(update={"meta": meta}),
                replies=(right, wrong) if gold == "A" else (wrong, right),
            )
        )
    return cases


@dataclass(frozen=True)
class Draw:
    """One sampled judgment of a case, read against its gold.

    Args:
        item_id: the case's id.
        order: which reply stood first.
        sample: number of the draw.
        prompt: what the model was asked.
        completion: what it said.
        reading: its verdict, in the frame of the prompt.
        gold: the gold reply's slot in the prompt.
        template: name of what it was asked with.
        template_hash: and its fingerprint.
        question: what the two replies answer, as one text.
        solved: whether its own solution is right; None where there is none, or nobody checked.
    """

    item_id: str
    order: Order
    sample: int
    prompt: Chat
    completion: Completion
    reading: ParsedReply
    gold: Literal["A", "B"]
    template: str = ""
    template_hash: str = ""
    question: str = ""
    solved: bool | None = None

    @property
    def status(self) -> Status:
        """As read, but a reply that was cut is never whole enough to be learned."""
        return "truncated" if self.completion.finish == "length" else self.reading.status

    @property
    def right(self) -> bool | None:
        """Whether the verdict is the gold; None where there is none."""
        return self.reading.label == self.gold if self.status in SCORED else None

    @property
    def solution(self) -> str | None:
        """Its own solution without what blanks add; None where the template asks for none."""
        found = self.reading.solution
        return None if found is None else " ".join(found.split())


class _Row(Record):
    """What every row for a trainer says about where it comes from.

    `question` is the plain question inside the prompt, so that anybody can tell whether it is
    also in a report.
    """

    prompt: Chat
    item_id: str
    order: Order
    gold: Literal["A", "B"]
    source: Literal["sft", "dpo", "reward"]
    template: str = ""
    template_hash: str = ""
    question: str = ""

    def _columns(self, replies: dict[str, str], **more: Any) -> dict[str, Any]:
        chat = [{"role": turn.role, "content": turn.content} for turn in self.prompt]
        return {
            "prompt": chat,
            **{name: [{"role": "assistant", "content": text}] for name, text in replies.items()},
            **self.model_dump(include={*_Row.model_fields} - {"prompt"}),
            **more,
            "prompt_chars": sum(len(turn.content) for turn in self.prompt),
            **{f"{name}_chars": len(text) for name, text in replies.items()},
        }


class JudgeRow(_Row):
    """A judgment to be learned: the prompt, and a completion that names the gold reply."""

    source: Literal["sft", "dpo", "reward"] = "sft"
    completion: str
    sample: int = 0

    @property
    def length_difference(self) -> int:
        """There is nothing to compare the completion with."""
        return 0

    def row(self) -> dict[str, Any]:
        """As TRL's SFT trainer reads it: conversational `prompt` and `completion`."""
        return self._columns({"completion": self.completion}, sample=self.sample)


class JudgePair(_Row):
    """Two judgments on one prompt: `chosen` names the gold reply, `rejected` does not."""

    source: Literal["sft", "dpo", "reward"] = "dpo"
    chosen: str
    rejected: str
    chosen_sample: int = 0
    rejected_sample: int = 0

    @property
    def length_difference(self) -> int:
        """By how many characters `chosen` is longer."""
        return len(self.chosen) - len(self.rejected)

    @property
    def pair(self) -> Pair:
        """As the plain record that every room shares."""
        meta = self.model_dump(exclude={"prompt", "chosen", "rejected"})
        return Pair(prompt=self.prompt, chosen=self.chosen, rejected=self.rejected, meta=meta)

    def row(self) -> dict[str, Any]:
        """As TRL's DPO trainer reads it: conversational `prompt`, `chosen` and `rejected`."""
        return self._columns(
            {"chosen": self.chosen, "rejected": self.rejected},
            chosen_sample=self.chosen_sample,
            rejected_sample=self.rejected_sample,
        )


def judge_draws(
    model: LanguageModel,
    asked: Sequence[tuple[Case, Template]],
    *,
    samples: int = 8,
    sampling: Sampling | None = None,
    verify: Callable[[Case, str], bool | None] | None = None,
    watcher: Watcher | None = None,
) -> list[list[Draw]]:
    """Lets a model judge every case in both orders, `samples` times each, in one batch.

    Args:
        model: who judges.
        asked: the cases with the template of each; every case needs a gold "A" or "B".
        samples: draws per order; draw `i` uses the sampling's seed + `i`.
        sampling: temperature and budget; by default temperature 1.
        verify: checks the solution that a template asks for; told in `Draw.solved`.
        watcher: hears of every call.

    Returns:
        For every case its draws, first those of its own order, then those swapped.

    Raises:
        BadInput: a case without two replies or a decided gold, a template of another kind, or
            several samples at temperature 0.
    """
    sampling = (sampling or Sampling(max_tokens=2048, seed=0)).model_copy(update={"n": samples})
    if samples > 1 and sampling.temperature == 0:
        raise BadInput(
            "several samples at temperature 0 are all the same",
            where="samples",
            fix="raise the temperature or take one sample",
        )
    for case, template in asked:
        if len(case.replies) != 2 or case.gold not in ("A", "B"):
            raise BadInput("a pair with a gold A or B is needed", where=f"case {case.id}")
        if template.kind != "choice":
            raise BadInput(
                f"is for a {template.kind}, not for pairs", where=f"template {template.name}"
            )
    chats = [t.render(case, perm) for case, t in asked for perm in ORDERS.values()]
    replies = iter(zip(chats, model.generate(chats, sampling, watcher=watcher), strict=True))
    hashes = {id(template): template.hash for _, template in asked}
    drawn: list[list[Draw]] = []
    for case, template in asked:
        drawn.append([])
        for order, perm in ORDERS.items():
            prompt, completions = next(replies)
            for sample, completion in enumerate(completions):
                reading = parse(completion, template)
                draw = Draw(
                    item_id=case.id,
                    order=order,
                    sample=sample,
                    prompt=prompt,
                    completion=completion,
                    reading=reading,
                    gold="A" if perm["AB".index(case.gold or "")] == 0 else "B",
                    template=template.name,
                    template_hash=hashes[id(template)],
                    question=question_text(case.example.prompt),
                    solved=_solved(case, reading, verify),
                )
                drawn[-1].append(draw)
    return drawn


def _solved(
    case: Case, reading: ParsedReply, verify: Callable[[Case, str], bool | None] | None
) -> bool | None:
    if verify is None or reading.solution is None:
        return None
    return verify(case, reading.solution)


def failed_orders(draws: Sequence[Draw]) -> set[Order]:
    """The orders in which the vote of the draws does not name the gold reply.

    Unread draws have no vote; a drawn vote is not right, as everywhere.
    """
    lead: Counter[Order] = Counter({draw.order: 0 for draw in draws})
    for draw in draws:
        lead[draw.order] += {True: 1, False: -1, None: 0}[draw.right]
    return {order for order, votes in lead.items() if votes <= 0}


def contrasts(
    draws: Sequence[Draw],
    *,
    orders: Sequence[Order] = tuple(ORDERS),
    require_solution: bool = False,
    prefer: Contrast = "any",
    reject: Literal["verdict", "either"] = "verdict",
) -> list[tuple[Draw, Draw]]:
    """Every (right, wrong) of two different texts on the same prompt, in the order of use.

    The orders take turns, so that a cap cuts both alike; within an order every judgment is used
    once before another of its side is used again.

    Args:
        draws: all draws of one case.
        orders: which orders may be used.
        require_solution: the right one must also hold a right solution of its own.
        prefer: "supported" keeps the pairs whose right judgment rests on a solution that leads to
            the right verdict more often than that of the wrong one, the widest gap first.
        reject: what makes a judgment wrong: its verdict, or "either" that or its solution, which
            goes with `require_solution`.
    """
    if reject == "either" and not require_solution:
        raise ValueError("a judgment would be right and wrong: use require_solution")
    queues = []
    for order in orders:
        members = [draw for draw in draws if draw.order == order]
        right = [draw for draw in members if draw.right and (draw.solved or not require_solution)]
        wrong = [
            draw
            for draw in members
            if draw.right is False
            or (reject == "either" and draw.right is not None and draw.solved is False)
        ]
        queues.append(_crossed(_different(right), _different(wrong)))
    longest = max(map(len, queues), default=0)
    found = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    return found if prefer == "any" else _supported(found, draws)


def _supported(
    found: Sequence[tuple[Draw, Draw]], draws: Sequence[Draw]
) -> list[tuple[Draw, Draw]]:
    """Ours: a verdict of two labels is right by luck half of the time, its reasoning is not.

    A solution is worth the share of right verdicts that it led to, in both orders, with one right
    and one wrong added so that a single draw proves little.
    """
    right, read = Counter[str | None](), Counter[str | None]()
    for draw in draws:
        if draw.right is not None:
            right[draw.solution] += draw.right
            read[draw.solution] += 1
    worth = {solution: (right[solution] + 1) / (count + 2) for solution, count in read.items()}
    gaps = [(worth[chosen.solution] - worth[rejected.solution]) for chosen, rejected in found]
    kept = [number for number, gap in enumerate(gaps) if gap > 0]
    return [found[number] for number in sorted(kept, key=lambda number: -gaps[number])]


def preference_pairs(
    draws: Sequence[Draw],
    *,
    cap: int = 4,
    orders: Sequence[Order] = tuple(ORDERS),
    require_solution: bool = False,
    prefer: Contrast = "any",
) -> list[JudgePair]:
    """The first `cap` contrasts of one case, as rows; arguments as for `contrasts`."""
    found = contrasts(draws, orders=orders, require_solution=require_solution, prefer=prefer)
    return [judge_pair(chosen, rejected) for chosen, rejected in found[:cap]]


def judge_pair(chosen: Draw, rejected: Draw) -> JudgePair:
    """Two draws on one prompt as a row."""
    return JudgePair(
        prompt=chosen.prompt,
        chosen=chosen.completion.text,
        rejected=rejected.completion.text,
        item_id=chosen.item_id,
        order=chosen.order,
        gold=chosen.gold,
        template=chosen.template,
        template_hash=chosen.template_hash,
        question=chosen.question,
        chosen_sample=chosen.sample,
        rejected_sample=rejected.sample,
    )


def _different(draws: Sequence[Draw]) -> list[Draw]:
    """The first draw of every text."""
    first: dict[str, Draw] = {}
    for draw in draws:
        first.setdefault(draw.completion.text, draw)
    return list(first.values())


def _crossed(right: Sequence[Draw], wrong: Sequence[Draw]) -> list[tuple[Draw, Draw]]:
    """Everything against everything, each side used as evenly as can be at any cut."""
    if not right or not wrong:
        return []
    # Stepping through both sides at once comes back to its start after lcm steps.
    return [
        (right[step % len(right)], wrong[(step + shift) % len(wrong)])
        for shift in range(math.gcd(len(right), len(wrong)))
        for step in range(math.lcm(len(right), len(wrong)))
    ]
