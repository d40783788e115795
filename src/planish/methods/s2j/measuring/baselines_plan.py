"""The dials of the training-free baselines, and the plan of one comparison.

plan = make_plan(given, BaselinesConfig(), None)
asking, items = plan.asking(), plan.items()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from cyclopts import Parameter
from pydantic import BaseModel, ConfigDict, Field

from planish.judges.templates import Template, load_template, template_name
from planish.methods.s2j.data import Items
from planish.methods.s2j.measuring.arms import Asking, chat_of, has_grammar
from planish.methods.s2j.origin import Origin, again, origin_of, preset_for
from planish.methods.s2j.prompts import solving_template
from planish.records import BadInput, Sampling
from planish.runs.info import RunInfo
from planish.runs.presets import Preset, regiven, resolve

__all__ = ["BaselinesConfig", "Plan", "make_plan", "resumed_plan"]

_TIE = ", [[tie]] if they are equally good"


@Parameter(name="*")
class BaselinesConfig(BaseModel):
    """How the arms are asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    template: str = Field(
        "solve_first", description="A prompt that asks for a solution, then a verdict; or a file."
    )
    plain_template: str = Field(
        "plain", description="The prompt that asks for a verdict alone; it may show a reference."
    )
    judgments: int = Field(4, ge=1, description="Judgments per order and arm.")
    temperature: float = Field(0.7, gt=0, le=100, description="Of all draws.")
    max_tokens: int = Field(2048, ge=1, description="Budget of one solution or judgment.")
    most_votes: int = Field(
        16, ge=1, description="At most so many judgments per order in the equal-token vote."
    )
    min_coverage: float = Field(
        0.9, ge=0, le=1, description="Below this coverage an arm has no headline."
    )
    seed: int = Field(0, ge=0, description="Seed of items, draws, coins and intervals.")

    @classmethod
    def tiny(cls) -> Self:
        """The embedded reasoner: the toy world's grammar, drawn at temperature 1."""
        return cls(template="chain", temperature=1.0, max_tokens=16)

    @classmethod
    def laptop(cls) -> Self:
        """A small instruct model on one machine: fewer and shorter draws."""
        return cls(judgments=2, max_tokens=1024, most_votes=8)

    @classmethod
    def paper(cls) -> Self:
        """The settings of `Config.paper()`; the paper has none of these arms but the template."""
        return cls(
            template="solve_first",  # paper: solution, comparison, verdict; the words our choice
            plain_template="plain",  # our choice: not stated
            judgments=4,  # our choice: not stated; both orders are ours too
            temperature=0.7,  # our choice: not stated
            max_tokens=4096,  # our choice: not stated
            most_votes=16,  # our choice: the paper has no vote
            min_coverage=0.9,  # our choice
        )


class Plan(Origin, BaselinesConfig):
    """What determines the result: it is kept in run.json, and a resume must match it."""

    def items(self) -> Items:
        """The items to judge.

        Raises:
            BadInput: as `task_items` and `pair_items`, or none has exactly one right candidate.
        """
        items = self.read_items(seed=self.seed)
        if not items.of("one_right"):
            raise BadInput(
                f"none of {len(items)} pairs has exactly one right candidate: no verdict is right",
                where=self.pairs or f"task {self.task}",
            )
        return items

    def asking(self) -> Asking:
        """How the arms are asked.

        Raises:
            BadInput: a template that does not fit.
        """
        solving = solving_template(self.template)
        return Asking(
            solving=solving,
            plain=_plain_template(self.plain_template, solving),
            judgments=self.judgments,
            sampling=Sampling(
                temperature=self.temperature, max_tokens=self.max_tokens, seed=self.seed
            ),
            most_votes=self.most_votes,
        )

    def checked(self, asking: Asking, items: Items) -> Self:
        """The plan with its prompts' hashes; whatever does not render is told here.

        Raises:
            BadInput: a plain template that shows no reference.
        """
        case = items.of("one_right")[0].case
        chat_of("solve_first", case, "AB", asking)
        bare, beside = (chat_of("own_answer", case, "AB", asking, text) for text in (None, "0"))
        if bare == beside:
            raise BadInput(
                "shows no reference, so that two of the arms would be the same",
                where=f"--plain-template {self.plain_template}",
                fix="put {{ reference }} where a reference answer goes",
            )
        used = [asking.solving] if has_grammar(asking.solving) else [asking.solving, asking.plain]
        return self.model_copy(update={"template_hash": ", ".join(each.hash for each in used)})


def _plain_template(name: str, solving: Template) -> Template:
    """What asks for a verdict alone. The shipped one offers a tie only where solving does too:
    otherwise the arms would differ in what may be said.
    """
    template = load_template(name)
    if template.kind != "choice":
        raise BadInput(f"is for a {template.kind}, not for pairs", where=f"--plain-template {name}")
    if template.name != "plain" or "tie" in solving.labels.values():
        return template
    labels = {label: slot for label, slot in template.labels.items() if slot != "tie"}
    return template.model_copy(
        update={"labels": labels, "user": template.user.replace(_TIE, ""), "name": "plain, no tie"}
    )


def make_plan(given: Mapping[str, Any], config: BaselinesConfig, preset: Preset | None) -> Plan:
    """The plan that the options make.

    Raises:
        BadInput: an option is missing, or has no effect.
    """
    return _plan(given, resolve(preset_for(given["model"], config, preset), config), config)


def _plan(given: Mapping[str, Any], settings: BaselinesConfig, typed: BaselinesConfig) -> Plan:
    if has_grammar(load_template(settings.template)) and "plain_template" in typed.model_fields_set:
        raise BadInput(
            f"has no effect beside the template {settings.template}: its grammar has no other "
            "prompt",
            where="--plain-template",
            fix="leave it out",
        )
    names = {
        "template": template_name(settings.template),
        "plain_template": template_name(settings.plain_template),
    }
    return Plan(**origin_of(given), **(settings.model_dump() | names))


def resumed_plan(
    info: RunInfo, given: Mapping[str, Any], config: BaselinesConfig, preset: Preset | None
) -> Plan:
    """The plan of a run that goes on: its own, with whatever was given again to be compared.

    Raises:
        BadInput: a run of another stage, or of another version of this one.
    """
    before, options = again(info, "baselines", Plan, given)
    return _plan(options, regiven(before, config, preset), config)
