"""The tables of a score, as rows of words and estimates; the screen and the page show the same.

columns, rows = leaderboard(results)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.config import Config
from planish.methods.vfaith.data import SUBSETS
from planish.methods.vfaith.scoring.records import Comparison, Group, ModelScore
from planish.methods.vfaith.scoring.sheets import Sheet
from planish.methods.vfaith.verifying.ratings import QUESTIONS, Agreement
from planish.stats import Estimate

__all__ = [
    "OUTCOMES",
    "Part",
    "Results",
    "Share",
    "by_family",
    "by_subset",
    "exclusions",
    "leaderboard",
    "marked",
    "net",
    "num_pairs",
    "outcomes",
    "rated",
    "sentences",
    "strict_rows",
    "versus",
]

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]

NOTHING = Estimate(value=None)
OUTCOMES = (
    "followed the edit", "kept the raw answer", "another answer", "right on edited only",
    "wrong on both", "left out",
)  # fmt: skip
"""What may come of a pair; the second and the third are right on the raw picture."""


@dataclass(frozen=True)
class Results:
    """Everything that there is to show.

    Args:
        bench: whose pairs were asked.
        config: dials of the intervals.
        sheets, scores: of each model, best first by `by`.
        comparisons: of every two models.
        asked: label -> pairs that its run was to ask; the numbers may be over fewer.
        warnings: what must be read before the numbers.
        excluded: (gate, code, family, backend) -> pairs that the gates kept out of the bench.
        by: the metric that orders the models.
        raters: what two people said of a sample of the bench; None where nobody was asked.
        verifiers: models that looked for the cues of its photographs.
    """

    bench: Bench
    config: Config
    sheets: Sequence[Sheet]
    scores: Sequence[ModelScore]
    comparisons: Sequence[Comparison]
    excluded: Mapping[tuple[str, str, str, str], int] = field(default_factory=dict)
    by: str = "pair_acc"
    asked: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    raters: Agreement | None = None
    verifiers: tuple[str, ...] = ()

    @property
    def covered(self) -> list[ModelScore]:
        """Models with enough usable pairs for a headline."""
        return [score for score in self.scores if score.covered]


def shown(score: ModelScore, group: Group, name: str) -> Estimate:
    """A headline number; none where too few pairs of the model are usable, or it tells nothing."""
    return NOTHING if group.why_not(name) or not score.covered else group[name]


class Part(NamedTuple):
    """A number that is over fewer pairs than those beside it."""

    estimate: Estimate
    pairs: int

    def __str__(self) -> str:
        return f"{self.estimate}, n = {self.pairs}"


def net(score: ModelScore, group: Group) -> Estimate | Part:
    """Delta_net, with its number of pairs where some have no placebo."""
    found = shown(score, group, "delta_net")
    whole = found.value is None or group.netted >= group.used
    return found if whole else Part(found, group.netted)


@dataclass(frozen=True)
class Share:
    """Pairs, and which share of them is usable."""

    pairs: int
    usable: float

    def __str__(self) -> str:
        return f"{self.pairs}, {self.usable:.0%}"


def num_pairs(sheet: Sheet) -> int:
    """Pairs that were to be asked."""
    return int((sheet.asked & ~sheet.item).sum())


def marked(score: ModelScore) -> str:
    """The model's name, with a star where it is not pinned."""
    return score.label if score.pinned else f"{score.label} *"


def leaderboard(results: Results) -> Table:
    """One line a model."""
    columns = (
        "model", "PairAcc", "raw", "edit", "Delta_net", "RR", "RR_base", "unfaithful", "usable",
    )  # fmt: skip
    before = ("pair_acc", "acc_raw", "acc_edited")
    behind = ("repeat_ratio", "rr_base", "gated_unfaithfulness")
    return columns, [
        (
            marked(score),
            *(shown(score, score.overall, name) for name in before),
            net(score, score.overall),
            *(shown(score, score.overall, name) for name in behind),
            Share(score.overall.pairs, score.coverage),
        )
        for score in results.scores
    ]


def by_subset(results: Results) -> Table:
    """All pairs and every subset of every model, with the test that the edit changed how often it
    is right; that of all pairs is one test and needs no adjusting."""
    columns = (
        "subset", "model", "pairs", "PairAcc", "Delta", "Delta_net", "b / c", "p, Holm",
    )  # fmt: skip
    rows: list[tuple[Any, ...]] = [
        ("all", score.label, score.overall.used, *_tested(score, score.overall))
        for score in results.scores
    ]
    for name in SUBSETS:
        for score in results.scores:
            if (group := score.subsets.get(name)) is not None:
                rows.append((name, score.label, group.used, *_tested(score, group)))
    return columns, rows


def by_family(results: Results) -> Table:
    """The same by family of pictures."""
    columns = ("family", "model", "pairs", "PairAcc", "Delta", "Delta_net", "b / c", "p")
    return columns, [
        (name, score.label, score.families[name].used, *_tested(score, score.families[name]))
        for name in sorted({name for score in results.scores for name in score.families})
        for score in results.scores
        if name in score.families
    ]


def _tested(score: ModelScore, group: Group) -> tuple[Any, ...]:
    numbers = [*(shown(score, group, name) for name in ("pair_acc", "delta")), net(score, group)]
    test = group.mcnemar
    if test is None or not score.covered:
        return (*numbers, "", "n/a")
    p = test.p_value if group.p_holm is None else group.p_holm
    return (*numbers, f"{test.only_a} / {test.only_b}", p_text(p))


def p_text(p: float) -> str:
    """A p-value as people write it."""
    return "<.001" if p < 0.001 else f"{p:.3f}"


def versus(results: Results) -> Table:
    """Model against model, on the same pairs."""
    columns = ("model", "less", "pairs", "PairAcc", "Delta", "Delta_net", "only / only", "p, Holm")
    covered = {score.label for score in results.covered}
    rows = []
    for each in results.comparisons:
        if {each.a, each.b} <= covered:
            numbers = [each.differences[name] for name in ("pair_acc", "delta", "delta_net")]
            test = each.mcnemar
            p = test.p_value if each.p_holm is None else each.p_holm
            counts = f"{test.only_a} / {test.only_b}"
            rows.append((each.a, each.b, each.n, *numbers, counts, p_text(p)))
    return columns, rows


def strict_rows(results: Results) -> Table:
    """What changes if every reply that could not be read is a wrong one."""
    columns = ("model", "unparsed", "no reply", "PairAcc", "raw", "edited", "Delta_net")
    return columns, [
        (
            score.label,
            f"{score.unparsed:.1%}",
            f"{score.errors:.1%}",
            *(
                score.strict[name] if score.strict_covered else NOTHING
                for name in ("pair_acc", "acc_raw", "acc_edited", "delta_net")
            ),
        )
        for score in results.scores
    ]


def exclusions(results: Results) -> str:
    """How many pairs each gate kept out, in one line; "" where none did."""
    counts: Counter[str] = Counter()
    for (gate, code, _, _), number in results.excluded.items():
        counts[f"{gate} {code}".strip()] += number
    told = ", ".join(f"{name} {number}" for name, number in counts.most_common())
    return f"kept out by the gates, a pair under each that it failed: {told}" if told else ""


def sentences(results: Results) -> Iterator[str]:
    """What the tables cannot say."""
    if not all(score.pinned for score in results.scores):
        yield "* not pinned: what answers under this name may be another model tomorrow"
    for score in results.scores:
        if not score.covered:
            yield (
                f"no headline for {score.label}, {score.coverage:.1%} of whose "
                f"{score.overall.pairs} pairs are usable, fewer than {score.min_coverage:.0%}"
            )
    bare = [score.label for score in results.scores if "placebo" not in score.arms]
    if bare:
        yield (
            f"no Delta_net of {', '.join(bare)} since the placebo was not asked; without it a drop "
            "may be no more than a harder picture (planish vfaith run --arms placebo ...)"
        )
    blind = [score.label for score in results.scores if "perception_edited" not in score.arms]
    if blind:
        yield (
            f"no gated unfaithfulness of {', '.join(blind)} since the perception questions were "
            "not asked (--arms perception_edited)"
        )
    for score in results.covered:
        if why := score.overall.why_not("gated_unfaithfulness"):
            seen = score.overall["perception_accuracy"]
            yield f"no gated unfaithfulness of {score.label}: it {why}, {seen} where 0.5 is a coin"
    if (found := results.raters) is not None:
        bad = found.questions["bad"]
        yield (
            f"{' and '.join(found.raters)} rated {found.pairs} of its edits: bad by one of them at "
            f"least {found.bad_either}, by both {found.bad_both}; whether an edit is bad they say "
            f"alike in {bad.agreement}, kappa {bad.kappa}"
        )
    if results.verifiers:
        yield (
            f"{' and '.join(results.verifiers)} looked whether the cues are there, and are not "
            "ranked"
        )
    yield (
        "PairAcc: right on both pictures, the faithful outcome; Delta_net: how much more often it "
        "is right on the placebo than on the edited picture, 0 for one who looks"
    )
    yield (
        "unfaithful: of the pairs that it had right before the edit and whose change it sees when "
        "asked, the share that it answers wrongly all the same"
    )
    yield (
        "RR: of the pairs that were right before the edit and wrong after it, the share with the "
        "old answer; RR_base: the same of all that were right before it. Both are over other pairs "
        "for each model: compare models by PairAcc"
    )


def rated(found: Agreement) -> Table:
    """How two raters answered each question."""
    columns = ("question", "agreement", "kappa", *(f"yes, {name}" for name in found.raters))
    return columns, [
        (
            QUESTIONS.get(name, "Is the edit a bad one?"),
            each.agreement,
            each.kappa,
            *(each.yes[rater] for rater in found.raters),
        )
        for name, each in found.questions.items()
    ]


def outcomes(sheet: Sheet) -> dict[str, Counter[str]]:
    """Family -> outcome -> pairs (times repeats), see `OUTCOMES`."""
    raw, edited = sheet.arms["raw"], sheet.arms["edited"]
    g, h = sheet.gold_raw[:, None], sheet.gold_edited[:, None]
    right = raw == g
    told = np.select(
        [
            (raw < 0) | (edited < 0), right & (edited == h), right & (edited == g), right,
            edited == h,
        ],
        [5, 0, 1, 2, 3],
        default=4,
    )  # fmt: skip
    found: dict[str, Counter[str]] = {}
    asked = sheet.asked & ~sheet.item
    for family in np.unique(sheet.family[asked]):
        rows = told[asked & (sheet.family == family)].ravel()
        found[str(family)] = Counter(OUTCOMES[each] for each in rows.tolist())
    return found
