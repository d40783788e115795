"""Any OpenAI-compatible chat endpoint, many calls at once, every failed attempt on record.

    >>> model = EndpointModel("m", "http://localhost:8000/v1")     # doctest: +SKIP
    >>> model.generate([user("2 + 2?")], Sampling(temperature=0))  # doctest: +SKIP
    [[Completion(text='4', ...)]]

Each sample is one request (`n=1`), so that each can be cached and resumed alone. A call that
fails waits its turn outside the `in_flight` slots, so that the others keep the server busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import importlib
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from planish.models.address import OPENAI_HOST, OPENAI_URL, host_of, key_for
from planish.models.base import Draw, Watcher
from planish.models.wire import (
    CallFailed,
    check_images,
    connection_failure,
    read_reply,
    request_body,
    request_content,
    status_failure,
)
from planish.records import BadInput, Chat, Completion, Failure, Sampling, Usage

if TYPE_CHECKING:
    import openai

__all__ = ["EndpointModel"]

# Most faults are over at once, an outage is not: the first retry comes soon, the sixth late.
_BACKOFF_GROWTH = 3.0
_LONGEST_BACKOFF = 30.0
# A server may ask for hours ("until tomorrow's quota"); the retry budget then runs out instead.
_LONGEST_RETRY_AFTER = 120.0
# While nobody ever answered, the address is more likely wrong than the server busy.
_LONGEST_KNOCK = 1.0
_CONNECT_TIMEOUT = 10.0
# About what one call costs this process. Calls begun in one burst are answered in one burst and
# then wait for each other, round after round; spaced out, each finds the process free.
_SPACING = 0.001
# This many refusals in a row, word for word the same, before any reply: it is the request.
_SAME_REFUSALS = 16
_WEB_PAGE = "a web page, not JSON"
_NOBODY_THERE = {"no connection", _WEB_PAGE}


@dataclass
class _Job:
    """One sample of one chat, and what happened to it until now.

    Args:
        number: of the chat, or of the draw in a stream.
    """

    number: int
    sample: int
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0
    chat: Chat = ()


class EndpointModel:
    """A model behind an OpenAI-compatible `/chat/completions`.

    Args:
        model: the model's name on the server.
        base_url: up to and including `/v1`.
        name: what the user typed; by default `openai:model@base_url`.
        in_flight: calls at once.
        timeout: seconds for one attempt as a whole.
        retries: attempts after the first one.
        api_key: by default `OPENAI_API_KEY`; a server of your own may need none.
        backoff: seconds before the second attempt; three times that before the third, and so on.

    Raises:
        BadInput: the URL or the key cannot be right. While generating: the server refuses the
            key or the model, or was never reached; every further call would fail alike.
    """

    def __init__(
        self,
        model: str,
        base_url: str = OPENAI_URL,
        *,
        name: str = "",
        in_flight: int = 32,
        timeout: float = 600.0,
        retries: int = 6,
        api_key: str | None = None,
        backoff: float = 0.1,
    ) -> None:
        self.model, self.base_url = model, base_url.rstrip("/")
        self.name = name or f"openai:{model}@{self.base_url}"
        self.in_flight, self.timeout, self.retries = in_flight, timeout, retries
        self.backoff = backoff
        host = host_of(self.base_url, self.name)
        # The library takes a third of a second to import: now, not when the batch is waiting.
        importlib.import_module("openai")
        self._key = key_for(api_key, host, self.name)
        # OpenAI's newer models refuse the field that every other server knows.
        is_openai = host == OPENAI_HOST
        self._limit_field = "max_completion_tokens" if is_openai else "max_tokens"
        self._answered = False
        self._refusals: deque[str] = deque(maxlen=_SAME_REFUSALS)

    @property
    def revision(self) -> str:
        """A server tells no more about its weights than its address and the model's name."""
        return f"{self.base_url}#{self.model}"

    def generate(
        self, chats: Sequence[Chat], sampling: Sampling, *, watcher: Watcher | None = None
    ) -> list[list[Completion]]:
        """See `LanguageModel.generate`.

        Inside a running event loop (a notebook) the calls, and the watcher with them, run in a
        thread of their own while the caller waits.
        """
        check_images(list(chats))
        results = _Results(len(chats), sampling.n, watcher or Watcher())
        # Jobs are made one by one: a million calls need a million results, but no more.
        jobs = (
            _Job(number, sample, chat=chat)
            for number, chat in enumerate(chats)
            for sample in range(sampling.n)
        )
        _run(_Batch(self, jobs, sampling, results).run(len(chats) * sampling.n))
        return results.found

    def stream(self, draws: Iterable[Draw], sampling: Sampling, *, watcher: Watcher) -> None:
        """See `StreamingModel.stream`. Images are looked for when they are sent."""
        jobs = (_Job(number, draw.sample, chat=draw.chat) for number, draw in enumerate(draws))
        _run(_Batch(self, jobs, sampling, watcher).run())

    def _client(self) -> openai.AsyncOpenAI:
        import openai

        connect = min(_CONNECT_TIMEOUT, self.timeout)
        timeout = openai.Timeout(self.timeout, connect=connect, pool=None)
        return openai.AsyncOpenAI(
            api_key=self._key,
            base_url=self.base_url,
            max_retries=0,
            timeout=timeout,
            # A quarter less processor time a call than with the library's own default.
            http_client=openai.DefaultAioHttpClient(timeout=timeout),
        )

    async def _attempt(
        self, client: openai.AsyncOpenAI, chat: Chat, sampling: Sampling, seed: int | None
    ) -> Completion:
        """One request. The raw bytes are asked for: reading them here is faster, and a body
        that is no completion is told apart by what is wrong with it.
        """
        import openai

        body = request_body(self.model, chat, sampling, seed=seed, limit_field=self._limit_field)
        try:
            async with asyncio.timeout(self.timeout):
                content = await client.post(
                    "/chat/completions", cast_to=bytes, content=request_content(body)
                )
        except openai.APIStatusError as error:
            response = error.response
            raise status_failure(response.status_code, response.headers, response.text) from None
        except (TimeoutError, openai.APIConnectionError) as error:
            raise connection_failure(error, self.timeout) from None
        except openai.OpenAIError as error:
            raise CallFailed("client error", str(error)) from None
        reply = read_reply(content)
        self._answered = True
        return reply

    def _wait(self, job: _Job) -> float:
        """Seconds until the next attempt: told by the server, or growing; with jitter."""
        last = job.failures[-1]
        longest = _LONGEST_BACKOFF
        if last.kind in _NOBODY_THERE and not self._answered:
            longest = _LONGEST_KNOCK
        growing = min(longest, self.backoff * _BACKOFF_GROWTH ** min(last.attempt - 1, 30))
        # Seeded by the call, so that a run can be repeated and yet no two calls come together.
        jitter = random.Random(f"{self.name} {job.number} {job.sample} {last.attempt}").random()
        if last.retry_after is not None:
            return min(last.retry_after, _LONGEST_RETRY_AFTER) + growing * jitter / 4
        return growing * (0.5 + jitter / 2)

    def _stop_if_hopeless(self, failed: CallFailed, attempts: int, is_last: bool) -> None:
        """Raises where every other call would fail in the same way."""
        said = f"{failed.kind}: {failed.message}" if failed.message else failed.kind
        if failed.then == "stop":
            # After good replies, these two concern one request (moderation, a lost route).
            if self._answered and failed.kind in ("http 403", "http 404"):
                return
            raise BadInput(f"the server refuses ({said})", where=self.name, fix=self._advice(said))
        if self._answered:
            return
        if is_last and failed.kind in _NOBODY_THERE:
            page = failed.kind == _WEB_PAGE
            raise BadInput(
                f"{self.base_url} answers with a web page, not as an API ({failed.message})"
                if page
                else f"nobody answers at {self.base_url} after {attempts} attempts ({said})",
                where=self.name,
                fix="check the address; the path often ends in /v1"
                if page
                else "is the server running? check the host, the port and the path (often /v1)",
            )
        if failed.then == "give up":
            self._refusals.append(said)
            if self._refusals.count(said) == _SAME_REFUSALS:
                raise BadInput(
                    f"the server refuses every call alike ({said})",
                    where=self.name,
                    fix="change the sampling options or the prompt as it says",
                )

    def _advice(self, said: str) -> str:
        if said.startswith("http 401"):
            return "check the key in OPENAI_API_KEY"
        if said.startswith("http 403"):
            return f"check that the key in OPENAI_API_KEY may use the model {self.model!r}"
        if said.startswith("http 404"):
            return (
                f"check the model's name {self.model!r} and the address {self.base_url} "
                "(it often ends in /v1)"
            )
        return "the account has no credit left: top it up or use another key"


class _Results(Watcher):
    """Keeps every completion at its place, and passes all on."""

    def __init__(self, chats: int, samples: int, watcher: Watcher) -> None:
        empty = Completion(text="", finish="error")
        self.found = [[empty] * samples for _ in range(chats)]
        self.watcher = watcher

    def completed(self, chat: int, sample: int, completion: Completion) -> None:
        self.found[chat][sample] = completion
        self.watcher.completed(chat, sample, completion)

    def failed(self, chat: int, sample: int, failure: Failure) -> None:
        self.watcher.failed(chat, sample, failure)


class _Batch:
    """One `generate` or `stream`: what is still to be sent, and what waits for another try."""

    def __init__(
        self, model: EndpointModel, jobs: Iterable[_Job], sampling: Sampling, watcher: Watcher
    ) -> None:
        self.model, self.sampling, self.watcher = model, sampling, watcher
        self.fresh = iter(jobs)
        self.waiting: list[tuple[float, int, int, _Job]] = []
        self.next_start = 0.0

    async def run(self, most: int | None = None) -> None:
        """Works until nothing is left.

        Args:
            most: how many jobs there are, where that is known.
        """
        in_flight = self.model.in_flight
        num_workers = in_flight if most is None else min(in_flight, most)
        if not num_workers:
            return
        async with self.model._client() as client:
            workers = [asyncio.create_task(self.work(client)) for _ in range(num_workers)]
            try:
                done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
                for worker in done:
                    worker.result()
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def work(self, client: openai.AsyncOpenAI) -> None:
        while (job := await self.next_job()) is not None:
            await self.turn()
            await self.attempt(client, job)

    async def turn(self) -> None:
        """Waits until the call before has had its moment."""
        now = asyncio.get_running_loop().time()
        start = max(now, self.next_start)
        self.next_start = start + _SPACING
        if start > now:
            await asyncio.sleep(start - now)

    async def next_job(self) -> _Job | None:
        """A call whose wait is over, else a new one, else the one whose wait ends first.

        While many calls wait, no new ones are begun: a server that is down is not hammered with
        the whole batch. None may be returned while others still work: whoever fails, retries.
        """
        now = asyncio.get_running_loop().time()
        crowded = len(self.waiting) >= 4 * self.model.in_flight
        if not crowded and not (self.waiting and self.waiting[0][0] <= now):
            job = next(self.fresh, None)
            if job is not None:
                return job
        if not self.waiting:
            return None
        ready, _, _, job = heapq.heappop(self.waiting)
        await asyncio.sleep(max(0.0, ready - now))
        return job

    async def attempt(self, client: openai.AsyncOpenAI, job: _Job) -> None:
        seed = self.sampling.seed
        begin = time.perf_counter()
        try:
            completion = await self.model._attempt(
                client,
                job.chat,
                self.sampling,
                None if seed is None else seed + job.sample,
            )
        except CallFailed as failed:
            job.seconds += time.perf_counter() - begin
            self.failed(job, failed)
            return
        job.seconds += time.perf_counter() - begin
        self.finish(job, completion)

    def failed(self, job: _Job, failed: CallFailed) -> None:
        attempt = len(job.failures) + 1
        failure = failed.as_failure(attempt)
        job.failures.append(failure)
        self.watcher.failed(job.number, job.sample, failure)
        is_last = attempt > self.model.retries or failed.then != "retry"
        self.model._stop_if_hopeless(failed, attempt, is_last)
        if is_last:
            self.finish(job, Completion(text="", finish="error"))
            return
        ready = asyncio.get_running_loop().time() + self.model._wait(job)
        heapq.heappush(self.waiting, (ready, job.number, job.sample, job))

    def finish(self, job: _Job, completion: Completion) -> None:
        usage = completion.usage
        completion = completion.model_copy(
            update={
                "failures": tuple(job.failures),
                "usage": Usage(
                    prompt_tokens=usage.prompt_tokens,
                    completion_tokens=usage.completion_tokens,
                    seconds=job.seconds,
                ),
            }
        )
        self.watcher.completed(job.number, job.sample, completion)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Runs `main` to its end; Ctrl-C cancels it first."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(main)
        return
    cancel: list[Callable[[], object]] = []

    async def cancellable() -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel.append(lambda: loop.call_soon_threadsafe(task.cancel))
        await main

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(asyncio.run, cancellable())
        try:
            future.result()
        except BaseException:
            with contextlib.suppress(IndexError, RuntimeError):
                cancel[0]()
            raise
