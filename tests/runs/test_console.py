"""What a terminal is shown of texts that anybody may have written."""

import io
import json
import shlex

import pytest

from planish.cli import main
from planish.runs.console import Screen
from planish.runs.visible import visible

HOSTILE = "a\x1b[2J\x9b\udc80\u202eb"
SHOWN = "a⟨U+001B⟩[2J⟨U+009B⟩⟨U+DC80⟩⟨U+202E⟩b"


def test_whatever_is_shown_can_neither_act_nor_fail_to_be_written(capsys):
    screen = Screen()
    screen.say(HOSTILE)
    screen.heading(HOSTILE)
    screen.table((HOSTILE, "value"), [(HOSTILE, "1")], title=HOSTILE)
    screen.numbers({HOSTILE: 1}, title=HOSTILE)
    screen.close({}, run=HOSTILE, then=[HOSTILE])
    screen.note(HOSTILE)
    screen.warn(HOSTILE)
    out, err = capsys.readouterr()
    assert (out.count(SHOWN), err.count(SHOWN)) == (9, 2)
    for text in (out, err):
        assert text.encode()
        assert visible(text) == text


def test_json_of_any_text_is_plain_and_whole(capsys):
    Screen(json=True).close({"text": HOSTILE})
    line = capsys.readouterr().out
    assert line.isascii()
    assert line.rstrip("\n").isprintable()
    assert json.loads(line)["text"] == HOSTILE


@pytest.mark.parametrize("words", [["pol\x1b[31mish"], ["runs", "show", "no\x9bthing"]])
def test_complaints_are_plain(capsys, words):
    with pytest.raises(SystemExit):
        main(words)
    complaint = capsys.readouterr().err.rstrip("\n")
    assert complaint.isprintable()


LONG = (
    "planish reheat run --model hf:runs/reheat/20250102-030405-demo/artifacts/anchored-0/policy "
    "--reference 'hf:a folder' --task routes:64:4:7:0 --probe-prompts 6 --inverse --out WARM"
)


def closed(monkeypatch, then, columns):
    """What a terminal of so many columns shows, line by line."""
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    Screen().close({}, run="runs/x", then=then)
    return terminal.getvalue().splitlines()


@pytest.mark.parametrize("columns", [60, 100, 400])
def test_a_long_command_is_folded_so_that_it_can_be_pasted(monkeypatch, columns):
    shown = closed(monkeypatch, [LONG, "planish runs list"], columns)
    folder = next(word for word in shlex.split(LONG) if "anchored" in word)
    assert max(len(line) for line in shown if folder not in line) <= columns
    assert shown[-1] == "        planish runs list"
    pasted = "\n".join(line[8:] for line in shown[1:-1])
    assert shlex.split(pasted.replace("\\\n", "")) == shlex.split(LONG)
    assert (pasted == LONG) == (columns == 400)


def test_what_is_no_command_and_what_goes_into_a_pipe_stays_one_line(monkeypatch, capsys):
    note = "open the page and look at it, don't " + "hurry " * 30
    assert closed(monkeypatch, [note], 60)[1:] == [f"next    {note}"]
    monkeypatch.undo()
    Screen().close({}, then=[LONG])
    assert capsys.readouterr().out == f"next    {LONG}\n"
