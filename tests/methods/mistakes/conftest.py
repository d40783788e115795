"""One sandbox for the stages' tests: to start one takes a moment."""

import pytest

from planish.tasks.sandbox import Sandbox


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
