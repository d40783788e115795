"""The estimator on draws made by hand: every number is known, and nobody is chosen by luck."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges.base import Case
from planish.methods.s2j.config import Config
from planish.methods.s2j.data import Item
from planish.methods.s2j.measuring.estimating import (
    Frozen,
    Samples,
    against,
    estimate,
    solved_questions,
)
from planish.methods.s2j.measuring.intervening import intervention_report
from planish.methods.s2j.measuring.records import Intervention, JudgeSample, SolveSample
from planish.records import Example, user

CONFIG = Config(solves=2, judgments=1)


def item(id, slice="one_right", gold="A", target="4"):
    example = Example(id=id, prompt=user("2 + 2?"), target=target, meta={"gold": gold})
    if gold is None:
        example = example.model_copy(update={"meta": {}})
    return Item(case=Case(example=example, replies=("4", "5")), slice=slice)


def solves(id, purpose, *correct):
    return [
        SolveSample(
            item_id=id,
            purpose=purpose,
            sample_idx=number,
            seed=number,
            text="",
            correct=value,
            finish="error" if value is None else "stop",
            temperature=0.7,
        )
        for number, value in enumerate(correct)
    ]


def judgment(id, order, verdict, solved, *, gold="A", sample=0, greedy=False, status=None, **more):
    return JudgeSample(
        item_id=id,
        order=order,
        sample_idx=sample,
        greedy=greedy,
        seed=0,
        text="",
        solution=None,
        solution_correct=solved,
        verdict=verdict,
        verdict_correct=None if verdict is None or gold is None else verdict == gold,
        status=status or ("ok" if verdict else "no_verdict"),
        num_solution_tokens=1,
        num_total_tokens=4,
        copied=more.get("copied", False),
        temperature=0.7,
    )


def both(id, ab, ba, solved=True, **more):
    return [judgment(id, "AB", ab, solved, **more), judgment(id, "BA", ba, solved, **more)]


def test_the_gap_is_wrong_verdicts_on_what_was_solved():
    items = [item("q1"), item("q2"), item("q3")]
    samples = Samples(
        items,
        [
            *solves("q1", "choose", True, True),
            *solves("q2", "choose", True, True),
            *solves("q3", "choose", True, False),
            *solves("q1", "report", True, True),
            *solves("q2", "report", True, False),
            *solves("q3", "report", False, False),
        ],
        [
            *both("q1", "A", "A"),
            *both("q2", "A", "B"),
            *both("q3", "B", "B", solved=False),
        ],
    )
    report, rows = estimate(samples, model="m", config=CONFIG)
    assert [row.item_id for row in rows if row.in_q_tau] == ["q1", "q2"]
    rates = report.sampled
    assert rates.gap.value == rates.gap_frozen.value == 0.25
    assert (report.num_q_tau, report.num_frozen, report.base_model) == (2, 2, "m")
    # Chosen by the first draws, reported by the others.
    assert report.q_tau_solve_rate.value == 0.75
    assert rates.solve_rate.value == 0.5
    assert rates.in_judge_rate.value == pytest.approx(4 / 6)
    assert rates.context_tax.value == pytest.approx(0.5 - 4 / 6)
    assert rates.inner_gap.value == 0.25
    assert rates.luck_rate.value == 0
    assert rates.judge_accuracy.value == 0.5
    assert rates.both_right.value == pytest.approx(1 / 3)
    assert rates.consistency.value == pytest.approx(2 / 3)
    # AB names A twice and B once, BA names A once: slot A, slot A, slot B; slot B, slot A, slot A.
    assert rates.first_slot.value == pytest.approx(4 / 6)
    assert rates.coverage.value == 1
    assert report.table == {"right_right": 3, "right_wrong": 1, "wrong_wrong": 2}
    assert report.comparison_share.value == 1


def test_another_models_questions_are_frozen():
    items = [item("q1"), item("q2")]
    samples = Samples(
        items,
        [*solves("q1", "choose", True), *solves("q2", "choose", False)],
        [*both("q1", "A", "A"), *both("q2", "B", "B")],
    )
    frozen = Frozen("base", frozenset({"q2", "gone"}))
    report, rows = estimate(samples, model="m", config=CONFIG, frozen=frozen)
    assert (report.sampled.gap.value, report.sampled.gap_frozen.value) == (0, 1)
    assert (report.num_q_tau, report.num_frozen, report.base_model) == (1, 1, "base")
    assert [(row.in_q_tau, row.in_frozen_q_tau) for row in rows] == [(True, False), (False, True)]


def test_what_was_lost_or_not_read_is_no_number():
    items = [item("q1"), item("q2"), item("bare", target=None)]
    samples = Samples(
        items,
        [
            *solves("q1", "choose", None, True),
            *solves("q2", "choose", None, None),
            *solves("q1", "report", None, None),
        ],
        [
            judgment("q1", "AB", None, None, status="transport"),
            judgment("q1", "BA", "A", True),
            *both("q2", None, None),
            *both("bare", "A", "B", solved=None),
        ],
    )
    report, rows = estimate(samples, model="m", config=CONFIG)
    assert solved_questions(samples, 1.0) == {"q1"}
    rates = report.sampled
    assert rates.coverage.value == 0.5
    assert rates.judge_accuracy.value == pytest.approx(2 / 3)
    assert rates.solve_rate.value is None
    assert rates.context_tax.value is None
    assert rates.gap.value == 0
    # Lost leaves the item out, unread is not right.
    assert (rates.both_right.n, rates.both_right.value) == (2, 0)
    assert [row.judge_rate for row in rows] == [1, None, 0.5]
    assert report.slices["one_right"].num_items == 2


def test_two_wrong_candidates_have_no_right_verdict_but_a_right_solution():
    items = [item("q1"), item("w1", "both_wrong", gold=None)]
    samples = Samples(
        items,
        [*solves("q1", "choose", True), *solves("w1", "report", True, True)],
        [
            *both("q1", "A", "A"),
            judgment("w1", "AB", "A", False, gold=None, copied=True),
            judgment("w1", "BA", "B", True, gold=None),
            judgment("w1", "BA", None, None, gold=None, sample=1, status="transport"),
        ],
    )
    report, rows = estimate(samples, model="m", config=CONFIG)
    wrong = report.slices["both_wrong"]
    assert (wrong.solve_rate.value, wrong.in_judge_rate.value, wrong.copied.value) == (1, 0.5, 0.5)
    assert wrong.difference.value == -0.5
    assert report.sampled.judge_accuracy.n == 1
    assert rows[1].judge_rate is None
    assert rows[1].inner_counts == {}


def test_a_model_of_no_draws_has_no_numbers():
    report, rows = estimate(Samples([item("q1")], [], []), model="m", config=CONFIG)
    assert report.sampled.gap.value is None
    assert rows[0].solve_rate is None


def test_two_models_are_paired_by_item():
    def rows_of(verdicts):
        items = [item(id) for id in verdicts]
        drawn = [each for id in verdicts for each in solves(id, "choose", True)]
        judged = [
            each
            for id, verdict in verdicts.items()
            for greedy in (False, True)
            for each in both(id, verdict, verdict, greedy=greedy)
        ]
        return estimate(Samples(items, drawn, judged), model="m", config=CONFIG)[1]

    before = rows_of({"q1": "B", "q2": "B", "q3": "A", "q4": "A"})
    after = rows_of({"q1": "A", "q2": "A", "q3": "A", "new": "B"})
    found = against(after, before, Frozen("base", frozenset({"q1", "q3"})), seed=0)
    assert (found.judge_accuracy.n, found.judge_accuracy.left_out) == (3, 2)
    assert found.judge_accuracy.difference.value == pytest.approx(2 / 3)
    assert (found.gap_frozen.n, found.gap_frozen.difference.value) == (2, -0.5)
    assert (found.both_right.mcnemar.only_a, found.both_right.mcnemar.only_b) == (0, 2)


def test_the_lucky_do_not_look_able():
    """Every question is solved half of the time: chosen questions are no better in fresh draws."""
    draw = random.Random(0)
    ids = [f"q{number}" for number in range(400)]
    drawn = [
        each
        for id in ids
        for purpose in ("choose", "report")
        for each in solves(id, purpose, *(draw.random() < 0.5 for _ in range(4)))
    ]
    samples = Samples([item(id) for id in ids], drawn, [])
    report, _ = estimate(samples, model="m", config=Config(solves=4, tau=1.0))
    assert 10 < report.num_q_tau < 45
    assert report.q_tau_solve_rate.low < 0.5 < report.q_tau_solve_rate.high


verdicts = st.sampled_from(["A", "B", None])
truth = st.sampled_from([True, False, None])


@given(
    st.lists(
        st.tuples(
            st.lists(truth, max_size=3),
            st.lists(truth, max_size=3),
            st.lists(st.tuples(st.sampled_from(["AB", "BA"]), verdicts, truth), max_size=6),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([0.5, 1.0]),
)
def test_any_draws_give_rates_and_shares_that_fit_together(questions, tau):
    items, drawn, judged = [], [], []
    for number, (choose, report, calls) in enumerate(questions):
        items.append(item(f"q{number}"))
        drawn += solves(f"q{number}", "choose", *choose) + solves(f"q{number}", "report", *report)
        judged += [
            judgment(f"q{number}", order, verdict, solved, sample=i)
            for i, (order, verdict, solved) in enumerate(calls)
        ]
    config = Config(solves=3, judgments=3, tau=tau)
    found, rows = estimate(Samples(items, drawn, judged), model="m", config=config)
    for name in type(found.sampled).model_fields:
        each = getattr(found.sampled, name)
        if each.value is not None and name != "context_tax":
            assert 0 <= each.value <= 1
        if each.low is not None:
            assert each.low <= each.value + 1e-9
            assert each.high >= each.value - 1e-9
    assert sum(found.table.values()) <= len(judged)
    assert found.num_q_tau == sum(row.in_q_tau for row in rows)
    chosen = [row for row in rows if row.in_q_tau and row.judge_rate is not None]
    if chosen:
        expected = sum(1 - row.judge_rate for row in chosen) / len(chosen)
        assert found.sampled.gap.value == pytest.approx(expected)


def test_swaps_that_put_nothing_new_in_are_told_apart():
    """Two judges alike in how they follow, one of whom goes against its own solution before."""

    def made(item_id, *, agrees, followed):
        return Intervention(
            item_id=item_id, order="AB", kind="swap", inserted="7", named="B", agrees=agrees,
            verdict_before="A", verdict_after="B" if followed else "A", followed=followed,
            right=None, text="",
        )  # fmt: skip

    new = [made(f"new {i}", agrees=False, followed=i < 6) for i in range(8)]
    old = [made(f"old {i}", agrees=True, followed=False) for i in range(4)]
    rates = [intervention_report(each, left_out=Counter(), seed=0) for each in (new, new + old)]
    assert [each.follow_rate.value for each in rates] == [0.75, 0.5]
    assert [each.switch_rate.value for each in rates] == [0.75, 0.75]
    assert intervention_report(old, left_out=Counter(), seed=0).switch_rate.value is None
