"""What came of every reply that a run asks for, in a few bytes each.

    ledger = Ledger(numbered, repeats=1, max_tokens=1024)
    ledger.read(run)                                        what an earlier visit left
    ledger.get("colours-0000/raw/0/0")                      Seen(outcome="correct", cut=False)
    ledger.answered                                         1

One byte a reply says what came of it; twelve a call find it again by its name. The replies
themselves are on the disk.
"""

from __future__ import annotations

from planish.methods.vfaith.data import Outcome, Response
from planish.methods.vfaith.numbered import Numbered
from planish.methods.vfaith.running.records import RESPONSE, Seen
from planish.runs import Run, read_rows

__all__ = ["Ledger"]

_CODES: tuple[Seen | None, ...] = (
    None,
    Seen("correct"),
    Seen("wrong"),
    Seen("unparsed"),
    Seen("unparsed", cut=True),
    Seen("error"),
)
_CODE_OF = {seen: code for code, seen in enumerate(_CODES)}
_NOTHING, _ERROR = _CODE_OF[None], _CODE_OF[Seen("error")]


class Ledger:
    """Outcomes by the ids of the records; of several with one id the last counts.

    Args:
        names: of the calls, see `Call.name`.
        repeats: replies to each.
        max_tokens: that a reply may have; one that could not be read and used them up was cut.
    """

    def __init__(self, names: Numbered, repeats: int, max_tokens: int) -> None:
        self._names, self._repeats, self._max_tokens = names, repeats, max_tokens
        self._codes = bytearray(len(names) * repeats)

    def __len__(self) -> int:
        return len(self._codes)

    @property
    def answered(self) -> int:
        """Replies that came, readable or not."""
        return len(self) - self._codes.count(_NOTHING) - self._codes.count(_ERROR)

    def number(self, call: int, repeat: int) -> int:
        """Of a reply: the place of its call among all, and its repeat."""
        return call * self._repeats + repeat

    def has(self, number: int) -> bool:
        """Whether a reply came; what was lost is asked for again."""
        return self._codes[number] not in (_NOTHING, _ERROR)

    def is_told(self, number: int) -> bool:
        """Whether a record says what came of it, be it that nothing came."""
        return self._codes[number] != _NOTHING

    def get(self, id: str, /) -> Seen | None:
        """What came of a reply by the id of its record; None where nothing did."""
        number = self._find(id)
        return None if number is None else _CODES[self._codes[number]]

    def put(self, number: int, outcome: Outcome, tokens: int) -> None:
        """Notes what came of a reply."""
        cut = outcome == "unparsed" and 0 < self._max_tokens <= tokens
        self._codes[number] = _CODE_OF[Seen(outcome, cut)]

    def read(self, run: Run) -> None:
        """Notes what the run holds.

        Raises:
            BadInput: a line that is no reply.
        """
        for row in read_rows(run.path, RESPONSE):
            reply = row.read(Response)
            number = self._find(row.id)
            if number is not None:
                self.put(number, reply.outcome, reply.completion_tokens)

    def _find(self, id: str) -> int | None:
        name, _, repeat = id.rpartition("/")
        call = self._names.find(name)
        if call is None or not repeat.isdecimal() or int(repeat) >= self._repeats:
            return None
        return self.number(call, int(repeat))
