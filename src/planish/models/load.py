"""One string names a model: where it lives, what it is called, and its options.

    >>> load("scripted:always-a").name
    'scripted:always-a'

| spec | model |
|---|---|
| `hf:Qwen/Qwen3-4B`, `hf:./checkpoint` | a local model |
| `openai:gpt-5` | the OpenAI API, key from `OPENAI_API_KEY` |
| `openai:m@http://localhost:8000/v1` | any server that speaks the same |
| `embedded:reasoner` | a model that ships in the package |
| `scripted:always-a` | a judge that is made up, with a known fault |
| `replay:file.jsonl` | recorded replies |

Options follow a question mark: `openai:m@http://host/v1?in_flight=64&timeout=60`. A local model
decodes through a trained memory of long contexts by `?lookahead=DIR` (or `?lookahead=embedded`),
with `chunks=`, `threshold=`, `recent=`, `sinks=`, `interval=` and `fallback=` for its budget; what
is evicted waits in `host_file=PATH`, or else in memory, up to `host_gigabytes=`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from planish.models.base import LanguageModel
from planish.models.memory.loading import (
    HostOptions,
    MemoryOptions,
    indexer_path,
    open_memory,
    query,
)
from planish.models.replay import ReplayModel
from planish.models.scripted import SCRIPTS, ScriptedModel
from planish.records import BadInput, explain

if TYPE_CHECKING:
    from planish.models.local import LocalModel

__all__ = ["load"]

_EMBEDDED_BATCH = 64  # these models are tiny: a step costs the same for one row and for many
_VIEWER = "planish-viewer"  # `viewer.MODEL_TYPE`, without torch
_EMBEDDED = Path(__file__).parents[1] / "embedded"


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Local(_Options):
    dtype: str | None = None
    batch_size: int | None = Field(default=None, ge=1)
    device: str | None = None


class _Remembering(MemoryOptions, HostOptions, _Local):
    lookahead: str | None = None


class _Endpoint(_Options):
    in_flight: int = Field(default=32, ge=1, le=1000)
    timeout: float = Field(default=600.0, gt=0, le=1e6)
    retries: int = Field(default=6, ge=0)
    api_key: str | None = None


O = TypeVar("O", bound=BaseModel)  # noqa: E741


def load(spec: str, *, cache: Path | None = None, **options: Any) -> LanguageModel:
    """Loads the model that `spec` names.

    Args:
        spec: see the table above.
        cache: a file that keeps every reply, so that none is paid for twice.
        **options: the same options as after the question mark.

    Raises:
        BadInput: an unknown kind of model, option or name; the message lists the known ones.
    """
    scheme, _, rest = spec.strip().partition(":")
    if scheme not in _LOADERS or not rest:
        raise BadInput(
            f"{spec!r} does not name a model",
            where="model",
            fix="write one of " + ", ".join(f"{name}:..." for name in _LOADERS),
        )
    target, mark, query = rest.rpartition("?") if "?" in rest else (rest, "", "")
    given = _parse(query, spec) if mark else {}
    if "api_key" in given:
        raise BadInput(
            "a key does not belong into a model's name, which is written into every run",
            where="option api_key",
            fix="set OPENAI_API_KEY",
        )
    if twice := given.keys() & options.keys():
        raise BadInput(f"option {min(twice)} is given twice", where=spec)
    model = _LOADERS[scheme](target, spec, given | options)
    if cache is None:
        return model
    from planish.models.cache import CachedModel

    return CachedModel(model, cache)


def _parse(query: str, spec: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in query.split("&"):
        key, equals, value = item.partition("=")
        if not equals or not key or key in found:
            what = "is given twice" if key in found else "should read option=value"
            raise BadInput(f"{item!r} {what}", where=spec, fix="write ?option=value&option=value")
        found[key] = unquote(value)
    return found


def _checked(kind: type[O], options: dict[str, Any], spec: str) -> O:
    unknown = sorted(options.keys() - kind.model_fields.keys())
    if unknown:
        known = ", ".join(kind.model_fields) or "no options"
        raise BadInput(f"there is no option {unknown[0]!r}", where=spec, fix=f"known: {known}")
    try:
        return kind.model_validate(options)
    except ValidationError as error:
        raise BadInput(f"option {explain(error)}", where=spec) from None


def _local(target: str, spec: str, options: dict[str, Any]) -> LanguageModel:
    checked = _checked(_Remembering, options, spec)
    path = os.path.expanduser(target) if target.startswith("~") else target
    return _opened(path, f"hf:{target}", checked, spec)


def _opened(path: str, name: str, options: _Remembering, spec: str, **usual: int) -> LocalModel:
    dials = options.model_dump(include=set(MemoryOptions.model_fields), exclude_none=True)
    waiting = options.model_dump(include=set(HostOptions.model_fields), exclude_none=True)
    if (dials or waiting) and options.lookahead is None:
        raise BadInput(
            f"option {min(dials | waiting)!r} is of a memory, and there is none",
            where=spec,
            fix="add lookahead=DIR, the folder of an indexer",
        )
    host = HostOptions(**waiting)
    if options.lookahead is not None:
        indexer_path(options.lookahead)  # a name that is mistyped is told before a model is read
        with host.store():
            pass  # and a file that cannot be made
    from planish.models.local import LocalModel

    own = {**usual, **options.model_dump(include=set(_Local.model_fields), exclude_none=True)}
    model = LocalModel(path, name=name, **own)
    if options.lookahead is None:
        return model
    # The name tells these, because unlike the other options they change replies.
    memory = MemoryOptions(**dials)
    return LocalModel(
        path,
        name=f"{name}?{query(options.lookahead, memory)}",
        batch_size=model.batch_size,
        checkpoint=model.checkpoint,
        memory=open_memory(model.model, options.lookahead, memory, host),
    )


def _embedded(target: str, spec: str, options: dict[str, Any]) -> LanguageModel:
    checked = _checked(_Remembering, options, spec)
    known = sorted(config.parent.name for config in _EMBEDDED.glob("*/config.json"))
    if target not in known:
        raise BadInput(
            f"no model called {target!r} ships in the package",
            where=spec,
            fix=f"known: {', '.join(known) or 'none in this installation'}",
        )
    if _is_viewer(_EMBEDDED / target):
        _checked(_Options, options, spec)  # it has none
        from planish.models.viewer import ViewerModel

        viewer: LanguageModel = ViewerModel(_EMBEDDED / target, name=f"embedded:{target}")
        return viewer
    folder = str(_EMBEDDED / target)
    return _opened(folder, f"embedded:{target}", checked, spec, batch_size=_EMBEDDED_BATCH)


def _is_viewer(folder: Path) -> bool:
    return bool(json.loads((folder / "config.json").read_text())["model_type"] == _VIEWER)


def _openai(target: str, spec: str, options: dict[str, Any]) -> LanguageModel:
    checked = _checked(_Endpoint, options, spec)
    from planish.models.address import OPENAI_URL
    from planish.models.endpoint import EndpointModel

    # Model names may hold an @ of their own ("claude@20250101"), so the URL's scheme decides.
    at = re.search(r"@(?=https?://)", target)
    model, url = (target[: at.start()], target[at.end() :]) if at else (target, "")
    if not model or (not url and "@" in target):
        raise BadInput(
            f"{target!r} is not MODEL or MODEL@URL",
            where=spec,
            fix="write openai:MODEL@http://HOST:PORT/v1",
        )
    # The name leaves the options out: how many calls are in flight changes no reply, and the
    # reply cache goes by the name.
    return EndpointModel(
        model,
        url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL,
        name=f"openai:{target}",
        **checked.model_dump(),
    )


def _scripted(target: str, spec: str, options: dict[str, Any]) -> LanguageModel:
    if target not in SCRIPTS:
        raise BadInput(
            f"there is no script {target!r}", where=spec, fix=f"known: {', '.join(SCRIPTS)}"
        )
    kind, make = SCRIPTS[target]
    checked = _checked(kind, options, spec)
    identity = hashlib.sha256(f"{target} {checked.model_dump_json()}".encode())
    if pairs := getattr(checked, "pairs", None):
        with contextlib.suppress(OSError):  # reported, with its name, by whoever reads it
            identity.update(Path(pairs).expanduser().read_bytes())
    return ScriptedModel(spec, make(checked), revision=identity.hexdigest()[:16])


def _replay(target: str, spec: str, options: dict[str, Any]) -> LanguageModel:
    _checked(_Options, options, spec)
    return ReplayModel(os.path.expanduser(target), name=spec)


_LOADERS: dict[str, Callable[[str, str, dict[str, Any]], LanguageModel]] = {
    "hf": _local,
    "openai": _openai,
    "embedded": _embedded,
    "scripted": _scripted,
    "replay": _replay,
}
