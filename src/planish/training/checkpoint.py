"""The checkpoint that training ends with: one that any loader opens, whole or not there at all.

stop_at(model, end_id, eos_ids)                 # before training
save(trainer, tokenizer, Path("out"), result, merge_into=None)
trained(Path("out")).steps
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from safetensors import SafetensorError

from planish.records import BadInput, Record, write_text
from planish.runs.lines import FULL, DiskFull
from planish.training.launch import is_main
from planish.training.rows import Kind

__all__ = ["Trained", "TrainedKind", "drawn_plainly", "room_for", "save", "stop_at", "trained"]

TrainedKind = Kind | Literal["grpo", "reheat"]

_SUMMARY = "training.json"
# Pickled arguments, and a card that knows nothing of ours.
_PRIVATE = ("training_args.bin", "README.md")
# In the middle of a file, and where its table of contents or what was buffered no longer fits.
_TORCH_IS_FULL = ("PytorchStreamWriter failed writing", "unexpected pos", "iostream error")


_ENDS = ("bos_token_id", "eos_token_id", "pad_token_id")


class Trained(Record):
    """What a stage did, kept in the checkpoint as `training.json`.

    Args:
        steps: optimizer steps in all.
        seconds: how long the last `fresh_steps` of them took.
        run: name of the run that it belongs to.
    """

    kind: TrainedKind
    steps: int
    fresh_steps: int
    seconds: float
    num_rows: int
    num_parameters: int
    num_trainable: int
    run: str = ""


def trained(folder: Path) -> Trained | None:
    """What `train` says about a checkpoint that it made; None for any other folder."""
    try:
        return Trained.model_validate_json((folder / _SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def room_for(folder: Path) -> Iterator[None]:
    """What writes weights below `folder` says so in one way when there is no room.

    Raises:
        DiskFull: the disk, a quota or a limit is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        # safetensors has the number in its text alone, and torch's writer lost it.
        told = re.search(r"os error (\d+)", str(error))
        number = int(told[1]) if told else getattr(error, "errno", None)
        if number in FULL or any(words in str(error) for words in _TORCH_IS_FULL):
            raise DiskFull(folder) from error
        raise


def stop_at(network: Any, end_id: int, eos_ids: Sequence[int]) -> None:
    """Base models stop at the end of a text, and a chat template may end turns otherwise.

    What a checkpoint recommends for sampling is dropped where it contradicts itself: transformers
    loads such a file and then refuses to save it.
    """
    generation = network.generation_config
    try:
        generation.validate(strict=True)
    except ValueError:
        kept = {name: getattr(generation, name) for name in ("bos_token_id", "pad_token_id")}
        generation = type(generation)(eos_token_id=generation.eos_token_id, **kept)
        network.generation_config = generation
    if end_id not in eos_ids:
        generation.eos_token_id = [end_id, *eos_ids]


@contextlib.contextmanager
def drawn_plainly(model: Any) -> Iterator[None]:
    """Rollouts are drawn from the policy's own distribution.

    TRL overrides what a checkpoint recommends for sampling only where it has a setting of its own;
    that no words repeat, say, would remain. All but the end of a reply is put aside.
    """
    advised = [
        (module, vars(module)["generation_config"])
        for module in model.modules()
        if "generation_config" in vars(module)
    ]
    for module, advice in advised:
        module.generation_config = type(advice)(**{name: getattr(advice, name) for name in _ENDS})
    try:
        yield
    finally:
        for module, advice in advised:
            for name in _ENDS:  # which the trainer may have aligned with the tokenizer's
                setattr(advice, name, getattr(module.generation_config, name))
            module.generation_config = advice


def save(
    trainer: Any,
    tokenizer: Any,
    out: Path,
    result: Trained,
    *,
    merge_into: Callable[[], Any] | None,
) -> None:
    """Writes the checkpoint beside `out` and gives it its name when it is whole.

    Args:
        trainer: a trainer that is done; every process of a launch calls this.
        tokenizer: as it was loaded.
        out: a folder that does not exist.
        result: what `trained` tells of it later.
        merge_into: loads the model that training began with, to merge an adapter into; None
            where there is no adapter, which is also kept, in `out`/adapter.

    Raises:
        BadInput: another training made `out` meanwhile; this one's checkpoint lies beside it.
    """
    # Two trainings that were given one folder must not write into each other's.
    part = out.with_name(f".{out.name}-{result.run}.part")
    state = PartialState()
    if is_main():
        shutil.rmtree(part, ignore_errors=True)
    state.wait_for_everyone()
    try:
        _write(trainer, tokenizer, part, out, result, merge_into)
    except BaseException:
        if is_main():
            shutil.rmtree(part, ignore_errors=True)
        raise
    state.wait_for_everyone()


def _write(
    trainer: Any,
    tokenizer: Any,
    part: Path,
    out: Path,
    result: Trained,
    merge_into: Callable[[], Any] | None,
) -> None:
    if trainer.is_fsdp_enabled:  # shards are no checkpoint that a loader opens
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(part if merge_into is None else part / "adapter"))
    if is_main():
        if merge_into is not None:
            _merge(merge_into(), part, trainer)
        for name in _PRIVATE:
            (part / name).unlink(missing_ok=True)
        tokenizer.save_pretrained(part)
        write_text(part / _SUMMARY, result.model_dump_json(indent=1) + "\n")
        _name(part, out, result.run)


def _name(part: Path, out: Path, run: str) -> None:
    try:
        part.rename(out)
    except OSError:
        if not out.exists():
            raise
        beside = out.with_name(f"{out.name}-{run}")
        part.rename(beside)
        raise BadInput(
            "another training made it meanwhile",
            where=f"--out {out}",
            fix=f"this one's checkpoint is {beside}",
        ) from None


def _merge(base: Any, part: Path, trainer: Any) -> None:
    """The adapter's weights become part of the model's, which any loader can open."""
    from peft import PeftModel

    adapter = part / "adapter"
    for path in adapter.iterdir():
        if not path.name.startswith("adapter_"):
            path.unlink()
    if hasattr(base, "generation_config"):  # a scalar head generates nothing
        trained_model = trainer.accelerator.unwrap_model(trainer.model)
        base.generation_config = trained_model.generation_config
    merged: Any = PeftModel.from_pretrained(base, str(adapter))
    merged.merge_and_unload().save_pretrained(part)
