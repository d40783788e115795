"""An indexer scores as the slow reference does at any size, learns, and refuses what misfits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.flop_counter import FlopCounterMode

from planish.errors import BadInput
from planish.models.memory import indexer as module
from planish.models.memory.digests import RECORD_BYTES, pack
from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
from planish.models.memory.scorer import agreement
from support import published
from support.published import Sizes

HIDDEN, FEATURES, CHUNKS = 12, 10, 23


def _indexer(layers: tuple[str, ...] = ("l1", "l3"), **changes: Any) -> MemoryIndexer:
    sizes = {"hidden_size": HIDDEN, "rank": 6, "num_heads": 3, "features": FEATURES}
    return MemoryIndexer.new(IndexerConfig(**{**sizes, **changes}), layers, seed=3)


def _given(rows: int = 2, chunks: int = CHUNKS, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(rows, HIDDEN, generator=generator),
        pack(torch.randn(rows, chunks, 128, generator=generator)),
        torch.randint(0, 150_000, (rows,), generator=generator),
    )


# -- files of any size --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(hidden=1, rank=1, heads=1, chunks=1, rows=1),
        Sizes(hidden=40, rank=6, heads=3, chunks=17, layers=("l0", "l2", "l10", "l19"), bias=True),
        Sizes(hidden=160, rank=48, heads=9, chunks=5, rows=4, layers=("l3", "l4")),
        Sizes(hidden=33, rank=50, heads=2, chunks=64, layers=("l20",), bias=True),
    ],
    ids=str,
)
def test_a_file_of_any_size_scores_as_the_slow_reference(tmp_path: Path, sizes: Sizes) -> None:
    path = published.write(tmp_path / "any.safetensors", sizes, seed=sizes.heads)
    tensors, indexer = load_file(path), MemoryIndexer.from_pretrained(path)
    assert indexer.layers == sizes.layers
    assert indexer.layer_indices == tuple(2 + 2 * int(layer[1:]) for layer in sizes.layers)
    found = indexer.score(tensors["io.hidden"], tensors["io.compressed_k"], tensors["io.positions"])
    for layer in sizes.layers:
        expected = tensors[f"io.scores.{layer}"]
        torch.testing.assert_close(found[layer], expected, atol=1e-4, rtol=0)
        weight = indexer.retrievers[layer].query.wq_a.weight
        assert weight.dtype == torch.float32
    for mode in ("max", "mean"):
        expected = tensors[f"io.scores_{mode}"]
        torch.testing.assert_close(indexer.ensemble(found, mode), expected, atol=1e-4, rtol=0)


def test_a_published_indexer_saved_by_us_stays_one(tmp_path: Path) -> None:
    sizes = Sizes(layers=("l2", "l10"), bias=True)
    path = published.write(tmp_path / "any.safetensors", sizes, seed=1)
    first = MemoryIndexer.from_pretrained(path)
    again = MemoryIndexer.from_pretrained(first.save_pretrained(tmp_path / "ours"))
    assert again.config == first.config
    assert again.layer_indices == (6, 22)
    tensors = load_file(path)
    given = tensors["io.hidden"], tensors["io.compressed_k"], tensors["io.positions"]
    for layer, scores_BC in first.score(*given).items():
        assert torch.equal(again.score(*given)[layer], scores_BC)


def test_only_examples_are_ignored(tmp_path: Path) -> None:
    path = published.write(tmp_path / "any.safetensors", Sizes(), seed=1)
    save_file({**load_file(path), "other.hidden": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match=r"unknown key 'other\.hidden'"):
        MemoryIndexer.from_pretrained(path)


# -- scores -------------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 3),
    chunks=st.integers(0, 12),
    at_once=st.integers(1, 20),
    seed=st.integers(0, 99),
)
@settings(max_examples=20)
def test_rows_and_pieces_do_not_see_each_other(
    rows: int, chunks: int, at_once: int, seed: int
) -> None:
    indexer = _indexer()
    hidden, records, positions = _given(rows, chunks, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_RECORDS_AT_ONCE", at_once)
        found = indexer.score(hidden, records, positions)
    # As many rows each time: a sum in another order may round a query to the next bfloat16.
    alone = [indexer.score(hidden, records[:, c : c + 1], positions) for c in range(chunks)]
    for b in range(rows):
        others = _given(rows, chunks, seed + 100)
        for other, mine in zip(others, (hidden, records, positions), strict=True):
            other[b] = mine[b]
        beside = indexer.score(*others)
        for layer in indexer.layers:
            assert found[layer].shape == (rows, chunks)
            expected = pytest.approx(found[layer][b].tolist(), abs=1e-5)
            assert [one[layer][b].item() for one in alone] == expected
            assert beside[layer][b].tolist() == expected


def test_each_layer_may_have_its_own_input_and_rows_may_share_their_chunks() -> None:
    indexer = _indexer()
    first, second = _given(seed=1), _given(seed=2)
    both = indexer.score(
        {"l1": first[0], "l3": second[0]}, {"l1": first[1], "l3": second[1]}, first[2]
    )
    assert torch.equal(both["l1"], indexer.score(*first)["l1"])
    assert torch.equal(both["l3"], indexer.score(second[0], second[1], first[2])["l3"])
    hidden, records, positions = first
    shared = indexer.score(hidden, records[0], positions)
    repeated = indexer.score(hidden, records[:1].expand(2, -1, -1), positions)
    torch.testing.assert_close(shared["l3"], repeated["l3"], atol=1e-6, rtol=0)


def test_logits_are_scores_before_the_sigmoid_and_take_no_part_in_autocast() -> None:
    indexer, given = _indexer(), _given()
    scores = indexer.score(*given)
    assert not scores["l1"].requires_grad
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = indexer.logits(*given)
    assert torch.equal(logits["l1"].sigmoid(), scores["l1"])
    assert logits["l1"].dtype == torch.float32


def test_a_bias_moves_logits_by_itself() -> None:
    indexer, given = _indexer(), _given()
    before = indexer.logits(*given)["l1"]
    with torch.no_grad():
        indexer.retrievers["l1"].bias.fill_(-2.5)
    torch.testing.assert_close(indexer.logits(*given)["l1"], before - 2.5)


def test_scores_are_joined_as_configured_or_as_told() -> None:
    scores = {"l1": torch.tensor([[0.0, 0.5]]), "l3": torch.tensor([[1.0, 0.25]])}
    assert _indexer().ensemble(scores).tolist() == [[1.0, 0.5]]
    assert _indexer(mode="mean").ensemble(scores).tolist() == [[0.5, 0.375]]
    assert _indexer(mode="mean").ensemble(scores, "max").tolist() == [[1.0, 0.5]]


@pytest.mark.parametrize("chunks", [1, 100, 5000])
def test_a_chunk_costs_its_products_and_nothing_else(chunks: int) -> None:
    def operations(count: int) -> int:
        with FlopCounterMode(display=False) as counter:
            indexer.score(*_given(chunks=count))
        return int(counter.get_total_flops())

    indexer = _indexer(("l1",))
    # One product with each of three heads' queries and one sum over heads, for two rows.
    assert operations(chunks) - operations(0) == chunks * 2 * 2 * (3 * 128 + 3)


# -- records ------------------------------------------------------------------------------------


def test_records_carry_no_gradient_and_take_no_part_in_autocast() -> None:
    indexer = _indexer()
    features = torch.randn(1, 4, FEATURES, generator=torch.Generator().manual_seed(0))
    starts = torch.arange(4)[None] * 16
    expected = indexer.compress("l1", features, starts)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(indexer.compress("l1", features, starts), expected)
    features.requires_grad_()
    assert torch.equal(indexer.compress("l1", features, starts), expected)
    assert indexer.compress("l1", features[:, :0], starts[:, :0]).shape == (1, 0, RECORD_BYTES)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_features_that_are_no_numbers_are_refused(number: float) -> None:
    features = torch.zeros(1, 2, FEATURES)
    features[0, 1, 3] = number
    with pytest.raises(BadInput, match="a chunk's key is not finite"):
        _indexer().compress("l1", features, torch.zeros(1, 2))


def _placed() -> MemoryIndexer:
    """One that has learned that places matter: turned dimensions begin empty."""
    indexer = _indexer()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in indexer.layers:
            weight = indexer.retrievers[layer].chunk.weight
            assert not weight[-indexer.config.rope.dim :].any()
            weight[-indexer.config.rope.dim :] = (
                torch.randn(indexer.config.rope.dim, weight.shape[1], generator=generator)
                * weight.shape[1] ** -0.5
            )
    return indexer


def test_records_are_the_same_every_time_and_know_their_place() -> None:
    indexer = _placed()
    features = torch.randn(2, CHUNKS, FEATURES, generator=torch.Generator().manual_seed(0))
    starts = (torch.arange(CHUNKS) * 16).expand(2, -1)
    records = indexer.compress("l1", features, starts)
    assert records.shape == (2, CHUNKS, RECORD_BYTES)
    assert records.dtype == torch.uint8
    assert torch.equal(records, indexer.compress("l1", features.clone(), starts.clone()))
    assert not torch.equal(records, indexer.compress("l1", features, starts + 16))
    assert not torch.equal(records, indexer.compress("l3", features, starts))


def test_a_chunk_scores_by_what_it_holds_and_how_far_away_it_is() -> None:
    indexer = _placed()
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(1, HIDDEN, generator=generator)
    features = torch.randn(1, CHUNKS, FEATURES, generator=generator)
    starts = (torch.arange(CHUNKS) * 16)[None]

    def logits(moved: int, away: int = 0) -> Tensor:
        records = indexer.compress("l1", features, starts + moved)
        return indexer.logits(hidden, records, torch.tensor([900 + moved + away]))["l1"]

    with torch.no_grad():
        # Float8 and bfloat16 round differently at each place.
        spread = float(logits(0).std())
        assert float((logits(5000) - logits(0)).abs().mean()) < 0.1 * spread
        assert float((logits(0, away=5000) - logits(0)).abs().mean()) > 0.2 * spread


# -- learning -----------------------------------------------------------------------------------


def _towers_logits(
    indexer: MemoryIndexer, hidden: Tensor, positions: Tensor, features: Tensor, starts: Tensor
) -> Tensor:
    """Logits of one layer with gradients to both towers: float8 is left out."""
    retriever: Any = indexer.retrievers["l1"]
    queries, gates = retriever.query(hidden, positions)
    return agreement(queries, gates, retriever.chunk(features, starts)) + retriever.bias


def test_gradients_reach_every_weight() -> None:
    indexer = _indexer(("l1",))
    hidden, _, positions = _given()
    features = torch.randn(2, CHUNKS, FEATURES, generator=torch.Generator().manual_seed(0))
    starts = (torch.arange(CHUNKS) * 16).expand(2, -1)
    _towers_logits(indexer, hidden, positions, features, starts).square().sum().backward()
    for name, weight in indexer.named_parameters():
        assert weight.dtype == torch.float32, name
        assert weight.grad is not None, name
        assert float(weight.grad.abs().max()) > 0, name


def test_gradients_through_records_reach_the_query_tower() -> None:
    indexer = _indexer()
    torch.stack(list(indexer.logits(*_given()).values())).square().sum().backward()
    for name, weight in indexer.named_parameters():
        if "chunk" in name:
            assert weight.grad is None, name
        else:
            assert weight.grad is not None, name
            assert float(weight.grad.abs().max()) > 0, name


def _lesson(entities: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """One-hot tokens, chunks that are bags of two entities, and which chunks hold which token."""
    rows, chunks = 32, 48
    asked = torch.randint(0, entities, (rows,), generator=generator)
    bags = torch.rand(chunks, entities, generator=generator).topk(2, dim=1).indices
    features = torch.zeros(chunks, entities).scatter_(1, bags, 1.0)
    starts = torch.arange(chunks) * 16
    positions = torch.randint(chunks * 16, chunks * 16 + 500, (rows,), generator=generator)
    hidden = torch.nn.functional.one_hot(asked, entities).float()
    return hidden, positions, features, starts, features[:, asked].T


def test_scorer_and_loss_learn_which_chunks_hold_what_is_asked_for() -> None:
    entities = 16
    config = IndexerConfig(hidden_size=entities, rank=16, num_heads=8, features=entities)
    indexer = MemoryIndexer.new(config, ("l1",), seed=0)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(indexer.parameters(), lr=0.02, weight_decay=0.0)
    before = _recall(indexer, entities)
    for _ in range(120):
        *lesson, positives = _lesson(entities, generator)
        loss = binary_cross_entropy_with_logits(_towers_logits(indexer, *lesson), positives)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert before < 0.5
    assert _recall(indexer, entities) == 1.0


def _recall(indexer: MemoryIndexer, entities: int) -> float:
    """Share of positives among as many of the best chunks, on unseen bags and through records."""
    found = wanted = 0.0
    for seed in range(1000, 1005):
        lesson = _lesson(entities, torch.Generator().manual_seed(seed))
        hidden, positions, features, starts, positives = lesson
        records = indexer.compress("l1", features, starts)
        for scores_C, positives_C in zip(
            indexer.score(hidden, records, positions)["l1"], positives, strict=True
        ):
            best = scores_C.topk(int(positives_C.sum())).indices
            found += float(positives_C[best].sum())
            wanted += float(positives_C.sum())
    return found / wanted


# -- making one ---------------------------------------------------------------------------------


def test_the_defaults_suit_ordinary_models() -> None:
    config = IndexerConfig(hidden_size=64)
    found = config.rank, config.num_heads, config.head_dim, config.chunk_tokens, config.pooling
    assert found == (512, 16, 128, 16, "mean-min-max")
    assert MemoryIndexer.new(config, ("l7", "l11")).layer_indices == (7, 11)


def test_a_seed_gives_one_indexer_and_leaves_other_chance_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, second = _indexer(), _indexer()
    assert torch.equal(torch.rand(1), expected)
    other = MemoryIndexer.new(first.config, first.layers, seed=4)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    assert not torch.equal(first.retrievers["l1"].query.wq_a.weight,
                           other.retrievers["l1"].query.wq_a.weight)  # fmt: skip


def test_loading_draws_nothing_and_no_device_is_seeded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def seeded(seed: int) -> None:
        raise AssertionError("the generators of devices were seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded)
    folder = _indexer().save_pretrained(tmp_path)
    before = torch.get_rng_state()
    indexer = MemoryIndexer.from_pretrained(folder)
    assert torch.equal(torch.get_rng_state(), before)
    assert {weight.device.type for weight in indexer.parameters()} == {"cpu"}


@pytest.mark.parametrize("layers", [(), ("l1", "l1"), ("1",), ("l01",), ("l-1",), ("layer1",)])
def test_layers_without_a_proper_name_are_refused(layers: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="cannot score the layers"):
        _indexer(layers)


# -- what does not fit --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden": torch.zeros(2, HIDDEN + 1)}, rf"shape \[2, 13\]; give \(rows, {HIDDEN}\)"),
        ({"hidden": torch.zeros(HIDDEN)}, r"hidden states have shape \[12\]"),
        ({"positions_B": torch.zeros(3)}, r"positions have shape \[3\]; give \(2,\)"),
        ({"positions_B": torch.zeros(2, 1)}, r"positions have shape \[2, 1\]"),
        (
            {"compressed_keys": torch.zeros(3, 4, 132, dtype=torch.uint8)},
            r"keys have shape \[3, 4, 132\]; give \(2, chunks, 132\)",
        ),
        ({"compressed_keys": torch.zeros(132, dtype=torch.uint8)}, "compressed keys have shape"),
        ({"compressed_keys": torch.zeros(2, 4, 128, dtype=torch.uint8)}, "128 wide"),
        ({"hidden": {"l1": torch.zeros(2, HIDDEN)}}, "layer l3: no hidden state is given"),
        ({"compressed_keys": {}}, "layer l1: no compressed key is given"),
    ],
)
def test_inputs_of_other_shapes_are_refused(change: dict[str, Any], message: str) -> None:
    hidden, records, positions = _given()
    given = {"hidden": hidden, "compressed_keys": records, "positions_B": positions, **change}
    with pytest.raises(BadInput, match=message):
        _indexer().score(**given)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_scores_that_are_no_numbers_are_refused(number: float) -> None:
    hidden, records, positions = _given()
    hidden[1, 3] = number
    with pytest.raises(BadInput, match="layer l1: scores are not finite"):
        _indexer().score(hidden, records, positions)


def test_a_number_that_is_none_is_found_in_the_last_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, records, positions = _given()
    records[1, -1, 5] = 0x7F
    monkeypatch.setattr(module, "_RECORDS_AT_ONCE", 4)
    with pytest.raises(BadInput, match="a record holds a number that is not finite"):
        _indexer().score(hidden, records, positions)


def test_features_and_layers_that_it_does_not_know_are_refused() -> None:
    indexer, starts = _indexer(), torch.zeros(1, 2, dtype=torch.int64)
    with pytest.raises(BadInput, match=r"11 wide, not 10; pool as it was trained: mean-min-max"):
        indexer.compress("l1", torch.zeros(1, 2, FEATURES + 1), starts)
    with pytest.raises(BadInput, match="does not score a layer 'l2'; it scores l1, l3"):
        indexer.compress("l2", torch.zeros(1, 2, FEATURES), starts)
    with pytest.raises(BadInput, match="has no chunk tower"):
        _indexer(features=0).compress("l1", torch.zeros(1, 2, FEATURES), starts)


def test_nothing_and_unknown_modes_cannot_be_joined() -> None:
    mode: Any = "sum"
    with pytest.raises(BadInput, match="cannot join 1 layers by 'sum'"):
        _indexer().ensemble({"l1": torch.zeros(1, 1)}, mode)
    with pytest.raises(BadInput, match="cannot join 0 layers"):
        _indexer().ensemble({})


BACKBONE = {
    "architecture": "llama",
    "hidden_size": HIDDEN,
    "memory_layers": [1, 3],
    "weights": "a",
    "states": "c",
}


@pytest.mark.parametrize(
    ("change", "chunk_tokens", "message"),
    [
        ({"architecture": "qwen3"}, 16, r"\(architecture is qwen3, not llama\)"),
        ({"hidden_size": 13}, 16, r"\(hidden_size is 13, not 12\)"),
        ({"weights": "b"}, 16, r"another backbone \(weights differ\)"),
        ({"states": "b"}, 16, r"another backbone \(weights differ\)"),
        ({"memory_layers": [1]}, 16, r"memory_layers is \[1\], not \[1, 3\]"),
        ({}, 8, "trained on chunks of 16 tokens, not 8"),
    ],
)
def test_another_backbone_or_chunk_size_is_refused(
    tmp_path: Path, change: dict[str, Any], chunk_tokens: int, message: str
) -> None:
    saved = _indexer(backbone=BACKBONE).save_pretrained(tmp_path / "indexer")
    indexer = MemoryIndexer.from_pretrained(saved)
    indexer.check(BACKBONE, 16)
    with pytest.raises(BadInput, match=message):
        indexer.check({**BACKBONE, **change}, chunk_tokens)


def test_an_indexer_that_knows_of_attention_weights_alone_is_held_to_these() -> None:
    older = {name: value for name, value in BACKBONE.items() if name != "states"}
    _indexer(backbone=older).check(BACKBONE, 16)
    with pytest.raises(BadInput, match="weights differ"):
        _indexer(backbone=older).check({**BACKBONE, "weights": "b"}, 16)


def test_what_it_is_counts_before_what_it_claims_to_be_made_for() -> None:
    with pytest.raises(BadInput, match=r"hidden_size is 64, not 12"):
        _indexer(backbone={"hidden_size": 64}).check({"hidden_size": 64}, 16)
    with pytest.raises(BadInput, match=r"hidden_size is 64, not 12"):
        _indexer().check({"hidden_size": 64}, 16)


def test_a_layer_that_keeps_no_history_is_refused() -> None:
    with pytest.raises(BadInput, match="scores layer 3, which is no full-attention layer here"):
        _indexer().check({**BACKBONE, "memory_layers": [1, 2]}, 16)
