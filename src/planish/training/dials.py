"""The dials that every training has, for the configs of rooms, and how the trainers hear them.

class TrainConfig(TrainingDials): ...
GrpoSettings(learning_rate=..., num_steps=..., seed=..., **config.optimizer())
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter
from pydantic import BaseModel, Field

__all__ = ["TrainingDials", "VllmDials"]


class TrainingDials(BaseModel):
    """How weights are trained, whatever they learn; a room may give a dial another default."""

    schedule: Literal["linear", "cosine", "constant"] = Field(
        "constant", description="How the learning rate falls."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    micro_batch_size: int | None = Field(
        None, ge=1, description="Rows at once on one device; by default all of its share."
    )
    gradient_checkpointing: bool | None = Field(
        None, description="Recompute activations to save memory; by default on GPUs only."
    )
    weights: Literal["float32", "bfloat16"] | None = Field(
        None, description="Weights in memory; by default float32, bfloat16 for LoRA on a GPU."
    )
    lora: Annotated[bool, Parameter(negative="")] = Field(
        False, description="Train a low-rank adapter and merge it at the end."
    )
    lora_rank: int = Field(16, ge=1, description="Rank of the adapter.")
    lora_alpha: int = Field(32, ge=1, description="Scale of the adapter.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter.")
    save_every: int = Field(50, ge=1, description="Steps between checkpoints to resume from.")

    def optimizer(self) -> dict[str, Any]:
        """The dials in the words of `trainer.Optimizer`."""
        from planish.training.trainer import Lora

        lora = Lora(self.lora_rank, self.lora_alpha, self.lora_dropout) if self.lora else None
        return {
            "schedule": self.schedule,
            "weight_decay": self.weight_decay,
            "max_grad_norm": self.max_grad_norm,
            "micro_batch_size": self.micro_batch_size,
            "gradient_checkpointing": self.gradient_checkpointing,
            "weights": self.weights,
            "lora": lora,
            "save_every": self.save_every,
        }


class VllmDials(BaseModel):
    """Who draws the rollouts."""

    vllm: Literal["server", "colocate"] | None = Field(
        None, description="Let vLLM draw the rollouts: a server, or on the training's own GPU."
    )
    vllm_url: str | None = Field(None, description="Where the vLLM server is.")
    vllm_memory: float = Field(
        0.3, gt=0, lt=1, description="Share of the GPU's memory that colocate takes."
    )

    def rollouts_by(self) -> dict[str, Any]:
        """The dials in the words of `trainer.Vllm`."""
        return {"vllm": self.vllm, "vllm_url": self.vllm_url, "vllm_memory": self.vllm_memory}
