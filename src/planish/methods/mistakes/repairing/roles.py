"""What a place in the code is for, by where its value flows to.

    roles = Roles(source, "f")
    roles.role(node)   # "index", "condition", "arithmetic", "call", "format", "literal"
    roles.ends(node)   # {"return"}: all that ever becomes of its value

A text that only ever reaches the return value is format; one that decides a test is condition.
The flow is followed by names, without regard to order, and into helpers in the same code.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from typing import Literal

from planish.methods.mistakes.repairing.source import Source

__all__ = ["Role", "Roles", "function_name"]

Role = Literal[
    "index", "condition", "arithmetic", "call", "order", "format", "literal", "statement"
]

_TEXT_CALLS = frozenset(
    {
        "str",
        "repr",
        "join",
        "format",
        "upper",
        "lower",
        "title",
        "capitalize",
        "swapcase",
        "casefold",
        "strip",
        "lstrip",
        "rstrip",
        "replace",
        "removeprefix",
        "removesuffix",
        "ljust",
        "rjust",
        "center",
        "zfill",
        "chr",
        "hex",
        "bin",
        "oct",
        "input",
    }
)

_CARRY = _TEXT_CALLS | frozenset(
    {
        "list",
        "tuple",
        "set",
        "frozenset",
        "dict",
        "sorted",
        "reversed",
        "append",
        "appendleft",
        "extend",
        "insert",
        "add",
        "update",
        "setdefault",
        "get",
        "int",
        "float",
        "round",
        "sum",
        "max",
        "min",
        "abs",
        "bool",
        "map",
        "filter",
        "zip",
        "enumerate",
        "range",
        "copy",
        "fromkeys",
        "pow",
        "divmod",
        "floor",
        "ceil",
        "trunc",
        "sqrt",
        "heappush",
        "print",
        "deque",
        "Counter",
        "defaultdict",
    }
)
"""Calls of which the result holds what they were given."""

_Step = ast.AST | str


def function_name(call: ast.Call) -> str:
    """Name of the function or method that is called; "" where it has none."""
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


class Roles:
    """Roles of the nodes of one module.

    Args:
        source: of the module.
        entry: name of the function whose return value counts; where the module has no such
            function, that of every function does.
    """

    def __init__(self, source: Source, entry: str) -> None:
        self.source = source
        self.loads: dict[tuple[int, str], list[ast.Name]] = defaultdict(list)
        self.values: dict[tuple[int, str], list[ast.expr]] = defaultdict(list)
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
        self._calls: dict[str, list[ast.Call]] = defaultdict(list)
        self._ends: dict[ast.AST, frozenset[str]] = {}
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.loads[self._home(node), node.id].append(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions[node.name] = node
            elif isinstance(node, ast.Call):
                self._calls[function_name(node)].append(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name) and node.value is not None:
                        self.values[self._home(node), target.id].append(node.value)
        self.entry = entry if entry in self.functions else ""

    # ---- what a value becomes

    def ends(self, node: ast.AST) -> frozenset[str]:
        """All that becomes of its value: return, index, condition, arithmetic, call, range."""
        if node not in self._ends:
            found: set[str] = set()
            seen = {node}
            queue = [node]
            while queue:
                for step in self._steps(queue.pop()):
                    if isinstance(step, str):
                        found.add(step)
                    elif step not in seen:
                        seen.add(step)
                        queue.append(step)
            self._ends[node] = frozenset(found)
        return self._ends[node]

    def _steps(self, node: ast.AST) -> Iterator[_Step]:
        if node not in self.source.parents:
            return
        parent, field = self.source.parents[node]
        if isinstance(parent, ast.Return | ast.Yield | ast.YieldFrom):
            yield from self._returned(parent)
        elif isinstance(parent, ast.stmt):
            yield from self._stated(node, parent, field)
        elif (isinstance(parent, ast.Subscript) and field == "slice") or isinstance(
            parent, ast.Slice
        ):
            yield "index"
        elif isinstance(parent, ast.Compare):
            yield "condition"
        elif isinstance(parent, ast.BoolOp) or (
            isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.Not)
        ):
            yield "condition"
            yield parent
        elif isinstance(parent, ast.BinOp | ast.UnaryOp):
            if not self.is_text(parent):
                yield "arithmetic"
            yield parent
        elif isinstance(parent, ast.IfExp):
            yield "condition" if field == "test" else parent
        elif isinstance(parent, ast.comprehension):
            if field == "ifs":
                yield "condition"
            elif field == "iter":
                yield from self._uses(parent.target)
        elif isinstance(parent, ast.Call):
            yield from self._called(node, parent, field)
        elif isinstance(parent, ast.keyword):
            call = self.source.parents[parent][0]
            yield "call"
            if isinstance(call, ast.Call) and function_name(call) in _CARRY:
                yield call
        elif isinstance(parent, ast.Attribute):
            above, place = self.source.parents[parent]
            yield above if isinstance(above, ast.Call) and place == "func" else parent
        elif isinstance(parent, ast.Lambda):
            yield "call"
        elif isinstance(parent, ast.arguments):
            yield from self._default(node, parent)
        else:
            yield parent

    def _stated(self, node: ast.AST, parent: ast.stmt, field: str) -> Iterator[_Step]:
        if field == "test":
            yield "condition"
        elif isinstance(parent, ast.Assign) and field == "value":
            for target in parent.targets:
                yield from self._uses(target)
        elif isinstance(parent, ast.AugAssign | ast.AnnAssign) and field == "value":
            if isinstance(parent, ast.AugAssign) and not self.is_text(node):
                yield "arithmetic"
            yield from self._uses(parent.target)
        elif isinstance(parent, ast.For | ast.AsyncFor) and field == "iter":
            yield from self._uses(parent.target)
        elif isinstance(parent, ast.Raise | ast.Assert):
            yield "raise"

    def _called(self, node: ast.AST, call: ast.Call, field: str) -> Iterator[_Step]:
        if field == "func":
            return
        name = function_name(call)
        yield "range" if name == "range" else "call"
        helper = self.functions.get(name)
        if helper is not None:
            number = next((i for i, each in enumerate(call.args) if each is node), -1)
            known = [*helper.args.posonlyargs, *helper.args.args]
            if known and known[0].arg in ("self", "cls"):
                known = known[1:]
            if 0 <= number < len(known):
                yield from self.loads[self._home(helper.body[0]), known[number].arg]
        elif name in _CARRY:
            yield call
            if isinstance(call.func, ast.Attribute) and not self._has_value(call):
                yield from self._uses(call.func.value)

    def _returned(self, node: ast.AST) -> Iterator[_Step]:
        home = self.function(node)
        if home is None or not self.entry or home.name == self.entry:
            yield "return"
        if home is not None:
            yield from self._calls[home.name]

    def _default(self, node: ast.AST, parent: ast.arguments) -> Iterator[_Step]:
        known = [*parent.posonlyargs, *parent.args]
        pairs = list(zip(reversed(known), reversed(parent.defaults), strict=False))
        pairs += [(a, d) for a, d in zip(parent.kwonlyargs, parent.kw_defaults, strict=True) if d]
        owner = self.source.parents[parent][0]
        if isinstance(owner, ast.FunctionDef | ast.AsyncFunctionDef):
            for argument, default in pairs:
                if default is node:
                    yield from self.loads[self._home(owner.body[0]), argument.arg]

    def _uses(self, target: ast.AST) -> Iterator[_Step]:
        """Where what is put into a target is read again."""
        for node in ast.walk(target):
            if isinstance(node, ast.Name):
                within = any(
                    self.source.parents[each][1] == "slice"
                    for each in [node, *self.source.up(node)]
                    if each in self.source.parents and not isinstance(each, ast.stmt)
                )
                if not within:
                    yield from self.loads[self._home(node), node.id]

    def _has_value(self, call: ast.Call) -> bool:
        return not isinstance(self.source.parents[call][0], ast.Expr)

    def _home(self, node: ast.AST) -> int:
        """The outermost function that a name belongs to; 0: the module."""
        home = 0
        for each in self.source.up(node):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                home = id(each)
        return home

    # ---- what a place is for

    def function(self, node: ast.AST) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
        """The function that it is in."""
        for each in self.source.up(node):
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                return each
        return None

    def role(self, node: ast.AST) -> Role:
        """What an expression is for; for a statement "statement"."""
        if isinstance(node, ast.stmt):
            return "statement"
        if isinstance(node, ast.Compare | ast.BoolOp) or (
            isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
        ):
            return "condition"
        if isinstance(node, ast.Slice):
            return "index"
        ends = self.ends(node)
        if isinstance(node, ast.Constant) and isinstance(node.value, bool):
            return "condition"
        if self.is_text(node) and not isinstance(node, ast.Call):
            return self._of_text(ends)
        if isinstance(node, ast.Call):
            return "call"
        if self.is_tested(node):
            return "condition"
        if "index" in ends and not ends & {"return"}:
            return "index"
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float | complex):
            return "literal"
        if ends <= {"condition"} and ends:
            return "condition"
        return "arithmetic"

    def _of_text(self, ends: frozenset[str]) -> Role:
        if "condition" in ends:
            return "literal" if "return" in ends else "condition"
        if "return" in ends:
            return "format"
        return "call" if "call" in ends else "literal"

    def is_tested(self, node: ast.AST) -> bool:
        """Whether it is a test, or what a comparison compares."""
        parent, field = self.source.parents.get(node, (None, ""))
        return isinstance(parent, ast.Compare | ast.BoolOp) or field in ("test", "ifs")

    def is_index(self, node: ast.AST) -> bool:
        """Whether it is a name whose value is used as an index."""
        return isinstance(node, ast.Name) and any(
            "index" in self.ends(load) for load in self.loads[self._home(node), node.id]
        )

    def is_text(self, node: ast.AST, deep: int = 3) -> bool:
        """Whether its value is surely text."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str)
        if isinstance(node, ast.JoinedStr):
            return True
        if isinstance(node, ast.Call):
            return function_name(node) in _TEXT_CALLS
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.is_text(node.left, deep) or self.is_text(node.right, deep)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Mult):
            return self.is_text(node.left, deep)
        if isinstance(node, ast.Name) and deep:
            values = self.values.get((self._home(node), node.id), [])
            return any(self.is_text(each, deep - 1) for each in values)
        return False
