"""Where a program's tree differs from its reference's, and what such places are like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.own import hand_made, own_tasks
from planish.methods.mistakes.ruling.placing import places

REFERENCE = '''\
def f(words, size):
    """What it is for."""
    kept = []
    for word in words:
        if word.startswith("a") and len(word) > size:
            kept.append(word[1:])
    return sorted(kept, key=len)[: size * 2]
'''


def task(reference: str = REFERENCE) -> CodeTask:
    return CodeTask(task_id="t", entry_point="f", prompt="", reference=reference)


def kinds(code: str, reference: str = REFERENCE) -> dict[str, float]:
    """Rule -> strength, by the names of the places alone."""
    return {
        each.rule.removeprefix("place: "): each.strength for each in places(task(reference), code)
    }


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ('word.startswith("a")', "word.startswith", "call not made"),
        ('word.startswith("a")', 'word.find("a")', "call for call"),
        ('word.startswith("a")', 'word[0] == "a"', "call for expression"),
        ('word.startswith("a")', 'not word.count("a")', "call for call"),
        ("kept.append(word[1:])", "kept += word[1:]", "call for expression"),
        ("kept.append(word[1:])", "kept.extend(word[1:])", "call for call"),
        ("kept.append(word[1:])", "kept.append(word[2:])", "index"),
        ("sorted(kept, key=len)", "sorted(kept)", "other arguments"),
        ("sorted(kept, key=len)", "reversed(sorted(kept, key=len))", "call around"),
        ("sorted(kept, key=len)", "(kept + kept)", "call for formula"),
        ("size * 2", "size + 2", "formula"),
        ("len(word) > size", "len(word) >= size", "test"),
        ("kept = []", "kept = []\n    size = size or 1", "more or less"),
        ("kept = []", "kept = [words]", "more or less"),
    ],
)
def test_what_took_a_parts_place_tells_the_kind(before: str, after: str, kind: str) -> None:
    assert REFERENCE.count(before) == 1
    found = kinds(REFERENCE.replace(before, after))
    tested = {"call in a test"} if before.startswith("word.starts") else set()
    assert set(found) == {kind, "many places"} | tested
    assert found[kind] > 0.6
    assert found["many places"] == 0.0


def test_a_call_with_another_callee_and_other_arguments_is_one_place() -> None:
    found = kinds(REFERENCE.replace('word.startswith("a")', 'max(word, "a", "b")'))
    assert found["many places"] == 0.0
    assert found["call for call"] > 0.6


def test_places_share_what_they_say() -> None:
    code = REFERENCE.replace("size * 2", "size + 2").replace("len(word) > size", "word > size")
    found = kinds(code)
    assert found["formula"] == pytest.approx(found["test"])
    assert found["formula"] == pytest.approx(found["many places"])


def test_a_call_of_other_variables_is_less_the_same_call() -> None:
    same = kinds(REFERENCE.replace("kept.append(word[1:])", "kept += word"))
    other = kinds(REFERENCE.replace("kept.append(word[1:])", "size += 1"))
    assert other.get("call for expression", 0.0) < 0.1 < same["call for expression"]


def test_imports_and_docstrings_are_no_places() -> None:
    plain = REFERENCE.replace('    """What it is for."""\n', "")
    assert kinds(plain) == {}
    code = plain.replace("    kept = []", "    from heapq import merge\n    kept = []")
    assert kinds(code) == {"foreign import": 1.0}
    assert kinds(plain, reference=code) == {}


def test_the_same_code_has_no_places_and_what_is_no_code_none_either() -> None:
    assert kinds(REFERENCE) == {}
    assert kinds("def f(:") == kinds("\0") == kinds("x = " + "(" * 3000) == {}


@pytest.mark.parametrize("terms", [300, 500, 900])
def test_what_is_nested_deeply_says_nothing(terms: int) -> None:
    found = kinds("def f(words, size):\n    return " + "+".join(["1"] * terms))
    assert max(found.values(), default=0.0) < 0.1


def test_a_module_is_foreign_by_its_name() -> None:
    reference = "import math\ndef f(x):\n    return math.sqrt(x)\n"
    assert "foreign import" not in kinds("import math\n" + reference, reference)
    assert "foreign import" in kinds(reference.replace("math", "cmath"), reference)


def test_code_with_nothing_in_common_says_next_to_nothing() -> None:
    found = kinds("class F:\n    pass\n")
    assert max(found.values()) < 0.2


PROGRAMS = [each.code for each in hand_made()] + [each.reference for each in own_tasks()]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PROGRAMS), st.sampled_from(PROGRAMS))
def test_any_two_programs_can_be_laid_beside_each_other(one: str, other: str) -> None:
    found = list(places(task(one), other))
    assert found == list(places(task(one), other))
    assert all(0.0 <= each.strength <= 1.0 for each in found)
    assert len({each.rule for each in found}) == len(found)
    alone = [
        each.strength
        for each in found
        if each.rule.startswith("place: ") and each.rule != "place: call in a test"
    ]
    assert sum(alone) <= 1.0 + 1e-9
