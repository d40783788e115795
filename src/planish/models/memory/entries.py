"""DeepSeek-V4 as a backbone: its memory layers hold compressed entries, each with a key of its own.

    backbone = Entries(model)
    with backbone.capture(backbone.memory_layers) as hidden, backbone.looking() as scores:
        model(ids_BT, past_key_values=cache)
    records_BC = backbone.records(cache, layer)

Memory layers are the compressed-sparse ones. Their queries, keys and rotations are not asked for:
the model's own indexer says what a token looks for among the entries (`looking`). Sections 2.1 and
2.3 of the specification; arXiv 2606.09079.

Shape suffixes: B rows, T tokens, C entries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from planish.models.memory.backbone import Backbone
from planish.models.memory.digests import pack
from planish.models.memory.native_topk import NativeTopK
from planish.models.memory.scorer import hadamard

__all__ = ["Entries"]


class Entries(Backbone):
    """A `DeepseekV4ForCausalLM`, seen from its compressed-sparse layers.

    Attributes:
        chunk_tokens: tokens of an entry; num_heads and head_dim are of the model's own indexer.

    Raises:
        BadInput: no DeepSeek-V4, or one without such layers.
    """

    def __init__(self, model: Any) -> None:
        config = model.config
        self.model, self.decoder = model, model.get_decoder()
        self.memory_layers = NativeTopK(model).layers
        self.num_layers = len(self.decoder.layers)
        self.hidden_size = int(config.hidden_size)
        self.num_heads, self.num_kv_heads = int(config.index_n_heads), 1
        self.head_dim = int(config.index_head_dim)
        self.chunk_tokens = int(config.compress_rates["compressed_sparse_attention"])

    @contextmanager
    def looking(self) -> Iterator[dict[int, Tensor]]:
        """By layer, the native scores (B, T, C) of the last pass, for entries to come as well."""
        scores: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for layer in self.memory_layers:
                module: Any = self.attention(layer)
                hook = _keeper(scores, layer)
                handle = module.compressor.indexer.scorer.register_forward_hook(hook)
                stack.callback(handle.remove)
            yield scores

    def native(self, layer: int) -> dict[str, Tensor]:
        """The weights of a layer's own indexer, by the names of the published format."""
        attention: Any = self.attention(layer)
        own = attention.compressor.indexer
        weights = {
            "wq_a.weight": attention.q_a_proj.weight,
            "q_norm_weight": attention.q_a_norm.weight,
            "wq_b.weight": own.q_b_proj.weight,
            "weights_proj.weight": own.scorer.weights_proj.weight,
        }
        return {name: weight.detach().float().cpu() for name, weight in weights.items()}

    def records(self, cache: Any, layer: int) -> Tensor:
        """The records (B, C, 132) of a layer's entries, as an indexer scores them.

        The published keys went through a Hadamard matrix, which transformers leaves out.
        """
        keys_BCD: Tensor = cache.layers[layer].compressed_kv["indexer"]
        return pack(hadamard(keys_BCD.float()))


def _keeper(scores: dict[int, Tensor], layer: int) -> Any:
    def keep(module: nn.Module, args: Any, found_BTC: Tensor) -> None:
        scores[layer] = found_BTC.detach()

    return keep
