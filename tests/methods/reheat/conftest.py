"""Tiny policies on the disk, for all tests of the room; one thread, for their numbers are small."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from support.checkpoints import save_checkpoint


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`checkpoint("qwen3", seed=1)` is the folder of a random model with a chat template."""
    home = tmp_path_factory.mktemp("checkpoints")
    made: dict[str, Path] = {}

    def make(kind: str = "qwen3", *, tokenizer: Any = None, **options: Any) -> Path:
        name = f"{kind}-{options}-{tokenizer is None}"
        if name not in made:
            folder = home / f"{kind}-{len(made)}"
            made[name] = save_checkpoint(folder, kind, tokenizer=tokenizer, **options)
        return made[name]

    return make
