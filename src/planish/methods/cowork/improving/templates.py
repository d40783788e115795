"""The embedded proposer: what is known to mend what, tried in the order of the ticks it may save.

    proposer = EmbeddedProposer(seed=0)
    patches = proposer.propose(diagnosis, library, budget)

Each template knows which signals it answers, and writes a patch for a library where it has
something to add. A template is ranked by the ticks its signals lost, by how it fared before and by
how seldom it was tried (an upper confidence bound). What gained and was outrun by a better edit
comes again first, the largest gains in up to half of the places; what gained and lost a cell comes
again with each other edit that fits beside it, in up to a third of them; what the gate doubted
comes again when no other single edit is left. Then two are tried together; where those are used
up, one parameter is moved. No model is called.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planish.methods.cowork.data import Diagnosis, GateResult, Patch, Signal
from planish.methods.cowork.improving.patches import Limits
from planish.methods.cowork.improving.proposing import Budget
from planish.methods.cowork.improving.remedies import REMEDIES, Draft, Remedy, guard, move, prune
from planish.methods.cowork.skills import Library

__all__ = ["EmbeddedProposer"]

LIMITS = Limits()
"""What a patch may do by default."""

EXPLORATION = 0.35
"""Weight of the bound's second term: how much a template that was seldom tried is preferred."""

Key = tuple[str, str]
"""A template and what it was applied to."""


@dataclass(frozen=True)
class _Idea:
    """One edit that could be proposed now, and how promising it is."""

    template: str
    subject: str
    rationale: str
    draft: Draft
    weight: float
    evidence: tuple[str, ...] = ()
    halves: tuple[Key, ...] = ()

    @property
    def key(self) -> Key:
        return self.template, self.subject


class EmbeddedProposer:
    """Proposes from templates.

    Args:
        candidates: patches a round, at most.
        only_parameters: move parameters and nothing else (a baseline).
        diagnosed: False: templates in random order, whatever the diagnosis says (a baseline).
        limits: what a patch may do; an edit beyond them is not proposed.
    """

    name = "embedded"

    def __init__(
        self,
        *,
        seed: int = 0,
        candidates: int = 3,
        only_parameters: bool = False,
        diagnosed: bool = True,
        limits: Limits = LIMITS,
    ) -> None:
        self._random = random.Random(f"templates:{seed}")
        self._candidates, self._limits = candidates, limits
        self._only_parameters, self._diagnosed = only_parameters, diagnosed
        self._tried: Counter[str] = Counter()
        self._won: Counter[str] = Counter()
        self._outrun: dict[Key, float] = {}
        self._waiting: dict[tuple[str, tuple[str, ...]], Key] = {}
        # Of one library alone, by its digest.
        self._refused: set[tuple[str, Key]] = set()
        self._doubted: dict[tuple[str, Key], float] = {}
        self._half_good: dict[tuple[str, Key], float] = {}
        self._times_outrun: Counter[tuple[str, Key]] = Counter()

    def propose(self, diagnosis: Diagnosis, library: Library, budget: Budget) -> list[Patch]:
        """The most promising edits of this library that it has not been refused yet."""
        ideas = [] if self._only_parameters else self._ideas(diagnosis, library)
        fresh = [idea for idea in ideas if (library.digest, idea.key) not in self._refused]
        singles = self._doubted_last(self._outrun_first(self._ranked(fresh)), library)
        pairs = self._pairs(ideas, library)
        mending = [pair for pair in pairs if self._gain(pair, library) > 0]
        mending = mending[: self._candidates // 3]
        chosen = mending + [idea for idea in singles + pairs if idea not in mending]
        chosen = chosen[: self._candidates]
        if len(chosen) < self._candidates:
            chosen += self._moves(diagnosis, library, self._candidates - len(chosen))
        return [self._patch(idea, library) for idea in chosen]

    def learn(self, result: GateResult) -> None:
        """Counts what the gate said of an edit of its own."""
        names = result.patch.proposer.removeprefix("embedded:")
        if names == result.patch.proposer:
            return
        gain = result.stages[-1].mean if result.stages else 0.0
        key = self._waiting.get((result.base_hash, _paths(result.patch)))
        if key is not None:
            self._note(result, key, gain)
        has_gained = result.reason in ("outrun", "cell_regressed") and gain > 0
        if has_gained or ("+" in names and not result.accepted):
            return  # a better one, a cell that may be mended, or the other half: no defeat
        for name in names.split("+"):
            self._tried[name] += 1
            self._won[name] += result.accepted

    def _note(self, result: GateResult, key: Key, gain: float) -> None:
        here = result.base_hash, key
        self._outrun.pop(key, None)
        self._doubted.pop(here, None)
        if result.is_refusal or result.reason == "seen_before":
            self._refused.add(here)
        if result.reason == "cell_regressed" and gain > 0:
            self._half_good[here] = gain
        if result.reason == "doubted":
            self._doubted[here] = gain
        if result.reason == "outrun":
            self._times_outrun[here] += 1
            if gain > 0:
                self._outrun[key] = gain

    # ---- ideas

    def _ideas(self, diagnosis: Diagnosis, library: Library) -> list[_Idea]:
        lost: dict[str, list[Signal]] = {}
        for signal in diagnosis.signals:
            lost.setdefault(signal.kind, []).append(signal)
        total = sum(signal.lost_ticks for signal in diagnosis.signals) or 1.0
        ideas = []
        for remedy in REMEDIES:
            draft = remedy.write(library)
            if draft:
                ideas.append(self._idea(remedy, draft, lost, total))
        for signal in lost.get("guard", []):
            if draft := guard(library, signal.subject):
                ideas.append(_from_signal("add_guard", signal, draft, total))
        for signal in lost.get("never_succeeds", []):
            if draft := prune(library, signal.subject):
                ideas.append(_from_signal("lower_priority", signal, draft, total))
        ideas = [idea for idea in ideas if self._fits(idea.draft)]
        if not self._diagnosed:
            self._random.shuffle(ideas)
        return ideas

    def _fits(self, draft: Draft) -> bool:
        limits = self._limits
        return draft.drift <= limits.delta_round and len(draft.ops) <= limits.max_ops

    def _idea(
        self, remedy: Remedy, draft: Draft, lost: Mapping[str, Sequence[Signal]], total: float
    ) -> _Idea:
        signals = [signal for kind in remedy.mends for signal in lost.get(kind, [])]
        ticks = sum(signal.lost_ticks for signal in signals)
        evidence = tuple(where for signal in signals[:3] for where in signal.evidence_ids[:1])
        found = ", ".join(dict.fromkeys(signal.kind.replace("_", " ") for signal in signals))
        rationale = f"{remedy.why} ({found or 'no signal'}: about {ticks:.0f} ticks lost)"
        return _Idea(remedy.name, "", rationale, draft, ticks / total, evidence)

    def _ranked(self, ideas: Sequence[_Idea]) -> list[_Idea]:
        if not self._diagnosed:
            return list(ideas)
        rounds = sum(self._tried.values()) + 1

        def bound(idea: _Idea) -> float:
            tried, won = self._tried[idea.template], self._won[idea.template]
            fared = (won + 1) / (tried + 2)  # shrunk towards one half
            doubt = math.sqrt(math.log(rounds + 1) / (tried + 1))
            return idea.weight * fared + EXPLORATION * math.sqrt(idea.weight) * doubt

        return sorted(ideas, key=lambda idea: (-bound(idea), idea.key))

    def _outrun_first(self, ranked: Sequence[_Idea]) -> list[_Idea]:
        """Up to half of the places for edits that gained when they were outrun.

        Whatever was better is in use by now, or has been refused.
        """
        known = [idea for idea in ranked if idea.key in self._outrun]
        known.sort(key=lambda idea: -self._outrun[idea.key])
        first = known[: self._candidates // 2]
        return first + [idea for idea in ranked if idea not in first]

    def _doubted_last(self, ideas: Sequence[_Idea], library: Library) -> list[_Idea]:
        """What the gate doubted comes after what it has not seen, the smallest loss first."""
        return sorted(ideas, key=lambda idea: self._doubt(idea, library))

    def _doubt(self, idea: _Idea, library: Library) -> tuple[bool, float]:
        gain = self._doubted.get((library.digest, idea.key))
        return gain is not None, -(gain or 0.0)

    def _pairs(self, ideas: Sequence[_Idea], library: Library) -> list[_Idea]:
        """Two edits at once: first what gained and lost a cell, with what may mend that.

        What was outrun with a gain comes again at once, and after that when all others were tried.
        """
        pairs = []
        found = [idea for idea in ideas if idea.weight > 0 or self._gain(idea, library) > 0]
        ranked = self._ranked(found or ideas)
        for place, one in enumerate(ranked):
            for other in ranked[place + 1 :]:
                if one.draft.clashes(other.draft):
                    continue
                pair = _together(*sorted((one, other), key=lambda idea: idea.key))
                if self._fits(pair.draft) and (library.digest, pair.key) not in self._refused:
                    pairs.append(pair)
        if not self._diagnosed:
            self._random.shuffle(pairs)
            return pairs

        def turn(pair: _Idea) -> tuple[bool, tuple[bool, float], bool, int, float]:
            gain, times = self._gain(pair, library), self._times_outrun[library.digest, pair.key]
            comes_again = times == 1 and pair.key in self._outrun
            return gain <= 0, self._doubt(pair, library), not comes_again, times, -gain

        return sorted(pairs, key=turn)

    def _gain(self, idea: _Idea, library: Library) -> float:
        """The most that an edit, or half of a pair, gained and was refused since a cell lost."""
        keys = idea.halves or (idea.key,)
        return max(self._half_good.get((library.digest, key), 0.0) for key in keys)

    def _moves(self, diagnosis: Diagnosis, library: Library, count: int) -> list[_Idea]:
        """Parameters moved by one or several steps, those tried least first."""
        options = [
            _Idea(f"move_{name}", f"{value:g}", f"{name}: try {value:g}", draft, 0.0)
            for name, value, draft in move(library)
            if (library.digest, (f"move_{name}", f"{value:g}")) not in self._refused
        ]
        self._random.shuffle(options)
        options.sort(key=lambda idea: (self._doubt(idea, library)[0], self._tried[idea.template]))
        return options[:count]

    def _patch(self, idea: _Idea, library: Library) -> Patch:
        patch = Patch(
            base_hash=library.digest,
            rationale=idea.rationale[:500],
            ops=tuple(idea.draft.ops),
            evidence_ids=idea.evidence,
            proposer=f"embedded:{idea.template}",
        )
        self._waiting[library.digest, _paths(patch)] = idea.key
        return patch


def _together(first: _Idea, second: _Idea) -> _Idea:
    return _Idea(
        f"{first.template}+{second.template}",
        f"{first.subject}+{second.subject}",
        f"{first.rationale}; and {second.rationale}",
        first.draft.joined(second.draft),
        first.weight + second.weight,
        first.evidence + second.evidence,
        (first.key, second.key),
    )


def _from_signal(template: str, signal: Signal, draft: Draft, total: float) -> _Idea:
    return _Idea(
        template,
        signal.subject,
        f"{signal.subject} ({signal.count} times, about {signal.lost_ticks:.0f} ticks lost)",
        draft,
        signal.lost_ticks / total,
        signal.evidence_ids,
    )


def _paths(patch: Patch) -> tuple[str, ...]:
    return tuple(f"{op['op']} {op['path']} {op.get('value', '')}" for op in patch.ops)
