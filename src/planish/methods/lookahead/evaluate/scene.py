"""One batch of documents, read once: every arm decodes it, and what came of it is written down.

    batch = next(batches(documents, 8))   # no others belong together
    scene = Scene(bench, batch, run_dense(...))
    for outcome, trace in scene.play(Play("recency", 0.1), traced=False): ...

Shape suffixes: B rows, T steps, C chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from planish.methods.lookahead.arms.making import Future, make
from planish.methods.lookahead.evaluate.bench import Bench, Play
from planish.methods.lookahead.evaluate.decoding import Decoded, decode
from planish.methods.lookahead.evaluate.dense import DenseRun
from planish.methods.lookahead.evaluate.documents import Document
from planish.methods.lookahead.evaluate.outcomes import Outcome, Trace
from planish.methods.lookahead.evaluate.quality import (
    Quality,
    limits,
    measure,
    needed,
    needed_by_task,
    present,
    windows_of,
)

__all__ = ["Scene"]

_UNKNOWN = "the task does not tell what its answer needs"


class Scene:
    """One batch, read once."""

    def __init__(self, bench: Bench, batch: Sequence[Document], run: DenseRun) -> None:
        self.bench, self.batch, self.dense = bench, batch, run
        self.settings, self.chunk_tokens = bench.settings, bench.chunk_tokens
        steps = run.fed_BT.shape[1]
        self.num_chunks = (run.prompt - 1 + steps) // self.chunk_tokens
        self.needed_BTC: Tensor | None = None
        mass_BTC: Tensor | None = None
        if run.looked is not None:
            # A row that ended decodes on beside the others: what it looks at then nobody needs.
            own_BT1 = (torch.arange(steps) < run.steps_B[:, None])[:, :, None]
            self.needed_BTC = needed(run, self.settings, self.chunk_tokens) & own_BT1
            mass_BTC = run.looked.mass_BMTC.mean(1).cpu() * own_BT1
        self.future = Future(
            hidden=run.prefilled.hidden,
            observed_BQ=run.prefilled.observed_BQ,
            start_B=torch.full((len(batch),), run.prompt - 1),
            needed_BTC=self.needed_BTC,
            mass_BTC=mass_BTC,
            task_BTC=self._task_needs(steps),
        )

    def _task_needs(self, steps: int) -> Tensor | None:
        """None where the task does not tell."""
        told = [document.needs for document in self.batch if document.needs is not None]
        if len(told) < len(self.batch):  # all or none: see `batches`
            return None
        return needed_by_task(told, steps, self.num_chunks, self.chunk_tokens)

    def play(self, play: Play, traced: bool) -> Iterator[tuple[Outcome, Trace | None]]:
        """The outcomes of all rows."""
        if play.arm == "dense":
            yield from ((self._dense(row), None) for row in range(len(self.batch)))
            return
        chunks = self.bench.chunks_for(play, self.dense.prompt, self.batch[0].max_tokens)
        why = "" if chunks is not None else self._too_dear(play)
        if play.arm == "oracle-task" and self.future.task_BTC is None:
            why = _UNKNOWN
        if why or chunks is None:
            for row in range(len(self.batch)):
                yield _with(self._blank(row, play), max_chunks=chunks, why=why), None
            return
        along = self._decode(play, chunks, forced=True) if self.settings.quality else None
        free = along
        if along is None or self._strays(along):
            free = self._decode(play, chunks, forced=False)
        assert free is not None
        for row in range(len(self.batch)):
            outcome = self._outcome(row, play, chunks, free, along)
            first = traced and row == 0 and self.needed_BTC is not None
            yield outcome, self._trace(play, along) if first and along is not None else None

    def _decode(self, play: Play, chunks: int, *, forced: bool) -> Decoded:
        bench = self.bench
        scorer = make(
            play.arm,
            bench.backbone,
            # By example: what a task is called, or draws beside it, changes no draw.
            requests=[document.example.id for document in self.batch],
            seed=self.batch[0].seed,  # the same of all: see `batches`
            indexer=bench.indexer,
            future=self.future,
        )
        return decode(
            bench.model,
            bench.backbone,
            self.dense,
            scorer,
            bench.budget(play.arm, chunks),
            self.chunk_tokens,
            eos_ids=bench.eos_ids,
            max_tokens=[document.max_tokens for document in self.batch],
            forced=forced,
        )

    def _strays(self, along: Decoded) -> bool:
        """Whether the arm would have left the dense reply of some row: then it decodes freely."""
        same_BT = along.chosen_BT == self.dense.chosen_BT.cpu()
        return not all(
            bool(same_BT[row, :steps].all())
            for row, steps in enumerate(self.dense.steps_B.tolist())
        )

    def _too_dear(self, play: Play) -> str:
        return (
            f"{play.fraction:.3g} of the bytes cannot pay its digests, sinks, recent tokens and "
            f"{self.settings.interval} tokens until the next decision"
        )

    # ---- outcomes ----------------------------------------------------------------------------

    def _blank(self, row: int, play: Play) -> Outcome:
        document = self.batch[row]
        return Outcome(
            task=document.task.name,
            seed=document.seed,
            document_id=document.id,
            length=len(document.prompt_ids),
            arm=play.arm,
            fraction=play.fraction,
            family=document.family,
        )

    def _judged(self, row: int, play: Play, reply_ids: Sequence[int], steps: int) -> Outcome:
        document = self.batch[row]
        reply = self.bench.tokenizer.decode(list(reply_ids), skip_special_tokens=True).strip()
        verdict = document.task.verify(document.example, reply)
        length = len(document.prompt_ids) - 1 + steps
        return _with(
            self._blank(row, play),
            reply=reply,
            correct=verdict.score,
            why=verdict.why if verdict.score is None else "",
            steps=steps,
            dense_bytes=self.bench.shape.dense(length),
        )

    def _dense(self, row: int) -> Outcome:
        steps = int(self.dense.steps_B[row])
        outcome = self._judged(row, Play("dense", 1.0), self.dense.replies[row], steps)
        return _with(
            outcome,
            kv_fraction=1.0,
            kv_mean=1.0,
            resident_bytes=outcome.dense_bytes,
            digest_bytes=0,
            host_bytes=0,
            allocated_bytes=outcome.dense_bytes,
            allocated_fraction=1.0,
            moved_per_token=0.0,
            logit_kl=0.0,
            mass_recall=1.0,
            missed_mass=0.0,
        )

    def _outcome(
        self, row: int, play: Play, chunks: int, free: Decoded, along: Decoded | None
    ) -> Outcome:
        steps = free.steps_B[row]
        reply = self.dense.replies[row] if free is along else free.replies[row]
        outcome = self._judged(row, play, reply, steps)
        outcome = _with(outcome, max_chunks=chunks, **self._bytes(row, free, steps))
        if along is None:
            return outcome
        quality, distance = self._quality(row, along)
        return _with(outcome, logit_kl=distance, **vars(quality))

    def _bytes(self, row: int, found: Decoded, steps: int) -> dict[str, Any]:
        """What lay where from the first decision on, and what moved."""
        held = [each[row] for each in found.bytes[:steps]]
        token, dense = self.bench.shape.token, self.bench.shape.dense
        shares = [(held[0].resident + held[0].digest) / dense(self.dense.prompt)] if held else []
        for step, (before, after) in enumerate(pairwise(held), 1):
            # A decision comes behind its token: until then that lay beside the chunks of before.
            most = max(before.resident + token, after.resident) + after.digest
            shares.append(most / dense(self.dense.prompt + step))
        buffers = [
            (each.allocated + each.digest) / dense(self.dense.prompt + step)
            for step, each in enumerate(held)
        ]
        mine = found.own(row, self.dense.prompt)
        moved = sum(window.moved_bytes for window in mine)
        scanned = sum(each[row] for each in found.scanned[: len(mine)])
        return {
            "kv_fraction": max(shares, default=None),
            "kv_mean": fmean(shares) if shares else None,
            "resident_bytes": max((bytes.resident for bytes in held), default=None),
            "digest_bytes": max((bytes.digest for bytes in held), default=None),
            "host_bytes": max((bytes.host for bytes in held), default=None),
            "allocated_bytes": max((bytes.allocated for bytes in held), default=None),
            "allocated_fraction": max(buffers, default=None),
            "moved_per_token": (moved + scanned) / steps if steps else None,
            "score_ms": fmean(window.score_ms for window in mine) if mine else None,
            "fallbacks": int(any(window.fallback for window in mine)),
            "turned_dense": found.turned(row, self.dense.prompt),
            "decisions": len(mine),
        }

    def _quality(self, row: int, along: Decoded) -> tuple[Quality, float | None]:
        dense = self.dense
        steps = int(dense.steps_B[row])
        distance = None
        if along.kl_BT is not None and steps > 1:  # the first step saw everything
            distance = float(along.kl_BT[row, 1:steps].mean())
        if dense.looked is None or self.needed_BTC is None:
            return Quality(None, None, None, None), distance
        found = measure(
            dense.looked,
            self.needed_BTC,
            along.resident,
            along.decisions(row, dense.prompt),
            row=row,
            steps=steps,
            start=dense.prompt - 1,
            limits=limits(self.settings, self.chunk_tokens, self.num_chunks),
            interval=self.settings.interval,
            turned=along.turned(row, dense.prompt),
        )
        return found, distance

    def _trace(self, play: Play, along: Decoded) -> Trace:
        """Which chunks of the first row were there when."""
        assert self.needed_BTC is not None
        steps = int(self.dense.steps_B[0])
        windows = windows_of(along.decisions(0, self.dense.prompt), steps)
        chunks = (self.dense.prompt - 1 + steps) // self.chunk_tokens
        here = [present(along.resident[window.start], 0, chunks) for window in windows]
        needed_TC = self.needed_BTC[0, :, :chunks]
        needs = [needed_TC[window.start : window.stop].any(0) for window in windows]
        return Trace(
            document_id=self.batch[0].id,
            family=self.batch[0].family,
            arm=play.arm,
            fraction=play.fraction,
            steps=tuple(window.start for window in windows),
            num_chunks=chunks,
            resident=tuple(_true(each) for each in here),
            needed=tuple(_true(each) for each in needs),
        )


def _with(outcome: Outcome, **changes: Any) -> Outcome:
    return outcome.model_copy(update=changes)


def _true(chunks_C: Tensor) -> tuple[int, ...]:
    return tuple(int(chunk) for chunk in chunks_C.nonzero()[:, 0])
