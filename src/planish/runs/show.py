"""What `planish runs list`, `show` and `compare` print."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish.records import BadInput
from planish.runs.console import Screen, command
from planish.runs.store import Comparison, compare, find, list_runs
from planish.stats import Estimate

__all__ = ["compare_runs", "show_list", "show_run"]

_HEADLINES = 3  # numbers of a run that fit beside its name


def show_list(root: Path, room: str | None, screen: Screen) -> None:
    """Every run, newest first, with its status and first numbers."""
    runs = list_runs(root, room)
    rows = []
    for run in runs:
        summary = run.info.summary if run.info else {}
        numbers = [
            f"{name} {value:.3f}" for name, value in summary.items() if isinstance(value, float)
        ]
        rows.append((run.name, run.status, ", ".join(numbers[:_HEADLINES]) or run.problem))
    if rows:
        screen.table(("run", "status", "numbers"), rows, text=True)
    else:
        whose = f"no runs of {room}" if room else "no runs"
        screen.say(
            f"{whose} under {root}; {command('planish', 'demo', *filter(None, [room]))} makes some"
        )
    listed = [
        {"name": run.name, "status": run.status, "summary": run.info.summary if run.info else None}
        for run in runs
    ]
    whole = [run for run in runs if run.info]
    then = [command("planish", "runs", "show", whole[0].path)] if whole else []
    screen.close({"runs": listed}, then=then)


def show_run(root: Path, name: str, screen: Screen) -> None:
    """One run: settings, numbers, and where everything is."""
    run = find(root, name)
    assert run.info is not None
    info = run.info
    screen.say(f"{run.name}: {run.status}{f' ({info.reason})' if info.reason else ''}")
    screen.say(f"started {info.started}, seed {info.seed}, {info.room} {info.stage}".rstrip())
    settings = [(key, str(value)) for key, value in info.config.items() if value is not None]
    screen.table(("setting", "value"), settings, text=True)
    screen.numbers(_estimates(info.summary))
    page = run.path / "report.html"
    then = []
    if run.status in ("interrupted", "failed") and info.again:
        then.append(command(*info.again.split(), run.path))
    payload = {**info.model_dump(mode="json"), "name": run.name, "status": run.status}
    screen.close(payload, run=run.path, report=page if page.exists() else "", then=then)


def _estimates(summary: dict[str, Any]) -> dict[str, Any]:
    """A run's summary with each interval beside its number; tables and texts are left to JSON."""
    shown: dict[str, Any] = {}
    for name, value in summary.items():
        if name.endswith(("_ci", "_n")) or isinstance(value, dict | list):
            continue
        interval = summary.get(f"{name}_ci")
        if isinstance(interval, list) and isinstance(value, int | float):
            low, high = interval
            value = Estimate(value=value, low=low, high=high, n=summary.get(f"{name}_n") or 0)
        shown[name] = value
    return shown


def compare_runs(root: Path, names: Sequence[str], screen: Screen) -> None:
    """Runs side by side; the first is the baseline."""
    runs = [find(root, name) for name in names]
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise BadInput("the same run is named twice", where="runs compare")
    found = compare(runs)
    modes = {
        str(run.info.summary["mode"]) for run in runs if run.info and "mode" in run.info.summary
    }
    if len(modes) > 1:
        screen.warn(f"counted differently ({', '.join(sorted(modes))}): rates are not comparable")
    columns = ("", *(f"({index})" for index in range(1, len(found.names) + 1)))
    for index, name in enumerate(found.names, 1):
        screen.say(f"({index}) {name}")
    settings = [
        (row.name, *("" if at in row.absent else str(each) for at, each in enumerate(row.values)))
        for row in found.config
        if any(each is not None for each in row.values)
    ]
    if settings:
        screen.table(columns, settings, title="settings that differ")
    screen.table(columns, _number_rows(found), title="numbers, with the difference to (1)")
    for row in found.paired:
        test = "" if row.mcnemar is None else f", exact McNemar p = {row.mcnemar.p_value:.3g}"
        screen.say(
            f"{row.name}, paired on {row.n} items: {row.b} minus {row.a} = {row.difference}{test}"
            + (f"; {row.left_out} items scored by only one were left out" if row.left_out else "")
        )
    if not found.paired:
        screen.say("no item was scored by the first run and another: nothing to pair")
    screen.close(found.model_dump(mode="json"))


def _number_rows(found: Comparison) -> list[tuple[str, ...]]:
    rows = []
    for row in found.numbers:
        if "." in row.name:  # counts inside tables: --json has them
            continue
        whole = all(value is None or value.is_integer() for value in row.values)
        shape, signed = ("{:.0f}", "{:+.0f}") if whole else ("{:.3f}", "{:+.3f}")
        cells = []
        for value, interval, difference in zip(
            row.values, row.intervals, row.differences, strict=True
        ):
            cell = "n/a" if value is None else shape.format(value)
            if interval is not None:
                cell += f" [{interval[0]:.3f}, {interval[1]:.3f}]"
            if difference is not None:
                cell += f" ({signed.format(difference)})"
            cells.append(cell)
        rows.append((row.name, *cells))
    return rows
