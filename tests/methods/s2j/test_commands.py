"""Every command of the room as a person types it: its help at 100 columns, a first small run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from planish.methods.s2j import METHOD

PROGRAM = Path(sys.executable).with_name("planish")


def planish(*words, columns=100, **options):
    environment = {**os.environ, "COLUMNS": str(columns), "OMP_NUM_THREADS": "1"}
    command = [PROGRAM, *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, **options)


def test_the_room_lists_its_stages():
    done = planish("s2j", "--help")
    assert done.returncode == 0, done.stderr
    assert METHOD.paper in done.stdout
    for stage in METHOD.stages:
        assert f"│ {stage} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("stage", METHOD.stages)
def test_the_help_of_a_stage_fits_and_tells_every_option(stage):
    done = planish("s2j", stage, "--help")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    assert f"Usage: planish s2j {stage}" in lines[0]
    for option in ("--model", "--task", "--pairs", "--preset", "--resume", "--runs", "--json"):
        assert f"│ {option} " in done.stdout
    # An option without a text would be a name and a type, and nothing after them.
    bare = [line for line in lines if line.startswith("│ --") and len(line.strip("│ ").split()) < 3]
    assert not bare


@pytest.mark.parametrize("stage", METHOD.stages)
def test_nothing_given_is_told_in_one_line(stage, tmp_path):
    done = planish("s2j", stage, cwd=tmp_path)
    assert done.returncode == 2
    assert "--model: is missing" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


SMALL = {
    "gap": (
        *("--limit", "40", "--solves", "2", "--judgments", "1", "--both-wrong", "10"),
        *("--interventions", "10"),
    ),
    "baselines": ("--limit", "20", "--judgments", "1"),
    "train": ("--arm", "additive", "--steps", "2", "--items-per-step", "4", "--out", "judge"),
}


@pytest.mark.parametrize("stage", METHOD.stages)
def test_a_stage_runs_on_the_model_in_the_package(stage, tmp_path):
    given = ("--model", "embedded:reasoner", "--task", "chain:3", *SMALL[stage])
    done = planish("s2j", stage, *given, "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    run = tmp_path / summary["run"]
    assert json.loads((run / "run.json").read_text())["status"] == "done"
    assert (run / "report.html").stat().st_size > 5000
    shown = planish("runs", "show", run, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert stage in shown.stdout
