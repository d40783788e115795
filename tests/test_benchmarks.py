"""The benchmarks' worlds and tables, run small: what they print is what was measured."""

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
    _forget()  # the tests have a `support` of their own
    yield
    torch.set_num_threads(threads)
    _forget()


def _forget():
    for path in BENCHMARKS.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.slow
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


def gap_records(right, own, copied):
    """Records of a gap run: one pair judged twice, one with two wrong candidates."""
    rows = [
        ("row", {"item_id": "a", "slice": "one_right", "solve_rate": 0.5, "in_frozen_q_tau": True}),
        ("row", {"item_id": "b", "slice": "one_right", "solve_rate": 1, "in_frozen_q_tau": False}),
        ("row", {"item_id": "c", "slice": "both_wrong", "solve_rate": 1, "in_frozen_q_tau": False}),
    ]
    for item, greedy in (("a", False), ("a", False), ("a", True), ("b", False), ("c", False)):
        judged = {"verdict_correct": right, "solution_correct": own, "copied": copied}
        place = {"item_id": item, "order": "AB", "greedy": greedy, "solution": "7 2"}
        rows.append(("judge", place | {"num_total_tokens": 5} | judged))
    rows[4][1]["verdict_correct"] = None  # the second judgment of "a" could not be read
    swap = {"item_id": "a", "order": "AB", "kind": "swap"}
    rows += [
        ("intervention", swap | {"inserted": "7 5", "followed": True}),
        ("intervention", swap | {"inserted": "3 2", "followed": False}),
        ("intervention", swap | {"kind": "gold", "inserted": "7 2", "followed": False}),
    ]
    return [{"kind": kind, "id": "", "data": data} for kind, data in rows]


def test_gap_runs_are_compared_item_by_item(benchmarks, tmp_path):
    import s2j_runs as runs
    from planish.records import write_jsonl

    measured = []
    for number, (right, own, copied) in enumerate([(False, True, False), (True, False, True)]):
        write_jsonl(tmp_path / str(number) / "records.jsonl", gap_records(right, own, copied))
        measured.append(runs.Measured(30, {}, runs._items(tmp_path / str(number))))
    before, after = measured
    assert before.items["gap"] == {"a": 1.0}  # only the questions that the base solves
    assert after.items["gap"] == {"a": 0.5}  # the greedy judgment does not count, the unread does
    assert after.items["right"] == {"a": 0.5, "b": 1.0}
    assert before.items["inner"] == {"a": 1.0, "b": 1.0}
    assert "luck" not in before.items
    assert after.items["luck"] == {"a": 0.5, "b": 1.0}
    assert (before.items["copies"], after.items["copies"]) == ({"c": 0.0}, {"c": 1.0})
    assert after.items["follows"] == {"a": 0.5}
    assert after.items["switches"] == {"a": 1.0}  # the other ended as its own solution did
    assert runs.difference([after], [before], runs.gap).value == -0.5
    assert runs.difference([after], [before], runs.luck).value is None
    text = runs.table([before], {"additive": [after]}, {"additive": "additive"})
    assert text.splitlines()[-1].startswith("| additive | 0.500 | 0.750 |")
    assert runs.by_base([before], {"additive": [after]}, 1).splitlines()[-1] == (
        "| 30 | 0.000 | 1.000 | 1.000 | 1.000 | 0.500 |"
    )


def test_every_arm_is_an_option_of_the_command(benchmarks):
    import bench_s2j
    from planish.methods.s2j.learning.config import TrainConfig

    for arm in bench_s2j.ARMS:
        options = bench_s2j.options_of(arm, 7)
        names = {str(option)[2:].replace("-", "_") for option in options[::2]}
        assert names <= {"arm", "steps", *TrainConfig.model_fields}
        assert ("steps" in names) == (arm != "dpo")


@pytest.mark.slow
def test_an_arm_pays_for_its_reheating_with_steps_of_rl(benchmarks, monkeypatch, tmp_path):
    import bench_reheat
    import reheat_world

    for name, value in (("COLLAPSE", 3), ("REWOUND", 2), ("AFTER", 6), ("DRAWS", 4), ("_PACED", 2)):
        monkeypatch.setattr(reheat_world, name, value)
    monkeypatch.setattr(reheat_world, "_REACH_DRAWS", 2)
    monkeypatch.setattr(bench_reheat, "DRAWS", 4)
    made = reheat_world.train_walker
    monkeypatch.setattr(reheat_world, "train_walker", lambda *a: made(*a, steps=60))
    world = reheat_world.World(3, tmp_path)
    sets = reheat_world.prompt_sets(world.task, train=64, probe=8, report=12, seed=0)
    world.__dict__["sets"] = sets
    drawn = []
    plain = world.rl
    monkeypatch.setattr(
        world,
        "rl",
        lambda model, steps, *a, **o: drawn.append(steps) or plain(model, steps, *a, **o),
    )
    _ = world.collapsed
    arms = {name: [reheat_world.run_arm(world, name)] for name in ("continue", "anchored")}
    for name, runs in arms.items():  # a world in which reheating did wonders
        runs.append(json.loads(json.dumps(runs[0])))
        for account in ("end", "early"):
            runs[1][account]["right"] = [4 * (name == "anchored")] * 12
    assert drawn[:2] == [3, 6]
    [warm] = arms["anchored"][0]["thaws"]
    assert drawn[2:] == [2, 6 - warm["steps"] - (warm["ended"] == "ceiling")]
    page = bench_reheat.text([3, 4], [world.facts] * 2, arms)
    assert page.count("| **anchored** |") == 3
    assert page.count("| continue |") == 2
