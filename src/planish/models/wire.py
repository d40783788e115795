"""The OpenAI chat format as pure functions: what is sent, and what an answer means.

    >>> request_body("m", (Message(role="user", content="2 + 2?"),), Sampling(temperature=0))
    {'model': 'm', 'messages': [{'role': 'user', 'content': '2 + 2?'}], 'max_tokens': 1024, \
'temperature': 0.0}
    >>> read_reply(b'{"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}').text
    '4'
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

from planish.models.image_files import DataUrl, data_url
from planish.records import BadInput, Chat, Completion, Failure, Message, Sampling, Usage

__all__ = [
    "CallFailed",
    "check_images",
    "connection_failure",
    "read_reply",
    "read_retry_after",
    "request_body",
    "request_content",
    "status_failure",
]

# What follows from a failed attempt: try again, give this call up, or give the whole batch up
# because every other call would fail in the same way.
Consequence = Literal["retry", "give up", "stop"]

_RETRYABLE = {408, 409, 425, 429}
_STOPPING = {401, 402, 403, 404}
_MESSAGE_CHARACTERS = 300


class CallFailed(Exception):
    """One attempt that brought no reply.

    Args:
        kind: short and countable, as in `Failure`.
        message: what the server or the network said.
        then: what follows from it.
        retry_after: seconds the server asked to wait.
    """

    def __init__(
        self,
        kind: str,
        message: str = "",
        *,
        then: Consequence = "retry",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(kind)
        self.kind = kind
        self.message = clean(" ".join(message.split())[:_MESSAGE_CHARACTERS])
        self.then: Consequence = then
        self.retry_after = retry_after

    def as_failure(self, attempt: int) -> Failure:
        """The record of it."""
        return Failure(
            attempt=attempt, kind=self.kind, message=self.message, retry_after=self.retry_after
        )


def clean(text: str) -> str:
    """Half surrogate pairs, which JSON can carry and UTF-8 cannot, become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


# ---- what is sent ----------------------------------------------------------------------------


def request_body(
    model: str,
    chat: Chat,
    sampling: Sampling,
    *,
    seed: int | None = None,
    limit_field: str = "max_tokens",
) -> dict[str, Any]:
    """The JSON body of one call, for one sample.

    Settings that are the protocol's default are left out: some models refuse to be told even
    those. A chat that ends with the assistant is continued by vLLM's and SGLang's switches.
    """
    body: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in chat],
        limit_field: sampling.max_tokens,
    }
    if sampling.temperature != 1:
        body["temperature"] = sampling.temperature
    if sampling.top_p != 1:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if seed is not None:
        body["seed"] = seed
    if sampling.logprobs:
        body["logprobs"] = True
    if chat and chat[-1].role == "assistant":
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
    return body


def request_content(body: Mapping[str, Any]) -> bytes:
    """A body as it is sent: compact JSON in UTF-8.

    `json.dumps` looks at each of the million characters of a photograph, where nothing is to be
    escaped; here it looks at all but those.
    """
    return b"".join(_listed((_field(*each) for each in body.items()), b"{}"))


# In pieces, so that a photograph is copied once and not at every level.
def _listed(items: Iterable[Iterable[bytes]], around: bytes) -> Iterator[bytes]:
    yield around[:1]
    for place, item in enumerate(items):
        if place:
            yield b","
        yield from item
    yield around[1:]


def _field(name: str, value: Any) -> Iterator[bytes]:
    yield _compact(name) + b":"
    if name == "messages":
        yield from _listed(map(_message_pieces, value), b"[]")
    else:
        yield _compact(value)


def _message_pieces(message: Mapping[str, Any]) -> Iterator[bytes]:
    if isinstance(message["content"], str):
        yield _compact(message)
        return
    yield b'{"role":%b,"content":' % _compact(message["role"])
    yield from _listed(map(_part_pieces, message["content"]), b"[]")
    yield b"}"


def _part_pieces(part: Mapping[str, Any]) -> Iterator[bytes]:
    url = part["image_url"]["url"] if part["type"] == "image_url" else ""
    if not isinstance(url, DataUrl):
        yield _compact(part)
        return
    yield b'{"type":"image_url","image_url":{"url":"'
    yield url.encode()
    yield b'"}}'


def _compact(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


def _message(message: Message) -> dict[str, Any]:
    if not message.images:
        return {"role": message.role, "content": clean(message.content)}
    parts: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": _image_url(image)}} for image in message.images
    ]
    return {
        "role": message.role,
        "content": [*parts, {"type": "text", "text": clean(message.content)}],
    }


def _image_url(image: str) -> str:
    if image.startswith("data:"):
        return image
    try:
        return data_url(image)
    except OSError as error:
        raise _bad_image(image, error.strerror or str(error)) from None


def _bad_image(image: str, why: str) -> BadInput:
    return BadInput(
        f"the image cannot be read ({why})",
        where=image,
        fix="give the path of a file or a data: URL",
    )


def check_images(chats: tuple[Chat, ...] | list[Chat]) -> None:
    """Looks for every image file before the first call is paid for.

    Raises:
        BadInput: a file is missing; the message names it.
    """
    images = {image for chat in chats for message in chat for image in message.images}
    for image in sorted(images):
        if not image.startswith("data:") and not Path(image).is_file():
            raise _bad_image(image, "no such file")


# ---- what an answer means --------------------------------------------------------------------


def read_reply(content: bytes) -> Completion:
    """The completion in the body of a 200 answer.

    Raises:
        CallFailed: the body is not JSON, was cut, or holds no reply.
    """
    if content.lstrip()[:1] == b"<":
        raise CallFailed("a web page, not JSON", _excerpt(content))
    try:
        value = json.loads(content)
    except UnicodeDecodeError as error:
        raise CallFailed("not UTF-8", f"byte {error.start} of {len(content)}") from None
    except (ValueError, RecursionError) as error:
        raise CallFailed("broken JSON", f"{error}: {_excerpt(content)}") from None
    if not isinstance(value, dict):
        raise CallFailed("not a chat completion", _excerpt(content))
    choices = value.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        # Gateways report an upstream's error in a body with status 200.
        kind = "error in the body" if value.get("error") else "no choices"
        raise CallFailed(kind, _excerpt(content))
    choice: dict[str, Any] = choices[0]
    finish = "length" if choice.get("finish_reason") == "length" else "stop"
    return Completion(
        text=_text(choice, content),
        finish=finish,
        logprobs=_logprobs(choice.get("logprobs")),
        usage=_usage(value.get("usage")),
    )


def _excerpt(content: bytes) -> str:
    return content[:120].decode("utf-8", "replace")


def _text(choice: dict[str, Any], content: bytes) -> str:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise CallFailed("no message", _excerpt(content))
    text = message.get("content")
    if isinstance(text, str):
        return clean(text)
    if isinstance(text, list):
        parts = [part.get("text") for part in text if isinstance(part, dict)]
        return clean("".join(part for part in parts if isinstance(part, str)))
    if isinstance(message.get("refusal"), str):
        return clean(message["refusal"])
    # No content is an answer where something says why: the budget went into thinking, a filter
    # cut in, a tool was called. Without a reason it is a fault.
    thought = message.get("reasoning_content") or message.get("reasoning")
    if thought or choice.get("finish_reason") in ("length", "content_filter", "tool_calls"):
        return ""
    raise CallFailed("no content", _excerpt(content))


def _logprobs(value: object) -> tuple[float, ...] | None:
    rows = value.get("content") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        return None
    found = [row.get("logprob") if isinstance(row, dict) else None for row in rows]
    numbers = tuple(float(number) for number in found if isinstance(number, int | float))
    return numbers if len(numbers) == len(rows) else None


def _usage(value: object) -> Usage:
    def count(field: str) -> int:
        found = value.get(field) if isinstance(value, dict) else None
        return found if isinstance(found, int) and found > 0 else 0

    return Usage(prompt_tokens=count("prompt_tokens"), completion_tokens=count("completion_tokens"))


def connection_failure(error: Exception, seconds: float) -> CallFailed:
    """Nobody there, a connection that broke, or no answer in time.

    httpx' names for what aiohttp raises do not tell these apart: a server that hangs up comes as
    ConnectTimeout. The cause does.

    Args:
        error: what the openai client or a time limit raised. seconds: that an answer may take.
    """
    import aiohttp
    import openai

    causes = [error]
    while isinstance(cause := causes[-1].__cause__ or causes[-1].__context__, Exception):
        causes.append(cause)
    for cause in causes:
        if isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            return CallFailed("no connection", cause.strerror or str(cause))
        if isinstance(cause, aiohttp.ServerTimeoutError):
            break
        if isinstance(cause, aiohttp.ClientError):
            return CallFailed("connection dropped", str(cause) or type(cause).__name__)
    if any(isinstance(cause, TimeoutError | openai.APITimeoutError) for cause in causes):
        return CallFailed("timeout", f"no answer within {seconds:g} s")
    return CallFailed("connection dropped", str(causes[-1]) or type(causes[-1]).__name__)


def status_failure(status: int, headers: Mapping[str, str], content: str) -> CallFailed:
    """What an answer with an error status means."""
    message, code = _error_message(content)
    then: Consequence = "give up"
    if status in _STOPPING or code == "insufficient_quota":
        then = "stop"
    elif status in _RETRYABLE or status >= 500:
        then = "retry"
    return CallFailed(f"http {status}", message, then=then, retry_after=read_retry_after(headers))


def _error_message(content: str) -> tuple[str, str]:
    """(message, code) of an error body, whatever its shape."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content, ""
    error = value.get("error", value) if isinstance(value, dict) else value
    if isinstance(error, dict):
        message = error.get("message") or error.get("detail") or content
        return str(message), str(error.get("code") or "")
    return str(error), ""


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by `retry-after-ms` or `Retry-After` (seconds or a date); None if unsaid.

    A date is read against the server's own clock where it tells the time.
    """
    for field, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(field, "")) * scale
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    then = _date(headers.get("retry-after"))
    if then is None:
        return None
    now = _date(headers.get("date")) or datetime.now(UTC)
    return max(0.0, (then - now).total_seconds())


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
