"""Pairs of a model's own judgments: chosen is right in both, rejected in one at most."""

import pytest

from planish.judges.pairs import judge_draws
from planish.judges.templates import named
from planish.methods.s2j.data import task_items
from planish.methods.s2j.learning.config import TrainConfig
from planish.methods.s2j.learning.lesson import Lesson
from planish.methods.s2j.learning.offline import solved_pairs
from planish.methods.s2j.learning.plan import Given, make_plan
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Sampling
from planish.tasks.chain import ChainTask

ITEMS = task_items(ChainTask(), split="train", limit=12, seed=3)
LESSON = Lesson(ITEMS, named("chain"), count_tokens=len)


def plan(tmp_path, **config):
    given = {"model": "embedded:reasoner", "task": "chain:3", "pairs": None, "arm": "dpo"}
    return make_plan(
        Given(**given, out=tmp_path / "out", preset=None, config=TrainConfig(**config))
    )


def drawn(script, samples=4, verify=None):
    """`script(item, gold letter of the prompt, order number, sample)` -> (solved, right)."""
    by_prompt = {}
    for item in ITEMS.items:
        for number, chat in enumerate(LESSON.prompts(item)):
            first = item.case.replies[number]
            gold = "A" if ChainTask().verify(item.example, first).score == 1 else "B"
            by_prompt[chat] = (item, gold, number)

    def answer(chat, seed, sample):
        item, gold, number = by_prompt[chat]
        solved, right = script(item, number, sample)
        solution = ChainTask().gold(item.example) if solved else ChainTask().wrong(item.example)
        label = gold if right else "BA"["AB".index(gold)]
        return f"{solution} V [[{label}]]"

    by_id = {item.id: item for item in ITEMS.items}
    return judge_draws(
        ScriptedModel("script", answer),
        [(item.case, LESSON.template) for item in ITEMS.items],
        samples=samples,
        sampling=Sampling(seed=0),
        verify=verify or (lambda case, solution: ITEMS.verify(by_id[case.id], solution)),
    )


def test_every_fault_is_told_and_both_orders_are_used(tmp_path):
    kinds = [(True, True), (True, False), (False, True), (False, False)]
    six = plan(tmp_path, balance=False, pairs_per_item=6)
    pairs, told = solved_pairs(six, LESSON, drawn(lambda item, order, sample: kinds[sample]))
    assert told.faults == {"verdict": 24, "solution": 24, "both": 24}
    assert (told.num_hard, told.num_draws, told.num_readable) == (12, 96, 96)
    assert told.right == (0.25,) * 12
    for item in ITEMS.items:
        assert {pair.order for pair in pairs if pair.item_id == item.id} == {"AB", "BA"}
    row = pairs[0].row()
    assert row["rejected_fault"] == pairs[0].fault
    assert {"prompt", "chosen", "rejected", "question", "item_id"} <= set(row)


def test_an_item_that_fails_in_one_order_brings_pairs_from_both(tmp_path):
    def leans(item, order, sample):
        return True, sample == 0 if order == 0 else sample < 3

    pairs, told = solved_pairs(plan(tmp_path), LESSON, drawn(leans))
    assert told.num_hard == 12
    assert {pair.order for pair in pairs} == {"AB", "BA"}
    golds = [pair.gold for pair in pairs]
    assert golds.count("A") == golds.count("B")
    assert {pair.fault for pair in pairs} == {"verdict"}


def test_right_verdicts_on_wrong_solutions_are_never_chosen(tmp_path):
    with pytest.raises(BadInput, match="none of 12 items that fail has a judgment with solution"):
        solved_pairs(plan(tmp_path), LESSON, drawn(lambda item, order, sample: (False, sample > 1)))


def test_a_solution_that_nobody_could_check_is_no_wrong_one(tmp_path):
    """A quarter of the draws is right, a quarter wrong, and half of them the verifier failed on."""

    def verify(case, solution):
        return ITEMS.verify(next(i for i in ITEMS.items if i.id == case.id), solution)

    kinds = iter([(True, True), (True, False), (True, True), (True, True)] * 24)
    fails = iter([False, False, True, True] * 24)
    draws = drawn(
        lambda *_: next(kinds),
        verify=lambda case, solution: None if next(fails) else verify(case, solution),
    )
    pairs, told = solved_pairs(plan(tmp_path, balance=False), LESSON, draws)
    assert told.right == (0.5,) * 12
    assert (told.num_draws, told.num_readable) == (96, 96)
    assert {(pair.chosen_sample, pair.rejected_sample) for pair in pairs} == {(0, 1)}
    nobody = drawn(lambda *_: (True, True), verify=lambda *_: None)
    with pytest.raises(BadInput, match="could be checked"):
        solved_pairs(plan(tmp_path), LESSON, nobody)


def test_nothing_to_mend_is_said(tmp_path):
    with pytest.raises(BadInput, match="all 12 items are solved and judged right in both orders"):
        solved_pairs(plan(tmp_path), LESSON, drawn(lambda *_: (True, True)))
