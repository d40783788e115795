"""What an arm missed along the dense reply: attention, needed chunks, and when.

    needed_BTC = needed(run, settings, chunk_tokens)
    row = measure(run.looked, needed_BTC, resident, decisions, row=0, steps=40, ...)

Residents are lists over steps, because chunks become complete on the way; a chunk that is not
complete yet is always there.

Shape suffixes: B rows, T steps, C chunks, M memory layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from planish.methods.lookahead.data import Need
from planish.methods.lookahead.evaluate.between import between
from planish.methods.lookahead.evaluate.dense import DenseRun, Looked
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.labels import Limits, Mass, Rule, Sampled, evictable, label

__all__ = ["Quality", "measure", "needed", "needed_by_task", "present", "windows_of"]


@dataclass(frozen=True)
class Quality:
    """See `Outcome` for what each is; None: there was nothing to measure it on."""

    mass_recall: float | None
    missed_mass: float | None
    recall: float | None
    miss_rate: float | None
    by_distance: tuple[tuple[int, int, int], ...] = ()
    missed_needs: int = 0
    late_needs: int = 0


def limits(settings: Settings, chunk_tokens: int, num_chunks: int) -> Limits:
    """Per token, so that windows can be put together from any token on."""
    return Limits(
        chunk_tokens=chunk_tokens,
        interval=1,
        sink_tokens=settings.sink_tokens,
        recent_tokens=settings.recent_tokens,
        max_positives=max(1, num_chunks),
    )


def needed(run: DenseRun, settings: Settings, chunk_tokens: int) -> Tensor:
    """Chunks that each step needs and that could be missing then: bool (B, T, C)."""
    assert run.looked is not None
    looked = run.looked
    rows, _, steps, num_chunks = looked.mass_BMTC.shape
    rule = Rule(
        name=settings.rule,
        mass=settings.mass,
        min_layers=settings.min_layers,
        head_mass=settings.head_mass,
    )
    positions_T = torch.arange(steps) + run.prompt - 1
    found = []
    for row in range(rows):
        sampled = Sampled(
            positions_N=positions_T,
            stretch_N=torch.zeros(steps, dtype=torch.long),
            length=run.prompt - 1 + steps,
            mass=Mass(looked.mass_BMTC[row].transpose(0, 1).cpu(), num_chunks),
            head=Mass(looked.head_BMTC[row].transpose(0, 1).cpu(), num_chunks),
        )
        found.append(label(sampled, rule, limits(settings, chunk_tokens, num_chunks)).positive_NC)
    return torch.stack(found)


def needed_by_task(
    needs: Sequence[Sequence[Need]], steps: int, num_chunks: int, chunk_tokens: int
) -> Tensor:
    """Chunks that each step needs, as the task tells: bool (B, T, C).

    Answer token j is chosen by step j.
    """
    found = torch.zeros(len(needs), steps, num_chunks, dtype=torch.bool)
    for row, spans in enumerate(needs):
        for step, begin, behind in spans:
            if step < steps:
                first, last = begin // chunk_tokens, (behind - 1) // chunk_tokens
                found[row, step, first : last + 1] = True
    return found


def present(resident_BC: Tensor, row: int, num_chunks: int) -> Tensor:
    """Chunks (C,) that a row's step could attend to, those not complete yet included."""
    whole = torch.ones(num_chunks, dtype=torch.bool)
    known = resident_BC[row, :num_chunks].cpu()
    whole[: len(known)] = known
    return whole


def windows_of(decisions: Sequence[int], steps: int) -> list[range]:
    """The steps that each decision serves: from the one behind it up to the next decision."""
    inside = [step for step in sorted(set(decisions)) if step + 1 < steps]
    edges = [*inside, steps - 1]
    return [range(first + 1, last + 1) for first, last in pairwise(edges)]


def measure(
    looked: Looked,
    needed_BTC: Tensor,
    resident: Sequence[Tensor],
    decisions: Sequence[int],
    *,
    row: int,
    steps: int,
    start: int,
    limits: Limits,
    interval: int,
    turned: int | None = None,
) -> Quality:
    """Of one row.

    Args:
        resident: per step, the chunks (B, C) that were on the device when it attended.
        decisions: steps behind which the arm chose.
        steps: of the row's reply.
        start: position of step 0.
        interval: tokens between two decisions.
        turned: step behind which the request turned dense.
    """
    windows = windows_of(decisions, steps)
    if not windows:
        return Quality(None, None, None, None)
    num_chunks = needed_BTC.shape[2]
    here_TC = torch.stack([present(resident[step], row, num_chunks) for step in range(steps)])
    missed_T = _missed(looked, row, here_TC)
    used = [step for window in windows for step in window]
    needs_TC = needed_BTC[row, :steps].cpu()
    absent_TC = needs_TC & ~here_TC
    decided_N = torch.tensor([start + window.start - 1 for window in windows])
    could_NC = evictable(decided_N, num_chunks, limits)
    found = wanted = 0
    for window, candidate_C in zip(windows, could_NC, strict=True):
        union_C = needs_TC[window.start : window.stop].any(0) & candidate_C
        wanted += int(union_C.sum())
        found += int((union_C & here_TC[window.start]).sum())
    late = [step for window in windows for step in window[1:] if needs_TC[step].any()]
    counted = between(needs_TC, here_TC, windows, list(could_NC), interval=interval, turned=turned)
    return Quality(
        mass_recall=1.0 - float(missed_T[used].mean()),
        missed_mass=max(float(missed_T[list(window)].mean()) for window in windows),
        recall=found / wanted if wanted else None,
        miss_rate=(sum(bool(absent_TC[step].any()) for step in late) / len(late) if late else None),
        by_distance=counted.by_distance,
        missed_needs=counted.missed,
        late_needs=counted.late,
    )


def _missed(looked: Looked, row: int, here_TC: Tensor) -> Tensor:
    """Share of each step's attention that had nothing to go to, mean over layers: (T,)."""
    steps = len(here_TC)
    mass_MTC = looked.mass_BMTC[row, :, :steps].cpu()
    total_MT = looked.total_BMT[row, :, :steps].cpu()
    missed_MT = (mass_MTC * ~here_TC).sum(-1) / total_MT.clamp(min=1e-12)
    return missed_MT.mean(0).clamp(0.0, 1.0)
