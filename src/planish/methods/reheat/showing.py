"""The demonstration in numbers, tables and figures.

summary(found, told)                # what --json and run.json hold
show(screen, found, told)
report(run, found, told).save(run.report_path)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from planish.methods.reheat.claims import CLAIMS_READ, Claim, Found, kept, warmth
from planish.methods.reheat.measuring.sample import pooled
from planish.methods.reheat.thawing.trial import Trial
from planish.runs import Run
from planish.runs.console import Screen
from planish.runs.report import Report
from planish.stats import Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["report", "show", "summary"]

_CLAIM = (
    "Reinforcement learning can drive the entropy of a policy towards zero, and then its samples "
    "are all alike. A short distillation into its own tempered distribution brings the entropy "
    "back, without rewards, while hardly anything else moves."
)
_LIMITS = (
    "Intervals are over questions; what all seeds drew to one is one row. The walkers are one pair "
    "of one world. Whether the RL that goes on gains from it is not shown here: the room's README "
    "has that comparison over many worlds. A tiny model shows the mechanism, not the paper's "
    "number."
)


def _numbers(found: Found, name: str) -> dict[str, Estimate]:
    """One policy by the names that `--json` uses."""
    samples = found.policies[name]
    entropy = {"before RL": found.told.entropy_reference, "collapsed": found.told.model.entropy}
    return {
        "entropy": entropy[name] if name in entropy else warmth(found.trials[name]),
        "pass_at_1": pooled(samples, "pass"),
        f"pass_at_{found.plan.pass_k}": pooled(samples, "pass", found.plan.pass_k),
        "greedy": pooled(samples, "greedy"),
        "reach": pooled(samples, "reach"),
        "zero_variance": pooled(samples, "zero_variance"),
    }


def _kept(trials: Sequence[Trial]) -> dict[str, Estimate]:
    """What did not move."""
    return {
        "token_kl": kept(trials, lambda each: each.divergence),
        "top10_overlap": kept(trials, lambda each: each.top10),
        "greedy_agreement": kept(trials, lambda each: each.same),
    }


def _key(name: str) -> str:
    return name.lower().replace(" ", "_")


def summary(found: Found, told: Sequence[Claim]) -> dict[str, Any]:
    """By the names that `--json` and run.json use."""
    ways: dict[str, Any] = {}
    for name, trials in found.trials.items():
        key = _key(name)
        ways |= {f"{rate}_{key}": number for rate, number in _kept(trials).items()}
        ways[f"steps_{key}"] = [trial.thawed.steps for trial in trials]
        ways[f"gate_{key}"] = [list(trial.missed) or "passed" for trial in trials]
    return {
        "sentence": found.told.sentence,
        "entropy_ratio": found.told.entropy_ratio,
        "num_questions": found.told.num_prompts,
        "num_missed": found.told.num_unsolved,
        **{
            f"{rate}_{_key(name)}": number
            for name in found.policies
            for rate, number in _numbers(found, name).items()
        },
        **ways,
        **{claim.key: claim.number for claim in told},
        "claims": {claim.key: claim.held for claim in told},
        "claims_held": sum(claim.held for claim in told),
        "num_claims": len(told),
    }


def _policy_rows(found: Found, rates: Sequence[str]) -> list[tuple[Any, ...]]:
    return [
        (name, *(numbers[rate] for rate in rates))
        for name in found.policies
        for numbers in [_numbers(found, name)]
    ]


def _gate_rows(found: Found) -> list[tuple[Any, ...]]:
    """A row for each way: how long it took, what moved, and what the gate says."""
    rows = []
    for name, trials in found.trials.items():
        steps = sorted(trial.thawed.steps for trial in trials)
        passed = sum(not trial.missed for trial in trials)
        told = (f"{steps[0]}-{steps[-1]}", *_kept(trials).values(), f"{passed}/{len(trials)}")
        rows.append((name, *told))
    return rows


_DRAWN = ("entropy", "pass_at_1", "pass_at_8")
_FOUND = ("greedy", "reach", "zero_variance")
_HEADS = {
    "entropy": "entropy in nats",
    "pass_at_1": "pass@1",
    "pass_at_8": "pass@8",
    "greedy": "greedy accuracy",
    "reach": "reach of missed questions",
    "zero_variance": "groups without variance",
}
_GATE = ("", "steps", "token KL", "top 10 kept", "likeliest kept", "gate")


def show(screen: Screen, found: Found, told: Sequence[Claim]) -> None:
    """Tables and verdict on the screen."""
    titles = (
        f"the embedded walkers, {found.told.num_prompts} questions, {found.plan.samples} draws "
        "of each",
        f"{found.told.num_unsolved} questions are missed: none of the collapsed policy's draws "
        "solved them",
    )
    for title, rates in zip(titles, (_DRAWN, _FOUND), strict=True):
        screen.table(
            ("", *(_HEADS[rate] for rate in rates)),
            [tuple(map(str, row)) for row in _policy_rows(found, rates)],
            title=title,
        )
    screen.table(
        _GATE,
        [tuple(map(str, row)) for row in _gate_rows(found)],
        title=f"what else moved until {found.config.stop_ratio:.0%} of the entropy was back, "
        f"{len(found.samples['anchored'])} seeds",
    )
    screen.table(
        ("claim, fixed before looking", "found", "held"),
        [(claim.text, claim.shown, "yes" if claim.held else "NO") for claim in told],
        title="what was claimed; a change is paired by question",
    )
    screen.say(_verdict(found, told))
    screen.say(_LIMITS)


def _verdict(found: Found, told: Sequence[Claim]) -> str:
    """What came of it, also where that is not what was claimed."""
    held = sum(claim.held for claim in told)
    failed = [claim.text for claim in told if not claim.held]
    reach = {name: pooled(found.policies[name], "reach") for name in ("collapsed", "anchored")}
    text = (
        f"{found.told.sentence[0].upper()}{found.told.sentence[1:]}. A draw to a question that it "
        f"misses is right with probability {reach['collapsed']}, after reheating towards the "
        f"policy of before with {reach['anchored']}. {held} of {len(told)} claims held"
    )
    return f"{text}." if not failed else f"{text}. It did NOT hold that: {'; '.join(failed)}."


def report(run: Run, found: Found, told: Sequence[Claim]) -> Report:
    """The page."""
    from planish.runs.plots import interval_plot

    page = Report(
        "reheat: did RL freeze the policy?",
        subtitle="Temperature-scaled on-policy self-distillation, arXiv 2606.00755",
        claim=_CLAIM,
        note=_LIMITS,
        run=run,
        tiny=True,
    )
    numbers = {name: _numbers(found, name) for name in found.policies}
    page.numbers(
        {
            "entropy before RL": numbers["before RL"]["entropy"],
            "entropy when collapsed": numbers["collapsed"]["entropy"],
            "entropy, anchored": numbers["anchored"]["entropy"],
            "reach when collapsed": numbers["collapsed"]["reach"],
            "reach, anchored": numbers["anchored"]["reach"],
        }
    )
    page.section("Before and after", _verdict(found, told))
    for rates in (_DRAWN, _FOUND):
        page.table(("", *(_HEADS[rate] for rate in rates)), _policy_rows(found, rates))
    page.section(
        "Entropy, step by step",
        f"Exact, in nats, of fresh replies to {_probes(found)} prompts that are not trained on; a "
        f"step learns from {found.config.reheat_prompts * found.config.reheat_rollouts} rollouts.",
    )
    page.figure(_entropy_figure(found), "Each way's first seed.", "entropy over the steps")
    page.section("What else moved", "On the collapsed policy's own replies of before.")
    page.table(_GATE, _gate_rows(found))
    page.details("What the gate refuses", "\n".join(_refusals(found)) or "nothing")
    page.section(
        "What it can still find",
        f"Of {found.told.num_prompts} questions the collapsed policy solves "
        f"{found.told.num_prompts - found.told.num_unsolved} in {found.plan.samples} draws. The "
        "others are its missed questions; their reach is the chance that a fresh draw is right.",
    )
    page.figure(_pass_figure(found), "pass@k; the table above has intervals.", "pass@k over k")
    reach = {name: each["reach"] for name, each in numbers.items()}
    widest = max(each.high or each.value or 0.0 for each in reach.values())
    page.figure(
        interval_plot(
            [(name, each, None) for name, each in reach.items()], axis=(0.0, 1.05 * widest or 1.0)
        ),
        "Reach of the missed questions, with 95 % intervals.",
        "a dot with its interval for each policy",
    )
    _add_claims(page, found, told)
    return page


def _probes(found: Found) -> int:
    return len(found.trials["anchored"][0].kept)


def _refusals(found: Found) -> list[str]:
    return [
        f"{name}, seed {seed}: {'; '.join(trial.missed)}"
        for name, trials in found.trials.items()
        for seed, trial in enumerate(trials)
        if trial.missed
    ]


def _entropy_figure(found: Found) -> Figure:
    from planish.runs.plots import Series, line_plot

    series = [
        Series(name, [step for step, _ in trials[0].curve], [nats for _, nats in trials[0].curve])
        for name, trials in found.trials.items()
    ]
    ends = [0, max(max(line.x) for line in series)]
    reference = found.trials["anchored"][0].thawed.reference
    for name in ("stop_ratio", "ceiling_ratio"):
        label = {"stop_ratio": "target", "ceiling_ratio": "ceiling"}[name]
        series.append(Series(label, ends, [getattr(found.config, name) * reference] * 2))
    return line_plot(series, xlabel="step", ylabel="nats")


def _pass_figure(found: Found) -> Figure:
    from planish.runs.plots import Series, line_plot

    series = []
    for name, samples in found.policies.items():
        told = [(k, pooled(samples, "pass", k).value) for k in found.plan.ks]
        known = [(k, value) for k, value in told if value is not None]
        series.append(Series(name, [k for k, _ in known], [value for _, value in known]))
    return line_plot(series, xlabel="k", ylabel="pass@k", doubling=True)


def _add_claims(page: Report, found: Found, told: Sequence[Claim]) -> None:
    page.section("Claims, fixed before looking", CLAIMS_READ)
    page.table(
        ("claim", "compared", "found", "held"),
        [
            (claim.text, claim.compared, claim.shown, "yes" if claim.held else "NO")
            for claim in told
        ],
    )
    drilled = found.drill
    page.section(
        "The runaway drill",
        f"The policy of before RL, a live teacher at a learning rate of "
        f"{found.runaway.reheat_learning_rate:g}. Asked for, it is refused: {drilled.refusal}. "
        f"Forced, its entropy goes from {drilled.before:.3f} nats to {drilled.highest:.3f}, above "
        f"the ceiling of {drilled.ceiling:.3f}; the step is taken back, and the weights are "
        f"{'those of before, bit for bit' if drilled.restored else 'NOT those of before'}.",
    )
