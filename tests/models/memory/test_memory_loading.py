import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from planish.models.cache import CachedModel
from planish.models.load import _parse, load
from planish.models.memory import loading, store
from planish.models.memory.loading import (
    MemoryOptions,
    indexer_path,
    open_memory,
    query,
    shipped_indexer,
)
from planish.records import BadInput, Sampling, user
from support.checkpoints import save_checkpoint
from support.indexers import CHUNK, save_indexer

TIGHT = "chunks=6&recent=8&sinks=4&interval=4"
GREEDY = Sampling(temperature=0.0, max_tokens=12)
# Of 60 to 90 tokens, and none as long as another.
TEXTS = [
    f"{'the lazy dog said to the moon: two and two are four, ' * 3}{n}" for n in ("A", "owl B")
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint and its indexer."""
    root = tmp_path_factory.mktemp("memory")
    folder = save_checkpoint(root / "model", "qwen3", max_positions=2048)
    return folder, save_indexer(root / "indexer", folder)


def replies(model, texts=TEXTS, sampling=GREEDY):
    return [
        drawn[0].token_ids for drawn in model.generate([user(text) for text in texts], sampling)
    ]


def test_while_nothing_is_evicted_replies_are_the_dense_ones(made):
    folder, indexer = made
    dense = load(f"hf:{folder}")
    memory = load(f"hf:{folder}?lookahead={indexer}")
    assert memory.memory.budget.recent_tokens == 8192
    assert replies(memory) == replies(dense)


def test_a_tight_memory_evicts_and_a_batch_gives_what_single_calls_give(made):
    folder, indexer = made
    model = load(f"hf:{folder}?lookahead={indexer}&{TIGHT}")
    windows = []
    model.memory.on_window = windows.append
    texts = [*TEXTS, TEXTS[0][3:], TEXTS[1] + " and the fox"]
    together = replies(model, texts)
    assert all(window.kept <= 6 < window.num_chunks for window in windows)
    assert together == [replies(model, [text])[0] for text in texts]


def test_eviction_changes_replies_of_this_model_and_scores_stay_dense(made):
    folder, indexer = made
    dense = load(f"hf:{folder}")
    memory = load(f"hf:{folder}?lookahead={indexer}&chunks=2&recent=4&interval=1")
    assert replies(memory) != replies(dense)
    chats, texts = [user(text) for text in TEXTS], ["a cat", "no"]
    assert memory.logprobs(chats, texts) == dense.logprobs(chats, texts)
    assert memory.label_logprobs(chats, ("A", "B")) == dense.label_logprobs(chats, ("A", "B"))


def test_sampled_replies_of_a_memory_can_be_drawn_again(made):
    folder, indexer = made
    spec = f"hf:{folder}?lookahead={indexer}&{TIGHT}"
    sampling = Sampling(temperature=1.0, max_tokens=8, n=2, seed=5)
    first = load(spec).generate([user(TEXTS[0])], sampling)
    second = load(spec).generate([user(TEXTS[0])], sampling)
    assert [c.text for c in first[0]] == [c.text for c in second[0]]


def test_what_is_evicted_waits_in_a_file_and_changes_neither_reply_nor_name(
    made, tmp_path, monkeypatch
):
    files, make = [], store._make_file
    monkeypatch.setattr(store, "_make_file", lambda path: files.append(make(path)) or files[-1])
    folder, indexer = made
    spec, path = f"hf:{folder}?lookahead={indexer}&{TIGHT}", tmp_path / "kv.bin"
    plain, filed = load(spec), load(f"{spec}&host_file={path}&host_gigabytes=0.5")
    assert not path.exists()
    assert (filed.name, filed.revision) == (plain.name, plain.revision)
    seen = []

    def note(window):
        assert not path.exists()
        seen.append((window.bytes.host, os.fstat(files[-1]).st_size))

    filed.memory.on_window = note
    assert replies(filed) == replies(plain)
    assert len(files) > 1  # each session makes it anew
    assert not path.exists()
    assert all(0 < host <= size for host, size in seen)
    small = load(f"{spec}&host_gigabytes=1e-6")
    with pytest.raises(BadInput, match="exceed the cap of 1,000 bytes"):
        replies(small)


def test_name_and_revision_change_with_indexer_and_budget(made, tmp_path):
    folder, indexer = made
    other = save_indexer(tmp_path / "other", folder, seed=1)
    specs = [
        f"hf:{folder}",
        f"hf:{folder}?lookahead={indexer}",
        f"hf:{folder}?lookahead={indexer}&chunks=9",
        f"hf:{folder}?lookahead={indexer}&chunks=9&recent=4",
        f"hf:{folder}?lookahead={other}",
    ]
    models = [load(spec) for spec in specs]
    assert [model.name for model in models] == specs
    assert len({model.revision for model in models}) == len(specs)
    # How many rows go at once changes no reply.
    again = load(f"hf:{folder}?lookahead={indexer}&batch_size=1")
    assert (again.name, again.revision) == (models[1].name, models[1].revision)


def test_an_indexer_that_was_copied_is_the_same_one_and_one_that_was_changed_is_not(made, tmp_path):
    folder, indexer = made
    model = load(f"hf:{folder}")
    copied = tmp_path / "copied"
    copied.mkdir()
    for file in indexer.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    opened = [open_memory(model.model, str(name), MemoryOptions()) for name in (indexer, copied)]
    assert opened[0].identity == opened[1].identity
    saved = json.loads((copied / "indexer.json").read_text())
    saved["notes"] = {**(saved.get("notes") or {}), "trained": "later"}
    (copied / "indexer.json").write_text(json.dumps(saved))
    changed = open_memory(model.model, str(copied), MemoryOptions())
    assert changed.identity != opened[0].identity


def test_a_reply_cache_never_gives_a_dense_reply_for_one_of_a_memory(made, tmp_path):
    folder, indexer = made
    for spec in (f"hf:{folder}", f"hf:{folder}?lookahead={indexer}&{TIGHT}"):
        with CachedModel(load(spec), tmp_path / "replies.jsonl") as cached:
            replies(cached, TEXTS[:1])
            assert (cached.hits, cached.misses) == (0, 1), spec


def test_the_budget_comes_from_the_indexer_and_options_override_it(made, tmp_path):
    folder, _ = made
    notes = {"budget": {"recent_tokens": 8, "sink_tokens": 4, "max_chunks": 40, "threshold": 0.25}}
    indexer = save_indexer(tmp_path / "noted", folder, notes=notes, mode="mean")
    model = load(f"hf:{folder}")
    budget = open_memory(model.model, str(indexer), MemoryOptions()).budget
    found = (budget.recent_tokens, budget.sink_tokens, budget.max_chunks, budget.threshold)
    assert found == (8, 4, 40, 0.25)
    assert budget.mode == "mean"
    other = open_memory(model.model, str(indexer), MemoryOptions(recent=16, sinks=0, fallback=0.5))
    budget = other.budget
    assert (budget.recent_tokens, budget.sink_tokens, budget.fallback_ratio) == (16, 0, 0.5)


def test_an_indexer_that_ranks_fills_the_cap_unless_a_threshold_is_told(made, tmp_path):
    folder, _ = made
    indexer = save_indexer(tmp_path / "ranking", folder, notes={"ranks": True})
    model = load(f"hf:{folder}")
    kept = [
        open_memory(model.model, str(indexer), options).budget.min_chunks
        for options in (
            MemoryOptions(),
            MemoryOptions(chunks=32),
            MemoryOptions(chunks=32, threshold=0.4),
        )
    ]
    assert kept == [0, 32, 0]
    notes = {"ranks": True, "budget": {"max_chunks": 24, "recent_tokens": 16}}
    indexer = save_indexer(tmp_path / "capped", folder, notes=notes)
    assert open_memory(model.model, str(indexer), MemoryOptions()).budget.min_chunks == 24


def test_a_cap_alone_brings_a_recent_window_that_fits(made):
    folder, indexer = made
    model = load(f"hf:{folder}?lookahead={indexer}&chunks=32")
    assert model.memory.budget.recent_tokens == 32 * CHUNK // 4


def hooks(model):
    return sum(
        len(each._forward_hooks) + len(each._forward_pre_hooks) for each in model.model.modules()
    )


def test_no_hook_is_left_behind_even_by_a_failure(made):
    folder, indexer = made
    model = load(f"hf:{folder}?lookahead={indexer}&{TIGHT}")
    before = hooks(model)
    replies(model)

    def fail(record):
        raise RuntimeError("in the middle of a reply")

    model.memory.on_window = fail
    with pytest.raises(RuntimeError, match="in the middle"):
        replies(model)
    assert hooks(model) == before
    model.memory.on_window = None
    assert replies(model) == replies(load(f"hf:{folder}?lookahead={indexer}&{TIGHT}"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("lookahead=nowhere", "nowhere: no such indexer"),
        ("lookahead=", "no such indexer"),
        ("lookahead=embedded:reasoner", "no indexer called 'reasoner'"),
        ("lookahead=embedded:../x-indexer", "no indexer called"),
        ("chunks=4", "option 'chunks' is of a memory"),
        ("host_file=kv.bin", "option 'host_file' is of a memory"),
        ("lookahead={indexer}&host_file={indexer}/no/kv.bin", "no/kv.bin: cannot be made"),
        ("lookahead={indexer}&host_file={folder}", "already there"),
        ("lookahead={indexer}&host_file=", "host_file"),
        ("lookahead={indexer}&host_gigabytes=0", "host_gigabytes"),
        ("lookahead={indexer}&host_gigabytes=1e-10", "0 bytes hold nothing"),
        ("lookahead={indexer}&threshold=1.5", "threshold"),
        ("lookahead={indexer}&interval=0", "interval"),
        ("lookahead={indexer}&chunks=4&recent=4096", "above the cap of 4"),
        ("lookahead={folder}", "expected are retrievers.LAYER"),
        ("lookahead={indexer}&blocks=4", "known: dtype, batch_size, device"),
    ],
)
def test_bad_memories_are_refused_in_one_line(made, options, said):
    folder, indexer = made
    with pytest.raises(BadInput) as refused:
        load(f"hf:{folder}?{options.format(folder=folder, indexer=indexer)}")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_indexer_of_another_backbone_is_refused(made, tmp_path):
    _, indexer = made
    other = save_checkpoint(tmp_path / "llama", "llama", max_positions=2048)
    with pytest.raises(BadInput):
        load(f"hf:{other}?lookahead={indexer}")
    # The same shape with other weights, too.
    twin = save_checkpoint(tmp_path / "twin", "qwen3", seed=1, max_positions=2048)
    with pytest.raises(BadInput):
        load(f"hf:{twin}?lookahead={indexer}")


def test_a_model_that_no_memory_can_serve_is_refused(made, tmp_path):
    _, indexer = made
    other = save_checkpoint(tmp_path / "gpt2", "gpt2")
    with pytest.raises(BadInput):
        load(f"hf:{other}?lookahead={indexer}")


def test_an_endpoint_has_no_memory(made):
    with pytest.raises(BadInput, match="no option 'lookahead'"):
        load("openai:m@http://localhost:1/v1?lookahead=indexer")


@given(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1),
    st.builds(
        MemoryOptions,
        chunks=st.none() | st.integers(1, 10**6),
        threshold=st.none() | st.floats(0.001, 0.999),
        recent=st.none() | st.integers(1, 10**6),
        sinks=st.none() | st.integers(0, 10**6),
        fallback=st.none() | st.floats(0.001, 1.0),
    ),
)
def test_a_name_says_what_was_given(name, options):
    told = _parse(query(name, options), "spec")
    assert told.pop("lookahead") == name
    assert MemoryOptions(**told) == options


def test_the_shipped_indexer_goes_by_two_names():
    if not (Path(loading.__file__).parents[2] / "embedded" / "recall-indexer").is_dir():
        pytest.skip("no indexer ships in this installation")
    assert indexer_path("embedded") == indexer_path("embedded:recall-indexer")


def test_the_indexer_of_a_shipped_model_is_found_by_the_models_name(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_EMBEDDED", tmp_path)
    (tmp_path / "reader-indexer").mkdir()
    for spec in ("embedded:reader", " embedded:reader ", "embedded:reader?dtype=bfloat16"):
        assert shipped_indexer(spec) == "embedded:reader-indexer", spec
    assert indexer_path(shipped_indexer("embedded:reader")) == tmp_path / "reader-indexer"
    for spec in ("embedded:other", "hf:reader", "reader", "embedded:", "embedded:../reader", ""):
        assert shipped_indexer(spec) is None, spec


def test_memories_follow_the_model_to_its_device_and_dtype(made):
    folder, indexer = made
    model = load(f"hf:{folder}?lookahead={indexer}&{TIGHT}&dtype=bfloat16")
    assert model.model.dtype == torch.bfloat16
    assert all(replies(model))
