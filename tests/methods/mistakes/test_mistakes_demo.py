"""The demonstration: what is planted is found, what fails is told, the draw is even."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.mistakes.claims import (
    MAJORITY,
    Explained,
    Named,
    by_category,
    by_exception,
    claims,
    coverage,
    guesses,
    macro_f1,
)
from planish.methods.mistakes.data import CATEGORIES, REASONS, CodeTask, Labelled, RunRecord
from planish.methods.mistakes.demo import PER_CATEGORY, WORLDS, Case, drawn
from planish.methods.mistakes.loading import load_runs, load_tasks
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.runs import Run
from planish.stats import macro_f1 as plain_macro_f1
from planish.tasks.sandbox.contract import STATUSES

NAMED = st.lists(
    st.builds(
        Named,
        st.sampled_from(["a", "b", "c", "d"]),
        st.sampled_from(CATEGORIES),
        st.one_of(st.none(), st.sampled_from(CATEGORIES)),
        st.sampled_from([None, "IndexError", "TypeError"]),
    ),
    min_size=1,
    max_size=30,
)


def _folder(every_demo: dict[str, Any]) -> Path:
    (folder,) = (Path(every_demo["report"]).parent / "mistakes").iterdir()
    return folder


def test_the_demo_of_the_room_mistakes(every_demo: dict[str, Any]) -> None:
    mistakes = every_demo["mistakes"]
    assert mistakes["mistakes"] == PER_CATEGORY * len(CATEGORIES)
    assert mistakes["right"] > mistakes["right_exception"]
    assert mistakes["right_majority"] == pytest.approx(1 / len(CATEGORIES))
    assert mistakes["prompts"] == len(REASONS) + WORLDS
    held = mistakes["claims"]
    # A target that the demonstration may miss, as it then tells: the rest must hold.
    assert {key for key, each in held.items() if not each} <= {"macro_f1", "abstained"}
    assert mistakes["sandbox_level"] in ("bwrap", "unshare", "fork")
    page = Path(every_demo["report"]).read_text()
    assert "What is wrong in code, and why" in page


def test_a_run_keeps_every_mistake_with_its_evidence(every_demo: dict[str, Any]) -> None:
    folder = _folder(every_demo)
    with Run.open(folder) as run:
        cases = list(run.records("case", Case))
    splits = {task.task_id: task.split for task in own_tasks()}
    assert len(cases) == every_demo["mistakes"]["mistakes"]
    assert {splits[case.mistake.task_id] for case in cases} == {"report"}
    assert all(case.observation.status != "pass" for case in cases)
    assert all(case.diagnosis.abstained == (not case.diagnosis.ranked) for case in cases)
    runs = load_runs(folder / "artifacts" / "mistakes.jsonl", own_tasks("plain"))
    assert [run.code for run in runs] == [case.mistake.code for case in cases]
    prompts = load_tasks(str(folder / "artifacts" / "prompts.jsonl"))
    misled: tuple[RunRecord, ...] = load_runs(folder / "artifacts" / "misled.jsonl", prompts)
    assert len(misled) == len(prompts) == len(REASONS) + WORLDS


# ---- the draw and the numbers ----------------------------------------------------------------


def test_the_draw_is_even_and_the_order_of_the_mistakes_does_not_matter() -> None:
    made = hand_made()
    chosen = drawn(made, 5)
    assert Counter(each.category for each in chosen) == dict.fromkeys(CATEGORIES, 5)
    assert drawn(tuple(reversed(made)), 5) == chosen
    assert max(Counter(each.task_id for each in chosen).values()) == 1


def test_where_there_are_few_mistakes_all_are_drawn() -> None:
    made = [Labelled(task_id="t", category="CE", code=str(number)) for number in range(3)]
    assert sorted(each.code for each in drawn(made, 5)) == ["0", "1", "2"]
    assert drawn([], 5) == []


@given(NAMED)
def test_macro_f1_is_that_of_the_library(named: list[Named]) -> None:
    expected = plain_macro_f1([one.category for one in named], [one.rules for one in named])
    told = macro_f1(named, resamples=50)
    assert told.value == pytest.approx(expected)
    assert told.n == len({one.task_id for one in named})


@given(NAMED)
def test_the_table_counts_every_mistake_once(named: list[Named]) -> None:
    rows = by_category(named)
    assert sum(row[2] for row in rows) == len(named)
    told = sum(one.rules is not None for one in named)
    assert sum(row[3] + row[5] for row in rows) == told
    assert coverage(named).value == pytest.approx(told / len(named))
    assert guesses(named)["rules"].value == pytest.approx(sum(r[3] for r in rows) / len(named))


def _every(rules: Any, tasks: int = 5) -> list[Named]:
    return [
        Named(f"{category}{number}", category, rules(category))
        for category in CATEGORIES
        for number in range(tasks)
    ]


def _explained(right: bool) -> list[Explained]:
    planted = [Explained(r, r, (r,) if right else ()) for r in REASONS]
    return [*planted, Explained("world", None, () if right else ("EC",))]


def test_claims_hold_where_everything_is_found() -> None:
    told = claims(_every(lambda category: category), _explained(True))
    assert all(each.held for each in told)
    assert len({each.key for each in told}) == len(told) == 7


def test_claims_do_not_hold_where_nothing_bears_them_out() -> None:
    told = {each.key: each.held for each in claims(_every(lambda _: MAJORITY), _explained(False))}
    assert [key for key, held in told.items() if held] == ["abstained", "nothing_else"]
    silent = {each.key: each.held for each in claims(_every(lambda _: None), _explained(False))}
    assert not silent["abstained"]
    assert not any(each.held for each in claims([], []))


def test_another_reason_beside_the_planted_one_is_told() -> None:
    found = [Explained(reason, reason, (reason, "EC")) for reason in REASONS if reason != "EC"]
    told = {each.key: each for each in claims(_every(lambda _: None), found)}
    assert told["planted_found"].held
    assert not told["nothing_else"].held
    assert told["nothing_else"].number.value == 1
    assert not told["placebo_none"].held  # no world was asked: nothing bears it out


def test_what_an_exception_alone_says() -> None:
    assert by_exception(None) == MAJORITY
    assert by_exception("IndexError") == "IOM"
    assert by_exception("AttributeError") == "MLA"


# ---- the documents ---------------------------------------------------------------------------

DOCS = Path(__file__).parents[3] / "docs" / "mistakes.md"


def _column(header: str) -> set[str]:
    """Names in backticks in the first column of the table that begins with `header`."""
    _, found, rest = DOCS.read_text().partition(f"\n| {header} |")
    assert found, header
    cells = [line.split("|")[1] for line in rest.split("\n\n")[0].splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_the_documented_task_is_read(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(re.findall(r"```json\n(.*?)```", DOCS.read_text(), re.DOTALL)[0])
    (task,) = load_tasks(str(path))
    assert (task.entry_point, task.split) == ("price", None)
    assert len(task.strategy or ()) == 2


def test_documented_names_are_those_of_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # examples write their files where they are run
    assert _column("status") == set(STATUSES)
    documented = _column("field") | {"inputs", "tolerance"}  # told beside `tests`
    assert documented == set(CodeTask.model_fields)
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL):
        exec(block, {})
