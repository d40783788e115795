"""RISE: LLM-as-a-judge as a general ability (arXiv 2502.11689).

planish rise judge --model hf:./checkpoint --pairs pairs.jsonl
planish rise score outputs.jsonl --pairs pairs.jsonl --format judgebench
planish rise evaluate --model hf:./judge --before hf:./base --pairs pairs.jsonl --ability chain:3
planish rise synthesize --pairs pairs.jsonl --teacher openai:MODEL --out data
"""

from planish.methods import Method

__all__ = ["METHOD"]

METHOD = Method(
    name="rise",
    title="LLM-as-a-Judge as a general ability",
    paper="2502.11689",
    config="planish.methods.rise.config:Config",
    stages={
        "judge": "planish.methods.rise.judge:judge",
        "score": "planish.methods.rise.score:score",
        "evaluate": "planish.methods.rise.evaluate:evaluate",
        "synthesize": "planish.methods.rise.synthesize:synthesize",
        "train": "planish.methods.rise.train:train",
        "label": "planish.methods.rise.label:label",
        "improve": "planish.methods.rise.improve:improve",
    },
    demo="planish.methods.rise.demo:demo",
)
