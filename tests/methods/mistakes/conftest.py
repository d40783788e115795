"""One sandbox for the stages' tests: to start one takes a moment; and benchmarks to import."""

import sys
from pathlib import Path

import pytest

from planish.tasks.sandbox import Sandbox

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """Benchmarks can be imported; they are forgotten again, for tests have a `support` too."""

    def forget():
        for path in BENCHMARKS.glob("*.py"):
            sys.modules.pop(path.stem, None)

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    forget()
    yield BENCHMARKS
    forget()


@pytest.fixture(scope="module")
def box():
    with Sandbox(workers=1) as made:
        yield made


@pytest.fixture
def one_box(monkeypatch, box):
    """Every call in the one sandbox; and the jobs it got, each as it was run."""
    got = []

    class Kept:
        level = box.level

        def run(self, jobs, **_):
            got.extend(jobs)
            return box.run(jobs)

        def stream(self, jobs, **_):
            for job in jobs:
                got.append(job)
                yield from box.run([job])

        def __getattr__(self, name):
            return getattr(box, name)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

    monkeypatch.setattr("planish.tasks.sandbox.Sandbox", lambda **_: Kept())
    return got
