"""Tasks and generated code from files of several shapes, and what a model's reply means.

    tasks = load_tasks("own")                     # or "own:plain", "own:projects"
    tasks = load_tasks("tasks.jsonl.gz")          # ours, HumanEval, EvalPlus or CoderEval
    runs = load_runs("samples.jsonl", tasks)      # ours, recorded runs, samples of HumanEval
    code = code_of(reply, tasks[0])               # without the words around it

Nothing of what is read is run here: sources are parsed at most.
"""

from planish.methods.mistakes.loading.replies import chat_of, code_of
from planish.methods.mistakes.loading.runs import load_runs
from planish.methods.mistakes.loading.tasks import load_tasks

__all__ = ["chat_of", "code_of", "load_runs", "load_tasks"]
