"""One document through the backbone: hidden states, chunk features, attention mass by chunk.

shard = sample(backbone, Text("doc-1", prompt_ids, continuation_ids), header, 2048)

The forward pass runs in pieces over a dense cache. Attention is computed again for the sampled
tokens only, from their queries and the cached keys, so that no weights of a whole sequence are
ever in memory. B rows, T tokens, L history, C chunks, E hidden, H heads, K key/value heads,
D head width, M memory layers, N sampled tokens, S chunks with a mass.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from planish.methods.lookahead.data import Header, Need, layer_name
from planish.methods.lookahead.dumping.folder import Shard

if TYPE_CHECKING:
    from planish.models.memory.backbone import Backbone

__all__ = [
    "Text", "kept_mass", "needs_of_text", "places_of", "projections", "sample", "stretches",
]  # fmt: skip

_WEIGHTS = 1 << 26
"""Attention weights that are in memory at once, at most."""


@dataclass(frozen=True)
class Text:
    """A document as tokens.

    Args:
        prompt: what was given. continuation: what the model itself went on with.
        needs: spans of the prompt that answer tokens need, as the task tells; None: it does not.
        agreed: tokens of the continuation that are those of the task's own answer; of later ones
            the task can tell nothing.
    """

    id: str
    prompt: Sequence[int]
    continuation: Sequence[int]
    needs: tuple[Need, ...] | None = None
    agreed: int = 0

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.prompt) + len(self.continuation)

    @property
    def digest(self) -> str:
        """Hash of the prompt's tokens: the same document, whatever it is called."""
        raw = ",".join(map(str, self.prompt)).encode()
        return hashlib.sha256(raw).hexdigest()[:32]


def stretches(text: Text, header: Header) -> tuple[tuple[int, int], ...]:
    """Which tokens are sampled: drawn stretches of the prompt, and all of the continuation.

    The continuation's begins with the prompt's last token: a decision may fall there already.

    Returns:
        (position of the first token, tokens), rising and apart; the same for the same seed.
    """
    draw = random.Random(f"{header.seed}/{text.digest}")
    wanted, prompt = header.run_tokens, len(text.prompt)
    found: list[tuple[int, int]] = []
    # The first quarter has too little history to choose from.
    room = range(prompt // 4, prompt - wanted)
    for _ in range(header.prompt_runs if room else 0):
        start = draw.choice(room)
        if all(abs(start - other) >= wanted for other, _ in found):
            found.append((start, wanted))
    if text.continuation:
        begin = max(prompt - 1, 0)
        found.append((begin, text.length - begin))
    return tuple(sorted(found))


@torch.no_grad()
def sample(backbone: Backbone, text: Text, header: Header, piece: int) -> Shard:
    """Everything that a dump keeps of one document; `piece` tokens go through at once."""
    places, tensors = places_of(text, header)
    positions_N = tensors["positions"].long()
    hidden, keys = _run(backbone, text, positions_N, piece)
    dtype: torch.dtype = getattr(torch, header.dtype)
    num_chunks = text.length // header.chunk_tokens
    for layer in header.layers:
        name = layer_name(layer)
        tensors[f"hidden.{name}"] = hidden[layer].to("cpu", dtype)
        features_CF = _features(backbone, layer, keys[layer], num_chunks, header)
        tensors[f"features.{name}"] = features_CF.to("cpu", dtype)
    tensors |= _mass(backbone, hidden, keys, positions_N, num_chunks, header)
    tensors |= needs_of_text(text, header)
    return Shard(text.id, text.digest, text.length, len(text.prompt), places, tensors)


def places_of(text: Text, header: Header) -> tuple[tuple[tuple[int, int], ...], dict[str, Tensor]]:
    """The stretches of a document, and the tensors that say where its chunks and tokens are."""
    places = stretches(text, header)
    positions_N = torch.tensor([p for start, num in places for p in range(start, start + num)])
    num_chunks = text.length // header.chunk_tokens
    counts = torch.tensor([num for _, num in places])
    return places, {
        "starts": torch.arange(num_chunks, dtype=torch.int32) * header.chunk_tokens,
        "positions": positions_N.to(torch.int32),
        "stretch": torch.repeat_interleave(torch.arange(len(places)), counts).to(torch.int32),
    }


def _run(
    backbone: Backbone, text: Text, positions_N: Tensor, piece: int
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Hidden states [N,E] of the sampled tokens and keys [1,K,L,D] of each memory layer."""
    from transformers import DynamicCache

    device = backbone.model.device
    ids_1L = torch.tensor([[*text.prompt, *text.continuation]], device=device)
    cache: Any = DynamicCache(config=backbone.decoder.config)
    parts: dict[int, list[Tensor]] = {layer: [] for layer in backbone.memory_layers}
    for begin in range(0, text.length, piece):
        end = min(begin + piece, text.length)
        with backbone.capture(backbone.memory_layers) as captured:
            backbone.decoder(
                input_ids=ids_1L[:, begin:end],
                past_key_values=cache,
                use_cache=True,
                position_ids=torch.arange(begin, end, device=device)[None],
            )
        inside = positions_N[(positions_N >= begin) & (positions_N < end)].to(device) - begin
        for layer, found in parts.items():
            found.append(captured[layer][0, inside])
    keys = {layer: cache.layers[layer].keys for layer in backbone.memory_layers}
    return {layer: torch.cat(found) for layer, found in parts.items()}, keys


def _features(
    backbone: Backbone, layer: int, keys_BKLD: Tensor, num_chunks: int, header: Header
) -> Tensor:
    from planish.models.memory.digests import pool

    length = num_chunks * header.chunk_tokens
    whole_BKLD = keys_BKLD[:, :, :length].float()
    places_BL = torch.arange(length, device=whole_BKLD.device)[None]
    plain_BKLD = backbone.rotate(layer, whole_BKLD, places_BL, inverse=True)
    valid_BL = torch.ones_like(places_BL, dtype=torch.bool)
    features_BCF: Tensor = pool(plain_BKLD, valid_BL, header.chunk_tokens, header.pooling)
    return features_BCF[0]


def _mass(
    backbone: Backbone,
    hidden: Mapping[int, Tensor],
    keys: Mapping[int, Tensor],
    positions_N: Tensor,
    num_chunks: int,
    header: Header,
) -> dict[str, Tensor]:
    """`mass.*` and `head.*`: by layer, the mean and the largest over heads of a chunk's mass."""
    means: list[Tensor] = []
    largest: list[Tensor] = []
    for layer in backbone.memory_layers:
        rows = [
            _by_chunk(weights_HTL, places_T, num_chunks, header.chunk_tokens)
            for weights_HTL, places_T in _weights(
                backbone, layer, hidden[layer], keys[layer], positions_N
            )
        ]
        by_head_HNC = torch.cat(rows, dim=1) if rows else torch.zeros(1, 0, num_chunks)
        means.append(by_head_HNC.mean(0))
        largest.append(by_head_HNC.amax(0))
    return kept_mass(means, largest, num_chunks, header)


def kept_mass(
    means: list[Tensor], largest: list[Tensor], num_chunks: int, header: Header
) -> dict[str, Tensor]:
    """The tensors of mass [N,C] by memory layer: of all chunks, or of the largest only."""
    dtype: torch.dtype = getattr(torch, header.dtype)
    tensors: dict[str, Tensor] = {}
    for name, parts in (("mass", means), ("head", largest)):
        values_NMC = torch.stack(parts, dim=1).cpu()
        if not header.top_chunks or header.top_chunks >= num_chunks:
            tensors[f"{name}.values"] = values_NMC.to(dtype)
            continue
        values_NMS, chunks_NMS = values_NMC.topk(header.top_chunks, dim=-1)
        tensors[f"{name}.values"] = values_NMS.to(dtype)
        tensors[f"{name}.chunks"] = chunks_NMS.to(torch.int32)
        tensors[f"{name}.total"] = values_NMC.sum(-1)
    return tensors


def _weights(
    backbone: Backbone, layer: int, hidden_NE: Tensor, keys_BKLD: Tensor, positions_N: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Attention weights [H,T,L] of a few sampled tokens at a time, and their positions [T]."""
    length = keys_BKLD.shape[2]
    step = max(1, _WEIGHTS // (backbone.num_heads * length))
    history_L = torch.arange(length, device=keys_BKLD.device)
    for begin in range(0, len(positions_N), step):
        places_T = positions_N[begin : begin + step].to(keys_BKLD.device)
        queries_BHTD = backbone.queries(
            layer, hidden_NE[None, begin : begin + step], places_T[None]
        )
        allowed_BTL = (history_L <= places_T[:, None])[None]
        weights = backbone.attention_weights(layer, queries_BHTD, keys_BKLD, allowed_BTL)
        yield weights[0].float(), places_T


def _by_chunk(weights_HTL: Tensor, places_T: Tensor, num_chunks: int, chunk_tokens: int) -> Tensor:
    """Mass of each chunk that is complete when the token is decoded: [H,T,C]."""
    heads, tokens, _ = weights_HTL.shape
    inside = weights_HTL[:, :, : num_chunks * chunk_tokens]
    mass_HTC = inside.reshape(heads, tokens, num_chunks, chunk_tokens).sum(-1)
    complete_C = (torch.arange(num_chunks, device=places_T.device) + 1) * chunk_tokens
    return mass_HTC * (complete_C <= places_T[:, None] + 1)


def needs_of_text(text: Text, header: Header) -> dict[str, Tensor]:
    """What the task tells that it needs, if it does."""
    if text.needs is None:
        return {}
    # What decides answer token i is the query one place before it.
    before, last = len(text.prompt) - 1, len(text.prompt) - 1 + text.agreed
    pairs = {
        (before + answer, chunk)
        for answer, begin, end in text.needs
        if answer <= text.agreed
        for chunk in range(begin // header.chunk_tokens, (end - 1) // header.chunk_tokens + 1)
    }
    if text.agreed >= len(text.continuation):
        last = text.length - 1
    return {
        "needs": torch.tensor(sorted(pairs), dtype=torch.int32).reshape(-1, 2),
        "needs.span": torch.tensor([before, last], dtype=torch.int32),
    }


def projections(backbone: Backbone, layers: Sequence[int]) -> dict[str, Tensor]:
    """The query projection [H*D,E] of each layer, with its norm's weight folded in.

    Empty for a layer whose queries come from something else than one linear map.
    """
    found: dict[str, Tensor] = {}
    heads, width = backbone.num_heads, backbone.head_dim
    for layer in layers:
        attention: Any = backbone.attention(layer)
        weight = getattr(getattr(attention, "q_proj", None), "weight", None)
        if weight is None or tuple(weight.shape) != (heads * width, backbone.hidden_size):
            continue
        weight_HDE = weight.detach().float().reshape(heads, width, -1)
        norm = getattr(getattr(attention, "q_norm", None), "weight", None)
        if norm is not None and norm.numel() == width:
            # Gemma's norms scale by one more than their weight.
            around = 1.0 if "Gemma" in type(attention).__name__ else 0.0
            weight_HDE = weight_HDE * (norm.detach().float() + around)[:, None]
        found[layer_name(layer)] = weight_HDE.reshape(heads * width, -1).cpu()
    return found
