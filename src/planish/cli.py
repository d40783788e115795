"""The command line: verbs only. Rooms are found in the table, their stages are loaded lazily.

planish                      the table of rooms
planish demo [ROOM]          offline demonstration
planish ROOM STAGE ...       planish rise judge --model hf:./checkpoint --pairs pairs.jsonl
planish runs [list|show|compare]
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from cyclopts import App, CycloptsError

from planish import __version__
from planish.errors import BadInput
from planish.methods import ROOMS, built, method
from planish.runs.help import Flowing
from planish.runs.options import RUNS, Json, RunsDir, Seed
from planish.runs.visible import visible

__all__ = ["build_app", "main"]


def build_app(help_of: str = "") -> App:
    """The whole command tree; nothing of a room but its table row is imported.

    Args:
        help_of: a room whose stages are imported, so that its help can tell what they do.
    """
    app = App(
        name="planish",
        help="Measure what a language model cannot do, mend it, and show the proof.",
        version=__version__,
        help_format="plaintext",
        help_formatter=Flowing(),
        default_command=rooms,
        suppress_keyboard_interrupt=False,
    )
    app.command(demo)
    runs = App(
        name="runs",
        help="List, show and compare finished runs.",
        default_command=list_runs,
    )
    runs.command(list_runs, name="list")
    runs.command(show_run, name="show")
    runs.command(compare_runs, name="compare")
    app.command(runs)
    for name, question in ROOMS.items():
        if not built(name):
            continue
        found = method(name)
        room = App(name=name, help=f"{question} {found.title}, arXiv {found.paper}.")
        for stage, path in found.stages.items():
            room.command(_imported(path) if name == help_of else path, name=stage)
        app.command(room)
    return app


def _imported(path: str) -> Any:
    import importlib

    module, _, function = path.partition(":")
    return getattr(importlib.import_module(module), function)


def rooms(*, json: Json = False) -> None:
    """Show the table of rooms."""
    from planish.runs.console import Screen

    screen = Screen(json=json)
    rows = []
    for name, question in ROOMS.items():
        if built(name):
            found = method(name)
            rows.append((name, question, " ".join(found.stages), found.paper))
        else:
            rows.append((name, question, "planned", ""))
    screen.table(("room", "the question it answers", "stages", "arXiv"), rows, text=True)
    screen.say("planish demo ROOM          see it work, offline, in under a minute")
    screen.say("planish ROOM STAGE --help  the options of a stage")
    if json:
        screen.close({name: built(name) for name in ROOMS})


def demo(
    room: str | None = None, *, seed: Seed = 0, runs: RunsDir = RUNS, json: Json = False
) -> None:
    """Run the offline demonstration of one room, or of every room that is built.

    Args:
        room: Which room; all of them if left out.
        seed: Seed of everything random.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    from planish.runs.console import Screen, command, flat

    if room is not None:
        _check_room(room, "demo")
        _check_command([room])
    names = [room] if room else [name for name in ROOMS if built(name)]
    screen = Screen(json=json)
    shown = []
    for name in names:
        screen.heading(f"{name}: {ROOMS[name]}")
        shown.append(_imported(method(name).demo)(screen=screen, seed=seed, root=runs))
    if room is not None:
        page, summary = shown[0].folder / "report.html", shown[0].summary
    else:
        from planish.runs.report import combine

        page = combine([each.report for each in shown], runs / "demo.html", "planish: every room")
        summary = {name: flat(each.summary) for name, each in zip(names, shown, strict=True)}
    then = [command for each in shown for command in each.then]
    screen.close(
        summary,
        run=", ".join(str(each.folder) for each in shown),
        report=page,
        then=[*then, command("planish", "runs", "list", "--runs", runs)],
    )


def list_runs(room: str | None = None, *, runs: RunsDir = RUNS, json: Json = False) -> None:
    """List the runs, newest first.

    Args:
        room: Only those of one room.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    from planish.runs import show
    from planish.runs.console import Screen

    if room is not None:
        _check_room(room, "runs list")
    show.show_list(runs, room, Screen(json=json))


def show_run(run: str = "last", *, runs: RunsDir = RUNS, json: Json = False) -> None:
    """Show one run: its settings, its numbers and where its report is.

    Args:
        run: A path, a name, the beginning of a name, or "last".
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    from planish.runs import show
    from planish.runs.console import Screen

    show.show_run(runs, run, Screen(json=json))


def compare_runs(
    first: str, second: str, /, *others: str, runs: RunsDir = RUNS, json: Json = False
) -> None:
    """Compare runs: settings that differ, numbers side by side, paired by item where possible.

    Args:
        first: A path, a name, the beginning of a name, or "last".
        second: Another run.
        others: More runs.
        runs: Folder that holds the runs.
        json: One JSON object on stdout.
    """
    from planish.runs import show
    from planish.runs.console import Screen

    show.compare_runs(runs, [first, second, *others], Screen(json=json))


def _check_room(room: str, where: str) -> None:
    if room not in ROOMS:
        raise BadInput(
            f"no room is called {room!r}", where=where, fix=f"use one of {', '.join(ROOMS)}"
        )


def _complain(line: str) -> None:
    sys.stderr.write(f"planish: {visible(' '.join(line.split()))}\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 success, 1 a run that failed, 2 bad input."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    raise SystemExit(_run(tokens))


def _run(tokens: list[str]) -> int:
    try:
        _check_command(tokens)
        signal.signal(signal.SIGTERM, _terminated)
        result: Any = build_app(help_of=_room_for_help(tokens))(
            tokens, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except BadInput as error:
        _complain(str(error))
        return 2
    except CycloptsError as error:
        _complain(f"{_usage(error)} Try: planish {_known(tokens)} --help".replace("  ", " "))
        return 2
    except _Terminated:
        _complain("terminated; what was finished is kept")
        return 143
    except KeyboardInterrupt:
        _complain("interrupted; what was finished is kept")
        return 130
    except BrokenPipeError:  # `planish runs list | head` is not an error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OSError, MemoryError) as error:
        _complain(f"{type(error).__name__}: {error}")
        return 1
    return result if isinstance(result, int) else 0


class _Terminated(KeyboardInterrupt):
    """A scheduler's SIGTERM: treated as Ctrl-C, so that a run ends as interrupted."""


def _terminated(number: int, frame: object) -> None:
    raise _Terminated


def _room_for_help(tokens: Sequence[str]) -> str:
    """The room whose list of stages will be printed; only then their first lines are needed."""
    return tokens[0] if tokens and (len(tokens) == 1 or tokens[1].startswith("-")) else ""


def _check_command(tokens: Sequence[str]) -> None:
    """A word that is no command, or a room that has only its row in the table yet."""
    if not tokens or tokens[0].startswith("-"):
        return
    word = tokens[0]
    rooms_now = [name for name in ROOMS if built(name)]
    if word in ROOMS and word not in rooms_now:
        raise BadInput(f"the room {word} is not built yet", fix=f"built: {', '.join(rooms_now)}")
    if word not in (*rooms_now, "demo", "runs"):
        raise BadInput(
            f"no room or command is called {word!r}",
            fix=f"use one of demo, runs, {', '.join(rooms_now)}",
        )


def _usage(error: CycloptsError) -> str:
    """What is wrong with the options, in one line; a pydantic error names its field as typed."""
    from pydantic import ValidationError

    from planish.records import explain

    cause = error.__cause__
    if isinstance(cause, ValidationError) and cause.errors()[0]["loc"]:
        field = str(cause.errors()[0]["loc"][0]).replace("_", "-")
        return f"--{field}: {explain(cause).partition(': ')[2]}."
    text = str(error)
    return text if text.endswith(".") else f"{text}."


def _known(tokens: Sequence[str]) -> str:
    """The leading words of a command that exist, for a hint that can be typed."""
    words: list[str] = []
    for token in tokens[:2]:
        room = words[0] if words else ""
        stages = method(room).stages if built(room) else ("list", "show", "compare")
        if token not in ({*ROOMS, "demo", "runs"} if not words else stages):
            break
        words.append(token)
    return " ".join(words)


if __name__ == "__main__":
    main()
