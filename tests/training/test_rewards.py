"""The judge as a reward: scores and pairs hang on the replies alone, not on order, slot or seed."""

import itertools
import math
import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from planish.judges import Call, Judgment, PairwiseJudge, PointwiseJudge
from planish.models.scripted import ScriptedModel, find_replies, verdict
from planish.records import BadInput, Completion, Example, Pair, user
from planish.training.rewards import (
    SAME,
    UNSCORED,
    Duel,
    Reply,
    distinct,
    duel_scores,
    margin_below,
    normal,
    preference,
    random_scores,
    ratings,
    rewarded,
    round_robin,
)

PROMPT = user("What is it?")
words = st.text(alphabet="abc ", min_size=1, max_size=6).filter(str.strip)
texts = st.lists(words, min_size=2, max_size=6, unique_by=normal)
shares = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, None])


def replies_of(found):
    return [Reply(text=text, samples=(number,)) for number, text in enumerate(found)]


def tournament(draw_from, found):
    """A share for every two texts, by text: the same whatever their order."""
    couples = list(itertools.combinations(sorted(found), 2))
    return dict(zip(couples, draw_from(len(couples)), strict=True))


def duels_of(found, table):
    duels = []
    for i, j in itertools.combinations(range(len(found)), 2):
        swapped = found[i] > found[j]
        share = table[tuple(sorted((found[i], found[j])))]
        if share is not None and swapped:
            share = 1 - share
        duels.append(Duel(first=i, second=j, share=share))
    return duels


@st.composite
def tournaments(draw):
    found = draw(texts)
    table = tournament(
        lambda number: draw(st.lists(shares, min_size=number, max_size=number)), found
    )
    return found, table


@given(tournaments(), st.randoms(use_true_random=False))
def test_the_order_of_replies_and_duels_says_nothing(played, dice):
    found, table = played
    shuffled = dice.sample(found, len(found))
    outcomes = []
    for order in (found, shuffled):
        duels = duels_of(order, table)
        dice.shuffle(duels)
        scores = duel_scores(len(order), duels)
        pair = preference(PROMPT, replies_of(order), scores, margin=0.25)
        told = dict(zip(order, scores, strict=True))
        outcomes.append(
            (told, (pair.chosen, pair.rejected, pair.meta["margin"]))
            if isinstance(pair, Pair)
            else (told, pair)
        )
    assert outcomes[0] == outcomes[1]


@given(tournaments())
def test_naming_a_duel_from_its_other_side_changes_nothing(played):
    found, table = played
    duels = duels_of(found, table)
    mirrored = [
        Duel(first=d.second, second=d.first, share=None if d.share is None else 1 - d.share)
        for d in duels
    ]
    assert duel_scores(len(found), duels) == duel_scores(len(found), mirrored)
    if all(duel.share is not None for duel in duels):
        # Every duel hands out one point in all.
        assert sum(duel_scores(len(found), duels)) == pytest.approx(len(found) / 2)


@given(tournaments())
def test_a_reply_is_scored_by_its_scored_duels_alone(played):
    found, table = played
    duels = duels_of(found, table)
    for number, score in enumerate(duel_scores(len(found), duels)):
        own = [d.share for d in duels if d.first == number]
        own += [None if d.share is None else 1 - d.share for d in duels if d.second == number]
        known = [share for share in own if share is not None]
        assert score == (pytest.approx(sum(known) / len(known)) if known else None)


@given(tournaments(), st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_wider_margin_only_drops_pairs(played, one, other):
    found, table = played
    low, high = sorted((one, other))
    scores = duel_scores(len(found), duels_of(found, table))
    wide = preference(PROMPT, replies_of(found), scores, margin=high)
    near = preference(PROMPT, replies_of(found), scores, margin=low)
    if isinstance(wide, Pair):
        assert near == wide
        assert wide.meta["margin"] >= high - 1e-9
        known = [score for score in scores if score is not None]
        assert wide.meta["chosen_score"] == pytest.approx(max(known))
        assert wide.meta["rejected_score"] == pytest.approx(min(known))


def test_why_there_is_no_pair():
    two = replies_of(["a", "b"])
    assert preference(PROMPT, two[:1], [1.0], margin=0.1) == SAME
    assert preference(PROMPT, two, [1.0, None], margin=0.1) == UNSCORED
    assert preference(PROMPT, two, [0.5, 0.5], margin=0.1) == margin_below(0.1)
    assert isinstance(preference(PROMPT, two, [0.6, 0.3], margin=0.3), Pair)
    with pytest.raises(ValueError, match="margin"):
        preference(PROMPT, two, [1.0, 0.0], margin=0)


@given(st.lists(words, min_size=2, max_size=5), st.lists(words, min_size=1, max_size=5))
def test_among_equals_the_two_closest_in_length_are_taken(good, bad):
    replies = distinct([*good, *bad])
    goods = {normal(text) for text in good}
    assume(any(normal(reply.text) not in goods for reply in replies))
    scores = [1.0 if normal(reply.text) in goods else 0.0 for reply in replies]
    pair = preference(PROMPT, replies, scores, margin=1)
    gaps = [
        abs(len(normal(one.text)) - len(normal(two.text)))
        for one, score in zip(replies, scores, strict=True)
        for two, other in zip(replies, scores, strict=True)
        if score > other
    ]
    assert abs(len(normal(pair.chosen)) - len(normal(pair.rejected))) == min(gaps)


def test_equal_replies_are_told_apart_by_no_rule_that_could_be_learned():
    """Right and wrong digits of one length: no digit is rejected more often than by chance."""
    rejected = []
    for number in range(400):
        replies = replies_of(["x", *"0123456789"])
        pair = preference(user(f"{number}?"), replies, [1.0, *[0.0] * 10], margin=1)
        rejected.append(pair.rejected)
    for digit in "0123456789":
        assert 20 < rejected.count(digit) < 65  # 40 expected, four standard deviations


def test_replies_that_differ_in_blanks_only_are_one_with_all_its_draws():
    found = distinct(["7  2", None, "7 2\n", "2", "", "7 2"])
    assert [(reply.text, reply.samples) for reply in found] == [
        ("7  2", (0, 2, 5)),
        ("2", (3,)),
        ("", (4,)),
    ]
    assert found[0].count == 3


@given(texts, st.integers(0, 5), st.randoms(use_true_random=False))
def test_random_scores_hang_on_seed_and_texts_alone(found, seed, dice):
    shuffled = dice.sample(found, len(found))
    one, two = (
        dict(zip(order, random_scores(replies_of(order), str(seed)), strict=True))
        for order in (found, shuffled)
    )
    assert one == two
    assert sorted(one.values()) == [pytest.approx(i / (len(found) - 1)) for i in range(len(found))]


# ---- judges ------------------------------------------------------------------------------------


def quality(reply):
    return int(reply.split()[-1])


def leaning(bonus, asked=None):
    """A judge by quality that adds `bonus` to whatever stands first."""

    def script(chat, seed, sample):
        if asked is not None:
            asked.append(chat)
        first, second = (quality(reply) for reply in find_replies(chat))
        lead = first + bonus - second
        return verdict(chat, "A" if lead > 0 else "B" if lead < 0 else "tie")

    return script


def pairwise(script, **options):
    return PairwiseJudge(ScriptedModel("scripted:test", script), aggregate="mean", **options)


def asked_of(*qualities, id="q"):
    texts = [f"it is {number}" for number in qualities]
    return Example(id=id, prompt=PROMPT), replies_of(texts)


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True),
    st.integers(0, 12),
    st.randoms(use_true_random=False),
)
def test_a_lean_to_a_slot_cancels(qualities, bonus, dice):
    """Both orders: a gap wider than the lean is a win, any other a tie, whoever stood first."""
    for order in (qualities, dice.sample(qualities, len(qualities))):
        [scored] = round_robin(pairwise(leaning(bonus)), [asked_of(*order)])
        for own, score in zip(order, scored.scores, strict=True):
            gaps = [own - other for other in order if other != own]
            # A gap as wide as the lean ties one order and wins the other.
            points = [
                0.75 if gap == bonus else 0.25 if gap == -bonus else 0.5 + 0.5 * sign(gap, bonus)
                for gap in gaps
            ]
            if bonus == 0:
                points = [float(gap > 0) for gap in gaps]
            assert score == pytest.approx(sum(points) / len(points))


def sign(gap, bonus):
    return (gap > bonus) - (gap < -bonus)


def test_a_judge_that_sees_slots_alone_scores_all_alike_and_makes_no_pair():
    judge = pairwise(leaning(1000))
    [scored] = round_robin(judge, [asked_of(3, 1, 4, 5)])
    assert scored.scores == [0.5] * 4
    assert scored.num_scored == len(scored.judgments) == 6
    assert preference(PROMPT, asked_of(3, 1, 4, 5)[1], scored.scores, margin=0.01) == margin_below(
        0.01
    )


def test_all_prompts_are_asked_in_one_batch():
    class Batches(ScriptedModel):
        sizes = ()

        def generate(self, chats, sampling, *, watcher=None):
            self.sizes = (*self.sizes, len(chats))
            return super().generate(chats, sampling, watcher=watcher)

    model = Batches("scripted:test", leaning(0))
    asked = [asked_of(1, 2, 3, id="a"), asked_of(1, id="b"), asked_of(5, 4, id="c")]
    first, second, third = round_robin(PairwiseJudge(model), asked)
    assert model.sizes == (2 * (3 + 0 + 1),)
    assert first.scores == [0.0, 0.5, 1.0]
    assert (second.scores, second.judgments) == ([None], [])
    assert third.scores == [1.0, 0.0]
    assert len(first.calls) == 6


def test_a_duel_that_was_read_in_one_order_only_is_unscored():
    """The other order alone would hold the lean: it is left out and counted."""

    def script(chat, seed, sample):
        first, second = (quality(reply) for reply in find_replies(chat))
        return "no idea" if (first, second) == (2, 9) else verdict(chat, "A")

    [scored] = round_robin(pairwise(script), [asked_of(9, 2, 5)])
    assert scored.duels[0].share is None
    assert (scored.num_scored, len(scored.judgments), scored.unread) == (2, 3, "no_verdict")
    assert scored.scores == [0.5, 0.5, 0.5]
    [alone] = round_robin(pairwise(script), [asked_of(9, 2)])
    assert alone.scores == [None, None]


def test_with_several_samples_each_order_weighs_the_same():
    """Three of four draws of one order cannot be read: the slot must still cancel."""

    def script(chat, seed, sample):
        lost = sample and find_replies(chat)[0].endswith("2")
        return "no idea" if lost else verdict(chat, "A")

    judge = pairwise(script, samples=4)
    [scored] = round_robin(judge, [asked_of(9, 2)])
    assert scored.scores == [0.5, 0.5]


def test_one_order_is_refused():
    for orders in ("random", "fixed"):
        with pytest.raises(BadInput, match="one order would reward a slot"):
            round_robin(pairwise(leaning(0), orders=orders), [asked_of(1, 2)])


def test_ratings_are_scaled_and_what_cannot_be_read_is_counted():
    def script(chat, seed, sample):
        text = chat[-1].content.partition("<reply>")[2].partition("</reply>")[0]
        number = quality(text)
        if number == 3:
            return Completion(text="", finish="error")
        return f"[[{number}]]" if number else "none"

    judge = PointwiseJudge(ScriptedModel("scripted:test", script))
    first, second = ratings(judge, [asked_of(10, 1, 0, id="a"), asked_of(3, 5, id="b")])
    assert first.scores == [1.0, 0.0, None]
    assert (first.num_scored, first.unread) == (2, "no_verdict")
    assert second.scores == [None, pytest.approx(4 / 9)]
    assert second.unread == "transport"


def test_an_oracle_recovers_the_order_of_any_replies():
    dice = random.Random(1)
    for _ in range(20):
        qualities = dice.sample(range(100), 6)
        example, replies = asked_of(*qualities)
        [scored] = round_robin(pairwise(leaning(0)), [(example, replies)])
        pair = preference(PROMPT, replies, scored.scores, margin=1)
        assert (quality(pair.chosen), quality(pair.rejected)) == (max(qualities), min(qualities))


class Rewarding:
    """A reward head whose rewards are known by the reply; None: lost."""

    def __init__(self, rewards):
        self.rewards = rewards

    def judgments(self, cases, *, watcher=None):
        told = []
        for case in cases:
            reward = self.rewards[case.replies[0]]
            lost = reward is None
            call = Call(case_id=case.id, perm=(0,), text=str(reward), finish="stop")
            if lost:
                call = Call(case_id=case.id, perm=(0,), text="", finish="error")
            told.append(
                Judgment(
                    case_id=case.id,
                    outcome=None,
                    score=None if lost else 0.5,
                    votes=(None,),
                    statuses=("transport" if lost else "ok",),
                    calls=(call,),
                )
            )
        return told


@given(texts, st.data())
def test_a_reward_head_scores_as_duels_would_be_won(found, data):
    numbers = st.one_of(st.none(), st.floats(-1000, 1000).map(lambda x: round(x, 3)))
    rewards = {text: data.draw(numbers) for text in found}
    example = Example(id="one", prompt=PROMPT)
    [scored] = rewarded(Rewarding(rewards), [(example, replies_of(found))])
    known = [text for text in found if rewards[text] is not None]
    assert scored.num_scored == len(known)
    assert scored.unread == (None if len(known) == len(found) else "transport")
    assert len(scored.judgments) == len(found)
    for text, score in zip(found, scored.scores, strict=True):
        if rewards[text] is None or len(known) < 2:
            assert score is None
            continue
        gaps = [rewards[other] - rewards[text] for other in known if other != text]
        shares = [1 / (1 + math.exp(gap)) if gap < 700 else 0.0 for gap in gaps]
        assert score == pytest.approx(sum(shares) / len(shares))
    # In the order of the rewards, as far as numbers can tell them apart.
    ranked = sorted(known, key=lambda text: rewards[text])
    scores = dict(zip(found, scored.scores, strict=True))
    if len(known) > 1:
        ordered = [scores[text] for text in ranked]
        assert all(one <= other + 1e-12 for one, other in itertools.pairwise(ordered))
