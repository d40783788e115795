"""What is imported beforehand makes programs faster and changes nothing else."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from sandbox_jobs import LOCKED

from planish.tasks.sandbox import ExecResult, Job, Limits, Sandbox, SourceFile
from planish.tasks.sandbox.child import SandboxError
from planish.tasks.sandbox.imports import modules_for, slow_imports
from planish.tasks.sandbox.process import Server

CODE = "import numpy as np\n\n\ndef f(x):\n    return {0}\n"
TESTS = "import numpy as np\n\n\ndef check(candidate):\n    assert np.allclose(candidate(4), 6.0)\n"


@pytest.fixture(params=LOCKED)
def box(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    pytest.importorskip("numpy")
    with Sandbox(level=request.param, workers=1) as made:
        yield made


def job(value: str = "x", tests: str = "", code: str = CODE, **more: Any) -> Job:
    limits = Limits(seconds=20, memory_mb=more.pop("memory_mb", 1024))
    inputs = () if tests else ('{"tuple":[4]}',)
    code = code.replace("{0}", value)
    return Job(
        key="1", code=code, entry_point="f", tests=tests, inputs=inputs, limits=limits, **more
    )


def value(result: ExecResult) -> str | None:
    return result.per_input[0].value


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("import numpy\n", ("numpy",)),
        ("def f():\n    from numpy.linalg import norm\n", ("numpy",)),
        ("import pandas as pd\nimport numpy as np\nimport pandas\n", ("numpy", "pandas")),
        ("import numpydoc\n", ()),
        ("x = 'import numpy'\n", ()),
        ("from my import numpy\n", ()),
    ],
)
def test_slow_modules_are_found_in_code(code: str, modules: tuple[str, ...]) -> None:
    assert slow_imports(code) == modules


def test_a_program_with_a_slow_import_costs_no_import(box: Sandbox) -> None:
    first, second = box.run([job("float(np.sum(np.arange(x)))"), job("float(np.max([x, 9]))")])
    assert [value(one) for one in (first, second)] == ["6.0", "9.0"]
    assert list(box._pairs[0]._branches) == [("candidate", ("numpy",))]
    (plain,) = box.run([job("'numpy' in sys.modules", code="import sys\n" + CODE[19:])])
    assert value(plain) == "false"  # nobody else's


def test_tests_with_a_slow_import_do_too(box: Sandbox) -> None:
    results = box.run([job("float(x + 2)", TESTS, code=CODE[19:]), job("7", TESTS, code=CODE[19:])])
    assert [one.status for one in results] == ["pass", "wrong_value"]
    assert list(box._pairs[0]._branches) == [("tester", ("numpy",))]


SEEN = [
    "sys.getrecursionlimit()",
    "deepest(0)",
    "sorted(one for one in sys.modules if 'planish' in one or one.startswith('numpy'))",
    "sorted(os.environ)",
    "os.listdir('.')",
    "[os.getpid(), os.getuid(), os.getppid()]",
    "resource.getrlimit(resource.RLIMIT_AS)[0]",
    "sys.path[1:]",
    "threading.active_count()",
    "[random.random() for _ in range(2)]",
    "sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))",
    "descriptors()",
]


def test_a_program_sees_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numpy")
    code = (
        "import os, random, resource, signal, sys, threading\n" + CODE + "\n\n"
        "def deepest(n):\n    try:\n        return deepest(n + 1)\n"
        "    except RecursionError:\n        return n\n\n\n"
        "def descriptors():\n    found = []\n    for number in range(99):\n        try:\n"
        "            os.fstat(number)\n            found.append(number)\n"
        "        except OSError:\n            pass\n    return found\n"
    )
    jobs = [job(one, code=code) for one in SEEN]
    for level in LOCKED:
        with Sandbox(level=level, workers=1) as box:
            branched = box.run(jobs)
            assert box._pairs[0]._branches
        with monkeypatch.context() as patch, Sandbox(level=level, workers=1) as box:
            patch.setattr("planish.tasks.sandbox.pair.modules_for", lambda *_: ())
            plain = box.run(jobs)
            assert not box._pairs[0]._branches
        assert [value(one) for one in branched] == [value(one) for one in plain]
        assert None not in map(value, plain)


@pytest.mark.parametrize(
    ("module", "draw"),
    [("numpy.random", "numpy.random.rand()"), ("sympy.core.random", "sympy.core.random.random()")],
)
def test_random_numbers_are_not_drawn_twice(box: Sandbox, module: str, draw: str) -> None:
    pytest.importorskip(module.partition(".")[0])
    results = box.run([job(f"float({draw})", code=f"import {module}\n" + CODE[19:])] * 3)
    assert len({value(one) for one in results}) == 3
    assert box._pairs[0]._branches


FORKS = """import os
import numpy.random
import pandas


def f(x):
    numpy.random.seed(0)
    output, end = os.pipe()
    process = os.fork()
    if process == 0:
        os.write(end, str(numpy.random.rand()).encode())
        os._exit(0)
    os.waitpid(process, 0)
    return os.read(output, 99).decode() == str(numpy.random.rand())
"""


def test_a_program_that_forks_draws_on_from_its_own_seed(box: Sandbox) -> None:
    pytest.importorskip("pandas")  # which draws, where numpy alone may not have been asked to
    (result,) = box.run([job(code=FORKS)])
    assert value(result) == "true"
    assert box._pairs[0]._branches


SHORT = {
    "never imports": "def g():\n    import pandas\n\n\ndef f(x):\n    bytearray(850 << 20)\n",
    "imports too late": "a = bytearray(1000 << 20)\nimport pandas\n\n\ndef f(x):\n    pass\n",
    "is short": "import pandas\n\n\ndef f(x):\n    bytearray(1000 << 20)\n",
}


def test_what_is_imported_beforehand_takes_no_memory_from_a_program(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pandas")
    jobs = [job(code=code) for code in SHORT.values()]
    hidden = {"wall_s", "cpu_s", "max_rss_mb"}
    branched = [one.model_dump(exclude=hidden) for one in box.run(jobs)]
    assert box._pairs[0]._branches
    monkeypatch.setattr("planish.tasks.sandbox.pair.modules_for", lambda *_: ())
    assert branched == [one.model_dump(exclude=hidden) for one in box.run(jobs)]
    assert [one["status"] for one in branched][::2] == ["pass", "oom"]


@pytest.mark.parametrize(
    "before",
    [
        "import sys\nEARLY = 'numpy' in sys.modules",
        "from sys import modules",
        "import warnings\nwarnings.simplefilter('error')",
        "import builtins\nbuiltins.__import__ = print",
        "import sys\nsys.settrace(print)",
        "import sys\nsys.meta_path.insert(0, 1)",
    ],
)
def test_who_may_see_an_import_has_it_to_himself(before: str) -> None:
    assert modules_for(job(), f"{before}\nimport numpy\n") == ()
    assert modules_for(job(), "# modules\nimport sys\nimport numpy\n") == ("numpy",)


def test_where_little_memory_is_allowed_the_import_is_the_programs_own(box: Sandbox) -> None:
    assert modules_for(job(memory_mb=512), "import numpy\n") == ("numpy",)
    assert modules_for(job(memory_mb=256), "import numpy\n") == ()
    box.run([job(memory_mb=256)])
    assert not box._pairs[0]._branches


def test_a_project_has_modules_of_its_own(box: Sandbox) -> None:
    own = SourceFile(path="numpy.py", text="def best(x):\n    return x + 1\n")
    (result,) = box.run([job("np.best(x)", files=(own,))])
    assert value(result) == "5"
    (result,) = box.run([job("np.max([x])", code="best = 3\n" + CODE, module="numpy.py")])
    assert result.status == "exception"
    assert not box._pairs[0]._branches


def test_at_the_level_that_has_no_walls_every_program_imports() -> None:
    pytest.importorskip("numpy")
    with Sandbox(level="fork", accept="fork", workers=1) as box:
        results = box.run([job("int(np.max([x]))")] * 2)
        assert [value(one) for one in results] == ["4", "4"]
        assert not box._pairs[0]._branches


def test_where_no_server_can_import_a_program_does(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[tuple[str, ...]] = []

    def refuses(_: Server, modules: tuple[str, ...]) -> None:
        tried.append(modules)
        raise SandboxError("it does not start")

    monkeypatch.setattr(Server, "branch", refuses)
    results = box.run([job("int(np.max([x]))")] * 2)
    assert [value(one) for one in results] == ["4", "4"]
    assert tried == [("numpy",)]


def test_only_the_last_sets_of_modules_are_kept(box: Sandbox) -> None:
    codes = [CODE, "import scipy\n" + CODE, "import scipy\n" + CODE[19:], CODE]
    values = [value(one) for one in box.run([job("[x, 1]", code=code) for code in codes])]
    assert values == ["[4,1]"] * 4
    kept = [modules for _, modules in box._pairs[0]._branches]
    assert kept == [("scipy",), ("numpy",)]


def test_a_server_that_is_killed_is_started_again(box: Sandbox) -> None:
    (first,) = box.run([job("int(np.max([x]))")])
    (server,) = box._pairs[0]._servers.values()
    assert isinstance(server, Server)
    os.killpg(server._process.pid, signal.SIGKILL)
    server._process.wait()
    (second,) = box.run([job("int(np.max([x]))")])
    assert [value(first), value(second)] == ["4", "4"]


def test_what_does_not_import_is_told_as_ever(
    box: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("planish.tasks.sandbox.pair.modules_for", lambda *_: ("no_such_module",))
    (result,) = box.run([job(code="import no_such_module\n\n\ndef f(x):\n    return {0}\n")])
    assert result.exception == "ModuleNotFoundError"
