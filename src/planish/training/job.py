"""A training command as a run: every process trains, the main one keeps the run and closes it.

    def work(job: Job) -> Trained:
        with job.recorder("SFT", 100, stage="sft") as recorder:
            return train("sft", ..., work=job.checkpoints("sft"), recorder=recorder)

    carry_out(Command("rise", "train"), plan, work, close, before=None, runs=runs, screen=screen)

What is done is not done again, and what was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel

from planish.judges.resumable import resumable
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen
from planish.training.dials import VllmDials
from planish.training.launch import is_main

if TYPE_CHECKING:
    from planish.training.callbacks import Recorder
    from planish.training.checkpoint import Trained

__all__ = [
    "Command",
    "Job",
    "carry_out",
    "check_lora",
    "check_out",
    "check_vllm",
    "clear_checkpoints",
    "logged",
    "model_path",
    "said_once",
]

R = TypeVar("R")


def said_once(stage: Callable[[], int]) -> int:
    """Runs a stage on every process of a launch; the main one says whatever there is to say."""
    if is_main():
        return stage()
    try:
        return stage()
    except BadInput:
        sys.exit(2)


def model_path(spec: str, option: str = "--model") -> str:
    """The folder or Hub id of a model that can be trained; `option` is what named it.

    Raises:
        BadInput: another kind of model, or options, which training sets itself.
    """
    from planish.embedded import path as embedded

    scheme, _, target = spec.partition(":")
    if scheme not in ("hf", "embedded") or not target or "?" in target:
        raise BadInput(
            f"{spec!r} cannot be trained",
            where=option,
            fix="name a local model without options: hf:PATH-OR-ID or embedded:reasoner",
        )
    if scheme == "embedded":
        return str(embedded(target))
    # Not through Path, which takes the dot from ./folder and makes a Hub id of it.
    return os.path.expanduser(target)


def check_out(out: Path, *, resumed: bool) -> None:
    """Told now, not after days of training.

    Raises:
        BadInput: `--out` is there already, or cannot be made.
    """
    if out.exists() and not resumed:
        raise BadInput("exists already", where=f"--out {out}", fix="choose another folder")
    home = next(parent for parent in out.absolute().parents if parent.exists())
    try:  # permissions are not all that can forbid it
        tempfile.TemporaryFile(dir=home).close()
    except OSError:
        raise BadInput("cannot be made", where=f"--out {out}", fix=f"check {home}") from None


def check_lora(plan: BaseModel, typed: BaseModel) -> None:
    """Refuses dials of an adapter where the whole model would be trained.

    Raises:
        BadInput: with the first of them.
    """
    idle = sorted(name for name in typed.model_fields_set if name.startswith("lora_"))
    if idle and not getattr(plan, "lora", False):
        raise BadInput(
            "has no effect without --lora",
            where=f"--{idle[0].replace('_', '-')}",
            fix="add --lora, or leave it out",
        )


def check_vllm(plan: VllmDials) -> None:
    """Refuses half of what a vLLM server needs, and vLLM where it is not installed.

    Raises:
        BadInput: with what is missing or has no effect.
    """
    vllm, url = plan.vllm, plan.vllm_url
    if vllm != "server" and url is not None:
        raise BadInput("has no effect without --vllm server", where="--vllm-url", fix="add it")
    if vllm == "server" and url is None:
        raise BadInput("is missing", where="--vllm-url", fix="say where the vLLM server is")
    if vllm is not None and find_spec("vllm") is None:
        raise BadInput(
            "vLLM is not installed, and its client is a part of it",
            where="--vllm",
            fix="pip install 'trl[vllm]', or leave it out",
        )


@dataclass(frozen=True)
class Command:
    """What was typed: `planish ROOM STAGE`; `slug` names its runs, by default after the stage."""

    room: str
    stage: str
    slug: str = ""

    @property
    def again(self) -> str:
        """The command that goes on with a run when the folder follows it."""
        return f"planish {self.room} {self.stage} --resume"


@dataclass(frozen=True)
class Job:
    """What the work of one process needs.

    Args:
        folder: of the run, the same on every process.
        run: None where another process writes.
        screen: what the user sees.
    """

    folder: Path
    run: Run | None
    screen: Screen

    def made(self, out: Path) -> Trained | None:
        """What this run has trained already and saved as `out`; None where that is still to do.

        Raises:
            BadInput: something else is there, or what another run trained.
        """
        from planish.training.checkpoint import trained

        done = trained(out)
        if done is not None and done.run in ("", self.folder.name):
            return done
        if out.exists():
            raise BadInput("is not of this run", where=str(out), fix="move it out of the way")
        return None

    def checkpoints(self, name: str) -> Path:
        """Where the training checkpoints of a part of the work go."""
        return self.folder / "artifacts" / f"{name}{_CHECKPOINTS}"

    @contextlib.contextmanager
    def recorder(self, title: str, total: int, **labels: str) -> Iterator[Recorder]:
        """Keeps the numbers of a training beside `labels`, and moves a bar of `total` steps."""
        from planish.training.callbacks import Recorder

        run = self.run
        if run is None:
            yield Recorder(lambda step, numbers: None)
            return

        def log(step: int, numbers: Mapping[str, float]) -> None:
            run.log(step, **labels, **numbers)

        with self.screen.progress(title, total) as advance:
            yield Recorder(log, advance, _numbers_before(run, labels))


_CHECKPOINTS = "-checkpoints"


def _numbers_before(run: Run, labels: Mapping[str, str]) -> dict[int, dict[str, float]]:
    known = {"step", *labels}
    return {
        row["step"]: {name: value for name, value in row.items() if name not in known}
        for row in logged(run, **labels)
    }


def logged(run: Run, **labels: str) -> Iterator[dict[str, Any]]:
    """The numbers of a training, one row a step; a step that broke down is left out."""
    for row in run.metrics():
        if row.get("loss") is not None and all(
            row.get(name) == label for name, label in labels.items()
        ):
            yield row


def clear_checkpoints(run: Run) -> None:
    """Removes training checkpoints once the result is there: a kill may have come just before."""
    for left in run.path.glob(f"artifacts/*{_CHECKPOINTS}"):
        shutil.rmtree(left, ignore_errors=True)


def carry_out(
    typed: Command,
    plan: BaseModel,
    work: Callable[[Job], R],
    close: Callable[[Run, R], int],
    *,
    before: Path | None,
    runs: Path,
    screen: Screen,
) -> int:
    """Does the work on every process; the main one keeps the run and closes it.

    Args:
        typed: the command.
        plan: what decides the result; it has a `seed`.
        work: trains what is not trained yet.
        close: ends the run, once the checkpoint is there, with an exit code.
        before: the folder of a run that goes on.
        runs: where a new one goes.
        screen: what the user sees.
    """
    from planish.training.callbacks import TrainingFailed
    from planish.training.trainer import share

    run = _open(typed, plan, before, runs) if is_main() else None
    job = Job(Path(share(str(run.path) if run else "")), run, screen)
    if run is None:
        try:
            work(job)
        except TrainingFailed:
            return 1
        return 0
    with run:
        try:
            with resumable(run, screen):
                return close(run, work(job))
        except TrainingFailed as error:
            run.close("failed", str(error))
            screen.warn(f"{error}; {_last_good(run)}")
            return 1


def _open(typed: Command, plan: BaseModel, before: Path | None, runs: Path) -> Run:
    seed: int = getattr(plan, "seed", 0)
    if before is not None:
        return Run.resume(before, plan, seed=seed)
    return Run.create(
        *(typed.room, typed.slug or typed.stage, plan),
        seed=seed,
        root=runs,
        stage=typed.stage,
        again=typed.again,
    )


def _last_good(run: Run) -> str:
    """Where a training that failed can be picked up from."""
    from planish.training.callbacks import last_checkpoint

    folders = run.path.glob(f"artifacts/*{_CHECKPOINTS}")
    found = next(filter(None, map(last_checkpoint, folders)), None)
    if found is None:
        return "no step was saved yet: the last good checkpoint is the model that it began with"
    step = found.name.partition("-")[2]
    return f"the last good checkpoint is that of step {step}, kept as hf:{found}"
