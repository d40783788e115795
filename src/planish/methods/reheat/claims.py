"""What the demonstration claims, fixed before looking, and whether it came true.

    told = claims(found)
    [claim.held for claim in told]

A claim that something rises or falls holds where the whole interval and every seed lie on that side
of 0; that something does not fall, where the interval does not lie below 0 as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from planish.methods.reheat.config import ReheatConfig
from planish.methods.reheat.measuring.plan import Plan
from planish.methods.reheat.measuring.records import Diagnosis
from planish.methods.reheat.measuring.sample import Gain, Sample, gain
from planish.methods.reheat.thawing.trial import Drill, Kept, Trial
from planish.stats import Claim, Estimate, mean, ratio, shown

__all__ = ["CLAIMS_READ", "Claim", "Found", "claims", "kept", "warmth"]

CLAIMS_READ = (
    "Changes are paired: by question, or by prompt where tokens are kept. Something rises or falls "
    "where the whole interval and every seed lie on that side of 0, and is no worse unless all of "
    "the interval lies below."
)

FROZEN_BELOW = 0.25
"""Share of the entropy before RL below which the policy counts as frozen here."""

Expected = Literal["falls", "rises", "does not fall"]


@dataclass(frozen=True)
class Found:
    """Everything that the demonstration measured.

    Args:
        plan: how policies are looked at.
        config: what all ways of reheating share.
        told: the diagnosis of the collapsed policy.
        first: what the policy of before RL draws.
        base: what the collapsed one draws.
        trials: way -> its reheating by every seed.
        samples: way -> what came of it draws, by every seed.
        runaway: the dials of the drill.
        drill: what came of it.
    """

    plan: Plan
    config: ReheatConfig
    told: Diagnosis
    first: Sample
    base: Sample
    trials: Mapping[str, Sequence[Trial]]
    samples: Mapping[str, Sequence[Sample]]
    runaway: ReheatConfig
    drill: Drill

    @property
    def policies(self) -> dict[str, Sequence[Sample]]:
        """Every policy by name, one sample for each seed."""
        return {"before RL": [self.first], "collapsed": [self.base], **self.samples}


def claims(found: Found) -> list[Claim]:
    """All of them, in the order in which they are told."""
    return [*_collapse(found), *_norm(found), *_anchor(found), *_drill(found.drill)]


def _collapse(found: Found) -> list[Claim]:
    ratio_ = found.told.entropy_ratio
    return [
        _change(
            "entropy_below_quarter",
            "RL froze it: less than a quarter of its entropy is left",
            f"share of the entropy before - {FROZEN_BELOW}",
            _single(_shifted(ratio_, -FROZEN_BELOW)),
            "falls",
        ),
        _change(
            "rl_gain",
            "RL taught it: pass@1 rose",
            "collapsed - before RL",
            gain([found.first], [found.base], "pass"),
            "rises",
        ),
    ]


def _norm(found: Found) -> list[Claim]:
    norm, every = found.trials["final norm"], found.trials["all weights"]
    passed = [float(trial.thawed.ended == "target" and not trial.missed) for trial in norm]
    rate = ratio(passed, [1.0] * len(passed))
    return [
        Claim(
            "norm_passes",
            "the final norm alone brings the warmth back, and the gate passes",
            "seeds of all seeds",
            rate,
            all(passed),
            f"{sum(passed):.0f} of {len(passed)}",
        ),
        _change(
            "norm_agreement_gain",
            "it keeps more of the likeliest tokens than training all weights",
            "final norm - all weights",
            _kept(every, norm, lambda kept: kept.same),
            "rises",
        ),
        _change(
            "norm_top10_gain",
            "it keeps more of the ten likeliest tokens",
            "final norm - all weights",
            _kept(every, norm, lambda kept: kept.top10),
            "rises",
        ),
    ]


def _anchor(found: Found) -> list[Claim]:
    anchored, base = found.samples["anchored"], [found.base]

    def reach(key: str, text: str, name: str, before: Sequence[Sample]) -> Claim:
        number = gain(before, anchored, "reach")
        return _change(key, text, f"anchored - {name}", number, "rises")

    return [
        reach("reach_gain", "anchored, missed questions are in reach again", "collapsed", base),
        reach(
            "reach_over_all",
            "more so than by all weights at the same entropy",
            "all weights",
            found.samples["all weights"],
        ),
        reach(
            "reach_over_norm",
            "and than by the final norm, which is hotter sampling",
            "final norm",
            found.samples["final norm"],
        ),
        _change(
            "pass_k_gain",
            f"anchored, pass@{found.plan.pass_k} is above the collapsed policy's",
            "anchored - collapsed",
            gain(base, anchored, "pass", found.plan.pass_k),
            "rises",
        ),
        _change(
            "greedy_change",
            "anchored, greedy accuracy is no worse",
            "anchored - collapsed",
            gain(base, anchored, "greedy"),
            "does not fall",
        ),
    ]


def _drill(found: Drill) -> list[Claim]:
    def seen(key: str, text: str, compared: str, held: bool) -> Claim:
        number = Estimate(value=float(held), n=1)
        return Claim(key, text, compared, number, held, "yes" if held else "no")

    return [
        seen(
            "healthy_refused",
            "a policy that has not collapsed is refused",
            "seen once",
            bool(found.refusal),
        ),
        seen(
            "runaway_taken_back",
            "forced at a high rate it runs away, and every bit is restored",
            "seen once",
            found.ended == "ceiling" and found.highest > found.ceiling and found.restored,
        ),
    ]


def _kept(before: Sequence[Trial], after: Sequence[Trial], tell: Callable[[Kept], float]) -> Gain:
    """By how much more is kept, paired by prompt; the seeds of a prompt are one row."""

    def more(ours: Sequence[Trial], theirs: Sequence[Trial]) -> list[float]:
        pairs = zip(_by_prompt(ours, tell), _by_prompt(theirs, tell), strict=True)
        return [new / size - old / many for (old, many), (new, size) in pairs]

    seeds = [more([one], [other]) for one, other in zip(before, after, strict=True)]
    return Gain(
        number=mean(more(before, after)), by_seed=tuple(sum(each) / len(each) for each in seeds)
    )


def kept(trials: Sequence[Trial], tell: Callable[[Kept], float]) -> Estimate:
    """A share over tokens, its interval over prompts; the seeds of a prompt are one row."""
    sums, tokens = zip(*_by_prompt(trials, tell), strict=True)
    return ratio(sums, tokens)


def _by_prompt(trials: Sequence[Trial], tell: Callable[[Kept], float]) -> list[tuple[float, float]]:
    """(what is told, summed over the tokens of all seeds, and how many tokens that are)."""
    return [
        (sum(map(tell, row)), sum(each.tokens for each in row))
        for row in zip(*(trial.kept for trial in trials), strict=True)
    ]


def warmth(trials: Sequence[Trial]) -> Estimate:
    """The entropy afterwards, its interval over prompts; the seeds of a prompt are one row."""
    sums = zip(*(trial.warmth.sums for trial in trials), strict=True)
    counts = zip(*(trial.warmth.counts for trial in trials), strict=True)
    return ratio([sum(row) for row in sums], [float(sum(row)) for row in counts])


def _shifted(estimate: Estimate, by: float) -> Estimate:
    moved = {
        name: None if (value := getattr(estimate, name)) is None else value + by
        for name in ("value", "low", "high")
    }
    return Estimate(**moved, n=estimate.n)


def _single(number: Estimate) -> Gain:
    return Gain(number, (number.value,))


def _change(key: str, text: str, compared: str, told: Gain, expected: Expected) -> Claim:
    low, high = told.number.low, told.number.high
    falls = high is not None and high < 0
    rises = low is not None and low > 0
    held = {
        "falls": falls and all(seed is not None and seed < 0 for seed in told.by_seed),
        "rises": rises and all(seed is not None and seed > 0 for seed in told.by_seed),
        "does not fall": told.number.value is not None and not falls,
    }
    return Claim(key, text, compared, told.number, held[expected], shown(told.number, "+.3f"))
