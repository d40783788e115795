"""Stage `run`: asks a model every question of a bench, with each picture and without one.

planish vfaith run --model hf:./checkpoint --bench bench
planish vfaith run --model openai:MODEL-2025-01-31@http://localhost:8000/v1 --bench bench
planish vfaith run --model openai:MODEL --unpinned --bench bench --arms raw edited
planish vfaith run --resume runs/vfaith/20250102-030405-run-checkpoint

The run folder keeps every reply twice: as it came, before anything is decided by it
(`artifacts/replies.jsonl`), and as it was read (`records.jsonl`). A run that was stopped goes on
where it was, and makes no finished call again; `planish vfaith score` tells what the replies mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from planish.methods.vfaith.bench import Bench, read_bench
from planish.methods.vfaith.config import Asking
from planish.methods.vfaith.data import ARMS, Arm
from planish.methods.vfaith.running.pages import show, write_report
from planish.methods.vfaith.running.pinning import check_pinned, loose
from planish.methods.vfaith.running.planted import load_model
from planish.methods.vfaith.running.prompts import picture_of, prompt
from planish.methods.vfaith.running.records import (
    RESPONSE,
    Call,
    Seen,
    Tally,
    calls_of,
    respond,
    scores,
    seen,
    tally,
)
from planish.methods.vfaith.usable import chosen
from planish.methods.vfaith.verifying.independence import check_not_verifier
from planish.models.base import LanguageModel, Watcher
from planish.records import BadInput, Completion
from planish.runs import Run, read_rows
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, regiven, resolve
from planish.runs.store import find

__all__ = ["AGAIN", "CHUNK", "ROUNDS", "Plan", "run"]

AGAIN = "planish vfaith run --resume"

CHUNK = 256
"""Calls that are handed over at once: no more pictures than these are ever in memory."""

ROUNDS = 256
"""To an endpoint so many rounds of its calls in flight: it opens a picture when it sends it, and
is idle only while the last calls of a chunk are out."""

# Change no reply; a bench may have been moved, its digest tells whether it is the same.
_FREE = frozenset({"bench", "cache", "retries", "min_coverage", "unpinned"})
_Several = Parameter(consume_multiple=True, negative="")


class Plan(Asking):
    """What determines the replies: it is kept in run.json, and a resume must match it.

    Args:
        model: as it was named; revision: what that stood for.
        bench: its folder; bench_digest: what it held.
        arms: that are asked, in the order of `data.ARMS`.
        limit: pairs at most.
        cache: a reply cache that runs share; None: the run's own.
        unpinned: the model's name may stand for another model tomorrow, and whoever asked knew.
    """

    model: str
    revision: str = ""
    bench: str
    bench_digest: str = ""
    arms: tuple[Arm, ...] = ARMS
    limit: int | None = None
    cache: str | None = None
    unpinned: bool = False


def run(
    *,
    model: str | None = None,
    bench: Path | None = None,
    arms: Annotated[tuple[Arm, ...], _Several] = (),
    preset: Preset | None = None,
    config: Asking = Asking(),  # noqa: B008 - frozen
    limit: Count | None = None,
    resume: str | None = None,
    cache: Path | None = None,
    unpinned: Annotated[bool, Parameter(negative="")] = False,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Ask a model every question of a bench, with each picture and without one.

    Args:
        model: hf:PATH-OR-ID, openai:NAME@URL, embedded:viewer-NAME, replay:FILE, or a model with
            a known fault: planted:oracle, random, position, memory, cached, blind or sheet.
        bench: Folder that planish vfaith build made.
        arms: What to ask; by default all: the question with each picture and with none (text),
            and whether the changed thing is seen at all (perception_raw, perception_edited).
        preset: Settings to start from; single options override them. Embedded models get tiny.
        limit: At most so many pairs, of every family in proportion.
        resume: Go on with this run (a path, a name, or last); no finished call is made again.
        cache: A reply cache to share between runs; by default each run has its own.
        unpinned: Ask a model whose name may stand for another one tomorrow (a server's without a
            date, one on the Hub); its scores are marked.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    told = {
        "model": model,
        "bench": None if bench is None else str(bench.resolve()),
        "arms": tuple(arm for arm in ARMS if arm in arms) or None,
        "limit": limit,
        "cache": None if cache is None else str(cache.resolve()),
    }
    given = {name: value for name, value in told.items() if value is not None}
    folder = None if resume is None else find(runs, resume).path
    if folder is None:
        plan = make_plan(given, config, preset, unpinned=unpinned)
    else:
        before = config_of(read_info(folder), "vfaith", "run", Plan)
        dials = regiven(before, config, preset)
        plan = before.model_copy(update={**dials.model_dump(), **given})
    return _carry_out(plan, folder, runs, Screen(json=json))


def make_plan(
    given: Mapping[str, Any],
    config: Asking,
    preset: Preset | None = None,
    *,
    unpinned: bool = False,
) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Args:
        unpinned: takes a model that is not pinned.

    Raises:
        BadInput: no model or no bench is named, or a model that is not pinned.
    """
    for name, example in (("model", "hf:./checkpoint"), ("bench", "DIR")):
        if name not in given:
            raise BadInput(
                "is missing",
                where=f"--{name}",
                fix=f"give --{name} {example}, or --resume RUN to go on with a run",
            )
    if preset is None and given["model"].startswith("embedded:"):
        preset = "tiny"
    if not unpinned:
        check_pinned(given["model"])
    dials = resolve(preset, config).model_dump()
    return Plan(**dials, **given, unpinned=bool(loose(given["model"])))


def _carry_out(plan: Plan, folder: Path | None, runs: Path, screen: Screen) -> int:
    from planish.judges.resumable import kept, resumable

    bench = read_bench(plan.bench)
    check_not_verifier(bench, plan.model)
    if folder is not None and bench.digest != plan.bench_digest:
        raise BadInput(
            "its pairs have changed since the run began", where=plan.bench, fix="start a new run"
        )
    calls = calls_of(chosen(bench.pairs, plan.limit), plan.arms)
    _check(bench, calls, plan, screen)
    model = load_model(plan.model, bench)
    check_not_verifier(bench, plan.model, model.revision)
    plan = plan.model_copy(update={"revision": model.revision, "bench_digest": bench.digest})
    if folder is None:
        slug = f"run-{plan.model.partition('@')[0].partition('?')[0][-28:]}"
        made = Run.create(
            "vfaith", slug, plan, seed=plan.seed, root=runs, stage="run", again=AGAIN
        )  # fmt: skip
    else:
        made = Run.resume(folder, plan, ignore=_FREE)
    with made, resumable(made, screen):
        if plan.unpinned:
            screen.note(f"{plan.model} is not pinned: its scores will be marked")
        replies = plan.cache or made.artifact("replies.jsonl")
        with kept(model, replies, screen) as cached:
            stage = _Stage(plan, made, bench, cached, getattr(model, "in_flight", None), screen)
            stage.ask(calls)
        return _close(stage, calls)


def _check(bench: Bench, calls: Sequence[Call], plan: Plan, screen: Screen) -> None:
    """Looks at every prompt and every picture before the first call is paid for."""
    for arm in plan.arms:
        if not any(call.arm == arm for call in calls):
            screen.note(f"no pair of this bench can be asked in the arm {arm}")
    if not calls:
        raise BadInput(
            f"no pair can be asked in the arms {', '.join(plan.arms)}",
            where=str(bench.folder),
            fix="choose other --arms",
        )
    for call in calls:
        prompt(*call)
        picture = picture_of(call.pair, call.arm)
        if picture is not None:
            bench.path(picture)


# ---- asking ----------------------------------------------------------------------------------


@dataclass
class _Stage:
    """A run under way.

    Args:
        model: with every reply kept.
        in_flight: calls that an endpoint has at once; None for a model in this process.
        found: what came so far, by the ids of the records.
    """

    plan: Plan
    run: Run
    bench: Bench
    model: LanguageModel
    in_flight: int | None
    screen: Screen
    found: dict[str, Seen] = field(default_factory=dict)
    lost: dict[str, tuple[Call, int, Completion]] = field(default_factory=dict)

    def ask(self, calls: Sequence[Call]) -> None:
        """Makes every call that is not yet answered; those that are lost again at the end."""
        self.found = seen(self.run)
        repeats = range(self.plan.repeats)
        todo = [call for call in calls if not all(self.has(call.id(each)) for each in repeats)]
        total = len(calls) * self.plan.repeats
        left = sum(not self.has(call.id(each)) for call in todo for each in repeats)
        if left < total:
            self.screen.note(f"{total - left} of {total} replies were there before")
        self._make(todo, left, f"{self.plan.model} answers")
        for _ in range(self.plan.retries):
            # A prompt that does not fit will not fit the next time.
            again = {
                call.id(0): call for call, _, why in self.lost.values() if _kind(why) != "context"
            }
            if not again:
                break
            self._make(list(again.values()), len(self.lost), f"{self.plan.model} is asked again")
        for id, (call, repeat, completion) in self.lost.items():
            if id not in self.found:  # an earlier visit may have told it already
                self._record(id, call, repeat, completion)

    def has(self, id: str) -> bool:
        """Whether a reply came; what was lost is asked for again."""
        return id in self.found and self.found[id].outcome != "error"

    def _make(self, calls: Sequence[Call], left: int, what: str) -> None:
        sampling = self.plan.sampling()
        size = CHUNK if self.in_flight is None else ROUNDS * self.in_flight
        with self.screen.progress(what, left) as step:
            for first in range(0, len(calls), size):
                part = calls[first : first + size]
                chats = [call.chat(self.bench) for call in part]
                self.model.generate(chats, sampling, watcher=_Keeper(self, part, step))

    def keep(self, call: Call, repeat: int, completion: Completion) -> bool:
        """Reads a reply and writes it down; False for one that was there."""
        id = call.id(repeat)
        if self.has(id):
            return False
        if completion.finish == "error":
            self.lost[id] = call, repeat, completion
            return True
        self.lost.pop(id, None)
        self._record(id, call, repeat, completion)
        return True

    def _record(self, id: str, call: Call, repeat: int, completion: Completion) -> None:
        key = call.key(self.model, self.plan.sampling(), repeat)
        reply = respond(call, completion, key=key, model=self.model, repeat=repeat)
        self.run.record(RESPONSE, reply, id=id)
        self.found[id] = Seen(reply.outcome, reply.completion_tokens)


class _Keeper(Watcher):
    """Writes every reply down the moment it comes."""

    def __init__(self, stage: _Stage, calls: Sequence[Call], step: Callable[[], None]) -> None:
        self.stage, self.calls, self.step = stage, calls, step

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        if self.stage.keep(self.calls[chat], sample, completion):
            self.step()


def _kind(completion: Completion) -> str:
    return completion.failures[-1].kind if completion.failures else "unknown"


# ---- the end ---------------------------------------------------------------------------------


def _close(stage: _Stage, calls: Sequence[Call]) -> int:
    from planish.judges.recording import below_floor
    from planish.judges.resumable import again

    plan, made, screen = stage.plan, stage.run, stage.screen
    counted = tally(calls, plan.repeats, stage.found, max_tokens=plan.max_tokens)
    summary = _summary(plan, counted)
    for line in _warnings(stage, counted, again(made)):
        screen.warn(line)
    if below_floor(counted.count("error"), counted.calls, plan.min_coverage):
        made.close("failed", f"{counted.count('error')} of {counted.calls} calls brought no reply")
        screen.close(summary, run=made.path)
        return 1
    _keep_scores(stage, calls)
    made.finish(**summary)
    write_report(made, plan.model, counted, plan.min_coverage)
    show(screen, counted, plan.min_coverage)
    screen.close(summary, run=made.path, report=made.report_path, then=_then(made.path))
    return 0


def _summary(plan: Plan, counted: Tally) -> dict[str, Any]:
    covered = counted.coverage >= plan.min_coverage
    return {
        "model": plan.model,
        "revision": plan.revision,
        "pinned": not plan.unpinned,
        "bench": plan.bench,
        "bench_digest": plan.bench_digest,
        "pairs": counted.pairs,
        "usable": counted.usable,
        "coverage": counted.coverage,
        "calls": counted.calls,
        "unparsed": counted.count("unparsed"),
        "errors": counted.count("error"),
        "acc_raw": counted.acc_raw if covered else None,
        "acc_edited": counted.acc_edited if covered else None,
        "arms": {arm: dict(counts) for arm, counts in counted.arms.items()},
        "items": {arm: dict(counts) for arm, counts in counted.items.items()},
    }


def _warnings(stage: _Stage, counted: Tally, resume: str) -> Iterator[str]:
    from planish.judges.recording import lost_calls, lost_kinds, remedy

    lost = [completion for _, _, completion in stage.lost.values()]
    if lost:
        helps = remedy(
            lost_kinds(lost), f"to ask for them again: {resume}", budget="--max-tokens"
        )  # fmt: skip
        yield f"{len(lost)} of {counted.calls} calls brought no reply ({lost_calls(lost)}); {helps}"
    if counted.cut:
        yield (
            f"{counted.cut} of {counted.count('unparsed')} unparsed replies were cut at "
            f"{stage.plan.max_tokens} tokens: raise --max-tokens in a new run"
        )


def _keep_scores(stage: _Stage, calls: Sequence[Call]) -> None:
    """Right or wrong by pair: `planish runs compare` pairs by it."""
    before = {row.id: row.data for row in read_rows(stage.run.path, "score")}
    pairs = [call for call in calls if call.pair.kind == "pair"]
    for pair_id, values in scores(pairs, stage.plan.repeats, stage.found).items():
        if before.get(pair_id) != values:
            stage.run.record("score", values, id=pair_id)


def _then(folder: Path) -> list[str]:
    return [command("planish", "vfaith", "score", folder)]
