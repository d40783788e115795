"""The dials of an evaluation, and the judges that they describe.

>>> EvaluateConfig.tiny().list_template_name
'pick'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Self

from cyclopts import Parameter
from pydantic import Field

from planish.judges import Case, ListwiseJudge, PointwiseJudge
from planish.judges.agreement import Mode
from planish.judges.asking import PromptedJudge
from planish.judges.benches import Bench
from planish.judges.overlap import NEAR
from planish.judges.scalar import ScalarJudge
from planish.methods.rise.config import Config
from planish.methods.rise.judging.cases import check_slots
from planish.models.base import LanguageModel
from planish.records import BadInput, Sampling

__all__ = ["EvaluateConfig"]

_ABILITY_LIMIT = 200

Judging = tuple[Literal["judgment", "rating"], PromptedJudge | ScalarJudge, list[Case]]
"""What is made, who makes it, and of which cases."""


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

    def judges(self, model: LanguageModel | ScalarJudge, bench: Bench) -> list[Judging]:
        """The judges that a bench needs, each with its cases and what it makes.

        A reward head is one itself, of whatever the bench holds.

        Raises:
            BadInput: dials that do not fit the model, each other or the bench.
        """
        if isinstance(model, ScalarJudge):
            compared: list[Judging] = [("judgment", model, [*bench.pairs, *bench.lists])]
            rated: list[Judging] = [("rating", model, bench.ratings)]
            return [judging for judging in compared + rated if judging[2]]
        found: list[Judging] = []
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

    def check(self, model: LanguageModel | ScalarJudge, benches: Sequence[Bench]) -> str:
        """Tries everything that can be tried before the first call; returns the prompts' hashes.

        Raises:
            BadInput: dials or cases that do not fit.
        """
        hashes = {}
        for bench in benches:
            check_slots(self.orders, bench.pairs, where=bench.name)
            for _, judge, cases in self.judges(model, bench):
                judge.check(cases)
                if isinstance(judge, ScalarJudge):
                    continue
                hashes[judge.template.name] = judge.template.hash
        return ", ".join(f"{name} {hash}" for name, hash in hashes.items())

    def _asking(self, model: LanguageModel) -> dict[str, Any]:
        pairwise = self.model_copy(update={"stop_early": False, "reading": "text"}).judge(model)
        names = ("samples", "sampling", "seed", "parse_retries")
        return {name: getattr(pairwise, name) for name in names}
