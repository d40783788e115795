"""Floor plans: what is read, what is refused and where, what is measured, what is drawn."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.methods.cowork.kitchen import generate
from planish.methods.cowork.kitchen.layouts import (
    CLASSIC,
    FAR,
    HELD_OUT,
    is_file,
    load_layout,
    parse_layout,
    shipped_layouts,
    short_names,
)
from planish.methods.cowork.kitchen.simulator import Kitchen
from support.kitchen_reference import driven, literal, reference_texts

SHIPPED = Path(generate.__file__).parents[1] / "shipped" / "layouts"
ROOM = ["XXPXX", "O1 2O", "X   X", "XDXSX"]


def read(text: str):
    return parse_layout(text, name="mine", where="mine.layout")


def written(rows: list[str], **settings: object) -> str:
    """The common form, the grid in a text of three quotes from line 2 on."""
    grid = "\n        ".join(rows)
    other = "".join(f',\n    "{key}": {value!r}' for key, value in settings.items())
    return f'{{\n    "grid": """{grid}"""{other}\n}}\n'


def refused(text: str) -> str:
    with pytest.raises(BadInput) as caught:
        read(text)
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 400
    assert caught.value.fix
    return line


def said_of(text: str) -> str:
    """The refusal, or nothing."""
    try:
        read(text)
    except BadInput as error:
        return str(error)
    return ""


# --- what is read


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(ROOM),
        "\r\n".join(ROOM),
        "\r".join(ROOM),
        "\n\n# a comment\n  " + "\n  ".join(ROOM) + "\n\n",
        "\t" + "\n\t".join(ROOM),
        written(ROOM),
        written(ROOM).replace("\n", "\r\n"),
        "\n\n  " + written(ROOM),
        "# a comment\n" + written(ROOM),
        repr({"grid": "\n".join(ROOM)}),
        repr({"grid": "\n".join(ROOM), "start_all_orders": [{"ingredients": ["onion"] * 3}]}),
    ],
)
def test_one_kitchen_in_many_hands(text):
    assert read(text).rows() == ROOM


def test_a_bare_grid_wants_three_onions_and_the_common_form_says_its_orders():
    values = [recipe.value for recipe in read("\n".join(ROOM)).recipes]
    assert values == [0, 0, 0, 20]
    orders = [{"ingredients": ["onion"] * 2}, {"ingredients": ["onion"] * 3}]
    layout = read(
        written(
            ROOM,
            start_all_orders=orders,
            start_bonus_orders=orders[:1],
            recipe_values=[7, 9],
            recipe_times=[3, 4],
            rew_shaping_params=None,
        )
    )
    assert [recipe.value for recipe in layout.recipes] == [0, 0, 14, 9]
    assert [recipe.ticks for recipe in layout.recipes[2:]] == [3, 4]


@pytest.mark.parametrize("name", shipped_layouts())
def test_every_shipped_layout_is_read_and_played(name):
    """Cooks that walk to whatever their hands can use serve a soup in one of some episodes."""
    layout = load_layout(name)
    assert layout.name == name
    for episode in range(60):
        rng = random.Random(f"{name} {episode}")
        kitchen = Kitchen(layout)
        earned = sum(
            sum(kitchen.step(*actions)) for actions in islice(driven(kitchen, rng, "goals"), 400)
        )
        if earned:
            return
    pytest.fail("no soup was served")


def test_the_classic_layouts_are_the_benchmarks():
    texts = reference_texts()
    if not texts:
        pytest.skip("the reference is not installed")
    for name in CLASSIC:
        theirs, ours = read(texts[name]), load_layout(name)
        assert (theirs.terrain, theirs.starts) == (ours.terrain, ours.starts)
        assert theirs.recipes == ours.recipes


def test_a_file_is_read_anew_when_it_changes(tmp_path):
    path = tmp_path / "mine.layout"
    path.write_text("\n".join(ROOM))
    first = load_layout(str(path))
    assert load_layout(str(path)) is first
    path.write_text("\n".join(ROOM).replace("1 2", "2 1"))
    assert load_layout(str(path)).starts == first.starts[::-1]


def test_a_byte_order_mark_is_let_by(tmp_path):
    path = tmp_path / "mine.layout"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(ROOM).encode())
    assert load_layout(str(path)).rows() == ROOM


# --- what is refused, and where


def with_row(number: int, row: str) -> list[str]:
    return [*ROOM[:number], row, *ROOM[number + 1 :]]


GRIDS = {
    "ragged, short": (with_row(2, "X  X"), 3, 5, "a row of 4 tiles under one of 5"),
    "ragged, long": (with_row(2, "X   XX"), 3, 6, "a row of 6 tiles under one of 5"),
    "unknown symbol": (with_row(2, "X ? X"), 3, 3, "unknown symbol '?'"),
    "lower case": (with_row(2, "X x X"), 3, 3, "unknown symbol 'x'"),
    "tab inside": (with_row(2, "X \t X"), 3, 3, r"unknown symbol '\t'"),
    "null": (with_row(2, "X \x01 X"), 3, 3, r"unknown symbol '\x01'"),
    "three players": (with_row(2, "X 3 X"), 3, 3, "a seat 3: this kitchen has two players"),
    "seat 0": (with_row(2, "X 0 X"), 3, 3, "a seat 0"),
    "a seat twice": (with_row(2, "X 1 X"), 3, 3, "seat 1 twice"),
    "one player": (with_row(1, "O1  O"), 4, 1, "no seat 2"),
    "tomatoes": (with_row(3, "XDTSX"), 4, 3, "tomatoes (T)"),
    "floor at the border": (with_row(3, "XD SX"), 4, 3, "floor at the border"),
    "seat at the border": (["XXPXX", "O1  2", "O   X", "XDXSX"], 2, 5, "floor at the border"),
    "no pot": (with_row(0, "XXXXX"), 4, 1, "no pot (P)"),
    "no window": (with_row(3, "XDXXX"), 4, 1, "no serving window (S)"),
    "no dishes": (with_row(3, "XXXSX"), 4, 1, "no dish supply (D)"),
    "pot in the corner": (["PXXXX", *ROOM[1:]], 1, 1, "no reachable pot"),
    "pot behind a wall": (
        ["XXXXXPX", "O1 2X X", "X   XXX", "XDXSXXX"],
        1,
        6,
        "no reachable pot: neither seat has a way to it",
    ),
    "onions walled in": (["XXPXXOX", "X1 2XXX", "X   XXX", "XDXSXXX"], 1, 6, "no reachable onion"),
    "rooms without a common counter": (
        ["XXXXXXXX", "O1 XX  P", "X  XX2 D", "XXXXXXSX"],
        1,
        1,
        "no soup can be served",
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_a_bad_grid_is_refused_with_line_and_column(name):
    rows, line, column, message = GRIDS[name]
    said = refused("\n".join(rows))
    assert said.startswith(f"mine.layout:{line}:{column}: ")
    assert message in said
    # In the common form the grid begins on line 2, behind three quotes at column 13.
    indent = 15 if line == 1 else 8
    assert refused(written(rows)).startswith(f"mine.layout:{line + 1}:{column + indent}: ")
    # Where the rows do not stand line by line, the place of the whole text is named.
    assert refused(repr({"grid": "\n".join(rows)})).startswith("mine.layout:1:10: ")


ORDERS = {
    "tomatoes": ({"start_all_orders": [{"ingredients": ["tomato"]}]}, "soups of one to three"),
    "four onions": ({"start_all_orders": [{"ingredients": ["onion"] * 4}]}, "soups of one to"),
    "no ingredients": ({"start_all_orders": [{"ingredients": []}]}, "soups of one to three"),
    "orders as text": ({"start_all_orders": "onion"}, "soups of one to three onions"),
    "orders as number": ({"start_all_orders": 3}, "soups of one to three onions"),
    "order as list": ({"start_all_orders": [["onion"]]}, "soups of one to three onions"),
    "ingredients as text": ({"start_all_orders": [{"ingredients": "onion"}]}, "soups of one to"),
    "ingredients as keys": ({"start_all_orders": [{"ingredients": {"onion": 1}}]}, "soups of one"),
    "an order twice": ({"start_all_orders": [{"ingredients": ["onion"]}] * 2}, "same order twice"),
    "bonus unordered": (
        {
            "start_all_orders": [{"ingredients": ["onion"] * 3}],
            "start_bonus_orders": [{"ingredients": ["onion"]}],
        },
        "a bonus order that nobody ordered",
    ),
    "too few values": (
        {"start_all_orders": [{"ingredients": ["onion"]}], "recipe_values": []},
        "one number for each of 1 orders",
    ),
    "values by name": (
        {"start_all_orders": [{"ingredients": ["onion"]}], "recipe_values": {"onion": 1}},
        "one number for each of 1 orders",
    ),
    "values without orders": ({"recipe_times": [3]}, "one number for each of 0 orders"),
    "a value as text": ({"delivery_reward": "20"}, "20 where a number is due"),
    "a value below nothing": ({"delivery_reward": -1}, "-1 where a number is due"),
    "a true value": ({"delivery_reward": True}, "True where a number is due"),
    "a value list": ({"cook_time": [20]}, "[20] where a number is due"),
    "half a tick": ({"cook_time": 2.5}, "a cooking time of 2.5"),
    "too large": ({"cook_time": 10**30}, "where a number is due"),
    "onion alone": ({"onion_value": 3}, "onion_value alone"),
    "two prices": ({"delivery_reward": 3, "onion_value": 3, "tomato_value": 3}, "beside"),
    "two times": ({"cook_time": 3, "recipe_times": [3]}, "cook_time beside recipe_times"),
    "nothing earns": (
        {"start_all_orders": [{"ingredients": ["onion"]}], "recipe_values": [0]},
        "no order earns anything",
    ),
    "a slip": ({"cook_tim": 3}, "unknown key 'cook_tim'; did you mean 'cook_time'?"),
    "a start state": ({"start_state": {"players": []}}, "play starts with bare hands"),
    "dynamics": ({"old_dynamics": True}, "the dynamics are chosen where the kitchen is played"),
    "large pots": ({"num_items_for_soup": 4}, "a pot holds three onions"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_bad_orders_are_refused_where_they_stand(name):
    settings, message = ORDERS[name]
    said = refused(written(ROOM, **settings))
    assert message in said
    if name != "nothing earns":
        assert re.match(r"mine\.layout:[67]:\d+: ", said)


@pytest.mark.parametrize(
    ("number", "shown"), [("1e999", "inf"), ("-1e999", "-inf"), ("nan", "code in a layout")]
)
def test_numbers_that_are_none_are_refused(number, shown):
    for key in ("delivery_reward", "cook_time", "order_bonus"):
        text = written(ROOM).replace('"""\n}', f'""",\n    "{key}": {number}\n}}')
        said = refused(text)
        assert shown in said
        assert said.startswith("mine.layout:6:")


GRID = '{"grid": """' + "\n".join(ROOM) + '"""'
TEXTS = {
    "empty": ("", "mine.layout: an empty grid"),
    "blank": (" \n\t\n", "mine.layout: an empty grid"),
    "an empty text": ('{"grid": ""}', "mine.layout:1:10: an empty grid"),
    "no grid": ('{"gird": "XX"}', "mine.layout: no text under the key 'grid'"),
    "a number as grid": ('{"grid": 3}', "mine.layout:1:10: no text under the key 'grid'"),
    "a list as grid": (repr({"grid": ROOM}), "no text under the key 'grid'"),
    "bytes as grid": ("{'grid': b'XX'}", "no text under the key 'grid'"),
    "not closed": ('{"grid": "XX"', "mine.layout:1:1: not a layout:"),
    "a text not closed": ('{"grid": """XX', "mine.layout:1:10: not a layout:"),
    "JSON's null": ('{"grid": null}', "mine.layout:1:10: code in a layout"),
    "a set": ("{1, 2}", "mine.layout:1:1: code in a layout"),
    "a call": (
        GRID + ', "cook_time": __import__("os").system("exit 1")}',
        "mine.layout:4:24: code in a layout",
    ),
    "a comprehension": ('{"grid": ["X" for _ in range(9)]}', "mine.layout:1:10: code"),
    "a text with values": ('{"grid": f"{1}"}', "mine.layout:1:10: code in a layout"),
    "a key that cannot be one": ("{[]: 1}", "no plain literal"),
    "a minus before a text": ('{"grid": -"X"}', "no plain literal"),
    "merged": ('{**{"grid": "X"}}', "mine.layout"),
    "null bytes": ('{"grid": "\x00"}', "mine.layout"),
    "binary": ("\x00\x01\x02\x7fELF", r"mine.layout:1:1: unknown symbol '\x00'"),
    "nested deeply": ("{" * 5_000, "mine.layout"),
    "lists in lists": ('{"grid": ' + "[" * 150 + "]" * 150 + "}", "no text under the key"),
    "minus upon minus": ('{"grid": ' + "-" * 20_000 + "1}", "mine.layout"),
    "sum upon sum": ('{"grid": ' + "+".join(["1"] * 20_000) + "}", "mine.layout"),
    "a long number": ('{"cook_time": ' + "9" * 5_000 + "}", "mine.layout:1:"),
    "prose": ("Dear cook,\nthe kitchen is closed.", "mine.layout:1:2: unknown symbol 'e'"),
    "odd escapes": (r'{"grid": "\d"}', r"mine.layout:1:10: unknown symbol '\\'"),
    "wide": ("X" * 2_000, "mine.layout:1:1: a grid of 2000 x 1 tiles"),
    "large": ("\n".join(["X" * 33] * 33), "mine.layout:1:1: a grid of 33 x 33 tiles"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_layout_is_refused_in_one_line(name):
    text, message = TEXTS[name]
    assert message in refused(text)


def test_nothing_in_a_layout_is_run(tmp_path):
    trace = tmp_path / "trace"
    refused(GRID + f', "cook_time": open({str(trace)!r}, "w").write("x")}}')
    assert not trace.exists()


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_a_layout_or_one_line(text):
    assert "\n" not in said_of(text)


PIECES = ['"grid"', "'X'", '"""', "{", "}", "[", "]", ":", ",", "1", "-", "XPX", "\n", "#", "None"]


@given(st.lists(st.sampled_from([*PIECES, '"start_all_orders"', "onion", "(", ")"])))
def test_any_broken_literal_is_a_layout_or_one_line(pieces):
    assert "\n" not in said_of("{" + "".join(pieces))


def test_the_largest_kitchen_is_read_and_measured():
    rows = ["X" * 32, *["X" + " " * 30 + "X"] * 30, "X" * 32]
    rows[0], rows[31] = "XOPDS" + "X" * 27, "X" * 32
    rows[1], rows[30] = "X1" + " " * 29 + "X", "X" + " " * 29 + "2X"
    layout = read("\n".join(rows))
    assert layout.ways[layout.starts[0]][layout.starts[1]] == 29 + 29


@pytest.mark.parametrize("name", ["cramped_rooms", "", "no/such.layout", "x" * 5_000, "a\0b", "~"])
def test_an_unknown_layout_is_one_line_with_the_names(name):
    with pytest.raises(BadInput) as caught:
        load_layout(name)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_slip_in_a_name_is_guessed():
    with pytest.raises(BadInput, match=r"no layout 'cramped_rooms'; did you mean cramped_room\?"):
        load_layout("cramped_rooms")


def test_files_that_are_no_text_are_refused_by_name(tmp_path):
    path = tmp_path / "mine.layout"
    path.write_bytes(b"XX\xff\xfe")
    with pytest.raises(BadInput, match=r"mine\.layout: not UTF-8 text \(byte 2\)"):
        load_layout(str(path))
    path.write_bytes(b"X" * 100_000)
    with pytest.raises(BadInput, match=r"mine\.layout: more than 65536 bytes"):
        load_layout(str(path))
    with pytest.raises(BadInput, match="a folder"):
        load_layout(str(tmp_path))


# --- what is measured


def random_grid(rng: random.Random) -> list[str]:
    """A closed kitchen of any shape with all that is needed somewhere, playable or not."""
    width, height = rng.randrange(5, 10), rng.randrange(4, 8)
    inner = [(x, y) for y in range(1, height - 1) for x in range(1, width - 1)]
    tiles = [["X"] * width for _ in range(height)]
    for x, y in inner:
        tiles[y][x] = rng.choice("XX   ")
    for (x, y), seat in zip(rng.sample(inner, 2), "12", strict=True):
        tiles[y][x] = seat
    for thing in "OPDS" + "OPDS"[: rng.randrange(4)]:
        while True:
            x, y = rng.randrange(width), rng.randrange(height)
            if tiles[y][x] not in "12":
                tiles[y][x] = thing
                break
    return ["".join(row) for row in tiles]


def test_rows_come_back_as_they_were_read():
    read_back = 0
    for seed in range(1_000):
        rows = random_grid(random.Random(seed))
        if said_of("\n".join(rows)):
            continue
        layout = read("\n".join(rows))
        assert layout.rows() == rows
        assert read("\n".join(layout.rows())) == layout
        assert read(written(rows)).rows() == rows
        read_back += 1
    assert read_back > 80


@pytest.mark.parametrize("name", shipped_layouts())
def test_tables_agree_with_the_grid(name):
    layout = load_layout(name)
    for cell in layout.floor:
        for direction, after in enumerate(layout.after[cell][:4]):
            ahead = layout.ahead[cell][direction]
            assert after == (ahead if layout.terrain[ahead] == " " else cell)
            assert layout.ways[cell][after] == (after != cell)
        assert layout.after[cell][4:] == (cell, cell)
        assert [layout.ways[other][cell] for other in layout.floor] == [
            layout.ways[cell][other] for other in layout.floor
        ]


def serves(rows: list[str]) -> bool:
    """Whether things can be brought round: the long way, thing by thing and place by place.

    A thing is a set of places, floor cells and counters, that grows by what a cook can do with it.
    """
    plan = {(x, y): symbol for y, row in enumerate(rows) for x, symbol in enumerate(row)}
    near = {
        at: [(at[0] + dx, at[1] + dy) for dx, dy in ((0, 1), (1, 0), (0, -1), (-1, 0))]
        for at in plan
    }

    def walked(cells: set) -> set:
        """Cells that a cook stands on who was on one of these."""
        cells, fresh = set(cells), list(cells)
        while fresh:
            for at in near[fresh.pop()]:
                if plan.get(at, "X") in " 12" and at not in cells:
                    cells.add(at)
                    fresh.append(at)
        return cells

    cooks = walked({at for at, symbol in plan.items() if symbol in "12"})

    def carried(cells: set) -> set:
        """Cells that the thing can be held on, after any number of laying down and picking up."""
        while True:
            held = walked(cells & cooks)
            counters = {at for cell in held for at in near[cell] if plan[at] == "X"}
            more = held | {cell for at in counters for cell in near[at] if cell in cooks}
            if more == cells:
                return cells
            cells = more

    def beside(symbol: str) -> set:
        return {at for at in cooks if any(plan[other] == symbol for other in near[at])}

    onions, dishes = carried(beside("O")), carried(beside("D"))
    pots = {at for at, symbol in plan.items() if symbol == "P"}
    soups = {
        cell
        for pot in pots
        if any(cell in onions for cell in near[pot])
        for cell in near[pot]
        if cell in dishes
    }
    return bool(carried(soups) & beside("S"))


def test_what_is_refused_as_unservable_is_unservable():
    """Against carrying things about by hand, on grids that lack nothing else."""
    servable = unservable = 0
    for seed in range(3_000):
        rows = random_grid(random.Random(seed))
        said = said_of("\n".join(rows))
        if not said:
            assert serves(rows), rows
            servable += 1
        elif "no soup can be served" in said:
            assert not serves(rows), rows
            unservable += 1
    assert servable > 100
    assert unservable > 20


def test_drawn_starts_differ_and_keep_to_the_cooks_rooms():
    for name in shipped_layouts():
        layout = load_layout(name)
        drawn = {layout.drawn_starts(random.Random(seed)) for seed in range(50)}
        assert len(drawn) > 3
        for first, second in drawn:
            assert first != second
            for cell, start in zip((first, second), layout.starts, strict=True):
                assert layout.ways[cell][start] < FAR


# --- what is drawn


def test_the_held_out_kitchens_are_those_of_the_first_seed(tmp_path):
    command = [sys.executable, "-m", "planish.methods.cowork.kitchen.generate", "--out", tmp_path]
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(HELD_OUT)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (SHIPPED / path.name).read_bytes()


@pytest.mark.parametrize("kind", generate.KINDS)
def test_another_seed_draws_another_kitchen_that_can_be_played(kind):
    texts = {generate.generate(kind, seed) for seed in range(12)}
    assert len(texts) == 12
    for text in texts:
        assert serves(literal(text)["grid"].split("\n"))


def test_a_kitchen_is_drawn_by_its_name():
    layout = load_layout("generated:round:12")
    text = generate.generate("round", 12)
    assert layout == parse_layout(text, name="round_12", where="")
    assert load_layout("generated:round:12") is layout
    assert not is_file("generated:round:12")
    assert not is_file("cramped_room")
    assert is_file("my_kitchen.layout")


@pytest.mark.parametrize(
    "name",
    ["generated:", "generated:7", "generated:square:7", "generated:open:x", "generated:open:-1"],
)
def test_a_name_by_which_nothing_can_be_drawn_is_one_line(name):
    with pytest.raises(BadInput, match="KIND one of open, divided, passage, round") as caught:
        load_layout(name)
    assert "\n" not in str(caught.value)


def test_each_kind_is_what_it_says():
    rooms = [len(set(load_layout(name).room_of.values())) for name in HELD_OUT]
    assert rooms == [1, 2, 1, 1]

    def doors(name: str) -> int:
        """Cells without which the floor falls apart."""
        layout = load_layout(name)
        found = 0
        for cell in layout.floor:
            others = [other for other in layout.floor if other != cell]
            steps = layout.walk_from(others[:1], cell)
            found += any(steps[other] == FAR for other in others)
        return found

    assert doors("held_out_3") >= 2
    assert doors("held_out_4") == 0


def test_a_path_is_called_by_the_shortest_end_that_no_other_has():
    deep = f"/home/me/{'q' * 60}.layout"
    names = ["cramped_room", "generated:open:101", "/a/hall.layout", "/b/hall.layout", "b/x", deep]
    short = short_names([*names, "/c/two\nlines"])
    assert list(short) == [*names, "/c/two\nlines"]
    assert list(short.values())[:5] == [*names[:2], "a/hall.layout", "b/hall.layout", "x"]
    assert short[deep] == f"…{'q' * 24}.layout"
    assert short["/c/two\nlines"] == "two lines"
    assert short_names(["hall.layout", "/a/hall.layout"])["hall.layout"] == "hall.layout"
