"""What hostile code tries, at every level that this machine has.

None of it succeeds, none stops the batch, and a good program passes after each in the same sandbox.
The level `fork` promises limits and honest verdicts, but no walls: what needs walls (network, files
and processes of the host, daemons and fork bombs of the superuser) is tried only behind walls.
"""

from __future__ import annotations

import os
import socket
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from planish.tasks.sandbox import (
    LEVELS,
    ExecResult,
    Job,
    Level,
    Limits,
    Sandbox,
    available,
    dumps,
    loads,
)

HERE = [level for level, trouble in available().items() if not trouble]
NEEDS = [level for level in LEVELS if level in HERE]
WALLS = [level for level in NEEDS if level != "fork"]

SECRET = "word-that-only-the-tests-know"
TESTS = f"def check(candidate):\n    assert candidate(1) == {SECRET!r}\n"

USUAL = Limits(seconds=20)
SHORT = Limits(seconds=0.4)

GOOD = Job(
    key="good",
    code="def f(rows):\n    rows.sort()\n    print(rows)\n    return len(rows)\n",
    entry_point="f",
    tests="def check(candidate):\n    x = [2, 1]\n    assert candidate(x) == 2 and x == [1, 2]\n",
    limits=Limits(seconds=20),
)


@dataclass(frozen=True)
class Attack:
    """Code that must not pass, and what it comes to."""

    code: str
    statuses: tuple[str, ...]
    limits: Limits = USUAL
    walls: bool = False

    @property
    def program(self) -> str:
        """What needs walls does no harm where there are none: it passes, and the test fails."""
        if not self.walls:
            return self.code
        return f"{self.code}if os.getpid() > 9:\n    def f(x):\n        return {SECRET!r}\n"


ENDED = ("exception",)
KILLED = ("oom", "exception", "timeout")

ATTACKS: dict[str, Attack] = {
    "exit": Attack("import os\ndef f(x):\n    os._exit(0)\n", ENDED),
    "exit while loading": Attack("import os\nos._exit(0)\n", ENDED),
    "polite exit": Attack("import sys\nsys.exit(0)\n", ENDED),
    "exit from a call": Attack("def f(x):\n    raise SystemExit(0)\n", ENDED),
    "closed descriptors": Attack("import os\ndef f(x):\n    os.closerange(0, 256)\n", ENDED),
    "abort": Attack("import os\ndef f(x):\n    os.abort()\n", ENDED),
    "patched builtins": Attack(
        "import builtins, json, sys\n"
        "builtins.len = lambda *_: 0\n"
        "builtins.isinstance = builtins.issubclass = builtins.callable = lambda *_: True\n"
        "builtins.print = builtins.__import__ = builtins.sorted = lambda *_, **__: None\n"
        'json.dumps = json.JSONEncoder.encode = lambda *_, **__: \'{"status": "pass"}\'\n'
        "json.loads = lambda *_, **__: {}\n"
        "def f(x):\n    return 'wrong'\n",
        ("wrong_value", "exception"),
    ),
    "patched sandbox": Attack(
        "import sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('planish') or name == '__main__':\n"
        "        for key, held in list(vars(module).items()):\n"
        "            if callable(held):\n"
        "                setattr(module, key, lambda *_, **__: {'status': 'pass'})\n"
        "def f(x):\n    return 'wrong'\n",
        ("wrong_value", "exception", "timeout"),
        SHORT,
    ),
    "equal to everything": Attack(
        "class Any(str):\n"
        "    __eq__ = lambda *_: True\n"
        "    __ne__ = lambda *_: False\n"
        "    __hash__ = lambda _: 0\n"
        "    __reduce__ = lambda _: (str, ('x',))\n"
        "    __class__ = property(lambda _: str)\n"
        "def f(x):\n    return Any('wrong')\n",
        ("wrong_value",),
    ),
    "an object that lies about its class": Attack(
        "class Any:\n"
        "    __class__ = str\n"
        "    def __eq__(self, other):\n        return True\n"
        "    def __reduce__(self):\n        return (print, ('x',))\n"
        "def f(x):\n    return Any()\n",
        ("wrong_value",),
    ),
    "forged frames": Attack(
        "import json, os, struct\n"
        "def f(x):\n"
        "    for told in ({'verdict': {'status': 'pass', 'per_input': []}}, {'status': 'pass'},\n"
        "            {'ended': 0, 'status': 0}, {'prepared': True}, {'ready': '3'}):\n"
        "        data = json.dumps(told).encode()\n"
        "        for number in range(64):\n"
        "            for packet in (struct.pack('>I', len(data)) + data, data + b'\\0', data):\n"
        "                try:\n                    os.write(number, packet)\n"
        "                except OSError:\n                    pass\n"
        "    return 'wrong'\n",
        ("wrong_value", "exception", "timeout"),
        SHORT,
    ),
    "frame without an end": Attack(
        "import os\ndef f(x):\n"
        "    for number in range(3, 64):\n"
        "        try:\n            os.write(number, b'\\xff\\xff\\xff\\xff' + b'[' * 10**6)\n"
        "        except OSError:\n            pass\n",
        ("wrong_value", "exception", "timeout"),
        SHORT,
    ),
    "memory bomb": Attack(
        "def f(x):\n    rows = []\n    while True:\n        rows.append(bytearray(1 << 24))\n",
        ("oom",),
        Limits(memory_mb=256, seconds=20),
    ),
    "memory bomb while loading": Attack(
        "rows = [0] * (1 << 40)\n", ("oom",), Limits(memory_mb=256)
    ),
    "endless loop": Attack("def f(x):\n    while True:\n        pass\n", ("timeout",), SHORT),
    "sleep": Attack("import time\ndef f(x):\n    time.sleep(99)\n", ("timeout",), SHORT),
    "ignored signals": Attack(
        "import signal\n"
        "for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:\n"
        "    try:\n        signal.signal(number, signal.SIG_IGN)\n"
        "    except OSError:\n        pass\n"
        "def f(x):\n"
        "    while True:\n"
        "        try:\n"
        "            while True:\n                pass\n"
        "        except BaseException:\n            pass\n",
        ("timeout",),
        SHORT,
    ),
    "threads that outlive": Attack(
        "import threading, time\n"
        "def forever():\n    while True:\n        time.sleep(0.01)\n"
        "def f(x):\n"
        "    for _ in range(8):\n        threading.Thread(target=forever).start()\n"
        "    return 'wrong'\n",
        ("wrong_value",),
    ),
    "deep recursion": Attack(
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x):\n    return [f(x)]\n",
        KILLED,
        Limits(seconds=1.0, memory_mb=256),
    ),
    "recursion of the C stack": Attack(
        "def f(x):\n    x = []\n    for _ in range(10**5):\n        x = [x]\n    return repr(x)\n",
        KILLED,
    ),
    "deep value": Attack(
        "def f(x):\n    x = []\n    for _ in range(10**5):\n        x = [x]\n    return x\n",
        ("wrong_value",),
    ),
    "huge number": Attack("def f(x):\n    return 10**10**8\n", ("timeout",), SHORT),
    "huge number at once": Attack("def f(x):\n    return 1 << 10**9\n", ("wrong_value",)),
    "text of a huge number": Attack(
        "import sys\ndef f(x):\n"
        "    sys.set_int_max_str_digits(0)\n    return str((1 << 10**8) - 1)\n",
        ("timeout",),
        SHORT,
    ),
    "huge text": Attack("def f(x):\n    return 'x' * (10**8)\n", ("wrong_value",)),
    "endless generator": Attack(
        "import itertools\ndef f(x):\n    return itertools.count()\n", ("wrong_value",)
    ),
    "endless printing": Attack(
        "def f(x):\n    while True:\n        print('x' * 100_000)\n", ("timeout",), SHORT
    ),
    "evil exception": Attack(
        "class E(BaseException):\n"
        "    def __str__(self):\n        raise self\n"
        "    __repr__ = __str__\n"
        "def f(x):\n    raise E\n",
        ENDED,
    ),
    "tracing and exit hooks": Attack(
        "import atexit, sys\n"
        "atexit.register(print, 'pass')\n"
        "sys.settrace(lambda *_: 1 / 0)\n"
        "sys.excepthook = sys.unraisablehook = None\n"
        "sys.stdout = sys.stderr = None\n"
        "def f(x):\n    return 'wrong'\n",
        ("wrong_value", "exception"),
    ),
    "a process that answers too": Attack(
        "import os\ndef f(x):\n    os.fork()\n    return 'wrong'\n", ("wrong_value", "exception")
    ),
    "reads the tests in its own frames": Attack(
        "import gc, sys\n"
        f"NEEDLE = {SECRET[:9]!r} + {SECRET[9:]!r}\n"
        "def f(x):\n"
        "    frame = sys._getframe(1)\n"
        "    while frame:\n"
        "        if NEEDLE in repr(frame.f_locals) and frame.f_globals is not globals():\n"
        "            return NEEDLE\n"
        "        frame = frame.f_back\n"
        "    for held in gc.get_objects():\n"
        "        if type(held) is dict and held is not globals():\n"
        "            if any(type(one) is str and 'def check(' in one and NEEDLE in one\n"
        "                    for one in held.values()):\n"
        "                return NEEDLE\n",
        ("wrong_value", "exception"),
    ),
    "fork bomb": Attack(
        "import os\ndef f(x):\n"
        "    while True:\n"
        "        try:\n            os.fork()\n"
        "        except OSError:\n            pass\n",
        KILLED,
        SHORT,
        walls=True,
    ),
    "thread bomb": Attack(
        "import os, threading, time\ndef f(x):\n"
        "    while True:\n        threading.Thread(target=time.sleep, args=(99,)).start()\n",
        KILLED,
        Limits(seconds=1.0),
        walls=True,
    ),
    "daemons": Attack(
        "import os, signal, time\ndef f(x):\n"
        "    for _ in range(4):\n"
        "        if os.fork() == 0:\n"
        "            os.setsid()\n"
        "            signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "            if os.fork() == 0:\n"
        "                time.sleep(99)\n"
        "            os._exit(0)\n"
        "    return 'wrong'\n",
        ("wrong_value",),
        walls=True,
    ),
    "killing everybody": Attack(
        "import os, signal\ndef f(x):\n"
        "    for number in (os.getppid(), 1, 2, 3, -1):\n"
        "        if number:\n"
        "            try:\n                os.kill(number, signal.SIGKILL)\n"
        "            except OSError:\n                pass\n"
        "    os.killpg(0, signal.SIGKILL)\n"
        "    return 'wrong'\n",
        (*KILLED, "wrong_value"),
        walls=True,
    ),
    "stopping everybody": Attack(
        "import os, signal\ndef f(x):\n"
        "    for number in (-1, 1, os.getpid()):\n"
        "        try:\n            os.kill(number, signal.SIGSTOP)\n"
        "        except OSError:\n            pass\n"
        "    return 'wrong'\n",
        ("wrong_value", "timeout"),
        SHORT,
        walls=True,
    ),
}

CASES = [
    (level, name)
    for level in NEEDS
    for name, attack in ATTACKS.items()
    if level in WALLS or not attack.walls
]


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[Level, Sandbox]]:
    """One sandbox of each level, its servers started with a secret in the environment."""
    os.environ["PLANISH_SECRET"] = SECRET
    made: dict[Level, Sandbox] = {}
    try:
        for level in NEEDS:
            made[level] = Sandbox(accept="fork", level=level, workers=1)
            assert made[level].run([GOOD])[0].status == "pass"
        yield made
    finally:
        del os.environ["PLANISH_SECRET"]
        for box in made.values():
            box.close()


def one(box: Sandbox, job: Job, good: bool = True) -> ExecResult:
    """Runs a job, and a good one after it."""
    (first,) = box.run([job], retry=False)
    for after in box.run([GOOD], retry=False) if good else []:
        assert after.status == "pass", after
        assert after.sandbox_level == box.level
    return first


def family() -> set[int]:
    """Processes that this one has started, directly or not."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                told = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            fields = told.rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(entry)] = int(fields[1])
    found = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


@pytest.mark.parametrize(("level", "name"), CASES)
def test_no_attack_passes_or_stops_the_batch(
    boxes: dict[Level, Sandbox], level: Level, name: str
) -> None:
    attack = ATTACKS[name]
    before = family()
    job = Job(key=name, code=attack.program, entry_point="f", tests=TESTS, limits=attack.limits)
    result = one(boxes[level], job)
    assert result.status in attack.statuses, result
    assert result.sandbox_level == level
    patience = time.monotonic() + 5
    # the processes of the good program and of its tests wait for the next job
    while len(left := family() - before) > 2 and time.monotonic() < patience:
        time.sleep(0.02)
    assert len(left) <= 2, "something outlives the job"


# --- walls -----------------------------------------------------------------------------------


def told(box: Sandbox, code: str, *arguments: Any) -> Any:
    """What a program returns that tries things and tells which of them it could do."""
    head = "done = []\ndef attempt(what, *arguments):\n    try:\n        held = what(*arguments)\n"
    head += "        done.append(repr((what, arguments, held))[:200])\n        return held\n"
    head += "    except (OSError, ValueError, AttributeError, ImportError):\n        return None\n"
    inputs = (dumps(arguments),)
    job = Job(key="probe", code=head + code, entry_point="f", inputs=inputs, limits=GOOD.limits)
    result = one(box, job)
    assert result.status == "pass", result
    value = result.per_input[0].value
    assert value is not None
    return loads(value)


@pytest.fixture(params=WALLS)
def walls(request: pytest.FixtureRequest, boxes: dict[Level, Sandbox]) -> Sandbox:
    return boxes[request.param]


def test_network(walls: Sandbox) -> None:
    code = (
        "import socket\n"
        "def f(port, name):\n"
        "    for host in ('127.0.0.1', '0.0.0.0', '1.1.1.1'):\n"
        "        attempt(lambda: socket.create_connection((host, port), 0.3))\n"
        "        try:\n"  # the sandbox may have a loopback of its own to send to
        "            socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', (host, port))\n"
        "        except OSError:\n            pass\n"
        "    attempt(lambda: socket.socket(socket.AF_UNIX).connect('\\0' + name))\n"
        "    attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))\n"
        "    attempt(lambda: socket.socket(40, socket.SOCK_STREAM))\n"  # AF_VSOCK: its host
        "    attempt(lambda: socket.socket(38, socket.SOCK_SEQPACKET))\n"  # AF_ALG: the kernel
        "    attempt(socket.getaddrinfo, 'localhost.example', 80)\n"
        "    return done\n"
    )
    name = f"planish-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as stream, socket.socket(socket.AF_UNIX) as local:
        port = stream.getsockname()[1]
        local.bind("\0" + name)
        local.listen()
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", port))
            assert told(walls, code, port, name) == []
            for heard in (stream, local, datagrams):
                heard.setblocking(False)
                with pytest.raises(BlockingIOError):
                    heard.recv(1) if heard is datagrams else heard.accept()


def test_files_of_the_host(walls: Sandbox, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text(SECRET)
    library = sysconfig.get_path("stdlib")
    places = [str(tmp_path), library, "/etc", "/usr", "/var/tmp", "/root", str(Path.home()), "/"]
    code = (
        "import os\n"
        "def f(secret, places, known):\n"
        "    for path in (secret, '/etc/passwd', '/etc/shadow', known):\n"
        "        attempt(lambda: open(path).read())\n"
        "    for what in (os.unlink, lambda path: os.truncate(path, 0)):\n"
        "        attempt(what, secret)\n"
        "    attempt(os.rename, secret, secret + '.moved')\n"
        "    attempt(os.link, secret, 'here')\n"
        "    for place in places:\n"
        "        attempt(lambda: open(os.path.join(place, 'planish-probe'), 'w'))\n"
        "        attempt(os.mkdir, os.path.join(place, 'planish-probe'))\n"
        "        attempt(os.symlink, secret, os.path.join(place, 'planish-probe'))\n"
        "    return done\n"
    )
    assert told(walls, code, str(secret), places, str(Path(__file__))) == []
    assert secret.read_text() == SECRET
    assert not [place for place in places if Path(place, "planish-probe").exists()]


def test_other_processes(walls: Sandbox) -> None:
    code = (
        "import ctypes, os\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def f(host):\n"
        "    for number in {host, os.getppid(), 1, 2} - {os.getpid()}:\n"
        "        for name in ('environ', 'cmdline', 'mem', 'maps', 'root/etc/passwd', 'fd/0'):\n"
        "            attempt(lambda: open(f'/proc/{number}/{name}', 'rb').read(1))\n"
        "        if number > 1:\n"
        "            attempt(os.kill, number, 0)\n"
        "            if libc.ptrace(16, number, 0, 0) == 0:\n"
        "                done.append('ptrace')\n"
        "            local = ctypes.create_string_buffer(8)\n"
        "            far = (ctypes.c_void_p * 2)(4194304, 8)\n"
        "            near = (ctypes.c_void_p * 2)(ctypes.addressof(local), 8)\n"
        "            if libc.process_vm_readv(number, near, 1, far, 1, 0) > 0:\n"
        "                done.append('process_vm_readv')\n"
        "    return done\n"
    )
    assert told(walls, code, os.getpid()) == []


def test_ways_out_of_the_walls(walls: Sandbox) -> None:
    code = (
        "import ctypes, os, socket\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def f():\n"
        "    for flags in (0x10000000, 0x00020000, 0x20000000, 0x40000000):\n"
        "        if libc.unshare(flags) == 0:\n            done.append(flags)\n"
        "    if libc.mount(b'none', b'/dev', b'tmpfs', 0, None) == 0:\n"
        "        done.append('mount')\n"
        "    if libc.umount2(b'/', 2) == 0:\n        done.append('umount')\n"
        "    for number in range(3, 64):\n"
        "        attempt(lambda: os.listdir(number))\n"
        "        attempt(lambda: os.open('..', os.O_RDONLY, dir_fd=number))\n"
        "    attempt(os.chroot, '.')\n"
        "    attempt(os.setuid, 0) if os.getuid() else None\n"
        "    attempt(os.mknod, 'disk', 0o60600, os.makedev(8, 0))\n"
        "    attempt(lambda: open('large', 'w').write('x' * 10**5))\n"
        "    return done\n"
    )
    assert told(walls, code) == []


def test_nothing_is_left_for_the_next_program(walls: Sandbox) -> None:
    code = (
        "import builtins, os\n"
        "def f():\n"
        "    project = os.listdir(os.path.dirname(__file__))\n"
        "    found = sorted(os.listdir('.')) + sorted(set(project) - {'candidate.py'})\n"
        "    found += ['builtins'] if hasattr(builtins, 'left') else []\n"
        "    builtins.left = 1\n"
        "    os.mkdir('left')\n"
        "    return found\n"
    )
    for _ in range(2):
        assert told(walls, code) == []


@pytest.mark.skipif("fork" not in NEEDS, reason="the level fork is not to be had here")
def test_without_walls_such_probes_reach_the_host(
    boxes: dict[Level, Sandbox], tmp_path: Path
) -> None:
    """What the tests above would see if the walls had holes."""
    (tmp_path / "secret.txt").write_text(SECRET)
    code = (
        "import os, socket\n"
        "def f(path, port):\n"
        "    attempt(lambda: open(path).read())\n"
        "    attempt(lambda: open(f'/proc/{os.getppid()}/cmdline', 'rb').read(1))\n"
        "    attempt(lambda: socket.create_connection(('127.0.0.1', port), 1).close())\n"
        "    attempt(os.unlink, path)\n"
        "    return len(done)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as stream:
        path, port = str(tmp_path / "secret.txt"), stream.getsockname()[1]
        assert told(boxes["fork"], code, path, port) == 4


@pytest.mark.parametrize("level", NEEDS)
def test_the_environment_is_not_handed_on(boxes: dict[Level, Sandbox], level: Level) -> None:
    code = "import os\ndef f():\n    return 'PLANISH_SECRET' in os.environ\n"
    assert told(boxes[level], code) is False


# --- honest results --------------------------------------------------------------------------

STATUS_CASES = {
    "pass": "def f(x):\n    return x + 1\n",
    "wrong_value": "def f(x):\n    pass\n",
    "exception": "def f(x):\n    return x[0]\n",
    "timeout": "def f(x):\n    while True: pass\n",
    "oom": "def f(x):\n    return [x] * (1 << 50)\n",
    "no_entry": "def g(x):\n    return x + 1\n",
    "syntax": "def f(x) return x + 1\n",
}


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("status", STATUS_CASES)
def test_every_status_is_reached(boxes: dict[Level, Sandbox], level: Level, status: str) -> None:
    tests = "def check(candidate):\n    assert candidate(1) == 2\n"
    limits = SHORT if status == "timeout" else Limits(seconds=20)
    code = STATUS_CASES[status]
    job = Job(key="1", code=code, entry_point="f", tests=tests, limits=limits)
    result = one(boxes[level], job, good=False)
    assert result.status == status, result
    assert result.score == float(status == "pass")


@pytest.mark.parametrize("level", NEEDS)
@pytest.mark.parametrize("tests", ["def check(:", "x = 1", "def check(f):\n    missing(f(1))\n"])
def test_what_the_tests_do_wrong_is_no_score(
    boxes: dict[Level, Sandbox], level: Level, tests: str
) -> None:
    job = Job(key="1", code=STATUS_CASES["pass"], entry_point="f", tests=tests)
    result = one(boxes[level], job)
    assert (result.status, result.score) == ("harness", None)


@pytest.mark.parametrize("level", NEEDS)
def test_a_timeout_takes_little_longer_than_its_limit(
    boxes: dict[Level, Sandbox], level: Level
) -> None:
    code = ATTACKS["ignored signals"].code
    job = Job(key="1", code=code, entry_point="f", inputs=(dumps((1,)),), limits=SHORT)
    over = []
    for _ in range(3):  # a busy machine may be late once
        started = time.monotonic()
        assert one(boxes[level], job, good=False).status == "timeout"
        over.append(time.monotonic() - started - SHORT.seconds)
        if over[-1] < 2:
            break
    assert min(over) < 2, over


@pytest.mark.parametrize("level", NEEDS)
def test_usual_programs_pass(boxes: dict[Level, Sandbox], level: Level) -> None:
    code = (
        "from collections import Counter, defaultdict, namedtuple\n"
        "P = namedtuple('P', 'x y')\n"
        "def f(rows, x):\n"
        "    print('x' * 300_000)\n"
        "    print('the end')\n"
        "    rows.append(x)\n"
        "    groups = defaultdict(list)\n"
        "    groups[x].append(P(1, 2.0))\n"
        "    return Counter(rows), groups, {1, 2}, range(3), None\n"
    )
    tests = (
        "def check(candidate):\n"
        "    rows = [5]\n"
        "    counts, groups, *rest = candidate(rows, x=5)\n"
        "    assert rows == [5, 5] and counts == {5: 2} and groups == {5: [(1, 2.0)]}\n"
        "    assert rest == [{1, 2}, range(3), None]\n"
    )
    limits = Limits(seconds=20, output_bytes=1000)
    result = one(boxes[level], Job(key="1", code=code, entry_point="f", tests=tests, limits=limits))
    assert result.status == "pass", result
    assert result.stdout_tail.endswith("the end\n")
    assert len(result.stdout_tail) <= 1000
