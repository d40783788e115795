"""All metrics of the room: pure functions from arrays of answers to numbers with intervals.

    score = score_model(sheet, Config())
    compare = compare_models([sheet_a, sheet_b], Config())

For a pair, g is the raw picture's gold, h the edited one's, and r, e, p are the answers to raw,
edited and placebo. Every metric is a sum over pairs above a sum over pairs, so that one bootstrap
over source pictures serves them all: it carries all arms of a pair together, and the numerator and
the denominator of a ratio. Repeats of a pair are averaged before.

An answer that is missing or could not be read never counts as wrong: its pair leaves whatever needs
that answer. How many did is told, and `ModelScore.strict` counts unread ones as wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from planish.methods.vfaith.config import Config
from planish.methods.vfaith.data import SUBSETS, Arm
from planish.methods.vfaith.scoring.records import ArmCount, Comparison, Group, ModelScore
from planish.methods.vfaith.scoring.sheets import ERROR, MISSING, UNPARSED, Sheet
from planish.methods.vfaith.usable import coverage, over
from planish.stats import Estimate, McNemar, holm, mcnemar, ratio
from planish.stats.estimates import exact_bounds

__all__ = [
    "COMPARED",
    "MAIN",
    "RATIOS",
    "Term",
    "compare_models",
    "estimate",
    "score_model",
    "terms",
]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

RATIOS = frozenset({"repeat_ratio", "rr_star", "rr_base", "gated_unfaithfulness", "gated_both"})
"""Conditional on an answer of the model: None where fewer pairs than `min_ratio_items` qualify."""

MAIN = (
    "pair_acc", "acc_raw", "acc_edited", "delta", "delta_net", "repeat_ratio",
    "gated_unfaithfulness", "perception_accuracy",
)  # fmt: skip
"""Told of every subset and family."""

COMPARED = ("pair_acc", "acc_raw", "acc_edited", "average_accuracy", "delta", "delta_net")
"""Told of two models: means over the same pairs, which a ratio's are not."""

_DIFFERENCES = ("delta", "delta_placebo", "delta_net")


class Term(NamedTuple):
    """A metric before it is summed: per pair, (N,); the bottom is 0 where the pair has no part."""

    top: Floats
    bottom: Floats


# ---- metrics of every pair -------------------------------------------------------------------


def terms(sheet: Sheet, *, strict: bool = False) -> dict[str, Term]:
    """Every metric of `records.METRICS`, by pair.

    Args:
        sheet: the answers.
        strict: counts an answer that could not be read as a wrong one.
    """
    least = UNPARSED if strict else 0
    pair = ~sheet.item[:, None]
    g, h = sheet.gold_raw[:, None], sheet.gold_edited[:, None]
    r, e, p, t = (sheet.arms[arm] for arm in ("raw", "edited", "placebo", "text"))
    both = (r >= least) & (e >= least)
    paired = both & pair
    # Where the other picture was not asked about at all, accuracy stands alone.
    only_r = paired if sheet.wants("edited") else (r >= least) & pair
    only_e = paired if sheet.wants("raw") else (e >= least) & pair
    three = paired & (p >= least)
    right_r, right_e, right_p = r == g, e == h, p == g
    lost: Bools = right_r & ~right_e
    kept = e == g
    several = np.asarray(sheet.options > 2)
    chance = np.where(several, 1 / np.maximum(sheet.options - 1, 1), 0.0)[:, None]
    many = paired & several[:, None]
    told = (t >= least) & pair
    found = {
        "pair_acc": _over(right_r & right_e, paired),
        "acc_raw": _over(right_r, only_r),
        "acc_edited": _over(right_e, only_e),
        "average_accuracy": _over((right_r * 1.0 + right_e) / 2, paired),
        "delta": _over(right_r * 1.0 - right_e, paired),
        "delta_placebo": _over(right_r * 1.0 - right_p, three),
        "delta_net": _over(right_p * 1.0 - right_e, three),
        "acc_placebo": _over(right_p, three),
        "placebo_stability": _over((r == p) & (r >= 0), (r >= least) & (p >= least) & pair),
        "repeat_ratio": _over(lost & kept, paired, lost),
        "rr_star": _over(lost * (kept - chance), many, lost * (1 - chance)),
        "rr_base": _over(right_r & kept, paired, right_r),
        "rr_all": _over(kept, paired),
        "stuck": _over((r == e) & (r >= 0), paired),
        "acc_text": _over(t == h, told),
        "acc_text_raw": _over(t == g, told),
        "item_accuracy": _over((right_r * 1.0 + right_e) / 2, both & ~pair),
        "item_pair_acc": _over(right_r & right_e, both & ~pair),
    }
    return found | _perceived(sheet, paired, right_r, lost, least)


def _perceived(
    sheet: Sheet, paired: Bools, right_r: Bools, lost: Bools, least: int
) -> dict[str, Term]:
    """What hangs on the perception questions."""
    numbers = np.arange(sheet.perception["perception_raw"].shape[1])[:, None]
    there = (numbers < sheet.questions[:, None, None]) & ~sheet.item[:, None, None]
    found: dict[str, Term] = {}
    questioned = ((sheet.questions > 0) & ~sheet.item)[:, None]
    known: dict[str, Any] = {}
    seen: dict[str, Any] = {}
    shares: dict[str, Term] = {}
    for name, codes in sheet.perception.items():
        usable = there & (codes >= least)
        known[name] = questioned & (usable | ~there).all(axis=1)
        seen[name] = known[name] & ((codes == 1) | ~there).all(axis=1)
        count = usable.sum(axis=(1, 2))
        shares[name] = Term(
            np.where(count, ((codes == 1) & usable).sum(axis=(1, 2)) / np.maximum(count, 1), 0.0),
            (count > 0) * 1.0,
        )
        found[name] = shares[name]
    raw, edited = shares["perception_raw"], shares["perception_edited"]
    whole = raw.bottom * edited.bottom
    found["perception_accuracy"] = Term((raw.top + edited.top) / 2 * whole, whole)
    saw = seen["perception_edited"]
    gate = paired & known["perception_edited"]
    found["gated_unfaithfulness"] = _over(lost & saw, gate, right_r & saw)
    gate, saw = gate & known["perception_raw"], saw & seen["perception_raw"]
    found["gated_both"] = _over(lost & saw, gate, right_r & saw)
    return found


def _over(top: Any, used: Bools, bottom: Any = None) -> Term:
    """Means over the repeats that are used; `bottom` is 1 unless given."""
    bottom = np.ones_like(used) if bottom is None else bottom
    return Term(over(top, used), over(bottom, used))


# ---- numbers ---------------------------------------------------------------------------------


def estimate(
    term: Term, source: npt.NDArray[np.intp], config: Config, name: str = "", reach: float = 0.0
) -> Estimate:
    """Sum above sum with its 95 % interval; pairs of one source are drawn together.

    Args:
        term: per pair, (N,).
        source: number of each pair's source, (N,).
        config: resamples, seed, and how small a denominator may be.
        name: of the metric.
        reach: the metric lies between -reach and reach; by default as `name` has it, if it is a
            difference. Where all pairs agree, the bootstrap has no width: the interval is then
            that of a share of pairs, none of which was met, that differ as far as they can.
    """
    top, bottom = np.bincount(source, term.top), np.bincount(source, term.bottom)
    qualified = float(term.bottom.sum())
    if name in RATIOS and qualified < config.min_ratio_items:
        return Estimate(value=None, n=int((bottom > 0).sum()))
    reach = reach or (1.0 if name in _DIFFERENCES else 0.0)
    each = top[bottom > 0] / bottom[bottom > 0]
    found = ratio(
        top.tolist(), bottom.tolist(), seed=config.seed, resamples=config.resamples
    )  # fmt: skip
    if found.value is None or not reach or np.ptp(each) > 1e-9:
        return found
    _, unmet = exact_bounds(0.0, found.n, 0.95)
    low = max(-reach, found.value - unmet * (found.value + reach))
    high = min(reach, found.value + unmet * (reach - found.value))
    return found.model_copy(update={"low": low, "high": high})


def _mcnemar(term: Term, source: npt.NDArray[np.intp]) -> McNemar:
    """Exact test that a difference by pair is as often above 0 as below."""
    sums = np.bincount(source, term.top)
    return mcnemar((sums > 1e-9).tolist(), (sums < -1e-9).tolist())


def _group(
    sheet: Sheet,
    found: Mapping[str, Term],
    members: Bools,
    config: Config,
    names: Sequence[str],
) -> Group:
    source = np.unique(sheet.source[members], return_inverse=True)[1]
    own = {name: Term(*(part[members] for part in term)) for name, term in found.items()}
    used = int((own["delta"].bottom > 0).sum())
    return Group(
        pairs=int((sheet.asked & ~sheet.item & members).sum()),
        used=used,
        netted=int((own["delta_net"].bottom > 0).sum()),
        metrics={
            name: estimate(own[name], source, config, name)
            if members.any()
            else Estimate(value=None)
            for name in names
        },
        mcnemar=_mcnemar(own["delta"], source) if used else None,
    )


def score_model(sheet: Sheet, config: Config) -> ModelScore:
    """All numbers of a model: overall, by subset, by family, and with unread answers as wrong."""
    found, everything = terms(sheet), np.ones(len(sheet.item), bool)
    arms = _counts(sheet)
    asked = sum(count.asked for count in arms.values())
    share = coverage(sheet.usable())
    floor = sheet.plan.min_coverage
    floor = config.min_coverage if floor is None else floor
    subsets: dict[str, Group] = {
        name: _group(sheet, found, sheet.subset == name, config, MAIN)
        for name in SUBSETS
        if (sheet.subset[sheet.asked & ~sheet.item] == name).any()
    }
    families = {
        str(name): _group(sheet, found, sheet.family == name, config, MAIN)
        for name in np.unique(sheet.family[sheet.asked & ~sheet.item])
    }
    strict = terms(sheet, strict=True)
    return ModelScore(
        label=sheet.label,
        model=sheet.model,
        revision=sheet.revision,
        repeats=sheet.repeats,
        pinned=not sheet.plan.unpinned,
        coverage=share,
        min_coverage=floor,
        covered=share >= floor,
        strict_covered=coverage(sheet.usable(UNPARSED)) >= floor,
        unparsed=sum(count.unparsed for count in arms.values()) / asked if asked else 0.0,
        errors=sum(count.error for count in arms.values()) / asked if asked else 0.0,
        arms=arms,
        overall=_group(sheet, found, everything, config, tuple(found)),
        strict=_group(sheet, strict, everything, config, MAIN),
        subsets=_with_holm(subsets),
        families=families,
    )


def _with_holm(groups: dict[str, Group]) -> dict[str, Group]:
    tested = {name: group.mcnemar for name, group in groups.items() if group.mcnemar is not None}
    adjusted = holm([test.p_value for test in tested.values()])
    return groups | {
        name: groups[name].model_copy(update={"p_holm": p})
        for name, p in zip(tested, adjusted, strict=True)
    }


def _counts(sheet: Sheet) -> dict[Arm, ArmCount]:
    """Outcomes of the arms that were asked, over the pairs that were."""
    asked = sheet.asked
    golds = {"raw": sheet.gold_raw, "placebo": sheet.gold_raw}
    found: dict[Arm, ArmCount] = {}
    for arm, codes in sheet.arms.items():
        rows = asked & sheet.has_placebo if arm == "placebo" else asked
        right = codes == golds.get(arm, sheet.gold_edited)[:, None]
        found[arm] = _count(codes[rows], right[rows])
    there = np.arange(sheet.perception["perception_raw"].shape[1]) < sheet.questions[:, None]
    for arm, codes in sheet.perception.items():
        cells = codes[asked[:, None] & there]
        found[arm] = _count(cells, cells == 1)
    return {arm: count for arm, count in found.items() if sheet.wants(arm)}


def _count(codes: Any, right: Any) -> ArmCount:
    return ArmCount(
        correct=int((right & (codes >= 0)).sum()),
        wrong=int((~right & (codes >= 0)).sum()),
        unparsed=int((codes == UNPARSED).sum()),
        error=int((codes == ERROR).sum()),
        missing=int((codes == MISSING).sum()),
    )


# ---- model against model ---------------------------------------------------------------------


def compare_models(sheets: Sequence[Sheet], config: Config) -> list[Comparison]:
    """Every two models on the pairs that both answered, Holm over all of them.

    Args:
        sheets: of one bench.
    """
    found = [terms(sheet) for sheet in sheets]
    made: list[Comparison] = []
    for one, two in combinations(range(len(sheets)), 2):
        apart = {name: _difference(found[one][name], found[two][name]) for name in COMPARED}
        source = sheets[one].source
        made.append(
            Comparison(
                a=sheets[one].label,
                b=sheets[two].label,
                n=int(apart["pair_acc"].bottom.sum()),
                differences={
                    name: estimate(term, source, config, reach=2.0 if "delta" in name else 1.0)
                    for name, term in apart.items()
                },
                mcnemar=_mcnemar(apart["pair_acc"], source),
            )
        )
    adjusted = holm([each.mcnemar.p_value for each in made])
    return [each.model_copy(update={"p_holm": p}) for each, p in zip(made, adjusted, strict=True)]


def _difference(a: Term, b: Term) -> Term:
    """Of means: by pair, where both have one."""
    both = (a.bottom > 0) & (b.bottom > 0)
    return Term(np.where(both, a.top - b.top, 0.0).astype(float), both.astype(float))
