"""What the user hears of a run that is stopped, and what is kept of it."""

import pytest

from planish.judges.resumable import again, kept, resumable
from planish.models.scripted import ScriptedModel
from planish.records import Sampling, user
from planish.runs import Run
from planish.runs.console import Screen

CHATS = [user(text) for text in ("one", "two", "three")]


def start(root):
    again = "planish rise x --resume"
    return Run.create("rise", "test", {}, seed=0, root=root, stage="x", again=again)


def test_a_stopped_run_says_how_it_goes_on_and_asks_for_no_reply_again(capsys, tmp_path):
    asked = []

    def reply(chat, seed, sample):
        asked.append(chat)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return "yes"

    model, screen = ScriptedModel("stopped", reply), Screen()
    run = start(tmp_path / "my runs")
    replies = run.artifact("replies.jsonl")

    def work():
        with run, resumable(run, screen), kept(model, replies, screen) as cached:
            cached.generate(CHATS, Sampling())

    with pytest.raises(KeyboardInterrupt):
        work()
    err = capsys.readouterr().err
    assert err == f"run {run.path}\ngo on with: planish rise x --resume '{run.path}'\n"
    assert run.info.status == "interrupted"

    with replies.open("a") as torn:
        torn.write('{"half a li')
    with kept(model, replies, screen) as cached:  # the file is free, and mended
        cached.generate(CHATS, Sampling())
        assert (cached.hits, cached.misses) == (2, 1)
    assert asked == [*CHATS, CHATS[-1]]
    assert "replies.jsonl" in capsys.readouterr().err


def test_a_run_that_is_opened_anew_tells_what_was_mended(capsys, tmp_path):
    with start(tmp_path) as run:
        run.record("score", {"right": True}, id="1")
    with (run.path / "records.jsonl").open("a") as torn:
        torn.write('{"half a li')
    with Run.open(run.path) as run, resumable(run, Screen()):
        pass
    said = capsys.readouterr().err.splitlines()
    assert said == [f"run {run.path}", *run.repaired]
    assert len(run.repaired) == 1


def test_work_that_ends_or_fails_says_nothing_of_going_on(capsys, tmp_path):
    with start(tmp_path) as run:
        with resumable(run, Screen()):
            pass
        with pytest.raises(ZeroDivisionError), resumable(run, Screen()):
            raise ZeroDivisionError
    assert capsys.readouterr().err == f"run {run.path}\n" * 2
    assert again(run) == f"planish rise x --resume {run.path}"


@pytest.mark.parametrize(
    ("go_on", "told"), [("", ""), ("planish x --resume", "go on with: planish x --resume\n")]
)
def test_a_run_without_a_command_of_its_own_tells_the_one_that_is_given(
    capsys, tmp_path, go_on, told
):
    run = Run.create("rise", "test", {}, root=tmp_path, stage="x")

    def work():
        with run, resumable(run, Screen(), go_on):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert capsys.readouterr().err == f"run {run.path}\n{told}"
