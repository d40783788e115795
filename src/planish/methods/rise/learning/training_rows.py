"""The rows of every stage of training: read, checked to be apart from the report, encoded.

data = encode(plan)["sft"]
data.rows, data.num_items
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from planish.judges.formats import read_pairs
from planish.judges.overlap import Asked, check_disjoint
from planish.judges.templates import question_text
from planish.methods.rise.learning.training_plan import Plan
from planish.methods.rise.method import check_golds
from planish.records import BadInput
from planish.training.job import model_path
from planish.training.rows import (
    EncodedRow,
    Encoder,
    Kind,
    Row,
    encode_all,
    read_rows,
    split_batch,
)

__all__ = ["Data", "encode"]


@dataclass(frozen=True)
class Data:
    """The encoded rows of a stage, and what is told of them.

    Args:
        num_items: different items among the rows.
        end_id: the token that every reply ends with.
        ties: pairs that were left out because neither reply is better.
    """

    rows: list[EncodedRow]
    num_items: int
    end_id: int
    ties: int = 0


def encode(plan: Plan) -> dict[Kind, Data]:
    """Reads and encodes the rows of every stage of a plan.

    Raises:
        BadInput: whatever is wrong with them, before anything is written.
    """
    from planish.models.local_loading import open_tokenizer

    tokenizer, context = open_tokenizer(model_path(plan.model))
    reports = [(path, read_pairs(path)) for path in plan.report_pairs]
    data = {}
    for stage in plan.stages:
        path, ties = Path(plan.data[stage]), 0
        encoder = Encoder(tokenizer, plan.model, whole=stage == "scalar")
        if stage == "scalar":
            rows, ties = _pair_rows(path)
        else:
            rows = read_rows(path, stage)
        asked = [Asked(row.id, row.question, row.prompt_text) for row in rows]
        for source, cases in reports:
            check_disjoint(asked, cases, source=source, near=plan.near_duplicate, what="rows")
        encoded = encode_all(rows, encoder, max_length=plan.max_length, context=context)
        split_batch(plan.batch_size(stage), plan.micro_batch_size, plan.num_processes)
        data[stage] = Data(encoded, len({row.id for row in rows}), encoder.end_id, ties)
    return data


def _pair_rows(path: Path) -> tuple[list[Row], int]:
    """The better and the worse reply of every pair, and how many pairs are ties.

    The head sees one reply at a time, so a pair makes one row, whatever slot its gold is in.

    Raises:
        BadInput: as `read_pairs` and `check_golds`.
    """
    cases = read_pairs(path)
    check_golds(cases, where=str(path))
    rows = [
        Row(
            id=case.id,
            prompt=case.example.prompt,
            replies=case.replies if case.gold == "A" else (case.replies[1], case.replies[0]),
            gold=case.gold,
            where=str(path),
            question=question_text(case.example.prompt),
        )
        for case in cases
        if case.gold in ("A", "B")
    ]
    empty = [row.id for row in rows if not all(reply.strip() for reply in row.replies)]
    if empty:
        raise BadInput(
            f"{len(empty)} of {len(rows)} pairs have an empty reply, the first is {empty[0]}",
            where=str(path),
            fix="remove them",
        )
    return rows, len(cases) - len(rows)
