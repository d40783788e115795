"""What came of a model's replies: numbers of a group of pairs, of a model, of two models.

score = score_model(sheet, config)
score.overall["pair_acc"].value, score.subsets["REA"].mcnemar.p_value
score.covered                       False: too few pairs were usable for a headline
"""

from __future__ import annotations

from planish.methods.vfaith.data import Arm
from planish.records import Record
from planish.stats import Estimate, McNemar

__all__ = [
    "AT_CHANCE",
    "GATED",
    "METRICS",
    "ArmCount",
    "Comparison",
    "Group",
    "ModelScore",
    "PairScore",
]

METRICS: dict[str, str] = {
    "pair_acc": "right on both pictures",
    "acc_raw": "right on the raw picture",
    "acc_edited": "right on the edited picture",
    "average_accuracy": "mean of the two",
    "delta": "raw less edited",
    "delta_placebo": "raw less placebo",
    "delta_net": "drop beyond the placebo's",
    "acc_placebo": "right on the placebo",
    "placebo_stability": "same answer on raw and placebo",
    "repeat_ratio": "repeats the raw answer, of edits lost (RR)",
    "rr_star": "RR beyond a guesser's (RR*)",
    "rr_base": "keeps the raw answer, of raw ones right",
    "rr_all": "gives the raw answer on the edited picture",
    "stuck": "same answer on raw and edited",
    "gated_unfaithfulness": "saw the cue and did not use it",
    "gated_both": "the same, cue seen in both pictures",
    "perception_accuracy": "sees the cue, both pictures",
    "perception_raw": "sees the cue on the raw picture",
    "perception_edited": "sees the cue on the edited picture",
    "acc_text": "words alone, edited answer",
    "acc_text_raw": "words alone, raw answer",
    "item_accuracy": "perception items, mean of both pictures",
    "item_pair_acc": "perception items, right on both pictures",
}
"""Every metric, in the order in which a page shows them."""

GATED = ("gated_unfaithfulness", "gated_both")
"""Over pairs whose cue was seen."""

COIN = 0.5  # what a yes-or-no question is worth to one who does not look
AT_CHANCE = "sees the cue at chance"


class Group(Record):
    """Numbers of some pairs of one model.

    Args:
        pairs: that were asked; used: those with a usable answer to both pictures; netted: those of
            them that have a usable placebo, too.
        metrics: by name, see `METRICS`; value None where undefined, or where a ratio's denominator
            is too small.
        mcnemar: `only_a` is b, right on the raw picture only; `only_b` is c, the reverse. A source
            with several pairs, or a pair with several repeats, counts once, by what is more.
        p_holm: adjusted over the subsets of the model; None for other groups.
    """

    pairs: int
    used: int
    netted: int = 0
    metrics: dict[str, Estimate]
    mcnemar: McNemar | None = None
    p_holm: float | None = None

    def __getitem__(self, name: str) -> Estimate:
        return self.metrics.get(name, Estimate(value=None))

    @property
    def at_chance(self) -> bool:
        """Whether it sees the cue no better than a coin, as far as its interval tells.

        What it then does not follow it has not seen, however often it said the right thing.
        """
        both, edited = self["perception_accuracy"], self["perception_edited"]
        seen = edited if both.value is None else both
        return seen.low is not None and seen.low <= COIN

    def why_not(self, name: str) -> str:
        """Why a metric that could be computed tells nothing; "" where it does."""
        return AT_CHANCE if name in GATED and self.at_chance else ""


class ArmCount(Record):
    """Replies of an arm by outcome; `missing` were never asked or never came."""

    correct: int = 0
    wrong: int = 0
    unparsed: int = 0
    error: int = 0
    missing: int = 0

    @property
    def asked(self) -> int:
        """Every reply that there should be."""
        return self.correct + self.wrong + self.unparsed + self.error + self.missing


class ModelScore(Record):
    """All numbers of a model on a bench.

    Args:
        label: what tables call it; unique.
        model, revision: as the run had them.
        repeats: replies to each call.
        pinned: the model's name stands for the same model tomorrow.
        coverage: share of the pairs that were to be asked, over their repeats, that are usable; see
            `usable.decisive`.
        min_coverage: what it must be for a headline; covered: it is.
        strict_covered: it is, with every unparsed reply counted; `strict` can be told.
        unparsed, errors: shares of all replies that there should be.
        strict: the overall metrics with every unparsed reply counted as wrong.
    """

    label: str
    model: str
    revision: str = ""
    repeats: int = 1
    pinned: bool = True
    coverage: float
    min_coverage: float
    covered: bool
    strict_covered: bool
    unparsed: float
    errors: float
    arms: dict[Arm, ArmCount]
    overall: Group
    strict: Group
    subsets: dict[str, Group]
    families: dict[str, Group]


class Comparison(Record):
    """Two models on the pairs that both answered; a difference is that of `a` less that of `b`.

    Args:
        n: pairs with usable answers to both pictures by both.
        differences: of metrics, by name.
        mcnemar: of being right on both pictures; `only_a` counts pairs that only `a` got.
        p_holm: its p-value adjusted over all comparisons of the table.
    """

    a: str
    b: str
    n: int
    differences: dict[str, Estimate]
    mcnemar: McNemar
    p_holm: float | None = None


class PairScore(Record):
    """One pair of one model, as it went into the numbers.

    Args:
        r, e, p, t: options read from the replies to raw, edited, placebo and words alone.
        seen: share of the perception questions on the edited picture that were answered rightly.
        excluded: from the paired metrics; reason: which arm, and why.
    """

    pair_id: str
    model: str
    repeat: int = 0
    r: str | None = None
    e: str | None = None
    p: str | None = None
    t: str | None = None
    seen: float | None = None
    excluded: bool = False
    reason: str = ""
