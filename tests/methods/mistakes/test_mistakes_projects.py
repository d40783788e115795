"""Our tasks with a project around them, and the mistakes that were made in them by hand."""

from __future__ import annotations

import ast
from collections import Counter
from importlib import resources

import pytest

from planish.methods.mistakes.data import CATEGORIES, MARKER, CodeTask
from planish.methods.mistakes.drawing import draw_many
from planish.methods.mistakes.jobs import test_job
from planish.methods.mistakes.loading import chat_of, code_of
from planish.methods.mistakes.own.projects import project_mistakes, project_tasks
from planish.tasks.sandbox import Limits, Sandbox

TASKS = {task.task_id: task for task in project_tasks()}
WRONG = project_mistakes()
LIMITS = Limits(seconds=10)


def splits(split: str) -> list[CodeTask]:
    return [task for task in TASKS.values() if task.split == split]


def test_there_are_enough_of_them_and_no_project_is_in_both_splits():
    assert len(TASKS) == len(project_tasks()) >= 22
    train, report = splits("train"), splits("report")
    assert min(len(train), len(report)) >= 10
    assert not {task.meta["project"] for task in train} & {task.meta["project"] for task in report}
    assert len({task.meta["project"] for task in TASKS.values()}) == 6


def test_every_category_is_there_in_both_splits_and_none_outweighs_the_others():
    for split in ("train", "report"):
        count = Counter(each.category for each in WRONG if TASKS[each.task_id].split == split)
        assert set(count) == set(CATEGORIES)
        assert max(count.values()) <= 2 * min(count.values())
    per_task = Counter(each.task_id for each in WRONG)
    assert min(per_task.get(task, 0) for task in TASKS) >= 3


def test_references_pass_and_every_mistake_fails():
    jobs = [test_job(task, task.reference, task.task_id, LIMITS) for task in TASKS.values()]
    jobs += [
        test_job(TASKS[each.task_id], each.code, f"{number}", LIMITS)
        for number, each in enumerate(WRONG)
    ]
    with Sandbox(accept="fork") as box:
        results = box.run(jobs)
    right, wrong = results[: len(TASKS)], results[len(TASKS) :]
    assert [each.key for each in right if each.status != "pass"] == []
    assert [WRONG[int(each.key)].note for each in wrong if each.score != 0.0] == []
    assert {each.status for each in wrong} <= {"wrong_value", "exception"}


def test_enough_inputs_can_be_drawn_and_the_references_answer_them():
    with Sandbox(accept="fork") as box:
        pools = draw_many(list(TASKS.values()), 14, 0, box, LIMITS)
    for task, pool in zip(TASKS.values(), pools, strict=True):
        assert len(pool.calls) >= 12, task.task_id
        assert len({call.value for call in pool.calls[pool.asked :]}) >= 2, task.task_id


def test_the_reference_stands_where_the_marker_is():
    for task in TASKS.values():
        assert task.template.count(MARKER) == 1
        program = task.program(task.reference)
        assert MARKER not in program
        assert "# task:" not in program + task.prompt
        assert task.prompt.startswith("# Write ")
        lines = program.split("\n")
        first = next(
            number
            for number, line in enumerate(lines, 1)
            if line.strip() == task.reference.split("\n")[0]
        )
        assert task.offset(first) == 1
        for file in task.files:
            ast.parse(file.text)


def test_a_prompt_asks_for_the_function_and_does_not_show_it():
    for task in TASKS.values():
        tree = ast.parse(task.prompt)
        (function,) = tree.body
        assert isinstance(function, ast.FunctionDef)
        assert function.name == task.meta["function"]
        body = task.reference.split("\n")[function.body[-1].end_lineno - function.lineno + 1 :]
        longest = max((line.strip() for line in body), key=len)
        assert longest
        assert longest not in task.prompt
        assert f"`{function.name}`" in chat_of(task)[-1].content
        assert code_of(f"```python\n{task.reference}```", task) == task.reference


def test_a_mistake_says_where_it_is():
    for each in WRONG:
        assert each.line is not None
        assert 1 <= each.line <= each.code.count("\n")
        assert each.note.endswith(".")
        ast.parse(each.code)
        if each.category != "GC":
            assert each.code.split("\n")[0] == TASKS[each.task_id].reference.split("\n")[0]


def test_a_change_that_is_not_once_in_the_reference_is_refused():
    from planish.methods.mistakes.own.projects import _mistake

    task = next(iter(TASKS.values()))
    row = {"category": "CE", "from": "no such line", "to": "", "note": "."}
    with pytest.raises(ValueError, match="not once in the reference"):
        _mistake(task, row)


def test_nothing_of_a_project_can_be_imported():
    folder = resources.files("planish.methods.mistakes.own.projects")
    modules = [each.name for each in folder.iterdir() if each.name.endswith(".py")]
    assert modules == ["__init__.py"]
    for project in folder.iterdir():
        if project.is_dir() and project.name != "__pycache__":
            assert not [each for each in project.iterdir() if each.name.endswith(".py")]
