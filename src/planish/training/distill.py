"""On-policy self-distillation with TRL: the teacher is the policy itself, tempered.

    prompts = [("item 1", chat), ...]
    train_distill("./checkpoint", prompts, settings, work=work, out=out, recorder=recorder, watch=w)

The student draws a reply to every prompt at temperature 1 and moves, over the whole vocabulary,
towards softmax(teacher logits / T). The teacher is the policy as it was at first (frozen), as it
was at most so many steps ago (refresh), or as it is (live, TS-OPSD, arXiv 2606.00755). Sampling,
loss kernel and sharding are TRL's, which never holds a whole batch of logits.

After every step a watch looks at the policy and says whether to go on, to stop, or to go back to
the weights of the last step that it let pass.
"""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
from accelerate.utils import gather_object
from torch import Tensor
from transformers import TrainerCallback
from trl.trainer import distillation_trainer as theirs
from trl.trainer.callbacks import SyncRefModelCallback
from trl.trainer.distillation_config import DistillationConfig
from trl.trainer.distillation_trainer import DistillationTrainer

from planish.models.local_prompts import end_id
from planish.records import BadInput, Chat
from planish.training.callbacks import Recorder, last_checkpoint, quiet
from planish.training.checkpoint import Trained, stop_at
from planish.training.guard import Guard, Guarded, Watch
from planish.training.heads import Logits, detached
from planish.training.prompts import encode_prompts, epochs
from planish.training.tempered import check_untempered, scaling, temper
from planish.training.trainer import (
    Optimizer,
    Quiet,
    Vllm,
    arguments_of,
    carry_through,
    lora_config,
    open_network,
    sharded,
    size,
)

__all__ = ["DistillSettings", "check_live", "train_distill"]

_NAMED = 4  # items in a message
_FINAL_NORMS = ("norm", "final_layernorm", "ln_f", "final_norm", "final_layer_norm")

LIVE_TRL = "1.16."
"""The versions of TRL whose private loss kernel the live teacher was compared with."""


@dataclass(frozen=True, kw_only=True)
class DistillSettings(Vllm, Optimizer):
    """One self-distillation; the rest is as in `Optimizer`, `Vllm` and TRL's config.

    Args:
        temperature: of the teacher; above 1 it is less certain than the student, below 1 more.
        prompts_per_step: different prompts that one optimizer step sees.
        rollouts_per_prompt: replies to each.
        max_tokens: budget of one reply.
        direction: "fkl" is KL(teacher || student), "rkl" KL(student || teacher).
        teacher: "frozen", "live", or the number of steps after which it becomes the student.
        anchor: a folder or Hub id of a reference, whose distribution r the teacher then approaches
            as T grows, in place of the uniform one: p is proportional to q^(1/T) r^(1 - 1/T). What
            the reference knows to be impossible stays so.
        trains: all weights, or only the norm before the head, which scales the logits: the policy
            gets as warm as one temperature makes it, and the ranking of its tokens stays.
    """

    temperature: float
    prompts_per_step: int
    rollouts_per_prompt: int
    max_tokens: int
    direction: Literal["fkl", "rkl"] = "fkl"
    teacher: Literal["frozen", "live"] | int = "frozen"
    anchor: str | None = None
    trains: Literal["all", "final_norm"] = "all"


def check_live() -> None:
    """Refuses a live or anchored teacher on a TRL whose kernel we do not know.

    Raises:
        BadInput: with the version that is needed.
    """
    version = importlib.metadata.version("trl")
    if not version.startswith(LIVE_TRL) or not hasattr(theirs, "_chunked_divergence_loss"):
        raise BadInput(
            f"a live teacher uses a part of TRL that was checked in {LIVE_TRL}x; this is {version}",
            where="--teacher live",
            fix=f"pip install 'trl=={LIVE_TRL}*', or use --teacher refresh:1",
        )


def train_distill(
    model: str,
    prompts: Sequence[tuple[str, Chat]],
    settings: DistillSettings,
    *,
    work: Path,
    out: Path,
    recorder: Recorder,
    watch: Watch = lambda step, checkpoint: "go",
    run: str = "",
) -> Trained:
    """Distils `model` into its own tempered self and saves the result as the checkpoint `out`.

    Args:
        model: a folder or a Hub id; with a launcher every process calls this alike.
        prompts: (item, prompt), drawn in shuffled epochs.
        settings: how.
        work: where the training checkpoints go. It is removed once `out` is there.
        out: a folder that does not exist yet.
        recorder: hears of every step: loss, entropy of the step's replies, gradient norm.
        watch: asked before the first step and after every one.
        run: name of the run that it belongs to, kept beside the weights.

    Raises:
        BadInput: the model cannot be loaded, a prompt does not fit, or the batch does not divide.
        TrainingFailed: a number is not finite; `work` holds the last whole checkpoint.
        DiskFull: there is no room for a checkpoint; nothing is half written.
    """
    if settings.teacher == "live" or settings.anchor is not None:
        check_live()
    _check_adapter(settings)
    with quiet():
        batch = settings.prompts_per_step * settings.rollouts_per_prompt
        arguments = _arguments(settings, batch, work)
        checkpoint = open_network(model, settings)
        network, tokenizer = checkpoint.model, checkpoint.tokenizer
        check_untempered(network.config, model)
        _without_dropout(network)
        if settings.trains == "final_norm":
            _train_final_norm(network, model)
        stop_at(network, end_id(tokenizer), checkpoint.eos_ids)
        num_parameters = sum(map(size, network.parameters()))
        prompt_ids = encode_prompts(
            *(prompts, tokenizer, model),
            max_tokens=settings.max_tokens,
            room=checkpoint.max_positions,
        )
        teacher = None if settings.teacher == "live" else _teacher(model, network, settings)
        trainer = _Trainer(
            items=[item for item, _ in prompts],
            prompt_ids=prompt_ids,
            settings=settings,
            model=network,
            teacher_model=teacher,
            anchor=_anchor(settings, network),
            args=arguments,
            train_dataset=_dataset(len(prompts), settings),
            processing_class=copy.deepcopy(tokenizer),
            callbacks=[recorder],
            peft_config=lora_config(settings.lora),
        )
        if isinstance(settings.teacher, int):
            trainer.add_callback(_Refresh(trainer, settings.teacher, last_checkpoint(work)))
        trainer.add_callback(Guard(trainer, checkpoint, watch))
        return carry_through(
            *(trainer, tokenizer, settings),
            kind="reheat",
            num_rows=len(prompts),
            num_parameters=num_parameters,
            run=run,
            model=model,
            work=work,
            out=out,
        )


def _check_adapter(settings: DistillSettings) -> None:
    if settings.lora is None:
        return
    if isinstance(settings.teacher, int):
        raise BadInput(
            "a teacher that is refreshed needs whole weights",
            where="--lora",
            fix="leave it out, or use --teacher frozen",
        )
    if settings.lora.dropout:
        raise BadInput(
            "has no effect: policy and teacher are compared without dropout",
            where="--lora-dropout",
            fix="leave it out",
        )


def _without_dropout(network: Any) -> None:
    """TRL silences dropout layers alone; attention reads its rate from a number."""
    for module in network.modules():
        for name, value in list(vars(module).items()):
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def _train_final_norm(network: Any, model: str) -> None:
    """Freezes all but the norm before the head.

    Raises:
        BadInput: the architecture has no such norm under a name that we know.
    """
    decoder = network.get_decoder()
    norm = next((getattr(decoder, name) for name in _FINAL_NORMS if hasattr(decoder, name)), None)
    if norm is None:
        raise BadInput(
            f"{type(network).__name__} has no norm before its head that we know",
            where=model,
            fix="train all weights",
        )
    network.requires_grad_(False)
    norm.requires_grad_(True)


def _arguments(settings: DistillSettings, batch: int, work: Path) -> DistillationConfig:
    common = arguments_of(settings, batch, work)
    if isinstance(settings.teacher, int):
        # A resume knows the teacher only where it has just become the student.
        every = settings.teacher
        common["save_steps"] = every * -(-settings.save_every // every)
    return DistillationConfig(
        **common,
        **settings.vllm_arguments(),
        beta=0.0 if settings.direction == "fkl" else 1.0,
        temperature=1.0,  # of the draws and of both distributions; the teacher has its own
        max_completion_length=settings.max_tokens,
        disable_dropout=True,
        shuffle_dataset=False,
    )


def _dataset(count: int, settings: DistillSettings) -> datasets.Dataset:
    """One row per rollout, told by its prompt's number, for the text is encoded elsewhere."""
    wanted = settings.num_steps * settings.prompts_per_step
    rows = [
        str(prompt)
        for prompt in islice(epochs(count, settings.seed), wanted)
        for _ in range(settings.rollouts_per_prompt)
    ]
    return datasets.Dataset.from_dict({"prompt": rows})


def _teacher(model: str, network: Any, settings: DistillSettings) -> Any:
    teacher = open_network(model, settings).model if sharded() else copy.deepcopy(network)
    temper(teacher.config, settings.temperature)
    return teacher.requires_grad_(False)


def _anchor(settings: DistillSettings, network: Any) -> Any:
    if settings.anchor is None:
        return None
    anchor = open_network(settings.anchor, settings).model
    here, there = network.config.get_text_config(), anchor.config.get_text_config()
    if here.vocab_size != there.vocab_size:
        raise BadInput(
            f"it has {there.vocab_size} tokens, the model {here.vocab_size}",
            where=f"anchor {settings.anchor}",
            fix="name an earlier checkpoint of the same model",
        )
    if scaling(network.config)[1] is not None or scaling(anchor.config)[1] is not None:
        raise BadInput(
            "its logits are capped, and such logits cannot be added up before the head",
            where=f"anchor {settings.anchor}",
            fix="reheat without an anchor",
        )
    return anchor.requires_grad_(False)


class _Trainer(Guarded, Quiet, DistillationTrainer):  # type: ignore[misc]
    """`DistillationTrainer` with our prompts, and with the student as its own live teacher."""

    def __init__(
        self,
        *,
        items: Sequence[str],
        prompt_ids: Sequence[list[int]],
        settings: DistillSettings,
        anchor: Any,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if anchor is not None:
            anchor = self.accelerator.prepare_model(anchor, evaluation_mode=True)
        self._anchor = anchor
        self._items, self._ids, self._settings = items, prompt_ids, settings
        self._asked: list[str] = []

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        self._asked = [self._items[int(prompt)] for prompt in prompts]
        return [self._ids[int(prompt)] for prompt in prompts], None, {}

    def compute_loss(self, *arguments: Any, **options: Any) -> Any:
        """As TRL's; a loss that is not finite ends the training before it does any harm.

        Raises:
            TrainingFailed: with the items of the batch.
        """
        loss: Tensor = super().compute_loss(*arguments, **options)
        if not self.everywhere(bool(torch.isfinite(loss.detach()))):
            self.refuse_step("the loss is not finite")
        return loss

    def refuse_step(self, what: str) -> None:
        """Ends the training before a step.

        Raises:
            TrainingFailed: with the items of the batch.
        """
        asked = self._asked
        if self.accelerator.num_processes > 1:
            asked = gather_object(asked)
        items = list(dict.fromkeys(asked))
        more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
        super().refuse_step(f"{what} on items {', '.join(items[:_NAMED])}{more}")

    def _compute_loss(
        self, unwrapped_student: Any, inputs: Any, num_items_in_batch: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        if self.teacher_model is not None and self._anchor is None:
            found: tuple[Tensor, Tensor, Tensor] = super()._compute_loss(
                unwrapped_student, inputs, num_items_in_batch
            )
            return found
        hidden_BTH = self._hidden(unwrapped_student, inputs)
        head = unwrapped_student.get_output_embeddings()
        scale, cap = scaling(unwrapped_student.config)
        live = Logits(hidden_BTH.detach(), head.weight.detach(), detached(head.bias), scale, cap)
        teacher = live if self.teacher_model is None else self._look(self.teacher_model, inputs)
        teacher = replace(teacher, scale=scale, cap=cap).tempered(self._settings.temperature)
        if self._anchor is not None:
            share = 1 - 1 / self._settings.temperature
            teacher = teacher.plus(self._look(self._anchor, inputs), share)
        loss, entropy_sum, count = theirs._chunked_divergence_loss(
            hidden_BTH,
            teacher.hidden_BTH,
            head.weight,
            teacher.weight_VH,
            inputs["completion_mask"],
            self.beta,
            num_items_in_batch=num_items_in_batch,
            student_lm_head_bias=head.bias,
            teacher_lm_head_bias=teacher.bias_V,
            student_logit_scale=scale,
            teacher_logit_scale=teacher.scale,
            student_final_logit_softcapping=cap,
            teacher_final_logit_softcapping=teacher.cap,
        )
        return loss, entropy_sum.detach(), count

    def _hidden(self, network: Any, inputs: Any) -> Tensor:
        """What stands before the head at every completion token."""
        hidden_BTH: Tensor = self._get_last_hidden_state(
            network,
            torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
            torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
            inputs["completion_ids"].size(1),
        )
        return hidden_BTH

    def _look(self, wrapped: Any, inputs: Any) -> Logits:
        """What a frozen network says, through its wrapper, which may hold its weights in shards."""
        network = self.accelerator.unwrap_model(wrapped.eval())
        with torch.no_grad():
            hidden_BTH = self._forward_redirection(wrapped, network, self._hidden, network, inputs)
        head = network.get_output_embeddings()
        return Logits(hidden_BTH, head.weight, head.bias, *scaling(network.config))


class _Refresh(TrainerCallback):
    """The teacher becomes the student every so many steps, and after a resume."""

    def __init__(self, trainer: Any, every: int, resumed: Path | None) -> None:
        self._trainer, self._every, self._resumed = trainer, every, resumed

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._resumed is not None:
            self._sync()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step % self._every == 0:
            self._sync()

    def _sync(self) -> None:
        unwrap = self._trainer.accelerator.unwrap_model
        student, teacher = unwrap(self._trainer.model_wrapped), unwrap(self._trainer.teacher_model)
        with torch.no_grad():
            SyncRefModelCallback.sync_target_model(student, teacher, 1.0)
