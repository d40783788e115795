"""RISE: LLM-as-a-judge as a general ability (arXiv 2502.11689).

planish rise judge --model hf:./checkpoint --pairs pairs.jsonl
planish rise score outputs.jsonl --pairs pairs.jsonl --format judgebench
planish rise evaluate --model hf:./judge --before hf:./base --pairs pairs.jsonl --ability chain:3
planish rise synthesize --pairs pairs.jsonl --teacher openai:MODEL --out data

Where things are:

    method.py    the idea: which judgments are learned from
    data.py      the judge prompts, and rows on disk
    config.py    the dials of judging, and what presets do
    judging/     what a judge is worth: stages judge and score, the parts of evaluate.py
    learning/    how a model becomes a judge: stage synthesize, the parts of train.py
    teaching/    what a judge does for a policy: stages label and improve

Imports go from top to bottom in `demo`, `evaluate` and `train`, `teaching`, `judging` and
`learning`, `data`, `config` and `method`.
"""

from planish.methods import Method

__all__ = ["METHOD"]

METHOD = Method(
    name="rise",
    title="LLM-as-a-Judge as a general ability",
    paper="2502.11689",
    config="planish.methods.rise.config:Config",
    stages={
        "judge": "planish.methods.rise.judging.judge:judge",
        "score": "planish.methods.rise.judging.score:score",
        "evaluate": "planish.methods.rise.evaluate:evaluate",
        "synthesize": "planish.methods.rise.learning.synthesize:synthesize",
        "train": "planish.methods.rise.train:train",
        "label": "planish.methods.rise.teaching.label:label",
        "improve": "planish.methods.rise.teaching.improve:improve",
    },
    demo="planish.methods.rise.demo:demo",
)
