"""`planish cowork evolve` as it is typed: what it leaves, what it refuses, how it goes on."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App, CycloptsError

from planish.cli import _usage, main
from planish.errors import BadInput
from planish.methods.cowork import evolve as stage
from planish.methods.cowork.config import Config
from planish.methods.cowork.data import GateResult, Promotion
from planish.methods.cowork.improving.asking import Exchange
from planish.methods.cowork.improving.evolving import Tools
from planish.methods.cowork.improving.patches import apply
from planish.methods.cowork.improving.rounds import Round
from planish.methods.cowork.kitchen.layouts import load_layout
from planish.methods.cowork.showing.evolved import write_report
from planish.methods.cowork.skills import Library, load_library, save_library
from planish.runs import Run, find
from planish.runs.info import read_info
from planish.runs.lines import DiskFull, LineFile
from support.cowork import LEVEL, Drawn, Walker, diagnosed, peak, raised, watched
from support.skills import small

RINGS = ["--layouts", "coordination_ring", "cramped_room"]
QUICK = ["--rungs", "2", "6", "--monitor-episodes", "8", "--report-episodes", "4"]
QUICK += ["--partners", "self", "greedy", "--gamma", "0"]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for runs and a library in it; episodes are drawn, patches are a walker's."""
    play = Drawn(peak(), spread=10)
    put_in(monkeypatch, play)
    save_library(small(), tmp_path / "small.json")
    save_library(by_hand(), tmp_path / "by_hand.json")
    monkeypatch.setattr(stage, "REFERENCE", str(tmp_path / "by_hand.json"))
    monkeypatch.setattr(stage, "write_report", lambda *_: None)  # half a second, for one test
    return tmp_path


def by_hand() -> Library:
    """A library at the peak."""
    return apply(raised(small(), 90), small(), anchor=small())


def put_in(monkeypatch: pytest.MonkeyPatch, play: Drawn) -> None:
    monkeypatch.setattr(stage, "tools", lambda: Tools(diagnosed, play=play, watch=watched(play)))
    monkeypatch.setattr(stage, "embedded", lambda plan: Walker(3))


def typed(*words: str) -> int:
    app = App(suppress_keyboard_interrupt=False)
    app.command(stage.evolve)
    return int(
        app(
            ["evolve", *words],
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    )


def started(runs: Path, *words: str, root: str = "runs") -> int:
    library = ["--library", str(runs / "small.json")]
    return typed(*RINGS, *QUICK, *library, "--runs", str(runs / root), *words)


def test_a_run_leaves_everything_and_says_what_came_of_it(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "write_report", write_report)
    out = runs / "better.json"
    assert started(runs, "--episodes", "5", "--out", str(out), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["score"] > said["score_before"] + 10
    assert said["gain_ci"][0] > 0
    assert set(said["layouts"]) == {"coordination_ring", "cramped_room"}
    assert said["judged"] == sum(said["reasons"].values()) == 15
    assert said["online_tokens"] == 0
    assert abs(said["score_by_hand"] - LEVEL) < 5
    assert said["promoted"] > 0
    stored = find(runs / "runs", "last")
    info = stored.info
    assert info is not None
    assert (info.status, info.stage, info.seed) == ("done", "evolve", 0)
    assert info.summary["sim_steps"] == said["sim_steps"]
    left = load_library(stored.path / "artifacts" / "library.json")
    assert left.digest == said["library_hash"] == load_library(out).digest
    assert len(list(stored.rows("gate"))) == 15
    assert len(list(stored.rows("promotion"))) == said["promoted"] + said["reverted"]
    for name in ("active.json", "promotions.jsonl", f"snapshots/{left.digest}.json"):
        assert (stored.path / "artifacts" / "shelf" / name).exists()
    page = (stored.path / "report.html").read_text()
    assert "What became of a skill library" in page
    assert left.digest in page


def test_an_evolved_library_is_called_what_it_has_become(runs: Path) -> None:
    save_library(small(description="It has gaps."), runs / "small.json")
    out = runs / "better.json"
    assert started(runs, "--episodes", "3", "--out", str(out)) == 0
    run = find(runs / "runs", "last").path
    left = load_library(run / "artifacts" / "library.json")
    assert left.digest != small().digest
    assert left == load_library(out)
    assert left.name == f"{small().name}_evolved"
    assert left.description == (
        f"Evolved from {small().name} {small().digest[:8]} in coordination_ring, cramped_room."
    )
    words = [*RINGS, *QUICK, "--library", str(run), "--runs", str(runs / "runs")]
    assert typed(*words, "--episodes", "1") == 0
    again = load_library(find(runs / "runs", "last").path / "artifacts" / "library.json")
    assert again.name == left.name


def test_the_closing_table_and_the_next_commands_can_be_read(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert started(runs, "--episodes", "2") == 0
    shown = capsys.readouterr()
    run = find(runs / "runs", "last").path
    assert "coordination_ring" in shown.out
    assert "Report seeds, 4 a cell" in shown.out
    assert "0 online" in shown.out
    assert f"planish cowork play --library {run}" in shown.out
    assert f"planish cowork diff {run}/artifacts/shelf/snapshots/{small().digest}.json" in shown.out
    assert "round 1: trained" in shown.err
    assert "round 2: trained" in shown.err


class Breaking(Drawn):
    """Somebody presses Ctrl-C after so many episodes."""

    at = 0

    def _episode(self, job: Any) -> Any:
        if len(self.jobs) == self.at:
            raise KeyboardInterrupt
        return super()._episode(job)


def decided(path: Path) -> tuple[Any, ...]:
    run = find(path.parent, path)
    results = [row.read(GateResult) for row in run.rows("gate")]
    moves = [row.read(Promotion).model_copy(update={"time": ""}) for row in run.rows("promotion")]
    assert run.info is not None
    metrics = (path / "metrics.jsonl").read_text()
    return results, moves, metrics, {**run.info.summary, "library": ""}


def test_ctrl_c_and_resume_end_where_an_unbroken_run_ends(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert started(runs, "--episodes", "4") == 0
    whole = find(runs / "runs", "last").path
    play = Breaking(peak(), spread=10)
    play.at = 1_000
    put_in(monkeypatch, play)
    with pytest.raises(KeyboardInterrupt):
        started(runs, "--episodes", "4", root="other")
    broken = find(runs / "other", "last").path
    assert read_info(broken).status == "interrupted"
    assert f"go on with: planish cowork evolve --resume {broken}" in capsys.readouterr().err
    (runs / "small.json").unlink()  # the run has its own copy
    again = Drawn(peak(), spread=10)
    put_in(monkeypatch, again)
    assert typed("--resume", str(broken), "--workers", "1") == 0
    assert decided(broken) == decided(whole)
    assert find(runs / "other", "last").info is not None
    assert 0 < again.steps < play.steps, "what was finished is not played again"
    idle = Drawn(peak(), spread=10)
    put_in(monkeypatch, idle)
    assert typed("--resume", str(broken)) == 0, "a finished run has nothing left to play"
    assert decided(broken) == decided(whole)
    assert idle.steps == 4 * 6 * 400, "but the library written by hand"


@pytest.mark.parametrize("at", [1, 14])
def test_a_full_disk_ends_a_run_that_can_go_on_later(
    runs: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    assert started(runs, "--episodes", "4") == 0
    whole = find(runs / "runs", "last").path
    real, calls = LineFile.append, [0]

    def append(self: LineFile, line: str) -> None:
        calls[0] += 1
        if calls[0] >= at:
            raise DiskFull(self.path)
        real(self, line)

    with monkeypatch.context() as patched:
        patched.setattr(LineFile, "append", append)
        with pytest.raises(DiskFull, match="No space left"):
            started(runs, "--episodes", "4", root="other")
    broken = find(runs / "other", "last").path
    assert typed("--resume", str(broken)) == 0
    assert decided(broken) == decided(whole)


def give_way(library: Library) -> float:
    """Points for the priority that the scripted author raises."""
    method = library.method("give_way")
    assert method is not None
    return 4.0 * (method.priority - 90)


def test_a_model_proposes_and_a_run_that_goes_on_does_not_ask_it_again(
    runs: Path, monkeypatch: pytest.MonkeyPatch, chat_server: Callable[..., Any]
) -> None:
    server = chat_server(replies="patcher:reply")
    model = ["--proposer", f"openai:good@{server.url}", "--episodes", "4"]
    play = Drawn(give_way)
    put_in(monkeypatch, play)
    assert started(runs, *model) == 0
    whole = find(runs / "runs", "last")
    assert whole.info is not None
    summary = whole.info.summary
    assert summary["promoted"] == 1
    assert float(summary["score"]) > float(summary["score_before"]) + 15  # type: ignore[arg-type]
    exchanges = [row.read(Exchange) for row in whole.rows("exchange")]
    assert summary["tokens"] == sum(each.charged for each in exchanges)
    used = [
        each["usage"]["prompt_tokens"] + each["usage"]["completion_tokens"]
        for each in (exchange.model_dump() for exchange in exchanges)
    ]
    assert summary["tokens"] == sum(used) > 0
    proposers = [row.read(GateResult).patch.proposer for row in whole.rows("gate")]
    assert "good" in proposers[0]
    assert proposers[-1] == "", "the walker is asked once the author repeats itself"
    asked = server.count()

    broken = Breaking(give_way)
    broken.at = len(play.jobs) - 60
    put_in(monkeypatch, broken)
    with pytest.raises(KeyboardInterrupt):
        started(runs, *model, root="other")
    folder = find(runs / "other", "last").path
    before = server.count()
    assert before > asked
    put_in(monkeypatch, Drawn(give_way))
    server.kill()
    assert typed("--resume", str(folder)) == 0
    assert decided(folder) == decided(whole.path)
    assert server.count() == before


def test_a_run_survives_the_death_of_the_server(
    runs: Path, monkeypatch: pytest.MonkeyPatch, chat_server: Callable[..., Any]
) -> None:
    server = chat_server(replies="patcher:reply")
    server.kill()
    asked = f"openai:good@{server.url}?retries=0"
    assert started(runs, "--proposer", asked, "--episodes", "3") == 0
    run = find(runs / "runs", "last")
    assert run.info is not None
    assert run.info.summary["promoted"] != 0, "the walker was asked instead"
    assert run.info.summary["tokens"] == 0
    rounds = [row.read(Round) for row in run.rows("round")]
    assert all("no connection" in each.notes[0] for each in rounds)


@pytest.mark.slow
def test_a_killed_run_ends_where_an_unbroken_run_ends(runs: Path) -> None:
    """SIGKILL at eight moments of one run, each time resumed."""
    assert started(runs, "--episodes", "12") == 0
    whole = find(runs / "runs", "last").path
    program = (
        "import sys, time, pytest\n"
        "from pathlib import Path\n"
        "import test_cowork_evolve_stage as tests\n"
        "class Slow(tests.Drawn):\n"
        "    def _episode(self, job):\n"
        "        time.sleep(0.0005)\n"
        "        return super()._episode(job)\n"
        "with pytest.MonkeyPatch.context() as patch:\n"
        "    tests.put_in(patch, Slow(tests.peak(), spread=10))\n"
        "    patch.setattr(tests.stage, 'REFERENCE', sys.argv[1])\n"
        "    tests.typed(*sys.argv[2:])\n"
    )
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": f"{here.parents[1]}:{here}"}
    words = [*RINGS, *QUICK, "--episodes", "12", "--library", str(runs / "small.json")]
    words += ["--runs", str(runs / "other")]
    for moment in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(runs / "by_hand.json"), *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1.5 + 0.13 * moment)
        process.kill()
        process.wait()
        if (runs / "other").exists():
            words = ["--resume", str(find(runs / "other", "last").path)]
    broken = find(runs / "other", "last").path
    assert typed("--resume", str(broken)) == 0
    assert decided(broken) == decided(whole)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "--layouts: is missing"),
        (["--layouts", "nowhere"], "nowhere"),
        ([*RINGS, "cramped_room"], "a layout is named twice"),
        ([*RINGS, "--partners", "gredy"], "did you mean greedy"),
        ([*RINGS, "--library", "gone.json"], "gone.json"),
        ([*RINGS, "--proposer", "embeded"], "--proposer: no proposer 'embeded'"),
        ([*RINGS, "--proposer", "embedded:nothing"], "no model called 'nothing'"),
        ([*RINGS, "--gate-seeds", "2000000", "2000003"], "3 seeds are fewer than the 78"),
        ([*RINGS, "--out", "."], "exists already"),
        ([*RINGS, "--out", "a" * 5000], "--out: File name too long"),
        (["--resume", "nothing"], "nothing"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(runs: Path, words: list[str], line: str) -> None:
    library = [] if "--library" in words else ["--library", str(runs / "small.json")]
    with pytest.raises(BadInput, match=line) as told:
        typed(*QUICK, *library, "--episodes", "2", "--runs", str(runs / "runs"), *words)
    assert "\n" not in str(told.value)
    assert not (runs / "runs").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--episodes", "0"],
        ["--rungs", "8", "2"],
        ["--report-seeds", "1999999", "2000100"],
        ["--partners", "self", "self"],
        ["--confidence", "1.5"],
        ["--train-seeds", "5", "5"],
        ["--monitor-seeds", "10", "5"],
        ["--report-seeds", "-5", "5"],
        ["--report-episodes", "0"],
        ["--workers", "100000"],
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_made(
    runs: Path, words: list[str]
) -> None:
    with pytest.raises(CycloptsError) as told:
        typed(*RINGS, "--runs", str(runs / "runs"), *words)
    line = _usage(told.value)
    assert words[0] in line
    assert "Value error" not in line
    assert not (runs / "runs").exists()


def test_a_resume_must_bring_the_same_plan(runs: Path) -> None:
    assert started(runs, "--episodes", "1") == 0
    run = str(find(runs / "runs", "last").path)
    for words, what in (
        (["--episodes", "9"], "episodes = 1, this is 9"),
        (["--gamma", "3"], "gamma"),
        (["--proposer", "parameters"], "proposer"),
        (["--layouts", "cramped_room"], "layouts"),
    ):
        with pytest.raises(BadInput, match=what):
            typed("--resume", run, *words)
    with Run.create("cowork", "x", {}, root=runs / "runs", stage="play") as other:
        pass
    with pytest.raises(BadInput, match="is a run of cowork play"):
        typed("--resume", str(other.path))


def test_a_layout_that_has_changed_since_is_refused(runs: Path) -> None:
    plan = runs / "mine.layout"
    shipped = Path(stage.__file__).parent / "shipped" / "layouts" / "cramped_room.layout"
    plan.write_text(shipped.read_text())
    words = ["--layouts", str(plan), "--library", str(runs / "small.json"), "--episodes", "1"]
    assert typed(*words, *QUICK, "--runs", str(runs / "runs")) == 0
    run = find(runs / "runs", "last").path
    again = ["--resume", str(run), "--library", str(runs / "small.json")]
    kept = (runs / "small.json").read_text()
    (runs / "small.json").write_text(load_library("impaired").canonical())
    with pytest.raises(BadInput, match=r"small\.json: has changed since the run began"):
        typed(*again)
    (runs / "small.json").write_text(kept)
    assert typed(*again) == 0
    plan.write_text(plan.read_text() + "\n")
    with pytest.raises(BadInput, match=r"mine\.layout: has changed since the run began"):
        typed("--resume", str(run))


def test_a_resume_writes_over_no_other_file(runs: Path) -> None:
    out, other = runs / "out.json", runs / "other.json"
    assert started(runs, "--episodes", "1", "--out", str(out)) == 0
    run = str(find(runs / "runs", "last").path)
    other.write_text("mine")
    with pytest.raises(BadInput, match="exists already"):
        typed("--resume", run, "--out", str(other))
    assert other.read_text() == "mine"
    assert typed("--resume", run, "--out", str(out)) == 0


def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_played(
    runs: Path,
) -> None:
    (runs / "file").write_text("no folder")
    with pytest.raises(BadInput, match=r"--out .*cannot be written to"):
        started(runs, "--episodes", "1", "--out", str(runs / "file" / "out.json"))
    assert not (runs / "runs").exists()


def test_a_place_that_cannot_be_written_to_in_the_end_costs_no_result(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = runs / "later" / "out.json"

    def save(library: Library, path: Path) -> None:
        if path == out:
            raise PermissionError(13, "Permission denied")
        save_library(library, path)

    monkeypatch.setattr(stage, "save_library", save)
    assert started(runs, "--episodes", "1", "--out", str(out), "--json") == 1
    shown = capsys.readouterr()
    left = json.loads(shown.out)["library"]
    assert f"{out}: the library cannot be written (Permission denied); it is in {left}" in shown.err
    assert load_library(left).digest == json.loads(shown.out)["library_hash"]
    info = find(runs / "runs", "last").info
    assert info is not None
    assert info.status == "done"


@pytest.mark.parametrize("words", [["evolve", "--layouts"], ["play", "--layout"]])
def test_a_kitchen_that_cannot_be_played_so_is_refused_first(
    runs: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = runs / "two.layout"
    grid = "\n".join(load_layout("cramped_room").rows())
    plan.write_text(repr({"grid": grid, "start_all_orders": [{"ingredients": ["onion"] * 2}]}))
    with pytest.raises(SystemExit) as stop:
        main(["cowork", *words, str(plan), "--old-dynamics", "--runs", str(runs / "runs")])
    assert stop.value.code == 2
    assert "nobody orders one" in capsys.readouterr().err
    assert not (runs / "runs").exists()


@pytest.mark.parametrize("preset", [Config.tiny, Config.laptop, Config.paper])
def test_presets_are_whole(preset: Callable[[], Config]) -> None:
    dials = preset()
    assert dials == Config.model_validate(dials.model_dump())
    assert "self" in dials.partners


@pytest.mark.slow
def test_the_guide_shows_what_comes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (Path(__file__).parents[3] / "docs" / "cowork.md").read_text("utf-8")
    command = next(line for line in guide.splitlines() if "--episodes 8 --partners self" in line)
    assert typed(*command.split()[4:], "--runs", str(tmp_path)) == 0
    shown = capsys.readouterr()
    said = {" ".join(line.split()) for line in (shown.out + shown.err).splitlines()}
    sample = guide.partition(command)[2].split("```")[2]
    told = [" ".join(line.split()) for line in sample.splitlines()]
    assert [line for line in told if line not in said and line != "..." and "──" not in line] == []
    assert sum("round" in line for line in told) == 3
