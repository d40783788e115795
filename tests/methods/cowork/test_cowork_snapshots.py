"""The shelf: whatever breaks, the old library or the new one is in use, and nothing is lost."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from planish.errors import BadInput
from planish.methods.cowork.improving import snapshots
from planish.methods.cowork.improving.snapshots import NotKept, Shelf
from planish.methods.cowork.skills import Library
from support.skills import small

OLD, NEW = small(), small(methods=[*small().model_dump(mode="json")["methods"][:4],
    {"id": "rest", "task": "work", "subtasks": ["wait"], "priority": 1}])  # fmt: skip


def used(folder: Path) -> str:
    """What a process finds that comes later."""
    with Shelf(folder) as shelf:
        assert shelf.active.digest == shelf.pointer.active
        assert shelf.anchor.digest == shelf.pointer.anchor
        return shelf.active.digest


def test_a_promotion_and_its_return_are_kept_with_both_libraries(tmp_path: Path) -> None:
    with Shelf(tmp_path) as shelf:
        assert shelf.is_empty
        shelf.start(OLD)
        promotion = shelf.promote(NEW, round=3, detail="+12")
        assert (promotion.kind, promotion.from_hash, promotion.to_hash, promotion.anchor_hash) == (
            "promoted",
            OLD.digest,
            NEW.digest,
            OLD.digest,
        )
        shelf.move_anchor(NEW.digest)
        shelf.promote(OLD, round=4, kind="reverted", anchor=OLD.digest)
    with Shelf(tmp_path) as shelf:
        shelf.start(NEW)  # is not empty: nothing happens
        assert shelf.active == OLD
        assert shelf.load(NEW.digest) == NEW
        assert [each.kind for each in shelf.promotions] == ["promoted", "reverted"]
        assert [each.round for each in shelf.promotions] == [3, 4]


def test_a_promotion_done_again_is_written_once(tmp_path: Path) -> None:
    with Shelf(tmp_path) as shelf:
        shelf.start(OLD)
        first = shelf.promote(NEW, round=2)
    with Shelf(tmp_path) as shelf:
        assert shelf.promote(NEW, round=2) == first
        assert shelf.promotions == (first,)
        shelf.promote(OLD, round=2, kind="reverted")
    with Shelf(tmp_path) as shelf:  # the round was cut off after its return, and is done again
        shelf.promote(NEW, round=2)
        shelf.promote(OLD, round=2, kind="reverted")
        assert [each.kind for each in shelf.promotions] == ["promoted", "reverted"]


def test_a_second_process_is_refused_with_one_line(tmp_path: Path) -> None:
    with Shelf(tmp_path), pytest.raises(BadInput, match="in use by this process"):
        Shelf(tmp_path)
    Shelf(tmp_path).close()


def failing(monkeypatch: pytest.MonkeyPatch, name: str, at: int, code: int) -> Callable[[], int]:
    """Lets the call number `at` of os.`name` fail; returns how often it was called."""
    real, calls = getattr(os, name), [0]

    def replacement(*args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] == at:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(snapshots.os, name, replacement)
    return lambda: calls[0]


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("at", [1, 2])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_what_cannot_be_written_is_not_promoted_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int, code: int
) -> None:
    with Shelf(tmp_path) as shelf:
        shelf.start(OLD)
        with monkeypatch.context() as patched:
            calls = failing(patched, name, at if name == "replace" else 2 * at - 1, code)
            with pytest.raises(NotKept, match="could not be"):
                shelf.promote(NEW, round=1)
            assert calls() > 0
        assert shelf.active == OLD
        assert shelf.promotions == ()
        assert not list(tmp_path.rglob("*.part"))
        shelf.promote(NEW, round=2)
        assert shelf.active == NEW
    assert used(tmp_path) == NEW.digest


def test_a_snapshot_that_does_not_come_back_as_it_was_is_not_promoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def garbled(path: Path, digest: str) -> Library:
        path.write_text(path.read_text().replace('"priority": 1.0', '"priority": 2.0'))
        return real(path, digest)

    real = snapshots._check
    with Shelf(tmp_path) as shelf:
        shelf.start(OLD)
        monkeypatch.setattr(snapshots, "_check", garbled)
        with pytest.raises(NotKept, match="its digest is"):
            shelf.promote(NEW, round=1)
        assert shelf.active == OLD


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("at", range(1, 6))
def test_a_crash_leaves_the_old_pointer_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int
) -> None:
    class Killed(BaseException):
        pass

    real, calls = getattr(os, name), [0]

    def dying(*args: object, **kwargs: object) -> object:
        calls[0] += 1
        if calls[0] == at:
            raise Killed
        return real(*args, **kwargs)

    with Shelf(tmp_path) as shelf:
        shelf.start(OLD)
        with monkeypatch.context() as patched:
            patched.setattr(snapshots.os, name, dying)
            patched.setattr(Path, "unlink", lambda *args, **kwargs: None)  # nor can it tidy up
            try:
                shelf.promote(NEW, round=1)
                shelf.promote(OLD, round=2, kind="reverted")
            except Killed:
                pass
            else:
                assert calls[0] < at
    assert used(tmp_path) in (OLD.digest, NEW.digest)
    assert not list(tmp_path.rglob("*.part"))


def test_a_change_that_the_log_missed_is_written_there_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: object, line: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with Shelf(tmp_path) as shelf:
        shelf.start(OLD)
        with monkeypatch.context() as patched:
            patched.setattr(snapshots.LineFile, "append", full)
            shelf.promote(NEW, round=1)
            assert shelf.active == NEW
            assert shelf.promotions == ()
            with pytest.raises(NotKept):  # or the first change would be forgotten
                shelf.promote(OLD, round=2)
            assert shelf.active == NEW
    with Shelf(tmp_path) as shelf:
        assert [each.to_hash for each in shelf.promotions] == [NEW.digest]
    with Shelf(tmp_path) as shelf:
        assert len(shelf.promotions) == 1


@pytest.mark.parametrize("left", ["", "{", '{"active": "x", "anchor": "x"}'])
def test_a_broken_pointer_is_told_in_one_line(tmp_path: Path, left: str) -> None:
    with Shelf(tmp_path) as shelf:
        shelf.start(OLD)
    (tmp_path / "active.json").write_text(left)
    with pytest.raises(BadInput, match="start a new run") as told:
        Shelf(tmp_path)
    assert "\n" not in str(told.value)
    with pytest.raises(BadInput):  # and is not locked for ever
        Shelf(tmp_path)


def test_a_snapshot_that_was_changed_by_hand_is_not_used(tmp_path: Path) -> None:
    with Shelf(tmp_path) as shelf:
        shelf.start(OLD)
    path = tmp_path / "snapshots" / f"{OLD.digest}.json"
    path.write_text(path.read_text().replace('"priority": 90.0', '"priority": 91.0'))
    with pytest.raises(BadInput, match="broken: its digest is"):
        Shelf(tmp_path)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_the_old_pointer_or_the_new_one(tmp_path: Path) -> None:
    """SIGKILL at twenty moments of a process that promotes without end."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from methods.cowork.test_cowork_snapshots import NEW, OLD\n"
        "from planish.methods.cowork.improving.snapshots import Shelf\n"
        "shelf = Shelf(Path(sys.argv[1])); shelf.start(OLD); print('ready', flush=True)\n"
        "for number in range(10**9):\n"
        "    shelf.promote((NEW, OLD)[number % 2], round=number)\n"
    )
    tests = Path(__file__).parents[2]
    for moment in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path), str(tests)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{tests}:{Path(__file__).parent}"},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.003 * moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert used(tmp_path) in (OLD.digest, NEW.digest)
