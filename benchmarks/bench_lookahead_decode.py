"""Tokens a second, memory and cost per step behind long histories, on a CPU.

    python benchmarks/bench_lookahead_decode.py [--parts rates flat memory] [--write]

A random Qwen3-shaped model in float32 (see `lookahead_world`) decodes greedily, one row, behind
random keys and values that all arms share, in chunks of 64 tokens and windows of 64; a round is one
window, so that every round of ours holds one decision. Each part runs in processes of its own.

* rates: 32,768 cached tokens, 1 and 2 threads, arms in turns: `DynamicCache`; our buffers with
  nothing evicted, which tells what is due to not copying the cache at every token and what to
  evicting; ours with at most a tenth on the device. Predicted: ours at least 3 times as many
  tokens a second as `DynamicCache`, at least 2 times as many as our own buffers without eviction;
  scores at most 5 % of the time.
* flat: ours behind 32,768 tokens and behind more, in turns, the same chunks on the device.
  Predicted: the mean step at 262,144, decision and scan of all digests included, costs at most
  1.3 times as much as at 32,768.
* memory: the peak of the resident set while decoding, counted from the first decision on, above
  what the process holds before any history. Predicted: with evicted chunks in a file, at most
  0.2 of the dense arm's; with evicted chunks in memory the sum does not fall, as the host is the
  device. What is mapped from the file and was touched counts. Told beside it is what stays between
  two decisions, once the C library has returned what is free (glibc's `malloc_trim`). The arms
  "prompt" hold the history dense until the first decision; their peak counts that decision, too.
  Predicted, before it was measured: with evicted chunks in a file at most 1.15 times what was held
  dense, in memory at most 1.25, as each layer is let go before the next one is copied.

transformers' own offloading (`DynamicCache(offloading=True)`) needs CUDA; what it says is printed.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from lookahead_world import Arm, Size, Spent, begun, build, in_turns
from planish.methods.lookahead.arms.shares import Digest, Shape, affordable, growth
from planish.models.memory.budget import Budget
from planish.models.memory.digests import RECORD_BYTES
from planish.models.memory.pages import return_free_pages
from planish.models.memory.store import HostStore
from support import ratios, tell

BASE = 32_768
LONGER = (65_536, 131_072, 262_144)
SHARE = 0.1
INTERVAL = 64
RATES = ("dense", "in order", "lookahead")
MEMORY = ("dense", "lookahead", "lookahead, file")
PROMPT = ("lookahead, prompt", "lookahead, prompt, file")


def budget_for(size: Size, length: int, share: float = SHARE, interval: int = INTERVAL) -> Budget:
    """As many chunks as the share buys once digests and the tokens of a window are paid.

    Free slots of the buffers are paid, too: those for a speculation, and what rounding adds.
    """
    shape = Shape(size.layers, size.kv_heads, size.width, size.dtype.itemsize, size.chunk_tokens)
    spare = Budget().dense_queries + size.chunk_tokens
    chunks = affordable(
        shape,
        share,
        prompt_tokens=length,
        num_chunks=length // size.chunk_tokens + 2,
        growth=growth(interval, size.chunk_tokens) + spare,
        digest=Digest(per_chunk=RECORD_BYTES * size.scored),
    )
    if chunks is None:
        raise SystemExit(f"{share:g} of {length} tokens buys no chunk")
    return Budget(
        max_chunks=chunks,
        min_chunks=chunks,
        recent_tokens=max(1, min(8 * size.chunk_tokens, (chunks - 1) * size.chunk_tokens // 2)),
        interval=interval,
    )


# ---- what a process measures -----------------------------------------------------------------


def measure_rates(size: Size, length: int, rounds: int) -> dict[str, Any]:
    """Seconds of every step, by arm and round."""
    model, budget = build(size), budget_for(size, length)
    with ExitStack() as stack:
        arms = []
        for name in RATES:
            own = copy.deepcopy(model) if name == "lookahead" else model
            arms.append(stack.enter_context(begun(name, own, size, length, budget)))
        for arm in arms:
            arm.steps(2)  # the first decision, which evicts, is behind a prompt and not in a round
        ours = arms[-1]
        scored = ours.score_seconds
        rounds_of = in_turns(arms, rounds, budget.interval)
        return {
            **sums(rounds_of),
            "steps": budget.interval,
            "score_seconds": ours.score_seconds - scored,
            "deciding": deciding(rounds_of["lookahead"]),
            "device_share": ours.device_share,
            "chunks": budget.max_chunks,
            "moved": [record.moved_bytes for record in _windows(ours)[1:]],
        }


def sums(rounds_of: dict[str, list[list[Spent]]]) -> dict[str, Any]:
    """By arm and round: seconds on the clock, and of the processor."""
    return {
        kind: {
            name: [sum(step[place] for step in steps) for steps in each]
            for name, each in rounds_of.items()
        }
        for place, kind in enumerate(("seconds", "processor"))
    }


def deciding(rounds: Sequence[Sequence[Spent]]) -> float:
    """Share of the processor's time beyond what every step would take without a decision."""
    steps = [step[1] for each in rounds for step in each]
    return 1 - statistics.median(steps) * len(steps) / sum(steps)


def _windows(arm: Arm) -> list[Any]:
    assert arm.session is not None
    return arm.session.windows


def measure_flat(size: Size, base: int, length: int, rounds: int) -> dict[str, Any]:
    """Seconds per round behind two histories, in turns, under the shorter one's budget."""
    budget = budget_for(size, base)
    with ExitStack() as stack:
        arms = []
        for each in (base, length):
            arm = stack.enter_context(begun("lookahead", build(size), size, each, budget))
            arm.name = str(each)
            arm.steps(2)
            arms.append(arm)
        scored = [arm.score_seconds for arm in arms]
        rounds_of = in_turns(arms, rounds, budget.interval)
        return {
            **sums(rounds_of),
            "score_seconds": [
                arm.score_seconds - before for arm, before in zip(arms, scored, strict=True)
            ],
        }


def measure_memory(size: Size, length: int, name: str, steps: int) -> dict[str, Any]:
    """Bytes of the resident set, before any history and at its peak while decoding."""
    model, budget = build(size), budget_for(size, length)
    with ExitStack() as stack:
        store = None
        if name.endswith("file"):
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")))
            store = HostStore(path=Path(folder) / "kv.bin")
            stack.callback(store.close)
        # A warm process: what a first forward pass takes is taken before anything is counted.
        with torch.inference_mode():
            model(input_ids=torch.full((1, 1), 7))
        return_free_pages()  # what earlier work left free would go in the middle, and hide a peak
        before = resident_bytes()["VmRSS"]
        kind, prompt = name.partition(",")[0], "prompt" in name
        arm = stack.enter_context(
            begun(kind, model, size, length, budget, store=store, at_once=prompt)
        )
        if not prompt:
            arm.steps(2)
        held = resident_bytes()["VmRSS"]
        forget_peak()
        arm.steps(2 if prompt else steps)
        found = resident_bytes()
        return_free_pages()
        return {
            "before": before,
            "held": held,
            "peak": found["VmHWM"],
            "stays": resident_bytes()["VmRSS"],
            "anonymous": found["RssAnon"],
            "file": found["RssFile"],
            "device_share": arm.device_share,
        }


def resident_bytes() -> dict[str, int]:
    """Of this process, as the kernel counts them."""
    told = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, rest = line.partition(":")
        if rest.strip().endswith(" kB"):
            told[name] = int(rest.split()[0]) * 1024
    return told


def forget_peak() -> None:
    """From here on the peak is counted anew (`man proc_pid_clear_refs`)."""
    Path("/proc/self/clear_refs").write_text("5")


def offloading_says(size: Size) -> str:
    """What transformers' offloading cache says without CUDA; "" where it works."""
    try:
        with begun("offloading", build(size), size, size.chunk_tokens, Budget()) as arm:
            arm.steps(1)
    except Exception as error:  # an assertion, or what torch says of a missing device
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


# ---- the parts -------------------------------------------------------------------------------


def child(part: str, threads: int, **options: object) -> Any:
    """What a process of its own measures."""
    words = [sys.executable, __file__, "--measure", part, "--threads", str(threads)]
    words += [word for name, value in options.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    told = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    if told.returncode:
        raise RuntimeError(told.stderr[-2000:])
    return json.loads(told.stdout.splitlines()[-1])


def rates_lines(found: dict[int, dict[str, Any]], length: int) -> list[str]:
    lines = [
        f"Behind {length:,} cached tokens:",
        "",
        "| threads | arm | tokens a second | times `DynamicCache` | in processor seconds "
        "| times our buffers in order |",
        "|---|---|---|---|---|---|",
    ]
    told = []
    for threads, each in found.items():
        seconds, processor = each["seconds"], each["processor"]
        for name in RATES:
            rate = each["steps"] / statistics.median(seconds[name])
            lines.append(
                f"| {threads} | {name} | {rate:.1f} | {ratios(seconds['dense'], seconds[name])} "
                f"| {ratios(processor['dense'], processor[name])} "
                f"| {ratios(seconds['in order'], seconds[name])} |"
            )
        whole = sum(seconds["lookahead"])
        steps = each["steps"] * len(seconds["lookahead"])
        moved = sum(each["moved"]) / steps
        told.append(
            f"{threads} threads: scores take {each['score_seconds'] / whole:.2%} of the time, "
            f"decisions with all that they move about {each['deciding']:.1%}; {moved:,.0f} bytes "
            f"moved per token; buffers, free slots and digests at most "
            f"{each['device_share']:.2%} of the dense bytes ({each['chunks']} chunks)."
        )
    return [*lines, "", *told]


def flat_lines(found: dict[int, dict[int, dict[str, Any]]], base: int) -> list[str]:
    lines = [
        "",
        "| threads | tokens | ms a token | times the shortest | in processor seconds | scores |",
        "|---|---|---|---|---|---|",
    ]
    for threads, by_length in found.items():
        for length, each in by_length.items():
            short, long = each["seconds"][str(base)], each["seconds"][str(length)]
            worked = ratios(each["processor"][str(length)], each["processor"][str(base)])
            part = each["score_seconds"][1] / sum(long)
            milliseconds = 1e3 * statistics.median(long) / INTERVAL
            lines.append(
                f"| {threads} | {length:,} | {milliseconds:.2f} | {ratios(long, short)} | {worked} "
                f"| {part:.2%} |"
            )
    return [*lines, "", f"The shortest: {base:,} tokens, in the same process, in turns."]


def memory_lines(found: dict[str, dict[str, Any]], history: int) -> list[str]:
    lines = [
        "",
        f"Peak of the resident set while decoding; the history alone is {history / 1e6:,.0f} MB.",
        "",
        "| arm | MB before | MB at the peak | more | times dense | of it mapped from files "
        "| stays between decisions | times dense |",
        "|---|---|---|---|---|---|---|---|",
    ]
    dense = found["dense"]["peak"] - found["dense"]["before"]
    dense_stays = found["dense"]["stays"] - found["dense"]["before"]
    for name, each in found.items():
        more, stays = each["peak"] - each["before"], each["stays"] - each["before"]
        lines.append(
            f"| {name} | {each['before'] / 1e6:,.0f} | {each['peak'] / 1e6:,.0f} "
            f"| {more / 1e6:,.0f} | {more / dense:.2f} | {each['file'] / 1e6:,.0f} "
            f"| {stays / 1e6:,.0f} | {stays / dense_stays:.2f} |"
        )
    return lines


def prompt_lines(found: dict[str, dict[str, Any]]) -> list[str]:
    lines = [
        "",
        "From a dense history to the first decision, in MB above what was there before:",
        "",
        "| arm | dense | at the peak of the first decision | times | behind it |",
        "|---|---|---|---|---|",
    ]
    for name, each in found.items():
        held, peak, stays = (each[key] - each["before"] for key in ("held", "peak", "stays"))
        lines.append(
            f"| {name} | {held / 1e6:,.0f} | {peak / 1e6:,.0f} | {peak / held:.2f} "
            f"| {stays / 1e6:,.0f} |"
        )
    return lines


def page(
    parts: Sequence[str], threads: Sequence[int], base: int, longer: Sequence[int], rounds: int
) -> str:
    size = Size()
    lines = [f"Random model: {size}. Chunks and windows of 64 tokens, {rounds} rounds of a window."]
    if "rates" in parts:
        found = {each: child("rates", each, length=base, rounds=rounds) for each in threads}
        lines += ["", *rates_lines(found, base)]
        lines += [
            "",
            f"`DynamicCache(offloading=True)` on this machine: {offloading_says(size) or 'works'}.",
        ]
    if "flat" in parts:
        lines += flat_lines(
            {
                each: {
                    length: child("flat", each, base=base, length=length, rounds=rounds)
                    for length in longer
                }
                for each in threads
            },
            base,
        )
    if "memory" in parts:
        steps = 2 * INTERVAL
        found = {name: child("memory", 1, length=base, arm=name, steps=steps) for name in MEMORY}
        lines += memory_lines(found, base * size.token_bytes)
        found = {name: child("memory", 1, length=base, arm=name, steps=steps) for name in PROMPT}
        lines += prompt_lines(found)
    return "\n".join([*lines, "", f"Load of the machine {os.getloadavg()[0]:.1f}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--parts", nargs="+", default=["rates", "flat", "memory"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--base", type=int, default=BASE)
    parser.add_argument("--longer", type=int, nargs="+", default=list(LONGER))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="into results/, not only printed")
    parser.add_argument("--measure", choices=["rates", "flat", "memory"], help=argparse.SUPPRESS)
    parser.add_argument("--length", type=int, default=BASE, help=argparse.SUPPRESS)
    parser.add_argument("--arm", default="lookahead", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=128, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        torch.set_num_threads(given.threads[0])
        size = Size()
        if given.measure == "rates":
            told = measure_rates(size, given.length, given.rounds)
        elif given.measure == "flat":
            told = measure_flat(size, given.base, given.length, given.rounds)
        else:
            told = measure_memory(size, given.length, given.arm, given.steps)
        print(json.dumps(told))
        return
    text = page(given.parts, given.threads, given.base, given.longer, given.rounds)
    tell(
        "lookahead-decode",
        "lookahead: decoding behind long histories on a CPU",
        text,
        write=given.write,
    )


if __name__ == "__main__":
    main()
