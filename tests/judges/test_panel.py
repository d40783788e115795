"""Several judges as one."""

import pytest

from planish.judges import Case, PairwiseJudge, Panel, agreement
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Completion, Example, user


def fixed(label):
    """A judge that names one reply wherever it stands, or says nothing; counts its calls."""

    def script(chat, seed, sample):
        judge.seen += 1
        if label is None:
            return Completion(text="", finish="error")
        if label == "tie":
            return "[[tie]]"
        first = "reply a" in chat[-1].content.split("</reply_a>")[0]
        return "[[A]]" if first == (label == "A") else "[[B]]"

    judge = PairwiseJudge(ScriptedModel(f"fixed-{label}", script), "plain")
    judge.seen = 0
    return judge


def batch(count):
    return [
        Case(
            example=Example(id=str(i), prompt=user("?"), meta={"gold": "A"}),
            replies=("reply a", "reply b"),
        )
        for i in range(count)
    ]


def test_the_majority_wins_and_nobody_is_asked_in_vain():
    judges = [fixed("A"), fixed("A"), fixed("B")]
    verdicts = Panel(judges).judge(batch(4))
    assert [v.label for v in verdicts] == ["A"] * 4
    assert judges[2].seen == 0


def test_split_and_silent_panels():
    assert Panel([fixed("A"), fixed("B")]).judge(batch(1))[0].label == "tie"
    silent = Panel([fixed(None), fixed(None)]).judge(batch(1))[0]
    assert silent.score is None
    assert Panel([fixed(None), fixed("B")]).judge(batch(1))[0].label == "B"


def test_every_call_is_kept_and_metrics_apply():
    cases = batch(3)
    judgments = Panel([fixed("A"), fixed("B"), fixed("tie")]).judgments(cases)
    assert all(len(judgment.calls) == 6 for judgment in judgments)
    assert {call.model for call in judgments[0].calls} == {"fixed-A", "fixed-B", "fixed-tie"}
    result = agreement(cases, judgments)
    assert result.tie_rate.value == pytest.approx(1 / 3)
    assert result.accuracy.value == 0


def test_cyclic_panels_share_the_cases_by_id():
    cases = batch(40)

    def outcomes(part):
        judges = [fixed("A"), fixed("B"), fixed("tie")]
        found = Panel(judges, mode="cyclic").judgments(part)
        return {j.case_id: j.outcome for j in found}, [judge.seen for judge in judges]

    whole, seen = outcomes(cases)
    assert sum(seen) == 80
    assert min(seen) > 0
    rest, _ = outcomes(cases[::-1][:13])  # as a resumed run would ask
    assert all(whole[case_id] == outcome for case_id, outcome in rest.items())


def test_one_judge_is_no_panel():
    with pytest.raises(BadInput, match="two judges"):
        Panel([fixed("A")])


def test_an_id_that_is_no_text_has_its_turn():
    (case,) = batch(1)
    odd = case.model_copy(
        update={"example": case.example.model_copy(update={"id": "half a pair \ud800"})}
    )
    (verdict,) = Panel([fixed("A"), fixed("A")], mode="cyclic").judge([odd])
    assert verdict.label == "A"
