"""Every family of scenes keeps the rules of the room: pure drawing, solvable values, no reflow.

`python tests/methods/vfaith/test_vfaith_scenes.py` writes the golden hashes of this platform anew.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import platform
import random
import re
from pathlib import Path

import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from planish.methods.vfaith.data import SUBSETS
from planish.methods.vfaith.method import OPTIONS, YES_NO, draw, is_typical
from planish.methods.vfaith.scenes import FAMILIES, load_scene
from planish.methods.vfaith.scenes.base import SIZES

GOLDEN = Path(__file__).with_name("golden_scenes.json")
PLATFORM = f"{platform.system()}-{platform.machine()}-pillow-{PIL.__version__}"
SMALL = 256
VISIBLE = 200  # pixels that a change must show at 256 x 256
SEEDS = st.integers(0, 2**31 - 1)

family = pytest.mark.parametrize("family", [pytest.param(f, id=n) for n, f in FAMILIES.items()])


def sampled(family, seed, size=SMALL):
    return family.sample(random.Random(seed), size)


def pixels(scene):
    image = scene.draw()
    assert (image.mode, image.size) == ("RGB", (scene.size, scene.size))
    return np.asarray(image)


def inside(scene, path):
    """The pixels of a region, those on its edge included."""
    left, top, right, bottom = (scene.size * value for value in scene.region(path))
    found = np.zeros((scene.size, scene.size), bool)
    rows = slice(max(0, math.floor(top)), math.ceil(bottom))
    found[rows, max(0, math.floor(left)) : math.ceil(right)] = True
    return found


# ---- what a scene is --------------------------------------------------------------------------


@family
def test_a_family_says_what_it_is(family):
    scene, _ = sampled(family, 0)
    assert family.scene is type(scene)
    assert family.name == scene.family
    assert family.subset in SUBSETS
    assert family.prior


def test_every_subset_has_a_family():
    assert {family.subset for family in FAMILIES.values()} == set(SUBSETS)


@family
@settings(max_examples=15)
@given(seed=SEEDS)
def test_every_value_is_legal_and_leads_to_an_answer_of_its_own(family, seed):
    scene, knobs = sampled(family, seed)
    assert len(knobs) >= 2
    assert len({knob.path for knob in knobs}) == len({knob.name for knob in knobs}) == len(knobs)
    for knob in knobs:
        assert len(knob.values) >= OPTIONS
        assert scene.changed(knob.path, knob.values[0]) == scene, "the first value is the usual one"
        changed = [scene.changed(knob.path, value) for value in knob.values]
        answers = [each.solve(knob.ask) for each in changed]
        assert len(set(answers)) == len(answers)
        assert all(answers)
        assert "{answer}" in knob.instruction
        # Only the fields tell the pictures apart; nobody's question changes with a value.
        questions = {each.question(knob.ask) for each in changed}
        assert questions == {scene.question(knob.ask)}
        statements = {each.statement(knob.ask, answers[1]) for each in changed}
        assert statements == {scene.statement(knob.ask, answers[1])}
        assert len({scene.statement(knob.ask, answer) for answer in answers}) == len(answers)


@family
@settings(max_examples=15)
@given(seed=SEEDS)
def test_a_question_names_its_thing_and_gives_no_value_away(family, seed):
    scene, knobs = sampled(family, seed)
    questions = [scene.question(knob.ask) for knob in knobs]
    assert len(set(questions)) == len(knobs)
    for knob, question in zip(knobs, questions, strict=True):
        assert question.endswith("?")
        for value in knob.values:
            answer = scene.changed(knob.path, value).solve(knob.ask)
            assert not re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", question, re.IGNORECASE)


@family
@settings(max_examples=15)
@given(seed=SEEDS)
def test_one_knob_leaves_the_answers_of_the_others(family, seed):
    scene, knobs = sampled(family, seed)
    for cue, other in itertools.permutations(knobs, 2):
        for value in other.values:
            assert scene.changed(other.path, value).solve(cue.ask) == scene.solve(cue.ask)


@family
@settings(max_examples=15)
@given(seed=SEEDS)
def test_a_scene_is_written_down_and_read_again(family, seed):
    scene, knobs = sampled(family, seed)
    for each in (scene, scene.changed(knobs[0].path, knobs[0].values[1])):
        read = load_scene(json.loads(json.dumps(each.dump())))
        assert read == each
        assert type(read) is type(each)
    assert sampled(family, seed) == (scene, knobs), "the same seed gives the same scene"


# ---- what is seen -----------------------------------------------------------------------------


@family
@pytest.mark.parametrize("seed", range(3))
def test_a_change_shows_in_its_region_and_nowhere_else(family, seed):
    scene, knobs = sampled(family, seed)
    for knob in knobs:
        region = inside(scene, knob.path)
        seen = [pixels(scene.changed(knob.path, value)) for value in knob.values]
        for one, other in itertools.combinations(seen, 2):
            changed = (one != other).any(-1)
            assert changed.sum() >= VISIBLE
            assert not changed[~region].any()


@family
@settings(max_examples=50)
@given(seed=SEEDS)
def test_regions_lie_in_the_picture_and_apart(family, seed):
    scene, knobs = sampled(family, seed)
    boxes = [scene.region(knob.path) for knob in knobs]
    for left, top, right, bottom in boxes:
        assert left < right
        assert top < bottom
        assert min(left, top) >= -0.02
        assert max(right, bottom) <= 1.02
    for one, other in itertools.combinations(boxes, 2):
        assert (
            one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        ), "regions overlap"


@family
def test_a_region_stays_where_it_is(family):
    for seed in range(20):
        scene, knobs = sampled(family, seed)
        for knob, turned in itertools.product(knobs, knobs):
            for value in turned.values:
                changed = scene.changed(turned.path, value)
                assert changed.region(knob.path) == scene.region(knob.path)


@family
@pytest.mark.parametrize("size", [256, 512, 1024])
def test_a_scene_is_drawn_at_every_size_and_always_the_same(family, size):
    scene, knobs = sampled(family, 3, size)
    first = pixels(scene)
    random.seed(size)  # whatever a drawing takes from the world's randomness would show
    again = pixels(load_scene(scene.dump()))
    assert first.tobytes() == again.tobytes()
    changed = pixels(scene.changed(knobs[0].path, knobs[0].values[1]))
    differs = (first != changed).any(-1)
    assert differs.sum() >= VISIBLE * (size / SMALL) ** 2 * 0.9
    assert not differs[~inside(scene, knobs[0].path)].any()


@family
def test_the_same_scene_is_meant_at_every_size(family):
    small, large = sampled(family, 5, 256)[0], sampled(family, 5, 1024)[0]
    assert small.model_copy(update={"size": 1024}) == large
    shrunk = np.asarray(large.draw().reduce(4)).astype(float)
    assert np.abs(shrunk - pixels(small)).mean() < 4


@family
def test_pixels_are_as_they_were(family):
    golden = json.loads(GOLDEN.read_text("utf-8"))
    if PLATFORM not in golden:
        pytest.skip(f"no golden hashes for {PLATFORM}: run this file as a script to write them")
    assert hashes(family) == golden[PLATFORM].get(family.name)


def test_the_golden_hashes_are_of_all_families():
    for name, kept in json.loads(GOLDEN.read_text("utf-8")).items():
        assert set(kept) == set(FAMILIES), name


# ---- what is refused --------------------------------------------------------------------------


@family
@pytest.mark.parametrize("value", ["nonsense", "", -1, 10**6, 0.5, None, [], {}], ids=str)
def test_an_illegal_value_is_refused(family, value):
    for seed in range(5):
        scene, knobs = sampled(family, seed)
        for knob in knobs:
            with pytest.raises(ValidationError):
                scene.changed(knob.path, value)


@family
def test_a_foreign_field_or_a_size_out_of_range_is_refused(family):
    scene, _ = sampled(family, 0)
    for change in ({"size": SIZES[0] - 1}, {"size": SIZES[1] + 1}, {"size": 300.5}, {"path": "/"}):
        with pytest.raises(ValidationError):
            load_scene({**scene.dump(), **change})
    with pytest.raises(KeyError):
        load_scene({**scene.dump(), "family": "photographs"})


@family
def test_a_scene_of_one_thing_is_refused(family):
    scene, knobs = sampled(family, 0)
    things = str(knobs[0].path[0])
    data = scene.dump()
    with pytest.raises(ValidationError):
        load_scene({**data, things: data[things][:1]})


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("charts", "label"), ("clocks", "city"), ("counting", "kind"), ("maps", "colour"),
        ("maps", "quarter"),
    ],
)  # fmt: skip
def test_two_things_of_one_name_or_place_are_refused(name, field):
    scene, knobs = sampled(FAMILIES[name], 0)
    things = str(knobs[0].path[0])
    first = getattr(getattr(scene, things)[0], field)
    with pytest.raises(ValidationError, match="same"):
        scene.changed((things, 1, field), first)


def test_hands_that_hide_each_other_are_refused():
    scene, knobs = sampled(FAMILIES["clocks"], 0)
    assert 2 not in knobs[0].values
    with pytest.raises(ValidationError, match="hides"):
        scene.changed(knobs[0].path, 2)


@pytest.mark.parametrize("name", ["clocks", "counting"])
def test_things_that_touch_are_refused(name):
    scene, knobs = sampled(FAMILIES[name], 0)
    data = scene.dump()
    things = data[str(knobs[0].path[0])]
    things[1] = {**things[1], "x": things[0]["x"], "y": things[0]["y"]}
    with pytest.raises(ValidationError, match="touch"):
        load_scene(data)


def test_a_road_may_not_lead_out_of_its_country_or_off_its_map():
    scene, knobs = sampled(FAMILIES["maps"], 0)
    with pytest.raises(ValidationError, match="there is no"):
        scene.changed(knobs[0].path, "castle" if scene.country == "south" else "tent")
    with pytest.raises(ValidationError, match="leaves its map"):
        scene.changed(("roads", 0, "bends"), [0.0, 0.06])


# ---- pairs ------------------------------------------------------------------------------------


@family
@settings(max_examples=20)
@given(seed=SEEDS, place=st.integers(0, OPTIONS - 1), typical=st.booleans())
def test_a_pair_moves_the_answer_and_its_placebo_does_not(family, seed, place, typical):
    draft = draw(family, random.Random(seed), size=SMALL, typical=typical, place=place)
    assert len(set(draft.options)) == OPTIONS
    assert draft.options[place] == draft.gold_edited != draft.gold_raw
    assert draft.gold_raw in draft.options
    assert draft.raw.solve(draft.ask) == draft.gold_raw == draft.old
    assert draft.edited.solve(draft.ask) == draft.gold_edited == draft.new
    assert draft.placebo.solve(draft.ask) == draft.gold_raw
    assert draft.placebo != draft.raw
    assert draft.cue.path != draft.other.path
    usual = draft.raw.changed(draft.cue.path, draft.cue.values[0])
    assert (draft.raw if typical else draft.edited) == usual
    assert draft.raw.statement(draft.ask, draft.gold_raw) != draft.statement


@family
@settings(max_examples=10)
@given(seed=SEEDS, place=st.integers(0, 1), typical=st.booleans())
def test_a_perception_item_asks_about_one_of_both_values(family, seed, place, typical):
    draft = draw(
        family, random.Random(seed), size=SMALL, typical=typical, place=place, kind="perception"
    )
    assert draft.options[place] == draft.gold_edited
    assert sorted(draft.options) == sorted(YES_NO) == sorted([draft.gold_raw, draft.gold_edited])
    shown = draft.new if draft.gold_edited == "yes" else draft.old
    assert draft.question == draft.raw.statement(draft.ask, shown)


@family
def test_memory_is_right_on_edited_pictures_as_often_as_chance(family):
    rng, hits = random.Random(family.name), 0
    for number in range(400):
        draft = draw(family, rng, size=SMALL, typical=is_typical(number), place=number // 4 % 4)
        usual = draft.raw.changed(draft.cue.path, draft.cue.values[0]).solve(draft.ask)
        assert (draft.gold_raw == usual) == is_typical(number)
        hits += draft.gold_edited == usual
    assert hits == 400 // OPTIONS


# ---- golden hashes ----------------------------------------------------------------------------


def hashes(family):
    """Of the usual picture of three seeds, and of the same with its first knob turned."""
    found = []
    for seed in range(3):
        scene, knobs = sampled(family, seed)
        for value in knobs[0].values[:2]:
            image = scene.changed(knobs[0].path, value).draw()
            found.append(hashlib.sha256(image.tobytes()).hexdigest())
    return found


def rebuild():
    golden = json.loads(GOLDEN.read_text("utf-8")) if GOLDEN.is_file() else {}
    golden[PLATFORM] = {name: hashes(family) for name, family in sorted(FAMILIES.items())}
    GOLDEN.write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    rebuild()
