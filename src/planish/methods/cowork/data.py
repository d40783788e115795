"""What the room writes down: ticks, episodes, diagnoses, patches, verdicts of the gate, promotions.

>>> TickTrace(t=0, seat=0, action="stay").fallback
''
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "OPEN",
    "Cell",
    "Diagnosis",
    "Episode",
    "GateResult",
    "Patch",
    "Promotion",
    "Signal",
    "Stage",
    "TickTrace",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cell(_Frozen):
    """One situation a library is judged in: where, with whom, from which seat.

    Args:
        partner: "self" (the same library in the other seat) or a scripted partner's name.
        seat: the library's seat, 0 or 1; 0 for self-play.
    """

    layout: str
    partner: str = "self"
    seat: int = 0

    def __str__(self) -> str:
        return f"{self.layout} with {self.partner}, seat {self.seat}"


class TickTrace(_Frozen):
    """One decision of one agent.

    Args:
        t: the tick it was made in, before the kitchen moved on.
        task_path: the stack from the root: "method:subtask" down to the running operator.
        rejected: guards that kept a method from being taken, "method: predicate", this tick only.
        event: "", "interrupt", "timeout", "failed", "done" or "deadline", as the tick began.
        fallback: "" or the rung of the ladder the action came from: "last", "sidestep", "stay".
        plan_ns: nanoseconds from reading the kitchen to the action.
    """

    t: int
    seat: int
    action: str
    task_path: tuple[str, ...] = ()
    operator: str = ""
    rejected: tuple[str, ...] = ()
    event: str = ""
    fallback: str = ""
    plan_ns: int = 0
    deadline_missed: bool = False


class Episode(_Frozen):
    """One episode, played to its horizon.

    Args:
        score: what both seats earned; None: the episode failed and was not scored.
        latency_ns: p50, p95, p99 and max of the library's decisions.
        tokens: tokens of a model called in the episode; the runtime has none to call.
        error: why it failed.
    """

    id: str
    library_hash: str
    cell: Cell
    seed: int
    old_dynamics: bool = False
    horizon: int = 400
    score: float | None = None
    soups: int = 0
    decisions: int = 0
    latency_ns: tuple[int, int, int, int] = (0, 0, 0, 0)
    deadline_misses: int = 0
    fallbacks: int = 0
    tokens: int = 0
    error: str = ""


class Signal(_Frozen):
    """One thing that went wrong, with what it cost.

    Args:
        kind: one of `improving.diagnosis.SIGNALS`.
        count: how often; lost_ticks: agent ticks it is estimated to have cost.
        subject: the method, predicate, parameter or thing it hangs on, where there is one.
        evidence_ids: "episode@tick" of a few places where it is to be seen.
    """

    kind: str
    cell: str
    count: int
    lost_ticks: float
    subject: str = ""
    evidence_ids: tuple[str, ...] = ()


class Diagnosis(_Frozen):
    """What a round of training episodes says about a library.

    Args:
        signals: by lost ticks, largest first.
        histogram: action -> share of the library's decisions.
        stagnation: (episode, tick) where at least 100 ticks without any interaction began.
        methods: method -> (times taken, times it ran to its end).
        scores: cell -> mean score of the episodes.
        windows: evidence id -> the traces of both seats two ticks before to two ticks after it.
    """

    library_hash: str
    signals: tuple[Signal, ...] = ()
    histogram: dict[str, float] = Field(default_factory=dict)
    stagnation: tuple[tuple[str, int], ...] = ()
    methods: dict[str, tuple[int, int]] = Field(default_factory=dict)
    scores: dict[str, float] = Field(default_factory=dict)
    windows: dict[str, tuple[TickTrace, ...]] = Field(default_factory=dict)


class Patch(_Frozen):
    """A bounded edit of one library.

    Args:
        base_hash: the library it was written for; any other refuses it.
        ops: RFC 6902 operations add, remove, replace, test. A path names nodes by their ids:
            "/methods/yield/priority", "/params/detour/value", "/methods/-" to add one.
        proposer: "embedded:TEMPLATE" or the model's name; tokens: what asking it cost.
    """

    base_hash: str
    rationale: str
    ops: tuple[dict[str, Any], ...]
    evidence_ids: tuple[str, ...] = ()
    proposer: str = ""
    tokens: int = 0


class Stage(_Frozen):
    """One rung of the gate's ladder: seeds tried so far and what came of them.

    Args:
        deltas: cell -> mean score after minus before, over the same seeds.
        lower: one-sided 90 % lower bound of the mean delta minus gamma times the drift.
    """

    seeds: int
    deltas: dict[str, float]
    mean: float
    lower: float


OPEN = frozenset(
    {"accepted", "ungated", "outrun", "doubted", "budget_spent", "uncovered_cell", "seen_before"}
)
"""Reasons of a `GateResult` that say nothing final against the edit: it may be tried again."""


class GateResult(_Frozen):
    """What the gate said of one patch.

    Args:
        fingerprint: of the library the patch makes, so that the same edit is known again.
        reason: a code of `improving.reasons.REASONS`; detail: the rest of the sentence.
        watched: watched cell -> mean score minus that of the library that the evolution began with.
        sim_steps: kitchen ticks that the verdict cost.
    """

    fingerprint: str
    base_hash: str
    patch: Patch
    accepted: bool
    reason: str
    detail: str = ""
    drift: float = 0.0
    stages: tuple[Stage, ...] = ()
    watched: dict[str, float] = Field(default_factory=dict)
    sim_steps: int = 0
    round: int = 0

    @property
    def is_refusal(self) -> bool:
        """Whether the edit itself was found wanting."""
        return not self.accepted and self.reason not in OPEN


class Promotion(_Frozen):
    """A change of the active library.

    Args:
        kind: "promoted" or "reverted" (monitoring on fresh seeds found it worse).
        time: ISO 8601, UTC.
    """

    kind: Literal["promoted", "reverted"]
    from_hash: str
    to_hash: str
    anchor_hash: str
    time: str
    round: int = 0
    detail: str = ""
