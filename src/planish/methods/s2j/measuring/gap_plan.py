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

from planish.judges.templates import Template, template_name
from planish.methods.s2j.config import Config
from planish.methods.s2j.data import Items
from planish.methods.s2j.measuring.estimating import Frozen
from planish.methods.s2j.measuring.records import GapRow
from planish.methods.s2j.origin import Origin, again, origin_of, preset_for
from planish.methods.s2j.prompts import solving_template
from planish.records import BadInput, Record, explain, to_json, write_text
from planish.runs import Run
from planish.runs.info import RunInfo, config_of, read_info
from planish.runs.presets import Preset, regiven, resolve
from planish.runs.rows import read_rows

__all__ = [
    "Base",
    "Plan",
    "QuestionSet",
    "keep_questions",
    "load_base",
    "make_plan",
    "resumed_plan",
]

_QUESTIONS = "q_tau.json"


class Plan(Origin, Config):
    """What determines the result: it is kept in run.json, and a resume must match it."""

    base: str | None
    base_sha256: str = ""

    def items(self) -> Items:
        """What is measured.

        Raises:
            BadInput: as `task_items` and `pair_items`, or no gap can be told.
        """
        items = self.read_items(both_wrong=self.both_wrong, seed=self.seed)
        if self.pairs is None:
            return items
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

    def settings_typed(self) -> list[str]:
        """The options that measure another model with the same settings on the same items."""
        tiny = self.template == Config.tiny().template
        start = Config.tiny() if tiny else Config()
        options = ["--preset", "tiny"] if tiny else []
        if self.format != "auto":
            options += ["--format", self.format]
        for name in ("limit", *Config.model_fields):
            value = getattr(self, name)
            idle = name == "both_wrong" and self.pairs is not None
            if value != getattr(start, name, None) and not idle:
                options += [f"--{name.replace('_', '-')}", str(value)]
        return options

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
    if given["pairs"] is not None and "both_wrong" in config.model_fields_set:
        raise BadInput(
            "is for tasks: a file has the pairs that it has",
            where="--both-wrong",
            fix="leave it out",
        )
    return _made(given, resolve(preset_for(given["model"], config, preset), config))


def _made(given: Mapping[str, Any], config: Config) -> Plan:
    origin = origin_of(given)
    config.check_draws()
    base = given["base"]
    return Plan(
        base=None if base is None else str(Path(base).resolve()),
        **origin,
        **{**config.model_dump(), "template": template_name(config.template)},
    )


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: Config, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before, options = again(info, "gap", Plan, given)
    # The presets' part is in the settings already: an embedded model must not start anew.
    return _made(options, regiven(before, config, preset))


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
    write_text(run.artifact(_QUESTIONS), to_json(found) + "\n")
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


def _other_items(before: Plan, plan: Plan) -> str:
    """How the items of two plans differ; "" where they do not. A file may have been moved."""
    by_task = plan.data_sha256 is None and before.task != plan.task
    if by_task or before.source_option[0] != plan.source_option[0]:
        return f"its are of {before.source}, this one's of {plan.source}"
    if before.data_sha256 != plan.data_sha256:
        if before.source == plan.source:
            return f"{plan.source} does not hold what it held then"
        return f"its are of {before.source}, this one's of {plan.source}"
    # A seed draws the items of a task; those of a file of pairs are what they are.
    if plan.task is not None and before.seed != plan.seed:
        return f"its seed is {before.seed}, this one's {plan.seed}"
    return ""


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
    if told := _other_items(before, plan):
        raise BadInput(
            f"measured other items: {told}",
            where=where,
            fix="measure both models on the same items",
        )
    path = folder / "artifacts" / _QUESTIONS
    try:
        questions = QuestionSet.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path)) from None
    except ValueError as error:
        why = explain(error) if isinstance(error, ValidationError) else "broken JSON"
        raise BadInput(f"not the questions of a run ({why})", where=str(path)) from None
    rows = {row.id: row.read(GapRow) for row in read_rows(folder, "row")}
    return Base(before, questions, tuple(rows.values()))
