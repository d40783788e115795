import json
import subprocess
import sys

import pytest

from planish.cli import main
from planish.methods.lookahead.running.generate import remembering
from planish.methods.lookahead.running.replies import REPLY, Reply, readable
from planish.models.load import load
from planish.models.local import LocalModel
from planish.models.memory.loading import MemoryOptions
from planish.records import Sampling, user
from planish.runs import Run, read_rows
from planish.runs.store import find
from support.checkpoints import save_checkpoint
from support.indexers import save_indexer

TIGHT = ("--chunks", "6", "--recent", "8", "--sinks", "4", "--interval", "4")
LONG = "the lazy dog said to the moon: two and two are four, " * 3


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A checkpoint, its indexer and a file with three prompts."""
    root = tmp_path_factory.mktemp("generate")
    folder = save_checkpoint(root / "model", "llama", max_positions=1024)
    prompts = root / "prompts.jsonl"
    rows = [{"id": f"p{n}", "prompt": LONG + word} for n, word in enumerate(("A", "fox", "owl"))]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return f"hf:{folder}", save_indexer(root / "indexer", folder), prompts


def call(capsys, tmp_path, *words):
    """Exit code, stdout, stderr of `planish lookahead generate`."""
    with pytest.raises(SystemExit) as stop:
        main(["lookahead", "generate", *map(str, words), "--runs", str(tmp_path / "runs")])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def told(capsys, tmp_path, *words):
    code, out, err = call(capsys, tmp_path, *words, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(capsys, tmp_path, *words):
    code, out, err = call(capsys, tmp_path, *words)
    assert (code, out) == (2, ""), err
    assert "Traceback" not in err
    assert not list((tmp_path / "runs").glob("*/*")), "no run is left of what was refused"
    return err.strip().splitlines()[-1]


def replies(summary):
    return [row.read(Reply) for row in read_rows(summary["run"], REPLY)]


def test_each_reply_is_recorded_with_its_decisions_and_bytes(capsys, tmp_path, made):
    model, indexer, prompts = made
    words = ("--model", model, "--indexer", indexer, "--prompts", prompts, *TIGHT)
    summary = told(capsys, tmp_path, *words, "--max-tokens", 24)
    assert (summary["replies"], summary["errors"], summary["fallbacks"]) == (3, 0, 0)
    assert 0 < summary["device_share"] <= summary["device_share_max"] < 1
    assert summary["host_share"] > 0
    assert summary["model"] == model
    found = replies(summary)
    assert [reply.id for reply in found] == ["p0", "p1", "p2"]
    opened = load(model)
    dense_token = 2 * 2 * 2 * 8 * 4  # keys and values, layers, heads, width, float32
    for reply in found:
        assert reply.completion.text
        passes = reply.completion.usage.completion_tokens - 1  # nothing follows the last token
        assert len(reply.windows) == 1 + (passes - 1) // 4
        for window in reply.windows:
            assert window.kept <= 6 < window.num_chunks
            assert window.dense_bytes == window.step * dense_token
            assert window.bytes.resident + window.bytes.host >= window.dense_bytes
            assert window.bytes.resident <= 7 * 4 * dense_token
            assert window.bytes.digest > 0
    ids = [len(opened.tokenizer(LONG)["input_ids"])]
    assert all(reply.completion.usage.prompt_tokens > ids[0] for reply in found)


def test_replies_are_those_of_the_same_model_by_name(capsys, tmp_path, made):
    model, indexer, prompts = made
    words = ("--prompts", prompts, "--max-tokens", 8)
    name = f"{model}?lookahead={indexer}&chunks=6&recent=8&sinks=4&interval=4"
    by_option = told(capsys, tmp_path, "--model", model, "--indexer", indexer, *TIGHT, *words)
    by_name = told(capsys, tmp_path, "--model", name, *words)
    assert by_option["revision"] == by_name["revision"]
    texts = [reply.completion.token_ids for reply in replies(by_option)]
    assert texts == [reply.completion.token_ids for reply in replies(by_name)]
    rows = [json.loads(line)["prompt"] for line in prompts.read_text().splitlines()]
    sampling = Sampling(temperature=0, max_tokens=8)
    drawn = load(name).generate([user(text) for text in rows], sampling)
    assert texts == [each[0].token_ids for each in drawn]


def test_a_check_tells_where_a_reply_parts_from_the_dense_one(capsys, tmp_path, made):
    model, indexer, prompts = made
    words = ("--model", model, "--indexer", indexer, "--prompts", prompts, "--check")
    whole = told(capsys, tmp_path, *words, "--max-tokens", 6)
    assert whole["same_as_dense"] == 3
    assert all(reply.check.dense == reply.completion.text for reply in replies(whole))
    tight = ("--chunks", 2, "--recent", 4, "--interval", 1, "--max-tokens", 16)
    parted = replies(told(capsys, tmp_path, *words, *tight))
    assert any(reply.check.place is not None for reply in parted)
    for reply in parted:
        dense = load(model)
        text = json.loads(prompts.read_text().splitlines()[int(reply.id[1])])["prompt"]
        sampling = Sampling(temperature=0, max_tokens=16)
        theirs = dense.generate([user(text)], sampling)[0][0]
        assert reply.check.dense == theirs.text
        if (place := reply.check.place) is not None:
            ours = reply.completion.token_ids
            assert ours[:place] == theirs.token_ids[:place]
            assert ours[place : place + 1] != theirs.token_ids[place : place + 1]


def test_one_document_and_its_question_are_one_prompt_and_its_reply_is_shown(
    capsys, tmp_path, made
):
    model, indexer, _ = made
    document = tmp_path / "long.txt"
    document.write_text(LONG + "\n")
    words = ("--model", model, "--indexer", indexer, *TIGHT, "--max-tokens", 8)
    summary = told(capsys, tmp_path, *words, "--document", document, "--prompt", "A or B?")
    drawn = load(f"{model}?lookahead={indexer}&chunks=6&recent=8&sinks=4&interval=4").generate(
        [user(f"{LONG}\n\nA or B?")], Sampling(temperature=0, max_tokens=8)
    )
    assert summary["text"] == drawn[0][0].text
    code, out, _ = call(capsys, tmp_path, *words, "--document", document)
    assert code == 0
    assert "of dense" in out
    assert "tokens/s" in out


def test_a_request_that_wants_too_much_turns_dense_and_is_counted(capsys, tmp_path, made):
    model, indexer, prompts = made
    words = ("--model", model, "--indexer", indexer, "--prompts", prompts, "--max-tokens", 8)
    dials = ("--threshold", 0.01, "--recent", 8, "--fallback", 0.01)
    summary = told(capsys, tmp_path, *words, *dials, "--check")
    assert summary["fallbacks"] == 3
    assert summary["same_as_dense"] == 3
    assert all(reply.fallback for reply in replies(summary))


def test_a_run_that_was_stopped_goes_on_and_makes_no_reply_again(
    capsys, tmp_path, made, monkeypatch
):
    model, indexer, prompts = made
    words = ("--model", model, "--indexer", indexer, "--prompts", prompts, *TIGHT)
    words = (*words, "--max-tokens", 6)
    whole = replies(told(capsys, tmp_path / "whole", *words))
    real, calls = LocalModel.generate, []

    def generate(self, chats, *args, **kwargs):
        if len(calls) == 1:
            raise KeyboardInterrupt
        calls.append(chats)
        return real(self, chats, *args, **kwargs)

    monkeypatch.setattr(LocalModel, "generate", generate)
    code, out, err = call(capsys, tmp_path, *words)
    assert (code, out) == (130, "")
    run = find(tmp_path / "runs", "last").path
    assert f"planish lookahead generate --resume {run}" in err
    calls[:] = [0, 0]
    summary = told(capsys, tmp_path, "--resume", "last")
    assert len(calls) == 4  # two that were there, two that were not
    assert [r.completion.token_ids for r in replies(summary)] == [
        r.completion.token_ids for r in whole
    ]
    prompts_before = prompts.read_text()
    try:
        prompts.write_text(prompts_before + json.dumps({"prompt": "A"}) + "\n")
        code, _, err = call(capsys, tmp_path, "--resume", run)
    finally:
        prompts.write_text(prompts_before)
    assert code == 2
    assert "prompts_digest" in err


@pytest.mark.parametrize(
    ("dials", "why"),
    [
        (("--recent", 8192), "the last 8192 tokens always stay, and no decision met more than"),
        (("--recent", 8192, "--sinks", 4), "the first 4 and the last 8192 tokens always stay"),
        (("--recent", 8, "--threshold", 1e-9), "every score is above 1e-09"),
        (TIGHT, ""),
    ],
)
def test_a_memory_that_evicted_nothing_says_why(capsys, tmp_path, made, dials, why):
    model, indexer, prompts = made
    words = ("--model", model, "--indexer", indexer, "--prompts", prompts, "--max-tokens", 6)
    code, _, err = call(capsys, tmp_path, *words, *dials)
    assert code == 0, err
    if why:
        assert f"nothing was evicted: {why}" in err
    else:
        assert "nothing was evicted" not in err


def test_a_shipped_model_brings_its_indexer(monkeypatch):
    """As it does for evaluate."""
    given = {}
    # The package gives the module's place to its function.
    module = sys.modules["planish.models.load"]
    monkeypatch.setattr(module, "load", lambda model, **options: given.update(options))
    for model in ("embedded:recall", "embedded:recall?batch_size=4"):
        given.clear()
        remembering(model, None, MemoryOptions(recent=32))
        assert given == {"lookahead": "embedded:recall-indexer", "recent": 32}
    given.clear()
    remembering("embedded:recall?lookahead=mine", None, MemoryOptions())
    assert given == {}


def test_a_prompt_that_does_not_fit_is_an_error_of_its_own(capsys, tmp_path, made):
    model, indexer, _ = made
    prompts = tmp_path / "prompts.jsonl"
    rows = [{"prompt": "A"}, {"prompt": LONG * 20}]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("--model", model, "--indexer", indexer, "--max-tokens", 4)
    code, out, err = call(capsys, tmp_path, *words, "--prompts", prompts, "--json")
    summary = json.loads(out)
    assert (code, summary["replies"], summary["errors"]) == (0, 1, 1)
    assert "no reply to 2: the prompt's" in err
    prompts.write_text(json.dumps(rows[1]) + "\n")
    code, out, _ = call(capsys, tmp_path, *words, "--prompts", prompts, "--json")
    assert (code, json.loads(out)["replies"]) == (1, 0)
    assert find(tmp_path / "runs", "last").status == "failed"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prompt", "A"), "--model: is missing"),
        (("--model", "hf:{model}", "--prompt", "A"), "--indexer: is missing"),
        (("--model", "openai:gpt-5", "--indexer", "x", "--prompt", "A"), "only a model on this"),
        (("--model", "hf:{model}", "--indexer", "{indexer}"), "give either --prompts FILE"),
        (("--model", "hf:{model}", "--indexer", "no", "--prompt", "A"), "no: no such indexer"),
        (
            ("--model", "hf:{model}", "--indexer", "{indexer}", "--prompt", "A", "--chunks", "0"),
            "--chunks",
        ),
        (
            ("--model", "hf:{model}", "--indexer", "{indexer}", "--prompt", "A", "--chunks", "2",
             "--recent", "99"),
            "above the cap of 2",
        ),
        (
            ("--model", "hf:{model}?lookahead={indexer}", "--indexer", "{indexer}", "--prompt",
             "A"),
            "given twice",
        ),
        (
            ("--model", "hf:{model}", "--indexer", "{indexer}", "--document", "{folder}/empty"),
            "is empty",
        ),
        (
            ("--model", "hf:{model}", "--indexer", "{indexer}", "--document", "{folder}/bytes"),
            "is no text in UTF-8",
        ),
        (
            ("--model", "hf:{model}", "--indexer", "{indexer}", "--prompts", "{folder}/twice"),
            "twice:2: id 'x' was there before",
        ),
        (
            ("--model", "hf:{model}", "--indexer", "{indexer}", "--prompts", "{folder}/none"),
            "none:1: holds no prompt",
        ),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line(capsys, tmp_path, made, words, said):
    model, indexer, _ = made
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "twice").write_text('{"id": "x", "prompt": "A"}\n{"id": "x", "prompt": "B"}\n')
    (tmp_path / "none").write_text('{"question": "A"}\n')
    names = {"model": model.removeprefix("hf:"), "indexer": indexer, "folder": tmp_path}
    assert said in refused(capsys, tmp_path, *(word.format(**names) for word in words))


def test_a_run_of_another_stage_is_not_gone_on_with(capsys, tmp_path):
    with Run.create("lookahead", "x", {}, root=tmp_path / "runs", stage="train") as run:
        pass
    code, _, err = call(capsys, tmp_path, "--resume", run.path)
    assert code == 2
    assert "is a run of lookahead train" in err


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (3 * 10**9, "3.0 GB"),
     (10**13, "10.0 TB")],
)  # fmt: skip
def test_bytes_are_written_for_people(count, said):
    assert readable(count) == said


def test_help_does_without_torch():
    script = """
import sys
from planish.cli import main
for stage in ("generate", "chat"):
    try:
        main(["lookahead", stage, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
print(sorted({"torch", "transformers"} & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.strip().endswith("[]"), result.stdout + result.stderr


def test_a_budget_that_contradicts_itself_is_told_as_it_was_typed(capsys, tmp_path, made):
    model, indexer, prompts = made
    words = ("--model", model, "--indexer", indexer, "--prompts", prompts)
    line = refused(capsys, tmp_path, *words, "--chunks", 2, "--recent", 64)
    assert "--chunks: 64 recent" in line
    assert "raise --chunks, or lower --recent or --sinks" in line
    assert "max_chunks" not in line
    assert "recent_tokens" not in line


def test_long_ids_leave_room_for_the_numbers(capsys, tmp_path, made):
    model, indexer, _ = made
    name = "document-" + "x" * 300
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"id": name + "\x1b[2J", "prompt": LONG}) + "\n")
    words = ("--model", model, "--indexer", indexer, "--prompts", prompts, *TIGHT)
    code, out, err = call(capsys, tmp_path, *words, "--max-tokens", 8)
    assert code == 0, err
    (row,) = (line for line in out.splitlines() if "document-" in line)
    assert f"{name[:23]}…" in row
    assert "%" in row
    assert "\x1b" not in out
