"""A trained memory, opened for a model: the indexer's folder, and how much may stay.

    memory = open_memory(model, "indexer", MemoryOptions(chunks=32, recent=64))
    with memory.decoding(model):
        model.generate(...)

In a model's name it reads `hf:./checkpoint?lookahead=indexer&chunks=32&recent=64`. Where an option
is left out, the budget that the indexer was saved with counts (`indexer.json`, under
`notes.budget`), and else the defaults of `Budget`. An indexer that was taught to rank
(`notes.ranks`) says which chunks are needed most, not how many: it fills the cap, unless a
threshold is given. Heavy libraries come only with `open_memory`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planish.models.memory.budget import Budget, WindowRecord
from planish.records import BadInput, explain

if TYPE_CHECKING:
    from planish.models.memory.attach import Session
    from planish.models.memory.indexer import MemoryIndexer
    from planish.models.memory.store import HostStore

__all__ = [
    "SHIPPED",
    "HostOptions",
    "Memory",
    "MemoryOptions",
    "indexer_path",
    "open_memory",
    "query",
    "shipped_indexer",
]

SHIPPED = "embedded"
"""The name of the indexer that ships in the package; so does `embedded:recall-indexer`."""

_EMBEDDED = Path(__file__).parents[2] / "embedded"
_NAMES = {
    "chunks": "max_chunks",
    "threshold": "threshold",
    "recent": "recent_tokens",
    "sinks": "sink_tokens",
    "interval": "interval",
    "fallback": "fallback_ratio",
}
# Of a cap that is given without a recent window. Ours.
_RECENT_SHARE = 4


class MemoryOptions(BaseModel):
    """How much of the history stays on the device, as it is typed; None: not said."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    chunks: int | None = Field(
        None, ge=1, description="Chunks on the device at most, sinks and recent ones included."
    )
    threshold: float | None = Field(
        None, gt=0, lt=1, description="A chunk whose score is above it is kept."
    )
    recent: int | None = Field(None, ge=1, description="Last tokens that always stay.")
    sinks: int | None = Field(None, ge=0, description="First tokens that always stay.")
    interval: int | None = Field(None, ge=1, description="Tokens between two decisions.")
    fallback: float | None = Field(
        None,
        gt=0,
        le=1,
        description="A request that wants a larger share of its history turns dense for good.",
    )


class HostOptions(BaseModel):
    """Where the rest of the history waits, as it is typed; it changes no reply."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host_file: str | None = Field(
        None, min_length=1, description="A file to be made on a fast disk; nothing of it stays."
    )
    host_gigabytes: float | None = Field(
        None, gt=0, le=1e6, description="Never more than this, in memory or in the file."
    )

    @contextmanager
    def store(self) -> Iterator[HostStore | None]:
        """A store that is closed afterwards; None where nothing is said of it.

        Raises:
            BadInput: the file is already there, or cannot be made.
        """
        if self == HostOptions():
            yield None
            return
        from planish.models.memory.store import HostStore

        cap = None if self.host_gigabytes is None else int(self.host_gigabytes * 1e9)
        store = HostStore(
            cap, None if self.host_file is None else Path(self.host_file).expanduser()
        )
        try:
            yield store
        finally:
            store.close()


@dataclass
class Memory:
    """An indexer and a budget, ready for one model.

    Attributes:
        indexer: the trained scorer, on the model's device.
        budget: what may stay.
        identity: hash of the indexer's files and of the budget: another one, other replies.
        on_window: hears of every decision.
        host: where the rest waits; each session has a store of its own.
        pads: whether rows of a batch may be padded, by whole chunks at best.
    """

    indexer: MemoryIndexer
    budget: Budget
    identity: str
    on_window: Callable[[WindowRecord], None] | None = None
    host: HostOptions = HostOptions()  # noqa: RUF009 - frozen
    pads: bool = True

    @property
    def chunk_tokens(self) -> int:
        """Tokens of a chunk."""
        return int(self.indexer.config.chunk_tokens)

    @contextmanager
    def decoding(self, model: Any) -> Iterator[Session]:
        """While it is open, `model.generate` decodes through this memory.

        Args:
            model: the one that the memory was opened for.
        """
        from planish.models.memory.attach import lookahead

        with (
            self.host.store() as store,
            lookahead(
                model, self.indexer, self.budget, store=store, on_window=self.on_window
            ) as session,
        ):
            yield session


def open_memory(
    model: Any,
    name: str,
    options: MemoryOptions,
    host: HostOptions = HostOptions(),  # noqa: B008
) -> Memory:
    """Opens an indexer for a model and settles the budget.

    Args:
        model: a causal language model of transformers.
        name: the indexer's folder or file, or `embedded`.
        options: what the user said of the budget.
        host: and of the host's memory.

    Raises:
        BadInput: no such folder or a broken one, an indexer of another backbone, a model that no
            memory can serve, or a budget that contradicts itself.
    """
    from planish.models.memory.backbone import Backbone
    from planish.models.memory.deepseek import DeepseekMemory
    from planish.models.memory.indexer import MemoryIndexer
    from planish.models.memory.native_topk import is_deepseek
    from planish.models.memory.selection import check_budget

    path = indexer_path(name)
    indexer = MemoryIndexer.from_pretrained(path)
    chunk_tokens = int(indexer.config.chunk_tokens)
    compressed = is_deepseek(model)
    if not compressed:
        indexer.check(Backbone.of(model).fingerprint(), chunk_tokens)
    elif host != HostOptions():
        raise BadInput(
            "DeepSeek-V4's compressed entries stay where transformers puts them",
            where=f"option {min(host.model_dump(exclude_none=True))}",
            fix="leave it out",
        )
    ranks = bool(_notes(indexer.config).get("ranks"))
    budget = _budget(_saved(indexer.config), options, chunk_tokens, str(path), ranks=ranks)
    if compressed:
        DeepseekMemory(model, indexer, budget)  # refuses what does not fit, the budget too
    else:
        check_budget(budget, chunk_tokens)
    indexer.to(model.device).eval()
    return Memory(indexer, budget, _identity(path, budget), host=host, pads=not compressed)


def indexer_path(name: str) -> Path:
    """Where an indexer lies.

    >>> indexer_path("embedded").name
    'recall-indexer'

    Raises:
        BadInput: there is nothing of that name.
    """
    shipped = name == SHIPPED or name.startswith(f"{SHIPPED}:")
    if not shipped:
        path = Path(name).expanduser()
        if not name or not path.exists():
            raise BadInput(
                "no such indexer",
                where=name or "lookahead",
                fix="name the folder that `planish lookahead train` wrote",
            )
        return path
    called = name.partition(":")[2] or "recall-indexer"
    known = _indexers()
    if called not in known:
        raise BadInput(
            f"no indexer called {called!r} ships in the package",
            where=name,
            fix=f"known: {', '.join(known) or 'none in this installation'}",
        )
    return _EMBEDDED / called


def shipped_indexer(model_spec: str) -> str | None:
    """The name of the indexer that ships beside a model of the package; None: there is none.

    >>> shipped_indexer("embedded:recall?batch_size=4")
    'embedded:recall-indexer'

    Args:
        model_spec: a model's name, with its options or without.
    """
    scheme, _, rest = model_spec.strip().partition(":")
    called = f"{rest.partition('?')[0]}-indexer"
    return f"{SHIPPED}:{called}" if scheme == SHIPPED and called in _indexers() else None


def query(name: str, options: MemoryOptions) -> str:
    """The indexer and the options as they follow a question mark in a model's name.

    >>> query("my indexer", MemoryOptions(chunks=32))
    'lookahead=my%20indexer&chunks=32'
    """
    given = {"lookahead": name, **options.model_dump(exclude_none=True)}
    return "&".join(f"{key}={quote(str(value), safe='/:.~')}" for key, value in given.items())


def _indexers() -> list[str]:
    """Folders of indexers that ship in the package."""
    return sorted(folder.name for folder in _EMBEDDED.glob("*-indexer"))


def _saved(config: Any) -> Mapping[str, Any]:
    """The budget that the indexer was saved with, as far as there is one."""
    found = _notes(config).get("budget")
    return {"mode": config.mode, **(found if isinstance(found, Mapping) else {})}


def _notes(config: Any) -> Mapping[str, Any]:
    notes = getattr(config, "notes", None)
    return notes if isinstance(notes, Mapping) else {}


def _budget(
    saved: Mapping[str, Any],
    options: MemoryOptions,
    chunk_tokens: int,
    where: str,
    *,
    ranks: bool = False,
) -> Budget:
    given = {_NAMES[name]: value for name, value in options.model_dump(exclude_none=True).items()}
    told = {**saved, **given}
    cap = given.get("max_chunks")
    if cap is not None and "recent_tokens" not in told:
        usual = Budget.model_fields["recent_tokens"].default
        told["recent_tokens"] = max(1, min(usual, cap * chunk_tokens // _RECENT_SHARE))
    if ranks and "threshold" not in given:
        told.setdefault("min_chunks", told.get("max_chunks") or 0)
    try:
        return Budget(**told)
    except ValidationError as error:
        raise BadInput(
            f"the budget does not make sense ({explain(error)})",
            where=where,
            fix="give other options, or mend its indexer.json",
        ) from None


def _identity(path: Path, budget: Budget) -> str:
    whole = hashlib.sha256(budget.model_dump_json().encode())
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for file in files:
        if file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            # A file's own name is of no matter, a folder's parts go by theirs.
            whole.update(f"{file.name if path.is_dir() else ''}\0{digest}\n".encode())
    return whole.hexdigest()[:16]
