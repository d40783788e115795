"""Stage `train`: SFT on judgments, then DPO with an NLL term on pairs of judgments.

planish rise train --model hf:Qwen/Qwen2.5-7B --sft data --dpo data --out judge --preset paper
planish rise train --model embedded:reasoner --dpo dpo.jsonl --out judge --preset tiny
planish rise train --model hf:./base --scalar pairs.jsonl --out reward-model
planish rise train --resume runs/rise/20250102-030405-train-judge
accelerate launch --num_processes 8 -m planish.cli rise train ...

`--out` becomes a normal checkpoint with a model card. The run folder holds every logged number,
and the checkpoint between the stages. The baseline that needs no judgments is `--scalar`: a
Bradley-Terry reward head on the pairs themselves.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from planish.methods.rise.learning.config import TrainConfig
from planish.methods.rise.learning.training import (
    StageResult,
    carry_out,
    prepare,
    settle,
)
from planish.methods.rise.learning.training_plan import (
    Given,
    Plan,
    Stage,
    check_stages,
    make_plan,
    resumed_plan,
)
from planish.records import write_text
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.options import RUNS, Json, RunsDir
from planish.runs.presets import Preset
from planish.runs.store import find
from planish.training.job import check_lora, said_once

__all__ = ["train"]


def train(
    *,
    model: str | None = None,
    sft: Path | None = None,
    dpo: Path | None = None,
    scalar: Path | None = None,
    out: Path | None = None,
    stage: Stage | None = None,
    report_pairs: Annotated[tuple[Path, ...], Parameter(negative="", consume_multiple=True)] = (),
    preset: Preset | None = None,
    config: TrainConfig = TrainConfig(),  # noqa: B008 - frozen
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Train a judge: SFT on judgments, then DPO with NLL on pairs of them.

    Args:
        model: hf:PATH-OR-ID or embedded:reasoner.
        sft: Rows of prompt and completion: JSON Lines, parquet, or a folder with sft.jsonl.
        dpo: Rows of prompt, chosen and rejected: JSON Lines, parquet, or a folder with dpo.jsonl.
        scalar: Pairs of replies with gold, for a scalar reward head in place of sft and dpo.
        out: Folder for the trained checkpoint; it must not exist yet.
        stage: Which stage to run; by default those that data were given for.
        report_pairs: Pairs of the report; a row whose question is also there stops the command.
        preset: Settings to start from; single options override them.
        resume: Go on with this run (a path, a name, or last) from its last checkpoint.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    given = Given(model, sft, dpo, out, stage, preset, config, report_pairs, scalar)
    return said_once(lambda: _train(given, resume, runs, Screen(json=json)))


def _train(given: Given, resume: str | None, runs: Path, screen: Screen) -> int:
    before = find(runs, resume).path if resume else None
    plan = make_plan(given) if before is None else resumed_plan(before, given)
    check_lora(plan, given.config)
    check_stages(plan, given.config)
    data = prepare(plan, resumed=before is not None)
    return carry_out(plan, data, "train", before=before, runs=runs, screen=screen, close=_close)


def _close(run: Run, plan: Plan, results: list[StageResult], screen: Screen) -> int:
    from planish.methods.rise.learning.training_pages import model_card, summarize, write_page

    curves = settle(run, results)
    summary, out = summarize(results, curves), Path(plan.out)
    write_text(out / "README.md", model_card(run, plan, results, summary))
    run.finish(**summary)
    write_page(run, plan, results, curves, summary)
    screen.numbers(summary, title=f"{plan.model}, {' then '.join(plan.stages)}")
    scheme = "scalar" if plan.stages == ("scalar",) else "hf"
    judge = command("planish", "rise", "judge", "--model", f"{scheme}:{out}")
    screen.close(
        {**summary, "out": str(out)},
        run=run.path,
        report=run.report_path,
        then=[f"{judge} --pairs PAIRS.jsonl"],
    )
    return 0
