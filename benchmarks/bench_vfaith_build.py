"""How fast a bench is built, and whether its memory grows with the number of pairs.

python benchmarks/bench_vfaith_build.py [--quick]

Asked: 40 gated pairs a second at 512 pixels on two cores; memory flat in the number of pairs. The
whole bench of 755 entries is built once and what it promises is looked at: every gate, every pixel
outside every mask, letters, and what words or looks alone tell.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

from support import write_result

WORKERS = 2
SMALL, LARGE = 200, 2_000

_BUILD = """
import json, os, resource, sys, time
from pathlib import Path
from planish.methods.vfaith.building.build import make_plan
from planish.methods.vfaith.building.counting import count
from planish.methods.vfaith.building.filling import fill
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.config import Building
from planish.methods.vfaith.editing.contract import load_editor
from planish.parallel import fan_out
from planish.runs.console import Screen

out, num, size, workers = sys.argv[1], *map(int, sys.argv[2:])
plan, _ = make_plan(num=num, building=Building(size=size))
screen, editor = Screen(json=True), load_editor("scene")
with Site.open(Path(out) / "warm", make_plan(num=64, building=Building(size=256))[0]) as site:
    fill(site, editor, screen, workers=workers)  # processes are there and have imported
with Site.open(Path(out) / "bench", plan) as site:
    start, began = time.perf_counter(), time.process_time()
    fill(site, editor, screen, workers=workers)
    filled, used = time.perf_counter() - start, time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    site.settle()
    numbers = count(site)
    took = time.perf_counter() - start
print(json.dumps({
    "filled": filled, "used": used, "took": took,
    "built": numbers.total("pair") + numbers.total("perception"),
    "drawn": sum(numbers.total(kind) for kind in ("pair", "perception", "rejected")),
    "peak_filling": peak, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "load": os.getloadavg()[0], "numbers": numbers.as_json(),
}))
"""


def built(num: int, size: int, workers: int = WORKERS) -> dict[str, Any]:
    """One bench in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        result = subprocess.run(
            [sys.executable, "-c", _BUILD, folder, str(num), str(size), str(workers)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
    if result.returncode:
        raise RuntimeError(result.stderr)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def told(found: dict[str, Any]) -> str:
    """What the gates over the whole bench found."""
    gates = found["numbers"]["bench_gates"]
    lines = [
        f"- entries: {found['numbers']['pairs']} pairs and {found['numbers']['perception']} "
        f"perception items; {found['numbers']['rejected']} more were kept out by a gate",
        f"- largest change of a pixel outside a mask: {found['numbers']['most_outside']:g} levels",
    ]
    for name, chance in (("text_only", gates["text_only_chance"]), ("placebo_cue", 0.5)):
        own = gates[name]
        lines.append(
            f"- {name}: {own['value']:.3f} [{own['low']:.3f}, {own['high']:.3f}], "
            f"n = {own['n']}, chance {chance:.3f}"
        )
    lines.append(f"- letters: {json.dumps(gates['letters'])}")
    lines += [
        f"- gate {check['gate']}: {'passed' if check['passed'] else 'FAILED ' + check['code']}"
        for check in gates["checks"]
    ]
    return "\n".join(lines)


def main() -> None:
    """Builds, measures and writes the result."""
    quick = "--quick" in sys.argv
    whole = built(100 if quick else 755, 512)
    alone = built(20 if quick else 120, 512, workers=1)
    used = alone["used"] / alone["drawn"]
    small, large = (built(num // (10 if quick else 1), 256) for num in (SMALL, LARGE))
    rows = [
        f"| {num} | {size} | {found['drawn'] / found['filled']:.1f} | "
        f"{found['built'] / found['took']:.1f} | {found['peak_filling']:.0f} | "
        f"{found['peak']:.0f} | {found['load']:.1f} |"
        for num, size, found in (
            (whole["built"], 512, whole),
            (small["built"], 256, small),
            (large["built"], 256, large),
        )
    ]  # fmt: skip
    body = "\n".join(
        [
            f"{WORKERS} workers, scene editor; the workers are warm. Drawn and gated: with every "
            "pair that a gate kept out. Whole: until files are settled and the gates over the "
            "whole bench are done. Load: of the machine, over the last minute; this benchmark "
            f"itself makes {WORKERS}.",
            "",
            "| entries | pixels a side | drawn and gated a second | whole, entries a second | "
            "peak while drawing, MiB | peak in all, MiB | load |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"One process draws, edits and gates a pair of 512 pixels in {1000 * used:.1f} ms of "
            f"its core: two cores that do nothing else make {2 / used:.0f} a second (asked: 40). "
            "The rate of the table is what was left of them.",
            "",
            "## The bench of 755 entries" if not quick else "## The bench",
            "",
            told(whole),
        ]
    )
    write_result("vfaith-build", "Building a bench of edited pairs", body)


if __name__ == "__main__":
    main()
