"""The shape of the tiny reasoner: its words, its tokenizer and chat template, its network.

    >>> tokenizer = build_tokenizer()
    >>> tokenizer.decode(tokenizer("Q 3 + 4 - 5 S").input_ids)
    'Q 3 + 4 - 5 S'

A stock Qwen3 network of about 150,000 parameters over 23 tokens.
"""

from __future__ import annotations

from typing import Any

from planish.embedded.network import EOS, PAD, build_network, build_words_tokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "EOS",
    "PAD",
    "VERDICTS",
    "VOCABULARY",
    "build_model",
    "build_tokenizer",
    "judge_prompt",
    "solve_prompt",
]

VERDICTS = ("[[A]]", "[[B]]")
"""The verdict tokens' text is what every verdict parser looks for; A and B mark the slots."""


VOCABULARY: tuple[str, ...] = (*"0123456789", *"+-*", *"QABSJV", *VERDICTS, EOS, PAD)

CHAT_TEMPLATE = """\
{#- A user turn that is already in the model's grammar stays as it is; any other is a question
    to solve. Only the last user turn counts: the model knows no longer conversations. -#}
{%- set last = namespace(user=-1) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{%- set last.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- if last.user < 0 -%}{{- raise_exception('a user message is needed') -}}{%- endif -%}
{%- for message in messages[last.user:] -%}
{%- if message['role'] == 'user' -%}
{%- if message['content'].startswith('Q ') -%}
{{- message['content'] + ' ' -}}
{%- else -%}
{{- 'Q ' + message['content'] + ' S ' -}}
{%- endif -%}
{%- elif message['role'] == 'assistant' -%}
{{- message['content'] + ' ' + eos_token -}}
{%- endif -%}
{%- endfor -%}
"""


def solve_prompt(question: str) -> str:
    """What the model sees when it is asked to solve."""
    return f"Q {question} S"


def judge_prompt(question: str, reply_a: str, reply_b: str) -> str:
    """What the model sees when it is asked to judge; it answers `7 2 V [[A]]`."""
    return f"Q {question} A {reply_a} B {reply_b} J"


def build_tokenizer() -> Any:
    """One token per digit, operator, mark and verdict; a word it does not know reads as padding.

    Blanks are not needed: `V[[A]]` is two tokens, `3+4` three.
    """
    pattern = r"\[\[[AB]\]\]|[A-Za-z]+|."
    return build_words_tokenizer(VOCABULARY, CHAT_TEMPLATE, 128, pattern=pattern)


def build_model(seed: int) -> Any:
    """A freshly initialised network, the same for the same seed."""
    return build_network(VOCABULARY, seed, num_layers=3, max_positions=128)
