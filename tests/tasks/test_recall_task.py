"""Recall as a task: it proves its grader, tells its splits apart and survives any reply."""

import json
import os
import subprocess
import sys
import time
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.records import BadInput
from planish.tasks.base import SPLITS, Task, prove
from planish.tasks.load import load_task
from planish.tasks.recall import EXTRA, FAMILIES, RULER, RecallTask

ALL = RecallTask("all", 160)
numbers = st.integers(0, 831).map(str)


@lru_cache(maxsize=64)
def examples(task, split="report", limit=15, seed=0):
    return tuple(task.examples(split, limit, seed))


def one(family, length=200):
    [example] = examples(RecallTask(family, length), limit=1)
    return RecallTask(family, length), example


@pytest.mark.parametrize(("length", "limit"), [(96, 8), (97, 2), (640, 2)])
@pytest.mark.parametrize("family", [*FAMILIES, "drill"])
def test_the_grader_proves_itself(family, length, limit):
    task = RecallTask(family, length)
    assert isinstance(task, Task)
    assert prove(task, limit=limit) == limit


@pytest.mark.parametrize("length", [2048, 4096])
def test_the_grader_proves_itself_on_long_documents(length):
    task = RecallTask("all", length)
    assert prove(task, split="train", limit=len(FAMILIES)) == len(FAMILIES)


def test_splits_never_overlap_and_are_told_by_the_text():
    texts = {
        split: {example.prompt[-1].content for example in examples(ALL, split, 45)}
        for split in SPLITS
    }
    assert all(len(found) == 45 for found in texts.values())
    assert len(set().union(*texts.values())) == 135
    ids = {example.id for split in SPLITS for example in examples(ALL, split, 45)}
    assert len(ids) == 135


@pytest.mark.parametrize("spec", ["vt", "vt+cwe+qa_1", "all"])
def test_a_smaller_limit_draws_a_prefix(spec):
    task = RecallTask(spec, 120)
    whole = examples(task, "gate", 20)
    for limit in (0, 1, 7, 19):
        assert tuple(task.examples("gate", limit)) == whole[:limit]
    assert examples(task, "gate", 20, seed=1) != whole


def test_families_come_in_turns():
    order = [example.meta["family"] for example in examples(RecallTask("qa_1+vt", 120), limit=5)]
    assert order == ["qa_1", "vt", "qa_1", "vt", "qa_1"]
    assert [example.meta["family"] for example in examples(ALL, limit=30)] == [*FAMILIES] * 2
    # What a family gives does not hang on what it is asked with.
    alone = examples(RecallTask("vt", 120), limit=2)
    assert alone == examples(RecallTask("qa_1+vt", 120), limit=5)[1::2]


@pytest.mark.parametrize(
    ("family", "stands_for"),
    [
        ("ruler", tuple(RULER)),
        ("extra", tuple(EXTRA)),
        ("all", tuple(FAMILIES)),
        ("vt+extra", ("vt", *EXTRA)),
        ("drill", ("drill",)),
        ("vt+vt", ("vt",)),
        ("vt+ruler", ("vt", *(name for name in RULER if name != "vt"))),
    ],
)
def test_names_stand_for_families_each_of_them_once(family, stands_for):
    task = RecallTask(family, 96)
    assert task.families == stands_for
    limit = 2 * len(stands_for)
    assert prove(task, split="train", limit=limit) == limit  # no id comes twice


FINGERPRINT = """
import hashlib
from planish.tasks.recall import RecallTask
task, digest = RecallTask("all", 160), hashlib.sha256()
for example in task.examples("gate", 15, seed=3):
    digest.update(f"{example.model_dump_json()} {task.wrong(example)}".encode())
print(digest.hexdigest())
"""


def test_every_process_draws_the_same():
    told = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }  # fmt: skip
    assert len(told) == 1
    assert len(told.pop().strip()) == 64


def test_drills_are_in_no_family_that_is_evaluated():
    assert not any("drill" in RecallTask(name, 96).families for name in ("ruler", "extra", "all"))


def test_an_example_tells_what_it_needs_from_where():
    for example in examples(ALL):
        text, answer = example.prompt[-1].content.split(), str(example.target).split()
        assert len(text) == example.meta["length"] == 160
        assert example.meta == json.loads(json.dumps(example.meta))
        if example.meta["family"] in ("cwe", "fwe"):
            assert example.meta["needs"] == [[0, -1, text.index("?")]]
            continue
        number = len(answer) // 8
        for record, (place, start, words) in enumerate(example.meta["needs"][:number]):
            assert (place, words) == (8 * record, 8)
            assert text[start : start + words] == [";", *answer[place + 1 : place + words]]


def test_an_answer_needs_the_words_of_the_question_that_say_what_comes_next():
    for example in examples(ALL):
        if example.meta["family"] in ("cwe", "fwe"):
            continue
        text, answer = example.prompt[-1].content.split(), str(example.target).split()
        behind = len(answer) // 8
        asked = {place: text[start : start + words] for place, start, words in
                 example.meta["needs"][behind:]}  # fmt: skip
        question = text[text.index("?") :]
        if {"*", "+"} & set(question):  # one more, or the end
            assert asked == dict.fromkeys(range(0, len(answer), 8), question[1:3])
        else:  # a mark and its key; of a chain only the first is asked for
            marks = [word for word in question if word.startswith("#")]
            assert [words[0] for words in asked.values()] == marks
            assert all(answer[place : place + 3] == words for place, words in asked.items())


def test_a_reader_that_was_not_taught_is_told_the_rules():
    system, asked = examples(ALL)[0].prompt
    assert (system.role, asked.role) == ("system", "user")
    for word in ("`;", "points to", "`%`", "`&`", "256 to 259", "256 to 267", "#0"):
        assert word in system.content


@pytest.mark.parametrize("family", FAMILIES)
def test_partial_credit_is_the_share_of_the_references(family):
    task, example = one(family)
    references = example.meta["references"]
    size = 8 if family not in ("cwe", "fwe") else 1
    words = task.gold(example).split()
    start = 0 if size == 8 else 1
    for kept in range(1, len(references) + 1):
        reply = " ".join(words[: start + size * kept])
        verdict = task.verify(example, reply)
        assert verdict.score == pytest.approx(kept / len(references))
        assert (verdict.why == "") == (kept == len(references))
        assert verdict.by == task.name
    if len(references) > 1:  # the last alone counts as one, too
        reply = " ".join(references[-1].split())
        assert task.verify(example, reply).score == pytest.approx(1 / len(references))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_wrong_reply_is_read_and_never_passes(family):
    task = RecallTask(family, 120)
    for example in examples(task, limit=8):
        score = task.verify(example, task.wrong(example)).score
        assert score is not None
        assert score < 1.0
        assert task.wrong(example) == task.wrong(example)


@pytest.mark.parametrize(
    "spelled",
    [
        "{0}, {1}, {2}, {3}",
        "{0},{1},{2},{3}",
        "{0}\n{1}\n{2}\r\n{3}\n",
        "[{0}; {1}; {2}; {3}]",
        "**{0} {1} {2} {3}**",
        "| {0} | {1} | {2} | {3} |",
        "<answer>{0} {1} {2} {3}</answer>",
        r"\boxed{{{0}, {1}, {2}, {3}}}",
        '{{"value": ["{0}", "{1}", "{2}", "{3}"]}}',
        "The value is:{0} {1} {2} {3}!",
        "“{0} {1} {2} {3}”",
        "- {0}\n- {1}\n- {2}\n- {3}",
        "\t{0}\u00a0{1}\u2003{2}\u3000{3}.",
    ],
)
def test_numbers_are_found_however_they_are_set(spelled):
    task, example = one("niah_single_2")
    [reference] = example.meta["references"]
    assert task.verify(example, spelled.format(*reference.split())).score == 1.0
    swapped = [*reference.split()[1:], "0"]
    assert task.verify(example, spelled.format(*swapped)).score == 0.0


def test_numbers_have_to_be_whole_in_order_and_together():
    task, example = one("niah_single_2")
    one_, *rest = example.meta["references"][0].split()
    for reply in (
        f"1{one_} {' '.join(rest)}",
        f"{one_} {' '.join(rest)}0",
        f"{one_} 640 {' '.join(rest)}",
        f"{one_} and {' '.join(rest)}",
        f"x{one_} {' '.join(rest)}",
        "".join([one_, *rest]),
        " ".join([*rest[::-1], one_]) + " 0",
    ):
        assert task.verify(example, reply).score == 0.0, reply


@pytest.mark.parametrize(
    "reply", ["", " \n", "I do not know.", "#", "; = * *", "x1 a2b", "٤٠١ ٤٠٢", "²³", "४०१", "Ⅻ"]
)
def test_a_reply_without_a_number_is_wrong(reply):
    task, example = one("vt")
    verdict = task.verify(example, reply)
    assert (verdict.score, verdict.why) == (0.0, "no number in the reply")


@settings(max_examples=100)
@given(
    st.one_of(
        st.text(),
        st.text(alphabet="\"'`“”()[]{}<>#;=*:?0123456789 \n\\"),
        st.lists(st.one_of(numbers, st.sampled_from([";", "=", "*", "#0", "?"]))).map(" ".join),
        st.text(alphabet=st.characters(categories=["Cs", "Nd", "Zs", "Cc"])),
    ),
    st.sampled_from(range(len(FAMILIES))),
)
def test_any_reply_has_a_share(reply, number):
    example = examples(ALL)[number]
    verdict = ALL.verify(example, reply)
    hits = len(example.meta["references"]) * verdict.score
    assert hits == pytest.approx(round(hits))
    assert 0.0 <= verdict.score <= 1.0
    assert len(verdict.extracted or "") <= 2000
    # Whatever else is said, the gold answer's words count.
    assert ALL.verify(example, f"{reply}\n{ALL.gold(example)}").score == 1.0


@pytest.mark.parametrize("unit", ["7 ", "7", "(", "\"'", "#0 7 300 = ", "é", "\n", "[[["])
def test_megabytes_are_read_at_once(unit):
    task, example = one("topic_switch")
    reply = unit * (1_000_000 // len(unit))
    started = time.process_time()
    verdict = task.verify(example, f"{reply} {task.gold(example)}")
    assert time.process_time() - started < 2
    assert verdict.score == 1.0
    assert len(verdict.extracted) <= 2000


def test_a_string_names_the_task():
    assert load_task("recall") == RecallTask() == RecallTask("ruler", 2048)
    assert load_task("recall:vt") == RecallTask("vt", 2048)
    assert load_task("recall:vt+qa_2:1024") == RecallTask("vt+qa_2", 1024)
    for spec in ("recall:all:96", "recall:extra:1048576", "recall:vt+cwe:300"):
        assert load_task(spec).name == spec
        assert load_task(load_task(spec).name) == load_task(spec)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("recall:", "cannot read 'recall:'; write it like recall:vt:4096"),
        ("recall::", "cannot read 'recall::'"),
        ("recall::100", "cannot read 'recall::100'"),
        ("recall:vt:", "cannot read 'recall:vt:'"),
        ("recall:vt:99999999999", "cannot read 'recall:vt:99999999999'"),
        ("recall:vt:" + "9" * 5000, "cannot read 'recall:vt:9999"),
        ("recall:vt:-96", "cannot read"),
        ("recall:vt:1e3", "cannot read"),
        ("recall:vt:1_000", "cannot read"),
        ("recall:vt: 100", "cannot read"),
        ("recall:vt:100:1", "cannot read"),
        ("recall:vt:١٠٠", "cannot read 'recall:vt:١٠٠'"),
        ("recall:vt:²", "cannot read"),
        ("recall:vt:1\n00", "cannot read"),
        ("recall:vt:95", "95 words; give 96 to 1048576"),
        ("recall:vt:0", "0 words; give 96"),
        ("recall:vt:1048577", "1048577 words; give 96 to 1048576"),
        ("recall:nope:100", "no family is called 'nope'; use niah_single_1, "),
        ("recall:VT:100", "no family is called 'VT'"),
        ("recall:vt+:100", "no family is called ''"),
        ("recall:+:100", "no family is called ''"),
        ("recall:vt,cwe", "no family is called 'vt,cwe'"),
        ("recall:a\nb", r"no family is called 'a\nb'"),
        ("recall:" + "x" * 5000, "no family is called 'xxxx"),
        ("recal", "recall[:FAMILY[:WORDS]]"),
    ],
)
def test_what_is_no_recall_task_is_told_in_one_line(spec, complaint):
    with pytest.raises(BadInput) as error:
        load_task(spec)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@settings(max_examples=100)
@given(st.text())
def test_any_string_is_a_task_or_bad_input(rest):
    try:
        assert isinstance(load_task(f"recall:{rest}"), RecallTask)
    except BadInput as error:
        told = str(error)
        assert len(told.splitlines()) == 1


@pytest.mark.parametrize(("split", "limit"), [("test", 1), ("report", -1)])
def test_what_cannot_be_drawn_is_refused_at_once(split, limit):
    with pytest.raises(BadInput, match="recall:all:160"):
        ALL.examples(split, limit)
