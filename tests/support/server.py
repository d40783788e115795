"""An OpenAI-compatible chat server on loopback that misbehaves on purpose, in its own process.

    with ChatServer(delay=0.1, faults={"429": 0.05, "drop": 0.02}) as server:
        model = load(f"openai:m@{server.url}")
        ...
        assert server.count("ok") == 100

Whether a request fails is a hash of the server's seed, the request's body and how often that
body was seen before, so a run does not depend on the order of arrival. The reply is a hash of
the messages and the seed (`reply_to`), so a test knows it beforehand; or what a function of a file
beside this one says (`replies="solver:reply"`). Every request is one line of the log, written when
it was answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

MODEL = "m"

# Faults that answer with a status other than 200.
STATUSES = {
    "400": 400, "401": 401, "402": 402, "403": 403, "404": 404, "408": 408, "409": 409,
    "422": 422, "429": 429, "429-date": 429, "quota": 429, "500": 500, "503": 503,
}  # fmt: skip
# Faults of the connection or of a body with status 200.
BROKEN = (
    "drop",  # the connection closes without an answer
    "short",  # ... in the middle of the body
    "hang",  # no answer at all
    "trickle",  # a space now and then, and never an end
    "empty",  # choices: []
    "null",  # content: null, for no reason
    "truncated",  # half of the JSON, with a matching length
    "latin",  # bytes that are not UTF-8
    "html",  # a web page
    "list",  # JSON, but not an object
)


def reply_to(messages: list[dict[str, Any]], seed: int | None = None) -> str:
    """What the server answers, whatever went wrong before."""
    digest = hashlib.sha256(json.dumps([messages, seed], sort_keys=True).encode()).hexdigest()
    return f"Reply {digest[:16]}, naïve ✓.\n[[{'AB'[int(digest[-1], 16) % 2]}]]"


def _share(*parts: object) -> float:
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class _State:
    def __init__(self, options: dict[str, Any]) -> None:
        self.delay: float = options["delay"]
        self.faults: dict[str, float] = options["faults"]
        self.script: list[str] = options["script"]
        self.seed: int = options["seed"]
        self.retry_after: float = options["retry_after"]
        self.log = open(options["log"], "a", encoding="utf-8")  # noqa: SIM115
        self.seen: dict[str, int] = {}
        self.busy = 0
        self.light: bool = options["light"]
        self.continues: bool = options["continues"]
        module, _, name = options["replies"].partition(":")
        self.reply: Callable[[dict[str, Any]], str] = (
            getattr(importlib.import_module(module), name) if module else _hashed
        )

    def fault(self, key: str) -> tuple[int, str]:
        attempt = self.seen[key] = self.seen.get(key, 0) + 1
        if attempt <= len(self.script):
            return attempt, self.script[attempt - 1]
        share = _share(self.seed, key, attempt)
        for kind, rate in self.faults.items():
            share -= rate
            if share < 0:
                return attempt, kind
        return attempt, "ok"

    def write(self, **row: object) -> None:
        self.log.write(json.dumps(row) + "\n")
        self.log.flush()


def _hashed(request: dict[str, Any]) -> str:
    return reply_to(request["messages"], request.get("seed"))


def _completion(request: dict[str, Any], text: str) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": "stop",
    }
    words = text.split()
    if len(words) > request.get("max_tokens", 1024):
        words = words[: request["max_tokens"]]
        choice["message"]["content"] = " ".join(words)
        choice["finish_reason"] = "length"
    if request.get("logprobs"):
        choice["logprobs"] = {"content": [{"token": word, "logprob": -0.5} for word in words]}
    usage = {"prompt_tokens": len(str(request["messages"])), "completion_tokens": len(words)}
    return {"id": "c", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage}  # fmt: skip  # noqa: E501


class _Connection(asyncio.Protocol):
    def __init__(self, state: _State) -> None:
        self.state = state
        self.buffer = bytearray()
        self.wanted = 0  # bytes of the request that comes in
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if len(self.buffer) < self.wanted:
            return
        head, found, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        if not found:
            return
        length, authorization = 0, ""
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            elif name.lower() == b"authorization":
                authorization = value.decode("latin-1").strip()
        self.wanted = len(head) + len(found) + length
        if len(rest) < length:
            return
        body, self.buffer, self.wanted = rest[:length], bytearray(rest[length:]), 0
        self.request(head.split(b" ", 2)[1].decode(), body, authorization)

    def request(self, path: str, body: bytes, authorization: str) -> None:
        state = self.state
        request: dict[str, Any] = {}
        kind, attempt, key = "404", 1, ""
        if path == "/v1/chat/completions":
            key = hashlib.sha256(body).hexdigest()[:16]
            request = {"messages": [key]} if state.light else json.loads(body)
            attempt, kind = state.fault(key)
            if not state.continues and "continue_final_message" in request:
                kind = "400"
        state.busy += 1
        row = {
            "key": key,
            "attempt": attempt,
            "kind": kind,
            "busy": state.busy,
            "path": path,
            "authorization": authorization,
            "body": request,
            "time": time.time(),
        }
        loop = asyncio.get_running_loop()
        loop.call_later(state.delay, functools.partial(self.answer, kind, request, row))

    def answer(self, kind: str, request: dict[str, Any], row: dict[str, Any]) -> None:
        state, transport = self.state, self.transport
        assert transport is not None
        state.busy -= 1
        if transport.is_closing():
            row["kind"] = "lost"
        elif kind in STATUSES:
            error: dict[str, Any] = {"message": f"planted {kind}", "code": None}
            extra = ""
            if kind == "429":
                extra = f"Retry-After: {state.retry_after}\r\n"
            elif kind == "429-date":
                extra = f"Retry-After: {formatdate(time.time() + 1, usegmt=True)}\r\n"
            elif kind == "quota":
                error["code"] = "insufficient_quota"
            self.send(STATUSES[kind], json.dumps({"error": error}).encode(), extra)
        elif kind == "drop":
            transport.abort()
        elif kind == "trickle":
            self.send(200, b" ", length=100_000)
            self.trickle()
        elif kind != "hang":
            self.send_reply(kind, request)
        state.write(**row)

    def send_reply(self, kind: str, request: dict[str, Any]) -> None:
        value = _completion(request, self.state.reply(request))
        if kind == "empty":
            value["choices"] = []
        elif kind == "null":
            value["choices"][0]["message"]["content"] = None
        body = json.dumps(value, ensure_ascii=False).encode()
        if kind == "truncated":
            body = body[: len(body) // 2]
        elif kind == "latin":
            body = body.replace("naïve".encode(), "naïve".encode("latin-1"))
        elif kind == "html":
            body = b"<html><body>Bad gateway</body></html>"
        elif kind == "list":
            body = b"[" + body + b"]"
        if kind == "short":
            assert self.transport is not None
            self.send(200, body[:20], length=len(body))
            self.transport.close()
        else:
            self.send(200, body)

    def send(self, status: int, body: bytes, extra: str = "", length: int | None = None) -> None:
        assert self.transport is not None
        length = len(body) if length is None else length
        head = (
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}"
            f"Content-Length: {length}\r\n\r\n"
        )
        self.transport.write(head.encode() + body)

    def trickle(self) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(b" ")
            asyncio.get_running_loop().call_later(0.05, self.trickle)


async def _serve(options: dict[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    state = _State(options)
    server = await loop.create_server(
        lambda: _Connection(state), "127.0.0.1", options["port"], backlog=512
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # The parent holds our standard input: when it dies, in whatever way, so do we.
    await loop.run_in_executor(None, sys.stdin.read)
    os._exit(0)


class ChatServer:
    """The server's process, its address and its log.

    Args:
        delay: seconds before every answer.
        faults: kind of fault -> its share of the requests.
        script: what happens to the first, second, ... attempt of every single request ("ok" or
            a fault), before `faults` apply.
        seed: of the fault plan.
        retry_after: seconds that a 429 asks for.
        replies: "module:function" of a file beside this one that gets the body of a request and
            says what to answer; by default `reply_to`.
        port: 0 takes a free one.
        continues: whether a reply that was begun is gone on with; if not, such calls are refused.
        light: bodies are neither read nor logged, and replies hang on their hash: to measure a
            client that sends photographs, not this server.
    """

    def __init__(
        self,
        *,
        delay: float = 0.0,
        faults: dict[str, float] | None = None,
        script: tuple[str, ...] = (),
        seed: int = 0,
        retry_after: float = 0.05,
        port: int = 0,
        replies: str = "",
        light: bool = False,
        continues: bool = True,
    ) -> None:
        unknown = {*(faults or {}), *script} - {*STATUSES, *BROKEN, "ok"}
        if unknown:
            raise ValueError(f"unknown faults {unknown}")
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name, "log.jsonl")
        self._log.touch()
        options = {
            "delay": delay,
            "faults": faults or {},
            "script": list(script),
            "seed": seed,
            "retry_after": retry_after,
            "port": port,
            "replies": replies,
            "light": light,
            "continues": continues,
            "log": str(self._log),
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}/v1"

    def log(self) -> list[dict[str, Any]]:
        """Every request answered until now: key, attempt, kind, busy, path, authorization,
        body, time."""
        lines = self._log.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def count(self, kind: str | None = None) -> int:
        """Requests of one kind ("ok", a fault, or "lost": the client had gone), or of all."""
        return sum(kind is None or row["kind"] == kind for row in self.log())

    def kill(self) -> None:
        """Ends the server at once, as a crash would."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def close(self) -> None:
        """Ends the server and removes its log."""
        self.kill()
        self._folder.cleanup()

    def __enter__(self) -> ChatServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    asyncio.run(_serve(json.loads(sys.argv[1])))
