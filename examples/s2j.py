"""Can it judge what it can solve? The gap of any model, from Python.

python examples/s2j.py [MODEL] [TEMPLATE]
"""

import sys

from planish import Sampling, load
from planish.judges.templates import named
from planish.methods.s2j.data import task_items
from planish.methods.s2j.measuring.drawing import Drawing
from planish.stats import ratio
from planish.tasks.chain import ChainTask

DRAWS = 4


def main(model: str = "embedded:reasoner", template: str = "chain") -> None:
    items = task_items(ChainTask(3), split="report", limit=60)
    drawing = Drawing(load(model), items, named(template))
    sampling = Sampling(temperature=1.0, max_tokens=16, n=DRAWS, seed=0)

    solved = {item.id: 0 for item in items.items}
    for solution in drawing.solves(items.items, sampling, "choose"):
        solved[solution.item_id] += solution.correct is True
    capable = {item_id for item_id, count in solved.items() if count == DRAWS}

    # An item is one row, however often it was judged: its calls are not independent.
    wrong, read = dict.fromkeys(capable, 0), dict.fromkeys(capable, 0)
    knew = dict.fromkeys(capable, 0)
    for judgment in drawing.judgments(items.items, sampling):
        if judgment.item_id in capable and judgment.verdict_correct is not None:
            read[judgment.item_id] += 1
            wrong[judgment.item_id] += not judgment.verdict_correct
            knew[judgment.item_id] += not judgment.verdict_correct and bool(
                judgment.solution_correct
            )
    print(f"solves in all of {DRAWS} draws      {len(capable)} of {len(items)}")
    print(f"misjudges of these           {ratio(list(wrong.values()), list(read.values()))}")
    print(f"... below a right solution   {ratio(list(knew.values()), list(wrong.values()))}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
