"""Work of a run that may be stopped: every reply is kept, and the user hears how to go on.

with run:
    with resumable(run, screen), kept(model, run.artifact("replies.jsonl"), screen) as cached:
        judgments = judge_cases(run, PairwiseJudge(cached, "plain"), cases, "judging", screen)
    run.finish(**headline(agreement(cases, judgments)))
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from planish.models.base import LanguageModel
from planish.models.cache import CachedModel
from planish.runs import Run
from planish.runs.console import Screen, command

__all__ = ["again", "kept", "resumable"]


def again(run: Run) -> str:
    """The command that goes on with a run; "" where there is none."""
    return command(*run.info.again.split(), run.path) if run.info.again else ""


@contextlib.contextmanager
def resumable(run: Run, screen: Screen, go_on: str = "") -> Iterator[None]:
    """Tells where a run is and what was mended in it, and how to go on once it is interrupted.

    Args:
        go_on: the command, where it is another than the run's own.
    """
    screen.note(f"run {run.path}")
    for line in run.repaired:
        screen.warn(line)
    try:
        yield
    except KeyboardInterrupt:
        if then := go_on or again(run):
            screen.warn(f"go on with: {then}")
        raise


@contextlib.contextmanager
def kept(
    model: LanguageModel, replies: str | os.PathLike[str], screen: Screen
) -> Iterator[CachedModel]:
    """The model with every reply kept in a file; what was mended in that is told.

    Raises:
        BadInput: as `CachedModel`.
    """
    with CachedModel(model, replies) as cached:
        if cached.repaired:
            screen.warn(cached.repaired)
        yield cached
