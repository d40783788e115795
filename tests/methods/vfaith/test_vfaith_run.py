"""`planish vfaith run` as it is typed: what it keeps, what it never does twice, what it refuses."""

import hashlib
import io
import itertools
import json
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from planish.cli import main
from planish.methods.vfaith.data import ARMS, Response
from planish.methods.vfaith.running import asking
from planish.methods.vfaith.running import run as stage
from planish.methods.vfaith.running.pinning import loose
from planish.methods.vfaith.running.planted import UNREADABLE, load_model
from planish.methods.vfaith.running.prompts import gold_of, options_of, prompt
from planish.methods.vfaith.running.records import calls_of
from planish.models.keys import chat_key, reply_key
from planish.records import Completion, Failure, Sampling, read_jsonl, write_jsonl
from planish.runs import Run, read_rows
from planish.runs.folder import is_locked
from support.pictures import make_bench, make_pair, store
from support.vision import save_vision


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return make_bench(tmp_path_factory.mktemp("bench"), 8, perception=4)


@pytest.fixture
def runs(tmp_path):
    return ("--runs", tmp_path / "runs")


@pytest.fixture
def plain(monkeypatch):
    """Without the page, which takes a moment."""
    monkeypatch.setattr(stage, "write_report", lambda *_: None)


CALLS = 8 * 6 + 4 * 3  # a perception item has no placebo and no perception question


def call(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        main(["vfaith", "run", *map(str, words)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def told(capsys, *words, code=0):
    found, out, err = call(capsys, *words, "--json")
    assert found == code, err
    return json.loads(out)


def refused(capsys, *words):
    code, out, err = call(capsys, *words)
    assert code == 2, err
    assert out == ""
    assert "Traceback" not in err
    return err.strip().splitlines()[-1]


def responses(folder):
    """Id -> reply; the last record of an id counts."""
    return {row.id: row.read(Response) for row in read_rows(folder, "response")}


def only_run(runs):
    (folder,) = (runs[1] / "vfaith").iterdir()
    return folder


class Faulty:
    """A planted oracle that counts what it is asked, with something that happens on the way."""

    def __init__(self, bench, happens=lambda *_: None, name="planted:faulty"):
        self.inner, self.happens, self.name = load_model("planted:oracle", bench), happens, name
        self.revision = "1"
        self.asked = Counter()
        self.batches = []

    def generate(self, chats, sampling, *, watcher=None):
        self.batches.append(len(chats))
        drawn = []
        for index, chat in enumerate(chats):
            row = self.inner.generate([chat], sampling)[0]
            drawn.append([])
            for sample, reply in enumerate(row):
                key = chat_key(chat), sampling.seed + sample
                self.asked[key] += 1
                drawn[-1].append(self.happens(self, key) or reply)
                watcher.completed(index, sample, drawn[-1][-1])
        return drawn


def faulty(monkeypatch, bench, happens=lambda *_: None, **options):
    model = Faulty(bench, happens, **options)
    monkeypatch.setattr(stage, "load_model", lambda *_: model)
    return model


def test_every_arm_is_asked_read_and_kept(capsys, bench, runs):
    found = told(capsys, "--model", "planted:oracle", "--bench", bench.folder, *runs)
    assert (found["pairs"], found["usable"], found["calls"]) == (8, 8, CALLS)
    assert found["coverage"] == found["acc_raw"] == found["acc_edited"] == 1
    assert found["errors"] == found["unparsed"] == 0
    assert found["bench_digest"] == bench.digest
    assert set(found["arms"]) == set(ARMS)
    assert found["arms"]["raw"] == found["arms"]["perception_edited"] == {"correct": 8}
    assert found["items"]["raw"] == found["items"]["edited"] == {"correct": 4}
    kept = responses(found["run"])
    model = load_model("planted:oracle", bench)
    calls = calls_of(bench.pairs, ARMS)
    assert set(kept) == {call.id(0) for call in calls}
    for call in calls:
        reply = kept[call.id(0)]
        assert (reply.arm, reply.pair_id, reply.gold) == (
            call.arm, call.pair.pair_id, gold_of(*call),
        )  # fmt: skip
        assert reply.model == "planted:oracle"
        assert reply.revision == model.revision == found["revision"]
        sampling = Sampling(temperature=0, max_tokens=1024, seed=0)
        chat = chat_key(call.chat(bench))
        assert reply.key == reply_key(model.name, model.revision, chat, sampling, 0)
    by_arm = {
        arm: {reply.key for reply in kept.values() if reply.arm == arm} for arm in ARMS
    }  # fmt: skip
    assert by_arm["raw"].isdisjoint(by_arm["edited"] | by_arm["placebo"] | by_arm["text"])
    # Before anything was decided by a reply, it was kept as it came.
    raw = [row for _, row in read_jsonl(f"{found['run']}/artifacts/replies.jsonl")]
    texts = Counter(row["completion"]["text"] for row in raw if row["kind"] == "reply")
    assert texts.keys() == {reply.text for reply in kept.values()}
    scored = {row.id: row.data for row in read_rows(found["run"], "score")}
    assert scored == {
        pair.pair_id: {"acc_raw": 1, "acc_edited": 1, "pair_acc": 1, "usable": 1}
        for pair in bench.pairs
        if pair.kind == "pair"
    }


def test_what_a_person_sees(capsys, bench, runs):
    words = ("--model", "planted:sheet?unparsed=.05", "--bench", bench.folder, *runs)
    code, out, _ = call(capsys, *words, "--min-coverage", 0)
    assert code == 0
    assert f"{CALLS} replies, 8 pairs" in out
    assert "the edited picture" in out
    folder = only_run(runs)
    assert f"next    planish vfaith score {folder}" in out
    page = (folder / "report.html").read_text()
    assert "colours" in page
    unread = [reply for reply in responses(folder).values() if reply.outcome == "unparsed"]
    assert unread
    assert UNREADABLE in page


def test_some_arms_and_some_pairs(capsys, bench, runs, plain):
    words = ("--model", "planted:cached", "--bench", bench.folder, "--limit", 6, *runs)
    found = told(capsys, *words, "--arms", "edited", "raw")
    assert found["arms"] == {"raw": {"correct": 4}, "edited": {"wrong": 4}}
    assert found["items"] == {"raw": {"correct": 2}, "edited": {"wrong": 2}}
    assert (found["acc_raw"], found["acc_edited"]) == (1, 0)
    only = told(capsys, *words, "--arms", "text")
    assert only["usable"] == only["pairs"] == 4
    assert only["acc_raw"] is None


def test_repeats_are_calls_of_their_own(capsys, bench, runs, plain, monkeypatch):
    model = faulty(monkeypatch, bench)
    words = ("--model", "x", "--bench", bench.folder, "--repeats", 3, "--seed", 5, *runs)
    found = told(capsys, *words)
    assert found["calls"] == 3 * CALLS
    kept = responses(found["run"])
    assert len(kept) == 3 * CALLS
    first = calls_of(bench.pairs, ["raw"])[0]
    assert len({kept[first.id(repeat)].key for repeat in range(3)}) == 3
    assert set(model.asked.values()) == {1}
    assert {seed for _, seed in model.asked} == {5, 6, 7}


def test_pictures_are_handed_over_a_few_at_a_time(capsys, bench, runs, plain, monkeypatch):
    monkeypatch.setattr(asking, "CHUNK", 7)
    model = faulty(monkeypatch, bench)
    told(capsys, "--model", "x", "--bench", bench.folder, "--repeats", 2, *runs)
    assert max(model.batches) == 7
    assert set(model.asked.values()) == {1}


# ---- stopped runs ----------------------------------------------------------------------------


def test_ctrl_c_and_on_again_makes_no_call_twice(capsys, bench, runs, plain, monkeypatch):
    whole = told(capsys, "--model", "planted:oracle", "--bench", bench.folder, *runs)
    shutil.rmtree(whole["run"])

    def stop(model, _):
        if model.asked.total() == 21:
            raise KeyboardInterrupt

    first = faulty(monkeypatch, bench, stop)
    code, _, err = call(capsys, "--model", "x", "--bench", bench.folder, *runs)
    assert code == 130
    folder = only_run(runs)
    assert f"go on with: planish vfaith run --resume {folder}" in err
    assert len(responses(folder)) >= 20
    second = faulty(monkeypatch, bench)
    found = told(capsys, "--resume", folder, *runs)
    assert found["arms"] == whole["arms"]
    done = {key for key, number in first.asked.items() if number} - {list(first.asked)[-1]}
    assert not done & second.asked.keys()
    assert set(second.asked.values()) == {1}
    third = faulty(monkeypatch, bench)
    again = told(capsys, "--resume", "last", *runs)
    assert not third.asked
    assert again["arms"] == found["arms"]
    rows = [row.id for row in read_rows(folder, "response")]
    assert len(rows) == len(set(rows)) == CALLS


def test_a_killed_run_goes_on_without_a_repeated_call(capsys, bench, runs, plain, chat_server):
    server = chat_server(delay=0.05)
    words = ["--bench", bench.folder, *runs]
    model = f"openai:m-2025-01-31@{server.url}?in_flight=4"
    process = subprocess.Popen(
        [sys.executable, "-m", "planish.cli", "vfaith", "run", "--model", model, *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while server.count("ok") < 16 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.1)  # calls in flight are answered, or found lost
    folder = only_run(runs)
    had = len(responses(folder))
    before = server.count()
    assert 12 <= had < CALLS
    found = told(capsys, "--resume", folder, "--min-coverage", 0, *runs)
    # Its replies are hashes without an answer; the text arm of two pairs may ask the same.
    assert found["unparsed"] == CALLS
    keys = Counter(row["key"] for row in server.log()[before:])
    assert sum(keys.values()) <= CALLS - had
    assert set(keys.values()) == {1}
    assert len(responses(folder)) == CALLS


def planish(*words, before=""):
    command = shlex.join([sys.executable, "-m", "planish.cli", "vfaith", *map(str, words)])
    return ["bash", "-c", f"{before} exec {command}"]


def settled(server):
    """Calls that it has had, once those that were under way at the end have been counted, too."""
    found = -1
    while found != server.count():
        found = server.count()
        time.sleep(0.9)  # three times as long as it takes to reply
    return found


def test_ctrl_c_while_an_endpoint_is_asked_costs_no_reply(capsys, bench, runs, plain, chat_server):
    server = chat_server(delay=0.3)
    model = f"openai:m-2025-01-31@{server.url}?in_flight=4"
    words = ("run", "--model", model, "--bench", bench.folder, "--min-coverage", 0, *runs)
    process = subprocess.Popen(
        planish(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while server.count("ok") < 8 and time.monotonic() < deadline:
        time.sleep(0.02)
    folder = only_run(runs)
    assert is_locked(folder)
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in error
    assert f"go on with: planish vfaith run --resume {folder}" in error
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    had = len(responses(folder))
    assert 4 <= had < CALLS
    before = settled(server)
    told(capsys, "--resume", folder, "--min-coverage", 0, *runs)
    assert server.count() - before <= CALLS - had
    assert len(responses(folder)) == CALLS


def test_a_full_disk_keeps_what_came_and_the_run_goes_on(capsys, bench, runs, plain):
    words = ("run", "--model", "planted:oracle", "--bench", bench.folder, *runs)
    done = subprocess.run(
        planish(*words, before="ulimit -f 16;"), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert "File too large: every finished line was kept; free some space and resume" in last
    folder = only_run(runs)
    had = responses(folder)
    assert 0 < len(had) < CALLS
    found = told(capsys, "--resume", folder, *runs)
    assert found["acc_raw"] == 1
    assert len(responses(folder)) == CALLS
    assert {id: reply for id, reply in responses(folder).items() if id in had} == had


HOSTILE = [
    "<script>alert(1)</script></details><img src=x onerror=alert(1)>",
    "\x1b[2J\x1b]0;owned\x07\x9b31m cleared",
    "half \ud800 a character, \0 and \u202e reversed",
    "{{ 7 * 7 }} {% raw %}",
]


def test_hostile_replies_are_text_on_the_page_and_in_the_records(capsys, bench, runs, monkeypatch):
    texts = itertools.cycle(HOSTILE)
    faulty(monkeypatch, bench, lambda *_: Completion(text=next(texts)))
    words = ("--model", "x", "--bench", bench.folder, "--min-coverage", 0, *runs)
    code, out, err = call(capsys, *words)
    assert code == 0, err
    assert "\x1b" not in out + err
    folder = only_run(runs)
    page = (folder / "report.html").read_text("utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "{{ 7 * 7 }}" in page
    assert not set("\x1b\x9b\0\u202e") & set(page)
    kept = {reply.text for reply in responses(folder).values()}
    assert kept == set(HOSTILE)


def test_nobody_else_works_in_a_run(capsys, bench, runs, plain, monkeypatch):
    faulty(monkeypatch, bench)
    folder = told(capsys, "--model", "x", "--bench", bench.folder, *runs)["run"]
    with Run.open(folder):
        assert "in use by this process" in refused(capsys, "--resume", folder, *runs)


def test_a_cache_serves_another_run(capsys, bench, runs, plain, monkeypatch, tmp_path):
    cache = ("--cache", tmp_path / "cache.jsonl")
    faulty(monkeypatch, bench)
    first = told(capsys, "--model", "x", "--bench", bench.folder, *cache, *runs)
    model = faulty(monkeypatch, bench)
    second = told(capsys, "--model", "x", "--bench", bench.folder, *cache, *runs)
    assert not model.asked
    assert first["run"] != second["run"]
    assert responses(first["run"]) == responses(second["run"])


# ---- what goes wrong -------------------------------------------------------------------------

LOST = Completion(
    text="",
    finish="error",
    failures=(Failure(attempt=1, kind="timeout", message="no answer within 1 s"),),
)


def test_lost_calls_are_made_again_at_the_end(capsys, bench, runs, plain, monkeypatch):
    model = faulty(monkeypatch, bench, lambda self, key: LOST if self.asked[key] == 1 else None)
    found = told(capsys, "--model", "x", "--bench", bench.folder, *runs)
    assert found["errors"] == 0
    assert found["usable"] == 8
    assert set(model.asked.values()) == {2}


def test_a_lost_call_is_an_error_until_a_reply_comes(capsys, bench, runs, plain, monkeypatch):
    def lose(model, key):
        return LOST if int(key[0][:4], 16) % 8 == 0 else None

    model = faulty(monkeypatch, bench, lose)
    words = ("--model", "x", "--bench", bench.folder, "--retries", 2, *runs)
    found = told(capsys, *words, "--min-coverage", 0.5)
    lost = {key for key, number in model.asked.items() if number == 3}
    assert found["errors"] > 0
    assert len(lost) <= found["errors"] < CALLS / 3
    folder = found["run"]
    before = responses(folder)
    errors = [id for id, reply in before.items() if reply.outcome == "error"]
    assert len(errors) == found["errors"]
    assert all(before[id].parsed is None and before[id].text == "" for id in errors)
    scored = {row.id: row.data for row in read_rows(folder, "score")}
    raw = [before[id] for id in errors if before[id].arm == "raw"]
    assert all(scored[reply.pair_id]["acc_raw"] is None for reply in raw)
    # Still lost: told once, not once a visit.
    again = told(capsys, "--resume", folder, *runs)
    assert again["errors"] == found["errors"]
    assert len([row for row in read_rows(folder, "response") if row.id in errors]) == len(errors)
    # What came is never asked for again, and what was lost is.
    model = faulty(monkeypatch, bench)
    healed = told(capsys, "--resume", folder, *runs)
    assert healed["errors"] == 0
    assert set(model.asked) == lost
    after = responses(folder)
    assert all(after[id] == reply for id, reply in before.items() if id not in errors)
    assert all(after[id].outcome in ("correct", "wrong") for id in errors)


def test_a_prompt_that_does_not_fit_is_not_sent_again(capsys, bench, runs, plain, monkeypatch):
    long = LOST.model_copy(update={"failures": (Failure(attempt=1, kind="context"),)})
    target = chat_key(calls_of(bench.pairs, ["raw"])[0].chat(bench))
    model = faulty(monkeypatch, bench, lambda _, key: long if key[0] == target else None)
    words = ("--model", "x", "--bench", bench.folder, "--retries", 3, *runs)
    code, out, err = call(capsys, *words, "--json")
    assert code == 0
    assert json.loads(out)["errors"] == 1
    assert "asking again cannot help" in err
    assert set(model.asked.values()) == {1}


def test_too_many_lost_calls_are_a_failed_run(capsys, bench, runs, plain, monkeypatch):
    faulty(monkeypatch, bench, lambda *_: LOST)
    words = ("--model", "x", "--bench", bench.folder, *runs)
    code, out, err = call(capsys, *words, "--json")
    assert code == 1
    assert "timeout" in err
    assert "--resume" in err
    assert json.loads(out)["acc_raw"] is None
    folder = only_run(runs)
    assert json.loads((folder / "run.json").read_text())["status"] == "failed"


def test_what_cannot_be_read_is_no_headline(capsys, bench, runs, plain, monkeypatch):
    quiet = Completion(text=UNREADABLE)
    faulty(monkeypatch, bench, lambda _, key: quiet if int(key[0][:4], 16) % 3 == 0 else None)
    words = ("--model", "x", "--bench", bench.folder, *runs)
    found = told(capsys, *words)
    assert found["unparsed"] > 0
    assert found["errors"] == 0
    assert found["coverage"] < 0.9
    assert found["acc_raw"] is None
    code, out, err = call(capsys, "--resume", found["run"], *runs)
    assert code == 0
    assert "no headline" in err
    assert "1.000" not in out
    more = told(capsys, "--resume", found["run"], "--min-coverage", 0, *runs)
    assert more["acc_raw"] == 1


def test_replies_that_were_cut_are_told(capsys, bench, runs, plain, monkeypatch):
    cut = Completion(text="First I", finish="length", usage={"completion_tokens": 40})
    faulty(monkeypatch, bench, lambda *_: cut)
    words = ("--model", "x", "--bench", bench.folder, "--max-tokens", 40, *runs)
    code, _, err = call(capsys, *words)
    assert code == 0
    assert f"{CALLS} of {CALLS} unparsed replies were cut at 40 tokens" in err


# ---- a server --------------------------------------------------------------------------------

SERVER = """
import base64, hashlib, json
GOLD = json.load(open({path!r}))
def reply(request):
    parts = request["messages"][-1]["content"]
    if isinstance(parts, str):
        return "Without a picture I say \\\\boxed{{A}}"
    image, text = parts
    assert image["type"] == "image_url" and text["type"] == "text"
    data = base64.b64decode(image["image_url"]["url"].partition(",")[2])
    return "So \\\\boxed{{%s}}." % GOLD[hashlib.sha256(data).hexdigest() + text["text"]]
"""


def test_over_the_wire(capsys, bench, runs, plain, chat_server, monkeypatch, tmp_path):
    golds = {}
    for each in calls_of(bench.pairs, [arm for arm in ARMS if arm != "text"]):
        data = Path(each.chat(bench)[0].images[0]).read_bytes()
        letter = "ABCD"[options_of(*each).index(gold_of(*each))]
        golds[hashlib.sha256(data).hexdigest() + prompt(*each)] = letter
    (tmp_path / "golds.json").write_text(json.dumps(golds))
    (tmp_path / "looker.py").write_text(SERVER.format(path=str(tmp_path / "golds.json")))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    server = chat_server(replies="looker:reply", faults={"500": 0.05, "drop": 0.05})
    words = ("--model", f"openai:m@{server.url}", "--bench", bench.folder, *runs)
    assert "--unpinned" in refused(capsys, *words)
    assert not runs[1].exists()
    code, out, err = call(capsys, *words, "--unpinned", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["acc_raw"] == found["acc_edited"] == found["coverage"] == 1
    assert found["arms"]["perception_edited"] == {"correct": 8}
    assert found["pinned"] is False
    assert "is not pinned" in err
    kept = responses(found["run"])
    first_option = {pair.pair_id: pair.options[0] for pair in bench.pairs}
    assert all(reply.prompt_tokens > 0 for reply in kept.values())
    assert all(
        (reply.parsed == first_option[reply.pair_id]) == (reply.text.count("{A}") == 1)
        for reply in kept.values()
        if reply.arm == "text"
    )
    log = [row["body"] for row in server.log()]
    assert {body["max_tokens"] for body in log} == {1024}
    assert {body["temperature"] for body in log} == {0.0}


@pytest.mark.parametrize(
    ("model", "pinned"),
    [
        ("openai:gpt-5@http://localhost:1/v1", False),
        ("openai:gpt-5@http://localhost:1/2024-08-06/v1", False),
        ("openai:gpt-5@http://localhost:1/v1?timeout=20240806", False),
        ("openai:m-20241399x", False),
        ("openai:gpt-4o-2024-08-06@http://localhost:1/v1", True),
        ("openai:claude@20250101@http://localhost:1/v1", True),
        ("hf:Qwen/Qwen2.5-VL-3B-Instruct", False),
        ("hf:Qwen/Qwen2.5-VL-3B-Instruct?dtype=bfloat16", False),
        ("hf:./checkpoint", True),
        ("hf:/data/checkpoint?batch_size=2", True),
        ("planted:oracle", True),
        ("embedded:viewer-seeing", True),
        ("scripted:always-a", True),
        ("replay:replies.jsonl", True),
    ],
)
def test_what_is_pinned(model, pinned):
    assert (loose(model) == "") is pinned


def test_a_model_that_is_not_pinned_is_refused_in_one_line_with_both_ways_out(
    capsys, bench, runs, plain, monkeypatch
):
    words = ("--model", "hf:Qwen/Qwen2.5-VL-3B-Instruct", "--bench", bench.folder, *runs)
    line = refused(capsys, *words)
    assert "not pinned" in line
    assert "hf:./checkpoint" in line
    assert "--unpinned" in line
    faulty(monkeypatch, bench)
    found = told(capsys, *words, "--unpinned")
    assert found["pinned"] is False
    assert told(capsys, "--resume", found["run"], *runs)["pinned"] is False
    # The flag alone marks nothing.
    pinned = ("--model", "planted:oracle", "--bench", bench.folder, "--limit", 2, *runs)
    assert told(capsys, *pinned, "--unpinned")["pinned"] is True


def test_only_dials_that_do_something(capsys, bench, runs):
    words = ("--model", "planted:oracle", "--bench", bench.folder, *runs)
    assert "resamples" in refused(capsys, *words, "--resamples", 400)
    assert "min-ratio-items" in refused(capsys, *words, "--min-ratio-items", 4)


# ---- bad input -------------------------------------------------------------------------------


def test_what_is_missing_or_unknown_is_one_line(capsys, bench, runs, tmp_path):
    folder = ("--bench", bench.folder)
    assert "--model: is missing" in refused(capsys, *folder, *runs)
    assert "--bench: is missing" in refused(capsys, "--model", "planted:oracle", *runs)
    assert "no such folder" in refused(
        capsys, "--model", "planted:oracle", "--bench", tmp_path / "none", *runs
    )
    assert "known: oracle" in refused(capsys, "--model", "planted:seer", *folder, *runs)
    assert "arms" in refused(
        capsys, "--model", "planted:oracle", *folder, "--arms", "sideways", *runs
    )
    assert not runs[1].exists()
    with Run.create("cowork", "play", {}, root=runs[1], stage="play") as other:
        pass
    assert "is a run of cowork play" in refused(capsys, "--resume", other.path, *runs)


def test_an_arm_that_no_pair_has(capsys, runs, tmp_path):
    pair = make_pair(tmp_path / "bare", 0).model_copy(update={"placebo": None, "perception": ()})
    write_jsonl(tmp_path / "bare" / "pairs.jsonl", [pair])
    words = ("--model", "planted:oracle", "--bench", tmp_path / "bare", *runs)
    assert "no pair can be asked in the arms placebo" in refused(
        capsys, *words, "--arms", "placebo"
    )
    code, out, err = call(capsys, *words, "--json")
    assert code == 0
    assert set(json.loads(out)["arms"]) == {"raw", "edited", "text"}
    assert "no pair of this bench can be asked in the arm placebo" in err


def test_a_picture_that_was_changed_is_found_before_any_call(
    capsys, runs, plain, monkeypatch, tmp_path
):
    own = make_bench(tmp_path / "own", 3)
    model = faulty(monkeypatch, own)
    path = own.folder / own.pairs[-1].edited.file
    good = path.read_bytes()
    path.write_bytes(good[:-40])
    words = ("--model", "x", "--bench", own.folder, *runs)
    assert str(path) in refused(capsys, *words)
    path.unlink()
    assert str(path) in refused(capsys, *words)
    assert not model.asked
    path.write_bytes(good)
    found = told(capsys, *words)
    # Pairs that changed are another bench; one that only moved is the same.
    moved = tmp_path / "moved"
    shutil.move(own.folder, moved)
    again = told(capsys, "--resume", found["run"], "--bench", moved, *runs)
    assert again["arms"] == found["arms"]
    write_jsonl(moved / "pairs.jsonl", own.pairs[:2])
    line = refused(capsys, "--resume", found["run"], "--bench", moved, *runs)
    assert "its pairs have changed since the run began" in line


def test_a_resume_with_other_settings_is_refused(capsys, bench, runs, plain):
    found = told(capsys, "--model", "planted:oracle", "--bench", bench.folder, *runs)
    again = ("--resume", found["run"], *runs)
    assert "model" in refused(capsys, *again, "--model", "planted:cached")
    assert "max_tokens" in refused(capsys, *again, "--max-tokens", 7)
    assert "arms" in refused(capsys, *again, "--arms", "raw")
    assert told(capsys, *again, "--retries", 3)["arms"] == found["arms"]


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "gemma3"])
def test_a_checkpoint_that_sees_answers_in_every_arm(capsys, runs, plain, tmp_path, kind):
    own = make_bench(tmp_path / "own", 2)
    folder = save_vision(tmp_path / "checkpoint", kind)
    words = ("--bench", own.folder, "--max-tokens", 4, "--min-coverage", 0, *runs)
    batch, single = (
        told(capsys, "--model", f"hf:{folder}?batch_size={size}", *words) for size in (5, 1)
    )
    assert batch["errors"] == 0
    assert batch["calls"] == 12
    texts = {id: reply.text for id, reply in responses(batch["run"]).items()}
    assert texts == {id: reply.text for id, reply in responses(single["run"]).items()}
    assert len({text for id, text in texts.items() if "/text/" not in id}) > 1


def test_a_checkpoint_without_eyes_says_so(capsys, bench, runs, plain):
    line = refused(capsys, "--model", "embedded:reasoner", "--bench", bench.folder, *runs)
    assert "text-only" in line


def test_help_does_not_wait_for_torch():
    code = (
        "import sys; from planish.methods.vfaith.running import run; "
        "print(sorted({'torch', 'transformers', 'PIL', 'openai', 'matplotlib'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def _png_chunk(kind, data):
    sum_ = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_)


def _file(form, mode="RGB", **options):
    stream = io.BytesIO()
    Image.new(mode, (64, 64)).save(stream, form, **options)
    return stream.getvalue()


def _giant():
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(60_001))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*each) for each in chunks)


def _deep():
    head = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(8 * 49))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(*each) for each in chunks)


def _turned():
    exif = Image.Exif()
    exif[274] = 6
    return _file("PNG", exif=exif)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda good: b"hello", "no PNG file"),
        (lambda good: good[: len(good) // 2], "cut off"),
        (lambda good: good[:-12], "cut off"),
        (lambda good: good[:200] + bytes([good[200] ^ 1]) + good[201:], "damaged"),
        (lambda good: _giant(), "too many pixels"),
        (lambda good: _file("JPEG", "CMYK"), "no PNG file"),
        (lambda good: _file("PNG", "L"), "no colours"),
        (lambda good: _file("PNG", "RGBA"), "transparent"),
        (lambda good: _turned(), "EXIF"),
        (lambda good: _deep(), "not RGB of 8 bits"),
    ],
)
def test_what_no_model_should_be_sent_is_refused_before_the_run_begins(
    capsys, runs, monkeypatch, tmp_path, data, why
):
    """A hand-made bench names its files by their true hash: what they hold is looked at."""
    own = make_bench(tmp_path / "own", 2)
    model = faulty(monkeypatch, own)
    pair = own.pairs[-1]
    bad = data((own.folder / pair.edited.file).read_bytes())
    (own.folder / pair.edited.file).write_bytes(bad)
    picture = pair.edited.model_copy(update={"sha256": hashlib.sha256(bad).hexdigest()})
    write_jsonl(
        own.folder / "pairs.jsonl", [own.pairs[0], pair.model_copy(update={"edited": picture})]
    )
    line = refused(capsys, "--model", "x", "--bench", own.folder, *runs)
    assert why in line
    assert pair.edited.file in line
    assert not model.asked
    assert not runs[1].exists()


def test_a_picture_that_is_swapped_during_a_run_is_not_sent(
    capsys, runs, plain, monkeypatch, tmp_path
):
    own = make_bench(tmp_path / "own", 3)
    last = own.folder / own.pairs[-1].raw.file
    good = last.read_bytes()
    monkeypatch.setattr(asking, "CHUNK", 6)

    def swap(model, key):
        if len(model.asked) == 1:
            last.write_bytes((own.folder / own.pairs[0].raw.file).read_bytes())

    faulty(monkeypatch, own, swap)
    words = ("--model", "x", "--bench", own.folder, *runs)
    line = refused(capsys, *words, "--json")
    assert f"{last}" in line
    assert "changed while it was in use" in line
    folder = only_run(runs)
    sent = {reply.pair_id for reply in responses(folder).values()}
    assert own.pairs[-1].pair_id not in sent
    last.write_bytes(good)
    faulty(monkeypatch, own)
    assert told(capsys, "--resume", folder, *runs)["coverage"] == 1


@pytest.mark.parametrize(
    ("mask", "box", "why"),
    [((64, 64), None, "the mask has 64 x 64 pixels"), (None, (5, 5, 300, 20), "not inside the")],
)
def test_a_mask_or_box_that_is_not_of_the_picture_is_refused(
    capsys, runs, monkeypatch, tmp_path, mask, box, why
):
    own = make_bench(tmp_path / "own", 2)
    model = faulty(monkeypatch, own)
    pair = own.pairs[-1]
    changes = {}
    if mask is not None:
        painted = Image.new("L", mask)
        painted.putpixel((3, 3), 255)
        file, digest = store(own.folder, "masks", painted)
        changes = {"mask": file, "mask_sha256": digest}
    if box is not None:
        changes["box"] = box
    bad = pair.model_copy(update={"cue": pair.cue.model_copy(update=changes)})
    write_jsonl(own.folder / "pairs.jsonl", [own.pairs[0], bad])
    assert why in refused(capsys, "--model", "x", "--bench", own.folder, *runs)
    assert not model.asked


def test_pairs_that_nobody_gated_are_told(capsys, runs, plain, tmp_path):
    own = make_bench(tmp_path / "own", 3)
    bare = [pair.model_copy(update={"checks": ()}) for pair in own.pairs[:2]]
    write_jsonl(own.folder / "pairs.jsonl", [*bare, own.pairs[2]])
    code, _, err = call(capsys, "--model", "planted:oracle", "--bench", own.folder, *runs)
    assert code == 0
    assert "2 of 3 pairs were never gated" in err
    with pytest.raises(SystemExit):
        main(["vfaith", "score", "--runs", str(runs[1]), "--resamples", "200", "--json"])
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert "2 of 3 pairs were never gated" in warning


def test_families_that_the_tiny_networks_never_learned_are_told(capsys, runs, plain, tmp_path):
    own = make_bench(tmp_path / "own", 2)
    write_jsonl(own.folder / "pairs.jsonl", [*own.pairs, make_pair(own.folder, 0, family="clocks")])
    words = ("--bench", own.folder, *runs)
    _, _, err = call(capsys, "--model", "embedded:viewer-seeing", *words)
    assert "1 of 3 pairs are of families that the tiny networks never learned (clocks)" in err
    _, _, err = call(capsys, "--model", "planted:oracle", *words)
    assert "never learned" not in err
