"""Changes of one place: spliced into the text, each with the categories of its role."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.methods.mistakes.repairing.mutants import digest, isolated, mutants
from planish.methods.mistakes.repairing.site import Change, Example, Site
from planish.methods.mistakes.repairing.source import Patch, Source, read


def changes_of(code: str, *examples: Example) -> list[Change]:
    return list(mutants(textwrap.dedent(code), "f", examples))


def mending(code: str, wanted: str, *examples: Example) -> Change:
    """The change after which the code is the wanted one; the test fails where there is none."""
    right = digest(textwrap.dedent(wanted))
    for change in changes_of(code, *examples):
        if digest(change.code) == right:
            return change
    raise AssertionError(f"no change makes this:\n{wanted}")


def body(*lines: str) -> str:
    return "def f(a, b):\n" + "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize(
    ("wrong", "right", "category"),
    [
        # indexes
        (["return a[b]"], ["return a[b - 1]"], "IOM"),
        (["return a[1:]"], ["return a"], "IOM"),
        (["return a[:-1]"], ["return a[:]"], "IOM"),
        (["return a[0]"], ["return a[-1]"], "IOM"),
        (["return [a[i] for i in range(b)]"], ["return [a[i] for i in range(b + 1)]"], "IOM"),
        (["return [a[i] for i in range(1, b)]"], ["return [a[i] for i in range(b)]"], "IOM"),
        (["return list(enumerate(a))"], ["return list(enumerate(a, 1))"], "IOM"),
        (["return a[2:] < b[2:]"], ["return a[1:] < b[1:]"], "IOM"),
        # conditions
        (["if a < b:", "    return 1"], ["if a <= b:", "    return 1"], "CE"),
        (["return a == b"], ["return a != b"], "CE"),
        (["return a and b"], ["return a or b"], "CE"),
        (["if a and b:", "    return 1"], ["if a:", "    return 1"], "CE"),
        (["if a:", "    return 1"], ["if a and b > 0:", "    return 1"], "CE"),
        (["if True:", "    return 1"], ["if a < b:", "    return 1"], "CE"),
        (["if a:", "    return 1"], ["if not a:", "    return 1"], "CE"),
        (["return [x for x in a if x]"], ["return [x for x in a]"], "CE"),
        (["return [x for x in a]"], ["return [x for x in a if x > b]"], "CE"),
        (["return 1 if a else 2"], ["return 2 if a else 1"], "CE"),
        (
            ["for x in a:", "    print(x)", "return b"],
            ["for x in a:", "    if x < 0:", "        continue", "    print(x)", "return b"],
            "CE",
        ),
        # formulas
        (["return a + b"], ["return a - b"], "MFLE"),
        (["return a / b"], ["return a // b"], "MFLE"),
        (["return a * 2"], ["return a * 3"], "MFLE"),
        (["return a"], ["return a + 1"], "MFLE"),
        (["return a + 1"], ["return a + 1 + b"], "MFLE"),
        (["return max(a)"], ["return min(a)"], "MFLE"),
        (["t = 0", "for x in a:", "    t += x * b", "return t"],
         ["t = 0", "for x in a:", "    t *= x * b", "return t"], "MFLE"),
        (["t = 1", "for x in a:", "    t += x", "return t"],
         ["t = 0", "for x in a:", "    t += x", "return t"], "MFLE"),
        # order
        (["return a - b"], ["return b - a"], "MOOV"),
        (["return (a + b) * 2"], ["return a + b * 2"], "MOOV"),
        (["return a.replace('x', 'y')"], ["return a.replace('y', 'x')"], "MOOV"),
        (["a += b", "b = a * 2", "return b"], ["b = a * 2", "a += b", "return b"], "MOOV"),
        (["a, b = b, a + b", "return a"], ["b = a + b", "a = b", "return a"], "MOOV"),
        (["return (a, b)"], ["return (b, a)"], "MOOV"),
        (["return a.startswith(b)"], ["return b.startswith(a)"], "MOOV"),
        (["return a.strip().split()"], ["return a.split().strip()"], "MOOV"),
        (
            ["for x in a:", "    b.append(x)", "    b.sort()", "return b"],
            ["for x in a:", "    b.append(x)", "b.sort()", "return b"],
            "MOOV",
        ),
        # calls
        (["return a.lstrip(b)"], ["return a.removeprefix(b)"], "MLA"),
        (["return a.index(b)"], ["return a.rindex(b)"], "MLA"),
        (["b.append(a)", "return b"], ["b.extend(a)", "return b"], "MLA"),
        (["return a.split(' ')"], ["return a.split()"], "MLA"),
        (["return sorted(a, b)"], ["return sorted(a, key=b)"], "MLA"),
        (["return sorted(a)"], ["return sorted(a, reverse=True)"], "MLA"),
        (["return a.sort()"], ["return sorted(a)"], "MLA"),
        (["return [*map(f, a)]"], ["return [*map(f, *zip(*a))]"], "MLA"),
        (
            ["a = a.remove(b)", "a = a.remove(3)", "return a"],
            ["a.remove(b)", "a.remove(3)", "return a"],
            "MLA",
        ),
        (["a.strip()", "return a"], ["a = a.strip()", "return a"], "MLA"),
        (["a = a.append(b)", "return a"], ["a = a + [b]", "return a"], "MLA"),
        (["return a[b] + 1"], ["return a.get(b, 0) + 1"], "MLA"),
        (["return a.pop()"], ["return a.pop(0)"], "MLA"),
        # formats
        (["return str(a)"], ["return a"], "MOFE"),
        (["return a"], ["return str(a)"], "MOFE"),
        (["return sorted(a)"], ["return tuple(sorted(a))"], "MOFE"),
        (["return f'{a:.1f}'"], ["return f'{a:.2f}'"], "MOFE"),
        (["return f'{a:<{b}}'"], ["return f'{a:>{b}}'"], "MOFE"),
        (["return f'{a}'"], ["return f'{a:02d}'"], "MOFE"),
        (["return ','.join(a)"], ["return ', '.join(a)"], "MOFE"),
        (["return [str(x) for x in a]"], ["return [x for x in a]"], "MOFE"),
        (["return a.upper()"], ["return a.lower()"], "MOFE"),
        (["return [a, b]"], ["return (a, b)"], "MOFE"),
        (["print(a)"], ["return a"], "MOFE"),
        (["return round(a, 1)"], ["return round(a, 2)"], "MOFE"),
    ],
)  # fmt: skip
def test_each_slip_has_an_inverse_of_its_category(
    wrong: list[str], right: list[str], category: str
) -> None:
    assert mending(body(*wrong), body(*right)).categories[0] == category


def test_a_text_that_decides_a_test_is_a_condition_and_one_that_is_returned_is_format() -> None:
    tested = mending(body("return a in 'aeiou'"), body("return a in 'aeiouAEIOU'"))
    shown = mending(body("return a + ','"), body("return a + ', '"))
    assert (tested.categories, tested.role) == (("CE",), "condition")
    assert (shown.categories, shown.role) == (("MOFE",), "format")


def test_a_guard_is_tried_where_it_answers_a_failing_input() -> None:
    wrong, right = body("return a[0]"), body("if not a:", "    return -1", "return a[0]")
    assert mending(wrong, right, Example(([], 1), -1)).categories == ("CE",)
    with pytest.raises(AssertionError, match="no change"):
        mending(wrong, right, Example(([3], 1), -1))


def test_what_a_chain_of_tests_leaves_over_is_answered_as_expected() -> None:
    wrong = body("for x in a:", "    if x:", "        b += x", "return b")
    right = body(
        "for x in a:", "    if x:", "        b += x", "    else:", "        return -1", "return b"
    )
    assert mending(wrong, right, Example(([0], 1), -1)).categories == ("CE",)


def test_what_is_expected_tells_which_text_is_missing() -> None:
    example = Example((1, 2), "1 euro", "1", True)
    wrong, right = body("return f'{a}'"), body("return f'{a} euro'")
    assert mending(wrong, right, example).categories == ("MOFE",)


def test_a_negative_constant_is_not_lost_in_its_surroundings() -> None:
    assert "return a - -1" in {each.code.split("\n    ")[1].strip() for each in changes_of(
        body("return a - 1"))}  # fmt: skip


def test_layout_comments_and_quotes_stay() -> None:
    code = 'def f(a, b):\n    # why\n    x = a["k"]   # first\n\n    return x  <  b\n'
    change = mending(code, code.replace("<", "<="))
    assert change.code == code.replace("x  <  b", "x <= b")
    assert (change.line, change.before, change.after) == (5, "x  <  b", "x <= b")


def test_text_beyond_ascii_keeps_its_place() -> None:
    code = 'def f(a, b):\n    return "äöü" + a[1:] + "ß"\n'
    assert 'return "äöü" + a[2:] + "ß"' in "".join(each.code for each in changes_of(code))


def test_a_branch_on_one_line_is_changed_too() -> None:
    code = "def f(a, b):\n    if a: return 1\n    return 2\n"
    right = "def f(a, b):\n    return 1\n    return 2\n"
    assert mending(code, right).categories == ("CE",)


def test_an_elif_is_changed_without_breaking_its_chain() -> None:
    code = body("if a:", "    return 1", "elif b:", "    return 2", "else:", "    return 3")
    right = body("if a:", "    return 1", "else:", "    return 3")
    assert mending(code, right).categories == ("CE",)


def test_lines_that_no_failing_input_runs_are_left_alone() -> None:
    code = body("if a:", "    return b + 1", "return b + 2")
    lines = {each.line for each in mutants(code, "f", (), {2: 0.5, 4: 1.0})}
    assert 3 not in lines
    assert {2, 4} <= lines


def test_suspicious_lines_come_first() -> None:
    code = body("x = a + 1", "y = b + 1", "return x * y")
    first = next(iter(mutants(code, "f", (), {2: 0.2, 3: 0.9, 4: 0.2})))
    assert first.line == 3


def test_the_order_is_the_same_every_time() -> None:
    code = body("x = {b: 1}", "for c in a:", "    x[c] = len(a) - 1", "return x")
    example = Example(([1], 2), {1: 2}, {}, True)
    told = [[each.code for each in changes_of(code, example)] for _ in range(2)]
    assert told[0] == told[1]


def test_module_level_code_is_taken_out_line_for_line() -> None:
    code = body("return a") + "\nprint(f(1, 2))\nLIMIT = 3\nassert f(1, 2) == 1\n"
    alone = isolated(code)
    assert alone.count("\n") == code.count("\n")
    assert "print" not in alone
    assert "assert" not in alone
    assert "LIMIT = 3" in alone
    assert isolated(body("return a")) == body("return a")


def test_demo_calls_are_not_changed() -> None:
    code = body("return a") + "print(f(1, 2) + 1)\n"
    assert all("print(f(1, 2) + 1)" in each.code for each in changes_of(code))


@pytest.mark.parametrize("code", ["def f(:\n", "x = '\0'\n", "f = '\ud800'\n", "(" * 500])
def test_text_that_is_no_program_has_no_changes(code: str) -> None:
    assert read(code) is None
    assert list(mutants(code, "f")) == []
    assert isolated(code) == code


PROGRAMS = (
    body(
        "t = []",
        "for i in range(len(a)):",
        "    if a[i] > b and i % 2 == 0:",
        "        t.append((i, f'{a[i]:>3}'))",
        "    elif not a[i]: continue",
        "return {k: v for k, v in t} or None",
    ),
    body(
        "with open(a) as h:",
        "    try:",
        "        x = (yield h.read()) or -b ** 2",
        "    except (OSError, ValueError) as e:",
        "        raise",
        "    finally:",
        "        b -= 1",
        "return lambda y, z=x: y if (w := z) else not w",
    ),
    'def f(a, b):\n\tx = """\n  long\n"""; y = a[b, 1:2]\n\tfor q in x:\n'
    '\t\ty += (q\n\t\t\t+ "s")\n\treturn y\n',
)


@pytest.mark.parametrize("code", PROGRAMS)
def test_every_change_is_a_program_of_its_own(code: str) -> None:
    every = changes_of(code)
    assert len(every) > 100
    digests = {digest(each.code) for each in every}
    assert None not in digests
    assert digest(code) not in digests
    assert len(digests) == len(every)
    assert all(each.operator and each.line >= 1 for each in every)


def expressions() -> st.SearchStrategy[str]:
    leaves = st.sampled_from(
        ["a", "b", "1", "-2", "'x'", "a[b]", "f(a)", "a.c", "[a, b]", "(a, b)"]
    )

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        two = st.tuples(inner, inner)
        operators = st.sampled_from(["+", "-", "*", "**", "/", "<", "==", "and", "or", "|", "in"])
        return st.one_of(
            st.tuples(two, operators).map(lambda each: f"{each[0][0]} {each[1]} {each[0][1]}"),
            inner.map(lambda each: f"not {each}"),
            inner.map(lambda each: f"({each})"),
            two.map(lambda each: f"({each[0]} if {each[1]} else a)"),
            inner.map(lambda each: f"g({each}, k=a)"),
            inner.map(lambda each: f"[x for x in ({each}) if x]"),
        )

    return st.recursive(leaves, grown, max_leaves=6)


@settings(deadline=None, max_examples=60)
@given(expressions(), expressions(), st.data())
def test_what_is_spliced_in_is_what_was_meant(old: str, new: str, data: st.DataObject) -> None:
    source = read(f"x = [{old}, 0]\n")
    other = read(f"x = {new}\n")
    if source is None or other is None:
        return
    nodes = [each for each in Site(source, "f").expressions() if each in source.parents]
    node = data.draw(st.sampled_from(nodes))
    replacement = other.tree.body[0]
    assert isinstance(replacement, ast.Assign)
    text = source.replaced(node, replacement.value)

    class Put(ast.NodeTransformer):
        def visit(self, each: ast.AST) -> ast.AST:
            return replacement.value if each is node else super().generic_visit(each)

    assert ast.unparse(ast.parse(text)) == ast.unparse(Put().visit(source.tree))


def test_statements_that_move_take_their_lines_along() -> None:
    source = Source(body("for x in a:", "    b += x", "    # told", "    print(b)", "return b"))
    loop = source.tree.body[0].body[0]  # type: ignore[attr-defined]
    last = loop.body[-1]
    moved = source.patched([Patch(last, "instead", ()), Patch(loop, "after", (last,))])
    assert moved == body("for x in a:", "    b += x", "    # told", "print(b)", "return b")
