"""`planish lookahead evaluate` as it is typed, its page and its pictures."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from planish.cli import main
from planish.embedded.recall_model import build_tokenizer
from planish.methods.lookahead.data import TRAINING
from planish.methods.lookahead.evaluate.evaluating import evaluate
from planish.methods.lookahead.evaluate.outcomes import OUTCOME, TRACE, Outcome, Trace
from planish.methods.lookahead.evaluate.settings import ARMS as CHOOSERS
from planish.methods.lookahead.evaluate.settings import Settings
from planish.methods.lookahead.evaluate.summary import Summary
from planish.methods.lookahead.running.evaluate import _then, make_plan
from planish.methods.lookahead.showing import (
    report,
    residency_figure,
    sentences,
    show,
    shown_traces,
)
from planish.models.load import load
from planish.records import BadInput, read_jsonl
from planish.runs.console import Screen
from planish.runs.rows import read_rows
from planish.tasks.recall.task import RecallTask

ARMS = "recency,quest,oracle,dense"
FAST = ("--interval", 8, "--chunk-tokens", 8, "--recent-tokens", 8, "--max-tokens", 10)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny random Llama that reads the words of recall tasks, from disk."""
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("checkpoint") / "model"
    tokenizer = build_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        initializer_range=0.3, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["lookahead", "evaluate", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def typed(checkpoint, tmp_path, *more, arms=ARMS):
    return (
        "--model", f"hf:{checkpoint}", "--task", "recall:niah_multikey_1+vt:96", "--arms", arms,
        "--fractions", "0.4", "--examples", 2, *FAST, "--runs", tmp_path / "runs", *more,
    )  # fmt: skip


def refused(capsys, *arguments):
    code, out, err = call(capsys, *arguments)
    assert code == 2, err
    assert "Traceback" not in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    return err


def outcomes_of(run):
    return {row.id: row.read(Outcome) for row in read_rows(run, OUTCOME)}


def test_a_run_tells_its_numbers_leaves_a_page_and_goes_on_where_it_was(
    capsys, checkpoint, tmp_path
):
    code, out, err = call(capsys, *typed(checkpoint, tmp_path, "--json"))
    assert code == 0, err
    found = json.loads(out)
    outcomes = outcomes_of(found["run"])
    assert len(outcomes) == 2 * (3 + 1)
    summary = Summary(outcomes.values())
    assert found["accuracy_dense"] == summary.accuracy("dense", 1.0).value
    assert found["accuracy_recency_0.4"] == summary.accuracy("recency", 0.4).value
    assert found["families"] == found["documents"] == 2
    assert {each.family for each in outcomes.values()} == {"niah_multikey_1", "vt"}
    for each in outcomes.values():
        if each.arm != "dense" and each.steps:
            assert each.kv_fraction <= each.fraction
    traces = [row.read(Trace) for row in read_rows(found["run"], TRACE)]
    assert len({trace.family for trace in traces}) == 2
    page = (tmp_path / "runs" / "lookahead").glob("*/report.html")
    text = next(page).read_text()
    assert text.count("<figure") == 2
    assert "needed and missing" in text
    # Half of it is lost, and comes again as it was.
    records = tmp_path / found["run"] / "records.jsonl"
    lines = records.read_text().splitlines(keepends=True)
    records.write_text("".join(lines[: len(lines) // 2]))
    code, out, err = call(capsys, "--resume", found["run"], "--runs", tmp_path / "runs", "--json")
    assert code == 0, err
    assert "were there before" in err
    again = outcomes_of(found["run"])
    assert again.keys() == outcomes.keys()
    for id, each in again.items():
        assert each.reply == outcomes[id].reply
        assert each.kv_fraction == outcomes[id].kv_fraction
    ids = [value["id"] for _, value in read_jsonl(records) if value["kind"] == OUTCOME]
    assert len(ids) == len(set(ids))


def test_the_screen_names_arms_and_what_is_next(capsys, checkpoint, tmp_path):
    code, out, err = call(
        capsys, *typed(checkpoint, tmp_path, "--no-quality", arms="recency,dense")
    )
    assert code == 0, err
    assert re.search(r"recency\s", out)
    assert "at 40 % of the bytes" in out
    assert "planish lookahead evaluate" in out


def test_a_terminal_of_a_hundred_columns_breaks_no_word_and_no_number(capsys):
    from rich.console import Console

    told = {
        "kv_fraction": 1.0, "recall": 1.0, "logit_kl": 6.21e-06, "moved_per_token": 1_234_567.0,
        "steps": 9,
    }  # fmt: skip
    outcomes = [
        outcome(arm, fraction, f"d{place}", float(place < most)).model_copy(update=told)
        for arm, fraction, most in (
            ("lookahead", 0.1, 6), ("last-query", 0.1, 5), ("oracle-task", 0.1, 3),
            ("dense", 1.0, 7),
        )
        for place in range(8)
    ]  # fmt: skip
    screen = Screen()
    screen._out = Console(width=100, highlight=False)
    show(screen, Summary(outcomes))
    table = capsys.readouterr().out.partition("at 10 %: ")[0]
    assert max(map(len, table.splitlines())) <= 100
    whole = ("oracle-task", "accuracy", "0.750 [0.375, 1.000]", "100.0 %", "<0.001", "1,234,567",
             "B/token", "fallback", "-0.125")  # fmt: skip
    assert [word for word in whole if word not in table] == []


def test_what_is_next_is_the_same_comparison_with_decisions_twice_as_often():
    given = {"model": "hf:x y", "tasks": ("recall:vt:96", "chain:3")}
    usual = make_plan(given, Settings())
    line = "planish lookahead evaluate --model 'hf:x y' --task recall:vt:96 chain:3"
    assert _then(usual, Path("run"), 16) == f"{line} --interval 32"
    dials = Settings(interval=5, sink_tokens=4, quality=False)
    more = {"arms": ("recency", "dense"), "fractions": (0.2,), "examples": 3, "seed": 7,
            "seeds": 2, "split": "gate"}  # fmt: skip
    words = shlex.split(_then(make_plan(given | more, dials), Path("run"), 16))
    assert words[words.index("--interval") + 1] == "2"
    assert "--no-quality" in words
    for option, value in (
        ("--sink-tokens", "4"), ("--arms", "recency,dense"), ("--fractions", "0.2"),
        ("--examples", "3"), ("--seed", "7"), ("--seeds", "2"), ("--split", "gate"),
    ):  # fmt: skip
        assert words[words.index(option) + 1] == value
    shortest = make_plan(given, Settings(interval=1))
    assert _then(shortest, Path("a run"), 16) == "planish runs show 'a run'"


@pytest.mark.parametrize("model", ["embedded:recall", "hf:x"])
def test_what_is_next_names_an_indexer_only_where_an_arm_asks_it(model):
    given = {"model": model, "tasks": ("recall:vt:96",), "indexer": "/an/indexer"}
    asked = shlex.split(_then(make_plan(given, Settings()), Path("run"), 4))
    assert asked[asked.index("--indexer") + 1] == "/an/indexer"
    assert not {"--arms", "--chunk-tokens"} & set(asked)
    some = make_plan(given | {"arms": ("recency", "dense")}, Settings())
    words = shlex.split(_then(some, Path("run"), 4))
    assert "--indexer" not in words
    assert words[words.index("--chunk-tokens") + 1] == "4"
    assert words[words.index("--arms") + 1] == "recency,dense"
    # All but lookahead are the usual ones only where no indexer ships beside the model.
    others = make_plan(given | {"arms": CHOOSERS[1:]}, Settings())
    words = shlex.split(_then(others, Path("run"), 4))
    assert ("--arms" in words) == (model == "embedded:recall")


@pytest.mark.parametrize("model", ["embedded:recall", "embedded:recall?batch_size=4"])
def test_a_shipped_model_brings_its_indexer_and_others_bring_none(model):
    task = {"tasks": ("recall:vt:96",)}
    assert make_plan({"model": model, **task}, Settings()).indexer == "embedded:recall-indexer"
    assert make_plan({"model": "embedded:other", **task}, Settings()).indexer is None


@pytest.fixture(scope="module")
def indexer(checkpoint, tmp_path_factory):
    """An untrained indexer for that checkpoint."""
    from transformers import AutoModelForCausalLM

    from planish.models.memory.backbone import Backbone
    from planish.models.memory.indexer import IndexerConfig, MemoryIndexer

    backbone = Backbone.of(AutoModelForCausalLM.from_pretrained(checkpoint))
    config = IndexerConfig(
        hidden_size=32, rank=8, num_heads=2, chunk_tokens=8, pooling="mean",
        features=backbone.num_kv_heads * backbone.head_dim, layers=("l1",),
        backbone=backbone.fingerprint(),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("indexer") / "indexer"
    MemoryIndexer.new(config, ("l1",)).save_pretrained(folder)
    return folder


def test_an_indexer_pays_for_its_records_and_is_held_to_its_bytes(
    capsys, checkpoint, indexer, tmp_path
):
    given = typed(checkpoint, tmp_path, "--indexer", indexer, arms="lookahead,recency,dense")
    code, out, err = call(capsys, *given, "--json")
    assert code == 0, err
    outcomes = outcomes_of(json.loads(out)["run"])
    for each in outcomes.values():
        if each.arm == "lookahead":
            assert each.kv_fraction <= each.fraction
            assert each.digest_bytes >= 132 * (each.length // 8)
            assert each.recall is None or 0 <= each.recall <= 1
    other = [16 if word == 8 and given[place - 1] == "--chunk-tokens" else word
             for place, word in enumerate(given)]  # fmt: skip
    assert "trained on chunks of 8 tokens" in refused(capsys, *other)


def test_the_usual_shares_of_a_short_context_are_told_and_get_their_page(capsys, tmp_path):
    """At 512 words the smallest share buys the indexer nothing."""
    code, out, err = call(
        capsys, "--model", "embedded:recall", "--task", "recall:niah_multikey_1:512",
        "--examples", 2, "--arms", "lookahead,dense", "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert code == 0, err
    assert "at 5 % of the bytes" in out
    assert "cannot pay its digests" in out
    [page] = (tmp_path / "runs" / "lookahead").glob("*/report.html")
    assert "Between two decisions" in page.read_text()


@pytest.mark.parametrize("json_too", [False, True])
def test_a_page_that_cannot_be_made_hides_no_number(
    capsys, monkeypatch, checkpoint, tmp_path, json_too
):
    def broken(*_, **__):
        raise ValueError("no page today")

    monkeypatch.setattr("planish.methods.lookahead.showing.report", broken)
    given = typed(checkpoint, tmp_path, "--no-quality", arms="recency,dense")
    with pytest.raises(ValueError, match="no page today"):
        main(["lookahead", "evaluate", *map(str, given), *(["--json"] if json_too else [])])
    out = capsys.readouterr().out
    if json_too:
        assert "accuracy_dense" in json.loads(out)
    else:
        assert "at 40 % of the bytes" in out
        assert "report " not in out


def test_arms_that_need_no_indexer_take_chunks_of_any_size(capsys, checkpoint, indexer, tmp_path):
    """Without a size they take the indexer's, so that they compare with lookahead."""
    given = typed(
        checkpoint, tmp_path, "--indexer", indexer, "--no-quality", "--json", arms="quest,dense"
    )
    at = given.index("--chunk-tokens")
    plain = tuple("0.8" if word == "0.4" else word for word in given[:at] + given[at + 2 :])
    both_keys = 2 * 2 * 2 * 8 * 4  # of a chunk in two layers, of two heads of eight numbers
    for words, size in ((plain, 8), ((*plain, "--chunk-tokens", 16), 16)):
        code, out, err = call(capsys, *words)
        assert code == 0, err
        found = [each for each in outcomes_of(json.loads(out)["run"]).values() if each.steps]
        assert {each.arm for each in found} == {"quest", "dense"}
        for each in found:
            if each.arm == "quest":
                reached = (each.length - 1 + each.steps) // size
                assert each.digest_bytes in (both_keys * reached, both_keys * (reached - 1))


@pytest.fixture
def trained(checkpoint, indexer, tmp_path):
    """That indexer, said to have seen what a dump of two documents of the split train holds."""
    from planish.methods.lookahead.config import Dumping
    from planish.methods.lookahead.dumping.folder import Dump
    from planish.methods.lookahead.running.dump import dump

    dials = Dumping(chunk_tokens=8, continuation=0, run_tokens=16, batch_size=2)
    dump(
        model=f"hf:{checkpoint}", task="recall:niah_multikey_1:96", out=tmp_path / "dump", limit=2,
        config=dials, runs=tmp_path / "dumped", json=True,
    )  # fmt: skip
    seen = [document.digest for document in Dump(tmp_path / "dump").documents]
    folder = shutil.copytree(indexer, tmp_path / "trained")
    (folder / TRAINING).write_text(json.dumps({"train": seen[:1], "validation": seen[1:]}))
    return folder


def test_no_report_is_made_on_what_an_indexer_was_trained_on(capsys, checkpoint, trained, tmp_path):
    capsys.readouterr()
    given = typed(checkpoint, tmp_path, "--indexer", trained, "--no-quality", arms="lookahead")
    code, _, err = call(capsys, *given)
    assert code == 0, err
    line = refused(capsys, *given, "--split", "train")
    assert "the indexer was trained on 1 of these 2 documents" in line
    assert "--split" in line
    (trained / TRAINING).write_text("[]")
    assert "training.json" in refused(capsys, *given)


def test_nor_does_the_function_make_one(checkpoint, trained):
    from planish.models.memory.indexer import MemoryIndexer

    local = load(f"hf:{checkpoint}")
    task = RecallTask("niah_multikey_1", 96)
    dials = Settings(interval=4, chunk_tokens=8, recent_tokens=8, quality=False)

    def made(split, arms, indexer):
        return evaluate(
            local.model, local.tokenizer, [task], arms, (0.4,), indexer=indexer, examples=2,
            split=split, settings=dials,
        )  # fmt: skip

    for indexer in (MemoryIndexer.from_pretrained(trained), MemoryIndexer.from_pretrained(
        trained / "indexer.safetensors"
    )):  # fmt: skip
        with pytest.raises(BadInput, match="the indexer was trained on 2 of these 2 documents"):
            made("train", ("lookahead", "dense"), indexer)
    assert len(made("train", ("recency", "dense"), indexer)) == 4, "no arm asks it"
    assert len(made("report", ("lookahead",), indexer)) == 2
    (trained / TRAINING).unlink()
    assert len(made("train", ("lookahead",), indexer)) == 2, "one that does not tell"


def test_a_document_that_the_shipped_indexer_has_seen_is_refused(capsys, tmp_path):
    line = refused(
        capsys, "--model", "embedded:recall", "--task", "recall:lookup:384", "--split", "train",
        "--examples", 2, "--arms", "lookahead,dense", "--runs", tmp_path / "runs",
    )  # fmt: skip
    assert "the indexer was trained on 2 of these 2 documents" in line
    assert not (tmp_path / "runs").exists()


def test_bad_input_is_one_line(capsys, checkpoint, tmp_path):
    runs = ("--runs", tmp_path / "runs")
    model, task = ("--model", f"hf:{checkpoint}"), ("--task", "recall:vt:96")
    assert "--model: is missing" in refused(capsys, *task, *runs)
    assert "--task: is missing" in refused(capsys, *model, *runs)
    given = (*model, *task, *runs)
    assert "no arm is called 'best'" in refused(capsys, *given, "--arms", "best")
    assert "2 is no share" in refused(capsys, *given, "--arms", "recency", "--fractions", "2")
    assert "--fractions" in refused(capsys, *given, "--arms", "recency", "--fractions", "x")
    assert "give --indexer DIR" in refused(capsys, *given, "--arms", "lookahead")
    long = ("--model", f"hf:{checkpoint}", "--task", "recall:vt:300", *runs)
    assert "the model takes 256" in refused(capsys, *long, "--arms", "dense")
    assert not (tmp_path / "runs").exists()


# ---- the page --------------------------------------------------------------------------------


def trace(arm, fraction=0.1, windows=2, document="d"):
    return Trace(
        document_id=document, family="one", arm=arm, fraction=fraction,
        steps=tuple(range(1, 1 + 64 * windows, 64)), num_chunks=9,
        resident=((0, 1, 8),) * windows, needed=((1, 2),) * windows,
    )  # fmt: skip


def outcome(arm, fraction, document, correct):
    return Outcome(
        task="t", seed=0, document_id=document, length=9, arm=arm, fraction=fraction,
        family="one", correct=correct, kv_fraction=fraction,
    )  # fmt: skip


def test_the_picture_is_of_one_document_at_about_a_tenth():
    traces = [
        trace("recency"), trace("lookahead"), trace("oracle", document="e", windows=3),
        trace("lookahead", document="e", windows=3), trace("lookahead", 0.5),
    ]  # fmt: skip
    assert [(each.arm, each.document_id) for each in shown_traces(traces)] == [
        ("lookahead", "e"), ("oracle", "e"),
    ]  # fmt: skip
    assert shown_traces([]) == []


def test_the_picture_tells_what_was_there_and_what_was_missing():
    figure = residency_figure([trace("oracle"), trace("recency")])
    bars = figure.axes[0].collections
    spans = [
        [(path.vertices[:, 0].min(), path.vertices[:, 0].max()) for path in bar.get_paths()]
        for bar in bars[:3]
    ]
    assert spans == [[(-0.5, 0.5), (7.5, 8.5)], [(0.5, 1.5)], [(1.5, 2.5)]]
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["oracle", "recency"]


def test_a_null_is_printed_as_a_null():
    names = [f"d{place}" for place in range(8)]
    outcomes = [
        outcome(arm, fraction, name, float(right(place)))
        for arm, fraction, right in (
            ("lookahead", 0.1, lambda place: place % 2),
            ("oracle", 0.1, lambda place: place % 2 or place == 0),
            ("dense", 1.0, lambda place: True),
        )
        for place, name in enumerate(names)
    ]
    lines = sentences(Summary(outcomes))
    assert any("oracle - lookahead" in line and "null" in line for line in lines)
    assert any("lookahead - dense" in line and "null" not in line for line in lines)
    page = report(Summary(outcomes), [], "hf:x").html()
    assert "lookahead at 10 %" in page
    assert page.count("<figure") == 1


def test_documents_that_one_arm_has_no_score_for_are_in_no_difference_and_that_is_told():
    """Of eight, ours lost one and dense another; where both have a score they are alike."""
    right = {"lookahead": [1, 0, None, 1, 1, 0, 1, 1], "dense": [1, 0, 1, 1, 1, 0, 1, None]}
    summary = Summary(
        outcome(arm, fraction, f"d{place}", score)
        for arm, fraction in (("lookahead", 0.1), ("dense", 1.0))
        for place, score in enumerate(right[arm])
    )
    [line] = [each for each in sentences(summary) if "lookahead - dense" in each]
    assert "+0.000" in line
    assert line.endswith("(6 of 8 documents)")
    assert "(6 of 8 documents)" in report(summary, [], "hf:x").html()
    whole = Summary(each for each in summary.outcomes if each.document_id not in ("d2", "d7"))
    assert "of 8 documents" not in report(whole, [], "hf:x").html() + sentences(whole)[0]


def test_a_page_of_arms_that_could_not_pay_has_no_numbers_but_says_why():
    refused = outcome("quest", 0.1, "d", None).model_copy(
        update={"kv_fraction": None, "why": "too dear"}
    )
    summary = Summary([refused])
    assert "1 answers have no score: too dear" in report(summary, [], "hf:x").html()
    assert summary.numbers()["arms"][0]["accuracy"] is None
