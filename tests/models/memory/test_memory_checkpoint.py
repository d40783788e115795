"""Files of indexers: every fault is named by its key, and a failing disk leaves the old ones."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from planish.errors import BadInput
from planish.models.memory.checkpoint import SETTINGS, WEIGHTS
from planish.models.memory.indexer import IndexerConfig, MemoryIndexer
from support import published
from support.published import Sizes

E, R, H, F = 12, 5, 2, 8
LAYERS = ("l3", "l10")
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> Tensors:
    """Of a published file."""
    folder = tmp_path_factory.mktemp("published")
    sizes = Sizes(hidden=E, rank=R, heads=H, chunks=3, rows=1, layers=LAYERS)
    return load_file(published.write(folder / "file.safetensors", sizes, seed=0))


@pytest.fixture
def save(tmp_path: Path, tensors: Tensors) -> Callable[..., Path]:
    """Writes the published file with changes: a tensor, or None for a key to leave out."""

    def saved(changes: dict[str, torch.Tensor | None], name: str = "file.safetensors") -> Path:
        kept = {**tensors, **changes}
        save_file({key: x for key, x in kept.items() if x is not None}, str(tmp_path / name))
        return tmp_path / name

    return saved


def _ours(seed: int = 0, **changes: Any) -> MemoryIndexer:
    sizes = {"hidden_size": E, "rank": R, "num_heads": H, "features": F, "chunk_tokens": 16}
    return MemoryIndexer.new(IndexerConfig(**{**sizes, **changes}), LAYERS, seed=seed)


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# -- reading ------------------------------------------------------------------------------------


def test_sizes_are_told_by_shapes_and_weights_become_float32(
    save: Callable[..., Path], tensors: Tensors
) -> None:
    indexer = MemoryIndexer.from_pretrained(save({}))
    config = indexer.config
    assert (config.hidden_size, config.rank, config.num_heads) == (E, R, H)
    assert (config.features, config.chunk_tokens, config.backbone) == (0, 4, {})
    assert indexer.layers == LAYERS  # by number, not by letter
    assert {parameter.dtype for parameter in indexer.parameters()} == {torch.float32}
    weight: Any = indexer.retrievers["l10"].query.wq_a.weight  # type: ignore[union-attr]
    assert torch.equal(weight, tensors["retrievers.l10.wq_a.weight"].float())
    assert not indexer.training


@pytest.mark.parametrize("shape", [(), (1,)])
def test_a_bias_may_be_in_a_published_file(
    save: Callable[..., Path], shape: tuple[int, ...]
) -> None:
    bias = torch.full(shape, -1.5)
    indexer = MemoryIndexer.from_pretrained(save({"retrievers.l3.bias": bias}))
    weights = indexer.state_dict()
    found = [float(weights[f"retrievers.{layer}.bias"]) for layer in LAYERS]
    assert found == [-1.5, 0.0]


def test_examples_are_ignored_whatever_they_are(save: Callable[..., Path]) -> None:
    examples = {
        "io.other": torch.zeros(2, dtype=torch.int64),
        "io.hidden": None,
        "io.positions": None,
    }
    assert MemoryIndexer.from_pretrained(save(examples)).layers == LAYERS


def test_a_folder_with_one_file_of_any_name(save: Callable[..., Path]) -> None:
    folder = save({}).parent
    assert MemoryIndexer.from_pretrained(folder).layers == LAYERS
    assert MemoryIndexer.from_pretrained(str(folder)).config.published
    save({}, "another.safetensors")
    with pytest.raises(BadInput, match="holds 2 safetensors files"):
        MemoryIndexer.from_pretrained(folder)


NAMES = ("wq_a.weight", "wq_b.weight", "q_norm_weight", "weights_proj.weight")


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_key_is_named(save: Callable[..., Path], name: str) -> None:
    path = save({f"retrievers.l10.{name}": None})
    with pytest.raises(BadInput, match=re.escape(f"retrievers.l10.{name} is missing")) as caught:
        MemoryIndexer.from_pretrained(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "key", ["retrievers.l10.wk.weight", "retrievers.wq_a.weight", "model.embed", "io", "xio.a"]
)
def test_an_extra_key_is_named(save: Callable[..., Path], key: str) -> None:
    with pytest.raises(BadInput, match=re.escape(f"unknown key '{key}'")):
        MemoryIndexer.from_pretrained(save({key: torch.zeros(2, 2)}))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("wq_a.weight", (R,)),
        ("wq_a.weight", (R, E, 1)),
        ("wq_a.weight", (0, E)),
        ("wq_b.weight", (H * 128, R + 1)),
        ("wq_b.weight", (H * 64, R)),
        ("wq_b.weight", (R, H * 128)),
        ("q_norm_weight", (R + 1,)),
        ("q_norm_weight", (1, R)),
        ("weights_proj.weight", (H,)),
        ("weights_proj.weight", (H, E + 1)),
        ("weights_proj.weight", (0, E)),
        ("bias", (2,)),
        ("bias", (0,)),
    ],
    ids=str,
)
def test_a_misshapen_key_is_named(
    save: Callable[..., Path], name: str, shape: tuple[int, ...]
) -> None:
    path = save({f"retrievers.l10.{name}": torch.zeros(shape)})
    expected = re.escape(f"retrievers.l10.{name} has shape {list(shape)}")
    with pytest.raises(BadInput, match=expected + ".*it should be"):
        MemoryIndexer.from_pretrained(path)


@pytest.mark.parametrize("shape", [(128,), (64, F), (128, 0), (128, F, 1)], ids=str)
def test_a_misshapen_chunk_tower_is_named(tmp_path: Path, shape: tuple[int, ...]) -> None:
    folder = _ours().save_pretrained(tmp_path)
    kept = load_file(folder / WEIGHTS) | {"retrievers.l10.chunk.weight": torch.zeros(shape)}
    save_file(kept, str(folder / WEIGHTS))
    with pytest.raises(BadInput, match=r"retrievers\.l10\.chunk\.weight has shape"):
        MemoryIndexer.from_pretrained(folder)


@pytest.mark.parametrize("name", [*NAMES, "bias"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named(
    save: Callable[..., Path], tensors: Tensors, name: str, number: float
) -> None:
    key = f"retrievers.l3.{name}"
    broken = tensors.get(key, torch.zeros(1)).clone()
    broken.view(-1)[-1] = number
    with pytest.raises(BadInput, match=re.escape(f"{key} is not finite")):
        MemoryIndexer.from_pretrained(save({key: broken}))


def test_layers_of_different_sizes_are_named(save: Callable[..., Path]) -> None:
    other = {
        "retrievers.l10.wq_a.weight": torch.zeros(R + 1, E),
        "retrievers.l10.wq_b.weight": torch.zeros(H * 128, R + 1),
        "retrievers.l10.q_norm_weight": torch.zeros(R + 1),
    }
    with pytest.raises(BadInput, match=r"l10.*l3|l3.*l10"):
        MemoryIndexer.from_pretrained(save(other))


def test_a_tower_in_one_layer_only_is_refused(tmp_path: Path) -> None:
    folder = _ours().save_pretrained(tmp_path)
    kept = load_file(folder / WEIGHTS)
    del kept["retrievers.l3.chunk.weight"]
    save_file(kept, str(folder / WEIGHTS))
    with pytest.raises(BadInput, match="features"):
        MemoryIndexer.from_pretrained(folder)


def test_what_is_no_indexer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such indexer"):
        MemoryIndexer.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(BadInput, match="holds no indexer; name the folder"):
        MemoryIndexer.from_pretrained(tmp_path)
    path = tmp_path / "file.safetensors"
    for broken in (b"", b"\x08", b"no safetensors at all"):
        path.write_bytes(broken)
        with pytest.raises(BadInput, match="cannot be read as safetensors"):
            MemoryIndexer.from_pretrained(path)
    save_file({"io.hidden": torch.zeros(1)}, str(path))
    with pytest.raises(BadInput, match="holds no indexer"):
        MemoryIndexer.from_pretrained(path)


def test_a_file_that_was_cut_is_refused(save: Callable[..., Path]) -> None:
    path = save({})
    whole = path.read_bytes()
    for length in (4, 100, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BadInput, match="cannot be read as safetensors"):
            MemoryIndexer.from_pretrained(path)


# -- settings -----------------------------------------------------------------------------------


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    notes = {"budget": {"max_chunks": 12}, "why": "chosen on validation"}
    first = _ours(pooling="mean", mode="mean", backbone={"weights": "abc"}, notes=notes)
    for parameter in first.parameters():
        parameter.data.add_(0.25)
    folder = first.save_pretrained(tmp_path / "new" / "folder")
    assert set(_contents(folder)) == {WEIGHTS, SETTINGS}
    for path in (folder, folder / WEIGHTS):  # named itself, the file has the settings beside it
        second = MemoryIndexer.from_pretrained(path)
        assert second.config == first.config
        found = dict(second.named_parameters())
        for name, parameter in first.named_parameters():
            assert torch.equal(found[name], parameter), name
            assert found[name].requires_grad


def test_chunk_towers_without_settings_are_refused(tmp_path: Path) -> None:
    folder = _ours().save_pretrained(tmp_path)
    (folder / SETTINGS).unlink()
    with pytest.raises(BadInput, match=SETTINGS):
        MemoryIndexer.from_pretrained(folder)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"hidden_size": NaN}'],
    ids=["empty", "cut", "list", "null", "no text", "deep", "nan"],
)
def test_broken_settings_are_named(tmp_path: Path, text: bytes) -> None:
    folder = _ours().save_pretrained(tmp_path)
    (folder / SETTINGS).write_bytes(text)
    with pytest.raises(BadInput, match=SETTINGS):
        MemoryIndexer.from_pretrained(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": E + 1}, f"hidden_size is {E + 1}, but the weights have {E}"),
        ({"rank": R + 1}, "rank is"),
        ({"num_heads": H + 1}, "num_heads is"),
        ({"features": F + 1}, "features is"),
        ({"features": 0}, "features is"),
        ({"head_dim": 64}, "head_dim"),
        ({"chunk_tokens": 0}, "chunk_tokens"),
        ({"pooling": "median"}, "pooling"),
        ({"mode": "least"}, "mode"),
        ({"surprise": 1}, "surprise"),
        ({"rope": {"dim": 63}}, "rope.dim"),
        ({"layers": ["l3"]}, "names the layers l3, the weights"),
        ({"layers": ["l3", "l11"]}, "names the layers"),
        ({"layers": []}, "names the layers"),
    ],
    ids=str,
)
def test_settings_that_contradict_the_weights_are_named(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    folder = _ours().save_pretrained(tmp_path)
    settings = json.loads((folder / SETTINGS).read_text())
    (folder / SETTINGS).write_text(json.dumps(settings | change))
    with pytest.raises(BadInput, match=message) as caught:
        MemoryIndexer.from_pretrained(folder)
    assert SETTINGS in str(caught.value)


# -- writing ------------------------------------------------------------------------------------


@contextlib.contextmanager
def full_disk(most: int) -> Iterator[None]:
    """Inside, no file may have more than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("most", [100, 2000], ids=["at once", "midway"])
def test_a_full_disk_leaves_the_old_files(tmp_path: Path, most: int) -> None:
    folder = _ours(seed=1).save_pretrained(tmp_path)
    before = _contents(folder)
    with full_disk(most), pytest.raises(BadInput, match="cannot be written") as caught:
        _ours(seed=2).save_pretrained(folder)
    assert "too large" in str(caught.value)
    assert _contents(folder) == before


def test_a_disk_that_fails_at_the_settings_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _ours(seed=1).save_pretrained(tmp_path)
    before = _contents(folder)

    def failing(self: Path, *args: Any, **options: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", failing)
    with pytest.raises(BadInput, match="No space left on device"):
        _ours(seed=2).save_pretrained(folder)
    assert _contents(folder) == before


def test_a_killed_writer_leaves_nothing_that_is_read(tmp_path: Path) -> None:
    folder = _ours(seed=1).save_pretrained(tmp_path)
    left = folder / ".writing-xyz"
    left.mkdir()
    (left / WEIGHTS).write_bytes(b"half")
    assert MemoryIndexer.from_pretrained(folder).layers == LAYERS


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        _ours().save_pretrained(tmp_path / "file")


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_are_as_private_as_the_person_wants(tmp_path: Path, mask: int, expected: int) -> None:
    before = os.umask(mask)
    try:
        folder = _ours().save_pretrained(tmp_path / "folder")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert modes == {expected}
