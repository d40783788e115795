"""The plan of one labelling: what decides its rows, and how a run goes on with it.

plan = make_plan({"policy": "hf:./policy", "by": "verifier", "task": "chain", ...}, LabelConfig())
plan.judging(model)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from planish.judges import PairwiseJudge, PointwiseJudge
from planish.judges.scalar import is_scalar
from planish.judges.templates import template_name
from planish.methods.rise.judging.cases import refuse_dials
from planish.methods.rise.teaching.config import ASKING, LabelConfig
from planish.methods.rise.teaching.labelling import By
from planish.models.base import LanguageModel
from planish.records import BadInput, Sampling
from planish.runs import RunInfo
from planish.runs.info import config_of
from planish.runs.presets import Preset, digest, regiven

__all__ = ["Plan", "Split", "check_dials", "make_plan", "resumed_plan"]

Split = Literal["train", "gate"]


class Plan(LabelConfig):
    """What determines the rows: it is kept in run.json, and a resume must match it."""

    policy: str
    judge: str | None
    task: str | None
    prompts: str | None
    data_sha256: str | None
    out: str
    by: By
    split: Split
    limit: int | None
    cache: str | None
    policy_revision: str = ""
    judge_name: str | None = None
    judge_revision: str | None = None
    template_hash: str | None = None

    @property
    def sampling(self) -> Sampling:
        """How the policy's replies are drawn."""
        return Sampling(
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            n=self.samples,
            seed=self.seed,
        )

    @property
    def labels(self) -> dict[str, Any]:
        """Where its labels come from, for every row."""
        return {
            "by": self.by,
            "judge": self.judge_name,
            "judge_revision": self.judge_revision,
            "template_hash": self.template_hash,
            "policy": self.policy,
            "policy_revision": self.policy_revision,
        }

    def judging(self, model: LanguageModel) -> PairwiseJudge | PointwiseJudge:
        """The judge that these dials describe."""
        temperature = self.judge_temperature
        if temperature is None:
            temperature = 0.0 if self.judge_samples == 1 else 0.7
        sampling = Sampling(temperature=temperature, max_tokens=self.judge_max_tokens)
        if self.mode == "pointwise":
            return PointwiseJudge(
                model,
                self.template or "rating",
                samples=self.judge_samples,
                sampling=sampling,
                seed=self.seed,
            )
        return PairwiseJudge(
            model,
            self.template or "plain",
            aggregate="mean",
            reading=self.reading,
            samples=self.judge_samples,
            sampling=sampling,
            seed=self.seed,
        )


def make_plan(given: Mapping[str, Any], config: LabelConfig) -> Plan:
    """The plan that the options make.

    Raises:
        BadInput: an option is missing, contradicts another, or names no file.
    """
    by: By = given["by"] or "judge"
    _check_given(given, by)
    file = given["prompts"] or given["task"]
    if config.template is not None:
        config = config.model_copy(update={"template": template_name(config.template)})
    is_file = given["prompts"] is not None or Path(file).is_file()
    return Plan(
        policy=given["policy"],
        judge=given["judge"],
        # Absolute, so that a run can be resumed from anywhere.
        task=str(Path(file).resolve()) if is_file and given["task"] else given["task"],
        prompts=str(Path(file).resolve()) if given["prompts"] else None,
        data_sha256=digest(Path(file)) if is_file else None,
        out=str(Path(given["out"]).resolve()),
        by=by,
        split=given["split"] or "train",
        limit=given["limit"],
        cache=str(Path(given["cache"]).resolve()) if given["cache"] else None,
        **config.model_dump(),
    )


def _check_given(given: Mapping[str, Any], by: By) -> None:
    needed = ["policy", "out", *(["judge"] if by == "judge" else [])]
    if given["prompts"] is None:
        needed.append("task")
    for name in needed:
        if given[name] is None:
            raise BadInput(
                "is missing",
                where=f"--{name}",
                fix="give it (or --prompts FILE)"
                if name == "task"
                else "give it, or --resume RUN to go on with a run",
            )
    if given["task"] is not None and given["prompts"] is not None:
        raise BadInput("give one of --task and --prompts", where="--prompts")
    if by == "verifier" and given["task"] is None:
        raise BadInput(
            "nothing can verify replies to these", where="--prompts", fix="give --task instead"
        )
    if by != "judge" and given["judge"] is not None:
        raise BadInput(f"has nothing to do where --by is {by}", where="--judge", fix="leave it out")


def check_dials(plan: Plan, typed: LabelConfig) -> None:
    """Refuses dials that were typed and that nobody heeds; a preset may set them.

    Raises:
        BadInput: with the first of them.
    """
    asking = sorted(typed.model_fields_set & ASKING)
    if plan.judge is None and asking:
        raise BadInput(
            f"has nothing to do where --by is {plan.by}",
            where="--" + asking[0].replace("_", "-"),
            fix="leave it out",
        )
    if plan.judge is not None and is_scalar(plan.judge):
        refuse_dials(asking)
    if plan.mode == "pointwise" and plan.reading != "text":
        raise BadInput(
            "ratings are read from the text only",
            where=f"--reading {plan.reading}",
            fix="leave it out, or use --mode duels",
        )


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: LabelConfig, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: not a run of this stage, or one of another version.
    """
    before = config_of(info, "rise", "label", Plan)
    again = {
        name: getattr(before, name) if value is None else value for name, value in given.items()
    }
    return make_plan(again, regiven(before, config, preset))
