"""The benchmark that lays the rules beside two readers, on a handful of made-up runs."""

import gzip
import json

import pytest

from planish.methods.mistakes.data import CATEGORIES

TASK = {
    "task_id": "X/1",
    "entry_point": "f",
    "prompt": "def f(x):\n",
    "reference": "def f(x):\n    return x\n",
    "tests": "def check(candidate):\n    assert candidate(1) == 1\n",
}
RUNS = (
    (False, "def f(x):\n    return x + 1\n"),
    (False, "def f(x):\n    return x + 1  # the same\n"),
    (True, "def f(x):\n    return x\n"),
    (True, "def f(x):\n\n    return x\n"),
    (True, "def f(x):\n    y = x\n    return y\n"),
)


@pytest.fixture
def bench(benchmarks):
    import bench_mistakes_real as made

    return made


def test_what_failed_and_what_passed_counts_once(bench, tmp_path):
    rows = [
        {"task_id": "X/1", "model": "m", "run": at, "recorded_pass": passed, "code": code}
        for at, (passed, code) in enumerate(RUNS)
    ]
    for name, lines in (("humaneval_tasks", [TASK]), ("recorded_runs_a", rows)):
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    tasks, cases = bench.failures(tmp_path)
    assert [case.run for case in cases] == [0]
    assert bench.passed(tmp_path, tasks) == {"X/1": [RUNS[2][1], RUNS[4][1]]}


def test_silence_is_a_miss_where_that_is_asked_and_left_out_elsewhere(bench, monkeypatch):
    monkeypatch.setattr(bench, "READ", 4)
    a, b = ["CE", "CE", "IOM", "none"], ["CE", "CE", "MLA", "none"]
    readings = bench.Readings(a, b, [{"CE", "GC"}, {"CE"}, {"IOM", "MLA"}, {"none"}])
    assert readings.agreed == [0, 1]
    found = bench.agreement(["CE", "none", "MLA", "GC"], readings, list("wxyz"))
    told = dict(zip(bench._ROWS, found, strict=True))
    assert told["rules with what both readers say"].endswith("n = 1")
    assert told["silence counted as a miss"].startswith("0.500")
    assert told["rules with reader b, there"].startswith("0.667")
    assert told["rules with anything that a reader names or accepts"].startswith("0.667")


def test_the_readings_name_a_category_for_each_of_sixty(bench):
    readings = bench.Readings.kept()
    assert len(readings.a) == len(readings.b) == bench.READ == 60
    assert {*readings.a, *readings.b} <= {*CATEGORIES, bench.NONE}
