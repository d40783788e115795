"""Keeps every edit that was made, before anybody looks at it, and never has it made again.

    shelf = Shelf(Path("bench/edits"))
    result = shelf.edit(editor, request)        asks the editor
    result = shelf.edit(editor, request)        reads the shelf

`edits/<key>/result.json` tells what was asked, of whom, and what it cost; the picture lies beside
it exactly as it came. The key is a hash of the request's bytes and of the editor with its version,
so neither a picture that was drawn again nor another quality setting finds an old edit.

A folder appears whole or not at all. Two processes that want the same edit wait for one another.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue, ValidationError

from planish.methods.vfaith.editing.contract import (
    Editor,
    EditRequest,
    EditResult,
    cropped,
    request_key,
)
from planish.methods.vfaith.images import write_bytes
from planish.records import BadInput, Record, explain

__all__ = ["Kept", "Shelf"]

_RESULT = "result.json"
_ENDINGS = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp"}


class Kept(Record):
    """What `result.json` holds: an `EditResult` without its bytes, and what was asked in words.

    Args:
        file: beside it, with the bytes as they came; sha256: of them.
    """

    backend: str
    version: str
    request: str
    instruction: str
    seed: int
    params: dict[str, JsonValue]
    usage: dict[str, JsonValue]
    deterministic: bool
    exact_mask: bool
    native_size: tuple[int, int]
    window: tuple[float, float, float, float] | None
    file: str
    sha256: str


class Shelf:
    """A folder of edits.

    Args:
        folder: appears when the first edit is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def edit(self, editor: Editor, request: EditRequest) -> EditResult:
        """The edit, from the shelf or else from the editor; without what was added around it.

        Raises:
            BadInput: as the editor; the shelf cannot be written (before anything is paid for); an
                edit on it is damaged.
            EditFailed: as the editor.
        """
        key = request_key(editor, request)
        found = self.find(key)
        if found is None:
            with self._alone(key):
                # Another process may have made it while this one waited.
                found = self.find(key)
                if found is None:
                    found = replace(editor.edit(request), request=key)
                    self._keep(found, request)
        return cropped(found)

    def find(self, key: str) -> EditResult | None:
        """What is kept under a key, as it came; None where nothing is.

        Raises:
            BadInput: it is damaged.
        """
        path = self.folder / key / _RESULT
        try:
            kept = Kept.model_validate_json(path.read_bytes())
            # The name alone: what a shelf says must not lead out of it.
            image = (path.parent / Path(kept.file).name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            if path.exists():
                raise _damaged(path, "its picture is gone") from None
            return None
        except ValidationError as error:
            raise _damaged(path, explain(error)) from None
        except OSError as error:
            raise _damaged(path, error.strerror or str(error)) from None
        if hashlib.sha256(image).hexdigest() != kept.sha256 or kept.request != key:
            raise _damaged(path, "these are not the bytes that were kept")
        fields = kept.model_dump(exclude={"file", "sha256", "instruction", "seed", "params"})
        return EditResult(image=image, **fields)

    def _keep(self, result: EditResult, request: EditRequest) -> None:
        ending = next(
            (end for start, end in _ENDINGS.items() if result.image.startswith(start)), ".bin"
        )
        kept = Kept(
            backend=result.backend,
            version=result.version,
            request=result.request,
            instruction=request.instruction,
            seed=request.seed,
            params=dict(request.params),
            usage=dict(result.usage),
            deterministic=result.deterministic,
            exact_mask=result.exact_mask,
            native_size=result.native_size,
            window=result.window,
            file=f"image{ending}",
            sha256=hashlib.sha256(result.image).hexdigest(),
        )
        made = Path(tempfile.mkdtemp(dir=self.folder, prefix=".making-"))
        try:
            write_bytes(made / kept.file, result.image, sync=True)
            write_bytes(made / _RESULT, kept.model_dump_json(indent=2).encode(), sync=True)
            os.chmod(made, 0o755)
            os.replace(made, self.folder / result.request)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise

    @contextlib.contextmanager
    def _alone(self, key: str) -> Iterator[None]:
        """One at a time for this key; the kernel frees the lock of a process that dies."""
        path = self.folder / f".{key}.lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise BadInput(
                error.strerror or str(error), where=str(self.folder),
                fix="name a folder that can be written",
            ) from None  # fmt: skip
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
            # Whoever waits on the file without a name finds the edit made.
            path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _damaged(path: Path, why: str) -> BadInput:
    return BadInput(
        f"a kept edit is damaged ({why})",
        where=str(path),
        fix="put it back from a copy; without its folder the edit is made and paid for again",
    )
