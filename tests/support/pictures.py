"""Benches made in a moment, without the stage that builds them.

bench = make_bench(tmp_path / "bench", 12)          fruits, with every picture on disk
pair = make_pair(tmp_path, 0, typical=True)
"""

from __future__ import annotations

import hashlib
import io
import random
from pathlib import Path

import numpy as np
from PIL import Image

from planish.methods.vfaith.bench import PAIRS, Bench, read_bench
from planish.methods.vfaith.data import (
    Check,
    Cue,
    Edit,
    EditPair,
    Kind,
    Picture,
    Source,
)
from planish.methods.vfaith.method import draw, is_typical, perceived
from planish.methods.vfaith.scenes import FAMILIES, Scene
from planish.records import write_jsonl

SIZE = 256


def store(folder: Path, kind: str, image: Image.Image) -> tuple[str, str]:
    """Writes a picture under its hash; its name in the bench, and the hash."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    digest = hashlib.sha256(stream.getvalue()).hexdigest()
    (folder / kind).mkdir(parents=True, exist_ok=True)
    (folder / kind / f"{digest}.png").write_bytes(stream.getvalue())
    return f"{kind}/{digest}.png", digest


def make_pair(
    folder: Path, number: int, *, family: str = "colours", kind: Kind = "pair", size: int = SIZE
) -> EditPair:
    """A pair whose pictures are in the folder."""
    found = FAMILIES[family]
    name = f"{family}-{'' if kind == 'pair' else 'p'}{number:04d}"
    rng = random.Random(f"{family}:{kind}:{number}")
    draft = draw(
        found, rng, size=size, typical=is_typical(number, kind), place=number // 4 % 4, kind=kind
    )

    def picture(scene: Scene, gold: str) -> Picture:
        file, digest = store(folder, "images", scene.draw())
        return Picture(file=file, sha256=digest, gold=gold, scene=scene.dump())

    before, after = np.asarray(draft.raw.draw()), np.asarray(draft.edited.draw())
    changed = (before != after).any(-1)
    mask, mask_hash = store(folder, "masks", Image.fromarray(changed.astype(np.uint8) * 255))
    rows, columns = np.nonzero(changed)
    return EditPair(
        pair_id=name,
        kind=kind,
        family=family,
        subset=found.subset,
        source=Source(id=f"{family}-{number}", licence="made by planish"),
        question=draft.question,
        options=draft.options,
        shuffle_seed=draft.shuffle_seed,
        ask=draft.ask,
        typical=draft.typical,
        raw=picture(draft.raw, draft.gold_raw),
        edited=picture(draft.edited, draft.gold_edited),
        placebo=picture(draft.placebo, draft.gold_raw),
        placebo_name=draft.other.name,
        cue=Cue(
            name=draft.cue.name,
            old=draft.old,
            new=draft.new,
            mask=mask,
            mask_sha256=mask_hash,
            box=(
                int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
            ),
        ),
        perception=() if kind == "perception" else (perceived(draft, name),),
        edit=Edit(
            backend="scene",
            version="1",
            instruction=draft.instruction,
            request="0" * 64,
            deterministic=True,
            exact_mask=True,
            native_size=(size, size),
        ),
        checks=(Check(gate="containment", value=0.0),),
    )  # fmt: skip


def make_bench(folder: Path, number: int, *, family: str = "colours", perception: int = 0) -> Bench:
    """A bench of so many pairs and perception items."""
    pairs = [make_pair(folder, index, family=family) for index in range(number)]
    pairs += [
        make_pair(folder, index, family=family, kind="perception") for index in range(perception)
    ]
    write_jsonl(folder / PAIRS, pairs)
    return read_bench(folder)
