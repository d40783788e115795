"""Stage `dump`: everything that training needs of a backbone, taken once.

planish lookahead dump --model hf:./checkpoint --task recall:ruler:2048 --out dump
planish lookahead dump --model hf:./checkpoint --documents corpus.jsonl --out dump --max-gigabytes 4
planish lookahead dump --model hf:./checkpoint --task recall:ruler:2048 --out dump --resume

It is the only step that loads the backbone. A dump that was stopped or killed goes on where it
was (`--resume`), by document; one that reaches its cap says so, and can be trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from planish.methods.lookahead.config import Dumping
from planish.methods.lookahead.dumping.places import check_place
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.options import RUNS, Count, Json, RunsDir
from planish.runs.presets import Preset, resolve

if TYPE_CHECKING:
    from planish.methods.lookahead.data import Header
    from planish.methods.lookahead.dumping.folder import Writer
    from planish.methods.lookahead.dumping.reading import Item, Skipped
    from planish.models.local import LocalModel
    from planish.models.memory.backbone import Backbone

__all__ = ["Plan", "dump"]

DOCUMENTS = 200
"""Examples of a task that are dumped where nothing else is said."""

_GIGABYTE = 1_000_000_000
_Gigabytes = Annotated[float, Parameter(validator=Number(gt=0))]


class Plan(Dumping):
    """What determines a dump.

    Args:
        model: as it was named. task or documents: where the documents come from.
        max_bytes: cap on the dump's folder.
    """

    model: str
    task: str | None = None
    documents: str | None = None
    split: str = "train"
    limit: int | None = None
    out: str
    max_bytes: int | None = None


def dump(
    *,
    model: str | None = None,
    task: str | None = None,
    documents: Path | None = None,
    out: Path | None = None,
    split: str = "train",
    limit: Count | None = None,
    max_gigabytes: _Gigabytes | None = None,
    preset: Preset | None = None,
    config: Dumping = Dumping(),  # noqa: B008 - frozen
    resume: Annotated[bool, Parameter(negative="")] = False,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Take hidden states, chunk features and attention mass of a backbone, once.

    Args:
        model: hf:PATH-OR-ID or embedded:NAME.
        task: Examples of this task are the documents, such as recall:ruler:2048.
        documents: Or a JSON Lines file with {"text": ...} on each line.
        out: Folder of the dump; it must not hold one yet, unless it goes on.
        split: train, gate or report; what is trained on is never reported on.
        limit: At most so many documents; by default 200 of a task, all of a file.
        max_gigabytes: Cap on the folder; the document that would pass it is refused whole.
        preset: Settings to start from; single options override them. Embedded models get tiny.
        resume: Go on with the dump in this folder; no finished document is done again.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    if preset is None and (model or "").startswith("embedded:"):
        preset = "tiny"
    plan = _plan(model, task, documents, out, split, limit, max_gigabytes, preset, config)
    check_place(Path(plan.out), goes_on=resume)
    dials = [] if preset is None else ["--preset", preset]
    then = ["planish", "lookahead", "train", "--dump", plan.out, "--out", "indexer", *dials]
    dials += [word for name in sorted(config.model_fields_set) for word in _typed(config, name)]
    again = [*_again(plan, runs), *dials, "--resume"]
    rule = preset == "tiny"
    return _carry_out(plan, runs, Screen(json=json), command(*again), then, rule_needs=rule)


def _rule(plan: Plan) -> tuple[str, ...]:
    """The preset tiny asks what documents need: where none of them tells, another rule serves."""
    from planish.methods.lookahead.dumping.reading import Skipped

    told = plan.task is not None and any(
        item.needs and all(begin >= 0 for _, begin, _ in item.needs)
        for item in _items(plan, Skipped())
    )
    return () if told else ("--rule", "head")


def _typed(config: Dumping, name: str) -> tuple[str, str]:
    return f"--{name.replace('_', '-')}", str(getattr(config, name))


def _again(plan: Plan, runs: Path) -> Iterator[str]:
    """The command of a dump without its dials."""
    yield from ("planish", "lookahead", "dump", "--model", plan.model)
    yield from ("--task", plan.task) if plan.task else ("--documents", plan.documents or "")
    yield from ("--out", plan.out, "--split", plan.split)
    if plan.limit is not None:
        yield from ("--limit", str(plan.limit))
    if plan.max_bytes is not None:
        yield from ("--max-gigabytes", str(plan.max_bytes / _GIGABYTE))
    yield from ("--runs", str(runs))


def _plan(
    model: str | None,
    task: str | None,
    documents: Path | None,
    out: Path | None,
    split: str,
    limit: int | None,
    max_gigabytes: float | None,
    preset: Preset | None,
    config: Dumping,
) -> Plan:
    from planish.tasks.base import check_draw

    for name, value, example in (("model", model, "hf:./checkpoint"), ("out", out, "dump")):
        if value is None:
            raise BadInput("is missing", where=f"--{name}", fix=f"give --{name} {example}")
    if task is not None and documents is not None:
        raise BadInput("are both given", where="--task and --documents", fix="leave one out")
    if task is None and documents is None:
        raise BadInput(
            "one of --task and --documents is needed", where="documents", fix="give --task recall"
        )
    check_draw(split, 0, where="--split")
    return Plan(
        **resolve(preset, config).model_dump(),
        model=model or "",
        task=task,
        documents=None if documents is None else str(documents.resolve()),
        split=split,
        limit=limit or (DOCUMENTS if task else None),
        out=str(out),
        max_bytes=None if max_gigabytes is None else round(max_gigabytes * _GIGABYTE),
    )


def _carry_out(
    plan: Plan, runs: Path, screen: Screen, again: str, then: list[str], *, rule_needs: bool
) -> int:
    from planish.judges.resumable import resumable
    from planish.methods.lookahead.dumping.attending import projections
    from planish.methods.lookahead.dumping.entries import native_weights
    from planish.methods.lookahead.dumping.folder import Writer
    from planish.methods.lookahead.dumping.reading import local_model
    from planish.models.memory.backbone import Backbone
    from planish.models.memory.entries import Entries
    from planish.models.memory.native_topk import is_deepseek

    total = _count(plan)
    model = local_model(plan.model)
    backbone = Entries(model.model) if is_deepseek(model.model) else Backbone.of(model.model)
    if isinstance(backbone, Entries) and plan.chunk_tokens != backbone.chunk_tokens:
        screen.note(f"chunks are of {backbone.chunk_tokens} tokens, as the model has them")
    header = make_header(plan, backbone, model.revision)
    slug = f"dump-{Path(plan.out).name}"
    run = Run.create("lookahead", slug, plan, seed=plan.seed, root=runs, stage="dump")
    with run, resumable(run, screen, again), Writer(Path(plan.out), header) as writer:
        for line in writer.repaired:
            screen.warn(line)
        before = len(writer.done)
        if before:
            screen.note(f"{before} documents are there already")
        writer.keep_projections(
            native_weights(backbone, header.layers)
            if isinstance(backbone, Entries)
            else projections(backbone, header.layers)
        )
        skipped, tokens = _dump_all(plan, model, backbone, writer, screen, total)
        if not writer.done:
            raise BadInput("no document could be sampled", where=plan.out, fix="use longer ones")
        summary = {
            "documents": len(writer.done),
            "documents_before": before,
            "documents_skipped": skipped.total,
            "tokens_added": tokens,
            "bytes": writer.bytes,
        }
        run.finish(**summary)
    screen.numbers(summary, title=f"{plan.model}: {plan.task or plan.documents}")
    then += _rule(plan) if rule_needs else ()
    screen.close({**summary, "out": plan.out}, run=run.path, then=[command(*then)])
    return 0


def make_header(plan: Plan, backbone: Backbone, revision: str) -> Header:
    """What all documents of the dump will have in common."""
    from planish.methods.lookahead.data import Header
    from planish.models.memory.digests import RECORD_BYTES
    from planish.models.memory.entries import Entries

    own = isinstance(backbone, Entries)
    wide = 3 if plan.pooling == "mean-min-max" else 1
    return Header(
        model=plan.model,
        revision=revision,
        backbone=backbone.fingerprint(),
        layers=spread(backbone.memory_layers, plan.max_layers),
        memory_layers=backbone.memory_layers,
        hidden_size=backbone.hidden_size,
        num_heads=backbone.num_heads,
        num_kv_heads=backbone.num_kv_heads,
        head_dim=backbone.head_dim,
        features=RECORD_BYTES if own else wide * backbone.num_kv_heads * backbone.head_dim,
        keys="own" if own else "pooled",
        chunk_tokens=backbone.chunk_tokens if isinstance(backbone, Entries) else plan.chunk_tokens,
        pooling="mean" if own else plan.pooling,
        dtype=plan.dtype,
        top_chunks=plan.top_chunks,
        continuation=plan.continuation,
        prompt_runs=plan.prompt_runs,
        run_tokens=plan.run_tokens,
        max_bytes=plan.max_bytes,
        task=plan.task or plan.documents or "",
        split=plan.split,
        seed=plan.seed,
    )


def spread(layers: tuple[int, ...], most: int) -> tuple[int, ...]:
    """At most so many of the layers, evenly spread, the last among them.

    >>> spread((0, 1, 2, 3, 4, 5), 3)
    (1, 3, 5)
    """
    num = min(most, len(layers))
    return tuple(layers[(index + 1) * len(layers) // num - 1] for index in range(num))


def _dump_all(
    plan: Plan,
    model: LocalModel,
    backbone: Backbone,
    writer: Writer,
    screen: Screen,
    total: int,
) -> tuple[Skipped, int]:
    from planish.methods.lookahead.dumping.attending import sample, stretches
    from planish.methods.lookahead.dumping.entries import sample_entries
    from planish.methods.lookahead.dumping.reading import Skipped, batches, continued
    from planish.models.memory.entries import Entries

    skipped, tokens = Skipped(), 0
    with screen.progress("dumping", total=total) as step:

        def wanted(id: str) -> bool:
            if id in writer.done:
                step()
            return id not in writer.done

        for batch in batches(_items(plan, skipped), plan.batch_size, wanted):
            for text in continued(model, batch, plan.continuation, skipped):
                step()
                if text.digest in writer.digests:
                    skipped.twice += 1
                elif text.length < 2 * writer.header.chunk_tokens or not stretches(
                    text, writer.header
                ):
                    skipped.too_short += 1
                else:
                    if isinstance(backbone, Entries):
                        shard = sample_entries(backbone, text, writer.header, plan.piece_tokens)
                    else:
                        shard = sample(backbone, text, writer.header, plan.piece_tokens)
                    writer.add(shard)
                    tokens += sum(num for _, num in shard.stretches)
    if skipped.total:
        screen.note(
            f"left out: {skipped.too_long} too long for the model, {skipped.too_short} too short, "
            f"{skipped.twice} there under another id, {skipped.other_split} of other splits"
        )
    return skipped, tokens


def _items(plan: Plan, skipped: Skipped) -> Iterator[Item]:
    from planish.methods.lookahead.dumping.reading import items_of_file, items_of_task

    if plan.documents is not None:
        return items_of_file(Path(plan.documents), plan.split, plan.limit, skipped)
    return items_of_task(plan.task or "", plan.split, plan.limit or DOCUMENTS, plan.seed)


def _count(plan: Plan) -> int:
    """Reads all that will be dumped: what is wrong with it is told before the work begins."""
    from planish.methods.lookahead.dumping.reading import Skipped

    skipped = Skipped()
    if total := sum(1 for _ in _items(plan, skipped)):
        return total
    raise BadInput(
        f"holds no document of the split {plan.split} ({skipped.other_split} of others)",
        where=plan.documents or plan.task or "",
        fix="name another --split or other documents",
    )
