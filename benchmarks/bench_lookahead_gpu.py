"""Long histories on a GPU: device bytes, tokens a second, requests at once, and what is hidden.

    python benchmarks/bench_lookahead_gpu.py [--cases 131072:32 524288:16 1048576:8] [--write]

A random Qwen3-shaped model in bfloat16 (width 4,096, 32 heads, 8 of keys and values, 128 wide), as
many layers as a case says, behind random keys and values; chunks and windows of 64 tokens, a tenth
of the dense bytes on the device, digests and free slots included. Arms in turns on one card:
`DynamicCache`, `DynamicCache(offloading=True)`, ours. Rounds of ours are whole windows.

* bytes: allocated on the device by the history, and the peak while decoding above it.
* requests: how many fit beside the weights in 95 % of the card, from the bytes of one, and how
  many the host's memory holds; with `--verify` as many as both allow are decoded at once.
* overlap: the share of the time of all copies to the device in which a kernel ran, in a window's
  profile.

Predicted: at most 0.11 of the dense bytes; 128K: 1.5 times as many tokens a second as dense, 512K
and 1M: 3 times; 20 times as many as transformers' offloading at every length; 8 times as many
requests as dense at once as far as the card decides, fewer where the host does; more than half of
the copying behind kernels.

Without CUDA it says so in one line. Timings are of the card that is named.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

from bench_lookahead_decode import INTERVAL, SHARE, budget_for
from lookahead_world import Arm, Size, begun, build, in_turns
from planish.models.memory.cache import LookaheadCache
from support import ratios, tell

CARD = Size(
    hidden=4096,
    heads=32,
    kv_heads=8,
    width=128,
    intermediate=12_288,
    vocabulary=128_256,
    dtype=torch.bfloat16,
    device="cuda",
    rank=1024,
    indexer_heads=64,
)
CASES = ("131072:32", "524288:16", "1048576:8")
COUNTS = {"dense": 16, "offloading": 2, "lookahead": INTERVAL}
"""Tokens of a round; offloading moves everything for each."""

SPARE = 0.95
Interval = tuple[float, float]


# ---- arithmetic ------------------------------------------------------------------------------


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """The same times, without any twice."""
    found: list[Interval] = []
    for begin, end in sorted(intervals):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        elif end > begin:
            found.append((begin, end))
    return found


def overlap(copies: Iterable[Interval], kernels: Iterable[Interval]) -> float | None:
    """The share of the time of the copies in which a kernel ran; None where nothing was copied."""
    first, second = merged(copies), merged(kernels)
    whole = sum(end - begin for begin, end in first)
    if not whole:
        return None
    both = sum(
        max(0.0, min(one[1], other[1]) - max(one[0], other[0])) for one in first for other in second
    )
    return both / whole


def requests(card: int, fixed: int, each: int) -> int:
    """How many requests of `each` bytes fit beside `fixed` ones."""
    return max(0, int(SPARE * card - fixed) // max(1, each))


@dataclass(frozen=True)
class Held:
    """Bytes of one arm behind one history.

    Args:
        device: allocated by the history. working: the peak while decoding, above it.
        host: of the history on the host.
    """

    device: int
    working: int
    host: int


# ---- measuring -------------------------------------------------------------------------------


def allocated() -> int:
    """Bytes on the card."""
    torch.cuda.synchronize()
    return torch.cuda.memory_allocated()


def host_bytes(arm: Arm, size: Size, length: int, rows: int = 1) -> int:
    """Of the history on the host: of ours counted, of offloading what is not being used."""
    if isinstance(arm.cache, LookaheadCache):
        return sum(each.host for each in arm.cache.bytes_per_row())
    return rows * length * size.token_bytes if arm.name == "offloading" else 0


def measure(size: Size, length: int, names: Sequence[str], rounds: int) -> dict[str, Any]:
    """Seconds per token by arm and round, bytes by arm, and the copies that are hidden."""
    budget = budget_for(size, length)
    found: dict[str, Any] = {"held": {}}
    with ExitStack() as stack:
        arms = []
        shared = build(size)
        for name in names:
            model = build(size) if name == "lookahead" else shared
            before = allocated()
            arm = stack.enter_context(begun(name, model, size, length, budget))
            arm.steps(2)
            after = allocated()
            torch.cuda.reset_peak_memory_stats()
            arm.steps(2)
            working = torch.cuda.max_memory_allocated() - after
            # Ours holds an indexer too: it is paid by the first request.
            found["held"][name] = Held(after - before, working, host_bytes(arm, size, length))
            arms.append(arm)
        found["weights"] = sum(each.nbytes for each in arms[0].model.parameters())
        found["seconds"] = {
            name: [statistics.fmean(each[0] for each in steps) for steps in every]
            for name, every in in_turns(arms, rounds, COUNTS).items()
        }
        ours = next((arm for arm in arms if arm.name == "lookahead"), None)
        if ours is not None:
            found["overlap"] = profiled(ours, budget.interval)
            found["share"] = ours.device_share
            found["score"] = ours.score_seconds
    return found


def profiled(arm: Arm, steps: int) -> dict[str, Any]:
    """One window under the profiler."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as recorded:
        arm.steps(steps)
    copies, kernels = [], []
    for event in recorded.events():
        if event.device_type != DeviceType.CUDA:
            continue
        place = event.time_range.start, event.time_range.end
        if "Memcpy HtoD" in event.name:
            copies.append(place)
        elif not event.name.startswith(("Memcpy", "Memset")):
            kernels.append(place)
    return {
        "share": overlap(copies, kernels),
        "copy_ms": sum(end - begin for begin, end in merged(copies)) / 1e3,
        "kernel_ms": sum(end - begin for begin, end in merged(kernels)) / 1e3,
    }


def verified(size: Size, length: int, name: str, rows: int) -> tuple[int, float] | None:
    """Requests that decode at once, and their tokens a second; half as many if they do not fit."""
    while rows:
        try:
            with begun(name, build(size), size, length, budget_for(size, length), rows=rows) as arm:
                arm.steps(2)
                steps = arm.steps(COUNTS[name])
                return rows, rows / statistics.fmean(each[0] for each in steps)
        except torch.cuda.OutOfMemoryError:
            rows //= 2
        torch.cuda.empty_cache()
    return None


# ---- telling ---------------------------------------------------------------------------------


def fitting(held: Held, weights: int, card: int, host: int) -> tuple[int, int | None]:
    """Requests that the card holds, and that the host holds; None: it holds nothing of them."""
    on_card = requests(card, weights, held.device + held.working)
    return on_card, requests(host, 0, held.host) if held.host else None


def lines_of(length: int, layers: int, found: dict[str, Any], card: int, host: int) -> list[str]:
    """A table for one case."""
    dense = found["held"].get("dense")
    lines = [
        "",
        f"## {length:,} tokens, {layers} layers",
        "",
        "| arm | GB on the device | of dense | GB while decoding | GB on the host "
        "| tokens a second | requests: card | host |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, seconds in found["seconds"].items():
        held = found["held"][name]
        share = f"{held.device / dense.device:.3f}" if dense else "-"
        on_card, on_host = fitting(held, found["weights"], card, host)
        lines.append(
            f"| {name} | {held.device / 1e9:.2f} | {share} | {held.working / 1e9:.2f} "
            f"| {held.host / 1e9:.2f} | {1 / statistics.median(seconds):.1f} | {on_card} "
            f"| {'-' if on_host is None else on_host} |"
        )
    if "lookahead" in found["seconds"]:
        ours = found["seconds"]["lookahead"]
        for name, theirs in found["seconds"].items():
            if name != "lookahead":
                lines += [
                    "",
                    f"Ours decodes {ratios(theirs, ours)} times as many tokens a second as {name}.",
                ]
        told = found["overlap"]
        hidden = "nothing was copied" if told["share"] is None else f"{told['share']:.0%} hidden"
        lines += [
            "",
            f"In a window: copies {told['copy_ms']:.1f} ms, {hidden} behind kernels "
            f"({told['kernel_ms']:.1f} ms); buffers, free slots and digests at most "
            f"{found['share']:.2%} of the dense bytes.",
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", default=CASES, help="TOKENS:LAYERS")
    parser.add_argument("--arms", nargs="+", default=list(COUNTS), choices=list(COUNTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--verify", action="store_true", help="decode as many as should fit")
    parser.add_argument("--write", action="store_true", help="into results/, not only printed")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("bench_lookahead_gpu: needs a CUDA GPU, and there is none here", file=sys.stderr)
        raise SystemExit(2)
    card = torch.cuda.get_device_properties(0)
    host = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = [
        f"{card.name}, {card.total_memory / 1e9:.0f} GB; host {host / 1e9:.0f} GB. {CARD}, layers "
        f"by case. A share of {SHARE:g}, {given.rounds} rounds."
    ]
    for case in given.cases:
        length, layers = map(int, case.split(":"))
        size = replace(CARD, layers=layers)
        found = measure(size, length, given.arms, given.rounds)
        lines += lines_of(length, layers, found, card.total_memory, host)
        torch.cuda.empty_cache()
        for name in ("dense", "lookahead") if given.verify else ():
            if name in found["held"]:
                counts = fitting(found["held"][name], found["weights"], card.total_memory, host)
                told = verified(
                    size, length, name, min(each for each in counts if each is not None)
                )
                if told is not None:
                    lines += [
                        "",
                        f"{name}: {told[0]} at once decode {told[1]:.1f} tokens a second.",
                    ]
    text = "\n".join(lines)
    tell("lookahead-gpu", "lookahead: long histories on a GPU", text, write=given.write)


if __name__ == "__main__":
    main()
