"""What reaches a program from outside, and what is left of it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from sandbox_jobs import (
    ENDLESS,
    HERE,
    LOCKED,
    PROJECT,
    RIGHT,
    below,
    with_inputs,
    with_tests,
)

from planish.tasks.sandbox import (
    Level,
    Limits,
    Sandbox,
)


def test_closing_ends_what_runs_and_what_waits() -> None:
    if not LOCKED:
        pytest.skip("nothing can be locked up here")
    box = Sandbox(workers=1)
    results: list[str] = []
    endless = with_tests(ENDLESS, limits=Limits(seconds=600))
    thread = threading.Thread(
        target=lambda: results.extend(one.status for one in box.run([endless, endless]))
    )
    thread.start()
    time.sleep(0.3)
    started = below(os.getpid())
    box.close()
    thread.join(20)
    assert results == ["sandbox_error"] * 2
    left = below(os.getpid())
    assert not started or left < started
    with pytest.raises(RuntimeError, match="closed"):
        box.run([with_tests(RIGHT)])


@pytest.mark.parametrize(
    ("level", "how"),
    [
        *((level, signal.SIGKILL) for level in HERE),
        *((one, signal.SIGINT) for one in (*LOCKED[:1], *HERE[len(LOCKED) :])),
    ],
)
def test_no_process_is_left_behind(level: str, how: signal.Signals, tmp_path: Path) -> None:
    script = (
        "from planish.tasks.sandbox import Job, Limits, Sandbox, dumps\n"
        "code = 'import os\\nos.fork()\\nwhile True:\\n    pass\\n'\n"
        "jobs = [Job(key='1', code=code, entry_point='f', inputs=(dumps((1,)),),\n"
        "            limits=Limits(seconds=300))] * 2\n"
        f"with Sandbox(accept='fork', level={level!r}, workers=1) as box:\n"
        "    box.run(jobs)\n"
    )
    command = [sys.executable, "-c", script]
    place = {**os.environ, "TMPDIR": str(tmp_path)}
    least = 3 if level == "fork" else 4
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=place) as host:
        until = time.monotonic() + 60
        while len(started := below(host.pid)) < least and time.monotonic() < until:
            time.sleep(0.05)
        assert len(started) >= least
        host.send_signal(how)
        host.wait(30)
    until = time.monotonic() + 10
    while left := {one for one in started if Path(f"/proc/{one}").exists()}:
        assert time.monotonic() < until, left
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", HERE)
def test_closing_leaves_neither_processes_nor_folders(
    level: Level, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = below(os.getpid())
    code = "import os\nos.fork()\nwhile True:\n    pass\n"
    box = Sandbox(accept="fork", level=level, workers=1)
    endless = with_inputs(code, 1, limits=Limits(seconds=300))
    thread = threading.Thread(target=lambda: box.run([endless]))
    thread.start()
    until = time.monotonic() + 60
    while len(started := below(os.getpid()) - before) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.3)
    started |= below(os.getpid()) - before
    box.close()
    thread.join(20)
    until = time.monotonic() + 10
    while left := {one for one in started if Path(f"/proc/{one}").exists()}:
        assert time.monotonic() < until, left
        time.sleep(0.05)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("level", LOCKED)
def test_no_descriptor_of_the_sandbox_reaches_a_program(level: Level) -> None:
    code = (
        "import os\ndef f(x):\n    found = []\n"
        "    for number in range(4, 2000):\n"
        "        try:\n            os.fstat(number)\n            found.append(number)\n"
        "        except OSError:\n            pass\n"
        "    return found\n"
    )
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most[1] != resource.RLIM_INFINITY and most[1] < 2000:
        pytest.skip("too few files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most[0], 2000), most[1]))
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with Sandbox(level=level, workers=1) as box:
            (result,) = box.run([with_inputs(code, 1)])
    finally:
        for number in held:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert result.per_input[0].value == "[]"


@pytest.mark.parametrize("level", HERE)
def test_a_host_that_keeps_its_files_to_itself_still_has_projects(level: Level) -> None:
    code = "from shop.data import ROWS\ndef f(x):\n    return len(ROWS)\n"
    before = os.umask(0o077)
    try:
        with Sandbox(accept="fork", level=level, workers=1) as box:
            (result,) = box.run([with_inputs(code, 1, files=PROJECT, module="shop/b.py")])
    finally:
        os.umask(before)
    assert (result.status, result.per_input[0].value) == ("pass", "3")
