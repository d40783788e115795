"""Fills the places of a bench, over several processes, or over threads where an endpoint does it.

    filled = fill(site, load_editor("scene"), screen, workers=2)
    filled.empty, filled.failures           places without a pair; edits of which no picture came

Work is dealt out in rounds of small chunks. Chunks know nothing of each other and come back in
order, so a bench is the same for any number of workers, and no more than a round is in memory.
An edit of which no picture comes leaves its place empty for now: the next call tries it again.
So does a cue that a verifier has not yet answered about.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from planish.methods.vfaith.building.pairs import Desk, draw_pair
from planish.methods.vfaith.building.photographs import Entry, case_of, cue_case, photo_pair
from planish.methods.vfaith.building.plan import Plan, Slot
from planish.methods.vfaith.building.writing import Site
from planish.methods.vfaith.data import Check, EditPair
from planish.methods.vfaith.editing.contract import EditFailed, Editor
from planish.methods.vfaith.method import Exhausted
from planish.methods.vfaith.verifying.witnesses import Case, Witnesses
from planish.parallel import fan_out
from planish.runs.console import Screen

__all__ = ["ATTEMPTS", "PAID_ATTEMPTS", "THREADS", "Filled", "fill"]

ATTEMPTS = 20
"""Pairs that are drawn for one place of a bench before it stays empty."""

PAID_ATTEMPTS = 2
"""The same with an editor that costs money or hours."""

THREADS = 8
"""Requests at once to an endpoint, unless the caller says otherwise."""

_CHUNK = 4  # places that a worker fills before it reports
_ROUND = 16  # chunks a worker, between two looks at the disk


@dataclass(frozen=True)
class Filled:
    """What came of filling a bench.

    Args:
        empty: places without a pair.
        failures: why no picture came, of each edit that failed; the next call tries them again.
        unseen: why there is no answer about a cue, of each that waits for one.
    """

    empty: int
    failures: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Line:
    """A pair as it goes to the disk, or why there is none yet."""

    pair_id: str
    text: str
    passed: bool
    failure: str = ""


@dataclass(frozen=True)
class _Drawing:
    """Fills slots; goes to other processes with an editor that can."""

    desk: Desk
    attempts: int

    def __call__(self, slots: Sequence[Slot]) -> list[_Line]:
        return [line for slot in slots for line in self._fill(slot)]

    def _fill(self, slot: Slot) -> Iterator[_Line]:
        for attempt in range(slot.attempt, self.attempts):
            try:
                pair = draw_pair(self.desk, replace(slot, attempt=attempt))
            except Exhausted:
                continue
            except EditFailed as error:
                yield _Line(slot.name, "", False, str(error))
                return
            yield _line(pair)
            if pair.passed:
                return


@dataclass(frozen=True)
class _Photographing:
    """Makes the pairs of photographs.

    Args:
        before: what verifiers say of the raw picture, by pair.
    """

    desk: Desk
    before: Mapping[str, Check]

    def __call__(self, entries: Sequence[Entry]) -> list[_Line]:
        return [self._made(entry) for entry in entries]

    def _made(self, entry: Entry) -> _Line:
        try:
            return _line(photo_pair(self.desk, entry, self.before.get(entry.photo.id)))
        except EditFailed as error:
            return _Line(entry.photo.id, "", False, str(error))


class _Seen:
    """What verifiers say before an edit is paid for, and of what came of it; without any, nothing.

    Attributes:
        lost: why there is no answer about a pair yet, by its id.
    """

    def __init__(self, desk: Desk, witnesses: Witnesses | None) -> None:
        self.desk, self.witnesses = desk, witnesses
        self.lost: dict[str, str] = {}

    def before(self, entries: Sequence[Entry]) -> dict[str, Check]:
        """Whether the raw pictures show the old value and not the new one."""
        if self.witnesses is None or not entries:
            return {}
        return self._look([cue_case(self.desk, entry) for entry in entries])

    def after(self, lines: list[_Line]) -> list[_Line]:
        """Lines of pairs with what was seen on both pictures; it is asked of those that passed."""
        if self.witnesses is None:
            return lines
        pairs = [EditPair.model_validate_json(line.text) for line in lines if line.passed]
        checks = self._look([case_of(pair) for pair in pairs]) if pairs else {}
        found = {pair.pair_id: self._told(pair, checks.get(pair.pair_id)) for pair in pairs}
        return [found.get(line.pair_id, line) for line in lines]

    def _told(self, pair: EditPair, check: Check | None) -> _Line:
        if check is None:
            return _Line(pair.pair_id, "", False, self.lost[pair.pair_id])
        return _line(pair.model_copy(update={"checks": (*pair.checks, check)}))

    def _look(self, cases: Sequence[Case]) -> dict[str, Check]:
        assert self.witnesses is not None
        told = self.witnesses.look(cases)
        self.lost.update(told.lost)
        return told.checks


def fill(
    site: Site,
    editor: Editor,
    screen: Screen,
    *,
    entries: Sequence[Entry] = (),
    workers: int | None = None,
    witnesses: Witnesses | None = None,
) -> Filled:
    """Fills every place that is still empty, as far as it goes.

    Once every edit of a round has failed, the editor is not there: nothing more is asked of it.

    Args:
        entries: photographs, for a plan that is made of them.
        workers: processes that draw, or requests at once to an endpoint.
        witnesses: look for the cue on photographs.

    Raises:
        BadInput: the editor or a verifier cannot be used, or a picture cannot be read or written.
        DiskFull: no room; what was kept before is whole.
    """
    there = site.count()
    if there:
        screen.note(f"{there} pairs are there already")
    desk = Desk(site.folder, site.plan, editor)
    backend, workers = _workers(site.plan, workers)
    if site.plan.photos:
        left = [entry for entry in entries if not _is_known(site, entry.photo.id)]
        seen = _Seen(desk, witnesses)
        before = seen.before(left)
        left = [entry for entry in left if entry.photo.id not in seen.lost]
        failures = _in_rounds(
            site, _Photographing(desk, before), left, screen, 1, workers, "threading", seen.after
        )
        lost = {*seen.lost.values()}
        return Filled(
            sum(not site.has(entry.photo.id) for entry in entries),
            tuple(why for why in failures if why not in lost),
            tuple(seen.lost.values()),
        )
    attempts = _attempts(site.plan)
    slots = _empty_slots(site, attempts)
    chunk = _CHUNK if desk.exact else 1
    failures = _in_rounds(site, _Drawing(desk, attempts), slots, screen, chunk, workers, backend)
    return Filled(len(_without_pair(site, attempts)), failures)


def _in_rounds(
    site: Site,
    work: Callable[[Sequence[Slot]], list[_Line]] | Callable[[Sequence[Entry]], list[_Line]],
    items: Sequence[Slot] | Sequence[Entry],
    screen: Screen,
    chunk: int,
    workers: int,
    backend: str,
    then: Callable[[list[_Line]], list[_Line]] = list,
) -> tuple[str, ...]:
    failures: list[str] = []
    size = chunk * workers * _ROUND
    with screen.progress("building pairs", len(items)) as step:
        for begin in range(0, len(items), size):
            part = items[begin : begin + size]
            told = [0]

            def tell(done: int, total: int, told: list[int] = told, most: int = len(part)) -> None:
                for _ in range(min(done * chunk, most) - told[0]):
                    step()
                told[0] = min(done * chunk, most)

            chunks = [part[at : at + chunk] for at in range(0, len(part), chunk)]
            made = fan_out(work, chunks, workers=workers, backend=backend, progress=tell)  # type: ignore[arg-type]
            arrived = then([line for lines in made for line in lines])
            for line in arrived:
                if not line.failure:
                    site.add(line.pair_id, line.text, passed=line.passed)
            failures += [line.failure for line in arrived if line.failure]
            if arrived and all(line.failure for line in arrived):
                break
    return tuple(failures)


def _empty_slots(site: Site, attempts: int) -> list[Slot]:
    """Slots without a pair, each at the first attempt that has not failed yet."""
    found = []
    for slot in _without_pair(site, attempts):
        tried = (replace(slot, attempt=attempt) for attempt in range(attempts))
        fresh = next((each for each in tried if not site.has(each.name, passed=False)), None)
        if fresh is not None:
            found.append(fresh)
    return found


def _without_pair(site: Site, attempts: int) -> list[Slot]:
    return [
        slot
        for part in site.plan.parts
        for slot in site.plan.slots(part)
        if not any(site.has(replace(slot, attempt=again).name) for again in range(attempts))
    ]


def _is_known(site: Site, pair_id: str) -> bool:
    return site.has(pair_id) or site.has(pair_id, passed=False)


def _attempts(plan: Plan) -> int:
    return ATTEMPTS if plan.editor == "scene" else PAID_ATTEMPTS


def _workers(plan: Plan, asked: int | None) -> tuple[str, int]:
    """Processes for drawing; threads to wait for an endpoint; a pipeline fills its card alone."""
    if plan.editor == "scene":
        return "loky", asked or len(os.sched_getaffinity(0))
    return "threading", asked or (1 if plan.editor.startswith("diffusers:") else THREADS)


def _line(pair: EditPair) -> _Line:
    return _Line(pair.pair_id, pair.model_dump_json(), pair.passed)
