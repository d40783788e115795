"""A model that decodes within a memory budget: nothing is patched for good.

    with lookahead(model, indexer, Budget(max_chunks=256)) as session:
        model.generate(**inputs, max_new_tokens=512)
    session.windows[-1].bytes

Inside, `generate` makes a `LookaheadCache` by itself. After the first one-token forward pass behind
a prompt, and then every `interval` tokens, the scorer is asked, and the new set acts from the next
token. Where tokens are drafted, the first one of a pass is asked for, which is never taken back.
A forward pass over more than `dense_queries` new tokens sees the whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import GenerationMixin

from planish.errors import BadInput
from planish.models.memory.backbone import Backbone, entering
from planish.models.memory.budget import Budget
from planish.models.memory.deepseek import DeepseekMemory
from planish.models.memory.native_topk import is_deepseek
from planish.models.memory.scoring import ChunkScorer, IndexerScorer
from planish.models.memory.session import Session, Watcher, unsupported
from planish.models.memory.store import HostStore

if TYPE_CHECKING:
    from planish.models.memory.indexer import MemoryIndexer

__all__ = ["CHUNK_TOKENS", "Session", "lookahead"]

CHUNK_TOKENS = 64
"""Tokens of a chunk where neither the scorer nor the caller says."""


@contextmanager
def lookahead(
    model: Any,
    scorer: ChunkScorer | MemoryIndexer,
    budget: Budget,
    *,
    store: HostStore | None = None,
    on_window: Watcher | None = None,
    chunk_tokens: int | None = None,
) -> Iterator[Session]:
    """Within it, the model keeps on the device only the chunks that the scorer asks for.

    DeepSeek-V4 has compressed attention of its own: there the session is a `DeepseekMemory`, which
    takes an indexer in the published format and has `windows`, `fallbacks` and `new_cache`, too.

    Args:
        model: a causal language model of transformers, with "sdpa" or "eager" attention.
        scorer: a trained indexer, or anything that scores chunks.
        budget: how much may stay, and how often that is decided.
        store: where the rest goes; by default memory without a cap.
        on_window: called with each record.
        chunk_tokens: of a chunk; by default the indexer's, or `CHUNK_TOKENS`.

    Raises:
        BadInput: the model, its attention or a cache that it is given is not supported; the
            scorer does not fit the model; sinks and recent window are above the cap; the store
            is full.
    """
    if is_deepseek(model):
        compressed: Any = _compressed(model, scorer, budget, store, on_window, chunk_tokens)
        with compressed:
            yield compressed
        return
    if not isinstance(scorer, ChunkScorer):
        chunk_tokens = scorer.config.chunk_tokens if chunk_tokens is None else chunk_tokens
        scorer = IndexerScorer(scorer)
    backbone = Backbone.of(model)
    how = backbone.decoder.config._attn_implementation
    if how not in ("sdpa", "eager"):
        raise BadInput(
            f"attention {how!r} takes no mask of chunks",
            where=type(model).__name__,
            fix='load the model with attn_implementation="sdpa"',
        )
    session = Session(backbone, scorer, budget, chunk_tokens or CHUNK_TOKENS, store, on_window)
    with ExitStack() as stack:
        _hook(session, stack)
        for module in model.modules():
            if isinstance(module, GenerationMixin):
                _give_cache(module, session, stack)
        stack.callback(session.leave)
        yield session


def _compressed(
    model: Any,
    scorer: ChunkScorer | MemoryIndexer,
    budget: Budget,
    store: HostStore | None,
    on_window: Watcher | None,
    chunk_tokens: int | None,
) -> DeepseekMemory:
    where = type(model).__name__
    indexer = scorer.indexer if isinstance(scorer, IndexerScorer) else scorer
    if isinstance(indexer, ChunkScorer):
        raise BadInput(
            f"DeepSeek-V4's compressed entries are not scored by {indexer.name}",
            where=where,
            fix="give an indexer in the published format: MemoryIndexer.from_pretrained(FILE)",
        )
    if store is not None:
        raise BadInput(
            "DeepSeek-V4's compressed entries stay where transformers puts them",
            where="host store",
            fix="give no store",
        )
    memory = DeepseekMemory(model, indexer, budget, on_window=on_window)
    if chunk_tokens not in (None, memory.chunk_tokens):
        raise BadInput(
            f"a chunk of this model is {memory.chunk_tokens} tokens, not {chunk_tokens}",
            where=where,
            fix="leave chunk_tokens out",
        )
    return memory


def _hook(session: Session, stack: ExitStack) -> None:
    """Hooks on the decoder and on the attention modules that are scored."""
    decoder = session.backbone.decoder

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return args, session.before(args, kwargs)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        session.after()

    def keeper(layer: int) -> Callable[..., None]:
        def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            session.keep(layer, entering(args, kwargs))

        return keep

    handles = [
        decoder.register_forward_pre_hook(before, with_kwargs=True),
        decoder.register_forward_hook(after),
    ]
    for handle in handles:
        stack.callback(handle.remove)
    for layer in session.scorer.layers:
        attention = session.backbone.attention(layer)
        handle = attention.register_forward_pre_hook(keeper(layer), with_kwargs=True)
        stack.callback(handle.remove)


def _give_cache(module: Any, session: Session, stack: ExitStack) -> None:
    """Lets `generate` make our cache, as long as the stack lasts."""
    prepare = module._prepare_cache_for_generation

    def prepare_ours(config: Any, model_kwargs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if model_kwargs.get("past_key_values") is None:
            if config.cache_implementation not in (None, "dynamic"):
                raise unsupported(f"cache_implementation={config.cache_implementation!r}")
            if config.use_cache is False:
                raise BadInput(
                    "use_cache=False leaves nothing to keep", where="lookahead", fix="leave it out"
                )
            cache = session.new_cache()
            if config.is_assistant:
                cache.activate_past_recording()
            config.cache_implementation = None
            model_kwargs["past_key_values"] = cache
        return prepare(config, model_kwargs, *args, **kwargs)

    name = "_prepare_cache_for_generation"
    before = module.__dict__.get(name)
    setattr(module, name, prepare_ours)
    if before is None:
        stack.callback(delattr, module, name)
    else:  # within another session
        stack.callback(setattr, module, name, before)
