"""Vision models look whether the cue of a photograph is there: gate 7, where no scene is known.

    witnesses = Witnesses(Path("bench"), [load("openai:a@..."), load("openai:b@...")], screen)
    told = witnesses.look([Case("helmet", "the colour of the helmet", "red", "blue", raw, edited)])
    told.checks["helmet"]       Check(gate="cue_seen", value=1.0)
    told.lost                   {} or, by pair, why there is no answer yet

Every model is asked about the old and the new value on the raw and on the edited picture, yes or
no. The raw picture must show the old one and not the new one, the edited picture the reverse, and
all models must say so: a reply that cannot be read is no yes. Models that agree may still be wrong
together (EditJudge-Bench finds gaps in all of them): the gates of pixels stay, and so do people.

Replies are kept as they come, one file a bench (`cue_replies.jsonl`), so that no picture is asked
about twice in the same words; `cue_seen.jsonl` tells every answer as it was read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from planish.methods.vfaith.data import Check, Picture
from planish.methods.vfaith.extraction import extract
from planish.methods.vfaith.phrasing import lettered
from planish.models.base import LanguageModel, Steps
from planish.records import (
    Completion,
    Message,
    Record,
    Sampling,
    read_records,
    write_jsonl,
)
from planish.runs.console import Screen
from planish.runs.lines import raise_if_full

__all__ = ["GATE", "REPLIES", "SEEN", "Case", "Seen", "Told", "Witnesses", "verdict"]

GATE = "cue_seen"
REPLIES, SEEN = "cue_replies.jsonl", "cue_seen.jsonl"

Shown = Literal["raw", "edited"]
Value = Literal["old", "new"]
Answer = Literal["yes", "no"]

_YES_NO = ("yes", "no")
_SAMPLING = Sampling(temperature=0, max_tokens=1024, seed=0)

_EXPECTED: dict[tuple[Shown, Value], Answer] = {
    ("raw", "old"): "yes",
    ("raw", "new"): "no",
    ("edited", "old"): "no",
    ("edited", "new"): "yes",
}
_CODES: dict[tuple[Shown, Value], str] = {
    ("raw", "old"): "old_absent",
    ("raw", "new"): "new_present",
    ("edited", "old"): "old_present",
    ("edited", "new"): "new_absent",
}


class Case(NamedTuple):
    """A cue to look for.

    Args:
        cue, old, new: what it is, and its values, in words.
        raw, edited: pictures of the bench; without the second only the first is asked about.
    """

    pair_id: str
    cue: str
    old: str
    new: str
    raw: Picture
    edited: Picture | None = None


class Seen(Record):
    """What one model said of one value on one picture.

    Args:
        shown, sha256: which picture, and the hash of its bytes.
        value: whose presence was asked for; question: the words of the call.
        text: the reply as it came; parsed: the answer that was read out of it, None where none was.
        expected: what a good edit makes of it.
    """

    pair_id: str
    model: str
    revision: str
    shown: Shown
    sha256: str
    value: Value
    question: str
    text: str
    parsed: Answer | None
    expected: Answer

    @property
    def place(self) -> tuple[str, str, str, str]:
        """That it has in `SEEN`, in order."""
        return self.pair_id, self.model, self.shown, self.value


@dataclass
class Told:
    """What came of looking.

    Args:
        checks: by pair that every model has answered about.
        lost: why a pair has no check yet, by its id; to be asked again.
    """

    checks: dict[str, Check] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


class _Ask(NamedTuple):
    case: Case
    shown: Shown
    value: Value

    @property
    def picture(self) -> Picture:
        picture = self.case.raw if self.shown == "raw" else self.case.edited
        assert picture is not None  # `_asks` leaves those out
        return picture

    @property
    def words(self) -> str:
        value = self.case.old if self.value == "old" else self.case.new
        question = (
            f"Look at {self.case.cue} in this picture. Going by the picture alone, "
            f'is the following what it shows: "{value}"?'
        )
        return lettered(question, _YES_NO)


class Witnesses:
    """At least two models that look, and what they have said until now.

    Args:
        folder: of the bench.
        models: that differ, see `independence.check_apart`.

    Raises:
        BadInput: what they said before cannot be read.
    """

    def __init__(self, folder: Path, models: Sequence[LanguageModel], screen: Screen) -> None:
        self.folder, self.models, self.screen = folder, models, screen
        known = {(model.name, model.revision) for model in models}
        path = folder / SEEN
        rows = read_records(path, Seen) if path.exists() else ()
        self.seen = {row.place: row for row in rows if (row.model, row.revision) in known}

    def look(self, cases: Sequence[Case]) -> Told:
        """Asks what is not known yet, and writes it down before it says anything.

        Raises:
            BadInput: a model cannot be reached at all, or refuses; what came before is kept.
            DiskFull: no room; what came before is kept.
        """
        asks = [ask for case in cases for ask in _asks(case)]
        told = Told()
        calls = len(asks) * len(self.models)
        with self.screen.progress("looking for the cue", calls) as step:
            for model in self.models:
                replies = self._replies(model, asks, Steps(step))
                for ask, reply in zip(asks, replies, strict=True):
                    if reply.finish == "error":
                        told.lost.setdefault(ask.case.pair_id, _why(model, ask, reply))
                    else:
                        row = _read(model, ask, reply)
                        self.seen[row.place] = row
        self._write()
        for case in cases:
            if case.pair_id not in told.lost:
                told.checks[case.pair_id] = verdict(
                    [
                        self.seen[case.pair_id, model.name, ask.shown, ask.value]
                        for model in self.models
                        for ask in _asks(case)
                    ]
                )
        return told

    def numbers(self, pair_ids: Iterable[str]) -> dict[str, Any]:
        """How the models answered about these pairs, for `build.json`."""
        wanted = set(pair_ids)
        rows = [row for row in self.seen.values() if row.pair_id in wanted]
        models = {}
        for model in self.models:
            own = [row for row in rows if row.model == model.name]
            models[model.name] = {
                "revision": model.revision,
                "replies": len(own),
                "as_expected": sum(row.parsed == row.expected for row in own),
                "unread": sum(row.parsed is None for row in own),
            }
        by_question: dict[tuple[str, str, str], set[Answer | None]] = {}
        for row in rows:
            by_question.setdefault((row.pair_id, row.shown, row.value), set()).add(row.parsed)
        alike = sum(len(answers) == 1 and None not in answers for answers in by_question.values())
        return {
            "models": models,
            "pairs": len({row.pair_id for row in rows}),
            "questions": len(by_question),
            "answered_alike": alike,
        }

    def _replies(
        self, model: LanguageModel, asks: Sequence[_Ask], watcher: Steps
    ) -> list[Completion]:
        from planish.judges.resumable import kept

        chats = [
            (
                Message(
                    role="user",
                    content=ask.words,
                    images=(str(self.folder / ask.picture.file),),
                ),
            )
            for ask in asks
        ]
        with kept(model, self.folder / REPLIES, self.screen) as cached:
            return [reply for (reply,) in cached.generate(chats, _SAMPLING, watcher=watcher)]

    def _write(self) -> None:
        path = self.folder / SEEN
        try:
            write_jsonl(path, (self.seen[place] for place in sorted(self.seen)))
        except OSError as error:
            raise_if_full(error, path)
            raise


def verdict(rows: Sequence[Seen]) -> Check:
    """What all replies about one pair add up to: unanimous, or a reason.

    What every model says against the edit is told before what they differ in, and that before what
    could not be read. Value: share of the replies that are as expected.
    """
    answers: dict[tuple[Shown, Value], list[Answer | None]] = {}
    for row in rows:
        answers.setdefault((row.shown, row.value), []).append(row.parsed)
    found = [_outcome(given, _EXPECTED[place], _CODES[place]) for place, given in answers.items()]
    ranked = sorted((each for each in found if each), key=_RANK.__getitem__)
    right = Counter(row.parsed == row.expected for row in rows)[True]
    code = ranked[0] if ranked else ""
    return Check(gate=GATE, value=right / len(rows), passed=not code, code=code)


_RANK = {
    code: rank for rank, code in enumerate((*_CODES.values(), "split", "unread"))
}  # raw before edited: what was never there cannot be edited


def _outcome(given: Sequence[Answer | None], expected: Answer, code: str) -> str:
    told = set(given)
    if None in told:
        return "unread"
    if told == {expected}:
        return ""
    return "split" if expected in told else code


def _asks(case: Case) -> list[_Ask]:
    return [
        _Ask(case, shown, value)
        for shown, value in _EXPECTED
        if shown == "raw" or case.edited is not None
    ]


def _read(model: LanguageModel, ask: _Ask, reply: Completion) -> Seen:
    found: Any = extract(reply.text, _YES_NO).option
    return Seen(
        pair_id=ask.case.pair_id,
        model=model.name,
        revision=model.revision,
        shown=ask.shown,
        sha256=ask.picture.sha256,
        value=ask.value,
        question=ask.words,
        text=reply.text,
        parsed=found,
        expected=_EXPECTED[ask.shown, ask.value],
    )


def _why(model: LanguageModel, ask: _Ask, reply: Completion) -> str:
    last = reply.failures[-1].kind if reply.failures else "no reason given"
    return f"{model.name} did not answer about {ask.case.pair_id} ({last})"
