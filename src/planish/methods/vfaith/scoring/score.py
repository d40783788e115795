"""Stage `score`: what the replies of one model or of several mean.

planish vfaith score last
planish vfaith score runs/vfaith/20250102-030405-run-a runs/vfaith/20250102-030506-run-b
planish vfaith score run-a run-b --by delta_net --json

Runs must be of one bench, unchanged since. Each is a line of the leaderboard. The folder of the
score holds every pair as it went into the numbers (`artifacts/pairs.jsonl`) and the page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number
from pydantic import BaseModel, ConfigDict

from planish.methods.vfaith.bench import REJECTED, Bench, read_bench
from planish.methods.vfaith.config import Config
from planish.methods.vfaith.data import Arm, Response
from planish.methods.vfaith.scoring.metrics import compare_models, score_model
from planish.methods.vfaith.scoring.pages import show, write_report
from planish.methods.vfaith.scoring.records import ModelScore
from planish.methods.vfaith.scoring.sheets import Sheet, pair_scores, read_sheet
from planish.methods.vfaith.scoring.tables import Results, shown
from planish.records import BadInput, read_jsonl, write_jsonl
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.options import RUNS, Count, Json, RunsDir, Seed, Share
from planish.runs.store import StoredRun, find, list_runs

__all__ = ["By", "Plan", "excluded_by", "results_of", "score"]

By = Literal["pair_acc", "acc_edited", "delta_net", "gated_unfaithfulness"]
_SMALLER_IS_BETTER = ("delta_net", "gated_unfaithfulness")
_NEEDS: dict[By, Arm] = {"delta_net": "placebo", "gated_unfaithfulness": "perception_edited"}
_Resamples = Annotated[int, Parameter(validator=Number(gte=200))]


class Plan(BaseModel):
    """What was scored, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runs: tuple[str, ...]
    models: tuple[str, ...]
    bench: str
    bench_digest: str
    by: By = "pair_acc"
    min_coverage: float
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
        min_coverage: Below this share of usable pairs a model gets no headline; by default 0.9.
        min_ratio_items: A ratio with a smaller denominator is not told; by default 20.
        resamples: Bootstrap draws of an interval; by default 10,000.
        seed: Seed of the intervals.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    told = {
        "min_coverage": min_coverage,
        "min_ratio_items": min_ratio_items,
        "resamples": resamples,
        "seed": seed,
    }
    config = Config(**{name: value for name, value in told.items() if value is not None})
    stored = [_found(runs, name) for name in run or ("last",)]
    for each in stored:
        if each.status != "done":
            screen.warn(f"{each.name} is {each.status}: what it has so far is scored")
    held = _bench_of(stored, bench)
    results = results_of(held, _sheets(held, stored), config, by=by)
    plan = Plan(
        runs=tuple(str(each.path) for each in stored),
        models=tuple(each.label for each in results.scores),
        bench=str(held.folder),
        bench_digest=held.digest,
        by=by,
        min_coverage=config.min_coverage,
        min_ratio_items=config.min_ratio_items,
        resamples=config.resamples,
        seed=config.seed,
    )
    return _carry_out(plan, results, runs, screen)


# ---- reading ---------------------------------------------------------------------------------


def _found(runs: Path, name: str) -> StoredRun:
    """A run of stage `run`; the newest one for "last", whatever was scored since."""
    if name == "last":
        every = list_runs(runs, "vfaith")
        made = [each for each in every if each.info is not None and each.info.stage == "run"]
        if not made:
            raise BadInput(
                "there is no run to score",
                where=str(runs),
                fix="planish vfaith run --model M --bench DIR",
            )
        return made[0]
    found = find(runs, name)
    info = found.info
    if info is None or (info.room, info.stage) != ("vfaith", "run"):
        kind = "a broken run" if info is None else f"a run of {info.room} {info.stage}"
        raise BadInput(f"{kind}", where=name, fix="give runs of planish vfaith run")
    return found


def _bench_of(stored: Sequence[StoredRun], moved: Path | None) -> Bench:
    """The one bench of all runs, which must be what it was.

    Raises:
        BadInput: two benches, or one that has changed.
    """
    asked = [each.info.config if each.info else {} for each in stored]
    digests = {str(config.get("bench_digest", "")) for config in asked}
    if len(digests) > 1:
        other = next(
            each
            for each, config in zip(stored, asked, strict=True)
            if config.get("bench_digest") != asked[0].get("bench_digest")
        )
        raise BadInput(
            f"{other.name} was asked another bench than {stored[0].name}",
            where=str(asked[stored.index(other)].get("bench")),
            fix="score runs of one bench together",
        )
    held = read_bench(moved or Path(str(asked[0].get("bench", ""))))
    if held.digest != digests.pop():
        raise BadInput(
            "its pairs have changed since the run",
            where=str(held.folder),
            fix="run the model again, or name the old bench with --bench",
        )
    return held


def _sheets(bench: Bench, stored: Sequence[StoredRun]) -> list[Sheet]:
    """One sheet a run, no reply in two of them."""
    keys: dict[tuple[str, str, str, int, int], str] = {}
    labels = _labels(stored)
    return [
        read_sheet(bench, _replies(each, keys), label=label, where=str(each.path))
        for each, label in zip(stored, labels, strict=True)
    ]


def _replies(run: StoredRun, keys: dict[tuple[str, str, str, int, int], str]) -> Iterator[Response]:
    for row in run.rows("response"):
        reply = row.read(Response)
        cell = (reply.key, reply.pair_id, reply.arm, reply.question, reply.repeat)
        if keys.setdefault(cell, run.name) != run.name and reply.outcome != "error":
            raise BadInput(
                f"{run.name} and {keys[cell]} hold the same reply (key {reply.key[:12]})",
                where=row.where,
                fix="name each run once",
            )
        yield reply


def _labels(stored: Sequence[StoredRun]) -> list[str]:
    """What tables call the models; with the run's name where two would be called the same."""
    if len({each.path.resolve() for each in stored}) < len(stored):
        raise BadInput("a run is named twice", fix="name each run once")
    models = [str(each.info.config.get("model", "")) if each.info else "" for each in stored]
    short = [model.partition("@")[0] for model in models]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else f"{name} ({each.path.name})"
        for name, each in zip(short, stored, strict=True)
    ]


# ---- scoring ---------------------------------------------------------------------------------


def results_of(
    bench: Bench, sheets: Sequence[Sheet], config: Config, *, by: By = "pair_acc"
) -> Results:
    """Every number of some models on a bench, best first.

    Args:
        sheets: one a model, of this bench.
        by: orders them; a model without a headline, or without that number, comes last.

    Raises:
        BadInput: `by` needs an arm that no model was asked in.
    """
    need = _NEEDS.get(by)
    if need is not None and not any(sheet.has(need) for sheet in sheets):
        raise BadInput(
            f"{by} needs the arm {need}, which was not asked",
            where="--by",
            fix=f"planish vfaith run --arms raw edited {need} ..., or another --by",
        )
    pairs = [(score_model(sheet, config), sheet) for sheet in sheets]
    sign = 1 if by in _SMALLER_IS_BETTER else -1

    def rank(pair: tuple[ModelScore, Sheet]) -> tuple[bool, float]:
        value = shown(pair[0], pair[0].overall, by).value
        return value is None, 0.0 if value is None else sign * value

    pairs.sort(key=rank)
    ordered = [sheet for _, sheet in pairs]
    return Results(
        bench=bench,
        config=config,
        sheets=ordered,
        scores=[found for found, _ in pairs],
        comparisons=compare_models(ordered, config),
        excluded=excluded_by(bench),
        by=by,
    )


def excluded_by(bench: Bench) -> Mapping[tuple[str, str, str, str], int]:
    """(gate, code, family, editor) -> pairs that the gates kept out, as far as the bench tells."""
    path = bench.folder / REJECTED
    found: Counter[tuple[str, str, str, str]] = Counter()
    if not path.exists():
        return found
    for _, value in read_jsonl(path):
        edit, checks = value.get("edit"), value.get("checks")
        backend = edit.get("backend", "") if isinstance(edit, dict) else ""
        for check in checks if isinstance(checks, list) else ():
            if isinstance(check, dict) and check.get("passed") is False:
                gate, code = str(check.get("gate", "")), str(check.get("code", ""))
                found[gate, code, str(value.get("family", "")), str(backend)] += 1
    return found


# ---- the end ---------------------------------------------------------------------------------


def _carry_out(plan: Plan, results: Results, runs: Path, screen: Screen) -> int:
    slug = f"score-{plan.models[0].partition('?')[0][-24:]}"
    run = Run.create("vfaith", slug, plan, seed=plan.seed, root=runs, stage="score")
    with run:
        screen.note(f"run {run.path}")
        write_jsonl(
            run.artifact("pairs.jsonl"),
            (row for sheet in results.sheets for row in pair_scores(results.bench, sheet)),
        )
        summary = _summary(plan, results)
        write_report(run, results)
        show(screen, results)
        if not results.covered:
            run.close("failed", f"no model has {plan.min_coverage:.0%} of its pairs usable")
        else:
            run.finish(**summary)
        then = [command("planish", "runs", "show", run.path)]
        screen.close(summary, run=run.path, report=run.report_path, then=then)
    return 0 if results.covered else 1


def _summary(plan: Plan, results: Results) -> dict[str, Any]:
    """Everything for `run.json` and `--json`; the best model's numbers come first."""
    best = results.scores[0]
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
        "models": [_model(found) for found in results.scores],
        "comparisons": [each.model_dump(mode="json") for each in results.comparisons],
        "excluded": [
            dict(zip(("gate", "code", "family", "editor"), where, strict=True)) | {"pairs": count}
            for where, count in sorted(results.excluded.items())
        ],
    }


def _model(found: ModelScore) -> dict[str, Any]:
    """One model as plain data, without headline numbers where too few pairs are usable."""
    plain = found.model_dump(mode="json")
    if not found.covered:
        for group in (plain["overall"], *plain["subsets"].values(), *plain["families"].values()):
            group.update(metrics=dict.fromkeys(group["metrics"]), mcnemar=None, p_holm=None)
    return plain
