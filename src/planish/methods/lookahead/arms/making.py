"""An arm by its name, and what it pays for choosing.

    scorer = make("quest", backbone, requests=("a", "b"), seed=0)
    digest_of("quest", shape)

Shape suffixes: B rows, Q observed tokens, E hidden, T steps, C chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from planish.errors import BadInput
from planish.methods.lookahead.arms.perfect import OracleScorer, TaskOracleScorer
from planish.methods.lookahead.arms.scorers import (
    LastQueryScorer,
    OmniKVScorer,
    QuestScorer,
    RandomScorer,
    RecencyScorer,
    SnapKVScorer,
)
from planish.methods.lookahead.arms.shares import Digest, Shape
from planish.models.memory.digests import RECORD_BYTES

if TYPE_CHECKING:
    from planish.models.memory.backbone import Backbone
    from planish.models.memory.indexer import MemoryIndexer
    from planish.models.memory.scoring import ChunkScorer

__all__ = ["Future", "digest_of", "filter_layers", "make"]


@dataclass(frozen=True)
class Future:
    """What only a finished dense run can tell.

    Args:
        hidden, observed_BQ: layer -> (B, Q, E) at the prompt's last tokens, and their positions.
        start_B: position of step 0.
        needed_BTC, mass_BTC: what each step needs, and looks at.
        task_BTC: what the task says; None: it does not tell.
    """

    hidden: Mapping[int, Tensor]
    observed_BQ: Tensor
    start_B: Tensor
    needed_BTC: Tensor | None = None
    mass_BTC: Tensor | None = None
    task_BTC: Tensor | None = None


def filter_layers(memory_layers: Sequence[int]) -> tuple[int, ...]:
    """The layer that chooses for the others in the arm omnikv: the middle one, rounded down."""
    return (memory_layers[(len(memory_layers) - 1) // 2],)


def digest_of(arm: str, shape: Shape, *, scored_layers: int = 0) -> Digest:
    """What an arm holds on the device to choose by.

    Args:
        scored_layers: of the indexer.
    """
    if arm == "lookahead":
        return Digest(per_chunk=RECORD_BYTES * scored_layers, ahead=True)
    if arm == "quest":
        return Digest(per_chunk=shape.token)  # a token's bytes: as many as two keys
    if arm == "omnikv":
        return Digest(per_absent_chunk=shape.chunk_tokens * shape.layer_token)
    return Digest()


def make(
    arm: str,
    backbone: Backbone,
    *,
    requests: Sequence[str] = (),
    seed: int = 0,
    indexer: MemoryIndexer | None = None,
    future: Future | None = None,
) -> ChunkScorer:
    """A fresh scorer for one batch.

    Args:
        requests: a name per row.
        indexer: of the arm lookahead.
        future: of the arms that look at a dense run.

    Raises:
        BadInput: an arm without what it needs, or no such arm.
    """
    layers = backbone.memory_layers
    if arm == "lookahead":
        from planish.models.memory.scoring import IndexerScorer

        if indexer is None:
            raise BadInput(
                "needs an indexer", where="arm lookahead", fix="give --indexer DIR, or other --arms"
            )
        return IndexerScorer(indexer)
    if arm == "recency":
        return RecencyScorer()
    if arm == "random":
        return RandomScorer(seed, requests or None)
    if arm == "last-query":
        return LastQueryScorer(layers)
    if arm == "quest":
        return QuestScorer(layers)
    if arm == "omnikv":
        return OmniKVScorer(filter_layers(layers))
    if arm in ("snapkv", "oracle", "oracle-task"):
        return _with_future(arm, backbone, future)
    raise BadInput(f"there is no arm {arm!r} that chooses", where="arms")


def _with_future(arm: str, backbone: Backbone, future: Future | None) -> ChunkScorer:
    if future is None:
        raise BadInput("needs a dense run of the same prompt", where=f"arm {arm}")
    if arm == "snapkv":
        scorer = SnapKVScorer(backbone.memory_layers)
        scorer.observe(future.hidden, future.observed_BQ)
        return scorer
    needed = future.needed_BTC if arm == "oracle" else future.task_BTC
    if needed is None:
        raise BadInput("nobody knows what is needed", where=f"arm {arm}")
    if arm == "oracle":
        return OracleScorer(needed, future.mass_BTC, future.start_B)
    return TaskOracleScorer(needed, future.start_B)
