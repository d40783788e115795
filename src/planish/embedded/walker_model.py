"""The shape of the tiny walkers: their words, their tokenizer and chat template, their network.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.decode(tokenizer("3 to 17 : 3 9 17").input_ids)
    '3 to 17 : 3 9 17'

A stock Qwen3 network of about 105,000 parameters over 68 tokens: one for each node of a graph of
at most 64, as `planish.tasks.routes` has it. It knows its graph by heart.
"""

from __future__ import annotations

from typing import Any

from planish.embedded.network import EOS, PAD, build_network, build_words_tokenizer

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
    return build_words_tokenizer(VOCABULARY, CHAT_TEMPLATE, 64)


def build_model(seed: int) -> Any:
    """A freshly initialised network, the same for the same seed."""
    return build_network(VOCABULARY, seed, num_layers=2, max_positions=64)
