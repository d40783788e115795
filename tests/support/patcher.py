"""A scripted author of skill patches for `ChatServer`; the model's name says how it behaves.

with ChatServer(replies="patcher:reply") as server:
    load(f"openai:good@{server.url}")
"""

from __future__ import annotations

import json
import re
from typing import Any

AGAIN = "None of this can be used"


def base_of(request: dict[str, Any]) -> str:
    """The digest of the library that the prompt is about."""
    found = re.search(r"candidates for the library (\w+)\.", request["messages"][1]["content"])
    assert found is not None
    return found[1]


def _patch(base: str, *ops: dict[str, Any], why: str = "they block each other") -> str:
    return json.dumps({"base_hash": base, "rationale": why, "evidence_ids": ["e@1"], "ops": ops})


def _set(path: str, value: object) -> dict[str, Any]:
    return {"op": "replace", "path": path, "value": value}


def _good(base: str) -> str:
    first = _patch(base, _set("/methods/give_way/priority", 95))
    second = _patch(base, _set("/params/patience/value", 2), why="step aside sooner")
    return f"<think>A draft {{}} of mine.</think>Here they are:\n```json\n{first}\n```\n{second}"


def reply(request: dict[str, Any]) -> str:
    """What the author writes."""
    base, kind = base_of(request), request["model"]
    is_repair = AGAIN in request["messages"][-1]["content"]
    bad_op = _set("/methods/cook/when", ["flying"])
    hostile = "__import__('os').system('rm -rf /')"
    replies = {
        "good": _good(base),
        "listed": f'{{"patches": [{_patch(base, _set("/params/detour/value", 5))}]}}',
        "mended": _good(base) if is_repair else _patch(base, bad_op),
        "stubborn": _patch(base, bad_op),
        "malformed": '{"base_hash": "x", "ops": [{"op": "replace", "path": ',
        "chatty": "I would raise the priority of give_way.",
        "untyped": json.dumps({"ops": "all of them", "rationale": 5}),
        "stale": _patch("0123456789abcdef", _set("/methods/give_way/priority", 95)),
        "many": _patch(base, *[_set("/params/patience/value", v % 9) for v in range(40)]),
        "oversized": "{" + "x" * 100_000,
        "verbose": _patch(base, _set("/methods/cook/provenance", "y" * 9000)),
        "hostile": _patch(base, _set("/methods/cook/when", [hostile])),
        "locked": _patch(base, _set("/methods/rest/priority", 99)),
        "drifting": _patch(base, *[{"op": "add", "path": f"/methods/new_{i}", "value": {
            "id": f"new_{i}", "task": "work", "subtasks": ["wait"]}} for i in range(6)]),
        "harmful": _patch(base, {"op": "add", "path": "/methods/-", "value": {
            "id": "idle", "task": "work", "subtasks": ["wait"], "priority": 100}}),
        "nested": '{"ops":' * 30_000,
        "mixed": "\n".join([_patch(base, bad_op), _patch("stale", bad_op), _good(base)]),
    }  # fmt: skip
    return replies[kind]
