"""The dials of an evaluation, and the plan of one run.

>>> EvaluateConfig.tiny().list_template_name
'pick'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from cyclopts import Parameter
from pydantic import Field

from planish.judges import Case, ListwiseJudge, PointwiseJudge
from planish.judges.agreement import Mode
from planish.judges.asking import PromptedJudge
from planish.judges.benches import Bench
from planish.judges.overlap import NEAR
from planish.methods.rise.config import Config, Format, Preset, resolve
from planish.methods.rise.data import digest
from planish.methods.rise.judge import check_slots, own_template
from planish.models.base import LanguageModel
from planish.records import BadInput, Sampling
from planish.runs import RunInfo
from planish.runs.info import config_of

__all__ = ["ABILITY", "EvaluateConfig", "Plan", "make_plan", "resumed_plan"]

ABILITY = ("chain:2", "chain:3", "chain:4")
"""What the embedded models can do at all."""

_ABILITY_LIMIT = 200


@Parameter(name="*")
class EvaluateConfig(Config):
    """How benches are judged, and tasks solved."""

    mode: Mode = Field(
        "honest", description="official counts what could not be read as wrong, honest leaves it."
    )
    lists: Literal["pick", "cyclic", "copeland"] = Field(
        "pick", description="Lists: pick once, once per rotation, or let all replies duel."
    )
    list_template: str | None = Field(
        None, description="Prompt for lists; by default pick, or --template for duels."
    )
    rating_template: str = Field("rating", description="Prompt for single ratings.")
    ability_limit: int | None = Field(
        None, ge=1, description="At most so many examples of a task; by default 200 of each task "
        "of --ability and all of --lm-eval."
    )  # fmt: skip
    ability_temperature: float = Field(
        0.0, ge=0, le=100, description="Temperature of the solutions; 0 is greedy."
    )
    near_duplicate: float = Field(
        NEAR, gt=0, le=1, description="Shared word runs from which two questions count as one."
    )

    @classmethod
    def paper(cls) -> Self:
        """RISE-Judge on RewardBench; its general-ability table names no settings."""
        return (
            super()
            .paper()
            .model_copy(
                update={
                    "mode": "official",  # paper: the public harness counts failures
                    "ability_temperature": 0.0,  # our choice: not stated
                }
            )
        )

    @property
    def list_template_name(self) -> str:
        """The prompt that lists are judged with."""
        return self.list_template or (self.template if self.lists == "copeland" else "pick")

    @property
    def num_examples(self) -> int:
        """At most so many examples of an ability task."""
        return self.ability_limit or _ABILITY_LIMIT

    @property
    def solving(self) -> Sampling:
        """How ability tasks are solved."""
        return Sampling(
            temperature=self.ability_temperature, max_tokens=self.max_tokens, seed=self.seed
        )

    def list_judge(self, model: LanguageModel) -> ListwiseJudge:
        """The judge of lists that these dials describe."""
        return ListwiseJudge(model, self.list_template_name, mode=self.lists, **self._asking(model))

    def rating_judge(self, model: LanguageModel) -> PointwiseJudge:
        """The judge of single replies that these dials describe."""
        return PointwiseJudge(model, self.rating_template, **self._asking(model))

    def judges(
        self, model: LanguageModel, bench: Bench
    ) -> list[tuple[Literal["judgment", "rating"], PromptedJudge, list[Case]]]:
        """The judges that a bench needs, each with its cases and what it makes.

        Raises:
            BadInput: dials that do not fit the model, each other or the bench.
        """
        found: list[tuple[Literal["judgment", "rating"], PromptedJudge, list[Case]]] = []
        if bench.pairs:
            found.append(("judgment", self.judge(model), bench.pairs))
        if (bench.lists or bench.ratings) and self.reading != "text":
            raise BadInput(
                "lists and ratings are read from the text only",
                where=f"--reading {self.reading}, {bench.name}",
                fix="leave it out, or evaluate pairs",
            )
        if bench.lists:
            found.append(("judgment", self.list_judge(model), bench.lists))
        if bench.ratings:
            found.append(("rating", self.rating_judge(model), bench.ratings))
        return found

    def check(self, model: LanguageModel, benches: Sequence[Bench]) -> str:
        """Tries everything that can be tried before the first call; returns the prompts' hashes.

        Raises:
            BadInput: dials or cases that do not fit.
        """
        hashes = {}
        for bench in benches:
            check_slots(self.orders, bench.pairs, where=bench.name)
            for _, judge, cases in self.judges(model, bench):
                judge.check(cases)
                hashes[judge.template.name] = judge.template.hash
        return ", ".join(f"{name} {hash}" for name, hash in hashes.items())

    def _asking(self, model: LanguageModel) -> dict[str, Any]:
        pairwise = self.model_copy(update={"stop_early": False, "reading": "text"}).judge(model)
        names = ("samples", "sampling", "seed", "parse_retries")
        return {name: getattr(pairwise, name) for name in names}


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
    ability = given["ability"]
    if ability is None:
        ability = ABILITY if preset == "tiny" else ()
    pairs, rows = ([Path(path) for path in given[name] or ()] for name in ("pairs", "trained_on"))
    files = [Path(task) for task in ability if Path(task).is_file()]
    _once("--pairs", [str(path.resolve()) for path in pairs])
    _once("--ability", ability)
    _once("--lm-eval", given["lm_eval"] or ())
    dials = resolve(preset, config).model_dump()
    for name in ("template", "list_template", "rating_template"):
        if dials[name] is not None:
            dials[name] = own_template(dials[name])
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
    changes = {name: getattr(config, name) for name in config.model_fields_set}
    if preset is not None:
        changes = resolve(preset, config).model_dump()
    settings = {name: getattr(before, name) for name in EvaluateConfig.model_fields}
    again = {
        name: getattr(before, name) if value is None else value for name, value in given.items()
    }
    # The presets' part is in the settings already: an embedded model must not start anew.
    return make_plan(again, EvaluateConfig(**(settings | changes)))
