"""What is known to mend what: each remedy writes its edit of a library, where it has one.

    REMEDIES[0].write(library)          a `Draft`, or None where the library has it already

A remedy only names operators, predicates and controllers that exist; it adds no code. They are
small, so that the gate can tell what helped. Which of them a library needs it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from planish.methods.cowork.improving.drafts import Draft, Writer
from planish.methods.cowork.method import REMOVED
from planish.methods.cowork.skills import ROOT, Library, Method, Parameter

__all__ = ["REMEDIES", "Draft", "Remedy", "guard", "move", "prune"]


@dataclass(frozen=True)
class Remedy:
    """One thing that is known to help.

    Args:
        mends: the signals it answers.
        why: half a sentence for people.
    """

    name: str
    mends: tuple[str, ...]
    why: str
    edit: Callable[[Writer], None]

    def write(self, library: Library) -> Draft | None:
        """The edit of this library; None where there is nothing to add."""
        writer = Writer(library)
        self.edit(writer)
        return writer.draft if writer.draft.ops else None


REMEDIES: list[Remedy] = []


def _remedy(*mends: str) -> Callable[[Callable[[Writer], None]], Callable[[Writer], None]]:
    def register(edit: Callable[[Writer], None]) -> Callable[[Writer], None]:
        name = edit.__name__.strip("_")
        REMEDIES.append(Remedy(name, mends, " ".join((edit.__doc__ or "").split()), edit))
        return edit

    return register


# ---- two cooks in each other's way


@_remedy("mutual_block", "blocked")
def _give_way(to: Writer) -> None:
    """Of two who block each other the one with less in hand steps aside."""
    to.parameter("yield_after", 2, 1, 10, 1)
    to.operator("step_aside", "step_aside")
    to.method("give_way", ["blocked_for(yield_after)", "gives_way"], "step_aside", 98)
    to.condition(_root(to.library), "interrupt_when", "blocked_for(yield_after)")


@_remedy("mutual_block", "blocked")
def _walk_around(to: Writer) -> None:
    """A cook walks around the other where that is not much longer."""
    to.value("detour", 12)


@_remedy("blocked", "mutual_block")
def _make_room(to: Writer) -> None:
    """A cook with nothing to do leaves the way of the other."""
    to.operator("step_aside", "step_aside")
    to.method("make_room", ["in_the_way", "partner_within(2)"], "step_aside", 30)


@_remedy("blocked", "mutual_block")
def _let_through(to: Writer) -> None:
    """A cook with nothing to do steps aside when its partner stands still before it."""
    to.operator("step_aside", "step_aside")
    when = ["in_the_way", "partner_within(1)", "partner_still_for(2)"]
    to.method("let_through", when, "step_aside", 31)


@_remedy("blocked", "mutual_block")
def _make_way(to: Writer) -> None:
    """A cook with nothing to do leaves a place where its partner keeps coming up against it."""
    to.operator("step_aside", "step_aside")
    to.method("make_way", ["pushed_for(2)"], "step_aside", 32)


@_remedy("blocked", "mutual_block")
def _give_in(to: Writer) -> None:
    """To a partner that does not give way a cook does, whatever it holds."""
    if to.library.method("give_way") is None:
        return  # what a cook holds decides first: two that both gave in would meet again
    to.parameter("give_in_after", 5, 2, 20, 1)
    to.operator("step_aside", "step_aside")
    to.method("give_in", ["blocked_for(give_in_after)"], "step_aside", 99)
    to.condition(_root(to.library), "interrupt_when", "blocked_for(give_in_after)")


@_remedy("mutual_block", "blocked")
def _yield_sooner(to: Writer) -> None:
    """Give way after one blocked tick."""
    to.value("yield_after", 1)


# ---- things in the wrong hands


@_remedy("out_of_reach")
def _pass_on(to: Writer) -> None:
    """What the partner can bring on sooner is laid on a counter that both reach."""
    to.parameter("hand_over_gain", 4, 1, 12, 1)
    to.parameter("patience", 30, 0, 120, 10)
    to.operator(
        "lay_down",
        "hand_over",
        pre=["!holding(nothing)"],
        expect=["holding(nothing)"],
    )
    to.method("pass_on", ["!holding(nothing)", "hand_over_saves(hand_over_gain)"], "lay_down", 91)


@_remedy("out_of_reach", "idle")
def _pick_up_soup(to: Writer) -> None:
    """A soup that lies on a counter is taken to the window."""
    to.operator("take_soup", "take", **_take("soup"))
    to.method("fetch_soup", ["holding(nothing)", "wanted(soup)", "can_get(soup)"], "take_soup", 78)


@_remedy("out_of_reach", "ready_without_dish", "useless_hold")
def _supply_dishes(to: Writer) -> None:
    """Who cannot reach a pot lays a dish ready for the other."""
    to.parameter("stock_dishes", 1, 0, 3, 1)
    to.operator("take_dish", "take", **_take("dish"))
    when = ["holding(nothing)", "!can_cook", "!stocked(dish, stock_dishes)", "can_get(dish)"]
    to.method("supply_dish", [*when, "room_to_lay(1)"], "take_dish", 77)


@_remedy("out_of_reach", "idle")
def _supply_onions(to: Writer) -> None:
    """Who cannot reach a pot lays onions ready, and keeps a counter free for a dish."""
    to.parameter("stock_onions", 2, 0, 6, 1)
    to.operator("take_onion", "take", **_take("onion"))
    when = ["holding(nothing)", "!can_cook", "!stocked(onion, stock_onions)", "can_get(onion)"]
    to.method("supply_onion", [*when, "room_to_lay(2)"], "take_onion", 76)


@_remedy("out_of_reach", "useless_hold")
def _only_cooks_fetch(to: Writer) -> None:
    """Who cannot reach a pot fetches only what is laid ready for the other."""
    for thing in ("onion", "dish"):
        to.condition(_fetching(to.library, thing), "when", "can_cook")


@_remedy("idle", "blocked")
def _await_onions(to: Writer) -> None:
    """Who would be handed onions waits for them where they will be laid."""
    if to.library.method("await_onions") is not None:
        return
    # Not `patience`: with a partner that hands nothing over, all of the first wait is lost.
    to.parameter("supply_wait", 10, 0, 120, 10)
    to.operator("await_onion", "await", args={"thing": "onion"})
    when = ["holding(nothing)", "wanted(onion)", "partner_supplies(onion)"]
    to.method("await_onions", [*when, "trusts_supply(supply_wait)"], "await_onion", 71)


@_remedy("useless_hold")
def _drop(to: Writer) -> None:
    """What has been of no use for longer than a soup cooks is put down."""
    # Sooner would put down what waits for a pot, and fetch it again.
    to.parameter("drop_after", 24, 1, 60, 3)
    to.operator("set_down", "set_down", **_HANDS_FREE)
    to.method("drop", ["!holding(nothing)", "!has_use", "stuck_for(drop_after)"], "set_down", 40)


@_remedy("ready_without_dish", "useless_hold")
def _free_hands_for_a_dish(to: Writer) -> None:
    """An onion that no pot takes is put down for a dish that a soup needs."""
    to.operator("set_down", "set_down", **_HANDS_FREE)
    when = ["holding(onion)", "!has_use", "wanted(dish)", "closer(dish)", "can_get(dish)"]
    to.method("free_hands", when, "set_down", 45)


@_remedy("useless_hold", "idle")
def _free_hands_for_an_onion(to: Writer) -> None:
    """A dish that no soup needs is put down for an onion that a pot lacks."""
    to.operator("set_down", "set_down", **_HANDS_FREE)
    when = ["holding(dish)", "!has_use", "wanted(onion)", "closer(onion)", "can_get(onion)"]
    to.method("free_for_onions", when, "set_down", 46)


# ---- who does what, and when


@_remedy("ready_without_dish", "idle")
def _dish_ahead(to: Writer) -> None:
    """A dish is fetched while the soup still cooks, or before it is started."""
    to.value("dishes_ahead", 30)


@_remedy("useless_hold", "mutual_block", "blocked")
def _dish_later(to: Writer) -> None:
    """A dish is fetched only when the soup is nearly done."""
    to.value("dishes_ahead", 10)


@_remedy("ready_without_dish")
def _dish_before_onion(to: Writer) -> None:
    """A dish that a soup needs goes before another onion."""
    onion = _fetching(to.library, "onion")
    if onion is not None and onion.priority < 95:
        to.priority(_fetching(to.library, "dish"), onion.priority + 4)


@_remedy("not_started")
def _start_first(to: Writer) -> None:
    """A full pot is started before anything else."""
    to.priority(_doing(to.library, "start"), 96)


@_remedy("same_target", "useless_hold", "idle")
def _trust_the_partner(to: Writer) -> None:
    """What the partner carries counts as on its way."""
    to.value("claim_ttl", 20)


@_remedy("same_target", "useless_hold")
def _nearer_fetches_the_dish(to: Writer) -> None:
    """Of two free cooks the nearer fetches the dish."""
    to.condition(_fetching(to.library, "dish"), "when", "nearer(dish)")


@_remedy("same_target", "blocked", "mutual_block")
def _nearer_starts(to: Writer) -> None:
    """Of two free cooks the nearer starts the pot."""
    to.condition(_doing(to.library, "start"), "when", "starts_nearer")


@_remedy("idle", "same_target", "useless_hold")
def _each_its_part(to: Writer) -> None:
    """Each cook brings what its own ways are short for."""
    for thing in ("onion", "dish"):
        to.condition(_fetching(to.library, thing), "when", f"suited({thing})")


@_remedy("idle")
def _onion_ahead(to: Writer) -> None:
    """An onion is fetched while the pot is still in use."""
    to.value("onions_ahead", 15)


@_remedy("idle", "ready_without_dish")
def _plan_ahead(to: Writer) -> None:
    """Onions are fetched ahead, dishes go before them, and what stays of no use is put down."""
    if "onions_ahead" not in to.library.values:
        return
    _onion_ahead(to)
    # An onion in hand is in the way when a soup is done: alone, each of these gains nothing.
    _dish_before_onion(to)
    _drop(to)


@_remedy("useless_hold", "same_target", "blocked")
def _break_off(to: Writer) -> None:
    """A cook turns back when what it was fetching is wanted no more."""
    for thing in ("onion", "dish"):
        to.condition(_fetching(to.library, thing), "interrupt_when", f"!wanted({thing})")


@_remedy("blocked", "useless_hold", "mutual_block")
def _wait_near(to: Writer) -> None:
    """Who holds something of no use yet waits beside the pot."""
    to.operator("stand_by", "stand_by")
    to.method("wait_near", ["!holding(nothing)"], "stand_by", 20)


# ---- edits that a signal's subject names


def guard(library: Library, subject: str) -> Draft | None:
    """Adds the predicate of a guard signal, "method if condition", to the method."""
    name, _, condition = subject.partition(" if ")
    writer = Writer(library)
    writer.condition(library.method(name), "when", condition)
    return writer.draft if writer.draft.ops else None


def prune(library: Library, name: str) -> Draft | None:
    """Lowers the priority of a method that never ends well; one at the bottom is removed."""
    method = library.method(name)
    if method is None or method.locked or method.task == ROOT or not method.when:
        return None
    writer = Writer(library)
    if method.priority > 5:
        writer.priority(method, max(1.0, round(method.priority / 2)))
    else:
        op = {"op": "remove", "path": f"/methods/{name}"}
        writer.draft.add(op, REMOVED, f"methods/{name}")
    return writer.draft


def move(library: Library) -> Iterator[tuple[str, float, Draft]]:
    """(parameter, value, edit) of one and of several steps up and down, inside the bounds."""
    for node in library.params:
        if node.locked:
            continue
        for steps in (1, -1, 3, -3):
            value = min(max(node.value + steps * node.step, node.min), node.max)
            if value != node.value and not _reaches(node, value, steps):
                writer = Writer(library)
                writer.value(node.id, value)
                yield node.id, value, writer.draft


_HANDS_FREE = {"pre": ["!holding(nothing)"], "expect": ["holding(nothing)"]}


def _take(thing: str) -> dict[str, Any]:
    return {
        "args": {"thing": thing},
        "pre": ["holding(nothing)"],
        "expect": [f"holding({thing})"],
    }


def _reaches(node: Parameter, value: float, steps: int) -> bool:
    """Whether a long move ends where the short one already does, at a bound."""
    return abs(steps) > 1 and abs(value - node.value) <= node.step


def _root(library: Library) -> Method | None:
    """The first method of the root task: what it is interrupted by breaks off everything.

    Giving way itself is not to be broken off by what it answers.
    """
    ours = ("give_way", "give_in")
    roots = [each for each in library.methods if each.task == ROOT and each.id not in ours]
    return max(roots, key=lambda method: (method.priority, method.id), default=None)


def _doing(library: Library, controller: str, thing: str = "") -> Method | None:
    """The method of highest priority that begins with such an operator."""
    operators = {
        node.id
        for node in library.operators
        if node.controller == controller and (not thing or node.args.get("thing") == thing)
    }
    found = [method for method in library.methods if method.subtasks[0] in operators]
    return max(found, key=lambda method: (method.priority, method.id), default=None)


def _fetching(library: Library, thing: str) -> Method | None:
    """The method that fetches such a thing where it is wanted."""
    found = [
        method
        for method in library.methods
        if f"wanted({thing})" in method.when and _doing_of(library, method) == ("take", thing)
    ]
    return max(found, key=lambda method: (method.priority, method.id), default=None)


def _doing_of(library: Library, method: Method) -> tuple[str, str]:
    for node in library.operators:
        if node.id == method.subtasks[0]:
            return node.controller, str(node.args.get("thing", ""))
    return "", ""
