"""Reading published judging data: pairs into `Case`s, recorded outputs into calls.

    >>> from planish.judges.formats import match, read_outputs, read_pairs
    >>> cases = read_pairs("pairs.jsonl.gz")                       # doctest: +SKIP
    >>> outputs = read_outputs("outputs.jsonl.gz", "judgebench")   # doctest: +SKIP
    >>> for case, output in match(cases, outputs, source="outputs.jsonl.gz"):  # doctest: +SKIP
    ...     print(case.gold, output.votes)

Files may be JSON Lines, plain or `.gz`, a `.json` array or object of columns, or Parquet. What
is wrong with a file is a `BadInput` that names its line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from planish.judges.base import Case
from planish.judges.formats import judgebench, own, rewardbench
from planish.judges.formats.rewardbench_scores import SUBSETS_V1
from planish.judges.formats.rows import RecordedOutput, Row, StrPath, read_rows
from planish.records import BadInput

__all__ = ["FORMATS", "Format", "RecordedOutput", "match", "read_outputs", "read_pairs"]

Format = Literal["auto", "judgebench", "rewardbench", "planish"]

_PAIRS: dict[str, Callable[[StrPath], list[Case]]] = {
    "judgebench": judgebench.read_pairs,
    "rewardbench": rewardbench.read_pairs,
    "planish": own.read_pairs,
}
_OUTPUTS: dict[str, Callable[[StrPath], list[RecordedOutput]]] = {
    "judgebench": judgebench.read_outputs,
    "rewardbench": rewardbench.read_outputs,
    "planish": own.read_outputs,
}
FORMATS = tuple(_PAIRS)


def _check_format(name: str) -> None:
    if name != "auto" and name not in FORMATS:
        raise BadInput(
            f"unknown format {name!r}",
            where="--format",
            fix=f"choose auto or one of {', '.join(FORMATS)}",
        )


def _pairs_format(row: Row) -> str:
    if "response_A" in row and "response_B" in row:
        return "judgebench"
    if {"example", "reply_a"} & set(row.values):
        return "planish"
    if "chosen" in row and "rejected" in row:
        # Preference rows of any origin look like v1 but for its subsets.
        subset = row.values.get("subset")
        v1 = isinstance(row["chosen"], str) and isinstance(subset, str) and subset in SUBSETS_V1
        return "rewardbench" if v1 or rewardbench.is_v2(row) else "planish"
    raise row.bad(
        f"no known format of pairs has the keys {', '.join(map(str, row.values)) or '(none)'}",
        fix="name the format with --format",
    )


def _outputs_format(row: Row) -> str:
    if "pair_id" in row:
        return "judgebench"
    if "kind" in row or "case_id" in row:
        return "planish"
    if "id" in row:
        return "rewardbench"
    raise row.bad(
        f"no known format of outputs has the keys {', '.join(map(str, row.values)) or '(none)'}",
        fix="name the format with --format",
    )


def read_pairs(path: StrPath, format: str = "auto") -> list[Case]:
    """Reads pairs (or lists) to be judged.

    Args:
        path: the file.
        format: "judgebench", "rewardbench", "planish", or "auto" to tell by the first row.

    Raises:
        BadInput: an unknown format, or whatever is wrong with the file, at its line.
    """
    _check_format(format)
    name = _pairs_format(read_rows(path)[0]) if format == "auto" else format
    return _PAIRS[name](path)


def read_outputs(path: StrPath, format: str = "auto") -> list[RecordedOutput]:
    """Reads what a judge said; formats and errors as for `read_pairs`."""
    _check_format(format)
    name = _outputs_format(read_rows(path)[0]) if format == "auto" else format
    return _OUTPUTS[name](path)


def match(
    cases: Sequence[Case], outputs: Sequence[RecordedOutput], *, source: str = "outputs"
) -> list[tuple[Case, RecordedOutput]]:
    """Every case with its output, in the order of the cases.

    Args:
        cases: what was to be judged.
        outputs: what was said about it, one output per case.
        source: the outputs' file, for messages.

    Raises:
        BadInput: an id twice, an output for no case, a case without output, or an output that
            contradicts its case (gold label, number of replies).
    """
    by_id = {case.id: case for case in cases}
    if len(by_id) < len(cases):
        twice = next(a.id for i, a in enumerate(cases) if a.id in {b.id for b in cases[:i]})
        raise BadInput(f"the id {twice!r} comes twice among the pairs", where="pairs")
    found: dict[str, RecordedOutput] = {}
    for output in outputs:
        where = f"{source}:{output.line}"
        # RewardBench ids that repeat between subsets are qualified by the subset.
        case = by_id.get(output.case_id) or by_id.get(f"{output.subset}/{output.case_id}")
        if case is None:
            raise BadInput(
                f"the id {output.case_id!r} is not among the pairs",
                where=where,
                fix="check that --pairs is the file these outputs were made from",
            )
        if case.id in found:
            raise BadInput(
                f"the id {case.id!r} comes twice (first on line {found[case.id].line})",
                where=where,
                fix="remove one of the rows",
            )
        _check_fit(case, output, where)
        found[case.id] = output
    missing = [case.id for case in cases if case.id not in found]
    if missing:
        raise BadInput(
            f"{len(missing)} of {len(cases)} pairs have no output, the first is {missing[0]!r}",
            where=source,
            fix="finish the run, or score the first pairs only with --limit",
        )
    return [(case, found[case.id]) for case in cases]


def _check_fit(case: Case, output: RecordedOutput, where: str) -> None:
    size = len(case.replies)
    if output.gold is not None and case.gold is not None and output.gold != case.gold:
        raise BadInput(
            f"{case.id!r} is labelled {output.gold} here and {case.gold} in the pairs",
            where=where,
            fix="check that both files are of the same release",
        )
    if output.scores and len(output.scores) != size:
        raise BadInput(
            f"{case.id!r} has {size} replies, found {len(output.scores)} scores", where=where
        )
    shown = {len(perm) for perm in output.perms}
    # Only our own judgments hold duels, which show two of many.
    if any(max(perm) >= size for perm in output.perms) or (
        output.judgment is None and shown - {size}
    ):
        raise BadInput(
            f"{case.id!r} has {size} replies, its calls show others",
            where=where,
            fix="check that --pairs is the file these outputs were made from",
        )
    if output.result is not None and size == 2 and output.result not in (0.0, 0.5, 1.0):
        raise BadInput(f"the result of a pair is 0, 0.5 or 1, found {output.result}", where=where)
