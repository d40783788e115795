"""Which model, held against which, and on what: every stage of the room says it with the same
options.

    class Plan(Origin, Config): ...

    plan = Plan(**origin_of(given), **resolve(preset_for(given["model"], preset), config).model_dump())
    plan.load_task(), local_path(plan.model)
"""  # noqa: E501 - one line of code

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from planish.records import BadInput
from planish.runs.info import RunInfo, config_of
from planish.runs.presets import Preset, digest
from planish.tasks.base import Task
from planish.tasks.load import load_task

__all__ = ["Origin", "again", "check_models", "local_path", "origin_of", "preset_for", "typed"]


class Origin(BaseModel):
    """The model, the one it is held against, and the task.

    A file's path is whole, so that a run can go on from anywhere. The hash of the weights and of
    the file are kept, for what is behind a name may change.

    Args:
        model: as it was typed.
        model_fingerprint: of a folder's weights; "hub" for a Hub id, "" for what is not here.
        reference: a healthy model, such as that before the reinforcement learning.
        reference_fingerprint: of its weights.
        task: as `load_task` takes it.
        data_sha256: of the task's file, where it is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    model_fingerprint: str
    reference: str | None
    reference_fingerprint: str | None
    task: str
    data_sha256: str | None

    @property
    def source(self) -> str:
        """Where the prompts come from, for people."""
        return f"task {self.task}" if self.data_sha256 is None else Path(self.task).name

    @property
    def is_tiny(self) -> bool:
        """Whether the model is one that only shows the mechanism."""
        return self.model.startswith(("embedded:", "scripted:"))

    def load_task(self) -> Task:
        """The task.

        Raises:
            BadInput: no such task, or a file that holds what is no question.
        """
        return load_task(self.task)


def origin_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Origin` from the options `model`, `reference` and `task`.

    Raises:
        BadInput: an option is missing, or names what cannot be read.
    """
    for name in ("model", "task"):
        if given[name] is None:
            raise BadInput(
                "is missing", where=f"--{name}", fix="give it, or --resume RUN to go on with a run"
            )
    reference, task = given.get("reference"), given["task"]
    path = Path(task)
    is_file = path.is_file()
    return {
        "model": given["model"],
        "model_fingerprint": _fingerprint(given["model"]),
        "reference": reference,
        "reference_fingerprint": None if reference is None else _fingerprint(reference),
        "task": str(path.resolve()) if is_file else task,
        "data_sha256": digest(path) if is_file else None,
    }


def local_path(spec: str) -> str | None:
    """The folder or Hub id of a model that runs in this process; None for any other.

    Raises:
        BadInput: no model of this name ships in the package.
    """
    from planish.embedded import path as embedded

    scheme, _, rest = spec.partition(":")
    target = rest.rpartition("?")[0] if "?" in rest else rest
    if scheme not in ("hf", "embedded") or not target:
        return None
    return str(embedded(target)) if scheme == "embedded" else os.path.expanduser(target)


def check_models(model: str, reference: str | None, *, option: str = "--reference") -> None:
    """Refuses what would make entropies mean something else, before anything is loaded or drawn.

    Args:
        model: as it was typed; one that is not local is let pass.
        reference: the same of what it is held against.
        option: that named the reference.

    Raises:
        BadInput: a temperature was left in a config, or the two do not share a vocabulary.
    """
    found = {}
    for name, spec in (("--model", model), (option, reference)):
        path = None if spec is None else local_path(spec)
        if path is not None and spec is not None:
            found[name] = _vocabulary(path, spec)
    if len(found) == 2 and found["--model"] != found[option]:
        (ours, size), (theirs, other) = found.values()
        what = f"{other} tokens, the model {size}"
        if size == other:
            apart = min(word for word in ours.keys() | theirs if ours.get(word) != theirs.get(word))
            what = f"as many tokens, but not the same ones: {apart!r} is another"
        raise BadInput(
            f"{reference} has another vocabulary than the model: {what}",
            where=option,
            fix="entropies compare over one vocabulary only: name a model of the same tokenizer",
        )


def _vocabulary(path: str, spec: str) -> tuple[dict[str, int], int]:
    """Its tokens, and how many logits it has."""
    from transformers import AutoConfig

    from planish.models.local_loading import open_tokenizer
    from planish.training.tempered import check_untempered

    tokenizer, _ = open_tokenizer(path)  # says what is wrong with a folder
    config: Any = AutoConfig.from_pretrained(path, trust_remote_code=False)
    check_untempered(config, spec)
    return tokenizer.get_vocab(), int(config.get_text_config().vocab_size)


def _fingerprint(spec: str) -> str:
    path = local_path(spec)
    if path is None:
        return ""
    if not Path(path).is_dir():
        return "hub"
    from planish.models.local_loading import fingerprint

    return fingerprint(path, None)


def preset_for(model: str | None, preset: Preset | None) -> Preset | None:
    """The preset to start from: the embedded models are tiny."""
    embedded = (model or "").startswith("embedded:")
    return "tiny" if preset is None and embedded else preset


def typed(
    plan: Origin, own: type[BaseModel], other: type[BaseModel], without: Collection[str] = ()
) -> list[str]:
    """The options of a plan that another command takes too, as they are typed.

    Args:
        plan: of which command; what it has from its start is left out.
        own: the dials of its command.
        other: the dials of the command that comes next.
        without: dials that mean something else there.
    """
    preset = preset_for(plan.model, None)
    start = own() if preset is None else getattr(own, preset)()
    words: list[str] = []
    for name in own.model_fields:
        value = getattr(plan, name)
        if name not in other.model_fields or name in without or value == getattr(start, name):
            continue
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        elif value is not None:
            words += [f"--{option}", str(value)]
    return words


P = TypeVar("P", bound=Origin)


def again(
    info: RunInfo, stage: str, kind: type[P], given: Mapping[str, Any]
) -> tuple[P, dict[str, Any]]:
    """The plan of a run that goes on, and its options with whatever was given again on top.

    Raises:
        BadInput: a run of another stage, or of another version of this one.
    """
    before = config_of(info, "reheat", stage, kind)
    return before, {
        name: getattr(before, name) if value is None else value for name, value in given.items()
    }
