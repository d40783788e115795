"""Builds the embedded walkers: a policy before reinforcement learning, and what it made of it.

    python -m planish.methods.reheat.walkers --out DIR --seed 0

`walker` knows the edges of its graph and aims now and then; `walker-collapsed` is the same policy
after 500 steps of plain GRPO: it walks the routes that it found first, and draws hardly any other.

The rule is fixed beforehand: of the worlds `seed`, `seed + 1`, ... the first whose pair meets
`Bands` on *gate* questions is shipped. Report questions are measured once for every pair and choose
nothing. Pairs that fail are reported, too. On one machine the same seed gives the same files.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from planish.embedded.build_reasoner import outside, run, save_model, versions
from planish.embedded.reasoner_training import Say
from planish.embedded.walker_model import build_model, build_tokenizer
from planish.embedded.walker_training import train_walker
from planish.methods.reheat.config import LoopConfig
from planish.methods.reheat.data import prompt_sets
from planish.methods.reheat.looping.rl import train_policy
from planish.methods.reheat.policy import Policy, entropies_of
from planish.models.local_loading import open_checkpoint
from planish.records import BadInput, Example, Record, write_text
from planish.runs.console import Screen
from planish.stats import Estimate, ratio, relative
from planish.tasks.base import Split
from planish.tasks.routes import RoutesTask
from planish.training.job import Job

__all__ = ["GROUP", "RL", "Bands", "PairMetrics", "WalkerMetrics", "build", "compare", "main"]

RULE = "the first world whose pair lies within the bands on gate questions"

STEPS = 500
"""Of reinforcement learning."""

RL = LoopConfig(
    max_tokens=9,
    batch_size=512,
    learning_rate=1e-3,
    prompts_per_step=32,
    rollouts=8,
    prompts=1 << 20,
    save_every=1 << 20,
)
"""Every dial of it that is not a default; nothing of it is chosen by what came out."""

GROUP, _DRAWS = 8, 16


class Bands(Record):
    """What a pair must show to be shipped; bounds are inclusive.

    Args:
        entropy_ratio: the collapsed policy's entropy over the first one's.
        zero_variance: groups of 8 draws of the collapsed policy that all earn the same.
        collapsed_pass_at_1: of the collapsed policy: it learned, and something is left to find.
        first_pass_at_1: of the first policy: without any success nothing is learned.
    """

    entropy_ratio: tuple[float, float] = (0.0, 0.15)
    zero_variance: tuple[float, float] = (0.6, 1.0)
    collapsed_pass_at_1: tuple[float, float] = (0.2, 0.6)
    first_pass_at_1: tuple[float, float] = (0.02, 1.0)

    def misses(self, found: PairMetrics) -> tuple[str, ...]:
        """What lies outside, in words; empty for a pair that may be shipped."""
        measured = {
            "entropy ratio": (found.entropy_ratio, self.entropy_ratio),
            "groups without variance": (found.collapsed.zero_variance, self.zero_variance),
            "collapsed pass@1": (found.collapsed.pass_at_1, self.collapsed_pass_at_1),
            "first pass@1": (found.first.pass_at_1, self.first_pass_at_1),
        }
        return tuple(outside(measured))


class WalkerMetrics(Record):
    """One policy on some questions, 16 draws of each.

    Args:
        entropy: exact, in nats, mean over the tokens of one draw of every question.
        zero_variance: groups of 8 draws that all earn the same.
        pass_at_1: right draws.
        solved: questions with a right one among 16 draws.
    """

    entropy: Estimate
    zero_variance: Estimate
    pass_at_1: Estimate
    solved: Estimate


class PairMetrics(Record):
    """Both policies on the same questions, and the second's entropy over the first's."""

    first: WalkerMetrics
    collapsed: WalkerMetrics
    entropy_ratio: Estimate


class Pair(Record):
    """One world and its pair."""

    world: int
    misses: tuple[str, ...]
    gate: PairMetrics
    report: PairMetrics


class _Seen(NamedTuple):
    """Of every question: entropies summed, tokens, and which draws were right."""

    sums: list[float]
    tokens: list[float]
    right: list[list[bool]]

    @property
    def metrics(self) -> WalkerMetrics:
        questions = [1.0] * len(self.right)
        flat = [len(set(each[:GROUP])) == 1 for each in self.right]
        return WalkerMetrics(
            entropy=ratio(self.sums, self.tokens),
            zero_variance=ratio(flat, questions),
            pass_at_1=ratio([sum(each) for each in self.right], [len(each) for each in self.right]),
            solved=ratio([any(each) for each in self.right], questions),
        )


def compare(
    first: str, collapsed: str, task: RoutesTask, split: Split, limit: int | None = None
) -> PairMetrics:
    """Measures both policies on the questions of a split.

    Args:
        first: folder of the policy before reinforcement learning.
        collapsed: folder of what came of it.
        task: their world.
        split: whose questions.
        limit: how many; by default all.
    """
    size = task.capped(split, limit or 1 << 30)
    examples = list(task.examples(split, size))
    one, other = (_seen(path, task, examples) for path in (first, collapsed))
    return PairMetrics(
        first=one.metrics,
        collapsed=other.metrics,
        entropy_ratio=relative(other.sums, other.tokens, one.sums, one.tokens),
    )


def _seen(path: str, task: RoutesTask, examples: Sequence[Example]) -> _Seen:
    checkpoint = open_checkpoint(path, device="cpu", dtype="float32")
    policy = Policy(checkpoint, name=path, batch_size=RL.batch_size)
    chats = [example.prompt for example in examples]
    drawn = policy.draw(chats, n=_DRAWS, max_tokens=RL.max_tokens, seed=0)
    values = entropies_of(policy, policy.texts(chats, [row[:1] for row in drawn]))
    right = [
        [task.verify(example, each.text).score == 1.0 for each in row]
        for example, row in zip(examples, drawn, strict=True)
    ]
    return _Seen([sum(each) for each in values], [float(len(each)) for each in values], right)


def _pair(
    world: int,
    folder: Path,
    bands: Bands,
    walking: Mapping[str, Any],
    rl: LoopConfig,
    steps: int,
    limit: int | None,
    say: Say,
) -> Pair:
    """Trains and measures the pair of a world; it is left in `folder`."""
    say(f"world {world}")
    task, first, collapsed = RoutesTask(world=world), folder / "first", folder / "collapsed"
    first.mkdir()
    save_model(train_walker(task, world, say=say, **walking), first, build_tokenizer())
    sets = prompt_sets(task, train=rl.prompts, probe=1, report=1, seed=world)
    trained = train_policy(
        str(first),
        task,
        sets.train.examples,
        rl,
        steps=steps,
        seed=world,
        job=Job(folder, None, Screen(json=True)),
        name="collapse",
        out=collapsed,
    )
    say(f"{trained.steps} steps of GRPO")
    found = {}
    for split in ("gate", "report"):
        found[split] = compare(str(first), str(collapsed), task, split, limit)
        for name in ("first", "collapsed"):
            told = getattr(found[split], name)
            values = (f"{key} {getattr(told, key)}" for key in type(told).model_fields)
            say(f"{split}, {name}: {', '.join(values)}")
        say(f"{split}: entropy ratio {found[split].entropy_ratio}")
    misses = bands.misses(found["gate"])
    say("fate: " + ("; ".join(misses) or "within the bands"))
    return Pair(world=world, misses=misses, gate=found["gate"], report=found["report"])


def build(
    out: Path,
    *,
    seed: int = 0,
    num_bases: int = 5,
    bands: Bands | None = None,
    walking: Mapping[str, Any] | None = None,
    rl: LoopConfig = RL,
    steps: int = STEPS,
    limit: int | None = None,
    say: Say = lambda line: None,
) -> list[Pair]:
    """Builds pairs until one lies within the bands, writes it, and tells of all.

    Args:
        out: gets the folders `walker` and `walker-collapsed`.
        seed: the first world, and the seed of its trainings.
        num_bases: how many worlds to try.
        bands: what the shipped pair must show.
        walking: options for `train_walker`.
        rl: dials of the reinforcement learning.
        steps: of it.
        limit: questions of a split to measure on; by default all.
        say: hears every line of the log.

    Raises:
        BadInput: no pair lies within the bands; nothing is written but `build.log`.
    """
    bands = bands or Bands()
    lines: list[str] = []

    def note(line: str) -> None:
        lines.append(line)
        say(line)

    note(f"shipped is {RULE}")
    for name, (low, high) in bands:
        note(f"band of {name.replace('_', ' ')}: {low} to {high}")
    out.mkdir(parents=True, exist_ok=True)
    pairs: list[Pair] = []
    for world in range(seed, seed + num_bases):
        with tempfile.TemporaryDirectory(dir=out, prefix=".building-") as place:
            folder = Path(place)
            pair = _pair(world, folder, bands, walking or {}, rl, steps, limit, note)
            pairs.append(pair)
            if not pair.misses:
                note(f"shipped: world {world}")
                _ship(folder, out, _facts(bands, rl, steps, pairs), lines)
                return pairs
    note("shipped: none")
    write_text(out / "build.log", _log(lines))
    raise BadInput(
        f"none of {num_bases} pairs lies within the bands",
        where=str(out),
        fix="read build.log; try another --seed or more --bases",
    )


def _facts(bands: Bands, rl: LoopConfig, steps: int, pairs: Sequence[Pair]) -> dict[str, Any]:
    """What both folders say of the build."""
    world = pairs[-1].world
    return {
        "rule": RULE,
        "bands": bands.model_dump(),
        "shipped": world,
        "task": RoutesTask(world=world).name,
        "reinforcement_learning": {"steps": steps, "seed": world}
        | rl.model_dump(
            include={"learning_rate", "prompts_per_step", "rollouts", "clip_high", "max_tokens"}
        ),
        "versions": versions(),
        "pairs": [pair.model_dump() for pair in pairs],
    }


def _ship(folder: Path, out: Path, facts: Mapping[str, Any], lines: Sequence[str]) -> None:
    for part, name in (("first", "walker"), ("collapsed", "walker-collapsed")):
        home = out / name
        home.mkdir(exist_ok=True)
        model = open_checkpoint(str(folder / part), device="cpu", dtype="float32").model
        # Both are decoded alike: the trainer leaves settings of its own.
        model.generation_config = build_model(0).generation_config
        model.config.use_cache = True
        digests = save_model(model, home, build_tokenizer())
        told = {**facts, "num_parameters": model.num_parameters(), "sha256": digests}
        write_text(home / "build.log", _log(lines))
        write_text(home / "build.json", json.dumps(told, indent=1) + "\n")


def _log(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 for a shipped pair, 1 where none lies within the bands."""
    return run(
        "planish.methods.reheat.walkers",
        "Builds the tiny walkers.",
        lambda options, say: build(
            options.out, seed=options.seed, num_bases=options.bases, say=say
        ),
        bases=5,
        arguments=arguments,
    )


if __name__ == "__main__":
    sys.exit(main())
