from __future__ import annotations

import errno
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from planish.errors import BadInput
from planish.tasks.sandbox import LEVELS, Job, Level, Sandbox, available, dumps
from planish.tasks.sandbox import levels as ladder
from planish.tasks.sandbox.levels import choose, why_not


@pytest.fixture
def fresh() -> Iterator[None]:
    why_not.cache_clear()
    yield
    why_not.cache_clear()


def works(monkeypatch: pytest.MonkeyPatch, *those: str) -> None:
    monkeypatch.setattr(ladder, "why_not", lambda one: "" if one in those else f"no {one} here")


def test_every_level_is_told_with_a_reason_or_none() -> None:
    assert tuple(available()) == LEVELS
    assert all(isinstance(why, str) for why in available().values())


@pytest.mark.parametrize("level", LEVELS)
def test_a_program_runs_at_every_level_that_is_to_be_had(level: Level) -> None:
    if why_not(level):
        pytest.skip(why_not(level))
    job = Job(key="1", code="def f(x):\n    return [x]\n", entry_point="f", inputs=(dumps((1,)),))
    with Sandbox(accept="fork", level=level, workers=1) as box:
        assert box.level == level
        (result,) = box.run([job])
    assert (result.status, result.sandbox_level) == ("pass", level)
    assert result.per_input[0].value == "[1]"


@pytest.mark.parametrize("level", ["bwrap", "unshare"])
def test_a_locked_up_program_sees_little_and_may_nothing(level: Level) -> None:
    if why_not(level):
        pytest.skip(why_not(level))
    code = (
        "import asyncio, ctypes, os, socket\n\n\n"
        "def refused(act):\n"
        "    try:\n        return act() is not None\n    except OSError:\n        return True\n\n\n"
        "def f(what, port):\n"
        "    libc = ctypes.CDLL(None)\n"
        "    return {\n"
        "        'pid': lambda: os.getpid(),\n"
        "        'proc': lambda: os.path.exists('/proc/self'),\n"
        "        'home': lambda: os.path.exists('/home') or os.path.exists('/etc/passwd'),\n"
        "        'secret': lambda: 'SECRET' in os.environ,\n"
        "        'network': lambda: refused(\n"
        "            lambda: socket.create_connection(('127.0.0.1', port)) and None),\n"
        "        'machine': lambda: refused(lambda: socket.socket(40, 1) and None),\n"
        "        'kernel': lambda: refused(lambda: socket.socket(38, 5) and None),\n"
        "        'inside': lambda: [one.family for one in (\n"
        "            *socket.socketpair(), socket.socket(), socket.socket(socket.AF_INET6))],\n"
        "        'root': lambda: refused(lambda: os.setgid(1) or os.setuid(1)),\n"
        "        'mount': lambda: libc.mount(b'x', b'/sandbox/work', b'tmpfs', 0, None),\n"
        "        'user': lambda: libc.unshare(0x10000000),\n"
        "        'net': lambda: libc.unshare(0x40000000),\n"
        "        'dumpable': lambda: libc.prctl(3, 0, 0, 0, 0),\n"
        "        'new_privileges': lambda: libc.prctl(39, 0, 0, 0, 0),\n"
        "        'capabilities': lambda: [libc.prctl(23, one, 0, 0, 0) for one in range(30)],\n"
        "    }[what]()\n"
    )
    expected = {
        "pid": "1",
        "proc": "false",
        "home": "false",
        "secret": "false",
        "network": "true",
        "machine": "true",
        "kernel": "true",
        "inside": "[1,1,2,10]",
        "root": "true",
        "mount": "-1",
        "user": "-1",
        "net": "-1",
        "dumpable": "0",
        "new_privileges": "1",
        "capabilities": "[" + ",".join(["0"] * 30) + "]",
    }
    with pytest.MonkeyPatch.context() as patch, socket.create_server(("127.0.0.1", 0)) as host:
        patch.setenv("SECRET", "1")
        port = host.getsockname()[1]
        inputs = tuple(dumps((one, port)) for one in expected)
        job = Job(key="1", code=code, entry_point="f", inputs=inputs)
        with Sandbox(level=level, workers=1) as box:
            (result,) = box.run([job])
    got = {what: one.value for what, one in zip(expected, result.per_input, strict=True)}
    assert got == expected


def test_the_strongest_level_that_works_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, "bwrap", "unshare", "fork")
    assert choose() == "bwrap"
    works(monkeypatch, "unshare", "fork")
    assert choose() == "unshare"
    assert choose("fork") == "unshare"


def test_a_weaker_level_is_never_taken_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch, "fork")
    with pytest.raises(BadInput) as caught:
        choose()
    line = str(caught.value)
    assert "bwrap: no bwrap here; unshare: no unshare here" in line
    assert "apt install bubblewrap" in line
    assert "--accept-level fork" in line
    assert "no isolation" in line
    assert choose("fork") == "fork"
    works(monkeypatch, "unshare", "fork")
    with pytest.raises(BadInput, match="--accept-level unshare"):
        choose("bwrap")
    with pytest.raises(BadInput, match="--accept-level fork"):
        Sandbox(level="fork")


def test_where_nothing_works_no_flag_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    works(monkeypatch)
    with pytest.raises(BadInput) as caught:
        choose("fork")
    assert "--accept-level" not in str(caught.value)


@pytest.mark.parametrize(
    "why",
    [
        "{python}: Permission denied",
        "bwrap: execvp {python}: Permission denied",
        "mount /new{prefix}: Permission denied",
        "Fatal Python error: init_fs_encoding: failed to get the Python codec",
    ],
)
def test_a_python_that_others_may_not_read_is_what_is_mended(
    monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    prefix, python = os.path.realpath(sys.base_prefix), os.path.realpath(sys.executable)
    told = {
        "bwrap": "bwrap is not installed",
        "unshare": why.format(prefix=prefix, python=python),
        "fork": "",
    }
    monkeypatch.setattr(ladder, "why_not", told.get)
    with pytest.raises(BadInput) as caught:
        choose()
    line = str(caught.value)
    assert f"chmod -R o+rX {prefix}" in line
    assert "--accept-level fork" in line
    for other in ("apt install bubblewrap", "sysctl"):
        assert other not in line
    # a refusal of something else is mended as before
    monkeypatch.setattr(ladder, "why_not", {**told, "unshare": "Permission denied"}.get)
    with pytest.raises(BadInput, match="apt install bubblewrap"):
        choose()


@pytest.mark.usefixtures("fresh")
@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another user")
def test_a_python_of_another_user_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if why_not("unshare"):
        pytest.skip(why_not("unshare"))
    why_not.cache_clear()
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    shutil.copy(os.path.realpath(sys.executable), python)
    os.chown(python, 12345, -1)
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    assert why_not("unshare") == f"{python}: {os.strerror(errno.EACCES)}"


@pytest.mark.usefixtures("fresh")
def test_a_missing_bubblewrap_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.tasks.sandbox.process.shutil.which", lambda _: None)
    assert "bwrap" in why_not("bwrap")


@pytest.mark.usefixtures("fresh")
def test_another_system_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("planish.tasks.sandbox.levels.sys.platform", "darwin")
    assert set(available().values()) == {"needs Linux"}
