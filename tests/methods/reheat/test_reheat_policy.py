"""A policy from inside, against loops that take one reply after another without any padding."""

import copy
from dataclasses import replace

import pytest
import torch

from planish.methods.reheat import policy as module
from planish.methods.reheat.policy import Policy, Text, changes, entropies_of, entropy_of
from planish.models.local_loading import open_checkpoint
from planish.records import user

CHATS = [user("two and two"), user("the quick brown fox jumps"), user("A or B?"), user("owl")]
RAGGED = [
    Text((7, 8, 9, 10, 11), (20, 21, 22)),
    Text((12,), (30, 31, 32, 33, 34, 35, 36)),
    Text((13, 14, 15), ()),
    Text((16, 17, 18, 19, 20, 21, 22, 23), (40,)),
    Text((24, 25), (50, 51, 52)),
]


@pytest.fixture(scope="module")
def opened(checkpoint):
    return open_checkpoint(str(checkpoint()), device="cpu")


@pytest.fixture
def policy(opened):
    return Policy(opened, name="hf:tiny", batch_size=3)


def logits_before(checkpoint, text):
    """The distribution before every token of one reply, by itself."""
    ids = torch.tensor([[*text.prompt_ids, *text.reply_ids]])
    with torch.no_grad():
        logits_1TV = checkpoint.model(input_ids=ids).logits
    return logits_1TV[0, len(text.prompt_ids) - 1 : -1].double()


def entropies_alone(checkpoint, text):
    p_TV = logits_before(checkpoint, text).softmax(-1)
    return (-(p_TV * p_TV.log()).sum(-1)).tolist()


def test_the_entropy_is_that_of_single_replies(opened, policy):
    found = entropies_of(policy, RAGGED)
    assert [len(row) for row in found] == [len(text.reply_ids) for text in RAGGED]
    for row, text in zip(found, RAGGED, strict=True):
        assert row == pytest.approx(entropies_alone(opened, text) if row else [], abs=1e-4)
    every = [value for row in found for value in row]
    assert entropy_of(policy, RAGGED).mean == pytest.approx(sum(every) / len(every))
    assert entropy_of(policy, RAGGED).num_tokens == 14


@pytest.mark.parametrize("size", [1, 2, 64])
def test_rows_at_once_change_no_number(opened, policy, size):
    other = Policy(opened, name="hf:tiny", batch_size=size)
    for ours, theirs in zip(entropies_of(policy, RAGGED), entropies_of(other, RAGGED), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


def test_few_positions_at_a_time_change_nothing(policy, monkeypatch):
    whole, moved = entropies_of(policy, RAGGED), changes(policy, policy, RAGGED)
    monkeypatch.setattr(module, "_LOGITS_AT_ONCE", 2 * 300)
    assert entropies_of(policy, RAGGED) == whole
    assert changes(policy, policy, RAGGED) == moved
    assert max(len(reading.ids_N) for reading in policy.read(RAGGED)) == 2


@pytest.mark.parametrize("hidden", [False, True])
def test_no_logits_are_computed_over_a_long_prompt(opened, policy, hidden):
    heads = []
    seen = opened.model.lm_head.register_forward_hook(
        lambda module, inputs, output: heads.append(output.shape[1])
    )
    (reading,) = policy.read([Text(tuple(range(5, 65)), (20, 21, 22))], hidden=hidden)
    seen.remove()
    assert heads == [4]
    assert len(reading.logits_NV) == 3
    assert [len(layer) for layer in reading.layers_NH] == ([3, 3] if hidden else [])


def test_draws_end_with_their_end_token_and_are_the_same_again(opened, policy):
    drawn = policy.draw(CHATS, n=2, max_tokens=12, seed=3)
    texts = policy.texts(CHATS, drawn)
    assert len(texts) == 8
    completions = [each for row in drawn for each in row]
    for text, completion in zip(texts, completions, strict=True):
        ended = completion.finish == "stop"
        assert text.reply_ids[: len(completion.token_ids)] == completion.token_ids
        assert len(text.reply_ids) == len(completion.token_ids) + ended
        assert not ended or text.reply_ids[-1] in opened.eos_ids
    assert policy.draw(CHATS, n=2, max_tokens=12, seed=3)[1][1].text == drawn[1][1].text
    single = policy.draw(CHATS[1:2], n=2, max_tokens=12, seed=3)
    assert [each.text for each in single[0]] == [each.text for each in drawn[1]]


def test_a_reply_that_does_not_fit_is_no_text(policy):
    drawn = policy.draw([user("word " * 250), user("a")], max_tokens=8, seed=0)
    texts = policy.texts([user("word " * 250), user("a")], drawn)
    assert len(texts) == 1


def test_a_policy_has_not_moved_from_itself(policy):
    found = changes(policy, policy, RAGGED)
    assert found.num_tokens == 14
    assert found.token_kl == pytest.approx(0, abs=1e-6)
    assert found.top10_overlap == found.greedy_agreement == 1
    assert found.retained_mass == pytest.approx(1)
    assert len(found.cka_per_layer) == 2
    assert found.cka_per_layer == pytest.approx((1.0, 1.0))


def tempered(opened, temperature):
    """The same policy with every logit divided."""
    model = copy.deepcopy(opened.model)
    with torch.no_grad():
        model.lm_head.weight /= temperature
    return Policy(replace(opened, model=model), name="warm")


def test_a_tempered_copy_has_the_closed_form_and_the_same_ranks(opened, policy):
    found = changes(policy, tempered(opened, 2.0), RAGGED)
    kl, mass = [], []
    for text in RAGGED:
        if text.reply_ids:
            logits_TV = logits_before(opened, text)
            logp_TV, logq_TV = logits_TV.log_softmax(-1), (logits_TV / 2).log_softmax(-1)
            kl += (logp_TV.exp() * (logp_TV - logq_TV)).sum(-1).tolist()
            ten = logits_TV.topk(10).indices
            mass += (
                logq_TV.exp().gather(-1, ten).sum(-1) / logp_TV.exp().gather(-1, ten).sum(-1)
            ).tolist()
    assert found.token_kl == pytest.approx(sum(kl) / len(kl), rel=1e-4)
    assert found.retained_mass == pytest.approx(sum(mass) / len(mass), rel=1e-4)
    assert found.top10_overlap == found.greedy_agreement == 1
    assert found.cka_per_layer == pytest.approx((1.0, 1.0))  # only the head is another
    assert entropy_of(tempered(opened, 2.0), RAGGED).mean > entropy_of(policy, RAGGED).mean


def test_another_policy_has_moved(policy, checkpoint):
    other = Policy(open_checkpoint(str(checkpoint(seed=1)), device="cpu"), name="hf:other")
    found = changes(policy, other, RAGGED)
    assert found.token_kl > 0.1
    assert found.top10_overlap < 0.5
    assert all(0 <= value < 0.99 for value in found.cka_per_layer)


def test_nothing_to_compare_on_is_a_mistake(policy):
    with pytest.raises(ValueError, match="no reply"):
        changes(policy, policy, RAGGED[2:3])
    with pytest.raises(ValueError, match="no token"):
        entropy_of(policy, [])


@pytest.mark.parametrize("seed", range(3))
def test_cka_is_the_textbooks(seed):
    """HSIC by its definition, with centring matrices, over features."""
    torch.manual_seed(seed)
    old_NH, new_NH = torch.randn(40, 8) + 3, torch.randn(40, 5)
    new_NH[:, 0] += old_NH[:, 0]
    centring = torch.eye(40, dtype=torch.float64) - 1 / 40

    def hsic(a, b):
        a, b = a.double() @ a.double().T, b.double() @ b.double().T
        return torch.trace(a @ centring @ b @ centring)

    wanted = hsic(old_NH, new_NH) / (hsic(old_NH, old_NH) * hsic(new_NH, new_NH)).sqrt()
    assert module._linear_cka(old_NH, new_NH) == pytest.approx(float(wanted), abs=1e-5)
    turned, _ = torch.linalg.qr(torch.randn(8, 8))
    assert module._linear_cka(old_NH, 7 * old_NH @ turned + 2) == pytest.approx(1, abs=1e-5)
