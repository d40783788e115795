"""The judge as a reward: a policy's replies are scored, and best against worst is a pair to learn.

    replies = distinct([completion.text for completion in completions])
    [scored] = round_robin(PairwiseJudge(model, aggregate="mean"), [(example, replies)])
    preference(example.prompt, replies, scored.scores, margin=0.25)

Every two different replies duel in both orders. A duel of which one order could not be read is
unscored: half of it would hold the judge's lean to a slot. A score is the mean share of a reply's
duels, so a judge that only sees slots scores every reply 0.5, and no pair comes of it.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from planish.judges.base import SCORED, Call, Case, Judgment, Status
from planish.judges.prompted import PairwiseJudge, PointwiseJudge
from planish.judges.scalar import ScalarJudge, rewards_of, sigmoid
from planish.judges.templates import question_text
from planish.models.base import Watcher
from planish.records import BadInput, Chat, Example, Pair, Record

__all__ = [
    "SAME",
    "UNSCORED",
    "Asked",
    "Duel",
    "Reply",
    "Scored",
    "distinct",
    "duel_scores",
    "margin_below",
    "normal",
    "preference",
    "random_scores",
    "ratings",
    "rewarded",
    "round_robin",
]

SAME = "all replies the same"
UNSCORED = "no verdict on two replies"

_ROUNDING = 1e-9


class Reply(Record):
    """What a policy said, and the numbers of the draws that said it."""

    text: str
    samples: tuple[int, ...]

    @property
    def count(self) -> int:
        """How often it was drawn."""
        return len(self.samples)


class Duel(Record):
    """Two replies by number, and the share of the first; None: could not be scored."""

    first: int
    second: int
    share: float | None


Asked = tuple[Example, Sequence[Reply]]
"""A prompt with the different replies to it."""


def normal(text: str) -> str:
    """A reply without what its blanks and line ends add."""
    return " ".join(text.split())


def distinct(texts: Iterable[str | None]) -> list[Reply]:
    """The different replies in the order they first came; None stands for a draw that is no reply.

    Replies that differ in blanks only are one: a duel between them would toss a coin.
    """
    found: dict[str, tuple[str, list[int]]] = {}
    for sample, text in enumerate(texts):
        if text is not None:
            found.setdefault(normal(text), (text, []))[1].append(sample)
    return [Reply(text=text, samples=tuple(samples)) for text, samples in found.values()]


def duel_scores(num_replies: int, duels: Iterable[Duel]) -> list[float | None]:
    """Each reply's mean share of its scored duels; None for a reply without any."""
    shares: list[list[float]] = [[] for _ in range(num_replies)]
    for duel in duels:
        if duel.share is not None:
            shares[duel.first].append(duel.share)
            shares[duel.second].append(1 - duel.share)
    return [sum(sorted(each)) / len(each) if each else None for each in shares]


def random_scores(replies: Sequence[Reply], key: str) -> list[float | None]:
    """Scores that say nothing: the replies in an order drawn by `key`, evenly from 1 to 0."""
    order = sorted(range(len(replies)), key=lambda i: _hashed(key, normal(replies[i].text)))
    places = {reply: place for place, reply in enumerate(order)}
    last = max(1, len(replies) - 1)
    return [1 - places[reply] / last for reply in range(len(replies))]


def margin_below(margin: float) -> str:
    """The reason why there is no pair where best and worst are too close."""
    return f"margin below {margin:g}"


def preference(
    prompt: Chat, replies: Sequence[Reply], scores: Sequence[float | None], *, margin: float
) -> Pair | str:
    """The best reply against the worst.

    Of several that are equally good or bad, the two closest in length are taken, so that the pair
    teaches no length; a hash of their texts decides what is still open. The order of the replies
    says nothing.

    Args:
        prompt: what was asked.
        replies: the different replies.
        scores: one for each, in [0, 1]; None: could not be scored, and is not taken.
        margin: how far apart the two must be, above 0.

    Returns:
        The pair, whose `meta` tells scores, margin, draws and lengths; or why there is none.
    """
    if margin <= 0:
        raise ValueError(f"margin: {margin} leaves equals to be told apart")
    if len(replies) < 2:
        return SAME
    ranked = [
        (score, reply) for score, reply in zip(scores, replies, strict=True) if score is not None
    ]
    if len(ranked) < 2:
        return UNSCORED
    high, low = max(score for score, _ in ranked), min(score for score, _ in ranked)
    if high - low < margin - _ROUNDING:
        return margin_below(margin)
    couples = itertools.product(
        [each for each in ranked if each[0] > high - _ROUNDING],
        [each for each in ranked if each[0] < low + _ROUNDING],
    )
    best, worst = min(couples, key=lambda couple: _closeness(prompt, couple[0][1], couple[1][1]))
    return Pair(
        prompt=prompt,
        chosen=best[1].text,
        rejected=worst[1].text,
        meta={
            "margin": high - low,
            **{
                f"{side}_{name}": value
                for side, (score, reply) in (("chosen", best), ("rejected", worst))
                for name, value in (
                    ("score", score),
                    ("sample", reply.samples[0]),
                    ("count", reply.count),
                    ("chars", len(reply.text)),
                )
            },
        },
    )


def _closeness(prompt: Chat, one: Reply, other: Reply) -> tuple[int, str]:
    texts = normal(one.text), normal(other.text)
    return abs(len(texts[0]) - len(texts[1])), _hashed(question_text(prompt), *texts)


def _hashed(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Scored:
    """What a judge made of the replies to one prompt.

    Args:
        scores: one for each reply, in [0, 1]; None: could not be scored.
        judgments: of every duel, or of every reply, with all calls.
        num_scored: how many of the judgments could be used.
        duels: who met whom; empty for ratings.
        unread: why the first judgment that could not be used was none.
    """

    scores: Sequence[float | None]
    judgments: Sequence[Judgment] = ()
    num_scored: int = 0
    duels: Sequence[Duel] = ()
    unread: Status | None = None

    @property
    def calls(self) -> list[Call]:
        """Every call that was made."""
        return [call for judgment in self.judgments for call in judgment.calls]


def round_robin(
    judge: PairwiseJudge, asked: Sequence[Asked], *, watcher: Watcher | None = None
) -> list[Scored]:
    """Lets every two replies to a prompt duel in both orders, those of all prompts in one batch.

    Args:
        judge: asks in both orders; with aggregate "mean" each order weighs the same, also where
            several samples were drawn and some could not be read.
        asked: the prompts with their replies; ids must differ.
        watcher: hears of every call.

    Raises:
        BadInput: a judge that asks in one order only, or an id that comes twice.
    """
    if judge.orders != "both":
        raise BadInput(
            "one order would reward a slot", where=f"orders={judge.orders!r}", fix="use 'both'"
        )
    meetings = [list(itertools.combinations(range(len(replies)), 2)) for _, replies in asked]
    judgments = iter(
        judge.judgments(
            [
                _case(example, f"{i}-{j}", replies[i], replies[j])
                for (example, replies), pairs in zip(asked, meetings, strict=True)
                for i, j in pairs
            ],
            watcher=watcher,
        )
    )
    scored = []
    for (_, replies), pairs in zip(asked, meetings, strict=True):
        made = [next(judgments) for _ in pairs]
        duels = [
            Duel(first=i, second=j, share=None if told.consistent is None else told.score)
            for (i, j), told in zip(pairs, made, strict=True)
        ]
        used = [duel.share is not None for duel in duels]
        scores = duel_scores(len(replies), duels)
        scored.append(Scored(scores, made, sum(used), duels, _unread(made, used)))
    return scored


def ratings(
    judge: PointwiseJudge, asked: Sequence[Asked], *, watcher: Watcher | None = None
) -> list[Scored]:
    """Rates every reply by itself, those of all prompts in one batch.

    Raises:
        BadInput: an id that comes twice.
    """
    judgments = iter(judge.judgments(_single_cases(asked), watcher=watcher))
    scored = []
    for _, replies in asked:
        made = [next(judgments) for _ in replies]
        used = [told.score is not None for told in made]
        scores = [told.score for told in made]
        scored.append(Scored(scores, made, sum(used), unread=_unread(made, used)))
    return scored


def rewarded(
    judge: ScalarJudge, asked: Sequence[Asked], *, watcher: Watcher | None = None
) -> list[Scored]:
    """Scores replies by a reward head: every reply is read once, and every two duel by rewards.

    The share of one reply against another is sigmoid(difference of their rewards), as the head
    was trained. Scores are therefore on the scale of duels, in the order of the rewards.

    Raises:
        BadInput: an id that comes twice, or a prompt that cannot be written.
    """
    judgments = iter(judge.judgments(_single_cases(asked), watcher=watcher))
    scored = []
    for _, replies in asked:
        made = [next(judgments) for _ in replies]
        rewards = [rewards_of(told)[0] for told in made]
        used = [reward is not None for reward in rewards]
        duels = [
            Duel(
                first=i,
                second=j,
                share=None if one is None or other is None else sigmoid(one - other),
            )
            for (i, one), (j, other) in itertools.combinations(enumerate(rewards), 2)
        ]
        scores = duel_scores(len(replies), duels)
        scored.append(Scored(scores, made, sum(used), duels, _unread(made, used)))
    return scored


def _single_cases(asked: Sequence[Asked]) -> list[Case]:
    return [
        _case(example, str(number), reply)
        for example, replies in asked
        for number, reply in enumerate(replies)
    ]


def _case(example: Example, place: str, *replies: Reply) -> Case:
    return Case(
        example=example.model_copy(update={"id": f"{example.id}#{place}"}),
        replies=tuple(reply.text for reply in replies),
    )


def _unread(judgments: Sequence[Judgment], used: Sequence[bool]) -> Status | None:
    """Why the first judgment that could not be used was none."""
    for judgment, good in zip(judgments, used, strict=True):
        if not good:
            unread = (status for status in judgment.statuses if status not in SCORED)
            return next(unread, "no_verdict")
    return None
