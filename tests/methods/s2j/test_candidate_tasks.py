"""Tasks with many right answers, as a judge sees them."""

import pytest

from planish.methods.s2j.data import task_items
from planish.tasks.load import load_task


@pytest.mark.parametrize("spec", ["chain:3", "countdown", "routes:12:3:4:0:shown"])
def test_items_have_checked_candidates_and_a_third_wrong_answer(spec):
    items = task_items(load_task(spec), split="report", limit=20, both_wrong=10, seed=0)
    assert (len(items.of("one_right")), len(items.of("both_wrong"))) == (20, 10)
    assert items.dropped == {}
    for item in items.of("one_right"):
        assert {items.verify(item, reply) for reply in item.case.replies} == {True, False}
    for item in items.of("both_wrong"):
        assert [items.verify(item, reply) for reply in item.case.replies] == [False, False]
        assert len(items.wrong_answers(item)) == 2
    for item in items.items:
        found = items.other_wrong(item)
        assert found is not None
        assert items.grade(item, found).extracted not in items.wrong_answers(item)
