"""The network of the embedded models: a small stock Qwen3, told apart by depth and vocabulary.

    model = build_network(("0", "1", "<eos>", "<pad>"), seed=0, num_layers=2, max_positions=64)

Rotary positions count from the first token that is not padding, so a text may stand anywhere; a
small base keeps neighbouring positions apart at this width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["EOS", "PAD", "build_network"]

EOS, PAD = "<eos>", "<pad>"


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
