"""General ability: what share of a task's held-out questions a model solves.

    before = solve_rate(load("embedded:reasoner"), ChainTask(3))
    after = solve_rate(load("hf:./checkpoint"), ChainTask(3))
    print(before.rate, after.rate)

A reply without a readable answer is not solved: a model that forgot how to end has lost an ability.
A call that brought no reply says nothing about the model and is left out. Coverage, the share of
all questions with a readable answer, counts both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

from planish.models.base import LanguageModel, Watcher
from planish.records import BadInput, Completion, Cost, Example, Record, Sampling
from planish.stats import Estimate, ratio
from planish.tasks.base import Task

__all__ = ["Solution", "SolveResult", "ability_examples", "grade", "share_solved", "solve_rate"]


class Solution(Record):
    """One reply and what the grader says.

    Args:
        example_id: the example.
        text: the reply as it came.
        status: "unreadable": no answer in it; "lost": no reply came.
        score: the grader's; 0 where unreadable, None where lost.
        extracted: the answer that was read.
        truncated: cut at the token budget; graded like any other.
        why: the grader's words, or why no reply came.
    """

    example_id: str
    text: str
    status: Literal["solved", "wrong", "unreadable", "lost"]
    score: float | None
    extracted: str | None = None
    truncated: bool = False
    why: str = ""


class SolveResult(Record):
    """How much of a task was solved.

    Args:
        rate: mean score over the examples that brought a reply.
        coverage: examples with a readable answer, among all.
        scores: example id -> score; None where no reply came.
        counts: examples by status, and how many replies were cut.
        lost: example id -> why no reply came.
    """

    task: str
    split: str
    num_examples: int
    rate: Estimate
    coverage: Estimate
    scores: dict[str, float | None]
    counts: dict[str, int]
    lost: dict[str, str]
    cost: Cost


def ability_examples(
    task: Task, *, split: str = "report", limit: int = 200, seed: int = 0
) -> list[Example]:
    """At most `limit` examples of a split; all of them where it holds fewer.

    Raises:
        BadInput: the split is empty.
    """
    capped: Callable[[str, int], int] | None = getattr(task, "capped", None)
    found = list(task.examples(split, capped(split, limit) if capped else limit, seed))
    if not found:
        raise BadInput(f"has no example in {split!r}", where=f"task {task.name}")
    return found


def solve_rate(
    model: LanguageModel,
    task: Task,
    *,
    split: str = "report",
    limit: int = 200,
    sampling: Sampling | None = None,
    seed: int = 0,
    watcher: Watcher | None = None,
    on_solution: Callable[[Solution], None] | None = None,
) -> SolveResult:
    """Lets a model solve a task's examples, one reply each.

    Args:
        model: any model.
        task: with its grader.
        split: "report" is what nothing was trained or chosen on.
        limit: at most so many examples.
        sampling: greedy with 1,024 tokens by default; only its first draw counts.
        seed: of the choice of examples and of the interval.
        watcher: hears of every reply, for progress.
        on_solution: called with each graded reply.

    Raises:
        BadInput: an unknown or empty split, or sampling that this model cannot do.
    """
    examples = ability_examples(task, split=split, limit=limit, seed=seed)
    greedy = Sampling(temperature=0.0, max_tokens=1024)
    asked = (sampling or greedy).model_copy(update={"n": 1, "seed": seed})
    replies = model.generate([example.prompt for example in examples], asked, watcher=watcher)
    first = [completions[0] for completions in replies]
    solutions = [
        grade(task, example, completion)
        for example, completion in zip(examples, first, strict=True)
    ]
    for solution in solutions:
        if on_solution is not None:
            on_solution(solution)
    return SolveResult(
        task=task.name,
        split=split,
        num_examples=len(examples),
        rate=share_solved([[solution] for solution in solutions], seed=seed),
        coverage=ratio(
            [int(solution.status in ("solved", "wrong")) for solution in solutions],
            [1] * len(solutions),
            seed=seed,
        ),
        scores={solution.example_id: solution.score for solution in solutions},
        counts=_counts(solutions),
        lost={each.example_id: each.why for each in solutions if each.status == "lost"},
        cost=Cost.of(first),
    )


def share_solved(solutions: Sequence[Sequence[Solution]], *, seed: int = 0) -> Estimate:
    """The mean score over all replies that came; the replies to one example are one item."""
    told = [[each.score for each in group if each.score is not None] for group in solutions]
    return ratio([sum(scores) for scores in told], [len(scores) for scores in told], seed=seed)


def grade(task: Task, example: Example, completion: Completion) -> Solution:
    """What the grader says of one reply, or why there is none to grade."""
    if completion.finish == "error":
        last = completion.failures[-1] if completion.failures else None
        why = f"{last.kind}: {last.message}" if last else "no reply"
        return Solution(example_id=example.id, text="", status="lost", score=None, why=why)
    verdict = task.verify(example, completion.text)
    readable = verdict.score is not None
    score = verdict.score or 0.0
    return Solution(
        example_id=example.id,
        text=completion.text,
        status="unreadable" if not readable else "solved" if score == 1 else "wrong",
        score=score,
        extracted=verdict.extracted,
        truncated=completion.finish == "length",
        why=verdict.why,
    )


def _counts(solutions: list[Solution]) -> dict[str, int]:
    by_status: Counter[str] = Counter(solution.status for solution in solutions)
    names = ("solved", "wrong", "unreadable", "lost")
    return {
        **{name: by_status[name] for name in names},
        "truncated": sum(solution.truncated for solution in solutions),
    }
