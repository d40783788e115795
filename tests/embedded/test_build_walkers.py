"""The builder of the walkers with a handful of steps, and its parts."""

import hashlib
import json

import pytest
import torch

from planish.embedded import path
from planish.embedded.walker_training import train_walker, walk_rows
from planish.methods.reheat import walkers
from planish.methods.reheat.walkers import RL, Bands, PairMetrics, WalkerMetrics, build
from planish.records import BadInput
from planish.stats import Estimate
from planish.tasks.routes import RoutesTask

ANY = (0.0, 99.0)
OPEN = Bands(
    entropy_ratio=ANY, zero_variance=ANY, collapsed_pass_at_1=ANY, first_pass_at_1=ANY
)  # fmt: skip
QUICK = {
    "steps": 2, "limit": 8,
    "rl": RL.model_copy(update={"prompts_per_step": 32, "rollouts": 4, "prompts": 40}),
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def files(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_the_same_seed_gives_the_same_files(tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM

    # A policy that reaches no goal earns nothing, and then RL changes nothing.
    able = AutoModelForCausalLM.from_pretrained(path("walker"))
    monkeypatch.setattr(walkers, "train_walker", lambda task, seed, say: able)
    heard = []
    build(tmp_path / "one", bands=OPEN, say=heard.append, **QUICK)
    build(tmp_path / "two", bands=OPEN, **QUICK)
    one, two = files(tmp_path / "one"), files(tmp_path / "two")
    assert one == two
    assert {name.partition("/")[0] for name in one} == {"walker", "walker-collapsed"}
    for name in ("walker", "walker-collapsed"):
        facts = json.loads(one[f"{name}/build.json"])
        assert facts["shipped"] == 0
        assert facts["task"] == "routes:64:4:7:0"
        assert facts["reinforcement_learning"]["steps"] == 2
        for file, digest in facts["sha256"].items():
            assert hashlib.sha256(one[f"{name}/{file}"]).hexdigest() == digest
        assert one[f"{name}/build.log"].decode().splitlines() == heard
    # What differs is what RL made of the weights.
    assert one["walker/model.safetensors"] != one["walker-collapsed/model.safetensors"]
    for file in ("config.json", "generation_config.json", "tokenizer.json"):
        assert one[f"walker/{file}"] == one[f"walker-collapsed/{file}"], file


def test_walking_is_the_same_for_the_same_seed_and_leaves_the_global_generator_alone():
    task = RoutesTask(world=0)

    def walk(seed):
        return train_walker(task, seed, walks=1, steps=3, batch_size=8)

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one = walk(0)
    assert torch.equal(torch.rand(1), expected)
    other, different = walk(0), walk(1)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.lm_head.weight, different.lm_head.weight)
    assert not one.training


def test_walks_are_of_training_questions_and_some_of_them_aim():
    task = RoutesTask(num_nodes=12, num_edges=3, max_steps=4)
    train = {
        example.prompt[0].content: example
        for example in task.examples("train", task.capped("train", 1 << 30))
    }

    def right(aimed):
        rows = walk_rows(task, 0, walks=3, aimed=aimed)
        assert len(rows) == 3 * len(train)
        assert {prompt for prompt, _ in rows} == {f"{question} :" for question in train}
        scores = [task.verify(train[prompt[:-2]], walk).score for prompt, walk in rows]
        return sum(scores) / len(scores)

    assert right(1.0) == 1.0
    assert right(0.0) < right(0.5) < 1.0


def test_without_a_fitting_pair_only_the_log_is_written(tmp_path, monkeypatch):
    told = []

    def fake(world, folder, bands, walking, rl, steps, limit, say):
        told.append(world)
        say(f"world {world}")
        return walkers.Pair(world=world, misses=("too warm",), gate=METRICS, report=METRICS)

    monkeypatch.setattr(walkers, "_pair", fake)
    with pytest.raises(BadInput, match=r"none of 2 pairs .*; read build\.log"):
        build(tmp_path, seed=3, num_bases=2)
    assert told == [3, 4]
    assert [file.name for file in tmp_path.iterdir()] == ["build.log"]
    assert (tmp_path / "build.log").read_text().endswith("world 4\nshipped: none\n")


def metrics(**changed):
    values = {"entropy": 1.0, "zero_variance": 0.8, "pass_at_1": 0.4, "solved": 0.5} | changed
    return WalkerMetrics(**{name: Estimate(value=value) for name, value in values.items()})


METRICS = PairMetrics(
    first=metrics(pass_at_1=0.05), collapsed=metrics(), entropy_ratio=Estimate(value=0.1)
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "miss"),
    [
        ({}, None),
        ({"entropy_ratio": Estimate(value=0.16)}, "entropy ratio 0.160 is not within 0.0 to 0.15"),
        ({"entropy_ratio": Estimate(value=None)}, "entropy ratio n/a is not within 0.0 to 0.15"),
        ({"collapsed": metrics(zero_variance=0.5)},
         "groups without variance 0.500 is not within 0.6 to 1.0"),
        ({"collapsed": metrics(pass_at_1=0.7)}, "collapsed pass@1 0.700 is not within 0.2 to 0.6"),
        ({"first": metrics(pass_at_1=0.01)}, "first pass@1 0.010 is not within 0.02 to 1.0"),
    ],
)  # fmt: skip
def test_bands_name_what_is_missed(changed, miss):
    found = METRICS.model_copy(update=changed)
    assert Bands().misses(found) == (() if miss is None else (miss,))


@pytest.mark.parametrize("found", [True, False])
def test_the_command_line_ends_with_a_code(tmp_path, monkeypatch, capsys, found):
    def fake(out, *, seed, num_bases, say):
        assert (out, seed, num_bases) == (tmp_path, 3, 2)
        say("working")
        if not found:
            raise BadInput("none of 2 pairs lies within the bands", where=str(out))

    monkeypatch.setattr(walkers, "build", fake)
    arguments = ["--out", str(tmp_path), "--seed", "3", "--bases", "2"]
    try:
        assert walkers.main(arguments) == (0 if found else 1)
    finally:
        torch.use_deterministic_algorithms(False)
    said = capsys.readouterr().err
    assert "working" in said
    assert ("none of 2 pairs" in said) is not found
