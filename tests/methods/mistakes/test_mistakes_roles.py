"""What a place in the code is for, by where its value flows to."""

from __future__ import annotations

import ast
import textwrap

import pytest

from planish.methods.mistakes.repairing.noise import noise
from planish.methods.mistakes.repairing.roles import Roles
from planish.methods.mistakes.repairing.source import Source


def roles_of(code: str, entry: str = "f") -> tuple[Source, Roles]:
    source = Source(textwrap.dedent(code))
    return source, Roles(source, entry)


def found(source: Source, text: str, number: int = 0) -> ast.expr:
    """The expression that is spelled so."""
    nodes = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.expr)
        and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
        and ast.unparse(node) == text
    ]
    return nodes[number]


@pytest.mark.parametrize(
    ("body", "text", "role"),
    [
        ("return a[n + 1]", "n + 1", "index"),
        ("return a[n:]", "n", "index"),
        ("return n + 1", "n + 1", "arithmetic"),
        ("return n > 1", "n > 1", "condition"),
        ("if n > 1:\n    return a", "1", "condition"),
        ("i = 0\nwhile i < n:\n    print(a[i])\n    i += 1\nreturn n", "0", "index"),
        ("t = 0\nfor x in a:\n    t += x\nreturn t", "0", "arithmetic"),
        ("return ', '.join(a)", "', '", "format"),
        ("s = ', '\nreturn s.join(a)", "', '", "format"),
        ("return f'{n}%'", "f'{n}%'", "format"),
        ("return [x for x in a if x in 'aeiou']", "'aeiou'", "condition"),
        ("v = 'aeiou'\nreturn [x for x in a if x in v]", "'aeiou'", "condition"),
        ("return a.split(',')", "','", "call"),
        ("return a.split(',')", "a.split(',')", "call"),
        ("return not a", "not a", "condition"),
        ("parts = []\nparts.append('x')\nreturn ''.join(parts)", "'x'", "format"),
        ("k = 'x'\nif a == k:\n    return k\nreturn a", "'x'", "literal"),
    ],
)
def test_the_role_is_told_by_the_flow(body: str, text: str, role: str) -> None:
    source, roles = roles_of(f"def f(a, n):\n{textwrap.indent(body, '    ')}\n")
    assert roles.role(found(source, text)) == role


def test_a_literal_that_only_decides_a_test_is_no_format_wherever_it_is_bound() -> None:
    code = """
        STOPS = "the and"

        def kept(word, stops=STOPS):
            return word not in stops

        def f(words):
            return [word for word in words if kept(word)]
        """
    source, roles = roles_of(code)
    assert "return" not in roles.ends(found(source, "'the and'"))


def test_the_flow_goes_through_a_helper() -> None:
    code = """
        def show(text, mark="-"):
            return text + mark

        def f(text):
            return show(text)
        """
    source, roles = roles_of(code)
    assert roles.role(found(source, "'-'")) == "format"


def test_a_helper_that_only_a_test_calls_returns_no_format() -> None:
    code = """
        def kind(text):
            return "a" + text

        def f(text):
            if kind(text) == "ab":
                return 1
            return 2
        """
    source, roles = roles_of(code)
    assert roles.ends(found(source, "'a'")) == {"condition"}


def test_ranges_that_index_are_told_from_ranges_that_count() -> None:
    code = """
        def f(a, n):
            total = 0
            for i in range(n):
                total += a[i]
            for j in range(len(a)):
                total += j
            return total
        """
    source, roles = roles_of(code)
    assert "index" in roles.ends(found(source, "range(n)"))
    assert "index" not in roles.ends(found(source, "range(len(a))"))


def test_a_value_that_flows_in_a_circle_ends() -> None:
    source, roles = roles_of(
        "def f(a):\n    while a:\n        b = a\n        a = b\n    return a\n"
    )
    assert roles.ends(found(source, "b")) == {"condition", "return"}


AROUND = """
import random
table = {}
cases = [1, 2]


def f(x):
    case = x
    return table.get(case, 0)


"""


@pytest.mark.parametrize(
    ("line", "tries"),
    [
        ("print(f(1))", True),
        ("for case in cases:\n    print(f(case))", True),
        ("for x in range(3):\n    table[x] = x", False),
        ("for x in range(3):\n    table[x] = f(x)", False),
        ("table.update({1: 2})", False),
        ("random.seed(0)", False),
        ("if cases:\n    print(f(2))", True),
        ("assert f(1) == 2", True),
        ("for x in range(3):\n    f(x)", True),
        ('if __name__ == "__main__":\n    x = f(1)', True),
        ('"""What it is."""', False),
        ("LIMIT = 3", False),
        ("import re", False),
        ("if LIMIT:\n    def f(x):\n        return x", False),
    ],
)
def test_what_only_tries_a_module_out_is_known(line: str, tries: bool) -> None:
    module = ast.parse(f"{AROUND}{line}\n")
    assert (module.body[-1] in noise(module)) is tries
