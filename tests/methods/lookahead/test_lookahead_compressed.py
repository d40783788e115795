"""DeepSeek-V4 through the stages: its memory restricts attention, moves nothing, and says so."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest
import torch

from planish.cli import main
from planish.embedded.recall_model import build_tokenizer
from planish.methods.lookahead.arms.scorers import RecencyScorer
from planish.methods.lookahead.config import Training
from planish.methods.lookahead.dumping.attending import Text
from planish.methods.lookahead.dumping.entries import sample_entries
from planish.methods.lookahead.dumping.folder import Dump
from planish.methods.lookahead.evaluate.bench import Bench
from planish.methods.lookahead.evaluate.compressed import COUNTED
from planish.methods.lookahead.evaluate.decoding import decode
from planish.methods.lookahead.evaluate.dense import run_dense
from planish.methods.lookahead.evaluate.documents import batches, documents
from planish.methods.lookahead.evaluate.outcomes import OUTCOME, Outcome
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.running.chat import Conversation
from planish.methods.lookahead.running.replies import REPLY, STAYS, Reply
from planish.methods.lookahead.train.lessons import new_indexer
from planish.methods.lookahead.train.starting import start_from_native
from planish.models.load import load
from planish.models.memory.budget import Budget
from planish.models.memory.deepseek import DeepseekMemory
from planish.models.memory.digests import unpack
from planish.models.memory.entries import Entries
from planish.models.memory.indexer import MemoryIndexer
from planish.models.memory.scorer import Rope
from planish.records import BadInput, Message, Sampling, user
from planish.runs import read_rows
from planish.tasks.recall.task import RecallTask
from support import backbones
from support.indexers import publish, save_compressed

TIGHT = ("--chunks", "6", "--recent", "8", "--sinks", "4", "--interval", "4")
TIGHTLY = "chunks=6&recent=8&sinks=4&interval=4"
LONG = "the lazy dog said to the moon: two and two are four, " * 3
QUESTIONS = ("which reply is better, A or B?", "no: why?", "and the fox?")
ENTRY = 2 * 2 * 128 * 4
"""Bytes of an entry: one to attend to and one to be looked up by, two layers, float32."""

RECORD = 2 * 132


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint, an indexer in the published format, and a file with three prompts."""
    root = tmp_path_factory.mktemp("compressed")
    folder, published = save_compressed(root)
    prompts = root / "prompts.jsonl"
    rows = [{"id": f"p{n}", "prompt": LONG + word} for n, word in enumerate(("A", "fox", "owl"))]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"hf:{folder}", published, prompts


def call(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(["lookahead", *map(str, words)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def generated(capsys, tmp_path, *words):
    """What `generate --json` says, the replies that it recorded, and standard error."""
    words = ("generate", *words, "--runs", tmp_path / "runs", "--json")
    code, out, err = call(capsys, *words)
    assert code == 0, err
    summary = json.loads(out)
    return summary, [row.read(Reply) for row in read_rows(summary["run"], REPLY)], err


def test_generate_says_that_everything_stays_and_what_may_be_attended_to(capsys, tmp_path, made):
    model, published, prompts = made
    words = ("--model", model, "--indexer", published, "--prompts", prompts, *TIGHT)
    summary, replies, err = generated(capsys, tmp_path, *words, "--max-tokens", 12)
    assert [reply.id for reply in replies] == ["p0", "p1", "p2"]
    for reply in replies:
        assert len(reply.windows) == 3
        for window in reply.windows:
            assert window.num_chunks == window.step // 4
            assert window.kept <= 6 < window.num_chunks
            assert window.bytes.resident == window.dense_bytes == window.num_chunks * ENTRY
            assert window.bytes.digest == window.num_chunks * RECORD
            assert (window.bytes.host, window.moved_bytes) == (0, 0)
    # Digests come on top of what a cache without a memory holds: nothing is saved here.
    assert summary["device_share"] == pytest.approx(1 + RECORD / ENTRY)
    assert (summary["host_share"], summary["moved_bytes_per_token"]) == (0, 0)
    shares = [window.kept / window.num_chunks for reply in replies for window in reply.windows]
    assert summary["kept_share"] == pytest.approx(sum(shares) / len(shares))
    assert STAYS in err


def test_generate_by_a_name_says_the_same_replies(capsys, tmp_path, made):
    model, published, prompts = made
    words = ("--prompts", prompts, "--max-tokens", 8)
    by_option, first, _ = generated(
        capsys, tmp_path, "--model", model, "--indexer", published, *TIGHT, *words
    )
    name = f"{model}?lookahead={published}&{TIGHTLY}"
    by_name, second, _ = generated(capsys, tmp_path, "--model", name, *words)
    assert by_option["revision"] == by_name["revision"]
    texts = [reply.completion.token_ids for reply in first]
    assert texts == [reply.completion.token_ids for reply in second]
    asked = [user(json.loads(line)["prompt"]) for line in prompts.read_text().splitlines()]
    drawn = load(name).generate(asked, Sampling(temperature=0, max_tokens=8))
    assert texts == [each[0].token_ids for each in drawn]


def test_generate_tells_where_a_reply_parts_from_the_dense_one(capsys, tmp_path, made):
    model, published, prompts = made
    words = ("--model", model, "--indexer", published, "--prompts", prompts, "--check")
    whole, _, err = generated(capsys, tmp_path, *words, "--max-tokens", 8)
    assert whole["same_as_dense"] == 3
    assert whole["kept_share"] == 1
    assert "nothing was evicted: the last 8192 tokens always stay" in err
    tight = ("--chunks", 2, "--recent", 4, "--interval", 1, "--max-tokens", 16)
    _, parted, _ = generated(capsys, tmp_path, *words, *tight)
    assert any(reply.check.place is not None for reply in parted)
    sampling = Sampling(temperature=0, max_tokens=16)
    asked = [user(json.loads(line)["prompt"]) for line in prompts.read_text().splitlines()]
    alone = load(model)
    dense = [alone.generate([prompt], sampling)[0][0].text for prompt in asked]
    assert [reply.check.dense for reply in parted] == dense


def test_generate_goes_on_with_a_run_that_was_finished(capsys, tmp_path, made):
    model, published, _ = made
    words = ("--model", model, "--indexer", published, "--prompt", LONG, *TIGHT)
    summary, replies, _ = generated(capsys, tmp_path, *words, "--max-tokens", 6)
    again, same, err = generated(capsys, tmp_path, "--resume", "last")
    assert same == replies
    assert again["kept_share"] == summary["kept_share"]
    assert "1 of 1 replies were there before" in err


def test_a_conversation_says_what_reading_all_anew_says(tmp_path):
    # Where more entries score the same than the model may choose, how it reads decides for it.
    folder, published = save_compressed(tmp_path, index_topk=512)
    model = f"hf:{folder}"
    with Conversation.over(load(f"{model}?lookahead={published}"), LONG) as talk:
        talk.max_tokens = 8
        replies = [talk.ask(question) for question in QUESTIONS]
    opened, chat, dense = load(model), (), []
    for question in QUESTIONS:
        text = question if chat else f"{LONG}\n\n{question}"
        chat = (*chat, Message(role="user", content=text))
        dense.append(opened.generate([chat], Sampling(temperature=0, max_tokens=8))[0][0].text)
        chat = (*chat, Message(role="assistant", content=dense[-1]))
    assert replies == dense


def test_a_tight_conversation_reads_each_question_with_everything_in_sight(made):
    model, published, _ = made
    local = load(f"{model}?lookahead={published}&chunks=3&recent=4&interval=2")
    with Conversation.over(local, LONG) as talk:
        talk.max_tokens = 8
        assert talk.ask(QUESTIONS[0])
        first = len(talk.session.windows)
        kept = talk.session.kept_per_row()[0]
        assert talk.ask(QUESTIONS[1])
        assert talk.session.num_chunks == talk.cache.get_seq_length() // 4
        assert 0 < kept < talk.session.num_chunks
        windows = talk.session.windows
    assert len(windows) > first
    assert all(window.kept <= 3 for window in windows)
    hooks = [len(each._forward_hooks) for each in local.model.modules()]
    assert sum(hooks) == 0


def test_chat_tells_after_each_turn_that_nothing_was_moved(capsys, monkeypatch, tmp_path, made):
    model, published, _ = made
    document = tmp_path / "long.txt"
    document.write_text(LONG)
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(QUESTIONS[:2]) + "\n/quit\n"))
    words = ("chat", "--model", model, "--indexer", published, "--document", document, *TIGHT)
    code, out, err = call(capsys, *words, "--max-tokens", 12)
    assert code == 0, err
    assert len(out.splitlines()) >= 2
    told = re.findall(
        r"\[\d+ tokens read; attention may choose from (\d+) of (\d+) entries; on the device "
        r"all ([\d.]+) kB of them, which are not moved, and ([\d.]+) kB of digests\]",
        err,
    )
    assert len(told) == 2
    for kept, chunks, entries, digests in told:
        assert 0 < int(kept) < 6 + 4 < int(chunks)
        assert float(entries) == pytest.approx(int(chunks) * ENTRY / 1000, abs=0.1)
        assert 0 < float(digests) <= int(chunks) * RECORD / 1000 + 0.1


def test_a_reply_of_one_token_has_decided_nothing(made):
    model, published, _ = made
    with Conversation.over(load(f"{model}?lookahead={published}&{TIGHTLY}"), LONG) as talk:
        talk.max_tokens = 1
        talk.ask(QUESTIONS[0])
        told = talk.told()
        chunks = talk.session.num_chunks
    assert f"attention may choose from {chunks} of {chunks} entries" in told
    assert "0 bytes of digests" in told


def test_a_conversation_that_wants_too_much_says_that_it_is_dense(made):
    model, published, _ = made
    name = f"{model}?lookahead={published}&recent=8&threshold=1e-9&fallback=0.01"
    with Conversation.over(load(name), LONG) as talk:
        talk.max_tokens = 4
        talk.ask(QUESTIONS[0])
        assert talk.told().endswith("dense from here on: too much was wanted")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generate", "--prompt", "A"), "--indexer: is missing"),
        (("generate", "--prompt", "A", "--indexer", "{ours}"), "width of a chunk's key|layers"),
    ],
)
def test_bad_input_is_refused_in_one_line(capsys, tmp_path, made, words, said):
    from support.checkpoints import save_checkpoint
    from support.indexers import save_indexer

    model, _, _ = made
    ours = save_indexer(tmp_path / "ours", save_checkpoint(tmp_path / "llama", "llama"))
    words = [word.format(ours=ours) for word in words]
    code, out, err = call(capsys, *words, "--model", model, "--runs", tmp_path / "runs")
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert re.search(said, err.strip().splitlines()[-1])


# ---- evaluate ----------------------------------------------------------------------------------

FAST = ("--interval", 8, "--recent-tokens", 8, "--max-tokens", 10, "--examples", 2)


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """One that reads the words of recall tasks, with an indexer in the published format."""
    folder = tmp_path_factory.mktemp("reader")
    tokenizer = build_tokenizer()
    model = backbones.build("deepseek-v4", vocab_size=len(tokenizer), index_topk=512)
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    return f"hf:{folder / 'model'}", publish(model, folder / "published.safetensors")


def evaluated(capsys, tmp_path, reader, *words, fractions="0.5"):
    model, published = reader
    given = ("--model", model, "--indexer", published, "--task", "recall:niah_multikey_1+vt:96")
    given = (*given, "--fractions", fractions, *FAST, "--runs", tmp_path / "runs", *words)
    return call(capsys, "evaluate", *given)


def outcomes_of(out):
    return [row.read(Outcome) for row in read_rows(json.loads(out)["run"], OUTCOME)]


def test_evaluate_counts_what_a_server_would_hold_and_what_lies_here(capsys, tmp_path, reader):
    code, out, err = evaluated(capsys, tmp_path, reader, "--json")
    assert code == 0, err
    assert "not for DeepSeek-V4, whose compressed entries only an indexer reads: last-query" in err
    found = outcomes_of(out)
    assert {each.arm for each in found} == {"lookahead", "recency", "random", "dense"}
    assert len(found) == 2 * 4
    for each in found:
        assert each.recall is None
        if each.arm == "dense":
            continue
        entries = (each.length - 1 + each.steps) // 4
        assert each.kv_fraction <= each.fraction
        assert each.dense_bytes == entries * ENTRY
        assert each.max_chunks < each.length // 4
        assert (each.host_bytes, each.moved_per_token) == (0, 0)
        # One token more may have been fed than was taken when its row ended.
        assert abs(each.allocated_bytes - entries * ENTRY) <= ENTRY
        records = RECORD if each.arm == "lookahead" else 0
        assert abs(each.digest_bytes - entries * records) <= records
        assert each.resident_bytes < each.allocated_bytes
        assert each.allocated_fraction >= 1
        assert each.logit_kl > 0
        assert each.decisions >= 1
    kept = {each.arm: each.max_chunks for each in found if each.arm != "dense"}
    assert kept["lookahead"] <= kept["recency"] == kept["random"]


def test_evaluate_shows_its_numbers_with_what_they_count(capsys, tmp_path, reader):
    arms = ("--arms", "lookahead,recency,dense", "--no-quality")
    code, out, err = evaluated(capsys, tmp_path, reader, *arms)
    assert code == 0, err
    assert COUNTED in " ".join(out.split())
    [page] = (tmp_path / "runs").glob("*/*/report.html")
    assert "What the bytes count" in page.read_text()
    code, _, err = call(capsys, "evaluate", "--resume", "last", "--runs", tmp_path / "runs")
    assert code == 0, err
    assert "were there before" in err


def test_an_arm_that_keeps_everything_says_what_the_model_says_and_others_do_not():
    model = backbones.build("deepseek-v4", vocab_size=len(build_tokenizer()), index_topk=512)
    bench = Bench(model, build_tokenizer(), settings=Settings(recent_tokens=8, interval=4))
    task = RecallTask("niah_multikey_1", 96)
    batch = documents([task], bench.tokenizer, split="report", number=2, seeds=(0,))
    batch = next(batches(batch, 2))
    run = run_dense(model, bench.backbone, batch, (), bench.settings, 4)
    alone = model.generate(
        run.prefilled.prompt_BT, max_new_tokens=batch[0].max_tokens, do_sample=False
    )
    assert alone[:, run.prompt :].tolist() == run.replies
    for chunks, same in ((10_000, True), (4, False)):
        budget = bench.budget("recency", chunks)
        options = {"eos_ids": (), "max_tokens": [8, 8], "forced": True}
        got = decode(model, bench.backbone, run, RecencyScorer(), budget, 4, **options)
        assert (float(got.kl_BT.abs().max()) < 1e-5) == same
        # The last of the prompt saw everything, and the set acts from the next token on.
        assert float(got.kl_BT[:, 0].abs().max()) < 1e-5
        if not same:
            last_BC = got.resident[-1]
            assert last_BC.sum(1).tolist() == [4, 4]
            assert bool(last_BC[:, -4:].all())
            assert {each.allocated > each.resident for each in got.bytes[-1]} == {True}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--arms", "quest,snapkv,dense"), "only an indexer reads: quest, snapkv; use --arms"),
        (("--chunk-tokens", 8), "a chunk of this model is 4 tokens, not 8"),
    ],
)
def test_evaluate_refuses_in_one_line_what_is_not_for_it(capsys, tmp_path, reader, words, said):
    code, out, err = evaluated(capsys, tmp_path, reader, *words)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert said in err.strip().splitlines()[-1]
    assert not (tmp_path / "runs").exists()


# ---- dump and train ------------------------------------------------------------------------------

DUMPED = ("--chunk-tokens", 4, "--continuation", 12, "--run-tokens", 24, "--batch-size", 3)
LEARNT = ("--interval", 8, "--recent-tokens", 8, "--rank", 8, "--num-heads", 2, "--epochs", 2)


@pytest.fixture(scope="module")
def dumped(reader, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dumped")
    words = ("dump", "--model", reader[0], "--task", "recall:niah_multikey_1:96", "--limit", 6)
    words = (*words, "--out", folder / "dump", *DUMPED, "--runs", folder / "runs", "--json")
    with pytest.raises(SystemExit) as stop:
        main(["lookahead", *map(str, words)])
    assert stop.value.code == 0
    return folder / "dump"


def test_a_dump_holds_the_models_own_keys_and_what_its_indexer_looks_for(dumped, reader):
    dump = Dump(dumped)
    header = dump.header
    assert (header.keys, header.features, header.chunk_tokens) == ("own", 132, 4)
    assert header.layers == header.memory_layers == (2, 4)
    opened = load(reader[0])
    model, published = opened.model, MemoryIndexer.from_pretrained(reader[1])
    assert len(dump.documents) == 6
    for document in dump.documents[:2]:
        tensors = dump.tensors(document)
        chunks = document.length // 4
        assert tensors["features.l2"].shape == (chunks, 132)
        assert tensors["features.l2"].dtype == torch.uint8
        assert tensors["hidden.l4"].shape == (document.num_tokens, model.config.hidden_size)
        # The native indexer's own weights score the records as it scores its keys.
        positions_N = tensors["positions"].long()
        hidden = {f"l{n}": tensors[f"hidden.l{2 + 2 * n}"].float() for n in (0, 1)}
        records = {f"l{n}": tensors[f"features.l{2 + 2 * n}"] for n in (0, 1)}
        with torch.no_grad():
            logits = published.logits(hidden, records, positions_N)
        mass_NMC = tensors["mass.values"].float()
        complete_NC = (torch.arange(chunks) + 1) * 4 <= positions_N[:, None] + 1
        for place in (0, 1):
            mine_NC = logits[f"l{place}"].masked_fill(~complete_NC, float("-inf")).softmax(-1)
            error = (mine_NC - mass_NMC[:, place]).abs().sum(-1)
            assert float(error.max()) < 0.2, "records are float8"
            assert not mass_NMC[:, place][~complete_NC].any()
        assert torch.allclose(mass_NMC.sum(-1), torch.ones(()), atol=1e-2)
        assert torch.equal(tensors["mass.values"], tensors["head.values"])


def test_pieces_of_a_document_change_nothing_of_it(dumped, reader):
    dump = Dump(dumped)
    local, document = load(reader[0]), dump.documents[0]
    whole = dump.tensors(document)
    ids = torch.randint(5, 60, (100,), generator=torch.Generator().manual_seed(0)).tolist()
    text = Text("x", ids[:88], ids[88:])
    once, parts = (
        sample_entries(Entries(local.model), text, dump.header, piece).tensors
        for piece in (2048, 10)
    )
    assert once.keys() == parts.keys() >= whole.keys() - {"needs", "needs.span"}
    for name, tensor in once.items():
        if name.startswith("features"):
            tensor, other = unpack(tensor), unpack(parts[name])
            assert torch.allclose(tensor, other, atol=0.2), name
        else:
            assert torch.allclose(tensor.float(), parts[name].float(), atol=2e-2), name


def test_an_indexer_trained_on_it_decodes_that_model_and_no_other(capsys, tmp_path, dumped, reader):
    capsys.readouterr()
    words = ("train", "--dump", dumped, "--out", tmp_path / "indexer", *LEARNT)
    words = (*words, "--rule", "mass", "--mass", "0.2", "--runs", tmp_path / "runs", "--json")
    code, out, err = call(capsys, *words)
    assert code == 0, err
    assert json.loads(out)["train_tokens"] > 0
    indexer = MemoryIndexer.from_pretrained(tmp_path / "indexer")
    assert (indexer.config.features, indexer.config.rope) == (0, Rope())
    assert indexer.layer_indices
    assert set(indexer.layer_indices) <= {2, 4}
    given = ("--model", reader[0], "--indexer", tmp_path / "indexer", "--runs", tmp_path / "runs")
    task = ("--task", "recall:niah_multikey_1:96", "--fractions", 0.5, *FAST)
    code, out, err = call(capsys, "evaluate", *given, *task, "--arms", "lookahead", "--json")
    assert code == 0, err
    assert all(each.kv_fraction <= 0.5 for each in outcomes_of(out))
    code, _, err = call(capsys, "evaluate", *given, *task, "--split", "train")
    assert code == 2
    assert "the indexer was trained on" in err
    asked = ("--prompt", "; 7 300 = 401 402 403 404 ? #0 7 300 :", "--recent", 4, "--chunks", 3)
    code, _, err = call(capsys, "generate", *given, *asked, "--interval", 4, "--max-tokens", 6)
    assert code == 0, err
    other = backbones.build("deepseek-v4", vocab_size=len(build_tokenizer()), seed=1)
    with pytest.raises(BadInput, match=r"another backbone \(weights differ"):
        DeepseekMemory(other, indexer, Budget(recent_tokens=8))


def test_a_start_from_queries_begins_as_the_native_indexer_scores(capsys, tmp_path, dumped, reader):
    dump, published = Dump(dumped), MemoryIndexer.from_pretrained(reader[1])
    tensors = dump.tensors(dump.documents[0])
    asked = ({"l0": tensors["hidden.l2"].float()}, {"l0": tensors["features.l2"]})
    with torch.no_grad():
        expected = published.retrievers["l0"].logits(
            asked[0]["l0"], asked[1]["l0"], tensors["positions"].long()
        )
        for rank, heads in ((24, 4), (40, 7)):
            dials = Training(rank=rank, num_heads=heads)
            retriever = new_indexer(dump.header, ("l2",), dials).retrievers["l2"]
            kept = {k[3:]: v for k, v in dump.projections().items() if k.startswith("l2.")}
            start_from_native(retriever, kept)
            found = retriever.logits(asked[0]["l0"], asked[1]["l0"], tensors["positions"].long())
            assert torch.allclose(found, expected, rtol=1e-2, atol=1e-2)
    words = ("train", "--dump", dumped, "--out", tmp_path / "indexer", *LEARNT, "--init", "queries")
    words = (*words, "--mass", "0.2", "--runs", tmp_path / "runs")
    code, _, err = call(capsys, *words)
    assert code == 2
    told = err.strip().splitlines()[-1]
    assert "the native indexer has rank 24 and 4 heads" in told
    assert "--rank 24 --num-heads 4" in told
    wide = [{"--rank": 24, "--num-heads": 4}.get(before, word)
            for before, word in zip(("", *words[:-1]), words, strict=True)]  # fmt: skip
    code, _, err = call(capsys, *wide)
    assert code == 0, err
