"""Documents that an indexer has seen in its training: no report is made on them.

check_unseen(found, indexer)
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.lookahead.data import SEEN, TRAINING
from planish.methods.lookahead.dumping.attending import Text
from planish.methods.lookahead.evaluate.documents import Document
from planish.records import BadInput

if TYPE_CHECKING:
    from planish.models.memory.indexer import MemoryIndexer

__all__ = ["check_unseen"]


def check_unseen(found: Sequence[Document], indexer: MemoryIndexer) -> None:
    """Refuses documents that the indexer was trained on or chosen by, told by their tokens.

    Args:
        indexer: as it was read; one without `training.json` beside it, such as a published one,
            does not tell and is not refused, nor is one that was made in this process.

    Raises:
        BadInput: a document was seen, or the list of them cannot be read.
    """
    source = indexer.source
    if source is None:
        return
    folder = source if source.is_dir() else source.parent
    seen = _seen(folder / TRAINING)
    again = [each for each in found if Text(each.id, each.prompt_ids, ()).digest in seen]
    if again:
        raise BadInput(
            f"the indexer was trained on {len(again)} of these {len(found)} documents, "
            f"{again[0].id} first",
            where="--task",
            fix="evaluate another --split, such as report, or another --task",
        )


def _seen(path: Path) -> frozenset[str]:
    if not path.is_file():
        return frozenset()
    try:
        told: Any = json.loads(path.read_bytes())
        lists = [told.get(name, []) for name in SEEN]
        return frozenset(str(digest) for digests in lists for digest in digests)
    except (OSError, ValueError, AttributeError, TypeError):
        raise BadInput(
            "does not tell which documents were trained on",
            where=str(path),
            fix="copy it again from where the indexer was trained",
        ) from None
