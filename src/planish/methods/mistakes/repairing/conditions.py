"""Changes of tests: comparators, negation, parts of a test dropped or added, forced branches.

list(changes(Site(source, "f")))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import Change, Site, call, name, number, parsed
from planish.methods.mistakes.repairing.source import Patch

__all__ = ["changes", "negated", "parts_in_scope"]

TEST: tuple[Category, ...] = ("CE",)

_ORDERS: tuple[type[ast.cmpop], ...] = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq, ast.NotEq)
_OTHERS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.In: (ast.NotIn, ast.Eq),
    ast.NotIn: (ast.In, ast.NotEq),
    ast.Is: (ast.IsNot, ast.Eq),
    ast.IsNot: (ast.Is, ast.NotEq),
    ast.Eq: (*_ORDERS, ast.In),
    ast.NotEq: (*_ORDERS, ast.NotIn),
}
_PREDICATES = ("isalpha", "isdigit", "isupper", "islower", "isalnum", "isspace")


def changes(site: Site) -> Iterator[Change]:
    """Every change of a test."""
    for node in site.expressions():
        if isinstance(node, ast.Compare):
            yield from _comparison(site, node)
        elif isinstance(node, ast.BoolOp):
            yield from _connected(site, node)
        elif isinstance(node, ast.IfExp):
            swapped = ast.IfExp(node.test, node.orelse, node.body)
            yield site.change(node, swapped, "swapped branches", TEST, role="condition")
            for branch in (node.body, node.orelse):
                yield site.change(node, branch, "no branch", TEST, role="condition", wide=1)
        elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
            yield from _boolean(site, node)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            yield from _filtered(site, node)
        if _is_test(site, node):
            yield from _test(site, node)
    yield from _swapped_branches(site)
    yield from _bounds(site)


def negated(test: ast.expr) -> ast.expr:
    """The opposite of a test, told as shortly as can be."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    opposites: dict[type[ast.cmpop], type[ast.cmpop]] = {
        ast.Eq: ast.NotEq,
        ast.NotEq: ast.Eq,
        ast.In: ast.NotIn,
        ast.NotIn: ast.In,
        ast.Is: ast.IsNot,
        ast.IsNot: ast.Is,
    }
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and type(test.ops[0]) in opposites:
        return ast.Compare(test.left, [opposites[type(test.ops[0])]()], test.comparators)
    return ast.UnaryOp(ast.Not(), test)


def _is_test(site: Site, node: ast.expr) -> bool:
    """A whole test, or a returned one."""
    parent, field = site.source.parents[node]
    if field in ("test", "ifs"):
        return True
    boolean = isinstance(node, ast.Compare | ast.BoolOp) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )
    if isinstance(parent, ast.GeneratorExp) and field == "elt":
        above = site.source.parents[parent][0]
        return isinstance(above, ast.Call) and function_name(above) in ("all", "any", "sum")
    return boolean and isinstance(parent, ast.Return | ast.Assign | ast.Lambda)


def _comparison(site: Site, node: ast.Compare) -> Iterator[Change]:
    by_index = any(site.roles.is_index(each) for each in (node.left, *node.comparators))
    for number_of, operator in enumerate(node.ops):
        for kind in _OTHERS.get(type(operator), _ORDERS):
            if isinstance(operator, kind):
                continue
            ops = list(node.ops)
            ops[number_of] = kind()
            new = ast.Compare(node.left, ops, node.comparators)
            strict = {type(operator), kind} in ({ast.Lt, ast.LtE}, {ast.Gt, ast.GtE})
            categories: tuple[Category, ...] = ("CE", "IOM") if by_index and strict else TEST
            yield site.change(node, new, "comparator", categories)
    if len(node.ops) > 1:
        yield site.change(
            node, ast.Compare(node.left, node.ops[:1], node.comparators[:1]), "part dropped", TEST
        )
        rest = ast.Compare(node.comparators[0], node.ops[1:], node.comparators[1:])
        yield site.change(node, rest, "part dropped", TEST)
    elif isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
        yield from _letters(site, node)
    if len(node.ops) == 1 and isinstance(node.ops[0], ast.Lt | ast.LtE | ast.Gt | ast.GtE):
        sized = ast.Compare(call("abs", node.left), node.ops, node.comparators)
        yield site.change(node, sized, "size compared", ("CE", "MFLE"), wide=1)


def _letters(site: Site, node: ast.Compare) -> Iterator[Change]:
    """Compared without regard to case; the other letters too."""
    right = node.comparators[0]
    if not (site.roles.is_text(right) or isinstance(node.left, ast.Name | ast.Subscript)):
        return
    for case in ("lower", "upper"):
        lowered = call("_", node.left)
        lowered.func = ast.Attribute(node.left, case, ast.Load())
        new = ast.Compare(lowered, node.ops, node.comparators)
        yield site.change(node, new, "case compared", TEST, wide=1)
    if isinstance(node.ops[0], ast.Eq | ast.NotEq):
        both = [
            ast.Call(ast.Attribute(each, "lower", ast.Load()), [], [])
            for each in (node.left, right)
        ]
        yield site.change(
            node, ast.Compare(both[0], node.ops, [both[1]]), "case compared", TEST, wide=1
        )


def _connected(site: Site, node: ast.BoolOp) -> Iterator[Change]:
    other = ast.And() if isinstance(node.op, ast.Or) else ast.Or()
    yield site.change(node, ast.BoolOp(other, node.values), "and or", TEST)
    for number_of in range(len(node.values)):
        rest = [each for place, each in enumerate(node.values) if place != number_of]
        new = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
        yield site.change(node, new, "part dropped", TEST)
        turned = list(node.values)
        turned[number_of] = negated(turned[number_of])
        yield site.change(node, ast.BoolOp(node.op, turned), "negation", TEST)
    for number_of, value in enumerate(node.values):
        if isinstance(value, ast.BoolOp) and type(value.op) is not type(node.op):
            # a and (b or c) for (a and b) or c, and the other way round
            rest = [each for place, each in enumerate(node.values) if place != number_of]
            at = 0 if number_of else -1
            joined = ast.BoolOp(node.op, [value.values[at], *rest])
            kept = [each for each in value.values if each is not value.values[at]]
            new = ast.BoolOp(value.op, [*kept, joined])
            yield site.change(node, new, "grouping", ("MOOV", "CE"), role="order")


def _boolean(site: Site, node: ast.Constant) -> Iterator[Change]:
    parent, field = site.source.parents[node]
    if field not in ("test", "ifs"):
        categories: tuple[Category, ...] = TEST
        if isinstance(parent, ast.keyword):
            categories = ("MLA",)
        yield site.change(node, ast.Constant(not node.value), "boolean", categories)


def _test(site: Site, node: ast.expr) -> Iterator[Change]:
    yield site.change(node, negated(node), "negation", TEST, role="condition")
    field = site.source.parents[node][1]
    if not isinstance(node, ast.Constant):
        for forced in (True, False):
            yield site.change(node, ast.Constant(forced), "forced", TEST, role="condition", wide=1)
    constant = isinstance(node, ast.Constant)
    for part in parts_in_scope(site, node):
        if constant:
            yield site.change(node, part, "test made", TEST, role="condition", wide=1)
            continue
        for op in (ast.And(), ast.Or()):
            values = [node, part]
            if isinstance(node, ast.BoolOp) and type(node.op) is type(op):
                values = [*node.values, part]
            new = ast.BoolOp(op, values)
            yield site.change(node, new, "part added", TEST, role="condition", wide=2)
        if field in ("test", "ifs"):
            yield site.change(node, part, "test made", TEST, role="condition", wide=2)


def _filtered(
    site: Site, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
) -> Iterator[Change]:
    """Things left out of a comprehension, or no longer."""
    for place, generator in enumerate(node.generators):

        def made(ifs: list[ast.expr], wide: int, operator: str, place: int = place) -> Change:
            old = node.generators[place]
            new = ast.comprehension(old.target, old.iter, ifs, old.is_async)
            every = [new if at == place else each for at, each in enumerate(node.generators)]
            if isinstance(node, ast.DictComp):
                whole: ast.expr = ast.DictComp(node.key, node.value, every)
            else:
                whole = type(node)(node.elt, every)
            return site.change(node, whole, operator, TEST, role="condition", wide=wide)

        if generator.ifs:
            yield made([], 1, "filter dropped")
        inner = node.key if isinstance(node, ast.DictComp) else node.elt
        for part in parts_in_scope(site, inner, bound_by=generator.target):
            yield made([*generator.ifs, part], 2, "filter added")


def parts_in_scope(
    site: Site, node: ast.AST, bound_by: ast.AST | None = None
) -> Iterator[ast.expr]:
    """Short tests made of names that are bound where a node stands.

    Args:
        bound_by: only those that ask of a name in this target.
    """
    known = site.names(node)
    first = set(known)
    if bound_by is not None:
        first = {each.id for each in ast.walk(bound_by) if isinstance(each, ast.Name)}
    elif isinstance(node, ast.expr):
        used = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        first = (used & first) | set(known[:2])
    made: dict[str, None] = {}
    texts = _texts(site)
    for each in known:
        if each not in first:
            continue
        made.update(dict.fromkeys(_alone(each)))
        if any(kind in texts for kind in ("str", *_PREDICATES)):
            made.update(dict.fromkeys(f"{each}.{predicate}()" for predicate in _PREDICATES))
        for other in known:
            if other != each:
                made.update(dict.fromkeys(_pair(each, other)))
    for donor in _donors(site, node, set(known)):
        made.setdefault(donor, None)
        made.setdefault(f"not ({donor})", None)
    for text in made:
        yield _part(text)


@lru_cache(2000)
def _part(text: str) -> ast.expr:
    return parsed(text)


def _alone(each: str) -> Iterator[str]:
    yield from (each, f"not {each}")
    for operator in (">", "<", "==", "!=", ">=", "<="):
        yield f"{each} {operator} 0"
    yield from (f"{each} > 1", f"{each} == 1", f"{each} is not None", f"{each} is None")
    yield from (f"{each} % 2 == 0", f"{each} % 2 == 1", f"len({each}) > 1", f"len({each}) == 1")
    yield from (f"{each} == {each}[::-1]", f"{each} != ''")


def _pair(each: str, other: str) -> Iterator[str]:
    for operator in ("<", "<=", ">", ">=", "==", "!=", "in", "not in"):
        yield f"{each} {operator} {other}"
    yield f"{each} < len({other})"
    yield f"{each} % {other} == 0"


def _texts(site: Site) -> set[str]:
    """Names of functions that are called anywhere in the code, and types that are hinted at."""
    names = {
        function_name(each) for each in ast.walk(site.source.tree) if isinstance(each, ast.Call)
    }
    arguments = [value for example in site.examples for value in example.arguments]
    if not site.examples or any(_has_text(value) for value in arguments):
        names.add("str")
    return names


def _has_text(value: object) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return any(_has_text(each) for each in value)
    if isinstance(value, dict):
        return any(_has_text(each) for pair in value.items() for each in pair)
    return isinstance(value, str)


def _donors(site: Site, node: ast.AST, known: set[str]) -> Iterator[str]:
    """Tests that stand elsewhere in the code and could be asked here too."""
    for other in site.expressions():
        if isinstance(other, ast.Compare) and other is not node:
            used = {each.id for each in ast.walk(other) if isinstance(each, ast.Name)}
            if used & known and len(text := ast.unparse(other)) < 60:
                yield text


def _swapped_branches(site: Site) -> Iterator[Change]:
    """What is done if not, instead of if; only where both are told."""
    for statement in site.statements():
        if isinstance(statement, ast.If) and statement.orelse:
            new = ast.If(statement.test, statement.orelse, statement.body)
            patch = Patch(statement, "instead", (new,))
            yield site.rewrite(
                [patch], "swapped branches", TEST, role="condition", wide=1, reach=True
            )


def _bounds(site: Site) -> Iterator[Change]:
    """Numbers and lengths that a test compares with, one off."""
    for node in site.expressions():
        if isinstance(node, ast.Call) and site.roles.is_tested(node) and len(node.args) == 1:
            for value in (1, -1):
                operator = ast.Add() if value > 0 else ast.Sub()
                new = ast.BinOp(node, operator, number(1))
                yield site.change(node, new, "threshold", TEST, role="condition", wide=1)
            argument = node.args[0]
            if isinstance(argument, ast.Name):
                for other in site.names(node):
                    if other != argument.id:
                        new_call = ast.Call(node.func, [name(other)], node.keywords)
                        yield site.change(
                            node, new_call, "other variable", TEST, role="condition", wide=1
                        )
