"""What a memory has to know of a model: its full-attention layers, their queries and rotation.

    backbone = Backbone.of(model)
    with backbone.capture(backbone.memory_layers) as hidden:
        model(ids_BT)
    queries = backbone.queries(layer, hidden[layer], positions_BT)
    backbone.attention_weights(layer, queries, keys_BKLD, allowed_BTL)

Nothing here knows an architecture by name: queries are read from the module's own code (`probe`),
rotations are compared with what the module does (`rotary`), and what does not agree is refused.
Ours.

Shape suffixes: B rows, T tokens, L history, E hidden, H heads, K key/value heads, G query heads
of one key/value head, D head width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from planish.errors import BadInput
from planish.models.memory.native_topk import is_deepseek
from planish.models.memory.probe import Call, probe
from planish.models.memory.rotary import Rotary

__all__ = ["Backbone", "entering"]

# What attention functions get; of anything else we cannot know what it does to the weights.
_KNOWN_OPTIONS = {"scaling", "softcap", "s_aux", "dropout", "sliding_window", "is_causal"}
_SAMPLED = 256
_EMBEDDED = 1024
_FIX = "use a model with ordinary full-attention layers, such as Llama, Qwen3, Gemma or GPT-OSS"
_FIX_COMPRESSED = (
    "the stages of planish lookahead take it, commands of other rooms by ?lookahead=FILE in the "
    "model's name, and from Python `with lookahead(model, MemoryIndexer.from_pretrained(FILE), "
    "budget)`, or `Entries(model)` in place of a `Backbone`"
)


class Backbone:
    """A causal language model of transformers, seen from its memory.

    Build it with `Backbone.of`.

    Attributes:
        model: the model itself, never changed.
        decoder: the base model, whose forward pass takes the attention mask.
        memory_layers: full-attention layers, which hold the long memory.
        num_layers: all layers.
        hidden_size: E.
        num_heads: H of the memory layers.
        num_kv_heads: K of the memory layers.
        head_dim: D of the memory layers' keys and values.
    """

    def __init__(self, model: Any, decoder: Any, memory_layers: tuple[int, ...]) -> None:
        self.model = model
        self.decoder: Any = decoder
        self.memory_layers = memory_layers
        self.num_layers = len(decoder.layers)
        self.hidden_size = int(decoder.config.hidden_size)
        self._rotaries: dict[int, Rotary] = {}
        self._calls: dict[int, Call] = {}
        for layer in memory_layers:
            self._rotaries[layer], self._calls[layer] = self._examine(layer)
        shapes = {(c.queries.shape[1], *c.keys.shape[1::2]) for c in self._calls.values()}
        if len(shapes) > 1:
            raise self._refusal("its full-attention layers have heads of different shapes")
        self.num_heads, self.num_kv_heads, self.head_dim = shapes.pop()

    @classmethod
    def of(cls, model: Any) -> Backbone:
        """Looks at a model, and tries two tokens in each of its full-attention layers.

        Raises:
            BadInput: there is no full-attention layer, or one whose keys a memory cannot serve:
                latent, recurrent or shared ones, or rotations that depend on the length.
        """
        decoder = model.get_decoder() if hasattr(model, "get_decoder") else model
        return cls(model, decoder, _memory_layers(decoder))

    def attention(self, layer: int) -> nn.Module:
        """The attention module of a layer."""
        module: nn.Module = self.decoder.layers[layer].self_attn
        return module

    def uses_rope(self, layer: int) -> bool:
        """Whether a memory layer's keys depend on their position."""
        return self._rotary(layer).active

    def rotate(
        self, layer: int, states_BHLD: Tensor, positions_BL: Tensor, inverse: bool = False
    ) -> Tensor:
        """Turns states as the layer turns keys and queries, or turns cached keys back.

        Layers without positions leave them alone. See `Rotary.rotate` for precision.

        Args:
            layer: a memory layer.
            states_BHLD: keys or queries of any number of heads.
            positions_BL: position of each; no padding counted.
            inverse: undo the rotation, attention factors included.
        """
        return self._rotary(layer).rotate(states_BHLD, positions_BL, inverse=inverse)

    def queries(self, layer: int, hidden_BTE: Tensor, positions_BT: Tensor) -> Tensor:
        """Queries [B,H,T,D] as the layer makes them: normed, rotated, in the model's dtype.

        Args:
            layer: a memory layer.
            hidden_BTE: what enters the layer's attention module; see `capture`.
            positions_BT: position of each token; no padding counted.
        """
        return self._probe(layer, hidden_BTE, positions_BT).queries

    def keys(self, layer: int, hidden_BTE: Tensor, positions_BT: Tensor) -> Tensor:
        """Keys [B,K,T,D] as the layer caches them. Arguments as of `queries`."""
        return self._probe(layer, hidden_BTE, positions_BT).keys

    @torch.no_grad()
    def attention_weights(
        self, layer: int, queries_BHTD: Tensor, keys_BKLD: Tensor, allowed_BTL: Tensor
    ) -> Tensor:
        """Attention weights [B,H,T,L] in float32, with the layer's scaling, cap and sinks.

        Where the layer has sinks the weights of a token add up to less than one. A token that
        may look at nothing has only zeros.

        Args:
            layer: a memory layer.
            queries_BHTD: from `queries`.
            keys_BKLD: rotated, as cached.
            allowed_BTL: True where a token may look; causality and padding are the caller's.
        """
        self._rotary(layer)  # refuses what is no memory layer
        options = self._calls[layer].options
        rows, heads, tokens, width = queries_BHTD.shape
        kv_heads, length = keys_BKLD.shape[1:3]
        queries_BKGTD = queries_BHTD.float().view(rows, kv_heads, heads // kv_heads, tokens, width)
        # Grouped, so that the keys of a long history are never repeated for each query head.
        logits = torch.einsum("bkgtd,bkld->bkgtl", queries_BKGTD, keys_BKLD.float())
        scaling = float(options.get("scaling", width**-0.5))
        logits_BHTL = logits.reshape(rows, heads, tokens, length) * scaling
        if "softcap" in options:
            logits_BHTL = torch.tanh(logits_BHTL / options["softcap"]) * options["softcap"]
        forbidden = ~allowed_BTL[:, None]
        logits_BHTL = logits_BHTL.masked_fill(forbidden, torch.finfo(torch.float32).min)
        if "s_aux" in options:
            sinks_H = options["s_aux"].to(logits_BHTL)
            sinks_BHT1 = sinks_H.view(1, -1, 1, 1).expand(rows, heads, tokens, 1)
            logits_BHTL = torch.cat((logits_BHTL, sinks_BHT1), dim=-1)
        weights_BHTL = torch.softmax(logits_BHTL, dim=-1)[..., :length]
        return weights_BHTL.masked_fill(forbidden, 0.0)

    @contextmanager
    def capture(self, layers: Iterable[int]) -> Iterator[dict[int, Tensor]]:
        """Yields a dict that each forward pass fills anew: layer to hidden_BTE of its tokens.

        What enters the attention modules is kept, detached, not copied. The hooks are gone
        afterwards, also after an exception.
        """
        hidden: dict[int, Tensor] = {}
        with ExitStack() as stack:
            for layer in layers:
                hook = _keeper(hidden, layer)
                handle = self.attention(layer).register_forward_pre_hook(hook, with_kwargs=True)
                stack.callback(handle.remove)
            yield hidden

    def fingerprint(self) -> dict[str, Any]:
        """What an indexer must agree with: architecture, sizes, layers and hashes of weights.

        Hashes are over samples of weights, rounded to bfloat16: the same weights saved in float32
        and in bfloat16 have the same ones. Float16 and quantised copies have their own. "weights"
        is of the memory layers' attention; "states" is of all that makes the hidden states there:
        embeddings, norms, attention and MLPs up to the last memory layer. Indexers and dumps from
        before it hold the first alone. What comes behind, the last norm and the head, may differ:
        an indexer never sees it.

        Raises:
            BadInput: weights are not in memory, so that they cannot be compared.
        """
        return {
            "architecture": self.decoder.config.model_type,
            "hidden_size": self.hidden_size,
            "num_layers": self.num_layers,
            "memory_layers": list(self.memory_layers),
            "num_heads": self.num_heads,
            "num_kv_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "weights": self._hash(self._attending()),
            "states": self._hash(self._below()),
        }

    # -- how it was found ---------------------------------------------------------------------

    def _examine(self, layer: int) -> tuple[Rotary, Call]:
        """Two tokens at position 0 and further on tell how the layer treats positions."""
        attention = self.attention(layer)
        weight = next(attention.parameters())
        generator = torch.Generator().manual_seed(layer)
        hidden_BTE = torch.randn(1, 2, self.hidden_size, generator=generator)
        dtype = weight.dtype if weight.is_floating_point() else self.model.dtype
        hidden_BTE = hidden_BTE.to(weight.device, dtype)
        positions_BT = torch.tensor([[3, 41]], device=weight.device)
        self._rotaries[layer] = rotary = Rotary.of(self.decoder, attention, layer)
        try:
            call = self._probe(layer, hidden_BTE, positions_BT)
            start = self._probe(layer, hidden_BTE, torch.zeros_like(positions_BT))
        except BadInput:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise self._refusal(f"its layer {layer} cannot be tried alone ({error})") from error
        unknown = sorted(set(call.options) - _KNOWN_OPTIONS)
        if unknown:
            raise self._refusal(f"its layer {layer} attends by {', '.join(unknown)} too")
        if call.keys.shape != call.values.shape:
            raise self._refusal(f"keys and values of its layer {layer} differ in shape")
        matching = rotary.matching(start.keys, call.keys, positions_BT)
        if matching is None:
            raise self._refusal(f"its layer {layer} rotates keys in a way that is not known")
        return matching, call

    def _probe(self, layer: int, hidden_BTE: Tensor, positions_BT: Tensor) -> Call:
        rotary = self._rotary(layer)
        turned = rotary.embeddings(hidden_BTE, positions_BT)
        call = probe(self.attention(layer), hidden_BTE, turned, positions_BT)
        if call is None:
            raise self._refusal(f"its layer {layer} does not call an attention function")
        return call

    def _rotary(self, layer: int) -> Rotary:
        if layer not in self._rotaries:
            raise BadInput(
                f"layer {layer} is no memory layer",
                where=type(self.model).__name__,
                fix=f"memory layers are {', '.join(map(str, self.memory_layers))}",
            )
        return self._rotaries[layer]

    def _refusal(self, what: str) -> BadInput:
        return BadInput(what, where=type(self.model).__name__, fix=_FIX)

    def _attending(self) -> Iterator[tuple[str, Tensor]]:
        """Weights of the memory layers' attention; the names are those of indexers that ship."""
        for layer in self.memory_layers:
            for name, weight in sorted(self.attention(layer).named_parameters()):
                yield f"{layer}.{name}{tuple(weight.shape)}", weight

    def _below(self) -> Iterator[tuple[str, Tensor]]:
        """Weights that hidden states of memory layers depend on."""
        for name, weight in sorted(self.decoder.get_input_embeddings().named_parameters()):
            # A vocabulary that was made longer is the same one: only its first rows are looked at.
            yield f"embeddings.{name}{tuple(weight.shape[1:])}", weight[:_EMBEDDED]
        for layer in range(self.memory_layers[-1] + 1):
            for name, weight in sorted(self.decoder.layers[layer].named_parameters()):
                yield f"{layer}.{name}{tuple(weight.shape)}", weight

    @torch.no_grad()
    def _hash(self, named: Iterable[tuple[str, Tensor]]) -> str:
        digest = hashlib.sha256()
        for name, weight in named:
            if weight.is_meta:
                raise BadInput(
                    f"weight {name} is not in memory",
                    where=type(self.model).__name__,
                    fix="load the model without offloading to disk",
                )
            flat = weight.detach().reshape(-1)
            sample = flat[:: max(1, flat.numel() // _SAMPLED)]
            rounded = sample.to(torch.bfloat16).cpu().contiguous().view(torch.int16)
            digest.update(name.encode())
            digest.update(rounded.numpy().tobytes())
        return digest.hexdigest()[:16]


def entering(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """What enters an attention module, hidden_BTE, of the arguments of its forward pass."""
    states: Tensor = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
    return states


def _keeper(hidden: dict[int, Tensor], layer: int) -> Any:
    def keep(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        hidden[layer] = entering(args, kwargs).detach()

    return keep


def _memory_layers(decoder: Any) -> tuple[int, ...]:
    """Layers whose cache transformers lets grow with the text.

    Raises:
        BadInput: there are none, or some whose state is neither a growing cache nor a window.
    """
    where, config = type(decoder).__name__, decoder.config
    if getattr(config, "kv_lora_rank", None):
        raise BadInput("it caches latent keys, not those of its heads", where=where, fix=_FIX)
    if getattr(config, "num_kv_shared_layers", 0):
        raise BadInput("some of its layers share their keys", where=where, fix=_FIX)
    layers = getattr(decoder, "layers", ())
    if not layers or not all(hasattr(layer, "self_attn") for layer in layers):
        raise BadInput("not every layer has an attention module of its own", where=where, fix=_FIX)
    kinds = [type(layer) for layer in DynamicCache(config=config).layers]
    other = sorted(
        {k.__name__ for k in kinds if k not in (DynamicLayer, DynamicSlidingWindowLayer)}
    )
    if other:
        fix = _FIX_COMPRESSED if is_deepseek(decoder) else _FIX
        raise BadInput(f"it keeps its past in {', '.join(other)}", where=where, fix=fix)
    memory = tuple(index for index, kind in enumerate(kinds) if kind is DynamicLayer)
    if not memory:
        raise BadInput("all of its layers see a sliding window only", where=where, fix=_FIX)
    return memory
