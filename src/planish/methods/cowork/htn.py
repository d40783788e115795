"""The runtime: an agent that acts from a library within milliseconds and calls no model.

    agent = Agent(load_library("full"), load_layout("cramped_room"), seat=0)
    action = agent.act(kitchen)          # once a tick

Each tick: read the kitchen, check interrupts from the root down, go on with the running operator
or with what is left of the plan, else decompose anew depth-first; where nothing applies take the
fallback ladder. An agent plans alone: what its partner is about it sees, and is never told.
Nothing is kept outside the agent.

The deadline is looked at between any two calls of predicates and controllers, so that a decision
overruns by one call at most. None is begun that by its last two calls would overrun: what there is
no time to look at does not hold. So an agent tries all calls before its first tick.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter_ns

from planish.methods.cowork.acting.controllers import sidestep
from planish.methods.cowork.acting.memory import Memory
from planish.methods.cowork.acting.pace import Pace, Rehearsed
from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES, THINGS
from planish.methods.cowork.acting.view import View
from planish.methods.cowork.checking import MAX_DEPTH
from planish.methods.cowork.data import TickTrace
from planish.methods.cowork.kitchen.layouts import Layout
from planish.methods.cowork.kitchen.simulator import ACTIONS, INTERACT, STAY, Kitchen
from planish.methods.cowork.skills import ROOT, Library, Method, Operator, read_call

__all__ = ["COOLING", "MAX_DEPTH", "MAX_NODES", "Agent"]

MAX_NODES = 200
"""Methods tried in one decision."""

COOLING = 8
"""Ticks for which a method that failed is passed over."""


@dataclass(frozen=True)
class _Test:
    """A condition, ready to run."""

    text: str
    test: Callable[..., bool]
    args: tuple[float, ...]
    expected: bool

    @cached_property
    def call(self) -> str:
        """What is called, negated or not."""
        return self.text.removeprefix("!")

    def __call__(self, view: View) -> bool:
        return self.test(view, *self.args) is self.expected


@dataclass(frozen=True)
class _Operator:
    call: str
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
    """One decision under way: when it is due, the methods tried, what kept others from it."""

    deadline: int | None
    nodes: int = 0
    late: bool = False
    rejected: list[str] = field(default_factory=list)


class Agent:
    """One cook.

    Args:
        seat: 0 or 1.
        deadline_ns: nanoseconds a decision may take; past it the fallback ladder answers. None:
            nothing hangs on a clock, so that an episode depends on nothing but its seed; the
            bounds on depth and methods hold all the same.
        trace: keep a `TickTrace` of every decision.

    Attributes:
        latencies_ns: of every decision.
        tried, succeeded: method -> times taken, times it ran to its end.
        passed_over: predicate or operator -> times that there was no time for it.
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
        self.passed_over: Counter[str] = Counter()
        self._values = library.values
        self._operators = {node.id: self._operator(node) for node in library.operators}
        self._methods = self._by_task()
        self._memory = Memory()
        self._stack: list[_Frame] = []
        self._running: _Operator | None = None
        self._since = 0
        self._cooling: dict[str, int] = {}
        self._last_safe = STAY
        self._pace = Pace()
        if deadline_ns is not None:
            self._rehearse(deadline_ns)

    def act(self, kitchen: Kitchen) -> int:
        """The action for this tick."""
        begun = perf_counter_ns()
        self._memory.update(kitchen, self.seat)
        view = View(kitchen, self.seat, self._memory, self._values)
        search = _Search(None if self.deadline_ns is None else begun + self.deadline_ns)
        event = self._interrupted(view, search)
        action: int | None = None
        if self._running is not None:
            action, ended = self._go_on(view, search)
            event = event or ended
        if action is None and self._running is None:
            action = self._resume(view, search)
        if action is None and not search.late:
            action = self._descend(ROOT, view, search, 0)
        fallback = ""
        if action is None:
            action, fallback = self._fall_back(view, search)
        else:
            # What was used may not be used again: the onion just laid down would be taken back.
            self._last_safe = STAY if action == INTERACT else action
        self._memory.action = action
        took = perf_counter_ns() - begun
        self.latencies_ns.append(took)
        late = search.late or (self.deadline_ns is not None and took > self.deadline_ns)
        self.deadline_misses += late
        if self.trace:
            self._write(kitchen.tick, action, search, event, fallback, took, late)
        return action

    # ---- the running operator

    def _interrupted(self, view: View, search: _Search) -> str:
        for depth, frame in enumerate(self._stack):
            for test in frame.method.interrupts:
                if not self._unmet((test,), frame.method.node.id, view, search):
                    del self._stack[depth:]
                    self._running = None
                    return "interrupt"
        return ""

    def _go_on(self, view: View, search: _Search) -> tuple[int | None, str]:
        """The running operator's action; None where it has ended, with how, or time is up."""
        operator = self._running
        assert operator is not None
        if self._is_done(operator, view, search) or (not operator.expect and self._since >= 1):
            self._running = None
            self._stack[-1].index += 1
            return None, "done"
        if self._since >= operator.node.timeout_ticks:
            self._fail(view)
            return None, "timeout"
        action = self._run(operator, view, search)
        if action is None and not search.late:
            self._fail(view)
            return None, "failed"
        return action, ""

    def _is_done(self, operator: _Operator, view: View, search: _Search) -> bool:
        """Whether what the operator is for holds already."""
        expect = operator.expect
        return bool(expect) and not self._unmet(expect, operator.node.id, view, search)

    def _run(self, operator: _Operator, view: View, search: _Search) -> int | None:
        node = operator.node
        if self._unmet(operator.pre, node.id, view, search):
            return None
        if not self._has_time(operator.call, self._stack[-1].method.node.id, search):
            return None
        action = self._pace.timed(operator.call, operator.act, view, **node.args)
        if action is not None:
            self._since += 1
        return action

    def _fail(self, view: View) -> None:
        """The innermost method has failed and cools; what is above it looks for another."""
        self._running = None
        method = self._stack.pop().method.node.id
        self._cooling[method] = view.kitchen.tick + COOLING

    # ---- decomposition

    def _resume(self, view: View, search: _Search) -> int | None:
        """The next action of the plan that is left; None where nothing is left of it.

        A method whose subtask cannot be done gives its place to another way of its task; one
        that had done a part by then has failed, and cools.
        """
        while self._stack:
            frame = self._stack[-1]
            if not self._skip_done(frame, view, search):
                self.succeeded[frame.method.node.id] += 1
                self._stack.pop()
                if self._stack:
                    self._stack[-1].index += 1
                continue
            action = self._descend(frame.subtask, view, search, len(self._stack))
            if action is not None or search.late:
                return action
            if frame.index > 0:
                self._fail(view)
            else:
                self._stack.pop()
        return None

    def _skip_done(self, frame: _Frame, view: View, search: _Search) -> bool:
        """Moves past the operators whose end is reached already; whether a subtask is left."""
        subtasks = frame.method.node.subtasks
        while frame.index < len(subtasks):
            operator = self._operators.get(subtasks[frame.index])
            if operator is None or not self._is_done(operator, view, search):
                return True
            frame.index += 1
        return False

    def _descend(self, task: str, view: View, search: _Search, depth: int) -> int | None:
        """The first action of a way of doing the task, by priority, then id; None: there is none.

        The stack and the running operator are set to that way.
        """
        operator = self._operators.get(task)
        if operator is not None:
            self._since = 0
            action = self._run(operator, view, search)
            if action is not None:
                self._running = operator
            return action
        if depth >= MAX_DEPTH:
            return None
        for method in self._methods[task]:
            search.nodes += 1
            if search.nodes > MAX_NODES or search.late:
                return None
            if not self._applies(method, view, search):
                continue
            frame = _Frame(method)
            self._stack.append(frame)
            if self._skip_done(frame, view, search):
                action = self._descend(frame.subtask, view, search, depth + 1)
                if action is not None:
                    self.tried[method.node.id] += 1
                    return action
            self._stack.pop()
        return None

    def _applies(self, method: _Method, view: View, search: _Search) -> bool:
        name = method.node.id
        cooling = self._cooling.get(name, 0) > view.kitchen.tick
        unmet = "cooling" if cooling else self._unmet(method.when, name, view, search)
        if unmet and self.trace and not search.late:
            search.rejected.append(f"{name}: {unmet}")
        return not unmet

    def _unmet(self, tests: tuple[_Test, ...], owner: str, view: View, search: _Search) -> str:
        """The first condition that does not hold, or that there is no time for; "": all hold."""
        for test in tests:
            if search.deadline is None:
                held = test(view)
            elif self._has_time(test.call, owner, search):
                found = self._pace.timed(test.call, test.test, view, *test.args)
                held = found is test.expected
            else:
                return f"{test.call} (no time)"
            if not held:
                return test.text
        return ""

    def _has_time(self, call: str, owner: str, search: _Search) -> bool:
        """Whether the call may be begun. Past the deadline nothing may."""
        if search.deadline is None:
            return True
        left = search.deadline - perf_counter_ns()
        if left <= 0:
            search.late = True
            return False
        if self._pace.of(call) <= left:
            return True
        self.passed_over[call] += 1
        if self.trace:
            search.rejected.append(f"{owner}: {call} (no time)")
        return False

    def _fall_back(self, view: View, search: _Search) -> tuple[int, str]:
        """Where time ran out the last step or turn; else a step aside where one is in the way."""
        self.fallbacks += 1
        if search.late:
            return self._last_safe, "last"
        if self._memory.partner_still == 0 and view.cell in view.partner_way:
            aside = sidestep(view)
            if aside is not None:
                return aside, "sidestep"
        return STAY, "stay"

    # ---- set-up and traces

    def _rehearse(self, deadline_ns: int) -> None:
        operators = list(self._operators.values())
        tests = [test for each in operators for test in each.pre + each.expect]
        for methods in self._methods.values():
            tests += [test for each in methods for test in each.when + each.interrupts]
        calls: dict[str, Rehearsed] = {test.call: (test.test, test.args, {}) for test in tests}
        calls |= {each.call: (each.act, (), each.node.args) for each in operators}
        self._pace.rehearse(calls, self.layout, self.seat, self._values, deadline_ns)

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
        act = CONTROLLERS[node.controller].act
        call = f"operator {node.id}"
        return _Operator(call, node, act, self._tests(node.pre), self._tests(node.expect))

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
                rejected=tuple(dict.fromkeys(search.rejected)),
                event="deadline" if late else event,
                fallback=fallback,
                plan_ns=took,
                deadline_missed=late,
            )
        )
