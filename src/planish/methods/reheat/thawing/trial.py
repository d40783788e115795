"""One of several reheatings inside another run: the demonstration's ways.

    trial = attempt(WAYS["anchored"], config, seed=1, model="embedded:walker-collapsed", ...)
    trial.thawed.steps, trial.curve, trial.kept
    drill(config, model="embedded:walker", ...).restored

It is stage `run` without the gate's refusal: what the gate says is told, and the weights are kept
in any case.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from planish.methods.reheat.config import ReheatConfig
from planish.methods.reheat.data import PromptSets
from planish.methods.reheat.method import Decision, EntropyProbe, Limits, missed
from planish.methods.reheat.policy import Policy, Text
from planish.methods.reheat.probing import Probe
from planish.methods.reheat.thawing.gate import Gate, Warmth
from planish.methods.reheat.thawing.reheating import Thawed, thaw
from planish.methods.reheat.thawing.settings import opened_policy
from planish.records import BadInput
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.rows import read_rows
from planish.sampling import kl
from planish.tasks.base import Task
from planish.training.job import Job, model_path

if TYPE_CHECKING:
    from planish.training.callbacks import Recorder

__all__ = ["Drill", "Kept", "Trial", "Way", "attempt", "drill", "kept_by_prompt"]


@dataclass(frozen=True)
class Way:
    """A way to reheat: its name, and the dials in which it differs from others."""

    name: str
    dials: Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """What did not move on one frozen reply, summed over its tokens.

    Args:
        same: 1 where the likeliest token is the same as before.
        top10: share of the ten likeliest tokens of before that still are.
        divergence: KL(before || after) in nats.
        tokens: how many there are.
    """

    same: float
    top10: float
    divergence: float
    tokens: float


@dataclass(frozen=True)
class Trial:
    """A reheating and what came of it.

    Args:
        way: how.
        thawed: its numbers and where the weights are.
        curve: (step, entropy of fresh replies).
        kept: what did not move, for every prompt of the probe.
        warmth: entropy of fresh replies afterwards, for every prompt of the probe.
        missed: what the gate says, in words; empty where it passes.
    """

    way: Way
    thawed: Thawed
    curve: tuple[tuple[int, float], ...]
    kept: tuple[Kept, ...]
    warmth: Warmth
    missed: tuple[str, ...]


@dataclass(frozen=True)
class _Named(Job):
    """A reheating whose bar says which of several it is."""

    title: str

    @contextlib.contextmanager
    def recorder(self, title: str, total: int, **labels: str) -> Iterator[Recorder]:
        with super().recorder(self.title, total, **labels) as recorder:
            yield recorder


def attempt(
    way: Way,
    config: ReheatConfig,
    *,
    seed: int,
    model: str,
    task: Task,
    sets: PromptSets,
    reference: float,
    run: Run,
    screen: Screen,
) -> Trial:
    """Reheats `model` in a way, and tells what the gate would say.

    Args:
        way: how.
        config: what all ways share; its limits are the gate's.
        seed: of draws and order.
        model: as it was typed.
        task: with the grader.
        sets: the prompts.
        reference: entropy in nats of a policy that has not collapsed.
        run: that keeps all of it, under the names of way and seed.
        screen: shows how far it is.
    """
    name = f"{way.name.replace(' ', '-')}-{seed}"
    limits = Limits(config.max_kl, config.min_top10, config.min_agreement)
    dials = config.model_dump() | {"max_kl": 1e9, "min_top10": 0.0, "min_agreement": 0.0}
    told = ReheatConfig(**dials | dict(way.dials) | {"seed": seed})
    path = model_path(model)
    thawed = thaw(
        path,
        task,
        sets,
        told,
        reference=reference,
        job=_Named(run.path, run, screen, f"{way.name}, seed {seed}"),
        name=name,
        out=run.artifact(f"{name}/policy"),
        warm="force",
    )
    probe = Probe(sets.probe, max_tokens=told.max_tokens, seed=seed)
    probe.recall(run.artifact(f"{name}-frozen.json"))
    before, after = opened_policy(path, told), opened_policy(str(thawed.checkpoint), told)
    return Trial(
        way=way,
        thawed=thawed,
        curve=_curve(run, name),
        kept=tuple(kept_by_prompt(before, after, probe.frozen)),
        warmth=_gate(run, name, thawed.attempts).warmth,
        missed=tuple(
            missed(
                thawed.preservation,
                limits,
                accuracy=thawed.accuracy_after.value,
                floor=thawed.accuracy_before.low,
            )
        ),
    )


def _curve(run: Run, name: str) -> tuple[tuple[int, float], ...]:
    """The entropy of fresh replies after every step."""
    probes = [
        row.read(EntropyProbe)
        for row in read_rows(run.path, "probe")
        if row.id.startswith(f"{name}/") and row.id.endswith("/on_policy")
    ]
    return tuple(sorted((each.step, each.entropy.mean) for each in probes))


def _gate(run: Run, name: str, attempt: int) -> Gate:
    [gate] = (
        row.read(Gate) for row in read_rows(run.path, "gate") if row.id == f"{name}/{attempt}"
    )
    return gate


def kept_by_prompt(before: Policy, after: Policy, texts: Sequence[Text]) -> list[Kept]:
    """What did not move, reply by reply; N positions, K likeliest tokens, B replies.

    Args:
        before: the policy as it was.
        after: as it is, with the same tokenizer.
        texts: replies that the policy drew before.
    """
    import torch

    sums_B4 = torch.zeros(len(texts), 4)
    size = min(before.batch_size, after.batch_size)
    for old, new in zip(before.read(texts, size=size), after.read(texts, size=size), strict=True):
        top = min(10, old.logits_NV.shape[-1])
        old_NV, new_NV = old.logits_NV.float(), new.logits_NV.float()
        ten_NK, mine_NK = old_NV.topk(top).indices, new_NV.topk(top).indices
        same_N = (ten_NK[:, 0] == mine_NK[:, 0]).float()
        top10_N = (ten_NK[:, :, None] == mine_NK[:, None, :]).any(-1).float().mean(-1)
        moved_N = kl(old_NV, new_NV, "forward")
        told_N4 = torch.stack([same_N, top10_N, moved_N, torch.ones_like(same_N)], dim=-1)
        sums_B4.index_add_(0, old.text_N.cpu(), told_N4.cpu())
    return [Kept(*row) for row in sums_B4.tolist()]


@dataclass(frozen=True)
class Drill:
    """A live teacher at a high rate on a policy that has not collapsed.

    Args:
        refusal: what is said to whoever asks for it; "" where nothing is.
        ended: what ended it when it was forced.
        before: entropy before.
        highest: entropy after the step that ended it.
        ceiling: above which a step is taken back.
        restored: whether every weight is what it was, bit for bit.
    """

    refusal: str
    ended: str
    before: float
    highest: float
    ceiling: float
    restored: bool


def drill(
    config: ReheatConfig,
    *,
    model: str,
    task: Task,
    sets: PromptSets,
    reference: float,
    run: Run,
    screen: Screen,
) -> Drill:
    """Asks for what should be refused, forces it, and looks at what is left.

    Args:
        config: of the runaway; its first step should be one too far.
        model: a policy as warm as it should be, as it was typed.
        task: with the grader.
        sets: the prompts.
        reference: its entropy in nats.
        run: that keeps all of it.
        screen: shows how far it is.
    """
    path, job = model_path(model), _Named(run.path, run, screen, "runaway drill")
    given: dict[str, Any] = {"reference": reference, "job": job}
    refusal = ""
    try:
        out = run.artifact("drill-refused/policy")
        thaw(path, task, sets, config, **given, name="drill-refused", out=out, warm="refuse")
    except BadInput as error:
        refusal = error.what
    out = run.artifact("drill-forced/policy")
    thawed = thaw(path, task, sets, config, **given, name="drill-forced", out=out, warm="force")
    [end] = (
        row.read(Decision)
        for row in read_rows(run.path, "decision")
        if row.id == "drill-forced/1/end"
    )
    return Drill(
        refusal=refusal,
        ended=thawed.ended,
        before=thawed.before.mean,
        highest=end.thresholds["entropy"],
        ceiling=end.thresholds["ceiling"],
        restored=thawed.steps == 0 and _same_weights(Path(path), thawed.checkpoint),
    )


def _same_weights(one: Path, other: Path) -> bool:
    import torch
    from safetensors.torch import load_file

    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, other))
    return ours.keys() == theirs.keys() and all(
        torch.equal(ours[name], theirs[name]) for name in ours
    )
