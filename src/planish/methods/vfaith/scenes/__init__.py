"""Scenes that can be drawn, solved and changed, by family.

>>> sorted(FAMILIES)[:2]
['charts', 'clocks']
>>> scene, knobs = FAMILIES["colours"].sample(random.Random(0), 256)
>>> load_scene(scene.dump()) == scene
True
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planish.methods.vfaith.scenes.base import Family, Knob, Scene
from planish.methods.vfaith.scenes.charts import CHARTS
from planish.methods.vfaith.scenes.clocks import CLOCKS
from planish.methods.vfaith.scenes.colours import COLOURS
from planish.methods.vfaith.scenes.counting import COUNTING
from planish.methods.vfaith.scenes.dice import DICE
from planish.methods.vfaith.scenes.geometry import GEOMETRY
from planish.methods.vfaith.scenes.maps import MAPS
from planish.methods.vfaith.scenes.patterns import PATTERNS
from planish.methods.vfaith.scenes.signs import SIGNS

__all__ = ["FAMILIES", "Family", "Knob", "Scene", "load_scene"]

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (CHARTS, CLOCKS, COLOURS, COUNTING, DICE, GEOMETRY, MAPS, PATTERNS, SIGNS)
}
"""Every family by its name."""


def load_scene(data: Mapping[str, Any]) -> Scene:
    """A scene that `Scene.dump` wrote.

    Raises:
        KeyError: no such family.
        pydantic.ValidationError: not a scene of this family.
    """
    rest = dict(data)
    return FAMILIES[rest.pop("family")].scene.model_validate(rest)
