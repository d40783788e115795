"""Documents of a dump whose file was damaged or lost: they leave it, so that they are taken anew.

whole, told = healed(folder, documents)

What is looked at is a file's header, its size and what it says it holds; nothing is read of the
tensors themselves, so a large dump is looked through in seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from planish.methods.lookahead.data import RECORDS
from planish.records import BadInput, write_text

if TYPE_CHECKING:
    from planish.methods.lookahead.dumping.folder import Document

__all__ = ["healed", "is_whole"]


def healed(
    folder: Path, documents: Sequence[Document]
) -> tuple[tuple[Document, ...], tuple[str, ...]]:
    """The documents whose files are whole, and a line about the others, if there are any.

    The records of the others are gone afterwards; their files are no part of the dump any more.

    Raises:
        BadInput: a file that may be whole cannot be read now; nothing was changed.
    """
    broken = {document.file for document in documents if not _holds(folder, document)}
    if not broken:
        return tuple(documents), ()
    whole = tuple(document for document in documents if document.file not in broken)
    lines = (record.model_dump_json() for document in whole for record in document.records)
    write_text(folder / RECORDS, "".join(f"{line}\n" for line in lines))
    first = min(broken)
    more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
    return whole, (
        f"{len(documents) - len(whole)} of {len(documents)} documents were damaged or lost and "
        f"are taken anew: {first}{more}",
    )


def is_whole(path: Path) -> bool:
    """Whether there is a safetensors file as long as its header says.

    Raises:
        BadInput: it cannot be read now, whatever it holds.
    """
    return _shapes(path) is not None


def _holds(folder: Path, document: Document) -> bool:
    """Whether a document's file is whole and has the tensors that its records refer to."""
    shapes = _shapes(folder / document.file)
    if shapes is None:
        return False
    layers = {record.layer for record in document.records}
    hidden = all(shapes.get(f"hidden.{layer}", [-1])[0] == document.num_tokens for layer in layers)
    return hidden and {"starts", "positions", "mass.values"}.union(
        f"features.{layer}" for layer in layers
    ) <= set(shapes)


def _shapes(path: Path) -> dict[str, list[int]] | None:
    """Shape of every tensor in a file; None: it is damaged or not there."""
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb"):  # safetensors takes whatever it cannot open for a file that is gone
            pass
        with safe_open(path, framework="pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError):
        return None
    except OSError as error:
        raise BadInput(f"cannot be read ({error})", where=str(path)) from None
