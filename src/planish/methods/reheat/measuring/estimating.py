"""What follows from the counts: every rate with its interval over prompts, and the verdict.

numbers = policy_numbers(rows, probe_rows, tokens, plan)
found = diagnosis(plan, Seen(rows, probe_rows, tokens), reference_seen)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planish.methods.reheat.measuring.plan import Plan
from planish.methods.reheat.measuring.records import (
    Diagnosis,
    PolicyNumbers,
    ProbeRow,
    PromptRow,
)
from planish.methods.reheat.method import TokenEntropy, pass_at_k, verdict
from planish.stats import Estimate, Paired, paired, ratio, relative

__all__ = ["COMPARED", "Seen", "diagnosis", "policy_numbers", "unsolved"]


@dataclass(frozen=True)
class Seen:
    """Everything that was seen of one policy; `tokens` is None without its weights."""

    rows: Sequence[PromptRow]
    probe_rows: Sequence[ProbeRow]
    tokens: TokenEntropy | None


def unsolved(rows: Sequence[PromptRow]) -> frozenset[str]:
    """The prompts that were drawn, and not solved once."""
    return frozenset(row.item_id for row in rows if row.n and not row.c)


def diagnosis(plan: Plan, model: Seen, reference: Seen | None) -> Diagnosis:
    """The numbers of the model, held against the reference where there is one."""
    ours = policy_numbers(model, plan)
    theirs = None if reference is None else policy_numbers(reference, plan)
    entropy_ref, entropy_ratio = _reference(plan, model, theirs, reference)
    level = plan.collapse_ratio * entropy_ref.value if entropy_ref.value else None
    entropy = ours.entropy.value
    low, high = ours.entropy.low, ours.entropy.high
    return Diagnosis(
        sentence=verdict(entropy, entropy_ref.value, level, ours.zero_variance.value or 0.0),
        collapsed=None if entropy is None or level is None else entropy < level,
        level=level,
        near=level is not None and low is not None and high is not None and low <= level <= high,
        entropy_reference=entropy_ref,
        entropy_ratio=entropy_ratio,
        num_prompts=len(model.rows),
        num_unsolved=len(unsolved(model.rows)),
        model=ours,
        reference=theirs,
        differences={} if reference is None else _differences(plan, model, reference),
    )


def policy_numbers(seen: Seen, plan: Plan) -> PolicyNumbers:
    """The numbers of one policy."""
    rows = [row for row in seen.rows if row.n]

    def rate(
        top: Callable[[PromptRow], float],
        bottom: Callable[[PromptRow], float] = lambda row: 1,
        among: Callable[[PromptRow], bool] = lambda row: True,
    ) -> Estimate:
        told = [row for row in rows if among(row)]
        return ratio([top(row) for row in told], [bottom(row) for row in told], seed=plan.seed)

    def at(k: int) -> Estimate:
        return rate(lambda row: pass_at_k(row.n, row.c, k), among=lambda row: row.n >= k)

    return PolicyNumbers(
        entropy=_entropy(seen.probe_rows, plan),
        tokens=seen.tokens,
        zero_variance=rate(
            lambda row: row.zero_variance or 0, among=lambda row: row.zero_variance is not None
        ),
        all_right=rate(lambda row: row.c == row.n),
        unsolved=rate(lambda row: row.c == 0),
        pass_at={k: at(k) for k in plan.ks},
        greedy=rate(lambda row: row.greedy or 0, among=lambda row: row.greedy is not None),
        distinct=rate(lambda row: row.distinct, lambda row: row.n),
        reach=rate(lambda row: row.reach_c or 0, lambda row: row.reach_n or 0),
        reached=rate(lambda row: (row.reach_c or 0) > 0, among=lambda row: bool(row.reach_n)),
        readable=rate(lambda row: row.readable, lambda row: row.n),
        cut=rate(lambda row: row.cut, lambda row: row.n),
        coverage=ratio(
            [row.n for row in seen.rows], [plan.samples] * len(seen.rows), seed=plan.seed
        ),
    )


def _entropy(rows: Sequence[ProbeRow], plan: Plan) -> Estimate:
    return ratio(*_sums(rows), seed=plan.seed)


def _sums(rows: Sequence[ProbeRow]) -> tuple[list[float], list[float]]:
    """Entropy summed over each reply, and its tokens."""
    return [row.entropy * row.num_tokens for row in rows], [float(row.num_tokens) for row in rows]


def _reference(
    plan: Plan, model: Seen, theirs: PolicyNumbers | None, reference: Seen | None
) -> tuple[Estimate, Estimate]:
    """The entropy that the model's is held against, and the model's over it."""
    sums, tokens = _sums(model.probe_rows)
    if plan.reference_entropy is not None:
        given = plan.reference_entropy
        scaled = ratio([value / given for value in sums], tokens, seed=plan.seed)
        return Estimate(value=given), scaled
    if reference is None or theirs is None:
        return Estimate(value=None), Estimate(value=None)
    both = {row.item_id: row for row in reference.probe_rows}
    ours = [row for row in model.probe_rows if row.item_id in both]
    held = [both[row.item_id] for row in ours]
    return theirs.entropy, relative(*_sums(ours), *_sums(held), seed=plan.seed)


COMPARED: dict[str, str] = {
    "entropy": "entropy in nats (mean over prompts)",
    "zero_variance": "groups without variance",
    "pass_at_1": "pass@1",
    "pass_at_k": "pass@k",
    "greedy": "greedy accuracy",
    "distinct": "different replies in a group",
    "reach": "reach of the model's unsolved prompts",
}
"""What model and reference are compared in, prompt by prompt."""


def _differences(plan: Plan, model: Seen, reference: Seen) -> dict[str, Paired]:
    told: dict[str, Callable[[Seen], dict[str, float | None]]] = {
        "entropy": lambda seen: {row.item_id: row.entropy for row in seen.probe_rows},
        **{name: _by_prompt(tell) for name, tell in _tellers(plan).items()},
    }
    return {
        name: paired(told[name](reference), told[name](model), seed=plan.seed) for name in COMPARED
    }


def _by_prompt(
    tell: Callable[[PromptRow], float | None],
) -> Callable[[Seen], dict[str, float | None]]:
    return lambda seen: {row.item_id: tell(row) for row in seen.rows}


def _tellers(plan: Plan) -> dict[str, Callable[[PromptRow], float | None]]:
    def at(k: int) -> Callable[[PromptRow], float | None]:
        return lambda row: pass_at_k(row.n, row.c, k) if row.n >= k else None

    return {
        "zero_variance": lambda row: row.zero_variance,
        "pass_at_1": at(1),
        "pass_at_k": at(plan.pass_k),
        "greedy": lambda row: row.greedy,
        "distinct": lambda row: row.distinct / row.n if row.n else None,
        "reach": lambda row: (row.reach_c or 0) / row.reach_n if row.reach_n else None,
    }
