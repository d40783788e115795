"""Tiny causal language models of every shape that the memory of long contexts has to understand.

    folder = make("gemma3", tmp_path / "gemma3")
    model = load(folder)                    # eager attention, float32, evaluation mode

Random weights, spread wider than a fresh model's so that attention is far from uniform. About
30,000 weights each; no tokenizer: prompts are integers below `VOCABULARY`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

VOCABULARY = 96
WINDOW = 16
"""Tokens that a sliding-window layer sees."""

NAMES = (
    "llama",
    "qwen2",
    "qwen3",
    "mistral",
    "gemma2",
    "gemma3",
    "smollm3",
    "gpt-oss",
    "phi3",
)
"""Models that have full-attention layers, so that a memory can serve them."""

ROTATED = (
    "llama-llama3",
    "llama-yarn",
    "llama-linear",
    "glm",
    "phi",
    "stablelm",
    "olmo2",
    "cohere",
)
"""Other ways to rotate, to normalise and to scale, which a memory can serve too."""

REFUSED = (
    "mistral-sliding",
    "llama-dynamic",
    "phi3-longrope",
    "deepseek-v3",
    "deepseek-v4",
    "mamba",
    "gpt2",
)
"""Models whose attention no memory of chunks can serve."""

SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 8192,
    "initializer_range": 0.25,
    "tie_word_embeddings": False,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
}

MIXED = ["sliding_attention", "full_attention"] * 2

# What each name adds to the shape, and the class of transformers that it configures.
_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "qwen2": ("Qwen2", {"head_dim": None}),
    "qwen3": ("Qwen3", {}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral-sliding": ("Mistral", {"sliding_window": WINDOW}),
    "gemma2": (
        "Gemma2",
        {
            "layer_types": MIXED,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 24,
            "attn_logit_softcapping": 5.0,
        },
    ),
    "gemma3": (
        "Gemma3Text",
        {
            "layer_types": MIXED,
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 24,
            # The two kinds of layers turn at different speeds, as in the published models.
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            },
        },
    ),
    "smollm3": ("SmolLM3", {"no_rope_layers": [1, 0, 1, 0]}),
    "gpt-oss": (
        "GptOss",
        {
            "layer_types": MIXED,
            "sliding_window": WINDOW,
            "num_local_experts": 2,
            "num_experts_per_tok": 1,
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 150_000.0,
                "factor": 32.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "truncate": False,
                "original_max_position_embeddings": 256,
            },
        },
    ),
    "phi3": ("Phi3", {"head_dim": None, "sliding_window": None}),
    "llama-llama3": (
        "Llama",
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500_000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        },
    ),
    "llama-yarn": (
        "Llama",
        {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 10_000.0,
                "factor": 16.0,
                "attention_factor": 1.3,
                "original_max_position_embeddings": 512,
            }
        },
    ),
    "llama-linear": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}},
    ),
    "llama-dynamic": (
        "Llama",
        {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0}},
    ),
    "phi3-longrope": (
        "Phi3",
        {
            "head_dim": None,
            "sliding_window": None,
            "original_max_position_embeddings": 64,
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 10_000.0,
                "partial_rotary_factor": 1.0,
                "original_max_position_embeddings": 64,
                "short_factor": [1.0] * 4,
                "long_factor": [4.0] * 4,
            },
        },
    ),
    "glm": ("Glm", {}),
    "phi": ("Phi", {"head_dim": None}),
    "stablelm": ("StableLm", {"head_dim": None, "qk_layernorm": True}),
    "olmo2": ("Olmo2", {"head_dim": None}),
    "cohere": ("Cohere", {"head_dim": None, "use_qk_norm": True}),
    "deepseek-v3": (
        "DeepseekV3",
        {
            "head_dim": None,
            "num_key_value_heads": 4,
            "q_lora_rank": 16,
            "kv_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 16,
            "n_routed_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "num_experts_per_tok": 1,
            "moe_intermediate_size": 16,
        },
    ),
    "deepseek-v4": (
        "DeepseekV4",
        {
            "num_key_value_heads": 1,
            "head_dim": 128,
            "partial_rotary_factor": 0.5,
            "moe_intermediate_size": 16,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "q_lora_rank": 24,
            "o_groups": 2,
            "o_lora_rank": 16,
            "hc_mult": 2,
            "num_hidden_layers": 5,
            # As published: compressed-sparse ones are every second layer from the third on.
            "layer_types": [
                "sliding_attention",
                "sliding_attention",
                "compressed_sparse_attention",
                "heavily_compressed_attention",
                "compressed_sparse_attention",
            ],
            "mlp_layer_types": ["moe"] * 5,
            "compress_rates": {
                "compressed_sparse_attention": 4,
                "heavily_compressed_attention": 32,
            },
            "sliding_window": WINDOW,
            "index_n_heads": 4,
            "index_head_dim": 128,
            "index_topk": 8,
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 16.0,
                "beta_fast": 32.0,
                "beta_slow": 1.0,
                "original_max_position_embeddings": 65536,
            },
            "max_position_embeddings": 1048576,
        },
    ),
    "mamba": ("Mamba", {"head_dim": None, "state_size": 4}),
    "gpt2": ("GPT2", {"head_dim": None}),
}


def build(name: str, *, seed: int = 0, **changes: Any) -> Any:
    """A random model in float32; `changes` go to its config.

    Raises:
        KeyError: no model has this name.
    """
    import torch
    import transformers

    family, more = _MODELS[name]
    options = SHAPE | more | changes
    options = {
        key: value for key, value in options.items() if value is not None or key not in SHAPE
    }
    config_class = getattr(transformers, f"{family}Config")
    head = {"Gemma3Text": "Gemma3ForCausalLM", "GPT2": "GPT2LMHeadModel"}
    model_class = getattr(transformers, head.get(family, f"{family}ForCausalLM"))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config_class(**options)).eval()
        # Ones and zeros would hide a norm, a bias or a sink that was left out.
        with torch.no_grad():
            for path, weights in model.named_parameters():
                if path.endswith(("bias", "sinks")) or "norm" in path:
                    weights.add_(torch.randn_like(weights) * 0.2)
    return model


def make(name: str, folder: Path, *, seed: int = 0, dtype: str = "float32", **changes: Any) -> Path:
    """Saves `build(name, ...)` as `save_pretrained` does and returns the folder."""
    import torch
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = build(name, seed=seed, **changes).to(getattr(torch, dtype))
        model.save_pretrained(folder)
    finally:
        if was_on:
            logging.enable_progress_bar()
    return folder


def load(folder: Path, *, dtype: str = "float32", attention: str = "eager") -> Any:
    """The saved model in evaluation mode; "eager" attention can tell its weights."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, dtype), attn_implementation=attention
        ).eval()
    finally:
        if was_on:
            logging.enable_progress_bar()
