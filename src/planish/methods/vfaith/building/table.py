"""A bench's pairs as parquet, with the columns of the records.

write_table(Path("bench/pairs.parquet"), pairs)
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from planish.methods.vfaith.data import EditPair
from planish.runs.lines import rewriting

__all__ = ["write_table"]

_ROWS = 256  # of a row group of the table, and all that is ever in memory of it


def write_table(path: Path, pairs: Iterable[EditPair]) -> None:
    """Pairs as parquet, all or nothing, a few hundred in memory at a time.

    Scenes, what their solver is asked and the editor's parameters differ from family to family and
    stand as JSON text; all else has the columns of the records.
    """
    import pyarrow as arrow
    from pyarrow import parquet

    schema = _schema()
    with (
        rewriting(path) as file,
        parquet.ParquetWriter(file, schema, compression="zstd") as out,
    ):
        rows: list[dict[str, Any]] = []
        for pair in pairs:
            rows.append(_row(pair))
            if len(rows) == _ROWS:
                out.write_table(arrow.Table.from_pylist(rows, schema))
                rows.clear()
        if rows:
            out.write_table(arrow.Table.from_pylist(rows, schema))


def _row(pair: EditPair) -> dict[str, Any]:
    row = pair.model_dump(mode="json")
    row["ask"] = _text(row["ask"])
    row["edit"]["params"] = _text(row["edit"]["params"])
    for name in ("raw", "edited", "placebo"):
        if row[name] is not None:
            row[name]["scene"] = _text(row[name]["scene"])
    return row


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _schema() -> Any:
    import pyarrow as arrow

    text = arrow.string()
    picture = _struct(file=text, sha256=text, gold=text, scene=text)
    whole = arrow.int64()
    return arrow.schema(
        {
            "pair_id": text,
            "kind": text,
            "family": text,
            "subset": text,
            "source": _struct(id=text, licence=text),
            "question": text,
            "options": arrow.list_(text),
            "shuffle_seed": whole,
            "ask": text,
            "typical": arrow.bool_(),
            "raw": picture,
            "edited": picture,
            "placebo": picture,
            "placebo_name": text,
            "cue": _struct(
                name=text, old=text, new=text, mask=text, mask_sha256=text, box=arrow.list_(whole)
            ),
            "perception": arrow.list_(_struct(text=text, gold_raw=text, gold_edited=text)),
            "edit": _struct(
                backend=text,
                version=text,
                instruction=text,
                params=text,
                request=text,
                deterministic=arrow.bool_(),
                exact_mask=arrow.bool_(),
                native_size=arrow.list_(whole),
            ),
            "checks": arrow.list_(
                _struct(gate=text, value=arrow.float64(), passed=arrow.bool_(), code=text)
            ),
        }
    )


def _struct(**fields: Any) -> Any:
    import pyarrow as arrow

    return arrow.struct(list(fields.items()))
