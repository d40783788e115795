"""S2J: Solve-to-Judge (arXiv 2509.22099).

planish s2j gap --model hf:./checkpoint --task chain:3
planish s2j baselines --model hf:./checkpoint --task chain:3
planish s2j train --model hf:./checkpoint --task chain:3 --arm additive --out judge

Where things are:

    method.py    the idea: what a judgment is rewarded for
    data.py      the items: a question with two checked candidates and a gold answer
    config.py    what presets do, and the dials that stages share
    measuring/   how large the gap is: the parts of stages gap and baselines
    learning/    how it closes: the parts of stage train
"""

from planish.methods import Method

__all__ = ["METHOD"]

METHOD = Method(
    name="s2j",
    title="Solve-to-Judge",
    paper="2509.22099",
    config="planish.methods.s2j.config:Config",
    stages={
        "gap": "planish.methods.s2j.evaluate:gap",
        "baselines": "planish.methods.s2j.evaluate:baselines",
        "train": "planish.methods.s2j.train:train",
    },
    demo="planish.methods.s2j.demo:demo",
)
