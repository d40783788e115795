"""Stage `generate`: replies of a model that keeps a part of its keys and values on the device.

planish lookahead generate --model hf:./checkpoint --indexer indexer --document long.txt \
    --prompt "What did they agree on?" --chunks 256 --recent 1024
planish lookahead generate --model embedded:recall --indexer embedded --prompts prompts.jsonl
planish lookahead generate --resume runs/lookahead/20250102-030405-generate-checkpoint

Every reply is recorded with its decisions: what was kept, what was moved, and the bytes on the
device and on the host against those of a dense cache. `--check` decodes each prompt a second time
with everything kept, and tells where the two part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from planish.methods.lookahead.running.replies import (
    REPLY,
    STAYS,
    Parting,
    Reply,
    Window,
    all_kept,
    read_document,
    short,
    show,
    summary_of,
    token_bytes,
)
from planish.models.memory.budget import WindowRecord
from planish.models.memory.loading import MemoryOptions
from planish.records import BadInput, Completion, Sampling, read_jsonl, user
from planish.runs import Run
from planish.runs.console import Screen, command
from planish.runs.info import config_of, read_info
from planish.runs.options import RUNS, Count, Json, RunsDir, Seed
from planish.runs.presets import digest
from planish.runs.store import find

if TYPE_CHECKING:
    from planish.models.local import LocalModel
    from planish.models.memory.loading import Memory

__all__ = ["AGAIN", "Plan", "generate", "remembering"]

AGAIN = "planish lookahead generate --resume"
# Files may have been moved; their digests tell whether they are the same.
_FREE = frozenset({"prompts", "document"})
_WORDS = frozenset({"model", "revision", "text"})
_Flag = Annotated[bool, Parameter(negative="")]
_Dials = Annotated[MemoryOptions, Parameter(name="*")]
_Temperature = Annotated[float, Parameter(validator=Number(gte=0, lte=100))]


class Plan(MemoryOptions):
    """What determines the replies: it is kept in run.json, and a resume must match it.

    Args:
        model: as it was named, without the memory; indexer: as it was named.
        revision: what both stood for, budget included.
        prompts, document: files; their digests tell what they held.
        prompt: the question, behind the document if there is one.
        check: decode each prompt densely, too.
    """

    model: str
    indexer: str | None = None
    revision: str = ""
    prompts: str | None = None
    prompts_digest: str = ""
    document: str | None = None
    document_digest: str = ""
    prompt: str | None = None
    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    check: bool = False


def generate(
    *,
    model: str | None = None,
    indexer: str | None = None,
    prompts: Path | None = None,
    document: Path | None = None,
    prompt: str | None = None,
    max_tokens: Count = 256,
    temperature: _Temperature = 0.0,
    budget: _Dials = MemoryOptions(),  # noqa: B008 - frozen
    check: _Flag = False,
    seed: Seed = 0,
    resume: str | None = None,
    runs: RunsDir = RUNS,
    json: Json = False,
) -> int:
    """Answer prompts with a part of the keys and values on the device.

    Args:
        model: hf:PATH-OR-ID or embedded:NAME; with ?lookahead=DIR it brings its indexer along.
        indexer: Folder that planish lookahead train wrote; embedded models bring one.
        prompts: JSON Lines file, {"prompt": ...} on each line, and an "id" if you like.
        document: Text file that the prompt is about, or that is the prompt.
        prompt: One prompt; it comes behind the document.
        max_tokens: Tokens of a reply, at most.
        temperature: 0 takes the most likely token.
        check: Decode each prompt densely too, and tell where the replies part.
        seed: Of what is drawn, where the temperature is above 0.
        resume: Go on with this run (a path, a name, or last); no reply is made again.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    if resume is not None:
        folder = find(runs, resume).path
        plan = config_of(read_info(folder), "lookahead", "generate", Plan)
    else:
        folder = None
        if model is None:
            raise BadInput("is missing", where="--model", fix="give --model hf:./checkpoint")
        plan = Plan(
            **budget.model_dump(),
            model=model,
            indexer=indexer,
            prompts=None if prompts is None else str(prompts.resolve()),
            document=None if document is None else str(document.resolve()),
            prompt=prompt,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
            check=check,
        )
    return _carry_out(plan, folder, runs, Screen(json=json))


def remembering(model: str, indexer: str | None, options: MemoryOptions) -> LocalModel:
    """A local model that decodes through a memory.

    Args:
        model: its name, which may bring the memory along.
        indexer: folder, or `embedded`; None where the name says it, or one ships beside the model.
        options: of the budget.

    Raises:
        BadInput: it is not on this machine or has no memory; see `memory.loading`.
    """
    from planish.models.load import load
    from planish.models.memory.loading import shipped_indexer

    if not model.strip().startswith(("hf:", "embedded:")):
        raise BadInput(
            "only a model on this machine shows its keys and values",
            where=f"--model {model}",
            fix="give hf:PATH-OR-ID or embedded:recall",
        )
    given = options.model_dump(exclude_none=True)
    named = "lookahead=" in model.partition("?")[2]
    if indexer is None and not named:
        indexer = shipped_indexer(model)
    if indexer is not None:
        given["lookahead"] = indexer
    elif not named:
        raise BadInput("is missing", where="--indexer", fix="give --indexer DIR, or embedded")
    try:
        found: Any = load(model, **given)
    except BadInput as error:
        if error.where != "budget":
            raise
        fix = "raise --chunks, or lower --recent or --sinks"
        raise BadInput(error.what, where="--chunks", fix=fix) from None
    return found  # type: ignore[no-any-return]


# ---- the run ---------------------------------------------------------------------------------


def _carry_out(plan: Plan, folder: Path | None, runs: Path, screen: Screen) -> int:
    from planish.judges.resumable import resumable

    requests = dict(_requests(plan))
    digests = {
        name: digest(Path(path)) if path else ""
        for name, path in (
            ("prompts_digest", plan.prompts),
            ("document_digest", plan.document),
        )
    }
    model = remembering(plan.model, plan.indexer, _options(plan))
    now = plan.model_copy(update={**digests, "revision": model.revision})
    if folder is None:
        slug = f"generate-{plan.model.partition('?')[0][-28:]}"
        run = Run.create(
            "lookahead", slug, now, seed=plan.seed, root=runs, stage="generate", again=AGAIN
        )
    else:
        run = Run.resume(folder, now, ignore=_FREE)
    with run, resumable(run, screen):
        answered = sum(run.done(id, REPLY) for id in requests)
        if answered:
            screen.note(f"{answered} of {len(requests)} replies were there before")
        stage = _Stage(now, run, model)
        lost: dict[str, str] = {}
        with screen.progress(f"{plan.model} answers", len(requests) - answered) as step:
            for id, text in requests.items():
                if not run.done(id, REPLY):
                    if why := stage.answer(id, text):
                        lost[id] = why
                    step()
        return _close(stage, lost, screen)


def _options(plan: Plan) -> MemoryOptions:
    return MemoryOptions(**plan.model_dump(include=set(MemoryOptions.model_fields)))


def _requests(plan: Plan) -> Iterator[tuple[str, str]]:
    """(id, prompt) of each request."""
    if (plan.prompts is None) == (plan.prompt is None and plan.document is None):
        raise BadInput(
            "give either --prompts FILE or --prompt TEXT, with a --document FILE if you like",
            where="prompts",
            fix='such as --prompt "What is it about?" --document long.txt',
        )
    if plan.prompts is None:
        parts = [] if plan.document is None else [read_document(Path(plan.document))]
        parts += [] if plan.prompt is None else [plan.prompt]
        if not any(part.strip() for part in parts):
            raise BadInput("is empty", where="--prompt", fix="ask something")
        yield "prompt", "\n\n".join(parts)
        return
    seen: set[str] = set()
    for number, row in read_jsonl(plan.prompts):
        where = f"{plan.prompts}:{number}"
        text, id = (
            row.get("prompt", row.get("text")),
            str(number if row.get("id") is None else row["id"]),
        )
        if not isinstance(text, str) or not text.strip():
            raise BadInput("holds no prompt", where=where, fix='write {"prompt": "..."}')
        if id in seen:
            raise BadInput(f"id {id!r} was there before", where=where, fix="give each its own")
        seen.add(id)
        yield id, text
    if not seen:
        raise BadInput("holds no prompt", where=plan.prompts, fix='write {"prompt": "..."} lines')


@dataclass
class _Stage:
    """A run under way."""

    plan: Plan
    run: Run
    model: LocalModel

    def __post_init__(self) -> None:
        from planish.models.local import LocalModel
        from planish.models.memory.backbone import Backbone
        from planish.models.memory.native_topk import is_deepseek

        assert self.model.memory is not None
        self.memory: Memory = self.model.memory
        self.dense = LocalModel(self.model.path, name="dense", checkpoint=self.model.checkpoint)
        # Where nothing is moved, what lies there is what a dense cache holds.
        self.moves = not is_deepseek(self.model.model)
        self.token_bytes = token_bytes(Backbone.of(self.model.model)) if self.moves else 0
        self.sampling = Sampling(
            temperature=self.plan.temperature,
            max_tokens=self.plan.max_tokens,
            seed=self.plan.seed,
        )

    def answer(self, id: str, text: str) -> str:
        """Makes and records a reply; or says why there is none."""
        windows: list[Window] = []
        began = 0.0

        def watch(record: WindowRecord) -> None:
            nonlocal began
            began = began or time.perf_counter()
            dense = record.step * self.token_bytes if self.moves else record.bytes.resident
            windows.append(Window(**record.model_dump(), dense_bytes=dense))

        self.memory.on_window = watch
        try:
            completion = self.model.generate([user(text)], self.sampling)[0][0]
        finally:
            self.memory.on_window = None
        ended = time.perf_counter()
        if completion.finish == "error":
            return completion.failures[-1].message
        # The prompt's pass chooses the first token, the one that is decided behind the second.
        tokens = completion.usage.completion_tokens - 2
        reply = Reply(
            id=id,
            completion=completion,
            windows=tuple(windows),
            decode_tokens=max(0, tokens) if windows else 0,
            decode_seconds=ended - began if windows else 0.0,
            check=self._check(text, completion) if self.plan.check else None,
        )
        self.run.record(REPLY, reply, id=id)
        return ""

    def _check(self, text: str, ours: Completion) -> Parting:
        dense = self.dense.generate([user(text)], self.sampling)[0][0]
        mine, theirs = ours.token_ids or (), dense.token_ids or ()
        place = next((i for i, pair in enumerate(zip(mine, theirs)) if pair[0] != pair[1]), None)  # noqa: B905 - of different lengths
        if place is None and len(mine) != len(theirs):
            place = min(len(mine), len(theirs))
        return Parting(place=place, dense=dense.text, seconds=dense.usage.seconds)


# ---- the end ---------------------------------------------------------------------------------


def _close(stage: _Stage, lost: dict[str, str], screen: Screen) -> int:
    plan, run = stage.plan, stage.run
    replies = list(run.records(REPLY, Reply))
    for id, why in list(lost.items())[:3]:
        screen.warn(f"no reply to {short(id)}: {why}")
    numbers = summary_of(replies, len(lost), moves=stage.moves)
    summary = {"model": plan.model, "revision": plan.revision, **numbers}
    if not replies:
        run.close("failed", f"none of {len(lost)} prompts was answered")
        screen.close(summary, run=run.path)
        return 1
    run.finish(**summary)
    if len(replies) == 1:
        screen.say(replies[0].completion.text)
        summary["text"] = replies[0].completion.text
    show(replies, screen)
    if why := all_kept(replies, stage.memory.budget):
        screen.note(why)
    if not stage.moves:
        screen.note(STAYS)
    told = {name: number for name, number in summary.items() if name not in _WORDS}
    screen.numbers(told, title=plan.model)
    screen.close(summary, run=run.path, then=[command("planish", "runs", "show", run.path)])
    return 0
