"""planish's own pairs and judgments, and preference rows as trainers use them.

A row of pairs is one of

    {"id", "question" | "prompt", "reply_a", "reply_b", "gold": "A" | "B" | "tie" | null,
     "reference"?, "subset"?}
    {"id", "prompt"?, "chosen", "rejected", "subset"?}          (text or lists of messages)
    {"example": {...}, "replies": [...]}                        (a serialized `Case`)

The first two may say what a right answer is, as a file of questions does: `target`, and if it
likes `choices` and `grader` ("math", "choice" or "exact"). It goes to `example.target`, graders
and choices to the meta, so that the replies and a judge's own solution can be verified.

Outputs are `Judgment` or `Call` records, bare or as lines of a run's `records.jsonl`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

from planish.judges.base import Case, Judgment, letter
from planish.judges.formats.rows import (
    RecordedOutput,
    Row,
    StrPath,
    case_of,
    read_rows,
    unique,
)
from planish.records import BadInput, Chat
from planish.tasks.grading import Grader
from planish.tasks.questions import answered

__all__ = ["gold_slot", "read_outputs", "read_pairs"]

_GOLD = ("A", "B", "tie")


def gold_slot(case_id: str) -> str:
    """The slot, "A" or "B", where a preference row's chosen reply goes: fixed by its id.

    A file whose right reply always comes first would crown a judge that always says A.
    """
    digest = hashlib.sha256(case_id.encode("utf-8", "surrogatepass")).digest()
    return "AB"[digest[0] & 1]


def read_pairs(path: StrPath) -> list[Case]:
    """Reads any mixture of the three kinds of row.

    Raises:
        BadInput: a field is missing or of the wrong kind, an unknown gold label, identical
            replies, an id twice, no rows.
    """
    return unique(read_rows(path), _read_pair)


def _read_pair(row: Row) -> Case:
    if "example" in row:
        return _checked(row, row.make(Case.model_validate, dict(row.values)))
    if "chosen" in row or "rejected" in row:
        return _checked(row, _with_target(row, _preference(row)))
    case = case_of(
        row,
        row.identifier("id"),
        row.chat("prompt" if "prompt" in row else "question"),
        (row.text("reply_a"), row.text("reply_b")),
        {
            "gold": row.maybe_text("gold"),
            "reference": row.maybe_text("reference"),
            "subset": row.maybe_text("subset"),
        },
    )
    return _checked(row, _with_target(row, case))


class _Answer(BaseModel):
    """What a row says about right answers; other columns are read elsewhere."""

    model_config = ConfigDict(extra="ignore")

    target: StrictStr | StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    choices: tuple[StrictStr, ...] | None = None
    grader: Grader | None = None


def _with_target(row: Row, case: Case) -> Case:
    """The case with the row's gold answer, if it has one."""
    if row.values.get("target") is None:
        given = [name for name in ("choices", "grader") if row.values.get(name) is not None]
        if given:
            raise row.bad(f"{given[0]!r} without a 'target'", fix="add the right answer")
        return case
    answer = row.make(_Answer.model_validate, dict(row.values))
    if not str(answer.target).strip():
        raise row.bad("the target is empty", fix="write the right answer, or leave it out")
    prompt, target, meta = answered(
        case.example.prompt,
        answer.target,
        choices=answer.choices,
        grader=answer.grader,
        where=row.where,
    )
    example = case.example.model_copy(
        update={"prompt": prompt, "target": target, "meta": {**case.example.meta, **meta}}
    )
    return case.model_copy(update={"example": example})


def _checked(row: Row, case: Case) -> Case:
    if not case.id.strip():
        raise row.bad("the id is empty")
    if len(case.replies) == 2 and case.replies[0] == case.replies[1]:
        raise row.bad("the two replies are identical", fix="remove the pair")
    labels = [letter(index) for index in range(len(case.replies))]
    known = _GOLD if len(labels) == 2 else (*labels, "tie")
    gold = case.example.meta.get("gold")
    if gold is not None and gold not in known:
        raise row.bad(f"unknown gold label {gold!r:.40}", fix=f"expected {', '.join(known)}")
    return case


def _preference(row: Row) -> Case:
    case_id = row.identifier("id")
    prompt = row.chat("prompt") if "prompt" in row else None
    chosen_prompt, chosen = _final_reply(row, "chosen", prompt)
    rejected_prompt, rejected = _final_reply(row, "rejected", prompt)
    if chosen_prompt != rejected_prompt:
        raise row.bad("'chosen' and 'rejected' answer different prompts")
    gold = gold_slot(case_id)
    return case_of(
        row,
        case_id,
        chosen_prompt,
        (chosen, rejected) if gold == "A" else (rejected, chosen),
        {
            "gold": gold,
            "subset": row.maybe_text("subset"),
            "reference": row.maybe_text("reference"),
        },
    )


def _final_reply(row: Row, name: str, prompt: Chat | None) -> tuple[Chat, str]:
    """The prompt and the reply of one side: text, one message, or a whole conversation."""
    if not isinstance(row[name], list):
        if prompt is None:
            raise row.bad("no 'prompt'", fix="add it, or write whole conversations as messages")
        return prompt, row.text(name)
    chat = row.chat(name)
    before, last = chat[:-1], chat[-1]
    if last.role != "assistant":
        raise row.bad(f"{name!r} should end with the assistant's message")
    if before and prompt is not None and before != prompt:
        raise row.bad(f"{name!r} does not start with the prompt")
    if not before and prompt is None:
        raise row.bad("no prompt before the reply", fix="add 'prompt'")
    return prompt or before, last.content


def read_outputs(path: StrPath) -> list[RecordedOutput]:
    """Reads judgments, one per case: where a run judged a case again, the last one counts.

    Lines of other kinds (a run folder's file holds several) are passed over.

    Raises:
        BadInput: a broken record, or a file without judgments.
    """
    judged: dict[str, RecordedOutput] = {}
    rows = read_rows(path)
    for row in rows:
        data = _judgment_of(row)
        if data is not None:
            output = _recorded(row, row.make(Judgment.model_validate, data))
            if output.case_id in judged and "kind" not in row:
                raise row.bad(
                    f"the id {output.case_id!r} comes twice", fix="remove one of the rows"
                )
            judged[output.case_id] = output
    if not judged:
        raise BadInput(
            "no judgment in this file",
            where=rows[0].path,
            fix="give a run's records.jsonl, or one Judgment per line",
        )
    return list(judged.values())


def _judgment_of(row: Row) -> Mapping[str, Any] | None:
    """The judgment that a row holds, bare or as a line of a run; None for other lines."""
    if "kind" in row:
        if row.text("kind") != "judgment":
            return None
        data = row.values.get("data")
        if not isinstance(data, dict):
            raise row.bad("a judgment without 'data'")
        return data
    if "case_id" not in row:
        raise row.bad("no Judgment", fix="check --format")
    return row.values


def _recorded(row: Row, judgment: Judgment) -> RecordedOutput:
    """A judgment's votes, put back into the frame of each call's prompt."""
    calls = judgment.calls
    return row.make(
        RecordedOutput,
        case_id=judgment.case_id,
        line=row.line,
        perms=tuple(call.perm for call in calls),
        texts=tuple(None if call.finish == "error" else call.text for call in calls),
        decisions=tuple(
            _slot(row, vote, call.perm) for vote, call in zip(judgment.votes, calls, strict=True)
        ),
        judgment=judgment,
    )


def _slot(row: Row, vote: str | None, perm: Sequence[int]) -> str | None:
    if vote is None or vote == "tie":
        return vote
    for slot, index in enumerate(perm):
        if len(vote) == 1 and index == ord(vote) - ord("A"):
            return letter(slot)
    raise row.bad(f"the vote {vote!r:.40} names no reply of the call")
