"""The same work on many items: over the cores of this machine, or over a Ray cluster by name.

    >>> fan_out(len, ["a", "bb"], workers=1)
    [1, 2]

Results come back in the order of the items. `backend="ray"` sends the same call to whatever
cluster Ray finds; nothing else changes.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import threading
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from planish.records import BadInput

__all__ = ["BACKENDS", "fan_out", "one_thread"]

Item = TypeVar("Item")
Result = TypeVar("Result")

BACKENDS = ("loky", "threading", "ray")
"""Processes on this machine, threads of this process, or a Ray cluster."""


def fan_out(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    workers: int | None = None,
    backend: str = "loky",
    progress: Callable[[int, int], None] | None = None,
) -> list[Result]:
    """Calls `function` on every item and returns the results in the order of the items.

    Worker processes compute with one thread each, so that workers do not fight over cores.

    Args:
        workers: how many at once; None: one per usable core (or what the cluster has). 1 on
            this machine runs here and now, without another process.
        backend: one of `BACKENDS`.
        progress: called with (done, total) after each item, in the calling thread. Ray hands
            all results over together, so there it is called at the end.

    Raises:
        BadInput: no such backend, or it is not installed.
        Exception: whatever `function` raised first, with the item's index in its notes and as
            `item_index`; items that have not begun are dropped.
    """
    if backend not in BACKENDS:
        raise BadInput(
            f"unknown backend {backend!r}", where="parallel", fix=f"use {', '.join(BACKENDS)}"
        )
    if workers is not None and workers < 1:
        raise BadInput(f"{workers} workers", where="parallel", fix="use 1 or more, or leave it out")
    work = list(items)
    if workers is None and backend != "ray":
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1
    numbered = _Numbered(function)
    here = backend != "ray" and (workers == 1 or len(work) < 2)
    arriving: contextlib.AbstractContextManager[Iterator[_Outcome[Result]]]
    if here:
        arriving = contextlib.nullcontext(map(numbered, enumerate(work)))
    else:
        arriving = _with_joblib(numbered, work, workers, backend)
    results: list[Any] = [None] * len(work)
    with arriving as outcomes:
        for done, outcome in enumerate(outcomes, 1):
            if outcome.error is not None:
                raise _annotated(outcome, len(work), here)
            results[outcome.index] = outcome.result
            if progress is not None:
                progress(done, len(work))
    return results


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread: sums come in one order, so the numbers are the same again.

    A model of a few hundred thousand weights gains nothing from more.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Outcome(Generic[Result]):
    index: int
    result: Result | None = None
    error: Exception | None = None
    trace: str = ""


@dataclass
class _Numbered(Generic[Item, Result]):
    """Calls the function and keeps the item's index with whatever comes of it."""

    function: Callable[[Item], Result]

    def __call__(self, numbered: tuple[int, Item]) -> _Outcome[Result]:
        index, item = numbered
        try:
            return _Outcome(index, result=self.function(item))
        except Exception as error:
            trace = traceback.format_exc()
            return _Outcome(index, error=_portable(error), trace=trace)


def _portable(error: Exception) -> Exception:
    """The error, or its text where it would not survive the way back from another process.

    An exception that cannot be unpickled takes the whole pool down with it.
    """
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        lost = RuntimeError(f"{type(error).__name__}: {error}")
        return lost.with_traceback(error.__traceback__)
    return error


def _annotated(outcome: _Outcome[Any], total: int, here: bool) -> Exception:
    error = outcome.error
    assert error is not None
    error.item_index = outcome.index  # type: ignore[attr-defined]
    error.add_note(f"while working on item {outcome.index} of {total}")
    if not here:
        error.add_note(f"in a worker:\n{outcome.trace}")
    return error


@contextlib.contextmanager
def _with_joblib(
    numbered: _Numbered[Item, Result], work: list[Item], workers: int | None, backend: str
) -> Iterator[Iterator[_Outcome[Result]]]:
    """Outcomes in the order they arrive; what is not waited for is cancelled at the end."""
    from joblib import Parallel, delayed, parallel_config

    if backend == "ray":
        _register_ray()
    # A Ray task computes with one thread unless it asks for more.
    limit = {"inner_max_num_threads": 1} if backend == "loky" else {}
    with parallel_config(backend=backend, n_jobs=workers or -1, **limit):
        pool = Parallel(
            # joblib's Ray backend cannot hand over results one by one.
            return_as="list" if backend == "ray" else "generator_unordered",
            # "c": big arrays reach workers as memory maps that may be written to, as they may here.
            mmap_mode="c",
        )
        outcomes = pool(delayed(numbered)(item) for item in enumerate(work))
    try:
        yield iter(outcomes)
    finally:
        if backend != "ray":
            with warnings.catch_warnings(), _dropped_unheard():
                # After a failure the rest is dropped on purpose; joblib would advise against it.
                warnings.filterwarnings("ignore", "[0-9]+ tasks", UserWarning)
                outcomes.close()


@contextlib.contextmanager
def _dropped_unheard() -> Iterator[None]:
    """Nothing is told of a race in loky: its thread looks for work that was just dropped.

    It dies of that with a `KeyError`, when all workers are gone and nothing is left for it to do.
    """
    before = threading.excepthook

    def hook(failed: threading.ExceptHookArgs) -> None:
        name = "" if failed.thread is None else failed.thread.name
        if failed.exc_type is not KeyError or name != "ExecutorManagerThread":
            before(failed)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before


def _register_ray() -> None:
    try:
        ray = importlib.import_module("ray.util.joblib")
    except ImportError:
        raise BadInput(
            "Ray is not installed", where="backend ray", fix="run: pip install 'planish[ray]'"
        ) from None
    ray.register_ray()
