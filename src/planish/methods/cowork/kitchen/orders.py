"""What soups earn and how long they cook, as the common layout format says it.

The precedence of its keys is that of PyPI `overcooked` 0.2.1: one number for all, else a list by
order, else a price by onion, else 20. What that package refuses is refused here too.

    recipes_of({"start_all_orders": [{"ingredients": ["onion"] * 3}]}, {}, "mine.layout")
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from typing import Any

from planish.errors import BadInput
from planish.methods.cowork.kitchen.floor import ONIONS, Recipe

__all__ = ["recipes_of"]

VALUES = ("delivery_reward", "recipe_values", "onion_value")
TICKS = ("cook_time", "recipe_times", "onion_time")
"""The three ways to say it, the first that is there wins; two of a kind contradict each other."""

KNOWN = (
    *("grid", "start_all_orders", "start_bonus_orders", "order_bonus", "rew_shaping_params"),
    *(*VALUES, "tomato_value", *TICKS, "tomato_time"),
)
FIXED: Mapping[str, tuple[object, str]] = {
    "start_state": (None, "remove it: play starts with bare hands and empty pots"),
    "num_items_for_soup": (ONIONS, "remove it: a pot holds three onions"),
    "max_num_ingredients": (ONIONS, "remove it: a pot holds three onions"),
    "old_dynamics": (False, "remove it: the dynamics are chosen where the kitchen is played"),
}
"""Keys that the package reads and this kitchen does not: only the value that changes nothing."""


def recipes_of(
    settings: Mapping[str, Any], places: Mapping[str, str], where: str
) -> tuple[Recipe, Recipe, Recipe, Recipe]:
    """The recipes by number of onions, index 0 unused.

    Args:
        settings: the layout's keys; unknown ones are let by, unless they look like a slip.
        places: key -> file, line and column of its value.
        where: the file, for keys without a place.

    Raises:
        BadInput: orders of other things, contradictions, values that are no numbers.
    """

    def place(key: str) -> str:
        return places.get(key, where)

    _refuse_slips(settings, place)
    orders = _orders(settings, "start_all_orders", place)
    bonus = _orders(settings, "start_bonus_orders", place)
    # An empty list means every soup there is, as in the package.
    ordered = orders or list(range(1, ONIONS + 1))
    if not set(bonus) <= set(ordered):
        raise BadInput(
            "a bonus order that nobody ordered",
            where=place("start_bonus_orders"),
            fix="list it under start_all_orders too",
        )
    factor = _number(settings.get("order_bonus", 2), place("order_bonus"))
    found = [Recipe(0, 20)]
    for onions in range(1, ONIONS + 1):
        value = _of_recipe(settings, VALUES, orders, onions, place)
        ticks = _of_recipe(settings, TICKS, orders, onions, place)
        if ticks < 1 or ticks != int(ticks):
            said = next((key for key in TICKS if settings.get(key)), "cook_time")
            raise BadInput(
                f"a cooking time of {ticks:g}", where=place(said), fix="give whole ticks from 1 on"
            )
        value *= factor if onions in bonus else 1
        found.append(Recipe(value if onions in ordered else 0, int(ticks)))
    if not any(recipe.value for recipe in found):
        raise BadInput("no order earns anything", where=where, fix="give an order a value")
    return found[0], found[1], found[2], found[3]


def _refuse_slips(settings: Mapping[str, Any], place: Callable[[str], str]) -> None:
    """Keys that this kitchen cannot obey, contradict each other, or are misspelt."""
    for key, value in settings.items():
        if key in FIXED:
            allowed, fix = FIXED[key]
            if value is not None and value != allowed:
                raise BadInput(f"{key} = {str(value)[:60]}", where=place(key), fix=fix)
        elif key not in KNOWN:
            near = difflib.get_close_matches(str(key), KNOWN, n=1, cutoff=0.85)
            if near:
                raise BadInput(
                    f"unknown key {key!r}", where=place(str(key)), fix=f"did you mean {near[0]!r}?"
                )
    for keys in (VALUES, TICKS):
        there = [key for key in keys if key in settings]
        if len(there) > 1:
            raise BadInput(
                f"{there[0]} beside {there[1]}", where=place(there[1]), fix="keep one of them"
            )
    for kind in ("value", "time"):
        alone = {f"onion_{kind}", f"tomato_{kind}"} & set(settings)
        if len(alone) == 1:
            raise BadInput(
                f"{min(alone)} alone", where=place(min(alone)), fix="give onion and tomato both"
            )


def _orders(settings: Mapping[str, Any], key: str, place: Callable[[str], str]) -> list[int]:
    """Onions by order."""
    orders = settings.get(key) or []
    counts = []
    for order in orders if isinstance(orders, list | tuple) else [None]:
        ingredients = order.get("ingredients") if isinstance(order, dict) else None
        if (
            not isinstance(ingredients, list | tuple)
            or not 1 <= len(ingredients) <= ONIONS
            or any(name != "onion" for name in ingredients)
        ):
            raise BadInput(
                "orders that are not soups of one to three onions",
                where=place(key),
                fix="this kitchen cooks onions only; take a layout whose orders hold onions only",
            )
        counts.append(len(ingredients))
    if len(set(counts)) < len(counts):
        raise BadInput("the same order twice", where=place(key), fix="list every order once")
    return counts


def _of_recipe(
    settings: Mapping[str, Any],
    keys: tuple[str, str, str],
    orders: list[int],
    onions: int,
    place: Callable[[str], str],
) -> float:
    """The number for that soup, by the format's precedence."""
    flat, by_order, by_onion = keys
    if settings.get(flat):
        return _number(settings[flat], place(flat))
    if by_order in settings:
        numbers = settings[by_order]
        if not isinstance(numbers, list | tuple) or not 0 < len(orders) == len(numbers):
            raise BadInput(
                f"{by_order} that are not one number for each of {len(orders)} orders",
                where=place(by_order),
                fix="list as many numbers as orders",
            )
        if onions in orders:
            return _number(numbers[orders.index(onions)], place(by_order))
    tomato = by_onion.replace("onion", "tomato")
    if settings.get(by_onion) and settings.get(tomato):
        return _number(settings[by_onion], place(by_onion)) * onions
    return 20


def _number(value: object, where: str) -> float:
    """The value, unless it is no number from 0 on."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not math.isfinite(value)
        or not 0 <= value <= 1e9
    ):
        raise BadInput(
            f"{str(value)[:60]} where a number is due", where=where, fix="give one from 0 to 1e9"
        )
    return value
