"""Changes of calls: another method of the family, other arguments, results of in-place methods.

list(changes(Site(source, "f")))
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.data import Category
from planish.methods.mistakes.repairing.families import BUILT_IN, functions_like, methods_like
from planish.methods.mistakes.repairing.roles import function_name
from planish.methods.mistakes.repairing.site import (
    Change,
    Site,
    call,
    method,
    name,
    number,
    parsed,
)

__all__ = ["CASES", "USE", "changes"]

USE: tuple[Category, ...] = ("MLA",)

CASES = frozenset(
    {
        "upper",
        "lower",
        "title",
        "capitalize",
        "swapcase",
        "casefold",
        "ljust",
        "rjust",
        "center",
        "zfill",
    }
)
_FILLED = ("ljust", "rjust", "center", "zfill")
_KEYED = ("sorted", "sort", "max", "min", "groupby")
_KEYS = (
    "len",
    "abs",
    "str",
    "str.lower",
    "int",
    "lambda item: item[0]",
    "lambda item: item[1]",
    "lambda item: item[-1]",
    "lambda item: -item",
    "lambda item: (len(item), item)",
    "lambda item: (-item[1], item[0])",
    "lambda item: (item[1], item[0])",
)
_SEPARATORS = (" ", ",", "\n", ", ")


def changes(site: Site) -> Iterator[Change]:
    """Every change of a call."""
    for node in site.expressions():
        if isinstance(node, ast.Call):
            yield from _family(site, node)
            yield from _given(site, node)
            yield from _keywords(site, node)
            yield from _particular(site, node)


def _of(site: Site, node: ast.Call, called: str) -> tuple[Category, ...]:
    """Of another method: how a returned text looks is format, all else is use of the library."""
    ends = site.roles.ends(node)
    shown = called in CASES and "return" in ends and "condition" not in ends
    if called in _FILLED:
        return ("MLA", "MOFE") if shown else USE
    return ("MOFE", "MLA") if shown else USE


def _family(site: Site, node: ast.Call) -> Iterator[Change]:
    called = function_name(node)
    function = node.func
    if isinstance(function, ast.Attribute):
        like = methods_like(called)
        if isinstance(function.value, ast.Name):  # math.floor, re.match, and the like
            like = tuple(dict.fromkeys((*like, *functions_like(called))))
        for other in like:
            to = ast.Attribute(function.value, other, ast.Load())
            new = ast.Call(to, node.args, node.keywords)
            yield site.change(node, new, "method", _of(site, node, called), role="call")
        return
    for other in functions_like(called):
        if other in BUILT_IN:
            new = ast.Call(name(other), node.args, node.keywords)
            categories: tuple[Category, ...] = USE
            if {called, other} <= {"max", "min", "sum", "len"}:
                categories = ("MFLE",)
            elif {called, other} == {"any", "all"}:
                categories = ("CE", "MLA")
            elif other == "sorted":
                categories = site.of_earlier(other, USE)
            elif site.is_shown(node) and called in ("list", "set", "tuple", "int", "float"):
                categories = ("MOFE", "MLA")
            yield site.change(node, new, "function", categories, role="call")


def _given(site: Site, node: ast.Call) -> Iterator[Change]:
    """Arguments left out, or other ones."""
    if any(isinstance(each, ast.Starred) for each in node.args):
        return
    for place in range(len(node.args)):
        rest = [each for at, each in enumerate(node.args) if at != place]
        if rest or isinstance(node.func, ast.Attribute):
            new = ast.Call(node.func, rest, node.keywords)
            yield site.change(node, new, "argument dropped", USE, role="call")
    for place in range(len(node.keywords)):
        kept = [each for at, each in enumerate(node.keywords) if at != place]
        new = ast.Call(node.func, node.args, kept)
        yield site.change(node, new, "keyword dropped", USE, role="call")
    called = function_name(node)
    if called in ("sorted", "sort", "max", "min") and len(node.args) == 2 - (called == "sort"):
        last = node.args[-1]
        for key in ("key", "reverse"):
            keywords = [*node.keywords, ast.keyword(key, last)]
            new = ast.Call(node.func, node.args[:-1], keywords)
            yield site.change(node, new, "keyword named", USE, role="call")
    if len(node.args) == 1 and isinstance(node.func, ast.Name):
        yield site.change(
            node,
            ast.Call(node.func, [ast.Starred(node.args[0], ast.Load())], node.keywords),
            "argument spread",
            USE,
            role="call",
            wide=1,
        )
    for place, argument in enumerate(node.args):
        yield from _argument(site, node, place, argument)


def _argument(site: Site, node: ast.Call, place: int, argument: ast.expr) -> Iterator[Change]:
    """Texts that are asked for: the separator of split, what is stripped or looked for."""
    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
        return
    called = function_name(node)
    values: tuple[str, ...] = ()
    if called in ("split", "rsplit", "partition", "rpartition", "count", "find", "index", "strip"):
        values = _SEPARATORS
    elif called == "join" or called == "ljust" or called == "rjust":
        return
    if called == "replace":
        values = ("", " ")
    for value in values:
        if value != argument.value:
            yield site.change(argument, ast.Constant(value), "separator", USE, role="call")
    text = argument.value
    for pattern in _patterns(text) if called in _REGULAR else ():
        yield site.change(argument, ast.Constant(pattern), "pattern", USE, role="call", wide=1)


_REGULAR = frozenset(
    {
        "match",
        "search",
        "fullmatch",
        "findall",
        "finditer",
        "sub",
        "split",
        "compile",
    }
)


def _patterns(text: str) -> Iterator[str]:
    """A pattern anchored, freed, made greedy or lazy, or that takes more at once."""
    yield from (f"^{text}", f"{text}$", f"^{text}$", rf"\b{text}\b", f"{text}+", f"({text})")
    for old, new in ((r"\w", r"\d"), (r"\d", r"\w"), ("*", "+"), ("+", "*"), ("+", ""), ("^", "")):
        if old in text:
            yield text.replace(old, new)
    for old, new in (("$", ""), ("a-z", "a-zA-Z"), ("A-Z", "A-Za-z"), (".*", ".*?"), (".", r"\.")):
        if old in text:
            yield text.replace(old, new)


def _keywords(site: Site, node: ast.Call) -> Iterator[Change]:
    called = function_name(node)
    present = {each.arg for each in node.keywords}

    def made(wide: int = 0, **given: ast.expr) -> Change:
        kept = [each for each in node.keywords if each.arg not in given]
        added = [ast.keyword(key, value) for key, value in given.items()]
        new = ast.Call(node.func, node.args, [*kept, *added])
        return site.change(node, new, "keyword", USE, role="call", wide=wide)

    if called in ("sorted", "sort") and "reverse" not in present:
        yield made(reverse=ast.Constant(True))
    if called in _KEYED:
        names = {each.arg: each.value for each in node.keywords}
        for text in _KEYS:
            if "key" not in names or ast.unparse(names["key"]) != text:
                yield made(1, key=parsed(text))
        yield from (made(2, key=parsed(text)) for text in _ordered(names.get("key")))
        if called in ("max", "min"):
            for value in (number(0), ast.Constant(None), ast.Constant("")):
                if "default" not in present and len(node.args) == 1:
                    yield made(1, default=value)
        for each in site.names(node):
            if called == "groupby":
                yield made(2, key=parsed(f"lambda item: item >= {each}"))
                yield made(2, key=parsed(f"lambda item: item > {each}"))
    elif called == "sum" and len(node.args) == 1:
        yield made(1, start=ast.List([], ast.Load()))
    elif called == "dumps":
        yield made(sort_keys=ast.Constant(True))
    elif called in ("split", "rsplit") and not present:
        yield made(1, maxsplit=number(1))


def _ordered(key: ast.expr | None) -> Iterator[str]:
    """Keys with a part turned round, dropped, or a tie broken by the thing itself."""
    if not isinstance(key, ast.Lambda) or not key.args.args:
        return
    item, body = key.args.args[0].arg, key.body
    inner = ast.unparse(body)
    if isinstance(body, ast.Tuple):
        parts = [ast.unparse(each) for each in body.elts]
        for place, part in enumerate(parts):
            turned = part[1:] if part.startswith("-") else f"-{part}"
            changed = [*parts[:place], turned, *parts[place + 1 :]]
            yield f"lambda {item}: ({', '.join(changed)},)"
            rest = [*parts[:place], *parts[place + 1 :]]
            yield f"lambda {item}: ({', '.join(rest)},)"
        return
    yield f"lambda {item}: -({inner})"
    for tie in (item, f"{item}[0]", f"{item}[1]"):
        yield f"lambda {item}: ({inner}, {tie})"
        yield f"lambda {item}: (-({inner}), {tie})"


def _particular(site: Site, node: ast.Call) -> Iterator[Change]:
    """Things that are known of one method or function."""
    called, arguments, function = function_name(node), node.args, node.func

    def made(new: ast.expr, wide: int = 0, operator: str = "argument") -> Change:
        return site.change(node, new, operator, USE, role="call", wide=wide)

    def given(*values: ast.expr) -> ast.Call:
        return ast.Call(function, list(values), node.keywords)

    if called == "pop" and not arguments:
        yield made(given(number(0)))
    elif called == "pop" and len(arguments) == 1:
        yield from (made(given(number(value))) for value in (0, -1))
        yield from (made(given(arguments[0], ast.Constant(x))) for x in (None, 0))
    elif called == "split" and not arguments:
        yield from (made(given(ast.Constant(text))) for text in _SEPARATORS)
    elif called in ("strip", "lstrip", "rstrip") and not arguments:
        yield from (made(given(ast.Constant(text)), 1) for text in (" ", "\n", "0", ".", ",", "/"))
    elif called == "replace" and len(arguments) == 2:
        yield made(given(*arguments, number(1)))
        if isinstance(function, ast.Attribute):
            yield made(call("re.sub", *arguments, function.value), 1, "regular")
    elif called == "get" and len(arguments) in (1, 2) and isinstance(function, ast.Attribute):
        defaults: tuple[ast.expr, ...] = (
            *(ast.Constant(value) for value in (0, "", None, 1, False)),
            ast.List([], ast.Load()),
        )
        yield from (made(given(arguments[0], value)) for value in defaults)
        yield made(ast.Subscript(function.value, arguments[0], ast.Load()), 0, "look-up")
    elif called == "round" and arguments:
        for digits in (1, 2, 3):
            yield site.change(
                node, given(arguments[0], number(digits)), "digits", ("MOFE", "MFLE"), role="format"
            )
    elif called == "int" and len(arguments) == 1:
        yield from (made(given(arguments[0], number(base)), 1) for base in (2, 16))
    elif called == "insert" and len(arguments) == 2:
        yield made(method(_receiver(node), "append", arguments[1]))
        yield made(given(number(0), arguments[1]))
    elif (
        called in ("append", "add") and len(arguments) == 1 and isinstance(function, ast.Attribute)
    ):
        yield made(method(function.value, "insert", number(0), arguments[0]))
    elif called == "fmod" and len(arguments) == 2:
        yield made(ast.BinOp(arguments[0], ast.Mod(), arguments[1]), 0, "operator for function")
    elif called == "most_common" and isinstance(function, ast.Attribute):
        tied = parsed("sorted(_.items(), key=lambda item: (-item[1], item[0]))")
        assert isinstance(tied, ast.Call)
        first = method(function.value, "items")
        ranked = ast.Call(tied.func, [first], tied.keywords)
        yield made(ranked, 1, "ties")
        if arguments:
            part = ast.Slice(None, arguments[0], None)
            yield made(ast.Subscript(ranked, part, ast.Load()), 1, "ties")
    elif called == "map" and len(arguments) == 2:
        columns = call("zip", ast.Starred(arguments[1], ast.Load()))
        yield made(given(arguments[0], ast.Starred(columns, ast.Load())))
    elif called == "zip" and arguments:
        yield made(call("zip", ast.Starred(arguments[0], ast.Load())), 1)
    if called == "ljust" and len(arguments) == 2:
        yield made(method(_receiver(node), "zfill", arguments[0]))
    if called == "zfill" and arguments:
        yield made(method(_receiver(node), "ljust", arguments[0], ast.Constant("0")))
    yield from _appended(site, node)


def _appended(site: Site, node: ast.Call) -> Iterator[Change]:
    """The value of a method that has none: the changed thing is meant."""
    called, arguments = function_name(node), node.args
    function = node.func
    if not isinstance(function, ast.Attribute):
        return
    parent = site.source.parents[node][0]
    receiver = function.value
    if isinstance(parent, ast.Expr):
        return
    new: ast.expr | None = None
    if called == "sort":
        new = ast.Call(name("sorted"), [receiver], node.keywords)
    elif called == "reverse":
        new = ast.Subscript(receiver, ast.Slice(None, None, number(-1)), ast.Load())
    elif called == "append" and len(arguments) == 1:
        new = ast.BinOp(receiver, ast.Add(), ast.List([arguments[0]], ast.Load()))
        if isinstance(receiver, ast.Constant):
            joined = method(receiver, "join", *arguments)
            yield site.change(node, joined, "method", USE, role="call")
    elif called == "extend" and len(arguments) == 1:
        new = ast.BinOp(receiver, ast.Add(), arguments[0])
    elif called in ("add", "update") and len(arguments) == 1:
        other = ast.Set([arguments[0]]) if called == "add" else arguments[0]
        new = ast.BinOp(receiver, ast.BitOr(), other)
    elif called in ("remove", "discard") and len(arguments) == 1:
        others = parsed("[each for each in _a if each != _b]")
        assert isinstance(others, ast.ListComp)
        generator = others.generators[0]
        generator.iter = receiver
        test = generator.ifs[0]
        assert isinstance(test, ast.Compare)
        test.comparators = [arguments[0]]
        new = others
    if new is not None:
        yield site.change(node, new, "value of in-place method", USE, role="call")


def _receiver(node: ast.Call) -> ast.expr:
    return node.func.value if isinstance(node.func, ast.Attribute) else node.func
