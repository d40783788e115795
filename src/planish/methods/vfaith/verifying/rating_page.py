"""The page on which a person rates pairs: one file, no network, nothing of a bench that acts.

    write_text(folder / "rate.html", rating_page(bench, sampled(bench, 60, 0), 60, 0))

Every text of the bench is escaped, pictures are in the page as data, and its own script is the only
one that a browser runs, by its hash. What is answered stays in the browser's storage until it is
saved, so that a page that was closed by mistake costs nothing.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

from planish.methods.vfaith.bench import Bench
from planish.methods.vfaith.data import LETTERS, EditPair, Picture
from planish.methods.vfaith.images import open_image
from planish.methods.vfaith.verifying.ratings import QUESTIONS
from planish.runs.page import render
from planish.runs.visible import visible

__all__ = ["LONGEST", "rating_page"]

LONGEST = 1024
"""Pixels a side of a picture on the page, at most."""

_SMALL = 400_000  # bytes of a file that goes into the page as it is


def rating_page(bench: Bench, pairs: Sequence[EditPair], size: int, seed: int) -> str:
    """The page.

    Args:
        size, seed: of the sample; they stand in every line that the page saves.

    Raises:
        BadInput: a picture is not the one that its pair was made with.
    """
    return render(
        "planish.methods.vfaith.verifying",
        "rate.html.jinja",
        styles=("rate.css",),
        scripts=("rate.js",),
        name=bench.folder.resolve().name,
        bench=bench.digest,
        sample=size,
        seed=seed,
        questions=QUESTIONS,
        longest=LONGEST,
        pairs=[_shown(bench, pair) for pair in pairs],
    )


def _shown(bench: Bench, pair: EditPair) -> dict[str, Any]:
    return {
        "id": pair.pair_id,
        "question": visible(pair.question),
        "options": list(zip(LETTERS, map(visible, pair.options), strict=False)),
        "cue": visible(pair.cue.name),
        "old": visible(pair.cue.old),
        "new": visible(pair.cue.new),
        "raw": _url(bench, pair.raw),
        "edited": _url(bench, pair.edited),
    }


def _url(bench: Bench, picture: Picture) -> str:
    """As data; what is large is made smaller, for sixty photographs would be too much for a page.

    A picture that is shrunk is coded anew without visible loss.
    """
    path = bench.path(picture)
    data, kind = path.read_bytes(), "png"
    if len(data) > _SMALL:
        from PIL import Image

        image = Image.fromarray(open_image(path).pixels)
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=95, subsampling=0)
        data, kind = stream.getvalue(), "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
