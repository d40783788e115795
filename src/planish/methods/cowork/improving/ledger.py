"""What is in use in an evolution, and what it has cost until now.

ledger = Ledger(library, shelf)
ledger.spend(sim_steps=400)
promotion = ledger.change(better, round=1, kind="promoted", detail="+12.0")
ledger.active, ledger.standing
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from planish.methods.cowork.data import Promotion
from planish.methods.cowork.improving.rounds import Round, Standing, fared
from planish.methods.cowork.improving.snapshots import Shelf
from planish.methods.cowork.improving.texts import printable
from planish.methods.cowork.skills import Library, Stats

__all__ = ["Ledger"]

_EVOLVED = "_evolved"
_LONGEST_DESCRIPTION = 1024


class Ledger:
    """Libraries by their digests, on a shelf where there is one.

    Args:
        start: the library that an evolution begins with.
        shelf: None: the libraries are in memory alone.

    Attributes:
        standing: where the evolution stands.
    """

    def __init__(self, start: Library, shelf: Shelf | None = None) -> None:
        self._shelf = shelf
        self._libraries = {start.digest: start}
        self.start = start
        self.standing = Standing(
            active=start.digest, previous=start.digest, anchor=start.digest, best=start.digest
        )
        if shelf is not None:
            shelf.start(start)

    @property
    def active(self) -> Library:
        """The library in use."""
        return self.library(self.standing.active)

    def offspring(self, layouts: Iterable[str], rounds: Iterable[Round]) -> Library:
        """The library in use with a name and a text that are true of it; it acts as before.

        The first library's text would tell of gaps that are mended by now. The statistics are
        those of the rounds that this library was trained in.
        """
        counts = fared(rounds, self.active.digest)
        methods = tuple(
            method.model_copy(update={"stats": Stats(tried=tried, succeeded=succeeded)})
            for method in self.active.methods
            for tried, succeeded in [counts.get(method.id, (0, 0))]
        )
        made = self.active.model_copy(update={"methods": methods})
        if made.digest == self.start.digest:
            return made
        kitchens = ", ".join(dict.fromkeys(Path(layout).stem for layout in layouts))
        text = f"Evolved from {self.start.name} {self.start.digest[:8]} in {kitchens}."
        name = f"{self.start.name.removesuffix(_EVOLVED)[: 64 - len(_EVOLVED)]}{_EVOLVED}"
        return made.model_copy(
            update={"name": name, "description": printable(text, _LONGEST_DESCRIPTION)}
        )

    def library(self, digest: str) -> Library:
        """A library that was in use at some time."""
        if digest not in self._libraries and self._shelf is not None:
            self._libraries[digest] = self._shelf.load(digest)
        return self._libraries[digest]

    def change(
        self, library: Library, *, round: int, kind: Literal["promoted", "reverted"], detail: str
    ) -> Promotion:
        """Puts another library in use.

        Raises:
            NotKept: it could not be kept on disk; nothing has changed.
        """
        before, anchor = self.standing.active, self.standing.anchor
        if self._shelf is not None:
            promotion = self._shelf.promote(
                library, round=round, kind=kind, anchor=anchor, detail=detail
            )
        else:
            promotion = Promotion(
                kind=kind,
                from_hash=before,
                to_hash=library.digest,
                anchor_hash=anchor,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                round=round,
                detail=detail,
            )
        self._libraries[library.digest] = library
        self.update(
            active=library.digest,
            previous=before if kind == "promoted" else library.digest,
            changes=self.standing.changes + 1,
        )
        return promotion

    def move_anchor(self) -> None:
        """Measures the total drift from the library in use, from now on.

        Raises:
            NotKept: that could not be kept on disk; nothing has changed.
        """
        if self._shelf is not None:
            self._shelf.move_anchor(self.standing.active)
        self.update(anchor=self.standing.active)

    def left(self, limit: int | None) -> int | None:
        """Kitchen ticks that may still be played; None: as many as it takes."""
        return None if limit is None else max(0, limit - self.standing.sim_steps)

    def stop(self, reason: str) -> None:
        """Ends the evolution; what is in use stays."""
        self.update(stopped=f"{reason}: the library in use stays")

    def spend(self, **amounts: int) -> None:
        """Adds to the counts of the standing."""
        self.update(
            **{name: getattr(self.standing, name) + amount for name, amount in amounts.items()}
        )

    def update(self, **changes: Any) -> None:
        """Replaces parts of the standing."""
        self.standing = self.standing.model_copy(update=changes)
