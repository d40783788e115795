"""Documents that an indexer has seen in its training: no report is made on them.

check_unseen(found, Path("indexer"))
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planish.methods.lookahead.data import SEEN, TRAINING
from planish.methods.lookahead.dumping.attending import Text
from planish.methods.lookahead.evaluate.documents import Document
from planish.records import BadInput

__all__ = ["check_unseen"]


def check_unseen(found: Sequence[Document], indexer: Path) -> None:
    """Refuses documents that the indexer was trained on or chosen by, told by their tokens.

    Args:
        indexer: its folder, or its file; one without `training.json`, such as a published one,
            does not tell, and is not refused.

    Raises:
        BadInput: a document was seen, or the list of them cannot be read.
    """
    folder = indexer if indexer.is_dir() else indexer.parent
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
