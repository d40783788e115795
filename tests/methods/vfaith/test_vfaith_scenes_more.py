"""What is particular to the families geometry, patterns, signs and dice; what all families share is
tested elsewhere."""

from __future__ import annotations

import colorsys
import math
import random
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from planish.methods.vfaith.scenes.base import Ask, Scene, font
from planish.methods.vfaith.scenes.dice import DICE, Dice, Tray
from planish.methods.vfaith.scenes.geometry import GEOMETRY, Angle, Geometry, Ring
from planish.methods.vfaith.scenes.patterns import PATTERNS, Patterns, Row
from planish.methods.vfaith.scenes.signs import SIGNS, Sign, Signs

SIZE = 256
Box = tuple[float, float, float, float]


def angle(name: str = "P", **more: Any) -> Angle:
    fields: dict[str, Any] = {
        "name": name, "tint": "blue", "x": 0.25, "y": 0.25, "reach": 0.2, "turn": 0.0,
        "degrees": 90,
    }  # fmt: skip
    return Angle(**{**fields, **more})


def ring(name: str = "K", **more: Any) -> Ring:
    fields: dict[str, Any] = {
        "name": name, "tint": "green", "x": 0.25, "y": 0.25, "reach": 0.2, "turn": 0.0,
        "corners": 6,
    }  # fmt: skip
    return Ring(**{**fields, **more})


def row(**more: Any) -> Row:
    fields: dict[str, Any] = {
        "repeat": ("circle", "star"), "length": 6, "framed": 3, "shown": "star", "colour": "red",
        "y": 0.28,
    }  # fmt: skip
    return Row(**{**fields, **more})


def sign(form: str = "octagon", word: str = "STOP", x: float = 0.25, **more: Any) -> Sign:
    return Sign.model_validate(
        {"form": form, "word": word, "x": x, "y": 0.25, "width": 0.44} | more
    )


def tray(colour: str = "red", y: float = 0.27, **more: Any) -> Tray:
    fields = {"colour": colour, "left": 3, "right": 4, "x": 0.5, "y": y, "apart": 0.2}
    return Tray.model_validate(fields | more)


def pixels(scene: Scene) -> np.ndarray:
    return np.asarray(scene.draw()).astype(int)


def inside(picture: np.ndarray, box: Box) -> np.ndarray:
    left, top, right, bottom = (round(side * len(picture)) for side in box)
    return picture[top:bottom, left:right]


def inked(picture: np.ndarray) -> int:
    return int((picture.max(-1) < 90).sum())


ANGLES = Geometry(size=SIZE, figures=(angle(degrees=60), angle("Q", x=0.75, degrees=150)))
RINGS = Geometry(size=SIZE, figures=(ring(corners=8), ring("L", x=0.75)))
ROWS = Patterns(
    size=SIZE,
    rows=(row(shown="cross"), row(repeat=("circle", "star", "square"), framed=5, y=0.72)),
)
SIGNPOSTS = Signs(size=SIZE, signs=(sign(word="FISH"), sign("taxi", "TAXI", 0.75)))
TRAYS = Dice(size=SIZE, trays=(tray(), tray("blue", 0.73, left=6, right=6)))


@pytest.mark.parametrize(
    ("scene", "thing", "question", "answer", "statement"),
    [
        (ANGLES, 0, "How large is the angle at P, in degrees?", "60",
         "Is the angle at P 60 degrees large?"),
        (ANGLES, 1, "How large is the angle at Q, in degrees?", "150",
         "Is the angle at Q 150 degrees large?"),
        (RINGS, 0, "How many corners does the aromatic ring K have?", "8",
         "Does the ring K have 8 corners?"),
        (RINGS, 1, "How many corners does the aromatic ring L have?", "6",
         "Does the ring L have 6 corners?"),
        (ROWS, 0, "Which shape stands in the frame of the top row?", "cross",
         "Does a cross stand in the frame of the top row?"),
        (ROWS, 1, "Which shape stands in the frame of the bottom row?", "star",
         "Does a star stand in the frame of the bottom row?"),
        (SIGNPOSTS, 0, "What does the octagonal sign say?", "FISH",
         "Does the octagonal sign say FISH?"),
        (SIGNPOSTS, 1, "What does the sign on the roof of the car say?", "TAXI",
         "Does the sign on the roof of the car say TAXI?"),
        (TRAYS, 0, "What do the two dice on the red tray add up to?", "7",
         "Does the right die on the red tray show 4?"),
        (TRAYS, 1, "What do the two dice on the blue tray add up to?", "12",
         "Does the right die on the blue tray show 6?"),
    ],
)  # fmt: skip
def test_scenes_made_by_hand_have_the_answers_that_one_reads_off_them(
    scene: Scene, thing: int, question: str, answer: str, statement: str
) -> None:
    ask: Ask = {"thing": thing}
    assert scene.question(ask) == question
    assert scene.solve(ask) == answer
    assert scene.statement(ask, answer) == statement


@pytest.mark.parametrize(
    ("scene", "path", "value"),
    [
        (ANGLES, ("figures", 0, "degrees"), 45),
        (ANGLES, ("figures", 0, "corners"), 4),
        (ANGLES, ("figures", 0, "name"), "A"),  # a letter of an option
        (ANGLES, ("figures", 1, "name"), "P"),
        (ANGLES, ("figures", 0, "x"), math.nan),
        (RINGS, ("figures", 0, "corners"), 7),
        (ROWS, ("rows", 0, "shown"), "heart"),
        (ROWS, ("rows", 0, "framed"), 1),  # before the pattern has been seen once
        (ROWS, ("rows", 0, "framed"), 6),
        (ROWS, ("rows", 0, "repeat"), ("star", "star")),
        (ROWS, ("rows", 1, "y"), 0.2),
        (SIGNPOSTS, ("signs", 0, "word"), "HALT"),
        (SIGNPOSTS, ("signs", 0, "form"), "taxi"),
        (SIGNPOSTS, ("signs", 0, "width"), 0.9),
        (TRAYS, ("trays", 0, "right"), 7),
        (TRAYS, ("trays", 0, "right"), 0),
        (TRAYS, ("trays", 1, "colour"), "red"),
        (TRAYS, ("trays", 1, "y"), 0.3),
    ],
)
def test_what_a_family_does_not_allow_is_refused(
    scene: Scene, path: tuple[str | int, ...], value: Any
) -> None:
    with pytest.raises(ValidationError):
        scene.changed(path, value)


@pytest.mark.parametrize("family", [GEOMETRY, PATTERNS, SIGNS, DICE], ids=lambda f: f.name)
def test_one_thing_alone_is_no_scene(family: Any) -> None:
    scene, _ = family.sample(random.Random(0), SIZE)
    data = scene.model_dump()
    things = next(name for name in data if name != "size")
    data[things] = data[things][:1]
    with pytest.raises(ValidationError):
        family.scene.model_validate(data)


def test_angles_and_rings_do_not_mix() -> None:
    with pytest.raises(ValidationError, match="one picture"):
        Geometry(size=SIZE, figures=(angle(), ring(x=0.75)))


def test_both_kinds_of_figures_are_sampled_at_their_usual_values() -> None:
    scenes = [GEOMETRY.sample(random.Random(seed), SIZE)[0] for seed in range(40)]
    kinds = [scene.figures[0].kind for scene in scenes if isinstance(scene, Geometry)]
    assert 8 < kinds.count("ring") < 32
    answers = {scene.solve({"thing": 1}) for scene in scenes}
    assert answers == {"90", "6"}


@pytest.mark.parametrize("turn", [-20.0, 0.0, 13.0, 200.0])
def test_the_tinted_share_of_the_disc_is_the_angle(turn: float) -> None:
    def tinted(degrees: int) -> int:
        scene = Geometry(
            size=1024,
            figures=(
                angle(degrees=degrees, turn=turn), angle("Q", tint="pink", x=0.75, degrees=30)
            ),
        )  # fmt: skip
        return int((pixels(scene) == (112, 170, 232)).all(-1).sum())

    right = tinted(90)
    for degrees in (30, 60, 120, 150):
        # The arms cover a strip of the wedge that is as broad whatever the angle is.
        assert tinted(degrees) / right == pytest.approx(degrees / 90, abs=0.12)


@pytest.mark.parametrize("corners", [3, 4, 5, 6, 8])
def test_a_ring_has_the_area_of_its_polygon(corners: int) -> None:
    scene = Geometry(size=1024, figures=(ring(corners=corners), ring("L", x=0.75)))
    picture = inside(pixels(scene), scene.region(("figures", 0, "corners")))
    paper = (picture == (250, 249, 245)).all(-1).sum()
    reach = 0.2 * 1024
    area = 0.5 * corners * reach**2 * math.sin(2 * math.pi / corners)
    rim = corners * 2 * reach * math.sin(math.pi / corners) * 0.008 * 1024
    assert picture.shape[0] * picture.shape[1] - paper == pytest.approx(area + rim, rel=0.02)


def test_the_pattern_holds_everywhere_but_in_the_frame() -> None:
    odd = row(repeat=("circle", "star", "square"), framed=4, shown="cross")
    assert [odd.at(place) for place in range(6)] == [
        "circle", "star", "square", "circle", "cross", "square",
    ]  # fmt: skip
    assert odd.expected == "star"


def test_sampled_patterns_go_on_in_the_frame() -> None:
    for seed in range(50):
        scene, knobs = PATTERNS.sample(random.Random(seed), SIZE)
        assert isinstance(scene, Patterns)
        for one, knob in zip(scene.rows, knobs, strict=True):
            assert one.shown == one.expected == knob.values[0]
            assert set(knob.values) == {"circle", "square", "triangle", "star", "diamond", "cross"}


def test_frames_touch_neither_their_shape_nor_the_neighbours() -> None:
    def framed(framed: int) -> np.ndarray:
        rows = (row(repeat=("square", "circle"), framed=framed, shown="square"), row(y=0.72))
        return inside(pixels(Patterns(size=SIZE, rows=rows)), (0, 0.1, 1, 0.5))

    dark = framed(4).max(-1) < 90
    assert dark.sum() > 200
    red = (framed(4) == (206, 44, 49)).all(-1)
    touching = np.zeros_like(red)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        touching |= np.roll(dark, step, axis)
    assert not (touching & red).any()


def test_three_rows_are_named_from_the_top() -> None:
    scene = Patterns(size=SIZE, rows=(row(y=0.18), row(y=0.5), row(y=0.82)))
    names = [scene.question({"thing": thing}).split()[-2] for thing in range(3)]
    assert names == ["top", "middle", "bottom"]


def test_words_of_signs_are_of_one_length_and_fit_their_signs() -> None:
    _, knobs = SIGNS.sample(random.Random(0), SIZE)
    words = [str(word) for word in knobs[0].values]
    assert len(words) == 12
    assert {len(word) for word in words} == {4}
    letters = font(1000)
    widths = [letters.getlength(word) / 1000 for word in words]
    assert max(widths) * 0.25 < 0.84  # the narrowest board leaves so much of a sign's width
    assert min(widths) > 0.7 * max(widths)


@pytest.mark.parametrize("form", ["octagon", "door", "shop", "taxi", "diamond", "tag"])
def test_words_stand_out_from_every_sign(form: str) -> None:
    other = "taxi" if form != "taxi" else "shop"
    scene = Signs(size=SIZE, signs=(sign(form, "MILK"), sign(other, "SALE", 0.75)))
    before, after = pixels(scene), pixels(scene.changed(("signs", 0, "word"), "FISH"))
    moved = np.abs(before - after).max(-1)
    assert (moved > 100).sum() >= 200
    rows = np.nonzero(moved)[0]
    assert (rows.max() - rows.min() + 1) / SIZE >= 0.05


def test_usual_words_belong_to_forms_and_come_first() -> None:
    seen: dict[str, set[str]] = {}
    for seed in range(60):
        scene, knobs = SIGNS.sample(random.Random(seed), SIZE)
        assert isinstance(scene, Signs)
        for one, knob in zip(scene.signs, knobs, strict=True):
            assert one.word == knob.values[0]
            seen.setdefault(one.form, set()).add(one.word)
    assert seen == {
        "octagon": {"STOP"}, "door": {"EXIT"}, "shop": {"OPEN"}, "taxi": {"TAXI"},
        "diamond": {"SLOW"}, "tag": {"SALE"},
    }  # fmt: skip


def test_an_octagon_is_red_and_a_way_out_green() -> None:
    scene = Signs(size=SIZE, signs=(sign(), sign("door", "EXIT", 0.75)))
    hues = []
    for thing in range(2):
        board = inside(pixels(scene), scene.region(("signs", thing, "word"))).reshape(-1, 3)
        strong = board[board.max(1) - board.min(1) > 60]
        hues.append(colorsys.rgb_to_hsv(*np.median(strong, axis=0) / 255)[0])
    assert min(hues[0], 1 - hues[0]) < 0.05
    assert 0.3 < hues[1] < 0.5


def test_every_face_of_a_die_has_as_many_pips_as_it_counts() -> None:
    def dark(pips: int) -> int:
        scene = Dice(size=512, trays=(tray(right=pips), tray("blue", 0.73)))
        return inked(inside(pixels(scene), scene.region(("trays", 0, "right"))))

    rim = 2 * dark(1) - dark(2)
    pip = dark(1) - rim
    assert pip == pytest.approx(math.pi * (0.036 * 512) ** 2, rel=0.08)
    for pips in range(1, 7):
        assert (dark(pips) - rim) / pip == pytest.approx(pips, abs=0.1)


def test_dice_begin_with_a_sum_of_seven() -> None:
    for seed in range(30):
        scene, knobs = DICE.sample(random.Random(seed), SIZE)
        assert [scene.solve(knob.ask) for knob in knobs] == ["7"] * len(knobs)
        for knob in knobs:
            sums = {scene.changed(knob.path, pips).solve(knob.ask) for pips in knob.values}
            assert len(sums) == 6


def test_the_left_die_is_in_the_sum_and_not_in_the_statement() -> None:
    scene = TRAYS.changed(("trays", 0, "left"), 1)
    assert scene.solve({"thing": 0}) == "5"
    assert scene.statement({"thing": 0}, "5") == "Does the right die on the red tray show 4?"
