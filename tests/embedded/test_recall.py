"""The reader and the indexer that ship: they are what was built, and they do what was measured."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

import planish.embedded as embedded
from planish.embedded import path
from planish.embedded.build_recall import Bands, accuracy
from planish.embedded.recall_training import STAGES
from planish.methods.lookahead import building
from planish.methods.lookahead.evaluate.evaluating import evaluate
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.evaluate.summary import Summary
from planish.models.load import load
from planish.models.memory.backbone import Backbone
from planish.models.memory.indexer import MemoryIndexer
from planish.models.memory.loading import indexer_path
from planish.records import Sampling
from planish.tasks.recall import FAMILIES, RecallTask

READER = path("recall")
INDEXER = indexer_path("embedded")


@pytest.mark.parametrize("folder", [READER, INDEXER], ids=["reader", "indexer"])
def test_the_files_are_those_of_the_build(folder: Path) -> None:
    told = json.loads((folder / "build.json").read_text())
    for name, digest in told["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    assert {file.name for file in folder.iterdir()} == {
        *told["sha256"],
        "build.json",
        "build.log",
    }


def test_all_that_ships_is_small() -> None:
    folder = Path(embedded.__file__).parent
    assert sum(file.stat().st_size for file in folder.rglob("*.safetensors")) < 12_000_000


def test_they_were_built_by_the_recipes_of_their_scripts() -> None:
    reader = json.loads((READER / "build.json").read_text())
    assert reader["stages"] == [vars(stage) for stage in STAGES]
    assert Bands.model_validate(reader["bands"]) == Bands()
    indexer = json.loads((INDEXER / "build.json").read_text())
    assert indexer["dumping"] == building.DUMPING.model_dump(exclude={"seed", "continuation"})
    assert indexer["training"] == json.loads(building.TRAINING.model_dump_json())
    assert indexer["model"] == building.MODEL
    assert indexer["tasks"] == [list(one) for one in building.TASKS]


def test_no_family_that_is_reported_was_trained_on() -> None:
    trained = json.loads((INDEXER / "training.json").read_text())
    tasks = [task for task, *_ in building.TASKS]
    assert trained["tasks"] == sorted(set(tasks))
    names = {task.split(":")[1] for task in tasks}
    assert not names & {*FAMILIES, "all", "ruler"}


def test_the_reader_finds_records_at_a_length_it_was_taught_and_beyond() -> None:
    model = load("embedded:recall").model  # type: ignore[attr-defined]
    for length in (1024, 4096):
        found = accuracy(model, ("niah_single_2", "niah_multikey_1"), length=length, documents=4)
        assert min(found.values()) >= 0.75, (length, found)


def test_the_indexer_is_the_readers_own() -> None:
    local = load("embedded:recall")
    indexer = MemoryIndexer.from_pretrained(INDEXER)
    backbone = Backbone.of(local.model)  # type: ignore[attr-defined]
    indexer.check(backbone.fingerprint(), indexer.config.chunk_tokens)


def test_a_tenth_of_the_memory_is_far_above_recency() -> None:
    local = load("embedded:recall")
    tasks = [RecallTask(name, 2048) for name in ("niah_single_2", "niah_multikey_1")]
    outcomes = evaluate(
        local.model, local.tokenizer, tasks, ("lookahead", "recency", "dense"), (0.1,),  # type: ignore[attr-defined]
        indexer=MemoryIndexer.from_pretrained(INDEXER), examples=4,
        settings=Settings(quality=False),
    )  # fmt: skip
    summary = Summary(outcomes)
    ours, recent = (summary.accuracy(arm, 0.1).value for arm in ("lookahead", "recency"))
    assert ours is not None
    assert recent is not None
    assert ours > recent + 0.5
    assert all(each.kv_fraction is None or each.kv_fraction <= 1.0 for each in outcomes)


def test_it_decodes_through_a_models_name() -> None:
    [example] = RecallTask("niah_multikey_1", 1024).examples("report", 1)
    model = load("embedded:recall?lookahead=embedded&chunks=16&recent=16&sinks=0")
    [[reply]] = model.generate([example.prompt], Sampling(temperature=0.0, max_tokens=12))
    assert RecallTask("niah_multikey_1", 1024).verify(example, reply.text).score == 1.0
