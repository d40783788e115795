"""Calls of the library that are plausible and wrong: another family, other arguments (MLA)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from planish.methods.mistakes.injecting.editing import (
    Code,
    Edit,
    Injector,
    Swaps,
    called,
    expression,
    is_call,
    statements,
)

__all__ = ["USES"]

_DIGITS = {
    "isdecimal": "0123456789",
    "isdigit": "0123456789",
    "isalpha": "abcdefghijklmnopqrstuvwxyz",
    "isalnum": "abcdefghijklmnopqrstuvwxyz0123456789",
}


def _methods(code: Code, *names: str) -> Iterator[tuple[ast.Call, ast.expr]]:
    """Calls of methods with what they are called of."""
    for each in code.nodes(ast.Call):
        if is_call(each, *names) and isinstance(each.func, ast.Attribute):
            yield each, each.func.value


def _importing(code: Code, line: str) -> dict[ast.AST, list[ast.stmt]]:
    """The function with an import at its begin."""
    first = code.body[0]
    return {first: [*statements(line), first]}


def not_called(code: Code) -> Iterator[Edit]:
    """A method is named and not called."""
    for each in code.nodes(ast.Call):
        if not isinstance(each.func, ast.Attribute) or each.args or each.keywords:
            continue
        if code.is_tested(each) or isinstance(code.parents[each][0], ast.Assign):
            yield {each: each.func}, f"Names {each.func.attr} without calling it."


def pieces_of_partition(code: Code) -> Iterator[Edit]:
    """A text is taken apart once, where it should be taken apart everywhere."""
    for each, text in _methods(code, "split"):
        if each.args:
            new = expression("$0.partition($1)[::2]", text, each.args[0])
            yield {each: new}, "partition takes a text apart only once."
        else:
            new = expression("list($0.strip())", text)
            yield {each: new}, "list makes letters of a text, and not words."


def split_for_partition(code: Code) -> Iterator[Edit]:
    """A text is taken apart from its end, and always into three."""
    for each, text in _methods(code, "partition"):
        new = expression("[*$0.rsplit($1, 1), '', ''][:3]", text, each.args[0])
        yield {each: new}, "rsplit takes a text apart at its end and keeps no separator."


def split_for_pattern(code: Code) -> Iterator[Edit]:
    """A regular expression is given to split, which takes it for plain text."""
    for each, owner in _methods(code, "findall", "split", "match"):
        if isinstance(owner, ast.Name) and owner.id == "re" and len(each.args) == 2:
            new = expression("$1.split($0)", *each.args)
            yield {each: new}, "split of a text takes no regular expression."
            first = expression("list(re.match($0, $1) or ())", *each.args)
            yield {each: first}, "match looks only at the begin, and is no list."


def blanks_replaced(code: Code) -> Iterator[Edit]:
    """Blanks are taken away everywhere, where they should be at the ends."""
    for each, text in _methods(code, "strip", "lstrip", "rstrip"):
        if not each.args:
            new = expression("$0.replace(' ', '')", text)
            yield {each: new}, "replace takes blanks away within the text, and no other space."


def part_of_letters(code: Code) -> Iterator[Edit]:
    """A text is looked for within all letters or digits."""
    for each, text in _methods(code, *_DIGITS):
        new = expression("$0 in $1", text, ast.Constant(_DIGITS[called(each)]))
        yield {each: new}, "in asks whether the text is a part of the other as it stands."


def found_for_asked(code: Code) -> Iterator[Edit]:
    """A place is taken for an answer: find gives 0 and -1."""
    for each, text in _methods(code, "startswith", "endswith"):
        yield {each: expression("$0.find($1)", text, each.args[0])}, "find gives a place, or -1."
    for test in code.nodes(ast.Compare):
        if len(test.ops) == 1 and code.is_tested(test):
            left, right = test.left, test.comparators[0]
            if isinstance(test.ops[0], ast.In):
                new = expression("str($0).find(str($1))", right, left)
                yield {test: new}, "find gives a place, or -1."
            elif isinstance(test.ops[0], ast.NotIn):
                new = expression("not str($0).find(str($1))", right, left)
                yield {test: new}, "find gives a place, or -1."


def place_by_partition(code: Code) -> Iterator[Edit]:
    """What comes before is counted, which is everything where nothing is found."""
    for each, text in _methods(code, "find", "index"):
        new = expression("len($0.partition($1)[0])", text, each.args[0])
        yield {each: new}, "partition gives the whole text where nothing is found."


def tuples_relied_upon(code: Code) -> Iterator[Edit]:
    """Things are sorted as they are, the last one first, instead of by a key."""
    for each in code.nodes(ast.Call):
        keys = [one for one in each.keywords if one.arg == "key"]
        if called(each) not in ("sorted", "sort") or not keys:
            continue
        turned = ast.keyword("reverse", ast.Constant(True))
        plain = ast.Call(each.func, each.args, [turned])
        yield {each: plain}, "Relies on how tuples compare instead of a key."
        key = keys[0].value
        if isinstance(key, ast.Lambda) and isinstance(key.body, ast.Tuple):
            first = key.body.elts[0]
            if isinstance(first, ast.UnaryOp):
                simple = ast.Lambda(key.args, first.operand)
                new = ast.Call(each.func, each.args, [ast.keyword("key", simple), turned])
                yield {each: new}, "reverse leaves ties as they were."


def default_as_argument(code: Code) -> Iterator[Edit]:
    """What to take of nothing is compared with the things themselves."""
    for each in code.nodes(ast.Call):
        if is_call(each, "max", "min") and each.keywords and len(each.args) == 1:
            values = [one.value for one in each.keywords if one.arg == "default"]
            if values:
                new = ast.Call(each.func, [each.args[0], *values], [])
                yield {each: new}, "A second argument is another thing to compare, no default."


def largest_by_letters(code: Code) -> Iterator[Edit]:
    """The last one by letters is taken for the longest."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "max") or len(each.args) != 1:
            continue
        value = each.args[0]
        if isinstance(value, ast.GeneratorExp) and is_call(value.elt, "len"):
            assert isinstance(value.elt, ast.Call)
            inner = ast.GeneratorExp(value.elt.args[0], value.generators)
            new = expression("len(max($0, default=''))", inner)
            yield {each: new}, "max of texts is the last one by letters, not the longest."


def first_one_kept(code: Code) -> Iterator[Edit]:
    """setdefault or update is taken for adding up."""
    for each in code.nodes(ast.stmt):
        if not isinstance(each, ast.Assign | ast.AugAssign):
            continue
        target = each.targets[0] if isinstance(each, ast.Assign) else each.target
        value = each.value
        if not isinstance(target, ast.Subscript) or isinstance(target.slice, ast.Slice):
            continue
        if isinstance(each, ast.Assign) and not (
            isinstance(value, ast.BinOp) and "get" in ast.unparse(value.left)
        ):
            continue
        amount = value.right if isinstance(value, ast.BinOp) else value
        new = statements("$0.setdefault($1, $2)", target.value, target.slice, amount)
        yield {each: new}, "setdefault keeps the first value and adds nothing."
        new = statements("$0.update({$1: $2})", target.value, target.slice, amount)
        yield {each: new}, "update puts the new value in the old one's place."


def kept_for_put(code: Code) -> Iterator[Edit]:
    """setdefault is taken for putting a value, or a value is put for setdefault."""
    for each in code.nodes(ast.Assign):
        target = each.targets[0]
        if not isinstance(target, ast.Subscript) or isinstance(target.slice, ast.Slice):
            continue
        if isinstance(target.value, ast.Name) and not isinstance(each.value, ast.BinOp):
            new = statements("$0.setdefault($1, $2)", target.value, target.slice, each.value)
            yield {each: new}, "setdefault keeps a value that is there already."


def numbered_for_items(code: Code) -> Iterator[Edit]:
    """enumerate numbers keys, it gives no values."""
    for each, mapping in _methods(code, "items"):
        new = expression("enumerate($0)", mapping)
        yield {each: new}, "enumerate numbers keys and gives no values."


def counted_once(code: Code) -> Iterator[Edit]:
    """Things are made keys, which counts each of them once."""
    for each in code.nodes(ast.Call):
        if is_call(each, "Counter") and each.args:
            new = expression("dict.fromkeys($0, 1)", each.args[0])
            yield {each: new}, "fromkeys counts everything once."


def parts_added(code: Code) -> Iterator[Edit]:
    """The parts of a thing are added to a list, instead of the thing."""
    for each, owner in _methods(code, "append"):
        above = code.parents[each][0]
        if isinstance(above, ast.Expr) and isinstance(owner, ast.Name):
            new = statements("$0 += $1", owner.id, each.args[0])
            yield {above: new}, "+= adds the parts of a thing to a list."
            slot = statements("$0[:] = [$1]", owner.id, each.args[0])
            yield {above: slot}, "Assigning to a slice puts all of a list away."


def pairs_of_all(code: Code) -> Iterator[Edit]:
    """combinations pairs everything, not only neighbours."""
    swaps: Swaps
    for each in code.nodes(ast.Call):
        if not is_call(each, "zip") or len(each.args) != 2 or each.keywords:
            continue
        one, two = each.args
        if isinstance(two, ast.Subscript) and ast.unparse(two.value) == ast.unparse(one):
            new = expression("combinations($0, 2)", one)
            swaps = {each: new, **_importing(code, "from itertools import combinations")}
        else:
            new = expression("product($0, $1)", one, two)
            swaps = {each: new, **_importing(code, "from itertools import product")}
        yield swaps, "Pairs everything, and not only what belongs together."


def grouped_for_distinct(code: Code) -> Iterator[Edit]:
    """groupby leaves only equal neighbours out."""
    for each in code.nodes(ast.Call):
        inner = each.args[0] if is_call(each, "sorted", "len", "list") and each.args else None
        if not isinstance(inner, ast.Call) or not is_call(inner, "set") or not inner.args:
            continue
        keys = expression("[key for key, _ in groupby($0)]", inner.args[0])
        new = expression("len($0)", keys) if called(each) == "len" else keys
        swaps: Swaps = {each: new, **_importing(code, "from itertools import groupby")}
        yield swaps, "groupby leaves only equal neighbours out."


def one_time_iterators(code: Code) -> Iterator[Edit]:
    """Lists that are used more than once are made iterators, which are empty the second time."""
    made: Swaps = {
        each.value: ast.GeneratorExp(each.value.elt, each.value.generators)
        for each in code.nodes(ast.Assign)
        if isinstance(each.value, ast.ListComp)
    }
    if len(made) > 1:
        yield made, "An iterator is empty once it has been gone through."
    for each in code.nodes(ast.Assign):
        target, value = each.targets[0], each.value
        if isinstance(target, ast.Name) and is_call(value, "sorted", "split", "list"):
            uses = [x for x in code.nodes(ast.Name) if x.id == target.id and x not in each.targets]
            if len(uses) > 1:
                new = expression("map(lambda one: one, iter($0))", value)
                yield {value: new}, "An iterator is empty once it has been gone through."


def fraction_for_rest(code: Code) -> Iterator[Edit]:
    """modf gives a fraction and not what is left over."""
    for each in code.nodes(ast.Call):
        if is_call(each, "divmod") and len(each.args) == 2:
            new = expression("[int(one) for one in modf($0 / $1)[::-1]]", *each.args)
            swaps: Swaps = {each: new, **_importing(code, "from math import modf")}
            yield swaps, "modf gives a fraction and not what is left over."


def characters_added(code: Code) -> Iterator[Edit]:
    """rjust and ljust are taken for adding so many characters."""
    for each, text in _methods(code, "ljust", "rjust"):
        fill = each.args[1] if len(each.args) == 2 else ast.Constant(" ")
        if called(each) == "ljust":
            new = expression("$0 + $1 * $2", text, fill, each.args[0])
        else:
            new = expression("$1 * $2 + $0", text, fill, each.args[0])
        yield {each: new}, "Adds so many characters instead of filling up to so many."


def rounded_as_text(code: Code) -> Iterator[Edit]:
    """round with fewer digits than none, or a format of so many significant digits."""
    for each in code.nodes(ast.Call):
        if is_call(each, "round") and len(each.args) == 2:
            new = expression("float(format($0, '.' + str($1) + 'g'))", *each.args)
            yield {each: new}, "g counts all digits, not only those behind the point."


USES: tuple[Injector, ...] = (
    not_called,
    pieces_of_partition,
    split_for_partition,
    split_for_pattern,
    blanks_replaced,
    part_of_letters,
    found_for_asked,
    place_by_partition,
    tuples_relied_upon,
    default_as_argument,
    largest_by_letters,
    first_one_kept,
    kept_for_put,
    numbered_for_items,
    counted_once,
    parts_added,
    pairs_of_all,
    grouped_for_distinct,
    one_time_iterators,
    fraction_for_rest,
    characters_added,
    rounded_as_text,
)
