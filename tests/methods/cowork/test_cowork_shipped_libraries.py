"""The two shipped libraries: a start that fails where it should, and one that plays all five."""

import json
from importlib.resources import files
from statistics import mean

import pytest

from planish.methods.cowork.acting.episodes import Job, play
from planish.methods.cowork.data import Cell
from planish.methods.cowork.kitchen.layouts import CLASSIC, HELD_OUT
from planish.methods.cowork.skills import SHIPPED, load_library, parse_library

FOLDER = files("planish.methods.cowork") / "shipped" / "libraries"
FULL, IMPAIRED = load_library("full"), load_library("impaired")


def score(library, layout, seed, **rest):
    return play(Job(Cell(layout=layout), library, seed, **rest)).episode.score


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_library_is_sound_and_reads_back_the_same(name):
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    library = parse_library(json.loads(text))
    assert library.name == name
    again = parse_library(json.loads(library.canonical()))
    assert again == library
    assert again.digest == load_library(name).digest
    assert library.description
    assert not any(node.locked for node in library.methods + library.operators + library.params)


def test_the_full_library_extends_the_impaired_one():
    for kind in ("params", "operators", "methods"):
        ids = [{node.id for node in getattr(each, kind)} for each in (IMPAIRED, FULL)]
        assert ids[0] <= ids[1]
    for parameter in IMPAIRED.params:
        other = next(node for node in FULL.params if node.id == parameter.id)
        assert (parameter.min, parameter.max, parameter.step) == (other.min, other.max, other.step)
    used = {part for method in FULL.methods for part in method.subtasks}
    assert {"give_way", "pass_onion", "drop"} <= {node.id for node in FULL.methods}
    assert "step_aside" in used


@pytest.mark.parametrize("layout", ["coordination_ring", "forced_coordination"])
def test_the_impaired_library_gets_nowhere_where_two_must_act_together(layout):
    assert score(IMPAIRED, layout, 0, start="layout") == 0
    assert [score(IMPAIRED, layout, seed) for seed in range(5)] == [0] * 5


@pytest.mark.parametrize(
    ("layout", "least"),
    list(zip(CLASSIC, (200, 400, 180, 180, 140), strict=True)),
)
def test_the_full_library_plays_the_classic_layouts(layout, least):
    scores = [score(FULL, layout, seed) for seed in (0, 1)]
    assert mean(scores) >= least
    assert score(FULL, layout, 0, start="layout") >= least
    assert mean(scores) > mean(score(IMPAIRED, layout, seed) for seed in (0, 1))


@pytest.mark.parametrize("layout", HELD_OUT)
def test_the_full_library_delivers_where_nobody_tuned_it(layout):
    assert mean(score(FULL, layout, seed) for seed in (0, 1)) > 0
