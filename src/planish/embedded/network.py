"""What embedded models are made of: a tokenizer of words, and a small stock Qwen3.

    words = ("0", "1", EOS, PAD)
    tokenizer = build_words_tokenizer(words, chat_template, max_length=64)
    model = build_network(words, seed=0, num_layers=2, max_positions=64)

Rotary positions count from the first token that is not padding, so a text may stand anywhere; a
small base keeps neighbouring positions apart at this width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["EOS", "PAD", "build_network", "build_words_tokenizer"]

EOS, PAD = "<eos>", "<pad>"


def build_words_tokenizer(
    vocabulary: Sequence[str], chat_template: str, max_length: int, *, pattern: str | None = None
) -> Any:
    """One token per word; a word it does not know reads as padding.

    Args:
        vocabulary: every word, `EOS` and `PAD` among them, in the order of their ids.
        max_length: longest text in tokens.
        pattern: what a word is where words need no blanks between them.
    """
    from tokenizers import Regex, Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = {word: index for index, word in enumerate(vocabulary)}
    tokenizer = Tokenizer(WordLevel(words, unk_token=PAD))
    blanks = pre_tokenizers.WhitespaceSplit()
    tokenizer.pre_tokenizer = (
        blanks
        if pattern is None
        else pre_tokenizers.Sequence([blanks, pre_tokenizers.Split(Regex(pattern), "isolated")])
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        padding_side="left",
        model_max_length=max_length,
        clean_up_tokenization_spaces=False,
        chat_template=chat_template,
    )


def build_network(
    vocabulary: Sequence[str], seed: int, *, num_layers: int, max_positions: int
) -> Any:
    """A freshly initialised network, the same for the same seed.

    Args:
        vocabulary: every word, `EOS` and `PAD` among them, in the order of their ids.
        seed: of the weights; torch's own generator stays as it is.
        num_layers: how deep it is.
        max_positions: longest text in tokens.
    """
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    eos, pad = vocabulary.index(EOS), vocabulary.index(PAD)
    config = Qwen3Config(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=num_layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        intermediate_size=176,
        max_position_embeddings=max_positions,
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
