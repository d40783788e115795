"""The benchmark that leaves out one part of the rules at a time, on a handful of programs."""

import sys
from pathlib import Path

import pytest

from planish.methods.mistakes.data import CATEGORIES, Observation, Repair, Search
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.repairing.diffs import unified
from planish.methods.mistakes.ruling.fitting import fit
from planish.methods.mistakes.ruling.gathering import Row
from planish.records import write_jsonl

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
SPLIT = {task.task_id: task.split for task in own_tasks()}
TASKS = {task.task_id: task for task in own_tasks()}


@pytest.fixture
def bench(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    _forget()  # the tests have a `support` of their own
    import bench_mistakes_ablations as made
    import mistakes_statistics
    import support

    monkeypatch.setattr(support, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(made, "RESAMPLES", 5)
    monkeypatch.setattr(made, "SEEDS", (0,))
    monkeypatch.setattr(made, "choose", lambda values, labels, *_: fit(values, labels, 1.0))
    monkeypatch.setattr(mistakes_statistics, "DRAWN", 5)
    yield made
    _forget()


def _forget():
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


def rows(split, most=None, each_of=None):
    """Programs of a split, of which every other one raised something."""
    chosen = [each for each in hand_made() if SPLIT[each.task_id] == split][:most]
    if each_of:
        kinds = [[one for one in chosen if one.category == name] for name in CATEGORIES]
        chosen = [one for kind in kinds for one in kind[:: len(kind) // each_of]]
    seen = [
        Observation(key="k", status="exception", exception="IndexError"),
        Observation(key="k", status="wrong_value"),
    ]
    return [
        Row(key=f"{split}{at}", labelled=each, observation=seen[at % 2], search=Search())
        for at, each in enumerate(chosen)
    ]


def mended(row, code):
    """The row with a repair that turns its program into this one."""
    repair = Repair(
        operator="comparator", categories=("CE",), role="condition", line=1, before="", after="",
        diff=unified(row.labelled.code, code), passes_tests=True, agreement=3, inputs=3,
    )  # fmt: skip
    return row.model_copy(update={"search": Search(repairs=(repair,), tried=1)})


def test_every_arm_is_told_beside_the_whole(bench, monkeypatch, tmp_path):
    train, hand = rows("train", each_of=2), rows("report", 12)
    first = hand[0]
    other = f"{first.labelled.code}\n\nX = [each for each in range(3) if each > 1]\n"
    hand[0] = mended(first, other)
    made = [each.model_copy(update={"key": f"i{each.key}"}) for each in rows("report", 12)]
    by_chance = [
        row.model_copy(
            update={
                "key": f"c{row.key}",
                "labelled": row.labelled.model_copy(update={"by": "any"}),
            }
        )
        for row in train
    ]
    for name, group in (("t", [*train, *by_chance]), ("h", hand), ("i", made)):
        write_jsonl(tmp_path / f"{name}.jsonl", group)
    words = [f"--{name}={tmp_path / name[0]}.jsonl" for name in ("train", "hand", "injected")]
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    bench.main()
    (page,) = (tmp_path / "results").glob("*-mistakes-ablations.md")
    text = page.read_text("utf-8")
    parts = text.split("\n## ")
    lines = [line for line in parts[1].split("\n") if line.startswith("| ")]
    assert len(lines) == 1 + 13 + 5
    assert lines[1].startswith("| nothing |")
    assert all("[" in line for line in lines[2:])
    assert f"{len(hand)} programs" in parts[1]
    assert "\n9. " in parts[-1]


def test_rows_that_are_fitted_on_are_not_measured(bench, monkeypatch, tmp_path):
    write_jsonl(tmp_path / "t.jsonl", rows("train", 60))
    words = [f"--{name}={tmp_path / 't.jsonl'}" for name in ("train", "hand", "injected")]
    monkeypatch.setattr(sys, "argv", ["bench", *words])
    with pytest.raises(SystemExit, match="is fitted on"):
        bench.main()


def test_a_right_program_by_another_hand_is_one_that_is_unlike_the_reference(bench):
    (row,) = rows("report", 1)
    task = TASKS[row.labelled.task_id]
    assert bench.right_programs([mended(row, task.reference)]) == {}
    other = f"{row.labelled.code}\n\nX = {{each: [each, (each,)] for each in 'abc' if each}}\n" * 2
    ((key, share, code),) = bench.right_programs([mended(row, other)])[task.task_id]
    assert key == row.key
    assert share < bench.LIKE
    assert code == other
    said = bench.beside_others([row], bench.right_programs([mended(row, other)]))
    assert said[bench.OWN] == [[]]  # its own mended program is none to lay it beside


def test_draws_are_scored_as_the_whole_is(bench):
    """With every task drawn once, and with one drawn twice."""
    import numpy as np

    from bench_mistakes_categories import Answer, macro_beside_all

    chosen = rows("report", 40)
    answers = [
        Answer(row, CATEGORIES[at * at % 7], 0.9, at % 5 > 0) for at, row in enumerate(chosen)
    ]
    names = [row.labelled.task_id for row in chosen]
    order = list(dict.fromkeys(names))
    counts = bench._counts(answers, [order.index(name) for name in names], len(order))
    once = np.ones((1, len(order)))
    twice = once + (np.arange(len(order)) == 2)
    more = [*answers, *(a for a, name in zip(answers, names, strict=True) if name == order[2])]
    assert bench._macro(once, counts)[0] == pytest.approx(macro_beside_all(answers))
    assert bench._macro(twice, counts)[0] == pytest.approx(macro_beside_all(more))
