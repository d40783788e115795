"""Replies as arrays: one row a pair of the bench, one column a repeat.

    sheet = read_sheet(bench, responses, label="planted:oracle")
    sheet.arms["edited"]                int16 (pairs, repeats): place among the options, or a code

Codes below 0 say why there is no option: it could not be read, the call failed, or nobody asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.config import REPEATS
from planish.methods.vfaith.data import ARMS, Arm, EditPair, Response
from planish.methods.vfaith.scoring.records import PairScore
from planish.methods.vfaith.usable import decisive
from planish.methods.vfaith.usable import places as chosen_places
from planish.records import BadInput

__all__ = [
    "ERROR",
    "MISSING",
    "UNPARSED",
    "Codes",
    "Planned",
    "Sheet",
    "pair_scores",
    "read_sheet",
]

Codes = npt.NDArray[np.int16]
Bools = npt.NDArray[np.bool_]

UNPARSED, ERROR, MISSING = -1, -2, -3
_WHY = {UNPARSED: "unparsed", ERROR: "error", MISSING: "missing"}
_CHOICES: tuple[Arm, ...] = ("raw", "edited", "placebo", "text")
_PERCEPTION: tuple[Arm, ...] = ("perception_raw", "perception_edited")


_COLUMNS: dict[str, Any] = {
    "pair_ids": None,
    "source": np.intp,
    "subset": np.str_,
    "family": np.str_,
    "item": bool,
    "options": np.int16,
    "gold_raw": np.int16,
    "gold_edited": np.int16,
    "has_placebo": bool,
    "questions": np.int16,
}
"""What a sheet holds of every pair, and as what."""


class Planned(BaseModel):
    """What a run was to ask, as its settings have it.

    Args:
        limit: pairs at most; None: the whole bench.
        arms: that were to be asked; none: whatever was.
        repeats: replies to each call.
        min_coverage: the run's own floor for a headline.
        unpinned: the model's name may stand for another model tomorrow.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    limit: int | None = Field(None, ge=1)
    arms: tuple[Arm, ...] = ()
    repeats: int = Field(1, ge=1, le=REPEATS)
    min_coverage: float | None = Field(None, ge=0, le=1)
    unpinned: bool = False


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
        plan: what the run was to ask; planned: which pairs, (N,); None: those that were asked.
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
    plan: Planned = field(default_factory=Planned)
    planned: Bools | None = None

    @property
    def repeats(self) -> int:
        """Replies to each call."""
        return int(self.arms["raw"].shape[1])

    @property
    def asked(self) -> Bools:
        """Pairs that were to be asked, whatever came of it, (N,)."""
        if self.planned is not None:
            return self.planned
        found = [(codes != MISSING).any(axis=1) for codes in self.arms.values()]
        found += [(codes != MISSING).any(axis=(1, 2)) for codes in self.perception.values()]
        asked: Bools = np.logical_or.reduce(found)
        return asked

    def has(self, arm: Arm) -> bool:
        """Whether anything was asked in the arm."""
        codes = self.arms[arm] if arm in self.arms else self.perception[arm]
        return bool((codes != MISSING).any())

    def wants(self, arm: Arm) -> bool:
        """Whether anything was to be asked in the arm."""
        return arm in self.plan.arms or self.has(arm)

    def usable(self, least: int = 0) -> Bools:
        """Of the pairs that were to be asked, whether every decisive reply is there.

        Args:
            least: the code of a reply that is; `UNPARSED` takes one that could not be read.

        Returns:
            (pairs asked, repeats).
        """
        found = np.ones((len(self.item), self.repeats), bool)
        everyone = np.ones(len(self.item), bool)
        any_call = ~everyone
        numbers = np.arange(self.perception["perception_raw"].shape[1])
        for arm in decisive(arm for arm in ARMS if self.wants(arm)):
            if arm in self.arms:
                there: Bools = self.has_placebo if arm == "placebo" else everyone
                came = self.arms[arm] >= least
            else:
                there = np.asarray(self.questions > 0)
                beyond = (numbers >= self.questions[:, None])[..., None]
                came = np.asarray(((self.perception[arm] >= least) | beyond).all(axis=1))
            found &= came | ~there[:, None]
            any_call |= there
        return found[self.asked & ~self.item & any_call]

    def restricted(self, pairs: Bools) -> Sheet:
        """The same as if only these pairs had been asked, (N,)."""

        def kept(codes: Codes) -> Codes:
            return np.where(pairs.reshape(-1, *[1] * (codes.ndim - 1)), codes, MISSING)

        return replace(
            self,
            arms={arm: kept(codes) for arm, codes in self.arms.items()},
            perception={arm: kept(codes) for arm, codes in self.perception.items()},
            planned=self.asked & pairs,
        )


def read_sheet(
    bench: Bench,
    responses: Iterable[Response],
    *,
    label: str = "",
    where: str = "",
    plan: Planned | None = None,
) -> Sheet:
    """Arrays of the replies of one model.

    A call that failed at first and brought a reply later counts as that reply.

    Args:
        bench: whose pairs were asked.
        responses: of one model and revision.
        label: what tables call it; by default the model's name.
        where: the run, for messages.
        plan: what was to be asked; what did not come is missing. By default, what there is.

    Raises:
        BadInput: no reply at all, replies of two models, two replies to one call, or a reply to
            a pair, a question or with an option that the bench does not have.
    """
    sheet = _empty(bench, 1 if plan is None else plan.repeats)
    places = {pair_id: place for place, pair_id in enumerate(sheet.pair_ids)}
    cells = _Cells(sheet)
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
        if not cells.put(reply, place, _code(bench.pairs[place], reply, where)):
            raise BadInput(
                f"two replies to pair {reply.pair_id!r}, arm {reply.arm}, question "
                f"{reply.question}, repeat {reply.repeat}",
                where=where,
                fix="start a new run",
            )
    if len(names) != 1:
        found = f"replies of {len(names)} models in one run" if names else "no replies"
        raise BadInput(found, where=where, fix="planish vfaith run --model M --bench DIR")
    ((model, revision),) = names
    sheet = replace(
        sheet,
        label=label or model,
        model=model,
        revision=revision,
        arms=cells.arms,
        perception=cells.perception,
    )
    if plan is None:
        return sheet
    planned = np.zeros(len(places), bool)
    planned[chosen_places(bench.pairs, plan.limit)] = True
    return replace(sheet, plan=plan, planned=planned)


class _Cells:
    """The arrays as they fill; a repeat that was not foreseen makes them wider."""

    def __init__(self, empty: Sheet) -> None:
        self.arms = {**empty.arms}
        self.perception = {**empty.perception}

    def put(self, reply: Response, place: int, code: int) -> bool:
        """Keeps a reply; False where another one is there already."""
        while reply.repeat >= self.arms["raw"].shape[-1]:
            for table in (self.arms, self.perception):
                for arm, codes in table.items():
                    more = [(0, 0)] * (codes.ndim - 1) + [(0, 1)]
                    table[arm] = np.pad(codes, more, constant_values=MISSING)
        if reply.arm in self.arms:
            cell = self.arms[reply.arm][place]
        else:
            cell = self.perception[reply.arm][place, reply.question]
        before = cell[reply.repeat]
        if before > ERROR and code > ERROR:
            return False
        cell[reply.repeat] = max(before, code)
        return True


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
    elif reply.question:
        raise BadInput(f"a reply to {pair.pair_id!r} has no such question", where=where)
    if not 0 <= reply.repeat < REPEATS:
        raise BadInput(
            f"a reply to {pair.pair_id!r} is repeat {reply.repeat}; there are at most {REPEATS}",
            where=where,
        )
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


def _empty(bench: Bench, repeats: int) -> Sheet:
    """A sheet without answers. The bench is gone through once, and no pair of it is kept."""
    sources: dict[str, int] = {}
    texts: dict[str, str] = {}  # one text stands for all that are equal
    columns: dict[str, Any] = {name: [] for name in _COLUMNS}
    for pair in bench.pairs:
        row = (
            pair.pair_id,
            sources.setdefault(pair.source.id, len(sources)),
            texts.setdefault(pair.subset, pair.subset),
            texts.setdefault(pair.family, pair.family),
            pair.kind == "perception",
            len(pair.options),
            pair.options.index(pair.raw.gold),
            pair.options.index(pair.edited.gold),
            pair.kind == "pair" and pair.placebo is not None,
            len(pair.perception),
        )
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    num, most = len(columns["pair_ids"]), max(columns["questions"], default=0)
    last = dict(zip(columns["source"], range(num), strict=True))  # sources go by their last pair
    columns["source"] = np.unique([last[each] for each in columns["source"]], return_inverse=True)[
        1
    ]
    pair_ids = tuple(columns.pop("pair_ids"))
    arrays: dict[str, Any] = {
        name: np.array(column, _COLUMNS[name]) for name, column in columns.items()
    }
    return Sheet(
        label="",
        model="",
        revision="",
        pair_ids=pair_ids,
        **arrays,
        arms={arm: np.full((num, repeats), MISSING, np.int16) for arm in _CHOICES},
        perception={arm: np.full((num, most, repeats), MISSING, np.int16) for arm in _PERCEPTION},
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
