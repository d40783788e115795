"""The gate: a patch is promoted only if it has proved on paired episodes that it helps.

    gate = Gate(Config(), cells_of(["coordination_ring"], ["self"]))
    judged = gate.judge(patch, library, anchor=library)
    judged.result.accepted, judged.result.reason, judged.library

The patches of a round climb one ladder, by default 2, 8 and 24 seeds a cell; after each rung the
worse half leaves, and so does whoever has no hope; where those who stayed are refused in the end,
the best that left goes on. Whoever is left at the top is accepted if the one-sided lower bound of
its mean gain, less what its drift costs, is above 0, and no cell loses more than its budget. A
first rung of fewer than eight seeds says little: what gains nothing there, and loses less on
average than a cell may, is doubted, and may come once more, on the second. Both libraries play the
same seeds, fresh ones after each promotion: those it won on flatter a library.

Of kitchens that were drawn (`generated:KIND:SEED`) only the mean counts: they are a sample, and
none of them refuses a patch by itself. Watched cells count for no gain: what would be accepted is
played there too, and is refused where it surely loses.

One patch that changes nothing gets through in at most one of ten trials; among the many of an
evolution some will. That is what monitoring on fresh seeds is for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from planish.methods.cowork.acting.episodes import play_all
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Cell, GateResult, Patch, Stage
from planish.methods.cowork.improving.jobs import smoke_jobs
from planish.methods.cowork.improving.losing import Watcher
from planish.methods.cowork.improving.patches import Rejected, apply
from planish.methods.cowork.improving.scoring import Pairs, PlayAll, ScoreTable
from planish.methods.cowork.improving.settings import ALL_ON, Seeds, Switches, limits_of
from planish.methods.cowork.method import FEW, drift, is_hopeless, lower_bound, objective, regressed
from planish.methods.cowork.skills import Library

__all__ = ["Gate", "Judged"]

_ZERO = 1e-9


@dataclass(frozen=True)
class Judged:
    """A verdict, and the library that the patch makes, where it makes one."""

    result: GateResult
    library: Library | None = None


@dataclass
class _Candidate:
    """A patch on the ladder; `rung`: the number of the one that it climbs next."""

    patch: Patch
    fingerprint: str
    library: Library | None = None
    drift: float = 0.0
    reason: str = ""
    detail: str = ""
    steps: int = 0
    stages: list[Stage] = field(default_factory=list)
    watched: dict[str, float] = field(default_factory=dict)
    net: float = 0.0
    rung: int = 0
    pairs: Pairs = field(default_factory=Pairs)

    def leave(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail


class Gate:
    """Judges patches.

    Args:
        cells: the situations that a library is judged in; each weighs the same.
        watched: situations in which it may not lose, and that count for nothing else.
        table: scores to share with whoever else plays; a new one by default.
        play: as `acting.episodes.play_all`.

    Attributes:
        refused: fingerprint -> reason, of every patch that was rejected on its merits.
        doubted: (base, fingerprint) of those that may come once more.
        epoch: promotions until now; each epoch has seeds of its own.
    """

    def __init__(
        self,
        config: Config,
        cells: Sequence[Cell],
        *,
        watched: Sequence[Cell] = (),
        switches: Switches = ALL_ON,
        table: ScoreTable | None = None,
        play: PlayAll = play_all,
    ) -> None:
        if not cells:
            raise ValueError("a gate needs at least one cell")
        self.config, self.cells, self.switches = config, tuple(cells), switches
        self.limits = limits_of(config, switches)
        self.table = table or ScoreTable(config, play)
        self.refused: dict[str, str] = {}
        self.doubted: set[tuple[str, str]] = set()
        self.epoch = 0
        self._play, self._seeds = play, Seeds(config)
        self._watcher = Watcher(config, watched, self.table, self._seeds)

    def judge(
        self,
        patch: Patch,
        library: Library,
        *,
        anchor: Library | None = None,
        original: Library | None = None,
        round: int = 0,
        steps_left: int | None = None,
    ) -> Judged:
        """As `judge_all`, for one patch."""
        return self.judge_all(
            [patch],
            library,
            anchor=anchor,
            original=original,
            round=round,
            steps_left=steps_left,
        )[0]

    def judge_all(
        self,
        patches: Sequence[Patch],
        library: Library,
        *,
        anchor: Library | None = None,
        original: Library | None = None,
        round: int = 0,
        steps_left: int | None = None,
    ) -> list[Judged]:
        """Verdicts on patches of one library, in their order.

        Args:
            anchor: what the total drift is measured from; the library itself by default.
            original: what the owner began with, for locked nodes and watched cells; the library
                itself by default.
            steps_left: kitchen ticks that may be played; None: as many as it takes.
        """
        candidates = self._entered(patches, library, anchor or library, original)
        self._check_smoke(candidates, steps_left)
        while True:
            self._climb(candidates, library, steps_left)
            self._watch(candidates, library, original or library, steps_left)
            if not _goes_on(candidates):
                break
        return [self._closed(each, library, round) for each in candidates]

    def admit(
        self,
        patches: Sequence[Patch],
        library: Library,
        *,
        anchor: Library | None = None,
        original: Library | None = None,
        round: int = 0,
    ) -> list[Judged]:
        """Without judging: the first patch that is valid and gets through its smoke episode."""
        judged: list[Judged] = []
        for patch in patches:
            candidates = self._entered([patch], library, anchor or library, original)
            self._check_smoke(candidates, None)
            if not candidates[0].reason:
                candidates[0].leave("ungated")
            judged.append(self._closed(candidates[0], library, round))
            if judged[-1].result.accepted:
                break
        return judged

    def remember(self, result: GateResult) -> None:
        """Takes note of a verdict, such as one of before a run was interrupted."""
        if result.is_refusal and result.fingerprint:
            self.refused.setdefault(result.fingerprint, result.reason)
        elif result.reason == "doubted":
            self.doubted.add((result.base_hash, result.fingerprint))

    # ---- at the entrance

    def _entered(
        self,
        patches: Sequence[Patch],
        library: Library,
        anchor: Library,
        original: Library | None,
    ) -> list[_Candidate]:
        candidates: list[_Candidate] = []
        for patch in patches:
            candidate = _Candidate(patch, _print_of(patch))
            candidates.append(candidate)
            try:
                made = apply(patch, library, limits=self.limits, anchor=anchor, original=original)
            except Rejected as error:
                candidate.leave(error.code, error.detail)
                continue
            candidate.library, candidate.fingerprint = made, made.digest
            candidate.drift = drift(made, library)
            candidate.rung = int((library.digest, made.digest) in self.doubted)
            if any(other.fingerprint == made.digest for other in candidates[:-1]):
                candidate.leave("seen_before", "another patch of this round makes the same")
            elif made.digest in self.refused:
                candidate.leave("seen_before", f"it was {self.refused[made.digest]}")
        return candidates

    def _check_smoke(self, candidates: Sequence[_Candidate], steps_left: int | None) -> None:
        """A short episode of self-play on each layout; what fails there is not played further."""
        for candidate in [each for each in candidates if each.library and not each.reason]:
            assert candidate.library is not None
            jobs = smoke_jobs(self.config, candidate.library, self.cells)
            steps = len(jobs) * self.config.smoke_ticks
            if steps_left is not None and steps + _steps(candidates) > steps_left:
                candidate.leave("budget_spent", f"a smoke episode takes {steps} ticks")
                continue
            candidate.steps += steps
            for episode in self._play(jobs, workers=1):
                if episode.score is None:
                    why = f"{episode.cell.layout}: {episode.error}"
                    candidate.leave("smoke_failed", why)
                elif 2 * episode.deadline_misses > episode.decisions:
                    why = f"{episode.deadline_misses} of {episode.decisions} decisions were late"
                    candidate.leave("smoke_failed", f"{episode.cell.layout}: {why}")

    # ---- on the ladder

    def _climb(
        self, candidates: Sequence[_Candidate], library: Library, steps_left: int | None
    ) -> None:
        rungs = self.config.rungs
        for number, rung in enumerate(rungs):
            may_doubt = number == 0 < len(rungs) - 1 and rung < FEW
            alive = [each for each in candidates if not each.reason and each.rung <= number]
            if not alive:
                continue
            seeds = self._seeds.take("gate", self.epoch * rungs[-1], rung)
            if not self._pay(alive, library, seeds, candidates, steps_left):
                return
            is_last = number == len(rungs) - 1
            for each in alive:
                self._weigh(each, library, seeds)
                each.rung = number + 1
                reason, detail = self._verdict(each, may_doubt, is_last)
                if reason:
                    each.leave(reason, detail)
            if not is_last:
                self._halve([each for each in alive if not each.reason])

    def _pay(
        self,
        alive: Sequence[_Candidate],
        library: Library,
        seeds: Sequence[int],
        candidates: Sequence[_Candidate],
        steps_left: int | None,
    ) -> bool:
        """Plays a rung. What the base library had to play is charged to the first candidate."""
        made = [each.library for each in alive if each.library is not None]
        cost = self.table.cost([library, *made], self.cells, seeds)
        if steps_left is not None and cost + _steps(candidates) > steps_left:
            left = steps_left - _steps(candidates)
            for each in [each for each in candidates if not each.reason]:
                each.leave("budget_spent", f"the rung takes {cost} ticks, {left} are left")
            return False
        steps = self.table.fill([library, *made], self.cells, seeds)
        alive[0].steps += steps[library.digest]
        for each in alive:
            each.steps += steps[each.fingerprint]
        return True

    def _weigh(self, candidate: _Candidate, library: Library, seeds: Sequence[int]) -> None:
        assert candidate.library is not None
        pairs = self.table.pairs(library, candidate.library, self.cells, seeds)
        candidate.pairs = pairs
        if not pairs.deltas:
            return
        mean, lower = lower_bound(pairs.deltas, confidence=self.config.confidence)
        cost = self._cost(candidate, library)
        candidate.net = mean - cost
        candidate.stages.append(
            Stage(
                seeds=len(seeds),
                deltas={cell: sum(found) / len(found) for cell, found in pairs.deltas.items()},
                mean=mean,
                lower=lower - cost,
            )
        )

    def _cost(self, candidate: _Candidate, library: Library) -> float:
        """Points of mean score that the edit must bring to be worth its drift, time and size."""
        assert candidate.library is not None
        before, after = (
            objective(0, late, tokens, alpha=self.config.alpha, beta=self.config.beta)
            for late, tokens in zip(
                candidate.pairs.p95_ms, (library.tokens, candidate.library.tokens), strict=True
            )
        )
        gamma = self.config.gamma if self.switches.drift else 0.0
        return gamma * candidate.drift + before - after

    def _verdict(self, candidate: _Candidate, may_doubt: bool, is_last: bool) -> tuple[str, str]:
        """Why the candidate leaves the ladder, and in words; "": it stays."""
        pairs = candidate.pairs
        if pairs.uncovered:
            cell, why = next(iter(pairs.uncovered.items()))
            return "uncovered_cell", f"{cell}: {why}"
        stage = candidate.stages[-1]
        said = f"{stage.mean:+.2f} over {stage.seeds} seeds"
        budget = self.config.regression_budget
        if is_hopeless(pairs.deltas, harm=budget) or (is_last and stage.mean <= 0):
            if all(abs(value) < _ZERO for found in pairs.deltas.values() for value in found):
                return "noisy_tie", "no episode ended with another score"
            return "doubted" if may_doubt and -stage.mean < budget else "no_gain", said
        lost = regressed(pairs.binding, budget, surely=not is_last)
        if lost:
            why = f"{lost[0]} loses {-stage.deltas[lost[0]]:.1f}"
            return "cell_regressed", f"{why}; {said} over all"
        if not is_last:
            return "", ""
        bound = f"{said}, lower bound less costs {stage.lower:+.2f}"
        return "accepted" if stage.lower > 0 else "noisy_tie", bound

    def _halve(self, alive: list[_Candidate]) -> None:
        """The worse half leaves; of an odd number the smaller half."""
        ranked = sorted(alive, key=lambda each: -each.net)
        for each in ranked[-(-len(ranked) // 2) :]:
            each.leave("outrun", f"{each.net:+.2f} where the best has {ranked[0].net:+.2f}")

    # ---- with whom it is not judged

    def _watch(
        self,
        candidates: Sequence[_Candidate],
        library: Library,
        original: Library,
        steps_left: int | None,
    ) -> None:
        """Refuses what would be accepted and loses in a watched cell."""
        for candidate in [each for each in candidates if each.reason == "accepted"]:
            assert candidate.library is not None
            left = None if steps_left is None else steps_left - _steps(candidates)
            seen = self._watcher.look(candidate.library, library, original, steps_left=left)
            candidate.steps += seen.steps
            candidate.watched = seen.deltas
            if seen.reason:
                candidate.leave(seen.reason, f"{seen.detail}; {candidate.detail}")

    # ---- at the exit

    def _closed(self, candidate: _Candidate, library: Library, round: int) -> Judged:
        result = GateResult(
            fingerprint=candidate.fingerprint,
            base_hash=library.digest,
            patch=candidate.patch,
            accepted=candidate.reason in ("accepted", "ungated"),
            reason=candidate.reason,
            detail=candidate.detail,
            drift=candidate.drift,
            stages=tuple(candidate.stages),
            watched=candidate.watched,
            sim_steps=candidate.steps,
            round=round,
        )
        self.remember(result)
        return Judged(result, candidate.library if result.accepted else None)


def _goes_on(candidates: Sequence[_Candidate]) -> bool:
    """Whether one that was outrun by others who were all refused has the ladder to itself now."""
    behind = [each for each in candidates if each.reason == "outrun" and each.net > 0]
    if not behind or any(each.reason in ("accepted", "budget_spent") for each in candidates):
        return False
    max(behind, key=lambda each: each.net).leave("")
    return True


def _steps(candidates: Sequence[_Candidate]) -> int:
    return sum(each.steps for each in candidates)


def _print_of(patch: Patch) -> str:
    """What a patch is known by that makes no library."""
    text = json.dumps([patch.base_hash, list(patch.ops)], sort_keys=True, default=str)
    return f"ops-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"
