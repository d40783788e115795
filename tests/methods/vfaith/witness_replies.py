"""What vision models say of the helmet, as `ChatServer` replies: they look at the pixels.

The model's name says how it answers: "mumbles" is never read, "flatters" finds every value that is
asked for, "denies" none, "blind" always sees red; any other name looks.
"""

from __future__ import annotations

import base64
import io
import re
from typing import Any

from PIL import Image

SPOT = 20, 20  # on the helmet


def reply(request: dict[str, Any]) -> str:
    content = request["messages"][0]["content"]
    parts = {part["type"]: part for part in content} if isinstance(content, list) else {}
    if {*parts} != {"text", "image_url"}:
        return "There is no picture."
    data = parts["image_url"]["image_url"]["url"].partition(",")[2]
    red, _, blue = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB").getpixel(SPOT)
    name = request["model"]
    asked = re.search(r'"(\w+)"', parts["text"]["text"])
    if asked is None or "mumbles" in name:
        return "I would rather not say."
    seen = "red" if red > blue or "blind" in name else "blue"
    there = "denies" not in name and ("flatters" in name or asked[1] == seen)
    letter = "A" if there else "B"
    return f"The helmet looks {seen}.\n\\boxed{{{letter}}}"
