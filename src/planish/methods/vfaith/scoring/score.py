"""Stage `score`: what the replies of one model or of several mean.

planish vfaith score last
planish vfaith score runs/vfaith/20250102-030405-run-a runs/vfaith/20250102-030506-run-b
planish vfaith score run-a run-b --by delta_net --json

Runs must be of one bench, unchanged since. Each is a line of the leaderboard. The folder of the
score holds every pair as it went into the numbers (`artifacts/pairs.jsonl`) and the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import BaseModel, ConfigDict

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.cautions import cautions
from planish.methods.vfaith.config import Config
from planish.methods.vfaith.data import Arm
from planish.methods.vfaith.scoring.metrics import compare_models, score_model
from planish.methods.vfaith.scoring.pages import show, write_report
from planish.methods.vfaith.scoring.reading import (
    bench_of,
    check_ranked,
    excluded_by,
    failed_gates,
    raters_of,
    run_named,
    sheets_of,
)
from planish.methods.vfaith.scoring.records import Group, ModelScore
from planish.methods.vfaith.scoring.sheets import Sheet, pair_scores
from planish.methods.vfaith.scoring.tables import Results, num_pairs, shown
from planish.methods.vfaith.verifying.independence import verifiers_of
from planish.records import BadInput, write_jsonl
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.lines import telling_full
from planish.runs.options import RUNS, Count, Json, RunsDir, Seed, Share, Whole

__all__ = ["By", "Plan", "results_of", "score"]

By = Literal["pair_acc", "acc_edited", "delta_net", "gated_unfaithfulness"]
_SMALLER_IS_BETTER = ("delta_net", "gated_unfaithfulness")
_NEEDS: dict[By, Arm] = {"delta_net": "placebo", "gated_unfaithfulness": "perception_edited"}
_Resamples = Annotated[Whole, Parameter(validator=Number(gte=200))]


class Plan(BaseModel):
    """What was scored, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[str, ...]
    models: tuple[str, ...]
    bench: str
    bench_digest: str
    by: By = "pair_acc"
    min_coverage: float | None
    min_ratio_items: int
    resamples: int
    seed: int


def score(
    *run: str,
    bench: Path | None = None,
    by: By = "pair_acc",
    min_coverage: Share | None = None,
    min_ratio_items: Count | None = None,
    resamples: _Resamples | None = None,
    seed: Seed | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Tell what replies mean: who follows the edit, with intervals, model against model.

    Args:
        run: Runs of planish vfaith run: paths, names, or last (the default), the newest of them.
        bench: Where the bench lies now; by default where it lay when the first run was made.
        by: Orders the models; delta_net and gated_unfaithfulness need their arms asked.
        min_coverage: Below this share of usable pairs a model gets no headline; by default what
            its run had.
        min_ratio_items: A ratio with a smaller denominator is not told; by default 20.
        resamples: Bootstrap draws of an interval; by default 10,000.
        seed: Seed of the intervals.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    told = {
        "min_ratio_items": min_ratio_items,
        "resamples": resamples,
        "seed": seed,
    }
    config = Config(**{name: value for name, value in told.items() if value is not None})
    stored = [run_named(runs, name) for name in run or ("last",)]
    for each in stored:
        if each.status != "done":
            screen.warn(f"{each.name} is {each.status}: what it has so far is scored")
    held = bench_of(stored, bench)
    for each in stored:
        check_ranked(held, each)
    sheets, warnings = sheets_of(held, stored, min_coverage)
    results = results_of(held, sheets, config, by=by, warnings=warnings)
    plan = Plan(
        runs=tuple(str(each.path) for each in stored),
        models=tuple(each.label for each in results.scores),
        bench=str(held.folder),
        bench_digest=held.digest,
        by=by,
        min_coverage=min_coverage,
        min_ratio_items=config.min_ratio_items,
        resamples=config.resamples,
        seed=config.seed,
    )
    return _carry_out(plan, results, runs, screen)


# ---- scoring ---------------------------------------------------------------------------------


def results_of(
    bench: Bench,
    sheets: Sequence[Sheet],
    config: Config,
    *,
    by: By = "pair_acc",
    warnings: Sequence[str] = (),
) -> Results:
    """Every number of some models on a bench, best first.

    Where they were asked different pairs, all numbers are over those that every one was asked.

    Args:
        sheets: one a model, of this bench.
        by: orders them; a model without a headline, or without that number, comes last.
        warnings: to be told above the numbers, beside what is found here.

    Raises:
        BadInput: `by` needs an arm that no model was asked in, or no pair was asked of all.
    """
    need = _NEEDS.get(by)
    if need is not None and not any(sheet.has(need) for sheet in sheets):
        raise BadInput(
            f"{by} needs the arm {need}, which was not asked",
            where="--by",
            fix=f"planish vfaith run --arms raw edited {need} ..., or another --by",
        )
    own = {sheet.label: num_pairs(sheet) for sheet in sheets}
    common = np.logical_and.reduce([sheet.asked for sheet in sheets])
    raters, why = raters_of(bench)
    warned = cautions(bench.pairs, [sheet.model for sheet in sheets])
    warnings = [*_of_bench(bench), *warned, *why, *warnings]
    if any((sheet.asked != common).any() for sheet in sheets):
        if not common.any():
            raise BadInput("no pair was asked of all these models", fix="score them one by one")
        sheets = [sheet.restricted(common) for sheet in sheets]
        counts = ", ".join(f"{label} {count}" for label, count in own.items())
        warnings.append(
            f"models were asked different pairs ({counts}): every number here is over the "
            f"{num_pairs(sheets[0])} that all of them were asked"
        )
    pairs = [(score_model(sheet, config), sheet) for sheet in sheets]
    sign = 1 if by in _SMALLER_IS_BETTER else -1

    def rank(pair: tuple[ModelScore, Sheet]) -> tuple[bool, float]:
        value = shown(pair[0], pair[0].overall, by).value
        return value is None, 0.0 if value is None else sign * value

    pairs.sort(key=rank)
    ordered = [sheet for _, sheet in pairs]
    covered = [sheet for found, sheet in pairs if found.covered]
    return Results(
        bench=bench,
        config=config,
        sheets=ordered,
        scores=[found for found, _ in pairs],
        comparisons=compare_models(covered, config),
        excluded=excluded_by(bench),
        by=by,
        asked=own,
        warnings=tuple(warnings),
        raters=raters,
        verifiers=tuple(verifiers_of(bench)),
    )


def _of_bench(bench: Bench) -> list[str]:
    try:
        failed = failed_gates(bench)
    except BadInput as error:
        return [f"whether the bench passed its own gates is not told: {error}"]
    if not failed:
        return []
    why = ", ".join(f"{check.gate} {check.code}".strip() for check in failed)
    return [
        f"the bench did not pass its own gates ({why}): its answers may be told without the picture"
    ]


# ---- the end ---------------------------------------------------------------------------------


def _carry_out(plan: Plan, results: Results, runs: Path, screen: Screen) -> int:
    slug = f"score-{plan.models[0].partition('?')[0][-24:]}"
    run = Run.create("vfaith", slug, plan, seed=plan.seed, root=runs, stage="score")
    with run, telling_full(run.path):
        screen.note(f"run {run.path}")
        write_jsonl(
            run.artifact("pairs.jsonl"),
            (row for sheet in results.sheets for row in pair_scores(results.bench, sheet)),
        )
        summary = _summary(plan, results)
        write_report(run, results)
        show(screen, results)
        if not results.covered:
            run.close("failed", "no model has enough of its pairs usable")
        else:
            run.finish(**summary)
        then = [command("planish", "runs", "show", run.path)]
        screen.close(summary, run=run.path, report=run.report_path, then=then)
    return 0 if results.covered else 1


def _summary(plan: Plan, results: Results) -> dict[str, Any]:
    """Everything for `run.json` and `--json`; the best model's numbers come first."""
    best, raters = results.scores[0], results.raters
    names = (
        "pair_acc",
        "acc_raw",
        "acc_edited",
        "delta_net",
        "repeat_ratio",
        "gated_unfaithfulness",
    )
    return {
        "best": best.label if best.covered else None,
        **{name: shown(best, best.overall, name) for name in names},
        "bench": plan.bench,
        "bench_digest": plan.bench_digest,
        "pairs": sum(pair.kind == "pair" for pair in results.bench.pairs),
        "warnings": list(results.warnings),
        "models": [_model(found, results.asked) for found in results.scores],
        "raters": raters and raters.model_dump(mode="json", exclude={"ratings"}),
        "verifiers": list(results.verifiers),
        "comparisons": [each.model_dump(mode="json") for each in results.comparisons],
        "excluded": [
            dict(zip(("gate", "code", "family", "editor"), where, strict=True)) | {"pairs": count}
            for where, count in sorted(results.excluded.items())
        ],
    }


def _untell(metrics: dict[str, Any], group: Group) -> None:
    """Null, and why, where a number tells nothing."""
    for name in metrics:
        if why := group.why_not(name):
            metrics[name] |= {"value": None, "low": None, "high": None, "reason": why}


def _model(found: ModelScore, asked: Mapping[str, int]) -> dict[str, Any]:
    """One model as plain data, without headline numbers where too few pairs are usable."""
    plain = found.model_dump(mode="json")
    groups = [plain["overall"], *plain["subsets"].values(), *plain["families"].values()]
    for group in groups * (not found.covered) + [plain["strict"]] * (not found.strict_covered):
        group.update(metrics=dict.fromkeys(group["metrics"]), mcnemar=None, p_holm=None)
    if found.covered:
        held = [found.overall, *found.subsets.values(), *found.families.values()]
        for group, each in zip(groups, held, strict=True):
            _untell(group["metrics"], each)
    if found.strict_covered:
        _untell(plain["strict"]["metrics"], found.strict)
    return plain | {"asked": asked[found.label]}
