import json
import os

import pytest

from planish.records import BadInput
from planish.runs import Run, compare, find, list_runs
from planish.runs.console import Screen
from planish.runs.show import compare_runs
from planish.stats import Estimate, mcnemar, paired_bootstrap


def make(root, slug, scores=None, config=None, *, seed=0, room="rise", **summary):
    with Run.create(room, slug, config or {}, seed=seed, root=root) as run:
        for item, score in (scores or {}).items():
            run.record("score", {"right": score}, id=item)
        run.finish(**summary)
    return run.path


def test_list_newest_first_and_by_room(tmp_path):
    paths = [make(tmp_path, f"r{index}") for index in range(3)]
    other = make(tmp_path, "other", room="s2j")
    assert [run.path for run in list_runs(tmp_path)] == [other, *reversed(paths)]
    assert [run.path for run in list_runs(tmp_path, room="rise")] == list(reversed(paths))
    assert list_runs(tmp_path / "absent") == []
    assert list_runs(tmp_path, room="absent") == []


def test_broken_folders_are_listed_as_broken(tmp_path):
    good = make(tmp_path, "good")
    (tmp_path / "rise" / "empty").mkdir()
    (tmp_path / "rise" / "a-file").write_text("")
    (tmp_path / "stray.txt").write_text("")
    bad = tmp_path / "rise" / "bad"
    bad.mkdir()
    (bad / "run.json").write_text('{"room": "rise", "status": "dancing", "started": "x"}')
    odd = tmp_path / "rise" / "odd"
    odd.mkdir()
    (odd / "run.json").write_text('{"room": "rise", "status": "done", "started": "yesterday"}')
    (tmp_path / "rise" / "binary").mkdir()
    (tmp_path / "rise" / "binary" / "run.json").write_bytes(b"\xff\xfe\x00")
    runs = {run.path.name: run for run in list_runs(tmp_path)}
    assert set(runs) == {"empty", "bad", "odd", "binary", good.name}
    broken = {name for name, run in runs.items() if run.status == "broken"}
    assert broken == {"empty", "bad", "binary"}
    assert all("\n" not in runs[name].problem and runs[name].problem for name in broken)
    assert find(tmp_path, "last").path in {good, odd}
    with pytest.raises(BadInput, match="broken"):
        find(tmp_path, "rise/bad")


def test_a_killed_run_is_interrupted_and_a_live_one_running(tmp_path):
    run = Run.create("rise", "x", {}, root=tmp_path)
    assert find(tmp_path, "last").status == "running"
    run.close()  # as a kill leaves it: the status was never settled
    assert find(tmp_path, "last").status == "interrupted"


def test_find(tmp_path):
    first, second = make(tmp_path, "alpha"), make(tmp_path, "beta")
    assert find(tmp_path, "last").path == second
    assert find(tmp_path, first.name).path == first
    assert find(tmp_path, f"rise/{first.name}").path == first
    assert find(tmp_path, first).path == first
    assert find("elsewhere", os.fspath(first)).path == first
    if first.name[:15] == second.name[:15]:
        assert find(tmp_path, first.name[:-2]).path == first
    with pytest.raises(BadInput, match=r"2 runs match '2"):
        find(tmp_path, first.name[:1])
    for absent in ("nothing", ""):
        with pytest.raises(BadInput, match="no run"):
            find(tmp_path, absent)


def test_a_whole_name_goes_before_a_beginning(tmp_path, monkeypatch):
    first = make(tmp_path, "same")
    (tmp_path / "rise" / f"{first.name}-2").mkdir()
    (tmp_path / "rise" / f"{first.name}-2" / "run.json").write_text(
        (first / "run.json").read_text()
    )
    assert find(tmp_path, first.name).path == first


def test_compare_summaries_and_configs(tmp_path):
    accuracy = Estimate(value=0.5, low=0.4, high=0.6, n=100)
    better = Estimate(value=0.75, low=0.65, high=0.85, n=100)
    first = make(tmp_path, "a", None, {"k": 1, "same": 2}, accuracy=accuracy, cases=10, flag=True)
    second = make(tmp_path, "b", None, {"k": 3, "same": 2, "new": None}, seed=5, accuracy=better)
    table = compare([find(tmp_path, first), find(tmp_path, second)])
    assert [row.name for row in table.numbers] == ["accuracy", "cases"]
    row = table.numbers[0]
    assert row.values == (0.5, 0.75)
    assert row.intervals == ((0.4, 0.6), (0.65, 0.85))
    assert row.differences == (None, 0.25)
    assert table.numbers[1].values == (10, None)
    assert table.numbers[1].differences == (None, None)
    settings = {row.name: row.values for row in table.config}
    assert settings == {"k": (1, 3), "new": (None, None), "seed (of the run)": (0, 5)}
    assert next(row for row in table.config if row.name == "new").absent == (0,)
    assert table.paired == ()
    json.loads(table.model_dump_json())


def test_a_paired_comparison_uses_common_items_only(tmp_path):
    ours = {f"c{index}": float(index % 2) for index in range(40)} | {"gone": 1.0, "null": 1.0}
    theirs = {f"c{index}": float(index % 4 != 0) for index in reversed(range(40))}
    theirs |= {"extra": 0.0, "null": None}
    first, second = make(tmp_path, "a", ours), make(tmp_path, "b", theirs)
    (row,) = compare([find(tmp_path, first), find(tmp_path, second)]).paired
    items = [f"c{index}" for index in range(40)]
    a, b = [ours[item] for item in items], [theirs[item] for item in items]
    assert (row.n, row.left_out) == (40, 3)
    assert (row.mean_a, row.mean_b) == (0.5, 0.75)
    assert row.difference == paired_bootstrap(b, a)
    assert row.difference.value == 0.25
    assert row.difference.low > 0
    assert row.mcnemar == mcnemar([x == 1 for x in a], [x == 1 for x in b])
    assert (row.mcnemar.only_a, row.mcnemar.only_b) == (0, 10)


def test_scores_between_get_no_mcnemar(tmp_path):
    first, second = make(tmp_path, "a", {"x": 0.5, "y": 1}), make(tmp_path, "b", {"x": 0, "y": 1})
    (row,) = compare([find(tmp_path, first), find(tmp_path, second)]).paired
    assert row.mcnemar is None
    assert row.difference.value == -0.25


def test_three_runs_have_one_baseline(tmp_path):
    paths = [make(tmp_path, name, {"x": 1, "y": 0}, n=index) for index, name in enumerate("abc")]
    table = compare([find(tmp_path, path) for path in paths])
    assert table.numbers[0].differences == (None, 1, 2)
    assert [(row.a, row.b) for row in table.paired] == [
        (table.names[0], table.names[1]),
        (table.names[0], table.names[2]),
    ]


def test_nothing_in_common(tmp_path):
    first, second = make(tmp_path, "a", {"x": 1}), make(tmp_path, "b", {"y": 1})
    assert compare([find(tmp_path, first), find(tmp_path, second)]).paired == ()


def test_compared_runs_show_the_settings_that_differ_and_no_others(tmp_path, capsys):
    make(tmp_path, "one", config={"steps": 1, "vllm": None, "same": 3})
    make(tmp_path, "two", config={"steps": 2, "same": 3, "samples": None, "k": 4})
    compare_runs(tmp_path, [run.name for run in list_runs(tmp_path)[::-1]], Screen())
    shown = capsys.readouterr().out.partition("settings that differ")[2].partition("no item")[0]
    rows = [line.split() for line in shown.splitlines()[1:] if line.strip()]
    assert rows[2:] == [["steps", "1", "2"], ["k", "4"]]


def test_compare_refuses_one_run(tmp_path):
    path = make(tmp_path, "a")
    with pytest.raises(BadInput, match="at least two"):
        compare([find(tmp_path, path)])


def test_a_line_being_written_is_left_out(tmp_path):
    path = make(tmp_path, "a", {"x": 1})
    with (path / "records.jsonl").open("a") as file:
        file.write('{"kind": "judg')
    assert len(list(find(tmp_path, path).rows())) == 1
