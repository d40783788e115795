"""The trained scorer: which chunks of its history a model will need next.

    indexer = MemoryIndexer.from_pretrained("indexer/")
    scores = indexer.score(hidden_BE, records, positions_B)      # layer -> (B, C)
    indexer.ensemble(scores)

`score` takes what enters a layer's attention at the last token, one record of 132 bytes for each
chunk, and the token's position. Section 2.1 of the specification; Lookahead Sparse Attention,
arXiv 2606.09079. The chunk tower and the bias are ours: DeepSeek-V4 has keys of its own.

Shape suffixes: B queries, C chunks, E hidden, R rank, H heads, D head width (128), F features.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from planish.errors import BadInput
from planish.models.memory import checkpoint
from planish.models.memory.checkpoint import IndexerConfig
from planish.models.memory.digests import RECORD_BYTES, pack, unpack
from planish.models.memory.scorer import (
    HEAD_DIM,
    agreement,
    gate_scale,
    hadamard,
    rms_norm,
    rotate,
)

__all__ = ["ChunkTower", "IndexerConfig", "MemoryIndexer", "QueryTower", "Retriever"]

_NAME = re.compile(r"l(0|[1-9][0-9]*)")
_RECORDS_AT_ONCE = 2048
_PUBLISHED_FIRST, _PUBLISHED_STEP = 2, 2  # ordinals of compressed-attention layers to layers

PerLayer = Tensor | Mapping[str, Tensor]


class QueryTower(nn.Module):
    """A token's hidden state as H queries and H signed gates."""

    def __init__(self, config: IndexerConfig) -> None:
        super().__init__()
        heads, rank, hidden = config.num_heads, config.rank, config.hidden_size
        self.num_heads, self.rope = heads, config.rope
        self.wq_a = nn.Linear(hidden, rank, bias=False)
        self.q_norm_weight = nn.Parameter(torch.ones(rank))
        self.wq_b = nn.Linear(rank, heads * HEAD_DIM, bias=False)
        self.weights_proj = nn.Linear(hidden, heads, bias=False)

    def forward(self, hidden_BE: Tensor, positions_B: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, H, D), rotated and mixed, and gates (B, H), scaled; float32."""
        hidden_BE = hidden_BE.float()
        query = rms_norm(self.wq_a(hidden_BE), self.q_norm_weight)
        query = self.wq_b(query).view(len(hidden_BE), self.num_heads, HEAD_DIM)
        # Published queries pass through bfloat16 on both sides of the rotation; gradients pass.
        query = rotate(query.bfloat16(), positions_B[:, None], self.rope).bfloat16()
        gates = self.weights_proj(hidden_BE) * gate_scale(self.num_heads)
        return hadamard(query), gates


class ChunkTower(nn.Module):
    """A chunk's pooled features as one key."""

    def __init__(self, config: IndexerConfig) -> None:
        super().__init__()
        self.rope = config.rope
        self.weight = nn.Parameter(torch.empty(HEAD_DIM, config.features))
        nn.init.normal_(self.weight, std=config.features**-0.5)
        # What a chunk holds does not depend on where it is: turned dimensions begin empty, and
        # are filled as far as places turn out to matter.
        nn.init.zeros_(self.weight[HEAD_DIM - config.rope.dim :])

    def forward(self, features: Tensor, starts: Tensor) -> Tensor:
        """Keys (..., D) of features (..., F), turned by the position of a chunk's first token."""
        return hadamard(rotate(features.float() @ self.weight.T, starts, self.rope))


class Retriever(nn.Module):
    """Both towers of one layer; `chunk` is None where the backbone has keys of its own."""

    chunk: ChunkTower | None

    def __init__(self, config: IndexerConfig) -> None:
        super().__init__()
        self.query = QueryTower(config)
        self.chunk = ChunkTower(config) if config.features else None
        self.bias = nn.Parameter(torch.zeros(()))

    def logits(self, hidden_BE: Tensor, records: Tensor, positions_B: Tensor) -> Tensor:
        """(B, C); records are (B, C, 132), or (C, 132) where all queries see the same chunks."""
        queries_BHD, gates_BH = self.query(hidden_BE, positions_B)
        # In pieces that a processor's cache holds; unpacked, records are four times as large.
        at_once = _RECORDS_AT_ONCE if records.device.type == "cpu" else 1 << 16
        step = max(1, at_once // max(1, records.shape[:-2].numel()))
        pieces = [
            agreement(queries_BHD, gates_BH, unpack(part))
            for part in torch.split(records, step, dim=-2)
        ]
        return torch.cat(pieces, dim=1) + self.bias


class MemoryIndexer(nn.Module):
    """One `Retriever` for each scored layer.

    Args:
        config: its sizes; `layers` may be left to `layers`.
        layers: names such as "l17".

    Attributes:
        source: folder or file that it was read from, with what lies beside it; None: made here.

    Raises:
        BadInput: no layer, one named twice, or a name of another form.
    """

    def __init__(self, config: IndexerConfig, layers: tuple[str, ...] = ()) -> None:
        super().__init__()
        layers = layers or config.layers
        if not layers or len(set(layers)) < len(layers) or not all(map(_NAME.fullmatch, layers)):
            raise BadInput(
                f"cannot score the layers {', '.join(layers) or '(none)'}",
                where="indexer",
                fix="name each once, like l10",
            )
        self.source: Path | None = None
        self.config = config.model_copy(update={"layers": layers})
        self.retrievers = nn.ModuleDict({layer: Retriever(config) for layer in layers})

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the scored layers."""
        return self.config.layers

    @property
    def layer_indices(self) -> tuple[int, ...]:
        """The transformer layer of each."""
        numbers = (int(layer[1:]) for layer in self.layers)
        if self.config.published:
            return tuple(_PUBLISHED_FIRST + _PUBLISHED_STEP * number for number in numbers)
        return tuple(numbers)

    # -- files --------------------------------------------------------------------------------

    @classmethod
    def new(cls, config: IndexerConfig, layers: tuple[str, ...], seed: int = 0) -> Self:
        """An untrained indexer, the same for the same seed."""
        # `torch.manual_seed` would also seed the generators of devices.
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            torch.default_generator.manual_seed(seed)
            return cls(config, layers)

    @classmethod
    def from_pretrained(cls, path: str | Path) -> Self:
        """Reads our folder or a published file; weights become float32.

        Raises:
            BadInput: it cannot be read, keys are missing, extra or misshapen, or the settings
                contradict the weights.
        """
        weights, config = checkpoint.read(path)
        # Nothing is drawn for what a file holds: it takes long, and a run that loads an indexer
        # would sample other tokens than one that does not.
        with torch.device("meta"):
            indexer = cls(config)
        for layer, tensors in weights.items():
            # Copies: what was read may still lie in the file.
            state = {_module(name): tensor.clone() for name, tensor in tensors.items()}
            state["bias"] = state["bias"].reshape(()) if "bias" in state else torch.zeros(())
            indexer._at(layer).load_state_dict(state, assign=True)
        indexer.source = Path(path).expanduser()
        return indexer.eval()

    def save_pretrained(self, folder: str | Path) -> Path:
        """Writes `indexer.safetensors` and `indexer.json`, each only when it is whole.

        Raises:
            BadInput: the folder cannot be written to.
        """
        weights = {
            layer: {_file(name): value for name, value in self._at(layer).state_dict().items()}
            for layer in self.layers
        }
        return checkpoint.write(folder, weights, self.config)

    # -- scoring ------------------------------------------------------------------------------

    def check(self, backbone: Mapping[str, Any], chunk_tokens: int) -> None:
        """Whether it was trained for this backbone and this size of chunks.

        Args:
            backbone: `Backbone.fingerprint()`.

        Raises:
            BadInput: naming the first thing that differs, or a scored layer that keeps no history.
        """
        known = {**self.config.backbone, "hidden_size": self.config.hidden_size}
        for name, mine in known.items():
            if name in backbone and backbone[name] != mine:
                hashed = name in ("weights", "states")
                what = "weights differ" if hashed else f"{name} is {backbone[name]}"
                mine = "" if hashed else f", not {mine}"
                raise BadInput(
                    f"the indexer was made for another backbone ({what}{mine})",
                    where="indexer",
                    fix="train one for this model: planish lookahead dump, then train",
                )
        kept = backbone.get("memory_layers", self.layer_indices)
        for layer in self.layer_indices:
            if layer not in kept:
                raise BadInput(
                    f"it scores layer {layer}, which is no full-attention layer here",
                    where="indexer",
                    fix="train one for this model",
                )
        if self.config.features and chunk_tokens != self.config.chunk_tokens:
            raise BadInput(
                f"the indexer was trained on chunks of {self.config.chunk_tokens} tokens, "
                f"not {chunk_tokens}",
                where="indexer",
                fix="use its own size",
            )

    @torch.no_grad()
    def compress(self, layer: str, features_BCF: Tensor, starts_BC: Tensor) -> Tensor:
        """Records (B, C, 132) of chunks.

        Args:
            layer: name of a scored layer.
            features_BCF: see `digests.pool`; starts_BC: position of each chunk's first token.

        Raises:
            BadInput: features of another width, or an indexer without a chunk tower.
        """
        tower = self._at(layer).chunk
        if tower is None:
            raise BadInput(
                "this indexer has no chunk tower: it scores a backbone's own compressed keys",
                where="indexer",
            )
        if features_BCF.shape[-1] != self.config.features:
            raise BadInput(
                f"features are {features_BCF.shape[-1]} wide, not {self.config.features}",
                where=f"indexer layer {layer}",
                fix="pool as it was trained: " + self.config.pooling,
            )
        with torch.autocast(features_BCF.device.type, enabled=False):
            return pack(tower(features_BCF, starts_BC))

    def logits(
        self, hidden: PerLayer, compressed_keys: PerLayer, positions_B: Tensor
    ) -> dict[str, Tensor]:
        """Scores before the sigmoid, by layer, for gradients to pass; see `score`."""
        found = {}
        for layer in self.layers:
            hidden_BE = _one(hidden, layer, "hidden state")
            records_BCW = _one(compressed_keys, layer, "compressed key")
            self._fit(layer, hidden_BE, records_BCW, positions_B)
            # Autocast would round where the definition does not.
            with torch.autocast(hidden_BE.device.type, enabled=False):
                found[layer] = self._at(layer).logits(hidden_BE, records_BCW, positions_B)
        return found

    def _fit(self, layer: str, hidden_BE: Tensor, records_BCW: Tensor, positions_B: Tensor) -> None:
        hidden, keys, positions = (list(x.shape) for x in (hidden_BE, records_BCW, positions_B))
        where = f"indexer layer {layer}"
        if len(hidden) != 2 or hidden[1] != self.config.hidden_size:
            raise BadInput(
                f"hidden states have shape {hidden}",
                where=where,
                fix=f"give (rows, {self.config.hidden_size})",
            )
        if positions != hidden[:1]:
            raise BadInput(
                f"positions have shape {positions}", where=where, fix=f"give ({hidden[0]},)"
            )
        if len(keys) not in (2, 3) or (len(keys) == 3 and keys[0] != hidden[0]):
            raise BadInput(
                f"compressed keys have shape {keys}",
                where=where,
                fix=f"give ({hidden[0]}, chunks, {RECORD_BYTES})",
            )

    @torch.no_grad()
    def score(
        self, hidden: PerLayer, compressed_keys: PerLayer, positions_B: Tensor
    ) -> dict[str, Tensor]:
        """How much each layer's next tokens need each chunk.

        Args:
            hidden: (B, E), what enters the attention module at the last token; one tensor for all
                layers or one for each.
            compressed_keys: uint8 (B, C, 132), likewise, or (C, 132) where all tokens look at
                the same chunks.
            positions_B: absolute positions of the tokens.

        Returns:
            By layer, (B, C) in [0, 1].

        Raises:
            BadInput: other shapes, or scores that are not finite.
        """
        scores = {}
        for layer, logits_BC in self.logits(hidden, compressed_keys, positions_B).items():
            if not bool(logits_BC.isfinite().all()):
                raise BadInput("scores are not finite", where=f"indexer layer {layer}")
            scores[layer] = torch.sigmoid(logits_BC)
        return scores

    def ensemble(
        self, scores: Mapping[str, Tensor], mode: Literal["max", "mean"] | None = None
    ) -> Tensor:
        """One score per chunk: the largest or the mean over layers; by default as configured.

        Raises:
            BadInput: no scores, or another mode.
        """
        mode = mode or self.config.mode
        if not scores or mode not in ("max", "mean"):
            raise BadInput(
                f"cannot join {len(scores)} layers by {mode!r}", where="indexer", fix="max or mean"
            )
        stacked = torch.stack(list(scores.values()))
        return stacked.amax(0) if mode == "max" else stacked.mean(0)

    def _at(self, layer: str) -> Retriever:
        if layer not in self.layers:
            raise BadInput(
                f"does not score a layer {layer!r}",
                where="indexer",
                fix="it scores " + ", ".join(self.layers),
            )
        found = self.retrievers[layer]
        assert isinstance(found, Retriever)
        return found


def _one(given: PerLayer, layer: str, what: str) -> Tensor:
    """The tensor for a layer, out of one for all or one for each."""
    if isinstance(given, Tensor):
        return given
    if layer not in given:
        raise BadInput(f"no {what} is given", where=f"indexer layer {layer}")
    return given[layer]


def _module(name: str) -> str:
    """A parameter's name in `Retriever`."""
    return name if name in ("bias", "chunk.weight") else f"query.{name}"


def _file(name: str) -> str:
    return name.removeprefix("query.")
