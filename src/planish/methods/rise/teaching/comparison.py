"""A policy before and after its training, on the same prompts.

compared = compare(examples, before, after, duels)
compared.numbers()["solve_difference"]

A prompt is one item, however many replies were drawn: intervals and the paired test go by items.
A reply that the verifier cannot read solves nothing; a call that brought no reply says nothing and
is left out on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from planish.judges.base import Call
from planish.records import Completion, Example
from planish.stats import Estimate, mcnemar, mean, paired_bootstrap, ratio
from planish.tasks.ability import Solution, grade, share_solved
from planish.tasks.base import Task
from planish.training.rewards import Asked, Scored, distinct

__all__ = ["Compared", "Side", "compare", "duels_of", "lost"]


@dataclass(frozen=True)
class Side:
    """One policy's replies to every prompt, and what the verifier says of each."""

    drawn: Sequence[Sequence[Completion]]
    solutions: Sequence[Sequence[Solution]]

    @classmethod
    def of(
        cls, task: Task, examples: Sequence[Example], drawn: Sequence[Sequence[Completion]]
    ) -> Self:
        """Verifies what was drawn."""
        return cls(
            drawn,
            [
                [grade(task, example, draw) for draw in draws]
                for example, draws in zip(examples, drawn, strict=True)
            ],
        )

    def read(self, index: int) -> list[float | None]:
        """The verifier's scores of the replies to one prompt; None where it can read none."""
        return [
            each.score if each.status in ("solved", "wrong") else None
            for each in self.solutions[index]
        ]

    def rate(self, index: int) -> float | None:
        """How well one prompt is solved, over its replies; None where none came."""
        told = [each.score for each in self.solutions[index] if each.score is not None]
        return sum(told) / len(told) if told else None


class PromptRecord(NamedTuple):
    """What a run keeps of one prompt."""

    id: str
    score: dict[str, float | None]
    replies: dict[str, Any]


def lost(draw: Completion | Call) -> bool:
    """Whether a call brought no reply."""
    return draw.finish == "error"


def duels_of(examples: Sequence[Example], before: Side, after: Side) -> list[Asked]:
    """What a judge is asked: for every draw the reply of after, then that of before.

    One reply stands there where both said the same, or where one of them was lost.
    """
    return [
        (
            example.model_copy(update={"id": f"{example.id}#{sample}"}),
            distinct(None if lost(draw) else draw.text for draw in (new, old)),
        )
        for example, olds, news in zip(examples, before.drawn, after.drawn, strict=True)
        for sample, (old, new) in enumerate(zip(olds, news, strict=True))
    ]


@dataclass(frozen=True)
class Compared:
    """Both sides of a comparison.

    Args:
        examples: the prompts.
        before: the policy as it was.
        after: as it is now.
        shares: of after against before, for every draw of every prompt; identical replies share
            evenly, None: could not be scored, or lost. None in all where no judge was asked.
        duels: what the judge made of each draw.
    """

    examples: Sequence[Example]
    before: Side
    after: Side
    shares: Sequence[Sequence[float | None]] | None
    duels: Sequence[Scored]

    def numbers(self) -> dict[str, Any]:
        """Solve rates, lengths and wins, by the names that run.json uses."""
        return self._solved() | self._lengths() | self._wins() | self._cost()

    @property
    def calls(self) -> list[Completion | Call]:
        """Every call of the policies and the judge."""
        draws = [draw for side in (self.before, self.after) for row in side.drawn for draw in row]
        return [*draws, *(call for duel in self.duels for call in duel.calls)]

    def records(self) -> Iterator[PromptRecord]:
        """One for every prompt."""
        for index, example in enumerate(self.examples):
            shares = self.shares[index] if self.shares else []
            known = [share for share in shares if share is not None]
            yield PromptRecord(
                example.id,
                {
                    "solved_before": self.before.rate(index),
                    "solved_after": self.after.rate(index),
                    "win": sum(known) / len(known) if known else None,
                },
                {
                    "before": [draw.text for draw in self.before.drawn[index]],
                    "after": [draw.text for draw in self.after.drawn[index]],
                    "verified_before": self.before.read(index),
                    "verified_after": self.after.read(index),
                    "shares": shares,
                },
            )

    def _solved(self) -> dict[str, Any]:
        found: dict[str, Any] = {"num_prompts": len(self.examples)}
        for name, side in (("before", self.before), ("after", self.after)):
            came = [sum(not lost(draw) for draw in draws) for draws in side.drawn]
            read = [len(draws) - side.read(i).count(None) for i, draws in enumerate(side.drawn)]
            found[f"solve_{name}"] = share_solved(side.solutions)
            found[f"verified_{name}"] = ratio(read, came)
        both = [
            (after, before)
            for index in range(len(self.examples))
            if (after := self.after.rate(index)) is not None
            and (before := self.before.rate(index)) is not None
        ]
        news, olds = [new for new, _ in both], [old for _, old in both]
        found["solve_difference"] = paired_bootstrap(news, olds) if both else Estimate(value=None)
        if all(len(draws) == 1 for draws in self.after.drawn):  # the test is one of right or wrong
            test = mcnemar([new == 1 for new in news], [old == 1 for old in olds])
            found["only_after_solves"], found["only_before_solves"] = test.only_a, test.only_b
            found["solve_p_value"] = test.p_value
        return found

    def _lengths(self) -> dict[str, Any]:
        sides = [
            [[len(draw.text) for draw in draws if not lost(draw)] for draws in side.drawn]
            for side in (self.before, self.after)
        ]
        both = [
            (sum(old) / len(old), sum(new) / len(new))
            for old, new in zip(*sides, strict=True)
            if old and new
        ]
        olds, news = [old for old, _ in both], [new for _, new in both]
        return {
            "chars_before": mean(olds),
            "chars_after": mean(news),
            "chars_difference": paired_bootstrap(news, olds) if both else Estimate(value=None),
        }

    def _wins(self) -> dict[str, Any]:
        if self.shares is None:
            return {}
        came = [
            [not lost(old) and not lost(new) for old, new in zip(olds, news, strict=True)]
            for olds, news in zip(self.before.drawn, self.after.drawn, strict=True)
        ]
        known = [[share for share in shares if share is not None] for shares in self.shares]
        num_duels = sum(len(duel.judgments) for duel in self.duels)
        num_scored = sum(duel.num_scored for duel in self.duels)
        return {
            "win_rate": ratio([sum(each) for each in known], [len(each) for each in known]),
            "num_duels": num_duels,
            "num_identical": sum(map(sum, came)) - num_duels,
            "num_unscored": num_duels - num_scored,
            "win_coverage": num_scored / num_duels if num_duels else None,
        }

    def _cost(self) -> dict[str, Any]:
        draws = [draw for side in (self.before, self.after) for row in side.drawn for draw in row]
        calls = [call for duel in self.duels for call in duel.calls]
        found: dict[str, Any] = {}
        for who, made in (("policy", draws), ("judge", calls)):
            usage = [each.usage for each in made]
            found[f"{who}_calls"] = len(usage)
            found[f"{who}_prompt_tokens"] = sum(each.prompt_tokens for each in usage)
            found[f"{who}_completion_tokens"] = sum(each.completion_tokens for each in usage)
        if self.shares is not None:
            statuses = Counter(
                status for duel in self.duels for made in duel.judgments for status in made.statuses
            )
            found["statuses"] = dict(statuses.most_common())
        return found


def compare(
    examples: Sequence[Example], before: Side, after: Side, duels: Sequence[Scored] | None
) -> Compared:
    """Puts both sides together; `duels` are those of `duels_of`, or None without a judge."""
    if duels is None:
        return Compared(examples, before, after, None, ())
    told = iter(duels)
    shares = [
        [_share(old, new, next(told)) for old, new in zip(olds, news, strict=True)]
        for olds, news in zip(before.drawn, after.drawn, strict=True)
    ]
    return Compared(examples, before, after, shares, duels)


def _share(old: Completion, new: Completion, duel: Scored) -> float | None:
    if lost(old) or lost(new):
        return None
    return duel.scores[0] if len(duel.scores) > 1 else 0.5
