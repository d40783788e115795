"""The script that trains the viewers: worlds, budgets, and the same files from the same seed."""

from __future__ import annotations

import json

import pytest
import torch

from planish.methods.vfaith import viewers
from planish.methods.vfaith.viewers import RECIPES, Budget, Recipe, build, exam, train
from planish.models.viewer import ViewerConfig

SMALL = ViewerConfig(side=32, width=16, channels=(8, 8, 16), glimpses=2, words=128)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_worlds_differ_in_how_often_a_thing_looks_usual_and_in_nothing_that_all_are_asked():
    usual, seen = {}, {}
    for rate in (0.25, 1.0):
        picked, looking = [], []
        for place in range(60):
            _, asked = viewers._scene("colours", f"t:{place}", rate, False, 32)
            picked += [each.options[gold] for each, gold, _ in asked]
            _, asked = viewers._scene("colours", f"t:{place}", 0.25, True, 32)
            looking += [each.options[gold] for each, gold, _ in asked]
        usual[rate], seen[rate] = picked, looking
    fruit = {"yellow", "red", "green", "orange", "purple", "brown"}
    assert set(usual[1.0]) <= fruit
    assert "blue" in usual[0.25]
    assert seen[0.25] == seen[1.0]
    assert 0.4 < seen[1.0].count("yes") / len(seen[1.0]) < 0.6


def test_two_scenes_in_five_ask_whether_a_value_is_there():
    given = exam(50, RECIPES["viewer-habit-97"], SMALL, seed=0, workers=1)
    questions = len(given.golds) // len(given.pixels)
    two = (given.options.sum(-1) > 0).sum(-1) == 2
    assert two.view(-1, questions).all(1).sum() == two.view(-1, questions).any(1).sum() == 20
    # Wherever something is asked about, the map shows it somewhere.
    assert given.places.sum(-1).min() >= 1
    assert given.places.shape[1] == (SMALL.side // 8) ** 2


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    given = exam(40, Recipe(usual=0.5), SMALL, seed=3, workers=1)
    budget = Budget(scenes=40, passes=1, batch=8)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    one, two, other = (train(SMALL, given, budget, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    for name, weights in one.state_dict().items():
        assert torch.equal(weights, two.state_dict()[name])
    assert any(
        not torch.equal(weights, other.state_dict()[name])
        for name, weights in one.state_dict().items()
    )


def test_training_learns_what_it_is_shown():
    given = exam(32, Recipe(usual=0.25), SMALL, seed=5, families=("maps",), workers=1)
    losses: list[float] = []
    budget = Budget(scenes=32, passes=30, batch=8, learning_rate=3e-3)
    train(SMALL, given, budget, seed=0, say=lambda line: losses.append(float(line.split()[-1])))
    assert losses[-1] < 0.6 * losses[0]


def test_a_blind_network_cannot_tell_pictures_apart():
    given = exam(10, Recipe(usual=0.25), SMALL, seed=5, workers=1)
    blind = train(SMALL.model_copy(update={"sees": False}), given, Budget(passes=0), seed=0)
    seen = blind.look(given.pixels)
    assert torch.equal(seen, seen[:1].expand_as(seen))


def test_a_build_writes_weights_log_and_facts(tmp_path):
    recipes = {"viewer-a": Recipe(usual=0.9), "viewer-b": Recipe(usual=0.9, sees=False)}
    found = build(
        tmp_path, recipes=recipes, budget=Budget(scenes=20, passes=1, batch=8), config=SMALL,
        pairs=5, workers=1,
    )  # fmt: skip
    assert set(found) == set(recipes)
    for name in recipes:
        facts = json.loads((tmp_path / name / "build.json").read_text())
        assert facts["measured"] == found[name].model_dump()
        assert "pass 1 of 1" in (tmp_path / name / "build.log").read_text()
    assert found["viewer-b"].both == 0
