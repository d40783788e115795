import random
import time
from fractions import Fraction
from functools import lru_cache
from itertools import islice, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.records import BadInput, user
from planish.tasks.arithmetic import followed, written_steps
from planish.tasks.base import CandidateTask, Task, prove, split_of
from planish.tasks.countdown import CountdownTask

SPLITS = ("train", "gate", "report")
TASKS = [
    CountdownTask(),
    CountdownTask(2),
    CountdownTask(2, 1, 9),
    CountdownTask(2, 9, 9),
    CountdownTask(4),
    CountdownTask(4, 20),
    CountdownTask(5),
    CountdownTask(4, 99, 999),
]

seeds = st.integers(0, 10**6)
some = settings(max_examples=60)


@lru_cache(maxsize=16)
def pool(task):
    limit = task.capped("train", 40)
    return tuple(task.examples("train", limit, seed=1))


@st.composite
def asked(draw):
    task = draw(st.sampled_from([task for task in TASKS if pool(task)]))
    return task, draw(st.sampled_from(pool(task)))


def sides(numbers):
    for cut in range(1, len(numbers)):
        yield numbers[:cut], numbers[cut:]


def values(numbers):
    """An independent list of (value, expression) by brute force, exact and unbounded."""
    if len(numbers) == 1:
        return [(Fraction(numbers[0]), str(numbers[0]))]
    found = []
    for left, right in sides(numbers):
        for a, a_text in values(left):
            for b, b_text in values(right):
                found.append((a + b, f"({a_text} + {b_text})"))
                found.append((a - b, f"({a_text} - {b_text})"))
                found.append((a * b, f"({a_text} * {b_text})"))
                if b:
                    found.append((a / b, f"({a_text} / {b_text})"))
    return found


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("split", SPLITS)
def test_the_grader_proves_itself(task, split):
    assert isinstance(task, Task)
    assert isinstance(task, CandidateTask)
    limit = task.capped(split, 40)
    if limit:
        assert prove(task, split=split, limit=limit) == limit


def test_the_example_of_the_documentation():
    task = CountdownTask()
    example = task.example("Make 35 from 3 4 5")
    assert example.prompt == user("Make 35 from 3 4 5")
    assert (example.target, example.id) == ("35", "countdown:3+4+5=35")
    assert task.gold(example) == "3 + 4 = 7, 5 * 7 = 35"


@some
@given(asked(), seeds)
def test_gold_and_hits_verify_and_nothing_wrong_does(asked, seed):
    task, example = asked
    right, wrong = task.candidates(example, seed)
    one, other = task.both_wrong(example, seed)
    for reply in (task.gold(example), right, task.attempt(example, seed, hit=True)):
        assert task.verify(example, reply).score == 1.0
    for reply in (wrong, one, other, task.wrong(example)):
        verdict = task.verify(example, reply)
        assert verdict.score == 0.0
        assert verdict.why
        assert verdict.extracted
    answers = [task.verify(example, reply).extracted for reply in (one, other)]
    assert answers[0] != answers[1]
    assert (right, wrong) == task.candidates(example, seed)
    assert (one, other) == task.both_wrong(example, seed)


@some
@given(asked(), seeds, st.sampled_from([None, False, True]))
def test_attempts_are_legal_and_stay_among_the_numbers_a_model_has_tokens_for(asked, seed, hit):
    task, example = asked
    numbers = tuple(map(int, example.prompt[0].content.split()[3:]))
    if hit is False and len(task._targets(numbers)) == 1:
        with pytest.raises(BadInput, match="nothing misses the target"):
            task.attempt(example, seed, hit=hit)
        return
    reply = task.attempt(example, seed, hit=hit)
    found = followed(written_steps(reply), numbers)
    assert not found.why
    assert found.unused == 0
    assert len(written_steps(reply)) == len(numbers) - 1
    if hit is not None:
        assert (found.value == int(example.target)) == hit
    written = [int(word.strip(",")) for word in reply.split() if word.strip(",").isdigit()]
    assert min(written) >= 1
    assert max(written) <= task.largest_target


@some
@given(asked(), st.randoms(use_true_random=False))
def test_any_expression_is_judged_by_its_value(asked, chance):
    task, example = asked
    numbers = list(map(int, example.prompt[0].content.split()[3:]))
    chance.shuffle(numbers)
    if len(numbers) > 4:
        return
    found = values(tuple(numbers))
    for value, text in chance.sample(found, min(10, len(found))):
        right = value == int(example.target)
        for reply in (text, f"So {text[1:-1]}.", f"{text} = {example.target}"):
            assert task.verify(example, reply).score == float(right)
        if value.denominator == 1 and value >= 0:
            verdict = task.verify(example, f"\\boxed{{{text} = {value}}}")
            assert verdict.score == float(right)


def test_every_expression_that_reaches_the_target_verifies():
    task = CountdownTask()
    example = task.example("Make 6 from 2 3 4")
    right = {
        text for numbers in permutations((2, 3, 4)) for value, text in values(numbers) if value == 6
    }
    assert {"((3 * 4) / 2)", "((3 / 2) * 4)"} <= right  # through fractions too
    for text in right:
        assert task.verify(example, text).score == 1.0


@pytest.mark.parametrize("numbers", [(3, 4, 5), (2, 2, 6), (4, 4, 4), (1, 1, 9)])
def test_what_can_be_made_and_in_how_many_ways(numbers):
    task = CountdownTask()
    natural = {}
    for order in permutations(numbers):
        for _, text in values(order):
            steps = written_steps(text)
            outcome = followed(steps, numbers)
            parts = _inner_values(text)
            if all(part.denominator == 1 and 1 <= part <= 99 for part in parts):
                # `a - b` and the like have one order; sums and products are sorted by `followed`.
                natural.setdefault(int(outcome.value), set()).add(outcome.text)
    for target in range(1, 100):
        question = f"Make {target} from {' '.join(map(str, numbers))}"
        if target in natural:
            meta = task.example(question).meta
            # Where a number divides itself both orders are one way.
            assert 1 <= meta["num_solutions"] <= len(natural[target])
            if len(set(numbers)) == 3 and 1 not in numbers:
                assert meta["num_solutions"] >= len(natural[target]) - 1
        else:
            with pytest.raises(BadInput, match="cannot be made within 1 to 99"):
                task.example(question)


def _inner_values(text):
    """The values of all bracketed parts."""
    starts, found = [], []
    for place, character in enumerate(text):
        if character == "(":
            starts.append(place)
        elif character == ")":
            part = text[starts.pop() : place + 1]
            for number in set(filter(str.isdigit, part)):
                part = part.replace(number, f"Fraction({number})")
            found.append(eval(part))
    return found


def test_solutions_are_drawn_alike():
    task = CountdownTask(4)
    example = task.example("Make 24 from 2 3 4 6")
    drawn = [
        task.verify(example, task.attempt(example, seed, hit=True)).extracted for seed in range(600)
    ]
    number = example.meta["num_solutions"]
    # Steps do not tell a given 6 from one that was made, so that two ways may look the same.
    assert number - 2 <= len(set(drawn)) <= number
    assert max(map(drawn.count, set(drawn))) < 4 * len(drawn) / number


def test_random_attempts_rarely_hit_but_sometimes():
    task = CountdownTask()
    hits = [
        task.verify(example, task.attempt(example, seed)).score
        for example in task.examples("train", 100)
        for seed in range(4)
    ]
    assert 0.005 < sum(hits) / len(hits) < 0.3
    for example in task.examples("gate", 20):
        assert task.verify(example, task.attempt(example, 0, hit=False)).score == 0.0


def test_splits_are_disjoint_and_together_are_everything():
    task = CountdownTask()
    parts = {}
    for split in SPLITS:
        count = task.capped(split, 10**9)
        parts[split] = {example.id for example in task.examples(split, count)}
        assert len(parts[split]) == count
        with pytest.raises(BadInput, match=f"'{split}' has only {count} different questions"):
            task.examples(split, count + 1)
    total = sum(map(len, parts.values()))
    assert total == len(set.union(*parts.values())) == 2144
    assert 0.55 < len(parts["train"]) / total < 0.65


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_example_lies_in_its_split(task):
    for split in SPLITS:
        for example in task.examples(split, task.capped(split, 15), seed=3):
            assert split_of(example.prompt[0].content) == split


@some
@given(seeds, st.integers(0, 60), st.sampled_from(SPLITS), st.sampled_from(TASKS[4:6]))
def test_a_draw_is_the_same_again_and_a_smaller_one_is_its_prefix(seed, limit, split, task):
    long = list(task.examples(split, 60, seed))
    assert list(task.examples(split, limit, seed)) == long[:limit]
    assert len({example.id for example in long}) == 60


def test_seeds_draw_differently():
    one, other = ([e.id for e in CountdownTask().examples("report", 50, s)] for s in (0, 1))
    assert one != other


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "35",
        "Make 35",
        "Make 35 from 3",
        "Make 35 from 5 4 3",
        "Make 35 from 03 4 5",
        "Make 035 from 3 4 5",
        "Make 5 from 0 5",
        "Make 35 from 3 4 5 ",
        "Make 35 from 3  4 5",
        "Make ٣ from 3 4 5",
        "Make 35 from 1 2 3 4 5 6",
    ],
)
def test_what_is_no_question_is_refused(bad):
    with pytest.raises(BadInput, match="not a Countdown question"):
        CountdownTask().example(bad)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CountdownTask(1), "1 numbers; give 2 to 5"),
        (lambda: CountdownTask(6), "give 2 to 5"),
        (lambda: CountdownTask(3, 0), "0 as the largest number; give 1 to 99"),
        (lambda: CountdownTask(3, 100), "give 1 to 99"),
        (lambda: CountdownTask(3, 20, 19), "19 as the largest target; give 20 to 999"),
        (lambda: CountdownTask(3, 2, 8), "give 9 to 999"),
        (lambda: CountdownTask(3, 9, 1000), "give 9 to 999"),
        (lambda: CountdownTask().examples("test", 1), "no split is called 'test'; use train, gate"),
        (lambda: CountdownTask().examples("train", -1), "ask for at least 0"),
        (lambda: CountdownTask().examples("report", 1000), "'report' has only 413 different"),
        (lambda: CountdownTask(5, 99).examples("report", 10**40), "different questions"),
        (lambda: miss(CountdownTask(2, 9, 9), "Make 1 from 8 9"), "nothing misses the target"),
    ],
)
def test_bad_input_is_told(make, message):
    with pytest.raises(BadInput, match=message):
        make()


def miss(task, question):
    return task.attempt(task.example(question), 0, hit=False)


def test_large_spaces_need_no_counting():
    begin = time.thread_time()
    examples = list(islice(CountdownTask(5, 99, 999).examples("train", 10**5), 3))
    assert len(examples) == 3
    assert CountdownTask(4, 20).capped("train", 10_000) == 10_000
    assert time.thread_time() - begin < 5


def test_candidates_are_short_and_of_both_kinds():
    task = CountdownTask()
    kinds = random.Random(0).sample(list(task.examples("train", 100)), 60)
    false = ["not" in task.verify(e, task.wrong(e)).why.partition(" is ")[2] for e in kinds]
    assert 0.3 < sum(false) / len(false) < 0.75
