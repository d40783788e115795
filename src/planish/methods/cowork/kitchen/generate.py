"""Draws kitchens that nobody tuned anything on.

    python -m planish.methods.cowork.kitchen.generate --seed 20 --out FOLDER

writes `held_out_1.layout` to `held_out_4.layout`, one of each kind, the same bytes for the same
seed: an open room with counters in it, two rooms joined by counters only, two rooms joined by a
passage one cell wide, a round way about a block with a bay.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Callable
from pathlib import Path

from planish.errors import BadInput
from planish.methods.cowork.kitchen.floor import Layout
from planish.methods.cowork.kitchen.reading import parse_layout

__all__ = ["KINDS", "generate", "main"]

Grid = list[list[str]]
"""Rows of `X` and blank, the border closed."""

SEED = 1
"""The shipped kitchens are those of this seed, the first one tried."""

ATTEMPTS = 10_000
"""A kind finds its kitchen within a few dozen; more means that its conditions contradict."""


def generate(kind: str, seed: int) -> str:
    """The text of a kitchen of that kind: a comment with its origin, then the rows."""
    rng = random.Random(f"{kind}/{seed}")
    draw, suits = KINDS[kind]
    for _ in range(ATTEMPTS):
        grid = draw(rng)
        if not _furnish(grid, rng):
            continue
        text = "\n".join("".join(row) for row in grid)
        try:
            layout = parse_layout(text, name=kind, where=kind)
        except BadInput:  # no way to the pot, or rooms without a common counter
            continue
        if suits(layout):
            return f"# kind {kind}, seed {seed}\n{text}\n"
    raise RuntimeError(f"no kitchen of the kind {kind} in {ATTEMPTS} attempts")


def _closed(width: int, height: int) -> Grid:
    return [["X"] * width for _ in range(height)]


def _clear(grid: Grid, left: int, top: int, right: int, bottom: int) -> None:
    """Makes a rectangle floor, its edges included."""
    for row in grid[top : bottom + 1]:
        row[left : right + 1] = " " * (right - left + 1)


def _open(rng: random.Random) -> Grid:
    width, height = rng.randrange(7, 10), rng.randrange(6, 8)
    grid = _closed(width, height)
    _clear(grid, 1, 1, width - 2, height - 2)
    for _ in range(rng.randrange(3, 6)):
        grid[rng.randrange(1, height - 1)][rng.randrange(1, width - 1)] = "X"
    return grid


def _divided(rng: random.Random) -> Grid:
    width, height = rng.randrange(7, 10), rng.randrange(5, 8)
    wall = rng.randrange(3, width - 3)
    grid = _closed(width, height)
    _clear(grid, 1, 1, wall - 1, height - 2)
    _clear(grid, wall + 1, 1, width - 2, height - 2)
    return grid


def _passage(rng: random.Random) -> Grid:
    width, height = rng.randrange(8, 11), rng.randrange(5, 7)
    grid = _closed(width, height)
    _clear(grid, 1, 1, 2, height - 2)
    _clear(grid, width - 3, 1, width - 2, height - 2)
    row = rng.randrange(1, height - 1)
    _clear(grid, 3, row, width - 4, row)
    return grid


def _round(rng: random.Random) -> Grid:
    width, height = rng.randrange(6, 9), rng.randrange(6, 8)
    grid = _closed(width, height)
    _clear(grid, 1, 1, width - 2, height - 2)
    for row in grid[2 : height - 2]:
        row[2 : width - 2] = "X" * (width - 4)
    bay = rng.choice((2, width - 3))
    grid[rng.randrange(2, height - 2)][bay] = " "
    return grid


def _furnish(grid: Grid, rng: random.Random) -> bool:
    """Puts supplies, pots, a window and the seats where they can be used; in place."""
    tiles = [(x, y) for y, row in enumerate(grid) for x in range(len(row))]
    floor = [(x, y) for x, y in tiles if grid[y][x] == " "]
    walls = [
        (x, y)
        for x, y in tiles
        if grid[y][x] == "X"
        and any((x + dx, y + dy) in floor for dx, dy in ((0, 1), (0, -1), (1, 0), (-1, 0)))
    ]
    rng.shuffle(walls)
    rng.shuffle(floor)
    things = ["O", "P", "D", "S", *rng.choice(("", "O", "P", "OP"))]
    if len(walls) < len(things) or len(floor) < 2:
        return False
    for thing, (x, y) in zip([*things, "1", "2"], [*walls[: len(things)], *floor[:2]], strict=True):
        grid[y][x] = thing
    return True


def _joined(layout: Layout) -> bool:
    """Whether all floor is one room: both cooks reach everything."""
    return len(set(layout.room_of.values())) == 1


def _apart(layout: Layout) -> bool:
    """Whether the cooks stand in two rooms and neither could serve a soup alone."""
    rooms = {layout.room_of[start] for start in layout.starts}
    return len(rooms) == len(set(layout.room_of.values())) == 2 and not any(
        all(any(room in layout.rooms(tile) for tile in layout.tiles(symbol)) for symbol in "OPDS")
        for room in rooms
    )


def _long_way(layout: Layout) -> bool:
    """Whether all floor is one room, with onions and pots on different sides of the passage."""
    onions = {layout.at(tile)[0] * 2 < layout.width for tile in layout.tiles("O")}
    pots = {layout.at(tile)[0] * 2 < layout.width for tile in layout.tiles("P")}
    return _joined(layout) and len(onions) == len(pots) == 1 and onions != pots


KINDS: dict[str, tuple[Callable[[random.Random], Grid], Callable[[Layout], bool]]] = {
    "open": (_open, _joined),
    "divided": (_divided, _apart),
    "passage": (_passage, _long_way),
    "round": (_round, _joined),
}
"""How a kind's floor is drawn, and what the furnished kitchen must be."""


def main(arguments: list[str] | None = None) -> None:
    """The command: one file of each kind."""
    parser = argparse.ArgumentParser(
        prog="python -m planish.methods.cowork.kitchen.generate",
        description="Draws kitchens that nobody tuned anything on.",
    )
    parser.add_argument("--seed", type=int, default=SEED, help="another seed, other kitchens")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    for number, kind in enumerate(KINDS, 1):
        path = options.out / f"held_out_{number}.layout"
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(generate(kind, options.seed), "utf-8", newline="\n")
        os.replace(unfinished, path)
        print(path)  # noqa: T201


if __name__ == "__main__":
    main()
