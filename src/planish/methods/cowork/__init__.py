"""Cowork: agents that act from a skill library and are better next episode (arXiv 2602.05004).

planish cowork play --layout coordination_ring
planish cowork evolve --layouts coordination_ring --episodes 30
planish cowork diff impaired last

Where things are:

    kitchen/     floor plans and the simulator
    skills.py    the library: one JSON document
    acting/      what a library may name, scripted partners, episodes
    htn.py       the agent: a decision within milliseconds, without a model
    method.py    the idea itself: drift, the gate's bound
    improving/   diagnosis, proposers, patches, the gate, promotion, the loop
    showing/     replay, timeline, SKILL.md
    config.py    the dials with their presets
"""

from planish.methods import Method

__all__ = ["METHOD"]

METHOD = Method(
    name="cowork",
    title="Real-time cooperative agents over a co-optimized skill library",
    paper="2602.05004",
    config="planish.methods.cowork.config:Config",
    stages={
        "play": "planish.methods.cowork.play:play",
        "evolve": "planish.methods.cowork.evolve:evolve",
        "show": "planish.methods.cowork.library:show",
        "diff": "planish.methods.cowork.library:diff",
        "export-skill": "planish.methods.cowork.library:export_skill",
    },
    demo="planish.methods.cowork.demo:demo",
)
