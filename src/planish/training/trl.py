"""SFT, DPO and reward heads with TRL, from checkpoint to checkpoint on disk.

    trained = train("sft", "./checkpoint", rows, settings, work=work, out=out, recorder=recorder)

- Rows come as token ids (`training.rows`), so TRL neither renders nor cuts them.
- Training checkpoints with optimizer and random states go to `work`; `train` goes on from the
  newest one that is whole, and ends with the numbers of a run that was never broken.
- `out` appears in one piece: weights, config, tokenizer and chat template as `save_pretrained`
  writes them. With LoRA the adapter is merged into them and also kept beside them.

TRL's terms: the loss of DPO is `sigmoid` and of NLL on the chosen reply `sft`, a mean over all
chosen tokens of a batch. Kind `scalar` gives the model a head with one output in place of logits,
and minimizes -log sigmoid(chosen - rejected), as Bradley and Terry have it.

TRL is imported here and, for reinforcement learning, in `grpo`; nowhere else.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import datasets
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from planish.records import BadInput
from planish.training.callbacks import Recorder, quiet
from planish.training.checkpoint import Trained, stop_at
from planish.training.rows import EncodedRow, Kind
from planish.training.trainer import (
    Lora,
    Optimizer,
    Quiet,
    arguments_of,
    carry_through,
    lora_config,
    open_network,
    sharded,
    share,
    size,
)

__all__ = ["Lora", "Settings", "share", "train"]


@dataclass(frozen=True, kw_only=True)
class Settings(Optimizer):
    """One stage of training on rows.

    Args:
        batch_size: rows (or pairs) a step, over all processes.
        beta: DPO's hold on the reference model.
        preference_weight: weight of DPO's term; 0 leaves NLL alone.
        alpha: weight of the NLL term; 0 leaves DPO alone.
    """

    batch_size: int
    beta: float = 0.1
    preference_weight: float = 1.0
    alpha: float = 1.0


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
    run: str = "",
) -> Trained:
    """Trains `model` on `rows` and saves the result as the checkpoint `out`.

    Args:
        model: a folder or a Hub id; with a launcher every process calls this alike.
        end_id: the token that ends a reply; generation stops at it from now on.
        work: where the training checkpoints go. It is removed once `out` is there.
        out: a folder that does not exist yet.
        run: name of the run that it belongs to, kept beside the weights.

    Raises:
        BadInput: the model cannot be loaded, or the batch does not divide.
        TrainingFailed: a number is not finite; `work` holds the last good checkpoint.
        DiskFull: there is no room for a checkpoint; nothing is half written.
    """
    with quiet():
        arguments = _arguments(kind, rows, settings, work)
        checkpoint = open_network(model, settings, scalar=kind == "scalar")
        network, tokenizer = checkpoint.model, checkpoint.tokenizer
        if kind != "scalar":  # which generates nothing
            stop_at(network, end_id, checkpoint.eos_ids)
        num_parameters = sum(map(size, network.parameters()))
        trainer = _trainer(kind, network, tokenizer, rows, arguments, settings, recorder)
        kept = len(trainer.train_dataset)
        if kept != len(rows):
            raise AssertionError(f"TRL kept {kept} of {len(rows)} rows")
        return carry_through(
            *(trainer, tokenizer, settings),
            kind=kind,
            num_rows=len(rows),
            num_parameters=num_parameters,
            run=run,
            model=model,
            work=work,
            out=out,
        )


class _SftTrainer(Quiet, SFTTrainer):  # type: ignore[misc]
    pass


class _DpoTrainer(Quiet, DPOTrainer):  # type: ignore[misc]
    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        """The rows are token ids already. SFTTrainer looks for them itself, this one does not."""
        return dataset


class _RewardTrainer(Quiet, RewardTrainer):  # type: ignore[misc]
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
        "peft_config": lora_config(settings.lora, scalar=kind == "scalar"),
    }
    if kind == "sft":
        return _SftTrainer(**options)
    if kind == "scalar":
        return _RewardTrainer(**options)
    if settings.lora is None and not sharded():
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


def _arguments(kind: Kind, rows: Sequence[EncodedRow], settings: Settings, work: Path) -> Any:
    common = arguments_of(settings, settings.batch_size, work)
    common["max_length"] = max(row.length for row in rows)
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
