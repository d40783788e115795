"""What a terminal is shown of texts that anybody may have written."""

import json

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
