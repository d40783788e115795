"""Tests and candidates in one process here: what the two modules say to each other.

What keeps them apart is tried in `test_sandbox_escapes.py`.
"""

from __future__ import annotations

import builtins
import json
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish.tasks.sandbox import candidate, tester
from planish.tasks.sandbox.contract import CallResult
from planish.tasks.sandbox.speech import MAX_FRAME, used
from planish.tasks.sandbox.values import dumps, loads

ROOT = "/nowhere"


@pytest.fixture(autouse=True)
def _put_back() -> Iterator[None]:
    """`prepare` is meant for a process that runs one program."""
    kept = (list(sys.path), list(sys.meta_path), dict(sys.modules), sys.dont_write_bytecode)
    state = random.getstate()
    yield
    sys.path[:], sys.meta_path[:] = kept[0], kept[1]
    sys.modules.clear()
    sys.modules.update(kept[2])
    sys.dont_write_bytecode = kept[3]
    random.setstate(state)


def load(code: str, entry_point: str = "f", module: str = "candidate.py", root: str = ROOT) -> Any:
    return candidate.prepare(code, entry_point, module, root, 0)


def called(code: str, *arguments: Any, trace: bool = False) -> dict[str, Any]:
    function, trouble = load(code)
    assert function is not None, trouble
    return candidate.call(function, dumps(arguments), f"{ROOT}/candidate.py" if trace else None)


def tried(code: str, body: str, support: str = "") -> dict[str, Any]:
    """The body of a check, run on a candidate; all that goes between them is plain JSON."""
    function, trouble = load(code)
    assert function is not None, trouble

    def ask(arguments: str) -> dict[str, Any]:
        return dict(json.loads(json.dumps(candidate.call(function, arguments))))

    lines = "\n".join("    " + line for line in body.splitlines())
    result = tester.check(f"def check(candidate):\n{lines}\n", support, 0, ask)
    for one in result["per_input"]:
        CallResult(**one)
    return result


# --- loading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status", "exception", "line"),
    [
        ("def f(:\n", "syntax", "SyntaxError", 1),
        ("def f(x):\n  return 1\n return 2\n", "syntax", "IndentationError", 3),
        ("f = '\0'", "syntax", None, None),
        ("# \ud800\ndef f(): pass\n", "syntax", None, None),
        ("import sys\nsys.exit(0)\n", "exception", "SystemExit", 2),
        ("def f(): pass\n\n1 / 0\n", "exception", "ZeroDivisionError", 3),
        ("raise KeyboardInterrupt\n", "exception", "KeyboardInterrupt", 1),
        ("eval('(')\n", "exception", "SyntaxError", 1),
        ("raise MemoryError\n", "oom", "MemoryError", 1),
        ("def g(): pass\n", "no_entry", None, None),
        ("f = 3\n", "no_entry", None, None),
    ],
)
def test_what_cannot_be_loaded_says_why(
    code: str, status: str, exception: str | None, line: int | None
) -> None:
    function, trouble = load(code)
    assert function is None
    assert trouble["status"] == status
    if exception:
        assert (trouble["exception"], trouble["line"]) == (exception, line)
    json.dumps(trouble)


def test_code_is_a_module_that_is_not_the_main_one() -> None:
    code = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\nclass P:\n    x: int\n"
        "def f():\n    return [__name__, __file__, P(3).x]\n"
        "if __name__ == '__main__':\n    raise SystemExit\n"
    )
    assert loads(called(code)["value"]) == ["candidate", f"{ROOT}/candidate.py", 3]


def test_a_method_can_be_the_entry_point() -> None:
    function, _ = load("class A:\n    @staticmethod\n    def f(x):\n        return x\n", "A.f")
    assert candidate.call(function, dumps((3,)))["value"] == "3"


def test_random_is_seeded() -> None:
    code = "import random\nfirst = random.random()\ndef f():\n    return first, random.random()\n"
    assert called(code)["value"] == called(code)["value"]


def test_a_project_imports_the_candidate_from_its_place(tmp_path: Any) -> None:
    package = tmp_path / "json"  # a name of the standard library that a project may have
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "use.py").write_text("from json.core import f\ndef run(x):\n    return f(x) + 1\n")
    code = "from . import __name__ as above\ndef f(x):\n    return x * 2\n"
    function, trouble = load(code, "json.use:run", "json/core.py", str(tmp_path))
    assert function is not None, trouble
    assert candidate.call(function, dumps((4,)))["value"] == "9"
    failed = candidate.call(function, dumps(([],)))
    assert (failed["exception"], failed["line"]) == ("TypeError", None)


def test_a_package_can_be_the_candidate_and_folders_need_not_be_there() -> None:
    function, trouble = load("def f():\n    return __package__\n", "f", "deep/down/__init__.py")
    assert function is not None, trouble
    assert loads(candidate.call(function, dumps(()))["value"]) == "deep.down"


# --- calling ---------------------------------------------------------------------------------


def test_a_call_tells_value_lines_and_changes() -> None:
    code = "def f(rows, x):\n  if x:\n    rows.append(x)\n  else:\n    x = 2\n  return x\n"
    answer = called(code, [1], 5, trace=True)
    assert answer == {
        "status": "value",
        "value": "5",
        "lines": [2, 3, 6],
        "changed": dumps(([1, 5], 5)),
    }
    assert called(code, [1], 0, trace=True) == {"status": "value", "value": "2", "lines": [2, 5, 6]}
    assert sys.gettrace() is None or "candidate" not in repr(sys.gettrace())


def test_lines_are_of_the_candidate_alone() -> None:
    code = "import textwrap\ndef f():\n    return textwrap.dedent(' a')\n"
    assert called(code, trace=True)["lines"] == [3]


@pytest.mark.parametrize(
    ("body", "status", "exception", "kind"),
    [
        ("return {}[1]", "exception", "KeyError", "KeyError"),
        ("import os; os.listdir('/no/such')", "exception", "FileNotFoundError", None),
        ("class Own(ValueError): pass\n    raise Own('x')", "exception", "Own", "ValueError"),
        ("raise SystemExit(3)", "exception", "SystemExit", "SystemExit"),
        ("return f()", "exception", "RecursionError", "RecursionError"),
        ("raise MemoryError", "oom", "MemoryError", "MemoryError"),
        ("return (x for x in 'ab')", "unknown_type", None, None),
        ("return f", "unknown_type", None, None),
        ("x = []; x.append(x); return x", "unknown_type", None, None),
    ],
)
def test_a_call_tells_what_went_wrong(
    body: str, status: str, exception: str | None, kind: str | None
) -> None:
    answer = called(f"def f():\n    {body}\n")
    assert answer["status"] == status
    assert answer.get("exception") == exception
    if kind:
        assert answer["kinds"][0] == kind
    if exception:
        assert answer["line"] is not None


@pytest.mark.parametrize(
    "body",
    [
        "def __str__(self): raise self",
        "def __str__(self): return '\\ud800' * 9999",
        "__class__ = __traceback__ = args = property(lambda self: 1 / 0)",
        "def __getattribute__(self, name): raise SystemExit",
    ],
)
def test_an_exception_of_any_class_is_told(body: str) -> None:
    answer = called(f"class E(Exception):\n    {body}\ndef f():\n    raise E(object())\n")
    assert (answer["status"], answer["exception"], answer["line"]) == ("exception", "E", 4)
    assert len(answer["message"]) <= candidate.MESSAGE_CHARS
    json.dumps(answer).encode()
    answer["message"].encode()


def test_what_is_left_unreadable_in_an_argument_does_not_look_untouched() -> None:
    answer = called("def f(rows, kept):\n    rows.append(f)\n", [1], [2])
    assert loads(answer["changed"]) == (None, [2])


# --- testing ---------------------------------------------------------------------------------


def test_pass_and_fail() -> None:
    code = "def f(x):\n    return 2 * x\n"
    assert tried(code, "assert candidate(2) == 4")["status"] == "pass"
    wrong = tried(code, "assert candidate(2) == 4\nassert candidate(3) == 7, 'seven'")
    assert wrong["status"] == "wrong_value"
    assert wrong["why"] == "line 3: assert candidate(3) == 7, 'seven'"
    assert (wrong["exception"], wrong["message"]) == ("AssertionError", "seven")
    assert [one["value"] for one in wrong["per_input"]] == ["4", "6"]
    assert [one["arguments"] for one in wrong["per_input"]] == [dumps((2,)), dumps((3,))]


def test_a_body_that_does_nothing_fails() -> None:
    body = "assert candidate([1]) == [1]"
    assert tried("def f(x):\n    pass\n", body)["status"] == "wrong_value"


def test_a_value_that_the_tests_cannot_use_is_wrong() -> None:
    wrong = tried("def f(x):\n    return None\n", "for one in candidate(2):\n    assert one")
    assert wrong["status"] == "wrong_value"
    assert "TypeError" in wrong["why"]
    assert "for one in candidate(2):" in wrong["why"]


def test_the_candidates_exception_is_its_own() -> None:
    failed = tried("def f(x):\n    return x[3]\n", "assert candidate([1]) == 1")
    assert (failed["status"], failed["exception"], failed["line"]) == ("exception", "IndexError", 2)
    assert failed["why"] == "line 2: assert candidate([1]) == 1"


EXPECTED = """
try:
    candidate({arguments})
except {kind} as error:
    assert str(error) == {text!r}, str(error)
    assert type(error).__name__ == {kind!r}
else:
    raise AssertionError("nothing was raised")
"""


@pytest.mark.parametrize(
    ("body", "kind", "text"),
    [
        ("raise ValueError('no')", "ValueError", "no"),
        ("return {}['a']", "KeyError", "'a'"),
        ("class Own(LookupError): pass\n    raise Own('gone')", "LookupError", "gone"),
        (
            "return b'\\xff'.decode()",
            "UnicodeDecodeError",
            "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        ("raise ExceptionGroup('two', [ValueError()])", "ExceptionGroup", ""),
        ("raise SystemExit('bye')", "SystemExit", "bye"),
    ],
)
def test_tests_may_expect_a_built_in_exception(body: str, kind: str, text: str) -> None:
    check = EXPECTED.format(arguments="", kind=kind, text=text)
    if kind == "ExceptionGroup":  # what it holds stays behind
        check = (
            "try:\n    candidate()\nexcept ExceptionGroup as error:\n    assert error.exceptions"
        )
    result = tried(f"def f():\n    {body}\n", check)
    assert result["status"] == "pass", result


def test_an_expected_exception_of_another_kind_is_told_as_it_is() -> None:
    check = EXPECTED.format(arguments="", kind="ValueError", text="")
    failed = tried("def f():\n    raise TypeError('no')\n", check)
    assert (failed["status"], failed["exception"]) == ("exception", "TypeError")
    assert tried("def f():\n    pass\n", check)["message"] == "nothing was raised"


@pytest.mark.parametrize("status", ["timeout", "oom", "ended", "unknown_type", None, 7])
def test_tests_that_catch_everything_do_not_go_on_without_an_answer(status: Any) -> None:
    tests = (
        "def check(candidate):\n"
        "    for _ in range(3):\n"
        "        try:\n            candidate(1)\n"
        "        except BaseException:\n            pass\n"
    )
    asked = []

    def ask(arguments: str) -> dict[str, Any]:
        asked.append(arguments)
        return {"status": status, "message": "why"}

    result = tester.check(tests, "", 0, ask)
    assert len(asked) == 1
    expected = {"timeout": "timeout", "oom": "oom", "unknown_type": "wrong_value"}
    assert result["status"] == expected.get(status, "exception")
    assert result["why"] or result["status"] == status


@pytest.mark.parametrize(
    ("tests", "support", "why"),
    [
        ("def check(:\n", "", "SyntaxError"),
        ("1 / 0\n", "", "ZeroDivisionError"),
        ("def other(): pass\n", "", "no function check"),
        ("def check(candidate):\n    pass\n", "def f(:\n", "the support"),
        ("def check(candidate):\n    assert helper(1)\n", "", "helper"),
        ("def check(candidate):\n    candidate(1)\n    helper(1)\n", "", "line 3: helper(1)"),
        ("def check(candidate):\n    candidate(1)\n    import no_such\n", "", "no_such"),
        ("def check(candidate):\n    candidate(check)\n", "", "function"),
        ("def check(candidate):\n    assert False\n", "", "before they called"),
    ],
)
def test_what_the_tests_do_wrong_says_nothing_about_the_candidate(
    tests: str, support: str, why: str
) -> None:
    result = tester.check(tests, support, 0, lambda _: {"status": "value", "value": "1"})
    assert result["status"] == "harness"
    assert why in result["why"]


def test_a_connection_that_breaks_says_nothing_about_the_candidate() -> None:
    def ask(arguments: str) -> dict[str, Any]:
        raise OSError("gone")

    tests = "def check(candidate):\n  try:\n    candidate()\n  except Exception:\n    pass\n"
    result = tester.check(tests, "", 0, ask)
    assert result["status"] == "sandbox_error"


def test_support_gives_names_and_random_is_seeded_for_both() -> None:
    support = "import random\nrandom.random()\ndef helper(x):\n    return x + 1\n"
    body = "import random\nassert candidate(helper(1)) == 2\nassert random.random() > 1"
    first = tried("def f(x):\n    return x\n", body, support)
    assert first["status"] == "wrong_value"
    drawn = "import random\ncandidate(random.random())"
    code = "import random\ndef f(x):\n    return random.random()\n"
    one, two = (tried(code, drawn, support)["per_input"] for _ in range(2))
    assert one == two


CHANGES = [
    ("x.append(3)", "x = [1]\ncandidate(x)\nassert x == [1, 3]"),
    ("x.clear()", "x = {1: 2}\ncandidate(x)\nassert x == {}"),
    ("x.add(3)", "x = {1}\ncandidate(x)\nassert x == {1, 3}"),
    ("x['a'].append(1)", "y = []\nx = {'a': y}\ncandidate(x)\nassert x['a'] is y and y == [1]"),
    ("x[0][0] = 9", "y = [1]\nx = (y,)\ncandidate(x)\nassert y == [9]"),
    ("x.sort()", "y = [2]\nz = [1]\nx = [y, z]\ncandidate(x)\nassert x[0] is z and y == [2]"),
    ("x[0] = (3, 4)", "x = [(1, 2)]\ncandidate(x)\nassert x == [(3, 4)]"),
    ("x[0][1].append(4)", "y = (1, [2])\nx = [y]\ncandidate(x)\nassert y == (1, [2, 4])"),
    ("x.append(f)", "x = [1]\ncandidate(x)\nassert x == []"),
    (
        "x.pop(); raise ValueError",
        "x = [1]\ntry:\n  candidate(x)\nexcept ValueError:\n  assert not x",
    ),
    ("y.append(x)", "y = []\ncandidate(1, y=y)\nassert y == [1]"),
    ("return y", "assert candidate(1, y=2) == 2\nassert candidate(x=1) is None"),
]


@pytest.mark.parametrize(("body", "check"), CHANGES)
def test_changes_in_place_and_names_of_arguments_travel(body: str, check: str) -> None:
    result = tried(f"def f(x, y=None):\n    {body}\n", check)
    assert result["status"] == "pass", result


@given(st.recursive(st.integers(0, 3), lambda inner: st.lists(inner, max_size=3)), st.data())
def test_the_callers_arguments_become_what_the_candidate_left(before: Any, data: Any) -> None:
    after = data.draw(st.recursive(st.integers(0, 3), lambda inner: st.lists(inner, max_size=3)))
    box = [before]
    answer = {"status": "value", "value": "null", "changed": dumps(([after],))}
    tests = "def check(candidate):\n    candidate(BOX)\n"
    names: dict[str, Any] = {"BOX": box}
    builtins.__dict__.update(names)  # the tests see the very object
    try:
        assert tester.check(tests, "", 0, lambda _: answer)["status"] == "pass"
    finally:
        del builtins.__dict__["BOX"]
    assert box == [after]


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
forged = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(["value", "exception", "unknown_type", "pass", "harness"])
        | plain,
        "value": plain | st.sampled_from(['{"tuple":[1]}', "{", "[NaN]"]),
        "exception": plain,
        "kinds": plain | st.lists(st.sampled_from(["ValueError", "print", "object", "__name__"])),
        "raised": plain | st.just('{"tuple":[1,2,3,4,5,6]}'),
        "message": plain | st.just("\ud800"),
        "line": plain,
        "lines": plain,
        "changed": plain | st.just('{"tuple":[7]}'),
    },
)


@given(forged)
def test_no_answer_wins_or_breaks_the_tests(answer: dict[str, Any]) -> None:
    tests = "def check(candidate):\n    assert candidate([1]) == 'right', 1\n"
    result = tester.check(tests, "", 0, lambda _: answer)
    assert result["status"] in ("wrong_value", "exception", "timeout", "oom")
    for one in result["per_input"]:
        CallResult(**one)
    json.dumps(result)


LONG = "\u00e9" * 2_000_000


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "exception", "exception": LONG, "kinds": [], "message": LONG},
        {"status": "unknown_type", "message": LONG},
        {"status": "value", "value": "5", "exception": LONG, "message": LONG},
        {"status": "value", "value": "5", "line": 10**4000, "lines": [10**9] * 3_000_000},
        {"status": "value", "value": "5", "lines": [-1, 10**4000, True, 7]},
    ],
)
def test_what_is_told_of_a_call_stays_small_whatever_the_candidate_says(answer: Any) -> None:
    tests = "def check(candidate):\n    for _ in range(5):\n        assert candidate(1) == 5\n"
    result = tester.check(tests, "", 0, lambda _: dict(answer))
    assert len(json.dumps(result)) < MAX_FRAME
    for one in result["per_input"]:
        assert len(one["message"]) <= candidate.MESSAGE_CHARS
        assert all(0 <= line < 1 << 31 for line in one["lines"])
    if answer.get("lines", [])[-1:] == [7]:
        assert result["per_input"][0]["lines"] == [7]


def test_a_call_with_large_arguments_and_a_large_value_can_be_told() -> None:
    large = dumps('"' * 3_900_000)
    tests = "def check(candidate):\n    assert candidate(candidate(1)) == 3\n"
    result = tester.check(tests, "", 0, lambda _: {"status": "value", "value": large})
    assert result["status"] == "wrong_value"
    assert len(json.dumps(result)) < MAX_FRAME


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ([1, 2.5], (1.0, 2.5)),
        ("x" * 100, None),
        ([1], None),
        ([1, "x"], None),
        ([-1, 1], None),
        ([10**400, 1], None),
        ([float("nan"), 1], None),
        ([float("inf"), 1], None),
        ([True, 1], None),
        (None, None),
    ],
)
def test_only_two_small_numbers_are_time_and_memory(told: Any, meant: Any) -> None:
    assert used(told) == meant


def test_a_number_too_long_to_be_written_is_the_candidates_fault() -> None:
    code = "def f(x):\n    return 10**5000\n"
    assert tried(code, "y = candidate(1)\nassert y == 4, y")["status"] == "wrong_value"


def test_the_end_of_an_iteration_does_not_end_a_loop_of_the_tests() -> None:
    code = "def f(x):\n    raise StopIteration\n"
    body = "assert all(map(lambda x: candidate(x) == x, [1, 2]))"
    failed = tried(code, body)
    assert (failed["status"], failed["exception"]) == ("exception", "StopIteration")


def test_a_name_that_an_empty_value_leaves_unbound_is_the_candidates_fault() -> None:
    body = "for one in candidate(1):\n    last = one\nassert all(last >= x for x in [0])"
    failed = tried("def f(x):\n    return []\n", body)
    assert (failed["status"], failed["exception"]) == ("wrong_value", "NameError")


def test_a_value_that_is_too_deep_to_be_handed_back_is_wrong() -> None:
    code = "def f(x):\n    y = []\n    for _ in range(100):\n        y = [y]\n    return y\n"
    failed = tried(code, "assert candidate(candidate('ab')) == 'ab'")
    assert failed["status"] == "wrong_value"
    assert "nested deeper" in failed["why"]


def test_endless_calls_are_told_up_to_a_limit_with_the_last() -> None:
    body = "for x in range(1500):\n    assert candidate(x) != 1400"
    result = tried("def f(x):\n    return x\n", body)
    told = result["per_input"]
    assert result["status"] == "wrong_value"
    assert len(told) == tester.MAX_CALLS
    assert told[-1]["value"] == "1400"


@pytest.mark.parametrize(
    "code",
    [
        "import json\njson.dumps = json.loads = None\n",
        "import builtins\nbuiltins.print = builtins.input = None\n",
        "import sys\nsys.stdout = sys.stderr = None\n",
    ],
)
def test_what_a_candidate_changes_around_it_does_not_harm_its_right_answer(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner, name in ((json, "dumps"), (json, "loads"), (builtins, "print"), (builtins, "input")):
        monkeypatch.setattr(owner, name, getattr(owner, name))
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    function, _ = load(code + "def f(x):\n    return [x]\n")
    answer = candidate.call(function, '{"tuple":[1]}')
    monkeypatch.undo()
    assert answer["status"] in ("value", "exception")


def test_a_value_that_another_thread_changes_is_refused_or_read() -> None:
    code = (
        "import threading\n"
        "def f():\n"
        "    held, stop = {}, threading.Event()\n"
        "    def grow():\n"
        "        number = 0\n"
        "        while not stop.is_set():\n"
        "            number += 1\n"
        "            held[number % 999] = number\n"
        "            held.pop((number * 7) % 999, None)\n"
        "    thread = threading.Thread(target=grow, daemon=True)\n"
        "    thread.start()\n"
        "    return held, stop\n"
    )
    function: Callable[..., Any]
    function, _ = load(code)
    held, stop = function()
    try:
        for _ in range(50):
            answer = candidate.call(lambda: held, dumps(()))
            assert answer["status"] in ("value", "unknown_type")
    finally:
        stop.set()
    assert threading.active_count() < 50
