"""Training: measures against brute force, losses, rows, and a world that must be learnt."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from planish.methods.lookahead.config import Config, Training
from planish.methods.lookahead.data import Header
from planish.methods.lookahead.dumping.folder import Dump, Shard, Writer
from planish.methods.lookahead.running.train import TRAINING, train
from planish.methods.lookahead.train.bank import (
    Bank,
    Labelled,
    Token,
    decisions,
    limits_of,
    read_labels,
    rule_of,
    split_documents,
)
from planish.methods.lookahead.train.batches import rows_of
from planish.methods.lookahead.train.fit import fit
from planish.methods.lookahead.train.intervals import by_document
from planish.methods.lookahead.train.losses import gated_scores, pair_logits, pair_loss
from planish.methods.lookahead.train.measure import (
    Judged,
    best_shift,
    choose_layers,
    combine,
    measure,
    rate_shift,
    top_share,
)
from planish.records import BadInput, read_jsonl
from planish.stats import Estimate

ENTITIES, CHUNKS, CHUNK = 12, 30, 8


# ---- measures


def _judged(seed: int, tokens: int = 4, chunks: int = 9) -> tuple[Judged, Tensor]:
    random = np.random.default_rng(seed)
    candidate = random.random((tokens, chunks)) < 0.8
    positive = candidate & (random.random((tokens, chunks)) < 0.3)
    mass = random.random((tokens, chunks))
    logits = random.integers(-3, 4, (tokens, chunks)).astype(np.float32)  # with ties
    judged = Judged(*(torch.tensor(one) for one in (positive, candidate, mass)))
    return judged, torch.tensor(logits)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 9999), budget=st.sampled_from([0.1, 0.3, 0.5, 1.0]))
def test_measures_are_their_definitions(seed: int, budget: float) -> None:
    judged, logits = _judged(seed)
    found = measure([judged], [logits], threshold=0.5, budgets=(budget,))
    hits = wanted = kept = 0
    recalls, masses = [], []
    for row in range(4):
        candidates = judged.candidate_NC[row].nonzero().flatten().tolist()
        needed = set(judged.positive_NC[row].nonzero().flatten().tolist())
        above = {c for c in candidates if logits[row, c] > 0}
        hits, wanted, kept = hits + len(above & needed), wanted + len(needed), kept + len(above)
        ordered = sorted(candidates, key=lambda c: (-float(logits[row, c]), -c))
        top = ordered[: math.ceil(budget * len(candidates) - 1e-9)]
        if needed:
            recalls.append(len(needed & set(top)) / len(needed))
        if candidates:
            total = sum(float(judged.mass_NC[row, c]) for c in candidates)
            masses.append(sum(float(judged.mass_NC[row, c]) for c in top) / total)
    assert found["f1"] == (pytest.approx(2 * hits / (wanted + kept)) if wanted + kept else None)
    assert found[f"recall@{budget:g}"] == (pytest.approx(np.mean(recalls)) if recalls else None)
    assert found[f"mass@{budget:g}"] == (pytest.approx(np.mean(masses)) if masses else None)
    if budget == 1.0 and recalls:
        assert found["recall@1"] == 1.0


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 9999), documents=st.integers(1, 6))
def test_intervals_by_document_lie_around_the_measures(seed: int, documents: int) -> None:
    worlds = [_judged(seed + place, tokens=1 + place) for place in range(documents)]
    judged, logits = ([one[part] for one in worlds] for part in (0, 1))
    dials: Any = {"threshold": 0.5, "budgets": (0.3, 1.0)}
    plain = measure(judged, logits, **dials)
    found = by_document(judged, logits, plain, **dials, seed=seed)
    assert list(found) == list(plain)
    assert found == by_document(judged, logits, plain, **dials, seed=seed)
    for name, value in plain.items():
        number = found[name]
        if value is None or name == "calibration_error":
            assert number == value
            continue
        assert isinstance(number, Estimate)
        assert number.value == pytest.approx(value)
        assert 1 <= number.n <= documents
        if number.low is not None and number.high is not None:
            assert number.low - 1e-9 <= value <= number.high + 1e-9


def test_an_interval_is_as_wide_as_that_of_so_many_documents() -> None:
    """One token a document, two chunks, one needed; it is ranked first in `right` of ten."""

    def width(right: int) -> float:
        positive, every = torch.tensor([[True, False]]), torch.ones(1, 2, dtype=torch.bool)
        judged = [Judged(positive, every, torch.ones(1, 2))] * 10
        logits = [
            torch.tensor([[1.0, 0.0] if place < right else [0.0, 1.0]]) for place in range(10)
        ]
        dials: Any = {"threshold": 0.5, "budgets": (0.5,)}
        found: Any = by_document(judged, logits, measure(judged, logits, **dials), **dials)
        return float(found["recall@0.5"].high - found["recall@0.5"].low)

    assert width(5) == pytest.approx(0.6, abs=0.11)  # 2 * 1.96 * (.5 * .5 / 10) ** .5 = .62
    assert width(9) < width(5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 9999), threshold=st.sampled_from([0.2, 0.5, 0.8]))
def test_the_best_shift_is_the_best(seed: int, threshold: float) -> None:
    judged, logits = _judged(seed, tokens=1, chunks=14)
    positive, values = judged.positive_NC[0], logits[0]
    shift, claimed = best_shift(values, positive, threshold)

    def f1(added: float) -> float:
        above = torch.sigmoid(values.double() + added) > threshold
        return 2 * float((above & positive).sum()) / max(float(above.sum() + positive.sum()), 1)

    if claimed is None:
        assert not positive.any()
        return
    assert f1(shift) == pytest.approx(claimed)
    assert claimed == pytest.approx(max(f1(added / 4) for added in range(-40, 41)))


def test_the_rate_is_met() -> None:
    logits, positive = torch.linspace(-4, 6, 50), torch.arange(50) % 10 == 0
    shift = rate_shift(logits, positive)
    assert float(torch.sigmoid(logits.double() + shift).mean()) == pytest.approx(0.1, abs=1e-6)


def test_layers_are_joined_as_scores_are() -> None:
    one, other = torch.randn(3, 5), torch.randn(3, 5)
    scores = torch.sigmoid(torch.stack([one, other]))
    most, mean = combine([[one], [other]], "max")[0], combine([[one], [other]], "mean")[0]
    torch.testing.assert_close(torch.sigmoid(most), scores.amax(0))
    torch.testing.assert_close(torch.sigmoid(mean), scores.mean(0))


def test_layers_that_add_nothing_are_not_chosen() -> None:
    judged = Judged(
        torch.eye(8, 16, dtype=torch.bool), torch.ones(8, 16, dtype=torch.bool), torch.rand(8, 16)
    )
    right = judged.positive_NC.float() * 8 - 4
    half, other_half = right.clone(), right.clone()
    half[:4], other_half[4:] = -4.0, -4.0
    noise = torch.randn(8, 16)
    dials: dict[str, Any] = {"most": 3, "threshold": 0.5, "aim": 0.1}
    chosen, _ = choose_layers([judged], {"l0": [noise], "l1": [right], "l2": [right]}, **dials)
    assert len(chosen) == 1
    assert chosen[0] != "l0"
    chosen, _ = choose_layers([judged], {"l1": [half], "l2": [other_half]}, **dials)
    assert chosen == ("l1", "l2")


def test_a_budget_takes_later_chunks_of_equal_ones() -> None:
    top = top_share(torch.zeros(1, 10), torch.ones(1, 10, dtype=torch.bool), 0.2)
    assert top[0].nonzero().flatten().tolist() == [8, 9]


# ---- losses


def test_both_forms_of_the_similarity_are_the_published_one() -> None:
    heads, width = 3, 128
    query, gates, bias = torch.randn(2, heads, width), torch.randn(2, heads), torch.randn(2)
    keys = torch.randn(5, width)
    expected = torch.stack(
        [
            torch.stack([(gates[b] * torch.relu(query[b] @ key)).sum() + bias[b] for key in keys])
            for b in range(2)
        ]
    )
    packed = torch.cat([query.flatten(1), gates, bias[:, None]], 1)
    torch.testing.assert_close(gated_scores(packed, keys), expected)
    torch.testing.assert_close(pair_logits(packed, keys.expand(2, 5, width)), expected)


def test_the_focal_loss_is_bce_where_gamma_is_0_and_less_where_it_is_sure() -> None:
    logits, labels = torch.tensor([4.0, -4.0, 1.0]), torch.tensor([1.0, 0.0, 0.0])
    weights = torch.tensor([1.0, 1.0, 0.0])
    plain = nn.functional.binary_cross_entropy_with_logits(logits[:2], labels[:2])
    torch.testing.assert_close(pair_loss(logits, labels, weights), plain)
    missed = torch.sigmoid(torch.tensor(-4.0))
    torch.testing.assert_close(pair_loss(logits, labels, weights, gamma=2.0), plain * missed**2)
    assert pair_loss(logits, labels, weights, smoothing=0.1) > plain


def test_decisions_are_the_ends_of_prompts_and_every_interval_behind_them() -> None:
    stretch = torch.tensor([0] * 5 + [3] * 9)
    assert decisions(stretch, 4) == [0, 1, 4, 5, 6, 9, 10, 13]
    assert decisions(stretch[:0], 4) == []


# ---- rows


def _world(documents: int, tokens: int, seed: int) -> Bank:
    """Each chunk holds two entities; a token needs the chunks with its own: section 8's test."""
    random = torch.Generator().manual_seed(seed)
    labelled = Labelled([None] * documents)  # type: ignore[list-item]
    hidden, features = [], []
    for place in range(documents):
        entities = torch.randint(0, ENTITIES, (CHUNKS, 2), generator=random)
        features.append(torch.zeros(CHUNKS, ENTITIES).scatter_(1, entities, 1.0))
        for row in range(tokens):
            wanted = int(torch.randint(0, ENTITIES, (1,), generator=random))
            hidden.append(nn.functional.one_hot(torch.tensor(wanted), ENTITIES).float() * 4)
            positives = (entities == wanted).any(1).nonzero().flatten()
            position = CHUNKS * CHUNK + row
            weights = torch.ones(len(positives))
            labelled.tokens.append(Token(place, row, position, 0, CHUNKS, positives, weights))
        labelled.num_chunks.append(CHUNKS)
        labelled.masses.append(torch.rand(tokens, CHUNKS, generator=random))
    return Bank(
        labelled,
        torch.stack(hidden),
        torch.tensor([token.position for token in labelled.tokens]),
        torch.cat(features),
        torch.arange(CHUNKS).repeat(documents) * CHUNK,
        tuple(place * CHUNKS for place in range(documents)),
    )


@pytest.mark.parametrize("negatives", ["uniform", "all"])
def test_rows_hold_a_tokens_own_chunks_with_the_right_labels(negatives: Any) -> None:
    bank = _world(3, 7, 0)
    dataset = rows_of(bank, Training(negatives=negatives, negative_ratio=2.0))
    rows = dataset[:]
    for (number,), chunks, label in zip(rows["query"], rows["chunks"], rows["label"], strict=True):
        token = bank.labelled.tokens[number]
        first = bank.first_D[token.document]
        used = [place for place in range(len(chunks)) if label[place, 1] > 0]
        seen = [chunks[place] - first for place in used]
        assert len(set(seen)) == len(seen)
        assert all(0 <= chunk < CHUNKS for chunk in seen)
        found = {chunk for chunk, place in zip(seen, used, strict=True) if label[place, 0] > 0}
        assert found == set(token.positives.tolist())
        if negatives == "all":
            assert len(seen) == CHUNKS
        else:
            expected = 2 * max(len(found), 1)
            assert len(seen) - len(found) == min(expected, CHUNKS - len(found))


def test_uniform_negatives_are_drawn_anew_and_the_same_for_the_same_seed() -> None:
    bank = _world(2, 5, 0)
    one, other = (rows_of(bank, Training(negatives="uniform", seed=3)) for _ in range(2))
    first, again = one[:]["chunks"], one[:]["chunks"]
    assert first != again
    assert other[:]["chunks"] == first


def test_nothing_needed_is_told() -> None:
    bank = _world(1, 3, 0)
    tokens = bank.labelled.tokens
    empty = [
        Token(t.document, t.row, t.position, t.low, t.high, torch.tensor([]).long(), torch.ones(0))
        for t in tokens
    ]
    bank.labelled.tokens[:] = empty
    with pytest.raises(BadInput, match="none of 3 labelled tokens needs a chunk"):
        rows_of(bank, Training())


# ---- training


def _header(**changes: Any) -> Header:
    values: dict[str, Any] = {
        "model": "hf:tiny",
        "backbone": {"weights": "abc"},
        "layers": (0, 1),
        "memory_layers": (0, 1),
        "hidden_size": ENTITIES,
        "num_heads": 1,
        "num_kv_heads": 1,
        "head_dim": ENTITIES,
        "features": ENTITIES,
        "chunk_tokens": CHUNK,
        "pooling": "mean",
        "dtype": "float32",
        "top_chunks": 0,
        "continuation": 12,
        "prompt_runs": 0,
        "run_tokens": 16,
    }
    return Header(**(values | changes))


@pytest.mark.parametrize(("loss", "negatives"), [("bce", "all"), ("focal", "uniform")])
def test_a_world_of_entities_is_learnt(tmp_path: Path, loss: Any, negatives: Any) -> None:
    from planish.methods.lookahead.train.lessons import new_indexer

    dials = Training(
        loss=loss,
        negatives=negatives,
        epochs=10,
        batch_size=32,
        learning_rate=3e-2,
        rank=ENTITIES,
        num_heads=4,
        patience=10,
        budgets=(0.4,),
        aim=0.4,
    )
    torch.manual_seed(0)
    retriever: Any = new_indexer(_header(), ("l0",), dials).retrievers["l0"]
    fitted = fit(retriever, _world(16, 20, 0), _world(4, 20, 1), dials, tmp_path)
    assert fitted.quality["best_f1"] > 0.95  # type: ignore[operator]
    assert fitted.quality["f1"] == pytest.approx(fitted.quality["best_f1"])
    assert fitted.quality["recall@0.4"] > 0.98  # type: ignore[operator]
    assert fitted.curve[-1]["objective"] > fitted.curve[0]["objective"] - 0.05


@pytest.mark.parametrize(("loss", "negatives"), [("infonce", "uniform"), ("softmax", "all")])
def test_what_ranks_learns_to_rank(tmp_path: Path, loss: Any, negatives: Any) -> None:
    from planish.methods.lookahead.train.lessons import new_indexer

    dials = Training(
        loss=loss,
        negatives=negatives,
        epochs=8,
        learning_rate=1e-2,
        rank=ENTITIES,
        num_heads=4,
        aim=0.3,
    )
    torch.manual_seed(0)
    retriever: Any = new_indexer(_header(), ("l0",), dials).retrievers["l0"]
    fitted = fit(retriever, _world(16, 20, 0), _world(4, 20, 1), dials, tmp_path)
    assert fitted.quality["recall@0.3"] > 0.9  # type: ignore[operator]


def _shard(number: int) -> Shard:
    """A document in which layer 1 tells what is needed, and layer 0 is noise."""
    random = torch.Generator().manual_seed(number)
    tokens, length = 12, CHUNKS * CHUNK
    entities = torch.randint(0, ENTITIES, (CHUNKS, 2), generator=random)
    wanted = torch.randint(0, ENTITIES, (tokens,), generator=random)
    needed = (entities[None] == wanted[:, None, None]).any(2).float()
    mass = (needed[:, None] * 0.9 + 0.001).repeat(1, 2, 1)
    bags = torch.zeros(CHUNKS, ENTITIES).scatter_(1, entities, 1.0)
    tensors = {
        "starts": torch.arange(CHUNKS, dtype=torch.int32) * CHUNK,
        "positions": torch.arange(length - tokens, length, dtype=torch.int32),
        "stretch": torch.zeros(tokens, dtype=torch.int32),
        "features.l1": bags,
        "features.l0": torch.randn(CHUNKS, ENTITIES, generator=random),
        "hidden.l1": nn.functional.one_hot(wanted, ENTITIES).float() * 4,
        "hidden.l0": torch.randn(tokens, ENTITIES, generator=random),
        "mass.values": mass,
        "head.values": mass.clone(),
    }
    start = length - tokens
    return Shard(f"d{number}", f"{number:032d}", length, start, ((start, tokens),), tensors)


def _dump(folder: Path, numbers: range, **changes: Any) -> Path:
    with Writer(folder, _header(**changes)) as writer:
        for number in numbers:
            writer.add(_shard(number))
    return folder


def test_a_stride_adds_decisions_and_leaves_their_windows(tmp_path: Path) -> None:
    dump = Dump(_dump(tmp_path / "dump", range(2)))
    dials = _DIALS.model_copy(update={"tokens": "decisions", "interval": 6})

    def labels(dials: Training) -> dict[tuple[int, int], list[int]]:
        rule, limits = rule_of(dials), limits_of(dials, CHUNK)
        found = read_labels(lambda document: dump, dump.documents, rule, limits, dials)
        return {(each.document, each.row): each.positives.tolist() for each in found.tokens}

    usual, often = labels(dials), labels(dials.model_copy(update={"stride": 3}))
    assert {row for _, row in usual} == {0, 1, 6, 7}
    assert {row for _, row in often} == {0, 1, 3, 4, 6, 7, 9, 10}
    assert usual.items() <= often.items()


_DIALS = Training(
    rule="head",
    interval=1,
    recent_tokens=16,
    negatives="all",
    rank=ENTITIES,
    num_heads=4,
    learning_rate=3e-2,
    epochs=8,
    batch_size=32,
    aim=0.3,
    budgets=(0.3,),
)


def test_the_command_trains_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from planish.models.memory.indexer import MemoryIndexer

    dump, runs = _dump(tmp_path / "dump", range(20)), tmp_path / "runs"
    out = tmp_path / "indexer"
    assert train(dump=(dump,), out=out, config=_DIALS, runs=runs, json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["layers"] == "l1"
    assert told["best_f1"] > 0.9
    low, high = told["recall@0.3_ci"]
    assert low <= told["recall@0.3"] <= high
    indexer = MemoryIndexer.from_pretrained(out)
    assert indexer.layers == ("l1",)
    indexer.check({"weights": "abc"}, CHUNK)
    assert indexer.config.notes["budget"]["recent_tokens"] == 16
    seen = json.loads((out / TRAINING).read_text())
    assert not set(seen["train"]) & set(seen["validation"])
    assert len(seen["train"]) + len(seen["validation"]) == 20
    assert (Path(told["run"]) / "report.html").is_file()
    # The layers that are there are not trained again.
    weights = (Path(told["run"]) / "artifacts/layers/l1.safetensors").stat().st_mtime_ns
    again = tmp_path / "again"
    assert train(resume=told["run"], out=again, runs=runs, json=True) == 0
    same = MemoryIndexer.from_pretrained(again)
    for name, value in indexer.state_dict().items():
        assert torch.equal(same.state_dict()[name], value)
    assert (Path(told["run"]) / "artifacts/layers/l1.safetensors").stat().st_mtime_ns == weights


def test_layers_side_by_side_are_those_of_one_after_the_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And what a worker left behind when its run was stopped is not trained again."""
    dump, dials = _dump(tmp_path / "dump", range(6)), _DIALS.model_copy(update={"epochs": 1})
    runs: list[Path] = []
    for workers in (1, 2):
        out, folder = tmp_path / f"indexer{workers}", tmp_path / "runs"
        train(dump=(dump,), out=out, config=dials, runs=folder, workers=workers, json=True)
        runs.append(Path(json.loads(capsys.readouterr().out)["run"]))
    one, two = (list(read_jsonl(run / "metrics.jsonl")) for run in runs)
    assert {row["layer"] for _, row in two} == {"l0", "l1"}
    for layer in ("l0", "l1"):
        here, there = ([row for _, row in rows if row["layer"] == layer] for rows in (one, two))
        assert [row["step"] for row in here] == [row["step"] for row in there]
        for row, other in zip(here, there, strict=True):
            assert other.keys() == row.keys()
            told = {
                name: value
                for name, value in row.items()
                if not re.search("^layer$|runtime|per_second", name)
            }
            assert "objective" in told or "loss" in told
            found = {name: other[name] for name in told}
            assert found == pytest.approx(told, rel=1e-3, abs=1e-3)
    records = runs[1] / "records.jsonl"
    records.write_text("")
    stamps = [path.stat().st_mtime_ns for path in sorted((runs[1] / "artifacts/layers").iterdir())]
    train(resume=str(runs[1]), out=tmp_path / "again", runs=tmp_path / "runs", json=True)
    assert len([row for _, row in read_jsonl(records) if row["kind"] == "layer"]) == 2
    assert stamps == [
        path.stat().st_mtime_ns for path in sorted((runs[1] / "artifacts/layers").iterdir())
    ]


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    dump = _dump(tmp_path / "dump", range(4))
    held = _dump(tmp_path / "held", range(3, 5), split="report")
    other = _dump(tmp_path / "other", range(5, 7), backbone={"weights": "other"})
    out, runs = tmp_path / "indexer", tmp_path / "runs"

    def refused(match: str, **given: Any) -> None:
        with pytest.raises(BadInput, match=match):
            train(**({"dump": (dump,), "out": out, "config": _DIALS, "runs": runs} | given))
        assert not out.exists()

    refused("d3 is also among the documents of the report", report=(held,))
    refused("of the split report", dump=(held,))
    refused("differs from .* in backbone", dump=(dump, other))
    more = [
        _dump(tmp_path / name, range(5, 7), backbone={"weights": "abc", "states": name})
        for name in ("one", "two")
    ]
    refused("two.* differs from .*one in backbone", dump=(dump, *more))
    refused("l9 was not dumped", layers=("l9",))
    refused("no token of training could be labelled", config=Training(recent_tokens=10_000))
    asked = _DIALS.model_copy(update={"rule": "needs"})
    refused("none of training tells; dump a task that tells", config=asked)
    every = _DIALS.model_copy(update={"tokens": "all", "stride": 8})
    refused("--stride: is between two decisions, but all tokens are learned", config=every)
    refused("is missing", dump=())
    refused("is missing", out=None)
    refused(r"no dump\.json", dump=(tmp_path / "nowhere",))


def test_too_few_documents_to_choose_by_are_blamed_on_their_share(tmp_path: Path) -> None:
    """Of two documents the one without a label may be the one that is drawn."""
    dials = _DIALS.model_copy(update={"validation_share": 0.05})
    first = split_documents(Dump(_dump(tmp_path / "whole", range(2))).documents, dials)[1][0]
    short = int(first.digest)
    with Writer(tmp_path / "dump", _header()) as writer:
        for number in range(2):
            shard = _shard(number)
            if number == short:  # everything before its tokens is recent
                shard.tensors["positions"] = torch.arange(12, dtype=torch.int32)
            writer.add(shard)
    runs = tmp_path / "runs"
    with pytest.raises(BadInput, match="of validation could be labelled in its only doc") as told:
        train(dump=(tmp_path / "dump",), out=tmp_path / "out", config=dials, runs=runs, json=True)
    assert "raise --validation-share or dump more documents" in str(told.value)


def test_a_place_that_cannot_be_is_told_before_the_training(tmp_path: Path) -> None:
    dump = _dump(tmp_path / "dump", range(4))
    (tmp_path / "plain.txt").write_text("mine")
    runs = tmp_path / "runs"
    with pytest.raises(BadInput, match=r"--out .*: .*plain\.txt is no folder"):
        train(dump=(dump,), out=tmp_path / "plain.txt" / "x" / "y", config=_DIALS, runs=runs)
    assert not runs.exists()


@pytest.mark.parametrize(
    "preset",
    [_DIALS, *(_DIALS.model_copy(update={"loss": loss}) for loss in ("infonce", "softmax"))],
)
def test_a_training_that_diverges_blames_its_learning_rate(
    tmp_path: Path, preset: Training
) -> None:
    dump, runs = _dump(tmp_path / "dump", range(6)), tmp_path / "runs"
    wild = preset.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(BadInput, match=r"--learning-rate: the training has diverged"):
        train(dump=(dump,), out=tmp_path / "indexer", config=wild, runs=runs, json=True)
    assert not (tmp_path / "indexer").exists()


def test_features_that_are_not_finite_are_blamed_on_the_dump(tmp_path: Path) -> None:
    shard = _shard(0)
    shard.tensors["features.l1"][3, 2] = torch.inf
    with Writer(tmp_path / "dump", _header()) as writer:
        for each in (shard, *map(_shard, range(1, 6))):
            writer.add(each)
    with pytest.raises(BadInput, match="--dump: chunk features of layer l1 are not finite"):
        train(
            dump=(tmp_path / "dump",), out=tmp_path / "x", config=_DIALS, runs=tmp_path / "runs",
            layers=("l1",),
        )  # fmt: skip


@pytest.mark.parametrize("keep", [0, 8, 400])
def test_a_dump_with_a_damaged_document_leaves_no_run_behind(tmp_path: Path, keep: int) -> None:
    dump, runs = _dump(tmp_path / "dump", range(6)), tmp_path / "runs"
    path = next((dump / "documents").iterdir())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=rf"{path.name}: cannot be read"):
        train(dump=(dump,), out=tmp_path / "indexer", config=_DIALS, runs=runs)
    assert not runs.exists()


@pytest.mark.parametrize("keep", [0, 8, 400])
def test_a_damaged_layer_is_told_where_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keep: int
) -> None:
    dump, runs = _dump(tmp_path / "dump", range(6)), tmp_path / "runs"
    dials = _DIALS.model_copy(update={"epochs": 1})
    train(
        dump=(dump,), out=tmp_path / "indexer", config=dials, runs=runs, layers=("l1",), json=True
    )
    told = json.loads(capsys.readouterr().out)
    path = Path(told["run"]) / "artifacts/layers/l1.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"l1\.safetensors: the trained layer cannot be read"):
        train(resume=told["run"], out=tmp_path / "again", runs=runs, json=True)


def test_a_training_saves_no_tower_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from planish.methods.lookahead.train.lessons import new_indexer
    from planish.methods.lookahead.train.towers import QueryModule, dual_encoder

    dials = Training(epochs=2, rank=ENTITIES, num_heads=4)
    retriever: Any = new_indexer(_header(), ("l0",), dials).retrievers["l0"]
    with pytest.raises(TypeError, match="MemoryIndexer"):
        dual_encoder(retriever, _world(1, 2, 0), "cpu").save(str(tmp_path / "model"))
    saved: list[str] = []
    monkeypatch.setattr(QueryModule, "save", lambda self, path, *_, **__: saved.append(path))
    fit(retriever, _world(4, 20, 0), _world(2, 20, 1), dials, tmp_path / "trainer")
    assert not saved


def test_documents_are_split_the_same_way_each_time_and_never_shared(tmp_path: Path) -> None:
    documents = Dump(_dump(tmp_path / "dump", range(10))).documents
    one, other = split_documents(documents, _DIALS)
    assert ([d.id for d in one], [d.id for d in other]) == tuple(
        [d.id for d in part] for part in split_documents(documents[::-1], _DIALS)
    ) or {d.id for d in other} == {d.id for d in split_documents(documents[::-1], _DIALS)[1]}
    assert len(other) == 2
    assert not {d.digest for d in one} & {d.digest for d in other}
    with pytest.raises(BadInput, match="cannot be split"):
        split_documents(documents[:1], _DIALS)


def test_a_start_from_the_backbones_queries_scores_what_it_would_look_for() -> None:
    from planish.methods.lookahead.train.lessons import new_indexer
    from planish.methods.lookahead.train.starting import start_from_queries

    header = _header(hidden_size=24, num_heads=4, num_kv_heads=2, head_dim=8, features=16)
    dials = Training(rank=24, num_heads=4)
    retriever: Any = new_indexer(header, ("l0",), dials).retrievers["l0"]
    projection = torch.randn(32, 24)
    start_from_queries(retriever, projection, header)
    hidden, features = torch.randn(5, 24), torch.randn(7, 16)
    query, _ = retriever.query(hidden, torch.arange(5))
    keys = retriever.chunk(features, torch.arange(7) * CHUNK)
    looked = torch.einsum("bhd,cd->bhc", query, keys)
    real = (hidden @ projection.T).view(5, 4, 8)
    by_group = features.view(7, 2, 8)
    for head, source in enumerate([0, 2, 1, 3]):
        expected = real[:, source] @ by_group[:, source // 2].T
        cosine = torch.cosine_similarity(looked[:, head], expected, dim=1)
        assert float(cosine.detach().min()) > 0.999


def test_presets_are_whole() -> None:
    for preset in (Config.tiny(), Config.laptop(), Config.paper()):
        assert preset.recent_tokens >= preset.chunk_tokens
    assert set(Config.paper().model_fields_set) == set(Config.model_fields)


def test_every_dial_of_the_training_is_read() -> None:
    import planish.methods.lookahead as room

    files = Path(str(room.__file__)).parent.rglob("*.py")
    code = "".join(file.read_text() for file in files if file.name != "config.py")
    assert not [name for name in Training.model_fields if not re.search(rf"\.{name}\b", code)]
