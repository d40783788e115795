"""The phases in their order: RL until the policy collapses, reheating, the same RL again.

    course = take_turns(plan, material, job)
    course.rounds[0].fired, course.rounds[0].thawed, course.rounds[-1].checkpoint

Every phase is a training of its own with a fresh optimizer: moments of before would carry the
policy back. Phases that are done are read back, and the reference is that of the first trigger.
"""

from __future__ import annotations

import gc
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.reheat.looping.plan import Plan
from planish.methods.reheat.looping.rl import train_policy
from planish.methods.reheat.method import Decision, EntropyProbe, reference_entropy
from planish.methods.reheat.thawing.ledger import Ledger
from planish.methods.reheat.thawing.plan import Material
from planish.methods.reheat.thawing.reheating import Thawed, thaw
from planish.runs.rows import read_rows
from planish.training.checkpoint import Trained
from planish.training.job import Job, model_path
from planish.training.launch import is_main
from planish.training.trainer import share

if TYPE_CHECKING:
    from planish.training.grpo import EntropyBonus

__all__ = ["Course", "Round", "refusal", "take_turns"]


@dataclass(frozen=True)
class Round:
    """One phase of RL, and the reheating that followed.

    Args:
        name: such as "rl-1".
        began: with these weights.
        trained: what the trainer says.
        checkpoint: what it ended with.
        fired: the policy collapsed; None: it did not.
        thawed: None where RL was not stopped for it, or had no step left.
    """

    name: str
    began: str
    trained: Trained
    checkpoint: Path
    fired: Decision | None
    thawed: Thawed | None = None


@dataclass(frozen=True)
class Course:
    """All of it.

    Args:
        reference: nats that collapse was told by; None where none was given and RL was too short.
    """

    rounds: tuple[Round, ...]
    reference: float | None

    @property
    def steps(self) -> int:
        """Of RL, over all phases."""
        return sum(each.trained.steps for each in self.rounds)

    @property
    def thaws(self) -> tuple[Thawed, ...]:
        """The reheatings, refused ones included."""
        return tuple(each.thawed for each in self.rounds if each.thawed is not None)


def take_turns(plan: Plan, material: Material, job: Job) -> Course:
    """Trains what is not trained yet; every process of a launch calls this alike.

    Raises:
        BadInput: the model or a prompt cannot be used.
        TrainingFailed: a number is not finite.
    """
    model, reference = model_path(plan.model), plan.reference_entropy
    left, rounds = plan.steps, list[Round]()
    while True:
        turn = len(rounds) + 1
        done = _train(plan, material, job, turn, model, left, reference)
        rounds.append(done)
        left -= done.trained.steps
        if done.fired is not None:
            reference = done.fired.thresholds.get("reference", reference)
        if done.fired is None or turn > plan.rounds or not left or reference is None:
            break
        thawed = thaw(
            str(done.checkpoint),
            material.task,
            material.sets,
            plan,
            reference=reference,
            job=job,
            name=f"reheat-{turn}",
            out=job.folder / "artifacts" / f"reheat-{turn}",
        )
        rounds[-1] = replace(done, thawed=thawed)
        model = str(thawed.checkpoint if thawed.is_warm else done.checkpoint)
        _go_on(job, turn, thawed, model, left)
    _hand_over(job, rounds[-1].checkpoint, Path(plan.out))
    return Course(tuple(rounds), reference or share(_early(plan, job)))


def _early(plan: Plan, job: Job) -> float | None:
    """The reference of a trigger that never fired, which nothing else needs to know."""
    if job.run is None:
        return None
    rows = [row for row in read_rows(job.run.path, "probe") if row.id.startswith("rl-1/")]
    probes = [row.read(EntropyProbe) for row in rows]
    told = sorted((each.step, each.entropy.mean) for each in probes)
    return reference_entropy(told, plan.trigger.window, plan.steps)


def _train(
    plan: Plan,
    material: Material,
    job: Job,
    turn: int,
    model: str,
    steps: int,
    reference: float | None,
) -> Round:
    """One phase of RL; the last that may be stopped is followed by one that is only watched."""
    from planish.methods.reheat.callback import ReheatCallback
    from planish.methods.reheat.probing import Probe

    name = f"rl-{turn}"
    ledger, out = Ledger(job.run, name), job.folder / "artifacts" / name
    watch = ReheatCallback(
        Probe(material.sets.probe, max_tokens=plan.max_tokens, seed=plan.seed),
        plan.trigger,
        reference=reference,
        every=plan.probe_every,
        decide=turn <= plan.rounds,
        phase="rl" if turn == 1 else "resume",
        on_probe=lambda probe: ledger.keep("probe", f"{probe.step}/{probe.kind}", probe),
        on_decision=lambda decision: ledger.keep("decision", "fire", decision),
        batch_size=plan.batch_size,
    )
    trained = train_policy(
        model,
        material.task,
        material.sets.train.examples,
        plan,
        steps=steps,
        seed=plan.seed + turn - 1,
        job=job,
        name=name,
        out=out,
        callback=watch,
        entropy=_hold(plan, reference) if turn > 1 else None,
        learning_rate=plan.learning_rate * (plan.hold_down if turn > 1 else 1),
    )
    _free()
    fired = ledger.told("decision", "fire", Decision)
    if fired is not None:
        job.screen.note(f"{name}: {fired.reason}")
    return Round(name, model, trained, out, fired)


def _hold(plan: Plan, reference: float | None) -> EntropyBonus | None:
    """The bonus that holds the entropy where the reheating has brought it, if it is wanted."""
    from planish.training.grpo import EntropyBonus

    if not plan.hold_delta or reference is None:
        return None
    return EntropyBonus(weight=0.0, target=plan.stop_ratio * reference, delta=plan.hold_delta)


def _go_on(job: Job, turn: int, thawed: Thawed, model: str, left: int) -> None:
    """Says what follows from a reheating, and keeps it."""
    _free()
    if thawed.is_warm:
        after, before = thawed.after.mean, thawed.before.mean
        why = f"entropy {before:.3f} -> {after:.3f} nats in {thawed.steps} steps"
    else:
        why = f"from the policy of before, for the reheated one is refused: {refusal(thawed)}"
    decision = Decision(
        step=0,
        action="resume",
        reason=f"{why}; {left} steps of RL are left",
        thresholds={"steps_left": float(left)},
        checkpoint=model,
    )
    Ledger(job.run, f"rl-{turn + 1}").keep("decision", "resume", decision)
    if is_main():
        tell = job.screen.note if thawed.is_warm else job.screen.warn
        tell(f"reheat-{turn}: {decision.reason}")


def refusal(thawed: Thawed) -> str:
    """Why RL does not go on from what was reheated."""
    ends = {
        "target": (),
        "ceiling": ("its entropy went above the ceiling",),
        "exhausted": (f"its entropy of {thawed.after.mean:.3f} nats is not there yet",),
    }
    return "; ".join((*ends[thawed.ended], *thawed.missed))


def _free() -> None:
    """A trainer and its model hold each other; the next phase needs their room."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _hand_over(job: Job, weights: Path, out: Path) -> None:
    """The last phase's checkpoint as `out`, whole or not at all; it also stays where it is."""
    if is_main() and job.made(out) is None:
        part = out.with_name(f".{out.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(weights, part, copy_function=_link)
        os.rename(part, out)
    share(None)  # nobody looks for `out` before it is there


def _link(source: str, target: str) -> None:
    """A second name for a file, which costs no room; a copy where the file system knows none."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
