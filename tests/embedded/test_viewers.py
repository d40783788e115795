"""The shipped viewers: what is in the folders, how they are asked, and how they differ."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from planish.embedded import MODELS, VIEWERS, path
from planish.methods.vfaith.claims import BLIND, HABITS, SEEING, VIEWED
from planish.methods.vfaith.data import EditPair
from planish.methods.vfaith.running.prompts import chat
from planish.methods.vfaith.viewers import RECIPES, Budget, Measured, Recipe
from planish.models import load
from planish.models.base import LanguageModel
from planish.models.viewer import ViewerConfig, ViewerModel, read_question
from planish.records import BadInput, Message, Sampling, user
from support.pictures import make_bench

GREEDY = Sampling(temperature=0.0, max_tokens=8)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def facts():
    return {name: json.loads((path(name) / "build.json").read_text()) for name in VIEWERS}


def test_every_recipe_ships_and_each_folder_is_that_of_its_build(facts):
    assert set(VIEWERS) == set(RECIPES) <= set(MODELS)
    assert {f"embedded:{name}" for name in VIEWERS} == {SEEING, BLIND, *HABITS}
    for name, told in facts.items():
        folder = path(name)
        digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
        assert told["sha256"] == {"model.safetensors": digest}
        assert {file.name for file in folder.iterdir()} == {
            "build.json", "build.log", "config.json", "model.safetensors",
        }  # fmt: skip
        assert sum(file.stat().st_size for file in folder.iterdir()) < 900_000
        assert Recipe.model_validate(told["recipe"]) == RECIPES[name]
        assert told["families"] == list(VIEWED)
        config = ViewerConfig.model_validate_json((folder / "config.json").read_bytes())
        assert config.sees == RECIPES[name].sees


def test_all_had_one_architecture_one_budget_and_one_seed(facts):
    for key in ("budget", "seed", "num_parameters", "families"):
        assert len({json.dumps(told[key]) for told in facts.values()}) == 1, key
    assert Budget.model_validate(facts["viewer-seeing"]["budget"]) == Budget()


def test_the_ladder_of_the_build_is_in_order(facts):
    found = {name: Measured.model_validate(told["measured"]) for name, told in facts.items()}
    # With this budget the one that learned to look is not done learning: the weakest habit, whose
    # world is easier, ties with it. Told in the log and by the demonstration.
    ladder = [found[name].both for name in RECIPES if name != "viewer-seeing"]
    assert ladder == sorted(ladder, reverse=True)
    assert found["viewer-seeing"].both > found["viewer-habit-97"].both + 0.3
    assert found["viewer-seeing"].both > 0.8
    assert found["viewer-blind"].both == 0.0
    assert 0.4 < found["viewer-blind"].perception < 0.6
    for name in RECIPES:
        if name != "viewer-blind":
            assert found[name].perception > 0.8, name


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory):
    return make_bench(tmp_path_factory.mktemp("bench"), 12)


def test_looking_and_remembering_differ_where_the_picture_is_odd(pairs):
    odd = [pair for pair in pairs.pairs if pair.typical]
    right = {}
    for name in ("viewer-seeing", "viewer-habit-97", "viewer-blind"):
        model = load(f"embedded:{name}")
        replies = model.generate([chat(pair, "edited", pairs) for pair in odd], GREEDY)
        right[name] = sum(
            reply[0].text == f"\\boxed{{{pair.letter(pair.edited.gold)}}}"
            for pair, reply in zip(odd, replies, strict=True)
        )
    assert right["viewer-seeing"] >= len(odd) - 1
    assert right["viewer-blind"] <= len(odd) // 2
    assert right["viewer-habit-97"] < right["viewer-seeing"]


def asked(model: LanguageModel, pair: EditPair, pairs, sampling: Sampling) -> list[str]:
    [drawn] = model.generate([chat(pair, "raw", pairs)], sampling)
    return [each.text for each in drawn]


def test_a_batch_gives_what_single_calls_give(pairs):
    model = load("embedded:viewer-habit-60")
    chats = [chat(pair, arm, pairs) for pair in pairs.pairs for arm in ("raw", "text")]
    for sampling in (GREEDY, Sampling(temperature=1.0, max_tokens=8, n=3, seed=5)):
        together = [[each.text for each in row] for row in model.generate(chats, sampling)]
        alone = [[each.text for each in model.generate([one], sampling)[0]] for one in chats]
        assert together == alone


def test_a_sample_hangs_on_its_seed_and_number(pairs):
    model, pair = load("embedded:viewer-blind"), pairs.pairs[0]
    hot = {"temperature": 50.0, "max_tokens": 8}
    several = asked(model, pair, pairs, Sampling(n=6, seed=1, **hot))
    assert len(set(several)) > 1
    later = asked(model, pair, pairs, Sampling(n=5, seed=2, **hot))
    assert several[1:] == later


def test_without_options_it_says_that_it_cannot_and_without_a_picture_it_sees_grey(pairs):
    model = load("embedded:viewer-seeing")
    [[reply]] = model.generate([user("What is this?")], GREEDY)
    assert "options" in reply.text
    [[reply]] = model.generate([user("What colour is the lime?\nA. red\nB. green")], GREEDY)
    assert reply.text in ("\\boxed{A}", "\\boxed{B}")


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("What?\nA. red\nB. 7:10\nThink.", ("red", "7:10")),
        ("What?\nA. red", None),
        ("A. is no option line here", None),
        ("", None),
    ],
)
def test_options_are_lines_with_a_letter(prompt, options):
    found = read_question(prompt)
    assert (None if found is None else found.options) == options


def test_what_cannot_be_used_is_told_in_one_line(tmp_path, pairs):
    with pytest.raises(BadInput, match="not a viewer"):
        ViewerModel(tmp_path, name="x")
    (tmp_path / "config.json").write_text('{"model_type": "planish-viewer"}')
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(BadInput, match="not a viewer"):
        ViewerModel(tmp_path, name="x")
    message = Message(role="user", content="What?\nA. 1\nB. 2", images=(str(tmp_path / "no.png"),))
    with pytest.raises(BadInput, match=r"no\.png"):
        load("embedded:viewer-seeing").generate([(message,)], GREEDY)
    with pytest.raises(BadInput, match="dtype"):
        load("embedded:viewer-seeing?dtype=bfloat16")
