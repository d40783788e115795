"""The shape of the tiny walkers: their words, their tokenizer and chat template, their network.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.decode(tokenizer("3 to 17 : 3 9 17").input_ids)
    '3 to 17 : 3 9 17'

A stock Qwen3 network of about 105,000 parameters over 68 tokens: one for each node of a graph of
at most 64, as `planish.tasks.routes` has it. It knows its graph by heart.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CHAT_TEMPLATE",
    "EOS",
    "NUM_NODES",
    "PAD",
    "VOCABULARY",
    "build_model",
    "build_tokenizer",
]

NUM_NODES = 64
EOS, PAD = "<eos>", "<pad>"

VOCABULARY: tuple[str, ...] = (*map(str, range(NUM_NODES)), "to", ":", EOS, PAD)

CHAT_TEMPLATE = """\
{#- Only the last user turn counts: the model knows no longer conversations. -#}
{%- set last = namespace(user=-1) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{%- set last.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- if last.user < 0 -%}{{- raise_exception('a user message is needed') -}}{%- endif -%}
{%- for message in messages[last.user:] -%}
{%- if message['role'] == 'user' -%}
{{- message['content'] + ' : ' -}}
{%- elif message['role'] == 'assistant' -%}
{{- message['content'] + ' ' + eos_token -}}
{%- endif -%}
{%- endfor -%}
"""


def build_tokenizer() -> Any:
    """One token per node; a word it does not know reads as padding."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(WordLevel(words, unk_token=PAD))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=64,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def build_model(seed: int) -> Any:
    """A freshly initialised network, the same for the same seed."""
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    eos, pad = VOCABULARY.index(EOS), VOCABULARY.index(PAD)
    config = Qwen3Config(
        vocab_size=len(VOCABULARY),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        intermediate_size=176,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 200.0},
        initializer_range=0.05,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=eos, pad_token_id=pad, do_sample=False
    )
    model.eval()  # type: ignore[no-untyped-call]
    return model
