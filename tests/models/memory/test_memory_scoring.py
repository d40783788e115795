"""An indexer in a session: its records belong to rows and chunks, whatever becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from planish.errors import BadInput
from planish.models.memory import scoring
from planish.models.memory.attach import Session, lookahead
from planish.models.memory.budget import Budget
from planish.models.memory.digests import RECORD_BYTES
from planish.models.memory.indexer import MemoryIndexer
from planish.models.memory.scoring import IndexerScorer
from support import backbones
from support.indexers import CHUNK, save_indexer

BUDGET = Budget(recent_tokens=8, max_chunks=4, min_chunks=4, interval=6, dense_queries=16)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("scoring")
    model = backbones.make("qwen3", root / "model", num_hidden_layers=2)
    return model, save_indexer(root / "indexer", model)


def loaded(folders: tuple[Path, Path], dtype: str = "float32") -> tuple[Any, MemoryIndexer]:
    model = backbones.load(folders[0], dtype=dtype)
    model.generation_config.eos_token_id = None
    return model, MemoryIndexer.from_pretrained(folders[1])


def records(session: Session) -> torch.Tensor:
    scorer = session.scorer
    assert isinstance(scorer, IndexerScorer)
    (growing,) = scorer._records.values()
    return growing.view()


def prompt(rows: int, length: int = 40) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(3, backbones.VOCABULARY, (rows, length), generator=generator)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_decides_in_the_model_s_own_dtype(folders: tuple[Path, Path], dtype: str) -> None:
    model, indexer = loaded(folders, dtype)
    with lookahead(model, indexer, BUDGET) as session:
        model.generate(prompt(1), max_new_tokens=14, do_sample=False)
    assert session.chunk_tokens == CHUNK
    assert len(session.windows) == 3
    assert all(window.kept == 4 for window in session.windows)
    scorer = session.scorer
    assert isinstance(scorer, IndexerScorer)
    (growing,) = scorer._records.values()
    assert scorer.digest_bytes() == [growing.buffer.numel()]
    assert growing.buffer.numel() >= growing.count * RECORD_BYTES


def test_records_of_a_row_do_not_depend_on_the_batch(folders: tuple[Path, Path]) -> None:
    model, indexer = loaded(folders)
    padding = 3 * CHUNK
    ids_BL, mask_BL = prompt(2), torch.ones(2, 40, dtype=torch.int64)
    mask_BL[1, :padding] = 0
    with lookahead(model, indexer, BUDGET) as session:
        # In pieces, the first of which is padding alone for the second row.
        model.generate(ids_BL, attention_mask=mask_BL, max_new_tokens=1, prefill_chunk_size=9)
        both = records(session).clone()
        model.generate(ids_BL[1:, padding:], max_new_tokens=1)
        alone = records(session)
    difference = both[1, padding // CHUNK :].view(torch.int8).int() - alone[0].view(torch.int8)
    # The last bit of a rounded number may differ, as sums are taken in another order.
    assert int((difference.abs() > 1).sum()) <= 2 * alone.shape[1] * 4


def test_records_do_not_depend_on_how_many_tokens_are_turned_back_at_once(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, indexer = loaded(folders)
    ids_BL, mask_BL = prompt(2), torch.ones(2, 40, dtype=torch.int64)
    mask_BL[1, : CHUNK + 1] = 0
    found = []
    for tokens in (scoring.TURNED_TOKENS, 2 * CHUNK, 1):
        monkeypatch.setattr(scoring, "TURNED_TOKENS", tokens)
        with lookahead(model, indexer, BUDGET) as session:
            model.generate(ids_BL, attention_mask=mask_BL, max_new_tokens=1)
            found.append(records(session).clone())
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_records_go_with_their_rows_and_are_cut_off(folders: tuple[Path, Path]) -> None:
    model, indexer = loaded(folders)
    with lookahead(model, indexer, BUDGET) as session:
        cache = model(prompt(2)).past_key_values
        before = records(session).clone()
        cache.reorder_cache(torch.tensor([1, 1]))
        assert torch.equal(records(session), before[[1, 1]])
        cache.crop(-10)
        assert torch.equal(records(session), before[[1, 1], : 30 // CHUNK])
        more = prompt(2, 20)
        model(more, past_key_values=cache)
        assert records(session).shape[1] == 50 // CHUNK
        assert torch.equal(records(session)[:, :7], before[[1, 1], :7])
        cache.reset()
        assert session.scorer.digest_bytes() == []


def test_an_indexer_of_another_chunk_size_is_refused(folders: tuple[Path, Path]) -> None:
    model, indexer = loaded(folders)
    with (
        pytest.raises(BadInput, match="chunk"),
        lookahead(model, indexer, BUDGET, chunk_tokens=2 * CHUNK),
    ):
        pass
