"""The runtime: an agent that acts from a library within milliseconds and calls no model.

    agent = Agent(load_library("full"), load_layout("cramped_room"), seat=0)
    action = agent.act(kitchen)          # once a tick

Each tick: read the kitchen, check interrupts from the root down, go on with the running operator
or decompose anew depth-first, and where nothing applies take the fallback ladder. An agent plans
alone: what its partner is about it sees, and is never told. Nothing is kept outside the agent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns

from planish.methods.cowork.acting.controllers import sidestep
from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES, THINGS
from planish.methods.cowork.acting.view import Memory, View
from planish.methods.cowork.data import TickTrace
from planish.methods.cowork.kitchen.layouts import Layout
from planish.methods.cowork.kitchen.simulator import ACTIONS, STAY, Kitchen
from planish.methods.cowork.skills import ROOT, Library, Method, Operator, read_call

__all__ = ["COOLING", "MAX_DEPTH", "MAX_NODES", "Agent"]

MAX_DEPTH = 12
"""Methods below one another in one decomposition."""

MAX_NODES = 200
"""Methods tried in one decomposition."""

COOLING = 8
"""Ticks for which a method that failed is passed over."""


@dataclass(frozen=True)
class _Test:
    """A condition, ready to run."""

    text: str
    test: Callable[..., bool]
    args: tuple[float, ...]
    expected: bool

    def __call__(self, view: View) -> bool:
        return self.test(view, *self.args) is self.expected


@dataclass(frozen=True)
class _Operator:
    node: Operator
    act: Callable[..., int | None]
    pre: tuple[_Test, ...]
    expect: tuple[_Test, ...]


@dataclass(frozen=True)
class _Method:
    node: Method
    when: tuple[_Test, ...]
    interrupts: tuple[_Test, ...]


@dataclass
class _Frame:
    """A method being carried out, and which of its subtasks is at work."""

    method: _Method
    index: int = 0

    @property
    def subtask(self) -> str:
        return self.method.node.subtasks[self.index]


@dataclass
class _Search:
    """One decomposition under way."""

    deadline: int | None
    nodes: int = 0
    late: bool = False
    rejected: list[str] = field(default_factory=list)


class Agent:
    """One cook.

    Args:
        seat: 0 or 1.
        deadline_ns: nanoseconds a decision may take; past it the fallback ladder answers. None:
            no clock is read, so that an episode depends on nothing but its seed; the bounds on
            depth and nodes hold all the same.
        trace: keep a `TickTrace` of every decision.

    Attributes:
        latencies_ns: of every decision.
        tried, succeeded: method -> times taken, times it ran to its end.
    """

    def __init__(
        self,
        library: Library,
        layout: Layout,
        seat: int,
        *,
        deadline_ns: int | None = 5_000_000,
        trace: bool = False,
    ) -> None:
        self.library, self.layout, self.seat = library, layout, seat
        self.deadline_ns, self.trace = deadline_ns, trace
        self.latencies_ns: list[int] = []
        self.deadline_misses = 0
        self.fallbacks = 0
        self.traces: list[TickTrace] = []
        self.tried: Counter[str] = Counter()
        self.succeeded: Counter[str] = Counter()
        self._values = library.values
        self._operators = {node.id: self._operator(node) for node in library.operators}
        self._methods = self._by_task()
        self._memory = Memory()
        self._stack: list[_Frame] = []
        self._running: _Operator | None = None
        self._since = 0
        self._cooling: dict[str, int] = {}
        self._last_safe = STAY

    def act(self, kitchen: Kitchen) -> int:
        """The action for this tick."""
        begun = perf_counter_ns()
        self._memory.update(kitchen, self.seat)
        view = View(kitchen, self.seat, self._memory, self._values)
        search = _Search(None if self.deadline_ns is None else begun + self.deadline_ns)
        event = self._interrupted(view)
        action: int | None = None
        if self._running is not None:
            action, ended = self._go_on(view)
            event = event or ended
        if action is None:
            action = self._decompose(view, search)
        fallback = ""
        if action is None:
            action, fallback = self._fall_back(view, search)
        else:
            self._last_safe = action
        self._memory.action = action
        took = perf_counter_ns() - begun
        self.latencies_ns.append(took)
        late = search.late or (self.deadline_ns is not None and took > self.deadline_ns)
        self.deadline_misses += late
        if self.trace:
            self._write(kitchen.tick, action, search, event, fallback, took, late)
        return action

    # ---- the running operator

    def _interrupted(self, view: View) -> str:
        for depth, frame in enumerate(self._stack):
            if any(test(view) for test in frame.method.interrupts):
                del self._stack[depth:]
                self._running = None
                return "interrupt"
        return ""

    def _go_on(self, view: View) -> tuple[int | None, str]:
        """The running operator's action; None where it has ended, with how."""
        operator = self._running
        assert operator is not None
        if operator.expect and all(test(view) for test in operator.expect):
            return self._advance(view), "done"
        if not operator.expect and self._since >= 1:
            return self._advance(view), "done"
        if self._since >= operator.node.timeout_ticks:
            self._fail(view)
            return None, "timeout"
        action = self._run(operator, view)
        if action is None:
            self._fail(view)
            return None, "failed"
        return action, ""

    def _run(self, operator: _Operator, view: View) -> int | None:
        if not all(test(view) for test in operator.pre):
            return None
        action = operator.act(view, **operator.node.args)
        if action is not None:
            self._since += 1
        return action

    def _advance(self, view: View) -> int | None:
        """Moves on to the next subtask; None where the whole plan is done."""
        self._running = None
        while self._stack:
            frame = self._stack[-1]
            frame.index += 1
            if frame.index < len(frame.method.node.subtasks):
                search = _Search(None)
                action = self._descend(frame.subtask, view, search, len(self._stack))
                if action is None:
                    self._fail(view)
                return action
            self.succeeded[frame.method.node.id] += 1
            self._stack.pop()
        return None

    def _fail(self, view: View) -> None:
        """The innermost method has failed: it cools, and what is above it plans again."""
        self._running = None
        if self._stack:
            method = self._stack[-1].method.node.id
            self._cooling[method] = view.kitchen.tick + COOLING
        self._stack.clear()

    # ---- decomposition

    def _decompose(self, view: View, search: _Search) -> int | None:
        self._stack.clear()
        self._running = None
        return self._descend(ROOT, view, search, 0)

    def _descend(self, task: str, view: View, search: _Search, depth: int) -> int | None:
        operator = self._operators.get(task)
        if operator is not None:
            self._since = 0
            if operator.expect and all(test(view) for test in operator.expect):
                return None
            action = self._run(operator, view)
            if action is not None:
                self._running = operator
            return action
        if depth >= MAX_DEPTH:
            return None
        for method in self._methods[task]:
            search.nodes += 1
            if search.nodes > MAX_NODES or self._is_late(search):
                return None
            if not self._applies(method, view, search):
                continue
            self._stack.append(_Frame(method))
            action = self._descend(method.node.subtasks[0], view, search, depth + 1)
            if action is not None:
                self.tried[method.node.id] += 1
                return action
            self._stack.pop()
            if search.late:
                return None
        return None

    def _applies(self, method: _Method, view: View, search: _Search) -> bool:
        if self._cooling.get(method.node.id, 0) > view.kitchen.tick:
            if self.trace:
                search.rejected.append(f"{method.node.id}: cooling")
            return False
        for test in method.when:
            if not test(view):
                if self.trace:
                    search.rejected.append(f"{method.node.id}: {test.text}")
                return False
            if self._is_late(search):
                return False
        return True

    def _is_late(self, search: _Search) -> bool:
        if search.deadline is not None and perf_counter_ns() > search.deadline:
            search.late = True
        return search.late

    def _fall_back(self, view: View, search: _Search) -> tuple[int, str]:
        """The last safe action where time ran out; a step aside where one is in the way; stay."""
        self.fallbacks += 1
        self._stack.clear()
        self._running = None
        if search.late:
            return self._last_safe, "last"
        if self._memory.partner_still == 0 and view.cell in view.partner_way:
            aside = sidestep(view)
            if aside is not None:
                return aside, "sidestep"
        return STAY, "stay"

    # ---- set-up and traces

    def _by_task(self) -> dict[str, list[_Method]]:
        seat = f"seat_{self.seat}"
        found: dict[str, list[_Method]] = {method.task: [] for method in self.library.methods}
        for node in sorted(self.library.methods, key=lambda node: (-node.priority, node.id)):
            if not node.roles or seat in node.roles:
                found[node.task].append(
                    _Method(node, self._tests(node.when), self._tests(node.interrupt_when))
                )
        return found

    def _operator(self, node: Operator) -> _Operator:
        return _Operator(
            node, CONTROLLERS[node.controller].act, self._tests(node.pre), self._tests(node.expect)
        )

    def _tests(self, conditions: tuple[str, ...]) -> tuple[_Test, ...]:
        tests = []
        for text in conditions:
            call = read_call(text)
            args = tuple(
                float(arg) if arg.isdigit() else THINGS[arg] if arg in THINGS else self._values[arg]
                for arg in call.args
            )
            tests.append(_Test(text, PREDICATES[call.name].test, args, not call.negated))
        return tuple(tests)

    def _write(
        self,
        tick: int,
        action: int,
        search: _Search,
        event: str,
        fallback: str,
        took: int,
        late: bool,
    ) -> None:
        self.traces.append(
            TickTrace(
                t=tick,
                seat=self.seat,
                action=ACTIONS[action],
                task_path=tuple(f"{frame.method.node.id}:{frame.subtask}" for frame in self._stack),
                operator=self._running.node.id if self._running else "",
                rejected=tuple(search.rejected),
                event="deadline" if late else event,
                fallback=fallback,
                plan_ns=took,
                deadline_missed=late,
            )
        )
