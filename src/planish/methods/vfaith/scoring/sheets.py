"""Replies as arrays: one row a pair of the bench, one column a repeat.

    sheet = read_sheet(bench, responses, label="planted:oracle")
    sheet.arms["edited"]                int8 (pairs, repeats): place among the options, or a code

Codes below 0 say why there is no option: it could not be read, the call failed, or nobody asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import Arm, EditPair, Response
from planish.methods.vfaith.scoring.records import PairScore
from planish.records import BadInput

__all__ = ["ERROR", "MISSING", "UNPARSED", "Codes", "Sheet", "pair_scores", "read_sheet"]

Codes = npt.NDArray[np.int8]
Bools = npt.NDArray[np.bool_]

UNPARSED, ERROR, MISSING = -1, -2, -3
_WHY = {UNPARSED: "unparsed", ERROR: "error", MISSING: "missing"}
_CHOICES: tuple[Arm, ...] = ("raw", "edited", "placebo", "text")
_PERCEPTION: tuple[Arm, ...] = ("perception_raw", "perception_edited")


@dataclass(frozen=True)
class Sheet:
    """What one model answered.

    Args:
        label, model, revision: of the model; `label` is unique among those compared.
        pair_ids: of every pair of the bench, in its order; N of them.
        source: number of the pair's source, (N,).
        subset, family: of the pair, (N,).
        item: it is a perception item, (N,).
        options: how many there are, (N,).
        gold_raw, gold_edited: places of the golds, (N,).
        arms: raw, edited, placebo, text: places of the answers, (N, repeats).
        perception: perception_raw, perception_edited: 1 right, 0 wrong, (N, questions, repeats).
        has_placebo: the pair can be asked with a placebo, (N,); questions: how many, (N,).
    """

    label: str
    model: str
    revision: str
    pair_ids: tuple[str, ...]
    source: npt.NDArray[np.intp]
    subset: npt.NDArray[np.str_]
    family: npt.NDArray[np.str_]
    item: Bools
    options: Codes
    gold_raw: Codes
    gold_edited: Codes
    arms: Mapping[Arm, Codes]
    perception: Mapping[Arm, Codes]
    has_placebo: Bools
    questions: Codes

    @property
    def repeats(self) -> int:
        """Replies to each call."""
        return int(self.arms["raw"].shape[1])

    @property
    def asked(self) -> Bools:
        """Pairs of which anything was asked, (N,)."""
        found = [(codes != MISSING).any(axis=1) for codes in self.arms.values()]
        found += [(codes != MISSING).any(axis=(1, 2)) for codes in self.perception.values()]
        asked: Bools = np.logical_or.reduce(found)
        return asked

    def has(self, arm: Arm) -> bool:
        """Whether anything was asked in the arm."""
        codes = self.arms[arm] if arm in self.arms else self.perception[arm]
        return bool((codes != MISSING).any())


def read_sheet(
    bench: Bench, responses: Iterable[Response], *, label: str = "", where: str = ""
) -> Sheet:
    """Arrays of the replies of one model.

    A call that failed at first and brought a reply later counts as that reply.

    Args:
        bench: whose pairs were asked.
        responses: of one model and revision.
        label: what tables call it; by default the model's name.
        where: the run, for messages.

    Raises:
        BadInput: no reply at all, replies of two models, two replies to one call, or a reply to
            a pair, a question or with an option that the bench does not have.
    """
    places = {pair.pair_id: place for place, pair in enumerate(bench.pairs)}
    cells: dict[tuple[Arm, int, int, int], int] = {}
    names: set[tuple[str, str]] = set()
    for reply in responses:
        names.add((reply.model, reply.revision))
        place = places.get(reply.pair_id)
        if place is None:
            raise BadInput(
                f"a reply is about {reply.pair_id!r}, which the bench does not have",
                where=where,
                fix="score a run with the bench that it was made with",
            )
        code = _code(bench.pairs[place], reply, where)
        cell = (reply.arm, place, reply.question, reply.repeat)
        before = cells.get(cell, ERROR)
        if before != ERROR and code != ERROR:
            raise BadInput(
                f"two replies to pair {reply.pair_id!r}, arm {reply.arm}, question "
                f"{reply.question}, repeat {reply.repeat}",
                where=where,
                fix="start a new run",
            )
        cells[cell] = max(before, code)
    if len(names) != 1:
        found = f"replies of {len(names)} models in one run" if names else "no replies"
        raise BadInput(found, where=where, fix="planish vfaith run --model M --bench DIR")
    ((model, revision),) = names
    return _filled(bench, cells, label or model, model, revision)


def _code(pair: EditPair, reply: Response, where: str) -> int:
    options: tuple[str, ...] = pair.options
    gold = ""
    if reply.arm in _PERCEPTION:
        options = ("yes", "no")
        if not 0 <= reply.question < len(pair.perception):
            raise BadInput(
                f"pair {pair.pair_id!r} has no perception question {reply.question}", where=where
            )
        asked = pair.perception[reply.question]
        gold = asked.gold_raw if reply.arm == "perception_raw" else asked.gold_edited
    elif reply.question or not 0 <= reply.repeat < 1000:
        raise BadInput(f"a reply to {pair.pair_id!r} has no such question or repeat", where=where)
    if reply.outcome == "error":
        return ERROR
    if reply.parsed is None:
        return UNPARSED
    if reply.parsed not in options:
        raise BadInput(
            f"a reply to {pair.pair_id!r} chose {reply.parsed!r}, which is not among its options",
            where=where,
            fix="score a run with the bench that it was made with",
        )
    return int(reply.parsed == gold) if gold else options.index(reply.parsed)


def _filled(
    bench: Bench, cells: Mapping[tuple[Arm, int, int, int], int], label: str, model: str, rev: str
) -> Sheet:
    pairs = bench.pairs
    repeats = 1 + max(repeat for _, _, _, repeat in cells)
    most = max((len(pair.perception) for pair in pairs), default=0)
    arms: dict[Arm, Any] = {
        arm: np.full((len(pairs), repeats), MISSING, np.int8) for arm in _CHOICES
    }
    perception: dict[Arm, Any] = {
        arm: np.full((len(pairs), most, repeats), MISSING, np.int8) for arm in _PERCEPTION
    }
    for (arm, place, question, repeat), code in cells.items():
        if arm in arms:
            arms[arm][place, repeat] = code
        else:
            perception[arm][place, question, repeat] = code
    sources = {pair.source.id: number for number, pair in enumerate(pairs)}
    golds = [
        [pair.options.index(picture.gold) for pair in pairs for picture in [getattr(pair, name)]]
        for name in ("raw", "edited")
    ]
    return Sheet(
        label=label,
        model=model,
        revision=rev,
        pair_ids=tuple(pair.pair_id for pair in pairs),
        source=np.unique([sources[pair.source.id] for pair in pairs], return_inverse=True)[1],
        subset=np.array([pair.subset for pair in pairs]),
        family=np.array([pair.family for pair in pairs]),
        item=np.array([pair.kind == "perception" for pair in pairs]),
        options=np.array([len(pair.options) for pair in pairs], np.int8),
        gold_raw=np.array(golds[0], np.int8),
        gold_edited=np.array(golds[1], np.int8),
        arms=arms,
        perception=perception,
        has_placebo=np.array([pair.kind == "pair" and pair.placebo is not None for pair in pairs]),
        questions=np.array([len(pair.perception) for pair in pairs], np.int8),
    )


def pair_scores(bench: Bench, sheet: Sheet) -> Iterator[PairScore]:
    """Every pair that was asked, one a repeat, as it went into the numbers."""
    asked = sheet.asked
    for place, pair in enumerate(bench.pairs):
        if not asked[place]:
            continue
        for repeat in range(sheet.repeats):
            codes = {arm: int(sheet.arms[arm][place, repeat]) for arm in _CHOICES}
            found = {arm: pair.options[code] if code >= 0 else None for arm, code in codes.items()}
            seen = sheet.perception["perception_edited"][place, : sheet.questions[place], repeat]
            why = [f"{arm} {_WHY[codes[arm]]}" for arm in _CHOICES[:2] if codes[arm] < 0]
            yield PairScore(
                pair_id=pair.pair_id,
                model=sheet.label,
                repeat=repeat,
                r=found["raw"],
                e=found["edited"],
                p=found["placebo"],
                t=found["text"],
                seen=float(seen.mean()) if len(seen) and (seen >= 0).all() else None,
                excluded=bool(why),
                reason=", ".join(why),
            )
