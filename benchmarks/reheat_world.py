"""Worlds of the `reheat` benchmark, and what is done to a collapsed policy in each.

    python benchmarks/reheat_world.py WORK 10:collapse 10:continue 10:frozen

Every arm of a world becomes WORK/WORLD-ARM.json, and what is there is not made again; a third part,
10:frozen:1, is another seed of all that happens after the collapse.

A world is a random graph of 64 nodes with 4 edges each, learned by heart from random walks of which
one in ten reaches its goal on purpose; 500 of its questions are kept for the report. RL by
GRPO collapses the policy at a share of questions that more of the same RL hardly raises: the
questions that are left earn nothing in any group. Every arm starts from the same collapsed policy,
and what its reheating costs in rollouts is taken off its RL.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from planish.embedded.walker_model import build_tokenizer
from planish.embedded.walker_training import train_walker
from planish.methods.reheat.config import LoopConfig, ReheatConfig
from planish.methods.reheat.data import PromptSets, prompt_sets
from planish.methods.reheat.looping.rl import train_policy
from planish.methods.reheat.policy import Policy, entropy_of
from planish.methods.reheat.thawing.reheating import Thawed, thaw
from planish.models.local_loading import open_checkpoint
from planish.records import Example, write_text
from planish.runs import Run
from planish.runs.console import Screen
from planish.tasks.routes import RoutesTask
from planish.training.groups import Scored
from planish.training.grpo import EntropyBonus
from planish.training.job import Job

COLLAPSE = 700
"""Steps of RL until the policy counts as collapsed, whatever it is like then."""

AFTER = 210
"""Steps of RL, or as many rollouts, that every arm has."""

REWOUND = 150
"""The step of the first RL that the arm `rewind` goes back to."""

DRAWS = 16
_PACED = 12
_REACH_DRAWS = 32
_SEED = 7

_PLAIN = {"max_kl": 9.0, "min_top10": 0.0, "min_agreement": 0.0}  # measured, not enforced
FROZEN: dict[str, Any] = {
    "trains": "all",
    "reheat_temperature": 2.0,
    "reheat_learning_rate": 3e-4,
    "stop_ratio": 0.4,
}
ANCHORED: dict[str, Any] = {
    "trains": "all",
    "reheat_temperature": 3.0,
    "reheat_learning_rate": 5e-4,
    "stop_ratio": 0.5,
}

THIRD: dict[str, Any] = {"learning_rate": LoopConfig.tiny().learning_rate / 3}


@dataclass(frozen=True)
class Arm:
    """What is done with the rollouts.

    Args:
        title: in tables.
        rounds: of reheating, evenly spread; 0: none.
        reheat: dials of the reheating.
        anchored: towards the policy that RL began with.
        focused: on the questions that earned nothing when RL last saw them.
        rl: options of the RL that follows.
        rewound: RL goes on from before the collapse.
    """

    title: str
    rounds: int = 0
    reheat: dict[str, Any] | None = None
    anchored: bool = False
    focused: bool = False
    rl: dict[str, Any] | None = None
    rewound: bool = False


ARMS: dict[str, Arm] = {
    "continue": Arm("continue"),
    "anchored": Arm("**anchored**", 1, ANCHORED, anchored=True),
    "frozen": Arm("PR-FKL, frozen", 1, FROZEN),
    "adaptive": Arm(
        "adaptive bonus, target 0.52 nats",
        rl={"entropy": EntropyBonus(weight=0.0, target=0.52, delta=0.0005)},
    ),
    "kept": Arm(
        "anchored, then the adaptive bonus",
        1,
        ANCHORED,
        anchored=True,
        rl={"entropy": EntropyBonus(weight=0.0, target=0.52, delta=0.0005)},
    ),
    "final_norm": Arm(
        "PR-FKL, frozen, final norm only",
        1,
        FROZEN | {"trains": "final_norm", "reheat_learning_rate": 2e-2},
    ),
    "live": Arm("PR-FKL, live (the paper's)", 1, FROZEN | {"teacher": "live"}),
    "rr": Arm("rollout temperature 1.2 (RR)", rl={"temperature": 1.2}),
    "bonus": Arm("entropy bonus 0.003", rl={"entropy": EntropyBonus(weight=0.003)}),
    "rewind": Arm(f"rewind to step {REWOUND} of the RL", rewound=True),
    "focused": Arm("PR-FKL, frozen, on unsolved questions", 1, FROZEN, focused=True),
    "rounds": Arm("PR-FKL, frozen, three rounds", 3, FROZEN),
    "refresh": Arm("PR-FKL, refresh:5", 1, FROZEN | {"teacher": "refresh:5"}),
    "rkl": Arm(
        "PR-RKL, live",
        1,
        {**FROZEN, "teacher": "live", "direction": "rkl", "reheat_learning_rate": 1e-4},
    ),
    "held": Arm(
        "anchored, then a third of the learning rate", 1, ANCHORED, anchored=True, rl=THIRD
    ),
    "third": Arm("continue at a third of the learning rate", rl=THIRD),
    "frozen_held": Arm("PR-FKL, frozen, then a third of the learning rate", 1, FROZEN, rl=THIRD),
}


class World:
    """One world; what is made is kept in `work` and not made again."""

    def __init__(self, seed: int, work: Path) -> None:
        self.seed, self.work = seed, work
        self.folder = work / f"world-{seed}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.task = RoutesTask(world=seed)
        self.config = LoopConfig.tiny().model_copy(update={"save_every": 1000})

    @cached_property
    def sets(self) -> PromptSets:
        return prompt_sets(self.task, train=1 << 20, probe=64, report=500, seed=0)

    @property
    def first(self) -> Path:
        """The policy that RL begins with."""
        out = self.folder / "first"
        if not out.exists():
            model = train_walker(self.task, self.seed)
            part = self.folder / ".first"
            model.save_pretrained(part)
            build_tokenizer().save_pretrained(part)
            part.rename(out)
        return out

    @property
    def collapsed(self) -> Path:
        """The policy that every arm begins with."""
        out = self.folder / "collapsed"
        if not (self.folder / "collapse.json").exists():
            earned: dict[str, float] = {}

            def observe(scored: Sequence[Scored]) -> None:
                ids = [example.id for example in self.sets.train.examples]
                last: dict[str, float] = {}
                for each in scored:
                    id = ids[each.rollout.group]
                    last[id] = last.get(id, 0.0) + (each.score.total or 0.0)
                earned.update(last)

            keep = _Keep(REWOUND, self.folder / "rewound")
            trained = self.rl(self.first, COLLAPSE, "collapse", out, keep=keep, observe=observe)
            collapsed = self.measure(out)
            facts = {
                "seconds": trained.seconds,
                "unsolved": [id for id, total in earned.items() if total == 0],
                "first": self.measure(self.first),
                "collapsed": collapsed,
                "reach": self.reach(out, collapsed),
                "reach_first": self.reach(self.first, collapsed),
            }
            write_text(self.folder / "collapse.json", json.dumps(facts))
        return out

    @cached_property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "collapse.json").read_text())
        return found

    def rl(self, model: Path, steps: int, name: str, out: Path, **options: Any) -> Any:
        keep = options.pop("keep", None)
        return train_policy(
            str(model),
            self.task,
            self.sets.train.examples,
            self.config,
            steps=steps,
            seed=options.pop("seed", 0),
            job=Job(self.folder, None, Screen()),
            name=name,
            out=out,
            callback=keep,
            **options,
        )

    def pace(self, model: Path, name: str) -> float:
        """Seconds of a step of RL, on this machine and at this time."""
        out = self.folder / f"{name}-pace"
        trained = self.rl(model, _PACED, f"{name}-pace", out)
        shutil.rmtree(out)
        return float(trained.seconds / trained.fresh_steps)

    def policy(self, path: Path) -> Policy:
        checkpoint = open_checkpoint(str(path), device="cpu", dtype="float32")
        return Policy(checkpoint, name=str(path), batch_size=512)

    def measure(self, path: Path) -> dict[str, Any]:
        """Right draws of every report question, greedy ones, and the entropy."""
        policy, examples = self.policy(path), self.sets.report.examples
        chats = [example.prompt for example in examples]
        drawn = policy.draw(chats, n=DRAWS, max_tokens=self.config.max_tokens, seed=1)
        greedy = policy.draw(chats, max_tokens=self.config.max_tokens, seed=1, temperature=0.0)
        return {
            "right": [self._right(e, row) for e, row in zip(examples, drawn, strict=True)],
            "greedy": [self._right(e, row) for e, row in zip(examples, greedy, strict=True)],
            "entropy": entropy_of(policy, policy.texts(chats, [row[:1] for row in drawn])).mean,
            "zero_variance": self._zero_variance(examples, drawn),
        }

    def _right(self, example: Example, replies: Sequence[Any]) -> int:
        return sum(self.task.verify(example, each.text).score == 1 for each in replies)

    def _zero_variance(self, examples: Sequence[Example], drawn: Sequence[Sequence[Any]]) -> float:
        group = self.config.rollouts
        counts = [self._right(e, row[:group]) for e, row in zip(examples, drawn, strict=True)]
        return sum(count in (0, group) for count in counts) / len(counts)

    def reach(self, path: Path, collapsed: dict[str, Any] | None = None) -> list[float]:
        """The chance of a right draw on the report questions that the collapsed policy missed."""
        missed = [
            example
            for example, right in zip(
                self.sets.report.examples,
                (collapsed or self.facts["collapsed"])["right"],
                strict=True,
            )
            if right == 0
        ][:200]
        drawn = self.policy(path).draw(
            [example.prompt for example in missed],
            n=_REACH_DRAWS,
            max_tokens=self.config.max_tokens,
            seed=3,
        )
        return [self._right(e, row) / _REACH_DRAWS for e, row in zip(missed, drawn, strict=True)]


class _Keep(TrainerCallback):
    """Saves the policy as it is after a step."""

    def __init__(self, step: int, out: Path) -> None:
        self.step, self.out = step, out

    def on_step_end(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        if state.global_step == self.step:
            options["model"].save_pretrained(self.out)
            build_tokenizer().save_pretrained(self.out)


def result_path(work: Path, world: int, arm: str, seed: int) -> Path:
    """Where an arm's numbers are."""
    return work / (f"{world}-{arm}.json" if seed == 0 else f"{world}-{arm}-{seed}.json")


def run_arm(world: World, arm_name: str, seed: int = 0) -> dict[str, Any]:
    """Reheats and trains, and measures at equal rollouts and at equal seconds."""
    arm, start = ARMS[arm_name], time.perf_counter()
    name = arm_name if seed == 0 else f"{arm_name}-{seed}"
    model = world.collapsed
    if arm.rewound:
        model = world.folder / "rewound"
    pace = world.pace(model, name) if arm.rounds else 0.0
    batch = world.config.prompts_per_step * world.config.rollouts
    thaws: list[dict[str, Any]] = []
    num_rounds, spare = max(arm.rounds, 1), 0
    for number in range(num_rounds):
        steps = AFTER // num_rounds
        if arm.rounds:
            thawed = _thaw(world, arm, f"{name}-{number}", seed, model)
            model = thawed.checkpoint
            spent = math.ceil(thawed.num_rollouts / batch)
            # Seconds count all of it: probes after every step, and the gate.
            spare += max(0, math.ceil(thawed.seconds / pace) - spent)
            steps -= spent
            thaws.append({**_told(thawed), "reach": world.reach(model) if number == 0 else []})
        out = world.folder / f"{name}-{number}"
        early = world.folder / f"{name}-{number}-early"
        keep = _Keep(steps - spare, early)
        world.rl(
            model,
            steps,
            f"{name}-{number}",
            out,
            keep=keep,
            seed=_SEED + 1000 * seed + number,
            **(arm.rl or {}),
        )
        model = out
    found = {"thaws": thaws, "end": world.measure(model), "reach": world.reach(model)}
    found["early"] = world.measure(early) if spare else found["end"]
    return {**found, "pace": pace, "seconds": time.perf_counter() - start}


def _thaw(world: World, arm: Arm, name: str, seed: int, model: Path) -> Thawed:
    config = ReheatConfig(
        **{
            **ReheatConfig.tiny().model_dump(),
            **_PLAIN,
            "save_every": 1000,
            "seed": seed,
            **(arm.reheat or {}),
            "anchor": f"hf:{world.first}" if arm.anchored else None,
        }
    )
    missed = set(world.facts["unsolved"])
    examples = [each for each in world.sets.train.examples if each.id in missed]
    run = Run.create("reheat", name, config, seed=seed, root=world.folder / "runs")
    with run:
        return thaw(
            str(model),
            world.task,
            world.sets,
            config,
            reference=world.facts["first"]["entropy"],
            job=Job(run.path, run, Screen(json=True)),
            name="reheat",
            out=world.folder / f"{name}-warm",
            examples=examples if arm.focused else None,
            warm="force",
        )


def _told(thawed: Thawed) -> dict[str, Any]:
    return {
        "ended": thawed.ended,
        "steps": thawed.steps,
        "seconds": thawed.seconds,
        "before": thawed.before.mean,
        "after": thawed.after.mean,
        "accuracy_before": thawed.accuracy_before.model_dump(),
        "accuracy_after": thawed.accuracy_after.model_dump(),
        **thawed.preservation.model_dump(),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("jobs", nargs="+", metavar="WORLD:ARM[:SEED]")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for job in options.jobs:
        number, arm, *more = job.split(":")
        seed = int(more[0]) if more else 0
        world = World(int(number), options.work)
        out = result_path(options.work, world.seed, arm, seed)
        _ = world.collapsed
        if arm != "collapse" and not out.exists():
            write_text(out, json.dumps(run_arm(world, arm, seed)))
        sys.stderr.write(f"{job}\n")


if __name__ == "__main__":
    main()
