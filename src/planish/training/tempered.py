"""A teacher's temperature in a model's config: put there, and found where it was left.

    temper(teacher.config, 1.2)
    check_untempered(AutoConfig.from_pretrained("./checkpoint"), "./checkpoint")

A tempered teacher says so by `logit_scale`, which the trainer's kernel reads. Saved with a model it
would temper whatever is trained from it, and say nothing.
"""

from __future__ import annotations

from typing import Any

from planish.records import BadInput

__all__ = ["check_untempered", "scaling", "temper"]


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


def scaling(config: Any) -> tuple[float, float | None]:
    """By what TRL's kernel multiplies the logits of a model, and where it caps them."""
    text = config.get_text_config()
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        found = getattr(text, name, None)
        if found is not None:
            return float(found), getattr(text, "final_logit_softcapping", None)
    scaling = getattr(text, "logits_scaling", None)
    if scaling is None:
        scale = 1.0
    else:
        scale = float(scaling) if text.model_type == "hyperclovax" else 1 / scaling
    return scale, getattr(text, "final_logit_softcapping", None)


def temper(config: Any, temperature: float) -> None:
    """Makes a teacher of a model: TRL's kernel then divides its logits by the temperature.

    Where logits are capped, c tanh(x / c) / T is c' tanh(x' / c') with x' = x / T, c' = c / T.
    """
    scale, cap = scaling(config)
    text = config.get_text_config()
    text.logit_scale = scale / temperature
    if cap is not None:
        text.final_logit_softcapping = cap / temperature
