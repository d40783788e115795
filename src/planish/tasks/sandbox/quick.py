"""Text of small plain values, as `values.dumps` writes it, for the calls that most programs see.

    >>> quick(([1, "a"], None)), quick({1})
    ('{"tuple":[[1,"a"],null]}', None)

Only the standard library is used here: the module also runs inside the sandbox.
"""

from __future__ import annotations

from json.encoder import encode_basestring_ascii as _quote
from typing import Any

__all__ = ["quick"]

_SMALL = 1 << 62
_SHORT = 1000  # characters of a text, and members of a row, that are small
_LITTLE = 20_000  # characters of a value that it takes
_SHALLOW = 4


def quick(value: Any, levels: int = _SHALLOW) -> str | None:
    """Its text, or None where it is not small, or of another type.

    Args:
        value: any; nothing that its class overrides is called.
        levels: of rows inside each other.
    """
    kind = type(value)
    if kind is int:
        return repr(value) if -_SMALL < value < _SMALL else None
    if kind is str:
        return _quote(value) if len(value) <= _SHORT and value.isascii() else None
    if kind is list or kind is tuple:
        if levels == 0 or len(value) > _SHORT:
            return None
        texts, size = [], 0
        for one in value:
            text = quick(one, levels - 1)
            if text is None:
                return None
            size += len(text)
            if size > _LITTLE:  # one list, held many times over, is long in the end
                return None
            texts.append(text)
        row = ",".join(texts)
        return f"[{row}]" if kind is list else f'{{"tuple":[{row}]}}'
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is float and value - value == 0.0:  # neither nan nor infinite
        return repr(value)
    return None
