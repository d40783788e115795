"""Reads a floor plan's text and says by line and column why it cannot be played.

The common `.layout` text is a Python literal with the key "grid" and the orders; it is read as a
literal and never run. A bare grid (only the rows) is read too: its one order is three onions.

    layout = parse_layout(text, name="mine", where="mine.layout")
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from planish.errors import BadInput
from planish.methods.cowork.kitchen.floor import FAR, SYMBOLS, Layout
from planish.methods.cowork.kitchen.orders import recipes_of

__all__ = ["MOST_TILES", "parse_layout"]

MOST_TILES = 1024
"""A kitchen of 32 x 32. The tables of ways grow with the square, and no known layout is half so
large."""

FORM = 'write {"grid": """...""", "start_all_orders": [...]}, or the bare grid'

LITERAL = (ast.Constant, ast.Dict, ast.List, ast.Tuple, ast.UnaryOp)
"""What a layout is written with."""


class Row(NamedTuple):
    """A row of the grid, and the line and column of its first symbol (0: not known)."""

    symbols: str
    line: int
    column: int


class Source(NamedTuple):
    """A text in the making: what it is called, its rows, and where it says what."""

    where: str
    rows: list[Row]
    keys: Mapping[str, str]

    def at(self, x: int, y: int) -> str:
        """The place of a tile in the file."""
        row = self.rows[y]
        return f"{self.where}:{row.line}:{row.column + x}" if row.line else self.keys["grid"]

    @property
    def end(self) -> str:
        """The place of the last row."""
        return self.at(0, len(self.rows) - 1)


def parse_layout(text: str, *, name: str, where: str) -> Layout:
    """Reads a `.layout` text or a bare grid.

    Raises:
        BadInput: with line and column.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = [
        (number, line)
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if lines and lines[0][1].lstrip().startswith("{"):
        source, settings = _literal(text, where)
        orders = recipes_of(settings, source.keys, where)
    else:
        rows = [
            Row(line.strip(), number, len(line) - len(line.lstrip()) + 1) for number, line in lines
        ]
        source = Source(where, rows, {})
        orders = recipes_of({"start_all_orders": [{"ingredients": ["onion"] * 3}]}, {}, where)
    terrain, starts = _grid(source)
    rows = source.rows
    layout = Layout(name, len(rows[0].symbols), len(rows), terrain, starts, orders)
    _playable(layout, source)
    return layout


def _literal(text: str, where: str) -> tuple[Source, dict[str, Any]]:
    """The settings, the rows, and the place of every key's value."""
    start = len(text) - len(text.lstrip())
    # Blank lines before it count; an indent before the brace would be an error to the parser.
    text = "\n" * text[:start].count("\n") + text[start:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes, which the parser would print
            tree = ast.parse(text, mode="eval").body
        _refuse_code(tree, text, where)
        settings = ast.literal_eval(tree)
    except SyntaxError as error:
        place = f"{where}:{error.lineno}:{error.offset}" if error.lineno else where
        raise BadInput(f"not a layout: {error.msg}", where=place, fix=FORM) from None
    except BadInput:
        raise
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise BadInput("not a layout: no plain literal", where=where, fix=FORM) from None
    if not isinstance(tree, ast.Dict):
        raise BadInput("not a layout: no keys and values", where=where, fix=FORM)
    nodes = {
        key.value: value
        for key, value in zip(tree.keys, tree.values, strict=True)
        if isinstance(key, ast.Constant)
    }
    keys = {str(key): _place(text, node, where) for key, node in nodes.items()}
    if not isinstance(settings.get("grid"), str):
        raise BadInput("no text under the key 'grid'", where=keys.get("grid", where), fix=FORM)
    return Source(where, _rows(text, settings["grid"], nodes["grid"]), keys), settings


def _refuse_code(tree: ast.expr, text: str, where: str) -> None:
    """Says where the file holds more than values; nothing of it is ever run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and not isinstance(node, LITERAL):
            raise BadInput("code in a layout", where=_place(text, node, where), fix=FORM)


def _place(text: str, node: ast.expr, where: str) -> str:
    """File, line and column of a value; the parser counts columns in bytes."""
    line = text.split("\n")[node.lineno - 1]
    before = line.encode()[: node.col_offset].decode()
    return f"{where}:{node.lineno}:{len(before) + 1}"


def _rows(text: str, grid: str, node: ast.expr) -> list[Row]:
    """The rows without their indent; with places where the text shows them line by line."""
    written = ast.get_source_segment(text, node) or ""
    opening = re.match(r"[rRuU]?(\"{3}|'{3})", written)
    lines = grid.split("\n")
    plain = opening is not None and "\\" not in written and written.count("\n") == len(lines) - 1
    rows = []
    for offset, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if plain and opening is not None:
            first = node.col_offset + opening.end() if offset == 0 else 0
            rows.append(Row(line.strip(), node.lineno + offset, first + indent + 1))
        else:
            rows.append(Row(line.strip(), 0, 0))
    return [row for row in rows if row.symbols]


def _grid(source: Source) -> tuple[str, tuple[int, int]]:
    """The terrain and the seats' cells."""
    rows = source.rows
    if not rows:
        raise BadInput(
            "an empty grid",
            where=source.keys.get("grid", source.where),
            fix="write the rows of the kitchen",
        )
    width = len(rows[0].symbols)
    if width * len(rows) > MOST_TILES:
        raise BadInput(
            f"a grid of {width} x {len(rows)} tiles",
            where=source.at(0, 0),
            fix=f"make it smaller: at most {MOST_TILES} tiles",
        )
    seats: dict[str, int] = {}
    for y, row in enumerate(rows):
        if len(row.symbols) != width:
            raise BadInput(
                f"a row of {len(row.symbols)} tiles under one of {width}",
                where=source.at(min(len(row.symbols), width), y),
                fix="make every row as long as the first",
            )
        for x, symbol in enumerate(row.symbols):
            _tile(symbol, source.at(x, y), seats)
            if symbol in " 12":
                if x in (0, width - 1) or y in (0, len(rows) - 1):
                    raise BadInput(
                        "floor at the border", where=source.at(x, y), fix="close the kitchen with X"
                    )
                if symbol != " ":
                    seats[symbol] = y * width + x
    for seat in "12":
        if seat not in seats:
            raise BadInput(f"no seat {seat}", where=source.end, fix="seat 1 and 2 once each")
    terrain = "".join(row.symbols for row in rows).replace("1", " ").replace("2", " ")
    return terrain, (seats["1"], seats["2"])


def _tile(symbol: str, here: str, seats: Mapping[str, int]) -> None:
    """Refuses what no tile of this kitchen can be."""
    if symbol in "0123456789":
        if symbol not in "12":
            raise BadInput(
                f"a seat {symbol}: this kitchen has two players",
                where=here,
                fix="seat 1 and 2 once each",
            )
        if symbol in seats:
            raise BadInput(f"seat {symbol} twice", where=here, fix="seat 1 and 2 once each")
    elif symbol == "T":
        raise BadInput(
            "tomatoes (T)",
            where=here,
            fix="this kitchen cooks onions only; write X where T stands",
        )
    elif symbol not in SYMBOLS:
        raise BadInput(
            f"unknown symbol {symbol!r}", where=here, fix="use X O D P S, blank, 1 and 2"
        )


def _playable(layout: Layout, source: Source) -> None:
    """Refuses a kitchen in which no soup can ever be served."""
    walks = [layout.walk_from((start,)) for start in layout.starts]
    kinds = {"P": "pot", "O": "onion supply", "D": "dish supply", "S": "serving window"}
    for symbol, kind in kinds.items():
        tiles = layout.tiles(symbol)
        if not tiles:
            raise BadInput(
                f"no {kind} ({symbol})", where=source.end, fix=f"place at least one {symbol}"
            )
        sides = [cell for tile in tiles for cell, _ in layout.beside[tile]]
        if not any(walk[cell] < FAR for walk in walks for cell in sides):
            raise BadInput(
                f"no reachable {kind}: neither seat has a way to it",
                where=source.at(*layout.at(tiles[0])),
                fix="open a way, or move the seat",
            )
    if not layout.deliverable:
        raise BadInput(
            "no soup can be served: onions, dishes, pot and window are apart, and no counter "
            "between the seats' rooms hands things over",
            where=source.at(0, 0),
            fix="join the rooms, by floor or by a counter that both touch",
        )
