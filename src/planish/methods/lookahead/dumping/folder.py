"""A dump folder: a document is in it whole or not at all, and a killed dump goes on by id.

    with Writer(Path("dump"), header) as writer:
        if "doc-1" not in writer.done:
            writer.add(shard)
    dump = Dump(Path("dump"))
    dump.tensors(dump.documents[0])["hidden.l1"]

A document's tensors are written first, to a temporary name; its records follow in one piece, and
only they make it part of the dump. A folder without a document is no dump yet: it binds nobody.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import ValidationError

from planish.methods.lookahead.data import DUMP, RECORDS, DumpRecord, Header, file_name, layer_name
from planish.methods.lookahead.dumping.heading import check_same, read_header
from planish.methods.lookahead.dumping.healing import healed, is_whole
from planish.records import BadInput, write_text
from planish.runs.folder import lock
from planish.runs.lines import LineFile, raise_if_full

if TYPE_CHECKING:
    from torch import Tensor

    from planish.methods.lookahead.labels import Sampled

__all__ = [
    "DOCUMENTS",
    "PROJECTIONS",
    "Document",
    "Dump",
    "Shard",
    "Writer",
    "read_documents",
    "read_header",
]

PROJECTIONS = "projections.safetensors"
DOCUMENTS = "documents"
_SHARD = re.compile(r"-[0-9a-f]{1,12}\.safetensors$|^\..+\.safetensors\.tmp$")
# As `data.file_name` and `_write_bytes` name them.


@dataclass(frozen=True)
class Shard:
    """One document, ready to be written.

    Args:
        tensors: as told in `lookahead.data`.
        stretches: (position of the first token, tokens), rising.
    """

    id: str
    digest: str
    length: int
    prompt: int
    stretches: tuple[tuple[int, int], ...]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class Document:
    """A document of a dump: where its tensors are, and its records."""

    id: str
    digest: str
    split: str
    length: int
    prompt: int
    file: str
    records: tuple[DumpRecord, ...]

    @property
    def num_tokens(self) -> int:
        """Sampled tokens."""
        first = self.records[0].layer
        return sum(record.tokens for record in self.records if record.layer == first)


class Dump:
    """A dump that is there.

    Attributes:
        header: what all documents have in common.
        documents: those that are whole, in the order in which they were written.

    Raises:
        BadInput: no dump there, one of another version, or damaged lines.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.header = read_header(self.folder)
        self.documents, _ = read_documents(self.folder)

    def tensors(self, document: Document, names: Sequence[str] = ()) -> dict[str, Tensor]:
        """The tensors of a document: those with these names, or all.

        Raises:
            BadInput: the file is missing or damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / document.file
        try:
            with safe_open(path, framework="pt") as file:
                wanted = names or file.keys()
                return {name: file.get_tensor(name) for name in wanted}
        except (OSError, SafetensorError) as error:
            raise BadInput(
                f"cannot be read ({error})",
                where=str(path),
                fix="dump once more with --resume: it takes this document anew",
            ) from None

    def sampled(self, document: Document, tensors: Mapping[str, Tensor] | None = None) -> Sampled:
        """The sampled tokens of a document, as `labels.label` takes them."""
        from planish.methods.lookahead.labels import Mass, Sampled

        found = self.tensors(document) if tensors is None else tensors
        num_chunks = len(found["starts"])

        def mass(name: str) -> Mass:
            return Mass(
                found[f"{name}.values"],
                num_chunks,
                found.get(f"{name}.chunks"),
                found.get(f"{name}.total"),
            )

        span = found.get("needs.span")
        return Sampled(
            positions_N=found["positions"].long(),
            stretch_N=found["stretch"].long(),
            length=document.length,
            mass=mass("mass"),
            head=mass("head"),
            needs_W2=found.get("needs"),
            needs_span=None if span is None else (int(span[0]), int(span[1])),
        )

    def projections(self) -> dict[str, Tensor]:
        """The backbone's query projections by layer name; empty where they were not kept."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.folder / PROJECTIONS
        try:
            return load_file(path) if path.is_file() else {}
        except (OSError, SafetensorError) as error:
            raise BadInput(
                f"cannot be read ({error})",
                where=str(path),
                fix="dump once more with --resume, or use --init random",
            ) from None


class Writer:
    """Adds documents to a dump, new or one that goes on.

    Args:
        folder: is made where it is missing.
        header: must agree with the one that is there.

    Attributes:
        done: ids of the documents that are there.
        bytes: what the folder holds.
        repaired: what was not whole and is taken anew, one line each.

    Raises:
        BadInput: the folder holds another dump, or is in use.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self.folder, self.header = folder, header
        self.repaired: list[str] = []
        (folder / DOCUMENTS).mkdir(parents=True, exist_ok=True)
        self._lock: int | None = lock(folder)
        try:
            self._settle()
        except BaseException:
            self.close()
            raise

    def _settle(self) -> None:
        documents, end = read_documents(self.folder)
        projections = self.folder / PROJECTIONS
        if documents:
            before = read_header(self.folder)
            check_same(before, self.header, self.folder)
            # What is there is vouched for as far as it was then, and no further.
            self.header = self.header.model_copy(update={"backbone": before.backbone})
        if not documents or not is_whole(projections):  # they may be another backbone's
            projections.unlink(missing_ok=True)
        write_text(self.folder / DUMP, self.header.model_dump_json(indent=2) + "\n")
        records = self.folder / RECORDS
        if records.exists() and (torn := records.stat().st_size - end):
            with records.open("r+b") as file:
                file.truncate(end)
            self.repaired.append(f"{RECORDS}: removed a document that was not whole ({torn} bytes)")
        documents, told = healed(self.folder, documents)
        self.repaired.extend(told)
        known = {document.file for document in documents}
        for path in sorted((self.folder / DOCUMENTS).iterdir()):
            # Only what a dump writes: what somebody else put here stays.
            ours = _SHARD.search(path.name) is not None and path.is_file()
            if ours and f"{DOCUMENTS}/{path.name}" not in known:
                path.unlink()
        self.done = {document.id for document in documents}
        self.digests = {document.digest for document in documents}
        self._lines = LineFile(records)
        self.bytes = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def add(self, shard: Shard) -> None:
        """Writes a document; it is part of the dump once this returns.

        Raises:
            BadInput: it would pass the cap; nothing of it was written.
            DiskFull: no room; what was there is whole.
        """
        from safetensors.torch import save

        name = file_name(shard.id, shard.digest)
        records = self._records(shard, name)
        lines = "\n".join(record.model_dump_json() for record in records)
        data = save({key: value.contiguous() for key, value in shard.tensors.items()})
        size = len(data) + len(lines.encode()) + 1
        self._check_room(f"the next document ({shard.id}) needs", size)
        _write_bytes(self.folder / name, data)
        self._lines.append(lines)
        self.done.add(shard.id)
        self.digests.add(shard.digest)
        self.bytes += size

    def keep_projections(self, projections: Mapping[str, Tensor]) -> None:
        """Writes the backbone's query projections, once.

        Raises:
            BadInput: they would pass the cap.
        """
        from safetensors.torch import save

        path = self.folder / PROJECTIONS
        if projections and not path.exists():
            data = save({name: value.contiguous() for name, value in projections.items()})
            self._check_room("the backbone's query projections need", len(data))
            _write_bytes(path, data)
            self.bytes += len(data)

    def _check_room(self, what: str, size: int) -> None:
        cap = self.header.max_bytes
        if cap is not None and self.bytes + size > cap:
            go_on = "train on what is there, or go on with" if self.done else "give"
            raise BadInput(
                f"{what} {size:,} bytes beside the {self.bytes:,} of {len(self.done)} documents, "
                f"above the cap of {cap:,}",
                where=str(self.folder),
                fix=f"{go_on} a higher --max-gigabytes",
            )

    def _records(self, shard: Shard, name: str) -> list[DumpRecord]:
        layers = [layer_name(layer) for layer in self.header.layers]
        parts = len(layers) * len(shard.stretches)
        records: list[DumpRecord] = []
        row = 0
        for number, (position, tokens) in enumerate(shard.stretches):
            for layer in layers:
                record = DumpRecord(
                    id=f"{shard.id}/{number}/{layer}",
                    document_id=shard.id,
                    digest=shard.digest,
                    part=len(records),
                    parts=parts,
                    split=self.header.split,
                    backbone=self.header.model,
                    revision=self.header.revision,
                    layer=layer,
                    position=position,
                    tokens=tokens,
                    length=shard.length,
                    prompt=shard.prompt,
                    hidden=f"{name}#hidden.{layer}[{row}:{row + tokens}]",
                    chunk_keys_ref=f"{name}#features.{layer}",
                    chunk_tokens=self.header.chunk_tokens,
                    mass_per_layer_ref=f"{name}#mass",
                )
                records.append(record)
            row += tokens
        return records

    def close(self) -> None:
        """Frees the folder. Safe to call twice."""
        if self._lock is None:
            return
        handle, self._lock = self._lock, None
        try:
            if hasattr(self, "_lines"):
                self._lines.close()
        finally:
            os.close(handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_documents(folder: Path) -> tuple[tuple[Document, ...], int]:
    """The whole documents, and where the last of them ends in the file of records."""
    path = folder / RECORDS
    documents: list[Document] = []
    waiting: list[DumpRecord] = []
    offset = end = 0
    for number, line, last in _lines(path):
        offset += len(line)
        try:
            record = DumpRecord.model_validate_json(line)
        except ValidationError:
            if last:  # torn by a crash
                break
            raise BadInput(
                "not a record of a dump", where=f"{path}:{number}", fix="remove the dump"
            ) from None
        if record.part == 0:
            waiting = []
        waiting.append(record)
        if record.part != len(waiting) - 1 or record.document_id != waiting[0].document_id:
            raise BadInput(
                "records of a document are missing", where=f"{path}:{number}", fix="dump anew"
            )
        if len(waiting) == record.parts and line.endswith(b"\n"):
            documents.append(_document(waiting))
            waiting, end = [], offset
    return tuple(documents), end


def _lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    if not path.exists():
        return
    size, seen = path.stat().st_size, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            seen += len(line)
            yield number, line, seen >= size


def _document(records: Sequence[DumpRecord]) -> Document:
    first = records[0]
    return Document(
        id=first.document_id,
        digest=first.digest,
        split=first.split,
        length=first.length,
        prompt=first.prompt,
        file=first.chunk_keys_ref.partition("#")[0],
        records=tuple(records),
    )


def _write_bytes(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise_if_full(error, path)
        raise
