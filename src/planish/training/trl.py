"""SFT, DPO and reward heads with TRL, from checkpoint to checkpoint on disk. The one TRL import.

    trained = train("sft", "./checkpoint", rows, settings, work=work, out=out, recorder=recorder)

- Rows come as token ids (`training.rows`), so TRL neither renders nor cuts them.
- Training checkpoints with optimizer and random states go to `work`; `train` goes on from the
  newest one that is whole, and ends with the numbers of a run that was never broken.
- `out` appears in one piece: weights, config, tokenizer and chat template as `save_pretrained`
  writes them. With LoRA the adapter is merged into them and also kept beside them.

TRL's terms: the loss of DPO is `sigmoid` and of NLL on the chosen reply `sft`, a mean over all
chosen tokens of a batch. Kind `scalar` gives the model a head with one output in place of logits,
and minimizes -log sigmoid(chosen - rejected), as Bradley and Terry have it.
"""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from planish.models.local_loading import Checkpoint, open_checkpoint
from planish.records import BadInput
from planish.training.callbacks import Recorder, TrainingFailed, last_checkpoint, quiet
from planish.training.checkpoint import Trained, room_for, save, stop_at
from planish.training.launch import is_main, num_processes
from planish.training.rows import EncodedRow, Kind, split_batch

__all__ = ["Lora", "Settings", "share", "train"]

_KEPT = 2  # training checkpoints; the newest may be torn by a kill, the one before it is whole


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter on every linear layer but the head."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0


@dataclass(frozen=True)
class Settings:
    """One stage of training.

    Args:
        num_steps: optimizer steps.
        batch_size: rows (or pairs) a step, over all processes.
        micro_batch_size: rows at once on one device; by default all that are its share.
        warmup: share of the steps in which the learning rate rises.
        save_every: steps between training checkpoints.
        weights: dtype in memory; by default float32, and bfloat16 for LoRA on a GPU.
        gradient_checkpointing: by default on GPUs only.
        beta: DPO's hold on the reference model.
        preference_weight: weight of DPO's term; 0 leaves NLL alone.
        alpha: weight of the NLL term; 0 leaves DPO alone.
    """

    learning_rate: float
    num_steps: int
    batch_size: int
    seed: int = 0
    micro_batch_size: int | None = None
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = 0.0
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    save_every: int = 100
    weights: Literal["float32", "bfloat16"] | None = None
    gradient_checkpointing: bool | None = None
    lora: Lora | None = None
    beta: float = 0.1
    preference_weight: float = 1.0
    alpha: float = 1.0


def share(value: Any) -> Any:
    """The main process's value, on every process."""
    if num_processes() == 1:
        return value
    PartialState(cpu=not torch.cuda.is_available())
    return broadcast_object_list([value], from_process=0)[0]


def train(
    kind: Kind,
    model: str,
    rows: Sequence[EncodedRow],
    settings: Settings,
    *,
    end_id: int,
    work: Path,
    out: Path,
    recorder: Recorder,
) -> Trained:
    """Trains `model` on `rows` and saves the result as the checkpoint `out`.

    Args:
        model: a folder or a Hub id; with a launcher every process calls this alike.
        end_id: the token that ends a reply; generation stops at it from now on.
        work: where the training checkpoints go. It is removed once `out` is there.
        out: a folder that does not exist yet.

    Raises:
        BadInput: the model cannot be loaded, or the batch does not divide.
        TrainingFailed: a number is not finite; `work` holds the last good checkpoint.
        DiskFull: there is no room for a checkpoint; nothing is half written.
    """
    with quiet():
        arguments = _arguments(kind, rows, settings, work)
        checkpoint = _open(kind, model, settings)
        network, tokenizer = checkpoint.model, checkpoint.tokenizer
        num_parameters = sum(map(_size, network.parameters()))
        if kind != "scalar":  # which generates nothing
            stop_at(network, end_id, checkpoint.eos_ids)
        trainer = _trainer(kind, network, tokenizer, rows, arguments, settings, recorder)
        trainer.remove_callback(PrinterCallback)
        kept = len(trainer.train_dataset)
        if kept != len(rows):
            raise AssertionError(f"TRL kept {kept} of {len(rows)} rows")
        trainable = [_size(p) for p in trainer.model.parameters() if p.requires_grad]
        with room_for(work):
            done_before, seconds = _run(trainer, last_checkpoint(work))
        result = Trained(
            kind=kind,
            steps=trainer.state.global_step,
            fresh_steps=trainer.state.global_step - done_before,
            seconds=seconds,
            num_rows=len(rows),
            num_parameters=num_parameters,
            num_trainable=sum(trainable),
        )
        with room_for(out):
            save(
                trainer,
                tokenizer,
                out,
                result,
                merge_into=None
                if settings.lora is None
                else lambda: _open(kind, model, settings).model,
            )
    if is_main():
        shutil.rmtree(work, ignore_errors=True)
    return result


def _open(kind: Kind, model: str, settings: Settings) -> Checkpoint:
    """The same weights at every call, a new head's included."""
    torch.manual_seed(settings.seed)
    return open_checkpoint(model, device="cpu", dtype=_weights(settings), scalar=kind == "scalar")


def _size(parameter: Any) -> int:
    """Weights in a parameter, also where DeepSpeed has left only a shard of it here."""
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def _run(trainer: Any, resumed: Path | None) -> tuple[int, float]:
    """Trains on from a checkpoint: how many steps it held, and the seconds of the others."""
    start = time.perf_counter()
    try:
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    except torch.OutOfMemoryError:
        step = trainer.state.global_step + 1
        raise TrainingFailed("a batch does not fit into the memory", step) from None
    held = 0 if resumed is None else int(resumed.name.partition("-")[2])
    return held, time.perf_counter() - start


class _Quiet:
    """What TRL's trainers do beside training and nobody asked for."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Ours is written at the end, with the results."""


class _SftTrainer(_Quiet, SFTTrainer):  # type: ignore[misc]
    pass


class _DpoTrainer(_Quiet, DPOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The rows are token ids already. SFTTrainer looks for them itself, this one does not."""
        return dataset


class _RewardTrainer(_Quiet, RewardTrainer):  # type: ignore[misc]
    pass


def _trainer(
    kind: Kind,
    network: Any,
    tokenizer: Any,
    rows: Sequence[EncodedRow],
    arguments: Any,
    settings: Settings,
    recorder: Recorder,
) -> Any:
    options: dict[str, Any] = {
        "model": network,
        "args": arguments,
        "train_dataset": _dataset(kind, rows),
        # TRL gives it a padding token if it has none; the one that is saved stays as it was.
        "processing_class": copy.deepcopy(tokenizer),
        "callbacks": [recorder],
        "peft_config": _lora(kind, settings.lora),
    }
    if kind == "sft":
        return _SftTrainer(**options)
    if kind == "scalar":
        return _RewardTrainer(**options)
    if settings.lora is None and not _sharded():
        options["ref_model"] = copy.deepcopy(network)
    return _DpoTrainer(**options)


def _dataset(kind: Kind, rows: Sequence[EncodedRow]) -> datasets.Dataset:
    if kind == "sft":
        return datasets.Dataset.from_dict(
            {
                "input_ids": [[*row.prompt_ids, *row.reply_ids[0]] for row in rows],
                "completion_mask": [
                    [0] * len(row.prompt_ids) + [1] * len(row.reply_ids[0]) for row in rows
                ],
            }
        )
    if kind == "scalar":
        return datasets.Dataset.from_dict(
            {
                name: [[*row.prompt_ids, *row.reply_ids[side]] for row in rows]
                for side, name in enumerate(("chosen_ids", "rejected_ids"))
            }
        )
    return datasets.Dataset.from_dict(
        {
            "prompt_ids": [row.prompt_ids for row in rows],
            "chosen_ids": [row.reply_ids[0] for row in rows],
            "rejected_ids": [row.reply_ids[1] for row in rows],
        }
    )


def _sharded() -> bool:
    """DeepSpeed's parameters cannot be copied; TRL then loads the reference from the disk."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def _weights(settings: Settings) -> str:
    if settings.weights is not None:
        return settings.weights
    return "bfloat16" if settings.lora and torch.cuda.is_available() else "float32"


def _lora(kind: Kind, lora: Lora | None) -> Any:
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        # With the latter a new head is trained whole.
        task_type="CAUSAL_LM" if kind != "scalar" else "SEQ_CLS",
    )


def _arguments(kind: Kind, rows: Sequence[EncodedRow], settings: Settings, work: Path) -> Any:
    cpu = not torch.cuda.is_available()
    processes = num_processes()
    micro = split_batch(settings.batch_size, settings.micro_batch_size, processes)
    # transformers gave this setting a new name; the old one, where both exist, is deprecated.
    names = {field.name for field in fields(SFTConfig)}
    checkpointing = "activation_checkpointing"
    if checkpointing not in names:
        checkpointing = "gradient_checkpointing"
    wanted = settings.gradient_checkpointing
    common: dict[str, Any] = {
        "output_dir": str(work),
        "learning_rate": settings.learning_rate,
        "max_steps": settings.num_steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": settings.batch_size // (micro * processes),
        "lr_scheduler_type": settings.schedule,
        "warmup_steps": int(settings.warmup * settings.num_steps),
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "seed": settings.seed,
        "data_seed": settings.seed,
        # Every step is logged as it was: an average over a kill would not be the same number.
        "logging_strategy": "steps",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": settings.save_every,
        "save_total_limit": _KEPT,
        "use_cpu": cpu,
        "bf16": not cpu,
        checkpointing: not cpu if wanted is None else wanted,
        "dataloader_pin_memory": not cpu,
        "ddp_find_unused_parameters": False,
        "max_length": max(row.length for row in rows),
        "report_to": [],
        "disable_tqdm": True,
    }
    if kind == "sft":
        return SFTConfig(**common, completion_only_loss=True)
    if kind == "scalar":
        return RewardConfig(**common)
    return DPOConfig(**common, beta=settings.beta, **_dpo_loss(settings))


def _dpo_loss(settings: Settings) -> dict[str, Any]:
    """The two terms, by the fields that this TRL has; a term of weight 0 is left out."""
    terms = {"sigmoid": settings.preference_weight, "sft": settings.alpha}
    terms = {name: weight for name, weight in terms.items() if weight > 0}
    if not terms:
        raise BadInput("DPO and NLL both weigh 0", where="settings", fix="raise one of them")
    names = {field.name for field in fields(DPOConfig)}
    if "loss_weights" in names:
        return {"loss_type": list(terms), "loss_weights": list(terms.values())}
    if "rpo_alpha" in names and terms.get("sigmoid") == 1.0:
        return {"loss_type": "sigmoid", "rpo_alpha": terms.get("sft")}
    raise BadInput(
        "the installed TRL cannot weigh DPO and NLL", where="trl", fix="pip install -U trl"
    )
