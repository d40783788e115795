"""Right values in another form: text for a list, pairs for a mapping, units, padding (MOFE)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Literal

from planish.methods.mistakes.injecting.editing import Code, Edit, Injector, expression, is_call

__all__ = ["LAYOUTS", "Kind", "kind_of", "result_kind"]

Kind = Literal["text", "list", "mapping", "tuple", "number", "boolean", ""]
"""What a function returns; "" where that cannot be told."""

_ANNOTATIONS: dict[str, Kind] = {
    "str": "text",
    "list": "list",
    "dict": "mapping",
    "tuple": "tuple",
    "int": "number",
    "float": "number",
    "bool": "boolean",
}


def result_kind(code: Code) -> Kind:
    """What the function returns, by its annotation or by what it returns."""
    if code.function.returns is not None:
        told = ast.unparse(code.function.returns)
        return _ANNOTATIONS.get(told.partition("[")[0].partition(" ")[0], "")
    kinds = {kind_of(code, each) for each in code.returned()} - {""}
    return kinds.pop() if len(kinds) == 1 else ""


def kind_of(code: Code, node: ast.expr) -> Kind:
    """What an expression is, as far as its own text tells."""
    if isinstance(node, ast.Name):
        kinds = {kind_of(code, each) for each in code.assigned(node.id) if each is not node} - {""}
        return kinds.pop() if len(kinds) == 1 else ""
    if isinstance(node, ast.JoinedStr) or is_call(node, "join", "str", "ljust", "rjust"):
        return "text"
    if isinstance(node, ast.List | ast.ListComp) or is_call(node, "sorted", "list"):
        return "list"
    if isinstance(node, ast.Dict | ast.DictComp) or is_call(node, "dict"):
        return "mapping"
    if isinstance(node, ast.Tuple):
        return "tuple"
    if isinstance(node, ast.Compare | ast.BoolOp) or is_call(node, "any", "all"):
        return "boolean"
    if isinstance(node, ast.BinOp):
        return kind_of(code, node.left) or kind_of(code, node.right)
    if is_call(node, "len", "sum", "int", "round", "max", "min"):
        return "number"
    if isinstance(node, ast.Constant):
        return {str: "text", int: "number", float: "number", bool: "boolean"}.get(  # type: ignore
            type(node.value), ""
        )
    return ""


def _results(code: Code, kind: Kind) -> list[ast.expr]:
    """Values that are returned, where the function returns this kind; no constant ones."""
    if result_kind(code) != kind:
        return []
    return [each for each in code.returned() if not _is_fixed(each)]


def _is_fixed(node: ast.expr) -> bool:
    empty = isinstance(node, ast.List | ast.Dict) and not ast.unparse(node)[1:-1]
    return empty or isinstance(node, ast.Constant)


def _everywhere(code: Code, kind: Kind, text: str) -> dict[ast.AST, ast.AST]:
    """Every returned value of a kind in another form."""
    return {each: expression(text, each) for each in _results(code, kind)}


def _forms(code: Code, kind: Kind, forms: tuple[tuple[str, str], ...]) -> Iterator[Edit]:
    for text, note in forms:
        swaps = _everywhere(code, kind, text)
        if swaps:
            yield swaps, note


def mapping_as_lines(code: Code) -> Iterator[Edit]:
    """Lines of text for a mapping."""
    forms = (
        ("[f'{key}: {value}' for key, value in $0.items()]", "Gives lines, not a mapping."),
        ("', '.join(f'{key}={value}' for key, value in $0.items())", "Gives a text."),
    )
    yield from _forms(code, "mapping", forms)


def mapping_as_rows(code: Code) -> Iterator[Edit]:
    """Rows with names for a mapping, or pairs the other way round."""
    forms = (
        ("[{'name': key, 'value': value} for key, value in $0.items()]", "Gives rows."),
        ("[[value, key] for key, value in $0.items()]", "Gives pairs, the value first."),
    )
    yield from _forms(code, "mapping", forms)


def list_as_text(code: Code) -> Iterator[Edit]:
    """Text with a separator behind every thing, for a list."""
    forms = (
        ("''.join(f'{each}, ' for each in $0)", "Gives text with a separator at the end."),
        ("'\\n'.join(f'- {each}' for each in $0)", "Gives lines of text with dashes."),
    )
    yield from _forms(code, "list", forms)


def list_as_mapping(code: Code) -> Iterator[Edit]:
    """A mapping from places for a list."""
    forms = (("dict(enumerate($0, start=1))", "Gives a mapping from places to things."),)
    yield from _forms(code, "list", forms)


def flattened(code: Code) -> Iterator[Edit]:
    """One flat list for a list of lists or of pairs."""
    told = "" if code.function.returns is None else ast.unparse(code.function.returns)
    nested = any(part in told for part in ("list[tuple", "list[list"))
    for each in _results(code, "list"):
        nested = nested or (isinstance(each, ast.ListComp) and isinstance(each.elt, ast.Tuple))
    if nested or not told:
        forms = (
            ("[part for each in $0 for part in each]", "Gives one flat list."),
            ("[' '.join(map(str, each)) for each in $0]", "Gives texts, not groups."),
            ("[dict(enumerate(each)) for each in $0]", "Gives mappings, not groups."),
        )
        yield from _forms(code, "list", forms)


def wrapped_one_by_one(code: Code) -> Iterator[Edit]:
    """Every thing of a list is given a number or a frame of its own."""
    forms = (
        ("[f'{place}. {each}' for place, each in enumerate($0, start=1)]", "Numbers all things."),
        ("[{'value': each} for each in $0]", "Gives every thing a name of its own."),
    )
    yield from _forms(code, "list", forms)


def tuple_as_mapping(code: Code) -> Iterator[Edit]:
    """A mapping or a text for a pair."""
    forms = (
        ("{'first': $0[0], 'second': $0[1]}", "Gives a mapping, not a pair."),
        ("'/'.join(str(each) for each in $0)", "Gives text, not a pair."),
    )
    yield from _forms(code, "tuple", forms)


def number_with_unit(code: Code) -> Iterator[Edit]:
    """A text with a unit for a number."""
    forms = (
        ("'%s pcs.' % $0", "Gives text with a unit, not a number."),
        ("{'result': $0}", "Gives a mapping that has the number in it."),
        ("str($0).rjust(4)", "Gives text filled up with blanks, not a number."),
    )
    yield from _forms(code, "number", forms)


def boolean_as_word(code: Code) -> Iterator[Edit]:
    """A word for yes or no."""
    forms = (
        ("'yes' if $0 else 'no'", "Gives a word, not a truth value."),
        ("'TRUE' if $0 else 'FALSE'", "Gives a word, not a truth value."),
    )
    yield from _forms(code, "boolean", forms)


def text_as_listed(code: Code) -> Iterator[Edit]:
    """The printed form of a list for a joined text, or the text in words."""
    for each in code.nodes(ast.Call):
        if is_call(each, "join") and result_kind(code) == "text":
            things = each.args[0]
            listed = expression("str(list($0))", things)
            yield {each: listed}, "Prints the list instead of joining it."


def separator_behind(code: Code) -> Iterator[Edit]:
    """A separator behind every part, the last one too."""
    for each in code.nodes(ast.Call):
        if not is_call(each, "join") or not isinstance(each.func, ast.Attribute):
            continue
        separator = each.func.value
        if isinstance(separator, ast.Constant) and separator.value:
            new = expression("''.join(part + $1 for part in $0)", each.args[0], separator)
            yield {each: new}, "Puts a separator behind the last part as well."
            words = expression("' and '.join(each.title() for each in $0)", each.args[0])
            yield {each: words}, "Joins with another separator, and with capitals."


def padding_lost(code: Code) -> Iterator[Edit]:
    """Numbers in a text are not filled up, wherever they stand."""
    parts = [each for each in code.nodes(ast.FormattedValue) if each.format_spec is not None]
    if len(parts) > 1:
        swaps: dict[ast.AST, ast.AST] = {
            each: ast.FormattedValue(each.value, each.conversion, None) for each in parts
        }
        yield swaps, "Does not fill numbers up."


def units_in_text(code: Code) -> Iterator[Edit]:
    """Other separators and a unit in a text made of several values."""
    for each in code.nodes(ast.JoinedStr):
        values = [part for part in each.values if isinstance(part, ast.FormattedValue)]
        if len(values) > 1 and result_kind(code) in ("text", "list"):
            parts: list[ast.expr] = [ast.Constant("<")]
            for part in values:
                parts += [part, ast.Constant(" | ")]
            yield {each: ast.JoinedStr([*parts[:-1], ast.Constant(">")])}, "Sets values in a frame."
            plain = [ast.FormattedValue(part.value, 114, None) for part in values]
            spaced: list[ast.expr] = []
            for part in plain:
                spaced += [part, ast.Constant(" ")]
            yield {each: ast.JoinedStr(spaced)}, "Lays the text out in another way."


def text_framed(code: Code) -> Iterator[Edit]:
    """Text in quotes, or a line of its own that ends with a blank."""
    forms = (
        ("['', *$0.splitlines(), '']", "Gives a list of lines, with empty ones around them."),
        ("('\"' + $0 + '\"').replace(' ', '  ')", "Puts the text in quotes, with wider gaps."),
        ("$0.split(' ')[:-1] + [$0.split(' ')[-1] + '.']", "Gives words, with a full stop."),
    )
    yield from _forms(code, "text", forms)


def none_as_word(code: Code) -> Iterator[Edit]:
    """Whatever says that there is nothing is a word, everywhere."""
    every = [each for each in code.returned() if isinstance(each, ast.Constant | ast.UnaryOp)]
    same = {ast.unparse(each) for each in every}
    if len(every) > 1 and len(same) == 1:
        swaps: dict[ast.AST, ast.AST] = {each: ast.Constant("none") for each in every}
        yield swaps, "Gives a word where there is nothing."


LAYOUTS: tuple[Injector, ...] = (
    mapping_as_lines,
    mapping_as_rows,
    list_as_text,
    list_as_mapping,
    flattened,
    wrapped_one_by_one,
    tuple_as_mapping,
    number_with_unit,
    boolean_as_word,
    text_as_listed,
    separator_behind,
    padding_lost,
    units_in_text,
    text_framed,
    none_as_word,
)
