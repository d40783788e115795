"""Prompts with one planted defect, and the coder whose success depends on nothing else."""

from __future__ import annotations

import ast
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.mistakes.data import REASONS
from planish.methods.mistakes.jobs import test_job
from planish.methods.mistakes.kinds import kinds_of
from planish.methods.mistakes.loading import chat_of, code_of
from planish.methods.mistakes.own import own_tasks
from planish.methods.mistakes.own.defects import CLEAN, ScriptedCoder, defects, placebos
from planish.methods.mistakes.own.elements import Element, asked_name, rename
from planish.records import BadInput, Sampling, user
from planish.stats import mean
from planish.tasks.sandbox import Limits, Sandbox

DEFECTS = defects()
CODER = ScriptedCoder()
LIMITS = Limits(seconds=10)

NEUTRAL = (
    "The function belongs to a module that several people read.",
    "Changes are reviewed in the usual way, and its names follow the usual conventions.",
    "Note: bin, oct and hex put a prefix such as 0b in front, and the sign before it.",
    "Important: it is formatted with the usual tools before it is merged.",
)


def by_id(task_id: str):
    return next(each for each in DEFECTS if each.task_id == task_id)


# ---- the pairs -------------------------------------------------------------------------------


def test_every_reason_has_eight_pairs_half_of_them_to_report_on():
    count = Counter((each.reason, each.task.split) for each in DEFECTS)
    assert set(count) == {(reason, split) for reason in REASONS for split in ("train", "report")}
    assert set(count.values()) == {4}
    assert len({each.task_id for each in DEFECTS}) == len(DEFECTS) == 48


def test_references_pass_and_what_a_misled_model_writes_fails():
    right = {(each.task.entry_point, each.task.reference): each for each in DEFECTS}
    jobs = [
        test_job(each.task, each.task.reference, each.task_id, LIMITS) for each in right.values()
    ]
    jobs += [test_job(each.task, each.wrong, each.task_id, LIMITS) for each in DEFECTS]
    with Sandbox(accept="fork") as box:
        results = box.run(jobs)
    assert [each.key for each in results[: len(right)] if each.status != "pass"] == []
    assert [each.key for each in results[len(right) :] if each.score != 0.0] == []


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.task_id)
def test_a_prompt_has_the_one_defect_and_no_other_of_its_task(defect):
    assert defect.mended(defect.clean)
    assert not defect.mended(defect.defective)
    assert not defect.mended(defect.reworded)
    assert defect.reworded != defect.defective
    assert defect.task.prompt == defect.defective != defect.clean
    for other in DEFECTS:
        if other.clean == defect.clean and other is not defect:
            assert other.mended(defect.defective)
    wanted = defect.clean if defect.reason == "MCQS" else defect.reworded
    assert defect.task.meta[CLEAN] == wanted
    for prompt in (defect.defective, defect.clean, defect.reworded):
        ast.parse(prompt)
    assert asked_name(defect.defective, "") == defect.task.entry_point
    assert (defect.reason == "MFS") == (asked_name(defect.clean, "") != defect.task.entry_point)
    kinds_of(defect.task.strategy or ())


def test_a_mended_prompt_gives_no_test_away():
    for defect in DEFECTS:
        shown = set(re.findall(r">>> \w+(\(.*\))$", defect.clean + defect.defective, re.M))
        asked = set(re.findall(r"candidate(\(.*\)) (?:==|is) ", defect.task.tests))
        assert not shown & asked, defect.task_id


def test_placebo_worlds_are_own_tasks_at_several_rates():
    known = {task.task_id: task for task in own_tasks()}
    worlds = placebos()
    assert sorted(each.task.task_id for each in worlds) == sorted(known)
    bound = mean([0.0] * len(worlds)).high
    assert bound is not None
    assert bound < 0.05  # where none gets a reason
    assert {each.task.split for each in worlds} == {"train", "report"}
    assert len({each.rate for each in worlds}) >= 3
    for each in worlds:
        assert each.task.prompt == known[each.task.task_id].prompt != each.task.meta[CLEAN]
        assert len(each.wrong) >= 2


# ---- elements --------------------------------------------------------------------------------

PROMPT = 'def f(x):\n    """{}\n\n    >>> f(1)\n    2\n    """\n'


@pytest.mark.parametrize(
    ("text", "stands"),
    [
        ("Zeros do not count. Add them up.", True),
        ("Of many things,\n    zeros do not count.", True),
        ("Add them up. Important: zeros do not count. Be quick.", True),
        ("Important: be quick.\n    Zeros do not count. Add them up.", False),
        ("Add them up. Zeros do not count.", False),
        ("Add them up.", False),
    ],
)
def test_a_sentence_is_first_or_flagged(text, stands):
    element = Element(kind="first", pattern="(?i)zeros do not count")
    assert element.stands(PROMPT.format(text)) is stands
    assert element.stands(f"# Zeros do not count.\n{PROMPT.format(text)}") is stands


def test_a_prompt_is_read_as_one_line():
    prompt = PROMPT.format("Whole\n    words only.")
    assert Element(kind="holds", pattern="Whole words").stands(prompt)
    assert not Element(kind="lacks", pattern="Whole words").stands(prompt)


def test_a_function_is_renamed_but_no_text_is():
    code = 'def f(x):\n    return "f" if x else f(1)  # f\n'
    assert rename(code, "f", "g") == 'def g(x):\n    return "f" if x else g(1)  # f\n'


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("# def other(x):\ndef f(x):\n    ...", "f"),
        ("def helper(x):\n    return x\n\n\ndef f(x):\n    ...", "f"),
        ("Write a function called `g` that adds.", "g"),
        ("Add two numbers.", "own"),
    ],
)
def test_the_name_that_is_asked_for(prompt, name):
    assert asked_name(prompt, "own") == name


# ---- the coder -------------------------------------------------------------------------------


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.task_id)
def test_the_coder_passes_more_often_once_the_defect_is_mended(defect):
    assert CODER.probability(chat_of(defect.task)[-1].content) == 0.2
    assert CODER.probability(defect.reworded) == 0.2
    assert CODER.probability(defect.clean) == 0.7


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(DEFECTS),
    st.lists(st.sampled_from(NEUTRAL), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_unrelated_edits_change_nothing(defect, sentences, in_front, renamed):
    for prompt, wanted in ((defect.defective, 0.2), (defect.clean, 0.7)):
        # Sentences go to the end of the description, where they push nothing back.
        place = prompt.find("\n\n    >>>")
        place = prompt.rindex('"""') if place < 0 else place
        added = "".join(f"\n    {sentence}" for sentence in sentences)
        edited = f"{prompt[:place]}{added}{prompt[place:]}"
        if in_front:
            edited = f"# {sentences[0] if sentences else ''}\n{edited}"
        if renamed:
            name = asked_name(prompt, "")
            edited = re.sub(rf"\b{name}\b", f"{name}_v2", edited)
        assert CODER.probability(edited) == wanted


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(placebos()), st.lists(st.sampled_from(NEUTRAL), max_size=4), st.booleans())
def test_in_a_placebo_world_nothing_matters(world, sentences, renamed):
    prompt = world.task.prompt.replace('"""', " ".join(['"""', *sentences]), 1)
    if renamed:
        prompt = re.sub(rf"\b{asked_name(prompt, '')}\b", "solution", prompt)
    assert CODER.probability(prompt) == world.rate
    assert CODER.probability(str(world.task.meta[CLEAN])) == world.rate


def drawn(prompt: str, number: int, seed: int = 0) -> list[str]:
    sampling = Sampling(n=number, seed=seed, temperature=0.8)
    return [each.text for each in CODER.generate([user(prompt)], sampling)[0]]


def passed(prompt: str, reference: str, number: int) -> int:
    # Up to the fence: a wrong program may begin with all of the reference.
    return sum(f"\n{reference.strip()}\n```" in reply for reply in drawn(prompt, number))


def within(passes: int, number: int, rate: float) -> bool:
    """Whether so many passes are no rarer than one in a million at this rate, on either side."""
    from scipy.stats import binom

    return binom.ppf(1e-6, number, rate) <= passes <= binom.isf(1e-6, number, rate)


@pytest.mark.parametrize("reason", REASONS)
def test_it_passes_as_often_as_planted(reason):
    chosen = [each for each in DEFECTS if each.reason == reason]
    for prompt_of, rate in ((lambda each: each.defective, 0.2), (lambda each: each.clean, 0.7)):
        passes = sum(
            passed(
                prompt_of(each),
                rename(
                    each.task.reference,
                    each.task.entry_point,
                    asked_name(prompt_of(each), ""),
                ),
                100,
            )
            for each in chosen
        )
        number = 100 * len(chosen)
        assert within(passes, number, rate)
        assert not within(passes, number, 0.45)  # the bounds are narrow enough to tell them apart


def test_placebo_worlds_are_passed_as_often_as_planted():
    for world in placebos():
        assert within(passed(world.task.prompt, world.task.reference, 300), 300, world.rate)


def test_a_reply_depends_on_prompt_and_seed_alone():
    prompt = DEFECTS[0].defective
    replies = drawn(prompt, 40, seed=5)
    assert replies == drawn(prompt, 40, seed=5)
    assert replies[3:] == drawn(prompt, 37, seed=8)
    assert replies != drawn(prompt, 40, seed=500)
    assert replies != drawn(prompt + " ", 40, seed=5)
    assert ScriptedCoder().revision == CODER.revision != ScriptedCoder(low=0.1).revision
    assert len(set(drawn(prompt, 40, seed=None))) > 1


def test_the_code_has_the_name_that_the_prompt_asks_for_and_still_passes_or_fails():
    jobs, passing = [], []
    worlds = [each for each in DEFECTS if each.reason in ("MFS", "ITK")][::3]
    for each in worlds:
        prompt = re.sub(rf"\b{each.task.entry_point}\b", "solution", each.defective)
        task = each.task.model_copy(update={"entry_point": "solution", "prompt": prompt})
        right = rename(each.task.reference, each.task.entry_point, "solution").strip()
        for number, reply in enumerate(drawn(prompt, 3)):
            code = code_of(reply, task)
            assert "def solution(" in code
            assert each.task.entry_point not in code
            jobs.append(test_job(task, code, f"{each.task_id}|{number}", LIMITS))
            passing.append(right in code)
    with Sandbox(accept="fork") as box:
        results = box.run(jobs)
    assert [result.score for result in results] == [float(each) for each in passing]
    assert 0 < sum(passing) < len(passing)


def test_it_writes_every_own_task():
    for task in own_tasks():
        (reply,) = drawn(chat_of(task)[-1].content, 1)
        ast.parse(code_of(reply, task))
        assert 0 < passed(task.prompt, task.reference, 40) < 40, task.task_id


def test_a_prompt_of_no_task_is_refused_in_one_line():
    with pytest.raises(BadInput, match="no planted task is asked for") as found:
        CODER.generate([user("def f(x):\n    '''Predict the weather of Mars.'''\n")], Sampling())
    assert "\n" not in str(found.value)
