"""What a run has recorded of a reheating: whatever is there is read back, not measured again.

    ledger = Ledger(job.run, "reheat-1")
    start = ledger.once("start", "before", Start, measure)      # on every process

Only the main process keeps and measures; the others hear of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from planish.records import BadInput
from planish.runs import Run
from planish.runs.rows import Row, read_rows
from planish.training.trainer import share

__all__ = ["Ledger"]

R = TypeVar("R", bound=BaseModel)


class Ledger:
    """The records of one reheating among those of a run.

    Args:
        run: None on a process that does not write.
        name: of the reheating.
    """

    def __init__(self, run: Run | None, name: str) -> None:
        self._run, self._name = run, name
        self._rows: dict[tuple[str, str], Row] = {}
        if run is not None:
            self._rows = {
                (row.kind, row.id): row
                for row in read_rows(run.path)
                if row.id.startswith(f"{name}/")
            }

    def find(self, kind: str, id: str, model: type[R]) -> R | None:
        """What was recorded, on the main process."""
        row = self._rows.get((kind, f"{self._name}/{id}"))
        return None if row is None else row.read(model)

    def keep(self, kind: str, id: str, record: BaseModel) -> None:
        """Records it, on the main process, unless that was done."""
        whole = f"{self._name}/{id}"
        if self._run is not None and (kind, whole) not in self._rows:
            self._run.record(kind, record, id=whole)
            data = record.model_dump(mode="json")
            self._rows[kind, whole] = Row(kind, whole, data, where=str(self._run.path))

    def told(self, kind: str, id: str, model: type[R]) -> R | None:
        """What was recorded, on every process."""
        found: R | None = share(self.find(kind, id, model))
        return found

    def once(self, kind: str, id: str, model: type[R], make: Callable[[], R]) -> R:
        """What was recorded; else what the main process makes, which is then recorded.

        Raises:
            BadInput: on every process, where `make` raises it.
        """
        found, refusal = self.find(kind, id, model), None
        if found is None and self._run is not None:
            try:
                found = make()
                self.keep(kind, id, found)
            except BadInput as error:
                refusal = (error.what, error.where, error.fix)
        found, refusal = share((found, refusal))
        if refusal is not None:
            what, where, fix = refusal
            raise BadInput(what, where=where, fix=fix)
        made: R = found
        return made
