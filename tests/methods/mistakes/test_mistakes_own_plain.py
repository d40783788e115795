"""Our plain tasks are right, and what was made wrong by hand is wrong in a way that shows."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from planish.methods.mistakes.data import CATEGORIES, CodeTask, Labelled
from planish.methods.mistakes.jobs import test_job
from planish.methods.mistakes.kinds import kinds_of
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.seeded import drawn_by
from planish.tasks.sandbox import ExecResult, Job, Limits, Sandbox, dumps, loads

TASKS = own_tasks("plain")
MISTAKES: dict[str, list[Labelled]] = defaultdict(list)
for made in hand_made():
    MISTAKES[made.task_id].append(made)

LIMITS = Limits(seconds=60)

BENCH = '''
import copy


def bench(programs, entry_point, tests, precondition, inputs):
    """For each program: whether it passes, then on which inputs it differs from the first."""
    asked = load(precondition, "precondition") if precondition else lambda *arguments: True
    inputs = [each for each in inputs if asked(*copy.deepcopy(each))]
    functions = [load(program, entry_point) for program in programs]
    expected = [outcome(functions[0], each) for each in inputs]
    answers = []
    for function in functions:
        try:
            load(tests, "check")(function)
            passes = True
        except Exception:
            passes = False
        differs = [outcome(function, each) != right for each, right in zip(inputs, expected)]
        answers.append((passes, sum(differs)))
    return answers, len(inputs), [error for error, _value in expected if error]


def load(source, name):
    space = {"__name__": "candidate"}
    exec(compile(source, "candidate.py", "exec"), space)
    return space[name]


def outcome(function, arguments):
    try:
        return "", function(*copy.deepcopy(arguments))
    except Exception as error:
        return type(error).__name__, None
'''
"""All programs of a task in one process, since a process for each of them would take a minute."""


@pytest.fixture(scope="module")
def results() -> Iterator[dict[str, ExecResult]]:
    """Every task on the bench, and a mistake of each category and split under the real tester."""
    jobs = [
        Job(key="bench", code=BENCH, entry_point="bench", inputs=_questions(), limits=LIMITS),
        *(test_job(task, wrong.code, wrong.note, LIMITS) for task, wrong in _examples()),
        *(test_job(task, task.reference, task.task_id, LIMITS) for task in TASKS[::8]),
    ]
    with Sandbox(accept="fork", workers=2) as box:
        yield {result.key: result for result in box.run(jobs)}


@pytest.fixture(scope="module")
def benched(results: dict[str, ExecResult]) -> dict[str, Any]:
    """What the bench says of each task."""
    answers = [call.value for call in results["bench"].per_input]
    assert None not in answers, results["bench"].message
    return {task.task_id: loads(answer or "") for task, answer in zip(TASKS, answers, strict=True)}


def _questions() -> tuple[str, ...]:
    return tuple(
        dumps(
            (
                [task.reference, *(wrong.code for wrong in MISTAKES[task.task_id])],
                task.entry_point,
                task.tests,
                task.precondition,
                drawn_by(kinds_of(task.strategy or ()), 60, seed=1),
            )
        )
        for task in TASKS
    )


def _examples() -> list[tuple[CodeTask, Labelled]]:
    found = {
        (task.split, wrong.category): (task, wrong)
        for task in TASKS
        for wrong in MISTAKES[task.task_id]
    }
    return list(found.values())


def test_references_pass_their_tests_and_answer_whatever_is_drawn(benched: dict[str, Any]) -> None:
    for task_id, (answers, asked, errors) in benched.items():
        assert answers[0][0] is True, task_id
        assert asked >= 12, task_id
        assert not errors, (task_id, errors)


def test_mistakes_fail_the_tests_and_differ_on_drawn_inputs(benched: dict[str, Any]) -> None:
    for task_id, (answers, _asked, _errors) in benched.items():
        for wrong, (passes, differs) in zip(MISTAKES[task_id], answers[1:], strict=True):
            assert not passes, (task_id, wrong.note)
            assert differs > 0, (task_id, wrong.note)


def test_the_sandbox_says_of_mistakes_and_references_what_the_bench_says(
    results: dict[str, ExecResult],
) -> None:
    for _task, wrong in _examples():
        assert results[wrong.note].status in ("wrong_value", "exception"), wrong.note
    for task in TASKS[::8]:
        assert results[task.task_id].status == "pass", task.task_id


def test_tasks_are_well_formed() -> None:
    names = [task.task_id for task in TASKS]
    assert len(names) >= 44
    assert len(set(names)) == len(names)
    for task in TASKS:
        home, _theme, name = task.task_id.split("/")
        assert (home, name) == ("own", task.entry_point)
        (function,) = ast.parse(task.prompt).body
        assert isinstance(function, ast.FunctionDef)
        assert ast.get_docstring(function)
        assert function.name == task.entry_point
        assert function.returns is not None
        assert len(kinds_of(task.strategy, task.task_id)) == len(function.args.args)
        assert 6 <= task.tests.count("assert ") <= 12, task.task_id
        assert ast.dump(function.args) in ast.dump(ast.parse(task.reference)), task.task_id


def test_each_mistake_is_one_of_a_kind_and_names_the_line_that_is_wrong() -> None:
    for task in TASKS:
        wrong = MISTAKES[task.task_id]
        assert len(wrong) >= 4, task.task_id
        trees = {ast.dump(ast.parse(code)) for code in [task.reference, *(w.code for w in wrong)]}
        assert len(trees) == len(wrong) + 1, task.task_id
        for each in wrong:
            assert each.by == "hand"
            assert each.note.endswith("."), each.note
            assert each.line is not None
            assert each.code.split("\n")[each.line - 1].strip(), each.note


def test_both_splits_hold_every_category_and_every_theme() -> None:
    counts: Counter[tuple[str | None, str]] = Counter()
    themes: dict[str | None, Counter[str]] = defaultdict(Counter)
    for task in TASKS:
        themes[task.split][task.task_id.split("/")[1]] += 1
        counts.update((task.split, wrong.category) for wrong in MISTAKES[task.task_id])
    assert set(themes) == {"train", "report"}
    assert themes["train"] == themes["report"]
    for category in CATEGORIES:
        one, other = counts["train", category], counts["report", category]
        assert one + other >= 22, category
        assert min(one, other) >= 11, category


def test_plain_tasks_come_first_and_no_name_is_taken_twice() -> None:
    assert own_tasks()[: len(TASKS)] == TASKS
    assert not {task.task_id for task in TASKS} & {task.task_id for task in own_tasks("projects")}
