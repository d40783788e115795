"""Verifiable tasks: each file holds one task, with its grader beside it.

>>> from planish.tasks.load import load_task
>>> task = load_task("chain:3:+-")
>>> [example] = task.examples("report", limit=1)
>>> task.verify(example, task.gold(example)).score
1.0

`chain` has one right answer to a question; `countdown` and `routes` have many.
`load_task("questions.jsonl")` makes a task of a file of questions with targets.
"""
