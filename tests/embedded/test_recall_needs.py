"""What the reader is asked while it is taught: needs by brute force, and what the loss reaches."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.embedded.recall_model import VOCABULARY, build_model
from planish.embedded.recall_needs import (
    CHUNK,
    PLANNED,
    WINDOW,
    Needs,
    needs_loss,
    needs_of,
    new_indexer,
)
from planish.embedded.recall_training import Stage, batch, train_reader
from planish.tasks.recall.families import FAMILIES

FOUND = sorted(set(FAMILIES) - {"cwe", "fwe"})


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    names=st.lists(st.sampled_from(sorted(FAMILIES)), min_size=1, max_size=4),
    length=st.integers(96, 400),
)
def test_needed_is_what_the_next_words_of_the_answer_stand_in(
    seed: int, names: list[str], length: int
) -> None:
    draw = random.Random(seed)
    documents = [FAMILIES[name](draw, length) for name in names]
    needs = needs_of(documents, draw)
    asked = {row for row, name in enumerate(names) if name in FOUND}
    assert set(needs.row_Q.tolist()) == asked
    for row, place, needed_C, held_C in zip(
        needs.row_Q.tolist(), needs.place_Q.tolist(), needs.needed_QC, needs.held_QC, strict=True
    ):
        document = documents[row]
        words = document.context
        inside = len(words) // CHUNK
        assert held_C.nonzero().flatten().tolist() == list(range(inside))
        begin = place - len(words) - len(document.question) + 1
        wanted = set()
        for word in range(begin, min(begin + WINDOW, len(document.answer))):
            start = document.needs[word // 8]
            if word % 8 == 0:
                assert words[start] == ";"
            else:
                assert words[start + word % 8] == document.answer[word]
            wanted |= {(start + behind) // CHUNK for behind in range(3, 8)}
        assert needed_C.nonzero().flatten().tolist() == sorted(
            chunk for chunk in wanted if chunk < inside
        )


def test_the_end_of_the_question_is_always_asked() -> None:
    draw = random.Random(1)
    documents = [FAMILIES[name](draw, 128) for name in FOUND]
    needs = needs_of(documents, draw)
    for row, document in enumerate(documents):
        ends = len(document.context) + len(document.question) - 1
        assert ends in needs.place_Q[needs.row_Q == row].tolist()


def states(ids_BT: torch.Tensor, model: torch.nn.Module) -> list[torch.Tensor]:
    return list(model(input_ids=ids_BT, use_cache=False, output_hidden_states=True).hidden_states)


@pytest.fixture
def reader():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield build_model(0).train()
    torch.set_num_threads(before)


def test_the_loss_reaches_states_keys_and_the_indexer(reader) -> None:
    ids_BT, _, needs = batch(128, 3, random.Random(2), drills=1.0)
    indexer = new_indexer(192, 128, 0)
    loss = needs_loss(reader.model, indexer, states(ids_BT, reader.model), needs)
    loss.backward()
    assert 0 < float(loss.detach()) < 10
    layers = reader.model.layers
    for layer in PLANNED:
        assert float(layers[layer].self_attn.k_proj.weight.grad.abs().sum()) > 0
        assert indexer.retrievers[f"l{layer}"].query.wq_b.weight.grad.abs().sum() > 0
    assert float(layers[0].mlp.down_proj.weight.grad.abs().sum()) > 0
    assert layers[-1].self_attn.o_proj.weight.grad is None  # behind all that is asked


def test_where_everything_counts_nothing_is_asked(reader) -> None:
    draw = random.Random(3)
    needs = needs_of([FAMILIES["cwe"](draw, 128)], draw)
    assert len(needs.row_Q) == 0
    assert float(needs_loss(reader.model, new_indexer(192, 128, 0), [], needs)) == 0


def test_an_indexer_that_puts_the_needed_first_has_a_small_loss(reader) -> None:
    """The place asked at is given the very keys that it needs: scored above all others."""
    ids_BT, _, needs = batch(128, 1, random.Random(5), drills=0.0, families=("niah_multikey_1",))
    indexer = new_indexer(192, 128, 0)
    optimizer = torch.optim.AdamW(indexer.parameters(), lr=3e-3)
    hidden = [one.detach() for one in states(ids_BT, reader.model)]
    losses = []
    for _ in range(40):
        loss = needs_loss(reader.model, indexer, hidden, needs)
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]


def test_a_batch_is_documents_with_their_answers() -> None:
    ids_BT, labels_BT, needs = batch(128, 4, random.Random(7))
    assert isinstance(needs, Needs)
    for row in range(4):
        said = labels_BT[row][labels_BT[row] != -100]
        assert VOCABULARY[int(said[-1])] == VOCABULARY[-2]  # the end
        begin = int((labels_BT[row] != -100).nonzero()[0])
        assert begin == 128
        assert torch.equal(ids_BT[row, begin : begin + len(said)], said)


def test_the_first_layer_hardly_moves(reader) -> None:
    taught = train_reader(0, stages=(Stage(96, 2, 3),))
    moved = [
        float((one - other).detach().abs().max())
        for layer in (0, 1)
        for one, other in zip(
            taught.model.layers[layer].mlp.parameters(),
            reader.model.layers[layer].mlp.parameters(),
            strict=True,
        )
    ]
    assert 0 < max(moved[:6]) < 0.2 * max(moved[6:])
