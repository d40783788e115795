"""The plan of one evaluation: what decides its numbers, and how a run goes on with it.

plan = make_plan({"model": "hf:./judge", "pairs": (Path("pairs.jsonl"),), ...}, EvaluateConfig())
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from planish.judges.formats import Format
from planish.judges.scalar import is_scalar
from planish.judges.templates import template_name
from planish.methods.rise.judging.cases import refuse_dials
from planish.methods.rise.judging.config import EvaluateConfig
from planish.records import BadInput
from planish.runs import RunInfo
from planish.runs.info import config_of
from planish.runs.presets import Preset, digest, regiven, resolve

__all__ = ["ABILITY", "Plan", "make_plan", "resumed_plan"]

ABILITY = ("chain:2", "chain:3", "chain:4")
"""What the embedded models can do at all."""

_COUNTED = {"min_coverage", "mode", "near_duplicate", "seed"}  # dials that ask a model nothing


class Plan(EvaluateConfig):
    """What determines the result: it is kept in run.json, and a resume must match it."""

    model: str
    before: str | None
    pairs: tuple[str, ...]
    pairs_sha256: tuple[str, ...]
    ability: tuple[str, ...]
    ability_sha256: tuple[str, ...]
    lm_eval: tuple[str, ...]
    lm_eval_include: str | None
    trained_on: tuple[str, ...]
    format: Format
    limit: int | None
    cache: str | None
    template_hash: str = ""
    lm_eval_version: str = ""
    revision: str = ""
    before_revision: str = ""

    @property
    def is_tiny(self) -> bool:
        """Whether a model is one that only shows the mechanism."""
        names = (self.model, self.before or "")
        return any(name.startswith(("embedded:", "scripted:")) for name in names)


def make_plan(
    given: Mapping[str, Any], config: EvaluateConfig, preset: Preset | None = None
) -> Plan:
    """The plan that the options make; an embedded model starts from the preset tiny.

    Raises:
        BadInput: an option is missing, contradicts another, or names what cannot be read.
    """
    _check_dials(given, config)
    return _made(given, config, preset)


def _made(given: Mapping[str, Any], config: EvaluateConfig, preset: Preset | None) -> Plan:
    model: str | None = given["model"]
    if model is None:
        raise BadInput(
            "is missing", where="--model", fix="give it, or --resume RUN to go on with a run"
        )
    if not (given["pairs"] or given["ability"] or given["lm_eval"]):
        raise BadInput(
            "no bench to evaluate on",
            where="--pairs",
            fix="give --pairs FILE, --ability TASK or --lm-eval TASK",
        )
    if given["before"] == model:
        raise BadInput("is the same as --model", where="--before", fix="name another model")
    if preset is None and model.startswith("embedded:"):
        preset = "tiny"
    ability, heads = given["ability"], _reward_heads(given)
    if ability is None:
        ability = ABILITY if preset == "tiny" and not heads else ()
    pairs, rows = ([Path(path) for path in given[name] or ()] for name in ("pairs", "trained_on"))
    files = [Path(task) for task in ability if Path(task).is_file()]
    _once("--pairs", [str(path.resolve()) for path in pairs])
    _once("--ability", ability)
    _once("--lm-eval", given["lm_eval"] or ())
    dials = resolve(preset, config).model_dump()
    for name in ("template", "list_template", "rating_template"):
        if dials[name] is not None:
            dials[name] = template_name(dials[name])
    include, cache = given["lm_eval_include"], given["cache"]
    return Plan(
        model=model,
        before=given["before"],
        pairs=tuple(str(path.resolve()) for path in pairs),
        pairs_sha256=tuple(map(digest, pairs)),
        ability=tuple(
            str(Path(task).resolve()) if Path(task).is_file() else task for task in ability
        ),
        ability_sha256=tuple(map(digest, files)),
        lm_eval=tuple(given["lm_eval"] or ()),
        lm_eval_include=str(Path(include).resolve()) if include else None,
        trained_on=tuple(str(path.resolve()) for path in rows),
        format=given["format"] or "auto",
        limit=given["limit"],
        cache=str(Path(cache).resolve()) if cache else None,
        **dials,
    )


def _check_dials(given: Mapping[str, Any], config: EvaluateConfig) -> None:
    """Refuses what was typed and no model heeds, because all of them are reward heads."""
    models = [given[name] for name in ("model", "before") if given[name] is not None]
    if models and all(map(is_scalar, models)):
        refuse_dials(config.model_fields_set - _COUNTED)
        refuse_dials(() if given["cache"] is None else ("cache",))


def _reward_heads(given: Mapping[str, Any]) -> list[str]:
    """The options whose models are reward heads.

    Raises:
        BadInput: something was given that a reward head cannot do.
    """
    heads = [name for name in ("model", "before") if is_scalar(given[name] or "")]
    for name in ("ability", "lm_eval", "lm_eval_include"):
        if heads and given[name]:
            raise BadInput(
                f"asks for texts, and the reward head of --{heads[0]} does not generate any",
                where="--" + name.replace("_", "-"),
                fix="evaluate it on --pairs alone",
            )
    return heads


def _once(option: str, values: Sequence[str]) -> None:
    twice = [value for value in values if values.count(value) > 1]
    if twice:
        raise BadInput(f"{twice[0]} is given twice", where=option, fix="give it once")


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: EvaluateConfig, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before = config_of(info, "rise", "evaluate", Plan)
    again = {
        name: getattr(before, name) if value is None else value for name, value in given.items()
    }
    _check_dials(again, config)
    # The presets' part is in the settings already: an embedded model must not start anew.
    return _made(again, regiven(before, config, preset), None)
