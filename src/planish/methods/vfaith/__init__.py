"""VFaith-Bench: does a model's reasoning follow the picture (arXiv 2506.11571)?

planish vfaith build --num 200 --out bench
planish vfaith run --model hf:./checkpoint --bench bench
planish vfaith score last
planish vfaith verify raw.png edited.png --mask mask.png
planish vfaith rate bench --sample 60 --out rating

Where things are:

    method.py      the idea: what is changed, and what is changed beside it
    data.py        pairs, replies, and what a bench folder holds
    config.py      the dials and their presets
    scenes/        families of pictures that can be drawn, solved and changed
    images.py      pictures in and out: anybody's files as pixels, PNG files named by their bytes
    bench.py       reads a bench folder with care, for anybody may have made it
    phrasing.py    how a question and its options are put to a model
    usable.py      which pairs are asked, and which of them count
    extraction.py  which option a reply settles on (by way of wording.py and commitment.py)
    editing/       editors behind one contract: scenes, an endpoint, diffusers
    verifying/     the gates, stage verify for anybody's own pictures, models that look for a cue,
                   and stage rate for a sample that two people look at
    building/      stage build: pairs, placebos, perception questions, photographs
    running/       stage run: arms, prompts, models that are pinned, planted answer sheets
    scoring/       stage score: metrics, intervals, the report
    claims.py      what the demonstration claims, fixed before looking, and what came
    viewers.py     trains the tiny networks that see, remember or are blind
    demo.py        the demonstration: who looks, who remembers, and what tells them apart
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
        "rate": "planish.methods.vfaith.verifying.rate:rate",
    },
    demo="planish.methods.vfaith.demo:demo",
)
