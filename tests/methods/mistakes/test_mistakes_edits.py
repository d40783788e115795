"""Edits of prompts, their placebos, and what they must not give away."""

from __future__ import annotations

import ast
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.methods.mistakes.data import MARKER, REASONS, CodeTask
from planish.methods.mistakes.own.defects import Defect, defects
from planish.methods.mistakes.own.elements import CLEAN, rename
from planish.methods.mistakes.reasoning.boundaries import boundaries, special
from planish.methods.mistakes.reasoning.edits import (
    NoEdit,
    PromptEdit,
    RuleEditor,
    asked_task,
    code_in,
    relevance,
)
from planish.methods.mistakes.reasoning.facts import api_facts, facts_about
from planish.methods.mistakes.reasoning.failures import Call, Failures
from planish.methods.mistakes.reasoning.leaks import gives_away, held_out, spellings
from planish.methods.mistakes.reasoning.placebos import BOUND, neutral_text, placebo_of, size
from planish.methods.mistakes.reasoning.prompts import (
    add_demonstration,
    add_sentence,
    demonstrations,
    sentences,
    to_front,
)
from planish.methods.mistakes.reasoning.writing import ModelEditor
from planish.models.scripted import ScriptedModel
from planish.records import Completion
from planish.tasks.sandbox.contract import SourceFile
from planish.tasks.sandbox.values import dumps

PROMPT = '''def spread(numbers: list[int]) -> int:
    """Return the largest number less the smallest one.

    The list comes from a sensor. Where it is empty the spread is 0. Signs are kept.

    >>> spread([3, 47])
    44
    """
'''
TASK = CodeTask(
    task_id="spread",
    entry_point="spread",
    prompt=PROMPT,
    reference="def spread(numbers):\n    if not numbers:\n        return 0\n"
    "    return max(numbers) - min(numbers)\n",
    tests="def check(candidate):\n    assert candidate([3, 47]) == 44\n"
    "    assert candidate([]) == 0\n    assert candidate([-5, 912]) == 917\n",
)
WRONG = "def spread(numbers):\n    return round(max(numbers)) - min(numbers)\n"


def call(value: object, *arguments: object) -> Call:
    return Call(dumps(arguments), dumps(value))


FAILURES = Failures(
    TASK,
    codes=(WRONG,),
    calls=(call(44, [3, 47]), call(0, []), call(917, [-5, 912])),
    drawn=(call(6, [1, 7]), call(3, [-8, -5]), call(0, [2])),
    failing=(call(0, []), call(917, [-5, 912]), call(3, [-8, -5])),
    passing=(call(44, [3, 47]), call(6, [1, 7]), call(0, [2])),
    shown=(call(44, [3, 47]),),
)


def edit(reason: str, task: CodeTask = TASK, failures: Failures = FAILURES) -> PromptEdit:
    made = RuleEditor().edit(task, reason, failures)  # type: ignore[arg-type]
    assert made is not None
    return made


# ---- the edits


def test_a_boundary_is_stated_in_words() -> None:
    made = edit("EC")
    assert "`numbers` may be empty." in made.prompt
    assert "negative" in made.prompt
    assert made.prompt.index("may be empty") < made.prompt.index(">>>")
    ast.parse(made.prompt)


PROJECT = TASK.model_copy(
    update={
        "entry_point": "shop.driver:run",
        "module": "shop/sums.py",
        "template": f"{MARKER}\n",
        "files": (
            SourceFile(
                path="shop/driver.py", text="def run(rows, numbers):\n    return spread(rows)"
            ),
        ),
    }
)


def test_of_a_projects_function_nothing_is_said_about_its_callers_arguments() -> None:
    calls = (call(0, [], 3), call(2, [1], 3))
    failures = Failures(PROJECT, calls=calls, failing=calls[:1], passing=calls[1:])
    assert failures.names == ("rows", "numbers")
    assert RuleEditor().edit(PROJECT, "EC", failures) is None
    assert RuleEditor().edit(PROJECT, "IOD", failures) is None
    assert relevance("Where numbers are empty the rows are, too.", failures) == 0.0
    assert relevance("Where it is empty the spread is 0.", FAILURES) > 0.0


def test_a_demonstration_is_one_that_no_test_uses_and_has_failed() -> None:
    made = edit("IOD")
    assert [demo.arguments for demo in demonstrations(made.prompt, "spread")] == [
        ([3, 47],),
        ([-8, -5],),
    ]
    assert not set(made.shown) & {call.arguments for call in FAILURES.calls}


def test_a_wrong_demonstration_is_dropped_where_a_test_asks_it_and_else_mended() -> None:
    task = TASK.model_copy(update={"prompt": PROMPT.replace("44", "45")})
    made = edit("IOD", task, Failures(task, calls=FAILURES.calls, shown=FAILURES.shown))
    assert demonstrations(made.prompt, "spread") == []
    fresh = Failures(task, calls=FAILURES.calls[1:], shown=FAILURES.shown)
    made = edit("IOD", task, fresh)
    assert made.prompt == PROMPT
    assert gives_away(task, made, fresh) == ""


def test_a_neutral_name_is_put_everywhere_and_mapped_back() -> None:
    made = edit("MFS")
    assert "spread(" not in made.prompt
    assert made.prompt.count(f"{made.name}(") == 2
    reply = f"```python\ndef {made.name}(numbers):\n    return {made.name}(numbers[1:])\n```"
    code = code_in(reply, TASK, made.prompt, made.name)
    assert code.count("spread(") == 2
    assert made.name not in code
    assert asked_task(TASK, made.prompt, made.name).entry_point == made.name


def test_the_sentence_about_what_fails_is_moved_and_flagged() -> None:
    made = edit("PS")
    words = made.prompt.split('"""')[1]
    assert words.startswith("Important: Where it is empty the spread is 0.")
    assert words.count("Where it is empty") == 1
    assert sorted(made.prompt.split()) != sorted(PROMPT.split())


def test_facts_are_about_what_the_failed_code_calls() -> None:
    made = edit("ITK")
    names = [fact.name for fact in facts_about(WRONG)]
    assert "round" in names
    assert "even neighbour" in made.prompt
    assert facts_about("def f(x: int) -> set: return x") == ()
    assert [fact.name for fact in facts_about("import re\nre.match('a', x)")] == ["re.match"]
    assert [fact.name for fact in facts_about("from math import sqrt\nsqrt(2)")] == ["math.sqrt"]


def test_a_known_clean_prompt_is_the_edit_and_without_it_there_is_none() -> None:
    assert RuleEditor().edit(TASK, "MCQS", FAILURES) is None
    clean = PROMPT.replace("less the", "minus the")
    task = TASK.model_copy(update={"meta": {CLEAN: clean}})
    assert edit("MCQS", task).prompt == clean


def test_nothing_to_edit_is_no_edit() -> None:
    task = CodeTask(task_id="t", entry_point="f", prompt="Do it.", reference="f = abs")
    bare = Failures(task)
    assert [RuleEditor().edit(task, reason, bare) for reason in REASONS] == [None] * 6


@pytest.mark.parametrize("fact", api_facts(), ids=lambda fact: fact.name)
def test_every_fact_is_true(fact) -> None:  # type: ignore[no-untyped-def]
    exec(compile(fact.check, fact.name, "exec"), {})
    assert "assert" in fact.check or "raise AssertionError" in fact.check


def test_facts_have_one_name_each_and_are_many() -> None:
    names = [fact.name for fact in api_facts()]
    assert len(names) == len(set(names)) >= 40


# ---- a model that edits


def model(reply: str | Completion) -> ScriptedModel:
    return ScriptedModel("editor", lambda chat, seed, sample: reply)


def test_a_model_rewords_and_never_sees_reference_or_tests() -> None:
    seen: list[str] = []

    def script(chat, seed, sample):  # type: ignore[no-untyped-def]
        seen.append("\n".join(message.content for message in chat))
        return f"Sure.\n<prompt>\n{PROMPT.replace('less', 'minus')}</prompt>"

    made = ModelEditor(ScriptedModel("m", script), RuleEditor()).edit(TASK, "MCQS", FAILURES)
    assert isinstance(made, PromptEdit)
    assert made.prompt == PROMPT.replace("less", "minus")
    assert "max(numbers)" not in seen[0]
    assert "917" not in seen[0]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("I would not change it.", "holds no <prompt>"),
        ("<prompt>\nSomething else.\n</prompt>", "no longer names spread"),
        (f"<prompt>\n{PROMPT}</prompt>", "as it is"),
        (Completion(text="", finish="error"), "gave no reply"),
        (Completion(text=f"<prompt>\n{PROMPT}!</prompt>", finish="length"), "cut off (length)"),
    ],
)
def test_a_model_that_edits_nothing_useful_makes_no_edit(reply: str | Completion, why: str) -> None:
    made = ModelEditor(model(reply), RuleEditor()).edit(TASK, "MCQS", FAILURES)
    assert isinstance(made, NoEdit)
    assert why in made.why
    assert "--editor" not in made.why
    assert made.lost == (why == "gave no reply")


def test_rules_edit_for_the_other_reasons() -> None:
    editor = ModelEditor(model("unused"), RuleEditor())
    assert editor.edit(TASK, "EC", FAILURES) == edit("EC")


# ---- placebos


@pytest.mark.parametrize("reason", ["IOD", "EC", "MFS", "PS", "ITK"])
def test_a_placebo_is_of_the_same_kind_and_size_and_tells_nothing(reason: str) -> None:
    made = edit(reason)
    placebo = placebo_of(TASK, made, FAILURES)
    assert placebo.prompt not in (TASK.prompt, made.prompt)
    assert placebo.kind == made.kind
    ast.parse(placebo.prompt)
    assert abs(len(placebo.added) - len(made.added)) <= max(40, 0.35 * len(made.added))
    assert gives_away(TASK, placebo, FAILURES) == ""
    told = special(([],), ("numbers",))[0]
    assert told not in placebo.prompt


def demonstrated(prompt: str) -> list[tuple[object, object]]:
    return [(demo.arguments, demo.result) for demo in demonstrations(prompt, "spread")]


BOTH = PROMPT.replace("    44\n", "    44\n    >>> spread([1, 7])\n    7\n")
BOTH_TASK = TASK.model_copy(update={"prompt": BOTH})


def test_the_placebo_of_a_mended_demonstration_rewrites_a_right_one_where_it_stands() -> None:
    failures = replace(FAILURES, task=BOTH_TASK)
    made = edit("IOD", BOTH_TASK, failures)
    assert "mended" in made.why
    placebo = placebo_of(BOTH_TASK, made, failures)
    assert placebo.prompt != BOTH
    assert demonstrated(placebo.prompt) == demonstrated(BOTH)
    assert abs(size(BOTH_TASK, placebo) - size(BOTH_TASK, made)) <= 2


def test_the_placebo_of_a_dropped_demonstration_drops_a_right_one() -> None:
    failures = replace(FAILURES, task=BOTH_TASK, calls=(*FAILURES.calls, call(6, [1, 7])))
    made = edit("IOD", BOTH_TASK, failures)
    assert "dropped" in made.why
    placebo = placebo_of(BOTH_TASK, made, failures)
    assert demonstrated(placebo.prompt) == [(([1, 7],), 7)]
    assert abs(size(BOTH_TASK, placebo) - size(BOTH_TASK, made)) <= 2


def test_a_placebo_says_where_no_right_demonstration_is_there() -> None:
    task = TASK.model_copy(update={"prompt": PROMPT.replace("44", "45")})
    failures = replace(FAILURES, task=task)
    placebo = placebo_of(task, edit("IOD", task, failures), failures)
    assert "no other demonstration is there" in placebo.why


def test_the_placebo_of_a_moved_sentence_moves_one_where_only_the_first_is_left() -> None:
    prompt = PROMPT.replace(" Where it is empty the spread is 0. Signs are kept.", "")
    task = TASK.model_copy(update={"prompt": prompt})
    failures = replace(FAILURES, task=task)
    placebo = placebo_of(task, edit("PS", task, failures), failures)
    ast.parse(placebo.prompt)
    words = placebo.prompt.split('"""')[1]
    assert words.startswith("Important: ")
    assert not words.startswith("Important: Return")
    assert "\n    Return the largest" in words


def test_the_placebo_of_a_rewriting_is_as_long_as_what_it_adds() -> None:
    clean = PROMPT.replace("less the smallest", "minus the least")
    task = TASK.model_copy(update={"meta": {CLEAN: clean}})
    made = edit("MCQS", task)
    placebo = placebo_of(task, made, FAILURES)
    assert abs(size(task, placebo) - size(task, made)) <= BOUND


def test_the_placebo_of_a_name_keeps_what_the_name_says() -> None:
    placebo = placebo_of(TASK, edit("MFS"), FAILURES)
    assert "spread" in placebo.name
    reply = f"def {placebo.name}(numbers):\n    return 1\n"
    assert code_in(reply, TASK, placebo.prompt, placebo.name).startswith("def spread(")


def returned(function: Any, arguments: tuple[object, ...]) -> object:
    try:
        return function(*deepcopy(arguments))
    except Exception as error:
        return error


def seen(defect: Defect) -> Failures:
    """What the tests ask, half of it taken for drawn; the package's own code is run right here."""
    task, calls, failing = defect.task, [], []
    functions = []
    for code in (task.reference, defect.wrong):
        space: dict[str, Any] = {}
        exec(code, space)
        functions.append(space[task.entry_point])
    for node in ast.walk(ast.parse(task.tests)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "candidate":
            arguments = ast.literal_eval(f"({', '.join(map(ast.unparse, node.args))},)")
            right, wrong = (returned(function, arguments) for function in functions)
            calls.append(call(right, *arguments))
            failing += calls[-1:] if right != wrong else []
    shown = [demo.arguments for demo in demonstrations(task.prompt, task.entry_point)]
    return Failures(
        task,
        codes=(defect.wrong,),
        calls=tuple(calls[::2]),
        drawn=tuple(calls[1::2]),
        failing=tuple(failing),
        passing=tuple(each for each in calls if each not in failing),
        shown=tuple(call(functions[0](*deepcopy(each)), *each) for each in shown),
    )


def test_edits_and_placebos_of_all_own_defects_are_of_one_size() -> None:
    kinds = []
    for each in map(seen, defects()):
        for reason in REASONS:
            made = RuleEditor().edit(each.task, reason, each)
            if made is None:
                continue
            placebo = placebo_of(each.task, made, each)
            apart = abs(size(each.task, placebo) - size(each.task, made))
            assert apart <= BOUND, (each.task.task_id, reason)
            assert placebo.prompt not in (each.task.prompt, made.prompt)
            ast.parse(placebo.prompt)
            kinds.append((made.kind, placebo.kind))
    other = [pair for pair in kinds if pair[0] != pair[1] and pair[0] != "rewrite"]
    assert len(kinds) > 200
    assert len(other) < 0.05 * len(kinds)  # prompts without a right demonstration


@given(st.integers(1, 600))
def test_neutral_text_is_about_as_long_as_asked(length: int) -> None:
    assert abs(len(neutral_text(length)) - length) <= max(40, 62 - length)


# ---- leaks


@pytest.mark.parametrize(
    ("told", "leaks"),
    [
        ("The spread may be 917.", True),
        ("The spread may be 917.0 at times.", True),
        ("It was 0x395 once.", True),
        ("There are 9170 rows, or 1.917.", False),
        ("A list may be empty.", False),
        ("spread([]) is 0.", True),
        ("Counting begins at 0.", False),
        ("return max(numbers) - min(numbers)", True),
    ],
)
def test_an_edit_that_holds_an_expected_output_or_the_answer_leaks(told: str, leaks: bool) -> None:
    made = PromptEdit("EC", add_sentence(PROMPT, told), "", "sentence", added=told)
    assert bool(gives_away(TASK, made, FAILURES)) == leaks


def test_what_the_prompt_says_already_is_no_leak() -> None:
    task = TASK.model_copy(update={"prompt": add_sentence(PROMPT, "Up to 917.")})
    made = PromptEdit("EC", add_sentence(task.prompt, "Beware."), "", "sentence")
    assert gives_away(task, made, FAILURES) == ""


def test_a_demonstration_of_a_tested_input_leaks() -> None:
    prompt = add_demonstration(PROMPT, "spread", "[-5, 912]", "0")
    made = PromptEdit("IOD", prompt, "", "demonstration", shown=(dumps(([-5, 912],)),))
    assert "input of the tests" in gives_away(TASK, made, FAILURES)


@pytest.mark.parametrize(
    ("shown", "leaks"),
    [("spread([]) == 1", True), ("spread([1, 5]) == 4", False), ("spread([3, 47]) == 44", False)],
)
def test_a_models_demonstration_of_a_tested_input_leaks_though_nobody_says_so(
    shown: str, leaks: bool
) -> None:
    made = PromptEdit("IOD", add_sentence(PROMPT, f"So {shown}."), "", "rewrite")
    assert ("input of the tests" in gives_away(TASK, made, FAILURES)) == leaks


VALUES = st.recursive(
    st.integers(100, 10**6) | st.text("abcdefgh", min_size=4, max_size=9),
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3)
        | st.dictionaries(st.text("xyz", min_size=3, max_size=4), inner, min_size=2, max_size=3)
    ),
    max_leaves=6,
)


@given(VALUES, st.sampled_from([repr, lambda value: str(value).replace("'", '"')]))
def test_any_telling_value_leaks_in_any_spelling(value: object, write) -> None:  # type: ignore[no-untyped-def]
    failing = Failures(TASK, calls=(call(value, [4]),), failing=(call(value, [4]),))
    told = f"Think of {write(value)} as well."
    made = PromptEdit("EC", add_sentence(PROMPT, told), "", "sentence")
    assert gives_away(TASK, made, failing)
    assert spellings(value)


def test_held_out_is_what_nobody_was_shown() -> None:
    made = edit("IOD")
    kept = {each.arguments for each in held_out(TASK, made, FAILURES)}
    assert dumps(([3, 47],)) not in kept
    assert dumps(([-8, -5],)) not in kept
    assert kept == {dumps(([],)), dumps(([-5, 912],)), dumps(([1, 7],)), dumps(([2],))}


# ---- text


@given(
    st.lists(st.sampled_from(["Take x.", "Drop it!", "Is it?", "Keep\n    all of it."]), max_size=5)
)
def test_moving_a_sentence_loses_and_adds_no_word(parts: list[str]) -> None:
    prompt = f'def f(x):\n    """Return x. {" ".join(parts)}\n\n    >>> f(1)\n    1\n    """\n'
    for place in sentences(prompt):
        moved = to_front(prompt, place, "Important: ")
        ast.parse(moved)
        after = moved.replace("Important: ", "", 1).replace('"""', " ").split()
        assert sorted(after) == sorted(prompt.replace('"""', " ").split())


@given(st.text(max_size=200))
def test_any_text_can_be_edited(prompt: str) -> None:
    demonstrations(prompt, "f")
    for place in sentences(prompt):
        to_front(prompt, place)
    assert "A sentence." in add_sentence(prompt, "A sentence.")
    assert "f(1)" in add_demonstration(prompt, "f", "1", "2")


@pytest.mark.parametrize("says", ["==", "=>", "->", "returns", "should return", "gives", "➞"])
def test_demonstrations_in_words_are_found(says: str) -> None:
    found = demonstrations(f"Add up. For example f([1, 2], 'a)') {says} {{'k': (3, 4)}}.", "f")
    assert [(demo.arguments, demo.result) for demo in found] == [(([1, 2], "a)"), {"k": (3, 4)})]


def test_renaming_leaves_texts_and_longer_names_alone() -> None:
    code = 'def f(x):\n    """f of x"""\n    ff = f(x - 1)  # f\n    return "f" + ff\n'
    assert rename(code, "f", "g") == code.replace("def f", "def g").replace("= f(", "= g(")
    assert rename("def f(:", "f", "g") == "def g(:"


def test_boundaries_tell_failing_from_passing() -> None:
    found = boundaries([([],), ([],)], [([1],), ([2, 3],)], ("values",))
    assert found == ["`values` may be empty."]
    assert boundaries([([1, 2],)], [([1, 2],)], ("values",)) == []
    assert boundaries([], [], ("values",)) == []
