"""What a command shows: results on standard output, progress on standard error.

With `--json` standard output holds one JSON object and nothing else. Texts may be anybody's: what a
terminal would obey is shown by name.

    screen = Screen(json=False)
    with screen.progress("judging", total=540) as step:
        step()
    screen.numbers({"vote accuracy": estimate})
    screen.close({"vote_accuracy": 0.322}, run="runs/rise/...", then="planish runs show last")
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from planish.runs.visible import visible

__all__ = ["Screen", "command", "flat"]


_PIPE_WIDTH = 120
_WIDE = 90  # on a narrower terminal names fold, or they would push the numbers out
_LONGEST_LABEL = 36
_INDENT = len("report  ")
_MORE = " \\"  # what tells a shell that the command goes on


def command(*words: object) -> str:
    """A command that can be pasted, paths with blanks included."""
    return shlex.join(str(word) for word in words)


def flat(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Estimates as plain JSON: `name` holds the value and `name_ci` the interval."""
    plain: dict[str, Any] = {}
    for name, number in numbers.items():
        if hasattr(number, "low"):
            plain[name] = number.value
            plain[f"{name}_ci"] = None if number.low is None else [number.low, number.high]
        else:
            plain[name] = number
    return plain


class Screen:
    """A terminal for people, or one JSON object for machines."""

    def __init__(self, *, json: bool = False) -> None:
        from rich.console import Console

        self.json = json
        # A pipe has no width of its own; one that is too narrow would fold names.
        width = None if sys.stdout.isatty() else _PIPE_WIDTH
        self._out = Console(highlight=False, emoji=False, width=width)
        self._err = Console(stderr=True, highlight=False, emoji=False)

    def say(self, text: str = "") -> None:
        """One paragraph of result."""
        if not self.json:
            self._out.print(visible(text), markup=False)

    def heading(self, text: str) -> None:
        """A rule with a title, before a part of a longer output."""
        if not self.json:
            self._out.rule(visible(text), align="left", style="dim")

    def note(self, text: str) -> None:
        """One quiet line on standard error, such as where the run is."""
        self._err.print(visible(text), markup=False, style="dim", soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line that must be seen even with `--json`."""
        self._err.print(visible(text), markup=False, style="yellow", soft_wrap=True)

    def numbers(self, numbers: Mapping[str, Any], *, title: str = "") -> None:
        """Names, values and 95 % intervals, one a line."""
        rows = []
        for name, number in numbers.items():
            if hasattr(number, "low"):
                value = "n/a" if number.value is None else f"{number.value:.3f}"
                interval = "" if number.low is None else f"[{number.low:.3f}, {number.high:.3f}]"
                rows.append((name, value, interval))
            elif isinstance(number, float):
                rows.append((name, f"{number:.3f}", ""))
            else:
                rows.append((name, "n/a" if number is None else str(number), ""))
        self.table(("", "value", "95 % interval"), rows, title=title)

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str = "",
        text: bool = False,
    ) -> None:
        """A plain table: names on the left, numbers on the right; `text` for words throughout."""
        if self.json or not rows:
            return
        from rich import box
        from rich.table import Table
        from rich.text import Text

        if title:
            self._out.print(f"\n{visible(title)}", markup=False, style="bold")
        table = Table(box=box.SIMPLE_HEAD)
        for index, column in enumerate(columns):
            side: Literal["left", "right"] = "right" if index and not text else "left"
            wide = self._out.width >= _WIDE
            table.add_column(
                visible(column), justify=side, overflow="fold", no_wrap=wide and not index
            )
        for row in rows:
            table.add_row(*(Text(visible(cell)) for cell in row))
        self._out.print(table)

    @contextlib.contextmanager
    def progress(self, what: str, total: int) -> Iterator[Callable[[], None]]:
        """A bar on standard error with what is being done and how long is left.

        Yields a function to call after each step. On a stream that is not a terminal nothing
        moves and nothing is printed.
        """
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("elapsed,"),
            TimeRemainingColumn(),
            TextColumn("left"),
        )
        with Progress(
            *columns, console=self._err, transient=True, disable=not self._err.is_terminal
        ) as bar:
            short = what if len(what) <= _LONGEST_LABEL else f"{what[: _LONGEST_LABEL - 1]}…"
            task = bar.add_task(visible(short), total=total)
            yield lambda: bar.advance(task)

    def close(
        self,
        summary: Mapping[str, Any],
        *,
        run: object = "",
        report: object = "",
        then: Sequence[str] = (),
    ) -> None:
        """Ends a command: the run, its report and what to do next, or the one JSON object."""
        places = {name: str(place) for name, place in (("run", run), ("report", report)) if place}
        if self.json:
            payload = {**flat(summary), **places}
            sys.stdout.write(json.dumps(payload) + "\n")
            return
        lines = [f"{name:<7} {place}" for name, place in places.items()]
        # In a pipe a command is one line, for whoever looks for it there.
        width = self._out.width - _INDENT if self._out.is_terminal else None
        for index, line in enumerate(then):
            first, *others = [line] if width is None else _folded(line, width)
            lines.append(f"{'' if index else 'next':<{_INDENT - 1}} {first}")
            lines += [" " * _INDENT + other for other in others]
        for line in lines:  # never folded by the terminal: each must survive being pasted
            self._out.print(visible(line), markup=False, soft_wrap=True)


def _folded(line: str, width: int) -> list[str]:
    """A command over several lines that can still be pasted: an option stays with its values."""
    try:
        words = shlex.split(line)
    except ValueError:  # a note, not a command
        return [line]
    if len(line) <= width or shlex.join(words) != line:
        return [line]
    parts: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            parts.append([])
        parts[-1].append(word)
    lines: list[str] = []
    for part in map(shlex.join, parts):
        if lines and len(lines[-1]) + len(part) + len(" ") + len(_MORE) <= width:
            lines[-1] += f" {part}"
        else:
            lines.append(part if not lines else f"    {part}")
    return [*(f"{each}{_MORE}" for each in lines[:-1]), lines[-1]]
