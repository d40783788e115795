"""Changes of what a returned value looks like: wrappers, separators, literals, digits, case.

list(changes(Site(source, "f", examples)))

A literal that decides a test is a condition and not format, whatever is changed in it. What is
expected on failing inputs tells which other text is worth trying.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import (
    OF_ROLE,
    Change,
    Site,
    call,
    literal,
    method,
    number,
)
from planish.methods.mistakes.repairing.source import Patch

__all__ = ["changes"]

FORMAT: tuple[Category, ...] = ("MOFE",)

_WRAPPERS = ("int", "float", "str", "list", "tuple", "set", "sorted", "bool", "round", "dict")
_METHODS = ("strip", "lower", "upper", "rstrip", "lstrip", "title", "capitalize", "split")
_SPACES = ("", " ", ",", ", ", "\n", "-", "_", "/", ":", ": ", ".", ";", "; ", " - ")
_SPECS = (".0f", ".1f", ".2f", ".3f", ".4f", "02d", "03d", "04d", ",", ".2%", ".0%", "02", "x", "b")


def changes(site: Site) -> Iterator[Change]:
    """Every change of a format."""
    for node in site.expressions():
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from _text(site, node)
        elif isinstance(node, ast.JoinedStr):
            yield from _joined(site, node)
        elif isinstance(node, ast.Call) and function_name(node) in ("join", "format"):
            yield from _without(site, node)
        elif isinstance(node, ast.BinOp) and site.roles.is_text(node):
            for part in (node.left, node.right):
                yield site.change(node, part, "part of text", FORMAT, role="format")
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp):
            yield from _container(site, node)
        elif isinstance(node, ast.List | ast.Tuple) and node.elts:
            yield from _sequence(site, node)
        if site.is_shown(node):
            yield from _wrapped(site, node)
    for statement in site.statements():
        yield from _stated(site, statement)


def _wrapped(site: Site, node: ast.expr) -> Iterator[Change]:
    """A conversion added; one that is there is undone, or swapped for another."""
    returned = isinstance(site.source.parents[node][0], ast.Return)

    def made(new: ast.expr, wide: int = 1) -> Change:
        return site.change(node, new, "wrapper", FORMAT, role="format", wide=wide)

    inner = node
    if isinstance(node, ast.Call) and function_name(node) in _WRAPPERS and node.args:
        inner = node.args[0]
    for function in _WRAPPERS:
        if inner is node or function != function_name(node):  # type: ignore[arg-type]
            yield made(call(function, node), 1)
            if inner is not node:
                yield made(call(function, inner), 0)
    for digits in (1, 2):
        yield made(call("round", node, number(digits)))
    for called in _METHODS:
        yield made(method(node, called), 1 if returned else 2)
    text = call("map", ast.Name("str", ast.Load()), node)
    for separator in ("", " ", ", ", ",", "\n", "-") if returned else ():
        yield made(method(ast.Constant(separator), "join", node))
        yield made(method(ast.Constant(separator), "join", text), 2)
    yield made(ast.List([node], ast.Load()), 1)
    yield made(ast.Tuple([node], ast.Load()), 2)
    if returned:
        yield made(ast.Subscript(node, number(0), ast.Load()))
        yield made(call("list", call("dict.fromkeys", node)), 2)
        yield made(call("len", node), 2)
    for part in _values(node):
        yield made(part, 0)


def _values(node: ast.expr) -> Iterator[ast.expr]:
    """One of the values that a tuple, a list or an f-string is made of, for all of it."""
    if isinstance(node, ast.Tuple | ast.List):
        if len(node.elts) <= 4:
            yield from node.elts
    elif isinstance(node, ast.JoinedStr):
        values = [each.value for each in node.values if isinstance(each, ast.FormattedValue)]
        yield from values
        if len(values) > 1:
            yield ast.Tuple(values, ast.Load())
            yield ast.List(values, ast.Load())


def _container(site: Site, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Iterator[Change]:
    ends = site.roles.ends(node)
    categories: tuple[Category, ...] = FORMAT if "return" in ends else ("MLA",)
    for kind in (ast.ListComp, ast.SetComp, ast.GeneratorExp):
        if not isinstance(node, kind):
            new = kind(node.elt, node.generators)
            yield site.change(node, new, "container", categories, role="format")


def _sequence(site: Site, node: ast.List | ast.Tuple) -> Iterator[Change]:
    if "return" not in site.roles.ends(node):
        return
    other = ast.Tuple if isinstance(node, ast.List) else ast.List
    new = other(node.elts, ast.Load())
    yield site.change(node, new, "container", FORMAT, role="format")


def _text(site: Site, node: ast.Constant) -> Iterator[Change]:
    parent = site.source.parents[node][0]
    if isinstance(parent, ast.JoinedStr):
        return
    value = node.value
    assert isinstance(value, str)
    role = site.roles.role(node)
    categories: tuple[Category, ...] = OF_ROLE[role]
    if role == "literal":
        categories = ("MOFE", "CE") if "return" in site.roles.ends(node) else ("MOFE",)
    for text, wide in _spelled(site, value, role == "condition").items():
        if text != value:
            yield site.change(node, ast.Constant(text), "literal", categories, role=role, wide=wide)


def _spelled(site: Site, value: str, tested: bool) -> dict[str, int]:
    """Other texts for a literal, with how far-fetched each is."""
    texts: dict[str, int] = {}
    for old, new in _differences(site):
        if old and old in value:
            texts.setdefault(value.replace(old, new), 0)
        elif not old:
            texts.setdefault(value + new, 1)
            texts.setdefault(new + value, 1)
    for text in (value.lower(), value.upper(), value.capitalize(), value.title(), value.strip()):
        texts.setdefault(text, 0)
    if value == "" or not value.strip() or len(value) <= 2:
        for text in _SPACES:
            texts.setdefault(text, 0)
    for text in (f"{value} ", f" {value}", f"{value}\n", value[1:], value[:-1]):
        texts.setdefault(text, 1)
    for text in (value.replace(" ", ""), value.replace(",", ", "), value.replace(", ", ",")):
        texts.setdefault(text, 1)
    if tested:
        letters = "aeiou"
        for text in (
            value + value.upper(),
            value.lower() + value.upper(),
            value + "y",
            value + "_",
        ):
            texts.setdefault(text, 1)
        if set(value.lower()) <= set(letters) and value:
            texts.setdefault(letters, 1)
            texts.setdefault(letters + letters.upper(), 1)
        for text in (value + " ", value.replace("y", "")):
            texts.setdefault(text, 1)
    if "%" in value or "{" in value:
        for old, new in (("%d", "%02d"), ("%s", "%02d"), ("%.1f", "%.2f"), ("%.2f", "%.1f")):
            texts.setdefault(value.replace(old, new), 1)
        for spec in _SPECS[:8]:
            texts.setdefault(value.replace("{}", f"{{:{spec}}}"), 1)
    return texts


def _differences(site: Site) -> list[tuple[str, str]]:
    """What stands in the output where something else is expected, short ones first."""
    found: dict[tuple[str, str], None] = {}
    for example in site.examples:
        for got, expected in _texts_beside(example.got, example.expected):
            begin = 0
            while begin < min(len(got), len(expected)) and got[begin] == expected[begin]:
                begin += 1
            end = 0
            room = min(len(got), len(expected)) - begin
            while end < room and got[-1 - end] == expected[-1 - end]:
                end += 1
            old, new = got[begin : len(got) - end], expected[begin : len(expected) - end]
            if len(old) <= 12 and len(new) <= 12 and old != new:
                found[old, new] = None
                for left, right in zip(old, new, strict=False):
                    if left != right and len(old) == len(new):
                        found[left, right] = None
    return sorted(found, key=lambda pair: len(pair[0]) + len(pair[1]))[:12]


def _texts_beside(got: object, expected: object) -> Iterator[tuple[str, str]]:
    if isinstance(got, str) and isinstance(expected, str):
        yield got, expected
    elif isinstance(got, list | tuple) and isinstance(expected, list | tuple):
        for left, right in zip(got, expected, strict=False):
            yield from _texts_beside(left, right)


def _joined(site: Site, node: ast.JoinedStr) -> Iterator[Change]:
    """Texts, specifications and conversions in an f-string."""
    role = site.roles.role(node)
    categories: tuple[Category, ...] = OF_ROLE[role] if role != "literal" else FORMAT

    def made(place: int, part: ast.expr | None, wide: int = 0) -> Change:
        parts = list(node.values)
        parts[place : place + 1] = [] if part is None else [part]
        new = ast.JoinedStr(parts)
        return site.change(node, new, "f-string", categories, role=role, wide=wide)

    for place, part in enumerate(node.values):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            for text, wide in _spelled(site, part.value, role == "condition").items():
                if text != part.value:
                    yield made(place, ast.Constant(text) if text else None, wide)
        elif isinstance(part, ast.FormattedValue):
            specs: list[ast.expr | None] = [ast.JoinedStr([ast.Constant(x)]) for x in _SPECS]
            for spec in [*specs, None]:
                yield made(place, ast.FormattedValue(part.value, part.conversion, spec))
            for spec in _aligned(part.format_spec):
                yield made(place, ast.FormattedValue(part.value, part.conversion, spec))
            yield made(place, None, 1)
            quoted = 114 if part.conversion == -1 else -1
            yield made(place, ast.FormattedValue(part.value, quoted, part.format_spec), 1)
    for old, new in _differences(site):
        if not old:
            for place in (0, len(node.values)):
                parts = list(node.values)
                parts.insert(place, ast.Constant(new))
                yield site.change(
                    node, ast.JoinedStr(parts), "f-string", categories, role=role, wide=1
                )


def _aligned(spec: ast.expr | None) -> Iterator[ast.expr]:
    """A specification that sets to another side."""
    if not isinstance(spec, ast.JoinedStr):
        return
    for place, part in enumerate(spec.values):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            for old in "<>^":
                for new in "<>^" if old in part.value else "":
                    if new != old:
                        turned = list(spec.values)
                        turned[place] = ast.Constant(part.value.replace(old, new))
                        yield ast.JoinedStr(turned)


def _without(site: Site, node: ast.Call) -> Iterator[Change]:
    """Parts instead of the text made of them; and a text at the end that is between them."""
    if len(node.args) != 1 or not isinstance(node.func, ast.Attribute):
        return
    argument, separator = node.args[0], node.func.value
    yield site.change(node, argument, "not joined", FORMAT, role="format")
    yield site.change(node, call("list", argument), "not joined", FORMAT, role="format")
    if isinstance(separator, ast.Constant) and separator.value:
        ended = ast.BinOp(node, ast.Add(), separator)
        begun = ast.BinOp(separator, ast.Add(), node)
        yield site.change(node, ended, "text added", FORMAT, role="format", wide=1)
        yield site.change(node, begun, "text added", FORMAT, role="format", wide=1)
        if isinstance(argument, ast.ListComp | ast.GeneratorExp):
            elements = (
                ast.BinOp(argument.elt, ast.Add(), separator),
                ast.BinOp(separator, ast.Add(), argument.elt),
            )
            for element in elements:
                parts = type(argument)(element, argument.generators)
                new = method(ast.Constant(""), "join", parts)
                yield site.change(node, new, "text added", FORMAT, role="format", wide=1)


def _stated(site: Site, statement: ast.stmt) -> Iterator[Change]:
    """Values that are printed or forgotten, where they should be returned."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        value = statement.value
        if function_name(value) == "print" and value.args:
            new = ast.Return(value.args[0])
            patch = Patch(statement, "instead", (new,))
            yield site.rewrite([patch], "returned", FORMAT, role="format", reach=True)
    elif isinstance(statement, ast.Return) and statement.value is not None:
        for old, new_text in _differences(site):
            if old:
                continue
            for longer in (
                ast.BinOp(statement.value, ast.Add(), ast.Constant(new_text)),
                ast.BinOp(ast.Constant(new_text), ast.Add(), statement.value),
            ):
                yield site.change(
                    statement.value, longer, "text added", FORMAT, role="format", wide=1
                )
        for example in site.examples:
            expected = literal(example.expected)
            if not example.got and expected is not None and not isinstance(expected, ast.List):
                either = ast.BoolOp(ast.Or(), [statement.value, expected])
                yield site.change(
                    statement.value, either, "value if empty", ("CE",), role="condition", wide=2
                )
