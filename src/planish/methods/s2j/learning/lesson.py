"""The items as they are trained on: read, checked, and asked in both orders.

lesson = prepare(plan, resumed=False)
lesson.groups[0].prompts        # one item, asked in both orders: two prompts, one baseline
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planish.judges.formats import read_pairs
from planish.judges.overlap import check_disjoint
from planish.judges.pairs import ORDERS
from planish.judges.templates import Template, load_template
from planish.methods.s2j.data import Item, Items, pair_items, task_items
from planish.methods.s2j.learning.config import TrainArm
from planish.methods.s2j.learning.plan import Plan
from planish.methods.s2j.prompts import solve_chat
from planish.models.local_prompts import PromptWriter
from planish.records import BadInput, Chat
from planish.tasks.load import load_task
from planish.training.groups import Group
from planish.training.job import check_out, model_path
from planish.training.rows import split_batch

__all__ = ["Lesson", "prepare", "prompt_gold"]


@dataclass(frozen=True)
class Lesson:
    """What is trained on.

    Args:
        items: with who grades their answers.
        template: what they are asked with.
        alone: items whose question is asked without candidates, too.
        count_tokens: how many tokens of the model a text is.
    """

    items: Items
    template: Template
    count_tokens: Callable[[str], int]
    alone: tuple[Item, ...] = ()

    @property
    def groups(self) -> list[Group]:
        """Every item in both orders: what depends on the order alone is punished. Behind them the
        questions that are solved alone, each twice, for all groups have as many rollouts.
        """
        judged = [Group(item.id, self.prompts(item)) for item in self.items.items]
        return judged + [
            Group(item.id, (solve_chat(item.example, self.template),) * len(ORDERS))
            for item in self.alone
        ]

    def asked(self, group: int) -> Item:
        """The item of a group."""
        return (*self.items.items, *self.alone)[group]

    def prompts(self, item: Item) -> tuple[Chat, ...]:
        """What is asked about an item, in each of `ORDERS`."""
        return tuple(self.template.render(item.case, perm) for perm in ORDERS.values())


def prompt_gold(item: Item, perm: Sequence[int]) -> str | None:
    """The right verdict where slot `i` shows reply `perm[i]`; None where no verdict is right."""
    if item.slice != "one_right" or item.case.gold not in ("A", "B"):
        return None
    return "AB"[list(perm).index("AB".index(item.case.gold))]


def prepare(plan: Plan, *, resumed: bool) -> Lesson:
    """Everything that can be known before a model is loaded.

    Raises:
        BadInput: the template, the items, the model or `--out` cannot be used.
    """
    check_out(Path(plan.out), resumed=resumed)
    template = _template(plan.template)
    items = _rewarded(plan, _items(plan))
    for path in plan.report_pairs:
        cases = [item.case for item in items.items]
        check_disjoint(cases, read_pairs(path), source=path, near=plan.near_duplicate)
    _check_batch(plan)
    from planish.models.local_loading import open_tokenizer

    tokenizer, context = open_tokenizer(model_path(plan.model))
    lesson = Lesson(
        items=items,
        template=template,
        alone=_alone(plan, items),
        count_tokens=lambda text: len(
            tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        ),
    )
    _check_budget(plan, lesson)
    if context is not None:
        _check_room(plan, lesson, tokenizer, context)
    return lesson


def _template(name: str) -> Template:
    template = load_template(name)
    if template.kind != "choice" or template.solution is None:
        raise BadInput(
            "asks for no solution between marks before a choice between two replies",
            where=f"template {template.name}",
            fix='use solve_first or chain, or a JSON template with "solution" marks',
        )
    return template


def _items(plan: Plan) -> Items:
    if plan.pairs is not None:
        return pair_items(plan.pairs, plan.format, plan.limit)
    return task_items(
        load_task(plan.task or ""),
        split="train",
        limit=plan.limit,
        both_wrong=plan.both_wrong,
        seed=plan.seed,
    )


def _rewarded(plan: Plan, items: Items) -> Items:
    """The items that hold what the arm rewards; rollouts of the others would teach nothing.

    Raises:
        BadInput: there are none.
    """
    if plan.arm != "judge_only" and not items.with_target:
        raise BadInput(
            f"none of {len(items)} items has a gold answer, the first is {items.items[0].id}",
            where=plan.source,
            fix="add targets, or use --arm judge_only",
        )
    kept = tuple(item for item in items.items if _teaches(item, plan.arm))
    if not kept:
        known = "one right candidate" + (" and a gold answer" if plan.arm == "dpo" else "")
        raise BadInput(
            f"none of {len(items)} items has {known}, the first is {items.items[0].id}",
            where=plan.source,
            fix="bring pairs of a right and a wrong reply",
        )
    left = [item.id for item in items.items if not _teaches(item, plan.arm)]
    dropped = {f"arm {plan.arm} rewards nothing in them": left} if left else {}
    return replace(items, items=kept, dropped={**items.dropped, **dropped})


def _teaches(item: Item, arm: TrainArm) -> bool:
    """Whether a rollout of an item can earn anything in an arm."""
    judged, solved = item.slice == "one_right", item.example.target is not None
    if arm == "judge_only":
        return judged
    if arm == "dpo":
        return judged and solved
    return solved or (judged and arm not in ("solve_only", "gated"))


def _alone(plan: Plan, items: Items) -> tuple[Item, ...]:
    """The questions that are solved alone: of the first items with a gold answer."""
    if not plan.alone:
        return ()
    known = {item.example.prompt: item for item in reversed(items.with_target)}
    found = tuple(reversed(known.values()))[: plan.alone]
    if len(found) < plan.alone:
        raise BadInput(
            f"{plan.alone} questions asked, but only {len(found)} have a gold answer",
            where="--alone",
            fix=f"use at most {len(found)}",
        )
    return found


def _check_batch(plan: Plan) -> None:
    """Refuses a step that does not divide; the trainers would find out after loading."""
    rows = plan.dpo_batch_size
    if plan.arm != "dpo":
        rows = plan.items_per_step * len(ORDERS) * plan.rollouts
    split_batch(rows, plan.micro_batch_size, plan.num_processes)


def _check_budget(plan: Plan, lesson: Lesson) -> None:
    """Refuses a budget that no right output fits into: it would punish every solution."""
    opening, closing = lesson.template.solution or ("", "")
    label, count = lesson.template.choices[0], lesson.count_tokens
    needed = [
        (count(f"{opening}{_right(item)}{closing} {label}") + 1, item)
        for item in lesson.items.of("one_right")
        if item.example.target is not None
    ]
    longest, item = max(needed, key=lambda pair: pair[0], default=(0, None))
    if item is not None and longest > plan.max_tokens:
        raise BadInput(
            f"{plan.max_tokens} is shorter than the gold solution of item {item.id} with its "
            f"verdict ({longest} tokens)",
            where="--max-tokens",
            fix=f"use at least {longest}, or leave such items out",
        )


def _check_room(plan: Plan, lesson: Lesson, tokenizer: Any, context: int) -> None:
    """Refuses items whose prompt leaves no room for a whole judgment."""
    writer = PromptWriter(tokenizer, plan.model)
    for item in lesson.items.items:
        lengths = [len(writer.encode(writer.write(chat))) for chat in lesson.prompts(item)]
        if max(lengths) + plan.max_tokens > context:
            raise BadInput(
                f"its prompt of {max(lengths)} tokens and {plan.max_tokens} more do not fit into "
                f"the context of {context} of {plan.model}",
                where=f"item {item.id}",
                fix="lower --max-tokens, or leave such items out"
                if max(lengths) < context
                else "leave such items out, or train a model with a longer context",
            )


def _right(item: Item) -> str:
    """The right candidate."""
    return item.case.replies["AB".index(item.case.gold or "A")]
