"""Detectors that ask once or not at all, what they read and what they refuse to guess."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from planish.cli import main
from planish.methods.mistakes.config import Detecting
from planish.methods.mistakes.data import (
    CATEGORIES,
    CATEGORY_NAMES,
    Diagnosed,
    Evidence,
    Observation,
    RunRecord,
    Search,
    Seen,
)
from planish.methods.mistakes.detecting import prompts
from planish.methods.mistakes.detecting.base import Failed
from planish.methods.mistakes.detecting.load import DETECTORS, load_detector
from planish.methods.mistakes.detecting.reading import Action, read_action, read_verdict
from planish.methods.mistakes.running.diagnosing import FAILURE
from planish.models.load import load
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Completion
from planish.runs import read_rows
from planish.tasks.sandbox import CallResult, dumps
from support import programs
from support.server import ChatServer

ONE = '{"category": "CE", "confidence": 0.7}'


def case(number=1, **update):
    """A failing program of `doubled` with evidence of two kinds."""
    call = CallResult(arguments=dumps(([7],)), status="value", value=dumps([]))
    fields = {
        "task": programs.task("doubled"),
        "run": RunRecord(task_id="doubled", run=number, code=programs.CODES["doubled"][1][1]),
        "observation": Observation(
            key=f"doubled||{number}",
            status="wrong_value",
            failing=(Seen(expected=dumps([14]), call=call),),
        ),
        "search": Search(tried=12),
        "evidence": (
            Evidence(rule="no repair", category="GC", strength=0.1, note="Nothing mends it."),
            Evidence(rule="shared relation", category="IOM", strength=0.9, note="A piece."),
        ),
    }
    return Failed(**(fields | update))


def says(*texts):
    """A model that says these in turn, and what it was asked."""
    got = []

    def answer(chat, seed, sample):
        got.append(chat)
        said = texts[(len(got) - 1) % len(texts)]
        return said if isinstance(said, Completion) else Completion(text=said)

    return ScriptedModel("says", answer), got


def detect(name, model, *cases, **dials):
    return load_detector(name, model, None, Detecting(**dials)).detect(list(cases))


# ---- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ranked"),
    [
        (ONE, (("CE", 0.7),)),
        (f"I think so.\n```json\n{ONE}\n```\nDone.", (("CE", 0.7),)),
        (f"~~~\n{ONE}\n~~~", (("CE", 0.7),)),
        (f"So: {ONE} and that is all.", (("CE", 0.7),)),
        ("{'category': 'conditional error', 'confidence': '70%',}", (("CE", 0.7),)),
        ('{"ranked": [["IOM", 0.2], ["ce", 0.7]]}', (("CE", 0.7), ("IOM", 0.2))),
        ('{"categories": {"Index Off Mistake": 1, "GC": 0}}', (("IOM", 1.0), ("GC", 0.0))),
        (f'<think>{{"category": "GC", "confidence": 1}}</think>{ONE}', (("CE", 0.7),)),
        (f"Let me think.</think>{ONE}", (("CE", 0.7),)),
        (f"<think>{ONE}</think>No.<think>Hm</think>\n~~~\n{ONE}", (("CE", 0.7),)),
        (f"{ONE}\n{ONE}", (("CE", 0.7),)),
        ('{"ranked": [{"category": "MLA", "confidence": 0.5},]}', (("MLA", 0.5),)),
    ],
)
def test_verdicts_are_read_in_many_forms(text, ranked):
    reading = read_verdict(text)
    assert (reading.ranked, reading.problem) == (ranked, "")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no verdict"),
        ("The category is CE with confidence 0.7.", "no verdict"),
        (f'{ONE} or {{"category": "GC", "confidence": 0.7}}', "disagree"),
        (f'{ONE} or {{"abstain": true}}', "disagree"),
        ('{"category": "XX", "confidence": 0.7}', "no category 'XX'"),
        ('{"category": "CE or GC", "confidence": 0.7}', "no category"),
        ('{"category": "CE"}', "confidence of CE"),
        ('{"category": "CE", "confidence": 70}', "confidence of CE"),
        ('{"category": "CE", "confidence": NaN}', "confidence of CE"),
        ('{"category": "CE", "confidence": true}', "confidence of CE"),
        ('{"category": "CE", "confidence": "high"}', "confidence of CE"),
        ('{"ranked": []}', "names no category"),
        ('{"ranked": [["CE", 0.5], ["Conditional Error", 0.6]]}', "names CE twice"),
        ('{"abstain": true, "category": "CE"}', "abstains and names"),
        (f"<think>{ONE}", "no verdict"),
    ],
)
def test_what_is_not_said_is_not_guessed(text, problem):
    reading = read_verdict(text)
    assert problem in reading.problem
    assert not reading.ranked


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('```\n{"action": "inspect_spec"}\n```', Action("inspect_spec")),
        ('{"action": "diff", "arguments": {"number": 1}}', Action("diff", {"number": 1})),
        ('{"action": "x"} {"action": "y"}', "2 actions were found, where one a turn is asked"),
        ('{"action": 3}', "the name of the action is no text"),
        ("[]", "no action was found"),
    ],
)  # fmt: skip
def test_actions_are_read_one_a_turn(text, told):
    assert read_action(text) == told


PIECES = st.sampled_from(
    ["{", "}", "[", "]", '"', "'", ",", ":", "```", "```json\n", "\n", "<think>", "</think>", " ",
     "category", "ranked", "confidence", "action", "CE", "GC", "0.5", "1e999", "\0", "\ud800", ONE]
)  # fmt: skip


@settings(deadline=None, max_examples=200)
@example("{" * 5_000)
@example('{"a":' * 5_000)
@example("[" * 30_000)
@example("{'a': " + "-" * 20_000 + "1}")
@example("`" * 60_000)
@example("```" + "\t" * 60_000)
@example("</think>" * 8_000)
@example("<think>" * 8_000)
@example("```\n" * 15_000)
@example("{" + "," * 60_000 + "}")
@example('{"category": "CE", "confidence": ' + "9" * 5_000 + "}")
@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=200))
def test_any_text_is_read_or_refused_at_once(text):
    began = time.process_time()
    reading = read_verdict(text)
    assert sum([bool(reading.ranked), reading.abstains, bool(reading.problem)]) == 1
    assert all(category in CATEGORIES and 0 <= told <= 1 for category, told in reading.ranked)
    assert isinstance(read_action(text), Action | str)
    assert time.process_time() - began < 2


RANKED = st.dictionaries(
    st.sampled_from(CATEGORIES), st.floats(0, 1, allow_subnormal=False), min_size=1
)


@settings(deadline=None, max_examples=60)
@given(
    RANKED, st.booleans(), st.sampled_from(["{}", "```json\n{}\n```", "Well. {} So.", "~~~\n{}"])
)
def test_what_was_written_is_what_is_read(told, by_name, frame):
    rows = [
        {"category": CATEGORY_NAMES[each] if by_name else each.lower(), "confidence": share}
        for each, share in told.items()
    ]
    reading = read_verdict(frame.replace("{}", json.dumps({"ranked": rows})))
    assert dict(reading.ranked) == told
    assert list(reading.ranked) == sorted(reading.ranked, key=lambda each: -each[1])


# ---- one call --------------------------------------------------------------------------------


def test_direct_sees_the_failure_and_no_evidence():
    model, got = says(ONE)
    (told,) = detect("direct", model, case())
    assert (told.category, told.calls, told.detector) == ("CE", 1, "direct")
    assert told.tokens > 100
    text = "".join(each.content for each in got[0])
    assert "wrong_value" in text
    assert "numbers[1:]" in text
    assert all(name in text for name in CATEGORY_NAMES.values())
    assert "Nothing mends it" not in text
    assert "[14]" not in text


def test_informed_sees_the_evidence_and_may_name_it():
    model, got = says('{"category": "IOM", "confidence": 0.8, "evidence": [2, 2, 9, "x"]}')
    (told,) = detect("evidence", model, case())
    assert (told.category, told.evidence, told.detector) == ("IOM", (1,), "evidence")
    text = got[0][1].content
    assert "arguments ([7],): expected [14], and it returns []" in text
    assert "1. speaks for GC with 0.10: Nothing mends it." in text
    assert "12 were tried" in text


def test_all_programs_are_asked_about_at_once():
    sizes = []
    model, _ = says(ONE)

    class Counting:
        name = revision = "counting"

        def generate(self, chats, sampling, *, watcher=None):
            sizes.append(len(chats))
            return model.generate(chats, sampling, watcher=watcher)

    other = RunRecord(task_id="doubled", run=2, code="def doubled(n):\n    return n\n")
    steps = []
    made = load_detector("direct", Counting(), None, Detecting())
    told = made.detect([case(), case(2, run=other), case()], lambda *step: steps.append(step))
    assert sizes == [2]
    assert [each.key for each in told] == ["doubled||1", "doubled||2", "doubled||1"]
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert made.detect([]) == []


def test_what_was_not_shown_cannot_be_cited():
    model, _ = says('{"category": "IOM", "confidence": 0.8, "evidence": [1, 2]}')
    (told,) = detect("direct", model, case())
    assert (told.category, told.evidence) == ("IOM", ())
    many = tuple(case().evidence[0] for _ in range(prompts.NOTES + 4))
    model, _ = says(json.dumps({"category": "GC", "confidence": 0.8, "evidence": [16, 17]}))
    (told,) = detect("evidence", model, case(evidence=many))
    assert told.evidence == (15,)


@pytest.mark.parametrize(
    ("said", "dials", "lost"),
    [
        (Completion(text="", finish="error"), {}, True),
        ("I cannot say.", {}, False),
        (ONE, {"tokens": 600}, False),
    ],
)
def test_a_call_that_was_lost_is_told_from_one_that_was_not_made(said, dials, lost):
    (told,) = detect("evidence", says(said)[0], case(), **dials)
    assert (told.abstained, told.lost) == (True, lost)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("I cannot say.", "holds no verdict"),
        (Completion(text="{", finish="length"), "cut at its budget"),
        (Completion(text="", finish="error"), "did not answer"),
        ('{"abstain": true, "why": "too little"}', "the model abstains: too little"),
        ('{"category": "CE", "confidence": 0.3}', "not sure enough: CE 0.30, where 0.45 is asked"),
    ],
)
def test_what_is_unread_or_unsure_is_an_abstention(said, why):
    model, _ = says(said)
    (told,) = detect("direct", model, case())
    assert (told.abstained, told.ranked, told.category) == (True, (), None)
    assert why in told.why


def test_a_call_that_may_cost_too_much_is_not_made():
    model, got = says(ONE)
    (told,) = detect("evidence", model, case(), tokens=600)
    assert (told.abstained, told.calls, told.tokens, got) == (True, 0, 0, [])
    assert "budget of 600 tokens" in told.why


def test_one_bad_chat_costs_no_other():
    def answer(chat, seed, sample):
        if "return n\n" in chat[1].content:
            raise BadInput("is refused", where="the model")
        return ONE

    other = RunRecord(task_id="doubled", run=2, code="def doubled(n):\n    return n\n")
    told = detect("direct", ScriptedModel("s", answer), case(2, run=other), case(), case(3))
    assert [each.abstained for each in told] == [True, False, False]
    assert told[0].why == "the model could not be asked: the model: is refused"


def test_the_rules_need_no_model():
    (told,) = detect("rules", None, case())
    assert (told.detector, told.calls) == ("rules", 0)
    assert told.abstained or told.category in CATEGORIES
    for name in DETECTORS[1:]:
        with pytest.raises(BadInput, match="asks a model"):
            load_detector(name, None, None, Detecting())
    with pytest.raises(BadInput, match="runs code"):
        load_detector("react", says(ONE)[0], None, Detecting())
    with pytest.raises(BadInput, match="known: rules, direct, evidence, react"):
        load_detector("oracle", None, None, Detecting())


@settings(deadline=None, max_examples=80)
@given(
    st.text(alphabet=st.characters(codec=None), max_size=60) | st.sampled_from(["```", "````\n"])
)
def test_texts_of_others_stay_in_their_block(text):
    block = prompts.block(text)
    fence, *lines = block.split("\n")
    assert lines[-1] == fence
    assert fence not in "\n".join(lines[:-1])
    block.encode()
    assert "\n" not in prompts.clean(text, 20)
    assert len(prompts.clean(text, 20)) <= 24
    assert len(prompts.shown(text * 40, 100)) < 180


def test_two_spaces_in_a_value_stay_two():
    assert prompts.value(dumps("a  b")) == "'a  b'"


# ---- for real --------------------------------------------------------------------------------


def test_a_checkpoint_that_knows_nothing_ends_in_abstentions(tmp_path_factory):
    from support.checkpoints import save_checkpoint

    folder = save_checkpoint(tmp_path_factory.mktemp("tiny") / "base", max_positions=8_192)
    model = load(f"hf:{folder}")
    for name in ("direct", "react"):
        made = load_detector(name, model, object(), Detecting(detect_max_tokens=4, calls=2))
        (told,) = made.detect([case()])
        assert told.abstained
        assert told.calls >= 1
    # A chat that is longer than its context.
    short = save_checkpoint(tmp_path_factory.mktemp("tiny") / "short", max_positions=256)
    (told,) = detect("direct", load(f"hf:{short}"), case(), detect_max_tokens=8)
    assert told.abstained
    assert "context" in told.why


def test_diagnose_asks_the_agent_and_plays_it_again(capsys, tmp_path):
    tasks, runs = programs.write(tmp_path, "doubled")
    fixed = ["--tasks", tasks, "--runs-dir", tmp_path / "made", "--detector", "react", "--json"]
    fixed += ["--inputs", 8, "--mutants", 0, "--seconds", 1, "--workers", 1, "--limit", 1]

    def call(*words):
        with pytest.raises(SystemExit) as stop:
            main(["mistakes", "diagnose", str(runs), *map(str, fixed), *map(str, words)])
        captured = capsys.readouterr()
        assert stop.value.code == 0, captured.err
        return json.loads(captured.out)

    with ChatServer(replies="detective:reply") as server:
        first = call("--model", f"openai:careful@{server.url}")
    replies = f"{first['run']}/artifacts/replies.jsonl"
    again = call("--model", f"replay:{replies}")
    told = [
        {row.id: row.read(Diagnosed).diagnosis for row in read_rows(each["run"], FAILURE)}
        for each in (first, again)
    ]
    assert told[0] == told[1]
    assert first["calls"] == again["calls"] == 5
    (diagnosis,) = told[0].values()
    assert (diagnosis.detector, diagnosis.category) == ("react", "IOM")
