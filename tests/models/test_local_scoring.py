"""`LocalModel.logprobs` and `label_logprobs` against plain forward passes and each other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from planish.models import load, local_batches
from planish.models.base import ScoringModel
from planish.models.local import LocalModel
from planish.models.local_scoring import Scorer
from planish.records import BadInput, Message, Sampling, user
from support.checkpoints import KINDS, make_tokenizer, save_checkpoint

torch.set_num_threads(1)

SENTENCE = "the lazy dog jumps over which reply is better, A or B? said the moon. "
CHATS = [user(SENTENCE[: 3 + 9 * i]) for i in range(8)]
REPLIES = [
    "[[A]]",
    "",
    "owl",
    "B",
    "the quick brown fox is better than the dog",
    "ü → 狐",
    " A",
    "?",
]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    return {kind: save_checkpoint(root / kind, kind, seed=1) for kind in KINDS}


@pytest.fixture(scope="session")
def models(checkpoints):
    return {kind: LocalModel(str(path), name=f"hf:{kind}") for kind, path in checkpoints.items()}


@pytest.fixture(params=KINDS)
def model(models, request):
    return models[request.param]


@pytest.fixture
def qwen(models):
    return models["qwen3"]


def direct(model, prompt, reply):
    """Log-probabilities by transformers alone, from the texts."""
    prompt_ids = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([model.tokenizer(prompt + reply, add_special_tokens=False)["input_ids"]])
    assert ids[0, : len(prompt_ids)].tolist() == prompt_ids
    with torch.inference_mode():
        logp = model.model(ids).logits.log_softmax(-1)[0, :-1]
    scores = logp.gather(-1, ids[0, 1:, None])[:, 0]
    return ids[0, len(prompt_ids) :].tolist(), scores[len(prompt_ids) - 1 :].tolist()


def rendered(chat):
    turns = "".join(f"<|turn|>{m.role}\n{m.content}<|end|>\n" for m in chat)
    return f"<|bos|>{turns}<|turn|>assistant\n"


def test_a_local_model_is_a_scoring_model(qwen):
    assert isinstance(qwen, ScoringModel)


# -- replies --------------------------------------------------------------------------------------


def test_logprobs_equal_a_direct_forward_pass_in_a_batch_and_alone(model):
    together = model.logprobs(CHATS, REPLIES)
    for chat, reply, scores in zip(CHATS, REPLIES, together, strict=True):
        (alone,) = model.logprobs([chat], [reply])
        ids, expected = direct(model, rendered(chat), reply)
        assert list(scores.token_ids) == list(alone.token_ids) == ids
        np.testing.assert_allclose(scores.logprobs, expected, atol=1e-4)
        np.testing.assert_allclose(alone.logprobs, expected, atol=1e-4)
        assert model.tokenizer.decode(scores.token_ids) == reply
    assert together[1].token_ids == together[1].logprobs == ()
    assert together[0].total == pytest.approx(sum(together[0].logprobs))


def test_padding_does_not_shift_learned_positions(tmp_path):
    # Rotary models hardly notice a shift; GPT-2's position table does.
    model = LocalModel(str(save_checkpoint(tmp_path, "gpt2")), name="hf:gpt2")
    together = model.logprobs(CHATS, REPLIES)
    for chat, reply, scores in zip(CHATS, REPLIES, together, strict=True):
        np.testing.assert_allclose(
            scores.logprobs, direct(model, rendered(chat), reply)[1], atol=1e-4
        )
    quick = model.label_logprobs(CHATS, ("A", "B"))
    for chat, scores in zip(CHATS, quick, strict=True):
        expected = [direct(model, rendered(chat) + "[[", label)[1][0] for label in "AB"]
        np.testing.assert_allclose(scores, expected, atol=1e-4)
    sampling = Sampling(temperature=0, max_tokens=20)
    assert [row[0].token_ids for row in model.generate(CHATS, sampling)] == [
        model.generate([chat], sampling)[0][0].token_ids for chat in CHATS
    ]


def test_generated_logprobs_equal_the_scores_of_the_generated_tokens(model):
    sampling = Sampling(temperature=1.3, top_p=0.9, max_tokens=25, seed=4, n=2, logprobs=True)
    for chat, row in zip(CHATS, model.generate(CHATS, sampling), strict=True):
        for completion in row:
            prompt_ids = model.tokenizer(rendered(chat), add_special_tokens=False)["input_ids"]
            scored = model._scorer.score(
                [local_batches.Row(0, prompt_ids, list(completion.token_ids))]
            )
            np.testing.assert_allclose(completion.logprobs, scored[0].logprobs, atol=1e-4)


def test_greedy_logprobs_are_kept_too(qwen):
    completion = qwen.generate([CHATS[2]], Sampling(temperature=0, max_tokens=10, logprobs=True))
    assert len(completion[0][0].logprobs) == len(completion[0][0].token_ids) == 10
    assert all(p < 0 for p in completion[0][0].logprobs)


def test_without_being_asked_no_logprobs_are_kept(qwen):
    assert qwen.generate([CHATS[0]], Sampling(max_tokens=3, seed=0))[0][0].logprobs is None


def test_the_reply_goes_on_where_the_assistant_stopped(qwen):
    chat = (*CHATS[3], Message(role="assistant", content="I say [["))
    (scores,) = qwen.logprobs([chat], ["A]]"])
    ids, expected = direct(qwen, rendered(CHATS[3]) + "I say [[", "A]]")
    assert list(scores.token_ids) == ids
    np.testing.assert_allclose(scores.logprobs, expected, atol=1e-4)


def test_a_reply_that_would_melt_into_the_prompt_is_encoded_alone(qwen):
    # Two brackets are one token when they are written together.
    chat = (*CHATS[3], Message(role="assistant", content="["))
    assert len(qwen.tokenizer("[[", add_special_tokens=False)["input_ids"]) == 1
    bracket = qwen.tokenizer("[", add_special_tokens=False)["input_ids"]
    (scores,) = qwen.logprobs([chat], ["["])
    assert list(scores.token_ids) == bracket
    (label,) = qwen.label_logprobs([CHATS[3]], ("[",), prefix="[")
    assert label == pytest.approx(scores.logprobs, abs=1e-5)


def test_special_tokens_in_a_reply_are_text(qwen):
    (scores,) = qwen.logprobs([CHATS[0]], ["<|end|> A"])
    assert not set(scores.token_ids) & set(qwen.tokenizer.all_special_ids)
    assert qwen.tokenizer.decode(scores.token_ids) == "<|end|> A"


def test_only_the_reply_s_logits_are_computed(qwen, monkeypatch):
    whole, shapes = qwen.model.forward, []

    def forward(**options):
        output = whole(**options)
        shapes.append(tuple(output.logits.shape))
        return output

    monkeypatch.setattr(qwen.model, "forward", forward)
    tokens = len(qwen.logprobs([CHATS[7]], ["owl"])[0].token_ids)
    qwen.label_logprobs(CHATS[:2], ("A", "B"))
    assert shapes == [(1, tokens + 1, 300), (2, 1, 300)]


def test_a_large_vocabulary_makes_smaller_batches(qwen, monkeypatch):
    expected = qwen.logprobs(CHATS, REPLIES)
    monkeypatch.setattr(local_batches, "_LOGITS_AT_ONCE", 300 * 12)
    whole, rows = qwen.model.forward, []

    def forward(**options):
        rows.append(len(options["input_ids"]))
        return whole(**options)

    monkeypatch.setattr(qwen.model, "forward", forward)
    for scores, other in zip(qwen.logprobs(CHATS, REPLIES), expected, strict=True):
        np.testing.assert_allclose(scores.logprobs, other.logprobs, atol=1e-4)
    assert max(rows) < 7
    assert sum(rows) == 7


def test_a_model_without_logits_to_keep_scores_the_same(qwen, monkeypatch):
    expected = qwen.logprobs(CHATS, REPLIES)
    monkeypatch.setattr(qwen._batches, "_options", frozenset({"position_ids"}))
    for scores, other in zip(qwen.logprobs(CHATS, REPLIES), expected, strict=True):
        np.testing.assert_allclose(scores.logprobs, other.logprobs, atol=1e-5)


def test_text_beyond_the_context_is_bad_input_not_cut(qwen):
    with pytest.raises(BadInput, match=r"text 2: .*context of 256"):
        qwen.logprobs(CHATS[:2], ["fine", "owl " * 200])
    with pytest.raises(BadInput, match="context of 256"):
        qwen.label_logprobs([user("owl " * 200)], ("A", "B"))


def test_out_of_memory_halves_the_batch_while_scoring(checkpoints, monkeypatch):
    model = LocalModel(str(checkpoints["qwen3"]), name="m", batch_size=8)
    expected = model.logprobs(CHATS, REPLIES)
    whole, limit = model.model.forward, 2

    def forward(**options):
        if len(options["input_ids"]) > limit:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return whole(**options)

    monkeypatch.setattr(model.model, "forward", forward)
    for scores, other in zip(model.logprobs(CHATS, REPLIES), expected, strict=True):
        np.testing.assert_allclose(scores.logprobs, other.logprobs, atol=1e-4)
    assert model.batch_size <= 2
    limit = 0
    with pytest.raises(BadInput, match="memory"):
        model.logprobs(CHATS[:1], ["A"])


# -- labels ---------------------------------------------------------------------------------------


def test_single_token_labels_take_one_pass_and_agree_with_the_long_way(model, monkeypatch):
    labels = ("A", "B", "?")
    quick = model.label_logprobs(CHATS, labels)
    monkeypatch.setattr(Scorer, "single_tokens", lambda *_: pytest.fail("this is the long way"))
    for chat, scores in zip(CHATS, quick, strict=True):
        prefixed = (*chat, Message(role="assistant", content="[["))
        slow = [model.logprobs([prefixed], [label])[0] for label in labels]
        assert all(len(score.token_ids) == 1 for score in slow)
        np.testing.assert_allclose(scores, [score.total for score in slow], atol=1e-4)


def test_longer_labels_are_summed(model):
    labels = ("A", "the owl", "tie")
    for chat, scores in zip(CHATS, model.label_logprobs(CHATS, labels), strict=True):
        expected = [sum(direct(model, rendered(chat) + "[[", label)[1]) for label in labels]
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_labels_without_a_prefix_answer_at_once(qwen):
    ((score,),) = qwen.label_logprobs([CHATS[4]], ("[[A]]",), prefix="")
    assert score == pytest.approx(qwen.logprobs([CHATS[4]], ["[[A]]"])[0].total, abs=1e-4)


def test_the_prefix_goes_on_after_what_the_assistant_wrote(qwen):
    chat = (*CHATS[4], Message(role="assistant", content="The owl is right. \n\n"))
    for labels in (("A", "B"), ("the owl", "B")):
        (scores,) = qwen.label_logprobs([chat], labels)
        prompt = rendered(CHATS[4]) + "The owl is right. \n\n[["
        expected = [sum(direct(qwen, prompt, label)[1]) for label in labels]
        np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_single_token_labels_of_a_whole_vocabulary_add_up_to_one(qwen):
    ids = [i for i in range(4, 300) if "\ufffd" not in qwen.tokenizer.decode([i])]
    labels = [qwen.tokenizer.decode([i]) for i in ids]
    alone = [
        label
        for label in labels
        if len(qwen.tokenizer(f"[[{label}", add_special_tokens=False)["input_ids"]) == 2
    ]
    (scores,) = qwen.label_logprobs([CHATS[0]], alone)
    total = np.exp(scores).sum()
    assert 0.05 < total <= 1 + 1e-5


@pytest.mark.parametrize("labels", [("A", "A"), ("A", ""), ()])
def test_labels_that_cannot_be_told_apart_are_bad_input(qwen, labels):
    with pytest.raises(BadInput, match="labels"):
        qwen.label_logprobs(CHATS[:1], labels)


def test_labels_that_this_tokenizer_confounds_are_named(tmp_path):
    tokenizer = make_tokenizer()
    from tokenizers import normalizers

    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    model = LocalModel(str(save_checkpoint(tmp_path, tokenizer=tokenizer)), name="hf:lower")
    with pytest.raises(BadInput, match=r"'a' looks the same as 'A' to the tokenizer of hf:lower"):
        model.label_logprobs(CHATS[:1], ("A", "a"))


def test_the_order_of_labels_and_chats_is_kept(qwen):
    forward = qwen.label_logprobs(CHATS, ("A", "B", "?"))
    for order in itertools.permutations(range(3)):
        labels = [("A", "B", "?")[i] for i in order]
        backward = qwen.label_logprobs(CHATS[::-1], labels)[::-1]
        for scores, other in zip(forward, backward, strict=True):
            np.testing.assert_allclose([scores[i] for i in order], other, atol=1e-4)


def test_greedy_is_told_of_what_the_model_would_write_itself():
    reasoner = load("embedded:reasoner")
    chats = [user(f"{a} + 4 - 5") for a in range(10)]
    written = reasoner.generate(chats, Sampling(temperature=0, max_tokens=8))
    replies = [completions[0].text for completions in written]
    assert all(found.greedy for found in reasoner.logprobs(chats, replies))
    others = [f"{reply[:-1]}{(int(reply[-1]) + 1) % 10}" for reply in replies]
    assert not any(found.greedy for found in reasoner.logprobs(chats, others))
    # Padded or alone, and with nothing to be likely.
    mixed = reasoner.logprobs(chats[:2], [replies[0], "7"])
    assert mixed[0].greedy is True
    assert reasoner.logprobs(chats[:1], [""])[0].greedy is True
