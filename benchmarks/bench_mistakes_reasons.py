"""Are the planted reasons found, and none where there is none?

    python benchmarks/bench_mistakes_reasons.py [--seeds 3] [--samples 40] [--every 1]

48 prompts with one planted defect each, eight for each of the six reasons, and worlds in which the
coder passes as often whatever the prompt says. The coder is a script whose pass rate goes from 0.2
to 0.7 when the defect is mended and depends on nothing else; its code is really run in the sandbox,
and edits, placebos, leak checks, held-out inputs and statistics are those of `planish mistakes
reasons`. What this shows is that the machinery finds what is there and nothing else. It does not
show that a real model's failures have these reasons, nor that a rule's edit mends a real prompt:
what mends a planted defect was written down by people who knew how the rules edit. The rules were
written before the defects, and one rule was mended after a look at a defect of the "train" half.

Predictions, fixed before the first run:

1. Micro-F1 of the reasons on the planted defects is at least 0.80 on the "report" half, each seed.
2. In placebo worlds at most 5 % of the tasks get any reason. (Of 16 worlds none did, which leaves
   room for 21 %. Since 2026-11-29 every own task is one, 73 in all, at rates that go round in the
   order of the file; that was settled before they were drawn. None leaves room for 4.9 %.)
3. The unchanged prompt, drawn again with other seeds, differs from the placebo (Fisher, one-sided,
   at 5 %) in at most 5 % of the arms.
4. Power: the share of planted reasons found with n samples lies within 0.10 of what enumeration
   says for 0.2 -> 0.7 at Holm's first step, at n = 24 and n = 40. (A first look at eight defects
   and one seed missed this, with the same draws at every n and 5/5 % for 5/6 %: every n has draws
   of its own since.)
5. Without a placebo (the edit against the unchanged prompt) a coder that any change of the prompt
   helps gets a reason on at least 80 % of the tasks; with a placebo on at most 5 %.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from planish.methods.mistakes.config import Intervening
from planish.methods.mistakes.data import REASONS, CodeTask, Reason
from planish.methods.mistakes.jobs import References, check_references
from planish.methods.mistakes.own.defects import Defect, ScriptedCoder, defects, placebos
from planish.methods.mistakes.reasoning.arms import Outcome, intervene
from planish.methods.mistakes.reasoning.edits import RuleEditor
from planish.methods.mistakes.reasoning.effects import Count, Trial, fisher, judge
from planish.methods.mistakes.reasoning.failures import look
from planish.methods.mistakes.reasoning.planning import TaskPlan, make_plans
from planish.methods.mistakes.reasoning.power import power
from planish.models.base import LanguageModel
from planish.models.scripted import ScriptedModel
from planish.stats import mean, ratio
from planish.tasks.sandbox import Sandbox
from planish.tasks.sandbox.contract import ExecResult, Job, Limits
from support import write_result

LOW, HIGH = 0.2, 0.7
SIZES = (22, 24, 28, 32, 40)
FAR = 1_000_003  # between the seeds of two repetitions, and of the unchanged prompt's second draw


class Memory:
    """A sandbox that runs the same program once: a scripted coder writes few different ones."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.known: dict[str, ExecResult] = {}

    def run(self, jobs: Sequence[Job], *, progress: Any = None) -> list[ExecResult]:
        keys = [
            hashlib.sha256(job.model_dump_json(exclude={"key"}).encode()).hexdigest()
            for job in jobs
        ]
        new = {key: job for key, job in zip(keys, jobs, strict=True) if key not in self.known}
        self.known |= dict(zip(new, self.box.run(list(new.values())), strict=True))
        return [
            self.known[key].model_copy(update={"key": job.key})
            for key, job in zip(keys, jobs, strict=True)
        ]


def planned(
    pairs: Sequence[tuple[CodeTask, Sequence[str]]], box: Any, references: References
) -> list[TaskPlan]:
    return make_plans(look(pairs, box, references), RuleEditor(), box, references)


def found(outcome: Outcome) -> frozenset[Reason]:
    return frozenset(report.reason for report in outcome.reports if report.holds)


def count(outcome: Outcome, arm: str, reason: Reason | None) -> Count:
    each = next(one for one in outcome.interventions if (one.arm, one.reason) == (arm, reason))
    return Count(each.passes, each.n - each.unscored, each.unscored)


def f1(pairs: Sequence[tuple[frozenset[Reason], frozenset[Reason]]], seed: int) -> Any:
    """Micro-F1 with a bootstrap over tasks: 2 TP / (2 TP + FP + FN)."""
    tops = [2.0 * len(gold & told) for gold, told in pairs]
    return ratio(tops, [float(len(gold) + len(told)) for gold, told in pairs], seed=seed)


def any_change(plans: Sequence[TaskPlan], codes: dict[str, tuple[str, str]]) -> LanguageModel:
    """A coder that passes at the high rate as soon as the prompt is not the unchanged one."""
    asked = {plan.arms[0].chat: plan.task.task_id for plan in plans}
    owner = {arm.chat: (plan, arm.name) for plan in plans for arm in plan.arms}

    def script(chat: Any, seed: int | None, sample: int) -> str:
        plan, name = owner[chat]
        rate = LOW if chat in asked else HIGH
        draw = hashlib.sha256(f"{chat[-1].content}|{seed}".encode()).digest()
        right, wrong = codes[plan.task.task_id]
        code = right if int.from_bytes(draw[:6], "big") / 2**48 < rate else wrong
        if name:
            code = code.replace(plan.failures.name, name)
        return f"```python\n{code}\n```"

    return ScriptedModel("planted:any-change", script)


def without_placebo(plans: Sequence[TaskPlan], outcomes: Sequence[Outcome]) -> list[bool]:
    """Whether any reason holds where the edit is compared with the unchanged prompt."""
    held = []
    for plan, outcome in zip(plans, outcomes, strict=True):
        trials = [
            Trial(reason, count(outcome, "edit", reason), base, base)
            for reason in plan.tried
            if reason not in plan.calls  # scored on other inputs than the unchanged prompt's tests
            for base in [count(outcome, "original", None)]
        ]
        held.append(any(report.holds for report in judge(plan.task.task_id, trials)))
    return held


def resampled(
    plans: Sequence[TaskPlan],
    outcomes: Sequence[Outcome],
    draw: Callable[[Sequence[TaskPlan]], list[Outcome]],
) -> list[float]:
    """For each placebo arm whether the unchanged prompt, drawn with other seeds, differs."""
    again = draw(plans)
    differs = []
    for plan, outcome, other in zip(plans, outcomes, again, strict=True):
        for reason in plan.tried:
            if reason in plan.calls:
                continue  # scored on other inputs than the unchanged prompt's tests
            placebo = count(outcome, "placebo", reason)
            if not placebo.n:
                continue  # not drawn: the unchanged prompt passes too often
            p = fisher(placebo, count(other, "original", None))
            differs.append(float(p < 0.05))
    return differs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument(
        "--every", type=int, default=1, help="3 takes a third of the defects and worlds"
    )
    given = parser.parse_args()
    chosen, worlds = defects()[:: given.every], placebos()[:: given.every]
    coder = ScriptedCoder(low=LOW, high=HIGH)
    with Sandbox() as opened:
        box = Memory(opened)
        tasks = [each.task for each in (*chosen, *worlds)]
        references = check_references(tasks, box, Limits())
        planted = planned([(each.task, [each.wrong]) for each in chosen], box, references)
        empty = planned([(each.task, each.wrong) for each in worlds], box, references)
        dials = Intervening(samples=given.samples)
        body = [_header(chosen, planted, len(worlds))]
        rows, claims = _seeds(given.seeds, dials, chosen, planted, empty, coder, box, references)
        body += [rows, _power(chosen, planted, coder, box, references, given.seeds)]
        told, last = _ablation(chosen, planted, dials, box, references, given.seeds)
        body += [told, "\n".join(f"- {claim}" for claim in [*claims, last])]
    write_result("mistakes-reasons", "Reasons for failures: planted and found", "\n\n".join(body))


def _header(chosen: Sequence[Defect], plans: Sequence[TaskPlan], worlds: int) -> str:
    drawn = sum(each.reason in plan.tried for each, plan in zip(chosen, plans, strict=True))
    mended = sum(
        any(
            each.mended(arm.prompt)
            for arm in plan.arms
            if (arm.arm, arm.reason) == ("edit", each.reason)
        )
        for each, plan in zip(chosen, plans, strict=True)
    )
    return (
        f"{len(chosen)} planted defects, {worlds} placebo worlds. The edit of the planted reason "
        f"could be drawn for {drawn} and mends the defect for {mended}."
    )


def _seeds(
    seeds: int,
    dials: Intervening,
    chosen: Sequence[Defect],
    planted: Sequence[TaskPlan],
    empty: Sequence[TaskPlan],
    coder: LanguageModel,
    box: Any,
    references: References,
) -> tuple[str, list[str]]:
    lines = [
        "| seed | F1, all | F1, report half | recall | any reason in a placebo world | "
        "unchanged again against placebo |",
        "|---|---|---|---|---|---|",
    ]
    best, false, differs = [], [], []
    by_reason: dict[Reason, list[float]] = {reason: [] for reason in REASONS}
    for number in range(seeds):
        own = dials.model_copy(update={"seed": number * FAR})
        other = dials.model_copy(update={"seed": number * FAR + FAR // 2})
        outcomes = intervene(planted, coder, box, references, own)
        pairs = [
            (frozenset({each.reason}), found(outcome))
            for each, outcome in zip(chosen, outcomes, strict=True)
        ]
        report = [
            pair for each, pair in zip(chosen, pairs, strict=True) if each.task.split == "report"
        ]
        for (gold, told), each in zip(pairs, chosen, strict=True):
            by_reason[each.reason].append(float(gold <= told))
        nothing = intervene(empty, coder, box, references, own)
        wrong = mean([float(bool(found(outcome))) for outcome in nothing], seed=number)
        arms = resampled(
            empty,
            nothing,
            lambda plans, other=other: intervene(
                [replace(plan, arms=plan.arms[:1]) for plan in plans], coder, box, references, other
            ),
        )
        differ = mean(arms, seed=number)
        half = f1(report or pairs, number)
        best.append(half.value)
        false.append(wrong.value)
        differs.append(differ.value)
        recall = mean([float(gold <= told) for gold, told in pairs], seed=number)
        lines.append(f"| {number} | {f1(pairs, number)} | {half} | {recall} | {wrong} | {differ} |")
    lines.append(
        "\nFound, by reason, over all seeds: "
        + ", ".join(
            f"{reason} {sum(each)}/{len(each)}".replace(".0", "")
            for reason, each in by_reason.items()
        )
        + "."
    )
    claims = [
        f"1. F1 at least 0.80 on the report half, each seed: {_held(min(best) >= 0.8)} "
        f"(lowest {min(best):.3f}; the paper's best is 0.65, its second version's 0.78, on real "
        "failures).",
        f"2. At most 5 % of placebo worlds with a reason: {_held(_average(false) <= 0.05)} "
        f"({_average(false):.3f} over all seeds).",
        f"3. Unchanged again against placebo in at most 5 %: {_held(_average(differs) <= 0.05)} "
        f"({_average(differs):.3f}).",
    ]
    return "\n".join(lines), claims


def _power(
    chosen: Sequence[Defect],
    plans: Sequence[TaskPlan],
    coder: LanguageModel,
    box: Any,
    references: References,
    seeds: int,
) -> str:
    lines = [
        "| samples an arm | found | by enumeration, 0.2 -> 0.7, at 5/6 % | at 5 % |",
        "|---|---|---|---|",
    ]
    gaps = {}
    for n in SIZES:
        hits = []
        for number in range(seeds):
            dials = Intervening(samples=n, seed=(number + 10 * n) * FAR)
            outcomes = intervene(plans, coder, box, references, dials)
            hits += [
                float(each.reason in found(outcome))
                for each, outcome in zip(chosen, outcomes, strict=True)
            ]
        share = mean(hits)
        first = power(n, LOW, HIGH, alpha=0.05 / 6, interval=True)
        last = power(n, LOW, HIGH, interval=True)
        gaps[n] = abs((share.value or 0.0) - first)
        lines.append(f"| {n} | {share} | {first:.3f} | {last:.3f} |")
    near = gaps[24] <= 0.10 and gaps[40] <= 0.10
    lines.append(f"\n- 4. Within 0.10 of enumeration at 24 and 40 samples: {_held(near)}.")
    return "\n".join(lines)


def _ablation(
    chosen: Sequence[Defect],
    plans: Sequence[TaskPlan],
    dials: Intervening,
    box: Any,
    references: References,
    seeds: int,
) -> tuple[str, str]:
    codes = {each.task.task_id: (each.task.reference, each.wrong) for each in chosen}
    model = any_change(plans, codes)
    bare, full = [], []
    for number in range(seeds):
        own = dials.model_copy(update={"seed": (number + 20) * FAR})
        outcomes = intervene(plans, model, box, references, own)
        bare += [float(held) for held in without_placebo(plans, outcomes)]
        full += [float(bool(found(outcome))) for outcome in outcomes]
    told = (
        "A coder that any change of the prompt helps: some reason holds on "
        f"{mean(bare)} of the tasks without a placebo, and on {mean(full)} with one."
    )
    held = sum(bare) >= 0.8 * len(bare) and sum(full) <= 0.05 * len(full)
    return told, f"5. Without a placebo at least 80 %, with one at most 5 %: {_held(held)}."


def _held(right: bool) -> str:
    return "held" if right else "DID NOT HOLD"


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
