"""Questions from a file: what is read, how they are spread, graded, and refused."""

import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.records import BadInput, Example, Message, user
from planish.tasks import mathematics
from planish.tasks.base import SPLITS, Task, prove, split_of
from planish.tasks.chain import ChainTask
from planish.tasks.countdown import CountdownTask
from planish.tasks.grading import default_grader, grade
from planish.tasks.load import load_task
from planish.tasks.mathematics import can_parse, same_answer
from planish.tasks.questions import QuestionTask
from planish.tasks.recall import RecallTask
from planish.tasks.routes import RoutesTask

MIXED = [
    {"question": "What is 2 + 2?", "target": "4"},
    {"question": "A half of 1,000?", "answer": 500},
    {"question": "A quarter?", "answer": 0.25},
    {"question": "Eggs?", "answer": "She has 16 - 7 = 9 left.\n#### 18"},
    {"question": "Integrate x.", "target": r"\frac{x^2}{2}"},
    {"question": "Solve.", "target": r"$\{1, 2\}$"},
    {"question": "Where?", "target": "(3, \\frac{\\pi}{2})"},
    {"question": "Expand.", "target": "x^2 + 2x + 1"},
    {"question": "Capital of France?", "target": "Paris"},
    {"question": "When?", "target": "2024-01-05"},
    {"question": "Which? (A) one (B) two", "target": "B"},
    {"question": "Pick.", "choices": ["red", "green", "blue"], "target": "green"},
    {"question": "Count.", "choices": ["one", "two", "three", "four"], "answer": 2},
    {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "7?"}]}
    | {"target": "-7"},
]


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def all_of(task):
    return [
        example for split in SPLITS for example in task.examples(split, task.capped(split, 10**6))
    ]


@pytest.fixture
def mixed(tmp_path):
    return QuestionTask(write(tmp_path / "mixed.jsonl", MIXED))


def example_of(target, **meta):
    return Example(id="one", prompt=user("?"), target=target, meta=meta)


def test_every_grader_proves_itself(tmp_path):
    rows = [row | {"split": split} for split in SPLITS for row in _renamed(MIXED, split)]
    task = QuestionTask(write(tmp_path / "mixed.jsonl", rows))
    assert isinstance(task, Task)
    for split in SPLITS:
        assert prove(task, split=split, limit=len(MIXED)) == len(MIXED)


def _renamed(rows, name):
    """The same rows with a question of their own for every split."""
    for row in rows:
        if "question" in row:
            yield row | {"question": f"{name}: {row['question']}"}
        else:
            *before, last = row["prompt"]
            yield row | {"prompt": [*before, last | {"content": f"{name}: {last['content']}"}]}


def test_the_target_tells_the_grader(mixed):
    graders = {e.id: (e.meta["grader"], e.target) for e in all_of(mixed)}
    assert [graders[f"mixed.jsonl:{n}"] for n in range(1, len(MIXED) + 1)] == [
        ("math", "4"),
        ("math", "500"),
        ("math", "0.25"),
        ("math", "18"),
        ("math", r"\frac{x^2}{2}"),
        ("math", r"$\{1, 2\}$"),
        ("math", "(3, \\frac{\\pi}{2})"),
        ("math", "x^2 + 2x + 1"),
        ("exact", "Paris"),
        ("exact", "2024-01-05"),
        ("choice", "B"),
        ("choice", "B"),
        ("choice", "C"),
        ("math", "-7"),
    ]


@pytest.mark.parametrize(
    ("target", "grader"),
    [
        *((target, "exact") for target in ("C++", "12 apples", "yes", "K", "a", "x", "3:45", "-")),
        *((target, "math") for target in ("50%", "$5", r"\sqrt{2}", "x=3", "1/3", "x^2", "1,000")),
        *((target, "choice") for target in "AJ"),
    ],
)
def test_other_targets(target, grader):
    assert default_grader(target) == grader


def test_choices_stand_below_the_question_unless_it_holds_them(mixed, tmp_path):
    by_id = {e.id: e for e in all_of(mixed)}
    assert by_id["mixed.jsonl:12"].prompt == user("Pick.\n\n(A) red\n(B) green\n(C) blue")
    assert by_id["mixed.jsonl:14"].prompt[0] == Message(role="system", content="Be brief.")
    row = {"question": "red or blue?", "choices": ["red", "blue"], "target": "A"}
    (example,) = all_of(QuestionTask(write(tmp_path / "one.jsonl", [row])))
    assert example.prompt == user("red or blue?")


def test_the_formats_hold_the_same_rows(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [{"id": f"q{n}", "question": f"{n} + 1?", "target": str(n + 1)} for n in range(50)]
    rows += [{"id": "c", "question": "?", "target": "A", "choices": ["x", "y"], "split": "gate"}]
    rows = rows[::-1]  # the first row names parquet's columns
    table = pyarrow.Table.from_pylist(rows)
    parquet.write_table(table, tmp_path / "q.parquet")
    plain = all_of(QuestionTask(write(tmp_path / "q.jsonl", rows)))
    assert all_of(QuestionTask(write(tmp_path / "q.jsonl.gz", rows))) == plain
    # Parquet fills the columns of every row.
    assert all_of(QuestionTask(tmp_path / "q.parquet")) == plain


def test_chats_from_parquet_have_no_empty_fields(tmp_path):
    import pyarrow
    from pyarrow import parquet

    rows = [
        {"prompt": [{"role": "user", "content": "1?", "name": None}], "target": 1},
        {"prompt": [{"role": "user", "content": "2?", "name": None}], "target": 2},
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "q.parquet")
    assert {e.prompt for e in all_of(QuestionTask(tmp_path / "q.parquet"))} == {
        user("1?"),
        user("2?"),
    }


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    rows = [{"question": f"What is {n} + {n}?", "target": 2 * n} for n in range(1000)]
    return QuestionTask(write(tmp_path_factory.mktemp("many") / "many.jsonl", rows))


def test_rows_are_spread_by_their_text_alone(many, tmp_path):
    sizes = {split: many.capped(split, 10**6) for split in SPLITS}
    assert sum(sizes.values()) == 1000
    assert 550 < sizes["train"] < 650
    assert 160 < sizes["gate"] < 240
    for split in SPLITS:
        for example in many.examples(split, 50):
            assert split_of(example.prompt[0].content.casefold()) == split
    fewer = [{"question": f"what is  {n} + {n}?", "target": 2 * n} for n in range(500, 600)]
    task = QuestionTask(write(tmp_path / "fewer.jsonl", fewer))
    for split in SPLITS:
        before = {e.target for e in many.examples(split, sizes[split])}
        assert {e.target for e in task.examples(split, task.capped(split, 100))} <= before


def test_half_a_surrogate_pair_has_a_split_too(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"question": f"what is {n} \ud800?", "target": n} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = QuestionTask(path)
    assert sum(task.capped(split, 40) for split in SPLITS) == 40


def test_the_same_question_is_in_one_split_whatever_its_rows_say(tmp_path):
    rows = [
        {"question": "Colour?", "target": "red"},
        {"question": "colour? ", "target": "blue", "choices": ["red", "blue"]},
        {"question": "Colour?", "target": "Blue", "split": "report"},
    ]
    task = QuestionTask(write(tmp_path / "q.jsonl", rows))
    assert task.capped("report", 9) == 3


@given(st.integers(0, 100), st.integers(0, 100), st.sampled_from(SPLITS))
def test_a_draw_is_the_same_again_and_a_smaller_one_is_its_prefix(many, seed, limit, split):
    long = list(many.examples(split, 100, seed))
    assert list(many.examples(split, limit, seed)) == long[:limit]
    assert len({example.id for example in long}) == 100


def test_seeds_draw_differently_and_more_than_there_is_is_told(many):
    one, other = (list(many.examples("gate", 50, seed)) for seed in (0, 1))
    assert one != other
    held = many.capped("gate", 10**6)
    with pytest.raises(BadInput, match=rf"{held + 1} examples asked, but 'gate' has only {held}"):
        many.examples("gate", held + 1)
    with pytest.raises(BadInput, match="no split is called 'test'"):
        many.examples("test", 1)
    with pytest.raises(BadInput, match="ask for at least 0"):
        many.examples("gate", -1)


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("B", "B"),
        ("b.", "B"),
        ("**B**", "B"),
        ("(B)", "B"),
        ("I think it is (C). Wait, no, (B)", "B"),
        ("The answer is B", "B"),
        ("The answer is A because it floats.", "A"),
        ("the answer is (B). Note that (A) and (C) are wrong.", "B"),
        ("Answer: **B**", "B"),
        ("Final answer: option D", "D"),
        (r"So $\boxed{B}$", "B"),
        (r"So \boxed{\text{(B)}}.", "B"),
        ("A\n\nno, rather\nB\n", "B"),
        ("The answer is a good one.", None),
        ("Answer: I cannot tell (B)", "B"),
        ("Answer: I'm not sure.", None),
        ("A good question. I pass.", None),
        ("Option C is right", "C"),
        ("the answer should be E", "E"),
        ("", None),
        ("()[]{}" * 10_000, None),
        ("answer is (" * 50_000, None),
        ("* " * 100_000, None),
    ],
)
def test_choices_of_real_models_are_read(reply, choice):
    started = time.monotonic()
    verdict = grade(example_of("B"), reply)
    assert (verdict.extracted, verdict.score) == (
        choice,
        None if choice is None else float(choice == "B"),
    )
    assert bool(verdict.why) == (verdict.score != 1.0)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("target", "reply", "score"),
    [
        ("18", "18", 1.0),
        ("18", "It costs 17, or rather 18.00 dollars.", 1.0),
        ("18", "#### 18", 1.0),
        ("1000", "1,000", 1.0),
        ("$1,000", r"\boxed{1000}", 1.0),
        ("18", r"\boxed{19}", 0.0),
        ("18", "18.5", 0.0),
        ("-7", r"\boxed{7}", 0.0),
        (r"\frac{1}{2}", "0.5", 1.0),
        ("0.5", r"so it is $\frac{1}{2}$", 1.0),
        ("0.333333", "0.3333333", 1.0),
        ("50%", "0.5", 1.0),
        ("x^2 + 2x + 1", "$(x+1)^2$", 1.0),
        ("x^2 + 2x + 1", "$(x-1)^2$", 0.0),
        (r"\{1, 2\}", r"$\{2, 1\}$", 1.0),
        ("(1, 2)", r"\boxed{(2, 1)}", 0.0),
        ("18", "I cannot say.", None),
        ("18", "", None),
        ("18", " \n", None),
        ("18", "\ud800", None),
        ("18", "1 " * 200_000 + r"\boxed{18}", 1.0),
        ("18", "\\boxed{" * 50_000, None),
        ("18", "$" * 100_000, None),
    ],
)
def test_mathematics(target, reply, score):
    verdict = grade(example_of(target, grader="math"), reply, by="me")
    assert verdict.score == score, verdict
    assert verdict.by == "me"
    assert bool(verdict.why) == (score != 1.0)


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("Paris", 1.0),
        (" pArIs \n\n", 1.0),
        ("It is on the Seine:\nParis", 1.0),
        ("Rome", 0.0),
        ("Paris\nor Rome", 0.0),
        ("", None),
        ("\n \n", None),
    ],
)
def test_exact_words(reply, score):
    assert grade(example_of("Paris"), reply).score == score


def test_exact_words_of_several_lines_are_the_whole_reply():
    assert grade(example_of("to be\nor not", grader="exact"), "To be\n or  not").score == 1.0


@given(st.text(), st.sampled_from(["choice", "exact"]))
def test_grading_never_raises_and_only_the_unreadable_is_unscored(reply, grader):
    verdict = grade(example_of("B", grader=grader), reply)
    assert verdict.score in (0.0, 1.0, None)
    assert (verdict.score is None) == (verdict.extracted is None)
    if grader == "exact":
        assert (verdict.score is None) == (not reply.strip())


@given(st.integers(-(10**30), 10**30), st.integers(-(10**30), 10**30))
def test_whole_numbers_are_compared_by_value(target, reply):
    for text in (f"{reply}", f"\\boxed{{{reply:,}}}", f"I get\n#### {reply}."):
        assert same_answer(str(target), text).score == float(target == reply)


def test_a_hostile_answer_is_unscored_in_time_and_the_next_one_is_graded(monkeypatch):
    monkeypatch.setattr(mathematics, "_PATIENCE", 1.5)
    assert same_answer("18", r"so $\frac{36}{2}$").score == 1.0  # the child is up
    started = time.monotonic()
    verdict = same_answer("18", "$9^{9^{9^{9^9}}}$")
    assert time.monotonic() - started < 5
    assert verdict.score is None
    assert verdict.why == "the answer takes too much time or memory to check"
    assert same_answer("18", r"so $\frac{36}{2}$").score == 1.0


@pytest.mark.slow
def test_the_time_limit_of_math_verify_itself_leaves_it_unscored():
    assert same_answer("18", "$9^{9^{9^{9^9}}}$").score is None


def test_threads_take_turns():
    replies = [rf"$\frac{{{2 * n}}}{{2}}$" for n in range(40)]
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda reply: same_answer("7", reply).score, replies))
    assert [n for n, score in enumerate(scores) if score == 1.0] == [7]
    assert threading.active_count() < 20


def test_a_child_that_dies_is_replaced():
    assert can_parse("x + 1")
    mathematics._CHILD._process.kill()
    mathematics._CHILD._process.wait()
    assert same_answer("x + 1", "$1 + x$").score is None
    assert same_answer("x + 1", "$1 + x$").score == 1.0


GOOD = {"question": "2 + 2?", "target": "4"}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"target": "4"}, "the row has no question"),
        ({"question": " ", "target": "4"}, "the row has no question"),
        ({"prompt": [], "target": "4"}, "the row has no question"),
        ({"question": "2 + 2?"}, "the row has no target"),
        ({"question": "2 + 2?", "target": " "}, "the row has no target"),
        (GOOD | {"target": ["4"]}, "not a question: target"),
        (GOOD | {"target": True}, "not a question: target"),
        (GOOD | {"target": float("nan")}, "not a question: target"),
        (GOOD | {"split": "test"}, "not a question: split"),
        (GOOD | {"grader": "llm"}, "not a question: grader"),
        (GOOD | {"prompt": [{"role": "narrator", "content": "x"}]}, "not a question: prompt"),
        (GOOD | {"question": ["x"]}, "write text, or a chat"),
        (GOOD | {"id": "q1"}, "the id 'q1' comes twice (first at"),
        (GOOD | {"grader": "choice"}, "the target '4' is no choice"),
        (GOOD | {"choices": ["3"]}, "1 choices; give 2 to 10"),
        (GOOD | {"choices": ["3", "5"]}, "the target '4' names no choice; write its letter"),
        (GOOD | {"choices": ["3", "4", "4"]}, "may be B or C; write its letter"),
        (GOOD | {"choices": ["1", "2"], "target": 1}, "may be A or B; write its letter"),
        (GOOD | {"question": "First?", "split": "gate"}, "is in 'gate' here and in 'train' at"),
    ],
)
def test_a_bad_row_is_told_by_file_and_line(tmp_path, row, complaint):
    first = {"id": "q1", "question": "first?", "target": "1", "split": "train"}
    path = write(tmp_path / "q.jsonl", [first, row])
    with pytest.raises(BadInput) as error:
        QuestionTask(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert complaint in str(error.value)


def test_files_that_hold_no_questions(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "not.parquet").write_text("rows")
    for name, complaint in [
        ("empty.jsonl", "holds no questions"),
        ("not.parquet", "not a parquet file"),
        ("gone.parquet", "no such file"),
        ("gone.jsonl", "No such file"),
    ]:
        with pytest.raises(BadInput, match=complaint):
            load_task(str(tmp_path / name))


def test_a_string_names_a_task(tmp_path, monkeypatch):
    assert load_task("chain") == ChainTask()
    assert load_task("chain:5") == ChainTask(5)
    assert load_task("chain:4:+-*") == ChainTask(4, "+-*")
    assert load_task("countdown") == load_task("countdown:3:9:99") == CountdownTask()
    assert load_task("countdown:4:20") == CountdownTask(4, 20)
    assert load_task("routes") == load_task("routes:64:4:7:0") == RoutesTask()
    assert load_task("routes:16:3:4:2:shown") == RoutesTask(16, 3, 4, world=2, shown=True)
    assert load_task("routes:16:shown") == RoutesTask(16, shown=True)
    specs = ("chain", "chain:5", "chain:4:+-*", "countdown:4", "routes:8:2:5:9", "routes:shown")
    assert load_task("recall") == load_task("recall:ruler:2048") == RecallTask()
    for spec in (*specs, "recall", "recall:vt+qa_1:96"):
        task = load_task(spec)
        assert load_task(task.name) == task
    path = write(tmp_path / "q.txt", [GOOD])
    assert load_task(str(path)).name == str(path)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("gsm8k", "no task is called 'gsm8k'; use chain, chain:N, chain:N:OPERATORS, countdown["),
        ("", "no task is called ''"),
        ("chain:", "cannot read 'chain:'"),
        ("chain:x", "cannot read 'chain:x'"),
        ("chain:4:", "cannot read 'chain:4:'"),
        ("chain:1", "give 2 to 12"),
        ("chain:99999999999999999999", "give 2 to 12"),
        ("chain:3:/", "cannot use the operators '/'"),
        ("gsm8k", "routes[:NODES:EDGES:STEPS:WORLD][:shown], gym:NAME[:SIZE], recall["),
        ("countdown:", "cannot read 'countdown:'; write it like countdown:4:9:99"),
        ("countdown:x", "cannot read 'countdown:x'"),
        ("countdown::9", "cannot read 'countdown::9'"),
        ("countdown:3:9:99:1", "cannot read 'countdown:3:9:99:1'"),
        ("countdown:²", "cannot read 'countdown:²'"),
        ("countdown:-3", "cannot read 'countdown:-3'"),
        ("countdown:" + "9" * 5000, "cannot read 'countdown:9999"),
        ("countdown:6", "6 numbers; give 2 to 5"),
        ("countdown:3:shown", "cannot read 'countdown:3:shown'"),
        ("routes:", "cannot read 'routes:'; write it like routes:64:4:7:0"),
        ("routes:64:4:7:0:1", "cannot read 'routes:64:4:7:0:1'"),
        ("routes:shown:64", "cannot read 'routes:shown:64'"),
        ("routes:64:shown:", "cannot read 'routes:64:shown:'"),
        ("routes:3", "3 nodes; give 4 to 256"),
    ],
)
def test_what_names_no_task_is_told(spec, complaint):
    with pytest.raises(BadInput) as error:
        load_task(spec)
    assert complaint in str(error.value)
