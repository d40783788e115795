"""How much of an endpoint's throughput a run leaves unused, and what memory a pair takes.

    python benchmarks/bench_vfaith_run.py [--pairs 600] [--rounds 3]
    python benchmarks/bench_vfaith_run.py --memory              memory alone

`planish vfaith run` as it is typed, in a process of its own, against a server on loopback that
answers after 100 ms, at 32 calls in flight, with 512 px pictures: a drawn scene, which PNG makes
small, and a photograph, which it does not. Measured is the rate between the first and the last
call as the server saw them, and beside it the whole command's, start and report included. The
server neither reads nor logs what it is sent: with photographs it would be what is measured. The
endpoint client alone on the same chats shows what the run's own work costs.

Memory is the peak of a process of its own, as the kernel tells it, over 200 to 1,600 pairs of 256
px; the slope is that of a line through them.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from planish.methods.vfaith.bench import PAIRS, Bench, read_bench
from planish.methods.vfaith.data import ARMS, EditPair
from planish.methods.vfaith.running.records import calls_of
from planish.models.endpoint import EndpointModel
from planish.records import Sampling, write_jsonl
from support import write_result

# Beside `support` here, so by its own folder and not as `support.server`.
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from pictures import make_pair, store
from server import ChatServer

DELAY = 0.1
IN_FLIGHT = 32
IDEAL = IN_FLIGHT / DELAY
SIDE = 512


def scenes(folder: Path, number: int, side: int = SIDE) -> Bench:
    """A few drawn pairs, each under many names with words of its own: no two calls are equal."""
    return _bench(folder, [make_pair(folder, index, size=side) for index in range(12)], number)


def photographs(folder: Path, number: int) -> Bench:
    """The same with grain as a camera leaves it: PNG files of about 400 kB."""
    pairs = []
    for index in range(12):
        pair = make_pair(folder, index, size=SIDE)
        rng = np.random.default_rng(index)
        changes = {}
        for name in ("raw", "edited", "placebo"):
            picture = getattr(pair, name)
            pixels = np.asarray(Image.open(folder / picture.file)).astype(float)
            grain = np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
            file, digest = store(folder, "images", Image.fromarray(grain))
            changes[name] = picture.model_copy(update={"file": file, "sha256": digest})
        pairs.append(pair.model_copy(update=changes))
    return _bench(folder, pairs, number)


def _bench(folder: Path, few: list[EditPair], number: int) -> Bench:
    def named(index: int) -> EditPair:
        pair = few[index % len(few)]
        statement = pair.perception[0]
        return pair.model_copy(
            update={
                "pair_id": f"p{index:05d}",
                "question": f"Picture {index}: {pair.question}",
                "perception": (
                    statement.model_copy(update={"text": f"Picture {index}: {statement.text}"}),
                ),
            }
        )

    write_jsonl(folder / PAIRS, map(named, range(number)))
    return read_bench(folder)


# The peak that the kernel tells of a child counts what its parent had when it was begun.
CHILD = """
import atexit, sys
from planish.cli import main
def peak():
    line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    sys.stderr.write(f"\\n{line.split()[1]}\\n")
atexit.register(peak)
main(sys.argv[1:])
"""


def run(bench: Bench, server: ChatServer, folder: Path) -> dict[str, float]:
    """The command: its rate, and the most memory that its process took."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "vfaith", "run", "--json", "--unpinned",
         "--min-coverage", "0", "--model", f"openai:m@{server.url}?in_flight={IN_FLIGHT}",
         "--bench", str(bench.folder), "--runs", str(folder)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(errors)
    return {
        "rate": _rate(server),
        "whole": server.count("ok") / (time.perf_counter() - begin),
        "memory": int(errors.split()[-1]) / 1024,
        "processor": 1000 * (used.ru_utime + used.ru_stime) / server.count("ok"),
    }


def client(bench: Bench, server: ChatServer, _: Path) -> dict[str, float]:
    """The endpoint client alone, on the same chats."""
    chats = [call.chat(bench) for call in calls_of(bench.pairs, ARMS)]
    model = EndpointModel("m", server.url, in_flight=IN_FLIGHT, api_key="none")
    before, begin = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    model.generate(chats, Sampling(temperature=0, seed=0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {
        "rate": _rate(server),
        "whole": len(chats) / (time.perf_counter() - begin),
        "memory": float("nan"),
        "processor": 1000 * spent / len(chats),
    }


def _rate(server: ChatServer) -> float:
    """Calls a second from the first one that was begun to the last that was answered."""
    times = sorted(row["time"] for row in server.log() if row["kind"] == "ok")
    # A call's time is that of its arrival.
    return len(times) / (times[-1] + DELAY - times[0])


ARMS_OF: dict[str, tuple[Callable[[Path, int], Bench], Callable[..., dict[str, float]]]] = {
    "run, scenes": (scenes, run),
    "client alone, scenes": (scenes, client),
    "run, photographs": (photographs, run),
    "client alone, photographs": (photographs, client),
}


def measure(bench: Bench, work: Callable[..., dict[str, float]]) -> dict[str, float]:
    """One round against a server of its own."""
    with tempfile.TemporaryDirectory() as folder, ChatServer(delay=DELAY, light=True) as server:
        return work(bench, server, Path(folder))


def main() -> None:
    """All arms in turn, round after round; or memory by the number of pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=600, help="pairs of a bench, six calls each")
    parser.add_argument("--rounds", type=int, default=3, help="rounds per arm")
    parser.add_argument("--memory", action="store_true", help="memory alone")
    options = parser.parse_args()
    if options.memory:
        measure_memory()
        return
    with tempfile.TemporaryDirectory() as home:
        benches = {
            name: make(Path(home, name), options.pairs)
            for name, (make, _) in ARMS_OF.items()
        }  # fmt: skip
        found: dict[str, list[dict[str, float]]] = {name: [] for name in ARMS_OF}
        for _ in range(options.rounds):
            for name, (_, work) in ARMS_OF.items():
                found[name].append(measure(benches[name], work))
                print(f"{name}: {found[name][-1]['rate'] / IDEAL:.1%} of the ideal", flush=True)
    write_result("vfaith-run", "Asking an endpoint about pictures", table(found, options))


# ---- memory ----------------------------------------------------------------------------------

SIZES = (200, 400, 800, 1_600)
SMALL_SIDE = 256


def peak(*words: object) -> float:
    """Of `planish vfaith ...` in a process of its own, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, "vfaith", *map(str, words), "--json"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    return int(done.stderr.split()[-1]) / 1024


def peaks(home: Path, number: int) -> dict[str, float]:
    """What every stage takes at most over so many pairs."""
    bench, runs = home / "bench", ("--runs", home / "runs")
    scenes(bench, number, SMALL_SIDE)
    with ChatServer(delay=0.001, light=True) as server:
        model = f"openai:m@{server.url}?in_flight={IN_FLIGHT}"
        asked = peak(
            "run", "--model", model, "--unpinned", "--min-coverage", 0, "--bench", bench, *runs
        )  # fmt: skip
    planted = peak("run", "--model", "planted:sheet", "--bench", bench, *runs)
    score = peak("score", "last", *runs)
    size = ("--num", number, "--size", SMALL_SIDE, "--workers", 1, "--out", home / "built")
    return {
        "run, endpoint": asked,
        "run, planted model": planted,
        "score": score,
        "build": peak("build", *size, *runs),
    }


def measure_memory() -> None:
    """Peaks by number of pairs, and how many bytes a pair adds."""
    found: dict[str, list[float]] = {}
    for number in SIZES:
        with tempfile.TemporaryDirectory() as home:
            for stage, value in peaks(Path(home), number).items():
                found.setdefault(stage, []).append(value)
                print(f"{stage}, {number} pairs: {value:.1f} MB", flush=True)
    lines = [
        f"Peak memory of the whole process in MB, by number of pairs of {SMALL_SIDE} px; the slope "
        "is that of a line through them. One process each, which draws too in `build`. The gates "
        "over the whole bench look at 2,000 pairs at most: beyond that `build` adds nothing for "
        "them.",
        "",
        "| | " + " | ".join(f"{number:,} pairs" for number in SIZES) + " | bytes a pair |",
        "|---|" + "---|" * (len(SIZES) + 1),
    ]
    for stage, values in found.items():
        slope = float(np.polyfit(SIZES, values, 1)[0]) * 2**20
        cells = " | ".join(f"{value:.1f}" for value in values)
        lines.append(f"| {stage} | {cells} | {slope:,.0f} |")
    write_result("vfaith-memory", "Memory by the number of pairs", "\n".join(lines))


def table(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> str:
    """What was measured, as Markdown."""
    lines = [
        f"{IN_FLIGHT} calls in flight, answers after {DELAY:.1f} s: ideal {IDEAL:.0f} calls/s. "
        f"{options.pairs} pairs, {SIDE} px, six calls each; {options.rounds} rounds, arms "
        f"alternating; load of the machine at the end {os.getloadavg()[0]:.1f}. Median (lowest to "
        "highest).",
        "",
        "| | calls/s | of the ideal | whole command | CPU per call | peak memory |",
        "|---|---|---|---|---|---|",
    ]
    for name, rounds in found.items():
        middle = {key: statistics.median(row[key] for row in rounds) for key in rounds[0]}
        rates = [row["rate"] / IDEAL for row in rounds]
        memory = "" if "client" in name else f"{middle['memory']:.0f} MB"
        lines.append(
            f"| {name} | {middle['rate']:.0f} | {middle['rate'] / IDEAL:.1%} ({min(rates):.1%} to "
            f"{max(rates):.1%}) | {middle['whole']:.0f} | {middle['processor']:.2f} ms | {memory} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
