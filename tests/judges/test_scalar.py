"""A reward head as a judge: what it reads, how it is counted, and what it refuses."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.judges import Case, Judge, agreement
from planish.judges.lists import rating_cases, ratings_of
from planish.judges.scalar import ScalarJudge, is_scalar
from planish.models.base import Steps
from planish.models.local_loading import open_checkpoint
from planish.records import BadInput, Example, Message, user
from support.checkpoints import END, PAD, STRICT_TEMPLATE, make_tokenizer
from support.training import save_scalar

REPLIES = (
    "the owl said",
    "the dog",
    "A",
    "the quick brown fox jumps over the lazy dog " * 3,
    "two and two are four <|end|> said the moon",
    "[[B]]",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def case(replies, id="one", gold="A", question="which is better, the owl or the dog?", **meta):
    example = Example(id=id, prompt=user(question), meta={"gold": gold, **meta})
    return Case(example=example, replies=tuple(replies))


def cases_of(replies=REPLIES):
    return [
        case((one, other), id=f"{i}-{j}", gold="AB"[(i + j) % 2])
        for i, one in enumerate(replies)
        for j, other in enumerate(replies)
        if i != j
    ]


@pytest.fixture(scope="module")
def qwen2(tmp_path_factory):
    return save_scalar(tmp_path_factory.mktemp("scalar") / "qwen2", "qwen2")


@pytest.fixture(scope="module")
def judge(qwen2):
    return ScalarJudge(f"scalar:{qwen2}")


def by_hand(path, question, reply):
    """The head on the last hidden state, over ids written out by the template alone."""
    checkpoint = open_checkpoint(str(path), device="cpu", scalar=True)
    tokenizer = checkpoint.tokenizer
    text = f"<|bos|><|turn|>user\n{question}<|end|>\n<|turn|>assistant\n{reply}<|end|>\n"
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    assert ids[0, -2] == END  # the head reads the line end behind it, as published heads do
    with torch.no_grad():
        hidden_BTD = checkpoint.model.model(input_ids=ids).last_hidden_state
        return checkpoint.model.score(hidden_BTD[0, -1]).item()


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_batch_gives_what_single_replies_give_and_what_the_head_says(tmp_path, kind, side):
    tokenizer = make_tokenizer()
    tokenizer.padding_side = side
    path = save_scalar(tmp_path / kind, kind, tokenizer=tokenizer)
    cases = [case((REPLIES[i], REPLIES[i - 1]), id=str(i)) for i in range(len(REPLIES))]
    batched = ScalarJudge(str(path), batch_size=8).rewards(cases)
    single = ScalarJudge(str(path), batch_size=1).rewards(cases)
    assert len({reward for pair in batched for reward in pair}) == len(REPLIES)
    for one, other in zip(batched, single, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    question = cases[0].example.prompt[0].content
    for index in range(3):
        expected = by_hand(path, question, REPLIES[index])
        assert batched[index][0] == pytest.approx(expected, abs=1e-5)
    assert ScalarJudge(str(path)).revision == ScalarJudge(str(path)).revision


def test_without_a_padding_token_a_batch_is_no_different(tmp_path):
    path = save_scalar(tmp_path / "bare", "qwen2", tokenizer=make_tokenizer(pad_token=None))
    cases = cases_of()
    one = ScalarJudge(str(path), batch_size=16).rewards(cases)
    other = ScalarJudge(str(path), batch_size=1).rewards(cases)
    assert [r for pair in one for r in pair] == pytest.approx(
        [r for pair in other for r in pair], abs=1e-5
    )


def test_the_end_of_a_turn_inside_a_reply_is_only_text(judge):
    """It would end the reply early, and its reward would be that of a shorter one."""
    (judgment,) = judge.judgments([case(("four", "four <|end|>"))])
    plain, marked = (call.usage.prompt_tokens for call in judgment.calls)
    assert marked - plain >= 4  # spelled out, not one token
    assert judgment.outcome != "tie"


def test_a_judgment_is_the_rewards_compared(judge):
    cases = cases_of()
    rewards, judgments = judge.rewards(cases), judge.judgments(cases)
    assert isinstance(judge, Judge)
    for pair, judgment, verdict in zip(rewards, judgments, judge.judge(cases), strict=True):
        assert judgment.score == pytest.approx(1 / (1 + math.exp(pair[1] - pair[0])))
        assert judgment.outcome == ("A" if pair[0] > pair[1] else "B")
        assert judgment.margin == pytest.approx(abs(2 * judgment.score - 1))
        assert [call.perm for call in judgment.calls] == [(0,), (1,)]
        assert [float(call.text) for call in judgment.calls] == list(pair)
        assert all(call.usage.prompt_tokens > 10 for call in judgment.calls)
        assert (verdict.score, verdict.label) == (judgment.score, judgment.outcome)
        assert verdict.by == judge.name


def test_no_order_can_sway_it_and_agreement_says_so(judge):
    cases = cases_of()
    result = agreement(cases, judge.judgments(cases))
    assert result.coverage.value == result.consistency.value == 1.0
    assert result.first_slot_rate.value == 0.5
    assert result.accuracy.value == result.both_right.value == result.vote_accuracy.value
    assert 0 < result.accuracy.value < 1
    assert result.cost.calls == 2 * len(cases)
    assert result.statuses == {"ok": 2 * len(cases)}


@settings(max_examples=20)
@given(st.text(min_size=1, max_size=40), st.text(min_size=1, max_size=40))
def test_swapped_replies_mirror_the_judgment(judge, one, other):
    same = one == other
    forth, back = judge.judgments(
        [
            case((one, other), id="forth", identical=same),
            case((other, one), id="back", identical=same),
        ]
    )
    assert forth.score == pytest.approx(1 - back.score, abs=1e-5)
    if same:
        assert forth.outcome == back.outcome == "tie"
        assert forth.score == 0.5
        assert set(forth.statuses) == {"tie"}


def test_a_list_names_the_highest_reward(judge):
    (rewards,) = judge.rewards([case(REPLIES, gold="C")])
    (judgment,) = judge.judgments([case(REPLIES, gold="C")])
    assert judgment.outcome == "ABCDEF"[max(range(6), key=lambda i: rewards[i])]
    assert judgment.score == pytest.approx(
        math.exp(max(rewards)) / sum(math.exp(reward) for reward in rewards)
    )


def test_a_single_reply_is_rated_in_the_order_of_rewards(judge):
    cases = [case((reply,), id=str(number)) for number, reply in enumerate(REPLIES)]
    ratings = [judgment.score for judgment in judge.judgments(cases)]
    (rewards,) = judge.rewards([case(REPLIES)])
    assert ratings == pytest.approx([1 / (1 + math.exp(-reward)) for reward in rewards], abs=1e-5)
    assert {judgment.outcome for judgment in judge.judgments(cases)} == {None}
    # As ratings of one prompt they are the rewards themselves: margins are not squashed.
    several = case(REPLIES, id="tied:1")
    judged = {told.case_id: told for told in judge.judgments(rating_cases(several))}
    assert ratings_of(several, judged) == pytest.approx(rewards, abs=1e-5)


def test_a_reply_that_does_not_fit_leaves_its_case_unscored(tmp_path):
    path = save_scalar(tmp_path / "short", "qwen2", context=64)
    judge = ScalarJudge(str(path))
    steps, heard = [], []
    cases = [case(("the owl", "the dog " * 60), id="long"), case(("the owl", "the dog"), id="ok")]
    long, short = judge.judgments(
        cases, on_judgment=heard.append, watcher=Steps(lambda: steps.append(1))
    )
    assert (long.outcome, long.score, set(long.statuses)) == (None, None, {"transport"})
    (failure,) = long.calls[1].failures
    assert failure.kind == "context"
    assert "more than the model's context of 64" in failure.message
    assert short.score is not None
    assert len(steps) == judge.num_calls(cases) == 4
    assert {judgment.case_id for judgment in heard} == {"long", "ok"}
    assert judge.rewards(cases)[0][1] is None
    assert agreement(cases, [long, short]).coverage.value == 0.5


def test_rewards_that_are_no_numbers_are_unscored(tmp_path):
    path = save_scalar(tmp_path / "broken", "qwen2")
    checkpoint = open_checkpoint(str(path), device="cpu", scalar=True)
    checkpoint.model.score.weight.data.fill_(float("nan"))
    checkpoint.model.save_pretrained(path)
    (judgment,) = ScalarJudge(str(path)).judgments([case(("the owl", "the dog"))])
    assert judgment.score is None
    assert set(judgment.statuses) == {"no_verdict"}


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        (case(map(str, range(27))), "case one: rewards compare up to 26 replies, found 27"),
        (case(("one", "one")), "case one: two of the replies are identical"),
        (case(("one", "two", "one")), "case one: two of the replies are identical"),
    ],
)
def test_cases_that_hold_nothing_to_compare_are_refused(judge, bad, complaint):
    with pytest.raises(BadInput) as error:
        judge.judgments([case(("a", "b"), id="good"), bad])
    assert str(error.value).startswith(complaint)


def test_a_chat_that_the_template_refuses_is_named(tmp_path):
    tokenizer = make_tokenizer(chat_template=STRICT_TEMPLATE)
    judge = ScalarJudge(str(save_scalar(tmp_path / "strict", "qwen2", tokenizer=tokenizer)))
    turns = (Message(role="user", content="a"), Message(role="user", content="b"))
    with pytest.raises(BadInput, match="case x: the chat template refuses this chat"):
        judge.check([Case(example=Example(id="x", prompt=turns), replies=("a", "b"))])


def test_what_is_no_reward_model_is_refused(tmp_path, qwen2):
    from support.training import save_qwen2

    model = save_qwen2(tmp_path / "language")
    with pytest.raises(BadInput, match="is a language model without a scalar head"):
        ScalarJudge(f"scalar:{model}")
    with pytest.raises(BadInput, match="no such folder"):
        ScalarJudge(f"scalar:{tmp_path / 'nowhere'}")
    with pytest.raises(BadInput, match="batch_size: must be at least 1"):
        ScalarJudge(str(qwen2), batch_size=0)
    with pytest.raises(BadInput, match="lm_head"):
        open_checkpoint(str(qwen2), device="cpu")
    config = json.loads((qwen2 / "config.json").read_text())
    assert config["pad_token_id"] == PAD
    assert is_scalar("scalar:./x")
    assert not is_scalar("hf:./scalar:x")
