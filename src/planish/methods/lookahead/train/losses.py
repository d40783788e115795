"""Losses over pairs of a token and a chunk, and the similarity that they share.

    PairLoss(model, gamma=2.0)(sentence_features, labels)
    RankingLoss(model)(sentence_features, labels)
    MultipleNegativesRankingLoss(model, scale=1.0, similarity_fct=gated_scores)

A query's embedding is its heads, their gates and the bias in one row, so that any loss of
sentence-transformers can be handed `gated_scores`. B tokens, P pairs of a token, U distinct
chunks of a batch, H heads, D = 128.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from planish.models.memory.ranking import ranking_loss
from planish.models.memory.scorer import HEAD_DIM

__all__ = ["PairLoss", "RankingLoss", "gated_scores", "pair_logits", "pair_loss", "unpack"]


def unpack(embedding_BX: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [B,H,D], gates [B,H] and bias [B] of a query's embedding of width H*D + H + 1."""
    heads, left = divmod(embedding_BX.shape[1] - 1, HEAD_DIM + 1)
    if left:
        raise ValueError(f"{embedding_BX.shape[1]} is not a width of heads, gates and a bias")
    wide = heads * HEAD_DIM
    query_BHD = embedding_BX[:, :wide].view(-1, heads, HEAD_DIM)
    return query_BHD, embedding_BX[:, wide:-1], embedding_BX[:, -1]


def pair_logits(embedding_BX: Tensor, keys_BPD: Tensor) -> Tensor:
    """Logits [B,P] of each token with its own chunks (arXiv 2606.09079): gated sum of relu."""
    query_BHD, gates_BH, bias_B = unpack(embedding_BX)
    looks_BHP = torch.relu(query_BHD @ keys_BPD.transpose(1, 2))
    return (gates_BH.unsqueeze(1) @ looks_BHP).squeeze(1) + bias_B[:, None]


def gated_scores(embedding_BX: Tensor, keys_UD: Tensor) -> Tensor:
    """Logits [B,U] of each token with each chunk."""
    query_BHD, gates_BH, bias_B = unpack(embedding_BX)
    looks_BHU = torch.relu(query_BHD @ keys_UD.T)
    return (gates_BH.unsqueeze(1) @ looks_BHU).squeeze(1) + bias_B[:, None]


def pair_loss(
    logits: Tensor,
    labels: Tensor,
    weights: Tensor,
    *,
    gamma: float = 0.0,
    smoothing: float = 0.0,
) -> Tensor:
    """Weighted mean of BCE, or of the focal loss (arXiv 1708.02002) where gamma is above 0.

    Args:
        labels: 1 or 0. weights: 0 leaves a pair out.
        smoothing: taken from both labels.
    """
    targets = labels * (1 - 2 * smoothing) + smoothing
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if gamma:
        missed = torch.where(labels > 0.5, torch.sigmoid(-logits), torch.sigmoid(logits))
        loss = loss * missed**gamma
    return (loss * weights).sum() / weights.sum().clamp_min(1e-9)


class PairLoss(nn.Module):
    """BCE or focal loss as sentence-transformers calls it.

    Args:
        model: the dual encoder.
        gamma: 0 is BCE.
        smoothing: taken from both labels.
    """

    def __init__(self, model: nn.Module, *, gamma: float = 0.0, smoothing: float = 0.0) -> None:
        super().__init__()
        self.model, self.gamma, self.smoothing = model, gamma, smoothing

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            sentence_features: the query column and the chunks column, as the towers prepared them.
            labels: [B,P,2]: label and weight of each pair; weight 0 where a row is filled up.
        """
        return pair_loss(
            _logits_of(self.model, sentence_features),
            labels[..., 0],
            labels[..., 1],
            gamma=self.gamma,
            smoothing=self.smoothing,
        )

    def get_config_dict(self) -> dict[str, Any]:
        """For sentence-transformers' records."""
        return {"gamma": self.gamma, "smoothing": self.smoothing}


class RankingLoss(nn.Module):
    """`ranking_loss` as sentence-transformers calls it.

    Args:
        model: the dual encoder.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The loss of a batch; see `PairLoss.forward`."""
        return ranking_loss(
            _logits_of(self.model, sentence_features), labels[..., 0], labels[..., 1]
        )

    def get_config_dict(self) -> dict[str, Any]:
        """For sentence-transformers' records."""
        return {}


def _logits_of(model: nn.Module, sentence_features: Iterable[dict[str, Any]]) -> Tensor:
    """[B,P] of the query column and the chunks column, as the towers prepared them."""
    query, chunks = sentence_features
    embedding_BX = model(query)["sentence_embedding"].float()
    keys_UD = model(chunks)["sentence_embedding"].float()
    return pair_logits(embedding_BX, keys_UD[chunks["gather"]])
