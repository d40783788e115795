"""Watch TRL's GRPO, and stop it where the policy has collapsed.

python examples/reheat.py
"""

import tempfile

from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from planish.embedded import WALKER_TASK, path
from planish.methods.reheat import ReheatCallback
from planish.methods.reheat.method import Trigger
from planish.tasks.load import load_task
from planish.training.callbacks import quiet

HEALTHY = 1.29  # nats before RL, as `planish reheat diagnose --model embedded:walker` tells them


def main() -> None:
    task, folder = load_task(WALKER_TASK), path("walker-collapsed")
    asked = {example.prompt[0].content: example for example in task.examples("train", 256)}
    rows = [{"prompt": [{"role": "user", "content": question}]} for question in asked]

    def reward(prompts: list, completions: list, **_: object) -> list[float]:
        pairs = zip(prompts, completions, strict=True)
        return [task.verify(asked[p[0]["content"]], c[0]["content"]).score or 0.0 for p, c in pairs]

    watch = ReheatCallback(trigger=Trigger(ratio=0.67, patience=3), reference=HEALTHY)
    with tempfile.TemporaryDirectory() as work, quiet():
        config = GRPOConfig(
            work,
            max_steps=100,
            learning_rate=1e-4,
            per_device_train_batch_size=64,
            num_generations=8,
            max_completion_length=9,
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=None,
        )
        GRPOTrainer(
            AutoModelForCausalLM.from_pretrained(folder),
            reward,
            config,
            Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(folder),
            callbacks=[watch],
        ).train()
    print(watch.fired.reason if watch.fired else "it has not collapsed")


if __name__ == "__main__":
    main()
