from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from planish.tasks.sandbox import ExecResult, Job, Limits, Sandbox, dumps
from planish.tasks.sandbox.levels import why_not
from planish.tasks.sandbox.tame import tame

LOCKED = [level for level in ("bwrap", "unshare") if not why_not(level)]

WILD = [
    "import os\n",
    "import sys\nsys.setrecursionlimit(10**6)\n",
    "import math\nmath.pi = 3\n",
    "import math\ndel math.pi\n",
    "import math\nfor math.pi in [3]:\n    pass\n",
    "import math\n[0 for math.pi in [3]]\n",
    "from math import *\n",
    "from math import __dict__ as inside\n",
    "from typing import get_type_hints\n",
    "from . import values\n",
    "import math.pi\n",
    "import random\n",
    "print(1)\n",
    "open('x')\n",
    "eval('1')\n",
    "exec('1')\n",
    "compile('1', 'a', 'eval')\n",
    "getattr(1, 'real')\n",
    "setattr(f, 'a', 1)\n",
    "f = vars\n",
    "globals()['x'] = 1\n",
    "x = __builtins__\n",
    "x = __import__('os')\n",
    "from math import pi as __builtins__\n",
    "def __import__(x):\n    return x\n",
    "def f(__class__):\n    return 1\n",
    "x = ().__class__\n",
    "x = (lambda: 0).__globals__\n",
    "x = (i for i in ()).gi_frame\n",
    "x = '{0.__class__}'.format(1)\n",
    "x = '{x.__class__}'.format_map({'x': 1})\n",
    "x = '{:{0.__class__}}'.format(1)\n",
    "x = '{0[0]}'.format(1)\n",
    "x = '{'.format(1)\n",
    "x = ('{0.__cl' + 'ass__}').format(1)\n",
    "x = str.format('{0.__class__}', 1)\n",
    "x = f'{1}'.format(1)\n",
    "x = b'{}'.format(1)\n",
    "class A:\n    def __del__(self):\n        pass\n",
    "A = type('A', (), {})\n",
    "A = type(*['A', (), {}])\n",
    "make = type\n",
    "A = type(type(1))('A', (), {'__eq__': lambda a, b: True})\n",
    "kind = type(type(1))\n",
    "x = object()\n",
    "try:\n    pass\nexcept BaseException:\n    pass\n",
    "try:\n    1 / 0\nexcept Exception as e:\n    x = e.__traceback__.tb_frame\n",
    "raise SystemExit\n",
    "def f():\n    try:\n        yield 1\n    finally:\n        pass\n",
    "def f():\n    yield from [1]\n\n\ndef g():\n    try:\n        f()\n    except KeyError:\n"
    "        pass\n",
    "async def f():\n    pass\n",
    "with x:\n    pass\n",
    "def f(x):\n    x.y = 1\n",
    "def f(x:\n",
    "x = 1\0\n",
    "x = 1\n" * 20_000,
]

TAME = [
    "def f(x):\n    return sorted(set(x))[::-1]\n",
    "import math\nfrom typing import List\n\n\ndef f(x: List[int]) -> float:\n"
    "    return math.sqrt(sum(i * i for i in x))\n",
    "import re\n\n\ndef f(x):\n    return re.sub(r'\\s+', ' ', x).strip().title()\n",
    "from collections import Counter\n\n\ndef f(x):\n"
    "    return [one for one, _ in Counter(x).most_common(2)]\n",
    "from functools import lru_cache\n\n\n@lru_cache(maxsize=None)\ndef f(n):\n"
    "    return n if n < 2 else f(n - 1) + f(n - 2)\n",
    "def f(x):\n    if type(x) == int:\n        return f'{x:>4}'\n    raise ValueError(x)\n",
    "def f(x):\n    return '{} {0:>{width}} {a_b!r:x}'.format(x, width=3, a_b=x)\n",
    "def f(x):\n    try:\n        return x[0]\n    except (IndexError, KeyError) as error:\n"
    "        return None\n\n\nif __name__ == '__main__':\n    f([])\n",
]


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    if not LOCKED:
        pytest.skip("nothing can be locked up here")
    with Sandbox(workers=1) as made:
        yield made


def job(code: str, *values: object, seconds: float = 20.0, memory: int = 1024) -> Job:
    return Job(
        key="1",
        code=code,
        entry_point="f",
        inputs=tuple(dumps((value,)) for value in values),
        limits=Limits(seconds=seconds, memory_mb=memory),
    )


@pytest.mark.parametrize("code", WILD)
def test_what_could_leave_something_behind_is_not_tame(code: str) -> None:
    assert not tame(code)
    assert not tame("def f(x):\n    return x\n\n\n" + code)


PLACES = [
    "{}\n", "x = {}\n", "x: {} = 1\n", "x: int = {}\n", "x += {}\n", "x[{}] = 1\n", "x[1:{}:2]\n",
    "def f(x={}):\n    pass\n", "def f(*, x={}):\n    pass\n", "def f(x: {}):\n    pass\n",
    "def f(*x: {}):\n    pass\n", "def f(**x: {}):\n    pass\n", "def f(x: {}, /):\n    pass\n",
    "def f() -> {}:\n    pass\n", "@g({})\ndef f():\n    pass\n", "def f():\n    return {}\n",
    "lambda x={}: 1\n", "lambda: {}\n", "f(a={})\n", "f(*{})\n", "f(**{})\n", "{}(1)\n",
    "x.append({})\n",
    "f'{{{}}}'\n", "f'{{x:{{{}}}}}'\n", "[{} for x in y]\n", "[x for x in {}]\n",
    "[x for x in y if {}]\n", "{{{}: 1}}\n", "{{1: {}}}\n", "{{**{}}}\n", "{{{}}}\n", "[1, {}]\n",
    "(1, {})\n", "1 < 2 < {}\n", "not {}\n", "1 and {}\n", "1 if {} else 2\n", "(x := {})\n",
    "assert {}\n", "assert 1, {}\n", "raise {}\n", "raise E from {}\n", "del x[{}]\n",
    "while {}:\n    pass\n", "while 1:\n    pass\nelse:\n    {}\n", "for x in {}:\n    pass\n",
    "for x in y:\n    {}\nelse:\n    pass\n", "if 1:\n    pass\nelif {}:\n    pass\n",
    "try:\n    {}\nexcept E:\n    pass\n", "try:\n    pass\nexcept {}:\n    pass\n",
    "try:\n    pass\nexcept E:\n    {}\n", "try:\n    pass\nfinally:\n    {}\n",
    "try:\n    pass\nexcept E:\n    pass\nelse:\n    {}\n", "def f():\n    yield {}\n",
    "def f():\n    yield from {}\n",
]  # fmt: skip
"""Wherever an expression may stand."""


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_tame_is_found_wherever_it_stands(place: str) -> None:
    assert tame(place.format("sorted"))
    for wild in ("eval", "x.__class__", "f(type)", "__name", "(lambda __x: 1)"):
        assert not tame(place.format(wild))


@pytest.mark.parametrize("code", TAME)
def test_what_leaves_nothing_behind_is_tame(code: str) -> None:
    assert tame(code)


def test_tame_programs_share_a_process_and_others_do_not(box: Sandbox) -> None:
    shared = box._pairs[0]._shared
    box.run([job(TAME[0], [2, 1])])
    first = shared["candidate"].child
    box.run([job(TAME[1], [3, 4])])
    assert box._pairs[0]._shared["candidate"].child is first
    box.run([job("import os\n" + TAME[0], [2, 1])])
    assert "candidate" not in box._pairs[0]._shared


def test_a_shared_process_changes_no_result(box: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    values = ([3, 1, 3], "a  b", 7, [], None, {"x": 1})
    programs = [job(code, *values) for code in TAME * 2]

    def seen(results: list[ExecResult]) -> list[object]:
        return [(one.status, one.line, one.exception, one.per_input) for one in results]

    together = seen(box.run(programs))
    monkeypatch.setattr("planish.tasks.sandbox.host.read", lambda _: None)
    assert seen(box.run(programs)) == together


def test_names_and_stores_of_one_program_are_not_seen_by_the_next(box: Sandbox) -> None:
    first = "found = []\n\n\ndef f(x):\n    found.append(x)\n    return found\n"
    second = "def f(x):\n    return found\n"
    results = box.run([job(first, 1), job(first, 2), job(second, 3)])
    assert [one.per_input[0].value for one in results[:2]] == ["[1]", "[2]"]
    assert results[2].exception == "NameError"


def test_what_runs_when_values_are_let_go_of_is_no_burden_of_the_next(box: Sandbox) -> None:
    code = (
        "def rows():\n    try:\n        yield 1\n    finally:\n        while True:\n"
        "            pass\n\n\nheld = rows()\n\n\ndef f(x):\n    return next(held)\n"
    )
    assert not tame(code)
    results = box.run([job(code, 1), job(TAME[0], [2, 1])], retry=False)
    assert [one.status for one in results] == ["pass", "pass"]


def test_what_comes_of_a_program_long_after_it_is_no_burden_of_the_next(box: Sandbox) -> None:
    code = (
        "def rows(n, box):\n    try:\n        yield 1\n    finally:\n        if n > 0:\n"
        "            while True:\n                pass\n        make(n + 1)\n\n\n"
        "def make(n):\n    box = []\n    held = rows(n, box)\n    box.append(held)\n"
        "    next(held)\n\n\ndef f(x):\n    make(0)\n    return x\n"
    )
    busy = "def f(x):\n    return len([[one] for one in range(3000)])\n"
    results = box.run([job(code, 1), job(busy, 1, seconds=3)], retry=False)
    assert [one.status for one in results] == ["pass", "pass"]


def test_what_the_library_keeps_of_calls_is_not_seen_by_the_next(box: Sandbox) -> None:
    kinds = "from typing import List\n\n\ndef f(x):\n    return str(List[x])\n"
    flags = "import re\n\n\ndef f(x):\n    return re.findall('a', 'A', x)\n"
    assert tame(kinds)
    assert tame(flags)
    first, second, third, fourth = box.run(
        [job(kinds, 1.0), job(kinds, 1), job(flags, 2), job(flags, 2.0)]
    )
    assert first.per_input[0].value == '"typing.List[1.0]"'
    assert second.per_input[0].value == '"typing.List[1]"'
    assert third.status == "pass"
    assert fourth.exception == "TypeError"


def test_a_program_may_have_the_name_of_a_module_that_others_use(box: Sandbox) -> None:
    own = job("def f(x):\n    return 7\n\n\ndef sqrt(x):\n    return 'A'\n", 1)
    own = own.model_copy(update={"module": "math.py"})
    user = job("import math\n\n\ndef f(x):\n    return math.sqrt(x)\n", 4)
    results = box.run([own, user])
    assert [one.per_input[0].value for one in results] == ["7", "2.0"]


def test_memory_of_one_program_is_not_taken_from_the_next(box: Sandbox) -> None:
    large = "held = [0] * (60 << 20)\n\n\ndef f(x):\n    return len(held)\n"
    assert tame(large)
    results = box.run([job(large, 1, memory=768)] * 3)
    assert [one.status for one in results] == ["pass"] * 3


def test_one_that_hangs_or_bursts_ends_no_other(box: Sandbox) -> None:
    endless = job("def f(x):\n    while True:\n        pass\n", 1, seconds=0.3)
    bursting = job("def f(x):\n    return [0] * 10**10\n", 1)
    fine = job(TAME[0], [2, 1])
    results = box.run([fine, endless, fine, bursting, fine], retry=False)
    assert [one.status for one in results] == ["pass", "timeout", "pass", "oom", "pass"]


def test_time_is_told_for_each_program_alone(box: Sandbox) -> None:
    busy = job("def f(x):\n    return sum(i * i for i in range(x))\n", 2_000_000)
    quick = job(TAME[0], [2, 1])
    first, second, third = box.run([quick, busy, quick])
    assert second.cpu_s > 0.05
    assert third.cpu_s < second.cpu_s / 2
    assert first.max_rss_mb > 1


def test_a_parser_that_another_thread_disturbs_is_asked_again(monkeypatch):
    whole = ast.parse
    troubles = [SystemError("AST constructor recursion depth mismatch")] * 2

    def disturbed(code):
        if troubles:
            raise troubles.pop()
        return whole(code)

    monkeypatch.setattr(ast, "parse", disturbed)
    assert tame("def f(x):\n    return x\n")
    troubles += [SystemError("AST constructor recursion depth mismatch")] * 20
    assert not tame("def f(x):\n    return x\n")
