"""The runtime: in which order methods are tried, what breaks them off, and that decisions end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.cowork import htn
from planish.methods.cowork.acting import pace
from planish.methods.cowork.acting.episodes import Job, play
from planish.methods.cowork.acting.registry import CONTROLLERS, PREDICATES, Controller, Predicate
from planish.methods.cowork.data import Cell
from planish.methods.cowork.htn import COOLING, MAX_DEPTH, MAX_NODES, Agent
from planish.methods.cowork.kitchen.layouts import load_layout, parse_layout
from planish.methods.cowork.kitchen.simulator import ACTIONS, INTERACT, STAY, WEST, Kitchen
from planish.methods.cowork.skills import ROOT, Library, load_library, parse_library

LAYOUT = load_layout("cramped_room")
FULL, IMPAIRED = load_library("full"), load_library("impaired")
MILLISECOND = 1_000_000


@dataclass
class World:
    """What the fake predicate `fact(n)` and the fake controller `do` go by."""

    facts: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)
    cost: dict[int, int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)
    now: int = 0

    def clock(self) -> int:
        self.now += 100
        return self.now

    def fact(self, view, number: float) -> bool:
        self.asked.append(int(number))
        self.now += self.cost.get(int(number), 0)
        return int(number) in self.facts

    def do(self, view, what: int) -> int | None:
        self.now += self.cost.get(100 + what, 0)
        return None if what in self.broken else what


WORLD = World()


@pytest.fixture(autouse=True, scope="module")
def fakes():
    """A predicate that holds where the test says so, and a controller that does what it is told."""
    with pytest.MonkeyPatch.context() as patch:
        fact = Predicate("fact", 1, "", lambda view, number: WORLD.fact(view, number))
        patch.setitem(PREDICATES, "fact", fact)
        acts = Controller("do", {"what": range(6)}, "", lambda view, what: WORLD.do(view, what))
        patch.setitem(CONTROLLERS, "do", acts)
        yield


@pytest.fixture(autouse=True)
def world():
    WORLD.__init__()
    return WORLD


@pytest.fixture
def fake_clock(monkeypatch, world):
    """Time passes only where the world says what costs how much."""
    for module in (htn, pace):
        monkeypatch.setattr(module, "perf_counter_ns", world.clock)
    return world


def m(name, task, subtasks, priority=50, **rest):
    return {"id": name, "task": task, "subtasks": subtasks, "priority": priority, **rest}


def o(name, what, **rest):
    return {"id": name, "controller": "do", "args": {"what": what}, **rest}


OPERATORS = [o(f"do_{what}", what) for what in range(6)]


def document(*methods, operators=()):
    replaced = {node["id"] for node in operators}
    return {
        "format": "planish-skills-1",
        "name": "tiny",
        "operators": [*operators, *(each for each in OPERATORS if each["id"] not in replaced)],
        "methods": list(methods),
    }


def library(*methods, operators=()):
    return parse_library(document(*methods, operators=operators))


class Shift:
    """One agent in a kitchen where its partner stays."""

    def __init__(self, made, seat=0, **options):
        self.kitchen = Kitchen(LAYOUT)
        self.agent = Agent(made, LAYOUT, seat, **{"deadline_ns": None, "trace": True, **options})

    def __call__(self, *facts):
        """One tick with these facts: the action."""
        WORLD.facts = set(facts)
        action = self.agent.act(self.kitchen)
        self.kitchen.step(STAY, STAY)
        return action

    @property
    def last(self):
        return self.agent.traces[-1]


# ---- the order of methods ---------------------------------------------------------------------


@given(st.permutations(["d", "a", "c", "b"]))
def test_methods_are_tried_by_priority_then_id_however_they_are_written(order):
    made = {
        "a": m("a", ROOT, ["do_0"], 10, when=["fact(0)"]),
        "b": m("b", ROOT, ["do_1"], 30, when=["fact(1)"]),
        "c": m("c", ROOT, ["do_2"], 30, when=["fact(2)"]),
        "d": m("d", ROOT, ["do_3"], 90, when=["fact(3)"]),
    }
    for facts, action in (({0, 1, 2, 3}, 3), ({0, 1, 2}, 1), ({0, 2}, 2), ({0}, 0)):
        shift = Shift(library(*(made[name] for name in order)))
        assert shift(*facts) == action
    tried = ["d: fact(3)", "b: fact(1)", "c: fact(2)"]
    assert list(shift.last.rejected) == tried


def test_conditions_are_asked_in_order_and_no_further_than_the_first_that_fails(world):
    shift = Shift(library(m("a", ROOT, ["do_0"], when=["fact(1)", "!fact(2)", "fact(3)"])))
    shift(1, 2, 3)
    assert world.asked == [1, 2]
    assert shift.last.rejected == ("a: !fact(2)",)
    assert shift(1, 3) == 0


def test_a_method_with_a_role_is_for_that_seat_alone():
    made = library(
        m("first", ROOT, ["do_0"], 70, roles=["seat_0"]),
        m("second", ROOT, ["do_1"], 60, roles=["seat_1"]),
        m("any", ROOT, ["do_2"], 10),
    )
    assert Shift(made, 0)() == 0
    assert Shift(made, 1)() == 1
    both = library(m("both", ROOT, ["do_3"], roles=["seat_0", "seat_1"]))
    assert Shift(both, 0)() == Shift(both, 1)() == 3


def test_a_way_that_ends_nowhere_is_backed_out_of(world):
    world.broken = {1}
    made = library(
        m("deep", ROOT, ["part"], 90),
        m("broken", "part", ["do_1"], 80),
        m("barred", "part", ["do_2"], 70, when=["fact(9)"]),
        m("other", ROOT, ["do_3"], 10),
    )
    shift = Shift(made)
    assert shift() == 3
    assert shift.last.task_path == ("other:do_3",)
    assert shift.agent.tried == {"other": 1}


# ---- operators --------------------------------------------------------------------------------


def test_an_operator_without_an_end_lasts_one_tick():
    made = library(m("urgent", ROOT, ["do_1"], 90, when=["fact(1)"]), m("rest", ROOT, ["do_0"], 10))
    shift = Shift(made)
    assert [shift(), shift(1), shift(1), shift()] == [0, 1, 1, 0]
    assert [trace.event for trace in shift.agent.traces] == ["", "done", "done", "done"]
    assert shift.agent.succeeded == {"rest": 1, "urgent": 2}


def test_an_operator_goes_on_until_what_it_is_for_holds():
    until = o("go", 2, expect=["fact(5)"])
    made = library(
        m("urgent", ROOT, ["do_1"], 90, when=["fact(1)"]),
        m("going", ROOT, ["go"], 50, when=["!fact(1)"]),
        operators=[until],
    )
    shift = Shift(made)
    assert [shift(), shift(1), shift(1), shift(1, 5)] == [2, 2, 2, 1]
    assert shift.last.event == "done"
    assert shift.agent.tried == {"going": 1, "urgent": 1}
    assert shift.agent.succeeded == {"going": 1}


def test_what_holds_already_is_not_done_again():
    made = library(
        m("going", ROOT, ["go"], 50), m("rest", ROOT, ["do_0"], 10),
        operators=[o("go", 2, expect=["fact(5)"])],
    )  # fmt: skip
    shift = Shift(made)
    assert shift(5) == 0
    assert shift.agent.tried == {"rest": 1}


def test_a_timeout_cools_the_method_and_another_is_taken_in_the_same_decision():
    made = library(
        m("going", ROOT, ["go"], 50), m("rest", ROOT, ["do_0"], 10),
        operators=[o("go", 2, expect=["fact(5)"], timeout_ticks=3)],
    )  # fmt: skip
    shift = Shift(made)
    actions = [shift() for _ in range(3 + COOLING + 1)]
    assert actions == [2, 2, 2, *[0] * COOLING, 2]
    traces = shift.agent.traces
    assert traces[3].event == "timeout"
    assert traces[3].rejected == ("going: cooling",)
    assert traces[3].task_path == ("rest:do_0",)
    assert traces[3].operator == "do_0"


@pytest.mark.parametrize("how", ["precondition", "controller"])
def test_a_failure_cools_the_method_and_another_is_taken_in_the_same_decision(how, world):
    made = library(
        m("going", ROOT, ["go"], 50), m("rest", ROOT, ["do_0"], 10),
        operators=[o("go", 2, pre=["fact(4)"], expect=["fact(5)"])],
    )  # fmt: skip
    shift = Shift(made)
    assert [shift(4), shift(4)] == [2, 2]
    if how == "controller":
        world.broken = {2}
    assert shift(*([4] if how == "controller" else [])) == 0
    assert shift.last.event == "failed"
    assert shift.last.rejected == ("going: cooling",)
    world.broken = set()
    assert [shift(4) for _ in range(COOLING)] == [*[0] * (COOLING - 1), 2]


# ---- several subtasks -------------------------------------------------------------------------


def test_subtasks_are_done_in_order_and_what_is_done_already_is_skipped():
    steps = [o(f"step_{n}", n, expect=[f"fact({n})"]) for n in (1, 2, 3)]
    made = library(
        m("job", ROOT, ["step_1", "step_2", "part", "do_4"], 50, when=["!fact(9)"]),
        m("third", "part", ["step_3"]),
        m("rest", ROOT, ["do_0"], 10),
        operators=steps,
    )
    shift = Shift(made)
    assert [shift(), shift(1), shift(1, 2), shift(1, 2, 3)] == [1, 2, 3, 4]
    paths = [trace.task_path for trace in shift.agent.traces]
    assert paths == [
        ("job:step_1",),
        ("job:step_2",),
        ("job:part", "third:step_3"),
        ("job:do_4",),
    ]
    assert shift(1, 2, 3, 9) == 0
    assert shift.agent.succeeded == {"job": 1, "third": 1}
    skipping = Shift(made)
    assert [skipping(1, 2), skipping(3)] == [3, 4]
    ahead = Shift(made)
    assert [ahead(), ahead(1, 2)] == [1, 3]


def test_a_method_whose_next_subtask_cannot_be_done_cools(world):
    world.broken = {2}
    made = library(m("job", ROOT, ["do_1", "do_2"], 50), m("rest", ROOT, ["do_0"], 10))
    shift = Shift(made)
    assert [shift() for _ in range(2 + COOLING)] == [1, *[0] * COOLING, 1]
    assert shift.agent.traces[1].rejected == ("job: cooling",)
    assert shift.agent.succeeded["job"] == 0


def test_a_method_that_has_done_nothing_yet_does_not_cool_with_what_is_below_it():
    made = library(
        m("shift", ROOT, ["chore"], 50),
        m("going", "chore", ["go"], 60),
        m("asked", "chore", ["do_3"], 40, when=["fact(3)"]),
        m("rest", ROOT, ["do_0"], 10),
        operators=[o("go", 2, pre=["fact(4)"], expect=["fact(5)"])],
    )
    shift = Shift(made)
    assert [shift(4), shift(), shift(3), shift(3)] == [2, 0, 3, 3]


def test_another_way_of_a_subtask_keeps_what_the_method_has_done():
    made = library(
        m("job", ROOT, ["do_1", "part", "do_3"], 50),
        m("way_one", "part", ["go"], 60),
        m("way_two", "part", ["do_4"], 40),
        operators=[o("go", 2, pre=["fact(2)"], expect=["fact(5)"])],
    )
    shift = Shift(made)
    assert [shift(), shift(2), shift(), shift()] == [1, 2, 4, 3]
    assert shift.agent.traces[2].event == "failed"
    assert shift.agent.traces[2].task_path == ("job:part", "way_two:do_4")
    assert shift.agent.tried["job"] == 1


# ---- interrupts -------------------------------------------------------------------------------


INTERRUPTED = (
    m("job", ROOT, ["do_1", "part", "do_3"], 50, interrupt_when=["fact(8)"], when=["!fact(8)"]),
    m("walk", "part", ["go"], 60, interrupt_when=["fact(7)", "fact(6)"], when=["!fact(7)"]),
    m("other", "part", ["do_4"], 40),
    m("flee", ROOT, ["do_5"], 10),
)
GO = o("go", 2, expect=["fact(5)"])


def test_an_interrupt_ends_its_method_and_leaves_what_is_above_it():
    shift = Shift(library(*INTERRUPTED, operators=[GO]))
    assert [shift(), shift(), shift(7), shift()] == [1, 2, 4, 3]
    third = shift.agent.traces[2]
    assert third.event == "interrupt"
    assert third.task_path == ("job:part", "other:do_4")
    assert third.rejected == ("walk: !fact(7)",)
    assert shift.agent.succeeded == {"other": 1}


def test_any_of_several_conditions_interrupts_and_no_cooling_follows():
    shift = Shift(library(*INTERRUPTED, operators=[GO]))
    assert [shift(), shift(), shift(6)] == [1, 2, 2]
    assert shift.last.event == "interrupt"
    assert shift.agent.tried["walk"] == 2


def test_interrupts_are_looked_at_from_the_root_down(world):
    shift = Shift(library(*INTERRUPTED, operators=[GO]))
    assert [shift(), shift()] == [1, 2]
    world.asked.clear()
    assert shift(7, 8) == 5
    assert world.asked[0] == 8
    assert 7 not in world.asked
    assert shift.last.task_path == ("flee:do_5",)
    assert shift.last.event == "interrupt"


# ---- the fallback ladder ----------------------------------------------------------------------


def test_where_nothing_applies_the_agent_stays():
    shift = Shift(library(m("never", ROOT, ["do_1"], when=["fact(1)"])))
    assert [shift(1), shift(), shift()] == [1, STAY, STAY]
    assert [trace.fallback for trace in shift.agent.traces] == ["", "stay", "stay"]
    assert shift.last.operator == ""
    assert shift.agent.fallbacks == 2


def test_where_nothing_applies_it_steps_out_of_its_partners_way():
    layout = parse_layout("XXXXXXX\nO 1 2 P\nXDXXXSX\n", name="lane", where="lane")
    kitchen = Kitchen(layout)
    agent = Agent(
        library(m("never", ROOT, ["do_1"], when=["fact(1)"])), layout, 0, deadline_ns=None,
        trace=True,
    )  # fmt: skip
    agent.act(kitchen)
    kitchen.step(STAY, WEST)  # the partner has taken a step towards the onions
    assert kitchen.cells[1] == kitchen.cells[0] + 1
    assert agent.act(kitchen) == WEST
    assert agent.traces[-1].fallback == "sidestep"
    kitchen.step(STAY, STAY)
    assert agent.act(kitchen) == STAY  # it stands still: it is not on its way
    assert agent.traces[-1].fallback == "stay"


# ---- bounds -----------------------------------------------------------------------------------


def chained(length):
    tasks = [ROOT, *(f"t{n}" for n in range(1, length))]
    ends = [*tasks[1:], "do_1"]
    return document(
        *(m(f"m{n}", task, [end]) for n, (task, end) in enumerate(zip(tasks, ends, strict=True)))
    )


def test_a_decomposition_goes_as_deep_as_a_library_may_be():
    shift = Shift(parse_library(chained(MAX_DEPTH)))
    assert shift() == 1
    assert len(shift.last.task_path) == MAX_DEPTH
    unchecked = Library.model_validate(chained(MAX_DEPTH + 1))
    shift = Shift(unchecked)
    assert shift() == STAY
    assert shift.last.fallback == "stay"


@pytest.mark.parametrize(("width", "found"), [(5, True), (6, False)])
def test_a_decision_tries_no_more_methods_than_it_may(width, found, world):
    """width + width^2 + width^3 methods have to be tried before the one that applies."""
    tree = [
        m(f"{task}{n}", task, [below], 50, **({"when": ["fact(1)"]} if below == "do_1" else {}))
        for task, below in ((ROOT, "a"), ("a", "b"), ("b", "do_1"))
        for n in range(width)
    ]
    shift = Shift(library(*tree, m("last", ROOT, ["do_2"], 10)))
    assert shift() == (2 if found else STAY)
    assert len(world.asked) <= MAX_NODES
    assert shift.last.fallback == ("" if found else "stay")


# ---- what the agent keeps to itself -----------------------------------------------------------


def fixed(played):
    traces = [each.model_copy(update={"plan_ns": 0}) for each in played.traces]
    return played.actions, traces, played.methods


def test_the_same_job_is_the_same_episode_whatever_was_played_before():
    job = Job(Cell(layout="coordination_ring"), FULL, 3, horizon=150)
    first = play(job, trace=True)
    play(Job(Cell(layout="coordination_ring"), IMPAIRED, 3, horizon=150))
    assert fixed(play(job, trace=True)) == fixed(first)


def test_two_agents_side_by_side_do_not_influence_each_other():
    def run(*agents):
        """Each agent in a kitchen of its own, all of them in turn, a tick at a time."""
        kitchens = [Kitchen(LAYOUT) for _ in agents]
        actions = [[] for _ in agents]
        for _ in range(120):
            for agent, kitchen, done in zip(agents, kitchens, actions, strict=True):
                done.append(agent.act(kitchen))
                kitchen.step(done[-1], STAY)
        return actions

    def one(made):
        return Agent(made, LAYOUT, 0, deadline_ns=None)

    together = run(one(FULL), one(IMPAIRED), one(FULL))
    assert together == run(one(FULL)) + run(one(IMPAIRED)) + run(one(FULL))
    assert together[0] != together[1]


# ---- against an oracle ------------------------------------------------------------------------

TASKS = (ROOT, "t1", "t2", "t3")
CONDITIONS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 3)).map(lambda it: f"{'!' * it[0]}fact({it[1]})"),
    max_size=2,
)


@st.composite
def libraries(draw):
    """Small sound libraries: every task is made of operators and of later tasks."""
    operators = [
        o(f"do_{n}", n, pre=draw(CONDITIONS), expect=draw(CONDITIONS),
          timeout_ticks=draw(st.integers(1, 4)))
        for n in range(4)
    ]  # fmt: skip
    methods = []
    for place, task in enumerate(TASKS):
        parts = st.sampled_from([f"do_{n}" for n in range(4)] + list(TASKS[place + 1 :]) * 3)
        for number in range(draw(st.integers(1, 3))):
            methods.append(
                m(f"{task}_{number}", task, draw(st.lists(parts, min_size=1, max_size=3)),
                  draw(st.sampled_from([10, 50, 90])), when=draw(CONDITIONS),
                  interrupt_when=draw(st.just([]) | CONDITIONS))
            )  # fmt: skip
    reached, before = {ROOT}, set()
    while reached != before:
        before = set(reached)
        reached |= {part for each in methods if each["task"] in before for part in each["subtasks"]}
    return library(*(each for each in methods if each["task"] in reached), operators=operators)


def first_operators(made, task, facts, broken):
    """Every first operator of every way of doing the task, in the order they are to be tried."""

    def true(conditions):
        return all(
            (int(text.strip("!fact()")) in facts) != text.startswith("!") for text in conditions
        )

    operators = {node.id: node for node in made.operators}
    if task in operators:
        if true(operators[task].pre) and operators[task].args["what"] not in broken:
            yield (task,)
        return
    ways = [each for each in made.methods if each.task == task and true(each.when)]
    for way in sorted(ways, key=lambda each: (-each.priority, each.id)):
        left = [
            part
            for part in way.subtasks
            if part not in operators
            or not operators[part].expect
            or not true(operators[part].expect)
        ]
        if left and left[0] in way.subtasks:
            for path in first_operators(made, left[0], facts, broken):
                yield (f"{way.id}:{left[0]}", *path)


@settings(max_examples=200)
@given(libraries(), st.sets(st.integers(0, 3)), st.sets(st.integers(0, 3), max_size=2))
def test_the_first_operator_is_that_of_a_plain_recursive_planner(made, facts, broken):
    WORLD.broken = broken
    shift = Shift(made)
    action = shift(*facts)
    path = next(first_operators(made, ROOT, facts, broken), None)
    if path is None:
        assert (action, shift.last.fallback) == (STAY, "stay")
    else:
        assert (*shift.last.task_path, shift.last.operator) == path
        assert action == int(path[-1].removeprefix("do_"))


@settings(max_examples=60)
@given(libraries(), st.lists(st.sets(st.integers(0, 3)), min_size=20, max_size=20), st.data())
def test_whatever_happens_the_stack_is_a_plan_of_the_library(made, days, data):
    shift = Shift(made)
    methods = {node.id: node for node in made.methods}
    for facts in days:
        WORLD.broken = data.draw(st.sets(st.integers(0, 3), max_size=2))
        action = shift(*facts)
        trace = shift.last
        assert ACTIONS[action] == trace.action
        assert bool(trace.fallback) != bool(trace.operator)
        tasks = [ROOT]
        for step in trace.task_path:
            name, _, subtask = step.partition(":")
            assert methods[name].task == tasks[-1]
            assert subtask in methods[name].subtasks
            tasks.append(subtask)
        assert tasks[-1] == (trace.operator or ROOT)
    ends, starts = shift.agent.succeeded, shift.agent.tried
    assert all(ends[name] <= starts[name] for name in ends)


# ---- the deadline -----------------------------------------------------------------------------


def test_without_a_deadline_nothing_is_late(fake_clock):
    fake_clock.cost = {1: 10**12}
    shift = Shift(library(m("a", ROOT, ["do_1"], when=["fact(1)"])))
    assert shift(1) == 1
    assert shift.agent.deadline_misses == 0
    assert not shift.last.deadline_missed


def three():
    return library(
        m("slow", ROOT, ["do_1"], 90, when=["!fact(0)", "!fact(1)"]),
        m("quick", ROOT, ["do_2"], 50, when=["fact(3)"]),
        m("rest", ROOT, ["do_4"], 10),
    )


def test_what_is_slow_from_the_start_makes_no_decision_late(fake_clock):
    fake_clock.cost = {1: 20 * MILLISECOND}
    shift = Shift(three(), deadline_ns=5 * MILLISECOND)
    assert fake_clock.asked.count(1) == 2  # once could have been a pause of the machine
    assert [shift(3) for _ in range(30)] == [2] * 30
    assert fake_clock.asked.count(1) == 2
    assert shift.agent.deadline_misses == 0
    assert max(shift.agent.latencies_ns) < MILLISECOND
    assert shift.agent.passed_over == {"fact(1)": 30}
    assert shift.last.rejected == ("slow: fact(1) (no time)",)
    assert shift.last.event == "done"


def test_a_slow_operator_gives_its_place_to_another(fake_clock):
    fake_clock.cost = {101: 20 * MILLISECOND}
    shift = Shift(three(), deadline_ns=5 * MILLISECOND)
    assert [shift(3) for _ in range(9)] == [2] * 9
    assert shift.agent.deadline_misses == 0
    assert shift.last.rejected == ("slow: operator do_1 (no time)",)


def test_what_becomes_slow_is_late_twice_and_every_decision_has_an_action(fake_clock):
    shift = Shift(three(), deadline_ns=5 * MILLISECOND)
    assert [shift(3, 0), shift(3, 0)] == [2, 2]
    fake_clock.cost = {0: 20 * MILLISECOND}
    assert [shift(3) for _ in range(20)] == [2] * 20
    missed = [trace.t for trace in shift.agent.traces if trace.deadline_missed]
    assert missed == [2, 3]
    assert shift.agent.deadline_misses == 2
    late = shift.agent.traces[2]
    assert (late.event, late.fallback) == ("deadline", "last")
    assert late.plan_ns == shift.agent.latencies_ns[2]
    assert 20 * MILLISECOND <= max(shift.agent.latencies_ns) <= 25 * MILLISECOND
    assert shift.agent.fallbacks == 2


def test_one_pause_of_the_machine_makes_no_condition_a_slow_one(fake_clock):
    shift = Shift(three(), deadline_ns=5 * MILLISECOND)
    assert shift(3) == 1
    for facts, cost in (([3], 0), ([3], 50), ([3], 0), ([3], 0), ([3], 50), ([3], 0)):
        fake_clock.cost = {1: cost * MILLISECOND}
        assert shift(*facts) == 1
    assert shift.agent.deadline_misses == 2
    assert not shift.agent.passed_over


PATIENT = (
    m("job", ROOT, ["step_1", "step_2"], 60, interrupt_when=["fact(0)"]),
    m("rest", ROOT, ["do_0"], 10),
)
STEPS = (
    o("step_1", 1, pre=["!fact(4)"], expect=["fact(1)"]),
    o("step_2", 2, pre=["!fact(5)"], expect=["fact(2)"]),
)


@pytest.mark.parametrize(("costly", "what"), [
    (0, "interrupt"), (1, "expectation"), (4, "precondition"), (101, "controller"),
    (2, "the next subtask's expectation"), (5, "the next subtask's precondition"),
])  # fmt: skip
def test_the_deadline_is_looked_at_between_any_two_calls(costly, what, fake_clock):
    """A call of 3 of the 5 ms may be begun once; whatever it is, a second does not fit."""
    shift = Shift(library(*PATIENT, operators=STEPS), deadline_ns=5 * MILLISECOND)
    assert shift() == 1
    fake_clock.cost = dict.fromkeys((0, 1, 2, 4, 5, 101), 3 * MILLISECOND)
    del fake_clock.cost[costly]
    facts = [1] if costly in (2, 5) else []
    for _ in range(25):
        assert shift(*facts) in range(6)
    assert max(shift.agent.latencies_ns) <= 8 * MILLISECOND
    fake_clock.cost = {costly: 40 * MILLISECOND}
    for _ in range(25):
        assert shift(*facts) in range(6)
    assert max(shift.agent.latencies_ns) <= 45 * MILLISECOND
    misses = [each for each in shift.agent.latencies_ns[-20:] if each > 5 * MILLISECOND]
    assert not misses


def test_a_decision_that_was_cut_goes_on_where_it_was(fake_clock):
    shift = Shift(library(*PATIENT, operators=STEPS), deadline_ns=5 * MILLISECOND)
    assert [shift(), shift()] == [1, 1]
    fake_clock.cost = {0: 9 * MILLISECOND}
    assert shift(1) == 1
    assert (shift.last.fallback, shift.last.event) == ("last", "deadline")
    fake_clock.cost = {}
    assert shift(1) == 2
    assert shift.last.event == "done"
    assert shift.agent.tried == {"job": 1}
    assert [shift(1), shift(1, 2)] == [2, 0]
    assert shift.agent.succeeded == {"job": 1}


def test_a_deadline_that_is_past_at_once_leaves_the_last_action(fake_clock):
    shift = Shift(three(), deadline_ns=0)
    assert [shift(3) for _ in range(3)] == [STAY] * 3
    assert shift.agent.deadline_misses == 3


@settings(max_examples=60)
@given(libraries(), st.lists(st.sets(st.integers(0, 3)), min_size=12, max_size=12), st.data())
def test_no_decision_overruns_by_more_than_the_call_that_is_under_way(made, days, data):
    WORLD.__init__()
    milliseconds = st.sampled_from([0, 1, 3, 20]).map(lambda each: each * MILLISECOND)
    calls = st.fixed_dictionaries(dict.fromkeys((0, 1, 2, 3, 100, 101, 102, 103), milliseconds))
    with pytest.MonkeyPatch.context() as patch:
        for module in (htn, pace):
            patch.setattr(module, "perf_counter_ns", WORLD.clock)
        shift = Shift(made, deadline_ns=5 * MILLISECOND)
        for facts in days:
            WORLD.cost = data.draw(calls)
            assert shift(*facts) in range(6)
            longest = max(WORLD.cost.values())
            assert shift.agent.latencies_ns[-1] <= 5 * MILLISECOND + longest + MILLISECOND
    assert shift.agent.deadline_misses == sum(each.deadline_missed for each in shift.agent.traces)


def test_a_sleeping_predicate_holds_up_no_decision(monkeypatch):
    """By the real clock, in a real kitchen: it is called before the first tick, and no more."""
    calls = []

    def sleeping(view):
        calls.append(view.kitchen.tick)
        time.sleep(0.02)
        return True

    monkeypatch.setitem(PREDICATES, "gives_way", Predicate("gives_way", 0, "", sleeping))
    kitchen = Kitchen(load_layout("coordination_ring"))
    cooks = [Agent(FULL, kitchen.layout, seat, deadline_ns=5 * MILLISECOND) for seat in (0, 1)]
    assert calls == [0] * 4
    score = 0.0
    for _ in range(150):
        score += sum(kitchen.step(*(cook.act(kitchen) for cook in cooks)))
    assert len(calls) == 4
    assert sum(cook.passed_over["gives_way"] for cook in cooks) > 0
    latencies = sorted(took for cook in cooks for took in cook.latencies_ns)
    assert latencies[len(latencies) * 9 // 10] < 5 * MILLISECOND
    assert score > 0


def test_a_sleeping_controller_that_could_not_be_foreseen_still_yields_an_action(monkeypatch):
    calls = []

    def sleeping(view):
        if view.held:
            calls.append(view.kitchen.tick)
            time.sleep(0.02)
        return CONTROLLERS["stay"].act(view)

    monkeypatch.setitem(CONTROLLERS, "put", Controller("put", {}, "", sleeping))
    kitchen = Kitchen(LAYOUT)
    cook = Agent(FULL, LAYOUT, 0, deadline_ns=5 * MILLISECOND, trace=True)
    for _ in range(60):
        kitchen.step(cook.act(kitchen), STAY)
    assert len(calls) == 2
    late = [trace for trace in cook.traces if trace.t in calls]
    assert all(trace.deadline_missed and trace.event == "deadline" for trace in late)
    assert all(trace.operator == "put_onion" and not trace.fallback for trace in late)
    assert cook.deadline_misses >= 2
    assert cook.passed_over["operator put_onion"] > 0


def test_what_was_used_is_not_used_again_because_time_ran_out(fake_clock):
    made = library(
        m("use", ROOT, ["do_5"], 50, when=["!fact(0)"]),
        m("rest", ROOT, ["do_4"], 10),
    )
    shift = Shift(made, deadline_ns=5 * MILLISECOND)
    assert shift() == INTERACT
    fake_clock.cost = {0: 20 * MILLISECOND}
    assert shift() == STAY
    assert (shift.last.fallback, shift.last.event) == ("last", "deadline")
