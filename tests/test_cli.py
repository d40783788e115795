"""The command line as a person meets it: start-up, exit codes, one-line errors."""

import json
import os
import subprocess
import sys

import pytest

import planish
from planish.cli import main
from planish.methods import ROOMS, built


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "planish.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_help_is_light():
    """Nothing heavy is imported; the seconds are for benchmarks/bench_startup.py."""
    code = (
        "import sys\nfrom planish.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'matplotlib', 'numpy', 'scipy', 'openai', 'ray'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("[]"), result.stderr


def test_help_flows_across_the_lines_of_a_docstring(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    _, out, _ = call(capsys, "mistakes", "diagnose", "--help")
    assert "openai:NAME@URL, embedded:NAME, or replay:FILE." in out  # a line ends between them
    assert all(len(line) <= 100 for line in out.splitlines())
    assert "[default: 120]" in out
    _, out, _ = call(capsys, "cowork", "evolve", "--help")
    assert "()" not in out


@pytest.mark.parametrize("room", [room for room in ROOMS if built(room)])
def test_stages_are_listed_without_torch(room):
    code = (
        "import sys\nfrom planish.cli import main\n"
        f"try:\n    main(['{room}', '--help'])\nexcept SystemExit:\n    pass\n"
        "print('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip().endswith("False"), result.stderr


def test_the_table_shows_every_room(capsys):
    code, out, _ = call(capsys)
    assert code == 0
    assert all(room in out for room in ROOMS)
    assert "planish demo" in out


def test_a_room_without_runs_is_told_from_a_folder_without_any(capsys, tmp_path):
    code, out, _ = call(capsys, "runs", "list", "rise", "--runs", str(tmp_path))
    told = " ".join(out.split())  # a long path may fold the line
    assert (code, told) == (0, f"no runs of rise under {tmp_path}; planish demo rise makes some")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["polish"], "polish"),
        (["lookahead", "generate"], "--model"),
        (["demo", "polish"], "polish"),
        (["rise", "jugde"], "jugde"),
        (["rise", "judge"], "--model"),
        (["rise", "judge", "--model", "scripted:tie"], "--pairs"),
        (["rise", "judge", "--orders", "three"], "--orders"),
        (["rise", "judge", "--samples", "0"], "--samples"),
        (["rise", "judge", "--model", "scripted:tie", "--pairs", "no.jsonl"], "no.jsonl"),
        (["rise", "score", "no.jsonl", "--pairs", "no.jsonl"], "no.jsonl"),
        (["runs", "show", "nothing"], "nothing"),
        (["runs", "list", "polish"], "runs list: no room is called 'polish'"),
        (["demo", "rise", "--seed", "1.5"], "--seed: '1.5' is not a whole number. Try: "),
        (["demo", "rise", "--seed", str(1 << 64)], "--seed. Must be < 2147483648. Try: "),
        (["rise", "judge", "--samples", "1e3"], "--samples"),
        (["reheat", "diagnose", "--reach-samples", "1.5"], "--reach-samples: '1.5' is not"),
        (["runs", "compare", "one", "two"], "one"),
        (["rise", "judge", "--resume", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(capsys, tmp_path, monkeypatch, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert out == ""
    assert os.listdir(tmp_path) == []


def test_a_room_that_is_only_planned_has_its_row_and_one_line(capsys, monkeypatch):
    monkeypatch.setitem(ROOMS, "solder", "Do two models hold together?")
    code, out, _ = call(capsys, "--json")
    assert code == 0
    assert json.loads(out)["solder"] is False
    code, out, _ = call(capsys)
    assert "solder" in out
    assert "planned" in out
    for words in (["solder"], ["solder", "join"], ["demo", "solder"]):
        code, out, err = call(capsys, *words)
        assert (code, out) == (2, "")
        assert "the room solder is not built yet" in err
        assert "lookahead" in err, "what is built is told"
        assert err.count("\n") == 1


def test_version_and_module_run():
    result = run("--version")
    assert result.stdout.strip() == planish.__version__


def test_public_names_exist():
    for name in planish.__all__:
        assert getattr(planish, name) is not None
    with pytest.raises(AttributeError):
        planish.nothing  # noqa: B018


@pytest.mark.parametrize("option", ["--runs", "--runs-dir"])
def test_runs_without_any(capsys, tmp_path, option):
    code, out, _ = call(capsys, "runs", "list", option, str(tmp_path))
    assert code == 0
    assert "no runs" in out
    code, out, _ = call(capsys, "runs", "list", "--runs", str(tmp_path), "--json")
    assert json.loads(out) == {"runs": []}


def test_a_closed_pipe_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "planish.cli"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()
