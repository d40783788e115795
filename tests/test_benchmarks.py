"""The rise benchmark's world and tables, run small: what they print is what was measured."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    import torch

    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for name in ("rise_world", "bench_rise", "bench_rise_policy", "rise_tables", "support"):
        sys.modules.pop(name, None)


def test_two_stages_and_sft_see_as_many_rows(benchmarks, monkeypatch, tmp_path):
    import bench_rise
    import rise_world as world
    from planish.embedded import path

    monkeypatch.setattr(bench_rise, "QUESTIONS", 250)
    monkeypatch.setattr(bench_rise, "REPORT", 20)
    seen = []

    def fit(kind, model, rows, *, steps, learning_rate, seed, out, **settings):
        seen.append((kind, len(rows), steps))
        return fitted(kind, model, rows, steps=2, learning_rate=learning_rate, seed=seed, out=out)

    fitted = world.fit
    monkeypatch.setattr(world, "fit", fit)
    bench = bench_rise._Bench(world, path("apprentice"), 0, tmp_path)
    monkeypatch.setitem(bench_rise.CASES, 0.4, 500)
    sft, two = bench._both(bench.rows, 0.4)
    assert 0 <= two <= 1
    assert 0.6 < sft < 0.9  # two steps leave it what it was
    (_, alone, steps), (_, warm, first), (kind, pairs, second) = seen
    assert kind == "dpo"
    assert steps == first + second
    assert alone == pytest.approx(warm + pairs, abs=3)
    assert alone == pytest.approx(0.4 * len(bench.rows), abs=4)
    train = {case.example.prompt[0].content for case in bench.cases}
    assert not train & {case.example.prompt[0].content for case in bench.report}


def test_the_tables_hold_every_arm_of_the_runs(benchmarks, monkeypatch, tmp_path):
    import bench_rise
    import rise_tables
    import support

    monkeypatch.setattr(support, "RESULTS", tmp_path)
    monkeypatch.setattr(rise_tables, "RESULTS", tmp_path)
    rates = {"right": 0.8, "both_right": 0.7, "coverage": 1.0, "greedy": 0.8, "tokens": 10.0}

    def found(seed):
        arms = {arm: {**rates, "right": 0.8 + seed / 100} for arm in bench_rise.NAMES}
        arms["two"]["right"] += 0.1
        for arm in arms.values():
            arm["solved"] = [1.0, 0.99, 1.0]
        curves = {f"curve {share:g}": [0.8, 0.9] for share in bench_rise.CURVE}
        teachers = {f"teacher {careful:g}": [0.9, 0.8] for careful in bench_rise.TEACHERS}
        return {
            "rows": 7000,
            "base_seed": "b1",
            "seed": seed,
            "pairs": {"two": 5},
            **json.loads(json.dumps(arms | curves | teachers)),
        }

    rise_tables.write({"base-1": rates}, [found(seed) for seed in range(3)])
    [page] = tmp_path.glob("*-rise.md")
    text = page.read_text()
    assert all(name in text for name in bench_rise.NAMES.values())
    assert "| **SFT, then DPO + NLL** | 0.910 [0.900, 0.920] |" in text
    assert "0.100 |" in text  # the difference to SFT is the same in every run
    [picture] = tmp_path.glob("*-curve.svg")
    assert picture.read_text().lstrip().startswith("<?xml")


def test_the_share_of_the_ceilings_gain_is_one_of_means(benchmarks):
    from bench_rise_policy import recovered

    gains = {"verifier": (0.2, 0.1), "judge": (0.1, 0.11), "random": (-0.1, -0.05)}
    runs = [
        {arm: {"solve_difference": each[seed]} for arm, each in gains.items()} for seed in (0, 1)
    ]
    share = recovered(runs, "judge")
    assert share.value == pytest.approx(0.21 / 0.3)
    assert (share.low, share.high) == pytest.approx((0.5, 1.1))  # either run alone
    assert recovered(runs, "judge", "random").value == pytest.approx(0.36 / 0.45)
    assert recovered(runs, "verifier").value == recovered(runs, "verifier", "random").value == 1
