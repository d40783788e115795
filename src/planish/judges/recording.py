"""Judging into a run: every judgment is on disk as soon as it is whole, and is never paid twice.

    judgments = judge_cases(run, judge, cases, "judging", screen)
    record_scores(run, cases, judgments)
    run.finish(**headline(agreement(cases, judgments)))

A run that goes on asks only for the cases it does not hold, and for those whose call was lost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from planish.judges.agreement import case_scores
from planish.judges.asking import PromptedJudge
from planish.judges.base import Call, Case, Judgment
from planish.judges.scalar import ScalarJudge
from planish.models.base import Steps
from planish.records import Completion
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.rows import read_rows

__all__ = [
    "below_floor",
    "judge_cases",
    "lost_calls",
    "lost_kinds",
    "record_scores",
    "remedy",
]


def judge_cases(
    run: Run,
    judge: PromptedJudge | ScalarJudge,
    cases: Sequence[Case],
    what: str,
    screen: Screen,
    *,
    kind: str = "judgment",
    prefix: str = "",
) -> list[Judgment]:
    """Judges what the run does not hold yet; every judgment is on disk as soon as it is whole.

    Args:
        run: where judgments are recorded.
        judge: who judges.
        cases: what is judged.
        what: is shown beside the progress bar.
        screen: shows it.
        kind: of the records; another one keeps the judgments of two models apart.
        prefix: before a case's id in the records; another one keeps two benches apart.

    Returns:
        One judgment per case, in the same order.

    Raises:
        BadInput: as `judgments` of the judge.
    """
    ids = {prefix + case.id for case in cases}
    done: dict[str, Judgment] = {}
    for row in read_rows(run.path, kind):
        judgment = row.read(Judgment)
        # A lost call deserves another chance.
        if row.id in ids and "transport" not in judgment.statuses:
            done[judgment.case_id] = judgment
    todo = [case for case in cases if case.id not in done]
    if done:
        screen.note(f"{len(cases) - len(todo)} of {len(cases)} cases were judged before")
    with screen.progress(what, judge.num_calls(todo)) as step:
        fresh = judge.judgments(
            todo,
            on_judgment=lambda judgment: run.record(kind, judgment, id=prefix + judgment.case_id),
            watcher=Steps(step),
        )
    done.update({judgment.case_id: judgment for judgment in fresh})
    return [done[case.id] for case in cases]


def record_scores(run: Run, cases: Sequence[Case], judgments: Sequence[Judgment]) -> None:
    """Right or wrong per case: `planish runs compare` pairs by it."""
    for case, judgment in zip(cases, judgments, strict=True):
        run.record("score", case_scores(case, judgment), id=case.id)


def below_floor(num_gone: int, num_all: int, floor: float) -> bool:
    """Whether what is left of all calls is less than the floor's share; a share on it is enough.

    >>> below_floor(3, 10, 0.7), below_floor(4, 10, 0.7), below_floor(0, 0, 0.7)
    (False, True, False)
    """
    # Only this division is rounded as the floor was when it was typed: 1 - 0.9 is less than 0.1.
    return num_all > 0 and (num_all - num_gone) / num_all < floor


def lost_calls(calls: Iterable[Call | Completion]) -> str:
    """Why calls brought no reply: every kind with its count, and one message in full."""
    last = [call.failures[-1] for call in calls if call.finish == "error" and call.failures]
    kinds = Counter(failure.kind for failure in last)
    listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
    return f"{listed}; {last[0].message}" if last and last[0].message else listed


def lost_kinds(calls: Iterable[Call | Completion]) -> list[str]:
    """Why each call that brought no reply was lost."""
    lost = [call for call in calls if call.finish == "error"]
    return [call.failures[-1].kind if call.failures else "unknown" for call in lost]


def remedy(kinds: Iterable[str], again: str, *, budget: str | None) -> str:
    """What helps where calls were lost: `again`, but a prompt that does not fit never will.

    Args:
        kinds: of `lost_kinds`.
        again: how to ask for lost calls again.
        budget: the option that sets how long replies may be; None where nothing is written.
    """
    found = set(kinds)
    if "context" not in found:
        return again
    change = "use a model with a longer context"
    change += f", leave such items out, or lower {budget}" if budget else " or leave such items out"
    if found == {"context"}:
        return f"asking again cannot help: {change}"
    return f"{again}; where a prompt does not fit, {change}"
