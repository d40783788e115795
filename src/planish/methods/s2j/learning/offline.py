"""The arm that draws first: pairs of the model's own judgments, then DPO with an NLL term.

trained = learn_offline(plan, lesson, job)

Ours, as far as we know. Chosen is a judgment whose solution *and* verdict are right, rejected is
one on the same prompt where either is wrong. Items that fail in either order bring pairs from both:
they fail where the lean to a slot is wrong, and pairs of that order alone teach the other lean.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from planish.judges.balance import balance
from planish.judges.base import SCORED
from planish.judges.pairs import ORDERS, Draw, JudgePair, contrasts, judge_draws, judge_pair
from planish.judges.recording import below_floor
from planish.judges.resumable import kept
from planish.methods.s2j.learning.lesson import Lesson
from planish.methods.s2j.learning.plan import Plan
from planish.methods.s2j.method import has_form
from planish.models import load
from planish.models.base import Steps
from planish.records import BadInput, Record, write_jsonl, write_text
from planish.training.job import Job, model_path
from planish.training.rows import EncodedRow, Encoder, encode_all, read_rows

if TYPE_CHECKING:
    from planish.training.checkpoint import Trained
    from planish.training.trl import Settings

__all__ = ["DRAWN", "PAIRS", "Drawn", "Fault", "SolvedPair", "learn_offline", "solved_pairs"]

PAIRS, DRAWN = "pairs.jsonl", "drawn.json"

Fault = Literal["verdict", "solution", "both"]


class SolvedPair(JudgePair):
    """Two judgments on one prompt; `fault` says what is wrong with the rejected one."""

    fault: Fault

    def row(self) -> dict[str, Any]:
        """As TRL's DPO trainer reads it."""
        return {**super().row(), "rejected_fault": self.fault}


class Drawn(Record):
    """What the draws of all items held, and the pairs that they made.

    Args:
        right: per item the share of its draws with a right verdict and a right solution; a draw
            whose solution nobody could check is none of them.
        faults: pairs by what is wrong with the rejected judgment.
        dropped: pairs that went with the balance, by reason.
    """

    num_items: int
    num_draws: int
    num_readable: int
    num_hard: int
    num_pairs: int
    right: tuple[float, ...]
    faults: dict[str, int]
    dropped: dict[str, int]


def learn_offline(plan: Plan, lesson: Lesson, job: Job) -> Trained:
    """Draws, pairs and trains what is not there yet.

    Raises:
        BadInput: too few draws have the form, or no item brings a pair.
        TrainingFailed: a number is not finite.
    """
    from planish.training import trl

    out, folder = Path(plan.out), job.folder / "artifacts"
    if done := job.made(out):  # a kill may have come just after it
        return done
    pairs = folder / PAIRS
    if job.run is None:
        _wait_for(pairs)
    elif not pairs.exists():
        _draw(plan, lesson, job)
    rows, end_id = _encoded(plan, pairs)
    settings = _settings(plan, len(rows))
    with job.recorder(f"DPO on {len(rows)} pairs", settings.num_steps) as recorder:
        return trl.train(
            "dpo",
            model_path(plan.model),
            rows,
            settings,
            end_id=end_id,
            work=job.checkpoints("dpo"),
            out=out,
            recorder=recorder,
            run=job.folder.name,
        )


def _wait_for(path: Path) -> None:
    """One process draws. A collective call would give up on it before a long drawing ends."""
    while not path.exists():
        time.sleep(0.5)


def _draw(plan: Plan, lesson: Lesson, job: Job) -> None:
    """Lets the model judge, and writes the pairs; the file of pairs appears last."""
    items = lesson.items.items
    by_id = {item.id: item for item in items}
    asked = [(item.case, lesson.template) for item in items]
    replies = job.folder / "artifacts" / "replies.jsonl"
    replies.parent.mkdir(parents=True, exist_ok=True)
    goes_on = replies.exists()  # equal questions of a fresh run are hits as well
    total = 2 * len(asked) * plan.samples
    with (
        kept(load(plan.model), replies, job.screen) as model,
        job.screen.progress(f"{plan.model} judges", total) as step,
    ):
        drawn = judge_draws(
            model,
            asked,
            samples=plan.samples,
            sampling=plan.sampling,
            verify=lambda case, solution: lesson.items.verify(by_id[case.id], solution),
            watcher=Steps(step),
        )
        if model.hits and goes_on:
            job.screen.note(f"{model.hits} of {total} judgments were there before")
    _check_readable(plan, lesson, drawn)
    pairs, told = solved_pairs(plan, lesson, drawn)
    write_text(job.folder / "artifacts" / DRAWN, told.model_dump_json(indent=1) + "\n")
    write_jsonl(job.folder / "artifacts" / PAIRS, (pair.row() for pair in pairs))


def _readable(draw: Draw, lesson: Lesson) -> bool:
    return draw.status in SCORED and has_form(draw.completion, draw.reading, lesson.template)


def _check_readable(plan: Plan, lesson: Lesson, drawn: Sequence[Sequence[Draw]]) -> None:
    draws = [draw for several in drawn for draw in several]
    unread = [draw for draw in draws if not _readable(draw, lesson)]
    if below_floor(len(unread), len(draws), plan.min_readable):
        first = unread[0]
        raise BadInput(
            f"only {len(draws) - len(unread)} of {len(draws)} draws have the form that was asked "
            f"for: {first.completion.text[:60]!r}",
            where=f"item {first.item_id}",
            fix="use a model that knows the form (SFT comes first), or a larger --max-tokens",
        )


def solved_pairs(
    plan: Plan, lesson: Lesson, drawn: Sequence[Sequence[Draw]]
) -> tuple[list[SolvedPair], Drawn]:
    """The pairs of all items that fail in either order, from both orders, balanced.

    Raises:
        BadInput: no item fails, or none of them brings a pair; with the count and the first item.
    """
    whole = [[draw for draw in several if _readable(draw, lesson)] for several in drawn]
    known = [[draw for draw in several if draw.solved is not None] for several in whole]
    hard = [draws for draws in known if _fails(draws)]
    if not any(known):
        raise BadInput(
            f"no solution of {sum(map(len, drawn))} draws could be checked: "
            f"{next(iter(lesson.items.unknown), 'the verifier says nothing')}",
            where=plan.source,
            fix="see that the gold answers can be compared with",
        )
    if not hard:
        raise BadInput(
            f"all {len(drawn)} items are solved and judged right in both orders",
            where=plan.source,
            fix="bring harder items or raise --temperature: there is nothing to mend here",
        )
    built = [pair for draws in hard for pair in _pairs(draws, plan.pairs_per_item)]
    pairs, surplus = (built, {}) if not plan.balance else balance(built, seed=plan.seed)
    if not pairs:
        raise BadInput(
            f"none of {len(built)} pairs of {len(hard)} items that fail is left, the first is "
            f"{hard[0][0].item_id}"
            if built
            else f"none of {len(hard)} items that fail has a judgment with solution and verdict "
            f"right beside a wrong one, the first is {hard[0][0].item_id}",
            where=plan.source,
            fix="draw more with --samples, or bring more items",
        )
    return pairs, Drawn(
        num_items=len(drawn),
        num_draws=sum(map(len, drawn)),
        num_readable=sum(map(len, whole)),
        num_hard=len(hard),
        num_pairs=len(pairs),
        right=tuple(
            sum(map(_is_right, told)) / (len(draws) - len(read) + len(told))
            for draws, read, told in zip(drawn, whole, known, strict=True)
            if told or not read
        ),
        faults=dict(Counter(pair.fault for pair in pairs)),
        dropped={why: len(gone) for why, gone in surplus.items()},
    )


def _is_right(draw: Draw) -> bool:
    return bool(draw.right and draw.solved)


def _fails(draws: Sequence[Draw]) -> bool:
    """Whether in one of the orders at most half of the draws have solution and verdict right."""
    orders = [[_is_right(draw) for draw in draws if draw.order == order] for order in ORDERS]
    return bool(draws) and any(2 * sum(right) <= len(right) for right in orders)


def _pairs(draws: Sequence[Draw], cap: int) -> list[SolvedPair]:
    found = contrasts(draws, require_solution=True, reject="either")
    return [
        SolvedPair(**judge_pair(*contrast).model_dump(), fault=_fault(contrast[1]))
        for contrast in found[:cap]
    ]


def _fault(draw: Draw) -> Fault:
    if draw.right:
        return "solution"
    return "both" if draw.solved is False else "verdict"


def _encoded(plan: Plan, pairs: Path) -> tuple[list[EncodedRow], int]:
    from planish.models.local_loading import open_tokenizer

    tokenizer, context = open_tokenizer(model_path(plan.model))
    encoder = Encoder(tokenizer, plan.model)
    rows = read_rows(pairs, "dpo")
    return encode_all(rows, encoder, max_length=None, context=context), encoder.end_id


def _settings(plan: Plan, num_rows: int) -> Settings:
    from planish.training.trl import Settings

    steps = math.ceil(plan.dpo_epochs * math.ceil(num_rows / plan.dpo_batch_size))
    return Settings(
        learning_rate=plan.dpo_learning_rate,
        num_steps=plan.dpo_steps or steps,
        batch_size=plan.dpo_batch_size,
        seed=plan.seed,
        warmup=plan.warmup,
        **plan.optimizer(),
        beta=plan.beta,
        alpha=plan.alpha,
    )
