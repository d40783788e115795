"""Carrying a training out: every process trains, the main one keeps the run and closes it.

    data = prepare(plan, resumed=False)
    carry_out(plan, data, "train", before=None, runs=runs, screen=screen, close=close)

A stage that is done is not done again, and one that was killed goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.rise.learning.training_plan import Plan
from planish.methods.rise.learning.training_rows import Data, encode
from planish.records import Record
from planish.runs import Run
from planish.runs.console import Screen
from planish.training import job as jobs
from planish.training.job import Job, model_path
from planish.training.rows import Kind

if TYPE_CHECKING:
    from planish.methods.rise.learning.training_pages import Curves
    from planish.training.checkpoint import Trained
    from planish.training.trl import Settings

__all__ = ["StageResult", "carry_out", "prepare", "settle"]


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
    jobs.check_out(Path(plan.out), resumed=resumed)
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

    def work(job: Job) -> list[StageResult]:
        for stage, rows in data.items():
            if rows.ties and job.run is not None:
                screen.note(f"{rows.ties} pairs are ties and teach {stage} nothing: left out")
        return _Work(plan, job).stages(data)

    return jobs.carry_out(
        jobs.Command("rise", name, f"{name}-{Path(plan.out).name}"),
        plan,
        work,
        lambda run, results: close(run, plan, results, screen),
        before=before,
        runs=runs,
        screen=screen,
    )


@dataclass(frozen=True)
class _Work:
    """The stages of one run."""

    plan: Plan
    job: Job

    def stages(self, data: Mapping[Kind, Data]) -> list[StageResult]:
        """Runs every stage that is not done yet, each from the checkpoint of the one before."""
        model, results = model_path(self.plan.model), []
        for stage in self.plan.stages:
            last = stage == self.plan.stages[-1]
            target = Path(self.plan.out) if last else self.job.folder / "artifacts" / stage
            # A kill may come between the last checkpoint of a stage and the next line of a file.
            done = self.job.made(target) or self._train(stage, model, target, data[stage])
            results.append(_result(stage, data[stage], done))
            model = str(target)
        return results

    def _train(self, stage: Kind, model: str, target: Path, data: Data) -> Trained:
        from planish.training import trl

        settings = _settings(self.plan, stage, len(data.rows))
        title = f"{_TITLES[stage]} on {len(data.rows)} rows"
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.job.recorder(title, settings.num_steps, stage=stage) as recorder:
            return trl.train(
                stage,
                model,
                data.rows,
                settings,
                end_id=data.end_id,
                work=self.job.checkpoints(stage),
                out=target,
                recorder=recorder,
                run=self.job.folder.name,
            )


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


def _settings(plan: Plan, stage: Kind, num_rows: int) -> Settings:
    from planish.training.trl import Settings

    return Settings(
        learning_rate=getattr(plan, f"{stage}_learning_rate"),
        num_steps=plan.num_steps(stage, num_rows),
        batch_size=plan.batch_size(stage),
        seed=plan.seed,
        warmup=plan.warmup,
        **plan.optimizer(),
        beta=plan.beta,
        preference_weight=plan.preference_weight,
        alpha=plan.alpha,
    )


def settle(run: Run, results: Sequence[StageResult]) -> Curves:
    """Records the stages of a training that is done, and returns their logged numbers."""
    for result in results:
        if not run.done(result.stage, "stage"):
            run.record("stage", result, id=result.stage)
    jobs.clear_checkpoints(run)
    return {result.stage: list(jobs.logged(run, stage=result.stage)) for result in results}
