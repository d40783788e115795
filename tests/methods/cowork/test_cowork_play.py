"""`planish cowork play` as it is typed: what it tells, what it leaves, what it refuses."""

import io
import json
import re
import subprocess
import sys
from statistics import fmean

import numpy as np
import pytest

from planish.cli import main
from planish.methods.cowork import play as stage
from planish.methods.cowork.acting import episodes as episodes_module
from planish.methods.cowork.acting.episodes import Job, play
from planish.methods.cowork.data import Cell, Episode, TickTrace
from planish.methods.cowork.showing.played import Results, Times
from planish.methods.cowork.skills import load_library, save_library
from planish.records import read_jsonl
from planish.runs import Run
from planish.runs.rows import read_rows

FULL = load_library("full")
HALL = "XXPXX\nO1 2O\nX   X\nXDXSX\n"
BRIEF = ("--seeds", 2, "--horizon", 60)
CALM = ("--deadline-ms", 60_000)  # no decision is missed, however busy the machine


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(["cowork", "play", *(str(argument) for argument in arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def told(capsys, *arguments):
    code, out, err = call(capsys, *arguments, *CALM, "--json")
    assert code == 0, err
    return json.loads(out)


def refused(capsys, *arguments):
    code, out, err = call(capsys, *arguments)
    assert code == 2, err
    assert "Traceback" not in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    return err


@pytest.fixture
def runs(tmp_path):
    return ("--runs", tmp_path / "runs")


@pytest.fixture
def plain(monkeypatch):
    """Without pages, which take half a second."""
    monkeypatch.setattr(stage, "write_report", lambda *_: None)
    monkeypatch.setattr(stage, "REPLAYS", 0)


def scores(run):
    return {row.id: row.data["score"] for row in read_rows(run, "score")}


def test_the_numbers_are_those_of_the_episodes(capsys, runs):
    found = told(capsys, "--layout", "coordination_ring", "--seeds", 3, *runs)
    expected = [play(Job(Cell(layout="coordination_ring"), FULL, seed)) for seed in range(3)]
    mean = fmean(each.episode.score for each in expected)
    assert found["score_mean"] == found["score"] == pytest.approx(mean)
    assert mean > 0
    assert found["decisions"] == found["timed_decisions"] == 3 * 800
    assert found["deadline_misses"] == found["online_tokens"] == found["failed"] == 0
    assert found["coverage"] == 1
    assert found["old_dynamics"] is False
    fallbacks = sum(each.episode.fallbacks for each in expected)
    assert found["fallback_rate"] == pytest.approx(fallbacks / 2400)
    assert found["library_hash"] == FULL.digest
    records = [row.read(Episode) for row in read_rows(found["run"], "episode")]
    assert [each.score for each in records] == [each.episode.score for each in expected]


def test_latencies_are_percentiles_of_what_was_measured(capsys, runs, plain):
    found = told(capsys, "--layout", "cramped_room", "--seeds", 2, "--partner", "idle", *runs)
    lines = [line for _, line in read_jsonl(f"{found['run']}/artifacts/latencies.jsonl")]
    raw = [took for line in lines for took in line["ns"]]
    assert len(raw) == 800
    for name, quantile in (("p50", 50), ("p95", 95), ("p99", 99), ("max", 100)):
        assert found[f"latency_{name}_ms"] == pytest.approx(np.percentile(raw, quantile) / 1e6)
    assert found["interruptions"] == sum(line["interrupted"] for line in lines)


def test_what_a_run_leaves_to_see(capsys, runs):
    code, out, _ = call(capsys, "--layout", "cramped_room", "--seeds", 2, *CALM, *runs)
    assert code == 0
    assert "new dynamics" in out
    folder = next((runs[1] / "cowork").iterdir())
    assert str(folder) in out
    assert load_library(folder / "artifacts" / "library.json") == FULL
    (trace,) = (folder / "artifacts" / "traces").iterdir()
    assert [TickTrace.model_validate(line).t for _, line in read_jsonl(trace)][-1] == 399
    (replay,) = (folder / "artifacts" / "replays").iterdir()
    assert "<canvas" in replay.read_text()
    report = (folder / "report.html").read_text()
    assert replay.name in report
    assert "new dynamics" in report
    # What is said to come next can be typed.
    assert "--partner greedy --seat both" in out
    assert "planish cowork evolve --library full --layouts cramped_room" in out


def test_both_seats_are_told_apart(capsys, runs, plain):
    words = ("--layout", "cramped_room", "coordination_ring", "--partner", "random")
    found = told(capsys, *words, "--seat", "both", "--seeds", 2, *runs)
    assert set(found["seats"]) == {"0", "1"}
    assert set(found["layouts"]) == {"cramped_room", "coordination_ring"}
    assert [(cell["layout"], cell["seat"]) for cell in found["cells"]] == [
        (layout, seat) for layout in words[1:3] for seat in (0, 1)
    ]
    by_cell = {}
    for name, score in scores(found["run"]).items():
        layout, _, seat, _ = name.split("/")
        by_cell.setdefault((layout, int(seat)), []).append(score)
    for cell in found["cells"]:
        assert cell["score"] == fmean(by_cell[cell["layout"], cell["seat"]])
    for seat in (0, 1):
        mine = [fmean(by_cell[layout, seat]) for layout in found["layouts"]]
        assert found["seats"][str(seat)]["score"] == pytest.approx(fmean(mine))
    alone = told(capsys, *words[:2], *words[3:], "--seat", 1, "--seeds", 2, *runs)
    assert alone["score"] == fmean(by_cell["cramped_room", 1])


def test_old_dynamics_and_starts_of_the_layout(capsys, runs, plain):
    words = ("--layout", "cramped_room", "--seeds", 3, "--horizon", 120, *runs)
    old = told(capsys, *words, "--old-dynamics", "--start", "layout")
    assert old["old_dynamics"] is True
    job = Job(Cell(layout="cramped_room"), FULL, 0, old_dynamics=True, horizon=120, start="layout")
    assert old["score"] == play(job).episode.score
    assert old["score_ci"] is None  # every seed is the same episode
    code, out, _ = call(capsys, *words, "--start", "layout", "--old-dynamics", *CALM)
    assert code == 0
    assert "old dynamics" in out
    assert "no interval" in out


@pytest.mark.parametrize("name", ["b" * 240, "雪" * 80, "two\nlines \x1b[31m"])
def test_a_kitchen_of_any_name_leaves_files_that_can_be_named(capsys, runs, tmp_path, name):
    path = tmp_path / f"{name}.layout"
    path.write_text(HALL)
    code, _, _ = call(capsys, "--layout", path, "--seeds", 1, "--horizon", 20, *CALM, *runs)
    assert code == 0
    for kind in ("traces", "replays"):
        (left,) = next((runs[1] / "cowork").iterdir()).glob(f"artifacts/{kind}/*")
        assert left.name.isprintable()


def test_a_layout_file_and_a_library_of_a_file_or_a_run(capsys, runs, plain, tmp_path):
    path = tmp_path / "mine.layout"
    path.write_text(HALL)
    save_library(FULL, tmp_path / "own.json")
    words = ("--layout", path, "--seeds", 2, *runs)
    first = told(capsys, *words, "--library", tmp_path / "own.json")
    (tmp_path / "own.json").unlink()
    again = told(capsys, *words, "--library", first["run"])
    assert first["score"] == again["score"] > 0
    assert first["library_hash"] == again["library_hash"] == FULL.digest


def test_the_last_library_is_one_that_was_made_not_one_that_was_played(capsys, runs, plain):
    words = ("--layout", "cramped_room", *BRIEF, *runs)
    told(capsys, *words)
    assert "no library is called 'last'" in refused(capsys, *words, "--library", "last")
    with Run.create("cowork", "evolve", {}, root=runs[1], stage="evolve") as made:
        save_library(load_library("impaired"), made.artifact("library.json"))
    told(capsys, *words)
    last = told(capsys, *words, "--library", "last")
    assert last["library_hash"] == load_library("impaired").digest
    # What is written down does not call it "last", which is soon another one.
    assert last["run"].endswith(f"play-library-{last['library_hash'][:8]}")


def test_more_workers_give_the_same_scores_and_time_the_first_seed_alone(capsys, runs, plain):
    words = ("--layout", "cramped_room", "--partner", "random", "--seeds", 4, *runs)
    one = told(capsys, *words)
    two = told(capsys, *words, "--workers", 2)
    assert scores(one["run"]) == scores(two["run"])
    assert (one["timed_decisions"], two["timed_decisions"]) == (1600, 400)
    assert two["decisions"] == 1600


def test_a_stopped_run_goes_on_and_plays_nothing_twice(capsys, runs, plain, monkeypatch):
    words = ("--layout", "coordination_ring", "--partner", "random", "--seeds", 4)
    whole = told(capsys, *words, *runs)
    real, count = stage.play_many, []

    def stopped(jobs, **options):
        count.append(jobs)
        if len(count) == 4:  # one to warm up, two that are played
            raise KeyboardInterrupt
        return real(jobs, **options)

    monkeypatch.setattr(stage, "play_many", stopped)
    code, _, err = call(capsys, *words, *CALM, *runs)
    assert code == 130
    assert "go on with: planish cowork play --resume" in err
    monkeypatch.setattr(stage, "play_many", real)
    folder = sorted((runs[1] / "cowork").iterdir())[-1]
    assert len(scores(folder)) == 2
    code, out, err = call(capsys, "--resume", folder, "--json", *runs)
    assert code == 0
    assert "2 of 4 episodes were played before" in err
    found = json.loads(out)
    assert found["score"] == whole["score"]
    assert found["timed_decisions"] == 1600
    assert scores(folder) == scores(whole["run"])
    assert "seeds = 4, this is 5" in refused(capsys, "--resume", folder, "--seeds", 5, *runs)


def test_a_library_that_is_named_again_must_be_what_it_was(capsys, runs, tmp_path):
    path = tmp_path / "mine.json"
    save_library(load_library("full"), path)
    run = told(capsys, "--layout", "cramped_room", "--library", path, *BRIEF, *runs)["run"]
    save_library(load_library("impaired"), path)
    said = refused(capsys, "--resume", run, "--library", path, *runs)
    assert f"{path}: has changed since the run began" in said
    assert told(capsys, "--resume", run, *runs)["run"] == run, "unnamed, its own copy does"
    said = refused(capsys, "--resume", run, "--library", "impaired", *runs)
    assert 'this is "impaired"' in said
    path.write_text("{")
    assert f"{path}:1:2" in refused(capsys, "--resume", run, "--library", path, *runs)
    path.unlink()
    assert told(capsys, "--resume", run, "--library", path, *runs)["run"] == run


def test_one_file_by_two_paths_is_named_twice(capsys, runs, tmp_path, monkeypatch):
    (tmp_path / "mine.layout").write_text(HALL)
    monkeypatch.chdir(tmp_path)
    said = refused(capsys, "--layout", "mine.layout", "./mine.layout", *BRIEF, *runs)
    assert "named twice" in said


def test_a_layout_that_has_changed_since_is_refused(capsys, runs, plain, tmp_path):
    path = tmp_path / "mine.layout"
    path.write_text(HALL)
    run = told(capsys, "--layout", path, *BRIEF, *runs)["run"]
    path.write_text(HALL + "\n")
    said = refused(capsys, "--resume", run, *runs)
    assert f"{path}: has changed since the run began" in said


def test_a_deadline_that_nobody_keeps_still_yields_actions(capsys, runs, plain):
    words = ("--layout", "cramped_room", *BRIEF, "--deadline-ms", 0.000001, "--json", *runs)
    code, out, _ = call(capsys, *words)
    found = json.loads(out)
    assert (code, found["failed"], found["coverage"]) == (0, 0, 1)
    assert found["deadline_misses"] == found["decisions"] == 2 * 2 * 60
    assert found["fallback_rate"] > 0.9
    assert found["score_mean"] == 0


def test_two_runs_are_paired_seed_by_seed(capsys, runs, plain):
    words = ("--layout", "cramped_room", "--partner", "random", "--seeds", 3, *runs)
    first = told(capsys, *words, "--library", "impaired")
    second = told(capsys, *words)
    with pytest.raises(SystemExit):
        main(["runs", "compare", first["run"], second["run"], "--json"])
    (pair,) = json.loads(capsys.readouterr().out)["paired"]
    assert (pair["name"], pair["n"], pair["left_out"]) == ("score", 3, 0)
    difference = second["score_mean"] - first["score_mean"]
    assert pair["difference"]["value"] == pytest.approx(difference)


@pytest.mark.parametrize("name", ["kitchen", "counter_circuit_with_two_more_pots"])
def test_scores_stay_in_sight_however_long_the_path_of_a_kitchen(
    capsys, runs, plain, monkeypatch, tmp_path, name
):
    monkeypatch.setenv("COLUMNS", "100")
    deep = tmp_path / ("d" * 60) / "kitchens"
    for folder in ("one", "two"):
        (deep / folder).mkdir(parents=True)
        (deep / folder / f"{name}.layout").write_text(HALL)
    paths = [deep / folder / f"{name}.layout" for folder in ("one", "two")]
    code, out, _ = call(capsys, "--layout", *paths, "--seeds", 2, *runs)
    assert code == 0
    lines = [line for line in out.splitlines() if f"{name}.layout  "[-24:] in line]
    assert len(lines) == 2
    for line in lines:
        assert len(line) <= 100
        assert re.search(r"both +new +[0-9.]+ ", line)
    assert [line.strip().startswith(("one/", "two/", "…")) for line in lines] == [True, True]


def test_it_fits_a_terminal_of_100_columns(capsys, runs, plain, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    layouts = ("counter_circuit_o_1order", "asymmetric_advantages")
    words = ("--layout", *layouts, "--partner", "serving_specialist", "--seat", "both")
    call(capsys, *words, *BRIEF, "--old-dynamics", *runs)
    lines = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue()).splitlines()
    end = next(index for index, line in enumerate(lines) if line.startswith("run "))
    assert max(map(len, lines[:end])) <= 100
    for layout in layouts:  # no name is folded, and every number stands beside its own
        rows = [line.split() for line in lines if line.split()[:1] == [layout]]
        assert [row[1:3] for row in rows] == [["0", "old"], ["1", "old"]]
        assert all(len(row) >= 6 for row in rows)


def test_the_program_itself_plays(tmp_path):
    words = ["cowork", "play", "--layout", "cramped_room", *map(str, BRIEF), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "planish.cli", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (tmp_path / found["report"]).is_file()
    assert all((tmp_path / page).is_file() for page in found["replays"])


def test_only_a_run_of_this_stage_goes_on(capsys, runs):
    with Run.create("cowork", "x", {}, root=runs[1], stage="evolve") as other:
        pass
    assert "is a run of cowork evolve" in refused(capsys, "--resume", other.path, *runs)


def falling(monkeypatch, seeds):
    """Agents that fall over in the episodes of these seeds."""
    real = episodes_module._play

    def fall(job, layout, trace):
        if job.seed in seeds:
            raise RuntimeError("slipped")
        return real(job, layout, trace)

    monkeypatch.setattr(episodes_module, "_play", fall)


def test_failed_episodes_are_counted_and_never_zero(capsys, runs, plain, monkeypatch):
    falling(monkeypatch, {1})
    words = ("--layout", "cramped_room", "--seeds", 4, *CALM, *runs)
    code, out, err = call(capsys, *words, "--json")
    assert code == 0
    assert "1 of 4 episodes failed: RuntimeError: slipped" in err
    found = json.loads(out)
    assert (found["failed"], found["coverage"]) == (1, 0.75)
    scored = [score for score in scores(found["run"]).values() if score is not None]
    assert len(scored) == 3
    assert found["score"] == fmean(scored) > 0


def test_a_run_without_a_score_has_failed(capsys, runs, plain, monkeypatch):
    falling(monkeypatch, range(9))
    code, out, err = call(capsys, "--layout", "cramped_room", "--seeds", 2, "--json", *runs)
    assert code == 1
    assert "slipped" in err
    found = json.loads(out)
    assert found["score_mean"] is None
    assert found["failed"] == 2
    status = json.loads((runs[1] / found["run"] / "run.json").read_text())["status"]
    assert status == "failed"


def test_a_seed_that_failed_somewhere_is_left_out_of_the_mean_over_kitchens():
    cells = [Cell(layout=name) for name in ("a", "b")]
    rows = [("a", 0, 10.0), ("b", 0, 30.0), ("a", 1, 50.0), ("b", 1, None)]
    played = [
        Episode(id=f"{layout}{seed}", library_hash="", cell=Cell(layout=layout), seed=seed)
        .model_copy(update={"score": score})
        for layout, seed, score in rows
    ]  # fmt: skip
    results = Results(cells, played, Times())
    assert results.score.value == 20
    assert results.of(layout="a").value == 30
    assert results.numbers()["coverage"] == 0.75
    assert results.numbers()["latency_p99_ms"] is None


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ((), "--layout: is missing"),
        (("--layout", "cramped_roon"), "did you mean cramped_room"),
        (("--layout", "cramped_room", "cramped_room"), "named twice"),
        (("--layout", "cramped_room", "--partner", "greedi"), "did you mean greedy"),
        (("--layout", "cramped_room", "--seat", "2"), "--seat"),
        (("--layout", "cramped_room", "--seeds", "0"), "--seeds"),
        (("--layout", "cramped_room", "--horizon", "0"), "--horizon"),
        (("--layout", "cramped_room", "--horizon", "999999"), "--horizon"),
        *(
            (("--layout", "cramped_room", "--deadline-ms", given), "--deadline-ms")
            for given in ("0", "-1", "nan", "inf")
        ),
        (("--layout", "cramped_room", "--workers", "0"), "--workers"),
        (("--layout", "cramped_room", "--workers", "100000"), "--workers"),
        (("--layout", "cramped_room", "--library", "nobody"), "no library is called 'nobody'"),
        (("--layout", "cramped_room", "--library", "nobody.json"), "no such library"),
        (("--resume", "last"), "no run"),
    ],
)
def test_bad_options_are_one_line(capsys, runs, words, what):
    assert what in refused(capsys, *words, *runs)
    assert not list(runs[1].glob("cowork/*"))


def test_bad_files_are_told_by_place(capsys, runs, tmp_path):
    layout, library = tmp_path / "bad.layout", tmp_path / "bad.json"
    layout.write_text("XXPXX\nO1 2Q\nXDXSX\n")
    assert f"{layout}:2:5" in refused(capsys, "--layout", layout, *runs)
    save_library(FULL, library)
    library.write_text(library.read_text()[:900])
    words = ("--layout", "cramped_room", "--library")
    assert f"{library}:" in refused(capsys, *words, library, *runs)
    with Run.create("cowork", "empty", {}, root=runs[1], stage="evolve") as empty:
        pass
    assert "left no library" in refused(capsys, *words, empty.path, *runs)
