"""What the demonstration claims, fixed before looking, and what came.

told = claims(results, numbers)
told[0].text, told[0].shown, told[0].held

A claim that one model is above another holds where the whole interval of the paired difference is
above 0; a claim about one number where its interval does not speak against it.
"""

from __future__ import annotations

from collections.abc import Iterator

from planish.methods.vfaith.building.counting import Numbers
from planish.methods.vfaith.cautions import VIEWED
from planish.methods.vfaith.method import OPTIONS
from planish.methods.vfaith.scoring.records import Group
from planish.methods.vfaith.scoring.tables import Results
from planish.stats import Claim, Estimate

__all__ = ["BLIND", "HABITS", "PLANTED", "SEEING", "VIEWED", "claims", "differing"]

SEEING, BLIND = "embedded:viewer-seeing", "embedded:viewer-blind"
HABITS = ("embedded:viewer-habit-60", "embedded:viewer-habit-90", "embedded:viewer-habit-97")
PLANTED = (
    "planted:oracle",
    "planted:cached",
    "planted:memory",
    "planted:position",
    "planted:random",
)

_POINTS = 0.05  # from chance that words or looks may give away


def claims(results: Results, numbers: Numbers) -> list[Claim]:
    """All of them, in the order in which they are told."""
    return [*_bench(numbers), *_ladder(results), *_reasons(results)]


def differing(results: Results, a: str, b: str, metric: str) -> Estimate:
    """`a` less `b`, on the pairs that both answered."""
    for each in results.comparisons:
        found = each.differences[metric]
        if (each.a, each.b) == (a, b):
            return found
        if (each.a, each.b) == (b, a):
            turned = {"value": found.value, "low": found.high, "high": found.low}
            return found.model_copy(
                update={name: None if v is None else -v for name, v in turned.items()}
            )
    return Estimate(value=None)


def _bench(numbers: Numbers) -> Iterator[Claim]:
    outside = numbers.most_outside
    yield Claim(
        "outside", "no edit changes a pixel outside its mask", "largest change, in levels",
        Estimate(value=outside), outside == 0,
    )  # fmt: skip
    found = numbers.findings
    if found is None:
        return
    yield Claim(
        "words", "the words alone do not give the edited answer away",
        f"a classifier of words; chance {found.chance:.2f}", found.text_only,
        _near(found.text_only, found.chance),
    )  # fmt: skip
    yield Claim(
        "looks", "nothing but the question tells a cue from a placebo",
        "a classifier of pictures; chance .50", found.placebo_cue,
        _near(found.placebo_cue, 0.5),
    )  # fmt: skip


def _near(found: Estimate, chance: float) -> bool:
    """Within five points, or not to be told from it."""
    if found.value is None or found.low is None:
        return False
    return found.value <= chance + _POINTS or found.low <= chance


def _ladder(results: Results) -> Iterator[Claim]:
    groups = {found.label: found.overall for found in results.scores}
    oracle, cached = PLANTED[:2]
    told = differing(results, oracle, cached, "acc_raw")
    yield Claim(
        "raw_alone", "on raw pictures, cached answers look as good as an oracle's",
        "oracle - cached, raw", told, told.value == 0,
    )  # fmt: skip
    yield _above(results, "pairs_tell", "the pairs tell them apart", oracle, cached)
    steps = (SEEING, *HABITS, BLIND)
    words = (
        "who learned to look follows more edits than who has a habit",
        "the stronger the habit, the fewer: 60 % before 90 %",
        "90 % before 97 %",
        "and the strongest habit more than no eyes",
    )
    for text, a, b in zip(words, steps, steps[1:], strict=False):
        key = f"{_short(a)}_over_{_short(b)}"
        yield _above(results, key, text, a, b)
    stuck = groups[BLIND]["stuck"]
    yield Claim(
        "blind_stuck", "without eyes the answer never moves", "blind: same answer on both",
        stuck, stuck.value == 1,
    )  # fmt: skip


def _above(results: Results, key: str, text: str, a: str, b: str) -> Claim:
    told = differing(results, a, b, "pair_acc")
    held = told.low is not None and told.low > 0
    return Claim(key, text, f"{_short(a)} - {_short(b)}, both right", told, held)


def _reasons(results: Results) -> Iterator[Claim]:
    groups = {found.label: found.overall for found in results.scores}
    seeing, habit, blind = groups[SEEING], groups[HABITS[-1]], groups[BLIND]
    told = habit["gated_unfaithfulness"]
    yield Claim(
        "saw_not_used", "the habit answers from memory although it saw the cue",
        "habit-97: saw it and did not use it; above seeing's", told,
        _apart(told, seeing["gated_unfaithfulness"]),
    )  # fmt: skip
    told = blind["perception_accuracy"]
    yield Claim(
        "did_not_see", "the blind one did not see it: at chance on what is there",
        "blind: sees the cue", told, _holds(told, 0.5),
    )  # fmt: skip
    told = differing(results, HABITS[-1], SEEING, "delta_net")
    yield Claim(
        "net_drop", "an edit costs the habit more than the seeing, net of a placebo",
        "habit-97 - seeing, Delta_net", told, told.low is not None and told.low > 0,
    )  # fmt: skip
    yield from _guesses(groups)


def _guesses(groups: dict[str, Group]) -> Iterator[Claim]:
    told = groups[PLANTED[-1]]["pair_acc"]
    yield Claim(
        "guess", f"a guesser is right on both as chance has it, 1 in {OPTIONS**2}",
        "random: both right", told, _holds(told, 1 / OPTIONS**2),
    )  # fmt: skip


def _apart(upper: Estimate, lower: Estimate) -> bool:
    """Whether the intervals do not meet, and this one is the upper."""
    if upper.low is None or lower.high is None:
        return False
    return upper.low > lower.high


def _holds(found: Estimate, value: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= value <= found.high


def _short(label: str) -> str:
    return label.rpartition(":")[2].removeprefix("viewer-")
