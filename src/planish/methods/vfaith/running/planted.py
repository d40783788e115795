"""Models that know the bench and err on purpose: what every metric must find again.

    model = load_model("planted:memory?rate=0.8", bench)
    model = load_model("planted:sheet?raw=0.9&edited=0.6&stick=0.5&placebo=0.95", bench)
    AnswerSheet(raw=0.9, edited=0.6).expected(4)["pair_acc"]  0.54

They find their pair by the bytes of the picture and the words of the question, and answer in words
with a boxed letter, so that the whole path from prompt to metric is tested.

| name | answers |
|---|---|
| `oracle` | what is right with the picture |
| `random` | any option |
| `position` | always one letter: `letter=B` |
| `memory` | what the usual picture would show; with `rate=r` only for that share of the questions, and else as the oracle |
| `cached` | what was right with the raw picture, whatever picture it is given |
| `blind` | some option that hangs on the words alone |
| `sheet` | by the probabilities of `AnswerSheet` |

Without a picture all but `position`, `memory` and `blind` guess. A draw is a hash of the picture,
the words and the seeds: the same call gets the same answer.
"""  # noqa: E501 - a row of a table

from __future__ import annotations

import hashlib
import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import ARMS, LETTERS, Arm, EditPair
from planish.methods.vfaith.numbered import Numbered
from planish.methods.vfaith.running.prompts import gold_of, options_of, picture_of, prompt
from planish.methods.vfaith.running.records import Call, Calls, calls_of
from planish.models import load
from planish.models.base import LanguageModel
from planish.models.pictures import picture_bytes
from planish.models.scripted import ScriptedModel
from planish.records import BadInput, Chat, explain

__all__ = ["PLANTED", "UNREADABLE", "AnswerSheet", "load_model"]

UNREADABLE = "It is hard to tell."
"""A reply that names no option."""


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Seeded(_Options):
    seed: int = 0


class _Position(_Options):
    letter: str = Field("B", pattern="^[A-H]$")


class _Memory(_Seeded):
    rate: float = Field(1.0, ge=0, le=1)


class AnswerSheet(_Options):
    """Probabilities of an answer sheet. Draws are independent but for what is told here.

    Args:
        raw: the answer to the raw picture is right; else it is any other option, all alike.
        edited: the answer to the edited picture is right where the model sees the cue there;
        unseen: and where it does not; by default the same.
        stick: a wrong answer to the edited picture is the raw picture's gold; else it is any of
            the remaining options. With two options there is nothing else.
        placebo: the answer to the placebo is that to the raw picture; else any other option.
        perceive: a perception question is answered rightly. On the edited picture, that is to see
            the cue; a perception item, which has no such question, sees it as often.
        unparsed: a reply names no option, in any arm.
        seed: of the draws.
    """

    raw: float = Field(0.9, ge=0, le=1)
    edited: float = Field(0.6, ge=0, le=1)
    unseen: float | None = Field(None, ge=0, le=1)
    stick: float = Field(0.5, ge=0, le=1)
    placebo: float = Field(0.95, ge=0, le=1)
    perceive: float = Field(0.9, ge=0, le=1)
    unparsed: float = Field(0.0, ge=0, le=1)
    seed: int = 0

    def expected(self, options: int) -> dict[str, float | None]:
        """What the metrics must say of pairs with so many options; None where undefined.

        Rates are among replies that could be read, but for `coverage`, the share of those.
        """
        k = options
        right = self.perceive * self.edited + (1 - self.perceive) * self._unseen
        stick = self.stick if k > 2 else 1.0
        wrong = 1 - right
        chance = 1 / (k - 1)
        # A wrong raw answer is the edited gold or another option, each as often.
        stuck = self.raw * wrong * stick + (1 - self.raw) * chance * (right + wrong * (1 - stick))
        placebo = self.raw * self.placebo + (1 - self.raw) * (1 - self.placebo) * chance
        return {
            "acc_raw": self.raw,
            "acc_edited": right,
            "delta": self.raw - right,
            "average_accuracy": (self.raw + right) / 2,
            "repeat_ratio": stick if self.raw and wrong else None,
            "rr_base": wrong * stick if self.raw else None,
            "rr_all": wrong * stick,
            "rr_star": (stick - chance) / (1 - chance) if k > 2 and self.raw and wrong else None,
            "stuck": stuck,
            "pair_acc": self.raw * right,
            "gated_unfaithfulness": 1 - self.edited if self.raw and self.perceive else None,
            "placebo_stability": self.placebo,
            "acc_placebo": placebo,
            "delta_placebo": self.raw - placebo,
            "delta_net": placebo - right,
            "perception_raw": self.perceive,
            "perception_edited": self.perceive,
            "acc_text": 1 / k,
            "coverage": 1 - self.unparsed,
        }

    @property
    def _unseen(self) -> float:
        return self.edited if self.unseen is None else self.unseen


def load_model(spec: str, bench: Bench) -> LanguageModel:
    """The model that `spec` names: any of `planish.models.load`, or `planted:NAME`.

    Raises:
        BadInput: an unknown model or option.
    """
    scheme, _, rest = spec.strip().partition(":")
    if scheme != "planted":
        return load(spec)
    name, mark, query = rest.partition("?")
    if name not in PLANTED:
        raise BadInput(
            f"no planted model is called {name!r}", where=spec, fix=f"known: {', '.join(PLANTED)}"
        )
    kind, answer = PLANTED[name]
    options = _options(kind, query if mark else "", spec)
    identity = json.dumps([name, options.model_dump(), bench.digest])
    revision = hashlib.sha256(identity.encode()).hexdigest()[:16]
    reply = partial(_reply, _Places(bench), partial(answer, options), options)
    return ScriptedModel(spec, reply, revision=revision)


def _options(kind: type[_Options], query: str, spec: str) -> _Options:
    given: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        name, equals, value = item.partition("=")
        if not equals or name in given:
            raise BadInput(
                f"{item!r} should read option=value, once", where=spec, fix="as in ?seed=1"
            )
        given[name] = value
    unknown = sorted(given.keys() - kind.model_fields.keys())
    if unknown:
        known = ", ".join(kind.model_fields) or "no options"
        raise BadInput(f"there is no option {unknown[0]!r}", where=spec, fix=f"known: {known}")
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise BadInput(f"option {explain(error)}", where=spec) from None


# ---- finding the pair ------------------------------------------------------------------------

Place = tuple[str, str]  # (SHA-256 of the picture or "", the words)


def _place(call: Call) -> Place:
    picture = picture_of(call.pair, call.arm)
    words = prompt(call.pair, call.arm, call.question)
    return ("" if picture is None else picture.sha256), words


class _Places:
    """Every call of a bench by what it asks, in a few bytes each.

    Pairs that ask the same of one picture have the same answer.
    """

    def __init__(self, bench: Bench) -> None:
        self._pairs = bench.pairs
        self._first = array("L")  # the number of each pair's first call
        self._numbered = Numbered(self._all())

    def _all(self) -> Iterator[str]:
        number = 0
        for pair in self._pairs:
            self._first.append(number)
            for call in Calls([pair], ARMS):
                number += 1
                yield json.dumps(_place(call))

    def find(self, place: Place) -> Call | None:
        """The call that asks this; None where none does."""
        number = self._numbered.find(json.dumps(place))
        if number is None:
            return None
        pair = bisect_right(self._first, number) - 1
        return calls_of([self._pairs[pair]], ARMS)[number - self._first[pair]]


def _reply(
    places: _Places,
    answer: Callable[[_Draw], str | None],
    options: _Options,
    chat: Chat,
    seed: int | None,
    sample: int,
) -> str:
    last = chat[-1]
    picture = hashlib.sha256(picture_bytes(last.images[0])).hexdigest() if last.images else ""
    call = places.find((picture, last.content))
    if call is None:
        raise BadInput(
            "a planted model answers nothing but the questions of its bench",
            where=last.content.partition("\n")[0],
            fix="ask the pairs of --bench, pictures unchanged",
        )
    draw = _Draw(call, (getattr(options, "seed", 0), sample if seed is None else seed))
    option = answer(draw)
    if option is None:
        return UNREADABLE
    return f"I looked at it step by step. \\boxed{{{draw.letter(option)}}}"


def _share(*parts: str | int) -> float:
    """A number in [0, 1) that these parts decide."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class _Draw:
    """The numbers that decide one reply; every one is a hash of what was asked and the seeds."""

    def __init__(self, call: Call, seeds: tuple[int, int]) -> None:
        self.call, self.seeds = call, seeds
        self.pair: EditPair = call.pair
        self.options = options_of(*call)
        self.sees = call.arm != "text"

    @property
    def gold(self) -> str:
        """Of the picture; without one nobody knows."""
        return gold_of(*self.call)

    def letter(self, option: str) -> str:
        return LETTERS[self.options.index(option)]

    def share(self, purpose: str, call: Call | None = None) -> float:
        """In [0, 1), for this call or for another one about the same pair."""
        return _share(*self.seeds, purpose, *_place(call or self.call))

    def pick(self, purpose: str, options: Sequence[str], call: Call | None = None) -> str:
        """One of these options, all alike."""
        return options[int(self.share(purpose, call) * len(options))]

    def guess(self) -> str:
        return self.pick("guess", self.options)

    def other(self, purpose: str, *known: str, call: Call | None = None) -> str:
        """Any option but those."""
        return self.pick(purpose, [each for each in self.options if each not in known], call)


# ---- how each answers ------------------------------------------------------------------------


def _oracle(_: _Seeded, draw: _Draw) -> str:
    return draw.gold if draw.sees else draw.guess()


def _random(_: _Seeded, draw: _Draw) -> str:
    return draw.guess()


def _position(options: _Position, draw: _Draw) -> str:
    # Beyond the last option of a yes-or-no question: the last one.
    return draw.options[min(LETTERS.index(options.letter), len(draw.options) - 1)]


def _memory(options: _Memory, draw: _Draw) -> str:
    if draw.pair.typical is None or draw.share("remembers") >= options.rate:
        return draw.gold if draw.sees else draw.guess()
    return _usual(draw)


def _usual(draw: _Draw) -> str:
    """What would be right if the picture were the usual one of the two."""
    raw: Arm = "raw"
    edited: Arm = "edited"
    if draw.call.arm.startswith("perception"):
        raw, edited = "perception_raw", "perception_edited"
    return gold_of(draw.pair, raw if draw.pair.typical else edited, draw.call.question)


def _cached(_: _Seeded, draw: _Draw) -> str:
    if not draw.sees:
        return draw.guess()
    if draw.call.arm.startswith("perception"):
        return gold_of(draw.pair, "perception_raw", draw.call.question)
    return gold_of(draw.pair, "raw")


def _blind(options: _Seeded, draw: _Draw) -> str:
    return draw.options[int(_share(options.seed, prompt(*draw.call)) * len(draw.options))]


def _sheet(sheet: AnswerSheet, draw: _Draw) -> str | None:
    arm = draw.call.arm
    if draw.share("unparsed") < sheet.unparsed:
        return None
    if arm == "text":
        return draw.guess()
    if arm.startswith("perception"):
        return draw.gold if draw.share("perceives") < sheet.perceive else draw.other("", draw.gold)
    if arm == "edited":
        return _sheet_edited(sheet, draw)
    raw = _sheet_raw(sheet, draw)
    if arm == "raw" or draw.share("stable") < sheet.placebo:
        return raw
    return draw.other("strays", raw)


def _sheet_raw(sheet: AnswerSheet, draw: _Draw) -> str:
    """The answer to the raw picture, which that to the placebo hangs on."""
    call = Call(draw.pair, "raw")
    if draw.share("right", call) < sheet.raw:
        return draw.pair.raw.gold
    return draw.other("slips", draw.pair.raw.gold, call=call)


def _sheet_edited(sheet: AnswerSheet, draw: _Draw) -> str:
    pair = draw.pair
    # The same draw as that of the first perception question, if the pair has one.
    cue = Call(pair, "perception_edited") if pair.perception else None
    sees = draw.share("perceives", cue) < sheet.perceive
    if draw.share("right") < (sheet.edited if sees else sheet._unseen):
        return pair.edited.gold
    sticks = len(draw.options) == 2 or draw.share("sticks") < sheet.stick
    return pair.raw.gold if sticks else draw.other("slips", pair.raw.gold, pair.edited.gold)


PLANTED: dict[str, tuple[type[_Options], Callable[[Any, _Draw], str | None]]] = {
    "oracle": (_Seeded, _oracle),
    "random": (_Seeded, _random),
    "position": (_Position, _position),
    "memory": (_Memory, _memory),
    "cached": (_Seeded, _cached),
    "blind": (_Seeded, _blind),
    "sheet": (AnswerSheet, _sheet),
}
"""Name -> its options, and how it answers."""
