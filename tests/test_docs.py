"""What the documents show is what the code reads."""

import re
from pathlib import Path

import pytest

from planish.judges.formats import read_outputs, read_pairs
from planish.tasks.base import prove
from planish.tasks.load import load_task

DOCS = Path(__file__).parents[1] / "docs"


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.mark.parametrize(("index", "rows"), [(0, 2), (1, 1)])
def test_documented_pairs_are_read(tmp_path, index, rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text(blocks("rise.md", "json")[index])
    assert len(read_pairs(path)) == rows


@pytest.mark.parametrize(("index", "rows"), [(2, 2), (3, 1), (4, 1)])
def test_documented_outputs_are_read(tmp_path, index, rows):
    path = tmp_path / "outputs.jsonl"
    path.write_text(blocks("rise.md", "json")[index])
    assert len(read_outputs(path)) == rows


def test_documented_python_names_exist():
    for block in blocks("rise.md", "python"):
        for line in block.splitlines():
            if line.startswith("from "):
                exec(line, {})


def test_documented_questions_are_a_task(tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(next(b for b in blocks("rise.md", "json") if '"target"' in b))
    task = load_task(str(path))
    assert prove(task, split="report", limit=task.capped("report", 9)) > 0
    graders = [
        example.meta["grader"]
        for split in ("train", "gate", "report")
        for example in task.examples(split, task.capped(split, 9))
    ]
    assert sorted(graders) == ["choice", "exact", "math", "math"]
