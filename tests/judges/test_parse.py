"""Reading verdicts: every status, hostile text, and the published parsers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges.base import SCORED
from planish.judges.parse import PARSERS, parse, parse_arena_hard, parse_rm_r1
from planish.judges.templates import TEMPLATES, named
from planish.records import Completion

PLAIN, FIVE, CHAIN = named("plain"), named("arena_hard"), named("chain")


def read(text, template=PLAIN, finish="stop"):
    return parse(Completion(text=text, finish=finish), template)


@pytest.mark.parametrize(
    ("text", "status", "label"),
    [
        ("Reasons.\n[[A]]", "ok", "A"),
        ("Reasons.\n[[B]].", "ok", "B"),
        ("[[ b ]]", "ok", "B"),
        ("[[tie]]", "tie", "tie"),
        ("**[[Tie]]**", "tie", "tie"),
        ("First I lean to [[A]].\nBut no: [[B]]", "ok", "B"),
        ("[[A]]\n\nThat is my verdict, and I am sure of it.", "ok", "A"),
        ("I choose [[A]] over [[B]].", "conflicting", None),
        ("Said twice: [[A]] and again [[A]]", "ok", "A"),
        ("Spelled twice: [[A]] and again [[ a ]]", "ok", "A"),
        ("[[C]]", "off_menu", None),
        ("[[A>B]]", "off_menu", None),
        ("[[7]]", "off_menu", None),
        ("[A]", "no_verdict", None),
        ("[[see above]]", "no_verdict", None),
        ("INCORRECT. downgrade: A", "no_verdict", None),
        ("", "no_verdict", None),
        ("I'm sorry, but I can't compare these.", "refused", None),
        ("抱歉，我无法回答。", "refused", None),
        ("I can't fault reply A.\n[[A]]", "ok", "A"),
        ("<think>surely [[A]]</think>\n[[B]]", "ok", "B"),
        ("<think>surely [[A]] and then it never ends", "no_verdict", None),
        ("thinking without an opener [[A]]</think>[[B]]", "ok", "B"),
        ("<think>[[A]]</think> nothing more", "no_verdict", None),
        ("Let me see.\n<think>I lean to [[A]]", "no_verdict", None),
        ("[[A]]\nA </think> tag leaked.", "ok", "A"),
        ("<think>[[A]]</think>[[B]]<think>[[A]]</think>", "ok", "B"),
        ("<thinking>a</thinking>\n[[tie]]", "tie", "tie"),
    ],
)
def test_statuses(text, status, label):
    reading = read(text)
    assert (reading.status, reading.label) == (status, label)


def test_length_and_transport():
    assert read("so far so good", finish="length").status == "truncated"
    assert read("[[A]] and then cut", finish="length").label == "A"
    assert read("", finish="error").status == "transport"
    assert read("[[A]]", finish="error").status == "transport"


def test_spans_tails_and_distinct_labels():
    text = "At first [[B]].\nThen:\n[[A]] because."
    reading = read(text)
    start, end = reading.span
    assert text[start:end] == "[[A]]"
    assert reading.tail_chars == len(" because.")
    assert reading.distinct_labels == ("B", "A")


def test_five_labels():
    for text, label in [("[[A>>B]]", "A"), ("[[B > A]]", "B"), ("[[a=b]]", "tie")]:
        assert read(text, FIVE).label == label
    # Two strengths of one preference on one line are still two labels.
    assert read("[[A>>B]] or [[A>B]]", FIVE).status == "conflicting"


def test_solutions_are_cut_out():
    tagged = "<solution> 42 </solution> <eval> .. </eval> <answer>[[B]]</answer>"
    assert read(tagged, named("solve_first")).solution == "42"
    assert read("[[B]]", named("solve_first")).solution is None
    chain = read("7 2 V [[A]]", CHAIN)
    assert (chain.label, chain.solution) == ("A", "7 2")


def test_ratings_picks_and_rankings():
    rating = named("rating")
    assert parse(Completion(text="[[7]]"), rating, 1).score == 7
    assert parse(Completion(text="[[7.5]]"), rating, 1).score == 7.5
    assert parse(Completion(text="[[11]]"), rating, 1).status == "off_menu"
    assert parse(Completion(text="[[A]]"), rating, 1).status == "off_menu"
    assert parse(Completion(text="[[C]]"), named("pick"), 4).label == "C"
    assert parse(Completion(text="[[E]]"), named("pick"), 4).status == "off_menu"
    ranked = parse(Completion(text="[[B > A > C]]"), named("ranking"), 3)
    assert ranked.ranking == ("B", "A", "C")
    assert ranked.label == "B"
    assert parse(Completion(text="[[B>A]]"), named("ranking"), 3).status == "off_menu"


def test_arena_hard_as_published():
    def arena(text):
        return parse_arena_hard(Completion(text=text), FIVE)

    assert arena("[[A>>B]]").label == "A"
    assert arena("[[A=B]] ... [[A=B]]").label == "tie"
    assert arena("<think>[[A>B]]</think>[[B>A]]").status == "conflicting"
    assert arena("[[A>>B]]\n[[A>B]]").status == "conflicting"
    assert arena("[[A]]").status == "off_menu"
    assert arena("nothing").status == "no_verdict"


def test_rm_r1_as_published():
    def tail(text):
        return parse_rm_r1(Completion(text=text), PLAIN)

    assert tail("<answer>[[A]]</answer>").label == "A"
    assert tail("[[A]] [[B]]").status == "conflicting"
    assert tail("[[A]]" + " " * 80).status == "no_verdict"
    assert tail("[[B]]" + "x" * 200 + "[[A]]").label == "A"


@given(
    text=st.text(alphabet="[]AB>=<tie 1\n/think", max_size=200),
    finish=st.sampled_from(["stop", "length"]),
)
def test_no_text_breaks_a_parser(text, finish):
    completion = Completion(text=text, finish=finish)
    for parser in PARSERS.values():
        for template in TEMPLATES.values():
            reading = parser(completion, template, 3)
            if template.kind == "choice":
                assert (reading.label is not None) == (reading.status in SCORED)
            if reading.span:
                start, end = reading.span
                assert text[start:end].startswith("[[")
                assert reading.tail_chars == len(text) - end


@given(text=st.text(max_size=100), label=st.sampled_from(["[[A]]", "[[B]]", "[[tie]]"]))
def test_a_verdict_on_a_line_of_its_own_is_always_read(text, label):
    reading = read(f"{text.replace('[', '(').replace('<', '(')}\n{label}")
    assert reading.label == PLAIN.labels[label]


def test_a_solution_that_was_only_thought_is_none():
    first = named("solve_first")
    text = "<think><solution>3</solution></think><solution> 4 </solution>[[A]]"
    assert read(text, first).solution == "4"
    assert read("<think><solution>3</solution></think>[[A]]", first).solution is None
