"""Reheat: temperature-scaled on-policy self-distillation (TS-OPSD, arXiv 2606.00755).

planish reheat diagnose --model hf:./checkpoint --reference hf:./before --task countdown:4
planish reheat run --model hf:./checkpoint --reference hf:./before --task countdown:4 --out warm
planish reheat loop --model hf:./before --task countdown:4 --out policy

Where things are:

    method.py    the idea: when a policy counts as collapsed, when it is warm, what must not move
    loss.py      the loss on logits, for a training loop of your own
    callback.py  the watch over TRL's GRPOTrainer
    policy.py    a policy from inside: what it draws, its exact entropy, how far it has moved
    probing.py   the probe: the entropy on fixed prompts
    data.py      prompts by purpose, and what a rollout earns
    config.py    the dials with their presets
    measuring/   the parts of stage diagnose
    thawing/     the parts of stage run
    looping/     the parts of stage loop
"""

from typing import TYPE_CHECKING, Any

from planish.methods import Method

if TYPE_CHECKING:
    from planish.methods.reheat.callback import ReheatCallback
    from planish.methods.reheat.loss import reheat_loss

__all__ = ["METHOD", "ReheatCallback", "reheat_loss"]

METHOD = Method(
    name="reheat",
    title="Temperature-scaled on-policy self-distillation",
    paper="2606.00755",
    config="planish.methods.reheat.config:Config",
    stages={
        "diagnose": "planish.methods.reheat.evaluate:diagnose",
        "run": "planish.methods.reheat.train:run",
        "loop": "planish.methods.reheat.train:loop",
    },
    demo="planish.methods.reheat.demo:demo",
)


def __getattr__(name: str) -> Any:
    """The public names that need torch are imported when they are used."""
    if name == "reheat_loss":
        from planish.methods.reheat.loss import reheat_loss

        return reheat_loss
    if name == "ReheatCallback":
        from planish.methods.reheat.callback import ReheatCallback

        return ReheatCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
