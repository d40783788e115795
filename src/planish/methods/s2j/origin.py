"""Who is measured on what, and where items come from, which every stage says in the same options.

class Plan(Origin, Config): ...
plan = Plan(**origin_of(given), **resolve(preset_for(model, config, preset), config).model_dump())
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from planish.judges.formats import Format
from planish.methods.s2j.data import Items, pair_items, task_items
from planish.records import BadInput
from planish.runs.info import RunInfo, config_of
from planish.runs.presets import Preset, digest
from planish.tasks.load import load_task

__all__ = ["LIMIT", "Origin", "again", "origin_of", "preset_for", "source_of"]

LIMIT = 200
"""Questions of a task, if nobody says how many."""


class Origin(BaseModel):
    """The model and the items. Paths are whole, so that a run can go on from anywhere; the file's
    hash, the prompts' and the model's revision are kept, for what is behind a name may change.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    task: str | None
    pairs: str | None
    data_sha256: str | None
    format: Format
    limit: int | None
    cache: str | None
    template_hash: str = ""
    revision: str = ""

    @property
    def source(self) -> str:
        """Where the items come from, for people."""
        if self.pairs is not None:
            return Path(self.pairs).name
        task = self.task or ""
        return Path(task).name if Path(task).is_file() else f"task {task}"

    @property
    def source_option(self) -> tuple[str, str]:
        """The same as an option and its value."""
        return ("--task", self.task or "") if self.pairs is None else ("--pairs", self.pairs)

    @property
    def is_tiny(self) -> bool:
        """Whether the model is one that only shows the mechanism."""
        return self.model.startswith(("embedded:", "scripted:"))

    def read_items(self, *, both_wrong: int = 0, seed: int = 0) -> Items:
        """The items, whatever slices they are of.

        Raises:
            BadInput: as `task_items` and `pair_items`.
        """
        if self.pairs is not None:
            return pair_items(self.pairs, self.format, self.limit)
        return task_items(
            load_task(self.task or ""),
            split="report",
            limit=self.limit or LIMIT,
            both_wrong=both_wrong,
            seed=seed,
        )


def origin_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Origin` from options: `model`, `task`, `pairs`, `format`, `limit`, `cache`.

    Raises:
        BadInput: an option is missing, contradicts another, or names what cannot be read.
    """
    if given["model"] is None:
        raise BadInput(
            "is missing", where="--model", fix="give it, or --resume RUN to go on with a run"
        )
    cache = given["cache"]
    return {
        "model": given["model"],
        **source_of(given["task"], given["pairs"], given["format"]),
        "limit": given["limit"],
        "cache": None if cache is None else str(Path(cache).resolve()),
    }


def source_of(task: str | None, pairs: Path | str | None, format: Format | None) -> dict[str, Any]:
    """The fields `task`, `pairs`, `format` and `data_sha256` of a plan: whole paths, one source.

    Raises:
        BadInput: none or both are given, a format without pairs, or a file that cannot be read.
    """
    if task is None and pairs is None:
        raise BadInput(
            "is missing: there are no items",
            where="--task",
            fix="give --task chain:3, --task QUESTIONS.jsonl, or --pairs FILE",
        )
    if task is not None and pairs is not None:
        raise BadInput(
            "is one source of items too many",
            where="--pairs",
            fix="give one of --task and --pairs",
        )
    if pairs is None and format is not None:
        raise BadInput("is for --pairs", where="--format", fix="leave it out")
    path = Path(pairs if pairs is not None else task or "")
    is_file = pairs is not None or path.is_file()
    return {
        "task": None if task is None else str(path.resolve() if is_file else path),
        "pairs": None if pairs is None else str(path.resolve()),
        "data_sha256": digest(path) if is_file else None,
        "format": format or "auto",
    }


def preset_for(model: str | None, config: BaseModel, preset: Preset | None) -> Preset | None:
    """The preset to start from: the embedded models speak the toy world's grammar."""
    embedded = (model or "").startswith("embedded:")
    if preset is None and embedded and "template" not in config.model_fields_set:
        return "tiny"
    return preset


P = TypeVar("P", bound=Origin)


def again(
    info: RunInfo, stage: str, kind: type[P], given: Mapping[str, Any]
) -> tuple[P, dict[str, Any]]:
    """The plan of a run that goes on, and its options with whatever was given again on top.

    Raises:
        BadInput: a run of another stage, or of another version of this one.
    """
    before = config_of(info, "s2j", stage, kind)
    kept = {name: getattr(before, name) for name in given}
    kept["format"] = None if before.pairs is None else before.format
    # Items of another kind replace those of before, and are then refused as other items.
    for one, other in (("task", "pairs"), ("pairs", "task")):
        if given[one] is not None and given[other] is None:
            kept |= {other: None, "format": None}
    return before, {name: kept[name] if value is None else value for name, value in given.items()}
