"""What two people say of the same pairs: their files, how far they agree, how many edits are bad.

    found = agreement(bench, [Path("anna.jsonl"), Path("ben.jsonl")])
    found.questions["follows"].kappa        0.71 [0.42, 0.93]
    found.bad_either                        0.083 [0.017, 0.167]

A file has one line a pair, as the page of `planish vfaith rate --sample` saves it:

    {"pair_id": "clocks-0003", "rater": "anna", "follows": "yes", "one_true": "yes",
     "else_changed": "no", "sample": 60, "seed": 0, "bench": "0f3a..."}

Size and seed of the sample and the bench's digest stand in every line, so that a file tells by
itself what should be in it. An edit is bad if it does not follow the cue, if not exactly one option
is true, or if anything else changed.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import EditPair
from planish.records import BadInput, Record, explain, read_jsonl, write_text
from planish.stats import Estimate, cohen_kappa, mean

__all__ = [
    "COVERAGE",
    "QUESTIONS",
    "RATINGS",
    "Agreement",
    "Disagreement",
    "Question",
    "Rating",
    "agreement",
    "blank",
    "keep",
    "kept",
    "sampled",
]

RATINGS = "ratings.json"
"""File of a bench that holds what its raters said."""

COVERAGE = 0.9
"""Share of the sample that a rater must have rated."""

QUESTIONS: dict[str, str] = {
    "follows": "Does the edit follow the cue: is its old value gone, and the new one there?",
    "one_true": "Is exactly one option true of each picture?",
    "else_changed": "Did anything else change?",
}
"""What raters are asked, yes or no."""

_GOOD = {"follows": "yes", "one_true": "yes", "else_changed": "no"}
_BAD = "bad"

YesNo = Literal["yes", "no"]


class Rating(Record):
    """One line of a rater's file."""

    pair_id: str
    rater: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80)]
    follows: YesNo
    one_true: YesNo
    else_changed: YesNo
    sample: int = Field(ge=1)
    seed: int = Field(ge=0)
    bench: str

    @property
    def bad(self) -> YesNo:
        """Whether the edit is."""
        good = all(getattr(self, name) == right for name, right in _GOOD.items())
        return "no" if good else "yes"


class Question(Record):
    """How two raters answered one question.

    Args:
        agreement: share of the pairs to which they gave one answer.
        kappa: Cohen's, with a bootstrap interval over pairs; None where one of them gave one answer
            only, for then nothing is left to agree on beyond chance.
        yes: how many each said yes to.
    """

    agreement: Estimate
    kappa: Estimate
    yes: dict[str, int]


class Disagreement(Record):
    """A pair to which two raters gave different answers, and what each of them said."""

    pair_id: str
    question: str
    answers: dict[str, YesNo]


class Agreement(Record):
    """Everything that two raters tell of a bench.

    Args:
        bench: its digest; sample, seed: of the pairs; pairs: that both have rated.
        raters: their names, in order.
        questions: those of `QUESTIONS`, and "bad".
        bad_either, bad_both: share of the pairs that one of them at least, or both, find bad.
        ratings: of both, as they came, in order.
    """

    bench: str
    sample: int
    seed: int
    pairs: int
    raters: tuple[str, str]
    questions: dict[str, Question]
    bad_either: Estimate
    bad_both: Estimate
    disagreements: tuple[Disagreement, ...]
    ratings: tuple[Rating, ...]


def sampled(bench: Bench, size: int, seed: int) -> list[EditPair]:
    """So many pairs of the bench by chance, in the order in which raters see them.

    Every pair has the same chance, so that a share among them is that of the bench. Items that ask
    about perception are not among them.
    """
    pairs = sorted(
        (pair for pair in bench.pairs if pair.kind == "pair"), key=lambda pair: pair.pair_id
    )
    return random.Random(f"raters:{seed}").sample(pairs, min(size, len(pairs)))


def blank(bench: Bench, pairs: Sequence[EditPair], size: int, seed: int) -> str:
    """A file for those who fill it in by hand."""
    common = {"sample": size, "seed": seed, "bench": bench.digest}
    empty = dict.fromkeys(("rater", *QUESTIONS), "")
    rows = ({"pair_id": pair.pair_id, **empty, **common} for pair in pairs)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def agreement(bench: Bench, paths: Sequence[Path], *, seed: int = 0) -> Agreement:
    """How far two raters agree, and how many edits are bad.

    Args:
        paths: of their files, two.
        seed: of the intervals.

    Raises:
        BadInput: not two different files of two raters; a line that is no rating, of a pair that is
            not in the sample or is there twice, of another bench or sample; a rater with less than
            `COVERAGE` of the sample; with file and line.
    """
    first, second = _two(paths)
    one, two = _read(bench, first), _read(bench, second)
    a, b = next(iter(one.values())), next(iter(two.values()))
    for name in ("sample", "seed"):
        if getattr(a, name) != getattr(b, name):
            raise BadInput(
                f"its {name} is {getattr(b, name)}, that of {first} {getattr(a, name)}",
                where=f"{second}:1",
                fix="let both rate one sample",
            )
    if a.rater == b.rater:
        raise BadInput(
            f"both files are by {a.rater!r}", where=str(second), fix="give the files of two raters"
        )
    both = sorted(one.keys() & two.keys())
    names = (a.rater, b.rater)
    answers = {
        question: [(getattr(one[id], question), getattr(two[id], question)) for id in both]
        for question in (*QUESTIONS, _BAD)
    }
    bad = answers[_BAD]
    return Agreement(
        bench=bench.digest,
        sample=a.sample,
        seed=a.seed,
        pairs=len(both),
        raters=names,
        questions={name: _compared(told, names, seed) for name, told in answers.items()},
        bad_either=mean([float("yes" in told) for told in bad], seed=seed),
        bad_both=mean([float(told == ("yes", "yes")) for told in bad], seed=seed),
        disagreements=tuple(
            Disagreement(pair_id=id, question=name, answers=dict(zip(names, told, strict=True)))
            for place, id in enumerate(both)
            for name in QUESTIONS
            for told in [answers[name][place]]
            if told[0] != told[1]
        ),
        ratings=tuple(rows[id] for rows in (one, two) for id in sorted(rows)),
    )


def keep(bench: Bench, found: Agreement) -> Path:
    """Puts it into the bench, in place of what was there, and returns where.

    Raises:
        BadInput: the folder cannot be written.
    """
    path = bench.folder / RATINGS
    try:
        write_text(path, json.dumps(found.model_dump(mode="json"), indent=2) + "\n")
    except OSError as error:
        raise BadInput(
            error.strerror or str(error), where=str(path), fix="make the bench writable"
        ) from None
    return path


def kept(bench: Bench) -> Agreement | None:
    """What the bench tells of its raters; None where nobody has rated it.

    Raises:
        BadInput: the file is broken, or of the bench as it was before.
    """
    path = bench.folder / RATINGS
    if not path.exists():
        return None
    again = "rate it again with planish vfaith rate"
    try:
        found = Agreement.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as error:
        why = explain(error) if isinstance(error, ValidationError) else str(error)
        raise BadInput(f"cannot be read ({why})", where=str(path), fix=again) from None
    if found.bench != bench.digest:
        raise BadInput("the bench has changed since people rated it", where=str(path), fix=again)
    return found


# ---- files of raters -------------------------------------------------------------------------


def _two(paths: Sequence[Path]) -> tuple[Path, Path]:
    if len(paths) != 2:
        raise BadInput(
            f"{len(paths)} files are given", where="--ratings", fix="give those of two raters"
        )
    first, second = paths
    for path in paths:
        if not path.is_file():
            raise BadInput("no such file", where=str(path), fix="check the path")
    if os.path.samefile(first, second):
        raise BadInput("the same file twice", where=str(second), fix="give those of two raters")
    return first, second


def _read(bench: Bench, path: Path) -> dict[str, Rating]:
    found: dict[str, Rating] = {}
    lines: dict[str, int] = {}
    wanted: set[str] = set()
    everything = {pair.pair_id for pair in bench.pairs}
    for line, value in read_jsonl(path):
        where = f"{path}:{line}"
        rating = _rating(value, where)
        if rating.bench != bench.digest:
            raise BadInput(
                "it rates another bench, or this one before its pairs changed",
                where=where,
                fix="draw a new sample with planish vfaith rate --sample",
            )
        if not found:
            wanted = {each.pair_id for each in sampled(bench, rating.sample, rating.seed)}
        _check_line(rating, next(iter(found.values()), rating), where)
        if rating.pair_id not in wanted:
            what = "not in the sample" if rating.pair_id in everything else "not in the bench"
            raise BadInput(f"pair {rating.pair_id!r} is {what}", where=where, fix="remove the line")
        if rating.pair_id in lines:
            raise BadInput(
                f"pair {rating.pair_id!r} is also rated in line {lines[rating.pair_id]}",
                where=where,
                fix="keep one of the two",
            )
        lines[rating.pair_id] = line
        found[rating.pair_id] = rating
    if len(found) < max(1, COVERAGE * len(wanted)):
        of = f"{len(found)} of {len(wanted)} pairs" if wanted else "no pair"
        raise BadInput(
            f"{of} rated, fewer than {COVERAGE:.0%}", where=str(path), fix="rate the others too"
        )
    return found


def _rating(value: Mapping[str, object], where: str) -> Rating:
    try:
        return Rating.model_validate(value)
    except ValidationError as error:
        names = [name for name in ("rater", *QUESTIONS) if value.get(name) == ""]
        if names:
            raise BadInput(
                f"{names[0]} is not filled in",
                where=where,
                fix="fill it in, or remove the line of a pair that was not rated",
            ) from None
        raise BadInput(explain(error), where=where, fix='answers are "yes" or "no"') from None


def _check_line(rating: Rating, first: Rating, where: str) -> None:
    """Against the first line of the file."""
    for name in ("rater", "sample", "seed"):
        if getattr(rating, name) != getattr(first, name):
            raise BadInput(
                f"{name} is {getattr(rating, name)!r}, and {getattr(first, name)!r} in the first "
                "line",
                where=where,
                fix="one file holds one rater's word on one sample",
            )


def _compared(
    answers: Sequence[tuple[YesNo, YesNo]], names: tuple[str, str], seed: int
) -> Question:
    columns = [[told[at] for told in answers] for at in (0, 1)]
    both_vary = all(len(set(column)) == 2 for column in columns)
    return Question(
        agreement=mean([float(a == b) for a, b in answers], seed=seed),
        kappa=cohen_kappa(*columns, seed=seed)
        if both_vary
        else Estimate(value=None, n=len(answers)),
        yes={name: column.count("yes") for name, column in zip(names, columns, strict=True)},
    )
