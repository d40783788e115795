"""What is wrong in generated code, and why, with evidence (arXiv 2411.01414).

planish mistakes verify --tasks tasks.jsonl --runs runs.jsonl
planish mistakes generate --model openai:MODEL@URL --tasks own --samples 5
planish mistakes diagnose last
planish mistakes reasons last --model openai:MODEL@URL

Where things are:

    data.py        the records: tasks, runs, observations, repairs, diagnoses, interventions
    config.py      the dials and their presets
    loading/       tasks and runs from files: ours, HumanEval, EvalPlus, CoderEval; models' replies
    own/           our tasks, plain ones and ones with a project around them, and known mistakes
    jobs.py        tasks as jobs of the sandbox, and references, which must pass
    kinds/         what an argument may be
    inferring.py, varying.py, seeded.py, drawing.py     inputs of a task: drawn, and varied
    injecting/     puts a mistake of a known category into code that is right
    observing/     runs a candidate beside the reference: where and how they differ
    repairing/     every change of one place after which the code passes
    ruling/        what speaks for which category, and how much
    detecting/     detectors behind one interface: rules, a model, a model with evidence, an agent
    reasoning/     reasons by intervention: edits, placebos, leak checks, statistics
    showing/       the pages of the report
    running/       the stages
    claims.py      what the demonstration claims
    demo.py        the demonstration
"""

from planish.methods import Method

__all__ = ["METHOD"]

METHOD = Method(
    name="mistakes",
    title="Mistakes in generated code",
    paper="2411.01414",
    config="planish.methods.mistakes.config:Config",
    stages={
        "verify": "planish.methods.mistakes.running.verify:verify",
        "generate": "planish.methods.mistakes.running.generate:generate",
        "diagnose": "planish.methods.mistakes.running.diagnose:diagnose",
        "reasons": "planish.methods.mistakes.running.reasons:reasons",
    },
    demo="planish.methods.mistakes.demo:demo",
)
