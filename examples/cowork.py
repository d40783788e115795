"""Hand the gate two edits of a skill library, one that helps and one that harms, and play.

python examples/cowork.py
"""

from planish.methods.cowork.config import Config
from planish.methods.cowork.data import Patch
from planish.methods.cowork.htn import Agent
from planish.methods.cowork.improving.gate import Gate
from planish.methods.cowork.improving.settings import cells_of
from planish.methods.cowork.kitchen import Kitchen, load_layout
from planish.methods.cowork.skills import load_library

LAYOUT = "coordination_ring"


def main() -> None:
    library = load_library("impaired")
    around = Patch(
        base_hash=library.digest,
        rationale="walk around the other cook where that is not much longer",
        ops=({"op": "replace", "path": "/params/detour/value", "value": 12},),
    )
    settings = Config.tiny().model_copy(update={"workers": 1})
    gate = Gate(settings, cells_of([LAYOUT], ["self"]))
    judged = gate.judge(around, library)
    print(f"{around.rationale}: {judged.result.reason}, {judged.result.detail}")
    library = judged.library or library

    hoard = Patch(
        base_hash=library.digest,
        rationale="always take a dish first",
        ops=(
            {"op": "replace", "path": "/methods/fetch_dish/priority", "value": 72},
            {"op": "replace", "path": "/methods/fetch_dish/when", "value": ["holding(nothing)"]},
        ),
    )
    refused = gate.judge(hoard, library).result
    print(f"{hoard.rationale}: {refused.reason}, {refused.detail}")

    layout = load_layout(LAYOUT)
    kitchen, score = Kitchen(layout), 0.0
    cooks = [Agent(library, layout, seat) for seat in (0, 1)]
    for _ in range(400):
        score += sum(kitchen.step(*(cook.act(kitchen) for cook in cooks)))
    slowest = max(max(cook.latencies_ns) for cook in cooks) / 1e6
    print(f"{score:.0f} points in 400 ticks, the slowest decision took {slowest:.2f} ms")


if __name__ == "__main__":
    main()
