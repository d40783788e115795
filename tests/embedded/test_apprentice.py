"""The shipped apprentice: the files of its build, and a judge that is like either author."""

import hashlib
import json

import pytest
import torch

from planish.embedded import MODELS, path
from planish.embedded.build_apprentice import Bands
from planish.embedded.reasoner_evaluation import JudgeMetrics, SolverMetrics
from planish.judges.base import Case
from planish.judges.parse import parse
from planish.judges.templates import named
from planish.models import load
from planish.records import Sampling, user
from planish.tasks.chain import ChainTask, candidates, partials

FOLDER = path("apprentice")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def facts():
    return json.loads((FOLDER / "build.json").read_text())


def test_the_files_are_those_of_the_build(facts):
    for name, digest in facts["sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name
    assert "model.safetensors" in facts["sha256"]
    shipped = {file.name for file in FOLDER.iterdir()}
    assert shipped == set(facts["sha256"]) | {"build.json", "build.log"}
    assert shipped == {file.name for file in path("reasoner").iterdir()}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 1_000_000


def test_all_embedded_models_together_stay_small():
    sizes = (file.stat().st_size for name in MODELS for file in path(name).iterdir())
    assert sum(sizes) < 12_000_000


def test_the_rule_chose_the_first_base_that_qualified(facts):
    log = (FOLDER / "build.log").read_text()
    assert Bands.model_validate(facts["bands"]) == Bands()
    fits = [base["seed"] for base in facts["bases"] if base["solver_solved"] and not base["misses"]]
    assert facts["shipped"] == fits[0]
    assert f"shipped: base {facts['shipped']}\n" in log
    for base in facts["bases"]:
        assert f"base {base['seed']}\n" in log
        solver = SolverMetrics.model_validate(base["gate_solver"])
        judge = JudgeMetrics.model_validate(base["gate_judge"])
        assert list(Bands().misses(solver, judge)) == base["misses"]


def test_it_reads_what_the_authors_wrote_either_way():
    model = load("embedded:apprentice")
    [replies] = model.generate(
        [user("Q 3 + 4 - 2 A 7 5 B 8 6 J")], Sampling(max_tokens=8, n=60, seed=0)
    )
    texts = {reply.text for reply in replies}
    assert {"7 5 V [[A]]", "7 9 V [[A]]", "7 9 V [[B]]"} <= texts


def test_it_solves():
    model = load("embedded:apprentice")
    examples = list(ChainTask().examples("report", 300))
    replies = model.generate(
        [example.prompt for example in examples], Sampling(temperature=0, max_tokens=8)
    )
    right = [
        ChainTask().verify(example, reply.text).score == 1.0
        for example, [reply] in zip(examples, replies, strict=True)
    ]
    assert sum(right) / 300 >= 0.98


def test_it_judges_like_either_author_and_within_the_bands():
    model, template, cases = load("embedded:apprentice"), named("chain"), []
    for index, example in enumerate(ChainTask().examples("report", 400)):
        right, wrong = candidates(example, 1)
        cases.append(Case(example=example, replies=(wrong, right) if index % 2 else (right, wrong)))
    replies = model.generate(
        [template.render(case, (0, 1)) for case in cases],
        Sampling(temperature=1.0, max_tokens=16, seed=0),
    )
    right = read = first = careful = careless = telling = 0
    for index, (case, [reply]) in enumerate(zip(cases, replies, strict=True)):
        parsed = parse(reply, template)
        read += parsed.status == "ok"
        first += parsed.label == "A"
        right += parsed.label == "AB"[index % 2]
        question = case.example.prompt[0].content
        chain, misread = (
            " ".join(map(str, partials(text))) for text in (question, question.replace("-", "+"))
        )
        if chain != misread:
            telling += 1
            careful += parsed.solution == chain
            careless += parsed.solution == misread
    assert 0.64 <= right / 400 <= 0.84  # the bands, and the noise of a small sample
    assert read / 400 >= 0.98
    assert 0.40 <= first / read <= 0.60
    assert 0.15 <= careful / telling <= 0.45
    assert (careful + careless) / telling >= 0.9
