"""The models that ship inside the package, and the scripts that built them.

    >>> path("reasoner").name
    'reasoner'

| name | what it is | built by |
|---|---|---|
| `reasoner` | solves digit chains (`planish.tasks.chain`) and judges them half-right: 150,000 weights | `python -m planish.embedded.build_reasoner --out DIR --seed 0` |
| `apprentice` | solves digit chains and has read careful and careless judges of them, so that it judges like either: 150,000 weights | `python -m planish.embedded.build_apprentice --out DIR --seed 0` |
| `walker` | walks along the edges of a graph that it knows by heart (`planish.tasks.routes`) and reaches the goal now and then: 105,000 weights | `python -m planish.methods.reheat.walkers --out DIR --seed 0` |
| `walker-collapsed` | the walker after 500 steps of GRPO: it reaches more goals, by the same few routes each time | with it |
| `viewer-seeing`, `viewer-habit-60`, `-90`, `-97`, `viewer-blind` | look at a picture of `planish.methods.vfaith` and pick a lettered option: one learned to look, three to remember, one sees grey; 400,000 weights | `python -m planish.methods.vfaith.viewers --out DIR --seed 0` |
| `recall` | finds records in contexts of thousands of words (`planish.tasks.recall`): 1,570,000 weights; with it an indexer, `recall-indexer` | `python -m planish.embedded.build_recall --out DIR --seed 0`, then `python -m planish.methods.lookahead.building --out DIR --seed 0` |

The viewers are networks of our own (`planish.models.viewer`), the others folders in the Hugging Face
format; each has `build.log` and `build.json`: how it was made,
what it can do, and which other candidates were made and not shipped. Tiny models show a
mechanism; their numbers say nothing about a real model.
"""  # noqa: E501 - a table row

from pathlib import Path

from planish.records import BadInput

__all__ = ["MODELS", "VIEWERS", "WALKER_TASK", "path"]

VIEWERS: tuple[str, ...] = (
    "viewer-blind", "viewer-habit-60", "viewer-habit-90", "viewer-habit-97", "viewer-seeing",
)  # fmt: skip
"""Those that look at pictures."""

MODELS: tuple[str, ...] = (
    "apprentice",
    "reasoner",
    "recall",
    *VIEWERS,
    "walker",
    "walker-collapsed",
)
"""Names that `embedded:NAME` accepts."""

WALKER_TASK = "routes:64:4:7:0"
"""The task whose graph the walkers know, as `--task` takes it."""


def path(name: str) -> Path:
    """The folder of an embedded model.

    Raises:
        BadInput: no such model; the message lists those that exist.
    """
    if name not in MODELS:
        raise BadInput(
            f"no embedded model is called {name!r}",
            where="embedded",
            fix=f"use {' or '.join(MODELS)}",
        )
    return Path(__file__).with_name(name)
