"""A client process that is killed, stopped or starved, and what the next one finds."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest

from planish.models import load
from planish.records import Sampling, user
from support.server import reply_to

COUNT = 300
IN_FLIGHT = 32

CLIENT = f"""
import sys
from planish.models import load
from planish.records import Sampling, user

model = load(sys.argv[1] + "?retries=20&in_flight={IN_FLIGHT}", cache=sys.argv[2])
print("ready", model.repaired, flush=True)
try:
    found = model.generate([user(f"question {{i}}") for i in range({COUNT})], Sampling())
except KeyboardInterrupt:
    print("stopped", flush=True)
    sys.exit(130)
print("done", sum(reply.finish == "stop" for [reply] in found), model.hits, flush=True)
"""


@contextlib.contextmanager
def client(server, cache):
    """A process that asks the server for every reply that the cache does not hold."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, f"openai:m@{server.url}", str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def rows(cache, kind):
    if not cache.exists():
        return []
    lines = cache.read_bytes().split(b"\n")[1:-1]
    return [row for line in lines if (row := json.loads(line))["kind"] == kind]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_after_a_kill_no_finished_call_is_paid_twice(chat_server, tmp_path, seed):
    dice = random.Random(seed)
    faults = {"429": 0.03, "500": 0.03, "drop": 0.02, "latin": 0.02}
    server = chat_server(delay=0.03, faults=faults, seed=seed)
    cache = tmp_path / "cache.jsonl"
    kills = 2
    for round_ in range(kills):
        goal = dice.randrange(5, 120) + 120 * round_
        with client(server, cache) as process:
            wait_for(lambda goal=goal: len(rows(cache, "reply")) >= goal)
            process.send_signal(signal.SIGKILL)
            process.wait()
    torn = dice.randrange(1, 50)
    cache.write_bytes(cache.read_bytes() + b'{"kind": "reply", "key": "' + b"0" * torn)
    kept = len(rows(cache, "reply"))
    time.sleep(0.1)  # what was in flight is answered, or found to have nobody to be answered to
    paid_before = server.count("ok")
    assert kept <= paid_before <= kept + kills * IN_FLIGHT
    with client(server, cache) as process:
        out, err = process.communicate(timeout=100)
    assert err == ""
    ready, done = out.splitlines()
    assert ready.startswith("ready cache.jsonl: removed a torn last line")
    assert done == f"done {COUNT} {kept}"
    # Not one call of the last run was for a reply that was there.
    assert server.count("ok") == paid_before + COUNT - kept
    texts = Counter(row["completion"]["text"] for row in rows(cache, "reply"))
    wanted = [reply_to([{"role": "user", "content": f"question {i}"}]) for i in range(COUNT)]
    assert texts == Counter(wanted)
    # Every failed attempt is there too, but for those in flight at a kill.
    planted = server.count() - server.count("ok") - server.count("lost")
    assert planted - kills * IN_FLIGHT <= len(rows(cache, "failure")) <= planted
    with load(f"openai:m@{server.url}", cache=cache) as model:
        model.generate([user(f"question {i}") for i in range(COUNT)], Sampling())
        assert (model.hits, model.misses, model.repaired) == (COUNT, 0, None)


@pytest.mark.parametrize("fault", ["ok", "hang", "429"])
def test_ctrl_c_stops_at_once_and_without_noise(chat_server, tmp_path, fault):
    # While replies come, while the server is silent, and while every call waits for its retry.
    faults = {} if fault == "ok" else {fault: 0.8}
    server = chat_server(delay=0.05, faults=faults, retry_after=100)
    cache = tmp_path / "cache.jsonl"
    with client(server, cache) as process:
        wait_for(lambda: server.count(fault) >= 20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert err == ""
    assert out.splitlines()[-1] == "stopped"
    assert process.returncode == 130
    kept = len(rows(cache, "reply"))
    assert kept <= server.count("ok")
    with load(f"openai:m@{server.url}", cache=cache) as model:
        assert model.repaired is None
    assert not (tmp_path / "cache.jsonl.lock").exists()


def test_all_300_are_there_after_a_calm_run(chat_server, tmp_path):
    server = chat_server()
    with client(server, tmp_path / "cache.jsonl") as process:
        out, err = process.communicate(timeout=100)
    assert (out, err) == (f"ready None\ndone {COUNT} 0\n", "")
    assert server.count() == COUNT
