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
from planish.methods.vfaith.scenes.colours import COLOURS

__all__ = ["FAMILIES", "Family", "Knob", "Scene", "load_scene"]

FAMILIES: dict[str, Family] = {family.name: family for family in (COLOURS,)}
"""Every family by its name."""


def load_scene(data: Mapping[str, Any]) -> Scene:
    """A scene that `Scene.dump` wrote.

    Raises:
        KeyError: no such family.
        pydantic.ValidationError: not a scene of this family.
    """
    rest = dict(data)
    return FAMILIES[rest.pop("family")].scene.model_validate(rest)
