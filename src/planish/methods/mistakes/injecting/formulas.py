"""Wrong formulas: another mean, another unit, a term left out, rounding in the wrong way (MFLE)."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from planish.methods.mistakes.injecting.editing import Code, Edit, Injector, expression, is_call
from planish.methods.mistakes.injecting.editing import statements as lines_of

__all__ = ["FORMULAS", "is_number"]

_UNITS = {
    7: 30,
    8: 20,
    12: 30,
    24: 60,
    60: 100,
    100: 60,
    365: 360,
    1000: 1024,
    1024: 1000,
    1440: 2400,
    3600: 1440,
}
"""What is taken for what; for any other number three times as much."""

_TEXTS = ("join", "str", "repr", "ljust", "rjust", "zfill", "format", "strip", "sorted", "list")


def is_number(code: Code, node: ast.expr) -> bool:
    """Whether nothing speaks against an expression being a number."""
    for each in ast.walk(node):
        if isinstance(each, ast.JoinedStr | ast.List | ast.ListComp | ast.Tuple):
            return False
        if isinstance(each, ast.Constant) and not isinstance(each.value, int | float):
            return False
        if is_call(each, *_TEXTS) or isinstance(each, ast.Slice):
            return False
        if isinstance(each, ast.Name):
            for value in code.assigned(each.id):
                if isinstance(value, ast.JoinedStr | ast.List | ast.ListComp | ast.Dict):
                    return False
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    return False
    return True


def _formulas(code: Code, *kinds: type[ast.operator]) -> Iterator[ast.BinOp]:
    for each in code.nodes(ast.BinOp):
        if isinstance(each.op, kinds) and is_number(code, each) and not code.is_index(each):
            yield each


def product_of_sums(code: Code) -> Iterator[Edit]:
    """A sum of products is made a product of sums."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "sum") or not isinstance(each.args[0], ast.GeneratorExp):
            continue
        elt, loops = each.args[0].elt, each.args[0].generators
        if isinstance(elt, ast.BinOp) and isinstance(elt.op, ast.Mult):
            one, two = (ast.GeneratorExp(side, loops) for side in (elt.left, elt.right))
            new = expression("sum($0) * sum($1)", one, two)
            yield {each: new}, "Multiplies two sums instead of adding products up."


def another_mean(code: Code) -> Iterator[Edit]:
    """The median or the middle of the range is taken for the mean."""
    for each in code.nodes(ast.BinOp):
        if not isinstance(each.op, ast.Div | ast.FloorDiv) or not is_call(each.left, "sum"):
            continue
        if not is_call(each.right, "len"):
            continue
        assert isinstance(each.right, ast.Call)
        values = each.right.args[0]
        middle = expression("(max($0) + min($0)) / 2", values)
        yield {each: middle}, "Takes the middle between largest and smallest for the mean."
        median = expression("sorted($0)[len($0) // 2]", values)
        yield {each: median}, "Takes the median for the mean."


def _factors(code: Code) -> Iterator[ast.Constant]:
    for each in code.nodes(ast.Constant):
        above = code.parents[each][0]
        places = (ast.BinOp, ast.AugAssign, ast.Assign, ast.Dict)
        whole = type(each.value) is int and each.value >= 3
        compared = any(isinstance(up, ast.Compare) for up, _ in code.up(each))
        if whole and isinstance(above, places) and not compared and not code.is_index(each):
            yield each


def wrong_unit(code: Code) -> Iterator[Edit]:
    """A factor is wrong wherever it is used."""
    found: dict[int, list[ast.Constant]] = defaultdict(list)
    for each in _factors(code):
        assert isinstance(each.value, int)
        found[each.value].append(each)
    for value, places in found.items():
        new = _UNITS.get(value, 3 * value)
        yield {each: ast.Constant(new) for each in places}, f"Counts with {new} instead of {value}."


def term_left_out(code: Code) -> Iterator[Edit]:
    """A term that is more than a name is missing."""
    for each in _formulas(code, ast.Add, ast.Sub):
        for kept, gone in ((each.left, each.right), (each.right, each.left)):
            taken_from = gone is each.left and isinstance(each.op, ast.Sub)
            if not taken_from and not isinstance(gone, ast.Name | ast.Constant):
                yield {each: kept}, f"Leaves {ast.unparse(gone)} out."
    for statement in code.nodes(ast.AugAssign):
        fixed = isinstance(statement.value, ast.Constant)
        if not fixed and is_number(code, statement.value) and len(code.block(statement)) > 1:
            yield {statement: []}, f"Leaves {ast.unparse(statement.value)} out."


def rounded_up(code: Code) -> Iterator[Edit]:
    """A quotient is rounded up, where it has to be rounded down, and the other way round."""
    for each in _formulas(code, ast.FloorDiv):
        above = code.parents[each][0]
        if isinstance(each.left, ast.UnaryOp) and isinstance(above, ast.UnaryOp):
            new = expression("$0 // $1 + 1", each.left.operand, each.right)
            yield {above: new}, "Adds one to a quotient that may be whole already."
        elif not isinstance(each.left, ast.UnaryOp):
            new = expression("($0 + $1 - 1) // $1", each.left, each.right)
            yield {each: new}, "Rounds a quotient up."
    for pair in code.nodes(ast.Call):
        if is_call(pair, "divmod"):
            new = expression("(($0 + $1 - 1) // $1, $0 % $1)", *pair.args)
            yield {pair: new}, "Rounds a quotient up beside what is left over."


def share_of_the_other(code: Code) -> Iterator[Edit]:
    """A percentage is taken of what comes out instead of what goes in."""
    for each in code.nodes(ast.AugAssign):
        value = each.value
        if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Div | ast.FloorDiv):
            continue
        product = value.left
        if not isinstance(product, ast.BinOp) or not isinstance(product.op, ast.Mult):
            continue
        if ast.unparse(product.left) == ast.unparse(each.target):
            new = lines_of("$0 = $0 * $1 // ($1 + $2)", ast.unparse(each.target), value.right,
                           product.right)  # fmt: skip
            yield {each: new}, "Takes a share of what comes out instead of what goes in."


def counted(code: Code) -> Iterator[Edit]:
    """Things are counted, where what they are worth has to be added up."""
    for each in code.nodes(ast.Call):
        parts = each.args[0] if is_call(each, "sum") else None
        if isinstance(parts, ast.GeneratorExp) and not _is_one(parts.elt):
            ones = ast.GeneratorExp(ast.Constant(1), parts.generators)
            yield {parts: ones}, "Counts them instead of adding them up."
    for statement in code.nodes(ast.AugAssign):
        value = statement.value
        added = isinstance(statement.op, ast.Add) and code.in_loop(statement)
        if added and is_number(code, value) and not _is_one(value):
            yield {value: ast.Constant(1)}, "Counts them instead of adding them up."
    for assign in code.nodes(ast.Assign):
        value = assign.value
        if not isinstance(value, ast.BinOp) or not isinstance(value.op, ast.Add):
            continue
        if is_call(value.left, "get") and not _is_one(value.right):
            yield {value.right: ast.Constant(1)}, "Counts them instead of adding them up."


def _is_one(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant | ast.Compare)


def added_for_largest(code: Code) -> Iterator[Edit]:
    """Two numbers are added, where the larger or the smaller one is asked for."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "max", "min") or len(each.args) != 2 or each.keywords:
            continue
        if not code.is_index(each) and is_number(code, each):
            yield {each: expression("$0 + $1", *each.args)}, "Adds two numbers up."
            mean = expression("($0 + $1) // 2", *each.args)
            yield {each: mean}, "Takes the mean of two numbers."


def mean_for_largest(code: Code) -> Iterator[Edit]:
    """The mean of all numbers is taken for the largest of them."""
    for each in code.nodes(ast.Call):
        keyed = any(keyword.arg == "key" for keyword in each.keywords)
        if is_call(each, "max", "min") and len(each.args) == 1 and not keyed:
            new = expression("sum($0) // max(1, len(list($0)))", each.args[0])
            yield {each: new}, "Takes the mean of them all."


def cut_off(code: Code) -> Iterator[Edit]:
    """Digits are cut off instead of rounded."""
    for each in code.nodes(ast.Call):
        if is_call(each, "round") and len(each.args) == 2:
            digits = each.args[1]
            if isinstance(digits, ast.Constant) and isinstance(digits.value, int):
                scale = ast.Constant(10**digits.value)
                new = expression("$0 * $1 // 1 / $1", each.args[0], scale)
                yield {each: new}, "Cuts digits off instead of rounding."


def squares(code: Code) -> Iterator[Edit]:
    """Squares are subtracted instead of the numbers."""
    for each in _formulas(code, ast.Sub):
        sides = (each.left, each.right)
        simple = all(isinstance(side, ast.Name | ast.Subscript | ast.Attribute) for side in sides)
        if simple and not code.is_tested(each):
            new = expression("$0 * $0 - $1 * $1", *sides)
            yield {each: new}, "Subtracts squares instead of the numbers."


def doubled_step(code: Code) -> Iterator[Edit]:
    """What grows by one grows by what was there before as well."""
    for each in code.nodes(ast.AugAssign):
        grows = isinstance(each.op, ast.Add) and ast.unparse(each.value) == "1"
        if grows and isinstance(each.target, ast.Name) and code.in_loop(each):
            new = lines_of("$0 = max(1, 2 * $0)", each.target.id)
            yield {each: new}, "Doubles a number that should grow by one."


FORMULAS: tuple[Injector, ...] = (
    product_of_sums,
    another_mean,
    wrong_unit,
    term_left_out,
    rounded_up,
    share_of_the_other,
    counted,
    added_for_largest,
    mean_for_largest,
    cut_off,
    squares,
    doubled_step,
)
