"""What is special about an input, in words that tell no value and no result.

>>> special(([], 3), ("numbers", "size"))
['`numbers` may be empty.', '`size` may be larger than the number of elements of `numbers`.']
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["boundaries", "special"]

_SIZED = (str, list, tuple, set, frozenset, dict)


def special(arguments: tuple[Any, ...], names: Sequence[str]) -> list[str]:
    """Sentences that hold for these arguments, the rarest kind first."""
    found: list[tuple[int, str]] = []
    for name, value in zip(names, arguments, strict=False):
        found += _of_value(f"`{name}`", value)
    found += _of_pairs(arguments, names)
    unique = dict.fromkeys(sentence for _, sentence in sorted(found, key=lambda pair: pair[0]))
    return list(unique)


def boundaries(
    failing: Sequence[tuple[Any, ...]],
    passing: Sequence[tuple[Any, ...]],
    names: Sequence[str],
    *,
    most: int = 2,
) -> list[str]:
    """Sentences about what failing inputs have and passing ones have less often, at most `most`.

    Together they cover as many failing inputs as they can; each is a quarter more frequent among
    the failing than among the passing ones.
    """
    marks = [special(arguments, names) for arguments in failing]
    usual = [set(special(arguments, names)) for arguments in passing]
    order = list(dict.fromkeys(sentence for mark in marks for sentence in mark))
    left = [set(mark) for mark in marks]
    chosen: list[str] = []
    while left and len(chosen) < most:
        best, score = "", 0.0
        for sentence in order:
            share = sum(sentence in mark for mark in marks) / len(marks)
            common = sum(sentence in mark for mark in usual) / len(usual) if usual else 0.0
            gain = sum(sentence in mark for mark in left) / len(marks)
            contrast = gain * (share - common)
            if share - common >= 0.25 * share and contrast > score + 1e-12:
                best, score = sentence, contrast
        if not best:
            break
        chosen.append(best)
        left = [mark for mark in left if best not in mark]
    return chosen


def _of_value(name: str, value: Any) -> Iterator[tuple[int, str]]:
    if value is None:
        yield 0, f"{name} may be None."
    elif isinstance(value, bool):
        return
    elif isinstance(value, int | float):
        yield from _of_number(name, value)
    elif isinstance(value, str):
        yield from _of_text(name, value)
    elif isinstance(value, _SIZED):
        yield from _of_container(name, value)


def _of_number(name: str, value: int | float) -> Iterator[tuple[int, str]]:
    if value == 0:
        yield 0, f"{name} may be zero."
    elif value < 0:
        yield 1, f"{name} may be negative."
    elif value == 1:
        yield 2, f"{name} may be one."
    if value != value or value in (float("inf"), float("-inf")):
        yield 0, f"{name} may be infinite or not a number."
    elif abs(value) >= 10**6:
        yield 3, f"{name} may be very large."
    elif isinstance(value, float) and value != int(value):
        yield 4, f"{name} may have a fractional part."


def _of_text(name: str, value: str) -> Iterator[tuple[int, str]]:
    if not value:
        yield 0, f"{name} may be empty."
        return
    if not value.strip():
        yield 0, f"{name} may consist of white space only."
    elif value != value.strip():
        yield 1, f"{name} may begin or end with white space."
    if len(value) == 1:
        yield 2, f"{name} may be one character long."
    if any(letter.isupper() for letter in value) and any(letter.islower() for letter in value):
        yield 3, f"{name} may mix upper case and lower case."
    elif any(letter.isupper() for letter in value):
        yield 3, f"{name} may be in upper case."
    if any(letter.isdigit() for letter in value):
        yield 4, f"{name} may hold digits."
    if any(not letter.isalnum() and not letter.isspace() for letter in value):
        yield 4, f"{name} may hold punctuation."
    if "  " in value:
        yield 3, f"{name} may hold several spaces in a row."
    if len(value) > 1 and len(set(value)) == 1:
        yield 3, f"{name} may repeat one character."
    elif len(set(value)) < len(value):
        yield 5, f"{name} may hold a character more than once."
    if not value.isascii():
        yield 2, f"{name} may hold characters beyond ASCII."


def _of_container(name: str, value: Any) -> Iterator[tuple[int, str]]:
    if not value:
        yield 0, f"{name} may be empty."
        return
    if len(value) == 1:
        yield 2, f"{name} may hold a single element."
    items = list(value.values()) if isinstance(value, dict) else list(value)
    texts = [repr(item) for item in items]
    if len(items) > 1 and len(set(texts)) == 1:
        yield 3, f"All elements of {name} may be equal."
    elif len(set(texts)) < len(texts):
        yield 4, f"{name} may hold equal elements."
    numbers = [item for item in items if isinstance(item, int | float) and item is not True]
    if any(item < 0 for item in numbers):
        alone = all(item < 0 for item in numbers)
        yield (
            (2, f"All elements of {name} may be negative.")
            if alone
            else (
                3,
                f"Elements of {name} may be negative.",
            )
        )
    if any(item == 0 and item is not False for item in numbers):
        yield 3, f"Elements of {name} may be zero."
    if len(numbers) == len(items) > 1 and items == sorted(items, reverse=True) != sorted(items):
        yield 5, f"{name} may be in descending order."
    if any(isinstance(item, _SIZED) and not item for item in items):
        yield 1, f"Elements of {name} may be empty."
    if any(item is None for item in items):
        yield 1, f"Elements of {name} may be None."


def _of_pairs(arguments: tuple[Any, ...], names: Sequence[str]) -> Iterator[tuple[int, str]]:
    known = list(zip(names, arguments, strict=False))
    for index, (name, value) in enumerate(known):
        for other, beside in known[index + 1 :]:
            if isinstance(value, _SIZED) and isinstance(beside, _SIZED):
                if type(value) is type(beside) and value == beside:
                    yield 3, f"`{name}` and `{other}` may be equal."
                elif len(value) != len(beside):
                    yield 4, f"`{name}` and `{other}` may differ in length."
        for other, beside in known:
            if isinstance(value, _SIZED) and isinstance(beside, int) and type(beside) is not bool:
                if beside > len(value):
                    yield 2, f"`{other}` may be larger than the number of elements of `{name}`."
                elif beside == len(value) and value:
                    yield 3, f"`{other}` may be the number of elements of `{name}`."
