import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planish import parallel
from planish.parallel import fan_out
from planish.records import BadInput

CODE = [(1, "loky"), (2, "loky"), (2, "threading")]


class Stubborn(Exception):
    """An exception that pickles but cannot be unpickled."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def square(x: int) -> int:
    return x * x


def slow_first(x: int) -> int:
    time.sleep(0.5 if x == 0 else 0.0)
    return x


def fail_at_three(x: int) -> int:
    if x == 3:
        raise BadInput("three", where="here", fix="use four")
    return x


def stubborn_at_three(x: int) -> int:
    if x == 3:
        raise Stubborn(1, 2)
    return x


def threads(_: int) -> tuple[int, str, int]:
    import threadpoolctl

    np.ones((4, 4)) @ np.ones((4, 4))
    pools = threadpoolctl.threadpool_info()
    most = max((pool["num_threads"] for pool in pools), default=1)
    return most, os.environ.get("OMP_NUM_THREADS", ""), os.getpid()


def double_in_place(array: np.ndarray) -> float:
    array *= 2
    return float(array.sum())


@pytest.mark.parametrize(("workers", "backend"), CODE)
def test_order_is_kept(workers, backend):
    assert fan_out(slow_first, range(6), workers=workers, backend=backend) == list(range(6))


@given(st.lists(st.integers(), max_size=20))
def test_is_a_map(items):
    assert fan_out(square, items, workers=1) == [square(item) for item in items]


def test_nothing_to_do():
    assert fan_out(square, [], workers=2) == []


def test_results_count_as_they_finish():
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))

    assert fan_out(slow_first, range(8), workers=2, progress=progress) == list(range(8))
    assert seen == [(done, 8) for done in range(1, 9)]


def test_a_slow_first_item_does_not_hold_back_progress():
    others_arrived = threading.Event()

    def wait_at_zero(x: int) -> bool:
        return others_arrived.wait(timeout=20) if x == 0 else True

    def progress(done: int, total: int) -> None:
        others_arrived.set()

    assert all(fan_out(wait_at_zero, range(4), workers=2, backend="threading", progress=progress))


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_what_a_failure_leaves_undone_is_dropped_without_a_word(backend):
    """joblib would warn of it whenever Python happens to throw its generator away."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            fan_out(fail_at_three, range(60), workers=2, backend=backend)
        except BadInput as error:
            kept = error  # with all frames
        assert kept.item_index == 3
        del kept
        gc.collect()
    assert not [each for each in said if issubclass(each.category, UserWarning)]


def test_only_loky_looking_for_dropped_work_is_unheard(monkeypatch):
    """Whatever else ends a thread meanwhile is told as ever."""
    heard = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: heard.append(failed.exc_type))

    def fails(error):
        raise error

    with parallel._dropped_unheard():
        for name, error in (
            ("ExecutorManagerThread", KeyError(53)),
            ("ExecutorManagerThread", ValueError("other")),
            ("mine", KeyError(53)),
        ):
            thread = threading.Thread(target=fails, args=(error,), name=name)
            thread.start()
            thread.join()
    assert heard == [ValueError, KeyError]
    thread = threading.Thread(target=fails, args=(KeyError(1),), name="ExecutorManagerThread")
    thread.start()
    thread.join()
    assert heard == [ValueError, KeyError, KeyError]


@pytest.mark.parametrize(("workers", "backend"), CODE)
def test_an_exception_tells_its_item(workers, backend):
    with pytest.raises(BadInput, match="three") as caught:
        fan_out(fail_at_three, range(6), workers=workers, backend=backend)
    assert str(caught.value) == "here: three; use four"
    assert caught.value.item_index == 3
    assert caught.value.fix == "use four"
    notes = "\n".join(caught.value.__notes__)
    assert "item 3 of 6" in notes
    assert ("fail_at_three" in notes) == (workers > 1)
    # The pool still works afterwards.
    assert fan_out(square, range(3), workers=workers, backend=backend) == [0, 1, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_that_cannot_travel_comes_as_its_text(workers):
    with pytest.raises(RuntimeError, match="Stubborn: 1 and 2") as caught:
        fan_out(stubborn_at_three, range(6), workers=workers)
    assert caught.value.item_index == 3


def test_one_worker_stays_in_this_process():
    assert fan_out(lambda _: os.getpid(), range(3), workers=1) == [os.getpid()] * 3


def test_workers_compute_with_one_thread_each():
    for most, environment, process in fan_out(threads, range(4), workers=2):
        assert most == 1
        assert environment == "1"
        assert process != os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_big_arrays_can_be_written_to(workers):
    arrays = [np.ones(300_000), np.ones(300_000)]  # 2.4 MB: joblib maps these into memory
    assert fan_out(double_in_place, arrays, workers=workers) == [600_000.0, 600_000.0]


def test_lambdas_and_closures_travel():
    offset = 10
    assert fan_out(lambda x: x + offset, range(4), workers=2) == [10, 11, 12, 13]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "spark"}, "unknown backend 'spark'; use loky, threading, ray"),
        ({"workers": 0}, "0 workers; use 1 or more"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(BadInput, match=message):
        fan_out(square, range(3), **options)


def test_ray_missing_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.util", None)
    monkeypatch.setitem(sys.modules, "ray.util.joblib", None)
    with pytest.raises(BadInput, match=r"run: pip install 'planish\[ray\]'$"):
        fan_out(square, range(3), backend="ray")


@pytest.mark.slow
def test_ray_gives_the_same():
    """In a process of its own: Ray leaves threads, files and warnings behind."""
    pytest.importorskip("ray")
    code = """
    import ray
    from planish.parallel import fan_out
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    print(fan_out(lambda x: x * x, range(5), backend="ray"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},  # else it leaves a file at home
    )
    assert done.stdout.strip().splitlines()[-1] == "[0, 1, 4, 9, 16]"
