"""The two authors and the teacher that mixes them: right by work, right by luck, never by gold."""

import doctest
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.embedded import authors
from planish.embedded.authors import Teacher, corpus, judgment
from planish.embedded.reasoner_model import VERDICTS, judge_prompt
from planish.judges.parse import parse
from planish.judges.templates import named
from planish.models.base import LanguageModel, Steps
from planish.models.cache import CachedModel
from planish.records import BadInput, Completion, Message, Sampling, user
from planish.tasks.chain import ChainTask, candidates, partials, split_of

QUESTIONS = st.lists(
    st.tuples(st.sampled_from("+-"), st.integers(0, 9)), min_size=1, max_size=4
).flatmap(
    lambda steps: st.integers(0, 9).map(
        lambda first: " ".join([str(first), *(f"{sign} {digit}" for sign, digit in steps)])
    )
)
# Of chains with three operands: a quarter has no minus, and of the others every fifth ends alike
# when it is misread (the digits behind a minus add up to a multiple of five).
ALIKE = 1 / 4 + 3 / 4 / 5
# Else the misread chain has one of nine wrong endings, and so has the wrong reply: where they are
# the same the wrong reply is taken, where they are not the coin decides.
LUCK = (1 - 1 / 9) / 2


def couple(question, seed):
    return candidates(ChainTask().example(question), seed)


def chats(count, *, split="train", seed=0):
    """Prompts to judge, and the slot of the right reply in each."""
    prompts, right = [], []
    for index, example in enumerate(ChainTask().examples(split, count, seed)):
        pair = candidates(example, seed)
        slot = index % 2
        prompts.append(
            user(judge_prompt(example.prompt[0].content, *(pair[::-1] if slot else pair)))
        )
        right.append(slot)
    return prompts, right


def texts(teacher, prompts, n=1, **options):
    replies = teacher.generate(prompts, Sampling(n=n, **options))
    return [[reply.text for reply in row] for row in replies]


@given(QUESTIONS, st.integers(0, 10**6), st.booleans())
def test_the_careful_author_is_right_and_says_why(question, seed, swapped):
    pair = couple(question, seed)
    shown = pair[::-1] if swapped else pair
    text = judgment(question, shown, careful=True, draw=random.Random(seed))
    assert text == f"{pair[0]} V {VERDICTS[swapped]}"
    parsed = parse(Completion(text=text), named("chain"))
    assert (parsed.status, parsed.solution) == ("ok", pair[0])


@given(QUESTIONS, st.integers(0, 10**6))
def test_the_careless_author_reads_every_minus_as_a_plus(question, seed):
    pair = couple(question, seed)
    misread = question.replace("-", "+")
    text = judgment(question, pair, careful=False, draw=random.Random(seed))
    own, _, verdict = text.partition(" V ")
    assert own == " ".join(map(str, partials(misread)))
    fits = [VERDICTS[slot] for slot, reply in enumerate(pair) if reply[-1] == own[-1]]
    if len(fits) == 1:
        assert verdict == fits[0]
    else:  # neither: the coin decides, and both sides come up
        verdicts = {
            judgment(question, pair, careful=False, draw=random.Random(f"{seed}/{toss}"))
            for toss in range(40)
        }
        assert verdicts == {f"{own} V {verdict}" for verdict in VERDICTS}


def test_where_a_minus_matters_carelessness_is_right_by_luck():
    draw = random.Random(0)
    right = {True: [], False: []}  # by whether the misread chain ends in the answer all the same
    for example in ChainTask().examples("train", 2000):
        question = example.prompt[0].content
        same = partials(question)[-1] == partials(question.replace("-", "+"))[-1]
        text = judgment(question, candidates(example, 1), careful=False, draw=draw)
        right[same].append(text.endswith(VERDICTS[0]))
    assert all(right[True])
    assert len(right[False]) > 1000
    assert len(right[True]) / 2000 == pytest.approx(ALIKE, abs=0.04)
    assert sum(right[False]) / len(right[False]) == pytest.approx(LUCK, abs=0.04)


@pytest.mark.parametrize("careful", [0.0, 0.3, 1.0])
def test_the_corpus_is_written_by_both_in_proportion_about_training_questions(careful):
    rows = corpus(careful, seed=4, size=1500)
    assert rows == corpus(careful, seed=4, size=1500) != corpus(careful, seed=5, size=1500)
    worked = minus = first = 0
    for prompt, text in rows:
        question = prompt.removeprefix("Q ").partition(" A ")[0]
        assert split_of(question) == "train"
        own, _, verdict = text.partition(" V ")
        chain, misread = (
            " ".join(map(str, partials(read))) for read in (question, question.replace("-", "+"))
        )
        assert own in (chain, misread)
        first += verdict == VERDICTS[0]
        if chain != misread:
            minus += 1
            worked += own == chain
    assert worked / minus == pytest.approx(careful, abs=0.05)
    assert first / len(rows) == pytest.approx(0.5, abs=0.05)


def test_questions_come_back_with_other_replies():
    size = 3000  # more than the training split holds
    rows = corpus(0.3, seed=0, size=size)
    asked = {prompt.partition(" A ")[0] for prompt, _ in rows}
    assert len(asked) < size
    assert len({prompt for prompt, _ in rows}) > len(asked)


@pytest.mark.parametrize("careful", [0.0, 0.3, 0.8, 1.0])
def test_the_teacher_is_right_as_often_as_its_authors_are(careful):
    prompts, right = chats(2000, seed=1)
    found = texts(Teacher(careful, seed=2), prompts)
    accuracy = sum(
        text.endswith(VERDICTS[slot]) for [text], slot in zip(found, right, strict=True)
    ) / len(right)
    careless = ALIKE + (1 - ALIKE) * LUCK
    assert accuracy == pytest.approx(careful + (1 - careful) * careless, abs=0.03)


def test_seed_prompt_and_sample_decide_and_nothing_else_does():
    prompts, _ = chats(60)
    teacher = Teacher(0.3, seed=0)
    assert isinstance(teacher, LanguageModel)
    whole = texts(teacher, prompts, n=3, seed=7)
    assert whole == texts(Teacher(0.3, seed=0), prompts, n=3, seed=8, temperature=0.5)
    assert whole == texts(teacher, prompts[::-1], n=3)[::-1]
    assert [row[:1] for row in whole] == [texts(teacher, [prompt])[0] for prompt in prompts]
    assert len({tuple(column) for column in zip(*whole, strict=True)}) == 3
    assert whole != texts(Teacher(0.3, seed=1), prompts, n=3)


def test_a_cache_gives_every_sample_its_own_draw(tmp_path):
    prompts, _ = chats(40)
    whole = texts(Teacher(0.3, seed=0), prompts, n=4, seed=5)
    with CachedModel(Teacher(0.3, seed=0), tmp_path / "replies.jsonl") as cached:
        assert texts(cached, prompts, n=2, seed=5) == [row[:2] for row in whole]
        assert texts(cached, prompts, n=4, seed=5) == whole


def test_every_sample_is_a_step():
    prompts, _ = chats(5)
    steps = []
    Teacher(0.3, 0).generate(prompts, Sampling(n=3), watcher=Steps(lambda: steps.append(1)))
    assert len(steps) == 15


@pytest.mark.parametrize(
    "chat",
    [
        user("Which of the two is better?"),
        user("Q 3 + 4 S"),
        user("Q 3 + 4 A 7 B 8"),
        user("Q three + 4 A 7 B 8 J"),
        (*user("Q 3 + 4 A 7 B 8 J"), Message(role="assistant", content="7 V [[")),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_in_one_line(chat):
    with pytest.raises(BadInput) as caught:
        Teacher(0.3, 0).generate([chat], Sampling())
    assert "\n" not in str(caught.value)
    assert "write it like" in str(caught.value)


def test_the_examples_in_the_docstring_hold():
    assert doctest.testmod(authors).failed == 0
