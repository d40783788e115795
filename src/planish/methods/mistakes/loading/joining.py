"""A prompt and what follows it, as one program.

completed("def f(x):\\n", "    return x\\n")
"""

from __future__ import annotations

from planish.methods.mistakes.loading.sources import compiles, parse

__all__ = ["completed", "mended"]


def mended(reference: str, prompt: str) -> str:
    """The reference, its body on a line of its own again where it was glued to the prompt.

    What cannot be mended is left as it is.
    """
    beginning = prompt.rstrip()
    if not beginning or parse(reference) is not None or not reference.startswith(beginning):
        return reference
    body = reference[len(beginning) :].strip()
    whole = f"{beginning}\n    {body}\n"
    return reference if parse(whole) is None else whole


def completed(prompt: str, completion: str) -> str:
    """A completion after its prompt, on a line of its own where the prompt was stripped.

    A prompt that ends in the middle of a line, and means to, is completed there.
    """
    glued = prompt + completion
    last = prompt.rpartition("\n")[2]
    if not last.strip() or completion.startswith(("\n", "\r")):
        return glued
    apart = f"{prompt}\n{completion}"
    found = (each for each in (apart, mended(glued, prompt), glued) if compiles(each))
    return next(found, apart)
