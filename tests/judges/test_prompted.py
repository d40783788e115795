"""Judges over models: orders, samples, asking again, early stop, probabilities, failures."""

import math
import random
import re

import pytest

from planish.judges import Case, ListwiseJudge, PairwiseJudge, PointwiseJudge, Template
from planish.records import BadInput, Completion, Example, Failure, Sampling, TokenScores, user


class Fake:
    """A model from a function of (prompt text, sample seed); keeps what it was asked."""

    name, revision = "fake", "1"

    def __init__(self, script, *, silent=False, backwards=False):
        self.script, self.silent, self.backwards = script, silent, backwards
        self.asked = []

    def generate(self, chats, sampling, *, watcher=None):
        out = [[None] * sampling.n for _ in chats]
        places = [(c, s) for c in range(len(chats)) for s in range(sampling.n)]
        for chat, sample in reversed(places) if self.backwards else places:
            text = chats[chat][-1].content
            self.asked.append((text, sampling.seed + sample, sampling.temperature))
            reply = self.script(text, sampling.seed + sample)
            if not isinstance(reply, Completion):
                reply = Completion(text=reply)
            out[chat][sample] = reply
            if watcher and not self.silent:
                watcher.completed(chat, sample, reply)
        return out


class Scoring(Fake):
    """Adds a distribution: log-probability of a label from a function of (chat, label)."""

    def __init__(self, script, score):
        super().__init__(script)
        self.score = score

    def logprobs(self, chats, replies):
        return [TokenScores(token_ids=(1,), logprobs=(0.0,)) for _ in replies]

    def label_logprobs(self, chats, labels, prefix="[["):
        return [tuple(self.score(chat, prefix + label) for label in labels) for chat in chats]


def cases(count, gold="A"):
    return [
        Case(
            example=Example(id=f"c{i}", prompt=user(f"question {i}"), meta={"gold": gold}),
            replies=(f"right {i}", f"wrong {i}"),
        )
        for i in range(count)
    ]


def slots(text):
    first = re.search(r"<reply_a>\n(.*?)\n</reply_a>", text, re.S)[1]
    second = re.search(r"<reply_b>\n(.*?)\n</reply_b>", text, re.S)[1]
    return first, second


def oracle(text, seed):
    return "[[A]]" if slots(text)[0].startswith("right") else "[[B]]"


def test_an_oracle_is_right_in_both_orders():
    judge = PairwiseJudge(Fake(oracle))
    judgments = judge.judgments(cases(5))
    assert [j.outcome for j in judgments] == ["A"] * 5
    assert all(j.consistent and len(j.calls) == 2 for j in judgments)
    assert [v.score for v in judge.judge(cases(2))] == [1.0, 1.0]


def test_always_the_first_slot_is_a_tie():
    judgments = PairwiseJudge(Fake(lambda text, seed: "[[A]]")).judgments(cases(3))
    assert [j.outcome for j in judgments] == ["tie"] * 3
    assert [j.votes for j in judgments] == [("A", "B")] * 3


@pytest.mark.parametrize("flags", [{"silent": True}, {"backwards": True}])
def test_watchers_and_order_of_arrival_do_not_matter(flags):
    plain = PairwiseJudge(Fake(oracle)).judgments(cases(4))
    other = PairwiseJudge(Fake(oracle, **flags)).judgments(cases(4))
    assert [(j.case_id, j.outcome, j.score) for j in plain] == [
        (j.case_id, j.outcome, j.score) for j in other
    ]


def test_judgments_are_told_as_soon_as_they_are_whole():
    told = []

    def script(text, seed):
        told.append("call")
        return oracle(text, seed)

    PairwiseJudge(Fake(script)).judgments(cases(2), on_judgment=lambda j: told.append(j.case_id))
    assert told == ["call", "call", "c0", "call", "call", "c1"]


def test_random_order_depends_on_seed_and_id_only():
    many = cases(200)

    def perms(batch, seed):
        judge = PairwiseJudge(Fake(oracle), orders="random", seed=seed)
        return {j.case_id: j.calls[0].perm for j in judge.judgments(batch)}

    one, shuffled = perms(many, 3), many[:]
    random.Random(0).shuffle(shuffled)
    assert perms(shuffled, 3) == one
    assert perms(many, 4) != one
    assert 60 < sum(perm == (0, 1) for perm in one.values()) < 140
    odd = many[0].example.model_copy(update={"id": "half a pair \ud800"})
    assert perms([many[0].model_copy(update={"example": odd})], 3)


def test_every_sample_has_its_own_seed():
    model = Fake(oracle)
    PairwiseJudge(model, samples=3, seed=10).judgments(cases(1))
    assert sorted(seed for _, seed, _ in model.asked) == [10, 10, 11, 11, 12, 12]
    assert {temperature for *_, temperature in model.asked} == {0.7}


def test_unreadable_replies_are_asked_again_and_kept():
    def script(text, seed):
        return oracle(text, seed) if seed > 1_000_000 else "I like both."

    model = Fake(script)
    judgment = PairwiseJudge(model, parse_retries=1).judgments(cases(1))[0]
    assert judgment.outcome == "A"
    assert judgment.statuses == ("no_verdict", "no_verdict", "ok", "ok")
    assert [call.attempt for call in judgment.calls] == [0, 0, 1, 1]
    assert all(temperature > 0 for _, seed, temperature in model.asked if seed > 1_000_000)


def test_lost_and_cut_calls_are_not_asked_again():
    lost = Completion(text="", finish="error", failures=(Failure(attempt=1, kind="timeout"),))
    model = Fake(lambda text, seed: lost)
    judgment = PairwiseJudge(model, parse_retries=3).judgments(cases(1))[0]
    assert judgment.score is None
    assert judgment.statuses == ("transport", "transport")
    assert judgment.calls[0].failures[0].kind == "timeout"
    cut = Fake(lambda text, seed: Completion(text="hm", finish="length"))
    assert PairwiseJudge(cut, parse_retries=3).judgments(cases(1))[0].statuses == (
        "truncated",
        "truncated",
    )


def test_early_stop_saves_calls_and_keeps_the_outcome():
    def script(text, seed):
        return random.Random(f"{text}{seed}").choice(["[[A]]", "[[B]]", oracle(text, 0)])

    full, short = Fake(script), Fake(script)
    sampling = Sampling(temperature=1.0)
    one = PairwiseJudge(full, samples=7, sampling=sampling).judgments(cases(30))
    two = PairwiseJudge(short, samples=7, sampling=sampling, stop_early=True).judgments(cases(30))
    assert [j.outcome for j in one] == [j.outcome for j in two]
    assert len(short.asked) < len(full.asked)


def test_direct_reading_takes_the_distribution():
    def score(chat, label):
        first = slots(chat[-1].content)[0].startswith("right")
        return math.log(0.8 if (label == "[[A") == first else 0.2)

    model = Scoring(oracle, score)
    judge = PairwiseJudge(model, reading="direct", aggregate="mean")
    judgment = judge.judgments(cases(1))[0]
    assert judgment.score == pytest.approx(0.8)
    assert not model.asked
    assert judgment.calls[1].probabilities == pytest.approx((0.2, 0.8))


def test_reasoned_reading_continues_what_was_written():
    seen = []

    def score(chat, label):
        seen.append(chat[-1])
        return math.log(0.9 if label == "[[B" else 0.1)

    model = Scoring(lambda text, seed: "Because.\n[[A]] done", score)
    judgment = PairwiseJudge(model, reading="reasoned", aggregate="mean").judgments(cases(1))[0]
    assert {(m.role, m.content) for m in seen} == {("assistant", "Because. ")}
    assert judgment.score == pytest.approx(0.5)
    assert judgment.votes == ("B", "A")


def test_lists_by_pick_cycle_and_duel():
    batch = [
        Case(
            example=Example(id="l", prompt=user("best?")), replies=("bad", "worse", "good", "poor")
        )
    ]

    def best(text, seed):
        found = re.search(r"<reply_(\w)>\ngood\n", text)
        return f"[[{found[1].upper()}]]" if found else "[[tie]]"

    for mode, calls in [("pick", 1), ("cyclic", 4), ("copeland", 12)]:
        judgment = ListwiseJudge(Fake(best), mode=mode).judgments(batch)[0]
        assert judgment.outcome == "C", mode
        assert len(judgment.calls) == calls


def test_a_slot_lean_shows_in_a_cyclic_list():
    batch = [Case(example=Example(id="l", prompt=user("?")), replies=("a", "b", "c"))]
    judge = ListwiseJudge(Fake(lambda text, seed: "[[A]]"), mode="cyclic")
    assert judge.judgments(batch)[0].outcome == "tie"


def test_ratings():
    batch = [Case(example=Example(id="r", prompt=user("?")), replies=("fine",))]
    judge = PointwiseJudge(Fake(lambda text, seed: "Good.\n[[10]]"))
    assert judge.judge(batch)[0].score == 1.0


@pytest.mark.parametrize(
    ("build", "batch", "complaint"),
    [
        (PairwiseJudge, [Case(example=Example(id="x", prompt=user("?")), replies=("a",))], "x"),
        (
            PairwiseJudge,
            [Case(example=Example(id="x", prompt=user("?")), replies=("a", "a"))],
            "identical",
        ),
        (PairwiseJudge, cases(1) + cases(1), "twice"),
        (PointwiseJudge, cases(1), "1 reply"),
        (
            ListwiseJudge,
            [Case(example=Example(id="x", prompt=user("?")), replies=("a", "b", "a"))],
            "identical",
        ),
    ],
)
def test_bad_cases_are_named(build, batch, complaint):
    model = Fake(oracle)
    with pytest.raises(BadInput, match=complaint):
        build(model).judgments(batch)
    assert not model.asked


def test_reasoned_reading_does_not_hide_what_was_cut_or_refused():
    replies = iter(["so far", "I can't judge this.", "[[A]] or [[B]]", "fine\n[[B]]"])
    finishes = iter(["length", "stop", "stop", "stop"])

    def script(text, seed):
        return Completion(text=next(replies), finish=next(finishes))

    model = Scoring(script, lambda chat, label: 0.0 if label.endswith("A") else -1.0)
    judgments = PairwiseJudge(model, reading="reasoned").judgments(cases(2))
    statuses = [status for judgment in judgments for status in judgment.statuses]
    assert statuses == ["truncated", "refused", "conflicting", "ok"]


def test_a_templates_own_labels_are_read_from_the_distribution():
    asked = []

    def score(chat, label):
        asked.append(label)
        return -0.1 if label.endswith("1") else -3.0

    template = Template(
        name="numbers",
        user="{{ question }}{{ reply_a }}{{ reply_b }}",
        labels={"[[1]]": "A", "[[2]]": "B"},
    )
    judge = PairwiseJudge(Scoring(oracle, score), template, reading="direct")
    assert judge.judgments(cases(1))[0].votes == ("A", "B")
    assert set(asked) == {"[[1", "[[2"}
    crossed = template.model_copy(update={"prefix": "(("})
    with pytest.raises(BadInput, match="prefix"):
        PairwiseJudge(Scoring(oracle, score), crossed, reading="direct")


def test_early_stop_is_for_votes_only():
    for aggregate in ("strict", "mean"):
        with pytest.raises(BadInput, match="early stop"):
            PairwiseJudge(Fake(oracle), samples=3, stop_early=True, aggregate=aggregate)


def test_bad_dials():
    with pytest.raises(BadInput, match="probability"):
        PairwiseJudge(Fake(oracle), reading="direct")
    with pytest.raises(BadInput, match="temperature 0"):
        PairwiseJudge(Fake(oracle), samples=2, sampling=Sampling(temperature=0))
    with pytest.raises(BadInput, match="score"):
        PairwiseJudge(Fake(oracle), "rating")
