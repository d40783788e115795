"""Floor plans by name or from a file.

layout = load_layout("coordination_ring")
layout = load_layout("my_kitchen.layout")
layout = load_layout("generated:round:101")        drawn when it is asked for, by kind and seed
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from planish.errors import BadInput
from planish.methods.cowork.kitchen.floor import (
    DIRECTIONS,
    FAR,
    ONIONS,
    SYMBOLS,
    Layout,
    Recipe,
)
from planish.methods.cowork.kitchen.reading import parse_layout

__all__ = [
    "CLASSIC",
    "DIRECTIONS",
    "FAR",
    "GENERATED",
    "HELD_OUT",
    "ONIONS",
    "SYMBOLS",
    "Layout",
    "Recipe",
    "is_file",
    "load_layout",
    "parse_layout",
    "shipped_layouts",
    "short_names",
]

CLASSIC = (
    "cramped_room",
    "asymmetric_advantages",
    "coordination_ring",
    "forced_coordination",
    "counter_circuit_o_1order",
)
"""The five layouts of the classic benchmark (Carroll et al. 2019, arXiv 1910.05789)."""

HELD_OUT = ("held_out_1", "held_out_2", "held_out_3", "held_out_4")
"""Layouts generated for this package; nothing shipped was evolved or tuned on them."""

GENERATED = "generated:"
"""What the name of a kitchen that is drawn begins with; then come its kind and its seed."""

LONGEST_NAME = 32
"""Columns that a table has for the name of a kitchen."""

MOST_BYTES = 65_536
"""No layout file is longer; what is longer is something else."""


def shipped_layouts() -> tuple[str, ...]:
    """The names of the layouts in the package."""
    return CLASSIC + HELD_OUT


def is_file(name: str) -> bool:
    """Whether a layout of that name is a file's, which may change."""
    return name not in shipped_layouts() and not name.startswith(GENERATED)


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Name -> what a table has room for: of a path the shortest end that no other one has.

    >>> short_names(["cramped_room", "/home/me/a/hall.layout", "/home/me/b/hall.layout"])
    {'cramped_room': 'cramped_room', '/home/me/a/hall.layout': 'a/hall.layout', \
'/home/me/b/hall.layout': 'b/hall.layout'}
    """
    known = list(dict.fromkeys(names))
    found = {}
    for name in known:
        parts = Path(name).parts if is_file(name) else (name,)
        ends = ("/".join(parts[-count:]) for count in range(1, len(parts)))
        others = [f"/{other}" for other in known if other != name]
        alone = (end for end in ends if not any(other.endswith(f"/{end}") for other in others))
        short = " ".join(next(alone, name).split())
        found[name] = short if len(short) <= LONGEST_NAME else f"…{short[1 - LONGEST_NAME :]}"
    return found


def load_layout(name: str) -> Layout:
    """A shipped layout by name, one that is drawn, or a `.layout` file by path.

    The same text is measured once.

    Raises:
        BadInput: no such layout, or it cannot be played; with line and column.
    """
    if name in shipped_layouts():
        return _shipped(name)
    if name.startswith(GENERATED):
        return _drawn(name)
    path = Path(name)
    return _parsed(_text(path), path.stem, str(path))


@lru_cache
def _shipped(name: str) -> Layout:
    source = files("planish.methods.cowork") / "shipped" / "layouts" / f"{name}.layout"
    return parse_layout(source.read_text("utf-8"), name=name, where=f"{name}.layout")


@lru_cache(maxsize=64)
def _drawn(name: str) -> Layout:
    # Here, for who runs it as a module would have it twice otherwise.
    from planish.methods.cowork.kitchen.generate import KINDS, generate

    kind, _, seed = name.removeprefix(GENERATED).partition(":")
    if kind not in KINDS or not re.fullmatch("0|[1-9][0-9]{0,8}", seed):
        raise BadInput(
            f"no kitchen {name[:80]!r} can be drawn",
            where="--layout",
            fix=f"write {GENERATED}KIND:SEED, KIND one of {', '.join(KINDS)}, SEED up to 999999999",
        )
    return parse_layout(generate(kind, int(seed)), name=f"{kind}_{seed}", where=name)


@lru_cache(maxsize=64)
def _parsed(text: str, name: str, where: str) -> Layout:
    return parse_layout(text, name=name, where=where)


def _text(path: Path) -> str:
    """What the file says, unless it cannot be a layout."""
    try:
        if path.is_dir():
            raise BadInput("a folder", where=str(path), fix="give a .layout text file")
        if not path.is_file():
            raise _unknown(str(path))
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise BadInput(
                f"more than {MOST_BYTES} bytes", where=str(path), fix="give a .layout text file"
            )
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(
            f"not UTF-8 text (byte {error.start})", where=str(path), fix="give a .layout text file"
        ) from None
    except OSError as error:
        raise BadInput(
            f"cannot be read: {error.strerror}",
            where=str(path)[:200],
            fix="give a .layout text file",
        ) from None


def _unknown(name: str) -> BadInput:
    shipped = shipped_layouts()
    near = difflib.get_close_matches(name, shipped, n=1)
    meant = f"did you mean {near[0]}? " if near else ""
    return BadInput(
        f"no layout {name[:200]!r}",
        where="--layout",
        fix=f"{meant}use a .layout file or one of {', '.join(shipped)}",
    )
