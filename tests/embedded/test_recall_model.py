"""The tiny reader before it is taught: its words, how it is asked, what its heads do already."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2.exceptions import TemplateError

from planish.embedded.recall_model import (
    _RECORD,
    MATCHING,
    SHIFTS,
    VOCABULARY,
    build_model,
    build_tokenizer,
)
from planish.tasks.recall import RecallTask

TOKENIZER = build_tokenizer()
NUM_WORDS = VOCABULARY.index("831") + 1
LOOKING = 4
"""Heads of a layer that match: the first half."""


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reader():
    model = build_model(0)
    model.set_attn_implementation("eager")
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def first_layer(reader):
    model = copy.deepcopy(reader.model)
    model.layers = model.layers[:1]
    model.config.num_hidden_layers = 1
    return model


@pytest.fixture(scope="module")
def examples():
    return list(RecallTask("all", 128).examples("report", 15))


def drawn(number, seed):
    """Different words."""
    order = torch.randperm(NUM_WORDS, generator=torch.Generator().manual_seed(seed))
    return order[None, :number]


def asked(messages):
    return TOKENIZER.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=messages[-1]["role"] == "user"
    )


def turn(role, content):
    return {"role": role, "content": content}


def test_a_document_and_its_answer_come_back_word_for_word(examples):
    for example in examples:
        for text in (example.prompt[-1].content, example.target):
            ids = TOKENIZER(text).input_ids
            assert len(ids) == len(text.split())
            assert TOKENIZER.pad_token_id not in ids
            assert TOKENIZER.decode(ids) == text
            assert TOKENIZER.decode(ids, skip_special_tokens=True) == text


def test_each_word_is_one_token():
    assert TOKENIZER.convert_tokens_to_ids(list(VOCABULARY)) == list(range(len(VOCABULARY)))
    assert len(TOKENIZER) == len(VOCABULARY)


@settings(max_examples=20)
@given(st.lists(st.sampled_from([*VOCABULARY[:-2], "832", "x", "#16", "07", "²", "é"])))
def test_a_word_that_it_does_not_know_reads_as_padding(words):
    ids = TOKENIZER(" ".join(words)).input_ids
    known = [word if word in VOCABULARY else TOKENIZER.pad_token for word in words]
    assert TOKENIZER.convert_ids_to_tokens(ids) == known


def test_batches_are_padded_on_the_left():
    batch = TOKENIZER(["7 300", "7"], padding=True)
    assert batch.attention_mask == [[1, 1], [0, 1]]
    assert batch.input_ids[1] == [TOKENIZER.pad_token_id, VOCABULARY.index("7")]


def test_only_the_last_user_turn_counts():
    last = turn("user", "; 7 300 = 401 402 403 404 ? #0 7 300 :")
    alone = asked([last])
    assert TOKENIZER(alone).input_ids == TOKENIZER(last["content"]).input_ids
    earlier = [turn("system", "641"), turn("user", "642"), turn("assistant", "643")]
    for before in (earlier, earlier[:1], earlier[1:], [turn("user", "644")]):
        assert asked([*before, last]) == alone


def test_an_answer_is_followed_by_the_end(examples):
    for example in examples[:3]:
        messages = [turn(one.role, one.content) for one in example.prompt]
        told = asked([*messages, turn("assistant", example.target)])
        assert told.startswith(asked(messages))
        ids = TOKENIZER(told).input_ids
        assert ids[-1] == TOKENIZER.eos_token_id
        answer = TOKENIZER(asked(messages)).input_ids + TOKENIZER(example.target).input_ids
        assert ids[:-1] == answer


@pytest.mark.parametrize("messages", [[turn("system", "641")], [turn("assistant", "641")]])
def test_without_a_user_there_is_no_question(messages):
    with pytest.raises(TemplateError, match="a user message is needed"):
        asked(messages)


def test_a_seed_tells_the_weights_and_leaves_torch_alone(reader):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    other, same = build_model(1), build_model(0)
    assert torch.equal(torch.rand(1), expected)
    weights = reader.state_dict()
    assert all(torch.equal(weights[name], one) for name, one in same.state_dict().items())
    assert not torch.equal(other.state_dict()["lm_head.weight"], weights["lm_head.weight"])
    assert 1_000_000 < reader.num_parameters() < 2_000_000
    assert not same.training


@pytest.mark.parametrize("position", [SHIFTS, 4000])
def test_each_head_of_the_first_layer_looks_one_word_further_back(first_layer, position):
    ids_BT = torch.randint(NUM_WORDS, (1, position + 1), generator=torch.Generator().manual_seed(1))
    first_layer.set_attn_implementation("sdpa")  # no table of all pairs
    cache = first_layer(ids_BT[:, :-1], use_cache=True).past_key_values
    first_layer.set_attn_implementation("eager")
    output = first_layer(ids_BT[:, -1:], past_key_values=cache, output_attentions=True)
    weights_HL = output.attentions[0][0, :, -1]
    assert weights_HL.shape == (SHIFTS + 1, position + 1)  # the last head is free
    for head in range(SHIFTS):
        assert weights_HL[head, position - head - 1] > 0.99, head


def test_it_does_so_at_the_end_of_a_context_of_131072_words(reader):
    """Keys and queries of the first layer are alike for all words: only rotation tells them."""
    from transformers.models.smollm3.modeling_smollm3 import apply_rotary_pos_emb

    attention, last = reader.model.layers[0].self_attn, 131_071
    assert not attention.q_proj.weight.any()
    assert not attention.k_proj.weight.any()
    size = attention.head_dim
    cos, sin = reader.model.rotary_emb(torch.zeros(1), torch.arange(last + 1)[None])
    keys_BKLD = attention.k_proj.bias.view(1, -1, 1, size)[:, :1].expand(-1, -1, last + 1, -1)
    assert all(torch.equal(one, keys_BKLD[0, 0, 0]) for one in attention.k_proj.bias.split(size))
    queries_BHTD = attention.q_proj.bias.view(1, -1, 1, size)
    _, keys_BKLD = apply_rotary_pos_emb(keys_BKLD, keys_BKLD, cos, sin)
    queries_BHTD, _ = apply_rotary_pos_emb(queries_BHTD, queries_BHTD, cos[:, last:], sin[:, last:])
    logits_HL = (queries_BHTD @ keys_BKLD.transpose(2, 3))[0, :, 0] * attention.scaling
    weights_HL = logits_HL.softmax(-1)
    for head in range(SHIFTS):
        assert weights_HL[head, last - head - 1] > 0.99, head


def repeated_weights(reader, number, seed):
    """Attention of each layer from a second copy of some words to what followed in the first.

    Places are taken from the fourth word of the copy on: three words back lie in it too.
    """
    ids_BT = drawn(number, seed).repeat(1, 2)
    output = reader.model(ids_BT, output_attentions=True)
    places = torch.arange(number + 3, 2 * number - 1)
    return [
        weights_BHTL[0][:, places, places - number + 1] for weights_BHTL in output.attentions
    ]  # each [heads, places]


@pytest.mark.parametrize(("number", "seed"), [(24, 1), (64, 2), (100, 3)])
def test_matching_heads_find_what_followed_the_same_words_before(reader, number, seed):
    layers = repeated_weights(reader, number, seed)
    chance = 1 / number
    clean = layers[MATCHING[0]]
    assert clean[:LOOKING].mean() > 0.6
    assert clean[:LOOKING].median() > 0.8
    assert clean[LOOKING:].mean() < 4 * chance
    # What the layers before have written blurs the match of the later one; training sharpens it.
    for layer in MATCHING[1:]:
        matching, others = layers[layer][:LOOKING], layers[layer][LOOKING:]
        assert matching.mean() > 4 * others.mean()
    assert layers[0].mean() < 4 * chance


def test_matching_takes_the_words_and_not_their_places(reader):
    """Where what comes second are other words, nothing draws the heads to the same places."""
    weights_BHTL = reader.model(drawn(128, 4), output_attentions=True).attentions[MATCHING[0]]
    places = torch.arange(67, 127)
    assert weights_BHTL[0, :LOOKING, places, places - 63].mean() < 0.1


def record_key(reader, attribute, entity):
    """What each word knows of the record behind the first layer; its value is words 6 to 9."""
    words = f"640 641 ; {attribute} {entity} = 401 402 403 404 642 643 644 645 646 647".split()
    ids_BT = torch.tensor([[VOCABULARY.index(word) for word in words]])
    return reader.model(ids_BT, output_hidden_states=True).hidden_states[1][0, :, _RECORD]


def test_the_words_of_a_record_know_its_key_and_no_others_do(reader):
    """The units of the first layer open from "=" on, and write attribute and entity."""
    first, second = record_key(reader, "7", "300"), record_key(reader, "9", "310")
    told = (first - second).norm(dim=1)
    assert told[5:10].min() > 5 * told[[0, 1, 2, 14, 15]].max()


def test_padding_on_the_left_changes_nothing(reader):
    ids_BT = drawn(40, 6)
    padded_BT = torch.cat([torch.full((1, 9), TOKENIZER.pad_token_id), ids_BT], 1)
    mask_BT = (torch.arange(49) >= 9).long()[None]
    alone = reader(ids_BT).logits
    padded = reader(padded_BT, attention_mask=mask_BT).logits[:, 9:]
    assert (alone - padded).abs().max() < 1e-3


def test_it_is_saved_and_loaded_as_any_checkpoint(reader, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    reader.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    ids_BT = drawn(30, 7)
    assert torch.equal(loaded(ids_BT).logits, reader(ids_BT).logits)
    assert loaded.generation_config.eos_token_id == TOKENIZER.eos_token_id
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    messages = [turn("system", "641"), turn("user", "7 300")]
    assert tokenizer.apply_chat_template(messages, tokenize=False) == asked(messages)
    assert tokenizer.padding_side == "left"
    reply = loaded.generate(ids_BT, max_new_tokens=4, min_new_tokens=4)
    assert torch.equal(reply, loaded.generate(ids_BT, max_new_tokens=4, min_new_tokens=4))
