"""What is wrong in a piece of code, with evidence, and what change of one place mends it.

python examples/mistakes.py
"""

from planish.methods.mistakes.config import Diagnosing
from planish.methods.mistakes.data import CATEGORY_NAMES, CodeTask, RunRecord
from planish.methods.mistakes.observing.observe import observe
from planish.methods.mistakes.repairing.search import repair
from planish.methods.mistakes.ruling.confidence import rank
from planish.methods.mistakes.ruling.signals import signals
from planish.tasks.sandbox import Limits, Sandbox

TASK = CodeTask(
    task_id="discount",
    entry_point="price",
    prompt='def price(items, each):\n    """Ten items or more: a tenth off. Prices in cents."""\n',
    reference="""
def price(items, each):
    total = items * each
    if items >= 10:
        total -= total // 10
    return total
""",
    tests="def check(candidate):\n    assert candidate(3, 50) == 150\n    "
    "assert candidate(10, 50) == 450\n    assert candidate(12, 100) == 1080\n",
    strategy=(
        {"kind": "integer", "min": 0, "max": 30},
        {"kind": "integer", "min": 1, "max": 500},
    ),
)

CODE = TASK.reference.replace(">=", ">")


def main() -> None:
    # fork: this file's own code, so it may run where there is no sandbox with walls.
    with Sandbox(accept="fork") as box:
        dials, limits = Diagnosing(inputs=40, mutants=200), Limits()
        run = RunRecord(task_id=TASK.task_id, code=CODE)
        seen = observe(TASK, run, box, dials=dials, limits=limits)
        search = repair(TASK, CODE, seen, box, dials=dials, limits=limits)
    evidence = signals(TASK, CODE, seen, search)
    diagnosis = rank(run.key, evidence)

    print(f"{seen.status} in a sandbox of level {box.level}")
    print(f"input {seen.failing[0].arguments}, expected {seen.failing[0].expected}")
    for category, confidence in diagnosis.ranked[:2]:
        print(f"{category} {confidence:.2f}  {CATEGORY_NAMES[category]}")
    for each in evidence:
        if each.category == diagnosis.category:
            print(f"- {each.note}")
    print(search.repairs[0].diff)


if __name__ == "__main__":
    main()
