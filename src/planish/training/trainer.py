"""What all trainings share: from a checkpoint on disk to a trainer of TRL's, and back to one.

    checkpoint = open_network("./checkpoint", settings)
    trainer = SFTTrainer(model=checkpoint.model, args=SFTConfig(**arguments_of(settings, 32, work)))
    carry_through(trainer, checkpoint.tokenizer, settings, kind="sft", num_rows=len(rows), ...)

Training checkpoints with optimizer and random states go to `work`; training goes on from the
newest one that is whole. `out` appears in one piece.
"""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PrinterCallback, TrainingArguments

from planish.models.local_loading import Checkpoint, open_checkpoint
from planish.training.callbacks import TrainingFailed, last_checkpoint
from planish.training.checkpoint import Trained, TrainedKind, drawn_plainly, room_for, save
from planish.training.launch import is_main, num_processes
from planish.training.rows import split_batch

__all__ = [
    "Lora",
    "Optimizer",
    "Quiet",
    "Vllm",
    "arguments_of",
    "carry_through",
    "lora_config",
    "open_network",
    "sharded",
    "share",
    "size",
]

_KEPT = 2  # training checkpoints; the newest may be torn by a kill, the one before it is whole


@dataclass(frozen=True)
class Lora:
    """A low-rank adapter on every linear layer but the head."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Optimizer:
    """What every training needs to know.

    Args:
        num_steps: optimizer steps.
        micro_batch_size: rows at once on one device; by default all that are its share.
        warmup: share of the steps in which the learning rate rises.
        save_every: steps between training checkpoints.
        weights: dtype in memory; by default float32, and bfloat16 for LoRA on a GPU.
        gradient_checkpointing: by default on GPUs only.
    """

    learning_rate: float
    num_steps: int
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


@dataclass(frozen=True, kw_only=True)
class Vllm:
    """Who draws the rollouts.

    Args:
        vllm: "server" lets a vLLM server draw them, "colocate" this process's GPU; None:
            transformers.
        vllm_url: of the server.
        vllm_memory: share of the GPU's memory that "colocate" takes.
    """

    vllm: Literal["server", "colocate"] | None = None
    vllm_url: str | None = None
    vllm_memory: float = 0.3

    def vllm_arguments(self) -> dict[str, Any]:
        """In TRL's words."""
        if self.vllm is None:
            return {}
        return {
            "use_vllm": True,
            "vllm_mode": self.vllm,
            "vllm_server_base_url": self.vllm_url,
            "vllm_gpu_memory_utilization": self.vllm_memory,
        }


def share(value: Any) -> Any:
    """The main process's value, on every process."""
    if num_processes() == 1:
        return value
    PartialState(cpu=not torch.cuda.is_available())
    return broadcast_object_list([value], from_process=0)[0]


def carry_through(
    trainer: Any,
    tokenizer: Any,
    settings: Optimizer,
    *,
    kind: TrainedKind,
    num_rows: int,
    num_parameters: int,
    run: str,
    model: str,
    work: Path,
    out: Path,
) -> Trained:
    """Trains from the newest checkpoint in `work`, saves `out` and clears `work` away.

    Args:
        trainer: any of TRL's.
        tokenizer: as it was loaded.
        settings: of this training.
        kind: what is trained.
        num_rows: that it learns from.
        num_parameters: of the model, without an adapter.
        run: name of the run that it belongs to.
        model: what training began with, to merge an adapter into.
        work: holds the training checkpoints, and is removed once `out` is there.
        out: a folder that does not exist yet.
    """
    trainer.remove_callback(PrinterCallback)
    trainable = sum(size(p) for p in trainer.model.parameters() if p.requires_grad)
    with room_for(work), drawn_plainly(trainer.model):
        done_before, seconds = _run(trainer, last_checkpoint(work))
    result = Trained(
        kind=kind,
        steps=trainer.state.global_step,
        fresh_steps=trainer.state.global_step - done_before,
        seconds=seconds,
        num_rows=num_rows,
        num_parameters=num_parameters,
        num_trainable=trainable,
        run=run,
    )
    merge_into = None
    if settings.lora is not None:

        def merge_into() -> Any:
            return open_network(model, settings, scalar=kind == "scalar").model

    with room_for(out):
        save(trainer, tokenizer, out, result, merge_into=merge_into)
    if is_main():
        shutil.rmtree(work, ignore_errors=True)
    return result


def open_network(model: str, settings: Optimizer, *, scalar: bool = False) -> Checkpoint:
    """The same weights at every call, a new head's included."""
    torch.manual_seed(settings.seed)
    return open_checkpoint(model, device="cpu", dtype=_weights(settings), scalar=scalar)


def size(parameter: Any) -> int:
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


class Quiet:
    """What TRL's trainers do beside training and nobody asked for."""

    def _send_telemetry(self) -> None:
        """Nothing leaves this machine."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Ours is written at the end, with the results."""


def sharded() -> bool:
    """DeepSpeed's parameters cannot be copied; TRL then loads the reference from the disk."""
    return os.environ.get("ACCELERATE_USE_DEEPSPEED", "false").lower() == "true"


def _weights(settings: Optimizer) -> str:
    if settings.weights is not None:
        return settings.weights
    return "bfloat16" if settings.lora and torch.cuda.is_available() else "float32"


def lora_config(lora: Lora | None, *, scalar: bool = False) -> Any:
    """peft's words for an adapter; None without one."""
    if lora is None:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules="all-linear",
        # With the latter a new head is trained whole.
        task_type="SEQ_CLS" if scalar else "CAUSAL_LM",
    )


def arguments_of(settings: Optimizer, batch_size: int, work: Path) -> dict[str, Any]:
    """What every trainer is told, in transformers' words.

    Raises:
        BadInput: the batch does not divide among the processes.
    """
    cpu = not torch.cuda.is_available()
    processes = num_processes()
    micro = split_batch(batch_size, settings.micro_batch_size, processes)
    # transformers gave this setting a new name; the old one, where both exist, is deprecated.
    names = {field.name for field in fields(TrainingArguments)}
    checkpointing = "activation_checkpointing"
    if checkpointing not in names:
        checkpointing = "gradient_checkpointing"
    wanted = settings.gradient_checkpointing
    return {
        "output_dir": str(work),
        "learning_rate": settings.learning_rate,
        "max_steps": settings.num_steps,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": batch_size // (micro * processes),
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
        "report_to": [],
        "disable_tqdm": True,
    }
