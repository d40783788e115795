"""Run folders of stage `run`, and what the bench tells of itself, as a score needs them.

stored = [run_named(runs, name) for name in ("last",)]
bench = bench_of(stored, None)
sheets, warnings = sheets_of(bench, stored)
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path

from pydantic import ValidationError

from planish.methods.vfaith.bench import BUILD, REJECTED, Bench, read_bench
from planish.methods.vfaith.data import Check, Response
from planish.methods.vfaith.scoring.sheets import Planned, Sheet, read_sheet
from planish.methods.vfaith.verifying.independence import check_not_verifier
from planish.methods.vfaith.verifying.ratings import Agreement, kept
from planish.records import BadInput, explain, read_jsonl
from planish.runs.store import StoredRun, find, list_runs

__all__ = [
    "bench_of",
    "check_ranked",
    "excluded_by",
    "failed_gates",
    "raters_of",
    "run_named",
    "sheets_of",
]


def run_named(runs: Path, name: str) -> StoredRun:
    """A run of stage `run`; the newest one for "last", whatever was scored since."""
    if name == "last":
        every = list_runs(runs, "vfaith")
        made = [each for each in every if each.info is not None and each.info.stage == "run"]
        if not made:
            raise BadInput(
                "there is no run to score",
                where=str(runs),
                fix="planish vfaith run --model M --bench DIR",
            )
        return made[0]
    found = find(runs, name)
    info = found.info
    if info is None or (info.room, info.stage) != ("vfaith", "run"):
        kind = "a broken run" if info is None else f"a run of {info.room} {info.stage}"
        raise BadInput(f"{kind}", where=name, fix="give runs of planish vfaith run")
    return found


def bench_of(stored: Sequence[StoredRun], moved: Path | None) -> Bench:
    """The one bench of all runs, which must be what it was.

    Raises:
        BadInput: two benches, or one that has changed.
    """
    asked = [each.info.config if each.info else {} for each in stored]
    digests = {str(config.get("bench_digest", "")) for config in asked}
    if len(digests) > 1:
        other = next(
            each
            for each, config in zip(stored, asked, strict=True)
            if config.get("bench_digest") != asked[0].get("bench_digest")
        )
        raise BadInput(
            f"{other.name} was asked another bench than {stored[0].name}",
            where=str(asked[stored.index(other)].get("bench")),
            fix="score runs of one bench together",
        )
    held = read_bench(moved or Path(str(asked[0].get("bench", ""))))
    if held.digest != digests.pop():
        raise BadInput(
            "its pairs have changed since the run",
            where=str(held.folder),
            fix="run the model again, or name the old bench with --bench",
        )
    return held


def check_ranked(bench: Bench, run: StoredRun) -> None:
    """Refuses the run of a model that verified the cues of the bench.

    Raises:
        BadInput: it did.
    """
    asked = run.info.config if run.info else {}
    model, revision = (str(asked.get(name) or "") for name in ("model", "revision"))
    check_not_verifier(bench, model, revision, where=run.name)


def sheets_of(
    bench: Bench, stored: Sequence[StoredRun], min_coverage: float | None = None
) -> tuple[list[Sheet], list[str]]:
    """One sheet a run, and what must be said of runs that hold the same replies.

    Args:
        min_coverage: in place of the runs' own.

    Raises:
        BadInput: a run is named twice, or a reply does not fit the bench.
    """
    sheets, keys = [], []
    for each, label in zip(stored, _labels(stored), strict=True):
        plan = _planned(each)
        if min_coverage is not None:
            plan = plan.model_copy(update={"min_coverage": min_coverage})
        seen: set[str] = set()
        replies = _replies(each, seen)
        sheets.append(read_sheet(bench, replies, label=label, where=str(each.path), plan=plan))
        keys.append(seen)
    warnings = [
        f"{stored[one].name} and {stored[two].name} asked one model the same with one seed: they "
        "are no independent samples"
        for one, two in combinations(range(len(stored)), 2)
        if keys[one] & keys[two]
    ]
    return sheets, warnings


def _planned(run: StoredRun) -> Planned:
    try:
        return Planned.model_validate(run.info.config if run.info else {})
    except ValidationError as error:
        raise BadInput(
            f"its settings are broken ({explain(error)})", where=run.name, fix="start a new run"
        ) from None


def _replies(run: StoredRun, seen: set[str]) -> Iterator[Response]:
    """Keeps the keys of one arm: settings that make one reply the same make all of them so."""
    for row in run.rows("response"):
        reply = row.read(Response)
        if reply.arm == "raw" and not reply.repeat and reply.outcome != "error":
            seen.add(reply.key)
        yield reply


def _labels(stored: Sequence[StoredRun]) -> list[str]:
    """What tables call the models; with the run's name where two would be called the same."""
    if len({each.path.resolve() for each in stored}) < len(stored):
        raise BadInput("a run is named twice", fix="name each run once")
    models = [str(each.info.config.get("model", "")) if each.info else "" for each in stored]
    short = [model.partition("@")[0] for model in models]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else f"{name} ({each.path.name})"
        for name, each in zip(short, stored, strict=True)
    ]


def excluded_by(bench: Bench) -> Mapping[tuple[str, str, str, str], int]:
    """(gate, code, family, editor) -> pairs that the gates kept out, as far as the bench tells."""
    path = bench.folder / REJECTED
    found: Counter[tuple[str, str, str, str]] = Counter()
    if not path.exists():
        return found
    for _, value in read_jsonl(path):
        edit, checks = value.get("edit"), value.get("checks")
        backend = edit.get("backend", "") if isinstance(edit, dict) else ""
        for check in checks if isinstance(checks, list) else ():
            if isinstance(check, dict) and check.get("passed") is False:
                gate, code = str(check.get("gate", "")), str(check.get("code", ""))
                found[gate, code, str(value.get("family", "")), str(backend)] += 1
    return found


def failed_gates(bench: Bench) -> list[Check]:
    """The gates over the whole bench that it did not pass, as its `build.json` has them.

    Raises:
        BadInput: the file tells of gates, and not what came of them.
    """
    path = bench.folder / BUILD
    if not path.exists():
        return []
    try:
        told = json.loads(path.read_text("utf-8"))
        gates = told.get("numbers", {}).get("bench_gates", {})
        if not gates:
            return []  # a bench that does not tell; `read_bench` has looked at what it must have
        checks = [Check.model_validate(each) for each in gates["checks"]]
        if not checks:
            raise ValueError("no checks")
    except ValidationError as error:
        raise _untold(path, explain(error)) from None
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise _untold(path, str(error)) from None
    return [check for check in checks if not check.passed]


def _untold(path: Path, why: str) -> BadInput:
    return BadInput(
        f"numbers.bench_gates.checks cannot be read ({why})",
        where=str(path),
        fix="build the bench again",
    )


def raters_of(bench: Bench) -> tuple[Agreement | None, list[str]]:
    """What two people said of the bench, or why that cannot be told."""
    try:
        return kept(bench), []
    except BadInput as error:
        return None, [f"what people said of the bench is not told: {error}"]
