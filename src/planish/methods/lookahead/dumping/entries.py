"""One document through DeepSeek-V4: hidden states, the records of its own keys, what it looks for.

shard = sample_entries(Entries(model), Text("doc-1", prompt_ids, continuation_ids), header, 2048)

Nothing is pooled: a chunk is an entry, and its record is the model's own key, frozen (section 2.1
of the specification). In place of attention mass stands the published teacher: the native indexer's
scores of the complete entries, softmaxed, in every compressed-sparse layer. They are one for all
heads, so that the largest over heads is the same. N sampled tokens, C entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from planish.methods.lookahead.data import Header, layer_name
from planish.methods.lookahead.dumping.attending import Text, kept_mass, needs_of_text, places_of
from planish.methods.lookahead.dumping.folder import Shard

if TYPE_CHECKING:
    from planish.models.memory.entries import Entries

__all__ = ["native_weights", "sample_entries"]


def native_weights(backbone: Entries, layers: Sequence[int]) -> dict[str, Tensor]:
    """The native indexers' weights as `projections.safetensors` holds them: LAYER.NAME."""
    return {
        f"{layer_name(layer)}.{name}": weight
        for layer in layers
        for name, weight in backbone.native(layer).items()
    }


@torch.no_grad()
def sample_entries(backbone: Entries, text: Text, header: Header, piece: int) -> Shard:
    """What `attending.sample` keeps of a document, of a model that has keys of chunks."""
    places, tensors = places_of(text, header)
    positions_N = tensors["positions"].long()
    hidden, mass, cache = _run(backbone, text, positions_N, piece)
    dtype: torch.dtype = getattr(torch, header.dtype)
    for layer in header.layers:
        name = layer_name(layer)
        tensors[f"hidden.{name}"] = hidden[layer].to("cpu", dtype)
        tensors[f"features.{name}"] = backbone.records(cache, layer)[0].cpu()
    by_layer = list(mass.values())
    tensors |= kept_mass(by_layer, by_layer, text.length // header.chunk_tokens, header)
    tensors |= needs_of_text(text, header)
    return Shard(text.id, text.digest, text.length, len(text.prompt), places, tensors)


def _run(
    backbone: Entries, text: Text, positions_N: Tensor, piece: int
) -> tuple[dict[int, Tensor], dict[int, Tensor], Any]:
    """By layer, hidden states [N,E] and mass [N,C] of the sampled tokens; and the cache."""
    from transformers import DynamicCache

    device = backbone.model.device
    ids_1L = torch.tensor([[*text.prompt, *text.continuation]], device=device)
    cache: Any = DynamicCache(config=backbone.decoder.config)
    num_chunks = text.length // backbone.chunk_tokens
    hidden: dict[int, list[Tensor]] = {layer: [] for layer in backbone.memory_layers}
    mass: dict[int, list[Tensor]] = {layer: [] for layer in backbone.memory_layers}
    for begin in range(0, text.length, piece):
        end = min(begin + piece, text.length)
        with (
            backbone.capture(backbone.memory_layers) as captured,
            backbone.looking() as scores,
        ):
            backbone.decoder(input_ids=ids_1L[:, begin:end], past_key_values=cache, use_cache=True)
        inside_N = positions_N[(positions_N >= begin) & (positions_N < end)].to(device)
        for layer in backbone.memory_layers:
            hidden[layer].append(captured[layer][0, inside_N - begin])
            looked_NC = scores[layer][0, inside_N - begin]
            mass[layer].append(_mass(looked_NC, inside_N, num_chunks, backbone.chunk_tokens))
    return (
        {layer: torch.cat(parts) for layer, parts in hidden.items()},
        {layer: torch.cat(parts) for layer, parts in mass.items()},
        cache,
    )


def _mass(scores_NC: Tensor, places_N: Tensor, num_chunks: int, chunk_tokens: int) -> Tensor:
    """Native scores of the entries so far as shares of all that are complete: [N,C]."""
    known = scores_NC.shape[1]
    mass_NC = scores_NC.new_zeros(len(places_N), num_chunks, dtype=torch.float32)
    complete_C = (torch.arange(known, device=places_N.device) + 1) * chunk_tokens
    allowed_NC = complete_C <= places_N[:, None] + 1
    shares_NC = scores_NC.float().masked_fill(~allowed_NC, float("-inf")).softmax(-1)
    mass_NC[:, :known] = shares_NC.nan_to_num(0.0)  # of a token before the first entry
    return mass_NC
