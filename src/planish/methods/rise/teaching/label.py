"""Stage `label`: a judge, a verifier or chance pairs the replies of a policy for DPO.

planish rise label --policy hf:./policy --judge hf:./judge --task chain:4 --out labels
planish rise label --policy hf:./policy --judge scalar:./reward-model --task chain:4 --out labels
planish rise label --policy hf:./policy --by verifier --task questions.jsonl --out ceiling
planish rise label --resume runs/rise/20250102-030405-label-judge-policy

The policy answers every prompt several times, the replies are scored, and the best is set against
the worst. OUT then holds `dpo.jsonl` and `dpo.parquet`, as TRL reads them, and what was dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from planish.judges import Call, PairwiseJudge
from planish.judges.recording import below_floor, lost_calls, lost_kinds, remedy
from planish.judges.resumable import again, kept, resumable
from planish.judges.scalar import ScalarJudge, is_scalar
from planish.methods.rise.data import check_free, make_folder, write_rows
from planish.methods.rise.method import Drops
from planish.methods.rise.teaching.config import LabelConfig
from planish.methods.rise.teaching.label_pages import show, summarize, write_report
from planish.methods.rise.teaching.label_plan import (
    Plan,
    Split,
    check_dials,
    make_plan,
    resumed_plan,
)
from planish.methods.rise.teaching.labelling import (
    By,
    Item,
    choose,
    make_item,
    random_scored,
    read_prompts,
    row,
    verifier_scored,
)
from planish.models import load
from planish.models.base import LanguageModel, Steps
from planish.models.cache import CachedModel
from planish.records import BadInput, Completion, Example, Pair
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, resolve
from planish.runs.store import find
from planish.tasks.ability import ability_examples
from planish.tasks.base import Task
from planish.tasks.load import load_task
from planish.training.rewards import Scored, ratings, rewarded, round_robin

__all__ = ["label"]

AGAIN = "planish rise label --resume"

_PROMPTS = 1000  # of a task, where no --limit is given and it has as many


def label(
    *,
    policy: str | None = None,
    judge: str | None = None,
    task: str | None = None,
    prompts: Path | None = None,
    out: Path | None = None,
    by: By | None = None,
    split: Split | None = None,
    preset: Preset | None = None,
    config: LabelConfig = LabelConfig(),  # noqa: B008 - frozen
    limit: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Label a policy's own replies: best against worst of several, as pairs for DPO.

    Args:
        policy: Who answers: hf:PATH, openai:NAME@URL, embedded:reasoner, replay:FILE.
        judge: Who scores, a model as for --policy, or scalar:PATH for a reward head; only with
            --by judge.
        task: Prompts with a verifier: chain, chain:4, chain:4:+-*, or a file of questions.
        prompts: Prompts without one: JSON Lines or parquet of question or prompt.
        out: Folder for the rows.
        by: judge (default); verifier: right against wrong, the ceiling; random: the floor.
        split: Which prompts of the task: train (default) or gate; report ones are for reports.
        preset: Settings to start from; single options override them.
        limit: Only so many prompts; by default 1,000 of a task, all of a file of prompts.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs, so that all label the same replies.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    screen = Screen(json=json)
    given = {
        "policy": policy,
        "judge": judge,
        "task": task,
        "prompts": prompts,
        "out": out,
        "by": by,
        "split": split,
        "limit": limit,
        "cache": cache,
    }
    folder = find(runs, resume).path if resume else None
    if folder is None:
        plan = make_plan(given, resolve(preset, config))
        check_free(Path(plan.out), "dpo")
    else:
        plan = resumed_plan(read_info(folder), given, config, preset)
    check_dials(plan, config)
    verifier = load_task(plan.task) if plan.task else None
    examples = _examples(plan, verifier)
    answers = load(plan.policy)
    judges = _open(plan.judge) if plan.judge else None
    plan = plan.model_copy(
        update={
            "policy_revision": answers.revision,
            "judge_name": judges.name if judges else None,
            "judge_revision": judges.revision if judges else None,
            "template_hash": None
            if judges is None or isinstance(judges, ScalarJudge)
            else plan.judging(judges).template.hash,
        }
    )
    make_folder(Path(plan.out))
    if folder is None:
        slug = f"label-{plan.by}-{plan.policy.partition('@')[0].partition('?')[0][-24:]}"
        run = Run.create(
            *("rise", slug, plan), seed=plan.seed, root=runs, stage="label", again=AGAIN
        )
    else:
        run = Run.resume(folder, plan)
    with run:
        replies = Path(plan.cache) if plan.cache else run.artifact("replies.jsonl")
        with resumable(run, screen):
            # One after the other: a reply file serves one model at a time.
            with kept(answers, replies, screen) as cached:
                items = _answer(plan, examples, verifier, cached, screen)
            drawn = [(item.example.id, draw) for item in items for draw in item.completions]
            if _failed(run, plan, "policy", drawn, screen):
                return 1
            with _keeping(judges, replies, screen) as cached_judge:
                scored = _score(plan, items, cached_judge, screen)
        calls = [
            (item.example.id, call)
            for item, scores in zip(items, scored, strict=True)
            for call in scores.calls
        ]
        if _failed(run, plan, "judge", calls, screen):
            return 1
        return _close(run, plan, items, scored, replies, screen)


def _open(spec: str) -> LanguageModel | ScalarJudge:
    return ScalarJudge(spec) if is_scalar(spec) else load(spec)


def _keeping(
    judge: LanguageModel | ScalarJudge | None, replies: Path, screen: Screen
) -> AbstractContextManager[CachedModel | ScalarJudge | None]:
    """The judge, with its replies kept in a file; rewards are cheap, and are made again."""
    if judge is None or isinstance(judge, ScalarJudge):
        return nullcontext(judge)
    return kept(judge, replies, screen)


def _examples(plan: Plan, task: Task | None) -> list[Example]:
    """The prompts to be answered.

    Raises:
        BadInput: none, or more asked for than there are.
    """
    if task is None:
        assert plan.prompts is not None
        return read_prompts(Path(plan.prompts))[: plan.limit]
    if plan.limit is None:
        return ability_examples(task, split=plan.split, limit=_PROMPTS, seed=plan.seed)
    return list(task.examples(plan.split, plan.limit, plan.seed))


def _answer(
    plan: Plan,
    examples: Sequence[Example],
    task: Task | None,
    policy: CachedModel,
    screen: Screen,
) -> list[Item]:
    with screen.progress(f"{policy.name} answers", len(examples) * plan.samples) as step:
        drawn = policy.generate(
            [example.prompt for example in examples], plan.sampling, watcher=Steps(step)
        )
    if policy.hits:
        screen.note(f"{policy.hits} of {policy.hits + policy.misses} replies were there before")
    return [
        make_item(example, completions, task)
        for example, completions in zip(examples, drawn, strict=True)
    ]


def _score(
    plan: Plan, items: Sequence[Item], judge: CachedModel | ScalarJudge | None, screen: Screen
) -> list[Scored]:
    """Scores of every item; a judge is only asked where there are two replies to compare."""
    if judge is None:
        by = verifier_scored if plan.by == "verifier" else partial(random_scored, seed=plan.seed)
        return [by(item) for item in items]
    asked = [(item.example, item.replies) for item in items if len(item.replies) > 1]
    counts = [len(replies) for _, replies in asked]
    if isinstance(judge, ScalarJudge):
        with screen.progress(f"{judge.name} rewards", sum(counts)) as step:
            made = iter(rewarded(judge, asked, watcher=Steps(step)))
        return _with_single(items, made)
    judging = plan.judging(judge)
    calls = sum(n if plan.mode == "pointwise" else n * (n - 1) for n in counts)
    with screen.progress(f"{judge.name} judges", calls * plan.judge_samples) as step:
        if isinstance(judging, PairwiseJudge):
            made = iter(round_robin(judging, asked, watcher=Steps(step)))
        else:
            made = iter(ratings(judging, asked, watcher=Steps(step)))
    if judge.hits:
        screen.note(f"{judge.hits} of {judge.hits + judge.misses} judgments were there before")
    return _with_single(items, made)


def _with_single(items: Sequence[Item], made: Iterator[Scored]) -> list[Scored]:
    return [next(made) if len(item.replies) > 1 else Scored([]) for item in items]


def _failed(
    run: Run, plan: Plan, who: str, calls: Sequence[tuple[str, Completion | Call]], screen: Screen
) -> bool:
    """Whether too many calls brought no reply; then the run has failed, and says how to go on."""
    lost = [(prompt, call) for prompt, call in calls if call.finish == "error"]
    if not below_floor(len(lost), len(calls), plan.min_coverage):
        return False
    what = f"{len(lost)} of {len(calls)} calls of the {who} brought no reply"
    what += f" ({lost_calls(call for _, call in lost)}), the first at prompt {lost[0][0]}"
    run.close("failed", what)
    retry = f"go on with: {again(run)}"
    budget: str | None = "--max-tokens" if who == "policy" else "--judge-max-tokens"
    if who == "judge" and is_scalar(plan.judge or ""):
        budget = None  # a reward head writes nothing
    kinds = lost_kinds(call for _, call in lost)
    screen.warn(f"{what}; {remedy(kinds, retry, budget=budget)}")
    screen.close({"transport": len(lost), "calls": len(calls)}, run=run.path)
    return True


def _close(
    run: Run,
    plan: Plan,
    items: Sequence[Item],
    scored: Sequence[Scored],
    replies: Path,
    screen: Screen,
) -> int:
    _check_coverage(plan, items, scored, replies)
    drops, rows = Drops(), []
    for item, scores in zip(items, scored, strict=True):
        found = choose(item, scores, by=plan.by, margin=plan.margin)
        if isinstance(found, Pair):
            rows.append(row(item, found, plan.labels))
        else:
            drops.add(found, [item.example.id])
    if not rows:
        why = ", ".join(f"{reason} {count}" for reason, count in drops.counts.items())
        raise BadInput(
            f"none of {len(items)} prompts brings a pair ({why}), the first is "
            f"{items[0].example.id}",
            where=plan.task or plan.prompts or "",
            fix=_more_pairs(plan, items, replies),
        )
    files = write_rows(Path(plan.out), "dpo", rows, drops)
    summary = {"by": plan.by, "mode": plan.mode} | summarize(items, scored, rows, drops)
    _record(run, items, scored, rows, drops)
    run.finish(**summary)
    write_report(run, summary, rows, policy=plan.policy, judge=plan.judge or plan.by)
    show(summary, screen)
    # What an endpoint serves is trained from its checkpoint, whose place nobody told.
    local = plan.policy.startswith(("hf:", "embedded:"))
    policy = plan.policy.partition("?")[0] if local else "hf:CHECKPOINT-OF-THE-POLICY"
    improve = command("planish", "rise", "improve", "--policy", policy, "--pairs", plan.out)
    screen.close(
        {**summary, "files": [str(path) for path in files]},
        run=run.path,
        report=run.report_path,
        then=[f"{improve} --task {command(plan.task or 'TASK')} --out BETTER"],
    )
    return 0


def _more_pairs(plan: Plan, items: Sequence[Item], replies: Path) -> str:
    """What helps where no prompt brought a pair."""
    drawn = [draw for item in items for draw in item.completions]
    cut = sum(draw.finish == "length" for draw in drawn)
    if 2 * cut > len(drawn):
        return f"raise --max-tokens ({plan.max_tokens}): {cut} of {len(drawn)} replies were cut"
    return (
        "draw more --samples at a higher --temperature, or lower --margin, with "
        f"--cache {replies}, which pays for no call twice"
    )


def _check_coverage(
    plan: Plan, items: Sequence[Item], scored: Sequence[Scored], replies: Path
) -> None:
    total = sum(len(scores.judgments) for scores in scored)
    used = sum(scores.num_scored for scores in scored)
    if below_floor(total - used, total, plan.min_coverage):
        first = next(i for i, scores in enumerate(scored) if scores.unread)
        scalar = is_scalar(plan.judge or "")
        by_duels = plan.mode == "duels" and not scalar
        what = "duels cannot be read in both orders" if by_duels else "are unrated"
        change = "use another head" if scalar else "change --template or --judge-max-tokens"
        raise BadInput(
            f"{total - used} of {total} {what} (coverage {used / total:.3f}, floor "
            f"{plan.min_coverage:g}), the first is of prompt {items[first].example.id}: "
            f"{scored[first].unread}",
            where=plan.judge or "",
            fix=f"{change}, or lower --min-coverage with --cache {replies}, which pays for no call "
            "twice",
        )


def _record(
    run: Run,
    items: Sequence[Item],
    scored: Sequence[Scored],
    rows: Sequence[Mapping[str, Any]],
    drops: Drops,
) -> None:
    """One line per prompt: what was drawn, what it scored, and why there is no row."""
    used = {row["item_id"] for row in rows}
    why = {item_id: reason for reason, ids in drops.ids.items() for item_id in ids}
    for item, scores in zip(items, scored, strict=True):
        if not run.done(item.example.id, "prompt"):
            run.record(
                "prompt",
                {
                    "row": item.example.id in used,
                    "dropped": why.get(item.example.id),
                    "verified": item.verified,
                    "replies": [reply.samples for reply in item.replies],
                    "scores": scores.scores,
                },
                id=item.example.id,
            )
