"""What do our rewards, groups, logs and records cost? GRPO steps per second against bare TRL.

    python benchmarks/bench_grpo.py [--steps 60] [--rounds 5]

The same model, prompts, rollouts and batch; the peer is a plain `GRPOTrainer` with a reward of
constants. Ours parses every rollout, verifies its solution, pools both orders, logs every part and
writes every rollout to the disk, as `planish s2j train` does. The two take turns, each in every
round, in one process; rollouts differ, for ours learn. The claim: at least 0.97 of the peer's steps
a second.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import torch
from transformers import PrinterCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from planish.embedded import path as embedded
from planish.judges.pairs import ORDERS
from planish.judges.templates import named
from planish.methods.s2j.config import Config
from planish.methods.s2j.data import task_items
from planish.methods.s2j.learning.config import TrainConfig
from planish.methods.s2j.learning.lesson import Lesson
from planish.methods.s2j.learning.rewarding import ItemRewarder, RewardLog
from planish.methods.s2j.method import Weights
from planish.models.local_loading import open_checkpoint
from planish.runs import Run
from planish.tasks.chain import ChainTask
from planish.training.callbacks import Recorder, quiet
from planish.training.grpo import GrpoSettings, train_grpo
from planish.training.trainer import arguments_of
from support import write_result

MODEL = str(embedded("reasoner"))


def settings(steps: int) -> GrpoSettings:
    preset = TrainConfig.tiny()
    return GrpoSettings(
        learning_rate=preset.learning_rate,
        num_steps=steps,
        groups_per_step=preset.items_per_step,
        rollouts_per_prompt=preset.rollouts,
        max_tokens=preset.max_tokens,
        schedule="constant",
        save_every=10 * steps,
    )


class _Clock:
    """When each step ended."""

    def __init__(self) -> None:
        self.ticks: list[float] = []

    def __call__(self) -> None:
        self.ticks.append(time.perf_counter())

    def seconds(self) -> float:
        """Median seconds of a step; the first is left out."""
        pairs = zip(self.ticks[1:], self.ticks, strict=False)
        return statistics.median(late - early for late, early in pairs)


def ours(steps: int, lesson: Lesson, folder: Path) -> float:
    clock = _Clock()
    run = Run.create("s2j", "speed", Config.tiny(), root=folder, stage="train")
    with run:
        log = RewardLog(run.artifact("rewards.jsonl"), lesson, "additive", last_step=0)
        train_grpo(
            MODEL,
            lesson.groups,
            ItemRewarder(lesson, "additive", Weights()),
            settings(steps),
            work=folder / "work",
            out=folder / "out",
            recorder=Recorder(lambda step, numbers: run.log(step, **numbers), clock),
            observe=log.append,
        )
        log.close()
    return clock.seconds()


def bare(steps: int, lesson: Lesson, folder: Path) -> float:
    """TRL as its documentation shows it, on as many prompts and rollouts a step."""
    chosen = settings(steps)
    batch = chosen.groups_per_step * len(ORDERS) * chosen.rollouts_per_prompt
    prompts = [
        [{"role": "user", "content": lesson.template.render(item.case, perm)[0].content}]
        for item in lesson.items.items
        for perm in ORDERS.values()
    ]
    random.Random(0).shuffle(prompts)
    clock = _Clock()
    with quiet():
        checkpoint = open_checkpoint(MODEL, device="cpu", dtype="float32")
        trainer = GRPOTrainer(
            model=checkpoint.model,
            reward_funcs=[lambda completions, **_: [1.0] * len(completions)],
            args=GRPOConfig(
                **arguments_of(chosen, batch, folder / "work"),
                num_generations=chosen.rollouts_per_prompt,
                max_completion_length=chosen.max_tokens,
            ),
            train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
            processing_class=checkpoint.tokenizer,
            callbacks=[Recorder(lambda step, numbers: None, clock)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lesson = Lesson(
        items=task_items(ChainTask(3), split="train", limit=1000, both_wrong=0, seed=0),
        template=named("chain"),
        count_tokens=len,
    )
    sides: dict[str, Callable[..., float]] = {"ours": ours, "bare": bare}
    found: dict[str, list[float]] = {name: [] for name in sides}
    for round in range(options.rounds):
        # The one that goes first takes turns, too.
        for name in list(sides)[:: 1 if round % 2 else -1]:
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(sides[name](options.steps, lesson, Path(folder)))
    ratios = [bare / ours for ours, bare in zip(found["ours"], found["bare"], strict=True)]
    write_result("grpo", "GRPO: our rewards and records against a bare GRPOTrainer", _text(
        options.steps, found, ratios))  # fmt: skip


def _text(steps: int, found: dict[str, list[float]], ratios: list[float]) -> str:
    medians: dict[str, Any] = {name: statistics.median(each) for name, each in found.items()}
    return (
        f"{len(ratios)} rounds of {steps} steps each, taking turns in one process on one thread; "
        "192 rollouts a step. Median step of a run; ratio of steps a second, ours to bare.\n\n"
        "| | median | lowest round | highest round |\n|---|---|---|---|\n"
        f"| ours / bare | **{statistics.median(ratios):.3f}** | {min(ratios):.3f} | "
        f"{max(ratios):.3f} |\n\n"
        f"On this machine a step of ours took {medians['ours']:.3f} s, a bare one "
        f"{medians['bare']:.3f} s. The claim is at least 0.97."
    )


if __name__ == "__main__":
    main()
