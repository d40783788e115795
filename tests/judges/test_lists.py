"""Lists of replies: planted picks are recovered, and ratings of several right replies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.judges import Case, ListwiseJudge
from planish.judges.agreement import coverage_of
from planish.judges.base import Call, Judgment
from planish.judges.benches import Bench, bench_result
from planish.judges.lists import list_agreement, rated_right, rating_cases, ratings_of
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Chat, Example, user


def case(number: int, size: int = 4, **meta: object) -> Case:
    gold = "ABCD"[number % size]
    replies = [f"bad {number} {slot}" for slot in range(size)]
    replies["ABCD".index(gold)] = f"good {number}"
    example = Example(
        id=f"c{number}", prompt=user(f"question {number}"), meta={"gold": gold} | meta
    )
    return Case(example=example, replies=tuple(replies))


CASES = [case(number) for number in range(12)]


def picks(chat: Chat) -> list[str]:
    """The replies in the order of the prompt's slots."""
    text = chat[-1].content
    return sorted(
        (reply for each in CASES for reply in each.replies if f"{reply}\n" in text),
        key=text.index,
    )


def knowing(chat: Chat, seed: int | None, sample: int) -> str:
    shown = picks(chat)
    return f"[[{'ABCD'[next(i for i, r in enumerate(shown) if r.startswith('good'))]}]]"


@pytest.mark.parametrize("mode", ["pick", "cyclic"])
def test_a_judge_that_knows_is_right_in_every_order(mode: str) -> None:
    judge = ListwiseJudge(ScriptedModel("scripted:k", knowing), mode=mode)
    assert judge.num_calls(CASES) == len(CASES) * (4 if mode == "cyclic" else 1)
    found = list_agreement(CASES, judge.judgments(CASES))
    assert found.accuracy.value == found.coverage.value == 1
    assert found.fair_first_slot == 0.25
    if mode == "cyclic":
        assert found.every_order_right.value == found.consistency.value == 1
        assert found.first_slot_rate.value == 0.25
    else:
        assert found.every_order_right.value is None


def test_a_judge_that_always_names_the_first_slot_is_found_out() -> None:
    judge = ListwiseJudge(ScriptedModel("scripted:a", lambda *_: "[[A]]"), mode="cyclic")
    found = list_agreement(CASES, judge.judgments(CASES))
    assert found.first_slot_rate.value == 1
    assert found.consistency.value == found.every_order_right.value == 0
    assert found.accuracy.value == 0  # four replies with a point each: a tie
    assert found.counts["wrong"] == 12


def test_unread_lists_are_unscored_or_wrong_by_mode() -> None:
    def half(chat: Chat, seed: int | None, sample: int) -> str:
        return knowing(chat, seed, sample) if "question 1" in chat[-1].content else "no idea"

    judgments = ListwiseJudge(ScriptedModel("scripted:h", half)).judgments(CASES)
    honest, official = (list_agreement(CASES, judgments, mode=m) for m in ("honest", "official"))
    # Questions 1, 10 and 11.
    assert (honest.accuracy.value, official.accuracy.value) == (1, 0.25)
    assert honest.coverage.value == official.coverage.value == 0.25
    assert honest.counts["unscored_cases"] == 9
    assert honest.statuses == {"ok": 3, "no_verdict": 9}


def test_duels_are_half_in_the_first_slot() -> None:
    def duel(chat: Chat, seed: int | None, sample: int) -> str:
        shown = picks(chat)
        good = [i for i, reply in enumerate(shown) if reply.startswith("good")]
        return f"[[{'AB'[good[0] if good else 0]}]]"

    judge = ListwiseJudge(ScriptedModel("scripted:d", duel), mode="copeland")
    found = list_agreement(CASES, judge.judgments(CASES))
    assert found.accuracy.value == 1
    assert found.fair_first_slot == 0.5
    assert found.every_order_right.value is None


def test_no_case_and_foreign_judgments_are_refused() -> None:
    with pytest.raises(BadInput, match="no case"):
        list_agreement([], [])
    with pytest.raises(BadInput, match="judgment of c1"):
        list_agreement(CASES[:1], [Judgment(case_id="c1", outcome=None, score=None)])


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, None]), min_size=2, max_size=6), st.data())
def test_rated_right_is_every_right_above_every_wrong(
    ratings: list[float | None], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, len(ratings) - 1))
    found = rated_right(ratings, count)
    if None in ratings:
        assert found is None
    else:
        assert found == all(a > b for a in ratings[:count] for b in ratings[count:])


def test_a_bench_of_all_three_kinds_adds_up() -> None:
    """Two pairs (one lost), a list, and a prompt with two right replies."""
    pairs = [case(1, size=2), case(2, size=2)]
    ties = Case(
        example=Example(id="tied:1", prompt=user("?"), meta={"num_correct": 2, "subset": "Ties"}),
        replies=("good a", "good b", "bad"),
    )
    bench = Bench("mixed", [*pairs, CASES[0], ties])
    parts = (bench.pairs, bench.lists, bench.rated, bench.ratings)
    assert [len(part) for part in parts] == [2, 1, 1, 3]

    def judged(id: str, outcome: str | None, status: str, perm: tuple[int, ...]) -> Judgment:
        return Judgment(
            case_id=id,
            outcome=outcome,
            score=None if status != "ok" else 1.0,
            votes=(outcome,),
            statuses=(status,),  # type: ignore[arg-type]
            calls=(Call(case_id=id, perm=perm),),
        )

    made = [
        judged("c1", "B", "ok", (0, 1)),
        judged("c2", None, "transport", (0, 1)),
        judged("c0", "B", "ok", (0, 1, 2, 3)),
    ]
    made += [
        judged(each.id, None, "ok", (0,)).model_copy(update={"score": score})
        for each, score in zip(rating_cases(ties), (0.9, 0.8, 0.2), strict=True)
    ]
    by_id = {judgment.case_id: judgment for judgment in made}
    assert ratings_of(ties, by_id) == (0.9, 0.8, 0.2)
    found = bench_result(bench, by_id)
    assert found.scores["right"] == {"c1": 1, "c2": None, "c0": 0, "tied:1": 1}
    assert found.accuracy.value == pytest.approx(2 / 3)
    assert found.unscored == 1
    assert (found.lost, found.calls) == (1, 6)
    assert found.coverage.value == pytest.approx(5 / 6)
    assert bench_result(bench, by_id, mode="official").accuracy.value == 0.5
    assert found.agreement is not None
    assert found.lists is not None
    assert (found.agreement.num_cases, found.lists.num_cases) == (2, 1)
    assert found.boards == {}
    assert coverage_of([made]).value == pytest.approx(5 / 6)


def test_a_case_without_gold_is_refused() -> None:
    bare = Case(example=Example(id="x", prompt=user("?")), replies=("a", "b"))
    with pytest.raises(BadInput, match="case x: has no gold"):
        Bench("b", [bare])
