"""What a dump says of itself, and whether two dumps are of one backbone.

header = read_header(folder)
check_same(header, mine, folder)
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from planish.methods.lookahead.data import DUMP, Header
from planish.records import BadInput

__all__ = ["check_same", "read_header", "same_backbone"]

# Fields of a header that may differ when a dump goes on: they change nothing that is in it.
_FREE = frozenset({"model", "max_bytes"})


def read_header(folder: Path) -> Header:
    """What `dump.json` says.

    Raises:
        BadInput: there is none, or it is no header.
    """
    path = folder / DUMP
    try:
        return Header.model_validate_json(path.read_bytes())
    except OSError:
        raise BadInput(
            f"no {DUMP} in this folder", where=str(folder), fix="make one: planish lookahead dump"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise BadInput(
            f"is not a dump of this version ({first['msg']})", where=str(path), fix="dump anew"
        ) from None


def same_backbone(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two fingerprints agree; older ones hold less, see `Backbone.fingerprint`."""
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def check_same(before: Header, header: Header, folder: Path) -> None:
    """Whether a dump may go on.

    Raises:
        BadInput: naming the first thing that differs.
    """
    one, other = before.model_dump(), header.model_dump()
    for name in sorted(one.keys() - _FREE):
        same = same_backbone if name == "backbone" else operator.eq
        if not same(one[name], other[name]):
            told = "another backbone" if name == "backbone" else f"{name} = {one[name]}"
            this = "" if name == "backbone" else f", this is {other[name]}"
            raise BadInput(
                f"the dump there is of {told}{this}",
                where=str(folder),
                fix="use the same settings or another folder",
            )
