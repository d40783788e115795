"""GRPO with TRL: rollouts of several prompts may share one baseline, and rewards are never lost.

    groups = [Group("item 1", (one_order, other_order)), ...]
    train_grpo("./checkpoint", groups, rewarder, settings, work=work, out=out, recorder=recorder)

A group is one item with one or more prompts (a pair in both orders). All its rollouts are compared
with each other, so what depends on the prompt alone, such as a lean to a slot, is punished. With
one prompt per group the advantages are those of `GRPOTrainer` (a test compares them).

The rewarder adds its terms up itself: rewards are summed before they are normalized, else the
terms could not trade off. A rollout whose reward is None teaches nothing. With `Score.credit`
each stretch of a rollout is taught by a reward of its own, normalized within the group.

Shape suffixes: N rollouts of this process, A of all processes, T tokens, S segments.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
from accelerate.utils import gather
from torch import Tensor
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from planish.models.local_prompts import end_id
from planish.records import BadInput, Completion, Usage
from planish.training.callbacks import Recorder, TrainingFailed, quiet
from planish.training.checkpoint import Trained, stop_at
from planish.training.groups import Group, Rewarder, Rollout, Score, Scored, group_advantages
from planish.training.prompts import encode_prompts, epochs
from planish.training.trainer import (
    Optimizer,
    Quiet,
    Vllm,
    arguments_of,
    carry_through,
    lora_config,
    open_network,
    size,
)

__all__ = ["EntropyBonus", "GrpoSettings", "train_grpo"]


@dataclass(frozen=True, kw_only=True)
class EntropyBonus:
    """Adds the mean token entropy to what is maximized.

    Args:
        weight: of the bonus; what it begins with where there is a target.
        target: in nats; below it the weight rises at every step, above it the weight falls and
            there is no bonus (Skywork-OR1, arXiv 2505.22312). None: the weight is fixed.
        delta: by how much it rises or falls.
    """

    weight: float
    target: float | None = None
    delta: float = 0.005


@dataclass(frozen=True, kw_only=True)
class GrpoSettings(Vllm, Optimizer):
    """One training by GRPO; the rest is as in `Optimizer`, `Vllm` and TRL's `GRPOConfig`.

    Args:
        groups_per_step: groups that one optimizer step sees.
        rollouts_per_prompt: replies to each prompt of a group, at least 2.
        max_tokens: budget of one reply.
        temperature: of the rollouts.
        beta: weight of the KL divergence from the model that training began with.
        loss: how token losses are averaged, in TRL's words.
        scale: by what deviation advantages are divided.
        clip_high: how far a token may become more likely before its gradient is cut; by default
            as far as it may become less likely, 0.2 (DAPO raises it to 0.28).
        entropy: bonus on the policy's entropy, or how it is controlled.
        segments: stretches of a reply with a reward of their own; 0: all is taught by the total.
        min_readable: below this share of readable rollouts training stops.
    """

    groups_per_step: int
    rollouts_per_prompt: int
    max_tokens: int
    temperature: float = 1.0
    beta: float = 0.0
    loss: Literal["dapo", "grpo", "bnpo", "dr_grpo"] = "dapo"
    scale: Literal["group", "batch", "none"] = "group"
    clip_high: float | None = None
    entropy: EntropyBonus | None = None
    segments: int = 0
    min_readable: float = 0.5


def train_grpo(
    model: str,
    groups: Sequence[Group],
    rewarder: Rewarder,
    settings: GrpoSettings,
    *,
    work: Path,
    out: Path,
    recorder: Recorder,
    run: str = "",
    observe: Callable[[Sequence[Scored]], None] = lambda scored: None,
    callbacks: Sequence[TrainerCallback] = (),
) -> Trained:
    """Trains `model` by GRPO and saves the result as the checkpoint `out`.

    Args:
        model: a folder or a Hub id; with a launcher every process calls this alike.
        groups: all with equally many prompts; they are drawn in shuffled epochs.
        rewarder: scores the rollouts of one process; it must not raise for a bad reply.
        work: where the training checkpoints go. It is removed once `out` is there.
        out: a folder that does not exist yet.
        recorder: hears of every step; beside TRL's numbers of `readable` and of every `part/NAME`.
        run: name of the run that it belongs to, kept beside the weights.
        observe: hears on every process of its scored rollouts, once per step.
        callbacks: transformers' own; where one stops the training, `out` is what it was then.

    Raises:
        BadInput: the model cannot be loaded, a prompt does not fit, the batch does not divide, or
            hardly any rollout of the first step can be read; the message names the first.
        TrainingFailed: a number is not finite, or too few rollouts can be read; `work` holds the
            last whole checkpoint.
        DiskFull: there is no room for a checkpoint; nothing is half written.
    """
    with quiet():
        arguments = _arguments(groups, settings, work)
        checkpoint = open_network(model, settings)
        network, tokenizer = checkpoint.model, checkpoint.tokenizer
        stop_at(network, end_id(tokenizer), checkpoint.eos_ids)
        num_parameters = sum(map(size, network.parameters()))
        prompt_ids = _encode(groups, tokenizer, model, settings, checkpoint.max_positions)
        trainer = _Trainer(
            groups=groups,
            prompt_ids=prompt_ids,
            rewarder=rewarder,
            settings=settings,
            observe=observe,
            model=network,
            args=arguments,
            train_dataset=_dataset(groups, settings),
            processing_class=copy.deepcopy(tokenizer),
            callbacks=[recorder, *callbacks],
            peft_config=lora_config(settings.lora),
        )
        return carry_through(
            *(trainer, tokenizer, settings),
            kind="grpo",
            num_rows=len(groups),
            num_parameters=num_parameters,
            run=run,
            model=model,
            work=work,
            out=out,
        )


def _encode(
    groups: Sequence[Group], tokenizer: Any, model: str, settings: GrpoSettings, room: int | None
) -> list[list[list[int]]]:
    """Token ids of every prompt of every group."""
    prompts = [(group.id, chat) for group in groups for chat in group.prompts]
    ids = iter(encode_prompts(prompts, tokenizer, model, max_tokens=settings.max_tokens, room=room))
    return [[next(ids) for _ in group.prompts] for group in groups]


def _arguments(groups: Sequence[Group], settings: GrpoSettings, work: Path) -> GRPOConfig:
    if settings.rollouts_per_prompt < 2:
        raise BadInput(
            "one rollout has nothing to be compared with",
            where="rollouts per prompt",
            fix="take at least 2",
        )
    sizes = {len(group.prompts) for group in groups}
    if len(sizes) != 1 or 0 in sizes:
        raise ValueError(f"groups must have equally many prompts, found {sorted(sizes)}")
    batch = settings.groups_per_step * sizes.pop() * settings.rollouts_per_prompt
    return GRPOConfig(
        **arguments_of(settings, batch, work),
        **settings.vllm_arguments(),
        **_entropy(settings.entropy),
        epsilon_high=settings.clip_high,
        num_generations=settings.rollouts_per_prompt,
        max_completion_length=settings.max_tokens,
        temperature=settings.temperature,
        beta=settings.beta,
        loss_type=settings.loss,
        scale_rewards=settings.scale,
        shuffle_dataset=False,  # the order of `_dataset` keeps a group's prompts together
    )


def _entropy(bonus: EntropyBonus | None) -> dict[str, Any]:
    if bonus is None:
        return {}
    if bonus.target is None:
        return {"entropy_coef": bonus.weight}
    return {
        "entropy_coef": bonus.weight,
        "use_adaptive_entropy": True,
        "entropy_target": bonus.target,
        "entropy_coef_delta": bonus.delta,
    }


def _dataset(groups: Sequence[Group], settings: GrpoSettings) -> datasets.Dataset:
    """One row per prompt, in the order in which they are learned: whole shuffled epochs.

    TRL repeats a row for each rollout. A prompt is told by its number, for its text is encoded
    elsewhere.
    """
    wanted = settings.num_steps * settings.groups_per_step
    order = epochs(len(groups), settings.seed)
    rows = [
        f"{group} {prompt}"
        for group in (next(order) for _ in range(wanted))
        for prompt in range(len(groups[group].prompts))
    ]
    return datasets.Dataset.from_dict({"prompt": rows})


class _Trainer(Quiet, GRPOTrainer):  # type: ignore[misc]
    """`GRPOTrainer` with our prompts, our rewards and our groups; sampling and loss are TRL's."""

    def __init__(
        self,
        *,
        groups: Sequence[Group],
        prompt_ids: Sequence[Sequence[list[int]]],
        rewarder: Rewarder,
        settings: GrpoSettings,
        observe: Callable[[Sequence[Scored]], None],
        **options: Any,
    ) -> None:
        # TRL wants a function; ours needs to know which prompt a rollout belongs to.
        super().__init__(reward_funcs=[_reward], **options)
        self._groups, self._ids, self._rewarder = groups, prompt_ids, rewarder
        self._settings, self._observe = settings, observe
        self._group_size = len(groups[0].prompts) * settings.rollouts_per_prompt
        self._scored: tuple[list[Rollout], list[Score], Tensor]

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [self._ids[group][prompt] for group, prompt in map(_place, prompts)], None, {}

    def _calculate_rewards(
        self, inputs: Any, prompts: list[str], completions: list[str], completion_ids: Any
    ) -> Tensor:
        rollouts = [
            Rollout(group, prompt, _completion(text, ids, self.eos_token_ids))
            for (group, prompt), text, ids in zip(
                map(_place, prompts), completions, completion_ids, strict=True
            )
        ]
        scores = list(self._rewarder(rollouts))
        rows = [_row(score, self._settings.segments) for score in scores]
        values_NS = torch.tensor(rows, device=self.accelerator.device)
        values_AS = gather(values_NS)
        self._scored = rollouts, scores, values_AS
        self._check_readable(rollouts, scores, values_AS[:, 0])
        total_A1: Tensor = values_AS[:, 1:2]
        return total_A1

    def _check_readable(
        self, rollouts: Sequence[Rollout], scores: Sequence[Score], readable_A: Tensor
    ) -> None:
        share = readable_A.mean().item()
        if share >= self._settings.min_readable:
            return
        what = (
            f"only {int(readable_A.sum())} of {len(readable_A)} rollouts have the form that was "
            "asked for"
        )
        if self.state.global_step > 0:
            raise TrainingFailed(what, self.state.global_step + 1)
        first = next(
            (r for r, score in zip(rollouts, scores, strict=True) if not score.readable),
            rollouts[0],
        )
        raise BadInput(
            f"{what}: {first.completion.text[:60]!r}"
            + (" (cut at the token budget)" if first.completion.finish == "length" else ""),
            where=f"item {self._groups[first.group].id}",
            fix="use a model that knows the form (SFT comes first), or a larger --max-tokens",
        )

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        rollouts, scores, values_AS = self._scored
        advantages_A, std_A = self._advantages(values_AS[:, 1])
        here = slice(
            self.accelerator.process_index * len(rollouts),
            (self.accelerator.process_index + 1) * len(rollouts),
        )
        advantages = advantages_A[here]
        if self._settings.segments:
            advantages = self._by_segment(values_AS, here, output["completion_mask"])
        output["advantages"] = advantages
        self._log(values_AS, std_A, scores)
        told_N = advantages
        if advantages.dim() == 2:
            mask_NT = output["completion_mask"]
            told_N = (advantages * mask_NT).sum(1) / mask_NT.sum(1).clamp(min=1)
        self._observe(
            [
                Scored(self.state.global_step + 1, rollout, score, advantage, std)
                for rollout, score, advantage, std in zip(
                    rollouts, scores, told_N.tolist(), std_A[here].tolist(), strict=True
                )
            ]
        )
        return output

    def _advantages(self, rewards_A: Tensor) -> tuple[Tensor, Tensor]:
        return group_advantages(rewards_A, self._group_size, self._settings.scale)

    def _by_segment(self, values_AS: Tensor, here: slice, mask_NT: Tensor) -> Tensor:
        """Every token's advantage is that of the stretch it stands in."""
        rollouts, scores, _ = self._scored
        rewards_AS = values_AS[:, 2:]
        advantages_NS = torch.stack(
            [self._advantages(column)[0][here] for column in rewards_AS.unbind(1)], 1
        )
        advantages_NT = torch.zeros_like(mask_NT, dtype=torch.float32)
        for row, (rollout, score) in enumerate(zip(rollouts, scores, strict=True)):
            ids = list(rollout.completion.token_ids or ())
            if not score.credit:
                advantages_NT[row] = advantages_NS[row].mean()
            start = 0
            for segment, (end, _) in enumerate(score.credit):
                last = segment == len(score.credit) - 1
                stop = len(ids) if last else self._token_at(ids, end)
                advantages_NT[row, start:stop] = advantages_NS[row, segment]
                start = stop
        return advantages_NT

    def _token_at(self, ids: Sequence[int], characters: int) -> int:
        """The fewest tokens whose text holds so many characters; found in log T decodings."""
        low, high = 0, len(ids)
        while low < high:
            middle = (low + high) // 2
            text = self.processing_class.decode(ids[:middle], skip_special_tokens=True)
            if len(text) < characters:
                low = middle + 1
            else:
                high = middle
        return low

    def _log(self, values_AS: Tensor, std_A: Tensor, scores: Sequence[Score]) -> None:
        metrics = self._metrics["train"]
        # TRL's own figure is of single prompts.
        metrics["frac_reward_zero_std"][-1] = (std_A <= 1e-8).float().mean().item()
        metrics["readable"].append(values_AS[:, 0].mean().item())
        names = sorted({name for score in scores for name in score.parts})
        parts = torch.tensor(
            [[_number(score.parts.get(name)) for name in names] for score in scores],
            device=self.accelerator.device,
        ).reshape(len(scores), len(names))
        for name, column_A in zip(names, gather(parts).unbind(1), strict=True):
            metrics[f"part/{name}"].append(column_A.nanmean().item())


def _place(prompt: str) -> tuple[int, int]:
    """Group and prompt, as `_dataset` writes them."""
    group, number = prompt.split()
    return int(group), int(number)


def _reward(*_: Any, **__: Any) -> list[float]:
    raise AssertionError("rewards come from the rewarder")


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _row(score: Score, segments: int) -> list[float]:
    """Readable, total, and one reward per stretch; who has no stretches is taught by the total."""
    credit = [reward for _, reward in score.credit] or [score.total] * segments
    return [float(score.readable), *map(_number, (score.total, *credit[:segments]))]


def _completion(text: str, ids: Sequence[int], eos_ids: Sequence[int]) -> Completion:
    return Completion(
        text=text,
        token_ids=tuple(ids),
        finish="stop" if ids and ids[-1] in eos_ids else "length",
        usage=Usage(completion_tokens=len(ids)),
    )
