"""Letting a model solve and judge, and reading every reply against the gold answer.

drawing = Drawing(model, items, named("solve_first"))
solved = drawing.solves(items.items, config.reporting, "report")
judged = drawing.judgments(items.items, config.judging)
"""

from __future__ import annotations

from collections.abc import Sequence

from planish.judges.base import SCORED, to_case_frame
from planish.judges.pairs import ORDERS, Order
from planish.judges.parse import parse
from planish.judges.templates import Template
from planish.methods.s2j.data import Item, Items, undecided
from planish.methods.s2j.measuring.records import JudgeSample, Purpose, SolveSample
from planish.methods.s2j.prompts import answer_of, solution_of, solve_chat
from planish.models.base import LanguageModel, Watcher
from planish.records import Completion, Sampling

__all__ = ["Drawing"]


class Drawing:
    """A model, what it is asked, and every completion that it gave.

    Args:
        model: who solves and judges.
        items: with their grader.
        template: what judgments are asked with.
        watcher: hears of every call.

    Attributes:
        calls: every completion, those that brought nothing included.
    """

    def __init__(
        self,
        model: LanguageModel,
        items: Items,
        template: Template,
        watcher: Watcher | None = None,
    ) -> None:
        self.model, self.items, self.template, self.watcher = model, items, template, watcher
        self.calls: list[Completion] = []
        self._wrong: dict[str, frozenset[str]] = {}

    def solves(
        self, asked: Sequence[Item], sampling: Sampling, purpose: Purpose
    ) -> list[SolveSample]:
        """`sampling.n` solutions of every item's question; equal questions are asked once."""
        chats = {item.id: solve_chat(item.example, self.template) for item in asked}
        different = list(dict.fromkeys(chats.values()))
        replies = self.model.generate(different, sampling, watcher=self.watcher)
        self.calls += [completion for row in replies for completion in row]
        found = dict(zip(different, replies, strict=True))
        return [
            self._solved(item, sample, completion, sampling, purpose)
            for item in asked
            for sample, completion in enumerate(found[chats[item.id]])
        ]

    def judgments(
        self, asked: Sequence[Item], sampling: Sampling, *, greedy: bool = False
    ) -> list[JudgeSample]:
        """`sampling.n` judgments of every item in either order."""
        places = [(item, order) for item in asked for order in ORDERS]
        chats = [self.template.render(item.case, ORDERS[order]) for item, order in places]
        replies = self.model.generate(chats, sampling, watcher=self.watcher)
        self.calls += [completion for row in replies for completion in row]
        return [
            self._judged(item, order, sample, completion, sampling, greedy)
            for (item, order), completions in zip(places, replies, strict=True)
            for sample, completion in enumerate(completions)
        ]

    def _solved(
        self, item: Item, sample: int, completion: Completion, sampling: Sampling, purpose: Purpose
    ) -> SolveSample:
        text = completion.text
        correct, answer, why = self._graded(item, completion, answer_of(text, self.template))
        return SolveSample(
            item_id=item.id,
            purpose=purpose,
            sample_idx=sample,
            seed=None if sampling.seed is None else sampling.seed + sample,
            text=text,
            answer=answer,
            correct=correct,
            finish=completion.finish,
            temperature=sampling.temperature,
            tagged=not self._marked or solution_of(text, self.template) is not None,
            copied=answer is not None and answer in self._wrong_answers(item),
            num_tokens=completion.usage.completion_tokens,
            why=why,
        )

    def _judged(
        self,
        item: Item,
        order: Order,
        sample: int,
        completion: Completion,
        sampling: Sampling,
        greedy: bool,
    ) -> JudgeSample:
        reading = parse(completion, self.template)
        solution = solution_of(completion.text, self.template)
        correct, answer, why = self._graded(item, completion, solution)
        verdict = to_case_frame(reading.label, ORDERS[order])
        verdict = verdict if reading.status in SCORED else None
        gold = item.case.gold
        total = completion.usage.completion_tokens
        share = len((solution or "").split()) / max(len(completion.text.split()), 1)
        return JudgeSample(
            item_id=item.id,
            order=order,
            sample_idx=sample,
            greedy=greedy,
            seed=None if sampling.seed is None else sampling.seed + sample,
            text=completion.text,
            solution=solution,
            solution_correct=correct,
            verdict=verdict,
            verdict_correct=None if verdict is None or gold is None else verdict == gold,
            status=reading.status,
            num_solution_tokens=round(total * share),
            num_total_tokens=total,
            copied=answer is not None and answer in self._wrong_answers(item),
            temperature=sampling.temperature,
            why=why,
        )

    @property
    def _marked(self) -> bool:
        """Whether a solution alone is asked for between marks."""
        return bool(self.template.solution and self.template.solution[0])

    def _graded(
        self, item: Item, completion: Completion, text: str | None
    ) -> tuple[bool | None, str | None, str]:
        """(right, the answer that was read, why not); a reply without an answer is not right."""
        if completion.finish == "error":
            last = completion.failures[-1] if completion.failures else None
            return None, None, f"{last.kind}: {last.message}" if last else "no reply"
        if item.example.target is None:
            return None, None, "no gold answer"
        if text is None:
            return False, None, "no solution between the marks"
        verdict = self.items.grade(item, text)
        if undecided(verdict):
            self.items.unknown[verdict.why] += 1
            return None, None, verdict.why
        return verdict.score == 1.0, verdict.extracted, verdict.why

    def _wrong_answers(self, item: Item) -> frozenset[str]:
        if item.id not in self._wrong:
            self._wrong[item.id] = self.items.wrong_answers(item)
        return self._wrong[item.id]
