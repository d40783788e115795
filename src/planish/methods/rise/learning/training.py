"""Carrying a training out: every process trains, the main one keeps the run and closes it.

    data = prepare(plan, resumed=False)
    carry_out(plan, data, "train", before=None, runs=runs, screen=screen, close=close)

A stage that is done is not done again, and one that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.rise.learning.training_plan import Plan, model_path
from planish.methods.rise.learning.training_rows import Data, encode
from planish.records import BadInput, Record
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.training.launch import is_main
from planish.training.rows import Kind

if TYPE_CHECKING:
    from planish.methods.rise.learning.training_pages import Curves
    from planish.training.checkpoint import Trained
    from planish.training.trl import Settings

__all__ = ["StageResult", "carry_out", "logged", "prepare", "said_once", "settle"]


def said_once(stage: Callable[[], int]) -> int:
    """Runs a stage on every process of a launch; the main one says whatever there is to say."""
    if is_main():
        return stage()
    try:
        return stage()
    except BadInput:
        sys.exit(2)


class StageResult(Record):
    """A stage that is done: what it was given and what it took."""

    stage: Kind
    num_rows: int
    num_items: int
    num_tokens: int
    longest: int
    steps: int
    num_parameters: int
    num_trainable: int
    steps_per_second: float | None


def prepare(plan: Plan, *, resumed: bool) -> dict[Kind, Data]:
    """Everything that can be known before a long training, and its rows as tokens.

    Raises:
        BadInput: the rows, the model or `--out` cannot be used.
    """
    _check_out(Path(plan.out), resumed)
    return encode(plan)


def carry_out(
    plan: Plan,
    data: Mapping[Kind, Data],
    name: str,
    *,
    before: Path | None,
    runs: Path,
    screen: Screen,
    close: Callable[[Run, Plan, list[StageResult], Screen], int],
) -> int:
    """Trains what is not trained yet, on every process; the main one keeps the run and closes it.

    Args:
        plan: of the run.
        data: its rows, from `prepare`.
        name: the command's stage, such as "train".
        before: the folder of a run that goes on.
        runs: where a new one goes.
        screen: what the user sees.
        close: ends the run, once the checkpoint is there, with an exit code.
    """
    from planish.training import trl
    from planish.training.callbacks import TrainingFailed

    again = f"planish rise {name} --resume"
    run = _open(plan, before, runs, name, again) if is_main() else None
    folder = Path(trl.share(str(run.path) if run else ""))
    work = _Work(plan, folder, run, screen)
    if run is None:
        try:
            work.stages(data)
        except TrainingFailed:
            return 1
        return 0
    with run:
        screen.note(f"run {run.path}")
        for line in run.repaired:
            screen.warn(line)
        for stage, rows in data.items():
            if rows.ties:
                screen.note(f"{rows.ties} pairs are ties and teach {stage} nothing: left out")
        try:
            return close(run, plan, work.stages(data), screen)
        except KeyboardInterrupt:
            screen.warn(f"go on with: {command(*again.split(), run.path)}")
            raise
        except TrainingFailed as error:
            run.close("failed", str(error))
            screen.warn(f"{error}; the last good checkpoint is kept in {run.path}")
            return 1


def _check_out(out: Path, resumed: bool) -> None:
    """Told now, not after days of training."""
    if out.exists() and not resumed:
        raise BadInput("exists already", where=f"--out {out}", fix="choose another folder")
    home = next(parent for parent in out.absolute().parents if parent.exists())
    if not home.is_dir() or not os.access(home, os.W_OK):
        raise BadInput("cannot be made", where=f"--out {out}", fix=f"check {home}")


def _open(plan: Plan, before: Path | None, runs: Path, name: str, again: str) -> Run:
    if before is not None:
        return Run.resume(before, plan, seed=plan.seed)
    slug = f"{name}-{Path(plan.out).name}"
    return Run.create(*("rise", slug, plan), seed=plan.seed, root=runs, stage=name, again=again)


@dataclass(frozen=True)
class _Work:
    """The stages of one run; `run` is None where another process writes."""

    plan: Plan
    folder: Path
    run: Run | None
    screen: Screen

    def stages(self, data: Mapping[Kind, Data]) -> list[StageResult]:
        """Runs every stage that is not done yet, each from the checkpoint of the one before."""
        from planish.training.checkpoint import trained

        model, results = model_path(self.plan.model), []
        for stage in self.plan.stages:
            last = stage == self.plan.stages[-1]
            target = Path(self.plan.out) if last else self.folder / "artifacts" / stage
            # A kill may come between the last checkpoint of a stage and the next line of a file.
            done = trained(target) or self._train(stage, model, target, data[stage])
            results.append(_result(stage, data[stage], done))
            model = str(target)
        return results

    def _train(self, stage: Kind, model: str, target: Path, data: Data) -> Trained:
        from planish.training import trl
        from planish.training.callbacks import Recorder

        if target.exists():
            raise BadInput("is not of this run", where=str(target), fix="move it out of the way")
        settings = _settings(self.plan, stage, len(data.rows))
        title = f"{_TITLES[stage]} on {len(data.rows)} rows"
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._bar(title, settings.num_steps) as advance:
            return trl.train(
                stage,
                model,
                data.rows,
                settings,
                end_id=data.end_id,
                work=self.folder / "artifacts" / f"{stage}-checkpoints",
                out=target,
                recorder=Recorder(self._logger(stage), advance, self._before(stage)),
            )

    @contextlib.contextmanager
    def _bar(self, title: str, total: int) -> Iterator[Callable[[], None]]:
        if self.run is None:
            yield lambda: None
        else:
            with self.screen.progress(title, total) as advance:
                yield advance

    def _logger(self, stage: Kind) -> Any:
        def log(step: int, numbers: Mapping[str, float]) -> None:
            if self.run is not None:
                self.run.log(step, stage=stage, **numbers)

        return log

    def _before(self, stage: Kind) -> dict[int, dict[str, float]]:
        if self.run is None:
            return {}
        return {
            row["step"]: {name: value for name, value in row.items() if name not in _LABELS}
            for row in logged(self.run, stage)
        }


_LABELS = ("step", "stage")
_TITLES: dict[Kind, str] = {"sft": "SFT", "dpo": "DPO", "scalar": "a reward head"}


def _result(stage: Kind, data: Data, done: Trained) -> StageResult:
    return StageResult(
        stage=stage,
        num_rows=len(data.rows),
        num_items=data.num_items,
        num_tokens=sum(row.num_tokens for row in data.rows),
        longest=max(row.length for row in data.rows),
        steps=done.steps,
        num_parameters=done.num_parameters,
        num_trainable=done.num_trainable,
        steps_per_second=done.fresh_steps / done.seconds if done.fresh_steps else None,
    )


def logged(run: Run, stage: Kind) -> Iterator[dict[str, Any]]:
    """The numbers of a stage, one row a step; a step that broke down is left out."""
    for row in run.metrics():
        if row.get("stage") == stage and row.get("loss") is not None:
            yield row


def _settings(plan: Plan, stage: Kind, num_rows: int) -> Settings:
    from planish.training.trl import Lora, Settings

    lora = Lora(plan.lora_rank, plan.lora_alpha, plan.lora_dropout) if plan.lora else None
    return Settings(
        learning_rate=getattr(plan, f"{stage}_learning_rate"),
        num_steps=plan.num_steps(stage, num_rows),
        batch_size=plan.batch_size(stage),
        seed=plan.seed,
        micro_batch_size=plan.micro_batch_size,
        schedule=plan.schedule,
        warmup=plan.warmup,
        weight_decay=plan.weight_decay,
        max_grad_norm=plan.max_grad_norm,
        save_every=plan.save_every,
        weights=plan.weights,
        gradient_checkpointing=plan.gradient_checkpointing,
        lora=lora,
        beta=plan.beta,
        preference_weight=plan.preference_weight,
        alpha=plan.alpha,
    )


def settle(run: Run, results: Sequence[StageResult]) -> Curves:
    """Records the stages of a training that is done, and returns their logged numbers."""
    for result in results:
        if not run.done(result.stage, "stage"):
            run.record("stage", result, id=result.stage)
    for left in run.path.glob("artifacts/*-checkpoints"):  # a kill may have come just before
        shutil.rmtree(left, ignore_errors=True)
    return {result.stage: list(logged(run, result.stage)) for result in results}
