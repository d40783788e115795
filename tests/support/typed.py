"""A stage as it is typed: what it returns, prints and refuses.

    STAGE = Typed("mistakes", "verify")
    code, out, err = STAGE.call(capsys, tmp_path, "--resume", "last")
    found = STAGE.told(capsys, tmp_path, "--tasks", "own")      # its JSON
    line = STAGE.refused(capsys, tmp_path)                      # what it says of bad input

Runs lie in the folder `made` of the test's own.
"""

from __future__ import annotations

import json
import shlex

import pytest

from planish.cli import build_app, main

__all__ = ["Typed", "next_commands"]


def next_commands(out):
    """What a command says to do next, word by word; options that are none fail."""
    found = [shlex.split(line) for line in out.partition("next ")[2].strip().splitlines()]
    for words in found:
        build_app().parse_args(words[1:], exit_on_error=False, print_error=False)
    return found


class Typed:
    """A command of planish, called in this process.

    Args:
        words: that come first, such as room and stage.
    """

    def __init__(self, *words):
        self.words = words

    def call(self, capsys, tmp_path, *words):
        """Exit code, stdout, stderr."""
        with pytest.raises(SystemExit) as stop:
            main([*self.words, *map(str, words), "--runs-dir", str(tmp_path / "made")])
        captured = capsys.readouterr()
        return stop.value.code, captured.out, captured.err

    def told(self, capsys, tmp_path, *words, code=0):
        """The JSON that it prints."""
        found, out, err = self.call(capsys, tmp_path, *words, "--json")
        assert found == code, err
        return json.loads(out)

    def refused(self, capsys, tmp_path, *words):
        """The last line of what it says of bad input, of which nothing reaches stdout."""
        code, out, err = self.call(capsys, tmp_path, *words)
        assert (code, out) == (2, ""), err
        assert "Traceback" not in err
        return err.strip().splitlines()[-1]
