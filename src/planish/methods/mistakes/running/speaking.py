"""The detector of a plan, as the work on the programs calls it.

speak = speaking(plan, model, run, box, tasks, references, stack, screen)
speak(cases, step)          a diagnosis for each, in order
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from planish.methods.mistakes.data import CodeTask, Diagnosed, Diagnosis
from planish.methods.mistakes.jobs import References
from planish.methods.mistakes.running.diagnosing import Speaker
from planish.runs import Run
from planish.runs.console import Screen

if TYPE_CHECKING:
    from planish.methods.mistakes.running.diagnose import Plan
    from planish.tasks.sandbox import Sandbox

__all__ = ["speaking"]


def speaking(
    plan: Plan,
    model: Any,
    made: Run,
    box: Sandbox,
    tasks: Mapping[str, CodeTask],
    references: References,
    stack: contextlib.ExitStack,
    screen: Screen,
) -> Speaker:
    """Asks the detector that the plan names.

    Args:
        model: what the detector asks, closed by the stack with every reply kept; None: none.
        tasks: by their ids; references: of all of them, which tell how long a run may take.
    """
    from planish.judges.resumable import kept
    from planish.methods.mistakes.detecting.base import Failed
    from planish.methods.mistakes.detecting.load import load_detector

    if model is not None:
        replies = plan.cache or made.artifact("replies.jsonl")
        model = stack.enter_context(kept(model, replies, screen))
    detector = load_detector(plan.detector, model, box, plan, references.limits)

    def speak(cases: Sequence[Diagnosed], step: Callable[[], None]) -> list[Diagnosis]:
        told = 0

        def progress(done: int, total: int) -> None:
            nonlocal told
            for _ in range(done - told):
                step()
            told = max(told, done)

        failed = [
            Failed(tasks[case.run.task_id], case.run, case.observation, case.search, case.evidence)
            for case in cases
        ]
        return detector.detect(failed, progress)

    return speak
