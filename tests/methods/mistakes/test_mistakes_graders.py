"""Tests of a task that let everything through are told: their verdicts mean nothing."""

import pytest

from planish.methods.mistakes.jobs import blind_graders, check_references
from planish.methods.mistakes.own import own_tasks
from planish.records import write_jsonl
from planish.tasks.sandbox import Limits, Sandbox
from planish.tasks.sandbox.values import dumps
from support import programs
from support.typed import Typed

LIMITS = Limits(seconds=2.0)
SEEING = programs.task("doubled")
BLIND = SEEING.model_copy(
    update={"task_id": "blind", "tests": "def check(candidate):\n    candidate([1])\n"}
)
NEVER = SEEING.model_copy(
    update={
        "task_id": "never",
        "reference": "def doubled(numbers):\n    return None\n",
        "tests": "",
        "inputs": (dumps(([1],)), dumps(([2],))),
    }
)


@pytest.fixture(scope="module")
def box():
    with Sandbox(workers=1) as made:
        yield made


def test_what_a_function_that_does_nothing_passes_is_blind(box):
    tasks = [SEEING, BLIND, NEVER]
    references = check_references(tasks, box, LIMITS)
    assert blind_graders(tasks, box, references) == ["blind", "never"]


def test_no_own_task_is_blind(box):
    tasks = [task for task in own_tasks() if not task.template]
    references = check_references(tasks, box, LIMITS)
    assert len(tasks) > 40
    assert blind_graders(tasks, box, references) == []


def test_a_command_tells_of_blind_tests(capsys, tmp_path):
    write_jsonl(tmp_path / "tasks.jsonl", [BLIND, SEEING])
    row = {"task_id": "blind", "run": 0, "code": "def doubled(numbers):\n    return 3\n"}
    write_jsonl(tmp_path / "runs.jsonl", [row])
    code, _, err = Typed("mistakes", "verify").call(
        capsys, tmp_path, "--tasks", tmp_path / "tasks.jsonl", "--runs", tmp_path / "runs.jsonl"
    )
    assert code == 0
    assert "nothing passes the tests of 1 of 1 tasks (blind)" in " ".join(err.split())
