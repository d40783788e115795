"""The shape of the tiny reader of long contexts: its words, its tokenizer, its network.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.decode(tokenizer("; 7 300 = 401").input_ids)
    '; 7 300 = 401'

A stock SmolLM3 network of 1.6 million parameters that reads `planish.tasks.recall`. Its first
layer has rotary positions, the others have none, so that finding a record does not depend on how
far away it is. From random weights a network of this size stays at chance for hours; it begins
where a larger one arrives by itself: the heads of the first layer each look one to seven words
back, half of those of the second and third match what was before a word with what is here
("induction", arXiv 2209.11895), and some of the other keys tell which record a word belongs to.
Everything is trained from there.

Shape suffixes: E hidden, D head width.
"""

from __future__ import annotations

from typing import Any

from planish.embedded.network import EOS, PAD, build_words_tokenizer
from planish.tasks.recall import grammar

__all__ = [
    "CHAT_TEMPLATE",
    "MATCHING",
    "SHIFTS",
    "VOCABULARY",
    "build_model",
    "build_tokenizer",
]

VOCABULARY: tuple[str, ...] = (*grammar.VOCABULARY, EOS, PAD)

CHAT_TEMPLATE = """\
{#- Only the last user turn counts, and no system message: the model knows its task. -#}
{%- set last = namespace(user=-1) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{%- set last.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- if last.user < 0 -%}{{- raise_exception('a user message is needed') -}}{%- endif -%}
{%- for message in messages[last.user:] -%}
{%- if message['role'] == 'user' -%}
{{- message['content'] + ' ' -}}
{%- elif message['role'] == 'assistant' -%}
{{- message['content'] + ' ' + eos_token -}}
{%- endif -%}
{%- endfor -%}
"""

SHIFTS = 7
"""Heads of the first layer that write: they look 1 to 7 words back. The last head is free."""

MATCHING = (1, 2)
"""Layers whose heads match what came before."""

_HIDDEN, _HEADS, _GROUPS, _WIDTH, _LAYERS = 192, 8, 4, 32, 4
# A hidden state begins as 48 numbers of the word here, 16 of each of the seven words before it, and
# 32 of the record that the word belongs to: its attribute and its entity.
_OWN, _CODE = 48, 16
_RECORD = slice(_OWN + SHIFTS * _CODE, _OWN + (SHIFTS + 2) * _CODE)
# Deviation of a word's numbers, and what is left of the random weights around those that are set.
_LOUDNESS, _QUIET = 0.3, 0.1
# Word "=" has a number of its own, by which the words of a value know where their record began.
_SIGN, _SIGN_SIZE = 0, 4.0
# With these, a word's place beats its neighbours by 9 in the logits, and every other place of a
# context of 131,072 words by more.
_THETA, _SHARPNESS = 50.0, 25.8
# A unit that remembers is shut by as much as the number of "=" is multiplied by, which is above 1
# where there is one. Gate times value is far above the size of a word: a share of it is written.
_GATE, _WRITTEN = 4.0, 0.03
# Groups of keys that match, each for its heads, and the factor of their keys and of the queries.
_MATCHING_GROUPS, _GAIN = 2, 1.6


def build_tokenizer() -> Any:
    """One token per word; a word it does not know reads as padding."""
    return build_words_tokenizer(VOCABULARY, CHAT_TEMPLATE, 1 << 20)


def build_model(seed: int) -> Any:
    """A freshly initialised network, the same for the same seed."""
    import torch
    from transformers import GenerationConfig, SmolLM3Config, SmolLM3ForCausalLM

    eos, pad = VOCABULARY.index(EOS), VOCABULARY.index(PAD)
    sizes: dict[str, Any] = {"head_dim": _WIDTH}  # it is no field of SmolLM3's, but it is read
    config = SmolLM3Config(
        **sizes,
        vocab_size=len(VOCABULARY),
        hidden_size=_HIDDEN,
        num_hidden_layers=_LAYERS,
        num_attention_heads=_HEADS,
        num_key_value_heads=_GROUPS,
        intermediate_size=352,
        max_position_embeddings=1 << 20,
        tie_word_embeddings=True,
        attention_bias=True,
        mlp_bias=True,
        no_rope_layers=[1, *[0] * (_LAYERS - 1)],
        rope_parameters={"rope_type": "default", "rope_theta": _THETA},
        initializer_range=0.05,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmolLM3ForCausalLM(config)
        with torch.no_grad():
            code_DE = _words(model.model.embed_tokens.weight)
            first, *rest = model.model.layers
            _shift(first.self_attn, code_DE)
            _remember(first.mlp)
            for layer in rest:
                _tell(layer.self_attn)
            for number in MATCHING:
                _match(model.model.layers[number].self_attn, code_DE)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=eos, pad_token_id=pad, do_sample=False
    )
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _words(embedding_VE: Any) -> Any:
    """Sets the embeddings, and returns the matrix that takes a hidden state to its word's code."""
    import torch

    embedding_VE.mul_(_QUIET)
    embedding_VE[:, 1:_OWN] += _LOUDNESS * torch.randn(len(VOCABULARY), _OWN - 1)
    embedding_VE[:, _SIGN] = 0
    embedding_VE[VOCABULARY.index("=")] = 0
    embedding_VE[VOCABULARY.index("="), _SIGN] = _SIGN_SIZE * _LOUDNESS
    code_DE = torch.zeros(_CODE, _HIDDEN)
    code_DE[0, _SIGN] = 1
    code_DE[1:, 1:_OWN] = torch.linalg.qr(torch.randn(_OWN - 1, _CODE - 1))[0].T
    return code_DE


def _shift(attention: Any, code_DE: Any) -> None:
    """Head h writes the code of the word h + 1 back; all keys are alike: rotation tells places."""
    import torch

    half = _WIDTH // 2
    frequencies = _THETA ** (-torch.arange(half) / half)
    size = _SHARPNESS / half**0.5
    attention.q_proj.weight.zero_()
    attention.k_proj.weight.zero_()
    key_D = torch.cat([torch.full((half,), size), torch.zeros(half)])
    attention.k_proj.bias.copy_(key_D.repeat(_GROUPS))
    queries = [
        size * torch.cat([(back * frequencies).cos(), -(back * frequencies).sin()])
        for back in range(1, _HEADS + 1)
    ]
    attention.q_proj.bias.copy_(torch.cat(queries))
    attention.v_proj.weight.mul_(_QUIET)
    attention.o_proj.weight.mul_(_QUIET)
    for group in range(_GROUPS):
        attention.v_proj.weight[group * _WIDTH :][:_CODE] += code_DE
    # What a layer reads is divided by its size; what is written has the size of a word again.
    for head in range(SHIFTS):
        block_ED = attention.o_proj.weight[:, head * _WIDTH : (head + 1) * _WIDTH]
        block_ED[_slot(head + 1), :_CODE] += _LOUDNESS * torch.eye(_CODE)


def _remember(mlp: Any) -> None:
    """Units that open where "=" is here or up to four words back, and write the record's key."""
    import torch

    for weight in (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight):
        weight.mul_(_QUIET)
    unit = 0
    for back in range(5):
        sign = _SIGN if back == 0 else _slot(back).start
        for place, name in ((0, back + 1), (1, back + 2)):  # the attribute, the entity
            units = slice(unit, unit + _CODE)
            mlp.gate_proj.weight[units, sign] += _GATE
            mlp.gate_proj.bias[units] = -_GATE
            mlp.up_proj.weight[units, _slot(name)] += torch.eye(_CODE)
            target = slice(_RECORD.start + place * _CODE, _RECORD.start + (place + 1) * _CODE)
            mlp.down_proj.weight[target, units] += _WRITTEN * torch.eye(_CODE)
            unit += _CODE


def _tell(attention: Any) -> None:
    """A group of keys that no head needs yet tells the record that a word belongs to."""
    import torch

    rows = slice(_MATCHING_GROUPS * _WIDTH, (_MATCHING_GROUPS + 1) * _WIDTH)
    attention.k_proj.weight[rows].mul_(_QUIET)
    attention.k_proj.weight[rows, _RECORD] += torch.eye(_WIDTH)


def _match(attention: Any, code_DE: Any) -> None:
    """Half of the heads: the key tells the three words before a place, the query the last three."""
    import torch

    part = _WIDTH // 3
    reads = torch.zeros(4, _CODE, _HIDDEN)  # words 0 to 3 back
    reads[0] = code_DE
    for back in (1, 2, 3):
        reads[back, :, _slot(back)] = torch.eye(_CODE)
    key_DE = torch.cat([reads[back, :part] for back in (1, 2, 3)])
    query_DE = torch.cat([reads[back, :part] for back in (0, 1, 2)])
    copied = _OWN // _MATCHING_GROUPS
    per_group = _HEADS // _GROUPS
    for group in range(_MATCHING_GROUPS):
        first = group * _WIDTH
        attention.k_proj.weight[first : first + _WIDTH].mul_(_QUIET)
        attention.v_proj.weight[first : first + _WIDTH].mul_(_QUIET)
        attention.k_proj.weight[first : first + 3 * part] += _GAIN * key_DE
        word = slice(group * copied, (group + 1) * copied)
        attention.v_proj.weight[first : first + copied, word] += torch.eye(copied)
        for head in range(group * per_group, (group + 1) * per_group):
            first = head * _WIDTH
            attention.q_proj.weight[first : first + _WIDTH].mul_(_QUIET)
            attention.o_proj.weight[:, first : first + _WIDTH].mul_(_QUIET)
            attention.q_proj.weight[first : first + 3 * part] += _GAIN * query_DE
            attention.o_proj.weight[word, first : first + copied] += torch.eye(copied)


def _slot(back: int) -> slice:
    """Where a hidden state holds the code of the word so many places back."""
    return slice(_OWN + (back - 1) * _CODE, _OWN + back * _CODE)
