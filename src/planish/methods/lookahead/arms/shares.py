"""Equal bytes: how many chunks an arm may keep once its own digests are paid for.

    >>> shape = Shape(num_layers=2, num_kv_heads=4, head_dim=32, element_bytes=4, chunk_tokens=16)
    >>> shape.dense(1024)
    2097152
    >>> affordable(shape, 0.1, prompt_tokens=1024, num_chunks=68, growth=0)
    6
    >>> affordable(shape, 0.1, prompt_tokens=1024, num_chunks=68, growth=0, digest=Digest(264))
    5

Bytes are of keys and values in the memory layers; what other layers hold is the same in all arms.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Digest", "Shape", "affordable", "growth"]


@dataclass(frozen=True)
class Shape:
    """The sizes of a cache.

    Args:
        num_layers: memory layers.
        num_kv_heads, head_dim: of keys and values.
        element_bytes: of one number.
        chunk_tokens: tokens of a chunk.
    """

    num_layers: int
    num_kv_heads: int
    head_dim: int
    element_bytes: int
    chunk_tokens: int

    @property
    def layer_token(self) -> int:
        """Bytes of the key and the value of a token in one layer."""
        return 2 * self.num_kv_heads * self.head_dim * self.element_bytes

    @property
    def token(self) -> int:
        """Bytes of a token in all memory layers."""
        return self.num_layers * self.layer_token

    @property
    def chunk(self) -> int:
        """Bytes of a chunk in all memory layers."""
        return self.chunk_tokens * self.token

    def dense(self, length: int) -> int:
        """Bytes of a history of `length` tokens that keeps everything."""
        return length * self.token


@dataclass(frozen=True)
class Digest:
    """What an arm holds on the device to choose by, in bytes.

    Args:
        per_chunk: of every chunk of the history.
        per_absent_chunk: of every chunk that is not resident anyway.
        ahead: room is made for an eighth more chunks than there are, eight at least.
    """

    per_chunk: int = 0
    per_absent_chunk: int = 0
    ahead: bool = False

    def fixed(self, num_chunks: int) -> int:
        """Bytes that do not depend on what is resident."""
        held = max(num_chunks + 8, num_chunks * 9 // 8) if self.ahead else num_chunks
        return held * self.per_chunk


def growth(interval: int, chunk_tokens: int) -> int:
    """Tokens that lie on the device beside the chosen chunks at most, between two decisions.

    The last chunk is not complete, and nothing is evicted before the next decision.
    """
    return interval + chunk_tokens - 1


def affordable(
    shape: Shape,
    fraction: float,
    *,
    prompt_tokens: int,
    num_chunks: int,
    growth: int,
    digest: Digest = Digest(),
) -> int | None:
    """Chunks that may be resident so that chunks, digests and growth never exceed the share.

    Ours.

    Args:
        fraction: of the dense bytes of the prompt, which are the smallest of the decode.
        prompt_tokens: tokens of the prompt.
        num_chunks: complete chunks at the end of decoding, where digests are largest.
        growth: tokens beside the chunks; see `growth`.

    Returns:
        None where not even one chunk can be paid for.
    """
    room = int(fraction * shape.dense(prompt_tokens)) - growth * shape.token
    room -= digest.fixed(num_chunks) + num_chunks * digest.per_absent_chunk
    price = shape.chunk - digest.per_absent_chunk
    if price <= 0:  # what is resident is held as a digest already
        return num_chunks if room >= 0 and num_chunks else None
    chunks = min(room // price, num_chunks)
    return chunks if chunks > 0 else None
