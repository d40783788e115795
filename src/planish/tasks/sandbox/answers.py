"""What the processes of a job said, read with the types that it should have.

    call_result("...", {"status": "value", "value": "4"}).value       # "4"

Of a candidate's process nothing is believed but that it sent bytes.
"""

from __future__ import annotations

from typing import Any, cast, get_args

from pydantic import ValidationError

from planish.tasks.sandbox.contract import CallResult, CallStatus, Status
from planish.tasks.sandbox.speech import lines, whole
from planish.tasks.sandbox.values import dumps, loads

__all__ = ["call_result", "clean", "last", "verdict_of"]

_TEXT = 500
_CALL_STATUSES = get_args(CallStatus)
_STATUSES = get_args(Status)


def verdict_of(message: dict[str, Any], why: str) -> dict[str, Any]:
    """What a tester's process said of a job; with `why`, it said nothing."""
    if why:
        return {"status": "harness", "why": why}
    verdict = message.get("verdict")
    if not isinstance(verdict, dict) or verdict.get("status") not in _STATUSES:
        return {"status": "harness", "why": "the tests came to no verdict"}
    try:
        calls = tuple(CallResult(**one) for one in verdict.get("per_input", ()))
    except (ValidationError, TypeError) as error:
        return {"status": "harness", "why": f"the tests told of a call that is none: {error}"}
    return {
        "status": verdict["status"],
        "per_input": calls,
        "exception": _text(verdict.get("exception")),
        "message": _text(verdict.get("message")) or "",
        "line": whole(verdict.get("line")),
        "why": _text(verdict.get("why")) or "",
    }


def call_result(arguments: str, answer: dict[str, Any]) -> CallResult:
    """What a candidate's process said of a call, with the types that it should have."""
    status, value = answer.get("status"), None
    message = _text(answer.get("message")) or ""
    if status == "value":
        try:
            value = dumps(loads(answer["value"]))
        except (ValueError, TypeError, KeyError):
            status, message = "unknown_type", "an answer that cannot be read"
    return CallResult(
        arguments=arguments,
        status=cast(CallStatus, status) if status in _CALL_STATUSES[:5] else "exception",
        value=value,
        exception=_text(answer.get("exception")),
        message=message,
        line=whole(answer.get("line")),
        lines=tuple(lines(answer.get("lines"))),
    )


def _text(value: Any) -> str | None:
    return clean(value[:_TEXT]) if type(value) is str else None


def last(text: str, most: int) -> str:
    """So many bytes of the end of a text, without a character that is cut."""
    data = text.encode()
    return text if len(data) <= most else data[len(data) - most :].decode("utf-8", "ignore")


def clean(text: str) -> str:
    """A text that can be written down."""
    return text.encode("utf-8", "replace").decode("utf-8")
