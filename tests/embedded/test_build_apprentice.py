"""The builder of the apprentice with a handful of steps, and its parts."""

import hashlib
import json

import pytest
import torch

from planish.embedded import build_apprentice
from planish.embedded.authors import corpus
from planish.embedded.build_apprentice import Bands, build
from planish.embedded.reasoner_evaluation import JudgeMetrics, SolverMetrics
from planish.embedded.reasoner_training import train_reader, train_solver
from planish.records import BadInput
from planish.stats import Estimate

ANY = (0.0, 1.0)
OPEN = Bands(solver=ANY, accuracy=ANY, coverage=ANY, first_slot=ANY)
QUICK_SOLVER = {
    "max_steps": 4, "stage_steps": 1, "num_examples": 60, "batch_size": 12,
}  # fmt: skip
QUICK = {"steps": 3, "corpus_size": 80}
MODEL_FILES = {
    "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors",
    "tokenizer.json", "tokenizer_config.json",
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def solvers(monkeypatch):
    """Trains and measures little; the returned set holds the seeds whose solver gets there."""
    for name in ("evaluate_solver", "evaluate_judge"):
        whole = getattr(build_apprentice, name)
        monkeypatch.setattr(
            build_apprentice, name, lambda model, whole=whole, **kw: whole(model, limit=10, **kw)
        )
    able = {0, 1, 2}

    def quick(seed, **_):
        return train_solver(seed, **QUICK_SOLVER, target=0.0 if seed in able else 1.1)

    monkeypatch.setattr(build_apprentice, "train_solver", quick)
    return able


@pytest.fixture
def readable(monkeypatch):
    """Lets every verdict be read and right, as after three steps none is."""
    fine = Estimate(value=0.5)
    metrics = JudgeMetrics(
        accuracy=fine, both_right=fine, consistency=fine, first_slot=fine, coverage=fine,
        solved=fine, inner_gap=fine,
    )  # fmt: skip
    monkeypatch.setattr(build_apprentice, "evaluate_judge", lambda model, **_: metrics)


@pytest.mark.usefixtures("readable")
def test_the_first_base_whose_solver_solved_is_shipped_whole(tmp_path, solvers):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    solvers.discard(0)
    out, heard = tmp_path / "out", []
    out.mkdir()
    build(out, num_bases=3, bands=OPEN, say=heard.append, **QUICK)
    facts = json.loads((out / "build.json").read_text())
    assert facts["shipped"] == 1
    assert facts["careful"] == 0.3
    assert [base["solver_solved"] for base in facts["bases"]][:2] == [False, True]
    assert (out / "build.log").read_text().splitlines() == heard
    assert heard[-1] == "shipped: base 1"
    assert set(facts["sha256"]) == MODEL_FILES
    assert {file.name for file in out.iterdir()} == MODEL_FILES | {"build.json", "build.log"}
    for name, digest in facts["sha256"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    model = AutoModelForCausalLM.from_pretrained(out)
    assert model.num_parameters() == facts["num_parameters"] < 200_000
    assert AutoTokenizer.from_pretrained(out).eos_token == "<eos>"


@pytest.mark.usefixtures("solvers")
def test_without_a_fitting_base_only_the_log_is_written(tmp_path):
    with pytest.raises(BadInput, match=r"none of 2 bases .*; read build\.log"):
        build(tmp_path, num_bases=2, **QUICK)
    assert [file.name for file in tmp_path.iterdir()] == ["build.log"]
    log = (tmp_path / "build.log").read_text()
    assert "band of accuracy: 0.68 to 0.8\n" in log
    assert log.count("greedy solving") == 2
    assert log.endswith("shipped: none\n")


@pytest.mark.usefixtures("readable")
def test_a_base_that_never_solved_is_not_shipped(tmp_path, solvers):
    solvers.clear()
    with pytest.raises(BadInput, match="none of 1 bases"):
        build(tmp_path, num_bases=1, bands=OPEN, **QUICK)
    assert [file.name for file in tmp_path.iterdir()] == ["build.log"]


def test_reading_is_the_same_for_the_same_seed_and_leaves_the_global_generator_alone():
    rows = corpus(0.3, 0, size=50)

    def read(seed):
        solver = train_solver(3, **QUICK_SOLVER, target=0.0).model
        return train_reader(
            solver, rows, seed, steps=3, num_solve_examples=40, judge_batch=4, solve_batch=4
        )

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one = read(0)
    assert torch.equal(torch.rand(1), expected)
    other, different = read(0), read(1)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.lm_head.weight, different.lm_head.weight)
    assert not one.training


@pytest.mark.parametrize(
    ("changed", "miss"),
    [
        ({}, None),
        ({"greedy": 0.98}, "greedy solving 0.980 is not within 0.99 to 1.0"),
        ({"accuracy": 0.67}, "judge accuracy 0.670 is not within 0.68 to 0.8"),
        ({"accuracy": 0.81}, "judge accuracy 0.810 is not within 0.68 to 0.8"),
        ({"coverage": 0.98}, "coverage 0.980 is not within 0.99 to 1.0"),
        ({"first_slot": 0.41}, "first-slot rate 0.410 is not within 0.42 to 0.58"),
        ({"first_slot": None}, "first-slot rate n/a is not within 0.42 to 0.58"),
    ],
)
def test_bands_name_what_is_missed(changed, miss):
    values = {"greedy": 1.0, "accuracy": 0.74, "coverage": 1.0, "first_slot": 0.5} | changed
    found = {name: Estimate(value=value) for name, value in values.items()}
    fine = Estimate(value=0.5)
    solver = SolverMetrics(greedy=found["greedy"], sampled=fine)
    judge = JudgeMetrics(
        accuracy=found["accuracy"], both_right=fine, consistency=fine, solved=fine, inner_gap=fine,
        first_slot=found["first_slot"], coverage=found["coverage"],
    )  # fmt: skip
    assert list(Bands().misses(solver, judge)) == ([] if miss is None else [miss])


@pytest.mark.parametrize("found", [True, False])
def test_the_command_line_ends_with_a_code(tmp_path, monkeypatch, capsys, found):
    def fake(out, *, seed, num_bases, say):
        assert (out, seed, num_bases) == (tmp_path, 3, 2)
        say("working")
        if not found:
            raise BadInput("none of 2 bases lies within the bands", where=str(out))

    monkeypatch.setattr(build_apprentice, "build", fake)
    arguments = ["--out", str(tmp_path), "--seed", "3", "--bases", "2"]
    try:
        assert build_apprentice.main(arguments) == (0 if found else 1)
    finally:
        torch.use_deterministic_algorithms(False)
    said = capsys.readouterr().err
    assert "working" in said
    assert ("none of 2 bases" in said) is not found
