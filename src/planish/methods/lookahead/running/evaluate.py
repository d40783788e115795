"""Stage `evaluate`: every arm at equal bytes over the same documents.

planish lookahead evaluate --model hf:./checkpoint --indexer indexer --task recall:ruler:2048
planish lookahead evaluate --model embedded:recall --task recall:vt --fractions 0.05,0.1,0.25
planish lookahead evaluate --model hf:./checkpoint --task recall --arms recency,snapkv,oracle,dense
planish lookahead evaluate --resume last

A run that was stopped goes on where it was; what was decoded is not decoded again. The page shows
accuracy against bytes, where the arms lose, and which chunks were there when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from planish.methods.lookahead.evaluate.settings import ARMS, Settings
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.options import RUNS, Count, Json, RunsDir, Seed
from planish.runs.presets import regiven
from planish.runs.store import find

if TYPE_CHECKING:
    from planish.methods.lookahead.evaluate.bench import Bench
    from planish.methods.lookahead.evaluate.documents import Document
    from planish.methods.lookahead.evaluate.summary import Summary
    from planish.models.local import LocalModel

__all__ = ["AGAIN", "Plan", "evaluate"]

AGAIN = "planish lookahead evaluate --resume"
EXAMPLES, FRACTIONS = 26, (0.05, 0.1, 0.135, 0.25)

_Several = Parameter(consume_multiple=True, negative="", show_default=False)
_COMPARED = (
    f"What to compare, by commas or blanks: {', '.join(ARMS)}. By default all, without an indexer "
    "all but lookahead."
)


class Plan(Settings):
    """What determines the numbers: it is kept in run.json, and a resume must match it.

    Args:
        model: as it was named; revision: what that stood for.
        indexer: folder or file of the arm lookahead; indexer_digest: what it held.
        tasks: whose documents are read; split: which of theirs.
        arms, fractions: what is compared.
        examples: documents of each task and seed; seed: the first; seeds: how many.
    """

    model: str
    revision: str = ""
    indexer: str | None = None
    indexer_digest: str = ""
    tasks: tuple[str, ...]
    split: str = "report"
    arms: tuple[str, ...]
    fractions: tuple[float, ...] = FRACTIONS
    examples: int = EXAMPLES
    seed: int = 0
    seeds: int = 1


def evaluate(
    *,
    model: str | None = None,
    indexer: str | None = None,
    task: Annotated[tuple[str, ...], _Several] = (),
    arms: Annotated[tuple[str, ...], _Several, Parameter(help=_COMPARED)] = (),
    fractions: Annotated[tuple[str, ...], _Several] = (),
    examples: Count | None = None,
    seed: Seed | None = None,
    seeds: Count | None = None,
    split: str | None = None,
    config: Settings = Settings(),  # noqa: B008 - frozen
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Decode the same documents under every arm, at equal bytes.

    Args:
        model: hf:PATH-OR-ID or embedded:NAME.
        indexer: Folder of planish lookahead train or a published file; embedded models bring one.
        task: Tasks whose documents are read, such as recall:ruler:2048.
        arms: What to compare.
        fractions: Shares of the dense bytes, digests included; by default 0.05,0.1,0.135,0.25.
        examples: Documents of each task and seed; by default 26.
        seed: The first seed that documents are drawn with; by default 0.
        seeds: How many seeds; by default one.
        split: Of the tasks; report by default.
        resume: Go on with this run (a path, a name, or last).
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    told = {
        "model": model,
        "indexer": None if indexer is None else _named(indexer),
        "tasks": task or None,
        "arms": _names(arms) or None,
        "fractions": _shares(fractions) or None,
        "examples": examples,
        "seed": seed,
        "seeds": seeds,
        "split": split,
    }
    given = {name: value for name, value in told.items() if value is not None}
    screen = Screen(json=json)
    if resume is None:
        return _carry_out(make_plan(given, config), None, runs, screen)
    folder = find(runs, resume).path
    before = config_of(read_info(folder), "lookahead", "evaluate", Plan)
    dials = regiven(before, config, None).model_dump()
    return _carry_out(before.model_copy(update={**dials, **given}), folder, runs, screen)


def _named(indexer: str) -> str:
    """A folder by its whole path; one that ships in the package by its name."""
    return indexer if indexer.partition(":")[0] == "embedded" else str(Path(indexer).resolve())


def _names(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for word in words for name in word.split(",") if name)


def _shares(words: Sequence[str]) -> tuple[float, ...]:
    try:
        shares = tuple(sorted(float(name) for name in _names(words)))
    except ValueError as error:
        raise BadInput(str(error), where="--fractions", fix="write 0.05,0.1,0.25") from None
    if wrong := [share for share in shares if not 0 < share <= 1]:  # what is no number, too
        raise BadInput(f"{wrong[0]:g} is no share", where="--fractions", fix="use 0.05, 0.1, ...")
    return shares


def make_plan(given: dict[str, Any], config: Settings) -> Plan:
    """The plan that the options make.

    Raises:
        BadInput: no model or task is named; an arm or a share that cannot be; the arm lookahead
            without an indexer.
    """
    from planish.methods.lookahead.evaluate.bench import plays
    from planish.models.memory.loading import shipped_indexer

    for name, option, example in (
        ("model", "--model", "hf:./checkpoint"),
        ("tasks", "--task", "recall:ruler:2048"),
    ):
        if name not in given:
            raise BadInput(
                "is missing",
                where=option,
                fix=f"give {option} {example}, or --resume RUN to go on with a run",
            )
    shipped = shipped_indexer(given["model"])
    if shipped and "indexer" not in given:
        given = given | {"indexer": shipped}
    if "arms" not in given:
        given = given | {"arms": _arms(given.get("indexer"))}
    if "lookahead" in given["arms"] and "indexer" not in given:
        raise BadInput(
            "the arm lookahead has none",
            where="--indexer",
            fix="give --indexer DIR, or other --arms",
        )
    plan = Plan(**config.model_dump(), **given)
    plays(plan.arms, plan.fractions)
    return plan


def _arms(indexer: str | None) -> tuple[str, ...]:
    """Those that are compared where none are named."""
    return ARMS[1:] if indexer is None else ARMS


def _carry_out(plan: Plan, folder: Path | None, runs: Path, screen: Screen) -> int:
    from planish.judges.resumable import resumable
    from planish.methods.lookahead.evaluate.bench import Bench
    from planish.methods.lookahead.evaluate.evaluating import drawn
    from planish.tasks.load import load_task

    tasks = [load_task(name) for name in plan.tasks]
    local = _load(plan.model)
    plan = _for_this_model(plan, local, screen)
    path = _indexer(plan)
    indexer = None
    if path is not None:
        from planish.models.memory.indexer import MemoryIndexer

        indexer = MemoryIndexer.from_pretrained(path)
        plan = plan.model_copy(update={"indexer_digest": _digest(path)})
    plan = plan.model_copy(update={"revision": local.revision})
    bench = Bench(
        local.model,
        local.tokenizer,
        indexer=indexer,
        settings=Settings(**{name: getattr(plan, name) for name in Settings.model_fields}),
        eos_ids=local.checkpoint.eos_ids,
    )
    found = drawn(
        bench,
        tasks,
        plan.arms,
        split=plan.split,
        number=plan.examples,
        seeds=range(plan.seed, plan.seed + plan.seeds),
        where=plan.model,
    )
    _check_lengths(found, local)
    if folder is None:
        slug = f"evaluate-{plan.model[-28:]}"
        made = Run.create(
            "lookahead", slug, plan, seed=plan.seed, root=runs, stage="evaluate", again=AGAIN
        )  # fmt: skip
    else:
        # How many at once changes no answer; milliseconds and allocated bytes are of the batch.
        made = Run.resume(folder, plan, ignore={"batch_size", "indexer", "piece_tokens"})
    with made, resumable(made, screen):
        _decode(plan, bench, found, made, screen)
        return _close(plan, bench, made, screen)


def _for_this_model(plan: Plan, local: LocalModel, screen: Screen) -> Plan:
    """Of all arms those that the model can play; what was named is left to be refused."""
    from planish.methods.lookahead.evaluate.compressed import THERE
    from planish.models.memory.native_topk import is_deepseek

    if not is_deepseek(local.model) or plan.arms != _arms(plan.indexer):
        return plan
    there = tuple(arm for arm in plan.arms if arm in THERE)
    rest = ", ".join(arm for arm in plan.arms if arm not in THERE)
    screen.note(f"not for DeepSeek-V4, whose compressed entries only an indexer reads: {rest}")
    return plan.model_copy(update={"arms": there})


def _indexer(plan: Plan) -> Path | None:
    """Where it lies, if it is asked for: by its arm, or for its chunk size where none is told."""
    from planish.models.memory.loading import indexer_path

    if plan.indexer is None or ("lookahead" not in plan.arms and plan.chunk_tokens is not None):
        return None
    return indexer_path(plan.indexer)


def _load(spec: str) -> LocalModel:
    from planish.models.load import load
    from planish.models.local import LocalModel

    found = load(spec)
    if not isinstance(found, LocalModel):
        raise BadInput(
            "its attention cannot be looked at", where=spec, fix="use hf:PATH or embedded:recall"
        )
    return found


def _check_lengths(found: Sequence[Document], local: LocalModel) -> None:
    most = local.checkpoint.max_positions
    for document in found:
        wanted = len(document.prompt_ids) + document.max_tokens
        if most is not None and wanted > most:
            raise BadInput(
                f"prompt and reply are {wanted} tokens, the model takes {most}",
                where=document.id,
                fix="use a shorter task or a smaller --max-tokens",
            )


def _digest(path: Path) -> str:
    """Of all that an indexer consists of."""
    whole = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        if file.suffix in (".safetensors", ".json"):
            whole.update(file.name.encode() + b"\0" + file.read_bytes())
    return whole.hexdigest()[:16]


def _decode(plan: Plan, bench: Bench, found: Sequence[Document], made: Run, screen: Screen) -> None:
    """Decodes what is not there yet; every outcome is kept the moment it is known."""
    from planish.methods.lookahead.evaluate.bench import plays
    from planish.methods.lookahead.evaluate.documents import batches
    from planish.methods.lookahead.evaluate.evaluating import run_batch
    from planish.methods.lookahead.evaluate.outcomes import OUTCOME, TRACE

    wanted = plays(plan.arms, plan.fractions)
    done = made.done_ids(OUTCOME)
    total = len(found) * len(wanted)
    if done:
        screen.note(f"{len(done)} of {total} were there before")
    families: set[str] = set()
    with screen.progress(f"{plan.model} decodes", total - len(done)) as step:
        for batch in batches(found, plan.batch_size):
            # One document of each family is drawn.
            traced = batch[0].family not in families
            families.add(batch[0].family)
            for outcome, trace in run_batch(bench, batch, wanted, done=done, traced=traced):
                if trace is not None:
                    made.record(TRACE, trace, id=outcome.id)
                made.record(OUTCOME, outcome, id=outcome.id)
                step()


def _close(plan: Plan, bench: Bench, made: Run, screen: Screen) -> int:
    from planish.methods.lookahead.evaluate.compressed import COUNTED
    from planish.methods.lookahead.evaluate.outcomes import OUTCOME, TRACE, Outcome, Trace
    from planish.methods.lookahead.evaluate.summary import Summary
    from planish.methods.lookahead.showing import report, show

    outcomes = {each.id: each for each in made.records(OUTCOME, Outcome)}
    traces = list(
        {(t.arm, t.fraction, t.document_id): t for t in made.records(TRACE, Trace)}.values()
    )
    summary = Summary(outcomes.values(), seed=plan.seed)
    numbers = {
        "model": plan.model,
        "tasks": list(plan.tasks),
        **_accuracies(summary),
        **summary.numbers(),
    }
    if all(each.correct is None for each in outcomes.values()):
        made.close("failed", "no answer could be scored")
        for why, count in summary.reasons().items():
            screen.warn(f"{count} answers have no score: {why}")
        screen.close(numbers, run=made.path)
        return 1
    made.finish(**numbers)
    show(screen, summary)
    if bench.compressed:
        screen.say(COUNTED)
    tiny, page = plan.model.startswith("embedded:"), ""
    try:
        whole = report(summary, traces, plan.model, run=made, tiny=tiny)
        if bench.compressed:
            whole.section("What the bytes count", f"For this model {COUNTED}.")
        whole.save(made.report_path)
        page = str(made.report_path)
    finally:  # a page that cannot be made hides no number, with --json either
        then = _then(plan, made.path, bench.chunk_tokens)
        screen.close(numbers, run=made.path, report=page, then=[then])
    return 0


def _accuracies(summary: Summary) -> dict[str, Any]:
    """Flat, so that runs can be compared."""
    return {
        "accuracy_dense" if arm == "dense" else f"accuracy_{arm}_{fraction:g}": summary.accuracy(
            arm, fraction
        )
        for arm, fraction in summary.cells()
    }


def _then(plan: Plan, run: Path, chunk_tokens: int) -> str:
    """The same with decisions twice as often; where they cannot be more often, a closer look.

    An indexer that no arm asks is not named; what it gave then, the size of chunks, is.
    """
    from planish.models.memory.loading import shipped_indexer

    if plan.interval == 1:
        return command("planish", "runs", "show", run)
    words: list[object] = ["planish", "lookahead", "evaluate", "--model", plan.model]
    words += ["--task", *plan.tasks]
    if "lookahead" in plan.arms:
        words += ["--indexer", plan.indexer]
    elif plan.indexer is not None:
        plan = plan.model_copy(update={"chunk_tokens": chunk_tokens})
    usual = {name: field.default for name, field in Plan.model_fields.items()}
    usual["arms"] = _arms(plan.indexer if "lookahead" in plan.arms else shipped_indexer(plan.model))
    told = {"model", "tasks", "indexer", "interval", "revision", "indexer_digest"}
    for name, value in plan.model_dump(exclude=told).items():
        option = name.replace("_", "-")
        if value == usual[name]:
            continue
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", ",".join(map(str, value)) if type(value) is tuple else value]
    return command(*words, "--interval", plan.interval // 2)
