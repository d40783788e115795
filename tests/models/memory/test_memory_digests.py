"""Records keep what float8 can, never a number that is none; pooling never counts padding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from planish.errors import BadInput
from planish.models.memory.digests import RECORD_BYTES, WIDTH, Pooling, pack, pool, unpack
from support import published

LARGEST = float(torch.finfo(torch.float32).max)
seeds = st.integers(0, 1000)


def _keys(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, WIDTH, generator=torch.Generator().manual_seed(seed))


@given(seed=seeds, exponent=st.integers(-100, 120), shape=st.sampled_from([(), (3,), (2, 3)]))
@settings(max_examples=40)
def test_a_record_keeps_three_bits_of_fraction(
    seed: int, exponent: int, shape: tuple[int, ...]
) -> None:
    keys = _keys(seed, *shape) * 2.0**exponent
    records = pack(keys)
    assert records.dtype == torch.uint8
    assert records.shape == (*shape, RECORD_BYTES)
    found = unpack(records)
    assert found.dtype == torch.float32
    # Half of the last bit of a number, or of the smallest that float8 has beside the largest key.
    smallest = keys.abs().amax(-1, keepdim=True) / 448 * 2**-9
    bound = (keys.abs() * 2**-4).maximum(smallest / 2) * 1.001
    assert bool(((found - keys).abs() <= bound).all())
    assert torch.equal(found.sign() * keys.sign(), found.sign().abs())


@given(seed=seeds)
@settings(max_examples=20)
def test_packing_again_changes_nothing(seed: int) -> None:
    once = unpack(pack(_keys(seed, 4)))
    torch.testing.assert_close(unpack(pack(once)), once, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_keys_of_any_float_type(dtype: torch.dtype) -> None:
    keys = _keys(0, 2).to(dtype)
    assert torch.equal(pack(keys), pack(keys.float()))


def test_the_record_is_the_published_one() -> None:
    records = pack(_keys(5, 6))
    for record, keys in zip(records.numpy(), unpack(records).numpy(), strict=True):
        np.testing.assert_allclose(published._unpacked(record), keys, rtol=1e-6)
        assert record[WIDTH:].copy().view("<f4")[0] > 0


def test_every_byte_is_read_as_published_or_refused() -> None:
    for byte in range(256):
        record = torch.full((1, RECORD_BYTES), byte, dtype=torch.uint8)
        record[0, WIDTH:] = torch.tensor([0.5]).view(torch.uint8)
        if byte & 0x7F == 0x7F:
            with pytest.raises(BadInput, match="not finite"):
                unpack(record)
        else:
            expected = published._unpacked(record[0].numpy())
            assert unpack(record)[0].tolist() == expected.tolist()


@pytest.mark.parametrize("largest", [0.0, 1e-45, 1e-42, 1e-38, 1e-35, 1e30, LARGEST])
def test_zeros_and_the_ends_of_the_range_stay_numbers(largest: float) -> None:
    keys = torch.zeros(2, WIDTH)
    keys[0, 3], keys[0, 4] = largest, -largest / 2
    found = unpack(pack(keys))
    assert bool(found.isfinite().all())
    assert not bool(found[1].any())
    assert not bool(found[0, 5:].any())
    if largest >= 1e-35:
        torch.testing.assert_close(found, keys, rtol=1e-4, atol=0)
    else:
        assert float((found - keys).abs().max()) <= 1e-38


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_keys_that_are_no_numbers_are_refused(number: float) -> None:
    keys = _keys(0, 2, 3)
    keys[1, 2, 7] = number
    with pytest.raises(BadInput, match="not finite"):
        pack(keys)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_scales_that_are_no_numbers_are_refused(number: float) -> None:
    records = pack(_keys(0, 2, 3))
    records[1, 2, WIDTH:] = torch.tensor([number]).view(torch.uint8)
    with pytest.raises(BadInput, match="not finite"):
        unpack(records)


@pytest.mark.parametrize("width", [0, 127, 129, RECORD_BYTES])
def test_keys_of_another_width_are_refused(width: int) -> None:
    with pytest.raises(BadInput, match=f"{width} wide, not 128"):
        pack(torch.zeros(2, width))


@pytest.mark.parametrize(
    "records",
    [
        torch.zeros(2, 128, dtype=torch.uint8),
        torch.zeros(2, 136, dtype=torch.uint8),
        torch.zeros(2, RECORD_BYTES, dtype=torch.int8),
        torch.zeros(2, RECORD_BYTES),
    ],
    ids=["narrow", "wide", "signed", "floats"],
)
def test_records_of_another_form_are_refused(records: torch.Tensor) -> None:
    with pytest.raises(BadInput, match="give uint8 of 132"):
        unpack(records)


@given(
    rows=st.integers(0, 3),
    before=st.integers(0, 9),
    behind=st.integers(0, 9),
    step=st.integers(1, 3),
    seed=seeds,
)
@settings(max_examples=40)
def test_records_may_lie_anywhere_in_something_wider(
    rows: int, before: int, behind: int, step: int, seed: int
) -> None:
    records = pack(_keys(seed, rows))
    wide = torch.zeros(rows * step, before + RECORD_BYTES + behind, dtype=torch.uint8)
    part = wide[::step, before : before + RECORD_BYTES]
    part.copy_(records)
    assert torch.equal(unpack(part), unpack(records))
    if rows:
        assert torch.equal(unpack(part[0]), unpack(records[0]))
        turned = part.T.contiguous().T  # no two bytes of a record are neighbours
        assert torch.equal(unpack(turned), unpack(records))


def test_an_odd_address_is_read() -> None:
    records = pack(_keys(1, 2))
    raw = bytearray(b"\0" + records.numpy().tobytes())
    found = torch.frombuffer(raw, dtype=torch.uint8, offset=1).view(2, RECORD_BYTES)
    assert torch.equal(unpack(found), unpack(records))


def test_no_records_are_no_keys() -> None:
    assert unpack(pack(torch.zeros(2, 0, WIDTH))).shape == (2, 0, WIDTH)


# -- pooling ------------------------------------------------------------------------------------


@given(
    rows=st.integers(1, 3),
    heads=st.integers(1, 2),
    chunks=st.integers(0, 3),
    chunk=st.integers(1, 4),
    width=st.integers(1, 3),
    kind=st.sampled_from(["whole", "left", "any", "none"]),
    pooling=st.sampled_from(["mean", "mean-min-max"]),
    seed=seeds,
)
@settings(max_examples=60)
def test_pooling_by_hand(
    rows: int, heads: int, chunks: int, chunk: int, width: int, kind: str, pooling: Pooling,
    seed: int,
) -> None:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)
    length = chunks * chunk
    keys = torch.randn(rows, heads, length, width, generator=generator)
    padding = torch.randint(0, length + 1, (rows, 1), generator=generator)
    valid = {
        "whole": torch.ones(rows, length, dtype=torch.bool),
        "left": torch.arange(length)[None] >= padding,
        "any": torch.rand(rows, length, generator=generator) < 0.5,
        "none": torch.zeros(rows, length, dtype=torch.bool),
    }[kind]
    # What padding holds is nobody's business, not even where it is no number.
    keys = keys.masked_fill(~valid[:, None, :, None], math.nan)
    found = pool(keys, valid, chunk, pooling)
    parts: list[Any] = [np.mean] if pooling == "mean" else [np.mean, np.min, np.max]
    assert found.shape == (rows, chunks, len(parts) * heads * width)
    assert found.dtype == torch.float32
    for b in range(rows):
        for c in range(chunks):
            tokens = [t for t in range(c * chunk, (c + 1) * chunk) if valid[b, t]]
            expected = [
                part([float(keys[b, k, t, d]) for t in tokens]) if tokens else 0.0
                for part in parts
                for k in range(heads)
                for d in range(width)
            ]
            np.testing.assert_allclose(found[b, c].numpy(), expected, atol=1e-6)


def test_keys_of_half_precision_are_pooled_in_float32() -> None:
    keys = torch.full((1, 1, 4096, 1), 1.0).bfloat16()
    keys[0, 0, 0] = 1024
    found = pool(keys, torch.ones(1, 4096, dtype=torch.bool), 4096, "mean")
    assert float(found) == pytest.approx((4095 + 1024) / 4096)


def test_chunks_that_are_not_whole_and_unknown_poolings_are_refused() -> None:
    keys, valid = torch.zeros(1, 1, 10, 2), torch.ones(1, 10, dtype=torch.bool)
    with pytest.raises(BadInput, match="10 tokens are no whole chunks of 4"):
        pool(keys, valid, 4, "mean")
    pooling: Any = "median"
    with pytest.raises(BadInput, match="no pooling is called 'median'; use mean or mean-min-max"):
        pool(keys, valid, 5, pooling)
