from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter

import pytest

from planish.models.base import Draw, LanguageModel, ScoringModel, StreamingModel, Watcher
from planish.models.endpoint import EndpointModel
from planish.records import BadInput, Message, Sampling, user
from support.server import BROKEN, reply_to


def model_on(server, **options):
    options = {"backoff": 0.01, "timeout": 5.0, "api_key": "k"} | options
    return EndpointModel("m", server.url, **options)


def expected(text, seed=None):
    return reply_to([{"role": "user", "content": text}], seed)


def chats(count):
    return [user(f"question {i}") for i in range(count)]


class Hearing(Watcher):
    def __init__(self):
        self.replies, self.failures, self.threads = Counter(), [], set()

    def completed(self, chat, sample, completion):
        self.replies[chat, sample] += 1
        self.threads.add(threading.get_ident())

    def failed(self, chat, sample, failure):
        self.failures.append((chat, sample, failure))
        self.threads.add(threading.get_ident())


def test_replies_come_in_the_order_of_the_chats(chat_server):
    server = chat_server()
    model = model_on(server)
    hearing = Hearing()
    found = model.generate(chats(50), Sampling(n=2, seed=3), watcher=hearing)
    for i, replies in enumerate(found):
        assert [reply.text for reply in replies] == [
            expected(f"question {i}", seed) for seed in (3, 4)
        ]
        for reply in replies:
            assert (reply.finish, reply.failures) == ("stop", ())
            assert reply.usage.prompt_tokens > 0
            assert reply.usage.completion_tokens > 0
            assert reply.usage.seconds > 0
    assert server.count() == server.count("ok") == 100
    assert hearing.replies == {(i, s): 1 for i in range(50) for s in range(2)}
    assert hearing.threads == {threading.get_ident()}
    assert {row["authorization"] for row in server.log()} == {"Bearer k"}
    assert isinstance(model, LanguageModel)
    assert not isinstance(model, ScoringModel)


def test_a_stream_takes_a_draw_when_there_is_room_and_keeps_none(chat_server):
    server = chat_server(delay=0.005, faults={"500": 0.1, "drop": 0.1})
    model = model_on(server, in_flight=4)
    assert isinstance(model, StreamingModel)
    hearing, texts, ahead = Hearing(), {}, []

    class Keeping(Watcher):
        def completed(self, chat, sample, completion):
            texts[chat, sample] = completion.text
            hearing.completed(chat, sample, completion)

    def draws():
        for number in range(60):
            ahead.append(number - len(texts))
            yield Draw(user(f"question {number // 2}"), number % 2)

    model.stream(draws(), Sampling(seed=3), watcher=Keeping())
    assert texts == {
        (number, number % 2): expected(f"question {number // 2}", 3 + number % 2)
        for number in range(60)
    }
    assert set(hearing.replies.values()) == {1}
    # Under way, or waiting for another try; never the whole of it.
    assert max(ahead) <= 5 * 4
    assert server.count("ok") == 60
    model.stream(iter(()), Sampling(), watcher=Watcher())


def test_an_error_of_whoever_makes_the_draws_ends_the_stream(chat_server):
    def draws():
        yield Draw(user("one"))
        raise BadInput("gone")

    with pytest.raises(BadInput, match="gone"):
        model_on(chat_server()).stream(draws(), Sampling(), watcher=Watcher())


def test_no_more_calls_at_once_than_in_flight(chat_server):
    server = chat_server(delay=0.02)
    model_on(server, in_flight=5).generate(chats(40), Sampling())
    assert max(row["busy"] for row in server.log()) == 5


def test_settings_reach_the_server(chat_server):
    server = chat_server()
    chat = (*user("Which?"), Message(role="assistant", content="[["))
    sampling = Sampling(temperature=0, max_tokens=1, logprobs=True)
    [[reply]] = model_on(server).generate([chat], sampling)
    assert (reply.text, reply.finish, reply.logprobs) == ("Reply", "length", (-0.5,))
    body = server.log()[0]["body"]
    assert body["temperature"] == 0
    assert body["continue_final_message"] is True
    assert "n" not in body


def test_an_empty_batch(chat_server):
    server = chat_server()
    assert model_on(server).generate([], Sampling()) == []
    assert server.count() == 0


# ---- faults ------------------------------------------------------------------------------------

KINDS = {
    "408": "http 408",
    "409": "http 409",
    "429": "http 429",
    "429-date": "http 429",
    "500": "http 500",
    "503": "http 503",
    "drop": "connection dropped",
    "short": "connection dropped",
    "hang": "timeout",
    "trickle": "timeout",
    "empty": "no choices",
    "null": "no content",
    "truncated": "broken JSON",
    "latin": "not UTF-8",
    "html": "a web page, not JSON",
    "list": "not a chat completion",
}


@pytest.mark.parametrize("fault", KINDS)
def test_every_fault_is_recorded_and_tried_again(chat_server, fault):
    server = chat_server(script=(fault, fault), retry_after=0.1)
    hearing = Hearing()
    model = model_on(server, timeout=0.3 if fault in ("hang", "trickle") else 5.0)
    found = model.generate(chats(3), Sampling(), watcher=hearing)
    for i, [reply] in enumerate(found):
        assert (reply.text, reply.finish) == (expected(f"question {i}"), "stop")
        assert [failure.kind for failure in reply.failures] == [KINDS[fault]] * 2
        assert [failure.attempt for failure in reply.failures] == [1, 2]
    assert server.count() == 9
    assert len(hearing.failures) == 6
    assert {*BROKEN} < {*KINDS}


def test_the_wait_that_the_server_asks_for_is_kept(chat_server):
    server = chat_server(script=("429",), retry_after=0.4)
    [[reply]] = model_on(server).generate(chats(1), Sampling())
    first, second = (row["time"] for row in server.log())
    assert second - first >= 0.4
    assert reply.failures[0].retry_after == 0.4


def test_others_go_on_while_one_waits(chat_server):
    # One slot: a waiting call that kept it would let nobody else be served.
    server = chat_server(faults={"429": 0.3}, retry_after=0.5, seed=3)
    model_on(server, in_flight=1).generate(chats(20), Sampling())
    log = server.log()
    first_fault = next(i for i, row in enumerate(log) if row["kind"] == "429")
    assert [row["attempt"] for row in log[first_fault + 1 : first_fault + 4]] == [1, 1, 1]
    assert server.count("ok") == 20


def test_after_the_last_retry_the_call_is_an_error_and_the_batch_goes_on(chat_server):
    server = chat_server(faults={"500": 0.5}, seed=1)
    found = model_on(server, retries=1).generate(chats(40), Sampling())
    lost = [reply for [reply] in found if reply.finish == "error"]
    assert 0 < len(lost) < 40
    for reply in lost:
        assert reply.text == ""
        assert [failure.kind for failure in reply.failures] == ["http 500"] * 2
        assert reply.failures[0].message == "planted 500"
    assert server.count() == 40 + sum(bool(reply.failures) for [reply] in found)


@pytest.mark.parametrize("status", ["400", "422"])
def test_a_refused_request_is_not_sent_again(chat_server, status):
    server = chat_server(faults={status: 0.3})
    found = model_on(server).generate(chats(40), Sampling())
    refused = [reply for [reply] in found if reply.finish == "error"]
    assert len(refused) == server.count(status) > 0
    assert all(len(reply.failures) == 1 for reply in refused)
    assert server.count() == 40


def test_a_request_that_is_always_refused_stops_the_run(chat_server):
    server = chat_server(faults={"400": 1.0})
    with pytest.raises(BadInput, match=r"refuses every call alike .*planted 400"):
        model_on(server, in_flight=4).generate(chats(100), Sampling())
    assert server.count() < 30
    # A few refusals may be a few bad items.
    found = model_on(server).generate(chats(5), Sampling())
    assert [reply.finish for [reply] in found] == ["error"] * 5


@pytest.mark.parametrize(
    ("fault", "advice"),
    [
        ("401", "OPENAI_API_KEY"),
        ("402", "no credit"),
        ("403", "may use the model 'm'"),
        ("404", "model's name 'm'"),
        ("quota", "no credit"),
    ],
)
def test_what_no_call_can_survive_stops_the_run_at_once(chat_server, fault, advice):
    server = chat_server(faults={fault: 1.0})
    hearing = Hearing()
    with pytest.raises(BadInput) as caught:
        model_on(server, in_flight=4).generate(chats(100), Sampling(), watcher=hearing)
    line = str(caught.value)
    assert advice in line
    assert f"planted {fault}" in line
    assert server.url in line
    assert "\n" not in line
    assert server.count() <= 8
    assert hearing.failures


def test_a_forbidden_item_among_good_ones_is_an_item(chat_server):
    server = chat_server(faults={"403": 0.2})
    model = model_on(server)
    model._answered = True
    found = model.generate(chats(30), Sampling())
    assert sum(reply.finish == "error" for [reply] in found) == server.count("403") > 0


def test_a_wrong_path_is_told(chat_server):
    server = chat_server()
    model = EndpointModel("m", server.url + "/v2", api_key="k")
    with pytest.raises(BadInput, match="it often ends in /v1"):
        model.generate(chats(3), Sampling())


def test_nobody_there_is_told_after_every_attempt():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        model = EndpointModel("m", f"http://127.0.0.1:{port}/v1", retries=2, backoff=0.01)
        hearing = Hearing()
        with pytest.raises(BadInput) as caught:
            model.generate(chats(100), Sampling(), watcher=hearing)
    assert f"nobody answers at http://127.0.0.1:{port}/v1 after 3 attempts" in str(caught.value)
    assert {failure.kind for _, _, failure in hearing.failures} == {"no connection"}
    assert max(failure.attempt for _, _, failure in hearing.failures) == 3


def test_a_page_that_is_no_api_is_told(chat_server):
    server = chat_server(faults={"html": 1.0})
    with pytest.raises(BadInput, match="web page, not as an API"):
        model_on(server, retries=1).generate(chats(5), Sampling())


def test_a_server_that_dies_later_costs_only_what_is_left(chat_server):
    server = chat_server()
    model = model_on(server, retries=1)
    assert model.generate(chats(3), Sampling())[0][0].finish == "stop"
    server.kill()
    found = model.generate(chats(3), Sampling())
    assert [reply.finish for [reply] in found] == ["error"] * 3


def test_a_server_that_comes_back_is_used_again(chat_server):
    server = chat_server()
    server.kill()

    class Reviving(Hearing):
        def failed(self, chat, sample, failure):
            super().failed(chat, sample, failure)
            if len(self.failures) == 3:
                chat_server(port=server.port)

    found = model_on(server).generate(chats(3), Sampling(), watcher=Reviving())
    assert [reply.text for [reply] in found] == [expected(f"question {i}") for i in range(3)]


FAULTS = {
    "429": 0.06, "500": 0.04, "503": 0.02, "drop": 0.05, "short": 0.04, "empty": 0.04,
    "null": 0.03, "truncated": 0.05, "latin": 0.05, "html": 0.02, "list": 0.02, "408": 0.01,
}  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
def test_at_random_faults_no_case_is_lost_or_doubled(chat_server, seed):
    server = chat_server(delay=0.01, faults=FAULTS, seed=seed)
    hearing = Hearing()
    model = model_on(server, retries=12, backoff=0.0002)
    found = model.generate(chats(300), Sampling(), watcher=hearing)
    assert [reply.text for [reply] in found] == [expected(f"question {i}") for i in range(300)]
    assert hearing.replies == {(i, 0): 1 for i in range(300)}
    log = server.log()
    assert Counter(row["kind"] for row in log)["ok"] == 300
    planted = Counter(KINDS[row["kind"]] for row in log if row["kind"] != "ok")
    assert sum(planted.values()) > 80
    assert planted == Counter(failure.kind for _, _, failure in hearing.failures)
    assert planted == Counter(failure.kind for [reply] in found for failure in reply.failures)
    heard = {(i, failure.attempt) for i, _, failure in hearing.failures}
    assert heard == {(i, f.attempt) for i, [reply] in enumerate(found) for f in reply.failures}


def test_a_server_that_refuses_everybody_is_not_hammered_with_the_whole_batch(chat_server):
    server = chat_server(faults={"503": 1.0})

    class Enough(Hearing):
        def failed(self, chat, sample, failure):
            super().failed(chat, sample, failure)
            if len(self.failures) == 100:
                raise RuntimeError("enough")

    hearing = Enough()
    with pytest.raises(RuntimeError, match="enough"):
        model_on(server, in_flight=4, retries=1000, backoff=0.001).generate(
            chats(1000), Sampling(), watcher=hearing
        )
    assert len({chat for chat, _, _ in hearing.failures}) <= 5 * 4


# ---- where it runs -----------------------------------------------------------------------------


def test_images_are_looked_for_before_anything_is_paid(chat_server):
    server = chat_server()
    chat = (Message(role="user", content="?", images=("no-such.png",)),)
    with pytest.raises(BadInput, match=r"no-such\.png"):
        model_on(server).generate([*chats(5), chat], Sampling())
    assert server.count() == 0


def test_from_a_thread_and_from_inside_an_event_loop(chat_server):
    server = chat_server()
    model = model_on(server)
    found = []
    thread = threading.Thread(target=lambda: found.extend(model.generate(chats(2), Sampling())))
    thread.start()
    thread.join()

    async def notebook():
        return model.generate(chats(2), Sampling())

    for replies in (found, asyncio.run(notebook())):
        assert [reply.text for [reply] in replies] == [expected(f"question {i}") for i in range(2)]
    assert server.count("ok") == 4


def test_a_watcher_that_raises_stops_the_batch_with_its_own_error(chat_server):
    server = chat_server(delay=0.01)

    class Full(Watcher):
        def completed(self, chat, sample, completion):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        model_on(server, in_flight=4).generate(chats(100), Sampling(), watcher=Full())
    assert server.count() <= 8


def test_the_waits_are_the_same_every_time_and_differ_between_calls(chat_server):
    server = chat_server()
    model = model_on(server)
    from planish.models.endpoint import _Job
    from planish.records import Failure

    def wait(chat, attempt, retry_after=None):
        failures = [Failure(attempt=attempt, kind="http 500", retry_after=retry_after)]
        return model._wait(_Job(chat, 0, failures))

    assert wait(1, 1) == wait(1, 1) != wait(2, 1)
    assert all(0.005 * 3**k <= wait(1, k + 1) <= 0.01 * 3**k for k in range(7))
    assert wait(1, 1000) <= 30
    assert 7 <= wait(1, 1, retry_after=7) <= 7.01
    assert wait(1, 1, retry_after=1e9) <= 121


def test_a_key_that_is_none_is_told(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-\u2028x")
    with pytest.raises(BadInput, match="OPENAI_API_KEY"):
        EndpointModel("m", "http://h/v1")
