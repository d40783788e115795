"""VFaith-Bench: does a model's reasoning follow the picture (arXiv 2506.11571)?

planish vfaith build --num 200 --out bench
planish vfaith run --model hf:./checkpoint --bench bench
planish vfaith score last
planish vfaith verify raw.png edited.png --mask mask.png

Where things are:

    method.py    the idea: what is changed, and what is changed beside it
    data.py      pairs, replies, and what a bench folder holds
    config.py    the dials and their presets
    scenes/      families of pictures that can be drawn, solved and changed
    editing/     editors behind one contract: scenes, an endpoint, diffusers
    verifying/   the gates, and stage verify for anybody's own pictures
    building/    stage build: pairs, placebos, perception questions, photographs
    running/     stage run: arms, prompts, reading the answer, planted answer sheets
    scoring/     stage score: metrics, intervals, the report
    viewers.py   trains the tiny networks that see, remember or are blind
"""

from planish.methods import Method

__all__ = ["METHOD"]

METHOD = Method(
    name="vfaith",
    title="VFaith-Bench",
    paper="2506.11571",
    config="planish.methods.vfaith.config:Config",
    stages={
        "build": "planish.methods.vfaith.building.build:build",
        "verify": "planish.methods.vfaith.verifying.verify:verify",
        "run": "planish.methods.vfaith.running.run:run",
        "score": "planish.methods.vfaith.scoring.score:score",
    },
    demo="planish.methods.vfaith.demo:demo",
)
