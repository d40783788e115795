"""Items with checked candidates: from tasks, from files, and what is refused or left out."""

import json

import pytest

from planish.methods.s2j.data import Item, Items, pair_items, task_items, undecided
from planish.records import BadInput, Verdict
from planish.tasks.chain import ChainTask
from planish.tasks.questions import QuestionTask

ROW = {"id": "q1", "question": "2 + 2?", "reply_a": "4", "reply_b": "5", "target": "4"}


def written(tmp_path, *rows, name="pairs.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def questions(tmp_path, rows):
    return QuestionTask(
        written(tmp_path, *({"split": "report"} | row for row in rows), name="questions.jsonl")
    )


# --- tasks -------------------------------------------------------------------------------------


def test_chains_with_one_right_and_with_two_wrong_candidates():
    items = task_items(ChainTask(3), split="report", limit=60, both_wrong=40, seed=0)
    assert (len(items.of("one_right")), len(items.of("both_wrong"))) == (60, 40)
    assert len({item.id for item in items.items}) == 100
    assert {item.case.gold for item in items.of("one_right")} == {"A", "B"}
    for item in items.of("one_right"):
        right = "AB".index(item.case.gold)
        assert items.verify(item, item.case.replies[right]) is True
        assert items.verify(item, item.case.replies[1 - right]) is False
        assert len(items.wrong_answers(item)) == 1
    for item in items.of("both_wrong"):
        assert item.case.gold is None
        assert [items.verify(item, reply) for reply in item.case.replies] == [False, False]
        assert len(items.wrong_answers(item)) == 2
    asked = {item.id: item.example.prompt for item in items.items}
    for id, prompt in asked.items():
        assert prompt == asked[id.removesuffix("#both-wrong")]


def test_the_same_seed_gives_the_same_items_and_a_smaller_limit_their_beginning():
    large, small = (
        task_items(ChainTask(3), split="report", limit=limit, seed=3) for limit in (30, 10)
    )
    assert large.items[:10] == small.items
    other = task_items(ChainTask(3), split="report", limit=10, seed=4)
    assert other.items != small.items
    assert len(task_items(ChainTask(2), split="report", limit=10_000)) < 100


def test_a_third_wrong_answer_fits_neither_candidate():
    items = task_items(ChainTask(3), split="report", limit=30, both_wrong=30)
    for item in items.items:
        found = items.other_wrong(item)
        assert found is not None
        assert items.verify(item, found) is False
        assert items.grade(item, found).extracted not in items.wrong_answers(item)


def test_answers_agree_whatever_the_words(tmp_path):
    rows = {"question": "1/2?", "target": "0.5", "split": "report"}
    items = task_items(QuestionTask(written(tmp_path, rows)), split="report", limit=1)
    (item,) = items.items
    assert items.agree(item, "So 0.5.", "\\frac{1}{2}")
    assert items.agree(item, "So 7.", "It is 7.")
    assert items.agree(item, "no idea", "no  idea")
    assert not items.agree(item, "So 7.", "So 8.")
    assert not items.agree(item, "no idea", "none")
    assert not items.agree(item, "", "7")


def test_mathematics_and_choices_from_a_file(tmp_path):
    task = questions(
        tmp_path,
        [
            {"id": "half", "question": "1/4 + 1/4?", "target": "\\frac{1}{2}"},
            {"id": "sum", "question": "2 + 2?", "target": 4},
            {
                "id": "pet",
                "question": "It barks?",
                "target": "dog",
                "choices": ["cat", "dog", "ox"],
            },
            {"id": "yes", "question": "Is it so?", "target": "yes", "choices": ["yes", "no"]},
        ],
    )
    items = task_items(task, split="report", limit=10, both_wrong=10)
    assert {item.id for item in items.of("one_right")} == {"half", "sum", "pet", "yes"}
    by_id = {item.id: item for item in items.items}
    assert items.verify(by_id["half"], "So 0.5.") is True
    assert items.verify(by_id["pet"], "The answer is (B).") is True
    assert items.verify(by_id["pet"], "The answer is (C).") is False
    # Two choices leave no second wrong one.
    assert items.dropped == {"no second wrong reply could be made up": ["yes"]}
    wrong = {item.id for item in items.of("both_wrong")}
    assert wrong == {"half#both-wrong", "sum#both-wrong", "pet#both-wrong"}
    for item in items.of("both_wrong"):
        assert [items.verify(item, reply) for reply in item.case.replies] == [False, False]
        assert len(items.wrong_answers(item)) == 2


class Broken(ChainTask):
    """A task whose grader can be spoiled."""

    spoil = "gold"

    def verify(self, example, reply):
        verdict = super().verify(example, reply)
        if self.spoil == "crash":
            raise ZeroDivisionError("no")
        return verdict.model_copy(update={"score": 0.0 if self.spoil == "gold" else 1.0})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("gold", "the gold answer fails its own verifier"),
        ("wrong", "a wrong answer passes the verifier"),
        ("crash", r"the verifier failed \(ZeroDivisionError: no\)"),
    ],
)
def test_a_task_that_cannot_grade_itself_is_refused_by_its_first_example(spoil, message):
    task = Broken(3)
    object.__setattr__(task, "spoil", spoil)
    with pytest.raises(BadInput, match=message) as stop:
        task_items(task, split="report", limit=3)
    assert "example chain:" in str(stop.value)


def test_no_example_is_refused(tmp_path):
    with pytest.raises(BadInput, match="has no example in 'report'"):
        task_items(
            QuestionTask(written(tmp_path, {"question": "?", "target": 1, "split": "train"})),
            split="report",
            limit=3,
        )


# --- verifying ---------------------------------------------------------------------------------


def test_a_verifier_that_fails_says_nothing_and_is_counted(monkeypatch):
    items = task_items(ChainTask(3), split="report", limit=2)
    monkeypatch.setattr(ChainTask, "verify", lambda *_: 1 / 0)
    assert items.verify(items.items[0], "7") is None
    assert items.unknown == {"the verifier failed (ZeroDivisionError: division by zero)": 1}


def test_a_text_without_an_answer_is_not_right_and_no_failure():
    items = task_items(ChainTask(3), split="report", limit=1)
    verdict = items.grade(items.items[0], "no idea")
    assert (verdict.score, undecided(verdict)) == (None, False)
    assert items.verify(items.items[0], "no idea") is False
    assert not items.unknown
    assert undecided(Verdict(score=None, why="math-verify failed (KeyError)"))
    assert not undecided(Verdict(score=0.0, why="math-verify failed"))


# --- files -------------------------------------------------------------------------------------


def test_pairs_are_sorted_by_what_their_replies_are_worth(tmp_path):
    items = pair_items(
        written(
            tmp_path,
            ROW,
            ROW | {"id": "q2", "gold": "A", "reply_a": "It is 4.", "reply_b": "4.5"},
            ROW | {"id": "q3", "reply_a": "6"},
            ROW | {"id": "q4", "gold": "B", "reply_b": "2 + 2 is 4"},
            {"id": "q5", "question": "Why?", "reply_a": "x", "reply_b": "y", "gold": "B"},
            {"id": "q6", "prompt": "2 + 3?", "chosen": "5", "rejected": "6", "target": 5},
        )
    )
    found = {item.id: (item.slice, item.case.gold) for item in items.items}
    q6 = found.pop("q6")
    assert q6[0] == "one_right"
    assert q6[1] in ("A", "B")
    assert found == {
        "q1": ("one_right", "A"),
        "q2": ("one_right", "A"),
        "q3": ("both_wrong", None),
        "q4": ("both_right", None),
        "q5": ("one_right", "B"),
    }
    assert [item.id for item in items.with_target] == ["q1", "q2", "q3", "q4", "q6"]
    assert items.verify(items.items[4], "x") is None
    assert not items.unknown


def test_labels_that_contradict_the_gold_answer_are_left_out_and_counted(tmp_path):
    bare = {"question": "Why?", "reply_a": "x", "reply_b": "y"}
    items = pair_items(
        written(
            tmp_path,
            ROW,
            ROW | {"id": "q2", "gold": "B"},
            ROW | {"id": "q3", "gold": "tie"},
            {"id": "q4", **bare, "gold": "tie"},
            {"id": "q5", **bare},
        )
    )
    assert [item.id for item in items.items] == ["q1"]
    assert items.dropped == {
        "the label and the gold answer disagree": ["q2", "q3"],
        "a tie has no right verdict": ["q4"],
        "neither a gold answer nor a label": ["q5"],
    }


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW, ROW | {"id": "q2", "reply_b": "4"}], "identical"),
        ([ROW, ROW | {"id": "q2", "target": "\\frac{"}], "the gold answer .* fails its own"),
        ([ROW | {"gold": "B"}], "no pair of 1 is left"),
        ([{"id": "q2", "prompt": "?", "chosen": "a", "rejected": ["b", "c"]}], "rejected"),
    ],
)
def test_pairs_that_cannot_be_used_are_refused_by_name(tmp_path, rows, message):
    if "target" in rows[-1] and "frac" in str(rows[-1]["target"]):
        rows[-1]["grader"] = "math"
    with pytest.raises(BadInput, match=message) as stop:
        pair_items(written(tmp_path, *rows))
    assert "pairs.jsonl" in str(stop.value)


def test_published_pairs_without_gold_keep_their_preference(judgebench_files):
    items = pair_items(judgebench_files[0], limit=20)
    assert len(items) == 20
    assert items.with_target == ()


def test_items_hold_what_they_say():
    items = task_items(ChainTask(2), split="report", limit=1)
    (item,) = items.items
    assert isinstance(items, Items)
    assert Item.model_validate_json(item.model_dump_json()) == item
    assert (len(items), items.source, item.example) == (1, "chain:2:+-", item.case.example)
