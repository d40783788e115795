"""Solving alone in the form of a judgment's own solution, and putting another one in its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges.templates import Template, named
from planish.methods.s2j.prompts import (
    answer_of,
    solution_of,
    solve_chat,
    solving_template,
    with_solution,
)
from planish.records import BadInput, Example, Message, user

CHAIN, TAGS = named("chain"), named("solve_first")
EXAMPLE = Example(id="q", prompt=user("2 + 2?"), target="4")


def test_alone_a_solution_is_asked_for_as_in_a_judgment():
    assert solve_chat(EXAMPLE, CHAIN) == EXAMPLE.prompt
    (turn,) = solve_chat(EXAMPLE, TAGS)
    assert turn.content.startswith("2 + 2?\n\n")
    assert "<solution> your own answer </solution>" in turn.content
    assert "<solution> your own answer </solution>" in TAGS.user
    chat = (Message(role="system", content="Be brief."), *EXAMPLE.prompt)
    asked = solve_chat(EXAMPLE.model_copy(update={"prompt": chat}), TAGS)
    assert asked == (chat[0], turn)


@pytest.mark.parametrize(
    ("text", "template", "solution", "answer"),
    [
        ("<solution> 4 </solution>", TAGS, "4", "4"),
        ("It is 4.", TAGS, None, "It is 4."),
        ("<solution> 4", TAGS, None, "<solution> 4"),
        ("4 </solution>", TAGS, None, "4 </solution>"),
        ("<think><solution>5</solution></think> <solution>4</solution>", TAGS, "4", "4"),
        ("<think>5</think> It is 4.", TAGS, None, "It is 4."),
        ("<solution>4</solution> or <solution>5</solution>", TAGS, "4", "4"),
        ("7 2 V [[A]]", CHAIN, "7 2", "7 2"),
        ("7 2", CHAIN, None, "7 2"),
    ],
)
def test_what_stands_between_the_marks(text, template, solution, answer):
    assert solution_of(text, template) == solution
    assert answer_of(text, template) == answer


def test_another_solution_takes_the_place_of_ones_own():
    text = "Well. <solution> 4 </solution> <eval> So. </eval> <answer>[[A]]</answer>"
    assert with_solution(text, TAGS, "5") == "Well. <solution> 5 </solution>"
    assert with_solution(text, TAGS, "") == "Well. <solution> </solution>"
    assert with_solution("7 2 V [[A]]", CHAIN, "3 9") == "3 9 V"
    assert with_solution("7 2 V [[A]]", CHAIN, "") == "V"
    thought = "<think><solution> 1 </solution></think> <solution> 4 </solution> [[A]]"
    begun = with_solution(thought, TAGS, "5")
    assert begun == "<think><solution> 1 </solution></think> <solution> 5 </solution>"


@pytest.mark.parametrize("put", ["<solution>", "4 </solution> [[B]]"])
def test_a_solution_that_would_break_the_form_is_not_put_in(put):
    with pytest.raises(ValueError, match="holds one of the marks"):
        with_solution("<solution> 4 </solution> [[A]]", TAGS, put)
    with pytest.raises(ValueError, match="has no solution"):
        with_solution("[[A]]", TAGS, "4")


words = st.text(alphabet="0123456789 .+=ab\n", min_size=1, max_size=30).map(str.strip)


@given(words, words, words.filter(bool))
def test_what_was_put_in_is_read_back(before, own, put):
    text = f"{before}<solution>{own}</solution> <eval> </eval> <answer>[[B]]</answer>"
    assert solution_of(with_solution(text, TAGS, put), TAGS) == put
    assert with_solution(text, TAGS, put).startswith(before)


def test_only_prompts_that_ask_for_a_solution_are_taken(tmp_path):
    assert solving_template("chain") is CHAIN
    for name, message in (
        ("plain", "asks for no solution"),
        ("pick", "is for a pick"),
        ("nothing", "nothing"),
    ):
        with pytest.raises(BadInput, match=message):
            solving_template(name)
    mine = Template(
        name="mine",
        labels={"[[A]]": "A", "[[B]]": "B"},
        solution=("BEGIN", "END"),
        user="{{ question }}{{ reply_a }}{{ reply_b }}",
    )
    path = tmp_path / "mine.json"
    path.write_text(mine.model_dump_json())
    assert solving_template(str(path)) == mine
    assert "BEGIN your own answer END" in solve_chat(EXAMPLE, mine)[-1].content
