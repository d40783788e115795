"""Tasks of EvalPlus: a candidate must return what the reference returns on many inputs.

A line of HumanEval+ or MBPP+ has

    task_id, entry_point, prompt, canonical_solution
    base_input, plus_input   lists of argument lists
    contract                 assertions about the arguments, as in the function; may be ""
    atol                     by which floats may differ; 0: 1e-6 where floats are compared

Arguments are what JSON says, but for those that the contract wants as tuples or sets
(`isinstance(a, tuple)`), which JSON cannot hold.
"""

from __future__ import annotations

import ast
import textwrap
from typing import Any

from planish.methods.mistakes.data import CodeTask
from planish.methods.mistakes.loading.fields import Line
from planish.methods.mistakes.loading.joining import completed
from planish.methods.mistakes.loading.sources import bindings, parse
from planish.tasks.sandbox.values import UnknownType, dumps

__all__ = ["from_evalplus"]

FLOATS = 1e-6
"""EvalPlus' own tolerance for floats where a task names none."""

_KINDS = {"tuple": tuple, "set": set, "frozenset": frozenset}


def from_evalplus(line: Line) -> CodeTask:
    """One line as a task.

    Raises:
        BadInput: a field is missing or of the wrong type, or an input is no list of arguments.
    """
    prompt, solution = line.text("prompt"), line.text("canonical_solution")
    name = line.name("entry_point")
    contract = textwrap.dedent(line.text("contract", default="").strip("\n"))
    # MBPP+ gives the whole function, HumanEval+ what follows the prompt.
    reference = solution if _defines(solution, name) else completed(prompt, solution)
    function = _function(reference, name)
    if function is None:
        raise line.bad(f"the reference does not define {name!r}", fix="mend 'canonical_solution'")
    wanted = _wanted(contract)
    names = [each.arg for each in (*function.args.posonlyargs, *function.args.args)]
    inputs = []
    for field in ("base_input", "plus_input"):
        for number, row in enumerate(line.rows(field), 1):
            if not isinstance(row, list):
                raise line.bad(f"input {number} of {field!r} is no list of arguments")
            try:
                inputs.append(dumps(tuple(_arguments(row, names, wanted))))
            except (UnknownType, TypeError) as error:
                raise line.bad(f"input {number} of {field!r} cannot be read: {error}") from None
    return CodeTask(
        task_id=line.name("task_id"),
        entry_point=name,
        prompt=prompt,
        reference=reference,
        inputs=tuple(dict.fromkeys(inputs)),
        tolerance=line.number("atol", 0.0) or FLOATS,
        precondition=_precondition(contract, reference, function),
    )


def _defines(source: str, name: str) -> bool:
    return _function(source, name) is not None


def _function(source: str, name: str) -> ast.FunctionDef | None:
    tree = parse(source)
    found = [
        each
        for each in (tree.body if tree else [])
        if isinstance(each, ast.FunctionDef) and each.name == name
    ]
    return found[-1] if found else None


# ---- arguments -------------------------------------------------------------------------------


def _wanted(contract: str) -> dict[str, tuple[str, str]]:
    """Argument -> the type that the contract wants, and that of its elements; "" for any."""
    found: dict[str, tuple[str, str]] = {}
    tree = parse(contract)
    for node in ast.walk(tree) if tree else ():
        match node:
            case ast.Call(
                func=ast.Name(id="isinstance"),
                args=[ast.Name(id=argument), ast.Name(id=kind)],
            ) if kind in _KINDS:
                found[argument] = (kind, found.get(argument, ("", ""))[1])
        # all(isinstance(each, tuple) for each in argument)
        match node:
            case ast.GeneratorExp(
                elt=ast.Call(
                    func=ast.Name(id="isinstance"),
                    args=[ast.Name(id=each), ast.Name(id=kind)],
                ),
                generators=[ast.comprehension(target=ast.Name(id=target), iter=ast.Name(id=whole))],
            ) if each == target and kind in _KINDS:
                found[whole] = (found.get(whole, ("", ""))[0], kind)
    return found


def _arguments(row: list[Any], names: list[str], wanted: dict[str, tuple[str, str]]) -> list[Any]:
    made = []
    for place, value in enumerate(row):
        outer, inner = wanted.get(names[place] if place < len(names) else "", ("", ""))
        if inner and isinstance(value, list):
            value = [_KINDS[inner](each) if isinstance(each, list) else each for each in value]
        made.append(_KINDS[outer](value) if outer and isinstance(value, list) else value)
    return made


# ---- the contract as a precondition ----------------------------------------------------------


def _precondition(contract: str, reference: str, function: ast.FunctionDef) -> str:
    """`precondition(...)` with the function's arguments, False where an assertion fails."""
    checks = parse(contract)
    if checks is None or not checks.body:
        return ""
    tree = parse(reference)
    rest = [
        each
        for each in (tree.body if tree else [])
        if bindings(each) and function.name not in bindings(each)
    ]
    arguments = ast.parse(f"lambda {_bare(function.args)}: None", mode="eval").body
    assert isinstance(arguments, ast.Lambda)
    head = f"def precondition({ast.unparse(arguments.args)}):"
    body = textwrap.indent(ast.unparse(checks), "        ")
    made = f"{head}\n    try:\n{body}\n    except AssertionError:\n        return False\n"
    before = ast.unparse(ast.Module(rest, []))
    return f"{before}\n\n\n{made}    return True\n" if before else f"{made}    return True\n"


def _bare(arguments: ast.arguments) -> str:
    """Without annotations, which may need names that are not there."""
    copied = ast.parse(f"def f({ast.unparse(arguments)}): pass").body[0]
    assert isinstance(copied, ast.FunctionDef)
    for node in ast.walk(copied.args):
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(copied.args)
