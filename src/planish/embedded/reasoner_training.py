"""The reasoner's two trainings: to solve chains, then to judge them until it half can.

    model = train_solver(seed=0)
    judge = train_judge(copy.deepcopy(model), seed=0)
    print(evaluate_solver(model).sampled.value, evaluate_judge(judge).accuracy.value)

A judge needs a correct chain of its own amid distractors, and a match of final digits. Networks
learn the second half abruptly; judge training stops inside that transition, which leaves a model
that solves but judges half-right, without a planted slot bias.

Shapes: B batch, T tokens, V vocabulary.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from planish.embedded.reasoner_evaluation import evaluate_judge, solve_accuracy
from planish.embedded.reasoner_model import (
    EOS,
    PAD,
    VERDICTS,
    VOCABULARY,
    build_model,
    judge_prompt,
    solve_prompt,
)
from planish.tasks.chain import ChainTask, candidates

__all__ = [
    "JudgeRun",
    "SolverRun",
    "judge_rows",
    "solve_rows",
    "train_judge",
    "train_reader",
    "train_solver",
]

Model: TypeAlias = Any
Row: TypeAlias = tuple[str, str]
Say: TypeAlias = Callable[[str], None]

_INDEX = {word: index for index, word in enumerate(VOCABULARY)}
_IGNORED = -100
_CLIP = 1.0


@dataclass(frozen=True)
class SolverRun:
    """A trained solver, the steps it took, and whether it reached its target."""

    model: Model
    steps: int
    solved: bool


@dataclass(frozen=True)
class JudgeRun:
    """A model after judge training, the steps it took, and whether it left chance."""

    model: Model
    steps: int
    left_chance: bool


class _Rows:
    """Prompts with their completions as two tensors, drawn in shuffled epochs."""

    def __init__(self, rows: Sequence[Row], generator: torch.Generator) -> None:
        encoded = [(_encode(prompt), [*_encode(reply), _INDEX[EOS]]) for prompt, reply in rows]
        width = max(len(prompt) + len(reply) for prompt, reply in encoded)
        self.ids_BT = torch.full((len(rows), width), _INDEX[PAD])
        self.labels_BT = torch.full((len(rows), width), _IGNORED)
        for row, (prompt, reply) in enumerate(encoded):
            end = len(prompt) + len(reply)
            self.ids_BT[row, :end] = torch.tensor(prompt + reply)
            self.labels_BT[row, len(prompt) : end] = torch.tensor(reply)
        self._order = self._epochs(generator)

    def _epochs(self, generator: torch.Generator) -> Iterator[int]:
        while True:
            yield from torch.randperm(len(self.ids_BT), generator=generator).tolist()

    def loss(self, model: Model, num_rows: int) -> Tensor:
        """Mean cross-entropy of the completions' tokens over the next `num_rows` rows."""
        rows = [next(self._order) for _ in range(num_rows)]
        # Padding stands on the right, where causal attention never looks at it.
        logits_BTV = model(input_ids=self.ids_BT[rows], use_cache=False).logits
        return functional.cross_entropy(
            logits_BTV[:, :-1].flatten(0, 1),
            self.labels_BT[rows][:, 1:].flatten(),
            ignore_index=_IGNORED,
        )


def _encode(text: str) -> list[int]:
    return [_INDEX[word] for word in text.split()]


def solve_rows(task: ChainTask, limit: int, seed: int = 0) -> list[Row]:
    """Training questions with their gold replies."""
    return [
        (solve_prompt(example.prompt[0].content), task.gold(example))
        for example in task.examples("train", limit, seed)
    ]


def judge_rows(task: ChainTask, num_examples: int, seed: int = 0) -> list[Row]:
    """Training items for the judge: own chain, then the verdict.

    Every question comes with as many pairs as are needed to make up the number; in exactly half
    of the items the right reply stands in slot A.
    """
    generator = random.Random(f"judge rows/{seed}")
    examples = list(task.examples("train", task.capped("train", num_examples), seed))
    slots = [index % 2 for index in range(num_examples)]
    generator.shuffle(slots)
    rows = []
    for index, slot in enumerate(slots):
        example = examples[index % len(examples)]
        right, wrong = candidates(example, seed=seed * num_examples + index)
        pair = (right, wrong) if slot == 0 else (wrong, right)
        prompt = judge_prompt(example.prompt[0].content, *pair)
        rows.append((prompt, f"{right} V {VERDICTS[slot]}"))
    return rows


def _optimizer(model: Model, learning_rate: float, warmup: int) -> tuple[Any, Any]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warmup)
    )
    return optimizer, schedule


def _step(model: Model, optimizer: Any, schedule: Any, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
    optimizer.step()
    schedule.step()


def train_solver(
    seed: int,
    *,
    num_operands: int = 3,
    operators: str = "+-",
    stage_steps: int = 200,
    max_steps: int = 2400,
    num_examples: int = 20_000,
    batch_size: int = 96,
    learning_rate: float = 1e-3,
    target: float = 0.99,
    check_every: int = 50,
    say: Say = lambda line: None,
) -> SolverRun:
    """Teaches a fresh network to solve chains of `num_operands`, from two operands upwards.

    Each stage adds a length for `stage_steps`, with at most `num_examples` questions of it; chains
    one longer than asked come last. Training ends when that last stage has begun and sampled
    replies (temperature 1) to gate questions are right at the rate `target`, or after `max_steps`.
    """
    generator = torch.Generator().manual_seed(seed)
    model = build_model(seed)
    tasks = [ChainTask(n, operators) for n in range(2, num_operands + 2)]
    stages = [
        _Rows(solve_rows(task, task.capped("train", num_examples), seed), generator)
        for task in tasks
    ]
    optimizer, schedule = _optimizer(model, learning_rate, warmup=50)
    for step in range(1, max_steps + 1):
        current = stages[: 1 + (step - 1) // stage_steps]
        losses = [rows.loss(model, batch_size // len(current)) for rows in current]
        loss = torch.stack(losses).mean()
        _step(model, optimizer, schedule, loss)
        if step % check_every and step < max_steps:
            continue
        solved = solve_accuracy(model, tasks[-2], "gate", limit=400, temperature=1.0)
        accuracy = solved.value or 0.0
        say(
            f"solve, step {step}: up to {len(current) + 1} operands, loss {loss.item():.3f}, "
            f"{num_operands} operands solved {accuracy:.3f}"
        )
        if len(current) == len(stages) and accuracy >= target:
            return SolverRun(model, step, True)
    return SolverRun(model, max_steps, False)


def train_judge(
    model: Model,
    seed: int,
    *,
    task: ChainTask | None = None,
    num_examples: int = 4000,
    num_solve_examples: int = 20_000,
    max_steps: int = 450,
    judge_batch: int = 48,
    solve_batch: int = 32,
    learning_rate: float = 5e-4,
    target: float = 0.60,
    slot_tolerance: float = 0.05,
    check_every: int = 5,
    say: Say = lambda line: None,
) -> JudgeRun:
    """Teaches a solver, in place, to judge, and stops while it still judges half-right.

    Every step sees fixed judge examples and chains to solve. Training ends when sampled verdicts
    (temperature 1) on gate pairs in both orders are right at the rate `target` while neither slot
    is favoured by more than `slot_tolerance`, or after `max_steps`.
    """
    task = task or ChainTask()
    generator = torch.Generator().manual_seed(seed)
    judging = _Rows(judge_rows(task, num_examples, seed), generator)
    solving = _Rows(solve_rows(task, task.capped("train", num_solve_examples), seed), generator)
    optimizer, schedule = _optimizer(model, learning_rate, warmup=20)
    left_chance = False
    for step in range(1, max_steps + 1):
        judge_loss = judging.loss(model, judge_batch)
        solve_loss = solving.loss(model, solve_batch)
        rows = judge_batch + solve_batch
        loss = (judge_batch * judge_loss + solve_batch * solve_loss) / rows
        _step(model, optimizer, schedule, loss)
        if step % check_every and step < max_steps:
            continue
        metrics = evaluate_judge(model, task, split="gate", limit=300)
        reached = (metrics.accuracy.value or 0.0) >= target
        left_chance = left_chance or reached
        balanced = abs((metrics.first_slot.value or 0.0) - 0.5) <= slot_tolerance
        if step % (5 * check_every) == 0 or reached:
            say(
                f"judge, step {step}: loss {judge_loss.item():.3f} judge, "
                f"{solve_loss.item():.3f} solve, right verdicts {metrics.accuracy}, "
                f"own chain right {metrics.solved}, first slot {metrics.first_slot}"
            )
        if reached and balanced:
            return JudgeRun(model, step, True)
    return JudgeRun(model, max_steps, left_chance)


def train_reader(
    model: Model,
    rows: Sequence[Row],
    seed: int,
    *,
    task: ChainTask | None = None,
    num_solve_examples: int = 20_000,
    steps: int = 2500,
    judge_batch: int = 64,
    solve_batch: int = 24,
    learning_rate: float = 5e-4,
    say: Say = lambda line: None,
) -> Model:
    """Lets a solver, in place, read judgments as they are, right or wrong, and go on solving.

    Args:
        rows: prompts with judgments.
    """
    task = task or ChainTask()
    model.train()
    generator = torch.Generator().manual_seed(seed)
    judging = _Rows(rows, generator)
    solving = _Rows(solve_rows(task, task.capped("train", num_solve_examples), seed), generator)
    optimizer, schedule = _optimizer(model, learning_rate, warmup=20)
    for step in range(1, steps + 1):
        judge_loss = judging.loss(model, judge_batch)
        solve_loss = solving.loss(model, solve_batch)
        _step(model, optimizer, schedule, 0.75 * judge_loss + 0.25 * solve_loss)
        if step % 250 == 0:
            say(
                f"read, step {step}: loss {judge_loss.item():.3f} judge, "
                f"{solve_loss.item():.3f} solve"
            )
    return model.eval()
