"""The indexer's towers as modules of sentence-transformers: rows of numbers in, vectors out.

model = dual_encoder(retriever, bank, device)
model.encode_query([[3]], convert_to_tensor=True)

A row of the query column is the number of a token, a row of the chunks column the numbers of
chunks; `preprocess` fetches the vectors from the bank, so that a chunk which many tokens of a
batch look at is encoded once. B tokens, P chunks of a token, U distinct chunks, E hidden,
F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule, Router
from torch import Tensor, nn

from planish.methods.lookahead.train.bank import Bank

__all__ = ["ROUTES", "ChunkModule", "QueryModule", "dual_encoder"]

ROUTES = {"query": "query", "chunks": "document", "negatives": "document"}
"""Which tower each column goes to."""


class _Tower(InputModule):
    """What both towers share: a bank, and no tokenizer."""

    def __init__(self, retriever: nn.Module, bank: Bank) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.retriever: Any = retriever
        self.bank = bank

    @property
    def tokenizer(self) -> None:  # type: ignore[override]
        """There is none: rows are numbers."""
        return

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Not here: the trained towers are saved as an indexer."""
        raise TypeError("towers are saved with MemoryIndexer.save_pretrained")


class QueryModule(_Tower):
    """A token's heads, gates and bias in one row of width H*128 + H + 1."""

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Hidden state and position [B,E+1] of each token, by a name that the trainer sees."""
        rows_B = torch.tensor([row[0] for row in inputs])
        hidden_BE = self.bank.hidden_NE[rows_B].float()
        position_B1 = self.bank.position_N[rows_B].float()[:, None]
        return {"input_values": torch.cat([hidden_BE, position_B1], dim=1)}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds `sentence_embedding` [B, H*128 + H + 1]."""
        hidden_BE, positions_B = _parted(features["input_values"])
        features["sentence_embedding"] = query_embedding(self.retriever, hidden_BE, positions_B)
        return features


class ChunkModule(_Tower):
    """The rotated key of each chunk."""

    def preprocess(
        self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        """Features and start [U,F+1] of distinct chunks, and `gather` [B,P]: which row is whose."""
        numbers_BP = torch.tensor([list(row) for row in inputs])
        gather_BP = torch.arange(len(inputs))[:, None]
        numbers_U = numbers_BP.flatten()
        # A column of single chunks keeps its rows: losses pair them with the queries by place.
        if numbers_BP.shape[1] > 1:
            numbers_U, gather_BP = torch.unique(numbers_BP, return_inverse=True)
        features_UF = self.bank.features_SF[numbers_U].float()
        start_U1 = self.bank.start_S[numbers_U].float()[:, None]
        return {"input_values": torch.cat([features_UF, start_U1], dim=1), "gather": gather_BP}

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds `sentence_embedding` [U,128]."""
        features_UF, starts_U = _parted(features["input_values"])
        features["sentence_embedding"] = chunk_keys(self.retriever, features_UF, starts_U)
        return features


def _parted(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors and the whole number behind them, which no linear map may see."""
    return packed[:, :-1], packed[:, -1].round().long()


def query_embedding(retriever: Any, hidden_BE: Tensor, positions_B: Tensor) -> Tensor:
    """Heads, gates and bias of each token in one row."""
    query_BHD, gates_BH = retriever.query(hidden_BE, positions_B)
    bias_B1 = retriever.bias.reshape(1, 1).expand(len(hidden_BE), 1)
    return torch.cat([query_BHD.flatten(1), gates_BH, bias_B1.to(gates_BH)], dim=1)


def chunk_keys(retriever: Any, features_UF: Tensor, starts_U: Tensor) -> Tensor:
    """The key of each chunk, rotated by its start, before it is rounded to float8.

    Where the model has keys of its own they are taken as they are.
    """
    if retriever.chunk is None:
        return features_UF
    keys: Tensor = retriever.chunk(features_UF, starts_U)
    return keys


def dual_encoder(retriever: nn.Module, bank: Bank, device: str | torch.device) -> Any:
    """A `SentenceTransformer` whose two routes are the towers of one layer."""
    router = Router.for_query_document(
        [QueryModule(retriever, bank)], [ChunkModule(retriever, bank)]
    )
    return SentenceTransformer(modules=[router], device=str(device))
