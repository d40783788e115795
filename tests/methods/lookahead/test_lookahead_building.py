from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from planish.methods.lookahead.building import build, main
from planish.models.memory.indexer import MemoryIndexer

_PARTS = (("recall:lookup:384", 6, 18), ("recall:study:384", 6, 18))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of several threads differ in their last bits from run to run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_build_that_was_stopped_goes_on_with_the_dumps_that_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    whole = build(tmp_path / "whole", tasks=_PARTS)

    def stop(**_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("planish.methods.lookahead.running.train.train", stop)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path / "out", tasks=_PARTS, work=work)
    assert not (tmp_path / "out").exists()
    dumped = {path: path.stat().st_mtime_ns for path in work.glob("dump-*/documents/*")}

    again = build(tmp_path / "out", tasks=_PARTS, work=work)
    assert {path: path.stat().st_mtime_ns for path in dumped} == dumped
    assert len(list(work.glob("dump-*/documents/*"))) == len(dumped) == 12
    weights = (tmp_path / "out" / "indexer.safetensors").read_bytes()
    assert weights == (tmp_path / "whole" / "indexer.safetensors").read_bytes()
    digests = again["sha256"]
    assert isinstance(digests, dict)
    assert digests["indexer.safetensors"] == hashlib.sha256(weights).hexdigest()
    assert again["training"] == whole["training"]
    assert json.loads((tmp_path / "out" / "build.json").read_text())["sha256"] == digests
    MemoryIndexer.from_pretrained(tmp_path / "out")


def test_a_place_for_dumps_that_cannot_be_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main(["--out", str(tmp_path / "out"), "--work", str(tmp_path / "file" / "work")]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert "file is no folder; name a new folder" in told
    assert not (tmp_path / "out").exists()
