"""The loop: play, diagnose, propose, judge, promote, and look again.

    evolution = Evolution(library, cells, Config(), Tools(diagnose), proposers=[proposer])
    evolution.run(rounds=30)
    evolution.active, evolution.points

One round is one episode of evolution: every cell is played once or more on fresh training seeds,
what went wrong is diagnosed, patches are proposed and judged, and the best that was accepted is
promoted. Monitoring plays fresh seeds after each promotion, paired with the library of before, and
every few rounds paired with the anchor; what turns out worse is taken back, and what holds against
the anchor becomes the anchor, which total drift is measured from. Nothing but the seeds decides:
the same evolution again, or one that was cut off and goes on, makes the same decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from planish.methods.cowork.acting.episodes import Played, play_all, play_many
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell, Diagnosis, GateResult, Patch, Promotion
from planish.methods.cowork.improving.gate import Gate, Judged
from planish.methods.cowork.improving.jobs import training_jobs
from planish.methods.cowork.improving.ledger import Ledger
from planish.methods.cowork.improving.panel import Panel
from planish.methods.cowork.improving.proposing import Budget, History, Proposer
from planish.methods.cowork.improving.rounds import (
    Journal,
    Look,
    Point,
    Round,
    Standing,
    Work,
    sentence,
)
from planish.methods.cowork.improving.scoring import PlayAll, ScoreTable
from planish.methods.cowork.improving.settings import ALL_ON, Seeds, Switches
from planish.methods.cowork.improving.snapshots import NotKept, Shelf
from planish.methods.cowork.improving.watching import compared, reported
from planish.methods.cowork.skills import Library

__all__ = ["Evolution", "Tools"]

Diagnose = Callable[[Library, Sequence[Played]], Diagnosis]


@dataclass(frozen=True)
class Tools:
    """What plays and what diagnoses; tests and comparisons put others in their place.

    Args:
        play: as `acting.episodes.play_all`.
        watch: as `acting.episodes.play_many`, with traces.
        diagnose: as `improving.diagnosis.diagnose`.
    """

    diagnose: Diagnose
    play: PlayAll = play_all
    watch: Callable[..., list[Played]] = play_many


class Evolution:
    """An evolution of one library.

    Args:
        start: the library it begins with.
        cells: the situations that are trained, judged and reported in.
        proposers: asked in this order, until one has an idea.
        watched: situations in which the gate lets nothing lose, and which count for nothing else.
        budget: tokens for them; by default as the config says.
        history: shared with a proposer that reads it; kept up to date here.
        shelf: keeps every library that was in use; None: they are only in memory.
        journal: keeps every round; rounds that it has are not played again.
        tell: called with one sentence about each round, and what else is worth saying.
    """

    def __init__(
        self,
        start: Library,
        cells: Sequence[Cell],
        config: Config,
        tools: Tools,
        *,
        proposers: Sequence[Proposer],
        watched: Sequence[Cell] = (),
        switches: Switches = ALL_ON,
        budget: Budget | None = None,
        history: History | None = None,
        shelf: Shelf | None = None,
        journal: Journal | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.config, self.cells, self.switches = config, tuple(cells), switches
        self.tools = tools
        self.panel = Panel(proposers, budget or Budget(config.tokens, config.tokens_per_round))
        self.history = history or History()
        self.table = ScoreTable(config, tools.play)
        self.gate = Gate(
            config, cells, watched=watched, switches=switches, table=self.table, play=tools.play
        )
        self.points: list[Point] = []
        self._journal, self._tell = journal or Journal(), tell
        self._seeds = Seeds(config)
        self._accepted: dict[str, GateResult] = {}
        self._ledger = Ledger(start, shelf)
        self.history.original = self.history.anchor = start

    # ---- what it has come to

    @property
    def standing(self) -> Standing:
        """Where it stands, with what it has cost."""
        return self._ledger.standing

    @property
    def active(self) -> Library:
        """The library in use."""
        return self._ledger.active

    @property
    def offspring(self) -> Library:
        """The library in use, called what it has become, with how its methods fared in training."""
        return self._ledger.offspring((cell.layout for cell in self.cells), self.rounds)

    @property
    def rounds(self) -> list[Round]:
        """All that were finished."""
        return self._journal.rounds

    @property
    def results(self) -> list[GateResult]:
        """Every verdict, in order."""
        return [result for row in self.rounds for result in row.results]

    @property
    def promotions(self) -> list[Promotion]:
        """Every change of the library in use, in order."""
        return [promotion for row in self.rounds for promotion in row.promotions]

    @property
    def report_seeds(self) -> tuple[int, ...]:
        """The seeds that nothing but the report is played on."""
        return self._seeds.take("report", 0, self.config.report_episodes)

    def library(self, digest: str) -> Library:
        """A library that was in use at some time."""
        return self._ledger.library(digest)

    # ---- the loop

    def run(self, rounds: int, *, step: Callable[[], None] = lambda: None) -> None:
        """Goes on until so many rounds are finished, or a budget is spent.

        Args:
            step: called after each round.
        """
        self._go_back()
        if not self.points:
            self.points.append(self._point(0))
        for _ in self.rounds:
            step()
        while len(self.rounds) < rounds and not self.standing.stopped:
            self._round(len(self.rounds) + 1)
            step()
        if self.standing.stopped:
            self._tell(self.standing.stopped)

    def _go_back(self) -> None:
        """Takes up what the journal has, without playing any of it again."""
        if self.points or not self.rounds:
            return
        for row in self.rounds:
            self.table.restore(row.scores)
        self.table.drain()
        # Its scores came with those of the first round; nothing is played for it, or counted.
        self.points.append(self._point(0))
        for row in self.rounds:
            self.panel.catch_up(row, self.active)
            self._learn(row.results)
            for look in row.looks:
                self._heed(look)
            self._ledger.standing = row.standing
            self.points.append(row.point)
            self._remember(row.round, row.train_score, row.diagnosis, row.results)
        self.gate.epoch = self.standing.changes
        self._journal.mend()

    def _round(self, number: int) -> None:
        work = Work(number)
        cost = self.config.horizon * len(self.cells) * self.config.train_episodes
        if self._left() is not None and cost > (self._left() or 0):
            self._ledger.stop(
                f"the next round of training takes {cost} ticks, {self._left()} are left"
            )
            return
        played = self._train(work)
        work.diagnosis = self.tools.diagnose(self.active, played)
        if not self._fell(work):
            self._improve(work)
        self._monitor(work)
        self._remember(number, work.train_score, work.diagnosis, work.results)
        self._close(work)

    def _train(self, work: Work) -> list[Played]:
        per_cell = self.config.train_episodes
        seeds = self._seeds.take("train", (work.round - 1) * per_cell, per_cell)
        jobs = training_jobs(self.config, self.active, self.cells, seeds)
        spread = {"workers": self.config.workers, "backend": self.config.backend}
        played = self.tools.watch(jobs, trace=True, **spread)
        scores = [each.episode.score for each in played if each.episode.score is not None]
        work.train_score = fmean(scores) if scores else None
        work.unscored = len(played) - len(scores)
        if work.unscored:
            errors = [each.episode.error for each in played if each.episode.score is None]
            work.notes.append(f"{work.unscored} training episodes failed: {errors[0]}")
        self._ledger.spend(episodes=len(jobs), sim_steps=len(jobs) * self.config.horizon)
        return played

    def _fell(self, work: Work) -> bool:
        """The rule of one bad episode: back to the best, where this round was below it."""
        score, best = work.train_score, self.standing.best_score
        if self.switches.rollback != "one_episode" or score is None or best is None:
            return False
        if score >= best or self.standing.best == self.standing.active:
            return False
        self._change(
            work, self.library(self.standing.best), "reverted", f"{score:.1f} < {best:.1f}"
        )
        return True

    def _improve(self, work: Work) -> None:
        """Asks for patches, judges them, and promotes the best that was accepted."""
        asked = self.panel.ask(work, self.active, self._journal)
        patches = asked[: self.config.candidates]
        self._ledger.spend(tokens=self.panel.budget.spent - self.standing.tokens)
        if not patches and self.panel.is_out_of_tokens:
            self._ledger.stop("the token budget is spent")
        judged = self._judge(work.round, patches)
        work.results = [each.result for each in judged]
        self._ledger.spend(sim_steps=sum(result.sim_steps for result in work.results))
        self._journal.judged(work.round, work.results)
        self._learn(work.results)
        if any(result.reason == "budget_spent" for result in work.results):
            self._ledger.stop("the ticks that are left do not pay for the gate")
        accepted = [each for each in judged if each.library is not None]
        if accepted:
            best = max(accepted, key=lambda each: _bound(each.result))
            assert best.library is not None
            self._change(work, best.library, "promoted", best.result.detail)

    def _judge(self, number: int, patches: Sequence[Patch]) -> list[Judged]:
        base, anchor = self.active, self.library(self.standing.anchor)
        if not self.switches.gated:
            return self.gate.admit(
                patches, base, anchor=anchor, original=self._ledger.start, round=number
            )
        left = self._left()
        if left is not None and self.switches.rollback == "monitor":
            left = max(0, left - self._look_cost())  # what is promoted must be looked at
        return self.gate.judge_all(
            patches, base, anchor=anchor, original=self._ledger.start, round=number, steps_left=left
        )

    # ---- promotion and monitoring

    def _change(
        self, work: Work, library: Library, kind: Literal["promoted", "reverted"], detail: str
    ) -> bool:
        """Puts another library in use; False where it could not be kept on disk."""
        try:
            promotion = self._ledger.change(library, round=work.round, kind=kind, detail=detail)
        except NotKept as error:
            work.notes.append(f"not {kind}, the library in use stays: {error}")
            return False
        work.promotions.append(promotion)
        self._journal.changed(work.round, [promotion])
        self.gate.epoch = self.standing.changes
        return True

    def _monitor(self, work: Work) -> None:
        """Looks at what was just promoted, and every few rounds at all since the anchor."""
        is_looking = self.switches.rollback == "monitor"
        if is_looking and any(each.kind == "promoted" for each in work.promotions):
            self._look(work, self.library(self.standing.previous))
        if work.round % self.config.monitor_every == 0:
            anchor = self.library(self.standing.anchor)
            moved = anchor.digest != self.standing.active
            if moved and (not is_looking or self._look(work, anchor)):
                self._anchor(work)

    def _anchor(self, work: Work) -> None:
        """What held is what drift is measured from, from now on."""
        try:
            self._ledger.move_anchor()
        except NotKept as error:
            work.notes.append(f"the anchor stays: {error}")

    def _look(self, work: Work, other: Library) -> bool:
        """Plays fresh seeds beside an earlier library, and goes back to it where it was better."""
        count = self.config.monitor_episodes
        seeds = self._seeds.take("monitor", self.standing.looks * count, count)
        cost = self.table.cost([other, self.active], self.cells, seeds)
        left = self._left()
        if left is not None and cost > left:
            self._ledger.stop(f"monitoring takes {cost} ticks, {left} are left")
            return False
        steps = sum(self.table.fill([other, self.active], self.cells, seeds).values())
        pairs = self.table.pairs(other, self.active, self.cells, seeds)
        seen = compared(pairs, self.config, seeds=count)
        look = Look(
            round=work.round,
            library=self.standing.active,
            against=other.digest,
            mean=seen.mean,
            upper=seen.upper,
            verdict=seen.verdict,
            sim_steps=steps,
        )
        work.looks.append(look)
        self._ledger.spend(sim_steps=steps, looks=1)
        self._journal.note("look", f"{work.round}/{len(work.looks)}", look)
        if look.is_worse:
            self._heed(look)
            self._change(work, other, "reverted", look.verdict)
        return not look.is_worse

    def _heed(self, look: Look) -> None:
        """Tells the gate and the proposers of a promotion that is taken back."""
        result = self._accepted.get(look.library)
        if look.is_worse and result is not None:
            self._learn(
                [result.model_copy(update={"accepted": False, "reason": "reverted",
                                           "detail": look.verdict})]
            )  # fmt: skip

    # ---- keeping count

    def _learn(self, results: Sequence[GateResult]) -> None:
        for result in results:
            self.gate.remember(result)
            if result.accepted:
                self._accepted[result.fingerprint] = result
        self.panel.learn(results)

    def _remember(
        self,
        number: int,
        train_score: float | None,
        diagnosis: Diagnosis,
        results: Sequence[GateResult],
    ) -> None:
        """Brings the history up to date, and the best library by its training episodes."""
        best = self.standing.best_score
        if train_score is not None and (best is None or train_score > best):
            self._ledger.update(best=diagnosis.library_hash, best_score=train_score)
        self.history.anchor = self.library(self.standing.anchor)
        self.history.best = self.library(self.standing.best)
        self.history.best_score = self.standing.best_score
        row = {"round": float(number), "accepted": float(sum(each.accepted for each in results))}
        if train_score is not None:
            row["train_score"] = train_score
        self.history.metrics.append(row)

    def _close(self, work: Work) -> None:
        point = self._point(work.round)
        self.points.append(point)
        self._journal.write(work.finished(self.standing, point, self.table.drain()))
        self._tell(sentence(work, point))
        for note in work.notes:
            self._tell(f"  {note}")

    def _point(self, number: int) -> Point:
        """The library in use on the report's seeds, played once for each library."""
        seeds = self.report_seeds
        steps = self.table.fill([self.active], self.cells, seeds)
        self._ledger.spend(report_steps=sum(steps.values()))
        scores, unscored = reported(self.table, self.active, self.cells, seeds)
        return Point(
            round=number,
            library=self.standing.active,
            episodes=self.standing.episodes,
            sim_steps=self.standing.sim_steps,
            tokens=self.standing.tokens,
            scores=scores,
            unscored=unscored,
        )

    def _left(self) -> int | None:
        return self._ledger.left(self.config.max_steps)

    def _look_cost(self) -> int:
        return 2 * self.config.horizon * len(self.cells) * self.config.monitor_episodes


def _bound(result: GateResult) -> float:
    return result.stages[-1].lower if result.stages else 0.0
