"""Training items that stand in the report: by id, by question, by nearly the same question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges import Case
from planish.judges.overlap import (
    Asked,
    _runs,
    _words,
    check_disjoint,
    normal_question,
    overlaps,
)
from planish.judges.pairs import task_cases
from planish.judges.planted import planted_cases
from planish.records import BadInput, Example, user
from planish.tasks.chain import ChainTask

LONG = (
    "A farmer has twelve brown hens and four white ducks, and every bird lays one egg each "
    "morning before the sun is up; how many eggs are in the basket at noon?"
)
CHINESE = (
    "一个农夫有十二只母鸡和四只鸭子，每只家禽每天早晨都会下一个蛋，请问中午篮子里一共有多少个蛋？"
)


def case(question, id="x"):
    return Case(example=Example(id=id, prompt=user(question)), replies=("a", "b"))


def why(question, report, **options):
    found = overlaps([case(question, "train")], [case(report, "report")], **options)
    return found[0].why if found else None


@pytest.mark.parametrize(
    ("question", "report", "expected"),
    [
        ("What is 2 + 2?", "what is 2 + 2", "same question"),
        ("What is 2 + 2?", "What is 2 - 2?", None),
        ("What is 2 − 2?", "What is 2 - 2?", "same question"),
        ("Ｗhat’s up", "what's  up?", "same question"),
        ("3 + 4 - 5", "3 + 4 - 6", None),
        ("3 + 4 - 5", "3 + 4 - 5", "same question"),
        ("Name the capital of France.", "Name the capital of Spain.", None),
        (LONG, LONG.replace("brown ", ""), "nearly the same question"),
        (LONG, LONG.replace("farmer", "Farmer") + " Please answer.", "nearly the same question"),
        (LONG, "Please add up all eggs that a farmer's birds lay in a day.", None),
        (CHINESE, CHINESE.replace("农夫", "农民"), "nearly the same question"),
        (CHINESE, "请把下面这段话翻译成英文，并且解释其中每一个成语的意思和来历。", None),
        ("", "!!!", None),
        ("!!!", "!!!", "same question"),
    ],
)
def test_what_counts_as_the_same(question, report, expected):
    assert why(question, report) == expected


def test_the_same_id_is_the_same_item():
    [found] = overlaps([case("one", "7")], [case("two", "7")])
    assert found.why == "same id"
    assert found.report_id == "7"


def why_row(prompt, report, question=None):
    found = overlaps([Asked("row", question, prompt)], [case(report, "report")])
    return found[0].why if found else None


@pytest.mark.parametrize(
    ("prompt", "report", "expected"),
    [
        ("Which reply is better?\n\nWhat is 2 + 2?\n\nA: 4", "what is 2 + 2", "holds"),
        ("What is 2 + 2 + 2?", "What is 2 + 2?", None),
        ("What is 2 + 2?", "What is 2 + 2?", "same question"),
        ("3 + 4 - 5 7 2 | 7 3 V", "3 + 4 - 5", "holds"),
        ("3 + 4 - 5 7 2 | 7 3 V", "4 - 5", None),
        ("3 + 4 - 5 7 2 | 7 3 V", "3 + 4", None),
        ("3 + 4 - 5 7 2 | 7 3 V", "3 + 4 - 6", None),
        ("Is it so? Why? Which is better?", "Why?", None),
        ("Why?", "Why?", "same question"),
        (f"Judge.\n\n{LONG}\n\nA: 9\n\nB: 10", LONG, "holds"),
        (f"Judge.\n\n{LONG}\n\nA: 9\n\nB: 10", LONG.replace("brown ", ""), "nearly holds"),
        (f"请判断。{CHINESE}甲：九。乙：十。", CHINESE.replace("农夫", "农民"), "nearly holds"),
        (f"Judge. {LONG[:60]} A: 9 B: 10", LONG, None),
        ("", LONG, None),
    ],
)
def test_a_prompt_is_searched_where_the_question_is_not_told(prompt, report, expected):
    found = why_row(prompt, report)
    assert (found is None) == (expected is None)
    assert expected is None or expected in found


def test_a_told_question_counts_and_not_what_stands_around_it():
    prompt = f"An example: {LONG} Now judge this: 1 + 1?"
    assert why_row(prompt, LONG, question="1 + 1?") is None
    assert why_row("anything", LONG, question=LONG.replace("brown ", "")) is not None


@given(
    st.lists(st.sampled_from(["one", "two", "3", "+", "-"]), min_size=3, max_size=6),
    st.lists(st.lists(st.sampled_from(["one", "two", "3", "+", "-"]), max_size=9), max_size=5),
)
def test_the_search_finds_what_reading_every_place_finds(question, prompts):
    report = [case(" ".join(question), "report")]
    for prompt in prompts:
        around = ["", *_words(" ".join(prompt)), ""]
        wanted = _words(" ".join(question))
        size = len(wanted)
        expected = size >= 3 and any(
            around[place : place + size] == wanted
            and not {around[place - 1], around[place + size]} & {"+", "-"}
            for place in range(1, len(around) - size)
        )
        expected |= normal_question(" ".join(prompt)) == normal_question(" ".join(question))
        assert bool(overlaps([Asked("row", None, " ".join(prompt))], report)) == expected


def test_a_higher_share_asks_for_more_likeness():
    near = LONG.replace("brown ", "").replace("white ", "")
    assert why(LONG, near, near=0.7) == "nearly the same question"
    assert why(LONG, near, near=0.95) is None
    # One word of fourteen is the least that the default finds.
    words = [f"{letter}word" for letter in "abcdefghijklmn"]
    changed = [*words[:6], "other", *words[7:]]
    assert why(" ".join(changed), " ".join(words)) == "nearly the same question"
    assert why(" ".join(changed[1:]), " ".join(words[1:])) is None


def test_the_complaint_holds_the_count_and_the_first():
    report = [case(LONG, "r1"), case("What is 2 + 2?", "r2")]
    train = [case("free", "t0"), case("WHAT IS 2 + 2", "t1"), case(LONG + " Now.", "t2")]
    with pytest.raises(BadInput) as error:
        check_disjoint(train, report, source="report.jsonl")
    assert str(error.value).startswith("report.jsonl: 2 of 3 items")
    assert "t1 (report item r2: same question)" in str(error.value)
    check_disjoint(train[:1], report, source="report.jsonl")


def test_splits_of_a_task_and_planted_questions_do_not_touch():
    task = ChainTask(num_operands=3)
    train = task_cases(task, split="train", limit=1000)
    assert not overlaps(train, task_cases(task, split="report", limit=500))
    long = ChainTask(num_operands=8)
    train = task_cases(long, split="train", limit=300)
    assert not overlaps(train, task_cases(long, split="report", limit=300))
    assert not overlaps(planted_cases(200, 0), planted_cases(200, 1))


@given(
    st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=12, max_size=16), max_size=8),
    st.lists(st.lists(st.sampled_from("abcdefgh"), min_size=12, max_size=16), max_size=8),
    st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.9, 1.0]),
    st.randoms(use_true_random=False),
)
def test_the_index_finds_what_comparing_all_with_all_finds(train, report, near, draw):
    # Half of the training questions are report questions with a word changed.
    for words in report[::2]:
        changed = list(words)
        changed[draw.randrange(len(changed))] = draw.choice("abcdefgh")
        train.append(changed)
    texts = [" ".join(words) for words in train]
    others = [" ".join(words) for words in report]
    found = {
        o.item_id
        for o in overlaps(
            [case(text, f"t{i}") for i, text in enumerate(texts)],
            [case(text, f"r{i}") for i, text in enumerate(others)],
            near=near,
        )
    }
    for index, text in enumerate(texts):
        mine = set(_runs(_words(text)))
        expected = any(
            normal_question(text) == normal_question(other)
            or len(mine & set(_runs(_words(other))))
            >= near * len(mine | set(_runs(_words(other)))) - 1e-9
            for other in others
        )
        assert (f"t{index}" in found) == expected
