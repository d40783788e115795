"""Steps and expressions as models write them, read through the task that needs them."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.tasks.arithmetic import followed, written_steps
from planish.tasks.countdown import CountdownTask

some = settings(max_examples=60)


def test_steps_are_followed_one_after_another():
    found = followed(written_steps("3 + 4 = 7, 7 - 5"), (3, 4, 5, 6))
    assert (found.value, found.text, found.unused) == (Fraction(2), "(3 + 4) - 5", 1)
    assert followed(written_steps("3 / 4 = 1"), (3, 4)).why == "3 / 4 is 3/4, not 1"
    assert written_steps("nothing to do with 3") == []


@pytest.mark.parametrize(
    ("reply", "score", "why"),
    [
        ("3 + 4 = 7, 5 * 7 = 35", 1.0, ""),
        ("3 + 4 = 7\n7 * 5 = 35\n", 1.0, ""),
        ("3+4=7;7*5=35", 1.0, ""),
        ("3 + 4, 7 * 5", 1.0, ""),
        ("(3 + 4) * 5", 1.0, ""),
        ("35 = (3 + 4) * 5", 1.0, ""),
        ("(3 + 4) * 5 = 7 * 5 = 35", 1.0, ""),
        ("It is **(4 + 3) × 5 = 35**.", 1.0, ""),
        (r"$\boxed{\left(3 + 4\right) \cdot 5}$", 1.0, ""),
        (r"\(5 \times (3 + 4) = 35\)", 1.0, ""),
        ("5 * 4 = 20, 20 + 3 = 23, no. 5 * (3 + 4) = 35.", 1.0, ""),
        ("<answer> 5 * (3 + 4) </answer> and not 5 * 4 * 3", 1.0, ""),
        ("1. 3 + 4 = 7\n2) 7 * 5 = 35", 1.0, ""),
        ("- 3 + 4 = 7\n- 7 * 5 = 35.0", 1.0, ""),
        ("(3 + 4) * 5 = 35. That is what 3-number games are like.", 1.0, ""),
        ("3 + 4 = 7, 5 * 7 = 36", 0.0, "5 * (3 + 4) is 35, not 36"),
        ("3 + 4 = 8, 5 * 7 = 35", 0.0, "3 + 4 is 7, not 8"),
        ("7 * 5 = 35", 0.0, "there is no 7 to use"),
        ("5 * 7", 0.0, "there is no 7 to use"),
        ("3 * 5 = 15, 15 + 4 = 19", 0.0, "makes 19, not 35"),
        ("3 * 5 / 4", 0.0, "makes 15/4, not 35"),
        ("3 + 4 = 7", 0.0, "does not use all numbers"),
        ("(3 + 4) * 5 * 5 / 5", 0.0, "there is no 5 to use"),
        ("3 / (4 - 4)", 0.0, "there is no 4 to use"),
        ("(3 + 4) * 5 = 35 = 36", 0.0, "5 * (3 + 4) is 35, not 36"),
        ("(3 + 4) * 5 = 35 / 0", 0.0, "35 / 0 divides by zero"),
        ("(3 + 4 * 5", 0.0, "is no expression"),
        ("3 + 4) * 5", 0.0, "is no expression"),
        ("(3 + 4) * 5 =", 0.0, "is no expression"),
        ("(3 + 4) * 5 +", 0.0, "is no expression"),
        ("3 4 + 5 *", 0.0, "is no expression"),
        ("3 + 4 = 7, 5 * 7 = 35, 35 + 35", 0.0, ""),
        ("(3 ** 4) + 5", 0.0, "is no expression"),
        ("-3 + 4 * 5", 0.0, "is no expression"),
        ("3 // 4 + 5", 0.0, "is no expression"),
        ("(3 + 4) * 5.5", 0.0, "is no expression"),
        ("3.5 + 4", None, "no arithmetic"),
        ("35", None, "no arithmetic"),
        ("", None, "no arithmetic"),
        ("I give up.", None, "no arithmetic"),
        ("(٣ + ٤) * ٥", None, "no arithmetic"),
        ("(³ + ⁴) * ⁵", None, "no arithmetic"),
        ("__import__('os').system('true')", None, "no arithmetic"),
    ],
)
def test_replies_of_real_models_are_read(reply, score, why):
    task = CountdownTask()
    verdict = task.verify(task.example("Make 35 from 3 4 5"), reply)
    assert (verdict.score, bool(verdict.why)) == (score, score != 1.0)
    assert why in verdict.why


def test_the_same_solution_is_the_same_answer_however_it_is_written():
    task = CountdownTask()
    example = task.example("Make 35 from 3 4 5")
    replies = ("3 + 4 = 7, 5 * 7 = 35", "(4+3)*5", "5 × (3 + 4) = 35")
    assert {task.verify(example, reply).extracted for reply in replies} == {"5 * (3 + 4)"}


@some
@given(
    st.text()
    | st.text("0123456789+-*/()=,. \n×÷")
    | st.lists(st.sampled_from(["3", "4", "5", "7", "35", "+", "*", "=", "(", ")", ","])).map(
        " ".join
    )
)
def test_verify_never_raises(reply):
    task = CountdownTask()
    verdict = task.verify(task.example("Make 35 from 3 4 5"), reply)
    assert verdict.score in (0.0, 1.0, None)
    assert (verdict.score is None) == (verdict.extracted is None)
    assert (verdict.score == 1.0) == (not verdict.why)


HUGE = 1_000_000
HOSTILE = {
    "digits": "9" * HUGE,
    "huge numbers": "9" * (HUGE // 2) + "*" + "9" * (HUGE // 2),
    "product": "*".join(["999999999"] * 100_000),
    "powers": "9**9**9**9",
    "brackets": "(" * HUGE + "3 + 4" + ")" * HUGE,
    "open brackets": "3 + 4 * " + "(" * HUGE,
    "quotients": "1/0," * (HUGE // 4),
    "equals": "=" * HUGE + "3 + 4",
    "chain of equals": "3 + 4 = " * (HUGE // 8) + "7",
    "marks": "<answer>" * (HUGE // 8) + "\\boxed{" * (HUGE // 7),
    "blanks": "3 +" + " " * HUGE + "4",
    "list marks": "- " * (HUGE // 2) + "3 + 4",
    "steps": "3 + 4 = 7, " * (HUGE // 11),
    "letters": "é" * HUGE,
    "surrogates": "\ud800" * 1000 + "3 + 4",
    "zeros": "0" * HUGE + "3 + 4",
    "points": "3.0" * (HUGE // 3) + "+ 4",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_replies_are_wrong_or_unread_and_fast(kind):
    task = CountdownTask()
    example = task.example("Make 35 from 3 4 5")
    begin = time.thread_time()
    verdict = task.verify(example, HOSTILE[kind])
    assert time.thread_time() - begin < 0.5
    assert verdict.score in (0.0, None)
    assert verdict.why
    assert len(verdict.extracted or "") + len(verdict.why) < 1000


def test_what_was_cut_at_its_beginning_is_not_half_of_an_answer():
    task = CountdownTask()
    example = task.example("Make 35 from 3 4 5")
    answer = "(3 + 4) * 5"
    # The tail that is read begins within the expression, where `9 +` is out of sight.
    assert task.verify(example, "9 +" + " " * (4000 - len(answer)) + answer).score == 0.0
    assert task.verify(example, "9 + 1\n" * 2000 + answer).score == 1.0
    assert task.verify(example, answer + "\nblah" * 2000).score is None
