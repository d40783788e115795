"""A teacher's temperature that was left in a model's config, found without opening the model.

check_untempered(AutoConfig.from_pretrained("./checkpoint"), "./checkpoint")

A tempered teacher says so by `logit_scale`, which the trainer's kernel reads. Saved with a model it
would temper whatever is trained from it, and say nothing.
"""

from __future__ import annotations

from typing import Any

from planish.records import BadInput

__all__ = ["check_untempered"]


def check_untempered(config: Any, model: str) -> None:
    """Refuses a model whose logits somebody tempered by its config and forgot to restore.

    Architectures that scale their logits say so in the defaults of their config.

    Raises:
        BadInput: `logit_scale` is there, and the architecture knows none.
    """
    text = config.get_text_config()
    scale = getattr(text, "logit_scale", None)
    if scale not in (None, 1.0) and not hasattr(type(text)(), "logit_scale"):
        raise BadInput(
            f"logit_scale is {scale} in its config, which {type(text).__name__} does not know: a "
            "teacher's temperature was left in it",
            where=model,
            fix="remove logit_scale from config.json",
        )
