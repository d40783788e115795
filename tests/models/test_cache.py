from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.models import ScoringModel
from planish.models.base import Draw, StreamingModel
from planish.models.cache import CachedModel
from planish.models.keys import chat_key, reply_key
from planish.models.reply_file import ReplyFile, _Places
from planish.models.scripted import ScriptedModel
from planish.records import (
    BadInput,
    Completion,
    Failure,
    Message,
    Sampling,
    TokenScores,
    Usage,
    user,
)


class Counting:
    """Answers with its seed and its number, and remembers what it was asked for."""

    name, revision = "counting", "1"

    def __init__(self, tells=True, failing=()):
        self.calls = []
        self.tells, self.failing = tells, set(failing)

    def generate(self, chats, sampling, *, watcher=None):
        self.calls.append(([chat[-1].content for chat in chats], sampling.n, sampling.seed))
        results = []
        for i, chat in enumerate(chats):
            results.append([])
            for sample in range(sampling.n):
                text = chat[-1].content
                failure = Failure(attempt=1, kind="http 500")
                if text in self.failing:
                    completion = Completion(text="", finish="error", failures=(failure,))
                    if watcher and self.tells:
                        watcher.failed(i, sample, failure)
                else:
                    seed = None if sampling.seed is None else sampling.seed + sample
                    usage = Usage(prompt_tokens=1, completion_tokens=2, seconds=0.5)
                    completion = Completion(text=f"{text} {seed}", usage=usage)
                results[-1].append(completion)
                if watcher and self.tells:
                    watcher.completed(i, sample, completion)
        return results


class Scoring(Counting):
    def logprobs(self, chats, replies):
        self.calls.append(("logprobs", list(replies)))
        return [TokenScores(token_ids=(1,), logprobs=(-float(len(reply)),)) for reply in replies]

    def label_logprobs(self, chats, labels, prefix="[["):
        return [tuple(-float(len(prefix + label)) for label in labels) for _ in chats]


class Hearing:
    def __init__(self):
        self.replies, self.failures = [], []

    def completed(self, chat, sample, completion):
        self.replies.append((chat, sample, completion.text))

    def failed(self, chat, sample, failure):
        self.failures.append((chat, sample, failure.kind))


def rows(path, kind=None):
    found = [json.loads(line) for line in path.read_text().splitlines()[1:]]
    return [row for row in found if kind in (None, row["kind"])]


def texts(results):
    return [[reply.text for reply in replies] for replies in results]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.jsonl"


CHATS = [user("a"), user("b"), user("c")]


@pytest.mark.parametrize("tells", [True, False])
def test_the_second_time_nothing_is_asked_for(path, tells):
    sampling = Sampling(n=2, seed=5)
    inner = Counting(tells)
    with CachedModel(inner, path) as model:
        first = model.generate(CHATS, sampling)
        assert (model.hits, model.misses) == (0, 6)
    assert inner.calls == [(["a", "b", "c"], 2, 5)]
    other = Counting(tells)
    with CachedModel(other, path) as model:
        assert model.generate(CHATS[::-1], sampling) == first[::-1]
        assert (model.hits, model.misses) == (6, 0)
    assert other.calls == []
    assert texts(first) == [["a 5", "a 6"], ["b 5", "b 6"], ["c 5", "c 6"]]


def test_more_samples_keep_the_first_ones(path):
    inner = Counting()
    with CachedModel(inner, path) as model:
        model.generate(CHATS[:2], Sampling(n=1, seed=5))
        three = model.generate(CHATS, Sampling(n=3, seed=5))
    assert texts(three) == [[f"{c} {s}" for s in (5, 6, 7)] for c in "abc"]
    assert inner.calls[1:] == [(["a", "b"], 2, 6), (["c"], 3, 5)]


def test_a_gap_is_filled_by_a_shifted_seed(path):
    inner = Counting()
    with CachedModel(inner, path) as model:
        model.generate(CHATS[:1], Sampling(seed=0))
        model.generate(CHATS[:1], Sampling(seed=2))
        model.generate(CHATS[:1], Sampling(seed=5))
        inner.calls.clear()
        hearing = Hearing()
        found = model.generate(CHATS[:1], Sampling(n=6, seed=0), watcher=hearing)
    assert inner.calls == [(["a"], 1, 1), (["a"], 2, 3)]
    assert texts(found) == [[f"a {seed}" for seed in range(6)]]
    assert sorted(hearing.replies) == [(0, i, f"a {i}") for i in range(6)]


def test_without_seeds_the_missing_draws_are_just_more_draws(path):
    inner = Counting()
    with CachedModel(inner, path) as model:
        model.generate(CHATS[:1], Sampling(n=2))
        model.generate(CHATS[:1], Sampling(n=5))
        assert inner.calls == [(["a"], 2, None), (["a"], 3, None)]
        # With a seed, it is another matter altogether.
        model.generate(CHATS[:1], Sampling(n=2, seed=0))
        assert (model.hits, model.misses) == (2, 7)


def test_a_model_whose_draws_hang_on_their_number_is_not_shifted(path):
    script = ScriptedModel("s", lambda chat, seed, sample: f"draw {sample}")
    with CachedModel(script, path) as model:
        model.generate(CHATS[:1], Sampling(n=1))
        found = model.generate(CHATS[:1], Sampling(n=3))
        assert texts(found) == [["draw 0", "draw 1", "draw 2"]]
        assert (model.hits, model.misses) == (1, 3)
    assert len(rows(path)) == 3


def test_equal_calls_in_one_batch_are_made_once(path):
    inner, hearing = Counting(), Hearing()
    with CachedModel(inner, path) as model:
        found = model.generate(
            [user("a"), user("b"), user("a")], Sampling(temperature=0), watcher=hearing
        )
        assert (model.hits, model.misses) == (1, 2)
    assert inner.calls == [(["a", "b"], 1, None)]
    assert texts(found) == [["a None"], ["b None"], ["a None"]]
    assert sorted(hearing.replies) == [(0, 0, "a None"), (1, 0, "b None"), (2, 0, "a None")]


def test_every_part_of_the_key_counts(path):
    inner = Counting()
    with CachedModel(inner, path) as model:
        model.generate(CHATS, Sampling())
        for sampling in (
            Sampling(temperature=0.5),
            Sampling(top_p=0.5),
            Sampling(max_tokens=7),
            Sampling(stop=("x",)),
            Sampling(seed=0),
            Sampling(logprobs=True),
        ):
            model.generate(CHATS, sampling)
        inner.revision = "2"
        model.generate(CHATS, Sampling())
        inner.name = "other"
        model.generate(CHATS, Sampling())
        assert (model.hits, model.misses) == (0, 27)


@pytest.mark.parametrize("tells", [True, False])
def test_errors_are_not_kept_but_every_failed_attempt_is(path, tells):
    inner, hearing = Counting(tells, failing=["b"]), Hearing()
    with CachedModel(inner, path) as model:
        found = model.generate(CHATS, Sampling(), watcher=hearing)
        assert [replies[0].finish for replies in found] == ["stop", "error", "stop"]
        assert [row["kind"] for row in rows(path)] == ["reply", "failure", "reply"]
        assert rows(path, "failure")[0]["failure"]["kind"] == "http 500"
        assert hearing.failures == [(1, 0, "http 500")] * tells
        inner.failing.clear()
        model.generate(CHATS, Sampling())
    assert inner.calls[1][0] == ["b"]
    assert len(rows(path, "reply")) == 3


def test_a_failure_is_on_disk_before_the_caller_hears_of_it(path):
    class Looking(Hearing):
        def failed(self, chat, sample, failure):
            assert len(rows(path, "failure")) == 1

        def completed(self, chat, sample, completion):
            super().completed(chat, sample, completion)
            if completion.finish != "error":
                assert len(rows(path, "reply")) == len(self.replies)

    with CachedModel(Counting(failing=["c"]), path) as model:
        model.generate(CHATS, Sampling(), watcher=Looking())


def test_odd_texts_come_back_as_they_were(path):
    odd = ["\u2028 line", "half a pair \ud83d", "\x00", "a\nb", '"', "结论", ""]
    script = ScriptedModel(
        "s",
        lambda chat, seed, sample: Completion(
            text=odd[int(chat[0].content)], logprobs=(-1.5, float("-inf")), token_ids=(3, 4)
        ),
    )
    chats = [user(str(i)) for i in range(len(odd))]
    with CachedModel(script, path) as model:
        first = model.generate(chats, Sampling())
    with CachedModel(script, path) as model:
        assert model.repaired is None
        assert model.generate(chats, Sampling()) == first
        assert model.misses == 0
    assert [reply[0].text for reply in first] == odd


# ---- scores ----------------------------------------------------------------------------------


def test_scores_only_where_the_model_scores(path, tmp_path):
    inner = Scoring()
    with CachedModel(inner, path) as model, CachedModel(Counting(), tmp_path / "d.jsonl") as plain:
        assert isinstance(model, ScoringModel)
        assert isinstance(model, CachedModel)
        assert not isinstance(plain, ScoringModel)
        first = model.logprobs([user("a"), user("a"), user("b")], ["x", "yy", "x"])
        assert [scores.total for scores in first] == [-1, -2, -1]
        again = model.logprobs([user("a"), user("b"), user("b")], ["yy", "x", "zzz"])
        assert [scores.total for scores in again] == [-2, -1, -3]
        assert (model.hits, model.misses) == (2, 4)
        assert model.label_logprobs([user("a")], ("A", "tie"), "") == [(-1, -3)]
    assert inner.calls == [("logprobs", ["x", "yy", "x"]), ("logprobs", ["zzz"])]


# ---- crashes ---------------------------------------------------------------------------------


def filled(path, count=3):
    with CachedModel(Counting(), path) as model:
        model.generate([user(str(i)) for i in range(count)], Sampling())
    return path.read_bytes()


@pytest.mark.parametrize("cut", [1, 2, 20, 300])
def test_a_torn_last_line_is_removed_and_told(path, cut):
    data = filled(path)
    lines = data.splitlines(keepends=True)
    cut = min(cut, len(lines[-1]) - 1)
    path.write_bytes(data[:-cut])
    inner = Counting()
    with CachedModel(inner, path) as model:
        assert "cache.jsonl" in model.repaired
        found = model.generate([user(str(i)) for i in range(3)], Sampling())
        # A line that lacks nothing but its newline was paid for, and stays.
        assert model.misses == (0 if cut == 1 else 1)
    assert texts(found) == [["0 None"], ["1 None"], ["2 None"]]
    assert path.read_bytes().splitlines() == data.splitlines()


@given(cut=st.integers(0, 2000))
def test_any_cut_costs_at_most_the_last_line(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "cache.jsonl"
    data = filled(path)
    cut = min(cut, len(data))
    path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n")
    with CachedModel(Counting(), path) as model:
        model.generate([user(str(i)) for i in range(3)], Sampling())
        at_line_end = data[cut : cut + 1] == b"\n"
        assert model.hits == max(0, whole - 1 + at_line_end)
        assert (model.repaired is not None) == (data[:cut][-1:] not in (b"", b"\n"))
    assert path.read_bytes() == data


def test_a_last_line_of_zeros_is_removed(path):
    data = filled(path)
    for zeros in (b"\x00" * 50, b"\x00" * 50 + b"\n", b'{"kind": "reply", \n'):
        path.write_bytes(data + zeros)
        with CachedModel(Counting(), path) as model:
            assert "removed" in model.repaired
        assert path.read_bytes() == data


@pytest.mark.parametrize("broken", [b"{", b"[]", b"null", b'{"kind": "reply"}', b'{"key": "00"}',
                                    b'{"kind": "reply", "key": "xy"}', b"\xff", b""])  # fmt: skip
def test_a_broken_line_in_the_middle_is_bad_input(path, broken):
    lines = filled(path).splitlines(keepends=True)
    before = b"".join([*lines[:2], broken + b"\n", *lines[2:]])
    path.write_bytes(before)
    with pytest.raises(BadInput) as caught:
        CachedModel(Counting(), path)
    assert f"{path}:3" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"hello", b'{"id": 1}\n{"id": 2', b"\n", b"\x00\x01", b'{"kinds']
)
def test_another_file_is_never_mended(path, content):
    path.write_bytes(content)
    with pytest.raises(BadInput, match="not a reply cache"):
        CachedModel(Counting(), path)
    assert path.read_bytes() == content


def test_a_folder_and_a_compressed_file_are_bad_input(tmp_path):
    for path in (tmp_path, tmp_path / "c.jsonl.gz", Path("/dev/null/c.jsonl")):
        with pytest.raises(BadInput):
            CachedModel(Counting(), path)


def test_a_closed_cache_writes_no_more(path):
    model = CachedModel(Counting(), path)
    model.close()
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.generate(CHATS, Sampling())


# ---- one process at a time -------------------------------------------------------------------


def test_a_second_model_on_the_file_is_told_who_has_it(path, tmp_path):
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with CachedModel(Counting(), path):
        for other in (path, link):
            with pytest.raises(BadInput, match=f"in use by process {os.getpid()}"):
                CachedModel(Counting(), other)
    with CachedModel(Counting(), path):
        pass
    assert sorted(tmp_path.iterdir()) == [path, link]


def test_the_lock_goes_with_the_model_and_with_the_process(path):
    code = (
        "import sys; from planish.models import load\n"
        f"model = load('scripted:tie', cache={str(path)!r})\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(BadInput, match=f"in use by process {process.pid}"):
            CachedModel(Counting(), path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    model = CachedModel(Counting(), path)
    del model
    CachedModel(Counting(), path).close()


# ---- a full disk -----------------------------------------------------------------------------


def test_a_full_disk_stops_the_run_and_keeps_what_was_whole(path):
    code = f"""
import resource
from planish.models.cache import CachedModel
from planish.models.scripted import ScriptedModel
from planish.records import Sampling, user

script = ScriptedModel("s", lambda chat, seed, sample: "x" * 300)
with CachedModel(script, {str(path)!r}) as model:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    try:
        model.generate([user(str(i)) for i in range(50)], Sampling())
    except OSError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert str(path) in done.stdout
    assert "every finished" in done.stdout
    data = path.read_bytes()
    assert data.endswith(b"}\n")
    kept = len(rows(path))
    assert 0 < kept < 50
    script = ScriptedModel("s", lambda chat, seed, sample: "x" * 300)
    with CachedModel(script, path) as model:
        assert model.repaired is None
        model.generate([user(str(i)) for i in range(50)], Sampling())
        assert (model.hits, model.misses) == (kept, 50 - kept)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("full_at", [1, 40])
def test_a_write_that_fails_half_way_leaves_whole_lines(path, monkeypatch, full_at):
    write = os.write
    with CachedModel(Counting(), path) as model:
        model.generate([user("before")], Sampling())
        before = path.read_bytes()

        def failing(handle, data):
            if len(data) > full_at:
                return write(handle, data[:full_at]) if full_at > 1 else _raise()
            return write(handle, data)

        def _raise():
            raise OSError(5, "Input/output error")

        def twice(handle, data, seen=[]):  # noqa: B006
            seen.append(1)
            if len(seen) > 1 or full_at == 1:
                _raise()
            return failing(handle, data)

        monkeypatch.setattr(os, "write", twice)
        with pytest.raises(OSError, match="every finished reply was kept"):
            model.generate(CHATS, Sampling())
        monkeypatch.undo()
        assert path.read_bytes() == before
        model.generate(CHATS, Sampling())
    assert len(rows(path)) == 4


# ---- keys ------------------------------------------------------------------------------------

samplings = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1.0]),
    top_p=st.sampled_from([0.5, 1.0]),
    max_tokens=st.integers(1, 3),
    n=st.integers(1, 4),
    stop=st.sampled_from([(), ("a",), ("a", "b"), ("ab",)]),
    seed=st.none() | st.integers(0, 3),
)
identities = st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3))


@given(identities, samplings, st.integers(0, 3), identities, samplings, st.integers(0, 3))
def test_keys_are_equal_exactly_where_the_draws_are(who1, sampling1, i, who2, sampling2, j):
    def meaning(who, sampling, sample):
        decoding = sampling.model_copy(update={"n": 1, "seed": None})
        seed = sampling.seed
        return who, decoding, (None, sample) if seed is None else (seed + sample, 0)

    key1 = reply_key(*who1, sampling1, i)
    key2 = reply_key(*who2, sampling2, j)
    assert (key1 == key2) == (meaning(who1, sampling1, i) == meaning(who2, sampling2, j))
    assert len(bytes.fromhex(key1)) == 32


messages = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant"]),
    content=st.text(max_size=5),
    images=st.lists(st.sampled_from(["x.png", "data:,x"]), max_size=2).map(tuple),
)
chats = st.lists(messages, max_size=3).map(tuple)


@given(chats, chats)
def test_chats_share_a_key_only_with_themselves(chat1, chat2):
    assert (chat_key(chat1) == chat_key(chat2)) == (chat1 == chat2)


def test_an_image_counts_by_its_bytes(tmp_path):
    def key(name, data):
        (tmp_path / name).write_bytes(data)
        return chat_key((Message(role="user", content="?", images=(str(tmp_path / name),)),))

    assert key("a.png", b"1") == key("b.png", b"1") != key("a.png", b"2")


# ---- streaming -------------------------------------------------------------------------------


class Streaming(Counting):
    """Takes draws as they come, a few under way at once, and answers the last of them first."""

    def stream(self, draws, sampling, *, watcher):
        under_way = []
        for number, draw in enumerate(draws):
            self.calls.append((draw.chat[-1].content, draw.sample))
            under_way.append((number, draw))
            if len(under_way) == 3:
                self._answer(under_way, sampling, watcher)
        self._answer(under_way, sampling, watcher)

    def _answer(self, under_way, sampling, watcher):
        while under_way:
            number, draw = under_way.pop()
            text = draw.chat[-1].content
            failure = Failure(attempt=1, kind="http 500")
            if text in self.failing:
                watcher.failed(number, draw.sample, failure)
                lost = Completion(text="", finish="error", failures=(failure,))
                watcher.completed(number, draw.sample, lost)
            else:
                reply = Completion(text=f"{text} {sampling.seed + draw.sample}")
                watcher.completed(number, draw.sample, reply)


def test_what_is_streamed_is_kept_and_an_equal_draw_waits(path):
    asked = ("a0", "b0", "a1", "b0", "c0", "a0")
    draws = [Draw(user(text), int(sample)) for text, sample in asked]
    inner, heard = Streaming(failing={"c"}), Hearing()
    with CachedModel(inner, path) as model:
        assert isinstance(model, StreamingModel)
        model.stream(iter(draws), Sampling(seed=5), watcher=heard)
        assert (model.hits, model.misses) == (2, 4)
    assert inner.calls == [("a", 0), ("b", 0), ("a", 1), ("c", 0)]
    expected = {(0, 0, "a 5"), (1, 0, "b 5"), (2, 1, "a 6"), (3, 0, "b 5"), (4, 0, ""),
                (5, 0, "a 5")}  # fmt: skip
    assert set(heard.replies) == expected
    assert len(heard.replies) == 6
    assert heard.failures == [(4, 0, "http 500")]
    assert [row["sample"] for row in rows(path, "reply")] == [1, 0, 0]
    # Another time only what was lost is asked for; both ways of asking share the file.
    again = Streaming()
    with CachedModel(again, path) as model:
        model.stream(iter(draws), Sampling(seed=5), watcher=Hearing())
        assert texts(model.generate([user("a")], Sampling(n=2, seed=5))) == [["a 5", "a 6"]]
    assert again.calls == [("c", 0)]


def test_a_model_that_does_not_stream_has_a_cache_that_does_not(path):
    with CachedModel(Counting(), path) as model:
        assert not isinstance(model, StreamingModel)


def test_places_of_many_keys_are_found_again():
    places = _Places()
    keys = [hashlib.sha256(str(number).encode()).digest() for number in range(5_000)]
    for place, key in enumerate(keys):
        places.put(key, place)
    places.put(keys[7], 99_999)
    assert places.find(keys[7]) == 99_999
    assert all(places.find(key) == place for place, key in enumerate(keys) if place != 7)
    assert places.find(hashlib.sha256(b"none").digest()) is None


def test_a_key_that_shares_its_beginning_is_not_taken_for_another(path):
    one, two = "0" * 16 + "1" * 48, "0" * 16 + "2" * 48
    file = ReplyFile(path)
    file.append("reply", one, {}, Completion(text="one"))
    assert file.read(one, "completion", Completion).text == "one"
    assert file.read(two, "completion", Completion) is None
    file.close()
