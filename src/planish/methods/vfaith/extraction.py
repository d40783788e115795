r"""Reads which option a reply settles on, or says why it cannot be told.

    extract("So it is yellow.\n\\boxed{B}", ("red", "yellow")).option     "yellow"
    extract("It is A or B.", ("red", "yellow"))                           Extracted(None, "missing")

In this order: the last balanced `\boxed{}`; explicit statements such as "the answer is B" or
"答案是B"; a lone option letter; the exact text of an option. A reply that contradicts itself, or
settles on nothing, is unparsed: an option is never guessed. What is told of memory or of what is
usual commits to nothing, and a mention takes no box back. What stands inside thinking tags counts
only where nothing follows them. The order is that of the specification; what counts as a conflict
is ours.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from planish.methods.vfaith.commitment import asserted, contradicted, qualified, revoked
from planish.methods.vfaith.wording import Menu, Value, answer_part, boxes, plain, same

__all__ = ["Extracted", "How", "extract"]

How = Literal["boxed", "stated", "letter", "text", "conflict", "off-menu", "missing"]


class Extracted(NamedTuple):
    """What a reply settles on.

    Args:
        option: one of the options as it was given; None where it cannot be told.
        how: where it was found; or "conflict", "off-menu" (it settles on something that is no
            option) or "missing".
    """

    option: str | None
    how: How


class _Claim(NamedTuple):
    """A place where the reply commits itself, and to what."""

    start: int
    end: int
    value: Value


def extract(text: str, options: Sequence[str]) -> Extracted:
    """The option that a reply settles on; never raises, whatever the text.

    Args:
        text: the reply.
        options: in the order of their letters, at most as many as there are `data.LETTERS`.
    """
    menu = _menu(tuple(options))
    words, contents = boxes(answer_part(text))
    words = plain(words)
    boxed = list(_boxed(words, contents, menu))
    stated = list(_stated(words, menu))
    for value, how in (
        (_from_boxes(words, boxed, stated, menu), "boxed"),
        (_from_statements(words, stated, menu), "stated"),
        (_from_lines(words, menu), "letter"),
        (_from_text(words, menu), "text"),
    ):
        if isinstance(value, int):
            return Extracted(options[value], how)  # type: ignore[arg-type]
        if value is not None:
            return Extracted(None, value)
    return Extracted(None, "missing")


_menu = lru_cache(maxsize=64)(Menu)  # a pair's arms come one after the other, with one menu


# ---- boxes -----------------------------------------------------------------------------------

_NEAR = 200  # characters: what stands further apart is no list
_MARKS = re.compile("\ue000(\\d+)\ue001")
_NEGATED = re.compile(
    r"(?:\bnot|n't(?: be)?|\bnever|\bneither|\bnor|≠|不是|不选|不为)\s*(?:option\s*)?[$(\s]*$", re.I
)
_REFUTED = re.compile(
    r"^\W{0,4}(?:(?:is|was|would be|can ?not|can't|looks|seems)\s+(?:\w+ly\s+|also\s+|be\s+)?"
    r"(?:wrong|incorrect|not|false|impossible|right\?)|(?:是|为)?(?:错|不对|不正确))",
    re.I,
)
_PLACEHOLDER = re.compile(
    r"\W*(?:letter|x|your (?:answer|letter|choice)|(?:the )?(?:option|answer|choice)"
    r"(?: letter)?|)\W*",
    re.I,
)
_JOINED = re.compile(
    r"[\s$.,;:()*&/|]*(?:or|and|and/or|或|或者|和|以及)?[\s$.,;:()*&/|]*"
    r"(?:(?:possibly|maybe|perhaps|even|also|option)\s*)*[\s$(*]*",
    re.I,
)
_REVISED = re.compile(
    r"\b(?:wait|actually|correction|on second thought|hmm+|oops|sorry|scratch that|apologies"
    r"|mistake|mistaken|re-?(?:check|examin|consider|think|read|look)\w*|let me|however|but|instead"
    r"|no)\b|更正|等等|不对|重新|但是|其实",
    re.I,
)


def _boxed(words: str, contents: Sequence[str], menu: Menu) -> Iterator[_Claim]:
    for mark in _MARKS.finditer(words):
        content = plain(contents[int(mark[1])])
        value = menu.settle(content)
        if value == "off-menu" and _PLACEHOLDER.fullmatch(content):
            continue  # the instruction, repeated
        if not _NEGATED.search(words[max(0, mark.start() - 30) : mark.start()]) and (
            not _REFUTED.search(words[mark.end() : mark.end() + 60])
            and not qualified(words, mark.start(), mark.end(), menu, boxed=True)
        ):
            yield _Claim(mark.start(), mark.end(), value)


def _from_boxes(
    words: str, boxed: Sequence[_Claim], stated: Sequence[_Claim], menu: Menu
) -> Value | None:
    if not boxed:
        return None
    last = boxed[-1]
    for other in boxed[:-1]:
        gap = words[other.end : last.start]
        joined = len(gap) <= _NEAR and _JOINED.fullmatch(_MARKS.sub("", gap))
        if other.value != last.value and joined:
            return "conflict"
    for other in stated:
        if other.value == last.value:
            continue
        gap = words[other.end : last.start]
        beside = len(gap) <= _NEAR and len(gap.split()) <= 8 and not _REVISED.search(gap)
        if other.start > last.end or (other.end <= last.start and beside):
            return "conflict"
    return "conflict" if revoked(words[last.end :], last.value, menu) else last.value


# ---- statements ------------------------------------------------------------------------------

_IS = (
    r"(?:(?:is|are|was|must be|should be|would be|will be|has to be|appears to be|seems to be"
    r"|remains|becomes)\b\s*[:：]?|'s\b|[:：=→⇒]|[-=]>|[-–—](?=\s))"
)
_ANSWER = re.compile(
    r"\b(?:answers?|(?:correct|right|best|final|chosen|selected|my)\s+(?:option|choice|letter"
    r"|selection|pick))\b"
    r"(?:\s*\([^()\n]{0,40}\)|,[^.;:?!,\n]{0,60},"
    r"|\s+(?:to|for|of|here|in|choice|option|letter|from|based|given|according)\b"
    r"[^.;:?!\n]{0,60}?)?[\"']?\s*" + _IS + r"\s*",
    re.I,
)
_HEADED = re.compile(r"^\W*(?:(?:final|correct|my|the)\s+)*answer\W*\n\s*", re.I | re.M)
_CHOOSE = re.compile(
    r"\bI(?:'d|'ll|'m| would| will| should| must| have to| am)?(?:\s+(?:therefore|thus|then|would"
    r"|rather))?\s+(?:choose|chose|pick|picked|select|selected|(?:go|going|went) with|opt for"
    r"|settle on|vote for|answer)\b\s*[:：]?\s*"
    r"|\b(?:let's|so,?)\s+(?:go with|choose|pick|select)\b\s*",
    re.I,
)
_CHINESE = re.compile(
    r"(?:答案|正确(?:的)?选项|选项)\s*(?:应该|应当|应|就|肯定)?\s*(?:是|为|选择|选|[:：=])\s*[:：]?\s*"
    r"|【答案】\s*|(?<![不未没别可能被挑])选(?:择)?\s*[:：]?\s*(?=[(\[]?[A-H])"
)
_HERE = re.compile(
    r"(?:\b[Hh]ere|\b(?:[Ff]or|[Ii]n) (?:this|the) (?:picture|image|photo(?:graph)?|case|scene))"
    r"\s*[:：]\s*(?=[(\[]?[A-H](?!\w))"
)
_RIGHT = re.compile(
    r"(?<![\w'])(?:option\s+|choice\s+|answer\s+)?[(\[]?(?P<letter>[A-H])[)\]]?"
    r"(?:(?:\s*[(:.]|(?<=\)))\s*[^().:\n]{1,60}?\)?)?\s+is\s+(?:\w+ly\s+|indeed\s+|thus\s+)?(?:the\s+)?"
    r"(?:only\s+|most\s+|best\s+)?(?:correct|right|best|answer|accurate)\b(?!\s+(?:that|to)\b)"
    r"|(?<![A-Za-z])(?P<chinese>[A-H])\s*(?:选项|项)?\s*(?:是|为)?\s*(?:正确|对的)"
)
_BREAK = re.compile(
    r"[.;:!?\n,。；：！？，]|\b(?:but|so|therefore|thus|hence|however|and|then)\b|因此|所以|但",
    re.I,
)
_GUARD = re.compile(
    r"\b(?:if|whether|not|never|cannot|unless|suppose|supposing|assum\w+|were|might|could|wrong"
    r"|incorrect|nor|neither|why|how|unsure|unclear|other|another|previous|no|once|until|tempting"
    r"|tempted|when|cases|example|possible|wrongly)\b|n't\b|不|没|如果|若|假设|错误|是否",
    re.I,
)
_BUT = re.compile(
    r"\b(?:but|however|though|although|wait|actually|no|except)\b|但|不过", re.I
)  # fmt: skip


def _stated(words: str, menu: Menu) -> Iterator[_Claim]:
    found: dict[int, _Claim] = {}
    for pattern in (_ANSWER, _HEADED, _CHOOSE, _CHINESE, _HERE):
        for mark in pattern.finditer(words):
            if _guarded(words, mark):
                continue
            value, end = menu.value_at(words, mark.end())
            if value is None or qualified(words, mark.start(), end, menu):
                continue
            if not _doubted(words, end, value, menu):
                found.setdefault(mark.end(), _Claim(mark.start(), end, value))
    before = sorted(found.values(), key=lambda claim: claim.start)
    starts = [claim.start for claim in before]
    for mark in _RIGHT.finditer(words):
        place = bisect.bisect_right(starts, mark.start())
        inside = place > 0 and mark.start() < before[place - 1].end
        question = words[mark.end() : mark.end() + 20].lstrip(" ")[:1] == "?"
        denied = _guarded(words, mark) or qualified(words, mark.start(), mark.end(), menu)
        if not (inside or question or denied):
            value = menu.letter(mark["letter"] or mark["chinese"])
            found[mark.start()] = _Claim(mark.start(), mark.end(), value)
    yield from sorted(found.values(), key=lambda claim: claim.start)


def _guarded(words: str, mark: re.Match[str]) -> bool:
    """Whether a statement, or the clause before it, says that it is none."""
    before = words[max(0, mark.start() - 160) : mark.start()]
    return bool(_GUARD.search(_BREAK.split(before)[-1]) or _GUARD.search(mark[0]))


def _doubted(words: str, end: int, value: Value, menu: Menu) -> bool:
    """Whether the same sentence goes on with a "but" and another option, or asks."""
    rest = re.split(r"[.!\n。！]", words[end : end + 300], maxsplit=1)[0]
    if "?" in rest or "？" in rest:
        return True
    turn = _BUT.search(rest)
    others = asserted(rest[turn.end() :], menu) if turn else set()
    return isinstance(value, int) and bool(others - {value})


def _from_statements(words: str, stated: Sequence[_Claim], menu: Menu) -> Value | None:
    if not stated:
        return None
    last = stated[-1]
    turns = [turn.start() for turn in _REVISED.finditer(words, 0, last.start)]
    revised = turns[-1] if turns else -1
    if any(other.value != last.value and other.end > revised for other in stated[:-1]):
        return "conflict"
    return "conflict" if contradicted(words[last.end :], last.value, menu) else last.value


# ---- letters and texts that stand alone ------------------------------------------------------

_LEAD_IN = re.compile(
    r"(?:(?:so|thus|therefore|hence|then|ok|okay|well|hmm|i think|i believe|i guess|it's|it is"
    r"|it must be|it looks like|it seems|it should be|it would be|probably|likely|most likely"
    r"|definitely|that's|that is|this is|must be|my guess|my guess is|assistant|final|因此|所以|故)"
    r"\b[\s,:]*)+",
    re.I,
)
_LEADING = re.compile(
    r"[(\[]?([A-H])(?:[)\]]|[.:、](?=\s|$)|\s+[-–—]|,(?=\s+(?:because|since|as|the|it)\b)"
    r"|(?=\s+(?:because|since)\b))\s*(.*)",
    re.S,
)
_LISTED = re.compile(r"(?:^|\s)[(\[]?([A-H])(?:\)|[.:、](?=\s))", re.M)


def _lines(words: str) -> list[str]:
    return [line for line in (each.strip() for each in words.splitlines()) if line]


def _without_lead_in(line: str) -> str:
    lead = _LEAD_IN.match(line)
    return line[lead.end() :] if lead else line


def _from_lines(words: str, menu: Menu) -> Value | None:
    """A letter that is a line by itself, or that the reply begins with."""
    lines = _lines(words)
    if not lines:
        return None
    settled = [menu.lone(_without_lead_in(line)) for line in lines]
    told = {value for value in settled if value is not None}
    if settled[-1] is not None or settled[0] is not None:
        if len(told) == 1:
            value = next(iter(told))
            after = words if settled[-1] is None else ""
            return "conflict" if contradicted(after, value, menu) else value
        bare = len(lines[-1].strip("()[]. ")) == 1
        listed = settled[:-1].count(None) == 0 or len(told) == len(menu.options)
        return settled[-1] if bare and listed and len(told) > 2 else "conflict"
    return None if told else _leading(words.strip(), menu)


def _leading(words: str, menu: Menu) -> Value | None:
    found = _LEADING.match(words)
    if found is None:
        return None
    value, rest = menu.letter(found[1]), found[2]
    if any(letter != found[1] for letter in _LISTED.findall(words)):
        return None  # the options, told one by one
    own = same(menu.options[value]) if isinstance(value, int) else ""
    after = rest[len(own) :] if own and rest.casefold().startswith(own) else rest
    if _REFUTED.search(after) or rest.lstrip(" ").startswith(("or ", "and ", "/", "?")):
        return None
    if qualified(words, 0, found.start(2), menu):
        return None
    named, _ = menu.text_at(rest, 0)
    if (named is not None and named != value) or contradicted(rest, value, menu):
        return "conflict"
    return value


def _from_text(words: str, menu: Menu) -> Value | None:
    """The words of an option, as all that the reply or its last line says."""
    lines = _lines(words)
    if not lines:
        return None
    whole = menu.text(" ".join(lines))
    if whole is not None:
        return whole
    told = {menu.text(_without_lead_in(line)) for line in lines} - {None}
    last = menu.text(_without_lead_in(lines[-1]))
    if last is not None:
        return last if len(told) == 1 else "conflict"
    said = menu.yes_or_no(words.strip()) if not told else None
    end = len(menu.options[said]) if said is not None else 0
    return None if said is None or qualified(words.strip(), 0, end, menu) else said
