"""What an evolution writes down, round by round, so that it can be read and gone on with.

    journal = Journal(run)
    journal.write(round)
    journal.rounds          those that were finished before, oldest first

A round counts once its own row is there, the last of all it writes. What a round that was cut off
had written already is written once more when it is done again, and is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from planish.methods.cowork.data import Diagnosis, GateResult, Promotion
from planish.methods.cowork.improving.scoring import ScoreRow

if TYPE_CHECKING:
    from planish.runs import Run

__all__ = ["OVERALL", "Journal", "Look", "Point", "Round", "Standing", "Work", "fared", "sentence"]

OVERALL = "all cells"
"""The key of the score over all cells."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Look(_Frozen):
    """Monitoring: the library in use beside an earlier one, on fresh seeds.

    Args:
        against: the library of before the promotion, or the anchor.
        mean: score of the library in use minus that of the other; upper: its upper bound.
        verdict: "holds", or "worse" and why.
    """

    round: int
    library: str
    against: str
    mean: float | None
    upper: float | None
    verdict: str
    sim_steps: int

    @property
    def is_worse(self) -> bool:
        """Whether the promotion is to be taken back."""
        return self.verdict != "holds"


class Point(_Frozen):
    """The library in use on the report's seeds.

    Args:
        episodes, sim_steps, tokens: spent until then; episodes of the report are not among them.
        scores: cell -> (mean, low, high), and `OVERALL`.
        unscored: episodes of the report that failed.
    """

    round: int
    library: str
    episodes: int
    sim_steps: int
    tokens: int
    scores: dict[str, tuple[float, float, float]]
    unscored: int = 0


class Standing(_Frozen):
    """Where an evolution stands.

    Args:
        active, previous, anchor, best: libraries; previous: of before the last promotion; best: by
            the training episodes of one round, as far as one can trust them.
        changes: of the library in use, either way.
        looks: of monitoring until now.
        episodes: of training; sim_steps: kitchen ticks of training, gate and monitoring.
        report_steps: kitchen ticks that only the report played.
        stopped: why it ended before its last round.
    """

    active: str
    previous: str
    anchor: str
    best: str
    best_score: float | None = None
    changes: int = 0
    looks: int = 0
    episodes: int = 0
    sim_steps: int = 0
    report_steps: int = 0
    tokens: int = 0
    stopped: str = ""


class Round(_Frozen):
    """One round: what was seen, judged and decided, and where that leaves the evolution.

    Args:
        train_score: mean of the training episodes; unscored: those of them that failed.
        asked: calls of a model, one number for each proposer that was asked, in their order.
    """

    round: int
    train_score: float | None
    unscored: int = 0
    diagnosis: Diagnosis
    asked: tuple[int, ...] = ()
    results: tuple[GateResult, ...] = ()
    looks: tuple[Look, ...] = ()
    promotions: tuple[Promotion, ...] = ()
    notes: tuple[str, ...] = ()
    standing: Standing
    point: Point
    scores: tuple[ScoreRow, ...] = Field(default=(), repr=False)


@dataclass
class Work:
    """What a round under way has brought until now."""

    round: int
    train_score: float | None = None
    unscored: int = 0
    diagnosis: Diagnosis | None = None
    asked: list[int] = field(default_factory=list)
    results: list[GateResult] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def finished(self, standing: Standing, point: Point, scores: Iterable[ScoreRow]) -> Round:
        """The round as it is written down."""
        assert self.diagnosis is not None
        return Round(
            round=self.round,
            train_score=self.train_score,
            unscored=self.unscored,
            diagnosis=self.diagnosis,
            asked=tuple(self.asked),
            results=tuple(self.results),
            looks=tuple(self.looks),
            promotions=tuple(self.promotions),
            notes=tuple(self.notes),
            standing=standing,
            point=point,
            scores=tuple(scores),
        )


class Journal:
    """Rounds in a run's records, or in memory alone.

    Args:
        run: None keeps nothing on disk.

    Attributes:
        rounds: finished before, oldest first.
    """

    def __init__(self, run: Run | None = None) -> None:
        self._run = run
        self.rounds: list[Round] = []
        self._logged: set[int] = set()
        if run is not None:
            self.rounds = list(run.records("round", Round))
            self._logged = {int(row["step"]) for row in run.metrics()}

    def note(self, kind: str, id: str, record: BaseModel) -> None:
        """Writes something down while a round is under way, once."""
        if self._run is not None and not self._run.done(id, kind):
            self._run.record(kind, record, id=id)

    def judged(self, round: int, results: Sequence[GateResult]) -> None:
        """Writes verdicts down as soon as they are there."""
        for number, result in enumerate(results):
            self.note("gate", f"{round}/{number}", result)

    def changed(self, round: int, promotions: Iterable[Promotion]) -> None:
        """Writes down what is in use from now on."""
        for promotion in promotions:
            self.note("promotion", f"{round}/{promotion.kind}/{promotion.to_hash}", promotion)

    def write(self, row: Round) -> None:
        """Finishes a round, and adds its point to the run's metrics."""
        self.rounds.append(row)
        self.note("round", str(row.round), row)
        self._log(row)

    def mend(self) -> None:
        """Adds to the metrics what a crash between a round's row and its point left out."""
        for row in self.rounds:
            self._log(row)

    def _log(self, row: Round) -> None:
        if self._run is None or row.round in self._logged:
            return
        self._logged.add(row.round)
        mean, low, high = row.point.scores.get(OVERALL, (None, None, None))
        self._run.log(
            row.round,
            score=mean,
            low=low,
            high=high,
            train_score=row.train_score,
            episodes=row.point.episodes,
            sim_steps=row.point.sim_steps,
            tokens=row.point.tokens,
            accepted=sum(result.accepted for result in row.results),
            judged=len(row.results),
        )


def fared(rounds: Iterable[Round], digest: str) -> dict[str, tuple[int, int]]:
    """Method -> (times taken, times it ran to its end) while that library was trained."""
    tried, succeeded = Counter[str](), Counter[str]()
    for row in rounds:
        if row.diagnosis.library_hash == digest:
            for name, (taken, ended) in row.diagnosis.methods.items():
                tried[name] += taken
                succeeded[name] += ended
    return {name: (count, succeeded[name]) for name, count in tried.items()}


def sentence(work: Work, point: Point) -> str:
    """A round in one line."""
    done = [f"{promotion.kind} {promotion.to_hash[:8]}" for promotion in work.promotions]
    reasons = ", ".join(result.reason for result in work.results) or "no patch proposed"
    trained = "n/a" if work.train_score is None else f"{work.train_score:.1f}"
    score = point.scores.get(OVERALL)
    now = "" if score is None else f"; report {score[0]:.1f}"
    what = f" -> {', then '.join(done)}" if done else ""
    return f"round {work.round}: trained {trained}; {reasons}{what}{now}"
