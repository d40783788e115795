"""The plan of one measurement of the gap: what decides its numbers, and whose questions are frozen.

plan = make_plan({"model": "hf:./checkpoint", "task": "chain:3", ...}, Config())
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from planish.judges.formats import Format
from planish.judges.templates import Template, template_name
from planish.methods.s2j.config import Config
from planish.methods.s2j.data import Items, pair_items, task_items
from planish.methods.s2j.measuring.estimating import Frozen
from planish.methods.s2j.measuring.prompts import solving_template
from planish.methods.s2j.measuring.records import GapRow
from planish.records import BadInput, Record, explain, write_text
from planish.runs import Run
from planish.runs.info import RunInfo, config_of, read_info
from planish.runs.presets import Preset, digest, regiven, resolve
from planish.runs.rows import read_rows
from planish.tasks.load import load_task

__all__ = [
    "Base",
    "Plan",
    "QuestionSet",
    "keep_questions",
    "load_base",
    "make_plan",
    "resumed_plan",
]

LIMIT = 200
_QUESTIONS = "q_tau.json"


class Plan(Config):
    """What determines the result: it is kept in run.json, and a resume must match it."""

    model: str
    task: str | None
    pairs: str | None
    data_sha256: str | None
    format: Format
    limit: int | None
    base: str | None
    cache: str | None
    template_hash: str = ""
    revision: str = ""
    base_sha256: str = ""

    @property
    def source(self) -> str:
        """Where the items come from, for people."""
        if self.pairs is not None:
            return Path(self.pairs).name
        task = self.task or ""
        return Path(task).name if Path(task).is_file() else f"task {task}"

    @property
    def is_tiny(self) -> bool:
        """Whether the model is one that only shows the mechanism."""
        return self.model.startswith(("embedded:", "scripted:"))

    def items(self) -> Items:
        """What is measured.

        Raises:
            BadInput: as `task_items` and `pair_items`, or no gap can be told.
        """
        if self.pairs is None:
            return task_items(
                load_task(self.task or ""),
                split="report",
                limit=self.limit or LIMIT,
                both_wrong=self.both_wrong,
                seed=self.seed,
            )
        items = pair_items(self.pairs, self.format, self.limit)
        if not items.with_target:
            raise BadInput(
                f"none of {len(items)} pairs has a gold answer, so nobody can tell what the model "
                "solves",
                where=self.pairs,
                fix="add a target to the rows; planish rise judge measures verdicts alone",
            )
        if not any(item.slice == "one_right" for item in items.with_target):
            raise BadInput(
                f"none of {len(items)} pairs has exactly one right candidate: no verdict is right",
                where=self.pairs,
            )
        return items

    def solving_template(self) -> Template:
        """What is asked.

        Raises:
            BadInput: a template that does not fit.
        """
        return solving_template(self.template)


def make_plan(given: Mapping[str, Any], config: Config, preset: Preset | None = None) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Raises:
        BadInput: an option is missing, contradicts another, or names what cannot be read.
    """
    model = given["model"]
    if model is None:
        raise BadInput(
            "is missing", where="--model", fix="give it, or --resume RUN to go on with a run"
        )
    if given["pairs"] is not None and "both_wrong" in config.model_fields_set:
        raise BadInput(
            "is for tasks: a file has the pairs that it has",
            where="--both-wrong",
            fix="leave it out",
        )
    if (
        preset is None
        and model.startswith("embedded:")
        and "template" not in config.model_fields_set
    ):
        preset = "tiny"  # the embedded models speak the toy world's grammar
    return _made(given, resolve(preset, config))


def _made(given: Mapping[str, Any], config: Config) -> Plan:
    if (given["task"] is None) == (given["pairs"] is None):
        raise BadInput(
            "nothing to measure on" if given["task"] is None else "give one of the two",
            where="--task, --pairs",
            fix="give --task chain:3, --task QUESTIONS.jsonl, or --pairs FILE",
        )
    if given["pairs"] is None and given["format"] is not None:
        raise BadInput("is for --pairs", where="--format", fix="leave it out")
    config.check_draws()
    files = [Path(given[name]) for name in ("task", "pairs") if given[name] is not None]
    source = files[0]
    is_file = given["pairs"] is not None or source.is_file()
    cache, base = given["cache"], given["base"]
    return Plan(
        model=given["model"],
        task=None if given["task"] is None else str(source.resolve() if is_file else source),
        pairs=None if given["pairs"] is None else str(source.resolve()),
        data_sha256=digest(source) if is_file else None,
        format=given["format"] or "auto",
        limit=given["limit"],
        base=None if base is None else str(Path(base).resolve()),
        cache=None if cache is None else str(Path(cache).resolve()),
        **{**config.model_dump(), "template": template_name(config.template)},
    )


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: Config, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before = config_of(info, "s2j", "gap", Plan)
    kept = {name: getattr(before, name) for name in given}
    kept["format"] = before.format if before.pairs is not None else None
    again = {name: kept[name] if value is None else value for name, value in given.items()}
    # The presets' part is in the settings already: an embedded model must not start anew.
    return _made(again, regiven(before, config, preset))


class QuestionSet(Record):
    """The questions that a model solves, as a run keeps them; ids that changed are refused."""

    model: str
    tau: float
    solves: int
    temperature: float
    ids: tuple[str, ...]
    sha256: str

    @model_validator(mode="after")
    def _unchanged(self) -> QuestionSet:
        if _hash(self.ids) != self.sha256:
            raise ValueError("the ids do not match their hash")
        return self


def _hash(ids: Iterable[str]) -> str:
    return hashlib.sha256(json.dumps(sorted(ids)).encode()).hexdigest()


def keep_questions(run: Run, plan: Plan, ids: Iterable[str]) -> QuestionSet:
    """Writes down which questions the model solves, so that another can be held to them."""
    found = QuestionSet(
        model=plan.model,
        tau=plan.tau,
        solves=plan.solves,
        temperature=plan.temperature,
        ids=tuple(sorted(ids)),
        sha256=_hash(ids),
    )
    write_text(run.artifact(_QUESTIONS), found.model_dump_json() + "\n")
    return found


@dataclass(frozen=True)
class Base:
    """An earlier measurement of the model that this one came from."""

    plan: Plan
    questions: QuestionSet
    rows: tuple[GapRow, ...]

    @property
    def frozen(self) -> Frozen:
        """Its questions."""
        return Frozen(self.questions.model, frozenset(self.questions.ids))


def load_base(folder: Path, plan: Plan) -> Base:
    """Reads the measurement of the base model.

    Raises:
        BadInput: no finished measurement, one of other items, or one that was changed.
    """
    info = read_info(folder)
    where = f"--base {folder}"
    if (info.room, info.stage) != ("s2j", "gap"):
        raise BadInput(
            f"is a run of {info.room} {info.stage}", where=where, fix="give one of planish s2j gap"
        )
    before = config_of(info, "s2j", "gap", Plan)
    if info.status != "done":
        raise BadInput(f"is {info.status}", where=where, fix=f"finish it: {info.again} {folder}")
    for name in ("task", "data_sha256", "seed"):
        theirs, ours = getattr(before, name), getattr(plan, name)
        if theirs != ours:
            raise BadInput(
                f"measured other items: its {name} is {theirs}, this one's {ours}",
                where=where,
                fix="measure both models on the same items",
            )
    path = folder / "artifacts" / _QUESTIONS
    try:
        questions = QuestionSet.model_validate_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path)) from None
    except ValidationError as error:
        why = explain(error)
        raise BadInput(f"not the questions of a run ({why})", where=str(path)) from None
    rows = {row.id: row.read(GapRow) for row in read_rows(folder, "row")}
    return Base(before, questions, tuple(rows.values()))
