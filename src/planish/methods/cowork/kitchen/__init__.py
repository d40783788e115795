"""The kitchen: floor plans and the simulator. Knows nothing of libraries, agents or models."""

from planish.methods.cowork.kitchen.layouts import CLASSIC, HELD_OUT, Layout, load_layout
from planish.methods.cowork.kitchen.simulator import Kitchen, State

__all__ = ["CLASSIC", "HELD_OUT", "Kitchen", "Layout", "State", "load_layout"]
