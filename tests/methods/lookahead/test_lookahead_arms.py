"""The arms: their maths against references, their bytes, and that each chooses what it says."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.methods.lookahead.arms.maths import (
    drawn,
    extremes,
    observed_votes,
    per_chunk,
    quest_bound,
    ranked,
)
from planish.methods.lookahead.arms.perfect import OracleScorer, TaskOracleScorer, union
from planish.methods.lookahead.arms.scorers import (
    BaseScorer,
    LastQueryScorer,
    OmniKVScorer,
    QuestScorer,
    RandomScorer,
    RecencyScorer,
    SnapKVScorer,
)
from planish.methods.lookahead.arms.shares import Digest, Shape, affordable, growth
from planish.models.memory.budget import Budget

CHUNK, HEADS, KV_HEADS, WIDTH, HIDDEN, LAYERS = 4, 4, 2, 8, 16, (0, 2)
SEEDS = st.integers(0, 2**16)


# ---- shares ----------------------------------------------------------------------------------


SHAPES = st.builds(
    Shape,
    num_layers=st.integers(1, 8),
    num_kv_heads=st.integers(1, 4),
    head_dim=st.sampled_from((8, 32, 128)),
    element_bytes=st.sampled_from((2, 4)),
    chunk_tokens=st.sampled_from((4, 16, 64)),
)


@given(SHAPES, st.floats(0.01, 1), st.integers(1, 5000), st.integers(0, 200), st.data())
def test_an_arm_never_pays_more_than_its_share_and_could_not_pay_one_chunk_more(
    shape, fraction, prompt, new, data
):
    digest = Digest(
        per_chunk=data.draw(st.integers(0, shape.chunk)),
        per_absent_chunk=data.draw(st.integers(0, shape.chunk - 1)),
        ahead=data.draw(st.booleans()),
    )
    interval = data.draw(st.integers(1, 64))
    chunks = (prompt + new) // shape.chunk_tokens
    extra = growth(interval, shape.chunk_tokens)
    found = affordable(
        shape, fraction, prompt_tokens=prompt, num_chunks=chunks, growth=extra, digest=digest
    )

    def price(kept):
        held = kept * shape.chunk + extra * shape.token
        places = max(chunks + 8, chunks * 9 // 8) if digest.ahead else chunks
        return held + places * digest.per_chunk + (chunks - kept) * digest.per_absent_chunk

    room = int(fraction * shape.dense(prompt))
    if found is None:
        assert chunks == 0 or price(1) > room
    else:
        assert price(found) <= room
        assert found == chunks or price(found + 1) > room


def test_where_every_layer_is_a_filter_the_share_must_hold_everything():
    shape = Shape(num_layers=1, num_kv_heads=1, head_dim=8, element_bytes=4, chunk_tokens=4)
    digest = Digest(per_absent_chunk=shape.chunk)
    whole = {"prompt_tokens": 40, "num_chunks": 10, "growth": 0, "digest": digest}
    assert affordable(shape, 1.0, **whole) == 10
    assert affordable(shape, 0.9, **whole) is None


# ---- maths -----------------------------------------------------------------------------------


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=30))
def test_ranks_keep_the_order_and_lie_between_0_and_1(scores):
    scores_BC = torch.tensor([scores])
    ranks_BC = ranked(scores_BC)
    assert 0 < ranks_BC.min() <= ranks_BC.max() < 1
    assert len(set(ranks_BC[0].tolist())) == len(scores)
    expected = sorted(range(len(scores)), key=lambda place: (scores_BC[0, place].item(), place))
    assert ranks_BC[0].argsort().tolist() == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_score_that_is_not_finite_is_refused_before_its_rank_hides_it(value):
    with pytest.raises(BadInput, match="no finite score"):
        ranked(torch.tensor([[0.0, value]]))


@given(SEEDS, st.integers(1, 5), st.sampled_from((1, 2, 4)))
def test_the_bound_bounds_every_token_and_is_reached_by_chunks_of_one(seed, num_chunks, groups):
    torch.manual_seed(seed)
    keys_BKLD = torch.randn(2, KV_HEADS, num_chunks * CHUNK, WIDTH)
    queries_BHD = torch.randn(2, KV_HEADS * groups, WIDTH)
    products_BHL = torch.einsum(
        "bhd,bhld->bhl", queries_BHD, keys_BKLD.repeat_interleave(groups, 1)
    )
    largest_BHC = products_BHL.unflatten(-1, (num_chunks, CHUNK)).amax(-1) * 0.5
    bounds_BHC = quest_bound(queries_BHD, *extremes(keys_BKLD, CHUNK), 0.5)
    assert (bounds_BHC >= largest_BHC - 1e-4).all()
    tight = quest_bound(queries_BHD, *extremes(keys_BKLD, 1), 0.5)
    assert torch.allclose(tight, products_BHL * 0.5, atol=1e-4)


def test_masses_of_chunks_leave_out_the_last_one_that_is_not_complete():
    assert per_chunk(torch.arange(7.0), 3, 2).tolist() == [3.0, 12.0]


@given(SEEDS, st.integers(8, 20), st.sampled_from((1, 3, 7)))
def test_votes_are_the_mean_over_neighbours_that_exist(seed, length, kernel):
    torch.manual_seed(seed)
    weights = torch.rand(1, 2, 3, length)
    sums = weights.sum(2)[0]
    found = observed_votes(weights, kernel)[0]
    for place in range(length):
        near = sums[:, max(0, place - kernel // 2) : place + kernel // 2 + 1]
        assert torch.allclose(found[:, place], near.mean(1), atol=1e-5)


def test_draws_depend_on_seed_request_and_step_and_not_on_the_batch():
    both = drawn(0, ["a", "b"], [5, 9], 20)
    assert torch.equal(both[1:], drawn(0, ["b"], [9], 20))
    assert not torch.equal(both[0], both[1])
    for other in (drawn(1, ["a"], [5], 20), drawn(0, ["a"], [6], 20)):
        assert not torch.equal(both[:1], other)


# ---- the arms over a made-up cache -----------------------------------------------------------


class MadeCache:
    """What an arm sees of a cache: keys of everything, padding, and what is resident."""

    def __init__(self, keys, padding=(0, 0)):
        self.keys, self.padding_B = keys, torch.tensor(padding)
        self.length = next(iter(keys.values())).shape[2]
        self.num_chunks = self.length // CHUNK
        self.resident_BC = torch.ones(2, self.num_chunks, dtype=torch.bool)
        self.block_bytes = CHUNK * 2 * KV_HEADS * WIDTH * 4 * len(LAYERS)
        self.gathered = []

    def chunk_keys(self, layer, row=None):
        self.gathered.append(layer)
        return self.keys[layer]


class MadeBackbone:
    """Plain attention without positions: queries are a projection of the hidden state."""

    head_dim, memory_layers, num_kv_heads = WIDTH, LAYERS, KV_HEADS

    def __init__(self, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.weights = {
            layer: torch.randn(HEADS * WIDTH, HIDDEN, generator=generator) for layer in LAYERS
        }

    def attention(self, layer):
        return SimpleNamespace(scaling=0.5)

    def queries(self, layer, hidden_BTE, positions_BT):
        flat = hidden_BTE @ self.weights[layer].T
        return flat.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)

    def attention_weights(self, layer, queries_BHTD, keys_BKLD, allowed_BTL):
        keys_BHLD = keys_BKLD.repeat_interleave(HEADS // KV_HEADS, 1)
        logits = queries_BHTD @ keys_BHLD.transpose(-1, -2) * 0.5
        return logits.masked_fill(~allowed_BTL[:, None], -torch.inf).softmax(-1)


def moment(seed=0, length=22, padding=(0, 0)):
    torch.manual_seed(seed)
    keys = {layer: torch.randn(2, KV_HEADS, length, WIDTH) for layer in LAYERS}
    cache = MadeCache(keys, padding)
    return SimpleNamespace(
        hidden={layer: torch.randn(2, HIDDEN) for layer in LAYERS},
        positions_B=length - 1 - cache.padding_B,
        cache=cache,
        backbone=MadeBackbone(),
    )


def ready(scorer, now, **dials):
    scorer.prepare(now.backbone, Budget(**dials), CHUNK)
    for layer, keys in now.cache.keys.items():
        whole = now.cache.num_chunks * CHUNK
        scorer.chunks(layer, keys[:, :, :whole], 0)
    return scorer


def masses(now, layer):
    """Attention of the last token, by the book."""
    queries = now.backbone.queries(layer, now.hidden[layer][:, None], None)
    index = torch.arange(now.cache.length)
    allowed = (index >= now.cache.padding_B[:, None])[:, None]
    weights = now.backbone.attention_weights(layer, queries, now.cache.keys[layer], allowed)
    return (
        weights[:, :, 0]
        .mean(1)[:, : now.cache.num_chunks * CHUNK]
        .unflatten(1, (-1, CHUNK))
        .sum(-1)
    )


def test_recency_ranks_the_last_chunk_first():
    now = moment()
    scores = ready(RecencyScorer(), now).score(now)
    assert scores.shape == (2, 5)
    assert scores.argsort(-1).tolist() == [[0, 1, 2, 3, 4]] * 2


def test_random_rows_keep_their_draws_when_rows_change_places():
    now = moment()
    scorer = ready(RandomScorer(3, ["left", "right"]), now)
    before = scorer.score(now)
    scorer.reorder(torch.tensor([1, 0]))
    assert torch.equal(scorer.score(now), before.flip(0))


@pytest.mark.parametrize("padding", [(0, 0), (0, 9)])
def test_last_query_ranks_by_attention_over_everything(padding):
    now = moment(padding=padding)
    scorer = ready(LastQueryScorer(LAYERS), now)
    expected = torch.stack([masses(now, layer) for layer in LAYERS]).mean(0)
    first = [pad // CHUNK for pad in padding]
    found = scorer.score(now)
    for row in range(2):
        order = found[row, first[row] :].argsort().tolist()
        assert order == expected[row, first[row] :].argsort(stable=True).tolist()
    assert scorer.digest_bytes() == [0, 0]
    assert scorer.scanned == [[0, 0]]
    now.cache.resident_BC[0, :3] = False
    scorer.score(now)
    assert scorer.scanned[1:] == [[3 * CHUNK * KV_HEADS * WIDTH * 4 * len(LAYERS), 0]]  # keys only
    assert now.cache.gathered == [*LAYERS, *LAYERS]  # once each, and never to count


def test_a_filter_layer_pays_for_all_that_is_not_resident_anyway():
    now = moment()
    scorer = ready(OmniKVScorer(LAYERS[:1]), now)
    now.cache.resident_BC[1, 1:] = False
    expected = masses(now, LAYERS[0])
    assert torch.equal(scorer.score(now).argsort(-1), expected.argsort(stable=True, dim=-1))
    assert scorer.digest_bytes() == [0, 4 * CHUNK * 2 * KV_HEADS * WIDTH * 4]
    assert scorer.scanned == [[0, 0]]
    assert now.cache.gathered == [LAYERS[0]]


def test_an_arm_that_does_not_score_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        BaseScorer()


def test_quest_ranks_by_its_bound_and_counts_both_keys():
    now = moment()
    scorer = ready(QuestScorer(LAYERS), now)
    joined = []
    for layer in LAYERS:
        queries = now.backbone.queries(layer, now.hidden[layer][:, None], None)[:, :, 0]
        low, high = extremes(now.cache.keys[layer][:, :, :20], CHUNK)
        pairs = torch.maximum(
            queries[:, :, None] * low.repeat_interleave(2, 1),
            queries[:, :, None] * high.repeat_interleave(2, 1),
        )
        joined.append((0.5 * pairs.sum(-1)).softmax(-1).mean(1))
    expected = torch.stack(joined).mean(0)
    assert torch.equal(scorer.score(now).argsort(-1), expected.argsort(stable=True, dim=-1))
    assert scorer.digest_bytes() == [5 * 2 * KV_HEADS * WIDTH * 4 * len(LAYERS)] * 2


def test_quest_digests_grow_shrink_and_change_places_with_the_cache():
    now = moment()
    scorer, whole = QuestScorer(LAYERS), ready(QuestScorer(LAYERS), now)
    scorer.prepare(now.backbone, Budget(), CHUNK)
    for layer, keys in now.cache.keys.items():
        scorer.chunks(layer, keys[:, :, :12], 0)
        scorer.chunks(layer, torch.full_like(keys[:, :, 12:16], 99.0), 3)
    scorer.crop(3)
    for layer, keys in now.cache.keys.items():
        scorer.chunks(layer, keys[:, :, 12:20], 3)
    assert torch.equal(scorer.score(now), whole.score(now))
    before = whole.score(now)
    scorer.reorder(torch.tensor([1, 0]))
    for layer in LAYERS:
        now.hidden[layer] = now.hidden[layer].flip(0)
    assert torch.equal(scorer.score(now), before.flip(0))
    scorer.reset()
    assert scorer.digest_bytes() == []


def test_quest_gives_no_share_to_padding():
    now = moment(padding=(0, 8))
    for keys in now.cache.keys.values():
        keys[1, :, :8] = 1e3
    scores = ready(QuestScorer(LAYERS), now).score(now)
    assert set(scores[1].argsort()[:2].tolist()) == {0, 1}


def snapped(now, **dials):
    scorer = ready(SnapKVScorer(LAYERS, kernel=3), now, **dials)
    torch.manual_seed(5)
    hidden = {layer: torch.randn(2, 6, HIDDEN) for layer in LAYERS}
    positions = now.positions_B[:, None] + torch.arange(-6, 0)
    scorer.observe(hidden, positions)
    return scorer


def test_snapkv_needs_the_end_of_the_prompt():
    now = moment()
    with pytest.raises(BadInput, match="not observed"):
        ready(SnapKVScorer(LAYERS), now).score(now)


def test_snapkv_never_takes_back_what_it_evicted():
    now = moment()
    scorer = snapped(now)
    first = scorer.score(now)
    assert (first > scorer.budget.threshold).all()  # the cap alone decides
    now.cache.resident_BC[0, 2] = False
    later = moment(seed=1, length=26)
    later.cache.resident_BC[:, :5] = now.cache.resident_BC
    again = scorer.score(later)
    assert again[0, 2] == 0
    assert torch.equal(again[1, :5], first[1])  # the same choice, whatever the query says now
    assert (again[:, 5] == 1).all()  # of the reply nothing goes before the prompt
    assert first.max() < 1


def test_snapkv_goes_with_its_rows():
    now = moment()
    one, two = snapped(now), snapped(now)
    before = one.score(now)
    one.reorder(torch.tensor([1, 0]))
    assert torch.equal(one.score(now), before.flip(0))
    two.reset()
    later = moment(seed=1, length=26)
    with pytest.raises(BadInput, match="not observed"):  # what was observed is another prompt
        two.score(later)


# ---- the oracles -----------------------------------------------------------------------------


@settings(max_examples=50)
@given(SEEDS, st.integers(-3, 12), st.integers(1, 6))
def test_the_union_is_of_the_tokens_of_the_window(seed, first, interval):
    torch.manual_seed(seed)
    needed = torch.rand(1, 9, 5) > 0.7
    counts = union(needed, torch.tensor([first]), interval)[0]
    inside = needed[0, max(0, first) : max(0, first + interval)]
    assert counts.tolist() == inside.sum(0).tolist()


def test_the_oracle_takes_what_the_next_tokens_need_and_fills_up_by_mass():
    now = moment()
    needed = torch.zeros(2, 8, 5, dtype=torch.bool)
    needed[:, 1, 3] = needed[:, 4, 0] = True  # token 0 was just fed: 1, 2 and 3 come next
    needed[:, 0, 4] = True
    mass = torch.zeros(2, 8, 5)
    mass[:, 2, 2], mass[:, 3, 1] = 0.4, 0.5
    start = now.positions_B.clone()
    scorer = ready(OracleScorer(needed, mass, start), now, interval=3)
    scores = scorer.score(now)
    assert (scores[:, 3] > 0.5).all()
    assert (scores[:, [0, 1, 2, 4]] < 0.5).all()
    assert scores[0].argsort(descending=True)[:3].tolist() == [3, 1, 2]
    assert scorer.digest_bytes() == [0, 0]
    scorer.reorder(torch.tensor([1]))
    assert scorer.needed_BTC.shape[0] == scorer.start_B.shape[0] == 1


def test_the_oracle_knows_nothing_of_chunks_that_came_later():
    now = moment(length=30)
    needed = torch.ones(2, 4, 5, dtype=torch.bool)
    scores = ready(TaskOracleScorer(needed, now.positions_B - 1), now, interval=2).score(now)
    assert scores.shape == (2, 7)
    assert (scores[:, :5] > 0.5).all()
    assert (scores[:, 5:] == 0).all()


def test_needs_and_masses_must_fit():
    with pytest.raises(BadInput, match="masses of"):
        OracleScorer(torch.zeros(1, 2, 3).bool(), torch.zeros(1, 2, 4), torch.zeros(1))
