"""How wrong the order is in which chunks would stay.

    loss = ranking_loss(logits_BP, labels_BP, weights_BP)

Shape suffixes: B tokens, P chunks of a token.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ranking_loss"]


def ranking_loss(logits_BP: Tensor, labels_BP: Tensor, weights_BP: Tensor) -> Tensor:
    """Cross-entropy of each needed chunk against all of its token that are not needed.

    What stays is the best so many, so their order is what counts; a BCE is mostly about how
    likely each chunk is by itself. Other needed chunks are no rivals. The mean is over a token's
    needed chunks first, then over tokens.

    Args:
        labels_BP: 1 or 0. weights_BP: of needed chunks; 0 leaves a pair out.
    """
    needed_BP = (labels_BP > 0.5) & (weights_BP > 0)
    rivals_BP = logits_BP.masked_fill(needed_BP | (weights_BP == 0), -torch.inf)
    # A finite floor: without any rival, -inf would have no gradient but NaN.
    rivals_B1 = rivals_BP.logsumexp(1, keepdim=True).clamp_min(-1e4)
    loss_BP = torch.logaddexp(logits_BP, rivals_B1) - logits_BP
    weights_BP = weights_BP * needed_BP
    total_B = weights_BP.sum(1)
    loss_B = (loss_BP * weights_BP).sum(1) / total_B.clamp_min(1e-9)
    return loss_B.sum() / (total_B > 0).sum().clamp_min(1)
