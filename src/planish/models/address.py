"""Where an endpoint is, and the key that it gets: told before anything is sent.

>>> host_of("http://localhost:8000/v1", "m")
'localhost'
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from planish.records import BadInput

__all__ = ["OPENAI_HOST", "OPENAI_URL", "host_of", "key_for"]

OPENAI_HOST = "api.openai.com"
OPENAI_URL = f"https://{OPENAI_HOST}/v1"


def host_of(base_url: str, name: str) -> str:
    """The host of an address.

    Args:
        name: of the model, for the message.

    Raises:
        BadInput: it is not the address of a server.
    """
    try:
        parts = urlsplit(base_url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise BadInput(
            f"{base_url!r} is not the address of a server",
            where=name,
            fix="write it as http://host:port/v1",
        )
    return host


def key_for(api_key: str | None, host: str, name: str) -> str:
    """The key that is sent to a host: the one given, else that of `OPENAI_API_KEY`, else none.

    Args:
        name: of the model, for the message.

    Raises:
        BadInput: OpenAI itself would get none, or it cannot be a key.
    """
    key = (api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
    if not key and host == OPENAI_HOST:
        raise BadInput(
            "no key for the OpenAI API",
            where=name,
            fix="set OPENAI_API_KEY, or name your own server: openai:MODEL@http://HOST:PORT/v1",
        )
    if not key.isascii() or not key.isprintable():
        raise BadInput("the key holds characters that no key has", where="OPENAI_API_KEY")
    return key or "none"
