"""Stage `synthesize`: training rows for a judge, made from pairs with a gold label.

planish rise synthesize --pairs pairs.jsonl --teacher openai:MODEL --out data
planish rise synthesize --pairs pairs.jsonl --teacher hf:./sft-judge --out data --stage dpo
planish rise synthesize --resume runs/rise/20250102-030405-sft-m

Stage sft keeps a teacher's judgments that name the gold reply. Stage dpo lets the judge that is to
be improved judge several times, and sets right against wrong judgments of the items it fails. OUT
then holds `sft.jsonl` and `sft.parquet` (or `dpo.*`), as TRL reads them, and what was dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from planish.judges import Case, Template
from planish.judges.balance import check_distinct
from planish.judges.formats import Format, read_pairs
from planish.judges.overlap import check_disjoint
from planish.judges.pairs import Draw, JudgePair, judge_draws
from planish.judges.recording import below_floor, lost_calls, lost_kinds, remedy
from planish.judges.resumable import again, kept, resumable
from planish.methods.rise.data import (
    DIVERSE,
    check_free,
    drawn_template,
    fixed_template,
    make_folder,
    write_rows,
)
from planish.methods.rise.learning.config import SynthesisConfig, SynthesisStage
from planish.methods.rise.learning.synthesis_pages import Chosen, show, summarize, write_report
from planish.methods.rise.method import (
    Drops,
    Item,
    Rules,
    check_golds,
    select_dpo,
    select_sft,
    solves,
    usable,
)
from planish.models import load
from planish.models.base import Steps
from planish.models.cache import CachedModel
from planish.records import BadInput
from planish.runs import Run, RunInfo
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, digest, regiven, resolve
from planish.runs.store import find

__all__ = ["Plan", "synthesize"]

AGAIN = "planish rise synthesize --resume"


def synthesize(
    *,
    pairs: Path | None = None,
    teacher: str | None = None,
    out: Path | None = None,
    stage: SynthesisStage | None = None,
    report_pairs: Annotated[tuple[Path, ...], Parameter(negative="", consume_multiple=True)] = (),
    format: Format = "auto",
    preset: Preset | None = None,
    config: SynthesisConfig = SynthesisConfig(),  # noqa: B008 - frozen
    limit: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Make training rows for a judge: SFT rows from a teacher, or DPO pairs from the judge itself.

    Args:
        pairs: JSON Lines of pairs with gold: JudgeBench, RewardBench, or chosen and rejected.
        teacher: Who judges: the teacher for sft, the judge to be improved for dpo; a model as in
            hf:PATH, openai:NAME@URL, embedded:reasoner, scripted:NAME or replay:FILE.
        out: Folder for the rows.
        stage: sft (default): judgments that name the gold. dpo: right against wrong judgments.
        report_pairs: Pairs of the report; an item that is also there stops the command.
        format: How the pairs are written; told from the first row if left out.
        preset: Settings to start from; single options override them.
        limit: Only the first so many pairs.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs; by default each run has its own.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    given = {
        "pairs": pairs,
        "teacher": teacher,
        "out": out,
        "stage": stage,
        "report_pairs": report_pairs or None,
        "format": None if format == "auto" else format,
        "limit": limit,
        "cache": cache,
    }
    folder = find(runs, resume).path if resume else None
    if folder is None:
        plan = _plan(given, resolve(preset, config))
        check_free(Path(plan.out), plan.stage)
    else:
        plan = _resumed(read_info(folder), given, config, preset)
    cases = read_pairs(plan.pairs, plan.format)[: plan.limit]
    _check(plan, cases)
    wanted, drops = usable(
        cases, max_length_ratio=plan.length_ratio if plan.stage == "sft" else None
    )
    if not wanted:
        why = ", ".join(f"{reason} {count}" for reason, count in drops.counts.items())
        raise BadInput(f"no pair of {len(cases)} is left ({why})", where=plan.pairs)
    asked = [(case, plan.template_of(case)) for case in wanted]
    model = load(plan.teacher)
    plan = plan.model_copy(update={"revision": model.revision})
    make_folder(Path(plan.out))
    if folder is None:
        slug = f"{plan.stage}-{plan.teacher.partition('@')[0].partition('?')[0][-28:]}"
        run = Run.create(
            *("rise", slug, plan), seed=plan.seed, root=runs, stage="synthesize", again=AGAIN
        )
    else:
        run = Run.resume(folder, plan)
    with run:
        replies = Path(plan.cache) if plan.cache else run.artifact("replies.jsonl")
        with resumable(run, screen), kept(model, replies, screen) as cached:
            items = _ask(plan, asked, cached, screen)
        return _close(run, plan, cases, drops, items, replies, screen)


class Plan(SynthesisConfig):
    """What determines the rows: it is kept in run.json, and a resume must match it."""

    stage: SynthesisStage
    teacher: str
    pairs: str
    pairs_sha256: str
    report_pairs: tuple[str, ...]
    report_sha256: tuple[str, ...]
    format: Format
    limit: int | None
    out: str
    cache: str | None
    revision: str = ""

    def template_of(self, case: Case) -> Template:
        """What this item is asked with."""
        if self.template == DIVERSE:
            return drawn_template(case.id, seed=self.seed, with_solution=self.needs_solution)
        return fixed_template(self.template, with_solution=self.needs_solution)

    @property
    def needs_solution(self) -> bool:
        """Whether judgments must solve the item first; in both stages, so that prompts match."""
        return self.require_solution or self.prefer == "supported"

    @property
    def rules(self) -> Rules:
        """What the selection needs to know."""
        return Rules(
            pairs_per_item=self.pairs_per_item,
            orders=self.from_orders,
            balance=self.balance,
            require_solution=self.require_solution,
            prefer=self.prefer,
            seed=self.seed,
        )


def _plan(given: dict[str, Any], config: SynthesisConfig) -> Plan:
    for name in ("pairs", "teacher", "out"):
        if given[name] is None:
            raise BadInput(
                "is missing",
                where=f"--{name}",
                fix="give it, or --resume RUN to go on with a run",
            )
    reports = [Path(path) for path in given["report_pairs"] or ()]
    return Plan(
        stage=given["stage"] or "sft",
        teacher=given["teacher"],
        pairs=str(Path(given["pairs"]).resolve()),
        pairs_sha256=digest(Path(given["pairs"])),
        report_pairs=tuple(str(path.resolve()) for path in reports),
        report_sha256=tuple(map(digest, reports)),
        format=given["format"] or "auto",
        limit=given["limit"],
        out=str(Path(given["out"]).resolve()),
        cache=str(Path(given["cache"]).resolve()) if given["cache"] else None,
        **config.model_dump(),
    )


def _resumed(
    info: RunInfo, given: dict[str, Any], config: SynthesisConfig, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared."""
    before = config_of(info, "rise", "synthesize", Plan)
    again = {
        name: getattr(before, name) if value is None else value for name, value in given.items()
    }
    return _plan(again, regiven(before, config, preset))


def _check(plan: Plan, cases: Sequence[Case]) -> None:
    """Everything that can be known before a call is paid for."""
    check_golds(cases, where=plan.pairs)
    for path in plan.report_pairs:
        check_disjoint(cases, read_pairs(path), source=path, near=plan.near_duplicate)
    if plan.num_samples(plan.stage) > 1 and plan.sampling(plan.stage).temperature == 0:
        raise BadInput(
            "several samples at temperature 0 are all the same",
            where="--samples",
            fix="raise --temperature or take one sample",
        )
    if plan.require_solution and not any(solves(case, "0") is not None for case in cases):
        raise BadInput(
            f"none of {len(cases)} pairs has a target or a reference, the first is {cases[0].id}",
            where=plan.pairs,
            fix="add them, or leave out --require-solution",
        )


def _ask(
    plan: Plan, asked: Sequence[tuple[Case, Template]], model: CachedModel, screen: Screen
) -> list[Item]:
    samples = plan.num_samples(plan.stage)
    with screen.progress(f"{model.name} judges", 2 * len(asked) * samples) as step:
        drawn = judge_draws(
            model,
            asked,
            samples=samples,
            sampling=plan.sampling(plan.stage),
            verify=solves,
            watcher=Steps(step),
        )
    if model.hits:
        screen.note(f"{model.hits} of {model.hits + model.misses} judgments were there before")
    return [Item(case, draws) for (case, _), draws in zip(asked, drawn, strict=True)]


def _close(
    run: Run,
    plan: Plan,
    cases: Sequence[Case],
    drops: Drops,
    items: Sequence[Item],
    replies: Path,
    screen: Screen,
) -> int:
    draws = [draw for item in items for draw in item.draws]
    lost = [draw for draw in draws if draw.status == "transport"]
    if below_floor(len(lost), len(draws), plan.min_coverage):
        why = lost_calls(draw.completion for draw in lost)
        what = f"{len(lost)} of {len(draws)} calls brought no reply ({why})"
        what += f", the first at item {lost[0].item_id}"
        run.close("failed", what)
        retry = f"go on with: {again(run)}"
        kinds = lost_kinds(draw.completion for draw in lost)
        screen.warn(f"{what}; {remedy(kinds, retry, budget='--max-tokens')}")
        screen.close({"transport": len(lost), "calls": len(draws)}, run=run.path)
        return 1
    _check_coverage(plan, draws, replies)
    chosen: Chosen = (select_sft if plan.stage == "sft" else select_dpo)(items, plan.rules)
    pairs = [row for row in chosen.rows if isinstance(row, JudgePair)]
    check_distinct(pairs, where=f"stage {plan.stage}")
    for why, ids in chosen.dropped_items.ids.items():
        drops.add(why, ids)
    files = write_rows(Path(plan.out), plan.stage, [row.row() for row in chosen.rows], drops)
    summary = summarize(plan.stage, len(cases), items, chosen, drops)
    _record(run, items, chosen, drops)
    run.finish(**summary)
    write_report(run, summary, chosen, source=Path(plan.pairs).name, teacher=plan.teacher)
    show(summary, screen)
    screen.close(
        {**summary, "files": [str(path) for path in files]},
        run=run.path,
        report=run.report_path,
        then=[
            command("planish", "rise", "train", "--model", "MODEL", f"--{plan.stage}", plan.out)
            + " --out CHECKPOINT"
        ],
    )
    return 0


def _check_coverage(plan: Plan, draws: Sequence[Draw], replies: Path) -> None:
    unread = [draw for draw in draws if draw.right is None]
    if below_floor(len(unread), len(draws), plan.min_coverage):
        coverage = 1 - len(unread) / len(draws)
        raise BadInput(
            f"{len(unread)} of {len(draws)} judgments hold no verdict (coverage {coverage:.3f}, "
            f"floor {plan.min_coverage:g}), the first is of item {unread[0].item_id}: "
            f"{unread[0].status}",
            where=plan.teacher,
            fix="change --template or --max-tokens, or lower --min-coverage with "
            f"--cache {replies}, which pays for no call twice",
        )


def _record(
    run: Run,
    items: Sequence[Item],
    chosen: Chosen,
    drops: Drops,
) -> None:
    """One line per pair: how it was judged, what it brought, and why nothing."""
    rows = Counter(row.item_id for row in chosen.rows)
    why = {item_id: reason for reason, ids in drops.ids.items() for item_id in ids}
    judged = {item.case.id: item for item in items}
    for item_id in [*judged, *(other for other in why if other not in judged)]:
        if run.done(item_id, "item"):
            continue
        draws = judged[item_id].draws if item_id in judged else ()
        run.record(
            "item",
            {
                "rows": rows[item_id],
                "dropped": why.get(item_id),
                "right": {
                    order: [draw.right for draw in draws if draw.order == order]
                    for order in dict.fromkeys(draw.order for draw in draws)
                },
            },
            id=item_id,
        )
