"""Only tests that are a straight line have a plan, and it is what they do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.tasks.sandbox import dumps
from planish.tasks.sandbox.ahead import planned
from planish.tasks.sandbox.tester import check


def lines(*asserts: str, head: str = "") -> str:
    return head + "def check(candidate):\n" + "".join(f"    {one}\n" for one in asserts)


STRAIGHT = [
    (lines("assert candidate(2) == 4"), [(2,)]),
    (
        lines("assert candidate(1, 'a') == 4", "assert candidate([1], None)"),
        [(1, "a"), ([1], None)],
    ),
    (lines("assert candidate(*([1, 2],)) == 3", "assert candidate(1, *[2])"), [([1, 2],), (1, 2)]),
    (lines("assert candidate(1, base=2) == 4"), [[(1,), {"base": 2}]]),
    (lines("'words'", "assert True, 'says so'", "pass", "assert 4 == candidate(2)"), [(2,)]),
    (lines("assert abs(candidate(-1.5) - 2) < 1e-6"), [(-1.5,)]),
    (
        lines("assert not candidate({'a': {1}})", "assert candidate(2)[0] == 1"),
        [({"a": {1}},), (2,)],
    ),
    (lines("assert sorted(candidate(2).lower()) == ['a'], 'no'"), [(2,)]),
    (
        lines("assert candidate(2) == 4", head="import math\nMETADATA = {'author': 'x'}\n\n\n"),
        [(2,)],
    ),
]

BENT = [
    "",
    "def check(candidate:\n",
    "def other(candidate):\n    assert candidate(2) == 4\n",
    lines("for one in (1, 2):", "    assert candidate(one) == 4"),
    lines("if True:", "    assert candidate(2) == 4"),
    lines("try:", "    assert candidate(2)", "except ValueError:", "    pass"),
    lines("assert candidate(2) == candidate(3)"),
    lines("assert candidate(2) and candidate(3)"),
    lines("assert False and candidate(2)"),
    lines("assert 1 < 0 < candidate(2)"),
    lines("assert candidate(2) if 0 else 1"),
    lines("assert (lambda: candidate(2))"),
    lines("assert [candidate(one) for one in (1, 2)]"),
    lines("f = candidate", "assert f(2)"),
    lines("x = [1]", "assert candidate(x)"),
    lines("assert candidate(candidate(2)) == 4"),
    lines("assert candidate(2) == 4, candidate(3)"),
    lines("assert candidate(2) == 4", "return"),
    lines("assert candidate(*'ab') == 4"),
    lines("assert candidate(**{'a': 1}) == 4"),
    lines("assert candidate(2 * 3) == 4"),
    lines("assert candidate(float('nan')) == 4"),
    lines("assert candidate({[]: 1}) == 4"),
    lines("assert candidate.__name__"),
    lines("assert eval('candidate(1)')", "assert candidate(2)"),
    lines("assert candidate(2) == 4") * 2,
    "@print\n" + lines("assert candidate(2) == 4"),
    "async " + lines("assert candidate(2) == 4"),
    "class check:\n    pass\n",
    "if 1:\n    pass\n" + lines("assert candidate(2) == 4"),
    "def check(candidate, other=1):\n    assert candidate(2) == 4\n",
    "def check():\n    assert 1\n",
    lines(f"assert candidate({'1' * 60_000!r}) == 4"),
]


@pytest.mark.parametrize(("tests", "calls"), STRAIGHT)
def test_a_straight_line_is_planned(tests: str, calls: list[Any]) -> None:
    assert planned(tests) == tuple(map(dumps, calls))


@pytest.mark.parametrize("tests", BENT)
def test_anything_else_has_no_plan(tests: str) -> None:
    assert planned(tests) == ()


literals = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4) | st.binary(max_size=3),
    lambda inside: st.lists(inside, max_size=3)
    | st.tuples(inside, inside)
    | st.dictionaries(st.text(max_size=2), inside, max_size=2),
    max_leaves=6,
)  # fmt: skip

FORMS = [
    "assert candidate{0} is None",
    "assert candidate(*{0}) == None",
    "assert [] != candidate{0}, 'no'",
    "assert not candidate{0}",
    "assert candidate({0}[0]) is None",
    "assert candidate{0} is None or 1",
    "assert isinstance(candidate{0}, object)",
    "candidate{0}",
    "assert len([candidate{0}]) == 1",
]


@given(st.lists(st.tuples(st.sampled_from(FORMS), st.tuples(literals, literals)), max_size=4))
def test_tests_ask_what_was_planned(rows: list[tuple[str, tuple[Any, ...]]]) -> None:
    tests = lines("pass", *(form.format(repr(values)) for form, values in rows))
    plan, asked = planned(tests), []

    def ask(arguments: str) -> dict[str, Any]:
        asked.append(arguments)
        return {"status": "value", "value": "null"}

    verdict = check(tests, "", 0, ask)
    assert verdict["status"] == "pass"
    assert plan in ((), tuple(asked))
