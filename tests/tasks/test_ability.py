"""What share of a task a model solves: planted replies, lost calls, the embedded reasoner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.models import load
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Chat, Completion, Failure, Sampling, Usage
from planish.tasks.ability import Solution, ability_examples, solve_rate
from planish.tasks.chain import ChainTask, partials
from planish.tasks.load import load_task

TASK = ChainTask(3)

SAYS = {
    "solved": lambda answer: Completion(text=f"It is {answer}."),
    "wrong": lambda answer: Completion(text=f"It is {(answer + 1) % 10}."),
    "unreadable": lambda answer: Completion(text="I cannot say."),
    "truncated": lambda answer: Completion(text=f"so {answer}", finish="length"),
    "lost": lambda answer: Completion(
        text="",
        finish="error",
        usage=Usage(seconds=1),
        failures=(Failure(attempt=1, kind="http 500", message="planted"),),
    ),
}


def planted(kinds: list[str]) -> ScriptedModel:
    """A model that answers the task's first examples in these ways."""
    questions = [e.prompt[-1].content for e in ability_examples(TASK, limit=len(kinds))]
    by_question = dict(zip(questions, kinds, strict=True))

    def script(chat: Chat, seed: int | None, sample: int) -> Completion:
        question = chat[-1].content
        return SAYS[by_question[question]](partials(question)[-1])

    return ScriptedModel("scripted:planted", script)


@given(st.lists(st.sampled_from(sorted(SAYS)), min_size=1, max_size=12))
def test_the_rate_is_that_of_what_came_back_and_coverage_counts_everything(
    kinds: list[str],
) -> None:
    told: list[Solution] = []
    found = solve_rate(planted(kinds), TASK, limit=len(kinds), on_solution=told.append)
    solved = sum(kind in ("solved", "truncated") for kind in kinds)
    lost, unreadable = kinds.count("lost"), kinds.count("unreadable")
    assert found.num_examples == len(kinds) == len(told) == len(found.scores)
    assert found.counts["solved"] == solved
    assert found.counts["wrong"] == kinds.count("wrong")
    assert found.counts["unreadable"] == unreadable
    assert found.counts["lost"] == lost == len(found.lost)
    assert found.counts["truncated"] == kinds.count("truncated")
    if lost < len(kinds):
        assert found.rate.value == pytest.approx(solved / (len(kinds) - lost))
        assert found.rate.n == len(kinds) - lost
    else:
        assert found.rate.value is None
    assert found.coverage.value == pytest.approx(1 - (lost + unreadable) / len(kinds))
    assert found.cost.calls == len(kinds)
    assert found.cost.failed_attempts == lost


def test_a_lost_call_says_why_and_is_no_zero() -> None:
    found = solve_rate(planted(["lost", "wrong"]), TASK, limit=2)
    assert sorted(found.scores.values(), key=str) == [0.0, None]
    assert list(found.lost.values()) == ["http 500: planted"]


def test_the_embedded_reasoner_solves_what_it_was_built_for_the_same_way_every_time() -> None:
    model = load("embedded:reasoner")
    sampling = Sampling(temperature=0, max_tokens=16)
    found = solve_rate(model, TASK, limit=100, sampling=sampling)
    assert found.rate.value is not None
    assert found.rate.value > 0.95
    assert found.split == "report"
    assert found.cost.completion_tokens > 100
    few = solve_rate(model, TASK, limit=20, sampling=sampling)
    assert few.scores.items() <= found.scores.items()


def test_a_small_split_is_taken_whole() -> None:
    examples = ability_examples(ChainTask(2), limit=10_000)
    assert len({example.id for example in examples}) == len(examples) < 100


def test_a_file_of_questions_and_one_whose_report_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    rows = [
        {"id": i, "question": f"What is {i} + 1?", "target": i + 1, "split": "report"}
        for i in range(5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    model = ScriptedModel("scripted:one", lambda chat, seed, sample: "3")
    found = solve_rate(model, load_task(str(path)))
    assert (found.counts["solved"], found.counts["wrong"]) == (1, 4)
    path.write_text("".join(json.dumps(row | {"split": "train"}) + "\n" for row in rows))
    with pytest.raises(BadInput, match="no example in 'report'"):
        solve_rate(model, load_task(str(path)))
